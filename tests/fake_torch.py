"""As much of PyTorch as tilec looks at, over memory of the host: `sys.modules["torch"] = FakeTorch()`."""

from types import ModuleType, SimpleNamespace

import numpy as np

STRIDED = object()


class Type:
    def __init__(self, name, size):
        self.name, self.itemsize = name, size

    def __repr__(self):
        return f"torch.{self.name}"


class Tensor:
    """`device` None is the CPU."""

    def __init__(self, array, dtype, device=0):
        self.array, self.dtype, self.number, self.layout = array, dtype, device, STRIDED

    @property
    def shape(self):
        return self.array.shape

    @property
    def device(self):
        return SimpleNamespace(type="cpu" if self.number is None else "cuda", index=self.number)

    def get_device(self):
        return -1 if self.number is None else self.number

    def data_ptr(self):
        return self.array.ctypes.data

    def element_size(self):
        return self.array.itemsize

    def stride(self):
        return tuple(s // self.array.itemsize for s in self.array.strides)

    def is_contiguous(self):
        return self.array.flags.c_contiguous

    @property
    def __cuda_array_interface__(self):
        raise AssertionError("PyTorch's tensors are read by their own attributes")


class TensorGuards:
    """Those of torch.compile: all of a tensor that a launch may rest on, compared at once. A tensor given twice is refused."""

    def __init__(self, *tensors, dynamic_dims_sizes, dynamic_dims_strides):
        self.wanted = [(*self.of(t)[:2], tuple(n), tuple(s)) for t, n, s in zip(tensors, dynamic_dims_sizes, dynamic_dims_strides, strict=True)]

    def check(self, *tensors):
        distinct = len({id(t) for t in tensors}) == len(tensors)
        return distinct and all(isinstance(t, Tensor) and self.of(t) == wanted for t, wanted in zip(tensors, self.wanted, strict=True))

    @staticmethod
    def of(t):
        return t.dtype, t.number, t.shape, t.stride()


class FakeTorch(ModuleType):
    def __init__(self, guards=None):
        super().__init__("torch")
        self.Tensor, self.strided, self.streams = Tensor, STRIDED, {0: 0, 1: 0}
        for name, size in {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int32": 4, "int8": 1, "uint8": 1, "bool": 1, "float8_e4m3fn": 1}.items():
            setattr(self, name, Type(name, size))
        dynamo = {"_dynamo": SimpleNamespace(guards=SimpleNamespace(TensorGuards=guards))} if guards else {}
        self._C = SimpleNamespace(_cuda_getCurrentRawStream=lambda device: self.streams[device], **dynamo)

    def empty_strided(self, shape, strides, dtype):
        raw = np.empty(64, getattr(np, dtype.name))
        return Tensor(np.lib.stride_tricks.as_strided(raw, shape, [s * raw.itemsize for s in strides]), dtype, None)

    def tensor(self, array, device=0, dtype=None):
        return Tensor(array, dtype or getattr(self, array.dtype.name), device)
