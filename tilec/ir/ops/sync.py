"""Synchronization of the threads of a block."""

from __future__ import annotations

from typing import Any

from tilec.ir.core import Effect, Op
from tilec.ir.types import Warps


class Sync(Op):
    """A barrier of all threads of the block: shared memory written before it is seen by all after it.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.store(t, x)
        tc.sync()
        r = tc.load(t)  # = x
        tc.sync(t)      # error: too many positional arguments
    """

    builtin = "sync"
    effect = Effect.SYNC
    group: Warps | None = None

    def infer(self) -> None:
        return None

    def eval(self, ctx: Any) -> None:
        """Lockstep over a block's threads needs no barrier; the simulator and the hazard checks judge its absence."""
