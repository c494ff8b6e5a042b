"""Steps of reductions and scans, and sorts, as LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend import arith
from tilec.backend.emit import llvm_type
from tilec.backend.llvm import Generator, Registers, emits
from tilec.backend.warp import exchange
from tilec.ir.ops.arith import Maximum, Minimum
from tilec.ir.ops.scan import Agreed, Butterfly, Padded, Sorted


@emits(Padded, Agreed)
def renamed(g: Generator, op: Padded | Agreed) -> Sequence[Registers]:
    return [g[op.x] if op.result.type.shape else g[op.x][:1]]


@emits(Butterfly)
def butterfly(g: Generator, op: Butterfly) -> Sequence[Registers]:
    return [[exchange(g, x, op.x.type.dtype, op.mask) for x in g[op.x]]]


@emits(Sorted)
def sort(g: Generator, op: Sorted) -> Sequence[Registers]:
    registers = [last_in_padding(g, op, r, x) for r, x in enumerate(g[op.x])]
    rows = [registers[i : i + op.run] for i in range(0, len(registers), op.run)]
    return [[x for row in rows for x in Network(g, op).sorted(row)]]


def last_in_padding(g: Generator, op: Sorted, register: int, value: str) -> str:
    """The element, or the largest number where the place is beyond the tile."""
    extent, dtype = op.x.type.shape[op.axis], op.x.type.dtype
    if op.lanes * op.run == extent:
        return value
    at = g.e.let(f"add i32 {g.base(op.x.type.layout)[op.axis]}, {register % op.run}")
    return g.e.let(f"select i1 {g.e.let(f'icmp slt i32 {at}, {extent}')}, {llvm_type(dtype)} {value}, {llvm_type(dtype)} {int(dtype.max)}")


class Network:
    """Batcher's bitonic network ("Sorting networks and their applications", AFIPS 1968) on a row of `lanes` runs of `run` registers.

    In the step (size, distance) two elements `distance` apart are put in order, falling where the place has the bit `size`.
    """

    def __init__(self, g: Generator, op: Sorted):
        self.g, self.run, self.lanes = g, op.run, op.lanes
        self.dtype = op.x.type.dtype
        self.kind = llvm_type(self.dtype)

    def sorted(self, row: Registers) -> Registers:
        total = self.lanes * self.run
        size = 2
        while size <= total:
            distance = size // 2
            while distance:
                row = self.across(row, size, distance) if distance >= self.run else self.within(row, size, distance)
                distance //= 2
            size *= 2
        return row

    def ordered(self, x: str, y: str) -> tuple[str, str]:
        low, high = (arith.combine(self.g.e, kind, self.dtype, x, y) for kind in (Minimum, Maximum))
        return low, high

    def choose(self, condition: str, x: str, y: str) -> str:
        return self.g.e.let(f"select i1 {condition}, {self.kind} {x}, {self.kind} {y}")

    def bit(self, mask: int) -> str:
        """Whether the number of this lane's run has a bit."""
        e = self.g.e
        return e.let(f"icmp ne i32 {e.let(f'and i32 {self.g.thread}, {mask}')}, 0")

    def across(self, row: Registers, size: int, distance: int) -> Registers:
        e, mask, turn = self.g.e, distance // self.run, size // self.run
        upper = self.bit(mask)
        falls = e.let(f"xor i1 {upper}, {self.bit(turn)}") if turn < self.lanes else upper
        pairs = [self.ordered(x, exchange(self.g, x, self.dtype, mask)) for x in row]
        return [self.choose(falls, high, low) for low, high in pairs]

    def within(self, row: Registers, size: int, distance: int) -> Registers:
        out = list(row)
        falls = self.bit(size // self.run) if self.run <= size < self.run * self.lanes else None
        for i in range(self.run):
            j = i | distance
            if i == j:
                continue
            low, high = self.ordered(row[i], row[j])
            if falls is not None:
                low, high = self.choose(falls, high, low), self.choose(falls, low, high)
            out[i], out[j] = (high, low) if size < self.run and i & size else (low, high)
        return out
