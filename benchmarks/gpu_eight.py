"""How fast layers are whose activations have 8 bits, on the shapes of `gpu_layers`: tasks "layer: int8 x int4 ..." of `make gpu`, whose fastest forms
are kept."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from typing import Any

import gpu_layers
import gpu_peers
import numpy as np
from gpu_layers import CHECKED, TILES, Library
from gpu_linear import tried
from gpu_peers import fastest, measured

import tilec as tc
from tilec.backend import driver
from tilec.compiler import relative_norm
from tilec.kernels.eight import Linear8, Recipe8, call8
from tilec.quant import quantize_linear

Task = Callable[[], dict[str, Any]]
PRODUCTS = [("int8", "int8"), ("int8", "int4"), ("e4m3", "float8_e4m3"), ("e4m3", "float4_e2m1")]  # activations, weights
ROWS, SCALE = 2.0**-8, 2.0**-9  # what codes are multiplied by, so that results fit f16


def tasks() -> dict[str, Task]:
    """By name."""
    cases = ((*kinds, m, n, k, group) for m in gpu_layers.ROWS for k, n in gpu_layers.SHAPES for kinds in PRODUCTS for group in gpu_layers.GROUPS)
    return {f"layer: {to} x {name} {m}x{n}x{k}{gpu_peers.of(group)}": functools.partial(timed, to, name, m, n, k, group) for to, name, m, n, k, group in cases}


def timed(to: str, name: str, m: int, n: int, k: int, group: int | None) -> dict[str, Any]:
    """A product in the forms that are worth a try; bytes are those of weights and scales."""
    rng, recipe = np.random.default_rng(), recipe_of(to, name, n, k, group)
    kind, given = tc.dtype(recipe.W), tc.dtype(to)
    with driver.on(0), Library() as library:
        grid, groups = kind.tiles((k, n)), math.ceil(k / group) if group else 1  # type: ignore[attr-defined]
        words, factors = random_words(rng, kind), (rng.uniform(0.5, 1.0, 8191) * SCALE).astype(np.float32)
        codes = given.encode(rng.standard_normal(min(m * k, 999983)) * float(given.max) / 4).astype(np.uint8)
        y = library.memory((m, n), np.float16)
        held = {
            "w": tc.tensor(library.memory((math.prod(grid) * 128 * kind.bits,), np.uint32).repeat(words), kind, (k, n)),
            "scales": library.memory((groups, n), np.float32).repeat(factors), "zeros": library.memory((1, n), np.float32).bytes(0),
            "channel": library.memory((n,), np.float32).repeat(np.ones(1, np.float32) if group else factors), "bias": library.memory((n,), np.float32).bytes(0),
        }  # fmt: skip
        x = tc.tensor(library.memory((m * k,), np.uint8).repeat(codes), given, (m, k))
        rows = library.memory((m,), np.float32).repeat(np.full(1, ROWS, np.float32))
        forms, key = tried(recipe, m, library.multiprocessors, library.shared)
        across, checked = int(rng.integers(grid[1])), min(m, CHECKED)
        columns = slice(32 * across, min(n, 32 * across + 32))
        w = kind.decode(kind.codes_of(words[(np.arange(grid[0]) * grid[1] + across) % TILES][:, None])[:k, : columns.stop - columns.start])  # type: ignore[attr-defined]
        place = (np.arange(groups)[:, None] * n + np.arange(n)[columns]) % len(factors)
        w = w * 2.0**kind.power * np.repeat(factors[place].astype(np.float64), group or k, axis=0)[:k]  # type: ignore[attr-defined]
        expected = given.decode(np.resize(codes, (checked, k))).astype(np.float64) @ w * ROWS
        runs = {}
        for how in forms:
            kernel, args, constants = call8(x, rows, y, held, recipe, library, how)  # type: ignore[arg-type]
            runs[str(list(how))] = functools.partial(kernel, *args, **constants)
        found = fastest(runs, lambda: y.bytes(0xFF), lambda: relative_norm(y.first(checked)[:, columns].astype(np.float64), expected))
    read = math.prod(grid) * 512 * kind.bits + (groups * n * 4 if group else 0)
    form = json.loads(found["best"] or "null")
    return measured(f"tilec {to}", m, n, k, read, found, type=name, bits=kind.bits, group=group, form=form, key=key)


def recipe_of(to: str, name: str, n: int, k: int, group: int | None) -> Recipe8:
    """What a layer of some size would be made for."""
    small = Linear8(quantize_linear(np.random.default_rng(0).standard_normal((32, 2 * (group or 128))), name, group), to=to)
    return small.recipe._replace(n=n, k=k, group=group or k)


def random_words(rng: np.random.Generator, kind: Any) -> np.ndarray:
    """Tiles of packed weights whose codes are all finite numbers."""
    codes = rng.choice(np.flatnonzero(~kind.unfit), (TILES, 128, 32)).astype(np.uint8)
    return kind.words(codes).reshape(TILES, -1)  # type: ignore[no-any-return]
