"""Reductions and scans by a function as steps that each thread does by itself and exchanges between the lanes of a warp; where sorts lie.

    %y = scan (%x,) axis=0 {f}     ->     %x0, %x1, .. = every r-th element from 0, 1, .. on: what each lane holds of a run of r
                                          %y1 = f(%x0, %x1) ..                           # within the lane
                                          %o = butterfly %total mask=1 ..                # what lanes before it hold
                                          %y = f(%before, %y1) .., put together again

An axis lies in runs of r registers, the runs in up to 32 lanes of a warp; the other axes are for the rest of the threads. So nothing goes
through shared memory but the way into this layout. The rules join those of `layouts` when this file is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tilec.ir.core import Block, Builder, Kind, Value
from tilec.ir.dtypes import i32
from tilec.ir.layout import Layout, blocked, local, spatial
from tilec.ir.ops.arith import Add, And, Lt, Mul, Ne, Or, Where
from tilec.ir.ops.base import Constant
from tilec.ir.ops.pieces import Concatenate, Slice
from tilec.ir.ops.scan import Agreed, Butterfly, Combining, Fold, Padded, Scan, Sorted
from tilec.ir.ops.shape import Arange, Broadcast, Reshape
from tilec.passes.conflicts import FIXES, Fix
from tilec.passes.layouts import RULES, AssignLayouts
from tilec.records import record

Values = tuple[Value, ...]
Combine = Callable[[Values, Values], Values]


def power_of_two(n: int) -> int:
    """The smallest that is at least n."""
    return 1 << (n - 1).bit_length()


@record(frozen=False)
class Runs:
    """Tiles cut along an axis into the runs that lanes hold: `lane` is the layout of one element of each run."""

    b: Builder
    shape: tuple[int, ...]
    axis: int
    lanes: int
    run: int
    lane: Layout
    whole: Layout
    group: Any = None

    @staticmethod
    def of(b: Builder, shape: tuple[int, ...], axis: int, threads: int) -> Runs:
        """As few lanes to a row as leave no thread idle: exchanges between them cost more than steps within."""
        rows = math.prod(shape) // shape[axis]
        extent = power_of_two(shape[axis])
        lanes = min(32, extent, power_of_two(-(-threads // rows)))
        run = extent // lanes
        others = tuple(1 if a == axis else n for a, n in enumerate(shape))
        lane = blocked(others, threads // lanes) * spatial(*(lanes if a == axis else 1 for a in range(len(shape))))
        return Runs(b, shape, axis, lanes, run, lane, lane * local(*(run if a == axis else 1 for a in range(len(shape)))))

    def cut(self, x: Value) -> list[Value]:
        """For each place in a run its elements, of all runs."""
        whole = self.b.emit(Padded(x, self.whole, x.type.group))
        self.group = x.type.group
        rank = len(self.shape)
        steps = tuple(self.run if a == self.axis else 1 for a in range(rank))
        starts = [tuple(j if a == self.axis else 0 for a in range(rank)) for j in range(self.run)]
        return [self.b.emit(Slice(whole, s, steps, self.lane.shape, self.lane, self.group)) for s in starts]

    def join(self, parts: Sequence[Value]) -> Value:
        """The tile of which `cut` gave the parts."""
        at, shape = self.axis + 1, self.lane.shape
        lane = self.lane.unsqueeze(at)
        raised = [self.b.emit(Reshape(p, (*shape[:at], 1, *shape[at:]), lane, self.group)) for p in parts]
        whole = lane * local(*(self.run if a == at else 1 for a in range(lane.rank)))
        rows = self.b.emit(Concatenate(tuple(raised), at, whole, self.group))
        flat = self.b.emit(Reshape(rows, self.whole.shape, self.whole, self.group))
        zeros, ones = (0,) * len(self.shape), (1,) * len(self.shape)
        return self.b.emit(Slice(flat, zeros, ones, self.shape, self.whole, self.group))

    # tiles of one element a run

    def constant(self, value: Any, dtype: Any = i32) -> Value:
        return self.b.emit(Constant(value, dtype, self.lane.shape, self.lane, self.group))

    def number(self, scale: int = 1, start: int = 0) -> Value:
        """scale * (the run's number) + start, as i32."""
        others = [a for a in range(len(self.shape)) if a != self.axis]
        row = self.lane.reduce(others, keepdims=True) if others else self.lane
        line = row
        for a in reversed(others):
            line = line.squeeze(a)
        places = self.b.emit(Arange(0, self.lanes, i32, line, self.group))
        raised = self.b.emit(Reshape(places, row.shape, row, self.group)) if others else places
        wide = self.b.emit(Broadcast(raised, self.lane.shape, self.lane, self.group)) if row.shape != self.lane.shape else raised
        scaled = self.b.emit(Mul(wide, self.constant(scale))) if scale != 1 else wide
        return self.b.emit(Add(scaled, self.constant(start))) if start else scaled

    def bit(self, mask: int) -> Value:
        """Whether the run's number has a bit of the mask."""
        return self.b.emit(Ne(self.b.emit(And(self.number(), self.constant(mask))), self.constant(0)))

    def choose(self, condition: Value, x: Values, y: Values) -> Values:
        return tuple(self.b.emit(Where(condition, p, q)) for p, q in zip(x, y, strict=True))

    def other(self, xs: Values, mask: int) -> Values:
        """What the run holds whose number differs by the mask."""
        return tuple(self.b.emit(Butterfly(x, mask)) for x in xs)

    def apply(self, body: Block, args: Values) -> Values:
        """A region's ops on tiles in place of scalars."""
        known: dict[Value, Value] = dict(zip(body.args, args, strict=True))
        for op in body.ops[:-1]:
            if isinstance(op, Constant):
                known[op.result] = self.constant(op.value, op.dtype)
            else:
                given = {f.name: getattr(op, f.name) for f in op.fields}
                given.update({f.name: known[getattr(op, f.name)] for f in op.fields if f.kind is Kind.OPERAND})
                known[op.result] = self.b.emit(type(op)(**given))
        return tuple(known[v] for v in body.yielded)


def start(a: AssignLayouts, op: Combining) -> tuple[Runs, list[Values]]:
    """The runs of an op's tiles: for each place in a run the elements of all tiles."""
    runs = Runs.of(a.b, op.xs[0].type.shape, op.axis, a.threads)
    held = [a.get(x, runs.whole) for x in op.xs]
    return runs, list(zip(*(runs.cut(x) for x in held), strict=True))


def combined(runs: Runs, f: Combine, total: Values) -> Values:
    """The totals of all runs of a row, in their order."""
    for mask in powers(runs.lanes):
        upper, other = runs.bit(mask), runs.other(total, mask)
        total = f(runs.choose(upper, other, total), runs.choose(upper, total, other))
    return total


def powers(n: int) -> list[int]:
    return [1 << i for i in range(n.bit_length() - 1)]


def reduce(a: AssignLayouts, op: Fold) -> Any:
    runs, parts = start(a, op)

    def f(x: Values, y: Values) -> Values:
        return runs.apply(op.body, (*x, *y))

    extent = op.xs[0].type.shape[op.axis]
    combine: Combine = f
    if runs.lanes * runs.run != extent:  # what lies beyond the tile does not count
        valid = [a.b.emit(Lt(runs.number(runs.run, j), runs.constant(extent))) for j in range(runs.run)]
        parts = [(*p, v) for p, v in zip(parts, valid, strict=True)]
        combine = valid_only(runs, f)
    total = parts[0]
    for part in parts[1:]:
        total = combine(total, part)
    total = combined(runs, combine, total)[: len(op.xs)]
    return tuple(without_padding(a, a.b.emit(Agreed(t, op.axis)), r.type.shape) for t, r in zip(total, op.results, strict=True))


def without_padding(a: AssignLayouts, x: Value, shape: tuple[int, ...]) -> Value:
    return x if x.type.shape == shape else a.b.emit(Slice(x, (0,) * len(shape), (1,) * len(shape), shape, x.type.layout, x.type.group))


def valid_only(runs: Runs, f: Combine) -> Combine:
    """The function on values of which the last says whether they count."""

    def combine(x: Values, y: Values) -> Values:
        (*given, here), (*others, there) = x, y
        both = runs.b.emit(And(here, there))
        one = runs.choose(here, tuple(given), tuple(others))
        return *runs.choose(both, f(tuple(given), tuple(others)), one), runs.b.emit(Or(here, there))

    return combine


def scan(a: AssignLayouts, op: Scan) -> Any:
    runs, parts = start(a, op)

    def f(x: Values, y: Values) -> Values:
        return runs.apply(op.body, (*x, *y))

    found = [parts[0]]
    for part in parts[1:]:
        found.append(f(found[-1], part))
    first = tuple(runs.constant(n, x.type.dtype) for n, x in zip(op.first, op.xs, strict=True)) if op.exclusive else ()
    if op.exclusive:
        total, found = found[-1], [first, *found[:-1]]
    else:
        total = found[-1]
    if runs.lanes > 1:
        before = earlier(runs, f, total)
        later = runs.bit(runs.lanes - 1)
        ahead = [before if op.exclusive and j == 0 else f(before, x) for j, x in enumerate(found)]
        found = [runs.choose(later, x, y) for x, y in zip(ahead, found, strict=True)]
    return tuple(runs.join(x) for x in zip(*found, strict=True))


def earlier(runs: Runs, f: Combine, total: Values) -> Values:
    """For each run but the first the total of those before it."""
    before = total
    for mask in powers(runs.lanes):
        upper, other = runs.bit(mask), runs.other(total, mask)
        ahead = f(other, before) if mask > 1 else other
        if mask > 1:
            ahead = runs.choose(runs.bit(mask - 1), ahead, other)
        before = runs.choose(upper, ahead, before)
        if 2 * mask < runs.lanes:
            total = f(runs.choose(upper, other, total), runs.choose(upper, total, other))
    return before


def sort(a: AssignLayouts, op: Sorted) -> Any:
    runs = Runs.of(a.b, op.x.type.shape, op.axis, a.threads)
    return a.clone(op, x=a.get(op.x, runs.whole), lanes=runs.lanes, run=runs.run)


def fixed(a: AssignLayouts, op: Any) -> list[Fix]:
    """The runs in which lanes hold what is combined or sorted."""
    xs = (op.x,) if isinstance(op, Sorted) else op.xs
    layout = Runs.of(Builder(Block()), xs[0].type.shape, op.axis, a.threads).whole
    return [Fix(op, x, layout, "rows are wanted in runs, a run in each lane") for x in xs if not a.is_free(x)]


FIXES.update(dict.fromkeys((Fold, Scan, Sorted), fixed))
RULES.update({Fold: reduce, Scan: scan, Sorted: sort})
