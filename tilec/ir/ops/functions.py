"""More elementwise functions: rounding, signs, bits, and functions of real numbers with their error bounds.

What can be said exactly with other ops has no op of its own: `tc.clip`, `tc.sign`, `tc.isnan` and the like emit those.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilec.errors import Code, require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import DType, u32, u64
from tilec.ir.ops.arith import Abs, Add, Cast, Div, Eq, FloorDiv, Gt, Lt, Math, Maximum, Minimum, Mod, Mul, Ne, Shl, Shr, Sub, Where, Xor
from tilec.ir.ops.base import Binary, Elementwise, Operand, Unary, broadcast, constant, match, same_type, tile
from tilec.ir.ops.shared_views import recast
from tilec.ir.types import SharedType


def floating(name: str, dtype: DType) -> DType:
    """The type, which must be a floating one that computes."""
    require(same_type(dtype).is_float, f"{name} is not defined on {dtype}", hint="cast to a floating type first")
    return dtype


# Rounding and signs


class Round(Math):
    """The nearest integer, as a floating number; halves go to the even one (as numpy.round).

    Example:
        r = tc.round(x)  # = np.round(x)
        tc.round(n)      # error: round is not defined on i32
    """

    builtin = "round"
    function = np.rint


class Trunc(Math):
    """The nearest integer towards zero, as a floating number.

    Example:
        r = tc.trunc(x)  # = np.trunc(x)
        tc.trunc(n)      # error: trunc is not defined on i32
    """

    builtin = "trunc"
    function = np.trunc


class Copysign(Binary):
    """The magnitude of `x` with the sign of `y`, on floating tiles; zeros have signs, too.

    Example:
        r = tc.copysign(y, x)  # = np.copysign(y, x)
        tc.copysign(n, n)      # error: copysign is not defined on i32
    """

    builtin = "copysign"

    def element(self, *types: DType) -> DType:
        return floating("copysign", same_type(*types))

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return np.copysign(x, y)


class Sign(Op, abstract=True):
    """-1, 0 or 1 as `x` is below, at or above 0; NaN for NaN.

    Example:
        r = tc.sign(x)  # = np.sign(x)
        tc.sign(w)      # error: int6 is a storage type and does not compute
    """

    builtin = "sign"

    @classmethod
    def build(cls, b: Builder, x: Operand) -> Value:
        value = match(b, x)[0]
        below = Where.build(b, Lt.build(b, value, 0), -1, Add.build(b, value, 0)) if tile(value).dtype.is_signed else value
        return Where.build(b, Gt.build(b, value, 0), 1, below)


class Clip(Op, abstract=True):
    """`x` held between `low` and `high`, numbers or tiles of its type; NaN stays NaN (as numpy.clip).

    Example:
        r = tc.clip(x, -1, 1)  # = np.clip(x, -1, 1)
        tc.clip(x)             # error: clip needs a bound
    """

    builtin = "clip"

    @classmethod
    def build(cls, b: Builder, x: Value, low: Operand | None = None, high: Operand | None = None) -> Value:
        require(low is not None or high is not None, "clip needs a bound", hint="as in tc.clip(x, 0, 1)", code=Code.ARGUMENTS)
        above = x if low is None else Maximum.build(b, x, low)
        return above if high is None else Minimum.build(b, above, high)


class IsNan(Op, abstract=True):
    """Where a floating tile is NaN, as bools.

    Example:
        r = tc.isnan(tc.sqrt(x))  # = np.isnan(np.sqrt(x))
        tc.isnan(n)               # error: isnan is not defined on i32
    """

    builtin = "isnan"

    @classmethod
    def build(cls, b: Builder, x: Value) -> Value:
        floating("isnan", tile(x).dtype)
        return Ne.build(b, x, x)


class IsInf(Op, abstract=True):
    """Where a floating tile is infinite, of either sign, as bools.

    Example:
        r = tc.isinf(y / x)  # = np.isinf(y / x)
        tc.isinf(n)          # error: isinf is not defined on i32
    """

    builtin = "isinf"

    @classmethod
    def build(cls, b: Builder, x: Value) -> Value:
        floating("isinf", tile(x).dtype)
        return Eq.build(b, Abs.build(b, x), math.inf)


class IsFinite(Op, abstract=True):
    """Where a floating tile is neither infinite nor NaN, as bools.

    Example:
        r = tc.isfinite(y / x)  # = np.isfinite(y / x)
        tc.isfinite(n)          # error: isfinite is not defined on i32
    """

    builtin = "isfinite"

    @classmethod
    def build(cls, b: Builder, x: Value) -> Value:
        floating("isfinite", tile(x).dtype)
        return Lt.build(b, Abs.build(b, x), math.inf)


class Power(Op, abstract=True):
    """`x ** n` for an integer n known at compile time, by repeated multiplication, each product rounded.

    Example:
        r = tc.power(x, 3)  # = x**3
        tc.power(n, -1)     # error: i32 has no power -1
    """

    builtin = "power"

    @classmethod
    def build(cls, b: Builder, x: Value, n: int) -> Value:
        dtype = tile(x).dtype
        require(n >= 0 or dtype.is_float, f"{dtype} has no power {n}", hint="cast to a floating type first")
        if n < 0:
            return Div.build(b, 1, Power.build(b, x, -n))
        if n == 0:
            return broadcast(b, constant(b, 1, dtype), tile(x).shape)
        result = x
        for digit in f"{n:b}"[1:]:
            result = Mul.build(b, result, result)
            result = result if digit == "0" else Mul.build(b, result, x)
        return result


# Bits


class Bits(Unary, abstract=True):
    """A function of an integer's bits; the result has its type."""

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(dtype.is_int, f"{self.builtin} is not defined on {dtype}", hint="tc.bitcast(x, u32) reads the bits of a float")
        return dtype

    def unpacked(self, x: Any) -> Any:
        """The bits along a new last axis, lowest first."""
        dtype = self.x.type.dtype
        return dtype.encode(x).astype(np.uint64)[..., None] >> np.arange(dtype.bits, dtype=np.uint64) & np.uint64(1)

    def unrounded(self, ctx: Any, *operands: Any) -> None:
        """Bits have no meaning without rounding."""
        return None


class Popcount(Bits):
    """How many bits of an integer are 1.

    Example:
        r = tc.popcount(m)  # = np.bitwise_count(m)
        tc.popcount(x)      # error: popcount is not defined on f32
    """

    builtin = "popcount"

    def eval(self, ctx: Any, x: Any) -> Any:
        return self.unpacked(x).sum(-1).astype(x.dtype)


class CountLeadingZeros(Bits):
    """How many bits of an integer are 0 above its highest 1: the type's width for 0.

    Example:
        r = tc.clz(m)  # = [[32 - int(v).bit_length() for v in row] for row in m]
        tc.clz(x)      # error: clz is not defined on f32
    """

    builtin = "clz"

    def eval(self, ctx: Any, x: Any) -> Any:
        return np.minimum.accumulate(1 - self.unpacked(x)[..., ::-1], -1).sum(-1).astype(x.dtype)


class CountTrailingZeros(Bits):
    """How many bits of an integer are 0 below its lowest 1: the type's width for 0.

    Example:
        r = tc.ctz(m)  # = np.bitwise_count((m & -m) - 1)
        tc.ctz(x)      # error: ctz is not defined on f32
    """

    builtin = "ctz"

    def eval(self, ctx: Any, x: Any) -> Any:
        return np.minimum.accumulate(1 - self.unpacked(x), -1).sum(-1).astype(x.dtype)


class Bitcast(Elementwise):
    """The bits of each element read as another type of the same width, as in `tc.bitcast(x, u32)`; those of storage types are their codes.

    Of a shared tile it is a view, of a type of any width: the bits of each row are cut anew, the lowest first.

    Example:
        r = tc.bitcast(x, i32)  # = x.view(np.int32)
        tc.bitcast(x, i64)      # error: the 32 bits of f32 are not those of i64, which has 64
    """

    builtin = "bitcast"
    x: Value
    dtype: DType

    def element(self, *types: DType) -> DType:
        (source,) = types
        fits = self.dtype.bits == source.bits and not (source.is_bool or self.dtype.is_bool) and self.dtype.element is self.dtype
        require(
            fits,
            f"the {source.bits} bits of {source} are not those of {self.dtype}, which has {self.dtype.bits}",
            hint="both are types of one width, and neither bool",
            code=Code.BITS,
        )
        return self.dtype

    def eval(self, ctx: Any, x: Any) -> Any:
        return self.dtype.decode(self.x.type.dtype.encode(x, saturate=False))

    def unrounded(self, ctx: Any, *operands: Any) -> None:
        """Bits have no meaning without rounding."""
        return None

    @classmethod
    def build(cls, b: Builder, x: Value, dtype: DType) -> Value:  # type: ignore[override]
        if isinstance(x, Value) and isinstance(x.type, SharedType):
            return recast(b, x, dtype)
        return x if tile(x).dtype == dtype else b.emit(cls(x, dtype))


# Functions of real numbers

RANGE = 2.0 * math.pi


class Circular(Math, abstract=True):
    """The whole range of f32 is reduced exactly."""

    relative = 2**-22.5

    @classmethod
    def absolute(cls, x: Any) -> Any:
        return 2**-25.0


class CircularApprox(Math, abstract=True):
    """One instruction; its bounds are the PTX manual's."""

    relative = 2**-24.0  # of the rounding

    @classmethod
    def absolute(cls, x: Any) -> Any:
        size = np.abs(x)
        return np.where(size <= RANGE, 2**-20.5, np.where(size <= 50 * RANGE, 2**-14.7, 2.0)) + 2**-126.0


class Sin(Circular):
    """Sine of radians. On the GPU the error is at most 2**-25 + 2**-22.5 of the result in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: absolute error at most 2**-20.5 within 2 pi, 2**-14.7 within 100 pi, no bound beyond.

    Example:
        r = tc.sin(x)  # = np.sin(x)
        tc.sin(n)      # error: sin is not defined on i32
    """

    builtin = "sin"
    function = np.sin

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((SinApprox if approx else Sin)(*match(b, x)))


class Cos(Circular):
    """Cosine of radians. On the GPU the error is at most 2**-25 + 2**-22.5 of the result in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: absolute error at most 2**-20.5 within 2 pi, 2**-14.7 within 100 pi, no bound beyond.

    Example:
        r = tc.cos(x)  # = np.cos(x)
        tc.cos(n)      # error: cos is not defined on i32
    """

    builtin = "cos"
    function = np.cos

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((CosApprox if approx else Cos)(*match(b, x)))


class SinApprox(CircularApprox, Sin):
    """`tc.sin(x, approx=True)`."""


class CosApprox(CircularApprox, Cos):
    """`tc.cos(x, approx=True)`."""


class Expm1(Math):
    """`exp(x) - 1`, precise near 0, too. On the GPU the relative error is at most 2**-22 in f32, plus one rounding to f16 or bf16.

    Example:
        r = tc.expm1(x)  # = np.expm1(x)
        tc.expm1(n)      # error: expm1 is not defined on i32
    """

    builtin = "expm1"
    function = np.expm1
    relative = 2**-22.0


class Log1p(Math):
    """`log(1 + x)`, precise near 0, too. On the GPU the relative error is at most 2**-21.4 in f32, plus one rounding to f16 or bf16.

    Example:
        r = tc.log1p(y)  # = np.log1p(y)
        tc.log1p(n)      # error: log1p is not defined on i32
    """

    builtin = "log1p"
    function = np.log1p
    relative = 2**-21.4


class Sigmoid(Math):
    """`1 / (1 + exp(-x))`. On the GPU the relative error is at most 2**-20.8 in f32, plus one rounding; below 2**-126 it is 0.

    With `approx`, fewer instructions: relative error at most 2**-20.5 + |x| * 2**-23.

    Example:
        r = tc.sigmoid(x)  # = 1 / (1 + np.exp(-x))
        tc.sigmoid(n)      # error: sigmoid is not defined on i32
    """

    builtin = "sigmoid"
    relative = 2**-20.8

    @staticmethod
    def function(x: Any) -> Any:
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + np.exp(-x))

    @classmethod
    def absolute(cls, x: Any) -> Any:
        return 2**-126.0

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((SigmoidApprox if approx else Sigmoid)(*match(b, x)))


class SigmoidApprox(Sigmoid):
    """`tc.sigmoid(x, approx=True)`."""

    relative = 2**-20.5

    @classmethod
    def absolute(cls, x: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return 2**-126.0 + np.where(np.isfinite(x), np.abs(x), 0.0) * 2**-23.0 * cls.function(x)


_erf = np.frompyfunc(math.erf, 1, 1)


class Erf(Math):
    """The error function. On the GPU the relative error is at most 2**-22 in f32, plus one rounding to f16 or bf16.

    Example:
        r = tc.erf(x)  # = np.vectorize(math.erf)(x)
        tc.erf(n)      # error: erf is not defined on i32
    """

    builtin = "erf"
    relative = 2**-22.0

    @staticmethod
    def function(x: Any) -> Any:
        return np.asarray(_erf(x), np.float64)


# Division by a number that stays the same


class Divisor(Op, abstract=True):
    """What `tc.divmod` needs to divide by the positive integer scalar `d` (i32 or u32) without dividing: computed once, ahead of a loop.

    A tuple (d, multiplier, shift) of scalars; after Granlund and Montgomery, "Division by invariant integers using multiplication"
    (PLDI 1994), figure 4.1. A divisor that is not positive is undefined.

    Example:
        d = tc.divisor(i)
        q, r = tc.divmod(n, d)  # = (n // i, n % i)
        tc.divisor(s)           # error: a divisor is an i32 or u32 scalar, not f32
    """

    builtin = "divisor"

    @classmethod
    def build(cls, b: Builder, d: Value) -> tuple[Value, Value, Value]:
        given = tile(d)
        require(
            given.is_scalar and given.dtype.is_int and given.dtype.bits == 32,
            f"a divisor is an i32 or u32 scalar, not {given}",
            hint="cast it: tc.cast(d, i32)",
        )
        by = Cast.build(b, d, u32)
        log = Sub.build(b, constant(b, 32, u32), b.emit(CountLeadingZeros(Sub.build(b, by, 1))))  # 2**log is the next power of two
        wide, one = Cast.build(b, by, u64), constant(b, 1, u64)
        gap = Sub.build(b, Shl.build(b, one, Cast.build(b, log, u64)), wide)
        multiplier = Add.build(b, FloorDiv.build(b, Shl.build(b, gap, 32), wide), 1)
        return d, Cast.build(b, multiplier, u32), log


class DivMod(Op, abstract=True):
    """`(x // d, x % d)`. `d` is an integer or, faster, `tc.divisor(d)`, made once ahead of a loop: then one multiplication, no division.

    Example:
        q, r = tc.divmod(n, 7)  # = (n // 7, n % 7)
        tc.divmod(x, 7)         # error: // is not defined on f32
    """

    builtin = "divmod"

    @classmethod
    def build(cls, b: Builder, x: Value, d: Operand | tuple[Value, Value, Value]) -> tuple[Value, Value]:
        if not isinstance(d, tuple):
            quotient = FloorDiv.build(b, x, d)
            return quotient, Mod.build(b, x, d)
        by, multiplier, log = d
        dtype = tile(x).dtype
        require(dtype == tile(by).dtype, f"x is {dtype}, but the divisor is {tile(by).dtype}", hint=f"tc.cast(x, {tile(by).dtype})", code=Code.TYPES_MIX)
        sign = Shr.build(b, x, 31) if dtype.is_signed else None  # -1 - q for -1 - x: rounded down on both sides of 0
        n = Cast.build(b, x if sign is None else Xor.build(b, x, sign), u32)
        high = Cast.build(b, Shr.build(b, Mul.build(b, Cast.build(b, n, u64), Cast.build(b, multiplier, u64)), 32), u32)
        some = Minimum.build(b, log, 1)
        half = Add.build(b, high, Shr.build(b, Sub.build(b, n, high), some))
        q = Cast.build(b, Shr.build(b, half, Sub.build(b, log, some)), dtype)
        quotient = q if sign is None else Xor.build(b, q, sign)
        return quotient, Sub.build(b, x, Mul.build(b, quotient, by))


