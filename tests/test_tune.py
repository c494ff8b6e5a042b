"""The tuner: which configurations are tried, which are dropped and why, what is chosen, and what is remembered."""

from __future__ import annotations

import math
import textwrap
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

import tilec as tc
from tilec import TileError, cdiv, cli, f16, f32, tune
from tilec.backend import driver
from tilec.backend.driver import Device

M, N, K = tc.dims("M N K")


def make():
    @tc.kernel(warps=4)
    def matmul(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32, stages: int = 2):
        tc.grid(cdiv(M, bm), cdiv(N, bn))
        tc.assume((M % bm == 0) & (N % bn == 0) & (K % bk == 0))
        i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
        acc = tc.zeros(f32, [bm, bn])
        for k in tc.range(0, K, bk, stages=stages):
            acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
        tc.store(c, [i, j], f16(acc))

    return matmul


def arguments(n: int = 512) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng()
    return (*rng.standard_normal((2, n, n)).astype(np.float16), np.full((n, n), np.nan, np.float16))


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_the_constraint_takes_what_it_names() -> None:
    space = tune.Space({"a": [1, 2, 3], "b": [1, 2], "warps": [4]}, lambda b, a: a <= b)
    assert space.configurations() == [{"a": 1, "b": 1, "warps": 4}, {"a": 1, "b": 2, "warps": 4}, {"a": 2, "b": 2, "warps": 4}]


def test_a_model_ranks_where_there_is_no_gpu(threads) -> None:
    """Of two block sizes the larger loads half as much; 128 x 256 in 4 warps can't hold its accumulators in registers."""
    kernel = make()

    @kernel.tune(bm=[32, 128], bn=[32, 128, 256], warps=[4])
    def _(bm, bn):
        return bm == bn or bn == 256

    a, b, c = arguments(4096)
    best = kernel.tuned(a, b, c, arch="sm_80", executor=threads)
    assert best.constants == {"bm": 128, "bn": 128, "warps": 4}
    dropped = {tuple(t.constants.values()): t.why for t in best.trials if t.why}
    assert set(dropped) == {(128, 256, 4)}
    assert dropped[128, 256, 4].startswith("spills")
    assert [t.seconds for t in best.trials] == sorted(t.seconds for t in best.trials)
    assert "predicted for sm_80 (3 of 4 configurations)" in str(best)


def test_the_result_can_be_called(threads) -> None:
    kernel = make()
    kernel.tune(bm=[64], bn=[32, 64], warps=[2, 4])
    a, b, c = arguments(128)
    best = kernel.tuned(a, b, c, arch="sm_80", executor=threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no GPU
        best(a, b, c)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert np.linalg.norm(c - exact) <= 2**-10 * np.linalg.norm(exact)
    assert best.kernel.warps == best.constants["warps"]


def test_what_does_not_compile_is_dropped_with_its_reason(threads) -> None:
    kernel = make()
    kernel.tune(bm=[64, 0])
    best = kernel.tuned(*arguments(), arch="sm_80", executor=threads)
    assert best.constants == {"bm": 64}
    (bad,) = (t for t in best.trials if t.why)
    assert bad.constants == {"bm": 0}
    assert bad.seconds == math.inf


def test_nothing_left_is_one_error_with_all_reasons(threads) -> None:
    kernel = make()
    kernel.tune(bm=[128], bn=[256], warps=[4])
    with pytest.raises(TileError, match=r"none of 1 configurations can be used:\n.*'bn': 256.*spills \d+ bytes"):
        kernel.tuned(*arguments(), arch="sm_80", executor=threads)


def test_wrong_use() -> None:
    kernel = make()
    with pytest.raises(TileError, match="nothing to tune"):
        kernel.tuned(*arguments())
    with pytest.raises(TileError, match="lists of choices"):
        kernel.tune(bm=64)
    kernel.tune(block=[1, 2])
    with pytest.raises(TileError, match="matmul has no constant block"):
        kernel.tuned(*arguments())
    kernel.tune(bm=[64])(lambda bm: False)
    with pytest.raises(TileError, match="no configuration is left"):
        kernel.tuned(*arguments())


class Dying(ThreadPoolExecutor):
    """An executor one of whose workers dies."""

    def submit(self, *args, **kwargs):
        failed: Future = Future()
        failed.set_exception(BrokenProcessPool("a worker died"))
        return failed


def test_a_worker_that_dies_takes_nothing_else_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEC_CACHE_DIR", "off")  # else the first choice is remembered
    kernel = make()
    kernel.tune(bm=[32, 64])
    monkeypatch.setattr(tune, "workers", lambda: ThreadPoolExecutor(1))
    with Dying() as pool:
        assert len([t for t in kernel.tuned(*arguments(), arch="sm_80", executor=pool).trials if not t.why]) == 2
        monkeypatch.setattr(tune, "workers", Dying)
        with pytest.raises(TileError, match="the compiler crashed"):
            kernel.tuned(*arguments(), arch="sm_80", executor=pool)


def test_a_gpu_measures_and_the_choice_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, threads) -> None:
    """By device and by class of sizes: 512 and 768 are one, 2048 is another."""
    monkeypatch.setenv("TILEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tune.keys, "tools", lambda: "the tools")  # sources that were written just now are not trusted
    monkeypatch.setattr(driver, "device", lambda ordinal=0: Device(0, "a GPU", (8, 0)))
    times = []

    def measured(kernel, constants, given):
        times.append((kernel.warps, constants["bm"]))
        return {32: 3e-3, 64: 1e-3, 128: 2e-3}[constants["bm"]] + kernel.warps * 1e-6

    monkeypatch.setattr(tune, "measured", measured)
    kernel = make()
    kernel.tune(bm=[32, 64, 128], warps=[2, 4])
    first = kernel.tuned(*arguments(), executor=threads)
    assert first.constants == {"bm": 64, "warps": 2}
    assert first.how.startswith("measured on a GPU")
    assert len(times) == 6
    again = make()
    again.tune(bm=[32, 64, 128], warps=[2, 4])
    assert again.tuned(*arguments(768), executor=threads).constants == {"bm": 64, "warps": 2}
    assert len(times) == 6
    again.tuned(*arguments(2048), executor=threads)
    assert len(times) == 12


def test_a_measurement_is_the_median_with_the_cache_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    durations = iter([5.0, 1.0, 2.0] + [3.0] * (tune.LAUNCHES - 3))

    def call(function: str, *args):
        calls.append(function)
        return next(durations) if function == "cuEventElapsedTime" else 7

    monkeypatch.setattr(driver, "call", call)
    monkeypatch.setattr(driver, "cache_bytes", lambda ordinal=0: 40 << 20)
    launched = []
    assert tune.measured(lambda *args, **constants: launched.append(constants), {"bm": 64}, {"a": 1}) == pytest.approx(3e-3)
    assert len(launched) == 1 + tune.LAUNCHES
    assert calls.count("cuMemsetD8Async") == tune.LAUNCHES
    assert calls.index("cuMemsetD8Async") < calls.index("cuEventRecord")
    assert calls.count("cuMemFree") == 1
    assert calls.count("cuEventDestroy") == 2


def test_processes_and_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "add.py"
    file.write_text(textwrap.dedent("""
        import numpy as np
        import tilec as tc
        from tilec import f32

        N = tc.dims("N")

        @tc.kernel
        def add(x: f32[N], y: f32[N], *, block: int = 256):
            tc.grid(tc.cdiv(N, block))
            i = tc.block_index(0) * block
            tc.store(y, i, tc.load(x, i, [block]) + 1)

        add.tune(block=[256, 1024])

        @add.example
        def _(rng, n=5000):
            x = rng.standard_normal(n).astype(np.float32)
            return (x, np.empty_like(x)), {"y": x + 1}
    """))
    assert cli.main(["tune", f"{file}:add", "--arch", "sm_90", "--size", "n=1000000"]) == 0
    said = capsys.readouterr().out
    assert "add, predicted for sm_90 (2 of 2 configurations)" in said
    assert "block" in said
    assert "registers" in said
