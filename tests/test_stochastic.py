"""Stochastic rounding: its rule in fractions, everywhere; and that it is unbiased, by a bound."""

import math
from fractions import Fraction

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import DType, bf16, f16, f32, f64, i64, u32, u64
from tilec.ir import dtypes as D

N = tc.dims("N")
S, T = tc.types("S T")
TYPES = (D.int1, D.int4, D.int8, D.uint3, D.uint8, D.float4_e2m1, D.float6_e3m2, D.float8_e4m3, D.float8_e5m2, D.float8_e1m6, D.float7_e6m0, D.float3_e2m0)


@tc.kernel(warps=1)
def rounded(x: S[N], random: u32[N], y: T[N], *, S: DType = f32, T: DType = D.int8, n: int = 256):
    tc.grid(tc.cdiv(N, n))
    i = tc.block_index(0) * n
    tc.store(y, [i], tc.cast(tc.load(x, [i], [n]), T, rounding="stochastic", bits=tc.load(random, [i], [n])))


def by_the_rule(x, bits, t):
    """The value, by the docstring, in fractions."""
    if math.isnan(x):
        return 0 if t.is_int else math.nan if t.has_nan else t.max
    limit = Fraction(abs(t.min) if x < 0 else t.max)
    size = limit if math.isinf(x) else min(abs(Fraction(x)), limit)
    if t.is_int:
        place = Fraction(1)
    else:
        bias, power = (1 << t.exponent_bits - 1) - 1, 1
        power = 1 - bias
        while size >= Fraction(2) ** (power + 1):
            power += 1
        place = Fraction(2) ** (power - t.mantissa_bits)
    whole = size // place
    part = math.floor((size / place - whole) * 2**16)
    return math.copysign(float((whole + (part + (bits >> 16) >= 2**16)) * place), x)


def numbers(t, rng):
    """Numbers of all sizes, those of the type, halves between them, and specials, as f32."""
    own = t.decode(np.arange(1 << t.bits)).astype(float)
    own = own[np.isfinite(own)]
    spread = rng.standard_normal(60) * 2.0 ** rng.integers(-20, 12, 60)
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-40, float(t.max) * 1.01]
    near = rng.choice(own, 60) * (1 + rng.standard_normal(60) * 0.1)
    return np.concatenate([own[:100], spread, special, near]).astype(np.float32)


@pytest.mark.parametrize("t", TYPES, ids=str)
def test_rule(t):
    rng = np.random.default_rng(t.bits)
    x = numbers(t, rng)
    bits = rng.integers(0, 1 << 32, x.size, np.uint32, endpoint=False)
    bits[::7], bits[1::7] = 0, 0xFFFFFFFF
    want = np.array([by_the_rule(float(a), int(b), t) for a, b in zip(x, bits, strict=True)])
    result = tc.Tensor.from_values(np.zeros(x.size), t)
    everywhere(rounded, (x, bits, result), {"y": want}, T=t)
    again = tc.Tensor.from_values(np.ones(x.size), t)
    rounded.interpret(x, bits, result, T=t)
    rounded.simulate(x, bits, again, T=t)
    assert np.array_equal(result.buffer, again.buffer)  # bit for bit, the signs of zeros too


@pytest.mark.parametrize("s", [f16, bf16], ids=str)
def test_other_sources(s):
    rng = np.random.default_rng(3)
    x = tc.Tensor.from_values(np.concatenate([rng.standard_normal(250) * 9, [np.inf, -np.inf, np.nan, 0.0, 6e-8]]), s)
    bits = rng.integers(0, 1 << 32, 255, np.uint32, endpoint=False)
    want = np.array([by_the_rule(float(a), int(b), D.float6_e3m2) for a, b in zip(x.values(), bits, strict=True)])
    everywhere(rounded, (x, bits, tc.Tensor.from_values(np.zeros(255), D.float6_e3m2)), {"y": want}, S=s, T=D.float6_e3m2)


@pytest.mark.parametrize("t", TYPES, ids=str)
def test_what_is_exact_stays(t):
    values = t.decode(np.arange(1 << t.bits)).astype(np.float32)
    values = np.resize(values[np.isfinite(values)], 256)
    y = tc.Tensor.from_values(np.full(256, 1.0), t)
    rounded.interpret(values, np.full(256, 0xFFFFFFFF, np.uint32), y, T=t)
    np.testing.assert_array_equal(y.values(), values)
    assert np.array_equal(np.signbit(y.values().astype(float)), np.signbit(values)) or t.is_int


@tc.kernel
def drawn(seed: u64, x: f32[N], y: T[N], *, T: DType = D.int4, n: int = 1024):
    tc.grid(tc.cdiv(N, n))
    i = tc.block_index(0) * n
    at = tc.cast(i + tc.arange(n), i64)
    tc.store(y, [i], tc.cast(tc.load(x, [i], [n]), T, rounding="stochastic", bits=tc.random_bits(seed, at)))


@pytest.mark.parametrize("t", [D.int4, D.float4_e2m1, D.float8_e4m3], ids=str)
def test_unbiased(t):
    """The mean of n results of one x: rounding takes one of two neighbours a place d apart, so its variance is at most d**2 / 4, and the probability is
    cut to 16 bits, so its mean is at most d / 2**16 off. Five standard deviations are exceeded once in 1.7 million such tests."""
    n = 1 << 16
    for x in (0.3, 1.7, -2.6, 3.01):
        y = tc.Tensor.from_values(np.zeros(n), t)
        drawn.interpret(12345, np.full(n, x, np.float32), y, T=t)
        found = np.unique(y.values().astype(float))
        assert len(found) == 2
        assert found[0] < x < found[1]
        place = found[1] - found[0]
        assert abs(y.values().astype(float).mean() - np.float64(np.float32(x))) <= 5 * place / 2 / math.sqrt(n) + place / 2**16
        assert abs(float(t.decode(t.encode(x))) - x) > 5 * place / 2 / math.sqrt(n) + place / 2**16  # to nearest would not pass


@tc.kernel
def no_bits(x: f32[N], y: D.int8[N]):
    tc.grid(1)
    tc.store(y, [0], tc.cast(tc.load(x, [0], [32]), D.int8, rounding="stochastic"))


@tc.kernel
def bits_for_nothing(x: f32[N], y: D.int8[N]):
    tc.grid(1)
    tc.store(y, [0], tc.cast(tc.load(x, [0], [32]), D.int8, bits=tc.random_bits(1, tc.arange(32))))


@tc.kernel
def no_such_rounding(x: f32[N], y: D.int8[N]):
    tc.grid(1)
    tc.store(y, [0], tc.cast(tc.load(x, [0], [32]), D.int8, rounding="up"))


@tc.kernel
def too_wide(x: f64[N], y: D.int8[N]):
    tc.grid(1)
    tc.store(y, [0], tc.cast(tc.load(x, [0], [32]), D.int8, rounding="stochastic", bits=tc.random_bits(1, tc.arange(32))))


@tc.kernel
def codebook(x: f32[N], y: D.nf4[N]):
    tc.grid(1)
    tc.store(y, [0], tc.cast(tc.load(x, [0], [32]), D.nf4, rounding="stochastic", bits=tc.random_bits(1, tc.arange(32))))


REFUSED = [
    (no_bits, "stochastic rounding takes random bits"), (bits_for_nothing, "bits are for stochastic rounding alone"),
    (no_such_rounding, "no rounding 'up'"), (too_wide, "f16, bf16 and f32, not f64"), (codebook, "integers and floats of up to 8 bits, not nf4"),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "message"), REFUSED)
def test_refused(kernel, message):
    with pytest.raises(tc.TileError, match=message):
        kernel.stages()
