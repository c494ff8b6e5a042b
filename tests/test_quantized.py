"""The container of quantized weights: what its fields mean, spelled out by loops, and what it refuses."""

import io

import ml_dtypes
import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir import dtypes as D
from tilec.ir.tensor import Tensor
from tilec.quant import Quantized

N, K = 6, 24


@pytest.fixture(autouse=True)
def own_types(monkeypatch):
    """Codebooks that a test makes are known to it alone."""
    monkeypatch.setattr(D, "_by_name", dict(D._by_name))


def parts(dtype="uint4", scale="f16", zeros="uint4", group=8, second=None, order=False, seed=0):
    """Random fields."""
    rng = np.random.default_rng(seed)
    kind = D.dtype(dtype)
    usable = np.flatnonzero(np.isfinite(kind.decode(np.arange(1 << kind.bits)).astype(float)))
    shape = (N, K // group)
    return {
        "codes": Tensor.from_codes(rng.choice(usable, (N, K)), kind),
        "scales": Tensor.from_values(rng.uniform(0.01, 3, shape), scale),
        "zeros": None if zeros is None else Tensor.from_values(rng.uniform(0, 15, shape), zeros),
        "scale2": None if second is None else rng.uniform(0.5, 2, second).astype(np.float32),
        "order": rng.permutation(K) if order else None,
    }


def by_loops(codes, scales, zeros, scale2, order):
    """The definition, element by element, in Python's floats."""
    weights = np.full((N, K), np.nan)
    q, s = codes.values(), scales.values()
    for n in range(N):
        for j in range(K):
            g = j // (K // s.shape[1])
            zero = 0.0 if zeros is None else float(zeros.values()[n % zeros.shape[0], g % zeros.shape[1]])
            second = 1.0 if scale2 is None else float(np.reshape(scale2, -1)[n % np.size(scale2)])
            k = j if order is None else order[j]
            weights[n, k] = (float(q[n, j]) - zero) * (float(s[n % s.shape[0], g]) * second)
    return weights


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"dtype": "int1", "zeros": None, "group": 24},
        {"dtype": "int8", "zeros": "int8", "scale": "bf16"},
        {"dtype": "uint3", "zeros": "f16", "scale": "f32", "group": 3},
        {"dtype": "e2m1", "zeros": None, "scale": "e4m3", "second": ()},
        {"dtype": "e2m1", "zeros": None, "scale": "e8m0", "second": (N,)},
        {"dtype": "nf4", "zeros": "bf16", "second": (N, 1), "order": True},
        {"dtype": "float8_e5m2", "zeros": None, "order": True, "group": 1},
        {"dtype": "float8_e4m3", "zeros": "f32", "order": True},
    ],
    ids=str,
)
def test_what_the_fields_mean(form):
    fields = parts(**form)
    q = Quantized(**fields)
    np.testing.assert_array_equal(q.dequantize(), by_loops(**fields))
    x = np.random.default_rng(1).integers(-8, 8, (5, K)).astype(np.float64)
    np.testing.assert_allclose(q.gather(x) @ q.dequantize(stored=True).T, x @ by_loops(**fields).T, rtol=1e-13, atol=1e-12)
    assert (q.shape, q.group, q.dtype) == ((N, K), form.get("group", 8), D.dtype(form.get("dtype", "uint4")))


def test_parts_that_all_share():
    """One scale for the tensor, one zero point for all, and one for each row."""
    fields = parts()
    fields["scales"], fields["zeros"] = Tensor.from_values([[0.25]], "f32"), np.full((1, 1), 8, np.uint8)
    q = Quantized(**fields)
    np.testing.assert_array_equal(q.dequantize(), (fields["codes"].values() - 8) * 0.25)
    assert q.group == K
    assert "per tensor" in repr(q)
    fields = parts()
    fields["zeros"] = Tensor.from_values(np.arange(N)[:, None], "uint4")
    expected = (fields["codes"].values() - np.arange(N)[:, None]) * np.repeat(fields["scales"].values(), 8, axis=1)
    np.testing.assert_array_equal(Quantized(**fields).dequantize(), expected)


def test_bits_and_words():
    q = Quantized(**parts(order=True))
    # 4 bits; an f16 and 4 bits for 8 weights; 32 bits for each of K columns of N weights
    assert q.bits_per_weight == pytest.approx(4 + 20 / 8 + 32 / N)
    assert repr(q) == "Quantized(uint4[6, 24], f16 scales per 8, uint4 zeros, act-order, 11.833 bits per weight)"
    assert "f16 scales per channel, two levels" in repr(Quantized(**parts(zeros=None, group=K, second=())))


@pytest.mark.parametrize("form", [{}, {"dtype": "int5", "zeros": None, "scale": "e8m0"}, {"dtype": "nf4", "zeros": "bf16", "second": (N,), "order": True}])
def test_kept_in_a_file_and_read_again(form):
    fields = parts(**form)
    file = io.BytesIO()
    np.savez(file, **Quantized(**fields).arrays("layer."))
    file.seek(0)
    q = Quantized.from_arrays(np.load(file), "layer.")
    np.testing.assert_array_equal(q.dequantize(), by_loops(**fields))
    assert {n: t.dtype for n, t in q.tensors().items()} == {n: t.dtype for n, t in Quantized(**fields).tensors().items()}


def test_a_codebook_travels_with_its_entries():
    thirds = D.codebook("thirds_of_a_test", [-1.0, -1 / 3, 1 / 3, 1.0])
    arrays = Quantized(**parts(thirds, zeros=None)).arrays()
    assert Quantized.from_arrays(arrays).dtype == thirds
    arrays["codes.entries"] = arrays["codes.entries"] * 2
    with pytest.raises(TileError, match="exists already, with another meaning"):
        Quantized.from_arrays(arrays)
    arrays = Quantized(**parts()).arrays()
    del arrays["scales.type"]
    with pytest.raises(TileError, match=r"scales\.type is missing"):
        Quantized.from_arrays(arrays)
    with pytest.raises(TileError, match="no quantized weights under 'other'"):
        Quantized.from_arrays(arrays, "other")


def test_arrays_of_numpy_and_ml_dtypes_are_taken():
    codes = np.arange(-8, 8).reshape(2, 8)
    q = Quantized(codes.astype(ml_dtypes.int4), np.ones((2, 4), ml_dtypes.bfloat16), np.full((2, 4), -1, np.int8))
    assert (q.dtype, q.scales.dtype, q.zeros.dtype) == (D.int4, D.bf16, D.int8)
    np.testing.assert_array_equal(q.dequantize(), codes + 1)
    e2m1 = Quantized(np.array([[0.5, -6.0]], ml_dtypes.float4_e2m1fn), np.array([[448.0]], ml_dtypes.float8_e4m3fn))
    np.testing.assert_array_equal(e2m1.dequantize(), [[224, -2688]])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"codes": np.zeros((2, 3, 4), np.int8)}, r"shape of the weights, \[outputs, inputs\]"),
        ({"codes": np.zeros((0, 4), np.int8)}, "shape of the weights"),
        ({"codes": np.zeros((N, K), np.float16)}, "type of 1 to 8 bits"),
        ({"codes": Tensor.from_values(np.ones((N, K)), "float8_e8m0")}, "type of 1 to 8 bits"),
        ({"codes": np.full((N, K), np.inf, ml_dtypes.float8_e5m2), "zeros": None}, "codes of float8_e5m2 must be finite"),
        ({"codes": "int4"}, "codes must be an array in host memory, got str"),
        ({"scales": None}, "have codes and scales"),
        ({"scales": np.ones((N, 5), np.float16)}, "5 groups do not divide the 24 columns"),
        ({"scales": np.ones((N + 1, 3), np.float16)}, "do not belong to 6 rows"),
        ({"scales": np.ones(N, np.float16)}, "two axes"),
        ({"scales": np.ones((N, 3), np.int8)}, "scales are f16, bf16, f32, float8_e8m0, float8_e4m3, not int8"),
        ({"scales": np.full((N, 3), np.nan, np.float16)}, "scales must be finite"),
        ({"zeros": np.ones((N, 2), np.uint8)}, "do not belong to 6 rows of 3 groups"),
        ({"zeros": np.ones((N, 3), np.int32)}, "integers of at most 8 bits, not i32"),
        ({"codes": np.zeros((N, K), ml_dtypes.float4_e2m1fn)}, "zeros are f16, bf16, f32, not uint4"),
        ({"scale2": np.ones((N, 3), np.float32)}, "one for the tensor or for each of 6 rows"),
        ({"scale2": np.ones((N, 1), np.float16)}, "scale2 are f32, not f16"),
        ({"scale2": np.inf}, "scale2 must be finite"),
        ({"order": np.zeros(K, int)}, "permutation of the 24 columns"),
        ({"order": np.arange(K - 1)}, "permutation of the 24 columns"),
        ({"order": np.arange(K) * 1.0}, "permutation of the 24 columns"),
    ],
)
def test_what_does_not_belong_together(changed, words):
    with pytest.raises(TileError, match=words):
        Quantized(**parts() | changed)


def test_activations_must_fit():
    with pytest.raises(TileError, match="weights of 24 inputs"):
        Quantized(**parts()).gather(np.zeros((3, 23)))
