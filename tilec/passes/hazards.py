"""Missing barriers and waits between accesses of a shared tile, found before any code is made.

    copy_async %s[..], ..; commit                         error: %s is read here, but the copy may not have landed
    %x = load_shared %s[..]                        ->     note: it starts here
                                                          help: put tc.wait(0) and tc.sync() before line 12

The scalars of a kernel decide which accesses meet, and they are few. So the kernel's scalar program is run (`scalars`), for sizes that make its
loops go round more often than any ring of stages has slots, and for sizes and blocks for which its branches go the other way (`ways`). What it does
to shared memory is a list of accesses to boxes of elements, barriers, commits and waits, and that list is checked: two accesses of common
elements, one of them a write, want a barrier between them, and a copy a wait before it (`order`). So indices that are affine, modular, or carried
from round to round are all alike.

A hazard that follows from sizes and blocks alone is an error. Where a value decides that comes from memory, both ways are tried, and a branch
that no sizes were found for is taken by force; what is found so is "unproven": it is for the simulator to decide. So is what the runs
leave out, when loops are too long or branches too many.
"""

from __future__ import annotations

from typing import NamedTuple

from tilec.errors import Code, TileError, notice
from tilec.ir.core import Effect, Function, Op
from tilec.ir.ops.asynchronous import CopyAsync
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.memory import Shared
from tilec.ir.ops.sync import Barrier
from tilec.ir.target import Hardware
from tilec.passes.order import Fault, Replay, Unordered
from tilec.passes.scalars import Run
from tilec.passes.ways import Ways


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
        ways = Ways(function)
        for run in ways:
            replay = replayed(run)
            for hazard in map(hazard_of, replay.unordered):
                known = found.get((hazard.first, hazard.second))
                if known is None or hazard.certain > known.certain:
                    found[hazard.first, hazard.second] = hazard
            for fault in replay.faults:
                if fault.op not in faults or fault.certain > faults[fault.op].certain:
                    faults[fault.op] = fault
        if ways.left_out is not None:
            faults.setdefault(ways.left_out, Fault(ways.left_out, "there are more ways through the kernel than are tried", False))
    return sorted(found.values(), key=lambda h: not h.certain), list(faults.values())


def replayed(run: Run) -> Replay:
    """What a run's events come to."""
    replay = Replay(run.events, run.cut is None and run.stopped is None)
    if run.stopped is not None:
        replay.faults.append(Fault(run.stopped, "which barrier of the row is met here is for a value from memory to say", False))
    if run.cut is not None:
        replay.faults.append(Fault(run.cut, "this is run too often to be followed to its end", False))
    return replay


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
