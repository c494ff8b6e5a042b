"""Layers of PyTorch with weights of few bits: `QuantLinear`, and the operators `torch.ops.tilec.linear`, `rows8` and `linear8` beneath it.

    layer = QuantLinear.from_linear(model.up, "int4", 128).to("cuda")
    y = layer(x)                                         # eager, compiled by torch.compile, exported, or captured in a CUDA graph
    eight = QuantLinear.from_linear(model.up, "int4", 128, activations="int8")   # each row of x in 8 bits, with a scale of its own

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
from tilec.kernels import eight
from tilec.kernels import linear as kernels
from tilec.kernels.libraries import OfTorch
from tilec.kernels.placed import Placed, can_place, place
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


@torch.library.custom_op("tilec::rows8", mutates_args=())
def rows8(x: torch.Tensor, to: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [..., K] of x in int8 or float8_e4m3, and a scale for each row, f32[...]: `tilec.kernels.eight.rows8`."""
    return eight.rows8(x, to)


@rows8.register_fake
def _(x: Any, to: str) -> Any:
    return x.new_empty(x.shape, dtype=OfTorch(torch.empty(0)).type(tc.dtype(to))), x.new_empty(x.shape[:-1], dtype=torch.float32)


@torch.library.custom_op("tilec::linear8", mutates_args=())
def linear8(
    x: torch.Tensor, rows: torch.Tensor, w: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, channel: torch.Tensor, bias: torch.Tensor,
    order: torch.Tensor | None, recipe: str,
) -> torch.Tensor:  # fmt: skip
    """rows * (x W^T) + b: x [..., K] and rows as `rows8` makes them; the rest as for `linear`, but `recipe` is a `Recipe8`."""
    made = read(recipe)
    held = {"w": tc.tensor(w, tc.dtype(made.W), (made.k, made.n)), "scales": scales, "zeros": zeros, "channel": channel, "bias": bias}
    assert isinstance(made, eight.Recipe8)
    return eight.product8(x, rows, held if order is None else {**held, "order": order}, made, OfTorch(x))


@linear8.register_fake
def _(x: Any, rows: Any, w: Any, scales: Any, zeros: Any, channel: Any, bias: Any, order: Any, recipe: str) -> Any:
    made = read(recipe)
    return x.new_empty((*x.shape[:-1], made.n), dtype=OfTorch(torch.empty(0)).type(tc.dtype(made.out)))


@cache
def read(recipe: str) -> Any:
    """A `Recipe`, or a `Recipe8`, from JSON."""
    found = json.loads(recipe)
    return (eight.Recipe8 if "to" in found else kernels.Recipe)(**found)


class QuantLinear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer with weights of few bits: x [..., inputs] in `dtype` (torch.float16 or torch.bfloat16) to [..., outputs].

    With `activations`, "int8" or "e4m3" (torch.int8 or torch.float8_e4m3fn), the layer brings each row of x into 8 bits, with a scale of its own, and
    multiplies by `tilec.kernels.eight.Linear8`; `dtype` may be torch.float32 then, too.

    `weight` is a `tilec.quant.Quantized` [outputs, inputs], `bias` [outputs] or None. The buffers are what the kernel reads, weights packed;
    `state_dict` has them all, and `_extra_state`, a dict; what is loaded takes the place of them whatever their shapes were. `to`, `cuda` and `cpu`
    move the layer; its types stay as they are, as `dtype` belongs to the packing.

    Raises TileError for shapes and types that do not fit.
    """

    BUFFERS = (*kernels.TENSORS, "order")

    @presented
    def __init__(
        self, weight: Quantized | Placed, bias: Any = None, dtype: torch.dtype = torch.float16, activations: tc.DType | torch.dtype | str | None = None
    ):
        super().__init__()
        if isinstance(bias, torch.Tensor):
            bias = bias.detach().double().cpu().numpy()
        to = torch_type(dtype)
        require(isinstance(to, tc.DType), f"activations are torch.float16 or torch.bfloat16, not {dtype}")
        by = of_8_bits(activations)
        layer = kernels.Linear(weight, bias, to) if by is None else eight.Linear8(weight, bias, by, to)  # type: ignore[arg-type]
        host, (self.out_features, self.in_features) = OfTorch(torch.empty(0)), weight.shape
        self.recipe, self.dtype = json.dumps(layer.recipe._asdict()), dtype
        self.activations = None if by is None else str(by)
        for name in self.BUFFERS:
            array: Any = layer.arrays.get(name)
            self.register_buffer(name, words(array) if name == "w" else None if array is None else host.hold(array))

    @classmethod
    @presented
    def from_linear(
        cls, layer: torch.nn.Linear, dtype: tc.DType | str = "int4", group: int | None = 128, *, to: torch.dtype | None = None,
        activations: tc.DType | torch.dtype | str | None = None, **options: Any,
    ) -> QuantLinear:  # fmt: skip
        """A layer with the weights of an `nn.Linear` in `dtype`, by `tilec.quant.quantize_linear`, which takes the `options`. `to` is the type of
        the activations, the layer's own if it is torch.float16 or torch.bfloat16, else torch.float16. The result is on the layer's device; weights on a
        GPU are quantized there, by a kernel, to the same numbers, unless there are options."""
        w = layer.weight.detach()
        kept = w.dtype if w.dtype in (torch.float16, torch.bfloat16) else torch.float16
        by = of_8_bits(activations)
        computed = torch_type(to or kept) if by is None else where_packed(tc.dtype(dtype), group or w.shape[1], w.shape[1], by)
        if lies_on_gpu(w) and not options and computed is not None and can_place(tuple(w.shape), dtype, group):
            return cls(place(w.contiguous(), dtype, group, computed), layer.bias, to or kept, by).to(w.device)
        q = quantize_linear(np.asarray(w.double().cpu().numpy()), dtype, group, **options)
        return cls(q, layer.bias, to or kept, by).to(w.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            to: Any = torch_type(self.dtype)
            presented(kernels.check)(tuple(x.shape), torch_type(x.dtype), self.in_features, to, self._otherwise(x.dtype))
        held = (self.w, self.scales, self.zeros, self.channel, self.bias, self.order, self.recipe)
        if self.activations is not None:
            return torch.ops.tilec.linear8(*torch.ops.tilec.rows8(x, self.activations), *held)
        return torch.ops.tilec.linear(x, *held)

    def _otherwise(self, given: torch.dtype) -> str:
        """What to do about activations of another type."""
        taken = (torch.float16, torch.bfloat16) if self.activations is None else (torch.float16, torch.bfloat16, torch.float32)
        return f"x.to({self.dtype})" + (f", or a layer with dtype={given} (of from_linear: to={given})" if given in taken else "")

    def kernel(self, rows: int = 16) -> tc.Kernel:
        """The kernel that computes the layer's products in the form for so many rows, as `tilec.kernels.linear.Linear.kernel`: `tilec compile`, `show` and
        `explain` take a module for it."""
        made, host = read(self.recipe), OfTorch(torch.empty(0))
        how = made.form(rows, host)
        found: tc.Kernel = made.kernel(how).with_constants(**made.constants(how))
        return found

    def extra_repr(self) -> str:
        made = read(self.recipe)
        how = f"by {made.to}" if isinstance(made, eight.Recipe8) else f"scales on {made.on}"
        return f"{self.in_features}, {self.out_features}, {made.W}, {how}"

    def get_extra_state(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "in_features": self.in_features}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.recipe, self.in_features = state["recipe"], state["in_features"]
        made = read(self.recipe)
        self.activations, kind = (made.to, made.out) if isinstance(made, eight.Recipe8) else (None, made.X)
        self.out_features, self.dtype = made.n, OfTorch(torch.empty(0)).type(tc.dtype(kind))

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


def words(w: tc.Tensor) -> torch.Tensor:
    """The bytes of packed weights: PyTorch's own where they lie in its memory on a GPU."""
    held: Any = w.buffer
    return torch.from_numpy(w.bytes.copy()) if w.device is None else held.owner


def of_8_bits(activations: tc.DType | torch.dtype | str | None) -> tc.DType | None:
    """The type of activations that are brought into 8 bits, in the words of tilec or PyTorch. Raises TileError for others."""
    if activations is None:
        return None
    kind = tc.dtype(torch_type(activations) if isinstance(activations, torch.dtype) else activations)
    wide = "without activations= the layer computes in its dtype, torch.float16 or torch.bfloat16"
    require(kind in (tc.int8, eight.E4M3), f"activations of 8 bits are int8 or e4m3, not {kind}", hint=wide)
    return kind


def lies_on_gpu(w: torch.Tensor) -> bool:
    return bool(w.is_cuda) and w.dtype in (torch.float16, torch.bfloat16, torch.float32)


def where_packed(weight: tc.DType, group: int, columns: int, activations: tc.DType) -> tc.DType | None:
    """The type that weights are packed for, for activations of 8 bits; None if they become others before."""
    found = eight.way(weight, group, columns, activations)
    return found.kind if found.power == 0 and found.weight == weight else None
