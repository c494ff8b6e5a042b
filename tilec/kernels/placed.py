"""Weights of a layer quantized and packed where they lie, by the kernels of `pack` and `quantize`: codes never come to the host, scales do, as it is decided
there where they are applied.

    layer = Linear(place(w, "int4", 128))            # w [N, K] in f16, bf16 or f32 on a GPU, as PyTorch keeps weights
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import tilec as tc
from tilec import DType, Tensor, bf16, f16, f32
from tilec.errors import presented, require
from tilec.ir.packing import ROWS, Packed
from tilec.kernels.libraries import library_of
from tilec.kernels.plan import FINEST
from tilec.kernels.quantize import check_scales, quantize

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Placed:
    """The weight W [N, K] of a layer, as `tilec.quant.Quantized`, but that `packed`, a tensor of `tc.packed(...)` [K, N], lies wherever it was made. The
    `scales` [N, G] are on the host. There are no zero points, no second scales, and no order."""

    packed: Tensor
    scales: Tensor

    zeros = scale2 = order = None

    @property
    def kind(self) -> Packed:
        """The type of the packed tensor."""
        found = self.packed.dtype
        assert isinstance(found, Packed)
        return found

    @property
    def dtype(self) -> DType:
        """The type of the codes."""
        return self.kind.element

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K): outputs, inputs."""
        return self.packed.shape[1], self.packed.shape[0]

    @property
    def group(self) -> int:
        """Columns that share a scale."""
        return self.shape[1] // self.scales.shape[1]

    def scale_values(self) -> Array:
        """The scales in float64, [N, G]."""
        return self.scales.values().astype(np.float64)

    def zero_values(self) -> Array:
        """Zeros [N, G]."""
        return np.zeros(self.scales.shape)

    def __repr__(self) -> str:
        return f"Placed({self.dtype}{list(self.shape)}, {self.scales.dtype} scales per {self.group})"


def can_place(shape: tuple[int, int], dtype: DType | str, group: int | None) -> bool:
    """Whether the kernel quantizes such weights [N, K]: types with negative values, groups that divide K and are multiples of 16, and divisors or
    multiples of 128."""
    size = group or shape[1]
    fits = shape[1] % size == 0 and size % FINEST == 0 and (ROWS % size == 0 or size % ROWS == 0)
    return fits and float(tc.dtype(dtype).min) < 0


@presented
def place(w: Any, dtype: DType | str, group: int | None = None, to: DType | str = f16, *, scale_dtype: DType | str = f16) -> Placed:
    """Weights [N, K] in f16, bf16 or f32, an array of any library, as codes of `tilec.packed(dtype, to)` where they lie, in groups of `group` columns, None
    being all: what `tilec.quant.quantize_linear` makes of the same numbers. `to` is f16 or bf16 as `Linear` takes it, or, for `Linear8`, what
    `tilec.kernels.eight.way` says. Raises TileError for weights that the kernel does not take (`can_place`), that are not finite, or whose scales
    overflow."""
    library = library_of(w)
    w = library.own(w)
    require(len(w.shape) == 2, f"weights are a matrix [N, K], not of shape {list(w.shape)}")
    n, k = w.shape
    kind, wide = tc.packed(dtype, to), tc.dtype(scale_dtype)
    hint = "tilec.quant.quantize_linear takes any, on the host"
    require(can_place((n, k), dtype, group), f"weights {[n, k]} are not quantized to {kind.element} in groups of {group} by a kernel", hint=hint)
    require(wide in (f16, bf16, f32), f"scales are f16, bf16 or f32, not {wide}")
    groups = k // (group or k)
    codes, scales = library.room(kind.nbytes((k, n))), library.room(wide.nbytes((groups, n)))
    made, _ = quantize(w, kind, group, scale_dtype=wide, transposed=True, out=(codes, scales))
    found = tc.tensor(library.fetch(scales), wide, (groups, n))
    check_scales(found)
    return Placed(made, Tensor.from_codes(np.ascontiguousarray(found.codes().T), wide))
