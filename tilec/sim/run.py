"""`run_ptx`: from text and arguments to a report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tilec.errors import TileError, require
from tilec.sim.checks import Checker
from tilec.sim.codegen import Unit
from tilec.sim.costs import Costs
from tilec.sim.decode import Const, Op, Program, Slot, Symbol, decode
from tilec.sim.machine import Machine, Stop
from tilec.sim.memory import RED_ZONE, UNWRITTEN, WRITTEN, Access, Memory, Space
from tilec.sim.parse import Imm, parse
from tilec.sim.report import Finding, Report, Site
from tilec.sim.values import HEAP

RESIDENT = 1 << 16  # threads that run at once if blocks may wait for one another
TOGETHER = 1 << 13  # threads that run at once otherwise: more than these outgrow the caches


@lru_cache(32)
def load(text: str, entry: str, tainted: bool = False) -> Unit:
    """Parse, decode and compile a kernel; kept for the next run of the same text. Raises Unsupported and TileError.

    tainted: the code also follows the bits that nothing wrote.
    """
    return Unit(load(text, entry).program, True) if tainted else Unit(decode(parse(text), entry))


def run_ptx(
    ptx_text: str,
    entry: str,
    grid: Any,
    block: Any,
    args: Any,
    shared_bytes: int = 0,
    *,
    checks: bool = True,
    costs: bool = True,
    exact: str | None = None,
    seed: int | None = None,
    max_steps: int = 1_000_000,
    resident: int | None = None,
) -> Report:
    """Run a kernel of a PTX text on the CPU, and judge it.

    grid, block: tuples of 1 to 3. args: one per kernel parameter: NumPy arrays (device buffers, updated in place), numbers, bytes (for
    parameters of struct type), or None (a null pointer). shared_bytes: dynamic shared memory per block.

    checks: look for races, out-of-bounds accesses and the rest of `report.KINDS`. costs: count bank conflicts, sectors, instructions.
    exact: None, or "sm_80" or "sm_90" for these tensor cores' own arithmetic, bit for bit. seed: run warps in a random order.
    max_steps: basic blocks after which a run is taken for endless. resident: threads that run at once.

    Returns a `Report`. Raises `Unsupported` before anything runs for what is not modelled, `TileError` for arguments that don't fit.
    """
    unit = load(ptx_text, entry)
    program = unit.program
    sizes = dims(grid, "grid"), dims(block, "block")
    threads = int(np.prod(sizes[1]))
    require(1 <= threads <= 1024, f"a block has 1 to 1024 threads, not {threads}")
    want = program.directives.get("reqntid")
    if want:
        want = want + [1] * (3 - len(want))
        require(tuple(want) == sizes[1], f"{entry} needs blocks of {tuple(want)} threads, got {sizes[1]}")
    require(len(args) == len(program.params), f"{entry} has {len(program.params)} parameters, got {len(args)} arguments")
    T = -(-threads // 32) * 32
    total = int(np.prod(sizes[0]))
    per_wave = max(1, (resident or (RESIDENT if communicates(program) else TOGETHER)) // T)

    def attempt(unit: Unit) -> tuple[Launch, Checker | None, Costs | None]:
        launch = Launch(unit, Report(entry, checked=checks), checks)
        launch.fill(args)
        rng = None if seed is None else np.random.default_rng(seed)
        checker = Checker(program, launch) if checks else None
        counter = Costs(program) if costs else None
        order = np.arange(total) if rng is None else rng.permutation(total)
        with np.errstate(all="ignore"):
            try:
                for start in range(0, total, per_wave):
                    launch.wave(order[start : start + per_wave], sizes, T, shared_bytes, checker, counter, rng, exact, max_steps)
            except Stop:
                pass
        return launch, checker, counter

    suspicious = checks and unit.undefined
    launch, checker, counter = attempt(load(ptx_text, entry, True) if suspicious else unit)
    if checker is not None and checker.suspects and not suspicious:  # once more, following the bits that nothing wrote
        launch, checker, counter = attempt(load(ptx_text, entry, True))
    launch.copy_back()
    if counter is not None:
        counter.finish(launch.report)
    return launch.report


def dims(x: Any, what: str) -> tuple[int, int, int]:
    """1 to 3 numbers as three."""
    values = tuple(int(v) for v in (x if isinstance(x, (tuple, list)) else (x,)))
    require(1 <= len(values) <= 3 and all(v > 0 for v in values), f"{what} must be 1 to 3 positive numbers, got {x}")
    padded = values + (1, 1)
    return padded[0], padded[1], padded[2]


def communicates(program: Program) -> bool:
    """Whether a block may see what another one writes: then all that fit must run at once."""
    return any(
        op.row.opcode in ("atom", "red", "membar", "fence") or op.mods.get("order") in ("volatile", "relaxed", "acquire", "release", "mmio")
        for op in program.ops
    )


@dataclass
class Buffer:
    """An argument's array and where it lies in the heap."""

    array: Any
    offset: int
    number: int  # of the first parameter that it is given for


class Launch:
    """Memory and report of one run."""

    def __init__(self, unit: Unit, report: Report, checks: bool):
        self.unit, self.report, self.checks = unit, report, checks
        self.buffers: list[Buffer] = []
        self.seen: dict[tuple[Any, ...], Finding] = {}

    # Arguments

    def fill(self, args: Any) -> None:
        """Lay out the heap: statics, then the arrays, each between red zones."""
        program = self.unit.program
        at = -(-(program.static_bytes + RED_ZONE) // 256) * 256
        known: dict[tuple[int, int], int] = {}
        values: list[bytes] = []
        for number, (variable, arg) in enumerate(zip(program.params, args, strict=True)):
            if isinstance(arg, np.ndarray) and arg.ndim > 0:
                key = (arg.__array_interface__["data"][0], arg.nbytes)
                if key not in known:
                    known[key] = at
                    self.buffers.append(Buffer(arg, at, number))
                    at = -(-(at + arg.nbytes + RED_ZONE) // 256) * 256
                values.append((HEAP + known[key]).to_bytes(8, "little"))
            else:
                values.append(scalar(arg, variable.type, variable.size or 0, variable.name))
        self.heap = heap = Space("global", at + RED_ZONE, None, HEAP, self.checks)
        for slot in program.statics:
            self.static(slot)
        for b in self.buffers:
            raw = np.ascontiguousarray(b.array).view(np.uint8).reshape(-1) if b.array.size else np.zeros(0, np.uint8)
            heap.bytes[b.offset : b.offset + raw.size] = raw
            if heap.state is not None:
                heap.state[b.offset : b.offset + raw.size] = WRITTEN
        self.params = bytearray(program.param_bytes)
        for offset, packed, variable in zip(program.param_offsets, values, program.params, strict=True):
            size = variable.size or 0
            self.params[offset : offset + size] = packed[:size]

    def static(self, slot: Slot) -> None:
        """A module variable in global or const memory; without initializer it is zero."""
        v = slot.variable
        size = v.size or 0
        if self.heap.state is not None:
            self.heap.state[slot.offset : slot.offset + size] = WRITTEN if not v.extern else UNWRITTEN
        at = slot.offset
        width = size // max(1, size // {"f32": 4, "f64": 8}.get(v.type, max(1, int(v.type[1:]) // 8)))
        for x in slot.init:
            if isinstance(x, Symbol):
                value = HEAP + x.variable.offset + x.offset
            elif isinstance(x, (Imm, Const)):
                value = x.value
                if x.kind == "f64" and width == 4:
                    value = int(np.float32(np.uint64(value).view(np.float64)).view(np.uint32))
            else:
                continue
            self.heap.bytes[at : at + width] = np.frombuffer((value & ((1 << 8 * width) - 1)).to_bytes(width, "little"), np.uint8)
            at += width

    def copy_back(self) -> None:
        for b in self.buffers:
            if b.array.size and b.array.flags.writeable:
                raw = self.heap.bytes[b.offset : b.offset + b.array.nbytes]
                b.array[...] = raw.view(b.array.dtype).reshape(b.array.shape)

    # Running

    def wave(
        self, blocks: Any, sizes: Any, T: int, shared_bytes: int, checker: Any, counter: Any, rng: Any, exact: str | None, max_steps: int
    ) -> None:
        program = self.unit.program
        total = program.dynamic_offset + shared_bytes if program.dynamic else max(program.shared_bytes, shared_bytes)
        memory = Memory(self.heap, total, shared_bytes, program.local_bytes, bytes(self.params), len(blocks), T, self.checks)
        machine = Machine(self.unit, memory, sizes[0], sizes[1], blocks, rng, self.record, max_steps)
        machine.exact = exact
        memory.checker, memory.costs, memory.fault = checker, counter, self.fault
        machine.checker = checker
        for observer in (checker, counter):
            if observer is not None:
                observer.begin(machine)
        if self.unit.taint is not None:
            self.unit.taint.begin()
        try:
            machine.run()
        except IndexError:
            if not any(f.kind == "bounds" for f in self.report.findings):
                raise
        finally:
            self.report.output += "".join(machine.output)
            self.report.steps += machine.steps
            if counter is not None:
                counter.wave(machine)

    def fault(self, access: Access) -> None:
        op = self.unit.program.ops[access.at]
        self.record("bounds", f"{access.kind} far outside of {access.space.name} memory", op)
        raise Stop

    def whereabouts(self, space: str, address: int, memory: Memory) -> str:
        """Where an address out of bounds lies, in words; `address` is relative to its space."""
        if space != "global":
            size = {"shared": memory.shared_bytes, "local": memory.local_bytes, "param": len(self.params)}[space]
            return f"at offset {address} of {size} bytes of {space} memory"
        names = [(b.offset, b.array.nbytes, f"argument {b.number}") for b in self.buffers]
        names += [(s.offset, s.variable.size or 0, s.variable.name) for s in self.unit.program.statics]
        if not names:
            return "in global memory, where nothing is"
        start, size, name = min(names, key=lambda n: max(n[0] - address, address - n[0] - n[1]))
        if address < start:
            return f"{start - address} bytes before the start of {name} ({size} bytes)"
        return f"{address - start - size} bytes behind the end of {name} ({size} bytes)"

    def record(
        self, kind: str, message: str, op: Op, other: Op | None = None, hint: str = "", count: int = 1, extra: Site | None = None
    ) -> None:
        """Add a finding, or count it if these places have one of this kind."""
        key = (kind, op.site, other.site if other else extra)
        found = self.seen.get(key)
        if found is not None:
            found.count += count
            return
        found = Finding(kind, message, op.site, other.site if other else extra, hint, count)
        self.seen[key] = found
        self.report.findings.append(found)


def scalar(x: Any, type_: str, size: int, name: str) -> bytes:
    """A kernel argument that is no array, as the bytes of its parameter."""
    if x is None:
        return bytes(size)
    if isinstance(x, (bytes, bytearray)):
        require(len(x) == size, f"parameter {name} has {size} bytes, got {len(x)}")
        return bytes(x)
    if isinstance(x, (np.generic, np.ndarray)) and not isinstance(x, np.bool_):
        if x.nbytes == size and not (type_[0] == "f" and x.dtype.kind in "iu"):
            return x.tobytes()
        x = x.item()
    if type_[0] == "f" or isinstance(x, float):
        require(size in (4, 8), f"parameter {name} takes {size} bytes, not a float")
        return np.dtype("f4" if size == 4 else "f8").type(x).tobytes()
    if not isinstance(x, (int, bool)):
        raise TileError(f"parameter {name}: {type(x).__name__} is neither array, number, bytes nor None")
    return (int(x) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
