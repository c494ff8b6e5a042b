"""Elementwise ops on two 16-bit floats at once: neighbouring registers as one `<2 x half>` or `<2 x bfloat>`.

Pairs are put together and taken apart where scalars are wanted; LLVM cancels the two between packed ops, loads, and fragments.
"""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.emit import Emitter, llvm_type
from tilec.ir.dtypes import DType, bf16, f16
from tilec.ir.ops import arith as ops
from tilec.ir.ops.base import Elementwise

INSTRUCTIONS = {ops.Add: "fadd", ops.Sub: "fsub", ops.Mul: "fmul", ops.Neg: "fneg"}
INTRINSICS = {ops.Fma: "fma", ops.Abs: "fabs", ops.Minimum: "minimum", ops.Maximum: "maximum"}


def packs(op: Elementwise) -> bool:
    """Whether two elements of the op's result are computed at once."""
    return op.result.type.dtype in (f16, bf16) and type(op) in (*INSTRUCTIONS, *INTRINSICS)


def lower(e: Emitter, op: Elementwise, first: Sequence[str], second: Sequence[str]) -> tuple[str, str]:
    """Two elements of the result, from the operands of each."""
    dtype: DType = op.result.type.dtype
    kind = f"<2 x {llvm_type(dtype)}>"
    vectors = [e.join(llvm_type(v.type.dtype), (a, b)) for a, b, v in zip(first, second, op.operands, strict=True)]
    if type(op) in INSTRUCTIONS:
        result = e.let(f"{INSTRUCTIONS[type(op)]} {kind} {', '.join(vectors)}")
    else:
        result = e.call(kind, f"llvm.{INTRINSICS[type(op)]}.v2{dtype}", *(f"{kind} {v}" for v in vectors))
    low, high = e.split(llvm_type(dtype), result, 2)
    return low, high
