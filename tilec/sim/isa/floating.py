"""Floating-point arithmetic and comparison.

The common forms of f32 and f64, rounded to nearest and not flushed, are NumPy's own operations; they keep the payload of a NaN, where
hardware gives 0x7fffffff. Everything else is in numerics.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tilec.sim import convert, numerics
from tilec.sim.isa.integer import both, combined
from tilec.sim.table import instruction

Meaning = Callable[..., Any]
RND = "rn rz rm rp"
HALVES = "f16 f16x2 bf16 bf16x2"


NAN32 = np.array(0x7FFFFFFF, np.uint32).view(np.float32)


def _canonical(ufunc: Any, a: Any, b: Any) -> Any:
    """In f32 every NaN is 0x7fffffff; f64 keeps payloads (PTX manual, "Floating Point Instructions")."""
    out = ufunc(a, b)
    odd = out != out
    return np.where(odd, NAN32, out) if odd.any() else out


def _row(name: str, function: Meaning, fast: Any, operands: str) -> None:
    """add, sub, mul: NumPy's ufunc `fast` where it is the same."""
    instruction(f"{name}{{.rn}}.T", operands.replace("X", "T"), T="f32 f64")(lambda rn, T: partial(_canonical, fast) if T == "f32" else fast)

    @instruction(f"{name}{{.rnd}}{{.ftz}}{{.sat}}.f32", operands.replace("X", "b32"), rnd=RND)
    def f32(rnd: str | None, ftz: bool, sat: bool, f32: bool) -> Meaning:
        return partial(function, "f32", rounding=rnd or "rn", ftz=ftz, sat=sat)

    @instruction(f"{name}.rnd.f64", operands.replace("X", "b64"), rnd=RND)
    def f64(rnd: str, f64: bool) -> Meaning:
        return partial(function, "f64", rounding=rnd)

    @instruction(f"{name}{{.rn}}{{.ftz}}{{.sat}}.T", operands.replace("X", "bits(T)"), T="f16 f16x2")
    @instruction(f"{name}{{.rn}}.T", operands.replace("X", "bits(T)"), T="bf16 bf16x2")
    def half(T: str, rn: bool, ftz: bool = False, sat: bool = False) -> Meaning:
        return partial(function, T, ftz=ftz, sat=sat)


_row("add", numerics.add, np.add, "X = X X")
_row("sub", numerics.sub, np.subtract, "X = X X")
_row("mul", numerics.mul, np.multiply, "X = X X")


# Two f32 in a 64-bit register (sm_100)


def _by_words(function: Meaning) -> Meaning:
    def run(*operands: Any) -> Any:
        parts = (np.ascontiguousarray(x)[..., None].view(np.uint32) for x in operands)
        return np.ascontiguousarray(function(*parts)).view(np.uint64)[..., 0]

    return run


@instruction("add{.rnd}{.ftz}.f32x2", "b64 = b64 b64", rnd=RND)
def add_pair(rnd: str | None, ftz: bool, f32x2: bool) -> Meaning:
    return _by_words(partial(numerics.add, "f32", rounding=rnd or "rn", ftz=ftz))


@instruction("mul{.rnd}{.ftz}.f32x2", "b64 = b64 b64", rnd=RND)
def mul_pair(rnd: str | None, ftz: bool, f32x2: bool) -> Meaning:
    return _by_words(partial(numerics.mul, "f32", rounding=rnd or "rn", ftz=ftz))


@instruction("fma.rnd{.ftz}.f32x2", "b64 = b64 b64 b64", rnd=RND)
def fma_pair(rnd: str, ftz: bool, f32x2: bool) -> Meaning:
    return _by_words(partial(numerics.fma, "f32", rounding=rnd, ftz=ftz))


@instruction("fma.rnd{.ftz}{.sat}.f32", "b32 = b32 b32 b32", rnd=RND)
@instruction("mad.rnd{.ftz}{.sat}.f32", "b32 = b32 b32 b32", rnd=RND)
def fma32(rnd: str | None, ftz: bool, sat: bool, f32: bool) -> Meaning:
    return partial(numerics.fma, "f32", rounding=rnd or "rn", ftz=ftz, sat=sat)


def _widened(T: str) -> Meaning:
    """f16 or bf16 bits to f32 bits, exactly."""
    return partial(convert.cvt, "f32", T)


@instruction("fma.rnd{.sat}.f32.T", "b32 = bits(T) bits(T) b32", rnd=RND, T="f16 bf16")
def fma_mixed(rnd: str | None, sat: bool, f32: bool, T: str) -> Meaning:
    wide = _widened(T)
    return lambda a, b, c: numerics.fma("f32", wide(a), wide(b), c, rounding=rnd or "rn", sat=sat)


@instruction("add{.rnd}{.sat}.f32.T", "b32 = bits(T) b32", rnd=RND, T="f16 bf16")
def add_mixed(rnd: str | None, sat: bool, f32: bool, T: str) -> Meaning:
    wide = _widened(T)
    return lambda a, c: numerics.add("f32", wide(a), c, rounding=rnd or "rn", sat=sat)


@instruction("sub{.rnd}{.sat}.f32.T", "b32 = bits(T) b32", rnd=RND, T="f16 bf16")
def sub_mixed(rnd: str | None, sat: bool, f32: bool, T: str) -> Meaning:
    wide = _widened(T)
    return lambda a, c: numerics.sub("f32", wide(a), c, rounding=rnd or "rn", sat=sat)


@instruction("fma.rnd.f64", "b64 = b64 b64 b64", rnd=RND)
@instruction("mad.rnd.f64", "b64 = b64 b64 b64", rnd=RND)
def fma64(rnd: str, f64: bool) -> Meaning:
    return partial(numerics.fma, "f64", rounding=rnd)


@instruction("fma.rn{.ftz}{.sat}.T", "bits(T) = bits(T) bits(T) bits(T)", T="f16 f16x2")
@instruction("fma.rn{.ftz}.relu.T", "bits(T) = bits(T) bits(T) bits(T)", T="f16 f16x2")
@instruction("fma.rn{.relu}.T", "bits(T) = bits(T) bits(T) bits(T)", T="bf16 bf16x2")
def fma16(T: str, rn: bool, ftz: bool = False, sat: bool = False, relu: bool = False) -> Meaning:
    return partial(numerics.fma, T, ftz=ftz, sat=sat, relu=relu)


@instruction("div.mode{.ftz}.f32", "b32 = b32 b32", mode=RND + " approx full")
def div32(mode: str, ftz: bool, f32: bool) -> Meaning:
    return partial(numerics.div, "f32", rounding=mode, ftz=ftz)


@instruction("div.rnd.f64", "b64 = b64 b64", rnd=RND)
def div64(rnd: str, f64: bool) -> Meaning:
    return partial(numerics.div, "f64", rounding=rnd)


@instruction("rcp.mode{.ftz}.f32", "b32 = b32", mode=RND + " approx")
def rcp32(mode: str, ftz: bool, f32: bool) -> Meaning:
    return partial(numerics.rcp, "f32", rounding=mode, ftz=ftz)


@instruction("sqrt.mode{.ftz}.f32", "b32 = b32", mode=RND + " approx")
def sqrt32(mode: str, ftz: bool, f32: bool) -> Meaning:
    return partial(numerics.sqrt, "f32", rounding=mode, ftz=ftz)


@instruction("rcp.rnd.f64", "b64 = b64", rnd=RND)
def rcp64(rnd: str, f64: bool) -> Meaning:
    return partial(numerics.rcp, "f64", rounding=rnd)


@instruction("rcp.approx.ftz.f64", "b64 = b64")
def rcp64_approx(**_: Any) -> Meaning:
    return partial(numerics.rcp, "f64", rounding="approx", ftz=True)


@instruction("sqrt.rnd.f64", "b64 = b64", rnd=RND)
def sqrt64(rnd: str, f64: bool) -> Meaning:
    return partial(numerics.sqrt, "f64", rounding=rnd)


@instruction("rsqrt.approx{.ftz}.T", "bits(T) = bits(T)", T="f32 f64")
def rsqrt(approx: bool, ftz: bool, T: str) -> Meaning:
    return partial(numerics.rsqrt, T, ftz=ftz)


def _approximate(name: str, function: Meaning) -> None:
    @instruction(f"{name}.approx{{.ftz}}.f32", "b32 = b32")
    def row(approx: bool, ftz: bool, f32: bool) -> Meaning:
        return partial(function, "f32", ftz=ftz)


for _name, _function in {"ex2": numerics.ex2, "lg2": numerics.lg2, "sin": numerics.sin, "cos": numerics.cos}.items():
    _approximate(_name, _function)


@instruction("ex2.approx.T", "bits(T) = bits(T)", T="f16 f16x2")
@instruction("ex2.approx.ftz.T", "bits(T) = bits(T)", T="bf16 bf16x2")
def ex2_half(approx: bool, T: str, ftz: bool = False) -> Meaning:
    return partial(numerics.ex2, T, ftz=ftz)


@instruction("tanh.approx.T", "bits(T) = bits(T)", T="f32 " + HALVES)
def tanh(approx: bool, T: str) -> Meaning:
    return partial(numerics.tanh, T)


# Signs, minimum, maximum


@instruction("neg{.ftz}.T", "bits(T) = bits(T)", T="f32 f16 f16x2")
@instruction("neg.T", "bits(T) = bits(T)", T="f64 bf16 bf16x2")
def neg(T: str, ftz: bool = False) -> Meaning:
    return partial(numerics.neg, T, ftz=ftz)


@instruction("abs{.ftz}.T", "bits(T) = bits(T)", T="f32 f16 f16x2")
@instruction("abs.T", "bits(T) = bits(T)", T="f64 bf16 bf16x2")
def absolute(T: str, ftz: bool = False) -> Meaning:
    return partial(numerics.absolute, T, ftz=ftz)


@instruction("copysign.T", "bits(T) = bits(T) bits(T)", T="f32 f64")
def copysign(T: str) -> Meaning:
    return partial(numerics.copysign, T)


def _extreme(name: str, function: Meaning, plain: Any) -> None:
    def quick(a: Any, b: Any) -> Any:
        """fmin and fmax, unless a zero or a NaN comes out, whose sign or bits may differ."""
        out = plain(a, b)
        if ((out == 0) | (out != out)).any():
            return function("f32", a.view(np.uint32), b.view(np.uint32)).view(np.float32)
        return out

    instruction(f"{name}.f32", "f32 = f32 f32 f32?")(lambda f32: lambda a, b, c: quick(a, b) if c is None else quick(quick(a, b), c))

    @instruction(
        f"{name}{{.ftz}}{{.NaN}}{{.xorsign}}{{.abs}}.f32", "b32 = b32 b32 b32?", where=lambda xorsign, abs, **_: not xorsign or abs
    )
    def f32(ftz: bool, NaN: bool, xorsign: bool, abs: bool, f32: bool) -> Meaning:
        chosen = partial(function, "f32", ftz=ftz, nan=NaN, xorsign_abs=xorsign, abs=abs and not xorsign)
        return lambda a, b, c: chosen(a, b) if c is None else chosen(a, b, c)

    @instruction(f"{name}.f64", "b64 = b64 b64")
    def f64(f64: bool) -> Meaning:
        return partial(function, "f64")

    @instruction(
        f"{name}{{.ftz}}{{.NaN}}{{.xorsign}}{{.abs}}.T",
        "bits(T) = bits(T) bits(T)",
        T="f16 f16x2",
        where=lambda xorsign, abs, **_: xorsign == abs,
    )
    @instruction(
        f"{name}{{.NaN}}{{.xorsign}}{{.abs}}.T",
        "bits(T) = bits(T) bits(T)",
        T="bf16 bf16x2",
        where=lambda xorsign, abs, **_: xorsign == abs,
    )
    def half(T: str, NaN: bool, xorsign: bool, abs: bool, ftz: bool = False) -> Meaning:
        return partial(function, T, ftz=ftz, nan=NaN, xorsign_abs=xorsign)


_extreme("min", numerics.minimum, np.fmin)
_extreme("max", numerics.maximum, np.fmax)

# Comparison

def _flags(T: str, BOOL: str | None = None, **_: Any) -> str:
    """f16 and bf16 have no second destination."""
    return f"{'pred|pred' if T in ('f32', 'f64') else 'pred'} = bits(T) bits(T)" + (" pred" if BOOL else "")


_CMP = "eq ne lt le gt ge equ neu ltu leu gtu geu num nan"
_QUICK = {"eq": np.equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "neu": np.not_equal}


def _compare(CMP: str, T: str, ftz: bool) -> Meaning:
    return partial(numerics.compare, CMP, T, ftz=ftz)


instruction("setp.CMP.T", "pred|pred = T T", CMP=" ".join(_QUICK), T="f32 f64")(
    lambda CMP, T: lambda a, b, compare=_QUICK[CMP]: both(compare(a, b))
)


@instruction("setp.CMP{.ftz}.T", _flags, CMP=_CMP, T="f32 f16")
@instruction("setp.CMP.T", _flags, CMP=_CMP, T="f64 bf16")
def setp(CMP: str, T: str, ftz: bool = False) -> Meaning:
    compare = _compare(CMP, T, ftz)
    return (lambda a, b: both(compare(a, b))) if T in ("f32", "f64") else compare


@instruction("setp.CMP.BOOL{.ftz}.T", _flags, CMP=_CMP, BOOL="and or xor", T="f32 f16")
@instruction("setp.CMP.BOOL.T", _flags, CMP=_CMP, BOOL="and or xor", T="f64 bf16")
def setp_bool(CMP: str, BOOL: str, T: str, ftz: bool = False) -> Meaning:
    pair = combined(_compare(CMP, T, ftz), BOOL)
    return pair if T in ("f32", "f64") else lambda a, b, c: pair(a, b, c)[0]


@instruction("setp.CMP{.ftz}.f16x2", "pred|pred = b32 b32", CMP=_CMP)
@instruction("setp.CMP.bf16x2", "pred|pred = b32 b32", CMP=_CMP)
def setp_x2(CMP: str, ftz: bool = False, f16x2: bool = False, bf16x2: bool = False) -> Meaning:
    compare = _compare(CMP, "f16x2" if f16x2 else "bf16x2", ftz)

    def run(a: Any, b: Any) -> Any:
        flags = compare(a, b)
        return flags[..., 0], flags[..., 1]

    return run


@instruction("setp.CMP.BOOL{.ftz}.f16x2", "pred|pred = b32 b32 pred", CMP=_CMP, BOOL="and or xor")
@instruction("setp.CMP.BOOL.bf16x2", "pred|pred = b32 b32 pred", CMP=_CMP, BOOL="and or xor")
def setp_x2_bool(CMP: str, BOOL: str, ftz: bool = False, f16x2: bool = False, bf16x2: bool = False) -> Meaning:
    from tilec.sim.isa.integer import BOOL as JOINS

    compare, join = _compare(CMP, "f16x2" if f16x2 else "bf16x2", ftz), JOINS[BOOL]

    def run(a: Any, b: Any, c: Any) -> Any:
        flags = compare(a, b)
        return join(flags[..., 0], c), join(flags[..., 1], c)

    return run


_SET = "u32 s32 f32 u16 s16 f16 bf16"


def _set_fits(D: str, T: str, **_: Any) -> bool:
    """Halves give integers of 16 and 32 bits or their own type; others 32 bits."""
    return D in (("u32", "s32", "u16", "s16", T) if T in ("f16", "bf16") else ("u32", "s32", "f32"))


@instruction("set.CMP{.ftz}.D.T", "bits(D) = bits(T) bits(T)", CMP=_CMP, D=_SET, T="f32 f16", where=_set_fits)
@instruction("set.CMP.D.T", "bits(D) = bits(T) bits(T)", CMP=_CMP, D=_SET, T="f64 bf16", where=_set_fits)
@instruction("set.CMP{.ftz}.D.T", "bits(D) = bits(T) bits(T)", CMP=_CMP, D="f16x2", T="f16x2")
@instruction("set.CMP.D.T", "bits(D) = bits(T) bits(T)", CMP=_CMP, D="bf16x2", T="bf16x2")
def set_(CMP: str, D: str, T: str, ftz: bool = False) -> Meaning:
    compare = _compare(CMP, T, ftz)
    return lambda a, b: numerics.set_value(compare(a, b), D)


@instruction("set.CMP.BOOL{.ftz}.D.T", "bits(D) = bits(T) bits(T) pred", CMP=_CMP, BOOL="and or xor", D=_SET, T="f32 f16", where=_set_fits)
@instruction("set.CMP.BOOL.D.T", "bits(D) = bits(T) bits(T) pred", CMP=_CMP, BOOL="and or xor", D=_SET, T="f64 bf16", where=_set_fits)
@instruction("set.CMP.BOOL{.ftz}.D.T", "bits(D) = bits(T) bits(T) pred", CMP=_CMP, BOOL="and or xor", D="f16x2", T="f16x2")
@instruction("set.CMP.BOOL.D.T", "bits(D) = bits(T) bits(T) pred", CMP=_CMP, BOOL="and or xor", D="bf16x2", T="bf16x2")
def set_bool(CMP: str, BOOL: str, D: str, T: str, ftz: bool = False) -> Meaning:
    from tilec.sim.isa.integer import BOOL as JOINS

    compare, join = _compare(CMP, T, ftz), JOINS[BOOL]
    if T.endswith("x2"):
        return lambda a, b, c: numerics.set_value(join(compare(a, b), c[..., None]), D)
    return lambda a, b, c: numerics.set_value(join(compare(a, b), c), D)


@instruction("testp.op.T", "pred = bits(T)", op="finite infinite number notanumber normal subnormal", T="f32 f64")
def testp(op: str, T: str) -> Meaning:
    return partial(numerics.testp, op, T)
