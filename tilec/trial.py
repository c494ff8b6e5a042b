"""Tries a function of textual IR in the interpreter, on arrays from files or at random: `tilec run`."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

import numpy as np

from tilec.arguments import Arguments, values_of
from tilec.backend import select  # noqa: F401 -- textual IR of late stages has instructions
from tilec.errors import TileError, require
from tilec.ir.core import Function, Value
from tilec.ir.describe import dimensions, strides
from tilec.ir.dtypes import DType
from tilec.ir.interp import execute
from tilec.ir.memories import Memory
from tilec.ir.ops.memory import Store
from tilec.ir.tensor import Tensor
from tilec.ir.text import parse
from tilec.ir.types import TensorType

Array = np.ndarray[Any, Any]
Output = Array | Tensor


def read(text: str, filename: str) -> Function:
    """The function that a .tir file holds, with the machine's instructions known."""
    return parse(text, filename)


def run(function: Function, given: dict[str, str], dims: dict[str, int], seed: int = 0) -> dict[str, Output]:
    """Execute the function and return the tensors that it wrote, by name.

    `given`: for a tensor the path of a .npy file, for a scalar a Python literal. `dims`: extents that no file tells. Tensors that are
    left out are random, but zeros if they are stored to and nothing else. Raises TileError, without a place
    where the arguments are to blame.
    """
    params = {p.name: p for p in function.params}
    for name in [*given, *dims]:
        require(name in params, f"{function.name} has no parameter {name}", hint=f"it has {', '.join(params)}")
    call = {name: _given(params[name], text) for name, text in given.items()}
    call |= _drawn(function, {**_extents(params, call), **dims}, call, np.random.default_rng(seed))
    known = {*call, *dimensions(function), *strides(function)}
    missing = [p for p in function.params if p.name not in known]
    require(not missing, f"no value is given for {', '.join(f'{p.name} ({p.type})' for p in missing)}", hint="say --arg NAME=NUMBER")
    bound = Arguments(function, call)
    for name, extent in dims.items():
        require(bound.dims.get(name, extent) == extent, f"--dim says that {name} is {extent}, but an array says {bound.dims.get(name)}")
    carriers = bound.carriers()
    execute(function, carriers)
    bound.write_back(carriers)
    changed = [p.name for p, c in zip(function.params, carriers, strict=True) if isinstance(c, Memory) and c.changed]
    return {name: bound.on_host(name) for name in changed}


def npy(output: Output) -> bytes:
    """A .npy file: of the type's own NumPy type, or the codes of a type that NumPy does not have."""
    file = io.BytesIO()
    np.save(file, output.numpy() if isinstance(output, Tensor) else output)
    return file.getvalue()


def summary(name: str, output: Output, dtype: DType) -> list[str]:
    """A line of `tilec run`: name, type, smallest, largest and mean number, how many NaN, the first elements."""
    values = values_of(output, dtype).astype(np.float64).reshape(-1)
    numbers = values[~np.isnan(values)]
    facts = [f"{f(numbers):.6g}" for f in (np.min, np.max, np.mean)] if numbers.size else ["", "", ""]
    first = " ".join(f"{v:.5g}" for v in values[:4])
    return [name, f"{dtype}[{', '.join(map(str, output.shape))}]", *facts, str(values.size - numbers.size), first]


def _given(p: Value, text: str) -> Any:
    """An argument from the command line: an array from its file, or a number."""
    if isinstance(p.type, TensorType):
        return _array(text, p.type.dtype)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise TileError(f"{p.name} is a scalar {p.type}, but {text} is no number") from None


def _array(path: str, dtype: DType) -> Output:
    """What a .npy file holds; codes become a tensor of the type."""
    try:
        array = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TileError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    return Tensor.from_codes(array, dtype) if _has_codes(dtype) and array.dtype == dtype.numpy else array


def _has_codes(dtype: DType) -> bool:
    """Whether NumPy sees this type as unsigned integers."""
    return dtype.numpy == dtype.codes and not (dtype.is_int and dtype.bits >= 8)


def _extents(params: dict[str, Value], call: dict[str, Any]) -> dict[str, int]:
    """The dimensions that arrays tell, as far as they suit their types; `Arguments` says where they don't."""
    told = [(d, n) for name, a in call.items() if hasattr(a, "shape") for d, n in zip(params[name].type.shape, a.shape, strict=False)]
    return {d: n for d, n in told if isinstance(d, str)}


def _drawn(function: Function, extents: dict[str, int], call: dict[str, Any], rng: np.random.Generator) -> dict[str, Output]:
    """Arrays for the tensors that are not given."""
    for name, extent in extents.items():
        require(isinstance(extent, int) and extent >= 0, f"--dim {name}={extent}: a dimension is a whole number")
    missing = [d for d in dimensions(function) if d not in extents]
    remedy = " ".join(f"--dim {d}=64" for d in missing)
    require(not missing, f"the extent of {', '.join(missing)} is not known", hint=f"say {remedy}, or give arrays")
    inputs = {v for op in function.walk() if not isinstance(op, Store) for v in op.operands}
    found: dict[str, Output] = {}
    for p in function.params:
        if isinstance(p.type, TensorType) and p.name not in call:
            shape, dtype = tuple(extents[n] if isinstance(n, str) else n for n in p.type.shape), p.type.dtype
            values = random(rng, dtype, shape) if p in inputs else np.zeros(shape, dtype.carrier)
            codes = dtype.encode(values)
            found[p.name] = Tensor.from_codes(codes, dtype) if _has_codes(dtype) else codes.view(dtype.numpy)
    return found


def random(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Normally distributed floats, integers of at most two digits, coin tosses."""
    if dtype.is_int:
        return rng.integers(max(int(dtype.min), -99), min(int(dtype.max), 99), shape, endpoint=True)
    return rng.integers(0, 2, shape) if dtype.is_bool else rng.standard_normal(shape)
