"""Chooses machine instructions.

    %z = dot %x, %y, %acc         ->     %z = mma.m16n8k16.f32.f16 %x, %y, %acc      if its fragments divide the three layouts
    %x = load_shared %s, [..]     ->     %x = ldmatrix %s, [..]                      if its fragment divides the layout
    store_shared %s, [..], %x     ->     stmatrix %s, [..], %x                       likewise, where there is one

An instruction is taken if its fragment layouts divide the layouts of the tiles; what no instruction divides stays and is computed
element by element.
"""

from __future__ import annotations

from collections.abc import Iterable

from tilec.backend.isa import ldmatrix, mma
from tilec.backend.target import Target
from tilec.ir.core import Function, Op, Rewriter, Value
from tilec.ir.facts import Facts, view_begins
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused, say
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import LoadShared, StoreShared
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
        if type(op) is StoreShared and op.value.type.shape and self.target.has("stmatrix"):
            memory, value = self(op.memory), self(op.value)
            if self.refuses_rows(op, ldmatrix.stored(memory.type, op.dims, value.type)) is None:
                say(op.loc, vector_bytes=16)
                return self.b.insert(ldmatrix.StoreMatrix(memory, self(op.offsets), value, op.dims))
        return self.clone(op)

    def refuses_ldmatrix(self, op: LoadShared) -> Refused | None:
        """Why ldmatrix can't load the tile; None if it can."""
        return self.refuses_rows(op, ldmatrix.addresses(self(op.memory).type, op.dims, op.result.type))

    def refuses_rows(self, op: LoadShared | StoreShared, found: object) -> Refused | None:
        """Why the rows of a tile can't be addressed, `found` being how; None if they can."""
        if isinstance(found, Refused):
            return found
        memory = self(op.memory).type
        row = ldmatrix.row_elements(memory)
        if self.facts.divisor(op.offsets[memory.layout.fast]) % row or view_begins(self.facts, op.memory) % row:
            return Refused(f"the tile's offset along rows is not known to divide by {row}")
        return None


def divides(fragments: Fragments, a: Layout, b: Layout, c: Layout) -> bool:
    return all(x.try_divide(f) is not None for x, f in ((a, fragments.a), (b, fragments.b), (c, fragments.c)))
