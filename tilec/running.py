"""Running a kernel: from a call to the GPU, to the interpreter or to the simulator. Loaded with the first run, as a process that compiles needs
none of this."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilec import cache, keys
from tilec.arguments import Arguments, check_apart, check_clean, in_words, machine_arguments, take_back, with_workspaces
from tilec.backend.driver import Kernel as LoadedKernel
from tilec.backend.driver import device
from tilec.backend.target import Target, target
from tilec.compiler import DEFAULT_ARCH, Kernel, constants_key, described
from tilec.errors import Code, notice, presented, require
from tilec.frontend.signature import REQUIRED
from tilec.ir.core import Function
from tilec.ir.dtypes import DType
from tilec.ir.interp import evaluate_launch, execute
from tilec.launch import Launcher
from tilec.passes.pipeline import read_ahead
from tilec.quick import MISSING, entry, key_of

if TYPE_CHECKING:
    from tilec.ir.shadow import Shadow
    from tilec.trace import Trace


class Runner:
    """Runs one kernel; what the methods do, those of `Kernel` say that are called so."""

    def __init__(self, kernel: Kernel):
        self.kernel, self.signature = kernel, kernel.signature
        self.launchers: dict[Any, Launcher] = {}
        self.specialized: dict[tuple[tuple[str, int], ...], Kernel] = {}
        self.plain = {c.name for c in self.signature.constants if c.annotation in (int, str, DType)}

    def take_calls(self) -> None:
        """Python looks `__call__` up in the class, so a kernel that is called has a class of its own, whose `__call__` is made for its parameters."""
        names = [p.name for p in self.signature.parameters]
        constants = {c.name: MISSING if c.default is REQUIRED else c.default for c in self.signature.constants}
        if not any(name.startswith("_") for name in (*names, *constants)):
            call = entry(self.signature.name, names, constants, self.plain, self.launchers, _call)
            self.kernel.__class__ = type("Kernel", (Kernel,), {"__call__": call, "__module__": Kernel.__module__})  # type: ignore[assignment]

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], stream: Any) -> None:
        given, constants = self.bound(args, kwargs)
        if device() is None:
            _notice()
            self._interpret(given, constants, None, DEFAULT_ARCH)
        else:
            self.launcher(constants).launch(stream, *given.values())

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any], stream: Any) -> None:
        given, constants = self.bound(args, kwargs)
        require(device(), "there is no GPU here, or no driver for it", code=Code.NO_GPU)
        self.launcher(constants).prepare(stream, *given.values())

    # arguments

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments by name, and constants; those that the caller did not give are left out before they are missed."""
        names = [p.name for p in self.signature.parameters]
        by_name = {name: a for name, a in zip(names, args, strict=False) if a is not MISSING}
        constants = {name: value for name, value in kwargs.items() if value is not MISSING}
        if len(args) > len(names) or any(name in by_name for name in constants):
            return self.bind(tuple(a for a in args if a is not MISSING), constants)
        return self.bind((), {**by_name, **constants})

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments by name, workspaces among them, and constants."""
        given, constants = self.signature.bind(args, kwargs)
        own = self.signature.workspaces
        return (with_workspaces(self.signature.types(constants), given, own) if own else given), constants

    def _arguments(self, function: Function, given: dict[str, Any], constants: dict[str, Any]) -> Arguments:
        """Checked, on the host."""
        bound = Arguments(function, given)
        check_apart(bound.tensors, read_ahead(self.kernel._parsed(constants)))
        return bound

    # launching

    def launcher(self, constants: dict[str, Any]) -> Launcher:
        """What launches the kernel with these constants."""
        key = self._launch_key(constants)
        found = self.launchers.get(key)
        if found is None:
            found = Launcher(self.signature.values(constants), self._described(constants), functools.partial(self._load, constants))
            self.launchers[key] = found
        return found

    def _launch_key(self, constants: dict[str, Any]) -> Any:
        """As calls have it, see `quick.entry`; of constants that can't be a key, one that no call has."""
        key = key_of(constants, self.plain)
        try:
            hash(key)
        except TypeError:
            return ("unhashable", constants_key(constants))
        return key

    def _described(self, constants: dict[str, Any]) -> dict[str, Any]:
        """What a launch must know, for any architecture. From the cache on disk if it can be, so that nothing need be parsed."""
        tools = keys.tools() if cache.folder() else None
        told = self.kernel._fingerprint(constants) if tools else None
        key = cache.digest("launch", told, tools) if tools and told else None
        found = cache.read(key) if key else None
        if found:
            return dict(found.head["description"])
        description = described(self.kernel._parsed(constants))
        if key:
            cache.write(key, {"description": description})
        return description

    def _load(self, constants: dict[str, Any], ordinal: int, multiples: tuple[tuple[str, int], ...]) -> LoadedKernel:
        """The kernel on a GPU, made to rest on multiples that a launch has seen."""
        where = device(ordinal)
        assert where is not None
        compiled = self._resting_on(multiples)._compile(constants, where.target)
        return LoadedKernel(compiled.cubin, compiled.name, compiled.resources.shared_bytes, ordinal)

    def _resting_on(self, multiples: tuple[tuple[str, int], ...]) -> Kernel:
        """This kernel for dimensions that are such multiples; a launch that sees them takes it."""
        if not multiples:
            return self.kernel
        if multiples not in self.specialized:
            made = Kernel(self.kernel.__wrapped__, self.kernel.warps)  # type: ignore[attr-defined]
            made._multiples = multiples
            self.specialized[multiples] = made
        return self.specialized[multiples]

    # interpreting

    def interpret(self, args: tuple[Any, ...], kwargs: dict[str, Any], stage: str | None, arch: str, late_copies: bool) -> None:
        given, constants = self.bind(args, kwargs)
        self._interpret(given, constants, stage, arch, late_copies)

    def trace(self, args: tuple[Any, ...], kwargs: dict[str, Any], block: int | Sequence[int], stage: str | None, arch: str) -> Trace:
        from tilec.trace import Trace, check_block

        given, constants = self.bind(args, kwargs)
        function = self._at_stage(constants, stage, arch)
        bound = Arguments(function, given)
        grid = evaluate_launch(function, bound.carriers())
        found = Trace(self.signature.name, self.signature.source.file, check_block(block, grid))
        self._interpret(given, constants, stage, arch, trace=found)
        return found

    def shadow(self, args: tuple[Any, ...], kwargs: dict[str, Any], stage: str | None, arch: str, alone: bool) -> Shadow:
        from tilec.ir.shadow import shadow

        given, constants = self.bind(args, kwargs)
        function = self._at_stage(constants, stage, arch)
        bound = self._arguments(function, given, constants)
        check_clean(bound, self.signature.workspaces, "before the run")
        report, carriers = shadow(function, bound.carriers, alone)
        bound.write_back(carriers)
        return report

    def _at_stage(self, constants: dict[str, Any], stage: str | None, arch: str) -> Function:
        if stage is None:
            return self.kernel._parsed(constants)
        stages = self.kernel._staged(constants, target(arch))
        require(stage in stages, f"there is no stage {stage!r}; there are {', '.join(stages)}", code=Code.STAGE)
        return stages[stage]

    def _interpret(
        self, given: dict[str, Any], constants: dict[str, Any], stage: str | None, arch: str, late_copies: bool = False, trace: Trace | None = None
    ) -> None:
        function = self._at_stage(constants, stage, arch)
        bound = self._arguments(function, given, constants)
        check_clean(bound, self.signature.workspaces, "before the run")
        carriers = bound.carriers()
        if trace is None:
            execute(function, carriers, late_copies)
        else:
            trace.follow(function, carriers, late_copies)
        bound.write_back(carriers)
        check_clean(bound, self.signature.workspaces, "after the run")

    # simulating

    def simulate(self, args: tuple[Any, ...], kwargs: dict[str, Any], where: Target, lineinfo: bool = False) -> Any:
        from tilec import sim  # a product of its own, loaded when it is asked for
        from tilec.blame import blame

        given, constants = self.bind(args, kwargs)
        compiled = self.kernel._compile(constants, where, lineinfo)
        function = self.kernel._parsed(constants)
        bound = self._arguments(function, given, constants)
        grid = evaluate_launch(function, bound.carriers())
        block, arguments = (compiled.resources.threads,), machine_arguments(function, bound)
        held = [in_words(a, p.type.dtype) for a, p in zip(arguments, function.params, strict=True)]
        report = sim.run_ptx(compiled.ptx, compiled.name, grid, block, held, compiled.resources.shared_bytes)
        if not lineinfo:  # else it knows
            report.locate = lambda: blame(report, compiled.ptx, compiled.function, where)
        if report.findings:
            report.located()
        for array, words in zip(arguments, held, strict=True):
            if words is not array:
                array[...] = words[: len(array)]
        take_back(function, bound, arguments)
        check_clean(bound, self.signature.workspaces, "after the run")
        return report


@presented
def _call(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any], stream: Any) -> None:
    kernel._runner.call(args, kwargs, stream)


@functools.cache
def _notice() -> None:
    notice("no GPU was found: kernels run in the interpreter")
