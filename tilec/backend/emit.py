"""Writes LLVM IR as text: names, blocks, types and constants. What ops become is said by the files that use it."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tilec.errors import Loc
from tilec.ir.dtypes import DType

GLOBAL, SHARED, CONST = 1, 3, 4  # address spaces


def llvm_type(dtype: DType) -> str:
    """The LLVM type that holds one element. Types of up to 8 bits are their code in the low bits of an i8, the rest zero."""
    if dtype.is_bool:
        return "i1"
    if not dtype.computes:
        return "i8"
    if dtype.is_int:
        return f"i{dtype.bits}"
    return {"f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double"}[str(dtype)]


def llvm_constant(value: Any, dtype: DType) -> str:
    """A number as LLVM writes it, exactly."""
    if dtype.is_bool:
        return "true" if value else "false"
    if not dtype.computes:
        return str(int(dtype.encode(value)))
    if dtype.is_int:
        return str(int(value))
    return float_constant(float(value), str(dtype))


def float_constant(value: float, kind: str) -> str:
    """Hexadecimal, so that no digit is lost: double as 16 digits (float alike), half as 0xH, bfloat as 0xR. Rounds to the type."""
    if kind == "f16":
        return f"0xH{struct.unpack('<H', _half(value))[0]:04X}"
    if kind == "bf16":
        return f"0xR{_bfloat(value):04X}"
    if kind == "f32":
        value = struct.unpack("<f", _single(value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _half(value: float) -> bytes:
    try:
        return struct.pack("<e", value)
    except OverflowError:
        return struct.pack("<e", math.copysign(math.inf, value))


def _single(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


def _bfloat(value: float) -> int:
    bits = struct.unpack("<I", _single(value))[0]
    if math.isnan(value):
        return bits >> 16 | 0x40
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16


# what may be computed earlier than it stands, and even if it is not wanted
MOVABLE = frozenset(
    ["add", "sub", "mul", "shl", "lshr", "ashr", "and", "or", "xor", "icmp", "select", "zext", "sext", "trunc", "bitcast", "getelementptr"]
)


class Emitter:
    """Appends instructions to the current basic block of one function.

    `let` gives the result of an instruction a name and returns it. Values are names ("%12") or constants as text; whoever emits
    knows their types. Places in the source become `!dbg` when `lines` is set.
    """

    def __init__(self, lines: Lines | None = None) -> None:
        self.text: list[Any] = []  # lines, and lists of lines
        self.count = 0
        self.levels: dict[str, int] = {}  # of values that are made in loops: in how many
        self.ahead: list[list[Any]] = []  # lines that stand before each loop around the current block, outermost first
        self.label = "entry"
        self.lines = lines
        self.loc: Loc | None = None
        self.declared: list[str] = []  # module-level text: globals
        self.metadata: list[str] = []
        self.elements: dict[str, tuple[str, str, int, int]] = {}  # of vectors that were split: type, vector, place, count
        self.fields: dict[str, Any] = {}  # of codes that lie in words: where, as backend/fields.py says
        self.cache: dict[Any, Any] = {}  # of values that dominate everything after them: cleared where they might not

    def fresh(self, prefix: str = "") -> str:
        """A name not used before, without its sigil."""
        self.count += 1
        return f"{prefix}{self.count}" if prefix else f"v{self.count}"

    def line(self, text: str, level: int | None = None) -> None:
        """An instruction without a result; before the loop at `level`, if given."""
        debug = self.lines.reference(self.loc) if self.lines is not None and self.loc is not None else ""
        (self.text if level is None else self.ahead[level]).append(f"  {text}{debug}")

    def let(self, text: str) -> str:
        """An instruction with a result; returns its name. What does not change in a loop goes before it."""
        name = f"%{self.fresh()}"
        if not self.ahead:
            self.line(f"{name} = {text}")
            return name
        level = len(self.ahead)
        if text.partition(" ")[0] in MOVABLE:
            level = max((self.levels.get(operand, 0) for operand in re.findall(r"%v\d+", text)), default=0)
        if level:
            self.levels[name] = level
        self.line(f"{name} = {text}", level if level < len(self.ahead) else None)
        return name

    def call(self, result: str, function: str, *arguments: str) -> str:
        """Call an intrinsic; arguments are "type value". Returns the name, or "" for a void function."""
        text = f"call {result} @{function}({', '.join(arguments)})"
        if result == "void":
            self.line(text)
            return ""
        return self.let(text)

    def asm(self, result: str, code: str, constraints: str, *arguments: str, effect: bool = False, convergent: bool = False) -> str:
        """Inline PTX; without an effect it may be moved and removed."""
        kind = "asm sideeffect" if effect else "asm"
        tail = (" convergent" if convergent else "") + ("" if effect else " nounwind memory(none)")
        text = f'call {result} {kind} "{code}", "{constraints}"({", ".join(arguments)}){tail}'
        if result == "void":
            self.line(text)
            return ""
        return self.let(text)

    def extract(self, aggregate: str, type: str, count: int) -> list[str]:
        """All members of a struct value."""
        return [self.let(f"extractvalue {type} {aggregate}, {i}") for i in range(count)]

    # vectors

    def split(self, kind: str, vector: str, count: int) -> list[str]:
        """The elements of `kind` of a vector. Those that nobody uses leave no trace in `body`."""
        names = [self.let(f"extractelement <{count} x {kind}> {vector}, i32 {i}") for i in range(count)]
        self.elements.update((name, (kind, vector, i, count)) for i, name in enumerate(names))
        return names

    def join(self, kind: str, elements: Sequence[str]) -> str:
        """A vector of elements of `kind`: the very one that they were split from, if they were."""
        whole = self.elements.get(elements[0], ("", "", 0, 0))[1]
        if all(self.elements.get(name) == (kind, whole, i, len(elements)) for i, name in enumerate(elements)):
            return whole
        vector = "poison"
        for i, name in enumerate(elements):
            vector = self.let(f"insertelement <{len(elements)} x {kind}> {vector}, {kind} {name}, i32 {i}")
        return vector

    def body(self, *texts: list[Any]) -> list[str]:
        """All lines but those of elements that no line uses."""
        lines = list(flatten(texts))
        uses = Counter(re.findall(r"%v\d+", "\n".join(lines)))
        dead = {name for name in self.elements if uses[name] == 1}
        return [line for line in lines if not (dead and line[2:].partition(" ")[0] in dead)]

    # control flow

    def by_level(self, values: Sequence[str]) -> tuple[list[str], list[str]]:
        """The values that do not change in the innermost loop here, and those that do."""
        here = len(self.ahead)
        moving = [v for v in values if here and self.levels.get(v, 0) == here]
        return [v for v in values if v not in moving], moving

    def enter_loop(self) -> None:
        """What is emitted from here on is done again and again."""
        self.ahead.append([])
        self.text.append(self.ahead[-1])

    def leave_loop(self) -> None:
        self.ahead.pop()

    @contextmanager
    def prelude(self, text: list[Any]) -> Iterator[None]:
        """Emit to `text`, which stands before everything."""
        kept = self.text, self.ahead
        self.text, self.ahead = text, []
        yield
        self.text, self.ahead = kept

    def start(self, label: str) -> None:
        """Begin a basic block."""
        self.text.append(f"{label}:")
        self.label = label

    def jump(self, label: str) -> None:
        self.line(f"br label %{label}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.line(f"br i1 {condition}, label %{yes}, label %{no}")

    def phi(self, type: str, incoming: Sequence[tuple[str, str]]) -> str:
        return self.let(f"phi {type} " + ", ".join(f"[ {v}, %{label} ]" for v, label in incoming))


def flatten(text: Any) -> Iterator[str]:
    for part in text:
        if isinstance(part, str):
            yield part
        else:
            yield from flatten(part)


class Lines:
    """Debug metadata that maps instructions to the author's lines and, by `DebugDirectivesOnly`, changes no instruction."""

    def __init__(self, kernel: str, loc: Loc):
        self.nodes: list[str] = []
        self.files: dict[str, int] = {}
        self.programs: dict[str, int] = {}
        self.places: dict[Loc, int] = {}
        unit_file = self.file(loc.file)
        self.flags = (self.add('!{i32 2, !"Dwarf Version", i32 3}'), self.add('!{i32 2, !"Debug Info Version", i32 3}'))
        self.unit = self.add(
            f'distinct !DICompileUnit(language: DW_LANG_Python, file: !{unit_file}, producer: "tilec", isOptimized: true, '
            "runtimeVersion: 0, emissionKind: DebugDirectivesOnly)"
        )
        self.type = self.add("!DISubroutineType(types: !{})")
        self.kernel = self.program(kernel, loc)

    def add(self, text: str) -> int:
        self.nodes.append(text)
        return len(self.nodes) - 1 + 100  # numbers below 100 are left to other metadata

    def file(self, path: str) -> int:
        if path not in self.files:
            folder, _, name = path.rpartition("/")
            self.files[path] = self.add(f'!DIFile(filename: "{name}", directory: "{folder}")')
        return self.files[path]

    def program(self, name: str, loc: Loc) -> int:
        """A subprogram of a file; inlined functions are one for each file they stand in."""
        key = f"{name}@{loc.file}"
        if key not in self.programs:
            self.programs[key] = self.add(
                f'distinct !DISubprogram(name: "{name}", scope: !{self.file(loc.file)}, file: !{self.file(loc.file)}, line: {loc.line}, '
                f"type: !{self.type}, scopeLine: {loc.line}, spFlags: DISPFlagDefinition | DISPFlagOptimized, unit: !{self.unit})"
            )
        return self.programs[key]

    def place(self, loc: Loc) -> int:
        if loc not in self.places:
            if loc.caller is None:
                text = f"!DILocation(line: {loc.line}, column: {loc.column}, scope: !{self.kernel})"
            else:
                inlined = self.place(loc.caller)
                scope = self.program("inlined", loc)
                text = f"distinct !DILocation(line: {loc.line}, column: {loc.column}, scope: !{scope}, inlinedAt: !{inlined})"
            self.places[loc] = self.add(text)
        return self.places[loc]

    def reference(self, loc: Loc) -> str:
        return f", !dbg !{self.place(loc)}"

    def module(self) -> str:
        """The metadata of the whole module."""
        named = [f"!llvm.dbg.cu = !{{!{self.unit}}}", f"!llvm.module.flags = !{{!{self.flags[0]}, !{self.flags[1]}}}"]
        return "\n".join([*named, *(f"!{i + 100} = {text}" for i, text in enumerate(self.nodes))])
