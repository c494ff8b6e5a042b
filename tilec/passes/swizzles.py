"""The layout of a shared tile under which all its accesses together take the fewest turns of the banks.

An access is where the lanes of a warp go: the coordinates that a register layout gives them. Of powers of two, each bit of a lane's number moves
one bit of the element's place. The lanes that one turn serves, as many as move 128 bytes, are apart by some set of such bits; the banks are the bits
5 to 9 of a place in bits. A swizzle XORs a mask of bank bits into a place for each higher bit that is set. So a higher bit is a vector over GF(2),
its mask; a bank bit is a unit vector; and an access takes twice as many turns for each vector of its set that depends on the others.

The search assigns masks, bit by bit, for the fewest turns of all accesses, weighed by how often each runs: depth first, the least harm first, and
no further where what is lost already can't be less than the best. Mostly the first descent loses nothing. That is done for each number of
neighbours that may stay together, as masks of fewer bits serve wide vectors and masks of more serve many rows. Where sizes are no powers of two,
places are counted (`tilec.ir.shared.turns`) under XORs of neighbouring bits, and under rows with gaps between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tilec.ir.layout import NOWHERE, Digit, Layout
from tilec.ir.shared import BANK_BYTES, BANKS, WARP, SharedLayout, Swizzle, Term, row_major, turns

WIDEST = 128  # bits of one thread's access
WORD = 8 * BANK_BYTES  # bits
TOP = (BANKS * WORD).bit_length() - 1  # bit of a place, in bits, above those that tell a bank
SAMPLES = 4  # registers of which turns are counted; the others of a tile are like them
STEPS = 3000  # masks that are tried, at most


class Access(NamedTuple):
    """One access of a tile: the register layout, the memory axis of each of its axes, the rounds that it runs.

    `rows`, if matrices of 8 rows are loaded at once, is the layout of row starts, which counts in rows along the contiguous axis. `limit`, if
    not 0, is what the elements of a vector must divide for other reasons.
    """

    layout: Layout
    dims: tuple[int, ...]
    rounds: float
    rows: Layout | None = None
    limit: int = 0


class Cost(NamedTuple):
    """Of all accesses of a tile, weighed by their rounds: what they take, turns of the banks and instructions together; the turns if no lane waited
    for another; and how many more there are."""

    taken: float
    turns: float
    waits: float


class Found(NamedTuple):
    """A layout and what it costs."""

    layout: SharedLayout
    cost: Cost


def best_layout(shape: tuple[int, ...], bits: int, accesses: tuple[Access, ...], sliced: int | None = None) -> SharedLayout:
    """The layout of a tile of elements of so many bits, a power of two; of equals the one with the fewest XORs, plain row-major before all others. So many of
    its first axes may be `sliced`, all but two unless told: each slice is laid out alike."""
    return best(shape, bits, accesses, sliced).layout


@lru_cache(maxsize=256)
def best(
    shape: tuple[int, ...], bits: int, accesses: tuple[Access, ...], sliced: int | None = None, joined: tuple[int, ...] = (), together: int = 1
) -> Found:
    """`best_layout` with its cost. As views want it, an axis in `joined` follows the one before it without a gap, and `together` neighbours stay so."""
    stacks = max(0, len(shape) - 2) if sliced is None else sliced
    plain = row_major(*shape)

    def serves(layout: SharedLayout) -> bool:
        gaps = any(layout.strides[a - 1] != layout.strides[a] * shape[a] for a in joined)
        return sliceable(layout, stacks) and not gaps and layout.run() % together == 0

    found = by_masks(plain, bits, accesses, stacks, together)
    if found is None and bits < 8:
        return Found(plain, Cost(0.0, 0.0, 0.0))
    return found or min(by_count(shape, bits, accesses, serves), key=lambda f: (f.cost.taken, f.layout.size))


def vector_of(run: int, bits: int, rank: int, access: Access) -> int:
    """Elements of one vector of an access, where so many neighbours lie together; of elements that fill no bytes, it fills words."""
    last = rank - 1
    if last not in access.dims:
        return 1
    found = math.gcd(access.layout.vector_run(access.dims.index(last)), run, access.layout.registers, WIDEST // bits, access.limit)
    return found if bits >= 8 or found * bits >= WORD else 1


# by masks


class Pattern(NamedTuple):
    """The bits of a place by which the lanes that one turn serves are apart; the instructions, and turns if none waits, of a warp, weighed."""

    bits: frozenset[int]
    instructions: float
    turns: float


Masks = dict[int, int]  # which bank bits are changed, by the bit that is read


def by_masks(plain: SharedLayout, bits: int, accesses: Sequence[Access], stacks: int, together: int = 1) -> Found | None:
    """The best swizzle that keeps so many neighbours together; None where places are no sums of bits."""
    steps = [plain.strides[a] * bits for a in range(stacks) if plain.shape[a] > 1]
    readable = math.gcd(*steps)  # a slice begins at a multiple of what its swizzle reads
    found: tuple[Cost, Masks] | None = None
    for low in range(WIDEST.bit_length() - 1, max(WORD, bits * together).bit_length() - 2, -1):
        patterns = [pattern(plain, bits, a, 1 << low) for a in accesses]
        if any(p is None for p in patterns):
            return None
        known = [p for p in patterns if p is not None]
        instructions, served = (sum(n) for n in zip(*((p.instructions, p.turns) for p in known), strict=True)) if known else (0.0, 0.0)
        if found and instructions + served >= found[0].taken:
            continue
        masks, taken = assigned(known, low, [p for p in sorted(set().union(*(p.bits for p in known))) if p >= TOP and readable % (2 << p) == 0])
        if found is None or instructions + taken < found[0].taken:
            found = Cost(instructions + taken, served, taken - served), masks
    assert found is not None
    return Found(SharedLayout(plain.shape, plain.strides, swizzle_by(found[1], bits.bit_length() - 1)), found[0])


def pattern(plain: SharedLayout, bits: int, access: Access, together: int) -> Pattern | None:
    """What an access asks of a layout that keeps so many bits together, a power of two; None if its places are no sums of bits."""
    layout, scale = access.layout, 1
    run = math.gcd(plain.run(), max(1, together // bits))
    if access.rows is not None and run * bits == WIDEST:
        layout, scale, vector = access.rows, run, 1
        width = WIDEST
    else:
        vector = vector_of(run, bits, plain.rank, access)
        width = vector * bits
    lanes = WARP * WORD // max(WORD, width)
    moved = lane_bits(plain, layout, access.dims, scale, lanes)
    if moved is None:
        return None
    shift = bits.bit_length() - 1
    kept = frozenset(b + shift for b in moved if b + shift >= together.bit_length() - 1)  # below, banks are told apart whatever the masks
    weight = access.rounds * layout.registers / vector * (layout.threads // WARP)
    return Pattern(kept, weight, weight * (WARP // lanes))


@lru_cache(maxsize=256)
def lane_bits(plain: SharedLayout, layout: Layout, dims: tuple[int, ...], scale: int, lanes: int) -> tuple[int, ...] | None:
    """The bits of an element's offset that the bits of a lane's number move, of the first so many lanes; None if these are no powers of two."""
    found: list[int] = []
    for digit, place in layout.thread_places():
        if place >= lanes:
            break
        size = math.gcd(digit.size, lanes // place)
        if lanes % place or (size != digit.size and place * size != lanes) or size & (size - 1):
            return None
        if digit.dim != NOWHERE and size > 1:
            first = step_of(plain, dims, digit, scale)
            if first & (first - 1):
                return None
            found += range(first.bit_length() - 1, first.bit_length() + size.bit_length() - 2)
    reach = max([*found, TOP])
    strides = [s for s, n in zip(plain.strides, plain.shape, strict=True) if n > 1]
    return tuple(found) if all(s & (s - 1) == 0 or s % (2 << reach) == 0 for s in strides) else None


def step_of(plain: SharedLayout, dims: tuple[int, ...], digit: Digit, scale: int) -> int:
    dim = dims[digit.dim]
    return plain.strides[dim] * digit.stride * (scale if dim == plain.rank - 1 else 1)


def assigned(patterns: Sequence[Pattern], low: int, sources: Sequence[int]) -> tuple[Masks, float]:
    """Masks of the bank bits from `low` up, for the fewest turns; and these turns."""
    return Assignment(patterns, low, sources).best


class Assignment:
    """A search for masks: what has been spanned by each pattern's vectors, and what depended on others."""

    def __init__(self, patterns: Sequence[Pattern], low: int, sources: Sequence[int]):
        weights: dict[frozenset[int], float] = {}
        for p in patterns:
            weights[p.bits] = weights.get(p.bits, 0.0) + p.turns
        self.low, self.sources, self.left = low, sources, STEPS
        self.sets, self.weights = list(weights), list(weights.values())
        self.floor = [2.0 ** max(0, len(s) - (TOP - low)) for s in self.sets]  # turns where each vector counts that can
        spans = [subspace(1 << b - low for b in s if b < TOP) for s in self.sets]
        lost = [2.0 ** sum(b >= TOP and b not in sources for b in s) for s in self.sets]
        self.best: tuple[Masks, float] = ({}, math.inf)
        self.descend(0, spans, lost, {})

    def least(self, lost: Sequence[float]) -> float:
        """The turns that a choice so far can't do without."""
        return sum(w * max(a, b) for w, a, b in zip(self.weights, lost, self.floor, strict=True))

    def descend(self, at: int, spans: list[frozenset[int]], lost: list[float], masks: Masks) -> None:
        if at == len(self.sources):
            self.best = dict(masks), self.least(lost)
            return
        bit = self.sources[at]
        inside = [i for i, s in enumerate(self.sets) if bit in s]
        for mask, dependent in self.choices(bit, {i: spans[i] for i in inside}, lost, masks):
            then = [2 * n if i in dependent else n for i, n in enumerate(lost)] if dependent else lost
            if self.least(then) >= self.best[1] or self.left <= 0:
                return
            self.left -= 1
            spanned = [joined(s, mask) if i in inside else s for i, s in enumerate(spans)]
            self.descend(at + 1, spanned, then, {**masks, bit: mask << self.low})

    def choices(self, bit: int, spans: dict[int, frozenset[int]], lost: list[float], masks: Masks) -> Iterator[tuple[int, list[int]]]:
        """Masks for a bit, each with the sets whose other vectors it depends on: those that cost the fewest turns first, then instructions."""
        every = range(1 << TOP - self.low)
        known = {b - t for b, m in masks.items() for t in set_bits(m)}
        efforts = [self.effort(known, bit, m) for m in every]
        spanned = frozenset().union(*spans.values())
        yield from ((m, []) for m in sorted((m for m in every if m not in spanned), key=efforts.__getitem__))
        harmful = {m: [i for i, s in spans.items() if m in s] for m in spanned}
        harm = {m: self.least([2 * n if i in d else n for i, n in enumerate(lost)]) for m, d in harmful.items()}
        yield from ((m, harmful[m]) for m in sorted(harmful, key=lambda m: (harm[m], efforts[m])))

    def effort(self, known: set[int], bit: int, mask: int) -> int:
        """What a mask adds to an address: instructions for each distance that is not known yet; of equals the one of fewer bits."""
        targets = set_bits(mask)
        return 8 * sum(bit - self.low - t not in known for t in targets) + len(targets)


def subspace(vectors: Iterable[int]) -> frozenset[int]:
    """All sums of vectors over GF(2)."""
    spanned = frozenset((0,))
    for v in vectors:
        spanned = joined(spanned, v)
    return spanned


def joined(spanned: frozenset[int], vector: int) -> frozenset[int]:
    return spanned | {s ^ vector for s in spanned}


@lru_cache(maxsize=256)
def set_bits(number: int) -> list[int]:
    return [b for b in range(number.bit_length()) if number >> b & 1]


def swizzle_by(masks: Masks, shift: int) -> Swizzle | None:
    """The swizzle, of offsets in elements of 2**shift bits, that XORs a mask for each bit; neighbours at one distance are one term."""
    pairs = sorted((bit - target, target - shift) for bit, mask in masks.items() for target in set_bits(mask))
    terms: list[Term] = []
    for distance, target in pairs:
        bits, base, known = terms[-1] if terms else (0, 0, 0)
        if bits and known == distance and base + bits == target and bits < distance:
            terms[-1] = bits + 1, base, distance
        else:
            terms.append((1, target, distance))
    return Swizzle(*terms[0], tuple(terms[1:])) if terms else None


# by count


def by_count(shape: tuple[int, ...], bits: int, accesses: Sequence[Access], serves: Callable[[SharedLayout], bool]) -> Iterator[Found]:
    """The best that serves of what is tried where masks don't serve, for each number of bytes that stay together and each distance of rows."""
    for run in (n // bits for n in (WIDEST, WIDEST // 2, WORD) if n >= bits):
        for candidates in (swizzled(shape, bits, run), *([c] for c in gapped(shape, run))):
            for strides in dict.fromkeys(c.strides for c in candidates):
                known = [c for c in candidates if c.strides == strides and serves(c)]
                if known:
                    costs = counted(known, bits, accesses)
                    first = min(range(len(known)), key=lambda i: (costs[i].taken, known[i].size))
                    yield Found(known[first], costs[first])


def swizzled(shape: tuple[int, ...], bits_each: int, run: int) -> list[SharedLayout]:
    """Plain rows, and XORs of neighbouring bits."""
    found = [row_major(*shape)]
    top, base = (math.prod(shape[-2:]) - 1).bit_length(), run.bit_length() - 1
    for bits in range(1, (BANKS * WORD // bits_each).bit_length() - base):
        found += [stacked(shape, Swizzle(bits, base, shift)) for shift in range(bits, top - base - bits + 1)]
    return found


def gapped(shape: tuple[int, ...], run: int) -> list[SharedLayout]:
    """Rows with a gap between, of a whole number of runs."""
    if len(shape) < 2:
        return []
    first = -(-shape[-1] // run) * run
    return [stacked(shape, None, first + n * run) for n in (0, 1, 2, 3, 4) if first + n * run > shape[-1]]


def stacked(shape: tuple[int, ...], swizzle: Swizzle | None, pitch: int = 0) -> SharedLayout:
    """The layout of a stack of matrices, each laid out alike and on a multiple of the swizzle's period, so that any can be cut out."""
    pitch = pitch or shape[-1]
    matrix = SharedLayout(shape[-2:], (pitch, 1)[-len(shape[-2:]) :], swizzle)
    period = swizzle.period if swizzle else 16
    size = -(-(shape[-2] * pitch if pitch > shape[-1] else matrix.size) // period) * period if len(shape) > 2 else 0
    strides = list(matrix.strides)
    for n in reversed(shape[:-2]):
        strides.insert(0, size)
        size *= n
    return SharedLayout(shape, tuple(strides), swizzle)


def sliceable(layout: SharedLayout, stacks: int) -> bool:
    return layout.swizzle is None or all(s % layout.swizzle.period == 0 for s in layout.strides[:stacks])


def counted(layouts: Sequence[SharedLayout], bits: int, accesses: Sequence[Access]) -> list[Cost]:
    """What each of some layouts with the same strides costs: turns, and one more for each instruction."""
    taken, served, waits = np.zeros((3, len(layouts)))
    for access in accesses:
        for run in {c.run() for c in layouts}:
            mine = [i for i, c in enumerate(layouts) if c.run() == run]
            instructions, per_turn, count = turns_of([layouts[i] for i in mine], run, bits, access)
            taken[mine] += instructions * (count + 1)
            served[mine] += instructions * per_turn
            waits[mine] += instructions * (count - per_turn)
    return [Cost(*map(float, each)) for each in zip(taken, served, waits, strict=True)]


def turns_of(layouts: Sequence[SharedLayout], run: int, bits: int, access: Access) -> tuple[float, float, np.ndarray]:
    """Of one access: instructions of a warp, weighed; turns of one if no lane waits; turns of one under each layout."""
    memory, whole = layouts[0], max(1, WIDEST // bits)
    if access.rows is not None and run % whole == 0:
        layout, vector, scale, width = access.rows, 1, whole, WIDEST // 8
    else:
        vector = vector_of(run, bits, memory.rank, access)
        layout, scale, width = access.layout, 1, vector * bits // 8
    lines, inside = lines_of(memory.shape, memory.strides, layout, access.dims, scale, vector)
    offsets = np.stack([c.swizzle(lines) if c.swizzle else lines for c in layouts])
    each = turns(np.where(inside, offsets * bits // 8, -1), width)
    served = (each > 0).sum(axis=-1).mean(axis=-1)
    instructions = access.rounds * layout.registers / vector * (layout.threads // WARP)
    return instructions, float(served.mean()), each.sum(axis=-1).mean(axis=-1)


@lru_cache(maxsize=256)
def lines_of(
    shape: tuple[int, ...], strides: tuple[int, ...], layout: Layout, dims: tuple[int, ...], scale: int, vector: int
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets before a swizzle of what the lanes of a warp begin their vectors at, [registers sampled, 32], and whether it is in the tile."""
    coords = layout.coords()[:WARP]
    registers = range(0, layout.registers, max(vector, layout.registers // SAMPLES // vector * vector))
    lines = np.zeros((len(registers), len(coords)), np.int64)
    inside = np.ones(lines.shape, bool)
    for axis, dim in enumerate(dims):
        at = coords[:, registers, axis].T * (scale if dim == len(shape) - 1 else 1)
        lines += at * strides[dim]
        inside &= at < shape[dim]
    return lines, inside
