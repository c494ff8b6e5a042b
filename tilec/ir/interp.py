"""Runs a Function of any stage in NumPy.

The function becomes Python source, one statement an op, that carries the author's file and line numbers: tracebacks, `breakpoint()`
and stepping show the kernel. All blocks of a launch run at once (in chunks that fit the cache): every value is an array with a
leading axis for blocks, of extent 1 where all blocks agree. Where blocks part ways, a mask says which are active: pure ops compute
for all, and whatever is seen outside (stores, errors, prints) asks the mask.

A tile whose type has no layout is [blocks, *shape]. Once it has one it is stored as its threads hold it, [blocks, threads, registers],
and an op that is not elementwise sees it gathered through that layout, so a wrong layout gives a wrong result.
"""

from __future__ import annotations

import ast
import copy
import keyword
import linecache
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tilec.errors import Code, Loc, TileError, require
from tilec.ir.core import Block, Effect, Function, Op, Value
from tilec.ir.dtypes import DType
from tilec.ir.memories import Copies
from tilec.ir.ops.base import Elementwise
from tilec.ir.ops.control import For, If, While
from tilec.ir.ops.debug import Breakpoint
from tilec.ir.ops.memory import Shared
from tilec.ir.ops.semaphores import SemaphoreWait
from tilec.ir.ops.sync import Barrier, Meeting, Sync
from tilec.ir.ops.warps import InWarps
from tilec.ir.shared_memories import SharedMemory
from tilec.ir.turns import BarrierRow, Groups, Progress, run_blocks
from tilec.ir.types import SharedType, TileType, Warps

CHUNK = 1 << 18  # elements of the largest tile times blocks that run together

Array = np.ndarray[Any, Any]


class Replicas(Exception):
    """Threads that hold the same element disagree: a fault of the compiler, found by the interpreter."""


class Context:
    """What ops may ask while they run: the blocks of this chunk, which of them are active, and shared memory."""

    def __init__(self, grid: Sequence[int], first: int, blocks: int, late_copies: bool = False):
        self.first = first
        self.grid = (*grid, 1, 1, 1)[:3]
        linear = np.arange(first, first + blocks)
        self.place = (linear % self.grid[0], linear // self.grid[0] % self.grid[1], linear // (self.grid[0] * self.grid[1]))
        self.blocks = blocks
        self.mask: Array | None = None
        self.copies = Copies(late_copies)
        self.progress = Progress()
        self.group: Warps | None = None
        self.groups = Groups(self.progress)

    def block_index(self, axis: int) -> Array:
        here = self.place[axis]
        return here[:1] if self.grid[axis] == 1 else here

    def block_count(self, axis: int) -> Array:
        return np.array([self.grid[axis]])

    def shared(self, dtype: DType, shape: tuple[int, ...]) -> SharedMemory:
        return SharedMemory.new(self.blocks, dtype, shape)

    def barriers(self, op: Op) -> BarrierRow:
        return BarrierRow(op)

    def fork(self, op: InWarps, run: Callable[..., Iterator[Any]], *values: Any) -> None:
        """Let a group of warps run its part of the kernel, in turns with other groups."""
        part = copy.copy(self)
        part.group, part.copies = op.group, self.copies.part(op.group)
        self.groups.add(op.group, run(part, *values))

    def join(self) -> Iterator[Any]:
        """Wait for all groups of warps."""
        return self.groups.join()

    @property
    def rank(self) -> int:
        """How many axes of the grid have several blocks; at least 1."""
        return max((i + 1 for i, n in enumerate(self.grid) if n > 1), default=1)

    def active_numbers(self) -> list[int]:
        """The numbers in the chunk of active blocks."""
        return [n for n in range(self.blocks) if self.mask is None or self.mask[n]]

    def number_of(self, place: Sequence[int]) -> int | None:
        """The number in the chunk of the block at a place in the grid; None if it is not there, or not active."""
        x, y, z = (*place, 0, 0)[:3]
        number = x + self.grid[0] * (y + self.grid[1] * z) - self.first
        inside = 0 <= number < self.blocks
        return number if inside and (self.mask is None or self.mask[number]) else None

    def active_blocks(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Number in the chunk and grid coordinates of each active block."""
        rank = self.rank
        for number in self.active_numbers():
            yield number, tuple(int(p[number]) for p in self.place[:rank])

    def fail(self, where: Array, message: str, code: Code = Code.OUT_OF_BOUNDS) -> None:
        """Raise, naming the first block and in a tile the first element, if `where` (a leading axis of blocks) holds anywhere in an active block."""
        bad = np.asarray(where.reshape(len(where), -1).any(axis=1))
        for number, place in self.active_blocks():
            found = where[min(number, len(bad) - 1)]
            if found.any():
                element = np.unravel_index(int(np.argmax(found)), found.shape)
                at = f", at element [{', '.join(map(str, element))}]" if element else ""
                raise TileError(f"{message} (in block {', '.join(map(str, place))}{at})", code=code)

    # divergence between blocks

    def test(self, condition: Array) -> bool:
        """Narrow the mask to the blocks where the condition holds; False, and no change, if there is none."""
        if len(condition) == 1:
            return bool(condition[0])
        active = condition if self.mask is None else condition & self.mask
        if not active.any():
            return False
        if self.mask is not None or not active.all():
            self.mask = active
        return True

    def keep(self, new: Any, old: Any) -> Any:
        """A loop's value after a round: the new one, but the old one in blocks that have left the loop."""
        if self.mask is None or new is old or not isinstance(new, np.ndarray):
            return new
        return np.where(self.mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    def choose(self, condition: Array, then: Any, orelse: Any) -> Any:
        """A value that two branches give; a branch that no block took gave None."""
        if then is None or orelse is None:
            return orelse if then is None else then
        if not isinstance(then, np.ndarray):
            return then
        return np.where(condition.reshape(-1, *[1] * (then.ndim - 1)), then, orelse)

    @staticmethod
    def more(counter: Array, stop: Array, step: Array) -> Array:
        """Whether a loop goes on; a step of 0 is an error in Python, too."""
        if not step.all():
            raise TileError("the step of the loop is 0", code=Code.BOUNDS)
        return np.where(step > 0, counter < stop, counter > stop)


# from ops to callables


def callable_of(op: Op) -> Callable[..., Any]:
    """`(ctx, *operands) -> result(s)`: the op's `eval`, rounded."""
    compute, round = computing(op, op.eval), rounding(op)
    return lambda ctx, *operands: round(compute(ctx, *operands))


def computing(op: Op, rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of the op, such as its `eval`, between the layouts of its operands and results."""
    return rule if _direct(op) else _through_layouts(op, rule)


def rounding(op: Op) -> Callable[[Any], Any]:
    """What rounds the result, or all of several."""
    rounders = [_rounder(v.type) for v in op.results]
    if len(rounders) == 1:
        return rounders[0]
    return lambda results: tuple(r(x) for r, x in zip(rounders, results, strict=True)) if rounders else results


def _placed(call: Callable[..., Any], op: Op) -> Callable[..., Any]:
    """The callable, whose errors say where."""
    loc = op.loc

    def placed(ctx: Context, *operands: Any) -> Any:
        try:
            return call(ctx, *operands)
        except TileError as error:
            error.loc = error.loc or loc
            raise

    return placed if loc is None or loc.caller is None else _in_own_file(placed, op)


def _direct(op: Op) -> bool:
    """Whether `eval` takes values as they are stored."""
    laid_out = any(getattr(v.type, "layout", None) is not None and isinstance(v.type, TileType) for v in (*op.operands, *op.results))
    return not laid_out or isinstance(op, Elementwise) or getattr(op, "raw", False)


def _through_layouts(op: Op, rule: Callable[..., Any]) -> Callable[..., Any]:
    inputs = [_gatherer(v.type) for v in op.operands]
    outputs = [_scatterer(v.type) for v in op.results]

    def compute(ctx: Context, *operands: Any) -> Any:
        result = rule(ctx, *(g(x) for g, x in zip(inputs, operands, strict=True)))
        if result is None or not outputs:
            return result
        return outputs[0](result) if len(outputs) == 1 else tuple(s(x) for s, x in zip(outputs, result, strict=True))

    return compute


def _gatherer(type: Any) -> Callable[[Any], Any]:
    layout = type.layout if isinstance(type, TileType) else None
    if layout is None:
        return lambda x: x

    def gather(storage: Array) -> Array:
        tile = layout.gather(storage, type.shape)
        if layout.is_replicated and not _same(layout.gather(layout.scatter(layout.gather(storage))), layout.gather(storage)):
            raise Replicas(str(type))
        return tile

    return gather


def _scatterer(type: Any) -> Callable[[Any], Any]:
    layout = type.layout if isinstance(type, TileType) else None
    if layout is None:
        return lambda x: x
    poison = math.nan if type.dtype.is_float else False if type.dtype.is_bool else type.dtype.max
    return lambda tile: layout.scatter(tile, poison)


def _same(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _rounder(type: Any) -> Callable[[Any], Any]:
    if not isinstance(type, TileType) or type.dtype.is_bool or not type.dtype.computes:
        return lambda x: x  # storage types only hold values that a cast or a load has made
    return type.dtype.round


def _in_own_file(call: Callable[..., Any], op: Op) -> Callable[..., Any]:
    """The callable as a frame at the op's own place: an inlined function shows in a traceback like a call, its operands like variables."""
    assert op.loc is not None
    types: dict[str, Any] = {}
    for i, v in enumerate(op.operands):
        types[v.name if v.name.isidentifier() and not keyword.iskeyword(v.name) and v.name not in (*types, "ctx") else f"_{i}"] = v.type
    name, operands = _around(op.loc), ", ".join(types)
    source = ast.parse(f"def {name}(ctx, {operands}):\n    return _call(ctx, {operands})")
    _place(source, op.loc)
    scope = {**debugging(types), "_call": call}
    exec(compile(source, op.loc.file, "exec"), scope)
    made: Callable[..., Any] = scope[name]
    return made


def _around(loc: Loc) -> str:
    """The name of the function that a line stands in, as far as one can see."""
    above = (re.match(r"\s*def (\w+)", linecache.getline(loc.file, n)) for n in range(loc.line, 0, -1))
    return next((m[1] for m in above if m), "inlined")


def debugging(types: dict[str, Any]) -> dict[str, Any]:
    """The names that a frame has for whoever stops there in a debugger; `types` are those of its variables."""
    return {"__name__": "kernel", "__types__": types, "tc": sys.modules.get("tilec"), "np": np}


# from functions to Python source


class Program:
    """A function's body as a Python function `(ctx, *params)`. `callable_of` makes what runs an op."""

    callable_of: Callable[[Op], Callable[..., Any]] = staticmethod(callable_of)

    def __init__(self, function: Function, block: Block | None = None):
        block = function.body if block is None else block
        self.names: dict[Value, str] = {}
        self.taken = {"ctx", *keyword.kwlist}
        self.types: dict[str, Any] = {}
        self.scope: dict[str, Any] = {**debugging(self.types), "_stopped": stopped}
        self.temporaries = 0
        self.waits = False  # whether blocks may wait for one another: then `call` gives a generator, that yields where they do
        self.in_turns = any(isinstance(op, Meeting) and op.barrier is not None for op in block.walk())  # groups of warps wait for one another
        self.parts: list[ast.stmt] = []
        self.within = False  # the part of a group
        params = ", ".join(self.name(p) for p in function.params)
        name = re.sub(r"\W", "_", function.name)
        module = ast.parse(f"def {name}(ctx, {params}):\n    pass")
        define: Any = module.body[0]
        yielded = "".join(f"{self.name(v)}, " for v in block.yielded)
        define.body = [*self.block(block), *self.joined(), *self.statements(f"return ({yielded})")]
        place = function.loc or next((op.loc for op in block.ops if op.loc), None) or Loc("<kernel>", 1)
        _place(module, _outermost(place))
        module.body = [*self.parts, *module.body]
        exec(compile(module, _outermost(place).file, "exec"), self.scope)
        self.call: Callable[..., Any] = self.scope[name]

    def name(self, value: Value) -> str:
        """The Python variable of a value: its own name if that is free."""
        if value not in self.names:
            base = value.name if value.name.isidentifier() and not value.name.startswith("_") else "_t"
            name, count = base, 0
            while name in self.taken:
                count += 1
                name = f"{base}_{count}"
            self.taken.add(name)
            self.names[value] = name
            self.types[name] = value.type
        return self.names[value]

    def temporary(self) -> str:
        self.temporaries += 1
        return f"_s{self.temporaries}"

    def statements(self, text: str, loc: Loc | None = None) -> list[ast.stmt]:
        found = ast.parse(text).body
        if loc is not None:
            for statement in found:
                _place(statement, _outermost(loc))
        return found

    def block(self, block: Block) -> list[ast.stmt]:
        return [s for op in block.ops for s in self.op(op)]

    def op(self, op: Op) -> list[ast.stmt]:
        if op.mnemonic == "yield":
            return []
        if isinstance(op, InWarps):
            return self.part(op) if self.in_turns else self.block(op.body)  # else one after another, as none waits for another one inside
        special = {For: self.for_loop, While: self.while_loop, If: self.branch, Breakpoint: self.breakpoint}.get(type(op))
        if special is not None:
            made: list[ast.stmt] = special(op)  # type: ignore[operator]
        else:
            function = f"_op{len(self.scope)}"
            self.scope[function] = _placed(self.callable_of(op), op)
            call = f"{function}({', '.join(['ctx', *map(self.name, op.operands)])})"
            if isinstance(op, SemaphoreWait):
                self.waits = True
                self.scope[f"{function}_op"] = op
                call = f"while not {call}: yield {function}_op\nctx.progress.passed += 1"
            if isinstance(op, Sync) and op.barrier is not None:
                ticket = self.temporary()
                call = f"{ticket} = {call}\nwhile not {ticket}(): yield {ticket}"
            made = [*self.statements(f"{self.names_of(op.results)} = {call}" if op.results else call), *self.watching(op, op.results)]
        if op.effect is not Effect.NONE and not isinstance(op, Barrier | Shared):
            made = [*self.joined(), *made]
        for statement in made:
            _place(statement, _outermost(op.loc) if op.loc else None)
        return made

    def joined(self) -> list[ast.stmt]:
        """What all warps do waits for the groups' parts before it."""
        return self.statements("yield from ctx.join()") if self.in_turns and not self.within else []

    def part(self, op: InWarps) -> list[ast.stmt]:
        """A group's part as a function of its own, a generator, that takes the values from outside."""
        self.waits = self.within = True
        inside = {v for inner in op.body.walk() for v in (*inner.results, *(a for region in inner.regions for a in region.args))}
        given = dict.fromkeys(v for inner in op.body.walk() for v in inner.operands if v not in inside)
        values = ", ".join(["ctx", *map(self.name, given)])
        name = f"{op.group.words.replace(' ', '_')}_{len(self.parts)}"
        module = ast.parse(f"def {name}({values}):\n    pass")
        define: Any = module.body[0]
        define.body = [*self.block(op.body), *self.statements("return\nyield")]
        place = _outermost(op.loc) if op.loc else None
        _place(module, place)
        self.parts.append(define)
        self.within = False
        self.scope[f"{name}_op"] = op
        made = self.statements(f"ctx.fork({name}_op, {name}, {', '.join(map(self.name, given))})")
        for statement in made:
            _place(statement, place)
        return made

    def names_of(self, values: Sequence[Value]) -> str:
        return ", ".join(map(self.name, values))

    def watching(self, op: Op, values: Sequence[Value]) -> list[ast.stmt]:
        """What other kinds of programs do once an op's results, or a loop's counter, are there."""
        return []

    def assign(self, targets: Sequence[Value], sources: Sequence[str], rule: str = "{new}") -> str:
        """One simultaneous assignment; `rule` may mention {new} and {old}."""
        if not targets:
            return "pass"
        right = ", ".join(rule.format(new=s, old=self.name(t)) for t, s in zip(targets, sources, strict=True))
        return f"{self.names_of(targets)} = {right}"

    def for_loop(self, op: For) -> list[ast.stmt]:
        mask, (counter, *carried) = self.temporary(), op.body.args
        start, stop, step = map(self.name, (op.start, op.stop, op.step))
        head = self.statements(f"{mask} = ctx.mask\n{self.assign(op.body.args, [start, *map(self.name, op.inits)])}")
        loop: Any = self.statements(f"while ctx.test(ctx.more({self.name(counter)}, {stop}, {step})): pass")[0]
        following = [f"{self.name(counter)} + {step}", *map(self.name, op.body.yielded)]
        again = self.statements(self.assign([counter, *carried], following, "ctx.keep({new}, {old})"), op.loc)
        loop.body = [*self.watching(op, [counter]), *self.block(op.body), *again]
        return [*head, loop, *self.statements(f"ctx.mask = {mask}\n{self.assign(op.results, list(map(self.name, carried)))}")]

    def while_loop(self, op: While) -> list[ast.stmt]:
        mask = self.temporary()
        head = self.statements(f"{mask} = ctx.mask\n{self.assign(op.test.args, list(map(self.name, op.inits)))}")
        loop: Any = self.statements("while True: pass")[0]
        leave = self.statements(f"if not ctx.test({self.name(op.test.yielded[0])}): break", op.loc)
        enter = self.statements(self.assign(op.body.args, list(map(self.name, op.test.args))), op.loc)
        again = self.statements(self.assign(op.test.args, list(map(self.name, op.body.yielded)), "ctx.keep({new}, {old})"), op.loc)
        if any(getattr(inner, "waits", False) for inner in op.walk()):  # it may be waiting for another block
            self.waits = True
            again += self.statements("yield None", op.loc)
        loop.body = [*self.block(op.test), *leave, *enter, *self.block(op.body), *again]
        return [*head, loop, *self.statements(f"ctx.mask = {mask}\n{self.assign(op.results, list(map(self.name, op.test.args)))}")]

    def branch(self, op: If) -> list[ast.stmt]:
        mask, condition = self.temporary(), self.name(op.condition)
        sides = []
        made = self.statements(f"{mask} = ctx.mask")
        for region, test in ((op.then, condition), (op.orelse, f"~{condition}")):
            side = [self.temporary() for _ in op.results]
            sides.append(side)
            made += self.statements("\n".join(f"{s} = None" for s in side))
            statement: Any = self.statements(f"if ctx.test({test}): pass")[0]
            ends = self.statements("\n".join(f"{s} = {self.name(v)}" for s, v in zip(side, region.yielded, strict=True)))
            statement.body = [*self.block(region), *ends] or statement.body
            made += [statement, *self.statements(f"ctx.mask = {mask}")]
        for result, a, b in zip(op.results, *sides, strict=True):
            made += self.statements(f"{self.name(result)} = ctx.choose({condition}, {a}, {b})")
        return made

    def breakpoint(self, op: Breakpoint) -> list[ast.stmt]:
        named = [f"{n} = {self.name(v)}" for n, v in zip(op.names, op.values, strict=True) if n != self.name(v)]
        return self.statements("\n".join([*named, "if not _stopped(): breakpoint()"]))


def _outermost(loc: Loc) -> Loc:
    while loc.caller is not None:
        loc = loc.caller
    return loc


def _place(tree: ast.AST, loc: Loc | None) -> None:
    """Give every node that has no place yet the author's line."""
    where = loc or Loc("<kernel>", 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.arg | ast.keyword) and not hasattr(node, "_placed"):
            node.lineno = node.end_lineno = where.line
            node.col_offset = where.column - 1
            node.end_col_offset = max(node.col_offset + 1, where.end_column - 1)
            node._placed = True  # type: ignore[union-attr]


# running


GRID_LIMITS = (2**31 - 1, 65535, 65535)  # blocks along each axis, as CUDA has them


def evaluate_launch(function: Function, arguments: Sequence[Any]) -> tuple[int, ...]:
    """Check the assumptions and evaluate the grid on the host. `arguments` as in `execute`.

    Raises TileError if an assumption does not hold or an extent of the grid is negative or beyond CUDA's limits.
    """
    try:
        results = Program(function, function.launch).call(Context((1, 1, 1), 0, 1), *arguments)
    except TileError as error:
        if error.code is Code.ASSUMPTION:
            said = re.findall(r"\w+", error.message)
            values = [f"{p.name} is {x[0]}" for p, x in zip(function.params, arguments, strict=True) if p.name in said and isinstance(x, np.ndarray)]
            error.message += f": {', '.join(values)}" if values else ""
        raise
    grid = tuple(int(g[0]) for g in results)
    for axis, (extent, limit) in enumerate(zip(grid, GRID_LIMITS, strict=False)):
        require(0 <= extent <= limit, f"the grid has {extent} blocks along axis {axis}, not 0 to {limit}", loc=function.loc, code=Code.LAUNCH)
    return grid


def execute(
    function: Function, arguments: Sequence[Any], late_copies: bool = False,
    make: Callable[[Function], Program] = Program, context: Callable[..., Context] = Context,
) -> None:  # fmt: skip
    """Run all blocks. `arguments`: one for each parameter, a `Memory` for a tensor, an array of shape (1,) for a scalar.

    Asynchronous copies land at once or, with `late_copies`, no sooner than they must. `make` and `context` run it in another way.
    """
    with np.errstate(all="ignore"):
        grid = evaluate_launch(function, arguments)
        program = make(function)
        total = math.prod(grid)
        if program.waits:
            return run_blocks([context(grid, block, 1, late_copies) for block in range(total)], lambda ctx: program.call(ctx, *arguments))
        chunk = max(1, CHUNK // _largest_tile(function))
        for first in range(0, total, chunk):
            program.call(context(grid, first, min(chunk, total - first), late_copies), *arguments)


def stopped() -> bool:
    """Whether the debugger was opened for the caller; not where another one is wanted, which `breakpoint()` then opens."""
    if sys.breakpointhook is not sys.__breakpointhook__ or os.environ.get("PYTHONBREAKPOINT"):
        return False
    from tilec.ir import stepping  # brings in pdb

    stepping.stop(sys._getframe(1))
    return True


def _largest_tile(function: Function) -> int:
    sizes = [1]
    for op in function.walk():
        for value in op.results:
            if isinstance(value.type, TileType | SharedType):
                layout = value.type.layout if isinstance(value.type, TileType) else None
                sizes.append(layout.threads * layout.registers if layout is not None else math.prod(value.type.shape))
    return max(sizes)
