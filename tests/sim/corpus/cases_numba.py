"""Cases of Numba's PTX."""

import math

import numpy as np

from .case import UNIT, Case, Near, integers, normal, poison, product, register, rounded

CASES: dict[str, Case] = {}
case = register(CASES)
each = lambda f: np.vectorize(f, otypes=[np.float64])  # noqa: E731


@case("numba_saxpy", grid=(4,), block=(128,))
def _(rng, n=500):
    x, y = normal(rng, n), normal(rng, n)
    v = 1.5 * x.astype("f8")
    return [np.float32(1.5), x, y.copy()], {2: Near(v + y, UNIT["f32"] * (np.abs(v) + np.abs(v + y)) * 1.01)}


@case("numba_grid_stride_f64", grid=(3,), block=(64,))
def _(rng, n=500):
    x, y = rng.standard_normal(n), rng.uniform(0.5, 2, n)
    return [x, y, poison(n, "f8")], {2: Near(x / y + np.sqrt(x * x + 1), 4 * UNIT["f64"] * (np.abs(x / y) + np.sqrt(x * x + 1)))}


@case("numba_matmul", grid=(3, 4), block=(16, 16))
def _(rng, m=40, k=50, n=60):
    a, b = normal(rng, m, k), normal(rng, k, n)
    return [a, b, poison((m, n), "f4")], {2: product(a, b)}


@case("numba_transpose", grid=(3, 2), block=(32, 8))
def _(rng, h=50, w=70):
    x = rng.standard_normal((h, w))
    return [x, poison((w, h), "f8")], {1: x.T}


@case("numba_histogram", grid=(4,), block=(96,))
def _(rng, n=3000):
    x = integers(rng, 0, 1000, n)
    return [x, np.zeros(64, "i4")], {1: np.bincount(x % 64, minlength=64).astype("i4")}


@case("numba_reduce_shuffle", grid=(5,), block=(128,))
def _(rng, n=600):
    x = normal(rng, n)
    return [x, np.zeros(1, "f4")], {1: Near(x.astype("f8").sum(keepdims=True), 32 * UNIT["f32"] * np.abs(x).sum())}


def lanes(values, f):
    """f(the 32 values of a warp, lane) for every thread."""
    return np.array([f(values[t - t % 32 : t - t % 32 + 32], t % 32) for t in range(len(values))])


def ballot(flags):
    return sum(1 << i for i, x in enumerate(flags) if x)


@case("numba_votes", grid=(1,), block=(96,))
def _(rng, n=96):
    x = integers(rng, -4, 5, n)
    x[64:] = 3
    count = int((x > 1).sum())
    return [x, poison(n, "u4"), poison(n, "i4"), poison(n, "i4"), poison(n, "u4"), poison(n, "i4")], {
        1: lanes(x, lambda w, i: ballot(w > 0)).astype("u4"),
        2: lanes(x, lambda w, i: (w == 3).any()).astype("i4"),
        3: np.ones(n, "i4"),
        4: lanes(x, lambda w, i: ballot(w == w[i])).astype("u4"),
        5: (np.arange(n) % 32 + 100 * count).astype("i4"),
    }


@case("numba_stencil", grid=(3, 4), block=(16, 16))
def _(rng, h=37, w=50):
    x = normal(rng, h, w)
    v, y = x.astype("f8"), x.astype("f8")
    y[1:-1, 1:-1] = 0.25 * (v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:])
    return [x, poison((h, w), "f4")], {1: Near(y, 4 * UNIT["f32"] * np.abs(v).max())}


@case("numba_mandelbrot", grid=(2, 2), block=(16, 16))
def _(rng, h=24, w=30, limit=40):
    want = np.zeros((h, w), "i4")
    for i in range(h):
        for j in range(w):
            c, z, k = complex(-2 + 2.5 * j / w, -1.25 + 2.5 * i / h), 0j, 0
            while k < limit and z.real * z.real + z.imag * z.imag <= 4:
                z, k = z * z + c, k + 1
            want[i, j] = k

    def close(got):  # fused multiply-adds may move a point whose orbit passes by the circle of escape
        assert (got != want).mean() < 0.02, f"{(got != want).sum()} of {want.size} escape times differ"

    return [poison((h, w), "i4"), limit], {0: close}


@case("numba_bitonic_sort", grid=(2,), block=(256,))
def _(rng):
    x = rng.integers(-(2**60), 2**60, (2, 256))
    return [x.reshape(-1).copy()], {0: np.sort(x, 1).reshape(-1)}


@case("numba_scan", grid=(3,), block=(128,))
def _(rng):
    x = integers(rng, -1000, 1000, 3, 128).astype("f8")
    return [x.reshape(-1), poison(384, "f8")], {1: np.cumsum(x, 1).reshape(-1)}


@case("numba_local_array", grid=(2,), block=(32,))
def _(rng, n=64):
    x = integers(rng, -50, 50, n, 8).astype("f4")
    a = x.copy()
    for i in range(n):
        for k in range(8):
            a[i, (k * 5 + i) % 8] += a[i, k]
    return [x, poison(n, "f4")], {1: (a * np.arange(1, 9, dtype="f4")).sum(1)}


@case("numba_math_f64", grid=(3,), block=(64,))
def _(rng, n=150):
    x = rng.standard_normal(n) * 2
    p = np.abs(x) + 0.5
    o = np.array([np.sin(x), np.exp(x), np.log(p), p**2.5, each(math.erf)(x), each(math.lgamma)(p), np.arctan2(x, p), np.tanh(x)])
    extra = np.zeros((8, 1))
    extra[5] = 16 * UNIT["f64"]  # lgamma has zeros at 1 and 2, where its error is absolute
    return [x, poison((8, n), "f8")], {1: rounded(o, "f64", units=16, extra=extra)}


@case("numba_math_f32", grid=(3,), block=(64,))
def _(rng, n=150):
    x = normal(rng, n) * 3
    v = x.astype("f8")
    p = (np.abs(x) + np.float32(0.5)).astype("f8")
    o = np.array([np.cos(v), np.exp(v), np.log(p), np.sqrt(p), np.floor(v), np.rint(v)])
    return [x, poison((6, n), "f4")], {1: rounded(o, units=8)}


@case("numba_division", grid=(4,), block=(64,))
def _(rng, n=250):
    a, b = rng.integers(-(2**62), 2**62, n), rng.integers(-(2**33), 2**33, n)
    b[b == 0] = 3
    return [a, b, poison(n, "i8"), poison(n, "i8")], {2: a // b, 3: a % b}


@case("numba_atomics", grid=(3,), block=(64,))
def _(rng, n=170):
    x = integers(rng, -1000, 1000, n)
    inc, dec = 0, 20
    for _ in range(n):
        inc = 0 if inc >= 37 else inc + 1
        dec = 37 if dec == 0 or dec > 37 else dec - 1
    u = np.bitwise_and.reduce(x.view("u4") | np.uint32(0xF0), initial=np.uint32(0xFFFF00FF))
    return [
        x,
        np.array([-5], "i4"),
        np.array([5], "i4"),
        np.array([0], "u4"),
        np.array([20], "u4"),
        np.zeros(4, "u4"),
        np.array([0xFFFF00FF], "u4"),
    ], {
        1: x.max(keepdims=True),
        2: x.min(keepdims=True),
        3: np.array([inc], "u4"),
        4: np.array([dec], "u4"),
        5: np.full(4, 5, "u4"),
        6: np.array([u], "u4"),
    }


@case("numba_float_atomics", grid=(4,), block=(64,))
def _(rng, n=240):
    x = integers(rng, -50, 50, n).astype("f4")
    s = x.reshape(-1, 8).sum(0)
    return [x, np.zeros(8, "f4"), np.zeros(8, "f8"), np.array([-np.inf], "f4")], {1: s, 2: s.astype("f8"), 3: x.max(keepdims=True)}


@case("numba_spinlock", grid=(6,), block=(32,))
def _(rng, blocks=6):
    v = 0
    for _ in range(blocks):
        v = (v * 5 + 1) % 10007
    return [np.zeros(1, "i4"), np.zeros(1, "i4")], {0: np.zeros(1, "i4"), 1: np.array([v], "i4")}


@case("numba_dynamic_shared", grid=(3,), block=(64,), shared=256)
def _(rng):
    x = normal(rng, 3, 64)
    return [x.reshape(-1), poison(192, "f4")], {1: x[:, ::-1].reshape(-1)}


@case("numba_const_table", grid=(2,), block=(64,))
def _(rng, n=100):
    table = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3], "f4")
    x = integers(rng, -100, 100, n)
    return [x, poison(n, "f4")], {1: table[x & 15] + table[np.arange(n) & 3]}


@case("numba_bit_tricks", grid=(2,), block=(64,))
def _(rng, n=100):
    x = integers(rng, 0, 2**32, n, dtype="u4")
    x[:2] = [1, 0xFFFFFFFF]
    o = [
        [bin(v).count("1"), 32 - v.bit_length(), int(f"{v:032b}"[::-1], 2), (v & -v).bit_length(), v if v % 2 == 0 else ~v & 0xFFFFFFFF]
        for v in map(int, x)
    ]
    return [x, poison((5, n), "u4")], {1: np.array(o, "u4").T}


@case("numba_convolve_bytes", grid=(2, 2), block=(16, 16))
def _(rng, h=30, w=28):
    img, k = integers(rng, 0, 256, h + 2, w + 2, dtype="u1"), integers(rng, -8, 12, 3, 3, dtype="i1")
    s = sum(img[a : a + h, b : b + w].astype("i4") * int(k[a, b]) for a in range(3) for b in range(3))
    return [img, k, poison((h, w), "u1")], {2: np.clip(s >> 4, 0, 255).astype("u1")}


@case("numba_complex_multiply", grid=(2,), block=(64,))
def _(rng, n=100):
    a, b = (rng.standard_normal(n) + 1j * rng.standard_normal(n) for _ in range(2))
    return [a, b, poison(n, "c16")], {2: Near(a * b.conj() + np.abs(a), 16 * UNIT["f64"] * (np.abs(a * b) + np.abs(a)))}


@case("numba_reversed_view", grid=(2, 2), block=(16, 16))
def _(rng, h=20, w=24):
    x = normal(rng, h, w)
    return [x, poison((h, w), "f4")], {1: 2 * x}
