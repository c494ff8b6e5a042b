"""SIMD video instructions on four bytes or two halves of a word (PTX manual, "SIMD Video Instructions"), without selectors and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilec.sim.table import instruction

Meaning = Callable[..., Any]
_SIGN = "u32 s32"
_OPS: dict[str, Callable[[Any, Any], Any]] = {
    "vadd": lambda a, b: a + b,
    "vsub": lambda a, b: a - b,
    "vavrg": lambda a, b: (a + b + (a + b >= 0)) >> 1,
    "vabsdiff": lambda a, b: np.abs(a - b),
    "vmin": np.minimum,
    "vmax": np.maximum,
}
_COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}


def _lanes(x: Any, sign: str, bits: int) -> Any:
    """The parts of words on a new last axis, as int64."""
    return np.ascontiguousarray(x)[..., None].view(f"{'i' if sign == 's32' else 'u'}{bits // 8}").astype(np.int64)


def _packed(parts: Any, bits: int) -> Any:
    return np.ascontiguousarray(parts.astype(f"u{bits // 8}")).view(np.uint32)[..., 0]


def _rows(name: str, op: Callable[[Any, Any], Any], bits: int) -> None:
    @instruction(
        f"{name}{32 // bits}.D.A.B{{.sat}}{{.add}}",
        "b32 = b32 b32 b32",
        D=_SIGN,
        A=_SIGN,
        B=_SIGN,
        where=lambda sat, add, **_: not (sat and add),
    )
    def simd(D: str, A: str, B: str, sat: bool, add: bool) -> Meaning:
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if D == "s32" else (0, (1 << bits) - 1)

        def run(a: Any, b: Any, c: Any) -> Any:
            parts = op(*np.broadcast_arrays(_lanes(a, A, bits), _lanes(b, B, bits)))
            if add:
                return (parts.sum(-1) + c).astype(np.uint32)
            return _packed(np.clip(parts, low, high) if sat else parts, bits)

        return run


def _compare_rows(bits: int) -> None:
    @instruction(f"vset{32 // bits}.A.B.cmp{{.add}}", "b32 = b32 b32 b32", A=_SIGN, B=_SIGN, cmp=" ".join(_COMPARE))
    def vset(A: str, B: str, cmp: str, add: bool) -> Meaning:
        def run(a: Any, b: Any, c: Any) -> Any:
            parts = _COMPARE[cmp](_lanes(a, A, bits), _lanes(b, B, bits)).astype(np.int64)
            return (parts.sum(-1) + c).astype(np.uint32) if add else _packed(parts, bits)

        return run


for _bits in (8, 16):
    for _name, _op in _OPS.items():
        _rows(_name, _op, _bits)
    _compare_rows(_bits)
