"""Writes docs/reference, a page for each family of the language's builtins, from the ops themselves, with those of `tilec.objects`, and docs/errors.md,
a copy of codes.md.

python -m tilec.reference        rewrites the pages; a test compares them with what this module writes

A builtin's docstring ends in an example, whose comments say in NumPy what it does:

    Example:
        r = tc.cumsum(x)                  # = np.cumsum(x, axis=-1)
        tc.store(O, [0, 8], x)            # O[:8, 8:24] = x
        tc.cumsum(s)                      # error: f32 has no axis

`# = E` is the value of what the line assigns, `# prints T` a line that it prints, `# error: words` says that the line is refused, and why; any
other comment is a statement that does the same to NumPy arrays. The names that stand for something (`x`, `T`, ...) are those of `GIVEN`. Lines with a
kernel of their own stand for themselves. `tests/test_reference.py` runs every example in every way there is.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tilec as tc
from tilec import codes, objects
from tilec.backend.isa import mma
from tilec.backend.target import TARGETS
from tilec.errors import TileError
from tilec.frontend.builtins import LANGUAGE, Builtin, Name
from tilec.frontend.stubs import declared
from tilec.ir.core import OPS, Op
from tilec.ir.dtypes import DType, bool_, f16, f32, i32, int6, uint8
from tilec.ir.notes import Refused
from tilec.ir.ops.arith import Math, Neg, Not
from tilec.ir.ops.base import Binary
from tilec.ir.ops.debug import Print
from tilec.ir.ops.matmul import Dot

PAGES = Path(__file__).parents[1] / "docs" / "reference"
MARK = "\nExample:\n"

# what examples may name: tiles, which are loaded first, scalars (of no extents), and tensors in capitals
GIVEN: dict[str, tuple[DType, tuple[int | str, ...]]] = {
    "x": (f32, (8, 16)), "y": (f32, (8, 16)), "n": (i32, (8, 16)), "m": (i32, (8, 16)), "p": (bool_, (8, 16)), "rows": (i32, (8,)),
    "a": (f16, (16, 16)), "b": (f16, (16, 16)), "w": (int6, (16, 16)), "s": (f32, ()), "i": (i32, ()),
    "T": (f32, ("R", "C")), "O": (f32, ("R", "C")), "H": (i32, ("R",)), "B": (uint8, (96,)),
}  # fmt: skip
EXTENTS = {"R": 24, "C": 40}
PROBED = [tc.dtype(t) for t in ("f16", "bf16", "f32", "f64", "i16", "i32", "i64", "u16", "u32", "u64", "bool", "int6", "uint8", "float8_e4m3")]
GROUPS = {
    "floats": ("f16", "bf16", "f32", "f64"), "integers": ("i16", "i32", "i64", "u16", "u32", "u64"), "bool": ("bool",),
    "storage types": ("int6", "uint8", "float8_e4m3"),
}  # fmt: skip
NAMES: dict[str, Any] = {
    "tc": tc, "cdiv": tc.cdiv, "DType": DType, **{str(t): t for t in tc.all_dtypes()}, **dict(zip("RC", tc.dims("R C"), strict=True)),
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """A builtin's example, line by line."""

    name: str
    lines: tuple[str, ...]

    @cached_property
    def split(self) -> list[tuple[str, str]]:
        """Each line's code and its comment."""
        parts = [re.split(r"(?:^|\s\s+)# ", line, maxsplit=1) for line in self.lines]
        return [(p[0].rstrip(), p[1] if len(p) > 1 else "") for p in parts]

    @property
    def code(self) -> list[str]:
        """What is right."""
        return [code for code, comment in self.split if code and not comment.startswith("error:")]

    @property
    def wrong(self) -> list[tuple[str, str]]:
        """Lines that are refused, with words of the error."""
        return [(code, comment.removeprefix("error:").strip()) for code, comment in self.split if comment.startswith("error:")]

    @property
    def checks(self) -> list[str]:
        """What the comments say, as NumPy statements; a line that is printed as a string alone."""
        found = []
        for code, comment in self.split:
            if comment.startswith("= "):
                found.append(f"{code.strip().partition(' = ')[0]} {comment}")
            elif comment and not comment.startswith("error:"):
                found.append(comment.removeprefix("prints "))
        return found

    @property
    def is_whole(self) -> bool:
        """Whether it has a kernel of its own."""
        return any(line.startswith("@tc.kernel") for line in self.lines)

    @property
    def results(self) -> list[str]:
        """The variables whose values the comments state."""
        stated = [s.partition(" = ")[0].split(", ") for s in self.checks]
        return [] if self.is_whole else [n for names in stated for n in names if n in assigned(self.code)]

    def kernel(self, outputs: dict[str, Any] | None = None, wrong: str = "", types: dict[str, DType] | None = None) -> tc.Kernel:
        """The example as a kernel; `outputs` are types of variables, which it stores to tensors `out_NAME`; `wrong` is a line to end with; `types`
        are in place of given ones."""
        return made(self.name, self.code if self.is_whole and not wrong else self.body(outputs or {}, wrong, types or {}))

    def body(self, outputs: dict[str, Any], wrong: str, types: dict[str, DType]) -> list[str]:
        code = [*([] if self.is_whole else self.code), *([wrong] if wrong else [])]
        named = words("\n".join(code))
        used = [n for n in GIVEN if n in named or (n == "T" and named & set(EXTENTS))]
        params, loads = [], []
        for name in used:
            (dtype, shape), dtype = GIVEN[name], types.get(name, GIVEN[name][0])
            is_tile = bool(shape) and not name.isupper()
            params.append(f"{name}{'_' * is_tile}: {dtype}{as_shape(shape)}")
            loads += [f"{name} = tc.load({name}_, {[0] * len(shape)}, {list(shape)})"] * is_tile
        params += [f"out_{n}: {t.dtype}{as_shape(t.shape or (1,))}" for n, t in outputs.items()]
        stores = [f"tc.store(out_{n}, {[0] * max(1, len(t.shape))}, {n})" for n, t in outputs.items()]
        inner = ["tc.grid(1)", *(loads if not wrong.startswith("tc.grid") else []), *code, *stores]
        return ["@tc.kernel(warps=1)", f"def k({', '.join(params)}):", *(f"    {line}" for line in inner)]

    def types(self, given: dict[str, DType] | None = None) -> dict[str, Any]:
        """The types of the results, by name."""
        names = self.results
        shown = Example(self.name, (*self.code, *(f"print('{n}', {n})" for n in names)))
        function = shown.kernel(types=given).function()
        printed = [op.values[0].type for op in function.walk() if isinstance(op, Print)]
        return dict(zip(names, printed, strict=True))


def made(name: str, lines: list[str]) -> tc.Kernel:
    """The kernel `k` of a text, which tilec can read like a file."""
    file, text = f"<example of {name}>", "\n".join(lines) + "\n"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names = dict(NAMES)
    exec(compile(text, file, "exec"), names)
    return names["k"]


def words(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text))


def assigned(code: list[str]) -> set[str]:
    return {n.id for n in ast.walk(ast.parse("\n".join(code))) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def as_shape(shape: Iterable[Any]) -> str:
    inside = ", ".join(map(str, shape))
    return f"[{inside}]" if inside else ""


# what there is


@dataclass(frozen=True)
class Entry:
    """A builtin, an operator or another name of the language: how it is called, what has its docstring, and where it belongs."""

    name: str
    what: Any

    @property
    def op(self) -> type[Op] | None:
        return self.what.op if isinstance(self.what, Builtin) else self.what if isinstance(self.what, type) else None

    @property
    def page(self) -> str:
        return "language" if self.op is None else self.op.__module__.rpartition(".")[2]

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.what) or ""

    @property
    def manual(self) -> str:
        return self.doc.partition(MARK)[0].strip()

    @property
    def example(self) -> Example:
        """Raises TileError if there is none."""
        text = self.doc.partition(MARK)[2]
        if not text:
            raise TileError(f"{self.name} has no example in its docstring", hint="as those of tilec/ir/ops have")
        return Example(self.name, tuple(inspect.cleandoc(text).splitlines()))

    @property
    def signature(self) -> str:
        if not isinstance(self.what, type):
            return f"tc.{self.name}{declared(self.what)}"
        return f"{self.name}x" if self.what in (Neg, Not) else f"x {self.name} y"

    @property
    def heading(self) -> str:
        return f"{self.op.mnemonic}: `{self.signature}`" if self.op and self.op is self.what else f"tc.{self.name}"

    @property
    def only_interpreted(self) -> str:
        """The types that do not run on a GPU."""
        return "f64" if self.op and issubclass(self.op, Math) and self.op.relative else ""


def entries() -> list[Entry]:
    """All builtins, operators and other names, in the order of the language."""
    operators = [Entry(op.symbol, op) for op in OPS.values() if issubclass(op, Binary) and op.symbol] + [Entry("-", Neg), Entry("~", Not)]
    return [*operators, *(Entry(name, x) for name, x in LANGUAGE.items() if not isinstance(x, type))]


# pages


def accepted(example: Example) -> Iterator[tuple[str, list[str]]]:
    """Names of tiles in the example, and the element types that it takes for them."""
    if example.is_whole:
        return
    used = [n for n in GIVEN if n in words("\n".join(example.code))]
    for dtype, indices in dict.fromkeys((GIVEN[n][0], n == "rows") for n in used):
        names = [n for n in used if GIVEN[n][0] == dtype and (n == "rows") == indices]
        yield ", ".join(names), [str(t) for t in PROBED if takes(example, dtype, names, t)]


def takes(example: Example, dtype: DType, names: list[str], other: DType) -> bool:
    """Whether the example may be written with another type for these names."""
    text = tuple(re.sub(rf"\b{dtype}\b", str(other), code) for code in example.code)
    try:
        Example(example.name, text).kernel(types=dict.fromkeys(names, other)).function()
    except TileError:
        return False
    return True


def architectures(entry: Entry) -> str:
    """Where it compiles, and for products which types have an instruction of their own there."""
    if entry.op is not Dot:
        return "all"
    where: dict[str, list[str]] = {}
    for one in mma.INSTRUCTIONS:
        a, b = one.factors
        if a == b:
            named = f"{a}" + f" ({one.mode})" * bool(one.mode)
            where[named] = [t.name for t in TARGETS.values() if not isinstance(mma.candidates(a, b, one.accumulator, one.mode, t.has), Refused)]
    everywhere = [n for n, found in where.items() if len(found) == len(TARGETS)]
    some = [f"{n} on {', '.join(found)}" for n, found in where.items() if len(found) < len(TARGETS)]
    return f"all. Matrix instructions multiply {', '.join(everywhere)} on all of them; {'; '.join(some)}; elsewhere these types are converted first"


def in_groups(types: list[str]) -> str:
    """Types as their groups, where all of a group are there."""
    found = []
    for group, members in GROUPS.items():
        inside = [t for t in members if t in types]
        found += [group] if len(inside) == len(members) else inside
    return ", ".join(found)


def refusal(entry: Entry, code: str) -> TileError | None:
    """What a wrong line of the example raises; None if nothing."""
    example = entry.example
    try:
        if isinstance(entry.what, Name) or entry.op is not None or "tc.kernel" in code:
            example.kernel(wrong=code).function()
        else:
            call(code)
    except TileError as error:
        return error
    return None


def call(code: str) -> Any:
    """A name that is called outside of kernels; one that takes values of the program is called in a kernel."""
    if code.startswith("tc."):
        return eval(code, dict(NAMES))
    return Example("a call", ()).kernel(wrong=code).function()


def section(entry: Entry) -> str:
    """One builtin's part of its page."""
    example = entry.example
    parts = [f"## {entry.heading}", f"```python\n{entry.signature}\n```", entry.manual]
    parts.append("```python\n" + "\n".join(line for line in example.lines if "# error:" not in line) + "\n```")
    facts = [f"`{names}`: {in_groups(types)}" for names, types in accepted(example)]
    if entry.only_interpreted:
        facts.append(f"{entry.only_interpreted} in the interpreter only")
    facts += [f"`{n}` is {t}" for n, t in example.types().items()]
    if facts:
        parts.append("Types: " + "; ".join(facts) + ".")
    parts.append(f"Architectures: {architectures(entry)}.")
    parts += [f"Refused: `{code}`, {error.code}: {error.message}." for code, _ in example.wrong if (error := refusal(entry, code))]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Reference

Written by `python -m tilec.reference` from the docstrings of the ops: don't edit. Every example is run in the interpreter, after each stage of the
compiler, and as PTX in the simulator, and compared with the NumPy in its comments.

In examples, these names are given, in a kernel of one block of 32 threads:

{given}

`# = E` is what the line's value equals, in NumPy; another comment does the same to NumPy arrays. In the lists of element types, *floats* are
f16, bf16, f32 and f64, *integers* i16, i32, i64, u16, u32 and u64; *storage types* are those of up to 8 bits, which do not compute. The architectures
are sm_80 to sm_121a; where the hardware lacks an instruction, others do its work.

{index}

Outside of kernels:

{outside}
"""


def pages() -> dict[str, str]:
    """The text of each file of docs/reference, by its name."""
    families: dict[str, list[Entry]] = {}
    for entry in entries():
        families.setdefault(entry.page, []).append(entry)
    found = {}
    index = []
    for page, members in families.items():
        module = inspect.getdoc(inspect.getmodule(members[0].op)) if members[0].op else LANGUAGE_PAGE
        head = (module or "").partition("\n\n")[0]
        title = head.replace("\n", " ").rstrip(".")
        found[f"{page}.md"] = "\n".join([f"# {title}\n", *map(section, members)])
        links = ", ".join(f"[{e.name}]({page}.md#{anchor(e)})" for e in members)
        index.append(f"- [{title}]({page}.md): {links}")
    given = "\n".join(f"- `{name}`: {given_as(name)}" for name in GIVEN)
    outside = list(objects.pages())
    found |= {file: text for file, text, _ in outside}
    return {"README.md": INTRODUCTION.format(given=given, index="\n".join(index), outside="\n".join(link for *_, link in outside)), **found}


LANGUAGE_PAGE = "Names that are no operations."


def given_as(name: str) -> str:
    dtype, shape = GIVEN[name]
    kind = "scalar" if not shape else "tensor" if name.isupper() else "tile"
    return f"{kind} {dtype}{as_shape(EXTENTS.get(str(n), n) if kind != 'tensor' else n for n in shape)}"


def anchor(entry: Entry) -> str:
    """The anchor that Markdown makes of the heading."""
    return re.sub(r"[^\w\- ]", "", entry.heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text)
    (PAGES.parent / "errors.md").write_text(codes.page())
