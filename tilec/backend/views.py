"""Views of tensors: the pointer stays the parameter's, so that views of types under a byte may begin at any bit."""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.llvm import Generator, Registers, emits
from tilec.ir.dtypes import i32
from tilec.ir.ops.arith import Cast, Mul
from tilec.ir.ops.base import Constant
from tilec.ir.ops.views import TensorView


@emits(TensorView)
def tensor_view(g: Generator, op: TensorView) -> Sequence[Registers]:
    g.strides[op.result] = [g.scalar(s) for s in op.strides]
    for stride in op.strides:
        product = stride.owner
        if isinstance(product, Mul) and isinstance(product.y.owner, Constant) and isinstance(product.x.owner, Cast) and product.x.owner.x.type.dtype == i32:
            g.factors[g.scalar(stride)] = (g.scalar(product.x.owner.x), int(product.y.owner.value))
    before = g.origins.get(op.memory, "0")
    offset = g.scalar(op.offset)
    g.origins[op.result] = offset if before == "0" else g.e.let(f"add nsw i64 {before}, {offset}")
    return [g[op.memory]]
