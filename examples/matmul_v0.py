"""Matrix product, step 0: what is wanted, and nothing of how."""

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32

M, N, K = tc.dims("M N K")


@tc.kernel(warps=4)
def matmul_v0(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume((K % 8 == 0) & (N % 8 == 0))       # rows begin at multiples of 16 bytes
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in range(0, K, bk):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
    tc.store(c, [i, j], tc.cast(acc, f16))


@matmul_v0.example
def _(rng, m=128, n=128, k=128):
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    return (a, b, np.empty((m, n), np.float16)), {"c": a.astype(np.float64) @ b.astype(np.float64)}
