"""The source text of a Python function: its AST, the place of each node, and what its names mean."""

from __future__ import annotations

import ast
import builtins
import linecache
import time
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

from tilec.errors import Loc, TileError


class Source:
    """A function's text. Columns of the AST count bytes from 0, those of `Loc` count characters from 1."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.name = function.__name__
        self.file = function.__code__.co_filename
        self.since = time.time()  # when the function was there already

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file, as they are when they are asked for first."""
        linecache.checkcache(self.file)
        return linecache.getlines(self.file, self.function.__globals__)

    @cached_property
    def _parsed(self) -> tuple[list[str], ast.FunctionDef]:
        """The lines of the file, and the definition."""
        line, lines = self.function.__code__.co_firstlineno, self.lines
        node = _functions("".join(lines)).get(line)
        if node is None:
            raise TileError(f"the source of {self.name} is not to be had", loc=Loc(self.file, line), hint="define kernels in a file")
        if not isinstance(node, ast.FunctionDef):
            raise TileError("a kernel is an ordinary function, defined by def", loc=Loc(self.file, line), hint="write it as `def name(...):`")
        return lines, node

    @property
    def node(self) -> ast.FunctionDef:
        return self._parsed[1]

    def loc(self, node: ast.AST, caller: Loc | None = None) -> Loc:
        """Where a node stands; a node of several lines is marked to the end of its first."""
        lines, _ = self._parsed
        line: int = node.lineno  # type: ignore[attr-defined]
        text = lines[line - 1]
        start = _characters(text, node.col_offset)  # type: ignore[attr-defined]
        end_line, end = node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
        end = _characters(text, end) if end_line == line else len(text.rstrip())
        return Loc(self.file, line, start + 1, end + 1, caller)

    @property
    def head(self) -> Loc:
        """Where the function's name stands, behind `def`."""
        loc = self.loc(self.node)
        return Loc(loc.file, loc.line, loc.column + 4, loc.column + 4 + len(self.name))

    @property
    def span(self) -> tuple[str, int, int]:
        """The file, and the first and last line of the function, its decorators included."""
        return self.file, self.function.__code__.co_firstlineno, self.node.end_lineno or self.node.lineno

    def text(self, node: ast.expr) -> str:
        """An expression as its author wrote it."""
        lines, _ = self._parsed
        return ast.get_source_segment("".join(lines), node) or ast.unparse(node)

    def argument(self, name: str) -> Loc:
        """Where a parameter is declared."""
        args = self.node.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
        return self.loc(next(a for a in every if a.arg == name))

    @cached_property
    def closure(self) -> dict[str, Any]:
        """Variables of enclosing functions that have a value."""
        found = {}
        for name, cell in zip(self.function.__code__.co_freevars, self.function.__closure__ or (), strict=True):
            try:
                found[name] = cell.cell_contents
            except ValueError:
                continue  # not assigned yet
        return found

    def lookup(self, name: str) -> Any:
        """What a name that is not local means: enclosing functions, the module, Python's builtins. KeyError if nothing."""
        for names in (self.closure, self.function.__globals__, vars(builtins)):
            if name in names:
                return names[name]
        raise KeyError(name)

    def visible(self) -> list[str]:
        """Names that `lookup` finds, for proposals."""
        return [*self.closure, *self.function.__globals__]


def _characters(text: str, count: int) -> int:
    """How many characters `count` bytes of UTF-8 are."""
    return count if text.isascii() else len(text.encode()[:count].decode(errors="ignore"))


@lru_cache(maxsize=8)
def _functions(text: str) -> dict[int, ast.AST]:
    """Every function of a file by the number of its first line, that of its first decorator if it has one."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # the file has changed since it was run
        return {}
    found: dict[int, ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[min(n.lineno for n in (node, *node.decorator_list))] = node
        elif isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, node)
    return found
