"""Slices and views of shared tiles: read and written as NumPy reads and writes its views, after every stage and as PTX; counted, and checked for hazards."""

import re
from collections import Counter

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import cdiv, compiler, f16, f32, float6_e3m2, i32, int3, int4, int6, u16, u32, u64, uint1, uint8
from tilec.backend.sass import disassemble
from tilec.ir.shared import SharedLayout, Swizzle, row_major, shared
from tilec.passes.hazards import check_hazards, hazards

M, N, K = tc.dims("M N K")
W, V = tc.types("W V")
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


@pytest.mark.parametrize(("read", "meet"), [(32, False), (16, True)])
def test_the_simulator_agrees_about_barriers(monkeypatch, read, meet):
    """Without the check at compile time a barrier that is missing is a race, and one that is not is none."""
    monkeypatch.setattr(compiler, "PIPELINE", tuple(stage for stage in compiler.PIPELINE if stage[1] is not check_hazards))
    report = handed.simulate(values(f32, 16, 64), np.full((16, 32), np.nan, np.float32), 0, wrote=0, read=read)
    assert bool(report.findings) == meet


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


# other shapes


@tc.kernel(warps=2)
def shapes(
    x: W[32, 64], a: W[64, 32], b: W[2048], c: W[4, 16, 32], d: W[16, 8, 4], e: W[8, 64], g: W[8, 2, 3], k: i32, *, W: tc.DType = f16
):  # fmt: skip
    """Transposed, reshaped and cut, in several orders, on both sides."""
    tc.grid(1)
    s = tc.shared(W, [2, 32, 64])
    v = tc.load(x, [0, 0], [32, 64])
    tc.store(s[1].T, v.T)
    tc.store(s[0].reshape([8, 4, 64]), v.reshape([8, 4, 64]))
    tc.sync()
    tc.store(a, [0, 0], tc.load(s[1].T))
    tc.store(b, [0], tc.load(tc.reshape(s[1], [-1])))
    tc.store(c, [0, 0, 0], tc.load(s.reshape([-1, 16, 32])[4:]))
    tc.store(d, [0, 0, 0], tc.load(s[0].reshape([32, 8, 8])[k : k + 16, :, 4:]))
    tc.store(e, [0, 0], tc.load(s.reshape([64, 64])[32 + k : 40 + k]))
    tc.store(g, [0, 0, 0], tc.load(tc.permute(s, [2, 0, 1])[k : k + 8, :, 3:14:5]))


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_other_shapes_are_numpys(dtype, k):
    x = values(dtype, 32, 64)
    both = np.stack([x, x])
    expected = {
        "a": x.T, "b": x.ravel(), "c": x.reshape(4, 16, 32), "d": x.reshape(32, 8, 8)[k : k + 16, :, 4:], "e": x[k : k + 8],
        "g": both.transpose(2, 0, 1)[k : k + 8, :, 3:14:5],
    }  # fmt: skip
    everywhere(shapes, (tensor(x, dtype), *(zeros(dtype, *e.shape) for e in expected.values()), k), expected, W=dtype)


@tc.kernel(warps=4)
def turned_product(a: f16[K, M], b: f16[N, K], c: f32[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32):
    """A of columns and B of rows: the views turn them, and ldmatrix reads them so."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(M % 8 == 0)
    tc.assume(K % 8 == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    sa, sb = tc.shared(f16, [bk, bm]), tc.shared(f16, [2, bn // 2, bk])
    acc = tc.zeros(f32, [bm, bn])
    for k in range(0, K, bk):
        tc.copy_async(sa, a, [k, i])
        tc.copy_async(sb.reshape([bn, bk]), b, [j, k])
        tc.commit()
        tc.wait(0)
        tc.sync()
        for q in tc.static_range(0, bk, 16):
            acc = tc.dot(tc.load(sa.T[:, q : q + 16]), tc.load(sb.reshape([bn, bk]).T[q : q + 16]), acc)
        tc.sync()
    tc.store(c, [i, j], acc)


def test_turned_operands_are_loaded_by_ldmatrix():
    a, b = values(f16, 72, 80), values(f16, 70, 72)
    c = np.full((80, 70), np.nan, np.float32)
    report = everywhere(turned_product, (a, b, c), {"c": a.T.astype(np.float64) @ b.T.astype(np.float64)})
    assert report.shared_conflicts == 0
    opcodes = Counter(i.opcode for i in disassemble(turned_product.compile("sm_80").cubin).instructions if i.name in ("LDSM", "LDS"))
    assert {o for o in opcodes if o.startswith("LDSM")} == {"LDSM.16.M88.4", "LDSM.16.MT88.4"}


def test_a_reshape_that_is_no_view_names_the_way():
    @tc.kernel(warps=1)
    def cut_first(y: f32[16, 8]):
        tc.grid(1)
        s = tc.shared(f32, [8, 32])
        tc.store(y, [0, 0], tc.load(s[:, :16].reshape([16, 8])))  # each row in two halves: a view
        tc.store(y, [0, 0], tc.load(s[:, :16].reshape([32, 4]).T.reshape([16, 8])))

    with pytest.raises(tc.TileError, match=r"is no view of \[16, 8\]: its elements do not lie in equal steps") as caught:
        cut_first.function()
    assert "before it is cut or transposed" in str(caught.value)
    assert caught.value.code is not None


# other types


@tc.kernel(warps=2)
def seen(x: W[32, 64], y: V[32, K], z: V[8, K], u: V[16, K], back: W[32, 64], k: i32, *, W: tc.DType = f16, V: tc.DType = u32, K: int = 32):
    """The bits of a tile as another type: whole, of a part, a part of that; and written so."""
    tc.grid(1)
    s = tc.shared(W, [2, 32, 64])
    tc.store(s[1], tc.load(x, [0, 0], [32, 64]))
    tc.sync()
    tc.store(y, [0, 0], tc.load(tc.bitcast(s[1], V)))
    tc.store(z, [0, 0], tc.load(tc.bitcast(s[1, k : k + 8], V)))
    tc.store(u, [0, 0], tc.load(tc.bitcast(s, V)[1, ::2]))
    tc.store(tc.bitcast(s[0], V), tc.load(tc.bitcast(s[1], V)))
    tc.sync()
    tc.store(back, [0, 0], tc.load(s[0]))


def codes_as(codes, bits, other):
    """The codes of rows, packed from the least significant bit, cut anew."""
    line = (codes[..., None] >> np.arange(bits, dtype=np.uint64) & np.uint64(1)).reshape(len(codes), -1, other)
    return (line << np.arange(other, dtype=np.uint64)).sum(-1, dtype=np.uint64)


PAIRS = [(f16, u32), (f16, uint8), (uint8, u16), (int4, u32), (int6, u32), (u32, u16), (u32, int4), (f32, u64), (uint1, uint8), (uint8, int4)]


@pytest.mark.parametrize(("dtype", "other"), PAIRS, ids=str)
def test_bits_seen_as_another_type(dtype, other):
    codes = RNG.integers(0, 2**dtype.bits, (32, 64), dtype=np.uint64)
    if dtype.is_float:
        codes = dtype.encode(RNG.integers(-99, 100, (32, 64)).astype(np.float64)).astype(np.uint64)

    def decoded(dtype, codes):
        return dtype.decode(codes.astype(f"u{max(1, dtype.bits // 8)}"))

    x, y = decoded(dtype, codes), decoded(other, codes_as(codes, dtype.bits, other.bits))
    expected = {"y": y, "z": y[5:13], "u": y[::2], "back": x}
    given = x.astype(dtype.numpy) if dtype.bits > 8 else tc.Tensor.from_values(x, dtype)
    outputs = [zeros(dtype if name == "back" else other, *e.shape) for name, e in expected.items()]
    everywhere(seen, (given, *outputs, 5), expected, W=dtype, V=other, K=y.shape[1])


@tc.kernel(warps=2)
def turned_bits(x: f32[32, 64], y: u32[64, 32], z: i32[8, 16], back: f32[32, 64], k: i32):
    """Types of one width may be exchanged where the elements of rows lie apart, too."""
    tc.grid(1)
    s = tc.shared(f32, [2, 32, 64])
    tc.store(s[1], tc.load(x, [0, 0], [32, 64]))
    tc.sync()
    tc.store(y, [0, 0], tc.load(tc.bitcast(s[1].T, u32)))
    tc.store(z, [0, 0], tc.load(tc.bitcast(s[1, k : k + 8, ::4], i32)))
    tc.store(tc.bitcast(s[0].T, u32), tc.load(tc.bitcast(s[1].T, u32)))
    tc.sync()
    tc.store(back, [0, 0], tc.load(s[0]))


def test_bits_seen_as_another_type_of_the_same_width():
    x = RNG.standard_normal((32, 64)).astype(np.float32)
    outputs = np.zeros((64, 32), np.uint32), np.zeros((8, 16), np.int32), np.zeros_like(x)
    everywhere(turned_bits, (x, *outputs, 5), {"y": x.view(np.uint32).T, "z": np.ascontiguousarray(x[5:13, ::4]).view(np.int32), "back": x})


@tc.kernel(warps=2)
def halves_of_words(z: u16[8, 16], y: u32[8, 16], *, wrote: int = 0, read: int = 1, synced: bool = False):
    """Some halves of words are written while others are read."""
    tc.grid(1)
    s = tc.shared(u32, [8, 16])
    tc.store(s, tc.full(u32, [8, 16], 0x00050003))
    tc.sync()
    h = tc.bitcast(s, u16)
    tc.store(h[:, wrote::2], tc.full(u16, [8, 16], 7))
    if synced:
        tc.sync()
    tc.store(z, [0, 0], tc.load(h[:, read::2]))
    tc.sync()
    tc.store(y, [0, 0], tc.load(s))


@pytest.mark.parametrize(("wrote", "read"), [(0, 1), (1, 0), (0, 0), (1, 1)])
def test_hazards_of_parts_of_elements(wrote, read):
    """Halves of one word are as far apart as those of two."""
    found = hazards(halves_of_words.function(wrote=wrote, read=read))
    assert [h.certain for h in found] == ([True] if wrote == read else [])
    assert hazards(halves_of_words.function(wrote=wrote, read=read, synced=True)) == []
    old = (3, 5)[read]
    expected = {"z": np.full((8, 16), 7 if wrote == read else old), "y": np.full((8, 16), (5 << 16) + 7 if wrote == 0 else (7 << 16) + 3)}
    outputs = np.zeros((8, 16), np.uint16), np.zeros((8, 16), np.uint32)
    everywhere(halves_of_words, outputs, expected, wrote=wrote, read=read, synced=wrote == read)


@tc.kernel(warps=1)
def counted(x: i32[N], y: i32[4, 16], *, N: int = 64):
    """Atomics on a turned and cut tile."""
    tc.grid(1)
    s = tc.shared(i32, [2, 16, 4])
    tc.store(s, tc.zeros(i32, [2, 16, 4]))
    tc.sync()
    bins = tc.load(x, [0], [N])
    tc.atomic_add(s[1].T, [bins % 4, bins // 4], 1)
    tc.sync()
    tc.store(y, [0, 0], tc.load(s[1].T))


def test_atomics_on_views():
    x = RNG.integers(0, 64, 64).astype(np.int32)
    expected = np.zeros((4, 16))
    np.add.at(expected, (x % 4, x // 4), 1)
    everywhere(counted, (x, np.full((4, 16), -1, np.int32)), {"y": expected})


def test_what_is_no_view_of_another_type():
    def made(change):
        @tc.kernel(warps=1)
        def k(y: f32[8], n: i32, *, how: int = change):
            tc.grid(1)
            s = tc.shared(f16, [8, 33])
            t = tc.shared(f16, [8, 32])
            if how == 0:
                tc.bitcast(s, u32)
            elif how == 1:
                tc.bitcast(t.T, u32)
            elif how == 2:
                tc.bitcast(t[:, ::2], u32)
            elif how == 3:
                tc.bitcast(t, tc.bool_)
            elif how == 4:
                tc.store(y, [0], tc.load(tc.bitcast(t[0, n : n + 16], f32)))

        return k

    for how, words in enumerate([
        "a row of shared f16[8, 33] has 528 bits, which are no whole number of u32", "do not lie together", "do not lie together", "is not seen as bool",
    ]):  # fmt: skip
        with pytest.raises(tc.TileError) as caught:
            made(how).function()
        assert words in str(caught.value)
        assert "help:" in str(caught.value)
    made(4).function()
    with pytest.raises(tc.TileError, match="not known to begin at a multiple of its 32 bits") as caught:
        made(4).compile("sm_80")
    assert caught.value.loc is not None
    assert "as in s[2 * i : 2 * i + 16]" in str(caught.value)


@tc.kernel(warps=1)
def odd_bytes(y: u32[8, 4], n: i32):
    tc.grid(1)
    s = tc.shared(uint8, [8, 32])
    tc.store(s, tc.zeros(uint8, [8, 32]))
    tc.sync()
    tc.store(y, [0, 0], tc.load(tc.bitcast(s[:, n : n + 16], u32)))


def test_words_that_begin_within_words():
    y = np.ones((8, 4), np.uint32)
    with pytest.raises(tc.TileError, match="begin at a multiple of its 32 bits") as run:
        odd_bytes.interpret(y, 1)
    with pytest.raises(tc.TileError, match="begin at a multiple of its 32 bits") as compiled:
        odd_bytes.compile("sm_80")
    assert run.value.code == compiled.value.code
    assert run.value.loc == compiled.value.loc
    assert "as in s[:, 4 * i : 4 * i + 16]" in str(compiled.value)
    odd_bytes.interpret(y, 4)
    assert not y.any()


def test_a_reshape_of_a_tile_with_gaps():
    @tc.kernel(warps=1)
    def k(y: f32[N]):
        tc.grid(1)
        tc.shared(f32, [64, 64], strides=[65, 1]).reshape([32, 128])

    with pytest.raises(tc.TileError, match="its elements do not lie in equal steps") as caught:
        k.function()
    assert "help: load it and reshape what was loaded" in str(caught.value)


@tc.kernel(warps=2)
def beside(x: W[16, 7], y: W[16], k: i32, *, W: tc.DType = int3, wrote: int = 4, read: int = 5, synced: bool = False):
    """A column is written while another is read: of elements that fill no bytes, words are updated, in which others lie."""
    tc.grid(1)
    s = tc.shared(W, [16, 7])
    tc.store(s, tc.load(x, [0, 0], [16, 7]))
    tc.sync()
    tc.store(s[:, wrote], tc.load(x, [0, 0], [16, 7])[:, 0])
    if synced:
        tc.sync()
    tc.store(y, [0], tc.load(s[:, read]))


@pytest.mark.parametrize(("dtype", "meet"), [(int3, True), (uint1, True), (int4, True), (uint8, False), (f16, False)], ids=str)
def test_barriers_are_wanted_where_words_are_updated(monkeypatch, dtype, meet):
    assert [h.certain for h in hazards(beside.function(W=dtype))] == [True] * meet
    assert hazards(beside.function(W=dtype, synced=True)) == []
    monkeypatch.setattr(compiler, "PIPELINE", tuple(stage for stage in compiler.PIPELINE if stage[1] is not check_hazards))
    report = beside.simulate(tensor(values(dtype, 16, 7), dtype), zeros(dtype, 16), 0, W=dtype)
    assert bool(report.findings) == meet


def test_places_that_there_are_not_say_nothing():
    """Slots beside one another are never the same, however large the scalar that says which; the same one is, wherever it is."""

    @tc.kernel(warps=2)
    def slots(x: f32[32], y: f32[32], k: i32, n: i32, *, apart: int = 1):
        tc.grid(1)
        tc.assume(n % 64 == 0)
        s = tc.shared(f32, [8, 32])
        tc.store(s, tc.zeros(f32, [8, 32]))
        tc.sync()
        for i in range(0, n, 64):
            tc.store(s[k], tc.load(x, [i], [32]))
            tc.store(y, [i], tc.load(s[k + apart]))
            tc.sync()

    assert hazards(slots.function()) == []
    (found,) = hazards(slots.function(apart=0))
    assert found.certain


def test_what_only_a_wrong_start_would_do_is_no_error():
    """Column k + 11 meets columns 16 to 31 from k = 5 on, but row k + 1 is there up to k = 2 only."""

    @tc.kernel(warps=2)
    def column(x: f32[4, 32], y: f32[4, 16], z: f32[32], k: i32):
        tc.grid(1)
        s = tc.shared(f32, [4, 32])
        tc.store(s, tc.load(x, [0, 0], [4, 32]))
        tc.sync()
        tc.store(z, [0], tc.load(s[k + 1]))
        tc.store(y, [0, 0], tc.load(s[:, 16:]))
        tc.store(s[:1, k + 11], tc.load(x, [0, 0], [1]))

    assert not any(h.certain for h in hazards(column.function()))


@tc.kernel(warps=2)
def turned_words(x: u64[4, 24], y: u64[24, 4], z: int6[4, 256]):
    """Elements of 64 bits are read across the rows, which wants a swizzle, and seen as ones of 6, which no swizzle goes along with."""
    tc.grid(1)
    s = tc.shared(u64, [4, 24])
    tc.store(s, tc.load(x, [0, 0], [4, 24]))
    tc.sync()
    tc.store(y, [0, 0], tc.load(s.T))
    tc.store(z, [0, 0], tc.load(tc.bitcast(s, int6)))


def test_types_whose_bits_are_no_powers_of_one_another():
    codes = RNG.integers(0, 2**64, (4, 24), dtype=np.uint64)
    z = int6.decode(codes_as(codes, 64, 6).astype(np.uint8))
    everywhere(turned_words, (codes, np.zeros((24, 4), np.uint64), zeros(int6, 4, 256)), {"y": codes.T, "z": z})
