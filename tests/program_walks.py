"""What random programs do in loops: accesses at sums, multiples, quotients and bits of the counters of the loops around them."""

from __future__ import annotations

from typing import Any

from tilec.ir.core import Block, Value, Yield
from tilec.ir.dtypes import DType, f16, i16, i32, i64, u16, u32
from tilec.ir.ops import arith as ops
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.base import constant
from tilec.ir.ops.control import For, If
from tilec.ir.ops.memory import Load, Shared, Store
from tilec.ir.ops.sync import Sync
from tilec.ir.ops.views import TensorView
from tilec.ir.types import TileType

STEPS = (1, 2, 4, 8, 3, -1, -2, -8)
FARTHEST = 2000  # where views with negative strides begin, within 4000 elements


class Walks:
    """Methods of `Maker`."""

    choose: Any
    pick: Any
    maybe: Any
    tensor: Any
    small: Any
    inside: Any
    b: Any
    scope: list[Value]
    linear: Value
    grid: tuple[int, ...]
    depth: int
    counters: tuple[Value, ...] = ()  # of the loops around, as i32

    def walk(self) -> Value | None:
        """The sum of what is loaded in loops within loops."""
        if self.depth > 1:
            return None
        shape = self.pick(((8,), (4, 8), (16,), (32, 4), (64,)))
        return self.walked(constant(self.b, 0, i32, shape))

    def walked(self, total: Value) -> Value:
        """A loop that adds to a total."""
        dtype = self.pick((i32, i32, i64, i16, u16, u32))
        rounds, step = self.choose(5), self.pick(STEPS if dtype.is_signed else STEPS[:5])
        first = self.choose(4) - min(0, rounds * step)
        begin, end = (self.bound(n, dtype) for n in (first, first + rounds * step))
        body = Block((Value(TileType(dtype)), Value(total.type)))
        outer = self.counters
        with self.inside(body):
            self.counters = (*outer, self.as_type(body.args[0], i32))
            found = self.visited(body.args[1])
            if len(self.counters) < 3 and self.maybe():
                found = self.walked(found)
            if self.maybe():
                found = self.visited(found)
            self.b.insert(Yield((found,)))
        self.counters = outer
        return self.b.insert(For(begin, end, self.bound(step, dtype), (total,), body, self.pick((1, 1, 2, 3))))[0]

    def as_type(self, value: Value, dtype: DType) -> Value:
        return value if value.type.dtype == dtype else ops.Cast.build(self.b, value, dtype)

    def bound(self, n: int, dtype: DType) -> Value:
        """A constant, or a number that is known at run time only, near it."""
        if self.choose(3):
            return constant(self.b, n, dtype)
        more = ops.Mul.build(self.b, self.small(2), 2 if n > 0 else -2)
        return self.as_type(ops.Add.build(self.b, more, n), dtype) if n else constant(self.b, n, dtype)

    def visited(self, total: Value) -> Value:
        """One access, perhaps under a condition."""
        if self.choose(3):
            return self.access(total)
        condition = self.pick((ops.Lt, ops.Ge, ops.Ne)).build(self.b, self.pick(self.counters), self.choose(9))
        then, orelse = Block(), Block()
        with self.inside(then):
            self.b.insert(Yield((self.access(total),)))
        with self.inside(orelse):
            self.b.insert(Yield((total,)))
        return self.b.insert(If(condition, then, orelse))[0]

    def access(self, total: Value) -> Value:
        """A tile that is loaded, or copied, is added; some totals are stored."""
        b, shape, kind = self.b, total.type.shape, self.choose(5)
        source, offsets, dims = self.source(f16 if kind == 1 else i32, len(shape), shape)
        if kind == 0:
            memory = Shared.build(b, i32, shape)
            b.insert(Sync())
            CopyAsync.build(b, memory, source, offsets, dims=dims)
            b.insert(Commit())
            b.insert(Wait(0))
            b.insert(Sync())
            found = Load.build(b, memory, None)
            b.insert(Sync())
        elif kind == 4:
            self.kept(total)
            return total
        else:
            found = self.whole_i32(Load.build(b, source, offsets, shape, dims=dims))
        return ops.Add.build(b, ops.Mul.build(b, total, 3), found)

    def whole_i32(self, x: Value) -> Value:
        return x if x.type.dtype == i32 else ops.Cast.build(self.b, x, i32)

    def kept(self, total: Value) -> None:
        """Stored where no other block and no other round of the innermost loop stores."""
        b, shape = self.b, total.type.shape
        if len(self.counters) > 1:
            return
        place = ops.Mul.build(b, self.counters[-1], shape[-1])
        extents = (self.blocks, *shape[:-1], shape[-1] * 30 - self.choose(9))
        offsets = [self.linear, *(0 for _ in shape[1:]), ops.Add.build(b, place, 8 * self.choose(2)) if self.maybe() else place]
        Store.build(b, self.tensor(i32, extents), offsets, total, dims=tuple(range(1, len(shape) + 1)))

    @property
    def blocks(self) -> int:
        count = 1
        for n in self.grid:
            count *= n
        return count

    def source(self, dtype: DType, rank: int, shape: tuple[int, ...]) -> tuple[Value, list[Any], tuple[int, ...]]:
        """A tensor or a view to read, offsets within it, and the axes that a tile runs along."""
        extents = (9, 16, 24) if rank == 2 else (40, 24)
        dims = self.pick(((1, 2), (0, 2), (0, 1), (2, 1)) if rank == 2 else ((1,), (0,)))
        tensor = self.window(dtype, extents) if self.choose(3) == 0 else self.tensor(dtype, extents)
        offsets = [self.affine() if self.choose(4) else self.choose(4) for _ in extents]
        return tensor, [o if axis in dims else self.within(o, n) for axis, (o, n) in enumerate(zip(offsets, extents, strict=True))], dims

    def within(self, offset: Any, extent: int) -> Any:
        if isinstance(offset, int):
            return offset
        if self.maybe():
            return ops.Mod.build(self.b, offset, extent)
        return ops.Maximum.build(self.b, ops.Minimum.build(self.b, offset, extent - 1), 0)

    def window(self, dtype: DType, extents: tuple[int, ...]) -> Value:
        """A view whose beginning and strides may move with the loop that it is made in."""
        b, shift = self.b, ops.Mod.build(self.b, self.affine(), 5) if self.maybe() else self.small(5)
        rows = ops.Add.build(b, ops.Mod.build(b, self.affine(), 4), 24) if self.maybe() else ops.Add.build(b, self.small(3), 30)
        if self.maybe():
            rows = ops.Neg.build(b, rows)
        strides = (rows, 1) if len(extents) == 2 else (self.pick((100, -90)), ops.Abs.build(b, rows), 1)
        start = ops.Add.build(b, shift, FARTHEST)
        return TensorView.build(b, self.tensor(dtype, (2 * FARTHEST,)), start, shape=extents, strides=strides)

    def affine(self) -> Value:
        """A sum of terms of counters, as kernels spell it."""
        b, found = self.b, constant(self.b, self.choose(4), i32)
        for counter in self.counters:
            term = self.term(counter)
            found = ops.Add.build(b, found, term) if self.maybe() else ops.Add.build(b, term, found)
        return ops.Sub.build(b, found, self.small(3)) if self.choose(3) == 0 else found

    def term(self, counter: Value) -> Value:
        b = self.b
        made = (
            lambda: counter,
            lambda: ops.Mul.build(b, counter, self.pick((2, 4, -1, 3, 8))),
            lambda: ops.FloorDiv.build(b, counter, self.pick((2, 4, 3, 8))),
            lambda: ops.Shr.build(b, counter, self.choose(4)),
            lambda: ops.FloorDiv.build(b, ops.Mul.build(b, ops.Add.build(b, counter, self.small(3)), 8), self.pick((8, 4, 2))),
            lambda: ops.Sub.build(b, self.choose(12), counter),
            lambda: self.as_type(ops.Mul.build(b, self.as_type(counter, self.pick((i64, u32, i16))), 2), i32),
            lambda: ops.Mul.build(b, counter, self.small(4)),
            lambda: ops.Shl.build(b, counter, 1),
            lambda: constant(b, 1, i32),
        )
        return self.pick(made)()
