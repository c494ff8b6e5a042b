"""What a corpus case is: a PTX fixture, its launch, fresh arguments, and the expected outputs with their error bounds.

References come from NumPy in float64 (or integers), never from the simulator. Outputs start poisoned, and `test_references.py` checks that
neither the poison nor zeros would pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

PTX = Path(__file__).with_name("ptx")
INDEX: dict[str, dict[str, Any]] = json.loads((PTX / "index.json").read_text())
UNIT = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-24, "f64": 2.0**-53}  # unit roundoff; relative error of one rounding to nearest
LEAST = {"f16": 2.0**-24, "bf16": 2.0**-133, "f32": 2.0**-149, "f64": 5e-324}  # least subnormal: absolute error near zero


class Mismatch(AssertionError):
    """An output differs from its reference by more than its bound."""


@dataclass(frozen=True)
class Near:
    """Expected values and absolute bounds; `as_dtype` reinterprets the buffer's bits before comparing."""

    value: np.ndarray
    bound: np.ndarray | float = 0.0
    as_dtype: Any = None

    def check(self, got: np.ndarray) -> None:
        got = got if self.as_dtype is None else got.view(self.as_dtype)
        want = np.asarray(self.value)
        if got.shape != want.shape:
            raise Mismatch(f"shape {got.shape}, expected {want.shape}")
        if self.as_dtype is None and got.dtype.kind in "iub" and np.isscalar(self.bound) and self.bound == 0:
            bad = got != want
        else:
            wide = np.complex128 if got.dtype.kind == "c" else np.float64
            g, w = got.astype(wide), want.astype(wide)
            with np.errstate(invalid="ignore"):
                bad = ~((np.abs(g - w) <= self.bound) | (g == w) | (np.isnan(g) & np.isnan(w)))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            limit = np.broadcast_to(self.bound, bad.shape)[at]
            raise Mismatch(f"{int(bad.sum())} of {bad.size} wrong; first at {at}: got {got[at]!r}, expected {want[at]!r} +- {limit:.3g}")


Expected = Near | np.ndarray | Callable[[np.ndarray], None]


def check(expected: Expected, got: np.ndarray) -> None:
    """Raise `Mismatch` unless the output `got` is as expected; an array means bit for bit (NaN equals NaN)."""
    if callable(expected):
        expected(got)
    else:
        (expected if isinstance(expected, Near) else Near(expected)).check(got)


@dataclass(frozen=True)
class Case:
    """One launch. `make(rng)` gives fresh source-level arguments and `{index: expected}` for those that the kernel writes."""

    name: str
    fixture: str
    entry: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    make: Callable[[np.random.Generator], tuple[list, dict[int, Expected]]]
    tier: int = 1  # 3: needs Hopper's instructions
    known: tuple[str, ...] = ()  # kinds of findings that the kernel deserves although its result is right

    @property
    def compiler(self) -> str:
        return INDEX[self.fixture]["compiler"]

    def ptx(self) -> str:
        return (PTX / f"{self.fixture}.ptx").read_text()

    def params(self, args: list) -> list:
        """Kernel parameters of source-level arguments: Triton adds two scratch pointers, Numba spreads an array over many parameters."""
        if self.compiler.startswith("triton"):
            return [*args, 0, 0]
        if self.compiler.startswith("numba"):
            return [p for a in args for p in (numba_array(a) if isinstance(a, np.ndarray) else [a])]
        return list(args)


def numba_array(a: np.ndarray) -> list:
    """meminfo, parent, items, item size, data, shape, strides (bytes)."""
    return [0, 0, a.size, a.itemsize, a, *a.shape, *a.strides]


def register(cases: dict[str, Case]):
    """A decorator `case(fixture, ...)` that adds the function under it, the `make` of a case, to `cases`."""

    def case(fixture, entry=None, *, grid=None, block=None, shared=None, tier=1, known=()):
        info = INDEX[fixture]
        entry = entry or info["entries"][0]
        several = len(info["entries"]) > 1
        name = f"{fixture}.{entry}" if several else fixture

        def add(make):
            cases[name] = Case(name, fixture, entry, tuple(grid or info["grid"]), tuple(block or info["block"]),
                               info.get("shared", 0) if shared is None else shared, make, tier, known)
            return make

        return add

    return case


# ---------------------------------------------------------------- helpers of the references


def poison(shape, dtype) -> np.ndarray:
    """An output buffer of NaN, or of 0x5a bytes where the type has none."""
    out = np.empty(shape, dtype)
    if out.dtype.kind in "fc":
        out.fill(np.nan)
    else:
        out.reshape(-1).view(np.uint8)[:] = 0x5A
    return out


def rounded(value, to="f32", units=1.0, extra=0.0, as_dtype=None) -> Near:
    """`value` (float64) with a bound of `units` roundings to `to`, and `extra` absolute."""
    value = np.asarray(value)
    return Near(value, units * (UNIT[to] * np.abs(value) + LEAST[to]) + extra, as_dtype)


def bf16_round(x) -> np.ndarray:
    """float64 values rounded once to bfloat16's normal range, to nearest even, as float64."""
    bits = np.atleast_1d(np.asarray(x, np.float64)).view(np.uint64)
    low = np.uint64(52 - 7)
    bits = bits + ((np.uint64(1) << (low - np.uint64(1))) - np.uint64(1)) + (bits >> low & np.uint64(1))
    return (bits >> low << low).view(np.float64).reshape(np.shape(x))


def bf16_bits(x) -> np.ndarray:
    return bf16_round(x).astype(ml_dtypes.bfloat16).view(np.uint16)


def bf16_values(bits) -> np.ndarray:
    return bits.view(ml_dtypes.bfloat16).astype(np.float64)


def normal(rng, *shape, dtype=np.float32) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def integers(rng, low, high, *shape, dtype=np.int32) -> np.ndarray:
    return rng.integers(low, high, shape, dtype=np.int64).astype(dtype)


def product(a, b, out="f32", steps=None, accumulate="f32", c=0.0, as_dtype=None) -> Near:
    """a @ b + c with exact products, summed in any order in `accumulate` (tensor cores truncate: 2 units a step), rounded to `out`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    ref, magnitude = a @ b + c, np.abs(a) @ np.abs(b) + np.abs(c)
    steps = a.shape[-1] if steps is None else steps
    return Near(ref, 2 * steps * UNIT[accumulate] * magnitude + UNIT[out] * np.abs(ref) + LEAST[out], as_dtype)


def to_f32(exact: Fraction, mode: str) -> np.float32:
    """`exact` rounded to f32: mode n (nearest even), z, u, d. Finite, normal results only."""
    near = np.float32(float(exact))
    low = near if Fraction(float(near)) <= exact else np.nextafter(near, np.float32(-np.inf))
    high = near if Fraction(float(near)) >= exact else np.nextafter(near, np.float32(np.inf))
    if mode == "n":
        below, above = exact - Fraction(float(low)), Fraction(float(high)) - exact
        even = low if low.view(np.uint32) % 2 == 0 else high
        return even if below == above else low if below < above else high
    return {"d": low, "u": high, "z": low if exact > 0 else high}[mode]
