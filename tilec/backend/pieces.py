"""Slices and concatenations of registers as LLVM IR: no instruction, but for loads of shared memory in steps."""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.addresses import SharedAccess
from tilec.backend.llvm import Generator, Registers, emits
from tilec.backend.packed_shared import PackedAccess
from tilec.backend.shared import load_from
from tilec.ir.ops.pieces import Concatenate, LoadStrided, Slice


@emits(Slice)
def cut(g: Generator, op: Slice) -> Sequence[Registers]:
    found = op.copied(op.x.type.layout, op.layout)
    assert found is not None
    return [[g[op.x][r] for r in found]]


@emits(Concatenate)
def joined(g: Generator, op: Concatenate) -> Sequence[Registers]:
    return [[g[op.xs[i]][r] for i, r in op.copied()]]


@emits(LoadStrided)
def load_strided(g: Generator, op: LoadStrided) -> Sequence[Registers]:
    access = (PackedAccess if op.memory.type.packed else SharedAccess).of(g, op, op.result.type)
    access.scale = [op.steps[d] for d in op.dims]
    return [load_from(g, access, op.result.type)]
