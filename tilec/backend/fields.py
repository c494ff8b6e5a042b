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
            word = self.e.call("i32", "llvm.nvvm.prmt", f"i32 {first}", f"i32 {second}", f"i32 {choice}")
            rest = [b if b is None or b[0] not in two else (word, i) for i, b in enumerate(wanted)]
            self.made[key] = word if len(sources) <= 2 else self.gather(rest)
        return self.made[key]

    def lop3(self, a: str | int, b: str | int, c: str | int, function: str) -> str:
        """A bitwise function of three words, in Python's notation, as one instruction, which the assembler would make two of for two constants."""
        table = eval(function, {}, {"a": 0xF0, "b": 0xCC, "c": 0xAA}) & 0xFF
        operands = [f"${1 + i}" for i in range(3)]
        return self.e.asm("i32", f"lop3.b32 $0, {', '.join(operands)}, {table};", "=r,r,r,r", *(f"i32 {x}" for x in (a, b, c)))
