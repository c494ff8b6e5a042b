"""Comparisons of ascending integers with a bound: shared where both are multiples, and right at every edge."""

import re

import numpy as np
import pytest

import tilec as tc
from tilec import i32

N = tc.dims("N")
COMPARISONS = {"<": np.less, ">=": np.greater_equal, "n >": np.less, "n <=": np.greater_equal, "<=": np.less_equal, ">": np.greater}


@tc.kernel(warps=1)
def marks(x: i32[N], y: i32[256], *, kind: str, divisor: int = 1, shift: int = 0):
    tc.grid(1)
    tc.assume(N % divisor == 0)
    i = tc.arange(256) + shift
    if kind == "<":
        found = i < N
    elif kind == ">=":
        found = i >= N
    elif kind == "n >":
        found = N > i
    elif kind == "n <=":
        found = N <= i
    elif kind == "<=":
        found = i <= N
    else:
        found = i > N
    tc.store(y, 0, tc.load(y, 0, [256], layout=tc.spatial(32).local(8)) + i32(found))


@pytest.mark.parametrize("shift", [0, 8, 3, -16])
@pytest.mark.parametrize("kind", COMPARISONS)
def test_every_outcome_is_right(kind: str, shift: int) -> None:
    for n in (4, 12, 128, 252, 260):
        before = np.random.default_rng().integers(-99, 99, 256, np.int32)
        y = before.copy()
        marks.simulate(np.zeros(n, np.int32), y, kind=kind, divisor=4, shift=shift)
        assert np.array_equal(y - before, COMPARISONS[kind](np.arange(256) + shift, n)), n


@pytest.mark.parametrize(("kind", "divisor", "shift", "count"), [
    ("<", 8, 0, 1), ("<", 4, 0, 2), (">=", 8, 4, 2), ("n >", 8, 16, 1), ("<", 1, 0, 8), ("<=", 8, 0, 8),
])  # fmt: skip
def test_registers_share_comparisons_where_they_must_agree(kind: str, divisor: int, shift: int, count: int) -> None:
    """A thread holds runs of 8 neighbours."""
    ptx = marks.compile("sm_80", kind=kind, divisor=divisor, shift=shift).ptx
    assert len(re.findall(r"setp\.\w+\.[su]32", ptx)) == count
