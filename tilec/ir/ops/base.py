"""What op families share: elementwise classes, ops that choose a layout, and the coercions behind the builtins.

A class method `build(b, ...)` is the op as authors write it: it takes tiles and Python numbers, brings them to one type and shape,
and emits. Its signature and docstring are the builtin's. Ops without a `build` of their own get one derived from their fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Kind, Op, Value
from tilec.ir.dtypes import DType, f32, i32
from tilec.ir.types import TensorType, TileType, Warps

Operand = Value | int | float | bool  # what authors may pass where a tile is wanted
Index = Value | int


class Placed(Op, abstract=True):
    """An op whose result may lie in any layout: inference fills `layout` in; `group` is the warps that hold the result."""

    layout: Any = None  # Layout | None
    group: Warps | None = None

    def placed(self, dtype: DType, shape: Sequence[int]) -> TileType:
        if self.layout is not None:
            covered = len(shape) == self.layout.rank and all(n <= most for n, most in zip(shape, self.layout.shape, strict=True))
            said = f"a layout of shape {show(self.layout.shape)} does not cover a tile of shape {show(shape)}"
            hint = f".cover({tuple(shape)}) of it does, by more registers" if len(shape) == self.layout.rank else None
            require(covered, said, hint=hint, code=Code.LAYOUT_FITS)
        return TileType(dtype, tuple(shape), self.layout, self.group)


class Elementwise(Op, abstract=True):
    """Computes each element of its result from the same elements of its operands, which share shape and layout."""

    def infer(self) -> TileType:
        first, *rest = [v.type for v in self.operands]
        for other in rest:
            if (other.shape, other.layout, other.group) == (first.shape, first.layout, first.group):
                continue
            require(other.shape == first.shape, f"shapes {show(first.shape)} and {show(other.shape)} differ")
            require(other.layout == first.layout, f"layouts {first.layout} and {other.layout} differ", code=Code.LAYOUT_FITS)
            require(other.group == first.group, "the operands are held by different warps", code=Code.WARPS)
        return first.of(self.element(*[v.type.dtype for v in self.operands]))

    def element(self, *types: DType) -> DType:
        """The element type of the result, by default that of operands which all compute in one type."""
        return same_type(*types)

    @classmethod
    def build(cls, b: Builder, *operands: Operand) -> Value:
        return b.emit(cls(*match(b, *operands)))


class Unary(Elementwise, abstract=True):
    x: Value

    @classmethod
    def build(cls, b: Builder, x: Operand) -> Value:  # type: ignore[override]
        return b.emit(cls(*match(b, x)))


class Binary(Elementwise, abstract=True):
    x: Value
    y: Value

    symbol: ClassVar[str] = ""  # the Python operator

    @classmethod
    def build(cls, b: Builder, x: Operand, y: Operand) -> Value:  # type: ignore[override]
        for v in (x, y):
            if isinstance(v, Value) and isinstance(v.type, TileType) and not v.type.dtype.computes:
                same_type(f32, v.type.dtype)  # says that it does not compute
        return b.emit(cls(*match(b, x, y)))


class Constant(Placed):
    """A tile (or scalar) whose elements all are one number known at compile time."""

    value: int | float | bool
    dtype: DType
    shape: tuple[int, ...] = ()

    def infer(self) -> TileType:
        representable(self.value, self.dtype)
        return self.placed(self.dtype, self.shape)

    def eval(self, ctx: Any) -> Any:
        return np.full((1, *self.shape), self.value, self.dtype.carrier)


class Broadcast(Placed):
    """Repeats a tile or scalar along new or size-1 axes, by NumPy's rule."""

    x: Value
    shape: tuple[int, ...]

    def infer(self) -> TileType:
        given = self.x.type.shape
        padded = (1,) * (len(self.shape) - len(given)) + given
        fits = len(given) <= len(self.shape) and all(a in (1, n) for a, n in zip(padded, self.shape, strict=True))
        require(
            fits,
            f"a tile of shape {show(given)} does not broadcast to {show(self.shape)}",
            hint="extents are equal or 1, from the last axis on: x[:, None] adds an axis",
        )
        return self.placed(self.x.type.dtype, self.shape)

    def eval(self, ctx: Any, x: Any) -> Any:
        blocks, *given = x.shape
        return np.broadcast_to(x.reshape(blocks, *[1] * (len(self.shape) - len(given)), *given), (blocks, *self.shape))


# coercions


def show(shape: Sequence[Any]) -> str:
    """A shape as authors write it."""
    return "[" + ", ".join(map(str, shape)) + "]"


def describe(type: Any) -> str:
    """A type in a message: 'f16[64, 64]', without its layout."""
    return str(type.logical() if isinstance(type, TileType) else type)


def same_type(*types: DType) -> DType:
    """The one computing type of all operands."""
    first = types[0]
    for other in types:
        if not other.computes:
            raise TileError(f"{other} is a storage type and does not compute", hint="convert it first, as in tc.cast(x, f16)", code=Code.STORAGE)
        if other != first:
            raise TileError(
                f"operands of types {first} and {other} do not mix", hint=f"convert one, as in tc.cast(x, {wider(first, other)})", code=Code.TYPES_MIX
            )
    return first


def wider(a: DType, b: DType) -> DType:
    """The type that an error proposes: the floating one, else the one with more bits."""
    return max(a, b, key=lambda t: (t.is_float, t.bits))


def representable(number: Any, dtype: DType) -> None:
    """Refuse a Python number that is not a value of the type (floats are rounded, integers must be exact)."""
    if dtype.is_bool:
        require(isinstance(number, bool), f"{number!r} is not a bool", hint="compare it, as in x != 0", code=Code.NUMBER)
    elif dtype.is_int:
        whole = isinstance(number, int) or (isinstance(number, float) and math.isfinite(number) and number == int(number))
        require(whole, f"{number!r} is not an integer, but {dtype} is wanted", hint="cast the tile to a floating type first", code=Code.NUMBER)
        require(
            dtype.min <= number <= dtype.max,
            f"{number!r} does not fit {dtype} ({int(dtype.min)} to {int(dtype.max)})",
            hint="cast the tile to a wider type first, as in tc.cast(x, i64)",
            code=Code.NUMBER,
        )
    else:
        require(isinstance(number, int | float), f"{number!r} is not a number", code=Code.NUMBER)


def constant(b: Builder, number: Any, dtype: DType, shape: Sequence[int] = ()) -> Value:
    """Emit a constant; a float that is whole becomes an int where the type is an integer."""
    representable(number, dtype)
    number = bool(number) if dtype.is_bool else int(number) if dtype.is_int else float(number)
    return b.emit(Constant(number, dtype, tuple(shape)))


def tile(x: Any) -> TileType:
    """The tile type of an operand; an error if it is no tile."""
    if isinstance(x, Value) and isinstance(x.type, TileType):
        return x.type
    what = describe(x.type) if isinstance(x, Value) else repr(x)
    hint = "read it into registers with tc.load" if isinstance(x, Value) else None
    raise TileError(f"a tile or a number is wanted here, not {what}", hint=hint, code=Code.NOT_A_TILE)


def match(b: Builder, *operands: Operand, dtype: DType | None = None) -> tuple[Value, ...]:
    """Bring tiles and numbers to one shape; numbers take the tiles' type (or `dtype`). Types of tiles are not changed."""
    tiles = [tile(x) for x in operands if not isinstance(x, bool | int | float)]
    if dtype is None:
        require(tiles, "at least one operand must be a tile", code=Code.NOT_A_TILE)
        dtype = next((t.dtype for t in tiles), None)
    values = [x if isinstance(x, Value) else constant(b, x, dtype) for x in operands]  # type: ignore[arg-type]
    shape = broadcast_shapes(*[v.type.shape for v in values])
    return tuple(broadcast(b, v, shape) for v in values)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's rule, with tilec's error."""
    rank = max(map(len, shapes))
    columns = zip(*[(1,) * (rank - len(s)) + tuple(s) for s in shapes], strict=True)
    result = []
    for column in columns:
        wide = {n for n in column if n != 1}
        if len(wide) > 1:
            raise TileError(
                f"shapes {' and '.join(show(s) for s in shapes)} do not broadcast",
                hint="extents are equal or 1, from the last axis on: x[:, None] adds an axis",
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def broadcast(b: Builder, x: Value, shape: Sequence[int]) -> Value:
    """Emit a broadcast unless the shape is right already; a constant is made in the shape instead."""
    shape = tuple(shape)
    if x.type.shape == shape:
        return x
    if isinstance(x.owner, Constant):
        return b.emit(Constant(x.owner.value, x.owner.dtype, shape))
    return b.emit(Broadcast(x, shape))


def index(b: Builder, x: Any) -> Value:
    """An i32 scalar from a Python int or an integer scalar."""
    if isinstance(x, int) and not isinstance(x, bool):
        return constant(b, x, i32)
    require(not isinstance(x, float), f"an index is an integer, not {x!r}", hint=divided(x), code=Code.INDEX)
    t = tile(x)
    require(t.is_scalar and t.dtype.is_int and t.dtype.computes, f"an index is an integer scalar, not {describe(t)}", code=Code.INDEX)
    return x


def divided(x: Any) -> str | None:
    """A hint for what stands where an integer should: a float is mostly a quotient."""
    return "use // to divide integers" if isinstance(x, float) else None


def bounds_of(cut: slice) -> list[Any]:
    """Start, stop and step of a slice: None, integers and values. TileError if one is something else."""
    bounds = [cut.start, cut.stop, cut.step]
    for x in bounds:
        good = x is None or isinstance(x, Value) or hasattr(x, "__index__")
        require(good, f"a slice is bounded by integers, not {x!r}", hint=divided(x), code=Code.INDEX)
    return bounds


def static_shape(shape: Any) -> tuple[int, ...]:
    """A tile's shape from a sequence of positive ints known at compile time."""
    shape = (shape,) if isinstance(shape, int | Value) else shape
    require(isinstance(shape, list | tuple), f"a shape is a list of integers, not {shape!r}", code=Code.COUNT)
    for n in shape:
        if isinstance(n, Value):
            raise TileError("a tile's shape must be known at compile time", hint="make it a keyword-only parameter, or a number", code=Code.NOT_STATIC)
        good = isinstance(n, int) and not isinstance(n, bool) and n > 0
        require(good, f"a tile's extents are positive integers, not {n!r}", hint=divided(n), code=Code.COUNT)
    return tuple(shape)


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    """Axis numbers from None (all), an int, or a tuple; negative ones count from the end. Sorted, without repetition."""
    if axis is None:
        return tuple(range(rank))
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    for a in given:
        require(
            isinstance(a, int) and -rank <= a < rank,
            f"axis {a} is out of range for a tile with {rank} axes",
            hint=f"axes are {-rank} to {rank - 1}" if rank else "a scalar has none",
            code=Code.AXIS,
        )
    found = tuple(sorted({a % rank for a in given}))
    require(len(found) == len(given), f"an axis is named twice in {axis}", code=Code.AXIS)
    return found


def tensor(x: Any) -> TensorType:
    """The tensor type of an operand; an error if it is none."""
    if isinstance(x, Value) and isinstance(x.type, TensorType):
        return x.type
    raise TileError(f"a tensor is wanted here, not {describe(x.type) if isinstance(x, Value) else repr(x)}", code=Code.NOT_A_TILE)


def default_build(cls: type[Op]) -> Any:
    """The `build` of an op that has none: operands as tiles, attributes as given, in the order of the fields."""

    def build(b: Builder, *args: Any, **kwargs: Any) -> Any:
        results = b.insert(cls(*args, **kwargs))
        return results[0] if len(results) == 1 else results or None

    return build


def operand_fields(cls: type[Op]) -> list[str]:
    return [f.name for f in cls.fields if f.kind in (Kind.OPERAND, Kind.OPTIONAL, Kind.VARIADIC)]
