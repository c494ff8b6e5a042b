"""o = softmax(q @ k^T * scale) @ v for each head, in one pass over the keys with a running maximum; causal or not.

All tensors are [heads, length, D]. `scale` is that of the scores times log2(e), so that exp2 serves for exp. Heads of D=128 want 8 warps, or registers
are spilled: attention.of_warps(8)(q, k, v, o, scale, D=128).
"""

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32

H, L, D = tc.dims("H L D")


@tc.kernel(warps=4)
def attention(
    q: f16[H, L, D], k: f16[H, L, D], v: f16[H, L, D], o: f16[H, L, D], scale: f32,
    *, D: int = 64, bm: int = 128, bn: int = 64, stages: int = 3, causal: bool = False, whole: bool = False,
):  # fmt: skip
    tc.grid(cdiv(L, bm), H)
    if whole:                                                   # no tile hangs over an edge, so that nothing is masked
        tc.assume((L % bm == 0) & (L % bn == 0))
    i, h = tc.block_index(0) * bm, tc.block_index(1)
    rows, columns = tc.arange(bm)[:, None], tc.arange(bn)[None, :]
    queries = tc.load(q, [h, i, 0], [bm, D])
    top = tc.full(f32, [bm], -float("inf"))
    total = tc.zeros(f32, [bm])
    acc = tc.zeros(f32, [bm, D])
    end = tc.minimum(L, i + bm) if causal else L
    for j in tc.range(0, end, bn, stages=stages):
        scores = tc.dot(queries, tc.load(k, [h, j, 0], [bn, D]).T)
        if causal:
            scores = tc.where(columns + j <= rows + i, scores, -float("inf"))
        elif not whole:
            scores = tc.where(columns + j < L, scores, -float("inf"))
        new = tc.maximum(top, tc.max(scores, axis=1))
        p = tc.exp2(scores * scale - (new * scale)[:, None], approx=True)
        shrink = tc.exp2((top - new) * scale, approx=True)
        total = total * shrink + tc.sum(p, axis=1)
        acc = tc.dot(f16(p), tc.load(v, [h, j, 0], [bn, D]), acc * shrink[:, None])
        top = new
    tc.store(o, [h, i, 0], f16(acc * (1 / total)[:, None]))      # few quotients, many products


@attention.example
def _(rng, h=2, n=200, D=64, causal=False):
    q, k, v = (rng.standard_normal((h, n, D)).astype(np.float16) for _ in range(3))
    s = q.astype(np.float64) @ k.astype(np.float64).swapaxes(1, 2) / np.sqrt(D)
    if causal:
        s = np.where(np.tri(n, dtype=bool), s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    expected = p / p.sum(-1, keepdims=True) @ v.astype(np.float64)
    return (q, k, v, np.empty_like(q), np.float32(np.log2(np.e) / np.sqrt(D))), {"o": expected}
