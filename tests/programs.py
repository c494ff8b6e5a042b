"""Random small kernels, well typed, whose results no stage may change by a bit.

Floating sums, products and matrix products may be reordered by a compiler, so what goes into them is made small and whole first: then
every order gives the same number. Everything else (chains of arithmetic, casts, control flow, tiles that hang over edges) is free.
A program is made by a sequence of choices, `choose(n)` giving one of 0..n-1: from a random generator, or from hypothesis, which then
shrinks it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.program_accesses import Accesses
from tests.program_walks import Walks
from tilec.ir import dtypes
from tilec.ir.core import Block, Builder, Function, Value, Yield
from tilec.ir.dtypes import DType, bf16, bool_, f16, f32, f64, i16, i32, i64, u16, u32, u64
from tilec.ir.interp import evaluate_launch, execute
from tilec.ir.layout import Layout, local, spatial
from tilec.ir.memories import Memory
from tilec.ir.ops import arith as ops
from tilec.ir.ops import functions as more
from tilec.ir.ops.base import Broadcast, constant
from tilec.ir.ops.control import BlockIndex, For, If, While
from tilec.ir.ops.matmul import Dot, default_accumulator
from tilec.ir.ops.memory import Load, Shared, Store
from tilec.ir.ops.pieces import Concatenate, Part, Slice
from tilec.ir.ops.reduce import Max, Min, Prod, Sum
from tilec.ir.ops.scan import NAMED, ArgMax, ArgMin, ArgSort, ReduceBy, ScanBy, Sort
from tilec.ir.ops.shape import Arange, Reshape, Transpose, View
from tilec.ir.ops.sync import Sync
from tilec.ir.types import TensorType, TileType

FLOATS = (f16, bf16, f32, f64)
INTEGERS = (i16, i32, i64, u16, u32, u64)
STORAGE = tuple(dtypes.dtype(name) for name in (
    "int1", "uint1", "int2", "uint3", "int4", "uint4", "int5", "int6", "uint7", "int8", "uint8", "float4_e2m1", "float5_e2m2", "float6_e3m2",
    "float6_e2m3", "float8_e4m3", "float8_e5m2", "float3_e1m1",
))  # fmt: skip
TYPES = (f32, i32, f16, bf16, i64, u32, bool_, f64, i16, u16, u64, *STORAGE)
COMPUTING = TYPES[:11]
WHOLE = tuple(dtypes.dtype(name) for name in ("int8", "uint8", "int4", "uint1", "int5"))
EXTENTS = (8, 1, 16, 32, 2, 3, 4, 5, 7, 12, 17, 24, 33, 40, 64)
LARGEST = 2048  # elements of a tile
SMALL = 4  # what goes into a floating sum lies within +-SMALL

Choose = Callable[[int], int]
Array = np.ndarray[Any, Any]


@dataclass
class Program:
    """A function and what to call it with: carriers by the name of the parameter."""

    function: Function
    arguments: dict[str, Any]

    def run(self, function: Function | None = None) -> dict[str, Array]:
        """The tensors after a run of the function (or of another stage of it), as carriers."""
        edges = {p.name: p.type.dtype.edge for p in self.function.params}
        memories = {n: Memory(v.copy(), n, edges[n]) if v.ndim or n.startswith("t") else v.reshape(1) for n, v in self.arguments.items()}
        chosen = function or self.function
        execute(chosen, [memories[p.name] for p in chosen.params])
        return {n: m.data for n, m in memories.items() if isinstance(m, Memory) and m.changed}

    def machine_arguments(self) -> dict[str, Array]:
        """What a launch passes, by name: packed bytes of tensors, scalars as NumPy has them."""
        found = {}
        for p in self.function.params:
            dtype: DType = p.type.dtype
            value = self.arguments[p.name]
            if isinstance(p.type, TensorType):
                codes = value.astype(np.uint8) if dtype.is_bool else dtype.encode(value, saturate=False)
                packed = dtypes.pack(codes, dtype)
                # elements that don't fill bytes are stored by atomics on words, the last of which may hang over the end
                found[p.name] = np.concatenate([packed, np.zeros(-len(packed) % 4 if dtype.bits % 8 else 0, np.uint8)])
            else:
                found[p.name] = dtype.encode(value.reshape(1), saturate=False).view(dtype.numpy)[0]
        return found

    def decoded(self, name: str, data: Array) -> Array:
        """A tensor's bytes as carriers."""
        dtype: DType = self.function.param(name).type.dtype
        shape = self.arguments[name].shape
        codes = dtypes.unpack(data, dtype, math.prod(shape)).reshape(shape)
        return codes != 0 if dtype.is_bool else dtype.decode(codes)

    def grid(self) -> tuple[int, ...]:
        arguments = [Memory(self.arguments[p.name]) if isinstance(p.type, TensorType) else self.arguments[p.name].reshape(1)
                     for p in self.function.params]  # fmt: skip
        return evaluate_launch(self.function, arguments)


class Maker(Accesses, Walks):
    """Builds one program. `scope` holds the values that may be used where the builder stands."""

    def __init__(self, choose: Choose, seed: int = 0):
        self.choose = choose
        self.rng = np.random.default_rng(seed)
        self.params: list[Value] = []
        self.arguments: dict[str, Array] = {}
        self.dims: dict[str, int] = {}
        self.warps = self.pick((1, 4, 2, 8, 3, 1, 6))
        rank = self.pick((1, 2, 1, 3))
        self.grid = tuple(1 + choose(3) for _ in range(rank))
        self.body = Block()
        self.b = Builder(self.body)
        self.scope: list[Value] = []
        self.depth = 0

    def pick(self, items: Any) -> Any:
        return items[self.choose(len(items))]

    def maybe(self) -> bool:
        return self.choose(2) == 1

    # the whole

    def program(self, steps: int) -> Program:
        self.index = [self.b.emit(BlockIndex(a)) for a in range(len(self.grid))]
        self.linear = self.index[-1]
        for axis in reversed(range(len(self.grid) - 1)):
            scaled = ops.Mul.build(self.b, self.linear, self.grid[axis])
            self.linear = ops.Add.build(self.b, scaled, self.index[axis])
        self.scope += [*self.index, self.linear]
        self.steps(steps)
        for value in self.results():
            self.write(value)
        launch = Block()
        b = Builder(launch)
        b.insert(Yield(tuple(constant(b, n, i32) for n in self.grid)))
        for name, extent in self.dims.items():
            self.params.append(Value(TileType(i32), name))
            self.arguments[name] = np.array(extent)
        function = Function("random", tuple(self.params), launch, self.body, self.warps)
        return Program(function.verify(), self.arguments)

    def results(self) -> list[Value]:
        tiles = [v for v in self.scope if v not in self.index and v is not self.linear]
        return tiles[-4:]

    def steps(self, count: int) -> None:
        made = (
            self.arithmetic, self.load, self.arithmetic, self.cast, self.compare, self.reshape, self.reduce, self.transpose, self.broadcast,
            self.dot, self.shared, self.loop, self.branch, self.whiles, self.view, self.arange, self.unary, self.stores, self.cut, self.join,
            self.element, self.scan, self.sort, self.gather, self.masked, self.scatter, self.atomic, self.copied, self.stated, self.group,
            self.dequantize, self.walk, self.changed, self.viewed,
        )  # fmt: skip
        for _ in range(count):
            new = self.pick(made)()
            if new is not None:
                self.scope.append(new)

    # values

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.pick((2, 1, 3)) if rank is None else rank
        shape: list[int] = []
        for _ in range(rank):
            fitting = [n for n in EXTENTS if n * math.prod(shape) <= LARGEST]
            shape.append(self.pick(fitting))
        return tuple(shape)

    def number(self, dtype: DType) -> int | float | bool:
        if dtype.is_bool:
            return self.maybe()
        if dtype.is_float:
            return self.pick((1.0, 0.0, -2.5, 0.125, 3.0, -1.0))
        number = self.pick((1, 0, 3, 2, 7, 100)) * (-1 if dtype.is_signed and self.maybe() else 1)
        return max(int(dtype.min), min(int(dtype.max), number))

    def any(self, accept: Callable[[TileType], bool]) -> Value | None:
        """A value from the scope, recent ones first."""
        found = [v for v in reversed(self.scope) if isinstance(v.type, TileType) and accept(v.type)]
        return self.pick(found) if found else None

    def some(self, accept: Callable[[TileType], bool], dtypes: Any = COMPUTING, rank: int | None = None) -> Value:
        """A value from the scope, or a loaded one."""
        found = self.any(accept) if self.choose(4) else None
        return found if found is not None else self.load(self.pick(dtypes), self.shape(rank))

    def tile(self, dtype: DType, shape: tuple[int, ...]) -> Value:
        """A value of this type and shape."""
        found = self.any(lambda t: t.shape == shape and t.dtype == dtype) if self.choose(3) else None
        if found is not None:
            return found
        if shape and self.choose(3):
            return self.load(dtype, shape)
        return constant(self.b, self.number(dtype), dtype, shape)

    def uniform(self) -> Value:
        """An integer scalar that may differ between blocks."""
        found = self.any(lambda t: t.is_scalar and t.dtype == i32)
        return found if found is not None and self.maybe() else self.pick([*self.index, self.linear])

    def small(self, limit: int) -> Value:
        """An i32 scalar within 0..limit-1."""
        return ops.Mod.build(self.b, self.uniform(), limit)

    # memory

    def tensor(self, dtype: DType, extents: tuple[int, ...], data: Array | None = None) -> Value:
        shape: list[int | str] = []
        for n in extents:
            if self.maybe():
                name = next((d for d, extent in self.dims.items() if extent == n), f"D{len(self.dims)}")
                self.dims[name] = n
                shape.append(name)
            else:
                shape.append(n)
        value = Value(TensorType(dtype, tuple(shape)), f"t{len(self.params)}")
        self.params.append(value)
        self.arguments[value.name] = self.data(dtype, extents) if data is None else data
        return value

    def data(self, dtype: DType, shape: tuple[int, ...]) -> Array:
        rng = self.rng
        if dtype.is_bool:
            return rng.integers(0, 2, shape).astype(bool)
        if dtype.is_int:
            low, high = int(dtype.min), int(dtype.max)
            near = rng.integers(max(low, -9), min(high, 9), shape, endpoint=True).astype(dtype.carrier)
            far = dtype.decode(rng.integers(0, 2**64, shape, np.uint64).astype(dtype.codes) & dtype.codes((1 << dtype.bits) - 1))
            return np.where(rng.random(shape) < 0.7, near, far)
        near = rng.integers(-8, 9, shape).astype(np.float64)
        far = rng.standard_normal(shape) * np.exp(rng.normal(0, 6, shape))
        odd = rng.choice([0.0, np.inf, -np.inf, np.nan, 1e-40, -6e-8, 65504.0, 3e38], shape)
        return dtype.decode(dtype.encode(np.choose(rng.choice(3, shape, p=[0.5, 0.45, 0.05]), [near, far, odd]), saturate=not dtype.computes))

    def load(self, dtype: DType | None = None, shape: tuple[int, ...] | None = None) -> Value:
        dtype = self.pick(TYPES) if dtype is None else dtype
        shape = self.shape() if shape is None else shape
        indexed = self.choose(2)
        rank = len(shape) + indexed
        dims = self.order(rank)[: len(shape)] if self.choose(3) == 0 else tuple(range(indexed, rank))
        extents, offsets = [], []
        for axis in range(rank):
            if axis in dims:
                n = shape[dims.index(axis)]
                extents.append(max(1, n + self.pick((0, 8, -1, 3, n, -n // 2))))
                offsets.append(self.offset(n))
            else:
                extents.append(1 + self.choose(3))
                offsets.append(self.small(extents[-1]))
        return Load.build(self.b, self.tensor(dtype, tuple(extents)), offsets, shape, dims=dims)

    def offset(self, n: int) -> Any:
        kind = self.choose(6)
        if kind <= 1:
            return 0
        if kind == 2:
            return ops.Mul.build(self.b, self.small(3), n)
        return (-2, 3, 8)[kind - 3] if self.maybe() else ops.Sub.build(self.b, self.small(5), 2)

    def order(self, rank: int) -> tuple[int, ...]:
        left = list(range(rank))
        return tuple(left.pop(self.choose(len(left))) for _ in range(rank))

    def stores(self) -> None:
        if not self.depth:
            self.write(self.some(lambda t: True, TYPES))

    def write(self, value: Value) -> None:
        """To a tensor of its own, in a place of the block's own."""
        shape = value.type.shape
        if shape and self.maybe():  # tiles side by side along one axis, the last one over the edge
            at = self.choose(len(shape))
            blocks = math.prod(self.grid)
            dims = self.order(len(shape)) if self.maybe() else tuple(range(len(shape)))
            extents = [0] * len(shape)
            offsets: list[Any] = [0] * len(shape)
            for i, (n, d) in enumerate(zip(shape, dims, strict=True)):
                extents[d] = max(1, n * blocks - self.choose(n) if i == at else n + self.pick((0, 1, -1)))
                offsets[d] = ops.Mul.build(self.b, self.linear, n) if i == at else 0
        else:
            rank = len(shape) + 1
            dims = tuple(range(1, rank))
            shift = self.pick((0, 1, -1, 8))
            extents = [math.prod(self.grid), *(max(1, n + self.pick((0, 8, -1))) for n in shape)]
            offsets = [self.linear, *(shift for _ in shape)]
        dtype = value.type.dtype
        target = self.tensor(dtype, tuple(extents), self.data(dtype, tuple(extents)))
        Store.build(self.b, target, offsets, value, dims=dims)

    def shared(self) -> Value:
        value = self.some(lambda t: bool(t.shape), TYPES)
        shape, dtype = value.type.shape, value.type.dtype
        indexed = self.choose(2)
        extents = tuple([1 + self.choose(2)] * indexed) + tuple(n + self.pick((0, 0, 3)) for n in shape)
        memory = Shared.build(self.b, dtype, extents)
        leading = [self.small(extents[0])] * indexed
        rest = [0 if n == e else self.pick((0, 2)) for n, e in zip(shape, extents[indexed:], strict=True)]
        self.b.insert(Sync())
        Store.build(self.b, memory, [*leading, *rest], value)
        self.b.insert(Sync())
        part = tuple(max(1, n - self.choose(3)) for n in shape) if self.maybe() else shape
        result = Load.build(self.b, memory, [*leading, *rest], part)
        self.b.insert(Sync())
        return result

    # arithmetic

    def arithmetic(self) -> Value:
        x = self.some(lambda t: t.dtype.computes)
        dtype, shape = x.type.dtype, x.type.shape
        if dtype.is_bool:
            return self.pick((ops.And, ops.Or, ops.Xor)).build(self.b, x, self.tile(dtype, shape))
        y = self.tile(dtype, self.broadcastable(shape))
        if dtype.is_float:
            kind = self.pick((ops.Add, ops.Mul, ops.Sub, ops.Maximum, ops.Minimum, ops.Div, ops.Fma, ops.Where, None, more.Copysign))
        else:
            kind = self.pick((ops.Add, ops.Mul, ops.Sub, ops.Maximum, ops.Minimum, ops.FloorDiv, ops.Mod, ops.And, ops.Or, ops.Xor, ops.Shl,
                              ops.Shr, ops.Where))  # fmt: skip
        if kind is ops.Div:
            y = ops.Maximum.build(self.b, ops.Abs.build(self.b, y), 0.5)  # 1 / 0 would tell 0 from -0
        if kind is more.Copysign:
            y = ops.Where.build(self.b, ops.Eq.build(self.b, ops.Mul.build(self.b, y, 0.0), 0.0), ops.Add.build(self.b, y, 0.0), 1.0)  # nor that of NaN
        if kind in (ops.FloorDiv, ops.Mod):
            y = ops.Or.build(self.b, y, 1)
        if kind is ops.Fma:
            return ops.Fma.build(self.b, x, y, self.tile(dtype, shape))
        if kind is None:  # what becomes an fma
            return ops.Add.build(self.b, ops.Mul.build(self.b, x, y), self.tile(dtype, shape))
        if kind is ops.Where:
            return ops.Where.build(self.b, self.tile(bool_, shape), x, y)
        return kind.build(self.b, x, y)

    def broadcastable(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.choose(3):
            return shape
        cut = shape[self.choose(len(shape) + 1) :]
        return tuple(1 if self.choose(3) == 0 else n for n in cut)

    def unary(self) -> Value:
        x = self.some(lambda t: t.dtype.computes)
        if x.type.dtype.is_bool:
            return ops.Not.build(self.b, x)
        if x.type.dtype.is_float:
            return self.pick((ops.Neg, ops.Abs, ops.Floor, ops.Ceil, ops.Sqrt, more.Round, more.Trunc, more.Sign, more.IsNan, more.IsFinite)).build(self.b, x)
        return self.pick((ops.Neg, ops.Abs, ops.Not, more.Popcount, more.CountLeadingZeros, more.CountTrailingZeros, more.Sign)).build(self.b, x)

    def compare(self) -> Value:
        x = self.some(lambda t: t.dtype.computes)
        return self.pick((ops.Lt, ops.Le, ops.Gt, ops.Ge, ops.Eq, ops.Ne)).build(self.b, x, self.tile(x.type.dtype, x.type.shape))

    def cast(self) -> Value:
        return ops.Cast.build(self.b, self.some(lambda t: True, TYPES), self.pick(TYPES))

    def whole(self, x: Value, limit: int) -> Value:
        """Small whole numbers, without -0 and NaN."""
        b = self.b
        x = ops.Maximum.build(b, ops.Minimum.build(b, ops.Floor.build(b, x), float(limit)), -float(limit))
        return ops.Add.build(b, ops.Where.build(b, ops.Eq.build(b, x, x), x, 0.0), 0.0)

    def reduce(self) -> Value | None:
        x = self.some(lambda t: bool(t.shape) and t.dtype.computes and not t.dtype.is_bool)
        if x.type.dtype.is_bool:
            return None
        dtype, rank = x.type.dtype, len(x.type.shape)
        kind = self.pick((Sum, Max, Min, Prod))
        axes = tuple(sorted(self.order(rank)[: 1 + self.choose(rank)]))
        if dtype.is_float and kind in (Sum, Prod):
            terms = math.prod(x.type.shape[a] for a in axes)
            if kind is Sum and SMALL * terms > 2 ** (dtype.mantissa_bits + 1):
                return None
            x = self.whole(x, SMALL if kind is Sum else 1)
        return kind.build(self.b, x, axes, keepdims=self.maybe())

    def dot(self) -> Value:
        dtype = self.pick((f16, f32, bf16, f64, *WHOLE))
        m, n, k = (self.pick(e) for e in ((16, 32, 5, 1, 64, 17), (8, 16, 24, 3, 64), (16, 32, 8, 7, 48)))
        if dtype in WHOLE:
            right = self.pick(WHOLE)
            return Dot.build(self.b, self.load(dtype, (m, k)), self.load(right, (k, n)), self.tile(i32, (m, n)) if self.maybe() else None)
        a, b = (self.whole(self.tile(dtype, shape), SMALL) for shape in ((m, k), (k, n)))
        wide = default_accumulator(dtype)
        acc = self.whole(self.tile(wide, (m, n)), SMALL) if self.maybe() else None
        return Dot.build(self.b, a, b, acc)

    # shapes

    def reshape(self) -> Value:
        x = self.some(lambda t: True, TYPES)
        left, shape = x.type.size, []
        for _ in range(self.choose(3)):
            shape.append(self.pick([d for d in range(1, left + 1) if left % d == 0]))
            left //= shape[-1]
        if left > 1 or not shape or self.maybe():
            shape.append(left)
        return Reshape.build(self.b, x, shape)

    def transpose(self) -> Value:
        x = self.some(lambda t: len(t.shape) > 1, TYPES, rank=self.pick((2, 3)))
        return Transpose.build(self.b, x, self.order(len(x.type.shape)))

    def broadcast(self) -> Value | None:
        x = self.some(lambda t: t.size <= 64, TYPES, rank=1)
        shape = tuple(self.pick((1, 2, 8, 5)) if n == 1 else n for n in x.type.shape)
        shape = tuple(self.pick((4, 1, 3)) for _ in range(self.choose(3))) + shape
        if len(shape) > 3 or math.prod(shape) > LARGEST or shape == x.type.shape:
            return None
        return self.b.emit(Broadcast(x, shape))

    def cut(self) -> Value:
        x = self.some(lambda t: bool(t.shape), TYPES)
        starts, steps, shape = [], [], []
        for n in x.type.shape:
            step = self.pick((1, 1, 2, -1, 3))
            start = self.choose(n) if self.maybe() else (0 if step > 0 else n - 1)
            fits = (n - 1 - start) // step + 1 if step > 0 else start // -step + 1
            starts.append(start)
            steps.append(step)
            shape.append(fits - self.choose(fits) if self.maybe() else fits)
        return self.b.emit(Slice(x, tuple(starts), tuple(steps), tuple(shape)))

    def join(self) -> Value | None:
        x = self.some(lambda t: bool(t.shape) and t.size <= LARGEST // 2, TYPES)
        if x.type.size > LARGEST // 2:
            return None
        axis = self.choose(len(x.type.shape))
        shape = tuple(self.pick((n, n, 1, max(1, n // 2))) if a == axis else n for a, n in enumerate(x.type.shape))
        y = self.load(x.type.dtype, shape)
        return Concatenate.build(self.b, [x, y] if self.maybe() else [y, x], axis)

    def element(self) -> Value:
        x = self.some(lambda t: bool(t.shape), TYPES)
        at = [self.small(n) for n in x.type.shape]
        dims = self.order(len(at))[: self.choose(2) and self.choose(len(at))]
        for d in dims:
            at[d] = constant(self.b, 0, i32)
        return self.b.emit(Part(x, tuple(at), tuple(x.type.shape[d] for d in dims), dims))

    def scan(self) -> Value:
        x = self.some(lambda t: bool(t.shape) and t.dtype.is_int and t.dtype.computes and t.size <= 512, INTEGERS)
        axis = self.choose(len(x.type.shape))
        if self.choose(3) == 0:
            return self.pick((ArgMax, ArgMin)).build(self.b, x, axis)
        if self.choose(3) == 0:
            return ReduceBy.build(self.b, x, self.pick(tuple(NAMED)), axis)
        return ScanBy.build(self.b, x, self.pick(tuple(NAMED)), axis, exclusive=self.maybe(), reverse=self.maybe())

    def sort(self) -> Value:
        x = self.some(lambda t: bool(t.shape) and t.dtype.computes and not t.dtype.is_bool and t.size <= 512, (f32, i32, f16, u16))
        if x.type.dtype.is_bool:
            x = ops.Cast.build(self.b, x, i32)
        axis = self.choose(len(x.type.shape))
        if x.type.dtype.bits <= 32 and self.maybe():
            return ArgSort.build(self.b, x, axis, descending=self.maybe())
        return Sort.build(self.b, x, axis, descending=self.maybe())

    def arange(self) -> Value:
        start, n = self.choose(5), self.pick(EXTENTS)
        return Arange.build(self.b, start, start + n, self.pick((i32, i64, u32, i16)))

    def view(self) -> Value:
        """Bytes read as another type, thread by thread."""
        threads = 32 * self.warps
        n, kind, count = self.pick(((3, "int6", 4), (3, "uint4", 6), (1, "int4", 2), (4, "f32", 1), (2, "f16", 1), (5, "int5", 8), (4, "u16", 2)))
        given = self.pick((spatial(threads).local(n), local(n).spatial(threads), spatial(threads // 8, 8).local(1, n)))
        after: Layout = self.pick((spatial(threads).local(count), spatial(threads // 4, 4).local(count, 1)))
        extents = tuple(m + self.pick((0, -1, 2)) for m in given.shape)
        x = Load.build(self.b, self.tensor(dtypes.uint8, extents), [0] * given.rank, given.shape, layout=given)
        return View.build(self.b, x, dtypes.dtype(kind), after)

    # control flow

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        outer = self.b, self.scope
        self.b, self.scope = self.b.inside(block), [*self.scope, *block.args]
        self.depth += 1
        try:
            yield
        finally:
            self.b, self.scope = outer
            self.depth -= 1

    def ending(self, types: list[TileType], fallback: list[Value]) -> None:
        """End a region with values of these types."""
        made = []
        for t, other in zip(types, fallback, strict=True):
            found = [v for v in self.scope if v.type == t]
            made.append(found[-1 - self.choose(min(3, len(found)))] if found else other)
        self.b.insert(Yield(tuple(made)))

    def carried(self) -> list[Value]:
        return [self.some(lambda t: True, TYPES) for _ in range(self.choose(3))]

    def loop(self) -> Value | None:
        if self.depth > 1:
            return None
        inits = self.carried()
        start, stop, step = self.bounds()
        body = Block(tuple(Value(t) for t in (i32_type, *(v.type for v in inits))))
        with self.inside(body):
            self.steps(1 + self.choose(4))
            self.ending([v.type for v in inits], list(body.args[1:]))
        results = self.b.insert(For(start, stop, step, tuple(inits), body, self.pick((1, 2, 3))))
        self.scope += results[:-1]
        return results[-1] if results else None

    def bounds(self) -> tuple[Value, Value, Value]:
        b = self.b
        zero, one = constant(b, 0, i32), constant(b, 1, i32)
        kind = self.choose(5)
        if kind == 0:
            return zero, constant(b, self.choose(4), i32), one
        if kind == 1:
            return zero, self.small(4), one
        if kind == 2:
            return self.small(4), zero, constant(b, -1, i32)
        if kind == 3:
            return zero, constant(b, 4, i32), ops.Add.build(b, self.small(2), one)
        return constant(b, -8, i32), ops.Mul.build(b, self.small(3), 8), constant(b, 8, i32)

    def whiles(self) -> Value | None:
        if self.depth > 1:
            return None
        inits = [self.small(4), *self.carried()]
        types = [v.type for v in inits]
        test, body = Block(tuple(Value(t) for t in types)), Block(tuple(Value(t) for t in types))
        with self.inside(test):
            self.steps(self.choose(2))
            self.b.insert(Yield((ops.Gt.build(self.b, test.args[0], 0),)))
        with self.inside(body):
            self.steps(1 + self.choose(3))
            less = ops.Sub.build(self.b, body.args[0], 1)
            self.ending(types[1:], list(body.args[1:]))
            last = self.b.block.ops.pop()
            self.b.insert(Yield((less, *last.operands)))
        results = self.b.insert(While(tuple(inits), test, body))
        self.scope += results[:-1]
        return results[-1]

    def branch(self) -> Value | None:
        if self.depth > 1:
            return None
        kind = self.pick((ops.Lt, ops.Eq, ops.Ge))
        condition = kind.build(self.b, self.small(4), self.choose(4))
        then, orelse = Block(), Block()
        wanted = [v.type for v in self.carried()]
        for block in (then, orelse):
            with self.inside(block):
                self.steps(self.choose(3))
                self.ending(wanted, [constant(self.b, 0 if not t.dtype.is_bool else False, t.dtype, t.shape) for t in wanted])
        results = self.b.insert(If(condition, then, orelse))
        self.scope += results[:-1]
        return results[-1] if results else None


i32_type = TileType(i32)


def random_program(seed: int, steps: int = 8) -> Program:
    rng = np.random.default_rng(seed)
    return Maker(lambda n: int(rng.integers(n)), seed).program(steps)


def equal(x: Array, y: Array) -> bool:
    """The same numbers, NaN in the same places; 0 and -0 are one number."""
    return bool(np.array_equal(x, y, equal_nan=x.dtype.kind == "f"))
