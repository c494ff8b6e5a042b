"""Packed tensors that kernels write: every type's words, bit for bit as NumPy packs them, in the interpreter and as PTX."""

import functools
import operator

import numpy as np
import pytest
from stub_driver import GPU, Cuda, aligned, stubbed

import tilec as tc
from tests.everywhere import everywhere
from tilec import bf16, cdiv, f16, quant, uint8
from tilec.backend import target
from tilec.ir.bitmaps import move, moved
from tilec.kernels.pack import pack, packing, unpack, unpacking
from tilec.kernels.quantize import quantize, quantizing

K, N = tc.dims("K N")

WEIGHTS = [d for d in tc.all_dtypes() if d.bits <= 8 and not d.is_bool]
EVERY = [pytest.param(d, to, id=f"{d}-{to}") for d in WEIGHTS for to in (f16, bf16)]
EVERY += [pytest.param(d, to, id=f"{d}-{to}") for to in (tc.int8, tc.uint8, tc.dtype("e4m3")) for d in WEIGHTS if tc.packed(d, to).direct]
SAMPLE = [  # each width, integers and floats
    ("int1", f16), ("uint2", bf16), ("int3", f16), ("e1m1", f16), ("int4", f16), ("uint4", bf16), ("e2m1", f16), ("nf4", bf16), ("uint5", f16),
    ("e3m1", bf16), ("int6", bf16), ("e3m2", f16), ("int7", bf16), ("e5m1", f16), ("int8", f16), ("e4m3", bf16), ("e8m0", f16),
    ("int4", tc.int8), ("uint5", tc.uint8), ("e2m2", tc.dtype("e4m3")),
]  # fmt: skip


def weights(kind, shape):
    """Codes of weights, each code in random places."""
    count = int(np.prod(shape))
    codes = np.random.default_rng().permutation(np.arange(count) % (1 << kind.bits)).astype(np.uint8).reshape(shape)
    codes[kind.unfit[codes]] = 0
    return codes


def constants(kind, source):
    return {"S": source, "P": kind, "T": kind.element, "U": tc.dtype(f"uint{kind.bits}")}


def poisoned(kind, shape):
    """Memory for words, full of something else."""
    return tc.tensor(np.full(kind.nbytes(shape), 0xA5, np.uint8), kind, shape)


@pytest.mark.parametrize(("element", "to"), EVERY)
def test_a_packer_s_instructions(element, to):
    """As the definition of the views says, on words of NumPy: the program itself takes them apart again."""
    program = tc.packed(element, to).program
    codes = np.random.default_rng().integers(0, 1 << element.bits, (50, program.weights), dtype=np.uint32)
    words = np.zeros((50, program.words), np.uint32)
    for (pair, rotation), masks in program.terms.items():
        each = 32 // program.lane
        joined = functools.reduce(operator.or_, (codes[:, each * pair + i] << np.uint32(program.lane * i) for i in range(each)))
        view = moved(joined, *move(rotation, functools.reduce(operator.or_, masks.values()), 32))
        for word, mask in masks.items():
            words[:, word] ^= view & np.uint32(mask)
    np.testing.assert_array_equal(program.unpack(words), codes)


@pytest.mark.parametrize(("element", "to"), EVERY)
def test_every_type_is_packed(element, to):
    """By the interpreter, of codes in bytes and of compact ones, as parsed and with every thread's registers."""
    kind = tc.packed(element, to)
    codes = weights(kind, (1, 130, 70))
    expected = quant.pack(tc.Tensor.from_codes(codes, element), to=to)
    for source, stage in ((uint8, None), (element, "selected")):
        w = poisoned(kind, codes.shape)
        packing.interpret(tc.Tensor.from_codes(codes, source), w, stage=stage, **constants(kind, source))
        np.testing.assert_array_equal(w.bytes, expected.bytes, err_msg=f"{source} after {stage}")


@pytest.mark.parametrize(("name", "to"), SAMPLE, ids=[f"{n}-{to}" for n, to in SAMPLE])
def test_packing_in_ptx(name, to):
    """Whole tiles and those over the edge."""
    simulated(tc.packed(name, to), uint8)


@pytest.mark.parametrize("name", ["int3", "e2m1", "int8"])
def test_compact_codes_transposed_ones_and_back(name):
    kind = tc.packed(name)
    simulated(kind, kind.element)
    simulated(kind, uint8, transposed=True)
    codes = weights(kind, (1, 150, 72))
    again = tc.tensor(np.full(-(-kind.element.nbytes(codes.shape) // 4) * 4, 0xA5, np.uint8), kind.element, codes.shape)
    report = unpacking.simulate(tc.Tensor.from_codes(codes, kind), again, S=kind.element, P=kind)
    np.testing.assert_array_equal(again.codes(), codes)
    assert not report.findings, str(report)


def test_tiles_that_are_taller_than_wide():
    """Warps share them out along K."""
    simulated(tc.packed("uint3"), uint8, bk=256, bn=32)


def simulated(kind, source, **more):
    codes, w = weights(kind, (1, 150, 72)), poisoned(kind, (1, 150, 72))
    given = codes.swapaxes(1, 2).copy() if more.get("transposed") else codes
    report = packing.simulate(given if source is uint8 else tc.Tensor.from_codes(given, source), w, **constants(kind, source), **more)
    np.testing.assert_array_equal(w.bytes, quant.pack(tc.Tensor.from_codes(codes, kind.element), to=kind.to).bytes)
    assert not report.findings, str(report)


def test_whole_tiles_are_moved_by_whole_vectors():
    kind, codes = tc.packed("int4"), np.zeros((1, 256, 256), np.uint8)
    report = packing.simulate(codes, poisoned(kind, codes.shape), arch="sm_90a", **constants(kind, uint8))
    assert (report.findings, report.global_efficiency, report.shared_conflicts) == ([], 1.0, 0)


@pytest.mark.parametrize("arch", sorted(target.TARGETS))
def test_every_architecture_has_it(arch):
    for name in ("int4", "e3m2"):
        kind = tc.packed(name)
        built = packing.compile(arch, **constants(kind, uint8))
        assert built.cubin
        assert built.resources.spill_bytes == 0


def test_pack_and_unpack():
    """Any leading axes, codes in bytes, compact or transposed; out of one's own."""
    kind = tc.packed("int3", bf16)
    codes = weights(kind, (2, 3, 130, 40))
    compact = tc.Tensor.from_codes(codes, "int3")
    expected = quant.pack(compact, to=bf16)
    out = np.full(kind.nbytes(codes.shape), 0xA5, np.uint8)
    for w in (
        pack(codes, "int3", "bf16"), pack(compact, to=bf16), pack(codes.swapaxes(2, 3).copy(), "int3", bf16, transposed=True), pack(codes, kind, out=out),
    ):  # fmt: skip
        assert w.dtype == kind
        assert w.shape == codes.shape
        np.testing.assert_array_equal(w.bytes, expected.bytes)
    np.testing.assert_array_equal(out, expected.bytes)
    again = unpack(expected)
    assert again.dtype == compact.dtype
    assert again.shape == compact.shape
    np.testing.assert_array_equal(again.bytes, compact.bytes)
    assert pack(np.zeros((0, 128, 32), np.uint8), "int4").nbytes == 0


def test_what_is_not_packed():
    codes = np.zeros((128, 32), np.uint8)
    for args, message in (
        ((codes,), "need a type to be packed as"),
        ((codes[0], "int4"), r"codes \[..., K, N\] are wanted"),
        ((7, "int4"), "an array is wanted, not a int"),
        ((codes.astype(np.int32), "int4"), "codes of int4 are uint8, one a byte, or int4, not i32"),
        ((tc.Tensor.from_codes(codes, "int3"), "int4"), "codes of int4 are uint8, one a byte, or int4, not int3"),
        ((codes, "f16"), "types of 1 to 8 bits are"),
    ):
        with pytest.raises(tc.TileError, match=message):
            pack(*args)
    with pytest.raises(tc.TileError, match="is not packed"):
        unpack(tc.Tensor.from_codes(codes, "int4"))


def test_on_a_gpu():
    """Where no library makes memory, it is given."""
    codes, words = aligned((256, 64), np.uint8), aligned(256 * 64 // 2, np.uint8)
    gpu = GPU()
    gpu.parameters["packing"] = 7
    with stubbed(gpu):
        with pytest.raises(tc.TileError, match="memory on a GPU is made by PyTorch"):
            pack(Cuda(codes), "int4")
        w = pack(Cuda(codes), "int4", out=Cuda(words))
    assert (w.dtype, w.shape, w.address) == (tc.packed("int4"), (256, 64), words.ctypes.data)
    (launch,) = gpu.launches
    assert launch.grid == (2, 1, 1)


QUANTIZED = [  # type, rows of a group, zero, the weights' type, the scales'
    ("int4", 128, 0, "f16", "f16"), ("e2m1", 32, 0, "f32", "bf16"), ("e3m2", 256, 0, "bf16", "f16"), ("uint4", 64, 8.0, "f16", "f32"),
    ("int8", None, 0, "f16", "f16"), ("nf4", 16, 0, "f32", "f16"), ("int1", 128, -0.5, "f16", "f16"), ("e4m3", 128, 0, "f32", "f16"),
    ("int3", 1, 0, "f16", "f16"),
]  # fmt: skip


def to_quantize(kind):
    """Weights of all magnitudes; one group is zeros."""
    rng = np.random.default_rng()
    values = tc.dtype(kind).round(rng.standard_normal((256, 72)) * 2.0 ** rng.integers(-14, 5, (256, 72)))
    values[:, 3] = 0
    return values


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("name", "group", "zero", "kind", "wide"), QUANTIZED, ids=[f"{c[0]}-{c[1]}" for c in QUANTIZED])
def test_quantizing_is_numpys(name, group, zero, kind, wide, transposed):
    values = to_quantize(kind)
    codes, scales = quant.quantize(values, name, group, scale_dtype=wide, zero=zero)
    w = tc.Tensor.from_values(values.T.copy() if transposed else values, kind)
    found, found_scales = quantize(w, name, group, scale_dtype=wide, zero=zero, transposed=transposed)
    np.testing.assert_array_equal(found_scales.codes(), scales.codes())
    np.testing.assert_array_equal(found.codes(), codes.codes())


@pytest.mark.parametrize(("name", "group"), [("int4", 256), ("e2m1", 32)])
def test_quantizing_in_ptx(name, group):
    values, kind = to_quantize("f16"), tc.packed(name)
    codes, scales = quant.quantize(values, name, group)
    found, wide = poisoned(kind, values.shape), np.full(scales.shape, np.nan, np.float16)
    more = {"P": kind, "T": kind.element, "group": group, "reach": float(kind.element.max), "least": 2.0**-24}
    report = quantizing.simulate(values.astype(np.float16), found, wide, **more)
    assert quantizing.compile("sm_90a", **more).resources.spill_bytes == 0
    np.testing.assert_array_equal(wide, scales.values())
    np.testing.assert_array_equal(found.codes(), codes.codes())
    assert not report.findings, str(report)


@pytest.mark.parametrize(("value", "expected"), [(np.nan, np.nan), (-np.inf, np.inf), (1e9, np.inf)])
def test_scales_tell_of_weights_that_nobody_looks_at(value, expected):
    """As on a GPU: what is not finite, and what f16 has no scale for, leaves no scale that is a number. Whole columns, and groups within a tile."""
    w, kind = np.ones((128, 32), np.float32), tc.packed("int4")
    w[70, 5] = value
    for group in (64, 128):
        scales = np.zeros((128 // group, 32), np.float16)
        more = {"X": tc.f32, "P": kind, "T": kind.element, "group": group, "reach": 7.0, "least": 2.0**-24}
        report = quantizing.simulate(w, poisoned(kind, w.shape), scales, **more)
        right = np.full_like(scales, np.float16(1 / 7))
        right[70 // group, 5] = expected
        np.testing.assert_array_equal(scales, right)
        assert not report.findings, str(report)


def test_weights_that_are_not_finite():
    """On the host, as `tilec.quant.quantize` refuses them."""
    for value, words in ((np.nan, "weights to quantize must be finite"), (np.inf, "weights to quantize must be finite"), (1e9, "a scale is infinite")):
        for name, group in (("int4", 64), ("e4m3", 128), ("nf4", 128)):
            w = np.ones((128, 32), np.float32)
            w[70, 5] = value
            with pytest.raises(tc.TileError, match=words):
                quantize(w, name, group)


def test_what_is_not_quantized():
    w = np.zeros((256, 32), np.float16)
    for args, more, message in (
        ((w[0], "int4"), {}, r"weights are a matrix, not of shape \[32\]"), ((w.astype(np.float64), "int4"), {}, "f16, bf16 or f32, not f64"),
        ((w, "int4", 96), {}, "groups of 96 rows of 256"), ((w[:192], "int4"), {}, "groups of 192 rows of 192"),
        ((w, "e5m1"), {}, "largest float7_e5m1, which f16 does not hold"), ((w, "int4", 128), {"scale_dtype": "e8m0"}, "scales are f16, bf16 or f32"),
    ):  # fmt: skip
        with pytest.raises(tc.TileError, match=message):
            quantize(*args, **more)


@tc.kernel(warps=2)
def requantized(w: tc.packed("int4")[K, N], y: tc.packed("e3m2", "bf16")[K, N]):
    """Weights of one type to packed weights of another, all in registers."""
    tc.grid(cdiv(K, 128), cdiv(N, 64))
    i, j = tc.block_index(0) * 128, tc.block_index(1) * 64
    tc.store(y, [i, j], tc.cast(tc.cast(tc.load(w, [i, j], [128, 64]), f16) * 0.75, tc.dtype("e3m2")))


def test_from_packed_to_packed():
    """After every stage, and no exchange between threads, as both lie the same way."""
    values = np.random.default_rng().integers(-8, 8, (200, 100))
    y = quant.pack(np.full((200, 100), 5.0), "e3m2", bf16)
    everywhere(requantized, (quant.pack(values, "int4"), y), {"y": tc.dtype("e3m2").round(values * 0.75)})
    assert requantized.compile("sm_80").resources.shared_bytes == 0


def test_bits_of_storage_types():
    @tc.kernel(warps=1)
    def reread(x: tc.int6[N], y: tc.dtype("e3m2")[N]):
        tc.grid(1)
        tc.store(y, [0], tc.bitcast(tc.load(x, [0], [64]), tc.dtype("e3m2")))

    codes = np.arange(64, dtype=np.uint8)
    y = tc.Tensor.from_codes(np.zeros(64, np.uint8), "e3m2")
    everywhere(reread, (tc.Tensor.from_codes(codes, "int6"), y), {"y": tc.dtype("e3m2").decode(codes)})
