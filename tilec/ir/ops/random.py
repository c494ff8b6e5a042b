"""Random numbers by counters: the same seed and place give the same number, whatever the layout, the grid or the machine.

The generator is Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), made of integer
ops: bits, and the uniform numbers that are made of them exactly, agree everywhere.
"""

from __future__ import annotations

import math

from tilec.errors import require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import DType, f32, f64, u32, u64
from tilec.ir.ops.arith import Add, Cast, Mul, Neg, Shr, Sqrt, Xor
from tilec.ir.ops.base import Operand, constant, describe, match, tile
from tilec.ir.ops.functions import Cos, Log1p

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # what the key grows by in each round
ROUNDS = 10

Words = tuple[Value, ...]


def halves(b: Builder, x: Operand, what: str) -> Words:
    """An integer, or a tile of them, as its two words of 32 bits, the low one first."""
    if not isinstance(x, Value):
        require(isinstance(x, int) and -(2**63) <= x < 2**64, f"{what} is an integer of up to 64 bits, not {x!r}")
        return constant(b, int(x) & 0xFFFFFFFF, u32), constant(b, int(x) >> 32 & 0xFFFFFFFF, u32)
    dtype = tile(x).dtype
    require(dtype.is_int and dtype.computes, f"{what} is an integer, not {describe(x.type)}", hint="cast it: tc.cast(x, i32)")
    if dtype.bits < 64:
        return Cast.build(b, x, u32), constant(b, 0, u32)
    return Cast.build(b, x, u32), Cast.build(b, Shr.build(b, Cast.build(b, x, u64), 32), u32)


def philox(b: Builder, key: Words, counter: Words) -> Words:
    """Four words u32 of one shape from a key of two and a counter of four."""
    c, k = match(b, *counter), key
    for _ in range(ROUNDS):
        products = [Mul.build(b, Cast.build(b, x, u64), m) for x, m in zip((c[0], c[2]), MULTIPLIERS, strict=True)]
        (high, low), (high2, low2) = [(Cast.build(b, Shr.build(b, p, 32), u32), Cast.build(b, p, u32)) for p in products]
        c = (Xor.build(b, Xor.build(b, high2, c[1]), k[0]), low2, Xor.build(b, Xor.build(b, high, c[3]), k[1]), low)
        k = tuple(Add.build(b, x, w) for x, w in zip(k, WEYL, strict=True))
    return c


class Philox(Op, abstract=True):
    """Four tiles of random bits (u32) for each place of a counter of four integers, whose shapes broadcast; `seed` is the key.

    The words of Philox 4x32-10. `seed` is an integer scalar of up to 64 bits.

    Example:
        r0, r1, r2, r3 = tc.philox(0, 0)  # = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
        tc.philox(s, 0)                   # error: the seed is an integer, not f32
    """

    builtin = "philox"

    @classmethod
    def build(cls, b: Builder, seed: Operand, c0: Operand, c1: Operand = 0, c2: Operand = 0, c3: Operand = 0) -> Words:
        return philox(b, halves(b, seed, "the seed"), tuple(halves(b, c, "a counter")[0] for c in (c0, c1, c2, c3)))


class RandomBits(Op, abstract=True):
    """Random u32, one for each of `offsets` (an integer tile of up to 64 bits): the first word of Philox 4x32-10 of seed and offset.

    Equal offsets give equal numbers: name each place of the tensor, as in `row * N + tc.arange(N)`.

    Example:
        r = tc.random_bits(0, tc.zeros(i32, [4]))  # = [0x6627E8D5] * 4
        tc.random_bits(0, x)                       # error: the offset is an integer, not f32[8, 16]
    """

    builtin = "random_bits"

    @classmethod
    def build(cls, b: Builder, seed: Operand, offsets: Operand) -> Value:
        return words(b, seed, offsets)[0]


def words(b: Builder, seed: Operand, offsets: Operand) -> Words:
    low, high = halves(b, offsets, "the offset")
    zero = constant(b, 0, u32)
    return philox(b, halves(b, seed, "the seed"), (low, high, zero, zero))


def fraction(b: Builder, word: Value, dtype: DType) -> Value:
    """As many high bits of a word as the floating type has, as a number of [0, 1)."""
    bits = min(dtype.mantissa_bits + 1, word.type.dtype.bits)
    return Mul.build(b, Cast.build(b, Shr.build(b, word, word.type.dtype.bits - bits), dtype), 2.0**-bits)


class Uniform(Op, abstract=True):
    """Uniform numbers of [0, 1), multiples of 2**-24 for f32 (2**-11, 2**-8, 2**-53 for f16, bf16, f64), one for each of `offsets`.

    Seed and offsets are as for `tc.random_bits`; the numbers are the same everywhere, bit for bit.

    Example:
        r = tc.uniform(0, tc.zeros(i32, [4]))  # = [(0x6627E8D5 >> 8) * 2.0**-24] * 4
        tc.uniform(0, n, i32)                  # error: uniform numbers are floating ones, not i32
    """

    builtin = "uniform"

    @classmethod
    def build(cls, b: Builder, seed: Operand, offsets: Operand, dtype: DType = f32) -> Value:
        require(
            dtype.is_float and dtype.computes,
            f"uniform numbers are floating ones, not {dtype}",
            hint="scale them, as in tc.cast(tc.uniform(seed, i) * n, i32)",
        )
        word, more, *_ = words(b, seed, offsets)
        if dtype == f64:
            word = Add.build(b, Mul.build(b, Cast.build(b, word, u64), 2**32), Cast.build(b, more, u64))
        return fraction(b, word, dtype)


class Normal(Op, abstract=True):
    """Numbers of the standard normal distribution (f32), one for each of `offsets`, by Box and Muller; none is beyond 5.8.

    Seed and offsets are as for `tc.random_bits`. On the GPU a number x is within 2**-21 * |x| + 2**-22 of the interpreter's.

    Example:
        r = tc.normal(0, tc.zeros(i32, [4]))
        # u, v = (0x6627E8D5 >> 8) * 2.0**-24, (0xE169C58D >> 8) * 2.0**-24
        # r = [np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)] * 4
        tc.normal(0, x)  # error: the offset is an integer, not f32[8, 16]
    """

    builtin = "normal"

    @classmethod
    def build(cls, b: Builder, seed: Operand, offsets: Operand) -> Value:
        first, second, *_ = words(b, seed, offsets)
        far = Mul.build(b, Log1p.build(b, Neg.build(b, fraction(b, first, f32))), -2.0)
        return Mul.build(b, Sqrt.build(b, far), Cos.build(b, Mul.build(b, fraction(b, second, f32), 2 * math.pi)))
