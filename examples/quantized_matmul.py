"""y = x @ (w * scales): f16 activations, weights of any type of 1 to 8 bits, one scale for each group of rows and column.

The weights are compact and row-major, as `tc.tensor` packs them; `tilec.quant.quantize` makes them. Each tile of weights is converted
and scaled in registers.
"""

import numpy as np

import tilec as tc
from tilec import DType, cdiv, f16, f32, int6
from tilec.quant import quantize

M, N, K, G = tc.dims("M N K G")
W = tc.types("W")                                  # the constant W of the kernel, an element type


@tc.kernel(warps=4)
def quantized_matmul(
    x: f16[M, K], w: W[K, N], scales: f16[G, N], y: f16[M, N],
    *, W: DType = int6, group: int = 64, bm: int = 64, bn: int = 64, bk: int = 32, stages: int = 3,
):  # fmt: skip
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(K <= G * group)
    assert group % bk == 0, "a tile of weights lies within one group"
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        weights = f16(tc.load(w, [k, j], [bk, bn])) * tc.load(scales, [k // group, j], [1, bn])
        acc = tc.dot(tc.load(x, [i, k], [bm, bk]), weights, acc)
    tc.store(y, [i, j], f16(acc))


@quantized_matmul.example
def _(rng, m=70, n=200, k=192, W=int6, group=64):
    x = rng.standard_normal((m, k)).astype(np.float16)
    w, scales = quantize(rng.standard_normal((k, n)), W, group)
    weights = w.values().astype(np.float16) * np.repeat(scales.values().astype(np.float16), group, axis=0)
    return (x, w, scales.numpy(), np.empty((m, n), np.float16)), {"y": x.astype(np.float32) @ weights.astype(np.float32)}
