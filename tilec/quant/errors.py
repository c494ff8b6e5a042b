"""What quantization cost: errors of weights and of a layer's outputs, and a table of many layers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import presented, require
from tilec.ir.dtypes import DType
from tilec.quant.quantized import Quantized

Array = npt.NDArray[Any]


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
        return cls(a.size, float(a @ a), float(b @ b), float(a @ b), float(d @ d), float(np.abs(d).max(initial=0.0)))

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


@dataclass(frozen=True)
class Layer:
    """One layer's errors: of its weights, and of its outputs where there were inputs."""

    name: str
    shape: tuple[int, int]
    dtype: DType
    nbytes: int
    weights: Errors
    outputs: Errors | None

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.nbytes / self.weights.count

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {"layer": self.name, "shape": self.shape, "type": str(self.dtype)} | _figures(self.bits_per_weight, self.weights, self.outputs)

    def __str__(self) -> str:
        return str(Report((self,)))


@presented
def layer_errors(w: npt.ArrayLike, quantized: Quantized, x: npt.ArrayLike | None = None, name: str = "") -> Layer:
    """Compare W [N, K] with what it became and, if there are sample inputs X [..., K], X W^T with what a layer then gives, both in float64.

    Raises TileError for shapes that do not belong together.
    """
    exact, found = np.asarray(w, np.float64), quantized.dequantize()
    outputs = None
    if x is not None:
        inputs = np.asarray(x, np.float64)
        require(inputs.shape[-1:] == found.shape[1:], f"inputs of shape {inputs.shape} do not belong to weights of {found.shape[1]} inputs")
        inputs = inputs.reshape(-1, found.shape[1])
        outputs = Errors.of(inputs @ exact.T, inputs @ found.T) if exact.shape == found.shape else None
    return Layer(name, quantized.shape, quantized.dtype, quantized.nbytes, Errors.of(exact, found), outputs)


class Report(tuple[Layer, ...]):
    """Layers, the worst first: by the errors of their outputs, or of their weights if a layer has no outputs. `str` is a table."""

    def __new__(cls, layers: Iterable[Layer]) -> Report:
        found = list(layers)
        by_outputs = all(one.outputs is not None for one in found)
        return super().__new__(cls, sorted(found, key=lambda one: -(one.outputs if by_outputs and one.outputs else one.weights).relative))

    @property
    def bits_per_weight(self) -> float:
        """Of all layers together."""
        return 8 * sum(one.nbytes for one in self) / max(1, self.weights.count)

    @property
    def weights(self) -> Errors:
        """The errors of all weights together."""
        return sum((one.weights for one in self), Errors())

    @property
    def outputs(self) -> Errors | None:
        """The errors of all outputs together; None if a layer has none."""
        return None if any(one.outputs is None for one in self) else sum((one.outputs for one in self if one.outputs), Errors())

    def rows(self) -> list[dict[str, Any]]:
        """A dict for each layer, the total last."""
        total = {"layer": "total", "shape": None, "type": ""} | _figures(self.bits_per_weight, self.weights, self.outputs)
        return [*(one.row() for one in self), total]

    def __str__(self) -> str:
        rows = self.rows() if len(self) != 1 else [self[0].row()]
        shown = [[key for key in rows[0] if self.outputs is not None or not key.startswith("output")]]
        shown += [[_shown(key, row[key]) for key in shown[0]] for row in rows]
        widths = [max(len(line[i]) for line in shown) for i in range(len(shown[0]))]
        texts = 3  # columns of text, to the left; figures to the right
        aligned = [[cell.ljust(n) if i < texts else cell.rjust(n) for i, (cell, n) in enumerate(zip(line, widths, strict=True))] for line in shown]
        return "\n".join("  ".join(line).rstrip() for line in aligned)


def _figures(bits: float, weights: Errors, outputs: Errors | None) -> dict[str, Any]:
    found: dict[str, Any] = {"bits": bits}
    for what, errors in (("weight", weights), ("output", outputs)):
        found |= {f"{what} error": None, f"{what} dB": None, f"{what} cosine": None, f"{what} max": None}
        if errors is not None:
            found |= {f"{what} error": errors.relative, f"{what} dB": errors.sqnr, f"{what} cosine": errors.cosine, f"{what} max": errors.max_error}
    return found


def _shown(key: str, value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if not isinstance(value, float):
        return "" if value is None else str(value)
    ends = {"bits": ".3f", "dB": ".1f", "cosine": ".6f"}
    return format(value, next((f for end, f in ends.items() if key.endswith(end)), ".3e"))
