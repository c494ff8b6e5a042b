"""Quantized layers of random kinds, and how far the result of a right kernel can be from the exact one.

A weight W = (c - z) s t (code, zero point, scale, second scale) becomes w, and y = sum x w + b. With u = 2**-11 for f16 and 2**-8 for bf16, half a
unit in the last place, relative to the number:

- w differs from W by at most u |W| for each rounding: one for the scaled weight; one more for a code that the type does not hold (entries of
  codebooks, floats of wide range), for a scale that it does not hold and that no place in f32 was found for, and for a fractional zero point, whose own
  rounding adds u |z s t|. Where numbers are subnormal, the error is absolute: half the smallest subnormal number, times the largest scale; the
  kernel brings the largest scale below 2**-8 at the least, 2**-9 for whole numbers.
- The f32 sum of K products, and what is done with group sums, factors and bias afterwards, errs by at most 2**-23 for each of its K + 64 steps, as tensor
  cores truncate, relative to sum |x w| + |b|.
- The result is rounded once to f16 or bf16.

So much is certain. But the errors of weights do not conspire: x is random, of mean 0 and independent of them, so that sum x (w - W) is a normal variable of
variance sum (w - W)**2 <= ||E||**2, E being the bounds of the weights. 6 ||E|| is exceeded with a probability below 2e-9 even if each error is at its bound,
and is so near that a single wrong weight shows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import tilec as tc
from tilec import DType, f16
from tilec.ir.dtypes import codebook
from tilec.quant import Quantized

CODEBOOKS = {"cubes": [((i - 3.5) / 4) ** 3 for i in range(8)], "squares": [i * i / 225 - 0.3 for i in range(16)]}
WEIGHTS = [str(d) for d in tc.all_dtypes() if d.bits <= 8 and not d.is_bool and str(d) not in ("float8_e8m0", *CODEBOOKS)] + [*CODEBOOKS]
SCALES = tuple(map(tc.dtype, ("f16", "bf16", "f32", "float8_e8m0", "float8_e4m3")))
FLOAT_ZEROS = SCALES[:3]


class Case(NamedTuple):
    """A layer and activations x [M, K] for it; `bias` f32[N] or None."""

    q: Quantized
    bias: np.ndarray | None
    x: tc.Tensor
    said: str

    @property
    def to(self) -> DType:
        return self.x.dtype

    def given(self) -> Any:
        """x as a caller has it."""
        return self.x.numpy() if self.to == f16 else self.x

    def exact(self) -> np.ndarray:
        return self.x.values().astype(np.float64) @ self.q.dequantize().T + (0.0 if self.bias is None else self.bias.astype(np.float64))


def case(rng: np.random.Generator, kind: DType, to: DType, m: int, n: int, k: int, **wished: Any) -> Case:
    """A layer of random properties, but for those that are wished: group, scale (a type), zeros (None, "int" or a type), two_level, order, bias."""

    def pick(name: str, *options: Any) -> Any:
        return wished[name] if name in wished else options[rng.integers(len(options))]

    group = pick("group", *groups(k))
    scale_kind = pick("scale", *SCALES)
    zero_kind = pick("zeros", None, None, *FLOAT_ZEROS, *(["int"] * 3 if kind.is_int else []))
    two_level = pick("two_level", None, None, "tensor", "row")
    codes = tc.Tensor.from_codes(random_codes(rng, kind, to, (n, k)), kind)
    scales = random_scales(rng, scale_kind, (1, 1) if group is None else (n, k // group))
    zeros = None if zero_kind is None else random_zeros(rng, kind, kind if zero_kind == "int" else zero_kind, scales.shape)
    second = None if two_level is None else np.float32(rng.uniform(0.5, 8, (1 if two_level == "tensor" else n, 1)))
    order = rng.permutation(k) if pick("order", False, False, True) else None
    bias = rng.standard_normal(n).astype(np.float32) if pick("bias", True, False) else None
    q = Quantized(codes, scales, zeros, second, order)
    q = Quantized(codes, scales, zeros, second, order)
    size = 8 * np.linalg.norm(q.dequantize()) / n**0.5
    if size > 2**15:  # more than f16 holds
        q = Quantized(codes, scales, zeros, np.float32(2.0 ** -np.log2(size) * (1.0 if second is None else second) * np.ones((1, 1))), order)
    x = tc.Tensor.from_values(rng.standard_normal((m, k)), to)
    return Case(q, bias, x, f"{q!r}, x {to}[{m}, {k}], groups of {q.group}, bias {bias is not None}")


def weight_type(name: str) -> DType:
    return codebook(name, CODEBOOKS[name]) if name in CODEBOOKS else tc.dtype(name)


def groups(k: int) -> list[int | None]:
    """Sizes from 16 to K that divide K; None is one scale for the tensor."""
    return [None] + [g for g in range(16, k + 1) if k % g == 0]


def random_codes(rng: np.random.Generator, kind: DType, to: DType, shape: tuple[int, int]) -> np.ndarray:
    """Any codes whose values are finite numbers of `to`."""
    with np.errstate(over="ignore"):
        fit = np.flatnonzero(np.isfinite(to.round(kind.decode(np.arange(1 << kind.bits, dtype=np.uint8)))))
    return rng.choice(fit, shape).astype(np.uint8)


def random_scales(rng: np.random.Generator, kind: DType, shape: tuple[int, int]) -> tc.Tensor:
    """Numbers of a layer's spread; some are 0 or negative where the type has such."""
    values = 2.0 ** rng.uniform(-7, 0, shape)
    if str(kind) != "float8_e8m0":
        values *= rng.choice([1, 1, 1, 1, -1, 0], shape)
    return tc.Tensor.from_values(values, kind)


def random_zeros(rng: np.random.Generator, kind: DType, of: DType, shape: tuple[int, int]) -> tc.Tensor:
    low, high = (max(float(kind.min), -16.0), min(float(kind.max), 16.0))
    values = rng.uniform(low, high, shape)
    return tc.Tensor.from_values(np.rint(values) if of.is_int else values, of)


def unit(to: DType) -> float:
    return 2.0 ** -(to.mantissa_bits + 1)


def weight_error(q: Quantized, to: DType) -> np.ndarray:
    """E [N, K] of the weights as they are stored: the most by which a right kernel's differ from W."""
    u, eta = unit(to), to.smallest_subnormal / 2
    scale = np.repeat(np.abs(q.scale_values()), q.group, axis=1)
    values, zeros = q.codes.values().astype(np.float64), q.zero_values()
    roundings = 1 + (to.round(values) != values) + (q.group % 128 != 0) * 1 + (zeros != np.rint(zeros)).any()
    relative = roundings * u * 1.02 * np.abs(q.dequantize(stored=True))
    code_error = np.abs(to.round(values) - values) + 2**9 * eta
    zero_error = np.repeat(np.abs(to.round(zeros) - zeros) + (u * np.abs(zeros) if q.zeros is not None and not q.zeros.dtype.is_int else 0), q.group, axis=1)
    return relative + scale * (code_error + zero_error) + 2**9 * eta * np.abs(q.scale_values()).max()


def bound(c: Case) -> np.ndarray:
    """The largest error [M, N] that is accepted."""
    q, u = c.q, unit(c.to)
    x, bias = q.gather(c.x.values().astype(np.float64)), 0.0 if c.bias is None else np.abs(c.bias)
    error = weight_error(q, c.to)
    size = np.abs(x) @ (np.abs(q.dequantize(stored=True)) + error).T + bias
    steps = (q.shape[1] + 64) * 2.0**-23
    inexact = 6 * np.linalg.norm(error, axis=1) + steps * size
    return inexact + u * (np.abs(c.exact()) + inexact) + c.to.smallest_subnormal


def check(y: Any, c: Case) -> None:
    """Raise AssertionError unless y is right."""
    found = np.asarray(y.values() if isinstance(y, tc.Tensor) else y, np.float64)
    assert found.shape == (c.x.shape[0], c.q.shape[0]), c.said
    ratio = np.abs(found - c.exact()) / bound(c)
    assert np.all(ratio <= 1), f"{np.nanmax(ratio):.2f} times the bound, {int(~(ratio <= 1).sum())} of {ratio.size}: {c.said}"

