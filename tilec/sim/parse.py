"""PTX text to `Module`: variables, functions and nested statements, with operands split and lines kept. Knows no instruction.

Grammar: `ptx.lark`, after the PTX ISA manual, chapters 4 (syntax), 5 (state spaces, variables) and 11 (directives).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from tilec.errors import Loc, TileError

# Operands ------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Name:
    """A register, variable, label, function or special register; `offset` stands for `variable+8`."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Imm:
    """An integer (`kind` "i") or the bits of a float constant (`kind` "f32" or "f64")."""

    value: int
    kind: str = "i"


@dataclass(frozen=True)
class Vec:
    """`{a, b}`; also `(a, b)` of a call."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Addr:
    """`[base + offset]`; `more` are the further parts of a tensor address."""

    base: Name | Imm
    offset: int = 0
    more: tuple[Operand, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two destinations `a|b`."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Not:
    """A negated predicate `!p`."""

    operand: Operand


Operand: TypeAlias = "Name | Imm | Vec | Addr | Pair | Not"

# Statements ----------------------------------------------------------------------------------------------------------------------------


@dataclass
class Instruction:
    opcode: str
    operands: tuple[Operand, ...]
    guard: str | None  # register of the predicate
    negated: bool
    line: int
    loc: tuple[int | str, int] | None  # file number or name, line
    text: str


@dataclass
class Label:
    name: str
    line: int


@dataclass
class Table:
    """`.branchtargets`, `.calltargets` (names) or `.callprototype` (none)."""

    kind: str
    names: list[str]


@dataclass
class Registers:
    """`.reg .b32 %r<9>, %x`: exact names and (prefix, count)."""

    type: str
    names: list[str]
    ranges: list[tuple[str, int]]


@dataclass
class Variable:
    """A variable in a state space; `size` in bytes, None if the launch gives it (`.extern .shared x[]`)."""

    name: str
    space: str
    align: int
    type: str
    size: int | None
    init: list[Any] = field(default_factory=list)  # ints, or Names whose address stands there
    line: int = 0
    extern: bool = False


@dataclass
class Function:
    name: str
    entry: bool
    params: list[Variable]
    results: list[Variable]
    body: list[Any] | None  # statements; a nested list is a scope
    directives: dict[str, list[int]]
    line: int


@dataclass
class Module:
    variables: list[Variable]
    functions: dict[str, Function]
    files: dict[int, str]
    target: str
    lines: list[str]
    inlined: dict[Any, Any] = field(default_factory=dict)  # (file, line, column) of a `.loc` to that of the call

    def entries(self) -> list[str]:
        """Names of the kernels."""
        return [f.name for f in self.functions.values() if f.entry]


WIDTH = {"pred": 1, "b128": 16} | {f"{k}{8 * n}": n for k in "bus" for n in (1, 2, 4, 8)}
WIDTH |= {"f16": 2, "bf16": 2, "f16x2": 4, "bf16x2": 4, "f32": 4, "f64": 8}

_comment = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.S)
_token = re.compile(
    r"\s*(0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|-?\s*0[xX][0-9a-fA-F]+U?|-?\s*\d+\.\d*(?:[eE][+-]?\d+)?|-?\s*0[bB][01]+U?|-?\s*\d+U?"
    r"|[%$_A-Za-z][\w$]*(?:\.[a-z]\w*)?|[{}\[\](),|!+:-])"
)
_instruction = re.compile(r"(?:@\s*(!?)\s*([%\w$]+)\s+)?([a-z][\w.:]*)\s*(.*);", re.S)


@cache
def _grammar() -> Any:
    from lark import Lark  # whoever only wants the arithmetic of tensor cores does without

    return Lark((Path(__file__).parent / "ptx.lark").read_text(), parser="lalr", propagate_positions=False, maybe_placeholders=False)


def _blank(match: re.Match[str]) -> str:
    text = match.group()
    return text if text[0] == '"' else re.sub(r"[^\n]", " ", text)


def parse(text: str, file: str = "<ptx>") -> Module:
    """Parse PTX text. Raises TileError with the line for what is no PTX."""
    from lark.exceptions import UnexpectedInput

    try:
        tree = _grammar().parse(_comment.sub(_blank, text.replace("\0", "")))
    except UnexpectedInput as e:
        lines = text.splitlines()
        line = getattr(e, "line", 0) or 0
        shown = lines[line - 1].strip() if 0 < line <= len(lines) else "end of text"
        raise TileError(f"no PTX that can be read: {shown!r}", loc=Loc(file, max(1, line), max(1, getattr(e, "column", 1)))) from None
    module = Module([], {}, {}, "", text.splitlines())
    for node in tree.children:
        _toplevel(node, module)
    return module


def _toplevel(node: Any, module: Module) -> None:
    if isinstance(node, str):  # a token
        return
    token = node.children[0]
    if node.data == "variable":
        module.variables += _variables(str(token), token.line)
    elif node.data == "file":
        match = re.match(r'\.file\s+(\d+)\s+"([^"]*)"(?:\s+"([^"]*)")?', token)
        if match:
            module.files[int(match[1])] = match[2] if not match[3] else f"{match[2]}/{match[3]}"
    elif node.data == "target":
        module.target = token.split()[1].rstrip(",")
    elif node.data == "function":
        function = _header(str(token), token.line)
        if len(node.children) > 1:
            function.body = _scope(node.children[1], module, [None])
        if function.body is not None or function.name not in module.functions:
            module.functions[function.name] = function


def _scope(tree: Any, module: Module, place: list[Any]) -> list[Any]:
    out: list[Any] = []
    inlined = module.inlined
    for node in tree.children:
        if isinstance(node, str):  # a token
            continue
        if node.data == "block":
            out.append(_scope(node, module, place))
            continue
        token = node.children[0]
        if node.data == "instruction":
            out.append(_parse_instruction(str(token), token.line, place[0]))
        elif node.data == "label":
            out.append(Label(token[:-1].strip(), token.line))
        elif node.data == "loc":
            place[0] = _place(str(token), module.lines[token.line - 1], inlined)
        elif node.data == "registers":
            out.append(_registers(str(token)))
        elif node.data == "variable":
            out += _variables(str(token), token.line)
        elif node.data == "table":
            kind, _, rest = token[1:-1].partition(" ")
            out.append(Table(kind, [w.strip() for w in rest.split(",")] if kind != "callprototype" else []))
        else:
            _toplevel(node, module)
    return out


_loc = re.compile(r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)(?:.*inlined_at\s+(\d+)\s+(\d+)\s+(\d+))?")
_outer = re.compile(r"([^\s:@\[]+):(\d+):\d+ \]")


def _place(text: str, line: str, inlined: dict[Any, Any]) -> tuple[int | str, int] | None:
    """File and line of a `.loc`. Of inlined code it is the outermost call, which is in the user's own file: nvcc says so by
    `inlined_at`, Triton in a comment `// standard.py:191:40 @[ kernel.py:14:29 ]`."""
    match = _loc.match(text)
    if not match:
        return None
    here, at = match.groups()[:3], match.groups()[3:]
    if at[0]:
        inlined[here] = at
    seen = {here}
    while here in inlined and inlined[here] not in seen:
        here = inlined[here]
        seen.add(here)
    outer = _outer.findall(line) if "@[" in line else []
    return (outer[-1][0], int(outer[-1][1])) if outer else (int(here[0]), int(here[1]))


def _parse_instruction(text: str, line: int, loc: tuple[int | str, int] | None) -> Instruction:
    match = _instruction.fullmatch(text)
    if not match:
        raise TileError(f"no PTX instruction: {text!r}", loc=Loc("<ptx>", line))
    bang, guard, opcode, operands = match.groups()
    return Instruction(opcode, _operands(operands), guard, bang == "!", line, loc, " ".join(text.split()))


@lru_cache(1 << 16)
def _operands(text: str) -> tuple[Operand, ...]:
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _token.match(text, at)
        if not match:
            raise TileError(f"no PTX operand: {text[at:]!r}")
        tokens.append(match[1])
        at = match.end()
    reader = _Reader(tokens)
    out = reader.list(None) if tokens else ()
    return out


class _Reader:
    """Recursive descent over the tokens of one instruction's operands."""

    def __init__(self, tokens: list[str]):
        self.tokens, self.at = tokens, 0

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def list(self, end: str | None) -> tuple[Operand, ...]:
        out: list[Operand] = []
        while self.peek() != end:
            out.append(self.operand())
            if self.peek() == ",":
                self.next()
            elif self.peek() != end:
                raise TileError(f"no PTX operands: {' '.join(self.tokens)}")
        if end:
            self.next()
        return tuple(out)

    def operand(self) -> Operand:
        first = self.single()
        if self.peek() == "|":
            self.next()
            return Pair(first, self.single())
        return first

    def single(self) -> Operand:
        token = self.next()
        if token == "{":
            return Vec(self.list("}"))
        if token == "(":
            return Vec(self.list(")"))
        if token == "!":
            return Not(self.single())
        if token == "[":
            base = self.single()
            more: tuple[Operand, ...] = ()
            if self.peek() == ",":
                self.next()
                more = self.list("]")
            else:
                self.next()
            if isinstance(base, Name):
                return Addr(Name(base.name), base.offset, more)
            assert isinstance(base, Imm)
            return Addr(base, 0, more)
        if token[0] in "0123456789-":
            return _number(token)
        offset = 0
        following = self.peek()
        while following is not None and (following == "+" or (following[0] == "-" and len(following) > 1)):
            if following == "+":
                self.next()
            value = _number(self.next())
            offset += value.value
            following = self.peek()
        return Name(token, offset)


def _number(token: str) -> Imm:
    token = token.replace(" ", "").rstrip("U")
    if token[:2] in ("0f", "0F"):
        return Imm(int(token[2:], 16), "f32")
    if token[:2] in ("0d", "0D"):
        return Imm(int(token[2:], 16), "f64")
    if "." in token:
        return Imm(struct.unpack("<Q", struct.pack("<d", float(token)))[0], "f64")
    digits = token.lstrip("-")
    if len(digits) > 1 and digits[0] == "0" and digits[1] not in "xXbB":
        value = int(digits, 8)
    else:
        value = int(digits, 0)
    return Imm(-value if token[0] == "-" else value)


def _registers(text: str) -> Registers:
    type_, names = text[len(".reg") : -1].split(None, 1)
    out = Registers(type_.lstrip("."), [], [])
    for word in names.split(","):
        match = re.fullmatch(r"\s*([%$\w]+)\s*(?:<\s*(\d+)\s*>)?\s*", word)
        if not match:
            raise TileError(f"no register declaration: {text!r}")
        if match[2]:
            out.ranges.append((match[1], int(match[2])))
        else:
            out.names.append(match[1])
    return out


_declarator = re.compile(r"([%$_\w]+)\s*((?:\[\s*\d*\s*\]\s*)*)(?:=\s*(.*))?", re.S)


def _variables(text: str, line: int) -> list[Variable]:
    """One variable of a declaration such as `.visible .global .align 4 .b8 name[16] = {1, 2}`."""
    text = text.rstrip(";").strip()
    words = re.match(r"((?:\.[\w:]+(?:\s+\d+)?(?:\(\s*\w+\s*\))?\s+)+)", text)
    if not words:
        raise TileError(f"no variable declaration: {text!r}", loc=Loc("<ptx>", line))
    head, rest = words[1], text[words.end() :]
    flags = re.findall(r"\.([\w:]+)", head)
    align = re.search(r"\.align\s+(\d+)", head)
    space = next(f for f in flags if f in ("shared", "global", "const", "local", "param"))
    vector = next((int(f[1]) for f in flags if f in ("v2", "v4")), 1)
    type_ = next(f for f in reversed(flags) if f in WIDTH)
    width = WIDTH[type_] * vector
    out = []
    parts = [rest] if "=" in rest else rest.split(",")
    for part in parts:
        match = _declarator.fullmatch(part.strip())
        if not match:
            raise TileError(f"no variable declaration: {text!r}", loc=Loc("<ptx>", line))
        name, dims, init = match.groups()
        sizes = re.findall(r"\[\s*(\d*)\s*\]", dims)
        size: int | None = width
        for s in sizes:
            size = None if s == "" or size is None else size * int(s)
        values = [w for w in re.split(r"[{},\s]+", init) if w] if init else []
        items = [_operands(v)[0] if not v.startswith("0x") or "(" not in v else None for v in values]
        if size is None and items:
            size = width * len(items)
        out.append(Variable(name, space, int(align[1]) if align else width, type_, size, items, line, "extern" in flags))
    return out


def _header(text: str, line: int) -> Function:
    """`.visible .entry name(params) directives` or `.func (result) name (params) directives`."""
    entry = ".entry" in text
    rest = text[text.index(".entry" if entry else ".func") + (6 if entry else 5) :].strip()
    attribute = re.match(r"\.attribute\s*\([^)]*\)\s*", rest)
    rest = rest[attribute.end() :] if attribute else rest
    results: list[Variable] = []
    if rest.startswith("("):
        inside, rest = _parens(rest)
        results = _parameters(inside, line)
    match = re.match(r"\s*([%$\w]+)\s*", rest)
    assert match
    rest = rest[match.end() :]
    params: list[Variable] = []
    if rest.startswith("("):
        inside, rest = _parens(rest)
        params = _parameters(inside, line)
    directives = {m[1]: [int(w) for w in re.findall(r"\d+", m[2] or "")] for m in re.finditer(r"\.(\w+)\s*((?:\d+\s*,?\s*)*)", rest)}
    return Function(match[1], entry, params, results, None, directives, line)


def _parens(text: str) -> tuple[str, str]:
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return text[1:i], text[i + 1 :].strip()
    raise TileError(f"unbalanced parentheses: {text!r}")


def _parameters(text: str, line: int) -> list[Variable]:
    out = []
    for part in text.split(","):
        if not part.strip():
            continue
        plain = re.sub(r"\.ptr(\s+\.(global|shared|const|local|param|generic))?(\s+\.align\s+\d+)?", " ", part).strip()
        plain = re.sub(r"\.reg\b", ".param", plain)  # register parameters of device functions behave alike
        out += _variables(plain, line)
    return out
