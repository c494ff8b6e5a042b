"""What quantization cost: errors of weights and of a layer's outputs, and a table of many layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import presented, require
from tilec.ir.compare import Errors
from tilec.ir.dtypes import DType
from tilec.quant.quantized import Quantized

Array = npt.NDArray[Any]


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
