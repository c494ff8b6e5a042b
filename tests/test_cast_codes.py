"""Every code of every type of up to 8 bits to every wider float, bit for bit: in the interpreter and as PTX in the simulator."""

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
    got = cast_kernels.run(pairs, arch, given, apart)
    for pair in pairs:
        check(got[pair], expected[pair][given[pair[0]][:, : 8 if apart else None]], pair)


def test_interpreted(expected):
    for (s, t), want in expected.items():
        with np.errstate(all="ignore"):
            values = Cast(Value(TileType(s, ())), t).eval(None, s.decode(np.arange(1 << s.bits)))
            check(t.encode(t.round(values), saturate=False), want, (s, t))
