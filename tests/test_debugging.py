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
    with pytest.raises(tc.TileError, match=r"negative \(in block 0, at element \[17\]\)"):
        checked.interpret(x, 5, y)
    (finding,) = checked.simulate(x, 5, y).findings
    assert finding.kind == "trap"
    assert "error[TILE0512]" in str(finding)
    assert "negative" in finding.message
    assert f"test_debugging.py:{checked.__wrapped__.__code__.co_firstlineno + 5}" in finding.message
    assert "__assertfail" in checked.compile("sm_90a").ptx


@tc.function
def put(x, row, v):
    tc.store(x, [row, 0], v)  # the store


@tc.kernel(warps=2)
def wrong(x: f32[N, 64], n: i32, chosen: i32[1]):
    tc.grid(1)
    s = tc.shared(f32, [2, 64])
    tc.store(s[tc.load(chosen, 0)], tc.load(x, [0, 0], [64]))
    tc.sync()
    v = tc.load(s[1])  # the load
    put(x, n, v)  # the call


def line(words):
    """Number and text of the line of this file that ends with the words."""
    return next((i, text) for i, text in enumerate(open(__file__).read().splitlines(), 1) if text.endswith(f"  # {words}"))


def shown(words, code):
    """A line of this file as errors show it, the code marked."""
    number, text = line(words)
    column = text.index(code)
    return f"{__file__}:{number}:{column + 1}: ", f"\n    {text}\n    {' ' * column}{'^' * len(code)}\n"


def test_findings_of_the_simulator_look_like_errors():
    report = wrong.simulate(np.ones((4, 64), np.float32), 9, np.zeros(1, np.int32))
    bounds, undefined = report.findings
    at, marked = shown("the store", "tc.store(x, [row, 0], v)")
    assert str(bounds).startswith(f"{at}error[TILE0510]: bounds: store of 4 bytes ")
    assert ", thread 0 of block 0" in str(bounds)
    call, calling = shown("the call", "put(x, n, v)")
    assert f"{marked}{call}note: called from here{calling}  at PTX line " in str(bounds)
    assert str(undefined).startswith(f"{at}error[TILE0509]: uninitialized: a value from memory that nothing wrote reaches a store")
    source, loading = shown("the load", "tc.load(s[1])")
    assert f"{calling}{source}note: and here{loading}" in str(undefined)


def test_errors_of_the_interpreter_name_block_and_element():
    at, marked = shown("the load", "tc.load(s[1])")
    with pytest.raises(tc.TileError) as caught:
        wrong.interpret(np.ones((4, 64), np.float32), 9, np.zeros(1, np.int32))
    assert str(caught.value) + "\n" == f"{at}error[TILE0509]: this reads shared memory that was never stored (in block 0, at element [0]){marked}"
    with pytest.raises(tc.TileError, match=r"error\[TILE0510\]: index 9 is out of bounds for axis 0 of x, which has 4 elements \(in block 0\)") as caught:
        wrong.interpret(np.ones((4, 64), np.float32), 9, np.ones(1, np.int32))
    assert "note: called from here" in str(caught.value)


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
