"""The layout of a shared tile under which all its accesses together take the fewest turns of the banks.

An access is where the lanes of a warp go: the coordinates that a register layout gives them. A layout of memory makes addresses of these, and
addresses take turns (`tilec.ir.shared.ways`). The search is over XOR swizzles of every width, place and distance, and over rows with a gap
of 16 bytes; it stops at the first layout under which no access waits. Turns count by the rounds of the loops around them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tilec.ir.layout import Layout
from tilec.ir.shared import BANK_BYTES, BANKS, WARP, SharedLayout, Swizzle, row_major, turns

WIDEST = 16  # bytes of one thread's access
SAMPLES = 2  # registers of which the turns are counted; the others of a tile are like them


class Access(NamedTuple):
    """One access of a tile: the register layout, the memory axis of each of its axes, the rounds that it runs.

    `rows`, if matrices of 8 rows are loaded at once, is the layout of row starts, which counts in rows along the contiguous axis.
    """

    layout: Layout
    dims: tuple[int, ...]
    rounds: float
    rows: Layout | None = None


@lru_cache(maxsize=256)
def best_layout(shape: tuple[int, ...], item: int, accesses: tuple[Access, ...]) -> SharedLayout:
    """The layout of a tile of elements of `item` bytes; the first of equals, and plain row-major before all others."""
    best, least = row_major(*shape), math.inf
    fewest = sum(a.rounds * fewest_turns(best, item, a) for a in accesses)
    for candidate in candidates(shape, item, natural_runs(shape, item, accesses)):
        cost = 0.0
        for access in accesses:
            cost += access.rounds * turns_of(candidate, item, access)
            if cost >= least:
                break
        else:
            best, least = candidate, cost
        if least <= fewest:
            break
    return best


def natural_runs(shape: tuple[int, ...], item: int, accesses: tuple[Access, ...]) -> list[int]:
    """How many neighbours a swizzle may keep together: 16 bytes, more, and down to the shortest vector of an access."""
    plain, most = row_major(*shape), max(1, WIDEST // item)
    least = min((vector_of(plain, item, a) for a in accesses if a.rows is None), default=most)
    chunk = most.bit_length() - 1
    larger = range(chunk, (BANKS * BANK_BYTES // item).bit_length() - 1)
    return [1 << n for n in (*larger, *reversed(range(least.bit_length() - 1, chunk)))]


def candidates(shape: tuple[int, ...], item: int, runs: list[int]) -> Iterator[SharedLayout]:
    yield row_major(*shape)
    if len(shape) < 2:
        return
    top = (shape[-2] * shape[-1] - 1).bit_length()
    for run in runs:
        base = run.bit_length() - 1
        for bits in range(1, (BANKS * BANK_BYTES // item).bit_length() - base):
            for shift in range(bits, top - base - bits + 1):
                yield stacked(shape, Swizzle(bits, base, shift))
    gap = max(1, WIDEST // item)
    yield stacked(shape, None, shape[-1] + gap)


def stacked(shape: tuple[int, ...], swizzle: Swizzle | None, pitch: int = 0) -> SharedLayout:
    """The layout of a stack of matrices, each laid out alike and on a multiple of the swizzle's period, so that any can be cut out."""
    if len(shape) < 2:
        return row_major(*shape)
    pitch = pitch or shape[-1]
    matrix = SharedLayout(shape[-2:], (pitch, 1), swizzle)
    period = swizzle.period if swizzle else WIDEST
    size = -(-(shape[-2] * pitch if pitch > shape[-1] else matrix.size) // period) * period if len(shape) > 2 else 0
    strides = list(matrix.strides)
    for n in reversed(shape[:-2]):
        strides.insert(0, size)
        size *= n
    return SharedLayout(shape, tuple(strides), swizzle)


def vector_of(memory: SharedLayout, item: int, access: Access) -> int:
    """Elements of one vector of an access."""
    last = memory.rank - 1
    if last not in access.dims:
        return 1
    run = math.gcd(access.layout.vector_run(access.dims.index(last)), memory.run(last), access.layout.registers)
    return math.gcd(run, max(1, WIDEST // item))


def turns_of(memory: SharedLayout, item: int, access: Access) -> float:
    """The turns that a warp's access of its registers takes, and one more for each instruction."""
    whole = WIDEST // item
    if access.rows is not None and memory.run() % whole == 0:
        layout, vector, scale, width = access.rows, 1, whole, WIDEST
    else:
        vector = vector_of(memory, item, access)
        layout, scale, width = access.layout, 1, vector * item
    lines, inside = lines_of(memory.shape, memory.strides, layout, access.dims, scale, vector)
    offsets = memory.swizzle(lines) if memory.swizzle else lines
    taken = int(turns(np.where(inside, offsets * item, -1), width).sum())
    return layout.registers / vector * (taken / len(lines) + 1)


def fewest_turns(plain: SharedLayout, item: int, access: Access) -> float:
    """What no layout can do better than."""
    layout, vector = access.layout, vector_of(plain, item, access)
    if access.rows is not None:
        layout, vector, item = access.rows, 1, WIDEST
    return layout.registers / vector * (-(-WARP * vector * item // (BANKS * BANK_BYTES)) + 1)


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
