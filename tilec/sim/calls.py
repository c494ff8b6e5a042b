"""Calls of recursive device functions. Other functions are inlined; a recursive one has one body, and every thread its own stack of
what the body's registers and `.param` variables held before the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tilec.sim.decode import Op, Recursive, Slot

DEEPEST = 512
Mask = np.ndarray[Any, Any]


@dataclass
class Frame:
    """What the calls of one function at one depth saved, for all threads."""

    registers: dict[int, Any]
    bytes: Mask  # (B * T, size of the function's variables)
    back: Mask  # (B, T): the block to go on with
    op: Mask  # (B, T): number of the call


class Calls:
    """The stacks of all threads of a wave."""

    def __init__(self, machine: Any):
        self.M = machine
        self.depth = np.zeros(machine.shape, np.int32)
        self.frames: dict[tuple[str, int], Frame] = {}
        space = machine.memory.local
        pitch = machine.memory.local_pitch
        self.arrays = [a.reshape(-1, pitch)[: self.depth.size] for a in (space.bytes, space.state) if a is not None and a.size >= pitch]

    def frame(self, f: Recursive, depth: int) -> Frame:
        key = (f.name, depth)
        if key not in self.frames:
            shape = self.M.shape
            saved = np.zeros((self.depth.size, (f.bytes[1] - f.bytes[0]) * len(self.arrays)), np.uint8)
            self.frames[key] = Frame({}, saved, np.zeros(shape, np.int32), np.zeros(shape, np.int32))
        return self.frames[key]

    def moved(self, rows: Mask, pairs: list[tuple[Slot, Slot]]) -> list[tuple[Mask, int, Mask]]:
        """Contents of the first slot of each pair, with where they go: (array, offset, bytes)."""
        out = []
        for a in self.arrays:
            for source, to in pairs:
                size = min(source.variable.size or 0, to.variable.size or 0)
                out.append((a, to.offset, a[rows, source.offset : source.offset + size].copy()))
        return out

    def put(self, rows: Mask, moved: list[tuple[Mask, int, Mask]]) -> None:
        for a, offset, content in moved:
            a[rows, offset : offset + content.shape[1]] = content

    def call(self, number: int, following: int, mask: Mask) -> None:
        """The threads of `mask` call; they go on at `following`."""
        M = self.M
        op: Op = M.unit.program.ops[number]
        f: Recursive = op.mods["callee"]
        crossing = [i for i in range(*f.registers) if i in M.unit.analysis.crossing]
        low, high = f.bytes
        for depth in np.unique(self.depth[mask]):
            some = mask & (self.depth == depth)
            if depth >= DEEPEST:
                M.trap(number, some, f"{f.name} calls itself {DEEPEST} times deep")
            frame = self.frame(f, int(depth))
            for i in crossing:
                frame.registers[i] = np.where(some, M.R[i], frame.registers.get(i, M.R[i]))
            rows = np.flatnonzero(some)
            for k, a in enumerate(self.arrays):
                frame.bytes[rows, k * (high - low) : (k + 1) * (high - low)] = a[rows, low:high]
            frame.back[some] = following
            frame.op[some] = number
        self.depth = self.depth + mask
        rows = np.flatnonzero(mask)
        self.put(rows, self.moved(rows, op.mods["arguments"]))
        M.join(op.targets[0].block, mask)

    def back(self, number: int, mask: Mask) -> None:
        """The threads of `mask` return from the function."""
        M = self.M
        f: Recursive = M.unit.program.ops[number].mods["callee"]
        low, high = f.bytes
        self.depth = self.depth - mask
        for depth in np.unique(self.depth[mask]):
            here = mask & (self.depth == depth)
            frame = self.frame(f, int(depth))
            for call in np.unique(frame.op[here]):
                some = here & (frame.op == call)
                rows = np.flatnonzero(some)
                results = self.moved(rows, M.unit.program.ops[int(call)].mods["results"])
                for i, saved in frame.registers.items():
                    M.R[i] = np.where(some, saved, M.R[i])
                for k, a in enumerate(self.arrays):
                    a[rows, low:high] = frame.bytes[rows, k * (high - low) : (k + 1) * (high - low)]
                self.put(rows, results)
                for following in np.unique(frame.back[some]):
                    M.join(int(following), some & (frame.back == following))
