"""Elementwise functions to LLVM IR, as `arith` does it: rounding, bits, and functions of real numbers within their stated bounds.

    sin(x)  ->  x = q pi/2 + r with |r| <= pi/4, then a polynomial of r, chosen by q

The polynomials are weighted minimax fits, made with NumPy: the comment at each says how far it is from the function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tilec.backend.arith import (
    CONVERSIONS,
    LN_2,
    LOG2_E_HIGH,
    RULES,
    approximate,
    fma,
    intrinsic,
    llvm,
    lowers,
    multiply,
    number,
    single,
    special,
)
from tilec.backend.emit import Emitter, llvm_type
from tilec.ir.dtypes import DType, f32
from tilec.ir.ops import arith as ops
from tilec.ir.ops import functions as more
from tilec.ir.ops.matmul import RoundTf32

lowers(more.Round)(single(intrinsic("rint")))
lowers(more.Trunc)(single(intrinsic("trunc")))
lowers(more.Copysign)(intrinsic("copysign"))
lowers(more.Popcount)(intrinsic("ctpop"))


def zeros(name: str) -> None:
    kind = more.CountLeadingZeros if name == "ctlz" else more.CountTrailingZeros
    lowers(kind)(lambda e, d, x: e.call(llvm_type(d), f"llvm.{name}.{llvm_type(d)}", f"{llvm_type(d)} {x}", "i1 false"))


zeros("ctlz")
zeros("cttz")


def bitcast(e: Emitter, x: str, source: DType, to: DType) -> str:
    return x if llvm_type(source) == llvm_type(to) else e.let(f"bitcast {llvm_type(source)} {x} to {llvm_type(to)}")


CONVERSIONS[more.Bitcast] = bitcast


def polynomial(e: Emitter, coefficients: Sequence[float], x: str) -> str:
    """c0 + c1 x + c2 x**2 ..., by fused multiply-adds."""
    sum = number(coefficients[-1])
    for c in coefficients[-2::-1]:
        sum = fma(e, sum, x, number(c))
    return sum


def bits_of(e: Emitter, x: str) -> str:
    return e.let(f"bitcast float {x} to i32")


def float_of(e: Emitter, bits: str) -> str:
    return e.let(f"bitcast i32 {bits} to float")


def select(e: Emitter, condition: str, x: str, y: str, kind: str = "float") -> str:
    return e.let(f"select i1 {condition}, {kind} {x}, {kind} {y}")


SHIFT = 12582912.0  # 1.5 * 2**23: the sum with it is rounded to an integer, which stands in its low bits


def nearest(e: Emitter, x: str, scale: float) -> tuple[str, str]:
    """The integer nearest to `x * scale`, below 2**22 in size, as an i32 (modulo 2**22) and as a float."""
    shifted = fma(e, x, number(scale), number(SHIFT))
    return bits_of(e, shifted), e.let(f"fsub float {shifted}, {number(SHIFT)}")


# Sine and cosine

SIN = (-0.16666654873468661, 0.008332173542762571, -0.00019516655764751669)  # sin r = r + r**3 * p(r**2), within 2**-28
COS = (0.04166664674775812, -0.0013887361449440609, 2.4437730022368873e-05)  # cos r = 1 - r**2 / 2 + r**4 * p(r**2), within 2**-33
HALF_PI = (1.57079637050628662109375, -4.371139000186241e-08, -1.7151245100058819e-15)  # floats whose sum is pi / 2 within 2**-73
FAR = 65536.0  # up to here q * HALF_PI[0] is near enough to x that the difference is exact
# The bits of 2 / pi behind 9 zeros, in words of 32
TWO_OVER_PI = (0x00517CC1, 0xB727220A, 0x94FE13AB, 0xE8FA9A6E, 0xE06DB14A, 0xCC9E21C8, 0x20FF28B1, 0xD5EF5DE2)


def reduced(e: Emitter, x: str) -> tuple[str, str]:
    """q (an i32, modulo 4) and r with x = q pi / 2 + r and |r| <= pi / 4. Beyond FAR by a branch that few warps ever take."""
    far = e.let(f"fcmp ogt float {llvm(e, 'fabs', f32, x)}, {number(FAR)}")
    label = e.fresh()
    near, slow, done = (f"{word}{label}" for word in ("near", "far", "reduced"))
    e.branch(far, slow, near)
    e.start(near)
    results = [(*_reduced_near(e, x), e.label)]
    e.jump(done)
    e.start(slow)
    results.append((*_reduced_far(e, x), e.label))
    e.jump(done)
    e.start(done)
    return e.phi("i32", [(q, at) for q, _, at in results]), e.phi("float", [(r, at) for _, r, at in results])


def _reduced_near(e: Emitter, x: str) -> tuple[str, str]:
    """After Cody and Waite: pi / 2 in parts, the first of which gives an exact difference."""
    q, whole = nearest(e, x, 2 / math.pi)
    r = x
    for part in HALF_PI:
        r = fma(e, whole, number(-part), r)
    return q, r


def _reduced_far(e: Emitter, x: str) -> tuple[str, str]:
    """After Payne and Hanek, "Radian reduction for trigonometric functions" (SIGNUM 18(1), 1983): x is m * 2**s, and of 2 / pi only 96 bits
    matter, from the one on whose product with x is no multiple of 4."""
    bits = bits_of(e, x)
    exponent = e.let(f"and i32 {e.let(f'lshr i32 {bits}, 23')}, 255")
    mantissa = e.let(f"or i32 {e.let(f'and i32 {bits}, 8388607')}, 8388608")
    m = e.let(f"zext i32 {mantissa} to i64")
    skip = e.let(f"sub i32 {exponent}, 143")  # s + 7
    at, by = e.let(f"lshr i32 {skip}, 5"), e.let(f"and i32 {skip}, 31")
    words = [_word(e, at, i) for i in range(4)]
    parts = [e.call("i32", "llvm.fshl.i32", f"i32 {words[i]}", f"i32 {words[i + 1]}", f"i32 {by}") for i in range(3)]
    high, middle, low = (e.let(f"mul i64 {m}, {e.let(f'zext i32 {p} to i64')}") for p in parts)
    middle = e.let(f"add i64 {middle}, {e.let(f'lshr i64 {low}, 32')}")
    product = e.let(f"add i64 {e.let(f'shl i64 {high}, 32')}, {middle}")  # modulo 2**64: quarters of a turn in 62 bits
    q = e.let(f"lshr i64 {e.let(f'add i64 {product}, {1 << 61}')}, 62")
    rest = e.let(f"sub i64 {product}, {e.let(f'shl i64 {q}, 62')}")
    r = multiply(e, e.let(f"sitofp i64 {rest} to float"), number(math.pi / 2 * 2.0**-62))
    q = e.let(f"trunc i64 {q} to i32")
    negative = e.let(f"icmp slt i32 {bits}, 0")
    r = select(e, negative, e.let(f"fneg float {r}"), r)
    return select(e, negative, e.let(f"sub i32 0, {q}"), q, "i32"), fma(e, x, number(0.0), r)  # NaN of infinity


def _word(e: Emitter, at: str, i: int) -> str:
    """Word `at + i` of 2 / pi, where `at` is 0 to 3."""
    word = str(TWO_OVER_PI[3 + i])
    for k in (2, 1, 0):
        word = select(e, e.let(f"icmp eq i32 {at}, {k}"), str(TWO_OVER_PI[k + i]), word, "i32")
    return word


def circular(e: Emitter, x: str, turn: int) -> str:
    """The sine of x + turn * pi / 2."""
    q, r = reduced(e, x)
    q = e.let(f"add i32 {q}, {turn}") if turn else q
    square = multiply(e, r, r)
    sine = fma(e, multiply(e, square, r), polynomial(e, SIN, square), r)
    cosine = fma(e, multiply(e, square, square), polynomial(e, COS, square), fma(e, square, number(-0.5), number(1.0)))
    value = select(e, e.let(f"trunc i32 {q} to i1"), cosine, sine)
    flip = e.let(f"shl i32 {e.let(f'and i32 {q}, 2')}, 30")
    return float_of(e, e.let(f"xor i32 {bits_of(e, value)}, {flip}"))


approximate(more.Sin)(lambda e, x: circular(e, x, 0))
approximate(more.Cos)(lambda e, x: circular(e, x, 1))
approximate(more.SinApprox)(lambda e, x: special(e, "sin.approx.ftz.f", x))
approximate(more.CosApprox)(lambda e, x: special(e, "cos.approx.ftz.f", x))


# Exponentials and logarithms

EXPM1 = (0.5000000065668682, 0.16666538073219658, 0.041666266717901135, 0.008367239144760024, 0.001394758500420613)
LN_2_PARTS = (0.693145751953125, 1.42860682030941723212e-06)  # the first has 15 bits, so that products with it are exact


@approximate(more.Expm1)
def expm1(e: Emitter, x: str) -> str:
    """2**n * expm1(f) + (2**n - 1), where x = n ln 2 + f; expm1 f = f + f**2 * EXPM1(f), within 2**-26. Halved, so that 2**128 is in reach."""
    x = llvm(e, "minimum", f32, llvm(e, "maximum", f32, x, number(-50.0)), number(89.0))
    n, whole = nearest(e, x, LOG2_E_HIGH)
    f = fma(e, whole, number(-LN_2_PARTS[1]), fma(e, whole, number(-LN_2_PARTS[0]), x))
    small = fma(e, multiply(e, f, f), polynomial(e, EXPM1, f), f)
    half = float_of(e, e.let(f"add i32 {e.let(f'shl i32 {n}, 23')}, {126 << 23}"))
    result = fma(e, half, small, e.let(f"fsub float {half}, {number(0.5)}"))
    doubled = e.let(f"fadd float {result}, {result}")
    return select(e, e.let(f"fcmp oeq float {whole}, {number(0.0)}"), small, doubled)  # no bit of a subnormal number is lost


LOG1P = (0.6666778338236052, 0.39893204178065944, 0.3144376241432741)  # 2 atanh s = 2 s + s**3 * p(s**2) for |s| <= 0.25, within 2**-25.7


@approximate(more.Log1p)
def log1p(e: Emitter, x: str) -> str:
    """k ln 2 + log(1 + t), where 1 + t = (1 + x) / 2**k lies in 2/3 to 4/3 and t is rounded once; log(1 + t) is 2 atanh of s = t / (2 + t),
    written as t less something, which damps the error of the division."""
    sum = e.let(f"fadd float {x}, {number(1.0)}")
    k = e.let(f"and i32 {e.let(f'sub i32 {bits_of(e, sum)}, {0x3F2AAAAB}')}, {-(1 << 23)}")
    scale = float_of(e, e.let(f"sub i32 {0x3F800000}, {k}"))
    t = fma(e, x, scale, e.let(f"fadd float {scale}, {number(-1.0)}"))
    s = multiply(e, t, special(e, "rcp.approx.ftz.f", e.let(f"fadd float {t}, {number(2.0)}")))
    square = multiply(e, s, s)
    inner = fma(e, square, polynomial(e, LOG1P, square), e.let(f"fneg float {t}"))
    whole = multiply(e, e.let(f"sitofp i32 {k} to float"), number(2.0**-23))
    result = fma(e, whole, number(LN_2), fma(e, s, inner, t))
    large = multiply(e, special(e, "lg2.approx.f", sum), number(LN_2))  # and what is special: 0, infinity, below -1
    good = e.let(f"and i1 {e.let(f'fcmp ogt float {x}, {number(-1.0)}')}, {e.let(f'fcmp olt float {x}, {number(2.0**24)}')}")
    return select(e, good, result, large)


def logistic(e: Emitter, power: str) -> str:
    return special(e, "rcp.approx.ftz.f", e.let(f"fadd float {power}, {number(1.0)}"))


approximate(more.Sigmoid)(lambda e, x: logistic(e, RULES[ops.Exp](e, f32, e.let(f"fneg float {x}"))))
approximate(more.SigmoidApprox)(lambda e, x: logistic(e, special(e, "ex2.approx.ftz.f", multiply(e, x, number(-LOG2_E_HIGH)))))


ERF = (1.1283791537962402, -0.37612523273768184, 0.11282140795747342, -0.026778908475871093, 0.005011962291798305, -0.0006090357668720374)
ERF_SMALL = 0.9  # up to here erf x = x * ERF(x**2), within 2**-26; beyond, 1 - 2**-ERFC(x), within 2**-29
ERFC = (0.00024013463628543098, 1.6270674829268577, 0.9189622465528972, 0.15020427930896527, -0.032194043150040375, 0.004422566665174747,
        -0.00028597041594913226)  # fmt: skip


@approximate(more.Erf)
def erf(e: Emitter, x: str) -> str:
    magnitude = llvm(e, "fabs", f32, x)
    held = llvm(e, "minimum", f32, magnitude, number(4.0))  # erf 4 rounds to 1
    power = special(e, "ex2.approx.ftz.f", e.let(f"fneg float {polynomial(e, ERFC, held)}"))
    large = llvm(e, "copysign", f32, e.let(f"fsub float {number(1.0)}, {power}"), x)
    small = multiply(e, x, polynomial(e, ERF, multiply(e, x, x)))
    return select(e, e.let(f"fcmp olt float {magnitude}, {number(ERF_SMALL)}"), small, large)


approximate(ops.Log2Approx)(lambda e, x: special(e, "lg2.approx.ftz.f", x))
approximate(ops.LogApprox)(lambda e, x: multiply(e, special(e, "lg2.approx.ftz.f", x), number(LN_2)))
approximate(ops.RsqrtApprox)(lambda e, x: special(e, "rsqrt.approx.ftz.f", x))
approximate(ops.SqrtApprox)(lambda e, x: special(e, "sqrt.approx.f", x))
approximate(ops.TanhApprox)(lambda e, x: e.let(f"call afn float @llvm.tanh.f32(float {x})"))


@lowers(RoundTf32)
def round_tf32(e: Emitter, dtype: DType, x: str) -> str:
    """Half a place added to the bits, and the low ones cut off; infinity and NaN stay."""
    bits = bits_of(e, x)
    up = e.let(f"and i32 {e.let(f'add i32 {bits}, 4096')}, -8192")
    finite = e.let(f"fcmp olt float {llvm(e, 'fabs', f32, x)}, {number(math.inf)}")
    return select(e, finite, float_of(e, up), x)
