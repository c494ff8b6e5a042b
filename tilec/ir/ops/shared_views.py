"""Parts and other shapes of shared tiles: the same memory, seen otherwise.

    %v = shared_view %s, [%i, %0, %k] shape=[64, 16] strides=[32, 1]        s[i, :, k:k+16] of a tile of [3, 64, 32]

A view begins at `offsets`, one for each axis of what it is a view of. Its element at some coordinates is the `sum(coordinates * strides)`-th
from there on, counted row-major. So an index leaves an axis out, a slice keeps its stride, a step multiplies it, and axes in another
order are strides in another order. With a `dtype` the rows, whole and from the beginning, are first seen as elements of that type. Views of views are
views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import DType, i32
from tilec.ir.ops.arith import Add, Cast, Mul, Sub
from tilec.ir.ops.base import Constant, Elementwise, Index, bounds_of, constant, describe, divided, index, show
from tilec.ir.ops.control import BlockCount, BlockIndex
from tilec.ir.shared import SharedLayout, row_major, steps_of
from tilec.ir.types import SharedType


class SharedView(Op):
    """Another shape of a shared tile, or of a part of it; nothing moves."""

    memory: Value
    offsets: tuple[Value, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType | None = None

    def infer(self) -> SharedType:
        given = self.memory.type
        require(isinstance(given, SharedType), f"{describe(given)} is not indexed", code=Code.INDEX)
        require(len(self.offsets) == given.rank, f"{describe(given)} has {given.rank} axes, but {len(self.offsets)} offsets are given", code=Code.INDEX)
        require(len(self.shape) == len(self.strides), f"{len(self.shape)} axes, but {len(self.strides)} strides", code=Code.INDEX)
        require(self.dtype is None or all(is_zero(v) for v in self.offsets), "rows are seen as another type from their beginning on", code=Code.INDEX)
        layout = self.laid_out(laid_out(self.memory))
        return SharedType(self.dtype or given.dtype, self.shape, None if given.layout is None else layout)

    def laid_out(self, given: SharedLayout) -> SharedLayout:
        """Its layout if what it is a view of has the `given` one; where it begins does not count."""
        if self.dtype is not None:
            given = given.recast(self.memory.type.item_bits, self.dtype.bits)
        return given.view(self.shape, self.strides)

    def eval(self, ctx: Any, memory: Any, *offsets: Any) -> Any:
        recast = memory if self.dtype is None else memory.recast(ctx, self.dtype)
        return recast.view(ctx, offsets, self.shape, self.strides)

    @property
    def axes(self) -> tuple[tuple[int, int], ...] | None:
        """For each axis of the view, the axis that it walks along and in which steps; None if one walks along several."""
        given = self.memory.type.shape
        if self.dtype is not None:
            return None
        found = []
        for n, stride in zip(self.shape, self.strides, strict=True):
            walked = [(a, stride // unit) for a, (unit, size) in enumerate(zip(steps_of(given), given, strict=True)) if walks(n, stride, unit, size)]
            if not walked:
                return None
            found.append(walked[0])
        return tuple(found) if len({a for a, _ in found}) == len(found) else None

    @property
    def reach(self) -> tuple[int, ...]:
        """How far from where it begins its last element lies along each axis of what it is a view of."""
        if self.dtype is not None:
            return tuple(n - 1 for n in self.memory.type.shape)
        number = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return tuple(number // unit % n for unit, n in zip(steps_of(self.memory.type.shape), self.memory.type.shape, strict=True))

    @property
    def places(self) -> int:
        """How many such views lie side by side along an axis, at most."""
        return max((n // (last + 1) for n, last in zip(self.memory.type.shape, self.reach, strict=True)), default=1)

    @classmethod
    def at(cls, b: Builder, memory: Value, place: Index) -> Value:
        """One place along the first axis."""
        return cut(b, memory, (place,))


def walks(n: int, stride: int, unit: int, size: int) -> bool:
    """Whether n elements in steps of `stride` stay in an axis of `size` that itself goes in steps of `unit`."""
    return stride % unit == 0 and unit <= stride < unit * max(size, 2) and stride // unit * (n - 1) < size


def is_zero(value: Value) -> bool:
    return isinstance(value.owner, Constant) and value.owner.value == 0


def laid_out(memory: Value) -> SharedLayout:
    """The layout of a shared tile, or of a view of one: row-major as long as none is chosen."""
    type, op = memory.type, memory.owner
    if type.layout is not None or not isinstance(op, SharedView):
        return type.layout or row_major(*type.shape)
    return op.laid_out(laid_out(op.memory))


def viewed_tile(memory: Value) -> Value:
    """The shared tile whose memory a view is of; another one itself."""
    while isinstance(memory.owner, SharedView):
        memory = memory.owner.memory
    return memory


# what authors write


def cut(b: Builder, memory: Value, at: Sequence[Any]) -> Value:
    """`memory[at]` by NumPy's rules of basic indexing; where a slice begins may be known at run time only, how long it is not."""
    given: SharedType = memory.type
    require(given.rank > 0, f"{describe(given)} is not indexed", code=Code.INDEX)
    used = sum(a is not None and a is not Ellipsis for a in at)
    require(used <= given.rank, f"{describe(given)} has {given.rank} axes, but {used} indices are given", code=Code.INDEX)
    dots = next((i for i, a in enumerate(at) if a is Ellipsis), len(at))
    offsets: list[Index] = []
    shape: list[int] = []
    strides: list[int] = []
    for a in (*at[:dots], *[slice(None)] * (given.rank - used), *at[dots + 1 :]):
        if a is None:
            shape.append(1)
            strides.append(1)
            continue
        axis = len(offsets)
        first, count, step = range_of(b, a, axis, given) if isinstance(a, slice) else (one_of(b, a, axis, given), None, 1)
        offsets.append(first)
        if count is not None:
            shape.append(count)
            strides.append(step * steps_of(given.shape)[axis])
    if tuple(shape) == given.shape and all(isinstance(o, int) for o in offsets) and tuple(strides) == steps_of(given.shape):
        return memory
    numbers = {o: constant(b, o, i32) for o in offsets if isinstance(o, int)}
    return b.emit(SharedView(memory, tuple(numbers[o] if isinstance(o, int) else o for o in offsets), tuple(shape), tuple(strides)))


def permuted(b: Builder, memory: Value, axes: Sequence[int]) -> Value:
    """Axis i is axis `axes[i]` of what was given."""
    given: SharedType = memory.type
    require(sorted(axes) == list(range(given.rank)), f"{show(axes)} is no order of the {given.rank} axes", code=Code.AXIS)
    steps, zero = steps_of(given.shape), constant(b, 0, i32)
    return b.emit(SharedView(memory, (zero,) * given.rank, tuple(given.shape[a] for a in axes), tuple(steps[a] for a in axes)))


def reshaped(b: Builder, memory: Value, shape: tuple[int, ...]) -> Value:
    """The same elements in row-major order under another shape, where they lie in equal steps along each of its axes."""
    given: SharedType = memory.type
    size = math.prod(given.shape)
    text = f"{show(given.shape)} has {size} elements and does not reshape to {show(shape)}"
    require(math.prod(shape) == size, text, hint="the products of the extents are equal; one extent may be -1", code=Code.RESHAPE)
    zero = constant(b, 0, i32)
    try:
        return b.emit(SharedView(memory, (zero,) * given.rank, shape, steps_of(shape)))
    except TileError:
        first = "reshape the whole tile before it is cut or transposed, or "
        raise TileError(
            f"{describe(given)} is no view of {show(shape)}: its elements do not lie in equal steps along each axis of that",
            hint=f"{first if isinstance(memory.owner, SharedView) else ''}load it and reshape what was loaded", code=Code.RESHAPE,
        ) from None  # fmt: skip


def recast(b: Builder, memory: Value, dtype: DType) -> Value:
    """The bits of each row as elements of another type."""
    given: SharedType = memory.type
    if dtype == given.dtype:
        return memory
    plain = not (given.dtype.is_bool or dtype.is_bool) and dtype.element is dtype and given.rank > 0
    require(plain, f"{describe(given)} is not seen as {dtype}", hint="neither is bool, and the tile has rows", code=Code.BITS)
    row = given.shape[-1] * given.dtype.bits
    text = f"a row of {describe(given)} has {row} bits, which are no whole number of {dtype}"
    hint = f"make rows of a multiple of {math.lcm(given.dtype.bits, dtype.bits) // given.dtype.bits} elements"
    require(row % dtype.bits == 0, text, hint=hint, code=Code.BITS)
    shape, zero = (*given.shape[:-1], row // dtype.bits), constant(b, 0, i32)
    try:
        return b.emit(SharedView(memory, (zero,) * given.rank, shape, steps_of(shape), dtype))
    except TileError as error:
        viewed = isinstance(memory.owner, SharedView)
        hint = "see the whole tile as the other type before it is cut or transposed" if viewed else "state strides whose bits are multiples of its"
        raise TileError(f"{describe(given)} is no view of {dtype}: {error.message}", hint=hint, code=Code.BITS) from None


def one_of(b: Builder, at: Any, axis: int, given: SharedType) -> Index:
    """The place that an index along an axis means."""
    extent = given.shape[axis]
    if isinstance(at, Value):
        return begin(b, at)
    require(
        isinstance(at, int) and not isinstance(at, bool),
        f"a shared tile is indexed by integers and slices, not {at!r}",
        hint=divided(at), code=Code.INDEX,
    )  # fmt: skip
    inside, hint = -extent <= at < extent, f"indices are {-extent} to {extent - 1}"
    require(inside, f"index {at} is out of bounds for axis {axis} of {describe(given)}", hint=hint, code=Code.INDEX)
    return int(at % extent)


def range_of(b: Builder, cut: slice, axis: int, given: SharedType) -> tuple[Index, int, int]:
    """Where a slice along an axis begins, how many elements it has, and in which steps. A start that is known must lie, with all of it, inside."""
    extent, step = given.shape[axis], 1 if cut.step is None else cut.step
    bounds_of(cut)
    hint = "x = tc.load(s); x[::-1] turns around"
    require(isinstance(step, int) and step > 0, f"a shared tile is cut in steps of 1 or more, not {step!r}", hint=hint, code=Code.INDEX)
    if not isinstance(cut.start, Value) and not isinstance(cut.stop, Value):
        for bound in (cut.start, cut.stop):
            require(
                bound is None or -extent <= bound <= extent,
                f"the slice {shown(cut)} reaches beyond axis {axis} of {describe(given)}",
                hint=f"bounds are {-extent} to {extent}", code=Code.INDEX,
            )  # fmt: skip
        found = range(*cut.indices(extent))
        require(len(found) > 0, f"the slice of axis {axis} is empty", hint=f"it takes {found.start}:{found.stop} of {extent} elements", code=Code.INDEX)
        return found.start, len(found), step
    count = None if cut.start is None or cut.stop is None else difference(cut.stop, cut.start)
    if count is None:
        raise TileError(
            f"how many elements a slice of axis {axis} has is not known at compile time",
            hint="write both bounds with one start, as in s[:, k : k + 16]: where it begins may be known at run time only, its length not",
            code=Code.NOT_STATIC,
        )
    require(count > 0, f"the slice of axis {axis} is empty", hint="it ends where it begins, or before", code=Code.INDEX)
    require(count <= extent, f"a slice of {count} elements is longer than axis {axis} of {describe(given)}", hint=f"the axis has {extent}", code=Code.INDEX)
    return begin(b, cut.start), -(-count // step), step


def begin(b: Builder, at: Index) -> Index:
    """A place as an i32 scalar or a number."""
    if isinstance(at, int):
        return at
    value = index(b, at)
    return value if value.type.dtype == i32 else b.emit(Cast(value, i32))


def shown(cut: slice) -> str:
    """A slice as authors write it."""
    return ":".join("" if part is None else str(part) for part in ([cut.start, cut.stop] if cut.step is None else [cut.start, cut.stop, cut.step]))


def difference(last: Index, first: Index) -> int | None:
    """last - first, if that is one number whatever the scalars in them are; else None."""
    total: dict[Any, int] = {}
    for value, times in ((last, 1), (first, -1)):
        for part, n in terms(value, times):
            total[part] = total.get(part, 0) + n
    rest = total.pop(None, 0)
    return None if any(total.values()) else rest


def terms(value: Index, times: int) -> list[tuple[Any, int]]:
    """A scalar as a sum of multiples of others, by what they compute, and of 1 as None."""
    if isinstance(value, int):
        return [(None, times * value)]
    op: Any = value.owner
    if isinstance(op, Constant):
        return [(None, times * int(op.value))]
    if isinstance(op, Add | Sub):
        return terms(op.x, times) + terms(op.y, times if isinstance(op, Add) else -times)
    if isinstance(op, Mul) and isinstance(op.y.owner, Constant):
        return terms(op.x, times * int(op.y.owner.value))
    if isinstance(op, Mul) and isinstance(op.x.owner, Constant):
        return terms(op.y, times * int(op.x.owner.value))
    return [(computed(value), times)]


def computed(value: Value) -> Any:
    """The same for two scalars that are computed alike from the same ones."""
    op = value.owner
    if not isinstance(op, Elementwise | Constant | BlockIndex | BlockCount):
        return value
    return type(op), tuple(op.attributes.values()), tuple(computed(v) for v in op.operands)

