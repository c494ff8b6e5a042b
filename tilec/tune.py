"""Chooses a kernel's constants for the sizes of a call: compiles many configurations, drops those that can't be good, times or ranks the rest.

    @matmul.tune(bm=[64, 128], bn=[64, 128], stages=[2, 3, 4], warps=[4, 8])
    def _(bm, bn):                       # which of them to try; optional
        return bm * bn <= 128 * 128

    best = matmul.tuned(a, b, c)         # a `Tuned`: print it, call it, read `best.constants`

Passes run here, machine code is made in worker processes. What does not compile, spills registers or does not fit on a multiprocessor is
dropped, with the reason. With a GPU the rest is timed: the median of many launches, the L2 cache emptied before each. Without one a static
model ranks, see `predicted`. The choice is kept in the cache, by the kernel, the device and the class of the sizes.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, NamedTuple

from tilec import cache, compiler, keys
from tilec.arguments import Arguments
from tilec.backend import driver
from tilec.backend.llvm import to_llvm
from tilec.backend.target import Target, target
from tilec.errors import TileError, require
from tilec.ir.core import Effect, Function, Op
from tilec.ir.ops.matmul import Dot
from tilec.ir.types import SharedType, TensorType, TileType
from tilec.passes.scalars import Run, integer, launch
from tilec.passes.simplify import simplify

LAUNCHES = 25  # of which the median counts
STEPS = 2_000_000  # ops of one block that the model follows


class Space(NamedTuple):
    """The choices of each constant, `warps` among them, and the author's word on which go together."""

    choices: dict[str, Sequence[Any]]
    allowed: Callable[..., bool] | None = None

    def configurations(self) -> list[dict[str, Any]]:
        names = list(self.choices)
        found = [dict(zip(names, values, strict=True)) for values in itertools.product(*self.choices.values())]
        if self.allowed is None:
            return found
        wanted = [n for n in inspect.signature(self.allowed).parameters if n in names]
        return [c for c in found if self.allowed(**{n: c[n] for n in wanted})]


class Trial(NamedTuple):
    """A configuration: what it takes, seconds measured or predicted, or why it was dropped."""

    constants: dict[str, Any]
    resources: compiler.Resources | None
    seconds: float
    why: str = ""


class Tuned:
    """What tuning found. `trials` are sorted, the best first; `constants` are the best one's, `warps` among them where it was a choice."""

    def __init__(self, kernel: compiler.Kernel, trials: list[Trial], how: str):
        self.trials, self.how = trials, how
        self.constants = dict(trials[0].constants)
        plain = {n: v for n, v in self.constants.items() if n != "warps"}
        self.kernel, self._plain = with_warps(kernel, self.constants), plain

    def __call__(self, *args: Any, stream: Any = None, **kwargs: Any) -> None:
        """Run the kernel with the constants found."""
        self.kernel(*args, stream=stream, **{**self._plain, **kwargs})

    def __str__(self) -> str:
        names = list(self.constants)
        rows = [[*names, "registers", "shared", "blocks/SM", "us"]]
        for t in self.trials:
            values = [str(t.constants[n]) for n in names]
            r = t.resources
            found = [str(r.registers), str(r.shared_bytes), str(r.occupancy.blocks)] if r else ["", "", ""]
            rows.append([*values, *found, t.why or f"{1e6 * t.seconds:.1f}"])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
        lines = ["  ".join([*(cell.rjust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
        return "\n".join([f"{self.kernel.signature.name}, {self.how}", *lines])


def with_warps(kernel: compiler.Kernel, constants: dict[str, Any]) -> compiler.Kernel:
    """The kernel with as many warps as a configuration has."""
    warps = constants.get("warps", kernel.warps)
    return kernel if warps == kernel.warps else kernel.of_warps(warps)


def tuned(kernel: compiler.Kernel, space: Space, args: Sequence[Any], arch: str | None, executor: Executor | None, progress: bool | None) -> Tuned:
    """See `Kernel.tuned`."""
    found = driver.device() if arch is None else None
    where = found.target if found else target(arch or compiler.DEFAULT_ARCH)
    configurations = space.configurations()
    require(configurations, "no configuration is left to try", hint="the choices or the function under @tune exclude all")
    given, _ = kernel.signature.bind(tuple(args), first_constants(kernel, configurations[0]))
    sizes = sizes_of(kernel, given, configurations[0])
    key = key_of(kernel, space, configurations, where, found.name if found else "model", sizes)
    known = cache.read(key) if key else None
    if known:
        constants = next(c for c in configurations if json.dumps(c, default=str) == known.head["constants"])
        return Tuned(kernel, [Trial(constants, None, known.head["seconds"])], f"{known.head['how']}, remembered")
    with bar(len(configurations), progress) as tick:
        trials = list(judged(kernel, configurations, where, given, bool(found), executor, tick))
    good = sorted((t for t in trials if not t.why), key=lambda t: t.seconds)
    if not good:
        reasons = "\n".join(f"{t.constants}: {t.why}" for t in trials)
        raise TileError(f"none of {len(trials)} configurations can be used:\n{reasons}")
    how = f"{'measured on ' + found.name if found else 'predicted for ' + where.name} ({len(good)} of {len(trials)} configurations)"
    if key:
        cache.write(key, {"constants": json.dumps(good[0].constants, default=str), "seconds": good[0].seconds, "how": how})
    return Tuned(kernel, [*good, *(t for t in trials if t.why)], how)


def first_constants(kernel: compiler.Kernel, configuration: dict[str, Any]) -> dict[str, Any]:
    unknown = [n for n in configuration if n != "warps" and n not in {c.name for c in kernel.signature.constants}]
    require(not unknown, f"{kernel.signature.name} has no constant {', '.join(unknown)}", hint="tune takes constants of the kernel, and warps")
    return {n: v for n, v in configuration.items() if n != "warps"}


def sizes_of(kernel: compiler.Kernel, given: dict[str, Any], configuration: dict[str, Any]) -> dict[str, Any]:
    """The dimensions and integer scalars of a call, by name."""
    function = with_warps(kernel, configuration).function(**first_constants(kernel, configuration))
    bound = Arguments(function, given).scalars()
    return {p.name: bound[p.name] for p in function.params if integer(p)}


def key_of(
    kernel: compiler.Kernel, space: Space, configurations: list[dict[str, Any]], where: Target, device: str, sizes: dict[str, Any]
) -> str | None:
    """Kernel, choices, device, and for each size its power of two and whether 16 divides it; None without a cache."""
    tools = keys.tools() if cache.folder() else None
    if tools is None:
        return None
    function = with_warps(kernel, configurations[0]).function(**first_constants(kernel, configurations[0]))
    exact = keys.exact(function, where, False, tools)
    classes = {n: (int(v).bit_length(), int(v) % 16 == 0) for n, v in sizes.items()}
    return exact and cache.digest("tuned", exact, json.dumps([configurations, classes], default=str), device)


# compiling


def judged(
    kernel: compiler.Kernel, configurations: list[dict[str, Any]], where: Target, given: dict[str, Any], measure: bool, executor: Executor | None,
    tick: Callable[[], None],
) -> Iterator[Trial]:  # fmt: skip
    """A trial for each configuration. One that makes a worker die takes only itself along."""
    own = executor is None
    pool = executor or workers()
    try:
        waiting: list[tuple[dict[str, Any], Any, Future[Any] | None, str]] = []
        for constants in configurations:
            stages, llvm, why = prepared(kernel, constants, where)
            waiting.append((constants, (stages, llvm), None if why else pool.submit(code_of, llvm, where.name), why))
        for constants, (stages, llvm), future, why in waiting:
            built = None
            if future is not None:
                built, why = finished(future, stages, llvm, where, own)
            tick()
            yield valued(kernel, constants, built, stages, where, given, measure) if built else Trial(constants, None, math.inf, why)
    finally:
        if own:
            pool.shutdown(wait=False, cancel_futures=True)


def workers() -> ProcessPoolExecutor:
    """Processes that share nothing with this one, whose threads and locks a fork would copy."""
    return ProcessPoolExecutor(mp_context=get_context("spawn"))


def prepared(kernel: compiler.Kernel, constants: dict[str, Any], where: Target) -> tuple[dict[str, Function], str, str]:
    """The stages and LLVM IR of a configuration, or why there are none."""
    try:
        variant, plain = with_warps(kernel, constants), first_constants(kernel, constants)
        stages = variant.stages(where.name, **plain)
        return stages, to_llvm(list(stages.values())[-1], where), ""
    except TileError as error:
        return {}, "", str(error.args[0]).splitlines()[0]


def code_of(llvm: str, arch: str) -> tuple[str, bytes, str]:
    """In a worker: PTX, cubin, log."""
    return compiler.machine_code(llvm, target(arch), False, kept=True)


def finished(future: Future[Any], stages: dict[str, Function], llvm: str, where: Target, own: bool) -> tuple[compiler.Compiled | None, str]:
    try:
        made = future.result()
    except TileError as error:
        return None, str(error.args[0]).splitlines()[0]
    except BrokenProcessPool:  # some configuration killed its worker, and with it what all others wait for
        try:
            with workers() as pool:
                made = pool.submit(code_of, llvm, where.name).result()
        except BrokenProcessPool:
            return None, "the compiler crashed"
        except TileError as error:
            return None, str(error.args[0]).splitlines()[0]
    return compiler.compile_stages(stages, where, made=made), ""


def valued(
    kernel: compiler.Kernel, constants: dict[str, Any], built: compiler.Compiled, stages: dict[str, Function], where: Target, given: dict[str, Any],
    measure: bool,
) -> Trial:  # fmt: skip
    r = built.resources
    if r.spill_bytes:
        return Trial(constants, r, math.inf, f"spills {r.spill_bytes} bytes")
    if not r.occupancy.blocks:
        return Trial(constants, r, math.inf, f"no block fits: {r.occupancy.limit}")
    try:
        if measure:
            return Trial(constants, r, measured(with_warps(kernel, constants), first_constants(kernel, constants), given))
        return Trial(constants, r, predicted(stages["parsed"], built, where, given))
    except TileError as error:
        return Trial(constants, r, math.inf, str(error.args[0]).splitlines()[0])


# measuring


def measured(kernel: compiler.Kernel, constants: dict[str, Any], given: dict[str, Any]) -> float:
    """Seconds of a launch on the GPU: the median of many, with the L2 cache overwritten before each."""
    values = list(given.values())
    kernel(*values, stream=0, **constants)
    size = 2 * max(driver.cache_bytes(), 1 << 20)
    scratch, events = driver.call("cuMemAlloc", size), [driver.call("cuEventCreate", 0) for _ in range(2)]
    try:
        times = []
        for n in range(LAUNCHES):
            driver.call("cuMemsetD8Async", scratch, n, size, 0)
            driver.call("cuEventRecord", events[0], 0)
            kernel(*values, stream=0, **constants)
            driver.call("cuEventRecord", events[1], 0)
            driver.call("cuEventSynchronize", events[1])
            times.append(driver.call("cuEventElapsedTime", *events))
        return statistics.median(times) / 1e3
    finally:
        driver.call("cuMemFree", scratch)
        for event in events:
            driver.call("cuEventDestroy", event)


# the model


class Chip(NamedTuple):
    """Multiprocessors, GHz, dense f16 FMAs per clock of one multiprocessor, GB/s of memory and of the L2 cache."""

    multiprocessors: int
    ghz: float
    fmas: int
    memory: float
    l2: float


# NVIDIA's data sheets of the A100 80 GB, A10, L40S, H100 SXM, B200 and RTX 5090; the L2 figures as measured in public microbenchmarks
CHIPS = {
    (8, 0): Chip(108, 1.41, 1024, 2039, 5000), (8, 6): Chip(72, 1.70, 512, 600, 2000), (8, 7): Chip(16, 1.30, 1024, 205, 1000),
    (8, 9): Chip(142, 2.52, 512, 864, 4500), (9, 0): Chip(132, 1.83, 2048, 3350, 7500), (10, 0): Chip(148, 1.85, 4096, 8000, 12000),
    (12, 0): Chip(170, 2.41, 512, 1792, 6000),
}  # fmt: skip
LATENCY = 800  # clocks from a load's issue to its use
OVERHEAD = 3e-6  # seconds of a launch


class Work(Run):
    """What one block does: fused multiply-adds of products, bytes to and from global and shared memory, rounds that wait for loads."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.left = STEPS
        self.fmas, self.moved, self.shared_bytes, self.waits = 0, 0.0, 0.0, 0.0

    def step(self, op: Op) -> None:
        if isinstance(op, Dot):
            (m, k), n = op.a.type.shape[-2:], op.b.type.shape[-1]
            self.fmas += math.prod(op.a.type.shape[:-2]) * m * n * k
            self.shared_bytes += (m * k + k * n) * op.a.type.dtype.bits / 8
        elif op.effect in (Effect.READ, Effect.WRITE):
            tiles = [v.type for v in (*op.results, *op.operands) if isinstance(v.type, TileType) and v.type.shape]
            size = max((t.size * t.dtype.bits / 8 for t in tiles), default=0.0)
            memory = [v.type for v in op.operands if isinstance(v.type, TensorType | SharedType)]
            if any(isinstance(t, TensorType) for t in memory):
                size = size or next((math.prod(t.shape) * t.dtype.bits / 8 for t in memory if isinstance(t, SharedType)), 0.0)
                self.moved += size
                self.waits += op.effect is Effect.READ
            elif memory:
                self.shared_bytes += size
        super().step(op)


def predicted(parsed: Function, built: compiler.Compiled, where: Target, given: dict[str, Any]) -> float:
    """Seconds, by a model that only ranks:

        waves * max(products, L2 traffic, shared traffic) of the blocks that a multiprocessor holds, + what latency they can't hide
        but no less than reading and writing every tensor once

    Products go at the tensor cores' rate, whatever their types; shared memory moves 128 bytes a clock. A block waits LATENCY for each load of its
    rounds, shared out over its stages and over the blocks beside it. The last wave counts in full.
    """
    chip = CHIPS.get(where.capability) or CHIPS[max(c for c in CHIPS if c <= where.capability)]
    scalars = Arguments(parsed, given).scalars()
    sizes = {p: scalars[p.name] for p in parsed.params if integer(p)}
    grid = launch(parsed, sizes)
    require(grid, "these sizes go against what the kernel assumes")
    assert grid
    work = Work(sizes, (0,) * len(grid), grid)
    work.block(simplify(parsed, where).body)
    blocks, resident = math.prod(grid), built.resources.occupancy.blocks
    waves = math.ceil(blocks / (chip.multiprocessors * resident))
    clocks = max(
        resident * work.fmas / chip.fmas,
        resident * work.moved * chip.multiprocessors / chip.l2 * chip.ghz,
        resident * work.shared_bytes / 128,
        resident * built.resources.threads / 32 * 50 / 4,  # a block's start and end
    )
    stages = max((int(v) for n, v in parsed.constants.items() if n == "stages"), default=1)
    stalls = work.waits * LATENCY / max(1, stages * resident)
    all_bytes = sum(math.prod(scalars.get(n, n) if isinstance(n, str) else n for n in p.type.shape) * p.type.dtype.bits / 8
                    for p in parsed.params if isinstance(p.type, TensorType))  # fmt: skip
    return OVERHEAD + max(waves * (max(clocks, stalls) + 0.2 * min(clocks, stalls)) / (1e9 * chip.ghz), all_bytes / (1e9 * chip.memory))


# progress


@contextlib.contextmanager
def bar(total: int, wanted: bool | None) -> Iterator[Callable[[], None]]:
    """A line that counts, on a terminal, or where it is asked for."""
    shown, done = sys.stderr.isatty() if wanted is None else wanted, 0

    def tick() -> None:
        nonlocal done
        done += 1
        if shown:
            full = 30 * done // total
            print(f"\rtuning [{'#' * full}{'.' * (30 - full)}] {done}/{total}", end="", file=sys.stderr, flush=True)

    try:
        yield tick
    finally:
        if shown:
            print(file=sys.stderr)
