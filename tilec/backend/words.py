"""Casts of all of a thread's elements at once: which of them go two or four at a time, and the rest one by one."""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend import casts
from tilec.backend.emit import Emitter, llvm_type
from tilec.backend.narrow import narrow, narrows
from tilec.backend.spread import spread, spreads
from tilec.backend.target import Target
from tilec.backend.unpack import exact_in, unpack, unpacks
from tilec.ir.dtypes import DType, bf16, f16, f32


def cast(e: Emitter, names: Sequence[str], source: DType, target: DType, machine: Target) -> list[str]:
    """Elements of type `source` as `target`, each held as `llvm_type` says."""
    if source == target:
        return list(names)
    varying = [name for name in dict.fromkeys(names) if name.startswith("%")]
    made = dict(zip(varying, together(e, varying, source, target, machine), strict=False)) if varying else {}
    for name in names:
        if name not in made:
            made[name] = casts.cast(e, name, source, target)
    return [made[name] for name in names]


def together(e: Emitter, names: Sequence[str], source: DType, target: DType, machine: Target) -> list[str]:
    """The first so many elements cast, by the first way that serves."""
    for serves, way in ((unpacks, unpack), (narrows, narrow), (spreads, spread)):
        if serves(source, target):
            return way(e, names, source, target, machine)
    between = between_small(source, target)
    if between is not None:
        return narrow(e, unpack(e, names, source, between, machine), between, target, machine)
    return rounded(e, names, target) if source == f32 and target in (f16, bf16) else []


def between_small(source: DType, target: DType) -> DType | None:
    """For casts between types of up to 8 bits, the type of 16 that has all values of the source, if there is one."""
    return next((t for t in (f16, bf16) if narrows(t, target) and unpacks(source, t) and exact_in(source, t)), None)


def rounded(e: Emitter, names: Sequence[str], target: DType) -> list[str]:
    """Pairs of f32, by the instruction for two; an odd one is left."""
    kind, found = llvm_type(target), []
    for two in zip(names[::2], names[1::2], strict=False):
        pair = e.let(f"fptrunc <2 x float> {e.join('float', two)} to <2 x {kind}>")
        found += e.split(kind, pair, 2)
    return found
