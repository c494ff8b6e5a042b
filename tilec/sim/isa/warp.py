"""What the lanes of a warp do together: shuffles, votes, matches, reductions, elections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilec.sim.table import instruction

Meaning = Callable[..., Any]
LANES = np.arange(32, dtype=np.int64)


@instruction("bar.warp.sync", "b32", machine=True, gather=True, members=0)
def bar_warp(**_: Any) -> Meaning:
    return lambda M, at, mask, members: M.warp_barrier(at, mask, members)


@instruction("shfl{.sync}.mode.b32", "b32|pred = b32 b32 b32 b32?", machine=True, gather=True, members=3, mode="up down bfly idx",
             where=lambda sync, **_: sync)  # fmt: skip
def shfl(mode: str, **_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, a: Any, b: Any, c: Any, members: Any) -> Any:
        M.check_members(at, mask, members)
        if b.size == 1 and c.size == 1:
            source, valid = _sources(mode, LANES, int(b.item()), int(c.item()))
            index = source.reshape(1, 1, 32)
        else:
            warps = M.warps
            source, valid = _sources(mode, LANES, warps(b).astype(np.int64), warps(c).astype(np.int64))
            index = source
        lanes = M.warps(a)
        if index.shape == (1, 1, 32):
            out = lanes[:, :, index[0, 0]]
        else:
            out = np.take_along_axis(lanes, np.broadcast_to(index, lanes.shape), 2)
        M.check_lanes(at, mask, index, valid)
        flat = out.reshape(M.shape)
        if valid.shape == (32,):
            return flat, lambda: np.tile(valid, M.W).reshape(1, M.T)
        return flat, lambda: valid.reshape(M.shape)

    return run


def _sources(mode: str, lane: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """Source lane of each lane, and whether it is in range (PTX manual, shfl.sync, pseudocode)."""
    clamp, segment = c & 31, (c >> 8) & 31
    top = (lane & segment) | (clamp & ~segment)
    low = lane & segment
    b = b & 31
    if mode == "up":
        j = lane - b
        valid = j >= top
    elif mode == "down":
        j = lane + b
        valid = j <= top
    elif mode == "bfly":
        j = lane ^ b
        valid = j <= top
    else:
        j = low | (b & ~segment)
        valid = j <= top
    return np.where(valid, j, lane) & 31, valid


def _pack(bits: Any) -> Any:
    """(..., 32) bool to a uint32 of ballot bits."""
    return np.packbits(bits, axis=-1, bitorder="little").view(np.uint32)


def _taking(M: Any, at: int, mask: Any, members: Any) -> tuple[Any, Any]:
    """(B, W, 32) bool: lanes that take part (active and named), and member masks as (B, W, 32) uint32."""
    M.check_members(at, mask, members)
    named = M.warps(members)
    here = M.warps(M.active(mask))
    return here & (((named >> np.arange(32, dtype=np.uint32)) & np.uint32(1)) == 1), named


def _spread(M: Any, per_warp: Any) -> Any:
    """(B, W, 1) to a register (B, T)."""
    return np.repeat(per_warp[..., 0], 32, axis=1)


@instruction("vote.sync.mode.pred", "pred = pred b32", machine=True, gather=True, members=1, mode="all any uni")
def vote(mode: str, **_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, p: Any, members: Any) -> Any:
        taking, _ = _taking(M, at, mask, members)
        p = M.warps(p)
        every, some = (p | ~taking).all(2, keepdims=True), (p & taking).any(2, keepdims=True)
        return _spread(M, {"all": every, "any": some, "uni": every | ~some}[mode])

    return run


@instruction("vote.sync.ballot.b32", "b32 = pred b32", machine=True, gather=True, members=1)
def ballot(**_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, p: Any, members: Any) -> Any:
        taking, _ = _taking(M, at, mask, members)
        return _spread(M, _pack(M.warps(p) & taking))

    return run


@instruction("activemask.b32", "b32 =", machine=True)
def activemask(**_: Any) -> Meaning:
    return lambda M, at, mask: _spread(M, _pack(M.warps(M.active(mask))))


@instruction("match.mode.sync.T", "b32|pred = T b32", machine=True, gather=True, members=1, mode="any all", T="b32 b64")
def match(mode: str, T: str, **_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, a: Any, members: Any) -> Any:
        taking, _ = _taking(M, at, mask, members)
        a = M.warps(a)
        same = (a[..., :, None] == a[..., None, :]) & taking[..., None, :]
        if mode == "any":
            return _pack(same)[..., 0].reshape(M.shape), np.ones((1, 1), bool)
        whole = (same | ~taking[..., None, :]).all(3)
        everyone = np.where(whole, np.broadcast_to(_pack(taking), whole.shape), np.uint32(0))
        return everyone.reshape(M.shape), whole.reshape(M.shape)

    return run


_REDUCE = {"add": (np.add, 0), "min": (np.minimum, None), "max": (np.maximum, None), "and": (np.bitwise_and, -1),
           "or": (np.bitwise_or, 0), "xor": (np.bitwise_xor, 0)}  # fmt: skip


@instruction("redux.sync.op.T", "T = T b32", machine=True, gather=True, members=1, op="add min max", T="u32 s32")
@instruction("redux.sync.op.T", "T = T b32", machine=True, gather=True, members=1, op="and or xor", T="b32")
def redux(op: str, T: str, **_: Any) -> Meaning:
    ufunc, start = _REDUCE[op]

    def run(M: Any, at: int, mask: Any, a: Any, members: Any) -> Any:
        taking, named = _taking(M, at, mask, members)
        a = M.warps(a)
        info = np.iinfo(a.dtype)
        neutral = a.dtype.type({None: info.max if op == "min" else info.min, 0: 0, -1: info.max if info.min == 0 else -1}[start])
        first = named == named[..., :1]
        if first.all():
            return _spread(M, ufunc.reduce(np.where(taking, a, neutral), axis=2, keepdims=True, dtype=a.dtype))
        out = np.zeros_like(a)
        for group in np.unique(named):
            some = taking & (named == group)
            out = np.where(some, ufunc.reduce(np.where(some, a, neutral), axis=2, keepdims=True, dtype=a.dtype), out)
        return out.reshape(M.shape)

    return run


@instruction("redux.sync.op{.abs}{.NaN}.f32", "f32 = f32 b32", machine=True, gather=True, members=1, op="min max")
def redux_float(op: str, abs: bool, NaN: bool, **_: Any) -> Meaning:
    ufunc = {("min", False): np.fmin, ("max", False): np.fmax, ("min", True): np.minimum, ("max", True): np.maximum}[op, NaN]

    def run(M: Any, at: int, mask: Any, a: Any, members: Any) -> Any:
        taking, _ = _taking(M, at, mask, members)
        a = np.abs(M.warps(a)) if abs else M.warps(a)
        neutral = np.float32(np.inf if op == "min" else -np.inf)
        return _spread(M, ufunc.reduce(np.where(taking, a, neutral), axis=2, keepdims=True))

    return run


@instruction("elect.sync", "b32|pred = b32", machine=True, gather=True, members=0)
def elect(**_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, members: Any) -> Any:
        taking, _ = _taking(M, at, mask, members)
        leader = taking.argmax(2)[..., None]
        return _spread(M, leader.astype(np.uint32)), (leader == LANES).reshape(M.shape)

    return run
