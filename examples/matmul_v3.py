"""Matrix product, step 3: a ring of stages, so that the copies of later rounds run while this one is multiplied.

The tiles of the ring are swizzled, as all shared tiles are whose rows would meet in the same banks.
"""

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32

M, N, K = tc.dims("M N K")


@tc.kernel(warps=4)
def matmul_v3(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32, stages: int = 3):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume((K % 8 == 0) & (N % 8 == 0))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    sa, sb = tc.shared(f16, [stages, bm, bk]), tc.shared(f16, [stages, bk, bn])
    for s in tc.static_range(stages - 1):
        tc.copy_async(sa[s], a, [i, s * bk])
        tc.copy_async(sb[s], b, [s * bk, j])
        tc.commit()
    acc = tc.zeros(f32, [bm, bn])
    now, then = 0, stages - 1
    for k in range(0, K, bk):
        tc.wait(stages - 2)                        # all but the newest groups have landed
        tc.sync()                                  # and the tile that is filled next has been read by all
        ahead = k + (stages - 1) * bk
        if ahead < K:
            tc.copy_async(sa[then], a, [i, ahead])
            tc.copy_async(sb[then], b, [ahead, j])
        tc.commit()                                # a group each round, maybe empty, so that the count above is right
        acc = tc.dot(tc.load(sa[now]), tc.load(sb[now]), acc)
        now = now + 1 if now + 1 < stages else 0
        then = then + 1 if then + 1 < stages else 0
    tc.store(c, [i, j], tc.cast(acc, f16))


@matmul_v3.example
def _(rng, m=128, n=128, k=128):
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    return (a, b, np.empty((m, n), np.float16)), {"c": a.astype(np.float64) @ b.astype(np.float64)}
