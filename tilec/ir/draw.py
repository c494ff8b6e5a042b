"""Pictures of layouts: a text grid for the terminal and an SVG.

A cell of the grid is an element of the tile and shows its holder as thread:register; with replicas, all threads (or registers) that
hold it. Tiles of more than two dimensions are drawn slice by slice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from html import escape

from tilec.errors import require
from tilec.ir.layout import Layout
from tilec.ir.shared import BANK_BYTES, BANKS, SharedLayout

MOST_CELLS = 128 * 128  # of one drawing in SVG; larger files no longer open with ease


def grid_text(layout: Layout, limit: int = 64) -> str:
    """The layout as text: a line of facts, then a grid of thread:register. Beyond `limit` rows or columns it ends in dots."""
    facts = f"{layout}\n{_shape(layout.shape)}, {_count(layout.threads, 'thread')}, {_count(layout.registers, 'register')} each"
    facts += ", thread:register" + (", replicated" if layout.is_replicated else "")
    return "\n".join([facts, *_grids(layout.shape, lambda at: _holders(layout, at), limit)])


def shared_text(layout: SharedLayout, element_bits: int = 16, limit: int = 64) -> str:
    """A shared-memory layout as text: for each element its offset and, after @, the bank in which it lies."""
    facts = f"{layout}\n{_shape(layout.shape)}, elements of {element_bits} bits, offset@bank"

    def cell(at: tuple[int, ...]) -> str:
        offset = layout.offset(at)
        return f"{offset}@{offset * element_bits // 8 // BANK_BYTES % BANKS}"

    return "\n".join([facts, *_grids(layout.shape, cell, limit)])


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _shape(shape: Sequence[int]) -> str:
    return f"shape {' x '.join(map(str, shape))}" if shape else "a scalar"


def _holders(layout: Layout, at: tuple[int, ...]) -> str:
    found = layout.find(at)
    threads, registers = sorted({t for t, _ in found}), sorted({r for _, r in found})
    return f"{_numbers(threads)}:{_numbers(registers)}"


def _numbers(numbers: list[int]) -> str:
    """Numbers as a list, or as first-last if they are consecutive, or as first,second,..last if there are many."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers)) if len(numbers) <= 4 else f"{numbers[0]},{numbers[1]},..{numbers[-1]}"


def _slices(shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """The leading coordinates of each two-dimensional slice, and its rows and columns. A vector is one row."""
    rows, columns = ((1, 1, *shape)[-2:]) if len(shape) < 2 else shape[-2:]
    for lead in itertools.product(*(range(n) for n in shape[:-2])):
        yield lead, rows, columns


def _grids(shape: Sequence[int], cell: Callable[[tuple[int, ...]], str], limit: int) -> Iterator[str]:
    for lead, rows, columns in _slices(shape):
        if lead:
            yield f"\n[{', '.join(map(str, lead))}, :, :]"
        seen = [range(min(n, limit)) for n in (rows, columns)]
        body = [[cell((*lead, r, c)[-len(shape) :] if shape else ()) for c in seen[1]] for r in seen[0]]
        more = ["..."] * (columns > limit)
        table = [["", *map(str, seen[1]), *more]] + [[str(r), *line, *more] for r, line in enumerate(body)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        yield from ("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in table)
        if rows > limit:
            yield "..."


def svg(layout: Layout) -> str:
    """The layout as an SVG document: a cell for each element, colored by thread, with thread over register."""
    cells = 1
    for n in layout.shape:
        cells *= n
    require(cells <= MOST_CELLS, f"a drawing of {cells} elements is too large to read; the most is {MOST_CELLS}")
    label = max(len(_holders(layout, tuple(n - 1 for n in layout.shape))), 5)
    width, height, margin, title = 7 * label + 8, 30, 34, 46
    parts: list[str] = []
    top, right = title, 0
    for lead, rows, columns in _slices(layout.shape):
        if lead:
            parts.append(_text(margin, top + 4, f"[{', '.join(map(str, lead))}, :, :]", "start"))
            top += 14
        parts += [_text(margin + c * width + width // 2, top + 12, str(c), "middle", "#666") for c in range(columns)]
        top += 18
        for r in range(rows):
            parts.append(_text(margin - 6, top + r * height + 19, str(r), "end", "#666"))
            for c in range(columns):
                at = (*lead, r, c)[-layout.rank :] if layout.rank else ()
                box = f'x="{margin + c * width}" y="{top + r * height}" width="{width}" height="{height}"'
                color = _color(layout.locate(at)[0], layout.threads)
                parts.append(f'<rect {box} fill="{color}" stroke="#fff"/>')
                parts.append(_text(margin + c * width + width // 2, top + r * height + 19, _holders(layout, at), "middle"))
        top += rows * height + 16
        right = max(right, margin + columns * width + 12)
    facts = f"{_count(layout.threads, 'thread')}, {_count(layout.registers, 'register')} each, thread:register"
    right = max(right, margin + 8 * max(len(str(layout)), len(facts)))
    head = [_text(margin, 18, str(layout), "start"), _text(margin, 36, f"{_shape(layout.shape)}, {facts}", "start", "#666")]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{top}" viewBox="0 0 {right} {top}" '
        'font-family="ui-monospace, monospace" font-size="12">',
        f'<rect width="{right}" height="{top}" fill="#fff"/>',
        *head,
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _text(x: int, y: int, text: str, anchor: str, color: str = "#111") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'


def _color(thread: int, threads: int) -> str:
    """A pale color: the hue turns once over all threads, and neighbours differ in lightness, so dark text stays legible on all."""
    return f"hsl({360 * thread // threads}, 70%, {78 if thread % 2 else 86}%)"
