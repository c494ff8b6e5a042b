"""A pytest fixture that runs PTX. It is there wherever tilec is installed (an entry point of pytest).

    def test_vadd(run_ptx):
        report = run_ptx("vadd.ptx", grid=8, block=128, args=[x, y, z, 1024])
        assert report.findings == [] and report.races == []
        assert report.shared_conflicts == 0 and report.global_efficiency > 0.9
        np.testing.assert_array_equal(z, x + y)

Reports are printed, so pytest shows them with a test that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tilec.errors import require
from tilec.sim import run
from tilec.sim.parse import parse
from tilec.sim.report import Report


@pytest.fixture(name="run_ptx")
def fixture() -> Callable[..., Report]:
    """`run_ptx(text_or_path, entry=None, grid=1, block=32, args=(), shared_bytes=0, **options)`: see `tilec.sim.run_ptx`."""

    def run_ptx(
        source: str | Path,
        entry: str | None = None,
        grid: Any = 1,
        block: Any = 32,
        args: Sequence[Any] = (),
        shared_bytes: int = 0,
        **options: Any,
    ) -> Report:
        text = source if isinstance(source, str) and "\n" in source else Path(source).read_text()
        if entry is None:
            names = parse(text).entries()
            require(len(names) == 1, f"the PTX has {len(names)} kernels: {', '.join(names)}", hint="name one by entry=")
            entry = names[0]
        report = run.run_ptx(text, entry, grid, block, args, shared_bytes, **options)
        print(report)
        return report

    return run_ptx
