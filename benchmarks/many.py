"""How long 90 configurations of one matmul take to compile, in as many processes as there are cores: the tuner's own way, with nothing cached."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

os.environ["TILEC_CACHE_DIR"] = "off"
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "examples")]

import numpy as np  # noqa: E402
from matmul_plain import matmul_plain  # noqa: E402

LIMIT = 20.0  # seconds, on 4 cores


def main() -> None:
    warnings.simplefilter("ignore")
    matmul_plain.tune(bm=[64, 128, 256], bn=[32, 64, 128], bk=[32, 64], stages=[2, 3, 4, 5, 6], warps=[4])
    a = np.zeros((1024, 1024), np.float16)
    start = time.perf_counter()
    best = matmul_plain.tuned(a, a, a.copy(), arch="sm_80", progress=False)
    seconds = time.perf_counter() - start
    met = "" if seconds <= LIMIT else "   missed"
    print(f"\n  {len(best.trials)} configurations of matmul_plain, {os.cpu_count()} cores: {seconds:.1f} s, at most {LIMIT:.0f} s{met}")


if __name__ == "__main__":
    main()
