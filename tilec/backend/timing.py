"""Memory of a GPU without any other library, and how long work on it takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from tilec.backend import driver


class Buffer:
    """A copy of a NumPy array on a GPU, which speaks the CUDA array interface."""

    def __init__(self, array: np.ndarray, ordinal: int = 0):
        self.shape, self.dtype, self.ordinal, self.nbytes = array.shape, array.dtype, ordinal, array.nbytes
        with driver.on(ordinal):
            self.address = int(driver.call("cuMemAlloc", max(16, -(-array.nbytes // 16) * 16)))
        self.fill(array)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"typestr": self.dtype.str, "shape": self.shape, "strides": None, "data": (self.address, False), "version": 3}

    def fill(self, array: np.ndarray) -> None:
        """Copy an array of the same size here."""
        whole = np.ascontiguousarray(array)
        with driver.on(self.ordinal):
            driver.call("cuMemcpyHtoD", self.address, whole.ctypes.data, whole.nbytes)

    def numpy(self) -> np.ndarray:
        """A copy on the host, after all that was launched on the default stream."""
        found = np.empty(self.shape, self.dtype)
        with driver.on(self.ordinal):
            driver.call("cuMemcpyDtoH", found.ctypes.data, self.address, self.nbytes)
        return found

    def free(self) -> None:
        with driver.on(self.ordinal):
            driver.call("cuMemFree", self.address)


def milliseconds(call: Callable[[], Any], repeats: int = 50, stream: int = 0, ordinal: int = 0) -> float:
    """The median time of what a call launches on the stream, by the GPU's own clock, with its L2 cache swept before each.

    The sweep takes longer than a launch does on the host, so launches wait in the queue and the gaps between them are not counted.
    """
    with driver.on(ordinal):
        size = 2 * driver.cache_bytes(ordinal)
        sweep = driver.call("cuMemAlloc", size)
        events = [(driver.call("cuEventCreate", 0), driver.call("cuEventCreate", 0)) for _ in range(repeats)]
        try:
            call()
            for start, end in events:
                driver.call("cuMemsetD8Async", sweep, 0, size, stream)
                driver.call("cuEventRecord", start, stream)
                call()
                driver.call("cuEventRecord", end, stream)
            driver.call("cuStreamSynchronize", stream)
            return statistics.median(float(driver.call("cuEventElapsedTime", start, end)) for start, end in events)
        finally:
            for event in (e for pair in events for e in pair):
                driver.call("cuEventDestroy", event)
            driver.call("cuMemFree", sweep)
