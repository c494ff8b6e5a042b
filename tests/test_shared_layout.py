"""Shared-memory layouts, swizzles, bank conflicts, and the drawings of layouts."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir.draw import grid_text, shared_text, svg
from tilec.ir.layout import column_spatial, local, parse_layout, replicated, scalar, spatial
from tilec.ir.shared import SharedLayout, Swizzle, bank_conflicts, parse_shared, row_major, shared, ways


def test_row_major_offsets():
    assert (row_major(3, 5, 2).offsets() == np.arange(30).reshape(3, 5, 2)).all()
    assert row_major(3, 5, 2).size == 30
    assert row_major().offset(()) == 0
    assert row_major().size == 1


@pytest.mark.parametrize("swizzle", [Swizzle(3, 3, 3), Swizzle(2, 3, 3), Swizzle(1, 3, 3), Swizzle(3, 4, 3), Swizzle(2, 0, 5)])
def test_swizzle_by_bits(swizzle):
    """Against the bits one by one, and against the form of CuTe: the source bits masked first, shifted then."""
    x = np.arange(4096)
    bit = [(x >> i) & 1 for i in range(16)]
    for i in range(swizzle.base, swizzle.base + swizzle.bits):
        bit[i] = bit[i] ^ ((x >> (i + swizzle.shift)) & 1)
    assert (swizzle(x) == sum(b << i for i, b in enumerate(bit))).all()
    source = ((1 << swizzle.bits) - 1) << (swizzle.base + swizzle.shift)
    assert (swizzle(x) == x ^ ((x & source) >> swizzle.shift)).all()
    assert (swizzle(swizzle(x)) == x).all()
    assert (swizzle(x + swizzle.period) == swizzle(x) + swizzle.period).all()


def test_swizzles_of_several_terms_read_the_offset_as_it_was():
    x = np.arange(4096)
    swizzle = Swizzle(2, 3, 3, ((1, 5, 1), (2, 3, 5)))
    bit = [(x >> i) & 1 for i in range(12)]
    bit[3], bit[4], bit[5] = bit[3] ^ bit[6] ^ bit[8], bit[4] ^ bit[7] ^ bit[9], bit[5] ^ bit[6]
    assert (swizzle(x) == sum(b << i for i, b in enumerate(bit))).all()
    assert (swizzle(swizzle(x)) == x).all()
    assert swizzle.period == 1024
    with pytest.raises(TileError, match="may not read bits that it changes"):
        Swizzle(1, 3, 3, ((1, 6, 3),))


def test_swizzle_that_would_read_its_own_bits_is_refused():
    with pytest.raises(TileError, match="2 bits"):
        Swizzle(2, 3, 1)


@pytest.mark.parametrize(
    "layout",
    [
        row_major(4, 6),
        shared([8, 8], [9, 1]),
        shared([8, 64], swizzle=[3, 3, 3]),
        shared([4, 48], swizzle=[2, 3, 3]),
        shared([2, 3, 16], swizzle=[1, 2, 3], base=5),
        shared([16, 64], swizzle=[[2, 3, 3], [1, 5, 2], [1, 3, 5]]),
    ],
    ids=str,
)
def test_size_slices_and_text(layout):
    offsets = layout.offsets()
    assert layout.is_injective() == (len(set(offsets.ravel().tolist())) == offsets.size) is True
    assert offsets.min() >= 0
    assert offsets.max() < layout.size
    assert parse_shared(str(layout)) == layout
    for axis, n in enumerate(layout.shape):
        for index in range(n):
            offset, part = layout.slice(axis, index)
            assert (offset + part.offsets() == offsets.take(index, axis=axis)).all()
    assert (layout.permute(range(layout.rank)[::-1]).offsets() == offsets.transpose()).all()
    n = layout.run()
    runs = offsets.reshape(-1, n) if n > 1 else offsets.reshape(-1, 1)
    assert (runs == runs[:, :1] + np.arange(n)).all()
    assert (runs[:, 0] % n == 0).all()


def test_runs():
    assert row_major(4, 6).run() == 6
    assert row_major(4, 6).run(0) == 1
    assert shared([8, 64], swizzle=[3, 3, 3]).run() == 8
    assert shared([8, 8], [12, 1]).run() == 4  # rows begin at multiples of 12: aligned runs of 4
    assert shared([8, 8], [1, 8]).run(0) == 8


def test_slices_at_runtime():
    """A stage that is a multiple of the swizzle's period can be sliced by what is not yet known; a row can't."""

    class Runtime:
        def __mul__(self, n):
            return ("times", n)

    layout = shared([3, 64, 64], [4096, 64, 1], [3, 3, 3])
    offset, part = layout.slice(0, Runtime())
    assert offset == ("times", 4096)
    assert part == shared([64, 64], [64, 1], [3, 3, 3])
    with pytest.raises(TileError, match="runtime index"):
        layout.slice(1, Runtime())


@pytest.mark.parametrize(
    ("addresses", "width", "expected"),
    [
        (np.arange(32) * 4, 4, 1),
        (np.zeros(32, int), 4, 1),  # one word for all: broadcast
        (np.arange(32) * 8, 4, 2),
        (np.arange(32) * 128, 4, 32),
        (np.arange(32) * 2, 2, 1),  # two lanes in each word
        (np.arange(32), 1, 1),
        (np.arange(32) * 8, 8, 1),  # served per half warp
        (np.arange(32) * 16, 16, 1),  # served per quarter warp
        (np.arange(32) * 32, 16, 2),
        (np.arange(32) * 128, 16, 8),
        (np.where(np.arange(32) < 2, np.arange(32) * 128, -1), 4, 2),  # two lanes take part
        (np.full(32, -1), 4, 1),
        (np.concatenate([np.arange(32) * 4, np.arange(32) * 8]), 4, 2),  # two warps: the worse one
        (np.arange(32) % 8 * 16, 16, 1),  # all quarters read the same
    ],
)
def test_ways(addresses, width, expected):
    assert ways(addresses, width) == expected


def test_bank_conflicts_of_layouts():
    rows = spatial(32, 1)
    assert bank_conflicts(rows, row_major(32, 32), 32) == 32
    assert bank_conflicts(rows, shared([32, 32], [33, 1]), 32) == 1
    assert bank_conflicts(spatial(1, 32).cover((32, 32)), row_major(32, 32), 32) == 1
    assert bank_conflicts(column_spatial(8, 4).local(1, 8), row_major(64, 32), 16, vector=8) == 4
    assert bank_conflicts(column_spatial(8, 4).local(1, 8), shared([64, 32], [32, 1], [2, 3, 3]), 16, vector=8) == 1
    assert bank_conflicts(spatial(32, 1), row_major(2, 32), 32) == 2  # the rows beyond the tile take no part: 2 lanes, one bank
    with pytest.raises(TileError, match="not contiguous"):
        bank_conflicts(spatial(32, 1).local(2, 1), row_major(64, 32), 32, vector=2)
    with pytest.raises(TileError, match="not aligned"):
        bank_conflicts(spatial(32, 1).local(1, 2), shared([32, 2], [3, 1]), 32, vector=2)
    with pytest.raises(TileError, match="access of 32 bytes"):
        bank_conflicts(spatial(32, 1).local(1, 8), row_major(32, 32), 32, vector=8)


@pytest.mark.parametrize("text", ["", "shared()", "local(2)", "shared(shape=[2], strides=[1, 2])", "shared([2], swizzle=[1])", "shared(x)"])
def test_bad_text_is_refused(text):
    with pytest.raises(TileError):
        parse_shared(text)


def test_text_and_defaults():
    assert str(shared([64, 32], swizzle=[2, 3, 3])) == "shared(shape=[64, 32], strides=[32, 1], swizzle=[2, 3, 3])"
    assert shared([4, 4], swizzle=[0, 3, 3]) == row_major(4, 4)
    assert isinstance(shared([4]), SharedLayout)


# Drawings


def test_grid_by_hand():
    assert grid_text(spatial(1, 3).local(2, 1)).splitlines() == [
        "spatial(1, 3).local(2, 1)",
        "shape 2 x 3, 3 threads, 2 registers each, thread:register",
        "     0    1    2",
        "0  0:0  1:0  2:0",
        "1  0:1  1:1  2:1",
    ]


def test_grid_of_replicas_vectors_scalars_and_slices():
    assert grid_text(replicated(2).local(2)).splitlines()[2:] == ["       0      1", "0  0,1:0  0,1:1"]
    assert grid_text(spatial(2).replicated(4)).splitlines()[-1] == "0  0-3:0  4-7:0"
    assert grid_text(replicated(6).spatial(2)).splitlines()[-1] == "0  0,2,..10:0  1,3,..11:0"
    assert grid_text(scalar(4)).splitlines()[-1] == "0  0-3:0"
    assert [line for line in grid_text(local(2, 1, 2)).splitlines() if line.startswith("[")] == ["[0, :, :]", "[1, :, :]"]
    assert grid_text(local(100, 100), limit=4).splitlines()[-1] == "..."
    assert max(map(len, grid_text(local(100, 100), limit=4).splitlines()[2:])) < 40


def test_every_element_is_in_the_grid_where_it_belongs():
    layout = parse_layout("local(2, 1).spatial(8, 4).local(1, 2)")
    rows = [line.split() for line in grid_text(layout).splitlines()[3:]]
    for t, r in np.ndindex(32, 4):
        row, column = layout(t, r)
        assert rows[row][column + 1] == f"{t}:{r}"


def test_shared_grid_shows_offsets_and_banks():
    lines = shared_text(shared([2, 4], [66, 1]), 16).splitlines()
    assert lines[3].split() == ["0", "0@0", "1@0", "2@1", "3@1"]
    assert lines[4].split() == ["1", "66@1", "67@1", "68@2", "69@2"]


def test_svg_is_well_formed_and_colored_by_thread():
    layout = spatial(2, 2).local(1, 2)
    root = ElementTree.fromstring(svg(layout))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    for t, r in np.ndindex(4, 2):
        assert f"{t}:{r}" in texts
    colors = re.findall(r'fill="(hsl[^"]*)"', svg(layout))
    assert len(colors) == 8
    assert len(set(colors)) == 4
    assert colors[0] == colors[1]  # one thread's two registers
    with pytest.raises(TileError, match="too large"):
        svg(local(1024, 1024))
