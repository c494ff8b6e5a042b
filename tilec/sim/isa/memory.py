"""Loads and stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilec.sim.table import SPACES, instruction
from tilec.sim.values import dtype, space_of

Meaning = Callable[..., Any]
ORDER = "weak volatile relaxed acquire release"
SCOPE = "cta cluster gpu sys"
EVICT1 = "L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate"
EVICT2 = "L2::evict_normal L2::evict_first L2::evict_last"
PREFETCH = "L2::64B L2::128B L2::256B"
TYPES = "b8 b16 b32 b64 u8 u16 u32 u64 s8 s16 s32 s64 f32 f64"
VEC = "v2 v4 v8"
_WORDS: dict[str, Any] = {"order": ORDER, "scope": SCOPE, "evict": EVICT1, "evict2": EVICT2, "vec": VEC, "T": TYPES}


def _fits(T: str, vec: str | None, space: str | None, order: str | None = None, scope: str | None = None, mmio: bool = False,
          cop: str | None = None, nc: bool = False, evict: str | None = None, evict2: str | None = None, prefetch: str | None = None,
          L2_cache_hint: bool = False, **_: Any) -> bool:  # fmt: skip
    """What the manual allows beside one another."""
    size = dtype(T).itemsize * int((vec or "v1")[1:])
    ordered, far = order in ("relaxed", "acquire", "release"), space in (None, "global")
    shareable = far or space in ("shared", "shared::cta", "shared::cluster")
    return all((
        size <= 16 or (size == 32 and far),
        not nc or space == "global",
        ordered == (scope is not None),  # a scope is of an order
        not ordered or shareable,
        not mmio or (order == "relaxed" and scope == "sys" and far),
        order != "volatile" or shareable or space == "local",
        not ((ordered or order == "volatile") and (cop or nc)),
        not ((mmio or order == "volatile") and evict),
        far or not (nc or evict or evict2 or prefetch or L2_cache_hint),
        not (cop and evict),
        evict2 is None or size == 32,
    ))  # fmt: skip


@instruction("ld{.mmio}{.order .scope .space}{.cop}{.nc}{.evict}{.evict2}{.L2::cache_hint}{.prefetch}{.vec}.T", "T*vec = [] b64?",
             machine=True, space=SPACES + " shared::cluster", cop="ca cg cs lu cv", prefetch=PREFETCH,
             where=lambda order, **m: order != "release" and _fits(order=order, **m), **_WORDS)  # fmt: skip
@instruction("ldu{.space}{.vec}.T", "T*vec = [] b64?", machine=True, space="global", vec=VEC, T=TYPES, where=_fits)
def load(space: str | None, vec: str | None, T: str, order: str | None = None, **_: Any) -> Meaning:
    """Cache operators, eviction and prefetch hints change no values."""
    where, kind, n = space_of({"space": space}), dtype(T), int(vec[1:]) if vec else 0
    if order in ("volatile", "relaxed", "acquire"):
        acquire = order == "acquire"

        def strong(M: Any, at: int, mask: Any, address: Any, policy: Any) -> Any:
            out = M.memory.load(at, mask, where, address, kind, n, True)
            M.strong_load(at, mask, where, address, acquire)
            return out

        return strong
    return lambda M, at, mask, address, policy: M.memory.load(at, mask, where, address, kind, n)


@instruction("st{.mmio}{.order .scope .space}{.cop}{.evict}{.evict2}{.L2::cache_hint}{.vec}.T", "[] T*vec b64?", machine=True,
             space="global shared shared::cta shared::cluster local param param::func", cop="wb cg cs wt",
             where=lambda order, **m: order != "acquire" and _fits(order=order, **m), **_WORDS)  # fmt: skip
def store(space: str | None, vec: str | None, T: str, order: str | None = None, **_: Any) -> Meaning:
    where, kind, n = space_of({"space": space}), dtype(T), int(vec[1:]) if vec else 0
    if order in ("volatile", "relaxed", "release"):
        release = order == "release"

        def strong(M: Any, at: int, mask: Any, address: Any, values: Any, policy: Any) -> None:
            M.strong_store(at, mask, where, address, release)
            M.memory.store(at, mask, where, address, values, kind, n, True)

        return strong
    return lambda M, at, mask, address, values, policy: M.memory.store(at, mask, where, address, values, kind, n)
