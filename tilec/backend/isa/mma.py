"""Matrix instructions `mma.sync` of one warp: fragment layouts, LLVM intrinsic, meaning.

Fragments are those of the PTX ISA, section "Matrix Fragments for mma.m16n8k16": in a register pair, consecutive elements of a row of a
(of a column of b) share 32 bits.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tilec.errors import require
from tilec.ir.core import Op, Value
from tilec.ir.dtypes import DType, bf16, f16, f32
from tilec.ir.layout import column_local, local
from tilec.ir.target import Fragments
from tilec.ir.types import TileType


class MatrixInstruction(Op, abstract=True):
    """`a @ b + acc` of whole tiles, whose layouts the instruction's fragments must divide."""

    a: Value
    b: Value
    acc: Value

    operand: ClassVar[DType]
    accumulator: ClassVar[DType]
    fragments: ClassVar[Fragments]
    intrinsic: ClassVar[str]

    def infer(self) -> TileType:
        for name, fragment in (("a", self.fragments.a), ("b", self.fragments.b), ("acc", self.fragments.c)):
            given = getattr(self, name).type
            require(given.layout is not None and given.layout.try_divide(fragment) is not None, f"{self.mnemonic} does not divide the layout of {name}")
        require(self.a.type.dtype == self.b.type.dtype == self.operand, f"{self.mnemonic} multiplies {self.operand}")
        require(self.acc.type.dtype == self.accumulator, f"{self.mnemonic} accumulates {self.accumulator}")
        return self.acc.type

    def eval(self, ctx: Any, a: Any, b: Any, acc: Any) -> Any:
        return np.matmul(a, b) + acc


_A = column_local(2, 2).spatial(8, 4).local(1, 2)
_B = local(2, 1).column_spatial(4, 8).local(2, 1)
_C = local(2, 1).spatial(8, 4).local(1, 2)
M16N8K16 = Fragments((16, 8, 16), _A, _B, _C)


class MmaM16n8k16F16(MatrixInstruction):
    """HMMA.16816.F32: f16 operands, f32 accumulator."""

    mnemonic = "mma.m16n8k16.f32.f16"
    operand, accumulator, fragments = f16, f32, M16N8K16
    intrinsic = "llvm.nvvm.mma.m16n8k16.row.col.f32.f32"


class MmaM16n8k16Bf16(MatrixInstruction):
    """HMMA.16816.F32.BF16: bf16 operands, f32 accumulator."""

    mnemonic = "mma.m16n8k16.f32.bf16"
    operand, accumulator, fragments = bf16, f32, M16N8K16
    intrinsic = "llvm.nvvm.mma.m16n8k16.row.col.bf16"


INSTRUCTIONS: tuple[type[MatrixInstruction], ...] = (MmaM16n8k16F16, MmaM16n8k16Bf16)


def find(operand: DType, accumulator: DType) -> type[MatrixInstruction] | None:
    """The instruction of these types, on every target from sm_80 on."""
    return next((i for i in INSTRUCTIONS if i.operand == operand and i.accumulator == accumulator), None)


