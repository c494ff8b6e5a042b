"""What steps take of a multiprocessor, by counting: instructions, shuffles, passes over the banks, barriers, sectors, registers.

What is counted is what the code generator will write: vectors as wide as a layout lets them be, matrices of 8 rows where ldmatrix or stmatrix fit,
conversions in registers, by shuffles, or through a scratch tile. Counts are of all warps of a block together; those of
accesses are of warp 0 and of a few registers, which the others are like. Units are those of `tilec.ir.target.Cost`.

The weights are the cycles for which a multiprocessor is busy: two instructions a cycle, of the four that it could issue, as few kernels issue more;
32 lanes shuffled, and one pass over the banks, a cycle (CUDA C++ Programming Guide 13, "Arithmetic Instructions"). A sector is a cycle: it takes 2/3 of
one from the L2 cache, 5120 bytes a cycle for 108 multiprocessors, and 3 from memory (NVIDIA A100 Tensor Core GPU Architecture, V1.0), of which most that
are touched twice come but once. A barrier's 8 cycles for each warp that comes to it, and a register's 1/64, are estimates.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tilec.backend.isa import ldmatrix
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused
from tilec.ir.shared import BANK_BYTES, BANKS, WARP, row_major, turns
from tilec.ir.target import Cost, Way
from tilec.ir.types import SharedType, TileType
from tilec.records import replace

WEIGHTS = Cost(instructions=0.5, shuffles=1.0, passes=1.0, barriers=8.0, sectors=1.0, registers=1 / 64)
SECTOR = 32  # bytes
WORD = 32  # bits of a register
BANK_ROW = BANKS * BANK_BYTES  # bytes that one pass moves
MATRIX_ROW = 16  # bytes that ldmatrix and stmatrix move for each lane, or rather for each row
SAMPLES = 4  # registers of which accesses are counted
UNPACKED = 2.0  # instructions that make a weight of its bits


def weight(cost: Cost) -> float:
    return sum(n * unit for n, unit in zip(cost.parts, WEIGHTS.parts, strict=True))


def warps_of(layout: Layout) -> int:
    return -(-layout.threads // WARP)


def item_bits(tile: TileType) -> int:
    return 8 if tile.dtype.is_bool else tile.dtype.bits


def held(tile: TileType) -> Cost:
    """The registers that a tile lies in."""
    assert tile.layout is not None
    return Cost(registers=tile.layout.registers * item_bits(tile) / WORD * warps_of(tile.layout))


# conversions


@lru_cache(maxsize=1024)
def conversions(tile: TileType, layout: Layout) -> tuple[Way, ...]:
    """The least dear first; the first of equals in the order of `tilec.ir.target.HOW`."""
    given = tile.layout
    assert given is not None
    if stays_in_thread(given, layout):
        return (Way("registers", Cost()),)
    ways = []
    suppliers = layout.suppliers(given) if tile.dtype.bits <= WORD and not crosses_warps(given, layout) else None
    if suppliers is not None:
        count, warps = sum(map(len, suppliers)), warps_of(layout)
        ways.append(Way("shuffles", Cost(instructions=(count - len(suppliers)) * warps, shuffles=count * warps)))
    memory, dims = SharedType(tile.dtype, tile.shape), tuple(range(tile.rank))
    there = shared_access(tile, memory, dims, stored=True)
    back = shared_access(TileType(tile.dtype, tile.shape, layout), memory, dims)
    ways.append(Way("shared memory", there + back + Cost(barriers=2 * warps_of(layout))))
    return tuple(sorted(ways, key=lambda way: weight(way.cost)))


@lru_cache(maxsize=1024)
def stays_in_thread(source: Layout, target: Layout) -> bool:
    """Whether every register's element lies in one and the same register of its own thread."""
    if source == target:
        return True
    if in_bits(source, target):
        (thread, register), (other, _) = edges(source, target)
        return not register.any() and not other.any() and bool((thread == holders(source)).all())
    registers = target.registers_in(source)
    return bool((registers >= 0).all() and (registers == registers[0]).all())


def crosses_warps(source: Layout, target: Layout) -> bool:
    """Whether it is plain to see that the first thread of the block wants an element that no thread of its warp holds."""
    return in_bits(source, target) and bool(set(edges(source, target)[1][0].tolist()) - set(holders(source)[:WARP].tolist()))


def in_bits(source: Layout, target: Layout) -> bool:
    """Whether layouts of one shape consist of digits that are powers of two: then what a thread wants in a register lies at the place of what it
    wants in its first one, XORed with the place of what the first thread wants in that register."""
    digits = (*source.thread_digits, *source.register_digits, *target.thread_digits, *target.register_digits)
    return source.shape == target.shape and source.threads == target.threads and all(not d.size & (d.size - 1) for d in digits)


def edges(source: Layout, target: Layout) -> tuple[Any, Any]:
    """The thread and register in `source` of what each thread wants in its first register, and of what the first thread wants in each."""
    return source.locate(target(np.arange(target.threads), 0)), source.locate(target(0, np.arange(target.registers)))


def holders(source: Layout) -> np.ndarray:
    """For each thread the first that holds the same elements."""
    return np.asarray(source.locate(source(np.arange(source.threads), 0))[0])


# accesses


@lru_cache(maxsize=1024)
def shared_access(tile: TileType, memory: SharedType, dims: tuple[int, ...], stored: bool = False) -> Cost:
    """Of memory whose layout is not chosen yet it is taken that a swizzle will be found under which no lanes wait for one another."""
    layout, item, lines = tile.layout, item_bits(tile) / 8, memory.layout or row_major(*memory.shape)
    assert layout is not None
    warps = warps_of(layout)
    if not isinstance((ldmatrix.stored if stored else ldmatrix.addresses)(replace(memory, layout=lines), dims, tile), Refused):
        matrices = layout.registers * item / 4  # of 8 rows
        return Cost(instructions=matrices / 4 * warps, passes=matrices * warps)
    if item < 1:
        return Cost(instructions=layout.registers * warps, passes=layout.registers * warps)
    vector = 1
    if lines.fast is not None and lines.fast in dims:
        vector = math.gcd(layout.vector_run(dims.index(lines.fast)), lines.run(lines.fast), MATRIX_ROW // min(MATRIX_ROW, int(item)))
    issued = layout.registers / vector * warps
    if memory.layout is None:
        return Cost(instructions=issued, passes=max(1.0, WARP * vector * item / BANK_ROW) * issued)
    sampled = samples(layout.registers, vector)
    places = layout.coords()[:WARP, sampled]
    at = sum((places[..., a] * lines.strides[d] for a, d in enumerate(dims)), start=np.zeros(places.shape[:-1], np.int64)).T
    offsets = lines.swizzle(at) if lines.swizzle else at
    taken = float(turns(offsets * int(item), int(vector * item)).sum()) / len(sampled)
    return Cost(instructions=issued, passes=taken * issued)


@lru_cache(maxsize=1024)
def global_access(tile: TileType, along: int | None, most: int) -> Cost:
    layout, item = tile.layout, item_bits(tile) / 8
    assert layout is not None
    vector = 1
    while along is not None and most % (2 * vector) == 0 and layout.vector_run(along) % (2 * vector) == 0:
        vector *= 2
    vector = min(vector, max(1, int(MATRIX_ROW / item)))
    sampled = samples(layout.registers, vector)
    places = layout.coords()[:WARP, sampled].astype(np.int64)
    key = np.zeros(places.shape[:-1], np.int64)
    for axis, extent in enumerate(layout.shape):
        at = places[..., axis]
        key = key * extent + (at * item // SECTOR if axis == along else at).astype(np.int64)
    lanes = np.sort(key, axis=0)
    distinct = 1 + float((lanes[1:] != lanes[:-1]).sum(axis=0).mean())
    across = max(1.0, vector * item / SECTOR)
    issued = layout.registers / vector * warps_of(layout)
    return Cost(instructions=issued, sectors=distinct * across * issued) + held(tile)


def samples(registers: int, vector: int) -> list[int]:
    """Some registers that vectors begin with."""
    return list(range(0, registers, max(vector, registers // SAMPLES // vector * vector)))


# reductions and weights


@lru_cache(maxsize=1024)
def reduction(tile: TileType, axes: tuple[int, ...]) -> Cost:
    layout = tile.layout
    assert layout is not None
    warps, bits = warps_of(layout), max(1, tile.dtype.bits // WORD)
    kept = layout.reduce(axes)
    lanes, across = 1, 1
    for digit, place in layout.thread_places():
        if digit.dim in axes:
            inside = min(digit.size, max(1, WARP // place))
            lanes, across = lanes * inside, across * (digit.size // inside)
    steps = (lanes - 1).bit_length() * kept.registers * bits * warps
    cost = Cost(instructions=(layout.registers - kept.registers) * warps + steps, shuffles=steps)
    if across > 1:
        moved = kept.registers * bits * warps
        cost += Cost(instructions=moved * (2 + across), passes=moved * (1 + across), barriers=2 * warps)
    return cost


def unpacking(tile: TileType) -> Cost:
    assert tile.layout is not None
    return Cost(instructions=UNPACKED * tile.layout.registers * warps_of(tile.layout))
