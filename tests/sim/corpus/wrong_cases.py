"""Kernels that are wrong on purpose (cu/wrong.cu), and mutants of right ones: each names the findings that must be reported."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .case import PTX, Case, integers, poison
from .cases import CASES

SOURCE = Path(__file__).with_name("cu") / "wrong.cu"


@dataclass(frozen=True)
class WrongCase:
    """A launch of `entry` for which a finding of one of `kinds` must come, with a place in the kernel's own source lines."""

    entry: str
    kinds: tuple[str, ...]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    make: Callable[[np.random.Generator], list]

    def ptx(self) -> str:
        return (PTX / "nvcc_wrong.ptx").read_text()

    def source_lines(self) -> range:
        """The lines of cu/wrong.cu that hold the kernel."""
        lines = SOURCE.read_text().splitlines()
        first = next(i for i, line in enumerate(lines) if f" {self.entry}(" in line)
        end = next((i for i in range(first + 1, len(lines)) if lines[i].startswith('extern "C"')), len(lines))
        return range(first + 1, end + 1)


WRONG: dict[str, WrongCase] = {}
MAX_STEPS = 5000  # none of these needs more, and those that never end shall end soon


def wrong(entry, kinds, grid=1, block=128, shared=0):
    def add(make):
        WRONG[entry] = WrongCase(entry, tuple(kinds.split()), (grid,), (block,), shared, make)
        return make

    return add


def ints(rng, n):
    return integers(rng, 1, 1000, n)


for _entry, _kinds, _block in [
    ("missing_syncthreads", "race", 128),
    ("write_write", "race", 128),
    ("missing_syncwarp", "race", 32),
    ("uninitialized_shared", "uninitialized", 128),
    ("async_wait_without_barrier", "race async", 128),
    ("divergent_barrier", "divergence deadlock", 64),
    ("barrier_never_filled", "deadlock", 96),
    ("mbarrier_never_completed", "deadlock limit", 64),
    ("mbarrier_init_race", "race uninitialized", 64),
    ("shuffle_inactive", "shuffle", 32),
    ("shuffle_mask_lies", "divergence shuffle", 32),
]:

    @wrong(_entry, _kinds, block=_block)
    def _(rng, n=_block):
        return [ints(rng, n), poison(n, "i4")]


@wrong("missing_second_barrier", "race")
def _(rng):
    return [ints(rng, 128), poison(128, "i4"), 4]


@wrong("global_read_out_of_bounds", "bounds", grid=2, block=64)
def _(rng):
    return [ints(rng, 100), poison(100, "i4"), 100]


@wrong("global_write_out_of_bounds", "bounds", grid=2, block=64)
def _(rng):
    return [ints(rng, 100), poison(100, "i4")]


@wrong("null_pointer", "bounds", block=32)
def _(rng):
    return [ints(rng, 32), poison(32, "i4")]


@wrong("shared_out_of_bounds", "bounds", block=64, shared=256)
def _(rng):
    return [ints(rng, 64), poison(64, "i4")]


@wrong("misaligned_vector", "misaligned", block=32)
def _(rng):
    return [ints(rng, 160).astype("f4"), poison(128, "f4")]


@wrong("uninitialized_register", "uninitialized", block=32)
@wrong("uninitialized_address", "uninitialized", block=32)
def _(rng):
    x = ints(rng, 32)
    x[9] = -3
    return [x, poison(32, "i4")]


@wrong("failed_assertion", "trap", block=32)
def _(rng):
    x = ints(rng, 32)
    x[9] = -3
    return [x, poison(32, "i4")]


@wrong("ticket_without_fence", "race", grid=4, block=32)
def _(rng):
    return [ints(rng, 4), poison(4, "i4"), np.zeros(1, "u4"), poison(1, "i4")]


@wrong("grid_barrier_without_acquire", "race", grid=4, block=32)
def _(rng):
    return [poison(4, "i4"), np.zeros(1, "u4"), poison(4, "i4")]


@wrong("async_overwrites_readers", "race async", block=64)
def _(rng, tiles=4):
    return [ints(rng, tiles * 256), poison(64, "i4"), tiles]


@wrong("producer_does_not_wait", "race", block=64)
def _(rng, rounds=6):
    return [ints(rng, rounds * 32), poison(32, "i4"), rounds]


@wrong("uninitialized_counter", "uninitialized", block=32)
def _(rng):
    return [poison(32, "i4")]


@wrong("missing_async_wait", "async", block=64)
def _(rng):
    return [ints(rng, 256), poison(64, "i4")]


@wrong("short_async_wait", "async", block=64)
def _(rng, tiles=6):
    return [ints(rng, tiles * 256), poison(256, "i4"), tiles]


@wrong("global_race", "race", grid=4, block=32)
def _(rng):
    return [ints(rng, 128), np.zeros(1, "i4")]


@wrong("mixed_atomic_and_plain", "race", grid=4, block=32)
def _(rng):
    return [np.zeros(1, "i4"), poison(4, "i4")]


for _entry in "flag_before_data", "release_without_barrier", "relaxed_flag":

    @wrong(_entry, "race", grid=2, block=64)
    def _(rng):
        return [ints(rng, 64), np.zeros(64, "i4"), np.zeros(1, "i4"), poison(64, "i4")]


@wrong("unlock_too_early", "race", grid=4, block=32)
def _(rng):
    return [np.zeros(1, "i4"), np.zeros(1, "i4")]


@wrong("circular_wait", "deadlock limit", grid=2, block=32)
def _(rng):
    return [np.zeros(2, "i4"), poison(2, "i4")]


@wrong("ldmatrix_misaligned", "misaligned", block=32)
def _(rng):
    return [ints(rng, 68), poison(32, "u4")]


@wrong("local_out_of_bounds", "bounds", block=32)
def _(rng):
    return [ints(rng, 128), poison(32, "i4")]


# ---------------------------------------------------------------- mutants of right kernels

DELETABLE = r"^\s*(bar\.sync|barrier\.sync|cp\.async\.wait_group|cp\.async\.wait_all|bar\.warp\.sync|fence\.|membar\.)[^\n]*;"


@dataclass(frozen=True)
class Mutant:
    """A right case with one change to its PTX text, in `line`."""

    case: Case
    what: str
    line: int
    ptx: str


@cache
def body(case: Case) -> tuple[str, int, int]:
    text = case.ptx()
    start = text.index(f".entry {case.entry}(")
    end = text.find("\n}", start)
    return text, start, end


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def deletions(case: Case) -> list[Mutant]:
    """One mutant for each barrier, wait and fence of the kernel: the case without it."""
    text, start, end = body(case)

    def without(m: re.Match) -> Mutant:
        return Mutant(
            case, f"without `{m[0].strip()}`", line_of(text, start + m.start(1)), text[: start + m.start()] + text[start + m.end() :]
        )

    return [without(m) for m in re.finditer(DELETABLE, text[start:end], re.M)]


def shifted_addresses(case: Case, opcode: str = r"(?:ld|st)\.shared\S*|ldmatrix\S*|cp\.async\.c[ag]\S*", by: int = 16) -> list[Mutant]:
    """One mutant for each shared-memory access: its address `by` bytes further on."""
    text, start, end = body(case)

    def shifted(m: re.Match) -> Mutant:
        offset = int((m[2] or "0").replace(" ", "").replace("+", "")) + by
        changed = f"{text[: start + m.start()]}{m[1]}+{offset}]{text[start + m.end() :]}"
        return Mutant(case, f"shifted by {by}: `{m[0].strip()}`", line_of(text, start + m.start(1)), changed)

    pattern = rf"^([^\n]*\b(?:{opcode})\s[^\n\[]*\[\s*%\w+)\s*(\+\s*-?\d+)?\s*\]"
    return [shifted(m) for m in re.finditer(pattern, text[start:end], re.M)]


def swapped_fragments(case: Case) -> list[Mutant]:
    """One mutant for each mma: the first two registers of A exchanged."""
    text, start, end = body(case)

    def swapped(m: re.Match) -> Mutant:
        changed = f"{text[: start + m.start()]}{m[1]}{m[4]}{m[3]}{m[2]}{text[start + m.end() :]}"
        return Mutant(case, "first two registers of A swapped in an mma", line_of(text, start + m.start()), changed)

    pattern = r"(mma\.sync[^{]*\{[^}]*\}\s*,\s*\{\s*)(%\w+)(\s*,\s*)(%\w+)"
    return [swapped(m) for m in re.finditer(pattern, text[start:end], re.S) if m[2] != m[4]]


MUTATED = ["triton_mm_f16", "triton_flash", "triton_softmax", "nvcc_async.pipeline3"]
# PTX lines of barriers and waits that Triton emits and that nothing needs
HARMLESS = {
    ("triton_mm_f16", 128),  # before the second stage's copies, which go where nobody has read or written
    ("triton_flash", 166),  # likewise; q's stores are ordered by the barrier in the loop
    ("triton_flash", 702),  # after the loop only q's buffer is used again, and it is not copied to
    ("triton_flash", 703),  # q's last reads lie before the last barrier of the loop
}


def mutants() -> list[Mutant]:
    """Every deletion that matters."""
    return [m for name in MUTATED for m in deletions(CASES[name]) if (name, m.line) not in HARMLESS]
