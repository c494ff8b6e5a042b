"""Weights quantized where they lie, by a kernel: codes, packed, and a scale for each group of rows, as `tilec.quant.quantize` makes them in NumPy.

    q, scales = quantize(w, "int4", 128)             # w [K, N] in f16, bf16 or f32; q for a kernel's `tc.packed(int4)[K, N]`, scales f16[K / 128, N]
    q, scales = quantize(w, "e2m1", 32, transposed=True)   # of [N, K], as PyTorch keeps weights

Scales are rounded before codes are chosen, and both are computed in f64, so that they are NumPy's to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tilec as tc
from tilec import DType, Tensor, cdiv, f16, f32, f64, int4
from tilec.errors import require
from tilec.ir.packing import ROWS, Packed
from tilec.kernels.pack import PACKED, array_of, room
from tilec.quant.scheme import Scheme

FINITE = "weights to quantize must be finite"

K, N, G, I, J = tc.dims("K N G I J")
P, S, T, X = tc.types("P S T X")


@tc.kernel(warps=8)
def quantizing(
    w: X[I, J], codes: P[K, N], scales: S[G, N],
    *, X: DType = f16, P: DType = PACKED, T: DType = int4, S: DType = f16, group: int = 128, reach: float = 7.0, least: float = 2.0**-14,
    zero: float = 0.0, transposed: bool = False, bn: int = 32,
):  # fmt: skip
    """scales = max |w| / reach of each group of rows, rounded to S and no less than `least`, or 1 where all are 0; codes = w / scales + zero."""
    rows = max(group, ROWS)
    tc.grid(cdiv(K, rows), cdiv(N, bn))
    tc.assume((I == N) & (J == K) if transposed else (I == K) & (J == N))
    i, j = tc.block_index(0) * rows, tc.block_index(1) * bn
    if group < ROWS:
        tile = part(w, i, j, bn, transposed)
        scale = of_range(tc.max(tc.reshape(tc.abs(tile), [ROWS // group, group, bn]), axis=1), reach, least, S)
        tc.store(scales, [i // group, j], scale)
        tc.store(codes, [i, j], tc.cast(f64(tile) / tc.repeat(f64(scale), group, axis=0) + zero, T))
    else:
        largest = tc.zeros(f32, [bn])
        for k in tc.range(0, rows, ROWS):
            largest = tc.maximum(largest, tc.max(tc.abs(part(w, i + k, j, bn, transposed)), axis=0))
        scale = of_range(largest, reach, least, S)
        tc.store(scales, [tc.block_index(0), j], scale)
        for k in tc.range(0, rows, ROWS):
            tc.store(codes, [i + k, j], tc.cast(f64(part(w, i + k, j, bn, transposed)) / f64(scale) + zero, T))


@tc.function
def part(w, i, j, bn, transposed):
    """A tile of weights [ROWS, bn], in f32."""
    return f32(tc.load(w, [j, i], [ROWS, bn], dims=[1, 0]) if transposed else tc.load(w, [i, j], [ROWS, bn]))


@tc.function
def of_range(largest, reach, least, S):
    """The scales for the largest magnitudes of groups: NaN and infinities stay, and scales that S does not hold become infinite."""
    return tc.where(largest == 0, 1.0, tc.cast(tc.maximum(f64(largest) / reach, least), S))


def quantize(
    w: Any, dtype: DType | str, group: int | None = None, to: DType | str = f16,
    *, scale_dtype: DType | str = f16, zero: float = 0.0, transposed: bool = False, out: tuple[Any, Any] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Weights [K, N] (or [N, K], if `transposed`) in f16, bf16 or f32, as codes of `tilec.packed(dtype, to)` [K, N] and scales [K / group, N] of
    `scale_dtype`, f16, bf16 or f32, where the weights lie: what `tilec.quant.quantize` with `method="nearest"` makes of the same numbers.

    `group` divides K and is a divisor or a multiple of 128; None is a channel, K rows, and K then such a number. A weight is (code - zero) * scale. `out` is
    memory for codes and for scales, which is made if PyTorch or NumPy holds the weights. Raises TileError for types and shapes that do not fit, and on
    the host for weights that are not finite and scales that overflow; on a GPU nobody looks, and such a group's scale is NaN or infinite.
    """
    given, kind, wide = array_of(w), tc.dtype(dtype), tc.dtype(scale_dtype)
    require(len(given.shape) == 2, f"weights are a matrix, not of shape {list(given.shape)}")
    require(given.dtype in (f16, tc.bf16, f32), f"weights to quantize are f16, bf16 or f32, not {given.dtype}")
    require(wide in (f16, tc.bf16, f32), f"scales are f16, bf16 or f32, not {wide}")
    k, n = reversed(given.shape) if transposed else given.shape
    size = k if group is None else group
    fits = size > 0 and k % size == 0 and (ROWS % size == 0 or size % ROWS == 0)
    require(fits, f"groups of {size} rows of {k}: a group divides the rows, and is a divisor or a multiple of {ROWS}", hint="tilec.quant.quantize takes any")
    packed = kind if isinstance(kind, Packed) else tc.packed(kind, to)
    reached = packed.to.bits <= 8 or bool(np.isfinite(packed.to.round(float(kind.element.max))))
    require(reached, f"the largest weight of a group becomes the largest {packed.element}, which {packed.to} does not hold", hint="to='bf16'")
    require(given.device is not None or np.isfinite(given.values()).all(), FINITE)
    scheme = Scheme(packed.element, wide, float(zero))
    shape = (k // size, n)
    memory = out or (room(given, packed.nbytes((k, n))), room(given, wide.nbytes(shape)))
    codes, scales = tc.tensor(memory[0], packed, (k, n)), tc.tensor(memory[1], wide, shape)
    constants = {"X": given.dtype, "P": packed, "T": packed.element, "S": wide, "group": size}
    constants |= {"reach": scheme.reach, "least": scheme.least, "zero": float(zero), "transposed": transposed}
    quantizing(given, codes, scales, **constants)
    if scales.device is None:
        check_scales(scales)
    return codes, scales


def check_scales(scales: Tensor) -> None:
    """Raise TileError unless scales [G, N] in host memory are finite."""
    values = scales.values()
    require(not np.isnan(values).any(), FINITE)
    ways = "weights that are scaled" if scales.dtype != f16 else "scale_dtype='bf16', or weights that are scaled"
    why = f"a scale is infinite: weights must be finite, and {scales.dtype} ends at {float(scales.dtype.max):g}"
    require(np.isfinite(values).all(), why, hint=ways)
