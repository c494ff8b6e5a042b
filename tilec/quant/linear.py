"""Quantizing the weight of a linear layer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import presented, require
from tilec.ir import dtypes
from tilec.ir.dtypes import DType
from tilec.ir.tensor import Tensor
from tilec.quant.gptq import feedback
from tilec.quant.quantized import FLOAT_ZEROS, SCALES, Quantized, check_kind
from tilec.quant.scheme import Scheme, searches

Array = npt.NDArray[Any]

CHUNK = 1 << 17  # weights that are quantized together: their float64 temporaries stay in the cache


@presented
def quantize_linear(
    w: npt.ArrayLike,
    dtype: DType | str,
    group: int | str | None = None,
    *,
    scale_dtype: DType | str = dtypes.f16,
    zeros: str | float | None = None,
    method: str = "nearest",
    two_level: str | None = None,
    importance: npt.ArrayLike | None = None,
    hessian: npt.ArrayLike | None = None,
    act_order: bool = False,
) -> Quantized:
    """Quantize W [N, K], outputs by inputs, to codes of `dtype` with a scale for each `group` of columns: K (one per channel) if None, one
    for all if "tensor".

    `zeros`: None for w = q * scale; a number that is subtracted from every code (8 makes uint4 symmetric, -0.5 int1; take "clip" with that); "int" for a zero
    point per group that is a code, as GPTQ and AWQ have it; "float" for one of the scale's type, or f16 where that is e8m0 or e4m3.

    `method`: "nearest" makes a group's largest weight the type's largest value. "clip" tries 32 shares of that range (`Scheme.shares`) and
    refines the best by least squares; it keeps what has the smallest squared error, weighted by `importance` [K] (mean squares of the
    inputs, say), and is never worse than "nearest" by that measure.

    `two_level`: "tensor" or "channel" adds `scale2`, float32, such that the largest scale is 448 in e4m3 and 1 in other types.

    `hessian` [K, K], X^T X of sample inputs X [M, K], quantizes column by column and makes up for each column's error in those that
    follow: GPTQ (Frantar et al., arXiv 2210.17323). Its diagonal is the importance if none is given. `act_order` sorts the columns by
    falling importance before they are grouped. A column whose inputs are all 0 becomes 0 where the type has one.

    Codes are nearest for scales and zero points as they are stored, in the sense of `DType.encode`. Raises TileError for shapes that
    do not fit, values that are not finite, weights of a sign that the type does not have, and scales that overflow their type.
    """
    weights = np.array(w, np.float64)
    require(weights.ndim == 2 and weights.size, f"the weight of a linear layer is [outputs, inputs], got shape {weights.shape}")
    require(np.isfinite(weights).all(), "weights to quantize must be finite")
    columns = weights.shape[1]
    size = columns if group is None or group == "tensor" else group
    good = isinstance(size, int | np.integer) and size > 0 and columns % size == 0
    require(good, f"groups of {size!r} do not divide the {columns} columns of the weights", hint='group=None is one per channel, "tensor" one for all')
    importance, hessian = _inputs(importance, hessian, columns)
    order = None
    if act_order:
        require(importance is not None, "act_order sorts by importance: pass importance=, or hessian=")
        order = np.argsort(-importance, kind="stable")  # type: ignore[operator]
        weights, importance = weights[:, order], importance[order]  # type: ignore[index]
        hessian = None if hessian is None else hessian[np.ix_(order, order)]
    scheme = _scheme(dtype, scale_dtype, zeros, method, weights)
    scheme = replace(scheme, second=_second(scheme, weights, two_level, 0 if group == "tensor" else int(size)))
    shape = (1, 1, -1) if group == "tensor" else (*weights.shape[:1], -1, size)
    if hessian is None:
        codes, scales, zero_points = _plain(scheme, weights.reshape(shape), importance)
    else:
        codes, scales, zero_points = feedback(scheme, weights, hessian, importance, None if group == "tensor" else int(size))
    stored_zeros = None
    if scheme.zero_kind is not None:
        stored_zeros = Tensor.from_values(zero_points if isinstance(zeros, str) else [[scheme.zeros]], scheme.zero_kind)
    return Quantized(
        Tensor.from_codes(codes.reshape(weights.shape), scheme.kind),
        Tensor.from_values(scales, scheme.scale_kind),
        stored_zeros,
        None if two_level is None else np.asarray(scheme.second, np.float32),  # type: ignore[arg-type]
        order,
    )


def _plain(scheme: Scheme, grouped: Array, importance: Array | None) -> tuple[Array, Array, Array]:
    """Codes, scales and zero points of [R, G, k], some rows at a time, by several threads."""
    rows, groups, size = grouped.shape
    weighting = None if importance is None else np.resize(importance, (groups, size))
    codes = np.empty(grouped.shape, np.uint8)
    scales, zeros = np.empty((rows, groups)), np.empty((rows, groups))

    def fill(part: slice) -> None:
        here, w = scheme.within(part), grouped[part]
        scales[part], zeros[part] = here.fit(w, weighting)
        codes[part] = scheme.kind.encode(here.nearest(w, scales[part], zeros[part]))

    with ThreadPoolExecutor() as threads:
        list(threads.map(fill, _chunks(rows, groups * size)))
    return codes, scales, zeros


def _chunks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, CHUNK // columns)
    return (slice(i, i + step) for i in range(0, rows, step))


def _scheme(dtype: DType | str, scale_dtype: DType | str, zeros: str | float | None, method: str, weights: Array) -> Scheme:
    kind, scale_kind = dtypes.dtype(dtype), dtypes.dtype(scale_dtype)
    check_kind(kind)
    require(scale_kind in SCALES, f"scales are {', '.join(map(str, SCALES))}, not {scale_kind}")
    zero_kind: DType | None = None
    if zeros == "int":
        require(kind.is_int, f"integer zero points go with integer codes, not {kind}", hint='zeros="float" goes with all')
        zero_kind = kind
    elif zeros == "float":
        zero_kind = scale_kind if scale_kind in FLOAT_ZEROS else dtypes.f16
    elif zeros is None:
        positive, negative = kind.max > 0, kind.min < 0
        lacks = "positive" if not positive and weights.max() > 0 else "negative" if not negative and weights.min() < 0 else ""
        number = -0.5 if kind == dtypes.int1 else 0.5 if kind == dtypes.uint1 else 1 << (kind.bits - 1)
        require(not lacks, f"{kind} has no {lacks} values, and the weights do", hint=f'pass zeros={number}, or zeros="int"')
    else:
        require(isinstance(zeros, int | float) and np.isfinite(zeros), f'zeros are "int", "float", a number or None, not {zeros!r}')
        zero_kind = kind if kind.is_int and kind.min <= zeros <= kind.max and zeros == int(zeros) else dtypes.f32
        zero_kind = dtypes.f16 if zero_kind is dtypes.f32 and dtypes.f16.round(zeros) == zeros else zero_kind
    return Scheme(kind, scale_kind, zeros if isinstance(zeros, str) else float(zeros or 0), zero_kind, searches(method))


def _second(scheme: Scheme, weights: Array, two_level: str | None, size: int) -> Array | float:
    """The second level of the scales: [1, 1] or [N, 1]."""
    if two_level is None:
        return 1.0
    require(two_level in ("tensor", "channel"), f'two_level is "tensor", "channel" or None, not {two_level!r}')
    require(size, "one scale for the tensor has no second level")
    wanted = scheme.wanted(weights.reshape(len(weights), -1, size))
    largest = wanted.max(axis=None if two_level == "tensor" else 1, keepdims=True)
    top = dtypes.float8_e4m3.max if scheme.scale_kind == dtypes.float8_e4m3 else 1.0
    return dtypes.f32.round(np.where(largest > 0, largest / top, 1.0))


def _inputs(importance: Any, hessian: Any, columns: int) -> tuple[Array | None, Array | None]:
    """Importance and Hessian as arrays that were checked; the Hessian's diagonal for an importance that is not given."""
    if hessian is not None:
        hessian = np.array(hessian, np.float64)
        require(hessian.shape == (columns, columns), f"the Hessian of {columns} inputs is [{columns}, {columns}], got shape {hessian.shape}")
        require(np.isfinite(hessian).all() and np.allclose(hessian, hessian.T), "a Hessian is finite and symmetric", hint="pass x.T @ x in float64")
        importance = np.diagonal(hessian) if importance is None else importance
    if importance is not None:
        importance = np.asarray(importance, np.float64)
        require(importance.shape == (columns,), f"importance is one number for each of {columns} inputs, got shape {importance.shape}")
        require(np.isfinite(importance).all() and (importance >= 0).all(), "importance must be finite and not negative")
    return importance, hessian
