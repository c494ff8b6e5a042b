"""Forms fused multiply-adds, so that they are seen in the IR and rounded once wherever it runs.

    %0 = mul %x, %y             ->     %1 = fma %x, %y, %z
    %1 = add %0, %z

Floating tiles only, and only where the product has no other use. `x * y - z` and `z - x * y` become fma with a negated operand.
"""

from __future__ import annotations

from tilec.ir.core import Function, Op, Rewriter, Value
from tilec.ir.ops.arith import Add, Fma, Mul, Neg, Sub
from tilec.ir.target import Hardware
from tilec.passes.offers import uses_of
from tilec.passes.simplify import remove_unused


def fuse_multiply_add(function: Function, target: Hardware) -> Function:
    return remove_unused(FuseMultiplyAdd().run(function))


class FuseMultiplyAdd(Rewriter):
    def run(self, function: Function) -> Function:
        self.uses = uses_of(function.walk())
        return super().run(function)

    def visit(self, op: Op) -> Value | tuple[Value, ...]:
        if isinstance(op, Add | Sub) and op.result.type.dtype.is_float:
            for product, other in ((op.x, op.y), (op.y, op.x)):
                if isinstance(product.owner, Mul) and len(self.uses[product]) == 1:
                    x, y, z = self(product.owner.x), self(product.owner.y), self(other)
                    if isinstance(op, Sub) and product is op.x:
                        z = self.b.emit(Neg(z))
                    elif isinstance(op, Sub):
                        x = self.b.emit(Neg(x))
                    return self.b.emit(Fma(x, y, z))
        return self.clone(op)
