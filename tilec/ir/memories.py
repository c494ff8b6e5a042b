"""What a run in NumPy reads and writes: tensors, views of them, shared tiles, and the asynchronous copies under way to these."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilec.ir.shared_memories import LANDING, STORED, SharedMemory, Update, one_by_one
from tilec.ir.types import Warps

if TYPE_CHECKING:
    from tilec.ir.interp import Context

Array = np.ndarray[Any, Any]


class Memory:
    """A tensor in global memory: its elements as carriers, shared by all blocks."""

    def __init__(self, data: Array, name: str = "", edge: Any = 0):
        self.data = data
        self.name = name
        self.edge = edge  # what lies over the edge
        self.changed = False
        self.recodings: dict[str, tuple[Memory, Callable[[Array], Array]]] = {}

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

    def recoded(self, kind: str, how: Callable[[Array], Array], back: Callable[[Array], Array]) -> Memory:
        """The same bits as elements of another kind, made once by `how`; what is written there comes `back` when the run has ended."""
        if kind not in self.recodings:
            self.recodings[kind] = Memory(how(self.data), self.name), back
        return self.recodings[kind][0]

    def settle(self) -> None:
        """Take over what was written as elements of another kind."""
        for other, back in self.recodings.values():
            if other.changed:
                self.data[...] = back(other.data)
                self.changed = True

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
        values = np.where(inside, self.read_at(ctx, coordinates, inside), self.base.data.dtype.type(self.base.edge))
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
