"""Gathers and scatters, and loads and stores with masks, of global tensors and of shared tiles."""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.chosen import ChosenAccess, ChosenShared
from tilec.backend.emit import llvm_type
from tilec.backend.llvm import Generator, Registers, emits, registers_of
from tilec.backend.memory import (
    SHARED,
    GlobalAccess,
    conjunction,
    first_holder,
    from_memory,
    in_memory,
    load_bits,
    load_element,
    load_packed,
    load_vectors,
    load_words_where,
    store_bits,
    store_element,
    store_packed,
    store_vectors,
    store_words_where,
    to_memory,
    two_paths,
    word_type,
)
from tilec.backend.packed_shared import PackedAccess
from tilec.ir.notes import explain_width
from tilec.ir.ops.gather import Gather, Scatter
from tilec.ir.types import SharedType


@emits(Gather)
def gather(g: Generator, op: Gather) -> Sequence[Registers]:
    return [gather_shared(g, op) if isinstance(op.memory.type, SharedType) else gather_global(g, op)]


def gather_global(g: Generator, op: Gather) -> Registers:
    access = ChosenAccess(g, op, op.result.type)
    packed = access.dtype.bits % 8 != 0
    one = load_bits if packed else load_element
    registers = range(registers_of(op.result.type))

    def element(register: int) -> str:
        condition = access.inside(register)
        return chosen_or_other(g, op, register, one(g, access, register, condition), condition)

    def vectors(access: GlobalAccess) -> Registers:
        loaded = load_vectors(g, access, masked=True)
        return [chosen_or_other(g, op, r, loaded[r], access.inside(r - r % access.run)) for r in registers]

    if not op.shape:
        return [element(0)]
    fast = (lambda: load_packed(g, access)) if packed else (lambda: load_vectors(g, access))
    whole = vectors if access.fast is not None and not packed else None
    return two_paths(g, access, fast, lambda: [element(r) for r in registers], [llvm_type(access.dtype)] * len(registers), whole)


def chosen_or_other(g: Generator, op: Gather, register: int, value: str, condition: str) -> str:
    """What was loaded where the condition holds, 0 elsewhere; or what stands in for it there."""
    if op.other is None or condition == "true":
        return value
    kind = llvm_type(op.result.type.dtype)
    return g.e.let(f"select i1 {condition}, {kind} {value}, {kind} {g[op.other][register]}")


def gather_shared(g: Generator, op: Gather) -> Registers:
    access = ChosenShared(g, op, op.result.type)
    if isinstance(access.start, PackedAccess):
        loaded = [(r, access.inside(r)) for r in range(registers_of(op.result.type))]
        return [chosen_or_other(g, op, r, access.start.load(access.element(r), inside), inside) for r, inside in loaded]
    kind, run = in_memory(access.dtype), access.run
    size = run * access.memory.item_bytes
    type = kind if run == 1 else f"<{run} x {kind}>"
    explain_width(op.loc, run, 8 * access.memory.item_bytes, access.limits)
    out: Registers = []
    for register in range(0, registers_of(op.result.type), run):
        condition = access.inside(register)
        whole = g.e.let(f"bitcast {word_type(size)} {load_words_where(g, access.address(register), size, condition, SHARED)} to {type}")
        vector = [whole] if run == 1 else g.e.split(kind, whole, run)
        out += [chosen_or_other(g, op, register + i, from_memory(g, v, access.dtype), condition) for i, v in enumerate(vector)]
    return out


@emits(Scatter)
def scatter(g: Generator, op: Scatter) -> None:
    if isinstance(op.memory.type, SharedType):
        return scatter_shared(g, op)
    access = ChosenAccess(g, op, op.value.type)
    packed = access.dtype.bits % 8 != 0
    values = g[op.value]
    one = store_bits if packed else store_element

    def slow() -> Registers:
        first = first_holder(g, op.value.type)
        for r, value in enumerate(values):
            one(g, access, r, value, conjunction(g, [access.inside(r), first]))
        return []

    if not op.tile_shape:
        slow()
        return None
    single = first_holder(g, op.value.type) == "true"
    vectors = (lambda a: store_vectors(g, a, values, masked=True)) if access.fast is not None and single and not packed else None
    two_paths(g, access, lambda: (store_packed if packed else store_vectors)(g, access, values), slow, [], vectors)
    return None


def scatter_shared(g: Generator, op: Scatter) -> None:
    access = ChosenShared(g, op, op.value.type)
    if isinstance(access.start, PackedAccess):
        holder = first_holder(g, op.value.type)
        for r, value in enumerate(g[op.value]):
            access.start.store(access.element(r), value, conjunction(g, [access.inside(r), holder]))
        return
    kind, run = in_memory(access.dtype), access.run
    size = run * access.memory.item_bytes
    type = kind if run == 1 else f"<{run} x {kind}>"
    explain_width(op.loc, run, 8 * access.memory.item_bytes, access.limits)
    values = [to_memory(g, v, access.dtype) for v in g[op.value]]
    first = first_holder(g, op.value.type)
    for register in range(0, len(values), run):
        vector = values[register] if run == 1 else g.e.join(kind, values[register : register + run])
        word = g.e.let(f"bitcast {type} {vector} to {word_type(size)}")
        store_words_where(g, access.address(register), size, word, conjunction(g, [access.inside(register), first]), SHARED)
