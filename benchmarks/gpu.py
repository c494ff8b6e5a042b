"""Every example on the GPU against its expected result, then timed: `make gpu`.

Prints a table and writes results/DATE-DEVICE.json beside this file. A kernel that fails is reported and does not stop the rest. Exits with
1 if one is wrong or fails; without a GPU it says so and exits with 0. Needs NumPy and tilec alone.
"""

from __future__ import annotations

import datetime
import importlib
import json
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from tilec.backend import driver
from tilec.compiler import numbers, relative_norm

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
REPEATS = 5


def bound(kernel: Any, name: str) -> float:
    """Of ‖x − y‖ / ‖y‖: a few roundings to the output's type, and sums in f32."""
    dtype = kernel.function().param(name).type.dtype
    return 4 * 2.0 ** -(dtype.mantissa_bits + 1) + 2.0**-20 if dtype.is_float else 0.0


def measure(kernel: Any) -> dict[str, Any]:
    """Differences from the expected results, whether they keep their bounds, and the milliseconds of a call, copies included."""
    names = [p.name for p in kernel.signature.parameters]
    args, expected = kernel.example_args(None)
    start = time.perf_counter()
    kernel(*args)
    first = time.perf_counter() - start
    found = {n: relative_norm(numbers(args[names.index(n)]), np.asarray(want, np.float64)) for n, want in expected.items()}
    again = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        kernel(*args)
        again.append(time.perf_counter() - start)
    right = all(d <= bound(kernel, n) for n, d in found.items())
    return {"right": right, "differences": found, "first_ms": 1e3 * first, "call_ms": 1e3 * float(np.median(again))}


def main() -> int:
    device = driver.device()
    if device is None:
        print("there is no GPU here, or no driver for it: nothing was run")
        return 0
    print(f"{device.name}, compute capability {device.capability[0]}.{device.capability[1]}, compiling for {device.target.name}")
    sys.path.insert(0, str(EXAMPLES))
    results: dict[str, Any] = {}
    for path in sorted(EXAMPLES.glob("*.py")):
        try:
            row = measure(getattr(importlib.import_module(path.stem), path.stem))
        except Exception as error:
            traceback.print_exc()
            row = {"right": False, "error": f"{type(error).__name__}: {error}"}
        results[path.stem] = row
        told = row.get("error") or ", ".join(f"{name} {d:.1e}" for name, d in row["differences"].items())
        times = f"{row['first_ms']:9.1f} ms first {row['call_ms']:9.2f} ms a call" if "call_ms" in row else ""
        print(f"  {'ok' if row['right'] else 'WRONG':6}{path.stem:20}{told:24}{times}", flush=True)
    save(device, results)
    return int(not all(row["right"] for row in results.values()))


def save(device: Any, results: dict[str, Any]) -> None:
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    name = re.sub(r"\W+", "-", device.name).strip("-").lower()
    file = folder / f"{datetime.date.today()}-{name}.json"
    file.write_text(json.dumps({"device": device.name, "target": device.target.name, "kernels": results}, indent=2) + "\n")
    print(f"written to {file}")


if __name__ == "__main__":
    sys.exit(main())
