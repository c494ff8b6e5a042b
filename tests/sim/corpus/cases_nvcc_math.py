"""Cases of nvcc's PTX: arithmetic, conversions, tensor cores."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

from .case import UNIT, Case, Near, bf16_bits, bf16_round, bf16_values, integers, normal, poison, product, register, rounded, to_f32

CASES: dict[str, Case] = {}
case = register(CASES)
each = lambda f: np.vectorize(f, otypes=[np.float64])  # noqa: E731
U32 = 0xFFFFFFFF


# ---------------------------------------------------------------- arith.cu


@case("nvcc_arith", "math_f32", grid=(3,), block=(64,))
def _(rng, n=170):
    x = normal(rng, n) * 2
    v = x.astype("f8")
    p = (np.abs(x) + np.float32(0.125)).astype("f8")
    t = (x * np.float32(0.3)).astype("f8")
    o = np.array(
        [
            np.sin(v),
            np.cos(v),
            np.tan(t),
            np.exp(v),
            np.log(p),
            p**1.5,
            each(math.erf)(v),
            np.tanh(v),
            np.arctan2(v, p),
            np.cbrt(v),
            np.log1p(p),
            np.fmod(v, np.float64(np.float32(0.7))),
        ]
    )
    return [x, poison((12, n), "f4"), n], {
        1: rounded(o, units=10)
    }  # the CUDA guide's tables: at most 4 ulp, 8 to 9 for powf's intermediate


@case("nvcc_arith", "math_fast", grid=(3,), block=(64,))
def _(rng, n=170):
    x = normal(rng, n).clip(-3, 3)
    v = x.astype("f8")
    p = (np.abs(x) + np.float32(0.125)).astype("f8")
    o = np.array([np.sin(v), np.cos(v), np.exp(v), np.log(p), v / p, 1 / np.sqrt(p), p**1.5, np.tanh(v)])
    # absolute errors of sin, cos (2^-21.4, 2^-21.2 within pi) and of lg2 near 1; tanh.approx 2^-11 relative
    extra = np.array([2.0**-21, 2.0**-21, 0, 2.0**-21, 0, 0, 2.0**-20, 0])[:, None]
    units = np.array([0, 0, 12, 6, 4, 4, 40, 2.0**13.1])[:, None]
    return [x, poison((8, n), "f4"), n], {1: Near(o, units * UNIT["f32"] * np.abs(o) + extra)}


@case("nvcc_arith", "math_f64", grid=(3,), block=(64,))
def _(rng, n=170):
    x = rng.standard_normal(n) * 2
    p = np.abs(x) + 0.125
    o = np.array(
        [
            np.sin(x),
            np.cos(x),
            np.exp(x),
            np.log(p),
            p**1.5,
            each(math.erf)(x),
            x / p,
            np.sqrt(p),
            each(math.gamma)(p),
            [float(Fraction(a) * Fraction(b) + Fraction(a)) for a, b in zip(x, p, strict=True)],
            1 / np.sqrt(p),
            np.arctan(x),
        ]
    )
    units = np.array([6, 6, 6, 6, 8, 8, 0, 0, 30, 0, 6, 6])[:, None]  # division, square root and fma are exact
    return [x, poison((12, n), "f8"), n], {1: Near(o, units * UNIT["f64"] * np.abs(o))}


@case("nvcc_arith", "rounding", grid=(3,), block=(64,))
def _(rng, n=170):
    a, b = normal(rng, n), normal(rng, n)
    rows = []
    for x, y in zip(map(Fraction, a.tolist()), map(Fraction, b.tolist()), strict=True):
        root = np.float32(math.sqrt(abs(float(y))))  # double rounding is harmless for square roots and quotients of f32
        rows.append(
            [
                *(to_f32(x + y, m) for m in "nzud"),
                to_f32(x * y, "z"),
                to_f32(x * y + x, "d"),
                to_f32(x / y, "n"),
                to_f32(1 / y, "n"),
                root,
                np.float32(min(max(x, 0), 1)),
                to_f32(x * y - x, "n"),
                np.copysign(np.float32(x), np.float32(y)),
            ]
        )
    return [a, b, poison((12, n), "f4"), n], {2: np.array(rows, "f4").T}


def quotients(rng, n=170):
    a, b = rng.integers(-(2**63), 2**63 - 1, n), rng.integers(-(2**34), 2**34, n)
    a[::5] >>= 40
    b[b == 0] = 9
    return a, b


@case("nvcc_arith", "divide_64", grid=(3,), block=(64,))
def _(rng, n=170):
    a, b = quotients(rng)
    q = np.array([abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) for x, y in zip(a.tolist(), b.tolist(), strict=True)], "i8")
    return [a, b, poison(n, "i8"), poison(n, "i8"), poison(n, "u8"), n], {2: q, 3: a - q * b, 4: a.view("u8") // b.view("u8")}


@case("nvcc_arith", "wide_multiply", grid=(3,), block=(64,))
def _(rng, n=170):
    a, b = quotients(rng)
    hi = [x * y >> 64 for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    unsigned = list(zip(a.view("u8").tolist(), b.view("u8").tolist(), strict=True))
    wide = [x * y + x for x, y in unsigned]
    return [a, b, poison(n, "i8"), poison(n, "u8"), poison(n, "u8"), n], {
        2: np.array(hi, "i8"),
        3: np.array([x * y >> 64 for x, y in unsigned], "u8"),
        4: np.array([(w >> 64 ^ w) % 2**64 for w in wide], "u8"),
    }


def signed(v, bits):
    return v - (1 << bits) if v >> (bits - 1) & 1 else v


def parts(v, bits, is_signed=False):
    return [signed(p, bits) if is_signed else p for p in (v >> k & ((1 << bits) - 1) for k in range(0, 32, bits))]


def joined(values, bits):
    return sum((v & ((1 << bits) - 1)) << (bits * i) for i, v in enumerate(values))


@case("nvcc_arith", "bits", grid=(3,), block=(64,))
def _(rng, n=170):
    x, y = integers(rng, 0, 2**32, n, dtype="u4"), integers(rng, 0, 2**32, n, dtype="u4")
    x[0] = 0

    def one(a, b):
        pool, select = [*parts(a, 8), *parts(b, 8)], 0x5140 ^ (b & 0x7777)
        pos, length = b & 31, b >> 5 & 31
        field = signed(a >> pos & ((1 << length) - 1), length) if length and pos + length <= 32 else (signed(a, 32) >> pos if length else 0)
        mask = ((1 << (b >> 5 & 15)) - 1) << pos & U32
        both = b << 32 | a
        dot = lambda s: sum(p * q for p, q in zip(parts(a, 8, s), parts(b, 8, s), strict=True))  # noqa: E731
        low, high = parts(a, 16, True)
        return [
            bin(a).count("1"),
            32 - a.bit_length(),
            int(f"{a:032b}"[::-1], 2),
            (a & -a).bit_length(),
            joined([pool[select >> 4 * k & 7] for k in range(4)], 8),
            both << (a & 31) >> 32,
            both >> min(b & 63, 32),
            abs(a - b) + 5,
            a * b >> 32,
            a + dot(True),
            a + dot(False),
            field,
            (a << pos & mask) | (b & ~mask),
            7 + low * (b & 255) + high * (b >> 8 & 255),
        ]

    o = np.array([[v & U32 for v in one(int(a), int(b))] for a, b in zip(x, y, strict=True)], "u4").T
    return [x, y, poison((14, n), "u4"), n], {2: o}


@case("nvcc_arith", "video_simd", grid=(3,), block=(64,))
def _(rng, n=170):
    x, y = integers(rng, 0, 2**32, n, dtype="u4"), integers(rng, 0, 2**32, n, dtype="u4")

    def one(a, b):
        pairs = list(zip(parts(a, 8), parts(b, 8), strict=True))
        return [
            joined([p + q for p, q in pairs], 8),
            joined([abs(p - q) for p, q in pairs], 8),
            joined([max(p, q) for p, q in zip(parts(a, 16, True), parts(b, 16, True), strict=True)], 16),
            joined([255 * (p > q) for p, q in pairs], 8),
            joined([p + q + 1 >> 1 for p, q in pairs], 8),
        ]

    return [x, y, poison((5, n), "u4"), n], {2: np.array([one(int(a), int(b)) for a, b in zip(x, y, strict=True)], "u4").T}


@case("nvcc_arith", "half2_arith", grid=(2,), block=(64,))
def _(rng, n=100):
    x, y = normal(rng, n, 2, dtype="f2"), normal(rng, n, 2, dtype="f2")
    a, b = x.astype("f8"), y.astype("f8")  # products of f16 plus f16 are exact in f64, so each line below rounds once
    o = [a + b, a * b, a * b + a, np.clip((a * b + b).astype("f2"), 0, 1), np.maximum(a, b), np.abs(a) + b, a > b, np.maximum(a * b + a, 0)]
    return [x, y, poison((8, n, 2), "f2"), n], {2: np.array([v.astype("f2") for v in o])}


@case("nvcc_arith", "bf162_arith", grid=(2,), block=(64,))
def _(rng, n=100):
    x, y = bf16_bits(rng.standard_normal((n, 2))), bf16_bits(rng.standard_normal((n, 2)))
    a, b = bf16_values(x), bf16_values(y)
    o = [a + b, a * b, a * b + a, np.minimum(a, b), np.abs(a), np.maximum(a * b + a, 0)]
    return [x, y, poison((6, n, 2), "u2"), n], {2: Near(np.array([bf16_round(v) for v in o]), 0.0, ml_dtypes.bfloat16)}


@case("nvcc_arith", "half_math", grid=(2,), block=(64,))
def _(rng, n=100):
    x = normal(rng, n, dtype="f2")
    v = x.astype("f8")
    o = np.array([np.sqrt(np.abs(v)), v / 3, np.exp(v), 1 / (np.abs(x) + np.float16(1)).astype("f8"), np.tanh(v), np.floor(v)])
    units = np.array([2, 2, 4, 2, 3, 0])[:, None]
    return [x, poison((6, n), "f2"), n], {1: rounded(o, "f16", units=units)}


SPECIAL = np.array(
    [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 127.5, 128.4, -128.6, 3e9, -3e9, 5e9, 1e20, -1e20, 65519, 1e5, np.inf, -np.inf, np.nan, -0.0]
)


def to_integer(v, how, low, high, nan=0):
    """float to integer: rounded, saturated."""
    if math.isnan(v):
        return nan
    if math.isinf(v):
        return high if v > 0 else low
    f = {"n": lambda x: round(Fraction(x)), "z": math.trunc, "u": math.ceil, "d": math.floor}[how]
    return min(max(f(v), low), high)


@case("nvcc_arith", "conversions", grid=(2,), block=(64,))
def _(rng, n=100):
    x = np.concatenate([SPECIAL, rng.standard_normal(n - 20) * np.exp2(rng.integers(0, 40, n - 20))]).astype("f4")
    d = np.concatenate([SPECIAL, rng.standard_normal(n - 20) * np.exp2(rng.integers(0, 70, n - 20))])
    i8, i16, i32, i64 = ((-(2 ** (b - 1)), 2 ** (b - 1) - 1) for b in (8, 16, 32, 64))
    least = -(2**63)  # what NaN becomes where a 64-bit type takes part
    with np.errstate(over="ignore"):
        h = x.astype("f2").astype("f8").tolist()
    f = x.astype("f8").tolist()
    rows = [
        *([to_integer(v, m, *i32) for v in f] for m in "nzud"),
        [to_integer(v, "z", 0, U32) for v in f],
        [to_integer(v, "n", *i64, least) for v in f],
        [to_integer(v, "z", *i64, least) for v in d.tolist()],
        [to_integer(v, "n", *i32, -(2**31)) for v in d.tolist()],
        [to_integer(v, "n", *i8) for v in f],
        [to_integer(v, "z", *i16) for v in h],
    ]
    return [x, d, poison((10, n), "i8"), n], {2: np.array(rows, "i8")}


@case("nvcc_arith", "integers_to_float", grid=(2,), block=(64,))
def _(rng, n=100):
    x = rng.integers(-(2**63), 2**63 - 1, n) >> rng.integers(0, 60, n)
    f = [
        [to_f32(Fraction(v), "n"), to_f32(Fraction(v), "z"), to_f32(Fraction(v & U32), "u"), to_f32(Fraction(signed(v & U32, 32)), "d")]
        for v in x.tolist()
    ]
    d = np.array([[float(v) for v in x.tolist()], [float(v % 2**64) for v in x.tolist()]])
    h = np.array([signed(v & 0xFFFF, 16) for v in x.tolist()]).astype("f8").astype("f2")
    return [x, poison((4, n), "f4"), poison((2, n), "f8"), poison(n, "f2"), n], {1: np.array(f, "f4").T, 2: d, 3: h}


@case("nvcc_fp8", grid=(2,), block=(64,))
def _(rng, n=100):
    x = (rng.standard_normal((n, 2)) * np.exp2(rng.integers(-12, 12, (n, 2)))).astype("f4")
    x[0] = [1e6, -1e6]
    e4, e5 = np.clip(x, -448, 448).astype(ml_dtypes.float8_e4m3fn), np.clip(x, -57344, 57344).astype(ml_dtypes.float8_e5m2)
    back = np.stack([e4.astype("f2"), e5.astype("f2")])
    return [x, poison(n, "u2"), poison(n, "u2"), poison((2, n, 2), "f2"), n], {
        1: e4.view("u2").reshape(-1),
        2: e5.view("u2").reshape(-1),
        3: back,
    }


# ---------------------------------------------------------------- tensor.cu


def wmma(name, operand, out, m=32, n=48, k=64, **bound):
    @case("nvcc_tensor", name, grid=(n // 16, m // 16), block=(32,))
    def _(rng):
        (a, va), (b, vb) = operand(rng, m, k), operand(rng, k, n)
        if out == "i4":
            return [a, b, poison((m, n), "i4"), k], {2: (va @ vb).astype("i4")}
        return [a, b, poison((m, n), {"f32": "f4", "f16": "f2"}[out]), k], {2: product(va, vb, out, **bound)}


def half(rng, *shape):
    a = normal(rng, *shape, dtype="f2")
    return a, a.astype("f8")


def bfloat(rng, *shape):
    a = bf16_bits(rng.standard_normal(shape))
    return a, bf16_values(a)


def byte(low, dtype):
    def make(rng, *shape):
        a = integers(rng, low, low + 256, *shape, dtype=dtype)
        return a, a.astype("i8")

    return make


wmma("wmma_f16", half, "f32")
wmma("wmma_f16_acc16", half, "f16", accumulate="f16", steps=4)
wmma("wmma_bf16", bfloat, "f32")
wmma("wmma_s8", byte(-128, "i1"), "i4")
wmma("wmma_u8", byte(0, "u1"), "i4")


@case("nvcc_tensor", "wmma_m32n8_col", grid=(1,), block=(32,))
def _(rng):
    a, b, c = half(rng, 16, 32)[0], half(rng, 8, 16)[0], normal(rng, 32, 8)
    p = product(a.T, b.T, c=c)
    want = np.concatenate([c.reshape(-1), (0.5 * p.value + 1).T.reshape(-1)])
    bound = np.concatenate([np.zeros(256), (p.bound + 2 * UNIT["f32"]).T.reshape(-1)])
    return [a, b, np.concatenate([c.reshape(-1), poison(256, "f4")])], {2: Near(want, bound)}


@case("nvcc_tensor", "wmma_tf32", grid=(1,), block=(32,))
def _(rng):
    a, b = normal(rng, 16, 8), normal(rng, 16, 8)

    def tf32(x):  # nearest, ties away from zero: add half of the last kept place to the magnitude, cut
        return ((x.view("u4") + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view("f4")

    return [a, b, poison((16, 16), "f4")], {2: product(tf32(a), tf32(b).T)}


@case("nvcc_tensor", "wmma_f64", grid=(1,), block=(32,))
def _(rng):
    a, b, c = (rng.standard_normal(s) for s in ((8, 4), (8, 4), (8, 8)))
    return [a, b, c.copy()], {2: product(a, b.T, "f64", accumulate="f64", c=c)}


@case("nvcc_tensor", "ldmatrix_all", grid=(1,), block=(32,))
def _(rng):
    x = integers(rng, 0, 2**16, 16, 16, dtype="u2")
    quarters = [x[:8, :8], x[8:, :8], x[:8, 8:], x[8:, 8:]]

    def words(m):  # lane l receives row l // 4, elements 2 (l % 4) and the next: the 8x8 matrix read as 32 words
        return np.ascontiguousarray(m).view("u4").reshape(32)

    rows = [words(m if plain else m.T) for plain in (True, False) for count in (1, 2, 4) for m in quarters[:count]]
    return [x, poison((14, 32), "u4")], {1: np.stack(rows)}


@case("nvcc_tensor", "movmatrix_transpose", grid=(1,), block=(32,))
def _(rng):
    x = integers(rng, 0, 2**16, 8, 8, dtype="u2")
    return [x, poison((8, 8), "u2")], {1: x.T}


START = np.array([[1, 2] * 4] * 8 + [[3, 4] * 4] * 8)  # the accumulator that each thread starts from, {1, 2, 3, 4}


def nibbles(rng, low, rows):
    v = integers(rng, low, low + 16, rows, 64, dtype="i8")
    return (v[:, ::2] & 15 | (v[:, 1::2] & 15) << 4).astype("u1"), v


def integer_mma(name, make_a, make_b=None):
    @case("nvcc_tensor", name, grid=(1,), block=(32,))
    def _(rng):
        (a, va), (b, vb) = make_a(rng, 16), (make_b or make_a)(rng, 8)
        return [a, b, poison((16, 8), "i4")], {2: (va @ vb.T + START).astype("i4")}


s8, u8 = (lambda rng, rows: byte(-128, "i1")(rng, rows, 32)), (lambda rng, rows: byte(0, "u1")(rng, rows, 32))
integer_mma("mma_s8", s8)
integer_mma("mma_u8_satfinite", u8)
integer_mma("mma_s8u8", s8, u8)
integer_mma("mma_s4", lambda rng, rows: nibbles(rng, -8, rows))
integer_mma("mma_u4", lambda rng, rows: nibbles(rng, 0, rows))

for _name, _combine in ("mma_b1_xor", np.bitwise_xor), ("mma_b1_and", np.bitwise_and):

    @case("nvcc_tensor", _name, grid=(1,), block=(32,))
    def _(rng, combine=_combine):
        a, b = integers(rng, 0, 256, 16, 32, dtype="u1"), integers(rng, 0, 256, 8, 32, dtype="u1")
        return [a, b, poison((16, 8), "i4")], {2: (np.unpackbits(combine(a[:, None], b[None]), axis=-1).sum(-1) + START).astype("i4")}


def float_mma(name, operand, start, k):
    @case("nvcc_tensor", name, grid=(1,), block=(32,))
    def _(rng):
        (a, va), (b, vb) = operand(rng, 16, k), operand(rng, 8, k)
        return [a, b, poison((16, 8), "f4")], {2: product(va, vb.T, c=start)}


def tf32_exact(rng, *shape):
    a, v = half(rng, *shape)
    return a.astype("f4"), v


float_mma("mma_f16", half, START, 16)
float_mma("mma_bf16", bfloat, START, 16)
float_mma("mma_tf32", tf32_exact, START, 8)
float_mma("mma_f16_k8", half, 0, 8)


@case("nvcc_tensor", "mma_f16_acc16", grid=(1,), block=(32,))
def _(rng):
    a, b = normal(rng, 16, 16, dtype="f2"), normal(rng, 8, 16, dtype="f2")
    return [a, b, poison((16, 8), "f2")], {2: product(a, b.T, "f16", accumulate="f16", steps=1)}


for _selector in (0, 1):

    @case("nvcc_tensor", f"mma_sp_f16_{_selector}", grid=(1,), block=(32,))
    def _(rng, selector=_selector):
        kept, b = normal(rng, 16, 16, dtype="f2"), normal(rng, 8, 32, dtype="f2")
        choice = np.array([np.sort(rng.choice(4, 2, replace=False)) for _ in range(16 * 8)]).reshape(16, 16)  # two places of every four
        dense = np.zeros((16, 32))
        np.put_along_axis(dense, 4 * (np.arange(16) // 2) + choice, kept.astype("f8"), 1)
        codes = (choice.reshape(16, 2, 8) << 2 * np.arange(8)).sum(-1)  # per row, per half of K: 16 bits
        meta = integers(rng, 0, 2**32, 8, 4, dtype="u4")  # lanes that are not selected hold anything
        for half_k in (0, 1):  # thread 2 s + h of quad g: row g in the low bits, row g + 8 in the high ones
            meta[:, 2 * selector + half_k] = codes[:8, half_k] | codes[8:, half_k] << 16
        return [kept, b, meta, poison((16, 8), "f4")], {3: product(dense, b.T)}


@case("nvcc_tensor", "mma_ldmatrix_gemm", grid=(1,), block=(128,))
def _(rng, k=80):
    a, b = normal(rng, 64, k, dtype="f2"), normal(rng, k, 64, dtype="f2")
    return [a, b, poison((64, 64), "f4"), k], {2: product(a, b)}
