"""From what a caller passes to what a kernel takes: arrays matched with declared types, dimensions read off their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilec.errors import TileError, require
from tilec.ir.core import Function, Value
from tilec.ir.dtypes import DType, from_numpy
from tilec.ir.interp import Memory
from tilec.ir.ops.base import show
from tilec.ir.tensor import Tensor
from tilec.ir.types import TensorType


class Arguments:
    """The arguments of one call, checked: types, shapes against dimensions, contiguity.

    `tensors` by name hold the caller's own memory; `dims` the runtime dimensions that their shapes say.
    """

    def __init__(self, function: Function, given: dict[str, Any]):
        self.function = function
        self.given = given
        self.tensors: dict[str, np.ndarray | Tensor] = {}
        self.dims: dict[str, int] = {}
        self.told_by: dict[str, str] = {}
        for param in function.params:
            if isinstance(param.type, TensorType):
                self.tensors[param.name] = self._tensor(param, given[param.name])
            elif param.name in given:
                self._scalar(param, given[param.name])

    def _tensor(self, param: Value, value: Any) -> np.ndarray | Tensor:
        type: TensorType = param.type
        name = param.name
        if not isinstance(value, np.ndarray | Tensor):
            raise TileError(
                f"{name} is a tensor {type}, but a {type_name(value)} is given",
                hint="pass a NumPy array, or tc.tensor(buffer, dtype, shape) for types that NumPy does not have",
            )
        dtype = value.dtype if isinstance(value, Tensor) else array_type(name, value, type.dtype)
        if dtype != type.dtype:
            raise TileError(f"{name} has elements of {type.dtype}, but the array given holds {dtype}", hint=conversion(value, type.dtype))
        shape = tuple(value.shape)
        require(len(shape) == type.rank, f"{name} has {type.rank} dimensions {show(type.shape)}, but the array given has shape {show(shape)}")
        for axis, (wanted, found) in enumerate(zip(type.shape, shape, strict=True)):
            self._extent(name, axis, wanted, found)
        if isinstance(value, np.ndarray) and not type.strided and not value.flags.c_contiguous:
            raise TileError(f"{name} is not contiguous", hint=f"declare it as tc.strided(...), or pass np.ascontiguousarray({name})")
        if isinstance(value, np.ndarray) and type.strided:
            self._strides(name, value)
        return value

    def _strides(self, name: str, value: np.ndarray) -> None:
        whole = all(stride % value.itemsize == 0 for stride in value.strides)
        require(whole, f"the strides of {name}, {show(value.strides)} bytes, are no multiples of its elements", hint=f"pass {name}.copy()")
        backwards = any(stride < 0 for stride, n in zip(value.strides, value.shape, strict=True) if n > 1)
        hint = f"pass {name}.copy(), or view the tensor backwards inside the kernel: tc.tensor_view"
        require(not backwards, f"{name} has a negative stride, {show(value.strides)} bytes", hint=hint)

    def _extent(self, name: str, axis: int, wanted: int | str, found: int) -> None:
        if isinstance(wanted, int):
            require(found == wanted, f"{name} has {wanted} elements along axis {axis}, but the array given has {found}")
            return
        known = self.dims.setdefault(wanted, found)
        teller = self.told_by.setdefault(wanted, name)
        require(known == found, f"{wanted} is {known} by {teller}, but {found} by axis {axis} of {name}")
        require(found < 2**31, f"{wanted} is {found}, but a dimension is below 2**31")

    def _scalar(self, param: Value, value: Any) -> None:
        dtype: DType = param.type.dtype
        if hasattr(value, "item") and np.ndim(value) == 0:
            value = value.item()
        kinds = (bool,) if dtype.is_bool else (int,) if dtype.is_int else (int, float)
        if not isinstance(value, kinds) or (isinstance(value, bool) and not dtype.is_bool):
            raise TileError(f"{param.name} is a scalar {dtype}, but {value!r} is given")
        if dtype.is_int:
            require(dtype.min <= value <= dtype.max, f"{param.name} is {value}, which {dtype} does not hold")

    def scalars(self) -> dict[str, Any]:
        """The value of every parameter that is no tensor, as a Python number."""
        strides = {
            f"{name}.stride{axis}": stride // array.itemsize
            for name, array in self.tensors.items()
            if isinstance(array, np.ndarray)
            for axis, stride in enumerate(array.strides)
        }
        known = {**strides, **self.dims, **self.given}
        return {p.name: known[p.name] for p in self.function.params if not isinstance(p.type, TensorType)}

    def carriers(self) -> list[Any]:
        """What the interpreter takes: a Memory for each tensor, an array of shape (1,) for each scalar. One memory for one array."""
        scalars = self.scalars()
        memories: dict[int, Memory] = {}
        found: list[Any] = []
        for p in self.function.params:
            if not isinstance(p.type, TensorType):
                found.append(p.type.dtype.round(np.asarray([scalars[p.name]], p.type.dtype.carrier)))
                continue
            array = self.tensors[p.name]
            key = id(array) if isinstance(array, Tensor) else array.__array_interface__["data"][0]
            if key not in memories or memories[key].data.shape != tuple(array.shape):
                memories[key] = Memory(values_of(array, p.type.dtype), p.name)
            found.append(memories[key])
        return found

    def write_back(self, carriers: Sequence[Any]) -> None:
        """Put what a run has changed into the caller's arrays."""
        for p, memory in zip(self.function.params, carriers, strict=True):
            if isinstance(memory, Memory) and memory.changed:
                assign(p.name, self.tensors[p.name], memory.data, p.type.dtype)


def machine_arguments(function: Function, bound: Arguments) -> list[Any]:
    """What a launch passes for each parameter: the bytes of each tensor, a typed scalar for the rest."""
    scalars = bound.scalars()
    found: list[Any] = []
    for p in function.params:
        if isinstance(p.type, TensorType):
            array = bound.tensors[p.name]
            found.append(array.bytes if isinstance(array, Tensor) else spanned(array) if p.type.strided else array)
        else:
            dtype = p.type.dtype
            code = dtype.encode(np.asarray([scalars[p.name]], dtype.carrier), saturate=False)
            found.append(code.view(dtype.numpy)[0] if not dtype.is_bool else np.bool_(scalars[p.name]))
    return found


def spanned(array: np.ndarray) -> np.ndarray:
    """All elements from the first to the last of a strided array, gaps included, in a row."""
    if not array.size:
        return array.reshape(-1)
    count = 1 + sum((n - 1) * stride // array.itemsize for n, stride in zip(array.shape, array.strides, strict=True))
    return np.lib.stride_tricks.as_strided(array, (count,), (array.itemsize,))


def values_of(array: np.ndarray | Tensor, dtype: DType) -> np.ndarray:
    """The elements as carriers."""
    if isinstance(array, Tensor):
        return array.values()
    if dtype.is_bool:
        return array.copy()
    contiguous = np.ascontiguousarray(array)
    return np.array(dtype.decode(contiguous.view(dtype.codes)).reshape(array.shape), dtype.carrier)


def assign(name: str, array: np.ndarray | Tensor, values: np.ndarray, dtype: DType) -> None:
    """Encode carriers into the caller's array."""
    if isinstance(array, Tensor):
        array.assign(values, saturate=False)  # they are values of the type already, infinities too
        return
    require(array.flags.writeable, f"{name} is written by the kernel, but the array given is read-only")
    array[...] = values if dtype.is_bool else dtype.encode(values, saturate=False).view(array.dtype)


def array_type(name: str, array: np.ndarray, wanted: DType) -> DType:
    """The element type of a NumPy array."""
    try:
        return from_numpy(array.dtype)
    except TileError:
        hint = conversion(array, wanted)
        raise TileError(f"{name} has elements of {wanted}, but the array given holds {array.dtype}", hint=hint) from None


def conversion(value: Any, dtype: DType) -> str:
    """How to make an array of a type."""
    numpy_name = {"f16": "np.float16", "f32": "np.float32", "f64": "np.float64"}.get(str(dtype))
    if numpy_name and isinstance(value, np.ndarray):
        return f"convert it: array.astype({numpy_name})"
    return f"make one by tc.Tensor.from_values(values, {dtype}), or tc.tensor(buffer, {dtype}, shape) for packed elements"


def type_name(value: Any) -> str:
    return type(value).__name__
