"""What it costs to use weights of few bits: instructions of the main loop, other than matrix products, for each weight that is converted, all
loads and addresses included. A block has 16 rows of activations, 4 warps and 256 weights to convert in each thread and round, in groups of 128.

"scaled" is cast-then-scale, each weight rounded once; "small scales" the same where scales are below 2**-8, as those of most layers are;
"on sums" applies the scale to the accumulators. "zeros" is with integer zero points for each group. Counts are exact; a smaller number is less work for
the same bytes. Each has its limit beside it, and a ! if it is missed. Further tables are of `tilec.kernels.linear` as it ships, which chooses among these:
in one form for all types, and for some types in all forms of few rows and in groups of 128, 64 and 32.

Another is of `tilec.kernels.eight`, whose activations have 8 bits, where products have 8, too: scales of channels, and of groups.

The last table is of few rows, all instructions, with small scales of integers: weights as the left operand, for up to 8 rows; as the right one, for up to
16; and no matrix instruction but a multiply-add in f32 for each weight, for one row. Beside it, how many a GPU has time for while the weights come."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402

import tilec as tc  # noqa: E402
from tilec import DType, cdiv, f16, f32, int4  # noqa: E402
from tilec.backend.sass import disassemble, is_mma  # noqa: E402
from tilec.kernels.eight import Linear8, way  # noqa: E402
from tilec.kernels.forms import Form  # noqa: E402
from tilec.kernels.linear import Linear, kernel_of  # noqa: E402
from tilec.quant import Quantized  # noqa: E402

M, N, K, G, H = tc.dims("M N K G H")
W, X = tc.types("W X")
GROUP = 128


@tc.kernel(warps=4)
def scaled(
    x: X[M, K], w: W[K, N], scales: X[G, N], zeros: X[H, N], y: X[M, N],
    *, W: DType = tc.packed(int4), X: DType = f16, has_zeros: bool = False, below: float = 2.0,
    bm: int = 16, bn: int = 256, bk: int = 128, stages: int = 3,
):  # fmt: skip
    """y = x @ ((w - zeros) * scales), the scale on each weight."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(K % bk == 0)
    tc.assume(N % bn == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        scale = tc.load(scales, [k // GROUP, j], [1, bn])
        zero = tc.load(zeros, [k // GROUP, j], [1, bn]) if has_zeros else None
        acc = tc.dot(tc.load(x, [i, k], [bm, bk]), tc.dequantize(tc.load(w, [k, j], [bk, bn]), scale, zero, below=below), acc)
    whole_rows(y, i, j, tc.cast(acc, X))


@tc.kernel(warps=4)
def on_sums(
    x: X[M, K], w: W[K, N], scales: f32[G, N], zeros: X[H, N], y: X[M, N],
    *, W: DType = tc.packed(int4), X: DType = f16, has_zeros: bool = False, unit: float = 1.0,
    bm: int = 16, bn: int = 256, bk: int = 128, stages: int = 3,
):  # fmt: skip
    """y = x @ ((w - zeros) * scales), the scale on the sum of each group; `unit` is a power of two that the scales have been divided by."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(K % bk == 0)
    tc.assume(N % bn == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages):
        zero = tc.load(zeros, [k // GROUP, j], [1, bn]) if has_zeros else None
        part = tc.dot(tc.load(x, [i, k], [bm, bk]), tc.dequantize(tc.load(w, [k, j], [bk, bn]), unit, zero, dtype=X))
        acc = acc + part * tc.load(scales, [k // GROUP, j], [1, bn])
    whole_rows(y, i, j, tc.cast(acc, X))


@tc.kernel(warps=4)
def few_rows(
    x: X[M, K], w: W[K, N], scales: X[G, N], y: X[M, N],
    *, W: DType = tc.packed(int4), X: DType = f16, below: float = 2.0, bm: int = 8, bn: int = 256, bk: int = 128, stages: int = 3,
):  # fmt: skip
    """y^T = (w * scales)^T @ x^T: weights on the left, where the instruction takes 16 rows, activations on the right, where it takes 8 columns."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(K % bk == 0)
    tc.assume(N % bn == 0)
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bn, bm])
    for k in tc.range(0, K, bk, stages=stages):
        scale = tc.load(scales, [k // GROUP, j], [1, bn])
        weights = tc.dequantize(tc.load(w, [k, j], [bk, bn]), scale, below=below)
        acc = tc.dot(weights.T, tc.load(x, [i, k], [bm, bk]).T, acc)
    whole_rows(y, i, j, tc.cast(acc.T, X))


@tc.kernel(warps=4)
def one_row(
    x: f32[K], w: W[K, N], scales: X[G, N], y: X[N],
    *, W: DType = tc.packed(int4), X: DType = f16, below: float = 2.0, bn: int = 128, bk: int = 128, stages: int = 3,
):  # fmt: skip
    """y = x @ (w * scales) for one row, by multiply-adds in f32."""
    tc.grid(cdiv(N, bn))
    tc.assume(K % bk == 0)
    tc.assume(N % bn == 0)
    j = tc.block_index(0) * bn
    acc = tc.zeros(f32, [bk, bn])
    for k in tc.range(0, K, bk, stages=stages):
        weights = tc.dequantize(tc.load(w, [k, j], [bk, bn]), tc.load(scales, [k // GROUP, j], [1, bn]), below=below)
        acc = tc.cast(weights, f32) * tc.load(x, [k], [bk])[:, None] + acc
    tc.store(y, [j], tc.cast(tc.sum(acc, axis=0), X))


@tc.function
def whole_rows(y, i, j, tile):
    """Store a tile by way of shared memory: a thread holds pairs of a fragment's columns, and whole sectors are wanted."""
    staged = tc.shared(tile.dtype, tile.shape)
    tc.store(staged, tile)
    tc.sync()
    tc.store(y, [i, j], tc.load(staged))


class Count(NamedTuple):
    per_weight: float
    products: float
    registers: int
    spills: int
    opcodes: frozenset[str]


def count(kernel: Any, arch: str, weights: int = 256, **constants: Any) -> Count:
    """Instructions of the main loop, matrix products and others, for each of the weights that a thread converts in it."""
    built = kernel.compile(arch, **constants)
    loop = disassemble(built.cubin).hot_loop()
    assert loop is not None
    issued = [i for i in loop.instructions if i.issued]
    products = sum(is_mma(i.opcode) for i in issued)
    found = built.resources
    return Count((len(issued) - products) / weights, products / weights, found.registers, found.spill_bytes, frozenset(i.name for i in issued))


def free_scale(weight: DType, to: DType) -> float:
    """The power of two by which weights of a type are made for least."""
    if weight.is_int:
        return 2.0**-9 if to == f16 else 2.0**-6
    return 2.0 ** (weight.bias - to.bias) if weight.is_float and to == f16 else 1.0


def limit(weight: DType, to: DType, sums: bool) -> float:
    """The most that is accepted."""
    if not weight.is_int and not weight.is_float:
        return 3.5
    narrow = weight.bits in (1, 2, 3, 4, 8)
    if to != f16:
        return 2.15 if narrow else 2.45
    return (1.75 if narrow else 2.25) if sums else (2.1 if narrow else 2.35)


def types() -> Iterator[DType]:
    """The types that a bit program or a byte permutation makes."""
    for d in tc.all_dtypes():
        if d.bits <= 8 and not d.is_bool and tc.packed(d).direct:
            yield d


def modes(weight: DType, to: DType) -> dict[str, Any]:
    """The ways to scale a type that make sense, by name: a kernel and its constants. Floats in bf16 need their multiplication anyway."""
    sums = {"unit": free_scale(weight, to)}
    found: dict[str, Any] = {"scaled": (scaled, {})}
    if weight.is_int:
        found |= {"small scales": (scaled, {"below": 2.0**-8}), "zeros": (scaled, {"has_zeros": True})}
        found["zeros, on sums"] = on_sums, {"has_zeros": True} | sums
    if weight.is_int or to == f16:
        found["on sums"] = on_sums, sums
    return found


def shipped(weight: DType, to: DType, zeros: bool, arch: str, how: Form = Form(16, 256, 4, 3, 1), group: int = GROUP) -> Count:
    """The count for `tilec.kernels.linear` with scales that `to` holds, as layers have them, and perhaps zero points."""
    rng = np.random.default_rng(0)
    codes = tc.Tensor.from_codes(rng.integers(0, 2, (256, 1024), dtype=np.uint8), weight)
    scales = tc.Tensor.from_values(rng.uniform(0.001, 0.01, (256, 1024 // group)), to)
    points = tc.Tensor.from_codes(rng.integers(0, 2, scales.shape, dtype=np.uint8), weight) if zeros else None
    recipe = Linear(Quantized(codes, scales, points), to=to).recipe
    return count(kernel_of(how.warps), arch, weights=128 * how.bn // (32 * how.warps), **recipe.constants(how))


SMALL_FORMS = [Form(bm, bn, 4, 3, 1) for bm, bn in ((8, 128), (8, 256), (16, 128), (16, 256), (32, 128))]
GROUPS = (128, 64, 32)


def form_rows(names: tuple[str, ...]) -> Iterator[tuple[str, int, list[float]]]:
    """Weights, their group, and the counts in SMALL_FORMS, in f16; those whose names end in + have zero points."""
    for name in names:
        for group in GROUPS:
            yield name, group, [shipped(tc.dtype(name.rstrip("+")), f16, name.endswith("+"), "sm_80", how, group).per_weight for how in SMALL_FORMS]


LARGE = {"int8": (128, 256, 8), "e4m3": (64, 256, 8)}


def in_8_bits(weight: DType, to: str, group: int | None, how: Form, arch: str) -> Count:
    """The count for `tilec.kernels.eight`."""
    codes = tc.Tensor.from_codes(np.random.default_rng(0).integers(0, 2, (256, 1024), dtype=np.uint8), weight)
    scales = tc.Tensor.from_values(np.ones((256, 1024 // (group or 1024))), f16)
    recipe = Linear8(Quantized(codes, scales), to=to).recipe
    return count(recipe.kernel(how), arch, 128 * how.bn // (32 * how.warps), **recipe.constants(how))


def eight(names: tuple[str, ...] | None = None) -> Iterator[tuple[DType, str, list[float]]]:
    """A row of the table for each type and type of activations."""
    for to, arch in (("int8", "sm_80"), ("e4m3", "sm_89")):
        for d in types():
            if (names is None or str(d) in names) and way(d, 128, 1024, tc.dtype(to)).kind.bits == 8:
                cells = [in_8_bits(d, to, group, Form(bm, 128, 4, 3, 1), arch).per_weight for group, bm in EIGHT]
                many = in_8_bits(d, to, None, Form(*LARGE[to], 2, 1), arch)
                yield d, to, [*cells, many.per_weight / many.products]


EIGHT = [(group, bm) for bm in (16, 8) for group in (None, 128, 32)]
RATE = 1.7e9 * 132 * 4 * 32 / (3.35e12 * 8)  # instructions that the lanes of an H100 issue while a bit comes from memory, at 1.7 GHz


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    warnings.simplefilter("ignore")  # of stages that don't fit sm_89
    columns = [(to, how) for to in (f16, tc.bf16) for how in ("scaled", "small scales", "on sums", "zeros", "zeros, on sums")]
    print("\n  instructions other than matrix products for each weight, in the main loop; in brackets the limit")
    print(f"  {'':14}{'':7}" + "".join(f"{f'{to}, {how}':>22}" for to, how in columns))
    for d in types():
        for arch in ("sm_80", "sm_89"):
            cells = {(to, how): count(kernel, arch, W=tc.packed(d, to), X=to, **more) for to in (f16, tc.bf16) for how, (kernel, more) in modes(d, to).items()}
            texts = (shown(cells[c], limit(d, c[0], "sums" in c[1])) if c in cells else "" for c in columns)
            print(f"  {d!s:14}{arch:7}" + "".join(f"{text:>22}" for text in texts), flush=True)

    print("\n  tilec.kernels.linear, 16 rows, each weight rounded once at most: without and with integer zero points")
    print(f"  {'':14}{'':7}" + "".join(f"{f'{to}{how}':>22}" for to in (f16, tc.bf16) for how in ("", ", zeros")))
    for d in types():
        for arch in ("sm_80", "sm_89"):
            texts = (shown(shipped(d, to, z, arch), limit(d, to, False)) if d.is_int or not z else "" for to in (f16, tc.bf16) for z in (False, True))
            print(f"  {d!s:14}{arch:7}" + "".join(f"{text:>22}" for text in texts), flush=True)

    print("\n  tilec.kernels.eight, products of 8 bits, by scales of channels and of groups; and for many rows, other instructions for each matrix instruction")
    print(f"  {'':14}{'by':>8}" + "".join(f"{f'{bm} rows, {group}':>17}" for group, bm in EIGHT) + f"{'many rows':>17}")
    for d, to, cells8 in eight():
        print(f"  {d!s:14}{to:>8}" + "".join(f"{n:17.2f}" for n in cells8), flush=True)

    print("\n  tilec.kernels.linear, f16, sm_80, by rows and columns of a tile; + with integer zero points")
    print(f"  {'':14}{'group':>7}" + "".join(f"{f'{how.bm} x {how.bn}':>12}" for how in SMALL_FORMS))
    for name, group, counts in form_rows(IN_FORMS):
        print(f"  {name:14}{group:7}" + "".join(f"{c:12.2f}" for c in counts), flush=True)

    print(f"\n  few rows, f16, group {GROUP}, sm_90a: all instructions for each weight, and what an H100 has time for at 3.35 TB/s")
    columns = {"8 rows": few_rows, "16 rows": scaled, "1 row, f32": one_row}
    print(f"  {'':14}{'time for':>12}" + "".join(f"{title:>12}" for title in columns))
    for d in map(tc.dtype, FEW):
        print(f"  {d!s:14}{RATE * d.bits:12.2f}" + "".join(f"{in_all(kernel, d):12.2f}" for kernel in columns.values()), flush=True)


IN_FORMS = ("int4", "uint4+", "int7", "uint7+", "int1", "uint1+", "float4_e2m1", "float7_e1m5", "nf4")
FEW = ("int1", "int2", "int3", "int4", "int5", "int6", "int7", "int8", "float4_e2m1", "float6_e3m2", "float8_e4m3", "nf4")


def in_all(kernel: Any, d: DType, arch: str = "sm_90a") -> float:
    """All instructions for each weight."""
    c = count(kernel, arch, 128 if kernel is one_row else 256, W=tc.packed(d), below=2.0**-8 if d.is_int else 2.0)
    return c.per_weight + c.products


def shown(c: Count, most: float) -> str:
    """A cell of a table, and its limit."""
    return f"{c.per_weight:.2f} [{most}]{' ' if c.per_weight <= most and not c.spills else '!'}"


if __name__ == "__main__":
    main()
