"""Asynchronous copies from global to shared memory (`cp.async`), in groups that are waited for.

A copy may land at any time up to the wait that covers its group. The waiting thread then sees it; other threads do after a barrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Effect, Op, Value
from tilec.ir.layout import Layout
from tilec.ir.ops.access import Hinted
from tilec.ir.ops.base import Index, Operand, describe, tensor
from tilec.ir.ops.gather import Chosen, choice
from tilec.ir.types import SharedType, Warps


class CopyAsync(Chosen, Hinted):
    """Starts to copy a tile at `offsets` of a global tensor into a shared tile; over the edge it writes 0.

    The copy belongs to the group that the next `tc.commit()` closes. Offsets may be tiles of indices, as in `tc.gather`; `mask`, a bool tile that
    broadcasts to the shared tile's shape, says which elements are read: the others become 0. Hints
    to the caches: `cache` is "ca" or "cg" (only copies of 16 bytes bypass the L1 cache), `evict` "first" or "last" (of the L2 cache),
    `prefetch` 64, 128 or 256 bytes.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.copy_async(t, T, [0, 0])
        tc.commit()
        tc.wait(0)
        tc.sync()
        r = tc.load(t)               # = T[:8, :16]
        tc.copy_async(T, T, [0, 0])  # error: copy_async writes to a shared tile
    """

    builtin = "copy_async"
    effect = Effect.WRITE
    target: Value
    memory: Value
    offsets: tuple[Value, ...]
    dims: tuple[int, ...]
    layout: Layout | None = None
    group: Warps | None = None
    indices: tuple[Value, ...] = ()
    mask: Value | None = None
    axes: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tile_shape

    @property
    def written(self) -> tuple[Value, ...]:
        return (self.target,)

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.target.type.shape

    def infer(self) -> None:
        into, source = self.target.type, self.memory.type
        require(isinstance(into, SharedType), f"copy_async writes to a shared tile, not {describe(into)}")
        require(into.dtype == source.dtype, f"a tensor of {source.dtype} is copied to a shared tile of {into.dtype}", hint="copies convert nothing")
        self.check()
        self.check_hints("ca cg", "first last", together=True)

    def eval(self, ctx: Any, target: Any, memory: Any, *rest: Any) -> None:
        ctx.copies.start(ctx, target, memory.read(ctx, self, rest) if self.plain else self.read(ctx, target, memory, *rest))

    @classmethod
    def build(
        cls,
        b: Builder,
        target: Value,
        source: Value,
        offsets: Sequence[Index] | Index,
        *,
        mask: Operand | None = None,
        dims: Sequence[int] | None = None,
        cache: str | None = None,
        evict: str | None = None,
        prefetch: int | None = None,
    ) -> None:
        if not isinstance(target, Value) or not isinstance(target.type, SharedType):
            raise TileError("copy_async writes to a shared tile", hint="as in tc.copy_async(s, a, [i, k])")
        memory = tensor(source)
        where = choice(b, memory, offsets, target.type.shape, mask, dims)
        where.pop("shape")
        b.insert(cls(target=target, memory=source, cache=cache, evict=evict, prefetch=prefetch, **where))


class Commit(Op):
    """Closes the group of the asynchronous copies started since the last `tc.commit()`.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.copy_async(t, T, [0, 0])
        tc.commit()
        tc.wait(0)
        tc.sync()
        r = tc.load(t)  # = T[:8, :16]
        tc.commit(t)    # error: too many positional arguments
    """

    builtin = "commit"
    effect = Effect.SYNC

    def infer(self) -> None:
        return None

    def eval(self, ctx: Any) -> None:
        ctx.copies.commit()


class Wait(Op):
    """Waits until at most the newest `pending` groups of copies are still under way. Follow it with `tc.sync()`.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.copy_async(t, T, [0, 0])
        tc.commit()
        tc.wait(0)
        tc.sync()
        r = tc.load(t)  # = T[:8, :16]
        tc.wait(i)      # error: pending is an integer known at compile time, not i32
    """

    builtin = "wait"
    effect = Effect.SYNC
    pending: int = 0

    def infer(self) -> None:
        require(
            isinstance(self.pending, int) and self.pending >= 0,
            f"the groups left pending are a number known at compile time, not {self.pending}",
            code=Code.NOT_STATIC,
        )

    def eval(self, ctx: Any) -> None:
        ctx.copies.wait(ctx, self.pending)
