"""Cases of the floating-point instructions: exact fractions rounded once (tests/sim/rounding.py); documented bounds for approximations."""

import math
import struct
from fractions import Fraction

import numpy as np

from ..rounding import SHAPES, rounded
from .harness import THREADS, Case, expand, halves, joined, width
from .integer import JOIN

CODES = {"f16": ("<e", "<H"), "f32": ("<f", "<I"), "f64": ("<d", "<Q")}
CANONICAL = ("add", "sub", "mul", "mad", "fma")  # give NaN as all ones but the sign; f64 says nothing of it
CASES = []


def value(pattern, kind):
    """The number of a pattern, as a float."""
    if kind == "bf16":
        return value((pattern & 0xFFFF) << 16, "f32")
    floating, unsigned = CODES[kind]
    return struct.unpack(floating, struct.pack(unsigned, pattern & (1 << width(kind)) - 1))[0]


def pattern(x, kind):
    """The pattern of a float that the format holds; NaN gives a check for any NaN."""
    if math.isnan(x):
        return lambda got: math.isnan(value(got, kind))
    if kind == "bf16":
        return pattern(x, "f32") >> 16
    floating, unsigned = CODES[kind]
    return struct.unpack(unsigned, struct.pack(floating, x))[0]


def flushed(x, kind):
    return math.copysign(0.0, x) if x == x and abs(x) < 2.0 ** SHAPES[kind][1] else x


def rounding(parts):
    """The rounding that an opcode names; to nearest if none."""
    return next((p for p in parts if p in ("rn", "rz", "rm", "rp", "rna")), "rn")


def finish(exact, zero, kind, parts):
    """Round an exact fraction, or a special float; `zero` has the sign of an exact zero. Then the modifiers."""
    if isinstance(exact, Fraction):
        exact = rounded(exact, kind, rounding(parts)) if exact else zero
    if "ftz" in parts:
        exact = flushed(exact, kind)
    if "sat" in parts:
        exact = min(exact, 1.0) if exact > 0 else 0.0  # NaN too
    if "relu" in parts and not exact > 0 and exact == exact:
        exact = 0.0
    return exact


def finite(*xs):
    return all(math.isfinite(x) for x in xs)


def total(x, y, kind, parts):
    """x + y of Fractions or floats; zero sums are -0 if both are, or when rounding down."""
    if not finite(x, y):
        return finish(x + y, 0.0, kind, parts)
    return finish(Fraction(x) + Fraction(y), zero_sum(x, y, parts), kind, parts)


def negative(x):
    return math.copysign(1, x) < 0


def zero_sum(x, y, parts):
    if negative(x) and negative(y):
        return -0.0
    return -0.0 if rounding(parts) == "rm" and (negative(x) or negative(y)) else 0.0


def product(x, y, kind, parts):
    if not finite(x, y):
        return finish(math.nan if 0 in (x, y) else x * y, 0.0, kind, parts)
    sign = -1 if negative(x) != negative(y) else 1
    return finish(Fraction(x) * Fraction(y), math.copysign(0.0, sign), kind, parts)


def fused(x, y, z, kind, parts):
    if not finite(x, y, z):
        p = math.copysign(1, x) * math.copysign(1, y) if finite(x, y) else math.nan if 0 in (x, y) else x * y
        return finish(p + z, 0.0, kind, parts)
    p = math.copysign(0.0, math.copysign(1, x) * math.copysign(1, y))
    return finish(Fraction(x) * Fraction(y) + Fraction(z), zero_sum(p, z, parts), kind, parts)


def quotient(x, y, kind, parts):
    sign = -1 if negative(x) != negative(y) else 1
    if x != x or y != y or (math.isinf(x) and math.isinf(y)) or (x == 0 and y == 0):
        return finish(math.nan, 0.0, kind, parts)
    if math.isinf(x) or y == 0:
        return finish(math.copysign(math.inf, sign), 0.0, kind, parts)
    if math.isinf(y):
        return finish(math.copysign(0.0, sign), 0.0, kind, parts)
    return finish(Fraction(x) / Fraction(y), math.copysign(0.0, sign), kind, parts)


def root(x, kind, parts):
    if x < 0 or x != x or math.isinf(x) or x == 0:
        return finish(math.nan if x < 0 else x, 0.0, kind, parts)
    f = Fraction(x) * Fraction(4) ** 1200
    floor = math.isqrt(f.numerator // f.denominator)
    inexact = Fraction(floor) ** 2 != f
    return finish((Fraction(floor) + (Fraction(1, 3) if inexact else 0)) / Fraction(2) ** 1200, 0.0, kind, parts)


def floats(kind, count=THREADS, seed=0):
    """Patterns: specials, subnormals, the ends of the range, ties, and random numbers near 1 and of any exponent."""
    n = width(kind)
    precision, _, high = SHAPES[kind]
    top, inf = 1 << n - 1, (2 * high + 1) << precision - 1
    one = high << precision - 1
    edges = [0, top, one, one | top, inf, inf | top, inf | 1 << precision - 2, 1, top | 3, (1 << precision - 1) - 1, inf - 1, (inf - 1) | top,
             1 << precision - 1, one + 1, one - 1, one | 1 << precision - 2]  # fmt: skip
    rng = np.random.default_rng(seed)
    out = [edges[int(i)] for i in rng.permutation(len(edges))] if seed else edges
    while len(out) < count:
        exponent = int(rng.integers(high - 3, high + 3)) if len(out) % 3 else int(rng.integers(0, 2 * high + 1))
        mantissa = int(rng.integers(0, 1 << precision - 1))
        if len(out) % 4 == 0:
            mantissa &= -1 << precision // 2  # few bits: ties
        out.append(int(rng.integers(2)) << n - 1 | exponent << precision - 1 | mantissa)
    return out


def rows(*kinds, count=THREADS):
    return list(zip(*[floats(k, count, seed) if k in SHAPES else [i % 2 for i in range(count)] for seed, k in enumerate(kinds)], strict=True))


def packed(kind, operands):
    """Rows for x2 forms."""
    low, high = rows(*[kind] * operands), rows(*[kind] * (operands + 1))
    return [tuple(joined(x, y) for x, y in zip(a, b[1:], strict=True)) for a, b in zip(low, high, strict=True)]


def family(pattern_, operands, meaning, *, given=None, **more):
    """`meaning(kind, parts, *floats)` gives a float; x2 types do it twice."""
    for opcode in expand(pattern_):
        parts = opcode.split(".")
        kind = parts[-1].removesuffix("x2")

        def one(*patterns, kind=kind, parts=parts):
            xs = [value(p, kind) for p in patterns]
            if "ftz" in parts:
                xs = [flushed(x, kind) for x in xs]
            result = meaning(kind, parts, *xs)
            if not callable(result) and result != result and parts[0] in CANONICAL and kind != "f64":
                return (1 << width(kind) - 1) - 1
            return result if callable(result) else pattern(result, kind)

        def two(*patterns, one=one):
            low, high = (one(*column) for column in zip(*map(halves, patterns), strict=True))
            right = lambda want, got: want(got) if callable(want) else want == got  # noqa: E731
            return lambda got: right(low, got & 0xFFFF) and right(high, got >> 16)

        double = parts[-1].endswith("x2")
        reg = f"b{width(parts[-1])}"
        made = given(kind) if given else packed(kind, operands) if double else rows(*[kind] * operands)
        if given and double:
            made = [tuple(joined(x, y) for x, y in zip(a, b, strict=True)) for a, b in zip(made, made[::-1], strict=True)]
        CASES.append(Case(opcode, (reg,), (reg,) * operands, two if double else one, made, **more))


ROUND = "{,.rn,.rz,.rm,.rp}"
SINGLE = ROUND + "{,.ftz}{,.sat}.f32"
for _name, _meaning in (
    ("add", lambda kind, parts, x, y: total(x, y, kind, parts)),
    ("sub", lambda kind, parts, x, y: total(x, -y, kind, parts)),
    ("mul", lambda kind, parts, x, y: product(x, y, kind, parts)),
):
    family(_name + SINGLE, 2, _meaning)
    family(_name + ROUND + ".f64", 2, _meaning)
    family(_name + "{,.rn}{,.ftz}{,.sat}.{f16,f16x2}", 2, _meaning)
    family(_name + "{,.rn}.{bf16,bf16x2}", 2, _meaning)
_FUSED = lambda kind, parts, x, y, z: fused(x, y, z, kind, parts)  # noqa: E731
family("{fma,mad}.{rn,rz,rm,rp}{,.ftz}{,.sat}.f32", 3, _FUSED)
family("{fma,mad}.{rn,rz,rm,rp}.f64", 3, _FUSED)
family("fma.rn{,.ftz}{,.sat,.relu}.{f16,f16x2}", 3, _FUSED)
family("fma.rn{,.relu}.{bf16,bf16x2}", 3, _FUSED)
family("div.{rn,rz,rm,rp}{,.ftz}.f32", 2, lambda kind, parts, x, y: quotient(x, y, kind, parts))
family("div.{rn,rz,rm,rp}.f64", 2, lambda kind, parts, x, y: quotient(x, y, kind, parts))
family("rcp.{rn,rz,rm,rp}{,.ftz}.f32", 1, lambda kind, parts, x: quotient(1.0, x, kind, parts))
family("rcp.{rn,rz,rm,rp}.f64", 1, lambda kind, parts, x: quotient(1.0, x, kind, parts))
family("sqrt.{rn,rz,rm,rp}{,.ftz}.f32", 1, lambda kind, parts, x: root(x, kind, parts))
family("sqrt.{rn,rz,rm,rp}.f64", 1, lambda kind, parts, x: root(x, kind, parts))


def mixed(pattern_, operands, meaning):
    """add, sub, fma with f16 or bf16 operands, the last one and the result f32."""
    for opcode in expand(pattern_):
        parts = opcode.split(".")
        ins = (parts[-1],) * (operands - 1) + ("f32",)

        def apply(*patterns, ins=ins, parts=parts):
            return pattern(meaning("f32", parts, *[value(p, k) for p, k in zip(patterns, ins, strict=True)]), "f32")

        CASES.append(Case(opcode, ("f32",), ins, apply, rows(*ins)))


mixed("add" + ROUND + "{,.sat}.f32.{f16,bf16}", 2, lambda kind, parts, x, y: total(x, y, kind, parts))
mixed("sub" + ROUND + "{,.sat}.f32.{f16,bf16}", 2, lambda kind, parts, x, y: total(x, -y, kind, parts))
mixed("fma.{rn,rz,rm,rp}{,.sat}.f32.{f16,bf16}", 3, _FUSED)

# Two f32 in a 64-bit register


def in_words(pattern_, operands, meaning):
    for opcode in expand(pattern_):
        parts = opcode.split(".")
        double = [tuple(x | y << 32 for x, y in zip(a, b, strict=True))
                  for a, b in zip(rows(*["f32"] * operands), rows(*["f32"] * operands)[5:] + rows(*["f32"] * operands)[:5], strict=True)]  # fmt: skip

        def apply(*patterns, parts=parts):
            def right(part, shift):
                xs = [value(p >> shift & 0xFFFFFFFF, "f32") for p in patterns]
                want = pattern_of(parts, [flushed(x, "f32") for x in xs] if "ftz" in parts else xs)
                return want(part) if callable(want) else want == part

            return lambda got: right(got & 0xFFFFFFFF, 0) and right(got >> 32, 32)

        def pattern_of(parts, xs):
            return pattern(meaning("f32", parts, *xs), "f32")

        CASES.append(Case(opcode, ("b64",), ("b64",) * operands, apply, double))


in_words("add" + ROUND + "{,.ftz}.f32x2", 2, lambda kind, parts, x, y: total(x, y, kind, parts))
in_words("mul" + ROUND + "{,.ftz}.f32x2", 2, lambda kind, parts, x, y: product(x, y, kind, parts))
in_words("fma.{rn,rz,rm,rp}{,.ftz}.f32x2", 3, _FUSED)

# Approximations: (exact function, relative bound, absolute bound) by the manual, on arguments where the bounds hold


def near(exact, relative, absolute=0.0):
    def meaning(kind, parts, *xs):
        want = exact(*xs)
        if not math.isfinite(want) or want == 0:
            return want
        want_flushed = want
        unit = 2.0 ** (SHAPES[kind][1] - SHAPES[kind][0] + 1)  # the least subnormal: no result is closer than half of it
        if "ftz" in parts and abs(want) < 2.0 ** SHAPES[kind][1]:
            want_flushed = 0.0
        bound = max(relative * abs(want), absolute, unit)
        return lambda got: min(abs(value(got, kind) - want), abs(value(got, kind) - want_flushed)) <= bound

    return meaning


def spread(low, high, specials=()):
    """A maker of rows: numbers from low to high, and special ones."""
    def make(kind):
        xs = list(np.linspace(low, high, THREADS - len(specials))) + list(specials)
        return [(pattern(rounded(Fraction(float(x)), kind) if math.isfinite(x) and x else x, kind),) for x in xs]

    return make


def guarded(function, *specials):
    """A function of math with the values that it lacks."""
    table = dict(specials)
    return lambda x: math.nan if x != x else table[x] if x in table else math.nan if (x < 0 and "negative" in table) else function(x)


INF = math.inf
family("ex2.approx{,.ftz}.f32", 1, near(guarded(lambda x: 2.0**x, (INF, INF), (-INF, 0.0)), 2.0**-22), given=spread(-140, 127, (INF, -INF, 0.0)))
family("ex2.approx.{f16,f16x2}", 1, near(lambda x: 2.0**x, 2.0**-9.9), given=spread(-14, 15, (0.0,)))
family("ex2.approx.ftz.{bf16,bf16x2}", 1, near(lambda x: 2.0**x, 2.0**-7), given=spread(-120, 120, (0.0,)))
family("lg2.approx{,.ftz}.f32", 1, near(guarded(math.log2, (INF, INF), (0.0, -INF), ("negative", 1)), 2.0**-22, 2.0**-22),
       given=spread(0.01, 900, (INF, 0.0, -1.0, 1.0)))  # fmt: skip
family("{sin,cos}.approx{,.ftz}.f32", 1, lambda kind, parts, x: near(getattr(math, parts[0]), 0, 2.0**-20.5)(kind, parts, x),
       given=spread(-3.14, 3.14, (1.0,)))  # fmt: skip
family("tanh.approx.f32", 1, near(math.tanh, 2.0**-11), given=spread(-9, 9, (INF, -INF)))
family("tanh.approx.{f16,f16x2}", 1, near(math.tanh, 0, 2.0**-10.987), given=spread(-4, 4))
family("tanh.approx.{bf16,bf16x2}", 1, near(math.tanh, 0, 2.0**-8), given=spread(-4, 4))
_RSQRT = guarded(lambda x: x**-0.5, (INF, 0.0), (0.0, INF), (-0.0, INF), ("negative", 1))
family("rsqrt.approx{,.ftz}.f32", 1, near(_RSQRT, 2.0**-22.9), given=spread(0.001, 1e6, (INF, 0.0, -2.0)))
family("rsqrt.approx{,.ftz}.f64", 1, near(_RSQRT, 2.0**-20), given=spread(0.001, 1e6, (INF, 0.0, -2.0)))
family("rcp.approx{,.ftz}.f32", 1, near(lambda x: math.copysign(INF, x) if x == 0 else 1 / x, 2.0**-23), given=spread(-50, 51, (INF, -INF, 0.0)))
family("rcp.approx.ftz.f64", 1, near(lambda x: math.copysign(INF, x) if x == 0 else 1 / x, 2.0**-19), given=spread(-50, 51, (INF, 0.0)))
family("sqrt.approx{,.ftz}.f32", 1, near(guarded(math.sqrt, (INF, INF), ("negative", 1)), 2.0**-22), given=spread(0.0, 1e7, (INF, -1.0, 2.0)))
family("div.{approx,full}{,.ftz}.f32", 2, near(lambda x, y: x / y, 2.0**-21.9),
       given=lambda kind: [(a, b) for (a,), (b,) in zip(spread(-7, 9)(kind), spread(3, 900)(kind), strict=True)])  # fmt: skip

# Signs: bits, so that NaN keeps its payload


def signs(opcode, meaning):
    kind = opcode.split(".")[-1].removesuffix("x2")
    reg = f"b{width(opcode.split('.')[-1])}"
    top = 1 << width(kind) - 1

    def one(p):
        if math.isnan(value(p, kind)):
            return lambda got: math.isnan(value(got, kind))
        if "ftz" in opcode and abs(value(p, kind)) < 2.0 ** SHAPES[kind][1]:
            p &= top
        return meaning(p, top)

    def two(p):
        low, high = map(one, halves(p))
        right = lambda want, got: want(got) if callable(want) else want == got  # noqa: E731
        return lambda got: right(low, got & 0xFFFF) and right(high, got >> 16)

    double = opcode.endswith("x2")
    CASES.append(Case(opcode, (reg,), (reg,), two if double else one, packed(kind, 1) if double else rows(kind)))


for _opcode in expand("{neg,abs}{,.ftz}.{f32,f16,f16x2}") + expand("{neg,abs}.{f64,bf16,bf16x2}"):
    signs(_opcode, (lambda p, top: p ^ top) if _opcode.startswith("neg") else (lambda p, top: p & ~top))
for _T in ("f32", "f64"):
    CASES.append(Case(f"copysign.{_T}", (_T,), (_T, _T), lambda a, b, top=1 << width(_T) - 1: b & ~top | a & top, rows(_T, _T)))

# Minimum and maximum


def extreme(parts, *xs):
    """One NaN loses, unless .NaN; -0 is below +0."""
    sign = 1.0
    if "xorsign" in parts:
        sign = math.prod(math.copysign(1.0, x) for x in xs)
    if "abs" in parts:
        xs = [abs(x) for x in xs]
    known = [x for x in xs if x == x]
    if not known or ("NaN" in parts and len(known) < len(xs)):
        return math.nan
    found = (min if parts[0] == "min" else max)(known, key=lambda x: (x, math.copysign(1, x)))
    return math.copysign(found, sign) if "xorsign" in parts else found


family("{min,max}{,.ftz}{,.NaN}{,.xorsign.abs}.{f32,f16,f16x2}", 2, lambda kind, parts, *xs: extreme(parts, *xs))
family("{min,max}{,.NaN}{,.xorsign.abs}.{bf16,bf16x2}", 2, lambda kind, parts, *xs: extreme(parts, *xs))
family("{min,max}.f64", 2, lambda kind, parts, *xs: extreme(parts, *xs))
family("{min,max}{,.ftz}{,.NaN}{,.abs}.f32", 3, lambda kind, parts, *xs: extreme(parts, *xs))

# Comparison

COMPARE = {"eq": lambda x, y: x == y, "ne": lambda x, y: x != y and x == x and y == y, "lt": lambda x, y: x < y, "le": lambda x, y: x <= y,
           "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y, "num": lambda x, y: x == x and y == y, "nan": lambda x, y: x != x or y != y}  # fmt: skip
COMPARE |= {name + "u": lambda x, y, ordered=COMPARE[name]: x != x or y != y or ordered(x, y) for name in ("eq", "ne", "lt", "le", "gt", "ge")}


def pairs(kind, extra=()):
    return [(a, a, *r) if i % 5 == 3 else (a, b, *r) for i, (a, b, *r) in enumerate(rows(kind, kind, *extra))]


def compared(name, kind, ftz):
    def flag(a, b):
        x, y = (flushed(value(p, kind), kind) if ftz else value(p, kind) for p in (a, b))
        return bool(COMPARE[name](x, y))

    return flag


ONES = {"f32": 0x3F800000, "f16": 0x3C00, "bf16": 0x3F80, "f16x2": 0x3C003C00, "bf16x2": 0x3F803F80}


def comparisons(kind, names, ftz):
    dot = ".ftz" if ftz else ""
    joins = dict(zip(names, ["and", "or", "xor"] * 5, strict=False))
    preds = ("pred", "pred") if kind in ("f32", "f64") else ("pred",)
    for name in names:
        flag = compared(name, kind, ftz)
        join, how = JOIN[joins[name]], joins[name]
        CASES.append(Case(f"setp.{name}{dot}.{kind}", preds, (kind, kind), lambda a, b, f=flag: (f(a, b), not f(a, b))[: len(preds)], pairs(kind)))
        CASES.append(Case(f"setp.{name}.{how}{dot}.{kind}", preds, (kind, kind, "pred"),
                          lambda a, b, c, f=flag, j=join: (j(f(a, b), c), j(not f(a, b), c))[: len(preds)], pairs(kind, ["pred"])))  # fmt: skip
        targets = {"f32": "u32 s32 f32", "f64": "u32 s32 f32", "f16": "u16 s16 u32 s32 f16", "bf16": "u16 s16 u32 s32 bf16"}[kind].split()
        for to in targets:
            one = ONES.get(to, -1)
            CASES.append(Case(f"set.{name}{dot}.{to}.{kind}", (f"b{width(to)}",), (kind, kind), lambda a, b, f=flag, v=one: v * f(a, b), pairs(kind)))
        for to in targets:
            one = ONES.get(to, -1)
            CASES.append(Case(f"set.{name}.{how}{dot}.{to}.{kind}", (f"b{width(to)}",), (kind, kind, "pred"),
                              lambda a, b, c, f=flag, j=join, v=one: v * bool(j(f(a, b), c)), pairs(kind, ["pred"])))  # fmt: skip


def packed_comparisons(kind, names, ftz):
    dot, double = ".ftz" if ftz else "", kind + "x2"
    joins = dict(zip(names, ["and", "or", "xor"] * 5, strict=False))
    for name in names:
        flag = compared(name, kind, ftz)

        def both(a, b, f=flag):
            return tuple(f(x, y) for x, y in zip(halves(a), halves(b), strict=True))

        CASES.append(Case(f"setp.{name}{dot}.{double}", ("pred", "pred"), ("b32", "b32"), both, packed(kind, 2)))
        how = joins[name]
        CASES.append(Case(f"setp.{name}.{how}{dot}.{double}", ("pred", "pred"), ("b32", "b32", "pred"),
                          lambda a, b, c, f=both, j=JOIN[how]: tuple(j(x, c) for x in f(a, b)),
                          [(*r, i % 2) for i, r in enumerate(packed(kind, 2))]))  # fmt: skip
        CASES.append(Case(f"set.{name}.{how}{dot}.{double}.{double}", ("b32",), ("b32", "b32", "pred"),
                          lambda a, b, c, f=both, j=JOIN[how], v=ONES[kind]: joined(*(v * bool(j(x, c)) for x in f(a, b))),
                          [(*r, i % 2) for i, r in enumerate(packed(kind, 2))]))  # fmt: skip
        CASES.append(Case(f"set.{name}{dot}.{double}.{double}", ("b32",), ("b32", "b32"),
                          lambda a, b, f=both, v=ONES[kind]: joined(*(v * x for x in f(a, b))), packed(kind, 2)))  # fmt: skip


for _ftz in (False, True):
    comparisons("f32", list(COMPARE), _ftz)
    comparisons("f16", list(COMPARE), _ftz)
    packed_comparisons("f16", list(COMPARE), _ftz)
comparisons("f64", list(COMPARE), False)
comparisons("bf16", list(COMPARE), False)
packed_comparisons("bf16", list(COMPARE), False)

CLASSES = {
    "finite": math.isfinite, "infinite": math.isinf, "number": lambda x: x == x, "notanumber": math.isnan,
    "normal": None, "subnormal": None,
}  # fmt: skip
for _T in ("f32", "f64"):
    _least = 2.0 ** SHAPES[_T][1]
    CLASSES["normal"] = lambda x, least=_least: math.isfinite(x) and (abs(x) >= least)
    CLASSES["subnormal"] = lambda x, least=_least: 0 < abs(x) < least
    for _name, _test in CLASSES.items():
        CASES.append(Case(f"testp.{_name}.{_T}", ("pred",), (_T,), lambda a, t=_test, k=_T: t(value(a, k)), rows(_T)))

# Constants
CASES += [
    Case("fma.rn.f32", ("f32",), ("f32",), lambda a: pattern(fused(value(a, "f32"), 2.0, 0.5, "f32", []), "f32"), rows("f32"),
         "{d0}, {s0}, 0f40000000, 0f3F000000"),
    Case("add.f64", ("f64",), ("f64",), lambda a: pattern(value(a, "f64") + 1.5, "f64"), rows("f64"), "{d0}, {s0}, 0d3FF8000000000000"),
    Case("mul.f32", ("f32",), ("f32",), lambda a: pattern(product(value(a, "f32"), -4.0, "f32", []), "f32"), rows("f32"), "{d0}, {s0}, -4.0"),
]  # fmt: skip
