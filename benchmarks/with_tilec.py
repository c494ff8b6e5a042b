"""tilec's side of the comparison: `process KERNEL ARCH` compiles once, as users do; `compile KERNEL ARCH` prints the milliseconds of it,
libraries loaded before; `interpret KERNEL` prints them once per line of the input."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "examples")]

from tilec import int4  # noqa: E402

# constants as near as may be to the configurations in triton_kernels.py
CONSTANTS: dict[str, dict[str, Any]] = {"quantized_matmul": {"W": int4}, "attention": {"whole": True}}
EXAMPLES = {"matmul": "matmul_plain"}


def kernel(name: str) -> Any:
    """The example of that name."""
    name = EXAMPLES.get(name, name)
    return getattr(importlib.import_module(name), name)


def compile_(name: str, arch: str) -> float:
    """Milliseconds from Python source to cubin; the imports of LLVM and of the assembler are excluded, nothing else is warm."""
    from tilec.backend import cubin, nvptx

    k = kernel(name)
    nvptx.load()
    cubin.load()
    start = time.perf_counter()
    assert k.compile(arch=arch, **CONSTANTS.get(name, {})).cubin
    return 1e3 * (time.perf_counter() - start)


def interpreted_matmul() -> Callable[[], object]:
    """The matmul of 512 by 512 by 512 in f16 by tiles of 64 x 64 x 32, checked once."""
    a, b = np.random.default_rng(0).standard_normal((2, 512, 512)).astype(np.float16)
    c = np.empty_like(a)
    k = kernel("matmul")

    def run() -> object:
        return k.interpret(a, b, c, bm=64, bn=64, bk=32)

    run()
    assert np.abs(c - a.astype(np.float32) @ b.astype(np.float32)).max() < 0.1
    return run


if __name__ == "__main__":
    if sys.argv[1] == "process":
        assert kernel(sys.argv[2]).compile(arch=sys.argv[3], **CONSTANTS.get(sys.argv[2], {})).cubin
    elif sys.argv[1] == "compile":
        print(compile_(*sys.argv[2:]))
    else:
        once = {"matmul": interpreted_matmul}[sys.argv[2]]()
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            once()
            print(1e3 * (time.perf_counter() - start), flush=True)
