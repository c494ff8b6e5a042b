"""Ops that make tiles and change their shape, order or reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tilec.errors import Code, Loc, TileError, require
from tilec.ir.core import Builder, Effect, Op, Value
from tilec.ir.dtypes import DType, f32, i32
from tilec.ir.layout import Layout
from tilec.ir.ops.base import (
    Broadcast,
    Constant,
    Operand,
    Placed,
    broadcast,
    broadcast_shapes,
    constant,
    describe,
    match,
    show,
    static_shape,
    tile,
)
from tilec.ir.ops.shared_views import permuted, reshaped
from tilec.ir.target import HOW
from tilec.ir.types import SharedType, TileType

__all__ = ["Arange", "Broadcast", "Constant", "Conversions", "ConvertLayout", "Full", "Reshape", "Transpose", "View", "Zeros"]


class Zeros(Op, abstract=True):
    """A tile of zeros.

    Example:
        r = tc.zeros(f32, [8, 16])  # = np.zeros((8, 16))
        tc.zeros(f32, [i])          # error: a tile's shape must be known at compile time
    """

    builtin = "zeros"

    @classmethod
    def build(cls, b: Builder, dtype: DType, shape: Sequence[int]) -> Value:
        return b.emit(Constant(False if dtype.is_bool else 0 if dtype.is_int else 0.0, dtype, static_shape(shape)))


class Full(Op, abstract=True):
    """A tile whose elements all are `value`, a number or a scalar of the tile's type.

    Example:
        r = tc.full(f32, [8], s)  # = np.full(8, s)
        tc.full(i32, [8], s)      # error: the value is f32, but the tile's type is i32
    """

    builtin = "full"

    @classmethod
    def build(cls, b: Builder, dtype: DType, shape: Sequence[int], value: Operand) -> Value:
        if not isinstance(value, Value):
            return constant(b, value, dtype, static_shape(shape))
        given = tile(value)
        require(given.dtype == dtype, f"the value is {describe(given)}, but the tile's type is {dtype}", hint=f"tc.cast(value, {dtype})", code=Code.TYPES_MIX)
        return broadcast(b, value, static_shape(shape))


class Arange(Placed):
    """The integers `start`, `start + 1`, ... below `stop`: a tile of shape [stop - start], i32 unless another type is named.

    Example:
        r = tc.arange(2, 8)  # = np.arange(2, 8)
        tc.arange(8, 8)      # error: arange(8, 8) is empty
    """

    builtin = "arange"
    start: int
    stop: int
    dtype: DType = i32

    def infer(self) -> TileType:
        require(self.stop > self.start, f"arange({self.start}, {self.stop}) is empty", code=Code.COUNT)
        require(self.dtype.is_int and self.dtype.computes, f"arange gives integers that compute, not {self.dtype}", code=Code.UNDEFINED)
        return self.placed(self.dtype, (self.stop - self.start,))

    def eval(self, ctx: Any) -> Any:
        return np.arange(self.start, self.stop, dtype=self.dtype.carrier)[None]

    @classmethod
    def build(cls, b: Builder, start: int, stop: int | None = None, dtype: DType = i32) -> Value:
        for bound in (start, stop):
            require(bound is None or isinstance(bound, int), "the bounds of arange must be known at compile time", code=Code.NOT_STATIC)
        return b.emit(cls(0, start, dtype) if stop is None else cls(start, stop, dtype))


class BroadcastTo(Op, abstract=True):
    """Repeats a tile along new or size-1 axes to a shape, by NumPy's rule.

    Example:
        r = tc.broadcast(x[0], [4, 16])  # = np.broadcast_to(x[0], (4, 16))
        tc.broadcast(x, [8, 8])          # error: do not broadcast
    """

    builtin = "broadcast"

    @classmethod
    def build(cls, b: Builder, x: Operand, shape: Sequence[int]) -> Value:
        value = x if isinstance(x, Value) else match(b, x, dtype=f32 if isinstance(x, float) else i32)[0]
        wanted = static_shape(shape)
        require(broadcast_shapes(tile(value).shape, wanted) == wanted, f"{describe(value.type)} does not broadcast to {show(wanted)}", code=Code.SHAPES)
        return broadcast(b, value, wanted)


class Reshape(Placed):
    """The same elements in row-major order under another shape; one extent may be -1. Of a shared tile it is a view, where its elements lie in steps.

    Example:
        r = tc.reshape(x, [4, -1])  # = x.reshape(4, -1)
        tc.reshape(x, [7, -1])      # error: [8, 16] does not reshape to [7, -1]
    """

    builtin = "reshape"
    x: Value
    shape: tuple[int, ...]

    def infer(self) -> TileType:
        given = tile(self.x)
        require(
            math.prod(self.shape) == given.size,
            f"{show(given.shape)} has {given.size} elements and does not reshape to {show(self.shape)}",
            hint="the products of the extents are equal; one extent may be -1",
            code=Code.RESHAPE,
        )
        return self.placed(given.dtype, self.shape)

    def eval(self, ctx: Any, x: Any) -> Any:
        return x.reshape(x.shape[0], *self.shape)

    @classmethod
    def build(cls, b: Builder, x: Value, shape: Sequence[int]) -> Value:
        shared = isinstance(x, Value) and isinstance(x.type, SharedType)
        given = x.type.shape if shared else tile(x).shape
        wanted = list(shape)
        if wanted.count(-1) == 1:
            rest, size = -math.prod(wanted), math.prod(given)
            require(
                rest and size % rest == 0,
                f"{show(given)} does not reshape to {show(shape)}",
                hint="the products of the extents are equal",
                code=Code.RESHAPE,
            )
            wanted[wanted.index(-1)] = size // rest
        return reshaped(b, x, static_shape(wanted)) if shared else b.emit(cls(x, static_shape(wanted)))


class Transpose(Placed):
    """The axes in another order (reversed by default): result axis i is operand axis `axes[i]`. Of a shared tile it is a view.

    Example:
        r = tc.transpose(x)      # = x.T
        tc.transpose(x, [0, 0])  # error: [0, 0] is no order of the 2 axes
    """

    builtin = "transpose"
    x: Value
    axes: tuple[int, ...]

    def infer(self) -> TileType:
        given = tile(self.x)
        require(sorted(self.axes) == list(range(given.rank)), f"{show(self.axes)} is no order of the {given.rank} axes", code=Code.AXIS)
        return self.placed(given.dtype, [given.shape[a] for a in self.axes])

    def eval(self, ctx: Any, x: Any) -> Any:
        return x.transpose(0, *[a + 1 for a in self.axes])

    @classmethod
    def build(cls, b: Builder, x: Value, axes: Sequence[int] | None = None) -> Value:
        shared = isinstance(x, Value) and isinstance(x.type, SharedType)
        rank = x.type.rank if shared else tile(x).rank
        order = tuple(reversed(range(rank))) if axes is None else tuple(a % rank if -rank <= a < rank else a for a in axes)
        return permuted(b, x, order) if shared else b.emit(cls(x, order))


class View(Op):
    """The same bits of each thread read as another type in another layout.

    Each thread's elements, packed from the least significant bit in register order, are cut anew: a tile of 3 uint8 a thread becomes
    one of 4 int6 a thread. The operand's layout must have been stated. The result's shape is the layout's.

    Example:
        t = tc.load(B, [0], [96], layout=tc.spatial(32).local(3))
        r = i32(tc.view(t, uint6, tc.spatial(32).local(4)))
        # r = np.packbits(np.unpackbits(B, bitorder='little').reshape(128, 6), axis=1, bitorder='little').ravel()
        tc.view(t, uint4, tc.spatial(32).local(4))  # error: each thread holds 24 bits, but the view would hold 16
    """

    builtin = "view"
    x: Value
    dtype: DType
    layout: Layout

    raw = True

    def infer(self) -> TileType:
        given = tile(self.x)
        require(given.layout is not None, "view needs an operand whose layout is stated", hint="as in tc.load(s, layout=...)", code=Code.LAYOUT_FITS)
        assert given.layout is not None
        before, after = given.layout.registers * given.dtype.bits, self.layout.registers * self.dtype.bits
        same = given.layout.threads == self.layout.threads
        if not same or before != after:
            threads = f"the layouts have {given.layout.threads} and {self.layout.threads} threads"
            stated = self.x.owner.loc if isinstance(self.x.owner, Op) else None
            notes = ((f"the operand lies in {given.layout}, as is stated here", stated),) if stated else ()
            raise TileError(threads if not same else f"each thread holds {before} bits, but the view would hold {after}", notes=notes, code=Code.BITS)
        return TileType(self.dtype, self.layout.shape, self.layout, given.group)

    @classmethod
    def build(cls, b: Builder, x: Value, dtype: DType, layout: Layout) -> Value:
        given = x.owner.x if isinstance(x.owner, ConvertLayout) and x.owner.layout is None else x
        tile(given)
        return loosened(b, b.emit(cls(given, dtype, layout)))

    def eval(self, ctx: Any, x: Any) -> Any:
        blocks, threads, _ = x.shape
        source, target = self.x.type.dtype, self.dtype
        bits = (source.encode(x).astype(np.uint64)[..., None] >> np.arange(source.bits, dtype=np.uint64)) & np.uint64(1)
        words = bits.reshape(blocks, threads, self.layout.registers, target.bits) << np.arange(target.bits, dtype=np.uint64)
        return target.decode(words.sum(-1, dtype=np.uint64).astype(f"u{max(1, target.bits // 8)}"))

    def unrounded(self, ctx: Any, *operands: Any) -> None:
        """Bits have no meaning without rounding."""
        return None


class ConvertLayout(Placed):
    """The same tile held by other threads or registers. Inserted by layout inference where two layouts meet.

    Without a layout it stands behind a tile whose layout the author stated: from there on the tile may lie anywhere.
    `because` are the two places that disagree: which made the tile so, and which wants it otherwise. It is no part of what the op is.
    """

    x: Value

    because: ClassVar[tuple[Loc, Loc] | None] = None

    def infer(self) -> TileType:
        given = tile(self.x)
        return self.placed(given.dtype, given.shape)

    def eval(self, ctx: Any, x: Any) -> Any:
        return x


class Conversions(Op):
    """Says how far conversions of layouts may go in the block of statements in which it stands, and in the blocks within: "registers", of each thread
    its own, or "shuffles", between the lanes of a warp. Without it they may go through shared memory.

    Layouts are then chosen so that none goes farther; where that is impossible, the error names the statements that can't go together. Slices and
    concatenations of tiles go through registers where threads hold what they need, and are refused where they don't; single elements, and parts at
    places known at run time, always are. What reductions exchange between threads is no conversion, nor is what products without a matrix instruction
    read from shared memory.

    A block is the kernel's body, or that of a loop or branch at run time, or of a group of warps; it is bound from its first statement on.
    In a helper, an unrolled loop or an `if` on what is known at compile time it binds the block around, as their statements are put there.

    In the example each thread's part of the first product's result is its part of the second's left operand.

    Example:
        tc.conversions("registers")
        r = tc.dot(f16(tc.dot(a, b)), b)  # = (a @ b.astype(np.float32)).astype(np.float16) @ b.astype(np.float32)
        tc.conversions("none")  # error: conversions go through "registers", "shuffles" or "shared memory", not "none"
    """

    builtin = "conversions"
    effect = Effect.DEBUG
    farthest: str

    def infer(self) -> None:
        quoted = [f'"{how}"' for how in HOW]
        known = self.farthest in HOW
        require(known, f'conversions go through {", ".join(quoted[:-1])} or {quoted[-1]}, not "{self.farthest}"', code=Code.LAYOUT)

    def eval(self, ctx: Any) -> None:
        """It says nothing of values."""


class ConvertLanes(Placed):
    """The same tile held by other lanes or registers of the same warps, handed over by shuffles. Lowering makes these of `ConvertLayout`."""

    x: Value

    def infer(self) -> TileType:
        given = tile(self.x)
        require(given.layout is not None and self.layout is not None, "shuffles go from a layout to a layout", code=Code.MALFORMED)
        require(self.layout.suppliers(given.layout) is not None, "an element comes from another warp", code=Code.MALFORMED)
        return self.placed(given.dtype, given.shape)

    def eval(self, ctx: Any, x: Any) -> Any:
        return x


def loosened(b: Builder, x: Value) -> Value:
    """A tile of a stated layout as other ops take it: they are not bound to the layout, only the tile itself is."""
    return x if x.type.layout is None else b.emit(ConvertLayout(x))
