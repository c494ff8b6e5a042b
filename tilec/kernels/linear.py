"""y = x W^T + b for weights W of few bits: `Linear` prepares a quantized weight once and multiplies by it at any number of rows.

    layer = Linear(quantize_linear(w, "int4", 128), bias)
    y = layer(x)                                     # x [M, K] in f16 or bf16: arrays of NumPy or PyTorch, on a GPU where there is one

Weights are packed for the registers of the matrix instructions (`tilec.packed`). Where their scales go is decided by `plan`, and what a product is
shared out by is its `form`; `explain()` tells the first, and why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

import tilec as tc
from tilec import DType, Tensor, bf16, cdiv, f16, f32, i32, int4
from tilec.errors import require
from tilec.ir.arrays import is_torch
from tilec.kernels.forms import TILE, Form, form
from tilec.kernels.libraries import Library, OfNumpy, OfTorch
from tilec.kernels.plan import CHANNELS, EACH, SUMS, columns, of_rows, plan, whole_zeros
from tilec.quant import Quantized

M, N, K, G, H, R, T = tc.dims("M N K G H R T")
W, X, S = tc.types("W X S")


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
        rows, _ = self.weight.shape
        q, self.plan = self.weight, plan(self.weight, self.to)
        self.packed = tc.packed(q.dtype, self.to)
        bias = np.zeros(rows) if self.bias is None else np.asarray(self.bias, np.float64)
        require(bias.shape == (rows,), f"the bias has shape {bias.shape}, but there are {rows} outputs")
        channel = self.plan.channel.astype(np.float32)
        dummy = Tensor.from_values(np.zeros((1, rows)), self.to)
        zeros, self.whole = dummy, True
        if q.zeros is not None:
            zeros = Tensor.from_values(of_rows(q.zero_values(), q), self.to)
            self.whole = whole_zeros(zeros.values(), q.dtype)
        scales = dummy if self.plan.scales is None else Tensor.from_values(self.plan.scales, self.plan.scale_type)
        codes, order = columns(q)
        words = Tensor.from_codes(np.ascontiguousarray(codes.T), self.packed)
        self._host = {"w": words, "scales": scales, "zeros": zeros, "channel": channel, "bias": bias.astype(np.float32)}
        self._host |= {} if order is None else {"order": order}

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
        if self.plan.group != q.group and self.plan.on != CHANNELS:
            text += f"; groups of {q.group} are kept as groups of {self.plan.group}"
        return text

    def __call__(self, x: Any) -> Any:
        library = OfTorch(x) if is_torch(x) else OfNumpy(x)
        shape, kind = tuple(x.shape), library.kind(x)
        require(shape[-1:] == self.weight.shape[1:], f"x has shape {list(shape)}, but the layer has {self.weight.shape[1]} inputs")
        require(kind == self.to, f"x is {kind}, but the layer computes in {self.to}", hint=f"convert x, or make the layer with to={kind}")
        held, m, n = self.held(library), math.prod(shape[:-1]), self.weight.shape[0]
        flat = library.rows(x, held.get("order"))
        y = library.empty((m, n), self.to)
        if m and n:
            self.launch(flat, y, library, self.form(m, library))
        return library.shaped(y, (*shape[:-1], n))

    def form(self, m: int, library: Library) -> Form:
        """The form for m rows."""
        k, n = self._host["w"].shape
        return form(m, n, k, self.weight.dtype.bits, self.plan.group, self.plan.on == SUMS, library.multiprocessors, library.shared)

    def held(self, library: Library) -> dict[str, Any]:
        """What the kernel is given at every call, where the library's arrays lie."""
        if library.place not in self._held:
            self._held[library.place] = {name: library.hold(a) for name, a in self._host.items()}
        return self._held[library.place]

    def launch(self, x: Any, y: Any, library: Library, how: Form) -> None:
        """One product, in a form of one's choice: x [M, K'] in the order of the kernel's columns, y [M, N]."""
        kernel, args, constants = self.call(x, y, library, how)
        kernel(*args, **constants)

    def call(self, x: Any, y: Any, library: Library, how: Form) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The kernel that is launched, its arguments and its constants."""
        (m, n), held = y.shape, self.held(library)
        parts, tiles = (m, cdiv(m, how.bm) * cdiv(n, how.bn)) if how.splits > 1 else (1, 1)
        work, turn = library.workspace(parts * n, tiles)
        tensors = (held[name] for name in ("w", "scales", "zeros", "channel", "bias"))
        return kernel_of(how.warps), (x, *tensors, y, work.reshape(parts, n), turn), self.constants(how)

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
