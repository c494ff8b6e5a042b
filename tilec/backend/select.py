"""Chooses machine instructions.

    %z = dot %x, %y, %acc     ->     %z = mma.m16n8k16.f32.f16 %x, %y, %acc      if its fragments divide the three layouts

An instruction is taken if its fragment layouts divide the layouts of the tiles; what no instruction divides stays and is computed
element by element.
"""

from __future__ import annotations

from collections.abc import Iterable

from tilec.backend.isa import mma
from tilec.ir.core import Function, Op, Rewriter, Value
from tilec.ir.layout import Layout
from tilec.ir.ops.matmul import Dot
from tilec.ir.target import Fragments, Hardware


def select(function: Function, target: Hardware) -> Function:
    return Select().run(function)


class Select(Rewriter):
    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, Dot):
            a, b, acc = self(op.a), self(op.b), self(op.acc)
            instruction = mma.find(a.type.dtype, acc.type.dtype)
            if instruction is not None and divides(instruction.fragments, a.type.layout, b.type.layout, acc.type.layout):
                return self.b.emit(instruction(a, b, acc))
        return self.clone(op)


def divides(fragments: Fragments, a: Layout, b: Layout, c: Layout) -> bool:
    return all(x.try_divide(f) is not None for x, f in ((a, fragments.a), (b, fragments.b), (c, fragments.c)))
