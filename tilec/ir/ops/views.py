"""Tensors of other shape and strides on the memory of a tensor parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilec.errors import TileError, require
from tilec.ir.core import Builder, Op, Value
from tilec.ir.dtypes import i32, i64
from tilec.ir.ops.arith import Cast, Mul
from tilec.ir.ops.base import Constant, Index, constant, describe, index, show, tensor, tile
from tilec.ir.types import TensorType

RUNTIME = "_"  # the extent of a view that is a value of the program


class TensorView(Op):
    """A tensor of other shape and strides on a tensor's memory, from element `offset` on: `tc.tensor_view(a, i * N, shape=[N // 64, 64])`.

    Extents and strides (in elements; row-major without gaps unless given) are integers or i32 scalars of the program; strides may be zero
    or negative. The view is used like any tensor, its edges are its own; within them it must stay in the tensor's memory.

    Example:
        v = tc.tensor_view(T, 0, shape=[C, R], strides=[1, C])
        r = tc.load(v, [0, 0], [16, 8])                  # = T.T[:16, :8]
        tc.tensor_view(T, 0, shape=[R, C], strides=[C])  # error: a view of 2 axes has 1 strides
    """

    builtin = "tensor_view"
    memory: Value
    offset: Value
    extents: tuple[Value, ...]
    strides: tuple[Value, ...]

    def infer(self) -> TensorType:
        base = self.memory.type
        require(isinstance(base, TensorType), f"a view is of a tensor, not of {describe(base)}")
        if base.strided and not isinstance(self.memory.owner, TensorView):
            raise TileError("a view of a strided tensor has no meaning, as its elements do not lie in a row", hint="declare it without tc.strided")
        require(base.dtype.element is base.dtype, f"a view of {base.dtype} has no meaning, as its elements do not lie in a row")
        return TensorType(base.dtype, self.shape_of_extents(), strided=True)

    def shape_of_extents(self) -> tuple[int | str, ...]:
        """The shape of the result's type; TileError if extents and strides don't fit."""
        require(self.extents, "a view has at least one axis")
        require(
            len(self.extents) == len(self.strides),
            f"a view of {len(self.extents)} axes has {len(self.strides)} strides",
            hint="one stride for each extent, in elements, or none for a contiguous view",
        )
        for name, values, wanted in (("offset", (self.offset,), i64), ("extent", self.extents, i32), ("stride", self.strides, i64)):
            for v in values:
                require(tile(v).is_scalar and tile(v).dtype == wanted, f"the {name} of a view is {wanted}, not {describe(v.type)}")
        shape: tuple[int | str, ...] = tuple(int(v.owner.value) if isinstance(v.owner, Constant) else RUNTIME for v in self.extents)
        require(all(n == RUNTIME or int(n) > 0 for n in shape), f"a view has positive extents, not {show(shape)}")
        return shape

    def eval(self, ctx: Any, memory: Any, offset: Any, *rest: Any) -> Any:
        return memory.view(offset, rest[: len(self.extents)], rest[len(self.extents) :])

    @property
    def unit_stride(self) -> bool:
        """Whether the last axis is contiguous, for all that is known."""
        last = self.strides[-1].owner
        return isinstance(last, Constant) and last.value == 1

    @property
    def shape(self) -> tuple[Any, ...]:
        """The extents as authors see them: numbers, or scalars of the program."""
        return tuple(v.owner.value if isinstance(v.owner, Constant) else v for v in self.extents)

    @classmethod
    def build(cls, b: Builder, source: Value, offset: Index = 0, *, shape: Sequence[Index], strides: Sequence[Index] | None = None) -> Value:
        tensor(source)
        extents = tuple(index(b, n) for n in shape)
        for n in extents:
            require(n.type.dtype == i32, f"the extent of a view is i32, not {describe(n.type)}", hint="convert it: tc.cast(n, i32)")
        steps = row_major(b, extents) if strides is None else tuple(long(b, s) for s in strides)
        return b.emit(cls(source, long(b, offset), extents, steps))


def contiguous(tensor: Value) -> bool:
    """Whether neighbours along a tensor's last axis lie next to one another, for all that is known."""
    return tensor.owner.unit_stride if isinstance(tensor.owner, TensorView) else not tensor.type.strided


def viewed(tensor: Value) -> Value:
    """The tensor whose memory a view is of; another tensor itself."""
    while isinstance(tensor.owner, TensorView):
        tensor = tensor.owner.memory
    return tensor


def long(b: Builder, x: Index) -> Value:
    """An i64 scalar."""
    if isinstance(x, int):
        return constant(b, x, i64)
    value = index(b, x)
    return value if value.type.dtype == i64 else b.emit(Cast(value, i64))


def row_major(b: Builder, extents: tuple[Value, ...]) -> tuple[Value, ...]:
    """The strides of a tensor without gaps."""
    steps = [constant(b, 1, i64)]
    for n in reversed(extents[1:]):
        known = isinstance(n.owner, Constant) and isinstance(steps[0].owner, Constant)
        if known:
            steps.insert(0, constant(b, int(n.owner.value) * int(steps[0].owner.value), i64))  # type: ignore[union-attr]
        else:
            steps.insert(0, Mul.build(b, long(b, n), steps[0]))
    return tuple(steps)
