"""Shared tiles of a run in NumPy, views of them, and what of them has been stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilec.errors import Code
from tilec.ir.dtypes import DType

if TYPE_CHECKING:
    from tilec.ir.interp import Context

Array = np.ndarray[Any, Any]

EMPTY, STORED, LANDING = 0, 1, 2  # the state of an element

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


class Cells:
    """The elements of a shared tile of every block, in a row: carriers of its type, or, once it is seen as another one, codes of `grain` bits."""

    def __init__(self, blocks: int, size: int, dtype: DType, carrier: Any = None):
        self.data = np.zeros((blocks, size), carrier or dtype.carrier)
        self.state = np.full((blocks, size), EMPTY, np.int8)
        self.dtype: DType | None = dtype
        self.grain = dtype.bits

    def cut(self, grain: int) -> None:
        """Hold codes of so many bits, a divisor of what they have."""
        codes = self.data if self.dtype is None else self.dtype.encode(self.data, saturate=False)
        count = self.grain // grain
        self.data = _pieces(codes.astype(np.uint64), count, grain).reshape(len(codes), -1)
        self.state = np.repeat(self.state, count, axis=1)
        self.dtype, self.grain = None, grain


def _pieces(codes: Array, count: int, bits: int) -> Array:
    """Codes cut in so many pieces of bits, along a new last axis, the lowest first."""
    return codes[..., None] >> np.arange(count, dtype=np.uint64) * np.uint64(bits) & np.uint64((1 << bits) - 1)


class SharedMemory:
    """A shared tile of every block, or a view of one: `places` [1 or blocks, *shape] say where its elements of type `dtype` begin, counted in units of
    `grain` bits."""

    def __init__(self, cells: Cells, places: Array, dtype: DType, grain: int):
        self.cells, self.places, self.dtype, self.grain = cells, places, dtype, grain

    @staticmethod
    def new(blocks: int, dtype: DType, shape: tuple[int, ...], carrier: Any = None) -> SharedMemory:
        size = math.prod(shape)
        return SharedMemory(Cells(blocks, size, dtype, carrier), np.arange(size).reshape(1, *shape), dtype, dtype.bits)

    def view(self, ctx: Context, offsets: Sequence[Array], shape: Sequence[int], strides: Sequence[int]) -> SharedMemory:
        """Another shape of it, or of a part: the elements that lie `sum(coordinates * strides)` behind that at the offsets (by block), row-major."""
        extents = self.extents()
        axes = enumerate(zip(shape, strides, strict=True))
        behind = np.asarray(sum((np.arange(n) * stride).reshape(-1, *[1] * (len(shape) - 1 - a)) for a, (n, stride) in axes))
        reach = np.unravel_index(int(behind.max()), extents) if extents else ()
        first = np.zeros(1, np.int64)
        for axis, (at, extent, last) in enumerate(zip(offsets, extents, reach, strict=True)):
            bad = (at < 0) | (at + last >= extent)
            if bad.any():
                what = f"a slice from {int(at[bad][0])} to {int(at[bad][0] + last)} reaches beyond" if last else f"index {int(at[bad][0])} is out of bounds for"
                ctx.fail(bad, f"{what} axis {axis} of the shared tile, which has {extent} elements")
            first = first * extent + np.clip(at, 0, extent - 1 - last)
        numbers = first.reshape(-1, *[1] * len(shape)) + behind
        flat = self.places.reshape(len(self.places), -1)
        return SharedMemory(self.cells, flat[0][numbers] if len(flat) == 1 else flat[_by_block(len(flat), len(shape)), numbers], self.dtype, self.grain)

    def recast(self, ctx: Context, dtype: DType) -> SharedMemory:
        """Its bits as elements of another type, along the last axis, where whole elements begin at multiples of their bits."""
        grain = math.gcd(self.grain, self.dtype.bits, dtype.bits)
        if self.cells.dtype is not dtype and (self.cells.dtype is not None or grain % self.cells.grain):
            self.cells.cut(math.gcd(self.cells.grain, grain))
        scale = self.grain // grain
        parts = self.places[..., None] * scale + np.arange(self.dtype.bits // grain)
        first = parts.reshape(*self.places.shape[:-1], -1)[..., :: dtype.bits // grain]
        bad = first * grain % dtype.bits != 0
        ctx.fail(bad, f"the part that is seen as {dtype} does not begin at a multiple of its {dtype.bits} bits", Code.BITS)
        return SharedMemory(self.cells, first, dtype, grain)

    def read(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> Array:
        index = self._index(ctx, op, offsets)
        values, state = self._load(index)
        self._check_stored(ctx, state != STORED, state)
        return values

    def write(self, ctx: Context, op: Any, offsets: Sequence[Array], value: Array) -> None:
        self.put(self._index(ctx, op, offsets), value, STORED, ctx.mask)

    def put(self, index: Any, value: Array, state: Any, mask: Array | None) -> None:
        """Store at an index; only in the blocks of the mask."""
        if mask is not None:
            active = mask.reshape(-1, *[1] * (value.ndim - 1))
            before, states = self._load(index)
            value = np.where(active, value, before)
            state = np.where(active, state, states)
        self._save(index, value, state)

    def extents(self) -> tuple[int, ...]:
        return self.places.shape[1:]

    def read_at(self, ctx: Context, coordinates: Sequence[Array], inside: Array) -> Array:
        """The elements at coordinates that broadcast to one another, anything where they are not inside."""
        values, state = self._load(self._clipped(coordinates))
        self._check_stored(ctx, (state != STORED) & inside, state)
        return values

    def write_at(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array) -> None:
        """Put elements at coordinates where they are inside and the block is active."""
        where, index, value = self._chosen(ctx, coordinates, inside, value)
        self._save(index, value[where], STORED)

    def update(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array, compare: Any, rule: Update) -> Array:
        """As `Memory.update`, in each block's own tile."""
        where, index, value = self._chosen(ctx, coordinates, inside, value)
        before, state = self._load(index)
        if (state != STORED).any():
            missing = np.zeros(where.shape, bool)
            missing[where] = state != STORED
            ctx.fail(missing, "this updates shared memory that was never stored", Code.UNINITIALIZED)
        flat = np.ravel_multi_index(index, (len(self.cells.data), int(self.places.max(initial=0)) + 1))
        _, first, back = np.unique(flat, return_index=True, return_inverse=True)
        data = before[first]
        old = one_by_one(data, back.reshape(-1), where, value, compare, rule)
        self._save(tuple(i[first] for i in index), data, STORED)
        return old

    def whole(self) -> Any:
        """The index of everything that it holds."""
        return _by_block(len(self.cells.data), self.places.ndim - 1), self.places

    def _load(self, index: tuple[Array, ...]) -> tuple[Array, Array]:
        """The elements at an index, and their states: of what consists of several, the first that is not stored."""
        if self.cells.dtype is self.dtype:
            return self.cells.data[index], self.cells.state[index]
        index = self._cells_of(index)
        state, grain = self.cells.state[index], np.uint64(self.cells.grain)
        codes = (self.cells.data[index] << np.arange(state.shape[-1], dtype=np.uint64) * grain).sum(-1, dtype=np.uint64)
        worst = np.where((state == LANDING).any(-1), LANDING, state.min(-1))
        return self.dtype.decode(codes.astype(f"u{max(1, self.dtype.bits // 8)}")), worst

    def _save(self, index: tuple[Array, ...], value: Array, state: Any) -> None:
        if self.cells.dtype is self.dtype:
            self.cells.data[index], self.cells.state[index] = value, state
            return
        index = self._cells_of(index)
        codes = self.dtype.encode(value, saturate=False).astype(np.uint64)
        self.cells.data[index] = _pieces(codes, self.dtype.bits // self.cells.grain, self.cells.grain)
        self.cells.state[index] = np.asarray(state)[..., None]

    def _cells_of(self, index: tuple[Array, ...]) -> tuple[Array, ...]:
        """The index of the codes of which elements consist, along a new last axis."""
        blocks, at = index
        return blocks[..., None], at[..., None] * (self.grain // self.cells.grain) + np.arange(self.dtype.bits // self.cells.grain)

    def _chosen(self, ctx: Context, coordinates: Sequence[Array], inside: Array, value: Array) -> tuple[Array, tuple[Array, ...], Array]:
        """Which elements are accessed, for active blocks, the index of these, and the value in the access's whole shape."""
        rank = value.ndim - 1
        shape = np.broadcast_shapes(inside.shape, value.shape, *(c.shape for c in coordinates), (len(self.cells.data), *[1] * rank))
        where = np.broadcast_to(inside, shape)
        if ctx.mask is not None:
            where = where & ctx.mask.reshape(-1, *[1] * rank)
        return where, tuple(np.broadcast_to(i, shape)[where] for i in self._clipped(coordinates)), np.broadcast_to(value, shape)

    def _clipped(self, coordinates: Sequence[Array]) -> tuple[Array, ...]:
        """The index of elements at coordinates, which are brought inside."""
        rank = coordinates[0].ndim - 1 if coordinates else 0
        at = (np.clip(c, 0, extent - 1) for c, extent in zip(coordinates, self.extents(), strict=True))
        return _by_block(len(self.cells.data), rank), self.places[(_by_block(len(self.places), rank), *at)]

    def _check_stored(self, ctx: Context, missing: Array, state: Array) -> None:
        """An error where something is missing that is read."""
        if missing.any():
            landing = (missing & (state == LANDING)).any()
            what = "to which an asynchronous copy is still under way: tc.wait is missing" if landing else "that was never stored"
            ctx.fail(missing, f"this reads shared memory {what}", Code.WAIT if landing else Code.UNINITIALIZED)

    def _index(self, ctx: Context, op: Any, offsets: Sequence[Array]) -> tuple[Array, ...]:
        coordinates = op.index(offsets)
        for axis, (at, extent) in enumerate(zip(coordinates, self.extents(), strict=True)):
            bad = (at < 0) | (at >= extent)
            if bad.any():
                ctx.fail(bad, f"coordinate {int(at[bad][0])} is out of bounds for axis {axis} of the shared tile, which has {extent} elements")
        return self._clipped(coordinates)


def _by_block(blocks: int, rank: int) -> Array:
    """The numbers of blocks, to index with beside coordinates of so many axes."""
    return np.arange(blocks).reshape(-1, *[1] * rank)
