"""Barriers around what orders memory between blocks, and old values of atomics for all threads that hold them.

    semaphore_post %s, [%i], %one            ->    sync; semaphore_post %s, [%i], %one     # a thread speaks for the block
    semaphore_wait %s, [%i], %n              ->    semaphore_wait %s, [%i], %n; sync
    %old = atomic %h, .. kind="add"          ->    %1 = atomic %h, .. kind="add"           # by the first of the threads that hold an element
                                                   through shared memory, if several do

A release needs the barrier before it, since one thread can only vouch for its block's writes if it has waited for them; an acquire the one
behind it. PTX ISA, section "Memory Consistency Model", causality order: barriers are morally strong and carry it.
"""

from __future__ import annotations

from tilec.ir.core import Function, Op, Value
from tilec.ir.dtypes import i32
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.base import constant
from tilec.ir.ops.memory import LoadShared, Shared, StoreShared
from tilec.ir.ops.semaphores import SemaphorePost, SemaphoreWait
from tilec.ir.ops.sync import Sync
from tilec.ir.target import Hardware
from tilec.passes.lower import LowerExchanges
from tilec.passes.program_order import keep_program_order


def order_memory(function: Function, target: Hardware) -> Function:
    return keep_program_order(OrderMemory(target).run(function))


class OrderMemory(LowerExchanges):
    def visit(self, op: Op) -> Value | tuple[Value, ...]:
        if isinstance(op, Atomic):
            return self.atomic(op)
        if isinstance(op, SemaphorePost):
            self.b.insert(Sync())
        results = self.clone(op)
        if isinstance(op, SemaphoreWait):
            self.b.insert(Sync())
        return results

    def atomic(self, op: Atomic) -> Value:
        if op.order in ("release", "acq_rel"):
            self.b.insert(Sync())
        (old,) = self.clone(op)
        if op.order in ("acquire", "acq_rel"):
            self.b.insert(Sync())
        if not op.used:
            return old
        if not op.tile_shape:
            return self.to_all(old)
        return self.through_shared(old, old.type.layout) if old.type.layout.is_replicated else old

    def to_all(self, x: Value) -> Value:
        """A scalar that the first thread knows."""
        memory = self.b.emit(Shared(x.type.dtype, (1,), scratch=True))
        zero = (constant(self.b, 0, i32),)
        self.b.insert(Sync())
        self.b.insert(StoreShared(memory, zero, x, ()))
        self.b.insert(Sync())
        return self.b.emit(LoadShared(memory, zero, (), ()))
