"""The types of values: tiles in registers, tensors in global memory, tiles in shared memory.

A scalar is a tile of shape (). A tile's `layout` is None until layouts are assigned, and says from then on which thread holds
which element in which register; its `group` says which warps hold it (None: all warps of the block).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tilec.ir.dtypes import DType, i32
from tilec.records import field, record, replace

if TYPE_CHECKING:
    from tilec.ir.layout import Layout
    from tilec.ir.shared import SharedLayout

Shape = tuple[int, ...]


@record()
class Warps:
    """A group of consecutive warps of a block: `count` warps from warp `first` on."""

    first: int
    count: int

    @property
    def words(self) -> str:
        """As in a message."""
        return f"warp {self.first}" if self.count == 1 else f"warps {self.first} to {self.first + self.count - 1}"

    def overlaps(self, other: Warps) -> bool:
        """Whether a warp belongs to both."""
        return self.first < other.first + other.count and other.first < self.first + self.count

    def __str__(self) -> str:
        return f"warps({self.first}, {self.count})"


@record()
class Type:
    """What every type has: the type of its elements and a shape."""

    dtype: DType


@record()
class TileType(Type):
    """A tile in registers, or a scalar (shape ())."""

    shape: Shape = ()
    layout: Layout | None = None
    group: Warps | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_scalar(self) -> bool:
        return not self.shape

    def of(self, dtype: DType) -> TileType:
        """The same tile with elements of another type."""
        return replace(self, dtype=dtype)

    def logical(self) -> TileType:
        """The type without its layout: what the value means, not where it lies."""
        return replace(self, layout=None)

    def __str__(self) -> str:
        if self.is_scalar and self.layout is None and self.group is None:
            return str(self.dtype)
        inside = ", ".join(map(str, self.shape)) + (f"; {self.layout}" if self.layout is not None else "")
        return f"{self.dtype}[{inside}]" + (f"@{self.group}" if self.group else "")


@record()
class TensorType(Type):
    """A tensor in global memory. Each extent is an integer or the name of a runtime dimension.

    C-contiguous and 16-byte aligned unless `strided`, in which case its strides, in elements, are kernel parameters.
    """

    shape: tuple[int | str, ...]
    strided: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return f"{'strided' if self.strided else 'global'} {self.dtype}[{', '.join(map(str, self.shape))}]"


@record()
class SharedType(Type):
    """A tile in shared memory; `layout` maps coordinates to element offsets (None: not chosen yet)."""

    shape: Shape
    layout: SharedLayout | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def item_bits(self) -> int:
        """Bits of one element's place."""
        small = self.dtype.bits < 8 and not self.dtype.is_bool and not (self.layout is not None and self.layout.spread)
        return self.dtype.bits if small else max(8, self.dtype.bits)

    @property
    def packed(self) -> bool:
        """Whether elements lie bit by bit one after another and fill no bytes of their own."""
        return self.item_bits % 8 != 0

    @property
    def item_bytes(self) -> int:
        """Bytes of one element's place, which fills bytes."""
        assert not self.packed, "elements that are packed have no bytes of their own"
        return self.item_bits // 8

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tile; of packed elements in whole words, as atomics take them."""
        bits = self.item_bits * (self.layout.size if self.layout is not None else math.prod(self.shape))
        return -(-bits // 32) * 4 if self.packed else bits // 8

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.shape)) + (f"; {self.layout}" if self.layout is not None else "")
        return f"shared {self.dtype}[{inside}]"


@record()
class BarrierType(Type):
    """A named barrier of a block, shape (), or a row of them. Its elements are the hardware's numbers of barriers."""

    dtype: DType = field(default=i32, init=False)
    shape: Shape = ()

    def __str__(self) -> str:
        return f"barrier {self.dtype}" + (f"[{', '.join(map(str, self.shape))}]" if self.shape else "")
