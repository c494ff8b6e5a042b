"""Control flow with regions, the block's place in the grid, and assumptions."""

from __future__ import annotations

from typing import Any

from tilec.errors import Code, TileError, require
from tilec.ir.core import Block, Builder, Effect, Op, Value, Yield
from tilec.ir.dtypes import i32
from tilec.ir.ops.base import describe, show, tile
from tilec.ir.types import TileType, Type

__all__ = ["Assume", "BlockCount", "BlockIndex", "For", "If", "While", "Yield"]


class BlockIndex(Op):
    """The index of this block along a grid axis (0, 1 or 2), i32.

    Example:
        r = tc.block_index(0)  # = 0
        tc.block_index(3)      # error: the grid has axes 0, 1 and 2, not 3
    """

    builtin = "block_index"
    axis: int = 0

    def infer(self) -> TileType:
        require(self.axis in (0, 1, 2), f"the grid has axes 0, 1 and 2, not {self.axis}", hint="the axes are those of tc.grid(x, y, z)", code=Code.GRID)
        return TileType(i32)

    def eval(self, ctx: Any) -> Any:
        return ctx.block_index(self.axis)


class BlockCount(Op):
    """The number of blocks along a grid axis (0, 1 or 2), i32.

    Example:
        r = tc.block_count(0)  # = 1
        tc.block_count(3)      # error: the grid has axes 0, 1 and 2, not 3
    """

    builtin = "block_count"
    axis: int = 0

    def infer(self) -> TileType:
        require(self.axis in (0, 1, 2), f"the grid has axes 0, 1 and 2, not {self.axis}", hint="the axes are those of tc.grid(x, y, z)", code=Code.GRID)
        return TileType(i32)

    def eval(self, ctx: Any) -> Any:
        return ctx.block_count(self.axis)


class For(Op):
    """`for i in range(start, stop, step)`: the region takes i and the carried values and yields the carried values anew.

    The step is a positive or negative constant, or a scalar that must not be 0. `stages` asks for software pipelining. `buffers` is said of loops
    that are pipelined: 2 that a round's first fragments are to be read in the round before, 1 that they are not, 0 or None that it is for the compiler to say.
    """

    start: Value
    stop: Value
    step: Value
    inits: tuple[Value, ...]
    body: Block
    stages: int = 1
    buffers: int | None = None

    def infer(self) -> tuple[Type, ...]:
        counter = self.start.type
        for v in (self.start, self.stop, self.step):
            require(v.type == counter, f"the bounds and step of a loop have types {describe(counter)} and {describe(v.type)}", code=Code.BOUNDS)
        require(counter.is_scalar and counter.dtype.is_int and counter.dtype.computes, f"a loop counts in integers, not {describe(counter)}", code=Code.BOUNDS)
        require(
            [a.type for a in self.body.args] == [counter, *(v.type for v in self.inits)],
            "the loop's region takes other values than it is given",
            code=Code.MALFORMED,
        )
        carried("the loop", self.inits, self.body)
        return tuple(v.type for v in self.inits)


class While(Op):
    """`while condition`: `test` takes the carried values and yields one bool scalar; `body` takes them and yields them anew. `stages` and `buffers` are
    those of a loop over a range that is one of these as it may be left: they are not done, which the pipeline says."""

    inits: tuple[Value, ...]
    test: Block
    body: Block
    stages: int = 1
    buffers: int | None = None

    def infer(self) -> tuple[Type, ...]:
        for region in (self.test, self.body):
            require([a.type for a in region.args] == [v.type for v in self.inits], "the loop's region takes other values than it is given", code=Code.MALFORMED)
        require(len(self.test.yielded) == 1, "the condition of a while loop is one value", code=Code.MALFORMED)
        condition(self.test.yielded[0])
        carried("the loop", self.inits, self.body)
        return tuple(v.type for v in self.inits)


class If(Op):
    """`if condition`: one of two regions runs; both yield values of the same types."""

    condition: Value
    then: Block
    orelse: Block

    def infer(self) -> tuple[Type, ...]:
        condition(self.condition)
        a, b = [v.type for v in self.then.yielded], [v.type for v in self.orelse.yielded]
        require(a == b, f"the branches give {show([describe(t) for t in a])} and {show([describe(t) for t in b])}", code=Code.CHANGED)
        return tuple(a)


def condition(value: Value) -> None:
    """Control flow asks for one bool that all threads of the block agree on."""
    given = tile(value)
    if not given.is_scalar:
        raise TileError(f"a condition is a scalar, not {describe(given)}", hint="use tc.where to choose per element", code=Code.CONDITION)
    require(given.dtype.is_bool, f"a condition is a bool, not {describe(given)}", hint="compare it, as in x != 0", code=Code.CONDITION)


def carried(what: str, inits: tuple[Value, ...], body: Block) -> None:
    """What a region yields must have the types that the loop started with."""
    require(len(body.yielded) == len(inits), f"{what} carries {len(inits)} values but its region yields {len(body.yielded)}", code=Code.MALFORMED)
    for before, after in zip(inits, body.yielded, strict=True):
        if before.type != after.type:
            name = after.name or before.name or "a value"
            raise TileError(
                f"{name} is {describe(before.type)} before {what} and {describe(after.type)} after one round",
                hint="a value that a loop changes keeps its type and shape: convert it, as in tc.cast(x, f32)", code=Code.CHANGED
            )


class Assume(Op):
    """States a fact about dimensions and scalars, as in `tc.assume(K % 8 == 0)`. The compiler uses it, every launcher checks it.

    Example:
        tc.assume(C % 8 == 0)
        r = tc.load(T, [0, 8], [8, 16])   # = T[:8, 8:24]
        tc.assume(tc.block_index(0) < 8)  # error: an assumption is evaluated on the host
    """

    builtin = "assume"
    effect = Effect.DEBUG
    fact: Value
    text: str = ""  # as the author wrote it
    hint: str = ""  # what to do if it does not hold

    def infer(self) -> None:
        condition(self.fact)

    def eval(self, ctx: Any, fact: Any) -> None:
        require(fact.all(), f"assumption {self.text or ''} does not hold".replace("  ", " "), hint=self.hint or None, code=Code.ASSUMPTION)

    @classmethod
    def build(cls, b: Builder, fact: Value | bool) -> None:
        """A fact known at compile time is checked there. The frontend adds the author's text."""
        if isinstance(fact, Value):
            b.insert(cls(fact))
        require(fact, "the assumption does not hold", code=Code.ASSUMPTION)
