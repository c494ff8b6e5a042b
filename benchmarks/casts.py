"""Machine code of casts counted: instructions for each element converted from every type of up to 8 bits to f16 and bf16, and back.

A warp loads a row of compact elements, 64 or 128 for each thread, casts them and stores them; what the longer row needs more, loads
and stores apart, is what 64 conversions need, packing and unpacking included."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

import tilec as tc  # noqa: E402
from tilec import bf16, f16  # noqa: E402
from tilec.backend.sass import disassemble  # noqa: E402
from tilec.ir.dtypes import DType, all_dtypes, int8  # noqa: E402

S, T = tc.types("S T")
WEIGHTS = tuple(t for t in all_dtypes() if t.bits <= 8 and not t.is_bool)


@tc.kernel(warps=1)
def converted(x: S[4096], y: T[4096], *, S: DType = int8, T: DType = f16, per_thread: int = 128):
    tc.grid(1)
    tc.store(y, [0], tc.cast(tc.load(x, [0], [32 * per_thread]), T))


def opcodes(source: DType, target: DType, arch: str, per_thread: int) -> Counter[str]:
    built = converted.compile(arch, S=source, T=target, per_thread=per_thread)
    counts = disassemble(built.cubin).counts()
    return Counter({name: count for name, count in counts.items() if not name.startswith(("LDG", "STG"))})


def converting(source: DType, target: DType, arch: str) -> Counter[str]:
    """Opcodes of the conversion of 64 elements."""
    long, short = (opcodes(source, target, arch, n) for n in (128, 64))
    return Counter({name: long[name] - short[name] for name in long | short if long[name] != short[name]})


def per_element(source: DType, target: DType, arch: str) -> float:
    return sum(converting(source, target, arch).values()) / 64
