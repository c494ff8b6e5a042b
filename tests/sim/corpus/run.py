"""Run a case in the simulator and say how it went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from tilec.sim import Unsupported, run_ptx

from .case import Case, check


@dataclass
class Outcome:
    """`verdict` is pass, wrong, unsupported or error; `findings` are the report's."""

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
    for i, e in expected.items():
        try:
            check(e, args[i])
        except AssertionError as error:
            return Outcome("wrong", f"argument {i}: {error}", report.findings, seconds, report)
    return Outcome("pass", "", report.findings, seconds, report)
