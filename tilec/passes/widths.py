"""Each asynchronous copy takes one width: where wider vectors than are known to be aligned may be, it is asked which.

    copy_async %s, %a, [%i, %k]   ->   %wide = eq (mod %K, 4), 0
                                       if %wide { copy_async %s, %a, [%i, %k] } else { copy_async %s, %a, [%i, %k] }

Of f32, for example, copies of 16 bytes stand in the first branch, as the condition is a fact there, and of 4 in the second. So each gets the layout
that fits its width. What not even 4 bytes are known of stays as it is: its elements are copied one by one where vectors are not aligned. A
branch that is taken because a scalar is no multiple of something (the pipeline makes such) does not ask of that scalar again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tilec.ir.core import Block, Builder, Function, Op, Rewriter, Value, Yield
from tilec.ir.facts import Facts, row_begins, row_marks, whole, widest_copy
from tilec.ir.ops.arith import And, Eq, Mod
from tilec.ir.ops.asynchronous import CopyAsync
from tilec.ir.ops.base import Constant
from tilec.ir.ops.control import If
from tilec.ir.ops.gather import Chosen
from tilec.ir.ops.views import contiguous
from tilec.ir.target import Hardware


def choose_widths(function: Function, target: Hardware) -> Function:
    return ChooseWidths().run(function) if any(isinstance(op, CopyAsync) for op in function.walk()) else function


class ChooseWidths(Rewriter):
    def run(self, function: Function) -> Function:
        self.facts = Facts(function)
        self.denied: set[Value] = set()  # known not to be multiples, all together
        return super().run(function)

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, If):
            with self.facts.assuming(op.condition):
                then = self.block(op.then)
            with self.denying(op.condition):
                return self.clone(op, then=then, orelse=self.block(op.orelse))
        if isinstance(op, CopyAsync) and proven(self.facts, op):
            asked = doubts(self.facts, op, self.denied)
            if asked:
                condition = are_multiples(self.b, {self(v): n for v, n in asked.items()})
                self.b.insert(If(condition, self.alone(op), self.alone(op)))
                return None
        return self.clone(op)

    def alone(self, op: Op) -> Block:
        block = Block()
        with self.into(block):
            self.b.loc = op.loc
            self.clone(op)
            self.b.insert(Yield())
        return block

    @contextmanager
    def denying(self, condition: Value) -> Iterator[None]:
        """Within, what a condition asks of is not asked again."""
        before = set(self.denied)
        self.denied |= set(asked_of(condition))
        yield
        self.denied = before


def asked_of(condition: Value) -> Iterator[Value]:
    """The scalars that a condition wants to be multiples."""
    op = condition.owner
    if isinstance(op, And):
        yield from asked_of(op.x)
        yield from asked_of(op.y)
    elif isinstance(op, Eq) and isinstance(op.x.owner, Mod):
        yield op.x.owner.x


def are_multiples(b: Builder, wanted: dict[Value, int]) -> Value:
    """Whether each scalar is a multiple of its number."""
    first, *others = (Eq.build(b, Mod.build(b, v, n), 0) for v, n in wanted.items())
    for other in others:
        first = b.emit(And(first, other))
    return first


def proven(facts: Facts, access: Any) -> int:
    """Bits that copies of an access, a load or copy, may take at once, for all that is known; 0 if that is less than they must."""
    return widest_copy(bits_of(access), math.gcd(together(access), row_begins(facts, access.memory, access.offsets)))


def doubts(facts: Facts, access: Any, denied: Iterable[Value] = ()) -> dict[Value, int]:
    """The scalars that would have to be multiples, and of what, for the widest copies of an access; none if that is known, or can't be."""
    marks = row_marks(facts.function, access.memory, access.offsets)
    open_ = [m for m in marks if isinstance(m, Value) and not isinstance(m.owner, Constant) and m not in denied]
    fixed = [m if isinstance(m, int) else facts.divisor(m) for m in marks if m not in open_]
    copied = widest_copy(bits_of(access), math.gcd(together(access), *fixed))
    unit = whole(bits_of(access), copied) if copied else 1
    return {m: unit for m in open_ if facts.divisor(m) % unit}


def bits_of(access: Any) -> int:
    """Bits of an element's place in memory."""
    dtype = access.memory.type.dtype
    return 8 if dtype.is_bool else dtype.bits


def together(access: Any) -> int:
    """The elements of which a copy at once takes a divisor: a row of the tile, or 1 where neighbours of it don't lie together in memory or are indexed
    one by one. What a mask says of neighbours is seen when code is made."""
    if access.dims[-1:] != (access.memory.type.rank - 1,) or not contiguous(access.memory):
        return 1
    return 1 if isinstance(access, Chosen) and any(v.type.shape[-1] > 1 for v in access.indices) else access.tile_shape[-1]
