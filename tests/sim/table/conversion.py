"""Cases of cvt: by exact fractions, and by ml_dtypes for the narrow floats. Conversions from 8 and 16 bits are exhaustive (test_table.py)."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

from ..rounding import SHAPES, rounded, to_integer
from .floating import flushed, pattern, rounding, rows, value
from .harness import THREADS, Case, expand, halves, integers, joined, number, tuples, width
from .integer import clamp

INTS = "{u8,u16,u32,u64,s8,s16,s32,s64}"
SHORTS = "{u16,u32,u64,s16,s32,s64}"
CASES = []


def saturating(source):
    """cvt.sat between integers exists where a value may not fit."""
    inside = lambda to, x: clamp(x, to) == x  # noqa: E731
    ends = lambda k: [-(1 << width(k) - 1), (1 << width(k) - 1) - 1] if k[0] == "s" else [0, (1 << width(k)) - 1]  # noqa: E731
    return [f"cvt.sat.{to}.{source}" for to in INTS[1:-1].split(",") if not all(inside(to, x) for x in ends(source))]


def convert(opcode, x, to, source):
    """The result of a scalar cvt of the number `x`, as an integer or a float."""
    parts = opcode.split(".")
    if to in SHAPES:
        if source == "f32" and "ftz" in parts:
            x = flushed(x, "f32")
        whole = next((p for p in parts if p in ("rni", "rzi", "rmi", "rpi")), None)
        if whole and math.isfinite(x):
            x = math.copysign(float(to_integer(Fraction(x), whole[:2])), x)
        elif (isinstance(x, int) or math.isfinite(x)) and x:
            x = rounded(Fraction(x), to, rounding(parts))
        if "ftz" in parts and to == "f32":
            x = flushed(x, "f32")
        if "sat" in parts:
            x = min(float(x), 1.0) if x > 0 else 0.0
        if "relu" in parts and x == x:
            x = x if x > 0 else 0.0
        largest = float((2 - Fraction(2) ** (1 - SHAPES[to][0])) * Fraction(2) ** SHAPES[to][2])
        return math.copysign(min(abs(x), largest), x) if "satfinite" in parts and x == x else float(x)
    if source not in SHAPES:
        return clamp(x, to) if "sat" in parts else x
    if x != x:
        return 1 << width(to) - 1 if source == "f64" or width(to) == 64 else 0
    if "ftz" in parts and source == "f32":
        x = flushed(x, "f32")
    mode = next(p for p in parts if p in ("rni", "rzi", "rmi", "rpi"))[:2]
    return clamp(to_integer(Fraction(x), mode) if math.isfinite(x) else math.copysign(1 << 80, x), to)


def scalar(pattern_):
    for opcode in expand(pattern_):
        to, source = opcode.split(".")[-2:]

        def apply(p, opcode=opcode, to=to, source=source):
            x = value(p, source) if source in SHAPES else number(p, source)
            y = convert(opcode, x, to, source)
            return pattern(y, to) if to in SHAPES else int(y) if -(1 << 64) < y < 1 << 64 else clamp(y, to)

        def extended(p, apply=apply, to=to):
            """Narrow integers fill their register by sign or by zeros."""
            y = apply(p)
            return number(y, to) if to not in SHAPES else y

        made = rows(source) if source in SHAPES else [(p,) for p in integers(source)]
        CASES.append(Case(opcode, (to,), (source,), extended, made + (_AROUND.get(source, []))))


def _near_integers(kind):
    xs = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.75, -0.25, 127.5, 128.5, -128.5, 255.5, -129.0, 32767.5, 65504.0]
    if kind in ("f32", "f64"):
        xs += [2.0**31, -(2.0**31), 2.0**32, 2.0**63, -(2.0**63), 2.0**64, 1e12 + 0.5, 65535.5]
    return [(pattern(rounded(Fraction(x), kind), kind),) for x in xs]


_AROUND = {k: _near_integers(k) for k in ("f16", "bf16", "f32", "f64")}
scalar(f"cvt.{INTS}.{INTS}")
for _source in INTS[1:-1].split(","):
    for _opcode in saturating(_source):
        scalar(_opcode)
scalar(f"cvt.{{rni,rzi,rmi,rpi}}{{,.ftz}}{{,.sat}}.{INTS}.f32")
scalar(f"cvt.{{rni,rzi,rmi,rpi}}{{,.sat}}.{INTS}.{{f16,f64}}")
scalar(f"cvt.{{rni,rzi,rmi,rpi}}.{SHORTS}.bf16")
scalar(f"cvt.{{rn,rz,rm,rp}}{{,.sat}}.{{f16,f32,f64}}.{INTS}")
scalar(f"cvt.{{rn,rz,rm,rp}}.bf16.{SHORTS}")
scalar("cvt.{rni,rzi,rmi,rpi}{,.ftz}{,.sat}.f32.f32")
scalar("cvt.{rni,rzi,rmi,rpi}{,.sat}.f64.f64")
scalar("cvt.{rni,rzi,rmi,rpi}{,.sat}.f16.f16")
scalar("cvt.{rni,rzi,rmi,rpi}.bf16.bf16")
scalar("cvt{,.ftz}{,.sat}.f32.f16")
scalar("cvt{,.ftz}.f32.bf16")
scalar("cvt{,.sat}.f64.f16")
scalar("cvt.f64.bf16")
scalar("cvt{,.ftz}{,.sat}.f64.f32")
scalar("cvt{,.ftz}{,.sat}.f32.f32")
scalar("cvt{,.sat}.{f64.f64,f16.f16}")
scalar("cvt.{rn,rz,rm,rp}{,.ftz}{,.sat}.f32.f64")
scalar("cvt.{rn,rz,rm,rp}{,.ftz}{,.sat}.f16.f32")
scalar("cvt.{rn,rz,rm,rp}{,.sat}.f16.f64")
scalar("cvt.{rn,rz}{,.relu}{,.satfinite}.{f16,bf16}.f32")
scalar("cvt.{rm,rp}.bf16.f32")
scalar("cvt.{rn,rz,rm,rp}.bf16.{f16,f64}")
scalar("cvt.{rn,rz,rm,rp}.f16.bf16")


def tf32(opcode):
    def apply(p):
        y = convert(opcode, value(p, "f32"), "tf32", "f32")
        if y != y:
            return lambda got: math.isnan(value(got, "f32"))
        want = pattern(y, "f32")
        return lambda got: got >> 13 == want >> 13

    CASES.append(Case(opcode, ("b32",), ("f32",), apply, rows("f32")))


for _opcode in expand("cvt.rna{,.satfinite}.tf32.f32") + expand("cvt.{rn,rz}{,.satfinite}{,.relu}.tf32.f32"):
    tf32(_opcode)

# Two at a time: the first source becomes the upper half


def pair(opcode, kind):
    def apply(a, b):
        wants = [pattern(convert(opcode, value(p, "f32"), kind, "f32"), kind) for p in (b, a)]
        return lambda got: all(w(g) if callable(w) else w == g for w, g in zip(wants, halves(got), strict=True))

    CASES.append(Case(opcode, ("b32",), ("f32", "f32"), apply, rows("f32", "f32")))


for _kind in ("f16", "bf16"):
    for _opcode in expand(f"cvt.{{rn,rz}}{{,.relu}}{{,.satfinite}}.{_kind}x2.f32"):
        pair(_opcode, _kind)
    for _opcode in expand(f"cvt.rs{{,.relu}}{{,.satfinite}}.{_kind}x2.f32"):
        # Random bits are added below the last place that is kept, then the sum is cut off. Numbers in the range of both formats.
        def stochastic(a, b, r, kind=_kind, relu="relu" in _opcode):
            def one(p, noise):
                if relu and p >> 31:
                    return 0
                if kind == "bf16":
                    return (p + (noise & 0xFFFF)) >> 16
                cut = ((p & 0x7FFFFFFF) + (noise & 0x1FFF)) >> 13
                return cut - (112 << 10) | p >> 31 << 15

            return joined(one(b, r), one(a, r >> 16))

        _given = [tuple(0x3D000000 + (x * 0x9E3779B1 & 0x05FFFFFF) | (x & 1) << 31 for x in (i, i + 77)) + (i * 0x85EBCA6B & 0xFFFFFFFF,)
                  for i in range(THREADS)]  # fmt: skip
        CASES.append(Case(_opcode, ("b32",), ("f32", "f32", "u32"), stochastic, _given))

# Narrow floats. ml_dtypes rounds to nearest even; beyond the range PTX saturates.
NARROW = {
    "e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2, "e2m3": ml_dtypes.float6_e2m3fn, "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m1": ml_dtypes.float4_e2m1fn,
}  # fmt: skip
LARGEST = {"e4m3": 448.0, "e5m2": 57344.0, "e2m3": 7.5, "e3m2": 28.0, "e2m1": 6.0}
NAN = {"e4m3": 0x7F, "e5m2": 0x7F, "e2m3": 0x1F, "e3m2": 0x1F, "e2m1": 0x7}  # formats without NaN give the largest number


def narrowed(x, kind, relu):
    if x != x:
        return NAN[kind]
    x = max(min(x, LARGEST[kind]), -LARGEST[kind])
    if relu and not x > 0:
        x = 0.0
    return int(np.float32(x).astype(NARROW[kind]).view(np.uint8))


def widened(code, kind):
    return float(np.uint8(code).view(NARROW[kind]).astype(np.float32))


for _kind in NARROW:
    _step = 4 if _kind == "e2m1" else 8
    _narrow = "b8" if _kind == "e2m1" else "b16"
    for _opcode in expand(f"cvt.rn.satfinite{{,.relu}}.{_kind}x2.f32"):
        def to_narrow(a, b, kind=_kind, step=_step, relu="relu" in _opcode):
            low, high = (narrowed(value(p, "f32"), kind, relu) for p in (b, a))
            return low | high << step

        _small = [pattern(float(np.float32(x)), "f32") for x in np.linspace(-LARGEST[_kind] * 1.2, LARGEST[_kind] * 1.2, THREADS)]
        _ties = [pattern(float(np.float32((widened(i, _kind) + widened(i + 1, _kind)) / 2)), "f32") for i in range(7)]
        _given = [*zip(_small, _small[::-1], strict=True)][:40] + [*zip(_ties, _ties[::-1], strict=True)] + rows("f32", "f32")[:17]
        _case = Case(_opcode, (_narrow,), ("f32", "f32"), to_narrow, _given)
        if _kind == "e2m1":  # its registers have 8 bits
            _case.form, _case.before, _case.after = "%byte, {s0}, {s1}", ".reg .b8 %byte;", "cvt.u16.u8 %d0, %byte;"
        CASES.append(_case)


def scaled(a, b, up, satfinite):
    """ue8m0 is an exponent: rz takes the power of two below, rp that above."""
    def one(p):
        x = abs(value(p, "f32"))
        if x != x:
            return 255
        if math.isinf(x):
            return 254 if satfinite else 255
        if x == 0:
            return 0
        exponent = math.frexp(x)[1] - 1
        exponent += up and 2.0**exponent < x
        return 254 if exponent > 127 else max(exponent + 127, 0)

    return one(b) | one(a) << 8


for _opcode in expand("cvt.{rz,rp}{,.satfinite}.ue8m0x2.f32"):
    _given = [r for r in rows("f32", "f32") if all(math.isfinite(value(p, "f32")) for p in r)]
    CASES.append(Case(_opcode, ("b16",), ("f32", "f32"), lambda a, b, up="rp" in _opcode, s="satfinite" in _opcode: scaled(a, b, up, s), _given))


def _packed_clamp(opcode):
    to = opcode.split(".")[3]
    n = width(to)

    def apply(a, b, c=0):
        x, y = (clamp(number(p, "s32"), to) & (1 << n) - 1 for p in (a, b))
        return c << 2 * n | x << n | y if n < 16 else x << n | y

    return apply


for _opcode in expand("cvt.pack.sat.{u16,s16}.s32"):
    CASES.append(Case(_opcode, ("b32",), ("s32", "s32"), _packed_clamp(_opcode), tuples("u32", "u32")))
for _opcode in expand("cvt.pack.sat.{u2,s2,u4,s4,u8,s8}.s32.b32"):
    CASES.append(Case(_opcode, ("b32",), ("s32", "s32", "b32"), _packed_clamp(_opcode), tuples("u32", "u32", "u32")))


# All patterns of a source of 16 bits: (opcode, type of the destination's register, expected results of 65536 threads)

ALL = np.arange(65536, dtype=np.uint16)


def exact(source):
    """The values of all 16-bit patterns (8-bit types: of their low byte), as float64 or int64."""
    if source in ("f16", "bf16"):
        with np.errstate(invalid="ignore"):
            return ALL.view(np.float16 if source == "f16" else ml_dtypes.bfloat16).astype(np.float64)
    dtype = {"u": np.uint16, "s": np.int16}[source[0]]
    return ALL.view(dtype).astype(np.int64) if width(source) == 16 else ALL.astype(np.uint8).view({"u": np.uint8, "s": np.int8}[source[0]]).astype(np.int64)


def codes(values, kind):
    """float64 that the format holds exactly, as patterns."""
    if kind == "bf16":
        return values.astype(np.float32).astype(ml_dtypes.bfloat16).view(np.uint16)
    dtype = {"f16": np.float16, "f32": np.float32, "f64": np.float64}[kind]
    return values.astype(dtype).view({2: np.uint16, 4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize])


def to_float(values, kind, mode):
    """Rounded to nearest by NumPy or ml_dtypes; for the other modes one step where that went the wrong way."""
    if kind in ("f32", "f64"):
        return values.astype(np.float64)
    dtype = np.float16 if kind == "f16" else ml_dtypes.bfloat16
    nearest = values.astype(np.float32).astype(dtype)
    if mode == "rn":
        return nearest.astype(np.float64)
    back = nearest.astype(np.float64)
    wrong = {"rm": back > values, "rp": back < values, "rz": np.abs(back) > np.abs(values)}[mode]
    bits = nearest.view(np.uint16)
    away = {"rm": back < 0, "rp": back > 0, "rz": np.zeros_like(wrong)}[mode]  # towards minus infinity a negative number grows
    moved = np.where(away, bits + 1, np.where(bits & 0x7FFF, bits - 1, bits)).astype(np.uint16)
    # From zero: the least subnormal of the sign of the mode.
    moved = np.where((bits & 0x7FFF == 0) & wrong, {"rm": 0x8001, "rp": 0x0001, "rz": 0}[mode], moved).astype(np.uint16)
    return np.where(wrong, moved, bits).astype(np.uint16).view(dtype).astype(np.float64)


_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def expected(opcode):
    """Patterns of the destination's register for all 65536 patterns of the source; NaN as None's stand-in is compared by the caller."""
    parts = opcode.split(".")
    to, source = parts[-2:]
    values = exact(source)
    with np.errstate(all="ignore"):
        if to in SHAPES:
            mode = next((p for p in parts if p in _WHOLE), None)
            out = _WHOLE[mode](values.astype(np.float64)) if mode else to_float(values, to, rounding(parts))
            if "ftz" in parts:  # some numbers of bf16 are subnormal as f32 too
                out = np.where(np.abs(out) < 2.0 ** SHAPES[to][1], np.copysign(0.0, out), out)
            if "sat" in parts:
                out = np.where(out > 0, np.minimum(out, 1.0), 0.0)
            return codes(out, to)
        bits = width(to)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if to[0] == "s" else (0, (1 << bits) - 1)
        if source in SHAPES:
            whole = _WHOLE[parts[1]](values)
            inside = np.where((whole >= low) & (whole < float(high + 1)), whole, 0)
            kept = inside.astype(np.uint64 if to[0] == "u" else np.int64).astype(np.uint64)
            kept = np.where(whole < low, np.uint64(low % (1 << 64)), np.where(whole >= float(high + 1), np.uint64(high), kept))
            return np.where(np.isnan(values), np.uint64(1 << 63 if bits == 64 else 0), kept)
        if "sat" in parts:
            low, high = max(low, -(1 << 62)), min(high, 1 << 62)
            return np.clip(values, low, high).astype(np.uint64)
        dtype = np.dtype(f"{'i' if to[0] == 's' else 'u'}{bits // 8}")
        return values.astype(dtype).astype(np.int64 if to[0] == "s" else np.uint64).astype(np.uint64)


def exhaustive(source):
    """Every opcode that converts from this 8- or 16-bit type."""
    if source in ("f16", "bf16"):
        sat = "{,.sat}" if source == "f16" else ""
        other = "bf16" if source == "f16" else "f16"
        return (expand(f"cvt.{{rni,rzi,rmi,rpi}}{sat}.{INTS if source == 'f16' else SHORTS}.{source}") + expand(f"cvt{{,.ftz}}{sat}.f32.{source}") + expand(f"cvt{sat}.f64.{source}")  # noqa: E501
                + expand(f"cvt.{{rn,rz,rm,rp}}.{other}.{source}") + expand(f"cvt.{{rni,rzi,rmi,rpi}}{sat}.{source}.{source}"))  # fmt: skip
    floats = expand(f"cvt.{{rn,rz,rm,rp}}{{,.sat}}.{{f16,f32,f64}}.{source}")
    floats += expand(f"cvt.{{rn,rz,rm,rp}}.bf16.{source}") if width(source) == 16 else []
    return expand(f"cvt.{INTS}.{source}") + saturating(source) + floats
