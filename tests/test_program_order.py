"""A block's accesses to one tensor take effect in the order of the source, whichever threads make them; barriers stand where they must and nowhere else."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import cdiv, f16, f32, i32
from tilec.ir.ops.sync import Sync

M, N = tc.dims("M N")
W = tc.types("W")
RNG = np.random.default_rng()


def barriers(kernel, **constants):
    return sum(isinstance(op, Sync) for op in kernel.compile("sm_80", **constants).stages["ordered"].walk())


@tc.kernel(warps=4)
def negated(w: W[M, N], *, W: tc.DType = tc.int5, bm: int = 8, bn: int = 8):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    tc.store(w, [i, j], tc.cast(-f16(tc.load(w, [i, j], [bm, bn])), W))


@pytest.mark.parametrize("dtype", [tc.int3, tc.int4, tc.int5, tc.int7, tc.float6_e3m2], ids=str)
@pytest.mark.parametrize(("m", "n", "bm", "bn"), [(8, 8, 1, 8), (16, 5, 8, 8), (9, 33, 8, 8), (16, 64, 8, 64), (3, 40, 1, 64)])
def test_packed_tensors_in_place(dtype, m, n, bm, bn):
    """Rows, and blocks, share words."""
    x = RNG.integers(-3, 4, (m, n)).astype(np.float64)
    everywhere(negated, (tc.Tensor.from_values(x, dtype),), {"w": -x}, W=dtype, bm=bm, bn=bn)


def test_scattered_rows_fill_words_or_go_by_atomics():
    @tc.kernel(warps=1)
    def put(x: tc.int4[8, 8], rows: i32[8], y: tc.int4[8, N]):
        tc.grid(1)
        tc.scatter(y, [tc.load(rows, [0], [8]), 0], tc.load(x, [0, 0], [8, 8]))

    stores = [line for line in put.compile().ptx.splitlines() if "st.global" in line]
    assert all(".b32" in line for line in stores)
    x, rows = RNG.integers(-8, 8, (8, 8)).astype(np.float64), RNG.permutation(8).astype(np.int32)
    expected = np.zeros((8, 11))
    expected[rows, :8] = x
    arguments = tc.Tensor.from_values(x, tc.int4), rows, tc.Tensor.from_values(np.zeros((8, 11)), tc.int4)
    everywhere(put, arguments, {"y": expected})


@tc.kernel(warps=4)
def bumped(x: f32[32], y: f32[64, 32]):
    """All warps hold the row, and one of them overwrites it."""
    tc.grid(1)
    v = tc.load(x, [0], [32])
    tc.store(x, [0], v + 1.0)
    tc.store(y, [0, 0], tc.broadcast(v, [64, 32]))


def test_replicas_are_read_before_one_is_written():
    x = RNG.random(32).astype(np.float32)
    everywhere(bumped, (x, np.zeros((64, 32), np.float32)), {"x": x + np.float32(1), "y": np.tile(x, (64, 1))})
    assert barriers(bumped) == 1


@tc.kernel(warps=2)
def overwritten(x: f32[32], y: f32[40]):
    """Both warps hold the row, and both may write it."""
    tc.grid(1)
    tc.store(y, [1], tc.load(x, [0], [32]))
    tc.store(y, [1], tc.zeros(f32, [32]))


def test_replicas_are_written_one_after_another():
    y = RNG.random(40).astype(np.float32)
    everywhere(overwritten, (RNG.random(32).astype(np.float32), y), {"y": [y[0], *[0] * 32, *y[33:]]})


@tc.kernel(warps=1)
def exchanged(x: f32[8, 8], y: f32[8, 8]):
    """What one lane read, another one overwrites."""
    tc.grid(1)
    v = tc.load(x, [0, 0], [8, 8], layout=tc.spatial(8, 4).local(1, 2))
    w = tc.load(y, [0, 0], [8, 8], layout=tc.spatial(4, 8).local(2, 1))
    tc.store(x, [0, 0], w + v)


def test_what_another_lane_read():
    x, y = RNG.random((2, 8, 8)).astype(np.float32)
    everywhere(exchanged, (x, y), {"x": x + y})


@tc.kernel(warps=4)
def filled(x: f32[64], y: f32[64, 64]):
    """A tile of zeros, parts of it overwritten by other threads, and read again by yet others."""
    tc.grid(1)
    tc.store(y, [0, 0], tc.zeros(f32, [64, 64]))
    tc.store(y, [3, 0], tc.load(x, [0], [64]))
    v = tc.load(y, [0, 0], [64, 64])
    tc.store(y, [0, 0], v.T + 1.0)


def test_writes_over_writes_and_reads_of_both():
    x = RNG.random(64).astype(np.float32)
    expected = np.zeros((64, 64), np.float32)
    expected[3] = x
    everywhere(filled, (x, np.full((64, 64), np.nan, np.float32)), {"y": expected.T + np.float32(1)})


@tc.kernel(warps=2)
def prefix(x: f32[N], *, bn: int = 64):
    """Each round reads what the one before wrote, a row further."""
    tc.grid(1)
    for j in range(0, N - bn, bn):
        tc.store(x, [j + bn], tc.load(x, [j], [bn]) + tc.load(x, [j + bn], [bn]))


@pytest.mark.parametrize("bn", [64, 16])
def test_rounds_that_read_what_others_wrote(bn):
    x = RNG.integers(-9, 9, 320).astype(np.float32)
    expected = np.cumsum(x.reshape(-1, bn), axis=0).reshape(-1)
    everywhere(prefix, (x,), {"x": expected}, bn=bn)


@tc.kernel(warps=2)
def counted(x: f32[8]):
    """One element, which all threads read and the first one writes."""
    tc.grid(1)
    for _ in range(5):
        tc.store(x, [2], tc.load(x, [2]) + 1.0)


def test_scalars():
    everywhere(counted, (np.zeros(8, np.float32),), {"x": np.float32([0, 0, 5, 0, 0, 0, 0, 0])})


@tc.kernel(warps=4)
def scaled(x: f32[M, N], *, bm: int = 16, bn: int = 64):
    """Each thread overwrites what it read, in every round other elements."""
    tc.grid(cdiv(M, bm))
    i = tc.block_index(0) * bm
    for j in range(0, N, bn):
        tc.store(x, [i, j], tc.load(x, [i, j], [bm, bn]) * 2.0)
    for k in range(0, N - bn, 2 * bn):
        tc.store(x, [i, k + bn], tc.load(x, [i, k], [bm, bn]))


def test_no_barriers_where_nothing_meets():
    """One, between the loops."""
    assert barriers(scaled) == 1
    x = RNG.random((20, 256)).astype(np.float32)
    expected = x * np.float32(2)
    for k in range(0, 256 - 64, 128):
        expected[:, k + 64 : k + 128] = expected[:, k : k + 64]
    everywhere(scaled, (x,), {"x": expected})
