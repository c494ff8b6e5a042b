"""Elementwise arithmetic, comparison, selection and conversion.

Operands that are tiles have one computing type (f16 bf16 f32 f64, i16 to i64, u16 to u64, bool); Python numbers take it. Shapes
broadcast as in NumPy. Each result is the exact one rounded once to the type, except where a bound is stated.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Value
from tilec.ir.dtypes import DType, as_float64, bool_, f32, f64
from tilec.ir.fused import fused_multiply_add
from tilec.ir.ops.base import Binary, Elementwise, Operand, Unary, match, same_type, tile
from tilec.ir.ops.stochastic import StochasticCast


class Arithmetic(Binary, abstract=True):
    """Takes numbers, not bools."""

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(not dtype.is_bool, f"{self.symbol or self.builtin} is not defined on bool", hint="use &, |, ^ or tc.where")
        return dtype


class Add(Arithmetic):
    """Sum `x + y`.

    Example:
        r = x + y  # = x + y
        x + n      # error: operands of types f32 and i32 do not mix
    """

    symbol = "+"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x + y


class Sub(Arithmetic):
    """Difference `x - y`.

    Example:
        r = x - y  # = x - y
        p - p      # error: - is not defined on bool
    """

    symbol = "-"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x - y


class Mul(Arithmetic):
    """Product `x * y`.

    Example:
        r = x * y  # = x * y
        p * p      # error: * is not defined on bool
    """

    symbol = "*"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x * y


class Div(Arithmetic):
    """Quotient `x / y` of floating tiles, correctly rounded (IEEE).

    Example:
        r = x / y  # = x / y
        n / m      # error: / is not defined on i32
    """

    symbol = "/"

    def element(self, *types: DType) -> DType:
        dtype = super().element(*types)
        require(dtype.is_float, f"/ is not defined on {dtype}", hint="use // for integers, or cast to a floating type first")
        return dtype

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x / y


class IntegerDivision(Arithmetic, abstract=True):
    """Division by zero is an error in the interpreter and undefined on the GPU."""

    def element(self, *types: DType) -> DType:
        dtype = super().element(*types)
        require(dtype.is_int, f"{self.symbol} is not defined on {dtype}", hint="it is for integers; for floats use tc.floor(x / y)")
        return dtype

    def divisor(self, ctx: Any, y: Any) -> Any:
        zero = y == 0
        if zero is False:
            return y  # a number of Python
        if zero.any():
            layout = self.x.type.layout
            ctx.fail(zero if layout is None else layout.gather(zero, self.x.type.shape), "integer division by zero", Code.DIVISION)
        return np.where(zero, np.ones_like(y), y)

    def unrounded(self, ctx: Any, *operands: Any) -> None:
        """It is made of rounding."""
        return None


class FloorDiv(IntegerDivision):
    """Quotient `x // y` rounded towards minus infinity, as in Python.

    Example:
        r = n // m  # = n // m
        x // y      # error: // is not defined on f32
    """

    symbol = "//"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x // self.divisor(ctx, y)


class Mod(IntegerDivision):
    """Remainder `x % y` with the sign of y, as in Python.

    Example:
        r = n % m  # = n % m
        x % y      # error: % is not defined on f32
    """

    symbol = "%"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x % self.divisor(ctx, y)


class Minimum(Arithmetic):
    """The smaller of `x` and `y`; NaN if either is (as numpy.minimum).

    Example:
        r = tc.minimum(x, y)  # = np.minimum(x, y)
        tc.minimum(p, p)      # error: minimum is not defined on bool
    """

    builtin = "minimum"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return np.minimum(x, y)


class Maximum(Arithmetic):
    """The larger of `x` and `y`; NaN if either is (as numpy.maximum).

    Example:
        r = tc.maximum(x, y)  # = np.maximum(x, y)
        tc.maximum(x, n)      # error: operands of types f32 and i32 do not mix
    """

    builtin = "maximum"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return np.maximum(x, y)


class Bitwise(Binary, abstract=True):
    """Takes integers and bools."""

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(
            not dtype.is_float,
            f"{self.symbol} is not defined on {dtype}",
            hint="compare it first, as in x > 0; tc.bitcast(x, u32) reads the bits of an f32",
        )
        return dtype

    def unrounded(self, ctx: Any, *operands: Any) -> None:
        """Bits have no meaning without rounding."""
        return None


class And(Bitwise):
    """Bitwise, or on bools logical, `x & y`.

    Example:
        r = n & m  # = n & m
        x & y      # error: & is not defined on f32
    """

    symbol = "&"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x & y


class Or(Bitwise):
    """Bitwise, or on bools logical, `x | y`.

    Example:
        r = n | m  # = n | m
        x | y      # error: | is not defined on f32
    """

    symbol = "|"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x | y


class Xor(Bitwise):
    """Bitwise, or on bools logical, `x ^ y`.

    Example:
        r = n ^ m  # = n ^ m
        x ^ y      # error: ^ is not defined on f32
    """

    symbol = "^"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x ^ y


class Shift(Binary, abstract=True):
    """The amount counts as unsigned; one of the type's width or more shifts everything out."""

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(dtype.is_int, f"{self.symbol} is not defined on {dtype}", hint="tc.bitcast(x, u32) reads the bits of an f32; x * 2.0**n shifts a float")
        return dtype

    def amount(self, y: Any) -> tuple[Any, Any]:
        """The amount within the carrier's reach, and where it is too large."""
        bits = self.x.type.dtype.bits
        big = (y < 0) | (y >= bits)
        return np.where(big, 0, y), big

    def unrounded(self, ctx: Any, *operands: Any) -> None:
        """Bits have no meaning without rounding."""
        return None


class Shl(Shift):
    """`x << y`.

    Example:
        r = n << 2  # = n << 2
        x << 2      # error: << is not defined on f32
    """

    symbol = "<<"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        n, big = self.amount(y)
        return np.where(big, np.zeros_like(x), x << n.astype(x.dtype))


class Shr(Shift):
    """`x >> y`: arithmetic on signed, logical on unsigned types.

    Example:
        r = n >> 2  # = n >> 2
        x >> y      # error: >> is not defined on f32
    """

    symbol = ">>"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        n, big = self.amount(y)
        sign = np.where(x < 0, -np.ones_like(x), np.zeros_like(x)) if x.dtype.kind == "i" else np.zeros_like(x)
        return np.where(big, sign, x >> n.astype(x.dtype))


class Compare(Binary, abstract=True):
    """Gives bools; a comparison with NaN is false, except `!=`."""

    def element(self, *types: DType) -> DType:
        same_type(*types)
        return bool_


class Lt(Compare):
    """`x < y`.

    Example:
        r = x < y  # = x < y
        x < n      # error: operands of types f32 and i32 do not mix
    """

    symbol = "<"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x < y


class Le(Compare):
    """`x <= y`.

    Example:
        r = x <= y  # = x <= y
        x <= n      # error: operands of types f32 and i32 do not mix
    """

    symbol = "<="

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x <= y


class Gt(Compare):
    """`x > y`.

    Example:
        r = x > y  # = x > y
        x > n      # error: operands of types f32 and i32 do not mix
    """

    symbol = ">"

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x > y


class Ge(Compare):
    """`x >= y`.

    Example:
        r = x >= y  # = x >= y
        x >= n      # error: operands of types f32 and i32 do not mix
    """

    symbol = ">="

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x >= y


class Eq(Compare):
    """`x == y`.

    Example:
        r = x == y  # = x == y
        x == n      # error: operands of types f32 and i32 do not mix
    """

    symbol = "=="

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x == y


class Ne(Compare):
    """`x != y`.

    Example:
        r = x != y  # = x != y
        x != n      # error: operands of types f32 and i32 do not mix
    """

    symbol = "!="

    def eval(self, ctx: Any, x: Any, y: Any) -> Any:
        return x != y


class Where(Elementwise):
    """`x` where `condition` holds, else `y`.

    Example:
        r = tc.where(p, x, y)  # = np.where(p, x, y)
        tc.where(n, x, y)      # error: the condition must be bool, not i32
    """

    builtin = "where"
    condition: Value
    x: Value
    y: Value

    def element(self, *types: DType) -> DType:
        condition, x, y = types
        require(condition.is_bool, f"the condition must be bool, not {condition}", hint="compare it, as in x != 0")
        require(x == y, f"the choices have types {x} and {y}", hint="cast one of them", code=Code.TYPES_MIX)
        return x

    def eval(self, ctx: Any, condition: Any, x: Any, y: Any) -> Any:
        return np.where(condition, x, y)

    @classmethod
    def build(cls, b: Builder, condition: Operand, x: Operand, y: Operand) -> Value:  # type: ignore[override]
        tiles = [v for v in (x, y) if isinstance(v, Value)]
        if not tiles:
            raise TileError("at least one of the choices must be a tile", hint="make one with tc.full", code=Code.NOT_A_TILE)
        return b.emit(cls(*match(b, condition, x, y, dtype=tile(tiles[0]).dtype)))


class Numeric(Unary, abstract=True):
    """Takes numbers, not bools."""

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(not dtype.is_bool, f"{self.builtin or self.mnemonic} is not defined on bool", hint="cast it first, as in tc.cast(x, i32)")
        return dtype


class Neg(Numeric):
    """`-x`.

    Example:
        r = -x  # = -x
        -p      # error: neg is not defined on bool
    """

    def eval(self, ctx: Any, x: Any) -> Any:
        return -x if x.dtype.kind != "u" else np.zeros_like(x) - x


class Abs(Numeric):
    """Absolute value.

    Example:
        r = tc.abs(x)  # = np.abs(x)
        tc.abs(p)      # error: abs is not defined on bool
    """

    builtin = "abs"

    def eval(self, ctx: Any, x: Any) -> Any:
        return np.abs(x)


class Not(Unary):
    """Bitwise, or on bools logical, `~x`.

    Example:
        r = ~n  # = ~n
        ~x      # error: ~ is not defined on f32
    """

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(not dtype.is_float, f"~ is not defined on {dtype}", hint="tc.bitcast(x, u32) reads the bits of an f32")
        return dtype

    def eval(self, ctx: Any, x: Any) -> Any:
        return ~x

    def unrounded(self, ctx: Any, *operands: Any) -> None:
        """Bits have no meaning without rounding."""
        return None


class Math(Unary, abstract=True):
    """A function of real numbers: floating tiles only. One with a stated bound is not on the GPU for f64."""

    function: ClassVar[Any]  # the same on float64 arrays
    relative: ClassVar[float] = 0.0  # bound of the GPU's relative error in f32, its rounding to f32 included; 0 if correctly rounded

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(dtype.is_float, f"{self.builtin or self.mnemonic} is not defined on {dtype}", hint="cast to a floating type first")
        return dtype

    def eval(self, ctx: Any, x: Any) -> Any:
        return type(self).function(x)

    @classmethod
    def error(cls, dtype: DType, x: Any) -> Any:
        """How far at most a GPU's result in `dtype` is from the exact function of `x`, a float64 array of values of `dtype`.

        Infinite where the result may overflow, NaN where the function is. f16 and bf16 results are computed in f32 and rounded once
        more; below the normal numbers of f32, the bound is one smallest subnormal number besides.
        """
        with np.errstate(all="ignore"):
            exact = np.abs(cls.function(x))
            bound = cls.relative * exact + cls.absolute(x)
            if cls.relative == 0 or dtype.bits < 32:
                bound = bound + half_place(exact + bound, dtype)
            if cls.relative != 0:
                bound = bound + f32.smallest_subnormal
            return np.where(exact + bound > dtype.max, np.inf, bound)

    @classmethod
    def absolute(cls, x: Any) -> Any:
        """Bound of the absolute error in f32, which adds to the relative one."""
        return 0.0


def flushed(x: Any) -> Any:
    """Float64 with 0 in place of what is below the normal numbers of f32, as instructions with .ftz see their operands."""
    return np.where(np.abs(x) < 2**-126.0, np.copysign(0.0, x), x)


def half_place(magnitude: Any, dtype: DType) -> Any:
    """Half the distance between neighbours in `dtype` at a float64 >= 0: what rounding to nearest may change."""
    exponent = np.frexp(magnitude)[1] - 1
    return np.ldexp(0.5, np.maximum(exponent, 1 - dtype.bias) - dtype.mantissa_bits)


class Logarithm(Math, abstract=True):
    """Where 0.5 <= x <= 2, the error has an absolute bound, as the function is 0 at 1."""

    near_one: ClassVar[float]

    @classmethod
    def absolute(cls, x: Any) -> Any:
        return np.where((x >= 0.5) & (x <= 2.0), cls.near_one, 0.0)


class Exp(Math):
    """e to the power x. On the GPU the relative error is at most 2**-21.4 (3 ulp) in f32, plus one rounding to f16 or bf16.

    With `approx`, fewer instructions: relative error at most 2**-21 + |x| * 2**-23, results below 2**-126 are 0.

    Example:
        r = tc.exp(x)  # = np.exp(x)
        tc.exp(n)      # error: exp is not defined on i32
    """

    builtin = "exp"
    function = np.exp
    relative = 2**-21.4

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((ExpApprox if approx else Exp)(*match(b, x)))


class Exp2(Math):
    """2 to the power x. On the GPU the relative error is at most 2**-22 (2 ulp) in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: results below 2**-126 are 0.

    Example:
        r = tc.exp2(x)  # = np.exp2(x)
        tc.exp2(n)      # error: exp2 is not defined on i32
    """

    builtin = "exp2"
    function = np.exp2
    relative = 2**-22.0

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((Exp2Approx if approx else Exp2)(*match(b, x)))


class ExpApprox(Exp):
    """`tc.exp(x, approx=True)`: relative error at most 2**-21 + |x| * 2**-23; results below 2**-126 are 0."""

    relative = 2**-21.0

    @classmethod
    def absolute(cls, x: Any) -> Any:
        return np.abs(x) * 2**-23.0 * np.exp(x) + 2**-126.0


class Exp2Approx(Exp2):
    """`tc.exp2(x, approx=True)`, one instruction: as exact, but results below 2**-126 are 0."""


    @classmethod
    def absolute(cls, x: Any) -> Any:
        return 2**-126.0


class Log(Logarithm):
    """Natural logarithm.

    On the GPU the relative error is at most 2**-21.4 (3 ulp) in f32, or where 0.5 <= x <= 2 the absolute one, plus one rounding to f16
    or bf16. With `approx`, x below 2**-126 counts as 0.

    Example:
        r = tc.log(y)  # = np.log(y)
        tc.log(n)      # error: log is not defined on i32
    """

    builtin = "log"
    function = np.log
    relative = near_one = 2**-21.4

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((LogApprox if approx else Log)(*match(b, x)))


class LogApprox(Log):
    """`tc.log(x, approx=True)`: x below 2**-126 counts as 0."""

    function: ClassVar[Any] = staticmethod(lambda x: np.log(flushed(x)))


class Log2(Logarithm):
    """Logarithm to base 2.

    On the GPU the relative error is at most 2**-22 (2 ulp) in f32, or where 0.5 <= x <= 2 the absolute one, plus one rounding to f16
    or bf16. With `approx`, one instruction: x below 2**-126 counts as 0.

    Example:
        r = tc.log2(y)  # = np.log2(y)
        tc.log2(n)      # error: log2 is not defined on i32
    """

    builtin = "log2"
    function = np.log2
    relative = near_one = 2**-22.0

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((Log2Approx if approx else Log2)(*match(b, x)))


class Log2Approx(Log2):
    """`tc.log2(x, approx=True)`, one instruction: x below 2**-126 counts as 0."""

    function: ClassVar[Any] = staticmethod(lambda x: np.log2(flushed(x)))


class Sqrt(Math):
    """Square root, correctly rounded. With `approx`, one instruction: relative error at most 2**-22.5.

    Example:
        r = tc.sqrt(y)  # = np.sqrt(y)
        tc.sqrt(n)      # error: sqrt is not defined on i32
    """

    builtin = "sqrt"
    function = np.sqrt

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((SqrtApprox if approx else Sqrt)(*match(b, x)))


class SqrtApprox(Sqrt):
    """`tc.sqrt(x, approx=True)`."""

    relative = 2**-22.5


class Rsqrt(Math):
    """Reciprocal square root `1 / sqrt(x)`.

    On the GPU the relative error is at most 2**-22 (2 ulp) in f32, plus one rounding to f16 or bf16. With `approx`, one instruction: x below
    2**-126 counts as 0.

    Example:
        r = tc.rsqrt(y)  # = 1 / np.sqrt(y)
        tc.rsqrt(n)      # error: rsqrt is not defined on i32
    """

    builtin = "rsqrt"
    relative = 2**-22.0

    @staticmethod
    def function(x: Any) -> Any:
        return 1.0 / np.sqrt(x)

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((RsqrtApprox if approx else Rsqrt)(*match(b, x)))


class RsqrtApprox(Rsqrt):
    """`tc.rsqrt(x, approx=True)`, one instruction: x below 2**-126 counts as 0."""

    function: ClassVar[Any] = staticmethod(lambda x: 1.0 / np.sqrt(flushed(x)))


class Reciprocal(Math):
    """`1 / x`, correctly rounded. With `approx`, one instruction: relative error at most 2**-23, results and x below 2**-126 are 0.

    Example:
        r = tc.reciprocal(y)  # = 1 / y
        tc.reciprocal(n)      # error: reciprocal is not defined on i32
    """

    builtin = "reciprocal"
    function = np.reciprocal

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((ReciprocalApprox if approx else Reciprocal)(*match(b, x)))


class ReciprocalApprox(Reciprocal):
    """`tc.reciprocal(x, approx=True)`."""

    relative = 2**-23.0

    @classmethod
    def absolute(cls, x: Any) -> Any:
        return np.where(np.abs(x) < 2**-126.0, np.inf, 2**-126.0)


class Tanh(Math):
    """Hyperbolic tangent. On the GPU the relative error is at most 2**-21 in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: relative error at most 2**-11.

    Example:
        r = tc.tanh(x)  # = np.tanh(x)
        tc.tanh(n)      # error: tanh is not defined on i32
    """

    builtin = "tanh"
    function = np.tanh
    relative = 2**-21.0

    @classmethod
    def build(cls, b: Builder, x: Operand, approx: bool = False) -> Value:  # type: ignore[override]
        return b.emit((TanhApprox if approx else Tanh)(*match(b, x)))


class TanhApprox(Tanh):
    """`tc.tanh(x, approx=True)`, one instruction: relative error at most 2**-11."""

    relative = 2**-11.0


class Floor(Math):
    """The largest integer not above x, as a floating number.

    Example:
        r = tc.floor(x)  # = np.floor(x)
        tc.floor(n)      # error: floor is not defined on i32
    """

    builtin = "floor"
    function = np.floor


class Ceil(Math):
    """The smallest integer not below x, as a floating number.

    Example:
        r = tc.ceil(x)  # = np.ceil(x)
        tc.ceil(n)      # error: ceil is not defined on i32
    """

    builtin = "ceil"
    function = np.ceil


class Fma(Elementwise):
    """`x * y + z` with one rounding, on floating tiles.

    Example:
        r = tc.fma(x, y, 0.5)  # = x * y + 0.5
        tc.fma(n, m, 1)        # error: fma is not defined on i32
    """

    builtin = "fma"
    x: Value
    y: Value
    z: Value

    def element(self, *types: DType) -> DType:
        dtype = same_type(*types)
        require(dtype.is_float, f"fma is not defined on {dtype}", hint="write x * y + z for integers")
        return dtype

    def eval(self, ctx: Any, x: Any, y: Any, z: Any) -> Any:
        return fused_multiply_add(x, y, z, exact_product=self.x.type.dtype.bits < 64)

    @classmethod
    def build(cls, b: Builder, x: Operand, y: Operand, z: Operand) -> Value:  # type: ignore[override]
        return b.emit(cls(*match(b, x, y, z)))


class Cast(Elementwise):
    """Converts each element to another type.

    To a floating type: rounded to nearest even; f16, bf16, f32 and f64 overflow to infinity, storage types saturate at their largest
    value. To a storage integer (1 to 8 bits): rounded to nearest even, saturated. To a computing integer: from floats towards
    zero and saturated, NaN gives 0; from integers modulo 2**bits. To bool: `x != 0`.

    With `rounding="stochastic"`, f16, bf16 and f32 are rounded to a storage integer or float at random: away from zero with a probability that is
    the fraction of a last place that towards zero would cut off, itself cut to 16 bits. `bits` are u32, one for each element, as
    `tc.random_bits` gives; their upper 16 bits decide. What is exact never changes; out of range saturates.

    Example:
        r = tc.cast(x, i32)  # = x.astype(np.int32)
        tc.cast(x, 16)       # error: dtype is a type, as in f16, not the Python number 16
    """

    builtin = "cast"
    x: Value
    dtype: DType

    def element(self, *types: DType) -> DType:
        return self.dtype

    def eval(self, ctx: Any, x: Any) -> Any:
        return convert(x, self.x.type.dtype, self.dtype)

    def unrounded(self, ctx: Any, x: Any) -> Any:
        """The same numbers; None for integers that compute."""
        return as_float64(x) if self.dtype.is_float or not self.dtype.computes else None

    @classmethod
    def build(cls, b: Builder, x: Operand, dtype: DType, rounding: str = "nearest", bits: Value | None = None) -> Value:  # type: ignore[override]
        require(isinstance(dtype, DType), f"a type is wanted, as in tc.cast(x, f16), not {dtype!r}", code=Code.ARGUMENTS)
        require(rounding in ("nearest", "stochastic"), f"there is no rounding {rounding!r}", hint='it is "nearest" or "stochastic"', code=Code.ARGUMENTS)
        random = "random bits, one u32 for each element: bits=tc.random_bits(seed, offsets)"
        if rounding == "stochastic":
            require(bits is not None, f"stochastic rounding takes {random}", code=Code.ARGUMENTS)
            return b.emit(StochasticCast(*match(b, x, bits), dtype))  # type: ignore[arg-type]
        require(bits is None, "bits are for stochastic rounding alone", hint='rounding="stochastic"', code=Code.ARGUMENTS)
        if not isinstance(x, Value):
            return match(b, x, dtype=dtype)[0]
        return x if tile(x).dtype == dtype else b.emit(cls(x, dtype))


def convert(x: Any, source: DType, target: DType) -> Any:
    """The rule of `Cast` on carriers; a computing float is left to be rounded by the caller."""
    if target.is_bool:
        return x != 0
    if not target.computes:
        return target.decode(target.encode(x, saturate=True))
    if target.is_float:
        return as_float64(x, exact=target == f64)
    return x.astype(target.carrier) if source.is_int or source.is_bool else _truncate(x, target)


def _truncate(x: Any, target: DType) -> Any:
    whole = np.trunc(np.where(np.isnan(x), 0.0, x))
    low, high = int(target.min), int(target.max)
    inside = np.where((whole > low) & (whole < high), whole, 0.0).astype(target.carrier)
    carrier = target.carrier
    return np.where(whole >= high, carrier(high), np.where(whole <= low, carrier(low), inside))
