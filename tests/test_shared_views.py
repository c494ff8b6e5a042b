"""Slices and views of shared tiles: read and written as NumPy reads and writes its views, after every stage and as PTX; counted, and checked for hazards."""

import re
from collections import Counter

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import cdiv, f16, f32, float6_e3m2, i32, int3, int4, uint1, uint8
from tilec.backend.sass import disassemble
from tilec.ir.shared import SharedLayout, Swizzle, row_major, shared
from tilec.passes.hazards import hazards

M, N, K = tc.dims("M N K")
W = tc.types("W")
RNG = np.random.default_rng()
TYPES = [f16, f32, uint8, int4, int3, uint1, float6_e3m2]


def values(dtype, *shape):
    """Small numbers that the type has."""
    if dtype.bits > 8:
        return RNG.integers(-9, 10, shape).astype(dtype.numpy)
    return dtype.decode(RNG.integers(0, 2**dtype.bits, shape).astype(np.uint8)).astype(np.float64)


def tensor(x, dtype):
    return x.copy() if dtype.bits > 8 else tc.Tensor.from_values(x, dtype)


def zeros(dtype, *shape):
    return tensor(np.zeros(shape, dtype.numpy if dtype.bits > 8 else np.float64), dtype)


@tc.kernel(warps=2)
def parts(x: W[M, N], a: W[16, 16], b: W[4, 16], c: W[16, 8], d: W[16], e: W[16, 32], k: i32, *, W: tc.DType = f16, first: int = 16, N: int = 32):
    """A tile cut along both axes, at constants and at run time, in steps, in slices of slices; written through slices, too."""
    tc.grid(1)
    s = tc.shared(W, [2, 16, N])
    tc.copy_async(s[1, 0:8], x, [0, 0])
    tc.copy_async(s[1, 8:, 0:16], x, [8, 0])
    tc.copy_async(s[1, 8:, 16:], x, [8, 16])
    tc.store(s[0, :, 16:], tc.load(x, [0, 16], [16, N - 16]))
    tc.store(s[0, 0:16, :16], tc.load(x, [0, 0], [16, 16]))
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(a, [0, 0], tc.load(s[1, :, first : first + 16]))
    tc.store(b, [0, 0], tc.load(s[0, k : k + 12 : 3, 8:24]))
    tc.store(c, [0, 0], tc.load(s[1][:, k : k + 16][:, 3:11]))
    tc.store(d, [0], tc.load(s[k // 4, :, k]))
    tc.sync()
    tc.store(s[0, :, k : k + 16], tc.load(s[1, :, 0:16]))
    tc.sync()
    tc.store(e, [0, 0], tc.load(s[0, ..., :32]))


@pytest.mark.parametrize(("first", "k"), [(16, 0), (8, 4), (3, 1)])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_slices_hold_what_numpys_hold(dtype, first, k):
    x = values(dtype, 16, 32)
    outputs = [zeros(dtype, *shape) for shape in ((16, 16), (4, 16), (16, 8), (16,), (16, 32))]
    e = x.copy()
    e[:, k : k + 16] = x[:, :16]
    expected = {"a": x[:, first : first + 16], "b": x[k : k + 12 : 3, 8:24], "c": x[:, k : k + 16][:, 3:11], "d": x[:, k], "e": e}
    everywhere(parts, (tensor(x, dtype), *outputs, k), expected, W=dtype, first=first)


def test_where_a_slice_would_leave_the_tile_at_run_time():
    x = values(f16, 16, 32)
    outputs = [zeros(f16, *shape) for shape in ((16, 16), (4, 16), (16, 8), (16,), (16, 32))]
    for k in (17, -1):
        with pytest.raises(tc.TileError, match="of the shared tile"):
            parts.interpret(x, *outputs, k)


# products


@tc.kernel(warps=4)
def product(a: f16[M, K], b: f16[K, N], c: f32[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32, stages: int = 3, how: str = "whole"):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(K % 8 == 0)
    tc.assume(N % 8 == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    sa, sb = tc.shared(f16, [stages, bm, bk]), tc.shared(f16, [stages, bk, bn])
    acc = tc.zeros(f32, [bm, bn])
    for s in tc.static_range(stages - 1):
        tc.copy_async(sa[s], a, [i, s * bk])
        tc.copy_async(sb[s], b, [s * bk, j])
        tc.commit()
    for k in range(0, K, bk):
        tc.wait(stages - 2)
        tc.sync()
        now, then = k // bk % stages, (k // bk + stages - 1) % stages
        tc.copy_async(sa[then], a, [i, k + (stages - 1) * bk])
        tc.copy_async(sb[then], b, [k + (stages - 1) * bk, j])
        tc.commit()
        if how == "whole":
            acc = tc.dot(tc.load(sa[now]), tc.load(sb[now]), acc)
        elif how == "constant":
            for q in tc.static_range(0, bk, 16):
                acc = tc.dot(tc.load(sa[now, :, q : q + 16]), tc.load(sb[now, q : q + 16]), acc)
        else:
            for q in range(bk // 16):
                acc = tc.dot(tc.load(sa[now, :, 16 * q : 16 * (q + 1)]), tc.load(sb[now, 16 * q : 16 * q + 16, :]), acc)
    tc.store(c, [i, j], acc)


@pytest.mark.parametrize("how", ["constant", "run time"])
def test_products_of_slices(how):
    a, b = values(f16, 70, 72), values(f16, 72, 96)
    c = np.full((70, 96), np.nan, np.float32)
    report = everywhere(product, (a, b, c), {"c": a.astype(np.float64) @ b.astype(np.float64)}, how=how)
    assert report.shared_conflicts == 0


def loop_of(how):
    compiled = product.compile("sm_80", how=how)
    assert compiled.resources.spill_bytes == 0
    loops = [loop for loop in disassemble(compiled.cubin).loops if any(i.name == "HMMA" for i in loop.instructions)]
    found = max(loops, key=lambda loop: len(loop.instructions)).instructions
    moves = Counter(i.opcode for i in found if i.issued and i.name in ("LDSM", "LDGSTS", "LDS", "HMMA"))
    return moves, sum(i.issued for i in found)


def test_slices_are_loaded_as_the_whole_is():
    """ldmatrix.x4 and copies of 16 bytes, and no instruction more where they begin at constants."""
    moves, count = loop_of("whole")
    assert {name.split(".")[0] for name in moves} == {"LDSM", "LDGSTS", "HMMA"}
    assert all(name.endswith(".4") for name in moves if name.startswith("LDSM"))
    assert all(name.endswith(".128") for name in moves if name.startswith("LDGSTS"))
    sliced, more = loop_of("constant")
    assert (sliced, more) == (moves, count)
    sliced, more = loop_of("run time")
    assert sliced.keys() == moves.keys()


@tc.kernel(warps=4)
def by_halves(a: f16[64, 128], b: f16[128, 64], c: f32[64, 64]):
    """The one operand is copied in halves beside, the other in halves below one another."""
    tc.grid(1)
    sa, sb = tc.shared(f16, [64, 128]), tc.shared(f16, [128, 64])
    for h in tc.static_range(0, 128, 64):
        tc.copy_async(sa[:, h : h + 64], a, [0, h])
        tc.copy_async(sb[h : h + 64], b, [h, 0])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(c, [0, 0], tc.dot(tc.load(sa), tc.load(sb), tc.zeros(f32, [64, 64])))


def test_copies_into_slices_are_wide_and_free_of_conflicts():
    a, b = values(f16, 64, 128), values(f16, 128, 64)
    report = everywhere(by_halves, (a, b, np.full((64, 64), np.nan, np.float32)), {"c": a.astype(np.float64) @ b.astype(np.float64)})
    assert report.shared_conflicts == 0
    ptx = by_halves.compile("sm_80").ptx
    assert set(re.findall(r"cp\.async\.c[ag]\.shared\.global[^,]*, \[[^,]*, (\d+)", ptx)) == {"16"}
    assert "ldmatrix.sync.aligned.m8n8.x4.shared" in ptx


# hazards


@tc.kernel(warps=4)
def handed(x: f32[16, 64], y: f32[16, 32], k: i32, *, wrote: int = 0, read: int = 32, synced: bool = False):
    """One half is written while another is read; the tile was written and synced before."""
    tc.grid(1)
    s = tc.shared(f32, [2, 16, 64])
    tc.store(s[0], tc.load(x, [0, 0], [16, 64]))
    tc.sync()
    v = tc.load(x, [0, 32], [16, 32])
    tc.store(s[0, :, wrote : wrote + 32], v)
    if synced:
        tc.sync()
    tc.store(y, [0, 0], tc.load(s[0, :, read : read + 32]))


@pytest.mark.parametrize(("wrote", "read", "meet"), [(0, 32, False), (32, 0, False), (0, 31, True), (16, 16, True), (16, 0, True)])
def test_barriers_are_wanted_where_slices_overlap(wrote, read, meet):
    found = hazards(handed.function(wrote=wrote, read=read))
    assert bool(found) == meet
    assert all(h.certain and h.remedy == "tc.sync()" for h in found)
    assert hazards(handed.function(wrote=wrote, read=read, synced=True)) == []
    if meet:
        with pytest.raises(tc.TileError, match=r"put tc.sync\(\) before line"):
            handed.compile("sm_80", wrote=wrote, read=read)
    else:
        x = values(f32, 16, 64)
        everywhere(handed, (x, np.full((16, 32), np.nan, np.float32), 0), {"y": x[:, read : read + 32]}, wrote=wrote, read=read)


@tc.kernel(warps=2)
def turns(x: f32[8, M], y: f32[8, M], *, step: int = 16, synced: bool = False):
    """A ring of columns: what a round writes the one before may still read, unless it is another place."""
    tc.grid(1)
    s = tc.shared(f32, [8, 32])
    for r in range(M // 16):
        tc.store(s[:, r % 2 * step : r % 2 * step + 16], tc.load(x, [0, 16 * r], [8, 16]))
        tc.sync()
        tc.store(y, [0, 16 * r], tc.load(s[:, r % 2 * step : r % 2 * step + 16]))
        if synced:
            tc.sync()


def test_rings_of_columns_are_followed():
    assert hazards(turns.function()) == []
    (found,) = hazards(turns.function(step=8))
    assert found.certain
    assert hazards(turns.function(step=8, synced=True)) == []
    x = values(f32, 8, 80)
    everywhere(turns, (x, np.full((8, 80), np.nan, np.float32)), {"y": x})


def test_what_was_stored_of_a_tile_is_known():
    @tc.kernel(warps=1)
    def half(y: f32[8, 32], *, read: int = 0):
        tc.grid(1)
        s = tc.shared(f32, [8, 64])
        tc.store(s[:, :32], tc.zeros(f32, [8, 32]))
        tc.sync()
        tc.store(y, [0, 0], tc.load(s[:, read : read + 32]))

    half.interpret(np.ones((8, 32), np.float32))
    for read in (1, 32):
        with pytest.raises(tc.TileError, match="never stored"):
            half.interpret(np.ones((8, 32), np.float32), read=read)


# layouts


@pytest.mark.parametrize("swizzle", [None, Swizzle(2, 2, 3)], ids=str)
def test_views_of_a_layout_are_numpys(swizzle):
    """Where the elements of a view lie is what NumPy's view of the places holds."""
    layout = SharedLayout((4, 8, 32), (256, 32, 1), swizzle)
    lines = row_major(4, 8, 32).offsets()
    where = swizzle or (lambda x: x)
    steps = layout.strides
    views = [
        (lines[:, :, ::2], (4, 8, 16), (steps[0], steps[1], 2)), (lines[:, 3], (4, 32), (steps[0], 1)), (lines.reshape(32, 32), (32, 32), (32, 1)),
        (lines.reshape(4, 2, 4, 8, 4), (4, 2, 4, 8, 4), (256, 128, 32, 4, 1)), (lines.transpose(2, 0, 1), (32, 4, 8), (1, 256, 32)),
        (lines.reshape(2, 512)[:, None, :16], (2, 1, 16), (512, 7, 1)),
    ]  # fmt: skip
    for expected, shape, strides in views:
        view = layout.view(shape, strides)
        assert view.shape == shape
        begin = int(expected.reshape(-1)[0])
        line = sum(c * s for c, s in zip(np.indices(shape), view.strides, strict=True)) + begin
        assert (where(line) == where(expected)).all()


def test_what_is_no_view_of_a_layout():
    for layout, shape, strides in (
        (shared([4, 6], [8, 1]), (24,), (1,)), (row_major(4, 6).permute([1, 0]), (24,), (1,)), (row_major(8), (2, 8), (8, 1)),
    ):  # fmt: skip
        with pytest.raises(tc.TileError, match="in equal steps"):
            layout.view(shape, strides)
