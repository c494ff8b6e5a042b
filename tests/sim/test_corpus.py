"""Other compilers' kernels in the simulator: right results and no findings on the right ones, the right finding on the wrong ones."""

import numpy as np
import pytest

sim = pytest.importorskip("tilec.sim")
if not hasattr(sim, "run_ptx"):
    pytest.skip("the simulator does not run yet", allow_module_level=True)

from tests.sim.corpus.cases import CASES  # noqa: E402
from tests.sim.corpus.run import run, run_wrong  # noqa: E402
from tests.sim.corpus.wrong_cases import WRONG, mutants, shifted_addresses, swapped_fragments  # noqa: E402


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.tier < 3])
def test_right_kernel(name):
    outcome = run(CASES[name])
    assert outcome.verdict == "pass", outcome.detail
    assert not outcome.findings, "\n".join(map(str, outcome.findings))


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.tier == 3])
def test_later_tier_is_refused_or_right(name):
    assert run(CASES[name]).verdict in ("unsupported", "pass")


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_kernel_is_found_and_placed(name):
    case = WRONG[name]
    report = run_wrong(case)
    found = [f for f in report.findings if f.kind in case.kinds]
    assert found, f"wanted {case.kinds}, got {[str(f) for f in report.findings]}"
    lines = case.source_lines()
    places = [s for f in found for s in (f.at, f.other) if s is not None]
    assert any(s.line in lines and s.file.endswith("wrong.cu") for s in places), [str(s) for s in places]


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: f"{m.case.name}-{m.line}")
def test_every_mutant_that_matters_is_found(mutant):
    """A barrier or a wait deleted: races don't show in outputs, so a finding must come."""
    outcome = run(mutant.case, mutant.ptx)
    assert outcome.findings or outcome.verdict == "wrong"


@pytest.mark.parametrize("mutant", swapped_fragments(CASES["triton_mm_f16"]), ids=lambda m: f"{m.line}")
def test_swapped_fragment_registers_are_found(mutant):
    assert run(mutant.case, mutant.ptx, checks=False, costs=False).verdict == "wrong"


@pytest.mark.parametrize("mutant", shifted_addresses(CASES["triton_mm_f16"])[::3], ids=lambda m: f"{m.line}")
def test_shifted_addresses_are_found(mutant):
    outcome = run(mutant.case, mutant.ptx)
    assert outcome.findings or outcome.verdict == "wrong"


def test_printed_lines():
    outcome = run(CASES["nvcc_control.print_values"])
    (x, n), _ = CASES["nvcc_control.print_values"].make(np.random.default_rng(7))  # the seed of `run`
    want = sorted(f"element {i} is {x[i]} ({0.5 * x[i]:.2f}, negative)" for i in range(n) if x[i] < 0)
    assert want
    assert sorted(outcome.report.output.strip().splitlines()) == want
