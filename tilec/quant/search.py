"""Finds bit programs (`tilec.ir.bitmaps`): how weights of a type lie in words so that few instructions bring them out.

    python -m tilec.quant.search e2m1 --to f16 --seconds 60

A local search, so not proven minimal. Every word gets a few views, among which each of its bits is seen. A pair of one or two views, of one word or of
two, is one LOP3; it is taken if all that it shows is independent of what the others show. Where no more fit, some are given up for others, or a word gets
other views, and what shows no less is kept. The last pairs may be of three or four views, which is a LOP3 more.

Which pairs fit is computed for all at once, in the space of the words' bits less what the others show: its few dimensions are those that are missing.
Rotation by a lane turns the lanes round, so that the rank may be computed in one lane alone.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator, Sequence
from functools import cached_property, reduce
from itertools import combinations
from operator import xor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilec.errors import require
from tilec.ir.bitmaps import BYTE, LANE, WORD, Pair, Program, read
from tilec.ir.dtypes import DType, dtype, f16

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

LAST, DRAWN = 2, 200  # pairs that may be of several views, and how many of these are tried
MORE = 6  # shifts above the least that are tried
COOL = 0.7  # bits by which less may be shown for a while
SHARED = 64  # weights that share a factor, made for a scale and a place of integers

Moved = tuple[tuple[int, ...], ...]  # by word: how far its views are rotated, the plain one apart


def search(element: DType, to: DType, seconds: float, seed: int | None = None) -> Iterator[tuple[int, Program]]:
    """Programs of a type for f16, bf16 or a type of 8 bits, each better than the one before: (instructions for a unit of words, program)."""
    require(element.is_int or element.is_float, f"{element} is neither an integer nor a float")
    shape = read("", element.bits, element.is_float, to, element.mantissa_bits)
    require(element.bits <= 8 and held(element, to), f"{to} does not hold the exponents of {element}")
    unit, draw = Unit(shape, tuple(places(element, to))), random.Random(seed)
    best, most, rounds, end = (math.inf, 0), WORD * WORD, 100, time.monotonic() + seconds
    while True:
        for moves in range(unit.least_moves, min(unit.least_moves + MORE, most - unit.pairs + 1)):
            for found in climb(unit, moves, rounds, draw):
                if found is not None and cost(found) < best:
                    best, most = cost(found), instructions(found)
                    yield most, found
                if time.monotonic() > end:
                    return
        rounds *= 2


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


class _Unit(NamedTuple):
    shape: Program  # without pairs
    starts: tuple[int, ...]  # bits where an integer may begin


class Unit(_Unit):
    """What is looked for: pairs of a shape that show all bits of a few words."""

    @cached_property
    def proper(self) -> range:
        """Rotations that move something."""
        return range(1, self.shape.lane)

    @cached_property
    def words(self) -> int:
        return self.shape.bits // math.gcd(self.shape.lane, self.shape.bits)

    @cached_property
    def pairs(self) -> int:
        return self.shape.lane * self.words // self.shape.bits

    @cached_property
    def size(self) -> int:
        """Bits of a lane of all words."""
        return self.shape.lane * self.words

    @cached_property
    def places(self) -> Array:
        """By start: the bits of a lane that a weight takes, the lowest first."""
        return np.array([self.shape.places(Pair((), start)) for start in self.starts])

    @cached_property
    def seen(self) -> Array:
        """By word, how far it is rotated, and start: the bits of the words' lanes that a weight's bits are, [word, rotation, start, bit]."""
        word, rotation = np.ogrid[: self.words, : self.shape.lane]
        return self.shape.lane * word[..., None, None] + (self.places - rotation[..., None, None]) % self.shape.lane  # type: ignore[no-any-return]

    def covers(self, count: int) -> list[tuple[int, ...]]:
        """The sets of so many rotations by which, beside the plain word, all of its bits are seen."""
        if count not in self._covers:
            seen, lane = {int(p) for p in self.places.flat}, self.shape.lane
            self._covers[count] = [c for c in combinations(self.proper, count) if len({(p - r) % lane for p in seen for r in (0, *c)}) == lane]
        return self._covers[count]

    @cached_property
    def _covers(self) -> dict[int, list[tuple[int, ...]]]:
        return {}

    @cached_property
    def least(self) -> int:
        """Moved views that a word has at least."""
        return next(count for count in range(self.shape.lane) if self.covers(count))

    @cached_property
    def least_moves(self) -> int:
        """Shifts and rotations that there are at least: all bits are to be seen, and a view shows no more than it has pairs side by side."""
        each = len(set(self.places.flat)) // self.shape.bits
        return max(self.words * self.least, -(-self.pairs // each) - self.words)


class State(NamedTuple):
    """Views, the pairs taken of them, and how many bits these and the best of those that don't fit show; several views count half a bit less."""

    moved: Moved
    pairs: tuple[Pair, ...]
    shown: float


def climb(unit: Unit, moves: int, rounds: int, draw: random.Random) -> Iterator[Program | None]:
    """A walk of some rounds with so many moved views: at each, the program that there is, if there is one."""
    counts = [unit.least] * unit.words
    for _ in range(moves - sum(counts)):
        counts[draw.randrange(unit.words)] += 1
    state = filled(unit, tuple(draw.choice(unit.covers(n)) for n in counts), (), draw)
    for _ in range(rounds):
        moved = changed(unit, state.moved, draw) if draw.random() < 0.4 else state.moved
        views = {(word, r) for word, of_word in enumerate(moved) for r in (0, *of_word)}
        kept = [pair for pair in state.pairs if views.issuperset(pair.views)]
        new = filled(unit, moved, draw.sample(kept, max(0, len(kept) - draw.choice((0, 1, 1, 2, 3)))), draw)
        if new.shown >= state.shown or draw.random() < math.exp((new.shown - state.shown) / COOL):
            state = new
        whole = len(new.pairs) == unit.pairs
        yield unit.shape._replace(pairs=in_order(new.pairs)) if whole else None


def in_order(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Pairs in the order in which words come."""
    return tuple(sorted(pairs, key=lambda pair: (max(pair.views), pair)))


def changed(unit: Unit, moved: Moved, draw: random.Random) -> Moved:
    """Other views of one word, or of two of which one gives a view to the other."""
    sets, word, other = list(moved), draw.randrange(unit.words), draw.randrange(unit.words)
    if len(moved[word]) > unit.least and draw.random() < 0.3:
        sets[word] = draw.choice(unit.covers(len(sets[word]) - 1))
        sets[other] = draw.choice(unit.covers(len(sets[other]) + 1))
    else:
        near = [c for c in unit.covers(len(moved[word])) if len({*c} & {*moved[word]}) == len(c) - 1]
        sets[word] = draw.choice(near or unit.covers(len(moved[word])))
    return tuple(sets)


def filled(unit: Unit, moved: Moved, pairs: Sequence[Pair], draw: random.Random) -> State:
    """The pairs given and random others of the views, as many as fit."""
    views = sorted({(word, r) for word, of_word in enumerate(moved) for r in (0, *of_word)})
    nothing = len(views)
    places = np.append(unit.seen[tuple(np.transpose(views))], np.full_like(unit.seen[:1, 0], unit.size), axis=0)  # [view or nothing, start, bit]
    one_or_two = np.stack(np.triu_indices(nothing + 1, 1), axis=1)
    space, taken, best = quotient(unit, pairs), list(pairs), 0
    while len(taken) < unit.pairs:
        sets, rows = one_or_two, seen(space, places, one_or_two)
        rank = ranks(rows)
        fit = np.argwhere(rank == unit.shape.bits)
        if not len(fit) and len(taken) >= unit.pairs - LAST:
            sets = np.array(draw.choices(range(nothing + 1), k=4 * DRAWN)).reshape(DRAWN, 4)
            rows = seen(space, places, sets)
            fit = np.argwhere(ranks(rows) == unit.shape.bits)
        if not len(fit):
            best = int(rank.max())
            break
        i, start = fit[draw.randrange(len(fit))]
        odd = np.flatnonzero(np.bincount(sets[i], minlength=nothing)[:nothing] % 2)
        taken.append(Pair(tuple(views[v] for v in odd), unit.starts[start]))
        space = less(space, rows[i, start])
    return State(moved, tuple(taken), unit.shape.bits * len(taken) + best - sum(len(p.views) > 2 for p in taken) / 2)


# Spaces over GF(2): a bit of the words is a number whose bits are its coordinates; one more, 0, is no bit


def seen(space: Array, places: Array, sets: Array) -> Array:
    """What the bits of weights are in sets of views, XORed, [set, start, bit]."""
    return np.bitwise_xor.reduce(space[places][sets], axis=1)  # type: ignore[no-any-return]


def quotient(unit: Unit, pairs: Sequence[Pair]) -> Array:
    """Bits of the words, where what the pairs show counts for nothing."""
    basis: dict[int, int] = {}  # by the highest bit of a row
    for row in (row for pair in pairs for row in rows_of(unit.shape, pair)):
        while (top := row.bit_length() - 1) in basis:
            row ^= basis[top]
        basis[top] = row
    free = (1 << i for i in range(unit.size))
    out: list[int] = []
    for bit in range(unit.size):
        shown = basis.get(bit)
        out.append(next(free) if shown is None else reduce(xor, (out[i] for i in range(bit) if shown >> i & 1), 0))
    return np.array([*out, 0], np.int64 if unit.size - len(basis) < 63 else object)


def rows_of(shape: Program, pair: Pair) -> list[int]:
    """For each bit of a weight the bits of the words' low lanes whose sum it is."""
    return [sum(1 << shape.lane * word + (place - rotation) % shape.lane for word, rotation in pair.views) for place in shape.places(pair)]


def ranks(rows: Array) -> Array:
    """How many of the rows [..., n] are independent of those before."""
    rows, rank = rows.copy(), np.zeros(rows.shape[:-1], int)
    for i in range(rows.shape[-1]):
        pivot = rows[..., i : i + 1]
        lowest = pivot & -pivot
        rank += lowest[..., 0] != 0
        rows[..., i + 1 :] ^= np.where((rows[..., i + 1 :] & lowest) != 0, pivot, 0)
    return rank


def less(space: Array, rows: Array) -> Array:
    """A space where some more rows, independent ones, count for nothing."""
    rest = list(rows)
    while rest:
        pivot = rest.pop()
        lowest = pivot & -pivot
        rest = [row ^ pivot if row & lowest else row for row in rest]
        space = np.where((space & lowest) != 0, space ^ pivot, space)
    return space


# what programs cost


def cost(program: Program) -> tuple[float, int]:
    """Instructions for a unit, factors for places of integers included, right shifts and rotations a little more than left shifts, which any pipe does; and
    of programs that are equal in this, steps of the packer."""
    kinds = [kind for kind, by in program.moves.values() if by]
    factors = 0 if program.floating else len({p.shift for p in program.pairs}) * program.weights / SHARED
    return instructions(program) + factors - 0.01 * kinds.count("shl"), sum(1 + len(masks) for masks in program.terms.values())


def instructions(program: Program) -> int:
    """Shifts, and LOP3 of three inputs, the mask of two views being one of them; none where a mask keeps all."""
    shifts = sum(by != 0 for _, by in program.moves.values())
    if program.bits == program.lane:
        return shifts + sum(len(pair.views) // 2 for pair in program.pairs)
    return shifts + sum(-(-len(pair.views) // 2) for pair in program.pairs)


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
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    for count, program in search(given.type, given.to, given.seconds, given.seed):
        again = read(line(program), program.bits, program.floating, given.to, program.mantissa_bits)
        require(again == program, "a program's line does not say it all")
        print(f"{count} instructions for {program.weights} weights: {line(program)}", flush=True)


if __name__ == "__main__":
    main()
