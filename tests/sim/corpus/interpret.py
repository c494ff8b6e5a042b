"""Check the references without a simulator: run the Triton cases in Triton's CPU interpreter and the Numba cases in Numba's CUDA simulator.

    python -m tests.sim.corpus.interpret [NAME...]      (needs triton with CPU torch, and numba-cuda)
"""

import os
import sys
import time

os.environ["TRITON_INTERPRET"] = "1"
os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, os.path.dirname(__file__))

import numpy as np

from tests.sim.corpus.case import check


def run_triton(case, args):
    import kernels_triton
    import torch

    fn, signature, constants, *_ = kernels_triton.FIXTURES[case.fixture.removeprefix("triton_")]
    views = {"*bf16": torch.bfloat16, "*fp8e4nv": torch.float8_e4m3fn, "*fp8e5": torch.float8_e5m2}

    def tensor(a, kind):
        if not isinstance(a, np.ndarray):
            return a
        t = torch.from_numpy(a.view(np.int16) if a.dtype == np.uint16 else a)
        return t.view(views[kind]) if kind in views else t

    kinds = [item.split(":")[1] for item in signature.split()]
    fn[case.grid](*map(tensor, args, kinds), **constants)


def run_numba(case, args):
    import kernels_numba
    from numba import cuda

    fn, _ = kernels_numba.FIXTURES[case.fixture.removeprefix("numba_")]
    cuda.jit(fn)[case.grid, case.block, 0, case.shared](*args)


def main(names):
    from tests.sim.corpus.cases import CASES

    run = {"triton": run_triton, "numba": run_numba}
    failed = 0
    for case in CASES.values():
        kind = case.fixture.split("_")[0]
        if kind not in run or (names and case.name not in names):
            continue
        start = time.perf_counter()
        try:
            args, expected = case.make(np.random.default_rng(7))
            run[kind](case, args)
            for i, e in expected.items():
                try:
                    check(e, args[i])
                except Exception as error:
                    raise type(error)(f"argument {i}: {error}") from error
            verdict = "ok"
        except Exception as error:
            failed += 1
            verdict = f"{type(error).__name__}: {str(error)[:300]}"
        print(f"{case.name:32s} {time.perf_counter() - start:6.2f} s  {verdict}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
