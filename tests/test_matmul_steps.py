"""The matrix product in steps: what each step changes in machine code and counts, and that the checks find what is left out of step 3."""

import re

import numpy as np
import pytest

from examples import example
from tilec import sim
from tilec.arguments import Arguments, machine_arguments
from tilec.backend.sass import disassemble
from tilec.backend.target import TARGETS
from tilec.backend.tools import find


@pytest.mark.skipif(not find("nvdisasm"), reason="machine code is read by nvdisasm")
@pytest.mark.parametrize("arch", TARGETS)
def test_step_3_in_machine_code(arch):
    compiled = example("matmul_v3").compile(arch=arch)
    code = disassemble(compiled.cubin)
    loop = code.hot_loop()
    assert loop is not None
    inside = loop.counts()
    assert any(re.match(r"LDGSTS\.E\.(BYPASS\.)?(\w+\.)*128", name) for name in inside), inside
    assert any(re.match(r"LDSM\.16\.M88\.4", name) for name in inside), inside
    assert any(re.match(r"LDSM\.16\.MT88\.4", name) for name in inside), inside
    assert any(re.match(r"HMMA\.16816", name) for name in inside), inside
    assert compiled.resources.spill_bytes == 0
    assert not code.find("LDL|STL")


@pytest.mark.parametrize("name", ["matmul_v0", "matmul_v1", "matmul_v2", "matmul_v3", "matmul_v4"])
def test_no_bank_conflicts(name):
    args, _ = example(name).example_args(0)
    assert example(name).simulate(*args).shared_conflicts == 0


def simulate_text(name, text):
    """Run a changed PTX text on the example's arguments."""
    kernel = example(name)
    args, expected = kernel.example_args(0)
    compiled = kernel.compile()
    given, _ = kernel.signature.bind(args, {})
    bound = Arguments(compiled.function, given)
    report = sim.run_ptx(text, compiled.name, (2, 2), (128,), machine_arguments(compiled.function, bound), compiled.resources.shared_bytes)
    return report, args[2], expected["c"]


def mutants(text):
    """The text with each barrier, wait and commit left out, and with each wait for one group fewer."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if re.search(r"bar\.sync|cp\.async\.(wait_group|commit_group)", line):
            yield f"without line {i + 1}: {line.strip()}", lines[:i] + lines[i + 1 :]
        if found := re.search(r"cp\.async\.wait_group\s+(\d+)", line):
            less = line.replace(found[0], f"cp.async.wait_group {int(found[1]) + 1}")
            yield f"line {i + 1} waits for less: {less.strip()}", [*lines[:i], less, *lines[i + 1 :]]


STEP_3 = example("matmul_v3").compile().ptx
MUTANTS = [(what, lines) for what, lines in mutants(STEP_3)]


def test_there_are_mutants():
    assert len(MUTANTS) >= 6


@pytest.mark.parametrize("lines", [lines for _, lines in MUTANTS], ids=[what for what, _ in MUTANTS])
def test_mutants_are_found(lines):
    report, _, _ = simulate_text("matmul_v3", "\n".join(lines))
    assert report.findings


def test_the_unchanged_text_is_clean():
    report, c, expected = simulate_text("matmul_v3", STEP_3)
    assert not report.findings
    np.testing.assert_allclose(c.astype(np.float64), expected, rtol=2e-3, atol=2e-2)
