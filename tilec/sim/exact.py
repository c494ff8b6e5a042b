"""The tensor cores' own arithmetic, bit for bit.

NVIDIA documents little of it; what follows was measured on hardware and published:
  M. Fasi, N. Higham, M. Mikaitis, S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021;
  X. Li et al., "FTTN: Feature-Targeted Testing for Numerical Properties of NVIDIA & AMD Matrix Accelerators", CCGRID 2024;
  P. Xie et al., "MMA-Sim: Bit-Accurate Reference Model of Tensor Cores and Matrix Cores", arXiv 2511.10909, 2025;
  F. Khattak, M. Mikaitis, "Accurate Models of NVIDIA Tensor Cores", arXiv 2512.07004, 2025.

A product of k terms is made in groups, each adding its terms to the accumulator at once:
 1. Products are exact and not normalized: significands in [1, 4) (less for subnormals), exponent ea + eb, where a subnormal has its
    format's least exponent.
 2. All terms, the accumulator too, are aligned to the largest exponent among those that are not zero, though not below a floor, and cut
    off (towards zero) `fraction` bits below it.
 3. They are added without further loss, and the sum is rounded once: towards zero into f32, to nearest even into f16.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tilec.errors import require
from tilec.sim.formats import FORMATS, Array
from tilec.sim.numerics import fma


@dataclass(frozen=True)
class Profile:
    """An architecture: terms per group and fraction bits kept in alignment by type of a, and the alignment floor by type of d.

    narrow_sum: f32 results of fp8 products keep 13 fraction bits. by_f16: fp8 products are made of two f16 instructions.
    """

    groups: dict[str, int]
    fraction: int
    floor: dict[str, int]
    fp8_fraction: int | None = None
    by_f16: bool = False
    fp8_kinds: frozenset[str] = field(default=frozenset(("e4m3", "e5m2")))


_AMPERE = {"f16": 8, "bf16": 8, "tf32": 4}
PROFILES = {
    "sm_80": Profile(_AMPERE, 24, {"f32": -132, "f16": -20}),
    "sm_89": Profile({**_AMPERE, "e4m3": 16, "e5m2": 16}, 24, {"f32": -132, "f16": -20}, fp8_fraction=13),
    # ptxas makes mma of fp8 for sm_90 from two HMMA.16816, over k % 4 < 2 and the rest, and one addition of c.
    "sm_90": Profile({"f16": 16, "bf16": 16, "tf32": 8}, 25, {"f32": -133, "f16": -21}, by_f16=True),
}
ARCHITECTURES = tuple(PROFILES)


def exact_product(
    profile: Profile, a: Array, b: Array, c: Array, a_kind: str, b_kind: str, c_kind: str, d_kind: str, *, rounding: str = "rn",
    sparse: bool = False,
) -> Array:
    """a b + c of [..., m, k], [..., k, n] and [..., m, n] carriers, as `profile` computes it, in d's carrier.

    sparse: half of the columns of a are zeros that take no part; a group is as many stored terms. (Unpublished; a plausible reading.)
    """
    if a_kind == "f64":
        return _chain(a, b, c, rounding)
    k = a.shape[-1]
    if a_kind in profile.fp8_kinds and profile.by_f16:
        return _fp8_by_f16(profile, a, b, c, d_kind, sparse)
    known = a_kind in profile.groups
    require(known, f"the exact arithmetic of {a_kind} products on this architecture is not known", hint="run without exact")
    low = (FORMATS[a_kind].smallest_exponent, FORMATS[b_kind].smallest_exponent)
    step = min(k, profile.groups[a_kind] * (2 if sparse else 1))
    fp8 = a_kind in profile.fp8_kinds
    fraction = profile.fp8_fraction if fp8 and profile.fp8_fraction is not None else profile.fraction
    total, kind = c, c_kind
    for i in range(0, k, step):
        summed = _group(a[..., i : i + step], b[..., i : i + step, :], total, low, kind, fraction, profile.floor[d_kind])
        total, kind = _close(summed, d_kind, fraction if fp8 else 23), d_kind
    return total


def _fp8_by_f16(profile: Profile, a: Array, b: Array, c: Array, d_kind: str, sparse: bool) -> Array:
    """mma of fp8 on sm_90: the terms with k % 4 < 2, then the others, as f16 products from zero; then c is added, to nearest.

    Sparse, a register's lower two of four stored elements are those of every other chunk of four columns.
    """
    total = np.zeros((1, 1), np.float32)
    period = 8 if sparse else 4
    lower = np.arange(a.shape[-1]) % period < period // 2
    for chosen in (lower, ~lower):
        total = exact_product(profile, a[..., chosen], b[..., chosen, :], total, "f16", "f16", d_kind, d_kind, sparse=sparse)
    result = total + c
    return result.astype(np.float16).astype(np.float32) if d_kind == "f16" else result


def _chain(a: Array, b: Array, c: Array, rounding: str) -> Array:
    """f64: fused multiply-adds in the order of k (MMA-Sim)."""
    total = c.view(np.uint64)
    for i in range(a.shape[-1]):
        column, row = np.ascontiguousarray(a[..., :, i, None]), np.ascontiguousarray(b[..., None, i, :])
        total = fma("f64", column.view(np.uint64), row.view(np.uint64), total, rounding=rounding)
    return total.view(np.float64)


_NOTHING = -10_000  # the exponent of a term that is zero: it takes no part in the alignment


def _exponent(x: Array, least: int) -> Array:
    """int16: floor(log2 |x|), at least `least`; of zero far below every other."""
    return np.where(x == 0, _NOTHING, np.maximum(np.frexp(x)[1] - 1, least)).astype(np.int16)


def _group(a: Array, b: Array, c: Array, low: tuple[int, int], c_kind: str, fraction: int, floor: int) -> Array:
    """The float64 sum of one group before its final rounding: [..., m, n]."""
    # The axis of the terms comes first: NumPy sums along it fast.
    rows = np.ascontiguousarray(np.moveaxis(a, -1, 0), np.float64)[..., :, None]
    columns = np.ascontiguousarray(np.moveaxis(b, -2, 0), np.float64)[..., None, :]
    start = c.astype(np.float64)
    terms = rows * columns
    top = (_exponent(rows, low[0]) + _exponent(columns, low[1])).max(0)
    top = np.maximum(np.maximum(top, _exponent(start, FORMATS[c_kind].smallest_exponent)), floor)
    # Scaling by a power of two is exact: products of f32's exponents are far from the ends of float64's.
    unit = np.ldexp(1.0, top - fraction)
    scale = 1.0 / unit
    finite = all(np.isfinite(x).all() for x in (rows, columns, start))
    special = None if finite else terms.sum(0) + start
    terms *= scale
    total = np.trunc(terms, out=terms).sum(0) + np.trunc(start * scale)
    total *= unit
    return total if special is None else np.where(np.isfinite(special), total, special)


def _close(values: Array, kind: str, fraction: int) -> Array:
    """The final rounding: f16 to nearest even, f32 towards zero (to `fraction` bits), beyond its range to infinity."""
    if kind == "f16":
        return values.astype(np.float16).astype(np.float32)
    single = values.astype(np.float32)
    # One bit pattern less is one step towards zero, from infinity too; what is beyond 2^128 stays infinite.
    over = (np.abs(single) > np.abs(values)) & (np.abs(values) < 2.0**128)
    single = (single.view(np.uint32) - over).astype(np.uint32).view(np.float32)
    if fraction == 23:
        return single
    cut = (single.view(np.uint32) & np.uint32(-(1 << (23 - fraction)) & 0xFFFFFFFF)).view(np.float32)
    return np.where(np.isfinite(single), cut, single)


__all__ = ["ARCHITECTURES", "PROFILES", "Profile", "exact_product"]
