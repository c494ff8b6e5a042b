"""Asynchronous copies from global to shared memory: `cp.async`, its groups and waits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tilec.backend import hints
from tilec.backend.chosen import ChosenAccess
from tilec.backend.llvm import Generator, emits, from_code
from tilec.backend.memory import GlobalAccess, first_holder, in_memory, load_where, to_memory
from tilec.backend.shared import SharedAccess, emit_where
from tilec.ir.notes import explain_width, say
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.types import SharedType, TileType


@emits(CopyAsync)
def copy_async(g: Generator, op: CopyAsync) -> None:
    """Vectors of 4, 8 or 16 bytes, each with as many bytes from the tensor as lie inside it, the rest zero. Elements that are not
    aligned so are copied one by one, at once."""
    into: SharedType = op.target.type
    tile = TileType(op.memory.type.dtype, into.shape, op.layout)
    source = GlobalAccess(g, op, tile) if op.plain else ChosenAccess(g, op, tile)
    zeros = tuple(range(into.rank))
    target = SharedAccess(g, op.target, zeros, [], source.place, op.layout)
    target.offsets, target.divisors = ["0"] * into.rank, [0] * into.rank
    size = math.gcd(source.together, target.run) * into.item_bytes
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

