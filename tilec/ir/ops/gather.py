"""Accesses to a global tensor or shared tile whose elements are chosen one by one: by tiles of indices, and by masks.

An offset that is an integer tile says for each element of the accessed tile where it lies along that axis of the tensor. A tile with one axis
lists places along its tensor's axis, as the rows of a table; any other broadcasts to the accessed tile, by NumPy's rule.

    gather %a, [%0, %k], [%rows], %mask, %other shape=[64, 32] dims=[-1, 1] axes=[0]

reads `a[rows[i, 0], k + j]` where `mask[i, j]` holds and the place is within the tensor, and `other[i, j]` elsewhere. Along a tensor axis that is
neither indexed by a tile nor run along, the offset must be within bounds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Effect, Kind, Value
from tilec.ir.dtypes import bool_, i32
from tilec.ir.layout import Layout
from tilec.ir.ops.access import Access, Hinted, dims_of, memory_of
from tilec.ir.ops.base import (
    Index,
    Operand,
    Placed,
    broadcast,
    broadcast_shapes,
    constant,
    describe,
    index,
    match,
    show,
    static_shape,
    tile,
)
from tilec.ir.ops.shape import Reshape, loosened
from tilec.ir.types import TileType

NOWHERE = -1  # of a tile axis that runs along no axis of the tensor


class Chosen(Access, abstract=True):
    """An access by indices and a mask. `axes` names the tensor axis of each index tile; `dims` is -1 where a tile axis runs along none.

    Index tiles and the mask have as many axes as the accessed tile, each of its extent or of 1.
    """

    memory: Value
    offsets: tuple[Value, ...]
    indices: tuple[Value, ...]
    mask: Value | None
    dims: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def plain(self) -> bool:
        """Whether neither indices nor a mask choose: an access as any other."""
        return not self.indices and self.mask is None

    def check(self) -> None:
        memory, shape = self.memory.type, self.tile_shape
        self.check_packing(memory)
        require(
            len(self.offsets) == memory.rank,
            f"{describe(memory)} has {memory.rank} axes, but {len(self.offsets)} offsets are given",
            hint="one offset for each axis, as in [i, k]; a tile of fewer axes runs along the last",
        )
        require(len(self.dims) == len(shape), f"a tile of shape {show(shape)} needs {len(shape)} dims, not {show(self.dims)}")
        taken = [*(d for d in self.dims if d != NOWHERE), *self.axes]
        good = len(set(taken)) == len(taken) and all(0 <= d < memory.rank for d in taken) and len(self.axes) == len(self.indices)
        require(good, f"dims {show(self.dims)} and indices along {show(self.axes)} are not distinct axes of {describe(memory)}")
        for part in (*self.indices, *([self.mask] if self.mask else [])):
            given = part.type
            fits = given.rank == len(shape) and all(n in (1, m) for n, m in zip(given.shape, shape, strict=True))
            require(fits, f"{describe(given)} does not choose among the elements of a tile of shape {show(shape)}", code=Code.MASK)
            if part is self.mask:
                require(given.dtype.is_bool, f"a mask is a tile of bools, not {describe(given)}", hint="compare it, as in m != 0", code=Code.MASK)
            else:
                whole = given.dtype.is_int and given.dtype.computes
                require(whole, f"indices are integers that compute, not {describe(given)}", hint="convert them: tc.cast(x, i32)", code=Code.MASK)

    def parts(self, operands: Sequence[Any]) -> dict[str, Any]:
        """Operands as `eval` is given them, by the names of their fields; None for an absent one."""
        rest = iter(operands)
        found: dict[str, Any] = {}
        for f in self.fields:
            given = getattr(self, f.name)
            if f.kind is Kind.VARIADIC:
                found[f.name] = [next(rest) for _ in given]
            elif f.kind in (Kind.OPERAND, Kind.OPTIONAL):
                found[f.name] = None if given is None else next(rest)
        return found

    def places(self, memory: Any, parts: dict[str, Any]) -> tuple[list[Any], Any, Any]:
        """For each axis of the memory the coordinates, shaped to broadcast to [blocks, *tile shape]; which elements are touched; and where
        an axis that is neither run along nor indexed is left by its offset."""
        coordinates = self.index(parts["offsets"])
        for axis, chosen in zip(self.axes, parts["indices"], strict=True):
            coordinates[axis] = coordinates[axis] + chosen.astype(np.int64)
        inside: Any = np.ones((1,) * (1 + len(self.tile_shape)), bool) if parts["mask"] is None else parts["mask"]
        fixed: Any = np.zeros((), bool)
        for axis, (at, extent) in enumerate(zip(coordinates, memory.extents(), strict=True)):
            good = (at >= 0) & (at < np.reshape(extent, (-1, *[1] * len(self.tile_shape))))
            if axis in self.dims or axis in self.axes:
                inside = inside & good
            else:
                fixed = fixed | ~good
        return coordinates, inside, fixed & inside

    def read(self, ctx: Any, *operands: Any) -> Any:
        """The elements that are chosen, zero bits or `other` elsewhere."""
        parts = self.parts(operands)
        memory = parts["memory"]
        coordinates, inside, outside = self.places(memory, parts)
        ctx.fail(outside, "an index is out of bounds for an axis that the tile does not run along")
        values = memory.read_at(ctx, coordinates, inside)
        other = parts.get("other")
        found = np.where(inside, values, self.memory.type.dtype.edge if other is None else other).astype(values.dtype)
        return np.broadcast_to(found, (len(found), *self.tile_shape))

    def index(self, offsets: Sequence[Any]) -> list[Any]:
        rank = len(self.tile_shape)
        found = []
        for axis, offset in enumerate(offsets):
            start = np.asarray(offset, np.int64).reshape(-1, *[1] * rank)
            if axis in self.dims:
                at = self.dims.index(axis)
                start = start + np.arange(self.tile_shape[at]).reshape([-1 if i == at else 1 for i in range(rank)])
            found.append(start)
        return found


class Gather(Chosen, Placed, Hinted):
    """Reads the elements that tiles of indices name: `tc.gather(table, [rows, k], [64, 32])` reads 64 rows, each from column k on.

    An offset is an integer, or an integer tile: one with a single axis lists the places along its axis of the tensor (`rows` has 64
    elements here), any other has an index for each element of the result. Where the mask is False, or the place lies outside of the
    tensor (a negative index, too), the element is `other`. Without a shape, a tile of the shape that the indices broadcast to.

    Example:
        r = tc.gather(T, [rows, 0], [8, 16])  # = T[rows, :16]
        tc.gather(T, [x, 0], [8, 16])         # error: indices are integers that compute, not f32
    """

    builtin = "gather"
    effect = Effect.READ
    other: Value | None
    shape: tuple[int, ...]

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.shape

    def infer(self) -> TileType:
        self.check()
        self.check_hints("ca cg cs lu cv")
        dtype = self.memory.type.dtype
        if self.other is not None:
            given = self.other.type
            require(
                given.dtype == dtype, f"other is {describe(given)}, but the tensor holds {dtype}", hint=f"convert it: tc.cast(x, {dtype})", code=Code.STORED
            )
        return self.placed(dtype, self.shape)

    def eval(self, ctx: Any, *operands: Any) -> Any:
        return self.read(ctx, *operands)

    @classmethod
    def build(
        cls,
        b: Builder,
        source: Value,
        offsets: Sequence[Index] | Index | None,
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
        wanted = None if shape is None else static_shape(shape)
        where = choice(b, memory, offsets, wanted, mask, dims)
        filled = None
        if isinstance(other, Value) or other != 0:
            filled = broadcast(b, match(b, other, dtype=memory.dtype)[0], where["shape"])
        hints = {"cache": cache, "evict": evict, "prefetch": prefetch}
        return loosened(b, b.emit(cls(memory=source, other=filled, layout=layout, **where, **hints)))


class Scatter(Chosen, Hinted):
    """Writes the elements of a tile where tiles of indices name: the counterpart of `tc.gather`. What lies outside is not written.

    Of several elements for one place, any may be the one that stays.

    Example:
        tc.scatter(O, [rows, 0], x)  # O[rows, :16] = x
        tc.scatter(O, [rows, 0], n)  # error: a tile of i32 is stored to a tensor of f32
    """

    builtin = "scatter"
    effect = Effect.WRITE
    value: Value

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.value.type.shape

    def infer(self) -> None:
        self.check()
        self.check_hints("cg cs wt")
        stored, wanted = self.value.type.dtype, self.memory.type.dtype
        require(stored == wanted, f"a tile of {stored} is stored to a tensor of {wanted}", hint=f"convert it: tc.cast(x, {wanted})", code=Code.STORED)

    def eval(self, ctx: Any, *operands: Any) -> None:
        parts = self.parts(operands)
        coordinates, inside, outside = self.places(parts["memory"], parts)
        ctx.fail(outside, "an index is out of bounds for an axis that the tile does not run along")
        parts["memory"].write_at(ctx, coordinates, inside, parts["value"])

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
        require(value is not None, "tc.scatter needs offsets and a value", hint="as in tc.scatter(c, [rows, j], x)")
        given = value if isinstance(value, Value) else match(b, value, dtype=memory.dtype)[0]  # type: ignore[arg-type]
        where = choice(b, memory, offsets, tile(given).shape or None, mask, dims)
        where.pop("shape")
        b.insert(cls(memory=target, value=broadcast(b, given, shape_of(where, tile(given).shape)), cache=cache, evict=evict, **where))


def shape_of(where: dict[str, Any], value: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an access whose value may be a scalar for each of its places."""
    chosen = [v.type.shape for v in (*where["indices"], *([where["mask"]] if where["mask"] else []))]
    return broadcast_shapes(value, *chosen) if chosen else value


def choice(b: Builder, memory: Any, offsets: Any, shape: tuple[int, ...] | None, mask: Any, dims: Any) -> dict[str, Any]:
    """The fields that say where: offsets as scalars, indices and mask brought to the rank of the accessed tile, and its shape."""
    if offsets is None:
        raise TileError("the offsets of the tile are missing", hint="as in tc.gather(a, [rows, k], [64, 32])")
    given = list(offsets) if isinstance(offsets, list | tuple) else [offsets]
    require(
        len(given) == memory.rank,
        f"{describe(memory)} has {memory.rank} axes, but {len(given)} offsets are given",
        hint="one offset for each axis, as in [i, k]; a tile of fewer axes runs along the last",
    )
    chosen = {axis: x for axis, x in enumerate(given) if isinstance(x, Value) and not tile(x).is_scalar}
    if shape is None:
        shape = broadcast_shapes(*[x.type.shape for x in chosen.values()]) if chosen else ()
        along = [NOWHERE] * len(shape)
    else:
        along = list(dims_of(memory, shape, dims)) if dims is not None or not chosen else default_dims(memory.rank, len(shape), chosen)
    indices = []
    for axis, x in chosen.items():
        if x.type.rank == 1 and axis in along and len(shape) > 1:
            at = along.index(axis)
            require(
                x.type.shape[0] in (1, shape[at]),
                f"{x.type.shape[0]} indices for the {shape[at]} places along axis {at} of the tile",
                hint="there is an index for each place along the axis, or a tile of the result's shape",
                code=Code.MASK,
            )
            x = b.emit(Reshape(x, tuple(x.type.shape[0] if i == at else 1 for i in range(len(shape)))))
        if axis in along:
            along[along.index(axis)] = NOWHERE
        indices.append(of_rank(b, x, shape))
    scalars = tuple(constant(b, 0, i32) if axis in chosen else index(b, x) for axis, x in enumerate(given))
    masked = None
    if isinstance(mask, Value):
        masked = of_rank(b, mask, shape)
    elif mask is not None:
        masked = constant(b, mask, bool_, (1,) * len(shape))
    return {"offsets": scalars, "indices": tuple(indices), "mask": masked, "dims": tuple(along), "axes": tuple(chosen), "shape": shape}


def default_dims(axes: int, rank: int, chosen: Collection[int]) -> list[int]:
    """The tensor axis of each tile axis where none are named: those that are indexed by tiles and, as far as the tile's axes reach, the last
    of the others. With more index tiles than the tile has axes, they name each element's place by themselves."""
    if len(chosen) > rank:
        return [NOWHERE] * rank
    others = [axis for axis in range(axes) if axis not in chosen]
    taken = sorted([*chosen, *others[max(0, len(others) - (rank - len(chosen))) :]])
    return [NOWHERE] * (rank - len(taken)) + taken


def of_rank(b: Builder, x: Value, shape: tuple[int, ...]) -> Value:
    """A tile of indices or a mask with as many axes as the accessed tile."""
    given = tile(x)
    missing = len(shape) - given.rank
    fits = missing >= 0 and all(n in (1, m) for n, m in zip(given.shape, shape[missing:], strict=True))
    require(fits, f"{describe(given)} does not broadcast to the shape {show(shape)} of the access", hint="x[:, None] adds an axis", code=Code.MASK)
    return x if not missing else b.emit(Reshape(x, (1,) * missing + given.shape))
