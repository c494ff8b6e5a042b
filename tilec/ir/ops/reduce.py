"""Reductions of a tile along axes.

A reduction names the binary op that it repeats (`combine`) and that op's identity, which stands in for what lies in a layout's
padding. Floating sums may be added in any order: results agree within a bound, not bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tilec.errors import require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import DType
from tilec.ir.ops.arith import Add, Maximum, Minimum, Mul
from tilec.ir.ops.base import axes_of, describe, same_type, tile
from tilec.ir.ops.shape import Reshape
from tilec.ir.types import TileType


class Reduce(Op, abstract=True):
    """Combines all elements along `axes`, which vanish from the shape."""

    x: Value
    axes: tuple[int, ...]

    combine: ClassVar[type[Op]]
    ufunc: ClassVar[Any]

    def infer(self) -> TileType:
        given = tile(self.x)
        dtype = same_type(given.dtype)
        require(not dtype.is_bool, f"{self.builtin} is not defined on bool", hint="cast it to i32 first")
        require(self.axes, f"{describe(given)} has no axis to reduce")
        shape = tuple(n for a, n in enumerate(given.shape) if a not in self.axes)
        layout = None if given.layout is None else given.layout.reduce(self.axes)
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


class Sum(Reduce):
    """Sum of the elements, in the tile's own type."""

    builtin = "sum"
    combine = Add
    ufunc = np.add

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return 0.0 if dtype.is_float else 0


class Prod(Reduce):
    """Product of the elements, in the tile's own type."""

    builtin = "prod"
    combine = Mul
    ufunc = np.multiply

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return 1.0 if dtype.is_float else 1


class Max(Reduce):
    """The largest element; NaN if there is one."""

    builtin = "max"
    combine = Maximum
    ufunc = np.maximum

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return -np.inf if dtype.is_float else int(dtype.min)


class Min(Reduce):
    """The smallest element; NaN if there is one."""

    builtin = "min"
    combine = Minimum
    ufunc = np.minimum

    @classmethod
    def identity(cls, dtype: DType) -> float | int:
        return np.inf if dtype.is_float else int(dtype.max)
