"""Folds what is known and drops what nobody uses.

    %0 = constant value=64                       %2 = constant value=4096
    %1 = constant value=64                ->     %x = load %a, [%2]
    %2 = mul %0, %1
    %x = load %a, [%2]

A pure op on constants is evaluated by its own `eval`; equal pure ops in the same or an enclosing region become one; `x + 0`, `x * 1`
and the like are their operand. Floats are left alone but for folding: `x + 0.0` is not x for -0.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tilec.errors import TileError
from tilec.ir.core import Block, Effect, Function, Kind, Op, Rewriter, Value
from tilec.ir.ops.arith import Add, FloorDiv, Mul, Sub
from tilec.ir.ops.base import Constant, Elementwise
from tilec.ir.ops.control import While
from tilec.ir.target import Hardware
from tilec.ir.types import Type

UNIT: dict[type[Op], int] = {Add: 0, Sub: 0, Mul: 1, FloorDiv: 1}  # x op UNIT is x


def simplify(function: Function, target: Hardware) -> Function:
    return remove_unused(Simplify().run(function))


class Simplify(Rewriter):
    def __init__(self) -> None:
        super().__init__()
        self.known: list[dict[Any, tuple[Value, ...]]] = []  # by enclosing block: what an op computes -> its results

    def block(self, old: Block, arg_types: Sequence[Type] | None = None) -> Block:
        self.known.append({})
        try:
            return super().block(old, arg_types)
        finally:
            self.known.pop()

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        if op.isolated:
            known, self.known = self.known, []
            results = self.clone(op)
            self.known = known
            return results
        if op.effect is not Effect.NONE or op.regions or op.mnemonic == "yield":
            return self.clone(op)
        new = self.copy(op)
        if isinstance(new, Elementwise):
            if (same := unchanged(new)) is not None:
                return same
            if (folded := fold(new)) is not None:
                folded.loc = op.loc
                new = folded
        key = identity(new)
        for scope in reversed(self.known):
            if key in scope:
                return scope[key]
        results = self.b.insert(new)
        self.known[-1][key] = results
        return results


def unchanged(op: Elementwise) -> Value | None:
    """The operand that an integer op gives back as it is."""
    if type(op) in UNIT:
        x, y = op.operands
        if x.type.dtype.is_int and isinstance(y.owner, Constant) and y.owner.value == UNIT[type(op)]:
            return x
    return None


def fold(op: Elementwise) -> Constant | None:
    """The constant that an elementwise op on constants is; None if it is not, or if evaluating it fails."""
    owners = [v.owner for v in op.operands]
    if not all(isinstance(o, Constant) for o in owners):
        return None
    type = op.inferred()[0]
    try:
        with np.errstate(all="ignore"):
            values = op.eval(_Nothing(), *(np.full((1,), o.value, o.dtype.carrier) for o in owners))  # type: ignore[union-attr]
    except TileError:
        return None
    rounded = values if type.dtype.is_bool or not type.dtype.computes else type.dtype.round(values)
    return Constant(rounded[0].item(), type.dtype, type.shape)  # type: ignore[attr-defined]


class _Nothing:
    """A context where a failing op says so."""

    def fail(self, where: Any, message: str, code: Any = None) -> None:
        raise TileError(message, code=code)


def identity(op: Op) -> Any:
    """Two pure ops with the same identity compute the same."""
    given = []
    for f in op.fields:
        value = getattr(op, f.name)
        given.append((type(value).__name__, repr(value)) if f.kind is Kind.ATTRIBUTE and isinstance(value, float | int) else value)
    return (type(op), *given)


def remove_unused(function: Function) -> Function:
    """Drop ops that only give values and whose values nobody uses, and what a loop carries around in vain."""
    used: set[Value] = set()
    for block in (function.launch, function.body):
        mark(block, used)
    for block in (function.launch, function.body):
        sweep(block, used)
    return function


def mark(block: Block, used: set[Value]) -> None:
    """Backwards: an op is needed if it has an effect or if one of its results is."""
    for op in reversed(block.ops):
        if needed(op, used):
            for region in op.regions:
                mark(region, used)
            used.update(op.operands)


def needed(op: Op, used: set[Value]) -> bool:
    effects = any(inner.effect in (Effect.WRITE, Effect.SYNC, Effect.DEBUG) for inner in op.walk())
    return effects or op.mnemonic == "yield" or isinstance(op, While) or any(v in used for v in op.results)


def sweep(block: Block, used: set[Value]) -> None:
    block.ops = [op for op in block.ops if needed(op, used)]
    for op in block.ops:
        for region in op.regions:
            sweep(region, used)


