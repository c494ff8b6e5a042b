"""Linear layers in 8 bits against float64."""

import numpy as np
import pytest

import tilec as tc
from tilec.kernels.eight import Linear8, linear8, rows8
from tilec.quant import quantize_linear

CASES = [  # weights, groups, activations, result, M, N, K, zero points
    ("int8", None, "int8", "f16", 5, 40, 100, None), ("int4", 64, "int8", "f32", 33, 70, 192, None), ("uint4", 32, "int8", "bf16", 17, 64, 128, "int"),
    ("uint8", 128, "int8", "f32", 64, 96, 256, "int"), ("int1", 32, "int8", "f32", 3, 32, 64, -0.5),
    ("e4m3", None, "e4m3", "f16", 9, 48, 72, None), ("e2m1", 32, "e4m3", "f32", 20, 64, 160, None), ("e3m2", 64, "e4m3", "bf16", 40, 33, 128, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "group", "to", "out", "m", "n", "k", "zeros"), CASES)
def test_eight_bits(name, group, to, out, m, n, k, zeros):
    """Products of integers are exact; sums, scales and the result are rounded to f32 and once to its type, whose last place bounds the rest: each
    of the k products of floats is exact in f32 too, and a sum of k of them is off by less than k 2**-24 of the sum of magnitudes."""
    rng = np.random.default_rng()
    q, b = quantize_linear(rng.standard_normal((n, k)), name, group, zeros=zeros), rng.standard_normal(n).astype(np.float32)
    x, rows = rows8(rng.standard_normal((m, k)) * rng.uniform(0.1, 9, (m, 1)), to)
    layer = Linear8(q, b, to, out)
    values, w = x.values().astype(np.float64) * rows[:, None], q.dequantize()
    expected, magnitudes = values @ w.T + b, np.abs(values) @ np.abs(w).T + np.abs(b)
    if zeros is not None:  # two large sums may cancel
        magnitudes = np.abs(values) @ (np.abs(w) + 2 * np.abs(np.repeat(q.zero_values() * q.scale_values(), q.group, axis=1))).T + np.abs(b)
    last = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-24}[out]
    bound = last * np.abs(expected) + (k + 8) * 2.0**-24 * magnitudes + 1e-7

    def check(y):
        found = y.values() if isinstance(y, tc.Tensor) else y.astype(np.float64)
        assert (np.abs(found - expected) <= bound).all()

    check(layer(x, rows))
    y = tc.Tensor.from_values(np.full((m, n), 777.0), out)
    arch = "sm_80" if to == "int8" else "sm_89"
    report = linear8.simulate(x, rows, *layer._held, y, arch=arch, **layer.constants)
    check(y)
    assert not report.findings, str(report)
    mma = "mma.sync.aligned.m16n8k32"
    assert mma in linear8.compile(arch, **layer.constants).ptx
    with pytest.raises(AssertionError):
        check(np.zeros((m, n)))


def test_what_does_not_fit_is_refused():
    q = quantize_linear(np.ones((32, 64)), "e5m2", 32)
    for make, message in (
        (lambda: Linear8(q), "int8 is multiplied by integers, and the weights are float8_e5m2"),
        (lambda: Linear8(q, to="e4m3"), "e4m3 does not hold every float8_e5m2"),
        (lambda: Linear8(q, to="f16"), "int8 or e4m3, not f16"),
        (lambda: Linear8(quantize_linear(np.ones((32, 64)), "int4", 16)), "multiples of 32, not 16"),
        (lambda: Linear8(quantize_linear(np.ones((32, 64)), "int4"), np.ones(5)), "the bias has shape"),
    ):
        with pytest.raises(tc.TileError, match=message):
            make()
