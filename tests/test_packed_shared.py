"""Shared tiles of types that fill no bytes: packed exactly, at any bit offset, against NumPy, in every way there is."""

import re

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from examples import example
from tilec import cdiv, f16, f32, float4_e2m1, float6_e3m2, i32, int2, int3, int4, int5, int6, int7, uint1
from tilec.ir.shared import row_major
from tilec.ir.types import SharedType

M, N, K = tc.dims("M N K")
W = tc.types("W")
RNG = np.random.default_rng()
ALL = [uint1, int2, int3, int4, int5, int6, int7, float4_e2m1, float6_e3m2]


def values(dtype, *shape):
    """Random values of a type."""
    codes = RNG.integers(0, 2**dtype.bits, shape)
    return dtype.decode(codes.astype(np.uint8)).astype(np.float64)


def tensor(x, dtype):
    return tc.Tensor.from_values(x, dtype)


@pytest.mark.parametrize("dtype", ALL, ids=str)
@pytest.mark.parametrize("shape", [(16, 64), (3, 5), (2, 7, 9)])
def test_bytes_of_a_tile(dtype, shape):
    """Whole words of 32 bits, and none for nothing."""
    assert SharedType(dtype, shape, row_major(*shape)).nbytes == (np.prod(shape) * dtype.bits + 31) // 32 * 4


@tc.kernel(warps=2)
def turned(w: W[16, N], y: W[16, N], z: W[N, 16], part: W[5, 7], *, W: tc.DType = int4, N: int = 64):
    """A tile through shared memory: whole, transposed, a part at odd places; a slice and its neighbour."""
    tc.grid(1)
    s = tc.shared(W, [3, 16, N])
    v = tc.load(w, [0, 0], [16, N])
    tc.store(s[0], tc.load(w, [0, 0], [16, N]))
    tc.store(s[2], v)
    tc.sync()
    tc.store(s[1], tc.load(s[2]))
    tc.sync()
    tc.store(y, [0, 0], tc.load(s[1]))
    tc.store(z, [0, 0], tc.load(s[0], [0, 0], [N, 16], dims=[1, 0]))
    tc.sync()
    tc.store(s[1], [3, 2], tc.load(s[0], [6, 3], [5, 7]))
    tc.sync()
    tc.store(part, [0, 0], tc.load(s[1], [3, 2], [5, 7]))


@pytest.mark.parametrize("n", [64, 33])
@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_through_shared_memory(dtype, n):
    w = values(dtype, 16, n)
    outputs = [tensor(np.zeros(shape), dtype) for shape in ((16, n), (n, 16), (5, 7))]
    everywhere(turned, (tensor(w, dtype), *outputs), {"y": w, "z": w.T, "part": w[6:11, 3:10]}, W=dtype, N=n)


def test_whole_words_are_moved_as_such():
    ptx = turned.compile(W=int4, N=64).ptx
    assert re.search(r"st\.shared\.(v\d\.)?b32", ptx)
    assert re.search(r"ld\.shared\.(v\d\.)?b32", ptx)
    assert turned.compile(W=int4, N=64).resources.shared_bytes == 3 * 16 * 64 // 2


@tc.kernel(warps=2)
def swizzled(w: int4[2, 32, 32], y: int4[2, 32, 32], *, swizzle: tuple = (3, 3, 3)):
    tc.grid(1)
    s = tc.shared(int4, [2, 32, 32], strides=[1056, 32, 1], swizzle=swizzle)
    tc.store(s, tc.load(w, [0, 0, 0], [2, 32, 32]))
    tc.sync()
    tc.store(y, [0, 0, 0], tc.load(s))


@pytest.mark.parametrize("swizzle", [(3, 3, 3), (2, 4, 3), (1, 5, 4), (2, 2, 4)])
def test_words_that_a_swizzle_parts(swizzle):
    """A thread's elements come in more words than lie together in the shared tile."""
    w = values(int4, 2, 32, 32)
    everywhere(swizzled, (tensor(w, int4), tensor(np.zeros(w.shape), int4)), {"y": w}, swizzle=swizzle)


@tc.kernel(warps=2)
def fetched(w: W[M, N], y: f32[M, N], *, W: tc.DType = int6, bm: int = 8, bn: int = 64, stages: int = 2):
    tc.grid(cdiv(M, bm))
    i = tc.block_index(0) * bm
    s = tc.shared(W, [stages, bm, bn])
    tc.copy_async(s[0], w, [i, 0])
    tc.commit()
    for r in range(cdiv(N, bn)):
        tc.wait(0)
        tc.sync()
        if (r + 1) * bn < N:
            tc.copy_async(s[(r + 1) % stages], w, [i, (r + 1) * bn])
        tc.commit()
        tc.store(y, [i, r * bn], f32(tc.load(s[r % stages])))


@pytest.mark.parametrize(("m", "n"), [(16, 256), (11, 192), (5, 37), (9, 96)])
@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_asynchronous_copies(dtype, m, n):
    """Rows of whole words, and of any bits."""
    w = values(dtype, m, n)
    everywhere(fetched, (tensor(w, dtype), np.full((m, n), np.nan, np.float32)), {"y": w}, W=dtype)


COPIES = [(int4, 32, 16), (int2, 64, 16), (int6, 64, 16), (int6, 16, 4), (int3, 128, 16), (int5, 32, 4), (int4, 8, 4)]


@pytest.mark.parametrize(("dtype", "bn", "size"), COPIES, ids=str)
def test_copies_of_4_and_16_bytes(dtype, bn, size):
    sizes = {int(n) for n in re.findall(r"cp\.async\.c[ag]\.shared\.global \[[^\]]*\], \[[^\]]*\], (\d+)", fetched.compile(W=dtype, bn=bn).ptx)}
    assert sizes == {size}
    assert fetched.compile(W=dtype, bn=bn, bm=8).resources.shared_bytes == 2 * 8 * bn * dtype.bits // 8


@tc.kernel(warps=1)
def chosen(w: W[8, 24], rows: i32[8], y: W[8, 24], z: W[8, 24], c: W[8, 24], *, W: tc.DType = int3):
    """Masks, indices, and copies under a mask."""
    tc.grid(1)
    s, t, u = tc.shared(W, [8, 24]), tc.shared(W, [2, 8, 24]), tc.shared(W, [8, 24])
    v, order = tc.load(w, [0, 0], [8, 24]), tc.load(rows, [0], [8])
    odd = tc.arange(24) % 3 == 1
    zero = tc.cast(tc.zeros(f32, [8, 24]), W)
    tc.store(s, v)
    tc.store(t[1], zero)
    tc.copy_async(u, w, [0, 0], mask=(order > 3)[:, None])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(t[1], v, mask=odd)
    tc.scatter(s, [order, 0], v)
    tc.sync()
    tc.store(y, [0, 0], tc.load(t[1]))
    tc.store(z, [0, 0], tc.gather(s, [order, 0], [8, 24], mask=odd, other=zero))
    tc.store(c, [0, 0], tc.load(u))


@pytest.mark.parametrize("dtype", [uint1, int3, int4, int7, float6_e3m2], ids=str)
def test_masks_and_indices(dtype):
    w, rows = values(dtype, 8, 24), RNG.permutation(8).astype(np.int32)
    odd = np.arange(24) % 3 == 1
    outputs = [tensor(np.zeros((8, 24)), dtype) for _ in range(3)]
    expected = {"y": np.where(odd, w, 0), "z": np.where(odd, w, 0), "c": np.where(rows[:, None] > 3, w, 0)}
    everywhere(chosen, (tensor(w, dtype), rows, *outputs), expected, W=dtype)


@tc.kernel(warps=1)
def sliced(w: W[6, 2, 5], k: i32, y: f32[5], z: f32[5], *, W: tc.DType = int7):
    """Rows of 5 elements: slices begin at any bit, known when the kernel runs."""
    tc.grid(1)
    s = tc.shared(W, [6, 2, 5])
    for i in range(6):
        tc.store(s[i], tc.load(w, [i, 0, 0], [2, 5]))
    tc.sync()
    tc.store(y, [0], f32(tc.load(s[k, 1])))
    tc.store(z, [0], f32(tc.load(s[5 - k][0])))


@pytest.mark.parametrize("dtype", [int3, int5, int7, float4_e2m1], ids=str)
@pytest.mark.parametrize("k", [0, 3, 5])
def test_slices_at_any_bit(dtype, k):
    w = values(dtype, 6, 2, 5)
    everywhere(sliced, (tensor(w, dtype), k, np.zeros(5, np.float32), np.zeros(5, np.float32)), {"y": w[k, 1], "z": w[5 - k, 0]}, W=dtype)


@tc.kernel(warps=1)
def apart(x: tc.f16[3, 8], y: tc.f16[3, 8]):
    """Slices 24 bytes apart, that are 16 bytes long."""
    tc.grid(1)
    s = tc.shared(tc.f16, [3, 8], strides=[12, 1])
    for i in range(3):
        tc.store(s[i], tc.load(x, [i, 0], [8]))
    tc.sync()
    for i in range(3):
        tc.store(y, [i, 0], tc.load(s[i]))


def test_slices_that_begin_between_vectors():
    x = RNG.standard_normal((3, 8)).astype(np.float16)
    everywhere(apart, (x, np.zeros_like(x)), {"y": x})


@pytest.mark.parametrize("dtype", [int6, int4, int3, int5, uint1, float6_e3m2], ids=str)
def test_loads_of_loops_are_copied_ahead(dtype):
    """With rows of whole words the weights of a product go through a ring of packed tiles."""
    kernel = example("quantized_matmul")
    args, expected = kernel.example_args(None, W=dtype, m=32, n=128, k=128)
    report = kernel.simulate(*args, W=dtype)
    assert report.findings == []
    assert np.linalg.norm(args[3] - expected["y"]) <= 2**-8 * np.linalg.norm(expected["y"])
    for stage, late in (("pipelined", True), ("placed", True)):
        args[3][...] = np.nan
        kernel.interpret(*args, W=dtype, stage=stage, late_copies=late)
        assert np.linalg.norm(args[3] - expected["y"]) <= 2**-8 * np.linalg.norm(expected["y"])
    tiles = [t for t in kernel.compile(W=dtype).metadata["shared"] if t["type"].startswith(f"{dtype}[")]
    assert [t["bytes"] for t in tiles] == [3 * 32 * 64 * dtype.bits // 8]


@tc.kernel(warps=2)
def accumulated(x: f16[M, K], w: W[K, N], y: f32[M, N], *, W: tc.DType = int5, bn: int = 64, bk: int = 32):
    """Rows of K and N that hang over the edge; tiles whose rows fill words, or none."""
    tc.grid(cdiv(N, bn))
    j = tc.block_index(0) * bn
    acc = tc.zeros(f32, [16, bn])
    for k in tc.range(0, K, bk, stages=3):
        acc = tc.dot(tc.load(x, [0, k], [16, bk]), f16(tc.load(w, [k, j], [bk, bn])), acc)
    tc.store(y, [0, j], acc)


@pytest.mark.parametrize(("k", "n", "bn"), [(96, 128, 64), (40, 160, 32), (33, 72, 64)])
@pytest.mark.parametrize("bits", range(1, 8))
def test_products_with_rows_of_any_width(bits, k, n, bn):
    """Sums of products of small integers are exact in f32."""
    dtype = tc.dtype(f"int{bits}")
    w, x = values(dtype, k, n), RNG.integers(-8, 9, (16, k)).astype(np.float16)
    y = np.full((16, n), np.nan, np.float32)
    everywhere(accumulated, (x, tensor(w, dtype), y), {"y": x.astype(np.float64) @ w}, W=dtype, bn=bn)
