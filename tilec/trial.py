"""Tries a function of textual IR in the interpreter, on arrays from files or at random: `tilec run`."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tilec.backend import isa  # noqa: F401 -- textual IR of late stages has instructions
from tilec.cli import UsageError
from tilec.errors import TileError
from tilec.ir.core import Effect, Function, Value
from tilec.ir.describe import dimensions, strides
from tilec.ir.dtypes import DType, from_numpy
from tilec.ir.interp import Memory, execute
from tilec.ir.text import parse
from tilec.ir.types import TensorType

Array = np.ndarray[Any, Any]


class Output(NamedTuple):
    """A tensor that a run wrote: its elements as carriers."""

    dtype: DType
    data: Array


def read(text: str, filename: str) -> Function:
    """The function that a .tir file holds, with the machine's instructions known."""
    return parse(text, filename)


def run(function: Function, given: dict[str, str], dims: dict[str, int], seed: int = 0) -> dict[str, Output]:
    """Execute the function and return the tensors that it wrote, by name.

    `given`: for a tensor the path of a .npy file, for a scalar a Python literal. `dims`: extents that no file tells. What is left out
    is random, except tensors that are never read, which start as zeros. Raises UsageError where these do not suit the parameters.
    """
    names = {p.name for p in function.params}
    for name in [*given, *dims]:
        if name not in names:
            raise UsageError(f"{function.name} has no parameter {name}; there are {', '.join(p.name for p in function.params)}")
    arrays = {p: _file(given[p.name], p) for p in function.params if p.name in given and isinstance(p.type, TensorType)}
    extents = _extents(function, arrays, given, dims)
    rng = np.random.default_rng(seed)
    inputs = {v for op in function.walk() if op.effect is Effect.READ for v in op.operands}
    steps = strides(function)
    arguments: list[Any] = []
    memories: dict[str, Memory] = {}
    for p in function.params:
        if isinstance(p.type, TensorType):
            shape = tuple(extents[n] if isinstance(n, str) else n for n in p.type.shape)
            data = arrays[p] if p in arrays else random(rng, p.type.dtype, shape if p in inputs else (), shape)
            arguments.append(memories.setdefault(p.name, Memory(data, p.name)))
        else:
            if p.name in extents:
                number: Any = extents[p.name]
            elif p.name in steps:
                tensor, axis = steps[p.name]
                data = memories[tensor.name].data
                number = data.strides[axis] // data.itemsize
            else:
                number = _number(given.get(p.name), p)
            arguments.append(p.type.dtype.round(np.array([number], p.type.dtype.carrier)))
    execute(function, arguments)
    types = {p.name: p.type.dtype for p in function.params}
    return {name: Output(types[name], memory.data) for name, memory in memories.items() if memory.changed}


def random(rng: np.random.Generator, dtype: DType, drawn: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Carriers of `shape`: normally distributed floats, integers of at most two digits, coin tosses; zeros if `drawn` is ()."""
    if drawn != shape:
        return np.zeros(shape, dtype.carrier)
    if dtype.is_int:
        return rng.integers(max(int(dtype.min), -99), min(int(dtype.max), 99), shape, endpoint=True).astype(dtype.carrier)
    return rng.integers(0, 2, shape).astype(bool) if dtype.is_bool else dtype.round(rng.standard_normal(shape))


def npy(output: Output) -> bytes:
    """A .npy file: of the type's own NumPy type, or the codes of a type that NumPy does not have."""
    file = io.BytesIO()
    codes = output.dtype.encode(output.data, saturate=False)
    np.save(file, codes.view(output.dtype.numpy))
    return file.getvalue()


def summary(item: tuple[str, Output]) -> list[str]:
    """A line of `tilec run`."""
    name, (dtype, data) = item
    shown = f"{dtype}[{', '.join(map(str, data.shape))}]"
    values = data.astype(np.float64).reshape(-1)
    numbers = values[~np.isnan(values)]
    facts = [f"{f(numbers):.6g}" for f in (np.min, np.max, np.mean)] if numbers.size else ["", "", ""]
    return [name, shown, *facts, str(values.size - numbers.size), " ".join(f"{v:.5g}" for v in values[:4])]


def _file(path: str, p: Value) -> Array:
    """Carriers from a .npy file, whose type must be the tensor's (or, for types that NumPy does not have, that of its codes)."""
    dtype: DType = p.type.dtype
    try:
        array = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if array.dtype == dtype.numpy:
        codes = np.ascontiguousarray(array).view(dtype.codes)
        if int(codes.max(initial=0)) >> dtype.bits:
            raise UsageError(f"{path} holds no codes of {dtype}: the largest is {codes.max()}")
        return dtype.decode(codes)
    raise UsageError(f"{p.name} has elements of {dtype}, but {path} holds {_known(array.dtype)}; save it as {np.dtype(dtype.numpy)}")


def _known(found: Any) -> str:
    try:
        return str(from_numpy(found))
    except TileError:
        return str(found)


def _extents(function: Function, arrays: dict[Value, Array], given: dict[str, str], dims: dict[str, int]) -> dict[str, int]:
    """The extent of each runtime dimension: as the files have it, or as told."""
    extents = dict(dims)
    told = dict.fromkeys(dims, "--dim")
    for p, array in arrays.items():
        if array.ndim != p.type.rank:
            raise UsageError(f"{p.name} is {p.type}, but {given[p.name]} has {array.ndim} dimensions")
        for wanted, extent in zip(p.type.shape, array.shape, strict=True):
            before = extents.setdefault(wanted, extent) if isinstance(wanted, str) else wanted
            if before != extent:
                raise UsageError(f"{p.name} has {extent} elements along {wanted}, but {told.get(wanted, 'its type')} says {before}")
            told.setdefault(wanted, p.name)
    missing = [d for d in dimensions(function) if d not in extents]
    if missing:
        raise UsageError(f"the extent of {', '.join(missing)} is not known: say {' '.join(f'--dim {d}=64' for d in missing)}, or give arrays")
    for name, extent in extents.items():
        if not isinstance(extent, int) or extent < 0:
            raise UsageError(f"--dim {name}={extent}: a dimension is a whole number")
    return extents


def _number(text: str | None, p: Value) -> Any:
    if text is None:
        raise UsageError(f"the value of {p.name}, {p.type}, is not known: say --arg {p.name}=2")
    try:
        number = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        number = None
    if not isinstance(number, bool | int | float) or (p.type.dtype.is_int and number != int(number)):
        raise UsageError(f"--arg {p.name}={text}: a number of {p.type} is wanted")
    return number
