"""Structs, static loops, and Python at compile time."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import f32, i32

N = tc.dims("N")
RNG = np.random.default_rng()
TABLE = {"a": 2, "b": 5}


@tc.struct
class Moments:
    """Count, mean and sum of squared distances, after Welford."""

    count: f32
    mean: f32
    spread: f32
    scale: float = 1.0

    @tc.function
    def joined(self, x):
        count = self.count + 1.0
        gap = x - self.mean
        mean = self.mean + gap / count
        return self.replace(count=count, mean=mean, spread=self.spread + gap * (x - mean))


class Pair(NamedTuple):
    first: int
    second: int


@tc.kernel(warps=1)
def moments(x: f32[N, 32], y: f32[2, 32]):
    tc.grid(1)
    zero = tc.zeros(f32, [32])
    m = Moments(zero, zero, spread=zero)
    for i in range(N):
        v = tc.load(x, [i, 0], [32])
        if i % 2 == 0:
            m = m.joined(v)
        else:
            m = Moments.joined(m, v + 1.0)
    tc.store(y, [0, 0], m.mean * m.scale)
    count, *rest = m
    tc.store(y, [1, 0], rest[1] / count)


def test_structs_in_loops_branches_and_methods():
    x = RNG.integers(-4, 5, (8, 32)).astype(np.float32)
    shifted = x + (np.arange(8) % 2)[:, None]
    y = np.full((2, 32), np.nan, np.float32)
    moments.interpret(x, y)
    np.testing.assert_allclose(y, [shifted.mean(0), shifted.var(0)], rtol=1e-5, atol=1e-6)
    again = np.full_like(y, np.nan)
    for run in (lambda: moments.interpret(x, again, stage="placed"), lambda: moments.simulate(x, again)):
        run()
        np.testing.assert_allclose(again, y, rtol=1e-5, atol=1e-6)


@tc.kernel(warps=1)
def static(y: i32[N], *, shapes: tuple = ((2, 3), (4, 5)), names: str = "ab"):
    tc.grid(1)
    total = tc.block_index(0)
    for k, (m, n) in enumerate(shapes):
        total += k * m * n
    for name, shape in zip(names, shapes, strict=True):
        total += TABLE[name] * math.prod(shape)
    for key, value in sorted(TABLE.items()):
        total += value * len(key)
    squares = {i: i * i for i in range(4)}
    double = tc.static(lambda v: 2 * v)
    chosen = {3, 1} | {v % 2 for v in (1, 2)}
    total += squares[3] + double(4) + sum(chosen) + tc.static([j for j in range(9) if j % 2 and (q := j) > 3 and q][-1])
    total += math.gcd(12, 18) + Pair(3, 4).second + max(*[1, *shapes[0]], 2)
    tc.static_assert(len(shapes) == 2, "two shapes")
    first, *others, last = [1, 2, 3, 4]
    tc.store(y, 0, total + first * last + len(others))


def test_static_loops_and_python_at_compile_time():
    want = 1 * 20 + 2 * 6 + 5 * 20 + 7 + 9 + 8 + (3 + 1 + 0) + 7 + 6 + 4 + 3 + 4 + 2
    everywhere(static, (np.zeros(1, np.int32),), {"y": [want]})


def test_a_struct_outside_of_kernels():
    m = Moments(1.0, 2.0, 0.0)
    assert (m.count, m.scale, m.replace(mean=3.0).mean) == (1.0, 1.0, 3.0)
    assert m.joined(4.0).mean == 3.0
    with pytest.raises(tc.TileError, match="Empty is no struct"):

        @tc.struct
        class Empty:
            pass
