"""Finds bit programs (`tilec.ir.bitmaps`): how weights of a type lie in words so that few instructions bring them out.

    python -m tilec.quant.search e2m1 --to f16 --seconds 20

A random search, so not proven minimal. Each word gets a few shifted views. Pairs of one view, then of two views of the same word, are taken in
random order as long as each shows as many new bits as it has; what is left over of several words, when a weight's bits don't divide a lane's, is
filled by pairs of a view from each. Rotation by a lane turns the lanes round, so that the rank may be computed in one lane alone.
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
from tilec.ir.bitmaps import BYTE, LANE, Pair, Program, View, read
from tilec.ir.dtypes import DType, dtype, f16


def search(element: DType, to: DType, seconds: float, seed: int | None = None) -> Iterator[tuple[int, Program]]:
    """Programs of a type for f16, bf16 or a type of 8 bits, each with fewer instructions a unit than the one before: (instructions, program)."""
    require(element.is_int or element.is_float, f"{element} is neither an integer nor a float")
    shape, end = read("", element.bits, element.is_float, to, element.mantissa_bits), time.monotonic() + seconds
    require(element.bits <= 8 and held(element, to), f"{to} does not hold the exponents of {element}")
    draw, best, rounds = random.Random(seed), math.inf, 0
    while time.monotonic() < end:
        rounds += 1
        pairs = attempt(draw, shape, places(element, to), 1 + rounds % (4 if to.bits == LANE else 7))
        if pairs is None:
            continue
        found = shape._replace(pairs=tuple(pairs))
        count = instructions(found)
        if count < best and len(found.inverse):
            best = count
            yield count, found


def held(element: DType, to: DType) -> bool:
    """Whether `to` has the exponents, the mantissa and the sign of a type."""
    if element.is_float:
        return to.is_float and element.exponent_bits <= min(to.exponent_bits, 7) and element.mantissa_bits <= to.mantissa_bits
    return to.bits == LANE or (element.is_signed == to.is_signed if to.is_int else not element.is_signed and element.bits <= to.mantissa_bits + 1)


def places(element: DType, to: DType) -> list[int]:
    """Where an integer may begin: where subnormals and the first binade are one scale, in a lane of 8 at the top of that, as all have one power of two."""
    if element.is_float:
        return [0]
    if to.bits == BYTE:
        return [(to.mantissa_bits + 1 if to.is_float else BYTE) - element.bits]
    return list(range(to.mantissa_bits + 2 - element.bits))


def attempt(draw: random.Random, shape: Program, starts: list[int], views: int) -> list[Pair] | None:
    """One try for a program like `shape`, which has no pairs; None if the words' bits could not all be shown."""
    bits, size = shape.bits, shape.lane
    unit, proper = bits // math.gcd(size, bits), range(1, size)
    basis: dict[int, int] = {}  # of the rows shown so far, by their highest bit
    pairs: list[Pair] = []

    def take(pair: Pair) -> bool:
        grown = independent(basis, rows(shape, pair))
        if grown is not None:
            basis.update(grown)
            pairs.append(pair)
        return grown is not None

    moves = [[0, *draw.sample(proper, views)] for _ in range(unit)]
    lane = (1 << size) - 1
    shown = [[shape.mask(Pair(((w, r),), a)) >> r for r in moves[w] for a in starts] for w in range(unit)]  # of each word: what its rotations show
    if any(reduce(or_, of_word) & lane != lane for of_word in shown):
        return None
    for word in range(unit):
        single = [Pair(((word, r),), a) for r in moves[word] for a in starts]
        double = [Pair(((word, r), (word, q)), a) for r in moves[word] for q in moves[word] if r < q for a in starts]
        before = len(pairs)
        for candidates in (single, double):
            for pair in draw.sample(candidates, len(candidates)):
                if len(pairs) - before < size // bits:
                    take(pair)
    for _ in range(200 if unit > 1 else 1):
        if len(pairs) == unit * size // bits:
            return pairs
        words = draw.sample(range(unit), draw.randint(min(2, unit), unit))
        several = [(w, draw.choice(moves[w])) for w in words] + [(w, draw.choice(moves[w])) for w in words[: draw.randint(0, 1)]]
        if len(set(several)) == len(several):
            take(Pair(tuple(sorted(several)), draw.choice(starts)))
    return None


def rows(shape: Program, pair: Pair) -> list[int]:
    """For each bit of a weight the bits of the words' lowest lanes whose sum it is."""
    return [sum_of(pair.views, place, shape.lane) for place in shape.places(pair)]


def sum_of(views: Sequence[View], place: int, lane: int) -> int:
    total = 0
    for word, rotation in views:
        total ^= 1 << (lane * word + (place - rotation) % lane)
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
    """Shifts, and LOP3 of three inputs, the mask of two views being one of them; none where a mask keeps all."""
    shifts = sum(by != 0 for _, by in program.moves.values())
    if program.bits == program.lane:
        return shifts + sum(len(pair.views) // 2 for pair in program.pairs)
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
