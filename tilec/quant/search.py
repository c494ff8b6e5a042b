"""Finds bit programs (`tilec.ir.bitmaps`): how weights of a type lie in words so that few instructions bring them out.

    python -m tilec.quant.search e2m1 --to f16 --seconds 20

A random search, so not proven minimal. Each word gets a few shifted views. Pairs of one view, then of two views of the same word, are taken in
random order as long as each shows as many new bits as it has; what is left over of several words, when a weight's bits don't divide a lane's, is
filled by pairs of a view from each. Rotation by a lane swaps the lanes, so that the rank may be computed in one lane alone.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_

from tilec.errors import require
from tilec.ir.bitmaps import LANE, Pair, Program, View, read
from tilec.ir.dtypes import DType, bf16, dtype, f16

PROPER = range(1, LANE)


def search(element: DType, to: DType, seconds: float, seed: int | None = None) -> Iterator[tuple[int, Program]]:
    """Programs of a type for f16 or bf16, each with fewer instructions a unit than the one before: (instructions, program)."""
    floating = element.is_float
    require(element.is_int or floating, f"{element} is neither an integer nor a float")
    bits, mantissa = element.bits, 7 if to == bf16 else 10
    require(bits <= 8 and (not floating or element.exponent_bits < (8 if to == bf16 else 6)), f"{to} does not hold the exponents of {element}")
    draw, best, end = random.Random(seed), math.inf, time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        rounds += 1
        pairs = attempt(draw, bits, [0] if floating else list(range(mantissa + 2 - bits)), floating, mantissa, element.mantissa_bits, 1 + rounds % 4)
        if pairs is None:
            continue
        found = Program(bits, tuple(pairs), floating, mantissa, element.mantissa_bits)
        count = instructions(found)
        if count < best and len(found.inverse):
            best = count
            yield count, found


def attempt(draw: random.Random, bits: int, starts: list[int], floating: bool, mantissa: int, mantissa_bits: int, views: int) -> list[Pair] | None:
    """One try; None if the words' bits could not all be shown."""
    unit = bits // math.gcd(LANE, bits)
    shape = Program(bits, (), floating, mantissa, mantissa_bits)
    basis: dict[int, int] = {}  # of the rows shown so far, by their highest bit
    pairs: list[Pair] = []

    def take(pair: Pair) -> bool:
        grown = independent(basis, rows(shape, pair))
        if grown is not None:
            basis.update(grown)
            pairs.append(pair)
        return grown is not None

    moves = [[0, *draw.sample(PROPER, views)] for _ in range(unit)]
    lane = (1 << LANE) - 1
    shown = [[shape.mask(Pair(((w, r),), a)) >> r for r in moves[w] for a in starts] for w in range(unit)]  # of a word: 16 bits of its rotations
    if any(reduce(or_, of_word) & lane != lane for of_word in shown):
        return None
    for word in range(unit):
        single = [Pair(((word, r),), a) for r in moves[word] for a in starts]
        double = [Pair(((word, r), (word, q)), a) for r in moves[word] for q in moves[word] if r < q for a in starts]
        before = len(pairs)
        for candidates in (single, double):
            for pair in draw.sample(candidates, len(candidates)):
                if len(pairs) - before < LANE // bits:
                    take(pair)
    for _ in range(200 if unit > 1 else 1):
        if len(pairs) == unit * LANE // bits:
            return pairs
        words = draw.sample(range(unit), draw.randint(min(2, unit), unit))
        several = [(w, draw.choice(moves[w])) for w in words] + [(w, draw.choice(moves[w])) for w in words[: draw.randint(0, 1)]]
        if len(set(several)) == len(several):
            take(Pair(tuple(sorted(several)), draw.choice(starts)))
    return None


def rows(shape: Program, pair: Pair) -> list[int]:
    """For each bit of a weight the bits of the words' low lanes whose sum it is."""
    return [sum_of(pair.views, place) for place in shape.places(pair)]


def sum_of(views: Sequence[View], place: int) -> int:
    total = 0
    for word, rotation in views:
        total ^= 1 << (LANE * word + (place - rotation) % LANE)
    return total


def independent(basis: dict[int, int], new: Sequence[int]) -> dict[int, int] | None:
    """What `new` rows add to a basis over GF(2); None if they are not independent of it and of one another."""
    added: dict[int, int] = {}
    for row in new:
        while row:
            top = row.bit_length()
            other = basis.get(top) or added.get(top)
            if other is None:
                added[top] = row
                break
            row ^= other
        else:
            return None
    return added


def instructions(program: Program) -> int:
    """Shifts, and LOP3 of three inputs, the mask of two views being one of them."""
    shifts = sum(by != 0 for _, by in program.moves.values())
    return shifts + sum(max(1, len(pair.views) // 2 + (len(pair.views) > 1 and len(pair.views) % 2)) for pair in program.pairs)


def line(program: Program) -> str:
    """A program as `bitmaps.PROGRAMS` has it."""

    def shown(pair: Pair) -> str:
        views = "^".join(f"{word}<{by}" if by else str(word) for word, by in pair.views)
        return views if program.floating else f"{views}@{pair.shift}"

    return " ".join(map(shown, program.pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description="Find a bit program for a type of weights.")
    parser.add_argument("type", type=dtype)
    parser.add_argument("--to", type=dtype, default=f16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    for count, program in search(given.type, given.to, given.seconds, given.seed):
        again = read(line(program), program.bits, program.floating, given.to, program.mantissa_bits)
        require(again == program, "a program's line does not say it all")
        print(f"{count} instructions for {program.weights} weights: {line(program)}", flush=True)


if __name__ == "__main__":
    main()
