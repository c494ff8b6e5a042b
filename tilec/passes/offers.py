"""What the layouts that are offered cost: the op itself, and all that is to come of the choice, as far as it can be foreseen.

    %x = load %a, [%i, %k] : f16[64, 32]           offered: rows as they lie in memory; as `dot` wants its operand
    %z = dot %x, %y, %acc : f32[64, 64]            cost: the load's sectors and instructions; the conversion in between, if one is needed

An op offers layouts for its tile. The cost of an offer is that of the op with it, as the target counts it, and that of the tile's users: an
elementwise op hands the layout on, or converts the lesser of what meets; a reduction, a store and a product cost what they cost with it. Users
of users follow, through loops, whose costs count ten times. What was decided before is known, what comes later is taken at its best.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from tilec.ir.core import Block, Op, Rewriter, Value, Yield
from tilec.ir.facts import Facts
from tilec.ir.layout import Layout, blocked, column_local, local, spatial
from tilec.ir.notes import NOT_ALLOWED, chosen
from tilec.ir.ops.base import Elementwise
from tilec.ir.ops.control import For, If, While
from tilec.ir.ops.memory import Load, Store
from tilec.ir.ops.reduce import Reduce
from tilec.ir.ops.shape import Arange, Broadcast, Constant, ConvertLayout, Reshape, Transpose
from tilec.ir.ops.shared_views import laid_out
from tilec.ir.ops.views import contiguous
from tilec.ir.shared import WARP
from tilec.ir.target import HOW, Cost, Hardware
from tilec.ir.types import SharedType, TileType

ACCESS_BITS = 128  # the widest access of one thread
ROUNDS = 10.0  # that a loop is counted as
SECTOR_BITS = 256  # of global memory, which are moved together
STRATEGIES = ("least loads", "whole rows")  # how the warps of a block share out a product's result
BARRED = Cost(instructions=1e12)  # of a conversion that goes farther than it may
PROHIBITIVE = 1e9  # instructions, beyond all that tiles need, and below what a barred conversion counts ahead of three loops
FAR = 12  # users of users, of which wishes are heard
MOST = 12  # offers that are looked at
DEEP = 40  # ops in a row, through which is foreseen


class Offer(NamedTuple):
    """A layout that an op can have, the words for it, and what it costs with all that comes of it."""

    layout: Layout
    words: str
    cost: Cost


class Outlook(Rewriter):
    """What is known of layouts while they are assigned, and what is to be expected."""

    target: Hardware
    warps: int
    threads: int
    facts: Facts
    ops: list[Op]  # of the function, in order
    uses: dict[Value, list[Op]]  # who uses each value, in order
    shared: bool  # whether the function has tiles in shared memory
    limits: dict[Block, str]  # how far conversions may go in blocks that say so
    homes: dict[Op, Block]  # in which block each op stands, if there are limits
    carried_as: dict[Value, Value]  # as what a loop's body knows what it begins with, or ends a round with; what a branch gives on
    carried_from: dict[Value, Value]  # what the body of a loop ends with, by the argument that carries it

    def __init__(self, target: Hardware):
        super().__init__()
        self.target = target
        self.taken: dict[Op, Layout] = {}  # what was chosen, as loops are rebuilt
        self.foreseen: dict[tuple[Value, Layout], Cost] = {}
        self.placed: dict[Value, Layout | None] | None = None  # what `lies` said, while nothing changes
        self.telling: list[Value] = []  # whose layouts are being asked for, each for the one before it
        self.tried: dict[Value, Layout | None] = {}  # what was told meanwhile
        self.depth = 0  # of what is being foreseen

    def default(self, type: TileType, fastest: int | None = None, unit: int = 8, most: int = ACCESS_BITS) -> Layout:
        """The coalesced layout: runs of up to `most` bits, 16 bytes, along the fastest axis, but none so long that threads go idle, and none so
        short that they don't fill whole units of so many bits."""
        bits = type.dtype.bits if not type.dtype.is_bool else 8
        widest = 1 << max(1, most // bits).bit_length() - 1
        least = unit // math.gcd(unit, bits)
        share = 1 << max(0, (type.size // self.threads).bit_length() - 1)
        return blocked(type.shape, self.threads, max(least, min(widest, share)), fastest_first(type.rank, fastest))

    # where tiles lie

    def lies(self, old: Value) -> Layout | None:
        """Where a tile lies, or will, for all that can be told. None of what is made wherever it is wanted."""
        known = self.map.get(old)
        if known is not None and isinstance(known.type, TileType) and known.type.layout is not None:
            return known.type.layout
        if not isinstance(old.type, TileType) or not old.type.shape:
            return None
        if self.placed is not None and old in self.placed:
            return self.placed[old]
        if old in self.tried or len(self.telling) > DEEP:
            return self.tried.get(old)
        self.telling.append(old)
        self.tried[old] = None  # should it hang on itself, in a loop
        layout = self.tried[old] = self.told(old)
        self.telling.pop()
        if not self.telling:
            self.tried.clear()
        if self.placed is not None and (layout is not None or not self.telling):
            self.placed[old] = layout
        return layout

    @contextmanager
    def foreseeing(self) -> Iterator[None]:
        """Within, nothing is decided, so that what was told once holds."""
        self.placed = {}
        try:
            yield
        finally:
            self.placed = None

    def is_free(self, value: Value) -> bool:
        """Whether a tile is made wherever and however it is wanted."""
        op = value.owner
        if isinstance(op, Elementwise | Reshape | Transpose):
            return all(map(self.is_free, op.operands))
        return isinstance(op, Constant | Arange | Broadcast) or not value.type.shape

    def told(self, old: Value) -> Layout | None:
        op: Any = old.owner
        if isinstance(op, Block):
            return self.lies(self.carried_from[old]) if old in self.carried_from else None
        if isinstance(op, For | While | If):
            return self.lies((op.then if isinstance(op, If) else op.body).yielded[op.results.index(old)])
        if type(op) in LIES:
            return LIES[type(op)](self, op)
        if isinstance(op, Elementwise):
            return next((layout for v in op.operands if (layout := self.lies(v)) is not None), None)
        if isinstance(op, Transpose | Reduce | Reshape):
            given = self.lies(op.x)
            return None if given is None else behind(op, given)
        if isinstance(op, ConvertLayout) and op.layout is None:
            return self.lies(op.x)
        return getattr(op, "layout", None)

    # what users want

    def wishes(self, value: Value, heard: tuple[int, set[Value]] | None = None) -> Iterator[tuple[Layout, Op]]:
        """The layouts that users want of a value, and those users, in order. `heard` tells how far from here users are heard yet, and of which values
        they were."""
        far, seen = heard or (FAR, set())
        if not far or value in seen:
            return
        seen.add(value)
        for user in self.uses.get(value, ()):
            for layout, who in self.wished(user, value, (far - 1, seen)):
                if layout.threads == self.threads:
                    yield layout, who

    def wished(self, user: Any, value: Value, far: tuple[int, set[Value]]) -> Iterator[tuple[Layout, Op]]:
        if type(user) in WISHES:
            layout = WISHES[type(user)](self, user, value)
            if layout is not None:
                yield layout, user
        elif isinstance(user, Elementwise | ConvertLayout):
            others = [layout for v in user.operands if v is not value and (layout := self.lies(v)) is not None]
            yield from ((layout, user) for layout in others[:1])
            if not others:
                yield from self.wishes(user.result, far)
        elif isinstance(user, Broadcast | Transpose | Reshape) and value.type.shape and user.result.type.shape:
            for wanted, who in self.wishes(user.result, far):
                layout = ahead_of(user, wanted)
                if layout is not None:
                    yield layout, who
        elif isinstance(user, Store) and value is user.value:
            yield self.default(value.type, fastest_axis(user)), user
            along = fastest_axis(user)
            layout = None if along is None else both_ways(value.type, self.warps, along)
            if layout is not None:
                yield layout, user
        elif isinstance(user, Reduce):
            layout = rows_to_warps(value.type, user.axes, self.warps, value.type.rank - 1)
            if layout is not None:
                yield layout, user
        elif isinstance(user, For | Yield) and self.carried_as.get(value, value) is not value:
            yield from self.wishes(self.carried_as[value], far)

    # what comes of a layout

    def after(self, value: Value, layout: Layout) -> Cost:
        """What the users of a value in a layout cost, and theirs."""
        key = value, layout
        if key not in self.foreseen:
            self.foreseen[key] = Cost()  # for what comes round to it again
            self.depth += 1
            users = self.uses.get(value, ()) if self.depth <= DEEP else ()
            self.foreseen[key] = sum((self.at(user, value, layout) for user in users), Cost())
            self.depth -= 1
        return self.foreseen[key]

    def at(self, user: Any, value: Value, layout: Layout) -> Cost:
        """What one user costs, and what comes of its result."""
        tile = TileType(value.type.dtype, value.type.shape, layout)
        if type(user) in AHEAD:
            return AHEAD[type(user)](self, user, value, layout)
        if isinstance(user, Elementwise | ConvertLayout):
            return self.meeting(user, value, layout)
        if isinstance(user, Reduce):
            return self.target.reduction(tile, user.axes) + (self.after(user.result, reduced(layout, user.axes)) if user.result.type.shape else Cost())
        if isinstance(user, Store) and value is user.value:
            return self.stored(user, layout)
        if isinstance(user, Broadcast):
            wanted = dict.fromkeys(layout for layout, _ in self.wished(user, value, (FAR, set())))
            return sum((self.conversion(value, layout, w) for w in wanted), Cost())
        if isinstance(user, Transpose | Reshape) and user.result.type.shape:
            handed = behind(user, layout)
            return Cost() if handed is None else self.after(user.result, handed)
        if isinstance(user, For) and value in user.inits:
            return self.after(user.body.args[1 + user.inits.index(value)], layout) * ROUNDS
        return Cost()

    def meeting(self, user: Elementwise | ConvertLayout, value: Value, layout: Layout) -> Cost:
        """An elementwise op: what meets there in two layouts is converted to the one that costs less, all in all."""

        def done(layout: Layout) -> Cost:
            return Cost(instructions=layout.registers * self.warps) + self.after(user.result, layout)

        other = next((v for v in user.operands if v is not value and self.lies(v) not in (None, layout)), None)
        if other is None:
            return done(layout)
        theirs = self.lies(other)
        assert theirs is not None
        return self.least(self.conversion(value, layout, theirs) + done(theirs), self.conversion(other, theirs, layout) + done(layout))

    def conversion(self, value: Value, given: Layout, wanted: Layout) -> Cost:
        if given == wanted or given.threads != wanted.threads or given.rank != wanted.rank:
            return Cost()
        ways = self.target.conversions(TileType(value.type.dtype, value.type.shape, given), wanted)
        if not self.limits:
            return ways[0].cost
        near = HOW[: HOW.index(self.farthest(value)) + 1]
        return next((way.cost for way in ways if way.how in near), BARRED)

    def farthest(self, value: Value) -> str:
        """How far a conversion of a tile may go, which is made where the tile is."""
        home = value.owner if isinstance(value.owner, Block) else self.homes.get(value.owner)  # type: ignore[arg-type]
        return self.limits.get(home, HOW[-1])  # type: ignore[arg-type]

    def stored(self, op: Store, layout: Layout) -> Cost:
        """A store of a tile that lies so: in the best of what is offered."""
        return self.least(*(self.storing(op, layout, offered) for offered, _ in self.storings(op, layout)))

    def storings(self, op: Store, given: Layout) -> Iterator[tuple[Layout, str]]:
        """The layouts in which a tile can be stored, the one that it is held in first. The author's shared tiles, and those of a pipeline, leave no
        room for a tile that is only stored."""
        along = fastest_axis(op)
        yield given, "as the tile is held"
        if along is not None and given.vector_run(along) == 1:
            yield turned(given, along), "each thread's registers in the order of the memory"
        if not self.shared:
            yield self.default(op.value.type, along), "rows as they lie in memory"

    def storing(self, op: Store, given: Layout, layout: Layout) -> Cost:
        return self.conversion(op.value, given, layout) + self.accessed(op, op.value, layout)

    def accessed(self, op: Load | Store, value: Value, layout: Layout) -> Cost:
        """An access of global memory. Vectors are taken to be aligned where nothing is known against it."""
        memory = op.memory.type
        bits = 8 if memory.dtype.is_bool else memory.dtype.bits
        rows = [n for n in memory.shape[1:][-1:] if isinstance(n, int)]  # all strides but 1 are multiples of how long a row is
        pitch = math.gcd(*rows, ACCESS_BITS // min(bits, ACCESS_BITS))
        along = fastest_axis(op) if contiguous(op.memory) else None
        once = self.target.global_access(TileType(value.type.dtype, value.type.shape, layout), along, pitch)
        return once if self.inside(op, value.type.shape) else once + Cost(instructions=once.instructions)

    def inside(self, op: Load | Store, shape: Sequence[int]) -> bool:
        """Whether a tile is known to lie in its tensor, so that nothing is to be asked for each vector."""
        extents = [op.memory.type.shape[axis] for axis in op.dims] if not isinstance(op.memory.owner, Op) else []
        if len(extents) != len(shape):
            return False
        return all(
            extent % n == 0
            if isinstance(extent, int)
            else self.facts.divisor(self.function.param(extent)) % n == 0 and self.facts.below(op.offsets[axis], self.function.param(extent))
            for extent, n, axis in zip(extents, shape, op.dims, strict=True)
        )

    def read(self, value: Value, layout: Layout) -> Cost:
        """A tile in shared memory read as it is wanted."""
        memory = SharedType(value.type.dtype, value.type.shape)
        return self.target.shared_access(TileType(value.type.dtype, value.type.shape, layout), memory, tuple(range(value.type.rank)))

    def least(self, *costs: Cost) -> Cost:
        """The first of equals."""
        return min(costs, key=self.target.weight)

    # choosing

    def choose(self, op: Op, offered: Iterable[tuple[Layout, str]], cost: Callable[[Layout], Cost], again: bool = False) -> Layout:
        """The cheapest of some layouts, the first of equals; what is offered alone is taken unseen. As a loop is rebuilt what was chosen stays, unless
        `again` says that what is offered may change."""
        if op in self.taken and not again:
            return self.taken[op]
        words: dict[Layout, str] = {}
        alike: Counter[str] = Counter()
        for layout, said in itertools.islice(offered, MOST):
            if layout not in words:
                alike[said] += 1
                words[layout] = said if alike[said] == 1 else f"{said}, way {alike[said]}"
        offers = [Offer(layout, said, Cost()) for layout, said in words.items()]
        if len(offers) > 1:
            self.foreseen.clear()
            offers = [Offer(o.layout, o.words, cost(o.layout)) for o in offers]
        best = min(offers, key=lambda o: self.target.weight(o.cost))
        if len(offers) > 1:
            chosen(op.loc, [(o.words, priced(o.cost), self.target.weight(o.cost)) for o in offers], offers.index(best))
        self.taken[op] = best.layout
        return best.layout


def priced(cost: Cost) -> str:
    """The parts of a cost in words, or that it is not to be had: it holds a conversion that goes too far, as far as can be foreseen."""
    return NOT_ALLOWED if cost.instructions >= PROHIBITIVE else str(cost)


LIES: dict[Any, Callable[[Any, Any], Layout | None]] = {}  # where the results of ops of other files will lie
WISHES: dict[Any, Callable[[Any, Any, Value], Layout | None]] = {}  # what such ops wish that an operand's layout be
AHEAD: dict[Any, Callable[[Any, Any, Value, Layout], Cost]] = {}  # what such ops cost with an operand in a layout, and what comes of them


def uses_of(ops: Iterable[Op]) -> dict[Value, list[Op]]:
    """Who uses each value, in order."""
    uses: dict[Value, list[Op]] = {}
    for op in ops:
        for value in op.operands:
            uses.setdefault(value, []).append(op)
    return uses


# layouts of what ops are made of, and make


def behind(op: Any, given: Layout) -> Layout | None:
    """The layout of a transposition's, a reshape's or a reduction's result, whose operand lies in `given`; None if that is no layout."""
    if isinstance(op, Transpose):
        return given.permute(op.axes)
    return reduced(given, op.axes) if isinstance(op, Reduce) else reshaped(given, op.x.type.shape, op.shape)


@lru_cache(maxsize=256)
def reduced(layout: Layout, axes: tuple[int, ...]) -> Layout:
    """As `Layout.reduce`, which takes its time."""
    return layout.reduce(axes)


def ahead_of(op: Any, wanted: Layout) -> Layout | None:
    """The layout of an operand whose result lies in `wanted` without anything being moved; None if there is none."""
    if isinstance(op, Broadcast):
        return before_broadcast(wanted, op.x.type.shape)
    return wanted.permute(inverse(op.axes)) if isinstance(op, Transpose) else reshaped(wanted, op.shape, op.x.type.shape)


def fastest_first(rank: int, fastest: int | None) -> tuple[int, ...]:
    """The axes, last first, but `fastest` before all."""
    order = tuple(reversed(range(rank)))
    return order if fastest is None else (fastest, *(a for a in order if a != fastest))


def fastest_axis(op: Any) -> int | None:
    """The tile axis that runs along the memory's contiguous axis, if one does."""
    fast = laid_out(op.memory).fast if isinstance(op.memory.type, SharedType) else op.memory.type.rank - 1
    return op.dims.index(fast) if fast in op.dims else None


def inverse(axes: Sequence[int]) -> list[int]:
    return [list(axes).index(i) for i in range(len(axes))]


@lru_cache(maxsize=256)
def before_broadcast(layout: Layout, shape: tuple[int, ...]) -> Layout:
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


def rows_to_warps(type: TileType, axes: Sequence[int], warps: int, fastest: int | None) -> Layout | None:
    """A coalesced layout in which each warp holds whole rows along `axes`, so that they are reduced within warps; None if warps can't share out
    the other axes."""
    shares, left = [1] * type.rank, warps
    for axis in (a for a in range(type.rank) if a not in axes):
        shares[axis] = math.gcd(type.shape[axis], left)
        left //= shares[axis]
    if left > 1:
        return None
    own = tuple(n // s for n, s in zip(type.shape, shares, strict=True))
    bits = 8 if type.dtype.is_bool else type.dtype.bits
    share = 1 << max(0, (math.prod(own) // WARP).bit_length() - 1)
    return spatial(*shares) * blocked(own, WARP, max(1, min(ACCESS_BITS // bits, share)), fastest_first(type.rank, fastest))


def both_ways(type: TileType, warps: int, along: int) -> Layout | None:
    """A layout of a matrix in which warps touch whole sectors both along its rows and along its columns, so that it can be loaded one way and stored
    the other, along `along`: each thread has a small matrix, its registers in the order of the loads. None if the tile is too small for it."""
    bits = 8 if type.dtype.is_bool else type.dtype.bits
    each = type.size // (WARP * warps)
    if type.rank != 2 or SECTOR_BITS % bits or each < 1 or each & (each - 1):
        return None
    across, rows, columns = 1 - along, type.shape[along], type.shape[1 - along]
    sector = SECTOR_BITS // bits
    run = min(ACCESS_BITS // bits, each)  # of the loads
    own = min(ACCESS_BITS // bits, each // run)  # of the stores
    lanes = max(sector // run, WARP * own // rows)  # along a load
    small, warp = [0, 0], [0, 0]
    small[across], small[along], warp[across], warp[along] = run, own, lanes, WARP // lanes
    if lanes > WARP or columns % (lanes * run) or rows % (warp[along] * own) or warp[along] * own % sector:
        return None
    shares = [n // (w * s) for n, w, s in zip(type.shape, warp, small, strict=True)]
    y = math.gcd(shares[1], warps)
    x = math.gcd(shares[0], warps // y)
    runs = local if along == 0 else column_local
    return local(shares[0] // x, shares[1] // y) * spatial(x, y) * spatial(*warp) * runs(*small) if x * y == warps else None


def turned(layout: Layout, along: int) -> Layout:
    """The same elements in the same threads, with the registers in another order: runs along an axis follow one another."""
    digits = sorted(layout.register_digits, key=lambda d: (d.dim == along, -d.stride))
    return Layout(layout.shape, layout.thread_digits, tuple(digits))
