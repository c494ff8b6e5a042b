"""Joins all the rooms: the kernel that users hold, the pipeline that compiles it, and the comparison of its stages."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilec import cache, keys
from tilec.backend import atomics, copies, functions, gather, groups, memory, nvptx, pieces, scans, views, warp, weights  # noqa: F401 - for their rules
from tilec.backend import cubin as assembler
from tilec.backend import debug as debugging  # noqa: F401
from tilec.backend import shared as shared_memory  # noqa: F401
from tilec.backend.libraries import loaded_meanwhile
from tilec.backend.llvm import symbol, to_llvm
from tilec.backend.select import select
from tilec.backend.target import Occupancy, Target, target
from tilec.errors import Code, TileError, hearing, notice, presented, require
from tilec.frontend.fingerprint import fingerprint
from tilec.frontend.parse import parse_kernel
from tilec.frontend.signature import Signature, signature
from tilec.ir.core import Function
from tilec.ir.describe import describe
from tilec.ir.notes import noting
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.reduce import Reduce
from tilec.ir.tensor import Tensor
from tilec.passes import groups as group_layouts  # noqa: F401
from tilec.passes import (
    indexed,  # noqa: F401 - its rules of layouts register themselves
    products,  # noqa: F401
)
from tilec.passes import pieces as piece_layouts  # noqa: F401
from tilec.passes import scans as scan_layouts  # noqa: F401
from tilec.passes.buffers import double_buffer
from tilec.passes.fuse import fuse_multiply_add
from tilec.passes.hazards import check_hazards
from tilec.passes.layouts import assign_layouts
from tilec.passes.lifetimes import memory_map
from tilec.passes.lower import lower_exchanges
from tilec.passes.ordered import order_memory
from tilec.passes.paired import assume_scales
from tilec.passes.pipeline import pipeline, read_ahead
from tilec.passes.shared_memory import lay_out_shared, place_shared, shared_size
from tilec.passes.simplify import simplify
from tilec.passes.specialize import assume_multiples
from tilec.passes.weights import lower_weights
from tilec.passes.widths import choose_widths
from tilec.records import field, record
from tilec.spills import spill_notice

if TYPE_CHECKING:
    from tilec.ir.shadow import Shadow
    from tilec.running import Runner
    from tilec.trace import Trace

DEFAULT_ARCH = "sm_80"

Pass = Callable[[Function, Target], Function]

PIPELINE: tuple[tuple[str, Pass], ...] = (
    ("simplified", simplify),  # constants folded, so that layouts are chosen for what remains
    ("checked", check_hazards),  # as the author wrote it: shared memory that the compiler adds comes with its barriers
    ("unpacked", lower_weights),  # early, so that the loads of packed weights are pipelined like others
    ("fused", fuse_multiply_add),  # before layouts hide products behind conversions
    ("pipelined", pipeline),  # before layouts, as loads become copies and reads of shared memory, which want others
    ("buffered", double_buffer),  # right behind, as it takes the pipelines' waits, copies and reads apart
    ("widths", choose_widths),  # how much a copy takes at once, on which its layout rests
    ("layouts", assign_layouts),  # every tile lies somewhere; conversions where layouts meet
    ("exchanges", lower_exchanges),  # conversions and reductions as stores, barriers, loads and shuffles
    ("ordered", order_memory),  # barriers that carry what a thread says or hears for its block
    ("shared", lay_out_shared),  # swizzles, which decide what instructions can do
    ("selected", select),  # machine instructions where they fit the layouts
    ("placed", place_shared),  # last, when every shared tile is known
)
_SHIPPED = PIPELINE  # what the cache knows; a pipeline that someone puts in its place is not cached


class Resources(NamedTuple):
    """What one block takes: registers a thread, bytes spilled a thread, bytes of shared memory, threads; and how many blocks fit."""

    registers: int
    spill_bytes: int
    shared_bytes: int
    threads: int
    occupancy: Occupancy


@record()
class Compiled:
    """All that a compilation made. `metadata` is everything a launcher needs: parameters in order, grid, threads, shared bytes, constants."""

    name: str
    target: Target
    cubin: bytes
    resources: Resources
    log: str
    metadata: dict[str, Any]
    _made: Callable[[str], Any] = field(repr=False, compare=False)  # what is made, or fetched, when it is asked for

    def __repr__(self) -> str:
        return f"<{self.name} compiled for {self.target.name}: {len(self.cubin)} bytes, {self.resources}>"

    @cached_property
    def stages(self) -> dict[str, Function]:
        """The IR after each stage, "parsed" first."""
        return self._made("stages")

    @cached_property
    def llvm(self) -> str:
        """LLVM IR as text."""
        return self._made("llvm")

    @cached_property
    def ptx(self) -> str:
        """PTX as text."""
        return self._made("ptx")

    @property
    def function(self) -> Function:
        """The IR that was compiled, after the last stage."""
        return list(self.stages.values())[-1]


class Kernel:
    """A kernel: a Python function that is compiled for a GPU or interpreted in NumPy, never called as Python."""

    def __init__(self, python_function: Callable[..., Any], warps: int, constants: dict[str, Any] | None = None):
        functools.update_wrapper(self, python_function)
        self.signature: Signature = signature(python_function).with_constants(constants or {})
        self._defaults = constants or {}
        self.warps = warps
        self._functions: dict[Any, Function] = {}
        self._stages: dict[Any, dict[str, Function]] = {}
        self._noticed: set[Any] = set()  # of those in `_stages`, what the compiler had to say something about
        self._compiled: dict[Any, Compiled] = {}
        self._multiples: tuple[tuple[str, int], ...] = ()  # dimensions that are known to be multiples of a number
        self._example: Callable[..., Any] | None = None
        self._space: tuple[dict[str, Any], Callable[..., bool] | None] | None = None

    def __repr__(self) -> str:
        return f"<tilec kernel {self.signature.name}>"

    # forms

    @presented
    def function(self, **constants: Any) -> Function:
        """The IR as parsed."""
        return self._parsed(self.signature.resolve(constants))

    def _parsed(self, constants: dict[str, Any]) -> Function:
        key = constants_key(constants)
        if key not in self._functions:
            parsed = assume_scales(parse_kernel(self.signature, constants, self.warps))
            self._functions[key] = assume_multiples(parsed, self._multiples).verify() if self._multiples else parsed.verify()
        return self._functions[key]

    def _staged(self, constants: dict[str, Any], where: Target) -> dict[str, Function]:
        key = (constants_key(constants), where.name)
        if key not in self._stages:
            function = self._parsed(constants)
            with hearing() as heard:
                stages = run_passes(function, where)
            self._stages[key] = stages
            if heard:
                self._noticed.add(key)
        return self._stages[key]

    @presented
    def stages(self, arch: str = DEFAULT_ARCH, **constants: Any) -> dict[str, Function]:
        """The IR after each stage, "parsed" first."""
        return self._staged(self.signature.resolve(constants), target(arch))

    @presented
    def compile(self, arch: str = DEFAULT_ARCH, *, lineinfo: bool = False, **constants: Any) -> Compiled:
        """Compile for an architecture, such as "sm_90a"; no GPU is needed.

        Keyword arguments set the kernel's constants; `lineinfo=True` maps machine code to the kernel's lines. Raises TileError.
        """
        return self._compile(self.signature.resolve(constants), target(arch), lineinfo)

    def _compile(self, constants: dict[str, Any], where: Target, lineinfo: bool = False) -> Compiled:
        key = (constants_key(constants), where.name, lineinfo)
        if key not in self._compiled:
            built = self._compiled[key] = self._fetched(constants, where, lineinfo)
            if built.resources.spill_bytes:
                notice(spill_notice(self._parsed(constants), built.resources.spill_bytes))
        return self._compiled[key]

    def _fetched(self, constants: dict[str, Any], where: Target, lineinfo: bool) -> Compiled:
        """From the cache on disk, or else compiled and put there."""

        def stages() -> dict[str, Function]:
            return self._staged(constants, where)

        def compiled(kept: bool) -> Compiled:
            with loaded_meanwhile(nvptx.library, assembler.library):
                return compile_stages(stages(), where, lineinfo, kept)

        tools = keys.tools() if PIPELINE is _SHIPPED and cache.folder() else None
        if tools is None:
            return compiled(kept=False)
        told = None if lineinfo else self._fingerprint(constants)
        quick = keys.quick(told, where, tools) if told else None
        pointer = cache.read(quick) if quick else None
        entry = cache.read(pointer.head["exact"]) if pointer else None
        if entry:
            return restored(entry, where, stages)
        exact = keys.exact(self._parsed(constants), where, lineinfo, tools)
        entry = cache.read(exact) if exact else None
        built = restored(entry, where, stages) if entry else compiled(kept=True)
        noticed = (constants_key(constants), where.name) in self._noticed  # what was said is to be said again
        if exact and not noticed and keys.tools() == tools:  # they may have changed meanwhile
            if not entry:
                cache.write(exact, *stored(built))
            if quick:
                cache.write(quick, {"exact": exact})
        return built

    def _fingerprint(self, constants: dict[str, Any]) -> str | None:
        told = fingerprint(self.signature, constants, self.warps)
        return told and f"{told}\n{self._multiples}"

    # running

    def __call__(self, *args: Any, stream: Any = None, **kwargs: Any) -> None:
        """Run on the GPU, or without one in the interpreter; arrays are written in place.

        On the GPU the call returns at once, and what it does is ordered by `stream`; but for arrays of the host, which are copied to the GPU
        and back, and waited for. See docs/runtime.md. Raises TileError.
        """
        self._runner.take_calls()
        self._called(args, kwargs, stream)

    @presented
    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any], stream: Any) -> None:
        self._runner.call(args, kwargs, stream)

    @cached_property
    def _runner(self) -> Runner:
        from tilec.running import Runner  # brings the interpreter, the driver and what launches

        return Runner(self)

    @presented
    def prepare(self, *args: Any, stream: Any = None, **kwargs: Any) -> None:
        """Do all of a call but the launch: compile and load for such arguments, check them. A CUDA graph can be captured afterwards."""
        self._runner.prepare(args, kwargs, stream)

    @presented
    def interpret(self, *args: Any, stage: str | None = None, arch: str = DEFAULT_ARCH, late_copies: bool = False, **kwargs: Any) -> None:
        """Run the IR in NumPy: as parsed, or as it is after `stage` for `arch`. Arrays are written in place.

        Asynchronous copies land at once; with `late_copies` no sooner than the wait for them, and reading them before is an error.
        """
        self._runner.interpret(args, kwargs, stage, arch, late_copies)

    @presented
    def trace(self, *args: Any, block: int | Sequence[int] = (0,), stage: str | None = None, arch: str = DEFAULT_ARCH, **kwargs: Any) -> Trace:
        """Interpret as `interpret` does, and take down each value that one block computes, with its line, variable, and type.

        Prints as the kernel's lines with their values; `trace["acc"]` is the history of a variable, `trace.at(line)` what a line computed. From
        `stage="layouts"` on, steps have layouts. Arrays are written in place. Raises TileError.
        """
        return self._runner.trace(args, kwargs, block, stage, arch)

    @presented
    def shadow(self, *args: Any, stage: str | None = None, arch: str = DEFAULT_ARCH, alone: bool = True, **kwargs: Any) -> Shadow:
        """Interpret, and beside every value compute what it would be in float64: what each line's rounding adds, and the outputs' errors.

        Arrays are written in place, as `interpret` does. With `alone` the kernel runs once more for each line that rounds, to tell what this line
        does to the outputs by itself. See docs/numerics.md. Raises TileError.
        """
        return self._runner.shadow(args, kwargs, stage, arch, alone)

    @presented
    def simulate(self, *args: Any, arch: str = DEFAULT_ARCH, **kwargs: Any) -> Any:
        """Compile, run the emitted PTX on the CPU with all checks, and return the simulator's report (`tilec.sim.Report`). Arrays are written in place."""
        return self._runner.simulate(args, kwargs, target(arch))

    @presented
    def explain(self, arch: str = DEFAULT_ARCH, *, sizes: dict[str, Any] | None = None, **constants: Any) -> Any:
        """What became of each line, what it costs in a run of the example, and why it is not better: a `tilec.explain.Explanation`.

        `sizes` are the example's. Raises TileError, also where there is no nvdisasm.
        """
        from tilec import explain  # reads machine code, which only it and `tilec show` do

        resolved, where = self.signature.resolve(constants), target(arch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are part of what is said
            with noting() as notes, hearing() as notices:
                stages = run_passes(self._parsed(resolved), where)
                to_llvm(list(stages.values())[-1], where)
            compiled = self._compile(resolved, where, lineinfo=True)
        if compiled.resources.spill_bytes:
            notices.append(spill_notice(self._parsed(resolved), compiled.resources.spill_bytes))
        report, simulated = None, "nothing, as the kernel has no example"
        if self._example is not None:
            args, _ = self.example_args(0, **(sizes or {}))
            report = self._runner.simulate(args, resolved, where, lineinfo=True)
            simulated = ", ".join(f"{p.name} {'x'.join(map(str, np.shape(a))) or a}" for p, a in zip(self.signature.parameters, args, strict=True))
        return explain.explanation(self.signature.name, self.signature.source.span, compiled, stages, notes, notices, report, simulated)

    # tuning

    def of_warps(self, warps: int) -> Kernel:
        """The same kernel with another number of warps."""
        return self._changed(warps, {})

    @presented
    def with_constants(self, **constants: Any) -> Kernel:
        """The same kernel with these values for constants where a call gives no others: `narrow = k.with_constants(bm=16)`, which can be called,
        compiled and named on the command line as `k` can. Raises TileError for unknown constants and values that do not fit."""
        return self._changed(self.warps, constants)

    def _changed(self, warps: int, constants: dict[str, Any]) -> Kernel:
        _check_warps(warps)
        found = Kernel(self.__wrapped__, warps, {**self._defaults, **constants})  # type: ignore[attr-defined]
        found._example, found._space = self._example, self._space
        return found

    def tune(self, **choices: Any) -> Callable[[Callable[..., bool]], Callable[..., bool]]:
        """State which values of the kernel's constants, and of `warps`, are worth trying: `k.tune(bm=[64, 128], warps=[4, 8])`.

        As a decorator it takes a function of some of them that says which go together.
        """
        require(
            choices and all(isinstance(v, list | tuple) and v for v in choices.values()),
            "tune takes lists of choices, as in bm=[64, 128]",
            code=Code.TUNING,
        )
        self._space = (choices, None)

        def constrain(allowed: Callable[..., bool]) -> Callable[..., bool]:
            self._space = (choices, allowed)
            return allowed

        return constrain

    @presented
    def tuned(self, *args: Any, arch: str | None = None, executor: Any = None, progress: bool | None = None) -> Any:
        """The best of the configurations stated by `tune` for arguments like these: a `tilec.tune.Tuned`, which can be called and printed.

        On a GPU they are timed; without one, or for `arch`, a model ranks them. Machine code is made in processes of its own, or in
        those of any `concurrent.futures` executor. Raises TileError, with the reason of each, if no configuration can be used.
        """
        from tilec import tune  # brings in multiprocessing

        require(self._space, f"{self.signature.name} has nothing to tune", hint=f"state choices: {self.signature.name}.tune(bm=[64, 128])", code=Code.TUNING)
        choices, allowed = self._space  # type: ignore[misc]
        return tune.tuned(self, tune.Space(choices, allowed), args, arch, executor, progress)

    # examples

    def example(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Register `make(rng, **sizes) -> (arguments, expected)`: arguments of a call, and what it leaves in which of them by name."""
        self._example = make
        return make

    def example_args(self, rng: np.random.Generator | int = 0, **sizes: Any) -> tuple[tuple[Any, ...], dict[str, np.ndarray]]:
        """Fresh arguments and expected results of the registered example. Outputs are poisoned, so that nothing stays by accident."""
        if self._example is None:
            raise TileError(f"{self.signature.name} has no example", hint=f"register one with @{self.signature.name}.example", code=Code.EXAMPLE)
        known = inspect.signature(self._example).parameters
        for name in sizes:
            hint = f"it takes {', '.join(list(known)[1:]) or 'none'}"
            require(name in known, f"the example of {self.signature.name} takes no {name}", hint=hint, code=Code.EXAMPLE)
        args, expected = self._example(np.random.default_rng(rng), **sizes)
        names = [p.name for p in self.signature.parameters]
        for name in expected:
            require(name in names, f"the example expects {name}, but the kernel has {', '.join(names)}", code=Code.EXAMPLE)
            poison(args[names.index(name)])
        return args, expected


def kernel(python_function: Callable[..., Any] | None = None, *, warps: int = 4) -> Any:
    """Make a kernel of a Python function: `@tc.kernel` or `@tc.kernel(warps=8)`. `warps` is the number of warps of a block, 1 to 32."""

    @presented
    def make(function: Callable[..., Any]) -> Kernel:
        _check_warps(warps)
        return Kernel(function, warps)

    return make if python_function is None else make(python_function)


def _check_warps(warps: Any) -> None:
    require(isinstance(warps, int) and 1 <= warps <= 32, f"a block has 1 to 32 warps, not {warps!r}", code=Code.WARPS)


def run_passes(function: Function, where: Target) -> dict[str, Function]:
    """The IR after each stage, "parsed" first."""
    stages = {"parsed": function}
    for name, run in PIPELINE:
        function = stages[name] = run(function, where)
    return stages


def compile_stages(
    stages: dict[str, Function], where: Target, lineinfo: bool = False, kept: bool = False, made: tuple[str, bytes, str] | None = None
) -> Compiled:
    """From the last stage to machine code; `kept` says that it may be taken from the cache, and put there; `made` is it, if it is there."""
    function = list(stages.values())[-1]
    llvm = to_llvm(function, where, lineinfo)
    ptx, cubin, log = made or machine_code(llvm, where, lineinfo, kept)
    found, shared = assembler.resources(log), shared_size(function)
    occupancy = where.occupancy(function.threads, found.registers, shared)
    resources = Resources(found.registers, found.spill_stores + found.spill_loads, shared, function.threads, occupancy)
    tiles = [{k: v for k, v in tile.items() if k != "line"} for tile in memory_map(function)]  # lines may change when nothing else does
    about = {"shared_bytes": shared, "shared": tiles, "arch": where.name, "entry": symbol(function), **ahead(stages["parsed"])}
    texts = {"stages": stages, "llvm": llvm, "ptx": ptx}
    return Compiled(symbol(function), where, cubin, resources, log, {**describe(function), **about}, texts.__getitem__)


def described(function: Function) -> dict[str, Any]:
    """What a launch must know of a function as parsed."""
    return {**describe(function), **ahead(function)}


def ahead(function: Function) -> dict[str, Any]:
    """`read_ahead`, if there is anything: pairs of tensors of which a loop reads the first rounds before it writes the second."""
    pairs = [list(pair) for pair in read_ahead(function)]
    return {"read_ahead": pairs} if pairs else {}


def machine_code(llvm: str, where: Target, lineinfo: bool, kept: bool) -> tuple[str, bytes, str]:
    """PTX, cubin and the assembler's log of a module."""
    key = keys.machine(llvm, where, lineinfo) if kept else None
    found = cache.read(key) if key else None
    if found:
        return zlib.decompress(found.parts["ptx"]).decode(), found.parts["cubin"], found.head["log"]
    ptx = nvptx.to_ptx(llvm, where)
    made = assembler.assemble(ptx, where, lineinfo)
    if key and keys.machine(llvm, where, lineinfo) == key:  # the assembler that was loaded is the one that was told
        cache.write(key, {"log": made.log}, {"ptx": zlib.compress(ptx.encode(), 1), "cubin": made.data})
    return ptx, made.data, made.log


def stored(built: Compiled) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A compilation as an entry of the cache. Its stages are made again when they are asked for."""
    taken = built.resources
    head = {
        "kernel": built.name, "arch": built.target.name, "log": built.log, "metadata": built.metadata,
        "resources": [taken.registers, taken.spill_bytes, taken.shared_bytes, taken.threads],
    }  # fmt: skip
    return head, {"cubin": built.cubin, "llvm": zlib.compress(built.llvm.encode(), 1), "ptx": zlib.compress(built.ptx.encode(), 1)}


def restored(entry: cache.Entry, where: Target, stages: Callable[[], dict[str, Function]]) -> Compiled:
    """The compilation that an entry holds."""
    registers, spilled, shared, threads = entry.head["resources"]
    resources = Resources(registers, spilled, shared, threads, where.occupancy(threads, registers, shared))

    def made(what: str) -> Any:
        return stages() if what == "stages" else zlib.decompress(entry.parts[what]).decode()

    return Compiled(entry.head["kernel"], where, entry.parts["cubin"], resources, entry.head["log"], entry.head["metadata"], made)


def poison(array: Any) -> None:
    """Fill an output with what no kernel should leave: NaN, or the largest number."""
    if isinstance(array, Tensor):
        array.bytes[...] = 0x5A
    else:
        array[...] = np.nan if array.dtype.kind in "fV" else np.iinfo(array.dtype).max if array.dtype.kind in "iu" else True


def constants_key(constants: dict[str, Any]) -> Any:
    """Tells constants from others, of other types included."""
    return tuple((name, type(value).__name__, value if value.__hash__ else repr(value)) for name, value in constants.items())


# comparing stages


class Difference(NamedTuple):
    """How far the results of a stage are from those of the IR as parsed: `‖x − y‖ / ‖y‖`, and the bound that it must keep."""

    stage: str
    difference: float
    bound: float
    output: str = ""

    @property
    def agrees(self) -> bool:
        return self.difference <= self.bound


def compare_stages(k: Kernel, arch: str = DEFAULT_ARCH, seed: int = 0, **constants: Any) -> Iterator[Difference]:
    """Run a kernel's example on the IR after each stage and compare with the IR as parsed, stage by stage."""
    names = [p.name for p in k.signature.parameters]
    stages = k.stages(arch, **constants)
    reference: dict[str, np.ndarray] = {}
    for stage, function in stages.items():
        args, expected = k.example_args(seed)
        k.interpret(*args, stage=stage, arch=arch, **constants)
        found = {name: numbers(args[names.index(name)]) for name in expected}
        reference = reference or found
        worst = Difference(stage, 0.0, 0.0)
        for name, values in found.items():
            bound = reordering_bound(function, stages["parsed"], name, args)
            new = Difference(stage, relative_norm(values, reference[name]), bound, name)
            worst = max(worst, new, key=lambda d: (not d.agrees, d.difference))
        yield worst


@presented
def bisect(k: Kernel, arch: str = DEFAULT_ARCH, seed: int = 0, **constants: Any) -> list[Difference]:
    """The differences of all stages, up to and with the first that does not agree with the IR as parsed."""
    found = []
    for difference in compare_stages(k, arch, seed, **constants):
        found.append(difference)
        if not difference.agrees:
            break
    return found


def numbers(array: Any) -> np.ndarray:
    """An output as float64."""
    return np.asarray(array.values() if isinstance(array, Tensor) else array, np.float64)


def relative_norm(x: np.ndarray, y: np.ndarray) -> float:
    """`‖x − y‖ / ‖y‖`; 0 for equal arrays, NaN in the same places included; infinite where only one is NaN."""
    with np.errstate(all="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        if same.all():
            return 0.0
        error = np.linalg.norm(np.where(same, 0, x - y)) / np.linalg.norm(np.where(np.isnan(y), 0, y))
    return float(error) if np.isfinite(error) else float("inf")


def reordering_bound(function: Function, parsed: Function, name: str, args: tuple[Any, ...]) -> float:
    """What reordered floating sums may change: nothing without a floating reduction or product, else one rounding of the output's type
    and one of the sum's type for each term (Higham, "Accuracy and Stability of Numerical Algorithms", 4.2), on the norm."""
    sums = [op for op in parsed.walk() if isinstance(op, Dot | Reduce) and op.result.type.dtype.is_float]
    if not sums:
        return 0.0
    terms = max((max(np.shape(a), default=1) for a in args if np.ndim(a)), default=1)
    epsilons = [2.0 ** -(op.result.type.dtype.mantissa_bits + 1) for op in sums]
    output = parsed.param(name).type.dtype
    step = 2.0 ** -(output.mantissa_bits + 1) if output.is_float else 1.0
    return 2 * step + max(epsilons) * terms


# finding kernels in files


def load_kernel(where: str) -> Kernel:
    """The kernel that "FILE.py:KERNEL" names. Raises TileError if there is none."""
    path, _, name = where.rpartition(":")
    require(os.path.isfile(path), f"{path or where} is no file", hint="name a kernel as in examples/softmax.py:softmax")
    module_name = f"_tilec_{os.path.basename(path).partition('.')[0]}_{abs(hash(os.path.realpath(path)))}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    require(spec is not None and spec.loader is not None, f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[module_name] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    found = getattr(module, name, None)
    of_layer = getattr(found, "kernel", None)  # for any number of rows
    if not isinstance(found, Kernel) and callable(of_layer) and not isinstance(found, type):
        found = of_layer()
    kernels = [n for n, v in vars(module).items() if isinstance(v, Kernel)]
    require(isinstance(found, Kernel), f"{path} has no kernel {name}", hint=f"it has {', '.join(kernels)}" if kernels else None)
    return found  # type: ignore[return-value]
