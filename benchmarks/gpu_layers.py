"""How fast the linear layer is on large shapes: the tasks "layer: ..." of `make gpu`, for every number of rows, and what others need for the same.

Everything is made on the GPU by repeating blocks of random bits, which are weights like any: the host has none of the work. Some columns of every
result are checked against float64. The L2 cache is swept before each repetition.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import gpu_peers
import numpy as np
from gpu_linear import tried
from gpu_peers import fastest, measured

import tilec as tc
from tilec import f16
from tilec.backend import driver
from tilec.backend.timing import milliseconds
from tilec.compiler import load_kernel, relative_norm
from tilec.kernels.linear import Linear, call
from tilec.kernels.pack import packing
from tilec.quant import quantize_linear

Task = Callable[[], dict[str, Any]]

SHAPES = [(8192, 8192), (8192, 57344), (28672, 8192)]  # K, N
ROWS = [1, 16, 256, 4096]
GROUPS = [128, None]  # rows that share a scale; None: a channel
TYPES = ["int8", "int4", "float6_e3m2", "int3", "int2", "int1"]
MORE = ["int7", "int6", "int5"]  # on the first shape, for one row
COPIED = 1 << 30
TILES = 1021  # of random weights, then they come again
CHECKED = 16  # rows, and 32 columns, that are compared


def tasks() -> dict[str, Task]:
    """By name: few rows first, so that a short run has them, and humming last, which takes its time to compile, but for what it is known for."""
    made: dict[str, Task] = {"layer: copy": copy}
    for m in ROWS:
        for k, n in SHAPES:
            shape = f"{m}x{n}x{k}"
            made[f"layer: torch f16 {shape}"] = functools.partial(gpu_peers.torch_f16, m, n, k)
            if m == ROWS[-1]:
                made[f"layer: tilec f16 {shape}"] = functools.partial(plain, m, n, k)
            for name, group in cases(m, k, n):
                made[f"layer: {name} {shape}{gpu_peers.of(group)}"] = functools.partial(timed, name, m, n, k, group)
            for group in GROUPS:
                made[f"layer: triton int4 {shape}{gpu_peers.of(group)}"] = functools.partial(gpu_peers.triton_int4, m, n, k, group)
        if m == ROWS[0]:
            made |= {name: task for name, task in of_humming(m, *SHAPES[0]) if "groups" in name}
    return made | {name: task for m in ROWS for shape in SHAPES for name, task in of_humming(m, *shape)}


def of_humming(m: int, k: int, n: int) -> Iterator[tuple[str, Task]]:
    """Its products for a shape; with scales of channels for one row alone."""
    for name, group in cases(m, k, n):
        if group or m == ROWS[0]:
            yield f"layer: humming {name} {m}x{n}x{k}{gpu_peers.of(group)}", functools.partial(gpu_peers.humming, name, m, n, k, group)


def cases(m: int, k: int, n: int) -> Iterator[tuple[str, int | None]]:
    """Types and groups for a shape."""
    more = MORE if m == 1 and (k, n) == SHAPES[0] else []
    return ((name, group) for name in [*TYPES, *more] for group in GROUPS)


class Memory:
    """Memory of the GPU, `count` elements of a type of NumPy's, which speaks the CUDA array interface."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, address: int | None = None):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.nbytes = math.prod(shape) * self.dtype.itemsize
        self.address = int(driver.call("cuMemAlloc", max(16, self.nbytes))) if address is None else address

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"typestr": self.dtype.str, "shape": self.shape, "strides": None, "data": (self.address, False), "version": 3}

    def reshape(self, *shape: int) -> Memory:
        """The same memory in another shape."""
        return Memory(shape, self.dtype, self.address)

    def repeat(self, block: np.ndarray) -> Memory:
        """Fill it with a block over and over: copied once, then doubled."""
        whole = np.ascontiguousarray(block).view(np.uint8).reshape(-1)[: self.nbytes]
        driver.call("cuMemcpyHtoD", self.address, whole.ctypes.data, whole.nbytes)
        done = whole.nbytes
        while done < self.nbytes:
            size = min(done, self.nbytes - done)
            driver.call("cuMemcpyDtoD", self.address + done, self.address, size)
            done += size
        return self

    def bytes(self, value: int) -> Memory:
        """Set every byte."""
        driver.call("cuMemsetD8", self.address, value, self.nbytes)
        return self

    def first(self, rows: int) -> np.ndarray:
        """The first rows, on the host."""
        found = np.empty((min(rows, self.shape[0]), *self.shape[1:]), self.dtype)
        driver.call("cuMemcpyDtoH", found.ctypes.data, self.address, found.nbytes)
        return found

    def free(self) -> None:
        driver.call("cuMemFree", self.address)


class Library:
    """Memory for a layer's kernel, and what forms ask about the GPU; see `tilec.kernels.libraries`."""

    def __init__(self) -> None:
        self.multiprocessors, self.shared = (driver.attribute(name) for name in ("MULTIPROCESSOR_COUNT", "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"))
        self.held: list[Memory] = []

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Memory:
        self.held.append(Memory(shape, dtype))
        return self.held[-1]

    def workspace(self, sums: int, turns: int) -> tuple[Memory, Memory]:
        return self.memory((sums,), np.float32), self.memory((turns,), np.int32).bytes(0)

    def sums(self, shape: tuple[int, ...]) -> Memory:
        return self.memory(shape, np.float32)

    def shaped(self, memory: Memory, shape: tuple[int, ...]) -> Memory:
        return memory.reshape(*shape)

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: Any) -> None:
        for memory in self.held:
            memory.free()


def copy() -> dict[str, Any]:
    """What the memory can do: bytes read and written by the driver's own copy."""
    with driver.on(0), Library() as library:
        a, b = (library.memory((COPIED,), np.uint8).bytes(1) for _ in range(2))
        ms = milliseconds(lambda: driver.call("cuMemcpyDtoDAsync", b.address, a.address, COPIED, 0), repeats=20)
    return {"right": True, "maker": "copy", "ms": ms, "gb_per_s": 2 * COPIED / ms / 1e6}


def timed(name: str, m: int, n: int, k: int, group: int | None) -> dict[str, Any]:
    """A product in the forms that are worth a try; bytes are those of weights and scales."""
    rng, kind = np.random.default_rng(), tc.packed(name)
    small = Linear(quantize_linear(rng.standard_normal((32, 2 * (group or 128))), name, group))
    recipe = small.recipe._replace(n=n, k=k, group=group or math.ceil(k / 128) * 128)
    with driver.on(0), Library() as library:
        words = rng.integers(0, 1 << 32, (TILES, 128 * kind.bits), np.uint32)
        grid = kind.tiles((k, n))
        x = random_rows(rng, m * k)
        channel = rng.uniform(0.5, 1.0, n).astype(np.float32)
        scales = rng.uniform(0.5, 1.0, 8191).astype(np.float16) * np.float16(2.0**-9)
        groups = math.ceil(k / group) if group else 1
        y = library.memory((m, n), f16.numpy)
        held = {
            "w": tc.tensor(library.memory((math.prod(grid) * 128 * kind.bits,), np.uint32).repeat(words), kind, (k, n)),
            "scales": library.memory((groups, n), np.float16).repeat(scales), "zeros": library.memory((1, n), np.float16).bytes(0),
            "channel": library.memory((n,), np.float32).repeat(channel), "bias": library.memory((n,), np.float32).bytes(0),
        }  # fmt: skip
        rows = library.memory((m, k), np.float16).repeat(x)
        forms, key = tried(recipe, m, library.multiprocessors, library.shared)
        across = int(rng.integers(grid[1]))
        columns = slice(32 * across, min(n, 32 * across + 32))
        w = kind.decode(kind.codes_of(words[(np.arange(grid[0]) * grid[1] + across) % TILES][:, None])[:k, : columns.stop - columns.start])
        if group:
            place = (np.arange(groups)[:, None] * n + np.arange(n)[columns]) % len(scales)
            w = w * np.repeat(scales[place].astype(np.float64), group, axis=0)[:k]
        checked = min(m, CHECKED)
        expected = np.resize(x, (checked, k)).astype(np.float64) @ w * channel[columns]
        runs = {}
        for how in forms:
            kernel, args, constants = call(rows, y, held, recipe, library, how)
            runs[str(list(how))] = functools.partial(kernel, *args, **constants)
        found = fastest(runs, lambda: y.bytes(0xFF), lambda: relative_norm(y.first(checked)[:, columns].astype(np.float64), expected))
    read = math.prod(grid) * 512 * kind.bits + (groups * n * 2 if group else 0)
    form = json.loads(found["best"] or "null")
    return measured("tilec", m, n, k, read, found, type=name, bits=kind.bits, group=group, form=form, key=key)


def packed(name: str, k: int, n: int) -> dict[str, Any]:
    """Codes of one a byte into the words of packed weights; some columns are compared with NumPy's."""
    rng, kind = np.random.default_rng(), tc.packed(name)
    with driver.on(0), Library() as library:
        block = rng.integers(0, 1 << kind.bits, 999983, np.uint8)
        codes = library.memory((1, k, n), np.uint8).repeat(block)
        words = library.memory((kind.nbytes((k, n)) // 4,), np.uint32)
        constants = {"P": kind, "T": kind.element, "U": tc.dtype(f"uint{kind.bits}")}
        run = functools.partial(packing, codes, tc.tensor(words, kind, (1, k, n)), **constants)
        rows = block[(np.arange(min(k, 128))[:, None] * n + np.arange(n)) % len(block)]
        wanted = kind.words(rows).reshape(-1)
        found = fastest({"packing": run}, lambda: words.bytes(0xCD), lambda: float((words.first(wanted.size) != wanted).any()))
    return {**found, "gb_per_s": (codes.nbytes + words.nbytes) / found["ms"] / 1e6 if found["ms"] else None}


def random_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    """Activations, of which the same come again after a while: a prime number of them, so that rows differ."""
    return rng.standard_normal(min(count, 999983)).astype(np.float16)


def plain(m: int, n: int, k: int) -> dict[str, Any]:
    """tilec's own product in f16, in a few configurations."""
    rng, kernel = np.random.default_rng(), load_kernel(f"{gpu_peers.EXAMPLES / 'matmul_plain'}.py:matmul_plain")
    with driver.on(0), Library() as library:
        x, w = random_rows(rng, m * k), random_rows(rng, k * n)
        y = library.memory((m, n), np.float16)
        args = library.memory((m, k), np.float16).repeat(x), library.memory((k, n), np.float16).repeat(w), y
        runs = {
            f"{warps} warps {constants}": functools.partial(kernel if warps == 4 else kernel.of_warps(warps), *args, **constants)
            for warps, constants in ((4, {}), (8, {"bm": 128, "bn": 256}), (8, {"bm": 128, "bn": 128, "stages": 4}))
        }
        checked, columns = min(m, CHECKED), np.arange(min(n, 32))
        right = np.resize(x, (checked, k)).astype(np.float64) @ w[(np.arange(k)[:, None] * n + columns) % len(w)].astype(np.float64)
        found = fastest(runs, lambda: y.bytes(0xFF), lambda: relative_norm(y.first(checked)[:, columns].astype(np.float64), right))
    return measured("tilec f16", m, n, k, 2 * k * n, found)
