"""Running a cubin on a GPU: the only file that imports the CUDA driver.

Synchronous, and with NumPy arrays copied to the device and back; an array that is on the device already is used where it is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tilec.backend.target import Target, for_device
from tilec.errors import TileError, require


@cache
def _driver() -> Any:
    """The bindings, initialized; None without a driver or a GPU."""
    try:
        from cuda.bindings import driver

        (error,) = driver.cuInit(0)
    except (ImportError, RuntimeError):  # the bindings load the driver's library on the first call
        return None
    return driver if not error else None


def _call(function: str, *args: Any) -> Any:
    """Call the driver; returns its result, a tuple of them if several, and raises TileError with the driver's words for an error."""
    driver = _driver()
    require(driver, "there is no GPU here, or no driver for it")
    error, *results = getattr(driver, function)(*args)
    if error:
        _, text = driver.cuGetErrorString(error)
        raise TileError(f"{function}: {text.decode() if text else error}")
    return results[0] if len(results) == 1 else tuple(results)


class Device(NamedTuple):
    """A GPU and the architecture that cubins for it should be made for."""

    ordinal: int
    name: str
    capability: tuple[int, int]

    @property
    def target(self) -> Target:
        return for_device(self.capability)


def count() -> int:
    """How many GPUs there are."""
    return _call("cuDeviceGetCount") if _driver() else 0


@cache
def device(ordinal: int = 0) -> Device | None:
    """The GPU with this number among those that CUDA_VISIBLE_DEVICES leaves, or None."""
    if ordinal >= count():
        return None
    handle = _call("cuDeviceGet", ordinal)
    attribute = _driver().CUdevice_attribute
    major, minor = (
        _call("cuDeviceGetAttribute", a, handle)
        for a in (attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
    )
    name = _call("cuDeviceGetName", 256, handle).split(b"\0")[0].decode()
    return Device(ordinal, name, (major, minor))


@cache
def _context(ordinal: int) -> Any:
    """The primary context, which other libraries in this process use too."""
    require(device(ordinal), "there is no GPU here, or no driver for it")
    return _call("cuDevicePrimaryCtxRetain", _call("cuDeviceGet", ordinal))


class Kernel:
    """A kernel of a cubin, loaded on a GPU. `shared` is its dynamic shared memory in bytes."""

    def __init__(self, cubin: bytes, name: str, shared: int = 0, ordinal: int = 0):
        self.name, self.shared, self.ordinal = name, shared, ordinal
        _call("cuCtxSetCurrent", _context(ordinal))
        self._module = _call("cuModuleLoadData", cubin)
        self._function = _call("cuModuleGetFunction", self._module, name.encode())
        if shared:  # beyond 48 KB, static included, a kernel must ask
            limit = _driver().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _call("cuFuncSetAttribute", self._function, limit, shared)

    def launch(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], stream: int = 0, outputs: Collection[int] | None = None
    ) -> None:
        """Run the kernel and wait for it. `grid` and `block` have 1 to 3 extents, `args` one entry per parameter.

        An argument is a C-contiguous NumPy array (copied to the device, and back if `outputs`, by default all, has its number and
        it is writable), an array on the device (by `__cuda_array_interface__`), or a typed NumPy scalar. Memory given twice is
        one buffer. Raises TileError for other arguments and for what the driver refuses.
        """
        _call("cuCtxSetCurrent", _context(self.ordinal))
        if 0 in grid:
            return
        buffers: dict[tuple[int, int], Any] = {}
        try:
            values = [_value(a, lambda array: self._copy_in(array, stream, buffers)) for a in args]
            pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
            extents = [*grid, 1, 1][:3] + [*block, 1, 1][:3]
            _call("cuLaunchKernel", self._function, *extents, self.shared, stream, ctypes.addressof(pointers), 0)
            _call("cuStreamSynchronize", stream)
            for n, a in enumerate(args):
                if isinstance(a, np.ndarray) and a.flags.writeable and (outputs is None or n in outputs):
                    _call("cuMemcpyDtoHAsync", a.ctypes.data, buffers[_place(a)], a.nbytes, stream)
            _call("cuStreamSynchronize", stream)
        finally:
            for buffer in buffers.values():
                _driver().cuMemFree(buffer)  # after a fault this fails too, and the first error is the one to tell

    def _copy_in(self, array: np.ndarray, stream: int, buffers: dict[tuple[int, int], Any]) -> int:
        if _place(array) not in buffers:
            buffers[_place(array)] = buffer = _call("cuMemAlloc", max(array.nbytes, 1))
            _call("cuMemcpyHtoDAsync", buffer, array.ctypes.data, array.nbytes, stream)
        return int(buffers[_place(array)])


def _place(array: np.ndarray) -> tuple[int, int]:
    return array.ctypes.data, array.nbytes


def _value(argument: Any, copy_in: Callable[[np.ndarray], int]) -> Any:
    """One kernel parameter as ctypes data, as wide as the parameter."""
    if isinstance(argument, np.ndarray):
        require(argument.flags.c_contiguous, "an array on its way to the GPU must be C-contiguous", hint="np.ascontiguousarray")
        return ctypes.c_uint64(copy_in(argument))
    if hasattr(argument, "__cuda_array_interface__"):
        return ctypes.c_uint64(argument.__cuda_array_interface__["data"][0])
    if isinstance(argument, np.generic):
        return (ctypes.c_char * argument.nbytes).from_buffer_copy(argument.tobytes())
    raise TileError(f"a kernel takes arrays and typed scalars, not {type(argument).__name__}", hint="np.int32(n), np.float32(x)")
