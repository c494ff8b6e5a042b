"""Machine code counted: what the main loops of the examples hold beside matrix instructions, registers, spills. Counts are exact, so
they are limits in the tests too. Beside them what Triton 3.6 makes of the same tiles; `--peers PYTHON` compiles those anew."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

import tilec as tc  # noqa: E402
from tilec import DType, cdiv, f16, f32  # noqa: E402
from tilec.backend.sass import disassemble, is_mma  # noqa: E402

M, N, K = tc.dims("M N K")
D = tc.types("D")


@tc.kernel(warps=4)
def matmul_masked(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 128, bn: int = 128, bk: int = 32, stages: int = 3):
    """examples/matmul_plain.py for any sizes: nothing is assumed."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
    tc.store(c, [i, j], f16(acc))


@tc.kernel(warps=4)
def matmul_narrow(a: D[M, K], b: D[K, N], c: D[M, N], *, D: DType = f16, N: int = 4100, K: int = 4100, bk: int = 32):
    """The same for rows that copies of 16 bytes can't take."""
    tc.grid(cdiv(M, 128), cdiv(N, 128))
    i, j = tc.block_index(0) * 128, tc.block_index(1) * 128
    acc = tc.zeros(f32, [128, 128])
    for k in tc.range(0, K, bk, stages=3):
        acc = tc.dot(tc.load(a, [i, k], [128, bk]), tc.load(b, [k, j], [bk, 128]), acc, precision="tf32" if D == f32 else "ieee")
    tc.store(c, [i, j], acc.to(D))


@dataclass(frozen=True)
class Case:
    """A kernel with constants. `limit` bounds the other instructions for each matrix instruction in the main loop or, of kernels without
    any, all instructions; `triton` is what Triton 3.6 needs on sm_80, if that was measured, `registers` the most that may be used."""

    kernel: str
    limit: float
    triton: float | None
    warps: int = 4
    registers: int = 255
    arches: tuple[str, ...] = ("sm_80",)
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        stated = ", ".join(f"{k}={v}" for k, v in self.constants.items())
        return f"{self.kernel}{f' {stated}' if stated else ''}, {self.warps} warps"

    def compile(self, arch: str) -> Any:
        found = globals().get(self.kernel) or getattr(importlib.import_module(self.kernel), self.kernel)
        return tc.kernel(warps=self.warps)(found.__wrapped__).compile(arch, **self.constants)


BOTH = ("sm_80", "sm_89")
CASES = (
    Case("matmul_plain", 0.98, 1.09, 4, 234, BOTH, {"bk": 32, "stages": 3}),
    Case("matmul_plain", 1.52, 1.69, 8, 136, BOTH, {"bk": 32, "stages": 3}),
    Case("matmul_plain", 0.88, 0.98, 4, 255, BOTH, {"bk": 64, "stages": 4}),
    Case("matmul_plain", 1.21, 1.34, 8, 171, BOTH, {"bk": 64, "stages": 3}),
    Case("matmul_masked", 1.50, 1.50),
    Case("matmul_narrow", 1.70, None, constants={"N": 4100, "K": 4100}),
    Case("matmul_narrow", 2.45, None, constants={"N": 4098, "K": 4098}),
    Case("matmul_narrow", 6.45, None, constants={"D": f32, "N": 4097, "K": 4097, "bk": 16}),
    Case("attention", 4.00, 4.45, 4, 255, ("sm_80",), {"D": 64, "whole": True}),
    Case("attention", 2.90, 3.23, 8, 255, ("sm_80",), {"D": 128, "whole": True}),
    Case("softmax", 161, 161),
    Case("layer_norm", 166, 166),
)


@dataclass(frozen=True)
class Counted:
    case: Case
    arch: str
    count: float  # other instructions for each matrix instruction, or all
    registers: int
    spills: int


def counted() -> Iterator[Counted]:
    """Every case on every of its architectures."""
    for case in CASES:
        for arch in case.arches:
            yield count(case, arch)


def count(case: Case, arch: str) -> Counted:
    built = case.compile(arch)
    code = disassemble(built.cubin)
    loop = code.hot_loop()
    issued = [i for i in loop.instructions if i.issued] if loop else []
    products = sum(is_mma(i.opcode) for i in issued)
    number = (len(issued) - products) / products if products else sum(i.issued for i in code.instructions)
    return Counted(case, arch, number, built.resources.registers, built.resources.spill_bytes)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("\n  instructions beside each matrix instruction in the main loop, or of the whole kernel")
    print(f"  {'':52}{'':8}{'tilec':>8}{'Triton':>8}{'at most':>9}{'registers':>11}{'spills':>8}")
    for c in counted():
        met = c.count <= c.case.limit and c.registers <= c.case.registers and not c.spills
        shape = ".2f" if c.case.limit < 20 else ".0f"
        peer = f"{c.case.triton:8{shape}}" if c.case.triton else f"{'-':>8}"
        figures = f"{c.count:8{shape}}{peer}{c.case.limit:9{shape}}{c.registers:11}{c.spills:8}"
        print(f"  {c.case.title:52}{c.arch:8}{figures}{'' if met else '   missed'}", flush=True)


if __name__ == "__main__":
    main()
