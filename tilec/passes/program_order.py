"""Barriers between a block's accesses to one tensor where several threads may touch one element: they take effect in the order of the source.

    %v = load %x, [%i] layout=replicated(4)..        %v = load %x, [%i] layout=replicated(4)..
    store %x, [%i], %w                         ->    sync                       # other warps have read what this overwrites
                                                     store %x, [%i], %w

Nothing is wanted between accesses of which each thread makes both to its own elements, that lie apart, or that a barrier separates already. Offsets are
compared as sums of multiples of scalars; two rounds of a loop differ by its counter's step. What groups of warps do is left to their barriers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tilec.ir.core import Block, Effect, Function, Op, Rewriter, Value
from tilec.ir.describe import written
from tilec.ir.layout import Layout
from tilec.ir.ops.access import Access
from tilec.ir.ops.arith import Add, Mul, Sub
from tilec.ir.ops.asynchronous import CopyAsync
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.base import Constant
from tilec.ir.ops.control import For, While
from tilec.ir.ops.sync import Sync
from tilec.ir.ops.views import viewed
from tilec.ir.ops.warps import InWarps
from tilec.ir.types import TensorType


def keep_program_order(function: Function) -> Function:
    missing = Order(function).missing
    return WithBarriers(missing).run(function) if missing else function


class WithBarriers(Rewriter):
    def __init__(self, before: set[Op]):
        super().__init__()
        self.before = before

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if op in self.before:
            self.b.insert(Sync())
        return self.clone(op)


class Touch(NamedTuple):
    """An access since the last barrier; of an earlier round of `loop`, if that is given."""

    op: Any  # Access
    loop: For | While | None = None


State = tuple[Touch, ...]


class Order:
    """Finds the ops before which a barrier is missing."""

    def __init__(self, function: Function):
        self.missing: set[Op] = set()
        self.written = written(function)
        self.made: dict[Op, set[Value]] = {}  # by loop: what changes from round to round
        self.grouped = False
        self.block(function.body, ())

    def block(self, block: Block, state: State) -> State:
        for op in block.ops:
            state = self.step(op, state)
        return state

    def step(self, op: Op, state: State) -> State:
        """The accesses since the last barrier, behind an op."""
        if isinstance(op, Sync) and op.barrier is None and not self.grouped:
            return ()
        if isinstance(op, For | While):
            return self.loop(op, state)
        if isinstance(op, InWarps):
            before, self.grouped = self.grouped, True
            state = self.block(op.body, state)
            self.grouped = before
            return state
        if op.regions:
            return united(self.block(region, state) for region in op.regions)
        if not self.ordered(op):
            return state
        if not self.grouped and (op in self.missing or any(self.meet(touch, op) for touch in state)):
            self.missing.add(op)
            state = ()
        return united([state, (Touch(op),)])

    def loop(self, loop: For | While, state: State) -> State:
        """What comes before a loop is kept apart before it; what its rounds do, within."""
        inner = [op for op in loop.walk() if self.ordered(op)]
        if not self.grouped and any(self.meet(touch, op) for touch in state for op in inner):
            self.missing.add(loop)
        if loop in self.missing:
            state = ()
        self.made.setdefault(loop, {v for op in loop.walk() if op is not loop for v in op.results} | {v for r in loop.regions for v in r.args})
        while True:  # barriers and accesses only join
            known = len(self.missing)
            end = state
            for region in loop.regions:
                end = self.block(region, end)
            head = united([state, (Touch(touch.op, loop) for touch in end if touch.op in inner)])
            if head == state and known == len(self.missing):
                return head if isinstance(loop, For) else self.block(loop.test, head)
            state = head

    def ordered(self, op: Op) -> bool:
        """Whether it accesses a tensor that the kernel writes."""
        return isinstance(op, Access) and isinstance(op.memory.type, TensorType) and viewed(op.memory) in self.written  # type: ignore[attr-defined]

    def meet(self, first: Touch, op: Any) -> bool:
        """Whether two threads may touch one element, one of them writing."""
        one = first.op
        if viewed(one.memory) is not viewed(op.memory) or not (writes(one) or writes(op)) or (isinstance(one, Atomic) and isinstance(op, Atomic)):
            return False
        changing = self.made[first.loop] if first.loop else set()
        if one.memory is not op.memory or one.memory in changing:
            return True
        between = [difference(a, b) for a, b in zip(one.offsets, op.offsets, strict=True)]
        if any(apart(between[a], one, op, a, first.loop, changing) for a in range(len(between))):
            return False
        moved = any(between[a] or changes(one.offsets[a], changing) for a in op.dims if a >= 0)
        return moved or not one_thread(one, op) or not changing.isdisjoint(indices(op))


def united(states: Iterable[Iterable[Touch]]) -> State:
    return tuple(dict.fromkeys(touch for state in states for touch in state))


def writes(op: Any) -> bool:
    return op.effect is Effect.WRITE and not isinstance(op, CopyAsync)


def indices(op: Any) -> tuple[Value, ...]:
    return getattr(op, "indices", ())


def layout_of(op: Any) -> Layout | None:
    if isinstance(op, CopyAsync):
        return op.layout
    return (op.results[0] if op.effect is Effect.READ else op.value).type.layout  # type: ignore[no-any-return]


def one_thread(one: Any, other: Any) -> bool:
    """Whether the thread that one access takes for an element is the only one of the other for it, along axes where both begin alike. Of several
    holders all may load and store; scalars are stored by the first thread."""
    layout = layout_of(one)
    alone = not layout.is_replicated if layout is not None else writes(one) and writes(other)
    return alone and layout == layout_of(other) and one.dims == other.dims and indices(one) == indices(other)


Sum = dict[Value | None, int]  # multiples of scalars, and of 1 as None; without zeros


def parts(value: Value, times: int = 1) -> Iterator[tuple[Value | None, int]]:
    """A scalar as a sum of multiples of others."""
    op: Any = value.owner
    if isinstance(op, Constant):
        yield None, times * int(op.value)
    elif isinstance(op, Add | Sub):
        yield from parts(op.x, times)
        yield from parts(op.y, times if isinstance(op, Add) else -times)
    elif isinstance(op, Mul) and isinstance(op.y.owner, Constant):
        yield from parts(op.x, times * int(op.y.owner.value))
    else:
        yield value, times


def difference(first: Value, second: Value) -> Sum:
    total: Sum = {}
    for value, times in [*parts(second), *parts(first, -1)]:
        total[value] = total.get(value, 0) + times
    return {value: times for value, times in total.items() if times}


def changes(value: Value, changing: set[Value]) -> bool:
    return any(v in changing for v, _ in parts(value))


def apart(between: Sum, one: Any, other: Any, axis: int, loop: For | While | None, changing: set[Value]) -> bool:
    """Whether the accesses lie apart along a tensor's axis: of the same round, or of two rounds of a loop whose counter moves on far enough."""
    if between.keys() - {None} or any(axis in getattr(op, "axes", ()) for op in (one, other)):
        return False
    gap = between.get(None, 0)
    least = extent(one, axis) if gap >= 0 else extent(other, axis)
    moving = [(v, n) for v, n in parts(one.offsets[axis]) if v in changing]
    if not moving:
        return abs(gap) >= least
    step: Any = loop.step.owner if isinstance(loop, For) else None
    if not isinstance(step, Constant) or len(moving) != 1 or moving[0][0] is not loop.body.args[0]:  # type: ignore[union-attr]
        return False
    move, most = abs(int(step.value) * moving[0][1]), max(extent(one, axis), extent(other, axis))
    rounds = range(1, abs(gap) // move + 3) if move else ()
    return bool(move) and all(abs(gap + sign * n * move) >= most for n in rounds for sign in (1, -1))


def extent(op: Any, axis: int) -> int:
    return op.tile_shape[op.dims.index(axis)] if axis in op.dims else 1  # type: ignore[no-any-return]
