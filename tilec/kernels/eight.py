"""y = x W^T + b where x comes in 8 bits, int8 or e4m3, with a scale for each row, and W in any type of 1 to 8 bits.

    layer = Linear8(quantize_linear(w, "int4", 128), bias)          # or to="e4m3", from sm_89 on
    y = layer(*rows8(x))                                            # codes [M, K] and a scale for each row, f32[M]

What is multiplied follows from what is exact (`way`): products of 8 bits where the weights are values of such a type, perhaps but for a power of two;
else of 16 bits, which hold all activations of 8. Products of integers are exact sums in i32; scales and zero points are applied to sums in f32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tilec as tc
from tilec import Compiled, DType, Kernel, Tensor, bf16, cdiv, f16, f32, i32, int4, int8, uint8
from tilec.errors import presented, require
from tilec.ir.arrays import is_torch
from tilec.ir.dtypes import codebook
from tilec.kernels.forms import FEW, MULTIPROCESSORS, SHARED, TILE, Asked, Form, form
from tilec.kernels.libraries import Library, OfNumpy, library_of, taken
from tilec.kernels.linear import COMPUTED, MAKE, TENSORS, Held, Linear, Recipe, described, numbers, of_warps, several, words, workspace
from tilec.kernels.pieces import finished, share_of, summed
from tilec.kernels.placed import Placed
from tilec.kernels.plan import EACH, SUMS
from tilec.quant import Quantized

M, N, K, G, H, L, P, Q, R, T = tc.dims("M N K G H L P Q R T")
A, W, X, S, Y = tc.types("A W X S Y")

E4M3, E5M2 = tc.dtype("e4m3"), tc.dtype("e5m2")
ROWS = "layer(*rows8(x)): rows8 gives codes, and a scale for each row"
LEAST = 32  # rows of weights that an instruction of 8 bits takes, and so the smallest group
EXACT = 0x4B400000  # 3 * 2**22 in f32, plus an integer below 2**22 in the last places


@tc.kernel(warps=4)
def linear8(
    x: A[M, K], rows: f32[M], sums: f32[Q, L], w: W[K, N], scales: f32[G, N], zeros: f32[H, N], channel: f32[N], bias: f32[N], y: Y[M, N],
    work: f32[P, R, N], turn: i32[T],
    *, A: DType = int8, W: DType = tc.packed(int4, int8), Y: DType = f16, group: int = 128, has_zeros: bool = False, grouped: bool = True,
    aligned: bool = False, bm: int = 16, bn: int = 128, stages: int = 3, splits: int = 1,
):  # fmt: skip
    """y = rows * (x @ ((w - zeros) * scales)) * channel + bias in products of 8 bits: x [M, K] in A, int8 or e4m3, w packed for 8 bits, whose power of
    two the scales have been divided by, and zero points multiplied by. If `grouped`, scales and zero points have a row for each group of rows of w; else zero
    points have one row, scales are the channels', and integers are summed as such. With zero points `sums` has those of x, as `summing` makes them. `splits`,
    `work` and `turn` are as in `tilec.kernels.linear`, and tiles of few rows are transposed."""
    tc.grid(cdiv(M, bm), cdiv(N, bn), splits)
    if grouped:
        tc.assume(cdiv(K, group) <= G)
        if has_zeros:
            tc.assume(cdiv(K, group) <= H)
    if has_zeros:
        tc.assume((M <= L) & (cdiv(K, math.gcd(group, TILE) if grouped else TILE) <= Q))
    if splits > 1:
        tc.assume((M <= R) & (splits <= P) & (cdiv(M, bm) * cdiv(N, bn) <= T))
    if aligned:
        tc.assume(K % 16 == 0)
        tc.assume(N % 8 == 0)
    i, j, part = tc.block_index(0) * bm, tc.block_index(1) * bn, tc.block_index(2)
    first, last = share_of(part, splits, K)
    turned, wide = bm <= FEW, i32 if A == int8 else f32
    step = math.gcd(group, TILE) if grouped else TILE
    acc, total = tc.zeros(wide if not grouped else f32, [bn, bm] if turned else [bm, bn]), tc.zeros(f32, [1, bm])
    for k in tc.range(first, last, TILE, stages=stages):
        weights = tc.ldexp(tc.load(w, [k, j], [TILE, bn]), W.power, W.to)
        for r in tc.static_range(0, TILE, step):
            tile, held = tc.load(x, [i, k + r], [bm, step]), weights[r : r + step] if step < TILE else weights
            a, b = (held.T, tile.T) if turned else (tile, held)
            of_rows = tc.load(sums, [(k + r) // step, i], [1, bm]) if has_zeros else None
            if grouped:
                zero = tc.load(zeros, [(k + r) // group, j], [1, bn]) if has_zeros else None
                found, scale = less_zeros(product(a, b), of_rows, zero, turned), tc.load(scales, [(k + r) // group, j], [1, bn])
                acc = acc + found * (scale.T if turned else scale)
            else:
                acc = tc.dot(a, b, acc) if A == int8 else acc + product(a, b)
                total = total + of_rows if has_zeros else total
    result = tc.cast(acc, f32)
    if not grouped:
        result = less_zeros(result, total if has_zeros else None, tc.load(zeros, [0, j], [1, bn]), turned)
    finished(result.T if turned else result, i, j, part, splits, channel, 1.0, bias, rows, y, work, turn)


@tc.function
def product(a, b):
    """A product in f32. That of floats is not summed any further by the matrix instructions, whose sums of fp8 have few bits."""
    if a.dtype.is_float:
        return tc.dot(a, b)
    return exact(tc.dot(a, b, tc.full(i32, [a.shape[0], b.shape[1]], EXACT)))


@tc.function
def less_zeros(products, of_rows, zero, turned):
    """Products [bm, bn], or transposed if `turned`, less the rows' sums [1, bm] times zero points [1, bn]; as they are, without sums."""
    if of_rows is None:
        return products
    return products - (of_rows * zero.T if turned else of_rows.T * zero)


@tc.function
def exact(sums):
    """Integers below 2**22, as sums over at most 128 columns are, that were added to EXACT: a subtraction does for a conversion."""
    return tc.bitcast(sums, f32) - 12582912.0


@tc.kernel(warps=4)
def summing(x: A[M, K], sums: f32[Q, L], *, A: DType = int8, step: int = TILE, aligned: bool = False, bm: int = 8, bk: int = 4 * TILE):
    """The sums [K / step, M] of each `step` columns of x [M, K], for zero points: exact for int8, as they are below 2**24."""
    tc.grid(cdiv(M, bm), cdiv(K, bk))
    tc.assume((M <= L) & (cdiv(K, step) <= Q))
    if aligned:
        tc.assume(K % 16 == 0)
    i, k = tc.block_index(0) * bm, tc.block_index(1) * bk
    tile = tc.cast(tc.load(x, [i, k], [bm, bk]), f32)
    tc.store(sums, [k // step, i], tc.sum(tc.reshape(tile, [bm, bk // step, step]), axis=2).T)


@tc.kernel(warps=4)
def through16(
    x: A[M, K], rows: f32[M], w: W[K, N], scales: S[G, N], zeros: X[H, N], channel: f32[N], bias: f32[N], y: Y[M, N], work: f32[P, R, N], turn: i32[T],
    *, A: DType = int8, W: DType = tc.packed(int4), X: DType = f16, S: DType = f16, Y: DType = f16, on: str = EACH, group: int = 128,
    has_zeros: bool = False, whole: bool = True, aligned: bool = False, below: float = 2.0, unit: float = 1.0,
    bm: int = 16, bn: int = 128, stages: int = 3, splits: int = 1,
):  # fmt: skip
    """y = rows * (x @ w') * channel + bias, x converted to X, which holds it, and w', `splits`, `work` and `turn` as in `tilec.kernels.linear`."""
    tc.grid(cdiv(M, bm), cdiv(N, bn), splits)
    if on == SUMS:
        tc.assume(cdiv(K, group) <= G)
    if splits > 1:
        tc.assume((M <= R) & (splits <= P) & (cdiv(M, bm) * cdiv(N, bn) <= T))
    if aligned:
        tc.assume(K % 16 == 0)
        tc.assume(N % 8 == 0)
    i, j, part = tc.block_index(0) * bm, tc.block_index(1) * bn, tc.block_index(2)
    first, last = share_of(part, splits, K)
    acc = summed(x, w, scales, zeros, i, j, first, last, X, on, group, has_zeros, whole, below, unit, bm, bn, stages)
    finished(acc, i, j, part, splits, channel, 1.0 if on == EACH else 1.0 / unit, bias, rows, y, work, turn)


@tc.kernel(warps=4)
def rowing(x: X[M, K], codes: A[M, K], rows: f32[M], *, X: DType = f16, A: DType = int8, aligned: bool = False, bk: int = 1024):
    """Rows of x in 8 bits, one a block: see `rows8`."""
    tc.grid(M)
    if aligned:
        tc.assume(K % 16 == 0)
    i = tc.block_index(0)
    largest = tc.zeros(f32, [bk])
    for k in tc.range(0, K, bk):
        largest = tc.maximum(largest, tc.abs(f32(tc.load(x, [i, k], [bk]))))
    scale = tc.max(largest) / A.max
    finite = tc.isfinite(scale)
    by = tc.where(finite & (scale > 0), scale, 1.0)
    tc.store(rows, i, tc.where(finite, by, float("nan")))
    for k in tc.range(0, K, bk):
        tc.store(codes, [i, k], tc.cast(tc.where(finite, f32(tc.load(x, [i, k], [bk])) / by, 0.0), A))


@presented
def rows8(x: Any, to: DType | str = int8, out: tuple[Any, Any] | None = None, stream: Any = None) -> tuple[Any, Any]:
    """x [..., K] in int8 or e4m3: codes, and for each row a scale f32[...] such that its largest number is the type's largest.

    x is anything that NumPy makes numbers of, and codes are a `Tensor` then; or a tensor of PyTorch in f16, bf16 or f32, by a kernel where it lies, or another
    array on a GPU, with `out`, memory for codes and scales, and perhaps a `stream`. All is computed in f32, to the same bits everywhere. A row with NaN, an
    infinity, or a number that is too large for f32 has NaN as its scale, so that its results are NaN. Raises TileError for other types.
    """
    kind = tc.dtype(to)
    require(kind in (int8, E4M3), f"activations of 8 bits are int8 or e4m3, not {kind}")
    if is_array(x) and not isinstance(x, np.ndarray) and not (isinstance(x, Tensor) and x.device is None):
        return rows_where_they_lie(x, kind, out, stream)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(x, np.float32)
        found = np.abs(values).max(axis=-1, initial=0.0) / np.float32(kind.max)
        finite = np.isfinite(found)
        by = np.where(finite & (found > 0), found, np.float32(1.0))
        codes = np.where(finite[..., None], values / by[..., None], 0.0)
    return Tensor.from_values(codes, kind), np.where(finite, by, np.float32(np.nan))


def is_array(x: Any) -> bool:
    """Whether it is an array of some library that kernels take."""
    return isinstance(x, np.ndarray | Tensor) or is_torch(x) or hasattr(x, "__cuda_array_interface__") or hasattr(x, "__dlpack_device__")


def rows_where_they_lie(x: Any, kind: DType, out: tuple[Any, Any] | None, stream: Any) -> tuple[Any, Any]:
    """`rows8` by the kernel."""
    library = library_of(x, stream)
    x = library.own(x)
    given, shape = library.kind(x), tuple(x.shape)
    require(given in (f16, bf16, f32), f"what is quantized is f16, bf16 or f32, not {given}", hint="convert x")
    codes, rows = out or (library.empty(shape, kind), library.empty(shape[:-1], f32))
    m = math.prod(shape[:-1])
    if m:
        args = (library.rows(x, None), library.shaped(codes, (m, shape[-1])), library.shaped(rows, (m,)))
        rowing(*args, X=given, A=kind, aligned=shape[-1] % 16 == 0, **library.options)
    return codes, rows


class Way(NamedTuple):
    """How weights are multiplied by activations of 8 bits: as values of `kind`; where that has 8 bits, codes are read as `weight`, whose values are those of
    the weights times 2**power. `why` is for people."""

    kind: DType
    weight: DType
    power: int
    why: str


def way(weight: DType, group: int, columns: int, to: DType) -> Way:
    """The way for weights of a type in groups of some columns, and activations in int8 or e4m3: the first that is exact, 8 bits before 16, but
    for those to whose 8 bits no bit program leads."""
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
    for kind in (E4M3, E5M2) if to == E4M3 and fits else ():
        with np.errstate(over="ignore"):
            held = np.array_equal(kind.round(values), values)
        if held and tc.packed(weight, kind).direct:
            return Way(kind, weight, 0, f"{kind} holds all its values")
    for kind in (f16, bf16):
        with np.errstate(over="ignore"):
            held = np.array_equal(kind.round(values), values)
        if held:
            return Way(kind, weight, 0, f"{kind} holds all its values, and all of {to}; " + (small if not fits else f"{to} does not, or would take longer"))
    return Way(f16, weight, 0, f"its values are rounded to f16, which holds all of {to}")


def integers(weight: DType, values: npt.NDArray[np.float64]) -> DType:
    """Values as a table of integers; in the place of -0, as entries differ, is an integer that is not used."""
    found = values.tolist()
    unused = (float(v) for v in range(127, -128, -1) if v not in found)
    entries = [next(unused) if v in found[:i] else v for i, v in enumerate(found)]
    return codebook(f"{weight}_as_{int8}", entries)


class Recipe8(NamedTuple):
    """What a layer's kernel is made for: as `tilec.kernels.linear.Recipe`, whose fields `through` has if products are of 16 bits."""

    to: str
    out: str
    W: str
    group: int
    has_zeros: bool
    grouped: bool
    n: int
    k: int
    through: dict[str, Any] | None = None

    @property
    def step(self) -> int:
        """Rows of weights whose products are summed by themselves."""
        return math.gcd(self.group, TILE) if self.grouped else TILE

    @property
    def wide(self) -> Recipe:
        """Of products of 16 bits."""
        return Recipe(**(self.through or {}))

    def asked(self, m: int, multiprocessors: int = MULTIPROCESSORS, shared: int = SHARED) -> Asked:
        """The product with m rows, as forms are asked for."""
        if self.through:
            return self.wide.asked(m, multiprocessors, shared)._replace(given=8)
        twice = self.grouped or tc.dtype(self.to) != int8
        return Asked(m, self.n, self.k, tc.dtype(self.W).bits, self.step, twice, multiprocessors, shared, False, 8, 8)

    def form(self, m: int, library: Library) -> Form:
        """The form for m rows."""
        return form(self.asked(m, library.multiprocessors, library.shared))

    def kernel(self, how: Form) -> Any:
        """The kernel with a form's warps."""
        return of_warps(through16 if self.through else linear8, how.warps)

    def constants(self, how: Form) -> dict[str, Any]:
        """The kernel's constants for a form."""
        shared_out = {"bm": how.bm, "bn": how.bn, "stages": how.stages, "splits": how.splits, "aligned": self.asked(1).aligned}
        given = {"A": tc.dtype(self.to), "Y": tc.dtype(self.out)} | shared_out
        if self.through:
            return self.wide.constants(how) | given
        return given | {"W": tc.dtype(self.W), "group": self.group, "has_zeros": self.has_zeros, "grouped": self.grouped}


def product8(x: Any, rows: Any, held: Mapping[str, Any], recipe: Recipe8, library: Library, out: Any = None) -> Any:
    """y [..., N] for codes x [..., K], rows f32 [...] and a layer's tensors where they lie; `out`, if there is one."""
    shape = (*x.shape[:-1], recipe.n)
    flat, y = library_of(x).rows(x, held.get("order")), taken(out, library, shape, tc.dtype(recipe.out))
    if math.prod(y.shape):
        scales = library.shaped(rows, y.shape[:1])
        kernel, args, constants = call8(flat, scales, y, held, recipe, library, recipe.form(y.shape[0], library))
        kernel(*args, **constants, **library.options)
    return library.shaped(y, shape) if out is None else out


def call8(
    x: Any, rows: Any, y: Any, held: Mapping[str, Any], recipe: Recipe8, library: Library, how: Form
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The kernel for a product in some form, its arguments and its constants, for matrices whose columns are as the kernel has them; the sums of rows that
    zero points want are made."""
    sums = () if recipe.through else (sums_of(x, recipe, library),)
    return recipe.kernel(how), (x, rows, *sums, *(held[t] for t in TENSORS), y, *workspace(y, library, how)), recipe.constants(how)


def sums_of(x: Any, recipe: Recipe8, library: Library) -> Any:
    """What `summing` makes of x [M, K], if there are zero points."""
    if not recipe.has_zeros:
        return library.sums((1, 1))
    made = library.sums((cdiv(recipe.k, recipe.step), x.shape[0]))
    summing(x, made, A=tc.dtype(recipe.to), step=recipe.step, aligned=recipe.k % 16 == 0, **library.options)
    return made


@dataclass
class Linear8(Held):
    """A linear layer for activations of 8 bits: `layer(x, rows)` is rows * (x W^T) + b, for x [..., K] in `to`, int8 or e4m3, and rows f32[...].
    `to` is what `tilec.torch.QuantLinear`, which quantizes rows by itself, calls `activations`.

    `weight` is W [N, K] (`tilec.quant`) of any type, groups, scales, zero points and order. `out` is the type of y, f16, bf16 or f32. `explain` tells what is
    multiplied, and how the product is shared out. x is a `tc.Tensor` or an array of a type of NumPy's (int8) or ml_dtypes', or a tensor of PyTorch; y
    likewise. `rows8` makes both of numbers. Raises TileError for types and shapes that do not fit.
    """

    weight: Quantized | Placed
    bias: Any = None
    to: DType | str = int8
    out: DType | str = f16
    _held: dict[Any, dict[str, Any]] = field(default_factory=dict, repr=False)

    @presented
    def __post_init__(self) -> None:
        q, kind, out = self.weight, tc.dtype(self.to), tc.dtype(self.out)
        require(isinstance(q, Quantized | Placed), f"the weight is a Quantized, not a {type(q).__name__}", hint=MAKE)
        wide = "tilec.kernels.linear.Linear takes f16 and bf16" if kind in COMPUTED else None
        require(kind in (int8, E4M3), f"activations of 8 bits are int8 or e4m3, not {kind}", hint=wide)
        require(out in (f16, bf16, f32), f"results are f16, bf16 or f32, not {out}")
        bias = np.zeros(q.shape[0]) if self.bias is None else numbers(self.bias)
        require(bias.shape == (q.shape[0],), f"the bias has shape {bias.shape}, but there are {q.shape[0]} outputs")
        self.way = way(q.dtype, q.group, q.shape[1], kind)
        self.recipe, self.arrays = (self._in_8_bits if self.way.kind.bits == 8 else self._in_16_bits)(kind, out, bias)

    def _in_8_bits(self, to: DType, out: DType, bias: Any) -> tuple[Recipe8, dict[str, Any]]:
        """Scales are of channels where each has one, and of groups else; both bear the powers of two."""
        q, how = self.weight, self.way
        packed = tc.packed(how.weight, how.kind)
        if isinstance(q, Placed):
            w, _ = words(q, packed)
        else:
            codes = q.codes.codes() if how.power == 0 else how.weight.encode(q.codes.values() * 2.0**how.power)
            w = Tensor.from_codes(np.ascontiguousarray(codes.T), packed)
        power = how.power + packed.power
        scales = q.scale_values().T * 2.0**-power
        zeros = np.zeros((1, q.shape[0])) if q.zeros is None else q.zero_values().T * 2.0**power
        grouped = len(scales) > 1 or (to == int8 and q.shape[1] >= 1 << 16)  # sums of products below 2**15
        arrays = {
            "w": w, "scales": scales if grouped else np.zeros_like(scales), "zeros": zeros,
            "channel": np.ones(q.shape[0]) if grouped else scales[0], "bias": bias,
        }  # fmt: skip
        held = {name: a if isinstance(a, Tensor) else np.ascontiguousarray(a, np.float32) for name, a in arrays.items()}
        recipe = Recipe8(str(to), str(out), str(packed), q.group, q.zeros is not None, grouped, *q.shape)
        return recipe, held if q.order is None else {**held, "order": q.order}

    def _in_16_bits(self, to: DType, out: DType, bias: Any) -> tuple[Recipe8, dict[str, Any]]:
        layer = Linear(self.weight, bias, self.way.kind)
        made = layer.recipe
        return Recipe8(str(to), str(out), made.W, made.group, made.has_zeros, False, made.n, made.k, made._asdict()), layer.arrays

    def explain(self, rows: int | Iterable[int] = (1, 16, 256, 4096), multiprocessors: int = MULTIPROCESSORS, shared: int = SHARED) -> str:
        """What is multiplied, and why; for a number of rows, or some, the form of the product, as `Linear.explain` tells it."""
        said = f"{self.weight!r} by {tc.dtype(self.to)}: products of {self.way.kind}, as {self.way.why}"
        return "\n".join([said, *(described(self.recipe.asked(m, multiprocessors, shared)) for m in several(rows))])

    def kernel(self, rows: int = 16) -> Kernel:
        """The kernel that computes the layer, in the form for so many rows, its constants being the layer's; as `Linear.kernel`. It takes x [M, K], rows, what
        `tensors` has, y [M, N], a workspace and turns."""
        how = self.recipe.form(rows, OfNumpy(np.empty(0)))
        found: Kernel = self.recipe.kernel(how).with_constants(**self.recipe.constants(how))
        found.example(lambda rng, m=rows: self._example(rng, m, how))
        return found

    def compile(self, arch: str | None = None, rows: int = 16) -> Compiled:
        """The kernel in the form for so many rows, compiled for an architecture: sm_80, or for e4m3 sm_89, by default. Raises TileError."""
        return self.kernel(rows).compile(arch or ("sm_80" if tc.dtype(self.to) == int8 else "sm_89"))

    def _example(self, rng: np.random.Generator, m: int, how: Form) -> tuple[tuple[Any, ...], dict[str, Any]]:
        require(isinstance(self.weight, Quantized), "a layer whose weights were packed where they lie has no example")
        x, rows = rows8(rng.standard_normal((m, self.weight.shape[1])), self.to)
        exact = x.values() * rows[:, None].astype(np.float64) @ self.weight.dequantize().T + (0.0 if self.bias is None else numbers(self.bias))
        host = OfNumpy(x)
        y = Tensor.from_values(np.zeros((m, self.recipe.n)), self.out)
        return call8(host.rows(x, self.arrays.get("order")), rows, y, self.arrays, self.recipe, host, how)[1], {"y": exact}

    @presented
    def simulate(self, x: Any, rows: Any = None, arch: str | None = None) -> tuple[Any, Any]:
        """(y, report): the product by the emitted PTX, run on the CPU with all checks, for x in host memory; e4m3 from sm_89 on."""
        check_arrays(x, rows)
        self._check(x, rows)
        library, m = OfNumpy(rows), math.prod(x.shape[:-1])
        require(m, f"x has shape {list(x.shape)}, and nothing is computed")
        y = library.empty((m, self.recipe.n), tc.dtype(self.out))
        flat = OfNumpy(x).rows(x, self.arrays.get("order"))
        made, args, constants = call8(flat, rows.reshape(-1), y, self.arrays, self.recipe, library, self.recipe.form(m, library))
        report = made.simulate(*args, arch=arch or ("sm_80" if tc.dtype(self.to) == int8 else "sm_89"), **constants)
        return library.shaped(y, (*x.shape[:-1], self.recipe.n)), report

    def _check(self, x: Any, rows: Any) -> None:
        """Raise TileError unless codes and scales of rows fit."""
        shape, k, to = tuple(x.shape), self.weight.shape[1], tc.dtype(self.to)
        require(shape[-1:] == (k,), f"x has shape {list(shape)}, but the layer has {k} inputs")
        kind = library_of(x).kind(x)
        require(kind == to, f"x is {kind}, but the layer takes {to}", hint=ROWS)
        require(tuple(rows.shape) == shape[:-1], f"rows have shape {list(rows.shape)}, but x has {list(shape)}: a row has one scale", hint=ROWS)

    @presented
    def __call__(self, x: Any, rows: Any = None, out: Any = None, stream: Any = None) -> Any:
        """rows * (x W^T) + b, [..., N], for codes x [..., K] and rows f32[...], as `rows8` makes them; `out` and `stream` as `Linear` takes them.
        Raises TileError for what does not fit."""
        check_arrays(x, rows)
        other, library = library_of(x), library_of(rows, stream)
        require(library.place == other.place, f"x lies in {other.place}, and rows in {library.place}")
        x, rows = other.own(x), library.own(rows)
        self._check(x, rows)
        return product8(x, rows, self._where(library), self.recipe, library, out)


def check_arrays(x: Any, rows: Any) -> None:
    """Raise TileError unless both codes and scales of rows are given."""
    require(is_array(x), f"x is an array of codes, not a {type(x).__name__}", hint=ROWS)
    require(rows is not None, "the scales of the rows of x are missing", hint=ROWS)
    require(is_array(rows), f"rows are an array of scales, not a {type(rows).__name__}", hint=ROWS)
