"""Groups of warps: a branch on the warp's number; inside, threads are numbered from the group's first."""

from __future__ import annotations

from tilec.backend.llvm import Generator, emits
from tilec.errors import Code, require
from tilec.ir.ops.warps import InWarps

BARRIERS = 15  # besides the block's own, number 0


@emits(InWarps)
def in_warps(g: Generator, op: InWarps) -> None:
    number = g.e.fresh()
    outer = g.thread, g.bases, g.barrier
    if op.group not in g.groups:
        require(len(g.groups) < BARRIERS, f"a block has barriers for {BARRIERS} groups of warps", code=Code.WARPS)
        g.groups[op.group] = (g.relative_thread(32 * op.first), {}, f"i32 {len(g.groups) + 1}, i32 {32 * op.count}")
    warp = g.e.let(f"lshr i32 {outer[0]}, 5")
    below = g.e.let(f"sub i32 {warp}, {op.first}")
    g.e.branch(g.e.let(f"icmp ult i32 {below}, {op.count}"), f"group{number}", f"rest{number}")
    g.e.start(f"group{number}")
    g.thread, g.bases, g.barrier = g.groups[op.group]
    g.block(op.body)
    g.thread, g.bases, g.barrier = outer
    g.e.jump(f"rest{number}")
    g.e.start(f"rest{number}")
