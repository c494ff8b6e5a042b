"""How the product of a linear layer is shared out among blocks, by its shape.

The matrix instructions take 16 rows, and fewer have no form of their own: in f32 a weight would take a conversion, once, and a multiply-add for
each row, where a quarter of a matrix instruction does for all rows.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tilec import cdiv

TILE = 128  # rows of weights that are loaded at once
SHARED = 99 << 10  # bytes of shared memory that a block of any GPU may have (sm_86, sm_89, sm_120)


class Form(NamedTuple):
    """How a product is shared out: rows and columns of a block's tile, its warps, stages of the pipeline, parts of the sum over K."""

    bm: int
    bn: int
    warps: int
    stages: int
    splits: int


MEASURED = Path(__file__).with_name("forms.json")  # forms that were the fastest on a GPU, by `key`; `make gpu` writes it
TILES = ((128, 256, 8), (64, 256, 8), (64, 128, 4), (64, 128, 8), (32, 128, 4), (16, 128, 4))  # rows, columns, warps


def form(
    m: int, n: int, k: int, bits: int, group: int = TILE, sums: bool = False, multiprocessors: int = 108, shared: int = SHARED
) -> Form:  # fmt: skip
    """The form for m rows of activations and weights [k, n] of some bits, in groups of `group`, perhaps with scales on their `sums`, on a GPU of so
    many multiprocessors and bytes of shared memory for a block. Few rows are bound by the weights' bytes, which want blocks on every
    multiprocessor and many copies under way; many rows by the matrix instructions, which want large tiles: a weight is converted once for all
    rows of a tile. What was measured on such a GPU takes precedence."""
    found = measured(MEASURED).get(key(m, n, k, bits, group, sums, multiprocessors, shared))
    return found or estimated(m, n, k, bits, group, sums, multiprocessors, shared)


@cache
def measured(path: Path) -> dict[str, Form]:
    """The table of measured forms, if there is one."""
    return {k: Form(*v) for k, v in json.loads(path.read_text()).items()} if path.exists() else {}


def key(m: int, n: int, k: int, bits: int, group: int, sums: bool, multiprocessors: int, shared: int) -> str:
    """What forms are kept under: rows by powers of two, groups of a tile and more as one."""
    rows, where = 1 << max(0, m - 1).bit_length(), ", scales on sums" if sums else ""
    return f"{multiprocessors} multiprocessors of {shared} bytes: {rows} rows, {bits} bits {k}x{n}, groups of {min(group, TILE)}{where}"


def estimated(m: int, n: int, k: int, bits: int, group: int, sums: bool, multiprocessors: int, shared: int) -> Form:
    """The form by reckoning."""
    rows, steps = next((r for r in (16, 32, 64) if m <= r), 128), cdiv(k, TILE)
    for bm, bn, warps in TILES:
        tiles = cdiv(m, bm) * cdiv(n, bn)
        splits = max(1, min(2 * multiprocessors // tiles, steps // 4, 16)) if bm < 128 else 1
        fit = stages(bm, bn, bits, group, splits, shared)
        held = bm * bn // (32 * warps)  # registers of a thread for the result
        if bm <= rows and bn <= max(n, 128) and fit >= 2 and held <= (32 if sums else 64 if group < 32 else 128):  # what needs no spills
            break
    return Form(bm, bn, warps, max(1, min(4, steps, fit)), splits)


def stages(bm: int, bn: int, bits: int, group: int, splits: int, shared: int) -> int:
    """How many stages fit: activations, weights, scales and zero points of each, beside what the results are exchanged through at the end and the
    finer scales in the loop."""
    few = max(1, TILE // group)
    stage = bm * TILE * 2 + TILE * bn * bits // 8 + 2 * few * bn * 4
    return (shared - bm * (bn + 8) * (4 if splits > 1 else 2) - 4 * few * (bn + 8) * 2) // stage
