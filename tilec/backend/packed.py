"""Elementwise ops on two 16-bit floats at once: neighbouring registers as one `<2 x half>` or `<2 x bfloat>`.

Pairs are put together and taken apart where scalars are wanted; LLVM cancels the two between packed ops, loads, and fragments.
"""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.emit import Emitter, llvm_type
from tilec.backend.target import Target
from tilec.backend.unpack import unpack, unpacks
from tilec.ir.dtypes import DType, bf16, f16, f32
from tilec.ir.ops import arith as ops
from tilec.ir.ops.base import Elementwise

INSTRUCTIONS = {ops.Add: "fadd", ops.Sub: "fsub", ops.Mul: "fmul", ops.Neg: "fneg"}
INTRINSICS = {ops.Fma: "fma", ops.Abs: "fabs", ops.Minimum: "minimum", ops.Maximum: "maximum"}


def packs(op: Elementwise) -> bool:
    """Whether two elements of the op's result are computed at once."""
    if isinstance(op, ops.Cast):
        return op.x.type.dtype == f32 and op.dtype in (f16, bf16)
    return op.result.type.dtype in (f16, bf16) and type(op) in (*INSTRUCTIONS, *INTRINSICS)


def lower(e: Emitter, op: Elementwise, first: Sequence[str], second: Sequence[str]) -> tuple[str, str]:
    """Two elements of the result, from the operands of each."""
    dtype: DType = op.result.type.dtype
    kind = f"<2 x {llvm_type(dtype)}>"
    vectors = [e.join(llvm_type(v.type.dtype), (a, b)) for a, b, v in zip(first, second, op.operands, strict=True)]
    if isinstance(op, ops.Cast):
        result = e.let(f"fptrunc <2 x float> {vectors[0]} to {kind}")
    elif type(op) in INSTRUCTIONS:
        result = e.let(f"{INSTRUCTIONS[type(op)]} {kind} {', '.join(vectors)}")
    else:
        result = e.call(kind, f"llvm.{INTRINSICS[type(op)]}.v2{dtype}", *(f"{kind} {v}" for v in vectors))
    low, high = e.split(llvm_type(dtype), result, 2)
    return low, high


def all_at_once(e: Emitter, op: Elementwise, columns: Sequence[tuple[str, ...]], target: Target) -> dict[tuple[str, ...], str]:
    """Results of an op that is better done for all of a thread's elements together, by operands; constants are left out."""
    if not isinstance(op, ops.Cast) or not unpacks(op.x.type.dtype, op.dtype):
        return {}
    columns = [c for c in dict.fromkeys(columns) if c[0].startswith("%")]
    return dict(zip(columns, unpack(e, [c[0] for c in columns], op.x.type.dtype, op.dtype, target), strict=True)) if columns else {}
