"""How far conversions may go, and what is said of statements that can't go together: each such set is tried, whole and without each of its members."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilec as tc
from tilec import f16, f32
from tilec.compiler import Kernel
from tilec.errors import Code, TileError
from tilec.ir.ops.shape import Conversions, ConvertLayout

HEAD = """\
import tilec as tc
from tilec import f16, f32

ROWS = tc.spatial(32, 4).local(2, 8)
COLUMNS = tc.column_spatial(4, 32).local(16, 2)

@tc.kernel(warps=4)
def k(a: f16[64, 64], b: f16[64, 64], w: f16[64, 64], c: f32[64, 64], d: f16[64, 64]):
    tc.grid(1)
"""


def made(body: list[str], folder: Path) -> Kernel:
    """A kernel with these lines."""
    path = folder / f"made{len(list(folder.iterdir()))}.py"
    path.write_text(HEAD + textwrap.indent("\n".join(body), "    ") + "\n")
    space: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    found: Kernel = space["k"]
    return found


# lines, and for each that belongs to the conflict what stands in its place when it is left out: then it says nothing of layouts
STATED = (
    ('tc.conversions("registers")', "pass"),
    ("x = tc.load(a, [0, 0], [64, 64], layout=ROWS.local(1, 2))", "x = tc.load(a, [0, 0], [64, 64])"),
    ("u = tc.load(b, [0, 0], [64, 64])", None),
    ("y = x + u", "y = u"),
    ("z = tc.dot(y, tc.load(w, [0, 0], [64, 64]))", "z = f32(y)"),
    ("tc.store(c, [0, 0], z)", None),
)
TWO_LAYOUTS = (
    ('tc.conversions("shuffles")', "pass"),
    ("x = tc.load(a, [0, 0], [64, 64], layout=ROWS.local(1, 2))", "x = tc.load(a, [0, 0], [64, 64])"),
    ("y = tc.load(b, [0, 0], [64, 64], layout=COLUMNS)", "y = tc.load(b, [0, 0], [64, 64])"),
    ("v = tc.exp(f32(tc.load(w, [0, 0], [64, 64])))", None),
    ("p = f32(x) * v", "p = v"),
    ("q = p - f32(y)", "q = p"),
    ("tc.store(c, [0, 0], q)", None),
)
BOTH_SIDES = (
    ('tc.conversions("registers")', "pass"),
    ("x = tc.load(a, [0, 0], [64, 64])", None),
    ("t = x.T", "t = tc.load(b, [0, 0], [64, 64])"),
    ("z = tc.dot(x, t)", "z = f32(x)"),
    ("tc.store(c, [0, 0], z)", None),
)
def without(lines: tuple[tuple[str, str | None], ...], left_out: int) -> list[str]:
    return [other if i == left_out and other is not None else line for i, (line, other) in enumerate(lines)]


@pytest.mark.parametrize("lines", [STATED, TWO_LAYOUTS, BOTH_SIDES], ids=["stated", "two layouts", "both sides"])
def test_each_member_of_a_conflict_is_needed(lines: tuple[tuple[str, str | None], ...], tmp_path: Path) -> None:
    """The error names exactly the lines that are marked, and without any one of them the kernel compiles, no conversion being too dear."""
    with pytest.raises(TileError) as caught:
        made(without(lines, -1), tmp_path).compile("sm_80")
    error = caught.value
    assert error.code is Code.CONVERSION
    first = HEAD.count("\n") + 1
    marked = {first + i for i, (_, other) in enumerate(lines) if other is not None}
    assert error.loc is not None
    assert {error.loc.line, *(loc.line for _, loc in error.notes)} == marked
    assert f"these {len(error.notes)} can't go together" in error.message  # the notes are the others, and the one that says how far
    for i, (_, other) in enumerate(lines):
        if other is not None:
            made(without(lines, i), tmp_path).compile("sm_80")


LOOP = """\
acc = tc.zeros(f32, [64, 64])
{ahead}
for i in tc.range(4):
    tc.conversions("shuffles")
    {within}
    h = x * f16(i)
    acc = tc.dot(h, tc.load(w, [0, 0], [64, 64]), acc)
tc.store(c, [0, 0], acc)"""
LOADED = "x = tc.load(a, [0, 0], [64, 64], layout=COLUMNS)"


def test_the_block_that_says_so_is_bound(tmp_path: Path) -> None:
    """What is made ahead of the loop is converted there, which is no conversion in it; what is made in it would be converted in it."""
    with pytest.raises(TileError) as caught:
        made(LOOP.format(ahead="pass", within=LOADED).splitlines(), tmp_path).compile("sm_80")
    assert caught.value.loc is not None
    lines = [loc.line for loc in (*(loc for _, loc in caught.value.notes), caught.value.loc)]
    first = HEAD.count("\n") + 1
    assert lines == [first + 4, first + 5, first + 3, first + 6]  # the load, the product by i, how far; the matrix product
    layouts = made(LOOP.format(ahead=LOADED, within="pass").splitlines(), tmp_path).stages("sm_80")["layouts"]
    assert sum(isinstance(op, ConvertLayout) and op.layout is not None for op in layouts.body.ops) == 1
    assert sum(isinstance(op, ConvertLayout) and op.layout is not None for op in layouts.walk()) == 1


def test_what_is_not_stated_gives_way() -> None:
    """Two products in a row: with whole rows to each warp, nothing leaves its thread, and the operands are loaded as they are wanted."""

    @tc.kernel(warps=4)
    def chain(a: f16[64, 64], b: f16[64, 64], w: f16[64, 64], c: f32[64, 64]):
        tc.grid(1)
        tc.conversions("registers")
        h = f16(tc.dot(tc.load(a, [0, 0], [64, 64]), tc.load(b, [0, 0], [64, 64])))
        tc.store(c, [0, 0], tc.dot(h, tc.load(w, [0, 0], [64, 64])))

    stages = chain.stages("sm_80")
    assert [op for op in stages["layouts"].walk() if isinstance(op, Conversions)]
    assert not [op for op in stages["exchanges"].walk() if isinstance(op, Conversions)]
    assert not re.search("shared|convert_lanes", str(stages["selected"]))
    rng = np.random.default_rng()
    a, b, w = (rng.integers(-3, 4, (64, 64)).astype(np.float16) for _ in range(3))
    c = np.full((64, 64), np.nan, np.float32)
    assert chain.simulate(a, b, w, c).findings == []
    assert np.array_equal(c, (a.astype(np.float64) @ b).astype(np.float16).astype(np.float64) @ w)


def test_no_such_way() -> None:
    @tc.kernel
    def k(c: f32[16]):
        tc.grid(1)
        tc.conversions("barriers")
        tc.store(c, [0], tc.zeros(f32, [16]))

    with pytest.raises(TileError, match='conversions go through "registers", "shuffles" or "shared memory", not "barriers"'):
        k.compile("sm_80")


LOAD = "v = tc.load(a, [0, 0], [64, 64]{})"


@pytest.mark.parametrize("farthest", ["registers", "shuffles"])
@pytest.mark.parametrize("moved", ["v[::-1]", "tc.flip(v, 0)", "tc.concatenate([v[:16], v[16:]])", "v * v[3, 4]"])
def test_slices_go_no_farther(farthest: str, moved: str, tmp_path: Path) -> None:
    """Rows that are reversed, or put together of unequal parts, lie in other threads. The error is at that line, and names what bounds it."""
    lines = [f'tc.conversions("{farthest}")', LOAD.format(""), f"tc.store(d, [0, 0], {moved})"]
    with pytest.raises(TileError, match=f"elements go through shared memory here, and may go through {farthest} at most") as caught:
        made(lines, tmp_path).compile("sm_80")
    first = HEAD.count("\n") + 1
    assert caught.value.code is Code.CONVERSION
    assert caught.value.loc is not None
    assert caught.value.loc.line == first + 2
    assert [loc.line for _, loc in caught.value.notes] == [first]
    made(["pass", *lines[1:]], tmp_path).compile("sm_80")


def test_slices_in_registers_are_allowed(tmp_path: Path) -> None:
    """Whole rows in each thread are reversed there."""
    stated = LOAD.format(", layout=tc.spatial(64, 1).replicated(2).local(1, 64)")
    kernel = made(['tc.conversions("registers")', stated, "tc.store(d, [0, 0], v[:, ::-1])"], tmp_path)
    assert not re.search("shared|convert_lanes", str(kernel.stages("sm_80")["selected"]))


def test_what_is_no_block_binds_the_block_around(tmp_path: Path) -> None:
    """An unrolled loop's statements are put where it stands, as those of helpers are; a loop at run time is a block."""
    behind = [LOAD.format(""), "tc.store(d, [0, 0], v[::-1])"]
    with pytest.raises(TileError, match="elements go through shared memory here"):
        made(["for i in tc.static_range(1):", '    tc.conversions("registers")', *behind], tmp_path).compile("sm_80")
    made(["for i in range(1):", '    tc.conversions("registers")', *behind], tmp_path).compile("sm_80")


def test_the_note_names_what_binds(tmp_path: Path) -> None:
    """The first tc.conversions is wider, the one in the loop binds; behind it stands a wider one, which binds nothing."""
    lines = [
        'tc.conversions("shuffles")',
        "for i in range(4):",
        '    tc.conversions("registers")',
        '    tc.conversions("shared memory")',
        f"    {LOAD.format('')}",
        "    tc.store(c, [0, 0], tc.dot(v, v))",
    ]
    with pytest.raises(TileError) as caught:
        made(lines, tmp_path).compile("sm_80")
    assert [loc.line for _, loc in caught.value.notes] == [HEAD.count("\n") + 3]


def test_a_statement_in_conflict_with_itself(tmp_path: Path) -> None:
    """The hint says what helps: the kernel that makes the tile twice compiles."""
    bound = 'tc.conversions("registers")'
    with pytest.raises(TileError, match=r"this can't be had .* its left operand .* and the product wants its right operand") as caught:
        made([bound, LOAD.format(""), "tc.store(c, [0, 0], tc.dot(v, v))"], tmp_path).compile("sm_80")
    assert "make the tile twice" in str(caught.value.hint)
    made([bound, LOAD.format(""), "u = tc.load(a, [0, 0], [64, 64])", "tc.store(c, [0, 0], tc.dot(v, u))"], tmp_path).compile("sm_80")


def test_a_tile_and_itself_transposed(tmp_path: Path) -> None:
    bound = 'tc.conversions("registers")'
    with pytest.raises(TileError, match="this wants a tile as it does not lie") as caught:
        made([bound, LOAD.format(""), "tc.store(d, [0, 0], v + v.T)"], tmp_path).compile("sm_80")
    assert "make the tile twice" in str(caught.value.hint)
    made([bound, LOAD.format(""), "u = tc.load(a, [0, 0], [64, 64])", "tc.store(d, [0, 0], v + u.T)"], tmp_path).compile("sm_80")
