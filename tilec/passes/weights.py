"""Weights: `dequantize`, and tensors packed in the order of their consumer's registers.

    %w = load %p, [%k, %j]                %v = packed_words %p                    %w = load %p, [%k, %j]           %f = cast %w dtype=f16
    %f = dequantize %w, %s        ->      %u = load %v, [%k >> 7, %j >> 5, 0]    %f = dequantize %w, %s     ->    %y = mul %f, %s
                                          %f = unpack %u, %s                      (not packed)

Here a packed tensor becomes the words that it is, whose loads are pipelined like any; what is done to the weights at once joins their unpacking. A store
packs its tile, and stores the words.
Below, the layouts: weights lie as the matrix product that they go to wants its right operand, but for which columns a warp takes, and their words
lie where the weights do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from tilec.errors import Code, require
from tilec.ir import packing
from tilec.ir.bitmaps import BYTE
from tilec.ir.core import Builder, Function, Op, Rewriter, Value
from tilec.ir.dtypes import f32, i32, i64
from tilec.ir.facts import Facts
from tilec.ir.layout import Layout, local, replicated, spatial
from tilec.ir.notes import Refused, say
from tilec.ir.ops.arith import Add, Cast, Lt, Mul, Shr, Sub, Where
from tilec.ir.ops.base import Constant, Elementwise, constant
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import Load, Store
from tilec.ir.ops.pieces import Slice
from tilec.ir.ops.shape import Arange, Reshape, Transpose
from tilec.ir.ops.views import row_major
from tilec.ir.ops.weights import Dequantize, Ldexp, Pack, PackedWords, Unpack, cast_of, words_layout
from tilec.ir.packing import COLUMNS, ROWS, WORDS, Packed
from tilec.ir.target import Fragments, Hardware
from tilec.passes.conflicts import FIXES, Fix
from tilec.passes.layouts import RULES, AssignLayouts, matrix_layouts
from tilec.passes.offers import LIES, STRATEGIES, WISHES
from tilec.passes.simplify import remove_unused

DOWN, ACROSS = ROWS.bit_length() - 1, COLUMNS.bit_length() - 1


def lower_weights(function: Function, target: Hardware) -> Function:
    if not any(isinstance(op, Dequantize | Ldexp) or of_packed(op) for op in function.walk()):
        return function
    return remove_unused(LowerWeights().run(function))


def of_packed(op: Op) -> bool:
    """Whether a packed tensor is read or written."""
    return isinstance(op, Load | Store) and isinstance(op.memory.type.dtype, Packed)


class LowerWeights(Rewriter):
    def run(self, function: Function) -> Function:
        self.facts = Facts(function)
        self.words: dict[Value, Value] = {}
        return super().run(function)

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if of_packed(op):
            with op.loc or nullcontext():
                return self.load(op) if isinstance(op, Load) else self.store(op)  # type: ignore[arg-type, func-returns-value]
        if isinstance(op, Ldexp) or (isinstance(op, Cast) and op.dtype.bits == BYTE and isinstance(self(op.x).owner, Unpack)):
            return self.in_bytes(op)
        if isinstance(op, Cast | Dequantize):
            x = self(op.x).owner
            if isinstance(x, Unpack) and x.packed.direct and not x.scale and x.dtype == x.packed.element and op.result.type.dtype == x.packed.to:  # type: ignore[attr-defined]
                scale, zero, below = ((self(op.scale),), self(op.zero), op.below) if isinstance(op, Dequantize) else ((), (), 1.0)
                return self.b.emit(Unpack(x.words, scale, zero, x.packed, op.result.type.dtype, below))
            if isinstance(x, Unpack) and x.packed.direct:  # type: ignore[attr-defined]
                to = op.result.type.dtype
                say(op.loc, f"weights one by one, as they are packed to be computed in {x.packed.to} and not in {to}: tc.packed({x.dtype}, {to}) would do")  # type: ignore[attr-defined]
        if isinstance(op, Dequantize):
            wide = cast_of(self(op.x), op.scale.type.dtype, self.b)
            for zero in op.zero:
                wide = self.b.emit(Sub(wide, self(zero)))
            return self.b.emit(Mul(wide, self(op.scale)))
        return self.clone(op)

    def in_bytes(self, op: Cast | Ldexp) -> Value:
        """Weights as they come out of their words, if they are packed for the type and times its power of two; else by way of f32."""
        x, power = self(op.x), op.power if isinstance(op, Ldexp) else 0
        if isinstance(x.owner, Unpack):
            made, kind = x.owner, kind_of(x.owner)
            if made.dtype == kind.element and kind.direct and (op.dtype, power) == (kind.to, kind.power):
                return self.b.emit(Unpack(made.words, (), (), kind, kind.to, 1.0))
        if isinstance(op, Ldexp) and power:
            wide = cast_of(x, f32, self.b)
            x = self.b.emit(Mul(wide, constant(self.b, 2.0**power, f32, wide.type.shape)))
        return cast_of(x, op.dtype, self.b)

    def load(self, op: Load) -> Value:
        """The tile of words, and what it holds."""
        kind, places = op.memory.type.dtype, self.places(op)
        shape = (op.shape[0] // ROWS, op.shape[1] // COLUMNS, WORDS * kind.bits)
        words = self.b.emit(Load(self.view(op.memory, kind), places, shape, last(places, 3), None, **op.hints))
        return self.b.emit(Unpack(words, (), (), kind, kind.element, 1.0))

    def store(self, op: Store) -> None:
        """The tile packed, zero bits over the edge."""
        kind, places, tile = op.memory.type.dtype, self.places(op), self(op.value)
        for axis, unit in ((0, ROWS), (1, COLUMNS)):
            extent, size = op.memory.type.shape[axis - 2], tile.type.shape[axis]
            if self.divisor(extent) % unit:
                place = Add.build(self.b, Arange.build(self.b, size), self(op.offsets[axis - 2]))
                inside = Reshape.build(self.b, Lt.build(self.b, place, self.extent(self.b, extent)), (-1, 1)[axis:] + (-1,) * axis)
                tile = Where.build(self.b, inside, tile, kind.edge.item())
        self.b.insert(Store(self.view(op.memory, kind), places, self.b.emit(Pack(tile, kind, None)), last(places, 3), **op.hints))

    def places(self, op: Load | Store) -> tuple[Value, ...]:
        """Where a tile begins among the words."""
        *lead, row, column = self(op.offsets)
        for name, offset, unit in (("row", op.offsets[-2], ROWS), ("column", op.offsets[-1], COLUMNS)):
            known = self.facts.divisor(offset) % unit == 0
            said = f"is {offset.owner.value}" if isinstance(offset.owner, Constant) else "is not known to be one"
            hint = f"count it in tiles, as in i * {unit}, or from a loop in steps of {unit}; tc.assume tells of parameters: tc.assume(n % {unit} == 0)"
            require(known, f"the {name} of a tile of {op.memory.name} is a multiple of {unit}, but here it {said}", hint=hint, code=Code.PACKED_TILE)
        return (*lead, tiles(self.b, row, DOWN), tiles(self.b, column, ACROSS), constant(self.b, 0, i32))

    def view(self, memory: Value, kind: Packed) -> Value:
        """The words of a parameter, at the top of the function."""
        if memory not in self.words:
            b, (*lead, rows, columns) = self.builders[0], memory.type.shape
            grid = [self.covering(b, rows, DOWN), self.covering(b, columns, ACROSS)]
            extents = (*(self.extent(b, n) for n in lead), *grid, constant(b, WORDS * kind.bits, i32))
            self.words[memory] = b.emit(PackedWords(self(memory), constant(b, 0, i64), extents, row_major(b, extents)))
            self.words[memory].name = memory.name
        return self.words[memory]

    def covering(self, b: Builder, n: int | str, bits: int) -> Value:
        """How many tiles of 2**bits cover an extent."""
        extent = self.extent(b, n)
        return tiles(b, extent if self.divisor(n) % (1 << bits) == 0 else Add.build(b, extent, (1 << bits) - 1), bits)

    def extent(self, b: Builder, n: int | str) -> Value:
        return constant(b, n, i32) if isinstance(n, int) else self(self.function.param(n))  # type: ignore[no-any-return]

    def divisor(self, n: int | str) -> int:
        """What an extent is known to be a multiple of."""
        return n if isinstance(n, int) else self.facts.divisor(self.function.param(n))


def kind_of(op: Unpack | Pack) -> Packed:
    kind = op.packed
    assert isinstance(kind, Packed)
    return kind


def last(places: tuple[Value, ...], axes: int) -> tuple[int, ...]:
    """The last axes of a place."""
    return tuple(range(len(places) - axes, len(places)))


def tiles(b: Builder, offset: Value, bits: int) -> Value:
    """In which tile of 2**bits an element lies."""
    return b.emit(Shr(offset, constant(b, bits, i32)))


# layouts


def unpack(a: AssignLayouts, op: Unpack) -> Any:
    layout = wanted(a, op)
    words = a.get(op.words, words_layout(layout, kind_of(op)))  # type: ignore[arg-type]
    scale, zero = (tuple(a.get(v, layout) for v in values) for values in (op.scale, op.zero))
    a.firm.add(op.result)
    return a.clone(op, words=words, scale=scale, zero=zero, layout=layout)


def pack(a: AssignLayouts, op: Pack) -> Any:
    """Warps share out the tiles, along N first."""
    down, across = op.x.type.shape[0] // ROWS, op.x.type.shape[1] // COLUMNS
    y = math.gcd(across, a.warps)
    x = math.gcd(down, a.warps // y)
    layout = replicated(a.warps // (x * y), rank=2) * local(down // x, across // y) * spatial(x, y) * kind_of(op).fragment
    return a.clone(op, x=a.get(op.x, layout), layout=words_layout(layout, kind_of(op)))


def source(x: Value, turned: bool = False) -> Unpack | None:
    """The packed weights that a tile is made of, or its transpose is, if `turned`: the first, depth first, each tile being looked at once."""
    waiting, seen = [(x, turned)], {(x, turned)}
    while waiting:
        value, turned = waiting.pop()
        op = value.owner
        if isinstance(op, Unpack):
            if not turned:
                return op
        elif isinstance(op, Elementwise | Transpose | Slice):
            found = [(v, turned != isinstance(op, Transpose)) for v in reversed(op.operands)]
            waiting += [f for f in found if f not in seen]
            seen.update(found)
    return None


def lying_together(op: Dot, fragments: Fragments) -> tuple[Layout | None, Layout | None]:
    """What lies together in a warp of a product's operands: tiles of weights. Those on the left have the registers of theirs in another order,
    which costs nothing."""
    left, right = source(op.a, turned=True), source(op.b)
    if left is not None and kind_of(left).instruction.shape == fragments.shape:
        return fragments.a.cover((COLUMNS, min(ROWS, op.a.type.shape[1]))), None
    if right is not None and kind_of(right).instruction.shape == fragments.shape:
        return None, steps(right, op.b.type.shape[0])
    return None, None


def steps(op: Unpack, rows: int) -> Layout:
    """How a warp holds so many rows of a tile of weights, or all."""
    kind = kind_of(op)
    return local(max(1, min(ROWS, rows) // (8 * kind.per)), packing.FRAGMENTS) * kind.instruction.b


def wanted(a: AssignLayouts, op: Unpack) -> Layout:
    """How a tile of weights lies: as the product that they go to wants it, else as one of few rows would."""
    (k, n), (product, turned), kind = op.result.type.shape, consumer(a, op.result), kind_of(op)
    left, right, acc, mode = product.types if product is not None else (kind.to, kind.to, kind.accumulator, "")
    depth = k if product is None else product.a.type.shape[1]
    fragments = a.target.matrix(left, right, acc, mode, depth)
    if isinstance(fragments, Refused) or fragments.shape != kind.instruction.shape:
        fragments, product, turned = kind.instruction, None, False
    strategy = STRATEGIES[0] if product is None else a.arrangement(product)
    if turned and product is not None:
        columns = -(-product.acc.type.shape[1] // 8) * 8
        return matrix_layouts(fragments, n, columns, k, a.warps, strategy, (kind.fragment.transpose(), None))[0].transpose()
    rows = -(-product.acc.type.shape[0] // 16) * 16 if product is not None else 16
    return matrix_layouts(fragments, rows, n, k, a.warps, strategy, (None, kind.fragment))[1]


def consumer(a: AssignLayouts, x: Value, turned: bool = False) -> tuple[Dot | None, bool]:
    """The product that the weights go to, perhaps by way of elementwise ops, and whether they go there transposed, as its left operand."""
    for user in a.uses.get(x, ()):
        if isinstance(user, Dot) and x is (user.a if turned else user.b):
            return user, turned
        if isinstance(user, Elementwise | Transpose | Slice):
            return consumer(a, user.results[0], turned != isinstance(user, Transpose))
    return None, False


def wish(a: AssignLayouts, op: Unpack, value: Value) -> Layout | None:
    layout = wanted(a, op)
    return words_layout(layout, kind_of(op)) if value is op.words else layout


def fixed(a: AssignLayouts, op: Unpack) -> list[Fix]:
    return [Fix(op, op.result, wanted(a, op), "packed weights lie as they are packed")]


RULES[Unpack] = unpack
FIXES[Unpack] = fixed
RULES[Pack] = pack
WISHES[Unpack] = wish
LIES[Unpack] = wanted
