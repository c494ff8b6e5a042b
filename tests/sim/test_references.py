"""The corpus itself, without a simulator: every reference must reject outputs that were not written, and outputs of zeros."""

import numpy as np
import pytest

from tests.sim.corpus.case import INDEX, PTX, check
from tests.sim.corpus.cases import CASES
from tests.sim.corpus.wrong_cases import WRONG


def accepted(expected, output):
    try:
        check(expected, output)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.make(np.random.default_rng(1))[1]])
def test_untouched_and_zero_outputs_fail(name):
    args, expected = CASES[name].make(np.random.default_rng(1))
    assert not all(accepted(e, args[i]) for i, e in expected.items()), "the poison passes"
    assert not all(accepted(e, np.zeros_like(args[i])) for i, e in expected.items()), "zeros pass"


@pytest.mark.parametrize("name", list(CASES))
def test_parameters_match_the_kernel(name):
    case = CASES[name]
    text = case.ptx()
    header = text[text.index(f".entry {case.entry}(") :]
    assert header[: header.index(")")].count(".param") == len(case.params(case.make(np.random.default_rng(1))[0]))


def test_every_kernel_is_used():
    assert {p.stem for p in PTX.glob("*.ptx")} == set(INDEX)
    used = {(c.fixture, c.entry) for c in CASES.values()} | {("nvcc_wrong", entry) for entry in WRONG}
    made = {(f, e) for f, i in INDEX.items() for e in i["entries"] if "EmptyKernel" not in e}  # CUB brings one of its own
    assert made == used
