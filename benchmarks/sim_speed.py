"""How fast the simulator is: a Triton f16 matmul of 256^3 (16 blocks) and 1024^3 (256 blocks), and parsing 5,000 lines of PTX.

    python benchmarks/sim_speed.py [--repeat 5] [--skip-1024] [--json FILE]

The best of `--repeat` runs is reported (machines are shared). The first call parses and decodes; the simulator keeps the program.
Targets, checks off: 60 ms, 2 s; 1 s for the parse.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tilec.sim
from tests.sim.corpus.cases import CASES

LINES = 5000
ROUNDS = [
    "add.s32 %r{a}, %r{b}, %r{c};",
    "mad.lo.s32 %r{a}, %r{b}, %r{c}, %r{a};",
    "fma.rn.f32 %f{a}, %f{b}, %f{c}, %f{a};",
    "mov.u32 %r{a}, %r{c};",
    "setp.lt.s32 %p{p}, %r{a}, %r{b};",
    "@%p{p} xor.b32 %r{a}, %r{a}, 21;",
    "ld.global.v4.f32 {{%f{a}, %f{b}, %f{c}, %f{d}}}, [%rd1+{o}];",
    "st.shared.v2.b32 [%r1+{o}], {{%r{a}, %r{b}}};",
    "cvt.rn.f16x2.f32 %r{a}, %f{b}, %f{c};",
    "shfl.sync.bfly.b32 %r{a}, %r{b}, 16, 31, -1;",
]


def long_ptx():
    """A kernel of LINES instructions as Triton mixes them."""
    body = [
        ROUNDS[i % len(ROUNDS)].format(
            a=2 + i % 300, b=2 + i * 7 % 300, c=2 + i * 13 % 300, d=2 + i * 17 % 300, p=1 + i % 30, o=16 * (i % 64)
        )
        for i in range(LINES)
    ]
    return "\n".join(
        [
            ".version 8.4",
            ".target sm_80",
            ".address_size 64",
            ".visible .entry long(.param .u64 .ptr .global .align 16 long_param_0)",
            "{",
            ".reg .pred %p<32>;",
            ".reg .b32 %r<310>;",
            ".reg .f32 %f<310>;",
            ".reg .b64 %rd<4>;",
            "ld.param.u64 %rd1, [long_param_0];",
            "mov.u32 %r1, 0;",
            *body,
            "ret;",
            "}",
            "",
        ]
    )


def best(f, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


def matmul(size, repeat, **options):
    """Seconds of the first call and of the best later one."""
    case = CASES["triton_mm_f16"]
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size)).astype(np.float16) for _ in range(2))
    c = np.full((size, size), np.nan, np.float16)
    text, params, grid = case.ptx(), case.params([a, b, c, size, size, size]), (size // 64, size // 64)

    def once():
        tilec.sim.run_ptx(text, case.entry, grid, case.block, params, shared_bytes=case.shared, **options)

    first = best(once, 1)
    later = best(once, repeat)
    want = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(c - want).max() < 1e-3 * size**0.5 * 8, "wrong result"
    return first, later


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--skip-1024", action="store_true")
    p.add_argument("--json")
    a = p.parse_args()
    rows = {}
    text = long_ptx()
    parse = getattr(tilec.sim, "parse", None)
    if parse is not None and hasattr(parse, "parse"):
        rows["parse 5,000 lines"] = best(lambda: parse.parse(text), a.repeat)
    for size in (256,) if a.skip_1024 else (256, 1024):
        repeat = a.repeat if size == 256 else max(1, a.repeat // 2)
        for label, options in (
            ("checks off", {"checks": False, "costs": False}),
            ("checks on", {"checks": True, "costs": False}),
            ("checks and costs", {"checks": True, "costs": True}),
        ):
            first, later = matmul(size, repeat, **options)
            rows[f"matmul {size}^3, {label}, first call"] = first
            rows[f"matmul {size}^3, {label}"] = later
    for name, seconds in rows.items():
        print(f"{name:44s} {seconds * 1e3:9.1f} ms")
    if a.json:
        Path(a.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
