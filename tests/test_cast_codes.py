"""Every code of every type of up to 8 bits to every wider float, and every code of f16 and bf16 back, bit for bit: in the interpreter and as
PTX in the simulator. What is expected comes from the formats' definitions."""

from fractions import Fraction

import cast_kernels
import numpy as np
import pytest

from tilec.ir import dtypes as D
from tilec.ir.core import Value
from tilec.ir.ops.arith import Cast
from tilec.ir.types import TileType

SMALL = tuple(t for t in D.all_dtypes() if t.bits <= 8 and not t.is_bool)
ODD = D.Codebook("odd", 4, tuple((-1) ** i * (i + 1) ** 3 / 7 for i in range(16)))
EIGHT, FOUR = D.Codebook("eight", 3, tuple(2.0**-i - 0.3 for i in range(8))), D.Codebook("four", 2, (-3.5, 1e-6, 0.1, 7e4))
SOURCES = (*SMALL, ODD, EIGHT, FOUR)
WIDE = (D.f16, D.bf16, D.f32)


def exact(code, t):
    """What a code stands for, from the formats' definitions: a fraction, or a float if it is no number, and whether it is negative."""
    if t.kind == "codebook":
        return Fraction(t.entries[code]), False
    if t.is_int:
        return Fraction(code - (1 << t.bits if t.is_signed and code >> t.bits - 1 else 0)), False
    if t == D.float8_e8m0:
        return (float("nan") if code == 255 else Fraction(2) ** (code - 127)), False
    e, m = t.exponent_bits, t.mantissa_bits
    negative, exponent, mantissa = bool(code >> e + m), code >> m & (1 << e) - 1, code & (1 << m) - 1
    if t.name == "float8_e4m3" and code & 127 == 127:
        return float("nan"), negative
    if t.name == "float8_e5m2" and exponent == 31:
        return float("nan") if mantissa else float("-inf" if negative else "inf"), negative
    bias = (1 << e - 1) - 1
    value = (Fraction(mantissa, 1 << m) + (exponent > 0)) * Fraction(2) ** (max(exponent, 1) - bias)
    return (-value if negative else value), negative


def rounded(value, negative, exponent_bits, mantissa_bits):
    """The bits of a fraction in an IEEE format, to nearest even; overflow is infinity."""
    e, m = exponent_bits, mantissa_bits
    sign, top = negative << e + m, (1 << e) - 1 << m
    if value != value:
        return None
    if isinstance(value, float):
        return (1 if value < 0 else 0) << e + m | top
    magnitude, bias = abs(value), (1 << e - 1) - 1
    sign |= (value < 0) << e + m
    if not magnitude:
        return sign
    power = 1 - bias
    while magnitude >= Fraction(2) ** (power + 1):
        power += 1
    places = round(magnitude / Fraction(2) ** (power - m))  # Python rounds halves to even
    return sign | min(places + (power + bias - 1 << m), top)


@pytest.fixture(scope="module")
def expected():
    """Codes by (source, target); -1 stands for any NaN."""
    shapes = {D.f16: (5, 10), D.bf16: (8, 7), D.f32: (8, 23)}
    found = {}
    for s in SOURCES:
        values = [exact(c, s) for c in range(1 << s.bits)]
        for t in WIDE:
            bits = [rounded(*v, *shapes[t]) for v in values]
            found[s, t] = np.array([-1 if b is None else b for b in bits], np.int64)
    return found


def check(got, want, pair):
    t = pair[1]
    nan = np.isnan(t.decode(got))
    wrong = np.flatnonzero(np.where(want < 0, ~nan, got != want))
    assert not wrong.size, (*map(str, pair), wrong[:4], got.ravel()[wrong[:4]], want.ravel()[wrong[:4]])


@pytest.mark.parametrize(("arch", "apart"), [("sm_80", False), ("sm_80", True), ("sm_89", False), ("sm_90a", False), ("sm_120a", False)])
def test_simulated(arch, apart, expected):
    pairs = [(s, t) for s, t in expected if arch == "sm_80" or t != D.f32]
    given = {s: cast_kernels.codes_of(s.bits) for s in SOURCES}
    got = cast_kernels.run(pairs, arch, given, apart, 8 if apart else 32)
    for pair in pairs:
        check(got[pair], expected[pair][given[pair[0]][:, : 8 if apart else 32]], pair)


def test_interpreted(expected):
    for (s, t), want in expected.items():
        with np.errstate(all="ignore"):
            values = Cast(Value(TileType(s, ())), t).eval(None, s.decode(np.arange(1 << s.bits)))
            check(t.encode(t.round(values), saturate=False), want, (s, t))


# Back


def all_numbers(t):
    """Codes [threads, 8] of a source: all of 16 bits; of f32 those beside the boundaries of narrower types, specials, and random ones."""
    if t.bits == 16:
        return np.random.default_rng(0).permutation(np.arange(1 << 16, dtype=np.uint16)).reshape(-1, 8)
    values = [np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 3e38, -3e38, 1e-45])]
    for s in SMALL:
        if s.kind != "codebook":
            finite = np.unique([float(v) for v, _ in (exact(c, s) for c in range(1 << s.bits)) if v == v and abs(v) < 1e300])
            values += [finite, (finite[1:] + finite[:-1]) / 2]
    with np.errstate(over="ignore"):
        middle = np.unique(np.concatenate(values[1:])).astype(np.float32)
    near = np.concatenate([values[0].astype(np.float32), middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))])
    rest = np.random.default_rng(1).integers(0, 1 << 32, -near.size % 2048, np.uint32, endpoint=False)
    return np.concatenate([near.view(np.uint32), rest]).reshape(-1, 8)


def nearest(x, t):
    """The codes of the numbers nearest to x (float64), saturated: ties to even codes or, between powers of two, away from zero."""
    if t.is_int:
        low, high = (-(1 << t.bits - 1), (1 << t.bits - 1) - 1) if t.is_signed else (0, (1 << t.bits) - 1)
        return np.clip(np.rint(np.nan_to_num(x, nan=0.0, posinf=high, neginf=low)), low, high).astype(np.int64) & (1 << t.bits) - 1
    half = [exact(c, t)[0] for c in range(1 << t.bits - 1)]
    magnitudes = np.array([float(v) for v in half if v == v and v != float("inf")])
    middles, size = (magnitudes[1:] + magnitudes[:-1]) / 2, np.abs(x)
    code = np.searchsorted(middles, size)
    tie = np.append(middles, np.inf)[code] == size
    code = code + (tie & np.isfinite(size) & (code > 0 if t.mantissa_bits == 0 else code % 2 == 1))
    code |= np.signbit(x).astype(np.int64) << t.bits - 1
    return np.where(np.isnan(x), (1 << t.bits - 1) - 1, code)


FORMATS = tuple(t for t in SMALL if t.is_int or (t.is_float and t != D.float8_e8m0))


@pytest.mark.parametrize(("arch", "source"), [(a, s) for a in ("sm_80", "sm_89", "sm_120a") for s in WIDE], ids=str)
def test_back(arch, source):
    targets = [t for t in FORMATS if arch == "sm_80" or t.name in ("float8_e4m3", "float8_e5m2", "float6_e2m3", "float6_e3m2", "float4_e2m1")]
    given = {source: all_numbers(source)}
    given[source] = np.resize(given[source], (-(-len(given[source]) // 256) * 256, 8))
    got = cast_kernels.run([(source, t) for t in targets], arch, given)
    with np.errstate(invalid="ignore"):
        values = source.decode(given[source])
    for t in targets:
        check(got[source, t], nearest(values, t), (source, t))
        with np.errstate(all="ignore"):
            check(t.encode(Cast(Value(TileType(source, ())), t).eval(None, values[:64])), nearest(values[:64], t), (source, t))


# Between small types

BETWEEN = [(s, t) for s in SOURCES for t in (D.int8, D.uint8, D.float8_e4m3, D.float6_e3m2, D.int3) if s != t]


@pytest.mark.parametrize(("arch", "apart"), [("sm_80", False), ("sm_80", True), ("sm_89", False)])
def test_between_small_types(arch, apart):
    """To larger integers from every place in words, the others from eight places, by way of casts that are tested from all of them."""
    pairs = {True: [p for p in BETWEEN if p[0].is_int and p[1].bits == 8 and not apart], False: BETWEEN if arch == "sm_80" else BETWEEN[2::5]}
    for whole in (True, False):
        given = {s: cast_kernels.codes_of(s.bits) for s, _ in pairs[whole]}
        got = cast_kernels.run(pairs[whole], arch, given, apart, 32 if whole else 8) if given else {}
        for s, t in got:
            values = np.array([float(v) * (-1 if negative and not v else 1) for v, negative in (exact(c, s) for c in range(1 << s.bits))])
            check(got[s, t], nearest(values, t)[given[s][:, : got[s, t].shape[1]]], (s, t))


@pytest.mark.parametrize("arch", ["sm_80", "sm_120a"])
@pytest.mark.parametrize("source", WIDE, ids=str)
def test_back_to_powers_of_two(arch, source):
    """e8m0: the nearest power, also of infinity and of what is small; of negative numbers NaN. Middles apart, where rounding turns."""
    given = all_numbers(source)
    given = np.resize(given, (-(-len(given) // 256) * 256, 8))
    with np.errstate(invalid="ignore"):
        values = source.decode(given)
    exponent = np.floor(np.log2(np.clip(np.abs(np.nan_to_num(values, nan=1.0)), 2.0**-127, 2.0**127)))
    exponent = np.minimum(exponent + (np.abs(values) > 1.5 * 2.0**exponent), 127)
    want = np.where(np.isnan(values) | (values < 0), -1, exponent.astype(np.int64) + 127)
    middle = np.abs(values) == 1.5 * 2.0 ** np.floor(exponent)
    got = cast_kernels.run([(source, D.float8_e8m0)], arch, {source: given})[source, D.float8_e8m0]
    check(got[~middle], want[~middle], (source, D.float8_e8m0))
    infinite = got[values == np.inf].ravel()
    assert infinite.size
    assert (infinite == 254).all()
