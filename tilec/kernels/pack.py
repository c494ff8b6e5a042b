"""Weights packed where they lie, by one kernel for all types: what `tilec.quant.pack` does in NumPy, at the speed of a GPU's memory.

    w = pack(codes, "int4")                          # codes u8 [..., K, N] on a GPU, one a byte; w is a tc.Tensor there
    w = pack(codes, "int4", transposed=True)         # of [..., N, K], as PyTorch keeps weights
    w = pack(tc.tensor(buffer, "int4", [K, N]))      # compact codes, row-major
    again = unpack(w)                                # compact codes again

A store to a packed tensor is a word of the language, so the kernel says what is loaded and where it goes, and no more.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tilec as tc
from tilec import DType, Tensor, cdiv, f16, int4, uint8
from tilec.errors import require
from tilec.ir.arrays import DeviceArray, is_torch, numpy_type, read, torch
from tilec.ir.packing import Packed

B, K, N, I, J = tc.dims("B K N I J")
P, S, T, U = tc.types("P S T U")

PACKED = tc.packed(int4)


@tc.kernel(warps=4)
def packing(
    codes: S[B, I, J], w: P[B, K, N],
    *, S: DType = uint8, P: DType = PACKED, T: DType = int4, U: DType = tc.uint4, transposed: bool = False, bk: int = 128, bn: int = 128,
):  # fmt: skip
    """Codes of T [B, K, N], or [B, N, K] if `transposed`, as T or as numbers of uint8, into a packed tensor of T; U is T's width of unsigned integers."""
    tc.grid(cdiv(K, bk), cdiv(N, bn), B)
    tc.assume((I == N) & (J == K) if transposed else (I == K) & (J == N))
    i, j, b = tc.block_index(0) * bk, tc.block_index(1) * bn, tc.block_index(2)
    tile = tc.load(codes, [b, j, i], [bk, bn], dims=[2, 1]) if transposed else tc.load(codes, [b, i, j], [bk, bn])
    tc.store(w, [b, i, j], as_type(tile, T, U))


@tc.kernel(warps=4)
def unpacking(w: P[B, K, N], codes: S[B, K, N], *, S: DType = int4, P: DType = PACKED, bk: int = 128, bn: int = 128):
    """The inverse, to compact codes."""
    tc.grid(cdiv(K, bk), cdiv(N, bn), B)
    i, j, b = tc.block_index(0) * bk, tc.block_index(1) * bn, tc.block_index(2)
    tc.store(codes, [b, i, j], tc.load(w, [b, i, j], [bk, bn]))


@tc.function
def as_type(codes, T, U):
    """Elements of T, or numbers that are their codes, as elements of T."""
    if codes.dtype == T:
        return codes
    return tc.bitcast(tc.cast(codes, U), T)


def pack(codes: Any, dtype: DType | str | None = None, to: DType | str = f16, *, transposed: bool = False, out: Any = None) -> Tensor:
    """Codes [..., K, N] as a tensor of `tilec.packed(dtype, to)`, in the memory that they lie in; [..., N, K] if `transposed`.

    `codes` are uint8, one a byte and below 2**bits, as an array of any library that kernels take, or a row-major `Tensor` of the type. `out` is
    memory for the words, which is made if PyTorch or NumPy holds the codes. On a GPU nothing is waited for, and nobody looks at codes that are
    no weights (NaN, infinities) or too large. Raises TileError for types, shapes and places that do not fit; weights on the host are packed by
    `tilec.quant.pack`, which needs no kernel.
    """
    given = array_of(codes)
    require(len(given.shape) >= 2, f"codes [..., K, N] are wanted, not of shape {list(given.shape)}")
    require(dtype is not None or isinstance(codes, Tensor), "codes, one a byte, need a type to be packed as", hint="as in pack(codes, 'int4')")
    kind, held = tc.dtype(given.dtype if dtype is None else dtype), given.dtype
    kind = kind if isinstance(kind, Packed) else tc.packed(kind, to)
    require(held in (uint8, kind.element), f"codes of {kind.element} are uint8, one a byte, or {kind.element}, not {held}")
    shape = (*given.shape[:-2], given.shape[-1], given.shape[-2]) if transposed else given.shape
    made = tc.tensor(room(given, kind.nbytes(shape)) if out is None else out, kind, shape)
    if made.size:
        constants = {"S": held, "P": kind, "T": kind.element, "U": tc.dtype(f"uint{kind.bits}"), "transposed": transposed}
        packing(*map(stack, (given, made)), **constants)
    return made


def unpack(w: Tensor, out: Any = None) -> Tensor:
    """Packed weights as a row-major tensor of the same codes, in the memory that they lie in: the inverse of `pack`. `out` as there, in whole words
    of 32 bits."""
    require(isinstance(w.dtype, Packed), f"{w!r} is not packed")
    kind = w.dtype.element
    made = tc.tensor(room(w, -(-kind.nbytes(w.shape) // 4) * 4) if out is None else out, kind, w.shape)
    if made.size:
        unpacking(*map(stack, (w, made)), S=kind, P=w.dtype)
    return made


def array_of(x: Any) -> Tensor:
    """An array of any library as a tensor on its memory. Raises TileError for types that tilec does not have."""
    found = read(x)
    require(found is not None, f"an array is wanted, not a {type(x).__name__}")
    if isinstance(found, Tensor):
        return found
    assert found is not None
    kind = numpy_type(found.dtype) if isinstance(found, np.ndarray) else found.dtype
    require(isinstance(kind, DType), f"tilec has no type {kind}")
    return Tensor(found, kind, found.shape)


def stack(w: Tensor) -> Tensor:
    """With one leading axis."""
    return Tensor(w.buffer, w.dtype, (math.prod(w.shape[:-2]), *w.shape[-2:]))


def room(like: Tensor, size: int) -> Any:
    """Bytes where a tensor lies."""
    memory = like.buffer
    if not isinstance(memory, DeviceArray):
        return np.empty(size, np.uint8)
    require(is_torch(memory.owner), "memory on a GPU is made by PyTorch", hint="pass an array of bytes of your library: out=...")
    return torch().empty(size, dtype=torch().uint8, device=memory.owner.device)
