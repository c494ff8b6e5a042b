"""The layout found for a shared tile, judged by a bank model of its own: 32 banks of 4 bytes, 128 bytes of lanes at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import tilec as tc
from tilec import TileError, f32
from tilec.ir.layout import Digit, Layout, parse_layout
from tilec.ir.shared import SharedLayout, shared
from tilec.passes.swizzles import Access, best, best_layout


def waits(memory: SharedLayout, item: int, layout: Layout, dims: tuple[int, ...], vector: int) -> int:
    """How often some lanes of a warp wait for others, over all instructions of all warps, element by element."""
    total = 0
    coords = layout.coords()
    for warp in range(0, layout.threads, 32):
        for register in range(0, layout.registers, vector):
            per_phase = max(1, 128 // max(4, vector * item))
            for first in range(warp, min(warp + 32, layout.threads), per_phase):
                banks: dict[int, set[int]] = {}
                for lane in range(first, min(first + per_phase, layout.threads)):
                    for r in range(register, register + vector):
                        at = [0] * memory.rank
                        for axis, dim in enumerate(dims):
                            at[dim] = int(coords[lane, r, axis])
                        address = int(memory.offset(at)) * item
                        for byte in range(address, address + item):
                            banks.setdefault(byte // 4 % 32, set()).add(byte // 4)
                total += max(len(words) for words in banks.values()) - 1
    return total


@pytest.mark.parametrize(("shape", "item", "patterns"), [
    ((32, 32), 4, [("local(2, 1).spatial(16, 8).local(1, 4)", (0, 1), 4), ("local(2, 1).spatial(16, 8).local(1, 4)", (1, 0), 1)]),  # transpose
    ((64, 64), 2, [("local(4, 1).spatial(16, 8).local(1, 8)", (0, 1), 8), ("local(1, 4).column_spatial(64, 2).local(1, 8)", (0, 1), 8)]),
    ((64, 32), 2, [("local(2, 1).spatial(32, 4).local(1, 8)", (0, 1), 8), ("local(1, 2).column_spatial(64, 2).local(1, 8)", (0, 1), 8)]),
    ((32, 32), 8, [("local(4, 1).spatial(8, 16).local(1, 2)", (0, 1), 2), ("local(1, 4).column_spatial(32, 4).local(1, 2)", (0, 1), 2)]),  # f64
    ((64, 64), 1, [("local(2, 1).spatial(32, 4).local(1, 16)", (0, 1), 16), ("local(1, 2).column_spatial(64, 2).local(1, 16)", (0, 1), 16)]),
])  # fmt: skip
def test_rows_and_columns_without_a_wait(shape: tuple[int, ...], item: int, patterns: list) -> None:
    accesses = [(Access(parse_layout(text), dims, 1.0), vector) for text, dims, vector in patterns]
    found = best_layout(shape, 8 * item, tuple(a for a, _ in accesses))
    assert found.is_injective()
    plain = shared(shape)
    assert sum(waits(plain, item, a.layout, a.dims, v) for a, v in accesses) > 0
    assert [waits(found, item, a.layout, a.dims, v) for a, v in accesses] == [0, 0]


@pytest.mark.parametrize(("width", "item", "swizzle"), [
    (16, 2, [1, 3, 3]), (32, 2, [2, 3, 3]), (64, 2, [3, 3, 3]), (64, 1, [2, 4, 3]), (128, 1, [3, 4, 3]), (16, 4, [2, 2, 3]), (32, 4, [3, 2, 3]),
])  # fmt: skip
def test_rows_of_32_64_and_128_bytes_get_the_hardwares_swizzles(width: int, item: int, swizzle: list[int]) -> None:
    """8 rows at one column of 16 bytes: XOR of 1, 2, 3 bits with those 3 above (CUDA driver API, tensor maps)."""
    chunk = 16 // item
    column = parse_layout(f"local(2, {width // chunk}).spatial(32, 1).local(1, {chunk})")
    assert best_layout((64, width), 8 * item, (Access(column, (0, 1), 1.0),)) == shared([64, width], swizzle=swizzle)


def test_a_tile_that_nobody_waits_for_stays_plain() -> None:
    rows = parse_layout("local(4, 1).spatial(16, 8).local(1, 8)")
    assert best_layout((64, 64), 16, (Access(rows, (0, 1), 1.0),)) == shared([64, 64])
    assert best_layout((3, 64, 64), 16, ()) == shared([3, 64, 64])


def test_stages_are_laid_out_alike() -> None:
    column = parse_layout("local(2, 8).spatial(32, 1).local(1, 8)")
    found = best_layout((3, 64, 64), 16, (Access(column, (1, 2), 1.0),))
    assert found == shared([3, 64, 64], [4096, 64, 1], [3, 3, 3])


def test_rows_that_no_swizzle_serves_get_a_gap_or_the_least_waits() -> None:
    """Rows of 96 bytes: XOR stays within blocks of a power of two."""
    column = parse_layout("local(1, 6).spatial(32, 1).local(1, 8)")
    access = Access(column, (0, 1), 1.0)
    found = best_layout((32, 48), 16, (access,))
    assert found.is_injective()
    assert waits(found, 2, column, (0, 1), 8) == 0
    assert waits(shared([32, 48]), 2, column, (0, 1), 8) > 0


def price(memory: SharedLayout, item: int, layout: Layout) -> float:
    """Instructions and turns of one warp, with the widest vectors that the memory keeps together."""
    vector = math.gcd(layout.vector_run(1), memory.run(), 16 // item, layout.registers)
    instructions = layout.threads // 32 * layout.registers // vector
    phases = max(1, vector * item * 32 // 128)
    return (instructions * (1 + phases) + waits(memory, item, layout, (0, 1), vector)) / (layout.threads // 32)


@pytest.mark.parametrize("seed", range(8))
def test_the_cheapest_of_all_swizzles(seed: int) -> None:
    """Accesses of rows, of columns and of blocks in between, of several widths at once, where often none is free of waits."""
    rng = np.random.default_rng(seed)
    item = int(rng.choice([2, 4, 8]))
    layouts = []
    for _ in range(2):
        vector = int(rng.choice([v for v in (1, 2, 4) if v * item <= 16]))
        rows = 1 << int(rng.integers(0, 5))
        across = 32 // rows
        order = rng.choice(["spatial", "column_spatial"])
        layouts.append(parse_layout(f"local({32 // rows}, {max(1, 32 // (across * vector))}).{order}({rows}, {across}).local(1, {vector})"))
    layouts = [x for x in layouts if x.shape == (32, 32)]
    found = best_layout((32, 32), 8 * item, tuple(Access(x, (0, 1), 1.0) for x in layouts))
    assert found.is_injective()
    others = [shared([32, 32], swizzle=[b, base, s]) for base in range(4) for b in range(1, 6) for s in range(b, 11 - base - b)]
    least = min(sum(price(m, item, x) for x in layouts) for m in (shared([32, 32]), *others))
    assert sum(price(found, item, x) for x in layouts) <= least


def shuffled(rng: np.random.Generator, shape: tuple[int, int], vector: int, warps: int) -> Layout:
    """A layout whose lanes and registers walk the bits of the coordinates in any order, 2**vector neighbours of a row in registers."""
    bits = [(d, i) for d, n in enumerate(shape) for i in range(n.bit_length() - 1)]
    kept = [(1, i) for i in reversed(range(vector))]
    rest = [b for b in bits if b not in kept]
    digits = [Digit(2, d, 1 << i) for d, i in (rest[j] for j in rng.permutation(len(rest)))]
    threads, registers = digits[: 5 + warps], digits[5 + warps :]
    threads += [Digit(2, -1, 0)] * (5 + warps - len(threads))
    return Layout(shape, tuple(threads), tuple(registers) + tuple(Digit(2, d, 1 << i) for d, i in kept))


def turns_under(maps: np.ndarray, sources: range, lines: np.ndarray, width: int) -> np.ndarray:
    """Turns of one access at the byte places [32] under each of some maps [n, bits]: the words of the fullest bank, for 128 bytes of lanes each."""
    moved = np.zeros((len(maps), 32), np.int64) + lines
    for i, source in enumerate(sources):
        moved ^= maps[:, i : i + 1] * (lines >> source & 1)
    unit = max(4, width)
    cells = moved.reshape(len(maps), -1, 128 // unit) // unit
    banks = [[len({int(c) for c in group if c % (128 // unit) == b}) for b in range(128 // unit)] for group in cells.reshape(-1, 128 // unit)]
    return np.max(banks, axis=-1).reshape(len(maps), -1).sum(axis=-1)


@pytest.mark.parametrize("seed", range(10))
def test_no_linear_map_does_better(seed: int) -> None:
    """All maps over GF(2) from the bits of a place above the banks' to those of the banks, for each number of neighbours that stay together."""
    rng = np.random.default_rng(seed)
    item, shape = [(4, (16, 8)), (2, (16, 16)), (8, (16, 4)), (1, (32, 16)), (4, (8, 16))][seed % 5]
    layouts = [shuffled(rng, shape, int(rng.integers(0, 3 if item < 8 else 2)), int(rng.integers(0, 2))) for _ in range(3)]
    rounds = [float(rng.choice([1, 10])) for _ in layouts]
    least = math.inf
    for low in range(4, max(2, item.bit_length() - 1) - 1, -1):
        sources = range(7, (math.prod(shape) * item - 1).bit_length())
        maps = np.array(list(itertools.product([m << low for m in range(1 << 7 - low)], repeat=len(sources))))
        taken = np.zeros(len(maps))
        for layout, times in zip(layouts, rounds, strict=True):
            vector = math.gcd(layout.vector_run(1), 16 // item, (1 << low) // item, layout.registers)
            lines = layout.coords()[:32, 0] @ np.array([shape[1], 1]) * item
            instructions = times * layout.threads // 32 * layout.registers / vector
            taken += instructions * (turns_under(maps, sources, lines, vector * item) + 1)
        least = min(least, float(taken.min()))
    found = best(shape, 8 * item, tuple(Access(x, (0, 1), r) for x, r in zip(layouts, rounds, strict=True)))
    assert found.layout.is_injective()
    assert found.cost.taken == pytest.approx(least)
    counted = sum(r * waits(found.layout, item, x, (0, 1), math.gcd(x.vector_run(1), found.layout.run(), 16 // item, x.registers))
                  for x, r in zip(layouts, rounds, strict=True))  # fmt: skip
    assert found.cost.waits == counted


def test_bits_of_two_distances() -> None:
    """Rows 0 to 7 at once, and rows 0, 8, .. 56 at once: the bits of both, 3 and 6 places above those of the chunk, are XORed into it."""
    layouts = [parse_layout(t) for t in ("local(8, 8).replicated(4).spatial(8, 1).local(1, 8)", "replicated(4).spatial(8, 1).local(8, 8).local(1, 8)")]
    found = best_layout((64, 64), 16, tuple(Access(x, (0, 1), 1.0) for x in layouts))
    assert found == shared([64, 64], swizzle=[[3, 3, 3], [3, 3, 6]])
    assert [waits(found, 2, x, (0, 1), 8) for x in layouts] == [0, 0]
    for distance in (3, 4, 5, 6):
        assert sum(waits(shared([64, 64], swizzle=[3, 3, distance]), 2, x, (0, 1), 8) for x in layouts) > 0


def test_slices_keep_their_places() -> None:
    """Rows are sliced at run time: no bit above a row may be read."""
    columns = parse_layout("local(1, 16).spatial(32, 1).local(1, 4)")
    assert best_layout((32, 64), 32, (Access(columns, (0, 1), 1.0),)) != shared([32, 64])
    assert best_layout((32, 64), 32, (Access(columns, (0, 1), 1.0),), sliced=1) == shared([32, 64])


M, N = tc.dims("M N")


@tc.kernel(warps=1)
def columns(x: f32[32, 32], y: f32[32, 32], *, strides=None, swizzle=True):
    tc.grid(1)
    s = tc.shared(f32, [32, 32], strides=strides, swizzle=swizzle)
    tc.store(s, tc.load(x, [0, 0], [32, 32], layout=tc.local(8, 1).spatial(4, 8).local(1, 4)))
    tc.sync()
    tc.store(y, [0, 0], tc.load(s, layout=tc.local(1, 32).spatial(32, 1)))


@pytest.mark.parametrize(("constants", "conflicts"), [
    ({"swizzle": False}, True), ({"strides": [40, 1]}, True), ({"strides": [36, 1]}, False), ({"strides": [33, 1]}, False), ({}, False),
    ({"swizzle": [3, 2, 3]}, False), ({"swizzle": [1, 2, 3]}, True),
    ({"swizzle": [[1, 2, 3], [2, 3, 3]]}, False), ({"swizzle": [[1, 2, 4], [1, 4, 3]]}, True),
])  # fmt: skip
def test_the_author_may_state_the_layout(constants: dict, conflicts: bool) -> None:
    """Each lane reads a row, 4 floats at once: 8 lanes together, whose chunks of 16 bytes must lie in 8 different eighths of 128 bytes."""
    x = np.random.default_rng().standard_normal((32, 32)).astype(np.float32)
    y = np.full_like(x, np.nan)
    report = columns.simulate(x, y, **constants)
    assert np.array_equal(x, y)
    assert report.findings == []
    assert (report.shared_conflicts > 0) == conflicts


@pytest.mark.parametrize(("constants", "said"), [
    ({"swizzle": [3, 3]}, "a swizzle is"), ({"swizzle": [[1, 2, 3], [1, 5, 3]]}, "may not read bits that it changes"),
    ({"strides": [32]}, "2 axes"), ({"strides": [1, 1]}, "some elements share a place"),
])  # fmt: skip
def test_layouts_that_can_not_be(constants: dict, said: str) -> None:
    with pytest.raises(TileError, match=said):
        columns.function(**constants)
