"""Fused multiply and add on float64 carriers: `x * y + z` with one rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def fused_multiply_add(x: Any, y: Any, z: Any, exact_product: bool) -> Any:
    """`x * y + z` on float64, rounded once to float64 or, if products are exact there, rounded to odd.

    A value rounded to odd at 53 bits rounds correctly a second time to a type of at most 51 bits; for float64 itself this is the
    algorithm of Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums" (IEEE TC 57(4), 2008).
    """
    with np.errstate(all="ignore"):
        if exact_product:
            return _round_to_odd(*_two_sum(x * y, z), x * y + z)
        high, low = _two_product(x, y)
        t_high, t_low = _two_sum(z, low)
        v_high, v_low = _two_sum(high, t_high)
        result = v_high + _round_to_odd(*_two_sum(t_low, v_low), t_low + v_low)
        plain = np.where(np.isfinite(x) & np.isfinite(y) & np.isinf(z), z, x * y + z)
        fine = np.isfinite(result) & (np.abs(x * y) > 2.0**-960)  # elsewhere parts may overflow, or lie below the subnormal numbers
        exact = ~fine & np.isfinite(x) & np.isfinite(y) & np.isfinite(z) & (x != 0) & (y != 0)
        return np.where(exact, _by_fractions(x, y, z, exact), np.where(fine & (result != 0), result, plain))


def _by_fractions(x: Any, y: Any, z: Any, where: Any) -> Any:
    """`x * y + z` rounded once to float64, one element after another, where it is asked for."""

    def one(x: float, y: float, z: float) -> float:
        (a, b), (c, d), (e, f) = x.as_integer_ratio(), y.as_integer_ratio(), z.as_integer_ratio()
        total = a * c * f + e * b * d
        try:
            return total / (b * d * f)  # integers are divided with one rounding
        except OverflowError:
            return math.inf if total > 0 else -math.inf

    result = np.zeros(where.shape)
    numbers = (np.broadcast_to(v, where.shape)[where].tolist() for v in (x, y, z))
    result[where] = [one(*v) for v in zip(*numbers, strict=True)]
    return result


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    def split(v: Any) -> tuple[Any, Any]:
        c = 134217729.0 * v  # 2**27 + 1
        high = c - (c - v)
        return high, v - high

    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _round_to_odd(high: Any, low: Any, plain: Any) -> Any:
    """`high + low` (low being the rounding error of high) rounded to odd; `plain` where the error is not a number."""
    bits = np.ascontiguousarray(high).view(np.int64)
    away = np.where((low > 0) == (high > 0), 1, -1)
    nudged = (bits + np.where((low != 0) & (bits & 1 == 0), away, 0)).view(np.float64)
    return np.where(np.isfinite(low) & np.isfinite(high), nudged, plain)
