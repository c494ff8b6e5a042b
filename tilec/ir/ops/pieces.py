"""Parts of tiles and tiles put together, as NumPy has them.

    %y = slice %x starts=[0, 8] steps=[1, -1] shape=[16, 4]        x[0:16, 8:4:-1]
    %z = concatenate (%x, %y) axis=1

Where threads hold the elements already, registers are renamed; else they go through shared memory (`passes/pieces.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilec.errors import Code, require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import i32
from tilec.ir.layout import Layout
from tilec.ir.ops.base import Placed, bounds_of, broadcast, constant, describe, divided, index, show, tile
from tilec.ir.ops.memory import LoadShared
from tilec.ir.ops.shape import Reshape, Transpose
from tilec.ir.types import TileType


def one_axis(axis: int, rank: int) -> int:
    """An axis number counted from the front; an error beyond the rank."""
    require(
        -rank <= axis < rank,
        f"axis {axis} is out of range for a tile with {rank} axes",
        hint=f"axes are {-rank} to {rank - 1}" if rank else "a scalar has none",
        code=Code.AXIS,
    )
    return axis % rank


class Slice(Placed):
    """The elements at `starts + steps * i` along each axis, of the given shape; a step may be negative."""

    x: Value
    starts: tuple[int, ...]
    steps: tuple[int, ...]
    shape: tuple[int, ...]

    def infer(self) -> TileType:
        given = tile(self.x)
        require(len(self.starts) == len(self.steps) == len(self.shape) == given.rank > 0, f"{describe(given)} needs a slice for each axis", code=Code.INDEX)
        for first, step, n, extent in zip(self.starts, self.steps, self.shape, given.shape, strict=True):
            fits = n > 0 and 0 <= first < extent and 0 <= first + step * (n - 1) < extent
            require(fits, f"the slice of {n} elements from {first} in steps of {step} is not within {extent} elements", code=Code.INDEX)
        return self.placed(given.dtype, self.shape)

    def source(self, at: Any) -> Any:
        """The coordinates [..., rank] in x of coordinates in the result."""
        return np.asarray(self.starts) + np.asarray(self.steps) * at

    def copied(self, given: Layout, layout: Layout) -> list[int] | None:
        """For each register of the result in `layout` the register of x, in `given`, that every thread copies; None if one would not hold it."""
        found = given.holding(self.source(layout.coords()), np.asarray(self.x.type.shape))
        return None if found is None else found.tolist()

    def eval(self, ctx: Any, x: Any) -> Any:
        parts = [np.arange(n) * step + first for first, step, n in zip(self.starts, self.steps, self.shape, strict=True)]
        return x[np.ix_(np.arange(len(x)), *parts)]


def sliced(b: Builder, x: Value, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int]) -> Value:
    """A slice; the tile itself if that is all of it."""
    if tuple(shape) == x.type.shape and all(s == 1 for s in steps):
        return x
    return b.emit(Slice(x, tuple(starts), tuple(steps), tuple(shape)))


def along(x: Value, axis: int, first: int, count: int, step: int = 1) -> tuple[list[int], list[int], list[int]]:
    """Starts, steps and shape of a slice along one axis."""
    starts, steps, shape = [0] * x.type.rank, [1] * x.type.rank, list(x.type.shape)
    starts[axis], steps[axis], shape[axis] = first, step, count
    return starts, steps, shape


class Part(Op):
    """A tile of `shape` out of `x` at offsets known at run time; along the axes not in `dims` one place. Out of bounds is an error."""

    x: Value
    offsets: tuple[Value, ...]
    shape: tuple[int, ...]
    dims: tuple[int, ...]

    def infer(self) -> TileType:
        given = tile(self.x)
        require(len(self.offsets) == given.rank > 0, f"{describe(given)} has {given.rank} axes, but {len(self.offsets)} indices are given", code=Code.INDEX)
        return TileType(given.dtype, self.shape, None, given.group)

    def eval(self, ctx: Any, x: Any, *offsets: Any) -> Any:
        rank = len(self.shape)
        places = [np.arange(len(x)).reshape(-1, *[1] * rank)]
        for axis, (offset, extent) in enumerate(zip(offsets, x.shape[1:], strict=True)):
            at = offset.reshape(-1, *[1] * rank)
            if axis in self.dims:
                where = self.dims.index(axis)
                at = at + np.arange(self.shape[where]).reshape([-1 if i == where else 1 for i in range(rank)])
            bad = (at < 0) | (at >= extent)
            if bad.any():
                ctx.fail(bad, f"index {int(at[bad][0])} is out of bounds for axis {axis} of the tile, which has {extent} elements")
            places.append(np.clip(at, 0, extent - 1))
        return x[tuple(places)]


Selector = Any  # what stands between the brackets: int, integer scalar, slice, None


def subscript(b: Builder, x: Value, at: Sequence[Selector]) -> Value:
    """`x[at]` by NumPy's rules of basic indexing; indices may be scalars of the program, the bounds of slices not."""
    given = tile(x)
    used = sum(a is not None and a is not Ellipsis for a in at)
    require(used <= given.rank, f"{describe(given)} has {given.rank} axes, but {used} indices are given", code=Code.INDEX)
    dots = next((i for i, a in enumerate(at) if a is Ellipsis), len(at))
    full = [*at[:dots], *[slice(None)] * (given.rank - used), *at[dots + 1 :]]
    starts: list[int] = []
    steps: list[int] = []
    shape: list[int] = []
    dynamic: dict[int, Value] = {}
    final: list[int] = []
    for a in full:
        if a is None:
            final.append(1)
            continue
        axis = len(starts)
        extent = given.shape[axis]
        if isinstance(a, slice):
            require(bounds_of(a)[2] != 0, "the step of a slice is not 0", hint="x[::-1] turns around", code=Code.INDEX)
            found = range(*a.indices(extent))
            require(len(found) > 0, f"the slice of axis {axis} is empty", hint=f"it takes {found.start}:{found.stop} of {extent} elements", code=Code.INDEX)
            final.append(len(found))
        elif isinstance(a, Value):
            dynamic[axis] = index(b, a)
            found = range(extent)
        else:
            require(isinstance(a, int) and not isinstance(a, bool), f"a tile is indexed by integers and slices, not {a!r}", hint=divided(a), code=Code.INDEX)
            require(
                -extent <= a < extent,
                f"index {a} is out of bounds for axis {axis} of {describe(given)}",
                hint=f"indices are {-extent} to {extent - 1}",
                code=Code.INDEX,
            )
            found = range(a % extent, a % extent + 1)
        starts.append(found[0])
        steps.append(found.step)
        shape.append(len(found))
    if final or dynamic:
        x = sliced(b, x, starts, steps, shape)
    if not final:  # a scalar
        at = [dynamic.get(axis) or constant(b, 0 if dynamic else starts[axis], i32) for axis in range(given.rank)]
        return b.emit(Part(x, tuple(at), (), ()))
    if dynamic:
        kept = tuple(a for a in range(given.rank) if a not in dynamic)
        at = [dynamic.get(axis) or constant(b, 0, i32) for axis in range(given.rank)]
        x = b.emit(Part(x, tuple(at), tuple(shape[a] for a in kept), kept))
    return x if x.type.shape == tuple(final) else b.emit(Reshape(x, tuple(final)))


class Concatenate(Placed):
    """Tiles of one type one after another along an axis; their other extents agree.

    Example:
        r = tc.concatenate([x, y], axis=1)  # = np.concatenate([x, y], axis=1)
        tc.concatenate([x, n])              # error: tiles of f32 and i32 do not mix
    """

    xs: tuple[Value, ...]
    axis: int = 0

    builtin = "concatenate"

    def infer(self) -> TileType:
        require(len(self.xs) > 0, "concatenate needs tiles")
        first, *rest = [tile(x) for x in self.xs]
        require(first.rank > 0, "concatenate takes tiles, not scalars", hint="tc.stack puts scalars together", code=Code.NOT_A_TILE)
        for other in rest:
            fits = other.rank == first.rank and all(m == n or a == self.axis for a, (m, n) in enumerate(zip(first.shape, other.shape, strict=True)))
            require(fits, f"tiles of shapes {show(first.shape)} and {show(other.shape)} do not fit together along axis {self.axis}", code=Code.SHAPES)
            require(
                other.dtype == first.dtype,
                f"tiles of {first.dtype} and {other.dtype} do not mix",
                hint=f"convert one: tc.cast(x, {first.dtype})",
                code=Code.TYPES_MIX,
            )
        total = sum(x.type.shape[self.axis] for x in self.xs)
        return self.placed(first.dtype, [total if a == self.axis else n for a, n in enumerate(first.shape)])

    @property
    def starts(self) -> list[int]:
        """Where each tile begins along the axis."""
        extents = [x.type.shape[self.axis] for x in self.xs]
        return [sum(extents[:i]) for i in range(len(extents))]

    def copied(self) -> list[tuple[int, int]]:
        """For each register of the result the tile, and of that the register, that every thread copies."""
        coords = self.layout.coords()
        result: list[tuple[int, int]] = [(0, 0)] * coords.shape[1]  # of padding, any
        for i, (x, start) in enumerate(zip(self.xs, self.starts, strict=True)):
            at = coords - np.eye(coords.shape[-1], dtype=np.int64)[self.axis] * start
            inside = (at[..., self.axis] >= 0) & (at[..., self.axis] < x.type.shape[self.axis])
            for register in np.flatnonzero(inside.any(0)):
                found = x.type.layout.holding(np.where(inside[:, register, None, None], at[:, register : register + 1], -1), np.asarray(x.type.shape))
                assert found is not None, "the tiles are not held where their concatenation is"
                result[register] = (i, int(found[0]))
        return result

    def eval(self, ctx: Any, *xs: Any) -> Any:
        blocks = max(map(len, xs))
        return np.concatenate([np.broadcast_to(x, (blocks, *x.shape[1:])) for x in xs], axis=self.axis + 1)

    @classmethod
    def build(cls, b: Builder, xs: Sequence[Value], axis: int = 0) -> Value:
        for x in xs:
            tile(x)
        require(len(xs) > 0, "concatenate needs tiles", hint="as in tc.concatenate([x, y])")
        return xs[0] if len(xs) == 1 else b.emit(cls(tuple(xs), one_axis(axis, max(1, xs[0].type.rank))))


class Split(Op, abstract=True):
    """The tile in `parts` equal tiles along an axis, as a tuple.

    Example:
        u, v = tc.split(x, 2)  # = np.split(x, 2)
        tc.split(x, 3)         # error: 8 elements don't split into 3 equal parts
    """

    builtin = "split"

    @classmethod
    def build(cls, b: Builder, x: Value, parts: int, axis: int = 0) -> tuple[Value, ...]:
        given = tile(x)
        axis = one_axis(axis, given.rank)
        n = given.shape[axis] // max(1, parts)
        require(
            parts > 0 and n * parts == given.shape[axis],
            f"{given.shape[axis]} elements don't split into {parts} equal parts",
            hint="x[a:b] takes a part of any size",
        )
        return tuple(sliced(b, x, *along(x, axis, i * n, n)) for i in range(parts))


class Flip(Op, abstract=True):
    """The elements in reverse order along an axis.

    Example:
        r = tc.flip(x, 1)  # = np.flip(x, 1)
        tc.flip(x, 2)      # error: axis 2 is out of range for a tile with 2 axes
    """

    builtin = "flip"

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int = 0) -> Value:
        axis = one_axis(axis, tile(x).rank)
        n = x.type.shape[axis]
        return x if n == 1 else b.emit(Slice(x, *map(tuple, along(x, axis, n - 1, n, -1))))


class ExpandDims(Op, abstract=True):
    """A new axis of extent 1, at `axis` of the result; `x[:, None]` is another way to write it.

    Example:
        r = tc.expand_dims(x, 1)  # = np.expand_dims(x, 1)
        tc.expand_dims(x, 4)      # error: axis 4 is out of range for a tile with 3 axes
    """

    builtin = "expand_dims"

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int) -> Value:
        shape = list(tile(x).shape)
        shape.insert(one_axis(axis, len(shape) + 1), 1)
        return b.emit(Reshape(x, tuple(shape)))


class Squeeze(Op, abstract=True):
    """The tile without an axis of extent 1.

    Example:
        r = tc.squeeze(x[:, None], 1)  # = x
        tc.squeeze(x, 1)               # error: axis 1 of f32[8, 16] has 16 elements, not 1
    """

    builtin = "squeeze"

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int) -> Value:
        shape = list(tile(x).shape)
        at = one_axis(axis, len(shape))
        require(shape[at] == 1, f"axis {axis} of {describe(x.type)} has {shape[at]} elements, not 1", hint="x[:, 0] takes the first", code=Code.AXIS)
        return b.emit(Reshape(x, tuple(shape[:at] + shape[at + 1 :])))


class Permute(Op, abstract=True):
    """The axes in another order: axis i of the result is axis `axes[i]` of x. Of a shared tile it is a view.

    Example:
        r = tc.permute(x, [1, 0])  # = x.transpose(1, 0)
        tc.permute(x, [0])         # error: [0] is no order of the 2 axes
    """

    builtin = "permute"

    @classmethod
    def build(cls, b: Builder, x: Value, axes: Sequence[int]) -> Value:
        return Transpose.build(b, x, axes)


class Stack(Op, abstract=True):
    """Tiles (or scalars) of one type and shape along a new axis, at `axis` of the result.

    Example:
        r = tc.stack([x, y], axis=1)  # = np.stack([x, y], axis=1)
        tc.stack([x, a])              # error: tiles of shapes [8, 16] and [16, 16] can't be stacked
    """

    builtin = "stack"

    @classmethod
    def build(cls, b: Builder, xs: Sequence[Value], axis: int = 0) -> Value:
        require(len(xs) > 0, "stack needs tiles", hint="as in tc.stack([x, y])")
        first = tile(xs[0])
        for x in xs:
            same = tile(x).shape == first.shape
            require(same, f"tiles of shapes {show(first.shape)} and {show(tile(x).shape)} can't be stacked", hint="tc.concatenate joins them", code=Code.SHAPES)
        return Concatenate.build(b, [ExpandDims.build(b, x, axis) for x in xs], one_axis(axis, first.rank + 1))


class Interleave(Op, abstract=True):
    """The elements of two tiles in turn along an axis: x[0], y[0], x[1], y[1], ...

    Example:
        r = tc.interleave(x, y)  # = np.stack([x, y], axis=-1).reshape(8, 32)
        tc.interleave(x, a)      # error: tiles of shapes [8, 16] and [16, 16] can't be stacked
    """

    builtin = "interleave"

    @classmethod
    def build(cls, b: Builder, x: Value, y: Value, axis: int = -1) -> Value:
        axis = one_axis(axis, tile(x).rank)
        shape = tuple(2 * n if a == axis else n for a, n in enumerate(x.type.shape))
        return b.emit(Reshape(Stack.build(b, [x, y], axis + 1), shape))


class Repeat(Op, abstract=True):
    """Each element `count` times along an axis: x[0], x[0], x[1], x[1], ... (as numpy.repeat).

    Example:
        r = tc.repeat(x, 2, axis=1)  # = np.repeat(x, 2, axis=1)
        tc.repeat(x, 0, axis=1)      # error: elements are repeated once or more, not 0 times
    """

    builtin = "repeat"

    @classmethod
    def build(cls, b: Builder, x: Value, count: int, axis: int = 0) -> Value:
        axis = one_axis(axis, tile(x).rank)
        require(count > 0, f"elements are repeated once or more, not {count} times")
        shape = list(x.type.shape)
        wide = broadcast(b, ExpandDims.build(b, x, axis + 1), [*shape[: axis + 1], count, *shape[axis + 1 :]])
        return b.emit(Reshape(wide, tuple(count * n if a == axis else n for a, n in enumerate(shape))))


class LoadStrided(LoadShared):
    """Reads from shared memory in steps of several elements, or backwards. Lowering makes these."""

    memory: Value
    offsets: tuple[Value, ...]
    shape: tuple[int, ...]
    dims: tuple[int, ...]
    steps: tuple[int, ...]

    def index(self, offsets: Sequence[Any]) -> list[Any]:
        starts = [np.asarray(o).reshape(-1, *[1] * len(self.shape)) for o in offsets]
        places = super().index([0] * len(offsets))
        return [start + step * place for start, step, place in zip(starts, self.steps, places, strict=True)]


