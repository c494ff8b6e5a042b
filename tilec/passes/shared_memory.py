"""Gives every shared tile a layout, and then a place.

    %s = shared dtype=f16 shape=[64, 32]                       ->  %s = shared dtype=f16 shape=[64, 32] layout=shared(..)
    %s = shared dtype=f16 shape=[64, 32] layout=shared(..)     ->  %s = shared dtype=f16 shape=[64, 32] layout=shared(..) offset=0

Tiles stated by the author lie on multiples of 1024 bytes, two of them in the same place if a barrier keeps their uses apart (`lifetimes`); the
scratch tiles of layout conversions, none of which outlives the barrier before the next, share one place behind them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

from tilec.errors import TileError
from tilec.ir.core import Function, Op, Rewriter, Value
from tilec.ir.ops.base import describe
from tilec.ir.ops.memory import Shared
from tilec.ir.ops.warps import InWarps
from tilec.ir.shared import SharedLayout, row_major, swizzled
from tilec.ir.target import Hardware
from tilec.ir.types import SharedType
from tilec.passes.lifetimes import places

ALIGNMENT = 1024  # of every tile, so that swizzles up to the hardware's widest start at a period
VECTOR = 16  # bytes of the widest access


def lay_out_shared(function: Function, target: Hardware) -> Function:
    return LayOutShared().run(function)


class LayOutShared(Rewriter):
    """Rows of 16-byte chunks, swizzled so that a column of chunks meets no bank conflict; other tiles plain row-major."""

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, Shared) and op.layout is None:
            return self.clone(op, layout=stacked(op.shape, max(8, op.dtype.bits)))
        return self.clone(op)


def stacked(shape: tuple[int, ...], bits: int) -> SharedLayout:
    """The layout of a stack of matrices, each swizzled alike and on a multiple of the swizzle's period, so that any can be cut out."""
    if len(shape) < 2:
        return row_major(*shape)
    matrix = swizzled(shape[-2:], bits)
    period = matrix.swizzle.period if matrix.swizzle else 1
    strides = list(matrix.strides)
    size = -(-matrix.size // period) * period
    for n in reversed(shape[:-2]):
        strides.insert(0, size)
        size *= n
    return SharedLayout(shape, tuple(strides), matrix.swizzle)


def place_shared(function: Function, target: Hardware) -> Function:
    return PlaceShared(target).run(function)


class PlaceShared(Rewriter):
    def __init__(self, target: Hardware):
        super().__init__()
        self.target = target

    def run(self, function: Function) -> Function:
        tiles = [op for op in function.walk() if isinstance(op, Shared)]
        self.types = {op: SharedType(op.dtype, op.shape, op.layout) for op in tiles}
        groups = [op for op in function.walk() if isinstance(op, InWarps)]
        own = {op for group in groups for op in group.walk()}  # groups run at once: their scratch tiles lie apart
        kept = {op: self.types[op].nbytes for op in tiles if not op.scratch or op in own}
        self.offsets: dict[Shared, int] = places(function, kept, ALIGNMENT)
        end = max((-(-(at + kept[op]) // ALIGNMENT) * ALIGNMENT for op, at in self.offsets.items()), default=0)
        self.offsets.update((t, end) for t in tiles if t not in kept)
        self.refuse_too_much(function, tiles)
        return super().run(function)

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, Shared):
            return self.clone(op, offset=self.offsets[op])
        return self.clone(op)

    def refuse_too_much(self, function: Function, tiles: list[Shared]) -> None:
        """An error that names each buffer and its bytes if the block asks for more than the target has."""
        try:
            with function.loc or nullcontext():
                self.target.check(function.threads, needed(at + self.types[op].nbytes for op, at in self.offsets.items()))
        except TileError as error:
            for op in tiles:
                if op.loc is not None:
                    what = "scratch for a change of layout" if op.scratch else f"shared tile {op.result.name}".rstrip()
                    error.notes.append((f"{self.types[op].nbytes} bytes: {what}, {describe(SharedType(op.dtype, op.shape))}", op.loc))
            raise




def shared_size(function: Function) -> int:
    """Bytes of shared memory that a function with placed tiles needs."""
    return needed(op.offset + op.result.type.nbytes for op in function.walk() if isinstance(op, Shared) and op.offset is not None)


def needed(ends: Iterable[int]) -> int:
    """The bytes up to the last end, in whole vectors: LLVM loads three neighbours as a vector of four."""
    return -(-max(ends, default=0) // VECTOR) * VECTOR
