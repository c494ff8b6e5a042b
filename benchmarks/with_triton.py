"""Triton's side of the comparison: `process KERNEL ARCH` or `compile KERNEL ARCH` once, or `interpret KERNEL` once per line of the input.
Prints milliseconds."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable


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


if __name__ == "__main__":
    if sys.argv[1] in ("process", "compile"):
        with tempfile.TemporaryDirectory() as cache:  # an empty one, so that everything is compiled
            os.environ["TRITON_CACHE_DIR"] = cache
            print(compile_(*sys.argv[2:]))
    else:
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
        once = {"matmul": interpreted_matmul}[sys.argv[2]]()
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            once()
            print(1e3 * (time.perf_counter() - start), flush=True)
