"""The scalars of a kernel, run with numbers: the accesses to shared memory, barriers and waits that they lead to, as a list of events.

    %then = where %wrapped, %next, %zero                copy_async to places 4096 to 6143 of sa
    %s = shared_view %sa, [%then, %0, %0] ..      ->    commit
    copy_async %s, %a, [%i, %ahead]; commit; sync       barrier of all warps

Of a kernel only a `Part` is run for this: what such events hang on. The loop of a matrix product has a dozen such scalars; what it adds up is
none of them, nor is a loop in which nothing of that kind happens.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tilec.errors import TileError
from tilec.ir.core import Block, Effect, Function, Op, Value
from tilec.ir.ops.arith import Compare, Where
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.base import Constant, Elementwise
from tilec.ir.ops.control import Assume, BlockCount, BlockIndex, For, If, While
from tilec.ir.ops.gather import Chosen, Scatter
from tilec.ir.ops.memory import Shared, StoreShared
from tilec.ir.ops.semaphores import Fence
from tilec.ir.ops.shared_views import SharedView, laid_out, viewed_tile
from tilec.ir.ops.sync import Arrive, Barrier, BarrierSlice, Meeting, Sync
from tilec.ir.ops.warps import InWarps
from tilec.ir.types import SharedType, TileType, Warps
from tilec.passes.order import Came, Committed, Event, Met, Touch, Waited
from tilec.passes.periods import Period, Unsteady
from tilec.records import field, record

WORD = 32  # bits
STEPS = 20_000  # ops of one run
WINDOW = 64  # rounds that are run before others like them are skipped: some times more than a period has
GUESSES = 3  # rounds of a loop whose end is not known

Number = int | float | bool


def launch(function: Function, sizes: dict[Value, Any]) -> tuple[int, ...] | None:
    """The grid for these sizes; None if they go against an assumption."""
    run = Run(sizes, (), ())
    run.block(function.launch)
    facts = [run.values.get(op.fact) for op in function.launch.ops if isinstance(op, Assume)]
    grid = [run.values.get(v) for v in function.launch.yielded]
    return None if False in facts else tuple(n if isinstance(n, int) else 1 for n in grid)


def integer(value: Value) -> bool:
    """Is it a scalar that this follows: an integer or a bool?"""
    return isinstance(value.type, TileType) and not value.type.shape and (value.type.dtype.is_int or value.type.dtype.is_bool)


class Part:
    """The ops of a kernel on which its accesses of shared memory and its barriers hang, they themselves among them."""

    def __init__(self, function: Function):
        self.kept: set[Op] = set()
        self.wanted: set[Value] = set()
        self.looped: set[Op] = set()  # those in loops
        self._homes: dict[Value, tuple[Op, int]] = {}  # of what loops carry: which one, and where; -1 is a counter
        self._lists: dict[Block, list[Op]] = {}
        self.strides: dict[Value, tuple[int, ...]] = {}  # of shared tiles and views, as far as they were asked for
        self.steps: dict[Op, list[tuple[Value, int, int]]] = {}  # of views: offsets, what one step of each is in memory, and how many there are
        self.units = units(function)
        self._mark(function.body, False)

    def ops(self, block: Block) -> list[Op]:
        """Those in a block, in order."""
        found = self._lists.get(block)
        if found is None:
            found = self._lists[block] = [op for op in block.ops if op in self.kept]
        return found

    def of(self, *kinds: type[Op]) -> list[Any]:
        return [op for op in self.kept if isinstance(op, kinds)]

    def _mark(self, block: Block, looped: bool) -> bool:
        """Keep what acts on shared memory in a block, and what decides whether it does; whether there is any."""
        acts = False
        for op in block.ops:
            if isinstance(op, For | While):
                for region, skipped in zip(op.regions, (1, 1) if isinstance(op, For) else (0, 0), strict=False):
                    self._homes |= {a: (op, n - skipped) for n, a in enumerate(region.args)}
            if looped:
                self.looped.add(op)
            inner = [self._mark(region, looped or isinstance(op, For | While)) for region in op.regions]
            if any(inner) or shares(op):
                acts = True
                self._keep(op)
        return acts

    def _keep(self, op: Op) -> None:
        if op in self.kept:
            return
        self.kept.add(op)
        if isinstance(op, For):
            self._want(op.start, op.stop, op.step)
        elif isinstance(op, While):
            self._want(*op.test.yielded)
        elif isinstance(op, CopyAsync):
            self._want(op.target)
        elif isinstance(getattr(op, "memory", None) and op.memory.type, SharedType) and not isinstance(op, SharedView):  # type: ignore[attr-defined]
            self._want(op.memory, *op.offsets)  # type: ignore[attr-defined]
        else:
            self._want(*op.operands)

    def _want(self, *values: Value) -> None:
        """Keep whatever makes some values: scalars, and which tile or barrier is meant."""
        todo = list(values)
        while todo:
            value = todo.pop()
            if value in self.wanted or not (integer(value) or not isinstance(value.type, TileType)):
                continue
            self.wanted.add(value)
            op, at = self._homes.get(value) or (value.owner, op_at(value))
            if isinstance(op, For | While):
                if at >= 0:
                    todo += [op.inits[at], op.body.yielded[at]]
                self._keep(op)
            elif isinstance(op, If):
                todo += [region.yielded[at] for region in op.regions]
                self._keep(op)
            elif isinstance(op, Elementwise | Constant | BlockIndex | BlockCount | SharedView | BarrierSlice | Shared | Barrier):
                self._keep(op)


def units(function: Function) -> dict[Value, int]:
    """The bits that one place is, of shared tiles whose elements are seen as other ones, too, or are put into words."""
    found: dict[Value, int] = {}
    for op in function.walk():
        other = op.dtype.bits if isinstance(op, SharedView) and op.dtype is not None else WORD if in_words(op) else 0
        if other:
            memory: Value = op.memory  # type: ignore[attr-defined]
            tile = viewed_tile(memory)
            found[tile] = math.gcd(found.get(tile, tile.type.item_bits), memory.type.item_bits, other)
    return found


def in_words(op: Op) -> bool:
    """Whether an op puts elements that fill no bytes into shared memory: what fills no word by atomics on the whole of it."""
    return isinstance(op, StoreShared | Scatter) and isinstance(op.memory.type, SharedType) and op.memory.type.packed


def whole(places: int, size: int) -> int:
    """A set of places with all others in the same groups of so many."""
    groups = ((1 << (-(-places.bit_length() // size) * size)) - 1) // ((1 << size) - 1)
    for n in range((size - 1).bit_length()):
        places |= places >> (1 << n)
    return (places & groups) * ((1 << size) - 1)


def op_at(value: Value) -> int:
    """Which of its op's results it is."""
    return value.owner.results.index(value) if isinstance(value.owner, Op) else -1


def shares(op: Op) -> bool:
    """Does it act on shared memory, or wait?"""
    if isinstance(op, SharedView | Barrier | Fence):
        return False
    on_shared = isinstance(getattr(op, "memory", None) and op.memory.type, SharedType)  # type: ignore[attr-defined]
    return on_shared or isinstance(op, CopyAsync | Commit | Wait) or op.effect is Effect.SYNC


@record(frozen=False)
class Sides:
    """How often a condition did not hold and did, and how far the sides of a comparison were apart when they were nearest, `x - y`."""

    times: list[int] = field(default_factory=lambda: [0, 0])
    nearest: int | None = None

    def take(self, holds: bool, apart: int | None = None) -> None:
        self.times[holds] += 1
        if apart is not None and (self.nearest is None or abs(apart) < abs(self.nearest)):
            self.nearest = apart


class Spot(NamedTuple):
    """A part of a shared tile: of which, where in memory it begins, and over which steps of what extents that may move, as far as is not known."""

    tile: Shared
    begin: int
    anywhere: tuple[tuple[int, int], ...] = ()

    def moved(self, offset: int | None, extent: int, stride: int) -> Spot:
        """Moved along an axis: by an offset, or by any below the extent."""
        if offset is None:
            return self._replace(anywhere=(*self.anywhere, (extent, stride)))
        return self._replace(begin=self.begin + offset * stride)


@functools.lru_cache(maxsize=1024)
def places(axes: tuple[tuple[int, int], ...]) -> int:
    """The set of all sums of a multiple of each stride below its extent, as the bits of a number."""
    found = 1
    for extent, stride in axes:
        done = 1
        while done < extent:
            step = min(done, extent - done)
            found |= found << step * stride
            done += step
    return found if all(extent > 0 for extent, _ in axes) else 0


class Run:
    """One way through a kernel, or a part of it, with numbers for its scalars.

    Conditions that are not known are taken to be `guess`, but for `odd`. Branches that are `forced` go the way that is said.
    """

    def __init__(
        self, sizes: dict[Value, Any], block: Sequence[int], grid: Sequence[int], guess: bool = True, part: Part | None = None,
        odd: Value | None = None, forced: dict[Op, bool] | None = None,
    ):  # fmt: skip
        self.values: dict[Value, Number | None] = dict(sizes)
        self.spots: dict[Value, Spot] = {}
        self.strides, self.steps, self.units = (part.strides, part.steps, part.units) if part else ({}, {}, {})
        self.block_index, self.grid, self.guess, self.part, self.odd = block, grid, guess, part, odd
        self.forced = forced or {}
        self.certain = True  # nothing was guessed up to here
        self.guessed: dict[Value, None] = {}  # conditions
        self.sides: dict[Op, Sides] = {}  # of branches and comparisons
        self.apart: dict[Op, int] = {}  # of comparisons: the difference when they were made last
        self.left = STEPS
        self.loops: list[Op] = []  # that run, outermost first
        self.cut: Op | None = None  # where the steps were over
        self.group: Warps | None = None
        self.events: list[Event] = []
        self.stopped: Op | None = None  # that could not be followed
        self.outside = False  # a view began where its tile has no place for it

    def whole(self, body: Block) -> None:
        """Run the kernel."""
        try:
            self.block(body)
        except Unfollowed as stopped:
            self.certain, self.stopped = False, stopped.op
        if self.outside:  # nobody may run it so
            for event in self.events:
                event.certain = False

    # scalars

    def block(self, block: Block) -> list[Number | None]:
        """Run a block; returns what it yields."""
        for op in self.part.ops(block) if self.part else block.ops:
            self.left -= 1
            if self.left < 0:
                self.cut = self.cut or (self.loops or [op])[0]
                break
            self.step(op)
        return [self.values.get(v) for v in block.yielded]

    def step(self, op: Op) -> None:
        rule = rule_of(type(op))  # type: ignore[arg-type]
        if rule is not None:
            rule(self, op)

    def other(self, op: Any) -> None:
        """An op of no kind that is told apart: it computes a scalar, or acts on shared memory, or does not matter."""
        if op.results and all(map(integer, op.results)) and isinstance(op, Elementwise):
            self.values[op.result] = self.number(op)
        elif isinstance(getattr(op, "memory", None) and op.memory.type, SharedType):
            self.access(op, op.memory)
        elif op.effect is Effect.SYNC:  # a kind of barrier that is not known here: say nothing of what it may do
            self.events.append(Met(self.group, op, self.certain))

    def number(self, op: Elementwise) -> Number | None:
        given = [self.values.get(v) for v in op.operands]
        if None in given:
            return None
        dtype = op.result.type.dtype
        try:
            found = op.eval(_QUIET, *given)  # what is said of arrays holds for Python's numbers, mostly
            if type(found) is bool if dtype.is_bool else type(found) is int and dtype.min <= found <= dtype.max:
                return found  # type: ignore[no-any-return]
        except (AttributeError, TypeError, ValueError, OverflowError):
            pass
        except TileError:
            return None
        with np.errstate(all="ignore"):
            try:
                found = op.eval(_QUIET, *(np.full((1,), x, v.type.dtype.carrier) for x, v in zip(given, op.operands, strict=True)))
            except TileError:
                return None
        return (found if dtype.is_bool else dtype.round(found))[0].item()  # type: ignore[no-any-return]

    def compare(self, op: Compare) -> None:
        if integer(op.result):
            x, y = self.values.get(op.x), self.values.get(op.y)
            holds = self.values[op.result] = self.number(op)
            if holds is not None:
                self.apart[op] = apart = int(x) - int(y)  # type: ignore[arg-type]
                if self.certain:
                    self.sides.setdefault(op, Sides()).take(bool(holds), apart)

    def choose(self, op: Where) -> None:
        if integer(op.result):
            holds = self.values.get(op.condition)
            self.values[op.result] = None if holds is None else self.values.get(op.x if holds else op.y)

    def decide(self, value: Value) -> bool:
        """A condition; a guess, and no certainty from there on, if it is not known."""
        known = self.values.get(value)
        if known is None:
            self.certain = False
            self.guessed[value] = None
            return self.guess != (value is self.odd)
        return bool(known)

    def constant(self, op: Constant) -> None:
        if integer(op.result):
            self.values[op.result] = op.value

    def block_number(self, op: BlockIndex) -> None:
        self.values[op.result] = self.block_index[op.axis] if op.axis < len(self.block_index) else 0

    def block_total(self, op: BlockCount) -> None:
        self.values[op.result] = self.grid[op.axis] if op.axis < len(self.grid) else 1

    # control flow

    def bind(self, names: Sequence[Value], numbers: Sequence[Number | None]) -> None:
        self.values.update(zip(names, numbers, strict=True))

    def for_loop(self, op: For) -> None:
        start, stop, step = (self.values.get(v) for v in (op.start, op.stop, op.step))
        counters: Sequence[int | None] = [None] * GUESSES
        if start is None or stop is None or not step:
            self.certain = False
        else:
            counters = range(int(start), int(stop), int(step))
        carried = [self.values.get(v) for v in op.inits]
        self.loops.append(op)
        carried = self.rounds(op, counters, carried)
        self.loops.pop()
        self.bind(op.results, carried)

    def rounds(self, op: For, counters: Sequence[int | None], carried: list[Number | None]) -> list[Number | None]:
        """All rounds of a loop, but for those in the middle that are known to be like others. What is carried in the end."""
        history: list[list[Number | None]] = []
        apart: list[dict[Op, int]] = []
        at = 0
        while at < len(counters) and self.left > 0:
            arguments = [counters[at], *carried]
            self.bind(op.body.args, arguments)
            carried = self.block(op.body)
            at += 1
            if len(counters) > 3 * WINDOW and self.part:
                history.append(arguments)
                apart.append(dict(self.apart))
                if len(history) == WINDOW:
                    skipped, carried = self.skipped(op, history, apart, len(counters) - WINDOW - at, carried)
                    at += skipped
                    history, apart = [], []
        return carried

    def skipped(
        self, op: For, history: list[list[Number | None]], apart: list[dict[Op, int]], most: int, carried: list[Number | None]
    ) -> tuple[int, list[Number | None]]:
        """How many rounds are like those before them, `most` at most, and what is carried behind them."""
        assert self.part
        try:
            period = Period(op, self.part.ops, self.values, history)
            times = max(period.repeats(most // period.rounds, apart), 0)
        except Unsteady:
            return 0, carried
        steps = [None if v is None else period.known[a].over(period.rounds) for a, v in zip(op.body.args[1:], carried, strict=True)]
        return times * period.rounds, [None if s is None or v is None else v + times * s for v, s in zip(carried, steps, strict=True)]

    def while_loop(self, op: While) -> None:
        carried = [self.values.get(v) for v in op.inits]
        guesses = 0
        self.loops.append(op)
        while self.left > 0:
            self.bind(op.test.args, carried)
            (goes_on,) = self.block(op.test)
            if goes_on is None:
                self.certain, guesses = False, guesses + 1
            if goes_on is False or guesses > GUESSES:
                break
            self.bind(op.body.args, carried)
            carried = self.block(op.body)
        self.loops.pop()
        self.bind(op.results, carried)

    def branch(self, op: If) -> None:
        side = self.forced.get(op)
        if side is None:
            side = self.decide(op.condition)
        else:
            self.certain = False
        self.sides.setdefault(op, Sides()).take(side)
        self.bind(op.results, self.block(op.then if side else op.orelse))

    def in_warps(self, op: InWarps) -> None:
        outer, self.group = self.group, op.group
        self.block(op.body)
        self.group = outer

    # shared memory

    def shared(self, op: Shared) -> None:
        self.spots[op.result] = Spot(op, 0)

    def view(self, op: SharedView) -> None:
        spot, steps = self.spots[op.memory], self.steps.get(op)
        if steps is None:
            given = zip(op.offsets, self.strides_of(op.memory), op.memory.type.shape, op.reach, strict=True)
            steps = self.steps[op] = [(v, stride, extent - last) for v, stride, extent, last in given if extent - last > 1]
        for v, stride, extent in steps:
            at = self.values.get(v)
            if at is None or 0 <= at < extent:
                spot = spot.moved(None if at is None else int(at), extent, stride)
            else:  # there is no such place, and nothing to be said of accesses to it
                spot, self.outside = spot.moved(None, 0, stride), True
        self.spots[op.result] = spot

    def strides_of(self, memory: Value) -> tuple[int, ...]:
        """How far apart in memory neighbours along each axis lie."""
        found = self.strides.get(memory)
        if found is None:
            width = self.width_of(memory)
            found = self.strides[memory] = tuple(n * width for n in laid_out(memory).strides)
        return found

    def width_of(self, memory: Value) -> int:
        """Of how many places an element consists."""
        bits: int = memory.type.item_bits
        return bits // self.units.get(viewed_tile(memory), bits) if self.units else 1

    def copy(self, op: CopyAsync) -> None:
        self.touch(op, op.target, [(0, n) for n in op.target.type.shape], True)

    def access(self, op: Any, memory: Value) -> None:
        sizes = dict(zip(op.dims, op.tile_shape, strict=True))
        chosen, exact = (op.axes, op.mask is None) if isinstance(op, Chosen) else ((), True)
        ranges: list[tuple[int, int]] = []
        for axis, (v, extent) in enumerate(zip(op.offsets, memory.type.shape, strict=True)):
            at = self.values.get(v)
            known = at is not None and axis not in chosen
            ranges.append((max(int(at or 0), 0), min(int(at or 0) + sizes.get(axis, 1), extent)) if known else (0, extent))
            exact &= known
        self.touch(op, memory, ranges, exact)

    def touch(self, op: Any, memory: Value, ranges: Sequence[tuple[int, int]], exact: bool) -> None:
        """An access to what lies in ranges along the axes of a shared tile or view."""
        tile, begin, anywhere = self.spots[memory]
        axes = list(anywhere)
        for (low, high), stride in zip(ranges, self.strides_of(memory), strict=True):
            begin += low * stride
            axes.append((high - low, stride))
        if self.units:
            axes.append((self.width_of(memory), 1))
        found = places(tuple(axes)) << begin
        around = whole(found, WORD // self.units[tile.result]) if in_words(op) else 0
        self.events.append(Touch(self.group, op, self.certain, tile, found, exact and not anywhere, around))

    def commit(self, op: Commit) -> None:
        self.events.append(Committed(self.group, op, self.certain))

    def wait(self, op: Wait) -> None:
        self.events.append(Waited(self.group, op, self.certain, op.pending))

    def sync(self, op: Sync) -> None:
        """Of the whole block it ends the matter; of a group only for that group's threads."""
        if op.barrier is None:
            self.events.append(Met(self.group, op, self.certain))
        else:
            self.come(op, True)

    def arrive(self, op: Arrive) -> None:
        self.come(op, False)

    def come(self, op: Meeting, waits: bool) -> None:
        assert op.barrier is not None
        slice = op.barrier.owner
        slot = self.values.get(slice.index) if isinstance(slice, BarrierSlice) else 0
        if slot is None:
            raise Unfollowed(op)
        self.events.append(Came(self.group, op, self.certain, op.root, int(slot), waits))

    def barrier(self, op: Barrier) -> None:
        """There from the start."""

    def fence(self, op: Fence) -> None:
        """Orders memory for others, and makes nobody wait."""


class Unfollowed(Exception):
    """Which barrier an op means hangs on a value from memory."""

    def __init__(self, op: Op):
        self.op = op


class _Quiet:
    def fail(self, where: Any, message: str, code: Any = None) -> None:
        raise TileError(message, code=code)


_QUIET = _Quiet()

RULES: dict[Any, Any] = {
    Constant: Run.constant, BlockIndex: Run.block_number, BlockCount: Run.block_total, For: Run.for_loop, While: Run.while_loop, If: Run.branch,
    InWarps: Run.in_warps, Shared: Run.shared, SharedView: Run.view, CopyAsync: Run.copy, Commit: Run.commit, Wait: Run.wait, Sync: Run.sync,
    Fence: Run.fence, Barrier: Run.barrier, Arrive: Run.arrive, Compare: Run.compare, Where: Run.choose,
}  # fmt: skip


@functools.cache
def rule_of(kind: type[Op]) -> Any:
    """What a run does with ops of a class."""
    return next((rule for known, rule in RULES.items() if issubclass(kind, known)), Run.other)
