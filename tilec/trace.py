"""The values of one block of a kernel, line by line, as the interpreter computed them."""

from __future__ import annotations

import ast
import functools
import itertools
import linecache
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from tilec.errors import Code, Loc, TileError, alike, require
from tilec.ir.core import Function, Op, Value
from tilec.ir.interp import Context, Program, execute
from tilec.ir.layout import Layout
from tilec.ir.ops.base import Constant, describe
from tilec.ir.types import TileType


class Step(NamedTuple):
    """A value that was computed: where, the variable that it was assigned to (or ""), an array [*shape], and its type."""

    loc: Loc
    name: str
    value: Any
    type: TileType

    @property
    def layout(self) -> Layout | None:
        """Which thread holds which element, in a stage where that is decided."""
        return self.type.layout

    @property
    def registers(self) -> Any:
        """The value as threads hold it, [threads, registers]; None before it has a layout. Padding is 0."""
        layout = self.layout
        return None if layout is None else layout.scatter(self.value[None], 0)[0]

    def __str__(self) -> str:
        head = f"{self.name}: " * bool(self.name) + f"{describe(self.type)} = "
        return head + np.array2string(np.asarray(self.value), threshold=24, edgeitems=3, precision=5, separator=", ", prefix=head, max_line_width=120)


class Trace:
    """What a block computed, in the order of execution. An iterable of `Step`s; as text, the kernel's lines with the values of each.

    `trace["acc"]` is the history of a variable, a list of arrays; `trace.at(line)` the steps of a line of the kernel's file, or of another's
    with `file`. Of two variables that hold one value, it has the name of the first; constants without a name are left out.
    """

    def __init__(self, kernel: str, file: str, block: tuple[int, ...]):
        self.kernel, self.file, self.block = kernel, file, block
        self.steps: list[Step] = []

    def follow(self, function: Function, carriers: Sequence[Any], late_copies: bool = False) -> None:
        """Run a kernel, and take down what the block computes."""
        execute(function, carriers, late_copies, Watched, functools.partial(Watching, self))

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, name: str) -> list[Any]:
        found = [s.value for s in self.steps if s.name == name]
        names = sorted({s.name for s in self.steps if s.name})
        close = alike(name, names)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
        require(found, f"block {self.block} computed no {name}", hint=hint, code=Code.UNKNOWN)
        return found

    def at(self, line: int, file: str | None = None) -> list[Step]:
        """The steps of a line, in order."""
        return [s for s in self.steps if s.loc.line == line and s.loc.file == (file or self.file)]

    def __str__(self) -> str:
        parts = [f"{self.kernel}, block {self.block}: {len(self.steps)} values"]
        for loc, steps in itertools.groupby(self.steps, key=lambda s: (s.loc.file, s.loc.line)):
            file, line = loc
            where = f"{line:5d}" if file == self.file else f"{file}:{line}"
            parts.append(f"{where}  {linecache.getline(file, line).rstrip()}")
            shown = list(steps)
            named = [s for s in shown if s.name] or shown
            parts += [" " * 8 + str(s).replace("\n", "\n" + " " * 8) for s in named]
        return "\n".join(parts)


class Watching(Context):
    """Takes down what a block gets."""

    def __init__(self, trace: Trace, *args: Any):
        super().__init__(*args)
        self.trace = trace

    def see(self, loc: Loc | None, values: tuple[Value, ...], arrays: tuple[Any, ...]) -> None:
        number = self.number_of(self.trace.block)
        if number is None or loc is None:
            return
        for value, array in zip(values, arrays, strict=True):
            if not isinstance(value.type, TileType) or (isinstance(value.owner, Constant) and not value.name):
                continue
            own = array[min(number, len(array) - 1)][None]
            layout = value.type.layout
            whole = own if layout is None else layout.gather(own, value.type.shape)
            self.trace.steps.append(Step(loc, value.name, native(whole[0], value.type), value.type))


class Watched(Program):
    """A program that shows each value to its context."""

    def watching(self, op: Op, values: Sequence[Value]) -> list[ast.stmt]:
        if not values:
            return []
        key = f"_seen{len(self.scope)}"
        self.scope[key] = op.loc, tuple(values)
        return self.statements(f"ctx.see(*{key}, ({self.names_of(values)},))", op.loc)


def native(x: Any, type: TileType) -> Any:
    """A carrier as the array that NumPy has for the type; a wider one where it has none."""
    known = type.dtype.computes and type.dtype.name != "bf16"
    return np.array(x, type.dtype.numpy) if known else np.array(x)


def check_block(block: Any, grid: tuple[int, ...]) -> tuple[int, ...]:
    """A block's coordinates, as many as the grid has. Raises TileError if there is no such block."""
    given = (block,) if isinstance(block, int) else tuple(block)
    padded, extents = (*given, 0, 0, 0)[:3], (*grid, 1, 1)[:3]
    good = len(given) <= 3 and all(isinstance(i, int) and 0 <= i < n for i, n in zip(padded, extents, strict=True))
    if not good:
        raise TileError(f"there is no block {block} in a grid of {list(grid)}", code=Code.CALL)
    return padded[: len(grid)]


def type_of(x: Any) -> Any:
    """The type of a variable at which an interpreted kernel stands: `tc.type_of(acc)` in the debugger. It has `dtype`, `shape` and `layout`.

    Arrays in the debugger have an axis for blocks before those of the tile. Once tiles have layouts (`stage="layouts"` and later) they are
    stored as threads hold them: [blocks, threads, registers]. Raises LookupError where no kernel stands.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        types = frame.f_globals.get("__types__")
        if types is not None:
            for name, value in frame.f_locals.items():
                if name in types and value is x:
                    return types[name]
        frame = frame.f_back
    raise LookupError("no kernel stands at a variable that holds this")


def layout_of(x: Any) -> Any:
    """The layout of a variable at which an interpreted kernel stands: which thread holds which element; None before tiles have one."""
    return getattr(type_of(x), "layout", None)
