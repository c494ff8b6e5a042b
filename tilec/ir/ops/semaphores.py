"""Blocks that wait for one another: semaphores in global memory, and fences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilec.errors import Code, require
from tilec.ir.core import Builder, Effect, Op, Value
from tilec.ir.dtypes import i32, u32
from tilec.ir.ops.access import offsets_of
from tilec.ir.ops.atomics import SCOPES
from tilec.ir.ops.base import Index, describe, match, tensor
from tilec.ir.types import TensorType


class Semaphore(Op, abstract=True):
    """What waiting and posting share: a counter in a global tensor, and a number."""

    memory: Value
    offsets: tuple[Value, ...]
    value: Value

    def infer(self) -> None:
        memory = self.memory.type
        good = isinstance(memory, TensorType) and memory.dtype in (i32, u32)
        require(good, f"a semaphore is an element of an i32 or u32 tensor, not of {describe(memory)}")
        require(
            len(self.offsets) == memory.rank,
            f"{describe(memory)} has {memory.rank} axes, but {len(self.offsets)} indices are given",
            hint="one index for each axis",
        )
        given = self.value.type
        require(given.is_scalar and given.dtype == memory.dtype, f"a semaphore of {memory.dtype} counts in {memory.dtype}, not {describe(given)}")

    def place(self, ctx: Any, memory: Any, offsets: Sequence[Any]) -> tuple[list[Any], Any]:
        """The coordinates of the counter in each block, which must be inside."""
        at = [np.asarray(o, np.int64) for o in offsets]
        inside = np.ones(1, bool)
        for axis, (x, n) in enumerate(zip(at, memory.extents(), strict=True)):
            ctx.fail((x < 0) | (x >= n), f"index {int(x[0])} is out of bounds for axis {axis} of the semaphores")
        return at, inside

    @classmethod
    def build(cls, b: Builder, target: Value, index: Sequence[Index] | Index, value: Index) -> None:
        memory = tensor(target)
        count = value if isinstance(value, Value) else match(b, value, dtype=memory.dtype)[0]
        b.insert(cls(target, offsets_of(b, index), count))


class SemaphoreWait(Semaphore):
    """Waits until the counter at an index of an i32 or u32 tensor is at least `value`.

    What other blocks wrote before the post that was waited for is seen by all threads of the block from here on (acquire). All blocks
    that others wait for must be able to run at once: launch no more of them than the GPU holds, or let blocks wait only for those of a
    smaller number, which start first.

    Example:
        tc.semaphore_post(H, [0])        # H[0] += 1
        tc.semaphore_wait(H, [0], 1)
        tc.semaphore_wait(O, [0, 0], 1)  # error: a semaphore is an element of an i32 or u32 tensor
    """

    builtin = "semaphore_wait"
    effect = Effect.SYNC
    waits = True

    def eval(self, ctx: Any, memory: Any, *rest: Any) -> bool:
        """Whether it is over."""
        *offsets, value = rest
        at, inside = self.place(ctx, memory, offsets)
        return bool((memory.read_at(ctx, at, inside) >= value).all())


class SemaphorePost(Semaphore):
    """Adds `value` to the counter at an index of an i32 or u32 tensor, when all threads of the block have come so far.

    What the block wrote before is seen by the blocks that wait for it (release).

    Example:
        tc.semaphore_post(H, [0], 2)  # H[0] += 2
        tc.semaphore_post(O, [0, 0])  # error: a semaphore is an element of an i32 or u32 tensor
    """

    builtin = "semaphore_post"
    effect = Effect.SYNC

    def eval(self, ctx: Any, memory: Any, *rest: Any) -> None:
        *offsets, value = rest
        at, inside = self.place(ctx, memory, offsets)
        round = self.memory.type.dtype.round
        memory.update(ctx, at, inside, value, None, lambda old, new, _: round(old + new))

    @classmethod
    def build(cls, b: Builder, target: Value, index: Sequence[Index] | Index, value: Index = 1) -> None:
        super().build(b, target, index, value)


class Fence(Op):
    """Orders the memory accesses of each thread before it before those behind it, as seen by `scope`: "block", "gpu" or "sys".

    Example:
        tc.store(O, [0, 0], x)  # O[:8, :16] = x
        tc.fence("gpu")
        tc.fence("warp")        # error: 'warp' is no scope
    """

    builtin = "fence"
    effect = Effect.SYNC
    scope: str = "gpu"

    def infer(self) -> None:
        require(self.scope in SCOPES, f"{self.scope!r} is no scope", hint=f"there are {', '.join(SCOPES)}", code=Code.HINT)

    def eval(self, ctx: Any) -> None:
        """The interpreter's memory is in order."""
