"""Missing barriers and waits between accesses of a shared tile, found before any code is made.

    copy_async %s[..], ..; commit                         error: %s is read here, but the copy may not have landed
    %x = load_shared %s[..]                        ->     note: it starts here
                                                          help: put tc.wait(0) and tc.sync() before line 12

The scalars of a kernel decide which accesses meet, and they are few. So the kernel's scalar program is run, for sizes that make its loops
go round more often than any ring of stages has slots, and for a first and a last block. What it does to shared memory is a list of accesses
to boxes of elements, barriers, commits and waits, and that list is checked: two accesses of common elements, one of them a write, want a
barrier between them, and a copy a wait before it (`order`). So indices that are affine, modular, or carried from round to round are all alike.

A hazard that follows from sizes and blocks alone is an error. Where a value decides that comes from memory, both ways are tried, and what
is found so is "unproven": it is for the simulator to decide. So is what the run leaves out, when loops are too long.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilec.errors import Code, TileError, notice
from tilec.ir.core import Block, Effect, Function, Op, Value
from tilec.ir.ops.arith import FloorDiv, Mod
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.base import Constant, Elementwise
from tilec.ir.ops.control import Assume, BlockCount, BlockIndex, For, If, While
from tilec.ir.ops.gather import Chosen
from tilec.ir.ops.memory import Shared, SharedSlice
from tilec.ir.ops.semaphores import Fence
from tilec.ir.ops.sync import Arrive, Barrier, BarrierSlice, Meeting, Sync
from tilec.ir.ops.warps import InWarps
from tilec.ir.target import Hardware
from tilec.ir.types import BarrierType, SharedType, TileType, Warps
from tilec.passes.order import Came, Committed, Event, Fault, Met, Replay, Touch, Unordered, Waited

STEPS = 20_000  # ops of one run
GUESSES = 3  # rounds of a loop whose end is not known
UNITS = 4096  # the most that sizes are made multiples of

Number = int | float | bool


class Hazard(NamedTuple):
    """Two accesses that want something between them: `remedy`, in the author's words. `certain` unless values from memory decide."""

    tile: str
    first: Op
    second: Op
    remedy: str
    certain: bool

    def error(self) -> TileError:
        (before, doing), (now, _) = verbs(self.first), verbs(self.second)
        kind = Code.WAIT if "tc.wait" in self.remedy else Code.BARRIER
        late = "the copy to it may not have landed" if kind is Code.WAIT else f"other threads may still be {doing} it"
        again = ", in an earlier round" if self.first is self.second else ""
        where = f" before line {self.second.loc.line}" if self.second.loc else ""
        notes = ((f"it is {before} here{again}", self.first.loc),) if self.first.loc else ()
        return TileError(f"{self.tile} is {now} here, but {late}", loc=self.second.loc, hint=f"put {self.remedy}{where}", notes=notes, code=kind)


def verbs(op: Op) -> tuple[str, str]:
    """What an op does to shared memory: as done, and as being done."""
    if isinstance(op, CopyAsync):
        return "copied to", "copying to"
    if isinstance(op, Atomic):
        return "updated", "updating"
    return ("read", "reading") if op.effect is Effect.READ else ("written", "writing")


def check_hazards(function: Function, target: Hardware) -> Function:
    """The function, if no hazard is certain. Raises TileError with both lines and what to insert."""
    found, faults = judged(function)
    for fault in sorted(faults, key=lambda f: not f.certain):
        if fault.certain:
            notes = tuple((text, op.loc) for text, op in fault.others if op.loc is not None)
            raise TileError(fault.message, loc=fault.op.loc, hint=BARRIERS, notes=notes, code=fault.code)
        notice(f"unproven: {f'line {fault.op.loc.line}: ' if fault.op.loc else ''}{fault.message}; kernel.simulate tells")
    for hazard in found:
        if hazard.certain:
            raise hazard.error()
        lines = [f"line {op.loc.line}" if op.loc else op.mnemonic for op in (hazard.first, hazard.second)]
        notice(f"unproven: {hazard.tile}, {' and '.join(lines)}: {hazard.remedy} may be missing between them; kernel.simulate tells")
    return function


BARRIERS = "a barrier is complete when as many warps as it counts have come, each once: look who does not, and whether slots and counts agree"


def hazards(function: Function) -> list[Hazard]:
    """What is found in a few runs; one for each pair of ops, certain ones first."""
    return judged(function)[0]


def judged(function: Function) -> tuple[list[Hazard], list[Fault]]:
    """Accesses that nothing sets apart, one for each pair of ops, certain ones first; and barriers at which warps wait in vain or come too often,
    one for each op."""
    found: dict[tuple[Op, Op], Hazard] = {}
    faults: dict[Op, Fault] = {}
    if any(isinstance(op, Shared | Barrier) for op in function.walk()):
        for run in runs(function):
            replay = run.replay()
            for hazard in map(hazard_of, replay.unordered):
                known = found.get((hazard.first, hazard.second))
                if known is None or hazard.certain > known.certain:
                    found[hazard.first, hazard.second] = hazard
            for fault in replay.faults:
                if fault.op not in faults or fault.certain > faults[fault.op].certain:
                    faults[fault.op] = fault
    return sorted(found.values(), key=lambda h: not h.certain), list(faults.values())


def hazard_of(pair: Unordered) -> Hazard:
    old, new = pair.first, pair.second
    certain = old.certain and new.certain and ((old.exact and new.exact) or old.covers(new) or new.covers(old))
    return Hazard(old.tile.result.name or "a shared tile", old.op, new.op, remedy(pair), certain)


def remedy(pair: Unordered) -> str:
    """What should stand between two accesses."""
    old, new = pair.first, pair.second
    waits = ""
    if pair.late:
        waits = "tc.commit() and tc.wait(0)" if pair.newer is None else f"tc.wait({pair.newer})"
    if old.group and new.group and not old.group.overlaps(new.group) and pair.by_name:
        first = f"{waits} and tc.arrive(b)" if waits else "tc.arrive(b)"
        return f"{first} behind it in {old.group.words}, and tc.sync(b)"
    return f"{waits.replace(' and', ',')} and tc.sync()" if waits else "tc.sync()"


def runs(function: Function) -> Iterator[Run]:
    """For sizes of many rounds and of one, the first block and the last; once more the other way round if something had to be guessed."""
    rings = [op.memory if isinstance(op, SharedSlice) else op.barrier for op in function.walk() if isinstance(op, SharedSlice | BarrierSlice)]
    slots = max((v.type.shape[0] for v in rings), default=1)
    facts = [int(op.y.owner.value) for op in function.launch.ops if isinstance(op, Mod) and isinstance(op.y.owner, Constant)]
    steps = [int(op.step.owner.value) for op in function.walk() if isinstance(op, For) and isinstance(op.step.owner, Constant)]
    parts = [int(op.y.owner.value) for op in function.walk() if isinstance(op, FloorDiv) and isinstance(op.y.owner, Constant)]
    if not any(isinstance(v.type, BarrierType) for v in rings):  # groups that meet count their rounds, which others step through
        parts = []
    unit = 1
    for n in (*facts, *steps, *parts):
        unit = math.lcm(unit, n) if n and math.lcm(unit, n) <= UNITS else unit
    for rounds in (slots + 2, 1):
        sizes: dict[Value, Any] = {p: unit * rounds for p in function.params if integer(p)}
        grid = launch(function, sizes)
        if grid is None:
            continue
        for block in dict.fromkeys([(0,) * len(grid), tuple(max(n - 1, 0) for n in grid)]):
            for guess in (True, False):
                run = Run(sizes, block, grid, guess)
                run.whole(function.body)
                yield run
                if run.certain:
                    break


def launch(function: Function, sizes: dict[Value, Any]) -> tuple[int, ...] | None:
    """The grid for these sizes; None if they go against an assumption."""
    run = Run(sizes, (), (), True)
    run.block(function.launch)
    facts = [run.values.get(op.fact) for op in function.launch.ops if isinstance(op, Assume)]
    grid = [run.values.get(v) for v in function.launch.yielded]
    return None if False in facts else tuple(n if isinstance(n, int) else 1 for n in grid)


def integer(value: Value) -> bool:
    """Is it a scalar that this follows: an integer or a bool?"""
    return isinstance(value.type, TileType) and not value.type.shape and (value.type.dtype.is_int or value.type.dtype.is_bool)


class Place(NamedTuple):
    """A part of a shared tile: of which, and at which index along each leading axis that is gone (None if not known)."""

    tile: Shared
    at: tuple[int | None, ...]


class Run:
    """One way through a kernel, with numbers for its scalars."""

    def __init__(self, sizes: dict[Value, Any], block: Sequence[int], grid: Sequence[int], guess: bool):
        self.values: dict[Value, Number | None] = dict(sizes)
        self.places: dict[Value, Place] = {}
        self.block_index, self.grid, self.guess = block, grid, guess
        self.certain = True  # nothing was guessed up to here
        self.left = STEPS
        self.group: Warps | None = None
        self.events: list[Event] = []
        self.stopped: Op | None = None  # that could not be followed

    def whole(self, body: Block) -> None:
        """Run the kernel."""
        try:
            self.block(body)
        except Unfollowed as stopped:
            self.certain, self.stopped = False, stopped.op

    def replay(self) -> Replay:
        """What its events come to."""
        replay = Replay(self.events, self.left >= 0 and self.stopped is None)
        if self.stopped is not None:
            replay.faults.append(Fault(self.stopped, "which barrier of the row is met here is for a value from memory to say", False))
        return replay

    # scalars

    def block(self, block: Block) -> list[Number | None]:
        """Run a block; returns what it yields."""
        for op in block.ops:
            self.left -= 1
            if self.left < 0:
                break
            self.step(op)
        return [self.values.get(v) for v in block.yielded]

    def step(self, op: Op) -> None:
        rule = next((rule for kind, rule in RULES.items() if isinstance(op, kind)), None)
        if rule is not None:
            rule(self, op)
        elif op.results and all(map(integer, op.results)) and isinstance(op, Elementwise):
            self.values[op.result] = self.number(op)
        elif isinstance(getattr(op, "memory", None) and op.memory.type, SharedType):  # type: ignore[attr-defined]
            self.access(op, op.memory)  # type: ignore[attr-defined]
        elif op.effect is Effect.SYNC:  # a kind of barrier that is not known here: say nothing of what it may do
            self.events.append(Met(self.group, op, self.certain))

    def number(self, op: Elementwise) -> Number | None:
        given = [self.values.get(v) for v in op.operands]
        if None in given:
            return None
        with np.errstate(all="ignore"):
            try:
                found = op.eval(_Quiet(), *(np.full((1,), x, v.type.dtype.carrier) for x, v in zip(given, op.operands, strict=True)))
            except TileError:
                return None
        dtype = op.result.type.dtype
        return (found if dtype.is_bool else dtype.round(found))[0].item()

    def decide(self, value: Value) -> bool:
        """A condition; a guess, and no certainty from there on, if it is not known."""
        known = self.values.get(value)
        if known is None:
            self.certain = False
            return self.guess
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
        counters: Any = [None] * GUESSES
        if start is None or stop is None or not step:
            self.certain = False
        else:
            counters = range(int(start), int(stop), int(step))
        carried = [self.values.get(v) for v in op.inits]
        for counter in itertools.takewhile(lambda _: self.left > 0, counters):
            self.bind(op.body.args, [counter, *carried])
            carried = self.block(op.body)
        self.bind(op.results, carried)

    def while_loop(self, op: While) -> None:
        carried = [self.values.get(v) for v in op.inits]
        guesses = 0
        while self.left > 0:
            self.bind(op.test.args, carried)
            (goes_on,) = self.block(op.test)
            if goes_on is None:
                self.certain, guesses = False, guesses + 1
            if goes_on is False or guesses > GUESSES:
                break
            self.bind(op.body.args, carried)
            carried = self.block(op.body)
        self.bind(op.results, carried)

    def branch(self, op: If) -> None:
        self.bind(op.results, self.block(op.then if self.decide(op.condition) else op.orelse))

    def in_warps(self, op: InWarps) -> None:
        outer, self.group = self.group, op.group
        self.block(op.body)
        self.group = outer

    # shared memory

    def shared(self, op: Shared) -> None:
        self.places[op.result] = Place(op, ())

    def slice(self, op: SharedSlice) -> None:
        place, index = self.places[op.memory], self.values.get(op.index)
        self.places[op.result] = Place(place.tile, (*place.at, None if index is None else int(index)))

    def copy(self, op: CopyAsync) -> None:
        self.access(op, op.target)

    def access(self, op: Any, memory: Value) -> None:
        place = self.places[memory]
        box = [(0, n) if at is None else (at, at + 1) for at, n in zip(place.at, place.tile.shape, strict=False)]
        exact = None not in place.at
        if isinstance(op, CopyAsync):
            box += [(0, n) for n in memory.type.shape]
        else:
            sizes = dict(zip(op.dims, op.tile_shape, strict=True))
            for axis, (v, extent) in enumerate(zip(op.offsets, memory.type.shape, strict=True)):
                at = self.values.get(v)
                chosen = isinstance(op, Chosen) and axis in op.axes
                box.append((0, extent) if at is None or chosen else (max(int(at), 0), min(int(at) + sizes.get(axis, 1), extent)))
                exact &= at is not None and not chosen and not (isinstance(op, Chosen) and op.mask is not None)
        self.events.append(Touch(self.group, op, self.certain, place.tile, tuple(box), exact))

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


RULES: dict[Any, Any] = {
    Constant: Run.constant, BlockIndex: Run.block_number, BlockCount: Run.block_total, For: Run.for_loop, While: Run.while_loop, If: Run.branch,
    InWarps: Run.in_warps, Shared: Run.shared, SharedSlice: Run.slice, CopyAsync: Run.copy, Commit: Run.commit, Wait: Run.wait, Sync: Run.sync,
    Fence: Run.fence, Barrier: Run.barrier, Arrive: Run.arrive,
}  # fmt: skip


