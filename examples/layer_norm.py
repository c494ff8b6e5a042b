"""Layer normalization of each row with weight and bias, f16 in and out, f32 inside; rows up to `width`."""

import numpy as np

import tilec as tc
from tilec import f16, f32

M, N = tc.dims("M N")


@tc.kernel(warps=4)
def layer_norm(x: f16[M, N], weight: f16[N], bias: f16[N], y: f16[M, N], *, width: int = 1024, eps: float = 1e-5):
    tc.grid(M)
    tc.assume(N <= width)
    tc.assume(N % 8 == 0)                          # every row begins at a multiple of 16 bytes
    row = tc.block_index(0)
    v = f32(tc.load(x, [row, 0], [width]))         # 0 over the edge
    share = tc.reciprocal(f32(N), approx=True)
    mean = tc.sum(v) * share
    d = tc.where(tc.arange(width) < N, v - mean, 0.0)
    scale = tc.rsqrt(tc.sum(d * d) * share + eps)
    result = d * scale * f32(tc.load(weight, 0, [width])) + f32(tc.load(bias, 0, [width]))
    tc.store(y, [row, 0], f16(result))


@layer_norm.example
def _(rng, m=37, n=776, eps=1e-5):
    x, weight, bias = (rng.standard_normal(shape).astype(np.float16) for shape in [(m, n), n, n])
    wide = x.astype(np.float64)
    d = wide - wide.mean(axis=1, keepdims=True)
    return (x, weight, bias, np.empty_like(x)), {"y": d / np.sqrt((d * d).mean(axis=1, keepdims=True) + eps) * weight + bias}
