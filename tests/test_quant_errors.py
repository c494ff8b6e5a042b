"""Errors of quantization by hand, and the table of many layers."""

import math

import numpy as np
import pytest

from tilec.errors import TileError
from tilec.quant import Errors, Quantized, Report, layer_errors, quantize_linear


def test_errors_by_hand():
    e = Errors.of([[3.0, 4.0], [0.0, 6.0]], [[3.0, 4.0], [0.0, 7.0]])
    assert (e.count, e.max_error, e.rms) == (4, 1.0, 0.5)
    assert e.relative == pytest.approx(61**-0.5)
    assert e.sqnr == pytest.approx(10 * math.log10(61))
    assert e.cosine == pytest.approx((9 + 16 + 42) / (61 * 74) ** 0.5)
    assert str(e) == "relative error 1.280e-01 (17.9 dB), cosine 0.997227, rms 5.000e-01, max 1.000e+00"


def test_errors_at_the_ends():
    zeros = Errors.of(np.zeros(2), np.zeros(2))
    assert (zeros.relative, zeros.sqnr, zeros.cosine) == (0.0, math.inf, 1.0)
    wrong = Errors.of(np.zeros(2), np.ones(2))
    assert (wrong.relative, wrong.sqnr, wrong.cosine) == (math.inf, -math.inf, 0.0)
    assert Errors.of([], []) == Errors()


def test_errors_of_parts_add_up():
    a, b = np.random.default_rng().standard_normal((2, 5, 7))
    parts = Errors.of(a[:2], b[:2]) + Errors.of(a[2:], b[2:])
    for name in ("count", "relative", "sqnr", "cosine", "rms", "max_error"):
        assert getattr(parts, name) == pytest.approx(getattr(Errors.of(a, b), name))


def test_a_layer_by_hand():
    """W = [[1, 2], [3, 5]] became [[1, 2], [3, 4]]; x = [1, 1] and [0, 2]: outputs 3, 8, 4, 10 became 3, 7, 4, 8."""
    q = Quantized(np.array([[1, 2], [3, 4]], np.int8), np.ones((2, 1), np.float16))
    one = layer_errors([[1, 2], [3, 5]], q, [[1.0, 1.0], [0.0, 2.0]], "up")
    assert one.weights.relative == pytest.approx(1 / 39**0.5)
    assert one.outputs.relative == pytest.approx((5 / (9 + 64 + 16 + 100)) ** 0.5)
    assert one.outputs.max_error == 2.0
    assert one.bits_per_weight == 8 + 16 / 2
    assert one.row() | {"weight error": 0, "output error": 0, "weight dB": 0, "output dB": 0, "weight cosine": 0, "output cosine": 0} == {
        "layer": "up", "shape": (2, 2), "type": "int8", "bits": 16.0, "weight error": 0, "weight dB": 0, "weight cosine": 0, "weight max": 1.0,
        "output error": 0, "output dB": 0, "output cosine": 0, "output max": 2.0,
    }  # fmt: skip


def layers(with_inputs):
    rng = np.random.default_rng(5)
    for name, dtype, shape in (("fine", "int8", (24, 64)), ("coarse", "int2", (8, 32)), ("middle", "int4", (40, 64))):
        w, x = rng.standard_normal(shape), rng.standard_normal((3, 4, shape[1]))
        yield name, w, quantize_linear(w, dtype, 16), x if with_inputs else None


@pytest.mark.parametrize("with_inputs", [False, True])
def test_the_worst_comes_first_and_the_total_last(with_inputs):
    made = Report(layer_errors(w, q, x, name) for name, w, q, x in layers(with_inputs))
    assert [one.name for one in made] == ["coarse", "middle", "fine"]
    exact = np.concatenate([w.ravel() for _, w, _, _ in layers(False)])
    found = np.concatenate([q.dequantize().ravel() for _, _, q, _ in layers(False)])
    total = made.rows()[-1]
    assert total["layer"] == "total"
    assert total["weight error"] == pytest.approx(np.linalg.norm(exact - found) / np.linalg.norm(exact))
    assert total["bits"] == pytest.approx((24 * 64 * 9 + 8 * 32 * 3 + 40 * 64 * 5) / exact.size)
    assert (total["output error"] is not None) == with_inputs
    lines = str(made).splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "coarse", "middle", "fine", "total"]
    assert ("output dB" in lines[0]) == with_inputs
    assert f"{made[1].weights.sqnr:.1f}" in lines[2]
    assert len(str(made[0]).splitlines()) == 2


def test_a_layer_without_inputs_sorts_all_by_weights():
    rng = np.random.default_rng(1)
    w = rng.standard_normal((8, 64))
    good, bad = quantize_linear(w, "int6"), quantize_linear(w, "int3")
    made = Report([layer_errors(w, good, np.ones(64), "a"), layer_errors(w, bad, None, "b")])
    assert ([one.name for one in made], made.outputs) == (["b", "a"], None)
    assert str(Report([])).startswith("layer")


def test_shapes_must_fit():
    q = quantize_linear(np.ones((4, 8)), "int4")
    with pytest.raises(TileError, match="compared with exact ones of shape"):
        layer_errors(np.ones((4, 7)), q, np.ones((2, 8)))
    with pytest.raises(TileError, match="weights of 8 inputs"):
        layer_errors(np.ones((4, 8)), q, np.ones((2, 7)))
