"""Elementwise ops to LLVM IR, one element at a time, without branches: what each op's docstring promises, and no flag that would relax it.

    x // y  ->  %5 = sdiv i32 %1, %4        and the corrections that make it Python's
    exp(x)  ->  %3 = call float @llvm.nvvm.ex2.approx.f(float %2)        and what keeps it within its bound
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from tilec.backend.casts import cast
from tilec.backend.emit import Emitter, float_constant, llvm_constant, llvm_type
from tilec.backend.target import Target
from tilec.errors import Code, require
from tilec.ir.core import Op
from tilec.ir.dtypes import DType, f32
from tilec.ir.ops import arith as ops

Rule = Callable[..., str]  # (e, dtype, *operands) -> value; dtype is that of the last operand
RULES: dict[type[Op], Rule] = {}
Conversion = Callable[[Emitter, str, DType, DType], str]
CONVERSIONS: dict[type[Op], Conversion] = {ops.Cast: cast}  # ops of an operand x and an attribute dtype: rules that see both types


def lower(e: Emitter, op: Op, operands: Sequence[str], target: Target) -> str:
    """One element of the result of `op`, from the same element of its operands (names or constants, of type `llvm_type`).

    Raises TileError, at the op's place, for what GPUs are not given: exp, log and the like of f64. Every target has the same rules
    today; `target` is what native conversions will ask.
    """
    if type(op) in CONVERSIONS:
        return CONVERSIONS[type(op)](e, operands[0], op.operands[0].type.dtype, op.attributes["dtype"])
    with op.loc or nullcontext():
        return RULES[type(op)](e, op.operands[-1].type.dtype, *operands)


def combine(e: Emitter, kind: type[Op], dtype: DType, x: str, y: str) -> str:
    """`x` and `y`, both of the computing type `dtype`, joined by a binary op given as its class: what a reduction repeats."""
    return RULES[kind](e, dtype, x, y)


def covers(kind: type[Op]) -> bool:
    """Is this class of ops lowered here?"""
    return kind in RULES or kind in CONVERSIONS


def lowers(*kinds: type[Op]) -> Callable[[Rule], Rule]:
    """Registers a rule for classes of ops."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


# One instruction


def choose(dtype: DType, signed: str, unsigned: str, floating: str) -> str:
    """Of three spellings the one for the type; bools count as unsigned."""
    return floating if dtype.is_float else signed if dtype.is_signed else unsigned


def plain(signed: str, unsigned: str, floating: str = "") -> Rule:
    """The rule of an op that is an instruction of LLVM."""
    return lambda e, dtype, x, y: e.let(f"{choose(dtype, signed, unsigned, floating)} {llvm_type(dtype)} {x}, {y}")


def compare(signed: str, unsigned: str, floating: str) -> Rule:
    def rule(e: Emitter, dtype: DType, x: str, y: str) -> str:
        return e.let(f"{'f' if dtype.is_float else 'i'}cmp {choose(dtype, signed, unsigned, floating)} {llvm_type(dtype)} {x}, {y}")

    return rule


def intrinsic(signed: str, unsigned: str = "", floating: str = "") -> Rule:
    """The rule of an op that is a function of LLVM's, of as many operands as the op has."""
    return lambda e, dtype, *operands: llvm(e, choose(dtype, signed, unsigned or signed, floating or signed), dtype, *operands)


def llvm(e: Emitter, name: str, dtype: DType, *operands: str) -> str:
    kind = llvm_type(dtype)
    suffix = str(dtype) if dtype.is_float else kind
    return e.call(kind, f"llvm.{name}.{suffix}", *(f"{kind} {x}" for x in operands))


for _kind, _rule in {
    ops.Add: plain("add", "add", "fadd"),
    ops.Sub: plain("sub", "sub", "fsub"),
    ops.Mul: plain("mul", "mul", "fmul"),
    ops.And: plain("and", "and"),
    ops.Or: plain("or", "or"),
    ops.Xor: plain("xor", "xor"),
    ops.Lt: compare("slt", "ult", "olt"),
    ops.Le: compare("sle", "ule", "ole"),
    ops.Gt: compare("sgt", "ugt", "ogt"),
    ops.Ge: compare("sge", "uge", "oge"),
    ops.Eq: compare("eq", "eq", "oeq"),
    ops.Ne: compare("ne", "ne", "une"),
    ops.Minimum: intrinsic("smin", "umin", "minimum"),
    ops.Maximum: intrinsic("smax", "umax", "maximum"),
    ops.Fma: intrinsic("fma"),
}.items():
    lowers(_kind)(_rule)


@lowers(ops.Where)
def where(e: Emitter, dtype: DType, condition: str, x: str, y: str) -> str:
    return e.let(f"select i1 {condition}, {llvm_type(dtype)} {x}, {llvm_type(dtype)} {y}")


@lowers(ops.Neg)
def negate(e: Emitter, dtype: DType, x: str) -> str:
    return e.let(f"fneg {llvm_type(dtype)} {x}" if dtype.is_float else f"sub {llvm_type(dtype)} 0, {x}")


@lowers(ops.Abs)
def absolute(e: Emitter, dtype: DType, x: str) -> str:
    if dtype.is_float:
        return llvm(e, "fabs", dtype, x)
    kind = llvm_type(dtype)
    return e.call(kind, f"llvm.abs.{kind}", f"{kind} {x}", "i1 false") if dtype.is_signed else x


@lowers(ops.Not)
def invert(e: Emitter, dtype: DType, x: str) -> str:
    return e.let(f"xor {llvm_type(dtype)} {x}, -1")


# Integers: LLVM leaves large shifts and the division of the smallest number by -1 undefined, the ops do not


def logical_shift(instruction: str) -> Rule:
    """Shifts zeros in; amounts of the width and more leave nothing."""

    def rule(e: Emitter, dtype: DType, x: str, y: str) -> str:
        kind = llvm_type(dtype)
        # LLVM 22 makes shift and select one instruction, as PTX's shifts do this themselves; but those see 32 bits of the amount alone
        amount = clamped(e, dtype, y) if dtype.bits == 64 else y
        shifted = e.let(f"{instruction} {kind} {x}, {amount}")
        fits = e.let(f"icmp ult {kind} {y}, {dtype.bits}")
        return e.let(f"select i1 {fits}, {kind} {shifted}, {kind} 0")

    return rule


def clamped(e: Emitter, dtype: DType, amount: str) -> str:
    kind = llvm_type(dtype)
    return e.call(kind, f"llvm.umin.{kind}", f"{kind} {amount}", f"{kind} {dtype.bits - 1}")


lowers(ops.Shl)(logical_shift("shl"))


@lowers(ops.Shr)
def shift_right(e: Emitter, dtype: DType, x: str, y: str) -> str:
    if not dtype.is_signed:
        return logical_shift("lshr")(e, dtype, x, y)
    return e.let(f"ashr {llvm_type(dtype)} {x}, {clamped(e, dtype, y)}")


def power_of_two(y: str) -> int | None:
    """The exponent if `y` is a constant power of two."""
    number = int(y) if y.isdecimal() else 0
    return number.bit_length() - 1 if number and number & (number - 1) == 0 else None


def divisor(e: Emitter, dtype: DType, y: str) -> tuple[str, str]:
    """Where `y` is 0 or, if signed, -1, and `y` with 1 in those places.

    By zero the op is undefined, but only its own result: LLVM would take it as a promise about y, and padding may hold anything.
    """
    kind = llvm_type(dtype)
    y = e.let(f"freeze {kind} {y}")
    if dtype.is_signed:
        odd = e.let(f"icmp ult {kind} {e.let(f'add {kind} {y}, 1')}, 2")
    else:
        odd = e.let(f"icmp eq {kind} {y}, 0")
    return odd, e.let(f"select i1 {odd}, {kind} 1, {kind} {y}")


@lowers(ops.FloorDiv)
def floor_divide(e: Emitter, dtype: DType, x: str, y: str) -> str:
    kind, shift = llvm_type(dtype), power_of_two(y)
    if shift is not None:
        return e.let(f"{'ashr' if dtype.is_signed else 'lshr'} {kind} {x}, {shift}")
    special, by = divisor(e, dtype, y)
    if not dtype.is_signed:
        return e.let(f"udiv {kind} {x}, {by}")
    quotient = e.let(f"sdiv {kind} {x}, {by}")
    below = e.let(f"sext i1 {inexact_negative(e, kind, x, by)[1]} to {kind}")
    quotient = e.let(f"add {kind} {quotient}, {below}")
    return e.let(f"select i1 {special}, {kind} {e.let(f'sub {kind} 0, {x}')}, {kind} {quotient}")


@lowers(ops.Mod)
def modulo(e: Emitter, dtype: DType, x: str, y: str) -> str:
    kind, shift = llvm_type(dtype), power_of_two(y)
    if shift is not None:
        return e.let(f"and {kind} {x}, {(1 << shift) - 1}")
    _, by = divisor(e, dtype, y)
    if not dtype.is_signed:
        return e.let(f"urem {kind} {x}, {by}")
    remainder, differs = inexact_negative(e, kind, x, by)
    return e.let(f"add {kind} {remainder}, {e.let(f'select i1 {differs}, {kind} {by}, {kind} 0')}")


def inexact_negative(e: Emitter, kind: str, x: str, y: str) -> tuple[str, str]:
    """The remainder with the sign of x, and whether it is one that Python would not give: not 0 and of the other sign than y."""
    remainder = e.let(f"srem {kind} {x}, {y}")
    differs = e.let(f"icmp slt {kind} {e.let(f'xor {kind} {remainder}, {y}')}, 0")
    inexact = e.let(f"icmp ne {kind} {remainder}, 0")
    return remainder, e.let(f"and i1 {inexact}, {differs}")


# Floating functions: 16-bit types compute in f32 and round once


def single(rule: Rule) -> Rule:
    """The rule of an op on f16 and bf16, computed in f32; f32 and f64 are passed on."""

    def widened(e: Emitter, dtype: DType, *operands: str) -> str:
        if dtype.bits > 16:
            return rule(e, dtype, *operands)
        return cast(e, rule(e, f32, *(cast(e, x, dtype, f32) for x in operands)), f32, dtype)

    return widened


# Twice rounded, by way of f32, quotients and roots are as rounded once: 24 bits are 2 * 11 + 2 (Figueroa, "When is double rounding
# innocuous?", SIGNUM 30(3), 1995).
lowers(ops.Div)(single(plain("", "", "fdiv")))
lowers(ops.Sqrt)(single(intrinsic("sqrt")))
lowers(ops.Floor)(single(intrinsic("floor")))
lowers(ops.Ceil)(single(intrinsic("ceil")))


def approximate(kind: type[ops.Math]) -> Callable[[Callable[[Emitter, str], str]], Rule]:
    """Registers `rule(e, x)`, which computes in f32; f64 is refused."""

    def register(rule: Callable[[Emitter, str], str]) -> Rule:
        def of_single(e: Emitter, dtype: DType, x: str) -> str:
            name = kind.builtin
            require(dtype.bits < 64, f"GPUs have no {name} of f64", hint=f"cast to f32 first, as in tc.{name}(tc.cast(x, f32))", code=Code.NOT_ON_GPU)
            return rule(e, x)

        return lowers(kind)(single(of_single))

    return register


def number(value: float) -> str:
    return float_constant(value, "f32")


def special(e: Emitter, name: str, x: str) -> str:
    """One of the GPU's own approximations, the form that keeps subnormal numbers."""
    return e.call("float", f"llvm.nvvm.{name}", f"float {x}")


def multiply(e: Emitter, x: str, y: str) -> str:
    return e.let(f"fmul float {x}, {y}")


def fma(e: Emitter, x: str, y: str, z: str) -> str:
    return llvm(e, "fma", f32, x, y, z)


LOG2_E = 1.4426950408889634
LOG2_E_HIGH = 1.44269502162933349609375  # rounded to f32
LN_2 = 0.6931471805599453


@approximate(ops.Exp2)
def exp2(e: Emitter, x: str) -> str:
    return special(e, "ex2.approx.f32", x)


@approximate(ops.Exp)
def exp(e: Emitter, x: str) -> str:
    """2**t * (1 + d ln 2), where t + d is x / ln 2: t alone, in f32, would cost 40 ulp at x = 88.

    Beyond [-104, 89] the result is 0 or infinity as at these ends; they keep infinities out of the differences.
    """
    x = llvm(e, "maximum", f32, x, number(-104.0))
    x = llvm(e, "minimum", f32, x, number(89.0))
    t = multiply(e, x, number(LOG2_E_HIGH))
    d = fma(e, x, number(LOG2_E_HIGH), e.let(f"fneg float {t}"))
    d = fma(e, x, number(LOG2_E - LOG2_E_HIGH), d)
    return multiply(e, special(e, "ex2.approx.f32", t), fma(e, d, number(LN_2), number(1.0)))


@lowers(ops.Reciprocal)
def reciprocal(e: Emitter, dtype: DType, x: str) -> str:
    return RULES[ops.Div](e, dtype, llvm_constant(1.0, dtype), x)


@approximate(ops.ReciprocalApprox)
def reciprocal_approx(e: Emitter, x: str) -> str:
    return special(e, "rcp.approx.ftz.f", x)


@approximate(ops.Exp2Approx)
def exp2_approx(e: Emitter, x: str) -> str:
    return special(e, "ex2.approx.ftz.f", x)


@approximate(ops.ExpApprox)
def exp_approx(e: Emitter, x: str) -> str:
    return special(e, "ex2.approx.ftz.f", multiply(e, x, number(LOG2_E_HIGH)))


@approximate(ops.Log2)
def log2(e: Emitter, x: str) -> str:
    return special(e, "lg2.approx.f", x)


@approximate(ops.Log)
def log(e: Emitter, x: str) -> str:
    return multiply(e, special(e, "lg2.approx.f", x), number(LN_2))


@approximate(ops.Rsqrt)
def rsqrt(e: Emitter, x: str) -> str:
    return special(e, "rsqrt.approx.f", x)


TANH = (-0.3333329856395721, 0.1333191543817520, -0.0537832938134670, 0.0207946170121431, -0.0058939452283084)
TANH_SMALL = 0.6  # up to here the polynomial x + x**3 * (TANH[0] + TANH[1] * x**2 + ...) is within 2**-23.7, by a weighted Chebyshev fit


@approximate(ops.Tanh)
def tanh(e: Emitter, x: str) -> str:
    """1 - 2 / (exp(2 |x|) + 1) with the sign of x, where the difference cancels little; below, a polynomial."""
    magnitude = llvm(e, "fabs", f32, x)
    power = special(e, "ex2.approx.ftz.f", multiply(e, magnitude, number(2 * LOG2_E)))
    inverse = special(e, "rcp.approx.ftz.f", e.let(f"fadd float {power}, {number(1.0)}"))
    large = llvm(e, "copysign", f32, fma(e, inverse, number(-2.0), number(1.0)), x)
    square = multiply(e, x, x)
    sum = number(TANH[-1])
    for coefficient in TANH[-2::-1]:
        sum = fma(e, sum, square, number(coefficient))
    small = fma(e, multiply(e, sum, square), x, x)
    below = e.let(f"fcmp olt float {magnitude}, {number(TANH_SMALL)}")
    return e.let(f"select i1 {below}, float {small}, float {large}")
