"""Transpose, through shared memory: rows are read and rows are written, both in whole sectors."""

import numpy as np

import tilec as tc
from tilec import cdiv, f32

M, N = tc.dims("M N")


@tc.kernel(warps=4)
def transpose(x: f32[M, N], y: f32[N, M], *, bm: int = 32, bn: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    s = tc.shared(f32, [bm, bn])
    tc.store(s, tc.load(x, [i, j], [bm, bn]))
    tc.sync()
    tc.store(y, [j, i], tc.load(s, [0, 0], [bn, bm], dims=[1, 0]))   # tile axis 0 runs along axis 1 of s


@transpose.example
def _(rng, m=100, n=72):
    x = rng.standard_normal((m, n)).astype(np.float32)
    return (x, np.empty((n, m), np.float32)), {"y": x.T}
