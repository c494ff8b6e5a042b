"""Whose arrays a layer is given: how results and workspaces are made of NumPy's and PyTorch's arrays.

A product whose sum over K is shared out among blocks needs memory for sums (f32) and for turns (i32, zero before and after). It is kept for each device
and stream, as products on one stream follow one another; it only grows, and what a larger one has replaced is kept too, as a captured graph may still
refer to it. While a CUDA graph is captured, it belongs to the graph: no other work can ever use it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import tilec as tc
from tilec import DType, Tensor, bf16, f16, f32, i32
from tilec.errors import require
from tilec.ir.arrays import is_torch, numpy_type, raw_stream, torch, torch_type
from tilec.kernels.forms import MULTIPROCESSORS, SHARED

LEAST_WORK, LEAST_TURNS = 1 << 20, 1 << 12  # elements of a workspace


class OfNumpy:
    """Arrays in host memory."""

    place: Any = "host"
    multiprocessors, shared = MULTIPROCESSORS, SHARED

    def __init__(self, x: Any):
        require(isinstance(x, np.ndarray | Tensor), f"x is an array of NumPy or PyTorch, not a {type(x).__name__}")
        self.is_tensor = isinstance(x, Tensor)

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
        return Tensor.from_codes(np.zeros(shape, np.uint16), kind) if self.is_tensor or kind == bf16 else np.empty(shape, kind.numpy)

    def workspace(self, sums: int, turns: int) -> tuple[Any, Any]:
        """f32[sums], and i32[turns] of zeros."""
        return np.empty(sums, np.float32), np.zeros(turns, np.int32)

    def hold(self, a: Any) -> Any:
        """An array of the host where the library's arrays lie."""
        return a

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        """A result with its leading axes."""
        return Tensor(y.buffer, y.dtype, shape) if isinstance(y, Tensor) else y.reshape(shape)


class OfTorch:
    """Tensors of PyTorch, on its current stream."""

    workspaces: dict[tuple[Any, int], tuple[Any, Any]] = {}
    replaced: list[Any] = []

    def __init__(self, x: Any):
        self.torch, self.device = torch(), x.device
        self.place = str(x.device)
        self.on_gpu = x.device.type == "cuda"
        self.multiprocessors, self.shared = capacity(self.torch, x.device) if self.on_gpu else (OfNumpy.multiprocessors, OfNumpy.shared)

    def kind(self, x: Any) -> DType | str:
        return torch_type(x.dtype)

    def rows(self, x: Any, order: Any) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        return flat.contiguous() if order is None else self.torch.nn.functional.pad(flat, (0, 1)).index_select(1, order)

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        return self.torch.empty(shape, dtype=self.type(kind), device=self.device)

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
        return {f16: self.torch.float16, bf16: self.torch.bfloat16, f32: self.torch.float32, i32: self.torch.int32}[kind]

    def hold(self, a: Any) -> Any:
        """Types that PyTorch lacks are bytes with a type of ours."""
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


Library = OfNumpy | OfTorch


def library_of(x: Any) -> Library:
    """That of an array. Raises TileError for what is none."""
    return OfTorch(x) if is_torch(x) else OfNumpy(x)
