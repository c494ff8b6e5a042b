"""What all accesses to memory share: offsets, the axes that a tile runs along, hints to the caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.ops.base import describe, index, show
from tilec.ir.packing import COLUMNS, ROWS
from tilec.ir.types import SharedType, TensorType, TileType


class Access(Op, abstract=True):
    """What loads and stores share. Subclasses have `memory`, `offsets` and `dims`, and know the tile's shape."""

    @property
    def tile_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    takes_packed: ClassVar[bool] = False  # tensors packed for their consumer's registers

    def check(self) -> None:
        """One offset an axis; each tile axis runs along an axis of its own; a shared tile is not left."""
        memory, dims, shape = self.memory.type, self.dims, self.tile_shape  # type: ignore[attr-defined]
        offsets = self.offsets  # type: ignore[attr-defined]
        self.check_packing(memory)
        require(
            len(offsets) == memory.rank,
            f"{describe(memory)} has {memory.rank} axes, but {len(offsets)} offsets are given",
            hint="one offset for each axis, as in [i, k]; a tile of fewer axes runs along the last",
        )
        require(len(dims) == len(shape), f"a tile of shape {show(shape)} needs {len(shape)} dims, not {show(dims)}")
        good = len(set(dims)) == len(dims) and all(0 <= d < memory.rank for d in dims)
        require(good, f"dims {show(dims)} are not distinct axes of {describe(memory)}")
        if isinstance(memory, SharedType):
            for d, n in zip(dims, shape, strict=True):
                require(n <= memory.shape[d], f"a tile of shape {show(shape)} does not fit {describe(memory)}", code=Code.SHAPES)

    def check_packing(self, memory: TensorType | SharedType) -> None:
        """Refuse a tensor that is packed for its consumer's registers, if the op can't take it."""
        whole = memory.dtype.element is memory.dtype or self.takes_packed
        hint = "as in tc.load(w, [k, j], [128, 64]) and tc.store(w, [k, j], x)"
        require(whole, f"a tensor of {memory.dtype} is read and written by whole tiles, and not otherwise", hint=hint, code=Code.PACKED_TILE)

    def check_tile(self, done: str, example: str) -> None:
        """Refuse what is not whole tiles of a packed tensor; `done` says what is done to it."""
        memory, dims, shape = self.memory.type, self.dims, self.tile_shape  # type: ignore[attr-defined]
        if memory.dtype.element is not memory.dtype:
            whole = dims == (memory.rank - 2, memory.rank - 1) and shape[0] % ROWS == shape[1] % COLUMNS == 0
            wanted = f"by multiples of tiles of {ROWS} x {COLUMNS}"
            require(whole, f"a tensor of {memory.dtype} is {done} {wanted}, not by {show(shape)}", hint=example, code=Code.PACKED_TILE)

    def check_place(self, ctx: Any, offsets: Sequence[Any]) -> None:
        """Fail where a run meets a tile of a packed tensor that begins within one."""
        memory = self.memory  # type: ignore[attr-defined]
        if memory.type.dtype.element is not memory.type.dtype:
            for what, offset, unit in (("row", offsets[-2], ROWS), ("column", offsets[-1], COLUMNS)):
                bad = offset % unit != 0
                shown = int(offset[bad.argmax()])
                ctx.fail(bad, f"the {what} of a tile of {memory.name} is {shown}, which is no multiple of {unit}", code=Code.PACKED_TILE)

    def index(self, offsets: Sequence[Any]) -> list[Any]:
        """For each axis of the memory, the coordinates that the tile touches, shaped to broadcast to [blocks, *tile shape]."""
        shape, dims = self.tile_shape, self.dims  # type: ignore[attr-defined]
        rank = len(shape)
        found = []
        for axis, offset in enumerate(offsets):
            start = np.asarray(offset).reshape(-1, *[1] * rank)
            if axis in dims:
                at = dims.index(axis)
                start = start + np.arange(shape[at]).reshape([-1 if i == at else 1 for i in range(rank)])
            found.append(start)
        return found


class Hinted(Op, abstract=True):
    """Hints to the caches, which change no result. `cache` names a PTX cache operator, `evict` when the line should leave the L1 cache,
    `prefetch` how many bytes the L2 cache should fetch around it (64, 128, 256). PTX ISA, sections "ld", "st", "cp.async"."""

    cache: str | None = None
    evict: str | None = None
    prefetch: int | None = None

    def check_hints(self, cache: str, evict: str = "first last no_allocate", together: bool = False) -> None:
        """Refuse hints that the instruction does not have; `cache` and `evict` list those that it has, `together` both at once."""
        for name, given, known in (("cache", self.cache, cache), ("evict", self.evict, evict)):
            require(given is None or given in known.split(), f"{name}={given!r} is not a hint of {self.mnemonic}", hint=f"there are {known}", code=Code.HINT)
        both = self.cache is not None and self.evict is not None
        require(together or not both, "cache and evict are two ways to say the same, and PTX takes one", hint="keep one of them", code=Code.HINT)
        require(self.prefetch in (None, 64, 128, 256), f"the L2 cache prefetches 64, 128 or 256 bytes, not {self.prefetch}", code=Code.HINT)

    @property
    def hints(self) -> dict[str, Any]:
        """The hints that are given, to hand on."""
        return {name: value for name in ("cache", "evict", "prefetch") if (value := getattr(self, name)) is not None}


def memory_of(x: Any) -> TensorType | SharedType:
    """The type of a tensor or shared tile; an error for anything else."""
    if isinstance(x, Value) and isinstance(x.type, TensorType | SharedType):
        return x.type
    scalar = isinstance(x, Value) and isinstance(x.type, TileType) and x.type.is_scalar and x.name
    hint = f"a tensor has dimensions: annotate it as {x.name}: {x.type.dtype}[N]" if scalar else None
    what = describe(x.type) if isinstance(x, Value) else repr(x)
    raise TileError(f"a tensor or a shared tile is wanted first, not {what}", hint=hint, code=Code.NOT_A_TILE)


def offsets_of(b: Builder, offsets: Any) -> tuple[Value, ...]:
    """Offsets as i32 scalars from a list of ints and scalars, or from a single one."""
    given = offsets if isinstance(offsets, list | tuple) else [offsets]
    return tuple(index(b, x) for x in given)


def dims_of(memory: TensorType | SharedType, shape: tuple[int, ...], dims: Sequence[int] | None) -> tuple[int, ...]:
    """The memory axis that each tile axis runs along: as named, else the last ones."""
    if dims is not None:
        return tuple(d % memory.rank if -memory.rank <= d < memory.rank else d for d in dims)
    require(
        len(shape) <= memory.rank,
        f"a tile of shape {show(shape)} has more axes than {describe(memory)}",
        hint="give the tile's shape as many extents as it has axes",
    )
    return tuple(range(memory.rank - len(shape), memory.rank))
