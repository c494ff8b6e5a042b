"""y = x W^T + b for weights W of few bits: `Linear` prepares a quantized weight once and multiplies by it at any number of rows.

    layer = Linear(quantize_linear(w, "int4", 128), bias)
    y = layer(x)                                     # x [M, K] in f16 or bf16: arrays of NumPy or PyTorch, on a GPU where there is one

Weights are packed for the registers of the matrix instructions (`tilec.packed`). Where their scales go is decided here, once, by what is exact:

- on each weight, folded into its conversion, so that it is rounded once: scales that the computing type holds, after a power of two common to
  all has been moved to the channels' factors, by which integers need a single multiply-add;
- on the sum of each group, in f32, for scales that the computing type does not hold (f32, or e8m0 of a wide range), if the groups allow it;
- on the channels' sums, at the end, where a channel has one scale: nothing is multiplied in the loop.

`explain()` says which and why. What a layer needs at run time depends on its shape: see `form`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tilec as tc
from tilec import DType, Tensor, bf16, cdiv, f16, f32, i32, int4
from tilec.errors import require
from tilec.ir.arrays import is_torch, torch
from tilec.quant import Quantized

M, N, K, G, H, R, T = tc.dims("M N K G H R T")
W, X, S = tc.types("W X S")

TILE = 128  # rows of weights that are loaded at once
EACH, SUMS, CHANNELS = "each weight", "the sum of each group", "the sum of each channel"  # what a scale is applied to


@tc.kernel(warps=4)
def linear(
    x: X[M, K], w: W[K, N], scales: S[G, N], zeros: X[H, N], channel: f32[N], bias: f32[N], y: X[M, N], work: f32[R, N], turn: i32[T],
    *, W: DType = tc.packed(int4), X: DType = f16, S: DType = f16, on: str = EACH, group: int = 128, has_zeros: bool = False,
    whole: bool = True,
    below: float = 2.0, unit: float = 1.0, bm: int = 16, bn: int = 128, stages: int = 4, splits: int = 1,
):  # fmt: skip
    """y = x @ w' * channel + bias, w' being the weights with their scales and zero points of `group` rows, as `on` says.

    x is X[M, K], w packed W[K, N]; scales and zeros have a row for each group; channel and bias are f32[N]. The sum over K is shared out among
    `splits` blocks, which add to `work` in a fixed order, so that results repeat; `turn` is zero before and after.
    """
    tc.grid(cdiv(M, bm), cdiv(N, bn), splits)
    i, j, part = tc.block_index(0) * bm, tc.block_index(1) * bn, tc.block_index(2)
    share = cdiv(cdiv(K, TILE), splits) * TILE
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(part * share, min(K, (part + 1) * share), TILE, stages=stages):
        rows, tile = tc.load(x, [i, k], [bm, TILE]), tc.load(w, [k, j], [TILE, bn])
        zero = of_groups(zeros, k, j, group, bn) if has_zeros else None
        scale = of_groups(scales, k, j, group, bn) if on != CHANNELS else None
        factor = scale if on == EACH else unit
        if whole:
            weights = tc.dequantize(tile, factor, zero, below=below, dtype=X)
        else:
            weights = (tc.cast(tile, X) - zero) * factor
        if on == SUMS:
            acc = acc + tc.dot(rows, weights) * scale
        else:
            acc = tc.dot(rows, weights, acc)
    if splits > 1:
        place = tc.block_index(1) * tc.block_count(0) + tc.block_index(0)
        tc.semaphore_wait(turn, place, part)  # the parts before have been added
        if part > 0:
            acc = acc + tc.load(work, [i, j], [bm, bn])
        if part == splits - 1:
            finish(y, acc, channel, bias, i, j, bn, X)
            tc.atomic_exchange(turn, place, 0)
        else:
            tc.store(work, [i, j], acc)
            tc.semaphore_post(turn, place)
    else:
        finish(y, acc, channel, bias, i, j, bn, X)


@tc.function
def of_groups(values, k, j, group, bn):
    """The values [1, bn] or [TILE, bn] of the groups that a tile of weights belongs to."""
    if group % TILE == 0:
        return tc.load(values, [k // group, j], [1, bn])
    return tc.repeat(tc.load(values, [k // group, j], [TILE // group, bn]), group, axis=0)


@tc.function
def finish(y, acc, channel, bias, i, j, bn, X):
    """Factors of the channels, bias, and the result in its type."""
    scaled = acc * tc.load(channel, [j], [bn]) + tc.load(bias, [j], [bn])
    tc.store(y, [i, j], tc.cast(scaled, X))


class Form(NamedTuple):
    """How a product is shared out: rows and columns of a block's tile, its warps, stages of the pipeline, parts of the sum over K."""

    bm: int
    bn: int
    warps: int
    stages: int
    splits: int


def form(m: int, n: int, k: int, bits: int, multiprocessors: int = 108) -> Form:
    """The form for m rows of activations. Few rows are bound by the weights' bytes, which want blocks on every multiprocessor and many
    copies under way; many rows by the matrix instructions, which want large tiles."""
    bm = next((rows for rows in (16, 32, 64) if m <= rows), 128)
    bn, warps = (128, 4) if bm < 128 else (128, 8)
    stages = 4 if bm <= 32 else 3
    tiles, steps = cdiv(m, bm) * cdiv(n, bn), cdiv(k, TILE)
    splits = max(1, min(2 * multiprocessors // tiles, steps // 4, 16)) if bm < 128 else 1
    return Form(bm, bn, warps, stages, splits)


@dataclass(frozen=True)
class Plan:
    """Where the scales of a weight go, and why; what the kernel is given for it."""

    on: str
    why: str
    group: int  # rows of the kernel's groups
    scales: npt.NDArray[Any] | None  # f64[groups, N], values of `scale_type`
    scale_type: DType
    channel: npt.NDArray[Any]  # f64[N]
    below: float = 2.0
    unit: float = 1.0


def plan(q: Quantized, to: DType) -> Plan:
    """Decide for a weight that is computed in `to`."""
    rows, columns = q.shape
    scales = np.broadcast_to(q.scales.values(), (rows, q.scales.shape[1]))
    second = np.ones(rows) if q.scale2 is None else np.broadcast_to(q.scale2.values()[:, 0], rows).astype(np.float64)
    unit = free_scale(q.dtype, to)
    if q.scales.shape[1] == 1:
        return Plan(CHANNELS, "a channel has one scale", columns, None, to, scales[:, 0] * second / unit, unit=unit)
    group = q.group if q.group % TILE == 0 else math.gcd(q.group, TILE)
    spread = np.repeat(scales, q.group // group, axis=1).T
    small, large = extremes(scales)
    least = extremes(q.dtype.decode(np.arange(1 << q.dtype.bits, dtype=np.uint8)))[0]  # of the weights
    for below, what in ((2.0**-8, "one multiply-add makes a scaled weight"), (2.0, "a scaled weight is rounded once")):
        if below < 1 and (not q.dtype.is_int or q.zeros is not None):
            continue
        power = math.ceil(math.log2(large / below)) + (large == below * 2.0 ** math.ceil(math.log2(large / below)))
        moved = spread * 2.0**-power
        if np.array_equal(to.round(moved), moved) and small * 2.0**-power * least >= to.smallest_normal:
            return Plan(EACH, f"{to} holds the scales, and {what}", group, moved, to, second * 2.0**power, below)
    if group % TILE == 0:
        return Plan(SUMS, f"{to} does not hold the scales, and f32 does", group, spread / unit, f32, second, unit=unit)
    why = f"groups of {q.group} are too small for scales on sums; the scales are rounded to {to}"
    power = math.floor(math.log2(large))
    return Plan(EACH, why, group, to.round(spread * 2.0**-power), to, second * 2.0**power)


def extremes(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The least and the largest magnitude that is not 0."""
    magnitudes = np.abs(values[np.isfinite(values) & (values != 0)]).astype(np.float64)
    return (float(magnitudes.min()), float(magnitudes.max())) if magnitudes.size else (1.0, 1.0)


def free_scale(weight: DType, to: DType) -> float:
    """A power of two by which weights of a type are converted for least."""
    return (2.0**-9 if to == f16 else 2.0**-6) if weight.is_int else 1.0


@dataclass
class Linear:
    """A linear layer with weights of few bits: `layer(x)` is x W^T + b.

    `weight` is W [N, K] (`tilec.quant`), `bias` [N] or None; `to`, f16 or bf16, is the type of x [..., K] and y [..., N]. x is an array of
    NumPy, a `tc.Tensor`, or a tensor of PyTorch; y is of the same kind. Without a GPU the interpreter computes. Nothing is allocated on a GPU but
    the result, and nothing waited for, so that calls can be captured in a CUDA graph once one of that shape has been made.

    Raises TileError for shapes and types that do not fit, and for weights that are no finite numbers of `to`.
    """

    weight: Quantized
    bias: Any = None
    to: DType = f16
    _held: dict[Any, dict[str, Any]] = field(default_factory=dict, repr=False)  # by device: what the kernel is given at every call

    def __post_init__(self) -> None:
        self.to = tc.dtype(self.to)
        require(self.to in (f16, bf16), f"activations are f16 or bf16, not {self.to}")
        rows = self.weight.shape[0]
        q, self.plan = self.weight, plan(self.weight, self.to)
        self.packed = tc.packed(q.dtype, self.to)
        bias = np.zeros(rows) if self.bias is None else np.asarray(self.bias, np.float64)
        require(bias.shape == (rows,), f"the bias has shape {bias.shape}, but there are {rows} outputs")
        channel = self.plan.channel.astype(np.float32)
        dummy = Tensor.from_values(np.zeros((1, rows)), self.to)
        zeros, self.whole = dummy, True
        if q.zeros is not None:
            spread = np.repeat(q.zero_values(), max(1, q.group // self.plan.group), axis=1).T
            self.whole = bool((spread == np.rint(spread)).all())
            zeros = Tensor.from_values(spread, self.to)
        scales = dummy if self.plan.scales is None else Tensor.from_values(self.plan.scales, self.plan.scale_type)
        words = Tensor.from_codes(np.ascontiguousarray(q.codes.codes().T), self.packed)
        self._host = {"w": words, "scales": scales, "zeros": zeros, "channel": channel, "bias": bias.astype(np.float32)}

    @property
    def nbytes(self) -> int:
        """Bytes of what is read for each product, the activations aside."""
        return sum(int(a.nbytes) for a in self._host.values())

    def explain(self) -> str:
        """Where scales and zero points go, and why."""
        q = self.weight
        text = f"{q!r} in {self.to}: scales on {self.plan.on}, as {self.plan.why}"
        if q.zeros is not None:
            text += "; zero points are whole numbers, and join the conversion" if self.whole else "; zero points are subtracted from each weight"
        if self.plan.group != q.group and self.plan.scales is not None:
            text += f"; groups of {q.group} are kept as groups of {self.plan.group}, which divide {TILE}"
        return text

    def __call__(self, x: Any) -> Any:
        shape = tuple(x.shape)
        require(shape[-1:] == self.weight.shape[1:], f"x has shape {list(shape)}, but the layer has {self.weight.shape[1]} inputs")
        library = OfTorch(x) if is_torch(x) else OfNumpy(x)
        flat = library.rows(x, self.weight.order)
        m, (n, k) = math.prod(shape[:-1]), self.weight.shape
        y = library.empty((m, n), self.to)
        if m and n:
            self.launch(flat, y, library, form(m, n, k, self.weight.dtype.bits, library.multiprocessors))
        return library.shaped(y, (*shape[:-1], n))

    def launch(self, x: Any, y: Any, library: Library, how: Form) -> None:
        """One product, in a form of one's choice: x [M, K], y [M, N]."""
        m, n = x.shape[0], self.weight.shape[0]
        held = self._held.setdefault(library.place, {})
        if not held:
            held.update({name: library.hold(a) for name, a in self._host.items()})
        parts, tiles = (m, cdiv(m, how.bm) * cdiv(n, how.bn)) if how.splits > 1 else (1, 1)
        work, turn = (library.scratch(held, name, size, kind) for name, size, kind in (("work", parts * n, f32), ("turn", tiles, i32)))
        kernel_of(how.warps)(
            x, *(held[name] for name in ("w", "scales", "zeros", "channel", "bias")), y, library.cut(work, (parts, n)), library.cut(turn, (tiles,)),
            **self.constants(how),
        )  # fmt: skip

    def constants(self, how: Form) -> dict[str, Any]:
        """The kernel's constants for a form."""
        p = self.plan
        return {
            "W": self.packed, "X": self.to, "S": p.scale_type, "on": p.on, "group": p.group, "has_zeros": self.weight.zeros is not None, "whole": self.whole,
            "below": p.below, "unit": p.unit, "bm": how.bm, "bn": how.bn, "stages": how.stages, "splits": how.splits,
        }  # fmt: skip


@cache
def kernel_of(warps: int) -> Any:
    """The kernel with so many warps."""
    return linear if warps == 4 else linear.of_warps(warps)


class Library:
    """Whose arrays are used: how they are made and cut."""

    place: Any = "host"
    multiprocessors = 108

    def scratch(self, held: dict[str, Any], name: str, size: int, kind: DType) -> Any:
        """Memory of at least `size` elements, full of zeros when new, kept for later calls."""
        if name not in held or held[name].shape[0] < size:
            held[name] = self.zeros(size, kind)
        return held[name]

    def cut(self, memory: Any, shape: tuple[int, ...]) -> Any:
        return memory[: math.prod(shape)].reshape(shape)

    def zeros(self, size: int, kind: DType) -> Any:
        raise NotImplementedError


class OfNumpy(Library):
    """Arrays in host memory."""

    def __init__(self, x: Any):
        require(isinstance(x, np.ndarray | Tensor), f"x is an array of NumPy or PyTorch, not a {type(x).__name__}")
        self.is_tensor = isinstance(x, Tensor)

    def rows(self, x: Any, order: Any) -> Any:
        if self.is_tensor:
            codes = x.codes().reshape(-1, x.shape[-1])
            return Tensor.from_codes(codes if order is None else codes[:, order], x.dtype)
        flat = x.reshape(-1, x.shape[-1])
        return np.ascontiguousarray(flat if order is None else flat[:, order])

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        return Tensor.from_codes(np.zeros(shape, np.uint16), kind) if self.is_tensor or kind == bf16 else np.empty(shape, kind.numpy)

    def zeros(self, size: int, kind: DType) -> Any:
        return np.zeros(size, kind.numpy)

    def hold(self, a: Any) -> Any:
        return a

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        return Tensor(y.buffer, y.dtype, shape) if isinstance(y, Tensor) else y.reshape(shape)


class OfTorch(Library):
    """Tensors of PyTorch, on its current stream."""

    def __init__(self, x: Any):
        self.torch, self.device = torch(), x.device
        self.place = str(x.device)
        if x.device.type == "cuda":
            self.multiprocessors = self.torch.cuda.get_device_properties(x.device).multi_processor_count

    def rows(self, x: Any, order: Any) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        return flat.contiguous() if order is None else flat.index_select(1, self.order(order))

    def order(self, order: Any) -> Any:
        return self.torch.as_tensor(order, device=self.device)

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        return self.torch.empty(shape, dtype=self.type(kind), device=self.device)

    def zeros(self, size: int, kind: DType) -> Any:
        return self.torch.zeros(size, dtype=self.type(kind), device=self.device)

    def type(self, kind: DType) -> Any:
        return {f16: self.torch.float16, bf16: self.torch.bfloat16, f32: self.torch.float32, i32: self.torch.int32}[kind]

    def hold(self, a: Any) -> Any:
        """An array of the host on the device; types that PyTorch lacks as bytes with a type of ours."""
        if isinstance(a, np.ndarray):
            return self.torch.from_numpy(a).to(self.device)
        data = self.torch.from_numpy(a.bytes.copy()).to(self.device)
        if a.dtype in (f16, bf16, f32):
            return data.view(self.type(a.dtype)).reshape(a.shape)
        return tc.tensor(data, a.dtype, a.shape)

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        return y.reshape(shape)
