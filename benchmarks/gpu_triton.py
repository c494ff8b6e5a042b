"""Kernels in Triton for `make gpu` to compare with, our own: one with 19 arguments and nothing to do, and a product with weights of 4 bits."""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl


@triton.jit
def nothing(
    t1, t2, t3, t4, t5, i1, i2, i3, i4, i5, i6, i7, i8, i9,
    c1: tl.constexpr, c2: tl.constexpr, c3: tl.constexpr, c4: tl.constexpr, c5: tl.constexpr,
):  # fmt: skip
    pass


@triton.jit
def int4_product(
    x, q, s, y, M, N, K,
    GROUP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """y[M, N] = x[M, K] @ w, f16, w[k, n] = (nibble - 8) * s[k // GROUP, n], or s[0, n] where GROUP is 0: then at the end, on the sums.

    q is int32 [K / 8, N], eight weights along K from the lowest bits up. BK divides K (and GROUP), BN divides N; rows are masked. With SPLIT > 1 blocks
    share out the sum and add to y, which is f32 and zero before.
    """
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    kk = tl.arange(0, BK)
    part = tl.program_id(2)
    rounds = K // (BK * SPLIT)
    start = part * rounds * BK
    px = x + im[:, None] * K + (start + kk)[None, :]
    pq = q + (start // 8 + tl.arange(0, BK // 8))[:, None] * N + jn[None, :]
    shifts = (tl.arange(0, 8) * 4)[None, :, None]
    rows = im[:, None] < M
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for i in range(rounds):
        tx = tl.load(px, mask=rows, other=0.0)
        nibbles = (tl.load(pq)[:, None, :] >> shifts) & 15
        w = (tl.reshape(nibbles, (BK, BN)) - 8).to(tl.float16)
        if GROUP:
            w = w * tl.load(s + (start + i * BK) // GROUP * N + jn)[None, :]
        acc = tl.dot(tx, w, acc)
        px += BK
        pq += (BK // 8) * N
    if not GROUP:
        acc = acc * tl.load(s + jn)[None, :].to(tl.float32)
    py = y + im[:, None] * N + jn[None, :]
    if SPLIT > 1:
        tl.atomic_add(py, acc, mask=rows, sem="relaxed")
    else:
        tl.store(py, acc.to(tl.float16), mask=rows)


class Configuration(NamedTuple):
    """Tiles, parts of the sum over K, warps and stages of a product."""

    bm: int
    bn: int
    bk: int
    split: int
    warps: int
    stages: int

    def constants(self, group: int) -> dict[str, int]:
        return {"GROUP": group, "BM": self.bm, "BN": self.bn, "BK": self.bk, "SPLIT": self.split}


FEW_ROWS = [Configuration(16, bn, bk, split, 4, stages) for bn, bk in ((64, 128), (128, 64), (128, 128)) for split, stages in ((1, 4), (4, 4), (8, 3))]
MANY_ROWS = [
    Configuration(64, 128, 64, 1, 4, 3), Configuration(128, 128, 64, 1, 8, 3), Configuration(128, 256, 64, 1, 8, 3), Configuration(128, 128, 32, 1, 4, 4),
]  # fmt: skip


def configurations(m: int) -> list[Configuration]:
    """Those worth trying for m rows of activations."""
    return FEW_ROWS if m <= 16 else MANY_ROWS


def launch(c: Configuration, x: Any, q: Any, s: Any, y: Any, sums: Any, group: int) -> Any:
    """The product on tensors of PyTorch; `sums` is f32 like y, for blocks that share out the sum."""
    (m, k), n = x.shape, y.shape[1]
    grid = triton.cdiv(m, c.bm), n // c.bn, c.split
    out = y
    if c.split > 1:
        out = sums.zero_()
    int4_product[grid](x, q, s, out, m, n, k, **c.constants(group), num_warps=c.warps, num_stages=c.stages)
    return y.copy_(sums) if c.split > 1 else y


def source(c: Configuration, group: int) -> tuple[Any, dict[str, int]]:
    """What triton.compile takes, for compiling ahead of time: pointers, N and K are divisible by 16, as they are on the benchmark's shapes."""
    from triton.compiler import ASTSource

    types = {"x": "*fp16", "q": "*i32", "s": "*fp16", "y": "*fp32" if c.split > 1 else "*fp16", "M": "i32", "N": "i32", "K": "i32"}
    names = int4_product.arg_names
    divisible = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name in "xqsyNK"}
    signature = {name: types.get(name, "constexpr") for name in names}
    return ASTSource(fn=int4_product, signature=signature, constexprs=c.constants(group), attrs=divisible), {"num_warps": c.warps, "num_stages": c.stages}
