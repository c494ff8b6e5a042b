"""Weights stored tile by tile in the order in which their consumer's registers want them: `packed(int6)`, a type of tensors.

A tensor [..., K, N] of such a type is a grid of tiles of 128 rows by 32 columns, row-major, the last ones padded with zero bits. A tile belongs
to a warp, which holds it as the right operand of `mma.m16n8k16`: lane 4 g + t has of each of 8 steps along K and 4 columns of fragments the
elements (2 t, 2 t + 1, 2 t + 8, 2 t + 9; g) (PTX ISA, "Matrix Fragments for mma.m16n8k16"), which makes 128. For products of 8 bits it is
`mma.m16n8k32`, 4 steps, and the elements 4 t to 4 t + 3 and 4 t + 16 to 4 t + 19. They are 4 b words of b bits an
element, written unit by unit by the type's bit program (`bitmaps`), and a tile in memory is [b, 32 lanes, 4 words]: every thread loads b vectors
of 16 bytes, neighbours next to one another, and nothing is wasted.

Zero bits are what lies over the edge: 0 in floats, the least value in integers (0 where they are packed for 8 bits), the first entry of a codebook.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tilec.errors import require
from tilec.ir import bitmaps
from tilec.ir.bitmaps import BYTE, Nibbles, Program
from tilec.ir.dtypes import Codebook, DType, bf16, derived, dtype, f16, f32, float8_e4m3, float8_e5m2, i32, int8, uint8
from tilec.ir.layout import Layout, column_local, local, spatial
from tilec.ir.target import Fragments
from tilec.records import record

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ROWS, COLUMNS = 128, 32  # of a tile
FRAGMENTS = 4  # columns of these
LANES, VECTOR = 32, 4  # threads of a warp, words of a vector
WORDS = 128  # of a tile, for each bit of its elements
EACH = ROWS * COLUMNS // LANES  # elements that a thread holds
COMPUTED = (f16, bf16, int8, uint8, float8_e4m3, float8_e5m2)  # types that weights are packed for


@record(repr=False)
class Packed(DType):
    """`element` in the order of its consumer's registers, which `to` (f16, bf16, int8, uint8, e4m3 or e5m2) will be computed in.

    Where `to` has 8 bits, what comes out of the words at the least cost is the weight times 2**`power`: `tc.ldexp(w, power, to)`.
    """

    element: DType = f16  # type: ignore[assignment]
    to: DType = f16
    specials = "Stored in the order of its consumer's registers."

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.element.kind

    @property
    def is_signed(self) -> bool:  # type: ignore[override]
        return self.element.is_signed

    @cached_property
    def carrier(self) -> type[Any]:
        return self.element.carrier

    @property
    def max(self) -> Any:
        return self.element.max

    @property
    def min(self) -> Any:
        return self.element.min

    @cached_property
    def program(self) -> Program | Nibbles:
        """The type's own program, or that of indices or plain codes."""
        own = bitmaps.program(self.element, self.to)
        return own or (Nibbles() if self.bits == 4 and self._listed else bitmaps.plain(self.bits, self.to))

    @property
    def _listed(self) -> bool:
        """Whether its values are looked up in a table, if they are 16."""
        return isinstance(self.element, Codebook) if self.to.bits > BYTE else bool(self._held(0).all())

    def _held(self, power: int) -> Array:
        """By code: whether `to`, of 8 bits, has its value times 2**power."""
        values = np.asarray(self.element.decode(np.arange(1 << self.bits, dtype=np.uint8)), np.float64) * 2.0**power
        return (self.to.decode(self.to.encode(values)) == values) & np.isfinite(values)

    @cached_property
    def power(self) -> int:
        """Of two, by which weights for 8 bits are multiplied as they come out of their words; 0 for others."""
        if self.to.bits > BYTE or not isinstance(self.program, Program) or not self.direct:
            return 0
        if self.element.is_float:
            return self.element.bias - self.to.bias
        shift = self.program.pairs[0].shift
        return shift - (self.to.bias + self.to.mantissa_bits - 1 if self.to.is_float else 0)

    @cached_property
    def per(self) -> int:
        """Elements of `to` in a register."""
        return 32 // self.to.bits

    @cached_property
    def instruction(self) -> Fragments:
        """The matrix instruction that they are packed for."""
        return instruction(self.per)

    @cached_property
    def fragment(self) -> Layout:
        """How a warp holds one tile of weights: the right operands of its matrix instructions, all steps of K outermost."""
        return local(ROWS // (8 * self.per), FRAGMENTS) * self.instruction.b

    @property
    def accumulator(self) -> DType:
        """The type that products are summed in."""
        return i32 if self.to.is_int else f32

    @property
    def direct(self) -> bool:
        """Whether values of `to` are made at once, and not codes first."""
        return isinstance(self.program, Nibbles) or bitmaps.program(self.element, self.to) is not None

    @property
    def flipped(self) -> int:
        """What a code is XORed with, as integers with a sign lie in offset binary."""
        return 1 << (self.bits - 1) if self.element.is_int and self.element.is_signed and self.to.bits > BYTE else 0

    @cached_property
    def edge(self) -> Any:
        """The value of zero bits, which is what lies over the edge."""
        return self.element.decode(np.asarray([self.flipped], self.element.codes))[0]

    def encode(self, values: npt.ArrayLike, saturate: bool = True) -> Array:
        return self.element.encode(values, saturate)

    def decode(self, codes: npt.ArrayLike) -> Array:
        return self.element.decode(codes)

    def tiles(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """How many tiles a tensor has along each of its axes."""
        require(len(shape) >= 2, f"a tensor of {self} has at least two axes, [K, N], not {len(shape)}")
        return (*shape[:-2], -(-shape[-2] // ROWS), -(-shape[-1] // COLUMNS))

    def nbytes(self, shape: tuple[int, ...]) -> int:
        return math.prod(self.tiles(shape)) * ROWS * COLUMNS * self.bits // 8

    @cached_property
    def unfit(self) -> Array:
        """By code: whether it is no weight, being no finite number of `to`. Bit programs have no way to say infinity."""
        if self.to.bits <= BYTE:
            return ~self._held(self.power) & self.direct
        with np.errstate(over="ignore"):
            values = self.to.round(self.element.decode(np.arange(1 << self.bits, dtype=self.element.codes)))
        return ~np.isfinite(values) & self.direct

    def to_bytes(self, codes: Array) -> Array:
        if self.unfit.any():
            bad = self.unfit[codes]
            place = tuple(map(int, np.argwhere(bad)[0])) if bad.any() else ()
            require(not bad.any(), f"the weight at {list(place)} is no finite number of {self.to}", hint="bf16 has the range that f16 lacks")
        return np.ascontiguousarray(self.words(codes)).astype("<u4", copy=False).reshape(-1).view(np.uint8)

    def from_bytes(self, data: Array, shape: tuple[int, ...]) -> Array:
        words = np.ascontiguousarray(data).view("<u4").reshape(*self.tiles(shape), -1)
        return self.codes_of(words)[..., : shape[-2], : shape[-1]]

    def words(self, codes: Array) -> Array:
        """u32 [..., K / 128, N / 32, 128 bits] of codes [..., K, N]."""
        *lead, rows, columns = codes.shape
        tiles = self.tiles(codes.shape)
        whole = np.zeros((*lead, tiles[-2] * ROWS, tiles[-1] * COLUMNS), np.uint8)
        whole[..., :rows, :columns] = codes ^ self.element.codes(self.flipped)
        parts = whole.reshape(*tiles[:-1], -1, 2, 4, self.per, tiles[-1], FRAGMENTS, 8)  # tile row, step, half, t, which; tile column, fragment, g
        n = len(lead)
        order = (n, n + 5, n + 7, n + 3, n + 1, n + 6, n + 2, n + 4)  # tile row and column; g, t; step, fragment, half, which
        held = parts.transpose(*range(n), *order).reshape(*tiles, LANES, -1, self.program.weights)
        vectors = self.program.pack(held).reshape(*tiles, LANES, self.bits, VECTOR)
        return np.swapaxes(vectors, -2, -3).reshape(*tiles, -1)

    def codes_of(self, words: Array) -> Array:
        """Codes [..., K, N] of words [..., K / 128, N / 32, 128 bits]: the inverse, padding included."""
        *lead, down, across, _ = words.shape
        vectors = words.astype(np.uint32, copy=False).reshape(*words.shape[:-1], self.bits, LANES, VECTOR)
        held = self.program.unpack(np.swapaxes(vectors, -2, -3).reshape(*words.shape[:-1], LANES, -1, self.program.words))
        parts = held.reshape(*lead, down, across, 8, 4, -1, FRAGMENTS, 2, self.per)
        n = len(lead)
        order = (n, n + 4, n + 6, n + 3, n + 7, n + 1, n + 5, n + 2)
        codes = parts.transpose(*range(n), *order).reshape(*lead, down * ROWS, across * COLUMNS)
        return codes ^ np.uint8(self.flipped)


@cache
def packed(element: DType | str, to: DType | str = f16) -> Packed:
    """The type of weights of `element` packed for their consumer: `w: packed(int6)[K, N]` in a kernel, `tilec.quant.pack` makes one.

    `to` is the type that they are computed in: f16, bf16, or for products of 8 bits int8, uint8, e4m3 or e5m2. Raises TileError for types of more than 8 bits.
    """
    kind, wide = dtype(element), dtype(to)
    require(not kind.is_bool and kind.bits <= 8 and not isinstance(kind, Packed), f"weights of {kind} are not packed", hint="types of 1 to 8 bits are")
    require(wide in COMPUTED, f"packed weights are computed in f16 or bf16, or in 8 bits (int8, uint8, e4m3, e5m2), not in {wide}")
    return Packed(f"{kind}_packed" + ("" if wide == f16 else f"_{wide}"), kind.bits, kind, wide)


def by_name(name: str) -> Packed | None:
    """The inverse of `str`."""
    element, found, to = name.rpartition("_packed")
    return packed(element, to[1:] or f16) if found and to in ("", *(f"_{kind}" for kind in COMPUTED)) else None


derived.append(by_name)


@cache
def instruction(per: int) -> Fragments:
    """Of `mma.m16n8k16` or k32, with `per` elements of an operand in a register: blocks of 8 rows, in columns, lane 4 g + t having `per` elements of row g."""

    def blocks(rows: int, columns: int, each: int) -> Layout:
        return column_local(rows // 8, columns).spatial(8, 4).local(1, each)

    return Fragments((16, 8, 8 * per), blocks(16, 2, per), blocks(8, 2, per).transpose(), blocks(16, 1, 2))


@cache
def vectors(bits: int) -> Layout:
    """How a warp holds the words [1, 1, 128 bits] of one tile: vectors of 16 bytes, those of neighbours next to one another."""
    return local(1, 1, bits) * spatial(1, 1, LANES) * local(1, 1, VECTOR)
