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

B, K, N = tc.dims("B K N")
P, S, T, U = tc.types("P S T U")

PACKED = tc.packed(int4)


@tc.kernel(warps=4)
def packing(codes: S[B, K, N], w: P[B, K, N], *, S: DType = uint8, P: DType = PACKED, T: DType = int4, U: DType = tc.uint4, bk: int = 128, bn: int = 128):
    """Codes of T, as T or as numbers of uint8, into a packed tensor of T; U is T's width of unsigned integers."""
    tc.grid(cdiv(K, bk), cdiv(N, bn), B)
    i, j, b = tc.block_index(0) * bk, tc.block_index(1) * bn, tc.block_index(2)
    tc.store(w, [b, i, j], as_type(tc.load(codes, [b, i, j], [bk, bn]), T, U))


@tc.kernel(warps=4)
def packing_transposed(
    codes: S[B, N, K], w: P[B, K, N],
    *, S: DType = uint8, P: DType = PACKED, T: DType = int4, U: DType = tc.uint4, bk: int = 128, bn: int = 128,
):  # fmt: skip
    """The same of codes [B, N, K]."""
    tc.grid(cdiv(K, bk), cdiv(N, bn), B)
    i, j, b = tc.block_index(0) * bk, tc.block_index(1) * bn, tc.block_index(2)
    tc.store(w, [b, i, j], as_type(tc.load(codes, [b, j, i], [bk, bn], dims=[2, 1]), T, U))


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
    given = codes if isinstance(codes, Tensor) else read(codes)
    require(given is not None and len(given.shape) >= 2, f"codes [..., K, N] are wanted, not {type(codes).__name__}")
    require(dtype is not None or isinstance(given, Tensor), "codes, one a byte, need a type to be packed as", hint="as in pack(codes, 'int4')")
    kind = tc.dtype(given.dtype if dtype is None else dtype)
    kind = kind if isinstance(kind, Packed) else tc.packed(kind, to)
    held = numpy_type(given.dtype) if isinstance(given, np.ndarray) else given.dtype
    require(held in (uint8, kind.element), f"codes of {kind.element} are uint8, one a byte, or {kind.element}, not {held}")
    shape = (*given.shape[:-2], given.shape[-1], given.shape[-2]) if transposed else given.shape
    made = tc.tensor(room(given, kind.nbytes(shape)) if out is None else out, kind, shape)
    constants = {"S": held, "P": kind, "T": kind.element, "U": tc.dtype(f"uint{kind.bits}")}
    if made.size:
        (packing_transposed if transposed else packing)(*map(stack, (Tensor(of(given), held, given.shape), made)), **constants)
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


def of(array: Any) -> Any:
    """The memory of a tensor, or the array itself."""
    return array.buffer if isinstance(array, Tensor) else array


def stack(w: Tensor) -> Tensor:
    """With one leading axis."""
    return Tensor(w.buffer, w.dtype, (math.prod(w.shape[:-2]), *w.shape[-2:]))


def room(like: Any, size: int) -> Any:
    """Bytes where an array lies."""
    memory = of(like)
    if not isinstance(memory, DeviceArray):
        return np.empty(size, np.uint8)
    require(is_torch(memory.owner), "memory on a GPU is made by PyTorch", hint="pass an array of bytes of your library: out=...")
    return torch().empty(size, dtype=torch().uint8, device=memory.owner.device)
