"""`kernel.trace`, and stepping through a kernel with pdb, driven through a pipe."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tilec as tc
from tilec import bf16, cdiv, f16, f32, i32

M, N, K = tc.dims("M N K")


@tc.function
def doubled(v):
    twice = v + v  # in the helper
    return twice


@tc.kernel(warps=1)
def matmul(a: f16[M, K], b: f16[K, N], c: f16[M, N]):
    tc.grid(cdiv(M, 16), cdiv(N, 8))
    i, j = tc.block_index(0) * 16, tc.block_index(1) * 8
    acc = tc.zeros(f32, [16, 8])
    for k in tc.range(0, K, 16):
        acc = tc.dot(tc.load(a, [i, k], [16, 16]), tc.load(b, [k, j], [16, 8]), acc)  # the product
    if i > 0:
        acc = doubled(acc)  # the call
        other = acc * 0.5
        acc = other
    tc.store(c, [i, j], f16(acc))


def arguments():
    rng = np.random.default_rng()
    a, b = rng.integers(-4, 5, (32, 48)).astype(np.float16), rng.integers(-4, 5, (48, 16)).astype(np.float16)
    return a, b, np.full((32, 16), np.nan, np.float16)


def line(words):
    return next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if text.endswith(f"# {words}"))


def test_each_value_of_one_block():
    a, b, c = arguments()
    trace = matmul.trace(a, b, c, block=(1, 1))
    exact = a.astype(np.float32) @ b
    np.testing.assert_array_equal(c, exact)  # all blocks ran
    assert [k.item() for k in trace["k"]] == [0, 16, 32]
    parts = [a[16:, :n].astype(np.float32) @ b[:n, 8:] for n in (0, 16, 32, 48)]
    assert all(x.dtype == np.float32 for x in trace["acc"])
    np.testing.assert_array_equal(trace["acc"], parts)
    np.testing.assert_array_equal(trace["twice"], [2 * exact[16:, 8:]])
    np.testing.assert_array_equal(trace["other"], [exact[16:, 8:]])
    (i,), (j,) = trace["i"], trace["j"]
    assert (i, j, i.dtype) == (16, 8, np.int32)
    steps = trace.at(line("the product"))
    assert [(s.name, s.type.shape, s.type.dtype) for s in steps] == [("", (16, 16), f16), ("", (16, 8), f16), ("acc", (16, 8), f32)] * 3
    np.testing.assert_array_equal(steps[3].value, a[16:, 16:32])
    for loc, _, value, kind in trace:
        assert (loc.file, value.shape) == (__file__, kind.shape)
    (inside,) = trace.at(line("in the helper"))
    assert inside.loc.caller.line == line("the call")


def test_a_branch_that_the_block_does_not_take():
    trace = matmul.trace(*arguments(), block=(0, 1))
    assert len(trace["acc"]) == 4
    with pytest.raises(tc.TileError, match=r"block \(0, 1\) computed no twice") as caught:
        trace["twice"]
    assert "there are acc, i, j, k" in caught.value.hint
    with pytest.raises(tc.TileError, match="did you mean acc"):
        trace["ac"]


def test_layouts_of_later_stages():
    a, b, c = arguments()
    parsed, selected = (matmul.trace(a, b, c, block=(1, 0), stage=stage) for stage in ("parsed", "selected"))
    np.testing.assert_array_equal(selected["acc"][-1], parsed["acc"][-1])
    assert all(s.layout is None and s.registers is None for s in parsed)
    step = [s for s in selected if s.name == "acc"][-1]
    # mma.m16n8k16, PTX manual: thread t holds rows t // 4 and t // 4 + 8, columns 2 * (t % 4) and the next
    t = np.arange(32)
    places = [(t // 4 + 8 * half, 2 * (t % 4) + one) for half in (0, 1) for one in (0, 1)]
    want = {tuple(step.value[rows, columns]) for rows, columns in places}
    assert {tuple(r) for r in step.registers.T} == want


def test_as_text():
    a, b, c = arguments()
    text = str(matmul.trace(a, b, c, block=1)).splitlines()
    assert text[0] == "matmul, block (1, 0): 21 values"
    shown = Path(__file__).read_text().splitlines()[line("the product") - 1]
    at = text.index(f"{line('the product'):5d}  {shown}")
    assert text[at + 1].startswith("        acc: f32[16, 8] = [[")
    assert text.count(text[at]) == 3
    assert "        k: i32 = 16" in text


def test_no_such_block():
    for block in ((2, 0), (0, -1), (0, 0, 1), "x"):
        with pytest.raises(tc.TileError, match=r"there is no block .* in a grid of \[2, 2\]"):
            matmul.trace(*arguments(), block=block)


@tc.kernel(warps=1)
def turns(order: i32[2], x: bf16[N]):
    tc.grid(2)
    here = tc.block_index(0)
    tc.semaphore_wait(order, [0], 1 - here)
    v = tc.load(x, [0], [8])
    w = bf16(f32(v) * 3.0)
    tc.store(x, [0], w)
    tc.semaphore_post(order, [0])


def test_blocks_that_wait_and_types_that_numpy_lacks():
    x = tc.Tensor.from_values(np.arange(8), bf16)
    trace = turns.trace(np.zeros(2, np.int32), x, block=0)
    np.testing.assert_array_equal(trace["v"], [np.arange(8) * 3])  # block 1 came first
    np.testing.assert_array_equal(trace["w"], [np.arange(8) * 9])


# stepping

SCRIPT = """\
import numpy as np
import tilec as tc
from tilec import f32
N = tc.dims("N")

@tc.function
def square(v):
    w = v * v
    return w

@tc.kernel(warps=1)
def stepped(x: f32[N], y: f32[N]):
    tc.grid(2)
    t = tc.load(x, [0], [64])
    breakpoint()
    s = t + 1.0
    u = square(s)
    tc.store(y, [0], u)

def main(stage):
    stepped.interpret(np.arange(64, dtype=np.float32), np.zeros(64, np.float32), stage=stage)

import sys
main(sys.argv[1])
"""


def session(tmp_path, stage, *commands, **environment):
    script = tmp_path / "stepped.py"
    script.write_text(SCRIPT)
    known = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "NO_COLOR": "1", "PYTHON_COLORS": "0", **environment}
    done = subprocess.run(
        [sys.executable, str(script), stage], input="\n".join(commands) + "\n", capture_output=True, text=True, env=known, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stepping_shows_the_authors_frames_only(tmp_path):
    said = session(tmp_path, "parsed", "where", *["step"] * 6, "where", "continue")
    places = [word.strip("> ") for word in said.splitlines() if ".py(" in word]
    assert all("stepped.py(" in p for p in places), said
    assert "interp.py" not in said
    visited = [int(n) for n in re.findall(r"stepped\.py\((\d+)\)", said)]
    assert 8 in visited  # the helper's line
    assert "square()" in said
    first = said.split("(kernel) ")[1].splitlines()  # where
    assert [x.split("stepped.py")[1] for x in first if ".py(" in x] == ["(24)<module>()", "(21)main()", "(16)stepped()"]


def test_variables_are_arrays_with_types_and_layouts(tmp_path):
    said = session(tmp_path, "parsed", "next", "p t.shape, s[0, 1]", "p tc.type_of(s).dtype, tc.layout_of(s)", "continue")
    assert "((1, 64), " in said
    assert "2.0)" in said
    assert "(f32, None)" in said
    said = session(tmp_path, "selected", "p t.shape, tc.type_of(t).shape", "p tc.layout_of(t)", "p tc.layout_of(np)", "continue")
    assert "((1, 32, 2), (64,))" in said
    assert "spatial(32).local(2)" in said
    assert "LookupError: no kernel stands at a variable that holds this" in said


def test_other_debuggers_are_honoured(tmp_path):
    assert "(kernel)" not in session(tmp_path, "parsed", PYTHONBREAKPOINT="0")


def test_outside_of_kernels():
    with pytest.raises(LookupError, match="no kernel stands"):
        tc.type_of(np.zeros(3))
