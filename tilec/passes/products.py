"""Layouts of matrix products: which types and which instruction, and tiles that no instruction divides.

    %z = dot %x, %y, %acc : f32[24, 20]      ->      %x1 = padded %x : f16[32, 16; ..]      # and where %k < 12, else 0
                                                     %z1 = dot %x1, %y1, %acc1 : f32[32, 24; ..]
                                                     %z = slice %z1 ..

How the warps of a block share out a product's result is decided for all products together, ahead of all else, by what exchanges between threads and
loads of operands will take. The rules join those of `layouts` when this file is imported.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from tilec.ir.core import Block, Value
from tilec.ir.dtypes import DType, i32
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused, chosen, say
from tilec.ir.ops.arith import Cast, Lt, Where
from tilec.ir.ops.base import Constant, Elementwise
from tilec.ir.ops.control import For, While
from tilec.ir.ops.matmul import Dot, stand_ins
from tilec.ir.ops.pieces import Slice
from tilec.ir.ops.reduce import Reduce
from tilec.ir.ops.scan import Padded
from tilec.ir.ops.shape import Arange, Broadcast, Reshape, Transpose
from tilec.ir.target import Cost
from tilec.ir.types import TileType
from tilec.passes.conflicts import FIXES, Fix
from tilec.passes.layouts import ARRANGE, RULES, AssignLayouts, matrix_layouts
from tilec.passes.offers import AHEAD, LIES, ROUNDS, STRATEGIES, WISHES, ahead_of, priced
from tilec.passes.weights import lying_together, source


class Plan(NamedTuple):
    """How a product is made: the operands' types, the instruction's shape, the product's own (m, n, k) padded to it, the layouts of a, b, c."""

    left: DType
    right: DType
    instruction: tuple[int, int, int]
    shape: tuple[int, int, int]
    layouts: tuple[Layout, Layout, Layout]


def plan(a: AssignLayouts, op: Dot) -> Plan | Refused:
    """How a product is made, in its arrangement and by as many warps as are here."""
    key = op, a.arrangement(op), a.warps
    if key not in a.plans:
        a.plans[key] = planned(a, op)
    return a.plans[key]  # type: ignore[no-any-return]


def planned(a: AssignLayouts, op: Dot) -> Plan | Refused:
    (m, k), n = op.a.type.shape, op.b.type.shape[1]
    for left, right in stand_ins(*op.types):
        fragments = a.target.matrix(left, right, op.acc.type.dtype, op.mode, k)
        if not isinstance(fragments, Refused):
            break
    if isinstance(fragments, Refused):
        return fragments
    m, n, k = (-(-size // unit) * unit for size, unit in zip((m, n, k), fragments.shape, strict=True))
    tiles = lying_together(op, fragments) if a.packed else (None, None)
    return Plan(left, right, fragments.shape, (m, n, k), matrix_layouts(fragments, m, n, k, a.warps, a.arrangement(op), tiles))


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


def lying(a: AssignLayouts, op: Dot) -> Layout | None:
    """Where a product's result will lie, if it is not cut out of a larger one."""
    made = plan(a, op)
    if isinstance(made, Refused):
        return a.default(op.acc.type)
    return made.layouts[2] if made.layouts[2].shape == op.acc.type.shape else None


def arrange(a: AssignLayouts) -> None:
    """Decide how the warps share out each product's result, of all together: every combination is tried where there are few, else all alike
    and then one after the other. Products that add to one accumulator are arranged alike; a lone one has no use for whole rows."""
    products = [op for op in a.ops if isinstance(op, Dot)]
    groups: dict[Any, list[Dot]] = {}
    for op in products:
        groups.setdefault(accumulator(a, op, op.acc), []).append(op)
    if not products or (len(groups) == 1 and not a.limits and not any(isinstance(op, Reduce) for op in a.ops)):
        return
    kinds = list(groups.values())
    best: tuple[str, ...]
    costs: dict[tuple[str, ...], Cost] = {}

    def weighed(choice: tuple[str, ...]) -> float:
        if choice not in costs:
            costs[choice] = assessed(a, {op: strategy for ops, strategy in zip(kinds, choice, strict=True) for op in ops})
        return a.target.weight(costs[choice])

    if len(kinds) <= TOGETHER:
        best = min(itertools.product(STRATEGIES, repeat=len(kinds)), key=weighed)
    else:
        best = min(((strategy,) * len(kinds) for strategy in STRATEGIES), key=weighed)
        for i in range(len(kinds)):
            best = min(((*best[:i], strategy, *best[i + 1 :]) for strategy in STRATEGIES), key=lambda choice: (weighed(choice), choice != best))
    a.arrangements = {op: strategy for ops, strategy in zip(kinds, best, strict=True) for op in ops}
    for i, ops in enumerate(kinds):
        offers = [(strategy, costs[choice]) for strategy in STRATEGIES if (choice := (*best[:i], strategy, *best[i + 1 :])) in costs]
        chosen(ops[0].loc, [(strategy, priced(cost), a.target.weight(cost)) for strategy, cost in offers], [s for s, _ in offers].index(best[i]))


TOGETHER = 3  # products of which every combination is tried


def accumulator(a: AssignLayouts, op: Dot, acc: Value) -> Any:
    """What tells apart products that add to different accumulators: the first that adds to it, or the loop's value that it is."""
    while isinstance(acc.owner, Dot):
        op, acc = acc.owner, acc.owner.acc
    loop: Any = acc.owner
    if isinstance(loop, For | While):
        return loop.body.args[loop.results.index(acc) - len(loop.results)]
    return acc if acc in a.carried_from else op


def assessed(a: AssignLayouts, arrangements: dict[Dot, str]) -> Cost:
    """What exchanges between threads and loads of operands take if products are arranged so, by where tiles will lie."""
    a.arrangements = arrangements
    with a.foreseeing():
        return of_block(a, a.function.body)


def of_block(a: AssignLayouts, block: Block) -> Cost:
    total = Cost()
    for op in block.ops:
        for region in op.regions:
            total += of_block(a, region) * (ROUNDS if isinstance(op, For | While) else 1)
        if isinstance(op, Dot):
            total += fetches(a, op)
        elif isinstance(op, Reduce):
            given = a.lies(op.x)
            total += a.target.reduction(TileType(op.x.type.dtype, op.x.type.shape, given), op.axes) if given else Cost()
        elif isinstance(op, Elementwise) and op.results[0].type.shape:
            wanted = a.lies(op.results[0])
            total += sum((conversion(a, v, wanted) for v in op.operands), Cost()) if wanted else Cost()
    return total


def conversion(a: AssignLayouts, value: Value, wanted: Layout) -> Cost:
    """What it takes to bring a tile, or the one that it is a broadcast of, to where it is wanted."""
    if isinstance(value.owner, Broadcast | Reshape | Transpose) and value.owner.x.type.shape and a.lies(value) is None:
        handed = ahead_of(value.owner, wanted)
        return conversion(a, value.owner.x, handed) if handed else Cost()
    given = a.lies(value)
    return a.conversion(value, given, wanted) if given else Cost()


def fetches(a: AssignLayouts, op: Dot) -> Cost:
    """What it takes to have a product's operands where it wants them."""
    made = plan(a, op)
    if isinstance(made, Refused):
        return Cost()
    return sum((fetched(a, v, layout) for v, layout in zip((op.a, op.b, op.acc), made.layouts, strict=True)), Cost())


def fetched(a: AssignLayouts, value: Value, layout: Layout) -> Cost:
    """What it takes to have an operand in a layout: converted, unpacked, or read from shared memory."""
    if a.packed and (source(value) or source(value, turned=True)):
        return a.target.unpacking(TileType(value.type.dtype, value.type.shape, layout))
    given = a.lies(value)
    return a.conversion(value, given, layout) if given else Cost() if a.is_free(value) else a.read(value, layout)


def ahead(a: AssignLayouts, op: Dot, value: Value, layout: Layout) -> Cost:
    """What becomes of an operand that lies so."""
    made = plan(a, op)
    if isinstance(made, Refused):
        return Cost()
    wanted = [w for v, w in zip((op.a, op.b, op.acc), made.layouts, strict=True) if v is value]
    return sum((a.conversion(value, layout, w) for w in wanted), a.after(op.result, made.layouts[2]))


def fixed(a: AssignLayouts, op: Dot) -> Iterator[Fix]:
    """The layouts that a product wants, as it is arranged."""
    made = plan(a, op)
    if not isinstance(made, Refused):
        for name, value, layout in zip(("left operand", "right operand", "accumulator"), (op.a, op.b, op.acc), made.layouts, strict=True):
            if not a.is_free(value):
                yield Fix(op, value, layout, f"the product wants its {name} as its matrix instruction has it")
        yield Fix(op, op.result, made.layouts[2], "the product wants its operands, and gives its result, as its matrix instruction has them")


RULES[Dot] = dot
FIXES[Dot] = fixed
WISHES[Dot] = wish
LIES[Dot] = lying
AHEAD[Dot] = ahead
ARRANGE.append(arrange)
