"""Conversions between any two types, one element at a time, in LLVM IR that every target has: what `Cast`'s docstring says, bit for bit.

A conversion goes by way of a wide form: an integer in a register of 32 or 64 bits, or a float that rounds to every narrower type as
the source does, which is the source itself or the source *rounded to odd*: what is inexact takes the neighbour whose last bit is 1, so
that no later rounding sees a tie or an exact value where there was none (Boldo and Melquiond, "Emulation of a FMA and correctly rounded
sums", IEEE TC 57(4), 2008). Formats come in by their parameters alone.

    e3m2 -> f32      bits << 21, times 2**124, sign
    f32 -> e3m2      |x| + 2**19 and the last place seen as an integer if subnormal, else the upper bits, rounded and rebased; sign
    nf4 -> f16       a tree of selects over the 16 entries
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilec.backend.emit import GLOBAL, Emitter, float_constant, llvm_constant, llvm_type
from tilec.ir.dtypes import Codebook, DType, Float, Int, Scale, f32, f64, i32, u32
from tilec.ir.ops.arith import convert

SIGN, INFINITY, QUIET_NAN = 0x80000000, 0x7F800000, 0x7FC00000  # of f32
MAGIC = 1.5 * 2.0**23  # a sum with it, below 2**22, is rounded to an integer, which its low bits hold
PRECISION = {"float": 24, "double": 53}
TREE = 4  # bits: tables of up to 16 entries are selects, larger ones are memory


def cast(e: Emitter, x: str, source: DType, target: DType) -> str:
    """The element `x` of type `source` as `target`, both held as `llvm_type` says."""
    if source == target:
        return x
    if isinstance(source, Codebook):
        return _table(e, x, source, target)
    if target.is_bool:
        return _nonzero(e, x, source)
    if isinstance(target, Int):
        return _float_to_int(e, x, source, target) if source.is_float else _int_to_int(e, x, source, target)
    if isinstance(target, Codebook):
        return _nearest(e, x, source, target)
    if target in (f32, f64):
        return nearest(e, x, source, target)
    wide = single(e, x, source)
    if target.computes:
        return e.let(f"fptrunc float {wide} to {llvm_type(target)}")
    code = _encode_scale(e, wide) if isinstance(target, Scale) else _encode_float(e, wide, target)  # type: ignore[arg-type]
    return e.let(f"trunc i32 {code} to i8")


def stochastic(e: Emitter, x: str, random: str, source: DType, target: DType) -> str:
    """`x` of f16, bf16 or f32 as a code of `target`, rounded by the upper half of `random`, an i32; `StochasticCast` says how.

    The mantissa is shifted until 16 bits of it lie below the target's last place; half of the random bits are added to them.
    """
    x = nearest(e, x, source, f32)
    nan = e.let(f"fcmp uno float {x}, {number(0.0)}")
    bits = e.let(f"bitcast float {x} to i32")
    negative = e.let(f"icmp slt i32 {bits}, 0")
    limit = select(e, negative, "i32", bits_of(abs(float(target.min))), bits_of(float(target.max)))
    size = e.call("i32", "llvm.umin.i32", f"i32 {i32_op(e, 'and', bits, SIGN - 1)}", f"i32 {limit}")
    m = target.mantissa_bits if target.is_float else 7
    least = 128 - target.bias if target.is_float else 127 + m  # the exponent of the smallest normal number; no integer reaches beyond its own
    exponent = i32_op(e, "lshr", size, 23)
    significand = i32_op(e, "or", i32_op(e, "and", size, (1 << 23) - 1), 1 << 23)
    low = e.call("i32", "llvm.usub.sat.i32", f"i32 {least}", f"i32 {exponent}")
    shift = e.call("i32", "llvm.umin.i32", f"i32 {i32_op(e, 'add', low, 7 - m)}", "i32 31")
    places = i32_op(e, "lshr", significand, shift)
    count = i32_op(e, "lshr", i32_op(e, "add", places, i32_op(e, "lshr", random, 16)), 16)
    if target.is_int:
        count = select(e, negative, "i32", i32_op(e, "sub", 0, count), count)
        return _code(e, select(e, nan, "i32", 0, count), target)
    above = e.call("i32", "llvm.usub.sat.i32", f"i32 {exponent}", f"i32 {least}")
    code = i32_op(e, "add", count, i32_op(e, "shl", above, m))
    sign = select(e, negative, "i32", 1 << target.bits - 1, 0)
    largest = (1 << target.bits - 1) - 1  # NaN, if there is one
    return _code(e, select(e, nan, "i32", largest, i32_op(e, "or", code, sign)), target)


def select(e: Emitter, condition: str, kind: str, x: str | int, y: str | int) -> str:
    return e.let(f"select i1 {condition}, {kind} {x}, {kind} {y}")


def i32_op(e: Emitter, operation: str, x: str | int, y: str | int) -> str:
    return e.let(f"{operation} i32 {x}, {y}")


def bits_of(value: float) -> int:
    """The bits of a number as f32."""
    return int(np.float32(value).view(np.uint32))


def number(value: float) -> str:
    """A number as a constant of f32."""
    return float_constant(value, "f32")


# Wide forms


def integer(e: Emitter, x: str, source: DType) -> tuple[str, DType]:
    """An integer or bool in a register of 32 or 64 bits, and the type it has there."""
    wide = source if source.bits >= 32 else i32 if source.is_signed else u32
    if source.bits >= 32:
        return x, wide
    if source.computes or not source.is_signed:
        return e.let(f"{'s' if source.is_signed else 'z'}ext {llvm_type(source)} {x} to i32"), wide
    spare = 32 - source.bits
    return i32_op(e, "ashr", i32_op(e, "shl", e.let(f"zext i8 {x} to i32"), spare), spare), wide


def nearest(e: Emitter, x: str, source: DType, target: DType) -> str:
    """`x` as f32 or f64, rounded once to nearest."""
    kind = llvm_type(target)
    if not source.is_float:
        x, wide = integer(e, x, source)
        return e.let(f"{'s' if wide.is_signed else 'u'}itofp {llvm_type(wide)} {x} to {kind}")
    if source == target:
        return x
    if source == f64:
        return e.let(f"fptrunc double {x} to float")
    if not source.computes:
        code = e.let(f"zext i8 {x} to i32")
        x, source = _decode_scale(e, code) if isinstance(source, Scale) else _decode_float(e, code, source), f32  # type: ignore[arg-type]
    return x if source == target else e.let(f"fpext {llvm_type(source)} {x} to {kind}")


def single(e: Emitter, x: str, source: DType) -> str:
    """`x` as f32, exactly or rounded to odd."""
    if source == f64:
        return _narrow_to_odd(e, x)
    if source.is_float or source.bits < 32:
        return nearest(e, x, source, f32)
    return _int_to_odd(e, x, source, "float") if source.bits == 32 else _narrow_to_odd(e, _int_to_odd(e, x, source, "double"))


def double(e: Emitter, x: str, source: DType) -> str:
    """`x` as f64, exactly or rounded to odd."""
    return _int_to_odd(e, x, source, "double") if source.is_int and source.bits == 64 else nearest(e, x, source, f64)


def _int_to_odd(e: Emitter, x: str, source: DType, to: str) -> str:
    """An integer with 8 or 11 bits more than the float has: if it needs them, they become one sticky bit above them.

    In two's complement, too, this takes a number between two even multiples to the odd multiple between them.
    """
    kind, precision = llvm_type(source), PRECISION[to]
    low = source.bits - precision
    rest = e.let(f"icmp ne {kind} {e.let(f'and {kind} {x}, {(1 << low) - 1}')}, 0")
    sticky = select(e, rest, kind, 1 << low, 0)
    odd = e.let(f"or {kind} {e.let(f'and {kind} {x}, {-(1 << low)}')}, {sticky}")
    if source.is_signed:
        large = e.let(f"icmp ugt {kind} {e.let(f'add {kind} {x}, {1 << precision}')}, {2 << precision}")
    else:
        large = e.let(f"icmp ugt {kind} {x}, {1 << precision}")
    return e.let(f"{'s' if source.is_signed else 'u'}itofp {kind} {select(e, large, kind, odd, x)} to {to}")


def _narrow_to_odd(e: Emitter, x: str) -> str:
    """f64 to f32, rounded to odd: of what rounding to nearest gives, one step back if it went outwards, then the last bit set."""
    near = e.let(f"fptrunc double {x} to float")
    back = e.let(f"fpext float {near} to double")
    inexact = e.let(f"fcmp one double {back}, {x}")
    magnitudes = [e.call("double", "llvm.fabs.f64", f"double {v}") for v in (back, x)]
    outwards = e.let(f"fcmp ogt double {magnitudes[0]}, {magnitudes[1]}")
    bits = i32_op(e, "add", e.let(f"bitcast float {near} to i32"), e.let(f"sext i1 {outwards} to i32"))
    return e.let(f"bitcast i32 {i32_op(e, 'or', bits, e.let(f'zext i1 {inexact} to i32'))} to float")


# From codes of floats


def _decode_float(e: Emitter, code: str, t: Float) -> str:
    """A code as an i32 to f32, exactly: the magnitude moved to f32's place, where a multiplication corrects the bias, of subnormals too."""
    magnitude = i32_op(e, "and", code, (1 << t.bits - 1) - 1)
    placed = i32_op(e, "shl", magnitude, 23 - t.mantissa_bits)
    scaled = e.let(f"fmul float {e.let(f'bitcast i32 {placed} to float')}, {number(2.0 ** (127 - t.bias))}")
    bits = e.let(f"bitcast float {scaled} to i32")
    if t.has_nan:  # infinities and NaN keep their mantissa and get f32's largest exponent
        special = e.let(f"icmp ugt i32 {magnitude}, {t.max_code}")
        bits = select(e, special, "i32", i32_op(e, "or", placed, INFINITY), bits)
    sign = i32_op(e, "and", i32_op(e, "shl", code, 32 - t.bits), SIGN)
    return e.let(f"bitcast i32 {i32_op(e, 'or', bits, sign)} to float")


def _decode_scale(e: Emitter, code: str) -> str:
    """A code c of e8m0 as an i32 to 2**(c - 127): f32's exponent, but for 2**-127, which is subnormal, and NaN."""
    bits = i32_op(e, "shl", code, 23)
    bits = select(e, e.let(f"icmp eq i32 {code}, 0"), "i32", bits_of(2.0**-127), bits)
    bits = select(e, e.let(f"icmp eq i32 {code}, 255"), "i32", QUIET_NAN, bits)
    return e.let(f"bitcast i32 {bits} to float")


# To codes of floats


def _encode_float(e: Emitter, x: str, t: Float) -> str:
    """f32 to a code as an i32: nearest even, saturated; the rules of `Float` for ties without a mantissa and for NaN.

    From the smallest normal number upwards the code is the upper bits of the magnitude, counted from that number's exponent; a
    carry out of the mantissa is right by itself. Below, a sum with 1.5 * 2**23 last places is rounded by the hardware.
    """
    m, bias_difference = t.mantissa_bits, 127 - t.bias
    bits = e.let(f"bitcast float {x} to i32")
    magnitude = i32_op(e, "and", bits, SIGN - 1)
    magnitude = e.call("i32", "llvm.umin.i32", f"i32 {magnitude}", f"i32 {bits_of(t.max)}")

    shift = 23 - m
    even = i32_op(e, "and", i32_op(e, "lshr", magnitude, shift), 1) if m else "1"  # the hidden bit is odd
    rounding = i32_op(e, "add", even, (1 << shift - 1) - 1 - (bias_difference << 23))
    normal = i32_op(e, "lshr", i32_op(e, "add", magnitude, rounding), shift)

    magic = MAGIC * t.smallest_normal * 2.0**-m
    total = e.let(f"fadd float {e.let(f'bitcast i32 {magnitude} to float')}, {number(magic)}")
    subnormal = i32_op(e, "sub", e.let(f"bitcast float {total} to i32"), bits_of(magic))

    small = e.let(f"icmp ult i32 {magnitude}, {bits_of(t.smallest_normal)}")
    sign = i32_op(e, "and", i32_op(e, "lshr", bits, 32 - t.bits), 1 << t.bits - 1)
    code = i32_op(e, "or", select(e, small, "i32", subnormal, normal), sign)
    return select(e, e.let(f"fcmp uno float {x}, {number(0.0)}"), "i32", (1 << t.bits - 1) - 1, code)


def _encode_scale(e: Emitter, x: str) -> str:
    """f32 to a code of e8m0 as an i32: the nearest power of two, the larger in a tie, 2**-127 at least; NaN for negative numbers."""
    bits = e.let(f"bitcast float {x} to i32")
    exponent = i32_op(e, "lshr", i32_op(e, "add", bits, 1 << 22), 23)
    exponent = select(e, e.let(f"icmp ult i32 {bits}, {bits_of(1.5 * 2.0**-127)}"), "i32", 0, exponent)
    exponent = e.call("i32", "llvm.umin.i32", f"i32 {exponent}", "i32 254")
    # -0 has a large exponent as an unsigned number, but is 0
    negative_zero = e.let(f"icmp eq i32 {bits}, {SIGN}")
    exponent = select(e, negative_zero, "i32", 0, exponent)
    return select(e, e.let(f"fcmp oge float {x}, {number(0.0)}"), "i32", exponent, 255)


# Integers and bools


def _nonzero(e: Emitter, x: str, source: DType) -> str:
    if source.is_int:
        return e.let(f"icmp ne {llvm_type(source)} {x}, 0")
    wide = f64 if source == f64 else f32
    return e.let(f"fcmp une {llvm_type(wide)} {nearest(e, x, source, wide)}, {float_constant(0.0, str(wide))}")


def _int_to_int(e: Emitter, x: str, source: DType, target: Int) -> str:
    """Modulo 2**bits to a computing type, saturated to a storage type; True is the code 1."""
    if source.is_bool:
        return e.let(f"zext i1 {x} to {llvm_type(target)}")
    x, wide = integer(e, x, source)
    if target.computes:
        return _resize(e, x, wide, target.bits)
    kind, sign = llvm_type(wide), "s" if wide.is_signed else "u"
    if source.min < target.min:
        x = e.call(kind, f"llvm.{sign}max.{kind}", f"{kind} {x}", f"{kind} {target.min}")
    if source.max > target.max:
        x = e.call(kind, f"llvm.{sign}min.{kind}", f"{kind} {x}", f"{kind} {target.max}")
    return _code(e, _resize(e, x, wide, 32), target)


def _resize(e: Emitter, x: str, wide: DType, bits: int) -> str:
    if bits == wide.bits:
        return x
    operation = "trunc" if bits < wide.bits else "sext" if wide.is_signed else "zext"
    return e.let(f"{operation} i{wide.bits} {x} to i{bits}")


def _code(e: Emitter, x: str, target: DType) -> str:
    """The low bits of an i32 as a code."""
    x = i32_op(e, "and", x, (1 << target.bits) - 1) if target.bits < 8 else x
    return e.let(f"trunc i32 {x} to i8")


def _float_to_int(e: Emitter, x: str, source: DType, target: Int) -> str:
    """Towards zero to a computing type, to nearest even to a storage type; saturated, NaN to 0."""
    if target.computes:
        wide = f64 if source == f64 else f32
        function = f"llvm.fpto{'s' if target.is_signed else 'u'}i.sat.i{target.bits}.{wide}"
        return e.call(f"i{target.bits}", function, f"{llvm_type(wide)} {nearest(e, x, source, wide)}")
    x = single(e, x, source)
    x = select(e, e.let(f"fcmp uno float {x}, {number(0.0)}"), "float", number(0.0), x)
    x = e.call("float", "llvm.maxnum.f32", f"float {x}", f"float {number(target.min)}")
    x = e.call("float", "llvm.minnum.f32", f"float {x}", f"float {number(target.max)}")
    return _code(e, e.let(f"bitcast float {e.let(f'fadd float {x}, {number(MAGIC)}')} to i32"), target)


# Codebooks


def _table(e: Emitter, code: str, source: Codebook, target: DType) -> str:
    """What each code converts to is known here: a tree of selects, or memory for the larger codebooks."""
    kind = llvm_type(target)
    converted = convert(source.decode(np.arange(1 << source.bits, dtype=np.uint8)), source, target)
    values = [llvm_constant(v, target) for v in converted.tolist()]
    if source.bits <= TREE:
        bits = [e.let(f"trunc i8 {code if i == 0 else e.let(f'lshr i8 {code}, {i}')} to i1") for i in reversed(range(source.bits))]
        return _pick(e, kind, bits, values)
    if kind == "i1":
        kind, values = "i8", [str(int(v == "true")) for v in values]
    name = f'@"codebook.{source}.{target}"'
    entries = ", ".join(f"{kind} {v}" for v in values)
    table = f"{name} = internal unnamed_addr addrspace({GLOBAL}) constant [{len(values)} x {kind}] [{entries}]"
    if table not in e.declared:
        e.declared.append(table)
    at = e.let(f"getelementptr inbounds {kind}, ptr addrspace({GLOBAL}) {name}, i32 {e.let(f'zext i8 {code} to i32')}")
    value = e.let(f"load {kind}, ptr addrspace({GLOBAL}) {at}")
    return e.let(f"trunc i8 {value} to i1") if target.is_bool else value


def _pick(e: Emitter, kind: str, bits: Sequence[str], values: Sequence[str]) -> str:
    """The value numbered by `bits`, the highest first."""
    if not bits:
        return values[0]
    half = len(values) // 2
    return _pick(e, kind, bits[1:], [select(e, bits[0], kind, high, low) for low, high in zip(values[:half], values[half:], strict=True)])


def _nearest(e: Emitter, x: str, source: DType, target: Codebook) -> str:
    """The rank of a number among the entries by bisection, a bit at a time; then the code of that rank."""
    thresholds, codes = target.search
    wide = f64 if source == f64 or (source.is_int and source.bits >= 32) else f32
    if wide == f64:
        x = double(e, x, source)
    else:
        x = nearest(e, x, source, f32)
        rounded = thresholds.astype(np.float32)  # a number of f32 is above a threshold if it is above that rounded down
        thresholds = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    bits = _rank(e, x, wide, [llvm_constant(t, wide) for t in thresholds.tolist()])
    return _pick(e, "i8", bits, [str(c) for c in codes.tolist()])


def _rank(e: Emitter, x: str, wide: DType, thresholds: Sequence[str]) -> list[str]:
    """How many of 2**b - 1 rising thresholds x is above, as bits, the highest first; all of them for NaN."""
    if not thresholds:
        return []
    half, kind = len(thresholds) // 2, llvm_type(wide)
    above = e.let(f"fcmp ugt {kind} {x}, {thresholds[half]}")
    rest = [select(e, above, kind, high, low) for low, high in zip(thresholds[:half], thresholds[half + 1 :], strict=True)]
    return [above, *_rank(e, x, wide, rest)]
