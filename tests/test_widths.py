"""How much asynchronous copies, loads and stores take at once. What copies may take follows from PTX: 4, 8 or 16 bytes, at addresses that divide by as much."""

import re

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import DType, cdiv, f16, f32, f64, i32, int4, int5, int6, uint8

M, N, K = tc.dims("M N K")
D = tc.types("D")


def widths(kernel, **constants) -> set[int]:
    return {int(n) for n in re.findall(r"cp\.async\.c[ag]\.\S+ \[.*?\], \[.*?\], (\d+)", kernel.compile("sm_80", **constants).ptx)}


def codes(dtype: DType, shape: tuple[int, ...]) -> tc.Tensor:
    """Elements of any bits, but no special values."""
    kind = {16: np.uint16, 32: np.uint32, 64: np.uint64}.get(dtype.bits, np.uint8)
    return tc.Tensor.from_codes(np.random.default_rng().integers(0, 1 << min(dtype.bits, 8), shape).astype(kind), dtype)


@tc.kernel(warps=2)
def copied(x: D[M, N], y: D[M, N], *, D: DType = f16, each: int = 1, bn: int = 64):
    tc.grid(cdiv(M, 8), cdiv(N, bn))
    tc.assume(N % each == 0)
    i, j = tc.block_index(0) * 8, tc.block_index(1) * bn
    s = tc.shared(D, [8, bn])
    tc.copy_async(s, x, [i, j])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [i, j], tc.load(s))


# type, what the length of a row is a multiple of, an example, and the widths of the copies: the widest that may be, and the widest that is known
KNOWN = [
    (f32, 1, 71, {16, 4}), (f32, 2, 70, {16, 8}), (f32, 4, 76, {16}), (f64, 1, 67, {16, 8}), (f16, 2, 70, {16, 4}), (f16, 4, 76, {16, 8}),
    (f16, 1, 71, {16}), (uint8, 4, 68, {16, 4}), (uint8, 8, 72, {16, 8}), (int4, 8, 72, {16, 4}), (int4, 16, 80, {16, 8}), (int4, 32, 96, {16}),
    (int5, 32, 96, {8, 4}), (int6, 16, 80, {16, 4}),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "each", "n", "sizes"), KNOWN, ids=str)
def test_copies_are_as_wide_as_is_known(dtype: DType, each: int, n: int, sizes: set[int]) -> None:
    assert widths(copied, D=dtype, each=each) == sizes
    x = codes(dtype, (11, n))
    everywhere(copied, (x, codes(dtype, (11, n))), {"y": x.values()}, D=dtype, each=each)


@pytest.mark.parametrize(("bn", "size"), [(64, 16), (12, 8), (6, 4), (10, 4)])
def test_copies_are_as_wide_as_rows_of_the_tile_are_long(bn: int, size: int) -> None:
    assert widths(copied, bn=bn, each=8) == {size}
    x = codes(f16, (11, 72))
    everywhere(copied, (x, codes(f16, (11, 72))), {"y": x.values()}, each=8, bn=bn)


@tc.kernel(warps=2)
def product(a: D[M, K], b: D[K, N], c: f32[M, N], *, D: DType = f16, rows: int = 1, columns: int = 1, bk: int = 32):
    tc.grid(cdiv(M, 64), cdiv(N, 64))
    tc.assume((K % rows == 0) & (N % columns == 0))
    i, j = tc.block_index(0) * 64, tc.block_index(1) * 64
    acc = tc.zeros(f32, [64, 64])
    for k in tc.range(0, K, bk, stages=3):
        acc = tc.dot(tc.load(a, [i, k], [64, bk]), tc.load(b, [k, j], [bk, 64]), acc, precision="tf32" if D == f32 else "ieee")
    tc.store(c, [i, j], acc)


# type, what is known of the rows of a and of b, how long they are, and the copies of a block's warp: its share of 64 x 32 and 32 x 64
# elements, 2 KB for one warp of two in each round, by the bytes that its 32 lanes take at once
ROUNDS = [
    (f16, 4, 4, 76, 84, {16, 8}, 256, True), (f16, 2, 2, 70, 86, {16, 4}, 128, True), (f32, 1, 1, 71, 67, {16, 4}, 128, True),
    (f16, 8, 4, 72, 84, {16, 8}, 256, False), (f16, 1, 8, 71, 88, {16}, 512, False), (f16, 2, 8, 70, 88, {16, 4}, 128, False),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "rows", "columns", "k", "n", "sizes", "least", "all_alike"), ROUNDS, ids=str)
def test_loops_copy_rows_of_any_whole_words(
    dtype: DType, rows: int, columns: int, k: int, n: int, sizes: set[int], least: int, all_alike: bool
) -> None:
    """No load is left in a loop whose rows are known to be words, and no copy meets a bank twice; small integers are exact in all types."""
    constants = {"D": dtype, "rows": rows, "columns": columns}
    assert widths(product, **constants) == sizes
    rng, kind = np.random.default_rng(), np.float32 if dtype == f32 else np.float16
    a, b = rng.integers(-4, 5, (66, k)).astype(kind), rng.integers(-4, 5, (k, n)).astype(kind)
    report = everywhere(product, (a, b, np.full((66, n), np.nan, np.float32)), {"c": a.astype(float) @ b.astype(float)}, **constants)
    copies = [c for c in report.costs if re.match(r"cp\.async\.c[ag]", c.site.text)]
    loads = sum(c.issued for c in report.costs if "ld.global" in c.site.text)
    assert sum(c.ways for c in copies) == sum(c.ideal_ways for c in copies)
    item, blocks, rounds = dtype.bits // 8, 4, 2 + -(-k // 32)  # the rounds ahead that find nothing copy zeros
    if all_alike:
        assert loads == 0
        assert sum(c.issued for c in copies) == blocks * rounds * 2 * 64 * 32 * item // least
    else:
        assert (loads == 0) == (rows > 1)
        assert copies


@tc.kernel(warps=2)
def masked(x: f16[M, N], rows: i32[16], y: f16[16, 32], z: f32[16, 32], w: f32[M, N], *, each: int = 2):
    tc.grid(1)
    tc.assume(N % each == 0)
    s, t, order = tc.shared(f16, [16, 32]), tc.shared(f32, [16, 32]), tc.arange(16)
    tc.copy_async(s, x, [tc.load(rows, [0], [16]), 4], mask=(order != 3)[:, None])
    tc.copy_async(t, w, [2, 4], mask=(order[:, None] + tc.arange(32)) % 3 == 0)
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [0, 0], tc.load(s))
    tc.store(z, [0, 0], tc.load(t))


@pytest.mark.parametrize(("each", "n", "sizes"), [(2, 30, {8, 4}), (4, 28, {8, 4}), (4, 44, {8, 4})])
def test_copies_that_a_mask_chooses(each: int, n: int, sizes: set[int]) -> None:
    """Rows by 4 or 8 bytes, element by element where the mask says so; elsewhere, and over the edge, zeros."""
    assert widths(masked, each=each) == sizes
    rng = np.random.default_rng()
    x, w = rng.standard_normal((9, n)).astype(np.float16), rng.standard_normal((9, n)).astype(np.float32)
    rows = rng.integers(-2, 12, 16).astype(np.int32)
    wanted, other = np.zeros((16, 32)), np.zeros((16, 32))
    for i, row in enumerate(rows):
        if 0 <= row < 9 and i != 3:
            wanted[i, : min(32, n - 4)] = x[row, 4:36]
    other[:7, : min(32, n - 4)] = w[2:, 4:36]
    other *= (np.arange(16)[:, None] + np.arange(32)) % 3 == 0
    blank = np.full((16, 32), -1)
    everywhere(masked, (x, rows, blank.astype(np.float16), blank.astype(np.float32), w), {"y": wanted, "z": other}, each=each)


@tc.kernel(warps=1)
def from_a_view(x: f32[N], y: f32[8, 32], first: i32, apart: i32, *, each: int = 1):
    tc.grid(1)
    view = tc.tensor_view(x, first * each, shape=[8, 32], strides=[apart * each, 1])
    s = tc.shared(f32, [8, 32])
    tc.copy_async(s, view, [0, 0])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [0, 0], tc.load(s))


@pytest.mark.parametrize(("each", "sizes"), [(1, {16, 4}), (2, {16, 8}), (4, {16})])
@pytest.mark.parametrize(("first", "apart"), [(0, 4), (1, 4), (4, 33)])
def test_where_a_view_begins_and_how_far_its_rows_are_apart(each: int, sizes: set[int], first: int, apart: int) -> None:
    assert widths(from_a_view, each=each) == sizes
    x = np.random.default_rng().standard_normal(1100).astype(np.float32)
    wanted = [x[(first + i * apart) * each :][:32] for i in range(8)]
    everywhere(from_a_view, (x, np.full((8, 32), -1, np.float32), first, apart), {"y": wanted}, each=each)


@tc.kernel(warps=2)
def turned(a: tc.strided(f32[M, K]), b: f32[N, K], c: f32[M, N]):
    """Elements of 4 bytes are copied whatever their neighbours are."""
    tc.grid(cdiv(M, 32), cdiv(N, 32))
    i, j = tc.block_index(0) * 32, tc.block_index(1) * 32
    acc = tc.zeros(f32, [32, 32])
    for k in tc.range(0, K, 16, stages=2):
        acc = tc.dot(tc.load(a, [i, k], [32, 16]), tc.load(b, [j, k], [16, 32], dims=[1, 0]), acc, precision="tf32")
    tc.store(c, [i, j], acc)


def test_loops_copy_elements_of_4_bytes_from_anywhere() -> None:
    assert widths(turned) == {4}
    rng = np.random.default_rng()
    a, b = rng.integers(-4, 5, (35, 40)).astype(np.float32).T, rng.integers(-4, 5, (33, 35)).astype(np.float32)
    report = everywhere(turned, (a, b, np.full((40, 33), np.nan, np.float32)), {"c": a @ b.T})
    assert not any("ld.global" in c.site.text for c in report.costs)


@tc.kernel(warps=2)
def phases(x: f32[32, N], y: f32[32, N]):
    tc.grid(1)
    first = tc.shared(f32, [32, 32])
    tc.copy_async(first, x, [0, 0])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tile = tc.load(first)
    tc.sync()
    second = tc.shared(f32, [32, 32])
    tc.store(second, tile)
    tc.sync()
    tc.store(y, [0, 0], tc.load(second))


def test_a_copy_of_either_width_lets_go_of_its_place() -> None:
    assert [tile["offset"] for tile in phases.compile().metadata["shared"]] == [0, 0]


def test_why_a_copy_is_no_wider() -> None:
    text = str(copied.explain("sm_80", each=2))
    assert "tc.copy_async(s, x, [i, j]): 4 bytes at a time, not 16: rows of x are N elements apart, not known to divide by 8; tc.assume(N % 8 == 0)" in text


@tc.kernel(warps=2)
def moved(x: D[M, N], y: D[M, N], *, D: DType = f16, each: int = 1, bn: int = 64):
    tc.grid(cdiv(M, 8), cdiv(N, bn))
    tc.assume(N % each == 0)
    i, j = tc.block_index(0) * 8, tc.block_index(1) * bn
    tc.store(y, [i, j], tc.load(x, [i, j], [8, bn]))


def accesses(kernel, name: str, **constants) -> set[int]:
    """Bytes of each load ("ld") or store ("st") of global memory."""
    found = re.findall(rf"\b{name}\.global(?:\.nc)?(?:\.v(\d))?\.[busf](\d+)", kernel.compile("sm_80", **constants).ptx)
    return {int(n or 1) * int(bits) // 8 for n, bits in found}


# type, what the length of a row is a multiple of, two lengths, one of which is whole vectors, and the bytes that loads and stores take: 16, or what is known
MOVED = [
    (f16, 1, (71, 72), {16, 2}, {16, 2}), (f16, 2, (70, 80), {16, 4}, {16, 4}), (f16, 4, (76, 136), {16, 8}, {16, 8}), (f16, 8, (72, 8), {16}, {16}),
    (f32, 1, (67, 68), {16, 4}, {16, 4}), (f32, 2, (70, 64), {16, 8}, {16, 8}), (f64, 1, (67, 66), {16, 8}, {16, 8}),
    (uint8, 2, (66, 80), {8, 2}, {8, 2}), (uint8, 4, (100, 64), {8, 4}, {8, 4}), (int4, 2, (70, 96), {4, 1}, {4}), (int6, 4, (68, 96), {2, 1}, {4}),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "each", "lengths", "loads", "stores"), MOVED, ids=str)
def test_loads_and_stores_are_as_wide_as_is_known(dtype: DType, each: int, lengths: tuple[int, int], loads: set[int], stores: set[int]) -> None:
    assert accesses(moved, "ld", D=dtype, each=each) == loads
    assert accesses(moved, "st", D=dtype, each=each) >= stores
    for n in lengths:
        x = codes(dtype, (11, n))
        everywhere(moved, (x, codes(dtype, (11, n))), {"y": x.values()}, D=dtype, each=each)


@tc.kernel(warps=1)
def rows_of(x: f16[M, N], order: i32[8], y: f16[8, 64], *, each: int = 4):
    tc.grid(1)
    tc.assume(N % each == 0)
    found = tc.gather(x, [tc.load(order, [0], [8]), 0], [8, 64])
    tc.store(y, [0, 0], tc.load(x, [0, 4], [8, 64], mask=(tc.arange(8) != 2)[:, None]) + found)


@pytest.mark.parametrize("n", [44, 72])
def test_rows_that_are_chosen_are_read_by_what_is_known(n: int) -> None:
    assert accesses(rows_of, "ld") >= {16, 8}
    assert 2 not in accesses(rows_of, "ld")
    rng = np.random.default_rng()
    x, order = rng.integers(-9, 9, (9, n)).astype(np.float16), rng.integers(-2, 12, 8).astype(np.int32)
    wide = np.zeros((9, 80), np.float16)
    wide[:, :n] = x
    wanted = wide[:8, 4:68] * (np.arange(8) != 2)[:, None]
    for i, row in enumerate(order):
        wanted[i] += wide[row, :64] if 0 <= row < 9 else 0
    everywhere(rows_of, (x, order, np.full((8, 64), np.nan, np.float16)), {"y": wanted})
