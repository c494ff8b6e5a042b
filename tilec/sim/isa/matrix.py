"""Tensor-core instructions: mma, mma.sp, wmma, ldmatrix, stmatrix, movmatrix.

Accumulators stay matrices from one mma to the next: an mma's destinations are `Lazy` registers, which become arrays only if something
else reads them. Factors are converted once for as many instructions as read the same registers, known by the identity of their arrays
(registers are never written in place).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tilec.sim import tensorcore
from tilec.sim.report import Unsupported
from tilec.sim.table import instruction
from tilec.sim.tensorcore import Mma
from tilec.sim.values import force, space_of

Meaning = Callable[..., Any]
KEPT = 48  # converted factors that are kept


class Tile:
    """A result in matrix form, and its registers once somebody asks."""

    def __init__(self, mma: Mma, matrix: Any, shape: tuple[int, int]):
        self.mma, self.matrix, self.shape = mma, matrix, shape
        self.registers: list[Any] | None = None

    def register(self, i: int) -> Any:
        if self.registers is None:
            self.registers = [r.reshape(self.shape) for r in self.mma.d_registers(self.matrix)]
        return self.registers[i]


class Lazy:
    """Register `index` of a tile."""

    __slots__ = ("index", "tile")

    def __init__(self, tile: Tile, index: int):
        self.tile, self.index = tile, index

    def force(self) -> Any:
        return self.tile.register(self.index)


def _word(kind: str) -> str:
    return "b64" if kind == "f64" else "b32"


@cache
def _mma(shape: str, d: str, a: str, b: str, c: str, sparse: bool = False, bitop: str = "xor", wmma: bool = False) -> Mma:
    m, n, k = (int(x) for x in re.findall(r"\d+", shape))
    return Mma(m, n, k, d, a, b, c, sparse=sparse, bitop=bitop, wmma=wmma)


def _signature(mma: Mma, tail: str = "") -> str:
    a, b, c, d = mma.a_fragment, mma.b_fragment, mma.c_fragment, mma.d_fragment
    return (
        f"frag({_word(mma.d)})*{d.registers} = {_word(mma.a)}*{a.registers} {_word(mma.b)}*{b.registers} "
        f"frag({_word(mma.c)})*{c.registers}{tail}"
    )


def _factor(M: Any, registers: tuple[Any, ...], convert: Meaning, key: Any) -> Any:
    """`convert` of registers as (B, W, 32), remembered by the identity of the arrays."""
    identity = (key, *map(id, registers))
    found = M.factors.get(identity)
    if found is None:
        if len(M.factors) >= KEPT:
            M.factors.pop(next(iter(M.factors)))
        found = M.factors[identity] = (convert([M.warps(r) for r in registers]), registers)
    return found[0]


def _accumulator(M: Any, mma: Mma, registers: tuple[Any, ...]) -> Any:
    first = registers[0]
    if type(first) is Lazy:
        tile = first.tile
        same = tile.mma.d_fragment == mma.c_fragment and tile.mma.d == mma.c and len(registers) == mma.c_fragment.registers
        if same and all(type(r) is Lazy and r.tile is tile and r.index == i for i, r in enumerate(registers)):
            return tile.matrix
    kind = np.dtype("u8" if mma.c == "f64" else "u4")
    return mma.c_matrix([M.warps(force(r, kind)) for r in registers])


def _multiply(mma: Mma, saturate: bool = False, rounding: str = "rn", sparse: bool = False) -> Meaning:
    def run(M: Any, at: int, mask: Any, a: Any, b: Any, c: Any, metadata: Any = None, selector: int = 0) -> Any:
        left = _factor(M, a, mma.a_matrix, (mma.a_fragment, mma.a))
        right = _factor(M, b, mma.b_matrix, (mma.b_fragment, mma.b))
        if sparse:
            left = mma.expand(left, M.warps(metadata), selector)
        out = mma.multiply(left, right, _accumulator(M, mma, c), exact=M.exact, saturate=saturate, rounding=rounding)
        tile = Tile(mma, np.broadcast_to(out, (M.B, M.W, mma.m, mma.n)), M.shape)
        return tuple(Lazy(tile, i) for i in range(mma.d_fragment.registers))

    return run


# mma.sync: (shapes, D and C types, A types, B types or None for the same as A)

_SMALL = "e4m3 e5m2"
_NARROW = "e4m3 e5m2 e3m2 e2m3 e2m1"
_DENSE = [
    ("m16n8k8 m16n8k16", "f16 f32", "f16", None),
    ("m16n8k8 m16n8k16", "f32", "bf16", None),
    ("m16n8k4 m16n8k8", "f32", "tf32", None),
    ("m8n8k4 m16n8k4 m16n8k8 m16n8k16", "f64", "f64", None),
    ("m8n8k16 m16n8k16 m16n8k32", "s32", "s8 u8", "s8 u8"),
    ("m8n8k32 m16n8k32 m16n8k64", "s32", "s4 u4", "s4 u4"),
    ("m16n8k16 m16n8k32", "f16 f32", _SMALL, _SMALL),
]
_SPARSE = [
    ("m16n8k16 m16n8k32", "f16 f32", "f16", None),
    ("m16n8k16 m16n8k32", "f32", "bf16", None),
    ("m16n8k8 m16n8k16", "f32", "tf32", None),
    ("m16n8k32 m16n8k64", "s32", "s8 u8", "s8 u8"),
    ("m16n8k64 m16n8k128", "s32", "s4 u4", "s4 u4"),
    ("m16n8k64", "f16 f32", _SMALL, _SMALL),
]
_KINDS: list[tuple[str, str, str, str | None]] = [("m16n8k32", "f16 f32", _NARROW, _NARROW)]
_SHAPES = " ".join(sorted({s for rows in (_DENSE, _SPARSE) for row in rows for s in row[0].split()}))
_FLOATS = "f16 bf16 tf32 f64 s8 u8 s4 u4 " + _NARROW
_TYPES: dict[str, Any] = {"shape": _SHAPES, "D": "f16 f32 f64 s32", "A": _FLOATS, "B": _FLOATS, "C": "f16 f32 f64 s32"}


def _allowed(rows: list[tuple[str, str, str, str | None]], shape: str, D: str, A: str, B: str, C: str) -> bool:
    return any(
        shape in shapes.split()
        and D in results.split()
        and C in results.split()
        and A in left.split()
        and (B in right.split() if right else A == B)
        for shapes, results, left, right in rows
    )


def _dense(D: str, A: str, B: str, C: str, shape: str, satfinite: bool = False, **_: Any) -> bool:
    return _allowed(_DENSE, shape, D, A, B, C) and (not satfinite or D == "s32")


@instruction(
    "mma.sync.aligned.shape.row.col{.satfinite}.D.A.B.C",
    lambda shape, D, A, B, C, **_: _signature(_mma(shape, D, A, B, C)),
    machine=True,
    gather=True,
    where=_dense,
    **_TYPES,
)
def mma_sync(shape: str, D: str, A: str, B: str, C: str, satfinite: bool, **_: Any) -> Meaning:
    return _multiply(_mma(shape, D, A, B, C), satfinite)


@instruction(
    "mma.sync.aligned.shape.row.col.kind::f8f6f4.D.A.B.C",
    lambda shape, D, A, B, C, **_: _signature(_mma(shape, D, A, B, C)),
    machine=True,
    gather=True,
    where=lambda shape, D, A, B, C, **_: _allowed(_KINDS, shape, D, A, B, C),
    **_TYPES,
)
def mma_kind(shape: str, D: str, A: str, B: str, C: str, **_: Any) -> Meaning:
    return _multiply(_mma(shape, D, A, B, C))


@instruction(
    "mma.sync.aligned.shape.row.col.s32.b1.b1.s32.bitop.popc",
    lambda shape, bitop, **_: _signature(_mma(shape, "s32", "b1", "b1", "s32", bitop=bitop)),
    machine=True,
    gather=True,
    shape="m8n8k128 m16n8k128 m16n8k256",
    bitop="xor and",
)
def mma_bits(shape: str, bitop: str, **_: Any) -> Meaning:
    return _multiply(_mma(shape, "s32", "b1", "b1", "s32", bitop=bitop))


@instruction(
    "mma.form.sync.aligned.shape.row.col{.satfinite}.D.A.B.C",
    lambda shape, D, A, B, C, **_: _signature(_mma(shape, D, A, B, C, sparse=True), " b32 imm"),
    machine=True,
    gather=True,
    form="sp sp::ordered_metadata",
    where=lambda form, shape, D, A, B, C, satfinite, **_: (
        _allowed(_SPARSE, shape, D, A, B, C) and (not satfinite or D == "s32") and not (form == "sp" and D == "f16" and A in _SMALL.split())
    ),
    **_TYPES,
)
def mma_sparse(shape: str, D: str, A: str, B: str, C: str, satfinite: bool, **_: Any) -> Meaning:
    return _multiply(_mma(shape, D, A, B, C, sparse=True), satfinite, sparse=True)


@instruction(
    "mma.sync.aligned.m8n8k4.AL.BL.D.f16.f16.C",
    lambda D, C, **_: f"b32*{8 if D == 'f32' else 4} = b32*2 b32*2 b32*{8 if C == 'f32' else 4}",
    machine=True,
    gather=True,
    AL="row col",
    BL="row col",
    D="f16 f32",
    C="f16 f32",
)
def mma_volta(AL: str, BL: str, D: str, C: str, **_: Any) -> Meaning:
    pairs = tensorcore.QuadPairs(AL, BL, C, D)

    def run(M: Any, at: int, mask: Any, a: Any, b: Any, c: Any) -> Any:
        a, b, c = ([M.warps(r) for r in x] for x in (a, b, c))
        out = pairs.multiply(pairs.a_matrix(a), pairs.b_matrix(b), pairs.c_matrix(c), exact=M.exact)
        return tuple(np.broadcast_to(r, (M.B, M.W, 32)).reshape(M.shape) for r in pairs.d_registers(out))

    return run


# wmma: the same products, with loads and stores of whole fragments

_WMMA = [
    ("m16n16k16 m32n8k16 m8n32k16", "f16 f32", "f16"),
    ("m16n16k16 m32n8k16 m8n32k16", "f32", "bf16"),
    ("m16n16k16 m32n8k16 m8n32k16", "s32", "s8 u8"),
    ("m8n8k32", "s32", "s4 u4"),
    ("m8n8k128", "s32", "b1"),
    ("m16n16k8", "f32", "tf32"),
    ("m8n8k4", "f64", "f64"),
]
_WSHAPES = " ".join(sorted({s for row in _WMMA for s in row[0].split()}))
_WTYPES = "f16 bf16 tf32 f64 s8 u8 s4 u4 b1 f32 s32"


def _wmma(shape: str, A: str, B: str, C: str, D: str) -> Mma:
    return _mma(shape, D, A, B, C, wmma=True)


def _known(shape: str, A: str, B: str, C: str, D: str) -> bool:
    return A == B and any(shape in s.split() and C in r.split() and D in r.split() and A in f.split() for s, r, f in _WMMA)


def _fragment(part: str, shape: str, T: str) -> Any:
    """The fragment that wmma.load or wmma.store of `part` moves, or None if there is no such one."""
    for shapes, results, factors in _WMMA:
        if shape in shapes.split() and T in (factors if part in "ab" else results).split():
            result = results.split()[-1]
            mma = _wmma(shape, T, T, result, result) if part in "ab" else _wmma(shape, factors.split()[0], factors.split()[0], T, T)
            return {"a": mma.a_fragment, "b": mma.b_fragment, "c": mma.c_fragment, "d": mma.d_fragment}[part]
    return None


def _addresses(M: Any, fragment: Any, layout: str, address: Any, stride: Any) -> list[Any]:
    """For each 32- or 64-bit register its byte addresses: a list of arrays for its elements, or of one for the whole register."""
    rows, cols = fragment.shape
    if stride is None:
        stride = np.array([[cols if layout == "row" else rows]])
    stride = stride.astype(np.int64)
    per = max(1, 32 // fragment.bits)
    whole = fragment.bits >= 32 or (fragment.per >= per and (layout == "col") == fragment.transposed)
    out = []
    for r in range(fragment.registers // fragment.copies):
        elements = range(r * per, (r + 1) * per)
        places = [fragment.places[:, e] for e in elements]
        spots = []
        for place in places[:1] if whole else places:
            row, col = (np.tile(place[:, i], M.W).reshape(1, M.T) for i in (0, 1))
            offset = row * stride + col if layout == "row" else col * stride + row
            spots.append(address + (offset * fragment.bits) // 8)
        out.append(spots)
    return out * fragment.copies


_LOAD: dict[str, Any] = {"layout": "row col", "shape": _WSHAPES, "space": "global shared shared::cta", "T": _WTYPES}


def _load_signature(part: str, shape: str, T: str, **_: Any) -> str:
    return f"{_word(T)}*{_fragment(part, shape, T).registers} = [] b32?"


@instruction(
    "wmma.load.part.sync.aligned.layout.shape{.space}.T",
    _load_signature,
    machine=True,
    gather=True,
    part="a b c",
    where=lambda part, shape, T, **_: _fragment(part, shape, T) is not None,
    **_LOAD,
)
def wmma_load(part: str, layout: str, shape: str, space: str | None, T: str, **_: Any) -> Meaning:
    fragment, where = _fragment(part, shape, T), space_of({"space": space})
    if fragment.bits < 8 and (layout == "col") != fragment.transposed:
        raise Unsupported("a layout that PTX does not have for this type")

    def run(M: Any, at: int, mask: Any, address: Any, stride: Any) -> Any:
        out = []
        for spots in _addresses(M, fragment, layout, address, stride):
            if len(spots) == 1:
                out.append(M.memory.load(at, mask, where, spots[0], np.dtype("u8" if T == "f64" else "u4"), 0))
                continue
            size = 4 // len(spots)
            parts = [M.memory.load(at, mask, where, x, np.dtype(f"u{size}"), 0).astype(np.uint32) for x in spots]
            out.append(sum((p << np.uint32(8 * size * k) for k, p in enumerate(parts)), np.zeros((1, 1), np.uint32)))
        return tuple(out)

    return run


@instruction(
    "wmma.store.d.sync.aligned.layout.shape{.space}.T",
    lambda shape, T, **_: f"[] {_word(T)}*{_fragment('d', shape, T).registers} b32?",
    machine=True,
    gather=True,
    where=lambda shape, T, **_: _fragment("d", shape, T) is not None,
    **_LOAD,
)
def wmma_store(layout: str, shape: str, space: str | None, T: str, **_: Any) -> Meaning:
    fragment, where = _fragment("d", shape, T), space_of({"space": space})

    def run(M: Any, at: int, mask: Any, address: Any, registers: Any, stride: Any) -> None:
        for register, spots in zip(registers, _addresses(M, fragment, layout, address, stride), strict=True):
            if len(spots) == 1:
                M.memory.store(at, mask, where, spots[0], register, register.dtype, 0)
                continue
            size = 4 // len(spots)
            for k, spot in enumerate(spots):
                M.memory.store(at, mask, where, spot, (register >> np.uint32(8 * size * k)).astype(f"u{size}"), np.dtype(f"u{size}"), 0)

    return run


@instruction(
    "wmma.mma.sync.aligned.AL.BL.shape.D.C{.satfinite}",
    lambda shape, D, C, **_: _signature(_wmma(shape, "f16", "f16", C, D)),
    machine=True,
    gather=True,
    AL="row col",
    BL="row col",
    shape="m16n16k16 m32n8k16 m8n32k16",
    D="f16 f32",
    C="f16 f32",
)
def wmma_f16(shape: str, D: str, C: str, satfinite: bool, **_: Any) -> Meaning:
    return _multiply(_wmma(shape, "f16", "f16", C, D), satfinite)


@instruction(
    "wmma.mma{.bitop}{.popc}.sync.aligned.AL.BL.shape{.rnd}.D.A.B.C{.satfinite}",
    lambda shape, D, A, B, C, bitop, **_: _signature(_mma(shape, D, A, B, C, bitop=bitop or "xor", wmma=True)),
    machine=True,
    gather=True,
    where=lambda shape, D, A, B, C, bitop, popc, rnd, **_: (
        _known(shape, A, B, C, D) and (A == "b1") == (bitop is not None) == popc and (rnd is None or A == "f64")
    ),
    bitop="xor and",
    AL="row col",
    BL="row col",
    shape=_WSHAPES,
    rnd="rn rz rm rp",
    D=_WTYPES,
    A=_WTYPES,
    B=_WTYPES,
    C=_WTYPES,
)
@instruction(
    "wmma.mma.sync.aligned.AL.BL.shape.D.A.B.C{.rnd}{.satfinite}",
    lambda shape, D, A, B, C, **_: _signature(_wmma(shape, A, B, C, D)),
    machine=True,
    gather=True,
    where=lambda shape, D, A, B, C, rnd, **_: _known(shape, A, B, C, D) and A != "b1" and (rnd is None or A == "f64"),
    AL="row col",
    BL="row col",
    shape=_WSHAPES,
    rnd="rn rz rm rp",
    D=_WTYPES,
    A=_WTYPES,
    B=_WTYPES,
    C=_WTYPES,
)
def wmma_mma(shape: str, D: str, A: str, B: str, C: str, satfinite: bool, rnd: str | None, bitop: str | None = None, **_: Any) -> Meaning:
    return _multiply(_mma(shape, D, A, B, C, bitop=bitop or "xor", wmma=True), satfinite, rnd or "rn")


# ldmatrix, stmatrix, movmatrix: 8x8 matrices of 16-bit elements

_COUNT = {"x1": 1, "x2": 2, "x4": 4}
_MOVE: dict[str, Any] = {"num": "x1 x2 x4", "space": "shared shared::cta"}


def _first_lanes(M: Any, mask: Any, count: int) -> Any:
    """The lanes whose addresses count."""
    if count == 4:
        return mask
    some = (M.lane < 8 * count) & np.ones(M.shape, bool)
    return some if mask is None else some & mask


@instruction(
    "ldmatrix.sync.aligned.m8n8.num{.trans}{.space}.b16", lambda num, **_: f"b32*{_COUNT[num]} = []", machine=True, gather=True, **_MOVE
)
def ldmatrix(num: str, trans: bool, space: str | None, **_: Any) -> Meaning:
    count, where = _COUNT[num], space_of({"space": space})

    def run(M: Any, at: int, mask: Any, address: Any) -> Any:
        rows = M.memory.rows(at, _first_lanes(M, mask, count), where, address, count)  # (count, B, W, 8) items of 16 bytes
        if trans:
            cells = rows.view(np.uint16).reshape(count, M.B, M.W, 8, 8).swapaxes(-1, -2)
            rows = np.ascontiguousarray(cells)
        return tuple(rows.view(np.uint32).reshape((count, *M.shape)))

    return run


@instruction(
    "stmatrix.sync.aligned.m8n8.num{.trans}{.space}.b16", lambda num, **_: f"[] b32*{_COUNT[num]}", machine=True, gather=True, **_MOVE
)
def stmatrix(num: str, trans: bool, space: str | None, **_: Any) -> Meaning:
    count, where = _COUNT[num], space_of({"space": space})

    def run(M: Any, at: int, mask: Any, address: Any, registers: Any) -> None:
        cells = tensorcore.stmatrix([M.warps(r) for r in registers], trans=trans)  # (B, W, count, 8, 8)
        words = np.zeros((M.B, M.W, 32, 4), np.uint32)
        words[:, :, : 8 * count] = np.ascontiguousarray(cells).view(np.uint32).reshape(M.B, M.W, 8 * count, 4)
        flat = words.reshape(*M.shape, 4)
        M.memory.store(at, _first_lanes(M, mask, count), where, address, tuple(flat[..., i] for i in range(4)), np.dtype("u4"), 4)

    return run


@instruction("movmatrix.sync.aligned.m8n8.trans.b16", "b32 = b32", machine=True, gather=True)
def movmatrix(**_: Any) -> Meaning:
    return lambda M, at, mask, a: tensorcore.movmatrix(M.warps(a)).reshape(M.shape)
