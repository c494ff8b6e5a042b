"""Reductions of a tile along axes.

A reduction names the binary op that it repeats (`combine`) and that op's identity, which stands in for what lies in a layout's
padding. Floating sums may be added in any order: results agree within a bound, not bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tilec.errors import Code, require
from tilec.ir.core import OPS, Builder, Op, Value
from tilec.ir.dtypes import DType
from tilec.ir.layout import Layout
from tilec.ir.ops.arith import Add, And, Maximum, Minimum, Mul, Ne, Or
from tilec.ir.ops.base import axes_of, describe, same_type, tile
from tilec.ir.ops.shape import Reshape
from tilec.ir.types import TileType


class Reduce(Op, abstract=True):
    """Combines all elements along `axes`, which vanish from the shape."""

    x: Value
    axes: tuple[int, ...]

    combine: ClassVar[type[Op]]
    ufunc: ClassVar[Any]
    of_bools: ClassVar[bool] = False

    def infer(self) -> TileType:
        given = tile(self.x)
        dtype = same_type(given.dtype)
        require(dtype.is_bool == self.of_bools, f"{self.builtin} is not defined on {dtype}", hint="cast it to i32 first")
        require(self.axes, f"{describe(given)} has no axis to reduce", code=Code.AXIS)
        shape = tuple(n for a, n in enumerate(given.shape) if a not in self.axes)
        layout = None if given.layout is None or not shape else given.layout.reduce(self.axes)
        return TileType(dtype, shape, layout, given.group)

    def eval(self, ctx: Any, x: Any) -> Any:
        return self.ufunc.reduce(x, axis=tuple(a + 1 for a in self.axes))

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        """The number that changes nothing."""
        raise NotImplementedError

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Value:
        """Over all axes unless `axis` names some; `keepdims` leaves them with extent 1."""
        shape = tile(x).shape
        axes = axes_of(axis, len(shape))
        result = b.emit(cls(x, axes))
        if keepdims:
            result = b.emit(Reshape(result, tuple(1 if a in axes else n for a, n in enumerate(shape))))
        return result


class Step(Op, abstract=True):
    """A part of a reduction on registers as they lie: what is not combined yet stays as a shorter axis. Lowering makes these."""

    x: Value
    axes: tuple[int, ...]
    kind: str  # the mnemonic of the reduction

    raw = True

    @property
    def reduction(self) -> type[Reduce]:
        return OPS[self.kind]  # type: ignore[return-value]

    def collapsed(self, layout: Layout) -> Layout:
        raise NotImplementedError

    def infer(self) -> TileType:
        given = tile(self.x)
        require(given.layout is not None, f"{self.mnemonic} needs a layout", code=Code.MALFORMED)
        layout = self.collapsed(given.layout)  # type: ignore[arg-type]
        shape = tuple(layout.shape[a] if a in self.axes else n for a, n in enumerate(given.shape))
        return TileType(given.dtype, shape, layout, given.group)


class ReduceRegisters(Step):
    """Combines what each thread holds along `axes`; an axis keeps one place for each thread that holds a part of it."""

    def collapsed(self, layout: Layout) -> Layout:
        return layout.collapse(self.axes, registers=True)

    def groups(self) -> list[list[int]]:
        """For each register of the result, the operand's registers that it combines."""
        layout: Layout = self.x.type.layout
        found: dict[tuple[int, ...], list[int]] = {}
        for register, coords in enumerate(layout.coords()[0].tolist()):
            found.setdefault(tuple(c for axis, c in enumerate(coords) if axis not in self.axes), []).append(register)
        return list(found.values())

    def eval(self, ctx: Any, x: Any) -> Any:
        given: TileType = self.x.type
        assert given.layout is not None
        extents = np.array([n if a in self.axes else np.iinfo(np.int64).max for a, n in enumerate(given.shape)])
        padding = (given.layout.coords() >= extents).any(axis=-1)
        filled = np.where(padding, np.asarray(self.reduction.identity(given.dtype), x.dtype), x)
        return np.stack([self.reduction.ufunc.reduce(filled[..., g], axis=-1) for g in self.groups()], axis=-1)


class ReduceLanes(Step):
    """Combines across the lanes of each warp that share a register's place but for `axes`, by exchange; an axis keeps one place a warp."""

    def collapsed(self, layout: Layout) -> Layout:
        return layout.collapse(self.axes, lanes=32)

    def masks(self) -> list[int]:
        """The lane masks of the butterfly, smallest first."""
        layout: Layout = self.x.type.layout
        found = []
        for digit, place in layout.thread_places():
            if digit.dim in self.axes and 32 % place == 0:
                lanes = math.gcd(digit.size, 32 // place)  # the rest of the digit, as 3 of 24, takes more than one warp
                found += [place << i for i in range(lanes.bit_length() - 1)]
        return found

    def eval(self, ctx: Any, x: Any) -> Any:
        for mask in self.masks():
            x = self.reduction.ufunc(x, x[:, np.arange(x.shape[1]) ^ mask])
        return x


class Sum(Reduce):
    """Sum of the elements, in the tile's own type.

    Example:
        r = tc.sum(x, axis=1)  # = np.sum(x, axis=1)
        tc.sum(p)              # error: sum is not defined on bool
    """

    builtin = "sum"
    combine = Add
    ufunc = np.add

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return 0.0 if dtype.is_float else 0


class Prod(Reduce):
    """Product of the elements, in the tile's own type.

    Example:
        r = tc.prod(m[:, :4], axis=1)  # = np.prod(m[:, :4], axis=1)
        tc.prod(p)                     # error: prod is not defined on bool
    """

    builtin = "prod"
    combine = Mul
    ufunc = np.multiply

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return 1.0 if dtype.is_float else 1


class Max(Reduce):
    """The largest element; NaN if there is one.

    Example:
        r = tc.max(x, axis=1)  # = np.max(x, axis=1)
        tc.max(x, axis=2)      # error: axis 2 is out of range for a tile with 2 axes
    """

    builtin = "max"
    combine = Maximum
    ufunc = np.maximum

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return -np.inf if dtype.is_float else int(dtype.min)


class Min(Reduce):
    """The smallest element; NaN if there is one.

    Example:
        r = tc.min(x, axis=1)  # = np.min(x, axis=1)
        tc.min(x, axis=2)      # error: axis 2 is out of range for a tile with 2 axes
    """

    builtin = "min"
    combine = Minimum
    ufunc = np.minimum

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return np.inf if dtype.is_float else int(dtype.max)


class Truth(Reduce, abstract=True):
    """Of a tile of numbers, it asks which are not 0."""

    of_bools = True

    @classmethod
    def build(cls, b: Builder, x: Value, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Value:
        return super().build(b, x if tile(x).dtype.is_bool else Ne.build(b, x, 0), axis, keepdims)


class Any_(Truth):
    """Whether any element along the axes is true, or not 0.

    Example:
        r = tc.any(p, axis=1)  # = np.any(p, axis=1)
        tc.any(w)              # error: int6 is a storage type and does not compute
    """

    mnemonic = "any"
    builtin = "any"
    combine = Or
    ufunc = np.logical_or

    @classmethod
    def identity(cls, dtype: DType) -> bool:
        return False


class All(Truth):
    """Whether all elements along the axes are true, or not 0.

    Example:
        r = tc.all(p, axis=1)  # = np.all(p, axis=1)
        tc.all(w)              # error: int6 is a storage type and does not compute
    """

    builtin = "all"
    combine = And
    ufunc = np.logical_and

    @classmethod
    def identity(cls, dtype: DType) -> bool:
        return True
