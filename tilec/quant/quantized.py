"""The weight of a linear layer in few bits: codes, scales, zero points, and the order of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tilec.errors import TileError, require
from tilec.ir import dtypes
from tilec.ir.dtypes import Codebook, DType
from tilec.ir.tensor import Tensor
from tilec.quant.arrays import as_tensor
from tilec.quant.formats import Checkpoints

Array = npt.NDArray[Any]

SCALES = (dtypes.f16, dtypes.bf16, dtypes.f32, dtypes.float8_e8m0, dtypes.float8_e4m3)
FLOAT_ZEROS = (dtypes.f16, dtypes.bf16, dtypes.f32)


@dataclass(frozen=True, eq=False)
class Quantized(Checkpoints):
    """W of shape [N, K], outputs by inputs as torch keeps it, in groups of `group` columns that share a scale and a zero point:

        stored[n, j] = (codes[n, j] - zeros[n, j // group]) * scales[n, j // group] * scale2[n]

    where the tensors stand for their values. `stored` is W itself or, if there is an `order`, W with its columns permuted:
    `stored[:, j] = W[:, order[j]]`. A layer then computes x W^T as `gather(x) @ stored^T`, `gather(x)` being `x[..., order]`.

    - `codes` [N, K]: an integer or float of 1 to 8 bits (e8m0 excepted), or a codebook.
    - `scales` [N, G] for K / G columns a group; [N, 1] is one per channel, [1, 1] one per tensor: f16, bf16, f32, e8m0 or e4m3.
    - `zeros`: None, or [N, G] where either axis may be 1: integers of at most 8 bits in units of integer codes, as GPTQ and AWQ have
      them, or f16, bf16 or f32 for codes of any type.
    - `scale2`: None, or f32 [N, 1] or [1, 1], the second level of the scales, as in NVFP4. A number or a vector [N] is taken too.
    - `order`: None, or int32 [K], a permutation ("act-order" of GPTQ: columns in the order in which they were quantized).

    Arrays of types that tilec has (NumPy's, ml_dtypes', PyTorch's on the CPU) are taken for tensors. Raises TileError for
    shapes and types that do not belong together, and for scales, zero points and codes that are not finite.
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor | None = None
    scale2: Tensor | None = None
    order: Array | None = None

    TENSORS: ClassVar = ("codes", "scales", "zeros", "scale2")

    def __post_init__(self) -> None:
        for name in self.TENSORS:
            given = getattr(self, name)
            if name == "scale2" and given is not None and np.ndim(given) < 2:
                given = np.asarray(given, np.float32).reshape(-1, 1)
            object.__setattr__(self, name, None if given is None else as_tensor(given, name))
        require(self.codes is not None and self.scales is not None, "quantized weights have codes and scales")
        _check_codes(self.codes)
        rows, columns = self.shape
        _check(self.scales, "scales", SCALES)
        groups = self.scales.shape[1]
        require(self.scales.shape[0] in (1, rows), f"scales of shape {self.scales.shape} do not belong to {rows} rows of weights")
        require(groups and columns % groups == 0, f"{groups} groups do not divide the {columns} columns of the weights")
        if self.zeros is not None:
            integers = tuple(d for d in dtypes.all_dtypes() if d.is_int and d.bits <= 8) if self.dtype.is_int else ()
            _check(self.zeros, "zeros", FLOAT_ZEROS + integers, "integer zero points go with integer codes")
            fits = all(n in (1, most) for n, most in zip(self.zeros.shape, (rows, groups), strict=True))
            require(fits, f"zeros of shape {self.zeros.shape} do not belong to {rows} rows of {groups} groups")
        if self.scale2 is not None:
            _check(self.scale2, "scale2", (dtypes.f32,))
            require(self.scale2.shape in ((1, 1), (rows, 1)), f"scale2 is one for the tensor or for each of {rows} rows, not {self.scale2.shape}")
        if self.order is not None:
            object.__setattr__(self, "order", _permutation(self.order, columns))

    @property
    def dtype(self) -> DType:
        """The type of the codes."""
        return self.codes.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K): outputs, inputs."""
        return self.codes.shape  # type: ignore[return-value]

    @property
    def group(self) -> int:
        """Columns that share a scale; K if there is one scale for a row or for all."""
        return self.shape[1] // self.scales.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all parts together."""
        return sum(t.nbytes for t in self.tensors().values()) + (0 if self.order is None else self.order.nbytes)

    @property
    def bits_per_weight(self) -> float:
        """Bits of all parts, the order too, for each weight."""
        return 8 * self.nbytes / self.codes.size

    def tensors(self) -> dict[str, Tensor]:
        """The parts that are there, by name, but for the order."""
        return {name: getattr(self, name) for name in self.TENSORS if getattr(self, name) is not None}

    def scale_values(self) -> Array:
        """scales * scale2 in float64, exactly, [N, G]."""
        second = 1.0 if self.scale2 is None else self.scale2.values()
        return np.broadcast_to(self.scales.values() * second, (self.shape[0], self.scales.shape[1]))

    def zero_values(self) -> Array:
        """The zero points in float64, [N, G]; 0 where there are none."""
        zeros = 0.0 if self.zeros is None else self.zeros.values().astype(np.float64)
        return np.broadcast_to(zeros, (self.shape[0], self.scales.shape[1]))

    def dequantize(self, stored: bool = False) -> Array:
        """W [N, K] in float64, or with `stored` its columns as they are stored.

        Exact, but for one rounding to float64 where both levels of scales are f32; a float zero point is subtracted with one more.
        """
        grouped = self.codes.values().astype(np.float64).reshape(*self.scale_values().shape, self.group)
        columns = ((grouped - self.zero_values()[..., None]) * self.scale_values()[..., None]).reshape(self.shape)
        if stored or self.order is None:
            return columns
        weights = np.empty_like(columns)
        weights[:, self.order] = columns
        return weights

    def gather(self, x: Array) -> Array:
        """Activations [..., K] in the order of the stored columns: what a layer does first. The same array if there is no order."""
        require(x.shape[-1:] == self.shape[1:], f"activations of shape {x.shape} do not belong to weights of {self.shape[1]} inputs")
        return x if self.order is None else x[..., self.order]

    def arrays(self, prefix: str = "") -> dict[str, Array]:
        """All of it as plain NumPy arrays: `np.savez(path, **q.arrays())`. `from_arrays` reads them; `prefix` tells several apart.

        For each tensor its packed bytes, `.type` and `.shape`; `.entries` for a codebook; the order as it is.
        """
        found: dict[str, Array] = {} if self.order is None else {"order": self.order}
        for name, t in self.tensors().items():
            found |= {name: t.bytes, f"{name}.type": np.array(t.dtype.name), f"{name}.shape": np.array(t.shape)}
            if isinstance(t.dtype, Codebook):
                found[f"{name}.entries"] = np.array(t.dtype.entries)
        return {prefix + key: value for key, value in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], prefix: str = "") -> Quantized:
        """The inverse of `arrays`, from a dict or from what `np.load` gives. Raises TileError for keys that are missing."""
        parts: dict[str, Any] = {name: _read(arrays, prefix + name) for name in cls.TENSORS if prefix + name in arrays}
        if not {"codes", "scales"} <= parts.keys():
            raise TileError(f"there are no quantized weights under {prefix!r}: codes and scales are missing", hint=f"there is {', '.join(arrays)}")
        return cls(**parts, order=arrays.get(prefix + "order"))

    def __repr__(self) -> str:
        rows, columns = self.shape
        one = "tensor" if self.scales.shape == (1, 1) != (rows, 1) else "channel" if self.group == columns else f"{self.group}"
        said = [f"{self.dtype}[{rows}, {columns}]", f"{self.scales.dtype} scales per {one}"]
        said += [f"{self.zeros.dtype} zeros"] if self.zeros is not None else []
        said += ["two levels"] if self.scale2 is not None else []
        said += ["act-order"] if self.order is not None else []
        return f"Quantized({', '.join(said)}, {self.bits_per_weight:.3f} bits per weight)"


def check_kind(kind: DType) -> None:
    """Raise TileError unless weights may be codes of that type."""
    good = kind.bits <= 8 and not kind.is_bool and kind != dtypes.float8_e8m0
    require(good, f"codes are of a type of 1 to 8 bits that holds weights, not {kind}", hint="integers, eXmY floats and codebooks do")


def _check_codes(codes: Tensor) -> None:
    kind = codes.dtype
    check_kind(kind)
    require(codes.ndim == 2 and codes.size, f"codes have the shape of the weights, [outputs, inputs], got {codes.shape}")
    require(not (kind.has_nan or kind.has_inf) or np.isfinite(codes.values()).all(), f"codes of {kind} must be finite")


def _check(part: Tensor, name: str, types: tuple[DType, ...], why: str | None = None) -> None:
    """The type, rank and finiteness of scales and zero points."""
    if part.dtype not in types:
        shown = ", ".join(str(d) for d in types if not d.is_int) + (" or integers of at most 8 bits" if any(d.is_int for d in types) else "")
        raise TileError(f"{name} are {shown}, not {part.dtype}", hint=why if part.dtype.is_int else None)
    require(part.ndim == 2, f"{name} have two axes, rows and groups, got shape {part.shape}", hint="one per channel is [N, 1], one per tensor [1, 1]")
    require(np.isfinite(part.values()).all(), f"{name} must be finite")


def _permutation(order: Any, columns: int) -> Array:
    found = np.asarray(order)
    right = found.dtype.kind in "iu" and found.shape == (columns,) and np.array_equal(np.sort(found), np.arange(columns))
    require(right, f"order is a permutation of the {columns} columns: each number from 0 to {columns - 1} once")
    return np.ascontiguousarray(found, np.int32)


def _read(arrays: Mapping[str, Array], key: str) -> Tensor:
    """A tensor of `Quantized.arrays`."""
    for part in (".type", ".shape"):
        require(key + part in arrays, f"{key + part} is missing beside {key}")
    name = str(arrays[key + ".type"])
    kind = dtypes.codebook(name, arrays[key + ".entries"]) if key + ".entries" in arrays else dtypes.dtype(name)
    return Tensor(np.array(arrays[key]), kind, arrays[key + ".shape"])


