"""Softmax of each row, for rows up to `width`: a row is one tile."""

import numpy as np

import tilec as tc
from tilec import f32

M, N = tc.dims("M N")


@tc.kernel(warps=4)
def softmax(x: f32[M, N], y: f32[M, N], *, width: int = 1024):
    tc.grid(M)
    tc.assume(N <= width)
    tc.assume(N % 4 == 0)                          # every row begins at a multiple of 16 bytes
    row = tc.block_index(0)
    v = tc.where(tc.arange(width) < N, tc.load(x, [row, 0], [width]), -float("inf"))
    e = tc.exp(v - tc.max(v), approx=True)
    tc.store(y, [row, 0], e * tc.reciprocal(tc.sum(e)))


@softmax.example
def _(rng, m=37, n=780):
    x = rng.standard_normal((m, n)).astype(np.float32)
    e = np.exp(x - x.max(axis=1, keepdims=True), dtype=np.float64)
    return (x, np.empty_like(x)), {"y": e / e.sum(axis=1, keepdims=True)}
