"""Tensor-core instructions: how fragments lie in the registers of a warp, and what the products are.

A register of a warp is an array whose last axis has the 32 lanes (or 1, for a value that is the same everywhere), with any leading axes
(blocks, warps). A matrix has those leading axes, then rows and columns; its dtype is the carrier of its element type: float32 for all
floats up to tf32 and f32, and for 8-, 4- and 1-bit integers, float64 for f64, int32 for accumulators of integers. So matrices multiply
without further conversion, and a caller may keep them: `a_matrix`, `b_matrix`, `c_matrix`, `multiply` and `d_registers` are separate.

Every fragment but Volta's follows one rule (PTX manual, "Matrix Fragments for mma.m16n8k16" and its neighbours): a matrix is cut into
blocks of 8 rows by 4*per columns, in column-major order; lane 4g + t holds of each block the row g and `per` columns from per*t on.
A counts its rows along m and its columns along k, B its rows along n and its columns along k, C along m and n. `per` fills a 32-bit
register in A and B (it is 1 for f64), and is 2 in C.

How exact products are rounded is in `exact.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import prod

import numpy as np

from tilec.errors import require
from tilec.sim.exact import PROFILES, exact_product
from tilec.sim.formats import FORMATS, Array, table

Registers = list[Array]

INTEGERS = {"s8": 8, "u8": 8, "s4": 4, "u4": 4, "b1": 1, "s32": 32}


def width(kind: str) -> int:
    """Bits of an element of a fragment; 6- and 4-bit floats of mma occupy a byte each."""
    return INTEGERS[kind] if kind in INTEGERS else FORMATS[kind].width


# -- codes and carriers -----------------------------------------------------------------------------------------------------------------


def decode(codes: Array, kind: str) -> Array:
    """Bit patterns of elements to their carrier."""
    match kind:
        case "f64":
            return codes.view(np.float64)
        case "f32":
            return codes.view(np.float32)
        case "tf32":
            return (codes & np.uint32(0xFFFFE000)).view(np.float32)
        case "bf16":
            return (codes.astype(np.uint32) << np.uint32(16)).view(np.float32)
        case "s32":
            return codes.view(np.int32)
        case "s8":
            return codes.view(np.int8).astype(np.float32)
        case "s4":
            return ((codes ^ 8).astype(np.int8) - np.int8(8)).astype(np.float32)
        case "u8" | "u4" | "b1":
            return codes.astype(np.float32)
        case "e2m1":  # kind::f8f6f4: the four bits stand in the middle of a byte, 00seem00 (as CUTLASS shifts them there)
            return table(kind, "f4").take((codes >> 2) & 15, mode="clip")
    return table(kind, "f4").take(codes, mode="clip")


def encode(values: Array, kind: str) -> Array:
    """Carriers of accumulators (f16 f32 f64 s32), already rounded, to bit patterns; NaN is canonical."""
    if kind == "s32":
        return values.view(np.uint32)
    form = FORMATS[kind]
    codes = (values.astype(np.float16) if kind == "f16" else values).view(form.dtype)
    unordered = values != values
    return np.where(unordered, form.dtype.type(form.nan), codes) if unordered.any() else codes


# -- fragments --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fragment:
    """How a matrix of rows x cols elements of `bits` bits lies in registers: `per` neighbouring columns to a lane and block.

    `transposed`: the matrix that is meant is cols x rows (B, whose columns run along n). `copies`: how often the registers repeat.
    """

    rows: int
    cols: int
    bits: int
    per: int
    transposed: bool = False
    copies: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        return (self.cols, self.rows) if self.transposed else (self.rows, self.cols)

    @property
    def elements(self) -> int:
        """Elements of a lane, not counting copies."""
        return self.rows * self.cols // 32

    @property
    def registers(self) -> int:
        """Registers of a lane: of 32 bits, or 64 for f64."""
        return self.copies * self.elements * self.bits // max(32, self.bits)

    @cached_property
    def places(self) -> Array:
        """[32, elements, 2]: row and column of each element of each lane, in the matrix that is meant."""
        lane, e = np.arange(32)[:, None], np.arange(self.elements)[None]
        block, s = e // self.per, e % self.per
        row = 8 * (block % (self.rows // 8)) + lane // 4
        col = self.per * (4 * (block // (self.rows // 8)) + lane % 4) + s
        return np.stack([col, row] if self.transposed else [row, col], -1)

    @property
    def _words(self) -> tuple[int, ...]:
        """The axes of the matrix in words: row blocks, g, column blocks, t, words of a lane's run (2 where C has 32 or 64 bits)."""
        return self.rows // 8, 8, self.cols // (4 * self.per), 4, self.per * self.bits // max(32, self.bits)

    def _part(self, i: int) -> tuple[slice | int, ...]:
        """Where register i lies in an array with the axes of `_words`."""
        rows, _, _, _, run = self._words
        block, word = divmod(i, run)
        return (slice(None), block % rows, slice(None), block // rows, slice(None), word)

    def codes(self, registers: Registers) -> Array:
        """The matrix of bit patterns, unsigned: [..., *shape]. Copies are ignored."""
        used = registers[: self.registers // self.copies]
        lead = np.broadcast_shapes(*(r.shape[:-1] for r in used))
        words = np.empty((prod(lead), *self._words), used[0].dtype)
        for i, register in enumerate(used):
            whole = register if register.shape == (*lead, 32) else np.broadcast_to(register, (*lead, 32))
            words[self._part(i)] = whole.reshape(-1, 8, 4)
        matrix = _split(words.reshape(*lead, self.rows, -1), self.bits)
        return matrix.swapaxes(-1, -2) if self.transposed else matrix

    def pack(self, codes: Array) -> Registers:
        """The inverse of `codes`."""
        lead = codes.shape[:-2]
        matrix = np.ascontiguousarray(codes.swapaxes(-1, -2) if self.transposed else codes)
        words = _join(matrix, self.bits).reshape(prod(lead), *self._words)
        count = self.registers // self.copies
        return [np.ascontiguousarray(words[self._part(i)]).reshape(*lead, 32) for i in range(count)] * self.copies

    def offsets(self, layout: str, stride: int) -> Array:
        """[32, elements * copies]: where in memory each element lies, in elements: the addresses of wmma.load and wmma.store."""
        row, col = self.places[..., 0], self.places[..., 1]
        return np.tile(row * stride + col if layout == "row" else col * stride + row, self.copies)


def _split(words: Array, bits: int) -> Array:
    """Elements of `bits` bits of words along the last axis, from the least significant bit up."""
    if bits >= 32:
        return words
    if bits in (8, 16):
        return words.view(f"u{bits // 8}")
    octets = words.view(np.uint8)
    if bits == 1:
        return np.unpackbits(octets, axis=-1, bitorder="little")
    return np.stack([octets & 15, octets >> 4], -1).reshape(*octets.shape[:-1], -1)


def _join(codes: Array, bits: int) -> Array:
    if bits >= 32:
        return codes
    if bits == 1:
        codes = np.packbits(codes, axis=-1, bitorder="little")
    elif bits == 4:
        codes = codes[..., ::2] | (codes[..., 1::2] << 4)
    return codes.view(np.uint32)


# -- mma --------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mma:
    """mma.sync, mma.sp and wmma.mma: d = a b + c of m x k, k x n and m x n matrices.

    d, a, b, c: element types (f16 bf16 tf32 f32 f64 e4m3 e5m2 e2m1 e2m3 e3m2, s8 u8 s4 u4 b1, s32). sparse: a holds m x k/2 elements,
    two of every four (tf32: one of two; s4 and u4: two pairs of four). bitop: xor or and, for b1. wmma: registers are counted, and
    f16 repeated, as wmma does.
    """

    m: int
    n: int
    k: int
    d: str
    a: str
    b: str
    c: str
    sparse: bool = False
    bitop: str = "xor"
    wmma: bool = False

    @cached_property
    def a_fragment(self) -> Fragment:
        return self._factor(self.a, self.m, self.k // 2 if self.sparse else self.k, False)

    @cached_property
    def b_fragment(self) -> Fragment:
        return self._factor(self.b, self.n, self.k, True)

    @cached_property
    def c_fragment(self) -> Fragment:
        return Fragment(self.m, self.n, width(self.c), 2)

    @cached_property
    def d_fragment(self) -> Fragment:
        return Fragment(self.m, self.n, width(self.d), 2)

    def _factor(self, kind: str, rows: int, cols: int, transposed: bool) -> Fragment:
        bits = width(kind)
        # wmma's f16 factors have 8 registers in every shape.
        copies = 8 * 32 * 2 // (rows * cols) if self.wmma and kind == "f16" else 1
        return Fragment(rows, cols, bits, max(1, 32 // bits), transposed, copies)

    def a_matrix(self, registers: Registers) -> Array:
        """[..., m, k], or k/2 where sparse."""
        return decode(self.a_fragment.codes(registers), self.a)

    def b_matrix(self, registers: Registers) -> Array:
        """[..., k, n]"""
        return decode(self.b_fragment.codes(registers), self.b)

    def c_matrix(self, registers: Registers) -> Array:
        """[..., m, n]"""
        return decode(self.c_fragment.codes(registers), self.c)

    def d_registers(self, matrix: Array) -> Registers:
        """The inverse of `c_matrix`, for the type of d."""
        return self.d_fragment.pack(encode(matrix, self.d))

    def multiply(self, a: Array, b: Array, c: Array, *, exact: str | None = None, saturate: bool = False, rounding: str = "rn") -> Array:
        """The matrix d, rounded to its type, in its carrier. Of a sparse product, a is the dense matrix that `expand` makes.

        exact: None for one matrix product in float32 (float64 for f64), or an architecture (`exact.PROFILES`) for its arithmetic bit
        for bit. saturate: .satfinite of integer types. rounding: that of f64, heeded in exact mode.
        """
        if self.c == "s32":
            return self._integers(a, b, c, saturate)
        if exact is not None:
            kinds = self.a, self.b, self.c, self.d
            return exact_product(PROFILES[exact], a, b, c, *kinds, rounding=rounding, sparse=self.sparse)
        result = np.matmul(a, b)
        result = np.add(result, c, out=result) if np.broadcast_shapes(result.shape, c.shape) == result.shape else result + c
        return result.astype(np.float16).astype(np.float32) if self.d == "f16" else result

    def _integers(self, a: Array, b: Array, c: Array, saturate: bool) -> Array:
        # Products of at most 255 * 255 * 64 are exact in float32.
        products = np.matmul(a, b)
        if self.a == "b1" and self.bitop == "xor":
            products = a.sum(-1)[..., :, None] + b.sum(-2)[..., None, :] - 2 * products
        total = products.astype(np.int64) + c
        return np.clip(total, -(1 << 31), (1 << 31) - 1).astype(np.int32) if saturate else total.astype(np.int32)

    # -- 2:4 sparsity ---------------------------------------------------------------------------------------------------------------

    @property
    def selectors(self) -> int:
        """How many values the sparsity selector may take: the groups of lanes of a quad that can hold the metadata."""
        return 4 // self._holders

    @property
    def _holders(self) -> int:
        """Lanes of each quad that hold metadata: 32 bits for one row of 32 bytes, and a warp has 16 rows."""
        return self.m * (self.k // 2) * self._field // self._unit // (8 * 32)

    @property
    def _field(self) -> int:
        return 4 if self.a == "tf32" else 2

    @property
    def _unit(self) -> int:
        return 2 if width(self.a) == 4 else 1

    def columns(self, metadata: Array, selector: int) -> Array:
        """[..., m, k/2]: the column of the dense a that each stored element belongs to, from a register of metadata.

        Layout (PTX manual, "Matrix fragments for mma.sp", figures): 16-bit and 32-bit types put row g in the lower half of a lane's word
        and row g + 8 in the upper, each lane the next columns; narrower types alternate rows g and g + 8 from lane to lane.
        """
        require(0 <= selector < self.selectors, f"the sparsity selector is {selector}, but must be below {self.selectors}")
        lead = metadata.shape[:-1]
        words = np.broadcast_to(metadata, (*lead, 32)).reshape(*lead, 8, 4)[..., selector * self._holders : (selector + 1) * self._holders]
        fields = 32 // self._field
        shifts = (np.arange(fields) * self._field).astype(np.uint32)
        index = ((words[..., None] >> shifts) & np.uint32((1 << self._field) - 1)).astype(np.int64)
        if width(self.a) >= 16:
            index = index.reshape(*lead, 8, self._holders, 2, fields // 2)
            index = np.moveaxis(index, -2, -4)  # row half, g, lane, field
        else:
            index = index.reshape(*lead, 8, self._holders // 2, 2, fields)
            index = np.moveaxis(index, -2, -4)
        index = index.reshape(*lead, self.m, -1)
        if self.a == "tf32":
            # 0b0100 is the first of two columns, 0b1110 the second: the halves of a 16-bit scheme in pairs.
            return 2 * np.arange(self.k // 2) + index // 8
        base = 4 * (np.arange(index.shape[-1]) // 2)
        if self._unit == 1:
            return base + index
        pairs = (base + index)[..., None] * 2 + np.arange(2)
        return pairs.reshape(*lead, self.m, -1)

    def expand(self, a: Array, metadata: Array, selector: int) -> Array:
        """The dense [..., m, k] matrix of a sparse `a` ([..., m, k/2])."""
        columns = self.columns(metadata, selector)
        lead = np.broadcast_shapes(a.shape[:-1], columns.shape[:-1])
        dense = np.zeros((*lead, self.k), a.dtype)
        np.put_along_axis(dense, np.broadcast_to(columns, (*lead, columns.shape[-1])), np.broadcast_to(a, (*lead, a.shape[-1])), -1)
        return dense


# -- 8x8 matrices of 16-bit elements ----------------------------------------------------------------------------------------------------


def ldmatrix(rows: Array, *, trans: bool = False) -> Registers:
    """ldmatrix.x1/.x2/.x4{.trans}.b16: registers from `rows`, [..., matrices, 8, 8] of uint16.

    Row i of matrix j is the 16 bytes at the address that lane 8j + i gives.
    """
    if trans:
        rows = rows.swapaxes(-1, -2)
    words = np.ascontiguousarray(rows).view(np.uint32)
    return list(np.ascontiguousarray(np.moveaxis(words.reshape(*rows.shape[:-2], 32), -2, 0)))


def stmatrix(registers: Registers, *, trans: bool = False) -> Array:
    """stmatrix: the inverse of `ldmatrix`, [..., matrices, 8, 8] of uint16."""
    lead = np.broadcast_shapes(*(r.shape[:-1] for r in registers))
    words = np.stack([np.broadcast_to(r, (*lead, 32)) for r in registers], -2)
    rows = words.view(np.uint16).reshape(*lead, len(registers), 8, 8)
    return np.ascontiguousarray(rows.swapaxes(-1, -2)) if trans else rows


def movmatrix(register: Array) -> Array:
    """movmatrix.trans: an 8x8 matrix of 16-bit elements, one register of the warp, transposed."""
    return ldmatrix(stmatrix([register]), trans=True)[0]


# -- Volta's mma ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QuadPairs:
    """mma.m8n8k4 of f16, Volta's: a warp makes four products, the quad pair q of lanes 4q..4q+3 and 4q+16..4q+19 one each.

    Matrices have an axis of length 4 for q before rows and columns. (PTX manual, "Matrix Fragments for mma.m8n8k4 with .f16".)
    """

    a_layout: str
    b_layout: str
    c: str
    d: str

    def _factor(self, registers: Registers, layout: str) -> Array:
        """[..., 4, 8, 4]: rows along m or n, columns along k."""
        lead = np.broadcast_shapes(*(r.shape[:-1] for r in registers))
        words = np.empty((*lead, 32, 2), np.uint32)
        for i, register in enumerate(registers):
            words[..., i] = register
        held = words.view(np.uint16).reshape(*lead, 2, 4, 4, 4)  # upper half of the warp, q, lane, element
        held = np.moveaxis(held, -4, -3)  # q, upper, lane, element
        if layout == "k":  # a lane has one row: lane + 4 * upper
            return held.reshape(*lead, 4, 8, 4)
        return held.swapaxes(-1, -2).reshape(*lead, 4, 8, 4)  # a lane has one k, elements are rows

    def a_matrix(self, registers: Registers) -> Array:
        """[..., 4, 8, 4]"""
        return decode(self._factor(registers, "k" if self.a_layout == "row" else "m"), "f16")

    def b_matrix(self, registers: Registers) -> Array:
        """[..., 4, 4, 8]"""
        return decode(self._factor(registers, "k" if self.b_layout == "col" else "n"), "f16").swapaxes(-1, -2)

    @staticmethod
    @cache
    def _places(kind: str) -> Array:
        """[32, 8]: for each accumulator element of each lane its place in the flat [4, 8, 8]."""
        lane, i = np.arange(32)[:, None], np.arange(8)[None]
        upper, q = lane // 16, (lane // 4) % 4
        if kind == "f16":
            row, col = lane % 4 + 4 * upper, i + 0 * lane
        else:
            row = (lane & 1) + (i & 2) + 4 * upper
            col = (i & 4) + (lane & 2) + (i & 1)
        return (64 * q + 8 * row + col).reshape(-1)

    def c_matrix(self, registers: Registers) -> Array:
        """[..., 4, 8, 8]"""
        lead = np.broadcast_shapes(*(r.shape[:-1] for r in registers))
        words = np.stack([np.broadcast_to(r, (*lead, 32)) for r in registers], -1).reshape(*lead, -1)
        codes = _split(words, width(self.c)).take(np.argsort(self._places(self.c)), axis=-1)
        return decode(codes.reshape(*lead, 4, 8, 8), self.c)

    def d_registers(self, matrix: Array) -> Registers:
        codes = encode(matrix, self.d)
        lead = codes.shape[:-3]
        flat = _join(codes.reshape(*lead, -1).take(self._places(self.d), axis=-1), width(self.d))
        return list(np.ascontiguousarray(np.moveaxis(flat.reshape(*lead, 32, -1), -1, 0)))

    def multiply(self, a: Array, b: Array, c: Array, *, exact: str | None = None, saturate: bool = False, rounding: str = "rn") -> Array:
        """The matrix d. Exact mode takes one group of four terms; ptxas for sm_80 and later makes it of f32 instructions instead."""
        return Mma(8, 8, 4, self.d, "f16", "f16", self.c).multiply(a, b, c, exact=exact)


# -- which shapes there are -------------------------------------------------------------------------------------------------------------

_FP8 = ("e4m3", "e5m2")
_SHAPES: dict[tuple[str, ...], list[tuple[int, int, int]]] = {  # mma.sync, by types of a
    ("f16", "bf16"): [(16, 8, 8), (16, 8, 16)],
    ("tf32",): [(16, 8, 4), (16, 8, 8)],
    ("f64",): [(8, 8, 4), (16, 8, 4), (16, 8, 8), (16, 8, 16)],
    (*_FP8,): [(16, 8, 16), (16, 8, 32)],
    ("e2m1", "e2m3", "e3m2"): [(16, 8, 32)],
    ("s8", "u8"): [(8, 8, 16), (16, 8, 16), (16, 8, 32)],
    ("s4", "u4"): [(8, 8, 32), (16, 8, 32), (16, 8, 64)],
    ("b1",): [(8, 8, 128), (16, 8, 128), (16, 8, 256)],
}
_SPARSE: dict[tuple[str, ...], list[tuple[int, int, int]]] = {
    ("f16", "bf16"): [(16, 8, 16), (16, 8, 32)],
    ("tf32",): [(16, 8, 8), (16, 8, 16)],
    (*_FP8, "e2m1", "e2m3", "e3m2"): [(16, 8, 64)],
    ("s8", "u8"): [(16, 8, 32), (16, 8, 64)],
    ("s4", "u4"): [(16, 8, 64), (16, 8, 128)],
}
_WMMA: dict[tuple[str, ...], list[tuple[int, int, int]]] = {
    ("f16", "bf16", "s8", "u8"): [(16, 16, 16), (32, 8, 16), (8, 32, 16)],
    ("tf32",): [(16, 16, 8)],
    ("f64",): [(8, 8, 4)],
    ("s4", "u4"): [(8, 8, 32)],
    ("b1",): [(8, 8, 128)],
}
_FAMILIES = [("f16",), ("bf16",), ("tf32",), ("f64",), ("s8", "u8"), ("s4", "u4"), ("b1",), (*_FP8, "e2m1", "e2m3", "e3m2")]


@cache
def mma(shape: str, d: str, a: str, b: str, c: str, *, sparse: bool = False, bitop: str = "xor", wmma: bool = False) -> Mma:
    """The instruction of a shape such as "m16n8k16" and its four types; raises TileError if PTX has no such combination."""
    m, n, k = (int(x) for x in shape[1:].replace("n", " ").replace("k", " ").split())
    shapes = next((s for kinds, s in (_WMMA if wmma else _SPARSE if sparse else _SHAPES).items() if a in kinds), [])
    name = "wmma" if wmma else "mma.sp" if sparse else "mma"
    require((m, n, k) in shapes, f"{name} has no shape {shape} for {a}")
    require(any(a in family and b in family for family in _FAMILIES), f"{name} can't multiply {a} by {b}")
    sums = {"f64": ("f64",), "bf16": ("f32",), "tf32": ("f32",)}.get(a, ("s32",) if a in INTEGERS else ("f16", "f32"))
    require(c in sums and d in sums, f"{name} of {a} can't accumulate {c} into {d}")
    return Mma(m, n, k, d, a, b, c, sparse, bitop, wmma)


__all__ = ["Fragment", "Mma", "QuadPairs", "Registers", "ldmatrix", "mma", "movmatrix", "stmatrix"]
