"""Views of tensors: the pointer stays the parameter's, so that views of types under a byte may begin at any bit."""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.llvm import Generator, Registers, emits
from tilec.ir.ops.views import TensorView


@emits(TensorView)
def tensor_view(g: Generator, op: TensorView) -> Sequence[Registers]:
    g.strides[op.result] = [g.scalar(s) for s in op.strides]
    before = g.origins.get(op.memory, "0")
    offset = g.scalar(op.offset)
    g.origins[op.result] = offset if before == "0" else g.e.let(f"add nsw i64 {before}, {offset}")
    return [g[op.memory]]
