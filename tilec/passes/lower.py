"""Turns what moves data between threads into steps that machine instructions do.

    %y = convert_layout %x layout=L                %s = shared dtype=f16 shape=[64, 32] layout=.. scratch=true
                                             ->    sync; store_shared %s, [%0, %0], %x; sync
                                                   %y = load_shared %s, [%0, %0] layout=L

    %m = max %x, axes=[1] : f32[8]           ->    %1 = reduce_registers %x, axes=[1] kind="max"    # one place a thread
                                                   %2 = reduce_lanes %1, axes=[1] kind="max"        # one place a warp
                                                   through shared memory to one thread and reduce_registers, if warps remain
                                                   %m = reshape %.. : f32[8]

A conversion that only renames registers within each thread stays as it is. One within warps is done by shuffles, if the
target counts them for less:

    %y = convert_layout %x layout=L          ->    %y = convert_lanes %x layout=L
"""

from __future__ import annotations

from tilec.ir.core import Function, Op, Rewriter, Value
from tilec.ir.dtypes import i32
from tilec.ir.layout import Layout
from tilec.ir.ops.base import constant
from tilec.ir.ops.memory import LoadShared, Shared, StoreShared
from tilec.ir.ops.reduce import Reduce, ReduceLanes, ReduceRegisters
from tilec.ir.ops.shape import Conversions, ConvertLanes, ConvertLayout, Reshape
from tilec.ir.ops.sync import Sync
from tilec.ir.shared import padded
from tilec.ir.target import HOW, Hardware
from tilec.passes.conflicts import allowed, scopes


def lower_exchanges(function: Function, target: Hardware) -> Function:
    return LowerExchanges(target).run(function)


class LowerExchanges(Rewriter):
    def __init__(self, target: Hardware):
        super().__init__()
        self.target = target

    def run(self, function: Function) -> Function:
        self.limits = {op: farthest for block, farthest in scopes(function).items() for op in block.ops}
        return super().run(function)

    def visit(self, op: Op) -> Value | tuple[Value, ...]:
        if isinstance(op, Conversions):
            return ()
        if isinstance(op, ConvertLayout):
            x = self(op.x)
            way = allowed(self.target, x.type, op.layout, self.limits.get(op, HOW[-1]))
            how = way.how if way is not None else HOW[-1]
            if how == "registers":
                return self.clone(op)
            return self.b.emit(ConvertLanes(x, op.layout, op.group)) if how == "shuffles" else self.through_shared(x, op.layout)
        if isinstance(op, Reduce):
            return self.reduction(op)
        return self.clone(op)

    def through_shared(self, x: Value, layout: Layout) -> Value:
        """Store, and load in the other layout. The scratch memory is shared by all such exchanges, hence a barrier on either side."""
        rank = x.type.rank
        memory = self.b.emit(Shared(x.type.dtype, x.type.shape, padded(x.type), scratch=True))
        zero = (constant(self.b, 0, i32),) * rank
        dims = tuple(range(rank))
        self.b.insert(Sync())
        self.b.insert(StoreShared(memory, zero, x, dims))
        self.b.insert(Sync())
        return self.b.emit(LoadShared(memory, zero, x.type.shape, dims, layout, x.type.group))

    def reduction(self, op: Reduce) -> Value:
        axes, kind = op.axes, op.mnemonic
        x = self.b.emit(ReduceRegisters(self(op.x), axes, kind))
        x = self.b.emit(ReduceLanes(x, axes, kind))
        if any(x.type.layout.shape[a] > 1 for a in axes):
            gathered = x.type.layout.reduce(axes, keepdims=True).cover(x.type.layout.shape)
            x = self.b.emit(ReduceRegisters(self.through_shared(x, gathered), axes, kind))
        return self.b.emit(Reshape(x, op.result.type.shape, op.result.type.layout, op.result.type.group))

