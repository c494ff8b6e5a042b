"""How a group of weights gets its scale and its zero point, and its weights their codes. Every method of quantizing goes through here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import TileError, require
from tilec.ir import dtypes
from tilec.ir.dtypes import DType, Float, Int

Array = npt.NDArray[Any]

METHODS = ("nearest", "clip")
STEPS = 32  # ranges that the search tries
POLISH = 2  # least-squares steps after it


def searches(method: str) -> bool:
    """Whether the method searches for scales. Raises TileError if there is no such method."""
    require(method in METHODS, f"there is no method {method!r}", hint=f"there are {' and '.join(METHODS)}; quantize_linear takes a hessian besides")
    return method == "clip"


@dataclass(frozen=True)
class Scheme:
    """Codes of type `kind`, scales of type `scale_kind` times `second`, zero points: a number for all, or "int" or "float" for one a group.

    Weights are [R, G, k]: G groups of k in each of R rows (or more axes before them). Scales and zero points are [R, G], values in float64;
    scales without `second`.
    """

    kind: DType
    scale_kind: DType
    zeros: float | str = 0.0
    zero_kind: DType | None = None
    search: bool = False
    second: Array | float = 1.0  # broadcasts to [R, G]

    @cached_property
    def reach(self) -> float:
        """How far the type goes from a constant zero, on its positive side; on its negative one where there is no positive one."""
        low, high = float(self.kind.min), float(self.kind.max)
        if isinstance(self.zeros, str):
            return high - low
        reach = high - self.zeros if high > self.zeros else self.zeros - low
        require(reach > 0, f"{self.kind} has no values on either side of zero={self.zeros}")
        return reach

    @cached_property
    def least(self) -> float:
        """The least scale. A subnormal one has fewer digits, but a larger one would leave most of the codes unused; only floats of many binades lose
        nothing by it."""
        wide = isinstance(self.kind, Float) and self.kind.exponent_bits >= 4
        return self.scale_kind.smallest_normal if wide else self.scale_kind.smallest_subnormal

    @cached_property
    def shares(self) -> Array:
        """The parts of a group's range that the search tries: from bits / (bits + 4) to where the largest weight meets the type's second largest
        value (2 at most), in equal steps. Half for 4 bits; e2m1 goes on to 6/4, so that the largest weight may become a 4."""
        table = np.abs(self.kind.decode(np.arange(1 << self.kind.bits)).astype(np.float64))
        magnitudes = np.unique(table[np.isfinite(table)])
        beyond = magnitudes[-1] / max(magnitudes[-2], magnitudes[-1] / 2)
        return np.linspace(self.kind.bits / (self.kind.bits + 4), beyond, STEPS)

    def within(self, rows: slice) -> Scheme:
        """The scheme for some of the rows."""
        second = np.asarray(self.second)
        return replace(self, second=second[rows]) if second.size > 1 else self

    def wanted(self, w: Array) -> Array:
        """Scales as numbers, not rounded, that make each group's range the type's: max |w| / reach, or (max - min) / reach."""
        return self._scale_of(*self._range(w))

    def fit(self, w: Array, importance: Array | None = None) -> tuple[Array, Array]:
        """(scales, zero points): for the whole range of each group or, with `search`, those of the smallest squared error among `shares` of the
        range of what has importance [G, k], which weights each squared error; refined by least squares for the codes that they give.

        Raises TileError for weights that are too large for the scales' type."""
        low, high = self._range(w)
        self._check(self._scale_of(low, high))
        scales, zeros = self._rounded(low, high)
        if not self.search:
            return scales, zeros
        best = self._error(w, scales, zeros, importance)
        if importance is not None and not importance.all():
            low, high = self._range(np.where(importance > 0, w, 0))

        def offer(new: Array, new_zeros: Array) -> None:
            error = self._error(w, new, new_zeros, importance)
            better = error < best
            for target, source in ((best, error), (scales, new), (zeros, new_zeros)):
                np.copyto(target, source, where=better)

        for share in self.shares:
            offer(*self._rounded(low * share, high * share))
        for _ in range(POLISH):
            steps = self.nearest(w, scales, zeros) - zeros[..., None]
            weighted = steps if importance is None else steps * importance
            norm = np.einsum("...k,...k->...", weighted, steps)
            slope = np.einsum("...k,...k->...", weighted, w) / np.where(norm > 0, norm, 1)
            offer(self._stored(np.where(norm > 0, slope, 0), scales), zeros)
        return scales, zeros

    def nearest(self, w: Array, scales: Array, zeros: Array) -> Array:
        """The values of the codes that are nearest to the weights."""
        x = w / (scales * self.second)[..., None]
        x += zeros[..., None]
        return np.clip(np.rint(x, out=x), self.kind.min, self.kind.max, out=x) if isinstance(self.kind, Int) else self.kind.round(x)

    def decode(self, values: Array, scales: Array, zeros: Array) -> Array:
        """The weights that values of codes stand for."""
        return (values - zeros[..., None]) * (scales * self.second)[..., None]

    def _error(self, w: Array, scales: Array, zeros: Array, importance: Array | None) -> Array:
        """The squared error of each group, weighted."""
        error = self.decode(self.nearest(w, scales, zeros), scales, zeros)
        error -= w
        return np.einsum("...k,...k->...", error, error if importance is None else error * importance)

    def _range(self, w: Array) -> tuple[Array, Array]:
        """(low, high) of each group; -max |w| and max |w| where zero is fixed. Integer zero points need a range that holds 0."""
        if not isinstance(self.zeros, str):
            high = np.maximum(w.max(axis=-1), -w.min(axis=-1))
            return -high, high
        low, high = w.min(axis=-1), w.max(axis=-1)
        return (np.minimum(low, 0), np.maximum(high, 0)) if self.zeros == "int" else (low, high)

    def _scale_of(self, low: Array, high: Array) -> Array:
        if not isinstance(self.zeros, str):
            return high / self.reach
        largest = np.maximum(np.abs(low), np.abs(high))
        return np.maximum(high - low, largest * 2.0**-10) / self.reach  # a narrow range far from 0 keeps a zero point that f16 can hold

    def _rounded(self, low: Array, high: Array) -> tuple[Array, Array]:
        wanted = self._scale_of(low, high)
        scales = self._stored(wanted, np.ones_like(wanted))
        if not isinstance(self.zeros, str):
            return scales, np.full_like(scales, self.zeros)
        assert self.zero_kind is not None
        return scales, self.zero_kind.decode(self.zero_kind.encode(self.kind.min - low / (scales * self.second))).astype(np.float64)

    def _check(self, wanted: Array) -> None:
        """Raise TileError if a scale does not round to a number of its type."""
        largest, kind = float(np.max(wanted / self.second, initial=0.0)), self.scale_kind
        if not np.isfinite(kind.decode(kind.encode(np.asarray([largest]), saturate=False))).all():
            wider = [] if kind.max > dtypes.bf16.max else ["scale_dtype='bf16'"]
            ways = ", ".join([*wider, "two_level='tensor' in quantize_linear", "or weights that are scaled"])
            raise TileError(f"a scale would be {largest:.6g}, but {kind} ends at {float(kind.max):g}", hint=ways)

    def _stored(self, wanted: Array, otherwise: Array) -> Array:
        """Scales of the scale's type, none of them 0; `otherwise` where nothing is wanted."""
        stored = self.scale_kind.decode(self.scale_kind.encode(np.maximum(wanted / self.second, self.least)))
        return np.where(wanted > 0, stored, otherwise)
