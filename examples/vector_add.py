"""z = x + y, a block of elements per thread block."""

import numpy as np

import tilec as tc
from tilec import cdiv, f32

N = tc.dims("N")


@tc.kernel(warps=4)
def vector_add(x: f32[N], y: f32[N], z: f32[N], *, block: int = 1024):
    tc.grid(cdiv(N, block))
    i = tc.block_index(0) * block
    tc.store(z, i, tc.load(x, i, [block]) + tc.load(y, i, [block]))


@vector_add.example
def _(rng, n=5000):
    x, y = rng.standard_normal((2, n)).astype(np.float32)
    return (x, y, np.empty_like(x)), {"z": x + y}
