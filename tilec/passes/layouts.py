"""Assigns a layout to every tile.

    %x = load %a, [%i, %k] : f16[64, 32]            %x = load %a, [%i, %k] layout=local(..)... : f16[64, 32; ...]
    %y = load %b, [%k, %j] : f16[32, 64]      ->    ...
    %z = dot %x, %y, %acc : f32[64, 64]             %x1 = convert_layout %x layout=<the matrix instruction's a> : ...
                                                    %z = dot %x1, %y1, %acc : f32[64, 64; <its c>]

A small optimization, stated by three things. *Choice points*: how the warps share out each product; for each load and store of global memory, and
each elementwise op at which layouts meet, one of a few layouts that it offers (`offers`). *Cost*: instructions, shuffles, passes over the banks,
barriers, sectors and registers, which the target counts, and weighs against one another; a loop counts ten times. *Constraints*: the fragments of
matrix instructions, the layouts that authors state, and how far `tc.conversions` lets a tile go (`conflicts`).

The search is deterministic and bounded. Products are decided first, of all together: every combination where few add to different accumulators,
else all alike and then each by itself (`products.arrange`). The rest is decided forward, once each, by what the op costs in a layout and what its
users cost with that, as far as can be foreseen. What has one sensible layout is not weighed at all. What costs next to nothing to make (constants,
ranges, broadcasts, and arithmetic on these alone) has no layout of its own and is made wherever and however it is wanted. Where two layouts meet,
a `convert_layout` stands between them; the target tells which way it goes: in registers, by shuffles, or through shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from tilec.errors import require
from tilec.ir.core import Block, Function, Op, Value, Yield
from tilec.ir.describe import written
from tilec.ir.dtypes import i32
from tilec.ir.facts import Facts
from tilec.ir.layout import Layout, local, replicated, spatial
from tilec.ir.ops.arith import Cast
from tilec.ir.ops.base import Elementwise, constant
from tilec.ir.ops.control import For, If, While
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import Load, LoadShared, Shared, Store, StoreShared
from tilec.ir.ops.pieces import Slice
from tilec.ir.ops.reduce import Reduce
from tilec.ir.ops.shape import Arange, Broadcast, Constant, Conversions, ConvertLayout, Reshape, Transpose
from tilec.ir.ops.sync import Sync
from tilec.ir.ops.views import viewed
from tilec.ir.ops.weights import Unpack
from tilec.ir.shared import padded
from tilec.ir.target import Cost, Fragments, Hardware
from tilec.ir.types import TileType, Type
from tilec.passes.conflicts import check, scopes
from tilec.passes.offers import ROUNDS, STRATEGIES, Outlook, before_broadcast, fastest_axis, inverse, reshaped, uses_of

WORD = 4  # bytes that an atomic takes
CONVERSION = 16  # what a weight's conversion, two instructions, costs by the load of an element by ldmatrix


def assign_layouts(function: Function, target: Hardware) -> Function:
    """The function with a layout for each tile. Raises TileError where `tc.conversions` leaves no way."""
    assignment = AssignLayouts(target)
    assigned = assignment.run(function)
    if assignment.limits:
        check(assignment, function, assigned)
    return assigned


class AssignLayouts(Outlook):
    def __init__(self, target: Hardware, strategy: str | None = None):
        super().__init__(target)
        self.strategy = strategy  # of all products, if they are not to be arranged one by one
        self.arrangements: dict[Dot, str] = {}
        self.plans: dict[tuple[Dot, str, int], Any] = {}  # how products are made, in each arrangement, by so many warps
        self.free: set[Value] = set()  # old values that are made in any layout when wanted
        self.firm: set[Value] = set()  # old values that lie as their consumer wants them, from the start
        self.soft: set[Value] = set()  # old values whose layout is but a guess: what a loop carries that began free, and what follows from it
        self.made: list[dict[tuple[Value, Layout], Value]] = []  # by enclosing block: old value and layout -> new value
        self.level: dict[Value, int] = {}  # how deep the block is in which a new value was made

    def run(self, function: Function) -> Function:
        self.warps, self.threads, self.facts = function.warps, function.threads, Facts(function)
        self.function, self.ops = function, list(function.walk())
        self.uses, self.written = uses_of(self.ops), written(function)
        loops = [op for op in self.ops if isinstance(op, For | While)]
        self.carried_from = {a: y for op in loops for a, y in zip(op.body.args[-len(op.inits) :], op.body.yielded, strict=False)}
        self.carried_as = {y: a for a, y in self.carried_from.items()}
        self.carried_as |= {x: v for op in self.ops if isinstance(op, If) for v, x in zip(op.results, op.then.yielded, strict=True)}
        self.carried_as |= {x: a for op in loops if isinstance(op, For) for x, a in zip(op.inits, op.body.args[1:], strict=True)}
        kinds = set(map(type, self.ops))
        self.shared, self.packed = Shared in kinds, Unpack in kinds
        self.limits = scopes(function) if Conversions in kinds else {}
        self.homes = {op: block for block in self.limits for op in block.ops}
        for arrange in ARRANGE if self.strategy is None else ():
            arrange(self)
        return super().run(function)

    def arrangement(self, op: Dot) -> str:
        """How the warps share out a product's result."""
        return self.strategy or self.arrangements.get(op, STRATEGIES[0])

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
        leaders = self.leaders(fixed)
        layout = self.common(op, fixed, leaders)
        leader = leaders.get(layout)
        for kind in (self.soft, self.firm):
            if leader in kind:
                kind.add(op.results[0])
        return self.clone(op, **{f: self.get(getattr(op, f), layout) for f in operand_names(op)})

    def leaders(self, fixed: Sequence[Value]) -> dict[Layout, Value]:
        """The operands that others may be made to lie like, by their layouts: no guesses where there is better, weights where there are any."""
        standing = max((v in self.firm, v not in self.soft) for v in fixed)
        return {self(v).type.layout: v for v in reversed(fixed) if (v in self.firm, v not in self.soft) == standing}

    def common(self, op: Elementwise, fixed: Sequence[Value], leaders: dict[Layout, Value]) -> Layout:
        """The layout that operands are brought to, and the result has: the one that makes the least work; the first of equals. Where conversions may not
        go far, it may be one that users want, too."""
        if len(leaders) == 1 and not self.limits:
            return next(iter(leaders))
        offered = [(layout, f"as {leaders[layout].name or 'the other operand'} lies") for layout in reversed(leaders)]
        offered += [(layout, f"as {user.mnemonic} wants it") for layout, user in self.wishes(op.result)] if self.limits else []
        return self.choose(op, offered, lambda layout: self.meeting_in(op, fixed, layout), again=True)

    def meeting_in(self, op: Elementwise, fixed: Sequence[Value], layout: Layout) -> Cost:
        """What it takes to bring all operands into a layout, and what comes of it; what was made ahead of a loop is converted there, once."""
        here = len(self.builders) - 1
        moved = (self.conversion(v, self(v).type.layout, layout) * ROUNDS ** (self.level.get(self(v), -1) - here) for v in fixed)
        return sum(moved, Cost(instructions=layout.registers * self.warps)) + self.after(op.result, layout)

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
        value = op.results[0]
        layout = self.default(value.type, fastest_axis(op), WORD * 8 if self.by_words(op) else 8)
        if isinstance(op, LoadShared) or any(getattr(user, "coalesced", False) for user in self.uses.get(value, ())):
            layout = self.wish(value) or layout
        elif value.type.dtype.bits % 8 == 0 or value.type.dtype.is_bool:
            offered = [(layout, "rows as they lie in memory"), *((wanted, f"as {user.mnemonic} wants it") for wanted, user in self.wishes(value))]
            layout = self.choose(op, offered, lambda layout: self.accessed(op, value, layout) + self.after(value, layout))
        return self.clone(op, layout=layout)

    def by_words(self, op: Load | LoadShared) -> bool:
        """Whether what is no whole words of memory is loaded bit by bit: packed shared tiles, and packed tensors that the kernel writes, too."""
        if isinstance(op, LoadShared):
            return op.memory.type.packed
        return op.memory.type.dtype.bits % 8 != 0 and viewed(op.memory) in self.written

    def wish(self, value: Value) -> Layout | None:
        """The layout that the only user of a value wants, or slices of it all want, if no conversion to wider elements stands between, of which fewer
        lie in 16 bytes."""
        users = self.uses.get(value, ())
        alone = len(users) == 1 or (users and all(isinstance(u, Slice) and u.shape == users[0].results[0].type.shape for u in users))
        wanted = next((layout for layout, _ in self.wishes(value)), None) if alone else None
        while wanted is not None and len(users) == 1 and isinstance(users[0], Elementwise):
            same = users[0].result.type.dtype.bits == value.type.dtype.bits or 1 in value.type.shape
            wanted, users = wanted if same else None, self.uses.get(users[0].result, ())
        return wanted

    def store(self, op: Store | StoreShared) -> Any:
        if not op.value.type.shape:
            return self.clone(op)
        packed = op.memory.type.packed if isinstance(op, StoreShared) else op.value.type.dtype.bits % 8 != 0
        wanted = self.default(op.value.type, fastest_axis(op), 32 if packed else 8)  # threads that share a word need atomics
        if packed or op.value in self.free:
            return self.clone(op, value=self.get(op.value, wanted))
        given = self.layout_of(op.value)
        if isinstance(op, Store):
            held = given
            given = self.choose(op, self.storings(op, held), lambda layout: self.storing(op, held, layout), again=True)
        return self.clone(op, value=self.get(op.value, given))

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
        return self.b.insert(While(self.starts(op, layouts), test, self.yielding(body, op.body, layouts), op.stages, op.buffers))

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


ARRANGE: list[Callable[[AssignLayouts], None]] = []  # who decides on the arrangements of a function's products


def operand_names(op: Op) -> list[str]:
    return [f.name for f in op.fields if isinstance(getattr(op, f.name), Value)]


def placed(values: Sequence[Value], layouts: Sequence[Layout | None]) -> list[Type]:
    """The values' types in these layouts."""
    return [v.type if layout is None else TileType(v.type.dtype, v.type.shape, layout, v.type.group) for v, layout in zip(values, layouts, strict=True)]


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

