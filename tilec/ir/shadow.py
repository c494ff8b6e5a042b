"""Runs a function in the interpreter and, beside each value, what it would be in float64: where rounding comes from, and what it does.

Each value of a run that may be rounded is an array that carries a second one (`Shadowed.exact`), each memory of such values a second memory.
An op is evaluated twice: as always, and by `Op.unrounded` on what its operands carry. Integers, indices and branches are those of the
real run, in both. What ops do on integers' or floats' bits has no meaning without rounding, and the shadow begins anew from its result.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tilec.ir.compare import Errors
from tilec.ir.core import Effect, Function, Op
from tilec.ir.dtypes import DType
from tilec.ir.interp import Array, Context, Program, computing, execute, rounding
from tilec.ir.memories import Memory
from tilec.ir.shared_memories import SharedMemory

Place = tuple[str, int]  # file and line


class Shadowed(np.ndarray):
    """Values of the run; `exact` is what they would be."""

    exact: Any = None


def paired(real: Any, exact: Any) -> Any:
    """One value of the run out of both, an array or a memory."""
    both: Any = real.view(Shadowed) if isinstance(real, np.ndarray) else real
    both.exact = exact
    return both


def real(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Shadowed) else value


def exact(value: Any) -> Any:
    """The second value; the first where there is no other."""
    found = getattr(value, "exact", None)
    return real(value) if found is None else found


def rounds(dtype: DType) -> bool:
    """Whether values of a type stand for real numbers: floats, and integers of few bits."""
    return dtype.is_float or not dtype.computes


class ShadowContext(Context):
    """A context whose values may be pairs; `twin` is what ops on the second values ask."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.twin = Twin(self)

    def keep(self, new: Any, old: Any) -> Any:
        return self._both(lambda part: super(ShadowContext, self).keep(part(new), part(old)), new, old)

    def choose(self, condition: Array, then: Any, orelse: Any) -> Any:
        return self._both(lambda part: super(ShadowContext, self).choose(condition, part(then), part(orelse)), then, orelse)

    def _both(self, rule: Callable[[Callable[[Any], Any]], Any], *values: Any) -> Any:
        shadowed = any(isinstance(v, Shadowed) for v in values)
        return paired(rule(real), rule(exact)) if shadowed else rule(real)


class Twin(Context):
    """The context of the second values: the same blocks and copies, but nothing that fails, and shared memory of float64."""

    def __init__(self, owner: ShadowContext):
        self.owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.owner, name)

    def fail(self, *_: Any, **__: Any) -> None:
        pass

    def shared(self, dtype: DType, shape: tuple[int, ...]) -> SharedMemory:
        return SharedMemory.new(self.blocks, dtype, shape, np.float64)


@dataclass
class OpErrors:
    """What an op of a line has done, in all its runs: the errors of its results for the operands that it had, and against the shadow."""

    mnemonic: str
    dtype: DType
    introduced: Errors = field(default_factory=Errors)
    accumulated: Errors = field(default_factory=Errors)
    overflows: int = 0  # results that are not finite where the shadow is

    def add(self, found: Array, local: Array | None, shadow: Array) -> None:
        self.accumulated += _finite(shadow, found)
        self.overflows += int((np.isfinite(shadow) & ~np.isfinite(found)).sum())
        if local is not None:
            self.introduced += _finite(local, found)


def _finite(exact: Array, found: Array) -> Errors:
    exact, found = np.broadcast_arrays(exact, found)
    if (good := np.isfinite(exact) & np.isfinite(found)).all():
        return Errors.of(exact, found)
    return Errors.of(exact[good], found[good])


@dataclass
class LineErrors:
    """A line of the source: the ops that stand for it, in order, and what its errors alone make of the outputs."""

    file: str
    number: int
    ops: list[OpErrors] = field(default_factory=list)
    alone: float | None = None  # the largest relative error of an output if the line's errors were the only ones; None if not asked for

    @property
    def text(self) -> str:
        return linecache.getline(self.file, self.number).strip()

    @property
    def introduced(self) -> float:
        """The largest relative error that an op of the line adds, against the exact result for the operands that it has."""
        return max((op.introduced.relative for op in self.ops), default=0.0)

    @property
    def accumulated(self) -> float:
        """The relative error of what the line gives in the end, against the shadow."""
        return self.ops[-1].accumulated.relative if self.ops else 0.0

    @property
    def overflows(self) -> int:
        return sum(op.overflows for op in self.ops)


@dataclass
class Shadow:
    """What rounding did in a run: `lines`, the worst first, and for each tensor that was written its `outputs` errors.

    Lines are sorted by what each does to the outputs alone, or, where this was not asked for, by what it introduces. Lines whose results are
    not finite where the shadow is come before all, in the order of the source.
    """

    lines: list[LineErrors]
    outputs: dict[str, Errors]

    def line(self, text: str) -> LineErrors:
        """The first line whose source holds the text, in the order of the source. Raises KeyError if there is none."""
        for found in sorted(self.lines, key=lambda one: (one.file, one.number)):
            if text in found.text:
                return found
        raise KeyError(f"no line with {text!r} computes anything that is rounded")

    def json(self) -> dict[str, Any]:
        """As plain data."""

        def figures(errors: Errors) -> dict[str, float]:
            return {"relative": errors.relative, "sqnr": errors.sqnr, "cosine": errors.cosine, "rms": errors.rms, "max": errors.max_error}

        names = ("file", "number", "text", "alone", "introduced", "accumulated", "overflows")
        lines = [{name: getattr(one, name) for name in names} for one in self.lines]
        return {"outputs": {name: figures(errors) for name, errors in self.outputs.items()}, "lines": lines}

    def __str__(self) -> str:
        alone = any(one.alone is not None for one in self.lines)
        head = [*(["alone"] if alone else []), "introduced", "accumulated", "line"]
        rows = []
        for one in self.lines:
            figures = [*([one.alone or 0.0] if alone else []), one.introduced, one.accumulated]
            note = f"  ({one.overflows} not finite)" if one.overflows else ""
            rows.append([*(f"{x:.2e}" if x else "0" for x in figures), f"{one.number:5}  {one.text}{note}"])
        table = [" ".join([*(f"{cell:>11}" for cell in row[:-1]), f" {row[-1]}"]) for row in [head, *rows]]
        return "\n".join([*(f"{name}: {errors}" for name, errors in self.outputs.items()), "", *table])


class ShadowProgram(Program):
    """A function's body on pairs. `record` gets (op, result, exact result for its operands, shadow).

    To the shadow of an op at `place` the error is added that it has made in the run; what updates memory rounds there instead.
    """

    def __init__(self, function: Function, record: Callable[..., None] | None = None, place: Place | None = None):
        self.record, self.place = record, place
        self.callable_of = self.pairing  # type: ignore[method-assign]
        super().__init__(function)

    def pairing(self, op: Op) -> Callable[..., Any]:
        compute, exactly, round = computing(op, op.eval), computing(op, op.unrounded), rounding(op)
        as_computed = type(op).unrounded is Op.unrounded
        repeatable = op.effect in (Effect.NONE, Effect.READ)
        begins = any(rounds(v.type.dtype) for v in op.results)
        here = self.place is not None and place_of(op) == self.place
        erring = exactly if repeatable else lambda ctx, *operands: round(compute(ctx, *operands))

        def call(ctx: Any, *operands: Any) -> Any:
            reals = [real(v) for v in operands]
            raw = compute(ctx, *reals)
            result = round(raw)
            carried = any(hasattr(v, "exact") for v in operands)
            if op.effect is Effect.DEBUG or not (carried or begins):
                return result
            if not all(hasattr(v, "exact") for v in operands if not isinstance(v, np.ndarray)):
                return result  # memory of integers has no second one
            local = None if not repeatable else raw if as_computed else exactly(ctx.twin, *reals)
            # what makes memory makes two
            shadow = (erring if here else exactly)(ctx.twin, *map(exact, operands)) if carried or not repeatable else local
            return self._together(op, ctx, result, local, shadow)

        return call

    def _together(self, op: Op, ctx: Context, result: Any, local: Any, shadow: Any) -> Any:
        if shadow is None or not op.results:
            return result
        if len(op.results) == 1:
            return self._pair(op, ctx, result, local, shadow)
        locals = local if local is not None else [None] * len(result)
        return tuple(self._pair(op, ctx, *one) for one in zip(result, locals, shadow, strict=True))

    def _pair(self, op: Op, ctx: Context, result: Any, local: Any, shadow: Any) -> Any:
        if not isinstance(result, np.ndarray):
            return paired(result, shadow)
        if shadow.dtype.kind != "f":  # integers and bools of the run
            return result
        if self.place is not None and local is not None and place_of(op) == self.place:
            error = result - local
            shadow = shadow + np.where(np.isnan(error), 0, error)
        if self.record is not None:
            self.record(op, *(None if part is None else _active(ctx, part) for part in (result, local, shadow)))
        return paired(result, shadow)


def _active(ctx: Context, values: Array) -> Array:
    """Values of the blocks that run."""
    values = real(values)
    return (values if ctx.mask is None or len(values) == 1 else values[ctx.mask]).astype(np.float64, copy=False)


def place_of(op: Op) -> Place | None:
    return (op.loc.file, op.loc.line) if op.loc is not None else None


def shadow(function: Function, carriers: Callable[[], Sequence[Any]], alone: bool = True) -> tuple[Shadow, Sequence[Any]]:
    """Run a function with its shadow: the report, and the arguments as the run has left them.

    `carriers` makes arguments as `interp.execute` takes them, the same each time. With `alone` the function runs once more for each line that
    rounds, with the errors of this line and no others. Raises TileError as the interpreter does.
    """
    known: dict[Op, OpErrors] = {}

    def record(op: Op, found: Array, local: Array | None, shadow: Array) -> None:
        known.setdefault(op, OpErrors(op.mnemonic, op.results[0].type.dtype)).add(found, local, shadow)

    arguments = _run(function, carriers, partial(ShadowProgram, record=record))
    lines: dict[Place, LineErrors] = {}
    for op in function.walk():
        place = place_of(op)
        if op in known and place is not None:
            lines.setdefault(place, LineErrors(*place)).ops.append(known[op])
    found = [one for one in lines.values() if one.introduced or one.accumulated or one.overflows]
    written = dict(_written(function, carriers(), arguments))
    if alone:
        for one in found:
            one.alone = _alone(function, carriers, one, arguments, written)
    found.sort(key=lambda one: (0, one.number) if one.overflows else (1, -(one.alone or 0.0), -one.introduced, one.number))
    outputs = {function.params[i].name: _finite(arguments[i].exact.data[where], arguments[i].data[where]) for i, where in written.items()}
    return Shadow(found, outputs), arguments


def _run(function: Function, carriers: Callable[[], Sequence[Any]], make: Callable[[Function], Program]) -> Sequence[Any]:
    arguments = carriers()
    for param, memory in zip(function.params, arguments, strict=True):
        if isinstance(memory, Memory) and rounds(param.type.dtype) and not hasattr(memory, "exact"):
            paired(memory, Memory(memory.data.astype(np.float64), memory.name, memory.edge))
    with np.errstate(all="ignore"):
        execute(function, arguments, make=make, context=ShadowContext)
    return arguments


def _written(function: Function, before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[int, Array]]:
    """The number of each tensor that was written and may be rounded, and which of its elements have changed, there or in the shadow."""
    for i, (old, memory) in enumerate(zip(before, after, strict=True)):
        if isinstance(memory, Memory) and memory.changed and hasattr(memory, "exact"):
            yield i, (memory.data != old.data) | (memory.exact.data != old.data)


def _alone(function: Function, carriers: Callable[[], Sequence[Any]], line: LineErrors, exact: Sequence[Any], written: dict[int, Array]) -> float:
    """The largest relative error of an output if the errors of one line are the only ones."""
    if not line.introduced and all(op.introduced.count or not op.accumulated.count for op in line.ops):
        return 0.0
    arguments = _run(function, carriers, partial(ShadowProgram, place=(line.file, line.number)))
    errors = (_finite(exact[i].exact.data[where], arguments[i].exact.data[where]) for i, where in written.items())
    return max((e.relative for e in errors), default=0.0)
