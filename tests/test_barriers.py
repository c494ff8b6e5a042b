"""Named barriers among groups of warps: right kernels in every way there is; wrong ones are found by the compiler, the interpreter, the simulator."""

import re
from pathlib import Path

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from examples import FOLDER, example
from tilec import compiler, f16, f32, f64, i32, int4
from tilec.backend.target import target
from tilec.compiler import load_kernel
from tilec.passes.hazards import check_hazards, judged
from tilec.passes.simplify import simplify

N, W = tc.dims("N"), tc.types("W")
RNG = np.random.default_rng()


@tc.kernel(warps=4)
def relay(x: f32[N], y: f32[N], *, n: int = 64):
    """Three groups in a row, each adds 1 to what the one before it hands over, in two slots; the last one multiplies by its own."""
    tc.grid(2)
    first, second = tc.shared(f32, [2, n]), tc.shared(f32, [2, n])
    one, two, freed = tc.barrier(2, 2), tc.barrier(3, 2), tc.barrier(2, 2)
    done = tc.barrier(3)
    rounds = N // n
    with tc.warps(3, 1):
        for r in range(rounds):
            if r > 1:
                tc.sync(freed[r % 2])
            tc.store(first[r % 2], tc.load(x, [r * n], [n]) + 1.0)
            tc.arrive(one[r % 2])
    with tc.warps(0, 1):
        for r in range(rounds):
            tc.sync(one[r % 2])
            v = tc.load(first[r % 2]) + 1.0
            if r + 2 < rounds:
                tc.arrive(freed[r % 2])
            if r > 0:
                tc.sync(done)
            tc.store(second[r % 2], v)
            tc.arrive(two[r % 2])
    with tc.warps(1, 2):
        for r in range(rounds):
            tc.sync(two[r % 2])
            tc.store(y, [r * n], tc.load(second[r % 2]) * 2.0)
            if r + 1 < rounds:
                tc.arrive(done)


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_three_groups_in_a_row(rounds):
    x = RNG.integers(-9, 9, 64 * rounds).astype(np.float32)
    everywhere(relay, (x, np.full(64 * rounds, np.nan, np.float32)), {"y": 2 * (x + 2)})
    assert judged(simplify(relay.function(), target("sm_80"))) == ([], [])


def test_they_are_what_ptx_has():
    """Barrier 0 is the block's; `one` begins at 1. Warps count as 32 threads each."""
    ptx = relay.compile().ptx
    assert {int(n) for n in re.findall(r"bar\.arrive\s+\S+, (\d+);", ptx)} == {64, 96}
    assert re.search(r"bar\.sync\s+7, 96;", ptx)
    assert re.search(r"bar\.arrive\s+7, 96;", ptx)


@tc.kernel(warps=3)
def fetched(x: W[9, 24], rows: i32[8], y: W[8, 24], z: W[8, 24], *, W: tc.DType = f16):
    """A warp fetches rows that a table names; both groups wait for one another, and the tile goes back the same way."""
    tc.grid(2)
    s, t = tc.shared(W, [8, 24]), tc.shared(W, [8, 24])
    full, back = tc.barrier(3), tc.barrier(3)
    with tc.warps(0, 1):
        tc.copy_async(s, x, [tc.load(rows, [0], [8]), 0], mask=tc.arange(24)[None, :] < 20)
        tc.commit()
        tc.wait(0)
        tc.sync(full)
        tc.sync(back)
        one = tc.cast(tc.full(f32, [8, 24], 1.0), W)
        tc.store(z, [0, 0], tc.load(t, mask=tc.arange(8)[:, None] < 7, other=one))
    with tc.warps(1, 2):
        tc.sync(full)
        v = tc.load(s)
        tc.store(t, v)
        tc.store(y, [0, 0], v)
        tc.arrive(back)


@pytest.mark.parametrize("dtype", [f16, int4, f64], ids=str)
def test_two_groups_wait_for_one_another(dtype):
    x, rows = tc.Tensor.from_values(RNG.integers(0, 2, (9, 24)).astype(float), dtype), RNG.integers(-1, 10, 8).astype(np.int32)
    there = ((rows >= 0) & (rows < 9))[:, None] & (np.arange(24) < 20)
    y = np.where(there, x.values()[np.clip(rows, 0, 8)], 0)
    z = np.where(np.arange(8)[:, None] < 7, y, 1)
    outputs = [tc.Tensor.from_values(np.zeros((8, 24)), dtype) for _ in range(2)]
    everywhere(fetched, (x, rows, *outputs), {"y": y, "z": z}, W=dtype)


LINES = (FOLDER / "matmul_warps.py").read_text().splitlines()
MEETING = re.compile(r"tc\.(sync|arrive)\((full|empty)")


def mutants():
    """The producer and its consumers without an arrival or wait, with another barrier in its place, another slot, another count."""
    for n, line in enumerate(LINES):
        if found := MEETING.search(line):
            other = {"full": "empty", "empty": "full"}[found[2]]
            yield f"without {found[0]}", n, line.replace(found[0], f"# {found[0]}", 1) if line.strip() != line.split("#")[0].strip() else line
            yield f"{found[0]} is {other}", n, line.replace(found[2], other)
            yield f"{found[0]} at the next slot", n, re.sub(r"\[(.*) % stages\]|\[slot\]", lambda m: f"[({m[1] or 'r'} + 1) % stages]", line)
        if "tc.wait(" in line:
            yield "waits for less", n, line.replace("tc.wait(ahead)", "tc.wait(ahead + 1)")
            yield "waits for nothing", n, line.replace("tc.wait(ahead)", "pass")
        if "tc.barrier(5" in line:
            yield "full counts fewer", n, line.replace("tc.barrier(5", "tc.barrier(4", 1)
            yield "full counts more", n, line.replace("tc.barrier(5", "tc.barrier(6", 1)
            yield "empty counts fewer", n, re.sub(r"(.*)tc\.barrier\(5", r"\1tc.barrier(4", line)


def dropped(line):
    """The line with a pass in place of its statement."""
    return line[: len(line) - len(line.lstrip())] + "pass"


MUTANTS = [(what, n, dropped(line) if what.startswith("without") else line) for what, n, line in mutants()]


def test_there_are_mutants():
    assert len(MUTANTS) == 4 * 3 + 2 + 3


def mutant(n, line, tmp_path):
    file = tmp_path / "matmul_warps.py"
    file.write_text("\n".join([*LINES[:n], line, *LINES[n + 1 :]]))
    return load_kernel(f"{file}:matmul_warps")


@pytest.mark.parametrize(("n", "line"), [m[1:] for m in MUTANTS], ids=[m[0] for m in MUTANTS])
def test_mutants_do_not_compile(n, line, tmp_path):
    with pytest.raises(tc.TileError) as error:
        mutant(n, line, tmp_path).compile()
    assert error.value.loc.file.endswith("matmul_warps.py")
    assert error.value.hint


@pytest.mark.parametrize(("n", "line"), [m[1:] for m in MUTANTS], ids=[m[0] for m in MUTANTS])
def test_mutants_are_found_when_they_run(n, line, tmp_path, monkeypatch):
    """By the simulator, with the compiler's check switched off."""
    monkeypatch.setattr(compiler, "PIPELINE", tuple(stage for stage in compiler.PIPELINE if stage[1] is not check_hazards))
    kernel = mutant(n, line, tmp_path)
    args, expected = kernel.example_args(0, m=64, n=64, k=320)
    try:
        report = kernel.simulate(*args)
    except tc.TileError:
        return
    assert report.findings or np.linalg.norm(args[2] - expected["c"]) > 0.01 * np.linalg.norm(expected["c"])


def test_the_example_is_clean():
    assert judged(simplify(example("matmul_warps").function(), target("sm_80"))) == ([], [])


@tc.kernel(warps=3)
def crossed(y: i32[4]):
    tc.grid(2)
    left, right = tc.barrier(2), tc.barrier(2)
    with tc.warps(0, 1):
        tc.sync(left)
        tc.arrive(right)
    with tc.warps(1, 1):
        tc.sync(right)
        tc.arrive(left)
    with tc.warps(2, 1):
        tc.store(y, [0], 1)


def line_of(text, nth=0):
    return [n for n, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.strip() == text][nth]


@pytest.mark.parametrize("run", [lambda: crossed.interpret(np.zeros(4, np.int32)), crossed.compile])
def test_a_deadlock_says_who_waits_where(run):
    with pytest.raises(tc.TileError) as error:
        run()
    text = str(error.value)
    assert "warp 0" in text
    assert "warp 1 here" in text
    assert "at left 1 of 2" in text.replace(":", "")
    assert "at right 1 of 2" in text.replace(":", "")
    assert error.value.loc.line == line_of("tc.sync(left)")
    assert line_of("tc.sync(right)") in [loc.line for _, loc in error.value.notes]


@tc.kernel(warps=2)
def hasty(y: i32[4]):
    tc.grid(1)
    b = tc.barrier(2)
    with tc.warps(0, 1):
        for _ in range(2):
            tc.arrive(b)
    with tc.warps(1, 1):
        for _ in range(2):
            tc.sync(b)


@pytest.mark.parametrize("run", [lambda: hasty.interpret(np.zeros(4, np.int32)), hasty.compile])
def test_coming_twice_in_one_round(run):
    """On hardware it might be complete by the first warp alone."""
    with pytest.raises(tc.TileError, match=r"warp 0 .*come to b again") as error:
        run()
    assert error.value.loc.line == line_of("tc.arrive(b)")


@tc.kernel(warps=2)
def decided(slots: i32[2], y: i32[32]):
    tc.grid(1)
    s, b = tc.shared(i32, [32]), tc.barrier(2, 2)
    with tc.warps(0, 1):
        tc.store(s, tc.arange(32))
        tc.arrive(b[tc.load(slots, [0])])
    with tc.warps(1, 1):
        tc.sync(b[tc.load(slots, [1])])
        tc.store(y, [0], tc.load(s))


def test_what_memory_decides_is_unproven():
    with pytest.warns(UserWarning, match="unproven: line .*which barrier of the row"):
        decided.compile()
    y = np.zeros(32, np.int32)
    decided.interpret(np.array([1, 1], np.int32), y)
    assert (y == np.arange(32)).all()
    with pytest.raises(tc.TileError, match=r"warp 1 wait for ever"):
        decided.interpret(np.array([1, 0], np.int32), y)
    with pytest.raises(tc.TileError, match="index 2 is out of bounds for a row of 2 barriers"):
        decided.interpret(np.array([2, 0], np.int32), y)


GROUP = "    with tc.warps(0, 2):\n        "
WRONG = {
    "outside": ("    b = tc.barrier(4)\n    tc.sync(b)", 7, "all warps come to this barrier"),
    "in a loop": ("    for i in range(3):\n        b = tc.barrier(4)\n        with tc.warps(0, 2):\n            tc.sync(b)", 7, "a barrier is made once"),
    "a group too large": (f"    b = tc.barrier(1)\n{GROUP}tc.sync(b)", 8, "2 warps come to a barrier that counts 1"),
    "too few": (f"    b = tc.barrier(4)\n{GROUP}tc.sync(b)", 6, "the barrier counts 4 warps, but no more than 2 ever come"),
    "a row": (f"    b = tc.barrier(2, 2)\n{GROUP}tc.sync(b)", 8, "one by one"),
    "a single one": (f"    b = tc.barrier(2)\n{GROUP}tc.sync(b[0])", 8, "this is a single barrier"),
    "beyond the row": (f"    b = tc.barrier(2, 2)\n{GROUP}tc.sync(b[2])", 8, "index 2 is out of bounds for a row of 2"),
    "a tile": (f"    b = tc.arange(3)\n{GROUP}tc.sync(b)", 8, "a barrier is wanted here, not i32\\[3\\]"),
    "no warps": ("    b = tc.barrier(0)", 6, "a barrier counts a number of warps"),
    "a count at run time": ("    b = tc.barrier(N)", 6, "known at compile time"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name, tmp_path):
    body, line, message = WRONG[name]
    file = tmp_path / "wrong.py"
    text = f"import tilec as tc\nN = tc.dims('N')\n@tc.kernel\ndef k(x: tc.f32[N]):\n    tc.grid(1)\n{body}"
    file.write_text(text)
    scope = {}
    exec(compile(text, str(file), "exec"), scope)
    with pytest.raises(tc.TileError, match=message) as caught:
        scope["k"].function()
    assert caught.value.loc.line == line


@tc.kernel(warps=2)
def many(x: f32[32], *, n: int = 14):
    tc.grid(1)
    b = tc.barrier(1, n)
    for i in tc.static_range(n):
        with tc.warps(0, 1):
            tc.sync(b[i])
    with tc.warps(0, 1):
        tc.sync()
        tc.store(x, [0], tc.load(x, [0], [32]))


def test_a_block_has_16_barriers():
    many.compile(n=14)
    with pytest.raises(tc.TileError, match="a block has 16 barriers, and this is number 17"):
        many.compile(n=15)
