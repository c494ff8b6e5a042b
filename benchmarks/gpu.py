"""Everything that only a GPU can say: `make gpu`. Without one it says so and exits with 0; with one, 1 if something is wrong or fails.

In this order: questions to the hardware; every example and test kernel against its reference; compute-sanitizer's four tools over a choice of them,
where it is found; times, beside PyTorch and Triton where they are; the linear layer on large shapes, beside these and humming, and what was
demanded of it. Prints a table and writes results/DATE-DEVICE.json beside this file, with each result anew. Works with the Python that runs it, on
NumPy and tilec's own needs alone, and without a network. Parts of it, for leases that end: `--only check --minutes 9`, then `--missing`.

Tasks run in a process apart, one after another. One that fails for a TileError or a wrong result lets it go on; after an error of
CUDA, which would spoil what follows, a crash or a task that does not end, the rest runs in a new process.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import gpu_table  # noqa: E402 - found beside this file, without an installation

from tilec.backend import driver, tools  # noqa: E402
from tilec.errors import TileError  # noqa: E402

PATIENCE = 150.0  # seconds that a task may take; nvcc takes its time
SPOILT = 3  # the exit status of a process whose CUDA context is lost
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
TOOL_SECONDS = 120.0  # that a tool may take
TIMES = ("time: ", "layer: ")  # how the names of tasks begin that take time
ALIKE = re.compile(r"kernel: (decode|encode) (?!int6$|float8_e4m3$)")  # kernels that differ by a type from one that a tool sees
SANITIZERS = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")
Results = dict[str, dict[str, Any]]


# the process that runs tasks


def work(file: Path, names: Sequence[str], tasks: dict[str, Callable[[], dict[str, Any]]], until: float = float("inf")) -> int:
    """Run tasks by name, none that would begin after `until`, and add a line of JSON for each to the file when it begins and when it ends."""
    with file.open("a") as out:
        for name in names:
            if time.time() > until:
                break
            print(json.dumps({"name": name}), file=out, flush=True)
            start, spoilt = time.perf_counter(), False
            try:
                result = tasks[name]()
            except Exception as error:
                result = {"right": False, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
                spoilt = (isinstance(error, TileError) and error.message.startswith("cu")) or "CUDA error" in str(error)
            print(json.dumps({"name": name, "result": {**result, "seconds": time.perf_counter() - start}}), file=out, flush=True)
            if spoilt:
                return SPOILT
    return 0


# the process that watches


def run(
    names: Sequence[str], command: Sequence[str], told: Callable[[str, dict[str, Any]], None], patience: float = PATIENCE, until: float = float("inf")
) -> Results:
    """The results of all tasks that begin before `until`, whatever happens to the processes, which `command` starts; `told(name, result)` hears of each
    at once."""
    results: Results = {}
    while len(results) < len(names) and time.time() < until:
        rest = [n for n in names if n not in results]
        with tempfile.TemporaryDirectory() as folder:
            file, log = Path(folder, "results"), Path(folder, "log")
            file.touch()
            with log.open("w") as output:
                process = subprocess.Popen([*command, "--work", str(file), "--until", str(until), *rest], stdout=output, stderr=subprocess.STDOUT)
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


def sanitized(names: Sequence[str], command: Sequence[str], until: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each tool says, as far as there is time."""
    program = next(filter(None, map(shutil.which, SANITIZERS)), None)
    for tool in TOOLS:
        left = min(TOOL_SECONDS, until - time.time())
        if program is None:
            yield f"sanitizer: {tool}", {"right": True, "skipped": "compute-sanitizer was not found"}
        elif left > 0:
            yield f"sanitizer: {tool}", sanitize(names, command, tool, program, left)


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
    if result.get("ms"):
        facts.append(f"{result['ms']:.4f} ms")
        facts += [f"{result[k]:.0f} {unit}" for k, unit in (("tflops", "TFLOP/s"), ("gb_per_s", "GB/s")) if k in result]
        facts += [f"torch {result['torch_ms']:.3f} ms, {result['torch_ms'] / result['ms']:.2f} x"] if "torch_ms" in result else []
    shown = ("skipped", "kept", "wrong", "form", "tilec", "triton", "driver", "assembler", "errors", "kernels")
    facts += [f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k in shown if (v := result.get(k)) not in (None, [], {}, "")]
    return f"  {'ok' if result['right'] else 'WRONG':6}{name:54} {'; '.join(facts)}"


class Record:
    """The results on a GPU as JSON, written anew with each result, so that nothing is lost: DATE-DEVICE.json. What it holds already is kept."""

    def __init__(self, device: Any, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.about = about(device)
        self.file = folder / f"{datetime.date.today()}-{re.sub(r'[^A-Za-z0-9]+', '-', device.name).strip('-').lower()}.json"
        self.results: Results = json.loads(self.file.read_text())["results"] if self.file.exists() else {}

    def add(self, name: str, result: dict[str, Any]) -> None:
        print(row(name, result), flush=True)
        self.results[name] = result
        self.write()

    def write(self) -> None:
        text = json.dumps({**self.about, "results": self.results, "table": gpu_table.table(self.results).splitlines()}, indent=1)
        partial = self.file.with_suffix(".part")
        partial.write_text(text + "\n")
        partial.replace(self.file)


def about(device: Any) -> dict[str, Any]:
    """What the results depend on: the GPU, its clocks, versions."""
    packages = ("numpy", "llvmlite", "nvidia-nvjitlink", "cuda-bindings", "torch", "triton", "humming-kernels")
    numbers = ("MULTIPROCESSOR_COUNT", "CLOCK_RATE", "MEMORY_CLOCK_RATE", "GLOBAL_MEMORY_BUS_WIDTH", "L2_CACHE_SIZE", "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")
    asked = "clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu,driver_version"
    return {
        "device": device.name, "target": device.target.name, "python": sys.version.split()[0],
        "time": datetime.datetime.now().isoformat("T", "seconds"), "commit": (said("git", "-C", str(HERE), "rev-parse", "HEAD") or [None])[0],
        "versions": {p: installed(p) for p in packages}, "attributes": {n.lower(): driver.attribute(n) for n in numbers},
        "nvidia-smi": said("nvidia-smi", f"--query-gpu={asked}", "--format=csv"),
    }  # fmt: skip


def said(*command: str) -> list[str] | None:
    """What a program prints, if it is there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None


def lacking() -> str | None:
    """What must be brought along so that kernels can be compiled and launched here, in one line."""
    listed = (HERE.parent / "pyproject.toml").read_text().partition("\ndependencies = [")[2].partition("\n]")[0]
    needs = dict(re.findall(r'"([\w-]+)>=([\d.]+)[",]', listed))
    needs.pop("lark")  # for the textual IR and the simulator alone
    if tools.find("ptxas"):
        needs.pop("nvidia-nvjitlink")
    missing = []
    for package, least in needs.items():
        given = installed(package)
        if given is None or numbered(given) < numbered(least):
            missing.append(f"{package}>={least}{f' instead of {given}' if given else ''}")
    return f"bring {', '.join(missing)} (wheels: pip install --no-deps --target DIR, and DIR in PYTHONPATH)" if missing else None


def installed(package: str) -> str | None:
    """The version of a package that this Python has."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def numbered(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version)[:2])


def there_is_a_driver() -> bool:
    """Whether the driver's library is there, whatever Python has of it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def chosen(only: str) -> Callable[[str], bool]:
    """Which tasks `--only` names: sections, joined by commas, or a regular expression."""
    from gpu_tasks import SECTIONS

    if only and all(part in SECTIONS for part in only.split(",")):
        kinds = [kind for part in only.split(",") for kind in SECTIONS[part]]
        return lambda name: name.partition(":")[0] in kinds
    return lambda name: re.search(only, name) is not None


def main(argv: Sequence[str] | None = None, command: Sequence[str] | None = None, folder: Path = HERE / "results") -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WHAT", help="check, sanitize, bench, linear, or several of them with commas; or a regular expression")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no task after so many")
    parser.add_argument("--missing", action="store_true", help="tasks that today's results lack")
    parser.add_argument("--no-sanitizer", action="store_true", help="leave compute-sanitizer out")
    parser.add_argument("--out", type=Path, default=folder, help="where the results go")
    parser.add_argument("--read", type=Path, metavar="FILE", help="run nothing: the table of results from elsewhere, whose forms of the linear layer are kept")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=float("inf"), help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    until = time.time() + 60 * given.minutes
    if given.read:
        results = json.loads(given.read.read_text())["results"]
        print(gpu_table.table(results))
        return finished(results)
    command = command or [sys.executable, __file__]
    missing = lacking() if there_is_a_driver() else None
    if missing:
        print(f"there is a driver for GPUs, but kernels can't be compiled: {missing}")
        return 1
    device = driver.device()
    if device is None:
        print("there is no GPU here, or no driver for it: nothing was run")
        return 0
    from gpu_tasks import tasks

    if given.work:
        return work(given.work, given.names, tasks(), given.until)
    print(f"{device.name}, compute capability {device.capability[0]}.{device.capability[1]}, compiling for {device.target.name}", flush=True)
    record, wanted = Record(device, given.out), chosen(given.only)
    names = [n for n in tasks() if wanted(n) and not (given.missing and n in record.results)]
    first = [n for n in names if not n.startswith(TIMES)]
    results = run(first, command, record.add, until=until)
    if not given.no_sanitizer and any(wanted(f"sanitizer: {tool}") for tool in TOOLS):
        for name, result in sanitized([n for n in tasks() if not n.startswith(TIMES) and not ALIKE.match(n)], command, until):
            results[name] = result
            record.add(name, result)
    results |= run([n for n in names if n not in first], command, record.add, until=until)
    record.about["nvidia-smi after"] = about(device)["nvidia-smi"]
    record.write()
    print(gpu_table.table(record.results))
    left = sum(n not in results for n in names)
    if left:
        print(f"{left} tasks were not begun in {given.minutes:g} minutes: --missing goes on with them")
    print(f"written to {record.file}")
    return finished(results)


def finished(results: Results) -> int:
    """The last line, and the exit status."""
    from gpu_linear import refresh

    wrong = [name for name, result in results.items() if not result["right"]]
    print(f"{len(results) - len(wrong)} right, {len(wrong)} wrong{': ' + ', '.join(wrong) if wrong else ''}")
    print(f"{refresh(results)} forms of the linear layer measured")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
