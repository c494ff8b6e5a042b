"""What goes wrong, and where: source locations, and the one error class that a user meets.

Everything that tilec refuses is a `TileError`: a message in the user's words, the place in the user's file, notes at other places
that matter, and a remedy where there is one. Code that checks something calls `require` and knows nothing of places; whoever knows
the place encloses it in `with loc:`, which stamps errors that have none yet.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import ParamSpec, TypeVar

from tilec.codes import Code, of_module
from tilec.records import record

__all__ = ["Code", "Loc", "TileError", "alike", "caller", "hearing", "notice", "presented", "rendered", "require"]

P = ParamSpec("P")
R = TypeVar("R")


@record()
class Loc:
    """A span of source text: `line` and `column` count from 1, `end_column` is exclusive and on the same line."""

    file: str
    line: int
    column: int = 1
    end_column: int = 0
    caller: Loc | None = None  # where the function that holds this place was inlined

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def __enter__(self) -> Loc:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(error, TileError) and error.loc is None:
            error.loc = self

    @staticmethod
    def of_line(file: str, line: int) -> Loc:
        """A whole line, as far as it can be read."""
        text = linecache.getline(file, line).rstrip()
        return Loc(file, line, len(text) - len(text.lstrip()) + 1, len(text) + 1)

    def excerpt(self) -> str:
        """The source line with a caret under the span, or an empty string if the file can't be read."""
        text = linecache.getline(self.file, self.line).rstrip("\n")
        if not text.strip():
            return ""
        width = max(1, min(self.end_column, len(text) + 1) - self.column)
        pad = "".join("\t" if c == "\t" else " " for c in text[: self.column - 1])
        return f"    {text}\n    {pad}{'^' * width}"


def alike(name: str, known: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Up to `n` of the known names that may have been meant."""
    import difflib  # only for those who err

    return difflib.get_close_matches(name, list(known), n, cutoff)


class TileError(Exception):
    """Something that tilec refuses, said in the user's words.

    `loc` is the place it points to, `notes` are other places that matter, `hint` is the remedy, `code` its kind: what the module that
    raises it is about, if it is not named.
    """

    def __init__(
        self, message: str, *, loc: Loc | None = None, hint: str | None = None, notes: tuple[tuple[str, Loc], ...] = (), code: Code | None = None
    ):
        super().__init__(message)
        self.message = message
        self.loc = loc
        self.hint = hint
        self.notes = list(notes)
        self.code = code or of_module()

    def __str__(self) -> str:
        return rendered(self.message, self.code, self.loc, self.hint, self.notes)


def rendered(message: str, code: Code, loc: Loc | None, hint: str | None = None, notes: Iterable[tuple[str, Loc]] = ()) -> str:
    """What went wrong, as users see it: the place and the message, the line with carets, the remedy, notes, and the calls that led there."""
    parts = [f"{loc}: error[{code}]: {message}" if loc else f"error[{code}]: {message}"]
    if loc:
        parts += [loc.excerpt()]
    if hint:
        parts += [f"  help: {hint}"]
    calls = []
    at = loc.caller if loc else None
    while at:
        calls += [("called from here", at)]
        at = at.caller
    for text, place in (*calls, *notes):
        parts += [f"{place}: note: {text}", place.excerpt()]
    return "\n".join(p for p in parts if p)


def require(condition: object, message: str, *, hint: str | None = None, loc: Loc | None = None, code: Code | None = None) -> None:
    """Raise `TileError(message)` unless `condition` holds. The enclosing `with loc:` adds the place."""
    if not condition:
        raise TileError(message, hint=hint, loc=loc, code=code)


_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def notice(text: str) -> None:
    """Warn of something that the compiler does other than it was asked, at the place that called into it."""
    heard = _heard.get()
    if heard is not None:
        heard.append(text)
    at = caller()
    warnings.warn_explicit(text, UserWarning, at.file if at else "<kernel>", at.line if at else 1)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """Collects the notices that are given inside; they are given nevertheless."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def presented(entry: Callable[P, R]) -> Callable[P, R]:
    """Marks an entry that users call: a TileError leaves it with the caller's place if it has none, and without tilec's own frames."""

    @functools.wraps(entry)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return entry(*args, **kwargs)
        except TileError as error:
            error.loc = error.loc or caller()
            raise error.with_traceback(None) from None

    return call


def caller() -> Loc | None:
    """The place outside of tilec that called into it: line, and from Python 3.11 on the columns of the call. PyTorch's modules and operators, which may
    stand between, are no such place."""
    frame = sys._getframe()
    while frame is not None and _passed(frame):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return None
    spans = list(frame.f_code.co_positions())[frame.f_lasti // 2 : frame.f_lasti // 2 + 1] if hasattr(frame.f_code, "co_positions") else []
    line, end_line, column, end_column = spans[0] if spans else (None, None, None, None)
    one_line = line is not None and line == end_line
    return Loc(frame.f_code.co_filename, line or frame.f_lineno, (column or 0) + 1, (end_column or 0) + 1 if one_line else 0)


def _passed(frame: FrameType) -> bool:
    """Whether a frame is tilec's own, what `dataclass` wrote for it, which is in no file, among them, or PyTorch's."""
    here, names = os.path.dirname(__file__), frame.f_globals
    own = frame.f_code.co_filename.startswith(here) or str(names.get("__file__", "")).startswith(here)
    return own or str(names.get("__name__", "")).partition(".")[0] == "torch"
