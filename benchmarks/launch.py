"""What a launch costs on the host, the driver's own call being a stub: microseconds, and Python's instructions, which are exact.

The kernel has 19 arguments, as the launch benchmark of PyTorch's tritonbench has: five tensors, nine integers and five constants. Needs no
GPU. With PyTorch in the process its tensors are measured too, on the CPU, which read alike.
"""

from __future__ import annotations

import itertools
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import tilec as tc
from tilec import f32, i32
from tilec.backend import driver
from tilec.launch import Launcher
from tilec.quick import Kept, fast, kind_of

LIMIT = 3.0  # microseconds
ROUNDS, CALLS = 40, 2000
N = tc.dims("N")


def kernel() -> Any:
    """The kernel, not called yet."""

    @tc.kernel
    def nothing(
        t1: f32[N], t2: f32[N], t3: f32[N], t4: f32[N], t5: f32[N],
        i1: i32, i2: i32, i3: i32, i4: i32, i5: i32, i6: i32, i7: i32, i8: i32, i9: i32,
        *, c1: int = 32, c2: int = 32, c3: int = 32, c4: int = 32, c5: int = 32,
    ):  # fmt: skip
        tc.grid(1)

    return nothing


class Array:
    """An array that speaks the CUDA array interface, and does no more work for it than a library in C."""

    def __init__(self, n: int):
        self.memory = np.zeros(n + 4, np.float32)
        address = -(-self.memory.ctypes.data // 16) * 16
        self.__cuda_array_interface__ = {"typestr": "<f4", "shape": (n,), "strides": None, "data": (address, False), "version": 3}


def stub() -> Any:
    """As much of the driver as a launch needs: every call works and does nothing."""
    done = dict.fromkeys(("cuCtxPushCurrent", "cuCtxPopCurrent", "cuFuncSetAttribute", "cuLaunchKernel"), (0,))
    done |= {"cuDeviceGetCount": (0, 1), "cuStreamIsCapturing": (0, 0), "cuDeviceGet": (0, 0), "cuDeviceGetName": (0, b"stub"), "cuDeviceGetAttribute": (0, 8)}
    done |= {"cuDevicePrimaryCtxRetain": (0, 1), "cuModuleLoadData": (0, 1), "cuModuleGetFunction": (0, 1), "cuCtxGetCurrent": (0, 0)}
    functions = {name: (lambda *args, result=result: result) for name, result in done.items()}
    values = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=8, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=8, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8
    )
    return SimpleNamespace(**functions, CUdevice_attribute=values, CUfunction_attribute=values)


def microseconds(call: Callable[[], None]) -> float:
    """The mean time of a call in the round that was disturbed least: what other processes do only adds to it."""
    call()
    return min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def instructions(call: Callable[[], None]) -> int:
    """Python's instructions in tilec's code, the functions made as source included, during a call."""
    here, count = str(Path(tc.__file__).parent), 0

    def instruction(code: Any, *where: Any) -> None:
        nonlocal count
        count += code.co_filename.startswith(here)

    def trace(frame: Any, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            instruction(frame.f_code)
        return trace

    call()
    if sys.version_info < (3, 12):
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(before)
        return count
    monitoring = sys.monitoring
    monitoring.use_tool_id(monitoring.PROFILER_ID, "tilec")
    try:
        monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, instruction)
        monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION)
        call()
    finally:
        monitoring.set_events(monitoring.PROFILER_ID, 0)
        monitoring.free_tool_id(monitoring.PROFILER_ID)
    return count


def cases() -> dict[str, Callable[[], None]]:
    """Calls by what they are given."""
    found = {}
    kinds: dict[str, Callable[[], Any]] = {"CUDA array interface": lambda: Array(64), "tc.tensor": lambda: tc.tensor(Array(64), f32, [64])}
    for name, make in kinds.items():
        tensors = [make() for _ in range(5)]
        found[f"{name}, constants given"] = _call(kernel(), tensors, "c1=32, c2=32, c3=32, c4=32, c5=32")
        found[f"{name}, constants by default"] = _call(kernel(), tensors)
    if "torch" in sys.modules:
        found["PyTorch, constants by default"] = _torch(["t1", "t2", "t3", "t4", "t5"])
        found["PyTorch, of too many shapes"] = _torch(["*next(more)"])
    return found


def _call(nothing: Any, tensors: list[Any], constants: str = "") -> Callable[[], None]:
    """A call as people write it, the numbers being literals."""
    names = {"nothing": nothing, **{f"t{i}": t for i, t in enumerate(tensors, 1)}}
    call: Callable[[], None] = eval(f"lambda: nothing(t1, t2, t3, t4, t5, 1, 2, 3, 4, 5, 6, 7, 8, 9, {constants})", names)
    return call


def _torch(given: list[str]) -> Callable[[], None]:
    """Tensors of the CPU, which say that they lie on GPU -1: the launcher is told that this is one."""
    import torch

    nothing, arrays = kernel(), [Array(n) for n in (64, 63)]
    for array in arrays:
        _call(nothing, [array] * 5)()
    launcher: Launcher = nothing._launchers[(32,) * 5]
    bits = len(launcher.multiples)
    launcher.variants.update({(-1 << bits) | key: value for key, value in list(launcher.variants.items())})
    sets = [[torch.zeros(n) for _ in range(5)] for n in range(64, 64 + Kept.SHAPES + 8)]
    launcher.launch = fast(launcher, tuple(kind_of(x) for x in (*sets[0], *range(1, 10))))  # type: ignore[misc]
    for some in sets[: Kept.SHAPES]:
        _call(nothing, some)()  # more are not kept
    names = {"nothing": nothing, "more": itertools.cycle(sets[Kept.SHAPES :]), **{f"t{i}": t for i, t in enumerate(sets[0], 1)}}
    call: Callable[[], None] = eval(f"lambda: nothing({', '.join(given)}, 1, 2, 3, 4, 5, 6, 7, 8, 9)", names)
    return call


def measured(timed: bool = True) -> dict[str, dict[str, float]]:
    """Microseconds and instructions of each case, with the stub in the driver's place."""
    found = driver._driver
    driver._driver = lambda made=stub(): made  # type: ignore[assignment,misc]
    driver.device.cache_clear()
    driver._context.cache_clear()
    try:
        return {name: {"us": microseconds(call) if timed else 0.0, "instructions": instructions(call)} for name, call in cases().items()}
    finally:
        driver._driver = found
        driver.device.cache_clear()
        driver._context.cache_clear()


def main() -> None:
    if "--torch" in sys.argv:
        import torch  # noqa: F401
    print(f"\n  {'launch with 19 arguments, the driver stubbed':46}{'time':>10}{'instructions':>14}   at most {LIMIT:.0f} us")
    for name, row in measured().items():
        print(f"  {name:46}{row['us']:7.2f} us{row['instructions']:14.0f}{'' if row['us'] <= LIMIT else '   missed'}", flush=True)


if __name__ == "__main__":
    main()
