"""y = x W^T + b where x comes in 8 bits, int8 or e4m3, with a scale for each row, and W in any type of 1 to 8 bits.

    layer = Linear8(quantize_linear(w, "int4", 128), bias)          # or to="e4m3", from sm_89 on
    y = layer(*rows8(x))                                            # codes [M, K] and a scale for each row, f32[M]

What is multiplied follows from what is exact (`way`): products of 8 bits where the weights are values of such a type, perhaps but for a power of two;
else of 16 bits, which hold all activations of 8. Products of integers are exact sums in i32; scales and zero points are applied to sums in f32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tilec as tc
from tilec import DType, Tensor, bf16, cdiv, f16, f32, i32, int4, int8, uint8
from tilec.errors import presented, require
from tilec.ir.dtypes import codebook
from tilec.kernels.forms import TILE
from tilec.kernels.libraries import OfNumpy
from tilec.kernels.linear import MAKE, Linear, numbers
from tilec.kernels.pieces import converted, of_groups
from tilec.kernels.plan import CHANNELS, EACH, SUMS
from tilec.quant import Quantized

M, N, K, L, G, H = tc.dims("M N K L G H")
A, W, X, S, Y = tc.types("A W X S Y")

E4M3 = tc.dtype("e4m3")
LEAST = 32  # rows of weights that an instruction of 8 bits takes, and so the smallest group
EXACT = 0x4B400000  # 3 * 2**22 in f32, plus an integer below 2**22 in the last places


@tc.kernel(warps=4)
def linear8(
    x: X[M, K], rows: f32[M], w: W[N, L], scales: f32[G, N], zeros: f32[H, N], bias: f32[N], y: Y[M, N],
    *, X: DType = int8, W: DType = int8, Y: DType = f16, of: DType = int8, group: int = 128, has_zeros: bool = False, channels: bool = False,
    aligned: bool = False, bm: int = 32, bn: int = 128, bk: int = 128, stages: int = 3,
):  # fmt: skip
    """y = rows * (x @ ((w - zeros) * scales)^T) + bias, w converted to `of`; scales and zeros have a row for each group of columns of w, or one if
    `channels`, and then integers are summed as such over all of K."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(cdiv(K, group) <= G)
    if has_zeros:
        tc.assume(cdiv(K, group) <= H)
    tc.assume(L % LEAST == 0)
    if aligned:
        tc.assume(K % 16 == 0)
        tc.assume(N % 8 == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(i32 if channels else f32, [bm, bn])
    sums = tc.zeros(i32 if channels else f32, [bm])
    for k in tc.range(0, K, bk, stages=stages):
        tile = tc.load(x, [i, k], [bm, bk])
        weights = tc.cast(tc.load(w, [j, k], [bn, bk]), of).T
        if channels:
            acc = tc.dot(tile, weights, acc)
            if has_zeros:
                sums = sums + row_sums(tile, bk, 0)
        else:
            part = partial(tile, weights, X, bm, bn)
            if has_zeros:
                total = exact(row_sums(tile, bk, EXACT)) if X == int8 else tc.sum(tc.cast(tile, f32), axis=1)
                part = part - total[:, None] * tc.load(zeros, [k // group, j], [1, bn])
            acc = acc + part * tc.load(scales, [k // group, j], [1, bn])
    if channels:
        total = tc.cast(acc, f32)
        if has_zeros:
            total = total - tc.cast(sums, f32)[:, None] * tc.load(zeros, [0, j], [1, bn])
        result = total * tc.load(scales, [0, j], [1, bn])
    else:
        result = acc
    tc.store(y, [i, j], tc.cast(result * tc.load(rows, [i], [bm])[:, None] + tc.load(bias, [j], [bn]), Y))


@tc.function
def partial(tile, weights, X, bm, bn):
    """A product in f32. That of floats is not summed any further by the matrix instructions, whose sums of fp8 have few bits."""
    return exact(tc.dot(tile, weights, tc.full(i32, [bm, bn], EXACT))) if X == int8 else tc.dot(tile, weights)


@tc.function
def exact(sums):
    """Integers below 2**22, as sums over at most 128 columns are, that were added to EXACT: a subtraction does for a conversion."""
    return tc.bitcast(sums, f32) - 12582912.0


@tc.function
def row_sums(tile, bk, first):
    """The sums of rows, plus `first`: a product with ones, all of whose columns are alike."""
    return tc.max(tc.dot(tile, tc.full(int8, [bk, 8], 1), tc.full(i32, [tile.shape[0], 8], first)), axis=1)


@tc.kernel(warps=4)
def through16(
    x: A[M, K], rows: f32[M], w: W[K, N], scales: S[G, N], zeros: X[H, N], channel: f32[N], bias: f32[N], y: Y[M, N],
    *, A: DType = int8, W: DType = tc.packed(int4), X: DType = f16, S: DType = f16, Y: DType = f16, on: str = EACH, group: int = 128,
    has_zeros: bool = False, whole: bool = True, aligned: bool = False, below: float = 2.0, unit: float = 1.0,
    bm: int = 16, bn: int = 128, stages: int = 3,
):  # fmt: skip
    """y = rows * (x @ w') * channel + bias, x converted to X, which holds it, and w' as in `tilec.kernels.linear`."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    if on == SUMS:
        tc.assume(cdiv(K, group) <= G)
    if aligned:
        tc.assume(K % 16 == 0)
        tc.assume(N % 8 == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    rest = 1.0 if on == EACH else 1.0 / unit
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, TILE, stages=stages):
        tile, packed = tc.cast(tc.load(x, [i, k], [bm, TILE]), X), tc.load(w, [k, j], [TILE, bn])
        zero = of_groups(zeros, k, j, group, bn) if has_zeros else None
        scale = of_groups(scales, k, j, group, bn) if on != CHANNELS else None
        weights = converted(packed, scale if on == EACH else unit, zero, below, whole, X)
        acc = acc + tc.dot(tile, weights) * tc.cast(scale, f32) if on == SUMS else tc.dot(tile, weights, acc)
    result = acc * tc.load(rows, [i], [bm])[:, None] * (tc.load(channel, [j], [bn]) * rest)
    tc.store(y, [i, j], tc.cast(result + tc.load(bias, [j], [bn]), Y))


@presented
def rows8(x: npt.ArrayLike, to: DType | str = int8) -> tuple[Tensor, npt.NDArray[np.float32]]:
    """x [M, K] in int8 or e4m3: codes, and for each row a scale f32[M] such that its largest number is the type's largest.

    A row with NaN, an infinity, or a number that is too large for f32 has NaN as its scale, so that its results are NaN.
    """
    kind, values = tc.dtype(to), np.asarray(x, np.float64)
    require(kind in (int8, E4M3), f"activations of 8 bits are int8 or e4m3, not {kind}")
    largest = np.abs(values).max(axis=-1, initial=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        scales = (largest / float(kind.max)).astype(np.float32)
    finite = np.isfinite(scales)
    scales = np.where(scales > 0, scales, np.where(finite, 1.0, np.nan)).astype(np.float32)
    scales[~finite] = np.nan
    codes = np.divide(values, scales[..., None], out=np.zeros_like(values), where=finite[..., None])
    return Tensor.from_values(codes, kind), scales


class Way(NamedTuple):
    """How weights are multiplied by activations of 8 bits: as values of `kind`; where that has 8 bits, codes are read as `weight`, whose values are those of
    the weights times 2**power. `why` is for people."""

    kind: DType
    weight: DType
    power: int
    why: str


def way(weight: DType, group: int, columns: int, to: DType) -> Way:
    """The way for weights of a type in groups of some columns, and activations in int8 or e4m3: the first that is exact, 8 bits before 16."""
    with np.errstate(over="ignore"):
        values = np.asarray(weight.decode(np.arange(1 << weight.bits, dtype=np.uint8)), np.float64)
    values = values[np.isfinite(values)]
    fits = group == columns or group % LEAST == 0
    small = f"groups of {group} are no multiple of {LEAST}"
    if to == int8 and weight.is_int and fits:
        return Way(int8 if weight.is_signed else uint8, weight, 0, "products of integers are exact")
    if to == int8 and weight.bits == 4 and len(values) == 16 and fits:
        for power in range(8):
            whole = values * 2.0**power
            if np.array_equal(np.rint(whole).clip(-128, 127), whole):
                return Way(int8, integers(weight, whole), power, f"times {1 << power} all its values are integers of int8")
    if to == E4M3 and np.array_equal(E4M3.round(values), values) and fits:
        return Way(E4M3, weight, 0, "e4m3 holds all its values")
    for kind in (f16, bf16):
        with np.errstate(over="ignore"):
            held = np.array_equal(kind.round(values), values)
        if held:
            return Way(kind, weight, 0, f"{kind} holds all its values, and all of {to}; " + (small if not fits else f"{to} does not"))
    return Way(f16, weight, 0, f"its values are rounded to f16, which holds all of {to}")


def integers(weight: DType, values: npt.NDArray[np.float64]) -> DType:
    """Values as a table of integers; in the place of -0, as entries differ, is an integer that is not used."""
    found = values.tolist()
    unused = (float(v) for v in range(127, -128, -1) if v not in found)
    entries = [next(unused) if v in found[:i] else v for i, v in enumerate(found)]
    return codebook(f"{weight}_as_{int8}", entries)


@dataclass
class Linear8:
    """A linear layer for activations of 8 bits: `layer(x, rows)` is rows * (x W^T) + b, for x [M, K] in `to`, int8 or e4m3, and rows f32[M].

    `weight` is W [N, K] (`tilec.quant`) of any type, groups, scales, zero points and order. `out` is the type of y, f16, bf16 or f32. `explain` tells what is
    multiplied. x is a `tc.Tensor` or an array of a type of NumPy's (int8) or ml_dtypes'; y likewise. Raises TileError for types and shapes that do not fit.
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
        require(out in (f16, bf16, f32), f"results are f16, bf16 or f32, not {out}")
        bias = np.zeros(q.shape[0]) if self.bias is None else numbers(self.bias)
        require(bias.shape == (q.shape[0],), f"the bias has shape {bias.shape}, but there are {q.shape[0]} outputs")
        self.way = way(q.dtype, q.group, q.shape[1], kind)
        self.kernel, self.tensors, self.order, made = (self._in_8_bits if self.way.kind.bits == 8 else self._in_16_bits)(self.way, bias)
        self.constants: dict[str, Any] = {**made, "Y": out, "aligned": q.shape[0] % 8 == q.shape[1] % 16 == 0}

    def _in_8_bits(self, how: Way, bias: Any) -> tuple[Any, ...]:
        q = self.weight
        columns = q.shape[1]
        codes = q.codes.codes() if how.power == 0 else how.weight.encode(q.codes.values() * 2.0**how.power)
        codes = np.pad(codes, ((0, 0), (0, -columns % LEAST)))
        whole = q.group == columns
        zeros = np.zeros((1, q.shape[0])) if q.zeros is None else q.zero_values().T * 2.0**how.power
        scales = np.broadcast_to(q.scale_values(), (q.shape[0], q.scale_values().shape[1])).T * 2.0**-how.power
        held = (Tensor.from_codes(codes, how.weight), *(np.ascontiguousarray(a, np.float32) for a in (scales, zeros, bias)))
        channels = whole and how.kind != E4M3 and columns < 1 << 16  # sums of products below 2**15
        group = max(codes.shape[1], 128) if whole else q.group
        bk = 128 if whole else math.gcd(group, 128)
        constants = {"X": tc.dtype(self.to), "W": how.weight, "of": how.kind, "group": group, "has_zeros": q.zeros is not None, "channels": channels, "bk": bk}
        return linear8, held, q.order, constants

    def _in_16_bits(self, how: Way, bias: Any) -> tuple[Any, ...]:
        layer = Linear(self.weight, bias, how.kind)
        given = {n: getattr(layer.recipe, n) for n in ("on", "group", "has_zeros", "whole", "below", "unit")}
        types = {name: tc.dtype(getattr(layer.recipe, name)) for name in "WXS"}
        return through16, tuple(layer.tensors.values()), layer.arrays.get("order"), {"A": tc.dtype(self.to), **given, **types}

    def explain(self) -> str:
        """What is multiplied, and why."""
        return f"{self.weight!r} by {tc.dtype(self.to)}: products of {self.way.kind}, as {self.way.why}"

    def arguments(self, x: Any, rows: Any, y: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What `kernel` is given, and its constants."""
        m = x.shape[0]
        bm = next((size for size in (16, 32) if m <= size), 64)
        stages = 3 if bm < 64 else 2
        given = x if self.order is None else OfNumpy(x).rows(x, self.order)
        return (given, rows, *self.tensors, y), self.constants | {"bm": bm, "stages": stages}

    @presented
    def __call__(self, x: Any, rows: Any) -> Any:
        """rows * (x W^T) + b, [M, N], for codes x [M, K] and rows f32[M], as `rows8` makes them. Raises TileError for an x that does not fit."""
        require(hasattr(x, "shape"), f"x is an array of codes, not a {type(x).__name__}", hint="rows8(x) gives codes, and a scale for each row")
        m, (n, k) = (*x.shape, 0)[0], self.weight.shape
        require(tuple(x.shape) == (m, k), f"x has shape {list(x.shape)}, but the layer has {k} inputs")
        out = tc.dtype(self.out)
        y = Tensor.from_codes(np.zeros((m, n), np.uint16), out) if out == bf16 else np.empty((m, n), out.numpy)
        args, constants = self.arguments(x, rows, y)
        self.kernel(*args, **constants)
        return y
