"""Shared tiles in the same place: how many bytes remain, and that nothing is overwritten too early."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import f32

M, N = tc.dims("M N")


@tc.kernel(warps=2)
def phases(x: f32[32, 32], y: f32[32, 32], *, barrier: bool = True, copied: bool = False, waited: bool = True):
    """Two turns through shared memory, each with a tile of its own."""
    tc.grid(1)
    first = tc.shared(f32, [32, 32])
    if copied:
        tc.copy_async(first, x, [0, 0])
        tc.commit()
        if waited:
            tc.wait(0)
    else:
        tc.store(first, tc.load(x, [0, 0], [32, 32]))
    tc.sync()
    turned = tc.load(first, [0, 0], [32, 32], dims=[1, 0]) if waited else tc.load(x, [0, 0], [32, 32]).T
    if barrier:
        tc.sync()
    second = tc.shared(f32, [32, 32])
    tc.store(second, turned + 1.0)
    tc.sync()
    tc.store(y, [0, 0], tc.load(second, [0, 0], [32, 32], dims=[1, 0]))


def offsets(kernel, **constants):
    return [tile["offset"] for tile in kernel.compile(**constants).metadata["shared"] if tile["name"] in ("first", "second")]


@pytest.mark.parametrize("copied", [False, True])
def test_a_barrier_lets_tiles_share_their_place(copied):
    x = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)
    everywhere(phases, (x, np.zeros_like(x)), {"y": x + 1}, copied=copied)
    assert offsets(phases, copied=copied) == [0, 0]


def test_without_a_barrier_they_do_not():
    x = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)
    everywhere(phases, (x, np.zeros_like(x)), {"y": x + 1}, barrier=False)
    assert offsets(phases, barrier=False) == [0, 4096]


def test_a_copy_under_way_keeps_its_place():
    assert offsets(phases, copied=True, waited=False) == [0, 4096]


@tc.kernel(warps=2)
def in_a_loop(x: f32[M, 32], y: f32[M, 32]):
    """Barriers inside of a loop separate nothing: the next round uses both tiles again."""
    tc.grid(1)
    first, second = tc.shared(f32, [1, 32]), tc.shared(f32, [1, 32])
    for i in range(M):
        tc.store(first, tc.load(x, [i, 0], [1, 32]))
        tc.sync()
        tc.store(second, tc.load(first) * 2.0)
        tc.sync()
        tc.store(y, [i, 0], tc.load(second))
        tc.sync()
    third = tc.shared(f32, [64])
    tc.sync()
    tc.store(third, tc.zeros(f32, [64]))


def test_loops_are_one_step():
    x = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    everywhere(in_a_loop, (x, np.zeros_like(x)), {"y": 2 * x})
    assert [tile["offset"] for tile in in_a_loop.compile().metadata["shared"]] == [0, 1024, 0]
