"""Matrix product, step 4: split-K. Several blocks share a tile of c and add their parts in a fixed order, so that results repeat."""

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32, i32

M, N, K, T = tc.dims("M N K T")


@tc.kernel(warps=4)
def matmul_v4(
    a: f16[M, K], b: f16[K, N], c: f16[M, N], work: f32[M, N], turn: i32[T],
    *, bm: int = 64, bn: int = 64, bk: int = 32, splits: int = 4, stages: int = 3,
):  # fmt: skip
    """`turn` holds a zero for each tile of c, and does so again at the end."""
    tc.grid(cdiv(M, bm), cdiv(N, bn), splits)
    tc.assume((K % 8 == 0) & (N % 8 == 0))
    i, j, part = tc.block_index(0) * bm, tc.block_index(1) * bn, tc.block_index(2)
    share = cdiv(cdiv(K, bk), splits) * bk         # of K, for each part
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(part * share, min(K, (part + 1) * share), bk, stages=stages):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
    tile = tc.block_index(1) * tc.block_count(0) + tc.block_index(0)
    tc.semaphore_wait(turn, tile, part)            # the parts before have been added
    if part > 0:
        acc = acc + tc.load(work, [i, j], [bm, bn])
    if part == splits - 1:
        tc.store(c, [i, j], tc.cast(acc, f16))
        tc.atomic_exchange(turn, tile, 0)
    else:
        tc.store(work, [i, j], acc)
        tc.semaphore_post(turn, tile)


@matmul_v4.example
def _(rng, m=128, n=128, k=256):
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    c, work, turn = np.empty((m, n), np.float16), np.zeros((m, n), np.float32), np.zeros(cdiv(m, 64) * cdiv(n, 64), np.int32)
    return (a, b, c, work, turn), {"c": a.astype(np.float64) @ b.astype(np.float64)}
