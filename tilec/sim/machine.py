"""The machine: a wave of thread blocks that run in lockstep as far as they agree.

While every thread of the wave stands at one block of code, the unmasked functions run (`Unit.fast_functions`). After a divergent branch,
threads form groups, one for each block of code where some stand; the lowest runs first, so that those ahead wait and rejoin. That alone
would let threads spin for ever on what a thread further down has to do, so now and then the group that waited longest has a turn.
With a seed, random warps of a random group run instead: a second, independent order of events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tilec.sim.calls import Calls
from tilec.sim.codegen import Unit
from tilec.sim.decode import Op, Register, Special
from tilec.sim.memory import Memory
from tilec.sim.values import dtype

Mask = np.ndarray[Any, Any]
TURN = 64  # steps after which the group that waited longest runs
LINGER = 16  # steps that it may go on
WARP = 32


class Stop(Exception):
    """Ends the run: deadlock, trap or a limit; the finding has been recorded."""


@dataclass
class Group:
    """Threads that stand at one block of code. `since` is the step in which the one that waits longest ran last."""

    mask: Mask
    since: int


@dataclass
class Barrier:
    """One of the sixteen barriers, for all blocks of the wave."""

    arrived: Mask  # (B, T) who has arrived in this generation, by sync, red or arrive
    waiting: Mask  # (B, T) who waits
    resume: Mask  # (B, T) where they go on
    op: Mask  # (B, T) number of the instruction at which they arrived
    expected: Mask  # (B,) threads; 0: every live thread
    predicate: Mask  # (B, T) for bar.red
    writes: dict[int, Op] = field(default_factory=dict)


class Machine:
    """State of one wave. `blocks` are linear indices of its thread blocks; B of them, T threads each, rounded up to whole warps."""

    def __init__(
        self,
        unit: Unit,
        memory: Memory,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        blocks: Any,
        rng: np.random.Generator | None,
        record: Any,
        max_steps: int,
    ):
        self.unit, self.memory, self.rng, self.record, self.max_steps = unit, memory, rng, record, max_steps
        self.grid, self.block = grid, block
        self.threads = int(np.prod(block))
        self.T = -(-self.threads // WARP) * WARP
        self.W = self.T // WARP
        self.B = len(blocks)
        self.blocks = np.asarray(blocks)
        self.shape = (self.B, self.T)
        self.R: list[Any] = [np.zeros((1, 1), t) for t in unit.analysis.canon]
        self.block_counts = [0] * (len(unit.program.blocks) + 1)  # runs with every thread
        self.issue_counts = [0] * (len(unit.program.blocks) + 1)  # warps that issued a block in the masked code
        self.live: Mask = np.ones(self.shape, bool)
        self.live[:, self.threads :] = False
        self.groups: dict[int, Group] = {}
        self.barriers: dict[int, Barrier] = {}
        self.steps = 0
        self.specials: dict[str, Any] = self.make_specials()
        self.full = np.ones(self.shape, bool)
        self.lane = np.arange(self.T, dtype=np.uint32).reshape(1, self.T) & np.uint32(31)
        self.seen_version = -1
        self.snapshot: Any = None
        self.window, self.renew = 64, 0
        self.refused: dict[int, Mask] = {}
        self.carry: Any = np.zeros((1, 1), bool)
        self.factors: dict[Any, Any] = {}
        self.exact: str | None = None
        self.output: list[str] = []
        self.memory.live = self.live.copy()
        self.checker: Any = None
        self.calls = Calls(self)

    # What programs ask for

    def print(self, text: str) -> None:
        self.output.append(text)

    def trap(self, at: int, mask: Mask | None, message: str) -> None:
        """Stop the run if any thread gets here."""
        if (self.active(mask) & self.live).any():
            self.record("trap", message, self.unit.program.ops[at])
            raise Stop

    def fence(self, at: int, mask: Mask | None) -> None:
        if self.checker is not None:
            self.checker.fence(at, mask)

    def warp_barrier(self, at: int, mask: Mask | None, members: Any) -> None:
        if self.checker is not None:
            self.checker.warp_barrier(at, mask, members)

    def strong_store(self, at: int, mask: Mask | None, space: str, address: Any, release: bool) -> None:
        """Before a volatile, relaxed or releasing write."""
        if self.checker is not None:
            self.checker.before_strong(at, mask, space, address, release)

    def strong_load(self, at: int, mask: Mask | None, space: str, address: Any, acquire: bool) -> None:
        """After a volatile, relaxed or acquiring read."""
        if self.checker is not None:
            self.checker.after_strong(at, mask, space, address, acquire)

    def check_lanes(self, at: int, mask: Mask | None, source: Any, valid: Any) -> None:
        """A shuffle reads lane `source` where `valid`: that lane must take part."""
        if mask is None or self.checker is None:
            return
        here = self.warps(self.active(mask))
        theirs = np.take_along_axis(here, np.broadcast_to(source, here.shape), 2)
        bad = here & valid & ~theirs
        if bad.any():
            b, w, lane = np.argwhere(bad)[0]
            op = self.unit.program.ops[at]
            self.record("shuffle", f"lane {lane} of warp {w} of block {int(self.blocks[b])} reads a lane that does not take part", op)

    def make_specials(self) -> dict[str, Any]:
        u4 = np.dtype("u4")
        tid = np.arange(self.T).reshape(1, -1)
        gx, gy, gz = self.grid
        bx, by, bz = self.block
        linear = self.blocks.reshape(-1, 1)

        def one(x: int) -> Any:
            return np.array([[x]], u4)

        lane = tid & 31
        out = {
            "%tid.x": tid % bx, "%tid.y": tid // bx % by, "%tid.z": tid // (bx * by),
            "%ntid.x": one(bx), "%ntid.y": one(by), "%ntid.z": one(bz),
            "%ctaid.x": linear % gx, "%ctaid.y": linear // gx % gy, "%ctaid.z": linear // (gx * gy),
            "%nctaid.x": one(gx), "%nctaid.y": one(gy), "%nctaid.z": one(gz),
            "%laneid": lane, "%warpid": tid // 32, "%nwarpid": one(self.W),
            "%lanemask_eq": 1 << lane, "%lanemask_lt": (1 << lane) - 1, "%lanemask_le": (2 << lane) - 1,
            "%lanemask_gt": ~((2 << lane) - 1) & 0xFFFFFFFF, "%lanemask_ge": ~((1 << lane) - 1) & 0xFFFFFFFF,
            "%smid": linear % 108, "%nsmid": one(108), "%gridid": one(1), "WARP_SZ": one(32),
            "%dynamic_smem_size": one(self.memory.dynamic_bytes), "%total_smem_size": one(self.memory.shared_bytes),
            "%clusterid.x": linear % gx, "%clusterid.y": linear // gx % gy, "%clusterid.z": linear // (gx * gy),
            "%nclusterid.x": one(gx), "%nclusterid.y": one(gy), "%nclusterid.z": one(gz),
        }  # fmt: skip
        for axis in "xyz":
            out[f"%cluster_ctaid.{axis}"] = one(0)
            out[f"%cluster_nctaid.{axis}"] = one(1)
        out["%cluster_ctarank"], out["%cluster_nctarank"], out["%is_explicit_cluster"] = one(0), one(1), np.array([[False]])
        return {k: v if v.dtype == bool else v.astype(u4) for k, v in out.items()}

    def special(self, name: str) -> Any:
        """A special register; clocks count steps."""
        found = self.specials.get(name)
        if found is None:
            if name in ("%clock", "%clock_hi", "%clock64", "%globaltimer", "%globaltimer_lo", "%globaltimer_hi"):
                now = 0 if name.endswith("_hi") else 1000 * (self.steps + sum(self.block_counts))
                return np.array([[now]], np.uint64)
            return np.zeros((1, 1), np.uint32)  # %envreg
        return found

    def active(self, mask: Mask | None) -> Mask:
        """(B, T) mask of the threads that execute an instruction."""
        return self.full if mask is None else np.broadcast_to(mask, self.shape)

    def warps(self, x: Any) -> Any:
        """A register as (B, W, 32)."""
        return np.broadcast_to(x, self.shape).reshape(self.B, self.W, WARP)

    # Running

    def run(self) -> None:
        """Run every thread of the wave to its end. Raises Stop when that can't be."""
        whole = bool(self.live.all())
        if whole and self.rng is None:
            at = self.run_whole(0)
            if at is None:
                return
        else:
            self.groups[0] = Group(self.live.copy(), 0)
        while True:
            self.run_groups()
            if not self.groups:
                return
            ((at, _),) = self.groups.items()
            self.groups.clear()
            if self.run_whole(at) is None:
                return

    def run_whole(self, at: int) -> int | None:
        """Every thread stands at plain block `at`. None once all have ended; else some have parted (see `groups`)."""
        functions, R, end = self.unit.fast_functions, self.R, self.unit.program.exit
        steps = 0
        while at != end:
            function = functions[at]
            if function is None:
                self.groups[at] = Group(self.full, self.steps)
                return at
            out = function(R, self)
            steps += 1
            if type(out) is int:
                at = out
            elif len(out) == 3:
                p, yes, no = out
                if p.all():
                    at = yes
                elif not p.any():
                    at = no
                else:
                    self.steps += steps
                    self.part(self.full, out)
                    return at
            else:
                self.steps += steps
                self.part(self.full, out)
                if len(self.groups) > 1 or end in self.groups:
                    return at
                at = next(iter(self.groups))
                self.groups.clear()
            if steps & 63 == 0 and self.spinning(at):
                self.stuck(at)
            if steps > self.max_steps:
                self.limit(steps, {at: self.full})
        self.steps += steps
        return None

    def run_groups(self) -> None:
        """Run until all threads have ended, or all stand at one plain block."""
        masked, R, end = self.unit.masked_functions, self.R, self.unit.program.exit
        fast = self.unit.fast_functions
        linger = 0
        at = -1
        while self.groups:
            if end in self.groups:
                self.end(self.groups.pop(end).mask)
                if not self.groups:
                    self.starved()
                continue
            if self.steps & 7 == 0 and self.spinning():
                self.stuck()
            self.steps += 1
            if self.steps > self.max_steps:
                self.limit(self.steps, {k: g.mask for k, g in self.groups.items()})
            if linger and at in self.groups:
                linger -= 1
                order = [at, *sorted(self.groups)]
            elif self.rng is not None:
                order = list(self.rng.permutation(list(self.groups)))
            else:
                order = sorted(self.groups)
                if self.steps % TURN == 0:
                    order.sort(key=lambda k: self.groups[k].since)
                    linger = LINGER
            at, mask = self.choose(order)
            group = self.groups[at]
            if mask is group.mask:
                del self.groups[at]
            else:
                group.mask = group.mask & ~mask
            if not self.groups and self.rng is None and fast[at] is not None and not self.barriers_busy() and mask.all():
                self.groups[at] = Group(mask, self.steps)
                return
            self.issue_counts[at] += int(mask.reshape(self.B, self.W, WARP).any(2).sum())
            out = masked[at](R, self, mask)
            if type(out) is int:
                self.join(out, mask)
                at = out
            elif out is not None:
                self.part(mask, out)
            if not self.groups:
                self.starved()

    def choose(self, order: list[int]) -> tuple[int, Mask]:
        """The first group in `order` of which some threads can run, and these threads."""
        for at in order:
            at = int(at)
            mask = self.groups[at].mask
            if self.rng is not None:
                some = self.rng.random((self.B, self.W)) < 0.5
                picked = mask & np.repeat(some, WARP, axis=1)
                mask = picked if picked.any() and not (picked == mask).all() else mask
            ready = self.gathered(at, mask)
            if ready is not None:
                return at, ready
        at = int(min(order))  # none can: say so, and let those go on who are here
        op = self.op_at(at)
        missing = "lanes that its member mask names are not there" if op.row.gather else "some threads of the warp are not there"
        self.record("divergence", f"{op.row.opcode} is executed under divergence: {missing}", op)
        return at, self.groups[at].mask

    def gathered(self, at: int, mask: Mask) -> Mask | None:
        """Those of `mask` who are `ready`; None if there are none. Keeps in mind whom the others wait for."""
        ready = self.ready(at, mask)
        if ready is mask:
            self.refused.pop(at, None)
            return mask
        op = self.op_at(at)
        if op.row.members is None:
            if at in self.refused:
                self.refused[at] = self.refused[at] & ~self.whole_warps(ready)
            waits = mask & ~ready
            stalled = self.whole_warps(waits)
            missing = stalled & self.live & ~waits
            for k, g in self.groups.items():
                if self.op_at(k).row.role == "exit":
                    missing = missing & ~g.mask
            self.refused[at] = (self.refused.get(at, missing) | missing) & stalled & ~mask  # those that have come meanwhile are not missing
        return ready if ready.any() else None

    def ready(self, at: int, mask: Mask) -> Mask:
        """Those of `mask` who can go on: if block `at` starts with an instruction that needs it, those whose warp is complete."""
        op = self.op_at(at)
        if not (op.row.gather or op.row.role == "bar") or (op.row.members is None and op.guard is not None and op.row.role != "bar"):
            return mask
        here, live = self.warps(mask), self.warps(self.live)
        if op.row.members is None:
            fit = (here == live).all(2)
        else:
            named = self.members(op)
            bits = (named[:, :, None] >> np.arange(WARP, dtype=np.uint32)) & np.uint32(1)
            need = bits.astype(bool).reshape(self.B, self.W, WARP, WARP)
            fit = ~((need & (live & ~here)[:, :, None, :]).any(3) & here).any(2)
        ready = mask & np.repeat(fit, WARP, axis=1)
        return mask if (ready == mask).all() else ready

    def whole_warps(self, mask: Mask) -> Mask:
        """All threads of warps of which some are in `mask`."""
        return np.repeat(self.warps(mask).any(2), WARP, axis=1)

    def check_members(self, at: int, mask: Mask | None, members: Any) -> None:
        """A warp-wide instruction's member mask must name every lane that executes it."""
        if self.checker is None or (members.size == 1 and members.item() == 0xFFFFFFFF):
            return
        named = (np.broadcast_to(members, self.shape) >> self.lane) & np.uint32(1)
        bad = self.active(mask) & (named == 0)
        if bad.any():
            b, t = np.argwhere(bad)[0]
            op = self.unit.program.ops[at]
            self.record(
                "divergence",
                f"thread {t} of block {int(self.blocks[b])} executes {op.row.opcode}, but its member mask does not name it",
                op,
            )

    def members(self, op: Op) -> Mask:
        """(B, T) member masks that a gathering instruction is given."""
        assert op.row.members is not None
        x = op.sources[op.row.members][1]
        if isinstance(x, Register):
            value = self.R[x.index].view(np.uint32)
        elif isinstance(x, Special):
            value = self.special(x.name)
        else:
            value = np.array([[x.value & 0xFFFFFFFF]], np.uint32)
        return np.broadcast_to(value, self.shape)

    def part(self, mask: Mask, out: tuple[Any, ...]) -> None:
        """Send the threads of `mask` to where a branch takes them."""
        if len(out) == 3:
            p, yes, no = out
            taken = mask & p
            other = mask & ~p
            if taken.any():
                self.join(yes, taken)
            if other.any():
                self.join(no, other)
            return
        index, targets = out
        index = np.broadcast_to(index, self.shape)
        for k, target in enumerate(targets):
            some = mask & (index == k)
            if some.any():
                self.join(target, some)

    def join(self, at: int, mask: Mask) -> None:
        group = self.groups.get(at)
        if group is None:
            self.groups[at] = Group(mask, self.steps)
        else:
            group.mask = group.mask | mask  # `since` stays: those who waited still do

    def end(self, mask: Mask) -> None:
        self.live = self.live & ~mask
        for at, missing in list(self.refused.items()):
            if (missing & mask).any():
                del self.refused[at]
                if at in self.groups:
                    op = self.op_at(at)
                    b, t = np.argwhere(missing & mask)[0]
                    who = f"thread {t} of block {int(self.blocks[b])}"
                    self.record("divergence", f"{who} ended without reaching {op.row.opcode}, where others of its warp wait", op)
        for number in list(self.barriers):
            self.complete(number)

    def op_at(self, at: int) -> Op:
        program = self.unit.program
        block = program.blocks[min(at, len(program.blocks) - 1)]
        return program.ops[block.start]

    # Barriers

    def barrier_all(self, number: int, which: Any) -> None:
        """A barrier without count, with every thread of the wave at it."""
        if self.checker is not None:
            self.checker.barrier_all()

    def barriers_busy(self) -> bool:
        return any(b.arrived.any() for b in self.barriers.values())

    def arrive(self, number: int, following: int, mask: Mask, group: Mask, which: Any, count: Any = None, predicate: Any = None) -> None:
        """The threads of `mask` arrive at barrier `which`; those of `group` that the guard leaves out go on."""
        op = self.unit.program.ops[number]
        mask = np.broadcast_to(mask, self.shape)
        skipped = group & ~mask
        if skipped.any():
            self.join(following, skipped)
        which = np.broadcast_to(which, self.shape)
        kind = op.mods["kind"]
        for k in np.unique(which[mask]):
            some = mask & (which == k)
            b = self.barriers.get(int(k))
            if b is None:
                zeros = np.zeros(self.shape, bool)
                b = Barrier(zeros, zeros.copy(), np.zeros(self.shape, np.int32), np.zeros(self.shape, np.int32),
                            np.zeros(self.B, np.int64), zeros.copy())  # fmt: skip
                self.barriers[int(k)] = b
            self.check_arrival(op, int(k), some, count)
            b.arrived = b.arrived | some
            b.op[some] = number
            if self.checker is not None:
                self.checker.arrived(int(k), some)
            if count is not None:
                here = some.any(1)
                b.expected[here] = np.where(some, np.broadcast_to(count, self.shape), 0).max(1)[here]
            if predicate is not None:
                b.predicate = np.where(some, predicate, b.predicate)
            if kind == "arrive":
                self.join(following, some)
            else:
                b.waiting = b.waiting | some
                b.resume[some] = following
                if kind == "red":
                    b.writes[number] = op
            self.complete(int(k))

    def check_arrival(self, op: Op, which: int, some: Mask, count: Any) -> None:
        """A finding where a thread comes to a barrier a second time before it is complete, or more warps than it counts."""
        b = self.barriers[which]
        for block in np.flatnonzero((b.arrived & some).any(1)):
            t = int(np.flatnonzero((b.arrived & some)[block])[0])
            self.record("barrier", f"thread {t} of block {int(self.blocks[block])} comes to barrier {which} again before it is complete", op)
        if count is None:
            return
        wanted = np.where(some, np.broadcast_to(count, self.shape), 0).max(1)
        come = (b.arrived | some).reshape(self.B, self.W, WARP).any(2).sum(1) * WARP
        for block in np.flatnonzero((come > wanted) & (wanted > 0)):
            self.record("barrier", f"{come[block]} threads of block {int(self.blocks[block])} come to barrier {which}, which counts {wanted[block]}", op)

    def complete(self, number: int) -> None:
        """Let the threads of those blocks go on in which all have arrived."""
        b = self.barriers[number]
        counted = b.arrived.reshape(self.B, self.W, WARP).any(2).sum(1) * WARP
        every = (b.arrived | ~self.live).all(1)
        done = np.where(b.expected > 0, counted >= b.expected, every) & b.arrived.any(1)
        if not done.any():
            return
        released = b.waiting & done[:, None]
        if self.checker is not None:
            self.checker.released(number, released, done)
        for op in b.writes.values():
            self.reduce(op, b, released & (b.op == op.number))
        for following in np.unique(b.resume[released]):
            self.join(int(following), released & (b.resume == following))
        b.arrived = b.arrived & ~done[:, None]
        b.waiting = b.waiting & ~done[:, None]
        b.expected[done] = 0
        if not b.arrived.any():
            b.writes.clear()

    def reduce(self, op: Op, b: Barrier, mask: Mask) -> None:
        """Give bar.red's result to the threads of `mask`."""
        if not mask.any():
            return
        register = op.dests[0][1]
        p: Any = b.predicate
        if op.mods["op"] == "popc":
            value: Any = (p & b.arrived).sum(1, dtype=np.uint32)[:, None]
        elif op.mods["op"] == "and":
            value = np.asarray((p | ~b.arrived).all(1))[:, None]
        else:
            value = np.asarray((p & b.arrived).any(1))[:, None]
        old = self.R[register.index]
        kept = dtype(register.type) if register.type == "pred" else old.dtype
        self.R[register.index] = np.where(mask, value.astype(kept), old)

    def spinning(self, at: int = -1) -> bool:
        """Whether the machine is back in a state of a while ago: with no write to memory in between, it will be so for ever.

        The state to compare with is taken anew after twice as many steps each time (Brent's way to find a cycle of any length).
        """
        taken = self.steps + sum(self.block_counts)
        if self.memory.version != self.seen_version:
            self.window = 64
        if self.memory.version != self.seen_version or self.snapshot is None or taken > self.renew:
            self.window *= 2
            self.renew = taken + self.window
            self.seen_version = self.memory.version
            self.snapshot = (at, {k: g.mask for k, g in self.groups.items()}, list(self.R), self.steps)
            return False
        where, masks, registers, step = self.snapshot
        if where != at or masks.keys() != self.groups.keys():
            return False
        if any(g.since <= step and self.ready(k, g.mask).any() for k, g in self.groups.items()):
            return False  # somebody could have run, and had no turn
        if not all(np.array_equal(m, self.groups[k].mask) for k, m in masks.items()):
            return False
        return all(
            x is y or (isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and np.array_equal(x, y))
            for x, y in zip(registers, self.R, strict=True)
        )

    def limit(self, steps: int, where: dict[int, Mask]) -> None:
        """End the run: say where threads stand."""
        at, mask = min(where.items())
        block = int(mask.any(1).argmax())
        who = [f"threads {ranges(np.flatnonzero(m[block]))} at PTX line {self.op_at(k).site.ptx_line}" for k, m in sorted(where.items()) if m[block].any()]
        self.record("limit", f"stopped after {steps} steps; in block {int(self.blocks[block])} {'; '.join(who[:4])}", self.op_at(at))
        raise Stop

    def stuck(self, at: int = -1) -> None:
        """Report those who spin for ever: who, and where. Others of their warps wait for them."""
        where = {at: self.full} if at >= 0 else {k: g.mask for k, g in self.groups.items()}
        for k, mask in where.items():
            if not self.ready(k, mask).any():
                continue
            blocks = np.flatnonzero(mask.any(1))
            same = [b for b in blocks if (mask[b] == mask[blocks[0]]).all()]
            numbers = f"block{'s' if len(same) > 1 else ''} {ranges(self.blocks[same])}"
            who = f"{numbers}: threads {ranges(np.flatnonzero(mask[blocks[0]]))}"
            self.record("deadlock", f"{who} spin for ever, and nothing that they look at changes", self.op_at(k))
        self.starved()
        raise Stop

    def starved(self) -> None:
        """No group can run: every thread has ended, or those left wait for one another."""
        if not self.live.any():
            return
        waiting = {k: b for k, b in self.barriers.items() if b.waiting.any()}
        if not waiting:
            return
        for k, b in waiting.items():
            block = int(b.waiting.any(1).argmax())
            who = np.flatnonzero(b.waiting[block])
            absent = np.flatnonzero(self.live[block] & ~b.arrived[block])
            ended = int((~self.live[block, : self.threads]).sum())
            at = self.unit.program.ops[int(b.op[block, who[0]])]
            text = f"block {int(self.blocks[block])}: threads {ranges(who)} wait at barrier {k}"
            if b.expected[block]:
                text += f" for {int(b.expected[block])} threads"
            if len(absent):
                text += f"; not there: {ranges(absent)}{self.whereabouts(block, absent)}"
            text += f"; {ended} have ended" if ended else ""
            self.record("deadlock", text, at)
        raise Stop

    def whereabouts(self, block: int, threads: Any) -> str:
        for k, b in self.barriers.items():
            if b.waiting[block, threads].any():
                return f" (they wait at barrier {k}, PTX line {self.unit.program.ops[int(b.op[block, threads[0]])].site.ptx_line})"
        return ""


def ranges(numbers: Any) -> str:
    """`0..31, 64` for sorted numbers."""
    out: list[str] = []
    numbers = [int(n) for n in numbers]
    start = 0
    for i in range(len(numbers)):
        if i + 1 == len(numbers) or numbers[i + 1] != numbers[i] + 1:
            out.append(str(numbers[i]) if start == i else f"{numbers[start]}..{numbers[i]}")
            start = i + 1
    return ", ".join(out[:6]) + (", ..." if len(out) > 6 else "")
