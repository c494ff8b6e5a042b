"""Loads and stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilec.sim.table import SPACES, instruction
from tilec.sim.values import dtype, space_of

Meaning = Callable[..., Any]
ORDER = "weak volatile relaxed acquire mmio"
SCOPE = "cta cluster gpu sys"
EVICT = " ".join(
    [f"L1::{x}" for x in ("evict_normal", "evict_unchanged", "evict_first", "evict_last", "no_allocate")]
    + [f"L2::{x}" for x in ("evict_normal", "evict_first", "evict_last")]
)
PREFETCH = "L2::64B L2::128B L2::256B"
TYPES = "b8 b16 b32 b64 u8 u16 u32 u64 s8 s16 s32 s64 f32 f64"
VEC = "v2 v4 v8"


@instruction(
    "ld{.order}{.scope}{.space}{.cop}{.nc}{.evict}{.evict2}{.L2::cache_hint}{.prefetch}{.vec}.T",
    "T*vec = [] b64?",
    machine=True,
    order=ORDER,
    scope=SCOPE,
    space=SPACES + " shared::cluster",
    cop="ca cg cs lu cv",
    evict=EVICT,
    evict2=EVICT,
    prefetch=PREFETCH,
    vec=VEC,
    T=TYPES,
)
@instruction("ldu{.space}{.vec}.T", "T*vec = [] b64?", machine=True, space="global", vec=VEC, T=TYPES)
def load(space: str | None, vec: str | None, T: str, order: str | None = None, **_: Any) -> Meaning:
    """Cache operators, eviction and prefetch hints change no values."""
    where, kind, n = space_of({"space": space}), dtype(T), int(vec[1:]) if vec else 0
    if order in ("volatile", "relaxed", "acquire", "mmio"):
        acquire = order == "acquire"

        def strong(M: Any, at: int, mask: Any, address: Any, policy: Any) -> Any:
            out = M.memory.load(at, mask, where, address, kind, n, True)
            M.strong_load(at, mask, where, address, acquire)
            return out

        return strong
    return lambda M, at, mask, address, policy: M.memory.load(at, mask, where, address, kind, n)


@instruction(
    "st{.order}{.scope}{.space}{.cop}{.evict}{.evict2}{.L2::cache_hint}{.vec}.T",
    "[] T*vec b64?",
    machine=True,
    order="weak volatile relaxed release mmio",
    scope=SCOPE,
    space=SPACES + " shared::cluster",
    cop="wb cg cs wt",
    evict=EVICT,
    evict2=EVICT,
    vec=VEC,
    T=TYPES,
)
def store(space: str | None, vec: str | None, T: str, order: str | None = None, **_: Any) -> Meaning:
    where, kind, n = space_of({"space": space}), dtype(T), int(vec[1:]) if vec else 0
    if order in ("volatile", "relaxed", "release", "mmio"):
        release = order == "release"

        def strong(M: Any, at: int, mask: Any, address: Any, values: Any, policy: Any) -> None:
            M.strong_store(at, mask, where, address, release)
            M.memory.store(at, mask, where, address, values, kind, n, True)

        return strong
    return lambda M, at, mask, address, values, policy: M.memory.store(at, mask, where, address, values, kind, n)
