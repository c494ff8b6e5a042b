"""Addresses that a loop carries from round to round: the same elements as those of addresses computed anew."""

import numpy as np
import pytest

import tilec as tc
from tests.differential import ARCHITECTURES, check
from tests.everywhere import everywhere
from tests.programs import Maker
from tilec import DType, f32, f64, i16, i32, u16

M, N = tc.dims("M N")


@tc.kernel(warps=1)
def rows_by_u16(a: i32[N, M], y: i32[32], start: u16, stop: u16):
    tc.grid(1)
    total = tc.zeros(i32, [32])
    for k in tc.range(start, stop):
        total += tc.load(a, [i32(k), 0], [32])
    tc.store(y, [0], total)


def test_an_unsigned_counter_is_widened_without_its_sign() -> None:
    a = np.random.default_rng().integers(-99, 99, (40020, 40), np.int32)
    given = a, np.full(32, -1, np.int32), np.uint16(40000), np.uint16(40007)
    everywhere(rows_by_u16, given, {"y": a[40000:40007, :32].sum(axis=0)})


@tc.kernel(warps=1)
def views_in_a_loop(a: i32[N], y: i32[32], apart: i32):
    tc.grid(1)
    total = tc.zeros(i32, [32])
    for k in tc.range(5):
        fixed = tc.tensor_view(a, k * 7, shape=[10, 32], strides=[apart, 1])
        spread = tc.tensor_view(a, apart, shape=[10, 32], strides=[k + 1, 1])
        total += tc.load(fixed, [k, 0], [32]) + 3 * tc.load(spread, [k, 0], [32])
    tc.store(y, [0], total)


def test_a_view_made_in_the_loop_moves_by_itself() -> None:
    a = np.random.default_rng().integers(-99, 99, 200, np.int32)
    wanted = sum(a[k * 7 + k * 11 :][:32] + 3 * a[11 + k * (k + 1) :][:32] for k in range(5))
    everywhere(views_in_a_loop, (a, np.full(32, -1, np.int32), 11), {"y": wanted})


@tc.kernel(warps=1)
def shifted(a: i32[N, M], y: i32[32], *, by: int):
    tc.grid(1)
    total = tc.zeros(i32, [32])
    for k in tc.range(9):
        total += tc.load(a, [k >> by, 0], [32]) + tc.load(a, [(k << by) // 8, 0], [32])
    tc.store(y, [0], total)


@pytest.mark.parametrize("by", [0, 1, 3, 32, 40, -1])
def test_shifts_by_any_number(by: int) -> None:
    """A count beyond the width leaves 0, and so does a negative one, which is a large one without its sign."""
    a = np.random.default_rng().integers(-99, 99, (80, 40), np.int32)
    rows = [(k >> by, (k << by) // 8) if 0 <= by < 32 else (0, 0) for k in range(9)]
    wanted = sum(a[i, :32] + a[j, :32] for i, j in rows)
    everywhere(shifted, (a, np.full(32, -1, np.int32)), {"y": wanted}, by=by)


class Walker(Maker):
    """Makes programs of nothing but walks, alone and in groups of warps."""

    def steps(self, count: int) -> None:
        for _ in range(count):
            if self.depth == 0 and self.choose(4) == 0:
                self.group()
            elif (found := self.walk()) is not None:
                self.scope.append(found)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_random_walks(arch: str) -> None:
    """Loops within loops, groups and branches, and accesses at sums, multiples, quotients and bits of their counters."""
    seed = int(np.random.default_rng().integers(2**31))
    rng = np.random.default_rng(seed)
    maker = Walker(lambda n: int(rng.integers(n)), seed)
    assert check(maker.program(2), arch), seed


# what the walks found

W = tc.types("W")


@tc.kernel(warps=1)
def columns(a: W[M, N], y: W[40, 20], *, W: DType = f32, masked: bool = False):
    tc.grid(1)
    s = tc.shared(W, [20])
    for j in range(40):
        if masked:
            tc.copy_async(s, a, [0, j], dims=[0], mask=tc.arange(20) != 3)
        else:
            tc.copy_async(s, a, [0, j], dims=[0])
        tc.commit()
        tc.wait(0)
        tc.sync()
        tc.store(y, [j, 0], tc.load(s))
        tc.sync()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "numpy"), [(f32, np.float32), (f64, np.float64), (i16, np.int16)])
def test_copies_of_columns(dtype: DType, numpy: type, masked: bool) -> None:
    a = np.random.default_rng().integers(-9, 9, (17, 41)).astype(numpy)
    wanted = np.zeros((40, 20))
    wanted[:, :17] = a.T[:40]
    wanted[:, 3] *= not masked
    everywhere(columns, (a, np.full((40, 20), -1, numpy)), {"y": wanted}, W=dtype, masked=masked)


@tc.kernel(warps=1)
def copied_strided(a: tc.strided(f32[M, N]), y: f32[8, 20]):
    tc.grid(1)
    s = tc.shared(f32, [8, 20])
    tc.copy_async(s, a, [3, 2])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [0, 0], tc.load(s))


def test_copies_of_strided_tensors() -> None:
    base = np.random.default_rng().standard_normal((40, 50), np.float32)
    for a in (base[::2, ::2][:9, :20], base.T[:9, :20]):
        wanted = np.zeros((8, 20))
        wanted[:6, :18] = a[3:, 2:]
        everywhere(copied_strided, (a, np.full((8, 20), -1, np.float32)), {"y": wanted})


@tc.kernel(warps=1)
def handed_on(a: f32[N]):
    tc.grid(1)
    rows = tc.tensor_view(a, 0, shape=[8, 64], strides=[64, 1])
    following = tc.tensor_view(a, 64, shape=[8, 64], strides=[64, 1])
    for k in tc.range(7, stages=3):
        tc.store(following, [k, 0], tc.load(rows, [k, 0], [1, 64]) + 1.0)
        tc.sync()


def test_no_load_is_started_ahead_of_a_store_through_another_view() -> None:
    a = np.random.default_rng().integers(-9, 9, 512).astype(np.float32)
    everywhere(handed_on, (a,), {"a": np.concatenate([a[:64] + i for i in range(8)])})


@tc.kernel(warps=1)
def views_ahead(a: f32[N], y: f32[32], rounds: i32):
    tc.grid(1)
    total = tc.zeros(f32, [32])
    for k in tc.range(rounds, stages=3):
        total += tc.load(tc.tensor_view(a, k * 32, shape=[32]), [0], [32])
    tc.store(y, [0], total)


def test_views_of_the_loop_are_made_rounds_ahead_and_not_beyond_its_end() -> None:
    for rounds in (0, 1, 2, 5):
        a = np.random.default_rng().integers(-9, 9, 32 * rounds + 1).astype(np.float32)
        everywhere(views_ahead, (a, np.full(32, -1, np.float32), rounds), {"y": a[: 32 * rounds].reshape(-1, 32).sum(axis=0)})
