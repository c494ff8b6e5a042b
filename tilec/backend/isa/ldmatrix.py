"""`ldmatrix` and `stmatrix`: a warp loads or stores 8 rows of 16 bytes in shared memory at once, in the layout of mma's fragments.

The fragment of one matrix is that of the PTX ISA, sections "ldmatrix" and "stmatrix": of 16-bit elements lane l has 2(l%4) and 2(l%4)+1 of row
l/4; with `.trans` of column l/4. Lanes 8j to 8j+7 supply the addresses of the rows of matrix j. To the instructions rows are bytes: lane l has
bytes 4(l%4) to 4(l%4)+3 of row l/4, whatever elements these are; only transposed they must be of 16 bits.

Where all rows of a matrix are one and the same, a lane gets elements 2(l%4) and 2(l%4)+1 of it, or transposed element l/4, twice: scales of columns, as the
result of a product wants them, or its right operand.
"""

from __future__ import annotations

import math
from functools import lru_cache

from tilec.errors import require
from tilec.ir.layout import NOWHERE, Digit, Layout, column_spatial, replicated, spatial
from tilec.ir.notes import Refused
from tilec.ir.ops.memory import LoadShared, StoreShared
from tilec.ir.types import SharedType, TileType

ROW_BITS, WORD_BITS = 128, 32  # of a row, and of a lane's part of it


class LoadMatrix(LoadShared):
    """A tile [m, n] by `ldmatrix.x4`, `.x2` or `.x1`, transposed where the elements of a register run across the memory's rows."""

    mnemonic = "ldmatrix"

    def infer(self) -> TileType:
        result = super().infer()
        found = addresses(self.memory.type, self.dims, result)
        require(not isinstance(found, Refused), f"ldmatrix can't load this: {getattr(found, 'why', '')}")
        return result


class StoreMatrix(StoreShared):
    """A tile [m, n] by `stmatrix.x4`, `.x2` or `.x1`: the counterpart of `ldmatrix`, from sm_90 on."""

    mnemonic = "stmatrix"

    def infer(self) -> None:
        super().infer()
        found = stored(self.memory.type, self.dims, self.value.type)
        require(not isinstance(found, Refused), f"stmatrix can't store this: {getattr(found, 'why', '')}")


def row_elements(memory: SharedType) -> int:
    """How many elements of a shared tile a row of 16 bytes is."""
    return ROW_BITS // memory.item_bits


def stored(memory: SharedType, dims: tuple[int, ...], tile: TileType) -> tuple[Layout, int, bool] | Refused:
    """How a tile is stored by stmatrix, as `addresses` tells of loads."""
    if tile.layout is not None and tile.layout.is_replicated:
        return Refused("several threads hold the same elements")
    return addresses(memory, dims, tile)


@lru_cache(maxsize=256)
def addresses(memory: SharedType, dims: tuple[int, ...], tile: TileType) -> tuple[Layout, int, bool] | Refused:
    """How a tile is loaded by ldmatrix: which row each lane addresses for each instruction, matrices an instruction, whether transposed.

    The layout is of row starts: along the memory's contiguous axis it counts in rows of 16 bytes.
    """
    bits = memory.item_bits
    if WORD_BITS % bits or bits != tile.dtype.bits:
        return Refused(f"elements of {tile.dtype} don't fill registers of 32 bits in shared memory")
    fast = memory.layout.fast if memory.layout is not None else None
    if tile.rank != 2 or fast is None or fast not in dims:
        return Refused("the tile is no matrix whose rows or columns lie together in memory")
    if tile.layout is None or tile.layout.shape != tile.shape:
        return Refused("the tile does not fill its layout")
    along = dims.index(fast)  # the tile axis that a row of 16 bytes runs along
    if memory.layout is None or memory.layout.run(fast) % row_elements(memory):
        return Refused("rows of 16 bytes don't lie together in the shared tile")
    each = WORD_BITS // bits
    for pairs_along, fragment in ((1, spatial(8, 4).local(1, each)), (0, column_spatial(4, 8).local(each, 1))):
        quotient = tile.layout.try_divide(fragment)
        if quotient is not None and (pairs_along == along or bits == 16):
            return rows_of(quotient, along, 8), _count(quotient), pairs_along != along
    for transposed, fragment in ((False, replicated(8, rank=2).spatial(1, 4).local(1, each)), (True, spatial(1, 8).replicated(4))):
        quotient = tile.layout.try_divide(fragment if along == 1 else fragment.transpose())
        if quotient is not None and bits == 16 and _count(quotient) > 1:
            return rows_of(quotient, along, 1), _count(quotient), transposed
    return Refused("who uses the tile does not want it in fragments of matrix instructions")


def rows_of(quotient: Layout, along: int, rows: int) -> Layout:
    """Which row each lane addresses, of matrices that lie as `quotient` tells, of 8 rows or of one."""
    count = _count(quotient)
    peeled = _peel(quotient.register_digits, count)
    assert peeled is not None
    threads, low, high = (tuple(d._replace(stride=d.stride * rows) if d.dim == 1 - along else d for d in part) for part in (quotient.thread_digits, *peeled))
    idle = Digit(4 // count, NOWHERE, 0)  # lanes whose addresses are not used
    shape = tuple(n * rows if axis != along else n for axis, n in enumerate(quotient.shape))
    return Layout(shape, (*threads, idle, *low, Digit(8, 1 - along, 1) if rows == 8 else Digit(8, NOWHERE, 0)), high)


def _count(quotient: Layout) -> int:
    """Matrices an instruction."""
    return next(n for n in (4, 2, 1) if _peel(quotient.register_digits, n))


def _peel(digits: tuple[Digit, ...], count: int) -> tuple[tuple[Digit, ...], tuple[Digit, ...]] | None:
    """The lowest digits that make up `count`, and the rest; a digit is cut in two where the count ends within it. None if none do."""
    low: list[Digit] = []
    rest = list(digits)
    while count > 1:
        if not rest or math.gcd(count, rest[-1].size) != min(count, rest[-1].size):
            return None
        digit = rest.pop()
        take = min(count, digit.size)
        low.insert(0, digit._replace(size=take))
        if take < digit.size:
            rest.append(digit._replace(size=digit.size // take, stride=digit.stride * take))
        count //= take
    return tuple(low), tuple(rest)
