"""Cases of Triton's PTX."""

import math

import ml_dtypes
import numpy as np

from .case import UNIT, Case, Near, bf16_bits, bf16_values, integers, normal, poison, product, register, rounded

CASES: dict[str, Case] = {}
case = register(CASES)
erf = np.vectorize(math.erf, otypes=[np.float64])


@case("triton_vadd", grid=(4,))
@case("triton_vadd_sm120", grid=(4,))
def _(rng, n=3500):
    a, b = normal(rng, n), normal(rng, n)
    return [a, b, poison(n, "f4"), n], {2: a + b}


def axpby(dtype, exact):
    def make(rng, n=1100):
        a, b = normal(rng, n, dtype=np.float64), normal(rng, n, dtype=np.float64)
        if dtype == "bf16":
            a, b, out = bf16_bits(a), bf16_bits(b), poison(n, "u2")
            x, y = bf16_values(a), bf16_values(b)
        else:
            a, b, out = a.astype(dtype), b.astype(dtype), poison(n, dtype)
            x, y = a.astype(np.float64), b.astype(np.float64)
        # product and difference may be fused or not: one rounding of each (and, in f64, the reference rounds as well)
        bound = UNIT[exact] * (np.abs(x * y) + np.abs(x * y - np.maximum(x, y))) * (2.02 if exact == "f64" else 1.01)
        return [a, b, out, n], {2: Near(x * y - np.maximum(x, y), bound, ml_dtypes.bfloat16 if dtype == "bf16" else None)}

    return make


case("triton_axpby_f16", grid=(3,))(axpby("f2", "f16"))
case("triton_axpby_f64", grid=(5,))(axpby("f8", "f64"))
case("triton_axpby_bf16", grid=(3,))(axpby("bf16", "bf16"))
case("triton_axpby_bf16_sm90", grid=(3,))(axpby("bf16", "bf16"))


@case("triton_gelu_tanh_erf", grid=(4,))
def _(rng, n=1000):
    x = normal(rng, n) * 2
    v = x.astype(np.float64)
    gelu = 0.5 * v * (1 + erf(v * 0.7071067811865476))
    out = [poison(n, "f4") for _ in range(3)]
    # erf near -1 cancels: absolute error of erf times |v|
    return [x, *out, n], {1: rounded(gelu, units=4, extra=4 * UNIT["f32"] * np.abs(v)), 2: rounded(np.tanh(v), units=6),
                          3: rounded((np.abs(v) + 0.5) ** 1.7, units=20)}


@case("triton_trig_log", grid=(4,))
def _(rng, n=1000):
    x = normal(rng, n) * 3
    v = x.astype(np.float64)
    p = np.abs(x) + np.float32(0.25)
    w = p.astype(np.float64)
    r = 1 / np.sqrt(w) + np.floor(x) + np.ceil(x * np.float32(3))
    out = [poison(n, "f4") for _ in range(4)]
    # log is lg2.approx times ln 2: an absolute error of 2^-22 near 1
    return [x, *out, n], {1: rounded(np.sin(v), units=4), 2: rounded(np.cos(v), units=4), 3: rounded(np.log(w), units=6, extra=2.0**-21),
                          4: rounded(r, units=4, extra=4 * UNIT["f32"] * (np.abs(np.floor(x)) + 1 / np.sqrt(w)))}


def int_division(dtype, bits):
    def make(rng, n=900):
        a = integers(rng, -(2 ** (bits - 2)), 2 ** (bits - 2), n, dtype=dtype)
        b = integers(rng, -(2 ** (bits // 2)), 2 ** (bits // 2), n, dtype=dtype)
        b[b == 0] = 7
        a[::7] //= 2 ** (bits // 2)
        q = [int(abs(int(x)) // abs(int(y))) * (1 if (x < 0) == (y < 0) else -1) for x, y in zip(a, b, strict=True)]
        r = [int(x) - int(y) * t for x, y, t in zip(a, b, q, strict=True)]
        h = [(int(x) % 2**64) * (int(y) % 2**64) >> 64 for x, y in zip(a, b, strict=True)]
        return [a, b, poison(n, dtype), poison(n, dtype), poison(n, "i8"), n], {
            2: np.array(q, dtype), 3: np.array(r, dtype), 4: np.array(h, np.uint64).view(np.int64)}

    return make


case("triton_int_division", grid=(4,))(int_division("i8", 64))
case("triton_int_division_i32", grid=(4,))(int_division("i4", 32))


def philox(seed, counter):
    """First word of Philox4x32-10 (Salmon et al., SC11), key = the 64-bit seed, counter = (counter, 0, 0, 0)."""
    c = [counter.astype(np.uint64), *(np.zeros(counter.shape, np.uint64) for _ in range(3))]
    k = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [q >> np.uint64(32) ^ c[1] ^ k[0], q & low, p >> np.uint64(32) ^ c[3] ^ k[1], p & low]
        k = [k[0] + np.uint64(0x9E3779B9) & low, k[1] + np.uint64(0xBB67AE85) & low]
    return c[0].astype(np.uint32)


@case("triton_dropout", grid=(3,))
def _(rng, n=1300, p=0.3, seed=1234):
    x = normal(rng, n)
    u = philox(seed, np.arange(n)).view(np.int32).astype(np.int64)
    u = np.where(u < 0, -u - 1, u) * 4.6566127342e-10
    assert np.abs(u - p).min() > 1e-6  # no element whose fate hangs on a rounding
    return [x, poison(n, "f4"), n, p, seed], {1: rounded(np.where(u > p, x / (1 - np.float64(np.float32(p))), 0), units=4)}


def e5m2_in_software(h):
    """f16 to e5m2 as Triton does it: half a unit is added to the bits, so ties go away from zero."""
    return ((h.view("u2") + np.uint16(0x80)) >> np.uint16(8)).astype("u1").view(ml_dtypes.float8_e5m2)


@case("triton_casts", grid=(3,))
def _(rng, n=1300):
    x = normal(rng, n, dtype=np.float16).astype(np.float32) * 4  # exact in f16, so that f32 -> f16 -> e5m2 rounds once
    v = x.astype(np.float64)
    out = [poison(n, "f4"), poison(n, "f4"), poison(n, "u2"), poison(n, "f2"), poison(n, "i8")]
    return [x, *out, n], {
        1: np.trunc(x * 3).astype(np.int8).astype("f4"), 2: e5m2_in_software(x.astype("f2")).astype("f4"), 3: bf16_bits(v),
        4: x.astype("f2"), 5: np.trunc(x * np.float32(1000)).astype("i8")}


@case("triton_fp8_sm89", grid=(3,))
def _(rng, n=1300):
    x = normal(rng, n) * np.exp2(integers(rng, -8, 8, n)).astype("f4")
    x[:4] = [1000, -1000, 448, 70000]  # e4m3 saturates at 448; e5m2, in software, does not
    with np.errstate(over="ignore"):
        h = x.astype("f2")  # Triton goes through f16, rounding toward zero
    h = np.where(np.abs(h.astype("f4")) > np.abs(x), np.nextafter(h, np.float16(0)), h)
    e4 = np.clip(h, -448, 448).astype(ml_dtypes.float8_e4m3fn).view("u1")
    return [x, poison(n, "u1"), poison(n, "f2"), n], {1: e4, 2: e5m2_in_software(h).astype("f2")}


@case("triton_inline_asm", grid=(2,))
def _(rng, n=500):
    a, b = integers(rng, -(2**31), 2**31, n), integers(rng, -(2**31), 2**31, n)
    c = np.int32(0x55AA55AA)
    return [a, b, poison(n, "i4"), n], {2: (a & b) | (a & c) | (b & c)}  # 0xE8 is the majority


@case("triton_collatz", grid=(20,))
def _(rng, n=20):
    x = integers(rng, 1, 60, n)
    steps = np.zeros(n, "i4")
    for i, v in enumerate(int(t) for t in x):
        while v > 1:
            v, steps[i] = (v // 2 if v % 2 == 0 else 3 * v + 1), steps[i] + 1
    return [x, poison(n, "i4")], {1: steps}


# ---------------------------------------------------------------- rows


def softmax64(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@case("triton_softmax", grid=(6,))
@case("triton_softmax_sm90", grid=(6,))
def _(rng, rows=6, cols=781):
    x = normal(rng, rows, cols)
    # e^x by ex2.approx of a product: the argument (up to 10) has a relative error of two units
    return [x, poison((rows, cols), "f4"), cols], {1: rounded(softmax64(x.astype("f8")), units=60)}


@case("triton_softmax_bf16", grid=(9,))
def _(rng, rows=9, cols=200):
    x = bf16_bits(rng.standard_normal((rows, cols)))
    return [x, poison((rows, cols), "u2"), cols], {1: rounded(softmax64(bf16_values(x)), "bf16", 1.01, as_dtype=ml_dtypes.bfloat16)}


def norm_statistics(x, eps):
    mean = x.mean(-1)
    return mean, 1 / np.sqrt(((x - mean[:, None]) ** 2).mean(-1) + eps)


@case("triton_layernorm", grid=(7,))
def _(rng, rows=7, cols=500, eps=1e-5):
    x, w, b = normal(rng, rows, cols, dtype="f2"), normal(rng, cols, dtype="f2"), normal(rng, cols, dtype="f2")
    mean, r = norm_statistics(x.astype("f8"), eps)
    hat = (x.astype("f8") - mean[:, None]) * r[:, None]
    small = 30 * UNIT["f32"] * (1 + np.abs(hat)) * np.abs(w.astype("f8"))
    return [x, w, b, poison((rows, cols), "f2"), poison(rows, "f4"), poison(rows, "f4"), cols, eps], {
        3: rounded(hat * w + b, "f16", extra=small), 4: Near(mean, 30 * UNIT["f32"]), 5: rounded(r, units=30)}


@case("triton_layernorm_bwd", grid=(7,))
def _(rng, rows=7, cols=500):
    dy, x, w = normal(rng, rows, cols, dtype="f2"), normal(rng, rows, cols, dtype="f2"), normal(rng, cols, dtype="f2")
    mean, r = (s.astype("f4") for s in norm_statistics(x.astype("f8"), 1e-5))
    g, m, rs = dy.astype("f8"), mean.astype("f8")[:, None], r.astype("f8")[:, None]
    hat = (x.astype("f8") - m) * rs
    gw = g * w.astype("f8")
    dx = (gw - hat * (gw * hat).mean(-1, keepdims=True) - gw.mean(-1, keepdims=True)) * rs
    per_row = 40 * UNIT["f32"] * (np.abs(gw) + np.abs(hat) + 1)
    sums = 4 * rows * UNIT["f32"] * (np.abs(g) * (1 + np.abs(hat))).sum(0)
    return [dy, x, w, mean, r, poison((rows, cols), "f2"), np.zeros(cols, "f4"), np.zeros(cols, "f4"), cols], {
        5: rounded(dx, "f16", extra=per_row), 6: Near((g * hat).sum(0), sums), 7: Near(g.sum(0), sums)}


@case("triton_rmsnorm", grid=(5,))
def _(rng, rows=5, cols=700, eps=1e-6):
    x, w = bf16_bits(rng.standard_normal((rows, cols))), bf16_bits(rng.standard_normal(cols))
    v = bf16_values(x)
    y = v / np.sqrt((v**2).mean(-1, keepdims=True) + eps) * bf16_values(w)
    return [x, w, poison((rows, cols), "u2"), cols, eps], {2: rounded(y, "bf16", 1.01, as_dtype=ml_dtypes.bfloat16)}


@case("triton_cross_entropy", grid=(6,))
def _(rng, rows=6, cols=437):
    x, labels = normal(rng, rows, cols) * 3, integers(rng, 0, 437, rows)
    v = x.astype("f8")
    lse = np.log(np.exp(v).sum(-1))
    grad = softmax64(v)
    grad[np.arange(rows), labels] -= 1
    return [x, labels, poison(rows, "f4"), poison((rows, cols), "f4"), cols], {
        2: Near(lse - v[np.arange(rows), labels], 60 * UNIT["f32"] * 20), 3: Near(grad, 200 * UNIT["f32"] * (softmax64(v) + (grad < 0)))}


@case("triton_reduce_axes", grid=(1,))
def _(rng):
    x = normal(rng, 64, 32)
    xor = np.bitwise_xor.reduce(np.trunc(x * np.float32(1000)).astype("i4"), axis=1)
    return [x, poison(32, "f4"), poison(64, "f4"), poison(64, "i4")], {
        1: Near(x.astype("f8").sum(0), 64 * UNIT["f32"] * np.abs(x).sum(0)), 2: x.min(1), 3: xor}


@case("triton_argmax_rows", grid=(7,))
def _(rng, rows=7, cols=400):
    x = integers(rng, -50, 50, rows, cols).astype("f4")  # with ties: the first wins
    return [x, poison(rows, "i4"), poison(rows, "i4"), cols], {1: x.argmax(1).astype("i4"), 2: x.argmin(1).astype("i4")}


@case("triton_sort_rows", grid=(4,))
def _(rng, rows=4, n=128):
    x = integers(rng, -1000, 1000, rows, n)
    up = np.sort(x, 1)
    return [x, poison((rows, n), "i4"), poison((rows, n), "i4"), poison((rows, 8), "i4")], {1: up, 2: up[:, ::-1], 3: up[:, ::-1][:, :8]}


@case("triton_cumsum_rows", grid=(4,))
def _(rng, rows=4, n=512):
    x = normal(rng, rows, n)
    v, a = x.astype("f8"), np.abs(x).astype("f8")
    back = lambda t: np.cumsum(t[:, ::-1], 1)[:, ::-1]  # noqa: E731
    return [x, poison((rows, n), "f4"), poison((rows, n), "f4")], {
        1: Near(np.cumsum(v, 1), 12 * UNIT["f32"] * np.cumsum(a, 1)), 2: Near(back(v), 12 * UNIT["f32"] * back(a))}


@case("triton_linear_recurrence", grid=(3,))
def _(rng, rows=3, n=512):
    a, b = rng.uniform(0.5, 1.0, (rows, n)).astype("f4"), normal(rng, rows, n)
    h, size = np.zeros((rows, n)), np.zeros((rows, n))
    s = m = np.zeros(rows)
    for t in range(n):
        s, m = a[:, t].astype("f8") * s + b[:, t], a[:, t] * m + np.abs(b[:, t])
        h[:, t], size[:, t] = s, m
    return [a, b, poison((rows, n), "f4")], {2: Near(h, 40 * UNIT["f32"] * size)}


@case("triton_histogram", grid=(3,))
def _(rng, n=2900):
    x = integers(rng, 0, 64, n)
    return [x, np.zeros(64, "i4"), n], {1: np.bincount(x, minlength=64).astype("i4")}


@case("triton_histogram_atomics", grid=(6,))
def _(rng, n=2900):
    x = integers(rng, 0, 20, n)
    return [x, np.zeros(20, "i4"), n], {1: np.bincount(x, minlength=20).astype("i4")}


# ---------------------------------------------------------------- moving data


@case("triton_transpose", grid=(4, 2))
def _(rng, m=107, n=101):
    x = normal(rng, m, n, dtype="f2")
    return [x, poison((n, m), "f2"), m, n], {1: x.T}


@case("triton_embedding", grid=(5,))
def _(rng, vocabulary=300, n=80):
    table, ids = normal(rng, vocabulary, 64, dtype="f2"), integers(rng, 0, vocabulary, n, dtype="i8")
    return [table, ids, poison((n, 64), "f2")], {2: table[ids]}


@case("triton_gather_in_tile", grid=(1,))
def _(rng):
    x, index = normal(rng, 32, 32), integers(rng, 0, 32, 32, 32)
    return [x, index, poison((32, 32), "f4")], {2: np.take_along_axis(x, index, 0)}


@case("triton_rope", grid=(16,))
def _(rng, s=16, d=128):
    x = normal(rng, s, d, dtype="f2")
    angle = np.arange(s)[:, None] / 10000.0 ** (np.arange(d // 2) / (d // 2))
    c, sn = np.cos(angle).astype("f4"), np.sin(angle).astype("f4")
    x1, x2 = x[:, : d // 2].astype("f8"), x[:, d // 2 :].astype("f8")
    y = np.concatenate([x1 * c - x2 * sn, x2 * c + x1 * sn], 1)
    return [x, c, sn, poison((s, d), "f2"), s], {3: rounded(y, "f16", extra=4 * UNIT["f32"] * 8)}


@case("triton_interleave_split", grid=(1,))
def _(rng, n=256):
    x = normal(rng, 2 * n)
    lo, hi = x[::2], x[1::2]
    return [x, poison(2 * n, "f4"), poison(2 * n, "f4")], {
        1: np.stack([x[:n], x[n:]], 1).reshape(-1), 2: np.concatenate([lo - hi, lo[::-1] + hi])}


# ---------------------------------------------------------------- atomics and locks


@case("triton_atomics", grid=(3,))
def _(rng, n=700):
    x = integers(rng, -(2**31), 2**31, n)
    start = integers(rng, -(2**31), 2**31, 6, 4)
    ops = np.add, np.maximum, np.minimum, np.bitwise_and, np.bitwise_or, np.bitwise_xor
    want = [np.array([f.reduce(x[k::4], initial=s[k], dtype=np.int32) for k in range(4)], "i4") for f, s in zip(ops, start, strict=True)]
    return [x, *start.copy(), n], dict(enumerate(want, 1))


@case("triton_float_atomics", grid=(3,))
def _(rng, n=700):
    x = integers(rng, -8, 9, n).astype("f4")  # small integers: sums are exact in any order, in f16 too
    column = [x[k::64] for k in range(64)]
    total = np.array([c.sum() for c in column])
    big = np.array([c.max() for c in column]), np.array([c.min() for c in column])
    return [x, np.zeros(64, "f2"), np.zeros(64, "f4"), np.full(64, -np.inf, "f4"), np.full(64, np.inf, "f4"), np.array([0, 41], "i4"), n], {
        1: total.astype("f2"), 2: total.astype("f4"), 3: big[0], 4: big[1], 5: np.array([41, 7], "i4")}


@case("triton_spinlock_sum", grid=(6,))
def _(rng, blocks=6):
    x = integers(rng, -100, 100, blocks, 128).astype("f4")
    return [x, np.zeros(1, "i4"), np.zeros(128, "f4")], {1: lambda lock: None, 2: x.sum(0)}


@case("triton_print_assert", grid=(2,))
def _(rng, n=100):
    x = integers(rng, 1, 50, n)
    return [x, poison(2, "i4"), n], {1: np.array([x[:64].sum(), x[64:].sum() + 28], "i4")}


# ---------------------------------------------------------------- matrix products


def half(rng, *shape):
    a = normal(rng, *shape, dtype="f2")
    return a, a.astype("f8"), "f2"


def bfloat(rng, *shape):
    a = bf16_bits(rng.standard_normal(shape))
    return a, bf16_values(a), "u2"


def single(rng, *shape):
    a = normal(rng, *shape)
    return a, a.astype("f8"), "f4"


def tf32(rng, *shape):
    a = normal(rng, *shape, dtype="f2").astype("f4")  # 10 fraction bits: exact in tf32
    return a, a.astype("f8"), "f4"


def double(rng, *shape):
    a = rng.standard_normal(shape)
    return a, a, "f8"


def byte_float(dtype):
    def make(rng, *shape):
        a = rng.standard_normal(shape).astype("f4").astype(dtype)
        return a.view("u1"), a.astype("f8"), "u1"

    return make


def mm(operand, out, m=128, n=128, k=128, dtype=None, **bound):
    def make(rng):
        (a, va, _), (b, vb, _) = operand(rng, m, k), operand(rng, k, n)
        return [a, b, poison((m, n), dtype or {"f16": "f2", "bf16": "u2", "f32": "f4", "f64": "f8"}[out]), m, n, k], {
            2: product(va, vb, out, as_dtype=ml_dtypes.bfloat16 if out == "bf16" else None, **bound)}

    return make


case("triton_mm_f16", grid=(4, 4))(mm(half, "f16", 256, 256, 256))
case("triton_mm_f16_sm120", grid=(2, 2))(mm(half, "f16"))
case("triton_mm_f16_sm90_wgmma", grid=(2, 2), tier=3)(mm(half, "f16"))
case("triton_mm_f16_2stages", grid=(2, 4))(mm(half, "f16", k=160))
case("triton_mm_f16_4stages", grid=(1, 2))(mm(half, "f32", k=384))
case("triton_mm_f16_acc16", grid=(2, 2))(mm(half, "f16", accumulate="f16", steps=8))
case("triton_mm_bf16", grid=(2, 2))(mm(bfloat, "bf16"))
case("triton_mm_tf32", grid=(2, 2))(mm(tf32, "f32"))
case("triton_mm_tf32x3", grid=(4, 4))(mm(single, "f32", steps=128 + 16))  # the dropped low x low product is 2^-20 of a term
case("triton_mm_f32_fma", grid=(2, 3))(mm(single, "f32", 64, 96, 80))
case("triton_mm_f64", grid=(2, 3))(mm(double, "f64", 64, 96, 80, accumulate="f64"))
# fp8 products are summed with 13 fraction bits on Ada, hence the wider bound
case("triton_mm_e4m3_sm89", grid=(2, 2))(mm(byte_float(ml_dtypes.float8_e4m3fn), "f32", steps=64 * 2**9))
case("triton_mm_e5m2_sm89", grid=(2, 2))(mm(byte_float(ml_dtypes.float8_e5m2), "f32", steps=64 * 2**9))


@case("triton_mm_i8", grid=(2, 2))
def _(rng, m=128, n=128, k=192):
    a, b = integers(rng, -128, 128, m, k, dtype="i1"), integers(rng, -128, 128, k, n, dtype="i1")
    return [a, b, poison((m, n), "i4"), m, n, k], {2: a.astype("i4") @ b.astype("i4")}


case("triton_mm_masked", grid=(2, 2))(mm(half, "f16", 77, 93, 51))


@case("triton_mm_tn", grid=(2, 2))
def _(rng, m=128, n=128, k=128):
    a, b = normal(rng, k, m, dtype="f2"), normal(rng, n, k, dtype="f2")
    p = product(a.T, b.T)
    return [a, b, poison((m, n), "f4"), m, n, k], {2: Near(np.maximum(p.value, 0), p.bound)}


@case("triton_bmm", grid=(2, 1, 3))
def _(rng, z=3, m=64, n=64, k=96):
    a, b = normal(rng, z, m, k, dtype="f2"), normal(rng, z, k, n, dtype="f2")
    return [a, b, poison((z, m, n), "f4"), m, n, k], {2: product(a, b)}


@case("triton_mm_splitk", grid=(2, 2, 4))
def _(rng, m=64, n=64, k=384):
    a, b = normal(rng, m, k, dtype="f2"), normal(rng, k, n, dtype="f2")
    return [a, b, np.zeros((m, n), "f4"), m, n, k], {2: product(a, b)}


def w4(pack_along_k):
    def make(rng, m=16, n=128, k=256, group=64):
        a, s = normal(rng, m, k, dtype="f2"), (normal(rng, k // group, n) * 0.05).astype("f2")
        nibbles = integers(rng, 0, 16, k, n, dtype="u4")
        words = (nibbles.reshape(k // 8, 8, n) << (4 * np.arange(8, dtype="u4"))[None, :, None]).sum(1, dtype="u4").view("i4")
        w = (nibbles.astype("i4") - 8).astype("f2") * np.repeat(s, group, 0)  # one rounding to f16, as in the kernel
        q = words if pack_along_k else np.ascontiguousarray(words.T)
        return [a, q, s, poison((m, n), "f2"), m, n, k], {3: product(a, w, "f16")}

    return make


case("triton_w4a16", grid=(1, 2))(w4(True))
case("triton_w4a16_join", grid=(1, 2))(w4(False))


def attention(causal):
    def make(rng, heads=2, s=192, d=64):
        q, k, v = (normal(rng, heads, s, d, dtype="f2") for _ in range(3))
        scale = d**-0.5
        x = q.astype("f8") @ k.astype("f8").transpose(0, 2, 1) * scale
        if causal:
            x = np.where(np.tril(np.ones((s, s), bool)), x, -np.inf)
        p = softmax64(x)
        # weights are rounded to f16 after the exponential, relative to a running maximum
        loose = (UNIT["f16"] + 200 * UNIT["f32"]) * (p @ np.abs(v.astype("f8"))) + 2.0**-24 * s
        return [q, k, v, poison((heads, s, d), "f2"), s, scale], {3: rounded(p @ v.astype("f8"), "f16", extra=loose)}

    return make


case("triton_flash", grid=(3, 2))(attention(False))
case("triton_flash_causal", grid=(3, 2))(attention(True))


@case("triton_mlp", grid=(2,))
def _(rng, m=64, d=64, h=128):
    x, w1, w2 = normal(rng, m, d, dtype="f2"), (normal(rng, d, h) / 8).astype("f2"), (normal(rng, h, d) / 8).astype("f2")
    t = np.maximum(x.astype("f8") @ w1.astype("f8"), 0)
    p = product(t, w2)
    inner = UNIT["f16"] * (np.abs(t) + 0.01) @ np.abs(w2.astype("f8"))
    return [x, w1, w2, poison((m, d), "f4")], {3: Near(p.value, p.bound + 1.01 * inner)}


