"""Packed weights: every code of every type through tensor, interpreter and PTX; scales; products; counts of machine code."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import tilec as tc
from tests.everywhere import everywhere
from tilec import DType, bf16, cdiv, f16, f32, int4, quant
from tilec.backend import tools
from tilec.ir import bitmaps
from tilec.ir.bitmaps import Nibbles
from tilec.quant import search

K, N, M, G = tc.dims("K N M G")
W, X = tc.types("W X")

WEIGHTS = [d for d in tc.all_dtypes() if d.bits <= 8 and not d.is_bool]
TARGETS = (f16, bf16)
EVERY = [pytest.param(d, to, id=f"{d}-{to}") for d in WEIGHTS for to in TARGETS]
BYTES = (tc.int8, tc.uint8, tc.dtype("e4m3"), tc.dtype("e5m2"))  # types of products of 8 bits
EIGHT = [pytest.param(d, to, id=f"{d}-{to}") for d in WEIGHTS for to in BYTES]


def benchmark():
    path = Path(__file__).parents[1] / "benchmarks" / "weights.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_weights", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# the words


@pytest.mark.parametrize(("element", "to"), EVERY + EIGHT)
def test_programs_have_inverses(element, to):
    program = tc.packed(element, to).program
    n = 32 * program.words
    assert program.words * 32 == program.weights * element.bits
    assert ((program.matrix.astype(np.uint8) @ program.inverse.astype(np.uint8)) % 2 == np.eye(n, dtype=np.uint8)).all()
    codes = np.random.default_rng().integers(0, 1 << element.bits, (100, program.weights), dtype=np.uint8)
    assert (program.unpack(program.pack(codes)) == codes).all()


@pytest.mark.parametrize(("element", "to"), EVERY + EIGHT)
def test_tensors_come_back(element, to):
    """Padding is to whole tiles of 128 by 32, and that is all that is wasted."""
    shape = 2, 150, 70
    codes = np.random.default_rng().integers(0, 1 << element.bits, shape, dtype=np.uint8)
    codes[tc.packed(element, to).unfit[codes]] = 0
    packed = tc.Tensor.from_codes(codes, tc.packed(element, to))
    assert packed.nbytes == 2 * 256 * 96 * element.bits // 8
    assert (packed.codes() == codes).all()
    again = tc.tensor(packed.bytes.copy(), str(tc.packed(element, to)), shape)
    np.testing.assert_array_equal(again.values(), element.decode(codes))


def test_where_a_weight_lies():
    """By hand: lane 4 g + t of m16n8k16's right operand holds rows 2 t, 2 t + 1, 2 t + 8, 2 t + 9 of column g; int8 puts the first two of
    these into bytes 0 and 2 of the first word, offset by 128."""
    codes = np.full((128, 32), 128, np.uint8)  # -128, which is all zeros
    codes[2, 3], codes[3, 3] = 1, 2  # t = 1, g = 3: lane 13
    words = tc.Tensor.from_codes(codes, tc.packed("int8")).bytes.view("<u4")
    program = tc.packed("int8").program
    assert np.flatnonzero(words).tolist() == [13 * 4]
    assert program.apply(words[[13 * 4]])[0] == (1 ^ 128) << program.pairs[0].shift | (2 ^ 128) << program.pairs[0].shift + 16


def test_where_a_weight_for_8_bits_lies():
    """By hand: lane 4 g + t of m16n8k32's right operand holds rows 4 t to 4 t + 3 and 4 t + 16 to 4 t + 19 of column g; int4 has those of the
    first register in the upper halves of a word's bytes, as they are, and those of the second in the lower ones."""
    codes = np.zeros((128, 32), np.uint8)
    codes[4:8, 3], codes[22, 3] = (1, 2, 3, 15), 5  # t = 1, g = 3: lane 13
    words = tc.Tensor.from_codes(codes, tc.packed("int4", "int8")).bytes.view("<u4")
    assert np.flatnonzero(words).tolist() == [13 * 4]
    assert words[13 * 4] == 0xF0302010 | 5 << 16
    assert tc.packed("int4", "int8").power == 4


def test_a_program_by_hand():
    """e2m1 for f16, from its line: mantissa at bit 9, exponent above it, sign at bit 15; the third pair is w ^ (w <<< 13)."""
    program = bitmaps.program(tc.dtype("e2m1"), f16)
    assert [program.mask(p) for p in program.pairs] == [0x8E008E00] * 4
    w = np.random.default_rng().integers(0, 1 << 32, 50, dtype=np.uint32)
    third = (w ^ (w << np.uint32(13) | w >> np.uint32(19))) & np.uint32(0x8E008E00)
    np.testing.assert_array_equal(program.apply(w[:, None])[:, 2], third)


def test_what_is_no_weight_is_refused():
    for name, to, codes in (("e4m3", f16, [127, 255]), ("e5m2", bf16, [124, 125]), ("e5m1", f16, [63, 127, 62])):
        assert set(codes) <= set(np.flatnonzero(tc.packed(name, to).unfit))
        w = np.zeros((3, 4), np.uint8)
        w[1, 2] = codes[0]
        with pytest.raises(tc.TileError, match=r"the weight at \[1, 2\] is no finite number"):
            tc.Tensor.from_codes(w, tc.packed(name, to))


def test_packing():
    """Values, or codes as they are; and back."""
    rng = np.random.default_rng()
    values = rng.integers(-4, 4, (2, 130, 40))
    w = quant.pack(values, "int3", to="bf16")
    assert w.dtype == tc.packed("int3", bf16)
    assert w.nbytes == 2 * 256 * 64 * 3 // 8
    np.testing.assert_array_equal(w.values(), values)
    np.testing.assert_array_equal(np.asarray(quant.unpack(w)), values)
    codes = tc.Tensor.from_codes(rng.integers(0, 64, (128, 32), dtype=np.uint8), "e3m2")
    np.testing.assert_array_equal(quant.unpack(quant.pack(codes)).bytes, codes.bytes)
    for bad, message in (((values,), "needs a type"), ((codes, "int6"), "the weights are float6_e3m2, not int6")):
        with pytest.raises(tc.TileError, match=message):
            quant.pack(*bad)
    for wrong in (values, values % 8 + 0.5, values % 8 + 1):
        with pytest.raises(tc.TileError, match="codes of int3 are unsigned integers below 8"):
            tc.Tensor.from_codes(wrong, tc.packed("int3"))


def test_an_offset_that_is_no_tile_is_an_error_when_interpreted_too():
    @tc.kernel
    def shifted(w: tc.packed("int4")[K, N], i: tc.i32, y: f16[K, N]):
        tc.grid(1)
        tc.store(y, [0, 0], f16(tc.load(w, [i, 0], [128, 32])))

    w, y = quant.pack(np.zeros((256, 32)), "int4"), np.zeros((256, 32), np.float16)
    shifted.interpret(w, 128, y)
    with pytest.raises(tc.TileError, match="the row of a tile of w is 64, which is no multiple of 128"):
        shifted.interpret(w, 64, y)


def test_a_number_scales_in_the_type_that_weights_are_packed_for():
    @tc.kernel
    def halved(w: tc.packed("int4", "bf16")[K, N], y: bf16[K, N]):
        tc.grid(1)
        tc.store(y, [0, 0], tc.dequantize(tc.load(w, [0, 0], [128, 32]), 0.5))

    y = tc.Tensor.from_values(np.zeros((128, 32)), bf16)
    values = np.random.default_rng().integers(-8, 8, (128, 32))
    halved.interpret(quant.pack(values, "int4", bf16), y)
    np.testing.assert_array_equal(y.values(), values / 2)


def test_types_are_named():
    for element, to in ((d, to) for d in WEIGHTS for to in TARGETS):
        assert tc.dtype(str(tc.packed(element, to))) == tc.packed(element, to)
    assert str(tc.packed(int4)) == "int4_packed"
    assert str(tc.packed(int4, bf16)) == "int4_packed_bf16"
    with pytest.raises(tc.TileError, match="types of 1 to 8 bits"):
        tc.packed(f16)
    with pytest.raises(tc.TileError, match="f16 or bf16"):
        tc.packed(int4, f32)


# conversions


@tc.kernel(warps=2)
def converted(w: W[K, N], y: X[K, N], *, W: DType = tc.packed(int4), X: DType = f16):
    tc.grid(cdiv(K, 128), cdiv(N, 64))
    i, j = tc.block_index(0) * 128, tc.block_index(1) * 64
    tc.store(y, [i, j], tc.cast(tc.load(w, [i, j], [128, 64]), X))


def every_code(element, shape=(128, 128)):
    """Codes in random places, each many times."""
    count = np.prod(shape)
    return np.random.default_rng().permutation(np.arange(count) % (1 << element.bits)).astype(np.uint8).reshape(shape)


@pytest.mark.parametrize(("element", "to"), EVERY)
def test_every_code_in_ptx(element, to):
    """As the type's own `decode` says (which other tests hold against ml_dtypes and fractions), rounded to the target."""
    kind = tc.packed(element, to)
    codes = every_code(element)
    codes[kind.unfit[codes]] = 0
    with np.errstate(over="ignore"):
        expected = to.round(element.decode(codes))
    simulated = set()
    for arch in ("sm_80", "sm_89", "sm_90a"):
        text = converted.compile(arch, W=kind, X=to).ptx.partition(".address_size")[2]
        if text in simulated:  # nothing but the target's name is new
            continue
        simulated.add(text)
        y = tc.Tensor.from_values(np.full(codes.shape, 777.0), to)
        report = converted.simulate(tc.Tensor.from_codes(codes, kind), y, arch=arch, W=kind, X=to)
        np.testing.assert_array_equal(y.values(), expected)
        assert (np.signbit(y.values()) == np.signbit(expected)).all()
        assert not report.findings, str(report)


@tc.kernel(warps=2)
def raised(w: W[K, N], y: X[K, N], *, W: DType = tc.packed(int4, "int8"), X: DType = tc.int8, power: int = 4):
    tc.grid(cdiv(K, 128), cdiv(N, 64))
    i, j = tc.block_index(0) * 128, tc.block_index(1) * 64
    tc.store(y, [i, j], tc.ldexp(tc.load(w, [i, j], [128, 64]), power, X))


@pytest.mark.parametrize(("element", "to"), [p for p in EIGHT if tc.packed(*p.values).direct])
def test_every_code_for_8_bits(element, to):
    """Each weight times the type's power of two, bit for bit: before and after the words are unpacked, and as PTX."""
    kind = tc.packed(element, to)
    codes = every_code(element)
    codes[kind.unfit[codes]] = 0
    values = np.asarray(element.decode(codes), np.float64) * 2.0**kind.power
    expected = to.encode(values)
    np.testing.assert_array_equal(to.decode(expected), values)
    w, constants = tc.Tensor.from_codes(codes, kind), {"W": kind, "X": to, "power": kind.power}
    for stage in (None, "unpacked", "selected"):
        y = tc.Tensor.from_codes(np.full(codes.shape, 0x5A, np.uint8), to)
        raised.interpret(w, y, stage=stage, **constants)
        np.testing.assert_array_equal(y.values(), values)
    y = tc.Tensor.from_codes(np.full(codes.shape, 0x5A, np.uint8), to)
    report = raised.simulate(w, y, arch="sm_89", **constants)
    np.testing.assert_array_equal(y.values(), values)
    assert not report.findings, str(report)


def test_weights_for_8_bits_as_they_are_and_others():
    """Times no power, or another one, or not packed at all: by way of f32. What is no number of the type is an error."""
    codes = every_code(tc.dtype("int3"), (130, 64))
    values = tc.dtype("int3").decode(codes).astype(np.int64)
    int8, e4m3 = BYTES[0], BYTES[2]
    for kind, to, power in (
        (tc.packed("int3", int8), int8, 0), (tc.packed("int3", int8), int8, 3), (tc.int3, int8, 5), (tc.int3, e4m3, -2), (tc.packed("int3", e4m3), e4m3, 0),
    ):  # fmt: skip
        y = tc.Tensor.from_values(np.zeros(codes.shape), to)
        everywhere(raised, (tc.Tensor.from_codes(codes, kind), y), {"y": values * 2.0**power}, arch="sm_89", W=kind, X=to, power=power)
    with pytest.raises(tc.TileError, match=r"a weight times 2\*\*6 is no number of int8"):
        raised.interpret(tc.Tensor.from_codes(codes, tc.int3), tc.Tensor.from_values(np.zeros(codes.shape), int8), W=tc.int3, power=6)
    with pytest.raises(tc.TileError, match="is int8, uint8, float8_e4m3 or float8_e5m2, not f16"):
        raised.compile(X=f16)


@tc.kernel(warps=4)
def dequantized(w: W[K, N], s: X[G, N], y: X[K, N], *, W: DType = tc.packed(int4), X: DType = f16, below: float = 2.0):
    tc.grid(cdiv(K, 128), cdiv(N, 64))
    i, j = tc.block_index(0) * 128, tc.block_index(1) * 64
    tc.store(y, [i, j], tc.dequantize(tc.load(w, [i, j], [128, 64]), tc.load(s, [i // 128, j], [1, 64]), below=below))


@tc.kernel(warps=4)
def with_zeros(w: W[K, N], s: X[G, N], z: X[G, N], y: X[K, N], *, W: DType = tc.packed(int4), X: DType = f16):
    tc.grid(cdiv(K, 128), cdiv(N, 64))
    i, j = tc.block_index(0) * 128, tc.block_index(1) * 64
    scale, zero = tc.load(s, [i // 128, j], [1, 64]), tc.load(z, [i // 128, j], [1, 64])
    tc.store(y, [i, j], tc.dequantize(tc.load(w, [i, j], [128, 64]), scale, zero))


def scales(shape, below, to):
    """Any numbers of the type under a bound, of all magnitudes that have full precision times a weight, and both signs."""
    rng = np.random.default_rng()
    magnitude = below * 2.0 ** rng.uniform(-8, 0, shape) * 0.99
    return tc.Tensor.from_values(magnitude * rng.choice([-1, 1], shape), to)


FEW = ("int1", "uint2", "int3", "int4", "uint4", "int5", "int6", "int7", "int8", "uint8", "e1m1", "e2m1", "e3m2", "e2m4", "e4m3", "e5m2", "nf4", "e6m1")


@pytest.mark.parametrize("below", [2.0, 2.0**-8])
@pytest.mark.parametrize("to", TARGETS, ids=str)
@pytest.mark.parametrize("name", FEW)
def test_a_scaled_weight_is_rounded_once(name, to, below):
    element, kind = tc.dtype(name), tc.packed(name, to)
    codes = every_code(element, (200, 96))
    codes[~np.isfinite(element.decode(codes))] = 0
    s = scales((2, 96), below, to)
    with np.errstate(over="ignore"):
        expected = to.round(to.round(element.decode(codes)) * np.repeat(s.values(), 128, axis=0)[:200])
    y = tc.Tensor.from_values(np.full(codes.shape, 777.0), to)
    report = dequantized.simulate(tc.Tensor.from_codes(codes, kind), s, y, W=kind, X=to, below=below)
    np.testing.assert_array_equal(y.values(), expected)
    assert not report.findings, str(report)


def any_scales(count, below, to):
    """Zeros, the least and the largest subnormal numbers, those at the bound, and any bits between, of both signs."""
    bound = int(to.encode(np.array([below]), saturate=False)[0])
    codes = np.random.default_rng().integers(0, bound, count)
    codes[:6] = 0, 1, (1 << to.mantissa_bits) - 1, 1 << to.mantissa_bits, bound - 1, bound // 2
    codes[6:12] = codes[:6]
    return tc.Tensor.from_codes((codes | (np.arange(count) // 6 % 2) << 15).astype(np.uint16).reshape(1, -1), to)


@pytest.mark.parametrize("to", TARGETS, ids=str)
@pytest.mark.parametrize("name", ["int3", "uint5", "int6", "int7", "uint7", "e2m1", "e2m2", "e3m2", "e1m5", "e2m4", "e3m3", "e4m2", "e5m1"])
def test_every_code_times_extreme_scales(name, to):
    """Rounded once, subnormal or not; integers under scales up to 2**7 in f16, and all in bf16, take no more instructions than below 2."""
    element, kind = tc.dtype(name), tc.packed(name, to)
    below = (2.0 if element.is_float else 128.0) if to == f16 else 2.0**100
    codes = np.stack([every_code(element, (128,)) for _ in range(64)], axis=1)  # all of them in each column
    codes[kind.unfit[codes]] = 0
    s = any_scales(64, below, to)
    expected = to.round(element.decode(codes) * s.values().astype(np.float64))
    y = tc.Tensor.from_values(np.full(codes.shape, 777.0), to)
    report = dequantized.simulate(tc.Tensor.from_codes(codes, kind), s, y, W=kind, X=to, below=below)
    np.testing.assert_array_equal(y.values(), expected)
    assert not report.findings, str(report)


@pytest.mark.parametrize("to", TARGETS, ids=str)
@pytest.mark.parametrize("name", ["uint4", "int4", "uint3", "int8", "e2m1"])
def test_zero_points(name, to):
    element, kind = tc.dtype(name), tc.packed(name, to)
    codes, s = every_code(element, (150, 64)), scales((2, 64), 1.0, to)
    z = np.random.default_rng().integers(element.min, element.max + 1, (2, 64)).astype(float)
    expected = to.round((element.decode(codes) - np.repeat(z, 128, axis=0)[:150]) * np.repeat(s.values(), 128, axis=0)[:150])
    args = tc.Tensor.from_codes(codes, kind), s, tc.Tensor.from_values(z, to), tc.Tensor.from_values(np.zeros(codes.shape), to)
    everywhere(with_zeros, args, {"y": expected}, W=kind, X=to)
    row_major = (tc.Tensor.from_codes(codes, element), *args[1:])
    everywhere(with_zeros, row_major, {"y": expected}, simulated=False, W=element, X=to)


def test_promises_are_checked():
    kind = tc.packed(int4)
    w, s = tc.Tensor.from_codes(np.zeros((128, 64), np.uint8), kind), np.full((1, 64), 2.5, np.float16)
    with pytest.raises(tc.TileError, match=r"2\.5 is not below 2, .* below=4 is"):
        dequantized.interpret(w, s, np.zeros((128, 64), np.float16))
    dequantized.interpret(w, s, np.zeros((128, 64), np.float16), below=4.0)
    half = np.full((1, 64), 0.5, np.float16)
    with pytest.raises(tc.TileError, match="no whole number"):
        with_zeros.interpret(w, half, half, np.zeros((128, 64), np.float16))
    wide, one = tc.packed("e5m2"), np.ones((1, 64), np.float16)
    big = tc.Tensor.from_values(np.full((128, 64), 57344.0), wide)
    with pytest.raises(tc.TileError, match="less its zero point is no number of f16"):
        with_zeros.interpret(big, half, one, np.zeros((128, 64), np.float16), W=wide)


@pytest.mark.parametrize("kind", [tc.packed("nf4"), tc.nf4], ids=str)
def test_codebooks_take_no_zero_point(kind):
    with pytest.raises(tc.TileError, match=r"nf4 is a codebook(.|\n)*help: subtract it from the entries; or write \(tc.cast\(w, f16\) - zero\) \* scale"):
        with_zeros.compile(W=kind)


# products


@tc.kernel(warps=4)
def product(
    x: X[M, K], w: W[K, N], s: X[G, N], y: X[M, N],
    *, W: DType = tc.packed(int4), X: DType = f16, bm: int = 16, bn: int = 64, bk: int = 128, stages: int = 3,
):  # fmt: skip
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(K % 8 == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        weights = tc.dequantize(tc.load(w, [k, j], [bk, bn]), tc.load(s, [k // 128, j], [1, bn]))
        acc = tc.dot(tc.load(x, [i, k], [bm, bk]), weights, acc)
    tc.store(y, [i, j], tc.cast(acc, X))


@tc.kernel(warps=4)
def transposed(
    x: X[M, K], w: W[K, N], s: X[G, N], y: X[N, M],
    *, W: DType = tc.packed(int4), X: DType = f16, bm: int = 8, bn: int = 128, bk: int = 128, stages: int = 3,
):  # fmt: skip
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(K % 8 == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bn, bm])
    for k in tc.range(0, K, bk, stages=stages):
        weights = tc.dequantize(tc.load(w, [k, j], [bk, bn]), tc.load(s, [k // 128, j], [1, bn]))
        acc = tc.dot(weights.T, tc.load(x, [i, k], [bm, bk]).T, acc)
    tc.store(y, [j, i], tc.cast(acc, X))


def test_weights_on_the_left_take_half_the_instructions():
    """Of the rows of a tile the matrix instruction takes 8, and 16 of weights."""
    few, many = (kernel.compile("sm_80", bm=bm, bn=128).ptx.count("mma.sync") for kernel, bm in ((transposed, 8), (product, 16)))
    assert 2 * few == many == 2 * 8 * 4  # for a warp's 32 columns, in the loop that copies and the plain one


def test_stages_leave_room_for_the_plain_loop():
    """Of 99 KB two stages take 80.5; the loop for sizes that copies can't take converts a tile of 128 x 136 f16, 34 more."""
    assert product.compile("sm_89", bm=128, bn=128, stages=2).resources.shared_bytes <= 101376


def test_explain_names_the_weights():
    (line,) = [line for line in product.explain("sm_80").lines.values() if "tc.load(w" in line.text]
    assert any(why.startswith("tc.load(w") for why in line.why)
    assert any("axis 1 of s may end within the tile (tc.assume(N % 64 == 0) would tell)" in why for why in line.why)
    assert not any("tc.assume(_" in why for why in line.why)


CASES = [
    ("int4", f16, (30, 200, 264), {}), ("int3", f16, (16, 128, 128), {"bn": 128}), ("e3m2", bf16, (33, 96, 392), {}),
    ("nf4", f16, (5, 64, 256), {"bm": 32}), ("uint7", bf16, (16, 40, 136), {"stages": 1}), ("e4m3", f16, (70, 64, 256), {"bm": 64, "stages": 2}),
    ("e7m0", bf16, (16, 64, 128), {}), ("int8", f16, (16, 256, 256), {"bn": 256}),
    ("int4", f16, (3, 96, 200), {"bm": 1}), ("e2m1", f16, (7, 64, 136), {"bm": 4}),
]  # fmt: skip
ON_THE_LEFT = [
    ("int4", f16, (5, 200, 264), {}), ("e3m2", bf16, (8, 64, 136), {"bn": 64}), ("nf4", f16, (13, 160, 256), {"bn": 256}),
    ("e7m0", bf16, (3, 64, 128), {}), ("int3", f16, (40, 96, 128), {"bm": 32}), ("int8", f16, (1, 128, 128), {"bm": 16, "stages": 1}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "name", "to", "shape", "constants"), [(product, *c) for c in CASES] + [(transposed, *c) for c in ON_THE_LEFT],
    ids=[str(c[0]) for c in CASES] + [f"{c[0]}-on-the-left" for c in ON_THE_LEFT],
)  # fmt: skip
def test_product(kernel, name, to, shape, constants):
    """At any size, after every stage and as PTX."""
    (m, n, k), element, kind, rng = shape, tc.dtype(name), tc.packed(name, to), np.random.default_rng()
    codes = rng.integers(0, 1 << element.bits, (k, n), dtype=np.uint8)
    codes[np.abs(element.decode(codes)) > 500] = 0
    codes[~np.isfinite(element.decode(codes))] = 0
    s, x = scales((cdiv(k, 128), n), 1.0, to), tc.Tensor.from_values(rng.standard_normal((m, k)), to)
    w = to.round(to.round(element.decode(codes)) * np.repeat(s.values(), 128, axis=0)[:k])
    expected = x.values() @ w if kernel is product else (x.values() @ w).T
    y = tc.Tensor.from_values(np.full(expected.shape, 777.0), to)
    packed = tc.Tensor.from_codes(codes, kind)
    bound = 2.0**-9 if to == f16 else 2.0**-6  # of f32 sums rounded to f16 and bf16

    def check(what):
        assert np.linalg.norm(y.values() - expected) <= bound * np.linalg.norm(expected), what
        y.assign(np.full(expected.shape, 777.0))

    for stage in kernel.stages(W=kind, X=to, **constants):
        kernel.interpret(x, packed, s, y, stage=stage, late_copies=True, W=kind, X=to, **constants)
        check(stage)
    report = kernel.simulate(x, packed, s, y, W=kind, X=to, **constants)
    check("PTX")
    assert not report.findings, str(report)
    assert report.shared_conflicts == 0


def test_whole_tiles_are_wanted(tmp_path):
    def refused(body, message, shape="W[K, N]"):
        path = tmp_path / f"k{len(list(tmp_path.iterdir()))}.py"
        path.write_text(
            f"import tilec as tc\nfrom tilec import DType, f16\nK, N = tc.dims('K N')\nW = tc.types('W')\n@tc.kernel(warps=4)\n"
            f"def k(w: {shape}, n: tc.i32, y: f16[K, N], *, W: DType = tc.packed('int4')):\n    tc.grid(1)\n    {body}\n"
        )
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with pytest.raises(tc.TileError) as error:
            module.k.compile("sm_80")
        assert message in str(error.value)
        assert f"{path}:8" in str(error.value)

    refused("tc.store(y, [0, 0], f16(tc.load(w, [0, 0], [64, 64])))", "by multiples of tiles of 128 x 32, not by [64, 64]")
    refused("tc.store(y, [0, 0], f16(tc.load(w, [n, 0], [128, 64])))", "the row of a tile of w is a multiple of 128, but here it is not known")
    refused("tc.store(y, [0, 0], f16(tc.load(w, [0, n], [128, 64])))", "the column of a tile of w is a multiple of 32, but here it is not known")
    refused("tc.store(w, [64, 0], tc.load(w, [0, 0], [128, 64]))", "the row of a tile of w is a multiple of 128, but here it is 64")
    refused("tc.store(w, [0, 0], tc.load(w, [0, 0], [128, 64])[0:64])", "by multiples of tiles of 128 x 32, not by [64, 64]")
    refused("tc.store(w, [0, 0], tc.load(w, [0, 0], [128, 32]), mask=tc.arange(32) < n)", "is read and written by whole tiles")
    refused("v = tc.tensor_view(w, 0, shape=[128, 64])", "a view of int4_packed has no meaning")


# machine code

BENCHMARK = benchmark()


@pytest.mark.skipif(not tools.find("nvdisasm"), reason="there is no nvdisasm")
@pytest.mark.parametrize("arch", ["sm_80", "sm_89"])
@pytest.mark.parametrize(
    ("name", "to"), [("int4", f16), ("e2m1", f16), ("e3m2", bf16), ("int7", f16), ("uint7", bf16), ("int5", bf16), ("e1m5", f16), ("nf4", f16)]
)
def test_instructions_per_weight(name, to, arch):
    """Under any scale; those of integers with zero points, too, on each weight and on sums."""
    element, kind = tc.dtype(name), tc.packed(name, to)
    counts = [(False, BENCHMARK.count(BENCHMARK.scaled, arch, W=kind, X=to, has_zeros=element.is_int))]
    if not isinstance(kind.program, Nibbles) and (to == f16 or element.is_int):
        counts.append((True, BENCHMARK.count(BENCHMARK.on_sums, arch, W=kind, X=to, unit=BENCHMARK.free_scale(element, to), has_zeros=element.is_int)))
    for sums, c in counts:
        assert c.per_weight <= BENCHMARK.limit(element, to, sums)
        assert c.spills == 0
        assert not c.opcodes & {"I2F", "F2F", "I2FP", "LDL", "STL"}


@pytest.mark.skipif(not tools.find("nvdisasm"), reason="there is no nvdisasm")
@pytest.mark.parametrize(("name", "below", "most"), [("int1", 2.0**-8, 1.5), ("int4", 2.0**-8, 1.6), ("e3m2", 2.0, 2.25)])
def test_few_rows_take_least(name, below, most):
    """All instructions for a weight, matrix products included: half as many of these as for 16 rows, and no more of all others."""
    few, many = (BENCHMARK.count(kernel, "sm_90a", W=tc.packed(name), below=below) for kernel in (BENCHMARK.few_rows, BENCHMARK.scaled))
    assert few.products == many.products / 2 == 1 / 8
    assert few.per_weight + few.products <= most
    assert few.per_weight <= many.per_weight + 0.01
    assert few.spills == 0


@pytest.mark.skipif(not tools.find("nvdisasm"), reason="there is no nvdisasm")
@pytest.mark.parametrize(
    ("name", "to", "bm", "group", "most"),
    [
        ("uint4", f16, 16, 128, 2.1), ("uint3", bf16, 16, 128, 2.15), ("uint7", f16, 16, 128, 2.35), ("uint8", bf16, 16, 128, 2.15), ("uint4", f16, 8, 64, 1.8),
        ("uint4", f16, 16, 64, 2.1), ("uint4", f16, 8, 32, 2.1), ("uint4", f16, 16, 32, 2.3),
    ],
)  # fmt: skip
def test_instructions_per_weight_with_zero_points(name, to, bm, group, most):
    """As the layer ships, groups of half and a quarter of a tile, too."""
    c = BENCHMARK.shipped(tc.dtype(name), to, True, "sm_80", BENCHMARK.Form(bm, 256, 4, 3, 1), group)
    assert c.per_weight <= most
    assert c.spills == 0
    assert not c.opcodes & {"I2F", "F2F", "I2FP", "LDL", "STL"}


@pytest.mark.parametrize(("name", "to"), [("int4", f16), ("e2m1", f16), ("int5", bf16), ("int5", BYTES[0]), ("e2m2", BYTES[2]), ("uint3", BYTES[2])])
def test_programs_are_found_by_search(name, to):
    """Within a second or so, and none that loses bits."""
    element = tc.dtype(name)
    _, program = next(iter(search.search(element, to, seconds=60, seed=1)))
    codes = np.random.default_rng().integers(0, 1 << element.bits, (50, program.weights), dtype=np.uint8)
    assert (program.unpack(program.pack(codes)) == codes).all()
    assert bitmaps.read(search.line(program), element.bits, element.is_float, to, element.mantissa_bits) == program


@pytest.mark.parametrize("name", ["int4", "int3", "e3m2", "nf4"])
def test_every_sector_is_used_and_no_bank_twice(name):
    kind, rng = tc.packed(name), np.random.default_rng()
    w = tc.Tensor.from_codes(rng.integers(0, 1 << kind.bits, (256, 256), dtype=np.uint8), kind)
    x, s = rng.standard_normal((16, 256)).astype(np.float16), rng.uniform(0.01, 0.1, (2, 256)).astype(np.float16)
    y = np.full((16, 256), np.nan, np.float16)
    report = BENCHMARK.scaled.simulate(x, w, s, np.zeros((1, 256), np.float16), y, W=kind)
    exact = x.astype(float) @ (f16.round(w.values()) * np.repeat(s.astype(float), 128, axis=0))
    assert np.linalg.norm(y - exact) < 2**-9 * np.linalg.norm(exact)
    assert (report.findings, report.global_efficiency, report.shared_conflicts) == ([], 1.0, 0)
    assert "ld.shared.b16" not in BENCHMARK.scaled.compile("sm_80", W=kind).ptx  # scales come by ldmatrix, those of four columns at a time
