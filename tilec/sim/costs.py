"""Exact counts of what a profiler measures: passes over the banks, sectors, bytes, instructions, matrix products.

Shared memory has 32 banks of 4 bytes. A request of a warp takes as many passes as there are distinct words in the fullest bank; 64- and
128-bit accesses are taken per half and per quarter warp (CUDA C++ Programming Guide, "Shared Memory"; ldmatrix reads a matrix, 8 rows of
16 bytes, at a time). Global memory moves sectors of 32 bytes: a request costs the distinct ones that its active lanes touch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.sim.decode import Op, Program
from tilec.sim.memory import Access
from tilec.sim.report import LineCost, Report

Array = np.ndarray[Any, Any]
BANKS_BYTES = 128  # one pass over the banks
SECTOR = 32
_CLASSES = {
    "integer": "integer", "floating": "float", "conversion": "conversion", "atomics": "atomic", "warp": "warp", "asynchronous": "async",
    "control": "control", "runtime": "control", "memory": "memory", "matrix": "matrix move",
}  # fmt: skip


def class_of(op: Op) -> str:
    """The class under which an instruction is counted."""
    if op.row.opcode == "mma" or op.row.pattern.startswith("wmma.mma"):
        return "mma"
    if op.row.role == "bar":
        return "barrier"
    name = _CLASSES.get(op.row.make.__module__.rsplit(".", 1)[-1], "other")
    return (op.mods.get("space") or "generic").split("::")[0] if name == "memory" else name


class Costs:
    """Observes the memory accesses of a run, wave after wave."""

    def __init__(self, program: Program):
        self.program = program
        self.lines = [LineCost(op.site) for op in program.ops]

    def access(self, a: Access) -> None:
        """Count one instruction's requests."""
        if a.space.name not in ("shared", "global", "local"):
            return
        line = self.lines[a.at]
        line.space = line.space or a.space.name
        index, mask, times = a.index, a.mask, 1
        if a.space.name == "shared" and mask is None and a.address.shape[0] == 1:
            index, times = a.address, self.B  # every block does the same
        rows = self.B // times
        index = np.broadcast_to(index, (rows, self.T)).reshape(-1, 32)
        active: Array = np.ones(index.shape, bool) if mask is None else np.broadcast_to(mask, (rows, self.T)).reshape(-1, 32)
        some = active.any(1)
        if not some.all():
            index, active = index[some], active[some]
        if not len(index):
            return
        if a.kind != "async":  # a cp.async is counted as what it reads; to its writes the rule of stores of its size applies
            line.accesses += len(index) * times
            line.bytes += int(active.sum()) * a.size * times
        # Idle lanes repeat the first active one, which adds nothing.
        first = np.take_along_axis(index, active.argmax(1)[:, None], 1)
        index = np.where(active, index, first)
        if a.space.name == "shared":
            ways, ideal = passes(index, active, a.size)
            line.ways += ways * times
            line.ideal_ways += ideal * times
        else:
            ordered = np.sort(index, axis=1)
            line.sectors += len(index) + int((np.diff(ordered // SECTOR, axis=1) != 0).sum())
            distinct = 1 + (np.diff(ordered, axis=1) != 0).sum(1)
            line.ideal_sectors += int(np.ceil(distinct * a.size / SECTOR).sum())

    def wave(self, machine: Any) -> None:
        """Add the instructions that a wave issued."""
        for block in self.program.blocks:
            n = machine.block_counts[block.number] * machine.B * machine.W + machine.issue_counts[block.number]
            for line in self.lines[block.start : block.stop]:
                line.issued += n

    def begin(self, machine: Any) -> None:
        self.B, self.T = machine.shape

    def finish(self, report: Report) -> None:
        for op, line in zip(self.program.ops, self.lines, strict=True):
            if line.issued == 0:
                continue
            kind = class_of(op)
            report.classes[kind] = report.classes.get(kind, 0) + line.issued
            if kind == "mma":
                line.mma = line.issued
                m, n, k = shape_of(op)
                line.flops = 2 * m * n * k * line.issued
            report.costs.append(line)


def shape_of(op: Op) -> tuple[int, int, int]:
    """m, n, k of a matrix product."""
    name = op.mods.get("shape") or "m8n8k4"
    m, rest = name[1:].split("n")
    n, k = rest.split("k")
    return int(m), int(n), int(k)


def passes(index: Array, active: Array, size: int) -> tuple[int, int]:
    """Passes over the banks for byte indices [warps, 32], and the fewest that accesses of this size take."""
    unit = max(size, 4)
    lanes = min(32, BANKS_BYTES // unit)  # that are taken together
    banks = BANKS_BYTES // unit
    cells: Array = index.reshape(-1, lanes) // unit
    busy: Array = active.reshape(-1, lanes)
    working = busy.any(1)
    cells, busy = cells[working], busy[working]
    first = np.take_along_axis(cells, busy.argmax(1)[:, None], 1)
    cells = np.where(busy, cells, first)
    ordered = np.sort(cells, axis=1)
    fresh = np.ones(ordered.shape, bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.arange(len(cells))[:, None] * banks + ordered % banks
    counts = np.bincount(group[fresh], minlength=len(cells) * banks).reshape(-1, banks)
    return int(counts.max(1).sum()), len(cells)
