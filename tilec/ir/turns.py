"""Blocks that wait for one another, and groups of warps within a block that do, run in turns: each until it waits, then the next.

What runs is a generator, made of the author's code, that yields what it waits for: an op, a `Ticket` of a barrier, or None where a loop may be
waiting for memory to change. A round in which nobody goes on is a deadlock, unless one of them yielded None; then it is one after `PATIENCE`
rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from tilec.errors import Code, Loc, TileError, require
from tilec.ir.core import Op
from tilec.ir.types import Warps

PATIENCE = 10_000  # rounds of loops that may be waiting, in which no block ends
Key = TypeVar("Key")
Run = Iterator[Any]


class Progress:
    """How many waits are over: of a block and all of its groups."""

    def __init__(self) -> None:
        self.passed = 0


class Stuck(NamedTuple):
    """Groups of one block none of which goes on by itself: what each waits for."""

    groups: dict[Warps, Any]


class Ticket:
    """What a group of warps got when it came to a barrier: calling it tells whether the barrier is complete."""

    def __init__(self, op: Op, row: BarrierRow, slot: int):
        self.op, self.row, self.slot, self.round = op, row, slot, row.rounds[slot]

    def __call__(self) -> bool:
        return self.row.rounds[self.slot] > self.round

    @property
    def detail(self) -> str:
        """Which barrier, and how many have come."""
        come = sum(g.count for g in self.row.come_to[self.slot])
        return f", at {self.row.name(self.slot)}: {come} of {self.row.op.warps} warps have come"


class BarrierRow:
    """The named barriers of one block that one op made: who has come to each in this round, and how many rounds are over."""

    def __init__(self, op: Any):
        self.op = op
        self.come_to: list[list[Warps]] = [[] for _ in range(op.slots or 1)]
        self.rounds = [0] * len(self.come_to)

    def name(self, slot: int) -> str:
        return (self.op.result.name or "a barrier") + (f"[{slot}]" if self.op.slots else "")

    def slot(self, ctx: Any, at: int) -> Slot:
        """One of the row."""
        extent = len(self.rounds)
        require(0 <= at < extent, f"index {at} is out of bounds for a row of {extent} barriers", code=Code.OUT_OF_BOUNDS)
        return Slot(self, at)

    def come(self, ctx: Any, op: Op) -> Ticket:
        """Of a single barrier, as `Slot.come`."""
        return Slot(self, 0).come(ctx, op)


class Slot(NamedTuple):
    """One of a row of barriers."""

    row: BarrierRow
    at: int

    def come(self, ctx: Any, op: Op) -> Ticket:
        """The group of `ctx` comes. TileError if it has come already in this round, or if more warps come than the barrier counts."""
        row, group = self.row, ctx.group
        ticket = Ticket(op, row, self.at)
        here = row.come_to[self.at]
        again = [g for g in here if g.overlaps(group)]
        name, counted = row.name(self.at), row.op.warps
        hint = "let them wait first for those that it counts besides, at another barrier"
        text = f"{group.words} come to {name} again before it is complete: {sum(g.count for g in here)} of {counted} warps have"
        require(not again, text, hint=hint)
        here.append(group)
        come = sum(g.count for g in here)
        hint = "tc.barrier takes the warps of all groups that come"
        require(come <= counted, f"{come} warps come to {name}, which counts {counted}", hint=hint)
        if come == counted:
            here.clear()
            row.rounds[self.at] += 1
            ctx.progress.passed += 1
        return ticket


class Part(NamedTuple):
    """A part of a kernel that a group of warps runs."""

    number: int
    group: Warps


class Rounds(Generic[Key]):
    """Generators run in turns, in the order in which they were added. Iterating gives what each waits for, whenever a round brought nothing."""

    def __init__(self, passed: Callable[[], int], ready: Callable[[Key, Iterable[Key]], bool] = lambda key, before: True):
        self.running: dict[Key, Run] = {}
        self.passed, self.ready = passed, ready
        self.idle = 0  # rounds without progress so far

    def __iter__(self) -> Iterator[dict[Key, Any]]:
        while self.running:
            before, count, waiting = self.passed(), len(self.running), {}
            for key, run in list(self.running.items()):
                if not self.ready(key, self.running):
                    continue
                try:
                    waiting[key] = next(run)
                except StopIteration:
                    del self.running[key]
            moved = len(self.running) < count or self.passed() > before
            self.idle = 0 if moved else self.idle + 1
            if not moved:
                yield waiting


class Groups:
    """The groups of warps of one block that have something to do: parts of the same warps one after another, others in turns."""

    def __init__(self, progress: Progress):
        def first_of_its_warps(part: Part, all_: Iterable[Part]) -> bool:
            return not any(p.number < part.number and p.group.overlaps(part.group) for p in all_)

        self.rounds: Rounds[Part] = Rounds(lambda: progress.passed, first_of_its_warps)
        self.count = 0

    def add(self, group: Warps, run: Run) -> None:
        self.count += 1
        self.rounds.running[Part(self.count, group)] = run

    def join(self) -> Iterator[Any]:
        """Run all to their ends; yields where none of them goes on."""
        for waiting in self.rounds:
            yield Stuck({part.group: what for part, what in waiting.items()}) if None not in waiting.values() else None


def run_blocks(blocks: Sequence[Any], start: Callable[[Any], Run]) -> None:
    """Run the blocks, whose contexts are given, to their ends. Raises TileError if all that are left wait for one another."""
    rounds: Rounds[Any] = Rounds(lambda: sum(ctx.progress.passed for ctx in blocks))
    rounds.running.update((ctx, start(ctx)) for ctx in blocks)
    for waiting in rounds:
        if None not in waiting.values() or rounds.idle > PATIENCE:
            raise deadlock(waiting)


def deadlock(waiting: dict[Any, Any]) -> TileError:
    """Who waits, and where."""
    stuck = [(ctx, what) for ctx, what in waiting.items() if isinstance(what, Stuck)]
    return groups_wait(*stuck[0]) if stuck else blocks_wait(waiting)


def groups_wait(ctx: Any, stuck: Stuck) -> TileError:
    who = [group.words for group in stuck.groups]
    where = f" (in block {block_name(ctx)})"
    text = f"{' and '.join(who)} wait {'for one another ' if len(who) > 1 else ''}for ever{where}"
    places = [(f"{group.words} here{getattr(what, 'detail', '')}", place_of(what)) for group, what in stuck.groups.items()]
    hint = "a barrier is complete when as many warps as it counts have come: look who does not, and whether slots and counts agree"
    return TileError(text, loc=places[0][1], hint=hint, notes=tuple((t, loc) for t, loc in places if loc is not None), code=Code.DEADLOCK)


def blocks_wait(waiting: dict[Any, Any]) -> TileError:
    places: dict[Op | None, list[str]] = {}
    for ctx, op in waiting.items():
        places.setdefault(op, []).append(block_name(ctx))
    shown = [f"{'block' if len(b) == 1 else 'blocks'} {'; '.join(b[:6])}{' and more' if len(b) > 6 else ''}" for b in places.values()]
    loc = next((op.loc for op in places if op is not None), None)
    notes = [(f"{who} here", op.loc) for who, op in zip(shown, places, strict=True) if op is not None and op.loc is not None]
    text = f"{' and '.join(shown)} wait for one another for ever"
    hint = "every value that is waited for must be posted by a block that does not wait itself"
    return TileError(text, loc=loc, hint=hint, notes=tuple(notes[1:]), code=Code.DEADLOCK)


def block_name(ctx: Any) -> str:
    return ", ".join(str(int(p[0])) for p in ctx.place[: ctx.rank])


def place_of(what: Any) -> Loc | None:
    return what.op.loc if isinstance(what, Ticket) else getattr(what, "loc", None)
