"""Fragments are read before they are wanted: those of a round's first products during the last products of the round before.

    for %k .. , now                                       wait 1; sync
      wait 1; sync                                        %x = load_shared %s[0][:, 0:16]; %y = load_shared %t[0][0:16]
      copy_async %s[then], ..; commit                     for %k .. , now, %x, %y
      %x = load_shared %s[now]                              %x1 = load_shared %s[now][:, 16:32]; %y1 = load_shared %t[now][16:32]
      %y = load_shared %t[now]                       ->     copy_async %s[then], ..; commit
      %acc = dot %x, %y, %acc                               %acc1 = dot %x, %y, %acc
                                                            wait 1; sync
                                                            %x = load_shared %s[now + 1][:, 0:16]; %y = load_shared %t[now + 1][0:16]
                                                            %acc = dot %x1, %y1, %acc1

A round of a pipeline is cut into steps as deep as a matrix instruction, and each step's fragments are read ahead of the products of the step
before. So no product waits behind the barrier for shared memory; but two steps' fragments are held at once. A wait, barrier, copies
and reads come in the same order as before, but for the reads of a round's first step, which move up past copies to another slot.

It is done if the multiprocessor's other blocks don't hide what it saves: when a block is alone there, by an estimate of its registers and by its shared
memory, or so small that its warps don't meet another block's at every scheduler; and if the registers suffice. `buffers=2` of the loop asks for
it, `buffers=1` forbids it. Where it is not done, the round's copies move behind its reads, which the products wait for, if registers suffice for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from tilec.errors import notice
from tilec.ir.core import Block, Effect, Function, Op, Rewriter, Value, Yield
from tilec.ir.dtypes import DType, i32
from tilec.ir.facts import Facts
from tilec.ir.notes import Refused, say
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.base import Constant, Elementwise, constant
from tilec.ir.ops.control import For, If
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import LoadShared, Shared
from tilec.ir.ops.shape import Transpose
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.ops.sync import Sync
from tilec.ir.target import Fragments, Hardware
from tilec.ir.types import TileType
from tilec.passes.layouts import matrix_layouts
from tilec.passes.offers import uses_of
from tilec.passes.pipeline import goes_on

OTHERS = 40  # registers for addresses, counters and strides beside the tiles; of the examples' loops 36 to 50 are
EDGE = 5  # more for each vector that a thread copies of what may hang over an edge or is one of a stack; of the same loops 4 to 7 are
VECTOR = 16  # bytes
MOST = 240  # registers at which what the estimate leaves out may make a thread spill
SCHEDULERS = 4  # of a multiprocessor, each with its own warps


def double_buffer(function: Function, target: Hardware) -> Function:
    if not any(isinstance(op, For) and op.buffers is not None for op in function.walk()):
        return function
    return DoubleBuffer(target).run(function)


class Operand(NamedTuple):
    """A factor of the product: the load that it comes from, what is done to it on the way, and the load's axis that the product sums along."""

    load: LoadShared
    way: tuple[Op, ...]
    axis: int

    @property
    def view(self) -> SharedView:
        """The slot that is read."""
        assert isinstance(self.load.memory.owner, SharedView)
        return self.load.memory.owner

    @property
    def ring(self) -> Value:
        return self.view.memory

    @property
    def slot(self) -> Value:
        return self.view.offsets[0]


class Round(NamedTuple):
    """What a pipelined loop does in a round: `before` are the ops that its copies and its product don't need, `behind` those that need the product."""

    loop: For
    wait: Wait
    sync: Sync
    copies: tuple[Op, ...]
    product: Dot
    factors: tuple[Operand, Operand]
    before: tuple[Op, ...]
    behind: tuple[Op, ...]
    fragments: Fragments

    @property
    def depth(self) -> int:
        return self.fragments.shape[2]

    @property
    def steps(self) -> int:
        return self.product.a.type.shape[1] // self.depth

    @property
    def slot(self) -> int:
        """Which of the values that the loop carries says what is read."""
        return self.loop.body.args.index(self.factors[0].slot) - 1


class DoubleBuffer(Rewriter):
    def __init__(self, target: Hardware):
        super().__init__()
        self.target = target

    @cached_property
    def uses(self) -> dict[Value, list[Op]]:
        return uses_of(self.function.walk())

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if not isinstance(op, For) or op.buffers is None:
            return self.clone(op)
        found = self.round_of(op)
        refused = found if isinstance(found, Refused) else self.refuses(found)
        if refused is not None and (op.buffers == 2 or any(isinstance(inner, Dot) for inner in op.body.ops)):
            say(op.loc, f"fragments are not read in the round before: {refused.why}")
            if op.buffers == 2:
                notice(f"{op.loc}: buffers=2 is not done: {refused.why}")
        if isinstance(found, Refused) or (refused is not None and self.registers(found)[0] > MOST):
            return self.clone(op, buffers=None)
        return self.read_first(found) if refused is not None else self.rotated(found)

    @cached_property
    def facts(self) -> Facts:
        return Facts(self.function)

    # whether

    def refuses(self, round: Round) -> Refused | None:
        """Why it does not pay; None if it does, or is asked for."""
        if round.loop.buffers:
            return Refused("buffers=1 forbids it") if round.loop.buffers == 1 else None
        single, double = self.registers(round)
        warps = self.function.warps
        shared = sum(op.result.type.nbytes for op in self.function.walk() if isinstance(op, Shared))
        blocks = self.target.resident(32 * warps, single, shared)
        if blocks > 1 and blocks * warps >= 2 * SCHEDULERS:
            return Refused(f"{blocks} blocks of some {single} registers a thread share a multiprocessor, and multiply while others read; buffers=2 asks for it")
        return Refused(f"a thread would need some {double} registers") if double > MOST else None

    def registers(self, round: Round) -> tuple[int, int]:
        """An estimate of what a thread needs: with the fragments of one step, and of two."""
        (m, _), n = round.product.a.type.shape, round.product.b.type.shape[1]
        a, b, c = matrix_layouts(round.fragments, m, n, round.depth, self.function.warps, "least loads")
        step = sum(layout.registers * v.type.dtype.bits for layout, v in ((a, round.product.a), (b, round.product.b))) // 32
        tiles = [v.type for v in round.loop.inits if isinstance(v.type, TileType) and v.type.shape and v.type != round.product.acc.type]
        carried = c.registers * round.product.acc.type.dtype.bits // 32 + sum(t.size * t.dtype.bits // 32 // self.function.threads for t in tiles)
        others = OTHERS + carried + sum(EDGE * self.vectors(copy) for copy in round.copies if isinstance(copy, CopyAsync) and not self.simple(copy))
        return others + step, others + 2 * step

    def vectors(self, copy: CopyAsync) -> int:
        """How many vectors of 16 bytes a thread copies."""
        return copy.target.type.nbytes // VECTOR // self.function.threads

    def simple(self, copy: CopyAsync) -> bool:
        """Whether the tile runs along all axes of its tensor and hangs over no edge."""
        shape = copy.memory.type.shape
        found = zip(copy.target.type.shape, copy.dims, strict=True)
        return len(shape) == len(copy.dims) and all(self.facts.divisor(copy.offsets[a]) % n == 0 and self.extent(shape[a]) % n == 0 for n, a in found)

    def extent(self, n: int | str) -> int:
        """What is known to divide an extent."""
        return n if isinstance(n, int) else next((self.facts.divisor(p) for p in self.function.params if p.name == n), 1)

    def round_of(self, op: For) -> Round | Refused:
        """A pipelined loop whose rounds are one product of what they read."""
        products = [inner for inner in op.body.walk() if isinstance(inner, Dot)]
        if len(products) != 1 or products[0] not in op.body.ops:
            return Refused("its rounds are not one product")
        a, b = (self.factor(v, axis, op) for v, axis in ((products[0].a, 1), (products[0].b, 0)))
        fragments = self.fragments(products[0])
        if isinstance(a, Refused):
            return a
        if isinstance(b, Refused):
            return b
        return fragments if isinstance(fragments, Refused) else self.parted(op, products[0], (a, b), fragments)

    def fragments(self, product: Dot) -> Fragments | Refused:
        (m, k), n = product.a.type.shape, product.b.type.shape[1]
        found = self.target.matrix(*product.types, k)
        if not isinstance(found, Refused) and any(size % unit for size, unit in zip((m, n, k), found.shape, strict=True)):
            return Refused("the product's tiles are not whole matrix instructions")
        return found

    def parted(self, loop: For, product: Dot, factors: tuple[Operand, Operand], fragments: Fragments) -> Round | Refused:
        """What else the rounds do, sorted by what it may stand behind."""
        wait, sync, *rest = loop.body.ops[:-1]
        copies = [o for o in rest if isinstance(o, CopyAsync | Commit)]
        views = [f.view for f in factors if len(self.uses[f.load.memory]) == 1]
        taken = {product, *copies, *views, *(o for f in factors for o in (f.load, *f.way))}
        late = needing(product.result, rest)
        before = [o for o in rest if o not in taken and o not in late]
        behind = [o for o in rest if o in late]
        if not (isinstance(wait, Wait) and isinstance(sync, Sync) and harmless(before, Effect.READ) and harmless(behind)):
            return Refused("the loop writes or waits beside it, or its copies hang on a condition")
        return Round(loop, wait, sync, tuple(copies), product, factors, tuple(before), tuple(behind), fragments)

    def factor(self, value: Value, axis: int, loop: For) -> Operand | Refused:
        """The load that a factor of the product comes from, if it is read from a ring of the loop for this product alone."""
        way: list[Op] = []
        while isinstance(value.owner, Transpose | Elementwise) and len(value.owner.operands) == 1:
            if len(self.uses[value]) > 1 or value.type.dtype.bits != value.owner.operands[0].type.dtype.bits:
                break
            way.insert(0, value.owner)
            axis = value.owner.axes[axis] if isinstance(value.owner, Transpose) else axis
            (value,) = value.owner.operands
        load = value.owner
        good = isinstance(load, LoadShared) and load in loop.body.ops and len(self.uses[value]) == 1 and whole_slot(load, loop)
        return Operand(load, tuple(way), axis) if good else Refused("a factor of its product is not what the round reads from its stage")  # type: ignore[arg-type]

    # how

    def read_first(self, round: Round) -> tuple[Value, ...]:
        """The loop as it is, but with its copies behind the reads."""
        old, body = round.loop.body, Block()
        body.args = self.arguments(old, body)
        rest = [op for op in old.ops[:-1] if op not in round.copies]
        last = max(rest.index(factor.load) for factor in round.factors)
        with self.into(body):
            self.again((*rest[: last + 1], *round.copies, *rest[last + 1 :]))
            self.b.insert(Yield(self(old.yielded)))
        op = round.loop
        return self.b.insert(For(self(op.start), self(op.stop), self(op.step), self(op.inits), body))

    def rotated(self, round: Round) -> tuple[Value, ...]:
        op, old, body = round.loop, round.loop.body, Block()
        say(op.loc, f"fragments are read a step of {round.depth} ahead of their products, a round's first in the round before")
        self.again((round.wait, round.sync))
        first = self.read_at_all(round)
        held = tuple(Value(v.type, v.name, body) for v in first)
        body.args = (*self.arguments(old, body), *held)
        with self.into(body):
            self.again(round.before)
            total = self(round.product.acc)
            for step in range(1, round.steps):
                following = self.read(round, self(round.factors[0].slot), step)
                if step == round.steps - 1:
                    self.again(round.copies)
                held, total = following, self.multiplied(round, held, total)
            self.again((*(round.copies if round.steps == 1 else ()), round.wait, round.sync))
            ahead = self.read(round, self(old.yielded[round.slot]), 0)
            self.replace(round.product, self.multiplied(round, held, total))
            self.again(round.behind)
            self.b.insert(Yield((*self(old.yielded), *ahead)))
        results = self.b.insert(For(self(op.start), self(op.stop), self(op.step), (*self(op.inits), *first), body))
        return results[: len(op.results)]

    def arguments(self, old: Block, new_block: Block) -> tuple[Value, ...]:
        """New arguments for a block's, which stand for them."""
        new = tuple(Value(v.type, v.name, new_block) for v in old.args)
        self.map.update(zip(old.args, new, strict=True))
        return new

    def again(self, ops: Iterable[Op]) -> None:
        for op in ops:
            self.b.loc = op.loc
            self.replace(op, self.visit(op))

    def read(self, round: Round, slot: Value, step: int) -> tuple[Value, ...]:
        """The fragments of a step, as tiles, from a slot of the rings."""
        return tuple(self.part(factor, slot, step * round.depth, round.depth) for factor in round.factors)

    def read_at_all(self, round: Round) -> tuple[Value, ...]:
        """The first step of the first round; if that does not take place, nothing may have been copied to be read."""
        op = round.loop
        slot = self(op.inits[round.slot])
        if all(len(copy.dims) == copy.memory.type.rank for copy in round.copies if isinstance(copy, CopyAsync)):
            return self.read(round, slot, 0)
        then, orelse = Block(), Block()
        with self.into(then):
            tiles = self.read(round, slot, 0)
            self.b.insert(Yield(tiles))
        with self.into(orelse):
            self.b.insert(Yield(tuple(self.b.emit(Constant(zero_of(v.type.dtype), v.type.dtype, v.type.shape)) for v in tiles)))
        return self.b.insert(If(goes_on(self.b, self(op.start), self(op.stop), self(op.step)), then, orelse))

    def part(self, factor: Operand, slot: Value, start: int, depth: int) -> Value:
        load = factor.load
        self.b.loc = load.loc
        zero = constant(self.b, 0, i32)
        begin = constant(self.b, start, i32) if start else zero
        whole = self.b.emit(SharedView(self(factor.ring), (slot, *(zero for _ in load.shape)), factor.view.shape, factor.view.strides))
        shape = tuple(depth if a == factor.axis else n for a, n in enumerate(load.shape))
        offsets = tuple(begin if a == load.dims[factor.axis] else zero for a in range(len(load.offsets)))
        tile = self.b.emit(LoadShared(whole, offsets, shape, load.dims, load.layout, load.group))
        tile.name = load.result.name
        return tile

    def multiplied(self, round: Round, tiles: Sequence[Value], total: Value) -> Value:
        """The product of a step's tiles, added to what there is."""
        for factor, tile in zip(round.factors, tiles, strict=True):
            self.map[factor.load.result] = tile
            for op in factor.way:
                self.b.loc = op.loc
                self.replace(op, self.clone(op, **{f: self(v) for f, v in vars(op).items() if v in op.operands}))  # of another shape
        self.b.loc = round.product.loc
        return self.b.emit(Dot(self(round.product.a), self(round.product.b), total, round.product.mode))


def whole_slot(load: LoadShared, loop: For) -> bool:
    """Whether a load reads all of the slot of a ring that a value says which the loop carries."""
    view = load.memory.owner
    if not isinstance(view, SharedView) or load.layout is not None or any(not is_zero(v) for v in (*load.offsets, *view.offsets[1:])):
        return False
    return view.shape == view.memory.type.shape[1:] == load.shape and view.offsets[0] in loop.body.args[1:]


def zero_of(dtype: DType) -> int | float:
    return 0 if dtype.is_int else 0.0


def is_zero(value: Value) -> bool:
    return isinstance(value.owner, Constant) and value.owner.value == 0


def needing(value: Value, ops: Sequence[Op]) -> set[Op]:
    """The ops that take a value, or what is made of it."""
    values, found = {value}, set()
    for op in ops:
        if any(v in values for inner in op.walk() for v in inner.operands):
            found.add(op)
            values.update(op.results)
    return found


def harmless(ops: Sequence[Op], *allowed: Effect) -> bool:
    """Whether ops only compute, or do what is allowed."""
    return all(inner.effect in (Effect.NONE, Effect.DEBUG, *allowed) for op in ops for inner in op.walk())
