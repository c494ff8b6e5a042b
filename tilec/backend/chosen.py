"""Where accesses by indices and a mask go: as tile accesses, with a part of each address, and a condition, in registers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tilec.backend.addresses import SharedAccess
from tilec.backend.llvm import Generator, Registers, registers_of
from tilec.backend.memory import VECTOR_BITS, GlobalAccess, conjunction, i32_add, place_of
from tilec.backend.packed_shared import PackedAccess
from tilec.ir.core import Value
from tilec.ir.facts import view_begins
from tilec.ir.ops.gather import NOWHERE
from tilec.ir.ops.views import RUNTIME
from tilec.ir.types import SharedType, TileType


class ChosenAccess(GlobalAccess):
    """The addresses and conditions of one access by indices and a mask."""

    op: Any  # Chosen

    def _carried(self) -> None:
        """Offsets are summed up here."""

    @cached_property
    def chosen(self) -> list[tuple[int, Registers]]:
        """The tensor axis of each index tile, and its register for each register of the accessed tile."""
        return [(axis, self.spread(v)) for axis, v in zip(self.op.axes, self.op.indices, strict=True)]

    @cached_property
    def masks(self) -> Registers:
        """The mask for each register; empty without one."""
        return [] if self.op.mask is None else self.spread(self.op.mask)

    @cached_property
    def alike(self) -> int:
        """A power of two of neighbouring registers that are known to have one mask: those whose conditions are one value."""
        masks, n = self.masks, 1
        while masks and len(masks) % (2 * n) == 0 and all(masks[r] == masks[r + n] for r in range(0, len(masks), 2 * n)):
            n *= 2
        return n

    @property
    def limits(self) -> dict[str, int]:
        found = super().limits
        if self.fast is None or not self.masks:
            return found
        extent, most = self.tensor.type.shape[-1], VECTOR_BITS // math.gcd(VECTOR_BITS, self.dtype.bits)
        known = not isinstance(extent, str) or extent == RUNTIME or self.g.extent_divisor(self.tensor, -1) % most == 0
        return {mask_limit("" if known else f"where it compares with {extent}, tc.assume({extent} % {most} == 0) would tell"): self.alike, **found}

    def bytes_inside(self, register: int, run: int) -> str:
        present, wanted = super().bytes_inside(register, run), conjunction(self.g, self.wanted(register))
        return present if wanted == "true" else self.g.e.let(f"select i1 {wanted}, i32 {present}, i32 0")

    def wholly_inside(self, register: int, run: int) -> str | None:
        whole = super().wholly_inside(register, run)
        return None if whole is None else conjunction(self.g, [whole, *self.wanted(register)])

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

    def beyond(self, origin: str, register: int) -> str:
        terms = [(self.wide_index(v, registers[register]), axis) for v, (axis, registers) in zip(self.op.indices, self.chosen, strict=True)]
        running = [(str(c), self.op.dims[a]) for a, c in enumerate(self.place.offsets[register]) if c and self.op.dims[a] != NOWHERE]
        key = ("element", tuple(terms), tuple(running))
        if key not in self.memo:
            self.memo[key] = self.linear([*terms, *running], origin)
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


def mask_limit(remedy: str = "") -> str:
    """In words, what a mask does to vectors, and what would help."""
    return f"the mask is not known to be the same throughout a vector: {remedy or 'one of whole rows, as m[:, None], would be'}"


class ChosenShared(ChosenAccess):
    """The addresses and conditions of one access to a shared tile by indices and a mask."""

    def __init__(self, g: Generator, op: Any, type: TileType):
        self.g, self.op, self.type = g, op, type
        self.dtype = type.dtype
        self.memory: SharedType = op.memory.type
        self.place = place_of(g, type)
        self.offsets = [g.scalar(v) for v in op.offsets]
        self.memo: dict[Any, str] = {}
        fast = op.memory.type.layout.fast
        self.fast = op.dims.index(fast) if fast in op.dims else None
        self.packed = self.memory.packed
        self.run = 1 if self.packed else self._run(type)
        self.start = (PackedAccess if self.packed else SharedAccess)(g, op.memory, (), (), self.place, None)

    def _run(self, type: TileType) -> int:
        """Elements of one vector, which are touched together or not at all: extents and offsets are whole vectors."""
        if type.layout is None or (self.fast is not None and any(v.type.shape[self.fast] > 1 for v in self.op.indices)):
            return 1
        return math.gcd(VECTOR_BITS // 8 // self.memory.item_bytes, *self.limits.values())

    @property
    def limits(self) -> dict[str, int]:
        if self.fast is None:
            return {"the tile does not run along the axis of the shared tile whose elements lie together": 1}
        assert self.memory.layout is not None
        along = self.op.dims[self.fast]
        return ({mask_limit(): self.alike} if self.masks else {}) | {
            "a thread's neighbours in registers are no neighbours in the shared tile": self.type.layout.vector_run(self.fast),  # type: ignore[union-attr]
            "the tile ends within a vector": self.place.shape[self.fast],
            "no more elements lie together in the shared tile, for its swizzle or its padding": self.memory.layout.run(along),
            "a thread holds no more elements": registers_of(self.type),
            "the tile's offset is not known to divide by more": self.g.facts.divisor(self.op.offsets[along]),
            "a slice begins between two vectors": view_begins(self.g.facts, self.op.memory),
        }

    def coordinates(self, register: int) -> list[str]:
        """Along each axis of the shared tile, an i32."""
        g, found = self.g, list(self.offsets)
        for tile_axis, (axis, base) in enumerate(zip(self.op.dims, self.place.base, strict=True)):
            if axis != NOWHERE:
                found[axis] = i32_add(g, i32_add(g, found[axis], base), self.place.offsets[register][tile_axis])
        for v, (axis, registers) in zip(self.op.indices, self.chosen, strict=True):
            narrow = registers[register]
            if v.type.dtype.bits != 32:
                narrow = g.e.let(f"trunc i64 {self.wide_index(v, narrow)} to i32")
            found[axis] = i32_add(g, found[axis], narrow) if found[axis] != "0" else narrow
        return found

    def inside(self, register: int) -> str:
        g = self.g
        tests = [self.masks[register]] if self.masks else []
        for axis, (at, n) in enumerate(zip(self.coordinates(register), self.memory.shape, strict=True)):
            tests += [] if self.surely_inside(axis) or (at.isdigit() and int(at) < n) else [g.e.let(f"icmp ult i32 {at}, {n}")]
        tests += [self.place.within(g, axis, c) for axis, c in enumerate(self.place.offsets[register])]
        return conjunction(g, tests)

    def surely_inside(self, axis: int) -> bool:
        """Whether the whole tile lies within the shared tile along an axis that it runs along."""
        at, n = self.offsets[axis], self.memory.shape[axis]
        return axis in self.op.dims and at.isdigit() and int(at) + self.place.shape[self.op.dims.index(axis)] <= n

    def address(self, register: int) -> str:
        return self.start.pointer(self.element(register), 0)

    def element(self, register: int) -> str:
        g, layout = self.g, self.memory.layout
        assert layout is not None
        line = i32_add(g, self.start.behind, layout.base)
        for at, stride in zip(self.coordinates(register), layout.strides, strict=True):
            term = at if stride == 1 or at == "0" else g.e.let(f"mul i32 {at}, {stride}")
            line = i32_add(g, line, term)
        return self.start.swizzled(line) if layout.swizzle is not None else line
