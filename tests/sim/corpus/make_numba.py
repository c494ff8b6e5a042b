"""Compile kernels_numba.py to PTX fixtures with numba-cuda, without a GPU:  python make_numba.py [NAME...]"""

import sys
import traceback

import numba_cuda
from fixture import write
from kernels_numba import FIXTURES
from numba import cuda
from numba.core import sigutils

WITH_LINES = {"saxpy", "stencil", "scan"}


def main(names):
    for name in names or FIXTURES:
        fn, signature = FIXTURES[name]
        args, _ = sigutils.normalize_signature(signature)
        try:
            ptx, _ = cuda.compile_ptx(fn, args, device=False, cc=(8, 0), abi="numba", lineinfo=name in WITH_LINES)
            write(f"numba_{name}", ptx, compiler=f"numba-cuda {numba_cuda.__version__}")
        except Exception:
            traceback.print_exc(limit=2)
            print("FAILED", name)


if __name__ == "__main__":
    main(sys.argv[1:])
