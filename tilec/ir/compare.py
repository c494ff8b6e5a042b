"""How far numbers are from exact ones."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt

from tilec.errors import require


@dataclass(frozen=True)
class Errors:
    """How far numbers are from exact ones, as sums over them, so that `a + b` are the errors of both together."""

    count: int = 0
    exact2: float = 0.0  # sum of squares of the exact numbers
    found2: float = 0.0
    product: float = 0.0  # sum of exact * found
    error2: float = 0.0
    max_error: float = 0.0

    @classmethod
    def of(cls, exact: npt.ArrayLike, found: npt.ArrayLike) -> Errors:
        """Compare two arrays of one shape, in float64. Raises TileError if their shapes differ."""
        a, b = np.asarray(exact, np.float64).reshape(-1), np.asarray(found, np.float64).reshape(-1)
        require(np.shape(exact) == np.shape(found), f"numbers of shape {np.shape(found)} are compared with exact ones of shape {np.shape(exact)}")
        d = b - a

        def sum_of(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
            return float(np.einsum("i,i->", x, y))  # threads of BLAS would cost more than they do

        return cls(a.size, sum_of(a, a), sum_of(b, b), sum_of(a, b), sum_of(d, d), float(np.abs(d).max(initial=0.0)))

    def __add__(self, other: Errors) -> Errors:
        sums = [a + b for a, b in zip(astuple(self), astuple(other), strict=True)]
        return replace(Errors(*sums), max_error=max(self.max_error, other.max_error))

    @property
    def relative(self) -> float:
        """The root of (sum of squared errors / sum of squares); 0 where all are exact."""
        return math.sqrt(self.error2 / self.exact2) if self.exact2 else 0.0 if not self.error2 else math.inf

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise, in dB: 10 log10(sum of squares / sum of squared errors)."""
        return -20 * math.log10(self.relative) if self.relative else math.inf

    @property
    def cosine(self) -> float:
        """Of the angle between the two as vectors; 1 if both are 0, 0 if one is."""
        both = math.sqrt(self.exact2) * math.sqrt(self.found2)
        return self.product / both if both else float(self.exact2 == self.found2)

    @property
    def rms(self) -> float:
        """Root mean square of the errors."""
        return math.sqrt(self.error2 / self.count) if self.count else 0.0

    def __str__(self) -> str:
        return f"relative error {self.relative:.3e} ({self.sqnr:.1f} dB), cosine {self.cosine:.6f}, rms {self.rms:.3e}, max {self.max_error:.3e}"
