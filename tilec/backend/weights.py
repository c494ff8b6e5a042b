"""Packed weights as LLVM IR: words become pairs of 16-bit floats by the type's bit program, and are scaled on the way.

What the program gives (`bitmaps`) is the value but for a power of two, and an integer's offset:

    floats      pattern = value * 2**-c                     c = bias of the result's type - bias of the weight's
    integers    pattern = (q + offset) * 2**(a - u)         a: the pair's shift; u: 24 for f16, 133 for bf16

The rest is one or two packed operations on two weights, with factors that each thread makes once for each scale, and rounds once:

    floats            pattern * (s * 2**c)
    integers          fma(pattern, s * 2**(u - a), -offset * s)                                        small scales
                      fma(pattern, 2**(t - a), -(offset + zero) * 2**(t - u)) * (s * 2**(u - t))       t = 15 or 127, the largest exponent

The factors are exact, as they differ from scales by powers of two and do not overflow under the bound that the author has given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilec.backend.emit import llvm_type
from tilec.backend.llvm import Generator, Registers, emits
from tilec.backend.views import tensor_view
from tilec.ir.bitmaps import LANE, WORD, Pair, Program, View
from tilec.ir.core import Value
from tilec.ir.dtypes import f16
from tilec.ir.ops.base import Constant
from tilec.ir.ops.weights import PackedWords, Unpack
from tilec.ir.packing import EACH, Packed

emits(PackedWords)(tensor_view)


@emits(Unpack)
def unpack(g: Generator, op: Unpack) -> Sequence[Registers]:
    kind: Packed = op.packed  # type: ignore[assignment]
    program, words = kind.program, g[op.words]
    finish = as_codes(g, kind) if op.dtype == kind.element else Finish(g, op)
    out: Registers = []
    for first in range(0, len(words), program.words):
        for pair, pattern in zip(program.pairs, patterns(g, program, words[first : first + program.words]), strict=True):
            out += finish(pair, pattern, len(out))
    assert len(out) == EACH * (len(words) // (4 * kind.bits))
    return [out]


def patterns(g: Generator, program: Program, words: Registers) -> list[str]:
    """What each pair's instructions give, an i32."""
    views: dict[View, str] = {}
    for view, (move, by) in program.moves.items():
        word = words[view[0]]
        if by == 0:
            views[view] = word
        elif move == "rotate":
            views[view] = g.e.call("i32", "llvm.fshl.i32", f"i32 {word}", f"i32 {word}", f"i32 {by}")
        else:
            views[view] = g.e.let(f"{move} i32 {word}, {by}")
    out = []
    for pair in program.pairs:
        first, *rest = (views[v] for v in pair.views)
        for other in rest:
            first = g.e.let(f"xor i32 {first}, {other}")
        out.append(g.e.let(f"and i32 {first}, {signed(program.mask(pair))}"))
    return out


def signed(word: int) -> int:
    return word - (1 << WORD) if word >> (WORD - 1) else word


Finisher = Callable[[Pair, str, int], list[str]]  # a pair, its pattern, the register of its first weight: the two registers


def as_codes(g: Generator, kind: Packed) -> Finisher:
    """The weights as they are: each code in an i8."""
    program, bits = kind.program, kind.bits

    def take(pattern: str, place: int, count: int) -> str:
        shifted = g.e.let(f"lshr i32 {pattern}, {place}")
        return g.e.let(f"and i8 {g.e.let(f'trunc i32 {shifted} to i8')}, {(1 << count) - 1}")

    def finish(pair: Pair, pattern: str, register: int) -> list[str]:
        out = []
        for lane in (0, LANE):
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
        least = min(p.shift for p in self.kind.program.pairs)
        self.fused = not op.zero and self.fits(self.unit - least)
        self.scale = op.scale[0] if op.scale else None

    def fits(self, exponent: int) -> bool:
        """Whether a scale times 2**exponent does not overflow."""
        known = self.constant(self.op.scale[0]) if self.op.scale else None
        bound = self.op.below if known is None else abs(known) * 1.0001
        return bound * 2.0**exponent <= 2.0 ** (self.top + 1)

    def __call__(self, pair: Pair, pattern: str, register: int) -> list[str]:
        x = self.g.e.let(f"bitcast i32 {pattern} to {self.vector}")
        rule = self.float if self.kind.program.floating else self.integer
        return self.g.e.split(self.scalar, rule(pair, x, register), 2)

    def float(self, pair: Pair, x: str, register: int) -> str:
        c = self.to.bias - self.kind.element.bias
        if self.scale is not None and not self.op.zero and self.fits(c):
            return self.times(x, self.factor(register, c))
        return self.plainly(self.times(x, self.number(2.0**c)), register)

    def integer(self, pair: Pair, x: str, register: int) -> str:
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
        scale = self.pair_of(self.scale, register)
        if exponent > self.top:  # no number of the type
            scale, exponent = self.times(scale, self.number(2.0**self.top)), exponent - self.top
        return self.times(scale, self.number(sign * 2.0**exponent))

    def addend(self, register: int, offset: float, step: float) -> str:
        """-(offset + zero) * step."""
        (zero,) = self.op.zero
        known = self.constant(zero)
        if known is not None:
            return self.number(-(offset + known) * step)
        return self.fma(self.pair_of(zero, register), self.number(-step), self.number(-offset * step))

    def pair_of(self, value: Value, register: int) -> str:
        """Two neighbouring registers as one."""
        known = self.constant(value)
        if known is not None:
            return self.number(known)
        first, second = self.g[value][register : register + 2]
        if (first, second) not in self.memo:
            self.memo[first, second] = self.twice(first) if first == second else self.g.e.join(self.scalar, (first, second))
        return str(self.memo[first, second])

    def twice(self, x: str) -> str:
        """A number in both halves, by one multiplication; LLVM scales a half and then doubles it where it may."""
        e = self.g.e
        wide = e.let(f"zext i16 {e.let(f'bitcast {self.scalar} {x} to i16')} to i32")
        return e.let(f"bitcast i32 {e.let(f'mul i32 {wide}, {1 << LANE | 1}')} to {self.vector}")

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
