"""Shared memory: tiles and slices, loads, stores and `ldmatrix`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tilec.backend.addresses import SharedAccess
from tilec.backend.emit import llvm_type
from tilec.backend.fields import Codes, bytes_of, tell, words_of
from tilec.backend.isa import ldmatrix
from tilec.backend.llvm import Generator, Registers, emits, registers_of
from tilec.backend.memory import Place, first_holder, from_memory, from_words, i32_add, in_memory, to_memory
from tilec.backend.packed_shared import PackedAccess, load_packed, store_packed
from tilec.errors import Code, require
from tilec.ir.facts import inner_steps, view_begins
from tilec.ir.notes import Refused
from tilec.ir.ops.memory import LoadShared, Shared, StoreShared
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.types import TileType


@emits(Shared)
def shared(g: Generator, op: Shared) -> Sequence[Registers]:
    """A shared tile is the byte where it begins, or the bit if its elements fill no bytes; and how many elements behind it a view begins, as far as
    these take part in its swizzle."""
    g.uses_shared = True
    assert op.offset is not None
    return [[str(op.offset * (8 if op.result.type.packed else 1)), "0"]]


@emits(SharedView)
def shared_view(g: Generator, op: SharedView) -> Sequence[Registers]:
    memory = op.memory.type
    unit = memory.item_bits if memory.packed else memory.item_bytes
    inner = {v for v, _, _ in inner_steps(g.facts, op)}
    start, behind = g[op.memory]
    for v, step in zip(op.offsets, memory.layout.strides, strict=True):
        if v in inner:
            behind = i32_add(g, behind, times(g, g.scalar(v), step))
        else:
            start = i32_add(g, start, times(g, g.scalar(v), step * unit))
    return [[start, behind]] if op.dtype is None else [recast(g, op, start, behind)]


def recast(g: Generator, op: SharedView, start: str, behind: str) -> Registers:
    """Where a view of another type begins, in units of its own."""
    given, made = op.memory.type, op.result.type
    begins = view_begins(g.facts, op.memory)
    step = math.lcm(given.item_bits, made.item_bits) // given.item_bits
    part = f"s[{', '.join([*':' * (given.rank - 1), f'{step} * i : {step} * i + {given.shape[-1]}'])}]"
    require(
        begins * given.item_bits % made.item_bits == 0,
        f"the part that is seen as {made.dtype} is not known to begin at a multiple of its {made.item_bits} bits",
        hint=f"begin at a multiple of {step} elements, as in {part}, or see the whole tile so before it is cut", loc=op.loc, code=Code.BITS,
    )  # fmt: skip
    bits = [start if given.packed else times(g, start, 8), times(g, behind, given.item_bits)]
    return [whole_part(g, n, unit) for n, unit in zip(bits, (1 if made.packed else 8, made.item_bits), strict=True)]


def whole_part(g: Generator, value: str, number: int) -> str:
    """A quotient of i32, which has no rest."""
    return str(int(value) // number) if value.isdigit() else value if number == 1 else g.e.let(f"udiv exact i32 {value}, {number}")


def times(g: Generator, value: str, number: int) -> str:
    """A product of i32 that are not negative."""
    return str(int(value) * number) if value.isdigit() else value if number == 1 else g.e.let(f"mul nuw nsw i32 {value}, {number}")


@emits(LoadShared)
def load_shared(g: Generator, op: LoadShared) -> Sequence[Registers]:
    access = (PackedAccess if op.memory.type.packed else SharedAccess).of(g, op, op.result.type)
    if op.shape:
        access.explain(op.loc)
    return [load_from(g, access, op.result.type)]


def load_from(g: Generator, access: SharedAccess, type: TileType) -> Registers:
    """The registers of a tile of this type."""
    if isinstance(access, PackedAccess):
        return load_packed(g, access, type)
    dtype = type.dtype
    kind, run = in_memory(dtype), access.run
    size = run * access.memory.item_bytes
    out: Registers = []
    folded = access.folded()
    for register in range(0, registers_of(type), run):
        address = access.address(register)
        inside = access.inside(register)
        if inside != "true":  # the padding may lie outside of the tile
            address = g.e.let(f"select i1 {inside}, ptr addrspace(3) {address}, ptr addrspace(3) {folded.address(register)}")
        if run == 1:
            vector = [g.e.let(f"load {kind}, ptr addrspace(3) {address}, align {size}")]
        else:
            whole = g.e.let(f"load <{run} x {kind}>, ptr addrspace(3) {address}, align {size}")
            vector = g.e.split(kind, whole, run)
            if kind == "i8" and run >= 4 and not dtype.is_bool:
                tell(g.e, vector, bytes_of(g.e, kind, whole, run), 8)
        out += [from_memory(g, v, dtype) for v in vector]
    return out


@emits(StoreShared)
def store_shared(g: Generator, op: StoreShared) -> None:
    access = (PackedAccess if op.memory.type.packed else SharedAccess).of(g, op, op.value.type)
    if op.value.type.shape:
        access.explain(op.loc)
    if isinstance(access, PackedAccess):
        return store_packed(g, access, g[op.value], op.value.type)
    kind, run = in_memory(op.value.type.dtype), access.run
    values = [to_memory(g, v, op.value.type.dtype) for v in g[op.value]]
    size = run * access.memory.item_bytes
    first = first_holder(g, op.value.type)
    stores = []
    for register in range(0, len(values), run):
        kept = () if kind != "i8" else words_of(g.e, values[register : register + run], 8)
        vector = from_words(g, kept, size) if kept else values[register] if run == 1 else g.e.join(kind, values[register : register + run])
        type = kind if run == 1 else f"<{run} x {kind}>"
        stores.append((access.inside(register, first), f"store {type} {vector}, ptr addrspace(3) {access.address(register)}, align {size}"))
    emit_where(g, stores)
    return None


def emit_where(g: Generator, instructions: Sequence[tuple[str, str]]) -> None:
    """Instructions without results, each under its condition, in any order: those under one condition share a branch. LLVM's passes give
    up, and the process with them, at a thousand branches in a row."""
    groups: dict[str, list[str]] = {}
    for condition, instruction in instructions:
        groups.setdefault(condition, []).append(instruction)
    for condition, group in groups.items():
        if condition == "false":
            continue
        number = g.e.fresh()
        if condition != "true":
            g.e.branch(condition, f"put{number}", f"next{number}")
            g.e.start(f"put{number}")
        for instruction in group:
            g.e.line(instruction)
        if condition != "true":
            g.e.jump(f"next{number}")
            g.e.start(f"next{number}")


def matrix_rows(g: Generator, op: ldmatrix.LoadMatrix | ldmatrix.StoreMatrix, found: Any) -> tuple[list[str], int, str]:
    """A pointer to this lane's row for each instruction, the matrices of one, and what the instruction's name says of these."""
    assert not isinstance(found, Refused)
    layout, count, transposed = found
    offsets = [tuple(int(c) for c in row) for row in layout.coords()[0]]
    place = Place(g.base(layout), offsets, layout.shape, layout.shape)
    access = (PackedAccess if op.memory.type.packed else SharedAccess)(g, op.memory, op.dims, op.offsets, place, layout)
    access.scale[op.dims.index(op.memory.type.layout.fast)] = ldmatrix.row_elements(op.memory.type)
    return [access.address(r) for r in range(layout.registers)], count, f"x{count}{'.trans' if transposed else ''}"


@emits(ldmatrix.LoadMatrix)
def load_matrix(g: Generator, op: ldmatrix.LoadMatrix) -> Sequence[Registers]:
    rows, count, kind = matrix_rows(g, op, ldmatrix.addresses(op.memory.type, op.dims, op.result.type))
    result = "i32" if count == 1 else "{" + ", ".join(["i32"] * count) + "}"
    out: Registers = []
    each = op.result.type.layout.registers // (len(rows) * count)  # of a word; one alone stands there twice
    for row in rows:
        whole = g.e.call(result, f"llvm.nvvm.ldmatrix.sync.aligned.m8n8.{kind}.b16.p3", f"ptr addrspace(3) {row}")
        words = [whole] if count == 1 else g.e.extract(whole, result, count)
        out += [element for word in words for element in elements_of(g, word, op.result.type)[:each]]
    return [out]


@emits(ldmatrix.StoreMatrix)
def store_matrix(g: Generator, op: ldmatrix.StoreMatrix) -> None:
    type = op.value.type
    rows, count, kind = matrix_rows(g, op, ldmatrix.stored(op.memory.type, op.dims, type))
    each = ldmatrix.WORD_BITS // type.dtype.bits
    words = [word_of(g, g[op.value][first : first + each], type) for first in range(0, len(g[op.value]), each)]
    names = ", ".join(f"${i + 1}" for i in range(count))
    code = f"stmatrix.sync.aligned.m8n8.{kind}.shared.b16 [$0], {{{names}}};"
    constraints = ",".join(["r"] * (count + 1)) + ",~{memory}"
    for i, row in enumerate(rows):
        values = [f"i32 {w}" for w in words[i * count : (i + 1) * count]]
        g.e.asm("void", code, constraints, f"ptr addrspace(3) {row}", *values, effect=True, convergent=True)


def elements_of(g: Generator, word: str, type: TileType) -> Registers:
    """The elements in a 32-bit word."""
    bits, kind = type.dtype.bits, llvm_type(type.dtype)
    if bits <= 8:
        return Codes(g.e, ldmatrix.WORD_BITS // bits, bits).cut((word,))
    if bits == 32:
        return [word if kind == "i32" else g.e.let(f"bitcast i32 {word} to {kind}")]
    return g.e.split(kind, g.e.let(f"bitcast i32 {word} to <2 x {kind}>"), 2)


def word_of(g: Generator, elements: Registers, type: TileType) -> str:
    """The inverse of `elements_of`."""
    bits, kind = type.dtype.bits, llvm_type(type.dtype)
    if bits <= 8:
        return Codes(g.e, ldmatrix.WORD_BITS // bits, bits).row(elements)[0]
    if bits == 32:
        return elements[0] if kind == "i32" else g.e.let(f"bitcast {kind} {elements[0]} to i32")
    return g.e.let(f"bitcast <2 x {kind}> {g.e.join(kind, elements)} to i32")
