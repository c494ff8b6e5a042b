"""Machine code of casts counted: instructions for each element converted from every type of up to 8 bits to f16 and bf16, and back.

A warp loads a row of compact elements, 64 or 128 for each thread, casts them and stores them; what the longer row needs more, loads
and stores apart, is what 64 conversions need, cutting out of words and putting together included. Counts are exact."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from math import log2
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

import tilec as tc  # noqa: E402
from tilec import bf16, f16  # noqa: E402
from tilec.backend.sass import disassemble  # noqa: E402
from tilec.ir.dtypes import DType, all_dtypes, int8  # noqa: E402

S, T = tc.types("S T")
SMALL = tuple(t for t in all_dtypes() if t.bits <= 8 and not t.is_bool)
ARCHES = ("sm_80", "sm_89")
MORE = 64  # elements


@tc.kernel(warps=1)
def converted(x: S[4096], y: T[4096], *, S: DType = int8, T: DType = f16, each: int = MORE, run: int = 16):
    tc.grid(1)
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


if __name__ == "__main__":
    main()
