"""Gathers, scatters and masks against NumPy's indexing, at every stage."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import cdiv, f16, f32, i32, i64, int6

M, N, K, T = tc.dims("M N K T")


@tc.kernel(warps=2)
def masked(x: f32[N], y: f32[N], z: f32[N], *, bn: int = 64):
    tc.grid(cdiv(N, bn))
    at = tc.block_index(0) * bn
    lane = at + tc.arange(bn)
    v = tc.load(x, [at], [bn], mask=lane % 3 != 0, other=-1.0)
    tc.store(y, [at], v)
    tc.store(z, [at], v * 2.0, mask=lane % 2 == 0)


@pytest.mark.parametrize("n", [128, 100, 1])
def test_masks(n):
    x = np.arange(n, dtype=np.float32) + 1
    y = np.where(np.arange(n) % 3 != 0, x, -1)
    z = np.where(np.arange(n) % 2 == 0, 2 * y, 7)
    everywhere(masked, (x, np.zeros_like(x), np.full_like(x, 7)), {"y": y, "z": z})


@tc.kernel(warps=2)
def embed(table: f16[M, K], tokens: i64[T], out: f16[T, K], *, bt: int = 16, bk: int = 32):
    tc.grid(cdiv(T, bt), cdiv(K, bk))
    t, k = tc.block_index(0) * bt, tc.block_index(1) * bk
    rows = tc.load(tokens, [t], [bt])
    tc.store(out, [t, k], tc.gather(table, [rows, k], [bt, bk], other=-2.0))


@pytest.mark.parametrize(("tokens", "k"), [(20, 64), (16, 40), (5, 7)])
def test_rows_of_a_table(tokens, k):
    """Rows before the first and behind the last are `other`."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((9, k)).astype(np.float16)
    ids = rng.integers(-3, 12, tokens)
    expected = np.where(((ids >= 0) & (ids < 9))[:, None], table[np.clip(ids, 0, 8)], np.float16(-2))
    everywhere(embed, (table, ids, np.zeros((tokens, k), np.float16)), {"out": expected})


def test_rows_are_read_in_vectors_of_16_bytes():
    compiled = embed.compile(bk=64)
    assert "ld.global.v4.b32" in compiled.ptx or "ld.global.v4.u32" in compiled.ptx


@tc.kernel(warps=2)
def move_rows(x: f32[M, N], rows: i32[M], y: f32[M, N], *, bm: int = 16, bn: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(N % 4 == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    row, number = tc.load(rows, [i], [bm]), (i + tc.arange(bm))[:, None]
    v = tc.gather(x, [row, j], [bm, bn], mask=number % 2 == 0, other=tc.broadcast(f32(number), [bm, bn]))
    tc.scatter(y, [row, j], v, mask=number < M)


def test_vectors_under_a_mask():
    """The mask and the rows are the same for all of a vector, and rows begin at multiples of 16 bytes: there is no path for single elements."""
    rng = np.random.default_rng(5)
    x, rows = rng.standard_normal((21, 36)).astype(np.float32), rng.permutation(21).astype(np.int32)
    y = np.zeros_like(x)
    y[rows] = np.where(np.arange(21)[:, None] % 2 == 0, x[rows], np.arange(21)[:, None])
    everywhere(move_rows, (x, rows, np.zeros_like(x)), {"y": y})
    ptx = move_rows.compile().ptx
    assert "ld.global.v4.b32" in ptx
    assert "st.global.v4.b32" in ptx
    assert "st.global.b32" not in ptx


@tc.kernel(warps=1)
def permute(x: f32[M, N], order: i32[M], y: f32[M, N], *, bm: int = 8, bn: int = 16):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    to = tc.load(order, [i], [bm])
    row = i + tc.arange(bm)
    tc.scatter(y, [to, j], tc.load(x, [i, j], [bm, bn]), mask=(row < M)[:, None])


def test_rows_are_scattered():
    rng = np.random.default_rng(1)
    x, order = rng.standard_normal((13, 20)).astype(np.float32), rng.permutation(13).astype(np.int32)
    y = np.zeros_like(x)
    y[order] = x
    everywhere(permute, (x, order, np.zeros_like(x)), {"y": y})


@tc.kernel(warps=1)
def pairs(x: f32[M, N], rows: i32[T], columns: i32[T], y: f32[T], z: f32[T], e: f32[T, N], *, bt: int = 32, bn: int = 16):
    tc.grid(cdiv(T, bt))
    t = tc.block_index(0) * bt
    i, j = tc.load(rows, [t], [bt]), tc.load(columns, [t], [bt])
    tc.store(y, [t], tc.gather(x, [i, j]))
    tc.store(z, [t], tc.gather(x, [i, 2]))
    both = tc.broadcast(i[:, None], [bt, bn])
    tc.store(e, [t, 0], tc.gather(x, [both, 0], [bt, bn]))


def test_places_of_single_elements():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((7, 9)).astype(np.float32)
    i, j = rng.integers(0, 7, 40).astype(np.int32), rng.integers(0, 9, 40).astype(np.int32)
    arguments = (x, i, j, np.zeros(40, np.float32), np.zeros(40, np.float32), np.zeros((40, 9), np.float32))
    everywhere(pairs, arguments, {"y": x[i, j], "z": x[i, 2], "e": x[i]})


@tc.kernel(warps=2)
def pages(cache: f16[M, 4, K], table: i32[T], head: i32, out: f16[T, K], *, bt: int = 16, bk: int = 32):
    tc.grid(cdiv(T, bt))
    t = tc.block_index(0) * bt
    tc.store(out, [t, 0], tc.gather(cache, [tc.load(table, [t], [bt]), head, 0], [bt, bk]))


def test_pages_of_a_cache():
    """The scalar in the middle is an index; the tile runs along the first axis by pages and along the last."""
    rng = np.random.default_rng(3)
    cache, table = rng.standard_normal((6, 4, 32)).astype(np.float16), rng.integers(0, 6, 24).astype(np.int32)
    everywhere(pages, (cache, table, 2, np.zeros((24, 32), np.float16)), {"out": cache[table, 2]})


@tc.kernel(warps=1)
def packed(w: int6[M, N], rows: i32[T], y: f32[T, N], v: int6[T, N], *, bt: int = 8, bn: int = 32):
    tc.grid(cdiv(T, bt), cdiv(N, bn))
    t, j = tc.block_index(0) * bt, tc.block_index(1) * bn
    x = tc.gather(w, [tc.load(rows, [t], [bt]), j], [bt, bn])
    tc.store(y, [t, j], f32(x))
    tc.scatter(v, [t + tc.arange(bt), j], x)


@pytest.mark.parametrize("n", [64, 21])
def test_types_that_fill_no_bytes(n):
    rng = np.random.default_rng(4)
    values, rows = rng.integers(-32, 32, (5, n)), rng.integers(0, 5, 16).astype(np.int32)
    w = tc.Tensor.from_values(values, int6)
    v = tc.Tensor.from_values(np.zeros((16, n), int), int6)  # whole words, as atomics write them
    everywhere(packed, (w, rows, np.zeros((16, n), np.float32), v), {"y": values[rows], "v": values[rows]})


def test_an_index_that_no_tile_axis_runs_along_must_be_inside():
    cache = np.zeros((6, 4, 32), np.float16)
    with pytest.raises(tc.TileError, match="out of bounds"):
        pages.interpret(cache, np.zeros(3, np.int32), 4, np.zeros((3, 32), np.float16))
