"""Layers of PyTorch with weights of few bits: `QuantLinear`, and the operator `torch.ops.tilec.linear` beneath it.

    layer = QuantLinear.from_linear(model.up, "int4", 128).to("cuda")
    y = layer(x)                                         # eager, compiled by torch.compile, exported, or captured in a CUDA graph

Inference only: there is no gradient. On the CPU tilec's interpreter computes, for trying things out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import tilec as tc
from tilec.errors import TileError, presented, require
from tilec.ir.arrays import torch_type
from tilec.kernels import linear as kernels
from tilec.kernels.libraries import OfTorch
from tilec.quant import Quantized, quantize_linear

try:
    import torch
except ImportError:
    raise TileError("tilec.torch needs PyTorch, which is not installed", hint="pip install torch") from None

__all__ = ["QuantLinear"]


@torch.library.custom_op("tilec::linear", mutates_args=())
def linear(
    x: torch.Tensor, w: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, channel: torch.Tensor, bias: torch.Tensor,
    order: torch.Tensor | None, recipe: str,
) -> torch.Tensor:  # fmt: skip
    """x W^T + b: x [..., K], the tensors of a layer (`tilec.kernels.linear`), w as bytes; `recipe` is a `Recipe` as JSON."""
    made, library = read(recipe), OfTorch(x)
    words = tc.tensor(w, tc.dtype(made.W), (made.k, made.n))
    held = {"w": words, "scales": scales, "zeros": zeros, "channel": channel, "bias": bias}
    return kernels.product(x, held if order is None else {**held, "order": order}, made, library)


@linear.register_fake
def _(x: Any, w: Any, scales: Any, zeros: Any, channel: Any, bias: Any, order: Any, recipe: str) -> Any:
    return x.new_empty((*x.shape[:-1], read(recipe).n))


@cache
def read(recipe: str) -> kernels.Recipe:
    return kernels.Recipe(**json.loads(recipe))


class QuantLinear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer with weights of few bits: x [..., inputs] in `dtype` (torch.float16 or torch.bfloat16) to [..., outputs].

    `weight` is a `tilec.quant.Quantized` [outputs, inputs], `bias` [outputs] or None. The buffers are what the kernel reads, weights packed;
    `state_dict` has them all, and what is loaded takes the place of them whatever their shapes were. `to`, `cuda` and `cpu` move the layer; its
    types stay as they are, as `dtype` belongs to the packing.

    Raises TileError for shapes and types that do not fit.
    """

    BUFFERS = (*kernels.TENSORS, "order")

    @presented
    def __init__(self, weight: Quantized, bias: Any = None, dtype: torch.dtype = torch.float16):
        super().__init__()
        if isinstance(bias, torch.Tensor):
            bias = bias.detach().double().cpu().numpy()
        to = torch_type(dtype)
        require(isinstance(to, tc.DType), f"activations are torch.float16 or torch.bfloat16, not {dtype}")
        layer = kernels.Linear(weight, bias, to)  # type: ignore[arg-type]
        host, (self.out_features, self.in_features) = OfTorch(torch.empty(0)), weight.shape
        self.recipe, self.dtype = json.dumps(layer.recipe._asdict()), dtype
        for name in self.BUFFERS:
            array: Any = layer.arrays.get(name)
            self.register_buffer(name, torch.from_numpy(array.bytes.copy()) if name == "w" else None if array is None else host.hold(array))

    @classmethod
    @presented
    def from_linear(
        cls, layer: torch.nn.Linear, dtype: tc.DType | str = "int4", group: int | None = 128, *, to: torch.dtype | None = None, **options: Any
    ) -> QuantLinear:
        """A layer with the weights of an `nn.Linear` in `dtype`, by `tilec.quant.quantize_linear`, which takes the `options`. `to` is the type of
        the activations, the layer's own if it is torch.float16 or torch.bfloat16, else torch.float16. The result is on the layer's device."""
        w = layer.weight.detach()
        kept = w.dtype if w.dtype in (torch.float16, torch.bfloat16) else torch.float16
        q = quantize_linear(np.asarray(w.double().cpu().numpy()), dtype, group, **options)
        return cls(q, layer.bias, to or kept).to(w.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            presented(kernels.check)(tuple(x.shape), torch_type(x.dtype), self.in_features, torch_type(self.dtype))  # type: ignore[arg-type]
        return torch.ops.tilec.linear(x, self.w, self.scales, self.zeros, self.channel, self.bias, self.order, self.recipe)

    def extra_repr(self) -> str:
        made = read(self.recipe)
        return f"{self.in_features}, {self.out_features}, {made.W}, scales on {made.on}"

    def get_extra_state(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "in_features": self.in_features}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.recipe, self.in_features = state["recipe"], state["in_features"]
        made = read(self.recipe)
        self.out_features, self.dtype = made.n, {"f16": torch.float16, "bf16": torch.bfloat16}[made.X]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """As that of every module, but buffers take the shapes and types of what is loaded; `order` is there or not."""
        for name in self.BUFFERS:
            given, own = state_dict.get(prefix + name), getattr(self, name)
            if given is not None or name == "order":
                setattr(self, name, None if given is None else torch.empty_like(given, device=self.w.device))
            elif own is None:
                setattr(self, name, None)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> QuantLinear:
        """Moves go through; conversions do not, as the types belong to the kernel."""
        for name, buffer in self._buffers.items():
            if buffer is not None:
                changed = fn(buffer)
                self._buffers[name] = changed if changed.dtype == buffer.dtype else buffer.to(changed.device)
        return self
