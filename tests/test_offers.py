"""Layouts by what they cost: the choices that are offered, and what the chosen ones save, counted in the machine code and in the simulator."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

import tilec as tc
from tilec import cdiv, f16, f32
from tilec.backend import costs
from tilec.backend.target import target
from tilec.compiler import Kernel
from tilec.ir.core import Function
from tilec.ir.dtypes import dtype
from tilec.ir.layout import Digit, Layout, blocked, parse_layout, spatial
from tilec.ir.notes import noting
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import Load, Store
from tilec.ir.ops.shape import ConvertLayout
from tilec.ir.shared import padded
from tilec.ir.target import Cost
from tilec.ir.types import SharedType, TileType
from tilec.passes.layouts import AssignLayouts
from tilec.passes.offers import both_ways, rows_to_warps, turned

M, N, K = tc.dims("M N K")
ARCH = target("sm_80")

# costs


def tile(kind: str, layout: str) -> TileType:
    found = parse_layout(layout)
    return TileType(dtype(kind), found.shape, found)


def test_costs_add_up() -> None:
    a, b = Cost(instructions=2, sectors=8), Cost(instructions=1, passes=4)
    assert a + b * 10 == Cost(instructions=12, passes=40, sectors=8)
    assert str(a + b) == "3 instructions, 4 passes, 8 sectors"
    assert str(Cost()) == "nothing"
    assert ARCH.weight(a + b) == ARCH.weight(a) + ARCH.weight(b) > 0


@pytest.mark.parametrize(
    ("kind", "layout", "along", "instructions", "sectors"),
    [
        ("f32", "spatial(1, 32).local(1, 4)", 1, 1, 16),  # 512 bytes in a row
        ("f32", "spatial(32, 1).local(1, 4)", 1, 1, 32),  # 16 bytes of 32 rows
        ("f32", "spatial(32, 1).local(1, 4)", 0, 4, 16),  # four columns of 128 bytes, one after another
        ("f16", "spatial(8, 4).local(1, 2)", 1, 1, 8),  # half a sector of 8 rows
        ("f16", "spatial(2, 1).spatial(8, 4).local(1, 2)", 1, 2, 16),  # two warps
        ("f16", "replicated(2).spatial(8, 4).local(1, 2)", 1, 2, 16),  # both of which load the same
        ("f32", "spatial(1, 4).replicated(8)", 1, 1, 1),  # lanes that load the same load it once
        ("f32", "spatial(32, 1)", None, 1, 32),  # an axis that lies apart
    ],
)
def test_accesses_of_global_memory(kind: str, layout: str, along: int | None, instructions: int, sectors: int) -> None:
    found = ARCH.global_access(tile(kind, layout), along, 16)
    assert (found.instructions, found.sectors) == (instructions, sectors)


def test_vectors_are_no_wider_than_rows_let_them_be() -> None:
    assert ARCH.global_access(tile("f32", "spatial(1, 32).local(1, 4)"), 1, 2).instructions == 2
    assert ARCH.global_access(tile("f32", "spatial(1, 32).local(1, 4)"), 1, 1).instructions == 4


def shared(kind: str, *shape: int) -> SharedType:
    return SharedType(dtype(kind), shape, padded(TileType(dtype(kind), shape)))


@pytest.mark.parametrize(
    ("kind", "layout", "instructions", "passes"),
    [
        ("f32", "spatial(1, 32)", 1, 1),
        ("f32", "spatial(1, 32).local(1, 4)", 1, 4),
        ("f32", "spatial(32, 1).local(1, 4)", 1, 8),  # rows of 32 bytes, 16 of them a gap: of a quarter warp's eight rows the last four meet the first
        ("f32", "spatial(32, 1).local(1, 28)", 7, 7 * 32),  # rows of 128 bytes with the gap: all begin in one bank
        ("f32", "spatial(32, 1).local(1, 32)", 8, 8 * 4),  # rows of 144 bytes: none of a quarter warp's meet
        ("f16", "column_local(2, 2).spatial(8, 4).local(1, 2)", 1, 4),  # ldmatrix.x4
    ],
)
def test_accesses_of_shared_memory(kind: str, layout: str, instructions: int, passes: int) -> None:
    given = tile(kind, layout)
    found = ARCH.shared_access(given, shared(kind, *given.shape), (0, 1))
    assert (found.instructions, found.passes) == (instructions, passes)


@pytest.mark.parametrize(
    ("layout", "axes", "shuffles", "barriers"),
    [
        ("spatial(1, 32).local(1, 4)", (1,), 5, 0),  # 32 lanes: five steps
        ("spatial(8, 4).local(1, 2)", (1,), 2, 0),
        ("local(4, 1).spatial(8, 4)", (1,), 8, 0),  # for each of four rows
        ("local(1, 4).spatial(32, 1)", (1,), 0, 0),  # within threads
        ("spatial(1, 4).spatial(1, 32)", (1,), 20, 8),  # of each of four warps, which meet twice
    ],
)
def test_reductions(layout: str, axes: tuple[int, ...], shuffles: int, barriers: int) -> None:
    found = ARCH.reduction(tile("f32", layout), axes)
    assert (found.shuffles, found.barriers) == (shuffles, barriers)
    assert (found.passes > 0) == (barriers > 0)


def random_layout(rng: np.random.Generator, shape: tuple[int, ...], threads: int) -> Layout:
    """Digits that are powers of two, in any order."""
    digits = []
    for dim, extent in enumerate(shape):
        stride = 1
        while stride < extent:
            size = min(int(rng.choice([2, 4])), extent // stride)
            digits.append(Digit(size, dim, stride))
            stride *= size
    lanes: list[Digit] = []
    registers: list[Digit] = []
    for i in rng.permutation(len(digits)):
        fits = np.prod([d.size for d in lanes], initial=digits[i].size) <= threads
        (lanes if fits and rng.random() < 0.6 else registers).append(digits[i])
    lanes.insert(int(rng.integers(len(lanes) + 1)), Digit(threads // int(np.prod([d.size for d in lanes], initial=1)), -1, 0))
    return Layout(shape, tuple(lanes), tuple(registers))


def test_what_stays_in_threads_and_warps_is_told_by_digits() -> None:
    """As the whole tables tell it. Half of the pairs differ in the order of digits only, so that some stay."""
    rng = np.random.default_rng()
    for _ in range(60):
        shape = [(16, 16), (32, 8), (64,), (4, 4, 16)][rng.integers(4)]
        source = random_layout(rng, shape, 64)
        wanted = random_layout(rng, shape, 64)
        if rng.random() < 0.5:
            wanted = Layout(shape, source.thread_digits, tuple(source.register_digits[i] for i in rng.permutation(len(source.register_digits))))
        registers = wanted.registers_in(source)
        assert costs.stays_in_thread(source, wanted) == bool((registers >= 0).all() and (registers == registers[0]).all())
        if costs.crosses_warps(source, wanted):
            assert wanted.suppliers(source) is None


# layouts that are offered

KINDS = list(itertools.product(["f32", "f16", "uint8"], [(32, 32), (64, 64), (128, 64)], [1, 4]))


@pytest.mark.parametrize(("kind", "shape", "warps"), KINDS)
def test_both_ways_whole_sectors(kind: str, shape: tuple[int, int], warps: int) -> None:
    """Loaded along one axis, stored along the other, registers in another order: as many sectors as the tile has, both times."""
    for along in (0, 1):
        type = TileType(dtype(kind), shape)
        layout = both_ways(type, warps, along)
        if layout is None:
            assert (kind, shape, warps) in [("f16", (32, 32), 4), ("uint8", (32, 32), 4), ("uint8", (64, 64), 4)]  # a warp has too little for whole sectors
            continue
        assert (layout.shape, layout.threads, layout.is_replicated) == (shape, 32 * warps, False)
        least = type.size * type.dtype.bits // 256
        assert ARCH.global_access(TileType(type.dtype, shape, layout), 1 - along, 16).sectors == least
        other = turned(layout, along)
        assert costs.stays_in_thread(layout, other)
        assert ARCH.global_access(TileType(type.dtype, shape, other), along, 16).sectors == least


def test_rows_to_warps() -> None:
    """Each warp has whole rows, 4 of 16, and the lanes of a warp lie along a row."""
    assert rows_to_warps(TileType(dtype("f32"), (16, 128)), (1,), 4, 1) == spatial(4, 1) * blocked((4, 128), 32, 4)
    assert rows_to_warps(TileType(dtype("f32"), (2, 128)), (1,), 4, 1) is None
    assert rows_to_warps(TileType(dtype("f32"), (1024,)), (0,), 4, 0) is None


# what they save


def built(kernel: Kernel, *arrays: Any) -> tuple[Counter[str], Any]:
    """Ops after selection, by name, and the report of a run."""
    ops = Counter(op.mnemonic for op in kernel.stages("sm_80")["selected"].walk())
    report = kernel.simulate(*arrays)
    assert report.findings == []
    return ops, report


def sectors(report: Any) -> int:
    return sum(c.sectors for c in report.costs if c.space == "global")


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng().integers(-4, 5, shape).astype(np.float32)


@tc.kernel(warps=4)
def with_bias(a: f16[64, 32], b: f16[32, 64], d: f32[64], c: f32[64, 64]):
    tc.grid(1)
    x, y = tc.load(a, [0, 0], [64, 32]), tc.load(b, [0, 0], [32, 64])
    tc.store(c, [0, 0], tc.dot(x, y) + tc.load(d, [0], [64]))


def test_a_bias_is_loaded_where_it_is_added() -> None:
    """Each thread loads those that it adds, and none goes through shared memory."""
    (load,) = [op for op in with_bias.stages("sm_80")["layouts"].walk() if op.mnemonic == "load" and op.result.type.rank == 1]
    (dot,) = [op for op in with_bias.stages("sm_80")["layouts"].walk() if isinstance(op, Dot)]
    assert load.result.type.layout == dot.result.type.layout.reduce(0)
    a, b, d, c = integers(64, 32).astype(np.float16), integers(32, 64).astype(np.float16), integers(64), np.full((64, 64), np.nan, np.float32)
    built(with_bias, a, b, d, c)
    assert np.array_equal(c, a.astype(np.float32) @ b.astype(np.float32) + d)


@tc.kernel(warps=4)
def transposed(x: f16[64, 64], y: f16[64, 64]):
    tc.grid(1)
    tc.store(y, [0, 0], tc.load(x, [0, 0], [64, 64]).T)


def test_a_transposing_copy_needs_no_shared_memory() -> None:
    """64 x 64 elements of 2 bytes are 256 sectors, read and written once. Rows in, columns out would write 1024."""
    x, y = integers(64, 64).astype(np.float16), np.full((64, 64), np.nan, np.float16)
    ops, report = built(transposed, x, y)
    assert np.array_equal(y, x.T)
    assert sectors(report) == 2 * 256
    assert not [c for c in report.costs if c.space == "shared"]
    assert not ops["sync"]


@tc.kernel(warps=4)
def column_sums(x: f32[64, 64], y: f32[64]):
    tc.grid(1)
    tc.store(y, [0], tc.sum(tc.load(x, [0, 0], [64, 64]), axis=0))


@tc.kernel(warps=4)
def row_sums(x: f32[32, 32], y: f32[32]):
    tc.grid(1)
    tc.store(y, [0], tc.sum(tc.load(x, [0, 0], [32, 32]), axis=1))


@pytest.mark.parametrize(("kernel", "axis"), [(column_sums, 0), (row_sums, 1)])
def test_reductions_stay_in_warps(kernel: Kernel, axis: int) -> None:
    """Warps share out the other axis, in whole sectors."""
    shape = (64, 64) if axis == 0 else (32, 32)
    x, y = integers(*shape), np.full(shape[1 - axis], np.nan, np.float32)
    ops, report = built(kernel, x, y)
    assert np.array_equal(y, x.sum(axis))
    assert not ops["sync"]
    assert sectors(report) <= (x.size + 2 * y.size) // 8  # a warp stores half a sector at once


@tc.kernel(warps=4)
def chain(a: f16[64, 64], b: f16[64, 64], w: f16[64, 64], c: f32[64, 64]):
    tc.grid(1)
    h = f16(tc.dot(tc.load(a, [0, 0], [64, 64]), tc.load(b, [0, 0], [64, 64])))
    tc.store(c, [0, 0], tc.dot(tc.maximum(h, 0.0), tc.load(w, [0, 0], [64, 64])))


def test_a_chain_of_products_hands_nothing_over() -> None:
    """The result of the one is the operand of the other in its thread: what is loaded alone goes through shared memory."""
    conversions = [op for op in chain.stages("sm_80")["layouts"].walk() if isinstance(op, ConvertLayout)]
    far = [op for op in conversions if ARCH.conversions(op.x.type, op.layout)[0].how != "registers"]  # type: ignore[arg-type]
    assert all(isinstance(op.x.owner, Load) for op in far)
    a, b, w = (integers(64, 64).astype(np.float16) for _ in range(3))
    c = np.full((64, 64), np.nan, np.float32)
    ops, _ = built(chain, a, b, w, c)
    assert ops["sync"] == 2 * len(far) <= 6
    h = np.maximum((a.astype(np.float32) @ b.astype(np.float32)).astype(np.float16), 0).astype(np.float32)
    assert np.array_equal(c, h @ w.astype(np.float32))


def total(function: Function) -> float:
    """What all accesses, conversions and reductions weigh."""
    found = Cost()
    for op in function.walk():
        if isinstance(op, ConvertLayout) and op.layout is not None:
            found += ARCH.conversions(op.x.type, op.layout)[0].cost
        elif isinstance(op, Load | Store):
            given = op.result.type if isinstance(op, Load) else op.value.type
            found += ARCH.global_access(given, 1, 16)
    return ARCH.weight(found)


def test_no_strategy_alone_is_cheaper() -> None:
    stages = chain.stages("sm_80")
    alone = [total(AssignLayouts(ARCH, strategy).run(stages["widths"])) for strategy in ("least loads", "whole rows")]
    assert total(stages["layouts"]) <= min(alone) < max(alone)


def test_a_lone_offer_costs_nothing() -> None:
    """Where each op has one sensible layout, nothing is weighed."""

    @tc.kernel
    def add(x: f32[M], y: f32[M], z: f32[M]):
        tc.grid(cdiv(M, 1024))
        i = tc.block_index(0) * 1024
        tc.store(z, [i], tc.load(x, [i], [1024]) + tc.load(y, [i], [1024]))

    with noting() as notes:
        add.stages("sm_80")
    assert [n for n in notes if n.offers] == []


def test_the_choice_is_the_same_each_time() -> None:
    function = chain.stages("sm_80")["widths"]
    assert str(AssignLayouts(ARCH).run(function)) == str(AssignLayouts(ARCH).run(function))


@tc.kernel(warps=4)
def long(a: f16[64, 64], b: f16[64, 64], c: f32[64, 64], *, steps: int = 150):
    tc.grid(1)
    x = tc.load(a, [0, 0], [64, 64])
    acc = tc.zeros(f32, [64, 64])
    for _ in tc.static_range(steps):
        x = x * x - x
    for _i in tc.range(4):
        y = tc.load(b, [0, 0], [64, 64])
        for _ in tc.static_range(steps):
            y = y * y - x
            acc = tc.dot(x, y, acc)
    tc.store(c, [0, 0], acc + tc.sum(f32(x), axis=0))


def test_long_kernels_take_no_longer_than_they_are_long() -> None:
    """Each value has two users, and is used twice by one of them: 2**150 ways through them. What is foreseen ends, and recursion with it."""
    function = long.stages("sm_80")["layouts"]
    assert sum(isinstance(op, Dot) for op in function.walk()) == 150
