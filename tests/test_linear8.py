"""Linear layers for activations of 8 bits against float64."""

import numpy as np
import pytest
from linear_cases import WEIGHTS, case, weight_error, weight_type

import tilec as tc
from tilec.backend import tools
from tilec.backend.sass import disassemble, is_mma
from tilec.kernels.eight import Linear8, linear8, rows8, way
from tilec.quant import Quantized, quantize_linear

LAST = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-24}


def check(y, layer, x, rows):
    """Products of integers are exact; sums, scales and the result are rounded to f32 and once to its type, whose last place bounds the rest. Each product of
    floats is exact in f32, too, and a sum of k of them is off by less than k 2**-23 of the sum of magnitudes, as tensor cores truncate. Where products
    are of 16 bits, weights differ from the exact ones by `weight_error` at most."""
    q, k = layer.weight, layer.weight.shape[1]
    values = q.gather(x.values().astype(np.float64) * rows[:, None])
    w, bias = q.dequantize(stored=True), 0.0 if layer.bias is None else layer.bias
    points = 0.0 if q.zeros is None else 2 * np.abs(np.repeat(np.broadcast_to(q.zero_values() * q.scale_values(), (w.shape[0], k // q.group)), q.group, axis=1))
    expected = values @ w.T + bias
    magnitudes = np.abs(values) @ (np.abs(w) + points).T + np.abs(bias)  # two large sums may cancel
    error = np.abs(values) @ weight_error(q, layer.way.kind).T if layer.way.kind.bits == 16 else 0.0
    bound = error + LAST[str(tc.dtype(layer.out))] * (np.abs(expected) + error) + (k + 64) * 2.0**-23 * magnitudes + 1e-6
    found = y.values() if isinstance(y, tc.Tensor) else y.astype(np.float64)
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= bound).all(), layer.explain()


def activations(rng, m, k, to):
    return rows8(rng.standard_normal((m, k)) * rng.uniform(0.1, 9, (m, 1)), to)


@pytest.mark.parametrize("to", ["int8", "e4m3"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_random_layers(name, to):
    """Every type by both, with scales, zero points, groups and orders of any kind."""
    rng, kind = np.random.default_rng(), weight_type(name)
    m, n, k = int(2 ** rng.uniform(0, 7)), int(rng.integers(1, 100)), int(rng.choice([rng.integers(16, 300), 32 * rng.integers(1, 9)]))
    through = way(kind, 16, k, tc.dtype(to)).kind
    c = case(rng, kind, through, m, n, k)
    layer, given = Linear8(c.q, c.bias, to, "f32" if rng.integers(2) else "bf16"), activations(rng, m, k, to)
    check(layer(*given), layer, *given)


SAMPLE = [  # weights, groups, activations, result, M, N, K, zero points, products of
    ("int8", None, "int8", "f16", 5, 40, 100, None, "int8"), ("int4", 64, "int8", "f32", 33, 70, 192, None, "int8"),
    ("uint4", 32, "int8", "bf16", 17, 64, 128, "int", "uint8"), ("uint8", 128, "int8", "f32", 70, 96, 256, "int", "uint8"),
    ("uint8", None, "int8", "f32", 16, 96, 256, "int", "uint8"), ("int1", 32, "int8", "f32", 3, 32, 64, -0.5, "int8"),
    ("e2m1", 64, "int8", "f32", 9, 48, 192, None, "int8"), ("int4", 16, "int8", "f32", 18, 64, 96, None, "f16"),
    ("nf4", 64, "int8", "f32", 7, 64, 128, None, "f16"), ("e3m2", 128, "int8", "f16", 40, 72, 256, None, "f16"),
    ("e4m3", None, "e4m3", "f16", 9, 48, 72, None, "e4m3"), ("e2m1", 32, "e4m3", "f32", 20, 64, 160, None, "e4m3"),
    ("e3m2", 64, "e4m3", "bf16", 40, 33, 128, None, "e4m3"), ("int4", 128, "e4m3", "f32", 4, 40, 256, None, "e4m3"),
    ("int8", 128, "e4m3", "f32", 33, 64, 256, None, "f16"), ("e5m2", 64, "e4m3", "f32", 8, 64, 192, None, "f16"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "group", "to", "out", "m", "n", "k", "zeros", "kind"), SAMPLE)
def test_ptx(name, group, to, out, m, n, k, zeros, kind):
    rng = np.random.default_rng()
    q, b = quantize_linear(rng.standard_normal((n, k)), name, group, zeros=zeros), rng.standard_normal(n).astype(np.float32)
    layer, given = Linear8(q, b, to, out), activations(rng, m, k, to)
    assert layer.way.kind == tc.dtype(kind)
    assert f"products of {tc.dtype(kind)}, as " in layer.explain()
    y = tc.Tensor.from_values(np.full((m, n), 777.0), out)
    args, constants = layer.arguments(*given, y)
    arch = "sm_80" if to == "int8" else "sm_89"
    report = layer.kernel.simulate(*args, arch=arch, **constants)
    check(y, layer, *given)
    assert not report.findings, str(report)
    assert ("mma.sync.aligned.m16n8k32" in layer.kernel.compile(arch, **constants).ptx) == (layer.way.kind.bits == 8)
    for wrong in (np.zeros((m, n)), rng.permutation(y.values().reshape(-1)).reshape(m, n), np.roll(y.values(), 1, axis=1)):
        with pytest.raises(AssertionError):
            check(wrong, layer, *given)


def test_products_of_8_bits_are_of_what_the_weights_are():
    """By hand: twice e2m1's values are 0 to 12; e3m2's 1/16 to 28 are no integers of 8 bits, nf4's are no multiples; e4m3 has integers to 16."""

    def kind(name, to, group=32):
        found = way(tc.dtype(name), group, 256, tc.dtype(to))
        return str(found.kind), found.power

    assert [kind(name, "int8") for name in ("int6", "uint3", "e2m1", "e3m2", "nf4", "e5m2")] == [
        ("int8", 0), ("uint8", 0), ("int8", 1), ("f16", 0), ("f16", 0), ("f16", 0),
    ]  # fmt: skip
    assert [kind(name, "e4m3")[0] for name in ("int5", "int6", "int8", "e3m2", "e5m2", "e6m1")] == ["float8_e4m3", "f16", "f16", "float8_e4m3", "f16", "bf16"]
    assert kind("int8", "int8", 16) == ("f16", 0)
    assert kind("int8", "int8", 256) == ("int8", 0)


def test_an_order_gathers_codes():
    rng = np.random.default_rng()
    for name, group, kind in (("int4", 32, np.int8), ("e3m2", 32, tc.Tensor)):
        q = quantize_linear(rng.standard_normal((24, 128)), name, group)
        shuffled = Quantized(q.codes, q.scales, order=rng.permutation(128))
        layer, (x, rows) = Linear8(shuffled, out="f32"), activations(rng, 6, 128, "int8")
        check(layer(x if kind is tc.Tensor else x.codes().astype(np.int8), rows), layer, x, rows)


def test_rows_that_are_not_finite_give_nan():
    """Each row for itself; the others are as they were. A row of zeros, and one whose scale f32 does not hold, give zeros."""
    x = np.random.default_rng().standard_normal((7, 64))
    x[1, 5], x[2, 0], x[3, 9], x[4], x[5], x[6, 1] = np.nan, np.inf, -np.inf, 0.0, 1e-60, 1e300
    for to in ("int8", "e4m3"):
        codes, rows = rows8(x, to)
        assert np.isnan(rows).tolist() == [False, True, True, True, False, False, True]
        assert (codes.values()[[1, 2, 3, 4, 5, 6]] == 0).all()
        y = Linear8(quantize_linear(np.eye(64), "int8"), to=to, out="f32")(codes, rows)
        assert np.isnan(y).all(axis=1).tolist() == np.isnan(rows).tolist()
        assert np.abs(y[0] - x[0]).max() < 0.07 * np.abs(x[0]).max()
        assert (y[[4, 5]] == 0).all()


@pytest.mark.skipif(not tools.find("nvdisasm"), reason="there is no nvdisasm")
def test_machine_code():
    """No conversions of sums, and few instructions for each weight: 8 in a lane for each matrix instruction."""
    for name, group, most in (("int8", 128, 1.1), ("int8", None, 0.7), ("int4", 128, 2.5)):
        layer = Linear8(quantize_linear(np.ones((256, 1024)), name, group))
        _, constants = layer.arguments(*rows8(np.ones((16, 1024))), None)
        built = linear8.compile("sm_80", **constants)
        issued = [i for i in disassemble(built.cubin).hot_loop().instructions if i.issued]
        products = sum(is_mma(i.opcode) for i in issued)
        assert (len(issued) - products) / (8 * products) <= most
        assert not {i.name for i in issued} & {"I2F", "I2FP", "F2F", "LDL", "STL"}
        assert built.resources.spill_bytes == 0


def test_what_does_not_fit_is_refused():
    q = quantize_linear(np.ones((32, 64)), "int4", 32)
    for make, message in (
        (lambda: Linear8(q, to="f16"), "int8 or e4m3, not f16"), (lambda: Linear8(q, out="int8"), "f16, bf16 or f32, not int8"),
        (lambda: Linear8(np.ones((32, 64))), "a Quantized, not a ndarray"), (lambda: Linear8(q, np.ones(5)), "the bias has shape"),
        (lambda: Linear8(q)(*rows8(np.ones((3, 65)))), r"x has shape \[3, 65\], but the layer has 64 inputs"),
    ):  # fmt: skip
        with pytest.raises(tc.TileError, match=message):
            make()
