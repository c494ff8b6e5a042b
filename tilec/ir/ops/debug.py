"""What a person sees while a kernel is interpreted. On the GPU these ops do nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.ir.core import Effect, Op, Value


class Print(Op):
    """Python's `print` in a kernel: shows the texts and values, one line for each block."""

    effect = Effect.DEBUG
    values: tuple[Value, ...]
    texts: tuple[Any, ...] = ()  # for each argument its text, or None where a value stands

    def infer(self) -> None:
        return None

    def eval(self, ctx: Any, *values: Any) -> None:
        for number, place in ctx.active_blocks():
            shown = iter(v[min(number, len(v) - 1)] for v in values)
            words = [text if text is not None else _plain(next(shown)) for text in self.texts]
            print(f"[block {', '.join(map(str, place))}]", *words)


class Breakpoint(Op):
    """Python's `breakpoint()` in a kernel: opens the debugger with the author's variables as NumPy arrays [blocks, *shape]."""

    effect = Effect.DEBUG
    values: tuple[Value, ...]
    names: tuple[str, ...] = ()

    def infer(self) -> None:
        return None


def _plain(value: Any) -> Any:
    return value.item() if np.ndim(value) == 0 else value
