"""A real model with its weights in 8 to 3 bits: all-MiniLM-L6-v2, each linear layer's product computed by the kernel quantized_matmul.

The kernel runs in tilec's interpreter, so no GPU is needed; what it compiles to for several architectures is shown too. Run it by
`make demo`. With `--reference`, NumPy multiplies by the decoded weights instead: so much of the loss is quantization's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from minilm import MiniLM, sentences, similarities
from tqdm import tqdm

import tilec as tc
from tilec.quant import dequantize, quantize

TYPES = ("int8", "int6", "int4", "int3", "float8_e4m3", "float6_e3m2", "float4_e2m1")
ARCHITECTURES = ("sm_80", "sm_90a", "sm_120a")
LEAST = 0.99  # cosine to float32 of every sentence at 8 bits, or the demo fails
GROUP = 64  # weights along the inputs that share a scale

Multiply = Callable[..., np.ndarray]


def by_numpy(x: np.ndarray, codes: Any, scales: Any) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32) @ dequantize(codes, scales).astype(np.float32)


def by_kernel(kernel: Any) -> Multiply:
    def multiply(x: np.ndarray, codes: Any, scales: Any) -> np.ndarray:
        y = np.empty((len(x), codes.shape[1]), np.float16)
        kernel.interpret(x.astype(np.float16), codes, scales.numpy(), y, W=codes.dtype, group=GROUP)
        return y

    return multiply


def quantized_matmul() -> Any:
    """The kernel of examples/quantized_matmul.py."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    import quantized_matmul

    return quantized_matmul.quantized_matmul


class Quantized:
    """The model's linear layers with weights of one type: quantized once, then products by `multiply`.

    `multiply` takes activations f32[rows, inputs], codes [inputs, outputs] and scales f16[inputs / GROUP, outputs], and returns
    the product [rows, outputs].
    """

    def __init__(self, weights: dict[str, np.ndarray], dtype: str, multiply: Multiply):
        self.layers = {name: quantize(w.T, dtype, group=GROUP) for name, w in weights.items()}
        self.multiply = multiply

    @property
    def nbytes(self) -> int:
        return sum(codes.nbytes + scales.nbytes for codes, scales in self.layers.values())

    def __call__(self, name: str, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self.multiply(x, *self.layers[name]).astype(np.float32) + b


@contextmanager
def progress(linear: Callable[..., np.ndarray], label: str, total: int) -> Iterator[Callable[..., np.ndarray]]:
    """`linear` with a bar that counts its calls, shown once they have taken two seconds."""
    with tqdm(total=total, desc=label, unit="layer", delay=2, leave=False) as bar:

        def counted(*args: np.ndarray) -> np.ndarray:
            y = linear(*args)
            bar.update()
            return y

        yield counted


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


def show_types(model: MiniLM, lines: list[str], exact: np.ndarray, multiply: Multiply) -> None:
    weights = model.linears()
    full = sum(w.nbytes for w in weights.values())
    print(f"\n{len(weights)} linear layers quantized in groups of {GROUP}; cosine of the embeddings to those in float32\n")
    print(f"  {'weights':14}{'MB':>7}{'of f32':>8}{'mean':>10}{'least':>10}{'pairs':>8}{'seconds':>9}")
    print(f"  {'float32':14}{full / 1e6:7.2f}{1:8.1%}{1:10.5f}{1:10.5f}{f'{len(lines)}/{len(lines)}':>8}")
    for dtype in TYPES:
        quantized = Quantized(weights, dtype, multiply)
        start = time.perf_counter()
        with progress(quantized, dtype, len(weights)) as linear:
            e = model.embed(lines, linear)
        seconds = time.perf_counter() - start
        cosine = (e * exact).sum(1)
        if tc.dtype(dtype).bits == 8 and cosine.min() < LEAST:
            raise SystemExit(f"{dtype}: the cosine to float32 is {cosine.min():.4f}, below {LEAST}")
        right = (neighbours(e) == np.arange(len(lines)) ^ 1).sum()
        print(
            f"  {dtype:14}{quantized.nbytes / 1e6:7.2f}{quantized.nbytes / full:8.1%}{cosine.mean():10.5f}{cosine.min():10.5f}"
            f"{f'{right}/{len(lines)}':>8}{seconds:9.2f}"
        )


def show_machine_code(kernel: Any) -> None:
    print("\nwhat the kernel compiles to (one process, after the first compilation)\n")
    print(f"  {'target':9}{'weights':14}{'ms':>7}{'registers':>11}{'spilled':>9}{'shared':>8}")
    kernel.compile(arch=ARCHITECTURES[0], group=GROUP, bm=32)  # what LLVM and the assembler do once
    for arch in ARCHITECTURES:
        for dtype in TYPES:
            start = time.perf_counter()
            made = kernel.compile(arch=arch, W=tc.dtype(dtype), group=GROUP).resources
            ms = 1e3 * (time.perf_counter() - start)
            print(f"  {arch:9}{dtype:14}{ms:7.0f}{made.registers:11}{made.spill_bytes:9}{made.shared_bytes:8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", action="store_true", help="multiply by NumPy, not by the kernel")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    kernel = None if parser.parse_args().reference else quantized_matmul()
    model, lines = MiniLM(), sentences()
    exact = model.embed(lines)
    show_sentences(lines, exact)
    show_types(model, lines, exact, by_kernel(kernel) if kernel else by_numpy)
    if kernel:
        show_machine_code(kernel)


if __name__ == "__main__":
    main()
