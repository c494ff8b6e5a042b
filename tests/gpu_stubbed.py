"""benchmarks/gpu.py with a GPU that is a stub: what is launched, the interpreter computes. The environment says which tasks fail, and how:
TILEC_STUB_FAILS is JSON, a way by a task's name."""

# ruff: noqa: E402
import ctypes
import json
import math
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "benchmarks"), str(Path(__file__).parents[1])]

import gpu
import gpu_layers
import gpu_peers
import gpu_tasks
import numpy as np
from stub_driver import GPU, stubbed

import tilec as tc
from tilec.errors import TileError
from tilec.ir.arrays import DeviceArray, read
from tilec.running import Runner


class Interpreted:
    """Stands for a launcher."""

    def __init__(self, kernel, constants):
        self.kernel, self.constants = kernel, constants

    def launch(self, stream, *args):
        self.kernel.interpret(*map(on_host, args), **self.constants)


def on_host(x):
    """An array whose memory is said to be a GPU's, and is the host's."""
    if hasattr(x, "__dlpack_device__") and not isinstance(x, np.ndarray):
        x = read(x, 0)
    if isinstance(x, tc.Tensor) and x.device is not None:
        held = on_host(SimpleNamespace(__cuda_array_interface__={"data": (x.address, False), "shape": (x.nbytes,), "typestr": "|u1"}))
        return tc.Tensor(held, x.dtype, x.shape)
    if isinstance(x, DeviceArray):
        return on_host(SimpleNamespace(__cuda_array_interface__={"data": (x.address, False), "shape": x.shape, "typestr": np.dtype(x.dtype.numpy).str}))
    if not hasattr(x, "__cuda_array_interface__"):
        return x
    found = x.__cuda_array_interface__
    dtype = np.dtype(found["typestr"])
    held = (ctypes.c_byte * (math.prod(found["shape"]) * dtype.itemsize)).from_address(found["data"][0])
    return np.frombuffer(held, dtype).reshape(found["shape"])


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


SHAPES, ROWS, COPIED = [(256, 128), (384, 256)], [1, 16, 128], 1 << 12  # of layers, smaller than those on a GPU


if __name__ == "__main__":
    gpu_peers.REPEATS = 1
    gpu_layers.SHAPES, gpu_layers.ROWS, gpu_layers.COPIED = SHAPES, ROWS, COPIED
    Runner.launcher = lambda self, constants: Interpreted(self.kernel, constants)
    gpu_tasks.tasks = tasks
    with stubbed(GPU()), np.errstate(all="ignore"):
        sys.exit(gpu.main())
