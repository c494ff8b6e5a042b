"""What a run found and counted: `Report`, `Finding`, `Site`, and the errors `Unsupported` and `SimulationError`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tilec.errors import Code, Loc, TileError, rendered


class Unsupported(TileError):
    """PTX that the simulator does not model; raised before anything runs. `opcodes` names every instruction concerned."""

    def __init__(self, message: str, opcodes: tuple[str, ...] = (), **kw: Any):
        super().__init__(message, **kw)
        self.opcodes = opcodes


@dataclass(frozen=True)
class Site:
    """An instruction's place: the line of the PTX text, and the kernel's own file and line where `.loc` gives them."""

    ptx_line: int
    text: str
    file: str = ""
    line: int = 0
    place: Loc | None = field(default=None, compare=False)  # the same with columns and calls, where somebody knows them

    def __str__(self) -> str:
        source = f"{self.file}:{self.line}, " if self.file else ""
        return f"{source}{self.in_ptx}"

    @property
    def in_ptx(self) -> str:
        return f"PTX line {self.ptx_line}: {self.text}"

    @property
    def loc(self) -> Loc | None:
        """The place in the kernel's source, if it is known."""
        return self.place or (Loc.of_line(self.file, self.line) if self.file else None)


@dataclass
class Finding:
    """One defect, with every place that takes part. `kind` is one of KINDS; `count` says how often it was seen."""

    kind: str
    message: str
    at: Site
    other: Site | None = None
    hint: str = ""
    count: int = 1

    def __str__(self) -> str:
        often = f" ({self.count} times)" if self.count > 1 else ""
        other = self.other and self.other.loc
        notes = [("and here", other)] if other else []
        text = rendered(f"{self.kind}: {self.message}{often}", self.code, self.at.loc, self.hint, notes)
        places = [f"  at {self.at.in_ptx}", *([f"  and {self.other.in_ptx}"] if self.other else [])]
        return "\n".join([text, *places])


    @property
    def code(self) -> Code:
        """The kind of error that it is."""
        return Code.ASSERTION if self.message.startswith("assertion failed") else CODES[self.kind]


KINDS = {
    "race": "two threads touch the same bytes, one of them writes, and nothing orders them",
    "async": "bytes of a cp.async are touched before the wait that makes them visible",
    "bounds": "an access outside every allocation of its space",
    "misaligned": "an address that is no multiple of the access's size",
    "uninitialized": "a value that nothing wrote reaches an address, a branch or a store",
    "divergence": "a barrier or a warp-wide instruction that some of its threads do not reach",
    "barrier": "a barrier with a count to which a thread comes twice in one round, or more warps than it counts",
    "shuffle": "a lane reads the register of a lane that does not take part",
    "deadlock": "threads wait for one another for ever",
    "trap": "the kernel stopped itself by trap or a failed assertion",
    "limit": "the run was cut short",
}
CODES = {
    "race": Code.RACE, "async": Code.WAIT, "bounds": Code.OUT_OF_BOUNDS, "misaligned": Code.UNALIGNED, "uninitialized": Code.UNINITIALIZED,
    "divergence": Code.DIVERGENCE, "barrier": Code.NAMED_BARRIER, "shuffle": Code.DIVERGENCE, "deadlock": Code.DEADLOCK, "trap": Code.STOPPED,
    "limit": Code.STOPPED,
}  # fmt: skip


@dataclass
class LineCost:
    """Counts of one instruction (or, summed, of one source line). Instructions are counted once per warp that issues them."""

    site: Site
    issued: int = 0
    accesses: int = 0  # warp-wide requests to memory
    ways: int = 0  # shared memory: passes over the banks (1 per request is free of conflicts; 2 and 4 for 64 and 128 bit)
    ideal_ways: int = 0
    sectors: int = 0  # global memory: 32-byte sectors touched
    ideal_sectors: int = 0
    bytes: int = 0
    space: str = ""
    mma: int = 0
    flops: int = 0


@dataclass
class Report:
    """The result of `run_ptx`. `findings` holds every defect; the properties below are made for assertions in tests."""

    entry: str
    findings: list[Finding] = field(default_factory=list)
    costs: list[LineCost] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)  # instructions issued (per warp), by class
    output: str = ""  # what the kernel printed
    checked: bool = True
    steps: int = 0
    locate: Callable[[], None] | None = field(default=None, repr=False, compare=False)  # asked once: puts sites in their places in the source

    def located(self) -> Report:
        """The same, its sites in their places."""
        locate, self.locate = self.locate, None
        if locate is not None:
            locate()
        return self

    def of(self, kind: str) -> list[Finding]:
        """Findings of one kind (see KINDS)."""
        return [f for f in self.findings if f.kind == kind]

    @property
    def races(self) -> list[Finding]:
        """Races and reads of bytes whose asynchronous copy was not waited for."""
        return [f for f in self.findings if f.kind in ("race", "async")]

    @property
    def shared_conflicts(self) -> int:
        """Passes over the banks of shared memory beyond the fewest possible, summed over all warps."""
        return sum(c.ways - c.ideal_ways for c in self.costs)

    @property
    def global_efficiency(self) -> float:
        """Bytes asked for over bytes of the sectors touched, at most 1.0; 1.0 if global memory was not touched."""
        touched = sum(c.sectors for c in self.costs)
        return sum(c.ideal_sectors for c in self.costs) / touched if touched else 1.0

    @property
    def mma(self) -> int:
        """Matrix instructions issued."""
        return sum(c.mma for c in self.costs)

    @property
    def instructions(self) -> int:
        """Instructions issued, counted per warp."""
        return sum(c.issued for c in self.costs)

    def by_line(self) -> dict[tuple[str, int], LineCost]:
        """Costs summed by source line (file, line); without `.loc`, by PTX line under file ""."""
        out: dict[tuple[str, int], LineCost] = {}
        for c in self.located().costs:
            key = (c.site.file, c.site.line) if c.site.file else ("", c.site.ptx_line)
            total = out.setdefault(key, LineCost(c.site))
            for name in ("issued", "accesses", "ways", "ideal_ways", "sectors", "ideal_sectors", "bytes", "mma", "flops"):
                setattr(total, name, getattr(total, name) + getattr(c, name))
            total.space = total.space or c.space
        return out

    def __str__(self) -> str:
        self.located()
        lines = [f"{self.entry}: " + (f"{len(self.findings)} findings" if self.findings else "no findings")]
        lines += [str(f) for f in self.findings]
        if self.costs:
            lines.append(f"instructions per warp: {self.instructions}, of them mma {self.mma}")
            lines.append("  " + ", ".join(f"{k} {v}" for k, v in sorted(self.classes.items(), key=lambda kv: -kv[1])))
            lines.append(f"global efficiency {self.global_efficiency:.2f}, shared conflicts {self.shared_conflicts}")
            rows = [c for c in self.costs if c.accesses]
            rows.sort(key=lambda c: -(c.ways - c.ideal_ways + c.sectors - c.ideal_sectors))
            for c in rows[:10]:
                what = f"{c.ways / c.accesses:.2f} ways" if c.space == "shared" else f"{c.sectors / c.accesses:.2f} sectors"
                lines.append(f"  {c.accesses:8d} x {what:14s} {c.site}")
        if self.output:
            lines += ["output:", self.output]
        return "\n".join(lines)
