"""Global and shared memory: tiles are read into registers and written back.

The offsets of an access say where the tile's first element lies, one for each axis of the tensor. A tile may have fewer axes than
the tensor: the leading axes are then indexed, not run along (`dims` names the tensor axis that each tile axis runs along). Elements
over the edge of a global tensor read as 0 and are not written; an indexed axis must be within bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Effect, Op, Value
from tilec.ir.dtypes import DType
from tilec.ir.layout import Layout
from tilec.ir.ops.access import Access, Hinted, dims_of, memory_of, offsets_of
from tilec.ir.ops.base import Index, Operand, Placed, describe, match, show, static_shape, tile
from tilec.ir.ops.gather import Gather, Scatter
from tilec.ir.ops.shape import loosened
from tilec.ir.shared import shared as shared_layout
from tilec.ir.types import SharedType, TileType


class Load(Access, Placed, Hinted):
    """Reads a tile at `offsets` from a global tensor; without a shape, a scalar. Over the edge it reads 0.

    `mask`, a bool tile that broadcasts to the shape, says which elements are read; the others are `other`, as is what lies over the
    edge. `cache` ("ca", "cg", "cs", "lu", "cv"), `evict` ("first", "last", "no_allocate") and `prefetch` (64, 128 or 256 bytes) are
    hints to the caches.

    Example:
        r = tc.load(T, [2, 4], [8, 16])  # = T[2:10, 4:20]
        tc.load(T, [0], [8])             # error: has 2 axes, but 1 offsets are given
    """

    builtin = "load"
    effect = Effect.READ
    memory: Value
    offsets: tuple[Value, ...]
    shape: tuple[int, ...]
    dims: tuple[int, ...]

    takes_packed = True

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.shape

    def infer(self) -> TileType:
        self.check()
        self.check_hints("ca cg cs lu cv")
        self.check_tile("read", "as in tc.load(w, [k, j], [128, 64])")
        return self.placed(self.memory.type.dtype.element, self.shape)

    def eval(self, ctx: Any, memory: Any, *offsets: Any) -> Any:
        self.check_place(ctx, offsets)
        return memory.read(ctx, self, offsets)

    @classmethod
    def build(
        cls,
        b: Builder,
        source: Value,
        offsets: Sequence[Index] | Index | None = None,
        shape: Sequence[int] | None = None,
        *,
        mask: Operand | None = None,
        other: Operand = 0,
        dims: Sequence[int] | None = None,
        layout: Layout | None = None,
        cache: str | None = None,
        evict: str | None = None,
        prefetch: int | None = None,
    ) -> Value:
        memory = memory_of(source)
        if isinstance(memory, SharedType):
            not_cached(cache, evict, prefetch)
            if mask is None:
                return LoadShared.build(b, source, offsets, shape, dims=dims, layout=layout)
            whole = offsets is None and shape is None
            at, wanted = ([0] * memory.rank, memory.shape) if whole else (offsets, shape)
            return Gather.build(b, source, at, wanted, mask=mask, other=other, dims=dims, layout=layout)
        if offsets is None:
            raise TileError("tc.load needs the offsets of the tile", hint="as in tc.load(a, [i, k], [64, 32])", code=Code.OFFSETS)
        hints: dict[str, Any] = {"cache": cache, "evict": evict, "prefetch": prefetch}
        if mask is not None:
            return Gather.build(b, source, offsets, shape, mask=mask, other=other, dims=dims, layout=layout, **hints)
        wanted = static_shape(() if shape is None else shape)
        return loosened(b, b.emit(cls(source, offsets_of(b, offsets), wanted, dims_of(memory, wanted, dims), layout, **hints)))


class Store(Access, Hinted):
    """Writes a tile (or scalar) to a global tensor at `offsets`. What hangs over the edge is not written.

    `mask`, a bool tile that broadcasts to the tile's shape, says which elements are. `cache` ("cg", "cs", "wt") and `evict` ("first", "last",
    "no_allocate") are hints to the caches.

    Example:
        tc.store(O, [0, 8], x)  # O[:8, 8:24] = x
        tc.store(O, [0, 0], n)  # error: a tile of i32 is stored to a tensor of f32
    """

    builtin = "store"
    effect = Effect.WRITE
    memory: Value
    offsets: tuple[Value, ...]
    value: Value
    dims: tuple[int, ...]

    takes_packed = True

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.value.type.shape

    def infer(self) -> None:
        self.check()
        self.check_hints("cg cs wt")
        self.check_tile("written", "as in tc.store(w, [k, j], x) of a tile x of [128, 64]")
        stored, wanted = self.value.type.dtype, self.memory.type.dtype.element
        require(stored == wanted, f"a tile of {stored} is stored to a tensor of {wanted}", hint=f"convert it: tc.cast(x, {wanted})", code=Code.STORED)

    def eval(self, ctx: Any, memory: Any, *operands: Any) -> None:
        *offsets, value = operands
        self.check_place(ctx, offsets)
        memory.write(ctx, self, offsets, value)

    @classmethod
    def build(
        cls,
        b: Builder,
        target: Value,
        offsets: Sequence[Index] | Index | Operand,
        value: Operand | None = None,
        *,
        mask: Operand | None = None,
        dims: Sequence[int] | None = None,
        cache: str | None = None,
        evict: str | None = None,
    ) -> None:
        memory = memory_of(target)
        if isinstance(memory, SharedType):
            not_cached(cache, evict)
            if mask is None:
                return StoreShared.build(b, target, offsets, value, dims=dims)
            if value is None:
                offsets, value = [0] * memory.rank, offsets  # type: ignore[assignment]
        if value is None:
            raise TileError("tc.store to a tensor needs offsets and a value", hint="as in tc.store(c, [i, j], x)", code=Code.OFFSETS)
        if mask is not None:
            return Scatter.build(b, target, offsets, value, mask=mask, dims=dims, cache=cache, evict=evict)
        stored = value if isinstance(value, Value) else match(b, value, dtype=memory.dtype.element)[0]
        b.insert(cls(target, offsets_of(b, offsets), stored, dims_of(memory, tile(stored).shape, dims), cache, evict))
        return None


def not_cached(*hints: Any) -> None:
    """Refuse hints of an access to a shared tile."""
    require(all(h is None for h in hints), "shared memory has no caches to give hints to", hint="leave cache, evict and prefetch out")


class Shared(Op):
    """A tile in shared memory, allocated for the whole kernel; its contents are undefined until stored.

    The compiler lays it out so that its accesses meet the fewest bank conflicts, unless the author does: `strides` counts elements along each
    axis, `swizzle` is [bits, base, shift], as in CuTe's Swizzle, a list of such, or False for none.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.store(t, x)
        tc.sync()
        r = tc.load(t)         # = x
        tc.shared(8, [8, 16])  # error: dtype is a type, as in f16, not the Python number 8
    """

    builtin = "shared"
    effect = Effect.WRITE
    dtype: DType
    shape: tuple[int, ...]
    layout: Any = None  # SharedLayout | None
    scratch: bool = False  # holds something only from one barrier to the next but one, so that all such tiles share their place
    offset: int | None = None  # bytes from the start of the block's shared memory

    def infer(self) -> SharedType:
        return SharedType(self.dtype, self.shape, self.layout)

    def eval(self, ctx: Any) -> Any:
        return ctx.shared(self.dtype, self.shape)

    @classmethod
    def build(
        cls, b: Builder, dtype: DType, shape: Sequence[int], *, strides: Sequence[int] | None = None, swizzle: Sequence[Any] | bool = True
    ) -> Value:
        require(isinstance(dtype, DType), f"a type comes first, as in tc.shared(f16, [64, 32]), not {dtype!r}", code=Code.ARGUMENTS)
        extents = static_shape(shape)
        if strides is None and swizzle is True:
            return b.emit(cls(dtype, extents))
        stated = () if isinstance(swizzle, bool) else tuple(swizzle)
        require(strides is None or len(strides) == len(extents), f"a tile of {len(extents)} axes has as many strides, not {strides!r}")
        layout = shared_layout(extents, strides, stated)
        require(layout.is_injective(), f"under {layout} some elements share a place", hint="make the strides larger", code=Code.LAYOUT)
        return b.emit(cls(dtype, extents, layout))


class LoadShared(Access, Placed):
    """Reads a tile from shared memory; the whole shared tile by default. An element never stored is an error when interpreted."""

    effect = Effect.READ
    memory: Value
    offsets: tuple[Value, ...]
    shape: tuple[int, ...]
    dims: tuple[int, ...]

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.shape

    def infer(self) -> TileType:
        self.check()
        return self.placed(self.memory.type.dtype, self.shape)

    def eval(self, ctx: Any, memory: Any, *offsets: Any) -> Any:
        return memory.read(ctx, self, offsets)

    @classmethod
    def build(cls, b: Builder, source: Value, offsets: Any, shape: Any, *, dims: Any, layout: Layout | None) -> Value:
        memory = source.type
        wanted = memory.shape if shape is None and offsets is None else static_shape(() if shape is None else shape)
        at = offsets_of(b, [0] * memory.rank if offsets is None else offsets)
        return loosened(b, b.emit(cls(source, at, wanted, dims_of(memory, wanted, dims), layout)))


class StoreShared(Access):
    """Writes a tile to shared memory, at the origin unless offsets are given. Other threads see it after tc.sync()."""

    effect = Effect.WRITE
    memory: Value
    offsets: tuple[Value, ...]
    value: Value
    dims: tuple[int, ...]

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.value.type.shape

    def infer(self) -> None:
        self.check()
        stored, wanted = self.value.type.dtype, self.memory.type.dtype
        require(stored == wanted, f"a tile of {stored} is stored to a shared tile of {wanted}", hint=f"convert it: tc.cast(x, {wanted})", code=Code.STORED)

    def eval(self, ctx: Any, memory: Any, *operands: Any) -> None:
        *offsets, value = operands
        memory.write(ctx, self, offsets, value)

    @classmethod
    def build(cls, b: Builder, target: Value, offsets: Any, value: Any, *, dims: Any) -> None:
        memory = target.type
        if value is None:
            offsets, value = None, offsets
        stored = value if isinstance(value, Value) else match(b, value, dtype=memory.dtype)[0]
        shape = tile(stored).shape
        if offsets is None:
            part = len(shape) <= memory.rank and all(n <= extent for n, extent in zip(reversed(shape), reversed(memory.shape), strict=False))
            hint = "say where it goes, as in tc.store(s, [0, 16], x)" if part else "the shapes must be the same"
            require(shape == memory.shape, f"a tile of shape {show(shape)} is stored to the whole of {describe(memory)}", hint=hint, code=Code.SHAPES)
        at = offsets_of(b, [0] * memory.rank if offsets is None else offsets)
        b.insert(cls(target, at, stored, dims_of(memory, shape, dims)))
