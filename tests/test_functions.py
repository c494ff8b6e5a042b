"""Elementwise functions as authors write them, in every way there is; their error bounds are in test_lowering_arith."""

import math

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import cdiv, f16, f32, i32, u32

N = tc.dims("N")
RNG = np.random.default_rng()


@tc.kernel
def divided(x: i32[N], d: i32, q: i32[N], r: i32[N], *, b: int = 128):
    tc.grid(cdiv(N, b))
    by = tc.divisor(d)
    for i in range(0, b, 64):
        at = tc.block_index(0) * b + i
        quotient, rest = tc.divmod(tc.load(x, [at], [64]), by)
        tc.store(q, [at], quotient)
        tc.store(r, [at], rest)


@tc.kernel
def divided_unsigned(x: u32[N], d: u32, q: u32[N], r: u32[N]):
    tc.grid(1)
    quotient, rest = tc.divmod(tc.load(x, [0], [256]), tc.divisor(d))
    tc.store(q, [0], quotient)
    tc.store(r, [0], rest)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 641, 65536, 12345, 2**30, 2**30 + 1, 2**31 - 1])
def test_division_by_an_invariant(d):
    x = np.concatenate([RNG.integers(-(2**31), 2**31, 200), [0, -1, -(2**31), 2**31 - 1, d, -d, d - 1, -d - 1]]).astype(np.int32)
    wide, empty = x.astype(np.int64), np.full(x.size, 99, np.int32)
    everywhere(divided, (x, d, empty, empty), {"q": wide // d, "r": wide % d})
    u = x.view(np.uint32)
    report = everywhere(divided_unsigned, (u, 2 * d + 1, u * 0, u * 0), {"q": u // np.uint32(2 * d + 1), "r": u % np.uint32(2 * d + 1)})
    assert not report.findings


def test_an_invariant_divisor_leaves_no_division_in_the_loop():
    ptx = divided.compile("sm_80").ptx
    assert ptx.rindex("div.") < ptx.index("ld.global")


@tc.kernel
def signs(x: f32[N], i: i32[N], y: f32[N], j: i32[N], h: f16[N], *, b: int = 64):
    tc.grid(cdiv(N, b))
    at = tc.block_index(0) * b
    v, n = tc.load(x, [at], [b]), tc.load(i, [at], [b])
    odd = tc.isnan(v) | tc.isinf(v)
    tc.store(y, [at], tc.where(odd, 0.5, tc.round(v) + 8.0 * tc.trunc(v) + 0.25 * tc.copysign(1.0, v) + 64.0 * tc.sign(v)) + f32(tc.isfinite(v)))
    tc.store(j, [at], tc.clip(tc.sign(n) + 3 * tc.popcount(n) + 256 * tc.clz(n) + 65536 * tc.ctz(n), -3, 900000) + (n & 3) ** 3)
    tc.store(h, [at], tc.clip(f16(v) ** 2, high=4.0) + tc.power(tc.sign(f16(n)), 0))


def test_signs_and_bits():
    x = np.concatenate([RNG.standard_normal(150) * 4, [0.0, -0.0, 0.5, 1.5, -2.5, np.nan, np.inf, -np.inf]]).astype(np.float32)
    n = np.concatenate([RNG.integers(-(2**31), 2**31, x.size - 5), [0, 1, -1, 2**31 - 1, -(2**31)]]).astype(np.int32)
    bits = [f"{v & 0xFFFFFFFF:032b}" for v in n.tolist()]
    ones = np.array([b.count("1") for b in bits])
    above, below = (np.array([32 if "1" not in b else b[::step].index("1") for b in bits]) for step in (1, -1))
    with np.errstate(all="ignore"):
        y = np.where(np.isfinite(x), np.round(x) + 8 * np.trunc(x) + 0.25 * np.copysign(1, x) + 64 * np.sign(x) + 1, 0.5)
        half = x.astype(np.float16)
        h = np.minimum(half * half, np.float16(4)) + np.float16(1)
    j = np.clip(np.sign(n) + 3 * ones + 256 * above + 65536 * below, -3, 900000) + (n & 3) ** 3
    everywhere(signs, (x, n, np.full_like(x, 7), np.full_like(n, 7), np.zeros_like(half)), {"y": y, "j": j, "h": h})


@tc.kernel
def activations(x: f32[N], y: f32[N], *, what: str, b: int = 64):
    tc.grid(cdiv(N, b))
    i = tc.block_index(0) * b
    v = tc.load(x, [i], [b])
    if what == "sin":
        v = tc.sin(v)
    elif what == "cos":
        v = tc.cos(v)
    elif what == "sigmoid":
        v = tc.sigmoid(v)
    elif what == "gelu":
        v = 0.5 * v * (1.0 + tc.erf(v * 0.70710678))
    elif what == "approx":
        v = tc.sin(v, approx=True) + tc.cos(v, approx=True) + tc.tanh(v, approx=True) + tc.sigmoid(v, approx=True) + tc.sqrt(abs(v), approx=True)
    else:
        v = tc.expm1(v) + tc.log1p(abs(v))
    tc.store(y, [i], v)


@pytest.mark.parametrize("what", ["sin", "cos", "sigmoid", "gelu", "logs", "approx"])
def test_functions_of_real_numbers(what):
    x = np.concatenate([RNG.uniform(-6, 6, 100), [0.0, 1e5, -3e30] if what in ("sin", "cos") else []]).astype(np.float32)
    wide = x.astype(np.float64)
    sigmoid = 1 / (1 + np.exp(-np.clip(wide, -50, 50)))
    known = {
        "sin": np.sin(wide), "cos": np.cos(wide), "sigmoid": sigmoid,
        "gelu": 0.5 * wide * (1 + np.array([math.erf(v * 0.70710678) for v in wide])), "logs": np.expm1(wide.clip(-9, 9)) + np.log1p(abs(wide)),
        "approx": np.sin(wide) + np.cos(wide) + np.tanh(wide) + sigmoid + np.sqrt(abs(wide)),
    }  # fmt: skip
    want = known[what]
    y = np.full_like(x, np.nan)
    for run in (activations.interpret, activations.simulate):
        y[...] = np.nan
        run(x, y, what=what)
        np.testing.assert_allclose(y, want, rtol=2**-10 if what == "approx" else 2**-19, atol=2**-10 if what == "approx" else 2**-21)
    for arch in ("sm_89", "sm_90a", "sm_120a"):
        assert activations.compile(arch, what=what).resources.spill_bytes == 0
