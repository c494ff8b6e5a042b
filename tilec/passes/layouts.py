"""Assigns a layout to every tile.

    %x = load %a, [%i, %k] : f16[64, 32]            %x = load %a, [%i, %k] layout=local(..)... : f16[64, 32; ...]
    %y = load %b, [%k, %j] : f16[32, 64]      ->    ...
    %z = dot %x, %y, %acc : f32[64, 64]             %x1 = convert_layout %x layout=<the matrix instruction's a> : ...
                                                    %z = dot %x1, %y1, %acc : f32[64, 64; <its c>]

Forward and deterministic. Some ops want a layout: loads one that coalesces, matrix products the fragments of the instruction,
authors what they stated. The others follow their operands. What costs next to nothing to make (constants, ranges, broadcasts, and
arithmetic on these alone) has no layout of its own and is made wherever and however it is wanted. Where two layouts meet, a
`convert_layout` stands between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from tilec.errors import require
from tilec.ir.core import Block, Function, Op, Rewriter, Value, Yield
from tilec.ir.describe import written
from tilec.ir.dtypes import i32
from tilec.ir.facts import Facts
from tilec.ir.layout import Layout, blocked, local, replicated, spatial
from tilec.ir.ops.arith import Cast
from tilec.ir.ops.base import Elementwise, constant
from tilec.ir.ops.control import For, If, While
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import Load, LoadShared, Shared, Store, StoreShared
from tilec.ir.ops.pieces import Slice
from tilec.ir.ops.reduce import Reduce
from tilec.ir.ops.shape import Arange, Broadcast, Constant, ConvertLayout, Reshape, Transpose
from tilec.ir.ops.shared_views import laid_out
from tilec.ir.ops.sync import Sync
from tilec.ir.ops.views import viewed
from tilec.ir.ops.weights import Unpack
from tilec.ir.shared import SharedLayout, row_major
from tilec.ir.target import Fragments, Hardware
from tilec.ir.types import SharedType, TileType, Type
from tilec.records import replace

ACCESS_BITS = 128  # the widest access of one thread


STRATEGIES = ("least loads", "whole rows")  # how the warps of a block share out a product's result


def assign_layouts(function: Function, target: Hardware) -> Function:
    """The cheapest of the assignments that the strategies give; the first of equals. A lone product has no use for whole rows."""
    rowwise = [op for op in function.walk() if isinstance(op, Dot | Reduce)]
    strategies = STRATEGIES if len(rowwise) > 1 and any(isinstance(op, Dot) for op in rowwise) else STRATEGIES[:1]
    return min((AssignLayouts(target, strategy).run(function) for strategy in strategies), key=cost)


def cost(function: Function) -> float:
    """What exchanges between threads, loads of operands and conversions of weights take: bytes through shared memory, a loop counted as ten rounds."""
    return sum(block_cost(op, 1.0) for op in function.body.ops)


def block_cost(op: Op, rounds: float) -> float:
    if op.regions:
        inner = rounds * (10 if isinstance(op, For | While) else 1)
        return sum(block_cost(o, inner) for region in op.regions for o in region.ops)
    if isinstance(op, ConvertLayout) and not stays_in_thread(op.x.type.layout, op.layout):
        exchanged = shuffles(op.x.type, op.layout)
        if exchanged is not None:
            return rounds * exchanged * WORD * op.layout.threads
        return rounds * (2 * held_bytes(op.result.type) + BARRIERS)
    if isinstance(op, LoadShared) and op.layout is not None:
        return rounds * held_bytes(op.result.type)
    if isinstance(op, Unpack):
        return rounds * CONVERSION * held_bytes(op.result.type)
    if isinstance(op, Reduce) and crosses_warps(op):
        return rounds * (2 * held_bytes(op.result.type) + BARRIERS)
    return 0.0


CONVERSION = 16  # what a weight's conversion, two instructions, costs by the load of an element by ldmatrix
BARRIERS = 4096  # bytes that could be moved in the time of an exchange's barriers
WORD = 4  # bytes that one shuffle moves for each thread, and an atomic takes


@lru_cache(maxsize=256)
def shuffles(type: TileType, layout: Layout) -> int | None:
    """How many shuffles bring a tile into another layout, if all stays within warps and they are no dearer than stores, barriers and loads:
    a store and a load a register, and 16 instructions' time for the barriers."""
    given = type.layout
    suppliers = layout.suppliers(given) if given is not None else None
    if given is None or suppliers is None or type.dtype.bits > 32:
        return None
    count = sum(map(len, suppliers))
    return count if count <= 16 + (given.registers + layout.registers) // 2 else None


def held_bytes(type: TileType) -> float:
    """Bytes that all threads hold, replicas included."""
    assert type.layout is not None or not type.shape
    held = type.layout.threads * type.layout.registers if type.layout is not None else 1
    return held * type.dtype.bits / 8


def crosses_warps(op: Reduce) -> bool:
    layout = op.x.type.layout
    return any(d.dim in op.axes and place * d.size > 32 for d, place in layout.thread_places())


@lru_cache(maxsize=256)
def stays_in_thread(source: Layout, target: Layout) -> bool:
    """Whether every register's element lies in one and the same register of its own thread."""
    registers = target.registers_in(source)
    return bool((registers >= 0).all() and (registers == registers[0]).all())


class AssignLayouts(Rewriter):
    def __init__(self, target: Hardware, strategy: str = STRATEGIES[0]):
        super().__init__()
        self.target = target
        self.strategy = strategy
        self.free: set[Value] = set()  # old values that are made in any layout when wanted
        self.firm: set[Value] = set()  # old values that lie as their consumer wants them, from the start
        self.soft: set[Value] = set()  # old values whose layout is but a guess: what a loop carries that began free, and what follows from it
        self.made: list[dict[tuple[Value, Layout], Value]] = []  # by enclosing block: old value and layout -> new value
        self.level: dict[Value, int] = {}  # how deep the block is in which a new value was made

    def run(self, function: Function) -> Function:
        self.warps, self.threads, self.facts = function.warps, function.threads, Facts(function)
        self.uses, self.written = uses_of(function), written(function)
        loops = [op for op in function.walk() if isinstance(op, For | While)]
        self.carried_from = {a: y for op in loops for a, y in zip(op.body.args[-len(op.inits) :], op.body.yielded, strict=False)}
        self.carried_as = {y: a for a, y in self.carried_from.items()}
        self.carried_as |= {x: v for op in function.walk() if isinstance(op, If) for v, x in zip(op.results, op.then.yielded, strict=True)}
        self.carried_as |= {x: a for op in loops if isinstance(op, For) for x, a in zip(op.inits, op.body.args[1:], strict=True)}
        return super().run(function)

    def block(self, old: Block, arg_types: Sequence[Type] | None = None) -> Block:
        self.made.append({})
        try:
            return super().block(old, arg_types)
        finally:
            self.made.pop()

    def replace(self, op: Op, new: Any) -> None:
        super().replace(op, new)
        for value in op.results:
            self.level[self(value)] = len(self.builders) - 1

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        for kind, rule in RULES.items():
            if isinstance(op, kind):
                return rule(self, op)
        return self.clone(op, **{f.name: self.settled(getattr(op, f.name)) for f in op.fields if isinstance(getattr(op, f.name), Value | tuple)})

    # asking for a value

    def get(self, old: Value, layout: Layout) -> Value:
        """The new value of an old one in a layout: as it is, made so, or converted."""
        if old not in self.free and self(old).type.layout == layout:
            return self(old)
        for scope in reversed(self.made):
            if (old, layout) in scope:
                return scope[old, layout]
        if old in self.free or isinstance(old.owner, Transpose):  # what is transposed is converted before: rows as they lie in memory stay whole
            new, level = self.make(old, layout), -1
        else:  # converted where it was made, not round after round in a loop
            level = self.level.get(self(old), -1)
            conversion = ConvertLayout(self(old), layout, self(old).type.group)
            self.blame(conversion, old)
            new = self.builders[level].emit(conversion)
        new.name = new.name or old.name
        self.made[level][old, layout] = new
        return new

    def make(self, old: Value, layout: Layout) -> Value:
        """A free value in a layout: its op anew, with operands in the layouts that this asks for."""
        op: Any = old.owner
        loc, self.b.loc = self.b.loc, op.loc
        try:
            if isinstance(op, Elementwise):
                return self.clone(op, **{f: self.get(getattr(op, f), layout) for f in operand_names(op)})[0]
            if isinstance(op, Broadcast | Reshape) and not op.x.type.shape:
                return self.clone(op, layout=layout)[0]
            if isinstance(op, Broadcast):
                return self.clone(op, x=self.get(op.x, before_broadcast(layout, op.x.type.shape)), layout=layout)[0]
            if isinstance(op, Reshape):
                given = reshaped(layout, op.shape, op.x.type.shape)
                return self.clone(op, x=self.get(op.x, given), layout=layout)[0] if given else self.through(op, layout)
            if isinstance(op, Transpose):
                return self.clone(op, x=self.get(op.x, layout.permute(inverse(op.axes))), layout=layout)[0]
            return self.clone(op, layout=layout)[0]
        finally:
            self.b.loc = loc

    def through(self, op: Any, layout: Layout) -> Value:
        """A reshape that the wanted layout can't follow: done where every thread holds everything, then converted."""
        everywhere = replicated(self.threads, rank=len(op.shape)) * local(*op.shape)
        x = self.get(op.x, reshaped(everywhere, op.shape, op.x.type.shape))  # type: ignore[arg-type]
        conversion = ConvertLayout(self.clone(op, x=x, layout=everywhere)[0], layout)
        self.blame(conversion, op.results[0])
        return self.b.emit(conversion)

    def blame(self, conversion: ConvertLayout, old: Value) -> None:
        """Remember the lines that disagree: where the tile was made, or the loop made it that carries it, and the one that wants it now."""
        for _ in range(len(self.carried_from)):  # a loop may carry what another one carries
            old = self.carried_from.get(old, old)
        made = old.owner.loc if isinstance(old.owner, Op) else None
        if made and self.b.loc:
            conversion.because = (made, self.b.loc)  # type: ignore[misc]

    def settled(self, value: Any) -> Any:
        """New values with some layout, for ops that take any; scalars, memory and attributes as they are."""
        if isinstance(value, tuple):
            return tuple(self.settled(v) for v in value)
        return self.get(value, self.default(value.type)) if value in self.free else self(value) if isinstance(value, Value) else value

    def layout_of(self, old: Value) -> Layout:
        """The layout that a value has, or the default of a free one."""
        return self.default(old.type) if old in self.free else self(old).type.layout

    def default(self, type: TileType, fastest: int | None = None, unit: int = 8, most: int = ACCESS_BITS) -> Layout:
        """The coalesced layout: runs of up to `most` bits, 16 bytes, along the fastest axis, but none so long that threads go idle, and none so
        short that they don't fill whole units of so many bits."""
        bits = type.dtype.bits if not type.dtype.is_bool else 8
        widest = 1 << max(1, most // bits).bit_length() - 1
        least = unit // math.gcd(unit, bits)
        share = 1 << max(0, (type.size // self.threads).bit_length() - 1)
        order = tuple(reversed(range(type.rank)))
        if fastest is not None:
            order = (fastest, *(a for a in order if a != fastest))
        return blocked(type.shape, self.threads, max(least, min(widest, share)), order)

    # rules

    def anywhere(self, op: Op) -> Any:
        """Free unless a scalar."""
        if not op.results[0].type.shape:
            return self.clone(op)
        self.free.add(op.results[0])
        return self.leave(op)

    def leave(self, op: Op) -> Any:
        """No new value yet: the old one stands for itself until it is wanted."""
        return op.results

    def elementwise(self, op: Elementwise) -> Any:
        fixed = [v for v in op.operands if v not in self.free]
        if not op.results[0].type.shape:
            return self.clone(op)
        if not fixed:
            return self.anywhere(op)
        leader = max(fixed, key=lambda v: (v in self.firm, v not in self.soft, not self(v).type.layout.is_replicated))  # the first of equals
        layout = self(leader).type.layout
        for kind in (self.soft, self.firm):
            if leader in kind:
                kind.add(op.results[0])
        return self.clone(op, **{f: self.get(getattr(op, f), layout) for f in operand_names(op)})

    def shape(self, op: Any) -> Any:
        if not op.x.type.shape or not op.results[0].type.shape:
            return self.to_scalar(op)
        if op.x in self.free:
            return self.anywhere(op)
        given = self(op.x).type.layout
        layout = given.permute(op.axes) if isinstance(op, Transpose) else reshaped(given, op.x.type.shape, op.shape)
        if layout is not None:
            return self.clone(op, layout=layout)
        self.free.add(op.results[0])  # a reshape that its operand's layout can't follow asks for one that can
        return self.leave(op)

    def to_scalar(self, op: Any) -> Any:
        """A reshape to or from shape (): every thread holds the element."""
        if op.x.type.shape:
            return self.clone(op, x=self.get(op.x, replicated(self.threads, rank=op.x.type.rank)))
        return self.anywhere(op)

    def reduce(self, op: Reduce) -> Any:
        return self.clone(op, x=self.get(op.x, self.layout_of(op.x)))

    def dot_by_fma(self, op: Dot, step: int = 4) -> Any:
        """Through shared memory, some columns of a and rows of b at a time: each thread multiplies its rows by its columns."""
        (m, k), n = op.a.type.shape, op.b.type.shape[1]
        layout = self.default(op.acc.type)
        wide = op.acc.type.dtype
        shared = [self.into_shared(v) for v in (op.a, op.b)]
        acc = self.get(op.acc, layout)
        zero = constant(self.b, 0, i32)
        for first in range(0, k, step):
            size = min(step, k - first)
            at = constant(self.b, first, i32)
            a = self.b.emit(LoadShared(shared[0], (zero, at), (m, size), (0, 1), layout.reduce(1, keepdims=True).cover((layout.shape[0], size))))
            b = self.b.emit(LoadShared(shared[1], (at, zero), (size, n), (0, 1), layout.reduce(0, keepdims=True).cover((size, layout.shape[1]))))
            a, b = (x if x.type.dtype == wide else self.b.emit(Cast(x, wide)) for x in (a, b))
            acc = self.b.emit(Dot(a, b, acc, op.mode))
        return acc

    def into_shared(self, old: Value) -> Value:
        memory = self.b.emit(Shared(old.type.dtype, old.type.shape, padded(old.type)))
        value = self.get(old, self.layout_of(old))
        zero = constant(self.b, 0, i32)
        self.b.insert(Sync())
        self.b.insert(StoreShared(memory, (zero,) * old.type.rank, value, tuple(range(old.type.rank))))
        self.b.insert(Sync())
        return memory

    def load(self, op: Load | LoadShared) -> Any:
        if not op.shape:
            return self.clone(op)
        if op.layout is not None:
            require(op.layout.threads == self.threads, f"the layout has {op.layout.threads} threads, but the block {self.threads}", loc=op.loc)
            return self.clone(op)
        layout = self.default(op.results[0].type, fastest_axis(op), WORD * 8 if self.by_words(op) else 8)
        if isinstance(op, LoadShared) or any(getattr(user, "coalesced", False) for user in self.uses.get(op.results[0], ())):
            layout = self.wish(op.results[0]) or layout
        return self.clone(op, layout=layout)

    def by_words(self, op: Load | LoadShared) -> bool:
        """Whether what is no whole words of memory is loaded bit by bit: packed shared tiles, and packed tensors that the kernel writes, too."""
        if isinstance(op, LoadShared):
            return op.memory.type.packed
        return op.memory.type.dtype.bits % 8 != 0 and viewed(op.memory) in self.written

    def wish(self, value: Value) -> Layout | None:
        """The layout that a matrix product or a store to global memory wants of a value that only it uses, perhaps transposed or in slices."""
        (user, *others) = self.uses.get(value, [None])
        if user is None or not all(isinstance(u, Slice) and isinstance(user, Slice) and u.shape == user.shape for u in others):
            return None
        if type(user) in WISHES:
            return WISHES[type(user)](self, user, value)
        if isinstance(user, Broadcast) and user.x.type.shape:
            wanted = self.wish(user.result)
            return None if wanted is None else before_broadcast(wanted, user.x.type.shape)
        if isinstance(user, Transpose):
            wanted = self.wish(user.result)
            return None if wanted is None else wanted.permute(inverse(user.axes))
        if isinstance(user, Reshape) and user.x.type.shape and user.shape:
            wanted = self.wish(user.result)
            return None if wanted is None else reshaped(wanted, user.shape, user.x.type.shape)
        if isinstance(user, Elementwise) and (user.result.type.dtype.bits == value.type.dtype.bits or 1 in value.type.shape):
            return self.wish(user.result)
        if isinstance(user, For | Yield) and value in self.carried_as and self.carried_as[value] is not value:
            return self.wish(self.carried_as[value])
        if isinstance(user, Store) and value is user.value:
            return self.default(value.type, fastest_axis(user))
        return None

    def store(self, op: Store | StoreShared) -> Any:
        if not op.value.type.shape:
            return self.clone(op)
        packed = op.memory.type.packed if isinstance(op, StoreShared) else op.value.type.dtype.bits % 8 != 0
        wanted = self.default(op.value.type, fastest_axis(op), 32 if packed else 8)  # threads that share a word need atomics
        return self.clone(op, value=self.get(op.value, wanted if packed or op.value in self.free else self.layout_of(op.value)))

    def loosened(self, op: ConvertLayout) -> Any:
        """Behind a stated layout the tile lies as it was stated."""
        return self(op.x) if op.layout is None else self.clone(op)

    # control flow

    def yielding(self, region: Block, old: Block, layouts: Sequence[Layout | None]) -> Block:
        """End a rebuilt region with its old values in the layouts that the region's owner holds them in."""
        self.made.append({})
        with self.into(region):
            self.b.loc = old.ops[-1].loc if old.ops else None
            values = [self(v) if layout is None else self.get(v, layout) for v, layout in zip(old.yielded, layouts, strict=True)]
            self.b.insert(Yield(tuple(values)))
        self.made.pop()
        return region

    def held(self, values: Sequence[Value]) -> list[Layout | None]:
        """The layouts of values, by default where free; None for scalars and memory."""
        return [self.layout_of(v) if isinstance(v.type, TileType) and v.type.shape else None for v in values]

    def wanted(self, old: Sequence[Value], yielded: Sequence[Value], layouts: Sequence[Layout | None]) -> list[Layout | None]:
        """Layouts of the values that a loop's body ends with; free ones stay as the loop holds them."""
        return [held if y in self.free else now for y, held, now in zip(yielded, layouts, self.held(yielded), strict=True)]

    def carried(self, op: Any, regions: Callable[[Sequence[Layout | None]], None], yielded: Sequence[Value]) -> list[Layout | None]:
        """Rebuild a loop until it ends with the layouts that it starts with, or at most three times; then the ends are converted."""
        layouts = self.held(op.inits)
        for region in op.regions:
            self.soft.update(a for a, init in zip(region.args[-len(op.inits) :], op.inits, strict=False) if init in self.free)
        for _ in range(3):
            regions(layouts)
            now = self.wanted(op.inits, yielded, layouts)
            if now == layouts:
                return layouts
            layouts = now
        regions(layouts)
        return layouts

    def for_loop(self, op: For) -> Any:
        new = Block()

        def build(layouts: Sequence[Layout | None]) -> None:
            nonlocal new
            new = self.block(op.body, [op.start.type, *placed(op.inits, layouts)])

        layouts = self.carried(op, build, op.body.yielded)
        body = self.yielding(new, op.body, layouts)
        return self.b.insert(For(self(op.start), self(op.stop), self(op.step), self.starts(op, layouts), body, op.stages, op.buffers))

    def while_loop(self, op: While) -> Any:
        test, body = Block(), Block()

        def build(layouts: Sequence[Layout | None]) -> None:
            nonlocal test, body
            test = self.yielding(self.block(op.test, placed(op.inits, layouts)), op.test, [None])
            body = self.block(op.body, placed(op.inits, layouts))

        layouts = self.carried(op, build, op.body.yielded)
        return self.b.insert(While(self.starts(op, layouts), test, self.yielding(body, op.body, layouts)))

    def starts(self, op: Any, layouts: Sequence[Layout | None]) -> tuple[Value, ...]:
        return tuple(self(v) if layout is None else self.get(v, layout) for v, layout in zip(op.inits, layouts, strict=True))

    def branch(self, op: If) -> Any:
        with self.facts.assuming(op.condition):
            then = self.block(op.then)
        orelse = self.block(op.orelse)
        layouts = [b if a in self.free else c for a, b, c in zip(op.then.yielded, self.held(op.orelse.yielded), self.held(op.then.yielded), strict=True)]
        self.yielding(then, op.then, layouts)
        self.yielding(orelse, op.orelse, layouts)
        return self.b.insert(If(self(op.condition), then, orelse))

    def end(self, op: Yield) -> None:
        """The owner of the region ends it (`yielding`), but for the grid's."""
        if not self.made[1:]:
            self.clone(op)


RULES: dict[Any, Callable[[AssignLayouts, Any], Any]] = {
    Constant: AssignLayouts.anywhere,
    Arange: AssignLayouts.anywhere,
    Broadcast: AssignLayouts.anywhere,
    Elementwise: AssignLayouts.elementwise,
    Reshape: AssignLayouts.shape,
    Transpose: AssignLayouts.shape,
    Reduce: AssignLayouts.reduce,
    Load: AssignLayouts.load,
    LoadShared: AssignLayouts.load,
    Store: AssignLayouts.store,
    StoreShared: AssignLayouts.store,
    ConvertLayout: AssignLayouts.loosened,
    For: AssignLayouts.for_loop,
    While: AssignLayouts.while_loop,
    If: AssignLayouts.branch,
    Yield: AssignLayouts.end,
}


# what ops of other files wish that an operand's layout be, should they be its only users
WISHES: dict[Any, Callable[[AssignLayouts, Any, Value], Layout | None]] = {}


def operand_names(op: Op) -> list[str]:
    return [f.name for f in op.fields if isinstance(getattr(op, f.name), Value)]


def uses_of(function: Function) -> dict[Value, list[Op]]:
    """Who uses each value, in order."""
    uses: dict[Value, list[Op]] = {}
    for op in function.walk():
        for value in op.operands:
            uses.setdefault(value, []).append(op)
    return uses


def placed(values: Sequence[Value], layouts: Sequence[Layout | None]) -> list[Type]:
    """The values' types in these layouts."""
    return [v.type if layout is None else TileType(v.type.dtype, v.type.shape, layout, v.type.group) for v, layout in zip(values, layouts, strict=True)]


def fastest_axis(op: Any) -> int | None:
    """The tile axis that runs along the memory's contiguous axis, if one does."""
    fast = laid_out(op.memory).fast if isinstance(op.memory.type, SharedType) else op.memory.type.rank - 1
    return op.dims.index(fast) if fast in op.dims else None


def inverse(axes: Sequence[int]) -> list[int]:
    return [list(axes).index(i) for i in range(len(axes))]


def before_broadcast(layout: Layout, shape: Sequence[int]) -> Layout:
    """The layout of an operand of `shape` whose broadcast lies in `layout` without anything being moved."""
    new = layout.rank - len(shape)
    flat = [a + new for a, n in enumerate(shape) if n == 1 and layout.shape[a + new] != 1]
    kept = layout.reduce(flat, keepdims=True) if flat else layout
    return kept.reduce(range(new)) if new else kept


def reshaped(layout: Layout, shape: Sequence[int], wanted: Sequence[int]) -> Layout | None:
    """The layout of a tile of `shape` read as `wanted`, if it is one. Padding is no obstacle where only axes of extent 1 come or go."""
    if [n for n in shape if n != 1] == [n for n in wanted if n != 1]:
        gone = [a for a, n in enumerate(shape) if n == 1]
        if any(layout.shape[a] != 1 for a in gone):
            return None
        result = layout.reduce(gone) if gone else layout
        for axis, n in enumerate(wanted):
            result = result.unsqueeze(axis) if n == 1 else result
        return result
    if layout.shape != tuple(shape):
        return None
    try:
        return layout.reshape(wanted)
    except Exception:
        return None


def padded(type: TileType) -> SharedLayout:
    """Row-major with 16 bytes after each row, so that a column's elements lie in different banks; no two elements in one byte."""
    spread = type.dtype.bits < 8 and not type.dtype.is_bool
    if type.rank < 2:
        return replace(row_major(*type.shape), spread=spread)
    gap = max(1, 16 * 8 // max(8, type.dtype.bits))
    pitch = type.shape[-1] + gap
    strides = tuple(pitch * math.prod(type.shape[a + 1 : -1]) for a in range(type.rank - 1))
    return SharedLayout(type.shape, (*strides, 1), spread=spread)


@lru_cache(maxsize=64)
def matrix_layouts(
    fragments: Fragments, m: int, n: int, k: int, warps: int, strategy: str, tiles: tuple[Layout | None, Layout | None] = (None, None)
) -> tuple[Layout, Layout, Layout]:
    """Layouts of a, b and c for a block of `warps`, which share out c's rows and columns so that they load least, or rows alone: then each
    warp holds whole rows, which it can reduce by itself and multiply on without handing anything over. `tiles` are what of a or of b lies together
    in a warp, where it is converted in registers: several fragments, so dear that few warps should have the same ones."""
    fm, fn, _ = fragments.shape
    a, b = tiles[0] or fragments.a, tiles[1] or fragments.b
    (tm, ka), (kb, tn) = a.shape, b.shape
    rows, columns = m // tm, n // tn
    plans = [
        (x, y)
        for x in divisors(warps)
        for y in divisors(warps // x)
        if rows % x == 0 and columns % y == 0
    ]  # fmt: skip
    by_rows = strategy == "whole rows"
    dear_rows, dear_columns = (CONVERSION if tile else 1 for tile in tiles)
    x, y = min(plans, key=lambda plan: (-plan[0] * plan[1], plan[1] if by_rows else 0, dear_rows * m // plan[0] + dear_columns * n // plan[1], plan))
    idle = replicated(warps // (x * y), rank=2)
    a = idle * local(rows // x, k // ka) * spatial(x, 1) * replicated(y, rank=2) * a
    b = idle * local(k // kb, columns // y) * replicated(x, rank=2) * spatial(1, y) * b
    c = idle * local(rows // x, columns // y) * spatial(x, y) * local(tm // fm, tn // fn) * fragments.c
    return a, b, c


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]

