"""Control flow, barriers, fences, and the little things that return at once. Their work is done by decode, codegen and machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.sim.table import instruction


def _none(**mods: Any) -> Any:
    return None


instruction("bra{.uni}", "_", role="bra")(_none)
instruction("brx.idx{.uni}", "_ _", role="brx")(_none)
instruction("ret{.uni}", "", role="ret")(_none)
instruction("exit", "", role="exit")(_none)
instruction("call{.uni}", "_ _ _", role="call")(_none)
instruction("call_recursive", "", role="rcall")(_none)  # these two are decode's own
instruction("return_recursive", "", role="rret")(_none)


@instruction("bar{.cta}.kind", "b32 b32?", role="bar", kind="sync")
@instruction("bar{.cta}.kind", "b32 b32", role="bar", kind="arrive")
@instruction("bar{.cta}.kind.op.pred", "pred = b32 b32? pred", role="bar", kind="red", op="and or")
@instruction("bar{.cta}.kind.op.u32", "b32 = b32 b32? pred", role="bar", kind="red", op="popc")
@instruction("barrier{.cta}.kind.op{.aligned}.pred", "pred = b32 b32? pred", role="bar", kind="red", op="and or")
@instruction("barrier{.cta}.kind.op{.aligned}.u32", "b32 = b32 b32? pred", role="bar", kind="red", op="popc")
@instruction("barrier{.cta}.kind{.aligned}", "b32 b32?", role="bar", kind="sync")
@instruction("barrier{.cta}.kind{.aligned}", "b32 b32", role="bar", kind="arrive")
def barrier(**mods: Any) -> Any:
    return None


@instruction("trap", "", machine=True, role="trap")
def trap() -> Any:
    return lambda M, at, mask: M.trap(at, mask, "the kernel trapped")


@instruction("brkpt", "")
@instruction("nanosleep.u32", "b32")
@instruction("griddepcontrol.what", "", what="launch_dependents wait")
@instruction("setmaxnreg.what.sync.aligned.u32", "imm", what="inc dec")
@instruction("pmevent{.mask}", "imm")
def nothing(**mods: Any) -> Any:
    return lambda *operands: None


@instruction("membar.level", "", machine=True, level="cta gl sys")
@instruction("membar.proxy.kind", "", machine=True, kind="alias async")
@instruction("fence{.sem}.scope", "", machine=True, sem="sc acq_rel acquire release", scope="cta cluster gpu sys")
@instruction("fence.proxy.alias", "", machine=True)
@instruction("fence.proxy.async{.space}", "", machine=True, space="global shared::cta shared::cluster")
@instruction("fence.mbarrier_init.release.cluster", "", machine=True)
def fence(**mods: Any) -> Any:
    return lambda M, at, mask: M.fence(at, mask)


POLICIES = "L2::evict_last L2::evict_normal L2::evict_first L2::evict_unchanged"


@instruction("prefetch{.space}.level", "[]", space="global local", level="L1 L2 L2::evict_last L2::evict_normal")
@instruction("prefetchu.L1", "[]")
@instruction("discard{.space}.L2", "[] imm", space="global")
@instruction("applypriority{.space}.L2::evict_normal", "[] imm", space="global")
def hint(**mods: Any) -> Any:
    return lambda *operands: None


@instruction("createpolicy.fractional.primary{.secondary}.b64", "b64 = f32?", primary=POLICIES, secondary="L2::evict_first L2::evict_unchanged")
@instruction("createpolicy.range{.space}.primary{.secondary}.b64", "b64 = [] b32 b32", space="global", primary=POLICIES,
             secondary="L2::evict_first L2::evict_unchanged")  # fmt: skip
def policy(**mods: Any) -> Any:
    """Cache policies change no values."""
    return lambda *operands: np.zeros((1, 1), np.uint64)


@instruction("isspacep.space", "pred = b64", space="global shared shared::cta shared::cluster local const param param::entry")
def isspacep(space: str) -> Any:
    from tilec.sim.values import HEAP, WINDOWS

    name = space.split("::")[0]
    low = HEAP if name in ("global", "const") else WINDOWS[name]
    high = 1 << 63 if low == HEAP else low + (1 << 40)
    return lambda a: (a >= np.uint64(low)) & (a < np.uint64(high))
