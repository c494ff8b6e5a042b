"""Matrix product, step 5: stream-K. A fixed number of blocks share out all rounds of all tiles evenly, wherever tiles begin and end."""

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32, i32

M, N, K, T = tc.dims("M N K T")


@tc.kernel(warps=4)
def matmul_v5(
    a: f16[M, K], b: f16[K, N], c: f16[M, N], work: f32[M, N], done: i32[T],
    *, bm: int = 64, bn: int = 64, bk: int = 32, workers: int = 3, stages: int = 3,
):  # fmt: skip
    """`done` counts the rounds that each tile of c has behind it: zeros at the start, and again at the end. Take as many workers as the
    GPU runs at once."""
    tc.grid(workers)
    tc.assume((K % 8 == 0) & (N % 8 == 0))
    columns, rounds = cdiv(N, bn), cdiv(K, bk)
    share = cdiv(cdiv(M, bm) * columns * rounds, workers)
    first = tc.block_index(0) * share
    end = min(first + share, cdiv(M, bm) * columns * rounds)
    while first < end:                             # backwards: the piece that others wait for comes first
        tile = (end - 1) // rounds
        start = max(first, tile * rounds)
        i, j = tile // columns * bm, tile % columns * bn
        acc = tc.zeros(f32, [bm, bn])
        for r in tc.range(start - tile * rounds, end - tile * rounds, stages=stages):
            acc = tc.dot(tc.load(a, [i, r * bk], [bm, bk]), tc.load(b, [r * bk, j], [bk, bn]), acc)
        tc.semaphore_wait(done, tile, start - tile * rounds)
        if start > tile * rounds:
            acc = acc + tc.load(work, [i, j], [bm, bn])
        if end == (tile + 1) * rounds:
            tc.store(c, [i, j], tc.cast(acc, f16))
            tc.atomic_exchange(done, tile, 0)
        else:
            tc.store(work, [i, j], acc)
            tc.semaphore_post(done, tile, end - start)
        end = start


@matmul_v5.example
def _(rng, m=128, n=128, k=160):
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    c, work, done = np.empty((m, n), np.float16), np.zeros((m, n), np.float32), np.zeros(cdiv(m, 64) * cdiv(n, 64), np.int32)
    return (a, b, c, work, done), {"c": a.astype(np.float64) @ b.astype(np.float64)}
