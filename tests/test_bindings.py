"""Launching through cuda-python itself, on a libcuda that is a stub in C: that it takes what it is given, as no GPU is needed to see."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

SCRIPT = """
import threading
import numpy as np
from cuda.bindings import driver as cuda
from stub_driver import Cuda, aligned
import tilec as tc
from tilec import f32, i32
from tilec.backend import driver, timing

N = tc.dims("N")

@tc.kernel(warps=2)
def double(x: f32[N], y: f32[N], n: i32):
    tc.grid(tc.cdiv(N, 64), 2)
    s = tc.shared(f32, [128, 128])
    tc.store(s, tc.zeros(f32, [128, 128]))
    tc.sync()
    i = tc.block_index(0) * 64
    tc.store(y, [i], tc.load(x, [i], [64]) + tc.load(s, [0, 0], [64], dims=[1]))

print(driver.device(), driver.version(), driver.cache_bytes(), flush=True)
x, y = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
double(x, y, 100)
assert (y == 2 * x).all()
a, b = Cuda(aligned(100, np.float32)), Cuda(aligned(100, np.float32))
a.array[:] = x
double(a, b, 99)
double(a, b, 98, stream=7)
double(a, b, 97, stream=cuda.CUstream(8))
double(Cuda(a.array, stream=5), b, 96, stream=9)
thread = threading.Thread(target=double, args=(a, b, 95))
thread.start()
thread.join()
assert (b.array[:99] == 2 * x[:99]).all()
assert driver.device_of(a.array.ctypes.data) == 0
buffer = timing.Buffer(x)
assert timing.milliseconds(lambda: double(buffer, b, 94), repeats=1) == 0.25
assert (buffer.numpy() == x).all()
for wrong in (lambda: double(a, b, -1), lambda: driver.Kernel(b"no cubin", "k"), lambda: double(x, y, 1, stream=77)):
    try:
        wrong()
    except tc.TileError as error:
        print(error.message, flush=True)
"""


@pytest.mark.skipif(shutil.which("gcc") is None or not sys.platform.startswith("linux"), reason="the stub is compiled by gcc")
def test_cuda_python_takes_what_it_is_given(tmp_path):
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", HERE / "stub_libcuda.c", "-ldl"], check=True)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env={**os.environ, **paths})
    assert done.returncode == 0, done.stderr
    launch = "launch 2 2 1, 64 1 1, 65536, {}, n {}"
    assert done.stdout.splitlines() == [
        "Device(ordinal=0, name='Stub', capability=(9, 0)) 13.0 1048576",
        "function double",
        "attribute 8 65536",
        launch.format(0, 100),
        launch.format(0, 99),
        launch.format(7, 98),
        launch.format(8, 97),
        "stream 9 waits",
        launch.format(9, 96),
        launch.format(0, 95),
        launch.format(0, 94),
        launch.format(0, 94),
        "cuLaunchKernel: an error of the stub",
        "cuModuleLoadData: an error of the stub",
        "arrays of the host can't be copied while a CUDA graph is captured",
    ]
