"""Layouts of matrix products: which types and which instruction, and tiles that no instruction divides.

    %z = dot %x, %y, %acc : f32[24, 20]      ->      %x1 = padded %x : f16[32, 16; ..]      # and where %k < 12, else 0
                                                     %z1 = dot %x1, %y1, %acc1 : f32[32, 24; ..]
                                                     %z = slice %z1 ..

The rule joins those of `layouts` when this file is imported.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tilec.ir.core import Value
from tilec.ir.dtypes import DType, i32
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused, say
from tilec.ir.ops.arith import Add, Cast, Div, Fma, Lt, Mul, Sub, Where
from tilec.ir.ops.base import Constant
from tilec.ir.ops.matmul import Dot, stand_ins
from tilec.ir.ops.pieces import Slice
from tilec.ir.ops.scan import Padded
from tilec.ir.ops.shape import Arange, Broadcast, Reshape
from tilec.passes.layouts import RULES, WISHES, AssignLayouts, matrix_layouts
from tilec.passes.weights import lying_together, source, wanted


class Plan(NamedTuple):
    """How a product is made: the operands' types, the instruction's shape, the product's own (m, n, k) padded to it, the layouts of a, b, c."""

    left: DType
    right: DType
    instruction: tuple[int, int, int]
    shape: tuple[int, int, int]
    layouts: tuple[Layout, Layout, Layout]


def plan(a: AssignLayouts, op: Dot) -> Plan | Refused:
    (m, k), n = op.a.type.shape, op.b.type.shape[1]
    for left, right in stand_ins(*op.types):
        fragments = a.target.matrix(left, right, op.acc.type.dtype, op.mode, k)
        if not isinstance(fragments, Refused):
            break
    if isinstance(fragments, Refused):
        return fragments
    m, n, k = (-(-size // unit) * unit for size, unit in zip((m, n, k), fragments.shape, strict=True))
    return Plan(left, right, fragments.shape, (m, n, k), matrix_layouts(fragments, m, n, k, a.warps, a.strategy, lying_together(op, fragments)))


def dot(a: AssignLayouts, op: Dot) -> Any:
    made = plan(a, op)
    if isinstance(made, Refused):
        say(op.loc, f"fma instead of mma: {made.why}")
        return a.dot_by_fma(op)
    left, right, instruction, shape, layouts = made
    given = (*op.a.type.shape, op.b.type.shape[1])
    said = [f"{name}={size} is padded to {whole}" for name, size, whole in zip("mkn", given, (shape[0], shape[2], shape[1]), strict=True) if size != whole]
    if said:
        say(op.loc, f"work is wasted: {', '.join(said)}, as mma multiplies {'x'.join(map(str, instruction))}")
    x = operand(a, op.a, left, layouts[0], 1)
    y = operand(a, op.b, right, layouts[1], 0)
    acc = whole(a, a.get(op.acc, layouts[2]))
    result = a.b.emit(Dot(x, y, acc, op.mode))
    if result.type.shape == op.acc.type.shape:
        return result
    return a.b.emit(Slice(result, (0, 0), (1, 1), op.acc.type.shape, layouts[2], acc.type.group))


def whole(a: AssignLayouts, x: Value) -> Value:
    """A tile with its layout's padding."""
    return x if x.type.shape == x.type.layout.shape else a.b.emit(Padded(x, x.type.layout, x.type.group))


def operand(a: AssignLayouts, old: Value, dtype: DType, layout: Layout, along: int) -> Value:
    """An operand in its layout and type, 0 in the padding along k: what else lies there reaches only padding of the result."""
    x = a.get(old, layout)
    x = x if x.type.dtype == dtype else a.b.emit(Cast(x, dtype))
    extent = old.type.shape[along]
    x = whole(a, x)
    if x.type.shape[along] == extent:
        return x
    row, shape, group = layout.reduce(1 - along), layout.shape, x.type.group
    places = a.b.emit(Arange(0, shape[along], i32, row, group))
    flat = tuple(n if i == along else 1 for i, n in enumerate(shape))
    raised = a.b.emit(Reshape(places, flat, row.unsqueeze(1 - along), group))
    wide = a.b.emit(Broadcast(raised, shape, layout, group))
    inside = a.b.emit(Lt(wide, a.b.emit(Constant(extent, i32, shape, layout, group))))
    return a.b.emit(Where(inside, x, a.b.emit(Constant(0 if dtype.is_int else 0.0, dtype, shape, layout, group))))


def wish(a: AssignLayouts, op: Dot, value: Value) -> Layout | None:
    """An operand is wanted as the product has it, if that takes it as it is."""
    made = plan(a, op)
    if value is op.acc or isinstance(made, Refused) or (made.left, made.right) != op.types[:2]:
        return None
    layout = made.layouts[0 if value is op.a else 1]
    return layout if layout.shape == value.type.shape else None


def beside(a: AssignLayouts, op: Any, value: Value) -> Layout | None:
    """What is computed with a product's result, or with packed weights, is wanted as these lie."""
    for other in op.operands:
        weights = source(other) if other is not value else None
        if weights is not None:
            return wanted(a, weights)
        if isinstance(other.owner, Dot) and other is not value:
            made = plan(a, other.owner)
            exact = not isinstance(made, Refused) and made.layouts[2].shape == value.type.shape
            return made.layouts[2] if exact else None  # type: ignore[union-attr]
    return None


RULES[Dot] = dot
WISHES[Dot] = wish
WISHES.update(dict.fromkeys((Add, Sub, Mul, Div, Fma), beside))
