"""The tasks of `make gpu` about the linear layer's results, and the forms that its times are taken for."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_kernels
import numpy as np

import tilec as tc
from tilec import bf16, f16
from tilec.backend import driver
from tilec.kernels.eight import Linear8, Recipe8, rows8
from tilec.kernels.forms import MEASURED, Asked, Form, block_bytes, by_tiles, clocks, reckoned
from tilec.kernels.linear import Linear, Recipe
from tilec.quant import quantize_linear

Task = Callable[[], dict[str, Any]]
SMALLER = [  # type, activations, M, N, K, what quantize_linear is told
    ("int4", f16, 1, 500, 2048, {"group": 128}), ("uint4", bf16, 33, 256, 1000, {"group": 40, "zeros": "int", "scale_dtype": "bf16"}),
    ("float6_e3m2", bf16, 16, 384, 4096, {"group": 128, "scale_dtype": "f32"}), ("nf4", f16, 200, 300, 512, {"group": 64}),
    ("float8_e4m3", f16, 7, 130, 768, {"group": None}), ("int1", f16, 300, 512, 1024, {"group": 128, "zeros": -0.5}),
    ("int8", bf16, 64, 512, 2048, {"group": 128, "scale_dtype": "bf16"}), ("float4_e2m1", f16, 5, 96, 256, {"group": 16, "scale_dtype": "e4m3"}),
]  # fmt: skip


EIGHT = [  # type, activations, M, N, K, what quantize_linear is told
    ("int4", "int8", 1, 500, 2048, {"group": 128}), ("uint4", "int8", 33, 256, 1024, {"group": 32, "zeros": "int"}),
    ("int8", "int8", 300, 384, 1000, {"group": None}), ("float4_e2m1", "e4m3", 16, 256, 2048, {"group": 64}),
    ("float8_e4m3", "e4m3", 100, 264, 512, {"group": None}), ("nf4", "int8", 7, 130, 1024, {"group": 64}),
]  # fmt: skip


def tasks() -> dict[str, Task]:
    """By name."""
    of_16 = {f"linear: {name} {to} {m}x{n}x{k}": functools.partial(right, name, to, m, n, k, told) for name, to, m, n, k, told in SMALLER}
    of_8 = {f"linear: {to} x {name} {m}x{n}x{k}": functools.partial(right8, name, to, m, n, k, told) for name, to, m, n, k, told in EIGHT}
    return of_16 | of_8


def right8(name: str, to: str, m: int, n: int, k: int, told: dict[str, Any]) -> dict[str, Any]:
    """A layer for activations of 8 bits against float64, by the norm: the result is rounded to f16. e4m3 wants sm_89."""
    device = driver.device()
    if to == "e4m3" and device is not None and device.capability < (8, 9):
        return {"right": True, "skipped": "there are no products of fp8"}
    rng = np.random.default_rng()
    layer = Linear8(quantize_linear(rng.standard_normal((n, k)), name, **told), rng.standard_normal(n), to)
    x, rows = rows8(rng.standard_normal((m, k)), to)
    exact = x.values() * rows[:, None].astype(np.float64) @ layer.weight.dequantize().T + layer.bias
    difference = gpu_kernels.relative_norm(np.asarray(layer(x, rows), np.float64), exact)
    return {"right": difference <= 2.0**-9, "differences": {"y": difference}}


def right(name: str, to: tc.DType, m: int, n: int, k: int, told: dict[str, Any]) -> dict[str, Any]:
    """A layer against float64, by the norm: weights and result are rounded, to 11 or 8 bits."""
    rng = np.random.default_rng()
    layer = Linear(quantize_linear(rng.standard_normal((n, k)), name, **told), rng.standard_normal(n), to)
    x = tc.Tensor.from_values(rng.standard_normal((m, k)), to)
    y = layer(x)
    difference = gpu_kernels.relative_norm(y.values().astype(np.float64), x.values() @ layer.weight.dequantize().T + layer.bias)
    return {"right": difference <= 2.0 ** -(to.mantissa_bits - 1), "differences": {"y": difference}}


def tried(recipe: Recipe | Recipe8, m: int, multiprocessors: int, shared: int) -> tuple[list[Form], str]:
    """The forms that are worth a try for m rows, and what the best is kept under."""
    asked = recipe.asked(m, multiprocessors, shared)
    return alternatives(asked), asked.key


def alternatives(asked: Asked) -> list[Form]:
    """The forms worth a try: the best of each of the three tiles that are reckoned to be fastest, and like the chosen one half and double as many parts of
    the sum over K, a stage less and one more."""
    asked = asked.rounded
    how, tiles = reckoned(asked), sorted(by_tiles(asked), key=lambda other: clocks(asked, other).total)
    steps = -(-asked.k // 128)
    parts = {max(1, min(16, steps, p)) for p in (how.splits // 2, 2 * how.splits)} if how.bm < 128 else ()
    others = [*(how._replace(splits=p) for p in parts), *(how._replace(stages=max(1, how.stages + more)) for more in (-1, 1))]
    return sorted({how, *tiles[:3], *(other for other in others if block_bytes(asked, other) <= asked.shared)})


def refresh(results: dict[str, dict[str, Any]], path: Path | None = None) -> int:
    """Write the fastest forms of results into the table that `form` reads; how many there were."""
    path = path or MEASURED
    found = {r["key"]: r["form"] for r in results.values() if r.get("right") and r.get("key")}
    if found:
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**old, **found}, indent=1) + "\n")
    return len(found)
