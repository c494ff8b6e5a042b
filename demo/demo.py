"""A real model with its weights in 8 to 2 bits: all-MiniLM-L6-v2, each linear layer's product computed by the kernel of tilec.kernels.linear.

The kernel runs in tilec's interpreter, so no GPU is needed; what it compiles to for several architectures is shown too. Run it by
`make demo`. With `--reference`, NumPy multiplies by the decoded weights instead: so much of the loss is quantization's. `--json` writes the results
for `plot.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the interpreter multiplies small tiles: threads would wait for one another

import numpy as np
from minilm import MiniLM, sentences, similarities

import tilec as tc
from tilec.kernels.forms import form
from tilec.kernels.linear import Linear, kernel_of
from tilec.quant import Quantized, quantize_linear

INTEGERS = ("int8", "int7", "int6", "int5", "int4", "int3", "int2")
FLOATS = ("float8_e4m3", "float7_e3m3", "float6_e3m2", "float5_e2m2", "float4_e2m1", "float3_e1m1")
OPTIONS = {"int2": {"zeros": -0.5}}  # -1.5, -0.5, 0.5, 1.5 times the scale
ARCHITECTURES = ("sm_80", "sm_90a", "sm_120a")
LEAST = 0.99  # cosine to float32 of every sentence at 8 bits, or the demo fails
GROUP = 64  # weights along the inputs that share a scale

Product = Callable[[np.ndarray], np.ndarray]


def by_numpy(q: Quantized) -> Product:
    w = q.dequantize().astype(np.float32)
    return lambda x: x.astype(np.float32) @ w.T


class Layers:
    """The model's linear layers with weights of one type: quantized once, then products by what `product` makes of each."""

    def __init__(self, weights: dict[str, np.ndarray], dtype: str, product: Callable[[Quantized], Product]):
        weight = {name: quantize_linear(w, dtype, GROUP, method="clip", **OPTIONS.get(dtype, {})) for name, w in weights.items()}
        self.nbytes = sum(q.nbytes for q in weight.values())
        self.products = {name: product(q) for name, q in weight.items()}

    def __call__(self, name: str, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self.products[name](x.astype(np.float16)).astype(np.float32) + b


def neighbours(e: np.ndarray) -> np.ndarray:
    """For each vector the number of the most similar other one."""
    cosines = similarities(e, e)
    np.fill_diagonal(cosines, -1)
    return cosines.argmax(1)


def show_sentences(lines: list[str], e: np.ndarray) -> None:
    print(f"{len(lines)} sentences in pairs that say nearly the same; in float32, each one's nearest neighbour is its partner")
    cosines = similarities(e, e)
    for i in range(0, 6, 2):
        print(f"  {cosines[i, i + 1]:.2f}  {lines[i]}\n        {lines[i + 1]}")


def measured(dtype: str, reference: bool) -> dict[str, Any]:
    """The row of a type: what the embeddings are with the layers in it. Run in a process of its own."""
    warnings.filterwarnings("ignore", "no GPU was found")
    model, lines, start = MiniLM(), sentences(), time.perf_counter()
    exact, weights = model.embed(lines), model.linears()
    layers = Layers(weights, dtype, by_numpy if reference else Linear)
    e = model.embed(lines, layers)
    cosine, right = (e * exact).sum(1), int((neighbours(e) == np.arange(len(lines)) ^ 1).sum())
    return {
        "type": dtype, "bits": tc.dtype(dtype).bits, "mb": layers.nbytes / 1e6, "share": layers.nbytes / sum(w.nbytes for w in weights.values()),
        "mean": float(cosine.mean()), "least": float(cosine.min()), "pairs": right, "of": len(lines), "seconds": time.perf_counter() - start,
    }  # fmt: skip


def show_types(weights: dict[str, np.ndarray], count: int, reference: bool) -> list[dict[str, Any]]:
    """A row for each type, printed and returned; on all cores."""
    rows, full = [], sum(w.nbytes for w in weights.values())
    print(f"\n{len(weights)} linear layers quantized in groups of {GROUP}; cosine of the embeddings to those in float32\n")
    print(f"  {'weights':14}{'MB':>7}{'of f32':>8}{'mean':>10}{'least':>10}{'pairs':>8}{'seconds':>9}")
    print(f"  {'float32':14}{full / 1e6:7.2f}{1:8.1%}{1:10.5f}{1:10.5f}{f'{count}/{count}':>8}")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for r in pool.map(measured, (*INTEGERS, *FLOATS), repeat(reference)):
            if r["bits"] == 8 and r["least"] < LEAST:
                raise SystemExit(f"{r['type']}: the cosine to float32 is {r['least']:.4f}, below {LEAST}")
            pairs, seconds = f"{r['pairs']}/{r['of']}", r.pop("seconds")
            print(f"  {r['type']:14}{r['mb']:7.2f}{r['share']:8.1%}{r['mean']:10.5f}{r['least']:10.5f}{pairs:>8}{seconds:9.2f}")
            rows.append(r)
    return rows


def show_machine_code(weights: dict[str, np.ndarray]) -> None:
    print("\nwhat the kernel compiles to for a single row\n")
    print(f"  {'target':9}{'weights':14}{'ms':>7}{'registers':>11}{'spilled':>9}{'shared':>8}")
    w = next(iter(weights.values()))
    for arch in ARCHITECTURES:
        for dtype in ("int8", "int4", "float6_e3m2", "int2"):
            recipe = Linear(quantize_linear(w, dtype, GROUP)).recipe
            how = form(recipe.asked(1))
            start = time.perf_counter()
            made = kernel_of(how.warps).compile(arch=arch, **recipe.constants(how)).resources
            ms = 1e3 * (time.perf_counter() - start)
            print(f"  {arch:9}{dtype:14}{ms:7.0f}{made.registers:11}{made.spill_bytes:9}{made.shared_bytes:8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", action="store_true", help="multiply by NumPy, not by the kernel")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    warnings.filterwarnings("ignore", "no GPU was found")
    model, lines = MiniLM(), sentences()
    exact = model.embed(lines)
    show_sentences(lines, exact)
    rows = show_types(model.linears(), len(lines), given.reference)
    if given.json:
        given.json.write_text(json.dumps({"group": GROUP, "layers": len(model.linears()), "rows": rows}, indent=1) + "\n")
    if not given.reference:
        show_machine_code(model.linears())


if __name__ == "__main__":
    main()
