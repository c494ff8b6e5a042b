"""Quantization per group, against the same arithmetic spelled out and against bounds that follow from the formats."""

import ml_dtypes
import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir import dtypes as D
from tilec.quant import Errors, dequantize, quantize

WEIGHTS = np.random.default_rng(0).standard_normal((256, 24)) * 0.05


def test_int4_by_hand():
    codes, scales = quantize([[7.0], [-3.4], [1.0], [0.0], [0.0], [0.0]], D.int4, group=3)
    assert scales.values().tolist() == [[1.0], [1.0]]  # 7 / 7; a group of zeros has scale 1
    assert codes.values().tolist() == [[7], [-3], [1], [0], [0], [0]]
    assert dequantize(codes, scales).tolist() == [[7], [-3], [1], [0], [0], [0]]


@pytest.mark.parametrize(
    ("name", "twin", "top"),
    [("int4", None, 7), ("float8_e4m3", ml_dtypes.float8_e4m3fn, 448), ("float4_e2m1", ml_dtypes.float4_e2m1fn, 6)],
)
def test_codes_are_nearest_for_the_rounded_scale(name, twin, top):
    codes, scales = quantize(WEIGHTS, name, group=64)
    expected_scales = (np.abs(WEIGHTS.reshape(4, 64, 24)).max(1) / top).astype(np.float16)
    np.testing.assert_array_equal(scales.numpy(), expected_scales)
    ratio = WEIGHTS.reshape(4, 64, 24) / expected_scales[:, None].astype(np.float64)
    ratio = np.clip(ratio, -top if twin else -top - 1, top)
    values = ratio.astype(np.float32).astype(twin).astype(np.float64) if twin else np.rint(ratio)
    np.testing.assert_array_equal(codes.values(), values.reshape(256, 24))
    np.testing.assert_array_equal(dequantize(codes, scales), (values * expected_scales[:, None].astype(np.float64)).reshape(256, 24))


@pytest.mark.parametrize("d", [d for d in D.all_dtypes() if d.bits <= 8 and not d.is_bool and d.is_signed and d.name != "int1"], ids=str)
def test_error_is_within_half_a_step(d):
    """Half the widest gap between neighbours is the bound for nearest; the scale's own rounding (2**-11) may clip a little besides."""
    codes, scales = quantize(WEIGHTS, d, group=32)
    steps = np.unique(d.decode(np.arange(1 << d.bits)))
    steps = steps[np.isfinite(steps)]
    largest = np.abs(WEIGHTS.reshape(8, 32, 24)).max(1, keepdims=True)
    reached = steps[np.abs(steps) <= 2 * (largest / scales.values()[:, None]).max()]
    bound = np.diff(reached).max() / 2 * scales.values()[:, None] + largest * 2.0**-10
    assert (np.abs(dequantize(codes, scales) - WEIGHTS).reshape(8, 32, 24) <= bound).all()


def test_more_bits_are_closer():
    cosines = [Errors.of(WEIGHTS, dequantize(*quantize(WEIGHTS, f"int{b}", group=64))).cosine for b in range(2, 9)]
    assert cosines == sorted(cosines)
    assert cosines[-1] > 0.9999


def test_unsigned_and_one_bit_take_a_zero():
    offset, scales = quantize(WEIGHTS, "uint4", group=64, zero=8)
    signed, same = quantize(WEIGHTS, "int4", group=64)
    np.testing.assert_array_equal(scales.buffer, same.buffer)
    np.testing.assert_array_equal(offset.values() - 8, signed.values())
    assert quantize([-1.0, 2.0, 4.0], "uint2")[0].values().tolist() == [0, 2, 3]  # without a zero, negative weights clip
    for name, zero in [("int1", -0.5), ("uint1", 0.5)]:
        codes, scales = quantize([-3.0, 3.0, 1.0], name, zero=zero)
        assert dequantize(codes, scales, zero=zero).tolist() == [-3.0, 3.0, 3.0]
    codes, scales = quantize([-3.0, 3.0, 1.0], "int1")
    assert dequantize(codes, scales).tolist() == [-3.0, 0.0, 0.0]


def test_axes_and_scale_types():
    by_rows = quantize(WEIGHTS, D.int4, group=8, axis=1, scale_dtype="bf16")
    by_columns = quantize(WEIGHTS.T, D.int4, group=8, axis=0, scale_dtype="bf16")
    assert by_rows[1].shape == (256, 3)
    np.testing.assert_array_equal(dequantize(*by_rows, axis=-1), dequantize(*by_columns).T)
    _, scales = quantize(WEIGHTS, D.float4_e2m1, group=32, scale_dtype=D.float8_e8m0)
    assert np.all(np.log2(scales.values()) % 1 == 0)


def test_wide_formats_keep_a_normal_scale():
    for name in ("float8_e5m2", "float8_e7m0"):
        _, scales = quantize(WEIGHTS, name, group=64)
        assert scales.values().min() >= 2.0**-14


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"group": 60}, "groups of 60 do not divide the 256 elements of axis 0"),
        ({"group": 0}, "groups of 0"),
        ({"axis": 2}, "no axis 2"),
    ],
)
def test_wrong_groups(arguments, words):
    with pytest.raises(TileError, match=words):
        quantize(WEIGHTS, D.int4, **arguments)


def test_wrong_weights():
    with pytest.raises(TileError, match="finite"):
        quantize([np.nan], D.int4)
    codes, scales = quantize(WEIGHTS, D.int4, group=64)
    with pytest.raises(TileError, match="do not belong"):
        dequantize(codes, scales, axis=1)
