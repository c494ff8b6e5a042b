"""Views of tensors and strided parameters against NumPy's own views, at every stage."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import cdiv, f16, f32, i32, int6

M, N, K = tc.dims("M N K")


@tc.kernel(warps=1)
def diagonals(x: f32[N], y: f32[M, K], n: i32, *, bm: int = 8, bk: int = 16):
    """y[i, j] = x[i * 2 + j]: windows that overlap."""
    tc.grid(cdiv(M, bm), cdiv(K, bk))
    windows = tc.tensor_view(x, 1, shape=[n, K], strides=[2, 1])
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bk
    tc.store(y, [i, j], tc.load(windows, [i, j], [bm, bk]))


def test_windows():
    x = np.arange(50, dtype=np.float32)
    expected = np.zeros((12, 20), np.float32)
    expected[:10] = np.lib.stride_tricks.sliding_window_view(x[1:], 20)[:20:2]
    everywhere(diagonals, (x, np.zeros((12, 20), np.float32), 10), {"y": expected})


@tc.kernel(warps=1)
def backwards(x: f32[N], y: f32[N], z: f32[M, N], *, bn: int = 64):
    tc.grid(cdiv(N, bn))
    j = tc.block_index(0) * bn
    turned = tc.tensor_view(x, N - 1, shape=[N], strides=[-1])
    same = tc.tensor_view(x, shape=[M, N], strides=[0, 1])
    tc.store(y, [j], tc.load(turned, [j], [bn]))
    tc.store(z, [0, j], tc.load(same, [0, j], [4, bn]))


def test_negative_and_zero_strides():
    x = np.arange(100, dtype=np.float32)
    everywhere(backwards, (x, np.zeros_like(x), np.zeros((3, 100), np.float32)), {"y": x[::-1], "z": np.tile(x, (3, 1))})


@tc.kernel(warps=1)
def rows_in_place(x: f16[M, N], w: int6[N], y: int6[N]):
    """Each block works on a view of its own row, and row 1 of a view of a view; a view of a type that fills no bytes begins at any bit."""
    tc.grid(M)
    i = tc.block_index(0)
    row = tc.tensor_view(x, i * N, shape=[N // 8, 8])
    last = tc.tensor_view(row, 8, shape=[row.shape[0] - 1, 8])
    tc.store(last, [0, 0], tc.load(last, [0, 0], [8, 8]) + 1.0)
    tc.store(tc.tensor_view(y, i * 3, shape=[3]), [0], tc.load(tc.tensor_view(w, i * 3, shape=[3]), [0], [4]))


def test_views_that_differ_by_block():
    x = np.arange(5 * 32, dtype=np.float16).reshape(5, 32)
    expected = x.copy()
    expected[:, 8:] += 1
    codes = np.arange(32) - 16
    w, out = (tc.Tensor.from_values(v, int6) for v in (codes, 0 * codes))
    everywhere(rows_in_place, (x, w, out), {"x": expected, "y": np.where(np.arange(32) < 15, codes, 0)})


@tc.kernel(warps=2)
def heads(qkv: f16[M, N], out: f16[M, 3, 32], *, bm: int = 16):
    tc.grid(cdiv(M, bm), 3)
    i, part = tc.block_index(0) * bm, tc.block_index(1)
    head = tc.tensor_view(qkv, part * 32, shape=[M, 32], strides=[96, 1])
    tc.store(out, [i, part, 0], tc.load(head, [i, 0], [bm, 32]), dims=[0, 2])


def test_parts_of_rows_are_read_in_vectors():
    qkv = np.random.default_rng(0).standard_normal((20, 96)).astype(np.float16)
    everywhere(heads, (qkv, np.zeros((20, 3, 32), np.float16)), {"out": qkv.reshape(20, 3, 32)})
    assert "ld.global.v4.b32" in heads.compile().ptx


@tc.kernel(warps=1)
def too_far(x: f32[N], y: f32[N]):
    tc.grid(1)
    tc.store(y, [0], tc.load(tc.tensor_view(x, 1, shape=[N]), [0], [32]))


def test_a_view_stays_in_its_memory():
    x = np.zeros(32, np.float32)
    with pytest.raises(tc.TileError, match="reaches beyond the memory of x, which has 32"):
        too_far.interpret(x, x.copy())


@tc.kernel(warps=1)
def scale(x: tc.strided(f32[M, N]), y: tc.strided(f32[M, N]), *, bm: int = 8, bn: int = 16):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    tc.store(y, [i, j], tc.load(x, [i, j], [bm, bn]) * 2.0)


STRIDED = {
    "transposed": lambda a: a[:20, :12].T,
    "every other": lambda a: a[::2, 1::3],
    "a part": lambda a: a[3:9, 5:20],
    "repeated": lambda a: np.broadcast_to(a[1, :20], (10, 20)),
    "whole": lambda a: a,
}


@pytest.mark.parametrize("cut", STRIDED.values(), ids=STRIDED.keys())
def test_strided_parameters(cut):
    base = np.arange(24 * 30, dtype=np.float32).reshape(24, 30)
    x = cut(base)
    y = np.zeros((60, 70), np.float32)[::2, ::2][: x.shape[0], : x.shape[1]]
    everywhere(scale, (x, y), {"y": 2 * x})


def test_gaps_are_left_alone():
    y = np.zeros((8, 40), np.float32)
    scale.simulate(np.ones((8, 20), np.float32), y[:, ::2])
    assert (y[:, ::2] == 2).all()
    assert (y[:, 1::2] == 0).all()


def test_negative_strides_of_parameters_are_refused():
    x = np.zeros((8, 8), np.float32)
    with pytest.raises(tc.TileError, match="x has a negative stride"):
        scale.interpret(x[::-1], x)
