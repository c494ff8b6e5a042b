"""PTX's floating-point instructions on arrays of register bits.

Each function takes the type's name first (f16 bf16 f32 f64, and f16x2 bf16x2 where PTX has them), then unsigned arrays of register bits
that broadcast with one another, then the instruction's modifiers by name; it returns bits. Nothing is written in place. Callers run under
`np.errstate(all="ignore")`.

Arithmetic rounds once, from the exact result. Approximate instructions (ex2, lg2, sin, cos, tanh, rsqrt, `.approx`, `.full`) are computed
in float64 and rounded to nearest: within every documented error, but not the hardware's bits. NaN results are 0x7fffffff and 0x7fff, as
on hardware; PTX leaves f64's open, here it is 0xfff8000000000000. `.ftz` flushes operands, and results after rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import reduce, wraps
from typing import Any

import numpy as np

from tilec.sim.formats import F16, F32, F64, FORMATS, Array, Format, decode, directed, encode, flush, odd, two_sum

Bits = Array


# -- registers of two halves ------------------------------------------------------------------------------------------------------------


def halves(words: Bits) -> Bits:
    """The 16-bit halves of 32-bit words on a new last axis, the lower half first."""
    return np.ascontiguousarray(words)[..., None].view(np.uint16)


def join(parts: Bits) -> Bits:
    """The inverse of `halves`."""
    return np.ascontiguousarray(parts).view(np.uint32)[..., 0]


def pack(low: Bits, high: Bits) -> Bits:
    """32-bit words of two 16-bit arrays that broadcast."""
    return low.astype(np.uint32) | (high.astype(np.uint32) << np.uint32(16))


def _by_halves(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `function(kind, *bits, **modifiers)` take f16x2 and bf16x2 as well."""

    @wraps(function)
    def either(kind: str, *bits: Bits, **modifiers: Any) -> Any:
        if not kind.endswith("x2"):
            return function(kind, *bits, **modifiers)
        return join(function(kind[:-2], *map(halves, bits), **modifiers))

    return either


def native(bits: Bits, form: Format) -> Array:
    """Values in the narrowest NumPy type that holds them all: float32 for f32, float64 for the others."""
    return bits.view(np.float32) if form is F32 else decode(bits, form)


def _operands(form: Format, bits: tuple[Bits, ...], ftz: bool) -> list[Array]:
    return [native(flush(b, form) if ftz else b, form) for b in bits]


def _close(values: Array, form: Format, ftz: bool = False, sat: bool = False, relu: bool = False) -> Bits:
    """Bits of values that already are of the format's own NumPy type."""
    if sat:
        values = np.where(values > 0, np.minimum(values, values.dtype.type(1)), values.dtype.type(0))
    if relu:
        values = np.where((values > 0) | (values != values), values, values.dtype.type(0))
    bits = values.view(form.dtype)
    unordered = values != values
    if unordered.any():
        bits = np.where(unordered, form.dtype.type(form.nan), bits)
    return flush(bits, form) if ftz else bits


# -- add, subtract, multiply, fused multiply-add ----------------------------------------------------------------------------------------


def _zero_sign(s: Array, mode: str, *terms: Array) -> Array:
    """An exact zero sum is -0 when rounding down, unless all terms are +0 (IEEE 754, 6.3)."""
    if mode != "rm":
        return s
    negative = reduce(np.logical_or, map(np.signbit, terms))
    return np.where((s == 0) & negative, -0.0, s)


@_by_halves
def add(kind: str, a: Bits, b: Bits, *, rounding: str = "rn", ftz: bool = False, sat: bool = False) -> Bits:
    """add{.rnd}{.ftz}{.sat}"""
    form = FORMATS[kind]
    x, y = _operands(form, (a, b), ftz)
    if form in (F32, F64) and rounding == "rn":
        return _close(x + y, form, ftz, sat)
    if form is F16:
        # A float64 holds the sum of two f16 exactly.
        return encode(x + y, form, rounding, ftz=ftz, sat=sat)
    x, y = x.astype(np.float64), y.astype(np.float64)
    s, e = two_sum(x, y)
    s = _zero_sign(s, rounding, x, y)
    if form is F64:
        return _close(directed(s, np.where(np.isinf(s), _overflow(s, x, y), e), rounding), form)
    return encode(odd(s, e), form, rounding, ftz=ftz, sat=sat)


def _overflow(s: Array, x: Array, y: Array) -> Array:
    """The sign of the error of an infinite sum: none if an operand was infinite, else towards zero."""
    return np.where(np.isinf(x) | np.isinf(y), 0.0, -np.sign(s))


def sub(kind: str, a: Bits, b: Bits, *, rounding: str = "rn", ftz: bool = False, sat: bool = False) -> Bits:
    """sub{.rnd}{.ftz}{.sat}"""
    return add(kind, a, b ^ b.dtype.type(_sign(kind)), rounding=rounding, ftz=ftz, sat=sat)


@_by_halves
def mul(kind: str, a: Bits, b: Bits, *, rounding: str = "rn", ftz: bool = False, sat: bool = False) -> Bits:
    """mul{.rnd}{.ftz}{.sat}"""
    form = FORMATS[kind]
    x, y = _operands(form, (a, b), ftz)
    if form in (F32, F64) and rounding == "rn":
        return _close(x * y, form, ftz, sat)
    if form is F64:
        return _close(_exactly(_fma_exactly, rounding, x, y, np.copysign(0.0, x * y)), form)
    # At most 24 bits each: the product is a float64.
    return encode(x.astype(np.float64) * y.astype(np.float64), form, rounding, ftz=ftz, sat=sat)


@_by_halves
def fma(
    kind: str, a: Bits, b: Bits, c: Bits, *, rounding: str = "rn", ftz: bool = False, sat: bool = False, relu: bool = False
) -> Bits:
    """fma.rnd{.ftz}{.sat}{.relu}: a * b + c, rounded once."""
    form = FORMATS[kind]
    x, y, z = _operands(form, (a, b, c), ftz)
    if form is F64:
        return _close(_fma64(x, y, z, rounding), form)
    z = z.astype(np.float64)
    p = x.astype(np.float64) * y.astype(np.float64)
    s = p + z
    if form is F32 and rounding == "rn" and not _may_round_twice(s):
        return _close(s.astype(np.float32), form, ftz, sat, relu)
    s, e = two_sum(p, z)
    s = odd(_zero_sign(s, rounding, p, z), e)
    return encode(s, form, rounding, ftz=ftz, sat=sat, relu=relu)


def _may_round_twice(s: Array) -> bool:
    """Whether rounding the float64 `s` to f32 may differ from rounding a value that `s` was rounded from: at ties, and below 2^-126."""
    tie = (s.view(np.int64) & 0x1FFFFFFF) == 0x10000000
    return bool((tie | ((np.abs(s) < 2.0**-126) & (s != 0))).any())


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """`p, e` with p = RN(a * b) and p + e = a * b exactly, if nothing over- or underflows (Dekker, Numer. Math. 18, 1971)."""

    def split(x: Array) -> tuple[Array, Array]:
        t = x * 134217729.0  # 2^27 + 1
        high = t - (t - x)
        return high, x - high

    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _fma64(a: Array, b: Array, c: Array, mode: str) -> Array:
    """f64 fma, by error-free transformations where these are safe (Boldo and Melquiond, Fma emulation), else by fractions."""
    if mode != "rn":
        return _exactly(_fma_exactly, mode, a, b, c)
    p, low = two_product(a, b)
    th, tl = two_sum(c, low)
    vh, vl = two_sum(p, th)
    result = vh + odd(*two_sum(tl, vl))
    size = np.abs(p)
    big = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.abs(c))
    safe = (size > 2.0**-900) & (size < 2.0**1000) & (big < 2.0**990)
    if safe.all():
        return result
    # Right where a factor is zero, infinite or NaN, or c is infinite or NaN. A product that only overflows loses to an infinite c.
    plain = np.where(np.isinf(c) & np.isfinite(a) & np.isfinite(b), c, p + c)
    result = np.where(safe, result, plain)
    hard = ~safe & np.isfinite(a) & np.isfinite(b) & np.isfinite(c) & (a != 0) & (b != 0)
    return np.where(hard, _exactly(_fma_exactly, mode, a, b, c, only=hard), result) if hard.any() else result


# -- f64 in directed modes, element by element: rare, so plain rather than fast -----------------------------------------------------------


def _exactly(function: Callable[..., float], mode: str, *values: Array, only: Array | None = None) -> Array:
    """`function(mode, *scalars)` for each element, or for those where `only` holds, the others undefined."""
    spread = np.broadcast_arrays(*values, *([] if only is None else [only]))
    out = np.zeros(spread[0].shape)
    for at in np.ndindex(out.shape):
        if only is None or spread[-1][at]:
            out[at] = function(mode, *(float(v[at]) for v in spread[: len(values)]))
    return out


def _round(x: Fraction, mode: str, zero: float = 0.0) -> float:
    """The float64 nearest to `x` in `mode`; `zero` is the result for an exact zero."""
    if x == 0:
        return zero
    try:
        nearest = float(x)
    except OverflowError:
        nearest = math.inf if x > 0 else -math.inf
    if nearest == 0.0:
        nearest = math.copysign(0.0, x)
    error = math.copysign(1.0, -nearest) if math.isinf(nearest) else _sign_of(x - Fraction(nearest))
    return float(directed(np.array(nearest), np.array(error), mode))


def _sign_of(x: Fraction) -> float:
    return float((x > 0) - (x < 0))


def _fma_exactly(mode: str, a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b)):
        return float(np.float64(a) * b + c)
    if not math.isfinite(c):
        return c
    p = math.copysign(1.0, a) * math.copysign(1.0, b)
    zeros_agree = c == 0 and p == math.copysign(1.0, c) and (a == 0 or b == 0)
    zero = math.copysign(0.0, c) if zeros_agree else (-0.0 if mode == "rm" else 0.0)
    return _round(Fraction(a) * Fraction(b) + Fraction(c), mode, zero)


def _div_exactly(mode: str, a: float, b: float) -> float:
    plain = float(np.float64(a) / np.float64(b))
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0 or b == 0:
        return plain
    return _round(Fraction(a) / Fraction(b), mode)


def _sqrt_exactly(mode: str, a: float) -> float:
    root = float(np.sqrt(np.float64(a)))
    if not math.isfinite(root) or root == 0:
        return root
    return float(directed(np.array(root), np.array(_sign_of(Fraction(a) - Fraction(root) ** 2)), mode))


# -- division and roots -----------------------------------------------------------------------------------------------------------------


def div(kind: str, a: Bits, b: Bits, *, rounding: str = "rn", ftz: bool = False) -> Bits:
    """div.{rn rz rm rp approx full}{.ftz}, f32 and f64.

    As the manual has it, div.approx of 2^126 < |b| < 2^128 gives 0, and NaN if a is infinite.
    """
    form = FORMATS[kind]
    x, y = _operands(form, (a, b), ftz)
    if form is F64 and rounding != "rn":
        return _close(_exactly(_div_exactly, rounding, x, y), form)
    quotient = x / y
    if rounding in ("rz", "rm", "rp"):
        wide = quotient.astype(np.float64)
        residual = (x.astype(np.float64) - wide * y.astype(np.float64)) * np.sign(y)
        return encode(_correct(wide, residual, (x, y)), form, rounding, ftz=ftz)
    if rounding == "approx":
        large = (np.abs(y) > 2.0**126) & np.isfinite(y)
        quotient = np.where(large & (x == x), np.where(np.isinf(x), np.float32(np.nan), np.copysign(np.float32(0), quotient)), quotient)
    return _close(quotient, form, ftz)


def _correct(nearest: Array, residual: Array, operands: tuple[Array, ...]) -> Array:
    """A float64 strictly between the f32 `nearest` and its neighbour on the side of `residual`, so that directed rounding sees the side.

    An infinite quotient of finite operands, the divisor not zero, becomes a float64 beyond f32's range.
    """
    overflow = np.isinf(nearest) & reduce(np.logical_and, map(np.isfinite, operands)) & (operands[-1] != 0)
    nearest = np.where(overflow, np.copysign(1e300, nearest), nearest)
    inexact = np.isfinite(nearest) & np.isfinite(residual) & (residual != 0) & ~overflow  # divided by infinity, zero is exact
    sign = np.where(nearest == 0, np.copysign(1.0, nearest), 1.0)
    tiny = np.where(nearest == 0, sign * 1e-300, np.nextafter(nearest, np.copysign(np.inf, residual)))
    return np.where(inexact, tiny, nearest)


def rcp(kind: str, a: Bits, *, rounding: str = "rn", ftz: bool = False) -> Bits:
    """rcp.{rn rz rm rp approx}{.ftz}. rcp.approx.ftz.f64 reads and writes the upper 32 bits alone."""
    if kind == "f64" and rounding == "approx":
        return _upper(lambda x: 1.0 / x, a)
    one = encode(np.ones((1,) * a.ndim), FORMATS[kind])
    return div(kind, one, a, rounding="rn" if rounding == "approx" else rounding, ftz=ftz)


def sqrt(kind: str, a: Bits, *, rounding: str = "rn", ftz: bool = False) -> Bits:
    """sqrt.{rn rz rm rp approx}{.ftz}, f32 and f64."""
    form = FORMATS[kind]
    (x,) = _operands(form, (a,), ftz)
    if form is F64 and rounding not in ("rn", "approx"):
        return _close(_exactly(_sqrt_exactly, rounding, x), form)
    root = np.sqrt(x)
    if rounding in ("rz", "rm", "rp"):
        wide = root.astype(np.float64)
        return encode(_correct(wide, x.astype(np.float64) - wide * wide, (x, np.ones_like(x))), form, rounding, ftz=ftz)
    return _close(root, form, ftz)


def _upper(function: Callable[[Array], Array], a: Bits) -> Bits:
    high = np.uint64(0xFFFF_FFFF_0000_0000)
    x = flush(a & high, F64).view(np.float64)
    return np.where(np.isnan(x), np.uint64(0x7FFF_FFFF_0000_0000), flush(_close(function(x), F64) & high, F64))


# -- approximate functions --------------------------------------------------------------------------------------------------------------


def _approximate(function: Callable[[Array], Array]) -> Callable[..., Bits]:
    @_by_halves
    def instruction(kind: str, a: Bits, *, ftz: bool = False) -> Bits:
        form = FORMATS[kind]
        return encode(function(decode(flush(a, form) if ftz else a, form)), form, ftz=ftz)

    return instruction


ex2 = _approximate(np.exp2)
lg2 = _approximate(np.log2)
sin = _approximate(np.sin)
cos = _approximate(np.cos)
tanh = _approximate(np.tanh)
_rsqrt = _approximate(lambda x: 1.0 / np.sqrt(x))


def rsqrt(kind: str, a: Bits, *, ftz: bool = False) -> Bits:
    """rsqrt.approx{.ftz}: f32, and f64, of which the .ftz form reads and writes the upper 32 bits alone."""
    return _upper(lambda x: 1.0 / np.sqrt(x), a) if kind == "f64" and ftz else _rsqrt(kind, a, ftz=ftz)


# -- signs, minimum and maximum ---------------------------------------------------------------------------------------------------------


def _sign(kind: str) -> int:
    return {"f16x2": 0x80008000, "bf16x2": 0x80008000}.get(kind) or FORMATS[kind].sign


def _flushed(kind: str, a: Bits, ftz: bool) -> Bits:
    if not ftz:
        return a
    return join(flush(halves(a), FORMATS[kind[:-2]])) if kind.endswith("x2") else flush(a, FORMATS[kind])


def neg(kind: str, a: Bits, *, ftz: bool = False) -> Bits:
    """neg{.ftz}: the sign flipped, NaN's too."""
    return _flushed(kind, a, ftz) ^ a.dtype.type(_sign(kind))


def absolute(kind: str, a: Bits, *, ftz: bool = False) -> Bits:
    """abs{.ftz}: the sign cleared, NaN's too."""
    return _flushed(kind, a, ftz) & ~a.dtype.type(_sign(kind))


def copysign(kind: str, a: Bits, b: Bits) -> Bits:
    """copysign: the magnitude of b with the sign of a."""
    sign = a.dtype.type(_sign(kind))
    return (a & sign) | (b & ~sign)


def is_nan(bits: Bits, form: Format) -> Array:
    return (bits & form.dtype.type(form.sign - 1)) > form.dtype.type(form.inf)


def _extreme(extreme: Callable[[Array, Array], Array]) -> Callable[..., Bits]:
    @_by_halves
    def instruction(
        kind: str, *operands: Bits, ftz: bool = False, nan: bool = False, xorsign_abs: bool = False, abs: bool = False, relu: bool = False
    ) -> Bits:
        form = FORMATS[kind]
        sign = form.dtype.type(form.sign)
        given = [flush(x, form) if ftz else x for x in operands]
        bare = [x & ~sign for x in given] if xorsign_abs or abs else given
        signed = f"i{form.width // 8}"

        def order(x: Array) -> Array:
            """Integers in the order of the values, -0 before +0 (sign-magnitude to two's complement); its own inverse."""
            return x ^ ((x >> x.dtype.type(form.width - 1)) & x.dtype.type(form.sign - 1))

        def choose(a: Bits, b: Bits) -> Bits:
            whole = order(extreme(order(a.view(signed)), order(b.view(signed)))).view(form.dtype)
            a_nan, b_nan = is_nan(a, form), is_nan(b, form)
            if not (a_nan.any() or b_nan.any()):
                return whole
            picked = np.where(a_nan, b, np.where(b_nan, a, whole))
            missing = (a_nan | b_nan) if nan else (a_nan & b_nan)
            return np.where(missing, form.dtype.type(form.nan), picked)

        result = reduce(choose, bare)
        if xorsign_abs:
            signs = reduce(np.bitwise_xor, given) & sign
            result = np.where(is_nan(result, form), result, result | signs)
        if relu:
            result = np.where(((result & sign) != 0) & ~is_nan(result, form), form.dtype.type(0), result)
        return result

    return instruction


minimum = _extreme(np.minimum)
minimum.__doc__ = """min{.ftz}{.NaN}{.xorsign.abs}{.abs} of two operands or three.

The operand that is no NaN wins, -0 < +0; with nan=True any NaN gives the canonical NaN.
"""
maximum = _extreme(np.maximum)
maximum.__doc__ = "max: see `minimum`."


# -- comparison -------------------------------------------------------------------------------------------------------------------------

_ORDERED: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def compare(op: str, kind: str, a: Bits, b: Bits, *, ftz: bool = False) -> Array:
    """The boolean of setp and set, of integers, bits and floats; packed types give a last axis of two, the lower half first.

    Of NaN, eq lt le gt ge are false and so is ne; the forms with a u (equ neu ltu leu gtu geu) are true; num and nan ask for it.
    """
    if kind.endswith("x2") and kind[:-2] in FORMATS:
        return compare(op, kind[:-2], halves(a), halves(b), ftz=ftz)
    if kind not in FORMATS:
        op = _UNSIGNED.get(op, op)
        if kind[0] == "s":
            a, b = a.view(f"i{a.itemsize}"), b.view(f"i{b.itemsize}")
        return _ORDERED[op](a, b)
    x, y = _operands(FORMATS[kind], (a, b), ftz)
    if op in ("num", "nan"):
        unordered = (x != x) | (y != y)
        return unordered if op == "nan" else ~unordered
    if op in _OR_UNORDERED:
        return ~_OR_UNORDERED[op](x, y)
    if op == "ne":
        return (x < y) | (x > y)
    return x != y if op == "neu" else _ORDERED[op](x, y)


_OR_UNORDERED: dict[str, Callable[[Array, Array], Array]] = {  # each by what it excludes
    "equ": lambda x, y: (x < y) | (x > y), "ltu": np.greater_equal, "leu": np.greater, "gtu": np.less_equal, "geu": np.less,
}


def set_value(flags: Array, kind: str) -> Bits:
    """What `set` writes: all ones for integers, 1.0 for floats (of packed types, for each half of the last axis)."""
    if kind.endswith("x2"):
        return join(set_value(flags, kind[:-2]))
    if kind not in FORMATS:
        dtype = np.dtype(f"u{int(kind[1:]) // 8}").type
        return np.where(flags, ~dtype(0), dtype(0))
    form = FORMATS[kind]
    return np.where(flags, encode(np.ones(1), form), form.dtype.type(0))


def testp(op: str, kind: str, a: Bits) -> Array:
    """testp.{finite infinite number notanumber normal subnormal}, f32 and f64. Zero is neither normal nor subnormal."""
    form = FORMATS[kind]
    magnitude = a & form.dtype.type(form.sign - 1)
    inf, normal = form.dtype.type(form.inf), form.dtype.type(1 << form.mantissa)
    return {
        "finite": lambda: magnitude < inf, "infinite": lambda: magnitude == inf, "number": lambda: magnitude <= inf,
        "notanumber": lambda: magnitude > inf, "normal": lambda: (magnitude >= normal) & (magnitude < inf),
        "subnormal": lambda: (magnitude > 0) & (magnitude < normal),
    }[op]()

