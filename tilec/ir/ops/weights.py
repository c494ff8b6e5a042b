"""Weights of few bits: their conversion with a scale, and tensors of them that are packed for their consumer's registers (`packing`)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tilec.errors import Code, require
from tilec.ir import packing
from tilec.ir.bitmaps import BYTE
from tilec.ir.core import Builder, Value
from tilec.ir.dtypes import Codebook, DType, bf16, f16, u32
from tilec.ir.layout import Layout
from tilec.ir.ops.arith import Cast
from tilec.ir.ops.base import Elementwise, Operand, Placed, describe, match, tile
from tilec.ir.ops.memory import Load
from tilec.ir.ops.views import TensorView
from tilec.ir.packing import COLUMNS, COMPUTED, ROWS, WORDS, Packed
from tilec.ir.types import TensorType, TileType


class Dequantize(Elementwise):
    """`(w - zero) * scale`, rounded once, to the type of `scale`: f16 or bf16. (The entries of a codebook are rounded to it first.)

    `w` is a tile of weights of any type, `scale` and `zero` broadcast to it. `zero` holds whole numbers, such that w - zero is a value of
    the result's type; codebooks take none. `below` is your word that |scale| < below, on which the compiler chooses the cheapest exact
    instructions: under 2.0 floats take one multiplication, under 2**-8 integers one multiply-add. The interpreter checks both. A number as `scale` has the type
    `dtype`, by default that which the weights are packed for, or f16; powers of two may cost nothing.

    Example:
        r = tc.dequantize(w, b / 4)  # = w * (b / 4)
        tc.dequantize(w, s)          # error: weights are scaled in f16 or bf16, not in f32
    """

    builtin = "dequantize"
    x: Value
    scale: Value
    zero: tuple[Value, ...]
    below: float

    def element(self, *types: DType) -> DType:
        weight, scale, *zero = types
        require(scale in (f16, bf16), f"weights are scaled in f16 or bf16, not in {scale}", hint="convert the scale: tc.cast(scale, f16)")
        for z in zero:
            require(z == scale, f"the zero point is {z}, but the scale {scale}", hint=f"convert it: tc.cast(zero, {scale})")
        hint = "subtract it from the entries; or write (tc.cast(w, f16) - zero) * scale, which rounds twice"
        require(not zero or not isinstance(weight, Codebook), f"{weight} is a codebook, whose entries less a zero point are not exact", hint=hint)
        require(self.below > 0, f"scales are not below {self.below}")
        return scale

    def eval(self, ctx: Any, x: Any, scale: Any, *zero: Any) -> Any:
        return scaled(ctx, self.result.type.dtype, x, scale, zero, self.below)

    @classmethod
    def build(  # type: ignore[override]
        cls, b: Builder, w: Operand, scale: Operand, zero: Operand | None = None, *, below: float = 2.0, dtype: DType | None = None
    ) -> Value:
        source = w.owner.memory.type.dtype if isinstance(w, Value) and isinstance(w.owner, Load) else None
        to = source.to if isinstance(source, Packed) else f16
        kind = tile(scale).dtype if isinstance(scale, Value) else dtype or to
        x, *rest = match(b, w, scale, *([] if zero is None else [zero]), dtype=kind)
        return b.emit(cls(x, rest[0], tuple(rest[1:]), float(below)))


def scaled(ctx: Any, to: DType, x: Any, scale: Any, zero: Any, below: float) -> Any:
    """The rule of `Dequantize` to a type on carriers; the caller rounds the product."""
    largest = float(np.abs(scale).max(initial=0.0))
    enough = 2.0 ** np.ceil(np.log2(largest + 1))
    ctx.fail(np.abs(scale) >= below, f"a scale of {largest:.6g} is not below {below:g}, as tc.dequantize was told: below={enough:g} is", Code.PROMISE)
    wide = to.round(x).astype(np.float64)
    for z in zero:
        ctx.fail(z != np.rint(z), "a zero point is no whole number: convert the weights, subtract it, and scale", Code.PROMISE)
        wide = wide - z
        ctx.fail(to.round(wide) != wide, f"a weight less its zero point is no number of {to}: convert the weights, subtract it, and scale", Code.PROMISE)
    return wide * scale


class Ldexp(Elementwise):
    """`w * 2**power` as `dtype`, one of the types of 8 bits that products are made of: int8, uint8, e4m3 or e5m2. It is exact: each must be a value of `dtype`,
    which the interpreter checks.

    Weights that are packed for such a type come out of their words for least with the `power` of their type, as in
    `tc.ldexp(w, tc.packed(int4, int8).power, int8)`, which is 4; whoever uses the product divides by it.

    Example:
        r = f16(tc.ldexp(w, 2, tc.int8))  # = w * 4
        tc.ldexp(w, 2, tc.f16)            # error: a weight times a power of two is int8, uint8, float8_e4m3 or float8_e5m2, not f16
    """

    builtin = "ldexp"
    x: Value
    power: int
    dtype: DType

    def element(self, *types: DType) -> DType:
        kinds = [kind for kind in COMPUTED if kind.bits == BYTE]
        named = f"{', '.join(map(str, kinds[:-1]))} or {kinds[-1]}"
        require(self.dtype in kinds, f"a weight times a power of two is {named}, not {self.dtype}", hint="tc.dequantize(w, 2**n) is for f16 and bf16")
        require(types[0].bits <= BYTE, f"{types[0]} is no type of up to 8 bits", hint="multiply: w * 2**n")
        return self.dtype

    def eval(self, ctx: Any, x: Any) -> Any:
        wide = np.asarray(x, np.float64) * 2.0**self.power
        held = np.asarray(self.dtype.decode(self.dtype.encode(wide)))
        ctx.fail((held != wide) & ~np.isnan(wide), f"a weight times 2**{self.power} is no number of {self.dtype}", Code.PROMISE)
        return held

    @classmethod
    def build(cls, b: Builder, w: Value, power: int, dtype: DType) -> Value:  # type: ignore[override]
        return b.emit(cls(w, power, dtype))


class PackedWords(TensorView):
    """The words of a packed tensor [..., K, N]: u32 [..., K / 128, N / 32, 128 bits], each tile of 128 by 32 as `packing` lays it out."""

    def infer(self) -> TensorType:
        base = self.memory.type
        require(isinstance(base, TensorType) and isinstance(base.dtype, Packed), f"only packed tensors have words, not {describe(base)}")
        require(len(self.extents) == base.rank + 1, f"the words of {describe(base)} have {base.rank + 1} axes")
        return TensorType(u32, self.shape_of_extents(), strided=True)

    def eval(self, ctx: Any, memory: Any, offset: Any, *rest: Any) -> Any:
        kind = self.memory.type.dtype
        rows, columns = memory.data.shape[-2:]
        words = memory.recoded(
            "words",
            lambda values: kind.words(kind.encode(values, saturate=False)).astype(u32.carrier),
            lambda words: kind.decode(kind.codes_of(words)[..., :rows, :columns]),
        )
        return words.view(offset, rest[: len(self.extents)], rest[len(self.extents) :])


class Unpack(Placed):
    """Weights [K, N] of words [K / 128, N / 32, 128 bits], as `dtype`: the packed type's own, or that which it is packed for: then as
    `Dequantize` scales them if there is a `scale`, or times 2**`power` of the packed type if it has 8 bits."""

    words: Value
    scale: tuple[Value, ...]
    zero: tuple[Value, ...]
    packed: DType
    dtype: DType
    below: float

    coalesced: ClassVar[bool] = True  # the layout that it wants of its words is as good as any for global memory

    def infer(self) -> TileType:
        kind, words = self.packed, self.words.type
        require(isinstance(kind, Packed), f"{kind} is not packed")
        assert isinstance(kind, Packed)
        good = words.dtype == u32 and words.rank == 3 and words.shape[2] == WORDS * kind.bits
        require(good, f"words of {kind} are a tile u32[_, _, {WORDS * kind.bits}], not {describe(words)}")
        if self.layout is not None:
            require(words.layout == words_layout(self.layout, kind), f"{self.layout} is not the layout of these words")
        result = self.placed(self.dtype, (words.shape[0] * ROWS, words.shape[1] * COLUMNS))
        for v in (*self.scale, *self.zero):
            require(v.type == result, f"a scale of {v.type} does not fit weights {result}")
        return result

    def eval(self, ctx: Any, words: Any, *rest: Any) -> Any:
        values = self.packed.decode(self.packed.codes_of(words.astype(np.uint32)))  # type: ignore[attr-defined]
        if self.dtype == self.packed.to and self.dtype.bits == BYTE:  # type: ignore[attr-defined]
            return (np.asarray(values, np.float64) * 2.0**self.packed.power).astype(self.dtype.carrier)  # type: ignore[attr-defined]
        return scaled(ctx, self.dtype, values, rest[0], rest[1:], self.below) if rest else values


class Pack(Placed):
    """The words u32 [K / 128, N / 32, 128 bits] of weights [K, N] of the type that `packed` packs: the inverse of `Unpack`."""

    x: Value
    packed: DType

    def infer(self) -> TileType:
        kind, x = self.packed, self.x.type
        require(isinstance(kind, Packed), f"{kind} is not packed")
        good = x.dtype == kind.element and x.rank == 2 and x.shape[0] % ROWS == x.shape[1] % COLUMNS == 0
        require(good, f"what is packed are whole tiles of {kind.element}, not {describe(x)}")
        assert isinstance(kind, Packed)
        if self.layout is not None:
            require(self.layout == words_layout(x.layout, kind), f"{self.layout} is not the layout of these words")
        return self.placed(u32, (x.shape[0] // ROWS, x.shape[1] // COLUMNS, WORDS * kind.bits))

    def eval(self, ctx: Any, x: Any) -> Any:
        return self.packed.words(self.packed.encode(x, saturate=False)).astype(u32.carrier)  # type: ignore[attr-defined]


def words_layout(layout: Layout, kind: Packed) -> Layout | None:
    """The layout of the words of a tile that is held in `layout`: each thread has those of its own weights, in order; None if there is none."""
    tiles = layout.try_divide(kind.fragment)
    if tiles is None:
        return None
    return tiles.unsqueeze(2) * packing.vectors(kind.bits)


def cast_of(x: Value, dtype: DType, b: Builder) -> Value:
    """A conversion, unless it is of that type."""
    return x if x.type.dtype == dtype else b.emit(Cast(x, dtype))
