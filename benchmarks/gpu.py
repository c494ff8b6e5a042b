"""Everything that only a GPU can say: `make gpu`. Without one it says so and exits with 0; with one, 1 if something is wrong or fails.

Every example and test kernel against its reference; compute-sanitizer's four tools over the same, where it is found; questions to the
hardware; times, beside PyTorch and Triton where they are. Prints a table and writes results/DATE-DEVICE.json beside this file. Works with
the Python that runs it, on NumPy and tilec's own needs alone, and without a network.

Tasks run in a process apart, one after another. One that fails for a TileError or a wrong result lets it go on; after an error of
CUDA, which would spoil what follows, a crash or a task that does not end, the rest runs in a new process.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from tilec.backend import driver  # noqa: E402 - found beside this file, without an installation
from tilec.errors import TileError  # noqa: E402

PATIENCE = 90.0  # seconds that a task may take
SPOILT = 3  # the exit status of a process whose CUDA context is lost
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SANITIZERS = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")
Results = dict[str, dict[str, Any]]


# the process that runs tasks


def work(file: Path, names: Sequence[str], tasks: dict[str, Callable[[], dict[str, Any]]]) -> int:
    """Run tasks by name, and add a line of JSON for each to the file when it begins and when it ends."""
    with file.open("a") as out:
        for name in names:
            print(json.dumps({"name": name}), file=out, flush=True)
            start, spoilt = time.perf_counter(), False
            try:
                result = tasks[name]()
            except Exception as error:
                result = {"right": False, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
                spoilt = isinstance(error, TileError) and error.message.startswith("cu")
            print(json.dumps({"name": name, "result": {**result, "seconds": time.perf_counter() - start}}), file=out, flush=True)
            if spoilt:
                return SPOILT
    return 0


# the process that watches


def run(names: Sequence[str], command: Sequence[str], told: Callable[[str, dict[str, Any]], None], patience: float = PATIENCE) -> Results:
    """The results of all tasks, whatever happens to the processes, which `command` starts; `told(name, result)` hears of each at once."""
    results: Results = {}
    while len(results) < len(names):
        rest = [n for n in names if n not in results]
        with tempfile.TemporaryDirectory() as folder:
            file, log = Path(folder, "results"), Path(folder, "log")
            file.touch()
            with log.open("w") as output:
                process = subprocess.Popen([*command, "--work", str(file), *rest], stdout=output, stderr=subprocess.STDOUT)
                begun = _watch(process, file, results, told, patience)
            if process.returncode == 0 and len(results) == len(names):
                break
            hanging = next((n for n in rest if n not in results), None)
            if hanging and (begun == hanging or process.returncode not in (0, SPOILT)):
                reason = "it did not end" if process.returncode == -9 else f"the process ended with {process.returncode}"
                results[hanging] = {"right": False, "error": reason, "output": log.read_text()[-2000:]}
                told(hanging, results[hanging])
    return results


def _watch(
    process: subprocess.Popen[Any], file: Path, results: Results, told: Callable[[str, dict[str, Any]], None], patience: float
) -> str | None:
    """Take results until the process ends, or end it; the name of a task that began and did not end."""
    begun, last = None, time.monotonic()
    with file.open() as lines:
        while True:
            ended = process.poll() is not None
            for line in iter(lines.readline, ""):
                row, last = json.loads(line), time.monotonic()
                begun = None if "result" in row else row["name"]
                if "result" in row:
                    results[row["name"]] = row["result"]
                    told(row["name"], row["result"])
            if ended:
                return begun
            if time.monotonic() - last > patience:
                process.kill()
                process.wait()
            else:
                time.sleep(0.05)


def sanitize(names: Sequence[str], command: Sequence[str], tool: str, program: str, limit: float) -> dict[str, Any]:
    """What a tool of compute-sanitizer says about the tasks, run in one process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "results")
        file.touch()
        try:
            done = subprocess.run(
                [program, "--tool", tool, *command, "--work", str(file), *names], capture_output=True, text=True, timeout=limit, errors="replace"
            )
        except subprocess.TimeoutExpired:
            return {"right": False, "error": f"it took more than {limit:.0f} s"}
        ran = sum("result" in json.loads(line) for line in file.read_text().splitlines())
    return {**verdict(done.stdout + done.stderr), "tasks": ran}


def verdict(output: str) -> dict[str, Any]:
    """From the output of compute-sanitizer: how many errors, and in which kernels."""
    found = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", output)
    if not found:
        return {"right": True, "skipped": output.strip().splitlines()[-1][:200] if output.strip() else "it said nothing"}
    kernels = sorted(set(re.findall(r"========= +(?:at|in) ([A-Za-z_]\w*)[(+]", output)))
    return {"right": int(found[-1]) == 0, "errors": int(found[-1]), "kernels": kernels[:20]}


# the table


def row(name: str, result: dict[str, Any]) -> str:
    """A line about a result."""
    facts = []
    if "error" in result:
        facts.append(result["error"].splitlines()[0])
    if result.get("differences"):
        facts.append(", ".join(f"{n} {d:.1e}" for n, d in result["differences"].items()))
    if "ms" in result:
        facts.append(f"{result['ms']:.3f} ms")
        facts += [f"{result[k]:.0f} {unit}" for k, unit in (("tflops", "TFLOP/s"), ("gb_per_s", "GB/s")) if k in result]
        facts += [f"torch {result['torch_ms']:.3f} ms, {result['torch_ms'] / result['ms']:.2f} x"] if "torch_ms" in result else []
    shown = ("skipped", "wrong", "tilec", "triton", "driver", "assembler", "errors", "kernels")
    facts += [f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k in shown if (v := result.get(k)) not in (None, [], "")]
    return f"  {'ok' if result['right'] else 'WRONG':6}{name:44}{'; '.join(facts)}"


def save(device: Any, results: Results, folder: Path) -> Path:
    """The results as JSON."""
    folder.mkdir(exist_ok=True)
    name = re.sub(r"\W+", "-", device.name).strip("-").lower()
    file = folder / f"{datetime.date.today()}-{name}.json"
    about = {"device": device.name, "target": device.target.name, "python": sys.version.split()[0], "time": datetime.datetime.now().isoformat("T", "seconds")}
    file.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    return file


def main(argv: Sequence[str] | None = None, command: Sequence[str] | None = None, folder: Path = HERE / "results") -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="tasks whose name this matches")
    parser.add_argument("--no-sanitizer", action="store_true", help="leave compute-sanitizer out")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    command = command or [sys.executable, __file__]
    device = driver.device()
    if device is None:
        print("there is no GPU here, or no driver for it: nothing was run")
        return 0
    from gpu_linear import refresh
    from gpu_tasks import tasks

    if given.work:
        return work(given.work, given.names, tasks())
    print(f"{device.name}, compute capability {device.capability[0]}.{device.capability[1]}, compiling for {device.target.name}", flush=True)
    names = [n for n in tasks() if re.search(given.only, n)]
    results = run(names, command, lambda name, result: print(row(name, result), flush=True))
    program = next(filter(None, map(shutil.which, SANITIZERS)), None)
    kernels = [n for n in names if n.startswith("kernel: ")]
    if kernels and not given.no_sanitizer:
        for tool in TOOLS:
            name = f"sanitizer: {tool}"
            results[name] = sanitize(kernels, command, tool, program, 600) if program else {"right": True, "skipped": "compute-sanitizer was not found"}
            print(row(name, results[name]), flush=True)
    wrong = [name for name, result in results.items() if not result["right"]]
    print(f"{len(results) - len(wrong)} right, {len(wrong)} wrong{': ' + ', '.join(wrong) if wrong else ''}")
    print(f"written to {save(device, results, folder)}; {refresh(results)} forms of the linear layer measured")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
