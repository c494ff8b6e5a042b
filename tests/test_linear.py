"""`tilec.kernels.linear` against float64, within the bound of `linear_cases`: in the interpreter and, a sample, as PTX in the simulator.

TILEC_LINEAR_CASES=20 tries 20 cases for each type in place of one.
"""

import json
import os

import numpy as np
import pytest
from linear_cases import SCALES, WEIGHTS, case, check, weight_type

import tilec as tc
from tilec import TileError, bf16, f16
from tilec.backend import tools
from tilec.backend.sass import disassemble, is_mma
from tilec.kernels import forms, linear
from tilec.kernels.eight import Linear8
from tilec.kernels.forms import Asked, Form, form
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


@pytest.mark.parametrize("name", WEIGHTS)
def test_few_rows(name):
    """Up to 8 rows the product is transposed; from 1024 inputs on its sum has parts."""
    rng = np.random.default_rng()
    k, to = int(rng.choice([1024, 1040, 96, 333])), (f16, bf16)[rng.integers(2)]
    c = case(rng, weight_type(name), to, int(rng.integers(1, 9)), int(rng.integers(1, 200)), k)
    layer = Linear(c.q, c.bias, to)
    assert form(layer.recipe.asked(c.x.shape[0])).bm == 8
    check(layer(c.given()), c)


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("group", [16, 15, 35, 64, 96, 128, 256, None])
def test_scales_of_every_type_and_size(group, scale):
    rng = np.random.default_rng()
    name, k = rng.choice(["int4", "uint3", "float4_e2m1", "float6_e3m2", "nf4"]), {15: 105, 35: 105, 96: 288}.get(group, 512)
    c = case(rng, weight_type(name), f16, int(rng.integers(1, 40)), 70, k, group=group, scale=scale)
    check(Linear(c.q, c.bias)(c.given()), c)


def test_zero_points_that_a_weight_less_it_is_no_number_are_subtracted():
    """2**40 - 1 is no number of bf16: such zero points cannot join the conversion."""
    rng = np.random.default_rng(83)
    c = case(rng, weight_type("float8_e7m0"), bf16, int(rng.integers(1, 9)), int(rng.integers(1, 60)), int(rng.choice([96, 333])))
    zeros = c.q.zero_values()
    assert (zeros == np.rint(zeros)).all()
    layer = Linear(c.q, c.bias, bf16)
    assert not layer.recipe.whole
    check(layer(c.given()), c)


@pytest.mark.parametrize("m", [4, 20])
def test_what_is_wrong_is_seen(m):
    """Zeros, other numbers of the same size, two rows exchanged, no bias, and one wrong weight: none of them is accepted."""
    rng = np.random.default_rng(m)  # fixed, as one wrong weight may weigh too little in few rows
    c = case(rng, weight_type("int4"), f16, m, 70, 512, group=128, zeros=None, order=True, bias=True, scale=tc.f16, two_level=None)
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
    ("uint4", f16, 16, 250, 384, Form(16, 256, 4, 3, 1), {"group": 128, "scale": tc.f16, "zeros": "int", "two_level": None}),
    ("uint8", bf16, 7, 96, 1024, Form(8, 128, 4, 3, 2), {"group": 256, "scale": bf16, "zeros": "int"}),
    ("uint4", bf16, 17, 96, 384, Form(32, 128, 4, 4, 1), {"group": 64, "zeros": "int"}),
    ("uint2", f16, 40, 70, 300, Form(64, 128, 4, 3, 2), {"group": 20, **ZEROS_OF_FLOAT}),
    ("float4_e2m1", f16, 1, 64, 256, Form(16, 128, 4, 4, 1), {"group": 16, "scale": tc.dtype("e4m3"), "two_level": "tensor"}),
    ("float6_e3m2", bf16, 9, 140, 384, Form(16, 128, 4, 4, 3), {"group": 128, "scale": tc.f32, "zeros": None}),
    ("float8_e5m2", f16, 7, 33, 200, Form(16, 128, 4, 4, 1), {"group": 40}),
    ("int8", bf16, 70, 100, 130, Form(64, 128, 4, 2, 1), {"group": 26, "scale": tc.dtype("e8m0")}),
    ("int1", f16, 2, 40, 272, Form(16, 128, 4, 4, 2), {"group": 272, "zeros": tc.f16}),
    ("int4", f16, 1, 300, 1040, Form(8, 256, 4, 4, 2), {"group": 104, "scale": tc.f16, "zeros": None}),
    ("uint4", f16, 4, 130, 520, Form(8, 128, 4, 4, 1), {"group": 104, "zeros": "int"}),
    ("uint4", f16, 5, 136, 384, Form(8, 128, 4, 3, 2), {"group": 32, "scale": tc.f16, "zeros": "int", "two_level": None}),
    ("uint7", bf16, 13, 264, 300, Form(16, 256, 4, 2, 1), {"group": 64, "scale": bf16, "zeros": "int", "two_level": None}),
    ("nf4", f16, 3, 200, 384, Form(8, 256, 4, 3, 1), {"group": 64, "scale": tc.f16, "zeros": None, "two_level": None}),
    ("float6_e3m2", bf16, 3, 96, 1536, Form(8, 128, 4, 6, 3), {"group": 128, "scale": tc.f32, "zeros": None}),
    ("nf4", f16, 8, 64, 300, Form(8, 128, 4, 3, 1), {"group": 20, "zeros": tc.f32}),
    ("int3", bf16, 7, 72, 256, Form(8, 128, 4, 2, 1), {"group": 16, "scale": tc.bf16}),
    ("int1", f16, 2, 256, 1152, Form(8, 256, 4, 8, 1), {"group": None, "zeros": None}),
]


@pytest.mark.parametrize(("name", "to", "m", "n", "k", "how", "wished"), SAMPLE, ids=lambda v: v if isinstance(v, str) else "")
def test_a_sample_as_ptx(name, to, m, n, k, how, wished):
    """No finding, and no bank conflict."""
    c = case(np.random.default_rng(), weight_type(name), to, m, n, k, **wished)
    layer = Linear(c.q, c.bias, to)
    x, y = OfNumpy(c.given()).rows(c.given(), layer.arrays.get("order")), tc.Tensor.from_values(np.full((m, n), np.nan), to)
    kernel, args, constants = call(x, y, layer.arrays, layer.recipe, OfNumpy(c.given()), how)
    args = [np.full_like(a, 777) if a is args[7] else a for a in args]  # `work` needs no zeros
    report = kernel.simulate(*args, arch="sm_90a" if how.bm == 8 else "sm_80", **constants)
    check(y, c)
    assert report.findings == [], str(report)
    assert report.shared_conflicts == 0
    assert not args[8].any()  # `turn` is as it was


@pytest.mark.parametrize(
    ("m", "how"),
    [(8, Form(8, 128, 4, 4, 1)), (5, Form(8, 256, 4, 4, 2)), (1, Form(8, 128, 4, 4, 3)), (16, Form(16, 128, 4, 4, 2)), (60, Form(64, 128, 8, 3, 1))],
)
def test_sectors_are_read_and_written_whole(m, how):
    c = case(np.random.default_rng(), weight_type("int4"), f16, m, 272, 1024, group=128, scale=f16, zeros=None, order=None)
    layer, y = Linear(c.q, c.bias), np.full((m, 272), np.nan, np.float16)
    kernel, args, constants = call(c.given(), y, layer.arrays, layer.recipe, OfNumpy(c.given()), how)
    report = kernel.simulate(*args, **constants)
    check(y, c)
    assert (report.findings, report.global_efficiency, report.shared_conflicts) == ([], 1.0, 0)


SHAPES = [  # type, computed in, group, zero points, of which type scales are
    ("int4", f16, 128, None, "f16"), ("uint4", f16, 16, "int", "f16"), ("nf4", f16, 16, "f32", "f16"), ("int3", bf16, 128, None, "f32"),
    ("float8_e4m3", bf16, 32, None, "bf16"), ("int1", f16, None, None, "f16"), ("uint4", bf16, 128, "f32", "f32"), ("uint7", f16, 64, "int", "f16"),
    ("uint4", bf16, 32, "int", "bf16"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "to", "group", "zeros", "scale"), SHAPES, ids=lambda v: str(v))
@pytest.mark.parametrize("arch", ["sm_80", "sm_89", "sm_90a", "sm_120a"])
def test_nothing_is_spilled(name, to, group, zeros, scale, arch):
    """In the forms that are chosen, whatever the number of rows; on each architecture others."""
    rng = np.random.default_rng()
    m, outputs, inputs = {"sm_80": (1, 264, 512), "sm_89": (64, 260, 640), "sm_90a": (16, 260, 512), "sm_120a": (300, 264, 640)}[arch]
    zeros = tc.dtype(zeros) if zeros == "f32" else zeros
    c = case(rng, weight_type(name), to, 1, outputs, inputs, group=group, zeros=zeros, scale=tc.dtype(scale))
    layer = Linear(c.q, c.bias, to)
    how = form(layer.recipe.asked(m))
    resources = kernel_of(how.warps).compile(arch, **layer.recipe.constants(how)).resources
    assert resources.spill_bytes == 0
    assert resources.shared_bytes <= forms.block_bytes(layer.recipe.asked(m), how)


# where scales go


@pytest.mark.parametrize("m", [3, 16, 64])
@pytest.mark.parametrize(("group", "rows"), [(128, 32), (64, 16), (32, 8)])
def test_zero_points(m, group, rows):
    """On sums, in tiles of no more rows than a quarter of a group; on each weight, in others: right either way."""
    rng = np.random.default_rng()
    c = case(rng, weight_type(rng.choice(["uint4", "uint3", "uint7", "uint8", "int4"])), f16, m, 100, 512, group=group, scale=f16, zeros="int", two_level=None)
    layer = Linear(c.q, c.bias)
    how = form(layer.recipe.asked(m))
    assert layer.recipe.constants(how)["on"] == (SUMS if how.bm <= rows else EACH)
    assert f"in tiles of up to {rows} rows on {SUMS}" in layer.explain()
    check(layer(c.given()), c)


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
    """Few rows share the sum over K among blocks, in parts of four rounds at least; many rows do not, where they fill a GPU without. Every form fits."""
    for bits, group, sums, shared in ((1, 128, False, 227 << 10), (4, 16, False, 99 << 10), (8, 64, False, 163 << 10), (4, 128, True, 99 << 10)):
        for m, n, k in ((1, 8192, 8192), (8, 8192, 57344), (16, 1024, 28672), (40, 512, 512), (200, 4096, 1000), (4096, 8192, 8192), (3, 5, 7)):
            asked = Asked(m, n, k, bits, group, sums, 132, shared)
            how = form(asked)
            assert how.bm >= min(m, 8)
            assert (how.bm == 8) == (m <= 8)
            assert k / 128 / how.splits >= 4 or how.splits == 1
            assert how.stages <= -(-k // 128)
            assert forms.block_bytes(asked, how) <= shared
    assert len({form(Asked(m, 8192, 8192, 4)) for m in range(1, 300)}) <= 7  # each is compiled
    assert form(Asked(1, 1024, 28672, 4)).splits > 1
    assert form(Asked(4096, 8192, 8192, 4)).splits == 1
    assert form(Asked(4096, 8192, 8192, 4)).bm == 128


def test_explain_tells_forms(tmp_path, monkeypatch):
    """Those that were measured as such: nothing else than the table decides."""
    layer = Linear(quantize_linear(np.random.default_rng().standard_normal((256, 2048)), "int4", 128))
    text = layer.explain((1, 40))
    assert "scales on each weight" in text
    assert "1 rows: tiles of 8 x " in text
    assert "transposed" in text
    assert text.count("reckoned, bound by ") == 2
    assert layer.explain(40).splitlines() == [text.splitlines()[i] for i in (0, 2)]
    assert Linear8(layer.weight).explain(rows=16).count(" 16 rows: ") == 1
    path = tmp_path / "forms.json"
    path.write_text(json.dumps({layer.recipe.asked(1).key: [8, 128, 4, 5, 3]}))
    for module in (forms, linear):
        monkeypatch.setattr(module, "MEASURED", path)
    assert "1 rows: tiles of 8 x 128, transposed, 4 warps, 5 stages, K in 3 parts (measured)" in layer.explain((1, 40))


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
