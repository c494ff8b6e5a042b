"""What `explain` must say of kernels, by reasoning from the kernel; its counts are those of the simulator's report."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import numpy as np
import pytest

import tilec as tc
from examples import NAMES, example
from tilec import cdiv, f16, f32, int8
from tilec.cli import main
from tilec.compiler import Kernel
from tilec.errors import TileError
from tilec.explain import Choice, Line
from tilec.ir.notes import Refused, noting, say
from tilec.ir.ops.shape import ConvertLayout

M, N, K = tc.dims("M N K")


def line_with(found: Any, text: str) -> Any:
    """The one line that has a text."""
    (line,) = [line for line in found.lines.values() if text in line.text]
    return line


@pytest.mark.parametrize("name", [n for n in NAMES if n in ("softmax", "transpose", "matmul_v3", "matmul_plain")])
def test_counts_are_the_reports(name: str) -> None:
    kernel = example(name)
    found = kernel.explain()
    args, _ = kernel.example_args(0)
    report = kernel.simulate(*args)
    lines = [*found.lines.values(), found.elsewhere]
    assert sum(line.issued or 0 for line in lines) == report.instructions
    assert sum(line.sectors or 0 for line in lines) == sum(c.sectors for c in report.costs if c.space == "global") > 0
    assert sum((line.passes or 0) - (line.ideal_passes or 0) for line in lines) == report.shared_conflicts


def test_a_pipelined_product() -> None:
    found = example("matmul_plain").explain("sm_80")
    line = line_with(found, "tc.dot")
    # a warp multiplies 64 x 64 by 32: 4 * 8 * 2 instructions of 16 x 8 x 16
    assert line.instructions["HMMA.16816.F32"] == 64
    assert {k.split(".")[0] for k in line.instructions} >= {"LDGSTS", "LDSM"}
    assert line.vector_bytes
    assert set(line.vector_bytes) == {16}
    assert line.conflict_ways == 1.0
    # all of a for each block column (1), all of b for each block row (2), in f16
    assert line.sectors == (256 * 96 + 2 * 96 * 128) * 2 // 32
    assert line.why == []
    assert 128 < line.registers <= found.registers  # 128 hold the accumulator


@tc.kernel
def add_one(x: f32[M, N], y: f32[M, N]):
    tc.grid(cdiv(M, 16))
    i = tc.block_index(0) * 16
    v = tc.load(x, [i, 0], [16, 64])
    tc.store(y, [i, 0], v + 1.0)


@add_one.example
def _(rng: Any, m: int = 16, n: int = 64) -> Any:
    x = rng.standard_normal((m, n)).astype(np.float32)
    return (x, np.empty_like(x)), {"y": x + 1}


def test_what_an_assumption_would_give() -> None:
    line = line_with(add_one.explain(), "tc.load")
    assert line.vector_bytes == [16]
    assert any("rows of x are N elements apart" in why and "tc.assume(N % 4 == 0)" in why for why in line.why)
    assert any("bounds" in why and "axis 0 of x" in why and "axis 1 of x" in why and "tc.assume(M % 16 == 0)" in why for why in line.why)


@tc.kernel
def add_one_assumed(x: f32[M, N], y: f32[M, N]):
    tc.grid(cdiv(M, 16))
    tc.assume((M % 16 == 0) & (N == 64))
    i = tc.block_index(0) * 16
    v = tc.load(x, [i, 0], [16, 64])
    tc.store(y, [i, 0], v + 1.0)


def test_nothing_is_said_where_all_is_known() -> None:
    found = add_one_assumed.explain()
    assert found.simulated.startswith("nothing")
    assert line_with(found, "tc.load").sectors is None
    for text in ("tc.load", "tc.store"):
        line = line_with(found, text)
        assert [w for w in line.why if "axis 0" in w or "alignment" in w] == []
        assert line.vector_bytes == [16]
    assert any(k.startswith("LDG") and k.endswith(".128") for k in line_with(found, "tc.load").instructions)


@tc.kernel
def product(a: f32[M, K], b: f32[K, N], c: f32[M, N], *, m: int = 16, precision: str = "ieee"):
    tc.grid(1)
    x, y = tc.load(a, [0, 0], [m, 16]), tc.load(b, [0, 0], [16, 16])
    z = tc.dot(x, y, precision=precision)
    tc.store(c, [0, 0], z)


def test_why_no_matrix_instruction() -> None:
    line = line_with(product.explain(), "tc.dot")
    assert any("fma instead of mma: no matrix instruction multiplies f32 by f32 into f32" in why and "tf32" in why for why in line.why)
    line = line_with(product.explain(precision="tf32"), "tc.dot")
    assert not any("fma" in why for why in line.why)
    line = line_with(product.explain(precision="tf32", m=24), "tc.dot")
    assert any("m=24 is padded to 32" in why for why in line.why)


@tc.kernel
def eights(a: tc.strided(int8[M, K]), b: int8[K, N], c: tc.i32[M, N]):
    tc.grid(1)
    x = tc.load(a, [0, 0], [32, 64])
    y = tc.load(b, [0, 0], [64, 32])
    tc.store(c, [0, 0], tc.dot(x, y))


def test_conversions_name_both_places() -> None:
    """Elements of x lie apart in memory, so its rows are loaded as they lie, and converted."""
    found = eights.explain()
    line, made = line_with(found, "tc.dot"), line_with(found, "x = tc.load")
    (conversion,) = [c for c in line.conversions if c.made == made.number]
    assert (conversion.wanted, conversion.how, conversion.tile) == (line.number, "shared memory", "int8[32, 64]")
    assert conversion.made_at == f"`tc.load(a, [0, 0], [32, 64])` (line {made.number}, column {made.text.index('tc.load') + 1})"
    assert conversion.wanted_at == f"`tc.dot(x, y)` (line {line.number}, column {line.text.index('tc.dot') + 1})"
    assert f"between {conversion.made_at} and {conversion.wanted_at}, of int8[32, 64], through shared memory" in str(found)
    assert any("strides" in why for why in made.why)


@tc.kernel(warps=1)
def sixteens(a: f16[16, 16], b: f16[16, 8], c: f32[16, 8]):
    tc.grid(1)
    tc.store(c, [0, 0], tc.dot(tc.load(a, [0, 0], [16, 16]), tc.load(b, [0, 0], [16, 8])))


def test_choices_name_what_was_offered() -> None:
    """A row of a is one sector: 16 by rows. As the product wants it, vectors of 4 bytes ask for half a sector of 8 rows, four times: 32. The result
    takes 16 more either way."""
    line = line_with(sixteens.explain(), "tc.dot")
    (choice,) = [c for c in line.choices if c.at == "tc.load(a, [0, 0], [16, 16])"]
    (by_rows, rows, dear), (wanted, direct, cheap) = choice.offers
    assert by_rows == "rows as they lie in memory"
    assert "32 sectors" in rows
    assert "2 barriers" in rows
    assert wanted == "as dot wants it"
    assert "48 sectors" in direct
    assert "barriers" not in direct
    assert choice.taken == 1
    assert cheap < dear
    assert line.conversions == []


def test_because_is_no_part_of_the_text() -> None:
    function = eights.stages()["layouts"]
    conversions = [op for op in function.walk() if isinstance(op, ConvertLayout)]
    assert any(op.because for op in conversions)
    before = str(function)
    for op in conversions:
        op.because = None  # type: ignore[misc]
    assert str(function) == before
    eights._stages.clear()


@tc.kernel
def ring(a: f16[M, K], c: f16[M, N], *, stages: int = 8):
    tc.grid(1)
    acc = tc.zeros(f16, [128, 128])
    for k in tc.range(0, K, 128, stages=stages):
        acc = acc + tc.load(a, [0, k], [128, 128])
    tc.store(c, [0, 0], acc)


def test_stages_that_do_not_fit() -> None:
    found = ring.explain("sm_80")  # 163 KB hold 5 stages of 32 KB
    assert any("5 stages instead of 8" in why for why in line_with(found, "tc.range").why)
    assert any("5 stages instead of 8" in text for text in found.notices)
    assert "stages=stages): " in str(found)
    assert "::" not in str(found)


@tc.kernel
def carried(a: f32[M], n: f32[1], c: f32[M]):
    tc.grid(1)
    at, acc = 0, tc.zeros(f32, [1024])
    for _k in tc.range(0, M, 1024, stages=2):
        acc = acc + tc.load(a, [at], [1024])
        at = at + 1024
    tc.store(c, [0], acc)


def test_why_a_load_is_not_pipelined() -> None:
    line = line_with(carried.explain(), "tc.load")
    assert any("not started rounds ahead" in why and "what the loop carries" in why for why in line.why)


def test_as_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    place = "examples/softmax.py:softmax"
    assert main(["explain", place, "--size", "m=3,n=64"]) == 0
    text = capsys.readouterr().out
    assert "simulated: x 3x64, y 3x64" in text
    assert "tc.max(v)" in text
    assert main(["explain", place, "--size", "m=3,n=64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kernel"] == "softmax"
    (store,) = [line for line in found["lines"].values() if "tc.store" in line["text"]]
    assert store["sectors"] == 3 * 64 * 4 // 32


def test_impossible_views_name_both_places(tmp_path: Any) -> None:
    file = tmp_path / "views.py"
    file.write_text(textwrap.dedent("""\
        import tilec as tc
        @tc.kernel(warps=1)
        def k(x: tc.uint8[96]):
            tc.grid(1)
            s = tc.shared(tc.uint8, [96])
            v = tc.load(s, layout=tc.spatial(32).local(3))
            w = tc.view(v, tc.int6, tc.spatial(32).local(5))
            tc.store(x, [0], tc.cast(v, tc.uint8))
        """))
    from tilec.compiler import load_kernel

    with pytest.raises(TileError, match="holds 24 bits, but the view would hold 30") as caught:
        load_kernel(f"{file}:k").function()
    assert caught.value.loc is not None
    assert caught.value.loc.line == 7
    assert [loc.line for _, loc in caught.value.notes] == [6]


def test_refusals_are_false_and_silent() -> None:
    assert not Refused("no")
    assert list(Refused("no")) == []
    calls = []
    where = Kernel.__init__.__code__
    say(None, lambda: calls.append(where) or "")
    assert calls == []
    with noting() as notes:
        say(tc.errors.Loc("f", 1), "a", lambda: "b", vector_bytes=4)
    assert [(n.text, n.vector_bytes) for n in notes] == [("a", 0), ("b", 0), ("", 4)]


@tc.kernel(warps=4)
def symmetric(a: f32[64, 64], c: f32[64, 64]):
    tc.grid(1)
    for i in tc.range(2):
        v = tc.load(a, [0, 0], [64, 64])
        tc.store(c, [0, 0], v + v.T * f32(i))


@tc.kernel(warps=4)
def nearby(a: f16[64, 64], b: f16[64, 64], c: f32[64, 64]):
    tc.grid(1)
    tc.conversions("registers")
    z = f16(tc.dot(tc.load(a, [0, 0], [64, 64]), tc.load(b, [0, 0], [64, 64])))
    tc.store(c, [0, 0], tc.dot(z, tc.load(b, [0, 0], [64, 64])))


def test_offers_are_told_apart() -> None:
    """Words of one choice differ, and numbers have a unit."""
    found = symmetric.explain()
    choices = [c for line in found.lines.values() for c in line.choices]
    assert choices
    for choice in choices:
        words = [words for words, _, _ in choice.offers]
        assert len(set(words)) == len(words)
    assert "cycles or so (" in str(found)


def test_a_choice_as_text() -> None:
    """By hand: the least is 4; 4.3 is as dear in whole cycles."""
    offers = [("rows", "8 instructions", 4.0), ("columns", "9 instructions", 4.3), ("as dot wants it", "80 instructions", 40.0), ("far", "not allowed", 5e11)]
    assert str(Choice("v", offers, 0)) == (
        "v: rows, 4 cycles or so (8 instructions); as dear: columns, 4 cycles or so (9 instructions); "
        "dearer: as dot wants it, 40 cycles or so (80 instructions); not allowed: far"
    )


def test_what_is_not_allowed_has_no_price() -> None:
    """Nothing in the kernel takes a million instructions; where conversions are bounded, some offers are refused."""
    found = nearby.explain()
    refused = [(cost, weight) for line in found.lines.values() for c in line.choices for _, cost, weight in c.offers if cost == "not allowed" or weight > 1e6]
    assert refused
    assert all(cost == "not allowed" for cost, _ in refused)
    assert "not allowed: " in str(found)
    assert "00000" not in str(found)


def test_nothing_elsewhere_is_not_shown() -> None:
    """What was issued alone, as by lines without machine code, is in JSON only."""
    assert not Line(0, "(no line of the kernel)", issued=3).told
    assert Line(0, "(no line of the kernel)", instructions={"MOV": 1}).told
