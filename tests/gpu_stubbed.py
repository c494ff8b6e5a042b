"""benchmarks/gpu.py with a GPU that is a stub: what is launched, the interpreter computes. The environment says which tasks fail, and how:
TILEC_STUB_FAILS is JSON, a way by a task's name."""

# ruff: noqa: E402
import json
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "benchmarks"), str(Path(__file__).parents[1])]

import gpu
import gpu_tasks
import numpy as np
from stub_driver import GPU, stubbed

from tilec.compiler import Kernel
from tilec.errors import TileError


class Interpreted:
    """Stands for a launcher."""

    def __init__(self, kernel, constants):
        self.kernel, self.constants = kernel, constants

    def launch(self, stream, *args):
        self.kernel.interpret(*args, **self.constants)


def failing(way):
    def task():
        match way:
            case "wrong":
                return {"right": False, "differences": {"y": 0.5}}
            case "refused":
                raise TileError("x is not contiguous")
            case "fault":
                raise TileError("cuStreamSynchronize: an illegal memory access was encountered")
            case "crash":
                os.abort()
            case "hang":
                time.sleep(1000)

    return task


def tasks(found=gpu_tasks.tasks):
    return {**found(), **{name: failing(way) for name, way in json.loads(os.environ.get("TILEC_STUB_FAILS", "{}")).items()}}


if __name__ == "__main__":
    Kernel._launcher = lambda self, constants: Interpreted(self, constants)
    gpu_tasks.tasks = tasks
    with stubbed(GPU()), np.errstate(all="ignore"):
        sys.exit(gpu.main())
