"""Each weight has its scale: what a kernel takes for granted of the two tensors' shapes becomes an assumption.

    weights = load %w, [%k, %j] shape=[128, 64]            launch {
    %g = floor_div %k, 64                                    %n = floor_div (%K + 63), 64
    scales = load %scales, [%g, %j] shape=[2, 64]      ->    assume (%n <= %G) text="(K + 63) // 64 <= G"
    dequantize %weights, (repeat of scales, 64)            }

as over the edge of `scales` a load reads 0, and a product with weights that are all 0 would be silently wrong. Weights are what is loaded in at
most 8 bits; what they are multiplied by, and zero points, are their scales. It concerns rows that a loop runs through to the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tilec.errors import Code, Loc, TileError
from tilec.ir.core import Block, Builder, Function, Op, Rewriter, Value
from tilec.ir.dtypes import i32
from tilec.ir.ops.arith import Add, Cast, FloorDiv, Le, Minimum, Mul, Shr, Sub
from tilec.ir.ops.base import Broadcast, Constant, Elementwise, constant
from tilec.ir.ops.control import Assume, For
from tilec.ir.ops.memory import Load
from tilec.ir.ops.shape import ConvertLayout, Reshape
from tilec.ir.ops.weights import Dequantize
from tilec.ir.types import TensorType

Extent = int | str


class Pair(NamedTuple):
    """`rows` rows of weights share a row of scales: the tensors' names and extents along an axis."""

    weights: str
    scales: str
    of: Extent
    extent: Extent
    rows: int
    loc: Loc | None

    @property
    def hint(self) -> str:
        """The remedy if there are too few."""
        return f"{self.scales} wants a row for each {f'{self.rows} rows' if self.rows > 1 else 'row'} of {self.weights}"


def assume_scales(function: Function) -> Function:
    """The function with an assumption for each tensor of scales whose extent is another than the weights'. Raises TileError where both are known
    and the scales are too few."""
    open_ = [p for p in dict.fromkeys(pairs(function)) if not _known(p)]
    if not open_:
        return function
    made = Rewriter().run(function)
    *before, grid = made.launch.ops
    launch = Block(made.launch.args, before)
    for pair in open_:
        b = Builder(launch, pair.loc)
        of, extent = (made.param(n) if isinstance(n, str) else constant(b, n, i32) for n in (pair.of, pair.extent))
        more = pair.rows - 1
        wanted = b.emit(FloorDiv(b.emit(Add(of, constant(b, more, i32))), constant(b, pair.rows, i32))) if more else of
        text = f"({pair.of} + {more}) // {pair.rows}" if more else f"{pair.of}"
        b.insert(Assume(b.emit(Le(wanted, extent)), f"{text} <= {pair.extent}", pair.hint))
    launch.ops.append(grid)
    return Function(made.name, made.params, launch, made.body, made.warps, made.constants, made.loc)


def _known(pair: Pair) -> bool:
    """Whether there are enough scales, known already."""
    if not (isinstance(pair.of, int) and isinstance(pair.extent, int)):
        return pair.of == pair.extent
    if -(-pair.of // pair.rows) > pair.extent:
        message = f"{pair.scales} has {pair.extent} rows, too few for the {pair.of} rows of {pair.weights}"
        raise TileError(message, hint=pair.hint, loc=pair.loc, code=Code.ASSUMPTION)
    return True


def pairs(function: Function) -> Iterator[Pair]:
    """Weights and what they are scaled by."""
    counters = {op.body.args[0]: op for op in function.walk() if isinstance(op, For)}
    for op in function.walk():
        scaled = [(op.x, v) for v in (op.scale, *op.zero)] if isinstance(op, Dequantize) else []
        scaled += [(op.x, op.y), (op.y, op.x)] if isinstance(op, Mul | Sub) else []
        for x, by in scaled:
            weights = _weights(x)
            if weights is not None:
                for scales in _loads(by):
                    yield from _rows(weights, scales, counters, op.loc)


def _weights(value: Value) -> Load | None:
    """The load of weights that a value is made of, converted, their zero points subtracted."""
    op = value.owner
    if isinstance(op, Cast | ConvertLayout):
        return _weights(op.x)
    if isinstance(op, Sub) and isinstance(op.x.owner, Cast):
        return _weights(op.x)
    return op if isinstance(op, Load) and op.memory.type.dtype.bits <= 8 and isinstance(op.memory.type, TensorType) else None


def _loads(value: Value) -> Iterator[Load]:
    """The loads of a tile that is repeated, converted or computed element by element."""
    op = value.owner
    if isinstance(op, Load):
        yield op
    elif isinstance(op, Elementwise | Broadcast | Reshape | ConvertLayout):
        for v in op.operands:
            yield from _loads(v)


def _rows(weights: Load, scales: Load, counters: dict[Value, For], loc: Loc | None) -> Iterator[Pair]:
    """Along each axis of the weights that a loop runs through."""
    for axis, k in enumerate(weights.offsets):
        of = weights.memory.type.shape[axis]
        if k not in counters or not _ends_at(counters[k].stop, of):
            continue
        for other, at in enumerate(scales.offsets):
            rows, tile, few = _quotient(at, k), _size(weights, axis), _size(scales, other)
            if rows and (rows * few == tile or (few == 1 and rows % tile == 0)):
                yield Pair(weights.memory.name, scales.memory.name, of, scales.memory.type.shape[other], rows, loc)


def _ends_at(stop: Value, extent: Extent) -> bool:
    """Whether a loop's end is an extent, or its least and something else."""
    op = stop.owner
    if isinstance(op, Minimum):
        return _ends_at(op.x, extent) or _ends_at(op.y, extent)
    return op.value == extent if isinstance(op, Constant) else stop.name == extent and not isinstance(op, Op)


def _quotient(at: Value, k: Value) -> int:
    """n where `at` is k // n; 0 if it is no such."""
    op = at.owner
    if at is k:
        return 1
    if isinstance(op, FloorDiv | Shr) and op.x is k and isinstance(op.y.owner, Constant):
        n = int(op.y.owner.value)
        return n if isinstance(op, FloorDiv) and n > 0 else 1 << n if isinstance(op, Shr) and n >= 0 else 0
    return 0


def _size(load: Load, axis: int) -> int:
    """How many elements a load takes along an axis of its tensor."""
    return load.shape[load.dims.index(axis)] if axis in load.dims else 1
