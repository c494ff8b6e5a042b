"""Reductions and scans by functions, sorting, against NumPy, in every way there is."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import bf16, f16, f32, i16, i32, i64, u32

M, N = tc.dims("M N")
RNG = np.random.default_rng()
SHAPES = [((64,), 0, 1), ((100,), 0, 4), ((150,), 0, 2), ((16, 32), 1, 4), ((5, 33), 0, 2), ((3, 7, 12), 1, 3), ((40, 6), 1, 4), ((1, 1), 0, 1)]


@tc.function
def affine(a, b, c, d):
    """x -> a x + b, then x -> c x + d: associative, but the order matters."""
    return c * a, c * b + d


@tc.function
def left_of(x, y):
    return tc.where(x > 0, x, y)


@tc.kernel(warps=4)
def scanned(x: i32[N], y: i32[N], z: i32[N], r: i32[N], e: i32[N], u: i32[N], v: i32[N], first: i32[N], *, shape: tuple, axis: int):
    tc.grid(1)
    n = tc.load(x, [0], [N_OF[shape]]).reshape(shape)
    tc.store(y, [0], tc.cumsum(n, axis).reshape([-1]))
    tc.store(z, [0], tc.cummax(n, axis, exclusive=True).reshape([-1]))
    tc.store(r, [0], tc.cumprod(n, axis=axis, reverse=True).reshape([-1]))
    tc.store(e, [0], tc.scan(n, "xor", axis, exclusive=True).reshape([-1]))
    p, q = tc.scan((n, n + 1), affine, axis)
    tc.store(u, [0], p.reshape([-1]))
    tc.store(v, [0], q.reshape([-1]))
    tc.store(first, [0], tc.scan(n, left_of, axis, exclusive=True, first=0).reshape([-1]))


N_OF = {shape: int(np.prod(shape)) for shape, *_ in SHAPES}


def wrapped(x):
    return ((x + 2**31) % 2**32 - 2**31).astype(np.int32)


@pytest.mark.parametrize(("shape", "axis", "warps"), SHAPES)
def test_scans(shape, axis, warps):
    kernel = tc.kernel(warps=warps)(scanned.__wrapped__)
    n = RNG.integers(-3, 4, shape).astype(np.int64)
    rows = np.moveaxis(n, axis, 0)

    def back(x):
        return np.moveaxis(np.array(x, np.int64), 0, axis).reshape(-1)

    low = np.full((1, *rows.shape[1:]), -(2**31))
    p, q = [rows[0]], [rows[0] + 1]
    for x in rows[1:]:
        p.append(wrapped(x * p[-1]).astype(np.int64))
        q.append(wrapped(x * q[-1] + x + 1).astype(np.int64))
    first = np.zeros_like(rows)
    for i in range(1, len(rows)):
        first[i] = np.where(first[i - 1] > 0, first[i - 1], rows[i - 1]) if i > 1 else rows[0]
    back_products = [rows[-1]]
    for x in rows[-2::-1]:
        back_products.append(wrapped(back_products[-1] * x).astype(np.int64))
    want = {
        "y": back(np.cumsum(rows, 0)), "z": back(np.concatenate([low, np.maximum.accumulate(rows)[:-1]])), "r": back(back_products[::-1]),
        "e": back(np.concatenate([low * 0, np.bitwise_xor.accumulate(rows)[:-1]])), "u": back(p), "v": back(q), "first": back(first),
    }  # fmt: skip
    empty = [np.full(n.size, 77, np.int32) for _ in want]
    everywhere(kernel, (n.astype(np.int32).reshape(-1), *empty), want, shape=shape, axis=axis)


@tc.kernel(warps=4)
def reduced(x: f32[N], a: i32[M], b: i32[M], c: f32[M], d: f32[M], t: i32[M], *, shape: tuple, axis: int):
    tc.grid(1)
    v = tc.load(x, [0], [N_OF[shape]]).reshape(shape)
    tc.store(a, [0], tc.argmax(v, axis).reshape([-1]))
    tc.store(b, [0], tc.argmin(v, axis).reshape([-1]))
    tc.store(c, [0], tc.reduce(v, tc.maximum, axis).reshape([-1]))
    tc.store(d, [0], tc.reduce(v, left_of, axis).reshape([-1]))
    tc.store(t, [0], (tc.cast(tc.any(v > 1.5, axis=axis), i32) + 2 * tc.cast(tc.all(v, axis=axis), i32)).reshape([-1]))


@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize(("shape", "axis", "warps"), SHAPES)
def test_reductions(shape, axis, warps, nan):
    kernel = tc.kernel(warps=warps)(reduced.__wrapped__)
    x = RNG.integers(-2, 3, shape).astype(np.float32)
    if nan:
        x[RNG.random(shape) < 0.05] = np.nan
    rows = np.moveaxis(x, axis, 0)
    left = rows[0]
    for r in rows[1:]:
        left = np.where(left > 0, left, r)
    with np.errstate(invalid="ignore"):
        want = {
            "a": x.argmax(axis), "b": x.argmin(axis), "c": x.max(axis), "d": left, "t": (x > 1.5).any(axis) + 2 * (x != 0).all(axis),
        }  # fmt: skip
    want = {k: np.asarray(v).reshape(-1) for k, v in want.items()}
    m = len(want["a"])
    given = [np.full(m, 77, np.int32 if k in "abt" else np.float32) for k in want]
    everywhere(kernel, (x.reshape(-1), *given), want, shape=shape, axis=axis)


def test_of_all_elements():
    @tc.kernel
    def k(x: f16[M, N], y: i32[4]):
        tc.grid(1)
        v = tc.load(x, [0, 0], [12, 40])
        tc.store(y, 0, tc.argmax(v))
        tc.store(y, 1, i32(tc.reduce(v, "min")))
        tc.store(y, 2, i32(tc.any(v > 100.0)))
        tc.store(y, 3, i32(tc.all(v < 100.0)))

    x = RNG.permutation(480).reshape(12, 40).astype(np.float16) / 8 - 30
    everywhere(k, (x, np.zeros(4, np.int32)), {"y": [x.argmax(), np.trunc(x.min()), 0, 1]})


@pytest.mark.parametrize(
    ("dtype", "shape", "axis", "warps"),
    [(i32, *SHAPES[0]), (f32, *SHAPES[1]), (f16, *SHAPES[2]), (bf16, *SHAPES[3]), (i16, *SHAPES[4]), (u32, *SHAPES[5]), (i64, *SHAPES[1])],
)
def test_sorts(dtype, shape, axis, warps):
    @tc.kernel(warps=warps)
    def k(x: T[N], y: T[N], z: T[N], *, T: tc.DType, shape: tuple, axis: int):
        tc.grid(1)
        v = tc.load(x, [0], [N_OF[shape]]).reshape(shape)
        tc.store(y, [0], tc.sort(v, axis).reshape([-1]))
        tc.store(z, [0], tc.sort(v, axis, descending=True).reshape([-1]))

    x = RNG.integers(0 if dtype == u32 else -99, 100, shape).astype(np.float64)
    if dtype.is_float:
        x.flat[3::11] = np.nan
        x.flat[5::13] = -0.0
    rising = np.sort(x, axis)
    want = {"y": rising.reshape(-1), "z": np.flip(rising, axis).reshape(-1)}
    given = [tc.Tensor.from_values(v.reshape(-1), dtype) for v in (x, np.zeros_like(x), np.zeros_like(x))]
    everywhere(k, given, want, T=dtype, shape=shape, axis=axis)


T = tc.types("T")


@tc.kernel(warps=4)
def long_rows(x: i32[N], y: i32[N], z: i32[N], u: i32[N], v: i32[N], best: i32[2]):
    tc.grid(1)
    n = tc.load(x, [0], [2048])
    tc.store(y, [0], tc.cumsum(n))
    tc.store(z, [0], tc.cummax(n, exclusive=True, reverse=True))
    row = n[None, :]
    p, q = tc.scan((row, row + 1), affine)
    tc.store(u, [0], p[0])
    tc.store(v, [0], q[0])
    tc.store(best, [0], tc.argmax(row, axis=1))
    tc.store(best, 1, tc.reduce(n, left_of))


def test_long_rows_are_shared_by_the_warps():
    x = RNG.integers(-3, 4, 2048).astype(np.int32)
    p, q = [int(x[0])], [int(x[0]) + 1]
    for a in x[1:].tolist():
        p.append(int(wrapped(np.int64(a * p[-1]))))
        q.append(int(wrapped(np.int64(a * q[-1] + a + 1))))
    back = np.append(np.maximum.accumulate(x[::-1])[-2::-1], -(2**31))
    want = {"y": np.cumsum(x), "z": back, "u": p, "v": q, "best": [x.argmax(), x[x > 0][0]]}
    everywhere(long_rows, (x, *(np.full(len(w), 77, np.int32) for w in want.values())), want)
    assert long_rows.compile("sm_80").resources.spill_bytes == 0


@tc.kernel(warps=2)
def best(x: f32[M, N], v: f32[M, 5], p: i32[M, 5], o: i32[M, 40], q: i32[M, 40]):
    tc.grid(1)
    t = tc.load(x, [0, 0], [8, 40])
    values, places = tc.topk(t, 5)
    tc.store(v, [0, 0], values)
    tc.store(p, [0, 0], places)
    tc.store(o, [0, 0], tc.argsort(t))
    tc.store(q, [0, 0], tc.argsort(t, descending=True))


def test_topk_and_argsort():
    x = RNG.integers(-9, 10, (8, 40)).astype(np.float32)
    x[2, 5], x[3, 7] = np.inf, -np.inf
    falling = np.argsort(-x, axis=1, kind="stable")
    want = {"v": np.take_along_axis(x, falling, 1)[:, :5], "p": falling[:, :5], "o": np.argsort(x, axis=1, kind="stable"), "q": falling}
    given = [np.full(w.shape, 9, np.float32 if k == "v" else np.int32) for k, w in want.items()]
    everywhere(best, (x, *given), want)


@tc.kernel(warps=4)
def in_groups(x: i32[N], y: i32[N], z: i32[N], w: i32[N], e: i32[4]):
    tc.grid(1)
    with tc.warps(1, 2):
        v = tc.load(x, [0], [100])
        tc.store(y, [0], tc.cumsum(v))
        tc.store(z, [0], tc.sort(v))
        tc.store(w, [0], tc.flip(v))
        tc.store(e, 0, tc.argmax(v))
        tc.store(e, 1, v[17])
    with tc.warps(3, 1):
        v = tc.load(x, [0], [100])
        tc.store(e, 2, tc.reduce(v, "xor"))
        tc.store(e, 3, tc.sum(tc.histogram(v, 5)))


def test_in_groups_of_warps():
    x = RNG.integers(-50, 50, 100).astype(np.int32)
    few = [x.argmax(), x[17], np.bitwise_xor.reduce(x), ((x >= 0) & (x < 5)).sum()]
    want = {"y": np.cumsum(x), "z": np.sort(x), "w": x[::-1], "e": few}
    everywhere(in_groups, (x, *(np.full(len(w), 77, np.int32) for w in want.values())), want)


@tc.kernel
def counted(x: i32[N], weights: i32[M, 20]):
    tc.grid(2)
    for i in range(2):
        v = tc.load(x, [64 * (2 * tc.block_index(0) + i)], [64])
        tc.store(weights, [2 * tc.block_index(0) + i, 0], tc.histogram(v, 20, mask=v != 5))


def test_histogram():
    x = RNG.integers(-3, 25, 256).astype(np.int32)
    want = [np.bincount(row[(row >= 0) & (row < 20) & (row != 5)], minlength=20) for row in x.reshape(4, 64)]
    everywhere(counted, (x, np.full((4, 20), 77, np.int32)), {"weights": want})


@pytest.mark.parametrize("arch", ["sm_89", "sm_90a", "sm_120a"])
def test_compiled(arch):
    assert best.compile(arch).resources.spill_bytes == 0
    assert scanned.compile(arch, shape=(150,), axis=0).resources.spill_bytes == 0
