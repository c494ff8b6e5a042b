"""Bit programs: how few-bit weights lie in words so that they come out of them as pairs of 16-bit floats, or four numbers of 8 bits, by the fewest
instructions.

A word is two 16-bit lanes or four of 8, and every step works on all at once. U words hold 32 U / b weights of b bits, none wasted. Pair j (or four) is

    (view ^ view ^ ...) & mask        a view being a word, shifted or rotated

whose lanes then hold each weight's bits at the place that its value in f16 or bf16 (`to`) wants, zeros elsewhere:

- a float's mantissa and exponent at the place of those of `to`, its sign at bit 15: the value times 2**(its bias - that of `to`), subnormal
  numbers included, so that one multiplication by a power of two, which the scale can carry, makes it exact;
- an integer in offset binary at bit `shift` and up, within the bits where subnormals and the first binade of `to` are one linear scale;
- where `to` is int8 or uint8, an integer as it is, at the top of its byte: the value times 2**(8 - b).

One or two views are one LOP3 with the mask as its immediate. The program is a linear map over GF(2) from words to weights; those below are
invertible, so its inverse is the packer. `tilec.quant.search` finds such programs; PROGRAMS is what was found, a line for each type and target, pairs left to
right: `1<9^2@4` is the XOR of word 1 rotated left by 9 within its lanes, and word 2, an integer at bit 4.
"""

from __future__ import annotations

from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilec.errors import require
from tilec.ir.dtypes import DType, Float

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

View = tuple[int, int]  # a word's number, and how far it is rotated to the left within its lanes
WORD, LANE, BYTE = 32, 16, 8


class Pair(NamedTuple):
    """The weights of a register's lanes, the first in the lowest: the views that are XORed, and the bit where an integer begins."""

    views: tuple[View, ...]
    shift: int = 0


class Linear:
    """A map over GF(2) from a unit of words to the codes of its weights, as many bits as they have, and its inverse, which packs them."""

    bits: int
    lane = LANE

    @property
    def words(self) -> int:
        """Of a unit."""
        raise NotImplementedError

    @property
    def weights(self) -> int:
        """Of a unit."""
        return self.words * WORD // self.bits

    def unpack(self, words: Array) -> Array:
        """Codes as the map sees them (integers in offset binary), u8 [..., weights], of u32 [..., words]."""
        raise NotImplementedError

    def pack(self, codes: Array) -> Array:
        """The words that hold codes: the inverse of `unpack`, u32 [..., words]."""
        out = np.zeros((*codes.shape[:-1], self.words), np.uint32)
        for i, table in enumerate(self._tables):
            out ^= table[codes[..., i]]
        return out

    @cached_property
    def _tables(self) -> Array:
        """By element of a unit and code: what it contributes to each word, u32 [weights, 2**bits, words]."""
        inverse = self.inverse
        columns = np.packbits(inverse.T.reshape(-1, self.words, WORD), axis=-1, bitorder="little").view("<u4")[..., 0]
        columns = columns.reshape(self.weights, self.bits, self.words)
        tables = np.zeros((len(columns), 1 << self.bits, self.words), np.uint32)
        for bit in range(self.bits):
            tables[:, 1 << bit : 2 << bit] = tables[:, : 1 << bit] ^ columns[:, bit, None]
        return tables

    @cached_property
    def terms(self) -> dict[View, dict[int, int]]:
        """The packer as instructions: each word of a unit is the XOR of masked views of codes in the lanes of a register, the first in the lowest. By
        view, the register's number and how far it is rotated to the left within the word: the mask for each word that it is part of."""
        found: dict[View, dict[int, int]] = {}
        each = WORD // self.lane
        for target, source in zip(*(axis.tolist() for axis in np.nonzero(self.inverse)), strict=True):
            (word, to), (code, bit) = divmod(target, WORD), divmod(source, self.bits)
            masks = found.setdefault((code // each, (to - bit - self.lane * (code % each)) % WORD), {})
            masks[word] = masks.get(word, 0) | 1 << to
        return dict(sorted(found.items()))

    @cached_property
    def matrix(self) -> Array:
        """The map over GF(2), bool [bits of all codes, bits of all words]: its columns are what single bits of words become."""
        basis = np.zeros((self.words * WORD, self.words), np.uint32)
        for bit in range(len(basis)):
            basis[bit, bit // WORD] = np.uint32(1 << bit % WORD)
        codes = self.unpack(basis)
        return np.unpackbits(codes[..., None], axis=-1, count=self.bits, bitorder="little").reshape(len(basis), -1).T.astype(bool)

    @cached_property
    def inverse(self) -> Array:
        """The inverse of `matrix`. Raises TileError if there is none."""
        n = self.words * WORD
        rows = np.concatenate([self.matrix, np.eye(n, dtype=bool)], axis=1)
        for column in range(n):
            below = np.flatnonzero(rows[column:, column])
            require(below.size, "the program loses bits: its matrix has no inverse")
            pivot = column + int(below[0])
            rows[[column, pivot]] = rows[[pivot, column]]
            others = rows[:, column].copy()
            others[column] = False
            rows[others] ^= rows[column]
        return rows[:, n:]


class _Program(NamedTuple):
    bits: int
    pairs: tuple[Pair, ...]
    floating: bool
    mantissa: int  # where the exponent begins in `to`: 10 or 7; 3 or 2 in a lane of 8
    mantissa_bits: int = 0  # of a float
    lane: int = LANE  # bits


class Program(_Program, Linear):  # type: ignore[misc] # `bits` of a tuple
    """How weights of `bits` bits lie in a unit of `words` words."""

    @property
    def words(self) -> int:
        return self.bits * len(self.pairs) // self.lane

    def places(self, pair: Pair) -> tuple[int, ...]:
        """The bit of a lane where each bit of a code goes, the lowest first."""
        start = self.mantissa - self.mantissa_bits if self.floating else pair.shift
        places = range(start, start + self.bits)
        return (*places[:-1], self.lane - 1) if self.floating else tuple(places)

    def mask(self, pair: Pair) -> int:
        """The bits of a word that the pair's weights take."""
        return sum(1 << p + lane for p in self.places(pair) for lane in self.lanes)

    @property
    def lanes(self) -> range:
        """The lowest bit of each lane."""
        return range(0, WORD, self.lane)

    @cached_property
    def moves(self) -> dict[View, tuple[str, int]]:
        """How each view is made: ("shl", n) and ("lshr", n) where no wanted bit wraps, else ("rotate", n) to the left."""
        wanted: dict[View, int] = {}
        for pair in self.pairs:
            for view in pair.views:
                wanted[view] = wanted.get(view, 0) | self.mask(pair)
        return {view: move(view[1], mask, self.lane) for view, mask in wanted.items()}

    def apply(self, words: Array) -> Array:
        """What each pair's instructions give: u32 [..., pairs] of u32 [..., words]."""
        made = {view: moved(words[..., view[0]], *move) for view, move in self.moves.items()}
        out = np.empty((*words.shape[:-1], len(self.pairs)), np.uint32)
        for j, pair in enumerate(self.pairs):
            out[..., j] = np.bitwise_xor.reduce([made[v] for v in pair.views]) & np.uint32(self.mask(pair))
        return out

    def unpack(self, words: Array) -> Array:
        patterns = self.apply(words)
        codes = np.empty((*patterns.shape, len(self.lanes)), np.uint8)
        together = self.bits - self.floating
        for j, pair in enumerate(self.pairs):
            first, top = self.places(pair)[0], self.places(pair)[-1]
            for lane in self.lanes:
                code = patterns[..., j] >> np.uint32(first + lane) & np.uint32((1 << together) - 1)
                if self.floating:
                    code |= (patterns[..., j] >> np.uint32(top + lane) & np.uint32(1)) << np.uint32(together)
                codes[..., j, lane // self.lane] = code
        return codes.reshape(*patterns.shape[:-1], -1)


class Nibbles(Linear):
    """Eight indices of 4 bits in a word, as byte permutations want them: bits 0 to 2 of each in its nibble, the selector of a lookup among
    eight; bit 3 of weights 0 to 3 on top of bytes 0 to 3, where it spreads over the byte, and that of weights 4 to 7 four bits below."""

    bits = 4

    @property
    def words(self) -> int:
        return 1

    def unpack(self, words: Array) -> Array:
        n = np.arange(8)
        low = words >> (4 * n).astype(np.uint32) & np.uint32(7)
        top = words >> np.where(n < 4, 8 * n + 7, 8 * n - 29).astype(np.uint32) & np.uint32(1)
        return (low | top << np.uint32(3)).astype(np.uint8)


def move(rotation: int, mask: int, lane: int) -> tuple[str, int]:
    """How the bits of a mask come out of a word that is rotated to the left, within lanes that the mask treats alike, or as a whole."""
    lowest, highest = (mask & -mask).bit_length() - 1, mask.bit_length() - 1
    if lowest >= rotation:
        return "shl", rotation
    if highest + lane - rotation < WORD:
        return "lshr", lane - rotation
    return "rotate", rotation


def moved(word: Array, move: str, by: int) -> Array:
    """A view of a word."""
    if move == "lshr":
        return word >> np.uint32(by)
    left = word << np.uint32(by)
    return left | word >> np.uint32(WORD - by) if move == "rotate" and by else left


@cache
def program(element: DType, to: DType) -> Program | None:
    """The program of a type for `to` (f16, bf16, or one of 8 bits), if it has one: integers of 1 to 8 bits, and floats whose exponents `to` has."""
    floating = isinstance(element, Float) and element.bits <= 8
    name = f"e{element.exponent_bits}m{element.mantissa_bits}" if floating else f"int{element.bits}"
    if (name, form(to)) not in _lines() or not (floating or element.is_int):
        return None
    if to.bits == BYTE and not floating and element.is_signed != to.is_signed * to.is_int:
        return None  # a byte has no place for an offset
    return read(_lines()[name, form(to)], element.bits, floating, to, element.mantissa_bits)


@cache
def plain(bits: int, to: DType) -> Program:
    """The program of unsigned integers: of codes, whatever they mean."""
    return read(_lines()[f"int{bits}", "int8" if to.bits == BYTE else form(to)], bits, False, to)


def form(to: DType) -> str:
    """What programs for a type are called."""
    return {"uint8": "int8", "float8_e4m3": "e4m3", "float8_e5m2": "e5m2"}.get(str(to), str(to))


def read(text: str, bits: int, floating: bool, to: DType, mantissa_bits: int = 0) -> Program:
    """A program from its line."""
    pairs = []
    for item in text.split():
        views, _, shift = item.partition("@")
        parts = [v.partition("<") for v in views.split("^")]
        pairs.append(Pair(tuple((int(word), int(rotation or 0)) for word, _, rotation in parts), int(shift or 0)))
    return Program(bits, tuple(pairs), floating, to.mantissa_bits if to.is_float else 0, mantissa_bits, to.bits)


@lru_cache(maxsize=1)
def _lines() -> dict[tuple[str, str], str]:
    found = {}
    for line in PROGRAMS.replace("\n    ", " ").strip().splitlines():  # an indented line goes on
        head, _, text = line.partition(": ")
        name, to = head.split()
        found[name, to] = text
    return found


PROGRAMS = """
int1 f16: 0@5 0@8 0@2 0<9@8 0@0 0<9@2 0<9@6 0@1 0<9@7 0@7 0<9@3 0@6 0<9@5 0@4 0<9@4 0@3
int1 bf16: 0@4 0<8@4 0@5 0<8@1 0@2 0@1 0<8@2 0@3 0<8@7 0@6 0<8@0 0<8@6 0<8@3 0@7 0@0 0<8@5
int2 f16: 0@2 0<8@6 0@6 0<8@4 0@4 0<8@0 0@0 0<8@2
int2 bf16: 0@0 0@6 0<8@6 0<8@4 0@4 0<8@0 0@2 0<8@2
int3 f16: 0@2 0@8 0<7@2 0<7@6 0^1@5 1@0 0<7^1<11@5 1<11@0 1<11@3 1<11@8 1^2@3 2@2 2@6 0<7^2<7@6 2<7@0 2<7@3
int3 bf16: 0@0 0@5 0^0<7@3 0<8@0 0<8^1@5 1@0 1@3 1<8@5 0<8^1<10@2 0<8^1<10@5 0<7^2@0 2@2 2@5 1<8^2<8@0 2<8@2 2<8@5
int4 f16: 0@4 0<8@4 0@0 0<8@0
int4 bf16: 0@0 0<8@4 0@4 0<8@0
int5 f16: 0@0 0<8@0 0^1@3 1@5 1<7@5 2@6 2<5@0 2<5@6 1<7^3@1 3@0 3<10@0 3<10@5 0<8^4@3 4@5 2<5^4<7@5 4<7@1
int5 bf16: 0<13@2 1^2@1 0<7^2<3@3 1<11^2<3@3 1^2<7@3 0^2<11@0 0<7^2<11@2 1^3@3 0<7^3<8@0 1^3<8@0 3<8@3 3^4@0 2<7^4<8@2 0^4<14@0 1<5^4<14@2 4<5^4<14@3
int6 f16: 0@3 0^1@5 1<4^1<10@5 1<10@3 2@3 0<8^2<3@5 0<8^2<7@3 2<7@0
int6 bf16: 0@0 0<8@2 0<8^1@0 0<8^2@2 1<4^2@0 0^2<4@2 1<10^2<4@0 0^2<10@2
int7 f16: 0@2 0<7@2 1@2 1<7@1 1^2<4@1 2<10@1 3@3 3<8@2 0^4@4 2^4@0 4<10@3 1^5@3 3<8^5<11@4 6@1 5<6^6<10@2 6<10@4
int7 bf16: 0^0<7@0 1<7^1<14@1 1<7^2<7@1 2<7^3<10@1 0<7^4@0 1<7^4@1 2<10^4<8@1 0<12^5@1 1^5@0 2^5<8@1 4<8^5<8@0 3<4^6@1 5<8^6@0 6@0 3^6<8@1 5^6<8@0
int8 f16: 0<8@0 0@0
int8 bf16: 0<8@0 0@0
e1m1 f16: 0 0<4 0<13 1 0<6^1<4 0<12^1<6 0<2^1<8 1<9 1<13 2 0<9^2<3 0<12^2<4 1<1^2<6 2<3^2<7 0<4^2<9 2<12
e1m1 bf16: 0<4 0<1^0<6 0<7 0<4^1 0<9^1<3 0<12^1<5 1<11 0^1<14 1<10^2 0<3^2<3 1<1^2<6 1<6^2<9 1<3^2<10 1<11^2<13 2<11^2<15 2<15
e2m0 f16: 0<3 1 0<13^1<1 0<7^1<2 1<3 0<2^1<7 1<9 2 1<10^2<2 0<2^2<3 0<9^2<4 0^2<7 2<7 0<10^2<10 2<10 2<10^2<13
e2m0 bf16: 0<6 0<10^0<12 0<12 1^1<5 0^1<7 0<4^1<9 0<6^1<13 1<3^2 0<1^2<1 0<15^2<2 1<15^2<2 0<12^2<3 1<2^2<5 2<6^2<8 2<8 0<5^2<13
e1m2 f16: 0<8 0<12 0<4 0
e1m2 bf16: 0<13 0<2 0<3^0<7 0^0<4
e2m1 f16: 0<6 0<9 0^0<13 0^0<2
e2m1 bf16: 0^0<2 0<6 0<10 0<2^0<12
e3m0 f16: 0<1 0<10 0^0<7 0<2^0<4
e3m0 bf16: 0<2 0<13 0^0<7 0<1^0<4
e1m3 f16: 0<12 1 1^1<4 0^1<12 0<4^2 0<7^2<7 1<13^2<11 0<4^3 0<7^3<5 2<4^3<9 2<6^3<9 1^3<13 2<6^4 1<12^4<4 1^4<9 1<7^4<13
e1m3 bf16: 0^1 0<9^1<10 0<12^1<15 1<10^2 1^2<12 1<6^3 1^3<4 2<8^3<4 0^3<8 3<12 0<4^4 2<12^4 1<4^4<3 2<4^4<3 0<9^4<7 3^4<12
e2m2 f16: 1<4 0<1^1<8 0^1<13 2 0<9^2<5 0^2<8 0<9^2<13 0<7^3 0<1^3<5 1^3<8 2<13^3<8 1<4^4 0<11^4<4 3<13^4<4 2^4<8 0<3^4<13
e2m2 bf16: 0 0<4^1 0<4^1<4 1<8^2 0<12^2<4 0^3 3<4 0<4^3<8 2<1^3<8 2<11^3<8 2<6^3<12 0<8^4 2<6^4<1 1<12^4<5 1<8^4<10 1<12^4<14
e3m1 f16: 0<4 0<8^1<9 0<8^1<13 1^2 2<9^2<14 2<3^3 3<4^3<5 0<12^3<9 2^3<9 1<2^3<13 3<4^4 2<14^4<4 0^4<8 1<7^4<8 1<7^4<12 2<6^4<12
e3m1 bf16: 0^1<3 0<4^1<4 1^1<4 0<12^1<9 1<9^1<14 1^2 2<8 1<9^2<12 2<4^3<4 3^3<7 3<5^4 3<10^4 0<8^4<4 3<7^4<4 0<8^4<8 2<12^4<12
e4m0 f16: 0<12 0^1<7 0<4^1<15 1^2<4 2^2<8 0<4^2<12 0<8^2<12 1<6^3<8 1<9^3<8 2^3<12 2<12^4 2<8^4<7 3^4<9 3<4^4<9 4<6^4<9 1^4<15
e4m0 bf16: 0 0<4 1<4^1<9 1<13 0<9^1<15 0<13^2 2<9^2<13 2<4^3 2<9^3 2^3<4 1<4^3<9 1^3<13 0<4^4 4<4 2<15^4<9 3<9^4<13
e1m4 f16: 0<4 0<9^1<1 1^1<6 0<9^1<13 0^2 1^2<1 2<6 0<14^2<12
e1m4 bf16: 0^0<6 0<8 0<13^1<5 1^1<10 1<7^2 1<5^2<4 2<8 1^2<12
e2m3 f16: 0 0<5^1 0<9^1<6 1<6^1<11 1<5^2<1 2<6 0<12^2<11 2^2<11
e2m3 bf16: 0<9 0^0<5 1<14 1^1<10 2<12 2^2<6 1<4^0<5 2<7^0<13
e3m2 f16: 0<8 1<3^1<6 0^1<11 0<14^1<11 2^2<2 0<6^2<5 0<6^2<10 1^2<10
e3m2 bf16: 0 0<11 0<5^1<6 0<5^1<13 2 2<5 1^2<11 1<11^2<11
e4m1 f16: 0^0<6 0<9 0<1^1<4 0<1^1<15 1<9^2 2<5 1^2<9 0<6^2<14
e4m1 bf16: 0<4 0<9^1<1 1^1<6 0<9^1<13 0^2 1^2<1 2<6 0<14^2<12
e5m0 f16: 0<6 0<12 1 1<10 2 2<8 2<6^0 2<14^1<4
e5m0 bf16: 0 0<5^1 0<9^1<6 1<6^1<11 1<5^2<1 2<6 0<12^2<11 2^2<11
e1m5 f16: 2 0<4^2<7 0<9^3<8 3^4 3<14^4<5 0^4<11 4<11^5 4^5<6 2<11^5<12 0<2^6 1^6 1<12^6 4<5^6<6 1<5^6<11 3<2^6<11 5<12^6<11
e1m5 bf16: 0 1<15^2<11 0<6^3 0<10^3 0<10^3<5 1<12^3<10 2<6^4 2<6^4<6 3^4<12 3<10^5 1<15^5<6 1<6^5<12 2^5<12 1^6 2<6^6<5 1<6^6<11
e2m4 f16: 0^0<5 1<3 0^2 0<11^2<7 1<9^4 2<10^4 1<9^4<6 0^1^1<3^4<12 3^4<12 1<9^5 0<11^5<3 2<7^5<9 3<6^6 3<12^6 3<6^6<3 5<9^6<9
e2m4 bf16: 0<6 0<12^1<6 1^2 0<12^2<3 1<9^2<8 1^3 1^3<10 2<8^4 0^4<10 4<5^4<10 2<11^5<3 3<6^5<3 5^5<10 4<10^6 5<10^6<3 4<10^6<10
e3m3 f16: 0<10 0^1<3 1<10 1^2<10 3<6 1<4^2<5^3<12 0<6^4 1^4<11 1<3^5 3<12^5<10 0<6^6 3^6 4<5^6<6 5<5^6<6 2^6<10 3<6^6<10
e3m3 bf16: 0<2^1 0^1<10 0^2<10 0<14^3 2^3<10 1<5^4 3<10^4<7 2<6^4<9 3<4^4<12 0<8^2<10^5 1<5^5 4<9^5<6 0<14^5<10 2<6^6 3<10^6<4 4<12^6<11
e4m2 f16: 2 0^2<6 1<6^2<10 1<6^3<10 3<5^4 0^4<4 0<11^4<4 3^4<6 2<10^4<12 1<11^5<10 5<6^5<10 0<6^6 1^6<4 5^6<4 6^6<4 6<10
e4m2 bf16: 0<11 1^1<12 1<12^2<2 0<6^2<9 2<9^2<13 1<5^3 3^4 3<4^4<5 2^4<11 0<11^5 5<5^5<12 4<5^6 3<10^6<2 5<5^6<2 0^2<9^4<5^6<8 1<5^6<10
e5m1 f16: 1^1<6 0^1<9 2<2^2<9 0<10^3<7 3^3<7 1^3<13 1^2<9^4 4^4<9 0^5 3^5<7 4<5^5<7 0^5<9 2^5<9 0<3^6 3<13^6<2 6<9
e5m1 bf16: 0^0<5 1<3 0^2 0<11^2<7 1<9^4 2<10^4 4<6 0^1^4<12 3^4<12 1<9^5 2<7^5<3 2<7^5<9 3<12^6 3<6^6<3 6^6<3 5<9^6<9
e1m6 f16: 0<8 0^0<4
e1m6 bf16: 0<1 0^0<10
e2m5 f16: 0 0<8^0<3
e2m5 bf16: 0<2 0^0<10
e3m4 f16: 0<6 0^0<12
e3m4 bf16: 0<3 0^0<11
e4m3 f16: 0 0<7^0<1
e4m3 bf16: 0 0<4^0<8
e5m2 f16: 0<8 0
e5m2 bf16: 0 0<8^0<3
int1 int8: 0<6@7 0<1@7 0<4@7 0@7 0<5@7 0<3@7 0<2@7 0<7@7
int2 int8: 0<4@6 0<2@6 0@6 0<6@6
int3 int8: 0<5@5 0@5 1@5 1<3@5 2<3@5 2@5 1<6^2<5@5 0<2^2<6@5
int4 int8: 0@4 0<4@4
int5 int8: 0<5@3 1@3 2@3 3<3@3 4<5@3 1<2^2<5^3<6^4<2@3 0^1<6@3 1<2^2<5^4@3
int6 int8: 0@2 1@2 2<6@2 0<4^1<6^2@2
int7 int8: 0<7@1 1<5@1 2@1 3@1 4@1 5@1 6<3@1 0^1^2<2^3<4^4<7^5<6^6^6<3@1
int8 int8: 0@0
int1 e4m3: 0<6@3 0<1@3 0<4@3 0@3 0<5@3 0<3@3 0<2@3 0<7@3
int2 e4m3: 0<4@2 0<2@2 0@2 0<6@2
int3 e4m3: 0<5@1 0@1 1@1 1<3@1 2<3@1 2@1 1<6^2<5@1 0<2^2<6@1
int4 e4m3: 0@0 0<4@0
e1m1 e4m3: 0<5 0^0<6 1<2 1 2<3 2<2^2<4 0<6^2 0<2^1<3^1<5
e2m0 e4m3: 0<1 0<4^0<6 1<7 1^1<6 2<2 2 0^2<5 1<2^2<7
e1m2 e4m3: 0<5 0^0<2
e2m1 e4m3: 0<6 0^0<2
e3m0 e4m3: 0<5 0^0<2
e1m3 e4m3: 0<5 1 2 3<3 4<5 1<2^2<5^3<6^4<2 0^1<6 1<2^2<5^4
e2m2 e4m3: 0<4 1<6 2<4 3<3 4 1<1^2^4<7 1^3^3<6^4<7 0^1<1^2<6^4<5
e3m1 e4m3: 0<3 1 2<7 3 4 0<4^1<4^3<1^4<3 0^1<4^2<6 0<4^2^3<4^4<5
e4m0 e4m3: 0<5 1 2 3<3 4<5 1<2^2<5^3<6^4<2 0^1<6 1<2^2<5^4
e2m3 e4m3: 0 1 2<6 0<4^1<6^2
e3m2 e4m3: 0 1 2<1 0<3^1<4^2
e4m1 e4m3: 0 1 2<6 0<4^1<6^2
e3m3 e4m3: 0<7 1<5 2 3 4 5 6<3 0^1^2<2^3<4^4<7^5<6^6^6<3
e4m2 e4m3: 0<7 1<5 2 3 4 5 6<3 0^1^2<2^3<4^4<7^5<6^6^6<3
e4m3 e4m3: 0
e5m0 e5m2: 0 1 2<6 0<4^1<6^2
e5m1 e5m2: 0<7 1<5 2 3 4 5 6<3 0^1^2<2^3<4^4<7^5<6^6^6<3
e5m2 e5m2: 0
"""
