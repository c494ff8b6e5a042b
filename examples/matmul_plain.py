"""c = a @ b in f16, written plainly; the compiler makes the pipeline."""
import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32

M, N, K = tc.dims("M N K")


@tc.kernel(warps=4)
def matmul_plain(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 128, bn: int = 128, bk: int = 32, stages: int = 3):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume((M % bm == 0) & (N % bn == 0) & (K % bk == 0))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
    tc.store(c, [i, j], f16(acc))


@matmul_plain.example
def _(rng, m=256, n=128, k=96):
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    return (a, b, np.empty((m, n), np.float16)), {"c": a.astype(np.float32) @ b.astype(np.float32)}
