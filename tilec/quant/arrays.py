"""Arrays of any library as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import require
from tilec.ir import dtypes
from tilec.ir.arrays import read
from tilec.ir.dtypes import DType
from tilec.ir.tensor import Tensor


def as_tensor(given: Any, name: str, bytes_are: DType | None = None) -> Tensor:
    """An array in host memory (NumPy's, ml_dtypes', PyTorch's) as a tensor; uint8 are codes of `bytes_are` if that is given.

    Raises TileError, which calls it `name`, for what is no array and for types that tilec does not have.
    """
    found = given if isinstance(given, Tensor) else read(given)
    require(isinstance(found, np.ndarray | Tensor), f"{name} must be an array in host memory, got {type(given).__name__}")
    if isinstance(found, np.ndarray):
        array = np.ascontiguousarray(found).reshape(found.shape)
        kind = dtypes.from_numpy(array.dtype)
        # narrow types of ml_dtypes take a byte each
        found = Tensor.from_codes(array.view(kind.codes), kind) if kind.bits >= 8 else Tensor.from_values(array.astype(np.float64), kind)
    assert isinstance(found, Tensor)
    return Tensor(found.buffer, bytes_are, found.shape) if bytes_are is not None and found.dtype == dtypes.uint8 else found


def words(given: Any, name: str) -> npt.NDArray[np.uint32]:
    """Packed words as uint32, whatever 32-bit integers they came as."""
    found = read(given)
    good = isinstance(found, np.ndarray) and found.dtype.kind in "iu" and found.dtype.itemsize == 4 and found.ndim == 2
    require(good, f"{name} must be an array of 32-bit integers with two axes")
    return np.ascontiguousarray(found).view(np.uint32)  # type: ignore[arg-type]
