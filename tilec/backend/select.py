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
from tilec.ir.notes import Refused, say
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
            refused = self.refuses_ldmatrix(op)
            if refused is None:
                say(op.loc, vector_bytes=16)
                return self.b.emit(ldmatrix.LoadMatrix(self(op.memory), self(op.offsets), op.shape, op.dims, op.layout, op.group))
            if not getattr(op.memory.owner, "scratch", False):
                say(op.loc, f"ld.shared instead of ldmatrix: {refused.why}")
        return self.clone(op)

    def refuses_ldmatrix(self, op: LoadShared) -> Refused | None:
        """Why ldmatrix can't load the tile; None if it can."""
        found = ldmatrix.addresses(self(op.memory).type, op.dims, op.result.type)
        if isinstance(found, Refused):
            return found
        if any(self.facts.divisor(offset) % 8 for offset in op.offsets):
            return Refused("the tile's offsets are not known to divide by 8")
        return None


def divides(fragments: Fragments, a: Layout, b: Layout, c: Layout) -> bool:
    return all(x.try_divide(f) is not None for x, f in ((a, fragments.a), (b, fragments.b), (c, fragments.c)))
