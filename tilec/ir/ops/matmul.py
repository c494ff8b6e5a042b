"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.errors import TileError, require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import DType, bf16, f16, f32, f64
from tilec.ir.ops.base import Constant, show, tile
from tilec.ir.types import TileType

OPERANDS = (f16, bf16, f32, f64)


class Dot(Op):
    """Matrix product `a @ b + acc` of tiles [m, k] and [k, n]; accumulated in the type of `acc` (f32 for f16, bf16 and f32 by default)."""

    builtin = "dot"
    a: Value
    b: Value
    acc: Value

    def infer(self) -> TileType:
        a, b, acc = self.a.type, self.b.type, self.acc.type
        require(a.rank == b.rank == 2, f"dot multiplies matrices, not {show(a.shape)} by {show(b.shape)}")
        require(a.shape[1] == b.shape[0], f"a has {a.shape[1]} columns but b has {b.shape[0]} rows")
        require(acc.shape == (a.shape[0], b.shape[1]), f"acc must be {show((a.shape[0], b.shape[1]))}, not {show(acc.shape)}")
        if a.dtype != b.dtype:
            raise TileError(f"dot multiplies tiles of one type, not {a.dtype} by {b.dtype}", hint=f"convert one: tc.cast(x, {a.dtype})")
        require(a.dtype in OPERANDS, f"dot does not multiply {a.dtype}", hint="convert the tiles first: tc.cast(x, f16)")
        wanted = default_accumulator(a.dtype)
        require(acc.dtype == wanted, f"dot of {a.dtype} accumulates in {wanted}, but acc is {acc.dtype}")
        return acc

    def eval(self, ctx: Any, a: Any, b: Any, acc: Any) -> Any:
        return np.matmul(a, b) + acc

    @classmethod
    def build(cls, b: Builder, x: Value, y: Value, acc: Value | None = None) -> Value:
        left, right = tile(x), tile(y)
        if acc is None:
            require(left.rank == right.rank == 2, f"dot multiplies matrices, not {show(left.shape)} by {show(right.shape)}")
            require(left.dtype in OPERANDS, f"dot does not multiply {left.dtype}", hint="convert the tiles first: tc.cast(x, f16)")
            acc = b.emit(Constant(0.0, default_accumulator(left.dtype), (left.shape[0], right.shape[1])))
        tile(acc)
        return b.emit(cls(x, y, acc))


def default_accumulator(dtype: DType) -> DType:
    """The type that products of a type are summed in."""
    return f64 if dtype == f64 else f32
