"""What `make gpu` runs: the examples, and test kernels for what they don't use. Each has small random arguments and expected results."""

from __future__ import annotations

import copy
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tilec as tc
from tilec import DType, bf16, cdiv, f16, f32, f64, i32, i64, int6
from tilec.compiler import Kernel, numbers, poison, relative_norm
from tilec.ir.dtypes import all_dtypes
from tilec.kernels.pack import packing
from tilec.kernels.quantize import quantizing

EXAMPLES = Path(__file__).parent.parent / "examples"
M, N, K, T = tc.dims("M N K T")
W = tc.types("W")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A kernel with constants, and `make(rng) -> (arguments, expected)`, expected by parameter name in float64; None asks the interpreter,
    whose results must be met bit for bit."""

    kernel: Kernel
    make: Callable[[np.random.Generator], tuple[tuple[Any, ...], dict[str, Any] | None]]
    constants: dict[str, Any] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Launch once with fresh numbers and poisoned outputs; the differences from what is expected, and whether they keep their bounds."""
        seed = int.from_bytes(os.urandom(4), "little")
        args, expected = self.make(np.random.default_rng(seed))
        names = [p.name for p in self.kernel.signature.parameters]
        exact = expected is None
        if expected is None:
            wanted = copy.deepcopy(args)
            self.kernel.interpret(*wanted, **self.constants)
            changed = [n for n, a, b in zip(names, args, wanted, strict=True) if not np.isscalar(a) and relative_norm(numbers(a), numbers(b))]
            expected = {n: numbers(wanted[names.index(n)]) for n in changed}
        self.kernel(*args, **self.constants)
        found = {n: relative_norm(numbers(args[names.index(n)]), np.asarray(want, np.float64)) for n, want in expected.items()}
        bounds = {n: 0.0 if exact else self.bound(n) for n in expected}
        return {"right": bool(found) and all(d <= bounds[n] for n, d in found.items()), "differences": found, "bounds": bounds, "seed": seed}

    def bound(self, name: str) -> float:
        """Of ‖x − y‖ / ‖y‖: a few roundings to the output's type, and of sums in f32."""
        dtype = self.kernel.function(**self.constants).param(name).type.dtype
        return 4 * 2.0 ** -(dtype.mantissa_bits + 1) + 2.0**-20 if dtype.is_float else 0.0


def cases() -> dict[str, Case]:
    """All of them by name."""
    return {**dict(examples()), **dict(tests())}


VARIANTS: dict[str, list[dict[str, Any]]] = {  # constants of examples, which their arguments are made for, too
    "attention": [{"causal": True}, {"D": 128}, {"D": 128, "causal": True}],
    "quantized_matmul": [{"W": tc.dtype(w)} for w in ("int4", "uint3", "int5", "float4_e2m1", "float6_e3m2", "float8_e4m3")],
}


def examples() -> Iterator[tuple[str, Case]]:
    sys.path.insert(0, str(EXAMPLES))
    for path in sorted(EXAMPLES.glob("*.py")):
        kernel = getattr(importlib.import_module(path.stem), path.stem)
        for constants in [{}, *VARIANTS.get(path.stem, [])]:
            shown = "".join(f" {name}={value}" for name, value in constants.items())
            yield path.stem + shown, Case(kernel, lambda rng, k=kernel, c=constants: k.example_args(rng, **c), constants)  # type: ignore[misc]


# test kernels


@tc.kernel(warps=1)
def decode(w: W[N], y: f32[N], *, W: DType = int6, bn: int = 64):
    tc.grid(cdiv(N, bn))
    i = tc.block_index(0) * bn
    tc.store(y, [i], tc.cast(tc.load(w, [i], [bn]), f32))


@tc.kernel(warps=1)
def encode(x: f32[N], w: W[N], *, W: DType = int6, bn: int = 64):
    tc.grid(cdiv(N, bn))
    i = tc.block_index(0) * bn
    tc.store(w, [i], tc.cast(tc.load(x, [i], [bn]), W))


@tc.kernel(warps=2)
def fold(x: W[M, N], y: W[N], *, W: DType = i32, kind: str = "add", bm: int = 4, bn: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    update = getattr(tc, "atomic_" + kind)
    for r in tc.range(bm):
        if i + r < M:
            update(y, [j], tc.load(x, [i + r, j], [bn]))


@tc.kernel(warps=2)
def pick(table: f16[M, K], rows: i64[T], out: f16[T, K], back: f16[M, K], *, bt: int = 16, bk: int = 32):
    tc.grid(cdiv(T, bt), cdiv(K, bk))
    t, k = tc.block_index(0) * bt, tc.block_index(1) * bk
    row = tc.load(rows, [t], [bt])
    v = tc.gather(table, [row, k], [bt, bk], other=-2.0)
    tc.store(out, [t, k], v)
    tc.scatter(back, [row, k], v, mask=(t + tc.arange(bt) < T)[:, None])


@tc.kernel(warps=4)
def halves(x: f32[32, 64], a: f32[32], b: f32[64]):
    """Two groups of warps at once; columns are turned around in shared memory."""
    tc.grid(1)
    s = tc.shared(f32, [32, 64])
    with tc.warps(0, 1):
        tc.store(a, [0], tc.sum(tc.load(x, [0, 0], [32, 64]), axis=1))
    with tc.warps(1, 3):
        tc.store(s, tc.load(x, [0, 0], [32, 64]))
        tc.sync()
        tc.store(b, [0], tc.sum(tc.load(s, [0, 0], [64, 32], dims=[1, 0]), axis=1))


@tc.kernel(warps=1)
def windows(x: f32[N], y: f32[M, K], n: i32, *, bm: int = 8, bk: int = 16):
    """y[i, j] = x[2 i + j + 1]: a view whose rows overlap."""
    tc.grid(cdiv(M, bm), cdiv(K, bk))
    view = tc.tensor_view(x, 1, shape=[n, K], strides=[2, 1])
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bk
    tc.store(y, [i, j], tc.load(view, [i, j], [bm, bk]))


@tc.kernel(warps=2)
def functions(x: f32[N], e: f32[N], log: f32[N], root: f32[N], hyper: f32[N], *, bn: int = 64):
    tc.grid(cdiv(N, bn))
    i = tc.block_index(0) * bn
    v = tc.load(x, [i], [bn])
    tc.store(e, [i], tc.exp(v))
    tc.store(log, [i], tc.log(v))
    tc.store(root, [i], tc.sqrt(v))
    tc.store(hyper, [i], tc.tanh(v))


@tc.kernel(warps=2)
def extremes(x: tc.strided(f32[M, N]), low: f32[M], high: f32[M], *, bn: int = 128):
    tc.grid(M)
    tc.assume(N <= bn)
    i = tc.block_index(0)
    v = tc.load(x, [i, 0], [bn])
    inside = tc.arange(bn) < N
    tc.store(low, i, tc.min(tc.where(inside, v, float("inf"))))
    tc.store(high, i, tc.max(tc.where(inside, v, -float("inf"))))


@tc.kernel(warps=4)
def product(a: W[M, K], b: W[K, N], c: f32[M, N], *, W: DType = f16, bm: int = 64, bn: int = 64, bk: int = 32, stages: int = 3):
    """Any sizes: what hangs over the edge is checked at run time."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
    tc.store(c, [i, j], acc)


def tests() -> Iterator[tuple[str, Case]]:
    for dtype in all_dtypes():
        yield f"decode {dtype}", Case(decode, lambda rng, d=dtype: _decoded(rng, d), {"W": dtype})  # type: ignore[misc]
        if not dtype.is_bool and dtype.bits <= 16:
            yield f"encode {dtype}", Case(encode, lambda rng, d=dtype: _encoded(rng, d), {"W": dtype})  # type: ignore[misc]
    for kind, ufunc in {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}.items():
        for dtype in (i32, tc.u64):
            yield f"atomic {kind} {dtype}", Case(fold, lambda rng, u=ufunc, d=dtype: _folded(rng, u, d), {"W": dtype, "kind": kind})  # type: ignore[misc]
    for dtype in (f16, f32, f64):
        yield f"atomic add {dtype}", Case(fold, lambda rng, d=dtype: _folded(rng, np.add, d), {"W": dtype, "kind": "add"})  # type: ignore[misc]
    yield "gather and scatter", Case(pick, _picked)
    yield "groups of warps", Case(halves, lambda rng: _halves(rng.standard_normal((32, 64), np.float32)))
    yield "views", Case(windows, _windows)
    yield "functions", Case(functions, _functions)
    yield "reductions of strided rows", Case(extremes, _extremes)
    for name in ("int4", "float6_e3m2", "float7_e2m4", "nf4"):
        kind = tc.packed(name)
        constants = {"P": kind, "T": kind.element, "U": tc.dtype(f"uint{kind.bits}")}
        yield f"packing {name}", Case(packing, lambda rng, p=kind: _packed(rng, p), constants)  # type: ignore[misc]
    yield "quantizing int4", Case(quantizing, _quantized)
    for dtype in (f16, bf16):
        for m, n, k in ((64, 128, 96), (70, 50, 41)):
            yield f"product {dtype} {m}x{n}x{k}", Case(product, lambda rng, d=dtype, s=(m, n, k): _product(rng, d, *s), {"W": dtype})  # type: ignore[misc]


def _tensor(values: Any, dtype: DType) -> Any:
    made = tc.Tensor.from_values(values, dtype)
    return made.numpy() if dtype in (f16, f32, f64) or (dtype.is_int and dtype.bits >= 16) else made


def _poisoned(dtype: DType, *shape: int) -> Any:
    made = _tensor(np.zeros(shape), dtype)
    poison(made)
    return made


def _decoded(rng: np.random.Generator, dtype: DType) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if dtype.is_bool:
        w: Any = rng.integers(0, 2, 300).astype(bool)
        return (w, _poisoned(f32, 300)), {"y": w}
    codes = rng.integers(0, 2 ** min(dtype.bits, 63), 300, np.uint64)
    held = tc.Tensor.from_codes(codes.astype(dtype.codes), dtype)
    w = held.numpy() if dtype.bits > 8 and dtype != bf16 else held
    with np.errstate(all="ignore"):
        return (w, _poisoned(f32, 300)), {"y": held.values().astype(np.float32)}


def _encoded(rng: np.random.Generator, dtype: DType) -> tuple[tuple[Any, ...], None]:
    """Numbers of all magnitudes: the interpreter says what becomes of them."""
    x = (rng.standard_normal(300) * 2.0 ** rng.integers(-12, 9, 300)).astype(np.float32)
    return (x, _poisoned(dtype, 300)), None


def _folded(rng: np.random.Generator, ufunc: np.ufunc, dtype: DType) -> tuple[tuple[Any, ...], dict[str, Any]]:
    x, y = (rng.integers(0, 100, s).astype(dtype.numpy) for s in ((10, 50), 50))
    return (x, y), {"y": ufunc.reduce(np.concatenate([y[None], x]), axis=0)}


def _picked(rng: np.random.Generator) -> tuple[tuple[Any, ...], dict[str, Any]]:
    table, rows = rng.standard_normal((30, 40)).astype(np.float16), rng.permutation(30)[:21].astype(np.int64)
    back = np.zeros((30, 40), np.float16)
    expected = back.copy()
    expected[rows] = table[rows]
    return (table, rows, _poisoned(f16, 21, 40), back), {"out": table[rows], "back": expected}


def _halves(x: np.ndarray) -> tuple[tuple[Any, ...], dict[str, Any]]:
    wide = x.astype(np.float64)
    return (x, _poisoned(f32, 32), _poisoned(f32, 64)), {"a": wide.sum(axis=1), "b": wide.sum(axis=0)}


def _windows(rng: np.random.Generator) -> tuple[tuple[Any, ...], dict[str, Any]]:
    x = rng.standard_normal(60, np.float32)
    return (x, _poisoned(f32, 12, 20), 12), {"y": np.lib.stride_tricks.sliding_window_view(x[1:], 20)[:24:2]}


def _functions(rng: np.random.Generator) -> tuple[tuple[Any, ...], dict[str, Any]]:
    x = rng.uniform(0.01, 8, 200).astype(np.float32)
    wide = x.astype(np.float64)
    expected = {"e": np.exp(wide), "log": np.log(wide), "root": np.sqrt(wide), "hyper": np.tanh(wide)}
    return (x, *(_poisoned(f32, 200) for _ in range(4))), expected


def _extremes(rng: np.random.Generator) -> tuple[tuple[Any, ...], dict[str, Any]]:
    x = rng.standard_normal((9, 200), np.float32)[:, ::2]
    return (x, _poisoned(f32, 9), _poisoned(f32, 9)), {"low": x.min(axis=1), "high": x.max(axis=1)}


def _packed(rng: np.random.Generator, kind: Any) -> tuple[tuple[Any, ...], None]:
    codes = rng.integers(0, 1 << kind.bits, (1, 300, 200), np.uint8)
    return (codes, tc.Tensor.from_codes(np.zeros_like(codes), kind)), None


def _quantized(rng: np.random.Generator) -> tuple[tuple[Any, ...], None]:
    w = rng.standard_normal((256, 200)).astype(np.float16)
    return (w, tc.Tensor.from_codes(np.zeros(w.shape, np.uint8), tc.packed("int4")), _poisoned(f16, 2, 200)), None


def _product(rng: np.random.Generator, dtype: DType, m: int, n: int, k: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    a, b = (tc.Tensor.from_values(rng.standard_normal(s), dtype) for s in ((m, k), (k, n)))
    given = (a.numpy(), b.numpy()) if dtype == f16 else (a, b)
    return (*given, _poisoned(f32, m, n)), {"c": a.values() @ b.values()}
