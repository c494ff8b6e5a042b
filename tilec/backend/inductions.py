"""Addresses that move by the same step in every round of a loop are carried by it, instead of being computed anew from its counter.

    for %k ..: copy_async %s, %a, [%i, %k]     ->     %p = phi [ &a[i, start], .. ], [ %p + step, .. ]

An offset qualifies if it is a sum of multiples of the counter and of what the loop does not change; quotients count if nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilec.backend.emit import llvm_type
from tilec.backend.llvm import Generator
from tilec.ir.core import Value
from tilec.ir.ops.arith import Add, Cast, FloorDiv, Mul, Shr, Sub
from tilec.ir.ops.base import Constant

WORDS = {Add: "add", Sub: "sub", Mul: "mul"}


def moves(g: Generator, offset: Value) -> int | None:
    """How far an offset moves in each round: 0 if it does not, None if not always so far."""
    walk = g.walks[-1]
    assert walk is not None
    if offset is walk.counter:
        return walk.step
    if not g.e.by_level([g.scalar(offset)])[1]:
        return 0
    op: Any = offset.owner
    if isinstance(op, Add | Sub):
        x, y = moves(g, op.x), moves(g, op.y)
        return None if x is None or y is None else x + y if isinstance(op, Add) else x - y
    if isinstance(op, Cast):
        return moves(g, op.x) if extends(op, walk.counter) else None
    factor: Any = op.y.owner if isinstance(op, Mul | Shr | FloorDiv) else None
    if not isinstance(factor, Constant) or not op.x.type.dtype.is_signed:
        return None
    step, by = moves(g, op.x), int(factor.value)
    by = 1 << by if isinstance(op, Shr) and by >= 0 else by
    if step is None or isinstance(op, Mul):
        return None if step is None else step * by
    return step // by if 0 < by == by & -by and step % by == 0 == g.facts.divisor(op.x) % by else None


def extends(op: Cast, counter: Value) -> bool:
    """Whether a cast changes no number of an offset that moves on: of arithmetic that may wrap, only bits of the same width are the same."""
    bits, given = op.dtype.bits, op.x.type.dtype
    return op.dtype.is_int and (bits == given.bits or (bits > given.bits and given.is_signed and op.x is counter))


def at_start(g: Generator, offset: Value) -> str:
    """The offset in the loop's first round, computed before the loop."""
    walk = g.walks[-1]
    assert walk is not None
    if offset is walk.counter:
        return walk.start
    if not g.e.by_level([g.scalar(offset)])[1]:
        return g.scalar(offset)
    op: Any = offset.owner
    x, kind = at_start(g, op.operands[0]), llvm_type(op.operands[0].type.dtype)
    if isinstance(op, Cast):
        return x if op.dtype.bits == op.x.type.dtype.bits else g.e.let(f"sext {kind} {x} to {llvm_type(op.dtype)}")
    if isinstance(op, Shr | FloorDiv):
        factor: Any = op.y.owner
        by = int(factor.value)
        return g.e.let(f"ashr exact {kind} {x}, {by if isinstance(op, Shr) else by.bit_length() - 1}")
    return g.e.let(f"{WORDS[type(op)]} {kind} {x}, {at_start(g, op.y)}")


def steps(g: Generator, offsets: Sequence[Value]) -> list[int] | None:
    """How far each of some offsets moves in a round of the innermost loop; None if one does not move so, or none does."""
    if not g.walks or g.walks[-1] is None:
        return None
    found = [moves(g, offset) for offset in offsets]
    return None if None in found or not any(found) else found  # type: ignore[return-value]


def carry(g: Generator, start: str, kind: str, steps: Sequence[tuple[str, int]]) -> str:
    """A pointer to global memory that begins at `start` and moves on in each round by a sum of products, in elements of `kind`."""
    walk = g.walks[-1]
    assert walk is not None
    name = f"%{g.e.fresh()}"
    g.e.levels[name] = len(g.e.ahead)

    def following() -> str:
        """One wide multiply-add for each product of 32 bits: what is extended must stand here, or it is not seen as one."""
        address = name
        for stride, n in steps:
            narrow, times = g.factors.get(stride, ("", 1))
            if narrow:
                g.e.line(f"{(wide := f'%{g.e.fresh()}')} = sext i32 {narrow} to i64")
                g.e.line(f"{(step := f'%{g.e.fresh()}')} = mul nsw i64 {wide}, {n * times}")
            else:
                step = g.e.let(f"mul nsw i64 {stride}, {n}")
            address = g.e.let(f"getelementptr {kind}, ptr addrspace(1) {address}, i64 {step}")
        return address

    walk.carried.append((name, start, following))
    return name
