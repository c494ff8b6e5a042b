"""Stepping through an interpreted kernel: what `breakpoint()` in one opens, if no other debugger is asked for."""

from __future__ import annotations

import pdb
from types import FrameType
from typing import Any


class Stepper(pdb.Pdb):
    """Python's debugger, for which the frames of tilec and of NumPy do not exist: `step` stays in the author's files, `where` shows them alone."""

    def __init__(self) -> None:
        super().__init__(skip=["tilec.*", "numpy.*", "numpy"], nosigint=True)
        self.prompt = "(kernel) "

    def get_stack(self, f: FrameType | None, t: Any) -> tuple[list[tuple[FrameType, int]], int]:
        stack, _ = super().get_stack(f, t)
        shown = [(frame, line) for frame, line in stack if not _hidden(frame)]
        return shown or stack, max(0, len(shown or stack) - 1)


def _hidden(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("tilec", "bdb")


def stop(frame: FrameType) -> None:
    """Stop before the next line of a frame."""
    Stepper().set_trace(frame)
