"""Every example on the GPU against its expected result; exits with 1 if one differs, 2 if there is no GPU. Needs NumPy and tilec alone."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tilec.backend import driver

EXAMPLES = Path(__file__).parents[1] / "examples"


def differences(kernel: Any) -> dict[str, float]:
    """Run the kernel's own example; the largest difference of each output, relative to the largest expected magnitude."""
    args, expected = kernel.example_data(np.random.default_rng(0))
    kernel(*args)
    found = dict(zip(kernel.parameters, args, strict=True))
    return {
        name: float(np.abs(found[name].astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-30)) for name, want in expected.items()
    }


def main() -> int:
    device = driver.device()
    if device is None:
        print("there is no GPU here, or no driver for it")
        return 2
    print(f"{device.name}, compute capability {device.capability[0]}.{device.capability[1]}, compiling for {device.target.name}")
    sys.path.insert(0, str(EXAMPLES))
    wrong = 0
    for path in sorted(EXAMPLES.glob("*.py")):
        kernel = getattr(importlib.import_module(path.stem), path.stem)
        start = time.perf_counter()
        found = differences(kernel)
        right = all(d <= 1e-2 for d in found.values())
        wrong += not right
        told = ", ".join(f"{name} {d:.1e}" for name, d in found.items())
        print(f"  {'ok' if right else 'WRONG':6}{path.stem:24}{told}   {time.perf_counter() - start:.2f} s with compilation")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
