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


@tc.kernel(warps=4)
def summed(x: f32[M, N], y: f32[64, 128], *, barrier: bool = True):
    """A ring of two stages of 32 KB, and behind it a tile of 48 KB: 99 KB hold but one of the two."""
    tc.grid(1)
    tc.assume(N % 4 == 0)
    acc = tc.zeros(f32, [64, 128])
    for k in tc.range(0, M, 64, stages=2):
        acc = acc + tc.load(x, [k, 0], [64, 128])
    if barrier:
        tc.sync()
    wide = tc.shared(f32, [96, 128])
    tc.store(wide, tc.full(f32, [96, 128], 1.0))
    tc.sync()
    tc.store(y, [0, 0], acc + tc.load(wide, [32, 0], [64, 128]))


@pytest.mark.parametrize("barrier", [True, False])
def test_a_ring_gives_way_to_what_comes_behind_a_barrier(barrier):
    x = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    y = np.full((64, 128), np.nan, np.float32)
    report = summed.simulate(x, y, arch="sm_89", barrier=barrier)
    np.testing.assert_allclose(y, x[:64] + x[64:] + 1, rtol=1e-6)
    assert report.findings == []
    built = summed.compile("sm_89", barrier=barrier)
    assert ("cp.async" in built.ptx) == barrier
    assert built.resources.shared_bytes == (65536 if barrier else 49152)
