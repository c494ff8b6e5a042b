"""Masks and indices on shared tiles and asynchronous copies, against NumPy's indexing, at every stage."""

import re

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import f16, f32, f64, float6_e3m2, i32, i64, int8, uint8
from tilec.backend.target import target
from tilec.passes.hazards import hazards
from tilec.passes.simplify import simplify

M, N, K, T = tc.dims("M N K T")
X = tc.types("X")
RNG = np.random.default_rng()


@tc.kernel(warps=2)
def through(x: X[16, N], keep: i32[16, N], rows: i32[16], y: X[16, N], z: X[16, N], *, X: tc.DType = f16, N: int = 40):
    """y: what is kept, 1 elsewhere, of a tile with other elements 0; z: the rows that are kept, stored over x."""
    tc.grid(1)
    s, t = tc.shared(X, [16, N]), tc.shared(X, [2, 16, N])
    v, m = tc.load(x, [0, 0], [16, N]), tc.load(keep, [0, 0], [16, N]) != 0
    row = tc.load(rows, [0], [16])[:, None] != 0
    zero = tc.cast(tc.zeros(f32, [16, N]), X)
    tc.store(s, zero)
    tc.store(t[1], v)
    tc.sync()
    tc.store(s, v, mask=m)
    tc.store(t[1], zero, mask=row)
    tc.sync()
    one = tc.cast(tc.full(f32, [16, N], 1.0), X)
    tc.store(y, [0, 0], tc.load(s, mask=m, other=one))
    tc.store(z, [0, 0], tc.load(t[1], mask=~row, other=one))


@pytest.mark.parametrize("dtype", [f16, f32, f64, i32, i64, int8, float6_e3m2], ids=str)
def test_masked_loads_and_stores(dtype):
    x, keep, rows = RNG.integers(-4, 5, (16, 40)), RNG.integers(0, 2, (16, 40)).astype(np.int32), RNG.integers(0, 2, 16).astype(np.int32)
    given = tc.Tensor.from_values(x.astype(np.float64), dtype)
    out = [tc.Tensor.from_values(np.zeros((16, 40)), dtype) for _ in range(2)]
    expected = {"y": np.where(keep != 0, x, 1), "z": np.where(rows[:, None] != 0, 1, x)}
    everywhere(through, (given, keep, rows, *out), expected, X=dtype)


def test_rows_under_a_mask_move_as_vectors():
    ptx = through.compile(X=f16, N=64).ptx
    assert re.search(r"@%p\d+ st\.shared\.v\d\.b32", ptx)
    assert re.search(r"@%p\d+ ld\.shared\.v\d\.b32", ptx)


@tc.kernel(warps=2)
def ended(x: X[M, N], ends: i32[1], y: X[M, N], z: X[M, N], *, X: tc.DType = f16, unit: int = 8, bn: int = 64):
    """What lies before a column, by way of loads, stores and copies under a mask, global and shared."""
    tc.grid(tc.cdiv(M, 8), tc.cdiv(N, bn))
    tc.assume(N % unit == 0)
    i, j = tc.block_index(0) * 8, tc.block_index(1) * bn
    before = (j + tc.arange(bn) < N - unit)[None, :]
    s = tc.shared(X, [8, bn])
    tc.copy_async(s, x, [i, j], mask=before)
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [i, j], tc.load(x, [i, j], [8, bn], mask=before), mask=(i + tc.arange(8) < tc.load(ends, 0))[:, None])
    tc.store(z, [i, j], tc.load(s, mask=before), mask=(j + tc.arange(bn) >= unit)[None, :])


@pytest.mark.parametrize(("dtype", "unit"), [(f16, 8), (f16, 4), (f16, 1), (f32, 4), (f64, 2), (int8, 16), (int8, 8)], ids=str)
def test_masks_that_end_between_vectors(dtype, unit):
    x = RNG.integers(-4, 5, (11, 80)).astype(np.float64)
    column = np.arange(80)
    rows = np.where(np.arange(11)[:, None] < 9, np.where(column < 80 - unit, x, 0), 7)
    out = [tc.Tensor.from_values(np.full((11, 80), 7.0), dtype) for _ in range(2)]
    expected = {"y": rows, "z": np.where(column < unit, 7, np.where(column < 80 - unit, x, 0))}
    everywhere(ended, (tc.Tensor.from_values(x, dtype), np.int32([9]), *out), expected, X=dtype, unit=unit)


def test_vectors_under_masks_that_end_between_them():
    """Elements of 2 bytes, 8 or 4 of them alike."""
    ptx = ended.compile(X=f16, unit=8).ptx
    assert all(re.search(code, ptx) for code in (r"@%p\d+ ld\.global\.v4\.b32", r"@%p\d+ ld\.shared\.v4\.b32", r"@%p\d+ st\.global\.v4\.b32", r"cp\.async\.cg"))
    assert not re.search(r"(ld|st)\.(global|shared)\.(b16|u16)", ptx)
    assert re.search(r"@%p\d+ ld\.global\.v2\.b32", ended.compile(X=f16, unit=4).ptx)


def test_what_a_mask_costs_is_said():
    lines = [why for line in ended.explain(unit=1).lines.values() for why in line.why if "2 bytes at a time, not 16: the mask is not known" in why]
    assert any("tc.copy_async" in why and "where it compares with N, tc.assume(N % 8 == 0) would tell" in why for why in lines)
    assert any("tc.load(s" in why and "one of whole rows, as m[:, None], would be" in why for why in lines)
    assert not [why for line in ended.explain(unit=8).lines.values() for why in line.why if "the mask" in why]


@tc.kernel(warps=1)
def part(x: f32[N], y: f32[N], *, n: int = 64, start: int = 0, phase: int = 1):
    """Only what is stored may be read: the interpreter and the simulator would tell."""
    tc.grid(1)
    s = tc.shared(f32, [n])
    at = tc.arange(32)
    for i in range(0, n, 32):
        tc.store(s, [i], tc.load(x, [i], [32]), mask=at % 4 == 1)
    tc.sync()
    for i in range(0, n, 32):
        tc.store(y, [i], tc.load(s, [i + start], [32], mask=(at + start) % 4 == phase, other=-1.0))


def test_what_a_mask_leaves_out_is_not_touched():
    x = RNG.standard_normal(64).astype(np.float32)
    everywhere(part, (x, np.zeros(64, np.float32)), {"y": np.where(np.arange(64) % 4 == 1, x, -1)})
    shifted = np.append(x[2:], [-1, -1])  # what lies over the edge is other
    everywhere(part, (x, np.zeros(64, np.float32)), {"y": np.where((np.arange(64) + 2) % 4 == 1, shifted, -1)}, start=2)
    with pytest.raises(tc.TileError, match="never stored"):
        part.interpret(x, np.zeros(64, np.float32), phase=2)


@tc.kernel(warps=2)
def rearranged(x: f32[32, 24], order: i32[32], back: i64[32], columns: i32[24], y: f32[32, 24], z: f32[32, 24], w: f32[32]):
    """Rows of a shared tile as indices name them, read and written; single elements of its columns."""
    tc.grid(1)
    s, t = tc.shared(f32, [32, 24]), tc.shared(f32, [32, 24])
    v, rows = tc.load(x, [0, 0], [32, 24]), tc.load(order, [0], [32])
    tc.store(s, v)
    tc.scatter(t, [tc.load(back, [0], [32]), 0], v)
    tc.sync()
    tc.store(y, [0, 0], tc.gather(s, [rows, 0], [32, 24], other=-1.0))
    tc.store(z, [0, 0], tc.load(t))
    tc.store(w, [0], tc.gather(s, [tc.arange(32), rows], mask=rows < 24))


def test_indices_into_shared_tiles():
    x, order, back = RNG.standard_normal((32, 24)).astype(np.float32), RNG.integers(-2, 34, 32).astype(np.int32), RNG.permutation(32)
    inside = (order >= 0) & (order < 32)
    y = np.where(inside[:, None], x[np.clip(order, 0, 31)], -1)
    z = np.zeros_like(x)
    z[back] = x
    w = np.where((order >= 0) & (order < 24), x[np.arange(32), np.clip(order, 0, 23)], 0)
    arguments = (x, order, back, np.zeros(24, np.int32), np.zeros_like(x), np.zeros_like(x), np.zeros(32, np.float32))
    everywhere(rearranged, arguments, {"y": y, "z": z, "w": w})


@tc.kernel(warps=2)
def copied(x: X[M, N], keep: i32[16], y: X[16, 48], *, X: tc.DType = f16, by_row: bool = True):
    tc.grid(1)
    s = tc.shared(X, [16, 48])
    kept = tc.load(keep, [0], [16]) != 0
    columns = tc.arange(48) % 3 != 0
    tc.copy_async(s, x, [1, 8], mask=kept[:, None] if by_row else kept[:, None] & columns)
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [0, 0], tc.load(s))


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("dtype", [f16, f32, f64, uint8], ids=str)
@pytest.mark.parametrize(("m", "n"), [(17, 64), (12, 40), (20, 37)])
def test_copies_fill_with_zeros(dtype, by_row, m, n):
    x, keep = RNG.integers(1, 5, (m, n)), RNG.integers(0, 2, 16).astype(np.int32)
    padded = np.zeros((40, 80))
    padded[:m, :n] = x
    mask = (keep != 0)[:, None] & (by_row | (np.arange(48) % 3 != 0))
    given, out = (tc.Tensor.from_values(a.astype(np.float64), dtype) for a in (x, np.full((16, 48), 7)))
    everywhere(copied, (given, keep, out), {"y": np.where(mask, padded[1:17, 8:56], 0)}, X=dtype, by_row=by_row)


def test_copies_under_a_mask_are_asynchronous():
    assert re.search(r"cp\.async\.cg\.shared\.global \[%r\d+.*\], \[%rd\d+.*\], 16, %", copied.compile(X=f16).ptx)
    narrow = copied.compile(X=f32, by_row=False).ptx
    assert re.search(r"cp\.async\.ca\.shared\.global \[%r\d+.*\], \[%rd\d+.*\], 4, %", narrow)


@tc.kernel(warps=2)
def pages(cache: f16[M, 4, K], table: i32[T], head: i32, out: f16[T, K], *, bt: int = 16, bk: int = 32):
    """Rows that a table names, fetched by asynchronous copies; those behind its end are zeros."""
    tc.grid(tc.cdiv(T, bt))
    t = tc.block_index(0) * bt
    s = tc.shared(f16, [bt, bk])
    tc.copy_async(s, cache, [tc.load(table, [t], [bt]), head, 0], mask=(t + tc.arange(bt) < T)[:, None])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(out, [t, 0], tc.load(s))


def test_copies_of_rows_that_a_table_names():
    cache, table = RNG.standard_normal((6, 4, 32)).astype(np.float16), RNG.integers(-1, 7, 24).astype(np.int32)
    there = (table >= 0) & (table < 6)
    expected = np.where(there[:, None], cache[np.clip(table, 0, 5), 2], 0)
    everywhere(pages, (cache, table, 2, np.zeros((24, 32), np.float16)), {"out": expected})
    assert "cp.async.cg.shared.global" in pages.compile(bk=64).ptx


@tc.kernel(warps=2)
def unsynchronized(x: f32[64], y: f32[64], *, kind: str = "store then load"):
    tc.grid(1)
    s = tc.shared(f32, [64])
    low = tc.arange(64) < 32
    v = tc.load(x, [0], [64])
    tc.store(s, v)
    if kind == "load under a mask":
        tc.store(y, [0], tc.load(s, mask=low))
    elif kind == "store under a mask":
        tc.sync()
        tc.store(s, v, mask=low)
        tc.store(y, [0], tc.load(s))
    else:
        tc.sync()
        tc.store(s, [0], v[0:16], mask=low[0:16])
        tc.store(y, [16], tc.load(s, [16], [16], mask=low[16:32]))


@pytest.mark.parametrize(("kind", "certain"), [("load under a mask", [True]), ("store under a mask", [True]), ("apart", [])])
def test_a_barrier_is_missing_around_a_mask(kind, certain):
    function = simplify(unsynchronized.function(kind=kind), target("sm_80"))
    assert [h.certain for h in hazards(function)] == certain


WRONG = {
    "a mask of numbers": ("tc.load(s, mask=tc.arange(32))", "a mask is a tile of bools, not i32"),
    "a mask of another shape": ("tc.load(s, mask=tc.arange(16) < 3)", "does not broadcast to the shape"),
    "hints": ("tc.load(s, cache='cg')", "shared memory has no caches"),
    "hints of a store": ("tc.store(s, 0.0, evict='first')", "shared memory has no caches"),
    "a copy's mask": ("tc.copy_async(s, x, [0], mask=tc.arange(32))", "a mask is a tile of bools"),
    "other": ("tc.load(s, mask=tc.arange(32) < 3, other=tc.zeros(f16, [32]))", "other is f16"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name, tmp_path):
    body, message = WRONG[name]
    file = tmp_path / "wrong.py"
    text = f"import tilec as tc\nfrom tilec import f16, f32\n@tc.kernel\ndef k(x: f32[32]):\n    tc.grid(1)\n    s = tc.shared(f32, [32])\n    {body}\n"
    file.write_text(text)
    scope = {}
    exec(compile(text, str(file), "exec"), scope)
    with pytest.raises(tc.TileError, match=message) as caught:
        scope["k"].function()
    assert caught.value.loc.line == 7


def test_text_of_a_copy_under_a_mask():
    """Operands that are not there are left out at the end, and read back either way."""
    text = str(copied.function())
    assert tc.parse(text).verify()
    assert str(tc.parse(text)) == text
    plain = str(pages.function())
    assert str(tc.parse(plain)) == plain


@tc.kernel(warps=1)
def beyond(a: X[N], y: f32[6, 32], *, X: tc.DType = f16):
    """Beyond the edge, behind a mask, of global and shared memory, a view and rows by index."""
    tc.grid(1)
    s, m = tc.shared(X, [32]), tc.arange(32) < 5
    tc.store(y, [0, 0], f32(tc.load(a, [0], [32])))
    tc.store(y, [1, 0], f32(tc.load(a, [0], [32], mask=m)))
    tc.store(y, [2, 0], f32(tc.load(tc.tensor_view(a, 0, shape=[8]), [0], [32])))
    tc.store(y, [3, 0], f32(tc.gather(a, [tc.arange(32)], [32])))
    tc.copy_async(s, a, [0])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [4, 0], f32(tc.load(s)))
    tc.store(y, [5, 0], f32(tc.load(s, mask=m)))


@pytest.mark.parametrize(("name", "first"), [("nf4", -1.0), ("float8_e8m0", 2.0**-127), ("int4", 0.0), ("float4_e2m1", 0.0)])
def test_what_is_not_read_is_zero_bits(name: str, first: float) -> None:
    """0, but in types whose first code means something else."""
    dtype = tc.dtype(name)
    a = tc.Tensor.from_codes(RNG.integers(1, 8, 10, np.uint8), dtype)
    wanted = np.full((6, 32), first)
    for row, n in enumerate((10, 5, 8, 10, 10, 5)):
        wanted[row, :n] = a.values()[:n]
    everywhere(beyond, (a, np.full((6, 32), np.nan, np.float32)), {"y": wanted}, X=dtype)
