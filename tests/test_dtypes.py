"""Types against ml_dtypes where it has the format, and against exact rational arithmetic everywhere."""

from bisect import bisect_left
from fractions import Fraction
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir import dtypes as D

SMALL_FLOATS = [d for d in D.all_dtypes() if isinstance(d, D.Float) and d.bits <= 8]
WIDE_FLOATS = [D.f16, D.bf16, D.f32, D.f64]
INTS = [d for d in D.all_dtypes() if d.is_int]
TWINS = {
    "float8_e4m3": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2, "float8_e8m0": ml_dtypes.float8_e8m0fnu,
    "float6_e2m3": ml_dtypes.float6_e2m3fn, "float6_e3m2": ml_dtypes.float6_e3m2fn, "float4_e2m1": ml_dtypes.float4_e2m1fn,
    "int2": ml_dtypes.int2, "uint2": ml_dtypes.uint2, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4,
}  # fmt: skip


def by_name(types):
    return pytest.mark.parametrize("d", types, ids=str)


def all_codes(d):
    return np.arange(1 << d.bits, dtype=d.codes)


def exact_value(code, e, m):
    """The number of a sign-exponent-mantissa code by the definition, as a fraction, specials aside."""
    sign, exponent, mantissa = code >> (e + m), (code >> m) & (2**e - 1), code & (2**m - 1)
    bias = 2 ** (e - 1) - 1
    significand = Fraction(mantissa, 2**m) + (exponent > 0)
    return (-1) ** sign * significand * Fraction(2) ** (max(exponent, 1) - bias)


def nearest(x, magnitudes, powers):
    """Index of the nearest of ascending fractions, a tie to the even index; between powers of two (no mantissa) to the larger."""
    above = bisect_left(magnitudes, x)
    if above in (0, len(magnitudes)):
        return min(above, len(magnitudes) - 1)
    down, up = x - magnitudes[above - 1], magnitudes[above] - x
    tie_up = above > 1 if powers else above % 2 == 0
    return above if up < down or (up == down and tie_up) else above - 1


def test_every_format_is_there():
    names = {d.name for d in D.all_dtypes()}
    assert {f"{s}int{b}" for s in ("", "u") for b in range(1, 9)} <= names
    assert {f"{s}{b}" for s in "iu" for b in (16, 32, 64)} | {"bool", "f16", "bf16", "f32", "f64", "nf4", "float8_e8m0"} <= names
    assert {d.name for d in SMALL_FLOATS} == {f"float{b}_e{e}m{b - 1 - e}" for b in range(3, 9) for e in range(1, b)}


def test_names_round_trip():
    for d in D.all_dtypes():
        assert D.dtype(str(d)) is d
        assert D.dtype(d) is d
    assert D.dtype("e3m2") is D.float6_e3m2
    assert D.dtype("e8m0") is D.float8_e8m0
    assert (D.dtype("i8"), D.dtype("u8")) == (D.int8, D.uint8)
    with pytest.raises(TileError, match=r"no type 'float6_e3m3'.*\n.*float6_e3m2"):
        D.dtype("float6_e3m3")


@by_name([d for d in D.all_dtypes() if d.name in TWINS])
def test_every_code_means_what_ml_dtypes_says(d):
    twin = all_codes(d).view(TWINS[d.name]) if d.bits == 8 or d.is_float else _int_codes_of(d)
    np.testing.assert_array_equal(d.decode(all_codes(d)), twin.astype(np.float64))


def _int_codes_of(d):
    """ml_dtypes keeps a small integer sign-extended in its byte, hence no view."""
    signed = all_codes(d).astype(np.int64) - (1 << d.bits) * (all_codes(d) >= 1 << (d.bits - 1)) if d.is_signed else all_codes(d)
    return signed.astype(TWINS[d.name])


@by_name([d for d in SMALL_FLOATS if d.name in TWINS])
def test_every_f16_encodes_as_in_ml_dtypes(d):
    """An f16 value is exact in f32, so that ml_dtypes rounds once too."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    expected = halves.astype(np.float32).astype(TWINS[d.name]).astype(np.float64)
    got = d.decode(d.encode(halves, saturate=False))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected) & ~np.isnan(expected) | (np.isnan(expected) & np.signbit(got)))


@by_name(SMALL_FLOATS)
def test_decode_is_the_definition(d):
    values = d.decode(all_codes(d))
    expected = [float(exact_value(c, d.exponent_bits, d.mantissa_bits)) for c in range(1 << d.bits)]
    half = 1 << (d.bits - 1)
    for code in range(half):
        if d is D.float8_e4m3 and code == 0x7F:
            expected[code] = expected[code + half] = np.nan
        if d is D.float8_e5m2 and code >= 0x7C:
            expected[code], expected[code + half] = (np.inf, -np.inf) if code == 0x7C else (np.nan, np.nan)
    np.testing.assert_array_equal(values, expected)
    assert np.signbit(values[half])
    finite = values[np.isfinite(values)]
    assert (d.max, d.min) == (finite.max(), finite.min())
    assert d.smallest_subnormal == finite[finite > 0].min()
    assert d.smallest_normal == float(Fraction(2) ** (1 - d.bias))
    assert (d.has_inf, d.has_nan) == (bool(np.isinf(values).any()), bool(np.isnan(values).any()))


@by_name(SMALL_FLOATS)
def test_encode_is_nearest_even_to_the_last_bit_of_float64(d):
    magnitudes = [exact_value(c, d.exponent_bits, d.mantissa_bits) for c in range(d.max_code + 1)]
    points = []
    for low, high in pairwise(magnitudes):
        middle = float((low + high) / 2)
        points += [float(low), middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf), float(low + (high - low) / 3)]
    points += [float(magnitudes[-1]), np.nextafter(0, 1), np.nextafter(d.max, np.inf), 1e300]
    expected = np.array([nearest(Fraction(x), magnitudes, d.mantissa_bits == 0) for x in points])
    points = np.array(points)
    np.testing.assert_array_equal(d.encode(points), expected)
    np.testing.assert_array_equal(d.encode(-points), expected | 1 << (d.bits - 1))
    np.testing.assert_array_equal(d.round(points), [float(magnitudes[i]) for i in expected])


@by_name(SMALL_FLOATS)
def test_specials(d):
    inf_saturated = d.encode([np.inf, -np.inf])
    np.testing.assert_array_equal(d.decode(inf_saturated), [d.max, d.min])
    overflow = d.decode(d.encode([2 * d.max, -np.inf], saturate=False))
    expected = [np.inf, -np.inf] if d.has_inf else [np.nan, np.nan] if d.has_nan else [d.max, d.min]
    np.testing.assert_array_equal(overflow, expected)
    np.testing.assert_array_equal(d.decode(d.encode([np.nan, -np.nan])), [np.nan if d.has_nan else d.max] * 2)
    assert d.encode(-0.0) == 1 << (d.bits - 1)
    assert d.encode(np.zeros((0, 3))).shape == (0, 3)


def test_overflow_thresholds_of_fp8():
    """OCP FP8: a value overflows when it rounds past the largest finite one, as if the exponent had no end."""
    np.testing.assert_array_equal(D.float8_e4m3.encode([464, np.nextafter(464, 500)], saturate=False), [0x7E, 0x7F])
    np.testing.assert_array_equal(D.float8_e5m2.encode([np.nextafter(61440, 0), 61440], saturate=False), [0x7B, 0x7C])


def test_one_exponent_bit_is_a_short_whole_number():
    np.testing.assert_array_equal(D.float3_e1m1.decode(all_codes(D.float3_e1m1)), [0, 1, 2, 3, -0.0, -1, -2, -3])
    np.testing.assert_array_equal(D.float4_e1m2.decode(np.arange(8)), np.arange(8) / 2)
    np.testing.assert_array_equal(D.float3_e2m0.decode(np.arange(4)), [0, 1, 2, 4])


def test_scale_is_as_in_ml_dtypes():
    x = np.float32(2.0) ** np.arange(-126, 127, 0.25, dtype=np.float32)
    x = np.concatenate([x, 1.5 * np.float32(2.0) ** np.arange(-126, 127, dtype=np.float32), [np.nan, -1, np.nextafter(np.float32(1.5), 0)]])
    expected = x.astype(np.float32).astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)
    np.testing.assert_array_equal(D.float8_e8m0.encode(x), expected)
    low, high = [0, 2.0**-140, 2.0**-127], [1.4 * 2.0**127, 2.0**200, np.inf]
    np.testing.assert_array_equal(D.float8_e8m0.encode(low + high), [0, 0, 0, 254, 254, 254])
    np.testing.assert_array_equal(D.float8_e8m0.encode([0, 2.0**-140, 2.0**200, np.inf], saturate=False), [255] * 4)


def float64_near(d, rng, count=2000):
    """float64 values around the ties of a wide format: half way between neighbours, and one float64 step to either side."""
    low = rng.integers(0, (1 << d.bits - 1) - 1, count).astype(d.codes)
    a, b = _native(low, d), _native(low + d.codes(1), d)
    keep = np.isfinite(b)
    middle = (a[keep] + b[keep]) / 2
    return np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf)])


def _native(codes, d):
    twin = {D.f16: np.float16, D.bf16: ml_dtypes.bfloat16, D.f32: np.float32}[d]
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return codes.view(twin).astype(np.float64)


@by_name([D.f16, D.bf16, D.f32])
def test_wide_floats_round_once(d):
    x = float64_near(d, np.random.default_rng(0))
    e = {D.f16: 5, D.bf16: 8, D.f32: 8}[d]
    p, emin = d.bits - e, 2 - 2 ** (e - 1)
    rounded = d.round(x)
    for value, got in zip(x.tolist(), rounded.tolist(), strict=True):
        ulp = Fraction(2) ** (max(int(np.frexp(value)[1]) - 1, emin) - (p - 1))
        assert got == float(round(Fraction(value) / ulp) * ulp), value.hex()  # round() of a fraction goes to even
    np.testing.assert_array_equal(d.decode(d.encode(x)), rounded)
    np.testing.assert_array_equal(d.round(-x), -rounded)


@by_name([D.f16, D.bf16, D.f32])
def test_wide_floats_decode_as_in_numpy(d):
    codes = np.random.default_rng(1).integers(0, 1 << d.bits, 1 << 16).astype(d.codes) if d.bits > 16 else all_codes(d)
    np.testing.assert_array_equal(d.decode(codes), _native(codes, d))
    numbers = ~np.isnan(d.decode(codes))
    np.testing.assert_array_equal(d.encode(d.decode(codes), saturate=False)[numbers], codes[numbers])


@by_name(WIDE_FLOATS)
def test_wide_floats_at_the_ends(d):
    limits = ml_dtypes.finfo({D.f16: np.float16, D.bf16: ml_dtypes.bfloat16, D.f32: np.float32, D.f64: np.float64}[d])
    assert (d.max, d.smallest_normal, d.smallest_subnormal) == tuple(
        float(x) for x in (limits.max, limits.smallest_normal, limits.smallest_subnormal)
    )
    np.testing.assert_array_equal(d.round([np.inf, -np.inf, np.nan]), [np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(d.decode(d.encode([np.inf, -np.inf, np.nan])), [d.max, d.min, np.nan])
    assert np.signbit(d.round(-0.0))
    half_step = Fraction(d.max) + Fraction(d.max) * Fraction(1, 2 ** (d.mantissa_bits + 2) - 2)  # half way to where the next one would be
    if d is not D.f64:
        assert d.round(float(half_step)) == np.inf
        assert d.round(np.nextafter(float(half_step), 0)) == d.max
        assert np.signbit(d.round(-1e-300))


def test_integers_round_once_to_floats():
    rng = np.random.default_rng(2)
    near_ties = [2**40 + 2**16 + 1, 2**62 + 2**38 + 1, -(2**62) - 2**38 - 1, 2**63 - 1, -(2**63), 2**62 + 2**38, 3 * 2**61 + 2**37]
    x = np.array(near_ties + rng.integers(-(2**63), 2**63 - 1, 500).tolist())
    for d, p in [(D.f32, 24), (D.bf16, 8), (D.f64, 53)]:
        for value, got in zip(x.tolist(), d.round(x).tolist(), strict=True):
            ulp = 2 ** max(0, abs(value).bit_length() - p)
            assert got == float(round(Fraction(value, ulp)) * ulp)
    assert D.f32.round(np.uint64(2**64 - 1)) == 2.0**64


@by_name(INTS)
def test_integers(d):
    low, high = (-(2 ** (d.bits - 1)), 2 ** (d.bits - 1) - 1) if not d.name.startswith("u") else (0, 2**d.bits - 1)
    assert (d.min, d.max) == (low, high)
    if d.bits <= 8:
        expected = [c if c <= high else c - 2**d.bits for c in range(2**d.bits)]
        assert d.decode(all_codes(d)).tolist() == expected
        assert d.encode(np.array(expected)).tolist() == list(range(2**d.bits))
    assert d.decode(d.encode([-np.inf, np.inf, np.nan, 1e30, -1e30])).tolist() == [low, high, 0, high, low]
    for wrapping in ([-1, 0, 1, 2**62 + 3, -(2**63)], [2**63 - 1, 5, 300]):
        x = np.array(wrapping)
        expected = [(v - low) % 2**d.bits + low for v in wrapping]
        assert d.round(x.astype(d.carrier)).tolist() == expected
        assert d.decode(d.encode(x, saturate=False)).tolist() == expected
        assert d.decode(d.encode(x)).tolist() == [min(max(v, low), high) for v in wrapping]


def test_integers_round_to_even():
    assert D.int4.decode(D.int4.encode([0.5, 1.5, 2.5, -0.5, -1.5, 7.49, 7.5])).tolist() == [0, 2, 2, 0, -2, 7, 7]
    assert D.u64.decode(D.u64.encode([2.0**64, 2.0**63, -1.0])).tolist() == [2**64 - 1, 2**63, 0]
    with pytest.raises(TileError, match="only integers wrap"):
        D.i32.round(1.5)


def test_bool():
    assert D.bool_.encode([0, -3, 0.5, np.nan, False]).tolist() == [0, 1, 1, 1, 0]
    assert D.bool_.decode([0, 1]).dtype == np.bool_


def test_codebook():
    """NF4: quantiles of the normal distribution, as QLoRA's appendix makes them, give the entries to f32."""
    from statistics import NormalDist

    edge = (1 - 1 / 30 + 1 - 1 / 32) / 2
    positive = [NormalDist().inv_cdf(p) for p in np.linspace(edge, 0.5, 9)[:-1]]
    negative = [-NormalDist().inv_cdf(p) for p in np.linspace(edge, 0.5, 8)[:-1]]
    expected = np.sort(np.array(positive + [0] + negative)) / max(positive)
    np.testing.assert_allclose(D.nf4.decode(np.arange(16)), expected, atol=2e-7)
    x = np.random.default_rng(0).uniform(-1.2, 1.2, 2000)
    np.testing.assert_array_equal(D.nf4.encode(x), np.abs(x[:, None] - np.array(D.nf4.entries)).argmin(1))


def test_codebook_ties_and_order():
    book = D.codebook("test_ties", [3.0, 1.0, -1.0, 1.0 + 2.0**-52])
    assert book.bits == 2
    assert book.encode([3.0, 1.0, -1.0, 9.0, -9.0, np.nan]).tolist() == [0, 1, 2, 0, 2, 0]
    assert book.encode([0.0]).tolist() == [2]  # between code 2 and code 1
    assert book.encode([np.nextafter(0.0, 1)]).tolist() == [1]
    middle = Fraction(4) / 2 + Fraction(1, 2**53)  # between 3 and 1 + 2**-52: no float64
    assert book.encode([np.nextafter(float(middle), 0), 2.0, np.nextafter(2.0, 3)]).tolist() == [3, 3, 0]
    assert D.codebook("test_ties", [3.0, 1.0, -1.0, 1.0 + 2.0**-52]) == book
    with pytest.raises(TileError, match="another meaning"):
        D.codebook("test_ties", [0, 1])
    with pytest.raises(TileError, match="got 3"):
        D.codebook("test_three", [0, 1, 2])


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 61, 1000])
def test_pack_is_bit_by_bit(bits, count):
    d = D.dtype(f"uint{bits}")
    codes = np.random.default_rng(count).integers(0, 1 << bits, count).astype(np.uint8)
    expected = [0] * ((count * bits + 7) // 8)
    for i, code in enumerate(codes.tolist()):
        for b in range(bits):
            position = i * bits + b
            expected[position // 8] |= (code >> b & 1) << position % 8
    packed = D.pack(codes, d)
    assert packed.tolist() == expected
    assert D.unpack(packed, d, count).tolist() == codes.tolist()


def test_pack_of_wide_types_is_their_bytes():
    x = np.array([1.5, -2.0, 3.25])
    for d, twin in [(D.f16, np.float16), (D.f64, np.float64), (D.bf16, ml_dtypes.bfloat16)]:
        assert D.pack(d.encode(x), d).tobytes() == x.astype(twin).tobytes()
    with pytest.raises(TileError, match="need 6 bytes"):
        D.unpack(np.zeros(5, np.uint8), D.bf16, 3)
    with pytest.raises(TileError, match="3 bits"):
        D.pack([8], D.uint3)


def test_from_numpy():
    for name, twin in TWINS.items():
        assert D.from_numpy(twin) is D.dtype(name)
    assert D.from_numpy(np.int8) is D.int8
    assert D.from_numpy(ml_dtypes.bfloat16) is D.bf16
    assert D.from_numpy(np.bool_) is D.bool_
    for other in (ml_dtypes.float8_e4m3, ml_dtypes.float8_e3m4, ml_dtypes.float8_e5m2fnuz, np.complex64):
        with pytest.raises(TileError, match="no counterpart"):
            D.from_numpy(other)


def test_storage_and_carriers():
    assert [d.numpy for d in (D.f16, D.bf16, D.i32, D.u64, D.float6_e3m2, D.int4, D.bool_)] == [
        np.float16, np.uint16, np.int32, np.uint64, np.uint8, np.uint8, np.bool_
    ]  # fmt: skip
    assert [d.carrier for d in (D.f16, D.float4_e2m1, D.i32, D.u32, D.u64, D.nf4, D.bool_)] == [
        np.float64, np.float64, np.int64, np.int64, np.uint64, np.float64, np.bool_
    ]  # fmt: skip
    assert {d.name for d in D.all_dtypes() if d.computes} == {"f16", "bf16", "f32", "f64", "i16", "i32", "i64", "u16", "u32", "u64", "bool"}
    assert len({hash(d) for d in D.all_dtypes()}) == len(set(D.all_dtypes())) == len(D.all_dtypes())
    assert D.f16["M", 4] == (D.f16, ("M", 4))
    with pytest.raises(TileError, match="has 3 bits"):
        D.float3_e1m1.decode([9])
