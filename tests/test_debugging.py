"""Prints and assertions, in the interpreter and as PTX in the simulator."""

import numpy as np
import pytest

import tilec as tc
from tilec import cdiv, f16, f32, i32, i64, int6

N = tc.dims("N")


@tc.kernel(warps=2)
def printing(x: f32[N], n: i32, w: int6[N], *, b: int = 8):
    tc.grid(cdiv(N, b), 1)
    i = tc.block_index(0) * b
    v = tc.load(x, [i], [b])
    tc.device_print("start at 100%:", i)
    tc.device_print("wide", tc.cast(n, i64) * 1000000000000)
    tc.device_print("half", f16(v[2]))
    tc.device_print("v", v)
    if tc.block_index(0) == 1:
        tc.device_print("rows", tc.load(w, [0], [4]).reshape([2, 2]))
        tc.device_print("", n > 3)


def test_what_is_printed_is_the_same_everywhere(capsys):
    x = np.float32([0.5, -1, 1e-9, 3e20, np.inf, 2, 7, 8, 1 / 3, 10, 11, 12])
    w = tc.Tensor.from_values(np.arange(12) - 6, int6)
    want = []
    for block in (0, 1):
        head = f"[block {block}, 0, 0]"
        padded = np.append(x, np.zeros(8))[8 * block : 8 * block + 8]
        want += [f"{head} start at 100%: {8 * block}", f"{head} wide -5000000000000", f"{head} half {np.float16(padded[2]):g}"]
        want += [f"{head} v [{i}] {v:g}" for i, v in enumerate(padded)]
    want += [f"[block 1, 0, 0] rows [{i}, {j}] {2 * i + j - 6}" for i in (0, 1) for j in (0, 1)] + ["[block 1, 0, 0] 0"]
    for stage in ("parsed", "placed"):
        printing.interpret(x, -5, w, stage=stage)
        assert sorted(capsys.readouterr().out.splitlines()) == sorted(want), stage
    report = printing.simulate(x, -5, w)
    assert not report.findings
    assert sorted(report.output.splitlines()) == sorted(want)
    for arch in ("sm_89", "sm_90a", "sm_120a"):
        assert "vprintf" in printing.compile(arch).ptx


@tc.kernel(warps=1)
def checked(x: f32[N], n: i32, y: f32[N]):
    tc.grid(1)
    v = tc.load(x, [0], [48])
    tc.assert_(n < 100, "n is too large")  # noqa: PT009
    tc.assert_(v >= 0.0, "negative")  # noqa: PT009
    tc.store(y, [0], v)


def test_assertions():
    x, y = np.ones(48, np.float32), np.zeros(48, np.float32)
    assert not checked.simulate(x, 5, y).findings
    assert (y == 1).all()
    for stage in ("parsed", "placed"):
        with pytest.raises(tc.TileError, match=r"the assertion fails: n is too large \(in block 0\)"):
            checked.interpret(x, 100, y, stage=stage)
    x[17] = -1
    with pytest.raises(tc.TileError, match="negative"):
        checked.interpret(x, 5, y)
    (finding,) = checked.simulate(x, 5, y).findings
    assert finding.kind == "trap"
    assert "negative" in finding.message
    assert f"test_debugging.py:{checked.__wrapped__.__code__.co_firstlineno + 5}" in finding.message
    assert "__assertfail" in checked.compile("sm_90a").ptx


# Workspaces: the last of several blocks adds up what all have left


@tc.kernel(warps=1)
def total(x: f32[N], y: f32[1], parts: tc.workspace(f32[N]), arrived: tc.workspace(i32[1]), *, clean: bool = True, b: int = 32):
    tc.grid(cdiv(N, b))
    i = tc.block_index(0)
    tc.store(parts, [i], tc.sum(tc.load(x, [i * b], [b])))
    before = tc.atomic_add(arrived, [0], 1, order="acq_rel")
    if before == tc.block_count(0) - 1:
        sums = tc.load(parts, [0], [64])
        tc.store(y, [0], tc.sum(sums))
        tc.sync()
        tc.store(parts, [0], tc.zeros(f32, [64]))
        if clean:
            tc.store(arrived, [0], 0)


def test_workspaces_are_provided_and_left_clean():
    x, y = np.arange(1000, dtype=np.float32), np.zeros(1, np.float32)
    for run in (total.interpret, total.simulate):
        for _ in range(2):
            y[0] = 0
            run(x, y)
            assert y[0] == x.sum()
    own = np.zeros(1, np.int32)
    total.interpret(x, y, arrived=own)
    assert own[0] == 0
    with pytest.raises(tc.TileError, match="the workspace arrived holds other values than 0 after the run"):
        total.interpret(x, y, clean=False)
    with pytest.raises(tc.TileError, match="the workspace arrived holds other values than 0 before the run"):
        total.interpret(x, y, arrived=own + 3)


def test_a_workspace_of_unknown_extent():
    k = tc.dims("K")

    @tc.kernel
    def lost(y: f32[1], w: tc.workspace(f32[k])):
        tc.grid(1)
        tc.store(y, 0, tc.load(w, [0]))

    with pytest.raises(tc.TileError, match="the extent K of the workspace w is that of no other tensor"):
        lost.interpret(np.zeros(1, np.float32))
    with pytest.raises(tc.TileError, match="workspace takes a tensor's annotation"):
        tc.workspace(f32)
