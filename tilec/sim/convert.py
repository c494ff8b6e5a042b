"""PTX's `cvt` and `cvt.pack` on arrays of register bits.

Rules from the PTX manual's chapter on cvt: floats become integers by rounding, then saturate; NaN becomes 0, but 2^(width-1) if the source
is f64 or the destination has 64 bits; integers become narrower by dropping bits, unless `.sat`; e4m3, e5m2 and the narrower floats always
saturate to finite; in packed forms the first source is the upper part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.sim.formats import F32, F64, FORMATS, UNSIGNED, Array, Format, decode, directed, encode, flush, integral, odd, two_sum
from tilec.sim.numerics import Bits, pack

_INTEGRAL = {"rni": "rn", "rzi": "rz", "rmi": "rm", "rpi": "rp"}


def integer_range(kind: str) -> tuple[int, int]:
    """Least and greatest value of s8 u16 and so on."""
    bits = int(kind[1:])
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind[0] == "s" else (0, (1 << bits) - 1)


def extend(bits: Bits, kind: str, width: int) -> Bits:
    """The low bits of registers read as an integer type and extended to `width` bits, by sign or zeros, as unsigned patterns."""
    size = int(kind[1:])
    narrow = bits.astype(UNSIGNED[size])
    if kind[0] == "s":
        return narrow.view(f"i{size // 8}").astype(f"i{width // 8}").view(UNSIGNED[width])
    return narrow.astype(UNSIGNED[width])


def _mode(rounding: str | None, default: str = "rn") -> str:
    return default if rounding is None else rounding


def cvt(
    to: str, source: str, a: Bits, *, rounding: str | None = None, ftz: bool = False, sat: bool = False, satfinite: bool = False,
    relu: bool = False, width: int | None = None,
) -> Bits:
    """cvt of one value: `to` and `source` are types (s8 .. u64, f16 bf16 tf32 f32 f64, and the scalar formats of formats.py).

    rounding: rn rz rm rp rna, or rni rzi rmi rpi, or None. The result has the destination's own size, at least 16 bits, or `width`
    bits: integers are extended by their signedness.
    """
    if to in FORMATS:
        bits = _to_float(FORMATS[to], source, a, rounding, ftz, sat, satfinite, relu)
        return bits if width is None else bits.astype(UNSIGNED[width])
    width = width or max(16, int(to[1:]))
    if source in FORMATS:
        form = FORMATS[source]
        return extend(_float_to_integer(to, form, flush(a, form) if ftz else a, rounding), to, width)
    return extend(_saturated(to, source, a) if sat else extend(a, source, 64), to, width)


def _to_float(
    to: Format, source: str, a: Bits, rounding: str | None, ftz: bool, sat: bool, satfinite: bool, relu: bool
) -> Bits:
    modifiers: dict[str, Any] = {"sat": sat, "satfinite": satfinite, "relu": relu}
    if source not in FORMATS:
        s, e = _integer_parts(source, a)
        values = directed(s, e, _mode(rounding)) if to is F64 else odd(s, e)
        return encode(values, to, _mode(rounding), **modifiers)
    form = FORMATS[source]
    values = decode(flush(a, form) if ftz and form is F32 else a, form)
    if rounding in _INTEGRAL:
        return encode(integral(values, _INTEGRAL[rounding]), to, ftz=ftz and to is F32, **modifiers)
    return encode(values, to, _mode(rounding), ftz=ftz and to is F32, **modifiers)


def _integer_parts(kind: str, a: Bits) -> tuple[Array, Array]:
    """Any integer as an exact sum of two float64, the first the nearest to it."""
    wide = extend(a, kind, 64)
    low = (wide & np.uint64(0xFFFFFFFF)).astype(np.float64)
    if kind[0] == "s":
        high = (wide.view(np.int64) >> 32).astype(np.float64)
    else:
        high = (wide >> np.uint64(32)).astype(np.float64)
    return two_sum(high * 2.0**32, low)


def _float_to_integer(to: str, form: Format, a: Bits, rounding: str | None) -> Bits:
    values = decode(a, form)
    low, high = integer_range(to)
    size = int(to[1:])
    whole = integral(values, _INTEGRAL[_mode(rounding, "rzi")])
    inside = (whole >= low) & (whole < high + 1.0)  # high + 1 is a power of two
    dtype = "i8" if to[0] == "s" else "u8"
    result = np.where(inside, whole, 0.0).astype(dtype)
    result = np.where(inside, result, np.where(whole < low, np.array(low, dtype), np.array(high, dtype))).view(np.uint64)
    nan = 1 << (size - 1) if form is F64 or size == 64 else 0
    return np.where(np.isnan(values), np.uint64(nan), result)


def _saturated(to: str, source: str, a: Bits) -> Bits:
    low, high = integer_range(to)
    wide = extend(a, source, 64)
    if source[0] == "s":
        return np.clip(wide.view(np.int64), max(low, -(1 << 63)), min(high, (1 << 63) - 1)).astype(np.int64).view(np.uint64)
    return np.minimum(wide, np.uint64(high))


# -- packed forms -----------------------------------------------------------------------------------------------------------------------


def cvt_x2(
    to: str, source: str, first: Bits, second: Bits, *, rounding: str = "rn", satfinite: bool = False, relu: bool = False,
    ftz: bool = False, random: Bits | None = None,
) -> Bits:
    """cvt to f16x2, bf16x2 or a pair of narrow floats from two f32 (or two f16 or bf16): `first` becomes the upper part.

    f16x2 and bf16x2 are 32-bit words; pairs of 8- and 6-bit floats are 16-bit, a byte each; e2m1x2 is 8-bit, a nibble each, in 16 bits.
    random: the third source of the .rs forms, of which the upper element takes bits 31..16 and the lower bits 15..0 (13 of each for f16).
    """
    form = FORMATS[to.removesuffix("x2")]
    origin = FORMATS[source]
    dropped = F32.mantissa - form.mantissa

    def one(bits: Bits, shift: int) -> Bits:
        values = decode(flush(bits, origin) if ftz else bits, origin)
        noise = None if random is None else (random >> np.uint32(shift))
        return encode(values, form, rounding, satfinite=satfinite, relu=relu, random=noise, random_bits=min(16, dropped))

    upper, lower = one(first, 16), one(second, 0)
    if form.width == 16:
        return pack(lower, upper)
    shift = np.uint16(4 if form.bits == 4 else 8)
    return lower.astype(np.uint16) | (upper.astype(np.uint16) << shift)


def cvt_from_x2(to: str, source: str, a: Bits, *, relu: bool = False) -> Bits:
    """cvt.rn.f16x2 (or bf16x2) from a pair of narrow floats: 32-bit words, the order kept."""
    form, result = FORMATS[source.removesuffix("x2")], FORMATS[to.removesuffix("x2")]
    shift = np.uint16(4 if form.bits == 4 else 8)
    mask = np.uint16((1 << (4 if form.bits == 4 else 8)) - 1)
    narrow = a.astype(np.uint16)
    lower, upper = (encode(decode((part & mask).astype(np.uint8), form), result, relu=relu) for part in (narrow, narrow >> shift))
    return pack(lower, upper)


def cvt_x4(to: str, sources: tuple[Bits, Bits, Bits, Bits], random: Bits, *, relu: bool = False) -> Bits:
    """cvt.rs.satfinite.{e4m3x4 e5m2x4 e2m3x4 e3m2x4 e2m1x4}.f32 d, {a, b, e, f}, rbits: a is the uppermost element.

    Random bits: a and b take the upper half of rbits, e and f the lower one; for e2m1x4 a and b take the upper bytes of both halves, e and
    f the lower ones (which of the two is in a figure of the manual only; here a and e take the upper half's).
    """
    form = FORMATS[to.removesuffix("x4")]
    step, amount = (4, 8) if form.bits == 4 else (8, 16)
    shifts = (0, 16, 8, 24) if form.bits == 4 else (0, 0, 16, 16)  # of f, e, b, a
    result: Bits = np.zeros(1, np.uint32)
    for place, (bits, shift) in enumerate(zip(reversed(sources), shifts, strict=True)):
        code = encode(decode(bits, F32), form, "rs", relu=relu, random=random >> np.uint32(shift), random_bits=amount)
        result = result | (code.astype(np.uint32) << np.uint32(step * place))
    return result


def cvt_pack(to: str, a: Bits, b: Bits, c: Bits | None = None) -> Bits:
    """cvt.pack.sat.{u2 s2 u4 s4 u8 s8 u16 s16}.s32{.b32} d, a, b{, c}: a above b in the low bits, then the low bits of c above both."""
    low, high = integer_range(to)
    size = int(to[1:])
    mask = (1 << size) - 1

    def field(x: Bits) -> Bits:
        return np.clip(x.view(np.int32), low, high).view(np.uint32) & np.uint32(mask)

    pair = (field(a) << np.uint32(size)) | field(b)
    return pair if c is None else pair | (c << np.uint32(2 * size) if size < 16 else np.uint32(0))

