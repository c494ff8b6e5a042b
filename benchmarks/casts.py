"""Machine code of casts counted: instructions for each element converted from every type of up to 8 bits to f16 and bf16, and back.

A warp loads a row of compact elements, 64 or 128 for each thread, casts them and stores them; what the longer row needs more, loads
and stores apart, is what 64 conversions need, cutting out of words and putting together included. Then the main loop of a matrix product whose
weights lie compact and row-major: all its instructions but the matrix products, for each weight. Counts are exact."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from math import log2
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

import tilec as tc  # noqa: E402
from tilec import bf16, cdiv, f16, f32  # noqa: E402
from tilec.backend.sass import disassemble, is_mma  # noqa: E402
from tilec.ir.dtypes import DType, all_dtypes, dtype, int8  # noqa: E402

S, T = tc.types("S T")
M, N, K, G = tc.dims("M N K G")
SMALL = tuple(t for t in all_dtypes() if t.bits <= 8 and not t.is_bool)
ARCHES = ("sm_80", "sm_89")
MORE = 64  # elements
LOOPS = (*(f"int{bits}" for bits in range(1, 9)), "e4m3", "e2m1", "e3m2", "nf4")


@tc.kernel(warps=1)
def converted(x: S[4096], y: T[4096], *, S: DType = int8, T: DType = f16, each: int = MORE, run: int = 16):
    tc.grid(1)
    tc.conversions("registers")  # else the store may find it worth its while to exchange elements first
    tc.store(y, [0], tc.cast(tc.load(x, [0], [32 * each], layout=tc.local(each // run).spatial(32).local(run)), T))


def opcodes(source: DType, target: DType, arch: str, each: int) -> Counter[str]:
    """How often each opcode stands in the code, loads and stores of global memory apart."""
    run = min(1 << int(log2(128 / min(source.bits, target.bits))), MORE)  # elements in 16 bytes, so that no layout has to change
    built = converted.compile(arch, S=source, T=target, each=each, run=run)
    counts = disassemble(built.cubin).counts()
    return Counter({name: count for name, count in counts.items() if not name.startswith(("LDG", "STG"))})


def converting(source: DType, target: DType, arch: str) -> Counter[str]:
    """Opcodes of the conversion of 64 elements; negative where the longer row needs fewer."""
    long, short = (opcodes(source, target, arch, each) for each in (2 * MORE, MORE))
    return Counter({name: long[name] - short[name] for name in long | short if long[name] != short[name]})


def per_element(source: DType, target: DType, arch: str) -> float:
    return sum(converting(source, target, arch).values()) / MORE


@tc.kernel(warps=4)
def row_major(x: f16[M, K], w: S[K, N], scales: f16[G, N], y: f16[M, N], *, S: DType = int8, m: int = 16, n: int = 128, k: int = 128):
    """A scale for each group of 128 weights; sizes are whole tiles."""
    tc.grid(cdiv(M, m), cdiv(N, n))
    tc.assume(N % n == 0)
    tc.assume(K % k == 0)
    tc.assume(K == G * k)
    i, j = tc.block_index(0) * m, tc.block_index(1) * n
    acc = tc.zeros(f32, [m, n])
    for at in tc.range(0, K, k, stages=3):
        weights = f16(tc.load(w, [at, j], [k, n])) * tc.load(scales, [at // k, j], [1, n])
        acc = tc.dot(tc.load(x, [i, at], [m, k]), weights, acc)
    tc.store(y, [i, j], f16(acc))


def in_loop(source: DType, arch: str) -> float:
    """Instructions of the main loop other than matrix products, for each of a thread's 128 weights."""
    loop = disassemble(row_major.compile(arch, S=source).cubin).hot_loop()
    assert loop is not None
    return sum(i.issued and not is_mma(i.opcode) for i in loop.instructions) / 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", nargs="*", default=ARCHES)
    arches = parser.parse_args().arch
    print("\n  instructions for each element converted")
    columns = [(t, arch, back) for back in (False, True) for t in (f16, bf16) for arch in arches]
    print(f"  {'':14}" + "".join(f"{f'{t}, {arch}' if not back else f'from {t}, {arch}':>20}" for t, arch, back in columns))
    for s in SMALL:
        figures = [per_element(t, s, arch) if back else per_element(s, t, arch) for t, arch, back in columns]
        print(f"  {s!s:14}" + "".join(f"{f:20.2f}" for f in figures), flush=True)
    print("\n  instructions beside matrix products in the main loop, for each weight\n" + " " * 16 + "".join(f"{arch:>8}" for arch in arches))
    for name in LOOPS:
        print(f"  {name:14}" + "".join(f"{in_loop(dtype(name), arch):8.2f}" for arch in arches), flush=True)


if __name__ == "__main__":
    main()
