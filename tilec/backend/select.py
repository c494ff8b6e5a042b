"""Chooses machine instructions.

    %z = dot %x, %y, %acc         ->     %z = mma.m16n8k16.f32.f16 %x, %y, %acc      if its fragments divide the three layouts
    %x = load_shared %s, [..]     ->     %x = ldmatrix %s, [..]                      if its fragment divides the layout

An instruction is taken if its fragment layouts divide the layouts of the tiles; what no instruction divides stays and is computed
element by element.
"""

from __future__ import annotations

from collections.abc import Iterable

from tilec.backend.isa import ldmatrix, mma
from tilec.backend.target import Target
from tilec.ir.core import Function, Op, Rewriter, Value
from tilec.ir.facts import Facts
from tilec.ir.layout import Layout
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import LoadShared
from tilec.ir.target import Fragments


def select(function: Function, target: Target) -> Function:
    return Select(target).run(function)


class Select(Rewriter):
    def __init__(self, target: Target):
        super().__init__()
        self.target = target

    def run(self, function: Function) -> Function:
        self.facts = Facts(function)
        return super().run(function)

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, Dot):
            a, b, acc = self(op.a), self(op.b), self(op.acc)
            for instruction in mma.candidates(*op.types, self.target.has):
                if divides(instruction.fragments, a.type.layout, b.type.layout, acc.type.layout):
                    return self.b.emit(instruction(a, b, acc))
        if type(op) is LoadShared and op.shape:
            fits = ldmatrix.addresses(self(op.memory).type, op.dims, op.result.type) is not None
            if fits and all(self.facts.divisor(op.offsets[d]) % 8 == 0 for d in range(len(op.offsets))):
                return self.b.emit(ldmatrix.LoadMatrix(self(op.memory), self(op.offsets), op.shape, op.dims, op.layout, op.group))
        return self.clone(op)


def divides(fragments: Fragments, a: Layout, b: Layout, c: Layout) -> bool:
    return all(x.try_divide(f) is not None for x, f in ((a, fragments.a), (b, fragments.b), (c, fragments.c)))
