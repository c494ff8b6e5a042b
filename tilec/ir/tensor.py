"""Arrays in memory, the host's or a GPU's, of types that NumPy does not have: packed elements over a plain buffer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tilec.errors import TileError, require
from tilec.ir import dtypes
from tilec.ir.dtypes import DType

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Tensor:
    """A row-major array of `dtype` over `buffer`, packed from the least significant bit, no padding between rows.

    It shares the buffer's memory: `assign` writes into it, and who changes the buffer changes the tensor. A buffer on a GPU can be given to
    kernels and not be read here: `device` is its number, `address` where it begins; on the host these are None and 0.
    """

    device: int | None = None
    address = 0

    def __init__(self, buffer: Any, dtype: DType | str, shape: Iterable[int] | int):
        self.dtype = dtypes.dtype(dtype)
        self.shape = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
        require(all(n >= 0 for n in self.shape), f"a shape has no negative sizes, got {self.shape}")
        self.buffer = buffer if isinstance(buffer, np.ndarray) else self._foreign(buffer)
        room = self.buffer.nbytes
        if isinstance(self.buffer, np.ndarray):
            require(self.buffer.flags.c_contiguous, "the buffer of a tensor must be C-contiguous", hint="pass np.ascontiguousarray(buffer)")
            require(not self.buffer.dtype.hasobject, f"a buffer holds plain bytes, not {self.buffer.dtype}")
        require(room >= self.nbytes, f"{self.dtype} of shape {self.shape} needs {self.nbytes} bytes, but the buffer has {room}")
        self.whole_words = room >= -(-self.nbytes // 4) * 4  # kernels write packed elements by atomics on words

    def _foreign(self, buffer: Any) -> Any:
        """The buffer of another library: an array of the host, or where it lies on a GPU."""
        from tilec.ir.arrays import read  # it makes tensors itself

        found = read(buffer)
        require(found is not None, f"a tensor wraps an array, got {type(buffer).__name__}")
        if isinstance(found, Tensor):
            self.device, self.address = found.device, found.address
            return found.buffer
        if found is not None and not isinstance(found, np.ndarray):
            require(found.contiguous, "the buffer of a tensor must be C-contiguous", hint="pass buffer.contiguous()")
            self.device, self.address = -1 if found.device is None else found.device, found.address
        return found

    @classmethod
    def from_values(cls, values: npt.ArrayLike, dtype: DType | str, saturate: bool = True) -> Tensor:
        """A new tensor of the shape of `values`, which are rounded to `dtype`."""
        wanted = dtypes.dtype(dtype)
        return cls.from_codes(wanted.encode(values, saturate), wanted)

    @classmethod
    def from_codes(cls, codes: npt.ArrayLike, dtype: DType | str) -> Tensor:
        """A new tensor of these codes: unsigned integers below 2**bits. Raises TileError for others; `from_values` takes values."""
        wanted, given = dtypes.dtype(dtype), np.asarray(codes)
        good = given.dtype.kind in "iub" and (not given.size or (given.min() >= 0 and int(given.max()) >> wanted.bits == 0))
        hint = f"values are rounded to codes by tc.Tensor.from_values(values, {wanted.element})"
        require(good, f"codes of {wanted.element} are unsigned integers below {1 << wanted.bits}", hint=hint)
        return cls(wanted.to_bytes(given), wanted, given.shape)

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take; the buffer may be longer."""
        return self.dtype.nbytes(self.shape)

    @property
    def bytes(self) -> Array:
        """The part of the buffer that the elements take, as 1-D uint8: a view. Raises TileError if it lies on a GPU."""
        require(self.device is None, f"{self!r} lies on a GPU, and is not read from here", hint="copy its buffer to the host")
        return self.buffer.reshape(-1).view(np.uint8)[: self.nbytes]

    def codes(self) -> Array:
        """The elements as unsigned integers, in the tensor's shape: a copy."""
        return self.dtype.from_bytes(self.bytes, self.shape)

    def values(self) -> Array:
        """The elements decoded to the type's carrier (float64, int64, uint64 or bool), in the tensor's shape."""
        return self.dtype.decode(self.codes())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """For NumPy: the array itself where it has the type, else the values."""
        own = np.dtype(self.dtype.numpy).kind != "u" or (self.dtype.is_int and not self.dtype.is_signed)
        found = self.numpy() if own and self.dtype.bits % 8 == 0 and self.dtype.bits >= 16 else self.values()
        return found.astype(dtype) if dtype is not None else found

    def numpy(self) -> Array:
        """The elements as NumPy can hold them: of the type's own NumPy type, or their codes (bf16 as uint16, 8 bits and less as uint8).

        A view of the buffer where an element fills whole bytes, so that writing to it writes the tensor; a copy otherwise.
        """
        if self.dtype.bits % 8:
            return self.codes()
        return self.bytes.view(self.dtype.numpy).reshape(self.shape)

    def assign(self, values: npt.ArrayLike, saturate: bool = True) -> None:
        """Overwrite every element; `values` broadcast to the shape and are rounded to the type. What follows the last element is kept."""
        try:
            whole = np.broadcast_to(np.asarray(values), self.shape)
        except ValueError:
            raise TileError(f"values of shape {np.shape(values)} do not fit a tensor of shape {self.shape}") from None
        self.assign_codes(self.dtype.encode(whole, saturate))

    def assign_codes(self, codes: npt.ArrayLike) -> None:
        """Overwrite every element by its code."""
        require(np.shape(codes) == self.shape, f"codes of shape {np.shape(codes)} do not fit a tensor of shape {self.shape}")
        require(self.buffer.flags.writeable, "the buffer of this tensor is read-only", hint="make the tensor over a copy of it")
        packed, target = self.dtype.to_bytes(np.asarray(codes)), self.bytes
        tail = self.size * self.dtype.bits % 8 if self.dtype.element is self.dtype else 0
        if tail:  # the last byte is shared with what follows
            packed[-1] |= target[-1] & (0xFF << tail & 0xFF)
        target[:] = packed

    def __repr__(self) -> str:
        return f"tensor({self.dtype}{list(self.shape)}, {self.nbytes} bytes)"


def tensor(buffer: Any, dtype: DType | str, shape: Iterable[int] | int) -> Tensor:
    """Wrap a contiguous buffer as elements of any type, packed from the least significant bit, row-major, rows not padded.

    The buffer is a NumPy array, usually uint8, or uint16 for bf16, but any plain bytes will do; or one on a GPU: a tensor of PyTorch, an
    array with `__cuda_array_interface__` or DLPack. A packed tensor that a kernel writes there needs a buffer of whole 32-bit words. Raises
    TileError if it is too small or not contiguous.
    """
    return Tensor(buffer, dtype, shape)
