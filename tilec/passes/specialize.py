"""More facts about the dimensions, for a launch that saw them.

    launch {                        launch {
      yield [%M]            ->        %r = mod %K, 16
    }                                 assume (%r == 0) text="K % 16 == 0"
                                      yield [%M]
                                    }
"""

from __future__ import annotations

from collections.abc import Iterable

from tilec.ir.core import Block, Builder, Function, Rewriter
from tilec.ir.dtypes import i32
from tilec.ir.ops.arith import Eq, Mod
from tilec.ir.ops.base import constant
from tilec.ir.ops.control import Assume


def assume_multiples(function: Function, multiples: Iterable[tuple[str, int]]) -> Function:
    """The function for dimensions, by name, that are multiples of a number each, as if `tc.assume` said so."""
    made = Rewriter().run(function)
    *before, grid = made.launch.ops
    launch = Block(made.launch.args, before)
    b = Builder(launch, function.loc)
    for name, n in multiples:
        rest = b.emit(Mod(made.param(name), constant(b, n, i32)))
        b.insert(Assume(b.emit(Eq(rest, constant(b, 0, i32))), f"{name} % {n} == 0"))
    launch.ops.append(grid)
    return Function(made.name, made.params, launch, made.body, made.warps, made.constants, made.loc)
