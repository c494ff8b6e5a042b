"""tilec beside Triton: compile time of a cold process, and both interpreters. See README.md for how, and why so."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
KERNELS = ("vector_add", "softmax", "layer_norm", "matmul", "quantized_matmul")


def rounds(sides: Mapping[str, Callable[[], dict[str, float]]], count: int) -> dict[str, list[dict[str, float]]]:
    """Measure each side once per round, in turn, the first to go changing; one round more goes before and is not counted."""
    results: dict[str, list[dict[str, float]]] = {label: [] for label in sides}
    order = list(sides)
    for n in range(count + 1):
        for label in order[n % len(order) :] + order[: n % len(order)]:
            measured = sides[label]()
            if n:
                results[label].append(measured)
    return results


def report(title: str, results: dict[str, list[dict[str, float]]]) -> None:
    """A line per side: medians of what was measured, and the median over rounds of the ratio to the first side."""
    first = next(iter(results.values()))
    for label, measured in results.items():
        medians = "".join(f"{statistics.median(m[k] for m in measured):12.1f} {k}" for k in measured[0])
        key = next(iter(measured[0]))
        ratio = statistics.median(m[key] / f[key] for m, f in zip(measured, first, strict=True))
        print(f"  {title:18}{label:8}{medians}{ratio:9.2f} x {next(iter(results))}", flush=True)


def cold(python: str, script: str, *args: str) -> Callable[[], dict[str, float]]:
    """Wall time of a new process, from its start to its end, and the time within it that it reports."""

    def once() -> dict[str, float]:
        start = time.perf_counter()
        done = subprocess.run([python, str(HERE / script), "compile", *args], capture_output=True, text=True)
        wall = 1e3 * (time.perf_counter() - start)
        if done.returncode:
            raise SystemExit(f"{script} {' '.join(args)}: {done.stderr[-2000:]}")
        return {"ms process": wall, "ms compile": float(done.stdout.split()[-1])}

    return once


class Worker:
    """A process that interprets a kernel once for each line that it is sent."""

    def __init__(self, python: str, script: str, kernel: str):
        command = [python, str(HERE / script), "interpret", kernel]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise SystemExit(f"{' '.join(command)} failed")

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def __call__(self) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return {"ms": float(self._line())}

    def close(self) -> None:
        self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=sys.executable, help="a Python that has triton and torch")
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kernels", nargs="*", default=KERNELS, choices=KERNELS, metavar="KERNEL")
    a = parser.parse_args()
    pythons = {"tilec": (sys.executable, "with_tilec.py"), "triton": (a.peers, "with_triton.py")}
    if subprocess.run([a.peers, "-c", "import triton, torch"], capture_output=True).returncode:
        print(f"{a.peers} has no triton and torch: tilec alone is measured")
        del pythons["triton"]
    print(f"load {os.getloadavg()[0]:.1f}, {a.rounds} rounds, medians; compiling for {a.arch}")
    for kernel in a.kernels:
        report(kernel, rounds({label: cold(*python, kernel, a.arch) for label, python in pythons.items()}, a.rounds))
    print("interpreters, f16 matmul 512 x 512 x 512 in tiles of 64 x 64 x 32")
    workers = {label: Worker(*python, "matmul") for label, python in pythons.items()}
    report("matmul", rounds(workers, a.rounds))
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
