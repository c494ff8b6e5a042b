"""Check the references of the CUDA kernels without a simulator: run them on the host, each thread a fiber (host.h).

    python -m tests.sim.corpus.host      (needs g++)

Kernels with inline PTX, tensor cores or cooperative groups are left out.
"""

import ctypes
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .case import check
from .cases import CASES

CU = Path(__file__).with_name("cu")
STEMS = "basic", "warp", "sync", "atomics", "control", "sort"
WITHOUT = re.compile(r"\basm\b|cg::|__activemask|_any_sync|_all_sync|__half|bfloat|printf|assert\(|grid_barrier")
BY_VALUE = re.compile(r"int|float|unsigned|double")


def functions(text):
    """Split a .cu file into top-level pieces (a blank line or a closing brace in column 0 ends one)."""
    return re.split(r"(?<=\n})\n|\n(?=extern \"C\")|\n(?=__device__)", text)


def host_source(stem):
    text = re.sub(r"(?m)^\s*(#include|namespace|using).*$", "", (CU / f"{stem}.cu").read_text())
    pieces = [p for p in functions(text) if not WITHOUT.search(re.sub(r"//.*", "", p))]
    text = re.sub(r"extern __shared__ (\w+) (\w+)\[\];", r"\1* \2 = (\1*)dyn_shared;", "\n".join(pieces))
    names, wrappers = [], []
    for name, params in re.findall(r'extern "C" __global__ void (\w+)\((.*?)\)\s*\{', text, re.S):
        split = [
            re.match(r"\s*(.*?)(\w+)\s*$", p.replace("__grid_constant__", "").replace("__restrict__", ""), re.S).groups()
            for p in params.split(",")
        ]
        decl = ", ".join(f"{t} {n}" if "*" in t or BY_VALUE.search(t) else f"{t}* {n}" for t, n in split)
        call = ", ".join(n if "*" in t or BY_VALUE.search(t) else f"*{n}" for t, n in split)
        head = f'extern "C" void launch_{name}(const unsigned* g_, const unsigned* b_, int s_, {decl})'
        wrappers.append(f"{head} {{ launch(g_, b_, s_, [=] {{ {name}({call}); }}); }}")
        names.append(name)
    return '#include "host.h"\n' + text + "\n" + "\n".join(wrappers), names


def argument(a):
    if isinstance(a, np.ndarray):
        return a.ctypes.data_as(ctypes.c_void_p)
    if isinstance(a, bytes):
        return ctypes.c_char_p(a)
    return ctypes.c_float(a) if isinstance(a, np.floating) else ctypes.c_int(a)


def main():
    failed = 0
    for stem in STEMS:
        source, names = host_source(stem)
        with tempfile.TemporaryDirectory() as place:
            file, lib = Path(place) / "host.cpp", Path(place) / "host.so"
            file.write_text(source)
            command = ["g++", "-std=c++17", "-O1", "-w", "-ffp-contract=off", "-shared", "-fPIC", f"-I{CU.parent}", file, "-o", lib]
            subprocess.run(command, check=True)
            so = ctypes.CDLL(str(lib))
        for name in names:
            case = CASES[f"nvcc_{stem}.{name}"]
            args, expected = case.make(np.random.default_rng(7))
            triple = lambda d: (ctypes.c_uint * 3)(*d, *(1,) * (3 - len(d)))  # noqa: E731
            getattr(so, f"launch_{name}")(triple(case.grid), triple(case.block), case.shared, *map(argument, args))
            try:
                for i, e in expected.items():
                    check(e, args[i])
                verdict = "ok"
            except AssertionError as error:
                failed, verdict = failed + 1, f"argument {i}: {error}"
            print(f"{case.name:36s} {verdict}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
