"""From what a caller passes to what a kernel takes: arrays matched with declared types, dimensions read off their shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.arrays import DeviceArray, read, row_major, torch_name
from tilec.ir.core import Value
from tilec.ir.dtypes import DType, bf16, from_numpy
from tilec.ir.memories import Memory
from tilec.ir.ops.base import show
from tilec.ir.tensor import Tensor
from tilec.ir.types import TensorType


class Callee(Protocol):
    """What takes arguments: a Function, or what launches one."""

    @property
    def params(self) -> tuple[Value, ...]: ...


class Arguments:
    """The arguments of one call, checked: types, shapes against dimensions, contiguity.

    `tensors` by name hold the caller's own memory; `dims` the runtime dimensions that their shapes say. What other libraries have under way on
    their arrays, `stream` is made to wait for.
    """

    def __init__(self, function: Callee, given: dict[str, Any], stream: int | None = None):
        self.function = function
        self.stream = stream
        self.given = given
        self.tensors: dict[str, np.ndarray | Tensor | DeviceArray] = {}
        self.dims: dict[str, int] = {}
        self.told_by: dict[str, str] = {}
        for param in function.params:
            if isinstance(param.type, TensorType):
                self.tensors[param.name] = self._tensor(param, given[param.name])
            elif param.name in given:
                self._scalar(param, given[param.name])

    def _tensor(self, param: Value, given: Any) -> np.ndarray | Tensor | DeviceArray:
        type: TensorType = param.type
        name = param.name
        value = read(given, self.stream)
        if value is None:
            raise TileError(
                f"{name} is a tensor {type}, but a {type_name(given)} is given",
                hint="pass a NumPy array, one of PyTorch, CuPy or JAX, or tc.tensor(buffer, dtype, shape) for types that they do not have",
            )
        dtype = array_type(value) if isinstance(value, np.ndarray) else value.dtype
        if dtype != type.dtype:
            raise TileError(f"{name} has elements of {type.dtype}, but the array given holds {dtype}", hint=conversion(given, type.dtype))
        shape = tuple(value.shape)
        require(
            len(shape) == type.rank,
            f"{name} has {type.rank} dimensions {show(type.shape)}, but the array given has shape {show(shape)}",
            hint="reshape it, or declare the tensor with as many extents",
            code=Code.ARRAY_SHAPE,
        )
        for axis, (wanted, found) in enumerate(zip(type.shape, shape, strict=True)):
            self._extent(name, axis, wanted, found)
        if isinstance(value, Tensor):
            return value
        if type.strided:
            self._strides(name, value)
        elif not (value.contiguous if isinstance(value, DeviceArray) else value.flags.c_contiguous):
            copy = f"np.ascontiguousarray({name})" if isinstance(given, np.ndarray) else f"{name}.contiguous() or a copy"
            raise TileError(f"{name} is not contiguous", hint=f"declare it as tc.strided(...), or pass {copy}", code=Code.ARRAY_MEMORY)
        return value

    def _strides(self, name: str, value: np.ndarray | DeviceArray) -> None:
        whole = all(stride % value.itemsize == 0 for stride in value.strides)
        require(
            whole,
            f"the strides of {name}, {show(value.strides)} bytes, are no multiples of its elements",
            hint=f"pass {name}.copy()",
            code=Code.ARRAY_MEMORY,
        )
        backwards = any(stride < 0 for stride, n in zip(value.strides, value.shape, strict=True) if n > 1)
        hint = f"pass {name}.copy(), or view the tensor backwards inside the kernel: tc.tensor_view"
        require(not backwards, f"{name} has a negative stride, {show(value.strides)} bytes", hint=hint, code=Code.ARRAY_MEMORY)

    def _extent(self, name: str, axis: int, wanted: int | str, found: int) -> None:
        if isinstance(wanted, int):
            require(found == wanted, f"{name} has {wanted} elements along axis {axis}, but the array given has {found}", code=Code.ARRAY_SHAPE)
            return
        known = self.dims.setdefault(wanted, found)
        teller = self.told_by.setdefault(wanted, name)
        require(known == found, f"{wanted} is {known} by {teller}, but {found} by axis {axis} of {name}", code=Code.ARRAY_SHAPE)
        require(found < 2**31, f"{wanted} is {found}, but a dimension is below 2**31", code=Code.ARRAY_SHAPE)

    def _scalar(self, param: Value, value: Any) -> None:
        dtype: DType = param.type.dtype
        if isinstance(value, np.generic | np.ndarray):
            value = number(value)
        kinds = (bool,) if dtype.is_bool else (int,) if dtype.is_int else (int, float)
        if not isinstance(value, kinds) or (isinstance(value, bool) and not dtype.is_bool):
            raise TileError(f"{param.name} is a scalar {dtype}, but {value!r} is given", code=Code.SCALAR)
        if dtype.is_int:
            require(dtype.min <= value <= dtype.max, f"{param.name} is {value}, which {dtype} does not hold", code=Code.SCALAR)

    def scalars(self) -> dict[str, Any]:
        """The value of every parameter that is no tensor, as a Python number."""
        strides = {f"{name}.stride{axis}": step for name, array in self.tensors.items() for axis, step in enumerate(steps(array))}
        known = {**strides, **self.dims, **self.given}
        return {p.name: number(known[p.name]) for p in self.function.params if not isinstance(p.type, TensorType)}

    def on_host(self, name: str) -> np.ndarray | Tensor:
        """A tensor that can be read here. Raises TileError if it lies on a GPU."""
        array = self.tensors[name]
        if isinstance(array, DeviceArray) or (isinstance(array, Tensor) and array.device is not None):
            raise TileError(f"{name} lies on a GPU, and arrays of the host are wanted here", hint="copy it to the host: x.cpu()", code=Code.ARRAY_MEMORY)
        return array

    def carriers(self) -> list[Any]:
        """What the interpreter takes: a Memory for each tensor, an array of shape (1,) for each scalar. One memory for one array."""
        scalars = self.scalars()
        memories: dict[int, Memory] = {}
        found: list[Any] = []
        for p in self.function.params:
            if not isinstance(p.type, TensorType):
                found.append(p.type.dtype.round(np.asarray([scalars[p.name]], p.type.dtype.carrier)))
                continue
            array = self.on_host(p.name)
            key = id(array) if isinstance(array, Tensor) else array.__array_interface__["data"][0]
            if key not in memories or memories[key].data.shape != tuple(array.shape):
                memories[key] = Memory(values_of(array, p.type.dtype), p.name, p.type.dtype.edge)
            found.append(memories[key])
        return found

    def write_back(self, carriers: Sequence[Any]) -> None:
        """Put what a run has changed into the caller's arrays."""
        for p, memory in zip(self.function.params, carriers, strict=True):
            if isinstance(memory, Memory):
                memory.settle()
            if isinstance(memory, Memory) and memory.changed:
                assign(p.name, self.on_host(p.name), memory.data, p.type.dtype)


def check_apart(tensors: dict[str, np.ndarray | Tensor | DeviceArray], pairs: Iterable[Sequence[str]]) -> None:
    """Of each pair of tensors, the first is read ahead by a loop that writes the second. TileError if they share memory."""
    for ahead, written in pairs:
        if same_memory(tensors[ahead], tensors[written]):
            text = f"{ahead} and {written} share memory, and a loop with stages= that writes {written} reads {ahead} rounds ahead"
            raise TileError(text, hint=f"give a copy for {ahead}, or take tc.range without stages", code=Code.ARRAY_MEMORY)


def same_memory(x: Any, y: Any) -> bool:
    """Whether two tensors share an element, as far as that can be told at once."""
    try:
        return np.shares_memory(as_numpy(x), as_numpy(y), max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return False


class _Interface:
    """What NumPy asks of an array's memory: without looking at it, so that it may be a GPU's."""

    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int):
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape, "strides": strides, "typestr": f"|V{itemsize}"}


def as_numpy(x: np.ndarray | Tensor | DeviceArray) -> np.ndarray:
    """A tensor as an array of NumPy, of which only where it lies counts."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, Tensor):
        return x.bytes if x.device is None else np.asarray(_Interface(x.address, (x.nbytes,), (1,), 1))
    return np.asarray(_Interface(x.address, x.shape, x.strides, x.itemsize))


def with_workspaces(types: dict[str, Any], given: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The arguments of a call with zeros for each workspace among `names` that the caller left out, in the order of `types`."""
    if all(name in given for name in names):
        return given
    tensors = [(t.shape, getattr(given[n], "shape", ())) for n, t in types.items() if n in given and isinstance(t, TensorType)]
    dims = {d: n for shape, found in tensors for d, n in zip(shape, found, strict=False) if isinstance(d, str)}
    full = dict(given)
    for name in (n for n in names if n not in given):
        type: TensorType = types[name]
        for n in type.shape:
            known = isinstance(n, int) or n in dims
            require(
                known,
                f"the extent {n} of the workspace {name} is that of no other tensor",
                hint="pass the workspace, or a tensor that has it",
                code=Code.EXTENT,
            )
        shape = tuple(dims[n] if isinstance(n, str) else n for n in type.shape)
        native = type.dtype.computes and type.dtype != bf16
        full[name] = np.zeros(shape, type.dtype.numpy) if native else Tensor.from_values(np.zeros(shape), type.dtype)
    return {name: full[name] for name in types if name in full}


def check_clean(bound: Arguments, names: Sequence[str], when: str) -> None:
    """Raise TileError unless every workspace is full of zeros."""
    for name in names:
        array = bound.on_host(name)
        clean = not np.any(array.values() if isinstance(array, Tensor) else array)
        require(
            clean,
            f"the workspace {name} holds other values than 0 {when}",
            hint="a kernel leaves its workspace as it found it: store zeros",
            code=Code.WORKSPACE,
        )


def number(value: Any) -> Any:
    """A scalar of NumPy as Python's."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value


def steps(array: np.ndarray | Tensor | DeviceArray) -> tuple[int, ...]:
    """Strides in elements."""
    if isinstance(array, Tensor):
        return row_major(array.shape, 1)
    return tuple(stride // array.itemsize for stride in array.strides)


def machine_arguments(function: Callee, bound: Arguments) -> list[Any]:
    """What a launch passes for each parameter: the bytes of each tensor, a typed scalar for the rest."""
    scalars = bound.scalars()
    found: list[Any] = []
    for p in function.params:
        dtype = p.type.dtype
        if isinstance(p.type, TensorType):
            array = bound.on_host(p.name)
            if apart(array, dtype):
                array = Tensor.from_values(values_of(array, dtype), dtype, saturate=False)
            found.append(array.bytes if isinstance(array, Tensor) else spanned(array) if p.type.strided else array)
        else:
            code = dtype.encode(np.asarray([scalars[p.name]], dtype.carrier), saturate=False)
            found.append(code.view(dtype.numpy)[0] if not dtype.is_bool else np.bool_(scalars[p.name]))
    return found


def apart(array: np.ndarray | Tensor, dtype: DType) -> bool:
    """Whether elements that a kernel takes packed lie in a byte each, as ml_dtypes has them."""
    return isinstance(array, np.ndarray) and bool(dtype.bits % 8)


def take_back(function: Callee, bound: Arguments, held: Sequence[Any]) -> None:
    """Put what a run left in packed copies, among `machine_arguments`, into the caller's arrays, if they can be written."""
    for p, packed in zip(function.params, held, strict=True):
        if isinstance(p.type, TensorType) and apart(array := bound.on_host(p.name), p.type.dtype) and writeable(array):
            assign(p.name, array, Tensor(packed, p.type.dtype, array.shape).values(), p.type.dtype)


def writeable(array: np.ndarray | Tensor | DeviceArray) -> bool:
    """Whether it may be written."""
    held = array.buffer if isinstance(array, Tensor) else array
    return not held.read_only if isinstance(held, DeviceArray) else bool(held.flags.writeable)


def in_words(array: Any, dtype: DType) -> Any:
    """The bytes of elements that don't fill bytes, up to a whole word as in the GPU's allocations: they are stored by atomics on words."""
    return np.concatenate([array, np.zeros(-len(array) % 4, np.uint8)]) if dtype.bits % 8 and np.ndim(array) else array


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
    require(array.flags.writeable, f"{name} is written by the kernel, but the array given is read-only", code=Code.ARRAY_MEMORY)
    array[...] = values if dtype.is_bool else dtype.encode(values, saturate=False).view(array.dtype)


def array_type(array: np.ndarray) -> DType | str:
    """The element type of a NumPy array, or its name where tilec has none."""
    try:
        return from_numpy(array.dtype) if array.dtype.byteorder != ">" else f"big-endian {array.dtype}"
    except TileError:
        return str(array.dtype)


def conversion(value: Any, dtype: DType) -> str:
    """How to make an array of a type."""
    if dtype.element is not dtype:
        return f"make one by tilec.quant.pack(w, {str(dtype)!r}), or by tc.tensor(buffer, {str(dtype)!r}, shape) of words that are packed so already"
    numpy_name = {"f16": "np.float16", "f32": "np.float32", "f64": "np.float64"}.get(str(dtype))
    if numpy_name and isinstance(value, np.ndarray):
        return f"convert it: array.astype({numpy_name})"
    if not isinstance(value, np.ndarray | Tensor) and torch_name(dtype):
        return f"convert it: x.to(torch.{torch_name(dtype)})"
    return f"make one by tc.Tensor.from_values(values, {dtype}), or tc.tensor(buffer, {dtype}, shape) for packed elements"


def type_name(value: Any) -> str:
    return type(value).__name__
