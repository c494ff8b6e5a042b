"""Missing barriers and waits are errors at compile time, with both lines. Who is right is judged by the simulator, which runs the PTX."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import tilec as tc
from examples import FOLDER, example
from tilec import TileError, compiler, f32, i32
from tilec.backend.target import target
from tilec.compiler import Kernel, load_kernel
from tilec.passes import scalars
from tilec.passes.hazards import check_hazards, hazards
from tilec.passes.simplify import simplify

N = tc.dims("N")
EXPLICIT = ["matmul_v1", "matmul_v2", "matmul_v3", "histogram", "transpose"]
BARRIER = re.compile(r"^ *tc\.(sync|wait|commit)\(")


def checked(kernel: Kernel, **constants) -> list:
    return hazards(simplify(kernel.function(**constants), target("sm_80")))


def lines(name: str) -> list[int]:
    return [n for n, line in enumerate((FOLDER / f"{name}.py").read_text().splitlines()) if BARRIER.match(line)]


@pytest.mark.parametrize("name", EXPLICIT)
def test_nothing_is_said_of_the_examples(name: str) -> None:
    assert checked(example(name)) == []


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "PIPELINE", tuple(stage for stage in compiler.PIPELINE if stage[1] is not check_hazards))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "line"), [(name, line) for name in EXPLICIT for line in lines(name)])
def test_examples_without_a_barrier_or_wait(name: str, line: int, tmp_path: Path) -> None:
    """What matters is found: a race or a read too early in the simulator, or another result."""
    source = (FOLDER / f"{name}.py").read_text().splitlines()
    indent = source[line][: len(source[line]) - len(source[line].lstrip())]
    source[line] = f"{indent}pass"
    file = tmp_path / f"{name}.py"
    file.write_text("\n".join(source))
    mutant = load_kernel(f"{file}:{name}")
    args, expected = mutant.example_args(np.random.default_rng())
    report = mutant.simulate(*args)
    names = [p.name for p in mutant.signature.parameters]
    wrong = any(np.linalg.norm(args[names.index(n)] - e) > 0.01 * np.linalg.norm(e) for n, e in expected.items())
    said = [h for h in checked(mutant) if h.certain]
    if report.findings or wrong:
        assert said
    assert all("tc." in h.remedy for h in said)


@tc.kernel(warps=2)
def ring(x: f32[N], y: f32[N], *, stages: int = 3, ahead: int = 2, barrier: bool = True):
    tc.grid(1)
    tc.assume(N % 64 == 0)
    s = tc.shared(f32, [stages, 64])
    for i in tc.static_range(ahead):
        tc.copy_async(s[i], x, 64 * i)
        tc.commit()
    for k in range(0, N, 64):
        slot = k // 64 % stages
        tc.wait(ahead - 1)
        if barrier:
            tc.sync()
        if k + 64 * ahead < N:
            tc.copy_async(s[(k // 64 + ahead) % stages], x, k + 64 * ahead)
        tc.commit()
        tc.store(y, k, tc.load(s[slot]))


def test_modular_stages() -> None:
    """3 slots, 2 copies ahead: the one that is filled was read a round ago. With as many copies ahead as slots it is read now."""
    assert checked(ring) == []
    source = Path(__file__).read_text().splitlines()
    copy = next(n for n, line in enumerate(source, 1) if "(k // 64 + ahead)" in line)
    load = next(n for n, line in enumerate(source, 1) if "tc.store(y, k" in line)
    unbarred = checked(ring, barrier=False)
    assert (load, copy) in {(h.first.loc.line, h.second.loc.line) for h in unbarred}
    assert all(h.certain for h in unbarred)
    close = checked(ring, ahead=3)
    assert {(h.first.loc.line, h.second.loc.line) for h in close} >= {(copy, load)}
    assert {h.remedy for h in close if h.first.loc.line == copy and h.second.loc.line == load} == {"tc.wait(0) and tc.sync()"}


def test_the_error_names_both_lines_and_the_remedy() -> None:
    with pytest.raises(TileError) as error:
        ring.compile("sm_80", barrier=False)
    text = str(error.value)
    source = Path(__file__).read_text().splitlines()
    load = next(n for n, line in enumerate(source, 1) if "tc.store(y, k" in line)
    assert f"test_hazards.py:{load}:" in text
    assert f"put tc.sync() before line {load}" in text
    assert text.count("test_hazards.py:") == 2
    assert "s is read here, but other threads may still be copying to it" in text
    assert "it is copied to here" in text


@tc.kernel(warps=1)
def decided(x: i32[N], y: i32[N]):
    tc.grid(1)
    s = tc.shared(i32, [4, 32])
    tc.store(s, tc.load(x, 0, [128]).reshape([4, 32]))
    tc.sync()
    slot = tc.load(x, [0])
    tc.store(s[slot], tc.load(x, 0, [32]))
    tc.store(y, 0, tc.load(s[0]))


def test_what_memory_decides_is_unproven() -> None:
    """Whether slot is 0 is for the tensor to say: no error, but a notice."""
    (found,) = checked(decided)
    assert not found.certain
    with pytest.warns(UserWarning, match=r"unproven: s, line \d+ and line \d+: tc.sync\(\) may be missing"):
        decided.compile("sm_80")


@tc.kernel(warps=4)
def handed(x: f32[64], y: f32[64], *, whole: bool = True):
    tc.grid(1)
    s = tc.shared(f32, [64])
    with tc.warps(0, 2):
        tc.store(s, tc.load(x, 0, [64]))
        tc.sync()
    if whole:
        tc.sync()
    with tc.warps(2, 2):
        tc.store(y, 0, tc.load(s))


def test_a_barrier_of_a_group_is_for_that_group_alone() -> None:
    assert checked(handed) == []
    (found,) = checked(handed, whole=False)
    assert found.remedy == "tc.sync()"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", range(12))
def test_random_kernels_are_judged_as_by_the_simulator(seed: int, tmp_path: Path) -> None:
    """Stores hold 2 neighbours a thread, loads every 32nd element: what a store and a load have in common, different threads touch."""
    rng = np.random.default_rng(seed)
    body = []
    for n in range(rng.integers(3, 9)):
        slot = rng.choice(["0", "1", "k % 2", "(k + 1) % 2"])
        choice = rng.integers(3)
        if choice == 0:
            body.append(f"tc.store(s[{slot}], v + f32(k + {n}))")
        elif choice == 1:
            body.append(f"tc.store(y, {64 * n}, tc.load(s[{slot}], layout=tc.local(2).spatial(32)))")
        else:
            body.append("tc.sync()")
    file = tmp_path / "random_kernel.py"
    text = "\n        ".join(body)
    file.write_text(
        "import tilec as tc\nfrom tilec import f32\n\n\n@tc.kernel(warps=1)\ndef random_kernel(x: f32[64], y: f32[576]):\n    tc.grid(1)\n"
        "    s = tc.shared(f32, [2, 64])\n    v = tc.load(x, 0, [64], layout=tc.spatial(32).local(2))\n    tc.store(s[0], v)\n    tc.store(s[1], v)\n"
        f"    tc.sync()\n    for k in range(3):\n        {text}\n"
    )
    kernel = load_kernel(f"{file}:random_kernel")
    report = kernel.simulate(rng.standard_normal(64).astype(np.float32), np.full(576, np.nan, np.float32))
    found = {(h.first.mnemonic, h.second.mnemonic) for h in checked(kernel) if h.certain}
    assert bool(report.races) == any(a != b for a, b in found), (text, found)


WAYS = {  # what a kernel does behind a store to shared memory and before a load from it, and whether something is missing for some size or block
    "if tc.block_index(0) != 1: tc.sync()": True,
    "if tc.block_index(0) != 7: tc.sync()": True,
    "if M == N: tc.sync()": True,
    "if M <= N: tc.sync()": True,
    "if M + 3 * N != 1001: tc.sync()": True,
    "if n != 5: tc.sync()": True,
    "if n >= 0: tc.sync()": True,
    "if n % 2 == 0: tc.sync()": True,
    "if not flag: tc.sync()": True,
    "if (n != 5) or (M != 77): tc.sync()": True,
    "if n <= 100: tc.sync()\n    if n > 200: tc.sync()": True,
    "if n <= 100: tc.sync()\n    if n > 50: tc.sync()": False,
    "if n > 3:\n        tc.sync()\n    else:\n        tc.sync()": False,
    "if n > 100:\n        if M != 77:\n            tc.sync()\n    else:\n        tc.sync()": True,
    "a = 0\n    for k in range(100000):\n        a = (a * 3 + k) % 7": True,
    "a = 0\n    for k in range(100000):\n        a = (a * 3 + k) % 7\n    tc.sync()": False,
}


@pytest.mark.parametrize(("between", "wrong"), WAYS.items())
def test_each_side_of_a_branch_is_taken(between: str, wrong: bool, tmp_path: Path) -> None:
    found = checked(written(between, tmp_path))
    assert {h.certain for h in found} == ({True} if wrong else set())


def written(between: str, folder: Path, grid: str | int = "cdiv(M, 64)", shape: str = "[64]") -> Kernel:
    """A kernel that stores a tile, does something, and loads it."""
    file = folder / "way.py"
    ring = "[0]" if "," in shape else ""
    file.write_text(
        'import tilec as tc\nfrom tilec import f32, i32, cdiv\n\nM, N = tc.dims("M N")\n\n\n@tc.kernel(warps=2)\n'
        f"def way(x: f32[M, N], y: f32[M], n: i32, flag: tc.bool_, which: i32[2]):\n    tc.grid({grid})\n    s = tc.shared(f32, {shape})\n"
        f"    v = tc.load(x, [0, 0], [64])\n    tc.store(s{ring}, v)\n    {between}\n    tc.store(y, 0, tc.load(s{ring})[::-1])\n"
    )
    return load_kernel(f"{file}:way")


@pytest.mark.parametrize("seed", range(40))
def test_random_branches_are_judged_as_by_trying_all_sizes(seed: int, tmp_path: Path) -> None:
    """Two barriers under conditions on sums of a scalar, a size and a block. With one of these in both the verdict is exact; with more it is
    "unproven" at worst. Sizes that are tried go far beyond every place where a condition turns."""
    rng = np.random.default_rng(seed)
    names = [str(rng.choice(["n", "M", "b"]))] * 2 if seed % 2 else list(map(str, rng.choice(["n", "M", "b", "n + M", "n - M", "n + b", "M - b"], 2)))
    conditions = [f"{name} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {rng.integers(1, 9)}" for name in names]
    between = "b = tc.block_index(0)\n" + "\n".join(f"    if {c}:\n        tc.sync()" for c in conditions)
    found = checked(written(between, tmp_path, grid=40))
    n, m, b = np.meshgrid(np.arange(-60, 60), np.arange(60), np.arange(40))
    wrong = bool((~np.logical_or(*(eval(c, {"n": n, "M": m, "b": b}) for c in conditions))).any())
    assert wrong <= bool(found)
    assert {h.certain for h in found} <= ({True, False} if wrong else {False})
    if seed % 2:
        assert {h.certain for h in found} == ({True} if wrong else set())


@tc.kernel(warps=2)
def turning(x: f32[N], y: f32[N], *, first: int = 8, then: int = 20):
    tc.grid(1)
    s = tc.shared(f32, [3, 64])
    total = tc.zeros(f32, [64])
    for k in range(0, N, 64):
        r = k // 64
        if r < first:
            tc.sync()
        tc.store(s[r % 3], tc.load(x, k, [64]))
        tc.sync()
        total += tc.load(s[r % 3])[::-1]
        if r >= then:
            tc.store(s[r % 3], total)
    tc.store(y, 0, total)


def test_a_loop_is_followed_until_its_branches_have_turned() -> None:
    """What is stored from round 20 on meets the load of the same round; before it nothing does, as three slots go round."""
    (found,) = checked(turning)
    assert found.certain
    assert (found.first.mnemonic, found.second.mnemonic) == ("load_shared", "store_shared")
    assert not any(h.certain for h in checked(turning, then=1 << 30))


def test_a_branch_on_memory_beside_another(tmp_path: Path) -> None:
    """Only if the one is taken and the other is not something is missing; nobody knows whether that can be."""
    found = checked(written("if tc.load(which, 0) > 0:\n        tc.sync()\n    if tc.load(which, 1) > 0:\n        tc.sync()", tmp_path))
    assert [h.certain for h in found] == [False]
    found = checked(written("tc.sync()\n    if tc.load(which, 0) > 0:\n        tc.store(s, v)\n    if tc.load(which, 1) > 0:\n        tc.sync()", tmp_path))
    assert [h.certain for h in found] == [False]


def test_a_branch_that_no_size_takes(tmp_path: Path) -> None:
    """A product of sizes is not affine. Taken by force, the branch lacks a barrier: that is no proof."""
    (found,) = checked(written("if M * N != 77 * 91:\n        tc.sync()", tmp_path))
    assert not found.certain
    assert checked(written("if M * N != 77 * 91:\n        tc.sync()\n    else:\n        tc.sync()", tmp_path)) == []


@tc.kernel(warps=2)
def lasting(x: f32[64], y: f32[64], *, rounds: int = 100_000, turn: int = -1, behind: bool = True):
    tc.grid(1)
    s, slot = tc.shared(f32, [3, 64]), 0
    total = tc.zeros(f32, [64])
    for r in range(rounds):
        tc.store(s[slot], tc.load(x, 0, [64]))
        if r != turn:
            tc.sync()
        total += tc.load(s[r % 3])[::-1]
        slot = (slot + 1) % 3
    if behind:
        tc.sync()
    tc.store(s[0], total)


def test_rounds_of_a_long_loop_repeat() -> None:
    """A missing barrier is found in whichever of the 100,000 rounds it is missing, and behind the loop; no step is too many."""
    for turn in (0, 63, 64, 70, 50_000, 99_935, 99_936, 99_999):
        assert {h.certain for h in checked(lasting, turn=turn)} >= {True}, turn
    (last,) = [h for h in checked(lasting, behind=False) if h.certain]
    assert last.second.loc.line == lasting.signature.source.head.line + 12
    assert not any(h.certain for h in checked(lasting))


@pytest.mark.parametrize("seed", range(20))
def test_skipped_rounds_are_like_those_that_are_run(seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Random loops of 400 rounds, with scalars carried and computed: what is found is what is found without skipping any."""
    rng = np.random.default_rng(seed)
    a, b, c, d = (int(n) for n in rng.integers(1, 6, 4))
    slots = [f"(r * {a} + {b}) // {c} % 3", f"(at + r // {d}) % 3", "at", f"({a} - r) % 3"]
    first, second = (str(rng.choice(slots)) for _ in range(2))
    sign, where = rng.choice(["<", ">=", "==", "!="]), int(rng.integers(0, 400))
    source = f"""for r in range(400):
        tc.store(s[{first}, :], v)
        if r // {c} {sign} {where}:
            tc.sync()
        tc.store(y, 0, tc.load(s[{second}])[::-1])
        tc.sync()
        at = (at + {d}) % 3 if r % 2 < {a} else 0"""
    source = source.replace(", :]", "]")
    kernel = written(f"tc.sync()\n    at = 0\n    {source}\n    tc.sync()", tmp_path, shape="[3, 64]")
    skipping = {(h.first.loc.line, h.second.loc.line, h.certain) for h in checked(kernel)}
    monkeypatch.setattr(scalars, "WINDOW", 1 << 30)
    assert skipping == {(h.first.loc.line, h.second.loc.line, h.certain) for h in checked(kernel)}


def test_a_loop_that_is_too_long_is_unproven() -> None:
    """A generator of full period (Knuth, volume 2, 3.2.1.2): its order is not that of the rounds."""

    @tc.kernel(warps=2)
    def long(x: f32[64], y: f32[64]):
        tc.grid(1)
        s, state = tc.shared(f32, [65536, 1]), 1
        for _ in range(60000):
            tc.store(s[state], tc.load(x, 0, [1]))
            state = (state * 5 + 3) % 65536
        tc.sync()
        tc.store(y, 0, tc.load(s[0], 0, [1]))

    with pytest.warns(UserWarning, match=r"unproven: line \d+: this is run too often to be followed to its end"):
        check_hazards(simplify(long.function(), target("sm_80")), target("sm_80"))


@tc.kernel(warps=2)
def racing(x: f32[64, 64], y: f32[64, 64], *, what: str = "store"):
    tc.grid(2 if what == "blocks" else 1)
    s = tc.shared(f32, [64, 64])
    if what == "store":
        tc.store(s, tc.load(x, [0, 0], [64, 64]))
        tc.store(y, [0, 0], tc.load(s).T)
    elif what == "copy":
        tc.copy_async(s, x, [0, 0])
        tc.commit()
        tc.sync()
        tc.store(y, [0, 0], tc.load(s).T)
    elif tc.block_index(0) == 0:
        tc.store(y, [0, 0], 1.0)
    else:
        tc.store(x, [0, 0], tc.load(y, [0, 0], []))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("what", "kind", "lines", "hint"),
    [
        ("store", "race", (5, 4), "put tc.sync() before line {}"),
        ("copy", "async", (10, 7), "put tc.commit(), tc.wait(0) and tc.sync() before line {}, where they are missing"),
        ("blocks", "race", (12, 14), "put tc.semaphore_post behind line {1} and tc.semaphore_wait before line {0}"),
    ],
)
def test_the_simulator_speaks_of_the_kernel(what: str, kind: str, lines: tuple[int, int], hint: str) -> None:
    first = racing.signature.source.head.line
    report = racing.simulate(np.random.default_rng().random((64, 64), np.float32), np.zeros((64, 64), np.float32), what=what)
    at, other = (first + n for n in lines)
    finding = next(f for f in report.findings if (f.kind, f.at.line, f.other and f.other.line) == (kind, at, other))
    assert hint.format(at, other) in finding.hint
    assert "PTX" not in finding.hint + finding.message
