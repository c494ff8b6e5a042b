"""The layout found for a shared tile, judged by a bank model of its own: 32 banks of 4 bytes, 128 bytes of lanes at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tilec as tc
from tilec import TileError, f32
from tilec.ir.layout import Layout, parse_layout
from tilec.ir.shared import SharedLayout, shared
from tilec.passes.swizzles import Access, best_layout


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
    found = best_layout(shape, item, tuple(a for a, _ in accesses))
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
    assert best_layout((64, width), item, (Access(column, (0, 1), 1.0),)) == shared([64, width], swizzle=swizzle)


def test_a_tile_that_nobody_waits_for_stays_plain() -> None:
    rows = parse_layout("local(4, 1).spatial(16, 8).local(1, 8)")
    assert best_layout((64, 64), 2, (Access(rows, (0, 1), 1.0),)) == shared([64, 64])
    assert best_layout((3, 64, 64), 2, ()) == shared([3, 64, 64])


def test_stages_are_laid_out_alike() -> None:
    column = parse_layout("local(2, 8).spatial(32, 1).local(1, 8)")
    found = best_layout((3, 64, 64), 2, (Access(column, (1, 2), 1.0),))
    assert found == shared([3, 64, 64], [4096, 64, 1], [3, 3, 3])


def test_rows_that_no_swizzle_serves_get_a_gap_or_the_least_waits() -> None:
    """Rows of 96 bytes: XOR stays within blocks of a power of two."""
    column = parse_layout("local(1, 6).spatial(32, 1).local(1, 8)")
    access = Access(column, (0, 1), 1.0)
    found = best_layout((32, 48), 2, (access,))
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
    found = best_layout((32, 32), item, tuple(Access(x, (0, 1), 1.0) for x in layouts))
    assert found.is_injective()
    others = [shared([32, 32], swizzle=[b, base, s]) for base in range(4) for b in range(1, 6) for s in range(b, 11 - base - b)]
    least = min(sum(price(m, item, x) for x in layouts) for m in (shared([32, 32]), *others))
    assert sum(price(found, item, x) for x in layouts) <= least


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
    ({"swizzle": [3, 3]}, "a swizzle is"), ({"strides": [32]}, "2 axes"), ({"strides": [1, 1]}, "some elements share a place"),
])  # fmt: skip
def test_layouts_that_can_not_be(constants: dict, said: str) -> None:
    with pytest.raises(TileError, match=said):
        columns.function(**constants)
