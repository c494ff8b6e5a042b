"""Running a cubin on a GPU: the only file that imports the CUDA driver.

`Kernel.launch` is synchronous, with NumPy arrays copied to the device and back; `tilec.launch` calls the driver's own function.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tilec.backend.target import Target, for_device
from tilec.errors import Code, TileError, require

PADDING = 16  # bytes


@cache
def _driver() -> Any:
    """The bindings, initialized; None without a driver or a GPU."""
    try:
        from cuda.bindings import driver

        (error,) = driver.cuInit(0)
    except (ImportError, RuntimeError):  # the bindings load the driver's library on the first call
        return None
    return driver if not error else None


def call(function: str, *args: Any) -> Any:
    """Call the driver; returns its result, a tuple of them if several, and raises TileError with the driver's words for an error."""
    driver = _driver()
    require(driver, "there is no GPU here, or no driver for it")
    error, *results = getattr(driver, function)(*args)
    if error:
        raise refusal(function, error)
    return results[0] if len(results) == 1 else tuple(results)


REMEDIES = {  # by the driver's number of the error
    209: "the cubin was made for another architecture, or by an assembler that is newer than the driver",
    700: "an earlier kernel of this process may be to blame, as launches do not wait: k.simulate(...) and compute-sanitizer find it",
    701: "the kernel needs more registers or shared memory than the GPU has for a block: take smaller tiles or fewer warps",
    900: "the first call of a kernel compiles and loads it: make one before the capture begins",
}


def refusal(function: str, error: Any) -> TileError:
    """The driver's error in its own words, with the remedy if one is known."""
    _, text = _driver().cuGetErrorString(error)
    return TileError(f"{function}: {text.decode() if text else error}", hint=REMEDIES.get(int(error)))


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
    return call("cuDeviceGetCount") if _driver() else 0


@cache
def device(ordinal: int = 0) -> Device | None:
    """The GPU with this number among those that CUDA_VISIBLE_DEVICES leaves, or None."""
    if ordinal >= count():
        return None
    major, minor = (attribute(f"COMPUTE_CAPABILITY_{which}", ordinal) for which in ("MAJOR", "MINOR"))
    name = call("cuDeviceGetName", 256, call("cuDeviceGet", ordinal)).split(b"\0")[0].decode()
    return Device(ordinal, name, (major, minor))


def attribute(name: str, ordinal: int = 0) -> int:
    """What the driver says of a GPU, as in `attribute("L2_CACHE_SIZE")`: the names are those of CUdevice_attribute, but for what they begin with."""
    wanted = getattr(_driver().CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
    return int(call("cuDeviceGetAttribute", wanted, call("cuDeviceGet", ordinal)))


def cache_bytes(ordinal: int = 0) -> int:
    """The size of a GPU's L2 cache."""
    return attribute("L2_CACHE_SIZE", ordinal)


def version() -> str:
    """The CUDA version that the driver speaks, "13.0"."""
    major, minor = divmod(int(call("cuDriverGetVersion")), 1000)
    return f"{major}.{minor // 10}"


@cache
def _context(ordinal: int) -> Any:
    """The primary context, which other libraries in this process use too."""
    require(device(ordinal), "there is no GPU here, or no driver for it")
    return call("cuDevicePrimaryCtxRetain", call("cuDeviceGet", ordinal))


def current() -> int:
    """The number of the GPU whose context is current in this thread, 0 without one."""
    context = call("cuCtxGetCurrent")
    return int(call("cuCtxGetDevice")) if int(context or 0) else 0


@contextmanager
def on(ordinal: int) -> Iterator[None]:
    """The GPU's primary context is current inside; what the thread had is current again afterwards."""
    call("cuCtxPushCurrent", _context(ordinal))
    try:
        yield
    finally:
        _driver().cuCtxPopCurrent()


def synchronize(ordinal: int = 0) -> None:
    """Wait for all that a GPU has under way."""
    with on(ordinal):
        call("cuCtxSynchronize")


def device_of(address: int) -> int:
    """The number of the GPU in whose memory an address lies. Raises TileError for an address of the host."""
    wanted = _driver().CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(call("cuPointerGetAttribute", wanted, address))


def capturing(stream: int) -> bool:
    """Whether launches on the stream are being recorded into a CUDA graph, when nothing may be loaded, allocated or waited for."""
    error, *status = _driver().cuStreamIsCapturing(stream)
    return bool(error) or int(status[0]) != 0  # an error says that another stream's capture forbids the question


def let_wait(stream: int, other: int) -> None:
    """Make a stream wait for what another one has under way; the host does not wait."""
    event = call("cuEventCreate", 2)  # CU_EVENT_DISABLE_TIMING
    try:
        call("cuEventRecord", event, other)
        call("cuStreamWaitEvent", stream, event, 0)
    finally:
        _driver().cuEventDestroy(event)


def launcher() -> Callable[..., tuple[Any, ...]]:
    """The driver's own function of a launch, which returns its error in a tuple. See `repeat` for an error."""
    launch: Callable[..., tuple[Any, ...]] = _driver().cuLaunchKernel
    return launch


WRONG_CONTEXT = (201, 400)  # CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_HANDLE: nothing was launched


def repeat(error: Any, ordinal: int, *launch: Any) -> None:
    """What to do about the error of a launch: try once more if this thread has no context yet, or another GPU's; else raise a TileError.

    So that the usual launch need not ask. A thread without a context gets that of the GPU, as from the CUDA runtime.
    """
    driver = _driver()
    if int(error) in WRONG_CONTEXT:
        if not int(call("cuCtxGetCurrent") or 0):
            call("cuCtxSetCurrent", _context(ordinal))
            (error,) = driver.cuLaunchKernel(*launch)
        else:
            with on(ordinal):
                (error,) = driver.cuLaunchKernel(*launch)
    if error:
        raise refusal("cuLaunchKernel", error)


class Kernel:
    """A kernel of a cubin, loaded on a GPU. `shared` is its dynamic shared memory in bytes."""

    def __init__(self, cubin: bytes, name: str, shared: int = 0, ordinal: int = 0):
        self.name, self.shared, self.ordinal = name, shared, ordinal
        with on(ordinal):
            self._module = call("cuModuleLoadData", cubin)
            self.function = call("cuModuleGetFunction", self._module, name.encode())
            if shared:  # beyond 48 KB, static included, a kernel must ask
                limit = _driver().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                call("cuFuncSetAttribute", self.function, limit, shared)

    def launch(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], stream: int = 0, outputs: Collection[int] | None = None
    ) -> None:
        """Run the kernel and wait for it. `grid` and `block` have 1 to 3 extents, `args` one entry per parameter.

        An argument is a C-contiguous NumPy array (copied to the device, and back if `outputs`, by default all, has its number and
        it is writable), an array on the device (by `__cuda_array_interface__`), or a typed NumPy scalar. Memory given twice is
        one buffer. Raises TileError for other arguments and for what the driver refuses.
        """
        if 0 in grid:
            return
        buffers: dict[tuple[int, int], Any] = {}
        with on(self.ordinal):
            try:
                values = [_value(a, lambda array: self._copy_in(array, stream, buffers)) for a in args]
                pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
                extents = [*grid, 1, 1][:3] + [*block, 1, 1][:3]
                call("cuLaunchKernel", self.function, *extents, self.shared, stream, ctypes.addressof(pointers), 0)
                call("cuStreamSynchronize", stream)
                for n, a in enumerate(args):
                    if isinstance(a, np.ndarray) and a.flags.writeable and (outputs is None or n in outputs):
                        call("cuMemcpyDtoHAsync", a.ctypes.data, buffers[_place(a)], a.nbytes, stream)
                call("cuStreamSynchronize", stream)
            finally:
                for buffer in buffers.values():
                    _driver().cuMemFree(buffer)  # after a fault this fails too, and the first error is the one to tell

    def _copy_in(self, array: np.ndarray, stream: int, buffers: dict[tuple[int, int], Any]) -> int:
        """A copy on the device, filled up with zeros to a multiple of `PADDING` bytes: packed elements are written by atomics on words."""
        if _place(array) not in buffers:
            size = -(-max(array.nbytes, 1) // PADDING) * PADDING
            buffers[_place(array)] = buffer = call("cuMemAlloc", size)
            if size > array.nbytes:
                call("cuMemsetD8Async", int(buffer) + size - PADDING, 0, PADDING, stream)
            if array.nbytes:
                call("cuMemcpyHtoDAsync", buffer, array.ctypes.data, array.nbytes, stream)
        return int(buffers[_place(array)])


def _place(array: np.ndarray) -> tuple[int, int]:
    return array.ctypes.data, array.nbytes


def _value(argument: Any, copy_in: Callable[[np.ndarray], int]) -> Any:
    """One kernel parameter as ctypes data, as wide as the parameter."""
    if isinstance(argument, np.ndarray):
        require(argument.flags.c_contiguous, "an array on its way to the GPU must be C-contiguous", hint="np.ascontiguousarray", code=Code.ARRAY_MEMORY)
        return ctypes.c_uint64(copy_in(argument))
    if hasattr(argument, "__cuda_array_interface__"):
        return ctypes.c_uint64(argument.__cuda_array_interface__["data"][0])
    if isinstance(argument, np.generic):
        return (ctypes.c_char * argument.nbytes).from_buffer_copy(argument.tobytes())
    raise TileError(f"a kernel takes arrays and typed scalars, not {type(argument).__name__}", hint="np.int32(n), np.float32(x)", code=Code.ARRAY_TYPE)
