"""Shared tiles of types that fill no bytes: elements lie bit by bit one after another, and a slice may begin at any bit.

A thread whose elements fill whole words, at whole words, loads and stores these. What does not is cut from the bytes that hold it, and put back by
atomics on words, as neighbours may have other writers; so plain stores of bytes that are no words would not do beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tilec.backend.addresses import SharedAccess
from tilec.backend.fields import Codes
from tilec.backend.llvm import Generator, Registers, registers_of
from tilec.backend.memory import SHARED, WORD, bits_from, bits_to, first_holder, i32_add, load_words, store_words_where
from tilec.errors import Loc
from tilec.ir.notes import explain_width
from tilec.ir.types import TileType

MOST = 128  # bits of a vector, or the least number of words that elements fill


class PackedAccess(SharedAccess):
    """The addresses of one access, in bits from the start of shared memory."""

    @property
    def run(self) -> int:
        """Elements that fill whole words and begin at whole ones, as few words as do, but up to 16 bytes; 1 if there are none."""
        return whole_words(math.gcd(*self.limits.values()), self.memory.item_bits)

    def explain(self, loc: Loc | None) -> None:
        explain_width(loc, self.run, self.memory.item_bits, self.limits)

    def element(self, register: int) -> str:
        """The place of a register's element among those of the tile."""
        line = i32_add(self.g, self.line(), self.constant(register))
        return line if self.memory.layout.swizzle is None else self.swizzled(line)  # type: ignore[union-attr]

    def bytes_of(self, element: str) -> str:
        """The bytes before an element that begins with one, as those at `address` do: runs of whole words."""
        if element.isdigit():
            return str(int(element) * self.memory.item_bits // 8)
        return self.g.e.let(f"lshr exact i32 {self.g.e.let(f'mul nuw nsw i32 {element}, {self.memory.item_bits}')}, 3")

    def first_byte(self) -> str:
        if "start" not in self.memo:
            self.memo["start"] = str(int(self.start) // 8) if self.start.isdigit() else self.g.e.let(f"lshr exact i32 {self.start}, 3")
        return self.memo["start"]

    def bit(self, element: str) -> str:
        """The bit at which an element begins."""
        bits = self.memory.item_bits
        at = str(int(element) * bits) if element.isdigit() else self.g.e.let(f"mul nuw nsw i32 {element}, {bits}")
        return i32_add(self.g, self.start, at)

    def byte(self, bit: str, more: int = 0) -> str:
        """A pointer to the byte that a bit is in, or to a later one."""
        g = self.g
        return g.e.let(f"getelementptr i8, ptr addrspace(3) @shared, i32 {i32_add(g, g.e.let(f'lshr i32 {bit}, 3'), more)}")

    def word(self, bit: str, more: int = 0) -> str:
        """A pointer to the word of 32 bits that a bit is in, or to a later one."""
        g = self.g
        return g.e.let(f"getelementptr i32, ptr addrspace(3) @shared, i32 {i32_add(g, g.e.let(f'lshr i32 {bit}, 5'), more)}")

    def load(self, element: str, condition: str) -> str:
        """One element, an i8; 0 where the condition is false."""
        bit = self.bit(element)
        shift = self.g.e.let(f"and i32 {bit}, 7")
        return bits_from(self.g, [self.byte(bit), self.byte(bit, 1)], shift, self.memory.item_bits, condition, SHARED)

    def store(self, element: str, value: str, condition: str) -> None:
        """One element, by atomics."""
        bit = self.bit(element)
        shift = self.g.e.let(f"and i32 {bit}, 31")
        bits_to(self.g, [self.word(bit), self.word(bit, 1)], shift, self.memory.item_bits, value, condition, SHARED)


def whole_words(limit: int, bits: int, unit: int = WORD) -> int:
    """The largest power of two of elements that divides the limit, fills whole units, and takes no more of them than it must or 16 bytes; else 1."""
    run = limit & -limit
    least = unit // math.gcd(unit, bits)
    while run > least and run * bits > MOST:
        run //= 2
    return run if run * bits % unit == 0 else 1


def load_packed(g: Generator, access: PackedAccess, type: TileType) -> Registers:
    """The registers of a tile of this type."""
    bits, run = type.dtype.bits, access.run
    if run == 1:
        return [access.load(access.element(r), access.inside(r)) for r in range(registers_of(type))]
    codes, out = Codes(g.e, run, bits), []
    for register in range(0, registers_of(type), run):
        words = load_words(g, access.address(register), 4, run * bits // WORD, access.inside(register), SHARED)
        out += codes.cut(tuple(words))
    return out


def store_packed(g: Generator, access: PackedAccess, values: Registers, type: TileType) -> None:
    bits, run = type.dtype.bits, access.run
    first, codes = first_holder(g, type), Codes(g.e, run, bits)
    for register in range(0, len(values), run):
        condition = access.inside(register, first)
        if run == 1:
            access.store(access.element(register), values[register], condition)
        else:
            store_words(g, access.address(register), codes.row(values[register : register + run]), condition)


def store_words(g: Generator, address: str, words: Sequence[str], condition: str) -> None:
    """Words of 32 bits one after another, as many at once as divide their number."""
    together = math.gcd(len(words), 4)
    for first in range(0, len(words), together):
        at = address if first == 0 else g.e.let(f"getelementptr i8, ptr addrspace(3) {address}, i32 {4 * first}")
        value = words[first] if together == 1 else g.e.join("i32", words[first : first + together])
        store_words_where(g, at, 4 * together, value, condition, SHARED)
