"""Triton's side of the comparison: `process KERNEL ARCH` or `compile KERNEL ARCH` once, or `interpret KERNEL` once per line of the input.
Prints milliseconds. `simulate` compiles the product with int4 that `make gpu` compares with, and checks its PTX in tilec's simulator."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any


def compile_(name: str, arch: str) -> float:
    """Milliseconds from Python source to cubin, imports excluded."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton_kernels import source

    made, options = source(name)
    start = time.perf_counter()
    kernel = triton.compile(made, target=GPUTarget("cuda", int(arch.removeprefix("sm_").rstrip("af")), 32), options=options)
    assert kernel.asm["cubin"]
    return 1e3 * (time.perf_counter() - start)


def interpreted_matmul() -> Callable[[], object]:
    """The matmul of 512 by 512 by 512 in f16 by tiles of 64 x 64 x 32, checked once."""
    import torch
    import triton_kernels

    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 512, 512, generator=generator).half()
    c = torch.empty_like(a)

    def run() -> object:
        return triton_kernels.matmul_even[(8, 8)](a, b, c, 512, K=512, BM=64, BN=64, BK=32)

    run()
    assert float((c.float() - a.float() @ b.float()).abs().max()) < 0.1
    return run


def simulate(m: int, c: Any, group: int) -> None:
    """The product with int4 in a configuration, compiled for sm_80, against NumPy."""
    import numpy as np
    import triton
    from gpu_triton import source
    from triton.backends.compiler import GPUTarget

    from tilec.sim import run_ptx

    made, options = source(c, group)
    kernel = triton.compile(made, target=GPUTarget("cuda", 80, 32), options=options)
    rng, n, k = np.random.default_rng(), 256, 1024
    x, codes = rng.standard_normal((m, k)).astype(np.float16), rng.integers(0, 16, (k, n), np.uint32)
    q = np.bitwise_or.reduce([codes[i::8] << np.uint32(4 * i) for i in range(8)])
    s = rng.uniform(0.01, 0.1, (k // group if group else 1, n)).astype(np.float16)
    y = np.zeros((m, n), np.float32) if c.split > 1 else np.full((m, n), np.nan, np.float16)
    scratch = [np.zeros(16, np.uint8)] * 2  # what Triton passes to every kernel
    args = [x, q.view(np.int32), s, y, *(np.int32(size) for size in (m, n, k)), *scratch]
    report = run_ptx(kernel.asm["ptx"], kernel.metadata.name, (-(-m // c.bm), n // c.bn, c.split), (32 * c.warps,), args, kernel.metadata.shared)
    exact = x.astype(np.float64) @ ((codes.astype(np.float64) - 8) * np.repeat(s.astype(np.float64), group or k, axis=0))
    error = np.linalg.norm(y - exact) / np.linalg.norm(exact)
    print(f"{m} rows, {tuple(c)}, {f'groups of {group}' if group else 'per channel'}: error {error:.1e}, {len(report.findings)} findings")
    assert error < 2.0**-9
    assert not report.findings


if __name__ == "__main__":
    if sys.argv[1] in ("process", "compile"):
        with tempfile.TemporaryDirectory() as cache:  # an empty one, so that everything is compiled
            os.environ["TRITON_CACHE_DIR"] = cache
            print(compile_(*sys.argv[2:]))
    elif sys.argv[1] == "simulate":
        from gpu_triton import FEW_ROWS, MANY_ROWS

        for rows, configuration in ((5, FEW_ROWS[0]), (5, FEW_ROWS[1]), (70, MANY_ROWS[0])):
            for group in (128, 0):
                simulate(rows, configuration, group)
    else:
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
        once = {"matmul": interpreted_matmul}[sys.argv[2]]()
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            once()
            print(1e3 * (time.perf_counter() - start), flush=True)
