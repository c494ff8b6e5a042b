"""tilec beside Triton: import, compilation in cold processes, both interpreters, and the limits set. README.md says how, and why so."""

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
KERNELS = {  # and how many times as fast as Triton's a cold process must be
    "vector_add": 1, "softmax": 1, "layer_norm": 1, "matmul": 3, "matmul_v3": 2.5, "attention": 1 / 0.45, "quantized_matmul": 1,
}  # fmt: skip
IMPORT_LIMIT = 100.0  # milliseconds
COMPILE_LIMITS = {"vector_add": 40.0, "quantized_matmul": 250.0}


Measured = dict[str, float]


def rounds(sides: Mapping[str, Callable[[], Measured]], count: int) -> dict[str, dict[str, list[float]]]:
    """Measure each side once per round, in turn, the first to go changing; one round more goes before and is not counted.

    Returns for each thing measured its values by side.
    """
    results: dict[str, dict[str, list[float]]] = {}
    order = list(sides)
    for n in range(count + 1):
        for label in order[n % len(order) :] + order[: n % len(order)]:
            for what, value in sides[label]().items():
                values = results.setdefault(what, {}).setdefault(label, [])
                if n:
                    values.append(value)
    return results


class Table:
    """A line for each thing measured: medians, what is demanded beside what was found, and whether that is met."""

    def __init__(self) -> None:
        print(f"\n  {'':34}{'tilec':>10}{'Triton':>10}   {'demanded':22}{'measured':>10}")

    def row(self, title: str, results: dict[str, list[float]], factor: float = 0, limit: float = 0) -> None:
        """Milliseconds of each side by round. `factor`: how many times as fast tilec must be, by the median of the ratios within a round;
        `limit`: what tilec's median must not exceed."""
        shown = [f"{statistics.median(results[side]):8.1f}ms" if side in results else f"{'':10}" for side in ("tilec", "Triton")]
        demand, found, met = "", "", True
        if limit:
            ms = statistics.median(results["tilec"])
            demand, found, met = f"at most {limit:.0f} ms", f"{ms:.1f} ms", ms <= limit
        elif "Triton" in results:
            ratio = statistics.median(b / a for a, b in zip(results["tilec"], results["Triton"], strict=True))
            demand, found, met = {0: "", 1: "faster"}.get(factor, f"{factor:.3g} times as fast"), f"{ratio:.2f} x", ratio >= factor
        print(f"  {title:34}{''.join(shown)}   {demand:22}{found:>10}{'' if met else '   missed'}", flush=True)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


def cold(python: str, script: str, *args: str) -> Callable[[], Measured]:
    """Wall time of a new process that compiles a kernel, from its start to its end, and the time of the compilation in another, imports
    excluded."""

    def once() -> Measured:
        start = time.perf_counter()
        run(python, str(HERE / script), "process", *args)
        process = 1e3 * (time.perf_counter() - start)
        return {"process": process, "compilation": float(run(python, str(HERE / script), "compile", *args).split()[-1])}

    return once


def imports() -> Measured:
    """What `import tilec` adds to `import numpy`, in a new process."""
    clock = "import time; t = time.perf_counter(); import numpy; u = time.perf_counter(); import tilec; print(1e3 * (time.perf_counter() - u))"
    return {"ms": float(run(sys.executable, "-c", clock))}


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

    def __call__(self) -> Measured:
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
    os.environ["TILEC_CACHE_DIR"] = "off"  # what is compiled is compiled anew
    pythons = {"tilec": (sys.executable, "with_tilec.py"), "Triton": (a.peers, "with_triton.py")}
    if subprocess.run([a.peers, "-c", "import triton, torch"], capture_output=True).returncode:
        print(f"{a.peers} has no triton and torch: tilec alone is measured")
        del pythons["Triton"]
    print(f"medians of {a.rounds} rounds in which the sides take turns; compiling for {a.arch}; load {os.getloadavg()[0]:.1f}")
    table = Table()
    table.row("import, beside NumPy's", rounds({"tilec": imports}, a.rounds)["ms"], limit=IMPORT_LIMIT)
    for kernel in a.kernels:
        found = rounds({label: cold(*python, kernel, a.arch) for label, python in pythons.items()}, a.rounds)
        table.row(f"{kernel}, process", found["process"], factor=KERNELS[kernel])
        table.row(f"{kernel}, compilation in it", found["compilation"], limit=COMPILE_LIMITS.get(kernel, 0))
    workers = {label: Worker(*python, "matmul") for label, python in pythons.items()}
    table.row("matmul of 512, interpreted", rounds(workers, a.rounds)["ms"], factor=5)
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
