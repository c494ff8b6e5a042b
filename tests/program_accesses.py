"""What random programs do with memory beyond loads and stores: indices, masks, atomics, asynchronous copies, stated layouts, groups of warps."""

from __future__ import annotations

import math
from typing import Any

from tilec.errors import TileError
from tilec.ir import dtypes
from tilec.ir.core import Block, Value
from tilec.ir.dtypes import bf16, bool_, f16, i32, i64, u16, u32, u64
from tilec.ir.layout import Layout, local
from tilec.ir.ops import arith as ops
from tilec.ir.ops import shared_views
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.atomics import AtomicAdd, AtomicAnd, AtomicMax, AtomicMin, AtomicOr, AtomicXor
from tilec.ir.ops.base import constant
from tilec.ir.ops.gather import Gather, Scatter
from tilec.ir.ops.memory import Load, Shared, Store
from tilec.ir.ops.shape import Arange, Transpose
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.ops.sync import Sync
from tilec.ir.ops.warps import InWarps
from tilec.ir.ops.weights import Dequantize
from tilec.ir.types import TileType

COMMUTING = (AtomicAdd, AtomicMin, AtomicMax, AtomicAnd, AtomicOr, AtomicXor)  # so that the order of blocks does not matter
COPIED = tuple(dtypes.dtype(name) for name in ("f32", "f16", "i32", "bf16", "i64", "u16", "uint8", "f64", "int8", "float8_e4m3"))
COPIED += tuple(dtypes.dtype(name) for name in ("int4", "int5", "float6_e3m2", "uint1", "int7", "uint3"))
STORED = tuple(dtypes.dtype(name) for name in ("int4", "uint4", "int6", "uint3", "int8", "float6_e3m2", "float4_e2m1", "float8_e5m2", "int2", "nf4"))
SWIZZLES = ((), (1, 3, 3), (2, 2, 3), (3, 3, 3), (2, 0, 4))


class Accesses:
    """Methods of `Maker`; each gives a new value, or None."""

    choose: Any
    pick: Any
    maybe: Any
    some: Any
    tile: Any
    tensor: Any
    data: Any
    small: Any
    offset: Any
    write: Any
    shape: Any
    steps: Any
    inside: Any
    uniform: Any
    b: Any
    scope: list[Value]
    grid: tuple[int, ...]
    linear: Value
    warps: int
    depth: int

    def indices(self, n: int, extent: int) -> Value:
        """Places along an axis, some of them beyond its ends."""
        given = ops.Mod.build(self.b, self.tile(i32, (n,)), extent + 2)
        return ops.Sub.build(self.b, given, 1)

    def mask(self, shape: tuple[int, ...]) -> Value | None:
        return self.tile(bool_, shape) if self.maybe() else None

    def memory(self, dtype: Any, extents: tuple[int, ...]) -> Value:
        """A tensor, or a shared tile that holds something, made in the block where it is used."""
        if self.maybe():
            return self.tensor(dtype, extents)
        memory = Shared.build(self.b, dtype, extents)
        value = Load.build(self.b, self.tensor(dtype, extents), [0] * len(extents), extents)
        self.b.insert(Sync())
        Store.build(self.b, memory, value)
        self.b.insert(Sync())
        return memory

    def gather(self) -> Value:
        dtype, shape = self.pick(COPIED), self.shape(self.pick((2, 1)))
        extents = tuple(max(1, n + self.pick((0, 3, -1))) for n in shape)
        at = self.choose(len(shape))
        offsets: list[Any] = [self.offset(n) for n in shape]
        offsets[at] = self.indices(shape[at], extents[at])
        other = self.pick((0, 1))
        found = Gather.build(self.b, self.memory(dtype, extents), offsets, shape, mask=self.mask(shape), other=other)
        self.b.insert(Sync())
        return found

    def masked(self) -> Value:
        dtype, shape = self.pick(COPIED), self.shape(self.pick((2, 1)))
        extents = tuple(max(1, n + self.pick((0, 8, -1))) for n in shape)
        other = self.tile(dtype, shape) if dtype.computes and self.maybe() else 0
        mask, offsets = self.tile(bool_, shape), [self.offset(n) for n in shape]
        found = Load.build(self.b, self.memory(dtype, extents), offsets, shape, mask=mask, other=other)
        self.b.insert(Sync())
        return found

    def dequantize(self) -> Value:
        x = self.some(lambda t: not t.dtype.computes, STORED)
        if x.type.dtype.computes:
            return ops.Cast.build(self.b, x, f16)
        kind = self.pick((f16, bf16))
        if self.maybe():
            scale = constant(self.b, self.pick((0.5, -1.25, 2**-9)), kind)
        else:
            given = self.tile(kind, x.type.shape)
            small = ops.Minimum.build(self.b, ops.Maximum.build(self.b, given, -1.5), 1.5)
            scale = ops.Where.build(self.b, ops.Eq.build(self.b, given, given), small, 1.0)
        zero = self.pick((None, 0.0, 3.0)) if x.type.dtype.is_int else None
        return Dequantize.build(self.b, x, scale, None if zero is None else constant(self.b, zero, kind))

    def scatter(self) -> None:
        """Each element to a place of its own: rows in another order, those of the block behind one another."""
        if self.depth:
            return
        value = self.some(lambda t: len(t.shape) in (1, 2) and not t.dtype.is_bool, COPIED, rank=self.pick((1, 2)))
        if value.type.dtype.is_bool or value.type.rank not in (1, 2):
            return
        rows, *rest = value.type.shape
        odd = self.pick([k for k in (1, 3, 5, 7) if math.gcd(k, rows) == 1])
        turned = ops.Mod.build(self.b, ops.Add.build(self.b, ops.Mul.build(self.b, self.b.emit(Arange(0, rows)), odd), self.choose(rows)), rows)
        places = ops.Add.build(self.b, turned, ops.Mul.build(self.b, self.linear, rows))
        extents = (max(1, rows * math.prod(self.grid) - self.choose(3)), *rest)
        target = self.tensor(value.type.dtype, extents, self.data(value.type.dtype, extents))
        Scatter.build(self.b, target, [places, *(0 for _ in rest)], value, mask=self.mask(value.type.shape))

    def changed(self) -> Value | None:
        """A tensor of which each block changes its own rows again and again, in one layout or another; what it holds in the end."""
        if self.depth:
            return None
        dtype, shape = self.pick(COPIED), self.shape(self.pick((2, 1)))
        extents = (math.prod(self.grid), *(n + self.pick((0, 3, 1, 8)) for n in shape))
        target, dims = self.tensor(dtype, extents, self.data(dtype, extents)), tuple(range(1, len(shape) + 1))

        def places() -> list[Any]:
            return [self.linear, *(self.pick((0, 0, 1, 4)) for _ in shape)]

        for _ in range(1 + self.choose(3)):
            value = Load.build(self.b, target, places(), shape, dims=dims)
            if dtype.computes and self.maybe():
                value = ops.Add.build(self.b, value, self.tile(dtype, shape))
            if len(shape) == 2 and shape[0] == shape[1] and self.maybe():
                value = Transpose.build(self.b, value, (1, 0))
            if self.maybe():
                Store.build(self.b, target, places(), self.tile(dtype, shape), dims=dims)
            Store.build(self.b, target, places(), value, dims=dims)
        return Load.build(self.b, target, places(), shape, dims=dims)

    def atomic(self) -> None:
        """Blocks update one tensor; nobody looks at what was there."""
        dtype, n, extent = self.pick((i32, u32, i64, u64)), self.pick((8, 32, 5, 64)), self.pick((4, 16, 1, 33))
        extents = (extent,)
        target, value = self.tensor(dtype, extents, self.data(dtype, extents)), self.tile(dtype, (n,))
        self.pick(COMMUTING).build(self.b, target, [self.indices(n, extent)], value, mask=self.mask((n,)))

    def copied(self) -> Value:
        """Copies into slices of a shared tile, in groups; the first that is read is waited for alone."""
        dtype, shape = self.pick(COPIED), self.shape(self.pick((2, 1)))
        count = 1 + self.choose(3)
        memory = Shared.build(self.b, dtype, (count, *shape))
        extents = tuple(max(1, n + self.pick((0, 8, -1))) for n in shape)
        source = self.tensor(dtype, extents)
        self.b.insert(Sync())
        for i in range(count):
            CopyAsync.build(self.b, SharedView.at(self.b, memory, i), source, [self.offset(n) for n in shape], mask=self.mask(shape))
            self.b.insert(Commit())
        first = self.choose(count)
        self.b.insert(Wait(count - 1 - first))
        self.b.insert(Sync())
        found = Load.build(self.b, SharedView.at(self.b, memory, self.choose(first + 1)), None)
        self.b.insert(Wait(0))
        self.b.insert(Sync())
        return found

    def viewed(self) -> Value:
        """A shared tile that is written whole, perhaps once more through a view, and read through another."""
        dtype, shape = self.pick(COPIED), self.shape(self.pick((2, 3, 1)))
        strides = None if self.maybe() else self.strides(shape)
        memory = Shared.build(self.b, dtype, shape, strides=strides, swizzle=self.pick(SWIZZLES) or self.maybe())
        value = self.tile(dtype, shape)
        self.b.insert(Sync())
        Store.build(self.b, memory, value)
        self.b.insert(Sync())
        if self.maybe():
            target = self.seen(memory)
            Store.build(self.b, target, self.tile(target.type.dtype, target.type.shape))
            self.b.insert(Sync())
        found = Load.build(self.b, self.seen(memory), None)
        self.b.insert(Sync())
        return found

    def seen(self, memory: Value) -> Value:
        """A view of a shared tile, or a view of such a view."""
        for _ in range(1 + self.choose(3)):
            given = memory.type
            kind = self.choose(5)
            try:
                if kind < 2:
                    memory = shared_views.cut(self.b, memory, [self.selector(n) for n in given.shape])
                elif kind == 2:
                    memory = shared_views.permuted(self.b, memory, sorted(range(given.rank), key=lambda a: (self.choose(3), a)))
                elif kind == 3:
                    halves = tuple(m for n in given.shape for m in ((2, n // 2) if n % 2 == 0 and self.maybe() else (n,)))
                    memory = shared_views.reshaped(self.b, memory, halves if self.maybe() else (math.prod(given.shape),))
                elif given.dtype.is_int:  # bits of any type may be NaN
                    memory = shared_views.recast(self.b, memory, self.pick((u32, u16, dtypes.dtype("uint8"), dtypes.dtype("uint4"), u64)))
            except TileError:
                continue  # no view
        return memory

    def selector(self, extent: int) -> Any:
        """What may stand between brackets for one axis."""
        n, step = 1 + self.choose(extent), self.pick((1, 1, 1, 2, 3))
        first, kind = self.choose(extent - n + 1), self.choose(5)
        if kind == 0:
            return self.choose(extent)
        if kind == 1:
            return slice(None)
        if kind == 2:
            return slice(first, first + n, step)
        start = ops.Mod.build(self.b, self.uniform(), extent - n + 1)
        return start if kind == 3 and self.maybe() else slice(start, ops.Add.build(self.b, start, n), step)

    def stated(self) -> Value:
        """A tile whose layout the author states, of global or shared memory."""
        threads, layout = 32 * self.warps, self.layout()
        assert layout.threads == threads
        shape = tuple(max(1, n - self.pick((0, 0, 1, 3))) for n in layout.shape)
        dtype = self.pick(COPIED)
        if self.maybe():
            return Load.build(self.b, self.tensor(dtype, shape), [0] * len(shape), shape, layout=layout)
        value = self.tile(dtype, shape)
        strides = None if self.maybe() else self.strides(shape)
        memory = Shared.build(self.b, dtype, shape, strides=strides, swizzle=self.pick(SWIZZLES) or False)
        self.b.insert(Sync())
        Store.build(self.b, memory, value)
        self.b.insert(Sync())
        found = Load.build(self.b, memory, None, layout=layout)
        self.b.insert(Sync())
        return found

    def layout(self) -> Layout:
        """A layout of all threads: registers outside, inside, or both."""
        threads = 32 * self.warps
        rows = self.pick([r for r in (1, 2, 4, 8, 16, 32) if threads % r == 0])
        outer, inner = (self.pick((1, 2)), self.pick((1, 2, 1))), (self.pick((1, 2)), self.pick((1, 4, 2)))
        return local(*outer).spatial(rows, threads // rows).local(*inner)

    def strides(self, shape: tuple[int, ...]) -> list[int]:
        """Row-major or column-major, with room between rows."""
        order = range(len(shape)) if self.maybe() else range(len(shape) - 1, -1, -1)
        strides, step = [0] * len(shape), 1
        for axis in order:
            strides[axis] = step
            step *= shape[axis] + self.pick((0, 1, 8))
        return strides

    def group(self) -> None:
        """Some of the warps do something of their own; scalars enter, nothing leaves but through memory."""
        if self.depth or self.warps == 1:
            return
        outer, warps = self.scope, self.warps
        first = self.choose(warps)
        self.warps = 1 + self.choose(warps - first)
        body = Block()
        with self.inside(body):
            self.scope = [v for v in outer if isinstance(v.type, TileType) and v.type.is_scalar]
            self.steps(1 + self.choose(3))
            self.write(self.some(lambda t: True, COPIED))
        self.b.insert(InWarps(first, self.warps, body))
        self.warps = warps
