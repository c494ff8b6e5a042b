"""Where the scales of a layer's weights are applied, decided once by what is exact:

- on each weight, folded into its conversion, so that it is rounded once: scales that the computing type holds, after powers of two have been
  moved to the channels' factors, by which integers need a single multiply-add;
- on the sum of each group, in f32, for scales that the computing type does not hold (f32, or e8m0 of a wide range), if the groups allow it;
- on the channels' sums, at the end, where a channel has one scale: nothing is multiplied in the loop.

Of the first two, both of which are exact, tiles of few rows take the second where a scaled weight would need two operations, as with zero points: a scale
is then one multiply-add for each row and group in place of one operation for two weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilec import DType, cdiv, f16, f32
from tilec.kernels.forms import TILE
from tilec.quant import Quantized

Array = npt.NDArray[Any]

EACH, SUMS, CHANNELS = "each weight", "the sum of each group", "the sum of each channel"  # what a scale is applied to
FINEST = 16  # rows of the smallest groups: finer ones would cost more than the weights
SMALL, USUAL = 2.0**-8, 2.0  # bounds of scales, see `tc.dequantize`
FEW_ROWS = 32  # of a tile, and a quarter of a group: with twice as many scales on sums take as many multiply-adds as scales on each weight


@dataclass(frozen=True)
class Plan:
    """Where the scales of a weight go, and why; what the kernel is given for it."""

    on: str
    why: str
    group: int  # rows of the kernel's groups: they divide TILE, or TILE divides them
    scales: Array | None  # f64[groups, N], values of `scale_type`
    scale_type: DType
    channel: Array  # f64[N]
    below: float = USUAL
    unit: float = 1.0  # what weights are scaled by in the loop, if scales are on sums
    sums_up_to: int = 0  # tiles of up to so many rows have scales on sums, though others have them on each weight


def plan(q: Any, to: DType) -> Plan:
    """Decide for a weight, a `Quantized` or `Placed`, that is computed in `to`."""
    scales = np.broadcast_to(q.scales.values().astype(np.float64), (q.shape[0], q.scales.shape[1]))
    second = np.ones(q.shape[0]) if q.scale2 is None else np.broadcast_to(q.scale2.values()[:, 0], q.shape[0]).astype(np.float64)
    unit = free_scale(q.dtype, to)
    group = kernel_group(q)
    if q.scales.shape[1] == 1:
        return Plan(CHANNELS, "a channel has one scale", group, None, to, scales[:, 0] * second, unit=unit)
    spread = of_rows(scales, q)
    small, large = extremes(q.dtype, to)
    most = 2.0 ** math.floor(math.log2(to.max / large))  # a scale under which no weight overflows
    bounds = [(USUAL, "a scaled weight is rounded once")]
    if q.dtype.is_int and q.zeros is None:
        bounds.insert(0, (SMALL, "one multiply-add makes a scaled weight"))
    for below, what in bounds:
        powers = powers_below(spread, min(below, most))
        moved = spread / powers
        if np.array_equal(to.round(moved), moved) and least(moved) * small >= to.smallest_normal:
            sums = min(FEW_ROWS, group // 4) if below != SMALL and not q.dtype.is_float else 0
            return Plan(EACH, f"{to} holds the scales, and {what}", group, moved, to, second * powers, below, unit, sums)
    if group % TILE == 0:
        return Plan(SUMS, f"{to} does not hold the scales, and f32 does", group, spread, f32, second, unit=unit)
    powers = powers_below(spread, min(USUAL, most))
    rounded = to.round(spread / powers) * powers  # it may be a power of two more
    powers = powers_below(rounded, min(USUAL, most))
    why = f"groups of {q.group} are too small for scales on sums; the scales are rounded to {to}"
    return Plan(EACH, why, group, rounded / powers, to, second * powers)


def columns(q: Quantized) -> tuple[Array, Array | None]:
    """The codes [N, K'] as the kernel has them and what the activations' columns are then gathered by, if they are: columns of zeros, number K, fill
    groups up to multiples of FINEST."""
    codes = q.codes.codes()
    missing = -q.group % FINEST if q.scales.shape[1] > 1 else 0
    if not missing:
        return codes, q.order
    order = np.arange(q.shape[1], dtype=np.int32) if q.order is None else q.order
    grouped = np.pad(order.reshape(-1, q.group), ((0, 0), (0, missing)), constant_values=q.shape[1])
    filled = np.pad(codes.reshape(q.shape[0], -1, q.group), ((0, 0), (0, 0), (0, missing)))
    return filled.reshape(q.shape[0], -1), grouped.reshape(-1)


def kernel_group(q: Any) -> int:
    """Rows of the kernel's groups: whole tiles, if a channel has one group; else what divides both a group and a tile, if a tile does not divide it."""
    if q.scales.shape[1] == 1:
        return cdiv(q.shape[1], TILE) * TILE
    filled = cdiv(q.group, FINEST) * FINEST
    return filled if filled % TILE == 0 else math.gcd(filled, TILE)


def of_rows(values: Array, q: Any) -> Array:
    """What is [N, G] for a weight's groups as [rows, N] for the kernel's."""
    return np.repeat(values, max(1, cdiv(q.group, FINEST) * FINEST // kernel_group(q)), axis=1).T


def powers_below(scales: Array, below: float) -> Array:
    """The least powers of two [N] by which the scales [G, N] of each channel come below a bound; 1 where all are 0."""
    _, exponent = np.frexp(np.abs(scales).max(axis=0) / below)  # the scale is in below * [2**(exponent - 1), 2**exponent)
    return np.ldexp(1.0, exponent)


def least(values: Array) -> float:
    """The least magnitude that is not 0."""
    magnitudes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(magnitudes.min()) if magnitudes.size else 1.0


def extremes(kind: DType, to: DType) -> tuple[float, float]:
    """The least and the largest magnitude of the weights of a type that `to` holds, 0 apart."""
    with np.errstate(over="ignore"):
        values = to.round(kind.decode(np.arange(1 << kind.bits, dtype=np.uint8)).astype(np.float64))
    return least(values), float(np.abs(values[np.isfinite(values)]).max())


def whole_zeros(zeros: Array, kind: DType, to: DType) -> bool:
    """Whether zero points are whole numbers in the range of the codes, and these no codebook's, so that they join the conversion: which wants each
    weight less its zero point to be a number of the type that is computed in."""
    if kind.kind == "codebook" or not ((zeros == np.rint(zeros)) & (zeros >= float(kind.min)) & (zeros <= float(kind.max))).all():
        return False
    values = kind.decode(np.arange(1 << kind.bits)).astype(np.float64)
    less = values[np.isfinite(values)] - np.unique(zeros)[:, None]
    with np.errstate(over="ignore"):
        return bool((to.round(less) == less).all())


def free_scale(weight: DType, to: DType) -> float:
    """A power of two by which weights of a type are converted for least."""
    return (2.0**-9 if to == f16 else 2.0**-6) if weight.is_int else 1.0
