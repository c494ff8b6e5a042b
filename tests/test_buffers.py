"""Fragments that are read in the round before: the pass, what it leaves alone, and what it comes to in machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilec as tc
from tests.everywhere import everywhere
from tests.examples import load_benchmark
from tests.test_passes import check
from tilec import DType, TileError, bf16, cdiv, f16, f32, float8_e4m3, i32, int8
from tilec.backend.sass import disassemble
from tilec.ir.core import Function, Op, Rewriter
from tilec.ir.ops.asynchronous import Wait
from tilec.ir.ops.control import For
from tilec.ir.ops.sync import Sync
from tilec.passes.buffers import double_buffer
from tilec.passes.hazards import hazards

M, N, K, B = tc.dims("M N K B")
X = tc.types("X")

LOOP = """
    %0 = constant value=0 dtype=i32 : i32
    %1 = constant value=1 dtype=i32 : i32
    %2 = constant value=32 dtype=i32 : i32
    %s = shared dtype=f16 shape=[2, 16, 32] : shared f16[2, 16, 32]
    %t = shared dtype=f16 shape=[2, 32, 8] : shared f16[2, 32, 8]
    """
BEFORE = LOOP + """
    %r, %p, %q = for %0, %N, %2, [%x, %0, %1] buffers={} body=(%k: i32, %acc: f32[16, 8], %now: i32, %then: i32) {{
      wait
      sync
      {}
      %u = shared_view %s, [%now, %0, %0] shape=[16, 32] strides=[32, 1] : shared f16[16, 32]
      %a = load_shared %u, [%0, %0] shape=[16, 32] dims=[0, 1] : f16[16, 32]
      %v = shared_view %t, [%now, %0, %0] shape=[32, 8] strides=[8, 1] : shared f16[32, 8]
      %b = load_shared %v, [%0, %0] shape=[32, 8] dims=[0, 1] : f16[32, 8]
      {}
      %sum = dot %a, %b, %acc : f32[16, 8]
      %next = sub %1, %now : i32
      yield [%sum, %next, %now]
    }} : f32[16, 8], i32, i32
    """
PARAMS = "%x: f32[16, 8], %N: i32"


def test_the_first_step_of_a_round_is_read_in_the_round_before() -> None:
    check(double_buffer, BEFORE.format(2, "commit", ""), LOOP + """
    wait
    sync
    %3 = constant value=0 dtype=i32 : i32
    %4 = shared_view %s, [%0, %3, %3] shape=[16, 32] strides=[32, 1] : shared f16[16, 32]
    %a = load_shared %4, [%3, %3] shape=[16, 16] dims=[0, 1] : f16[16, 16]
    %5 = constant value=0 dtype=i32 : i32
    %6 = shared_view %t, [%0, %5, %5] shape=[32, 8] strides=[8, 1] : shared f16[32, 8]
    %b = load_shared %6, [%5, %5] shape=[16, 8] dims=[0, 1] : f16[16, 8]
    %r, %p, %q, %7, %8 = for %0, %N, %2, [%x, %0, %1, %a, %b] body=(%k: i32, %acc: f32[16, 8], %now: i32, %then: i32, %a.1: f16[16, 16], %b.1: f16[16, 8]) {
      %next = sub %1, %now : i32
      %9 = constant value=0 dtype=i32 : i32
      %10 = constant value=16 dtype=i32 : i32
      %11 = shared_view %s, [%now, %9, %9] shape=[16, 32] strides=[32, 1] : shared f16[16, 32]
      %a.2 = load_shared %11, [%9, %10] shape=[16, 16] dims=[0, 1] : f16[16, 16]
      %12 = constant value=0 dtype=i32 : i32
      %13 = constant value=16 dtype=i32 : i32
      %14 = shared_view %t, [%now, %12, %12] shape=[32, 8] strides=[8, 1] : shared f16[32, 8]
      %b.2 = load_shared %14, [%13, %12] shape=[16, 8] dims=[0, 1] : f16[16, 8]
      commit
      %15 = dot %a.1, %b.1, %acc : f32[16, 8]
      wait
      sync
      %16 = constant value=0 dtype=i32 : i32
      %17 = shared_view %s, [%next, %16, %16] shape=[16, 32] strides=[32, 1] : shared f16[16, 32]
      %a.3 = load_shared %17, [%16, %16] shape=[16, 16] dims=[0, 1] : f16[16, 16]
      %18 = constant value=0 dtype=i32 : i32
      %19 = shared_view %t, [%next, %18, %18] shape=[32, 8] strides=[8, 1] : shared f16[32, 8]
      %b.3 = load_shared %19, [%18, %18] shape=[16, 8] dims=[0, 1] : f16[16, 8]
      %sum = dot %a.2, %b.2, %15 : f32[16, 8]
      yield [%sum, %next, %now, %a.3, %b.3]
    } : f32[16, 8], i32, i32, f16[16, 16], f16[16, 8]
    """, params=PARAMS)  # fmt: skip


def test_copies_move_behind_the_reads_where_it_is_forbidden() -> None:
    given = BEFORE.format(1, "commit", "")
    check(double_buffer, given, BEFORE.replace(" buffers={}", "").format("", "commit"), params=PARAMS)


@pytest.mark.parametrize("inside", ["sync", "wait pending=1", "store %w, [%0], %k dims=[]"])
def test_a_loop_that_does_more_stays(inside: str) -> None:
    after = BEFORE.replace(" buffers={}", "").format("commit", inside)
    with pytest.warns(UserWarning, match="buffers=2 is not done: the loop writes or waits beside it"):
        check(double_buffer, BEFORE.format(2, "commit", inside), after, params=f"{PARAMS}, %w: global i32[N]")


# in kernels


def product(a: X[M, K], b: X[K, N], c: f32[M, N], *, X: DType, bm: int, bn: int, bk: int, stages: int, buffers: int | None = 2):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages, buffers=buffers):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc, precision="tf32" if X == f32 else "ieee")
    tc.store(c, [i, j], acc)


def turned(a: X[K, M], b: X[N, K], c: f32[M, N], *, X: DType, bm: int, bn: int, bk: int, stages: int):
    """Both factors the other way round, the left one with another sign, and something done to the sum in each round."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages, buffers=2):
        acc = tc.dot(-tc.load(a, [k, i], [bk, bm]).T, tc.load(b, [j, k], [bn, bk]).T, acc * 2.0) + 1.0
    tc.store(c, [i, j], acc)


def exact(rng: np.random.Generator, dtype: DType, *shape: int) -> tc.Tensor:
    """Small integers, of which sums are exact."""
    return tc.tensor(dtype.encode(rng.integers(-2, 3, shape).astype(np.float64)), dtype, shape)


SIZES = [(40, 24, 96), (16, 16, 7), (32, 8, 0)]


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
@pytest.mark.parametrize(
    ("dtype", "warps", "bm", "bn", "bk", "stages"),
    [(f16, 4, 32, 32, 32, 3), (f16, 2, 32, 16, 16, 2), (bf16, 1, 16, 16, 64, 4), (f32, 2, 32, 16, 16, 2), (float8_e4m3, 2, 32, 16, 64, 3)],
)
def test_products_are_the_same(dtype: DType, warps: int, bm: int, bn: int, bk: int, stages: int, m: int, n: int, k: int) -> None:
    rng = np.random.default_rng()
    a, b = exact(rng, dtype, m, k), exact(rng, dtype, k, n)
    c = np.full((m, n), np.nan, np.float32)
    constants: dict[str, Any] = {"X": dtype, "bm": bm, "bn": bn, "bk": bk, "stages": stages}
    arch = "sm_89" if dtype == float8_e4m3 else "sm_80"
    everywhere(tc.kernel(warps=warps)(product), (a, b, c), {"c": a.values().astype(np.float64) @ b.values().astype(np.float64)}, arch, **constants)


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_factors_may_be_turned(m: int, n: int, k: int) -> None:
    rng, bk = np.random.default_rng(), 32
    a, b = exact(rng, f16, k, m), exact(rng, f16, n, k)
    expected = np.zeros((m, n))
    for at in range(0, k, bk):
        expected = 2 * expected - a.values()[at : at + bk].T.astype(np.float64) @ b.values()[:, at : at + bk].T + 1
    kernel = tc.kernel(warps=2)(turned)
    everywhere(kernel, (a, b, np.full((m, n), np.nan, np.float32)), {"c": expected}, X=f16, bm=32, bn=16, bk=bk, stages=3)
    assert carries_fragments(kernel.stages(X=f16, bm=32, bn=16, bk=bk, stages=3)["buffered"])


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_stacks_of_matrices(m: int, n: int, k: int) -> None:
    """Where a matrix lies is asked of the first round only: with no round, there may be none."""

    @tc.kernel(warps=2)
    def batched(a: f16[B, M, K], b: f16[B, K, N], c: f32[B, M, N]):
        tc.grid(cdiv(M, 32), cdiv(N, 16), B)
        i, j, s = tc.block_index(0) * 32, tc.block_index(1) * 16, tc.block_index(2)
        acc = tc.zeros(f32, [32, 16])
        for at in tc.range(0, K, 32, stages=3, buffers=2):
            acc = tc.dot(tc.load(a, [s, i, at], [32, 32]), tc.load(b, [s, at, j], [32, 16]), acc)
        tc.store(c, [s, i, j], acc)

    rng = np.random.default_rng()
    a, b = exact(rng, f16, 2, m, k), exact(rng, f16, 2, k, n)
    expected = a.values().astype(np.float64) @ b.values().astype(np.float64)
    everywhere(batched, (a, b, np.full((2, m, n), np.nan, np.float32)), {"c": expected})
    assert carries_fragments(batched.stages()["buffered"])


def carries_fragments(function: Function) -> bool:
    return any(v.type.dtype == f16 for op in function.walk() if isinstance(op, For) for v in op.inits)


class Without(Rewriter):
    """A function without one of its ops."""

    def __init__(self, gone: Op):
        super().__init__()
        self.gone = gone

    def visit(self, op: Op) -> Any:
        return None if op is self.gone else super().visit(op)


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_every_wait_and_barrier_is_wanted(stages: int) -> None:
    """The checker of hazards finds none, and finds each that is left out: but the wait behind the loop, of copies that nobody reads."""
    rounds = load_benchmark("rounds")
    function = rounds.kernel(4).stages(bm=32, bn=32, stages=stages, buffers=2)["buffered"]
    assert carries_fragments(function)
    assert hazards(function) == []
    asked = [op for op in function.walk() if isinstance(op, Wait | Sync)]
    assert len(asked) == 5
    assert [bool(hazards(Without(op).run(function))) for op in asked] == [True, True, True, True, False]


# when


def explained(kernel: tc.Kernel, **constants: Any) -> str:
    return str(kernel.explain("sm_80", **constants))


def test_it_is_done_where_a_block_is_alone_on_its_multiprocessor() -> None:
    large = {"bk": 64, "stages": 4, "buffers": None}
    small = {"bm": 64, "bn": 64, "buffers": None}
    kernel = load_benchmark("rounds").kernel(4)
    assert carries_fragments(kernel.stages(**large)["buffered"])
    assert not carries_fragments(kernel.stages(**small)["buffered"])
    assert not carries_fragments(kernel.stages(**{**large, "buffers": 1})["buffered"])
    assert carries_fragments(kernel.stages(**{**small, "buffers": 2})["buffered"])
    assert "fragments are read a step of 16 ahead of their products, a round's first in the round before" in explained(kernel, **large)
    assert "share a multiprocessor, and multiply while others read; buffers=2 asks for it" in explained(kernel, **small)


def test_what_registers_do_not_hold_is_not_read_ahead() -> None:
    """192 for the sums, 40 for a step's fragments, and 40 beside them; copies over edges take more."""
    kernel = load_benchmark("rounds").kernel(4)
    assert not carries_fragments(kernel.stages(bn=192, bk=64)["buffered"])
    assert "fragments are not read in the round before: a thread would need some 312 registers" in explained(kernel, bn=192, bk=64)
    edges = tc.kernel(warps=8)(product)
    assert not carries_fragments(edges.stages(X=f16, bm=128, bn=256, bk=64, stages=3, buffers=None)["buffered"])
    assert carries_fragments(edges.stages(X=f16, bm=128, bn=128, bk=64, stages=3, buffers=None)["buffered"])


def test_where_registers_are_few_nothing_moves() -> None:
    @tc.kernel(warps=4)
    def stacked(a: f16[B, M, K], b: f16[B, K, N], c: f16[B, M, N]):
        tc.grid(cdiv(M, 128), cdiv(N, 128), B)
        tc.assume((M % 128 == 0) & (N % 128 == 0) & (K % 64 == 0))
        i, j, s = tc.block_index(0) * 128, tc.block_index(1) * 128, tc.block_index(2)
        acc = tc.zeros(f32, [128, 128])
        for at in tc.range(0, K, 64, stages=3):
            acc = tc.dot(tc.load(a, [s, i, at], [128, 64]), tc.load(b, [s, at, j], [64, 128]), acc)
        tc.store(c, [s, i, j], f16(acc))

    assert not carries_fragments(stacked.stages()["buffered"])
    assert stacked.compile("sm_80").resources.spill_bytes == 0


def test_a_request_that_can_not_be_met_is_answered() -> None:
    @tc.kernel(warps=4)
    def twice(a: f16[M, K], b: f16[K, 64], c: f32[M, 64], d: f32[M, 64]):
        tc.grid(cdiv(M, 64))
        i = tc.block_index(0) * 64
        x, y = tc.zeros(f32, [64, 64]), tc.zeros(f32, [64, 64])
        for k in tc.range(0, K, 32, stages=2, buffers=2):
            u, v = tc.load(a, [i, k], [64, 32]), tc.load(b, [k, 0], [32, 64])
            x = tc.dot(u, v, x)
            y = tc.dot(-u, v, y)
        tc.store(c, [i, 0], x)
        tc.store(d, [i, 0], y)

    with pytest.warns(UserWarning, match="buffers=2 is not done: its rounds are not one product"):
        twice.stages()


@pytest.mark.parametrize(
    ("stages", "buffers", "message"),
    [(3, 3, "buffers is 1, 2 or None, known at compile time, not the Python number 3"), (3, True, "1, 2 or None"), (1, 2, "for loops with stages")],
)
def test_wrong_requests(stages: int, buffers: Any, message: str) -> None:
    with pytest.raises(TileError, match=message):
        tc.kernel(warps=4)(product).function(X=f16, bm=32, bn=32, bk=32, stages=stages, buffers=buffers)


# in machine code


def test_products_do_not_wait_for_their_fragments() -> None:
    """Between each ldmatrix of a round and the first product that takes what it loads stand at least 8 others, of 64; else some stand next to theirs."""
    rounds = load_benchmark("rounds")
    built = {buffers: rounds.kernel(4).compile("sm_80", bk=64, stages=4, buffers=buffers) for buffers in (1, 2)}
    loops = {buffers: disassemble(b.cubin).hot_loop().instructions for buffers, b in built.items()}
    assert rounds.products_ahead(loops[1]) == 0
    assert rounds.products_ahead(loops[2]) >= 8
    assert all(b.resources.spill_bytes == 0 for b in built.values())


def test_products_of_integers_may_be_ahead() -> None:
    @tc.kernel(warps=2)
    def integers(a: int8[M, K], b: int8[N, K], c: i32[M, N]):
        tc.grid(cdiv(M, 32), cdiv(N, 16))
        i, j = tc.block_index(0) * 32, tc.block_index(1) * 16
        acc = tc.zeros(i32, [32, 16])
        for k in tc.range(0, K, 64, stages=2, buffers=2):
            acc = tc.dot(tc.load(a, [i, k], [32, 64]), tc.load(b, [j, k], [16, 64]).T, acc)
        tc.store(c, [i, j], acc)

    rng = np.random.default_rng()
    a, b = (rng.integers(-128, 128, (n, 200)).astype(np.int8) for n in (40, 24))
    everywhere(integers, (a, b, np.full((40, 24), -1, np.int32)), {"c": a.astype(np.int64) @ b.T.astype(np.int64)})
