"""Comparisons that many registers share: of ascending integers with a bound.

A thread that holds 8 neighbours of `tc.arange(n)` begins at a multiple of 8. If the bound is a multiple of 8 too, all 8 are below it
or none: one comparison instead of eight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tilec.ir.core import Value
from tilec.ir.dtypes import i32
from tilec.ir.ops import arith as ops
from tilec.ir.ops.base import Broadcast, Constant, Elementwise
from tilec.ir.ops.shape import Arange

if TYPE_CHECKING:
    from tilec.backend.llvm import Generator

BELOW = (ops.Lt, ops.Ge)  # whether the left is below the right, or not
ABOVE = (ops.Gt, ops.Le)  # whether the right is below the left, or not


class Ramp(NamedTuple):
    """A register's integer: a base, which is a multiple of a power of two, and a constant step."""

    base: str
    step: int
    divisor: int


def begin(g: Generator, op: Arange, base: str, steps: Sequence[int], registers: Sequence[str]) -> None:
    """The registers of an arange: the thread's coordinate and a constant for each."""
    if op.dtype == i32:
        divisor = math.gcd(*(digit.stride for digit in op.layout.thread_digits if digit.dim == 0))
        g.ramps.update((r, Ramp(base, step, divisor & -divisor)) for r, step in zip(registers, steps, strict=True) if divisor)


def follow(g: Generator, op: Elementwise, columns: Sequence[tuple[str, ...]], result: Sequence[str]) -> None:
    """The sum of a ramp and of a number that all threads share is a ramp."""
    if not isinstance(op, ops.Add) or op.result.type.dtype != i32:
        return
    for ramp, other in ((0, 1), (1, 0)):
        divisor = uniform_divisor(g, op.operands[other])
        if divisor is None:
            continue
        for column, register in zip(columns, result, strict=True):
            if found := g.ramps.get(column[ramp]):
                common = math.gcd(found.divisor, divisor)
                g.ramps[register] = Ramp(f"{found.base} + {column[other]}", found.step, common & -common)


def alike(g: Generator, op: Elementwise, columns: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """For each register's operands those of the first register whose comparison has the same outcome."""
    ramp, bound = (0, 1) if isinstance(op, BELOW) else (1, 0)
    divisor = uniform_divisor(g, op.operands[bound]) if isinstance(op, BELOW + ABOVE) else None
    if divisor is None:
        return columns
    first: dict[tuple[str, int, str], tuple[str, ...]] = {}
    found = []
    for column in columns:
        r = g.ramps.get(column[ramp])
        common = math.gcd(r.divisor, divisor) if r else 0
        found.append(first.setdefault((r.base, r.step // (common & -common), column[bound]), column) if r and common else column)
    return found


def uniform_divisor(g: Generator, value: Value) -> int | None:
    """A number that divides an integer that all threads share; None of others."""
    while isinstance(value.owner, Broadcast) and value.type.shape:
        value = value.owner.x
    if isinstance(value.owner, Constant):
        return abs(int(value.owner.value)) if value.type.dtype.is_int else None
    return g.facts.divisor(value) if not value.type.shape and value.type.dtype.is_int else None
