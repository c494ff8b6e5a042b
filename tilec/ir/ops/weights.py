"""Weights of few bits: their conversion with a scale, and tensors of them that are packed for their consumer's registers (`packing`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.errors import require
from tilec.ir import packing
from tilec.ir.core import Builder, Value
from tilec.ir.dtypes import DType, bf16, f16, u32
from tilec.ir.layout import Layout
from tilec.ir.ops.arith import Cast
from tilec.ir.ops.base import Elementwise, Operand, Placed, describe, match, tile
from tilec.ir.ops.views import TensorView
from tilec.ir.packing import COLUMNS, ROWS, WORDS, Packed
from tilec.ir.types import TensorType, TileType


class Dequantize(Elementwise):
    """`(w - zero) * scale`, rounded once, to the type of `scale`: f16 or bf16.

    `w` is a tile of weights of any type, `scale` and `zero` broadcast to it. `zero` holds whole numbers, such that w - zero is a value of
    the result's type. `below` is your word that |scale| < below, on which the compiler chooses the cheapest exact instructions: under
    2.0 floats take one multiplication, under 2**-8 integers one multiply-add (2**-5 would do for most). The interpreter checks it.
    """

    builtin = "dequantize"
    x: Value
    scale: Value
    zero: tuple[Value, ...]
    below: float

    def element(self, *types: DType) -> DType:
        _, scale, *zero = types
        require(scale in (f16, bf16), f"weights are scaled in f16 or bf16, not in {scale}", hint="convert the scale: tc.cast(scale, f16)")
        require(all(z == scale for z in zero), f"the zero point is {zero[0] if zero else None}, but the scale {scale}", hint=f"convert it: tc.cast(zero, {scale})")
        require(self.below > 0, f"scales are not below {self.below}")
        return scale

    def eval(self, ctx: Any, x: Any, scale: Any, *zero: Any) -> Any:
        return scaled(ctx, x, scale, zero, self.below)

    @classmethod
    def build(cls, b: Builder, w: Operand, scale: Operand, zero: Operand | None = None, *, below: float = 2.0) -> Value:  # type: ignore[override]
        kind = tile(scale).dtype if isinstance(scale, Value) else f16
        x, *rest = match(b, w, scale, *([] if zero is None else [zero]), dtype=kind)
        return b.emit(cls(x, rest[0], tuple(rest[1:]), float(below)))


def scaled(ctx: Any, x: Any, scale: Any, zero: Any, below: float) -> Any:
    """The rule of `Dequantize` on carriers; the caller rounds."""
    largest = float(np.abs(scale).max(initial=0.0))
    ctx.fail(np.abs(scale) >= below, f"a scale of {largest:.6g} is not below {below}, as tc.dequantize was told")
    wide = x.astype(np.float64)
    for z in zero:
        ctx.fail(z != np.rint(z), "a zero point is no whole number")
        wide = wide - z
    return wide * scale


class PackedWords(TensorView):
    """The words of a packed tensor [..., K, N]: u32 [..., K / 128, N / 32, 128 bits], each tile of 128 by 32 as `packing` lays it out."""

    builtin = None

    def infer(self) -> TensorType:
        base = self.memory.type
        require(isinstance(base, TensorType) and isinstance(base.dtype, Packed), f"only packed tensors have words, not {describe(base)}")
        require(len(self.extents) == base.rank + 1, f"the words of {describe(base)} have {base.rank + 1} axes")
        return TensorType(u32, self.shape_of_extents(), strided=True)

    def eval(self, ctx: Any, memory: Any, offset: Any, *rest: Any) -> Any:
        kind = self.memory.type.dtype
        words = memory.recoded("words", lambda values: kind.words(kind.encode(values)).astype(u32.carrier))
        return words.view(offset, rest[: len(self.extents)], rest[len(self.extents) :])


class Unpack(Placed):
    """Weights [K, N] of words [K / 128, N / 32, 128 bits], as `dtype`: the packed type's own, or that which it is packed for, then as
    `Dequantize` scales them if there is a `scale`."""

    words: Value
    scale: tuple[Value, ...]
    zero: tuple[Value, ...]
    packed: DType
    dtype: DType
    below: float

    def infer(self) -> TileType:
        kind, words = self.packed, self.words.type
        require(isinstance(kind, Packed), f"{kind} is not packed")
        assert isinstance(kind, Packed)
        good = words.dtype == u32 and words.rank == 3 and words.shape[2] == WORDS * kind.bits
        require(good, f"words of {kind} are a tile u32[_, _, {WORDS * kind.bits}], not {describe(words)}")
        if self.layout is not None:
            require(words.layout == words_layout(self.layout, kind.bits), f"{self.layout} is not the layout of these words")
        result = self.placed(self.dtype, (words.shape[0] * ROWS, words.shape[1] * COLUMNS))
        for v in (*self.scale, *self.zero):
            require(v.type == result, f"a scale of {v.type} does not fit weights {result}")
        return result

    def eval(self, ctx: Any, words: Any, *rest: Any) -> Any:
        values = self.packed.decode(self.packed.codes_of(words.astype(np.uint32)))  # type: ignore[attr-defined]
        return scaled(ctx, values, rest[0], rest[1:], self.below) if rest else values


def words_layout(layout: Layout, bits: int) -> Layout | None:
    """The layout of the words of a tile that is held in `layout`: each thread has those of its own weights, in order; None if there is none."""
    tiles = layout.try_divide(packing.fragment())
    if tiles is None:
        return None
    return tiles.unsqueeze(2) * packing.vectors(bits)


def cast_of(x: Value, dtype: DType, b: Builder) -> Value:
    """A conversion, unless it is of that type."""
    return x if x.type.dtype == dtype else b.emit(Cast(x, dtype))
