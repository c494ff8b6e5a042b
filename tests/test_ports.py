"""Ten kernels that users of other tile languages know, written anew: against NumPy in the interpreter and the simulator, and compiled for
every architecture without spills."""

import math

import numpy as np
import pytest

import tilec as tc
from tilec import cdiv, f16, f32, i32, u32

M, N, K, B, E = tc.dims("M N K B E")
RNG = np.random.default_rng()


@tc.struct
class Sums:
    scale: f32
    shift: f32


@tc.kernel(warps=4)
def norm_forward(x: f16[M, N], w: f32[N], b: f32[N], y: f16[M, N], mean: f32[M], inverse: f32[M], *, width: int = 512, eps: float = 1e-5):
    tc.grid(M)
    row, inside = tc.block_index(0), tc.arange(width) < N
    v = f32(tc.load(x, [row, 0], [width]))
    mu = tc.sum(v) / f32(N)
    d = tc.where(inside, v - mu, 0.0)
    r = tc.rsqrt(tc.sum(d * d) / f32(N) + eps)
    tc.store(y, [row, 0], f16(d * r * tc.load(w, [0], [width]) + tc.load(b, [0], [width])))
    tc.store(mean, row, mu)
    tc.store(inverse, row, r)


@tc.kernel(warps=4)
def norm_backward(
    dy: f16[M, N], x: f16[M, N], w: f32[N], mean: f32[M], inverse: f32[M], dx: f16[M, N], dw: f32[N], db: f32[N], *, width: int = 512
):  # fmt: skip
    """One block a few rows; the gradients of scale and shift are added up by atomics."""
    tc.grid(tc.cdiv(M, 4))
    at, inside = tc.arange(width), tc.arange(width) < N
    zero = tc.zeros(f32, [width])
    sums = Sums(zero, zero)
    for i in range(4):
        row = tc.block_index(0) * 4 + i
        if row >= M:
            break
        r = tc.load(inverse, [row])
        g = f32(tc.load(dy, [row, 0], [width]))
        n = tc.where(inside, (f32(tc.load(x, [row, 0], [width])) - tc.load(mean, [row])) * r, 0.0)
        gw = g * tc.load(w, [0], [width])
        a, c = tc.sum(n * gw) / f32(N), tc.sum(gw) / f32(N)
        tc.store(dx, [row, 0], f16((gw - n * a - c) * r))
        sums = Sums(sums.scale + g * n, sums.shift + g)
    tc.atomic_add(dw, [at], sums.scale, mask=inside)
    tc.atomic_add(db, [at], sums.shift, mask=inside)


@tc.kernel(warps=4)
def softmax_dropout(x: f32[M, N], y: f32[M, N], seed: u32, p: f32, *, width: int = 512):
    tc.grid(M)
    row, at = tc.block_index(0), tc.arange(width)
    v = tc.where(at < N, tc.load(x, [row, 0], [width]), -math.inf)
    e = tc.exp(v - tc.max(v))
    kept = tc.uniform(seed, row * N + at) >= p
    tc.store(y, [row, 0], tc.where(kept, e / tc.sum(e) / (1.0 - p), 0.0))


@tc.kernel(warps=4)
def grouped_matmul(a: f16[M, K], b: f16[E, K, N], ends: i32[E], c: f16[M, N], *, bm: int = 32, bn: int = 64, bk: int = 32, experts: int = 4):
    """Rows up to ends[0] by b[0], from there to ends[1] by b[1], ..."""
    tc.grid(cdiv(M, bm) + experts, cdiv(N, bn))
    tile, j, start, first = tc.block_index(0), tc.block_index(1) * bn, 0, 0
    group, last = -1, 0
    for g in range(experts):
        end = tc.load(ends, [g])
        tiles = (end - start + bm - 1) // bm
        if tile < first + tiles:
            group, last = g, end
            break
        first, start = first + tiles, end
    if group < 0:
        return
    i = start + (tile - first) * bm
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [group, k, j], [bk, bn]), acc)
    tc.store(c, [i, j], f16(acc), mask=(i + tc.arange(bm) < last)[:, None])


@tc.kernel(warps=4)
def batched_matmul(a: tc.strided(f16[B, M, K]), b: tc.strided(f16[B, K, N]), c: f32[B, M, N], *, bm: int = 32, bn: int = 32, bk: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn), B)
    i, j, s = tc.block_index(0) * bm, tc.block_index(1) * bn, tc.block_index(2)
    acc = tc.zeros(f32, [bm, bn])
    for k in range(0, K, bk):
        acc = tc.dot(tc.load(a, [s, i, k], [bm, bk]), tc.load(b, [s, k, j], [bk, bn]), acc)
    tc.store(c, [s, i, j], acc)


@tc.kernel(warps=4)
def topk_rows(x: f32[M, N], values: f32[M, 8], places: i32[M, 8], *, rows: int = 4, width: int = 128):
    tc.grid(cdiv(M, rows))
    i = tc.block_index(0) * rows
    v = tc.where(tc.arange(width) < N, tc.load(x, [i, 0], [rows, width]), -math.inf)
    best, at = tc.topk(v, 8)
    tc.store(values, [i, 0], best)
    tc.store(places, [i, 0], at)


@tc.kernel(warps=4)
def cumulative_sum(x: f32[M, N], y: f32[M, N], *, b: int = 128):
    """Along rows of any length: a tile at a time, with what came before."""
    tc.grid(M)
    row, before = tc.block_index(0), f32(0)
    for j in range(0, N, b):
        v = tc.load(x, [row, j], [b])
        tc.store(y, [row, j], tc.cumsum(v) + before)
        before += tc.sum(v)


@tc.kernel(warps=4)
def radix_sort(x: u32[N], y: u32[N], *, n: int = 256, bits: int = 4):
    """Least digit first: each pass counts where the elements of each digit begin, and puts them there in order."""
    tc.grid(1)
    keys = tc.load(x, [0], [n])
    held = tc.shared(u32, [n])
    for shift in tc.static_range(0, 32, bits):
        digit = i32(keys >> shift & (1 << bits) - 1)
        where = i32(digit[:, None] == tc.arange(1 << bits))
        count = tc.sum(where, axis=0)
        before = tc.cumsum(where, axis=0, exclusive=True) + tc.cumsum(count, exclusive=True)
        place = tc.sum(tc.where(where == 1, before, 0), axis=1)
        tc.sync()
        tc.store(held, keys)
        tc.sync()
        tc.atomic_exchange(held, [place], keys)
        tc.sync()
        keys = tc.load(held)
    tc.store(y, [0], keys)


@tc.kernel(warps=4)
def linear_gelu(x: f16[M, K], w: f16[K, N], bias: f32[N], y: f16[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn]) + tc.load(bias, [j], [bn])
    for k in tc.range(0, K, bk, stages=3):
        acc = tc.dot(tc.load(x, [i, k], [bm, bk]), tc.load(w, [k, j], [bk, bn]), acc)
    tc.store(y, [i, j], f16(0.5 * acc * (1.0 + tc.erf(acc * math.sqrt(0.5)))))


@tc.function
def segmented(value, key, value2, key2):
    """Sums that begin anew where the key changes."""
    return tc.where(key == key2, value + value2, value2), key2


@tc.kernel(warps=4)
def segment_sums(x: f32[N], keys: i32[N], y: f32[K], *, n: int = 256):
    """Each block sums its stretch by key, and adds the sum of each segment where the segment ends."""
    tc.grid(cdiv(N, n))
    at = tc.block_index(0) * n + tc.arange(n)
    start = tc.block_index(0) * n
    key = tc.where(at < N, tc.load(keys, [start], [n]), -1)
    following = tc.where((tc.arange(n) < n - 1) & (at + 1 < N), tc.load(keys, [start + 1], [n]), -1)
    sums, _ = tc.scan((tc.load(x, [start], [n]), key), segmented)
    tc.atomic_add(y, [key], sums, mask=(key != following) & (at < N))


@tc.kernel(warps=2)
def rotary(x: f16[M, N, 64], y: f16[M, N, 64], *, base: float = 10000.0):
    """Position by head by feature: the first and the second half of the features turned against one another."""
    tc.grid(M, cdiv(N, 4))
    position, h = tc.block_index(0), tc.block_index(1) * 4
    angle = f32(position) * tc.exp2(f32(tc.arange(32)) * (-math.log2(base) / 32.0))
    c, s = tc.cos(angle), tc.sin(angle)
    first, second = tc.split(f32(tc.load(x, [position, h, 0], [4, 64])), 2, axis=1)
    tc.store(y, [position, h, 0], f16(tc.concatenate([first * c - second * s, second * c + first * s], axis=1)))


def normal(*shape, dtype=np.float16):
    return RNG.standard_normal(shape).astype(dtype)


def norms(x, eps=1e-5):
    wide = x.astype(np.float64)
    mean = wide.mean(1)
    inverse = 1 / np.sqrt(wide.var(1) + eps)
    return (wide - mean[:, None]) * inverse[:, None], mean, inverse


def case_norm_forward():
    x, w, b = normal(9, 200), normal(200, dtype=np.float32), normal(200, dtype=np.float32)
    n, mean, inverse = norms(x)
    return (x, w, b, x * 0, np.zeros(9, np.float32), np.zeros(9, np.float32)), {"y": n * w + b, "mean": mean, "inverse": inverse}


def case_norm_backward():
    x, dy, w = normal(9, 200), normal(9, 200), normal(200, dtype=np.float32)
    n, mean, inverse = norms(x)
    g = dy.astype(np.float64)
    gw = g * w
    dx = (gw - n * (n * gw).mean(1)[:, None] - gw.mean(1)[:, None]) * inverse[:, None]
    zero = np.zeros(200, np.float32)
    return (dy, x, w, mean.astype(np.float32), inverse.astype(np.float32), x * 0, zero, zero.copy()), {"dx": dx, "dw": (g * n).sum(0), "db": g.sum(0)}


def case_softmax_dropout():
    from test_random import philox

    x = normal(5, 100, dtype=np.float32)
    e = np.exp(x.astype(np.float64) - x.max(1)[:, None])
    kept = np.array([(philox(3, i, 0)[0] >> 8) * 2.0**-24 >= np.float32(0.3) for i in range(500)]).reshape(5, 100)
    return (x, np.empty_like(x), 3, 0.3), {"y": kept * e / e.sum(1)[:, None] / 0.7}


def case_grouped_matmul():
    a, b, ends = normal(100, 48), normal(4, 48, 72), np.array([10, 10, 75, 100], np.int32)
    rows = np.searchsorted(ends, np.arange(100), side="right")
    return (a, b, ends, np.zeros((100, 72), np.float16)), {"c": np.einsum("mk,mkn->mn", a.astype(np.float64), b[rows].astype(np.float64))}


def case_batched_matmul():
    a, b = normal(40, 3, 50).transpose(1, 0, 2), normal(3, 33, 50).transpose(0, 2, 1)
    return (a, b, np.zeros((3, 40, 33), np.float32)), {"c": a.astype(np.float64) @ b.astype(np.float64)}


def case_topk_rows():
    x = RNG.permutation(600).reshape(6, 100).astype(np.float32)
    places = np.argsort(-x, axis=1)[:, :8]
    return (x, np.zeros((6, 8), np.float32), np.zeros((6, 8), np.int32)), {"values": np.take_along_axis(x, places, 1), "places": places}


def case_cumulative_sum():
    x = RNG.integers(-9, 9, (3, 300)).astype(np.float32)
    return (x, np.empty_like(x)), {"y": np.cumsum(x, 1)}


def case_radix_sort():
    x = RNG.integers(0, 2**32, 256, dtype=np.uint32)
    return (x, np.empty_like(x)), {"y": np.sort(x)}


def case_linear_gelu():
    x, w, b = normal(70, 100), normal(100, 72), normal(72, dtype=np.float32)
    z = x.astype(np.float64) @ w + b
    return (x, w, b, np.zeros((70, 72), np.float16)), {"y": 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))}


def case_segment_sums():
    keys = np.sort(RNG.integers(0, 30, 700)).astype(np.int32)
    x = RNG.integers(-9, 9, 700).astype(np.float32)
    return (x, keys, np.zeros(30, np.float32)), {"y": np.bincount(keys, x, 30)}


def case_rotary():
    x = normal(7, 6, 64)
    angle = np.arange(7)[:, None] * 10000.0 ** (-np.arange(32) / 32)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    p, q = x.astype(np.float64)[..., :32], x.astype(np.float64)[..., 32:]
    return (x, np.empty_like(x)), {"y": np.concatenate([p * c - q * s, q * c + p * s], -1)}


KERNELS = (norm_forward, norm_backward, softmax_dropout, grouped_matmul, batched_matmul, topk_rows, cumulative_sum, radix_sort, linear_gelu,
           segment_sums, rotary)  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
def test_right(kernel):
    args, expected = globals()[f"case_{kernel.__name__}"]()
    names = [p.name for p in kernel.signature.parameters]
    for run in (kernel.interpret, lambda *a: kernel.interpret(*a, stage="placed"), kernel.simulate):
        given = [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in args]
        report = run(*given)
        for name, want in expected.items():
            got = given[names.index(name)]
            tolerance = 2e-3 if got.dtype == np.float16 else 1e-5
            assert np.linalg.norm(got - want) <= tolerance * np.linalg.norm(want), name
        assert report is None or report.findings == []


@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
def test_compiled_without_spills(kernel, arch):
    assert kernel.compile(arch).resources.spill_bytes == 0
