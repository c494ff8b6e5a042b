"""Matrix instructions `mma.sync` of one warp: fragment layouts, LLVM intrinsic, meaning.

Fragments are those of the PTX ISA, sections "Matrix Fragments for mma.*". Every one follows one rule: a matrix is cut into blocks of 8 rows by
4 * per columns, in column-major order, and lane 4 g + t holds of each the row g and `per` columns from per * t on, where `per` elements fill a
register of 32 bits (one of 64 for f64). b counts its columns as rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from tilec.errors import require
from tilec.ir.core import Op, Value
from tilec.ir.dtypes import DType, bf16, f16, f32, f64, float8_e4m3, float8_e5m2, i32, int4, int8, uint1, uint4, uint8
from tilec.ir.layout import Layout, column_local
from tilec.ir.notes import Refused
from tilec.ir.ops.matmul import product
from tilec.ir.target import Fragments
from tilec.ir.types import TileType


def fragment(rows: int, columns: int, per: int) -> Layout:
    return column_local(rows // 8, columns // (4 * per)).spatial(8, 4).local(1, per)


@cache
def fragments(m: int, n: int, k: int, per: int) -> Fragments:
    """Those of an instruction whose operands have `per` elements in a register."""
    return Fragments((m, n, k), fragment(m, k, per), fragment(n, k, per).transpose(), fragment(m, n, 2))


class FragmentsOfItsShape:
    """An instruction's fragments, made when they are asked for: all of them together take 15 ms."""

    def __get__(self, instance: Any, owner: type[MatrixInstruction]) -> Fragments:
        return fragments(*owner.shape, owner.per)


class MatrixInstruction(Op, abstract=True):
    """`a @ b + acc` of whole tiles, whose layouts the instruction's fragments must divide."""

    a: Value
    b: Value
    acc: Value

    factors: ClassVar[tuple[DType, DType]]
    accumulator: ClassVar[DType]
    mode: ClassVar[str] = ""
    shape: ClassVar[tuple[int, int, int]]  # m, n, k
    per: ClassVar[int]  # elements of an operand in a register
    fragments: ClassVar[FragmentsOfItsShape] = FragmentsOfItsShape()
    intrinsic: ClassVar[str]
    feature: ClassVar[str]  # of the targets that have it

    def infer(self) -> TileType:
        for name, layout in (("a", self.fragments.a), ("b", self.fragments.b), ("acc", self.fragments.c)):
            given = getattr(self, name).type
            require(given.layout is not None and given.layout.try_divide(layout) is not None, f"{self.mnemonic} does not divide the layout of {name}")
        left, right = self.factors
        require((self.a.type.dtype, self.b.type.dtype) == self.factors, f"{self.mnemonic} multiplies {left} by {right}")
        require(self.acc.type.dtype == self.accumulator, f"{self.mnemonic} accumulates {self.accumulator}")
        return self.acc.type

    def eval(self, ctx: Any, a: Any, b: Any, acc: Any) -> Any:
        return product(a, b, acc, self.mode)


INSTRUCTIONS: list[type[MatrixInstruction]] = []


def instruction(
    shape: tuple[int, int, int], left: DType, right: DType, acc: DType, suffix: str, feature: str, mode: str = "", per: int | None = None
) -> None:
    """One more, behind those that are better for its types. `suffix` is what the intrinsic's name ends with; `m16n8k16.row.col` comes before."""
    m, n, k = shape
    size = f"m{m}n{n}k{k}"
    before, _, end = suffix.rpartition("@")
    kinds = ".".join(dict.fromkeys((mode or str(acc), str(left), str(right))))
    INSTRUCTIONS.append(
        type(
            f"Mma_{size}_{kinds}",
            (MatrixInstruction,),
            {
                "__doc__": f"mma.sync {size} of {left} by {right}, accumulated in {acc}.",
                "__module__": __name__,
                "mnemonic": f"mma.{size}.{kinds}",
                "factors": (left, right),
                "accumulator": acc,
                "mode": mode,
                "shape": shape,
                "per": per or 32 // left.bits,
                "intrinsic": f"llvm.nvvm.mma.{before}{size}.row.col.{end}",
                "feature": feature,
            },
        )
    )


instruction((16, 8, 16), f16, f16, f32, "f32.f32", "mma_f16")
instruction((16, 8, 16), f16, f16, f16, "f16.f16", "mma_f16")
instruction((16, 8, 16), bf16, bf16, f32, "bf16", "mma_bf16")
instruction((16, 8, 8), f16, f16, f32, "f32.f32", "mma_f16")
instruction((16, 8, 8), bf16, bf16, f32, "bf16", "mma_bf16")
instruction((16, 8, 8), f32, f32, f32, "tf32", "mma_tf32", mode="tf32")
instruction((16, 8, 4), f32, f32, f32, "tf32", "mma_tf32", mode="tf32")
instruction((8, 8, 4), f64, f64, f64, "f64", "mma_f64", per=1)
for _left, _x in ((int8, "s8"), (uint8, "u8")):
    for _right, _y in ((int8, "s8"), (uint8, "u8")):
        for _k in (32, 16):
            instruction((16, 8, _k), _left, _right, i32, _x if _x == _y else f"{_x}.{_y}", "mma_s8")
for _left, _x in ((int4, "s4"), (uint4, "u4")):
    for _right, _y in ((int4, "s4"), (uint4, "u4")):
        for _k in (64, 32):
            instruction((16, 8, _k), _left, _right, i32, _x if _x == _y else f"{_x}.{_y}", "mma_s4")
for _k in (256, 128):
    instruction((16, 8, _k), uint1, uint1, i32, "and.popc.@b1", "mma_b1_and")
    instruction((16, 8, _k), uint1, uint1, i32, "xor.popc.@b1", "mma_b1_xor", mode="xor")
_FP8 = ((float8_e4m3, "e4m3"), (float8_e5m2, "e5m2"))
for (_l, _x), (_r, _y) in itertools.product(_FP8, _FP8):
    instruction((16, 8, 32), _l, _r, f32, f"f32.{_x}.{_y}.f32", "mma_fp8")


def candidates(a: DType, b: DType, acc: DType, mode: str, has: Callable[[str], bool]) -> list[type[MatrixInstruction]] | Refused:
    """The instructions of these types that a target has, best first."""
    known = [i for i in INSTRUCTIONS if (*i.factors, i.accumulator, i.mode) == (a, b, acc, mode)]
    if not known:
        tf32 = '; with precision="tf32" or "tf32x3" one would' if a == b == acc == f32 else ""
        return Refused(f"no matrix instruction multiplies {a} by {b} into {acc}{tf32}")
    return [i for i in known if has(i.feature)] or Refused(f"the matrix instruction of {a} by {b} is not there on this architecture")
