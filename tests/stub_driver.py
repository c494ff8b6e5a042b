"""A stand-in for the CUDA driver: device memory is host memory, and each launch is recorded, its parameters decoded by their types.

`GPU` has as much of cuda.bindings.driver as tilec uses. A launch computes nothing, unless `GPU.running` is a function of the launch.
"""

import contextlib
import ctypes
import struct
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from tilec.backend import driver
from tilec.ir.types import TensorType
from tilec.launch import code_of


@dataclass
class Launch:
    """What one call of cuLaunchKernel was given."""

    function: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    stream: int
    pointers: list[int]  # of the parameters
    thread: int = field(default_factory=threading.get_ident)
    bytes: list[bytes] = field(default_factory=list)

    def values(self, params) -> dict[str, Any]:
        """The parameters by name: addresses, and numbers as their types say."""
        found = {}
        for p, data in zip(params, self.bytes, strict=True):
            code = "Q" if isinstance(p.type, TensorType) else code_of(p.type)
            (found[p.name],) = struct.unpack_from(code, data)
        return found


class GPU:
    """Devices, contexts, modules, memory and streams that are numbers. `calls` lists the functions called, `launches` the launches."""

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE=38,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=16, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN=97, CU_DEVICE_ATTRIBUTE_CLOCK_RATE=13,
        CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE=36, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH=37,
    )  # fmt: skip
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    CUpointer_attribute = SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL=9)

    def __init__(self, devices=1, capability=(8, 0)):
        self.devices, self.capability = devices, capability
        self.parameters: dict[str, int] = {}  # how many a kernel takes, by its name
        self.calls: list[tuple[Any, ...]] = []
        self.launches: list[Launch] = []
        self.modules: list[bytes] = []
        self.memory: dict[int, Any] = {}
        self.errors: dict[str, list[int]] = {}  # what the next calls of a function say
        self.captured: set[int] = set()  # streams
        self.homes: dict[int, int] = {}  # devices of addresses
        self.contexts = threading.local()
        self.running = None

    def __getattr__(self, name):
        if not name.startswith("cu"):
            raise AttributeError(name)
        act = getattr(type(self), "do_" + name, lambda *_: ())

        def call(*args):
            self.calls.append((name, *args))
            error = self.errors[name].pop(0) if self.errors.get(name) else 0
            return (error, *(act(self, *args) if not error else ()))

        return call

    def called(self, name):
        return [list(args) for n, *args in self.calls if n == name]

    @property
    def stack(self):
        if not hasattr(self.contexts, "stack"):
            self.contexts.stack = []
        return self.contexts.stack

    def cuGetErrorString(self, error):
        return 0, {1: b"invalid argument", 700: b"an illegal memory access was encountered"}.get(int(error), b"unknown error")

    def do_cuDeviceGetCount(self):
        return (self.devices,)

    def do_cuDeviceGet(self, ordinal):
        return (ordinal,)

    def do_cuDeviceGetName(self, size, device):
        return (b"Stub 3000" + bytes(size - 9),)

    def do_cuDeviceGetAttribute(self, attribute, device):
        known = {75: self.capability[0], 76: self.capability[1], 38: 1 << 20, 16: 4, 97: 101376, 13: 1_500_000, 36: 2_000_000, 37: 384}
        return (known[attribute],)

    def do_cuDevicePrimaryCtxRetain(self, device):
        return (100 + device,)

    def do_cuCtxPushCurrent(self, context):
        self.stack.append(context)
        return ()

    def do_cuCtxPopCurrent(self):
        return (self.stack.pop(),)

    def do_cuCtxSetCurrent(self, context):
        self.stack[-1:] = [context]
        return ()

    def do_cuCtxGetCurrent(self):
        return (self.stack[-1] if self.stack else 0,)

    def do_cuCtxGetDevice(self):
        return (self.stack[-1] - 100,)

    def do_cuModuleLoadData(self, data):
        self.modules.append(data)
        return (len(self.modules) - 1,)

    def do_cuModuleGetFunction(self, module, name):
        return (("function", name.decode(), self.stack[-1] - 100, module),)

    def do_cuStreamIsCapturing(self, stream):
        return (int(stream in self.captured),)

    def do_cuPointerGetAttribute(self, attribute, address):
        return (self.homes[address],)

    def do_cuDriverGetVersion(self):
        return (13000,)

    def do_cuEventElapsedTime(self, start, end):
        return (0.25,)

    do_cuMemcpyHtoD = do_cuMemcpyDtoH = do_cuMemcpyDtoD = lambda self, to, source, size: (ctypes.memmove(to, source, size), ())[1]

    def do_cuEventCreate(self, flags):
        return ("event",)

    def do_cuMemAlloc(self, size):
        buffer = ctypes.create_string_buffer(b"\xcd" * (size + 16), size + 16)
        address = -(-ctypes.addressof(buffer) // 16) * 16
        self.memory[address] = buffer
        return (address,)

    def do_cuMemFree(self, address):
        del self.memory[address]
        return ()

    def do_cuMemcpyHtoDAsync(self, to, source, size, stream):
        ctypes.memmove(to, source, size)
        return ()

    do_cuMemcpyDtoHAsync = do_cuMemcpyHtoDAsync

    def do_cuMemsetD8Async(self, to, value, size, stream=0):
        ctypes.memset(to, value, size)
        return ()

    do_cuMemsetD8 = do_cuMemsetD8Async

    def do_cuLaunchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        count = self.parameters.get(function[1], 0)
        pointers = [int(p) for p in (ctypes.c_uint64 * count).from_address(parameters)]
        data = [ctypes.string_at(p, 8) for p in pointers]
        launch = Launch(function, (gx, gy, gz), (bx, by, bz), shared, stream, pointers, bytes=data)
        self.launches.append(launch)
        if self.running:
            self.running(launch)
        return ()


@contextlib.contextmanager
def stubbed(gpu):
    """`gpu` is the driver inside."""
    found = driver._driver
    driver._driver = lambda: gpu
    driver.device.cache_clear()
    driver._context.cache_clear()
    try:
        yield gpu
    finally:
        driver._driver = found
        driver.device.cache_clear()
        driver._context.cache_clear()


# arrays that claim to lie on a GPU


def aligned(shape, dtype):
    """An array that begins at a multiple of 16 bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 16, np.uint8)
    start = -raw.ctypes.data % 16
    return raw[start : start + size].view(dtype).reshape(shape)


class Cuda:
    """An array with the CUDA array interface, version 3, over memory of the host."""

    def __init__(self, array, stream=None, read_only=False, **more):
        self.array = array
        strides = None if array.flags.c_contiguous else array.strides
        self.interface = {
            "typestr": array.dtype.str, "shape": array.shape, "strides": strides, "data": (array.ctypes.data, read_only), "version": 3,
            "stream": stream, **more,
        }  # fmt: skip

    @property
    def __cuda_array_interface__(self):
        return self.interface


class Dlpack:
    """An array that speaks DLPack alone. `versioned` producers know `max_version`."""

    def __init__(self, array, device=0, kind=2, code=None, versioned=True, read_only=False):
        self.array, self.device, self.kind, self.versioned, self.read_only = array, device, kind, versioned, read_only
        self.code = {"f": 2, "i": 0, "u": 1, "b": 6}[array.dtype.kind] if code is None else code
        self.streams, self.freed = [], 0

    def __dlpack_device__(self):
        return self.kind, self.device

    def __dlpack__(self, **asked):
        if not self.versioned and "max_version" in asked:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.streams.append(asked.get("stream"))
        a = self.array
        self.shape = (ctypes.c_int64 * a.ndim)(*a.shape)
        self.strides = (ctypes.c_int64 * a.ndim)(*(s // a.itemsize for s in a.strides))
        tensor = struct.pack(
            "@PiiiBBHPPQ", a.ctypes.data, self.kind, self.device, a.ndim, self.code, 8 * a.itemsize, 1, ctypes.addressof(self.shape),
            ctypes.addressof(self.strides), 0,
        )  # fmt: skip
        head = struct.pack("@IIPPQ", 1, 0, 0, 0, int(self.read_only)) if self.versioned else b""
        self.managed = ctypes.create_string_buffer(head + tensor + bytes(16))
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self.name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return new(ctypes.addressof(self.managed), self.name, None)
