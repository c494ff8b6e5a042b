"""From f16, bf16 and f32 to integers and floats of up to 8 bits: nearest even, saturated, without branches or tables, two lanes of 16 bits at
a time where the source's own arithmetic suffices.

An integer is rounded by a sum with 1.5 * 2**M, M the lane's mantissa bits, whose low bits are its code. A float is rounded by a sum
with as many of its power of two that the sum's last place is the target's; the sum's mantissa then counts places, its exponent the target's.

    f16 -> int4        clamp, x + 1536, of NaN 1280; the low four bits
    f16 -> float6_e3m2 clamp; s = x + 384 * max(2**exponent(x), 1/4); (s >> 8 & exponent) + s, less a constant; the sign
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilec.backend.emit import Emitter, float_constant, llvm_type
from tilec.backend.fields import QUAD, Views, cut, tell
from tilec.backend.target import Target
from tilec.ir.dtypes import DType, Float, Int, bf16, f16, f32


def narrows(source: DType, target: DType) -> bool:
    """Whether a cast goes this way."""
    return source in (f16, bf16, f32) and target.bits <= 8 and isinstance(target, Int | Float)


def narrow(e: Emitter, names: Sequence[str], source: DType, target: DType, machine: Target) -> list[str]:
    """The elements called `names` of f16, bf16 or f32 as `target`, held as i8, which know in which words they lie."""
    lane = lane_of(source, target, machine)
    if lane != source:
        names = [e.let(f"fpext {llvm_type(source)} {name} to float") for name in names]
    padded = [*names, *[names[-1]] * (-len(names) % QUAD)]
    quads = Narrowing(e, lane, target, machine).quads(padded)
    field = (1 << target.bits) - 1
    words = [w if target.bits == 8 else e.let(f"and i32 {w}, {field * 0x01010101}") for w in quads]
    codes = [cut(e, words, 8 * i, 8) for i in range(len(names))]
    tell(e, codes, tuple(words), 8)
    return codes


def lane_of(source: DType, target: DType, machine: Target) -> DType:
    """The type to calculate in: the source, or f32 where it has too few bits or too small a range."""
    if source == f32:
        return f32
    if isinstance(target, Int):
        fits = target.bits < source.mantissa_bits
    elif native(target, machine):
        fits = source == f16 and target.bits == 8
    else:
        assert isinstance(target, Float)
        fits = target.exponent_bits < source.exponent_bits and target.mantissa_bits < source.mantissa_bits - 2
    return source if fits else f32


def native(target: DType, machine: Target) -> str:
    """The conversion to two of them that the target has, or ""."""
    feature = {"float8_e4m3": "cvt_fp8", "float8_e5m2": "cvt_fp8"} | dict.fromkeys(("float4_e2m1", "float6_e2m3", "float6_e3m2"), "cvt_fp6_fp4")
    if str(target) not in feature or not machine.has(feature[str(target)]):
        return ""
    return f"{str(target).split('_')[1]}x2.rn" + (".satfinite" if target.bits < 8 else "")


class Narrowing:
    """Codes of one type from numbers of another, four to a word."""

    def __init__(self, e: Emitter, lane: DType, target: DType, machine: Target):
        self.e, self.lane, self.t = e, lane, target
        self.native = native(target, machine)
        self.width = 2 if lane.bits == 16 else 1  # lanes of a register
        self.kind = f"<2 x {llvm_type(lane)}>" if self.width == 2 else "float"
        self.views = Views(e)

    def quads(self, names: Sequence[str]) -> list[str]:
        """A word for four elements: a byte each, with any bits above the code."""
        if self.native:
            return [self.converted(names[i : i + QUAD]) for i in range(0, len(names), QUAD)]
        registers = [self.e.join(llvm_type(self.lane), names[i : i + 2]) if self.width == 2 else names[i] for i in range(0, len(names), self.width)]
        each = QUAD // self.width
        rule = self.integers if isinstance(self.t, Int) else self.floats
        return [rule(registers[i : i + each]) for i in range(0, len(registers), each)]

    def converted(self, four: Sequence[str]) -> str:
        """By the instruction for two."""
        e, halves = self.e, []
        for two in (four[:2], four[2:]):
            if self.width == 2:
                half = e.call("i16", f"llvm.nvvm.f16x2.to.{self.native}", f"<2 x half> {e.join('half', two)}")
            else:
                half = e.call("i16", f"llvm.nvvm.ff.to.{self.native}", f"float {two[1]}", f"float {two[0]}")
            halves.append(half)
        word = e.let(f"bitcast <2 x i16> {e.join('i16', halves)} to i32")
        if self.t.bits > 4:
            return word
        word = self.views.prmt(word, word, 0x2200)  # two nibbles in each byte: the second one's go down
        return self.views.lop3(word, self.i32("lshr", word, 4), 0xFF00FF00, "a & ~c | b & c")

    # arithmetic of lanes

    def i32(self, operation: str, x: str, y: int | str) -> str:
        return self.e.let(f"{operation} i32 {x}, {y}")

    def bits(self, x: str) -> str:
        return self.e.let(f"bitcast {self.kind} {x} to i32")

    def number(self, word: str) -> str:
        return self.e.let(f"bitcast i32 {word} to {self.kind}")

    def every(self, pattern: int) -> int:
        """The same bits in all lanes."""
        return pattern * (0x00010001 if self.width == 2 else 1)

    def code(self, value: float) -> int:
        return int(self.lane.encode(value))

    def constant(self, value: float) -> str:
        text = float_constant(value, str(self.lane))
        return text if self.width == 1 else f"<{llvm_type(self.lane)} {text}, {llvm_type(self.lane)} {text}>"

    def call(self, function: str, *operands: str) -> str:
        suffix = f"v2{self.lane}" if self.width == 2 else "f32"
        return self.e.call(self.kind, f"llvm.{function}.{suffix}", *(f"{self.kind} {x}" for x in operands))

    def gather(self, words: Sequence[str], byte: int) -> str:
        """A byte of each lane, in order."""
        step = 4 // self.width
        return self.views.gather([(w, byte + step * i) for w in words for i in range(self.width)])

    # rules

    def integers(self, registers: Sequence[str]) -> str:
        return self.gather([self.integer(x) for x in registers], 0)

    def integer(self, x: str) -> str:
        t, zero = self.t, 1.5 * 2.0**self.lane.mantissa_bits
        if t.is_signed:  # NaN passes, and becomes a number whose low bits are zero
            x = self.call("minimum", self.call("maximum", x, self.constant(t.min)), self.constant(t.max))
            total = self.e.let(f"fadd {self.kind} {x}, {self.constant(zero)}")
            return self.bits(self.call("maxnum", total, self.constant(zero - (1 << t.bits))))
        x = self.call("minnum", self.call("maxnum", x, self.constant(0.0)), self.constant(t.max))
        return self.bits(self.e.let(f"fadd {self.kind} {x}, {self.constant(zero)}"))

    def floats(self, registers: Sequence[str]) -> str:
        clamped = [self.clamp(x) for x in registers]
        codes = self.gather([self.magnitude(x) for x in clamped], 0)
        signs = self.gather([self.bits(x) for x in clamped], self.lane.bits // 8 - 1)
        if self.t.bits < 8:
            signs = self.i32("lshr", signs, 8 - self.t.bits)
        return self.views.lop3(codes, signs, 0x01010101 << self.t.bits - 1, "a & ~c | b & c")

    def clamp(self, x: str) -> str:
        """Within the finite numbers; NaN becomes the largest, or what would follow it where that is NaN's code, in both cases positive."""
        t = self.t
        assert isinstance(t, Float)
        if t.has_nan:
            x = self.call("minimum", x, self.constant(t.max))
            x = self.call("minnum", x, self.constant((2 - 2.0**-t.mantissa_bits) * 2.0 ** ((1 << t.exponent_bits) - 1 - t.bias)))
        else:
            x = self.call("minnum", x, self.constant(t.max))
        x = self.call("maxnum", x, self.constant(-t.max))
        return x if not self.down else self.e.let(f"fmul {self.kind} {x}, {self.constant(2.0**-self.down)}")

    @property
    def down(self) -> int:
        """By which power of two numbers are divided, so that no sum overflows."""
        top = int(np.log2(self.t.max)) + self.lane.mantissa_bits + 1 - self.t.mantissa_bits
        return max(0, top - self.lane.bias - 1)

    def magnitude(self, x: str) -> str:
        """The code without its sign in the low bits of each lane."""
        t, lane = self.t, self.lane
        places = lane.mantissa_bits - t.mantissa_bits
        exponent = (1 << lane.exponent_bits) - 1 << lane.mantissa_bits
        raw = self.bits(x)
        power = self.number(self.i32("and", raw, self.every(exponent)))
        least = t.smallest_normal * 2.0**-self.down
        power = self.call("maxnum", power, self.constant(least))
        size = self.number(self.i32("and", raw, self.every((1 << lane.bits - 1) - 1)))
        factor = 1.5 * 2.0**places
        total = self.bits(self.call("fma", power, self.constant(factor), size))
        steps = self.i32("lshr", total, places)
        zero = self.code(least * factor)
        start = zero >> places
        if self.width == 2:  # what comes from the other lane goes; the mantissa's bits with it
            kept = exponent >> places
            steps, start = self.i32("and", steps, self.every(kept)), start & kept
        return self.i32("sub", self.i32("add", steps, total), self.every(zero + start))
