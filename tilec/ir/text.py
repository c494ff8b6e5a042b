"""Textual IR: `print_function` writes a Function, `parse` reads it back. The two are inverse on every function.

    kernel @scale(%x: global f16[N], %N: i32) warps=1 constants={block=64} {
      launch {
        %0 = constant value=64 dtype=i32 : i32
        %1 = floor_div %N, %0 : i32
        yield [%1]
      }
      %i = block_index : i32
      %tile = load %x, [%i] shape=[64] dims=[0] : f16[64]
      ...
    }

A statement is derived from the fields of its op: results, the mnemonic, operands in the order of the fields (variadic ones in
brackets, `none` for an absent one; trailing ones that are as by default may be left out), attributes that differ from their default as
name=value, regions as name=(arguments) { ... }, and the types of the results. A value is called by its name hint: `%x`, `%x.1`, `%x.2`
if several have it, `%"any text"` if it is no identifier, and a number if it has none. A layout that is written more than once is named
ahead of the kernel, as in `layout $0 = local(2, 1).spatial(8, 4)`, and a type `f16[16, 8; $0]`. A statement stands on one line (its regions
aside); `#` begins a comment.
"""

from __future__ import annotations

import itertools
import json
import linecache
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tilec.errors import Loc, TileError, alike, require
from tilec.ir import ops  # noqa: F401 -- the parser finds op classes by their mnemonics
from tilec.ir.core import _MISSING, OPS, Block, Field, Function, Kind, Op, Value
from tilec.ir.dtypes import Codebook, DType, codebook, dtype, i32, nf4
from tilec.ir.layout import Layout, parse_layout
from tilec.ir.shared import SharedLayout, parse_shared
from tilec.ir.types import BarrierType, SharedType, TensorType, TileType, Type, Warps
from tilec.records import replace

INDENT = "  "
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")  # as in x.stride0; a number after the last dot would tell namesakes apart


def print_function(function: Function, *, locations: bool = False) -> str:
    """The text of a function; with `locations`, each op's place in the author's file follows it as `at "file":line:column`."""
    return _Printer(locations).function(function)


def show_value(value: Any) -> str:
    """An attribute as text. Raises TypeError for what has no textual form."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(show_value, value)) + "]"
    if isinstance(value, DType | Layout | SharedLayout | Warps):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no textual form")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _name(name: str, form: re.Pattern[str] = _IDENTIFIER) -> str:
    return name if form.fullmatch(name) else _quoted(name)


class _Printer:
    """Names values in the order in which they are printed, so that printing what was parsed gives the same names again."""

    def __init__(self, locations: bool):
        self.locations = locations
        self.names: dict[Value, str] = {}
        self.layouts: dict[Any, _Reference] = {}
        self.uses: Counter[str] = Counter()

    def function(self, f: Function) -> str:
        used = Counter(_layouts(f))
        self.layouts = {layout: _Reference(f"${i}") for i, layout in enumerate(x for x, n in used.items() if n > 1)}
        params = ", ".join(map(self.typed, f.params))
        constants = ", ".join(self.constants(f.constants))
        head = f"kernel @{_name(f.name)}({params}) warps={f.warps}" + (f" constants={{{constants}}}" if constants else "")
        launch = [f"{INDENT}launch {{", *self.block(f.launch, 2 * INDENT), f"{INDENT}}}"] if f.launch.ops else []
        body = list(self.block(f.body, INDENT))
        layouts = [f"layout {name} = {layout}" for layout, name in self.layouts.items()]
        return "\n".join([*_codebooks(f), *layouts, head + self.place(f.loc) + " {", *launch, *body, "}"])

    def constants(self, constants: dict[str, Any]) -> Iterator[str]:
        """Those that have a text form; they are for people, and for what a cache or a bundle calls the variant."""
        for name, value in constants.items():
            try:
                yield f"{_name(name)}={show_value(value)}"
            except TypeError:
                continue

    def block(self, block: Block, indent: str) -> Iterator[str]:
        for op in block.ops:
            yield from self.op(op, indent)

    def op(self, op: Op, indent: str) -> Iterator[str]:
        """The lines of a statement: more than one if it has regions."""
        head = ", ".join(map(self.value, op.results)) + " = " if op.results else ""
        operands = ", ".join(self.operand(f, getattr(op, f.name)) for f in _written(op))
        line = " ".join([indent + head + op.mnemonic, *[operands] * bool(operands), *self.attributes(op)])
        for f in op.fields:
            if f.kind is Kind.REGION:
                region = getattr(op, f.name)
                arguments = f"({', '.join(map(self.typed, region.args))}) " if region.args else ""
                yield f"{line} {f.name}={arguments}{{"
                yield from self.block(region, indent + INDENT)
                line = indent + "}"
        types = ", ".join(self.type(v) for v in op.results)
        yield line + (f" : {types}" if types else "") + self.place(op.loc)

    def attributes(self, op: Op) -> Iterator[str]:
        """Those that differ from their default."""
        for f in op.fields:
            value = getattr(op, f.name)
            if f.kind is Kind.ATTRIBUTE and not (type(value) is type(f.default) and value == f.default):
                try:
                    known = self.layouts.get(value) if isinstance(value, Layout | SharedLayout) else None
                    yield f"{f.name}={known or show_value(value)}"
                except TypeError as error:
                    raise TypeError(f"{op.mnemonic}: attribute {f.name}: {error}") from None

    def operand(self, field: Field, given: Any) -> str:
        if field.kind is Kind.VARIADIC:
            return "[" + ", ".join(map(self.value, given)) + "]"
        return "none" if given is None else self.value(given)

    def typed(self, value: Value) -> str:
        return f"{self.value(value)}: {self.type(value)}"

    def type(self, value: Value) -> str:
        """The type as text, with the name of its layout if that has one."""
        reference = self.layouts.get(getattr(value.type, "layout", None))
        return str(replace(value.type, layout=reference) if reference else value.type)

    def value(self, value: Value) -> str:
        """`%name`, made unique by a suffix."""
        if value not in self.names:
            n = self.uses[value.name]
            self.uses[value.name] += 1
            self.names[value] = f"%{_name(value.name, _DOTTED)}" + (f".{n}" if n else "") if value.name else f"%{n}"
        return self.names[value]

    def place(self, loc: Loc | None) -> str:
        """The suffix that says where an op comes from: innermost place first, then what called it."""
        words: list[str] = []
        at = loc if self.locations else None
        while at:
            span = f"{at.column}-{at.end_column}" if at.end_column else str(at.column)
            words += [" from " if words else " at ", f"{_quoted(at.file)}:{at.line}:{span}"]
            at = at.caller
        return "".join(words)


def _written(op: Op) -> list[Field]:
    """The operand fields of an op, without those at the end that are as by default."""
    fields = [f for f in op.fields if f.kind not in (Kind.ATTRIBUTE, Kind.REGION)]
    while fields and getattr(op, fields[-1].name) == fields[-1].default and (len(fields) > 1 or fields[-1].default is None):
        fields.pop()
    return fields


class _Reference(str):
    """The name of a layout that is written more than once."""


def _layouts(f: Function) -> Iterator[Layout | SharedLayout]:
    """Every layout as often as it would be written, in order."""
    given: list[Any] = [v.type for v in f.params]
    for op in itertools.chain(f.launch.walk(), f.body.walk()):
        given += [*op.attributes.values(), *(v.type for v in (*op.results, *(a for region in op.regions for a in region.args)))]
    for x in given:
        layout = getattr(x, "layout", x)
        if isinstance(layout, Layout | SharedLayout):
            yield layout


def _codebooks(f: Function) -> Iterator[str]:
    """Types that authors made by a table are stated in full: the reader does not have them."""
    types = [v.type for v in f.params] + [v.type for root in (f.launch, f.body) for op in root.walk() for v in op.results]
    named = [a for root in (f.launch, f.body) for op in root.walk() for a in op.attributes.values()]
    found = {d for d in _dtypes([t.dtype for t in types] + named + list(f.constants.values())) if isinstance(d, Codebook) and d != nf4}
    for book in sorted(found, key=str):
        yield f"codebook {book.name} = {show_value(book.entries)}"


def _dtypes(values: Iterable[Any]) -> Iterator[DType]:
    for value in values:
        if isinstance(value, DType):
            yield value
        elif isinstance(value, tuple):
            yield from _dtypes(value)


# Reading


def parse(text: str, filename: str | None = None) -> Function:
    """The verified Function that `text` describes. Ops that state no location get their place in `filename`.

    Raises TileError with the place of whatever is wrong: form, names, fields, types. The text is left in `linecache`, so that errors and
    tracebacks can show its lines even if it is in no file.
    """
    filename = filename or f"<tir {zlib.crc32(text.encode('utf-8', 'replace')):08x}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    from lark.exceptions import UnexpectedInput  # compiling needs no parser, and it takes its time to load

    try:
        named, kernel = _parser().parse(text + "\n", start="start")
    except UnexpectedInput as error:
        raise _syntax_error(error, text, Loc(filename, 1, 1)) from None
    return _Reader(filename).function(named, kernel)


@lru_cache(maxsize=1)
def _parser() -> Any:
    from lark import Lark

    return Lark.open("ir.lark", rel_to=__file__, parser="lalr", start=["start", "type"], transformer=_Syntax())


@lru_cache(maxsize=4096)
def _type_syntax(text: str) -> tuple[Any, Any, Any, Any]:
    """Kind, element type, (shape, layout) and group of a type; what is absent is None."""
    return _parser().parse(text, start="type")


class _Part(NamedTuple):
    """An optional part of a kernel or statement, told from the others by the name of its rule."""

    rule: str
    content: Any


def _part(rule: str) -> Any:
    return staticmethod(lambda items: _Part(rule, items))


class _Syntax:
    """What each rule of the grammar leaves behind; tokens stay as they are, for their places. Nothing is looked up yet."""

    def start(self, items: list[Any]) -> tuple[list[_Part], dict[str, Any]]:
        *named, kernel = items
        return named, kernel

    def kernel(self, items: list[Any]) -> dict[str, Any]:
        symbol, arguments, *parts = items
        named = {p.rule: p.content for p in parts if p.rule != "statement"}
        return {"symbol": symbol, "arguments": arguments or [], "body": [p for p in parts if p.rule == "statement"], **named}

    def statement(self, items: list[Any]) -> _Part:
        given: dict[str, Any] = {"results": [], "operands": [], "types": None, "place": None, "named": []}
        for item in items:
            if isinstance(item, str):
                given["mnemonic"] = item
            elif item.rule in ("attribute", "region"):
                given["named"].append(item)
            else:
                given[item.rule] = item.content
        return _Part("statement", given)

    def region(self, items: list[Any]) -> _Part:
        name, arguments, *statements = items
        return _Part("region", (name, (arguments or [], statements)))

    def warps(self, items: list[Any]) -> _Part:
        return _Part("warps", items[0])

    def constants(self, items: list[Any]) -> _Part:
        return _Part("constants", [i for i in items if i is not None])

    def box(self, items: list[Any]) -> tuple[tuple[int | str, ...], Any]:
        *extents, layout = items
        shape = tuple(int(e) if e.type == "INT" else str(e) for e in extents if e is not None)
        return shape, layout

    def absent(self, items: list[Any]) -> None:
        return None

    def list(self, items: Any) -> Any:
        return [i for i in items if i is not None]

    attribute, codebook, layout, launch = map(_part, ("attribute", "codebook", "layout", "launch"))
    results, operands, types, place = map(_part, ("results", "operands", "types", "place"))
    constant = spot = arguments = argument = staticmethod(tuple)
    variadic = list
    type = staticmethod(tuple)


_TERMINALS = {
    "VALUE": "a value such as %x", "SYMBOL": "the kernel's name, such as @f", "MNEMONIC": "an operation", "NAME": "name=value",
    "WORD": "a name", "NUMBER": "a number", "INTS": "a list", "INT": "an integer", "TYPE": "a type such as f16[64, 64]",
    "STRING": "a quoted text", "CALLS": "a layout", "REF": "a layout's name, such as $0",
    "KIND": "global, strided or shared", "_NL": "the end of the line",
    "_AT": 'at "file":line:column', "$END": "the end of the text",
}  # fmt: skip


def _syntax_error(error: Any, text: str, start: Loc) -> TileError:
    """What was expected and what stands there instead, in words. `start` is the place of the text's first character."""
    token = getattr(error, "token", None)
    patterns = {t.name: f"'{t.pattern.value}'" for t in _parser().terminals}
    wanted = getattr(error, "accepts", None) or getattr(error, "expected", None) or getattr(error, "allowed", None) or ()
    words = sorted({_TERMINALS.get(name, patterns.get(name, name)) for name in wanted}, key=lambda w: (w.startswith("'"), w))
    expected = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    lines = text.rstrip().split("\n")
    if token is not None and token.type == "$END":  # it has no place of its own
        line, column, shown, found = len(lines), len(lines[-1]) + 1, "", "the text ends"
    else:
        line, column = error.line, error.column
        shown = text.split("\n")[line - 1][column - 1 :][: len(token) if token is not None else 1]
        found = f"found {shown.strip()!r}" if shown.strip() else "the line ends"
    column += start.column - 1 if line == 1 else 0
    loc = Loc(start.file, start.line + line - 1, column, column + max(1, len(shown)))
    return TileError(f"expected {expected}, but {found}", loc=loc)


Scope = dict[str, Value]


class _Reader:
    """Looks up names, builds ops through their classes, and compares the types they infer with those that are stated."""

    def __init__(self, filename: str):
        self.filename = filename
        self.layouts: dict[str, Any] = {}
        self.types: dict[str, Type] = {}

    def at(self, token: Any) -> Loc:
        return Loc(self.filename, token.line, token.column, token.end_column)

    def function(self, named: list[_Part], kernel: dict[str, Any]) -> Function:
        for kind, (name, content) in named:
            with self.at(name):
                if kind == "codebook":
                    codebook(str(name), self.value(content))
                else:
                    require(name not in self.layouts, f"{name} is defined already")
                    self.layouts[str(name)] = self.value(content)
        symbol = kernel["symbol"]
        scope: Scope = {}
        params = self.arguments(kernel["arguments"], scope, None)
        constants = {_unquoted(name): self.value(value) for name, value in kernel.get("constants", ())}
        launch, body = (self.block(Block(), kernel.get(part, ()), scope) for part in ("launch", "body"))
        loc = self.place(kernel.get("place")) or self.at(symbol)
        return Function(_unquoted(symbol[1:]), params, launch, body, int(kernel.get("warps", 4)), constants, loc).verify()

    def arguments(self, given: Iterable[tuple[Any, Any]], scope: Scope, owner: Block | None) -> tuple[Value, ...]:
        return tuple(self.define(token, self.type(type), scope, owner) for token, type in given)

    def define(self, token: Any, type: Type, scope: Scope, owner: Op | Block | None) -> Value:
        if token in scope:
            raise TileError(f"{token} is defined already", loc=self.at(token), hint="each value is defined once; choose another name")
        scope[token] = Value(type, _hint(token), owner)
        return scope[token]

    def block(self, block: Block, statements: Iterable[Any], scope: Scope) -> Block:
        """Fills a block; what it defines is not seen outside."""
        inside = dict(scope)
        block.ops = [self.statement(s.content, inside) for s in statements]
        return block

    def statement(self, given: dict[str, Any], scope: Scope) -> Op:
        """An op with its results, which are checked against the stated types."""
        token = given["mnemonic"]
        here = self.at(token)
        with here:
            cls = _lookup(token, OPS, "operation")
            op = cls(**self.operands(cls, given["operands"], token, scope), **self.named(cls, given["named"], scope))
            op.loc = self.place(given["place"]) or here
            types = _inferred(op)
        self.results(op, types, given, scope, here)
        return op

    def results(self, op: Op, types: tuple[Type, ...], given: dict[str, Any], scope: Scope, here: Loc) -> None:
        """Give the op its results. Stated types may be left out; those that are there must be right."""
        names, stated = given["results"], given["types"]
        message = f"{op.mnemonic} has {_count(len(types), 'result')}, but {{}}"
        require(len(names) == len(types), message.format(f"{_count(len(names), 'name')} {_are(len(names))} given"), loc=here)
        if stated is not None:
            require(len(stated) == len(types), message.format(f"{_count(len(stated), 'type')} {_are(len(stated))} stated"), loc=here)
            for type, wanted in zip(types, stated, strict=True):
                said = self.type(wanted)
                if said != type:
                    raise TileError(f"{op.mnemonic} gives {type} here, but the text says {said}", loc=self.at(wanted))
        op.results = tuple(self.define(n, t, scope, op) for n, t in zip(names, types, strict=True))

    def operands(self, cls: type[Op], given: list[Any], token: Any, scope: Scope) -> dict[str, Any]:
        """Each operand field with what stands for it."""
        fields = [f for f in cls.fields if f.kind not in (Kind.ATTRIBUTE, Kind.REGION)]
        named = ", ".join(f"[{f.name}]" if f.kind is Kind.VARIADIC else f.name for f in fields)
        hint = f"{cls.mnemonic} takes {named}" if fields else None
        fits = len(given) <= len(fields) and all(f.default is not _MISSING for f in fields[len(given) :])
        require(fits, f"{cls.mnemonic} takes {_count(len(fields), 'operand')}, not {len(given)}", hint=hint)
        found: dict[str, Any] = {}
        for f, item in zip(fields, given, strict=False):
            several, absent = isinstance(item, list), item is None
            form = "a list of values in brackets" if f.kind is Kind.VARIADIC else "one value"
            require(several == (f.kind is Kind.VARIADIC), f"{f.name} is {form}", hint=hint)
            require(not absent or f.kind is Kind.OPTIONAL, f"{f.name} can't be none", hint=hint)
            found[f.name] = tuple(self.use(t, scope) for t in item) if several else None if absent else self.use(item, scope)
        return found

    def use(self, token: Any, scope: Scope) -> Value:
        if token in scope:
            return scope[token]
        with self.at(token):
            return _lookup(token, scope, "value")

    def named(self, cls: type[Op], given: list[_Part], scope: Scope) -> dict[str, Any]:
        """Attributes and regions by the names of their fields. Those with a default may be left out."""
        fields = {f.name: f for f in cls.fields if f.kind in (Kind.ATTRIBUTE, Kind.REGION)}
        found: dict[str, Any] = {}
        for rule, (token, content) in given:
            with self.at(token):
                f = _lookup(token, fields, f"field of {cls.mnemonic}")
                require(token not in found, f"{token} is given twice")
                require((rule == "region") == (f.kind is Kind.REGION), f"{token} is {'an attribute' if rule == 'region' else 'a region'}")
                found[str(token)] = self.region(content, scope) if rule == "region" else self.attribute(f, content)
        missing = [f.name for f in fields.values() if f.name not in found and f.default is _MISSING]
        require(not missing, f"{cls.mnemonic} lacks {', '.join(missing)}")
        return found

    def region(self, content: tuple[list[Any], list[Any]], scope: Scope) -> Block:
        (arguments, statements), block, inside = content, Block(), dict(scope)
        block.args = self.arguments(arguments, inside, block)
        return self.block(block, statements, inside)

    def attribute(self, field: Field, content: Any) -> Any:
        value = self.value(content)
        if not _fits(value, field.annotation):
            raise TileError(f"{field.name} is {show_value(value)}, but {field.annotation.replace('tuple', '')} is wanted")
        return value

    def value(self, node: Any) -> Any:
        """The value that an attribute's text stands for: the inverse of `show_value`."""
        if isinstance(node, list):
            return tuple(map(self.value, node))
        with self.at(node):
            if node.type == "STRING":
                return _unquoted(node)
            if node.type == "INTS":
                return tuple(map(int, node[1:-1].split(",")))
            if node.type in ("CALLS", "REF"):
                return self.call(node)
            if node.type == "NUMBER":
                return int(node) if re.fullmatch(r"-?\d+", node) else float(node)
            return _WORDS[node] if node in _WORDS else dtype(str(node))

    def call(self, token: Any) -> Any:
        """A layout or a group of warps, written out or by its name; None stays None."""
        if token is None:
            return None
        return _lookup(str(token), self.layouts, "layout") if token.startswith("$") else _call(str(token))

    def type(self, token: Any) -> Type:
        from lark.exceptions import UnexpectedInput

        text = str(token)
        if text not in self.types:
            try:
                with self.at(token):
                    self.types[text] = self.new_type(*_type_syntax(text))
            except UnexpectedInput as error:
                raise _syntax_error(error, text, self.at(token)) from None
        return self.types[text]

    def new_type(self, kind: Any, name: Any, box: Any, group: Any) -> Type:
        element, (shape, written) = dtype(str(name)), box or ((), None)
        layout, held = self.call(written), self.call(group)
        if kind in ("global", "strided"):
            require(layout is None and held is None, "a tensor in global memory has no layout and no warps")
            return TensorType(element, shape, kind == "strided")
        for extent in shape:
            require(isinstance(extent, int), f"a tile's extents are integers, not {extent}")
        if kind == "barrier":
            require(element == i32 and layout is None and held is None, "a barrier is written barrier i32, a row of them barrier i32[2]")
            return BarrierType(shape)
        if kind == "shared":
            require(isinstance(layout, SharedLayout | None), f"{layout} is no layout of shared memory")
            require(held is None, "a tile in shared memory is held by no warps")
            return SharedType(element, shape, layout)
        require(isinstance(layout, Layout | None), f"{layout} is no layout of registers")
        require(isinstance(held, Warps | None), f"{group} is no group of warps", hint="write @warps(0, 4)")
        return TileType(element, shape, layout, held)

    def place(self, spots: list[Any] | None) -> Loc | None:
        """The location after `at`: the innermost place first, then its callers."""
        loc = None
        for file, line, column, end in reversed(spots or []):
            loc = Loc(_unquoted(file), int(line), int(column), int(end or 0), loc)
        return loc


_WORDS = {"none": None, "true": True, "false": False}


def _unquoted(text: str) -> str:
    return json.loads(text, strict=False) if text.startswith('"') else str(text)


def _hint(token: str) -> str:
    """The name that a value's text stands for: `%x.1` is an x, `%1` has none."""
    name = token[1:]
    return "" if name.isdecimal() else _unquoted(re.sub(r"\.\d+\Z", "", name))


@lru_cache(maxsize=4096)
def _call(text: str) -> Layout | SharedLayout | Warps:
    """What is written like a call: a layout of registers or of shared memory, or a group of warps."""
    if text.startswith("shared("):
        return parse_shared(text)
    if text.startswith("warps("):
        group = re.fullmatch(r"warps\( *(\d+) *, *(\d+) *\)", text)
        if group is None:
            raise TileError(f"not a group of warps: {text}", hint="write warps(first, count)")
        return Warps(int(group[1]), int(group[2]))
    return parse_layout(text)


def _inferred(op: Op) -> tuple[Type, ...]:
    """The op's result types. Type rules count on operands of the right sort; what they stumble over is refused in general words."""
    try:
        return op.inferred()
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise TileError(f"{op.mnemonic} does not take ({', '.join(str(v.type) for v in op.operands)})") from error


def _lookup(name: Any, known: dict[str, Any], what: str) -> Any:
    """What is known by a name, or an error that proposes similar names."""
    if name in known:
        return known[name]
    close = alike(name, known, n=3)
    few = f"there are {', '.join(known)}" if 0 < len(known) < 10 else None
    raise TileError(f"there is no {what} {name}", hint=f"did you mean {' or '.join(close)}?" if close else few)


def _count(n: int, noun: str) -> str:
    return f"{n or 'no'} {noun}{'s' * (n != 1)}"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


_FORMS: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "str": (str,), "bool": (bool,), "None": (type(None),), "DType": (DType,), "Layout": (Layout,),
    "SharedLayout": (SharedLayout,), "Warps": (Warps,),
}  # fmt: skip


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value has the annotated type, as far as the annotation is one of those that attributes usually have."""
    if annotation.startswith("tuple[") and annotation.endswith(", ...]"):
        return isinstance(value, tuple) and all(_fits(v, annotation[6:-6]) for v in value)
    return any(_is(value, form) for form in annotation.split(" | "))


def _is(value: Any, form: str) -> bool:
    if isinstance(value, bool) and form in ("int", "float"):
        return False
    return form not in _FORMS or isinstance(value, _FORMS[form])
