"""Where in a kernel's source the simulator's findings and costs stand.

The PTX that ran has no line table, as that would be other PTX in the cache. It is made once more with one, when there is something to say: its
instructions are the same, one for one.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from tilec.backend import nvptx
from tilec.backend.llvm import to_llvm
from tilec.backend.target import Target
from tilec.errors import Loc
from tilec.ir.core import Function

_FILE = re.compile(r'\s*\.file\s+(\d+) "(.*?)"(?:, .*)?')
_LOC = re.compile(r"\s*\.loc\s+(\d+) (\d+) (\d+)")
_INSTRUCTION = re.compile(r"\s*(\{.*\}|(?:@!?%\w+\s+)?[a-z][\w.:]*(?:\s[^;]*)?)")  # its first line, if it has several


def blame(report: Any, ptx: str, function: Function, where: Target) -> None:
    """Give what a report on `ptx`, made of `function`, finds and counts its places in the source, with columns and calls; nothing if they can't be told."""
    known = {(op.loc.file, op.loc.line, op.loc.column): op.loc for op in function.walk() if op.loc}
    there = instructions(nvptx.to_ptx(to_llvm(function, where, lineinfo=True), where), known)
    here = instructions(ptx, {})
    if [text for _, text, _ in here] != [text for _, text, _ in there]:
        return
    places = {line: loc for (line, _, _), (_, _, loc) in zip(here, there, strict=True)}

    def placed(site: Any) -> Any:
        loc = places.get(site.ptx_line) if site else None
        return dataclasses.replace(site, file=loc.file, line=loc.line, place=loc) if loc else site

    def in_source(m: re.Match[str]) -> str:
        loc = places.get(int(m[1]))
        return f"line {loc.line}" if loc else m[0]

    names = [p.name for p in function.params]
    for finding in report.findings:
        finding.message = re.sub(r"\bargument (\d+)\b", lambda m: names[int(m[1])], finding.message)
        finding.at, finding.other = placed(finding.at), placed(finding.other)
        finding.message = re.sub(r"\bPTX line (\d+)", in_source, finding.message)
        finding.hint = remedy(finding)
    for cost in report.costs:
        cost.site = placed(cost.site)


def remedy(finding: Any) -> str:
    """What a finding's hint says in PTX's words, in the language's; as it is where the place is not known."""
    line = f" before line {finding.at.line}" if finding.at.line else ""
    behind = f" behind line {finding.other.line} and" if finding.other and finding.other.line else ""
    if finding.kind == "async" and line:
        return f"put tc.commit(), tc.wait(0) and tc.sync(){line}, where they are missing"
    if finding.hint.startswith("insert bar.") and line:
        return f"put tc.sync(){line}"
    if finding.hint.startswith("no barrier orders blocks") and behind and line:
        return f"tc.sync() orders no blocks: put tc.semaphore_post{behind} tc.semaphore_wait{line}, or use atomics, or a second kernel"
    return str(finding.hint)


def instructions(ptx: str, known: dict[tuple[str, int, int], Loc]) -> list[tuple[int, str, Loc | None]]:
    """Line, text and place in the source of each instruction."""
    lines = ptx.splitlines()
    files = {int(m[1]): m[2] for m in map(_FILE.fullmatch, lines) if m}
    found: list[tuple[int, str, Loc | None]] = []
    loc: Loc | None = None
    for number, line in enumerate(lines, 1):
        if m := _LOC.match(line):
            file, at, column = files.get(int(m[1]), ""), int(m[2]), int(m[3])
            loc = known.get((file, at, column)) or (Loc.of_line(file, at) if at else None)
        elif m := _INSTRUCTION.match(line):
            found.append((number, " ".join(m[1].split()), loc))
    return found
