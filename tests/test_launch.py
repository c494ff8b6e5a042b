"""Launching, against a stub of the driver: what is launched, what is refused, and what is done besides."""

import re
import struct
import sys
import threading
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from fake_torch import FakeTorch, TensorGuards
from stub_driver import GPU, Cuda, Dlpack, aligned, stubbed

import tilec as tc
from tilec import DType, TileError, bf16, bool_, cdiv, f16, f32, f64, i16, i32, i64, int5, int6, u32, u64
from tilec.compiler import DEFAULT_ARCH
from tilec.quick import MISSING, Kept

M, N, K = tc.dims("M N K")
W = tc.types("W")


@pytest.fixture
def gpu():
    with stubbed(GPU()) as gpu:
        yield gpu


@pytest.fixture(params=[TensorGuards, None], ids=["guards", "no guards"])
def torch(monkeypatch, request):
    module = FakeTorch(request.param)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def fresh():
    """A kernel that nobody has called."""

    @tc.kernel(warps=2)
    def scale(x: f32[M, N], y: f32[M, N], row: f32[N], n: i32, s: f32, *, bm: int = 16, flag=1):
        tc.grid(cdiv(M, bm), 3)
        tc.assume(n > 0)
        i = tc.block_index(0) * bm
        tc.store(y, [i, 0], tc.load(x, [i, 0], [bm, 32]) * s + tc.load(row, [0], [32])[None, :])

    return scale


def ready(gpu, kernel):
    """The stub learns how many parameters the kernel's machine code takes, and the kernel forgets other stubs."""
    kernel._runner.launchers.clear()
    gpu.parameters[kernel.signature.name] = len(params(kernel))
    return kernel


def params(kernel, **constants):
    return kernel.signature.values(kernel.signature.resolve(constants))


def launched(gpu, kernel, number=-1):
    launch = gpu.launches[number]
    return launch.values(params(kernel))


def floats(*shape):
    return aligned(shape, np.float32)


def three(wrap, m=40, n=24):
    return tuple(wrap(floats(*shape)) for shape in ((m, n), (m, n), (n,)))


# what is launched


def test_grid_block_stream_and_parameters(gpu):
    scale = ready(gpu, fresh())
    x, y, row = three(Cuda, 40, 26)
    for s in (0.1, 0.2):  # the careful way, then the fast one
        scale(x, y, row, 7, s, stream=99)
    for launch, s in zip(gpu.launches, (0.1, 0.2), strict=True):
        assert (launch.grid, launch.block, launch.stream) == ((3, 3, 1), (64, 1, 1), 99)
        found = launch.values(params(scale))
        addresses = [a.array.ctypes.data for a in (x, y, row)]
        assert found == {**dict(zip(("x", "y", "row"), addresses, strict=True)), "n": 7, "s": float(np.float32(s)), "M": 40, "N": 26}


@tc.kernel
def scalars(x: f32[4], a: i16, b: i64, c: u32, d: u64, e: f16, f: bf16, g: f64, h: bool_):
    tc.grid(1)
    tc.store(x, 0, 1.0)


def test_scalars_of_every_type(gpu):
    ready(gpu, scalars)
    x = Cuda(floats(4))
    given = (-5, -(2**40), 2**32 - 1, 2**64 - 1, 1 / 3, 1 / 3, 1 / 3, True)
    third = {"e": np.float16(1 / 3), "f": ml_dtypes.bfloat16(1 / 3), "g": 1 / 3}
    for launch in range(2):
        scalars(x, *given)
        found = launched(gpu, scalars)
        assert [found[n] for n in "abcd"] == list(given[:4])
        assert found["e"] == third["e"]
        assert found["f"] == third["f"].view(np.uint16)
        assert found["g"] == third["g"]
        assert found["h"] is True, launch


def test_numbers_of_numpy_and_integers_for_floats_are_taken(gpu):
    scale = ready(gpu, fresh())
    arrays = three(Cuda)
    scale(*arrays, 7, 1.5)
    scale(*arrays, np.int64(8), np.float32(2.5))
    assert (launched(gpu, scale)["n"], launched(gpu, scale)["s"]) == (8, 2.5)
    scale(*arrays, 9, 3)
    scale(*arrays, 9, 4)
    assert launched(gpu, scale)["s"] == 4.0
    scale(*arrays, 9, 1e39)  # beyond f32
    assert launched(gpu, scale)["s"] == float("inf")


@tc.kernel
def strided(x: tc.strided(f16[M, N]), y: f16[M, N]):
    tc.grid(M)
    tc.store(y, [tc.block_index(0), 0], tc.load(x, [tc.block_index(0), 0], [16]))


@pytest.mark.parametrize("kind", ["torch", "interface", "dlpack"])
def test_strides_are_parameters_in_elements(gpu, torch, kind):
    ready(gpu, strided)
    wrap = {"torch": torch.tensor, "interface": Cuda, "dlpack": Dlpack}[kind]
    base = aligned((8, 32), np.float16)
    for view in (base[:, ::2], base[::2, :16], base[:4, :16]):
        strided(wrap(view), wrap(aligned(view.shape, np.float16)))
        found = launched(gpu, strided)
        assert [found["x.stride0"], found["x.stride1"]] == [s // 2 for s in view.strides]
        assert (found["M"], found["N"]) == view.shape


@pytest.mark.parametrize(
    "kinds",
    [["torch"] * 3, ["interface"] * 3, ["dlpack"] * 3, ["packed"] * 3, ["torch", "interface", "packed"], ["dlpack", "torch", "interface"]],
)
def test_the_fast_way_launches_what_the_careful_way_launches(gpu, torch, kinds):
    scale = ready(gpu, fresh())
    rng = np.random.default_rng()
    wraps = {"torch": torch.tensor, "interface": Cuda, "dlpack": Dlpack, "packed": lambda a: tc.tensor(Cuda(a), f32, a.shape)}
    for _ in range(20):
        m, n = rng.integers(1, 100, 2).tolist()
        shapes = (m, n), (m, n), (n,)
        arrays = [wraps[kind](floats(*shape)) for kind, shape in zip(kinds, shapes, strict=True)]
        args = (*arrays, int(rng.integers(1, 2**31)), float(rng.standard_normal()))
        stream = int(rng.integers(0, 9)) or None
        scale(*args, stream=stream)
        scale._runner.launchers[16, 1, int].carefully(stream, *args)
        fast, careful = gpu.launches[-2:]
        for what in ("grid", "block", "shared", "stream", "function"):
            assert getattr(fast, what) == getattr(careful, what)
        assert fast.values(params(scale)) == careful.values(params(scale))


def test_after_the_first_call_the_driver_is_called_once(gpu, torch):
    scale = ready(gpu, fresh())
    for wrap in (torch.tensor, Cuda, lambda a: tc.tensor(Cuda(a), f32, a.shape)):
        arrays = three(wrap)
        scale(*arrays, 1, 1.0)
        before = len(gpu.calls)
        for _ in range(5):
            scale(*arrays, 1, 1.0, bm=16)
        assert [name for name, *_ in gpu.calls[before:]] == ["cuLaunchKernel"] * 5


def test_constants_choose_the_kernel(gpu):
    scale = ready(gpu, fresh())
    arrays = three(Cuda, 64)
    of_numpy, float_, list_ = {"bm": np.int32(32)}, {"flag": 1.0, "bm": 32}, {"flag": [1]}
    for constants, blocks in (({}, 4), ({"bm": 32}, 2), ({"bm": 16}, 4), (float_, 2), (of_numpy, 2), (list_, 4)):
        for _ in range(2):
            scale(*arrays, 1, 1.0, **constants)
            assert gpu.launches[-1].grid[0] == blocks
    assert len(gpu.modules) == 4  # flag=1.0 and flag=[1] are other constants than flag=1
    scale(row=arrays[2], x=arrays[0], y=arrays[1], s=1.0, n=5)
    assert launched(gpu, scale)["n"] == 5


@tc.kernel
def odd(x: f32[M, N], x_at: f32[N, 3], x_i: i32, _x: i32, launch: f32, int: tc.strided(f32[N, M]), *, M_: int = 4):
    tc.grid(cdiv(M, 4) + min(x_i, _x))
    tc.assume((launch > 0.1) & (max(x_i, 2) > 1))
    tc.store(x_at, [0, 0], launch)


@tc.kernel
def named(x: f32[M, N], x_at: f32[N, 3], x_i: i32, device: i32, launch: f32, int: tc.strided(f32[N, M]), *, call: int = 4):
    tc.grid(cdiv(M, 4) + min(x_i, device))
    tc.assume((launch > 0.1) & (max(x_i, 2) > 1))
    tc.store(x_at, [0, 0], launch)


@pytest.mark.parametrize("kernel", [odd, named])
@pytest.mark.parametrize("kind", ["torch", "interface", "packed", "dlpack"])
def test_names_that_the_fast_function_might_use_itself(gpu, torch, kernel, kind):
    ready(gpu, kernel)
    wrap = {"torch": torch.tensor, "interface": Cuda, "dlpack": Dlpack, "packed": lambda a: tc.tensor(Cuda(a), f32, a.shape)}[kind]
    x, y, z = (wrap(floats(*shape)) for shape in ((9, 5), (5, 3), (5, 9)))
    for n in (7, 8):
        kernel(x, y, n, 2, 0.5, z)
        found = launched(gpu, kernel)
        assert (found["x_i"], found["launch"], found["M"], found["N"], found["int.stride0"], found["int.stride1"]) == (n, 0.5, 9, 5, 9, 1)
        assert gpu.launches[-1].grid == (5, 1, 1)
        with pytest.raises(TileError, match=r"the assumption .*launch > 0.1.* does not hold: .*launch is 0.0"):
            kernel(x, y, n, 2, 0.0625, z)


# streams


class Protocol:
    def __cuda_stream__(self):
        return 0, 31


@pytest.mark.parametrize(
    ("stream", "handle"),
    [(31, 31), (0, 0), (SimpleNamespace(cuda_stream=31), 31), (Protocol(), 31), (SimpleNamespace(__cuda_stream__=(0, 31)), 31), (np.int64(31), 31)],
)
def test_the_stream_that_is_given(gpu, stream, handle):
    scale = ready(gpu, fresh())
    for _ in range(2):
        scale(*three(Cuda), 1, 1.0, stream=stream)
        assert gpu.launches[-1].stream == handle


def test_torch_s_current_stream_is_the_default(gpu, torch):
    scale = ready(gpu, fresh())
    arrays = three(torch.tensor)
    for current in (5, 6, 0):
        torch.streams[0] = current
        scale(*arrays, 1, 1.0)
        assert gpu.launches[-1].stream == current
        scale(*arrays, 1, 1.0, stream=9)
        assert gpu.launches[-1].stream == 9


def test_without_torch_the_default_is_the_stream_that_arrays_name_or_the_legacy_one(gpu):
    scale = ready(gpu, fresh())
    for wanted, given in ((0, None), (5, 5), (1, 1), (0, None)):
        for _ in range(2):
            scale(*three(lambda a, given=given: Cuda(a, stream=given)), 1, 1.0)
            assert gpu.launches[-1].stream == wanted
    assert not gpu.called("cuEventRecord")


def test_another_stream_waits_for_the_arrays(gpu):
    scale = ready(gpu, fresh())
    for _ in range(2):
        gpu.calls.clear()
        scale(*three(lambda a: Cuda(a, stream=5)), 1, 1.0, stream=7)
        assert gpu.called("cuEventRecord") == [["event", 5]] * 3
        assert gpu.called("cuStreamWaitEvent") == [[7, "event", 0]] * 3
        assert [n for n, *_ in gpu.calls].index("cuLaunchKernel") > [n for n, *_ in gpu.calls].index("cuStreamWaitEvent")


def test_what_is_no_stream(gpu):
    scale = fresh()
    for _ in range(2):
        with pytest.raises(TileError, match=r"stream is 'main', which is no stream(.|\n)*pass its handle") as told:
            scale(*three(Cuda), 1, 1.0, stream="main")
        assert told.value.loc.file == __file__
        with pytest.raises(TileError, match="version 3 of __cuda_stream__"):
            scale(*three(Cuda), 1, 1.0, stream=SimpleNamespace(__cuda_stream__=(3, 31)))
        scale(*three(Cuda), 1, 1.0)


# what is refused: on the first call, and by the fast function


def good(**changes):
    args = {"x": Cuda(floats(40, 24)), "y": Cuda(floats(40, 24)), "row": Cuda(floats(24)), "n": 3, "s": 1.5}
    return {**args, **changes}


def shifted(array, n):
    raw = aligned((array.nbytes + 32,), np.uint8)
    return raw[n : n + array.nbytes].view(array.dtype).reshape(array.shape)


WRONG = {
    "type": ({"x": Cuda(aligned((40, 24), np.float16))}, "x has elements of f32, but the array given holds f16"),
    "no type of tilec": ({"x": Cuda(aligned((40, 24), np.complex64))}, "x has elements of f32, but the array given holds complex64"),
    "byte order": ({"x": Cuda(aligned((40, 24), ">f4"))}, "x has elements of f32, but the array given holds big-endian"),
    "rank": ({"row": Cuda(floats(24, 1))}, r"row has 1 dimensions \[N\], but the array given has shape \[24, 1\]"),
    "shape": ({"row": Cuda(floats(25))}, "N is 24 by x, but 25 by axis 0 of row"),
    "order": ({"x": Cuda(floats(40, 48)[:, ::2])}, r"x is not contiguous(.|\n)*tc.strided"),
    "alignment": ({"y": Cuda(shifted(floats(40, 24), 4))}, r"y begins at 0x[0-9a-f]*, which is no multiple of 16 bytes(.|\n)*pass a copy"),
    "place": ({"row": floats(24)}, r"x lies on GPU 0 and row lies in host memory(.|\n)*move them to the same GPU"),
    "read-only": ({"y": Cuda(floats(40, 24), read_only=True)}, "y is written by the kernel, but the array given is read-only"),
    "a mask": ({"x": Cuda(floats(40, 24), mask=Cuda(floats(40, 24)))}, "an array with a mask"),
    "no array": ({"x": 3}, r"x is a tensor global f32\[M, N\], but a int is given"),
    "no number": ({"n": "3"}, "n is a scalar i32, but '3' is given"),
    "a float for an integer": ({"n": 3.0}, "n is a scalar i32, but 3.0 is given"),
    "a bool for an integer": ({"n": True}, "n is a scalar i32, but True is given"),
    "an array for a number": ({"s": Cuda(floats(1))}, "s is a scalar f32, but "),
    "range": ({"n": 2**31}, "n is 2147483648, which i32 does not hold"),
    "an assumption": ({"n": -4}, "scale: the assumption n > 0 does not hold: n is -4"),
    "too little": ({"s": MISSING}, "scale lacks the argument s"),
}


@pytest.mark.parametrize("warm", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(gpu, case, warm):
    scale = ready(gpu, fresh())
    change, words = WRONG[case]
    if warm:
        scale(**good())
        scale(*good().values())
    before = len(gpu.launches)
    with pytest.raises(TileError, match=words) as told:
        scale(*good(**change).values())
    assert len(gpu.launches) == before
    assert told.value.loc.file == __file__
    scale(*good().values())  # and it goes on
    assert len(gpu.launches) == before + 1


@tc.kernel
def following(x: f32[M, N], y: f32[M, N], *, stages: int = 3):
    tc.grid(1)
    tc.assume(N % 4 == 0)
    for m in tc.range(0, M - 1, stages=stages):
        tc.store(y, [m + 1, 0], tc.load(x, [m, 0], [64]) + 1)


SHARED = r"x and y share memory, and a loop with stages= that writes y reads x rounds ahead(.|\n)*give a copy for x"


@pytest.mark.parametrize("kind", ["torch", "interface"])
@pytest.mark.parametrize("warm", [False, True])
def test_what_a_loop_reads_ahead_is_not_what_it_writes(gpu, torch, kind, warm):
    ready(gpu, following)
    wrap = Cuda if kind == "interface" else torch.tensor
    x, y = wrap(floats(9, 64)), wrap(floats(9, 64))
    for _ in range(2 * warm):
        following(x, y)
    with pytest.raises(TileError, match=SHARED):
        following(x, x)
    assert len(gpu.launches) == 2 * warm
    following(x, x, stages=1)
    following(x, y)
    assert len(gpu.launches) == 2 * warm + 2


@pytest.mark.parametrize("kind", ["torch", "interface"])
@pytest.mark.parametrize("warm", [False, True])
def test_what_overlaps_on_a_gpu(gpu, torch, monkeypatch, kind, warm):
    ready(gpu, following)
    wrap = Cuda if kind == "interface" else torch.tensor
    a = floats(9, 64)
    for _ in range(2 * warm):
        following(wrap(a[:4]), wrap(a[4:8]))
    for one, other in ((a[:-1], a[1:]), (a[1:], a[:-1]), (a[:5], a[4:])):
        with pytest.raises(TileError, match=SHARED):
            following(wrap(one), wrap(other))
    assert len(gpu.launches) == 2 * warm
    following(wrap(a[4:8]), wrap(a[:4]))
    if warm:  # no check that is fast finds anything
        monkeypatch.setattr("tilec.launch.check_apart", None)
    following(wrap(a[:4]), wrap(a[4:8]))
    assert len(gpu.launches) == 2 * warm + 2


@pytest.mark.parametrize("warm", [False, True])
def test_what_interlocks_on_a_gpu_is_apart(gpu, torch, warm):
    @tc.kernel
    def halves(x: tc.strided(f32[M, 64]), y: tc.strided(f32[M, 64]), *, stages: int = 3):
        tc.grid(1)
        for m in tc.range(0, M - 1, stages=stages):
            tc.store(y, [m + 1, 0], tc.load(x, [m, 0], [64]) + 1)

    ready(gpu, halves)
    a, b = floats(9, 128), floats(9, 128)
    for _ in range(2 * warm):
        halves(torch.tensor(a[:, :64]), torch.tensor(b[:, 64:]))
    halves(torch.tensor(a[:, :64]), torch.tensor(a[:, 64:]))
    with pytest.raises(TileError, match=SHARED):
        halves(torch.tensor(a[:, :64]), torch.tensor(a[:, 60:124]))
    assert len(gpu.launches) == 2 * warm + 1


@pytest.mark.parametrize("warm", [False, True])
def test_packed_tensors_end_where_their_last_byte_does(gpu, warm):
    @tc.kernel
    def widened(x: int6[M, 64], y: f32[M, 64], *, stages: int = 2):
        tc.grid(1)
        for m in tc.range(0, M, 4, stages=stages):
            tc.store(y, [m, 0], tc.cast(tc.load(x, [m, 0], [4, 64]), f32))

    ready(gpu, widened)
    m, memory = 8, aligned((4096,), np.uint8)  # 8 rows are 384 bytes of x, and 2048 of y
    for at, apart in ((384, True), (368, False), (0, False)) * (1 + warm):
        x, y = tc.tensor(Cuda(memory[:384]), int6, (m, 64)), Cuda(memory[at : at + 2048].view(np.float32).reshape(m, 64))
        if apart:
            widened(x, y)
            continue
        with pytest.raises(TileError, match=SHARED):
            widened(x, y)
    assert len(gpu.launches) == 1 + warm


def test_what_overlaps_on_the_host():
    """Without stages each row is one more than the one before it."""
    a = np.zeros((9, 64), np.float32)
    for run in (following.interpret, following.simulate):
        with pytest.raises(TileError, match=SHARED):
            run(a[:-1], a[1:])
        assert not a.any()
        run(a[:4], a[4:8])
        assert (a.any(1) == [n in (5, 6, 7) for n in range(9)]).all()
        a[:] = 0
    following.simulate(a, a, stages=1)
    assert (a == np.arange(9)[:, None]).all()
    assert following.compile().metadata["read_ahead"] == [["x", "y"]]
    assert "read_ahead" not in following.compile(stages=1).metadata


def _of_torch(torch, **given):
    """As `good` has them, of PyTorch."""
    return {name: torch.tensor(x.array) if isinstance(x, Cuda) else x for name, x in good(**given).items()}


CHANGES = {  # of a tensor in place, as resize_, set_ and .data do
    "type": (lambda t, torch: vars(t).update(dtype=torch.float64), "x has elements of f32, but the array given holds f64"),
    "shape": (lambda t, torch: vars(t).update(array=floats(40, 25)), "N is 25 by x, but 24 by axis 1 of y"),
    "rows": (lambda t, torch: vars(t).update(array=floats(39, 24)), "M is 39 by x, but 40 by axis 0 of y"),
    "rank": (lambda t, torch: vars(t).update(array=floats(40, 24, 1)), "x has 2 dimensions"),
    "order": (lambda t, torch: vars(t).update(array=floats(24, 40).T), "x is not contiguous"),
    "alignment": (lambda t, torch: vars(t).update(array=shifted(floats(40, 24), 8)), "x begins at .* no multiple of 16"),
    "place": (lambda t, torch: vars(t).update(number=None), "x lies in host memory and y lies on GPU 0"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_tensor_of_torch_that_was_good_is_changed_in_place(gpu, torch, case):
    scale = ready(gpu, fresh())
    change, words = CHANGES[case]
    args = _of_torch(torch)
    for _ in range(3):
        scale(*args.values())
    kept = dict(vars(args["x"]))
    change(args["x"], torch)
    for _ in range(2):
        with pytest.raises(TileError, match=words):
            scale(*args.values())
    vars(args["x"]).update(kept)
    scale(*args.values())
    assert len(gpu.launches) == 4


def test_shapes_and_tensors_of_torch_that_come_again(gpu, torch, monkeypatch):
    """More shapes than are kept, in any order, tensors given twice and on another GPU among them: each launch is that of its own arguments."""
    monkeypatch.setattr(Kept, "SHAPES", 3)
    scale = ready(gpu, fresh())
    rng = np.random.default_rng()
    sets = [_of_torch(torch, x=Cuda(floats(m, n)), y=Cuda(floats(m, n)), row=Cuda(floats(n))) for m in (1, 16, 40) for n in (24, 26)]
    sets += [{**sets[0], "y": sets[0]["x"]}]
    for number in rng.permutation(np.arange(70) % 7).tolist():
        x, y, row = (sets[number][name] for name in ("x", "y", "row"))
        scale(x, y, row, number + 1, 1.0)
        found, (m, n) = launched(gpu, scale), x.shape
        assert found == {"x": x.data_ptr(), "y": y.data_ptr(), "row": row.data_ptr(), "n": number + 1, "s": 1.0, "M": m, "N": n}
        assert gpu.launches[-1].grid == (-(-m // 16), 3, 1)


class Credulous(TensorGuards):
    def check(self, *tensors):
        return True


class Deaf(TensorGuards):
    def check(self, *tensors):
        return False


class Old:
    def __init__(self, *tensors, dynamic_shapes):
        pass


@pytest.mark.parametrize("guards", [Credulous, Deaf, Old])
def test_guards_of_torch_that_are_not_as_expected_are_let_be(gpu, monkeypatch, guards):
    torch = FakeTorch(guards)
    monkeypatch.setitem(sys.modules, "torch", torch)
    scale = ready(gpu, fresh())
    for m in (16, 40):
        args = _of_torch(torch, x=Cuda(floats(m, 24)), y=Cuda(floats(m, 24)))
        for _ in range(3):
            scale(*args.values())
            assert launched(gpu, scale)["M"] == m
    with pytest.raises(TileError, match="N is 24 by x, but 25 by axis 0 of row"):
        scale(*{**args, "row": torch.tensor(floats(25))}.values())


def _resize(t):
    t.resize_(64, 4)


def _set(t):
    t.set_(t.untyped_storage(), 1, (32, 8), (8, 1))


def _data(t):
    import torch

    t.data = torch.zeros(32, 8, dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_resize, "M is 64 by x, but 32 by axis 0 of y"),
        (_set, "x begins at .* no multiple of 16"),
        (_data, "x has elements of f32, but the array given holds f64"),
        (lambda t: t.t_(), "x is not contiguous"),
        (lambda t: t.as_strided_((32, 8), (1, 32)), "x is not contiguous"),
        (lambda t: t.unsqueeze_(0), "x has 2 dimensions"),
    ],
    ids=["resize_", "set_", "data", "t_", "as_strided_", "unsqueeze_"],
)
def test_real_tensors_of_torch_changed_in_place(gpu, monkeypatch, change, words):
    """Of the CPU, where PyTorch's own checks are the same; the launcher is told that they lie on a GPU."""
    real = pytest.importorskip("torch")
    from tilec.ir import arrays

    assert arrays._guards(real)
    monkeypatch.setattr(arrays, "from_torch", lambda t: arrays.DeviceArray(
        t.data_ptr(), arrays.torch_type(t.dtype), tuple(t.shape), tuple(s * t.element_size() for s in t.stride()), t.element_size(), 0, owner=t
    ))  # fmt: skip
    scale = ready(gpu, fresh())
    x, y, row = real.zeros(300)[:264][8:].view(32, 8), real.zeros(32, 8), real.zeros(8)
    assert x.data_ptr() % 16 == 0
    scale(x, y, row, 3, 1.0)
    (launcher,) = scale._runner.launchers.values()
    launcher.variants.update({key - 2: value for key, value in launcher.variants.items()})  # -1 is the CPU's number, and one bit is for N
    launcher.carefully, careful = None, launcher.carefully
    launcher.made.clear()
    launcher._quicken((x, y, row, 3, 1.0))
    before = len(gpu.launches)
    for n in range(3):
        scale(x, y, row, 3 + n, 1.0)  # would fail if it went the careful way
        assert launched(gpu, scale) == {"x": x.data_ptr(), "y": y.data_ptr(), "row": row.data_ptr(), "n": 3 + n, "s": 1.0, "M": 32, "N": 8}
    scale(x, x, row, 3, 1.0)
    assert launched(gpu, scale)["y"] == x.data_ptr()
    assert len(gpu.launches) == before + 4
    launcher.launch.__globals__["_carefully"] = careful
    change(x)
    with pytest.raises(TileError, match=words):
        scale(x, y, row, 3, 1.0)


def test_calls_that_are_wrong(gpu):
    scale = fresh()
    for _ in range(2):
        with pytest.raises(TileError, match="scale takes 5 arguments"):
            scale(*good().values(), 3)
        with pytest.raises(TileError, match="scale has no constant bn"):
            scale(**good(), bn=3)
        with pytest.raises(TileError, match="the constant bm is an int"):
            scale(**good(), bm=1.5)
        with pytest.raises(TileError, match="scale lacks arguments n, s"):
            scale(*list(good().values())[:3])
        with pytest.raises(TypeError, match="multiple values for argument 'n'"):  # as Python says it
            scale(*good().values(), n=3)
        scale(**good())


def test_a_frame_of_the_fast_function_can_be_read(gpu):
    scale = ready(gpu, fresh())
    scale(**good())
    code = scale._runner.launchers[16, 1, int].launch.__code__
    import linecache

    assert linecache.getline(code.co_filename, 1).startswith("def launch(_stream, x, y, row, n, s)")


@tc.kernel
def wide(x: f32[M], n: i32, m: i32):
    tc.grid(m, n)
    tc.store(x, 0, 1.0)


def test_grids(gpu):
    ready(gpu, wide)
    x = Cuda(floats(4))
    for m, n in ((1, 1), (0, 5), (5, 0), (2**31 - 1, 65535)):
        wide(x, n, m)
    assert [launch.grid for launch in gpu.launches] == [(1, 1, 1), (2**31 - 1, 65535, 1)]
    with pytest.raises(TileError, match="the grid has 65536 blocks along axis 1, not 0 to 65535"):
        wide(x, 65536, 1)
    with pytest.raises(TileError, match="the grid has -1 blocks along axis 0"):
        wide(x, 1, -1)


def test_empty_arrays(gpu):
    scale = ready(gpu, fresh())
    for m, launches in ((4, 1), (0, 1), (5, 2)):
        scale(*three(Cuda, m), 1, 1.0)
        assert len(gpu.launches) == launches


# memory of the host


def test_arrays_of_numpy_are_copied_in_and_what_is_written_back(gpu):
    scale = ready(gpu, fresh())
    x, y, row = three(lambda a: a)
    x[...], y[...] = 3, 4
    x.flags.writeable = False

    def run(launch):
        found = launch.values(params(scale))
        inside = [np.ctypeslib.as_array((np.ctypeslib.as_ctypes_type(np.float32) * 960).from_address(found[n])) for n in ("x", "y")]
        assert (inside[0] == 3).all()
        assert (inside[1] == 4).all()
        inside[0][:] = -1
        inside[1][:] = 5

    gpu.running = run
    for _ in range(2):
        y[...] = 4
        scale(x, y, row, 3, 1.0)
        assert (y == 5).all()
        assert (x == 3).all()
    assert not gpu.memory
    assert len(gpu.called("cuMemcpyDtoHAsync")) == 2


@tc.kernel
def narrow(w: W[M], y: W[M], *, W: DType = int5):
    tc.grid(1)
    tc.store(y, [0], tc.load(w, [0], [8]))


def test_packed_copies_end_on_whole_words_of_zeros(gpu):
    ready(gpu, narrow)
    w, y = (tc.Tensor.from_values(np.arange(7) - 3, int5) for _ in range(2))  # 5 bytes

    def run(launch):
        for pointer in launch.pointers[:2]:
            (at,) = struct.unpack("Q", np.ctypeslib.as_array((np.ctypeslib.as_ctypes_type(np.uint8) * 8).from_address(pointer)).tobytes())
            data = np.ctypeslib.as_array((np.ctypeslib.as_ctypes_type(np.uint8) * 17).from_address(at))
            assert bytes(data[:5]) == w.bytes.tobytes()
            assert not data[5:16].any()

    gpu.running = run
    narrow(w, y)
    assert len(gpu.launches) == 1


def test_arrays_of_ml_dtypes_that_hold_a_byte_for_each_element_are_packed_and_unpacked(gpu):
    ready(gpu, narrow)
    w, y = np.array([1, -2, 3, 7, -8], ml_dtypes.int4), np.zeros(5, ml_dtypes.int4)

    def run(launch):
        found = launch.values(params(narrow, W=tc.int4))
        source, target = (np.ctypeslib.as_array((np.ctypeslib.as_ctypes_type(np.uint8) * 3).from_address(found[n])) for n in "wy")
        assert bytes(source) == bytes([0xE1, 0x73, 0x08])
        target[:] = source

    gpu.running = run
    narrow(w, y, W=tc.int4)
    assert (y == w).all()
    y[...] = 0
    assert not narrow.simulate(w, y, W=tc.int4).findings
    assert (y == w).all()


def test_packed_tensors_on_the_gpu(gpu):
    ready(gpu, narrow)
    buffers = [Cuda(aligned(n, np.uint8)) for n in (5, 8)]
    w, y = (tc.tensor(b, int5, [7]) for b in buffers)
    for _ in range(2):
        narrow(w, y)
        found = launched(gpu, narrow)
        assert (found["w"], found["y"], found["M"]) == (buffers[0].array.ctypes.data, buffers[1].array.ctypes.data, 7)
        with pytest.raises(TileError, match=r"y is packed and written in words of 32 bits, but its buffer ends within one(.|\n)*8 bytes"):
            narrow(w, w)
    with pytest.raises(TileError, match="lies on a GPU, and is not read from here"):
        w.values()
    with pytest.raises(TileError, match="needs 13 bytes, but the buffer has 8"):
        tc.tensor(buffers[1], int5, [20])
    with pytest.raises(TileError, match="must be C-contiguous"):
        tc.tensor(Cuda(aligned(64, np.uint8)[::2]), int5, [7])
    with pytest.raises(TileError, match="w lies on a GPU, and arrays of the host are wanted here"):
        narrow.interpret(w, y)


def test_types_that_only_torch_has_an_array_of(gpu, torch):
    ready(gpu, narrow)
    for dtype, name, size in ((tc.bf16, "bfloat16", np.uint16), (tc.float8_e4m3, "float8_e4m3fn", np.uint8)):
        w, y = (torch.tensor(aligned(8, size), dtype=getattr(torch, name)) for _ in range(2))
        for _ in range(2):
            narrow(w, y, W=dtype)
        assert gpu.launches[-1].values(params(narrow, W=dtype))["w"] == w.data_ptr()
        with pytest.raises(TileError, match=r"w has elements of f16, but the array given holds \w+(.|\n)*x.to\(torch.float16\)"):
            narrow(w, y, W=f16)


def test_torch_s_tensors_of_the_host_are_read_in_place(torch):
    w, y = (torch.tensor(aligned(8, np.uint16), device=None, dtype=torch.bfloat16) for _ in range(2))
    w.array[:] = np.arange(8).astype(ml_dtypes.bfloat16).view(np.uint16)
    narrow.interpret(w, y, W=bf16)
    assert (y.array == w.array).all()
    x, z = (torch.tensor(aligned(8, np.float16), device=None) for _ in range(2))
    x.array[:] = 3
    narrow.interpret(x, z, W=f16)
    assert (z.array == 3).all()


# DLPack


@pytest.mark.parametrize("versioned", [True, False])
def test_dlpack(gpu, versioned):
    scale = ready(gpu, fresh())
    arrays = three(lambda a: Dlpack(a, versioned=versioned))
    scale(*arrays, 1, 1.0, stream=7)
    assert [a.streams for a in arrays] == [[7], [7], [7]]  # the producer makes this stream wait
    assert launched(gpu, scale)["x"] == arrays[0].array.ctypes.data
    scale(*arrays, 1, 1.0)
    assert arrays[0].streams[-1] == 1  # 0 is not allowed: 1 is the legacy default stream
    wrong = Dlpack(floats(40, 24), read_only=True) if versioned else Dlpack(floats(24, 40).T, versioned=False)
    with pytest.raises(TileError, match="y is written by the kernel, but the array given is read-only" if versioned else "not contiguous"):
        scale(arrays[0], wrong, arrays[2], 1, 1.0)


def test_dlpack_of_the_host_and_of_other_devices():
    w, y = Dlpack(aligned(8, np.float16), kind=1), Dlpack(aligned(8, np.float16), kind=1)
    w.array[:] = 2
    narrow.interpret(w, y, W=f16)
    assert (y.array == 2).all()
    assert w.streams == [None]
    with pytest.raises(TileError, match="a device of DLPack's kind 8 is out of reach"):
        narrow.interpret(Dlpack(aligned(8, np.float16), kind=8), y, W=f16)


@pytest.mark.parametrize(
    ("code", "size", "dtype"),
    [
        (2, np.float64, "f64"), (0, np.int8, "int8"), (1, np.uint16, "u16"), (4, np.uint16, "bf16"), (6, np.uint8, "bool"),
        (10, np.uint8, "float8_e4m3"), (12, np.uint8, "float8_e5m2"),
    ],
)  # fmt: skip
def test_types_of_dlpack(code, size, dtype):
    from tilec.ir.arrays import read

    found = read(Dlpack(aligned((3, 4), size), code=code, device=2))
    assert (str(found.dtype), found.device, found.shape, found.contiguous) == (dtype, 2, (3, 4), True)


# several GPUs


def test_the_arrays_say_which_gpu(torch):
    with stubbed(GPU(devices=2)) as gpu:
        scale = ready(gpu, fresh())
        for device in (0, 1, 1, 0):
            scale(*three(lambda a, d=device: torch.tensor(a, device=d)), 1, 1.0)
            assert gpu.launches[-1].function[2] == device
        x, y, row = three(torch.tensor)
        y.number = 1
        with pytest.raises(TileError, match="x lies on GPU 0 and y lies on GPU 1"):
            scale(x, y, row, 1, 1.0)
        arrays = three(Cuda)
        gpu.homes.update((a.array.ctypes.data, 1) for a in arrays)
        for _ in range(2):
            scale(*arrays, 1, 1.0)
            assert gpu.launches[-1].function[2] == 1


def test_a_thread_without_a_context_gets_one_and_another_gpu_s_is_given_back(gpu):
    scale = ready(gpu, fresh())
    scale(**good())
    gpu.errors["cuLaunchKernel"] = [201]
    gpu.stack.clear()
    scale(**good())
    assert (gpu.stack, len(gpu.launches)) == ([100], 2)
    gpu.stack[:] = [777]
    gpu.errors["cuLaunchKernel"] = [400]
    scale(**good())
    assert (gpu.stack, len(gpu.launches)) == ([777], 3)


def test_other_errors_of_the_driver_are_told(gpu):
    scale = ready(gpu, fresh())
    for _ in range(2):
        gpu.errors["cuLaunchKernel"] = [700]
        with pytest.raises(TileError, match=r"cuLaunchKernel: an illegal memory access was encountered(.|\n)*an earlier kernel"):
            scale(**good())
        scale(**good())


# graphs, threads, shared memory


def test_a_graph_is_captured_after_the_first_call_or_prepare(gpu):
    scale = ready(gpu, fresh())
    gpu.captured = {5}
    with pytest.raises(TileError, match=r"scale is not loaded yet, and can't be while a CUDA graph is captured(.|\n)*scale.prepare"):
        scale(**good(), stream=5)
    scale.prepare(**good())
    assert not gpu.launches
    gpu.calls.clear()
    scale(**good(), stream=5)
    assert [name for name, *_ in gpu.calls] == ["cuLaunchKernel"]
    with pytest.raises(TileError, match="arrays of the host can't be copied while a CUDA graph is captured"):
        scale(*three(lambda a: a), 1, 1.0, stream=5)


def test_two_threads_on_two_streams(gpu):
    scale = ready(gpu, fresh())
    scale(**good())
    wrong, times = [], 300

    def work(stream):
        args = good()
        for i in range(1, times):
            scale(*{**args, "n": stream * 1000 + i}.values(), stream=stream)

    gpu.running = lambda launch: wrong.append(launch) if launch.stream and launch.values(params(scale))["n"] // 1000 != launch.stream else None
    threads = [threading.Thread(target=work, args=(stream,)) for stream in (1, 2, 3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    seen = sorted(launch.values(params(scale))["n"] for launch in gpu.launches[1:])
    assert seen == [s * 1000 + i for s in (1, 2, 3) for i in range(1, times)]


@tc.kernel(warps=8)
def hungry(x: f32[M, N], y: f32[M, N]):
    tc.grid(1)
    s = tc.shared(f32, [128, 128])
    tc.store(s, tc.load(x, [0, 0], [128, 128]))
    tc.sync()
    tc.store(y, [0, 0], tc.load(s))


def test_larger_shared_memory_is_opted_in(gpu):
    ready(gpu, hungry)
    for _ in range(2):
        hungry(Cuda(floats(128, 128)), Cuda(floats(128, 128)))
        assert gpu.launches[-1].shared >= 128 * 128 * 4
    assert gpu.called("cuFuncSetAttribute") == [[gpu.launches[0].function, 8, gpu.launches[0].shared]]


# what a launch sees


def test_rows_that_are_whole_vectors_get_a_kernel_that_rests_on_it(gpu):
    scale = ready(gpu, fresh())
    for n in (24, 26, 28, 30, 32):
        scale(*three(Cuda, 5, n), 1, 1.0)
    asking, resting = gpu.launches[1].function, gpu.launches[0].function
    assert [launch.function for launch in gpu.launches] == [resting, asking, resting, asking, resting]
    assert len(gpu.modules) == 2
    assert gpu.modules[1] == scale.compile(DEFAULT_ARCH).cubin
    made = scale._runner.specialized[("N", 4),]
    assert made.compile(DEFAULT_ARCH).metadata["assumptions"] == ["n > 0", "N % 4 == 0"]
    assert made.compile(DEFAULT_ARCH).ptx.count("ld.global.v4") >= scale.compile(DEFAULT_ARCH).ptx.count("ld.global.v4")
    assert len(re.findall(r"setp|selp", made.compile().ptx)) < len(re.findall(r"setp|selp", scale.compile().ptx))


def test_nothing_is_asked_that_is_declared(gpu):
    @tc.kernel
    def declared(x: f16[M, N], w: int6[K, N], y: f32[M, K]):
        tc.grid(M)
        tc.assume((N % 64 == 0) & (K % 2 == 0))
        tc.store(y, [0, 0], 1.0)

    assert declared.compile().metadata["multiples"] == {"K": 4}
