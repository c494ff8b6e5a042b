"""Other compilers' kernels in the simulator: right results and no findings on the right ones, the right finding on the wrong ones."""

import numpy as np
import pytest

sim = pytest.importorskip("tilec.sim")
if not hasattr(sim, "run_ptx"):
    pytest.skip("the simulator does not run yet", allow_module_level=True)

from tests.sim.corpus.cases import CASES  # noqa: E402
from tests.sim.corpus.run import run  # noqa: E402
from tests.sim.corpus.wrong_cases import WRONG  # noqa: E402


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
    report = sim.run_ptx(case.ptx(), case.entry, case.grid, case.block, case.make(np.random.default_rng(3)), shared_bytes=case.shared)
    found = [f for f in report.findings if f.kind in case.kinds]
    assert found, f"wanted {case.kinds}, got {[str(f) for f in report.findings]}"
    lines = case.source_lines()
    places = [s for f in found for s in (f.at, f.other) if s is not None]
    assert any(s.line in lines and s.file.endswith("wrong.cu") for s in places), [str(s) for s in places]


def test_printed_lines():
    outcome = run(CASES["nvcc_control.print_values"])
    (x, n), _ = CASES["nvcc_control.print_values"].make(np.random.default_rng(7))
    want = sorted(f"element {i} is {x[i]} ({0.5 * x[i]:.2f}, negative)" for i in range(n) if x[i] < 0)
    assert want
    assert sorted(outcome.report.output.strip().splitlines()) == want
