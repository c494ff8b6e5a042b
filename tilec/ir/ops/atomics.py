"""Atomic updates of global tensors and shared tiles, element by element.

    %old = atomic %h, [%0], [%bins], none, %ones, none kind="add" dims=[-1] axes=[0]

The interpreter applies them block by block, and within a block in the order of the elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tilec.errors import Code, TileError, require
from tilec.ir.core import Builder, Effect, Op, Value
from tilec.ir.dtypes import DType, bf16, f16, f32, f64, i32, i64, u32, u64
from tilec.ir.ops.access import memory_of
from tilec.ir.ops.arith import And, Ge, Lt, Where
from tilec.ir.ops.base import Index, Operand, broadcast, constant, describe, match, show, tile
from tilec.ir.ops.gather import Chosen, choice, shape_of
from tilec.ir.ops.memory import LoadShared, Shared, StoreShared
from tilec.ir.ops.sync import Sync
from tilec.ir.types import SharedType, TileType

WHOLE = (i32, u32, i64, u64)
TYPES: dict[str, tuple[DType, ...]] = {
    "add": (*WHOLE, f16, bf16, f32, f64),
    **dict.fromkeys(("min", "max", "and", "or", "xor"), WHOLE),
    **dict.fromkeys(("exchange", "cas"), (*WHOLE, f32, f64)),
}
ORDERS = ("relaxed", "acquire", "release", "acq_rel")
SCOPES = ("block", "gpu", "sys")
UPDATES: dict[str, Any] = {
    "add": lambda old, value, _: old + value,
    "min": lambda old, value, _: np.minimum(old, value),
    "max": lambda old, value, _: np.maximum(old, value),
    "and": lambda old, value, _: old & value,
    "or": lambda old, value, _: old | value,
    "xor": lambda old, value, _: old ^ value,
    "exchange": lambda old, value, _: value,
    "cas": lambda old, value, compare: np.where(old == compare, value, old),
}


class Atomic(Chosen):
    """Updates elements of memory, each in one step that nothing comes between, and gives what was there before.

    `order` and `scope` are those of the PTX memory model; with an order of release (acquire) a barrier of the block stands before (behind)
    it. `used` says whether the old values are wanted.
    """

    effect = Effect.WRITE
    value: Value
    compare: Value | None
    kind: str
    order: str = "relaxed"
    scope: str = "gpu"
    used: bool = True

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self.value.type.shape

    @property
    def waits(self) -> bool:
        """Whether a loop around it may be waiting for another block."""
        return not isinstance(self.memory.type, SharedType)

    def infer(self) -> TileType:
        require(self.kind in TYPES, f"there is no atomic {self.kind}")
        self.check()
        stored, wanted = self.value.type.dtype, self.memory.type.dtype
        require(
            stored == wanted, f"an atomic on {wanted} takes a tile of {wanted}, not of {stored}", hint=f"convert it: tc.cast(x, {wanted})", code=Code.STORED
        )
        known = ", ".join(map(str, TYPES[self.kind]))
        require(wanted in TYPES[self.kind], f"the hardware has no atomic {self.kind} of {wanted}", hint=f"there are {known}")
        require((self.compare is not None) == (self.kind == "cas"), "only cas compares")
        require(self.compare is None or self.compare.type == self.value.type, "what is compared and what is written are of one type and shape")
        require(self.order in ORDERS, f"{self.order!r} is no order", hint=f"there are {', '.join(ORDERS)}", code=Code.HINT)
        require(self.scope in SCOPES, f"{self.scope!r} is no scope", hint=f"there are {', '.join(SCOPES)}", code=Code.HINT)
        return self.value.type

    def eval(self, ctx: Any, *operands: Any) -> Any:
        return self.update(ctx, operands, self.memory.type.dtype.round)

    def unrounded(self, ctx: Any, *operands: Any) -> Any:
        return self.update(ctx, operands, lambda x: x)

    def update(self, ctx: Any, operands: Sequence[Any], round: Any) -> Any:
        parts = self.parts(operands)
        memory = parts["memory"]
        coordinates, inside, outside = self.places(memory, parts)
        ctx.fail(outside, "an index is out of bounds for an axis that the tile does not run along")
        rule = UPDATES[self.kind]
        return memory.update(ctx, coordinates, inside, parts["value"], parts["compare"], lambda old, value, other: round(rule(old, value, other)))


class AtomicBuiltin(Op, abstract=True):
    """What the builtins share: each is one kind of `atomic`."""

    kind: ClassVar[str]

    @classmethod
    def build(
        cls,
        b: Builder,
        target: Value,
        offsets: Sequence[Index] | Index,
        value: Operand,
        *,
        mask: Operand | None = None,
        dims: Sequence[int] | None = None,
        order: str = "relaxed",
        scope: str = "gpu",
    ) -> Value:
        return atomic(b, cls.kind, target, offsets, value, None, mask, dims, order, scope)


def atomic(
    b: Builder, kind: str, target: Value, offsets: Any, value: Any, compare: Any, mask: Any, dims: Any, order: str, scope: str
) -> Value:  # fmt: skip
    memory = memory_of(target)
    given = match(b, value, dtype=memory.dtype)[0]
    where = choice(b, memory, offsets, tile(given).shape or None, mask, dims)
    where.pop("shape")
    shape = shape_of(where, tile(given).shape)
    if given.type.shape and shape != given.type.shape:
        raise TileError(
            f"a tile of shape {show(given.type.shape)} is written to {show(shape)} places", hint="broadcast it: tc.broadcast(x, shape)", code=Code.SHAPES
        )
    other = None if compare is None else broadcast(b, match(b, compare, dtype=memory.dtype)[0], shape)
    return b.emit(Atomic(memory=target, value=broadcast(b, given, shape), compare=other, kind=kind, order=order, scope=scope, **where))


class AtomicAdd(AtomicBuiltin, abstract=True):
    """`memory[place] += value` in one step, for each element; gives the old elements (0 for those over the edge, which are left alone).

    `offsets` as in `tc.store`, or with tiles of indices as in `tc.scatter`: `tc.atomic_add(h, [bins], 1)` counts each element of `bins`. Where
    nothing reads the old values, the cheaper reduction is used. `order` is "relaxed", "acquire", "release" or "acq_rel", `scope`
    "block", "gpu" or "sys". Types: i32, u32, i64, u64, f16, bf16 (from sm_90 on), f32, f64. Floating sums depend on the order in which
    blocks come.

    Example:
        old = tc.atomic_add(H, [rows], 1)  # = H[rows]
        # H[rows] += 1
        tc.atomic_add(H, [0], s)           # error: an atomic on i32 takes a tile of i32, not of f32
    """

    builtin = "atomic_add"
    kind = "add"


class AtomicMin(AtomicBuiltin, abstract=True):
    """`memory[place] = min(memory[place], value)` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_min(H, [rows], 40)  # H[rows] = np.minimum(H[rows], 40)
        tc.atomic_min(O, [0, 0], s)   # error: the hardware has no atomic min of f32
    """

    builtin = "atomic_min"
    kind = "min"


class AtomicMax(AtomicBuiltin, abstract=True):
    """`memory[place] = max(memory[place], value)` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_max(H, [rows], 40)  # H[rows] = np.maximum(H[rows], 40)
        tc.atomic_max(O, [0, 0], s)   # error: the hardware has no atomic max of f32
    """

    builtin = "atomic_max"
    kind = "max"


class AtomicAnd(AtomicBuiltin, abstract=True):
    """`memory[place] &= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_and(H, [rows], 12)  # H[rows] &= 12
        tc.atomic_and(O, [0, 0], s)   # error: the hardware has no atomic and of f32
    """

    builtin = "atomic_and"
    kind = "and"


class AtomicOr(AtomicBuiltin, abstract=True):
    """`memory[place] |= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_or(H, [rows], 12)  # H[rows] |= 12
        tc.atomic_or(O, [0, 0], s)   # error: the hardware has no atomic or of f32
    """

    builtin = "atomic_or"
    kind = "or"


class AtomicXor(AtomicBuiltin, abstract=True):
    """`memory[place] ^= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_xor(H, [rows], 12)  # H[rows] ^= 12
        tc.atomic_xor(O, [0, 0], s)   # error: the hardware has no atomic xor of f32
    """

    builtin = "atomic_xor"
    kind = "xor"


class AtomicExchange(AtomicBuiltin, abstract=True):
    """Writes a value and gives what was there, in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64, f32, f64.

    Example:
        old = tc.atomic_exchange(H, [0], i)  # = H[0]
        # H[0] = i
        tc.atomic_exchange(H, [0], s)        # error: an atomic on i32 takes a tile of i32, not of f32
    """

    builtin = "atomic_exchange"
    kind = "exchange"


class AtomicCas(AtomicBuiltin, abstract=True):
    """Writes `value` where `compare` stands, in one step, and gives what was there; otherwise as `tc.atomic_add`.

    Types: i32, u32, i64, u64, f32, f64 (compared bit by bit).

    Example:
        old = tc.atomic_cas(H, [rows], 7, 1)  # = H[rows]
        # H[rows] = np.where(H[rows] == 7, 1, H[rows])
        tc.atomic_cas(H, [0], 7, s)           # error: an atomic on i32 takes a tile of i32, not of f32
    """

    builtin = "atomic_cas"
    kind = "cas"

    @classmethod
    def build(  # type: ignore[override]
        cls,
        b: Builder,
        target: Value,
        offsets: Sequence[Index] | Index,
        compare: Operand,
        value: Operand,
        *,
        mask: Operand | None = None,
        dims: Sequence[int] | None = None,
        order: str = "relaxed",
        scope: str = "gpu",
    ) -> Value:
        return atomic(b, cls.kind, target, offsets, value, compare, mask, dims, order, scope)


class Histogram(Op, abstract=True):
    """How often each of 0, 1, ..., bins - 1 stands in an integer tile: i32 [bins]. Other numbers are not counted (numpy.bincount otherwise).

    Counted in shared memory by atomics; `mask`, a bool tile that broadcasts to x, says which elements count.

    Example:
        r = tc.histogram(m, 20)  # = np.bincount(m.ravel(), minlength=20)[:20]
        tc.histogram(x, 20)      # error: integers are counted, not f32[8, 16]
    """

    builtin = "histogram"

    @classmethod
    def build(cls, b: Builder, x: Value, bins: int, *, mask: Operand | None = None) -> Value:
        given = tile(x)
        require(
            given.dtype.is_int and given.dtype.computes and given.shape,
            f"integers are counted, not {describe(given)}",
            hint="tc.cast(x, i32)",
            code=Code.UNDEFINED,
        )
        require(bins > 0, f"a histogram has bins, not {bins}", code=Code.COUNT)
        inside = And.build(b, Ge.build(b, x, 0), Lt.build(b, x, bins))
        inside = inside if mask is None else And.build(b, inside, mask)
        counts = Shared.build(b, i32, [bins])
        b.insert(Sync())
        StoreShared.build(b, counts, None, constant(b, 0, i32, [bins]), dims=None)
        b.insert(Sync())
        atomic(b, "add", counts, [Where.build(b, inside, x, 0)], 1, None, inside, None, "relaxed", "block")
        b.insert(Sync())
        return LoadShared.build(b, counts, None, None, dims=None, layout=None)
