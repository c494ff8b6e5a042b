"""Asynchronous copies from global to shared memory: `cp.async`, its groups and waits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tilec.backend import hints
from tilec.backend.addresses import SharedAccess
from tilec.backend.chosen import ChosenAccess
from tilec.backend.llvm import Generator, emits, from_code
from tilec.backend.memory import (
    GlobalAccess,
    conjunction,
    first_holder,
    in_memory,
    load_bits,
    load_where,
    to_memory,
)
from tilec.backend.packed_shared import PackedAccess, whole_words
from tilec.backend.shared import emit_where
from tilec.ir.facts import COPIES, row_begins, whole, widest_copy
from tilec.ir.notes import explain_width, say
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.types import SharedType, TileType


@emits(CopyAsync)
def copy_async(g: Generator, op: CopyAsync) -> None:
    """Vectors of 4, 8 or 16 bytes, each with as many bytes from the tensor as lie inside it, the rest zero: as wide as rows are known to be
    aligned. Only where not even 4 bytes are known, that is asked, and elements that are not aligned so are copied one by one, at once."""
    into: SharedType = op.target.type
    if into.packed:
        return copy_packed(g, op)
    tile = TileType(op.memory.type.dtype, into.shape, op.layout)
    source = GlobalAccess(g, op, tile) if op.plain else ChosenAccess(g, op, tile)
    target = entire(SharedAccess(g, op.target, tuple(range(into.rank)), [], source.place, op.layout))
    together = math.gcd(source.together, target.run)
    known = math.gcd(together, row_begins(g.facts, op.memory, op.offsets)) if source.fast is not None else together
    copied = widest_copy(into.item_bits, known) or widest_copy(into.item_bits, together)
    limits = {**source.limits, **target.limits}
    run = copied // into.item_bits or together
    explain_width(op.loc, run, into.item_bits, {**beginnings(source, into.item_bits, run), **limits})
    if not copied:
        why = min(limits, key=lambda limit: limits[limit] or math.inf)
        say(op.loc, f"loads and stores instead of cp.async, which moves 4, 8 or 16 bytes and not {together * into.item_bytes}: {why}")
        return copy_elements(g, source, target)
    where_aligned(g, source.aligned(run), [source, target], lambda: copy_vectors(g, source, target, run), lambda: copy_elements(g, source, target))
    return None


def beginnings(source: GlobalAccess, bits: int, run: int) -> dict[str, int]:
    """Why vectors are of `run` elements and not of what a row of the tile has, if it is that rows are not known to begin at multiples of more."""
    if source.fast is None or (isinstance(source, ChosenAccess) and source.masks and source.alike <= run):
        return {}
    most = whole(bits, widest_copy(bits, source.place.shape[source.fast]) or bits)
    return dict.fromkeys([why for why, _ in source.doubts(most)] if most > run else [], run)


Target = TypeVar("Target", bound=SharedAccess)


def entire(target: Target) -> Target:
    """An access to the whole of a shared tile."""
    target.offsets, target.divisors = ["0"] * target.memory.rank, [0] * target.memory.rank
    return target


def where_aligned(g: Generator, aligned: str, accesses: Sequence[Any], vectors: Callable[[], None], elements: Callable[[], None]) -> None:
    """One of two ways, as a condition says that may be known."""
    if aligned in ("true", "false"):
        return vectors() if aligned == "true" else elements()
    number = g.e.fresh()
    known = [dict(a.memo) for a in accesses]
    g.e.branch(aligned, f"vectors{number}", f"elements{number}")
    for label, way in (("vectors", vectors), ("elements", elements)):
        for access, memo in zip(accesses, known, strict=True):
            access.memo = dict(memo)
        g.e.start(f"{label}{number}")
        way()
        g.e.jump(f"copied{number}")
    g.e.start(f"copied{number}")
    return None


def copy_packed(g: Generator, op: CopyAsync) -> None:
    """As `copy_async`, of elements that fill no bytes: whole words where rows of both sides consist of such, else one by one, at once."""
    into: SharedType = op.target.type
    source = (GlobalAccess if op.plain else ChosenAccess)(g, op, TileType(op.memory.type.dtype, into.shape, op.layout))
    target = entire(PackedAccess(g, op.target, tuple(range(into.rank)), [], source.place, op.layout))
    limits = {**source.limits, **target.limits}
    most = math.gcd(*limits.values())
    known = math.gcd(most, row_begins(g.facts, op.memory, op.offsets)) if source.fast is not None else 1
    run = widest_run(known, into.item_bits)
    run = run if run > 1 else widest_run(most, into.item_bits)
    explain_width(op.loc, run, into.item_bits, {**beginnings(source, into.item_bits, run), **limits})
    aligned = "false"
    if run > 1:
        last = op.dims[source.fast]  # type: ignore[index]
        extent = g.extent(source.tensor, last)
        ends = "true" if g.extent_divisor(source.tensor, last) % run == 0 else g.e.let(f"icmp eq i32 {g.e.let(f'urem i32 {extent}, {run}')}, 0")
        aligned = conjunction(g, [source.aligned(run), ends])  # so no word lies on the edge of a row

    where_aligned(g, aligned, [source, target], lambda: copy_words(g, source, target, run), lambda: copy_codes(g, source, target))


def widest_run(most: int, bits: int) -> int:
    """Elements that fill whole pieces, the widest of which a divisor of so many does; 1 if there are none."""
    return next((run for piece in COPIES if (run := whole_words(most, bits, piece)) > 1), 1)


def copy_words(g: Generator, source: GlobalAccess, target: PackedAccess, run: int) -> None:
    """Runs of elements that fill words, all of them inside or outside, in pieces of 4, 8 or 16 bytes."""
    bits, first = source.dtype.bits, first_holder(g, source.type)
    size = math.gcd(run * bits // 8, 16)
    kind = source.hints.get("cache", "cg") if size == 16 else "ca"
    copies = []
    for register in range(0, len(source.place.offsets), run):
        condition, inside = target.inside(register, first), source.inside(register)
        to = target.address(register)
        origin = source.pointer(source.element(register))
        for at in range(0, run * bits // 8, size):
            places = [to, origin] if at == 0 else [g.e.let(f"getelementptr i8, ptr addrspace({n}) {p}, i32 {at}") for n, p in ((3, to), (1, origin))]
            arguments = [f"ptr addrspace(3) {places[0]}", f"ptr addrspace(1) {places[1]}"]
            if {"evict", "prefetch"} & source.hints.keys():
                present = str(size) if inside == "true" else g.e.let(f"select i1 {inside}, i32 {size}, i32 0")
                hints.copy(g, kind, size, arguments, present, source.hints, condition)
            elif inside == "true":
                copies.append((condition, f"call void @llvm.nvvm.cp.async.{kind}.shared.global.{size}({', '.join(arguments)})"))
            else:
                copies.append((condition, ignoring(kind, size, arguments, inside)))
    emit_where(g, copies)


def copy_codes(g: Generator, source: GlobalAccess, target: PackedAccess) -> None:
    first = first_holder(g, source.type)
    for register in range(len(source.place.offsets)):
        target.store(target.element(register), load_bits(g, source, register, source.inside(register)), target.inside(register, first))


def copy_vectors(g: Generator, source: GlobalAccess, target: SharedAccess, run: int) -> None:
    size = run * target.memory.item_bytes
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

