"""The ways through a kernel that are worth a run: sizes and blocks under which its branches go both ways.

    if block_index(0) != 7: sync()            ->      8 blocks along axis 0, and a run of block 7
    if M <= N: sync()                                 M one more than N
    for k in range(0, K, 32): if k // 32 < 20: ..     a K of 20 rounds, and some more

A comparison of numbers that are affine in sizes and blocks has a place where it turns, and two runs tell where (the secant through
both): the next run stands right there. With a single size or block that decides, each combination of conditions that there is has been run
then; of two of them, pairs. A branch that no run took nevertheless is taken by force, and what is found so is not certain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

from tilec.ir.core import Function, Op, Value
from tilec.ir.ops.arith import Compare, FloorDiv, Mod
from tilec.ir.ops.base import Constant, Elementwise
from tilec.ir.ops.control import BlockCount, BlockIndex, For, If
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.ops.sync import BarrierSlice
from tilec.ir.types import TensorType
from tilec.passes.scalars import Part, Run, Sides, integer, launch

UNITS = 4096  # the most that sizes are made multiples of
STARTS = (0, 1, 2, 16)  # of views, where the sizes are too large for such
MOST = 100  # runs, but for those that are there from the start
ODD = 6  # conditions that are guessed one by one

Knob = Value | int  # a size, or an axis of the grid along which the block is chosen
Forced = dict[Op, bool]  # branches that go a way that their conditions do not ask for
Turned = tuple[tuple[Knob, int], ...]  # knobs, and what they are turned to


class Ways:
    """Iterates over runs. `left_out` is an op that decides what runs would be wanted beyond the most that are made, if there are more."""

    def __init__(self, function: Function):
        self.function = function
        self.part = part = Part(function)
        blocks = part.of(BlockIndex, BlockCount)
        self.axes = sorted({op.axis for op in blocks if isinstance(op, BlockIndex)})
        counted = any(isinstance(op, BlockCount) for op in blocks)
        self.params = [p for p in function.params if integer(p) and (counted or p in part.wanted)]
        self.dims = {d for p in function.params if isinstance(p.type, TensorType) for d in p.type.shape if isinstance(d, str)}
        barriers, views = part.of(BarrierSlice), part.of(SharedView)
        self.rounds = 2 + max([op.barrier.type.shape[0] for op in barriers] + [op.places for op in views], default=1)
        self.unit = self._unit(bool(blocks))
        self.seen: dict[Op, Sides] = {}  # in all runs
        self.met: dict[Turned, dict[Op, Sides]] = {}  # with knobs turned so
        self.ways: list[dict[Op, bool]] = []  # which branches outside of loops each run took
        self.moves: dict[Op, set[Knob]] = {}  # what turns a comparison
        self.forced_at: dict[Op, Forced] = {}  # what had to be forced for a branch to be met
        self.done: dict[Any, dict[Op, Sides]] = {}
        self.grids: dict[Any, tuple[int, ...] | None] = {}
        self.left = MOST
        self.outside = False  # in some run a view began where its tile has no place for it
        self.left_out: Op | None = None

    def _unit(self, blocks: bool) -> int:
        """What sizes are multiples of: of what is assumed of them, and of steps, so that rounds and blocks are whole."""

        def constants(ops: Iterable[Op], kind: type[Op], name: str) -> list[int]:
            of = [getattr(op, name).owner for op in ops if isinstance(op, kind)]
            return [int(made.value) for made in of if isinstance(made, Constant)]

        host, body = self.function.launch.ops, self.part.kept
        divisors = constants(body, FloorDiv, "y")  # by which a kernel counts its rounds
        divisors += constants(host, FloorDiv, "y") if blocks else []
        unit = 1
        for n in (*constants(host, Mod, "y"), *constants(body, For, "step"), *divisors):
            unit = math.lcm(unit, n) if n and math.lcm(unit, n) <= UNITS else unit
        return unit

    def __iter__(self) -> Iterator[Run]:
        for rounds in (self.rounds, 1):
            sizes = self.sizes(rounds)
            last = [max(n - 1, 0) for n in self.grid(sizes) or ()] if self.axes else []
            for block in ([0] * len(last), last, [n // 2 for n in last]):
                yield from self.run(sizes, dict(enumerate(block)))
        if len(self.params) > 1:
            yield from self.run({p: self.unit * (self.rounds + n) for n, p in enumerate(self.params)} | self.flags())
        if self.outside:
            for start in STARTS:
                yield from self.run(dict.fromkeys(self.starts(), start))
        if self.seen:
            if any(isinstance(op, If) for op in self.seen):
                yield from self.explored()
            yield from self.by_force()
            yield from self.pairs_by_force()

    def starts(self) -> list[Value]:
        """Scalars, but no sizes, that say where views begin."""
        todo = [v for op in self.part.of(SharedView) for v in op.offsets]
        found: set[Value] = set()
        while todo:
            value = todo.pop()
            if value not in found:
                found.add(value)
                todo += value.owner.operands if isinstance(value.owner, Elementwise) else ()
        return [p for p in self.params if p in found and p.name not in self.dims and not p.type.dtype.is_bool]

    # runs

    def flags(self) -> dict[Value, Any]:
        return {p: True for p in self.function.params if integer(p) and p.type.dtype.is_bool}

    def sizes(self, rounds: int) -> dict[Value, Any]:
        """All sizes alike."""
        return {p: self.unit * rounds for p in self.function.params if integer(p)} | self.flags()

    def grid(self, sizes: dict[Value, Any]) -> tuple[int, ...] | None:
        """As `launch` has it."""
        key = tuple(sizes.values())
        if key not in self.grids:
            self.grids[key] = launch(self.function, sizes)
        return self.grids[key]

    def run(self, changed: dict[Value, Any], block: dict[int, int] | None = None, forced: Forced | None = None, way: Turned | None = None) -> Iterator[Run]:
        """Run a block, the first one if none is said, with sizes; nothing if there are no such sizes and block, or if it has been done."""
        sizes = self.sizes(self.rounds) | changed
        grid = self.grid(sizes) if all(p.type.dtype.min <= n <= p.type.dtype.max for p, n in sizes.items()) else None
        if grid is None:
            return
        at = [(block or {}).get(axis, 0) for axis in range(len(grid))]
        key = (*(sizes[p] for p in self.params), *(at[axis] for axis in self.axes if axis < len(at)), *(forced or {}).items())
        if not all(0 <= b < max(n, 1) for b, n in zip(at, grid, strict=True)):
            return
        if key in self.done:
            if way is not None:
                self.met[way] = self.done[key]
            return
        odd: list[Value] = []
        for guess in (True, False):
            run = self.one(sizes, at, grid, guess, None, forced)
            self.done.setdefault(key, run.sides)
            if way is not None:
                self.met[way] = self.done[key]
            yield run
            if not run.guessed and (run.certain or forced):
                return
            odd = list(run.guessed)
        if len(odd) > 1:
            for value, guess in itertools.product(odd[:ODD], (True, False)):
                yield self.one(sizes, at, grid, guess, value, forced)

    def one(self, sizes: Any, block: Any, grid: Any, guess: bool, odd: Value | None, forced: Forced | None) -> Run:
        run = Run(sizes, block, grid, guess, self.part, odd, forced)
        run.whole(self.function.body)
        self.outside |= run.outside
        self.met.setdefault((), run.sides)
        self.ways.append({op: sides.times[1] > 0 for op, sides in run.sides.items() if isinstance(op, If) and op not in self.part.looped})
        for op, sides in run.sides.items():
            self.seen[op] = merged(self.seen.get(op), sides)
            self.forced_at.setdefault(op, forced or {})
        return run

    # places where comparisons turn

    def explored(self) -> Iterator[Run]:
        """Runs on both sides of where each comparison turns, for each knob and for two at once; what is met on the way there turns, too."""
        if any(min(sides.times) < self.rounds for op, sides in self.seen.items() if op in self.part.looped):
            yield from self.run(self.sizes(2 * self.rounds))
        knobs: list[Knob] = [*self.params, *self.axes]
        bases: list[Turned] = [()]
        treated: set[Op] = set()
        for base in bases:
            fresh = [op for op in self.met.get(base, {}) if op not in treated and not self.settled(op)]
            treated.update(fresh)
            if not fresh:
                continue
            turns: list[Turned] = []
            for knob in knobs:
                for here, there in self.steps(knob) if knob not in dict(base) else ():
                    moved = (*base, (knob, there))
                    yield from self.turned(moved)
                    at = sorted(n for n in self.turns(fresh, base, moved, here, there) if n >= 0 or not self.counts(knob))
                    turns += [(*base, (knob, n)) for n in at]
            turns = list(dict.fromkeys(turns))
            pairs = [(*a, b[-1]) for a, b in itertools.combinations(turns, 2) if a[-1][0] != b[-1][0]]
            for way in (*turns, *pairs):
                yield from self.turned(way)
            bases += [*turns, *pairs]

    def settled(self, op: Op) -> bool:
        """Whether a comparison has gone both ways, in a loop; or a branch, wherever it is. Others turn at one size, and both its sides are of interest."""
        return min(self.seen[op].times) > 0 and (isinstance(op, If) or op in self.part.looped)

    def steps(self, knob: Knob) -> list[tuple[Any, Any]]:
        """What a knob is at first, and what it is turned to, to see what that moves."""
        if isinstance(knob, int):
            return [(0, 1)]
        here = self.sizes(self.rounds)[knob]
        return [(here, not here)] if isinstance(here, bool) else [(here, here + step) for step in sorted({self.unit, 1}, reverse=True)]

    def counts(self, knob: Knob) -> bool:
        """Whether it is never negative."""
        return isinstance(knob, int) or knob.name in self.dims

    def turns(self, ops: list[Op], base: Turned, moved: Turned, here: int, there: int) -> set[int]:
        """Where a knob makes comparisons turn, by what they were with it here and there."""
        found: set[int] = set()
        before, after = self.met.get(base, {}), self.met.get(moved, {})
        for op in ops:
            x, y = (sides.get(op, Sides()) for sides in (before, after))
            if isinstance(op, If) and x.times != y.times:
                found.add(there)
            if x.nearest is None or y.nearest is None or x.nearest == y.nearest:
                continue
            self.moves.setdefault(op, set()).add(moved[-1][0])
            slope = (y.nearest - x.nearest) / (there - here)
            if op not in self.part.looped:
                for at in (here + (apart - x.nearest) / slope for apart in turning(op, x)):
                    found |= {math.floor(at), math.ceil(at)}
            elif not min(self.seen[op].times):  # and some rounds more, for what comes of it
                at = here - x.nearest / slope
                found.add(math.floor(at / self.unit) * self.unit + int(math.copysign(self.rounds * self.unit, at - here)))
        return found

    def turned(self, way: Turned) -> Iterator[Run]:
        """The runs with some knobs turned, with a larger grid if there is no such block."""
        block = {knob: n for knob, n in way if isinstance(knob, int)}
        sizes = {knob: n for knob, n in way if not isinstance(knob, int)}
        most = max(block.values(), default=0)
        grown = self.sizes(most + 1) if most >= self.rounds else {}
        if self.left <= 0:
            self.left_out = self.left_out or next(op for op in self.seen if isinstance(op, If))
        elif way not in self.met:
            for run in self.run({**grown, **sizes}, block, way=way):
                self.left -= 1
                yield run

    def by_force(self) -> Iterator[Run]:
        """Runs of the branches that none has taken, those within such branches among them."""
        tried: list[tuple[Op, bool]] = []
        while wanted := [(op, side) for op, side in self.not_taken() if (op, side) not in tried]:
            tried += wanted
            for op, side in wanted:
                yield from self.run({}, None, {**self.forced_at[op], op: side})

    def pairs_by_force(self) -> Iterator[Run]:
        """Runs of two branches that no run took together, unless a single knob turns both: then there is no such way."""
        alone = [op for op, sides in self.seen.items() if isinstance(op, If) and op not in self.part.looped and not self.forced_at[op]]
        for a, b in itertools.combinations(alone, 2):
            knobs = self.knobs(a.condition) | self.knobs(b.condition)
            for sides in itertools.product((True, False), repeat=2) if len(knobs) != 1 else ():
                if not any(ways.get(a, sides[0]) == sides[0] and ways.get(b, sides[1]) == sides[1] for ways in self.ways):
                    yield from self.run({}, None, {a: sides[0], b: sides[1]})

    def knobs(self, value: Value) -> set[Knob]:
        """What turns a condition, by all that was tried."""
        op = value.owner
        if isinstance(op, Compare):
            return self.moves.get(op, set())
        return set().union(*map(self.knobs, op.operands)) if isinstance(op, Elementwise) else set()

    def not_taken(self) -> list[tuple[Op, bool]]:
        return [(op, sides.times[0] > 0) for op, sides in self.seen.items() if isinstance(op, If) and 0 in sides.times]


def turning(op: Any, sides: Sides) -> set[int]:
    """How far the sides of a comparison are apart right behind the places where it turns, seen from where it was."""
    below, at, above = (bool(op.eval(None, apart, 0)) for apart in (-1, 0, 1))
    was = sides.nearest or 0
    if below == above:
        return {0, 1 if was < 0 else -1}
    return {0 if was < 0 else -1} if at == above else {1 if was <= 0 else 0}


def merged(old: Sides | None, new: Sides) -> Sides:
    """What two runs say of a condition."""
    return new if old is None else Sides([a + b for a, b in zip(old.times, new.times, strict=True)], old.nearest)
