"""y = x W^T + b where both x and W are multiplied in 8 bits: int8 by integers of up to 8 bits, e4m3 by floats that e4m3 holds.

    layer = Linear8(quantize_linear(w, "int4", 128), bias)          # or to="e4m3", from sm_89 on, for e4m3, e2m1, e3m2 and the like
    y = layer(*rows8(x))                                            # codes [M, K] and a scale for each row, f32[M]

Products of integers are exact sums in i32; scales of groups and zero points are applied to them in f32, then the scale of the row. Weights are
row-major, and converted as they are loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import tilec as tc
from tilec import DType, Tensor, cdiv, f16, f32, i32, int8, uint8
from tilec.errors import presented, require
from tilec.kernels.linear import MAKE, numbers
from tilec.quant import Quantized

M, N, K, G, H = tc.dims("M N K G H")
W, X, Y = tc.types("W X Y")

E4M3 = tc.dtype("e4m3")
LEAST = 32  # rows of weights that an instruction takes, and so the smallest group


@tc.kernel(warps=4)
def linear8(
    x: X[M, K], rows: f32[M], w: W[K, N], scales: f32[G, N], zeros: f32[H, N], bias: f32[N], y: Y[M, N],
    *, X: DType = int8, W: DType = int8, Y: DType = f16, of: DType = int8, group: int = 128, has_zeros: bool = False,
    bm: int = 32, bn: int = 64, bk: int = 64, stages: int = 3,
):  # fmt: skip
    """y = rows * (x @ ((w - zeros) * scales)) + bias, w converted to `of`; scales and zeros have a row for each group of rows of w."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(cdiv(K, group) <= G)
    if has_zeros:
        tc.assume(cdiv(K, group) <= H)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        tile = tc.load(x, [i, k], [bm, bk])
        part = tc.cast(tc.dot(tile, tc.cast(tc.load(w, [k, j], [bk, bn]), of)), f32)
        if has_zeros:
            total = tc.cast(tc.sum(tc.cast(tile, i32), axis=1), f32) if X == int8 else tc.sum(tc.cast(tile, f32), axis=1)
            part = part - total[:, None] * tc.load(zeros, [k // group, j], [1, bn])
        acc = acc + part * tc.load(scales, [k // group, j], [1, bn])
    tc.store(y, [i, j], tc.cast(acc * tc.load(rows, [i], [bm])[:, None] + tc.load(bias, [j], [bn]), Y))


@presented
def rows8(x: npt.ArrayLike, to: DType | str = int8) -> tuple[Tensor, npt.NDArray[np.float32]]:
    """x [M, K] in int8 or e4m3: codes, and for each row a scale f32[M] such that its largest number is the type's largest."""
    kind, values = tc.dtype(to), np.asarray(x, np.float64)
    require(kind in (int8, E4M3), f"activations of 8 bits are int8 or e4m3, not {kind}")
    largest = np.abs(values).max(axis=-1, initial=0.0)
    scales = np.where(largest > 0, largest / float(kind.max), 1.0).astype(np.float32)
    return Tensor.from_values(values / scales[..., None], kind), scales


@dataclass(frozen=True)
class Linear8:
    """A linear layer in 8 bits: `layer(x, rows)` is rows * (x W^T) + b, for x [M, K] in `to`, int8 or e4m3, and rows f32[M].

    `weight` is W [N, K]: integers for int8; for e4m3 floats all of whose values it holds. `out` is the type of y, f16, bf16 or f32. Groups are
    multiples of 32 or whole channels. x is a `tc.Tensor` or an array of a type of NumPy's (int8) or ml_dtypes'; y likewise. Raises TileError for
    weights and shapes that do not fit.
    """

    weight: Quantized
    bias: Any = None
    to: DType | str = int8
    out: DType | str = f16

    @presented
    def __post_init__(self) -> None:
        q, kind, out = self.weight, tc.dtype(self.to), tc.dtype(self.out)
        require(isinstance(q, Quantized), f"the weight is a Quantized, not a {type(q).__name__}", hint=MAKE)
        require(kind in (int8, E4M3), f"activations of 8 bits are int8 or e4m3, not {kind}", hint="tilec.kernels.linear.Linear takes f16 and bf16")
        require(out in (f16, tc.bf16, f32), f"results are f16, bf16 or f32, not {out}")
        require(q.order is None, "weights with an order of their own are for tilec.kernels.linear.Linear")
        rows, columns = q.shape
        require(q.group == columns or q.group % LEAST == 0, f"groups are multiples of {LEAST}, not {q.group}")
        bias = np.zeros(rows) if self.bias is None else numbers(self.bias)
        require(bias.shape == (rows,), f"the bias has shape {bias.shape}, but there are {rows} outputs")
        of = factor(q.dtype, kind)
        group = q.group if q.group < columns else -(-columns // LEAST) * LEAST
        zeros = np.zeros((1, rows)) if q.zeros is None else q.zero_values().T
        codes = Tensor.from_codes(np.ascontiguousarray(q.codes.codes().T), q.dtype)
        held = (codes, *(np.ascontiguousarray(a, np.float32) for a in (q.scale_values().T, zeros)))
        object.__setattr__(self, "_held", (*held, bias.astype(np.float32)))
        object.__setattr__(
            self, "constants",
            {"X": kind, "W": q.dtype, "Y": out, "of": of, "group": group, "has_zeros": q.zeros is not None, "bk": math.gcd(group, 64)},
        )  # fmt: skip

    @presented
    def __call__(self, x: Any, rows: Any) -> Any:
        """rows * (x W^T) + b, [M, N], for codes x [M, K] and rows f32[M], as `rows8` makes them. Raises TileError for an x that does not fit."""
        require(hasattr(x, "shape"), f"x is an array of codes, not a {type(x).__name__}", hint="rows8(x) gives codes, and a scale for each row")
        m, (n, k) = (*x.shape, 0)[0], self.weight.shape
        require(tuple(x.shape) == (m, k), f"x has shape {list(x.shape)}, but the layer has {k} inputs")
        out = tc.dtype(self.out)
        y = Tensor.from_codes(np.zeros((m, n), np.uint16), out) if out == tc.bf16 else np.empty((m, n), out.numpy)
        linear8(x, rows, *self._held, y, **self.constants)  # type: ignore[attr-defined]
        return y


def factor(weight: DType, to: DType) -> DType:
    """The type of 8 bits that weights are multiplied in, with activations of a type; TileError if it does not hold them."""
    if to == int8:
        require(weight.is_int, f"int8 is multiplied by integers, and the weights are {weight}", hint="Linear8(..., to='e4m3'), or Linear")
        return int8 if weight.is_signed else uint8
    with np.errstate(over="ignore"):
        values = np.asarray(weight.decode(np.arange(1 << weight.bits, dtype=np.uint8)), np.float64)
    finite = values[np.isfinite(values)]
    require(np.array_equal(E4M3.round(finite), finite), f"e4m3 does not hold every {weight}", hint="tilec.kernels.linear.Linear does without")
    return E4M3
