"""Reductions and scans by any associative function, and sorting.

    %i, %j = fold (%x, %y) axis=1 { ^(%a: f32, %b: i32, %c: f32, %d: i32): ... yield %e, %f }
    %z = scan (%x,) axis=0 { ... }

The region takes two groups of scalars, the earlier elements' first, and yields one: ops on elements and constants, nothing from outside.
Floating results may be grouped in any way, but the order of the elements is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilec.errors import Code, require
from tilec.ir.core import Block, Builder, Op, Value, Yield
from tilec.ir.dtypes import DType, i16, i32, i64
from tilec.ir.layout import Layout
from tilec.ir.ops.arith import Add, And, Cast, Eq, Gt, Lt, Maximum, Minimum, Mul, Ne, Not, Or, Shl, Shr, Where, Xor
from tilec.ir.ops.base import Constant, Elementwise, Placed, broadcast, constant, describe, show, tile
from tilec.ir.ops.functions import Bitcast
from tilec.ir.ops.pieces import Concatenate, Flip, along, one_axis, sliced
from tilec.ir.ops.shape import Arange, Reshape
from tilec.ir.types import TileType

Arrays = tuple[Any, ...]
Function = Callable[..., Any]  # (b, *scalars) -> a scalar or a tuple of them

NAMED: dict[str, tuple[type[Any], Callable[[DType], Any]]] = {  # by name the op, and the number that changes nothing
    "add": (Add, lambda t: 0),
    "mul": (Mul, lambda t: 1),
    "max": (Maximum, lambda t: -np.inf if t.is_float else int(t.min)),
    "min": (Minimum, lambda t: np.inf if t.is_float else int(t.max)),
    "and": (And, lambda t: t.is_bool or -1 if not t.is_int or t.is_signed else int(t.max)),
    "or": (Or, lambda t: False if t.is_bool else 0),
    "xor": (Xor, lambda t: False if t.is_bool else 0),
}


class Combining(Op, abstract=True):
    """Tiles of one shape, combined along an axis by the region."""

    xs: tuple[Value, ...]
    axis: int
    body: Block

    isolated = True

    def check(self) -> None:
        first, *rest = [tile(x) for x in self.xs]
        require(0 <= self.axis < first.rank, f"{describe(first)} has no axis {self.axis}", code=Code.AXIS)
        for other in rest:
            require(other.shape == first.shape, f"tiles of shapes {show(first.shape)} and {show(other.shape)} are not combined", code=Code.SHAPES)
        wanted = [TileType(x.type.dtype) for x in self.xs]
        require([a.type for a in self.body.args] == wanted * 2, "the function takes other values than it is given", code=Code.COMBINE)
        for op in self.body.ops:
            plain = isinstance(op, Elementwise | Constant | Yield)
            require(plain, "the function may compute with numbers only", hint="no memory, loops or branches: tc.where chooses", code=Code.COMBINE)
        given = [v.type for v in self.body.yielded]
        require(
            given == wanted,
            f"the function gives {show([describe(t) for t in given])}, but combines {show([describe(t) for t in wanted])}",
            hint="convert inside the function, as in tc.cast(z, i32)",
            code=Code.COMBINE,
        )

    def eval(self, ctx: Any, *xs: Any) -> Any:
        return self.along(ctx, xs, rounds=True)

    def unrounded(self, ctx: Any, *xs: Any) -> Any:
        return self.along(ctx, xs, rounds=False)

    def along(self, ctx: Any, xs: Sequence[Any], rounds: bool) -> Any:
        """The results for whole tiles; `rounds` says whether each op of the region rounds to its type."""
        raise NotImplementedError

    def combine(self, ctx: Any, x: Arrays, y: Arrays, rounds: bool) -> Arrays | None:
        """The region on arrays; None if it is not to round and can't do without."""
        known: dict[Value, Any] = dict(zip(self.body.args, (*x, *y), strict=True))
        for op in self.body.ops[:-1]:
            operands, dtype = [known[v] for v in op.operands], op.result.type.dtype
            made = op.eval(ctx, *operands) if rounds else op.unrounded(ctx, *operands)
            if made is None:
                return None
            known[op.result] = dtype.round(made) if rounds and dtype.computes and not dtype.is_bool else made
        return tuple(np.broadcast_to(known[v], np.broadcast_shapes(known[v].shape, x[0].shape)) for v in self.body.yielded)

    def steps(self, xs: Sequence[Any]) -> list[Arrays]:
        """The elements along the axis, one after another."""
        blocks = max(map(len, xs))
        moved = [np.moveaxis(np.broadcast_to(x, (blocks, *x.shape[1:])), self.axis + 1, 0) for x in xs]
        return list(zip(*moved, strict=True))


class Fold(Combining):
    """All elements along an axis combined to one, for several tiles at once."""

    def infer(self) -> tuple[TileType, ...]:
        self.check()
        return tuple(TileType(t.dtype, tuple(n for a, n in enumerate(t.shape) if a != self.axis), None, t.group) for t in (x.type for x in self.xs))

    def along(self, ctx: Any, xs: Sequence[Any], rounds: bool) -> Any:
        total, *rest = self.steps(xs)
        for x in rest:
            combined = self.combine(ctx, total, x, rounds)
            if combined is None:
                return None
            total = combined
        return total if len(self.results) != 1 else total[0]


class Scan(Combining):
    """Each element combined with all before it; if `exclusive`, those before it alone, and the first is `first`."""

    exclusive: bool = False
    first: tuple[Any, ...] = ()  # the numbers that stand for nothing

    def infer(self) -> tuple[TileType, ...]:
        self.check()
        require(not self.exclusive or len(self.first) == len(self.xs), "an exclusive scan needs a first value")
        return tuple(x.type.logical() for x in self.xs)

    def along(self, ctx: Any, xs: Sequence[Any], rounds: bool) -> Any:
        steps = self.steps(xs)
        found = [steps[0]]
        for x in steps[1:]:
            combined = self.combine(ctx, found[-1], x, rounds)
            if combined is None:
                return None
            found.append(combined)
        if self.exclusive:
            found = [tuple(np.full_like(x, n) for x, n in zip(steps[0], self.first, strict=True)), *found[:-1]]
        stacked = tuple(np.moveaxis(np.stack(parts), 0, self.axis + 1) for parts in zip(*found, strict=True))
        return stacked if len(stacked) != 1 else stacked[0]


def region(b: Builder, types: Sequence[DType], combine: Function | str) -> Block:
    """The region of a function of 2 n scalars, or of one of the named ops."""
    body = Block(tuple(Value(TileType(t), f"{side}{i}") for side in "xy" for i, t in enumerate(types)))
    inner = b.inside(body)
    if isinstance(combine, str):
        require(
            combine in NAMED, f"{combine!r} names no operation", hint=f"there are {', '.join(NAMED)}; or give a function of @tc.function", code=Code.COMBINE
        )
        found = NAMED[combine][0].build(inner, *body.args)
    else:
        found = combine(inner, *body.args)
    results = found if isinstance(found, tuple) else (found,)
    require(
        len(results) == len(types),
        f"the function gives {len(results)} values, but combines {len(types)}",
        hint="it returns one value for each tile that it combines",
        code=Code.COMBINE,
    )
    values = [r if isinstance(r, Value) else constant(inner, r, t) for r, t in zip(results, types, strict=True)]
    inner.insert(Yield(tuple(values)))
    return body


def tiles_of(x: Any) -> tuple[Value, ...]:
    """One tile or several."""
    xs = tuple(x) if isinstance(x, tuple | list) else (x,)
    require(len(xs) > 0, "there is no tile to combine", code=Code.NOT_A_TILE)
    for v in xs:
        require(tile(v).shape, f"{describe(v.type)} has no axis", hint="this is for tiles", code=Code.AXIS)
    return xs


def flattened(b: Builder, x: Value, axis: int | None) -> tuple[Value, int]:
    """The tile and the axis; without an axis all elements in one row."""
    if axis is not None:
        return x, one_axis(axis, tile(x).rank)
    return (x if tile(x).rank == 1 else Reshape.build(b, x, [-1])), 0


LONG, ROWS = 512, 8  # a row of at least so many elements is cut into so many, for the warps to share


def is_long(x: Value, axis: int) -> bool:
    """Whether a tile is one row that is worth cutting up."""
    extent = x.type.shape[axis]
    return x.type.size == extent >= LONG and extent % ROWS == 0


def cut_up(b: Builder, xs: Sequence[Value]) -> tuple[Value, ...]:
    return tuple(Reshape.build(b, x, [ROWS, -1]) for x in xs)


def fold(b: Builder, xs: Sequence[Value], combine: Function | str, axis: int | None) -> tuple[Value, ...]:
    flat = [flattened(b, x, axis) for x in xs]
    values, at = tuple(x for x, _ in flat), flat[0][1]
    types = [x.type.dtype for x in xs]
    if not is_long(values[0], at):
        return b.insert(Fold(values, at, region(b, types, combine)))
    parts = b.insert(Fold(cut_up(b, values), 1, region(b, types, combine)))
    left = (1,) * (values[0].type.rank - 1)
    return tuple(b.emit(Reshape(x, left)) if left else x for x in b.insert(Fold(parts, 0, region(b, types, combine))))


def scan(b: Builder, xs: tuple[Value, ...], combine: Function | str, axis: int, first: tuple[Any, ...] | None) -> tuple[Value, ...]:
    """Inclusive without `first`. A long row is scanned in parts, then each part gets what all before it come to."""
    types = [x.type.dtype for x in xs]

    def simple(xs: tuple[Value, ...], axis: int, first: tuple[Any, ...] | None) -> tuple[Value, ...]:
        return b.insert(Scan(first is not None, first or (), xs=xs, axis=axis, body=region(b, types, combine)))

    if not is_long(xs[0], axis):
        return simple(xs, axis, first)
    rows = cut_up(b, xs)
    parts = simple(rows, 1, first)
    before = simple(b.insert(Fold(rows, 1, region(b, types, combine))), 0, None)
    later = Gt.build(b, Reshape.build(b, b.emit(Arange(0, ROWS, i32)), [ROWS, 1]), 0)
    shifted = [Concatenate.build(b, [sliced(b, t, [0], [1], [1]), sliced(b, t, [0], [1], [ROWS - 1])], 0) for t in before]
    wide = [broadcast(b, Reshape.build(b, t, [ROWS, 1]), p.type.shape) for t, p in zip(shifted, parts, strict=True)]
    given = NAMED[combine][0].build(b, *wide, *parts) if isinstance(combine, str) else combine(b, *wide, *parts)
    joined = given if isinstance(given, tuple) else (given,)
    return tuple(Reshape.build(b, Where.build(b, later, j, p), xs[0].type.shape) for j, p in zip(joined, parts, strict=True))


class ReduceBy(Op, abstract=True):
    """All elements along `axis` (of all, without one) combined by an associative function: f(x, y), with x of earlier elements.

    `combine` is a function of @tc.function or "add", "mul", "max", "min", "and", "or", "xor". Several tiles, as a tuple, are combined
    together: f(x0, x1, y0, y1) gives a tuple of two.

    Example:
        r = tc.reduce(n, "max", axis=1)  # = np.max(n, axis=1)
        tc.reduce(n, "plus")             # error: 'plus' names no operation
    """

    builtin = "reduce"

    @classmethod
    def build(cls, b: Builder, x: Value | Sequence[Value], combine: Function | str, axis: int | None = None) -> Any:
        results = fold(b, tiles_of(x), combine, axis)
        return results if isinstance(x, tuple | list) else results[0]


class ScanBy(Op, abstract=True):
    """Each element along `axis` combined with all before it, by an associative function f(x, y), with x of earlier elements.

    `combine` is as for `tc.reduce`. If `exclusive`, each gets what is before it alone, and the first gets `first`, a number for each tile
    that changes nothing (known for the named operations). If `reverse`, the scan begins at the end.

    Example:
        r = tc.scan(n, "xor")  # = np.bitwise_xor.accumulate(n, axis=1)
        tc.scan(n, "plus")     # error: 'plus' names no operation
    """

    builtin = "scan"

    @classmethod
    def build(
        cls,
        b: Builder,
        x: Value | Sequence[Value],
        combine: Function | str,
        axis: int = -1,
        *,
        exclusive: bool = False,
        reverse: bool = False,
        first: int | float | bool | Sequence[Any] | None = None,
    ) -> Any:
        xs = tiles_of(x)
        at = one_axis(axis, xs[0].type.rank)
        start: tuple[Any, ...] = ()
        if exclusive:
            if first is None and isinstance(combine, str) and combine in NAMED:
                first = NAMED[combine][1](xs[0].type.dtype)
            require(first is not None, "an exclusive scan by a function needs the value that comes first", hint="as in first=0.0", code=Code.ARGUMENTS)
            start = tuple(first) if isinstance(first, tuple | list) else (first,)
            require(len(start) == len(xs), f"{len(start)} first values are given for {len(xs)} tiles", code=Code.ARGUMENTS)
            start = tuple(constant(b, n, v.type.dtype).owner.value for n, v in zip(start, xs, strict=True))  # type: ignore[union-attr]
        given = tuple(Flip.build(b, v, at) for v in xs) if reverse else xs
        results = scan(b, given, combine, at, start if exclusive else None)
        if reverse:
            results = tuple(Flip.build(b, v, at) for v in results)
        return results if isinstance(x, tuple | list) else results[0]


class Named(Op, abstract=True):
    """What the scans by name share."""

    name: str

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Value:
        return ScanBy.build(b, x, cls.name, axis, exclusive=exclusive, reverse=reverse)


class CumSum(Named, abstract=True):
    """The sum of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cumsum(x)  # = np.cumsum(x, axis=-1)
        tc.cumsum(s)      # error: f32 has no axis
    """

    builtin = "cumsum"
    name = "add"


class CumProd(Named, abstract=True):
    """The product of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cumprod(m[:, :4])  # = np.cumprod(m[:, :4], axis=-1)
        tc.cumprod(s)             # error: f32 has no axis
    """

    builtin = "cumprod"
    name = "mul"


class CumMax(Named, abstract=True):
    """The largest of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cummax(x)      # = np.maximum.accumulate(x, axis=-1)
        tc.cummax(x, axis=2)  # error: axis 2 is out of range for a tile with 2 axes
    """

    builtin = "cummax"
    name = "max"


class CumMin(Named, abstract=True):
    """The smallest of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cummin(x)      # = np.minimum.accumulate(x, axis=-1)
        tc.cummin(x, axis=2)  # error: axis 2 is out of range for a tile with 2 axes
    """

    builtin = "cummin"
    name = "min"


def place_of_best(b: Builder, x: Value, axis: int | None, better: type[Any]) -> Value:
    """The place of the best element along an axis: NaN is better than all, and of equal ones the first stays."""

    def combine(b: Builder, x: Value, i: Value, y: Value, j: Value) -> tuple[Value, Value]:
        other = better.build(b, y, x)
        if x.type.dtype.is_float:
            other = Or.build(b, other, And.build(b, Ne.build(b, y, y), Eq.build(b, x, x)))
        return Where.build(b, other, y, x), Where.build(b, other, j, i)

    require(not tile(x).dtype.is_bool, "bools have no best one", hint="cast them to i32 first", code=Code.UNDEFINED)
    x, at = flattened(b, x, axis)
    places = b.emit(Arange(0, x.type.shape[at], i32))
    row = b.emit(Reshape(places, tuple(n if a == at else 1 for a, n in enumerate(x.type.shape))))
    return fold(b, (x, broadcast(b, row, x.type.shape)), combine, at)[1]


class ArgMax(Op, abstract=True):
    """The place (i32) of the largest element along `axis`, or among all in one row; the first of equals; NaN counts as the largest.

    Example:
        r = tc.argmax(x, axis=1)  # = np.argmax(x, axis=1)
        tc.argmax(p)              # error: bools have no best one
    """

    builtin = "argmax"

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int | None = None) -> Value:
        return place_of_best(b, x, axis, Gt)


class ArgMin(Op, abstract=True):
    """The place (i32) of the smallest element along `axis`, or among all in one row; the first of equals; NaN counts as the smallest.

    Example:
        r = tc.argmin(x, axis=1)  # = np.argmin(x, axis=1)
        tc.argmin(p)              # error: bools have no best one
    """

    builtin = "argmin"

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int | None = None) -> Value:
        return place_of_best(b, x, axis, Lt)


# Sorting


class Sorted(Op):
    """The integers along an axis in rising order. Once it has a layout, a row lies in runs of `run` registers in the lowest `lanes` lanes."""

    x: Value
    axis: int
    lanes: int = 0
    run: int = 0

    def infer(self) -> TileType:
        given = tile(self.x)
        require(
            given.dtype.is_int and given.dtype.computes and 0 <= self.axis < given.rank,
            f"{describe(given)} is not sorted along axis {self.axis}",
            code=Code.UNDEFINED,
        )
        return given

    def eval(self, ctx: Any, x: Any) -> Any:
        return np.sort(x, axis=self.axis + 1)


def key_of(b: Builder, x: Value) -> Value:
    """Integers in the order of x: a float's bits, those below the sign inverted for negative ones; NaN is the largest."""
    dtype = tile(x).dtype
    require(dtype.computes and not dtype.is_bool, f"{describe(x.type)} is not sorted", hint="convert it first, as in tc.cast(x, i32)", code=Code.UNDEFINED)
    if dtype.is_int:
        return x
    whole = {16: i16, 32: i32, 64: i64}[dtype.bits]
    return Where.build(b, Eq.build(b, x, x), mirrored(b, Bitcast.build(b, x, whole)), int(whole.max))


def mirrored(b: Builder, key: Value) -> Value:
    """Bits of floats to integers of their order, and back: its own inverse."""
    dtype = key.type.dtype
    return Xor.build(b, key, And.build(b, Shr.build(b, key, dtype.bits - 1), int(dtype.max)))


def value_of(b: Builder, key: Value, dtype: DType) -> Value:
    """What `key_of` took; every NaN comes back as the one of positive sign."""
    return key if dtype.is_int else Bitcast.build(b, mirrored(b, key), dtype)


class Sort(Op, abstract=True):
    """The elements along `axis` in rising order, NaN last (as numpy.sort); in falling order, NaN first, if `descending`.

    Example:
        r = tc.sort(x)  # = np.sort(x)
        tc.sort(p)      # error: bool[8, 16] is not sorted
    """

    builtin = "sort"

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int = -1, *, descending: bool = False) -> Value:
        key = key_of(b, x)
        key = b.emit(Sorted(turned(b, key, descending), one_axis(axis, key.type.rank)))
        return value_of(b, turned(b, key, descending), x.type.dtype)


def turned(b: Builder, key: Value, descending: bool) -> Value:
    return b.emit(Not(key)) if descending else key


def ranked(b: Builder, x: Value, axis: int, descending: bool) -> Value:
    """Integers i64, sorted: the order of x in the high 32 bits, the place of each element in the low ones."""
    if tile(x).dtype.is_float:
        x = Add.build(b, x, 0)  # -0 and 0 are equal
    key = key_of(b, x)
    require(key.type.dtype.bits <= 32, f"places of {x.type.dtype} are not sorted", hint="types of up to 32 bits are", code=Code.UNDEFINED)
    places = b.emit(Arange(0, x.type.shape[axis], i64))
    row = b.emit(Reshape(places, tuple(n if a == axis else 1 for a, n in enumerate(x.type.shape))))
    return b.emit(Sorted(Or.build(b, Shl.build(b, Cast.build(b, turned(b, Cast.build(b, key, i64), descending), i64), 32), row), axis))


class ArgSort(Op, abstract=True):
    """The places (i32) of the elements along `axis` in rising order, or falling if `descending`; equal ones stay in order.

    Example:
        r = tc.argsort(n)   # = np.argsort(n, kind="stable")
        tc.argsort(i64(n))  # error: places of i64 are not sorted
    """

    builtin = "argsort"

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int = -1, *, descending: bool = False) -> Value:
        return Cast.build(b, ranked(b, x, one_axis(axis, tile(x).rank), descending), i32)


class TopK(Op, abstract=True):
    """The k largest elements along `axis` in falling order, and their places (i32): `(values, places)`. Of equals the first; NaN counts as
    the largest.

    Example:
        values, places = tc.topk(n, 3)  # = (-np.sort(-n)[:, :3], np.argsort(-n, kind="stable")[:, :3])
        tc.topk(n, 17)                  # error: the 17 largest of 16 elements are wanted
    """

    builtin = "topk"

    @classmethod
    def build(cls, b: Builder, x: Value, k: int, axis: int = -1) -> tuple[Value, Value]:
        at = one_axis(axis, tile(x).rank)
        require(0 < k <= x.type.shape[at], f"the {k} largest of {x.type.shape[at]} elements are wanted", hint=f"k is 1 to {x.type.shape[at]}", code=Code.COUNT)
        best = ranked(b, x, at, True)
        best = sliced(b, best, *along(best, at, 0, k))
        dtype = x.type.dtype
        whole = dtype if dtype.is_int else {16: i16, 32: i32}[dtype.bits]
        key = Cast.build(b, b.emit(Not(Shr.build(b, best, 32))), whole)
        return value_of(b, key, dtype), Cast.build(b, best, i32)


# What lowering makes of them: each thread's registers under other types


class Padded(Placed):
    """The tile with its layout's padding, whose elements are undefined, as one of the layout's whole shape."""

    x: Value
    raw = True

    def infer(self) -> TileType:
        given = tile(self.x)
        require(given.layout is not None, "padded needs a layout", code=Code.MALFORMED)
        return self.placed(given.dtype, given.layout.shape)  # type: ignore[union-attr]

    def eval(self, ctx: Any, x: Any) -> Any:
        return x


class Agreed(Op):
    """One of the elements along an axis, which are all the same, each held by one lane."""

    x: Value
    axis: int
    raw = True

    def infer(self) -> TileType:
        given = tile(self.x)
        require(given.layout is not None, "agreed needs a layout", code=Code.MALFORMED)
        shape = tuple(n for a, n in enumerate(given.shape) if a != self.axis)
        layout: Layout = given.layout.reduce(self.axis)  # type: ignore[union-attr]
        return TileType(given.dtype, shape, layout if shape else None, given.group)

    def eval(self, ctx: Any, x: Any) -> Any:
        return x if self.result.type.shape else x[:, 0, 0]


class Butterfly(Op):
    """What the lane holds whose number differs by `mask`, register by register."""

    x: Value
    mask: int
    raw = True

    def infer(self) -> TileType:
        require(tile(self.x).layout is not None, "butterfly needs a layout", code=Code.MALFORMED)
        return tile(self.x)

    def eval(self, ctx: Any, x: Any) -> Any:
        return x[:, np.arange(x.shape[1]) ^ self.mask]


