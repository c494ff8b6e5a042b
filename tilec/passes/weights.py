"""Weights: `dequantize`, and tensors packed in the order of their consumer's registers.

    %w = load %p, [%k, %j]                %v = packed_words %p                    %w = load %p, [%k, %j]           %f = cast %w dtype=f16
    %f = dequantize %w, %s        ->      %u = load %v, [%k >> 7, %j >> 5, 0]    %f = dequantize %w, %s     ->    %y = mul %f, %s
                                          %f = unpack %u, %s                      (not packed)

Here a packed tensor becomes the words that it is, whose loads are pipelined like any; what is done to the weights at once joins their unpacking.
Below, the layouts: weights lie as the matrix product that they go to wants its right operand, but for which columns a warp takes, and their words
lie where the weights do.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from tilec.errors import require
from tilec.ir import packing
from tilec.ir.core import Builder, Function, Op, Rewriter, Value
from tilec.ir.dtypes import DType, f32, i32, i64
from tilec.ir.facts import Facts
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused
from tilec.ir.ops.arith import Add, Cast, Mul, Shr, Sub
from tilec.ir.ops.base import Elementwise, constant
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import Load
from tilec.ir.ops.views import row_major
from tilec.ir.ops.weights import Dequantize, PackedWords, Unpack, cast_of, words_layout
from tilec.ir.packing import COLUMNS, ROWS, WORDS, Packed
from tilec.ir.target import Fragments, Hardware
from tilec.passes.layouts import RULES, WISHES, AssignLayouts, matrix_layouts
from tilec.passes.simplify import remove_unused

DOWN, ACROSS = ROWS.bit_length() - 1, COLUMNS.bit_length() - 1


def lower_weights(function: Function, target: Hardware) -> Function:
    concerned = any(isinstance(op, Dequantize) or (isinstance(op, Load) and isinstance(op.memory.type.dtype, Packed)) for op in function.walk())
    if not concerned:
        return function
    return remove_unused(LowerWeights().run(function))


class LowerWeights(Rewriter):
    def run(self, function: Function) -> Function:
        self.facts = Facts(function)
        self.words: dict[Value, Value] = {}
        return super().run(function)

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, Load) and isinstance(op.memory.type.dtype, Packed):
            with op.loc or nullcontext():
                return self.load(op, op.memory.type.dtype)
        if isinstance(op, Cast | Dequantize):
            x = self(op.x).owner
            if isinstance(x, Unpack) and x.packed.direct and not x.scale and x.dtype == x.packed.element and op.result.type.dtype == x.packed.to:  # type: ignore[attr-defined]
                scale, zero, below = ((self(op.scale),), self(op.zero), op.below) if isinstance(op, Dequantize) else ((), (), 1.0)
                return self.b.emit(Unpack(x.words, scale, zero, x.packed, op.result.type.dtype, below))
        if isinstance(op, Dequantize):
            wide = cast_of(self(op.x), op.scale.type.dtype, self.b)
            for zero in op.zero:
                wide = self.b.emit(Sub(wide, self(zero)))
            return self.b.emit(Mul(wide, self(op.scale)))
        return self.clone(op)

    def load(self, op: Load, kind: Packed) -> Value:
        """The tile of words, and what it holds."""
        *lead, row, column = self(op.offsets)
        for name, offset, unit in (("row", op.offsets[-2], ROWS), ("column", op.offsets[-1], COLUMNS)):
            known = self.facts.divisor(offset) % unit == 0
            require(known, f"the {name} of a tile of {op.memory.name} is not known to be a multiple of {unit}, as {kind} wants", hint="tc.assume would tell")
        zero = constant(self.b, 0, i32)
        places = (*lead, tiles(self.b, row, DOWN), tiles(self.b, column, ACROSS), zero)
        shape = (op.shape[0] // ROWS, op.shape[1] // COLUMNS, WORDS * kind.bits)
        dims = tuple(range(len(lead), len(lead) + 3))
        words = self.b.emit(Load(self.view(op.memory, kind), places, shape, dims, None, **op.hints))
        return self.b.emit(Unpack(words, (), (), kind, kind.element, 1.0))

    def view(self, memory: Value, kind: Packed) -> Value:
        """The words of a parameter, at the top of the function."""
        if memory not in self.words:
            b, shape = self.builders[0], memory.type.shape
            *lead, rows, columns = [constant(b, n, i32) if isinstance(n, int) else self(self.function.param(n)) for n in shape]
            grid = [self.covering(b, x, n, bits) for x, n, bits in ((rows, shape[-2], DOWN), (columns, shape[-1], ACROSS))]
            extents = (*lead, *grid, constant(b, WORDS * kind.bits, i32))
            self.words[memory] = b.emit(PackedWords(self(memory), constant(b, 0, i64), extents, row_major(b, extents)))
            self.words[memory].name = memory.name
        return self.words[memory]

    def covering(self, b: Builder, extent: Value, n: int | str, bits: int) -> Value:
        """How many tiles of 2**bits cover an extent."""
        divisor = n if isinstance(n, int) else self.facts.divisor(self.function.param(n))
        return tiles(b, extent if divisor % (1 << bits) == 0 else Add.build(b, extent, (1 << bits) - 1), bits)


def tiles(b: Builder, offset: Value, bits: int) -> Value:
    """In which tile of 2**bits an element lies."""
    return b.emit(Shr(offset, constant(b, bits, i32)))


# layouts


def unpack(a: AssignLayouts, op: Unpack) -> Any:
    layout = wanted(a, op)
    words = a.get(op.words, words_layout(layout, op.packed.bits))  # type: ignore[arg-type]
    scale, zero = (tuple(a.get(v, layout) for v in values) for values in (op.scale, op.zero))
    a.firm.add(op.result)
    return a.clone(op, words=words, scale=scale, zero=zero, layout=layout)


def source(x: Value) -> Unpack | None:
    """The packed weights that a tile is made of, if it is."""
    if isinstance(x.owner, Unpack):
        return x.owner
    found = map(source, x.owner.operands) if isinstance(x.owner, Elementwise) else ()
    return next((op for op in found if op is not None), None)


def wanted(a: AssignLayouts, op: Unpack) -> Layout:
    """How a tile of weights lies: as the product that they go to wants it, else as one of few rows would."""
    (k, n), product, kind = op.result.type.shape, consumer(a, op), op.packed.to  # type: ignore[attr-defined]
    left, right, acc, mode = product.types if product is not None else (kind, kind, f32, "")
    fragments = a.target.matrix(left, right, acc, mode, k)
    if isinstance(fragments, Refused) or fragments.shape[1:] != (8, 16):
        fragments, product = mma_fragments(a, kind), None
    rows = -(-product.acc.type.shape[0] // 16) * 16 if product is not None else 16
    return matrix_layouts(fragments, rows, n, k, a.warps, a.strategy, packing.fragment())[1]


def mma_fragments(a: AssignLayouts, kind: DType) -> Fragments:
    """Those that the packing is made for."""
    fragments = a.target.matrix(kind, kind, f32, "", ROWS)
    assert not isinstance(fragments, Refused)
    return fragments


def consumer(a: AssignLayouts, op: Op) -> Dot | None:
    """The product that the weights go to, perhaps by way of elementwise ops."""
    for user in a.uses.get(op.result, ()):
        if isinstance(user, Dot) and user.b is op.result:
            return user
        if isinstance(user, Elementwise):
            return consumer(a, user)
    return None


def wish(a: AssignLayouts, op: Unpack, value: Value) -> Layout | None:
    layout = wanted(a, op)
    return words_layout(layout, op.packed.bits) if value is op.words else layout


RULES[Unpack] = unpack
WISHES[Unpack] = wish
