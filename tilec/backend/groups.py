"""Groups of warps: a branch on the warp's number; inside, threads are numbered from the group's first. Barriers, of all threads, of a group, and
named ones, which have numbers in a row.

PTX ISA, section "bar, barrier": a block has 16 barriers; a count is one of threads, in whole warps.
"""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.llvm import Generator, Registers, emits
from tilec.backend.memory import i32_add
from tilec.errors import Code, TileError
from tilec.ir.ops.sync import Arrive, Barrier, BarrierSlice, Sync
from tilec.ir.ops.warps import InWarps
from tilec.ir.types import Warps

BARRIERS = 16  # of a block; number 0 is that of all threads
WARP = 32


@emits(InWarps)
def in_warps(g: Generator, op: InWarps) -> None:
    number = g.e.fresh()
    outer = g.thread, g.bases, g.group
    if op.group not in g.groups:
        g.groups[op.group] = (g.relative_thread(WARP * op.first), {})
    warp = g.e.let(f"lshr i32 {outer[0]}, 5")
    below = g.e.let(f"sub i32 {warp}, {op.first}")
    g.e.branch(g.e.let(f"icmp ult i32 {below}, {op.count}"), f"group{number}", f"rest{number}")
    g.e.start(f"group{number}")
    (g.thread, g.bases), g.group = g.groups[op.group], op.group
    g.block(op.body)
    g.thread, g.bases, g.group = outer
    g.e.jump(f"rest{number}")
    g.e.start(f"rest{number}")


def taken(g: Generator, owner: Barrier | Warps, count: int = 1) -> int:
    """The number of the first of `count` barriers that are for a group of warps, or that an op makes."""
    if owner not in g.barriers:
        first = 1 + sum(n for _, n in g.barriers.values())
        if first + count > BARRIERS:
            used = "one of all warps, one of each group with a tc.sync() of its own, and the named ones"
            text = f"a block has {BARRIERS} barriers, and this is number {first + count}: {used}"
            raise TileError(text, hint="make rows of barriers shorter, or let groups be larger", code=Code.WARPS)
        g.barriers[owner] = (first, count)
    return g.barriers[owner][0]


@emits(Barrier)
def barrier(g: Generator, op: Barrier) -> Sequence[Registers]:
    return [[str(taken(g, op, op.slots or 1))]]


@emits(BarrierSlice)
def barrier_slice(g: Generator, op: BarrierSlice) -> Sequence[Registers]:
    return [[i32_add(g, g.scalar(op.index), g.scalar(op.barrier))]]


@emits(Arrive)
def arrive(g: Generator, op: Arrive) -> None:
    meet(g, "arrive", g.scalar(op.barrier), op.root.warps)


@emits(Sync)
def sync(g: Generator, op: Sync) -> None:
    if op.barrier is not None:
        meet(g, "sync", g.scalar(op.barrier), op.root.warps)
    elif g.group is not None:
        meet(g, "sync", str(taken(g, g.group)), g.group.count)
    else:
        g.e.call("void", "llvm.nvvm.barrier.cta.sync.aligned.all", "i32 0")


def meet(g: Generator, how: str, number: str, warps: int) -> None:
    g.e.call("void", f"llvm.nvvm.barrier.cta.{how}.aligned.count", f"i32 {number}", f"i32 {WARP * warps}")
