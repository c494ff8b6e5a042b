"""Runs a Function of any stage in NumPy.

The function becomes Python source, one statement an op, that carries the author's file and line numbers: tracebacks, `breakpoint()`
and stepping show the kernel. All blocks of a launch run at once (in chunks that fit the cache): every value is an array with a
leading axis for blocks, of extent 1 where all blocks agree. Where blocks part ways, a mask says which are active: pure ops compute
for all, and whatever is seen outside (stores, errors, prints) asks the mask.

A tile whose type has no layout is [blocks, *shape]. Once it has one it is stored as its threads hold it, [blocks, threads, registers],
and an op that is not elementwise sees it gathered through that layout, so a wrong layout gives a wrong result.
"""

from __future__ import annotations

import ast
import copy
import keyword
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tilec.errors import Code, Loc, TileError, require
from tilec.ir.core import Block, Effect, Function, Op, Value
from tilec.ir.dtypes import DType
from tilec.ir.ops.base import Elementwise
from tilec.ir.ops.control import For, If, While
from tilec.ir.ops.debug import Breakpoint
from tilec.ir.ops.memory import Shared
from tilec.ir.ops.semaphores import SemaphoreWait
from tilec.ir.ops.sync import Barrier, Meeting, Sync
from tilec.ir.ops.warps import InWarps
from tilec.ir.turns import BarrierRow, Groups, Progress, run_blocks
from tilec.ir.types import SharedType, TileType, Warps

CHUNK = 1 << 18  # elements of the largest tile times blocks that run together

Array = np.ndarray[Any, Any]


class Replicas(Exception):
    """Threads that hold the same element disagree: a fault of the compiler, found by the interpreter."""


class Memory:
    """A tensor in global memory: its elements as carriers, shared by all blocks."""

    def __init__(self, data: Array, name: str = "", edge: Any = 0):
        self.data = data
        self.name = name
        self.edge = edge  # what lies over the edge
        self.changed = False
        self.recodings: dict[str, Memory] = {}

    def read(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> Array:
        """The tile [blocks, *shape] at the offsets."""
        blocks = max(len(o) for o in offsets) if offsets else 1
        out = np.full((blocks, *op.shape), self.edge, self.data.dtype)
        self._check_indexed(ctx, op, offsets)
        if math.prod(op.shape) < 64:
            index, inside = self._elements(op, offsets)
            np.copyto(out, self.data[index], where=inside)
            return out
        for block, (there, here) in enumerate(self._windows(op, offsets, blocks)):
            out[block][here] = _oriented(self.data[there], op.dims)
        return out

    def write(self, ctx: Context, op: Any, offsets: Sequence[Array], value: Array) -> None:
        """Put the tile at the offsets, for active blocks, in the order of the blocks; nothing over the edge."""
        self.changed = True
        self._check_indexed(ctx, op, offsets)
        blocks = max(len(value), *(len(o) for o in offsets)) if offsets else len(value)
        if blocks == 1 and ctx.mask is not None and not ctx.mask.any():
            return
        for block, (there, here) in enumerate(self._windows(op, offsets, blocks)):
            if blocks == 1 or ctx.mask is None or ctx.mask[block]:
                target = self.data[there]
                _oriented(target, op.dims)[...] = value[min(block, len(value) - 1)][here]

    def extents(self) -> tuple[Any, ...]:
        """The number of elements along each axis."""
        return self.data.shape

    def view(self, offset: Array, extents: Sequence[Array], strides: Sequence[Array]) -> TensorView:
        """Another tensor on the same memory; offset and strides count elements."""
        return TensorView(self, offset, extents, strides)

    def recoded(self, kind: str, how: Callable[[Array], Array]) -> Memory:
        """The same bits, which are only read, as elements of another kind: made once."""
        if kind not in self.recodings:
            self.recodings[kind] = Memory(how(self.data), self.name)
        return self.recodings[kind]

    def read_at(self, ctx: Context, coordinates: Sequence[Array], inside: Any) -> Array:
        """The elements at coordinates that broadcast to one another, anything where they are not inside."""
        return self.data[self._clipped(coordinates)] if self.data.size else np.zeros(np.broadcast_shapes(inside.shape), self.data.dtype)

    def write_at(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array) -> None:
        """Put elements at coordinates, in the order of the blocks and of the elements, where they are inside and the block is active."""
        self.changed = True
        where, index, value = self.chosen(ctx, coordinates, inside, value)
        self.data[tuple(index)] = value[where]

    def update(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array, compare: Any, rule: Update) -> Array:
        """Apply `rule(old, value, compare)` to elements one after another, and give the old ones (0 for those that are not inside)."""
        self.changed = True
        where, index, value = self.chosen(ctx, coordinates, inside, value, ctx.blocks)
        flat = np.ravel_multi_index(tuple(index), self.data.shape)
        return one_by_one(self.data.reshape(-1), flat, where, value, compare, rule)

    def chosen(
        self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array, blocks: int = 1
    ) -> tuple[Array, list[Array], Array]:
        """Which elements are accessed, for active blocks, at least `blocks` of them; the places of these along each axis; the value in the
        access's whole shape."""
        blocks = max(blocks, 1 if ctx.mask is None else len(ctx.mask))
        shape = np.broadcast_shapes(inside.shape, value.shape, *(c.shape for c in coordinates), (blocks, *[1] * (value.ndim - 1)))
        where = np.broadcast_to(inside, shape)
        if ctx.mask is not None:
            where = where & ctx.mask.reshape(-1, *[1] * (value.ndim - 1))
        return where, [np.broadcast_to(c, shape)[where] for c in coordinates], np.broadcast_to(value, shape)

    def _clipped(self, coordinates: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(np.clip(at, 0, extent - 1) for at, extent in zip(coordinates, self.data.shape, strict=True))

    def _check_indexed(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> None:
        for axis, (offset, extent) in enumerate(zip(offsets, self.data.shape, strict=True)):
            if axis not in op.dims:
                bad = (offset < 0) | (offset >= extent)
                if bad.any():
                    shown = int(offset[np.argmax(bad)])
                    ctx.fail(bad, f"index {shown} is out of bounds for axis {axis} of {self.name or 'the tensor'}, which has {extent} elements")

    def _elements(self, op: Any, offsets: Sequence[Array]) -> tuple[tuple[Array, ...], Array]:
        index = op.index(offsets)
        inside: Any = np.ones((), bool)
        for at, extent in zip(index, self.data.shape, strict=True):
            inside = inside & (at >= 0) & (at < extent)
        return tuple(np.clip(at, 0, extent - 1) for at, extent in zip(index, self.data.shape, strict=True)), inside

    def _windows(self, op: Any, offsets: Sequence[Array], blocks: int) -> Iterator[tuple[Any, tuple[slice, ...]]]:
        """For each block: what of the memory the tile covers, and which part of the tile that is."""
        extents = self.data.shape
        starts = [np.broadcast_to(o, blocks).tolist() for o in offsets]
        length = dict(zip(op.dims, op.tile_shape, strict=True))
        for origin in zip(*starts, strict=True) if starts else [()] * blocks:
            there: list[Any] = []
            here: dict[int, slice] = {}
            for axis, (start, extent) in enumerate(zip(origin, extents, strict=True)):
                if axis not in length:
                    there.append(min(max(start, 0), extent - 1))
                    continue
                low, high = max(start, 0), min(start + length[axis], extent)
                high = max(low, high)
                there.append(slice(low, high))
                here[axis] = slice(low - start, high - start)
            yield (*there, ...), tuple(here[d] for d in op.dims)


def _oriented(window: Array, dims: tuple[int, ...]) -> Array:
    """A window's axes (in memory order) in the order of the tile's axes."""
    return window if window.ndim < 2 else window.transpose([sorted(dims).index(d) for d in dims])


Update = Callable[[Array, Array, Any], Array]


def one_by_one(data: Array, index: Array, where: Array, value: Array, compare: Any, rule: Update) -> Array:
    """Update elements of flat data in order, those of one place one after another; the old ones in the shape of `where`."""
    values, others = value[where], None if compare is None else np.broadcast_to(compare, where.shape)[where]
    old = np.zeros(values.shape, data.dtype)
    order = np.argsort(index, kind="stable")
    first = np.r_[True, np.diff(index[order]) != 0] if len(order) else np.zeros(0, bool)
    turn = np.empty(len(order), np.int64)  # how many of the same place come before
    turn[order] = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    for now in range(int(turn.max(initial=-1)) + 1):
        chosen = turn == now
        old[chosen] = data[index[chosen]]
        data[index[chosen]] = rule(old[chosen], values[chosen], None if others is None else others[chosen])
    result = np.zeros(where.shape, data.dtype)
    result[where] = old
    return result


class TensorView:
    """A tensor on a tensor's memory; where it begins, its extents and its strides may differ from block to block."""

    def __init__(self, base: Memory, origin: Array, sizes: Sequence[Array], strides: Sequence[Array]):
        self.base, self.origin, self.sizes, self.strides = base, origin, sizes, strides

    def extents(self) -> tuple[Array, ...]:
        return tuple(self.sizes)

    def view(self, offset: Array, extents: Sequence[Array], strides: Sequence[Array]) -> TensorView:
        return TensorView(self.base, self.origin + offset, extents, strides)

    def read(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> Array:
        coordinates, inside = self._inside(ctx, op, offsets)
        values = np.where(inside, self.read_at(ctx, coordinates, inside), self.base.data.dtype.type(0))
        return np.broadcast_to(values, (len(values), *op.tile_shape))

    def write(self, ctx: Context, op: Any, offsets: Sequence[Array], value: Array) -> None:
        coordinates, inside = self._inside(ctx, op, offsets)
        self.write_at(ctx, coordinates, inside, value)

    def read_at(self, ctx: Context, coordinates: Sequence[Array], inside: Array) -> Array:
        return self.base.data.reshape(-1)[np.where(inside, self.flat(ctx, coordinates, inside), 0)]

    def write_at(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array) -> None:
        self.base.changed = True
        where, index, value = self.chosen(ctx, coordinates, inside, value)
        self.base.data.reshape(-1)[tuple(index)] = value[where]

    def update(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array, compare: Any, rule: Update) -> Array:
        self.base.changed = True
        where, (flat,), value = self.base.chosen(ctx, [self.flat(ctx, coordinates, inside)], inside, value, ctx.blocks)
        return one_by_one(self.base.data.reshape(-1), flat, where, value, compare, rule)

    def chosen(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array) -> tuple[Array, list[Array], Array]:
        return self.base.chosen(ctx, [self.flat(ctx, coordinates, inside)], inside, value)

    def flat(self, ctx: Context, coordinates: Sequence[Array], inside: Array) -> Array:
        """The number of each element in the memory; an error if an element of the view lies outside."""
        rank = coordinates[0].ndim - 1
        steps = [np.reshape(s, (-1, *[1] * rank)) for s in (self.origin, *self.strides)]
        at = steps[0] + sum(c * s for c, s in zip(coordinates, steps[1:], strict=True))
        bad = inside & ((at < 0) | (at >= self.base.data.size))
        ctx.fail(bad, f"the view reaches beyond the memory of {self.base.name or 'the tensor'}, which has {self.base.data.size} elements")
        return np.asarray(at)

    def _inside(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> tuple[list[Array], Any]:
        coordinates = op.index(offsets)
        inside: Any = np.ones((1,) * (1 + len(op.tile_shape)), bool)
        for axis, (at, extent) in enumerate(zip(coordinates, self.sizes, strict=True)):
            good = (at >= 0) & (at < np.reshape(extent, (-1, *[1] * len(op.tile_shape))))
            if axis in op.dims:
                inside = inside & good
            else:
                ctx.fail(~good, f"index {int(at[~good][0]) if not good.all() else 0} is out of bounds for axis {axis} of the view")
        return coordinates, inside


class SharedMemory:
    """A shared tile of every block, or a slice of one: carriers, and whether each has been stored."""

    def __init__(self, data: Array, state: Array, leading: tuple[Array, ...] = ()):
        self.data = data
        self.state = state
        self.leading = leading  # indices of the axes that slices have taken, by block

    @staticmethod
    def new(blocks: int, dtype: DType, shape: tuple[int, ...]) -> SharedMemory:
        return SharedMemory(np.zeros((blocks, *shape), dtype.carrier), np.full((blocks, *shape), EMPTY, np.int8))

    def slice(self, ctx: Context, at: Array) -> SharedMemory:
        """The part at an index (by block) of the first axis."""
        extent = self.data.shape[1 + len(self.leading)]
        bad = (at < 0) | (at >= extent)
        if bad.any():
            ctx.fail(bad, f"index {int(at[bad][0])} is out of bounds for the shared tile's first axis, which has {extent} elements")
        return SharedMemory(self.data, self.state, (*self.leading, np.clip(at, 0, extent - 1)))

    def read(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> Array:
        index = self._index(ctx, op, offsets)
        self._check_stored(ctx, self.state[index] != STORED, self.state[index])
        return self.data[index]

    def write(self, ctx: Context, op: Any, offsets: Sequence[Array], value: Array) -> None:
        index = self._index(ctx, op, offsets)
        self.put(index, value, STORED, ctx.mask)

    def put(self, index: Any, value: Array, state: Any, mask: Array | None) -> None:
        """Store at an index; only in the blocks of the mask."""
        if mask is not None:
            active = mask.reshape(-1, *[1] * (value.ndim - 1))
            value = np.where(active, value, self.data[index])
            state = np.where(active, state, self.state[index])
        self.data[index] = value
        self.state[index] = state

    def extents(self) -> tuple[int, ...]:
        return self.data.shape[1 + len(self.leading) :]

    def read_at(self, ctx: Context, coordinates: Sequence[Array], inside: Array) -> Array:
        """The elements at coordinates that broadcast to one another, anything where they are not inside."""
        index = self._clipped(coordinates)
        self._check_stored(ctx, (self.state[index] != STORED) & inside, self.state[index])
        return self.data[index]

    def write_at(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array) -> None:
        """Put elements at coordinates where they are inside and the block is active."""
        rank = value.ndim - 1
        shape = np.broadcast_shapes(inside.shape, value.shape, *(c.shape for c in coordinates), (len(self.data), *[1] * rank))
        where = np.broadcast_to(inside, shape)
        if ctx.mask is not None:
            where = where & ctx.mask.reshape(-1, *[1] * rank)
        index = tuple(np.broadcast_to(i, shape)[where] for i in self._clipped(coordinates))
        self.data[index] = np.broadcast_to(value, shape)[where]
        self.state[index] = STORED

    def _clipped(self, coordinates: Sequence[Array]) -> tuple[Array, ...]:
        """The index of elements at coordinates, which are brought inside."""
        rank = coordinates[0].ndim - 1 if coordinates else 0
        return (*self._blocks(rank), *(np.clip(at, 0, extent - 1) for at, extent in zip(coordinates, self.extents(), strict=True)))

    def _check_stored(self, ctx: Context, missing: Array, state: Array) -> None:
        """An error where something is missing that is read."""
        if missing.any():
            landing = (missing & (state == LANDING)).any()
            what = "to which an asynchronous copy is still under way: tc.wait is missing" if landing else "that was never stored"
            ctx.fail(missing, f"this reads shared memory {what}", Code.WAIT if landing else Code.UNINITIALIZED)

    def update(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array, compare: Any, rule: Update) -> Array:
        """As `Memory.update`, in each block's own tile."""
        rank = value.ndim - 1
        shape = np.broadcast_shapes(inside.shape, value.shape, *(c.shape for c in coordinates), (len(self.data), *[1] * rank))
        where = np.broadcast_to(inside, shape)
        if ctx.mask is not None:
            where = where & ctx.mask.reshape(-1, *[1] * rank)
        index = tuple(np.broadcast_to(c, shape)[where] for c in (*self._blocks(rank), *coordinates))
        flat = np.ravel_multi_index(index, self.data.shape)
        if (self.state.reshape(-1)[flat] != STORED).any():
            missing = np.zeros(shape, bool)
            missing[where] = self.state.reshape(-1)[flat] != STORED
            ctx.fail(missing, "this updates shared memory that was never stored", Code.UNINITIALIZED)
        return one_by_one(self.data.reshape(-1), flat, where, np.broadcast_to(value, shape), compare, rule)

    def whole(self) -> Any:
        """The index of everything that this slice holds."""
        rank = self.data.ndim - 1 - len(self.leading)
        axes = [np.arange(n).reshape([-1 if i == a else 1 for i in range(rank)]) for a, n in enumerate(self.data.shape[1 + len(self.leading) :])]
        return (*self._blocks(rank), *axes)

    def _blocks(self, rank: int) -> tuple[Array, ...]:
        return tuple(i.reshape(-1, *[1] * rank) for i in (np.arange(len(self.data)), *self.leading))

    def _index(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> tuple[Any, ...]:
        index = op.index(offsets)
        extents = self.data.shape[1 + len(self.leading) :]
        for axis, (at, extent) in enumerate(zip(index, extents, strict=True)):
            bad = (at < 0) | (at >= extent)
            if bad.any():
                ctx.fail(bad, f"coordinate {int(at[bad][0])} is out of bounds for axis {axis} of the shared tile, which has {extent} elements")
        return (*self._blocks(len(op.tile_shape)), *(np.clip(at, 0, extent - 1) for at, extent in zip(index, extents, strict=True)))


EMPTY, STORED, LANDING = 0, 1, 2  # the state of an element of shared memory


class Copies:
    """Asynchronous copies under way. They land at once, or, `late`, only at the wait: until then what they write is poisoned.

    Groups of warps that run at once have `parts` of their own, for which the whole block's commits and waits count, too.
    """

    def __init__(self, late: bool):
        self.late = late
        self.open: list[Any] = []
        self.groups: list[list[Any]] = []
        self.parts: dict[Warps, Copies] = {}

    def part(self, group: Warps) -> Copies:
        """Those of a group of warps."""
        return self.parts.setdefault(group, Copies(self.late))

    def start(self, ctx: Context, target: SharedMemory, value: Array) -> None:
        index = target.whole()
        if self.late:
            self.open.append((target, index, value, ctx.mask))
        target.put(index, value, LANDING if self.late else STORED, ctx.mask)

    def commit(self) -> None:
        self.groups.append(self.open)
        self.open = []
        for part in self.parts.values():
            part.commit()

    def wait(self, ctx: Context, pending: int) -> None:
        for part in self.parts.values():
            part.wait(ctx, pending)
        while len(self.groups) > pending:
            for target, index, value, mask in self.groups.pop(0):
                target.put(index, value, STORED, mask)


class Context:
    """What ops may ask while they run: the blocks of this chunk, which of them are active, and shared memory."""

    def __init__(self, grid: Sequence[int], first: int, blocks: int, late_copies: bool = False):
        self.grid = (*grid, 1, 1, 1)[:3]
        linear = np.arange(first, first + blocks)
        self.place = (linear % self.grid[0], linear // self.grid[0] % self.grid[1], linear // (self.grid[0] * self.grid[1]))
        self.blocks = blocks
        self.mask: Array | None = None
        self.copies = Copies(late_copies)
        self.progress = Progress()
        self.group: Warps | None = None
        self.groups = Groups(self.progress)

    def block_index(self, axis: int) -> Array:
        here = self.place[axis]
        return here[:1] if self.grid[axis] == 1 else here

    def block_count(self, axis: int) -> Array:
        return np.array([self.grid[axis]])

    def shared(self, dtype: DType, shape: tuple[int, ...]) -> SharedMemory:
        return SharedMemory.new(self.blocks, dtype, shape)

    def barriers(self, op: Op) -> BarrierRow:
        return BarrierRow(op)

    def fork(self, op: InWarps, run: Callable[..., Iterator[Any]], *values: Any) -> None:
        """Let a group of warps run its part of the kernel, in turns with other groups."""
        part = copy.copy(self)
        part.group, part.copies = op.group, self.copies.part(op.group)
        self.groups.add(op.group, run(part, *values))

    def join(self) -> Iterator[Any]:
        """Wait for all groups of warps."""
        return self.groups.join()

    @property
    def rank(self) -> int:
        """How many axes of the grid have several blocks; at least 1."""
        return max((i + 1 for i, n in enumerate(self.grid) if n > 1), default=1)

    def active_numbers(self) -> list[int]:
        """The numbers in the chunk of active blocks."""
        return [n for n in range(self.blocks) if self.mask is None or self.mask[n]]

    def active_blocks(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Number in the chunk and grid coordinates of each active block."""
        rank = self.rank
        for number in self.active_numbers():
            yield number, tuple(int(p[number]) for p in self.place[:rank])

    def fail(self, where: Array, message: str, code: Code = Code.OUT_OF_BOUNDS) -> None:
        """Raise, naming the first block and in a tile the first element, if `where` (a leading axis of blocks) holds anywhere in an active block."""
        bad = np.asarray(where.reshape(len(where), -1).any(axis=1))
        for number, place in self.active_blocks():
            found = where[min(number, len(bad) - 1)]
            if found.any():
                element = np.unravel_index(int(np.argmax(found)), found.shape)
                at = f", at element [{', '.join(map(str, element))}]" if element else ""
                raise TileError(f"{message} (in block {', '.join(map(str, place))}{at})", code=code)

    # divergence between blocks

    def test(self, condition: Array) -> bool:
        """Narrow the mask to the blocks where the condition holds; False, and no change, if there is none."""
        if len(condition) == 1:
            return bool(condition[0])
        active = condition if self.mask is None else condition & self.mask
        if not active.any():
            return False
        if self.mask is not None or not active.all():
            self.mask = active
        return True

    def keep(self, new: Any, old: Any) -> Any:
        """A loop's value after a round: the new one, but the old one in blocks that have left the loop."""
        if self.mask is None or new is old or not isinstance(new, np.ndarray):
            return new
        return np.where(self.mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    def choose(self, condition: Array, then: Any, orelse: Any) -> Any:
        """A value that two branches give; a branch that no block took gave None."""
        if then is None or orelse is None:
            return orelse if then is None else then
        if not isinstance(then, np.ndarray):
            return then
        return np.where(condition.reshape(-1, *[1] * (then.ndim - 1)), then, orelse)

    @staticmethod
    def more(counter: Array, stop: Array, step: Array) -> Array:
        """Whether a loop goes on; a step of 0 is an error in Python, too."""
        if not step.all():
            raise TileError("the step of the loop is 0", code=Code.BOUNDS)
        return np.where(step > 0, counter < stop, counter > stop)


# from ops to callables


def callable_of(op: Op) -> Callable[..., Any]:
    """`(ctx, *operands) -> result(s)`: the op's `eval`, rounded."""
    compute, round = computing(op, op.eval), rounding(op)
    return lambda ctx, *operands: round(compute(ctx, *operands))


def computing(op: Op, rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of the op, such as its `eval`, between the layouts of its operands and results."""
    return rule if _direct(op) else _through_layouts(op, rule)


def rounding(op: Op) -> Callable[[Any], Any]:
    """What rounds the result, or all of several."""
    rounders = [_rounder(v.type) for v in op.results]
    if len(rounders) == 1:
        return rounders[0]
    return lambda results: tuple(r(x) for r, x in zip(rounders, results, strict=True)) if rounders else results


def _placed(call: Callable[..., Any], op: Op) -> Callable[..., Any]:
    """The callable, whose errors say where."""
    loc = op.loc

    def placed(ctx: Context, *operands: Any) -> Any:
        try:
            return call(ctx, *operands)
        except TileError as error:
            error.loc = error.loc or loc
            raise

    return placed if loc is None or loc.caller is None else _in_own_file(placed, op)


def _direct(op: Op) -> bool:
    """Whether `eval` takes values as they are stored."""
    laid_out = any(getattr(v.type, "layout", None) is not None and isinstance(v.type, TileType) for v in (*op.operands, *op.results))
    return not laid_out or isinstance(op, Elementwise) or getattr(op, "raw", False)


def _through_layouts(op: Op, rule: Callable[..., Any]) -> Callable[..., Any]:
    inputs = [_gatherer(v.type) for v in op.operands]
    outputs = [_scatterer(v.type) for v in op.results]

    def compute(ctx: Context, *operands: Any) -> Any:
        result = rule(ctx, *(g(x) for g, x in zip(inputs, operands, strict=True)))
        if result is None or not outputs:
            return result
        return outputs[0](result) if len(outputs) == 1 else tuple(s(x) for s, x in zip(outputs, result, strict=True))

    return compute


def _gatherer(type: Any) -> Callable[[Any], Any]:
    layout = type.layout if isinstance(type, TileType) else None
    if layout is None:
        return lambda x: x

    def gather(storage: Array) -> Array:
        tile = layout.gather(storage, type.shape)
        if layout.is_replicated and not _same(layout.gather(layout.scatter(layout.gather(storage))), layout.gather(storage)):
            raise Replicas(str(type))
        return tile

    return gather


def _scatterer(type: Any) -> Callable[[Any], Any]:
    layout = type.layout if isinstance(type, TileType) else None
    if layout is None:
        return lambda x: x
    poison = math.nan if type.dtype.is_float else False if type.dtype.is_bool else type.dtype.max
    return lambda tile: layout.scatter(tile, poison)


def _same(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _rounder(type: Any) -> Callable[[Any], Any]:
    if not isinstance(type, TileType) or type.dtype.is_bool or not type.dtype.computes:
        return lambda x: x  # storage types only hold values that a cast or a load has made
    return type.dtype.round


def _in_own_file(call: Callable[..., Any], op: Op) -> Callable[..., Any]:
    """The callable as a frame at the op's own place: an inlined function shows in a traceback like a call."""
    assert op.loc is not None
    source = ast.parse("lambda ctx, *operands: call(ctx, *operands)", mode="eval")
    _place(source, op.loc)
    made: Callable[..., Any] = eval(compile(source, op.loc.file, "eval"), {"call": call})
    return made


# from functions to Python source


class Program:
    """A function's body as a Python function `(ctx, *params)`. `callable_of` makes what runs an op."""

    callable_of: Callable[[Op], Callable[..., Any]] = staticmethod(callable_of)

    def __init__(self, function: Function, block: Block | None = None):
        block = function.body if block is None else block
        self.names: dict[Value, str] = {}
        self.taken = {"ctx", *keyword.kwlist}
        self.scope: dict[str, Any] = {"__name__": "kernel"}
        self.temporaries = 0
        self.waits = False  # whether blocks may wait for one another: then `call` gives a generator, that yields where they do
        self.in_turns = any(isinstance(op, Meeting) and op.barrier is not None for op in block.walk())  # groups of warps wait for one another
        self.parts: list[ast.stmt] = []
        self.within = False  # the part of a group
        params = ", ".join(self.name(p) for p in function.params)
        name = re.sub(r"\W", "_", function.name)
        module = ast.parse(f"def {name}(ctx, {params}):\n    pass")
        define: Any = module.body[0]
        yielded = "".join(f"{self.name(v)}, " for v in block.yielded)
        define.body = [*self.block(block), *self.joined(), *self.statements(f"return ({yielded})")]
        place = function.loc or next((op.loc for op in block.ops if op.loc), None) or Loc("<kernel>", 1)
        _place(module, _outermost(place))
        module.body = [*self.parts, *module.body]
        exec(compile(module, _outermost(place).file, "exec"), self.scope)
        self.call: Callable[..., Any] = self.scope[name]

    def name(self, value: Value) -> str:
        """The Python variable of a value: its own name if that is free."""
        if value not in self.names:
            base = value.name if value.name.isidentifier() and not value.name.startswith("_") else "_t"
            name, count = base, 0
            while name in self.taken:
                count += 1
                name = f"{base}_{count}"
            self.taken.add(name)
            self.names[value] = name
        return self.names[value]

    def temporary(self) -> str:
        self.temporaries += 1
        return f"_s{self.temporaries}"

    def statements(self, text: str, loc: Loc | None = None) -> list[ast.stmt]:
        found = ast.parse(text).body
        if loc is not None:
            for statement in found:
                _place(statement, _outermost(loc))
        return found

    def block(self, block: Block) -> list[ast.stmt]:
        return [s for op in block.ops for s in self.op(op)]

    def op(self, op: Op) -> list[ast.stmt]:
        if op.mnemonic == "yield":
            return []
        if isinstance(op, InWarps):
            return self.part(op) if self.in_turns else self.block(op.body)  # else one after another, as none waits for another one inside
        special = {For: self.for_loop, While: self.while_loop, If: self.branch, Breakpoint: self.breakpoint}.get(type(op))
        if special is not None:
            made: list[ast.stmt] = special(op)  # type: ignore[operator]
        else:
            function = f"_op{len(self.scope)}"
            self.scope[function] = _placed(self.callable_of(op), op)
            call = f"{function}({', '.join(['ctx', *map(self.name, op.operands)])})"
            if isinstance(op, SemaphoreWait):
                self.waits = True
                self.scope[f"{function}_op"] = op
                call = f"while not {call}: yield {function}_op\nctx.progress.passed += 1"
            if isinstance(op, Sync) and op.barrier is not None:
                ticket = self.temporary()
                call = f"{ticket} = {call}\nwhile not {ticket}(): yield {ticket}"
            made = self.statements(f"{self.names_of(op.results)} = {call}" if op.results else call)
        if op.effect is not Effect.NONE and not isinstance(op, Barrier | Shared):
            made = [*self.joined(), *made]
        for statement in made:
            _place(statement, _outermost(op.loc) if op.loc else None)
        return made

    def joined(self) -> list[ast.stmt]:
        """What all warps do waits for the groups' parts before it."""
        return self.statements("yield from ctx.join()") if self.in_turns and not self.within else []

    def part(self, op: InWarps) -> list[ast.stmt]:
        """A group's part as a function of its own, a generator, that takes the values from outside."""
        self.waits = self.within = True
        inside = {v for inner in op.body.walk() for v in (*inner.results, *(a for region in inner.regions for a in region.args))}
        given = dict.fromkeys(v for inner in op.body.walk() for v in inner.operands if v not in inside)
        values = ", ".join(["ctx", *map(self.name, given)])
        name = f"{op.group.words.replace(' ', '_')}_{len(self.parts)}"
        module = ast.parse(f"def {name}({values}):\n    pass")
        define: Any = module.body[0]
        define.body = [*self.block(op.body), *self.statements("return\nyield")]
        place = _outermost(op.loc) if op.loc else None
        _place(module, place)
        self.parts.append(define)
        self.within = False
        self.scope[f"{name}_op"] = op
        made = self.statements(f"ctx.fork({name}_op, {name}, {', '.join(map(self.name, given))})")
        for statement in made:
            _place(statement, place)
        return made

    def names_of(self, values: Sequence[Value]) -> str:
        return ", ".join(map(self.name, values))

    def assign(self, targets: Sequence[Value], sources: Sequence[str], rule: str = "{new}") -> str:
        """One simultaneous assignment; `rule` may mention {new} and {old}."""
        if not targets:
            return "pass"
        right = ", ".join(rule.format(new=s, old=self.name(t)) for t, s in zip(targets, sources, strict=True))
        return f"{self.names_of(targets)} = {right}"

    def for_loop(self, op: For) -> list[ast.stmt]:
        mask, (counter, *carried) = self.temporary(), op.body.args
        start, stop, step = map(self.name, (op.start, op.stop, op.step))
        head = self.statements(f"{mask} = ctx.mask\n{self.assign(op.body.args, [start, *map(self.name, op.inits)])}")
        loop: Any = self.statements(f"while ctx.test(ctx.more({self.name(counter)}, {stop}, {step})): pass")[0]
        following = [f"{self.name(counter)} + {step}", *map(self.name, op.body.yielded)]
        loop.body = [*self.block(op.body), *self.statements(self.assign([counter, *carried], following, "ctx.keep({new}, {old})"), op.loc)]
        return [*head, loop, *self.statements(f"ctx.mask = {mask}\n{self.assign(op.results, list(map(self.name, carried)))}")]

    def while_loop(self, op: While) -> list[ast.stmt]:
        mask = self.temporary()
        head = self.statements(f"{mask} = ctx.mask\n{self.assign(op.test.args, list(map(self.name, op.inits)))}")
        loop: Any = self.statements("while True: pass")[0]
        leave = self.statements(f"if not ctx.test({self.name(op.test.yielded[0])}): break", op.loc)
        enter = self.statements(self.assign(op.body.args, list(map(self.name, op.test.args))), op.loc)
        again = self.statements(self.assign(op.test.args, list(map(self.name, op.body.yielded)), "ctx.keep({new}, {old})"), op.loc)
        if any(getattr(inner, "waits", False) for inner in op.walk()):  # it may be waiting for another block
            self.waits = True
            again += self.statements("yield None", op.loc)
        loop.body = [*self.block(op.test), *leave, *enter, *self.block(op.body), *again]
        return [*head, loop, *self.statements(f"ctx.mask = {mask}\n{self.assign(op.results, list(map(self.name, op.test.args)))}")]

    def branch(self, op: If) -> list[ast.stmt]:
        mask, condition = self.temporary(), self.name(op.condition)
        sides = []
        made = self.statements(f"{mask} = ctx.mask")
        for region, test in ((op.then, condition), (op.orelse, f"~{condition}")):
            side = [self.temporary() for _ in op.results]
            sides.append(side)
            made += self.statements("\n".join(f"{s} = None" for s in side))
            statement: Any = self.statements(f"if ctx.test({test}): pass")[0]
            ends = self.statements("\n".join(f"{s} = {self.name(v)}" for s, v in zip(side, region.yielded, strict=True)))
            statement.body = [*self.block(region), *ends] or statement.body
            made += [statement, *self.statements(f"ctx.mask = {mask}")]
        for result, a, b in zip(op.results, *sides, strict=True):
            made += self.statements(f"{self.name(result)} = ctx.choose({condition}, {a}, {b})")
        return made

    def breakpoint(self, op: Breakpoint) -> list[ast.stmt]:
        named = [f"{n} = {self.name(v)}" for n, v in zip(op.names, op.values, strict=True) if n != self.name(v)]
        return self.statements("\n".join([*named, "breakpoint()"]))


def _outermost(loc: Loc) -> Loc:
    while loc.caller is not None:
        loc = loc.caller
    return loc


def _place(tree: ast.AST, loc: Loc | None) -> None:
    """Give every node that has no place yet the author's line."""
    where = loc or Loc("<kernel>", 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.arg | ast.keyword) and not hasattr(node, "_placed"):
            node.lineno = node.end_lineno = where.line
            node.col_offset = where.column - 1
            node.end_col_offset = max(node.col_offset + 1, where.end_column - 1)
            node._placed = True  # type: ignore[union-attr]


# running


GRID_LIMITS = (2**31 - 1, 65535, 65535)  # blocks along each axis, as CUDA has them


def evaluate_launch(function: Function, arguments: Sequence[Any]) -> tuple[int, ...]:
    """Check the assumptions and evaluate the grid on the host. `arguments` as in `execute`.

    Raises TileError if an assumption does not hold or an extent of the grid is negative or beyond CUDA's limits.
    """
    results = Program(function, function.launch).call(Context((1, 1, 1), 0, 1), *arguments)
    grid = tuple(int(g[0]) for g in results)
    for axis, (extent, limit) in enumerate(zip(grid, GRID_LIMITS, strict=False)):
        require(0 <= extent <= limit, f"the grid has {extent} blocks along axis {axis}, not 0 to {limit}", loc=function.loc, code=Code.LAUNCH)
    return grid


def execute(
    function: Function, arguments: Sequence[Any], late_copies: bool = False, make: Callable[[Function], Program] = Program, context: type[Context] = Context
) -> None:
    """Run all blocks. `arguments`: one for each parameter, a `Memory` for a tensor, an array of shape (1,) for a scalar.

    Asynchronous copies land at once or, with `late_copies`, no sooner than they must. `make` and `context` run it in another way.
    """
    with np.errstate(all="ignore"):
        grid = evaluate_launch(function, arguments)
        program = make(function)
        total = math.prod(grid)
        if program.waits:
            return run_blocks([context(grid, block, 1, late_copies) for block in range(total)], lambda ctx: program.call(ctx, *arguments))
        chunk = max(1, CHUNK // _largest_tile(function))
        for first in range(0, total, chunk):
            program.call(context(grid, first, min(chunk, total - first), late_copies), *arguments)


def _largest_tile(function: Function) -> int:
    sizes = [1]
    for op in function.walk():
        for value in op.results:
            if isinstance(value.type, TileType | SharedType):
                layout = value.type.layout if isinstance(value.type, TileType) else None
                sizes.append(layout.threads * layout.registers if layout is not None else math.prod(value.type.shape))
    return max(sizes)


