"""Linear layers for activations of 8 bits against float64."""

import numpy as np
import pytest
from linear_cases import WEIGHTS, case, weight_error, weight_type

import tilec as tc
from tilec.backend import tools
from tilec.backend.sass import disassemble, is_mma
from tilec.cli import main
from tilec.kernels import forms
from tilec.kernels.eight import Linear8, call8, rows8, summing, way
from tilec.kernels.forms import Form
from tilec.kernels.libraries import OfNumpy
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
    """Every type by both, with scales, zero points, groups and orders of any kind; 1 to 300 rows, small numbers as often as large ones."""
    rng, kind = np.random.default_rng(), weight_type(name)
    m, n = int(2 ** rng.uniform(0, np.log2(301))), int(rng.integers(1, 200))
    k = int(rng.choice([rng.integers(16, 300), 32 * rng.integers(1, 13), 96 * rng.integers(1, 4), *[1024, 1056, 1100] * (m <= 16)]))
    through = way(kind, 16, k, tc.dtype(to)).kind
    c = case(rng, kind, through, m, n, k)
    layer, given = Linear8(c.q, c.bias, to, "f32" if rng.integers(2) else "bf16"), activations(rng, m, k, to)
    check(layer(*given), layer, *given)


SAMPLE = [  # weights, groups, activations, result, M, N, K, zero points, products of, form
    ("int8", None, "int8", "f16", 5, 40, 100, None, "int8", None),
    ("int4", 64, "int8", "f32", 33, 70, 192, None, "int8", None),
    ("uint4", 32, "int8", "bf16", 17, 64, 128, "int", "uint8", None),
    ("uint8", 128, "int8", "f32", 70, 96, 256, "int", "uint8", None),
    ("uint8", None, "int8", "f32", 16, 96, 256, "int", "uint8", None),
    ("int1", 32, "int8", "f32", 3, 32, 64, -0.5, "int8", None),
    ("e2m1", 64, "int8", "f32", 9, 48, 192, None, "int8", None),
    ("int4", 16, "int8", "f32", 18, 64, 96, None, "f16", None),
    ("nf4", 64, "int8", "f32", 7, 64, 128, None, "f16", None),
    ("e3m2", 128, "int8", "f16", 40, 72, 256, None, "f16", None),
    ("e3m2", 16, "int8", "f16", 2, 64, 512, None, "f16", Form(8, 128, 4, 2, 2)),
    ("e4m3", None, "e4m3", "f16", 9, 48, 72, None, "e4m3", None),
    ("e2m1", 32, "e4m3", "f32", 20, 64, 160, None, "e4m3", None),
    ("e3m2", 64, "e4m3", "bf16", 40, 33, 128, None, "e4m3", None),
    ("int4", 128, "e4m3", "f32", 4, 40, 256, None, "e4m3", None),
    ("int8", 128, "e4m3", "f32", 33, 64, 256, None, "f16", None),
    ("e5m2", 64, "e4m3", "f32", 8, 64, 192, None, "e5m2", None),
    ("e3m2", None, "e4m3", "f16", 6, 96, 1024, -0.5, "e4m3", Form(8, 128, 4, 3, 2)),
    ("uint4", 64, "e4m3", "f32", 12, 64, 512, "int", "e4m3", Form(16, 128, 4, 2, 2)),
    ("e2m3", 128, "e4m3", "f32", 65, 64, 256, None, "e4m3", Form(64, 128, 8, 2, 1)),
    ("int4", 128, "int8", "f16", 3, 128, 1024, None, "int8", Form(8, 128, 4, 4, 2)),
    ("int6", None, "int8", "f32", 8, 130, 1040, None, "int8", Form(8, 256, 4, 3, 3)),
    ("uint3", 96, "int8", "f32", 16, 70, 1056, "int", "uint8", Form(16, 128, 4, 3, 3)),
    ("int5", None, "int8", "f16", 130, 136, 400, None, "int8", Form(128, 256, 8, 2, 1)),
    ("uint7", None, "int8", "bf16", 100, 128, 256, "int", "uint8", Form(128, 128, 8, 3, 1)),
    ("int2", 128, "int8", "f32", 120, 128, 256, None, "int8", Form(64, 256, 8, 2, 1)),
]


@pytest.mark.parametrize(("name", "group", "to", "out", "m", "n", "k", "zeros", "kind", "how"), SAMPLE, ids=[f"{c[0]}-{c[2]}-{c[4]}" for c in SAMPLE])
def test_ptx(name, group, to, out, m, n, k, zeros, kind, how):
    """No finding, and no bank conflict where rows are aligned; zeros, other numbers of the same size, and columns exchanged are not accepted."""
    rng = np.random.default_rng()
    q, b = quantize_linear(rng.standard_normal((n, k)), name, group, zeros=zeros), rng.standard_normal(n).astype(np.float32)
    layer, given = Linear8(q, b, to, out), activations(rng, m, k, to)
    assert layer.way.kind == tc.dtype(kind)
    assert f"products of {tc.dtype(kind)}, as " in layer.explain()
    y = tc.Tensor.from_values(np.full((m, n), 777.0), out)
    how = how or layer.recipe.form(m, OfNumpy(y))
    kernel, args, constants = call8(given[0], given[1], y, layer.arrays, layer.recipe, OfNumpy(y), how)
    work, turn = args[-2:]
    work[...] = 777.0  # it needs no zeros
    arch = "sm_80" if to == "int8" else "sm_89"
    report = kernel.simulate(*args, arch=arch, **constants)
    check(y, layer, *given)
    assert not report.findings, str(report)
    if layer.way.kind.bits == 8 and n % 8 == 0:
        assert report.shared_conflicts == 0
    assert not turn.any()
    built = kernel.compile(arch, **constants)
    assert ("mma.sync.aligned.m16n8k32" in built.ptx) == (layer.way.kind.bits == 8)
    assert built.resources.spill_bytes == 0
    assert built.resources.shared_bytes <= forms.block_bytes(layer.recipe.asked(m), how)
    for wrong in (np.zeros((m, n)), rng.permutation(y.values().reshape(-1)).reshape(m, n), np.roll(y.values(), 1, axis=1)):
        with pytest.raises(AssertionError):
            check(wrong, layer, *given)


@pytest.mark.parametrize(("to", "m", "k", "step"), [("int8", 21, 528, 128), ("int8", 3, 96, 32), ("e4m3", 9, 300, 64)])
def test_sums_of_rows(to, m, k, step):
    """As PTX; exact, as few numbers of e4m3 have few bits."""
    x, _ = activations(np.random.default_rng(), m, k, to)
    found = np.full((-(-k // step), m), np.nan, np.float32)
    report = summing.simulate(x, found, arch="sm_89", A=tc.dtype(to), step=step)
    padded = np.pad(x.values().astype(np.float64), ((0, 0), (0, -k % step)))
    np.testing.assert_array_equal(found, padded.reshape(m, -1, step).sum(axis=2).T)
    assert not report.findings


def test_products_of_8_bits_are_of_what_the_weights_are():
    """By hand: twice e2m1's values are 0 to 12; e3m2's 1/16 to 28 are no integers of 8 bits, nf4's are no multiples; e4m3 has integers to 16."""

    def kind(name, to, group=32):
        found = way(tc.dtype(name), group, 256, tc.dtype(to))
        return str(found.kind), found.power

    assert [kind(name, "int8") for name in ("int6", "uint3", "e2m1", "e3m2", "nf4", "e5m2")] == [
        ("int8", 0), ("uint8", 0), ("int8", 1), ("f16", 0), ("f16", 0), ("f16", 0),
    ]  # fmt: skip
    assert [kind(name, "e4m3")[0] for name in ("int4", "uint3", "int5", "int8", "e3m2", "e5m2", "e6m1")] == [
        "float8_e4m3", "float8_e4m3", "f16", "f16", "float8_e4m3", "float8_e5m2", "bf16",
    ]  # fmt: skip
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


SPILLS = [  # weights, group, activations, zero points, M, N, K, architecture
    ("uint4", 32, "int8", "int", 64, 264, 640, "sm_90a"), ("e3m2", 32, "e4m3", None, 300, 264, 640, "sm_89"),
    ("uint8", 32, "int8", "int", 64, 260, 640, "sm_80"), ("int6", 128, "int8", None, 300, 264, 640, "sm_120a"),
    ("nf4", 64, "int8", None, 64, 264, 640, "sm_80"), ("int8", None, "int8", None, 300, 512, 640, "sm_80"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "group", "to", "zeros", "m", "n", "k", "arch"), SPILLS, ids=[f"{c[0]}-{c[2]}" for c in SPILLS])
def test_nothing_is_spilled(name, group, to, zeros, m, n, k, arch):
    """In the forms that are chosen."""
    layer = Linear8(quantize_linear(np.random.default_rng(0).standard_normal((n, k)), name, group, zeros=zeros), to=to)
    how = layer.recipe.form(m, OfNumpy(np.empty(0)))
    resources = layer.recipe.kernel(how).compile(arch, **layer.recipe.constants(how)).resources
    assert resources.spill_bytes == 0
    assert resources.shared_bytes <= forms.block_bytes(layer.recipe.asked(m), how)


COUNTED = [  # weights, group, activations, form, other instructions for each weight, or for each matrix instruction
    ("int8", None, "int8", Form(16, 128, 4, 3, 1), 0.45, None), ("int4", None, "int8", Form(16, 128, 4, 3, 1), 0.75, None),
    ("int4", 128, "int8", Form(16, 128, 4, 3, 1), 1.2, None), ("e2m1", None, "e4m3", Form(16, 128, 4, 3, 1), 1.0, None),
    ("int4", None, "int8", Form(8, 128, 4, 3, 1), 0.75, None), ("e4m3", None, "e4m3", Form(16, 128, 4, 3, 1), 0.55, None),
    ("int8", None, "int8", Form(128, 256, 8, 3, 1), None, 0.84), ("int8", None, "int8", Form(128, 128, 4, 3, 1), None, 0.96),
    ("int4", None, "int8", Form(128, 256, 8, 3, 1), None, 1.14), ("int4", None, "int8", Form(128, 128, 4, 3, 1), None, 1.27),
]  # fmt: skip


@pytest.mark.skipif(not tools.find("nvdisasm"), reason="there is no nvdisasm")
@pytest.mark.parametrize(("name", "group", "to", "how", "per_weight", "per_product"), COUNTED)
def test_machine_code(name, group, to, how, per_weight, per_product):
    """No conversions of sums, and few instructions for each weight, or, where rows are many, for each matrix instruction."""
    layer = Linear8(quantize_linear(np.ones((256, 1024)), name, group), to=to)
    built = layer.recipe.kernel(how).compile("sm_80" if to == "int8" else "sm_89", **layer.recipe.constants(how))
    issued = [i for i in disassemble(built.cubin).hot_loop().instructions if i.issued]
    products = sum(is_mma(i.opcode) for i in issued)
    weights = 128 * how.bn / (32 * how.warps)
    assert (len(issued) - products) / (weights if per_weight else products) <= (per_weight or per_product)
    assert not {i.name for i in issued} & {"I2F", "I2FP", "F2F", "LDL", "STL"}
    assert built.resources.spill_bytes == 0


def test_a_layer_is_a_kernel(tmp_path, capsys):
    """Compiled, simulated, run on its example at every stage, and named on the command line."""
    rng = np.random.default_rng()
    layer = Linear8(quantize_linear(rng.standard_normal((40, 256)), "uint4", 64, zeros="int"), rng.standard_normal(40), out="f32")
    x, rows = activations(rng, 12, 256, "int8")
    y, report = layer.simulate(tc.Tensor.from_codes(x.codes().reshape(3, 4, 256), "int8"), rows.reshape(3, 4))
    check(y.reshape(12, 40), layer, x, rows)
    assert report.findings == []
    assert layer.compile("sm_90a", rows=64).metadata["constants"]["group"] == 64
    source = "import numpy as np\nfrom tilec.kernels.eight import Linear8\nfrom tilec.quant import quantize_linear\n"
    (tmp_path / "layers.py").write_text(source + "up = Linear8(quantize_linear(np.random.default_rng(3).standard_normal((96, 256)), 'int4', 64))\n")
    assert main(["bisect", f"{tmp_path / 'layers.py'}:up"]) == 0, capsys.readouterr().err
    assert "all stages agree" in capsys.readouterr().out


def test_what_does_not_fit_is_refused():
    q = quantize_linear(np.ones((32, 64)), "int4", 32)
    for make, message in (
        (lambda: Linear8(q, to="f16"), "int8 or e4m3, not f16"), (lambda: Linear8(q, out="int8"), "f16, bf16 or f32, not int8"),
        (lambda: Linear8(np.ones((32, 64))), "a Quantized, not a ndarray"), (lambda: Linear8(q, np.ones(5)), "the bias has shape"),
        (lambda: Linear8(q)(*rows8(np.ones((3, 65)))), r"x has shape \[3, 65\], but the layer has 64 inputs"),
    ):  # fmt: skip
        with pytest.raises(tc.TileError, match=message):
            make()
