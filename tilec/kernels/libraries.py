"""Whose arrays a layer is given: how results and workspaces are made of NumPy's and PyTorch's arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tilec as tc
from tilec import DType, Tensor, bf16, f16, f32, i32
from tilec.errors import require
from tilec.ir.arrays import numpy_type, torch, torch_type


class Library:
    """Whose arrays are used: how they are made and cut."""

    place: Any = "host"
    multiprocessors = 108

    def scratch(self, held: dict[str, Any], name: str, size: int, kind: DType) -> Any:
        """Memory of at least `size` elements, full of zeros when new, kept for later calls."""
        if name not in held or held[name].shape[0] < size:
            held[name] = self.zeros(size, kind)
        return held[name]

    def cut(self, memory: Any, shape: tuple[int, ...]) -> Any:
        return memory[: math.prod(shape)].reshape(shape)

    def zeros(self, size: int, kind: DType) -> Any:
        raise NotImplementedError


class OfNumpy(Library):
    """Arrays in host memory."""

    def __init__(self, x: Any):
        require(isinstance(x, np.ndarray | Tensor), f"x is an array of NumPy or PyTorch, not a {type(x).__name__}")
        self.is_tensor = isinstance(x, Tensor)

    def kind(self, x: Any) -> DType | str:
        return x.dtype if self.is_tensor else numpy_type(x.dtype)

    def rows(self, x: Any, order: Any) -> Any:
        if self.is_tensor:
            codes = x.codes().reshape(-1, x.shape[-1])
            return Tensor.from_codes(codes if order is None else codes[:, order], x.dtype)
        flat = x.reshape(-1, x.shape[-1])
        return np.ascontiguousarray(flat if order is None else flat[:, order])

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        return Tensor.from_codes(np.zeros(shape, np.uint16), kind) if self.is_tensor or kind == bf16 else np.empty(shape, kind.numpy)

    def zeros(self, size: int, kind: DType) -> Any:
        return np.zeros(size, kind.numpy)

    def hold(self, a: Any) -> Any:
        return a

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        return Tensor(y.buffer, y.dtype, shape) if isinstance(y, Tensor) else y.reshape(shape)


class OfTorch(Library):
    """Tensors of PyTorch, on its current stream."""

    def __init__(self, x: Any):
        self.torch, self.device = torch(), x.device
        self.place = str(x.device)
        if x.device.type == "cuda":
            self.multiprocessors = self.torch.cuda.get_device_properties(x.device).multi_processor_count

    def kind(self, x: Any) -> DType | str:
        return torch_type(x.dtype)

    def rows(self, x: Any, order: Any) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        return flat.contiguous() if order is None else flat.index_select(1, self.order(order))

    def order(self, order: Any) -> Any:
        return self.torch.as_tensor(order, device=self.device)

    def empty(self, shape: tuple[int, ...], kind: DType) -> Any:
        return self.torch.empty(shape, dtype=self.type(kind), device=self.device)

    def zeros(self, size: int, kind: DType) -> Any:
        return self.torch.zeros(size, dtype=self.type(kind), device=self.device)

    def type(self, kind: DType) -> Any:
        return {f16: self.torch.float16, bf16: self.torch.bfloat16, f32: self.torch.float32, i32: self.torch.int32}[kind]

    def hold(self, a: Any) -> Any:
        """An array of the host on the device; types that PyTorch lacks as bytes with a type of ours."""
        if isinstance(a, np.ndarray):
            return self.torch.from_numpy(a).to(self.device)
        data = self.torch.from_numpy(a.bytes.copy()).to(self.device)
        if a.dtype in (f16, bf16, f32):
            return data.view(self.type(a.dtype)).reshape(a.shape)
        return tc.tensor(data, a.dtype, a.shape)

    def shaped(self, y: Any, shape: tuple[int, ...]) -> Any:
        return y.reshape(shape)
