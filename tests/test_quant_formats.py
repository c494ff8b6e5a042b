"""Layers as other libraries store them, packed here by loops over bits as their formats say, against the weights that they stand for."""

import ml_dtypes
import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir import dtypes as D
from tilec.quant import Quantized


@pytest.fixture
def rng():
    return np.random.default_rng()


def put(words, at, first_bit, value, bits):
    """Write a number's bits into a list of 32-bit words (Python integers) as one long row of bits, the lowest first."""
    for i in range(bits):
        word, bit = divmod(first_bit + i, 32)
        words[at][word] |= (int(value) >> i & 1) << bit


def table(rows, count):
    return [[0] * count for _ in range(rows)]


def signed(words):
    return np.array(words, np.uint32).view(np.int32)


def spelled_out(codes, zeros, scales, groups_of):
    """W [N, K] of codes [N, K], zeros and scales [N, G], and the group of each column."""
    return np.array([[(float(q) - zeros[n, groups_of[k]]) * float(scales[n, groups_of[k]]) for k, q in enumerate(row)] for n, row in enumerate(codes)])


# GPTQ


def gptq(codes, zeros, bits, version):
    """qweight [K bits / 32, N] and qzeros [G, N bits / 32]."""
    (rows, columns), groups = codes.shape, zeros.shape[1]
    weight, points = table(rows, columns * bits // 32), table(groups, rows * bits // 32)
    for n in range(rows):
        for k in range(columns):
            put(weight, n, k * bits, codes[n, k], bits)
        for g in range(groups):
            put(points, g, n * bits, (zeros[n, g] - (version == 1)) % 2**bits, bits)
    return signed(weight).T.copy(), signed(points)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("act_order", [False, True])
def test_gptq(rng, bits, version, act_order):
    rows, columns, groups = 32, 64, 4
    codes, zeros = rng.integers(0, 2**bits, (rows, columns)), rng.integers(0, 2**bits, (rows, groups))
    scales = rng.uniform(0.01, 0.1, (rows, groups)).astype(np.float16)
    groups_of = np.arange(columns) // (columns // groups)
    if act_order:
        groups_of = rng.permutation(groups_of)
    qweight, qzeros = gptq(codes, zeros, bits, version)
    q = Quantized.from_gptq(qweight, qzeros, scales.T.copy(), groups_of.astype(np.int32), bits=bits, version=version)
    np.testing.assert_array_equal(q.dequantize(), spelled_out(codes, zeros, scales, groups_of))
    assert (q.order is not None) == act_order
    assert (q.dtype, q.zeros.dtype, q.group) == (D.dtype(f"uint{bits}"), D.dtype(f"uint{bits}"), 16)
    x = rng.integers(-5, 5, (3, columns)).astype(float)
    np.testing.assert_allclose(q.gather(x) @ q.dequantize(stored=True).T, x @ q.dequantize().T, atol=1e-10)


def test_symmetric_gptq_has_one_zero_point(rng):
    codes, zeros = rng.integers(0, 16, (8, 32)), np.full((8, 2), 8)
    qweight, qzeros = gptq(codes, zeros, 4, 1)
    assert (qzeros == 0x77777777).all()  # 8, less one
    q = Quantized.from_gptq(qweight, qzeros, np.ones((2, 8), np.float16))
    assert q.zeros.values().tolist() == [[8]]
    np.testing.assert_array_equal(q.dequantize(), codes - 8)


def test_words_of_gptq_by_hand():
    """8 inputs of one output: 0x76543210 is 0, 1, ..., 7; of 8 outputs, zero points 1, ..., 8."""
    qweight = np.full((1, 8), 0x76543210, np.int32)
    q = Quantized.from_gptq(qweight, np.array([[0x76543210]], np.int32), np.ones((1, 8), np.float16))
    np.testing.assert_array_equal(q.dequantize(), np.arange(8)[None] - np.arange(1, 9)[:, None])


# AWQ


def awq(codes):
    """[R, N / 8] of codes [N, R]: the nibbles of a word are of outputs 0, 2, 4, 6, 1, 3, 5, 7."""
    rows, columns = codes.shape
    made = table(columns, rows // 8)
    for k in range(columns):
        for word in range(rows // 8):
            for nibble, output in enumerate([0, 2, 4, 6, 1, 3, 5, 7]):
                put(made, k, word * 32 + nibble * 4, codes[word * 8 + output, k], 4)
    return signed(made)


def test_awq(rng):
    codes, zeros = rng.integers(0, 16, (24, 48)), rng.integers(0, 16, (24, 3))
    scales = rng.uniform(0.01, 0.1, (24, 3)).astype(np.float16)
    q = Quantized.from_awq(awq(codes), awq(zeros), scales.T.copy())
    np.testing.assert_array_equal(q.dequantize(), spelled_out(codes, zeros, scales, np.arange(48) // 16))
    assert (q.dtype, q.group, q.order) == (D.uint4, 16, None)
    by_hand = Quantized.from_awq(np.array([[0x75316420]], np.int32), np.array([[0]], np.int32), np.ones((1, 8), np.float16))
    np.testing.assert_array_equal(by_hand.dequantize()[:, 0], np.arange(8))


# compressed-tensors


def compressed(codes, bits):
    """int32 [R, ceil(C / (32 // bits))] of signed codes [R, C], each plus 2**(bits - 1), none across two words."""
    per, made = 32 // bits, table(codes.shape[0], -(-codes.shape[1] // (32 // bits)))
    for r, row in enumerate(codes):
        for c, value in enumerate(row):
            put(made, r, c // per * 32 + c % per * bits, value + 2 ** (bits - 1), bits)
    return signed(made)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("form", ["symmetric", "packed zeros", "zeros", "act-order"])
def test_compressed_tensors(rng, bits, form):
    rows, columns, groups = 10, 36, 3
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    codes, zeros = rng.integers(low, high, (rows, columns)), rng.integers(low, high, (rows, groups))
    scales = rng.uniform(0.01, 0.1, (rows, groups)).astype(ml_dtypes.bfloat16)
    groups_of = np.arange(columns) // 12
    given = {}
    if form == "packed zeros":
        given = {"weight_zero_point": compressed(zeros.T, bits).T.copy()}
    elif form == "zeros":
        given = {"weight_zero_point": zeros.astype(np.int8)}
    else:
        zeros = 0 * zeros
    if form == "act-order":
        groups_of = rng.permutation(groups_of)
        given["weight_g_idx"] = groups_of
    q = Quantized.from_compressed_tensors(compressed(codes, bits), scales, np.array([rows, columns]), bits, **given)
    np.testing.assert_array_equal(q.dequantize(), spelled_out(codes, zeros, scales.astype(float), groups_of))
    assert (q.dtype, q.scales.dtype, q.zeros is None) == (D.dtype(f"int{bits}"), D.bf16, "zero" not in form)


def test_compressed_tensors_per_channel(rng):
    codes = rng.integers(-8, 8, (4, 16))
    q = Quantized.from_compressed_tensors(compressed(codes, 4), np.ones((4, 1), np.float16), (4, 16))
    np.testing.assert_array_equal(q.dequantize(), codes)
    assert q.group == 16


# 4-bit floats

E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0]


def low_first(codes):
    return (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8)


def test_mxfp4(rng):
    codes, exponents = rng.integers(0, 16, (6, 96)), rng.integers(100, 140, (6, 3)).astype(np.uint8)
    expected = np.array([[E2M1[c] * 2.0 ** (int(exponents[n, k // 32]) - 127) for k, c in enumerate(row)] for n, row in enumerate(codes)])
    for blocks in (low_first(codes), low_first(codes).reshape(6, 3, 16)):
        for scales in (exponents, exponents.view(ml_dtypes.float8_e8m0fnu)):
            q = Quantized.from_mxfp4(blocks, scales)
            np.testing.assert_array_equal(q.dequantize(), expected)
    assert (q.dtype, q.scales.dtype, q.group, q.bits_per_weight) == (D.float4_e2m1, D.float8_e8m0, 32, 4.25)


def test_nvfp4(rng):
    codes = rng.integers(0, 16, (6, 64))
    scales = rng.uniform(0.5, 448, (6, 4)).astype(ml_dtypes.float8_e4m3fn)
    values = np.array(E2M1)[codes] * np.repeat(scales.astype(float), 16, axis=1)
    second = np.float32(3.1e-4)
    q = Quantized.from_nvfp4(low_first(codes), scales, weight_scale_2=second)
    np.testing.assert_allclose(q.dequantize(), values * float(second), rtol=1e-15)
    q = Quantized.from_nvfp4(low_first(codes), scales.view(np.uint8), weight_global_scale=np.array([2688.0], np.float32))
    np.testing.assert_allclose(q.dequantize(), values / 2688, rtol=2**-23)
    assert (q.scale2.values().tolist(), q.group) == ([[np.float32(1 / 2688)]], 16)


NF4 = np.array(D.nf4.entries, np.float32)


@pytest.mark.parametrize("shape", [(12, 1), (-1,)])
def test_nf4(rng, shape):
    rows, columns, block = 6, 128, 64
    codes = rng.integers(0, 16, (rows, columns))
    absmax = rng.uniform(0.01, 1, rows * columns // block).astype(np.float32)
    flat = codes.reshape(-1)
    packed = np.array([flat[i] << 4 | flat[i + 1] for i in range(0, flat.size, 2)], np.uint8)
    packed = packed[:, None] if len(shape) == 2 else packed
    expected = np.array([float(NF4[c]) * float(absmax[i // block]) for i, c in enumerate(flat)]).reshape(rows, columns)
    q = Quantized.from_nf4(packed, absmax, (rows, columns), quant_map=NF4)
    np.testing.assert_array_equal(q.dequantize(), expected)
    assert (q.dtype, q.scales.dtype, q.group) == (D.nf4, D.f32, block)


def test_nf4_of_two_levels(rng):
    rows, columns, block = 300, 64, 64
    codes, offset = rng.integers(0, 16, rows * columns), np.float32(0.031)
    inner, outer = rng.integers(0, 256, rows).astype(np.uint8), rng.uniform(0.01, 0.1, 2).astype(np.float32)
    quant_map = np.sort(rng.uniform(-1, 1, 256)).astype(np.float32)
    packed = (codes[0::2] << 4 | codes[1::2]).astype(np.uint8)
    absmax = np.array([quant_map[c] * outer[i // 256] + offset for i, c in enumerate(inner)], np.float32)
    expected = NF4[codes].reshape(rows, columns).astype(float) * absmax[:, None].astype(float)
    q = Quantized.from_nf4(packed, inner, (rows, columns), nested_absmax=outer, nested_quant_map=quant_map, nested_offset=offset)
    np.testing.assert_array_equal(q.dequantize(), expected)
    assert block == q.group


# what does not belong together

WORDS, ONES = np.zeros((4, 16), np.int32), np.ones((2, 16), np.float16)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Quantized.from_gptq(WORDS.astype(np.int64), WORDS, ONES), "qweight must be an array of 32-bit integers"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:2, :2], ONES, bits=5), "2, 3, 4 or 8 bits, not 5"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:2, :2], ONES, version=3), "version is 1"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:2, :3], ONES), "shape of qzeros"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:3, :2], np.ones((3, 16), np.float16)), "shape of scales"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:2, :2], ONES, bits=3), "do not hold whole codes of 3 bits"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:2, :2], ONES, np.zeros(5)), "a group for each of 32 inputs"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:2, :2], ONES, np.r_[np.zeros(15), np.ones(17)]), "each of 2 groups 16 inputs"),
        (lambda: Quantized.from_gptq(WORDS, WORDS[:2, :2], ONES[0]), "scales has two axes"),
        (lambda: Quantized.from_awq(WORDS, WORDS[:2, :8], np.ones((2, 128), np.float16)), "shape of qzeros"),
        (lambda: Quantized.from_awq(WORDS, WORDS[:3], np.ones((3, 128), np.float16)), "shape of scales"),
        (lambda: Quantized.from_awq(WORDS, WORDS[:2], ONES), "shape of qweight"),
        (lambda: Quantized.from_compressed_tensors(WORDS, np.ones((4, 2), np.float16), (4, 100)), "shape of weight_packed"),
        (lambda: Quantized.from_compressed_tensors(WORDS, np.ones((4, 3), np.float16), (4, 128)), "shape of weight_scale"),
        (lambda: Quantized.from_compressed_tensors(WORDS, np.ones((4, 2), np.float16), (4, 128), 4, np.zeros((4, 3), np.int8)), "shape of weight_zero"),
        (lambda: Quantized.from_compressed_tensors(WORDS, np.ones((4, 2), np.float16), (4, 128), 9), "1 to 8 bits"),
        (lambda: Quantized.from_mxfp4(np.zeros((4, 32), np.uint8), np.zeros((4, 3), np.uint8)), "do not belong to 4x64 weights in groups of 32"),
        (lambda: Quantized.from_mxfp4(np.zeros((4, 32), np.int16), np.zeros((4, 2), np.uint8)), "blocks is uint8"),
        (lambda: Quantized.from_mxfp4(np.zeros((4, 32), np.uint8), np.full((4, 2), 255, np.uint8)), "scales must be finite"),
        (lambda: Quantized.from_nvfp4(np.zeros((4, 32), np.uint8), np.zeros((4, 4), np.uint8)), "has weight_scale_2"),
        (lambda: Quantized.from_nvfp4(np.zeros((4, 32), np.uint8), np.zeros((4, 4), np.uint8), 0.0), "one positive number"),
        (lambda: Quantized.from_nf4(np.zeros(64, np.uint8), np.ones(3, np.float32), (2, 64)), "3 blocks do not divide the rows"),
        (lambda: Quantized.from_nf4(np.zeros(63, np.uint8), np.ones(2, np.float32), (2, 64)), "2x64 weights of NF4 are 64 uint8"),
        (lambda: Quantized.from_nf4(np.zeros(64, np.uint8), np.ones(2, np.uint8), (2, 64)), "absmax is f32"),
        (lambda: Quantized.from_nf4(np.zeros(64, np.uint8), np.ones(2, np.float32), (2, 64), quant_map=np.arange(16)), "not NF4"),
        (lambda: Quantized.from_nf4(np.zeros(64, np.uint8), np.ones(2, np.uint8), (2, 64), nested_absmax=[1.0]), "nested_quant_map"),
    ],
)
def test_what_does_not_belong_together(call, words):
    with pytest.raises(TileError, match=words):
        call()
