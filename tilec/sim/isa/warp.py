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


@instruction(
    "shfl{.sync}.mode.b32",
    "b32|pred = b32 b32 b32 b32?",
    machine=True,
    gather=True,
    members=3,
    mode="up down bfly idx",
    where=lambda sync, **_: sync,
)
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


def _mates(M: Any, at: int, mask: Any, members: Any) -> Any:
    """(B, W, 1 or 32, 32) bool: for each lane, the lanes that take part with it: active, and named by its own mask (1: all masks agree)."""
    M.check_members(at, mask, members)
    named, here = M.warps(members), M.warps(M.active(mask))
    if (named == named[..., :1]).all():
        named = named[..., :1]
    return here[..., None, :] & (((named[..., :, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)) == 1)


def _per_lane(M: Any, values: Any) -> Any:
    """(B, W, 1 or 32) to a register (B, T)."""
    return np.broadcast_to(values, (*values.shape[:2], 32)).reshape(M.shape)


@instruction("vote.sync.mode.pred", "pred = pred b32", machine=True, gather=True, members=1, mode="all any uni")
def vote(mode: str, **_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, p: Any, members: Any) -> Any:
        mates = _mates(M, at, mask, members)
        p = M.warps(p)[..., None, :]
        every, some = (p | ~mates).all(3), (p & mates).any(3)
        return _per_lane(M, {"all": every, "any": some, "uni": every | ~some}[mode])

    return run


@instruction("vote.sync.ballot.b32", "b32 = pred b32", machine=True, gather=True, members=1)
def ballot(**_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, p: Any, members: Any) -> Any:
        return _per_lane(M, _pack(M.warps(p)[..., None, :] & _mates(M, at, mask, members))[..., 0])

    return run


@instruction("activemask.b32", "b32 =", machine=True)
def activemask(**_: Any) -> Meaning:
    return lambda M, at, mask: _per_lane(M, _pack(M.warps(M.active(mask))))


@instruction("match.mode.sync.T", "b32|pred = T b32", machine=True, gather=True, members=1, mode="any all", T="b32 b64")
def match(mode: str, T: str, **_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, a: Any, members: Any) -> Any:
        mates = _mates(M, at, mask, members)
        a = M.warps(a)
        same = (a[..., :, None] == a[..., None, :]) & mates
        if mode == "any":
            return _pack(same)[..., 0].reshape(M.shape), np.ones((1, 1), bool)
        whole = (same | ~mates).all(3)
        everyone = np.where(whole, _pack(mates)[..., 0], np.uint32(0))
        return everyone.reshape(M.shape), whole.reshape(M.shape)

    return run


_REDUCE = {
    "add": (np.add, 0),
    "min": (np.minimum, None),
    "max": (np.maximum, None),
    "and": (np.bitwise_and, -1),
    "or": (np.bitwise_or, 0),
    "xor": (np.bitwise_xor, 0),
}


@instruction("redux.sync.op.T", "T = T b32", machine=True, gather=True, members=1, op="add min max", T="u32 s32")
@instruction("redux.sync.op.T", "T = T b32", machine=True, gather=True, members=1, op="and or xor", T="b32")
def redux(op: str, T: str, **_: Any) -> Meaning:
    ufunc, start = _REDUCE[op]

    def run(M: Any, at: int, mask: Any, a: Any, members: Any) -> Any:
        mates = _mates(M, at, mask, members)
        a = M.warps(a)[..., None, :]
        info = np.iinfo(a.dtype)
        neutral = a.dtype.type({None: info.max if op == "min" else info.min, 0: 0, -1: info.max if info.min == 0 else -1}[start])
        return _per_lane(M, ufunc.reduce(np.where(mates, a, neutral), axis=3, dtype=a.dtype))

    return run


@instruction("redux.sync.op{.abs}{.NaN}.f32", "f32 = f32 b32", machine=True, gather=True, members=1, op="min max")
def redux_float(op: str, abs: bool, NaN: bool, **_: Any) -> Meaning:
    ufunc = {("min", False): np.fmin, ("max", False): np.fmax, ("min", True): np.minimum, ("max", True): np.maximum}[op, NaN]

    def run(M: Any, at: int, mask: Any, a: Any, members: Any) -> Any:
        mates = _mates(M, at, mask, members)
        a = np.abs(M.warps(a)) if abs else M.warps(a)
        neutral = np.float32(np.inf if op == "min" else -np.inf)
        return _per_lane(M, ufunc.reduce(np.where(mates, a[..., None, :], neutral), axis=3))

    return run


@instruction("elect.sync", "b32|pred = b32", machine=True, gather=True, members=0)
def elect(**_: Any) -> Meaning:
    def run(M: Any, at: int, mask: Any, members: Any) -> Any:
        leader = _mates(M, at, mask, members).argmax(3)
        return _per_lane(M, leader.astype(np.uint32)), _per_lane(M, leader == LANES)

    return run
