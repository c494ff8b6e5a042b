"""Machine code, read: what nvdisasm says of a cubin as a list of instructions, with counts and loops.

A sample, from `nvdisasm -c -gi`, of what is parsed:

    .text.kernel:
        //## File "/home/me/kernel.py", line 12
            /*0000*/              @!P0 LDG.E.128 R4, [R2.64] ;
    .L_x_1:
            /*0010*/                   BRA `(.L_x_1);
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tilec.backend import tools
from tilec.errors import TileError, require


@dataclass(frozen=True)
class Instruction:
    """One machine instruction: `opcode` with its modifiers ("LDG.E.128"), `place` in the source as (file, line), `target` of a branch."""

    address: int
    predicate: str
    opcode: str
    operands: str
    place: tuple[str, int] | None = None
    target: int | None = None

    @property
    def name(self) -> str:
        """The opcode without modifiers."""
        return self.opcode.split(".")[0]

    @property
    def issued(self) -> bool:
        """False for padding, and for what is predicated off for good."""
        return self.name != "NOP" and self.predicate != "@!PT"

    def __str__(self) -> str:
        return " ".join(p for p in (self.predicate, self.opcode, self.operands) if p)


@dataclass(frozen=True)
class Loop:
    """The instructions from a branch's target to the branch back to it, both included."""

    first: int
    last: int
    instructions: tuple[Instruction, ...] = field(repr=False)

    def counts(self) -> Counter[str]:
        """As `Sass.counts`."""
        return counts(self.instructions)

    def holds(self, other: Loop) -> bool:
        return self is not other and self.first <= other.first and other.last <= self.last


@dataclass(frozen=True)
class Sass:
    """The machine code of one kernel."""

    name: str
    instructions: tuple[Instruction, ...]
    text: str = field(repr=False)  # as the disassembler wrote it

    def counts(self) -> Counter[str]:
        """How often each opcode stands in the code, by its full name, without padding."""
        return counts(self.instructions)

    def find(self, pattern: str) -> list[Instruction]:
        """Issued instructions whose opcode matches a regular expression from its start, such as r"LDG\\.E\\.128"."""
        return [i for i in self.instructions if i.issued and re.match(pattern, i.opcode)]

    @cached_property
    def loops(self) -> list[Loop]:
        """All loops, by their first instruction. Branches back to one place are one loop; a jump to itself, as after EXIT, is none."""
        last: dict[int, int] = {}
        for i in self.instructions:
            if i.target is not None and i.target < i.address:
                last[i.target] = max(i.address, last.get(i.target, 0))
        return [Loop(a, b, tuple(i for i in self.instructions if a <= i.address <= b)) for a, b in sorted(last.items())]

    def hot_loop(self) -> Loop | None:
        """Where the time likely goes: of the loops with none inside, the one with most tensor core instructions, the first of equals; if
        there is none, the longest."""

        def weight(loop: Loop) -> tuple[int, int]:
            products = sum(is_mma(i.opcode) for i in loop.instructions)
            return products, 0 if products else len(loop.instructions)

        inner = [a for a in self.loops if not any(a.holds(b) for b in self.loops)]
        return max(inner, key=weight, default=None)


def counts(instructions: tuple[Instruction, ...]) -> Counter[str]:
    return Counter(i.opcode for i in instructions if i.issued)


def is_mma(opcode: str) -> bool:
    """Is it one of the tensor core: HMMA, IMMA, QMMA, HGMMA, UTCHMMA and the like?"""
    return re.match(r"[HIDQOB]MMA|[HIQB]GMMA|UTC\w*MMA", opcode) is not None


def disassemble(cubin: bytes, lineinfo: bool = False) -> Sass:
    """Read a cubin with one kernel; with `lineinfo` each instruction has its place in the source, if the cubin has line tables.

    Raises TileError when there is no nvdisasm, or it does not know the file.
    """
    tool = tools.find("nvdisasm")
    require(tool, "machine code is read by nvdisasm, and there is none", hint="pip install 'tilec[sass]', or set TILEC_NVDISASM")
    with tools.scratch() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        done = tools.run([str(tool), "-c", *(["-gi"] if lineinfo else []), str(path)])
    if done.returncode:
        raise TileError(f"nvdisasm refuses the cubin: {done.stderr.strip()}")
    return parse(done.stdout)


_ENTRY = re.compile(r'^\s*\.other\s+(\S+),@"STO_CUDA_ENTRY', re.MULTILINE)
_SECTION = re.compile(r"^\.text\.(\S+):")
_PLACE = re.compile(r'^\s*//## File "(.*)", line (\d+)')
_LABEL = re.compile(r"^(\.L_\w+):")
_CODE = re.compile(r"^\s*/\*([0-9a-f]+)\*/\s+\{?\s*(?:(@!?U?P\w+)\s+)?(\S+?)(?:\s+(.*?))?\s*;")
_BRANCH = re.compile(r"`\((\.L_\w+)\)")


def parse(text: str) -> Sass:
    """Read what nvdisasm wrote about a cubin with one kernel. Functions that it calls are left out, but seen by its CALLs."""
    entry = _ENTRY.search(text)
    require(entry, "the disassembly has no kernel")
    name = entry[1] if entry else ""
    inside, place = False, None
    found: list[Instruction] = []
    labels: dict[str, int] = {}
    pending: list[str] = []
    for line in text.splitlines():
        if m := _SECTION.match(line):
            inside, place, pending = m[1] == name, None, []
        elif not inside:
            continue
        elif m := _LABEL.match(line):
            pending.append(m[1])
        elif m := _PLACE.match(line):
            place = (m[1], int(m[2]))
        elif m := _CODE.match(line):
            address = int(m[1], 16)
            labels.update((label, address) for label in pending)
            pending = []
            found.append(Instruction(address, m[2] or "", m[3], m[4] or "", place))

    def resolve(i: Instruction) -> Instruction:
        to = _BRANCH.search(i.operands) if i.name in ("BRA", "JMP") else None
        return replace(i, target=labels.get(to[1])) if to else i

    return Sass(name, tuple(map(resolve, found)), text)


_LIVE = re.compile(r"^\s*/\*([0-9a-f]+)\*/.*?//\s*\|\s*(\d*)\s")


def live_registers(cubin: bytes) -> dict[int, int]:
    """How many registers hold something at each instruction, by its address. Raises TileError when there is no nvdisasm."""
    tool = tools.find("nvdisasm")
    require(tool, "machine code is read by nvdisasm, and there is none", hint="pip install 'tilec[sass]', or set TILEC_NVDISASM")
    with tools.scratch() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        done = tools.run([str(tool), "-c", "-plr", str(path)])
    require(not done.returncode, f"nvdisasm refuses the cubin: {done.stderr.strip()}")
    found = (_LIVE.match(line) for line in done.stdout.splitlines())
    return {int(m[1], 16): int(m[2] or 0) for m in found if m}
