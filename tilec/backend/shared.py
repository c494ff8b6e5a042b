"""Shared memory: loads, stores, `ldmatrix`, and asynchronous copies into it.

An element's place is the tile's offset plus `swizzle(thread's part + register's constant)`. Where the bits of the two do not overlap,
which they don't in layouts of powers of two, the swizzle distributes over them: the thread's part is swizzled once, and each
register costs an immediate, or one XOR for each different pattern of swizzled bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tilec.backend import hints
from tilec.backend.fields import bytes_of, tell, words_of
from tilec.backend.isa import ldmatrix
from tilec.backend.llvm import Generator, Registers, emits, from_code, registers_of
from tilec.backend.memory import (
    VECTOR_BITS,
    GlobalAccess,
    Place,
    conjunction,
    first_holder,
    from_memory,
    from_words,
    i32_add,
    in_memory,
    load_where,
    place_of,
    to_memory,
)
from tilec.errors import Loc
from tilec.ir.core import Value
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused, explain_width, say
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.memory import LoadShared, Shared, SharedSlice, StoreShared
from tilec.ir.ops.sync import Sync
from tilec.ir.types import SharedType, TileType


@emits(Shared)
def shared(g: Generator, op: Shared) -> Sequence[Registers]:
    """A shared tile is the byte where it begins."""
    g.uses_shared = True
    return [[str(op.offset)]]


@emits(SharedSlice)
def shared_slice(g: Generator, op: SharedSlice) -> Sequence[Registers]:
    memory = op.memory.type
    step = memory.layout.slice(0, 1)[0] * memory.item_bytes
    index = g.scalar(op.index)
    at = str(int(index) * step) if index.isdigit() else g.e.let(f"mul nuw nsw i32 {index}, {step}")
    return [[i32_add(g, g.scalar(op.memory), at)]]


@emits(Sync)
def sync(g: Generator, op: Sync) -> None:
    if g.barrier:
        g.e.call("void", "llvm.nvvm.barrier.cta.sync.aligned.count", g.barrier)
    else:
        g.e.call("void", "llvm.nvvm.barrier.cta.sync.aligned.all", "i32 0")


class SharedAccess:
    """The addresses of one access to a shared tile. Elements of under 8 bits lie in a byte each.

    `place` are coordinates along the tile's axes, which run along the memory axes `dims`; along the axes in `scale` it counts in
    several elements.
    """

    def __init__(self, g: Generator, memory: Value, dims: Sequence[int], offsets: Sequence[Value], place: Place, layout: Layout | None):
        self.g, self.memory, self.dims, self.place, self.layout = g, memory.type, dims, place, layout
        self.start = g.scalar(memory)
        self.offsets = [g.scalar(v) for v in offsets]
        self.divisors = [g.facts.divisor(v) for v in offsets]
        self.scale = [1] * len(dims)
        self.memo: dict[Any, str] = {}

    @staticmethod
    def of(g: Generator, op: LoadShared | StoreShared, type: TileType) -> SharedAccess:
        return SharedAccess(g, op.memory, op.dims, op.offsets, place_of(g, type), type.layout)

    @property
    def run(self) -> int:
        """Elements of one vector access."""
        return math.gcd(VECTOR_BITS // 8 // self.memory.item_bytes, *self.limits.values())

    @property
    def limits(self) -> dict[str, int]:
        """What a vector must divide, in elements, and what each means."""
        axis = self.memory.rank - 1
        if axis not in self.dims or self.layout is None:
            return {"the tile does not run along the shared tile's last axis": 1}
        if self.place.covers != self.place.shape:
            return {"the tile does not fill its layout": 1}
        if any(s != 1 for s in self.scale):
            return {"it counts in rows": 1}
        assert self.memory.layout is not None
        return {
            "a thread's neighbours in registers are no neighbours in the shared tile": self.layout.vector_run(self.dims.index(axis)),
            "no more elements lie together in the shared tile, for its swizzle or its padding": self.memory.layout.run(axis),
            "a thread holds no more elements": self.layout.registers,
            "the tile's offset is not known to divide by more": self.divisors[axis],
        }

    def explain(self, loc: Loc | None) -> None:
        """Say how wide the access is, and why not wider."""
        explain_width(loc, self.run, 8 * self.memory.item_bytes, self.limits)

    def address(self, register: int) -> str:
        """A pointer to a register's element."""
        constant = sum(c * scale * self.stride(axis) for axis, c, scale in zip(self.dims, self.place.offsets[register], self.scale, strict=True))
        swizzle = self.memory.layout.swizzle  # type: ignore[union-attr]
        if swizzle is None:
            return self.pointer(self.line(), constant)
        if not self.bits_apart():
            line = i32_add(self.g, self.line(), constant)
            return self.pointer(self.swizzled(line), 0)
        moved = swizzle(constant)
        low = moved & ((1 << (swizzle.base + swizzle.bits)) - 1)
        return self.pointer(self.thread_part(low), moved - low)

    def pointer(self, element: str, constant: int) -> str:
        """@shared + start + bytes of an element + bytes of a constant, the constant last so that it becomes an immediate."""
        key = ("pointer", element)
        size = self.memory.item_bytes
        if key not in self.memo:
            g = self.g
            byte = str(int(element) * size) if element.isdigit() else element if size == 1 else g.e.let(f"mul nuw nsw i32 {element}, {size}")
            thread = g.e.let(f"getelementptr i8, ptr addrspace(3) @shared, i32 {byte}")  # the same round after round, unlike a stage's start
            self.memo[key] = thread if self.start == "0" else g.e.let(f"getelementptr inbounds i8, ptr addrspace(3) {thread}, i32 {self.start}")
        if not constant:
            return self.memo[key]
        return self.g.e.let(f"getelementptr inbounds i8, ptr addrspace(3) {self.memo[key]}, i32 {constant * size}")

    def stride(self, axis: int) -> int:
        return self.memory.layout.strides[axis]  # type: ignore[union-attr]

    def bits_apart(self) -> bool:
        """Whether the offsets of threads and of registers have no bit in common: powers of two throughout, and no offset in between."""
        if self.layout is None or any(o != "0" for o in self.offsets):
            return False
        digits = (*self.layout.thread_digits, *self.layout.register_digits)
        strides = [self.stride(axis) for axis in self.dims]
        return all(power_of_two(d.size) for d in digits) and all(map(power_of_two, strides)) and self.place.covers == self.place.shape

    def line(self) -> str:
        """The element offset of register 0 before a swizzle."""
        if "line" not in self.memo:
            g, parts = self.g, list(self.offsets)
            for axis, base, scale in zip(self.dims, self.place.base, self.scale, strict=True):
                wide = base if scale == 1 or base == "0" else g.e.let(f"mul {'nuw ' if scale > 0 else ''}nsw i32 {base}, {scale}")
                parts[axis] = i32_add(g, parts[axis], wide)
            self.memo["line"] = self.offset(parts)
        return self.memo["line"]

    def offset(self, coordinates: Sequence[str]) -> str:
        """The element offset of coordinates before a swizzle."""
        total = str(self.memory.layout.base)  # type: ignore[union-attr]
        for axis, part in enumerate(coordinates):
            term = part if self.stride(axis) == 1 or part == "0" else self.g.e.let(f"mul nuw nsw i32 {part}, {self.stride(axis)}")
            total = i32_add(self.g, total, term)
        return total

    def corner(self) -> str:
        """A pointer to the tile's first element."""
        line = self.offset(self.offsets)
        return self.pointer(line if self.memory.layout.swizzle is None else self.swizzled(line), 0)  # type: ignore[union-attr]

    def swizzled(self, line: str) -> str:
        g, swizzle = self.g, self.memory.layout.swizzle  # type: ignore[union-attr]
        assert swizzle is not None
        moved = g.e.let(f"and i32 {g.e.let(f'lshr i32 {line}, {swizzle.shift}')}, {swizzle.mask}")
        return g.e.let(f"xor i32 {line}, {moved}")

    def thread_part(self, low: int) -> str:
        """The thread's swizzled offset with the low bits of a register's constant."""
        key = ("thread", low)
        if key not in self.memo:
            if low == 0:
                self.memo[key] = self.swizzled(self.line())
            else:
                self.memo[key] = self.g.e.let(f"xor i32 {self.thread_part(0)}, {low}")
        return self.memo[key]

    def inside(self, register: int, also: str = "true") -> str:
        """Whether a register's element belongs to the tile and not to the layout's padding; `also` is another condition."""
        conditions = []
        for axis, c in enumerate(self.place.offsets[register]):
            if ("in", axis, c) not in self.memo:
                self.memo["in", axis, c] = self.place.within(self.g, axis, c)
            conditions.append(self.memo["in", axis, c])
        key = ("all", *conditions, also)
        if key not in self.memo:
            self.memo[key] = conjunction(self.g, [*conditions, also])
        return self.memo[key]


def power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


@emits(LoadShared)
def load_shared(g: Generator, op: LoadShared) -> Sequence[Registers]:
    access = SharedAccess.of(g, op, op.result.type)
    if op.shape:
        access.explain(op.loc)
    return [load_from(g, access, op.result.type)]


def load_from(g: Generator, access: SharedAccess, type: TileType) -> Registers:
    """The registers of a tile of this type."""
    dtype = type.dtype
    kind, run = in_memory(dtype), access.run
    size = run * access.memory.item_bytes
    out: Registers = []
    for register in range(0, registers_of(type), run):
        address = access.address(register)
        inside = access.inside(register)
        if inside != "true":  # the padding may lie outside of the tile: read the tile's first element instead
            address = g.e.let(f"select i1 {inside}, ptr addrspace(3) {address}, ptr addrspace(3) {access.corner()}")
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
    access = SharedAccess.of(g, op, op.value.type)
    if op.value.type.shape:
        access.explain(op.loc)
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


@emits(ldmatrix.LoadMatrix)
def load_matrix(g: Generator, op: ldmatrix.LoadMatrix) -> Sequence[Registers]:
    found = ldmatrix.addresses(op.memory.type, op.dims, op.result.type)
    assert not isinstance(found, Refused)
    layout, count, transposed = found
    offsets = [tuple(int(c) for c in row) for row in layout.coords()[0]]
    access = SharedAccess(g, op.memory, op.dims, op.offsets, Place(g.base(layout), offsets, layout.shape, layout.shape), layout)
    access.scale[op.dims.index(op.memory.type.rank - 1)] = 8
    result = "i32" if count == 1 else "{" + ", ".join(["i32"] * count) + "}"
    name = f"llvm.nvvm.ldmatrix.sync.aligned.m8n8.x{count}{'.trans' if transposed else ''}.b16.p3"
    out: Registers = []
    for register in range(layout.registers):
        whole = g.e.call(result, name, f"ptr addrspace(3) {access.address(register)}")
        words = [whole] if count == 1 else g.e.extract(whole, result, count)
        out += [half for word in words for half in halves(g, word, op.result.type)]
    return [out]


def halves(g: Generator, word: str, type: TileType) -> Registers:
    """The two elements in a 32-bit word."""
    kind = "half" if type.dtype.is_float and type.dtype.mantissa_bits == 10 else "bfloat" if type.dtype.is_float else "i16"
    pair = g.e.let(f"bitcast i32 {word} to <2 x {kind}>")
    return g.e.split(kind, pair, 2)


# asynchronous copies


@emits(CopyAsync)
def copy_async(g: Generator, op: CopyAsync) -> None:
    """Vectors of 4, 8 or 16 bytes, each with as many bytes from the tensor as lie inside it, the rest zero. Elements that are not
    aligned so are copied one by one, at once."""
    into: SharedType = op.target.type
    tile = TileType(op.memory.type.dtype, into.shape, op.layout)
    source = GlobalAccess(g, op, tile)  # type: ignore[arg-type]
    zeros = tuple(range(into.rank))
    target = SharedAccess(g, op.target, zeros, [], source.place, op.layout)
    target.offsets, target.divisors = ["0"] * into.rank, [0] * into.rank
    size = math.gcd(source.run, target.run) * into.item_bytes
    aligned = source.aligned(size // into.item_bytes) if size >= 4 else "false"
    limits = {**source.limits, **target.limits}
    if size < 4:
        say(op.loc, f"loads and stores instead of cp.async, which moves 4, 8 or 16 bytes and not {size}: {min(limits, key=lambda why: limits[why])}")
    explain_width(op.loc, size // into.item_bytes, 8 * into.item_bytes, limits)
    if aligned == "true":
        copy_vectors(g, source, target, size)
    elif aligned == "false":
        copy_elements(g, source, target)
    else:
        number = g.e.fresh()
        known = dict(source.memo), dict(target.memo)
        g.e.branch(aligned, f"vectors{number}", f"elements{number}")
        for label in ("vectors", "elements"):
            source.memo, target.memo = dict(known[0]), dict(known[1])
            g.e.start(f"{label}{number}")
            if label == "vectors":
                copy_vectors(g, source, target, size)
            else:
                copy_elements(g, source, target)
            g.e.jump(f"copied{number}")
        g.e.start(f"copied{number}")


def copy_vectors(g: Generator, source: GlobalAccess, target: SharedAccess, size: int) -> None:
    run = size * 8 // source.dtype.bits
    kind = source.hints.get("cache", "cg") if size == 16 else "ca"
    first = first_holder(g, source.type)
    copies = []
    for register in range(0, len(source.place.offsets), run):
        condition = target.inside(register, first)
        arguments = [f"ptr addrspace(3) {target.address(register)}", f"ptr addrspace(1) {source.pointer(source.element(register))}"]
        present = source.bytes_inside(register, run)
        if {"evict", "prefetch"} & source.hints.keys():
            hints.copy(g, kind, size, arguments, present, source.hints, condition)
            continue
        name = f"llvm.nvvm.cp.async.{kind}.shared.global.{size}"
        whole = source.wholly_inside(register, run)
        if present == str(size):
            copy = f"call void @{name}({', '.join(arguments)})"
        elif whole is not None:
            copy = ignoring(kind, size, arguments, whole)
        else:
            copy = f"call void @{name}.s({', '.join(arguments)}, i32 {present})"
        copies.append((condition, copy))
    emit_where(g, copies)


def ignoring(kind: str, size: int, arguments: Sequence[str], condition: str) -> str:
    """A copy that writes zeros instead where the condition does not hold: PTX's ignore-src, which LLVM has no intrinsic for. Its predicate is
    made of the condition as it is, where a number of bytes would be chosen and then asked again."""
    code = f"{{ .reg .pred %ignore; not.pred %ignore, $2; cp.async.{kind}.shared.global [$0], [$1], {size}, %ignore; }}"
    return f'call void asm sideeffect "{code}", "r,l,b,~{{memory}}"({", ".join(arguments)}, i1 {condition})'


def copy_elements(g: Generator, source: GlobalAccess, target: SharedAccess) -> None:
    first = first_holder(g, source.type)
    stores = []
    for register in range(len(source.place.offsets)):
        code = load_where(g, source.pointer(source.element(register)), source.dtype.bits, source.inside(register))
        value = to_memory(g, from_code(g, code, source.dtype), source.dtype)
        stores.append((target.inside(register, first), f"store {in_memory(source.dtype)} {value}, ptr addrspace(3) {target.address(register)}"))
    emit_where(g, stores)


@emits(Commit)
def commit(g: Generator, op: Commit) -> None:
    g.e.call("void", "llvm.nvvm.cp.async.commit.group")


@emits(Wait)
def wait(g: Generator, op: Wait) -> None:
    g.e.call("void", "llvm.nvvm.cp.async.wait.group", f"i32 {op.pending}")

