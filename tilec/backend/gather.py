"""Gathers and scatters, and loads and stores with masks: as tile accesses, with a part of each address, and a condition, in registers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tilec.backend.emit import llvm_type
from tilec.backend.llvm import Generator, Registers, emits, registers_of
from tilec.backend.memory import (
    GlobalAccess,
    conjunction,
    first_holder,
    i32_add,
    load_bits,
    load_element,
    load_packed,
    load_vectors,
    store_bits,
    store_element,
    store_packed,
    store_vectors,
    two_paths,
)
from tilec.ir.core import Value
from tilec.ir.ops.gather import NOWHERE, Gather, Scatter
from tilec.ir.types import TileType


class ChosenAccess(GlobalAccess):
    """The addresses and conditions of one access by indices and a mask."""

    def _carried(self) -> None:
        """Offsets are summed up here."""

    op: Any  # Chosen

    @cached_property
    def chosen(self) -> list[tuple[int, Registers]]:
        """The tensor axis of each index tile, and its register for each register of the accessed tile."""
        return [(axis, self.spread(v)) for axis, v in zip(self.op.axes, self.op.indices, strict=True)]

    @cached_property
    def masks(self) -> Registers:
        """The mask for each register; empty without one."""
        return [] if self.op.mask is None else self.spread(self.op.mask)

    @property
    def uniform(self) -> bool:
        """Whether the elements of a vector are touched together or not at all, for all that indices and mask say."""
        mask = self.op.mask
        return self.fast is not None and (mask is None or mask.type.shape[self.fast] == 1)

    def spread(self, value: Value) -> Registers:
        """A value that broadcasts to the tile: its register for each of the tile's."""
        if value.type.layout is None or self.type.layout is None:
            return self.g[value] * registers_of(self.type)
        return [self.g[value][r] for r in self.type.layout.registers_in(value.type.layout)[0]]

    def _run(self, type: TileType) -> int:
        fast = self.fast
        if fast is not None and any(v.type.shape[fast] > 1 for v in self.op.indices):
            return 1
        return super()._run(type)

    def _origin(self, coordinates: list[str] | None = None) -> str:
        g, parts = self.g, list(self.offsets)
        for axis, start in zip(self.op.dims, self.starts, strict=True):
            if axis != NOWHERE:
                parts[axis] = start
        return self.linear([(g.widened(c), axis) for axis, c in enumerate(parts) if c != "0"], g.origins.get(self.tensor, "0"))

    def linear(self, terms: Sequence[tuple[str, int]], total: str = "0") -> str:
        """The sum of coordinates (i64) times the strides of their axes, and of a total."""
        g = self.g
        for c, axis in terms:
            term = c if self.strides[axis] == "1" else g.e.let(f"mul nsw i64 {c}, {self.strides[axis]}")
            total = term if total == "0" else g.e.let(f"add nsw i64 {total}, {term}")
        return total

    def element(self, register: int) -> str:
        terms = [(self.wide_index(v, registers[register]), axis) for v, (axis, registers) in zip(self.op.indices, self.chosen, strict=True)]
        running = [(str(c), self.op.dims[a]) for a, c in enumerate(self.place.offsets[register]) if c and self.op.dims[a] != NOWHERE]
        key = ("element", tuple(terms), tuple(running))
        if key not in self.memo:
            self.memo[key] = self.linear([*terms, *running], self.origin)
        return self.memo[key]

    def wide_index(self, value: Value, register: str) -> str:
        """An index as i64."""
        dtype = value.type.dtype
        if dtype.bits == 64 or register.lstrip("-").isdigit():
            return register
        key = ("wide", register)
        if key not in self.memo:
            self.memo[key] = self.g.e.let(f"{'sext' if dtype.is_signed else 'zext'} i{dtype.bits} {register} to i64")
        return self.memo[key]

    def inside(self, register: int) -> str:
        conditions = [self._axis_inside(a, c) for a, c in enumerate(self.place.offsets[register])]
        return conjunction(self.g, [*conditions, *self.wanted(register)])

    def wanted(self, register: int) -> list[str]:
        """What indices and mask say of a register."""
        g = self.g
        found = [self.masks[register]] if self.masks else []
        for v, (axis, registers) in zip(self.op.indices, self.chosen, strict=True):
            at = self.wide_index(v, registers[register])
            if self.offsets[axis] != "0":
                at = g.e.let(f"add i64 {at}, {g.widened(self.offsets[axis])}")
            key = ("chosen", axis, at)
            if key not in self.memo:
                self.memo[key] = g.e.let(f"icmp ult i64 {at}, {g.widened(g.extent(self.tensor, axis))}")
            found.append(self.memo[key])
        return found

    def _axis_inside(self, tile_axis: int, c: int) -> str:
        if self.op.dims[tile_axis] != NOWHERE:
            return super()._axis_inside(tile_axis, c)
        n = self.place.shape[tile_axis]
        if self.place.covers[tile_axis] == n:
            return "true"
        return self.g.e.let(f"icmp ult i32 {i32_add(self.g, self.place.base[tile_axis], c)}, {n}")

    def all_inside(self) -> str:
        conditions = [w for r in range(len(self.place.offsets)) for w in self.wanted(r)]
        return conjunction(self.g, [super().all_inside(), *conditions])


@emits(Gather)
def gather(g: Generator, op: Gather) -> Sequence[Registers]:
    access = ChosenAccess(g, op, op.result.type)
    packed = access.dtype.bits % 8 != 0
    one = load_bits if packed else load_element
    kind = llvm_type(access.dtype)
    others = [] if op.other is None else g[op.other]

    def element(register: int) -> str:
        condition = access.inside(register)
        value = one(g, access, register, condition)
        if not others or condition == "true":
            return value
        return g.e.let(f"select i1 {condition}, {kind} {value}, {kind} {others[register]}")

    def vectors() -> Registers:
        loaded = load_vectors(g, access, masked=True)
        conditions = [access.inside(r - r % access.run) for r in registers]
        return [
            g.e.let(f"select i1 {c}, {kind} {value}, {kind} {others[r]}") if others and c != "true" else value
            for r, (value, c) in enumerate(zip(loaded, conditions, strict=True))
        ]

    registers = range(registers_of(op.result.type))
    if not op.shape:
        return [[element(0)]]
    fast = (lambda: load_packed(g, access)) if packed else (lambda: load_vectors(g, access))
    whole = vectors if access.uniform and not packed else None
    return [two_paths(g, access, fast, lambda: [element(r) for r in registers], [kind] * len(registers), whole)]


@emits(Scatter)
def scatter(g: Generator, op: Scatter) -> None:
    access = ChosenAccess(g, op, op.value.type)
    packed = access.dtype.bits % 8 != 0
    values = g[op.value]
    one = store_bits if packed else store_element

    def slow() -> Registers:
        first = first_holder(g, op.value.type)
        for r, value in enumerate(values):
            one(g, access, r, value, conjunction(g, [access.inside(r), first]))
        return []

    if not op.tile_shape:
        slow()
        return
    single = first_holder(g, op.value.type) == "true"
    vectors = (lambda: store_vectors(g, access, values, masked=True)) if access.uniform and single and not packed else None
    two_paths(g, access, lambda: (store_packed if packed else store_vectors)(g, access, values), slow, [], vectors)
