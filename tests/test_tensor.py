"""Packed tensors over plain buffers."""

import ml_dtypes
import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir import dtypes as D
from tilec.ir.tensor import Tensor, tensor


def test_elements_are_packed_from_the_least_significant_bit_without_row_padding():
    """Three rows of three 3-bit numbers are 27 bits: 0o76543210 fills the first three bytes, the ninth element the rest."""
    buffer = np.frombuffer((0o576543210).to_bytes(4, "little"), np.uint8)
    t = tensor(buffer, "uint3", [3, 3])
    assert t.codes().tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 5]]
    assert (t.size, t.ndim, t.nbytes) == (9, 2, 4)
    assert Tensor.from_values(t.values(), D.uint3).buffer.tolist() == buffer.tolist()
    with pytest.raises(TileError, match="read-only"):
        t.assign(0)


def test_assign_keeps_what_follows():
    buffer = np.full(3, 0xFF, np.uint8)
    t = tensor(buffer, D.int6, (3,))
    t.assign([1, -1, 99])
    assert t.values().tolist() == [1, -1, 31]
    assert buffer.tolist() == [0b11000001, 0b11111111, 0b11111101]  # 000001, 111111, 011111, and six ones that were there
    t.assign(0)
    assert buffer.tolist() == [0, 0, 0b11111100]


def test_bf16_over_uint16():
    x = np.array([[1.0, -2.5], [0.1, 1e30]])
    words = x.astype(ml_dtypes.bfloat16).view(np.uint16)
    t = tensor(words, D.bf16, words.shape)
    np.testing.assert_array_equal(t.values(), x.astype(ml_dtypes.bfloat16).astype(np.float64))
    assert t.numpy().dtype == np.uint16
    t.assign(np.ones((2, 2)))
    assert (words == 0x3F80).all()


def test_numpy_is_a_view_where_elements_are_bytes():
    t = Tensor.from_values([[1.5, 2.5]], D.f16)
    t.numpy()[0, 0] = -1
    assert t.values().tolist() == [[-1.0, 2.5]]
    assert Tensor.from_values([True, False], D.bool_).numpy().tolist() == [True, False]
    assert Tensor.from_values([1, 2, 3], D.float6_e3m2).numpy().dtype == np.uint8
    assert Tensor.from_values(np.zeros((0, 4)), D.int3).values().shape == (0, 4)
    assert Tensor.from_values(3.0, D.float4_e2m1).values() == 3.0


@pytest.mark.parametrize(
    ("buffer", "dtype", "shape", "words"),
    [
        (np.zeros(2, np.uint8), D.int6, (3,), r"int6 of shape \(3,\) needs 3 bytes, but the buffer has 2"),
        (np.zeros((4, 4), np.uint8).T[1:, :2], D.int6, (1,), "C-contiguous"),
        ([0, 1, 2], D.int6, (1,), "wraps an array, got list"),
        (np.zeros(4, object), D.int6, (1,), "plain bytes, not object"),
        (np.zeros(4, np.uint8), "int9", (1,), "no type 'int9'"),
        (np.zeros(4, np.uint8), D.int6, (-1,), "negative"),
    ],
)
def test_wrong_buffers(buffer, dtype, shape, words):
    with pytest.raises(TileError, match=words):
        tensor(buffer, dtype, shape)


def test_assign_of_a_wrong_shape():
    with pytest.raises(TileError, match=r"shape \(4,\) do not fit a tensor of shape \(3,\)"):
        tensor(np.zeros(3, np.uint8), D.int8, 3).assign(np.zeros(4))
