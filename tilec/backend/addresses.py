"""Where accesses to shared memory go.

An element's place is the tile's offset plus `swizzle(thread's part + register's constant)`. Where the bits of the two do not overlap,
which they don't in layouts of powers of two, the swizzle distributes over them: the thread's part is swizzled once, and each
register costs an immediate, or one XOR for each different pattern of swizzled bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Any, TypeVar

from tilec.backend.llvm import Generator
from tilec.backend.memory import VECTOR_BITS, Place, conjunction, i32_add, place_of
from tilec.errors import Loc
from tilec.ir.core import Value
from tilec.ir.facts import step_bits, view_begins, view_bits
from tilec.ir.layout import Layout
from tilec.ir.notes import explain_width
from tilec.ir.ops.memory import LoadShared, StoreShared
from tilec.ir.types import TileType

Access = TypeVar("Access", bound="SharedAccess")


class SharedAccess:
    """The addresses of one access to a shared tile whose elements fill bytes; those of others are `PackedAccess`.

    `place` are coordinates along the tile's axes, which run along the memory axes `dims`; along the axes in `scale` it counts in
    several elements.
    """

    def __init__(self, g: Generator, memory: Value, dims: Sequence[int], offsets: Sequence[Value], place: Place, layout: Layout | None):
        self.g, self.memory, self.dims, self.place, self.layout = g, memory.type, dims, place, layout
        (self.start, self.behind), self.begins = g[memory], view_begins(g.facts, memory)
        self.offsets = [g.scalar(v) for v in offsets]
        self.divisors = [g.facts.divisor(v) for v in offsets]
        self.moved = [self.memory.layout.base, *view_bits(g.facts, memory), *self.bits_of(offsets)]  # type: ignore[union-attr]
        self.scale = [1] * len(dims)
        self.memo: dict[Any, str] = {}

    @classmethod
    def of(cls: type[Access], g: Generator, op: LoadShared | StoreShared, type: TileType) -> Access:
        return cls(g, op.memory, op.dims, op.offsets, place_of(g, type), type.layout)

    @property
    def run(self) -> int:
        """Elements of one vector access."""
        return math.gcd(VECTOR_BITS // 8 // self.memory.item_bytes, *self.limits.values())

    @property
    def limits(self) -> dict[str, int]:
        """What a vector must divide, in elements, and what each means."""
        assert self.memory.layout is not None
        axis = self.memory.layout.fast
        if axis is None or axis not in self.dims or self.layout is None:
            return {"the tile does not run along the axis of the shared tile whose elements lie together": 1}
        if any(s != 1 for s in self.scale):
            return {"it counts in rows": 1}
        fast = self.dims.index(axis)
        return {
            "a thread's neighbours in registers are no neighbours in the shared tile": self.layout.vector_run(fast),
            "the tile ends within a vector": self.place.shape[fast],
            "no more elements lie together in the shared tile, for its swizzle or its padding": self.memory.layout.run(axis),
            "a thread holds no more elements": self.layout.registers,
            "the tile's offset is not known to divide by more": self.divisors[axis],
            "a slice begins between two vectors": self.begins,
        }

    def explain(self, loc: Loc | None) -> None:
        """Say how wide the access is, and why not wider."""
        explain_width(loc, self.run, 8 * self.memory.item_bytes, self.limits)

    def bits_of(self, offsets: Sequence[Value]) -> list[int]:
        """The bits that each offset may set in the places that are swizzled, but for those that are known to be 0."""
        facts, layout = self.g.facts, self.memory.layout
        return [step_bits(facts, v, layout.strides[a], layout.shape[a]) for a, v in enumerate(offsets) if facts.divisor(v)]

    def constant(self, register: int) -> int:
        """What a register's coordinates add to the element offset of register 0, before a swizzle; and what is known of where the access begins."""
        return self.fixed() + sum(c * scale * self.stride(axis) for axis, c, scale in zip(self.dims, self.place.offsets[register], self.scale, strict=True))

    def fixed(self) -> int:
        """The elements before the access that are known at compile time."""
        offsets = sum(int(o) * self.stride(axis) for axis, o in enumerate(self.offsets) if o.isdigit())
        return offsets + (int(self.behind) if self.behind.isdigit() else 0)

    def address(self, register: int) -> str:
        """A pointer to a register's element."""
        constant = self.constant(register)
        swizzle = self.memory.layout.swizzle  # type: ignore[union-attr]
        if swizzle is None:
            return self.pointer(self.line(), constant)
        if not self.bits_apart():
            line = i32_add(self.g, self.line(), constant)
            return self.pointer(self.swizzled(line), 0)
        moved = swizzle(constant)
        low = moved & (swizzle.block - 1)
        return self.pointer(self.thread_part(low), moved - low)

    def pointer(self, element: str, constant: int) -> str:
        """@shared + start + bytes of an element + bytes of a constant, the constant last so that it becomes an immediate."""
        key = ("pointer", element)
        if key not in self.memo:
            g, start = self.g, self.first_byte()
            thread = g.e.let(f"getelementptr i8, ptr addrspace(3) @shared, i32 {self.bytes_of(element)}")  # the same round after round, unlike a stage's start
            self.memo[key] = thread if start == "0" else g.e.let(f"getelementptr inbounds i8, ptr addrspace(3) {thread}, i32 {start}")
        if not constant:
            return self.memo[key]
        return self.g.e.let(f"getelementptr inbounds i8, ptr addrspace(3) {self.memo[key]}, i32 {constant * self.memory.item_bits // 8}")

    def bytes_of(self, element: str) -> str:
        """The bytes before an element."""
        size = self.memory.item_bytes
        if element.isdigit():
            return str(int(element) * size)
        return element if size == 1 else self.g.e.let(f"mul nuw nsw i32 {element}, {size}")

    def first_byte(self) -> str:
        """The byte where the tile begins."""
        return self.start

    def stride(self, axis: int) -> int:
        return self.memory.layout.strides[axis]  # type: ignore[union-attr]

    def bits_apart(self) -> bool:
        """Whether the offsets of threads, of registers and of where the access begins have no bit in common: powers of two throughout."""
        if self.layout is None:
            return False
        digits = (*self.layout.thread_digits, *self.layout.register_digits)
        strides = [self.stride(axis) for axis in self.dims]
        if self.place.covers != self.place.shape or not all(map(power_of_two, (*(d.size for d in digits), *strides, *self.scale))):
            return False
        taken = sum((n - 1) * scale * stride for n, scale, stride in zip(self.place.shape, self.scale, strides, strict=True))
        for bits in self.moved:
            if taken & bits:
                return False
            taken |= bits
        return True

    def line(self) -> str:
        """The element offset of register 0 before a swizzle, but for what is fixed."""
        if "line" not in self.memo:
            self.memo["line"] = i32_add(self.g, self.moving(), self.thread_line())
        return self.memo["line"]

    def moving(self) -> str:
        """The elements before the access that are not known at compile time."""
        total = "0" if self.behind.isdigit() else self.behind
        return i32_add(self.g, total, self.offset(["0" if o.isdigit() else o for o in self.offsets]))

    def thread_line(self) -> str:
        """The element offset of register 0 from where the access begins."""
        parts = ["0"] * self.memory.rank
        for axis, base, scale in zip(self.dims, self.place.base, self.scale, strict=True):
            parts[axis] = base if scale == 1 or base == "0" else self.g.e.let(f"mul {'nuw ' if scale > 0 else ''}nsw i32 {base}, {scale}")
        return i32_add(self.g, self.offset(parts), self.memory.layout.base)  # type: ignore[union-attr]

    def offset(self, coordinates: Sequence[str]) -> str:
        """The element offset of coordinates before a swizzle."""
        total = "0"
        for axis, part in enumerate(coordinates):
            term = part if self.stride(axis) == 1 or part == "0" else self.g.e.let(f"mul nuw nsw i32 {part}, {self.stride(axis)}")
            total = i32_add(self.g, total, term)
        return total

    def folded(self: Access) -> Access:
        """The same access, but for coordinates along axes that the layout pads: 0, so that it is inside, and padding is read where the tile's own
        elements are, in no other bank."""
        padded = [covers != n for covers, n in zip(self.place.covers, self.place.shape, strict=True)]
        within = copy(self)
        base = ["0" if gone else b for gone, b in zip(padded, self.place.base, strict=True)]
        offsets = [tuple(0 if gone else c for gone, c in zip(padded, o, strict=True)) for o in self.place.offsets]
        within.place, within.memo = self.place._replace(base=base, offsets=offsets), {}
        return within

    def swizzled(self, line: str) -> str:
        g, swizzle = self.g, self.memory.layout.swizzle  # type: ignore[union-attr]
        assert swizzle is not None
        result = line
        for shift, mask in swizzle.masks.items():
            moved = g.e.let(f"and i32 {g.e.let(f'lshr i32 {line}, {shift}')}, {mask}")
            result = g.e.let(f"xor i32 {result}, {moved}")
        return result

    def thread_part(self, low: int) -> str:
        """The thread's swizzled offset with the low bits of a register's constant."""
        key = ("thread", low)
        if key not in self.memo:
            if low == 0:
                self.memo[key] = self.joined(self.swizzled(self.thread_line()), self.moving())
            else:
                self.memo[key] = self.g.e.let(f"xor i32 {self.thread_part(0)}, {low}")
        return self.memo[key]

    def joined(self, thread: str, moving: str) -> str:
        """A swizzled offset, and another one that has no bit in common with what it was made of."""
        if moving == "0":
            return thread
        swizzle = self.memory.layout.swizzle  # type: ignore[union-attr]
        assert swizzle is not None
        reaches = any(bits & swizzle.reads for bits in self.moved)
        return self.g.e.let(f"xor i32 {thread}, {self.swizzled(moving) if reaches else moving}")

    def inside(self, register: int, also: str = "true") -> str:
        """Whether a register's element belongs to the tile and not to the layout's padding; `also` is another condition."""
        conditions = []
        for axis, c in enumerate(self.place.offsets[register]):
            if ("in", axis, c) not in self.memo:
                self.memo["in", axis, c] = self.place.within(self.g, axis, c)
            conditions.append(self.memo["in", axis, c])
        key = ("all", *conditions, also)
        if key not in self.memo:
            self.memo[key] = conjunction(self.g, [*conditions, also])
        return self.memo[key]


def power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0
