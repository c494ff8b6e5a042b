"""cp.async and mbarrier (sm_80). Hopper's bulk copies and tensor maps will join here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilec.sim.table import instruction
from tilec.sim.values import HEAP

Meaning = Callable[..., Any]
_HINTS: dict[str, Any] = {"prefetch": "L2::64B L2::128B L2::256B"}


def _copy_signature(L2_cache_hint: bool, **_: Any) -> str:
    return "[] [] imm b32? b64" if L2_cache_hint else "[] [] imm b32?"


@instruction(
    "cp.async.cop.space.global{.L2::cache_hint}{.prefetch}",
    _copy_signature,
    machine=True,
    cop="ca cg",
    space="shared shared::cta",
    **_HINTS,
)
def cp_async(**_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, to: Any, source: Any, size: int, source_size: Any, policy: Any = None) -> None:
        if source_size is not None and source_size.dtype == bool:  # ignore-src, a predicate
            source_size = np.where(source_size, 0, size)
        M.memory.copy_async(at, mask, to, source - HEAP, size, source_size)

    return run


@instruction("cp.async.commit_group", "", machine=True)
def commit(**_: Any) -> Meaning:
    return lambda M, at, mask: M.memory.commit(mask)


@instruction("cp.async.wait_group", "imm", machine=True)
def wait_group(**_: Any) -> Meaning:
    return lambda M, at, mask, n: M.memory.wait(at, mask, n)


@instruction("cp.async.wait_all", "", machine=True)
def wait_all(**_: Any) -> Meaning:
    return lambda M, at, mask: M.memory.wait(at, mask, None)


# mbarrier: a 64-bit object in shared memory. Layout here (opaque in PTX): bits 0..19 pending arrivals, 20..39 expected arrivals of a
# phase, 40..62 phase. The pending count falls to 0, then the phase number rises and the count is reset.

_ONE = np.uint64(1)
_FIELD = np.uint64((1 << 20) - 1)
_EXPECTED, _PHASE = np.uint64(20), np.uint64(40)


@instruction("mbarrier.init{.space}.b64", "[] b32", machine=True, space="shared shared::cta")
def mbarrier_init(**m: Any) -> Meaning:
    where = (m["space"] or "generic").split("::")[0]

    def run(M: Any, at: int, mask: Any, address: Any, count: Any) -> None:
        n = count.astype(np.uint64)
        M.memory.store(at, mask, where, address, n | (n << _EXPECTED), np.dtype("u8"), 0)

    return run


@instruction("mbarrier.inval{.space}.b64", "[]", machine=True, space="shared shared::cta")
def mbarrier_inval(**_: Any) -> Meaning:
    return lambda M, at, mask, address: None


def _arrived(old: Any, count: Any) -> Any:
    """State after `count` arrivals."""
    pending = (old & _FIELD) - count
    expected = (old >> _EXPECTED) & _FIELD
    phase = old >> _PHASE
    done = pending == 0
    return np.where(done, expected | (expected << _EXPECTED) | ((phase + _ONE) << _PHASE), (old & ~_FIELD) | pending)


def _dropped(old: Any, count: Any) -> Any:
    """arrive_drop: the expected count falls as well."""
    return _arrived(old - (count << _EXPECTED), count)


def _arrive(update: Meaning, wanted: bool, space: str | None, release: bool = True) -> Meaning:
    where = (space or "generic").split("::")[0]

    def run(M: Any, at: int, mask: Any, address: Any, count: Any) -> Any:
        n = np.ones((1, 1), np.uint64) if count is None else count.astype(np.uint64)
        if release:
            M.strong_store(at, mask, where, address, True)
        old = M.memory.atomic(at, mask, where, address, np.dtype("u8"), update, (n,))
        return old if wanted else None

    return run


def _paired(sem: str | None, scope: str | None, **_: Any) -> bool:
    return (sem is None) == (scope is None)


_SPACE: dict[str, Any] = {"space": "shared shared::cta", "sem": "release relaxed", "scope": "cta cluster", "where": _paired}


@instruction("mbarrier.arrive{.sem}{.scope}{.space}.b64", "b64 = [] b32?", machine=True, **_SPACE)
@instruction("mbarrier.arrive.noComplete{.release}{.cta}{.space}.b64", "b64 = [] b32", machine=True, space="shared shared::cta")
def mbarrier_arrive(space: str | None, sem: str | None = None, **_: Any) -> Meaning:
    return _arrive(_arrived, True, space, sem != "relaxed")


@instruction("mbarrier.arrive_drop{.sem}{.scope}{.space}.b64", "b64 = [] b32?", machine=True, **_SPACE)
@instruction("mbarrier.arrive_drop.noComplete{.release}{.cta}{.space}.b64", "b64 = [] b32", machine=True, space="shared shared::cta")
def mbarrier_drop(space: str | None, sem: str | None = None, **_: Any) -> Meaning:
    return _arrive(_dropped, True, space, sem != "relaxed")


_TEST: dict[str, Any] = {
    "wait": "test_wait try_wait", "sem": "acquire relaxed", "scope": "cta cluster", "space": "shared shared::cta", "where": _paired,
}  # fmt: skip


def _test(space: str | None, done: Meaning, acquire: bool) -> Meaning:
    where = (space or "generic").split("::")[0]

    def run(M: Any, at: int, mask: Any, address: Any, state: Any, hint: Any = None) -> Any:
        now = M.memory.load(at, mask, where, address, np.dtype("u8"), 0, True)
        flag = done(now, state)
        took = flag if mask is None else flag & mask
        M.strong_load(at, np.broadcast_to(took, M.shape), where, address, acquire)
        return flag

    return run


@instruction("mbarrier.wait{.sem}{.scope}{.space}.b64", "pred = [] b64 b32?", machine=True, **_TEST)
def mbarrier_test(space: str | None, sem: str | None, **_: Any) -> Meaning:
    """The phase of `state` has completed if the object's phase is another one."""
    return _test(space, lambda now, state: (now >> _PHASE) != (state >> _PHASE), sem != "relaxed")


@instruction("mbarrier.wait.parity{.sem}{.scope}{.space}.b64", "pred = [] b32 b32?", machine=True, **_TEST)
def mbarrier_parity(space: str | None, sem: str | None, **_: Any) -> Meaning:
    """The phase of this parity is over if the phase now in progress has the other one."""
    return _test(space, lambda now, parity: ((now >> _PHASE) & _ONE) != (parity & np.uint32(1)), sem != "relaxed")


@instruction("mbarrier.pending_count.b64", "b32 = b64")
def mbarrier_pending(**_: Any) -> Meaning:
    return lambda state: (state & _FIELD).astype(np.uint32)


@instruction("cp.async.mbarrier.arrive{.noinc}{.space}.b64", "[]", machine=True, space="shared shared::cta")
def cp_async_arrive(noinc: bool, space: str | None, **_: Any) -> Meaning:
    """Arrive once the thread's earlier copies have landed: here they land now, which a thread may not rely on, but may see."""
    where = (space or "generic").split("::")[0]

    def run(M: Any, at: int, mask: Any, address: Any) -> None:
        M.memory.wait(at, mask, None)
        M.strong_store(at, mask, where, address, True)
        if noinc:
            M.memory.atomic(at, mask, where, address, np.dtype("u8"), _arrived, (np.ones((1, 1), np.uint64),))

    return run
