"""Launching: from a call's arguments to the driver, in a few microseconds.

For each kernel, its constants and the kinds of its arrays, a function is written in Python source that does the usual launch in a straight
line: it reads the arrays, checks them, computes the grid, packs the parameters into memory made before, and calls the driver, once.
Nothing is allocated on the GPU and nobody waits, so it can be recorded into a CUDA graph. Whatever is not as usual (a check that
fails, another kind of array, arrays of the host, the first call) goes `carefully`, which does the same with all errors told.

The source is written by `tilec.quick`.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tilec.arguments import Arguments, check_apart, machine_arguments, take_back, writeable
from tilec.backend import driver
from tilec.errors import Code, TileError, presented, require
from tilec.ir import arrays, hosttext
from tilec.ir.arrays import DeviceArray
from tilec.ir.core import Value
from tilec.ir.dtypes import bf16
from tilec.ir.interp import GRID_LIMITS
from tilec.ir.tensor import Tensor
from tilec.ir.types import TensorType, TileType
from tilec.quick import MISSING, fast, kind_of

Load = Callable[[int, tuple[tuple[str, int], ...]], driver.Kernel]


class Launcher:
    """Launches one kernel, constants given: `launch(stream, *args)` as it is at present, fast for the arrays of the last call.

    `params` are those of the machine code, `description` is what `ir.describe` says; `load(device, multiples)` gives the kernel on a GPU,
    made for dimensions that are multiples as stated. Threads may share it.
    """

    def __init__(self, params: Sequence[Value], description: dict[str, Any], load: Load):
        self.name, self.params, self.description, self.load = description["name"], tuple(params), description, load
        self.own = [p for p, about in zip(params, description["parameters"], strict=True) if about["kind"] in ("tensor", "scalar")]
        self.tensors = [p for p in self.own if isinstance(p.type, TensorType)]
        self.written = {about["name"] for about in description["parameters"] if about.get("written")}
        self.multiples = tuple(description.get("multiples", {}).items())
        self.read_ahead = description.get("read_ahead", [])
        self.threads = description["threads"]
        self.packing = Packing(p.type for p in self.params)
        self.pool = [self.packing.room()]  # each launch takes one and gives it back: so many as threads launch at once
        self.kernels: dict[int, driver.Kernel] = {}
        self.variants: dict[int, tuple[Any, int]] = {}  # function and shared bytes, by device and multiples
        self.alone = driver.count() == 1  # so that nobody asks which GPU it is
        self.lock = threading.Lock()
        self.made: dict[tuple[Any, ...], Callable[..., None]] = {}  # by the kinds of arrays
        self.launch: Callable[..., None] = self.carefully

    # the careful way

    @presented
    def carefully(self, stream: Any, *args: Any) -> None:
        """Check, load if need be, launch, and make the fast function for such arguments. Raises TileError."""
        handle = stream_of(stream, args)
        plain = self.plainly(args, handle)
        changed = any(a is not b for a, b in zip(plain, args, strict=True))
        launch = self.made.get(tuple(map(kind_of, plain))) if changed else None
        if launch:
            launch(handle, *plain)
        else:
            self._carefully(handle, plain, True)

    @presented
    def prepare(self, stream: Any, *args: Any) -> None:
        """All but the launch."""
        handle = stream_of(stream, args)
        self._carefully(handle, self.plainly(args, handle), False)

    def plainly(self, args: tuple[Any, ...], stream: int) -> tuple[Any, ...]:
        """Arguments as the fast function knows them, where they can be."""
        return tuple(plain(a, p.type, stream) for a, p in zip(args, self.own, strict=True))

    def _carefully(self, handle: int, args: tuple[Any, ...], launch: bool) -> None:
        missing = [p.name for p, a in zip(self.own, args, strict=True) if a is MISSING]
        require(not missing, f"{self.name} lacks {'the argument' if len(missing) == 1 else 'arguments'} {', '.join(missing)}", code=Code.CALL)
        bound = Arguments(self, dict(zip((p.name for p in self.own), args, strict=True)), handle)
        device = self.place(bound)
        check_apart(bound.tensors, self.read_ahead)
        scalars = bound.scalars()
        grid = self.evaluate(scalars)
        kernel = self.kernel(driver.current() if device is None else device, scalars, handle)
        if device is None:
            self._on_copies(kernel, grid, bound, handle, launch)
            return
        if launch and 0 not in grid:
            for array in bound.tensors.values():
                waited = array.stream if isinstance(array, DeviceArray) else None
                if waited is not None and (waited or arrays.LEGACY) != (handle or arrays.LEGACY):
                    driver.let_wait(handle, waited)
            self._enqueue(kernel, grid, bound, scalars, handle)
        self._quicken(args)

    def place(self, bound: Arguments) -> int | None:
        """The number of the GPU that holds the arrays; None for the host. They lie together, aligned, with room to be written."""
        where: dict[str, int | None] = {}
        for p in self.tensors:
            array = bound.tensors[p.name]
            changed = p.name in self.written
            require(
                writeable(array) or not changed,
                f"{p.name} is written by the kernel, but the array given is read-only",
                hint="pass a copy",
                code=Code.ARRAY_MEMORY,
            )
            where[p.name] = device_of(array, self.alone)
            if where[p.name] is None:
                continue
            self._alignment(p, array.address)  # type: ignore[union-attr]
            if changed and p.type.dtype.bits % 8:
                whole = isinstance(array, Tensor) and array.whole_words
                hint = f"make the buffer {-(-array.nbytes // 4) * 4} bytes long"
                require(whole, f"{p.name} is packed and written in words of 32 bits, but its buffer ends within one", hint=hint, code=Code.ARRAY_MEMORY)
        if not where:
            return driver.current()
        (first, place), *others = where.items()
        for name, other in others:
            if other != place:
                spots = [f"{n} lies {'in host memory' if d is None else f'on GPU {d}'}" for n, d in ((first, place), (name, other))]
                raise TileError(
                    f"{' and '.join(spots)}, but a kernel takes its arrays from one place", hint="move them to the same GPU", code=Code.ARRAY_MEMORY
                )
        return place

    def _alignment(self, p: Value, address: int) -> None:
        if address % 16:
            hint = "pass a copy, as a slice may begin anywhere: x.clone()"
            raise TileError(f"{p.name} begins at {address:#x}, which is no multiple of 16 bytes", hint=hint, code=Code.ARRAY_MEMORY)

    def evaluate(self, scalars: dict[str, Any]) -> tuple[int, ...]:
        """The grid, assumptions checked. Raises TileError with the values that break them."""
        known = {p.name: Packing.rounded(scalars[p.name], p.type) for p in self.params if p.name in scalars}
        for text in self.description["assumptions"]:
            if not hosttext.evaluate(text, known):
                values = ", ".join(f"{n} is {known[n]}" for n in known if n in hosttext.names(text))
                hint = self.description.get("hints", {}).get(text, "pass other sizes, or drop the kernel's tc.assume")
                raise TileError(f"{self.name}: the assumption {text} does not hold: {values}", hint=hint)
        grid = tuple(int(hosttext.evaluate(text, known)) for text in self.description["grid"])
        for axis, (extent, limit) in enumerate(zip(grid, GRID_LIMITS, strict=False)):
            require(0 <= extent <= limit, f"the grid has {extent} blocks along axis {axis}, not 0 to {limit}")
        return grid

    def key(self, device: int, scalars: dict[str, Any]) -> int:
        """Which variant serves: a bit for each dimension that is a multiple as wanted, and the device above them."""
        bits = sum((scalars[name] % n == 0) << i for i, (name, n) in enumerate(self.multiples))
        return device << len(self.multiples) | bits

    def kernel(self, device: int, scalars: dict[str, Any], stream: int) -> driver.Kernel:
        """The variant that serves, loaded if it is not yet."""
        key = self.key(device, scalars)
        with self.lock:
            if key not in self.kernels:
                hint = f"call {self.name}.prepare(...) with such arguments before"
                require(not driver.capturing(stream), f"{self.name} is not loaded yet, and can't be while a CUDA graph is captured", hint=hint)
                self.kernels[key] = made = self.load(device, tuple(m for i, m in enumerate(self.multiples) if key >> i & 1))
                self.variants[key] = made.function, made.shared
            return self.kernels[key]

    def _on_copies(self, kernel: driver.Kernel, grid: tuple[int, ...], bound: Arguments, stream: int, launch: bool) -> None:
        """Arrays of the host: copied to the GPU and, if written, back."""
        captured = "arrays of the host can't be copied while a CUDA graph is captured"
        require(not driver.capturing(stream), captured, hint="pass arrays that lie on the GPU")
        if launch:
            outputs = [n for n, p in enumerate(self.params) if p.name in self.written]
            held = machine_arguments(self, bound)
            kernel.launch(grid, (self.threads,), held, stream, outputs)
            take_back(self, bound, held)

    def _enqueue(self, kernel: driver.Kernel, grid: tuple[int, ...], bound: Arguments, scalars: dict[str, Any], stream: int) -> None:
        values = [bound.tensors[p.name].address if isinstance(p.type, TensorType) else scalars[p.name] for p in self.params]  # type: ignore[union-attr]
        try:
            room, address = entry = self.pool.pop()
        except IndexError:
            room, address = entry = self.packing.room()
        self.packing.fill(room, values)
        extents = [*grid, 1, 1][:3]
        launch = (kernel.function, *extents, self.threads, 1, 1, kernel.shared, stream, address, 0)
        (error,) = driver.launcher()(*launch)
        if error:
            driver.repeat(error, kernel.ordinal, *launch)
        self.pool.append(entry)

    @presented
    def failed(self, error: Any, device: int, *launch: Any) -> None:
        """The driver refused: see `driver.repeat`."""
        driver.repeat(error, device, *launch)

    # the fast way

    def _quicken(self, args: tuple[Any, ...]) -> None:
        """From now on launch such arguments by a function that is made for their kinds, if there is one."""
        kinds = tuple(kind for a in args if (kind := kind_of(a)) is not None)
        if len(kinds) < len(args) or not self.tensors:
            return
        if kinds not in self.made:
            self.made[kinds] = fast(self, kinds)
        self.launch = self.made[kinds]


def stream_of(stream: Any, args: Iterable[Any]) -> int:
    """The handle of the stream to launch on: the one given; else PyTorch's current one if an array is PyTorch's (or packed, and PyTorch is
    loaded); else the one that an array names; else the legacy default stream."""
    if stream is not None:
        return arrays.stream_handle(stream)
    for x in args:
        ordinal = x.get_device() if arrays.is_torch(x) else x.device if isinstance(x, Tensor) and arrays.torch() else None
        if ordinal is not None and ordinal >= 0:
            return int(arrays.raw_stream()(ordinal))
    named = (x.__cuda_array_interface__.get("stream") for x in args if not arrays.is_torch(x) and hasattr(x, "__cuda_array_interface__"))
    return next((int(s) for s in named if s is not None), 0)


def plain(x: Any, type: TensorType | TileType, stream: int) -> Any:
    """NumPy's numbers as Python's, integers for floats as floats, arrays that are known by DLPack alone as where they lie; else as it is."""
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, int) and not isinstance(x, bool) and isinstance(type, TileType) and type.dtype.is_float and abs(x) < 2**53:
        return float(x)
    if isinstance(x, Tensor | np.ndarray) or arrays.is_torch(x) or hasattr(x, "__cuda_array_interface__"):
        return x
    return arrays.read(x, stream) if hasattr(x, "__dlpack_device__") else x


def device_of(array: Any, alone: bool) -> int | None:
    """The number of the GPU that holds an array as `Arguments` has it; None for the host. Is there one GPU alone?"""
    if isinstance(array, DeviceArray) or (isinstance(array, Tensor) and array.device == -1):  # the protocol may not say
        known = array.device if isinstance(array, DeviceArray) else None
        return known if known is not None else 0 if alone or not array.address else driver.device_of(array.address)
    return array.device if isinstance(array, Tensor) else None


# parameters in memory

CODES = {"i": {8: "b", 16: "h", 32: "i", 64: "q"}, "u": {8: "B", 16: "H", 32: "I", 64: "Q"}, "f": {16: "e", 32: "f", 64: "d"}}


def code_of(type: TensorType | TileType) -> str:
    """How `struct` packs a parameter: as its bits where it has no such float."""
    if isinstance(type, TensorType):
        return "Q"
    t = type.dtype
    kind = "?" if t.is_bool else "u" if t == bf16 else "f" if t.is_float else "i" if t.min < 0 else "u"
    return "?" if kind == "?" else CODES[kind][t.bits]


class Packing:
    """The parameters of a launch as bytes: each at its own alignment, and an array of pointers to them, as the driver takes them."""

    def __init__(self, types: Iterable[TensorType | TileType]):
        self.types = tuple(types)
        codes = [code_of(t) for t in self.types]
        self.struct = struct.Struct("@" + "".join(codes))
        self.offsets = [struct.calcsize("@" + "".join(codes[: i + 1])) - struct.calcsize(c) for i, c in enumerate(codes)]

    def room(self) -> tuple[Any, int]:
        """Memory for the parameters of a launch, and the address of the pointers into it, which the memory keeps."""
        room = ctypes.create_string_buffer(max(self.struct.size, 1))
        pointers = (ctypes.c_void_p * max(len(self.offsets), 1))(*(ctypes.addressof(room) + o for o in self.offsets))
        room.pointers = pointers  # type: ignore[attr-defined]
        return room, ctypes.addressof(pointers)

    @staticmethod
    def bf16(value: float) -> int:
        """The code of a number in bf16."""
        return int(bf16.encode(np.asarray([value]), saturate=False)[0])

    def fill(self, room: Any, values: Sequence[Any]) -> None:
        """Pack values that have been checked, floats rounded to their types, out of range to infinity."""
        exact = [self.rounded(v, t) for v, t in zip(values, self.types, strict=True)]
        halves = [isinstance(t, TileType) and t.dtype == bf16 for t in self.types]
        self.struct.pack_into(room, 0, *(self.bf16(v) if half else v for v, half in zip(exact, halves, strict=True)))

    @staticmethod
    def rounded(value: Any, type: TensorType | TileType) -> Any:
        """A scalar as the kernel gets it; an address as it is."""
        t = type.dtype
        if isinstance(type, TensorType) or not t.is_float:
            return value
        return float(t.decode(t.encode(np.asarray([value], t.carrier), saturate=False))[0])
