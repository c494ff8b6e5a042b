"""Where in the kernel's source the simulator's findings and costs stand: on each line that makes machine code, inline assembly too."""

import json

import numpy as np

import tilec as tc
from tilec import cdiv, f16, f32, i32
from tilec.sim.cli import as_json

M, N, K, T = tc.dims("M N K T")


@tc.kernel
def chosen(x: f16[T, M, K], w: f16[T, K, N], which: i32[T], y: f16[T, M, N], *, bm: int = 32, bn: int = 64, bk: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn), T)
    i, j, t = tc.block_index(0) * bm, tc.block_index(1) * bn, tc.block_index(2)
    acc = tc.zeros(f32, [bm, bn])
    expert = tc.load(which, [t])
    for k in tc.range(0, K, bk, stages=3):
        a = tc.load(x, [t, i, k], [bm, bk])
        b = tc.load(w, [expert, k, j], [bk, bn])  # indexed
        acc = tc.dot(a, b, acc)  # product
    tc.store(y, [t, i, j], f16(acc))  # result


def line_of(mark):
    return next(n for n, text in enumerate(open(__file__), 1) if text.rstrip().endswith(f"  # {mark}"))


def run(which):
    rng = np.random.default_rng()
    x, w = (rng.standard_normal(shape).astype(np.float16) for shape in ((3, 40, 64), (3, 64, 64)))
    y = np.empty((3, 40, 64), np.float16)
    report = chosen.simulate(x, w, np.array(which, np.int32), y)
    exact = x[0].astype(np.float64) @ w[0]
    assert np.linalg.norm(y[0] - exact) < 2**-8 * np.linalg.norm(exact)
    return report


def test_copies_that_are_pipelined_and_indexed_have_their_line():
    findings = run([0, 7, 1]).of("bounds")
    assert findings
    assert {f.at.loc.line for f in findings} == {line_of("indexed")}
    assert "        b = tc.load(w, [expert, k, j], [bk, bn])" in str(findings[0])


def test_costs_have_lines_as_findings_do():
    report = run([0, 2, 1])
    assert report.findings == []
    shown = str(report)
    assert f"{__file__}:{line_of('result')}, PTX line" in shown
    costs = report.by_line()
    assert costs[__file__, line_of("product")].mma == report.mma > 0
    assert costs[__file__, line_of("indexed")].accesses > 0
    assert sum(c.issued for (file, _), c in costs.items() if file == __file__) > 0.9 * report.instructions
    assert str(report) == shown
    assert json.loads(json.dumps(as_json(report)))["entry"] == "chosen"
