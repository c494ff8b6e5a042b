"""Layouts of accesses by indices and masks: the accessed tile is laid out as for a load or store, indices and mask as its broadcasts.

    %x = gather %a, [%0, %k], [%rows], none, none      ->     %r = <%rows where each thread holds those of its own elements>
                                                              %x = gather %a, [%0, %k], [%r], none, none layout=..

The rules join those of `layouts` when this file is imported.
"""

from __future__ import annotations

from typing import Any

from tilec.errors import require
from tilec.ir.core import Value
from tilec.ir.layout import Layout
from tilec.ir.ops.gather import Chosen, Gather, Scatter
from tilec.passes.layouts import RULES, AssignLayouts, before_broadcast, fastest_axis


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
        require(op.layout.threads == a.threads, f"the layout has {op.layout.threads} threads, but the block {a.threads}")
    layout = op.layout or a.default(op.results[0].type, fastest_axis(op))
    other = None if op.other is None else a.get(op.other, layout)
    return a.clone(op, layout=layout, other=other, **choosers(a, op, layout))


def scatter(a: AssignLayouts, op: Scatter) -> Any:
    if not op.tile_shape:
        return a.clone(op)
    packed = op.value.type.dtype.bits % 8
    wanted = a.default(op.value.type, fastest_axis(op))
    layout = wanted if packed or op.value in a.free else a.layout_of(op.value)
    return a.clone(op, value=a.get(op.value, layout), **choosers(a, op, layout))


RULES.update({Gather: gather, Scatter: scatter})
