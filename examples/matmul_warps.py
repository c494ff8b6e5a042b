"""Matrix product by two groups of warps: one fetches, the others multiply, and named barriers hand the tiles over.

The warp that fetches needs no registers for the product, and the others no instructions for addresses and copies.
"""

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32

M, N, K = tc.dims("M N K")


@tc.kernel(warps=5)
def matmul_warps(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32, stages: int = 4, ahead: int = 2):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume((K % 8 == 0) & (N % 8 == 0))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    sa, sb = tc.shared(f16, [stages, bm, bk]), tc.shared(f16, [stages, bk, bn])
    full, empty = tc.barrier(5, stages), tc.barrier(5, stages)  # all 5 warps come to each: some wait, the others go on
    rounds = cdiv(K, bk)
    with tc.warps(4, 1):
        for r in range(rounds + ahead):
            if r < rounds:
                slot = r % stages
                if r >= stages:
                    tc.sync(empty[slot])               # what was there has been multiplied
                tc.copy_async(sa[slot], a, [i, r * bk])
                tc.copy_async(sb[slot], b, [r * bk, j])
            tc.commit()
            if r >= ahead:
                tc.wait(ahead)
                tc.arrive(full[(r - ahead) % stages])  # the copies of that round have landed
    with tc.warps(0, 4):
        acc = tc.zeros(f32, [bm, bn])
        for r in range(rounds):
            slot = r % stages
            tc.sync(full[slot])
            acc = tc.dot(tc.load(sa[slot]), tc.load(sb[slot]), acc)
            if r + stages < rounds:
                tc.arrive(empty[slot])
        tc.store(c, [i, j], tc.cast(acc, f16))


@matmul_warps.example
def _(rng, m=128, n=128, k=192):
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    return (a, b, np.empty((m, n), np.float16)), {"c": a.astype(np.float64) @ b.astype(np.float64)}
