"""Numba kernels of the corpus, and `FIXTURES`: the signature each is compiled for. Needs numba-cuda."""

import math

import numpy as np
from numba import cuda, float32, float64, int32, int64, uint32

TABLE = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3], np.float32)


def saxpy(a, x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = a * x[i] + y[i]


def grid_stride_f64(x, y, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = x[i] / y[i] + math.sqrt(x[i] * x[i] + 1.0)


def matmul(a, b, c):
    sa = cuda.shared.array((16, 16), float32)
    sb = cuda.shared.array((16, 16), float32)  # on a line of its own: Numba's simulator tells shared arrays apart by line
    r, q = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    acc = float32(0)
    for k in range((a.shape[1] + 15) // 16):
        sa[tx, ty] = a[r, ty + 16 * k] if r < a.shape[0] and ty + 16 * k < a.shape[1] else 0
        sb[tx, ty] = b[tx + 16 * k, q] if q < b.shape[1] and tx + 16 * k < b.shape[0] else 0
        cuda.syncthreads()
        for j in range(16):
            acc += sa[tx, j] * sb[j, ty]
        cuda.syncthreads()
    if r < c.shape[0] and q < c.shape[1]:
        c[r, q] = acc


def transpose(x, y):
    tile = cuda.shared.array((32, 33), float64)
    bx, by, tx, ty = cuda.blockIdx.x * 32, cuda.blockIdx.y * 32, cuda.threadIdx.x, cuda.threadIdx.y
    for k in range(0, 32, 8):
        if by + ty + k < x.shape[0] and bx + tx < x.shape[1]:
            tile[ty + k, tx] = x[by + ty + k, bx + tx]
    cuda.syncthreads()
    for k in range(0, 32, 8):
        if bx + ty + k < y.shape[0] and by + tx < y.shape[1]:
            y[bx + ty + k, by + tx] = tile[tx, ty + k]


def histogram(x, bins):
    local = cuda.shared.array(64, int32)
    t = cuda.threadIdx.x
    if t < 64:
        local[t] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        cuda.atomic.add(local, x[i] % 64, 1)
    cuda.syncthreads()
    if t < 64:
        cuda.atomic.add(bins, t, local[t])


def reduce_shuffle(x, out):
    i = cuda.grid(1)
    v = x[i] if i < x.size else float32(0)
    d = 16
    while d > 0:
        v += cuda.shfl_down_sync(0xFFFFFFFF, v, d)
        d //= 2
    if cuda.laneid == 0:
        cuda.atomic.add(out, 0, v)


def votes(x, ballot, any_, all_, match, active):
    t = cuda.threadIdx.x
    v = x[t]
    ballot[t] = cuda.ballot_sync(0xFFFFFFFF, v > 0)
    any_[t] = 1 if cuda.any_sync(0xFFFFFFFF, v == 3) else 0
    all_[t] = 1 if cuda.all_sync(0xFFFFFFFF, v > -100) else 0
    match[t] = cuda.match_any_sync(0xFFFFFFFF, v)
    active[t] = cuda.popc(cuda.lanemask_lt()) + 100 * cuda.syncthreads_count(int32(v > 1))


def stencil(x, y):
    i, j = cuda.grid(2)
    if 0 < i < x.shape[0] - 1 and 0 < j < x.shape[1] - 1:
        y[i, j] = 0.25 * (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1])
    elif i < x.shape[0] and j < x.shape[1]:
        y[i, j] = x[i, j]


def mandelbrot(out, limit):
    i, j = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        c = complex(-2 + 2.5 * j / out.shape[1], -1.25 + 2.5 * i / out.shape[0])
        z = complex(0, 0)
        k = 0
        while k < limit and z.real * z.real + z.imag * z.imag <= 4:
            z = z * z + c
            k += 1
        out[i, j] = k


def bitonic_sort(x):
    s = cuda.shared.array(256, int64)
    t = cuda.threadIdx.x
    i = cuda.blockIdx.x * 256 + t
    s[t] = x[i]
    cuda.syncthreads()
    size = 2
    while size <= 256:
        d = size // 2
        while d > 0:
            p = t ^ d
            if p > t and (s[t] > s[p]) == ((t & size) == 0):
                s[t], s[p] = s[p], s[t]
            cuda.syncthreads()
            d //= 2
        size *= 2
    x[i] = s[t]


def scan(x, y):
    s = cuda.shared.array((2, 128), float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[0, t] = x[i]
    cuda.syncthreads()
    src, d = 0, 1
    while d < 128:
        s[1 - src, t] = s[src, t] + s[src, t - d] if t >= d else s[src, t]
        src = 1 - src
        cuda.syncthreads()
        d *= 2
    y[i] = s[src, t]


def local_array(x, out):
    i = cuda.grid(1)
    a = cuda.local.array(8, float32)
    for k in range(8):
        a[k] = x[i, k]
    for k in range(8):
        a[(k * 5 + i) % 8] += a[k]
    s = float32(0)
    for k in range(8):
        s += a[k] * (k + 1)
    out[i] = s


def math_f64(x, o):
    i = cuda.grid(1)
    if i < x.size:
        v = x[i]
        p = abs(v) + 0.5
        o[0, i] = math.sin(v)
        o[1, i] = math.exp(v)
        o[2, i] = math.log(p)
        o[3, i] = p**2.5
        o[4, i] = math.erf(v)
        o[5, i] = math.lgamma(p)
        o[6, i] = math.atan2(v, p)
        o[7, i] = math.tanh(v)


def math_f32(x, o):
    i = cuda.grid(1)
    if i < x.size:
        v = x[i]
        p = abs(v) + float32(0.5)
        o[0, i] = math.cos(v)
        o[1, i] = math.exp(v)
        o[2, i] = math.log(p)
        o[3, i] = math.sqrt(p)
        o[4, i] = math.floor(v)
        o[5, i] = round(v)


def division(a, b, q, r):
    i = cuda.grid(1)
    if i < a.size:
        q[i] = a[i] // b[i]
        r[i] = a[i] % b[i]


def atomics(x, mx, mn, inc, dec, exch, andv):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.max(mx, 0, x[i])
        cuda.atomic.min(mn, 0, x[i])
        cuda.atomic.inc(inc, 0, uint32(37))
        cuda.atomic.dec(dec, 0, uint32(37))
        cuda.atomic.exch(exch, i % 4, uint32(5))
        cuda.atomic.and_(andv, 0, uint32(x[i]) | uint32(0xF0))


def float_atomics(x, s, d, mx):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(s, i % 8, x[i])
        cuda.atomic.add(d, i % 8, float64(x[i]))
        cuda.atomic.max(mx, 0, x[i])


def spinlock(mutex, total):
    if cuda.threadIdx.x == 0:
        while cuda.atomic.cas(mutex, 0, 0, 1) != 0:
            cuda.nanosleep(uint32(10))
        cuda.threadfence()
        total[0] = (total[0] * 5 + 1) % 10007
        cuda.threadfence()
        cuda.atomic.exch(mutex, 0, 0)


def dynamic_shared(x, y):
    s = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    s[t] = x[cuda.grid(1)]
    cuda.syncthreads()
    y[cuda.grid(1)] = s[cuda.blockDim.x - 1 - t]


def const_table(x, y):
    table = cuda.const.array_like(TABLE)
    i = cuda.grid(1)
    if i < x.size:
        y[i] = table[x[i] & 15] + table[i & 3]


def bit_tricks(x, y):
    i = cuda.grid(1)
    if i < x.size:
        v = x[i]
        y[0, i] = cuda.popc(v)
        y[1, i] = cuda.clz(v)
        y[2, i] = cuda.brev(v)
        y[3, i] = cuda.ffs(v)
        y[4, i] = cuda.selp(v & uint32(1) == 0, v, uint32(~v))


def convolve_bytes(img, k, out):
    i, j = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        s = int32(0)
        for a in range(3):
            for b in range(3):
                s += int32(img[i + a, j + b]) * int32(k[a, b])
        out[i, j] = min(max(s >> 4, 0), 255)


def complex_multiply(a, b, c):
    i = cuda.grid(1)
    if i < a.size:
        c[i] = a[i] * b[i].conjugate() + abs(a[i])


def reversed_view(x, y):
    """A strided argument: strides are parameters."""
    i, j = cuda.grid(2)
    if i < x.shape[0] and j < x.shape[1]:
        y[i, j] = x[i, j] * 2


FIXTURES = {
    "saxpy": (saxpy, "void(float32, float32[::1], float32[::1])"),
    "grid_stride_f64": (grid_stride_f64, "void(float64[::1], float64[::1], float64[::1])"),
    "matmul": (matmul, "void(float32[:,::1], float32[:,::1], float32[:,::1])"),
    "transpose": (transpose, "void(float64[:,::1], float64[:,::1])"),
    "histogram": (histogram, "void(int32[::1], int32[::1])"),
    "reduce_shuffle": (reduce_shuffle, "void(float32[::1], float32[::1])"),
    "votes": (votes, "void(int32[::1], uint32[::1], int32[::1], int32[::1], uint32[::1], int32[::1])"),
    "stencil": (stencil, "void(float32[:,::1], float32[:,::1])"),
    "mandelbrot": (mandelbrot, "void(int32[:,::1], int32)"),
    "bitonic_sort": (bitonic_sort, "void(int64[::1])"),
    "scan": (scan, "void(float64[::1], float64[::1])"),
    "local_array": (local_array, "void(float32[:,::1], float32[::1])"),
    "math_f64": (math_f64, "void(float64[::1], float64[:,::1])"),
    "math_f32": (math_f32, "void(float32[::1], float32[:,::1])"),
    "division": (division, "void(int64[::1], int64[::1], int64[::1], int64[::1])"),
    "atomics": (atomics, "void(int32[::1], int32[::1], int32[::1], uint32[::1], uint32[::1], uint32[::1], uint32[::1])"),
    "float_atomics": (float_atomics, "void(float32[::1], float32[::1], float64[::1], float32[::1])"),
    "spinlock": (spinlock, "void(int32[::1], int32[::1])"),
    "dynamic_shared": (dynamic_shared, "void(float32[::1], float32[::1])"),
    "const_table": (const_table, "void(int32[::1], float32[::1])"),
    "bit_tricks": (bit_tricks, "void(uint32[::1], uint32[:,::1])"),
    "convolve_bytes": (convolve_bytes, "void(uint8[:,::1], int8[:,::1], uint8[:,::1])"),
    "complex_multiply": (complex_multiply, "void(complex128[::1], complex128[::1], complex128[::1])"),
    "reversed_view": (reversed_view, "void(float32[:,:], float32[:,::1])"),
}
