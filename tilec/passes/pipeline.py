"""Software pipelining: `tc.range(..., stages=n)` keeps the loads of the next n - 1 rounds under way.

    for %k = 0 to %K step 32 stages=3          %s = shared dtype=f16 shape=[3, 128, 32]
      %x = load %a, [%i, %k]             ->    copy_async %s[0], %a, [%i, 0]; commit; copy_async %s[1], %a, [%i, 32]; commit
      ...                                      for %k = 0 to %K step 32, now = 0, then = 2
                                                 wait 1; sync
                                                 copy_async %s[then], %a, [%i, %k + 64]; commit
                                                 %x = load_shared %s[now]
                                                 ...; then = now; now = now + 1, or 0 behind the last

A load is taken if its place follows from the counter and from what the loop does not change, if whole words can be copied, and if the loop
does not write its tensor. Loads in branches and loops within it stay where they are; where none is left, a notice says why there is no
pipeline. Over the edge a copy writes 0, as the load would have read. If n tiles of each don't fit the shared memory,
fewer stages are taken, with a warning that says so.

Copies want rows that begin at multiples of 16 bytes. Where this hangs on an extent of which too little is known, the loop is there twice, and
which one runs is decided once, before it:

    for %k = 0 to %K step 32 stages=3   ->   %aligned = eq (mod %K, 8), 0
      %x = load %a, [%i, %k]                 if %aligned { the above } else { for %k = 0 to %K step 32 { %x = load %a, [%i, %k] ... } }

In the second, loads whose rows are known to begin at multiples of 8 or 4 bytes are copies of that width; only the others remain as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from tilec.errors import Loc, TileError, notice
from tilec.ir.core import Block, Builder, Effect, Function, Op, Rewriter, Value, Yield
from tilec.ir.dtypes import i32
from tilec.ir.facts import Facts
from tilec.ir.notes import Refused, say
from tilec.ir.ops.arith import Add, Eq, Gt, Lt, Mul, Where
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.base import Constant, constant
from tilec.ir.ops.control import For, If, While
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import Load, LoadShared, Shared
from tilec.ir.ops.semaphores import Fence, SemaphoreWait
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.ops.sync import Sync
from tilec.ir.ops.views import viewed
from tilec.ir.shared import padded
from tilec.ir.target import Hardware
from tilec.ir.types import SharedType, TileType
from tilec.passes.lifetimes import Life, lifetimes
from tilec.passes.widths import are_multiples, doubts, proven, together


def pipeline(function: Function, target: Hardware) -> Function:
    return Pipeline(target).run(function)


class Pipeline(Rewriter):
    def __init__(self, target: Hardware):
        super().__init__()
        self.target = target

    def run(self, function: Function) -> Function:
        self.facts = Facts(function)
        self.lives = lifetimes(function)
        self.rings = 0  # bytes of the loops before
        self.told: set[tuple[Loc | None, str]] = set()
        return super().run(function)

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, For) and op.stages > 1:
            loads = movable_loads(op)
            if not loads:
                self.not_done(op, why_none(op))
            stages = self.stages_that_fit(op, loads) if loads else 1
            if stages > 1:
                return self.versioned(op, loads, stages)
            return self.clone(op, stages=1, buffers=None)
        if isinstance(op, While) and (op.stages > 1 or op.buffers == 2):
            self.not_done(op, "break or return may leave the loop, and no round is known to follow")
            return self.clone(op, stages=1, buffers=None)
        return self.clone(op)

    def not_done(self, op: For | While, why: str) -> None:
        """Say once that there is no pipeline."""
        asked = " and ".join([f"stages={op.stages}"] * (op.stages > 1) + ["buffers=2"] * (op.buffers == 2))
        text = f"{asked} {'are' if ' ' in asked else 'is'} not done: {why}"
        if (op.loc, text) not in self.told:
            self.told.add((op.loc, text))
            notice(f"{op.loc}: {text}")
            say(op.loc, text)

    def stages_that_fit(self, op: For, loads: list[Load]) -> int:
        each = sum(SharedType(load.result.type.dtype, load.shape).nbytes for load in loads)
        factors = [v for o in self.function.walk() if isinstance(o, Dot) for v in (o.a, o.b)] if self.left_out(op, loads) else []
        others = [o for o in self.function.walk() if isinstance(o, Load) and o.shape and (o not in loads or o.result in factors)]  # in the plain loop
        scratch = max((SharedType(o.result.type.dtype, o.shape, padded(o.result.type)).nbytes for o in others), default=0)
        beside = self.rings + sum(SharedType(tile.dtype, tile.shape).nbytes for tile in self.tiles_beside(op, bool(self.doubtful_scalars(op, loads))))
        for stages in range(op.stages, 1, -1):
            try:
                self.target.check(self.function.threads, beside + stages * each + scratch)
            except TileError:
                continue
            if stages < op.stages:
                text = f"{op.loc}: {stages} stages instead of {op.stages}: a stage takes {each} bytes of shared memory on {self.target.name}"
                notice(text)
                say(op.loc, text.removeprefix(f"{op.loc}: "))
            self.rings += stages * each
            return stages
        self.not_done(op, f"not even 2 stages of {each} bytes fit shared memory on {self.target.name}")
        return 1

    def tiles_beside(self, op: For, twice: bool) -> list[Shared]:
        """The author's tiles that can't lie where the loop's copies go: but those that are used only before it or behind it, with a barrier in between. The
        copies have landed behind the loop; where it is there `twice`, only a wait of the author's tells."""
        steps, tiles = self.function.body.ops, [o for o in self.function.walk() if isinstance(o, Shared)]
        if op not in steps:
            return tiles
        at, barriers = steps.index(op), [n for n, step in enumerate(steps) if isinstance(step, Sync) and step.group is None]
        waits = [n for n, step in enumerate(steps) if isinstance(step, Wait) and step.pending == 0 and n > at]
        own = Life(at, (waits or [len(steps)])[0] if twice else at)
        lives = {tile: self.lives.get(tile, own) for tile in tiles}
        return [tile for tile, life in lives.items() if not (life.ends_before(own, barriers) or own.ends_before(life, barriers))]

    def versioned(self, op: For, loads: list[Load], stages: int) -> tuple[Value, ...]:
        """The pipeline, and beside it, if there may be rows that the widest copies can't take whole, one of those loads that narrower ones can."""
        memories = [self.b.emit(Shared(load.result.type.dtype, (stages, *load.shape))) for load in loads]
        for memory, load in zip(memories, loads, strict=True):
            memory.name = load.result.name
        doubtful = self.doubtful_scalars(op, loads)
        if not doubtful:
            return self.pipelined(op, loads, memories, stages)
        condition = are_multiples(self.b, {self(v): n for v, n in doubtful.items()})
        fast, slow = Block(), Block()
        with self.into(fast):
            self.b.insert(Yield(self.pipelined(op, loads, memories, stages)))
        left = self.left_out(op, loads)
        kept = {load: memory for load, memory in zip(loads, memories, strict=True) if load not in left}
        with self.into(slow):
            self.b.insert(Yield(self.pipelined(op, list(kept), list(kept.values()), stages) if kept else self.clone(op, stages=1, buffers=None)))
        return self.b.insert(If(condition, fast, slow))

    def doubtful_scalars(self, op: For, loads: list[Load]) -> dict[Value, int]:
        """What the loop does not change and decides whether all rows begin at multiples of what the widest copies take, and how many elements that is."""
        inside = {v for region in op.regions for v in (*region.args, *(v for inner in region.walk() for v in inner.results))}
        units: dict[Value, int] = {}
        for load in loads:
            found = doubts(self.facts, load)
            if inside.isdisjoint(found):  # else each copy asks
                units.update((v, math.lcm(n, units.get(v, 1))) for v, n in found.items())
        return units

    def left_out(self, op: For, loads: list[Load]) -> list[Load]:
        """The loads that are no copies if what is doubtful is not so."""
        return [load for load in loads if self.doubtful_scalars(op, [load]) and not proven(self.facts, load)]

    def pipelined(self, op: For, loads: list[Load], memories: list[Value], stages: int) -> tuple[Value, ...]:
        """The whole construct: first copies, and the loop."""
        b, self.level = self.b, len(self.builders)
        start, stop, step = self(op.start), self(op.stop), self(op.step)
        for stage in range(stages - 1):
            ahead = start if stage == 0 else Add.build(b, start, Mul.build(b, step, stage))
            self.start_copies(op, loads, memories, ahead, stop, constant(b, stage, i32))
        body = Block()
        counter = Value(op.start.type, op.body.args[0].name, body)
        carried = [Value(v.type, a.name, body) for v, a in zip(op.inits, op.body.args[1:], strict=True)]
        now, then = Value(TileType(i32), "now", body), Value(TileType(i32), "then", body)
        body.args = (counter, *carried, now, then)
        self.map.update(zip(op.body.args, (counter, *carried), strict=True))
        with self.into(body):
            self.b.insert(Wait(stages - 2))
            self.b.insert(Sync())
            ahead = Add.build(self.b, counter, Mul.build(self.b, step, stages - 1))
            self.start_copies(op, loads, memories, ahead, stop, then)
            for memory, load in zip(memories, loads, strict=True):
                self.map[load.result] = self.read(memory, now, load)
            for inner in op.body.ops:
                if inner not in loads and not isinstance(inner, Yield):
                    self.b.loc = inner.loc
                    self.replace(inner, self.visit(inner))
            self.b.insert(Yield((*self(op.body.yielded), self.next_slot(now, stages), now)))  # what was read is filled next
        first = (constant(b, 0, i32), constant(b, stages - 1, i32))
        results = b.insert(For(start, stop, step, (*self(op.inits), *first), body, buffers=op.buffers or 0))
        b.insert(Wait(0))
        if len(self.builders) > 1:  # an outer loop may come here again, and the next first copies must not overtake the last reads
            b.insert(Sync())
        return results[: len(op.results)]

    def start_copies(self, op: For, loads: list[Load], memories: list[Value], at: Value, stop: Value, slot: Value) -> None:
        """Copies of the round whose counter is `at`, as one group. Rounds beyond the loop's end copy nothing that could not be read: an index that
        is the same in all rounds is good in each if there is one."""
        saved = dict(self.map)
        fixed, first = not any(map(partial(index_moves, op), loads)), len(self.builders) == self.level
        if not fixed or (first and any(len(load.dims) < load.memory.type.rank for load in loads)):
            copies, nothing = Block(), Block()
            with self.into(copies):
                self.copies_of(op, loads, memories, at, slot)
                self.b.insert(Yield())
            with self.into(nothing):
                self.b.insert(Yield())
            self.b.insert(If(goes_on(self.b, self(op.start) if fixed else at, stop, self(op.step)), copies, nothing))
        else:
            self.copies_of(op, loads, memories, at, slot)
        self.map = saved
        self.b.loc = op.loc
        self.b.insert(Commit())

    def copies_of(self, op: For, loads: list[Load], memories: list[Value], at: Value, slot: Value) -> None:
        for load, memory in zip(loads, memories, strict=True):
            self.b.loc = load.loc
            offsets = self.places(load, op, at)
            self.b.insert(CopyAsync(SharedView.at(self.b, memory, slot), self(load.memory), offsets, load.dims, load.layout))

    def places(self, load: Load, op: For, at: Value) -> tuple[Value, ...]:
        """A load's offsets for another value of the counter: what computes them, and its view, anew."""
        self.map[op.body.args[0]] = at
        for inner in needed_for(load, op):
            self.replace(inner, self.clone(inner))
        return self(load.offsets)

    def read(self, memory: Value, now: Value, load: Load) -> Value:
        part = SharedView.at(self.b, memory, now)
        zero = constant(self.b, 0, i32)
        loc, self.b.loc = self.b.loc, load.loc
        value = self.b.emit(LoadShared(part, (zero,) * len(load.shape), load.shape, tuple(range(len(load.shape))), load.layout, load.group))
        self.b.loc = loc
        value.name = load.result.name
        return value

    def next_slot(self, slot: Value, stages: int) -> Value:
        """slot + 1, or 0 behind the last."""
        following = self.b.emit(Add(slot, constant(self.b, 1, i32)))
        return self.b.emit(Where(self.b.emit(Eq(following, constant(self.b, stages, i32))), constant(self.b, 0, i32), following))


def goes_on(b: Builder, at: Value, stop: Value, step: Value) -> Value:
    """Whether a round whose counter is `at` takes place, whichever way the loop walks."""
    if isinstance(step.owner, Constant):
        return b.emit(Lt(at, stop) if step.owner.value > 0 else Gt(at, stop))
    up, down = b.emit(Lt(at, stop)), b.emit(Gt(at, stop))
    return b.emit(Where(b.emit(Gt(step, constant(b, 0, step.type.dtype))), up, down))


def index_moves(loop: For, load: Load) -> bool:
    """Whether a load's place along axes that its tile does not run along, or its view, is another one in another round."""
    indices = [v for axis, v in enumerate(load.offsets) if axis not in load.dims]
    inside = {loop.body.args[0], *(v for op in loop.body.walk() for v in op.results if op.operands)}
    return load.memory in inside or not inside.isdisjoint(indices)


def movable_loads(op: For) -> list[Load]:
    """The loads of the loop's own body that may start rounds ahead: of what neither the loop nor, where it waits for them, other blocks write."""
    refusals = refusals_of(op)
    for load, refused in refusals.items():
        if refused is not None:
            say(load.loc, f"not started rounds ahead, as the other loads of the loop with stages={op.stages} may be: {refused.why}")
    return [load for load, refused in refusals.items() if refused is None]


def refusals_of(op: For) -> dict[Load, Refused | None]:
    """The loads of the loop's own body, each with why it can't start rounds ahead, or None."""
    written = {viewed(v) for inner in op.body.walk() if inner.effect is Effect.WRITE for v in inner.operands}
    waits = any(isinstance(inner, SemaphoreWait | Atomic | Fence) for inner in op.body.walk())
    return {inner: refuses_to_move(inner, op, written, waits) for inner in op.body.ops if isinstance(inner, Load) and inner.shape}


def why_none(op: For) -> str:
    """Why a loop has no load that may start rounds ahead."""
    whys = dict.fromkeys(refused.why for refused in refusals_of(op).values() if refused is not None)
    if whys:
        return f"no load of the loop can start rounds ahead: {'; '.join(whys)}"
    if any(isinstance(inner, Load) and inner.shape for inner in op.body.walk()):
        return "the loop's loads stand in branches or loops within it, and only those that stand directly in it are started rounds ahead"
    return "the loop loads no tiles of tensors"


def read_ahead(function: Function) -> list[tuple[str, str]]:
    """Parameters that some loop of a function as parsed reads ahead, each with those that the same loop writes: they must not be the same memory."""
    found: dict[tuple[str, str], None] = {}
    for op in function.walk():
        if isinstance(op, For) and op.stages > 1:
            written = {viewed(v) for inner in op.body.walk() if inner.effect is Effect.WRITE for v in inner.operands}
            loaded = {viewed(load.memory): None for load in movable_loads(op)} if written.intersection(function.params) else {}
            found |= {(a.name, b.name): None for a in loaded for b in function.params if b in written}
    return list(found)


def refuses_to_move(load: Load, op: For, written: set[Value], waits: bool) -> Refused | None:
    """Why a load can't start rounds ahead; None if it can."""
    if waits:
        return Refused("the loop waits for other blocks")
    if viewed(load.memory) in written:
        return Refused(f"the loop writes {load.memory.name}")
    if needed_for(load, op) is None:
        return Refused("its place depends on what the loop carries or reads")
    return uncopyable(load)


def uncopyable(load: Load) -> Refused | None:
    """Why not at least 4 contiguous bytes of the tile can be copied at once; None if they can."""
    dtype = load.result.type.dtype
    bits = dtype.bits
    if load.cache not in (None, "ca", "cg") or load.evict == "no_allocate":
        return Refused("asynchronous copies don't have its cache hints")
    if dtype.is_bool:
        return Refused(f"asynchronous copies don't move {dtype}")
    if together(load) * bits < 32:
        return Refused("neighbours of the tile don't lie together in memory, and asynchronous copies take at least 4 bytes at once")
    if together(load) * bits % 32:
        return Refused("rows of the tile are no multiples of 4 bytes, of which asynchronous copies take whole ones")
    return None if math.prod(load.shape) * bits >= 32 * 32 else Refused("it is too small to be worth a copy")


def needed_for(load: Load, op: For) -> Any:
    """The ops of the loop's body that compute a load's offsets and make its view, in order; None if one of them can't be done rounds ahead."""
    inside = {v: inner for inner in op.body.ops for v in inner.results}
    carried = set(op.body.args[1:])
    wanted, found = [load.memory, *load.offsets], set()
    while wanted:
        value = wanted.pop()
        if value in carried:
            return None
        if value in inside and inside[value] not in found:
            inner = inside[value]
            if inner.effect is not Effect.NONE or inner.regions:
                return None
            found.add(inner)
            wanted += inner.operands
    return [inner for inner in op.body.ops if inner in found]
