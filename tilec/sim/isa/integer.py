"""Integer arithmetic, logic, shifts, comparison, selection and moves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tilec.sim import integers, numerics
from tilec.sim.table import instruction

INTS = "u16 u32 u64 s16 s32 s64"
Meaning = Callable[..., Any]


def _typed(ufunc: Any) -> Meaning:
    return lambda **mods: ufunc


instruction("add.T", "T = T T", T=INTS)(_typed(np.add))
instruction("sub.T", "T = T T", T=INTS)(_typed(np.subtract))
instruction("mul.lo.T", "T = T T", T=INTS)(_typed(np.multiply))
instruction("min.T", "T = T T", T=INTS)(_typed(np.minimum))
instruction("max.T", "T = T T", T=INTS)(_typed(np.maximum))
instruction("neg.T", "T = T", T="s16 s32 s64")(_typed(np.negative))
instruction("abs.T", "T = T", T="s16 s32 s64")(_typed(np.abs))


@instruction("add.T", "bits(T) = bits(T) bits(T)", T="u16x2 s16x2")
def add_x2(T: str) -> Meaning:
    return lambda a, b: numerics.join(numerics.halves(a) + numerics.halves(b))


@instruction("min{.relu}.T", "bits(T) = bits(T) bits(T)", T="u16x2 s16x2 s32", where=lambda relu, T: T != "u16x2" or not relu)
def min_relu(relu: bool, T: str) -> Meaning:
    return partial(integers.minimum, T, relu=relu)


@instruction("max{.relu}.T", "bits(T) = bits(T) bits(T)", T="u16x2 s16x2 s32", where=lambda relu, T: T != "u16x2" or not relu)
def max_relu(relu: bool, T: str) -> Meaning:
    return partial(integers.maximum, T, relu=relu)


@instruction("add.sat.s32", "b32 = b32 b32")
def add_sat(sat: bool, s32: bool) -> Meaning:
    return partial(integers.saturating, "s32")


@instruction("sub.sat.s32", "b32 = b32 b32")
def sub_sat(sat: bool, s32: bool) -> Meaning:
    return partial(integers.saturating, "s32", subtract=True)


@instruction("mul.hi.T", "bits(T) = bits(T) bits(T)", T=INTS)
def mul_hi(hi: bool, T: str) -> Meaning:
    return partial(integers.mul_hi, T)


@instruction("mul.wide.T", "wide(T) = T T", T="u16 u32 s16 s32")
def mul_wide(wide: bool, T: str) -> Meaning:
    dtype = _wide(T)
    return lambda a, b: np.multiply(a, b, dtype=dtype)


def _wide(T: str) -> Any:
    return np.dtype(f"{'i' if T[0] == 's' else 'u'}{int(T[1:]) // 4}")


@instruction("mad.lo.T", "T = T T T", T=INTS)
def mad_lo(lo: bool, T: str) -> Meaning:
    return lambda a, b, c: a * b + c


@instruction("mad.hi.T", "bits(T) = bits(T) bits(T) bits(T)", T=INTS)
def mad_hi(hi: bool, T: str) -> Meaning:
    return lambda a, b, c: integers.mul_hi(T, a, b) + c


@instruction("mad.hi.sat.s32", "b32 = b32 b32 b32")
def mad_hi_sat(**_: Any) -> Meaning:
    return lambda a, b, c: integers.saturating("s32", integers.mul_hi("s32", a, b), c)


@instruction("mad.wide.T", "wide(T) = T T wide(T)", T="u16 u32 s16 s32")
def mad_wide(wide: bool, T: str) -> Meaning:
    dtype = _wide(T)
    return lambda a, b, c: np.multiply(a, b, dtype=dtype) + c


@instruction("mul24.part.T", "bits(T) = bits(T) bits(T)", part="lo hi", T="u32 s32")
def mul24(part: str, T: str) -> Meaning:
    return partial(integers.mul24, T, part)


@instruction("mad24.part.T", "bits(T) = bits(T) bits(T) bits(T)", part="lo hi", T="u32 s32")
def mad24(part: str, T: str) -> Meaning:
    return lambda a, b, c: integers.mul24(T, part, a, b) + c


@instruction("sad.T", "bits(T) = bits(T) bits(T) bits(T)", T=INTS)
def sad(T: str) -> Meaning:
    return partial(integers.sad, T)


@instruction("div.T", "bits(T) = bits(T) bits(T)", T=INTS)
def div(T: str) -> Meaning:
    return partial(integers.divide, T)


@instruction("rem.T", "bits(T) = bits(T) bits(T)", T=INTS)
def rem(T: str) -> Meaning:
    return partial(integers.remainder, T)


# Extended precision: the carry flag is a part of the thread's state


def _carrying(compute: Callable[[Any, Any, Any], tuple[Any, Any]], reads: bool, writes: bool) -> Meaning:
    def run(M: Any, at: int, mask: Any, a: Any, b: Any) -> Any:
        out, carry = compute(a, b, M.carry if reads else None)
        if writes:
            M.carry = carry if mask is None else np.where(mask, carry, M.carry)
        return out

    return run


_WORDS = "u32 s32 u64 s64"


@instruction("add.cc.T", "bits(T) = bits(T) bits(T)", machine=True, T=_WORDS)
def add_cc(cc: bool, T: str) -> Meaning:
    return _carrying(integers.add_carry, False, True)


@instruction("addc{.cc}.T", "bits(T) = bits(T) bits(T)", machine=True, T=_WORDS)
def addc(cc: bool, T: str) -> Meaning:
    return _carrying(integers.add_carry, True, cc)


@instruction("sub.cc.T", "bits(T) = bits(T) bits(T)", machine=True, T=_WORDS)
def sub_cc(cc: bool, T: str) -> Meaning:
    return _carrying(integers.sub_borrow, False, True)


@instruction("subc{.cc}.T", "bits(T) = bits(T) bits(T)", machine=True, T=_WORDS)
def subc(cc: bool, T: str) -> Meaning:
    return _carrying(integers.sub_borrow, True, cc)


def _mad_carrying(part: str, T: str, reads: bool, writes: bool) -> Meaning:
    add = _carrying(integers.add_carry, reads, writes)
    product: Any = np.multiply if part == "lo" else partial(integers.mul_hi, T)
    return lambda M, at, mask, a, b, c: add(M, at, mask, product(a, b), c)


@instruction("mad.part.cc.T", "bits(T) = bits(T) bits(T) bits(T)", machine=True, part="lo hi", T=_WORDS)
def mad_cc(part: str, cc: bool, T: str) -> Meaning:
    return _mad_carrying(part, T, False, True)


@instruction("madc.part{.cc}.T", "bits(T) = bits(T) bits(T) bits(T)", machine=True, part="lo hi", T=_WORDS)
def madc(part: str, cc: bool, T: str) -> Meaning:
    return _mad_carrying(part, T, True, cc)


# Logic and shifts

_LOGIC = "pred b16 b32 b64"
instruction("and.T", "T = T T", T=_LOGIC)(_typed(np.bitwise_and))
instruction("or.T", "T = T T", T=_LOGIC)(_typed(np.bitwise_or))
instruction("xor.T", "T = T T", T=_LOGIC)(_typed(np.bitwise_xor))
instruction("not.T", "T = T", T=_LOGIC)(_typed(np.invert))


@instruction("cnot.T", "T = T", T="b16 b32 b64")
def cnot(T: str) -> Meaning:
    return lambda a: (a == 0).astype(a.dtype)


@instruction("shl.T", "T = T b32", T="b16 b32 b64")
def shl(T: str) -> Meaning:
    return _shift(np.left_shift, integers.shl, T)


@instruction("shr.T", "T = T b32", T="b16 b32 b64 u16 u32 u64 s16 s32 s64")
def shr(T: str) -> Meaning:
    def general(a: Any, b: Any) -> Any:
        return integers.shr(T, a.view(f"u{a.dtype.itemsize}"), b).view(a.dtype)

    return _shift(np.right_shift, general, T)


def _shift(ufunc: Any, general: Meaning, T: str) -> Meaning:
    bits = int(T[1:])

    def shift(a: Any, b: Any) -> Any:
        if b.size == 1 and b.item() < bits:  # NumPy's own shift is defined below the width
            return ufunc(a, b.astype(a.dtype))
        return general(a, b)

    return shift


@instruction("shf.direction.mode.b32", "b32 = b32 b32 b32", direction="l r", mode="wrap clamp")
def shf(direction: str, mode: str, b32: bool) -> Meaning:
    return partial(integers.shf, direction, mode)


@instruction("lop3.b32", "b32 = b32 b32 b32 imm")
def lop3(b32: bool) -> Meaning:
    return integers.lop3


@instruction("lop3.op.b32", "b32|pred = b32 b32 b32 imm pred", op="or and")
def lop3_pred(op: str, b32: bool) -> Meaning:
    def run(a: Any, b: Any, c: Any, table: int, q: Any) -> Any:
        d = integers.lop3(a, b, c, table)
        return d, (d != 0) | q if op == "or" else (d != 0) & q

    return run


@instruction("prmt.b32{.mode}", "b32 = b32 b32 b32", mode="f4e b4e rc8 ecl ecr rc16")
def prmt(b32: bool, mode: str | None) -> Meaning:
    return lambda a, b, c: integers.prmt(a, b, c, mode)


@instruction("bfe.T", "bits(T) = bits(T) b32 b32", T="u32 u64 s32 s64")
def bfe(T: str) -> Meaning:
    return partial(integers.bfe, T)


@instruction("bfi.T", "T = T T b32 b32", T="b32 b64")
def bfi(T: str) -> Meaning:
    return integers.bfi


@instruction("brev.T", "T = T", T="b32 b64")
def brev(T: str) -> Meaning:
    return integers.brev


@instruction("popc.T", "b32 = T", T="b32 b64")
def popc(T: str) -> Meaning:
    return integers.popc


@instruction("clz.T", "b32 = T", T="b32 b64")
def clz(T: str) -> Meaning:
    return integers.clz


@instruction("bfind{.shiftamt}.T", "b32 = bits(T)", T="u32 u64 s32 s64")
def bfind(shiftamt: bool, T: str) -> Meaning:
    return partial(integers.bfind, T, shiftamt=shiftamt)


@instruction("fns.b32", "b32 = b32 b32 b32")
def fns(b32: bool) -> Meaning:
    return integers.fns


@instruction("szext.mode.T", "bits(T) = bits(T) b32", mode="clamp wrap", T="u32 s32")
def szext(mode: str, T: str) -> Meaning:
    return partial(integers.szext, mode, T)


@instruction("bmsk.mode.b32", "b32 = b32 b32", mode="clamp wrap")
def bmsk(mode: str, b32: bool) -> Meaning:
    return partial(integers.bmsk, mode)


@instruction("dp4a.A.B", "b32 = b32 b32 b32", A="u32 s32", B="u32 s32")
def dp4a(A: str, B: str) -> Meaning:
    return partial(integers.dp4a, A, B)


@instruction("dp2a.part.A.B", "b32 = b32 b32 b32", part="lo hi", A="u32 s32", B="u32 s32")
def dp2a(part: str, A: str, B: str) -> Meaning:
    return partial(integers.dp2a, part, A, B)


# Comparison and selection

_CMP = "eq ne lt le gt ge lo ls hi hs"
_COMPARED = "b16 b32 b64 u16 u32 u64 s16 s32 s64"
_UFUNC = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
BOOL = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def _orders(CMP: str, T: str, **_: Any) -> bool:
    """Bits are equal or not; lo ls hi hs compare unsigned numbers."""
    return CMP in ("eq", "ne") or (T[0] != "b" and (T[0] == "u" or CMP in ("lt", "le", "gt", "ge")))


def both(flags: Any) -> tuple[Any, Any]:
    """A predicate and, only if the program asks for it, its negation."""
    return flags, lambda: ~flags


@instruction("setp.CMP.T", "pred|pred = T T", CMP=_CMP, T=_COMPARED, where=_orders)
def setp(CMP: str, T: str) -> Meaning:
    compare = _UFUNC[CMP]
    return lambda a, b: both(compare(a, b))


@instruction("setp.CMP.BOOL.T", "pred|pred = T T pred", CMP=_CMP, BOOL="and or xor", T=_COMPARED, where=_orders)
def setp_bool(CMP: str, BOOL: str, T: str) -> Meaning:
    return combined(_UFUNC[CMP], BOOL)


def combined(compare: Meaning, name: str) -> Meaning:
    """setp with a third predicate: the second destination is the negated comparison, combined."""
    join = BOOL[name]

    def run(a: Any, b: Any, c: Any) -> Any:
        flags = compare(a, b)
        return join(flags, c), lambda: join(~flags, c)

    return run


@instruction("set.CMP.D.T", "bits(D) = T T", CMP=_CMP, D="u32 s32 f32", T=_COMPARED, where=_orders)
def set_(CMP: str, D: str, T: str) -> Meaning:
    compare = _UFUNC[CMP]
    return lambda a, b: numerics.set_value(compare(a, b), D)


@instruction("set.CMP.BOOL.D.T", "bits(D) = T T pred", CMP=_CMP, BOOL="and or xor", D="u32 s32 f32", T=_COMPARED, where=_orders)
def set_bool(CMP: str, BOOL: str, D: str, T: str) -> Meaning:
    compare, join = _UFUNC[CMP], globals()["BOOL"][BOOL]
    return lambda a, b, c: numerics.set_value(join(compare(a, b), c), D)


@instruction("selp.T", "T = T T pred", T="b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64")
def selp(T: str) -> Meaning:
    return lambda a, b, p: np.where(p, a, b)


@instruction("slct.T.C", "T = T T C", T="b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64", C="s32 f32")
def slct(T: str, C: str) -> Meaning:
    return lambda a, b, c: np.where(c >= 0, a, b)


@instruction("slct.ftz.T.f32", "T = T T f32", T="b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64")
def slct_ftz(ftz: bool, T: str, f32: bool) -> Meaning:
    return lambda a, b, c: np.where((c >= 0) | (np.abs(c) < 2.0**-126), a, b)


@instruction("mov.T", "T = T", T="pred b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64")
def mov(T: str) -> Meaning:
    return _same


def _same(a: Any) -> Any:
    return a
