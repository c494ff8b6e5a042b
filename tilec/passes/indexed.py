"""Layouts of accesses by indices and masks: the accessed tile is laid out as for a load or store, indices and mask as its broadcasts.

    %x = gather %a, [%0, %k], [%rows], none, none      ->     %r = <%rows where each thread holds those of its own elements>
                                                              %x = gather %a, [%0, %k], [%r], none, none layout=..

The rules join those of `layouts` when this file is imported.
"""

from __future__ import annotations

from typing import Any

from tilec.errors import require
from tilec.ir.core import Value
from tilec.ir.facts import widest_copy
from tilec.ir.layout import Layout
from tilec.ir.ops.asynchronous import CopyAsync
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.gather import Chosen, Gather, Scatter
from tilec.ir.types import SharedType, TileType
from tilec.passes.layouts import RULES, AssignLayouts
from tilec.passes.offers import ACCESS_BITS, before_broadcast, fastest_axis
from tilec.passes.widths import bits_of, proven, together


def chooser(a: AssignLayouts, value: Value | None, layout: Layout | None) -> Value | None:
    """Indices or a mask, in the layout that broadcasts to the access's without a move."""
    if value is None or layout is None:
        return a(value)
    return a.get(value, before_broadcast(layout, value.type.shape))


def choosers(a: AssignLayouts, op: Chosen, layout: Layout | None) -> dict[str, Any]:
    return {"indices": tuple(chooser(a, v, layout) for v in op.indices), "mask": chooser(a, op.mask, layout)}


def gather(a: AssignLayouts, op: Gather) -> Any:
    if not op.shape:
        return a.clone(op)
    if op.layout is not None:
        require(op.layout.threads == a.threads, f"the layout has {op.layout.threads} threads, but the block {a.threads}", loc=op.loc)
    wished = a.wish(op.results[0]) if isinstance(op.memory.type, SharedType) else None
    layout = op.layout or wished or a.default(op.results[0].type, fastest_axis(op))
    other = None if op.other is None else a.get(op.other, layout)
    return a.clone(op, layout=layout, other=other, **choosers(a, op, layout))


def copy_async(a: AssignLayouts, op: CopyAsync) -> Any:
    tile = TileType(op.memory.type.dtype, op.tile_shape)
    at_once = proven(a.facts, op) or widest_copy(bits_of(op), together(op)) or ACCESS_BITS  # an idle thread costs less than more copies
    layout = op.layout or a.default(tile, fastest_axis(op), at_once, at_once)
    return a.clone(op, layout=layout, **choosers(a, op, layout))


def scatter(a: AssignLayouts, op: Scatter) -> Any:
    if not op.tile_shape:
        return a.clone(op)
    packed = op.value.type.dtype.bits % 8
    wanted = a.default(op.value.type, fastest_axis(op))
    layout = wanted if packed else given(a, op) or wanted
    return a.clone(op, value=a.get(op.value, layout), **choosers(a, op, layout))


def atomic(a: AssignLayouts, op: Atomic) -> Any:
    used = op.result in a.uses
    if not op.tile_shape:
        return a.clone(op, used=used)
    layout = given(a, op) or a.default(op.value.type, fastest_axis(op))
    compare = None if op.compare is None else a.get(op.compare, layout)
    return a.clone(op, value=a.get(op.value, layout), compare=compare, used=used, **choosers(a, op, layout))


def given(a: AssignLayouts, op: Any) -> Layout | None:
    """The layout of the value, else of the first index tile of the whole shape, that has one."""
    found = [v for v in (op.value, *op.indices) if v not in a.free and v.type.shape == op.tile_shape]
    return a.layout_of(found[0]) if found else None


RULES.update({CopyAsync: copy_async, Gather: gather, Scatter: scatter, Atomic: atomic})
