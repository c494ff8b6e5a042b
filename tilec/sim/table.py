"""The instruction table: a row is a pattern as the PTX manual writes it, a signature, and a meaning.

    @instruction("mul.MODE.T", "T = T T", MODE="lo hi", T="u16 u32 u64 s16 s32 s64")
    def mul(MODE, T): ...

Pattern: `{.x}` is optional, `{.x .y}` too and in either order. A part named by a keyword argument is a choice of the words given there
(it arrives in the meaning as the word, or None); any other part is a literal flag (it arrives as True or False, `::` written `_`). The
meaning is called once per instruction of a program, with the modifiers as keyword arguments, and returns the function that is called
with arrays.

Signature: destinations `=` sources, each a type, or the name of a part that is one, or `wide(T)` (twice the bits) or `bits(T)` (unsigned
bits); `T*4` or `T*vec` a vector, `[]` an address, `T|pred` a destination with an optional second one, `T?` an optional source,
`frag(T)*4` registers of an accumulator (isa/matrix.py), `imm` an integer, `sym` a name, `_` an operand that is not looked at.
docs/simulator.md tells the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from typing import Any

TYPES = [
    "pred",
    "b8",
    "b16",
    "b32",
    "b64",
    "b128",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "f16",
    "bf16",
    "f16x2",
    "bf16x2",
    "s16x2",
    "u16x2",
    "f32",
    "f64",
]
_WIDE = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}
BITS = {t: "pred" if t == "pred" else "b32" if t.endswith("x2") else "b" + re.sub(r"\D", "", t) for t in TYPES}
SPACES = "global shared shared::cta local const param param::entry param::func"


@dataclass(frozen=True)
class Slot:
    """One part of a pattern: `name` among `words`, or the literal `name` if there are none."""

    name: str
    words: tuple[str, ...]
    optional: bool

    @property
    def key(self) -> str:
        return re.sub(r"\W+", "_", self.name)


@dataclass(frozen=True)
class Formal:
    """What a signature says of one operand."""

    kind: str  # "value", "fragment", "address", "imm", "sym", "skip"
    type: str = ""
    count: int = 0  # 0: no vector
    optional: bool = False
    pair: str = ""  # type of the optional second destination

    @property
    def vector(self) -> bool:
        return self.count > 0


@dataclass
class Row:
    """One row of the table. `make(**modifiers)` gives the function that computes."""

    opcode: str
    pattern: str
    orders: tuple[tuple[Slot, ...], ...]
    signature: str | Callable[..., str]
    make: Callable[..., Callable[..., Any]]
    machine: bool = False
    gather: bool = False
    members: int | None = None
    role: str = ""  # what codegen and machine treat specially: "bra", "exit", "bar", "call", "fragment", ...
    where: Callable[..., bool] | None = None
    words: dict[str, str] = field(default_factory=dict)

    def match(self, parts: tuple[str, ...]) -> dict[str, Any] | None:
        """Modifiers by slot, or None."""
        for slots in self.orders:
            mods = _match(slots, parts)
            if mods is not None and (self.where is None or self.where(**mods)):
                return mods
        return None

    def formals(self, mods: dict[str, Any]) -> tuple[tuple[Formal, ...], tuple[Formal, ...]]:
        """Destinations and sources."""
        text = self.signature if isinstance(self.signature, str) else self.signature(**mods)
        left, equals, right = text.partition("=")
        if not equals:
            left, right = "", text
        return tuple(_formal(w, mods) for w in left.split()), tuple(_formal(w, mods) for w in right.split())


TABLE: dict[str, list[Row]] = {}


def instruction(
    pattern: str,
    signature: str | Callable[..., str],
    *,
    machine: bool = False,
    gather: bool = False,
    members: int | None = None,
    role: str = "",
    where: Callable[..., bool] | None = None,
    **words: str,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a row (see the head of this file). `where(**modifiers)` refuses combinations that the pattern cannot; `members` is the
    index of the source that holds the member mask of a gathering instruction."""
    opcode, orders = _slots(pattern, words)

    def add(make: Callable[..., Any]) -> Callable[..., Any]:
        TABLE.setdefault(opcode, []).append(Row(opcode, pattern, orders, signature, make, machine, gather, members, role, where, words))
        return make

    return add


def _slots(pattern: str, words: dict[str, str]) -> tuple[str, tuple[tuple[Slot, ...], ...]]:
    """The opcode, and the sequences of slots that fit: several if parts may stand in any order, `{.a .b}`."""
    match = re.match(r"[a-z]\w*", pattern)
    assert match, pattern
    orders: list[tuple[Slot, ...]] = [()]
    unused = set(words)
    for group, single in re.findall(r"\{([^}]*)\}|\.([\w:]+)", pattern[match.end() :]):
        names = re.findall(r"\.([\w:]+)", group) or [single]
        unused -= set(names)
        slots = [Slot(name, tuple(words.get(name, "").split()), bool(group)) for name in names]
        orders = [before + order for before in orders for order in permutations(slots)]
    assert not unused, f"{pattern}: no part named {unused}"
    return match[0], tuple(orders)


def _match(slots: tuple[Slot, ...], parts: tuple[str, ...]) -> dict[str, Any] | None:
    if not slots:
        return None if parts else {}
    slot, rest = slots[0], slots[1:]
    if parts and (parts[0] in slot.words if slot.words else parts[0] == slot.name):
        mods = _match(rest, parts[1:])
        if mods is not None:
            return {slot.key: parts[0] if slot.words else True} | mods
    if slot.optional:
        mods = _match(rest, parts)
        if mods is not None:
            return {slot.key: None if slot.words else False} | mods
    return None


def _formal(word: str, mods: dict[str, Any]) -> Formal:
    if word == "[]":
        return Formal("address")
    if word in ("imm", "sym"):
        return Formal(word)
    if word == "_":
        return Formal("skip")
    optional = word.endswith("?")
    word, _, pair = word.rstrip("?").partition("|")
    name, _, count = word.partition("*")
    kind = "fragment" if name.startswith("frag(") else "value"
    name = name[5:-1] if kind == "fragment" else name
    if name.startswith("wide("):
        type_ = _WIDE[mods[name[5:-1]]]
    elif name.startswith("bits("):
        type_ = BITS[mods[name[5:-1]]]
    else:
        part = mods.get(name)
        type_ = part if isinstance(part, str) else name
    assert type_ in TYPES, f"{word}: {type_} is no type"
    if count and not count.isdigit():
        count = (mods[count] or "v0")[1:]
    return Formal(kind, type_, int(count or 0), optional, pair)


@lru_cache(None)
def lookup(opcode: str) -> tuple[Row, dict[str, Any]] | None:
    """The row that takes this opcode with all its modifiers, or None."""
    name, *parts = opcode.split(".")
    for row in TABLE.get(name, ()):
        mods = row.match(tuple(parts))
        if mods is not None:
            return row, mods
    return None


def explain(opcode: str) -> str:
    """Why `lookup` found nothing, in the user's words."""
    rows = TABLE.get(opcode.split(".")[0])
    if not rows:
        return "no such instruction in the table"
    return "the table has " + ", ".join(r.pattern for r in rows[:4]) + (", ..." if len(rows) > 4 else "")
