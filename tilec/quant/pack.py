"""Weights in the order in which their consumer's registers want them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilec.errors import require
from tilec.ir import dtypes
from tilec.ir.dtypes import DType
from tilec.ir.packing import Packed, packed
from tilec.ir.tensor import Tensor


def pack(w: Tensor | npt.ArrayLike, dtype: DType | str | None = None, to: DType | str = dtypes.f16) -> Tensor:
    """Weights [..., K, N] as a tensor of `tilec.packed(dtype, to)`: exactly b bits a weight of whole tiles of 128 x 32.

    `w` is a row-major `Tensor`, whose codes are kept, or an array of values, which are rounded to `dtype`. `dtype` may be packed already, and is that
    of the tensor by default; `to`, f16 or bf16, is the type that kernels compute the weights in. Raises TileError for weights that are no finite
    numbers of `to`, and for codes of another type.
    """
    if isinstance(w, Tensor):
        kind = w.dtype.element if dtype is None else dtypes.dtype(dtype)
        require(kind.element == w.dtype.element, f"the weights are {w.dtype.element}, not {kind.element}", hint="pass their values: w.values()")
        return Tensor.from_codes(w.codes(), kind if isinstance(kind, Packed) else packed(kind, to))
    require(dtype is not None, "an array of values needs a type to be packed as", hint="as in pack(w, 'int4')")
    assert dtype is not None
    kind = dtypes.dtype(dtype)
    return Tensor.from_values(np.asarray(w), kind if isinstance(kind, Packed) else packed(kind, to))


def unpack(w: Tensor) -> Tensor:
    """Packed weights as a row-major tensor of the same codes: the inverse of `pack`."""
    require(isinstance(w.dtype, Packed), f"{w!r} is not packed")
    return Tensor.from_codes(w.codes(), w.dtype.element)
