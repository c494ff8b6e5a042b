"""cvt in all its forms, and cvta."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tilec.sim import convert
from tilec.sim.table import instruction
from tilec.sim.values import WINDOWS

Meaning = Callable[..., Any]
INTS = "u8 u16 u32 u64 s8 s16 s32 s64"
_NO_BYTES = "u16 u32 u64 s16 s32 s64"


def _signature(D: str, S: str, **_: Any) -> str:
    """8-bit integers lie in wider registers; the code generator extends or drops what is beyond."""
    return "DD = bits(S)".replace("DD", D if D[0] in "us" else "bits(D)")


def _rows(*patterns: str, **words: Any) -> Callable[[Meaning], Meaning]:
    def add(make: Meaning) -> Meaning:
        for p in patterns:
            instruction(p, _signature, **words)(make)
        return make

    return add


def _simple(D: str, S: str) -> Meaning | None:
    """Integer to integer without saturation, and what NumPy does alike."""
    if D[0] in "us" and S[0] in "us":
        source, target = (
            np.dtype(f"{'i' if S[0] == 's' else 'u'}{int(S[1:]) // 8}"),
            np.dtype(f"{'i' if D[0] == 's' else 'u'}{int(D[1:]) // 8}"),
        )
        return lambda a: a.view(source).astype(target)
    return None


@_rows("cvt.D.S", D=INTS, S=INTS)
def cvt_int(D: str, S: str) -> Meaning:
    found = _simple(D, S)
    assert found
    return found


def _general(D: str, S: str, **modifiers: Any) -> Meaning:
    width = int(D[1:]) if D[0] in "us" else None
    target = np.dtype(f"{'i' if D[0] == 's' else 'u'}{int(D[1:]) // 8}") if D[0] in "us" else None
    function: Meaning = partial(convert.cvt, D, S, width=width, **modifiers)
    return (lambda a: function(a).view(target)) if target is not None else function


def _loses(D: str, S: str, **_: Any) -> bool:
    """Whether some value of S is none of D: only then is there a .sat."""
    bits, had = int(D[1:]), int(S[1:])
    return bits < had if D[0] == S[0] else D[0] == "u" or bits <= had


@_rows("cvt.sat.D.S", D=INTS, S=INTS, where=_loses)
def cvt_int_sat(sat: bool, D: str, S: str) -> Meaning:
    return _general(D, S, sat=True)


@_rows("cvt.rnd{.ftz}{.sat}.D.S", rnd="rni rzi rmi rpi", D=INTS, S="f32")
@_rows("cvt.rnd{.sat}.D.S", rnd="rni rzi rmi rpi", D=INTS, S="f16 f64")
@_rows("cvt.rnd.D.S", rnd="rni rzi rmi rpi", D=_NO_BYTES, S="bf16")
@_rows("cvt.rnd{.ftz}{.sat}.D.S", rnd="rni rzi rmi rpi", D="f32", S="f32")
@_rows("cvt.rnd{.sat}.D.S", rnd="rni rzi rmi rpi", D="f64", S="f64")
@_rows("cvt.rnd{.sat}.D.S", rnd="rni rzi rmi rpi", D="f16", S="f16")
@_rows("cvt.rnd.D.S", rnd="rni rzi rmi rpi", D="bf16", S="bf16")
def cvt_round(rnd: str, D: str, S: str, ftz: bool = False, sat: bool = False) -> Meaning:
    return _general(D, S, rounding=rnd, ftz=ftz, sat=sat)


@_rows("cvt.rnd{.sat}.D.S", rnd="rn rz rm rp", D="f16 f32 f64", S=INTS)
@_rows("cvt.rnd.D.S", rnd="rn rz rm rp", D="bf16", S=_NO_BYTES)
def cvt_from_int(rnd: str, D: str, S: str, sat: bool = False) -> Meaning:
    kind = f"{'i' if S[0] == 's' else 'u'}{int(S[1:]) // 8}"
    if rnd == "rn" and D in ("f32", "f64") and not sat:
        target = np.float32 if D == "f32" else np.float64
        return lambda a: a.view(kind).astype(target).view(f"u{np.dtype(target).itemsize}")
    return _general(D, S, rounding=rnd, sat=sat)


@_rows("cvt{.ftz}{.sat}.D.S", D="f32", S="f16")
@_rows("cvt{.sat}.D.S", D="f64", S="f16")
@_rows("cvt{.ftz}.D.S", D="f32", S="bf16")
@_rows("cvt.D.S", D="f64", S="bf16")
@_rows("cvt{.ftz}{.sat}.D.S", D="f64", S="f32")
@_rows("cvt{.ftz}{.sat}.D.S", D="f32", S="f32")
@_rows("cvt{.sat}.D.S", D="f16", S="f16")
@_rows("cvt{.sat}.D.S", D="f64", S="f64")
def cvt_widen(D: str, S: str, ftz: bool = False, sat: bool = False) -> Meaning:
    if not ftz and not sat:
        if (D, S) == ("f32", "f16"):
            return lambda a: a.view(np.float16).astype(np.float32).view(np.uint32)
        if (D, S) == ("f32", "bf16"):
            return lambda a: a.astype(np.uint32) << np.uint32(16)
        if (D, S) == ("f64", "f32"):
            return lambda a: a.view(np.float32).astype(np.float64).view(np.uint64)
    return _general(D, S, ftz=ftz, sat=sat)


@_rows("cvt.rnd{.ftz}{.sat}.D.S", rnd="rn rz rm rp", D="f32", S="f64")
@_rows("cvt.rnd{.ftz}{.sat}.D.S", rnd="rn rz rm rp", D="f16", S="f32")
@_rows("cvt.rnd{.sat}.D.S", rnd="rn rz rm rp", D="f16", S="f64")
@_rows("cvt.rnd{.relu}{.satfinite}.D.S", rnd="rn rz", D="f16 bf16", S="f32")
@_rows("cvt.rnd.D.S", rnd="rn rz rm rp", D="bf16", S="f16 f32 f64")
@_rows("cvt.rnd.D.S", rnd="rn rz rm rp", D="f16", S="bf16")
def cvt_narrow(rnd: str, D: str, S: str, ftz: bool = False, sat: bool = False, relu: bool = False, satfinite: bool = False) -> Meaning:
    if rnd == "rn" and not (ftz or sat or relu or satfinite) and (D, S) == ("f16", "f32"):
        return _to_f16
    return _general(D, S, rounding=rnd, ftz=ftz, sat=sat, relu=relu, satfinite=satfinite)


def _to_f16(a: Any) -> Any:
    """f32 to f16 to nearest; NaN is canonical."""
    out = a.view(np.float32).astype(np.float16)
    unordered = out != out
    bits = out.view(np.uint16)
    return np.where(unordered, np.uint16(0x7FFF), bits) if unordered.any() else bits


@instruction("cvt.rna{.satfinite}.tf32.f32", "b32 = b32")
@instruction("cvt.rnd{.satfinite}{.relu}.tf32.f32", "b32 = b32", rnd="rn rz")
@instruction("cvt.rnd.relu{.satfinite}.tf32.f32", "b32 = b32", rnd="rn rz")
def cvt_tf32(satfinite: bool, tf32: bool, f32: bool, rnd: str = "rna", rna: bool = True, relu: bool = False) -> Meaning:
    return partial(convert.cvt, "tf32", "f32", rounding=rnd, satfinite=satfinite, relu=relu)


# Two at a time: the first source is the upper half


@instruction("cvt.rnd{.relu}{.satfinite}.D.f32", "b32 = b32 b32", rnd="rn rz", D="f16x2 bf16x2")
def cvt_x2(rnd: str, relu: bool, satfinite: bool, D: str, f32: bool) -> Meaning:
    if rnd == "rn" and D == "f16x2" and not relu and not satfinite:
        return lambda a, b: _to_f16(b).astype(np.uint32) | (_to_f16(a).astype(np.uint32) << np.uint32(16))
    return partial(convert.cvt_x2, D, "f32", rounding=rnd, relu=relu, satfinite=satfinite)


@instruction("cvt.rs{.relu}{.satfinite}.D.f32", "b32 = b32 b32 b32", D="f16x2 bf16x2")
def cvt_rs_x2(rs: bool, relu: bool, satfinite: bool, D: str, f32: bool) -> Meaning:
    return lambda a, b, r: convert.cvt_x2(D, "f32", a, b, rounding="rs", relu=relu, satfinite=satfinite, random=r)


@instruction("cvt.rn.satfinite{.relu}.D.f32", "b16 = b32 b32", D="e4m3x2 e5m2x2 e2m3x2 e3m2x2")
@instruction("cvt.rnd.satfinite.D.f32", "b16 = b32 b32", rnd="rz rp", D="ue8m0x2")
@instruction("cvt.rnd.D.f32", "b16 = b32 b32", rnd="rz rp", D="ue8m0x2")
@instruction("cvt.rn.satfinite{.relu}.D.f32", "b8 = b32 b32", D="e2m1x2")
def cvt_narrow_x2(D: str, f32: bool, rn: bool = False, rnd: str = "rn", satfinite: bool = True, relu: bool = False) -> Meaning:
    modifiers: Any = {"relu": relu} if D != "ue8m0x2" else {}

    def run(a: Any, b: Any) -> Any:
        out = convert.cvt_x2(D, "f32", a, b, rounding=rnd, satfinite=satfinite, **modifiers)
        return out.astype(np.uint8) if D == "e2m1x2" else out

    return run


@instruction("cvt.rn.satfinite{.relu}.D.S", "b16 = b32", D="e4m3x2 e5m2x2", S="f16x2 bf16x2")
def cvt_half_to_8(rn: bool, satfinite: bool, relu: bool, D: str, S: str) -> Meaning:
    def run(a: Any) -> Any:
        upper, lower = (a >> np.uint32(16)).astype(np.uint16), a.astype(np.uint16)
        return convert.cvt_x2(D, S[:-2], upper, lower, satfinite=True, relu=relu)

    return run


@instruction("cvt.rn{.relu}.f16x2.S", "b32 = b16", S="e4m3x2 e5m2x2 e2m3x2 e3m2x2")
def cvt_from_8(rn: bool, relu: bool, f16x2: bool, S: str) -> Meaning:
    return partial(convert.cvt_from_x2, "f16x2", S, relu=relu)


@instruction("cvt.rn{.relu}.f16x2.e2m1x2", "b32 = b8")
def cvt_from_4(rn: bool, relu: bool, f16x2: bool, e2m1x2: bool) -> Meaning:
    return partial(convert.cvt_from_x2, "f16x2", "e2m1x2", relu=relu)


@instruction("cvt.rn.bf16x2.ue8m0x2", "b32 = b16")
def cvt_from_scale(**_: Any) -> Meaning:
    return partial(convert.cvt_from_x2, "bf16x2", "ue8m0x2")


@instruction("cvt.pack.sat.D.s32", "b32 = b32 b32", D="u16 s16")
def cvt_pack16(pack: bool, sat: bool, D: str, s32: bool) -> Meaning:
    return partial(convert.cvt_pack, D)


@instruction("cvt.pack.sat.D.s32.b32", "b32 = b32 b32 b32", D="u2 s2 u4 s4 u8 s8")
def cvt_pack(pack: bool, sat: bool, D: str, s32: bool, b32: bool) -> Meaning:
    return partial(convert.cvt_pack, D)


# Generic addresses


@instruction("cvta{.to}.space.T", "T = T", space="global shared shared::cta shared::cluster local const param param::entry", T="u64 u32")
def cvta(to: bool, space: str, T: str) -> Meaning:
    start = np.uint64(WINDOWS.get(space.split("::")[0], 0))
    if start == 0 or T == "u32":
        return lambda a: a
    return (lambda a: a - start) if to else (lambda a: a + start)
