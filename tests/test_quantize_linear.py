"""Quantizing the weight of a linear layer, against its formulas spelled out group by group, and against optima known by theory."""

import ml_dtypes
import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir import dtypes as D
from tilec.quant import gptq, optimal_codebook, quantize, quantize_linear

N, K = 24, 256


@pytest.fixture(autouse=True)
def own_types(monkeypatch):
    """Codebooks that a test makes are known to it alone."""
    monkeypatch.setattr(D, "_by_name", dict(D._by_name))


@pytest.fixture
def rng():
    return np.random.default_rng()


@pytest.fixture
def w(rng):
    return rng.standard_normal((N, K)) * rng.uniform(0.01, 0.1, (N, 1))


def relative(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def f16(x):
    return float(np.float16(x))


@pytest.mark.parametrize("group", [16, 64, K])
def test_asymmetric_integers_as_awq_and_gptq_have_them(w, group):
    """scale = (max - min) / 15 with a range that holds 0, zero = round(-min / scale), code = round(w / scale) + zero, all clipped to 0..15."""
    w[0, :16] = np.abs(w[0, :16]) + 1  # a group without a zero in its range
    q = quantize_linear(w, "uint4", group, zeros="int")
    assert (q.scales.dtype, q.zeros.dtype, q.group) == (D.f16, D.uint4, group)
    codes, scales, zeros = q.codes.values(), q.scales.values(), q.zeros.values()
    for n in range(N):
        for g in range(K // group):
            part = w[n, g * group : (g + 1) * group]
            low, high = min(part.min(), 0), max(part.max(), 0)
            assert scales[n, g] == f16((high - low) / 15)
            assert zeros[n, g] == np.clip(round(-low / scales[n, g]), 0, 15)
            expected = np.clip(np.rint(part / scales[n, g] + zeros[n, g]), 0, 15)
            np.testing.assert_array_equal(codes[n, g * group : (g + 1) * group], expected)


def test_float_zero_points_fit_the_range(w):
    w += 0.3  # far from 0
    q = quantize_linear(w, "uint3", 32, zeros="float")
    groups = w.reshape(N, -1, 32)
    low, high = groups.min(-1), groups.max(-1)
    scales = ((high - low) / 7).astype(np.float16).astype(float)
    np.testing.assert_array_equal(q.scales.values(), scales)
    np.testing.assert_array_equal(q.zeros.values(), (-low / scales).astype(np.float16).astype(float))
    # half a step, what rounding the scale leaves out, and the rounding of the zero point: 2**-11 of low / scale, in steps
    bound = scales / 2 + (high - low) * 2.0**-10 + np.abs(low) * 2.0**-10
    assert (np.abs(q.dequantize() - w).reshape(groups.shape).max(-1) <= bound).all()
    constant = quantize_linear(np.full((2, 32), 0.7), "uint4", 16, zeros="float")
    assert np.abs(constant.dequantize() - 0.7).max() < 0.7 * 2**-10
    assert quantize_linear(w, "int4", 32, zeros="float", scale_dtype="bf16").zeros.dtype == D.bf16
    assert quantize_linear(w, "e2m1", 32, zeros="float", scale_dtype="e8m0").zeros.dtype == D.f16


def test_one_meaning_with_quantize(w):
    for dtype, zero in (("int5", None), ("e3m2", None), ("nf4", None), ("uint4", 8), ("int1", -0.5)):
        codes, scales = quantize(w.T, dtype, group=32, zero=zero or 0)
        q = quantize_linear(w, dtype, 32, zeros=zero)
        np.testing.assert_array_equal(q.codes.codes(), codes.codes().T)
        np.testing.assert_array_equal(q.scales.values(), scales.values().T)
        assert q.zeros is None if zero is None else q.zeros.values().tolist() == [[zero]]
    for method in ("nearest", "clip"):
        codes, scales = quantize(w.reshape(N, 2, 128), "int4", group=3, axis=0, method=method)
        q = quantize_linear(w.T, "int4", 3, method=method)
        np.testing.assert_array_equal(codes.codes().reshape(N, K), q.codes.codes().T)
        np.testing.assert_array_equal(scales.values().reshape(-1, K), q.scales.values().T)
    with pytest.raises(TileError, match="there is no method 'best'"):
        quantize(w, "int4", method="best")


def test_one_scale_for_all(w):
    q = quantize_linear(w, "int4", "tensor")
    scale = f16(np.abs(w).max() / 7)
    assert q.scales.values().tolist() == [[scale]]
    np.testing.assert_array_equal(q.codes.values(), np.clip(np.rint(w / scale), -8, 7))
    assert relative(quantize_linear(w, "int4", "tensor", method="clip").dequantize(), w) < relative(q.dequantize(), w)


def test_nvfp4_and_mxfp4(w):
    """NVFP4: scale2 = max |w| / (448 * 6), e4m3 scales for 16. MX: a power of two for 32."""
    w[3, :16] = 0
    q = quantize_linear(w, "e2m1", 16, scale_dtype="e4m3", two_level="tensor")
    second = np.float32(np.abs(w).max() / 6 / 448)
    assert q.scale2.values().tolist() == [[second]]
    wanted = np.abs(w).reshape(N, -1, 16).max(-1) / 6 / float(second)
    wanted[3, 0] = 1  # nothing but zeros
    stored = np.maximum(wanted, 2.0**-6).astype(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(q.scales.codes(), stored.view(np.uint8))
    effective = np.repeat(stored.astype(float) * float(second), 16, axis=1)
    expected = np.clip(w / effective, -6, 6).astype(ml_dtypes.float4_e2m1fn).astype(float)
    np.testing.assert_array_equal(q.codes.values(), expected)
    rows = quantize_linear(w, "e2m1", 16, scale_dtype="e4m3", two_level="channel")
    np.testing.assert_array_equal(rows.scale2.values(), (np.abs(w).max(1, keepdims=True) / 6 / 448).astype(np.float32))
    assert quantize_linear(w, "int4", 16, two_level="channel").scales.values().max() == 1.0
    mx = quantize_linear(w, "e2m1", 32, scale_dtype="e8m0")
    np.testing.assert_array_equal(mx.scales.values()[5:], (np.abs(w).reshape(N, -1, 32).max(-1) / 6).astype(ml_dtypes.float8_e8m0fnu).astype(float)[5:])


FORMS = [
    ("int4", None, {}), ("uint4", "int", {}), ("uint3", "float", {}), ("uint2", 1.5, {}), ("e2m1", None, {}), ("nf4", None, {}),
    ("e2m1", None, {"scale_dtype": "e8m0"}), ("e2m1", None, {"scale_dtype": "e4m3", "two_level": "tensor"}), ("e4m3", None, {}), ("int8", None, {}),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "zeros", "rest"), FORMS, ids=str)
def test_the_search_is_never_worse(w, rng, dtype, zeros, rest):
    importance = rng.exponential(size=K)
    plain = quantize_linear(w, dtype, 32, zeros=zeros, **rest).dequantize()
    found = quantize_linear(w, dtype, 32, zeros=zeros, method="clip", importance=importance, **rest).dequantize()
    errors = [((x - w) ** 2 * importance).reshape(N, -1, 32).sum(-1) for x in (plain, found)]
    assert (errors[1] <= errors[0] * (1 + 1e-12)).all()
    assert errors[1].sum() < errors[0].sum()


@pytest.mark.parametrize("dtype", ["int2", "int4", "e2m1"])
def test_the_search_is_near_the_best_scale(rng, dtype):
    """All scales, densely: no group is far from its optimum, and all together are close to it."""
    w = rng.standard_normal((50, 32))
    q = quantize_linear(w, dtype, scale_dtype="f32", method="clip")
    error = ((q.dequantize() - w) ** 2).sum(1)
    kind, best = D.dtype(dtype), np.full(50, np.inf)
    for scale in np.linspace(0.2, 1.6, 2000):
        tried = np.abs(w).max(1, keepdims=True) / kind.max * scale
        best = np.minimum(best, ((kind.decode(kind.encode(w / tried)) * tried - w) ** 2).sum(1))
    assert error.sum() <= 1.03 * best.sum()
    assert (error <= 2 * best).all()  # of 100,000 random groups the worst was 1.5


def test_the_search_of_one_bit_is_known(rng):
    """Values +-s/2: the best s/2 is the mean magnitude, weighted."""
    w, importance = rng.standard_normal((10, 64)), rng.uniform(0.5, 2, 64)
    q = quantize_linear(w, "uint1", scale_dtype="f32", zeros=0.5, method="clip", importance=importance)
    np.testing.assert_allclose(q.scales.values()[:, 0] / 2, (np.abs(w) * importance).sum(1) / importance.sum(), rtol=1e-6)
    np.testing.assert_array_equal(q.codes.values(), w > 0)


def test_inputs_without_importance_do_not_count(rng):
    w = rng.integers(-7, 8, (4, 32)) / 8.0
    w[:, 0], w[:, 1:3] = 50.0, 0.875  # one outlier, whose input is nothing
    q = quantize_linear(w, "int4", method="clip", importance=[0.0] + [1.0] * 31)
    np.testing.assert_allclose(q.dequantize()[:, 1:], w[:, 1:], rtol=2e-3)
    nothing = quantize_linear(w, "int4", method="clip", importance=np.zeros(32))
    np.testing.assert_array_equal(nothing.scales.values(), quantize_linear(w, "int4").scales.values())


def test_act_order_groups_by_importance(w, rng):
    importance = rng.permutation(K).astype(float)
    q = quantize_linear(w, "int4", 32, importance=importance, act_order=True)
    np.testing.assert_array_equal(importance[q.order], np.arange(K)[::-1])
    plain = quantize_linear(w[:, q.order], "int4", 32)
    np.testing.assert_array_equal(q.codes.codes(), plain.codes.codes())
    np.testing.assert_array_equal(q.dequantize()[:, q.order], plain.dequantize())


# error feedback


def inputs(rng, count=600):
    """Activations whose channels hang together, some much larger than others."""
    mixing = np.eye(K) + rng.standard_normal((K, K)) / K**0.5
    return rng.standard_normal((count, K)) @ mixing * np.exp(rng.standard_normal(K) / 2)


def test_feedback_without_correlation_changes_nothing(w, rng):
    hessian = np.diag(rng.uniform(1, 2, K))
    for rest in ({"zeros": "int"}, {"method": "clip", "importance": np.ones(K)}):
        a, b = quantize_linear(w, "uint4", 32, **({"zeros": "int"} | rest)), quantize_linear(w, "uint4", 32, hessian=hessian, **({"zeros": "int"} | rest))
        np.testing.assert_array_equal(a.codes.codes(), b.codes.codes())
        np.testing.assert_array_equal(a.scales.values(), b.scales.values())


@pytest.mark.parametrize("group", [4, 12, 36, "tensor"])
def test_feedback_by_the_definition(rng, group, monkeypatch):
    """After each column the others take the values that are best for the error made: by the inverse of what is left of the Hessian, made anew each time."""
    monkeypatch.setattr(gptq, "BLOCK", 16)
    columns = 36  # more than a block, and groups that do not divide one
    w = rng.standard_normal((5, columns))
    x = rng.standard_normal((400, columns)) @ (np.eye(columns) + rng.standard_normal((columns, columns)) / columns**0.5)
    hessian = x.T @ x
    damped = hessian + np.eye(columns) * np.diagonal(hessian).mean() * 0.01
    rest, expected, size = w.copy(), np.zeros_like(w), columns if group == "tensor" else group
    scale = np.full(5, f16(np.abs(w).max() / 7))
    for j in range(columns):
        if group != "tensor" and j % size == 0:
            scale = (np.abs(rest[:, j : j + size]).max(1) / 7).astype(np.float16).astype(float)
        expected[:, j] = np.clip(np.rint(rest[:, j] / scale), -8, 7)
        error = rest[:, j] - expected[:, j] * scale
        inverse = np.linalg.inv(damped[j:, j:])
        rest[:, j:] -= np.outer(error, inverse[0] / inverse[0, 0])
    q = quantize_linear(w, "int4", group, hessian=hessian)
    np.testing.assert_array_equal(q.codes.values(), expected)


def test_feedback_lowers_the_error_of_the_outputs(w, rng):
    x = inputs(rng)
    y = x @ w.T
    errors = [
        relative(x @ quantize_linear(w, "uint3", 64, zeros="int", **rest).dequantize().T, y)
        for rest in ({}, {"hessian": x.T @ x}, {"hessian": x.T @ x, "act_order": True, "method": "clip"})
    ]
    assert errors[1] < 0.9 * errors[0]
    assert errors[2] < 0.9 * errors[0]


def test_unused_inputs_are_zero(w, rng):
    x = inputs(rng)
    x[:, 7] = 0
    q = quantize_linear(w, "int4", 64, hessian=x.T @ x)
    assert not q.dequantize()[:, 7].any()
    assert relative(x @ q.dequantize().T, x @ w.T) < 0.15


# codebooks


@pytest.mark.parametrize(("entries", "distortion"), [(2, 0.3634), (4, 0.1175), (8, 0.03454), (16, 0.009497), (5, 0.07994)])
def test_codebooks_reach_the_optimum_for_normal_weights(entries, distortion):
    """Max's table of least mean squared errors for a normal distribution (J. Max, IRE Trans. Inf. Theory 6, 1960, table I)."""
    w = np.random.default_rng(3).standard_normal((16, 20000))
    made = optimal_codebook(w, entries, method="clip")
    q = quantize_linear(w, made, scale_dtype="f32", method="clip")
    assert np.mean((q.dequantize() - w) ** 2) == pytest.approx(distortion, rel=0.02)
    assert made.bits == (entries - 1).bit_length()


def test_codebooks_meet_the_conditions(w):
    """Every entry but the largest, which is held at 1, is the mean of what goes to it, each weight counting by its scale's square."""
    made = optimal_codebook(w, 16, 64)
    groups = w.reshape(-1, 64)
    scales = np.abs(groups).max(1, keepdims=True)
    x, weighting = groups / scales, np.broadcast_to(scales**2, groups.shape)
    nearest = np.abs(x[..., None] - np.array(made.entries)).argmin(-1)
    means = [np.average(x[nearest == c], weights=weighting[nearest == c]) for c in range(16)]
    np.testing.assert_allclose(means[:-1], made.entries[:-1], atol=2e-3)
    assert made.max == 1.0
    errors = [relative(quantize_linear(w, kind, 64).dequantize(), w) for kind in (made, "nf4", "int4", "e2m1")]
    assert errors[0] == min(errors)


def test_codebooks_of_odd_sizes_and_few_values(w):
    made = optimal_codebook(w, 3, 64, name="three_of_a_test")
    assert (D.dtype("three_of_a_test"), made.bits, len(set(made.entries))) == (made, 2, 4)
    assert made.max - sorted(made.entries)[-2] < 2**-10  # the fourth is no more than the largest again
    assert optimal_codebook(w, 3, 64).entries == made.entries
    few = optimal_codebook(np.tile([[1.0, -1.0, 0.5, 0.0]], (3, 4)), 16)
    assert relative(quantize_linear([[1.0, -1.0, 0.5, 0.0]], few).dequantize(), [[1.0, -1.0, 0.5, 0.0]]) < 1e-3
    assert optimal_codebook(w, 256, 64).bits == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"group": 48}, "groups of 48 do not divide the 256 columns"),
        ({"group": "channel"}, "groups of 'channel'"),
        ({"dtype": "uint4"}, "uint4 has no negative values, and the weights do"),
        ({"dtype": "int1"}, "int1 has no positive values, and the weights do"),
        ({"dtype": "e2m1", "zeros": "int"}, "integer zero points go with integer codes"),
        ({"zeros": "codes"}, 'zeros are "int", "float", a number or None'),
        ({"zeros": float("nan")}, 'zeros are "int", "float", a number or None'),
        ({"scale_dtype": "e5m2"}, "scales are f16, bf16, f32, float8_e8m0, float8_e4m3, not float8_e5m2"),
        ({"method": "gptq"}, "there is no method 'gptq'"),
        ({"two_level": "row"}, 'two_level is "tensor", "channel" or None'),
        ({"two_level": "tensor", "group": "tensor"}, "has no second level"),
        ({"act_order": True}, "act_order sorts by importance"),
        ({"importance": np.ones(3)}, "one number for each of 256 inputs"),
        ({"importance": -np.ones(K)}, "not negative"),
        ({"hessian": np.eye(3)}, r"is \[256, 256\]"),
        ({"hessian": -np.eye(K)}, "not positive semidefinite|not negative"),
        ({"hessian": np.triu(np.ones((K, K)))}, "symmetric"),
        ({"dtype": "f16"}, "codes are of a type of 1 to 8 bits"),
        ({"dtype": "e8m0"}, "codes are of a type of 1 to 8 bits"),
    ],
)
def test_wrong_wishes(w, arguments, words):
    with pytest.raises(TileError, match=words):
        quantize_linear(w, **({"dtype": "int4"} | arguments))


def test_wrong_weights():
    for bad, words in (([1.0], "got shape"), ([[np.inf]], "finite"), (np.zeros((0, 4)), "got shape")):
        with pytest.raises(TileError, match=words):
            quantize_linear(bad, "int4")
    with pytest.raises(TileError, match="2 to 256 entries"):
        optimal_codebook([[1.0]], 300)
    with pytest.raises(TileError, match="all 0"):
        optimal_codebook([[0.0]], 4)
    with pytest.raises(TileError, match="semidefinite"):
        quantize_linear([[1.0, 2.0]], "int4", hessian=[[1.0, 3.0], [3.0, 1.0]])


@pytest.mark.parametrize(("scales", "largest"), [("f16", 65504.0), ("e4m3", 448.0), ("bf16", float(ml_dtypes.finfo("bfloat16").max)), ("e8m0", 2.0**127)])
@pytest.mark.parametrize("method", ["nearest", "clip"])
def test_scales_that_overflow_their_type_are_refused(scales, largest, method):
    """int4 reaches 7: the scale is a seventh of the largest weight. Halfway to what would be the type's next number it still rounds to the largest."""
    w = np.random.default_rng().uniform(-0.1, 0.1, (4, 32))
    w[2, 5] = 1.0
    fits, beyond = w * (7 * largest), w * (7 * largest * (1.25 if scales != "e8m0" else 1.75))
    assert quantize_linear(fits, "int4", 16, scale_dtype=scales).scales.values().max() == largest
    with pytest.raises(TileError, match=r"a scale would be .*, but \w+ ends at (.|\n)*two_level") as told:
        quantize_linear(beyond, "int4", 16, scale_dtype=scales, method=method)
    assert told.value.loc.file == __file__
    with pytest.raises(TileError, match="a scale would be"):
        quantize_linear(beyond, "int4", 16, scale_dtype=scales, hessian=np.eye(32))
    if scales in ("f16", "e4m3"):
        q = quantize_linear(beyond, "int4", 16, scale_dtype=scales, two_level="tensor")
        assert np.abs(q.dequantize() - beyond).max() <= 7 * largest * 1.25 * (1 / 14 + 2**-4)


@pytest.mark.parametrize("method", ["nearest", "clip"])
def test_small_weights_get_subnormal_scales(rng, method):
    """A code is off by half a step at most, and by 127 times what the scale lost when it was rounded: half of f16's least number, 2**-24."""
    w = rng.uniform(-1, 1, (8, 64)) * 1e-4
    q = quantize_linear(w, "int8", 16, method=method)
    wanted = np.abs(w).reshape(8, 4, 16).max(axis=-1) / 127
    off = np.abs(q.dequantize() - w).reshape(8, 4, 16)
    if method == "nearest":
        assert (off <= (wanted / 2 + 127.5 * 2.0**-25)[..., None]).all()
    assert np.linalg.norm(off) < 0.05 * np.linalg.norm(w)
