"""`tilec.kernels.linear` against float64, within the bound of `linear_cases`: in the interpreter and, a sample, as PTX in the simulator.

TILEC_LINEAR_CASES=20 tries 20 cases for each type in place of one.
"""

import os

import numpy as np
import pytest
from linear_cases import SCALES, WEIGHTS, case, check, weight_type

import tilec as tc
from tilec import TileError, bf16, f16
from tilec.backend import tools
from tilec.backend.sass import disassemble, is_mma
from tilec.kernels.forms import Form, form
from tilec.kernels.libraries import OfNumpy
from tilec.kernels.linear import Linear, call, kernel_of
from tilec.kernels.plan import CHANNELS, EACH, SUMS
from tilec.quant import Quantized, quantize_linear

ROUNDS = int(os.environ.get("TILEC_LINEAR_CASES", 1))
EVERY = [pytest.param(name, to, n, id=f"{name}-{to}-{n}") for name in WEIGHTS for to in (f16, bf16) for n in range(ROUNDS)]


def random_shape(rng):
    """M from 1 to 300, small ones as often as large ones; N and K of any kind."""
    m = int(2 ** rng.uniform(0, np.log2(301)))
    k = int(rng.choice([rng.integers(16, 400), 8 * rng.integers(2, 50), 48 * rng.integers(1, 12), 105 * rng.integers(1, 5)]))
    return m, int(rng.integers(1, 200)), k


@pytest.mark.parametrize(("name", "to", "n"), EVERY)
def test_random_layers(name, to, n):
    rng = np.random.default_rng()
    c = case(rng, weight_type(name), to, *random_shape(rng))
    check(Linear(c.q, c.bias, to)(c.given()), c)


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("group", [16, 15, 35, 64, 96, 128, 256, None])
def test_scales_of_every_type_and_size(group, scale):
    rng = np.random.default_rng()
    name, k = rng.choice(["int4", "uint3", "float4_e2m1", "float6_e3m2", "nf4"]), {15: 105, 35: 105, 96: 288}.get(group, 512)
    c = case(rng, weight_type(name), f16, int(rng.integers(1, 40)), 70, k, group=group, scale=scale)
    check(Linear(c.q, c.bias)(c.given()), c)


def test_what_is_wrong_is_seen():
    """Zeros, other numbers of the same size, two rows exchanged, no bias, and one wrong weight: none of them is accepted."""
    rng = np.random.default_rng()
    c = case(rng, weight_type("int4"), f16, 20, 70, 512, group=128, zeros=None, order=True, bias=True, scale=tc.f16, two_level=None)
    y = Linear(c.q, c.bias)(c.given())
    check(y, c)
    codes = c.q.codes.codes()
    scales = c.q.scales.values()
    at = next(iter(np.argwhere((np.repeat(np.abs(scales), 128, axis=1) > 0.1) & (codes == 3))))
    codes[tuple(at)] = 4
    changed = Quantized(tc.Tensor.from_codes(codes, c.q.dtype), c.q.scales, order=c.q.order)
    unordered = Quantized(c.q.codes, c.q.scales)
    for wrong in (
        np.zeros_like(y), rng.permutation(y.reshape(-1)).reshape(y.shape), y[::-1], Linear(c.q)(c.given()), Linear(unordered, c.bias)(c.given()),
        Linear(changed, c.bias)(c.given()), np.where(np.arange(70) == 9, np.nan, y),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match="times the bound"):
            check(wrong, c)


# as PTX

ZEROS_OF_FLOAT = {"zeros": tc.f32, "scale": tc.f16}
SAMPLE = [  # type, computed in, M, N, K, form, what is wished
    ("int4", f16, 5, 200, 520, Form(16, 128, 4, 4, 1), {"group": 104, "scale": tc.f16}),
    ("int4", f16, 16, 130, 1024, Form(16, 128, 4, 4, 3), {"group": 128, "scale": tc.f16, "zeros": None}),
    ("nf4", f16, 3, 128, 1024, Form(16, 128, 4, 4, 2), {"group": 1024}),
    ("uint4", bf16, 17, 96, 384, Form(32, 128, 4, 4, 1), {"group": 64, "zeros": "int"}),
    ("uint2", f16, 40, 70, 300, Form(64, 128, 4, 3, 2), {"group": 20, **ZEROS_OF_FLOAT}),
    ("float4_e2m1", f16, 1, 64, 256, Form(16, 128, 4, 4, 1), {"group": 16, "scale": tc.dtype("e4m3"), "two_level": "tensor"}),
    ("float6_e3m2", bf16, 9, 140, 384, Form(16, 128, 4, 4, 3), {"group": 128, "scale": tc.f32, "zeros": None}),
    ("float8_e5m2", f16, 7, 33, 200, Form(16, 128, 4, 4, 1), {"group": 40}),
    ("int8", bf16, 70, 100, 130, Form(64, 128, 4, 2, 1), {"group": 26, "scale": tc.dtype("e8m0")}),
    ("int1", f16, 2, 40, 272, Form(16, 128, 4, 4, 2), {"group": 272, "zeros": tc.f16}),
]


@pytest.mark.parametrize(("name", "to", "m", "n", "k", "how", "wished"), SAMPLE, ids=lambda v: v if isinstance(v, str) else "")
def test_a_sample_as_ptx(name, to, m, n, k, how, wished):
    """No finding, and no bank conflict in the loop. (The sums of a block that is not the last lie in memory row by row; with several parts of K the
    exchange at the end, once for a block, may take two passes where one is ideal.)"""
    c = case(np.random.default_rng(), weight_type(name), to, m, n, k, **wished)
    layer = Linear(c.q, c.bias, to)
    x, y = OfNumpy(c.given()).rows(c.given(), layer.arrays.get("order")), tc.Tensor.from_values(np.full((m, n), np.nan), to)
    kernel, args, constants = call(x, y, layer.arrays, layer.recipe, OfNumpy(c.given()), how)
    args = [np.full_like(a, 777) if a is args[7] else a for a in args]  # `work` needs no zeros
    report = kernel.simulate(*args, **constants)
    check(y, c)
    assert report.findings == [], str(report)
    last = max(cost.site.ptx_line for cost in report.costs if cost.mma)
    assert [str(cost.site) for cost in report.costs if cost.space == "shared" and cost.ways > cost.ideal_ways and cost.site.ptx_line <= last] == []
    assert how.splits > 1 or report.shared_conflicts == 0
    assert not args[8].any()  # `turn` is as it was


# where scales go


@pytest.mark.parametrize(
    ("name", "to", "options", "on", "below"),
    [
        ("int4", f16, {"group": 128}, EACH, 2.0**-8),
        ("uint4", f16, {"group": 128, "zeros": "int"}, EACH, 2.0),
        ("float4_e2m1", f16, {"group": 16, "scale_dtype": "e4m3", "two_level": "tensor"}, EACH, 2.0),
        ("int4", bf16, {"group": 128, "scale_dtype": "f16"}, SUMS, None),
        ("int4", bf16, {"group": 128, "scale_dtype": "bf16"}, EACH, 2.0**-8),
        ("int4", f16, {"group": 256, "scale_dtype": "f32"}, SUMS, None),
        ("float6_e3m2", f16, {"group": None, "scale_dtype": "f32"}, CHANNELS, None),
    ],
)
def test_where_scales_go(name, to, options, on, below):
    layer = Linear(quantize_linear(np.random.default_rng().standard_normal((32, 512)), name, **options), to=to)
    assert layer.plan.on == on
    assert below is None or layer.plan.below == below
    assert f"scales on {on}" in layer.explain()


def test_forms():
    """Few rows share the sum over K among blocks until every multiprocessor has two; many rows do not."""
    for m, n, k in ((1, 8192, 8192), (16, 1024, 28672), (40, 512, 512)):
        how = form(m, n, k, 4)
        assert how.bm >= min(m, 128)
        assert -(-n // how.bn) * -(-m // how.bm) * how.splits <= 2 * 108 or how.splits == 1
        assert k / 128 / how.splits >= 4 or how.splits == 1
    assert form(4096, 8192, 8192, 4).splits == 1


@pytest.mark.skipif(not tools.find("nvdisasm"), reason="there is no nvdisasm")
@pytest.mark.parametrize(("how", "most"), [(Form(32, 128, 4, 4, 1), 3.8), (Form(64, 128, 4, 3, 1), 2.4), (Form(128, 256, 8, 2, 1), 1.4)])
def test_a_weight_is_converted_once_for_all_rows_of_a_tile(how, most):
    """Other instructions for each matrix instruction of the loop: warps that hold the same columns would convert their weights again."""
    layer = Linear(quantize_linear(np.ones((256, 256)), "int4", 128))
    built = kernel_of(how.warps).compile("sm_80", **layer.recipe.constants(how))
    issued = [i for i in disassemble(built.cubin).hot_loop().instructions if i.issued]
    products = sum(is_mma(i.opcode) for i in issued)
    assert (len(issued) - products) / products <= most
    assert built.resources.spill_bytes == 0


# use


def test_leading_axes_and_no_rows():
    rng = np.random.default_rng()
    c = case(rng, weight_type("int5"), f16, 6, 20, 64)
    layer = Linear(c.q, c.bias)
    y = layer(c.given())
    np.testing.assert_array_equal(layer(c.given().reshape(2, 3, 64)), y.reshape(2, 3, 20))
    np.testing.assert_array_equal(layer(c.given()[4]), y[4])
    assert layer(c.given()[:0]).shape == (0, 20)


def test_results_repeat_whatever_was_computed_before():
    """The workspace of one product serves the next, of another size."""
    rng = np.random.default_rng()
    c = case(rng, weight_type("int4"), f16, 40, 100, 2048, group=128)
    layer = Linear(c.q, c.bias)
    first = layer(c.given())
    layer(c.given()[:3])
    np.testing.assert_array_equal(layer(c.given()), first)


def test_what_is_refused():
    q = quantize_linear(np.random.default_rng().standard_normal((8, 64)), "int4", 32)
    with pytest.raises(TileError, match=r"x has shape \[3, 63\], but the layer has 64 inputs"):
        Linear(q)(np.zeros((3, 63), np.float16))
    with pytest.raises(TileError, match="activations are f16 or bf16, not f32"):
        Linear(q, to=tc.f32)
    with pytest.raises(TileError, match=r"the bias has shape \(7,\), but there are 8 outputs"):
        Linear(q, np.zeros(7))
    with pytest.raises(TileError, match="x is an array of NumPy or PyTorch, not a list"):
        Linear(q)([1.0])
    with pytest.raises(TileError, match="x is f32, but the layer computes in f16"):
        Linear(q)(np.zeros((3, 64), np.float32))
