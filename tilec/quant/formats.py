"""Quantized layers as checkpoints hold them, from their arrays.

Formats: AutoGPTQ and GPTQModel (`qlinear_cuda_old.py`, `utils/model.py`), AutoAWQ (`modules/linear/gemm.py`), compressed-tensors
(`pack_quantized.py`, `nvfp4_quantized.py`), gpt-oss for MXFP4 (`weights.py`), NVIDIA ModelOpt, bitsandbytes (`backends/default/ops.py`).
Widths that divide 32 fill words from the least significant bit up in all of them.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tilec.errors import presented, require
from tilec.ir import dtypes
from tilec.ir.dtypes import DType, Int
from tilec.ir.tensor import Tensor
from tilec.quant.arrays import as_tensor, words

Array = npt.NDArray[Any]
T = TypeVar("T")

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # the column that each nibble of a word belongs to, lowest first


class Checkpoints:
    """The constructors of `Quantized` from arrays of other libraries' layers."""

    @classmethod
    @presented
    def from_gptq(cls: type[T], qweight: Any, qzeros: Any, scales: Any, g_idx: Any = None, bits: int = 4, version: int = 1) -> T:
        """A layer of AutoGPTQ or GPTQModel: `qweight` int32 [K bits / 32, N], `qzeros` int32 [G, N bits / 32], `scales` [G, N], for 2, 3, 4 or 8 bits.

        `g_idx` [K] is each input's group; where it is not in order (act-order), columns are sorted by it, and `order` says how. In format
        "gptq" (`version` 1) zero points are stored less one, modulo 2**bits; in "gptq_v2" as they are. Raises TileError for shapes that do
        not belong together, and for groups of different sizes.
        """
        require(bits in (2, 3, 4, 8), f"GPTQ layers have 2, 3, 4 or 8 bits, not {bits}")
        require(version in (1, 2), f"the version is 1 (gptq) or 2 (gptq_v2), not {version}")
        kind = _unsigned(bits)
        packed, packed_zeros, by_group = words(qweight, "qweight"), words(qzeros, "qzeros"), _transposed(scales, "scales")
        rows, columns = packed.shape[1], _count(packed.shape[0], bits, "qweight")
        groups = by_group.shape[1]
        zeros = _stream(packed_zeros, kind, _count(packed_zeros.shape[1], bits, "qzeros"))
        _agree(qzeros=zeros.shape == (groups, rows), scales=by_group.shape[0] == rows and groups > 0 and columns % groups == 0)
        codes, order = _stream(np.ascontiguousarray(packed.T), kind, columns), _order(g_idx, columns, groups)
        points = zeros.codes().T + (version == 1) & kind.max
        stored = codes if order is None else Tensor.from_codes(codes.codes()[:, order], kind)
        return cls(codes=stored, scales=by_group, zeros=_points(points, kind), order=order)  # type: ignore[call-arg]

    @classmethod
    @presented
    def from_awq(cls: type[T], qweight: Any, qzeros: Any, scales: Any) -> T:
        """A layer of AutoAWQ in its GEMM form, of 4 bits: `qweight` int32 [K, N / 8], `qzeros` int32 [G, N / 8], `scales` [G, N].

        The nibbles of a word belong to columns 0, 2, 4, 6, 1, 3, 5, 7 of eight outputs, from the lowest up.
        """
        kind = dtypes.uint4
        codes, zeros = (_awq(words(part, name)) for part, name in ((qweight, "qweight"), (qzeros, "qzeros")))
        by_group = _transposed(scales, "scales")
        (rows, groups), columns = by_group.shape, codes.shape[1]
        _agree(qweight=codes.shape[0] == rows, qzeros=zeros.shape == by_group.shape, scales=groups > 0 and columns % groups == 0)
        return cls(codes=Tensor.from_codes(codes, kind), scales=by_group, zeros=_points(zeros, kind))  # type: ignore[call-arg]

    @classmethod
    @presented
    def from_compressed_tensors(
        cls: type[T], weight_packed: Any, weight_scale: Any, weight_shape: Any, bits: int = 4, weight_zero_point: Any = None, weight_g_idx: Any = None
    ) -> T:
        """A "pack-quantized" layer of compressed-tensors: `weight_packed` int32 [N, ceil(K / (32 // bits))], `weight_scale` [N, G], `weight_shape` [2].

        Codes are signed, in offset binary, 32 // bits of them in a word. `weight_zero_point` is int32, packed the same way along N, or int8
        [N, G]. `weight_g_idx` as in `from_gptq`. (Layers that are not packed need no constructor: `Quantized(weight, weight_scale)`.)
        """
        require(1 <= bits <= 8, f"packed layers have 1 to 8 bits, not {bits}")
        kind = dtypes.dtype(f"int{bits}")
        rows, columns = (int(n) for n in np.asarray(weight_shape).reshape(-1)[:2])
        packed, scales = _fields(words(weight_packed, "weight_packed"), bits), as_tensor(weight_scale, "weight_scale")
        _agree(weight_packed=packed.shape[0] == rows and 0 <= packed.shape[1] - columns < 32 // bits)
        groups = scales.shape[-1]
        _agree(weight_scale=scales.ndim == 2 and groups > 0 and columns % groups == 0)
        order = _order(weight_g_idx, columns, groups)
        codes = packed[:, :columns] ^ (1 << (bits - 1))
        zeros = None
        if weight_zero_point is not None:
            given = as_tensor(weight_zero_point, "weight_zero_point")
            if given.dtype == dtypes.i32:
                points = (_fields(words(weight_zero_point, "weight_zero_point").T, bits).T[:rows]) ^ (1 << (bits - 1))
            else:
                points = kind.encode(given.values())
            _agree(weight_zero_point=points.shape == (rows, groups))
            zeros = _points(points, kind)
        stored = Tensor.from_codes(codes if order is None else codes[:, order], kind)
        return cls(codes=stored, scales=scales, zeros=zeros, order=order)  # type: ignore[call-arg]

    @classmethod
    @presented
    def from_mxfp4(cls: type[T], blocks: Any, scales: Any) -> T:
        """A layer of OCP MXFP4: `blocks` uint8 [N, G, 16] (gpt-oss) or [N, K / 2], the first of two weights in the low bits; `scales` e8m0
        [N, G], as uint8 or a type of that name. Of stacked experts take one: `blocks[e]`, `scales[e]`."""
        by_group = as_tensor(scales, "scales", dtypes.float8_e8m0)
        return cls(codes=_fp4(blocks, "blocks", by_group, 32), scales=by_group)  # type: ignore[call-arg]

    @classmethod
    @presented
    def from_nvfp4(cls: type[T], weight: Any, weight_scale: Any, weight_scale_2: Any = None, weight_global_scale: Any = None) -> T:
        """A layer of NVFP4: `weight` uint8 [N, K / 2], the first of two weights in the low bits; `weight_scale` e4m3 [N, K / 16].

        The second level is `weight_scale_2`, which multiplies (ModelOpt), or `weight_global_scale`, which divides (compressed-tensors): its
        inverse is rounded to f32.
        """
        require((weight_scale_2 is None) != (weight_global_scale is None), "NVFP4 has weight_scale_2 (ModelOpt) or weight_global_scale (compressed-tensors)")
        name, given = ("weight_scale_2", weight_scale_2) if weight_global_scale is None else ("weight_global_scale", weight_global_scale)
        number = np.asarray(given, np.float64).reshape(-1)
        require(number.size == 1 and number[0] > 0, f"{name} is one positive number")
        second = number if weight_global_scale is None else 1 / number
        by_group = as_tensor(weight_scale, "weight_scale", dtypes.float8_e4m3)
        return cls(codes=_fp4(weight, "weight", by_group, 16), scales=by_group, scale2=second.astype(np.float32))  # type: ignore[call-arg]

    @classmethod
    @presented
    def from_nf4(
        cls: type[T], weight: Any, absmax: Any, shape: tuple[int, int], *,
        nested_absmax: Any = None, nested_quant_map: Any = None, nested_offset: float = 0.0, quant_map: Any = None, nested_blocksize: int = 256,
    ) -> T:  # fmt: skip
        """A layer of bitsandbytes in NF4: `weight` uint8, of any shape, the first of two weights in the high bits, for W of `shape` [N, K];
        `absmax` f32, one for each block of consecutive weights.

        With double quantization `absmax` is uint8 and stands for nested_quant_map[absmax] * nested_absmax[i // 256] + nested_offset, which
        becomes f32 here. `quant_map`, if given, must be NF4. Raises TileError where blocks do not divide rows.
        """
        kind = dtypes.nf4
        rows, columns = (int(n) for n in shape)
        table = np.asarray(kind.entries if quant_map is None else quant_map, np.float32)
        require(np.array_equal(table, np.asarray(kind.entries, np.float32)), "the weights are not NF4, by their quant_map")
        packed = as_tensor(weight, "weight")
        require(packed.dtype == dtypes.uint8 and packed.size * 2 == rows * columns, f"{rows}x{columns} weights of NF4 are {rows * columns // 2} uint8")
        scales = _absmax(as_tensor(absmax, "absmax"), nested_absmax, nested_quant_map, nested_offset, nested_blocksize)
        groups = scales.size // rows
        good = groups * rows == scales.size and groups > 0 and columns % groups == 0
        require(good, f"{scales.size} blocks do not divide the rows of {rows}x{columns} weights")
        halves = packed.codes().reshape(-1)
        codes = Tensor(halves >> 4 | halves << 4, kind, (rows, columns))
        return cls(codes=codes, scales=scales.reshape(rows, groups))  # type: ignore[call-arg]


def _unsigned(bits: int) -> Int:
    found = dtypes.dtype(f"uint{bits}")
    assert isinstance(found, Int)
    return found


def _agree(**parts: bool) -> None:
    for name, good in parts.items():
        require(good, f"the shape of {name} does not belong to the other parts")


def _count(length: int, bits: int, name: str) -> int:
    """How many codes there are in so many words that they fill together."""
    require(length * 32 % bits == 0, f"{length} words of {name} do not hold whole codes of {bits} bits")
    return length * 32 // bits


def _stream(packed: Array, kind: DType, count: int) -> Tensor:
    """Rows of words as codes that follow one another without gaps, as those of 3 bits do in GPTQ."""
    return Tensor(packed.astype("<u4", copy=False), kind, (packed.shape[0], count))


def _fields(packed: Array, bits: int) -> Array:
    """Codes [R, C * (32 // bits)] of words [R, C], none of which lies in two words."""
    shifts = np.arange(32 // bits, dtype=np.uint32) * np.uint32(bits)
    return ((packed[..., None] >> shifts & np.uint32((1 << bits) - 1)).astype(np.uint8)).reshape(packed.shape[0], -1)


def _awq(packed: Array) -> Array:
    """Codes [N, R] of words [R, N / 8]."""
    nibbles = _fields(packed, 4).reshape(len(packed), -1, 8)
    columns = np.empty_like(nibbles)
    columns[..., AWQ_ORDER] = nibbles
    return np.ascontiguousarray(columns.reshape(len(packed), -1).T)


def _transposed(given: Any, name: str) -> Tensor:
    found = as_tensor(given, name)
    require(found.ndim == 2, f"{name} has two axes, groups and outputs, got shape {found.shape}")
    return Tensor.from_codes(found.codes().T, found.dtype)


def _points(points: Array, kind: DType) -> Tensor:
    """Zero points from codes; one for all if they all are the same, as symmetric checkpoints have them."""
    same = (points == points[0, 0]).all()
    return Tensor.from_codes(points[:1, :1] if same else points, kind)


def _order(g_idx: Any, columns: int, groups: int) -> Array | None:
    """Which input each stored column belongs to, such that groups lie together; None if they do already."""
    if g_idx is None:
        return None
    index = np.asarray(g_idx).reshape(-1)
    require(index.shape == (columns,), f"g_idx names a group for each of {columns} inputs, got {index.size}")
    order = np.argsort(index, kind="stable")
    whole = np.array_equal(index[order], np.repeat(np.arange(groups), columns // groups))
    require(whole, f"g_idx must give each of {groups} groups {columns // groups} inputs", hint="groups of different sizes are not taken")
    return None if np.array_equal(order, np.arange(columns)) else order


def _fp4(given: Any, name: str, scales: Tensor, group: int) -> Tensor:
    """e2m1, two in a byte, the first in the low bits, for groups of that size."""
    packed = as_tensor(given, name)
    good = packed.dtype == dtypes.uint8 and packed.ndim in (2, 3) and scales.ndim == 2
    require(good, f"{name} is uint8 [outputs, inputs / 2], got {packed.dtype} of shape {packed.shape}")
    rows, columns = packed.shape[0], 2 * packed.size // max(1, packed.shape[0])
    expected = (rows, columns // group)
    require(scales.shape == expected, f"scales of shape {scales.shape} do not belong to {rows}x{columns} weights in groups of {group}")
    return Tensor(packed.buffer, dtypes.float4_e2m1, (rows, columns))


def _absmax(absmax: Tensor, nested_absmax: Any, nested_quant_map: Any, nested_offset: float, blocksize: int) -> Array:
    """The largest magnitude of each block, f32."""
    if nested_absmax is None:
        require(absmax.dtype == dtypes.f32, f"absmax is f32, or uint8 with nested_absmax, not {absmax.dtype}")
        return absmax.values().astype(np.float32)
    require(absmax.dtype == dtypes.uint8 and nested_quant_map is not None, "a nested absmax is uint8, with nested_absmax and nested_quant_map")
    table, outer = np.asarray(nested_quant_map, np.float32).reshape(-1), np.asarray(nested_absmax, np.float32).reshape(-1)
    codes = absmax.values().reshape(-1)
    blocks = -(-codes.size // blocksize)
    require(table.size == 256 and outer.size == blocks, f"{codes.size} values of absmax have a map of 256 and {blocks} values of nested_absmax")
    return table[codes] * np.repeat(outer, blocksize)[: codes.size] + np.float32(np.asarray(nested_offset).item())
