"""Matrix product, step 1: the operands stay in shared memory, from where each warp reads fragments by ldmatrix."""

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32

M, N, K = tc.dims("M N K")


@tc.kernel(warps=4)
def matmul_v1(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume((K % 8 == 0) & (N % 8 == 0))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    sa, sb = tc.shared(f16, [bm, bk]), tc.shared(f16, [bk, bn])
    acc = tc.zeros(f32, [bm, bn])
    for k in range(0, K, bk):
        tc.store(sa, tc.load(a, [i, k], [bm, bk]))
        tc.store(sb, tc.load(b, [k, j], [bk, bn]))
        tc.sync()                                  # all have stored before one reads
        acc = tc.dot(tc.load(sa), tc.load(sb), acc)
        tc.sync()                                  # all have read before one stores again
    tc.store(c, [i, j], tc.cast(acc, f16))


@matmul_v1.example
def _(rng, m=128, n=128, k=128):
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    return (a, b, np.empty((m, n), np.float16)), {"c": a.astype(np.float64) @ b.astype(np.float64)}
