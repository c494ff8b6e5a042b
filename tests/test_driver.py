"""The driver's kernels, with a stub of it: device memory is host memory, and the kernel is a NumPy function of the packed parameters."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from stub_driver import GPU, stubbed

from tilec.backend import driver
from tilec.errors import TileError


@pytest.fixture
def gpu():
    gpu = GPU(capability=(8, 9))

    def use(kernel=lambda *_: None, parameters=0):
        gpu.parameters = dict.fromkeys(("add", "double", "clear", "k"), parameters)
        gpu.running = lambda launch: kernel(*launch.pointers)
        return gpu

    with stubbed(gpu):
        yield use


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
    assert stub.modules == [b"ELF"]
    (launch,) = stub.launches
    assert launch.function[1] == "add"
    assert stub.called("cuFuncSetAttribute") == [[launch.function, 8, 100_000]]
    assert (launch.grid, launch.block, launch.shared, launch.stream) == ((2, 3, 1), (128, 1, 1), 100_000, 7)
    assert stub.stack == []  # no context stays behind
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
    stub.errors["cuStreamSynchronize"] = [700]
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
