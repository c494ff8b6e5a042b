"""The kernels of examples/, by name."""

from __future__ import annotations

import functools
from pathlib import Path

from tilec.compiler import Kernel, load_kernel

FOLDER = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
WITH_DOT = {name for name in NAMES if "tc.dot" in (FOLDER / f"{name}.py").read_text()}


@functools.cache
def example(name: str) -> Kernel:
    return load_kernel(f"{FOLDER / name}.py:{name}")
