"""Histogram of bytes: each block counts in shared memory by atomics, then adds its counts to everyone's; the last block hands them over."""

import numpy as np

import tilec as tc
from tilec import cdiv, i32, u32

N = tc.dims("N")


@tc.kernel(warps=4)
def histogram(x: i32[N], counts: u32[256], work: u32[256], tickets: i32[1], *, bn: int = 1024, rounds: int = 4):
    """`work` and `tickets` are zeros before, and after."""
    tc.grid(cdiv(N, bn * rounds))
    mine = tc.shared(u32, [256])
    tc.store(mine, tc.zeros(u32, [256]))
    tc.sync()
    for r in range(rounds):
        at = (tc.block_index(0) * rounds + r) * bn
        value = tc.load(x, [at], [bn])
        tc.atomic_add(mine, [value], 1, mask=at + tc.arange(bn) < N, scope="block")
    tc.sync()
    tc.atomic_add(work, [0], tc.load(mine))
    ticket = tc.atomic_add(tickets, [0], 1, order="acq_rel")   # what was added before is seen by whoever comes later
    if ticket == tc.block_count(0) - 1:
        tc.store(counts, [0], tc.atomic_exchange(work, [0], tc.zeros(u32, [256])))
        tc.atomic_exchange(tickets, [0], 0)


@histogram.example
def _(rng, n=10000):
    x = np.clip(rng.normal(128, 40, n), 0, 255).astype(np.int32)
    counts = np.bincount(x, minlength=256)
    return (x, np.empty(256, np.uint32), np.zeros(256, np.uint32), np.zeros(1, np.int32)), {"counts": counts}
