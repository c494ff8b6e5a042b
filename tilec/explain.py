"""Why a kernel became what it became: its source, with what the compiler made of each line, what that costs, and why it is not better.

Nothing here decides or guesses. Instructions and registers are read from the machine code, by its line table; conversions from the IR,
where they remember the lines that disagree; reasons are those of the rules themselves (`tilec.ir.notes`); costs are counted by running the
kernel's example in tilec.sim.
"""

from __future__ import annotations

import linecache
import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tilec.backend import sass
from tilec.backend.target import Target
from tilec.errors import Loc
from tilec.ir.core import Function
from tilec.ir.notes import NOT_ALLOWED, Note
from tilec.ir.ops.shape import ConvertLayout

SHOWN = ("LD", "ST", "RED", "ATOM", "BAR", "DEPBAR", "SHFL", "MUFU", "F2F", "MOVM")  # what lines are read for; all the rest is arithmetic


@dataclass(frozen=True)
class Conversion:
    """A tile moved from one layout to another: from the line that made it so to the one that wants it otherwise, and the expressions there, with
    line and column."""

    made: int
    wanted: int
    tile: str  # its type without layout
    how: str  # "registers", "shared memory", or how many shuffles
    made_at: str = ""
    wanted_at: str = ""


@dataclass(frozen=True)
class Choice:
    """A choice among layouts, or of how warps share out a product: for each offer its words, the parts of its cost, and their weight, which adds
    them up to cycles. The least was taken, the first of equals."""

    at: str  # the expression
    offers: list[tuple[str, str, float]]
    taken: int

    def __str__(self) -> str:
        taken = self.offers[self.taken]
        others: dict[str, list[str]] = {"as dear": [], "dearer": [], NOT_ALLOWED: []}
        for i, (words, cost, weight) in enumerate(self.offers):
            if i != self.taken and cost == NOT_ALLOWED:
                others[NOT_ALLOWED].append(words)
            elif i != self.taken:
                others["dearer" if round(weight) > round(taken[2]) else "as dear"].append(priced(words, cost, weight))
        return "; ".join([f"{self.at}: {priced(*taken)}", *(f"{how}: {'; '.join(said)}" for how, said in others.items() if said)])


def priced(words: str, cost: str, weight: float) -> str:
    """An offer, and its weight with the parts of its cost."""
    return f"{words}, {cost}" if cost == NOT_ALLOWED else f"{words}, {weight:.0f} cycles or so ({cost})"


@dataclass
class Line:
    """What became of one line. Costs are sums over the simulated run, and None where it was not simulated."""

    number: int
    text: str
    instructions: dict[str, int] = field(default_factory=dict)  # of the machine code, by opcode
    registers: int = 0  # that hold something while the line's instructions run, at most
    vector_bytes: list[int] = field(default_factory=list)  # that a thread moves at once, for each access of the line in order
    conversions: list[Conversion] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    why: list[str] = field(default_factory=list)  # for each access and product, the rules that refused a better instruction
    issued: int | None = None  # instructions of PTX, counted once per warp
    sectors: int | None = None  # of 32 bytes, of global memory
    ideal_sectors: int | None = None
    passes: int | None = None  # over the banks of shared memory
    ideal_passes: int | None = None

    @property
    def conflict_ways(self) -> float | None:
        """Passes over the banks for each one that is needed: 1.0 is free of conflicts. None without accesses to shared memory."""
        return self.passes / self.ideal_passes if self.passes and self.ideal_passes else None

    @property
    def told(self) -> bool:
        """Whether anything stands below it in the text."""
        return len(shown(self)) > 1


@dataclass
class Explanation:
    """A kernel for one architecture, line by line; as text by `str`, as plain data by `json`."""

    kernel: str
    arch: str
    file: str
    registers: int
    shared_bytes: int
    threads: int
    lines: dict[int, Line]
    elsewhere: Line  # what no line of the kernel has, as the code before the first, or functions of other files
    notices: list[str]
    simulated: str  # what was run, or why nothing was

    def json(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes."""
        return asdict(self)

    def __str__(self) -> str:
        head = f"{self.kernel} for {self.arch}: {self.threads} threads, {self.registers} registers, {self.shared_bytes} bytes of shared memory"
        lines = [*self.lines.values(), *[self.elsewhere] * self.elsewhere.told]
        return "\n".join([head, f"simulated: {self.simulated}", *self.notices, "", *(text for line in lines for text in shown(line))])


def shown(line: Line) -> list[str]:
    """A line of the source, and below it what is to be said of it."""
    out = [f"{line.number:4d} | {line.text}".rstrip()]
    facts = []
    named = {k: n for k, n in line.instructions.items() if sass.is_mma(k) or k.startswith(SHOWN)}
    if line.instructions:
        others = sum(line.instructions.values()) - sum(named.values())
        facts.append(", ".join([*(f"{n} {k}" for k, n in named.items()), *[f"{others} other"] * bool(others)]))
        facts.append(f"{line.registers} registers live")
    if line.vector_bytes:
        facts.append(f"{' and '.join(map(str, line.vector_bytes))} bytes at a time")
    if line.sectors:
        facts.append(f"{line.sectors} sectors" + (f" ({line.ideal_sectors} would do)" if line.ideal_sectors != line.sectors else ""))
    if line.conflict_ways is not None:
        facts.append(f"{line.conflict_ways:.2f} ways")
    notes = [f"layout changes between {c.made_at} and {c.wanted_at}, of {c.tile}, through {c.how}" for c in line.conversions]
    notes += [*map(str, line.choices), *line.why]
    return out + [f"     |   {'; '.join(facts)}"] * bool(facts) + [f"     |   - {text}" for text in notes]


def explanation(
    name: str, span: tuple[str, int, int], compiled: Any, stages: dict[str, Function], notes: list[Note], notices: list[str], report: Any, simulated: str
) -> Explanation:
    """Put together what the compiler said, what the machine code is, and what the run counted. `span` is the kernel's file, first and last line."""
    source, first, last = span
    lines = {n: Line(n, linecache.getline(source, n).rstrip("\n")) for n in range(first, last + 1)}
    path = os.path.abspath(source)

    elsewhere = Line(0, "(no line of the kernel)")

    def at(file: str, number: int) -> Line:
        return lines.get(number, elsewhere) if os.path.abspath(file) == path else elsewhere

    add_instructions(at, compiled.cubin)
    add_conversions(at, stages["layouts"], compiled.target)
    for note in dict.fromkeys(notes):
        line = at(outermost(note.loc).file, outermost(note.loc).line)
        if note.offers:
            line.choices.append(Choice(excerpt(note.loc), list(note.offers), note.taken))
        elif note.text:
            line.why.append(f"{excerpt(note.loc)}: {note.text}")
        else:
            line.vector_bytes.append(note.vector_bytes)
    if report is not None:
        add_costs(at, report)
    taken = compiled.resources
    return Explanation(name, compiled.target.name, source, taken.registers, taken.shared_bytes, taken.threads, lines, elsewhere, notices, simulated)


def outermost(loc: Loc) -> Loc:
    """The kernel's own line, of what stands in a function that was inlined there."""
    return outermost(loc.caller) if loc.caller else loc


def excerpt(loc: Loc) -> str:
    """The expression at a place, or the first line of a statement without its colon, shortened."""
    text = linecache.getline(loc.file, loc.line).rstrip("\n")[loc.column - 1 : loc.end_column - 1 if loc.end_column else None].rstrip(" :")
    return text if len(text) <= 60 else text[:57] + "..."


def placed(loc: Loc) -> str:
    """The expression at a place, with line and column of the kernel's own line."""
    return f"`{excerpt(loc)}` (line {outermost(loc).line}, column {outermost(loc).column})"


def add_instructions(at: Any, cubin: bytes) -> None:
    live = sass.live_registers(cubin)
    for i in sass.disassemble(cubin, lineinfo=True).instructions:
        if i.issued:
            line = at(*(i.place or ("", 0)))
            line.instructions[i.opcode] = line.instructions.get(i.opcode, 0) + 1
            line.registers = max(line.registers, live.get(i.address, 0))


def add_conversions(at: Any, function: Function, target: Target) -> None:
    for op in function.walk():
        if isinstance(op, ConvertLayout) and op.because is not None and op.layout is not None:
            made, wanted = map(outermost, op.because)
            line = at(wanted.file, wanted.line)
            way = target.conversions(op.x.type, op.layout)[0]
            how = f"{way.cost.shuffles / (op.layout.threads // 32):.0f} shuffles" if way.how == "shuffles" else way.how
            found = Conversion(made.line, wanted.line, str(op.result.type.logical()), how, *map(placed, op.because))
            if found not in line.conversions:
                line.conversions.append(found)


def add_costs(at: Any, report: Any) -> None:
    totals: dict[tuple[str, int], Counter[str]] = {}
    for cost in report.costs:
        count = totals.setdefault((cost.site.file, cost.site.line), Counter())
        count.update(issued=cost.issued)
        if cost.space == "shared":
            count.update(passes=cost.ways, ideal_passes=cost.ideal_ways)
        elif cost.space == "global":
            count.update(sectors=cost.sectors, ideal_sectors=cost.ideal_sectors)
    for place, count in totals.items():
        line = at(*place)
        for name in ("issued", "sectors", "ideal_sectors", "passes", "ideal_passes"):
            setattr(line, name, (getattr(line, name) or 0) + count[name])
