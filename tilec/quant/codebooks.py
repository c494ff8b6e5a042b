"""Codebooks made for given weights."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import presented, require
from tilec.ir import dtypes
from tilec.ir.dtypes import Codebook
from tilec.quant.scheme import Scheme, searches

Array = npt.NDArray[Any]

BINS = 1 << 14  # of the histogram that stands for the weights
ITERATIONS = 500
ROUNDS = 4  # of codebook for scales, scales for codebook
SAMPLES = 1 << 19


@presented
def optimal_codebook(w: npt.ArrayLike, entries: int = 16, group: int | None = None, *, method: str = "nearest", name: str | None = None) -> Codebook:
    """The codebook of 2 to 256 entries for which groups of W [N, K] have the smallest squared error: Lloyd's and Max's condition, that borders
    lie halfway between entries and entries are the means of what goes to them (Lloyd, IEEE Trans. Inf. Theory 28, 1982, method I).

    Weights over their group's scale are what it is made for, weighted by the square of the scale. For `method` "nearest" its largest entry
    is 1 and the scale is the group's largest magnitude, as `quantize_linear` then has it; for "clip" codebook and scales are found in turns.

    Entries are numbers of f16, so that a cast to f16 is exact. A number of entries that is no power of two is filled up with numbers just below the
    largest. The type is registered as `name`, or by one made from its entries. Of more than half a million weights, rows at even distances are used.
    """
    weights = np.asarray(w, np.float64)
    require(weights.ndim == 2 and weights.size and np.isfinite(weights).all(), f"weights are finite and [outputs, inputs], got shape {weights.shape}")
    require(2 <= entries <= 256, f"a codebook has 2 to 256 entries, not {entries}")
    size = weights.shape[1] if group is None else group
    require(size > 0 and weights.shape[1] % size == 0, f"groups of {size} do not divide the {weights.shape[1]} columns of the weights")
    grouped = weights[:: max(1, weights.size // SAMPLES)].reshape(-1, 1, size)
    grouped = grouped[grouped.any(axis=(1, 2))]
    require(grouped.size, "weights that are all 0 want no codebook")
    # levels of a uniform quantizer to begin with
    table = np.linspace(-1, 1, entries)
    held = not searches(method)
    scales = np.abs(grouped).max(axis=-1)
    for _ in range(1 if held else ROUNDS):
        table = _lloyd(grouped / scales[..., None], np.broadcast_to(scales[..., None] ** 2, grouped.shape), table, held)
        if not held:
            scales = _scheme(table).fit(grouped)[0]
    return _registered(_filled(table), name)


def _lloyd(x: Array, weighting: Array, table: Array, held: bool) -> Array:
    """Entries in rising order; with `held` the last one stays."""
    low, high = float(x.min()), float(x.max())
    bins = np.minimum(((x - low) * (BINS / ((high - low) or 1))).astype(np.int64), BINS - 1).reshape(-1)
    mass = np.bincount(bins, weighting.reshape(-1), BINS)
    moment = np.bincount(bins, (weighting * x).reshape(-1), BINS)
    filled = mass > 0
    places = moment[filled] / mass[filled]
    total, first = (np.concatenate(([0], np.cumsum(part[filled]))) for part in (mass, moment))
    for _ in range(ITERATIONS):
        borders = np.searchsorted(places, (table[1:] + table[:-1]) / 2)
        edges = np.concatenate(([0], borders, [len(places)]))
        share = np.diff(total[edges])
        new = np.where(share > 0, np.diff(first[edges]) / np.where(share > 0, share, 1), table)
        if held:
            new[-1] = table[-1]
        if np.array_equal(new, table):
            break
        table = new
    return table


def _scheme(table: Array) -> Scheme:
    """Scales by search for a codebook that is not a type yet."""
    filled = _filled(table)
    return Scheme(Codebook("trial", (len(filled) - 1).bit_length(), tuple(filled.tolist())), dtypes.f32, search=True)


def _filled(table: Array) -> Array:
    """Entries as numbers of f16, all different, as many as a power of two."""
    found = set(dtypes.f16.round(table).tolist())
    wanted = 1 << (len(table) - 1).bit_length()
    spare = np.float16(max(found))
    while len(found) < wanted:
        spare = np.nextafter(spare, np.float16(-np.inf))
        found.add(float(spare))
    return np.array(sorted(found))


def _registered(table: Array, name: str | None) -> Codebook:
    label = hashlib.sha256(table.tobytes()).hexdigest()[:12]
    return dtypes.codebook(name or f"codebook{len(table)}_{label}", table)
