"""The benchmark's kernels in Triton, our own, and the one configuration of each that is measured."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit
def vector_add(a, b, c, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = i < n
    tl.store(c + i, tl.load(a + i, mask=ok) + tl.load(b + i, mask=ok), mask=ok)


@triton.jit
def softmax(x, y, ncols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    ok = j < ncols
    v = tl.load(x + row * ncols + j, mask=ok, other=-float("inf"))
    e = tl.exp(v - tl.max(v, axis=0))
    tl.store(y + row * ncols + j, e / tl.sum(e, axis=0), mask=ok)


@triton.jit
def layer_norm(x, w, b, y, ncols, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    ok = j < ncols
    v = tl.load(x + row * ncols + j, mask=ok, other=0.0).to(tl.float32)
    mean = tl.sum(v, axis=0) / ncols
    d = tl.where(ok, v - mean, 0.0)
    r = 1.0 / tl.sqrt(tl.sum(d * d, axis=0) / ncols + eps)
    ww = tl.load(w + j, mask=ok).to(tl.float32)
    bb = tl.load(b + j, mask=ok).to(tl.float32)
    tl.store(y + row * ncols + j, (d * r * ww + bb).to(tl.float16), mask=ok)


@triton.jit
def matmul_masked(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """C[M, N] = A[M, K] @ B[K, N], row-major f16; any sizes, so every access is masked, as tilec's are."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    kk = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(0, K, BK):
        k = k0 + kk
        ta = tl.load(a + im[:, None] * K + k[None, :], mask=(im[:, None] < M) & (k[None, :] < K), other=0.0)
        tb = tl.load(b + k[:, None] * N + jn[None, :], mask=(k[:, None] < K) & (jn[None, :] < N), other=0.0)
        acc = tl.dot(ta, tb, acc)
    tl.store(c + im[:, None] * N + jn[None, :], acc.to(tl.float16), mask=(im[:, None] < M) & (jn[None, :] < N))


@triton.jit
def matmul(a, b, c, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """The same for sizes that tiles divide, without masks."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    kk = tl.arange(0, BK)
    pa = a + im[:, None] * K + kk[None, :]
    pb = b + kk[:, None] * N + jn[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for _ in range(0, K, BK):
        acc = tl.dot(tl.load(pa), tl.load(pb), acc)
        pa += BK
        pb += BK * N
    tl.store(c + im[:, None] * N + jn[None, :], acc.to(tl.float16))


@triton.jit
def attention(q, k, v, o, L, scale, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """o = softmax(q @ k^T * scale) @ v for each head, all [heads, L, D] f16, L a multiple of the tiles; `scale` includes log2(e)."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    dd = tl.arange(0, D)
    head = tl.program_id(1) * L * D
    tq = tl.load(q + head + im[:, None] * D + dd[None, :])
    jn = tl.arange(0, BN)
    pk = k + head + jn[None, :] * D + dd[:, None]
    pv = v + head + jn[:, None] * D + dd[None, :]
    top = tl.full((BM,), -float("inf"), dtype=tl.float32)
    total = tl.zeros((BM,), dtype=tl.float32)
    acc = tl.zeros((BM, D), dtype=tl.float32)
    for _ in range(0, L, BN):
        scores = tl.dot(tq, tl.load(pk)) * scale
        new = tl.maximum(top, tl.max(scores, axis=1))
        p = tl.exp2(scores - new[:, None])
        shrink = tl.exp2(top - new)
        total = total * shrink + tl.sum(p, axis=1)
        acc = tl.dot(p.to(tl.float16), tl.load(pv), acc * shrink[:, None])
        top = new
        pk += BN * D
        pv += BN * D
    tl.store(o + head + im[:, None] * D + dd[None, :], (acc / total[:, None]).to(tl.float16))


@triton.jit
def matmul_even(a, b, c, N, K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """As `matmul`: with masks Triton's interpreter takes three times as long.

    K is a constant, as the interpreter of Triton 3.6 can't count to a variable with NumPy 2.4.
    """
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    kk = tl.arange(0, BK)
    pa = a + im[:, None] * K + kk[None, :]
    pb = b + kk[:, None] * N + jn[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for _ in range(0, K, BK):
        acc = tl.dot(tl.load(pa), tl.load(pb), acc)
        pa += BK
        pb += BK * N
    tl.store(c + im[:, None] * N + jn[None, :], acc.to(tl.float16))


@triton.jit
def quantized_matmul(a, q, s, c, M, N, K, GROUP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """C = A[M, K] @ decoded q, int32 [K / 8, N] of 8 nibbles along K, s f16 [K / GROUP, N]: (nibble - 8) * scale. BK <= GROUP."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    kk = tl.arange(0, BK)
    pa = a + im[:, None] * K + kk[None, :]
    pq = q + (kk[:, None] // 8) * N + jn[None, :]
    shift = (kk[:, None] % 8) * 4
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(0, K, BK):
        w = ((tl.load(pq) >> shift) & 15) - 8
        sc = tl.load(s + (k0 // GROUP) * N + jn)
        acc = tl.dot(tl.load(pa), w.to(tl.float16) * sc[None, :], acc)
        pa += BK
        pq += (BK // 8) * N
    tl.store(c + im[:, None] * N + jn[None, :], acc.to(tl.float16))


_SIZES = {"M": "i32", "N": "i32", "K": "i32"}

# kernel: its signature, its constants, its options
CONFIGURATIONS: dict[str, tuple[dict[str, str], dict[str, int], dict[str, int]]] = {
    "vector_add": ({"a": "*fp32", "b": "*fp32", "c": "*fp32", "n": "i32"}, {"BLOCK": 1024}, {"num_warps": 4}),
    "softmax": ({"x": "*fp32", "y": "*fp32", "ncols": "i32"}, {"BLOCK": 1024}, {"num_warps": 4}),
    "layer_norm": (
        {"x": "*fp16", "w": "*fp16", "b": "*fp16", "y": "*fp16", "ncols": "i32", "eps": "fp32"},
        {"BLOCK": 1024},
        {"num_warps": 4},
    ),
    "matmul": (
        {"a": "*fp16", "b": "*fp16", "c": "*fp16", "N": "i32", "K": "i32"},
        {"BM": 128, "BN": 128, "BK": 32},
        {"num_warps": 4, "num_stages": 3},
    ),
    "matmul_v3": (
        {"a": "*fp16", "b": "*fp16", "c": "*fp16", **_SIZES},
        {"BM": 64, "BN": 64, "BK": 32},
        {"num_warps": 4, "num_stages": 3},
    ),
    "attention": (
        {"q": "*fp16", "k": "*fp16", "v": "*fp16", "o": "*fp16", "L": "i32", "scale": "fp32"},
        {"D": 64, "BM": 128, "BN": 64},
        {"num_warps": 4, "num_stages": 3},
    ),
    "quantized_matmul": (
        {"a": "*fp16", "q": "*i32", "s": "*fp16", "c": "*fp16", **_SIZES},
        {"GROUP": 128, "BM": 16, "BN": 128, "BK": 64},
        {"num_warps": 4, "num_stages": 4},
    ),
}


def source(name: str) -> tuple[Any, dict[str, int]]:
    """What triton.compile takes: pointers and sizes are marked divisible by 16, as Triton's launcher does for aligned tensors."""
    from triton.compiler import ASTSource

    kernel = globals()[{"matmul_v3": "matmul_masked"}.get(name, name)]
    signature, constants, options = CONFIGURATIONS[name]
    types = {arg: signature.get(arg, "constexpr") for arg in kernel.arg_names}
    divisible = {(i,): [["tt.divisibility", 16]] for i, arg in enumerate(kernel.arg_names) if types[arg] == "i32" or types[arg][0] == "*"}
    return ASTSource(fn=kernel, signature=types, constexprs=dict(constants), attrs=divisible), dict(options)
