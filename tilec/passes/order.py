"""What barriers order: the accesses of a run of a kernel, replayed by groups of warps, and which of them nothing sets apart.

Warps that always act together are an atom. Each event of an atom has a number, and each atom knows of every other, itself included, up to which
event all of its threads have come; a barrier joins what those that meet know, a named one hands what all that came knew to those that
waited. An access comes before another one if whoever makes the other knows of it. (Vector clocks: Mattern, "Virtual Time and Global
States of Distributed Systems".)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tilec.errors import Code
from tilec.ir.core import Effect, Op
from tilec.ir.ops.asynchronous import CopyAsync
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.memory import Shared
from tilec.ir.ops.sync import Barrier
from tilec.ir.types import Warps
from tilec.records import field, record

MANY = 40  # accesses that nothing has ordered yet: then it pays to see which of them say the same

Atom = int
Clock = dict[Atom, int]


@record(frozen=False)
class Event:
    """Something that a group of warps does (None: all warps). `certain` unless a value from memory decided whether it does."""

    group: Warps | None
    op: Op
    certain: bool


@record(frozen=False)
class Touch(Event):
    """An access to `places` of a tile's memory: a set, as the bits of a number. A copy has a `number`, of its group, once that is
    closed, and has `landed` after a wait for it."""

    tile: Shared
    places: int
    exact: bool  # all of them are touched, as far as is known
    around: int = 0  # those of the words that atomics put elements into, for a write of elements that fill no bytes
    number: int | None = None
    landed: bool = False
    when: Clock = field(default_factory=dict)

    @property
    def copies(self) -> bool:
        return isinstance(self.op, CopyAsync)

    def meets(self, other: Touch) -> bool:
        """Whether the two touch a common element, or an element in a word that atomics update, and not both only read or both update in one step."""
        if self.tile is not other.tile or (self.op.effect is other.op.effect is Effect.READ):
            return False
        if isinstance(self.op, Atomic) and isinstance(other.op, Atomic):
            return False
        if self.around and other.around:  # by atomics, both
            return self.places & other.places != 0
        return (self.around or self.places) & (other.around or other.places) != 0

    def stands_for(self, older: Touch) -> bool:
        """Whether an older access may be forgotten: who knows of this one knows of that."""
        return self.op is older.op and self.places == older.places and self.group == older.group and self.certain == older.certain and not self.copies

    def covers(self, other: Touch) -> bool:
        """Whether it touches whatever the other does."""
        return self.exact and not other.places & ~self.places


class Committed(Event):
    """A group of copies is closed."""


@record(frozen=False)
class Waited(Event):
    """All groups of copies but the newest `pending` have landed."""

    pending: int


class Met(Event):
    """A barrier of all that run it."""


@record(frozen=False)
class Came(Event):
    """An arrival at a named barrier, one of the row that `barrier` makes, and, if `waits`, a wait for it."""

    barrier: Barrier
    slot: int
    waits: bool


class Unordered(NamedTuple):
    """Two accesses that nothing sets apart. If the first is a copy that may not have landed (`late`), `newer` groups of copies have been closed
    since its own, None if that was still open."""

    first: Touch
    second: Touch
    late: bool
    newer: int | None
    by_name: bool  # whether groups have named barriers


class Fault(NamedTuple):
    """Barriers that don't work: what is wrong at an op, whether that is certain, and who waits elsewhere."""

    op: Op
    message: str
    certain: bool
    others: tuple[tuple[str, Op], ...] = ()
    code: Code = Code.NAMED_BARRIER


class Round(NamedTuple):
    """What happened at a named barrier since it last began: who came, with what they knew, and whether they wait."""

    comers: list[Came]
    known: list[Clock]


class Replay:
    """The events of one run, each group's in its order, groups in turns."""

    def __init__(self, events: Sequence[Event], complete: bool):
        self.complete = complete  # whether the run came to its end
        self.atoms = atoms_of([e.group for e in events if e.group is not None])
        self.clock: Clock = dict.fromkeys(self.atoms, 0)
        self.knows: dict[Atom, Clock] = {a: dict.fromkeys(self.atoms, 0) for a in self.atoms}
        self.live: list[Touch] = []
        self.committed: dict[Warps | None, int] = {}
        self.rounds: dict[tuple[Barrier, int], Round] = {}
        self.last: dict[tuple[Barrier, int], Clock] = {}  # when those came who made the last round complete
        self.blocked: dict[Atom, Came] = {}
        self.unordered: list[Unordered] = []
        self.faults: list[Fault] = []
        self.named = any(isinstance(e, Came) for e in events)
        if self.named:
            self.in_turns(events)
        else:
            for event in events:
                self.act(event)

    def members(self, group: Warps | None) -> list[Atom]:
        """The atoms of a group, each called by its first warp; -1 are the warps that are in no group."""
        return [a for a in self.atoms if group is None or group.first <= a < group.first + group.count]

    def in_turns(self, events: Sequence[Event]) -> None:
        """Each group goes on until it waits, as hardware might do; what is found does not depend on that."""
        queues: dict[Atom, deque[Event]] = {a: deque() for a in self.atoms}
        for event in events:
            for a in self.members(event.group):
                queues[a].append(event)
        moved = True
        while moved and not self.faults:
            moved = False
            for a, queue in queues.items():
                while queue and not self.faults and self.free(queue[0], queues):
                    event = queue[0]
                    for b in self.members(event.group):
                        queues[b].popleft()
                    self.act(event)
                    moved = True
                    if a in self.blocked:
                        break
        waiting = list({id(came): came for came in self.blocked.values()}.values())
        if waiting and self.complete and not self.faults:
            texts = [(f"{came.group.words} here, {self.state(came)}", came.op) for came in waiting if came.group]
            certain = all(e.certain for e in events)
            what = f"{waiting[0].group.words if waiting[0].group else ''} wait for ever at this barrier: {self.state(waiting[0])}"
            self.faults.append(Fault(waiting[0].op, what, certain, tuple(texts[1:]), Code.DEADLOCK))

    def free(self, event: Event, queues: dict[Atom, deque[Event]]) -> bool:
        """Whether an event is the next one of all that take part in it, none of which waits."""
        return all(b not in self.blocked and queues[b] and queues[b][0] is event for b in self.members(event.group))

    def state(self, came: Came) -> str:
        """How far a barrier is, in words."""
        comers = self.rounds[came.barrier, came.slot].comers
        return f"at {name(came)} {sum(c.group.count for c in comers if c.group)} of {came.barrier.warps} warps have come"

    # events

    def act(self, event: Event) -> None:
        members = self.members(event.group)
        for a in members:
            self.clock[a] += 1
        if isinstance(event, Touch):
            self.touch(event, members)
        elif isinstance(event, Committed):
            self.commit(event)
        elif isinstance(event, Waited):
            self.wait(event, members)
        elif isinstance(event, Came):
            self.come(event, members)
        elif isinstance(event, Met):
            self.share(members, self.gathered(members))

    def touch(self, new: Touch, members: list[Atom]) -> None:
        new.when = {a: self.clock[a] for a in members}
        for old in self.live:
            if old.meets(new) and not self.before(old, members):
                newer = None if old.number is None else self.committed[old.group] - 1 - old.number
                self.unordered.append(Unordered(old, new, old.copies and not old.landed, newer, self.named))
        if len(self.live) > MANY:
            self.live = [old for old in self.live if not new.stands_for(old)]
        self.live.append(new)

    def before(self, old: Touch, members: Iterable[Atom]) -> bool:
        """Whether those atoms know that an access is over."""
        return (old.landed or not old.copies) and all(self.knows[q][p] >= at for p, at in old.when.items() for q in members)

    def commit(self, event: Committed) -> None:
        number = self.committed.get(event.group, 0)
        for touch in self.live:
            if touch.copies and touch.number is None and touch.group == event.group:
                touch.number = number
        self.committed[event.group] = number + 1

    def wait(self, event: Waited, members: list[Atom]) -> None:
        newest = self.committed.get(event.group, 0) - event.pending
        for touch in self.live:
            if touch.number is not None and touch.number < newest and touch.group == event.group and not touch.landed:
                touch.landed, touch.when = True, {a: self.clock[a] for a in members}

    def gathered(self, members: list[Atom]) -> Clock:
        """What some atoms know together, of themselves up to now."""
        known = {a: max(self.knows[b][a] for b in members) for a in self.atoms}
        return {**known, **{a: self.clock[a] for a in members}}

    def share(self, members: Iterable[Atom], known: Clock) -> None:
        for a in members:
            self.knows[a] = {b: max(at, known[b]) for b, at in self.knows[a].items()}
        self.live = [t for t in self.live if not self.before(t, self.atoms)]

    def come(self, event: Came, members: list[Atom]) -> None:
        key = event.barrier, event.slot
        round = self.rounds.setdefault(key, Round([], []))
        group = event.group
        assert group is not None
        last = self.last.get(key, {})
        early = any(self.knows[q][p] < at for p, at in last.items() for q in members if q in last)
        if early or any(c.group and c.group.overlaps(group) for c in round.comers):
            self.faults.append(Fault(event.op, f"{group.words} may come to {name(event)} again here before it is complete", event.certain))
        round.comers.append(event)
        round.known.append(self.gathered(members))
        come = sum(c.group.count for c in round.comers if c.group)
        if come > event.barrier.warps:
            self.faults.append(Fault(event.op, f"{come} warps come to {name(event)}, which counts {event.barrier.warps}", event.certain))
        elif come == event.barrier.warps:
            self.over(key, round)
        elif event.waits:
            self.blocked.update(dict.fromkeys(members, event))

    def over(self, key: tuple[Barrier, int], round: Round) -> None:
        """A barrier is complete: those that wait go on."""
        together = {a: max(k[a] for k in round.known) for a in self.atoms}
        self.last[key] = {a: k[a] for c, k in zip(round.comers, round.known, strict=True) for a in self.members(c.group)}
        del self.rounds[key]
        for came in round.comers:
            if came.waits:
                members = self.members(came.group)
                for a in members:
                    self.blocked.pop(a, None)
                self.share(members, together)


def name(came: Came) -> str:
    """A barrier as the author calls it."""
    return (came.barrier.result.name or "a barrier") + (f"[{came.slot}]" if came.barrier.slots else "")


def atoms_of(groups: Sequence[Warps]) -> list[Atom]:
    """The first warps of the largest sets of warps that are in the same groups; -1 stands for those that are in none."""
    bounds = sorted({0, *(g.first for g in groups), *(g.first + g.count for g in groups)})
    return [-1, *(b for b in bounds if any(g.first <= b < g.first + g.count for g in groups))]
