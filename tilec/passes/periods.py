"""Rounds of a long loop that are like those before them, and need not be run.

    for %r = 0 to 100000                          rounds 0 to 63 are run, then 99936 to 99999
      %slot = mod %r, 3                    ->     %slot is the same after 3 rounds
      %early = lt %r, 8                           %r - 8 grows by 3 in 3 rounds: it turns once, among the rounds that are run
      if %early { sync }

A scalar is steady if it changes by `step` in every `rounds` rounds: v(t + rounds) = v(t) + step for all t. Counters are; so are sums,
products with numbers, and quotients and remainders by numbers, for so many rounds that the divisor divides the step. A scalar that the loop carries
is taken to be what it was in the rounds that were run, and that is proven by induction: from it follows that it goes on so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tilec.ir.core import Op, Value
from tilec.ir.ops.arith import Add, Compare, FloorDiv, Mod, Mul, Neg, Sub, Where
from tilec.ir.ops.base import Constant, Elementwise
from tilec.ir.ops.control import For, If
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.ops.sync import BarrierSlice

LONGEST = 16  # rounds of a period


class Steady(NamedTuple):
    """A scalar that changes by `step` in so many rounds."""

    rounds: int
    step: int

    def over(self, rounds: int) -> int:
        """By how much in a multiple of its rounds."""
        return self.step * (rounds // self.rounds)


class Unsteady(Exception):
    """Nothing is known of how the rounds of a loop repeat."""


FIXED = Steady(1, 0)


class Period:
    """How a loop's rounds repeat. `rounds` is the period; `thresholds` are comparisons that turn at some round, each with its change in a period.

    `history` has, for each of the rounds run last, what the loop's arguments were. Raises Unsteady.
    """

    def __init__(self, loop: For, ops: Any, values: Mapping[Value, Any], history: Sequence[Sequence[Any]]):
        self.values, self.ops = values, ops
        self.known: dict[Value, Steady] = {}
        self.inside: set[Value] = set(loop.body.args)
        self.thresholds: dict[Op, Steady] = {}
        self.loop = loop
        args = [a for a, v in zip(loop.body.args, history[-1], strict=True) if v is not None]
        self.known = {a: seen([row[loop.body.args.index(a)] for row in history]) for a in args}
        self.block(loop.body)
        self.rounds = math.lcm(*(s.rounds for s in self.known.values()))
        if self.rounds > LONGEST:
            raise Unsteady
        for arg, after in zip(loop.body.args[1:], loop.body.yielded, strict=True):
            if arg in args and self.of(after).over(self.rounds) != self.known[arg].over(self.rounds):
                raise Unsteady

    def of(self, value: Value) -> Steady:
        if value in self.known:
            return self.known[value]
        if value in self.inside or self.values.get(value) is None:
            raise Unsteady
        return FIXED

    def block(self, block: Any, nested: bool = False) -> None:
        for op in self.ops(block):
            self.inside.update(op.results)
            if isinstance(op, Compare):
                self.compare(op, nested)
            elif isinstance(op, If):
                self.branch(op)
            elif isinstance(op, Constant):
                self.known[op.result] = FIXED
            elif isinstance(op, Elementwise):
                self.known[op.result] = self.computed(op)
            elif op.regions:
                raise Unsteady
            else:
                placed = isinstance(op, SharedView) or hasattr(op, "tile_shape")
                places = [op.index] if isinstance(op, BarrierSlice) else getattr(op, "offsets", ()) if placed else ()
                if any(v in self.inside and self.of(v).step for v in places):
                    raise Unsteady

    def branch(self, op: If) -> None:
        if self.of(op.condition).step:
            raise Unsteady
        for region in op.regions:
            self.block(region, True)
        for value, *sides in zip(op.results, *(region.yielded for region in op.regions), strict=True):
            if all(v in self.known or self.values.get(v) is not None for v in sides):
                self.known[value] = self.joined(op.condition, *sides)

    def joined(self, condition: Value, *sides: Value) -> Steady:
        """One of two values, as a condition says."""
        x, y = map(self.of, sides)
        rounds = math.lcm(self.of(condition).rounds, x.rounds, y.rounds)
        if x.over(rounds) != y.over(rounds):
            raise Unsteady
        return Steady(rounds, x.over(rounds))

    def compare(self, op: Compare, nested: bool) -> None:
        x, y = self.of(op.x), self.of(op.y)
        rounds = math.lcm(x.rounds, y.rounds)
        step = x.over(rounds) - y.over(rounds)
        self.known[op.result] = Steady(rounds, 0)  # until it turns
        if step:
            if nested:
                raise Unsteady
            self.thresholds[op] = Steady(rounds, step)

    def computed(self, op: Any) -> Steady:
        if isinstance(op, Where):
            return self.joined(op.condition, op.x, op.y)
        parts = [self.of(v) for v in op.operands]
        rounds = math.lcm(*(p.rounds for p in parts))
        steps = [p.over(rounds) for p in parts]
        if not any(steps):
            return Steady(rounds, 0)
        if isinstance(op, Add | Sub):
            return Steady(rounds, steps[0] + steps[1] * (1 if isinstance(op, Add) else -1))
        if isinstance(op, Neg):
            return Steady(rounds, -steps[0])
        by = next((n for v, p in zip(op.operands[::-1], parts[::-1], strict=True) if p == FIXED and (n := self.number(v)) is not None), None)
        if by and isinstance(op, Mul):
            return Steady(rounds, sum(steps) * by)
        if by and isinstance(op, FloorDiv | Mod) and parts[1] == FIXED:
            whole = abs(by) // math.gcd(by, steps[0])
            return Steady(rounds * whole, steps[0] * whole // by if isinstance(op, FloorDiv) else 0)
        raise Unsteady

    def number(self, value: Value) -> int | None:
        """What a value is that does not change."""
        found = value.owner.value if isinstance(value.owner, Constant) else self.values.get(value)
        return found if isinstance(found, int) else None

    def repeats(self, most: int, apart: Sequence[Mapping[Op, int]]) -> int:
        """How many periods go by, `most` at most, before a comparison turns; `apart` is how far its sides were apart in the rounds run last."""
        for op, steady in self.thresholds.items():
            for row in apart[-steady.rounds :]:
                if op not in row:
                    raise Unsteady
                until = -row[op] / steady.step  # times of its rounds until it is 0
                if until >= 0:
                    most = min(most, (math.ceil(until) - 1) * steady.rounds // self.rounds)
        return most


def seen(history: Sequence[int]) -> Steady:
    """How a scalar changed in the rounds that were run."""
    for rounds in range(1, LONGEST + 1):
        steps = {b - a for a, b in zip(history, history[rounds:], strict=False)}
        if len(steps) == 1 and len(history) >= 2 * rounds:
            return Steady(rounds, steps.pop())
    raise Unsteady
