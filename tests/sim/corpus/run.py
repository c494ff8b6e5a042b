"""Run a case in the simulator and say how it went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from tilec.sim import Unsupported, run_ptx

from .case import Case, check
from .wrong_cases import MAX_STEPS, WrongCase


@dataclass
class Outcome:
    """`verdict` is pass, wrong, unsupported or error; `findings` are the report's, without those that are known of the case."""

    verdict: str
    detail: str = ""
    findings: list = field(default_factory=list)
    seconds: float = 0.0
    report: object = None


def run(case: Case, ptx: str | None = None, seed: int = 7, **options) -> Outcome:
    """Run `case` (or the mutated text `ptx` in its place) with fresh arguments and compare with its reference."""
    args, expected = case.make(np.random.default_rng(seed))
    text, params = case.ptx() if ptx is None else ptx, case.params(args)
    start = time.perf_counter()
    try:
        report = run_ptx(text, case.entry, case.grid, case.block, params, shared_bytes=case.shared, **options)
    except Unsupported as error:
        return Outcome("unsupported", str(error))
    except Exception as error:
        return Outcome("error", f"{type(error).__name__}: {error}", seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    findings = [f for f in report.findings if f.kind not in case.known]
    for i, e in expected.items():
        try:
            check(e, args[i])
        except AssertionError as error:
            return Outcome("wrong", f"argument {i}: {error}", findings, seconds, report)
    return Outcome("pass", "", findings, seconds, report)


def run_wrong(case: WrongCase, seed: int = 3):
    """The simulator's report on a kernel that is wrong on purpose."""
    args = case.make(np.random.default_rng(seed))
    return run_ptx(case.ptx(), case.entry, case.grid, case.block, args, shared_bytes=case.shared, max_steps=MAX_STEPS)
