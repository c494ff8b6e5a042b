"""Writes `tilec/__init__.pyi`, the types that editors and checkers see, from the ops and the names of the language.

python -m tilec.frontend.stubs        rewrites the file; a test compares it with what this module writes
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tilec.frontend.builtins import LANGUAGE, Builtin, signature_of
from tilec.frontend.expressions import METHODS, SYMBOLS
from tilec.ir.core import Op
from tilec.ir.dtypes import DType

PACKAGE = Path(__file__).parents[1]
STUB = PACKAGE / "__init__.pyi"

_DUNDER = {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "@": "matmul", "&": "and", "|": "or", "^": "xor",
    "<<": "lshift", ">>": "rshift", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne",
}  # fmt: skip

_HEAD = '''"""Types of the language. Written by `python -m tilec.frontend.stubs` from the ops: don't edit."""
# ruff: noqa: E501, I001

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, ClassVar, TypeVar, overload

'''

# what a name is outside of kernels
_OUTSIDE = {"load": 'def load(folder: str | PathLike[str]) -> Bundle:\n    """The kernels that `tilec compile` wrote into a folder."""\n'}

_SHARED_TOO = ("bitcast", "permute", "reshape", "transpose")  # of a shared tile they are views

_TYPES = '''
class Tile:
    """A tile in registers, or a scalar, inside a kernel. Operators compute elementwise; `@` is `dot`."""

    shape: tuple[int, ...]
    dtype: DType
    rank: int
    T: Tile
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __getitem__(self, axes: Any) -> Tile:
        """`x[:, None]`: new axes of extent 1."""
    def __neg__(self) -> Tile: ...
    def __pos__(self) -> Tile: ...
    def __invert__(self) -> Tile: ...
    def __abs__(self) -> Tile: ...
    def __index__(self) -> int: ...
    def __int__(self) -> int: ...
    def __float__(self) -> float: ...
{operators}
{methods}

class GlobalTensor:
    """A tensor parameter, inside a kernel."""

    shape: tuple[Any, ...]
    dtype: DType
    rank: int

class SharedTile:
    """A tile in shared memory, inside a kernel."""

    shape: tuple[int, ...]
    dtype: DType
    rank: int
    T: SharedTile
    def __getitem__(self, index: Any) -> SharedTile: ...
    def reshape(self, shape: Sequence[int]) -> SharedTile: ...
    def transpose(self, axes: Sequence[int] | None = None) -> SharedTile: ...

class BarrierRow:
    """A barrier, or a row of them, inside a kernel."""

    def __getitem__(self, index: Tile | int) -> BarrierRow: ...

Number = int | float | bool
Operand = Tile | int | float | bool
Index = Tile | int
Function = Callable[..., Any]
Memory = GlobalTensor | SharedTile
View = TypeVar("View", Tile, SharedTile)

class Dim:
    """The name of a runtime dimension; inside a kernel its value, an i32 scalar."""

    name: str

class HelperFunction:
    """A function whose calls are inlined into kernels."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

'''


def stub() -> str:
    """The text of the stub file."""
    methods = [_indent(_method(name, LANGUAGE[target])) for name, target in METHODS.items()]
    types = _TYPES.replace("{operators}", "\n".join(_operators())).replace("{methods}", "\n".join(methods))
    names = [_define(name, x) for name, x in LANGUAGE.items() if not isinstance(x, type)]
    exported = [a.asname or a.name for statement in _imports() for a in statement.names]
    starred = [f'    "{name}",' for name in sorted({*exported, *LANGUAGE}) if not hasattr(builtins, name)]
    return "\n".join([_HEAD + "\n".join(_exports()), "", "__all__ = [", *starred, "]", types]) + "\n".join(names)


def _imports() -> list[ast.ImportFrom]:
    """What `tilec/__init__.py` imports by name, at once and when it is asked for."""
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    late = next(ast.literal_eval(s.value) for s in body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "_LATE")
    modules: dict[str, list[ast.alias]] = {}
    for name, module in late.items():
        modules.setdefault(module, []).append(ast.alias(name))
    found = [s for s in body if isinstance(s, ast.ImportFrom) and s.names[0].name != "*"]
    return sorted([*found, *(ast.ImportFrom(module, names, 0) for module, names in modules.items())], key=lambda s: str(s.module))


def _exports() -> Iterator[str]:
    for statement in _imports():
        yield f"from {statement.module} import ("
        yield from (f"    {a.name} as {a.asname or a.name}," for a in statement.names)
        yield ")"


def _operators() -> Iterator[str]:
    for symbol, op in SYMBOLS.items():
        name = _DUNDER[symbol]
        ignore = "  # type: ignore[override]" if name in ("eq", "ne") else ""
        yield f"    def __{name}__(self, other: Operand) -> Tile:{ignore}\n        {_quoted(inspect.getdoc(op) or '', 8)}"
        if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
            yield f"    def __r{name}__(self, other: Operand) -> Tile: ..."


def declared(x: Any) -> str:
    """Parameters and result of a name of the language, as a type checker sees them; or those of a signature."""
    return _show(_typed(x.op, signature_of(x.op)) if isinstance(x, Builtin) else x if isinstance(x, inspect.Signature) else inspect.signature(x))


def _define(name: str, x: Any) -> str:
    text = _manual(x.op) if isinstance(x, Builtin) else inspect.getdoc(x) or ""
    made = f"def {name}{declared(x)}:\n    {_quoted(text, 4)}\n"
    if name in _SHARED_TOO:
        made = made.replace("(x: Tile", "(x: View", 1).replace("-> Tile:", "-> View:", 1)
    return f"@overload\n{made}\n@overload\n{_OUTSIDE[name]}" if name in _OUTSIDE else made


def _method(name: str, builtin: Builtin) -> str:
    signature = _typed(builtin.op, signature_of(builtin.op))
    receiver = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = list(signature.parameters.values())[1:]
    return f"def {name}{_show(signature.replace(parameters=[receiver, *rest]))}: ..."


def _typed(op: type[Op], signature: inspect.Signature) -> inspect.Signature:
    """A builtin's signature in the words of the stub."""
    result = _result(op, signature)
    parameters = [p.replace(annotation=_type(p.name, str(p.annotation))) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=result)


def _result(op: type[Op], signature: inspect.Signature) -> str:
    if str(signature.return_annotation) in ("None", "<class 'NoneType'>"):
        return "None"
    given = str(inspect.get_annotations(op.infer).get("return"))
    if "BarrierType" in given:
        return "BarrierRow"
    return "SharedTile" if "SharedType" in given else "GlobalTensor" if "TensorType" in given else "Tile"


def _type(name: str, annotation: str) -> str:
    memory = name in ("source", "target", "memory")
    return re.sub(r"\bValue\b", "Memory" if memory else "BarrierRow" if name == "barrier" else "Tile", annotation)


def _show(signature: inspect.Signature) -> str:
    """The signature as text, annotations as written, defaults short."""
    parts, starred = [], False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or p.kind in (p.VAR_POSITIONAL, p.KEYWORD_ONLY)
        name = ("*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else "") + p.name
        text = name if p.annotation is p.empty else f"{name}: {p.annotation}"
        if p.default is not p.empty:
            plain = p.default is None or isinstance(p.default, bool | int | float | str | DType)
            text += f" = {p.default!r}" if plain else " = ..."
        parts.append(text)
    returns = signature.return_annotation
    return f"({', '.join(parts)}) -> {'Any' if returns is inspect.Signature.empty else returns}"


def _manual(op: type[Op]) -> str:
    """The op's docstring, and what its `build` adds."""
    build = getattr(op, "build", None)
    own = inspect.getdoc(build) if build is not None and "build" in vars(op) else None
    return "\n\n".join(t for t in (inspect.getdoc(op), own) if t)


def _quoted(text: str, indent: int) -> str:
    """A docstring."""
    lines = textwrap.indent(text + ("\n" if "\n" in text else "") + '"""', " " * indent)
    return '"""' + lines[indent:]


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")


if __name__ == "__main__":
    STUB.write_text(stub())
