"""How the product of a linear layer is shared out among blocks, by its shape."""

from __future__ import annotations

from typing import NamedTuple

from tilec import cdiv

TILE = 128  # rows of weights that are loaded at once


class Form(NamedTuple):
    """How a product is shared out: rows and columns of a block's tile, its warps, stages of the pipeline, parts of the sum over K."""

    bm: int
    bn: int
    warps: int
    stages: int
    splits: int


def form(m: int, n: int, k: int, bits: int, multiprocessors: int = 108) -> Form:
    """The form for m rows of activations. Few rows are bound by the weights' bytes, which want blocks on every multiprocessor and many
    copies under way; many rows by the matrix instructions, which want large tiles."""
    bm = next((rows for rows in (16, 32, 64) if m <= rows), 128)
    bn, warps = (128, 4) if bm < 128 else (128, 8)
    stages = 4 if bm <= 32 else 3
    tiles, steps = cdiv(m, bm) * cdiv(n, bn), cdiv(k, TILE)
    splits = max(1, min(2 * multiprocessors // tiles, steps // 4, 16)) if bm < 128 else 1
    return Form(bm, bn, warps, stages, splits)
