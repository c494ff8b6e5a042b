"""Triton kernels of the corpus, and `FIXTURES`: how each is compiled. Needs Triton; the tests themselves only need the PTX made from it."""

import triton
import triton.language as tl
from triton.language.extra.cuda import libdevice

# ---------------------------------------------------------------- elementwise


@triton.jit
def vadd(a, b, c, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = i < n
    tl.store(c + i, tl.load(a + i, mask=ok) + tl.load(b + i, mask=ok), mask=ok)


@triton.jit
def axpby(a, b, c, n, BLOCK: tl.constexpr):
    """In the element type itself: packed or single f16/bf16 arithmetic."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y = tl.load(a + i, mask=i < n), tl.load(b + i, mask=i < n)
    tl.store(c + i, x * y - tl.maximum(x, y), mask=i < n)


@triton.jit
def gelu_tanh_erf(x, g, t, e, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n)
    tl.store(g + i, 0.5 * v * (1 + tl.erf(v * 0.7071067811865476)), mask=i < n)
    tl.store(t + i, libdevice.tanh(v), mask=i < n)
    tl.store(e + i, libdevice.pow(tl.abs(v) + 0.5, 1.7), mask=i < n)


@triton.jit
def trig_log(x, s, c, lg, r, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n)
    tl.store(s + i, tl.sin(v), mask=i < n)
    tl.store(c + i, tl.cos(v), mask=i < n)
    tl.store(lg + i, tl.log(tl.abs(v) + 0.25), mask=i < n)
    tl.store(r + i, tl.rsqrt(tl.abs(v) + 0.25) + tl.floor(v) + tl.ceil(v * 3), mask=i < n)


@triton.jit
def int_division(a, b, q, r, h, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y = tl.load(a + i, mask=i < n, other=1), tl.load(b + i, mask=i < n, other=1)
    tl.store(q + i, x // y, mask=i < n)
    tl.store(r + i, x % y, mask=i < n)
    tl.store(h + i, tl.umulhi(x.to(tl.uint64), y.to(tl.uint64)).to(tl.int64), mask=i < n)


@triton.jit
def dropout(x, y, n, p, seed, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n)
    keep = tl.rand(seed, i) > p
    tl.store(y + i, tl.where(keep, v / (1 - p), 0.0), mask=i < n)


@triton.jit
def casts(x, e4, e5, b, h, u, n, BLOCK: tl.constexpr):
    """f32 to bytes and halves and back; fp8 is done in software before sm_89."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0.0)
    tl.store(e5 + i, v.to(tl.float8e5).to(tl.float32), mask=i < n)
    tl.store(e4 + i, (v * 3).to(tl.int8).to(tl.float32), mask=i < n)
    tl.store(b + i, v.to(tl.bfloat16), mask=i < n)
    tl.store(h + i, v.to(tl.float16), mask=i < n)
    tl.store(u + i, (v * 1000).to(tl.int64), mask=i < n)


@triton.jit
def fp8_round_trip(x, e4, e5, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0.0)
    tl.store(e4 + i, v.to(tl.float8e4nv), mask=i < n)
    tl.store(e5 + i, v.to(tl.float8e5).to(tl.float16), mask=i < n)


@triton.jit
def inline_asm(a, b, c, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y = tl.load(a + i, mask=i < n, other=0), tl.load(b + i, mask=i < n, other=0)
    z = tl.inline_asm_elementwise("lop3.b32 $0, $1, $2, 0x55AA55AA, 0xE8;", "=r,r,r", [x, y], dtype=tl.int32, is_pure=True, pack=1)
    tl.store(c + i, z, mask=i < n)


@triton.jit(noinline=True)
def _collatz_step(x):
    if x % 2 == 0:
        x = x // 2
    else:
        x = 3 * x + 1
    return x


@triton.jit
def collatz(x, steps):
    """A loop whose trip count depends on data, around a call that is not inlined."""
    v = tl.load(x + tl.program_id(0))
    count = 0
    while v > 1:
        count += 1
        v = _collatz_step(v)
    tl.store(steps + tl.program_id(0), count)


# ---------------------------------------------------------------- rows: reductions, scans, sorts


@triton.jit
def softmax(x, y, ncols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    v = tl.load(x + row * ncols + j, mask=j < ncols, other=-float("inf"))
    e = tl.exp(v - tl.max(v, axis=0))
    tl.store(y + row * ncols + j, e / tl.sum(e, axis=0), mask=j < ncols)


@triton.jit
def softmax_bf16(x, y, ncols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    v = tl.load(x + row * ncols + j, mask=j < ncols, other=-float("inf")).to(tl.float32)
    e = tl.exp(v - tl.max(v, axis=0))
    tl.store(y + row * ncols + j, (e / tl.sum(e, axis=0)).to(tl.bfloat16), mask=j < ncols)


@triton.jit
def layernorm(x, w, b, y, mean_out, rstd_out, ncols, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    ok = j < ncols
    v = tl.load(x + row * ncols + j, mask=ok, other=0.0).to(tl.float32)
    mean = tl.sum(v, axis=0) / ncols
    d = tl.where(ok, v - mean, 0.0)
    r = 1.0 / tl.sqrt(tl.sum(d * d, axis=0) / ncols + eps)
    tl.store(mean_out + row, mean)
    tl.store(rstd_out + row, r)
    y_ = d * r * tl.load(w + j, mask=ok).to(tl.float32) + tl.load(b + j, mask=ok).to(tl.float32)
    tl.store(y + row * ncols + j, y_.to(tl.float16), mask=ok)


@triton.jit
def layernorm_bwd(dy, x, w, mean, rstd, dx, dw, db, ncols, BLOCK: tl.constexpr):
    """Gradient of a row; those of w and b are summed over rows by atomics."""
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    ok = j < ncols
    g = tl.load(dy + row * ncols + j, mask=ok, other=0.0).to(tl.float32)
    r = tl.load(rstd + row)
    xh = tl.where(ok, (tl.load(x + row * ncols + j, mask=ok, other=0.0).to(tl.float32) - tl.load(mean + row)) * r, 0.0)
    gw = g * tl.load(w + j, mask=ok, other=0.0).to(tl.float32)
    c1 = tl.sum(gw * xh, axis=0) / ncols
    c2 = tl.sum(gw, axis=0) / ncols
    tl.store(dx + row * ncols + j, ((gw - xh * c1 - c2) * r).to(tl.float16), mask=ok)
    tl.atomic_add(dw + j, g * xh, mask=ok)
    tl.atomic_add(db + j, g, mask=ok)


@triton.jit
def rmsnorm(x, w, y, ncols, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    ss = tl.zeros((BLOCK,), tl.float32)
    for k in range(0, ncols, BLOCK):
        j = k + tl.arange(0, BLOCK)
        v = tl.load(x + row * ncols + j, mask=j < ncols, other=0.0).to(tl.float32)
        ss += v * v
    r = tl.rsqrt(tl.sum(ss, axis=0) / ncols + eps)
    for k in range(0, ncols, BLOCK):
        j = k + tl.arange(0, BLOCK)
        v = tl.load(x + row * ncols + j, mask=j < ncols, other=0.0).to(tl.float32)
        wv = tl.load(w + j, mask=j < ncols, other=0.0).to(tl.float32)
        tl.store(y + row * ncols + j, (v * r * wv).to(tl.bfloat16), mask=j < ncols)


@triton.jit
def cross_entropy(logits, labels, loss, dlogits, ncols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    v = tl.load(logits + row * ncols + j, mask=j < ncols, other=-float("inf"))
    label = tl.load(labels + row)
    m = tl.max(v, axis=0)
    s = tl.sum(tl.exp(v - m), axis=0)
    lse = m + tl.log(s)
    tl.store(loss + row, lse - tl.load(logits + row * ncols + label))
    tl.store(dlogits + row * ncols + j, tl.exp(v - lse) - tl.where(j == label, 1.0, 0.0), mask=j < ncols)


@triton.jit
def reduce_axes(x, s0, m1, p1, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M), tl.arange(0, N)
    v = tl.load(x + i[:, None] * N + j[None, :])
    tl.store(s0 + j, tl.sum(v, axis=0))
    tl.store(m1 + i, tl.min(v, axis=1))
    tl.store(p1 + i, tl.xor_sum((v * 1000).to(tl.int32), axis=1))


@triton.jit
def argmax_rows(x, hi, lo, ncols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    tl.store(hi + row, tl.argmax(tl.load(x + row * ncols + j, mask=j < ncols, other=-float("inf")), axis=0))
    tl.store(lo + row, tl.argmin(tl.load(x + row * ncols + j, mask=j < ncols, other=float("inf")), axis=0))


@triton.jit
def sort_rows(x, up, down, top, N: tl.constexpr, K: tl.constexpr):
    row = tl.program_id(0)
    v = tl.load(x + row * N + tl.arange(0, N))
    tl.store(up + row * N + tl.arange(0, N), tl.sort(v))
    tl.store(down + row * N + tl.arange(0, N), tl.sort(v, descending=True))
    tl.store(top + row * K + tl.arange(0, K), tl.topk(v, K))


@triton.jit
def cumsum_rows(x, s, rev, N: tl.constexpr):
    row = tl.program_id(0)
    v = tl.load(x + row * N + tl.arange(0, N))
    tl.store(s + row * N + tl.arange(0, N), tl.cumsum(v, axis=0))
    tl.store(rev + row * N + tl.arange(0, N), tl.cumsum(v, axis=0, reverse=True))


@triton.jit
def _linear(a1, b1, a2, b2):
    return a1 * a2, b1 * a2 + b2


@triton.jit
def linear_recurrence(a, b, h, N: tl.constexpr):
    """h[t] = a[t] h[t-1] + b[t], by an associative scan."""
    row = tl.program_id(0)
    j = row * N + tl.arange(0, N)
    _, y = tl.associative_scan((tl.load(a + j), tl.load(b + j)), 0, _linear)
    tl.store(h + j, y)


@triton.jit
def histogram(x, out, n, BLOCK: tl.constexpr, BINS: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0)
    tl.atomic_add(out + tl.arange(0, BINS), tl.histogram(v, BINS, mask=i < n))


@triton.jit
def histogram_atomics(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out + tl.load(x + i, mask=i < n, other=0), 1, mask=i < n)


# ---------------------------------------------------------------- moving data


@triton.jit
def transpose(x, y, M, N, BM: tl.constexpr, BN: tl.constexpr):
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    j = tl.program_id(1) * BN + tl.arange(0, BN)
    v = tl.load(x + i[:, None] * N + j[None, :], mask=(i[:, None] < M) & (j[None, :] < N), other=0.0)
    tl.store(y + j[:, None] * M + i[None, :], tl.trans(v), mask=(j[:, None] < N) & (i[None, :] < M))


@triton.jit
def embedding(table, ids, out, D: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    d = tl.arange(0, D)
    tl.store(out + i[:, None] * D + d[None, :], tl.load(table + tl.load(ids + i)[:, None] * D + d[None, :]))


@triton.jit
def gather_in_tile(x, idx, y, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M), tl.arange(0, N)
    p = i[:, None] * N + j[None, :]
    tl.store(y + p, tl.gather(tl.load(x + p), tl.load(idx + p), 0))


@triton.jit
def rope(x, cos, sin, y, S, D: tl.constexpr):
    """x is [S, D] f16, pairs (j, j + D/2) are rotated."""
    s = tl.program_id(0)
    j = tl.arange(0, D // 2)
    c, sn = tl.load(cos + s * (D // 2) + j), tl.load(sin + s * (D // 2) + j)
    x1, x2 = tl.load(x + s * D + j).to(tl.float32), tl.load(x + s * D + D // 2 + j).to(tl.float32)
    tl.store(y + s * D + j, (x1 * c - x2 * sn).to(tl.float16))
    tl.store(y + s * D + D // 2 + j, (x2 * c + x1 * sn).to(tl.float16))


@triton.jit
def interleave_split(x, y, z, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(x + N + i)
    tl.store(y + tl.arange(0, 2 * N), tl.interleave(a, b))
    lo, hi = tl.split(tl.reshape(tl.load(x + tl.arange(0, 2 * N)), (N, 2)))
    tl.store(z + i, lo - hi)
    tl.store(z + N + i, tl.flip(lo, 0) + hi)


# ---------------------------------------------------------------- atomics and locks


@triton.jit
def atomics(x, add, mx, mn, an, ori, xo, n, BLOCK: tl.constexpr):
    """Integer atomics, all onto a few words."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0)
    tl.atomic_add(add + i % 4, v, mask=i < n)
    tl.atomic_max(mx + i % 4, v, mask=i < n)
    tl.atomic_min(mn + i % 4, v, mask=i < n)
    tl.atomic_and(an + i % 4, v, mask=i < n)
    tl.atomic_or(ori + i % 4, v, mask=i < n)
    tl.atomic_xor(xo + i % 4, v, mask=i < n)


@triton.jit
def float_atomics(x, h, s, mx, mn, old, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0.0)
    tl.atomic_add(h + i % 64, v.to(tl.float16), mask=i < n)
    tl.atomic_add(s + i % 64, v, mask=i < n, sem="relaxed")
    tl.atomic_max(mx + i % 64, v, mask=i < n)
    tl.atomic_min(mn + i % 64, v, mask=i < n)
    if tl.program_id(0) == 0:
        tl.store(old, tl.atomic_xchg(old + 1, 7))


@triton.jit
def spinlock_sum(x, lock, total, BLOCK: tl.constexpr):
    """Every block adds its tile to one accumulator in turn, under a lock taken by compare-and-swap."""
    i = tl.arange(0, BLOCK)
    v = tl.load(x + tl.program_id(0) * BLOCK + i)
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    t = tl.load(total + i)
    tl.store(total + i, t + v)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


# ---------------------------------------------------------------- matrix products


@triton.jit
def mm(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, ACC: tl.constexpr, PREC: tl.constexpr):
    """C = A @ B, row-major, sizes multiples of the tile."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    kk = tl.arange(0, BK)
    pa, pb = a + im[:, None] * K + kk[None, :], b + kk[:, None] * N + jn[None, :]
    acc = tl.zeros((BM, BN), dtype=ACC)
    for _ in range(0, K, BK):
        acc = tl.dot(tl.load(pa), tl.load(pb), acc, input_precision=PREC, out_dtype=ACC)
        pa += BK
        pb += BK * N
    tl.store(c + im[:, None] * N + jn[None, :], acc.to(c.dtype.element_ty))


@triton.jit
def mm_masked(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """As mm, any sizes."""
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
def mm_tn(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """C = A^T @ B^T + bias-like epilogue: A is [K, M], B is [N, K]."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        acc = tl.dot(tl.load(a + k[None, :] * M + im[:, None]), tl.load(b + jn[None, :] * K + k[:, None]), acc)
    tl.store(c + im[:, None] * N + jn[None, :], tl.maximum(acc, 0.0))


@triton.jit
def bmm(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    z = tl.program_id(2).to(tl.int64)
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        acc = tl.dot(tl.load(a + z * M * K + im[:, None] * K + k[None, :]), tl.load(b + z * K * N + k[:, None] * N + jn[None, :]), acc)
    tl.store(c + z * M * N + im[:, None] * N + jn[None, :], acc)


@triton.jit
def mm_splitk(a, b, c, M, N, K, SPLIT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(tl.program_id(2) * BK, K, BK * SPLIT):
        k = k0 + tl.arange(0, BK)
        acc = tl.dot(tl.load(a + im[:, None] * K + k[None, :]), tl.load(b + k[:, None] * N + jn[None, :]), acc)
    tl.atomic_add(c + im[:, None] * N + jn[None, :], acc, sem="relaxed")


@triton.jit
def w4a16(a, q, s, c, M, N, K, GROUP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """C = A @ dequant(q): q int32 [K/8, N] (8 nibbles along K), s f16 [K/GROUP, N], value (nibble - 8) * scale; BK <= GROUP."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    kk = tl.arange(0, BK)
    pa, pq = a + im[:, None] * K + kk[None, :], q + (kk[:, None] // 8) * N + jn[None, :]
    shift = (kk[:, None] % 8) * 4
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(0, K, BK):
        w = ((tl.load(pq) >> shift) & 15) - 8
        sc = tl.load(s + (k0 // GROUP) * N + jn)
        acc = tl.dot(tl.load(pa), w.to(tl.float16) * sc[None, :], acc)
        pa += BK
        pq += (BK // 8) * N
    tl.store(c + im[:, None] * N + jn[None, :], acc.to(tl.float16))


@triton.jit
def w4a16_join(a, q, s, c, M, N, K, GROUP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """As w4a16, each packed word loaded once and expanded in registers; q is int32 [N, K/8]."""
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    jn = tl.program_id(1) * BN + tl.arange(0, BN)
    pa = a + im[:, None] * K + tl.arange(0, BK)[None, :]
    pq = q + jn[:, None] * (K // 8) + tl.arange(0, BK // 8)[None, :]
    shift = (tl.arange(0, 8) * 4)[None, None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(0, K, BK):
        w = tl.reshape(((tl.load(pq)[:, :, None] >> shift) & 15) - 8, (BN, BK)).to(tl.float16)
        sc = tl.load(s + (k0 // GROUP) * N + jn)
        acc = tl.dot(tl.load(pa), tl.trans(w * sc[:, None]), acc)
        pa += BK
        pq += BK // 8
    tl.store(c + im[:, None] * N + jn[None, :], acc.to(tl.float16))


@triton.jit
def flash(q, k, v, o, S, scale, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    """Attention forward; q, k, v, o are [heads, S, D] f16, S a multiple of both tiles."""
    base = tl.program_id(1) * S * D
    im = tl.program_id(0) * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    tq = tl.load(q + base + im[:, None] * D + d[None, :])
    m = tl.full((BM,), -float("inf"), dtype=tl.float32)
    l = tl.zeros((BM,), dtype=tl.float32)
    acc = tl.zeros((BM, D), dtype=tl.float32)
    end = (tl.program_id(0) + 1) * BM if CAUSAL else S
    for j0 in range(0, end, BN):
        jn = j0 + tl.arange(0, BN)
        x = tl.dot(tq, tl.load(k + base + jn[None, :] * D + d[:, None])) * (scale * 1.4426950408889634)
        if CAUSAL:
            x = tl.where(im[:, None] >= jn[None, :], x, -float("inf"))
        m2 = tl.maximum(m, tl.max(x, axis=1))
        p = tl.exp2(x - m2[:, None])
        al = tl.exp2(m - m2)
        l = l * al + tl.sum(p, axis=1)
        acc = tl.dot(p.to(tl.float16), tl.load(v + base + jn[:, None] * D + d[None, :]), acc * al[:, None])
        m = m2
    tl.store(o + base + im[:, None] * D + d[None, :], (acc / l[:, None]).to(tl.float16))


@triton.jit
def mlp(x, w1, w2, y, BM: tl.constexpr, D: tl.constexpr, H: tl.constexpr):
    """Two products in a row: relu(x @ w1) @ w2, the first result re-laid out as an operand."""
    i, d, h = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, D), tl.arange(0, H)
    t = tl.dot(tl.load(x + i[:, None] * D + d[None, :]), tl.load(w1 + d[:, None] * H + h[None, :]))
    r = tl.maximum(t, 0.0).to(tl.float16)
    tl.store(y + i[:, None] * D + d[None, :], tl.dot(r, tl.load(w2 + h[:, None] * D + d[None, :])))


@triton.jit
def print_assert(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=1)
    tl.device_assert(v > 0, "x must be positive")
    s = tl.sum(v, axis=0)
    tl.device_print("sum", s)
    tl.store(y + tl.program_id(0), s)


# ---------------------------------------------------------------- how each is compiled

_MM = "M:i32 N:i32 K:i32"


def _mm(ty, out, acc, prec="ieee", bm=64, bn=64, bk=32, warps=4, stages=3, arch=80):
    consts = {"BM": bm, "BN": bn, "BK": bk, "ACC": acc, "PREC": prec}
    return mm, f"a:*{ty} b:*{ty} c:*{out} {_MM}", consts, {"num_warps": warps, "num_stages": stages}, arch


def _mm3(fn, warps=4, stages=3, bm=64, bn=64, bk=32, sig=f"a:*fp16 b:*fp16 c:*fp16 {_MM}", arch=80, **consts):
    return fn, sig, {"BM": bm, "BN": bn, "BK": bk} | consts, {"num_warps": warps, "num_stages": stages}, arch


def _el(fn, sig, warps=4, arch=80, **consts):
    return fn, sig, consts, {"num_warps": warps}, arch


_F32 = "a:*fp32 b:*fp32 c:*fp32 n:i32"
_W4 = f"a:*fp16 q:*i32 s:*fp16 c:*fp16 {_MM}"
_FA = "q:*fp16 k:*fp16 v:*fp16 o:*fp16 S:i32 scale:fp32"
_LN = "x:*fp16 w:*fp16 b:*fp16 y:*fp16 mean_out:*fp32 rstd_out:*fp32 ncols:i32 eps:fp32"

# fixture name -> kernel, signature, constants, options, compute capability
FIXTURES = {
    "vadd": _el(vadd, _F32, BLOCK=1024),
    "vadd_sm120": _el(vadd, _F32, BLOCK=1024, arch=120),
    "axpby_f16": _el(axpby, "a:*fp16 b:*fp16 c:*fp16 n:i32", BLOCK=512),
    "axpby_bf16": _el(axpby, "a:*bf16 b:*bf16 c:*bf16 n:i32", BLOCK=512),
    "axpby_f64": _el(axpby, "a:*fp64 b:*fp64 c:*fp64 n:i32", BLOCK=256),
    "axpby_bf16_sm90": _el(axpby, "a:*bf16 b:*bf16 c:*bf16 n:i32", BLOCK=512, arch=90),
    "gelu_tanh_erf": _el(gelu_tanh_erf, "x:*fp32 g:*fp32 t:*fp32 e:*fp32 n:i32", BLOCK=256),
    "trig_log": _el(trig_log, "x:*fp32 s:*fp32 c:*fp32 lg:*fp32 r:*fp32 n:i32", BLOCK=256),
    "int_division": _el(int_division, "a:*i64 b:*i64 q:*i64 r:*i64 h:*i64 n:i32", BLOCK=256),
    "int_division_i32": _el(int_division, "a:*i32 b:*i32 q:*i32 r:*i32 h:*i64 n:i32", BLOCK=256),
    "dropout": _el(dropout, "x:*fp32 y:*fp32 n:i32 p:fp32 seed:i32", BLOCK=512),
    "casts": _el(casts, "x:*fp32 e4:*fp32 e5:*fp32 b:*bf16 h:*fp16 u:*i64 n:i32", BLOCK=512),
    "fp8_sm89": _el(fp8_round_trip, "x:*fp32 e4:*fp8e4nv e5:*fp16 n:i32", BLOCK=512, arch=89),
    "inline_asm": _el(inline_asm, "a:*i32 b:*i32 c:*i32 n:i32", BLOCK=256),
    "collatz": _el(collatz, "x:*i32 steps:*i32", warps=1),
    "softmax": _el(softmax, "x:*fp32 y:*fp32 ncols:i32", BLOCK=1024),
    "softmax_sm90": _el(softmax, "x:*fp32 y:*fp32 ncols:i32", warps=8, BLOCK=1024, arch=90),
    "softmax_bf16": _el(softmax_bf16, "x:*bf16 y:*bf16 ncols:i32", warps=1, BLOCK=256),
    "layernorm": _el(layernorm, _LN, BLOCK=512),
    "layernorm_bwd": _el(layernorm_bwd, "dy:*fp16 x:*fp16 w:*fp16 mean:*fp32 rstd:*fp32 dx:*fp16 dw:*fp32 db:*fp32 ncols:i32", BLOCK=512),
    "rmsnorm": _el(rmsnorm, "x:*bf16 w:*bf16 y:*bf16 ncols:i32 eps:fp32", BLOCK=256),
    "cross_entropy": _el(cross_entropy, "logits:*fp32 labels:*i32 loss:*fp32 dlogits:*fp32 ncols:i32", BLOCK=512),
    "reduce_axes": _el(reduce_axes, "x:*fp32 s0:*fp32 m1:*fp32 p1:*i32", M=64, N=32),
    "argmax_rows": _el(argmax_rows, "x:*fp32 hi:*i32 lo:*i32 ncols:i32", BLOCK=512),
    "sort_rows": _el(sort_rows, "x:*i32 up:*i32 down:*i32 top:*i32", warps=2, N=128, K=8),
    "cumsum_rows": _el(cumsum_rows, "x:*fp32 s:*fp32 rev:*fp32", N=512),
    "linear_recurrence": _el(linear_recurrence, "a:*fp32 b:*fp32 h:*fp32", N=512),
    "histogram": _el(histogram, "x:*i32 out:*i32 n:i32", BLOCK=1024, BINS=64),
    "histogram_atomics": _el(histogram_atomics, "x:*i32 out:*i32 n:i32", BLOCK=512),
    "transpose": _el(transpose, "x:*fp16 y:*fp16 M:i32 N:i32", BM=32, BN=64),
    "embedding": _el(embedding, "table:*fp16 ids:*i64 out:*fp16", D=64, BLOCK=16),
    "gather_in_tile": _el(gather_in_tile, "x:*fp32 idx:*i32 y:*fp32", M=32, N=32),
    "rope": _el(rope, "x:*fp16 cos:*fp32 sin:*fp32 y:*fp16 S:i32", warps=1, D=128),
    "interleave_split": _el(interleave_split, "x:*fp32 y:*fp32 z:*fp32", N=256),
    "atomics": _el(atomics, "x:*i32 add:*i32 mx:*i32 mn:*i32 an:*i32 ori:*i32 xo:*i32 n:i32", BLOCK=256),
    "float_atomics": _el(float_atomics, "x:*fp32 h:*fp16 s:*fp32 mx:*fp32 mn:*fp32 old:*i32 n:i32", BLOCK=256),
    "spinlock_sum": _el(spinlock_sum, "x:*fp32 lock:*i32 total:*fp32", BLOCK=128),
    "print_assert": _el(print_assert, "x:*i32 y:*i32 n:i32", warps=1, BLOCK=64),
    "mm_f16": _mm("fp16", "fp16", tl.float32),
    "mm_f16_2stages": _mm("fp16", "fp16", tl.float32, bm=64, bn=32, stages=2, warps=2),
    "mm_f16_4stages": _mm("fp16", "fp32", tl.float32, bm=128, bn=64, bk=64, stages=4, warps=8),
    "mm_f16_acc16": _mm("fp16", "fp16", tl.float16),
    "mm_bf16": _mm("bf16", "bf16", tl.float32),
    "mm_i8": _mm("i8", "i32", tl.int32, bk=64),
    "mm_tf32": _mm("fp32", "fp32", tl.float32, prec="tf32"),
    "mm_tf32x3": _mm("fp32", "fp32", tl.float32, prec="tf32x3", bm=32, bn=32),
    "mm_f32_fma": _mm("fp32", "fp32", tl.float32, bm=32, bn=32, bk=16),
    "mm_f64": _mm("fp64", "fp64", tl.float64, bm=32, bn=32, bk=16),
    "mm_e4m3_sm89": _mm("fp8e4nv", "fp32", tl.float32, arch=89),
    "mm_e5m2_sm89": _mm("fp8e5", "fp32", tl.float32, arch=89),
    "mm_f16_sm120": _mm("fp16", "fp16", tl.float32, arch=120),
    "mm_f16_sm90_wgmma": _mm("fp16", "fp16", tl.float32, arch=90),
    "mm_masked": _mm3(mm_masked),
    "mm_tn": _mm3(mm_tn, sig=f"a:*fp16 b:*fp16 c:*fp32 {_MM}"),
    "bmm": _mm3(bmm, sig=f"a:*fp16 b:*fp16 c:*fp32 {_MM}", bm=32, bn=64, bk=32),
    "mm_splitk": _mm3(mm_splitk, sig=f"a:*fp16 b:*fp16 c:*fp32 {_MM}", bm=32, bn=32, bk=32, SPLIT=4),
    "w4a16": _mm3(w4a16, sig=_W4, bm=16, bn=64, bk=64, stages=4, GROUP=64),
    "w4a16_join": _mm3(w4a16_join, sig=_W4, bm=16, bn=64, bk=64, stages=4, GROUP=64),
    "flash": (flash, _FA, {"CAUSAL": False, "BM": 64, "BN": 32, "D": 64}, {"num_warps": 4, "num_stages": 3}, 80),
    "flash_causal": (flash, _FA, {"CAUSAL": True, "BM": 64, "BN": 32, "D": 64}, {"num_warps": 4, "num_stages": 2}, 80),
    "mlp": (mlp, "x:*fp16 w1:*fp16 w2:*fp16 y:*fp32", {"BM": 32, "D": 64, "H": 128}, {"num_warps": 4}, 80),
}
