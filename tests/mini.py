"""Runs what the frontend makes, with nothing between it and the interpreter."""

import numpy as np

from tilec.errors import require
from tilec.frontend.parse import parse_kernel
from tilec.frontend.signature import signature
from tilec.ir.interp import execute
from tilec.ir.memories import Memory
from tilec.ir.tensor import Tensor
from tilec.ir.types import TensorType


class Mini:
    """A kernel that is parsed and interpreted at each call; NumPy arrays are written in place."""

    def __init__(self, function, warps=4):
        self.function, self.warps = function, warps
        self.signature = signature(function)

    def parse(self, **constants):
        return parse_kernel(self.signature, constants, self.warps).verify()

    def __call__(self, *args, **kwargs):
        given, constants = self.signature.bind(args, kwargs)
        function = self.parse(**constants)
        extents, memories, values = {}, {}, []
        for p in function.params:
            x = given.get(p.name)
            if isinstance(p.type, TensorType):
                memories[p.name] = Memory(x.values() if isinstance(x, Tensor) else x.astype(p.type.dtype.carrier), p.name)
                for n, extent in zip(p.type.shape, x.shape, strict=True):
                    require(extents.setdefault(n, extent) == extent, f"{n} is {extents[n]} and {extent}")
                values.append(memories[p.name])
            else:
                values.append(np.array([extents[p.name] if x is None else x], p.type.dtype.carrier))
        execute(function, values)
        for name, memory in memories.items():
            if memory.changed:
                given[name][...] = memory.data
