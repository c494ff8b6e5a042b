"""Launching, with a driver that is a stub: device memory is host memory, and the kernel is a NumPy function of the packed parameters."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from tilec.backend import driver
from tilec.errors import TileError


class Stub:
    """As much of cuda.bindings.driver as is used; `kernel` is called with the addresses of the parameters."""

    CUdevice_attribute = SimpleNamespace(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76)
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)

    def __init__(self, kernel=lambda *_: None, parameters=0):
        self.kernel, self.parameters = kernel, parameters
        self.memory, self.log, self.failing = {}, [], None

    def __getattr__(self, name):
        def call(*args):
            self.log.append((name, *args))
            results = getattr(type(self), "do_" + name, lambda *_: ())(self, *args)
            return (700 if name == self.failing else 0, *results)

        return call

    def called(self, name):
        return [args for n, *args in self.log if n == name]

    def cuGetErrorString(self, error):
        return 0, b"an illegal memory access was encountered"

    def do_cuDeviceGetCount(self):
        return (1,)

    def do_cuDeviceGet(self, ordinal):
        return (ordinal,)

    def do_cuDeviceGetName(self, size, device):
        return (b"Stub 3000" + bytes(size - 9),)

    def do_cuDeviceGetAttribute(self, attribute, device):
        return ({75: 8, 76: 9}[attribute],)

    def do_cuDevicePrimaryCtxRetain(self, device):
        return ("context",)

    def do_cuModuleLoadData(self, data):
        return ("module",)

    def do_cuModuleGetFunction(self, module, name):
        return ("function",)

    def do_cuMemAlloc(self, size):
        buffer = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(buffer)] = buffer
        return (ctypes.addressof(buffer),)

    def do_cuMemFree(self, address):
        del self.memory[address]
        return ()

    def do_cuMemcpyHtoDAsync(self, to, source, size, stream):
        ctypes.memmove(to, source, size)
        return ()

    do_cuMemcpyDtoHAsync = do_cuMemcpyHtoDAsync

    def do_cuLaunchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        self.kernel(*(ctypes.c_void_p * self.parameters).from_address(parameters))
        return ()


@pytest.fixture
def gpu(monkeypatch):
    def use(*args):
        stub = Stub(*args)
        monkeypatch.setattr(driver, "_driver", lambda: stub)
        return stub

    driver.device.cache_clear()
    driver._context.cache_clear()
    yield use
    driver.device.cache_clear()
    driver._context.cache_clear()


def floats(parameter, n):
    """The device array that a parameter points to."""
    return np.ctypeslib.as_array((ctypes.c_float * n).from_address(ctypes.c_uint64.from_address(parameter).value))


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(driver, "_driver", lambda: None)
    driver.device.cache_clear()
    assert driver.count() == 0
    assert driver.device() is None
    with pytest.raises(TileError, match="no GPU here"):
        driver.Kernel(b"", "k")


def test_the_device_says_what_to_compile_for(gpu):
    gpu()
    found = driver.device()
    assert found == driver.Device(0, "Stub 3000", (8, 9))
    assert found.target.name == "sm_89"
    assert driver.device(1) is None


def test_parameters_are_packed_and_arrays_copied(gpu):
    def add(a, b, c, n, s):
        n, s = ctypes.c_int32.from_address(n).value, ctypes.c_float.from_address(s).value
        floats(c, n)[:] = floats(a, n) + s * floats(b, n)

    stub = gpu(add, 5)
    a, b, c = np.arange(5, dtype=np.float32), np.full(5, 2, np.float32), np.zeros(5, np.float32)
    driver.Kernel(b"ELF", "add", shared=100_000).launch((2, 3), (128,), [a, b, c, np.int32(5), np.float32(0.5)], stream=7)
    assert c.tolist() == [1, 2, 3, 4, 5]
    assert stub.called("cuModuleGetFunction") == [["module", b"add"]]
    assert stub.called("cuFuncSetAttribute") == [["function", 8, 100_000]]
    (launch,) = stub.called("cuLaunchKernel")
    assert launch[:9] == ["function", 2, 3, 1, 128, 1, 1, 100_000, 7]
    assert not stub.memory


def test_memory_given_twice_is_one_buffer(gpu):
    def double(a, b):
        floats(b, 3)[:] = 2 * floats(a, 3)

    stub = gpu(double, 2)
    a = np.array([1, 2, 3], np.float32)
    driver.Kernel(b"", "double").launch((1,), (32,), [a, a])
    assert a.tolist() == [2, 4, 6]
    assert len(stub.called("cuMemAlloc")) == 1


def test_only_outputs_come_back_and_never_into_what_is_read_only(gpu):
    def clear(a, b, c):
        for p in (a, b, c):
            floats(p, 2)[:] = 0

    gpu(clear, 3)
    a, b, c = (np.ones(2, np.float32) for _ in range(3))
    b.flags.writeable = False
    driver.Kernel(b"", "clear").launch((1,), (32,), [a, b, c], outputs=[1, 2])
    assert (a.tolist(), b.tolist(), c.tolist()) == ([1, 1], [1, 1], [0, 0])


def test_an_array_on_the_device_is_used_where_it_is(gpu):
    seen = []
    stub = gpu(lambda p: seen.append(ctypes.c_uint64.from_address(p).value), 1)
    driver.Kernel(b"", "k").launch((1,), (32,), [SimpleNamespace(__cuda_array_interface__={"data": (0x7F0000000100, False)})])
    assert seen == [0x7F0000000100]
    assert not stub.called("cuMemAlloc")


def test_scalars_keep_their_width(gpu):
    seen = []
    gpu(lambda h, q: seen.append((ctypes.string_at(h, 2), ctypes.string_at(q, 8))), 2)
    driver.Kernel(b"", "k").launch((1,), (32,), [np.float16(1.0), np.int64(-2)])
    assert seen == [(b"\x00\x3c", b"\xfe" + b"\xff" * 7)]


def test_an_empty_grid_launches_nothing(gpu):
    stub = gpu()
    driver.Kernel(b"", "k").launch((4, 0), (32,), [])
    assert not stub.called("cuLaunchKernel")


@pytest.mark.parametrize(
    ("argument", "words"), [(3, "not int"), (None, "not NoneType"), (np.zeros((4, 4), np.float32)[:, ::2], "must be C-contiguous")]
)
def test_arguments_that_are_refused(gpu, argument, words):
    stub = gpu()
    with pytest.raises(TileError, match=words):
        driver.Kernel(b"", "k").launch((1,), (32,), [np.zeros(2), argument])
    assert not stub.memory


def test_an_error_of_the_driver_is_told_in_its_words_and_memory_is_freed(gpu):
    stub = gpu()
    stub.failing = "cuStreamSynchronize"
    with pytest.raises(TileError, match="cuStreamSynchronize: an illegal memory access was encountered"):
        driver.Kernel(b"", "k").launch((1,), (32,), [np.zeros(2)])
    assert not stub.memory


@pytest.mark.skipif(driver.device() is None, reason="there is no GPU")
def test_on_a_gpu():
    from llvm_samples import VECTOR_ADD

    from tilec.backend.cubin import assemble
    from tilec.backend.nvptx import to_ptx

    arch = driver.device().target
    a, b = np.random.default_rng(0).standard_normal((2, 1024), np.float32)
    c = np.zeros_like(a)
    driver.Kernel(assemble(to_ptx(VECTOR_ADD, arch), arch).data, "vector_add").launch((2,), (128,), [a, b, c])
    assert (c == a + b).all()
