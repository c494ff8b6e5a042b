"""From codes of up to 8 bits to f16 and bf16, two at a time: fields of words become the lanes of a register, and packed arithmetic finishes
both. What is emitted follows from the format:

    int4 -> f16        prmt, (v & 0x00F0000F) ^ 0x64806408: 1024 + 16 q and 1024 + q in the lanes; one fma with 2**-4 and 1
    float8_e4m3 -> f16 w >> 1 beside the signs of w, prmt, and, times 2**8; two more for its NaN
    nf4 -> f16         prmt looks up four bytes at once

No step rounds, so the results are exact: which recipe a type can take is found by trying all of its codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from tilec.backend.emit import Emitter, float_constant, llvm_type
from tilec.backend.fields import Byte, Field, Views, fields_of
from tilec.backend.target import Target
from tilec.ir.dtypes import Codebook, DType, Float, Int, Scale, bf16, f16, f32
from tilec.ir.ops.arith import convert

BOTH = 0x00010001  # a constant times this stands in both lanes
NIBBLES = 0x11111111
SIGNS = 0x80808080
TABLE = 4  # bits: PRMT looks up 8 entries, and two of them choose among 16

Pair = tuple[Field, Field]


def unpacks(source: DType, target: DType) -> bool:
    """Whether a cast goes this way."""
    if isinstance(source, Codebook):
        return source.bits <= TABLE and (target in (f16, bf16) or (target == f32 and any(exact_in(source, t) for t in (f16, bf16))))
    return source.bits <= 8 and not source.is_bool and target in (f16, bf16, f32)


def unpack(e: Emitter, names: Sequence[str], source: DType, target: DType, machine: Target) -> list[str]:
    """The elements called `names` of type `source`, held as i8, as `target`: f16, bf16 or f32."""
    kind = llvm_type(target)
    if target == f32:
        exact = f16 if exact_in(source, f16) else bf16
        halves = unpack(e, names, source, exact, machine)
        return [e.let(f"fpext {llvm_type(exact)} {h} to float") for h in halves]
    fields = fields_of(e, names, source.bits)
    pairs = list(zip(fields[::2], [*fields[1::2], fields[-1]] if len(fields) % 2 else fields[1::2], strict=True))
    vectors = Lanes(e, source, target, machine).convert(pairs)
    return [name for vector in vectors for name in e.split(kind, vector, 2)][: len(names)]


@lru_cache(None)
def exact_in(source: DType, target: DType) -> bool:
    """Whether `target` has all values of `source`."""
    values = source.decode(np.arange(1 << source.bits))
    with np.errstate(all="ignore"):
        return np.array_equal(target.round(values), values, equal_nan=True)


# Floats: which bits of the code are in their place, and what a multiplication makes of them


class Placed(NamedTuple):
    """A float of few bits in a lane of 16: its magnitude from bit `low`, its sign `gap` bits below bit 15, and what it is multiplied by."""

    low: int
    gap: int
    scale: float

    @staticmethod
    def of(t: DType, target: DType) -> Placed:
        low = target.mantissa_bits - t.mantissa_bits
        return Placed(low, 16 - low - t.bits, 2.0 ** (target.bias - t.bias))


@lru_cache(None)
def placeable(t: DType, target: DType) -> str:
    """Whether the bits in their place, scaled, are the value: "plain"; "probe" if all but NaN are and NaN exceeds all; else ""."""
    if not isinstance(t, Float) or t.exponent_bits > target.exponent_bits:
        return ""
    codes = np.arange(1 << t.bits)
    place = Placed.of(t, target)
    magnitude = codes & ((1 << t.bits - 1) - 1)
    bits = (codes >> t.bits - 1 << 15 | magnitude << place.low).astype(np.uint16)
    with np.errstate(all="ignore"):
        got = target.round(target.decode(bits) * place.scale)
        want = target.round(convert(t.decode(codes), t, target))
    same = (got == want) & (np.signbit(got) == np.signbit(want)) | np.isnan(got) & np.isnan(want)
    if same.all():
        return "plain"
    return "probe" if np.isnan(want[~same]).all() and np.abs(got[~same]).min() > np.nanmax(np.abs(want)) else ""


@lru_cache(None)
def probe(t: Float, target: DType) -> float:
    """A factor by which the largest number stays finite in `target`, while what stands for NaN does not."""
    place = Placed.of(t, target)
    beyond = float(target.decode(np.array([(1 << t.bits - 1) - 1 << place.low], np.uint16))[0]) * place.scale
    exponent = int(np.floor(np.log2(target.max / t.max)))
    factors = (2.0**exponent * (1 + i / 8) for i in range(8))
    return next(f for f in factors if t.max * f <= target.max and np.isinf(target.round(beyond * f)))


# Integers: the bits anywhere in the mantissa


@lru_cache(None)
def turns(residues: frozenset[int], most: int) -> dict[int, int]:
    """By how many bits to turn what begins at bit `r` of a byte so that it begins at bit `most` or below: the fewest different turns."""
    for count in range(9):
        for chosen in combinations(range(1, 8), count):
            found = {r: next((k for k in (0, *chosen) if (r - k) % 8 <= most), None) for r in residues}
            if None not in found.values():
                return found  # type: ignore[return-value]
    raise AssertionError


# native conversions to f16x2 by the types that they take, and what a target has if it has them
NATIVE = {f"float8_{f}": (f"{f}x2.to.f16x2.rn", "cvt_fp8") for f in ("e4m3",)}
NATIVE |= {f"float{b}_{f}": (f"{f}x2.to.f16x2.rn", "cvt_fp6_fp4") for b, f in ((4, "e2m1"), (6, "e2m3"), (6, "e3m2"))}


def has_native(t: DType, machine: Target) -> bool:
    return str(t) in NATIVE and machine.has(NATIVE[str(t)][1])


class Lanes:
    """Pairs of codes of one type to vectors of two of another."""

    def __init__(self, e: Emitter, source: DType, target: DType, machine: Target):
        self.e, self.t, self.target, self.machine = e, source, target, machine
        self.views = Views(e)
        self.vector = f"<2 x {llvm_type(target)}>"

    def convert(self, pairs: Sequence[Pair]) -> list[str]:
        """The vectors, by the first recipe that serves."""
        t, target = self.t, self.target
        if has_native(t, self.machine) and target == f16:
            return [self.native(p) for p in pairs]
        if has_native(t, self.machine) and placeable(t, target) != "plain":
            return self.by_way_of(f16, pairs)
        if isinstance(t, Int):
            return self.integers(pairs)
        if isinstance(t, Scale) and target == bf16:
            return [self.scale(p) for p in pairs]
        if isinstance(t, Codebook) or t.bits == TABLE or (t.bits < TABLE and target == f16):
            return Table(self).look_up(pairs)
        if placeable(t, target):
            return self.floats(pairs)
        return self.by_way_of(bf16 if target == f16 else f16, pairs)

    def by_way_of(self, other: DType, pairs: Sequence[Pair]) -> list[str]:
        """Where the target lacks exponents: the other type of 16 bits has all of the values, and f32 all of both."""
        wide = f"<2 x {llvm_type(other)}>"
        vectors = Lanes(self.e, self.t, other, self.machine).convert(pairs)
        return [self.e.let(f"fptrunc <2 x float> {self.e.let(f'fpext {wide} {v} to <2 x float>')} to {self.vector}") for v in vectors]

    # emission

    def op(self, operation: str, x: str, y: int | str) -> str:
        return self.e.let(f"{operation} i32 {x}, {y}")

    def lanes(self, word: str) -> str:
        return self.e.let(f"bitcast i32 {word} to {self.vector}")

    def constant(self, low: float, high: float | None = None) -> str:
        kind = llvm_type(self.target)
        return "<" + ", ".join(f"{kind} {float_constant(x, str(self.target))}" for x in (low, low if high is None else high)) + ">"

    def multiply(self, x: str, y: float) -> str:
        return x if y == 1 else self.e.let(f"fmul {self.vector} {x}, {self.constant(y)}")

    def fma(self, x: str, y: str, z: str) -> str:
        return self.e.call(self.vector, f"llvm.fma.v2{self.target}", *(f"{self.vector} {v}" for v in (x, y, z)))

    # integers

    def integers(self, pairs: Sequence[Pair]) -> list[str]:
        """As many bits of the mantissa as the integer needs, under an exponent that makes its last place 1; or, if the mantissa has too few, those
        above zero, of which the exponent's last bit is one: subnormal numbers and the first normal ones are one scale."""
        t, m = self.t, self.target.mantissa_bits
        residues = frozenset(f.start % 8 for p in pairs for f in p)
        normal = turns(residues, m - t.bits) if m >= t.bits else None
        linear = turns(residues, m + 1 - t.bits)
        if normal is not None and len(set(normal.values())) <= len(set(linear.values())) + 1:
            return [self.integer(p, normal, True) for p in pairs]
        return [self.integer(p, linear, False) for p in pairs]

    def integer(self, pair: Pair, turn: dict[int, int], normal: bool) -> str:
        t, m, bias = self.t, self.target.mantissa_bits, self.target.bias
        by = [turn[f.start % 8] for f in pair]
        at = [(f.start - k) % 8 for f, k in zip(pair, by, strict=True)]
        word = self.views.gather([b for f, k, s in zip(pair, by, at, strict=True) for b in self.window(f, k, s, t.bits)])
        mask = sum((1 << t.bits) - 1 << s + lane for s, lane in zip(at, (0, 16), strict=True))
        exponent = (bias + m << m) * BOTH if normal else 0  # of 2**m, whose last place is 1
        offset = 1 << t.bits - 1 if t.is_signed else 0
        top = sum(offset << s + lane for s, lane in zip(at, (0, 16), strict=True))
        x = self.lanes(self.views.lop3(word, mask, exponent ^ top, "(a & b) ^ c"))
        if normal:
            factors, addends = zip(*((2.0**-s, -(2.0 ** (m - s)) - offset) for s in at), strict=True)
            return self.fma(x, self.constant(*factors), self.constant(*addends))
        rest = 2.0 ** (m - 1)  # bias + m - 1 doublings make the last place 1: too many for one factor
        factors, addends = zip(*((2.0 ** (bias - s), -offset / rest) for s in at), strict=True)
        return self.multiply(self.fma(x, self.constant(*factors), self.constant(*addends)), rest)

    def window(self, field: Field, turn: int, at: int, bits: int) -> list[Byte | None]:
        """The two bytes of a lane at whose bit `at` a field begins, of its row turned by `turn`; None where no bit of it lies."""
        first = (field.start - turn - at) // 8
        return [
            (self.views.turned(field.row, turn, (first + i) // 4), (first + i) % 4) if at < 8 * i + 8 and at + bits > 8 * i else None for i in range(2)
        ]

    # floats

    def floats(self, pairs: Sequence[Pair]) -> list[str]:
        """Magnitudes to their place by turning rows and gathering bytes; signs to theirs before that where a word has several of them."""
        t, place = self.t, Placed.of(self.t, self.target)
        assert isinstance(t, Float)
        upper = {(f.row, (f.start - place.low) % 8, self.high(f) // 4 % len(f.row)) for p in pairs for f in p}
        early = place.gap > 0 and len(upper) < len(pairs)
        vectors = []
        for pair in pairs:
            word = self.views.gather([b for f in pair for b in self.float_window(f, early)])
            sign, magnitude = 0x8000 * BOTH, ((1 << t.bits - 1) - 1 << place.low) * BOTH
            if t.bits == 8 and place.low == 8 and not place.gap:
                bits = word  # the bytes themselves above zeros
            elif early or not place.gap:
                bits = self.op("and", word, sign | magnitude)
            else:
                bits = self.op("or", self.op("and", word, magnitude), self.op("and", self.op("shl", word, place.gap), sign))
            vectors.append(self.scaled(self.lanes(bits), place.scale))
        return vectors

    def high(self, field: Field) -> int:
        """The byte of the turned row that becomes a lane's upper one."""
        low = Placed.of(self.t, self.target).low
        return (field.start - (field.start - low) % 8 - low) // 8 + 1

    def float_window(self, field: Field, early: bool) -> list[Byte | None]:
        place = Placed.of(self.t, self.target)
        turn = (field.start - place.low) % 8
        low, high = self.window(field, turn, place.low, self.t.bits)
        if low is None and self.t.bits == 8 and not place.gap:
            low = ("0", 0)
        if not early:
            return [low, high]
        at = self.high(field)
        key = ("signed", field.row, turn, at // 4 % len(field.row))
        if key not in self.views.made:
            plain, moved = (self.views.turned(field.row, k, at // 4) for k in (turn, turn - place.gap))
            self.views.made[key] = self.views.lop3(plain, moved, SIGNS, "a & ~c | b & c")
        return [low, (self.views.made[key], at % 4)]

    def scaled(self, x: str, scale: float) -> str:
        y = self.multiply(x, scale)
        if placeable(self.t, self.target) == "plain":
            return y
        assert isinstance(self.t, Float)
        over = self.multiply(y, probe(self.t, self.target))  # infinite for NaN alone, and infinity times zero is NaN
        return self.fma(over, self.constant(0.0), y)

    def scale(self, pair: Pair) -> str:
        """e8m0: the exponent of bf16, but for the least, which is subnormal there, and the largest, which is NaN."""
        word = self.views.gather([b for f in pair for b in self.window(f, (f.start - 7) % 8, 7, 8)])
        x = self.lanes(self.op("and", word, 0x7F80 * BOTH))
        x = self.e.call(self.vector, "llvm.maxnum.v2bf16", f"{self.vector} {x}", f"{self.vector} {self.constant(2.0**-127)}")
        return self.fma(x, self.constant(0.0), x)

    # native conversions

    def native(self, pair: Pair) -> str:
        """By the instruction that takes two codes from 16 bits: a byte each, or four bits of the lower one."""
        t = self.t
        low, high = pair
        if 8 % t.bits == 0 and (low.row, low.start % (2 * t.bits), low.start + t.bits) == (high.row, 0, high.start):
            half = self.half(low.row[0], low.start)
        else:
            shown = [self.window(f, f.start % 8, 0, t.bits)[0] for f in pair]
            word = self.views.gather([*shown, None, None])
            word = self.op("and", word, ((1 << t.bits) - 1) * 0x0101) if t.bits < 8 else word
            if t.bits == 4:
                word = self.op("or", word, self.op("lshr", word, 4))
            half = self.half(word, 0)
        return self.e.call(self.vector, f"llvm.nvvm.{NATIVE[str(t)][0]}", f"i16 {half}")

    def half(self, word: str, start: int) -> str:
        return self.e.let(f"trunc i32 {self.op('lshr', word, start) if start else word} to i16")


class Table:
    """Looks entries up by PRMT: the eight bytes of two registers are indexed by nibbles, four at once. Bit 3 of an index is seen apart: it
    is the sign where the upper half of the table is the lower one negated, and otherwise chooses between two lookups."""

    def __init__(self, lanes: Lanes):
        self.lanes, self.views, self.e, self.t = lanes, lanes.views, lanes.e, lanes.t
        codes = np.arange(1 << self.t.bits, dtype=np.uint8)
        with np.errstate(all="ignore"):
            values = convert(self.t.decode(codes), self.t, lanes.target)
            entries = lanes.target.encode(lanes.target.round(values) if lanes.target.computes else values, saturate=not lanes.target.computes).astype(int)
        self.entries = np.resize(entries, max(8, entries.size))
        self.top = lanes.target.bits - 8  # where the byte with the sign begins
        self.mirrored = self.entries.size == 16 and (self.entries[8:] == self.entries[:8] ^ 0x80 << self.top).all()

    def look_up(self, pairs: Sequence[Pair]) -> list[str]:
        return [self.lanes.lanes(self.views.gather([b for f in p for b in (self.found(f, 0), self.found(f, 8))])) for p in pairs]

    def found(self, field: Field, shift: int) -> Byte:
        """Where the byte from bit `shift` of a field's entry is."""
        if not (self.entries >> shift & 255).any():
            return ("0", 0)
        turn = field.start % 4
        nibble = (field.start - turn) // 4
        word, half, byte = nibble // 8, nibble // 4 % 2, nibble % 4
        return self.bytes(field, turn, word, half, shift), byte

    def bytes(self, field: Field, turn: int, word: int, half: int, shift: int) -> str:
        key = ("bytes", field.row, turn, word, half, shift)
        made = self.views.made
        if key not in made:
            index = self.index(field, turn, word, half)
            made[key] = self.prmt(self.packed(0, shift), index)
            if self.mirrored and shift == self.top:
                made[key] = self.views.lop3(made[key], self.tops(field, turn, word, half, False), SIGNS, "a | b & c")
            elif self.entries.size == 16 and not self.mirrored:
                above, mask = self.prmt(self.packed(8, shift), index), self.tops(field, turn, word, half, True)
                made[key] = self.views.lop3(made[key], above, mask, "a & ~c | b & c")
        return made[key]

    def index(self, field: Field, turn: int, word: int, half: int) -> str:
        """The indices' low three bits in the nibbles of the lower half of a word."""
        key = ("index", field.row, turn, word, half)
        made = self.views.made
        if key not in made:
            if half:
                made[key] = self.lanes.op("lshr", self.index(field, turn, word, 0), 16)
            else:
                bits = min(self.t.bits, 3)
                made[key] = self.lanes.op("and", self.views.turned(field.row, turn, word), ((1 << bits) - 1) * NIBBLES)
        return made[key]

    def tops(self, field: Field, turn: int, word: int, half: int, spread: bool) -> str:
        """Bytes whose top bits, or all of whose bits, are the top bits of four nibbles."""
        key = ("tops", field.row, turn, word, half, spread)
        made = self.views.made
        if key not in made:
            x = self.views.turned(field.row, turn, word)
            if ("left", x) not in made:
                made["left", x] = self.lanes.op("shl", x, 4)
            choice = (0x7362 if half else 0x5140) | (0x8888 if spread else 0)
            made[key] = self.prmt((made["left", x], x), choice)
        return made[key]

    def packed(self, first: int, shift: int) -> tuple[str, int]:
        """Bytes of eight entries in two words, of which PRMT takes the second as it is."""
        low, high = (self.entries[first : first + 8] >> shift & 255).astype(np.uint8).view("<u4").tolist()
        return self.kept(low), high

    def kept(self, word: int) -> str:
        """A constant in a register of its own. One that ptxas knows for a constant it keeps in a uniform register, and moves it for each use: so
        this one is joined with a zero that it cannot see, the lanes that are both below this one and not."""
        made = self.views.made
        if ("kept", word) not in made:
            code = "{ .reg .b32 l, g; mov.u32 l, %lanemask_lt; mov.u32 g, %lanemask_ge; lop3.b32 $0, l, g, $1, 0xea; }"
            made["kept", word] = self.e.asm("i32", code, "=r,n", f"i32 {word}")
        return made["kept", word]

    def prmt(self, words: tuple[Any, Any], choice: Any) -> str:
        return self.e.call("i32", "llvm.nvvm.prmt", *(f"i32 {w}" for w in (*words, choice)))
