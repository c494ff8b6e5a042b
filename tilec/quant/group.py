"""Arrays of any shape with one scale per group: `w = (q - zero) * scale`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import require
from tilec.ir import dtypes
from tilec.ir.dtypes import DType
from tilec.ir.tensor import Tensor
from tilec.quant.scheme import Scheme, searches

Array = npt.NDArray[Any]


def quantize(
    w: npt.ArrayLike,
    dtype: DType | str,
    group: int | None = None,
    axis: int = 0,
    scale_dtype: DType | str = dtypes.f16,
    zero: float = 0.0,
    method: str = "nearest",
) -> tuple[Tensor, Tensor]:
    """Codes and scales of `w`: each run of `group` elements along `axis` (all of it if None) shares one scale.

    Returns (codes, scales): codes have the shape of `w`, scales that shape with the axis divided by `group`.

    scale = max |w| / reach, where reach is how far the type goes from `zero` on its positive side (on its negative side where the
    positive one is empty, as for int1). The scale is rounded to `scale_dtype` first, and codes are nearest for the rounded scale, so
    that what is stored is all that the result depends on. A scale never falls below the smallest normal number of its type: floats of
    wide range (e5m2, e7m0) lose nothing by it. A group of zeros has scale 1.

    `zero` is a constant in code units, subtracted when decoding. Unsigned integers without it clip negative weights to 0; the usual
    choice is 2**(bits - 1). int1 holds -1 and 0, so the balanced choices are zero=-0.5 for int1 and 0.5 for uint1: each weight is
    then one of +-scale / 2, for which "clip" finds the scale: the group's largest weight says little of the others.

    With `method` "clip" the scale is searched for that has the least squared error, as in `quantize_linear`. Raises TileError if `group`
    does not divide the axis, if `w` holds what is not finite, or if a scale overflows its type.
    """
    scheme = Scheme(dtypes.dtype(dtype), dtypes.dtype(scale_dtype), float(zero), search=searches(method))
    values = np.asarray(w, np.float64)
    require(np.isfinite(values).all(), "weights to quantize must be finite")
    grouped, axis = _grouped(values, group, axis)
    last = np.moveaxis(grouped, axis + 1, -1)
    scales, zeros = scheme.fit(last)
    codes = np.moveaxis(scheme.kind.encode(scheme.nearest(last, scales, zeros)), -1, axis + 1)
    return Tensor.from_codes(codes.reshape(values.shape), scheme.kind), Tensor.from_values(scales, scheme.scale_kind)


def dequantize(codes: Tensor, scales: Tensor, axis: int = 0, zero: float = 0.0) -> Array:
    """`(codes - zero) * scales` in float64, exact but for that one product; the group size follows from the two shapes."""
    axis %= codes.ndim
    require(scales.ndim == codes.ndim, f"scales of {scales.ndim} dimensions do not belong to codes of {codes.ndim}")
    groups = scales.shape[axis]
    require(groups and codes.shape[axis] % groups == 0, f"{groups} groups do not divide {codes.shape[axis]} elements")
    grouped, axis = _grouped(codes.values(), codes.shape[axis] // groups, axis)
    require(
        grouped.shape[: axis + 1] + grouped.shape[axis + 2 :] == scales.shape,
        f"scales of shape {scales.shape} do not belong to codes of shape {codes.shape}, grouped along axis {axis}",
    )
    return ((grouped - zero) * np.expand_dims(scales.values(), axis + 1)).reshape(codes.shape)


def _grouped(values: Array, group: int | None, axis: int) -> tuple[Array, int]:
    """`values` with `axis` split in (groups, group), and the axis counted from the front."""
    require(-values.ndim <= axis < values.ndim, f"an array of {values.ndim} dimensions has no axis {axis}")
    axis %= values.ndim
    length = values.shape[axis]
    size = length if group is None else group
    require(size > 0 and length % size == 0, f"groups of {size} do not divide the {length} elements of axis {axis}")
    return values.reshape(*values.shape[:axis], length // size, size, *values.shape[axis + 1 :]), axis
