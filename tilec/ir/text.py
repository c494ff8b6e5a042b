"""Textual IR: `print_function` writes a Function, `parse` reads it back.

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
brackets, `none` for an absent one), attributes that differ from their default as name=value, regions as name=(arguments) { ... }, and
the types of the results. A value is called by its name hint: `%x`, `%x.1`, `%x.2` if several have it, `%"any text"` if it is no
identifier, and a number if it has none. A statement stands on one line (its regions aside); `#` begins a comment.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tilec.errors import Loc
from tilec.ir.core import Block, Field, Function, Kind, Op, Value
from tilec.ir.dtypes import Codebook, DType, nf4
from tilec.ir.layout import Layout
from tilec.ir.shared import SharedLayout
from tilec.ir.types import Warps

INDENT = "  "
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def print_function(function: Function, *, locations: bool = False) -> str:
    """The text of a function; with `locations`, each op's place in the author's file follows it as `at "file":line:column`."""
    return _Printer(locations).function(function)


def show_value(value: Any) -> str:
    """An attribute as text. Raises TypeError for what has no text form."""
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
    raise TypeError(f"{type(value).__name__} has no text form")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _name(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _quoted(name)


class _Printer:
    """Names values in the order in which they are printed, so that printing what was parsed gives the same names again."""

    def __init__(self, locations: bool):
        self.locations = locations
        self.names: dict[Value, str] = {}
        self.uses: Counter[str] = Counter()

    def function(self, f: Function) -> str:
        params = ", ".join(map(self.typed, f.params))
        constants = ", ".join(self.constants(f.constants))
        head = f"kernel @{_name(f.name)}({params}) warps={f.warps}" + (f" constants={{{constants}}}" if constants else "")
        launch = [f"{INDENT}launch {{", *self.block(f.launch, 2 * INDENT), f"{INDENT}}}"] if f.launch.ops else []
        body = list(self.block(f.body, INDENT))
        return "\n".join([*_codebooks(f), head + self.place(f.loc) + " {", *launch, *body, "}"])

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
        operands = ", ".join(self.operand(f, getattr(op, f.name)) for f in op.fields if f.kind not in (Kind.ATTRIBUTE, Kind.REGION))
        line = " ".join([indent + head + op.mnemonic, *[operands] * bool(operands), *_attributes(op)])
        for f in op.fields:
            if f.kind is Kind.REGION:
                region = getattr(op, f.name)
                arguments = f"({', '.join(map(self.typed, region.args))}) " if region.args else ""
                yield f"{line} {f.name}={arguments}{{"
                yield from self.block(region, indent + INDENT)
                line = indent + "}"
        types = ", ".join(str(v.type) for v in op.results)
        yield line + (f" : {types}" if types else "") + self.place(op.loc)

    def operand(self, field: Field, given: Any) -> str:
        if field.kind is Kind.VARIADIC:
            return "[" + ", ".join(map(self.value, given)) + "]"
        return "none" if given is None else self.value(given)

    def typed(self, value: Value) -> str:
        return f"{self.value(value)}: {value.type}"

    def value(self, value: Value) -> str:
        """`%name`, made unique by a suffix."""
        if value not in self.names:
            n = self.uses[value.name]
            self.uses[value.name] += 1
            self.names[value] = f"%{_name(value.name)}" + (f".{n}" if n else "") if value.name else f"%{n}"
        return self.names[value]

    def place(self, loc: Loc | None) -> str:
        """The suffix that says where an op comes from: innermost place first, then what called it."""
        words, at = [], loc if self.locations else None
        while at:
            span = f"{at.column}-{at.end_column}" if at.end_column else str(at.column)
            words += [" from " if words else " at ", f"{_quoted(at.file)}:{at.line}:{span}"]
            at = at.caller
        return "".join(words)


def _attributes(op: Op) -> Iterator[str]:
    for f in op.fields:
        value = getattr(op, f.name)
        if f.kind is Kind.ATTRIBUTE and not (type(value) is type(f.default) and value == f.default):
            try:
                yield f"{f.name}={show_value(value)}"
            except TypeError as error:
                raise TypeError(f"{op.mnemonic}: attribute {f.name}: {error}") from None


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
