"""Floating-point formats of PTX: bit patterns to float64 and back, rounding once.

Every finite value of a format but f64's own is a float64, so `decode` is exact and `encode` rounds once. A value that has no float64
(a sum, a product, a quotient) is handed to `encode` rounded to odd, by `odd`: 53 bits of which the last one is sticky round again, to any
format with at most 51 bits, in any mode, as the exact value would (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums:
proved algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008).

Bit patterns are unsigned arrays of any shape. Callers run under `np.errstate(all="ignore")`: infinities and NaN are data here.

Sources: IEEE 754-2019 (f16 f32 f64), the PTX manual's "Alternate Floating-Point Data Formats" and its chapter on `cvt` (the others).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

UNSIGNED: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("u2"), 32: np.dtype("u4"), 64: np.dtype("u8")}


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: one sign bit (none in ue8m0), `exponent` and `mantissa` bits.

    `width` is the size in bits of its container, `pad` the zero bits below its mantissa (13 in tf32). `largest` is the code of the
    greatest finite value, `inf` and `nan` the codes of +infinity and of the canonical NaN, or -1 where the format has none.
    """

    name: str
    exponent: int
    mantissa: int
    width: int
    largest: int
    inf: int
    nan: int
    pad: int = 0

    @property
    def bits(self) -> int:
        return 1 + self.exponent + self.mantissa

    @property
    def bias(self) -> int:
        return (1 << (self.exponent - 1)) - 1

    @property
    def smallest_exponent(self) -> int:
        """The exponent of subnormals and of the smallest normal binade."""
        return 1 - self.bias

    @property
    def dtype(self) -> np.dtype[Any]:
        return UNSIGNED[self.width]

    @property
    def sign(self) -> int:
        """The mask of the sign bit."""
        return 1 << (self.bits - 1 + self.pad)


def _ieee(name: str, exponent: int, mantissa: int, nan: int, pad: int = 0) -> Format:
    inf = ((1 << exponent) - 1) << mantissa
    width = 1 + exponent + mantissa + pad
    return Format(name, exponent, mantissa, width, (inf - 1) << pad, inf << pad, nan, pad)


F16 = _ieee("f16", 5, 10, 0x7FFF)
BF16 = _ieee("bf16", 8, 7, 0x7FFF)
TF32 = _ieee("tf32", 8, 10, 0x7FFFFFFF, pad=13)
F32 = _ieee("f32", 8, 23, 0x7FFFFFFF)
F64 = _ieee("f64", 11, 52, 0xFFF8_0000_0000_0000)
E5M2 = _ieee("e5m2", 5, 2, 0x7F)
E4M3 = Format("e4m3", 4, 3, 8, 0x7E, -1, 0x7F)
E2M1 = Format("e2m1", 2, 1, 8, 0x7, -1, -1)
E2M3 = Format("e2m3", 2, 3, 8, 0x1F, -1, -1)
E3M2 = Format("e3m2", 3, 2, 8, 0x1F, -1, -1)
UE8M0 = Format("ue8m0", 8, 0, 8, 0xFE, -1, 0xFF)
FORMATS = {f.name: f for f in (F16, BF16, TF32, F32, F64, E5M2, E4M3, E2M1, E2M3, E3M2, UE8M0)}


# -- from bits --------------------------------------------------------------------------------------------------------------------------


@cache
def table(name: str, dtype: str = "f8") -> Array:
    """The values of all codes of a format of at most 16 bits, indexed by container: 256 or 65,536 entries."""
    form = FORMATS[name]
    codes = np.arange(1 << form.width)
    if form is UE8M0:
        values = np.where(codes == form.nan, np.nan, np.exp2(codes - 127.0))
    else:
        magnitude = codes & (form.sign - 1)
        field = magnitude >> form.mantissa
        significand = (magnitude & ((1 << form.mantissa) - 1)) + np.where(field, 1 << form.mantissa, 0)
        values = np.ldexp(significand.astype(np.float64), np.maximum(field, 1) - form.bias - form.mantissa)
        if form.nan >= 0:
            values = np.where(magnitude > form.largest, np.nan, values)
        if form.inf >= 0:
            values = np.where(magnitude == form.inf, np.inf, values)
        values = np.where(codes & form.sign, -values, values)
    result = values.astype(dtype)
    result.setflags(write=False)
    return result


def decode(bits: Array, form: Format) -> Array:
    """The float64 values of bit patterns. Bits above the format (e2m1 in a byte) and below it (tf32) are ignored."""
    if form is F64:
        return bits.view(np.float64)
    if form is F32:
        return bits.view(np.float32).astype(np.float64)
    if form is TF32:
        # The dropped bits may be all that makes a NaN.
        values = (bits & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)
        return np.where(np.isnan(bits.view(np.float32)), np.nan, values)
    return table(form.name).take(bits, mode="clip")


# -- to bits ----------------------------------------------------------------------------------------------------------------------------


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """`s, e` with s = RN(a + b) and s + e = a + b exactly, where nothing overflows (Knuth, TAOCP 2, 4.2.2)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def odd(s: Array, e: Array) -> Array:
    """`s + e` rounded to odd: of the two neighbours of an inexact sum, that with an odd significand. |e| is at most half an ulp of s."""
    inexact = (e != 0) & np.isfinite(s) & ((s.view(np.int64) & 1) == 0)
    if not inexact.any():
        return s
    return np.where(inexact, np.nextafter(s, np.copysign(np.inf, e)), s)


def directed(s: Array, e: Array, mode: str) -> Array:
    """`s + e` rounded to float64 in `mode` (rn rz rm rp), where s is the nearest float64 and e has the sign of the error."""
    if mode == "rn":
        return s
    up, down = e > 0, e < 0
    if mode == "rz":
        up, down = up & (s < 0), down & (s > 0)
    elif mode == "rp":
        down = np.zeros_like(down)
    else:
        up = np.zeros_like(up)
    return np.where(up, np.nextafter(s, np.inf), np.where(down, np.nextafter(s, -np.inf), s))


def integral(x: Array, mode: str) -> Array:
    """`x` rounded to an integer: rn to even, rna half away from zero, rz, rm down, rp up. The sign of zero is kept."""
    if mode == "rna":
        whole = np.trunc(x)
        return whole + np.copysign(np.abs(x - whole) >= 0.5, x)
    return {"rn": np.rint, "rz": np.trunc, "rm": np.floor, "rp": np.ceil}[mode](x)


def narrow(values: Array, form: Format, mode: str, random: Array | None = None, random_bits: int = 0) -> tuple[Array, Array]:
    """Magnitude codes (uint64, unbounded above) and signs (bool) of finite float64 `values` rounded to `form`.

    A code one beyond `form.largest` stands for all that overflows. In mode `rs` the `random_bits` low bits of `random` are added below
    the last place that is kept, and the sum is truncated (PTX, cvt.rs).
    """
    low = form.smallest_exponent - form.mantissa
    _, e = np.frexp(values)
    quantum = np.maximum(e - 1 - form.mantissa, low)
    scaled = np.ldexp(values, -quantum)
    if mode == "rs":
        assert random is not None
        # The tail is cut to the random bits' own length before the addition, so the sum is exact.
        tail = np.floor(np.ldexp(np.abs(scaled), random_bits))
        count = np.floor(np.ldexp(tail + (random & ((1 << random_bits) - 1)), -random_bits))
    else:
        count = np.abs(integral(scaled, mode))
    code: Array = (np.maximum(quantum - low, 0).astype(np.uint64) << np.uint64(form.mantissa)) + count.astype(np.uint64)
    # A code beyond all finite ones is an overflow whatever it looks like; zero's exponent is meaningless.
    code = np.minimum(code, np.uint64((form.largest >> form.pad) + 1))
    return np.where(values == 0, np.uint64(0), code), np.signbit(values)


def encode(
    values: Array, form: Format, mode: str = "rn", *, ftz: bool = False, sat: bool = False, satfinite: bool = False, relu: bool = False,
    random: Array | None = None, random_bits: int = 0,
) -> Array:
    """Bit patterns of float64 `values` rounded to `form`.

    mode: rn, rna, rz, rm, rp or rs (with `random`). sat clamps to [0, 1] and makes NaN +0; relu makes negatives +0; satfinite makes what
    overflows, infinity included, the largest finite value (formats without infinity always do), and NaN the largest value where there
    is no NaN. ftz makes subnormal results zero, keeping the sign. NaN is canonical.
    """
    if sat:
        values = np.where(values > 0, np.minimum(values, 1.0), 0.0)
    if relu:
        values = np.where((values > 0) | np.isnan(values), values, 0.0)
    if form is UE8M0:
        return _encode_ue8m0(values, mode)
    if form is F64:
        bits = np.where(np.isnan(values), np.nan, values).view(np.uint64)
        return np.where(np.isnan(values), np.uint64(form.nan), bits)
    if mode == "rn" and form in (F16, F32) and not satfinite:
        code = values.astype(np.float16 if form is F16 else np.float32)
        bits = code.view(form.dtype)
        unordered = values != values
        if unordered.any():
            bits = np.where(unordered, form.dtype.type(form.nan), bits)
        return flush(bits, form) if ftz else bits
    if mode == "rn" and form is BF16 and not satfinite:
        bits = _nearest_bf16(values)
        return flush(bits, form) if ftz else bits
    return _encode(values, form, mode, ftz, satfinite, random, random_bits)


def _nearest_bf16(values: Array) -> Array:
    """float64 to bf16, to nearest even, by way of f32 rounded to odd: the hot path of bf16 arithmetic."""
    single = values.astype(np.float32)
    exact = single == values
    if not exact.all():
        even = ~exact & ((single.view(np.uint32) & np.uint32(1)) == 0) & (values == values)
        single = np.where(even, np.nextafter(single, np.where(values > single, np.float32(np.inf), np.float32(-np.inf))), single)
    whole = single.view(np.uint32)
    bits = ((whole + np.uint32(0x7FFF) + ((whole >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    unordered = values != values
    return np.where(unordered, np.uint16(BF16.nan), bits) if unordered.any() else bits


def _encode(values: Array, form: Format, mode: str, ftz: bool, satfinite: bool, random: Array | None, random_bits: int) -> Array:
    finite = np.isfinite(values)
    magnitude, negative = narrow(np.where(finite, values, 0.0), form, mode, random, random_bits)
    negative = np.where(finite, negative, np.signbit(values))
    code: Array = magnitude << np.uint64(form.pad)
    if form.inf < 0 or satfinite:
        beyond: Array | np.uint64 = np.uint64(form.largest)
        infinite: np.uint64 = np.uint64(form.largest)
    else:
        infinite = np.uint64(form.inf)
        never = np.zeros_like(negative)
        stays = {"rz": ~never, "rs": ~never, "rm": ~negative, "rp": negative}.get(mode, never)
        beyond = np.where(stays, np.uint64(form.largest), infinite)
    code = np.where(code > form.largest, beyond, code)
    code = np.where(np.isinf(values), infinite, code) | np.where(negative, np.uint64(form.sign), np.uint64(0))
    code = np.where(np.isnan(values), np.uint64(form.nan if form.nan >= 0 else form.largest), code)
    bits = code.astype(form.dtype)
    return flush(bits, form) if ftz else bits


def _encode_ue8m0(values: Array, mode: str) -> Array:
    """Exponents only: the sign is dropped, rz takes the binade, rp the next one if anything is left over."""
    mantissa, e = np.frexp(np.abs(np.where(np.isfinite(values), values, 1.0)))
    power = e - 1 + ((mantissa > 0.5) if mode == "rp" else 0)
    code = np.where(mantissa == 0, 0, np.clip(power + 127, 0, 254))
    code = np.where(np.isinf(values), 254, code)
    return np.where(np.isnan(values), 255, code).astype(np.uint8)


def flush(bits: Array, form: Format) -> Array:
    """Subnormal bit patterns made zero, with their sign (.ftz)."""
    kind = form.dtype.type
    tiny = (bits & kind((form.inf if form.inf >= 0 else form.largest) & -(1 << (form.mantissa + form.pad)))) == 0
    if not tiny.any():
        return bits
    return np.where(tiny, bits & kind(form.sign), bits)
