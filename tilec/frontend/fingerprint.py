"""What the IR of a kernel rests on, told without making the IR: its text, and what each name in it stands for.

The parser sees a function's text, and looks up the names in it: in enclosing functions, in the module, among Python's builtins; it takes
attributes of what it finds, and inlines helpers, whose texts and names count likewise. So two kernels with equal fingerprints have equal IR.
What can't be told by its value (an instance of a class of the user's, a plain function that is called when the kernel is compiled, which
may do anything) has no fingerprint, and then neither has the kernel.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from tilec.frontend.builtins import LANGUAGE, Builtin, Dim, HelperFunction, Name, TypeName
from tilec.frontend.signature import Signature
from tilec.frontend.source import Source
from tilec.ir.dtypes import DType
from tilec.ir.layout import Layout
from tilec.ir.shared import SharedLayout
from tilec.records import names

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
PURE = {  # functions of Python's whose results depend on their arguments alone; the last two are ops in a kernel
    "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "float", "int", "isinstance", "len", "list", "max", "min", "pow", "range",
    "repr", "reversed", "round", "sorted", "str", "sum", "tuple", "zip", "print", "breakpoint",
}  # fmt: skip
RECENT = 2.0  # seconds; a file that is so young may have changed after Python read it


class Untold(Exception):
    """Something has no fingerprint."""


def fingerprint(signature: Signature, constants: dict[str, Any], warps: int) -> str | None:
    """A text that is equal only for kernels of equal IR, constants given; None if there is none.

    Places in the source are not part of it, but the lines of the file are, as they all are read together.
    """
    if sys.flags.optimize:  # the names in assertions are not in the bytecode then
        return None
    told = _Teller()
    try:
        head = [f"{p.name} {told(p.dtype)} {p.shape!r} {p.is_tensor} {p.strided}" for p in signature.parameters]
        values = [f"{name} {told(value)}" for name, value in constants.items()]
        return "\n".join([signature.name, str(warps), *head, *values, told.function(signature.source)])
    except (Untold, RecursionError):
        return None


class _Teller:
    """Writes down values. A helper met again is told by its number."""

    def __init__(self) -> None:
        self.helpers: dict[int, int] = {}
        self.names: frozenset[str] = frozenset()  # that occur in the function at hand, as variables or attributes

    def __call__(self, x: Any) -> str:
        kind = type(x)
        if kind in PLAIN:
            return f"{kind.__name__} {x!r}"
        if kind in (tuple, list):
            return f"{kind.__name__}({', '.join(map(self, x))})"
        if kind is dict:
            return f"dict({', '.join(f'{self(k)}: {self(v)}' for k, v in x.items())})"
        if isinstance(x, np.generic):
            return f"{x.dtype} {x.item()!r}"
        for kinds, rule in _RULES:
            if isinstance(x, kinds):
                return rule(self, x)
        raise Untold

    def function(self, source: Source) -> str:
        """A function's text, and its names with what they stand for."""
        function = source.function
        if id(function) in self.helpers:
            return f"helper {self.helpers[id(function)]}"
        self.helpers[id(function)] = len(self.helpers)
        _settled(source)
        outer, self.names = self.names, frozenset(_names(function.__code__))
        told = [f"{function.__qualname__} line {function.__code__.co_firstlineno}"]
        told += [self((function.__defaults__, function.__kwdefaults__))]
        told += [f"{name} = {self(source.lookup(name))}" for name in sorted(self.names) if _stands(source, name)]
        self.names = outer
        return "\n".join([*told, "".join(source.lines)])

    def module(self, x: ModuleType) -> str:
        """The attributes whose names occur."""
        return f"{x.__name__}({', '.join(f'{n}: {self(getattr(x, n))}' for n in sorted(self.names) if hasattr(x, n))})"

    def named(self, x: Any) -> str:
        """A function or type that its module's name and its own tell, and whose results depend on its arguments alone."""
        module, name = str(getattr(x, "__module__", None)), getattr(x, "__qualname__", x.__name__)
        room = module.split(".")
        pure = (
            (module == "builtins" and name in PURE) or module == "math" or room[:2] in (["tilec", "ir"], ["tilec", "frontend"])
            or (isinstance(x, np.ufunc) or (isinstance(x, type) and issubclass(x, np.generic)))
        )  # fmt: skip
        if not pure or getattr(sys.modules.get(module), name, None) is not x:
            raise Untold
        return f"{module}.{name}"

    def name(self, x: Name) -> str:
        if LANGUAGE.get(x.__name__) is not x or (isinstance(x, Builtin) and x.op.__module__.split(".")[0] != "tilec"):
            raise Untold
        return f"tc.{x.__name__}"

    def data(self, x: Any) -> str:
        """One of tilec's own types, by its fields."""
        if type(x).__module__.split(".")[0] != "tilec" or not hasattr(x, "__fields__"):
            raise Untold
        return f"{type(x).__name__}({', '.join(f'{name}={self(getattr(x, name))}' for name in names(x))})"


_RULES: tuple[tuple[Any, Callable[[_Teller, Any], str]], ...] = (
    (DType, _Teller.data),
    ((Layout, SharedLayout), lambda told, x: f"layout {x}"),
    ((Dim, TypeName), lambda told, x: f"{type(x).__name__} {x.name}"),
    (Name, _Teller.name),
    (HelperFunction, lambda told, x: told.function(x.source)),
    (ModuleType, _Teller.module),
    ((FunctionType, BuiltinFunctionType, type, np.ufunc), _Teller.named),
)


def _names(code: CodeType) -> Iterator[str]:
    """Names of globals, of attributes and of variables of enclosing functions, in comprehensions too."""
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _stands(source: Source, name: str) -> bool:
    """Whether a name, which may be an attribute's only, means something by itself."""
    return name in source.closure or name in source.function.__globals__ or hasattr(builtins, name)


def _settled(source: Source) -> None:
    """Refuse a file that may have changed since Python read the function from it."""
    try:
        about = os.stat(source.file)
    except OSError:
        raise Untold from None
    if (about.st_mtime if os.name == "nt" else about.st_ctime) > source.since - RECENT:
        raise Untold
