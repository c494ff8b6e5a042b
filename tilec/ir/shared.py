"""Shared-memory layouts: coordinates to the place of an element in a buffer, by strides and an XOR swizzle on top; bank conflicts.

    shared(shape=[64, 32], strides=[32, 1], swizzle=[2, 3, 3])

Offsets count elements. A swizzle works on the offset: it XORs `bits` bits from `base` up with those `shift` places above them, as
CuTe's Swizzle<bits, base, shift> does, so the rows of a tile start in different banks while 2**base neighbours stay together.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.layout import Layout
from tilec.ir.types import TileType
from tilec.records import record, replace

BANKS = 32
BANK_BYTES = 4
WARP = 32


Term = tuple[int, int, int]  # bits, base, shift


@record()
class Swizzle:
    """offset ^ (offset >> shift & mask): `bits` bits from bit `base` up are XORed with the `bits` bits `shift` places above them.

    `more` are further [bits, base, shift] that are XORed on top, each with bits of the offset as it was. So any linear map from the bits that are
    read to those that are changed is a swizzle; none is read and changed.
    """

    bits: int
    base: int
    shift: int
    more: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        for bits, base, shift in self.terms:
            require(bits >= 0 and base >= 0, f"a swizzle of {bits} bits from bit {base}")
            require(shift >= bits, f"a swizzle of {bits} bits must take them from at least {bits} places above")
        require(not self.mask & self.reads, f"a swizzle may not read bits that it changes, as {list(map(list, self.terms))} does")

    @property
    def terms(self) -> tuple[Term, ...]:
        return ((self.bits, self.base, self.shift), *self.more)

    @cached_property
    def masks(self) -> dict[int, int]:
        """Which bits are changed, by how many places above them the bits are that they are XORed with."""
        found: dict[int, int] = {}
        for bits, base, shift in self.terms:
            found[shift] = found.get(shift, 0) ^ ((1 << bits) - 1) << base
        return found

    @property
    def mask(self) -> int:
        """All bits that are changed."""
        return sum({1 << b for bits, base, _ in self.terms for b in range(base, base + bits)})

    @property
    def reads(self) -> int:
        """All bits that these are XORed with."""
        return sum({1 << b + shift for bits, base, shift in self.terms for b in range(base, base + bits)})

    @property
    def run(self) -> int:
        """So many neighbours, from a multiple of it on, stay together."""
        return 1 << min((base for bits, base, _ in self.terms if bits), default=0)

    @property
    def block(self) -> int:
        """Within blocks of so many offsets things are moved."""
        return 1 << max(base + bits for bits, base, _ in self.terms)

    @property
    def period(self) -> int:
        """Adding a multiple of this to an offset commutes with the swizzle."""
        return 1 << max(base + shift + bits for bits, base, shift in self.terms) if self.bits else 1

    def recast(self, bits: int, other: int) -> Swizzle:
        """The same on elements of `other` bits instead of `bits`. Raises TileError if it parts what such consist of."""
        wide, narrow = max(bits, other), min(bits, other)
        places = ((wide // narrow).bit_length() - 1) * (1 if other < bits else -1)
        whole = narrow << abs(places) == wide and self.run.bit_length() - 1 + places >= 0
        require(whole, f"the swizzle {self.listed()} parts what an element of {other} bits consists of")
        terms = [(n, base + places if n else 0, shift) for n, base, shift in self.terms]
        return Swizzle(*terms[0], tuple(terms[1:]))

    def __call__(self, offset: Any) -> Any:
        """For integers and NumPy arrays of them. It is its own inverse."""
        moved = offset
        for shift, mask in self.masks.items():
            moved = moved ^ (offset >> shift & mask)
        return moved

    def listed(self) -> list[Any]:
        """As it is written: [bits, base, shift], or a list of such."""
        return [list(t) for t in self.terms] if self.more else list(self.terms[0])


def swizzle_of(stated: Sequence[Any]) -> Swizzle | None:
    """The swizzle that is written as [bits, base, shift], or as a list of such; None for an empty list. Raises TileError."""
    terms = [tuple(stated)] if stated and not isinstance(stated[0], Sequence) else [tuple(t) for t in stated]
    require(all(len(t) == 3 for t in terms), f"a swizzle is [bits, base, shift], not {stated!r}", code=Code.SHARED_TILE)
    if not terms:
        return None
    bits, base, shift = terms[0]
    return Swizzle(bits, base, shift, tuple(terms[1:]))


@record()
class SharedLayout:
    """Coordinates -> element offset in a buffer: swizzle(base + sum of coordinate * stride).

    Elements of types under 8 bits lie bit by bit one after another, unless they are `spread`: each in a byte of its own, which its thread can
    store without minding its neighbours.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    swizzle: Swizzle | None = None
    base: int = 0
    spread: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "strides", tuple(self.strides))
        if self.swizzle and not self.swizzle.bits:
            object.__setattr__(self, "swizzle", None)
        require(len(self.shape) == len(self.strides), f"{len(self.shape)} dimensions but {len(self.strides)} strides")
        require(all(n >= 1 for n in self.shape), f"the sizes of a layout are positive, got {list(self.shape)}")
        require(all(s >= 0 for s in self.strides) and self.base >= 0, f"strides are not negative, got {list(self.strides)}")

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def fast(self) -> int | None:
        """The axis whose elements lie next to one another in memory, if there is one."""
        return next((d for d in reversed(range(self.rank)) if self.strides[d] == 1 and self.shape[d] > 1), None)

    @property
    def size(self) -> int:
        """How many elements the buffer must have: one more than the highest offset, rounded up to the blocks within which a swizzle
        moves things."""
        top = self.base + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)) + 1
        block = self.swizzle.block if self.swizzle else 1
        return -(-top // block) * block

    def offset(self, coords: Sequence[Any]) -> Any:
        """The element offset of `coords`, one integer or NumPy array for each dimension."""
        require(len(coords) == self.rank, f"expected {self.rank} coordinates, got {len(coords)}")
        line = sum((c * s for c, s in zip(coords, self.strides, strict=True)), start=self.base)
        return self.swizzle(line) if self.swizzle else line

    def offsets(self) -> np.ndarray:
        """The offset of every element: an int array of `shape`."""
        return np.asarray(self.offset(list(np.indices(self.shape))) if self.rank else self.base)

    def is_injective(self) -> bool:
        """Whether no two elements share a place."""
        return np.unique(self.offsets()).size == math.prod(self.shape)

    def run(self, axis: int = -1) -> int:
        """How many elements along `axis`, from any multiple of that number, lie one after another in memory (1 if they don't at all).

        Offsets of such runs are multiples of the run, so that a vector access that covers one is aligned if the buffer is.
        """
        require(-self.rank <= axis < self.rank, f"axis {axis} of a layout of rank {self.rank}")
        axis %= self.rank
        if self.strides[axis] != 1:
            return 1
        others = [s for d, s in enumerate(self.strides) if d != axis and self.shape[d] > 1]
        together = self.swizzle.run if self.swizzle else 0
        return math.gcd(self.shape[axis], self.base, together, *others)

    def slice(self, axis: int, index: Any) -> tuple[Any, SharedLayout]:
        """(offset, layout) of the part at `index` along `axis`: an element's place is the offset plus its place in the layout.

        `index` may be anything that multiplies by an integer, such as a runtime value, if the stride of `axis` is a multiple of the
        swizzle's period; otherwise it must be an integer, which goes into the layout's base, and the offset is 0. Raises TileError.
        """
        require(-self.rank <= axis < self.rank, f"axis {axis} of a layout of rank {self.rank}")
        axis %= self.rank
        rest = replace(
            self, shape=self.shape[:axis] + self.shape[axis + 1 :], strides=self.strides[:axis] + self.strides[axis + 1 :]
        )
        step = self.strides[axis]
        if self.swizzle is None or step % self.swizzle.period == 0:
            return index * step, rest
        require(
            isinstance(index, (int, np.integer)),
            f"a slice at a runtime index would cut the swizzle: the stride {step} is no multiple of its period {self.swizzle.period}",
            hint="make the slices larger, or use no swizzle",
        )
        return 0, replace(rest, base=self.base + int(index) * step)

    @lru_cache(maxsize=256)  # noqa: B019  (a record: equal layouts are one key)
    def view(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> SharedLayout:
        """The layout of another shape: its element at `coords` is the `sum(coords * strides)`-th of this one, counted row-major. Nothing moves.

        Axes that lie one behind another in memory count as one, as in a reshape of NumPy's that copies nothing. Raises TileError if elements of
        a new axis do not lie in equal steps.
        """
        rows = list(_rows(self.shape, self.strides))
        steps = []
        for n, stride in zip(shape, strides, strict=True):
            found = [
                stride // unit * step
                for unit, size, step in rows
                if stride % unit == 0 and unit <= stride < unit * size and stride * (n - 1) < unit * size
            ]
            require(found or n == 1, f"{n} elements, each the {stride}th behind the last, do not lie in equal steps in {self}")
            steps += found or [0]
        return replace(self, shape=tuple(shape), strides=tuple(steps))

    @lru_cache(maxsize=256)  # noqa: B019
    def recast(self, bits: int, other: int) -> SharedLayout:
        """The layout of the same memory if its elements of `bits` bits are seen as elements of `other` bits, along the last axis.

        Raises TileError if those of a row do not fill such, lie apart, or are parted by the swizzle.
        """
        if bits == other:
            return self
        require(self.shape[-1] * bits % other == 0, f"a row of {self.shape[-1]} elements of {bits} bits has no whole number of {other}")
        require(self.strides[-1] == 1, "the elements of a row do not lie together")
        whole = all(s * bits % other == 0 for s in (self.base, *self.strides[:-1]))
        require(whole, f"rows begin at places that are no multiples of {other} bits")
        shape, strides = (*self.shape[:-1], self.shape[-1] * bits // other), (*(s * bits // other for s in self.strides[:-1]), 1)
        return SharedLayout(shape, strides, self.swizzle and self.swizzle.recast(bits, other), self.base * bits // other)

    def permute(self, dims: Sequence[int]) -> SharedLayout:
        """Dimension i of the result is dimension `dims[i]` of this layout; nothing moves."""
        require(sorted(dims) == list(range(self.rank)), f"{list(dims)} is not an order of {self.rank} dimensions")
        return replace(self, shape=tuple(self.shape[d] for d in dims), strides=tuple(self.strides[d] for d in dims))

    def __str__(self) -> str:
        swizzle = f", swizzle={self.swizzle.listed()}" if self.swizzle else ""
        base = f", base={self.base}" if self.base else ""
        spread = ", spread=True" if self.spread else ""
        return f"shared(shape={list(self.shape)}, strides={list(self.strides)}{swizzle}{base}{spread})"

    __repr__ = __str__


def _rows(shape: Sequence[int], strides: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Of axes that lie one behind another, as one: how many elements, counted row-major, one step along it is, its extent and its stride."""
    rows: list[list[int]] = []
    unit = 1
    for n, stride in reversed(list(zip(shape, strides, strict=True))):
        if n > 1 and rows and stride == rows[-1][1] * rows[-1][2]:
            rows[-1][1] *= n
        elif n > 1:
            rows.append([unit, n, stride])
        unit *= n
    return ((unit, n, stride) for unit, n, stride in rows)


def steps_of(shape: Sequence[int]) -> tuple[int, ...]:
    """How many elements, counted row-major, one step along each axis is."""
    return tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))


@lru_cache(maxsize=256)
def row_major(*shape: int) -> SharedLayout:
    """The last dimension varies fastest; no gaps and no swizzle."""
    return SharedLayout(shape, steps_of(shape))


def shared(
    shape: Sequence[int], strides: Sequence[int] | None = None, swizzle: Sequence[Any] | None = None, base: int = 0, spread: bool = False
) -> SharedLayout:
    """A shared layout as its text names it: row-major without `strides`; `swizzle` is [bits, base, shift], or a list of such."""
    steps = row_major(*shape).strides if strides is None else tuple(strides)
    return SharedLayout(tuple(shape), steps, swizzle_of(swizzle or ()), base, spread)


def padded(type: TileType) -> SharedLayout:
    """Row-major with 16 bytes after each row, so that a column's elements lie in different banks; no two elements in one byte."""
    spread = type.dtype.bits < 8 and not type.dtype.is_bool
    if type.rank < 2:
        return replace(row_major(*type.shape), spread=spread)
    gap = max(1, 16 * 8 // max(8, type.dtype.bits))
    pitch = type.shape[-1] + gap
    strides = tuple(pitch * math.prod(type.shape[a + 1 : -1]) for a in range(type.rank - 1))
    return SharedLayout(type.shape, (*strides, 1), spread=spread)


def parse_shared(text: str) -> SharedLayout:
    """The layout that `text` describes, as `str(layout)` writes it. Raises TileError."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "shared"):
            raise ValueError
        args = [ast.literal_eval(arg) for arg in node.args]
        return shared(*args, **{str(word.arg): ast.literal_eval(word.value) for word in node.keywords})
    except (SyntaxError, TypeError, ValueError) as error:
        hint = "write shared(shape=[64, 32], strides=[32, 1], swizzle=[2, 3, 3])"
        raise TileError(f"not a shared layout: {text!r}", hint=hint) from error


# Bank conflicts


def turns(addresses: np.ndarray, width: int) -> np.ndarray:
    """How often a bank is asked for a different word, at worst, in each group of lanes that one access serves together: [..., groups] of
    addresses [..., lanes].

    32 banks of 4-byte words; lanes that ask for one word share it; accesses of 8 and 16 bytes are served per half and quarter warp.
    Addresses are multiples of `width`; a negative one is a lane that takes no part.
    """
    unit = max(width, BANK_BYTES)
    lanes, places = WARP * BANK_BYTES // unit, BANKS * BANK_BYTES // unit
    units = np.where(addresses < 0, -1, addresses // unit)
    missing = -units.shape[-1] % lanes
    if missing:
        units = np.concatenate([units, np.full((*units.shape[:-1], missing), -1)], axis=-1)
    units = np.sort(units.reshape(-1, lanes), axis=-1)
    first = units >= 0  # of those that ask for one word
    first[:, 1:] &= units[:, 1:] != units[:, :-1]
    asked = (np.arange(len(units))[:, None] * places + units % places)[first]
    return np.bincount(asked, minlength=len(units) * places).reshape(*addresses.shape[:-1], -1, places).max(axis=-1)


def ways(addresses: Any, width: int = BANK_BYTES) -> int:
    """Bank-conflict ways of one access by a warp (or several warps in turn): 1 means none.

    `addresses` are the byte addresses of the lanes, each reading or writing `width` bytes (1, 2, 4, 8 or 16); negative: no access.
    """
    require(width in (1, 2, 4, 8, 16), f"an access of {width} bytes")
    return int(turns(np.asarray(addresses), width).max(initial=1))


def bank_conflicts(registers: Layout, memory: SharedLayout, element_bits: int, vector: int = 1) -> int:
    """The worst bank-conflict ways when threads load or store the tile, `vector` registers at a time: 1 means none.

    Coordinates beyond the shape of `memory` take no part. Raises TileError if a vector's elements don't lie one after another, or if
    a vector is no access the hardware has (1, 2, 4, 8 or 16 bytes, aligned; an element below a byte is counted by the byte it begins in).
    """
    require(registers.rank == memory.rank, f"layouts of rank {registers.rank} and {memory.rank}")
    require(registers.registers % vector == 0, f"{registers.registers} registers are no whole number of vectors of {vector}")
    coords = np.moveaxis(registers.coords(), -1, 0)
    inside = np.ones(coords.shape[1:], bool)
    for c, n in zip(coords, memory.shape, strict=True):
        inside &= c < n
    offsets = np.broadcast_to(memory.offset(list(coords)), inside.shape).reshape(registers.threads, -1, vector)
    inside = inside.reshape(offsets.shape)
    follows = offsets == offsets[..., :1] + np.arange(vector)
    require((follows | ~inside).all(), f"vectors of {vector} registers of {registers} are not contiguous in {memory}")
    addresses = np.where(inside[..., 0], offsets[..., 0] * element_bits // 8, -1)
    width = -(-vector * element_bits // 8)
    require(width in (1, 2, 4, 8, 16), f"{vector} elements of {element_bits} bits make an access of {width} bytes")
    aligned = (addresses % width == 0) | (addresses < 0)
    require(aligned.all(), f"accesses of {width} bytes to {memory} are not aligned to {width} bytes")
    return max(ways(column, width) for column in addresses.T)
