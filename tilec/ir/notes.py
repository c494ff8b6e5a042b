"""Why: what the rules that choose instructions, layouts and pipelines have to say of their choices.

A predicate that decides says no by a `Refused`, which is false and holds the reason, so that the reason can't drift from the rule. Whoever
acts on it passes the reason on with `say`. It is kept while somebody listens (`noting`), else it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from tilec.errors import Loc
from tilec.records import record

__all__ = ["NOT_ALLOWED", "Note", "Refused", "chosen", "explain_width", "noting", "say"]


@record()
class Refused:
    """The answer no, and `why`. It is false, and empty where a list of choices is asked for."""

    why: str

    def __bool__(self) -> bool:
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Note(NamedTuple):
    """Something said of an op: its place, the words, and, of an access to memory, the bytes that a thread moves at once; or a choice: what was offered,
    each with the parts of its cost in words and their weight, and which one was taken."""

    loc: Loc
    text: str = ""
    vector_bytes: int = 0
    offers: tuple[tuple[str, str, float], ...] = ()
    taken: int = 0


NOT_ALLOWED = "not allowed"  # in place of the cost of an offer that may not be taken

WIDEST = 128  # bits of the widest access of one thread

_notes: ContextVar[list[Note] | None] = ContextVar("notes", default=None)


def say(loc: Loc | None, *reasons: str | Callable[[], str], vector_bytes: int = 0) -> None:
    """Keep what is said of an op, if somebody listens."""
    notes = _notes.get()
    if notes is not None and loc is not None:
        notes += [Note(loc, why if isinstance(why, str) else why()) for why in reasons] + [Note(loc, vector_bytes=vector_bytes)] * bool(vector_bytes)


def chosen(loc: Loc | None, offers: Sequence[tuple[str, str, float]], taken: int) -> None:
    """Keep what was offered and taken, if somebody listens."""
    notes = _notes.get()
    if notes is not None and loc is not None:
        notes.append(Note(loc, offers=tuple(offers), taken=taken))


@contextmanager
def noting() -> Iterator[list[Note]]:
    """Collects what is said inside."""
    notes: list[Note] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def explain_width(loc: Loc | None, taken: int, bits: int, limits: dict[str, int]) -> None:
    """Say how wide an access is, `taken` elements of so many bits, and if that is below 16 bytes, which of the `limits`, in elements that a
    vector must divide, kept it so."""
    if _notes.get() is None:
        return
    size = taken * bits
    moved = f"{size // 8} bytes" if size >= 8 else f"{size} bits"
    unmet = [why for why, n in limits.items() if n % (2 * taken)] if 2 * size <= WIDEST else []
    say(loc, *(f"{moved} at a time, not {WIDEST // 8}: {why}" for why in unmet[:1]), vector_bytes=max(1, size // 8))
