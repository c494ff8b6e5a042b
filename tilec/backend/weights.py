"""Packed weights as LLVM IR: words become pairs of 16-bit floats by the type's bit program, and are scaled on the way.

What the program gives (`bitmaps`) is the value but for a power of two, and an integer's offset:

    floats      pattern = value * 2**-c                     c = bias of the result's type - bias of the weight's
    integers    pattern = (q + offset) * 2**(a - u)         a: the pair's shift; u: 24 for f16, 133 for bf16

The rest is one or two packed operations on two weights, with factors that each thread makes once for each scale, and rounds once:

    floats            pattern * (s * 2**c)
    integers          fma(pattern, s * 2**(u - a), -offset * s)                                        small scales
                      fma(pattern, 2**(t - a), -(offset + zero) * 2**(t - u)) * (s * 2**(u - t))       t = 15 or 127, the largest exponent

In bytes, for products of 8 bits, the pattern is the operand as it is: the value times the packed type's power of two.

The factors are exact, as they differ from scales by powers of two and do not overflow under the bound that the author has given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from tilec.backend.emit import float_constant, llvm_type
from tilec.backend.fields import Codes
from tilec.backend.llvm import Generator, Registers, emits
from tilec.backend.views import tensor_view
from tilec.ir.bitmaps import BYTE, LANE, WORD, Nibbles, Pair, Program, move
from tilec.ir.core import Value
from tilec.ir.dtypes import f16
from tilec.ir.ops.base import Constant
from tilec.ir.ops.weights import Pack, PackedWords, Unpack
from tilec.ir.packing import EACH, Packed
from tilec.ir.types import TensorType

emits(PackedWords)(tensor_view)


@emits(Unpack)
def unpack(g: Generator, op: Unpack) -> Sequence[Registers]:
    kind: Packed = op.packed  # type: ignore[assignment]
    program, words = kind.program, g[op.words]
    if isinstance(program, Nibbles):
        return [looked_up(g, op)]
    if op.dtype == kind.to and kind.to.bits == BYTE:
        return [in_words(g, patterns(g, program, words))]
    finish = as_codes(g, kind) if op.dtype == kind.element else Finish(g, op)
    out: Registers = []
    for first in range(0, len(words), program.words):
        for pair, pattern in zip(program.pairs, patterns_of_unit(g, program, words[first : first + program.words]), strict=True):
            out += finish(pair, pattern, len(out))
    assert len(out) == EACH * (len(words) // (4 * kind.bits))
    return [out]


@emits(Pack)
def pack(g: Generator, op: Pack) -> Sequence[Registers]:
    """The inverse of `unpack`, by the program's inverse matrix; integers with a sign come in offset binary, which is a change of the words."""
    kind: Packed = op.packed  # type: ignore[assignment]
    program, codes = kind.program, g[op.x]
    offsets = program.pack(np.full((program.weights,), kind.flipped, np.uint8)).tolist()
    out: Registers = []
    for first in range(0, len(codes), program.weights):
        wide = [g.e.let(f"zext i8 {code} to i32") for code in codes[first : first + program.weights]]
        each = WORD // program.lane
        pairs = [side_by_side(g, wide[i : i + each], program.lane) for i in range(0, len(wide), each)]
        words = [str(signed(offset)) for offset in offsets]
        for (pair, rotation), masks in program.terms.items():  # each view goes into all words at once, so that few live together
            view = shifted(g, pairs[pair], *move(rotation, reduce(or_, masks.values()), WORD))
            for word, mask in masks.items():
                words[word] = g.e.let(f"xor i32 {words[word]}, {g.e.let(f'and i32 {view}, {signed(mask)}')}")
        out += words
    return [out]


def side_by_side(g: Generator, codes: Sequence[str], lane: int) -> str:
    """Codes in the lanes of a word, the first in the lowest."""
    word = codes[0]
    for i, code in enumerate(codes[1:], 1):
        word = g.e.let(f"or i32 {word}, {g.e.let(f'shl i32 {code}, {lane * i}')}")
    return word


def shifted(g: Generator, word: str, move: str, by: int) -> str:
    """A view of a word."""
    if by == 0:
        return word
    if move == "rotate":
        return g.e.call("i32", "llvm.fshl.i32", f"i32 {word}", f"i32 {word}", f"i32 {by}")
    return g.e.let(f"{move} i32 {word}, {by}")


def in_words(g: Generator, quads: Sequence[str]) -> Registers:
    """The bytes of words, each in an i8, which knows where it lies."""
    return Codes(g.e, WORD // BYTE, BYTE).elements(quads)


def patterns(g: Generator, program: Program, words: Registers) -> list[str]:
    """Those of all units."""
    return [pattern for first in range(0, len(words), program.words) for pattern in patterns_of_unit(g, program, words[first : first + program.words])]


def patterns_of_unit(g: Generator, program: Program, words: Registers) -> list[str]:
    """What each pair's instructions give, an i32."""
    views = {view: shifted(g, words[view[0]], move, by) for view, (move, by) in program.moves.items()}
    out = []
    for pair in program.pairs:
        first, *rest = (views[v] for v in pair.views)
        for other in rest:
            first = g.e.let(f"xor i32 {first}, {other}")
        every = signed(program.mask(pair)) == -1
        out.append(first if every else in_bytes(g, program, pair, words) or g.e.let(f"and i32 {first}, {signed(program.mask(pair))}"))
    return out


def in_bytes(g: Generator, program: Program, pair: Pair, words: Registers) -> str | None:
    """The pattern by one byte permutation, where that saves a shift: it is of whole bytes of a view that nothing else looks at."""
    (view, *others) = pair.views
    move, by = program.moves[view]
    mask = program.mask(pair)
    lonely = sum(view in p.views for p in program.pairs) == 1 and not others
    if not lonely or by != 8 or mask not in (0x00FF00FF, 0xFF00FF00):
        return None
    selected = [(i + (1 if move == "lshr" else -1)) % 4 if mask >> 8 * i & 1 else 4 for i in range(4)]
    selector = sum(s << 4 * i for i, s in enumerate(selected))
    return g.e.call("i32", "llvm.nvvm.prmt", f"i32 {words[view[0]]}", "i32 0", f"i32 {selector}")


def signed(word: int) -> int:
    return word - (1 << WORD) if word >> (WORD - 1) else word


def looked_up(g: Generator, op: Unpack) -> Registers:
    """Entries of a codebook of 16, four at a time: each byte of the result is chosen among eight by a permutation whose selector the word is,
    twice, and then between the two by the topmost bit of the index."""
    kind: Packed = op.packed  # type: ignore[assignment]
    if op.dtype == kind.element:
        return [code for word in g[op.words] for code in indices(g, word)]
    entries = kind.to.encode(kind.element.decode(np.arange(16, dtype=np.uint8)), saturate=kind.to.is_int)
    tables = entries.view(np.uint8).reshape(4, 4, -1).transpose(2, 0, 1).copy().view("<u4")[..., 0]  # [byte of an entry, entries by fours]
    held = [[opaque(g, int(t)) for t in table] for table in tables]
    out = Registers()

    def permute(a: str, b: str, selector: str) -> str:
        return g.e.call("i32", "llvm.nvvm.prmt", f"i32 {a}", f"i32 {b}", f"i32 {selector}")

    for word in g[op.words]:
        selectors = g.e.let(f"and i32 {word}, {0x77777777}")
        for half in range(2):
            chosen = g.e.let(f"lshr i32 {selectors}, {LANE}") if half else selectors
            upper = permute(g.e.let(f"shl i32 {word}, 4") if half else word, "0", str(0xBA98))
            lower = g.e.let(f"xor i32 {upper}, -1")
            halves = []
            for table in held:
                low, high = (permute(table[i], table[i + 1], chosen) for i in (0, 2))
                halves.append(g.e.let(f"or i32 {g.e.let(f'and i32 {low}, {lower}')}, {g.e.let(f'and i32 {high}, {upper}')}"))
            if len(halves) == 1:
                out += in_words(g, halves)
                continue
            finish = Finish(g, op)
            for selector in (0x5140, 0x7362):
                value = finish.plainly(g.e.let(f"bitcast i32 {permute(halves[0], halves[1], str(selector))} to {finish.vector}"), len(out))
                out += g.e.split(finish.scalar, value, 2)
    return out


def opaque(g: Generator, word: int) -> str:
    """A constant in a register. What the assembler knows to be a constant it moves to a register again and again, where an instruction has
    place for but one; so it is told that a bit may differ which is 0 in every address."""
    parameter = next(g.scalar(p) for p in g.function.params if isinstance(p.type, TensorType))
    with g.e.prelude(g.preamble):
        sign = g.e.let(f"lshr i64 {g.e.let(f'ptrtoint ptr addrspace(1) {parameter} to i64')}, 63")
        return g.e.let(f"xor i32 {g.e.let(f'trunc i64 {sign} to i32')}, {signed(word)}")


def indices(g: Generator, word: str) -> Registers:
    """The eight indices in a word, each in an i8."""
    out = Registers()
    for n in range(8):
        low = g.e.let(f"and i32 {g.e.let(f'lshr i32 {word}, {4 * n}')}, 7")
        at = 8 * n + 4 if n < 4 else 8 * n - 32  # bit 3 comes to its place
        top = g.e.let(f"and i32 {g.e.let(f'lshr i32 {word}, {at}') if at else word}, 8")
        out.append(g.e.let(f"trunc i32 {g.e.let(f'or i32 {low}, {top}')} to i8"))
    return out


Finisher = Callable[[Pair, str, int], list[str]]  # a pair, its pattern, the register of its first weight: the two registers


def as_codes(g: Generator, kind: Packed) -> Finisher:
    """The weights as they are: each code in an i8."""
    program, bits = kind.program, kind.bits
    assert isinstance(program, Program)

    def take(pattern: str, place: int, count: int) -> str:
        shifted = g.e.let(f"lshr i32 {pattern}, {place}")
        return g.e.let(f"and i8 {g.e.let(f'trunc i32 {shifted} to i8')}, {(1 << count) - 1}")

    def finish(pair: Pair, pattern: str, register: int) -> list[str]:
        out = []
        for lane in program.lanes:
            places = program.places(pair)
            together = bits - program.floating
            code = take(pattern, places[0] + lane, together)
            if program.floating:
                code = g.e.let(f"or i8 {code}, {g.e.let(f'shl i8 {take(pattern, places[-1] + lane, 1)}, {bits - 1}')}")
            out.append(g.e.let(f"xor i8 {code}, {kind.flipped}") if kind.flipped else code)
        return out

    return finish


class Finish:
    """From patterns to values of the computing type, scaled if there is a scale."""

    def __init__(self, g: Generator, op: Unpack):
        self.g, self.op = g, op
        self.kind: Packed = op.packed  # type: ignore[assignment]
        self.to = self.kind.to
        self.scalar = llvm_type(self.to)
        self.vector = f"<2 x {self.scalar}>"
        self.top, self.unit = (15, 24) if self.to == f16 else (127, 133)
        self.memo: dict[Any, Any] = {}
        program = self.kind.program
        self.fused = isinstance(program, Program) and not op.zero and self.fits(self.unit - min(p.shift for p in program.pairs))
        self.scale = op.scale[0] if op.scale else None

    def fits(self, exponent: int) -> bool:
        """Whether a scale times 2**exponent does not overflow."""
        known = self.constant(self.op.scale[0]) if self.op.scale else None
        bound = self.op.below if known is None else abs(known) * 1.0001
        return bound * 2.0**exponent <= 2.0 ** (self.top + 1)

    def __call__(self, pair: Pair, pattern: str, register: int) -> list[str]:
        x = self.g.e.let(f"bitcast i32 {pattern} to {self.vector}")
        rule = self.of_float if self.kind.element.is_float else self.of_integer
        return self.g.e.split(self.scalar, rule(pair, x, register), 2)

    def of_float(self, pair: Pair, x: str, register: int) -> str:
        c = self.to.bias - self.kind.element.bias
        if self.scale is not None and not self.op.zero and self.fits(c):
            return self.times(x, self.factor(register, c))
        return self.plainly(self.times(x, self.number(2.0**c)), register)

    def of_integer(self, pair: Pair, x: str, register: int) -> str:
        offset, steps = float(self.kind.flipped), self.unit - self.top
        if self.scale is not None and self.fused:
            return self.fma(x, self.factor(register, self.unit - pair.shift), self.factor(register, 0, -offset))
        first = self.number(2.0 ** (self.top - pair.shift))
        if self.scale is not None and self.fits(steps):
            addend = self.addend(register, offset, 2.0**-steps) if self.op.zero else self.number(-offset * 2.0**-steps)
            return self.times(self.fma(x, first, addend), self.factor(register, steps))
        return self.plainly(self.times(self.fma(x, first, self.number(-offset * 2.0**-steps)), self.number(2.0**steps)), register)

    def plainly(self, value: str, register: int) -> str:
        """Zero point and scale of what is the weight already."""
        for zero in self.op.zero:
            value = self.let(f"fsub {self.vector} {value}, {self.pair_of(zero, register)}")
        return value if self.scale is None else self.times(value, self.factor(register, 0))

    # factors

    def constant(self, value: Value) -> float | None:
        return float(value.owner.value) if isinstance(value.owner, Constant) else None

    def factor(self, register: int, exponent: int, sign: float = 1.0) -> str:
        """The scale of two weights, times sign * 2**exponent."""
        assert self.scale is not None
        known = self.constant(self.scale)
        if sign == 0.0:
            return self.number(0.0)
        if known is not None:
            return self.number(known * sign * 2.0**exponent)
        return self.joined(*(self.single(x, exponent, sign) for x in self.g[self.scale][register : register + 2]))

    def joined(self, low: str, high: str) -> str:
        """Two numbers as one vector."""
        if (low, high) not in self.memo:
            self.memo[low, high] = self.g.e.join(self.scalar, (low, high))
        return str(self.memo[low, high])

    def single(self, scale: str, exponent: int, sign: float) -> str:
        """One scale times sign * 2**exponent. Not two at a time: one number in both halves is an operand that costs nothing."""
        if exponent > self.top:  # no number of the type
            scale, exponent = self.single(scale, self.top, 1.0), exponent - self.top
        by = sign * 2.0**exponent
        return scale if by == 1.0 else self.let(f"fmul {self.scalar} {scale}, {float_constant(by, str(self.to))}")

    def addend(self, register: int, offset: float, step: float) -> str:
        """-(offset + zero) * step."""
        (zero,) = self.op.zero
        known = self.constant(zero)
        if known is not None:
            return self.number(-(offset + known) * step)
        by, more = (float_constant(v, str(self.to)) for v in (-step, -offset * step))
        kind, intrinsic = self.scalar, f"llvm.fma.{self.to}"
        made = (self.let(f"call {kind} @{intrinsic}({kind} {z}, {kind} {by}, {kind} {more})") for z in self.g[zero][register : register + 2])
        return self.joined(*made)

    def pair_of(self, value: Value, register: int) -> str:
        """Two neighbouring registers as one."""
        known = self.constant(value)
        if known is not None:
            return self.number(known)
        return self.g.e.join(self.scalar, self.g[value][register : register + 2])

    # packed arithmetic; what is computed from the same operands is computed once

    def number(self, value: float) -> str:
        """A constant in both halves."""
        code = int(self.to.encode(np.asarray([value]), saturate=False)[0])
        return f"bitcast (i32 {signed(code | code << LANE)} to {self.vector})"

    def let(self, text: str) -> str:
        if text not in self.memo:
            self.memo[text] = self.g.e.let(text)
        return str(self.memo[text])

    def times(self, x: str, y: str) -> str:
        return x if y == self.number(1.0) else self.let(f"fmul {self.vector} {x}, {y}")

    def fma(self, x: str, y: str, z: str) -> str:
        if z in (self.number(0.0), self.number(-0.0)):
            return self.times(x, y)
        return self.let(f"call {self.vector} @llvm.fma.v2{self.to}({self.vector} {x}, {self.vector} {y}, {self.vector} {z})")
