"""break, continue and early return, against Python running the same statements."""

import linecache
import warnings

import jump_programs
import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import f32, i32
from tilec.backend.target import target
from tilec.ir.notes import noting
from tilec.ir.ops.control import For, While
from tilec.passes.pipeline import pipeline

N, M = tc.dims("N M")
RNG = np.random.default_rng()


@tc.function
def clamped(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x


@tc.function
def pieces(x, what: str):
    if what == "twice":
        return x + x, x
    y = x * 3
    if x > 4:
        y = y + 1
        if x > 6:
            return y, x
        y = y + 10
    return y, y


@tc.function
def first_power(n, limit):
    p = n
    for _i in range(20):
        if p > limit:
            break
        p = p * n
    return p


@tc.kernel(warps=1)
def searched(x: i32[N], y: i32[M, 8]):
    tc.grid(M)
    b = tc.block_index(0)
    if b == 7:
        return
    found, total, steps, k = -1, 0, 0, 0
    for i in range(N):
        steps += 1
        v = tc.load(x, [i])
        if v == b:
            found = i
            break
        if v % 2 == 0:
            if v > 10:
                continue
            total += 1
        total += v
    tc.store(y, [b, 0], found)
    tc.store(y, [b, 1], total)
    tc.store(y, [b, 2], steps)
    while True:
        k += 3
        if k % 2 == 0:
            continue
        if k > b * 4:
            break
    tc.store(y, [b, 3], k)
    tc.store(y, [b, 4], clamped(k, 4, 9))
    p, q = pieces(b, "other")
    tc.store(y, [b, 5], p + 100 * q + pieces(b, "twice")[0])
    inner = 0
    for i in tc.static_range(5):
        if i == 4:
            break
        if i == b:
            continue
        for j in range(i, 10, 2):
            if j > b:
                break
            inner += 1
            if inner > 9:
                return
        inner += 100 * i
    tc.store(y, [b, 6], inner)
    t = 0
    for i in tc.static_range(6):
        if i > b:
            break
        t += i
    tc.store(y, [b, 7], t + first_power(2 + b % 2, 30))


def reference(x, y):
    def clamp(v):
        return 4 if v < 4 else 9 if v > 9 else v

    def parts(v):
        w = v * 3
        if v > 4:
            w += 1
            if v > 6:
                return w, v
            w += 10
        return w, w

    for b in range(len(y)):
        if b == 7:
            continue
        found, total, steps, k = -1, 0, 0, 0
        for i in range(len(x)):
            steps += 1
            v = int(x[i])
            if v == b:
                found = i
                break
            if v % 2 == 0:
                if v > 10:
                    continue
                total += 1
            total += v
        while True:
            k += 3
            if k % 2 == 0:
                continue
            if k > b * 4:
                break
        p, q = parts(b)
        y[b, :6] = found, total, steps, k, clamp(k), p + 100 * q + 2 * b
        inner = 0
        left = False
        for i in range(5):
            if i == 4:
                break
            if i == b:
                continue
            for j in range(i, 10, 2):
                if j > b:
                    break
                inner += 1
                if inner > 9:
                    left = True
                    break
            if left:
                break
            inner += 100 * i
        if left:
            continue
        power = 2 + b % 2
        while power <= 30:
            power *= 2 + b % 2
        y[b, 6:] = inner, sum(i for i in range(6) if i <= b) + power


@pytest.mark.parametrize("n", [0, 1, 40])
def test_jumps(n):
    x = RNG.integers(0, 20, n).astype(np.int32)
    want = np.full((12, 8), 77, np.int32)
    got = want.copy()
    reference(x, want)
    everywhere(searched, (x, got), {"y": want})


@tc.kernel(warps=2)
def tiles(x: f32[N, 64], y: f32[64], limit: f32):
    tc.grid(1)
    acc = tc.zeros(f32, [64])
    for i in range(0, N):
        v = tc.load(x, [i, 0], [64])
        if tc.max(v) > limit:
            continue
        acc = acc + v
        if tc.sum(acc) > 40.0:
            break
    tc.store(y, [0], acc)


def test_tiles_in_loops_that_are_left():
    x = RNG.integers(0, 4, (20, 64)).astype(np.float32) / 4
    x[5, 3] = 9
    acc = np.zeros(64, np.float32)
    for row in x:
        if row.max() > 2:
            continue
        acc += row
        if acc.sum() > 40:
            break
    everywhere(tiles, (x, np.full(64, np.nan, np.float32), 2.0), {"y": acc})


def test_a_loop_that_is_left_does_not_go_on():
    @tc.kernel(warps=1)
    def k(y: i32[1]):
        tc.grid(1)
        for i in range(2**31 - 1):
            if i == 5:
                tc.store(y, 0, i)
                break

    y = np.zeros(1, np.int32)
    k.interpret(y)
    assert y[0] == 5


@tc.kernel(warps=1)
def rounds(x: f32[N], y: f32[64], *, never: bool = False, how: str = "", buffers: int | None = None):
    tc.grid(1)
    acc, odd = tc.zeros(f32, [64]), never or how == "odd"
    for k in tc.range(0, N, 64, stages=3, buffers=buffers):
        if never:
            break
        if never and k > 64:
            return
        if how == "break" and k == 64:
            break
        if how == "continue" and k == 64:
            continue
        if how == "branch":
            if k != 64:
                acc = acc + tc.load(x, [k], [64])
        elif how == "loop":
            for u in range(2):
                acc = acc + tc.load(x, [k + u], [64])
        elif how == "none":
            acc = acc + 1.0
        else:
            acc = acc + tc.load(x, [k], [64])
        if odd:
            if k > 64:
                break
            acc = acc * 2.0
    tc.store(y, [0], acc)


def test_jumps_that_are_never_made_leave_a_loop_its_pipeline():
    x = RNG.integers(-9, 9, 192).astype(np.float32)
    everywhere(rounds, (x, np.full(64, np.nan, np.float32)), {"y": x.reshape(3, 64).sum(axis=0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = rounds.of_warps(1).stages()["pipelined"]
    assert "copy_async" in [op.mnemonic for op in made.walk()]
    assert "while" not in [op.mnemonic for op in made.walk()]


def test_jumps_that_are_always_made_are_made():
    everywhere(rounds, (np.ones(192, np.float32), np.full(64, np.nan, np.float32)), {"y": np.zeros(64)}, never=True)


@pytest.mark.parametrize(("how", "total"), [("break", 1), ("continue", 1 + 4), ("branch", 1 + 4), ("odd", (1 * 2 + 2) * 2 + 4)])
def test_jumps_that_are_made_beside_some_that_never_are(how, total):
    """Of the rounds' 1, 2 and 4; "odd" doubles the sum in the first two rounds, and leaves in the third."""
    y = np.full(64, np.nan, np.float32)
    rounds.interpret(np.repeat(np.float32([1, 2, 4]), 64), y, how=how)
    np.testing.assert_array_equal(y, total)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("break", "break or return may leave the loop"),
        ("odd", "break or return may leave the loop"),
        ("continue", "the loop's loads stand in branches or loops within it"),
        ("branch", "the loop's loads stand in branches or loops within it"),
        ("loop", "the loop's loads stand in branches or loops within it"),
        ("none", "the loop loads no tiles"),
    ],
)
def test_stages_that_are_not_done_are_told(how, why):
    for buffers, asked in ((None, "stages=3 is"), (2, "stages=3 and buffers=2 are")):
        function = rounds.function(how=how, buffers=buffers)
        with noting() as notes, pytest.warns(UserWarning, match=f"{asked} not done: {why}") as told:
            made = pipeline(function, target("sm_80")).verify()
        assert len(told) == 1
        assert any(f"{asked} not done: {why}" in note.text for note in notes)
        assert "copy_async" not in [op.mnemonic for op in made.walk()]
        assert {(op.stages, op.buffers) for op in made.walk() if isinstance(op, For | While)} == {(1, None)}


@tc.kernel(warps=4)
def nested(x: i32[N], y: i32[4], *, on: bool = True):
    tc.grid(1)
    if on:
        for i in range(N):
            if tc.load(x, [i]) > 5:
                break
            tc.store(y, 0, i)
    if N > 3:
        for i in range(N):
            if i % 2 == 1:
                continue
            tc.store(y, 1, i)
    with tc.warps(0, 2):
        for i in range(N):
            if tc.load(x, [i]) > 7:
                break
            tc.store(y, 2, i)


def test_loops_that_are_left_inside_of_branches_and_groups():
    x = np.int32([1, 2, 6, 3, 9, 2])
    everywhere(nested, (x, np.full(4, 77, np.int32)), {"y": [1, 4, 3, 77]})


PYTHON = "i32 = ints = int; unrolled = range; begin = abs\nfunction = kernel = lambda f: f\ndef put(y, i, x): y[i] = x\n"
TILEC = "import tilec as tc\nfrom tilec import i32\nints, unrolled, begin, put = i32[3], tc.static_range, tc.grid, tc.store\n"
TILEC += "function, kernel = tc.function, tc.kernel(warps=1)\n"


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_do_what_python_does(seed, tmp_path):
    text = jump_programs.source(seed)
    file = tmp_path / "program.py"
    file.write_text(TILEC + text)
    linecache.checkcache(str(file))
    python, ours = {}, {}
    exec(PYTHON + text, python)
    exec(compile(file.read_text(), str(file), "exec"), ours)
    for stage in ("parsed", "placed"):
        for _ in range(3):
            args = [int(x) for x in RNG.integers(-5, 9, 3)] + [int(RNG.integers(4))]
            want, got = [77, 77, 77], np.full(3, 77, np.int32)
            python["k"](want, *args)
            ours["k"].interpret(got, *args, stage=stage)
            assert got.tolist() == want, (stage, args)
