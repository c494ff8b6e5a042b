"""Gives every shared tile a layout, and then a place.

    %s = shared dtype=f16 shape=[64, 32]                       ->  %s = shared dtype=f16 shape=[64, 32] layout=shared(..)
    %s = shared dtype=f16 shape=[64, 32] layout=shared(..)     ->  %s = shared dtype=f16 shape=[64, 32] layout=shared(..) offset=0

Tiles stated by the author lie on multiples of 1024 bytes, two of them in the same place if a barrier keeps their uses apart (`lifetimes`); the
scratch tiles of layout conversions, none of which outlives the barrier before the next, share one place behind them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from typing import Any

from tilec.errors import TileError, require
from tilec.ir.core import Block, Function, Op, Rewriter, Value
from tilec.ir.facts import Facts
from tilec.ir.layout import NOWHERE, Digit, Layout, walk
from tilec.ir.notes import say
from tilec.ir.ops.asynchronous import CopyAsync
from tilec.ir.ops.base import describe
from tilec.ir.ops.control import For, While
from tilec.ir.ops.gather import Gather, Scatter
from tilec.ir.ops.memory import LoadShared, Shared, StoreShared
from tilec.ir.ops.shared_views import SharedView, laid_out, viewed_tile
from tilec.ir.ops.warps import InWarps
from tilec.ir.shared import SharedLayout, row_major, steps_of
from tilec.ir.target import Hardware
from tilec.ir.types import SharedType
from tilec.passes.lifetimes import places
from tilec.passes.swizzles import Access, best
from tilec.records import replace

ALIGNMENT = 1024  # of every tile, so that swizzles up to the hardware's widest start at a period
VECTOR = 16  # bytes of the widest access


def lay_out_shared(function: Function, target: Hardware) -> Function:
    return LayOutShared(target).run(function)


class LayOutShared(Rewriter):
    """Tiles without a layout, and the scratch of exchanges, get the one that their accesses want."""

    def __init__(self, target: Hardware):
        super().__init__()
        self.target = target

    def run(self, function: Function) -> Function:
        self.accesses: dict[Value, list[Access]] = {}
        self.joined: dict[Value, set[int]] = {}  # axes that views want to follow those before them without a gap
        self.together: dict[Value, int] = {}  # elements that views see as one
        self.fixed: set[Value] = set()  # tiles whose elements views see as ones that neither hold nor fill them a power of two of times
        self.facts = Facts(function)
        self.collect(function.body, 1.0)
        return super().run(function)

    def collect(self, block: Block, rounds: float) -> None:
        """What accesses each tile; a loop is counted as ten rounds."""
        for op in block.ops:
            for region in op.regions:
                self.collect(region, rounds * (10 if isinstance(op, For | While) else 1))
            if isinstance(op, SharedView) and op.axes is None:
                root = viewed_tile(op.memory)
                self.joined.setdefault(root, set()).update(a for a in range(1, root.type.rank) if not bears_gap(op.result, a))
                if op.dtype is not None:
                    narrow, wide = sorted((op.memory.type.item_bits, op.dtype.bits))
                    if wide % narrow or wide // narrow & (wide // narrow - 1):
                        self.fixed.add(root)
                    self.together[root] = max(self.together.get(root, 1), op.dtype.bits // root.type.item_bits)
            elif isinstance(op, LoadShared) and op.layout is not None:
                whole = type(op) is LoadShared
                rows = self.target.matrix_rows(plain(op.memory), op.dims, op.result.type) if whole else None
                self.note(op, op.memory, op.layout, op.dims, rounds, rows, 0 if whole else 1)
            elif isinstance(op, StoreShared) and op.value.type.layout is not None:
                rows = self.target.matrix_rows(plain(op.memory), op.dims, op.value.type, stored=True)
                self.note(op, op.memory, op.value.type.layout, op.dims, rounds, rows)
            elif isinstance(op, Gather | Scatter) and isinstance(op.memory.type, SharedType) and not op.indices and op.tile_shape:
                self.note(op, op.memory, (op.result if op.results else op.value).type.layout, op.dims, rounds)  # type: ignore[union-attr]
            elif isinstance(op, CopyAsync) and op.layout is not None:
                self.note(op, op.target, op.layout, tuple(range(op.target.type.rank)), rounds)

    def note(self, op: Any, memory: Value, layout: Layout, dims: tuple[int, ...], rounds: float, rows: Layout | None = None, limit: int = 0) -> None:
        """`limit` is joined by where the tile begins in the shared one, and what it has along the last axis."""
        root, fast, bits = viewed_tile(memory), laid_out(memory).fast, memory.type.item_bits
        if fast in dims:
            begins = self.facts.divisor(op.offsets[fast]) if not isinstance(op, CopyAsync) else 0
            limit = math.gcd(limit, begins, op.tile_shape[dims.index(fast)]) * bits // root.type.item_bits
        try:
            where, at = lifted(memory, layout, dims), None if rows is None else lifted(memory, rows, dims, 8 * VECTOR // bits)
        except TileError:
            return  # elements in steps: no layout of registers walks so
        self.accesses.setdefault(root, []).append(Access(where[0], where[1], rounds, at and at[0], limit))

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, Shared) and (op.layout is None or op.scratch):
            return self.clone(op, layout=self.chosen(op))
        return self.clone(op)

    def chosen(self, op: Shared) -> SharedLayout:
        spread = op.layout is not None and op.layout.spread
        bits = op.result.type.item_bits
        if bits & (bits - 1) or op.result in self.fixed:  # rows begin at any bit: nothing to swizzle
            return row_major(*op.shape)
        accesses = tuple(dict.fromkeys(self.accesses.get(op.result, ())))
        joined, together = tuple(sorted(self.joined.get(op.result, ()))), self.together.get(op.result, 1)
        found = best(op.shape, bits, accesses, joined=joined, together=together)
        if found.cost.waits:
            served = found.cost.turns
            say(op.loc, lambda: f"no layout of the shared tile is free of bank conflicts: its accesses take {1 + found.cost.waits / served:.2f} turns for one")
        return replace(found.layout, spread=spread) if spread else found.layout


def lifted(memory: Value, layout: Layout, dims: tuple[int, ...], row: int = 1) -> tuple[Layout, tuple[int, ...]]:
    """An access of a view as one of the tile that it is a view of: where registers lie, and the axis of the tile for each axis of that.

    Along the axis whose elements lie together it counts in rows of so many. Raises TileError where no layout says it.
    """
    op = memory.owner
    while isinstance(op, SharedView):
        if op.axes is not None and all(step == 1 for _, step in op.axes):
            dims = tuple(op.axes[d][0] for d in dims)
        else:
            layout, dims = through(op, layout, dims, row)
            if op.dtype is not None:
                layout = recast(layout, dims, op, row)
        op = op.memory.owner
    return layout, dims


def through(view: SharedView, layout: Layout, dims: tuple[int, ...], row: int) -> tuple[Layout, tuple[int, ...]]:
    """`lifted` by one view: a digit that walks along several axes becomes one for each."""
    given, fast = view.memory.type.shape, laid_out(view.result).fast
    require(given, "one element lies in no rows")
    if view.dtype is not None:
        given = (*given[:-1], given[-1] * view.memory.type.item_bits // view.dtype.bits)
    tower = [Digit(n, axis, 1) for axis, n in enumerate((*given[:-1], given[-1] // row))]
    taken: list[int] = []

    def split(digit: Digit) -> list[Digit]:
        if digit.dim == NOWHERE:
            return [digit]
        axis = dims[digit.dim]
        pieces = walk(digit.size, digit.stride * view.strides[axis] * (row if axis == fast else 1) // row, tower)
        require(pieces, f"{digit} walks along no whole axes")
        taken.extend(d.dim for d in pieces or () if d.dim not in taken)
        return [d._replace(dim=taken.index(d.dim)) for d in pieces or ()]

    thread, register = ([d for digit in digits for d in split(digit)] for digits in (layout.thread_digits, layout.register_digits))
    extents = tuple(math.prod(d.size for d in (*thread, *register) if d.dim == at) for at in range(len(taken)))
    return Layout(extents, tuple(thread), tuple(register)), tuple(taken)


def recast(layout: Layout, dims: tuple[int, ...], view: SharedView, row: int) -> Layout:
    """The layout of the elements that those of another type consist of, along the last axis; rows of 16 bytes are the same. Raises TileError."""
    last, given = view.memory.type.rank - 1, view.memory.type.item_bits
    if row > 1 or last not in dims:
        return layout
    assert view.dtype is not None
    require(view.dtype.bits % given == 0, "several elements lie in one")
    axis = dims.index(last)
    return layout.local(*(view.dtype.bits // given if a == axis else 1 for a in range(layout.rank)))


def bears_gap(view: Value, axis: int) -> bool:
    """Whether a view of a tile without a layout would be one of it with a gap before each row of an axis, too."""

    def made(memory: Value) -> SharedLayout:
        if isinstance(memory.owner, SharedView):
            return memory.owner.laid_out(made(memory.owner.memory))
        strides = steps_of(memory.type.shape)
        row = strides[axis - 1]
        return SharedLayout(memory.type.shape, tuple(n if a >= axis else n // row * (row + 1) for a, n in enumerate(strides)))

    try:
        made(view)
    except TileError:
        return False
    return True


def plain(memory: Value) -> SharedType:
    """The type of a shared tile or a view of one, row-major where no layout is chosen."""
    return memory.type if memory.type.layout is not None else SharedType(memory.type.dtype, memory.type.shape, laid_out(memory))  # type: ignore[no-any-return]


def place_shared(function: Function, target: Hardware) -> Function:
    return PlaceShared(target).run(function)


class PlaceShared(Rewriter):
    def __init__(self, target: Hardware):
        super().__init__()
        self.target = target

    def run(self, function: Function) -> Function:
        tiles = [op for op in function.walk() if isinstance(op, Shared)]
        self.types = {op: SharedType(op.dtype, op.shape, op.layout) for op in tiles}
        groups = [op for op in function.walk() if isinstance(op, InWarps)]
        own = {op for group in groups for op in group.walk()}  # groups run at once: their scratch tiles lie apart
        kept = {op: self.types[op].nbytes for op in tiles if not op.scratch or op in own}
        self.offsets: dict[Shared, int] = places(function, kept, ALIGNMENT)
        end = max((-(-(at + kept[op]) // ALIGNMENT) * ALIGNMENT for op, at in self.offsets.items()), default=0)
        self.offsets.update((t, end) for t in tiles if t not in kept)
        self.refuse_too_much(function, tiles, kept)
        return super().run(function)

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if isinstance(op, Shared):
            return self.clone(op, offset=self.offsets[op])
        return self.clone(op)

    def refuse_too_much(self, function: Function, tiles: list[Shared], kept: Collection[Shared]) -> None:
        """An error that names each buffer and its bytes if the block asks for more than the target has: of the scratch tiles that share a place
        the largest first."""
        try:
            with function.loc or nullcontext():
                self.target.check(function.threads, needed(at + self.types[op].nbytes for op, at in self.offsets.items()))
        except TileError as error:
            sharing = sorted((op for op in tiles if op not in kept), key=lambda op: -self.types[op].nbytes)
            for op in (*kept, *sharing):
                if op.loc is not None:
                    what = "scratch for a change of layout" if op.scratch else f"shared tile {op.result.name}".rstrip()
                    where = ", in the place of the largest scratch" if op in sharing[1:] else ""
                    error.notes.append((f"{self.types[op].nbytes} bytes: {what}, {describe(SharedType(op.dtype, op.shape))}{where}", op.loc))
            raise



def shared_size(function: Function) -> int:
    """Bytes of shared memory that a function with placed tiles needs."""
    return needed(op.offset + op.result.type.nbytes for op in function.walk() if isinstance(op, Shared) and op.offset is not None)


def needed(ends: Iterable[int]) -> int:
    """The bytes up to the last end, in whole vectors: LLVM loads three neighbours as a vector of four."""
    return -(-max(ends, default=0) // VECTOR) * VECTOR
