"""Arrays of other libraries: where they lie and what they hold, read by the protocols that they share.

In order: PyTorch's tensors by their own attributes (PyTorch is never imported here), then the CUDA array interface, version 3
(https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html), then DLPack, versions 0.8 to 1
(https://dmlc.github.io/dlpack/latest/c_api.html), whose structs are read in place: nothing is copied, and nobody waits.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tilec.errors import TileError, require
from tilec.ir import dtypes
from tilec.ir.dtypes import DType
from tilec.ir.tensor import Tensor

LEGACY = 1  # the default stream's handle where 0 could also mean "none"


class DeviceArray(NamedTuple):
    """An array in a GPU's memory. `strides` are in bytes, as NumPy's; `dtype` is text if tilec has no such type.

    `stream` is the one that its content is ready on, None if that needs no saying; `owner` keeps the memory.
    """

    address: int
    dtype: DType | str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int
    device: int | None  # None: the protocol does not say
    read_only: bool = False
    stream: int | None = None
    owner: Any = None

    @property
    def contiguous(self) -> bool:
        """Whether it lies row by row without gaps (as all arrays do that hold nothing)."""
        return 0 in self.shape or all(
            n == 1 or s == wanted for n, s, wanted in zip(self.shape, self.strides, row_major(self.shape, self.itemsize), strict=True)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.itemsize


def row_major(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides in bytes of an array without gaps."""
    steps = [itemsize]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return tuple(reversed(steps))[-len(shape) :] if shape else ()


def read(x: Any, stream: int | None = None) -> np.ndarray | Tensor | DeviceArray | None:
    """What an array is: in host memory a NumPy array or a `Tensor` that shares its memory, else a `DeviceArray`; None for no array.

    A producer that is asked by DLPack makes `stream` wait for what it has under way. Raises TileError for arrays that can't be had.
    """
    if isinstance(x, np.ndarray | Tensor | DeviceArray):
        return x
    if is_torch(x):
        return from_torch(x)
    if hasattr(x, "__cuda_array_interface__"):
        return from_interface(x.__cuda_array_interface__, x)
    if hasattr(x, "__dlpack_device__"):
        return from_dlpack(x, stream)
    return None


# PyTorch


def torch() -> Any:
    """PyTorch, if the process has loaded it."""
    return sys.modules.get("torch")


def is_torch(x: Any) -> bool:
    tensor = getattr(torch(), "Tensor", None)
    return tensor is not None and isinstance(x, tensor)


def torch_type(dtype: Any) -> DType | str:
    """tilec's type for a type of PyTorch, "torch.float8_e4m3fn", or that text."""
    name = str(dtype).removeprefix("torch.")
    return dtypes.by_numpy_name(name) or str(dtype)


def torch_name(dtype: DType) -> str | None:
    """How PyTorch calls a type, if it has it: "float8_e4m3fn"."""
    name = dtypes.numpy_name(dtype)
    return name if name and hasattr(torch(), name) else None


def from_torch(x: Any) -> np.ndarray | Tensor | DeviceArray:
    """A tensor of PyTorch, strided ones only."""
    dense = x.layout is torch().strided
    require(dense, f"a tensor of PyTorch with the layout {x.layout} is no array in memory", hint="pass x.to_dense()")
    shape, size = tuple(x.shape), x.element_size()
    if x.device.type == "cpu":
        return on_host(x.data_ptr(), torch_type(x.dtype), shape, tuple(s * size for s in x.stride()), size, False, x)
    require(x.device.type == "cuda", f"a tensor on {x.device} is out of reach", hint="move it to the GPU: x.cuda()")
    return DeviceArray(x.data_ptr(), torch_type(x.dtype), shape, tuple(s * size for s in x.stride()), size, x.get_device(), owner=x)


def on_host(
    address: int, dtype: DType | str, shape: tuple[int, ...], strides: tuple[int, ...], size: int, read_only: bool, owner: Any
) -> np.ndarray | Tensor:
    """Memory of the host as NumPy sees it, or a Tensor of a type that NumPy does not have. It shares the memory, and keeps the owner."""
    require(isinstance(dtype, DType), f"tilec has no type {dtype}", hint="wrap the bytes: tc.tensor(buffer, dtype, shape)")
    assert isinstance(dtype, DType)
    own, name = not dtype.is_float or np.dtype(dtype.numpy).kind == "f", dtypes.numpy_name(dtype)
    raw = np.dtype(name if own else dtype.numpy)
    interface = {"data": (address, read_only), "typestr": raw.str, "shape": shape, "strides": strides, "version": 3}
    array = np.asarray(_Held(interface, owner)) if math.prod(shape) else np.empty(shape, raw)
    if own:
        return array
    require(array.flags.c_contiguous, f"an array of {dtype} in host memory is not contiguous", hint="pass x.contiguous()")
    return Tensor(array, dtype, shape)


class _Held:
    """What NumPy makes an array of, and keeps."""

    def __init__(self, interface: dict[str, Any], owner: Any):
        self.__array_interface__ = interface
        self.owner = owner


def likeness(tensors: tuple[Any, ...]) -> Callable[..., bool] | None:
    """A function that tells whether other tensors of PyTorch have the types, shapes, strides and places of these, asking each of them for
    all of this at once; None if PyTorch has no such, or a tensor is given twice, which it refuses."""
    guards = _guards(torch())
    same = _likeness(guards, tensors) if guards else None
    return same if same and same(*tensors) else None


def _likeness(guards: Any, tensors: tuple[Any, ...]) -> Callable[..., bool]:
    shapes, steps = [list(t.shape) for t in tensors], [list(t.stride()) for t in tensors]
    made: Callable[..., bool] = guards(*tensors, dynamic_dims_sizes=shapes, dynamic_dims_strides=steps).check
    return made


@cache
def _guards(torch: Any) -> Any:
    """The class by which torch.compile compares tensors with former ones, in one call. As it is PyTorch's own, it is tried first, and is
    None where it is not there or does anything but what is expected."""
    try:
        found = torch._C._dynamo.guards.TensorGuards
        a, b, c = (torch.empty_strided(shape, (3, 1), dtype=torch.int8) for shape in ((2, 3), (2, 3), (2, 2)))
        other = torch.empty_strided((2, 3), (1, 2), dtype=torch.int8), torch.empty_strided((2, 3), (3, 1), dtype=torch.uint8), c, 1
        same = _likeness(found, (a, b))
        return found if same(b, a) and not any(same(a, x) or same(x, b) for x in other) else None
    except Exception:  # whatever it is
        return None


def raw_stream() -> Callable[[int], int]:
    """PyTorch's function from the number of a GPU to the handle of its current stream."""
    found = getattr(getattr(torch(), "_C", None), "_cuda_getCurrentRawStream", None)
    return found or (lambda device: 0)  # PyTorch without CUDA has none


# the CUDA array interface


def from_interface(found: dict[str, Any], owner: Any = None) -> DeviceArray:
    """What the dictionary says. It does not say the device."""
    require(found.get("mask") is None, "an array with a mask can't be given to a kernel", hint="pass the mask as a tensor of its own")
    typestr = found["typestr"]
    raw = np.dtype(typestr)
    shape = tuple(int(n) for n in found["shape"])
    strides = found.get("strides")
    address, read_only = found["data"]
    steps = row_major(shape, raw.itemsize) if strides is None else tuple(strides)
    return DeviceArray(int(address), numpy_type(raw), shape, steps, raw.itemsize, None, bool(read_only), found.get("stream"), owner)


def numpy_type(raw: np.dtype) -> DType | str:
    """tilec's type for one of NumPy, or its name. Two bytes without a meaning are bf16, as ml_dtypes writes it."""
    if raw.str == "<V2":
        return dtypes.bf16
    if raw.byteorder == ">":
        return f"big-endian {raw.name}"
    return dtypes.by_numpy_name(raw.name) or raw.name


# DLPack

CPU, CUDA, PINNED, MANAGED = 1, 2, 3, 13  # DLDeviceType
READ_ONLY = 1  # DLPACK_FLAG_BITMASK_READ_ONLY
_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}  # DLDataTypeCode
_SMALL = {  # of the codes from 7 on, those that are a type of tilec
    10: "float8_e4m3fn", 12: "float8_e5m2", 14: "float8_e8m0fnu", 15: "float6_e2m3fn", 16: "float6_e3m2fn", 17: "float4_e2m1fn",
}  # fmt: skip


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("manager", ctypes.c_void_p), ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64), ("tensor", _DLTensor),
    ]  # fmt: skip


_name_of = ctypes.pythonapi.PyCapsule_GetName
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
_content_of = ctypes.pythonapi.PyCapsule_GetPointer
_content_of.restype, _content_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def from_dlpack(x: Any, stream: int | None = None) -> np.ndarray | Tensor | DeviceArray:
    """An array by DLPack. Its capsule is looked into and kept, not consumed: dropping it gives the memory back to its producer."""
    kind, _ = x.__dlpack_device__()
    require(kind in (CPU, CUDA, PINNED, MANAGED), f"an array on a device of DLPack's kind {int(kind)} is out of reach", hint="move it to the GPU")
    asked = {} if kind in (CPU, PINNED) else {"stream": stream or LEGACY}
    try:
        try:
            capsule = x.__dlpack__(**asked, max_version=(1, 0))
        except TypeError:  # producers of before version 1 don't know the word
            capsule = x.__dlpack__(**asked)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TileError(f"a {type(x).__name__} can't be had by DLPack: {error}") from None
    name = _name_of(capsule)
    content = _content_of(capsule, name)
    if name == b"dltensor_versioned":
        whole = _Versioned.from_address(content)
        tensor, read_only = whole.tensor, bool(whole.flags & READ_ONLY)
    else:
        tensor, read_only = _DLTensor.from_address(content), False
    return _of_dlpack(tensor, read_only, (capsule, x))


def _of_dlpack(t: _DLTensor, read_only: bool, owner: Any) -> np.ndarray | Tensor | DeviceArray:
    shape = tuple(t.shape[i] for i in range(t.ndim))
    dtype, size = _dlpack_type(t), max(1, t.bits // 8)
    strides = tuple(t.strides[i] * size for i in range(t.ndim)) if t.strides else row_major(shape, size)
    address = (t.data or 0) + t.byte_offset
    if t.device_type in (CPU, PINNED):
        return on_host(address, dtype, shape, strides, size, read_only, owner)
    return DeviceArray(address, dtype, shape, strides, size, t.device_id, read_only, owner=owner)


def _dlpack_type(t: _DLTensor) -> DType | str:
    name = _SMALL.get(t.code) or ("bool" if _KINDS.get(t.code) == "bool" else f"{_KINDS.get(t.code, f'code {t.code} of DLPack, ')}{t.bits}")
    if t.lanes != 1 or t.bits % 8:
        return f"{name} in {t.lanes} lanes" if t.lanes != 1 else f"{name}, which DLPack packs"
    return dtypes.by_numpy_name(name) or name


# streams


def stream_handle(stream: Any) -> int:
    """The driver's handle of a stream: an integer, an object with `cuda_stream` (PyTorch), `__cuda_stream__` (the protocol of cuda.core),
    `ptr` (CuPy) or `handle` (Numba), or one that is an integer to `int` (cuda-python). None is the legacy default stream, 0."""
    if stream is None:
        return 0
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        version, handle = protocol() if callable(protocol) else protocol
        require(version == 0, f"the stream speaks version {version} of __cuda_stream__, and tilec knows 0")
        return int(handle)
    found = next((getattr(stream, a) for a in ("cuda_stream", "ptr", "handle") if hasattr(stream, a)), stream)
    found = getattr(found, "value", found)  # of ctypes
    try:
        return int(found or 0)
    except (TypeError, ValueError):
        hint = "pass its handle as an int, a stream of PyTorch, or an object with __cuda_stream__"
        raise TileError(f"stream is {stream!r}, which is no stream", hint=hint) from None
