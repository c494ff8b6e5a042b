"""Layouts of slices and concatenations, and how their elements come to their threads.

    %y = slice %x starts=[0] steps=[-1] shape=[64]     ->     %s = shared ..; sync; store_shared %s, %x; sync
                                                              %y = load_strided %s, [..] steps=[-1] layout=..

Halves that each thread holds whole in registers, and tiles of one layout put together, cost nothing: registers are renamed.
The rules join those of `layouts` when this file is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tilec.ir.core import Value
from tilec.ir.dtypes import DType, i32
from tilec.ir.layout import NOWHERE, Digit, Layout, local
from tilec.ir.ops.base import constant
from tilec.ir.ops.memory import LoadShared, Shared, StoreShared
from tilec.ir.ops.pieces import Concatenate, LoadStrided, Part, Slice
from tilec.ir.ops.sync import Sync
from tilec.ir.shared import padded
from tilec.ir.types import TileType
from tilec.passes.layouts import RULES, AssignLayouts
from tilec.passes.offers import WISHES


def through_shared(a: AssignLayouts, dtype: DType, shape: Sequence[int], parts: Iterable[tuple[Value, Sequence[int]]]) -> Value:
    """A scratch tile that holds each of some tiles, at its place."""
    memory = a.b.emit(Shared(dtype, tuple(shape), padded(TileType(dtype, tuple(shape))), scratch=True))
    a.b.insert(Sync())
    for x, place in parts:
        a.b.insert(StoreShared(memory, offsets(a, place), x, tuple(range(len(shape)))))
    a.b.insert(Sync())
    return memory


def offsets(a: AssignLayouts, place: Sequence[int]) -> tuple[Value, ...]:
    return tuple(constant(a.b, n, i32) for n in place)


def shortened(layout: Layout, axis: int, extent: int) -> Layout | None:
    """The layout of the first `extent` elements along an axis, if every thread holds its share of each stretch of so many."""
    kept = []
    for digit in layout.register_digits:
        if digit.dim == axis and digit.stride * digit.size > extent:
            size = extent // digit.stride
            digit = Digit(max(1, size), axis, digit.stride) if size else Digit(1, NOWHERE, 0)
        kept.append(digit)
    shape = tuple(extent if a == axis else n for a, n in enumerate(layout.shape))
    try:
        return Layout(shape, layout.thread_digits, tuple(kept))
    except Exception:
        return None


def in_registers(layout: Layout, axis: int) -> bool:
    """Whether each thread that holds an element holds its whole row along the axis."""
    return all(d.dim != axis for d in layout.thread_digits)


def slice_layout(layout: Layout, op: Slice) -> Layout | None:
    """A layout of the slice in which no element leaves its thread."""
    found: Layout | None = layout
    for axis, (n, extent) in enumerate(zip(op.shape, op.x.type.shape, strict=True)):
        if found is None or (n, op.steps[axis]) == (extent, 1):
            continue
        if in_registers(found, axis):
            found = found.reduce(axis, keepdims=True).cover([n if a == axis else m for a, m in enumerate(found.reduce(axis, keepdims=True).shape)])
        else:
            found = shortened(found, axis, n)
    return found if found is not None and op.copied(layout, found) is not None else None


def wish(a: AssignLayouts, op: Slice, value: Value) -> Layout | None:
    """The whole tile as its slices are wanted, one after another in registers."""
    wanted, shapes = a.wish(op.result), list(zip(value.type.shape, op.shape, op.starts, op.steps, strict=True))
    if wanted is None or wanted.shape != op.shape or any(n % part or start % part or step != 1 for n, part, start, step in shapes):
        return None
    return local(*(n // part for n, part, _, _ in shapes)) * wanted


def cut(a: AssignLayouts, op: Slice) -> Any:
    x = a.get(op.x, a.layout_of(op.x))
    layout = slice_layout(x.type.layout, op)
    if layout is not None:
        return a.clone(op, x=x, layout=layout)
    memory = through_shared(a, x.type.dtype, op.x.type.shape, [(x, [0] * op.x.type.rank)])
    dims = tuple(range(op.x.type.rank))
    return a.b.emit(LoadStrided(memory, offsets(a, op.starts), op.shape, dims, op.steps, a.default(op.result.type), x.type.group))


def part(a: AssignLayouts, op: Part) -> Any:
    x = a.get(op.x, a.layout_of(op.x))
    memory = through_shared(a, x.type.dtype, op.x.type.shape, [(x, [0] * op.x.type.rank)])
    layout = a.default(op.result.type) if op.shape else None
    return a.b.emit(LoadShared(memory, a(op.offsets), op.shape, op.dims, layout, x.type.group))


def joined(a: AssignLayouts, op: Concatenate) -> Any:
    fixed = [x for x in op.xs if x not in a.free]
    layout = a.layout_of((fixed or op.xs)[0])
    rank, axis = op.result.type.rank, op.axis
    row = layout.reduce(axis, keepdims=True)

    def wide(n: int) -> Layout:
        return row.cover([n if d == axis else m for d, m in enumerate(row.shape)])

    if in_registers(layout, axis):
        layouts, result = [wide(x.type.shape[axis]) for x in op.xs], wide(op.result.type.shape[axis])
    elif all(x.type.shape[axis] == layout.shape[axis] for x in op.xs):
        layouts, result = [layout] * len(op.xs), local(*(len(op.xs) if d == axis else 1 for d in range(rank))) * layout
    else:
        held = [a.get(x, a.layout_of(x)) for x in op.xs]
        places = [[at if d == axis else 0 for d in range(rank)] for at in op.starts]
        memory = through_shared(a, op.result.type.dtype, op.result.type.shape, zip(held, places, strict=True))
        return a.b.emit(LoadShared(memory, offsets(a, [0] * rank), op.result.type.shape, tuple(range(rank)), a.default(op.result.type), held[0].type.group))
    return a.clone(op, xs=tuple(a.get(x, w) for x, w in zip(op.xs, layouts, strict=True)), layout=result)


RULES.update({Slice: cut, Part: part, Concatenate: joined})
WISHES[Slice] = wish
