"""y = x W^T + b for weights W of few bits: `Linear` prepares a quantized weight once and multiplies by it at any number of rows.

    layer = Linear(quantize_linear(w, "int4", 128), bias)
    y = layer(x)                                     # x [M, K] in f16 or bf16: arrays of NumPy or PyTorch, on a GPU where there is one

Weights are packed for the registers of the matrix instructions (`tilec.packed`). Where their scales go is decided by `plan`, and what a product is
shared out by is its `form`; `explain()` tells both, and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

import tilec as tc
from tilec import Compiled, DType, Kernel, Tensor, bf16, cdiv, f16, f32, i32, int4
from tilec.errors import TileError, presented, require
from tilec.ir.packing import Packed
from tilec.kernels.forms import FEW, MEASURED, MULTIPROCESSORS, SHARED, Asked, Form, clocks, form, measured
from tilec.kernels.libraries import Library, OfNumpy, library_of, taken
from tilec.kernels.pieces import finished, share_of, summed
from tilec.kernels.placed import Placed
from tilec.kernels.plan import CHANNELS, EACH, SUMS, columns, of_rows, plan, whole_zeros
from tilec.quant import Quantized

M, N, K, G, H, P, R, T = tc.dims("M N K G H P R T")
W, X, S = tc.types("W X S")


@tc.kernel(warps=4)
def linear(
    x: X[M, K], w: W[K, N], scales: S[G, N], zeros: X[H, N], channel: f32[N], bias: f32[N], y: X[M, N], work: f32[P, R, N], turn: i32[T],
    *, W: DType = tc.packed(int4), X: DType = f16, S: DType = f16, on: str = EACH, group: int = 128, has_zeros: bool = False,
    whole: bool = True, aligned: bool = False, below: float = 2.0, unit: float = 1.0,
    bm: int = 16, bn: int = 128, stages: int = 4, splits: int = 1,
):  # fmt: skip
    """y = x @ w' * channel + bias, w' being the weights with their scales and zero points of `group` rows, as `on` says.

    x is X[M, K], w packed W[K, N]; scales and zeros have a row for each group; channel and bias are f32[N]. The sum over K is shared out among
    `splits` blocks, each of which leaves its part in `work`, f32[splits, M, N]; the last one to come adds them in order, so that results repeat.
    `turn` is zero before and after. With tiles of 8 rows the product is transposed, y^T = w'^T x^T: the matrix instruction takes 16 rows on its left
    and 8 columns on its right, so that the weights are the rows, and half as many instructions do.
    """
    tc.grid(cdiv(M, bm), cdiv(N, bn), splits)
    if on == SUMS:
        tc.assume(cdiv(K, group) <= G)
    if splits > 1:
        tc.assume((M <= R) & (splits <= P) & (cdiv(M, bm) * cdiv(N, bn) <= T))
    if aligned:  # all rows begin at whole vectors
        tc.assume(K % 8 == 0)
        tc.assume(N % 8 == 0)
    i, j, part = tc.block_index(0) * bm, tc.block_index(1) * bn, tc.block_index(2)
    first, last = share_of(part, splits, K)
    acc = summed(x, w, scales, zeros, i, j, first, last, X, on, group, has_zeros, whole, below, unit, bm, bn, stages)
    finished(acc, i, j, part, splits, channel, 1.0 if on == EACH else 1.0 / unit, bias, None, y, work, turn)


class Recipe(NamedTuple):
    """What a layer's kernel is made for: the kernel's constants but for the form, and W's shape as the kernel has it."""

    W: str
    X: str
    S: str
    on: str
    group: int
    has_zeros: bool
    whole: bool
    below: float
    unit: float
    n: int
    k: int
    sums_up_to: int = 0

    def asked(self, m: int, multiprocessors: int = MULTIPROCESSORS, shared: int = SHARED) -> Asked:
        """The product with m rows, as forms are asked for."""
        return Asked(m, self.n, self.k, tc.dtype(self.W).bits, self.group, self.at(m) == SUMS, multiprocessors, shared, not self.whole)

    def at(self, rows: int) -> str:
        """What scales are applied to in tiles of so many rows."""
        return SUMS if rows <= self.sums_up_to else self.on

    def form(self, m: int, library: Library) -> Form:
        """The form for m rows."""
        return form(self.asked(m, library.multiprocessors, library.shared))

    def kernel(self, how: Form) -> Any:
        """The kernel with a form's warps."""
        return of_warps(linear, how.warps)

    def constants(self, how: Form) -> dict[str, Any]:
        """The kernel's constants for a form."""
        given = {**self._asdict(), **{name: tc.dtype(getattr(self, name)) for name in "WXS"}}
        shared_out = {"bm": how.bm, "bn": how.bn, "stages": how.stages, "splits": how.splits}
        settled = {name: v for name, v in given.items() if name not in ("n", "k", "sums_up_to")}
        return settled | shared_out | {"on": self.at(how.bm), "aligned": self.asked(1).aligned}


MAKE = "make one of it: tilec.quant.quantize_linear(w, 'int4', 128)"
COMPUTED = (f16, bf16)  # types of activations
TENSORS = ("w", "scales", "zeros", "channel", "bias")  # of a layer, in the kernel's order; and perhaps an `order`


def product(x: Any, held: Mapping[str, Any], recipe: Recipe, library: Library, out: Any = None) -> Any:
    """y [..., N] for x [..., K] and a layer's tensors where x lies; `out`, if there is one."""
    shape = (*x.shape[:-1], recipe.n)
    flat, y = library.rows(x, held.get("order")), taken(out, library, shape, tc.dtype(recipe.X))
    if math.prod(y.shape):
        kernel, args, constants = call(flat, y, held, recipe, library, recipe.form(y.shape[0], library))
        kernel(*args, **constants, **library.options)
    return library.shaped(y, shape) if out is None else out


def call(x: Any, y: Any, held: Mapping[str, Any], recipe: Recipe, library: Library, how: Form) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The kernel for a product in some form, its arguments and its constants: x [M, K] with its columns as the kernel has them, y [M, N]."""
    return kernel_of(how.warps), (x, *(held[t] for t in TENSORS), y, *workspace(y, library, how)), recipe.constants(how)


def workspace(y: Any, library: Library, how: Form) -> tuple[Any, Any]:
    """Memory for parts of the sums of y [M, N], f32[splits, M, N], and a turn for each of its tiles; the least of both where nothing is shared out."""
    m, n = y.shape
    rows, tiles = (m, cdiv(m, how.bm) * cdiv(n, how.bn)) if how.splits > 1 else (1, 1)
    work, turn = library.workspace(how.splits * rows * n, tiles)
    return library.shaped(work, (how.splits, rows, n)), turn


def kernel_of(warps: int) -> Any:
    """The kernel with so many warps."""
    return of_warps(linear, warps)


@cache
def of_warps(kernel: Any, warps: int) -> Any:
    """A kernel of 4 warps with so many."""
    return kernel if warps == 4 else kernel.of_warps(warps)


class Held:
    """A layer's `arrays`, and where else they lie."""

    arrays: dict[str, Any]
    _held: dict[Any, dict[str, Any]]  # by device: what the kernel is given at every call

    @property
    def tensors(self) -> dict[str, Any]:
        """What the kernel is given besides activations, by its parameters' names and in their order: arrays of NumPy and `tc.Tensor`s, which have `bytes`."""
        return {name: self.arrays[name] for name in TENSORS}

    @property
    def nbytes(self) -> int:
        """Bytes of what is read for each product, the activations aside."""
        return sum(int(a.nbytes) for a in self.arrays.values())

    def _where(self, library: Library) -> dict[str, Any]:
        """What the kernel is given at every call, where the library's arrays lie."""
        if library.place not in self._held:
            self._held[library.place] = {name: library.hold(a) for name, a in self.arrays.items()}
        return self._held[library.place]


@dataclass
class Linear(Held):
    """A linear layer with weights of few bits: `layer(x)` is x W^T + b.

    `weight` is W [N, K], of `tilec.quant` or, packed where it lay, of `tilec.kernels.placed`; `bias` [N] or None; `to`, f16 or bf16, is the type of
    x [..., K] and y [..., N]. x is an array of
    NumPy, a `tc.Tensor`, or a tensor of PyTorch; y is of the same kind. Without a GPU the interpreter computes. Nothing is allocated on a GPU but
    the result, and nothing waited for, so that calls can be captured in a CUDA graph once one of that shape has been made; see `libraries` for
    streams.

    `kernel` is the kernel that computes it, for the compiler, the simulator and bundles.

    Raises TileError for shapes and types that do not fit, and for weights that are no finite numbers of `to`.
    """

    weight: Quantized | Placed
    bias: Any = None
    to: DType = f16
    _held: dict[Any, dict[str, Any]] = field(default_factory=dict, repr=False)

    @presented
    def __post_init__(self) -> None:
        self.to = tc.dtype(self.to)
        require(self.to in COMPUTED, f"activations are f16 or bf16, not {self.to}", hint="to=tc.f16, the default, or to=tc.bf16")
        known = isinstance(self.weight, Quantized | Placed)
        require(known, f"the weight is a Quantized, not a {type(self.weight).__name__}", hint=MAKE)
        q, (rows, _) = self.weight, self.weight.shape
        p = self.plan = plan(q, self.to)
        bias = np.zeros(rows) if self.bias is None else numbers(self.bias)
        require(bias.shape == (rows,), f"the bias has shape {bias.shape}, but there are {rows} outputs")
        nothing = np.zeros((1, rows))
        zeros = nothing if q.zeros is None else of_rows(q.zero_values(), q)
        packed = tc.packed(q.dtype, self.to)
        w, order = words(q, packed)
        self.recipe = Recipe(
            str(packed), str(self.to), str(p.scale_type), p.on, p.group, q.zeros is not None, q.zeros is None or whole_zeros(zeros, q.dtype, self.to),
            p.below, p.unit, *reversed(w.shape), p.sums_up_to,
        )  # fmt: skip
        self.arrays: dict[str, Any] = {
            "w": w,
            "scales": Tensor.from_values(nothing if p.scales is None else p.scales, p.scale_type),
            "zeros": Tensor.from_values(zeros, self.to),
            "channel": p.channel.astype(np.float32),
            "bias": bias.astype(np.float32),
            **({} if order is None else {"order": order}),
        }

    def explain(self, rows: int | Iterable[int] = (1, 16, 256, 4096), multiprocessors: int = MULTIPROCESSORS, shared: int = SHARED) -> str:
        """Where scales and zero points go, and why; for a number of rows, or some, the form of the product on a GPU of so many multiprocessors and
        bytes of shared memory for a block, and whether it was measured."""
        return "\n".join([self.placed(), *(described(self.recipe.asked(m, multiprocessors, shared)) for m in several(rows))])

    def placed(self) -> str:
        """Where scales and zero points go, and why."""
        q = self.weight
        text = f"{q!r} in {self.to}: scales on {self.plan.on}, as {self.plan.why}"
        if self.plan.sums_up_to:
            text += f"; in tiles of up to {self.plan.sums_up_to} rows on {SUMS}, where that costs less"
        if q.zeros is not None:
            how = "are whole numbers, and join the conversion" if self.recipe.whole else "are subtracted from each weight"
            text += f"; zero points {how}"
        if self.plan.group != q.group and self.plan.on != CHANNELS:
            text += f"; groups of {q.group} are kept as groups of {self.plan.group}"
        return text

    def kernel(self, rows: int = 16) -> Kernel:
        """The kernel that computes the layer, in the form for so many rows of activations, its constants being the layer's: right for any number,
        and best for about as many. It takes x [M, K], its columns gathered by the weight's order if there is one, what `tensors` has, y [M, N], a workspace
        f32[splits, M, N] and turns, i32 zeros, one for each tile of y: f32[1, 1, N] and i32[1] unless `kernel.signature.resolve({})["splits"]` is above 1.

        It has an example, so that `tilec compile`, `explain`, `bisect` and `shadow` take `FILE.py:LAYER` as they take a kernel.
        """
        host = OfNumpy(np.empty(0))
        how = self.recipe.form(rows, host)
        found: Kernel = kernel_of(how.warps).with_constants(**self.recipe.constants(how))
        found.example(lambda rng, m=rows: self._example(rng, m, how))
        return found

    def _example(self, rng: np.random.Generator, m: int, how: Form) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x = Tensor.from_values(rng.standard_normal((m, self.weight.shape[1])), self.to)
        require(isinstance(self.weight, Quantized), "a layer whose weights were packed where they lie has no example")
        exact = x.values().astype(np.float64) @ self.weight.dequantize().T + (0.0 if self.bias is None else numbers(self.bias))
        y = Tensor.from_codes(np.zeros((m, self.recipe.n), np.uint16), self.to)
        host = OfNumpy(x)
        _, args, _ = call(host.rows(x, self.arrays.get("order")), y, self.arrays, self.recipe, host, how)
        return args, {"y": exact}

    def compile(self, arch: str = "sm_80", rows: int = 16) -> Compiled:
        """The kernel in the form for so many rows, compiled for an architecture. Raises TileError."""
        return self.kernel(rows).compile(arch)

    @presented
    def simulate(self, x: Any, arch: str = "sm_80") -> tuple[Any, Any]:
        """(y, report): the product by the emitted PTX, run on the CPU with all checks (`tilec.sim.Report`), for x [..., K] in host memory, not empty."""
        library = OfNumpy(x)
        check(tuple(x.shape), library.kind(x), self.weight.shape[1], self.to)
        rows = math.prod(x.shape[:-1])
        require(rows, f"x has shape {list(x.shape)}, and nothing is computed")
        how, y = self.recipe.form(rows, library), library.empty((rows, self.recipe.n), self.to)
        made, args, constants = call(library.rows(x, self.arrays.get("order")), y, self.arrays, self.recipe, library, how)
        report = made.simulate(*args, arch=arch, **constants)
        return library.shaped(y, (*x.shape[:-1], self.recipe.n)), report

    @presented
    def __call__(self, x: Any, out: Any = None, stream: Any = None) -> Any:
        """x W^T + b, [..., N], for x [..., K], in the memory of `out` if it is given: arrays on a GPU that are not PyTorch's (CuPy's, JAX's, any with the CUDA
        array interface or DLPack, or a `tc.Tensor` over one) want it, and may come with a `stream`. Raises TileError for an x that does not fit."""
        library = library_of(x, stream)
        x = library.own(x)
        check(tuple(x.shape), library.kind(x), self.weight.shape[1], self.to)
        return product(x, self._where(library), self.recipe, library, out)


def words(q: Quantized | Placed, packed: Packed) -> tuple[Tensor, Any]:
    """The packed weights [K, N] as the kernel has them, and what the activations' columns are gathered by, if they are."""
    if isinstance(q, Placed):
        placed = f"place(w, ..., to='{packed.to}')" if packed.element == q.dtype else "tilec.quant.quantize_linear(w, ...): codes become others on the host"
        require(q.kind == packed, f"the weights were packed as {q.kind}, but the layer wants {packed}", hint=placed)
        return q.packed, None
    codes, order = columns(q)
    return Tensor.from_codes(np.ascontiguousarray(codes.T), packed), order


def numbers(bias: Any) -> Any:
    """A bias in float64. Raises TileError for what is no array of numbers in host memory."""
    try:
        return np.asarray(bias, np.float64)
    except (TypeError, ValueError):
        raise TileError(f"the bias is no array of numbers in host memory, but a {type(bias).__name__}") from None


def several(rows: int | Iterable[int]) -> Iterable[int]:
    """Numbers of rows, of which one may stand by itself."""
    return (rows,) if isinstance(rows, int) else rows


def described(asked: Asked) -> str:
    """A line about the form of a product."""
    how = form(asked)
    known = "measured" if asked.key in measured(MEASURED) else f"reckoned, bound by {clocks(asked, how).bound}"
    parts = f"K in {how.splits} parts" if how.splits > 1 else "all of K"
    turned = ", transposed" if how.bm <= FEW else ""
    return f"  {asked.m} rows: tiles of {how.bm} x {how.bn}{turned}, {how.warps} warps, {how.stages} stages, {parts} ({known})"


def check(shape: tuple[int, ...], kind: DType | str, inputs: int, to: DType, otherwise: str | None = None) -> None:
    """Raise TileError unless activations fit a layer; `otherwise` is a hint for those of another type."""
    require(shape[-1:] == (inputs,), f"x has shape {list(shape)}, but the layer has {inputs} inputs")
    ways = f"convert x, or make the layer with to=tc.{kind}" if kind in COMPUTED else f"convert x: {'x.astype(np.float16)' if to == f16 else 'as bf16'}"
    require(kind == to, f"x is {kind}, but the layer computes in {to}", hint=otherwise or ways)
