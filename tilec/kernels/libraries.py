"""Whose arrays a layer is given: how results and workspaces are made of NumPy's and PyTorch's arrays, and those of other libraries on a GPU, which bring
their own memory for results.

A product whose sum over K is shared out among blocks needs memory for sums (f32) and for turns (i32, zero before and after). It is kept for each device
and stream, as products on one stream follow one another; it only grows, and what a larger one has replaced is kept too, as a captured graph may still
refer to it. While a CUDA graph is captured, it belongs to the graph: no other work can ever use it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

import tilec as tc
from tilec import DType, Tensor, bf16, f16, f32, i32, uint8
from tilec.backend import driver
from tilec.backend.timing import Buffer
from tilec.errors import TileError, require
from tilec.ir.arrays import DeviceArray, is_torch, numpy_type, raw_stream, read, stream_handle, torch, torch_name, torch_type
from tilec.kernels.forms import MULTIPROCESSORS, SHARED
from tilec.kernels.pack import array_of
from tilec.launch import device_of

LEAST_WORK, LEAST_TURNS = 1 << 20, 1 << 12  # elements of a workspace


class OfNumpy:
    """Arrays in host memory."""

    place: Any = "host"
    multiprocessors, shared = MULTIPROCESSORS, SHARED
    options: dict[str, Any] = {}  # of a launch

    def __init__(self, x: Any):
        require(isinstance(x, np.ndarray | Tensor), f"x is an array of NumPy or PyTorch, not a {type(x).__name__}")
        self.is_tensor = isinstance(x, Tensor)

    def own(self, x: Any) -> Any:
        """An array as it is worked with."""
        return x

    def kind(self, x: Any) -> DType | str:
        """The element type of an array."""
        return x.dtype if self.is_tensor else numpy_type(x.dtype)

    def rows(self, x: Any, order: Any) -> Any:
        """x [..., K] as a matrix, its columns gathered by `order`, if there is one; column K is zeros."""
        flat = (x.codes() if self.is_tensor else x).reshape(-1, x.shape[-1])
        if order is not None:
            flat = np.pad(flat, ((0, 0), (0, 1)))[:, order]
        return Tensor.from_codes(flat, x.dtype) if self.is_tensor else np.ascontiguousarray(flat)

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        """Memory for a result."""
        own = kind.computes and kind != bf16 and not self.is_tensor
        return np.empty(shape, kind.numpy) if own else Tensor.from_codes(np.zeros(shape, kind.codes), kind)

    def sums(self, shape: tuple[int, ...]) -> Any:
        """Memory f32 that is needed until the next product on the stream."""
        return np.empty(shape, np.float32)

    def workspace(self, sums: int, turns: int) -> tuple[Any, Any]:
        """f32[sums], and i32[turns] of zeros."""
        return np.empty(sums, np.float32), np.zeros(turns, np.int32)

    def room(self, size: int) -> Any:
        """Bytes where the library's arrays lie."""
        return np.empty(size, np.uint8)

    def fetch(self, a: Any) -> Any:
        """What `room` gave, on the host, once it is written."""
        return a

    def hold(self, a: Any) -> Any:
        """An array of the host where the library's arrays lie; what lies on a GPU already stays there."""
        require(not on_gpu(a), "the layer's weights lie on a GPU, and x does not")
        return a

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        """A result with its leading axes."""
        return Tensor(y.buffer, y.dtype, shape) if isinstance(y, Tensor) else y.reshape(shape)


class OfTorch:
    """Tensors of PyTorch, on its current stream."""

    workspaces: dict[tuple[Any, int], tuple[Any, Any]] = {}
    replaced: list[Any] = []
    options: dict[str, Any] = {}

    def __init__(self, x: Any):
        self.torch, self.device = torch(), x.device
        self.place = str(x.device)
        self.on_gpu = x.device.type == "cuda"
        self.multiprocessors, self.shared = capacity(self.torch, x.device) if self.on_gpu else (OfNumpy.multiprocessors, OfNumpy.shared)

    def own(self, x: Any) -> Any:
        return x

    def kind(self, x: Any) -> DType | str:
        return torch_type(x.dtype)

    def rows(self, x: Any, order: Any) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        if order is None:
            return flat.contiguous()
        held = flat.view(self.torch.uint8) if x.element_size() == 1 else flat  # not all that is done to bytes is done to numbers of 8 bits
        return self.torch.nn.functional.pad(held, (0, 1)).index_select(1, order).view(x.dtype)

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        return self.torch.empty(shape, dtype=self.type(kind), device=self.device)

    def sums(self, shape: tuple[int, ...]) -> Any:
        return self.empty(shape, f32)

    def workspace(self, sums: int, turns: int) -> tuple[Any, Any]:
        if self.on_gpu and self.torch.cuda.is_current_stream_capturing():
            return self.fresh(sums, turns)
        key = self.place, raw_stream()(self.device.index) if self.on_gpu else 0
        found = self.workspaces.get(key)
        if found is None or found[0].shape[0] < sums or found[1].shape[0] < turns:
            self.replaced += [found] if found else []
            most = [max(a.shape[0], n) for a, n in zip(found, (sums, turns), strict=True)] if found else [max(sums, LEAST_WORK), max(turns, LEAST_TURNS)]
            found = self.workspaces[key] = self.fresh(*most)
        return found[0][:sums], found[1][:turns]

    def fresh(self, sums: int, turns: int) -> tuple[Any, Any]:
        """A workspace that nothing uses."""
        made = self.torch.empty(sums, dtype=self.torch.float32, device=self.device)
        return made, self.torch.zeros(turns, dtype=self.torch.int32, device=self.device)

    def type(self, kind: DType) -> Any:
        name = torch_name(kind)
        require(name, f"this PyTorch has no type {kind}")
        return getattr(self.torch, str(name))

    def room(self, size: int) -> Any:
        return self.torch.empty(size, dtype=self.torch.uint8, device=self.device)

    def fetch(self, a: Any) -> Any:
        return a.cpu().numpy()

    def hold(self, a: Any) -> Any:
        """Types that PyTorch lacks are bytes with a type of ours."""
        if on_gpu(a):
            return a
        if isinstance(a, np.ndarray):
            return self.torch.from_numpy(a).to(self.device)
        data = self.torch.from_numpy(a.bytes.copy()).to(self.device)
        return data.view(self.type(a.dtype)).reshape(a.shape) if a.dtype in (f16, bf16, f32) else tc.tensor(data, a.dtype, a.shape)

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        return y.reshape(shape)


@cache
def capacity(torch: Any, device: Any) -> tuple[int, int]:
    """Multiprocessors of a GPU, and bytes of shared memory that a block may have."""
    found = torch.cuda.get_device_properties(device)
    return found.multi_processor_count, getattr(found, "shared_memory_per_block_optin", SHARED)


class OfDevice:
    """Arrays on a GPU that know no PyTorch: the CUDA array interface, DLPack, or a `Tensor` over such. Results are given, and what else is needed is
    the driver's own memory, kept for each stream as PyTorch's is; while a graph is captured it can't be made, so a call goes before the capture."""

    kept: dict[Any, Tensor] = {}
    replaced: list[Any] = []

    def __init__(self, x: Any, stream: Any = None):
        array = self.own(x).buffer
        require(isinstance(array, DeviceArray), f"x is an array of NumPy or PyTorch, or one on a GPU, not a {type(x).__name__}")
        self.device: int = device_of(array, driver.count() == 1)  # type: ignore[assignment]
        self.place = f"gpu:{self.device}"
        self.stream = stream_handle(stream) if stream is not None else array.stream or 0
        self.options = {"stream": self.stream}
        names = ("MULTIPROCESSOR_COUNT", "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")
        self.multiprocessors, self.shared = (driver.attribute(name, self.device) for name in names)

    def own(self, x: Any) -> Tensor:
        return x if isinstance(x, Tensor) else array_of(x)

    def kind(self, x: Any) -> DType | str:
        return self.own(x).dtype

    def rows(self, x: Any, order: Any) -> Any:
        hint = "make the layer without an order, and pass it x[..., order]"
        require(order is None, "a weight with an order gathers activations, which PyTorch or NumPy would do", hint=hint)
        return self.shaped(x, (math.prod(x.shape[:-1]), x.shape[-1]))

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        raise TileError("memory for results on a GPU is made by PyTorch, or given", hint="pass an array of your library: layer(x, out=y)")

    def workspace(self, sums: int, turns: int) -> tuple[Any, Any]:
        return self.memory("sums", (sums,), f32, LEAST_WORK), self.memory("turns", (turns,), i32, LEAST_TURNS)

    def sums(self, shape: tuple[int, ...]) -> Any:
        return self.memory("rows", shape, f32, LEAST_TURNS)

    def memory(self, name: str, shape: tuple[int, ...], kind: DType, least: int) -> Tensor:
        """Memory of the stream's, zero at first; it only grows, and what a larger one has replaced is kept too."""
        key, size = (self.place, self.stream, name), math.prod(shape)
        found = self.kept.get(key)
        if found is None or found.size < size:
            self.replaced += [found] if found else []
            found = self.kept[key] = self.hold(np.zeros(max(size, least), kind.numpy))
        return Tensor(found.buffer, kind, shape)

    def room(self, size: int) -> Any:
        return self.hold(np.zeros(size, np.uint8)).buffer

    def fetch(self, a: Any) -> Any:
        with driver.on(self.device):
            driver.call("cuStreamSynchronize", self.stream)
            found = np.empty(a.nbytes, np.uint8)
            driver.call("cuMemcpyDtoH", found.ctypes.data, a.address, a.nbytes)
        return found

    def hold(self, a: Any) -> Any:
        if on_gpu(a):
            return a
        made = Buffer(a.bytes if isinstance(a, Tensor) else np.ascontiguousarray(a), self.device)
        where = DeviceArray(made.address, uint8, (made.nbytes,), (1,), 1, self.device, owner=made)
        return Tensor(where, a.dtype if isinstance(a, Tensor) else numpy_type(a.dtype), a.shape)

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        held = self.own(y)
        return Tensor(held.buffer, held.dtype, shape)


Library = OfNumpy | OfTorch | OfDevice


def on_gpu(a: Any) -> bool:
    """Whether it is a tensor over memory of a GPU."""
    return isinstance(a, Tensor) and a.device is not None


def library_of(x: Any, stream: Any = None) -> Library:
    """That of an array; `stream` is for one that is not PyTorch's. Raises TileError for what is no array."""
    here = isinstance(x, np.ndarray) or (isinstance(x, Tensor) and x.device is None)
    if not here and not is_torch(x) and (isinstance(x, Tensor | DeviceArray) or hasattr(x, "__cuda_array_interface__") or hasattr(x, "__dlpack_device__")):
        return OfDevice(x, stream)
    require(stream is None, "a stream is for arrays on a GPU that are not PyTorch's", hint="PyTorch's current stream is taken: with torch.cuda.stream(s)")
    return OfTorch(x) if is_torch(x) else OfNumpy(x)


def taken(out: Any, library: Library, shape: tuple[int, ...], kind: DType) -> Any:
    """Memory for a result [..., N] as a matrix: new, or `out`. Raises TileError if that does not fit."""
    matrix = (math.prod(shape[:-1]), shape[-1])
    if out is None:
        return library.empty(matrix, kind)
    other = library_of(out)
    out = other.own(out)
    require(other.place == library.place, f"out lies in {other.place}, and x in {library.place}")
    require(tuple(out.shape) == shape, f"out has shape {list(out.shape)}, but the result {list(shape)}")
    require(other.kind(out) == kind, f"out is {other.kind(out)}, but the result {kind}")
    found = read(out)
    contiguous = found.flags.c_contiguous if isinstance(found, np.ndarray) else isinstance(found, Tensor) or (found is not None and found.contiguous)
    require(contiguous, "out is not contiguous", hint="pass memory that lies row by row")
    return other.shaped(out, matrix)
