"""Matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import DType, bf16, f16, f32, f64, float8_e4m3, float8_e5m2, i32, int4, int8, uint1, uint4, uint8
from tilec.ir.ops.arith import Cast, Math, Sub
from tilec.ir.ops.base import Constant, describe, show, tile
from tilec.ir.ops.pieces import Concatenate, sliced
from tilec.ir.ops.shape import Reshape
from tilec.ir.types import TileType

FLOATS = (f16, bf16, f32, f64, float8_e4m3, float8_e5m2)
WHOLE = (int8, uint8, int4, uint4, uint1)
MIXING = ((int8, uint8), (int4, uint4), (float8_e4m3, float8_e5m2))  # types of one instruction
PRECISIONS = ("ieee", "tf32", "tf32x3")


class Dot(Op):
    """Matrix product `a @ b + acc` of tiles [m, k] and [k, n], or of stacks of such, [s, m, k] and [s, k, n].

    Accumulated in the type of `acc`, in f32 by default for floats (f64 for f64, f16 if acc is f16) and in i32 for integers. The types are
    f16, bf16, f32, f64, float8_e4m3, float8_e5m2, integers of up to 8 bits, and i32. Where the two differ, the storage type is converted to the
    other, exactly, by casts that the IR shows. `precision` is for f32: "ieee", "tf32" (operands rounded to 11 bits), or "tf32x3" (three
    products of tf32, with nearly the precision of f32). `xor=True` is for uint1: it counts where bits differ, not where both are 1.

    Example:
        r = tc.dot(a, b)  # = np.float32(a) @ np.float32(b)
        tc.dot(a, b[:8])  # error: a has 16 columns but b has 8 rows
    """

    builtin = "dot"
    a: Value
    b: Value
    acc: Value
    mode: str = ""  # "tf32": the low 13 bits of operands don't count; "xor": x ^ y in place of x * y

    def infer(self) -> TileType:
        a, b, acc = self.a.type, self.b.type, self.acc.type
        require(a.rank == b.rank == 2, f"dot multiplies matrices, not {show(a.shape)} by {show(b.shape)}", code=Code.PRODUCT_SHAPES)
        turned = "b.T is the transpose of b" if a.shape[1] == b.shape[1] else "[m, k] is multiplied by [k, n]"
        require(a.shape[1] == b.shape[0], f"a has {a.shape[1]} columns but b has {b.shape[0]} rows", hint=turned, code=Code.PRODUCT_SHAPES)
        require(acc.shape == (a.shape[0], b.shape[1]), f"acc must be {show((a.shape[0], b.shape[1]))}, not {show(acc.shape)}", code=Code.PRODUCT_SHAPES)
        for given in (a.dtype, b.dtype):
            require(given in (*FLOATS, *WHOLE, i32), f"dot does not multiply {given}", hint="convert the tiles first: tc.cast(x, f16)")
        good = a.dtype == b.dtype or any(a.dtype in both and b.dtype in both for both in MIXING)
        require(good, f"dot multiplies tiles of one type, not {a.dtype} by {b.dtype}", hint=f"convert one: tc.cast(x, {a.dtype})")
        wanted = default_accumulator(a.dtype)
        fits = acc.dtype == wanted or (a.dtype == acc.dtype == f16)
        require(fits, f"dot of {a.dtype} accumulates in {wanted}, but acc is {acc.dtype}", hint=f"make it by tc.zeros({wanted}, [m, n]), or leave it out")
        modes = {"": True, "tf32": a.dtype == f32, "xor": a.dtype in (uint1, i32)}
        require(modes.get(self.mode, False), f"dot of {a.dtype} has no mode {self.mode!r}")
        return acc

    @property
    def types(self) -> tuple[DType, DType, DType, str]:
        """What decides which instruction may do it."""
        return self.a.type.dtype, self.b.type.dtype, self.acc.type.dtype, self.mode

    def eval(self, ctx: Any, a: Any, b: Any, acc: Any) -> Any:
        return product(a, b, acc, self.mode)

    def unrounded(self, ctx: Any, a: Any, b: Any, acc: Any) -> Any:
        return None if self.mode == "xor" else product(a, b, acc.astype(np.float64), "")

    @classmethod
    def build(cls, b: Builder, x: Value, y: Value, acc: Value | None = None, *, precision: str = "ieee", xor: bool = False) -> Value:
        left, right = tile(x), tile(y)
        require(
            left.rank == right.rank and left.rank in (2, 3),
            f"dot multiplies matrices, not {show(left.shape)} by {show(right.shape)}",
            code=Code.PRODUCT_SHAPES,
        )
        require(precision in PRECISIONS, f"{precision!r} is no precision", hint=f"there are {', '.join(PRECISIONS)}", code=Code.ARGUMENTS)
        if left.rank == 3:
            return batched(b, x, y, acc, precision, xor)
        x, y = alike(b, x, y)
        kind = x.type.dtype
        require(precision == "ieee" or kind == f32, f"the precision {precision} is for f32, not {kind}", hint="leave precision out")
        require(not xor or kind == uint1, f"xor is for uint1, not {kind}", hint="leave xor out")
        if acc is None:
            wanted = default_accumulator(kind)
            acc = b.emit(Constant(0 if wanted.is_int else 0.0, wanted, (left.shape[0], right.shape[1])))
        tile(acc)
        if precision == "ieee":
            return b.emit(cls(x, y, acc, "xor" if xor else ""))
        (x, low), (y, low2) = rounded(b, x), rounded(b, y)
        if precision == "tf32x3":  # the small terms first
            acc = b.emit(cls(rounded(b, low)[0], y, acc, "tf32"))
            acc = b.emit(cls(x, rounded(b, low2)[0], acc, "tf32"))
        return b.emit(cls(x, y, acc, "tf32"))


class RoundTf32(Math):
    """An f32 rounded to the 11 significant bits of tf32, halves away from zero (cvt.rna.tf32.f32)."""

    def element(self, *types: DType) -> DType:
        require(types[0] == f32, f"tf32 is a form of f32, not of {types[0]}")
        return f32

    @staticmethod
    def function(x: Any) -> Any:
        bits = np.asarray(x, np.float32).view(np.uint32)
        up = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
        return np.where(np.isfinite(x), up.view(np.float32), x).astype(np.float64)

    def unrounded(self, ctx: Any, x: Any) -> Any:
        return x


def rounded(b: Builder, x: Value) -> tuple[Value, Value]:
    """An f32 tile rounded to tf32, and what that leaves out."""
    high = b.emit(RoundTf32(x))
    return high, Sub.build(b, x, high)


def product(a: Any, b: Any, acc: Any, mode: str) -> Any:
    """`a @ b + acc` on carriers; sums of integers are exact in float64, as they stay below 2**53."""
    if mode == "tf32":
        a, b = ((np.asarray(x, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64) for x in (a, b))
    if acc.dtype.kind == "f":
        return np.matmul(a, b) + acc
    a, b = a.astype(np.float64), b.astype(np.float64)
    if mode == "xor" and (np.abs(a) <= 1).all() and (np.abs(b) <= 1).all():
        return (a.sum(-1, keepdims=True) + b.sum(-2, keepdims=True) - 2 * np.matmul(a, b)).astype(acc.dtype) + acc
    if np.abs(a).max(initial=0) * np.abs(b).max(initial=0) * a.shape[-1] < 2**53:
        return np.matmul(a, b).astype(acc.dtype) + acc
    return np.matmul(a.astype(acc.dtype), b.astype(acc.dtype)) + acc


def batched(b: Builder, x: Value, y: Value, acc: Value | None, precision: str, xor: bool) -> Value:
    """One product for each matrix of the stacks."""
    count = x.type.shape[0]
    require(
        y.type.shape[0] == count,
        f"a stack of {count} matrices is multiplied by one of {y.type.shape[0]}",
        hint="both stacks have one number of matrices",
        code=Code.PRODUCT_SHAPES,
    )

    def matrix(v: Value, i: int) -> Value:
        rows, columns = v.type.shape[1:]
        return b.emit(Reshape(sliced(b, v, (i, 0, 0), (1, 1, 1), (1, rows, columns)), (rows, columns)))

    if acc is not None:
        require(
            tile(acc).rank == 3 and acc.type.shape[0] == count,
            f"acc must be a stack of {count}, not {describe(acc.type)}",
            hint="both stacks have one number of matrices",
            code=Code.PRODUCT_SHAPES,
        )
    parts = [Dot.build(b, matrix(x, i), matrix(y, i), None if acc is None else matrix(acc, i), precision=precision, xor=xor) for i in range(count)]
    return Concatenate.build(b, [b.emit(Reshape(p, (1, *p.type.shape))) for p in parts], 0)


def alike(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """The operands in types that multiply: storage types become what they are multiplied by, or the nearest that does, if no value is lost."""
    left, right = x.type.dtype, y.type.dtype
    if (left == right and left in (*FLOATS, *WHOLE, i32)) or any(left in both and right in both for both in MIXING):
        return x, y
    if left.computes and right.computes:
        raise TileError(f"dot multiplies tiles of one type, not {left} by {right}", hint=f"convert one: tc.cast(x, {left})")
    if left.is_int and right.is_int and not left.computes and not right.computes:
        return Cast.build(b, x, whole(left)), Cast.build(b, y, whole(right))
    wanted = left if left.computes else right if right.computes else f16
    for v in (left, right):
        good = v == wanted or (not v.computes and wanted in (f16, bf16, f32, f64) and exact(v, wanted))
        require(good, f"dot of {left} by {right}: not every {v} is a {wanted}", hint="convert the tiles first: tc.cast(x, f16)")
    return Cast.build(b, x, wanted), Cast.build(b, y, wanted)


def whole(given: DType) -> DType:
    """The integer type of 8 bits that has all values of a narrower one."""
    return int8 if given.is_signed else uint8


def exact(source: DType, target: DType) -> bool:
    """Whether each value of a storage type is one of a wider type."""
    values = source.decode(np.arange(1 << source.bits, dtype=source.codes))
    return bool(np.array_equal(target.round(values.astype(np.float64)), values.astype(np.float64), equal_nan=True))


def stand_ins(a: DType, b: DType, acc: DType, mode: str) -> Iterator[tuple[DType, DType]]:
    """The operand types in which hardware may do it, best first; conversions to them lose nothing."""
    yield a, b
    if mode or a.computes:
        return
    yield (whole(a), whole(b)) if a.is_int else (f16, f16)


def default_accumulator(kind: DType) -> DType:
    """The type that products of a type are summed in."""
    return f64 if kind == f64 else i32 if kind.is_int else f32


