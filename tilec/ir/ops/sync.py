"""Synchronization of the threads of a block: the barrier of all, and named ones by which groups of warps wait for one another.

    %full = barrier warps=4 slots=2 : barrier i32[2]
    %one = barrier_slice %full, %k
    arrive %one                                        # says that these warps have come, and goes on
    sync %one                                          # says so, and waits for the others

A named barrier (PTX: `barrier.cta.arrive` and `barrier.cta.sync` with a count) is complete, and begins anew, when as many warps as it counts have
come, by `tc.arrive` or by `tc.sync`. Those that waited then see what all of them had written.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from tilec.errors import TileError, require
from tilec.ir.core import Block, Builder, Effect, Function, Op, Value
from tilec.ir.ops.base import Index, describe, index
from tilec.ir.ops.warps import InWarps
from tilec.ir.types import BarrierType, Warps


class Barrier(Op):
    """A barrier among groups of warps, complete whenever `warps` warps have come; with `slots`, a row of so many, of which `b[i]` is one.

    `tc.arrive(b)` comes and goes on, `tc.sync(b)` comes and waits, both inside of `with tc.warps(first, count):`. What a group wrote before
    it came is seen by those that waited. So a group that fetches tiles and one that computes need two rows: `full`, at which the first arrives
    and the second waits, and `empty`, the other way round, so that no slot is written that is still read. A block has 16 barriers,
    that of `tc.sync()` and one for each group with a `tc.sync()` of its own among them.

    Example:
        @tc.kernel(warps=2)
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            t, ready = tc.shared(f32, [8, 16]), tc.barrier(2)
            with tc.warps(0, 1):
                tc.store(t, tc.load(T, [0, 0], [8, 16]))
                tc.arrive(ready)
            with tc.warps(1, 1):
                tc.sync(ready)
                tc.store(O, [0, 0], tc.load(t))  # O[:8, :16] = T[:8, :16]
        tc.barrier(0)                               # error: a barrier counts a number of warps
    """

    builtin = "barrier"
    effect = Effect.SYNC
    warps: int
    slots: int | None = None

    def infer(self) -> BarrierType:
        require(isinstance(self.warps, int) and self.warps > 0, f"a barrier counts a number of warps known at compile time, not {self.warps!r}")
        good = self.slots is None or (isinstance(self.slots, int) and self.slots > 0)
        require(good, f"a row of barriers has a number of slots known at compile time, not {self.slots!r}")
        return BarrierType(() if self.slots is None else (self.slots,))

    def eval(self, ctx: Any) -> Any:
        return ctx.barriers(self)


class BarrierSlice(Op):
    """One of a row of barriers, `b[i]`."""

    barrier: Value
    index: Value

    def infer(self) -> BarrierType:
        given = self.barrier.type
        require(isinstance(given, BarrierType) and given.shape, "this is a single barrier", hint="tc.barrier(warps, slots) makes a row of them")
        return BarrierType()

    def eval(self, ctx: Any, barrier: Any, at: Any) -> Any:
        return barrier.slot(ctx, int(at[0]))

    @classmethod
    def build(cls, b: Builder, barrier: Value, at: Index) -> Value:
        extent = barrier.type.shape[0] if barrier.type.shape else 0
        if isinstance(at, int) and extent:
            require(-extent <= at < extent, f"index {at} is out of bounds for a row of {extent} barriers")
            at %= extent
        return b.emit(cls(barrier, index(b, at)))


class Meeting(Op, abstract=True):
    """What arriving and waiting at a named barrier share."""

    effect = Effect.SYNC
    barrier: Value | None

    @property
    def root(self) -> Barrier:
        """The op that made the barrier, or the row."""
        assert self.barrier is not None
        return root(self.barrier)

    def check_barrier(self) -> None:
        given = None if self.barrier is None else self.barrier.type
        if given is None:
            return
        if not isinstance(given, BarrierType):
            raise TileError(f"a barrier is wanted here, not {describe(given)}", hint="b = tc.barrier(warps) makes one")
        require(not given.shape, "a row of barriers is meant to be met one by one", hint="choose one, as in tc.sync(b[i])")


class Arrive(Meeting):
    """Comes to a named barrier and goes on: what this group of warps wrote so far is seen by those that wait for it with `tc.sync(b)`.

    Asynchronous copies of the group are among it once it has waited for them (`tc.wait`).

    Example:
        @tc.kernel(warps=2)
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            t, ready = tc.shared(f32, [8, 16]), tc.barrier(2)
            with tc.warps(0, 1):
                tc.store(t, tc.load(T, [0, 0], [8, 16]))
                tc.arrive(ready)
            with tc.warps(1, 1):
                tc.sync(ready)
                tc.store(O, [0, 0], tc.load(t))  # O[:8, :16] = T[:8, :16]
        tc.arrive(x)                                # error: a barrier is wanted here, not f32[8, 16]
    """

    builtin = "arrive"
    barrier: Value

    def infer(self) -> None:
        self.check_barrier()

    def eval(self, ctx: Any, barrier: Any) -> None:
        barrier.come(ctx, self)


class Sync(Meeting):
    """A barrier of all threads of the block: shared memory written before it is seen by all after it. Inside of `with tc.warps(first, count):` of
    the threads of the group.

    With a named barrier, `tc.sync(b)`, the group comes to it and waits until it is complete.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.store(t, x)
        tc.sync()
        r = tc.load(t)  # = x
        tc.sync(t)      # error: a barrier is wanted here, not shared f32[8, 16]
    """

    builtin = "sync"
    barrier: Value | None = None
    group: Warps | None = None

    def infer(self) -> None:
        self.check_barrier()

    def eval(self, ctx: Any, barrier: Any = None) -> Any:
        """Lockstep over a block's threads needs no barrier; the simulator and the hazard checks judge its absence. A named one gives what
        tells whether it is complete."""
        return None if barrier is None else barrier.come(ctx, self)


def root(barrier: Value) -> Barrier:
    """The op that made a barrier, or the row that it is of."""
    op = barrier.owner
    return op if isinstance(op, Barrier) else root(op.barrier)  # type: ignore[union-attr]


def meetings(function: Function) -> list[tuple[Meeting, Warps | None]]:
    """Every arrival and wait at a named barrier, with the group that comes."""

    def inside(block: Block, group: Warps | None) -> list[tuple[Meeting, Warps | None]]:
        found: list[tuple[Meeting, Warps | None]] = []
        for op in block.ops:
            if isinstance(op, Meeting) and op.barrier is not None:
                found.append((op, group))
            for region in op.regions:
                found += inside(region, op.group if isinstance(op, InWarps) else group)
        return found

    return inside(function.body, None)


def check_barriers(function: Function) -> Function:
    """The function, if its named barriers can be met: they are made in the kernel's own body, by groups, of which enough come. TileError."""
    found = meetings(function)
    for op, group in found:
        with op.loc or nullcontext():
            require(group is not None, "all warps come to this barrier", hint="name a group: with tc.warps(first, count), or write tc.sync()")
            assert group is not None
            require(op.root in function.body.ops, "a barrier is made once, ahead of loops, branches and groups", loc=op.root.loc)
            counted = op.root.warps
            hint = "tc.barrier takes the warps of all groups that come to it in one round"
            require(group.count <= counted, f"{group.count} warps come to a barrier that counts {counted}", hint=hint)
            comers = {w for other, by in found if other.root is op.root and by for w in range(by.first, by.first + by.count)}
            short = f"the barrier counts {counted} warps, but no more than {len(comers)} ever come to it"
            require(len(comers) >= counted, short, hint=hint, loc=op.root.loc)
    return function

