"""Where codes lie in words: loads say it, conversions take several codes from a word at once instead of cutting out each.

A *row* is some words of 32 bits side by side, the lowest first; a code is a field of a row. `Views` gives what conversions cut codes
with: rows turned by some bits, and words gathered of any bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilec.backend.emit import Emitter

Row = tuple[str, ...]  # i32


class Field(NamedTuple):
    """A code from bit `start` of a row."""

    row: Row
    start: int


Byte = tuple[str, int]  # of a word, and which of its four
QUAD = 4  # codes that lie in the bytes of a word


def tell(e: Emitter, names: Sequence[str], row: Row, bits: int, first: int = 0) -> None:
    """Note that these elements are the codes of `bits` bits from bit `first` of a row."""
    e.fields.update((name, Field(row, first + i * bits)) for i, name in enumerate(names))


def bytes_of(e: Emitter, kind: str, vector: str, count: int) -> Row:
    """A vector of at least 4 bytes in words, as a row; of i8 or a wider integer."""
    words = count * int(kind[1:]) // 32
    if words == 1:
        return (e.let(f"bitcast <{count} x {kind}> {vector} to i32"),)
    whole = e.let(f"bitcast <{count} x {kind}> {vector} to <{words} x i32>")
    return tuple(e.let(f"extractelement <{words} x i32> {whole}, i32 {i}") for i in range(words))


def fields_of(e: Emitter, names: Sequence[str], bits: int) -> list[Field]:
    """Where elements of `bits` bits lie, held as i8; those that nobody knows a place of are put into words in pairs.

    Rows are single words where no field lies in two.
    """
    found = {name: Field(*e.fields[name]) for name in names if name in e.fields}
    if 32 % bits == 0:
        found = {name: Field((row[start // 32],), start % 32) for name, (row, start) in found.items()}
    rest = [name for name in dict.fromkeys(names) if name not in found]
    for low, high in zip(rest[::2], [*rest[1::2], rest[-1]] if len(rest) % 2 else rest[1::2], strict=True):
        a, b = (e.let(f"zext i8 {name} to i32") for name in (low, high))
        row = (e.call("i32", "llvm.nvvm.prmt", f"i32 {a}", f"i32 {b}", "i32 21520"),)  # 0x5410: the lower half of each
        found |= {high: Field(row, 16), low: Field(row, 0)}
    return [found[name] for name in names]


def cut(e: Emitter, row: Sequence[str], start: int, bits: int) -> str:
    """The element of `bits` bits from bit `start` of a row, as an i8."""
    word, shift = divmod(start, 32)
    value = e.let(f"lshr i32 {row[word]}, {shift}") if shift else row[word]
    if shift + bits > 32:
        value = e.let(f"or i32 {value}, {e.let(f'shl i32 {row[word + 1]}, {32 - shift}')}")
    code = e.let(f"trunc i32 {value} to i8")
    return e.let(f"and i8 {code}, {(1 << bits) - 1}") if bits < 8 else code


def words_of(e: Emitter, names: Sequence[str], bits: int) -> Row:
    """The whole words that these elements of `bits` bits fill if put side by side, if they lie so in some row already; else none."""
    first = e.fields.get(names[0])
    if first is None or first.start % 32 or len(names) * bits % 32:
        return ()
    if any(e.fields.get(name) != (first.row, first.start + i * bits) for i, name in enumerate(names)):
        return ()
    return first.row[first.start // 32 :][: len(names) * bits // 32]  # type: ignore[no-any-return]


class Codes(NamedTuple):
    """How a thread's elements of `bits` bits come as rows of `run`: what merges where paths of a kernel meet are words, not elements."""

    e: Emitter
    run: int
    bits: int

    def words(self, names: Sequence[str]) -> list[str]:
        """The words of all rows; those of elements that lie in none are put together."""
        return [w for first in range(0, len(names), self.run) for w in self.row(names[first : first + self.run])]

    def row(self, names: Sequence[str]) -> Row:
        row: Row = self.e.fields[names[0]].row if names[0] in self.e.fields else ()
        words = ["0"] * -(-self.run * self.bits // 32)
        if kept := words_of(self.e, names, self.bits):
            return kept
        if len(row) == len(words) and all(self.e.fields.get(name) == (row, i * self.bits) for i, name in enumerate(names)):
            return row
        for i, name in enumerate(names):
            word, start = divmod(i * self.bits, 32)
            wide = self.e.let(f"zext i8 {name} to i32")
            low = self.e.let(f"shl i32 {wide}, {start}") if start else wide
            words[word] = low if words[word] == "0" else self.e.let(f"or i32 {words[word]}, {low}")
            if start + self.bits > 32:
                words[word + 1] = self.e.let(f"lshr i32 {wide}, {32 - start}")
        return tuple(words)

    def elements(self, words: Sequence[str]) -> list[str]:
        """The elements of all rows, from their words."""
        size = -(-self.run * self.bits // 32)
        return [name for first in range(0, len(words), size) for name in self.cut(tuple(words[first : first + size]))]

    def cut(self, row: Row) -> list[str]:
        """The elements of a row, which know that they are."""
        names = [cut(self.e, row, i * self.bits, self.bits) for i in range(self.run)] if self.bits < 8 else self.bytes(row)
        tell(self.e, names, row, self.bits)
        return names

    def bytes(self, row: Row) -> list[str]:
        words, count = len(row), 4 * len(row)
        whole = self.e.let(f"bitcast {'i32' if words == 1 else f'<{words} x i32>'} {row[0] if words == 1 else self.e.join('i32', row)} to <{count} x i8>")
        return self.e.split("i8", whole, count)


class Views:
    """Words made of rows, each once."""

    def __init__(self, e: Emitter):
        self.e = e
        self.made: dict[object, str] = {}

    def turned(self, row: Row, by: int, word: int) -> str:
        """Word `word` of a row that is turned right by -31 to 31 bits as a whole: its bit 0 is bit `32 * word + by` of the row."""
        word %= len(row)
        if by == 0:
            return row[word]
        key = (row, by, word)
        if key not in self.made:
            if by > 0:
                high, low, left = row[(word + 1) % len(row)], row[word], 32 - by
            else:
                high, low, left = row[word], row[word - 1], -by
            self.made[key] = self.e.call("i32", "llvm.fshl.i32", f"i32 {high}", f"i32 {low}", f"i32 {left}")
        return self.made[key]

    def gather(self, wanted: Sequence[Byte | None]) -> str:
        """A word of four bytes, from any words; None may be anything."""
        sources = list(dict.fromkeys(b[0] for b in wanted if b))
        first = sources[0]
        if all(b is None or b == (first, i) for i, b in enumerate(wanted)):
            return first
        key = tuple(wanted)
        if key not in self.made:
            two = sources[:2]
            second = two[-1]
            choice = sum((i if b is None else b[1] + 4 * (b[0] != first) if b[0] in two else i) << 4 * i for i, b in enumerate(wanted))
            word = self.prmt(first, second, choice)
            rest = [b if b is None or b[0] not in two else (word, i) for i, b in enumerate(wanted)]
            self.made[key] = word if len(sources) <= 2 else self.gather(rest)
        return self.made[key]

    def prmt(self, a: str, b: str, choice: int) -> str:
        """Four of the eight bytes of two words, a nibble of `choice` for each; 8 more to spread a byte's top bit."""
        return self.e.call("i32", "llvm.nvvm.prmt", f"i32 {a}", f"i32 {b}", f"i32 {choice}")

    def lop3(self, a: str | int, b: str | int, c: str | int, function: str) -> str:
        """A bitwise function of three words, in Python's notation, as one instruction, which the assembler would make two of for two constants."""
        table = eval(function, {}, {"a": 0xF0, "b": 0xCC, "c": 0xAA}) & 0xFF
        operands = [f"${1 + i}" for i in range(3)]
        return self.e.asm("i32", f"lop3.b32 $0, {', '.join(operands)}, {table};", "=r,r,r,r", *(f"i32 {x}" for x in (a, b, c)))


# Codes in the bytes of words, and side by side


def quads_of(e: Emitter, names: Sequence[str]) -> list[str]:
    """Words that hold four elements each, held as i8, in their bytes, with anything above their bits."""
    quads = []
    for first in range(0, len(names), QUAD):
        four = names[first : first + QUAD]  # fewer at the end
        known = e.fields.get(four[0])
        if known and all(e.fields.get(name) == (known.row, known.start + 8 * i) for i, name in enumerate(four)) and known.start % 32 == 0:
            quads.append(known.row[known.start // 32])
            continue
        wide = [e.let(f"zext i8 {name} to i32") for name in four]
        views = Views(e)
        quads.append(views.gather([(w, 0) for w in wide]))
    return quads


def packed_words(e: Emitter, quads: Sequence[str], bits: int) -> list[str]:
    """Words of elements side by side, from words with one in each byte."""
    if bits == 8:
        return list(quads)
    views = Views(e)
    words = ["0"] * -(-len(quads) * QUAD * bits // 32)
    for i, quad in enumerate(quads):
        chunk = close(e, views, quad, bits)
        word, start = divmod(i * QUAD * bits, 32)
        add(e, words, word, chunk, start)
        if start + QUAD * bits > 32:
            add(e, words, word + 1, chunk, start - 32)
    return words


def close(e: Emitter, views: Views, quad: str, bits: int) -> str:
    """Fields of 8 bits, of which the low ones count, moved together: two steps, of neighbours and of pairs of them."""
    field = (1 << bits) - 1
    pairs = views.lop3(quad, e.let(f"lshr i32 {quad}, {8 - bits}"), field * 0x00010001, "a & c | b & ~c")
    both = (1 << 2 * bits) - 1
    joined = views.lop3(pairs, e.let(f"lshr i32 {pairs}, {16 - 2 * bits}"), both, "a & c | b & ~c")
    return e.let(f"and i32 {joined}, {(1 << 4 * bits) - 1}")


def add(e: Emitter, words: list[str], word: int, chunk: str, start: int) -> None:
    moved = e.let(f"shl i32 {chunk}, {start}") if start > 0 else e.let(f"lshr i32 {chunk}, {-start}") if start else chunk
    words[word] = moved if words[word] == "0" else e.let(f"or i32 {words[word]}, {moved}")
