"""The kernels of examples/, by name."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

from tilec.compiler import Kernel, load_kernel

FOLDER = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
WITH_DOT = {name for name in NAMES if "tc.dot" in (FOLDER / f"{name}.py").read_text()}


@functools.cache
def example(name: str) -> Kernel:
    return load_kernel(f"{FOLDER / name}.py:{name}")


@functools.cache
def load_benchmark(name: str) -> Any:
    """A module of benchmarks/."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER.parent / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
