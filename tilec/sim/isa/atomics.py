"""atom and red."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tilec.sim import numerics
from tilec.sim.table import instruction
from tilec.sim.values import dtype, space_of

Meaning = Callable[..., Any]
SEM = "relaxed acquire release acq_rel"
SCOPE = "cta cluster gpu sys"
SPACE = "global shared shared::cta shared::cluster"


def _inc(old: Any, limit: Any) -> Any:
    return np.where(old >= limit, old.dtype.type(0), old + old.dtype.type(1))


def _dec(old: Any, limit: Any) -> Any:
    return np.where((old == 0) | (old > limit), limit, old - old.dtype.type(1))


UPDATES: dict[str, tuple[Meaning, Any]] = {
    "add": (np.add, np.add),
    "min": (np.minimum, np.minimum),
    "max": (np.maximum, np.maximum),
    "and": (np.bitwise_and, np.bitwise_and),
    "or": (np.bitwise_or, np.bitwise_or),
    "xor": (np.bitwise_xor, np.bitwise_xor),
    "inc": (_inc, None),
    "dec": (_dec, None),
    "exch": (lambda old, new: np.broadcast_to(new, old.shape), None),
    "cas": (lambda old, compare, new: np.where(old == compare, new, old), None),
}


def _update(op: str, T: str, ftz: bool) -> tuple[Meaning, Any]:
    if T in ("f16", "bf16", "f16x2", "bf16x2") and op in ("add", "min", "max"):
        function = {"add": numerics.add, "min": numerics.minimum, "max": numerics.maximum}[op]
        return partial(function, T), None
    if T == "f32" and op == "add" and ftz:
        return lambda a, b: numerics.add("f32", a.view(np.uint32), b.view(np.uint32), ftz=True).view(np.float32), None
    return UPDATES[op]


_TYPES_OF = {
    "add": "u32 s32 u64 f32 f64", "min": "u32 s32 u64 s64", "max": "u32 s32 u64 s64", "and": "b32 b64", "or": "b32 b64", "xor": "b32 b64",
    "inc": "u32", "dec": "u32", "exch": "b32 b64", "cas": "b16 b32 b64",
}  # fmt: skip
_HALVES = "f16 bf16 f16x2 bf16x2"


def _fits(op: str, T: str, **_: Any) -> bool:
    """The types that the manual allows for each operation."""
    return T in _TYPES_OF[op].split()


def _reduces(sem: str | None, **_: Any) -> bool:
    """red returns nothing, so it acquires nothing."""
    return sem in (None, "relaxed", "release")


def _vector(T: str, vec: str, space: str | None, op: str = "add", **_: Any) -> bool:
    """At most 16 bytes of global memory."""
    return space in (None, "global") and dtype(T).itemsize * int(vec[1:]) <= 16


def _run(op: str, T: str, space: str | None, sem: str | None, wanted: bool) -> Meaning:
    where, kind = space_of({"space": space}), dtype(T)
    update, ufunc = _update(op, T, ftz=T == "f32" and where == "global")
    if kind.kind == "f":
        ufunc = None
    neutral = {"and": 0xFF, "or": 0, "xor": 0}.get(op)
    acquire, release = sem in ("acquire", "acq_rel"), sem in ("release", "acq_rel")

    def run(M: Any, at: int, mask: Any, address: Any, *operands: Any) -> Any:
        M.strong_store(at, mask, where, address, release)
        old = M.memory.atomic(at, mask, where, address, kind, update, tuple(x for x in operands if x is not None), ufunc, wanted, neutral)
        M.strong_load(at, mask, where, address, acquire)
        return old if wanted else None

    return run


_TYPES = "b16 b32 b64 u32 u64 s32 s64 f32 f64"
_WORDS: dict[str, Any] = {"sem": SEM, "scope": SCOPE, "space": SPACE}
_SIMPLE = "add min max and or xor inc dec exch"
_HALF: dict[str, Any] = {"op": "add", "T": _HALVES, **_WORDS}


@instruction("atom{.sem .scope .space}.op{.L2::cache_hint}.T", "T = [] T b64?", machine=True, op=_SIMPLE, T=_TYPES, where=_fits, **_WORDS)
@instruction("atom{.space}.op{.sem .scope}{.L2::cache_hint}.T", "T = [] T b64?", machine=True, op=_SIMPLE, T=_TYPES, where=_fits, **_WORDS)
@instruction("atom{.sem .scope .space}.op.noftz{.L2::cache_hint}.T", "T = [] T b64?", machine=True, **_HALF)
def atom(op: str, T: str, space: str | None, sem: str | None, **_: Any) -> Meaning:
    run = _run(op, T, space, sem, True)
    return lambda M, at, mask, address, b, policy: run(M, at, mask, address, b)


@instruction("atom{.sem .scope .space}.op{.L2::cache_hint}.T", "T = [] T T b64?", machine=True, op="cas", T=_TYPES, where=_fits, **_WORDS)
@instruction("atom{.space}.op{.sem .scope}{.L2::cache_hint}.T", "T = [] T T b64?", machine=True, op="cas", T=_TYPES, where=_fits, **_WORDS)
def atom_cas(op: str, T: str, space: str | None, sem: str | None, **_: Any) -> Meaning:
    run = _run(op, T, space, sem, True)
    return lambda M, at, mask, address, b, c, policy: run(M, at, mask, address, b, c)


def _red_fits(op: str, **m: Any) -> bool:
    return op != "exch" and _fits(op, **m) and _reduces(**m)


@instruction("red{.sem .scope .space}.op{.L2::cache_hint}.T", "[] T b64?", machine=True, op=_SIMPLE, T=_TYPES, where=_red_fits, **_WORDS)
@instruction("red{.space}.op{.sem .scope}{.L2::cache_hint}.T", "[] T b64?", machine=True, op=_SIMPLE, T=_TYPES, where=_red_fits, **_WORDS)
@instruction("red{.sem .scope .space}.op.noftz{.L2::cache_hint}.T", "[] T b64?", machine=True, where=_reduces, **_HALF)
def red(op: str, T: str, space: str | None, sem: str | None, **_: Any) -> Meaning:
    run = _run(op, T, space, sem, False)
    return lambda M, at, mask, address, b, policy: run(M, at, mask, address, b)


_HALF_VECTOR: dict[str, Any] = {"op": "add min max", "vec": "v2 v4 v8", "T": _HALVES, **_WORDS}
_FLOAT_VECTOR: dict[str, Any] = {"op": "add", "vec": "v2 v4", "T": "f32", **_WORDS}


@instruction("red{.sem .scope .space}.op.noftz{.L2::cache_hint}.vec.T", "[] T*vec b64?", machine=True,
             where=lambda **m: _vector(**m) and _reduces(**m), **_HALF_VECTOR)  # fmt: skip
@instruction("red{.sem .scope .space}.op{.L2::cache_hint}.vec.T", "[] T*vec b64?", machine=True,
             where=lambda **m: _vector(**m) and _reduces(**m), **_FLOAT_VECTOR)  # fmt: skip
def red_vector(op: str, T: str, vec: str, space: str | None, sem: str | None, **_: Any) -> Meaning:
    run, step = _run(op, T, space, sem, False), dtype(T).itemsize

    def each(M: Any, at: int, mask: Any, address: Any, values: Any, policy: Any) -> None:
        for k, b in enumerate(values):
            run(M, at, mask, address + k * step, b)

    return each


@instruction("atom{.sem .scope .space}.op.noftz{.L2::cache_hint}.vec.T", "T*vec = [] T*vec b64?", machine=True, where=_vector, **_HALF_VECTOR)
@instruction("atom{.sem .scope .space}.op{.L2::cache_hint}.vec.T", "T*vec = [] T*vec b64?", machine=True, where=_vector, **_FLOAT_VECTOR)
def atom_vector(op: str, T: str, vec: str, space: str | None, sem: str | None, **_: Any) -> Meaning:
    run, step = _run(op, T, space, sem, True), dtype(T).itemsize
    return lambda M, at, mask, address, values, policy: tuple(run(M, at, mask, address + k * step, b) for k, b in enumerate(values))
