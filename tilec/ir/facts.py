"""What is known of integer scalars before they are: by which numbers they divide, and below which extents they stay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tilec.ir.core import Function, Op, Value
from tilec.ir.ops.arith import Add, And, Cast, Eq, FloorDiv, Mod, Mul, Shl, Shr, Sub
from tilec.ir.ops.base import Constant
from tilec.ir.ops.control import Assume, BlockIndex, For
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.ops.views import TensorView
from tilec.ir.packing import Packed
from tilec.ir.types import TensorType


class Facts:
    """Divisors of a function's integer scalars, from constants, arithmetic, loops and the assumptions of `tc.assume`."""

    def __init__(self, function: Function):
        self.function = function
        self.known: dict[Value, int] = {}
        self.counters: dict[Value, For] = {}
        for op in function.launch.ops:
            if isinstance(op, Assume):
                self._assume(op.fact.owner)
        for op in function.walk():
            if isinstance(op, For):
                self.counters[op.body.args[0]] = op
                self.known[op.body.args[0]] = math.gcd(self.divisor(op.start), self.divisor(op.step))

    @contextmanager
    def assuming(self, condition: Value) -> Iterator[None]:
        """Within, a condition is known to hold: in the branch that is taken if it does."""
        before = dict(self.known)
        if isinstance(condition.owner, Op):
            self._assume(condition.owner)
        yield
        self.known = before

    def below(self, value: Value, extent: Value) -> bool:
        """Whether a value is known to lie in [0, extent): the counter of a loop up to it, or a block's origin in a grid that covers it."""
        op = value.owner
        if value in self.counters:
            loop = self.counters[value]
            rising = isinstance(loop.step.owner, Constant) and loop.step.owner.value > 0
            start = loop.start.owner
            return loop.stop is extent and rising and isinstance(start, Constant) and start.value >= 0
        if isinstance(op, Shr) and isinstance(op.y.owner, Constant):
            return self._below_in_tiles(op.x, extent.owner, int(op.y.owner.value))
        index, size = (op.x, op.y.owner) if isinstance(op, Mul) and isinstance(op.y.owner, Constant) else (value, None)
        if not isinstance(index.owner, BlockIndex):
            return False
        grid = self.function.launch.yielded
        return index.owner.axis < len(grid) and _covers(grid[index.owner.axis], extent, int(size.value) if size else 1)

    def _below_in_tiles(self, value: Value, count: object, bits: int) -> bool:
        """Whether value >> bits is below a number of tiles of 2**bits: extent >> bits, rounded up or without a rest, for an extent that the
        value is below."""
        if not (isinstance(count, Shr) and isinstance(count.y.owner, Constant) and count.y.owner.value == bits):
            return False
        total = count.x.owner
        up = isinstance(total, Add) and isinstance(total.y.owner, Constant) and total.y.owner.value == (1 << bits) - 1
        if up and isinstance(total, Add):
            return self.below(value, total.x)
        return self.divisor(count.x) % (1 << bits) == 0 and self.below(value, count.x)

    def _assume(self, fact: object) -> None:
        if isinstance(fact, And):
            self._assume(fact.x.owner)
            self._assume(fact.y.owner)
        elif isinstance(fact, Eq):
            left, right = fact.x.owner, fact.y.owner
            if isinstance(left, Mod) and isinstance(right, Constant) and right.value == 0 and isinstance(left.y.owner, Constant):
                self.known[left.x] = math.lcm(self.divisor(left.x), int(left.y.owner.value))
            elif isinstance(right, Constant):
                self.known[fact.x] = int(right.value)

    def divisor(self, value: Value) -> int:
        """A number that divides the value, the largest known; 0 if the value is 0."""
        if value in self.known:
            return self.known[value]
        op = value.owner
        return self._of(op) if isinstance(op, Op) else 1

    def _of(self, op: Op) -> int:
        if isinstance(op, Constant):
            return abs(int(op.value)) if op.dtype.is_int else 1
        if isinstance(op, Add | Sub):
            return math.gcd(self.divisor(op.x), self.divisor(op.y))
        if isinstance(op, Mul):
            return self.divisor(op.x) * self.divisor(op.y)
        if isinstance(op, Cast) and op.dtype.is_int and op.dtype.bits >= op.x.type.dtype.bits:
            return self.divisor(op.x)
        if isinstance(op, Shl) and isinstance(op.y.owner, Constant) and op.y.owner.value >= 0:
            return self.divisor(op.x) << int(op.y.owner.value)
        if isinstance(op, Shr) and isinstance(op.y.owner, Constant) and op.y.owner.value >= 0:
            whole, rest = divmod(self.divisor(op.x), 1 << int(op.y.owner.value))
            return 1 if rest else whole
        return 1


def view_begins(facts: Facts, memory: Value) -> int:
    """A number that divides the element, from the shared tile's first on, at which a view of it begins; 0 if that is the first."""
    op = memory.owner
    if not isinstance(op, SharedView):
        return 0
    given = op.memory.type
    steps = zip(op.offsets, given.layout.strides, strict=True)
    begins = math.gcd(view_begins(facts, op.memory), *(facts.divisor(v) * step for v, step in steps))
    return begins if op.dtype is None else begins * given.item_bits // op.dtype.bits


def inner_steps(facts: Facts, view: SharedView) -> list[tuple[Value, int, int]]:
    """Offsets of a view that take part in its memory's swizzle, each with the stride and extent of its axis; the others move the whole pattern."""
    layout = view.memory.type.layout
    if layout.swizzle is None:
        return []
    given = zip(view.offsets, layout.strides, layout.shape, strict=True)
    return [(v, step, extent) for v, step, extent in given if facts.divisor(v) * step % layout.swizzle.period]


def view_bits(facts: Facts, memory: Value) -> list[int]:
    """Masks of the bits that each offset of a view, and of what it is a view of, may set in the places that are swizzled."""
    op = memory.owner
    if not isinstance(op, SharedView):
        return []
    before = view_bits(facts, op.memory)
    if op.dtype is not None:
        before = [recast_bits(bits, op.memory.type.item_bits, op.dtype.bits) for bits in before]
    return [*before, *(step_bits(facts, *given) for given in inner_steps(facts, op))]


def recast_bits(bits: int, given: int, other: int) -> int:
    """A mask of bits of a number of elements of `given` bits as one of a number of elements of `other` bits."""
    places = max(given, other) // min(given, other)
    return bits if bits < 0 else bits * places if other < given else bits // places


def step_bits(facts: Facts, value: Value, step: int, extent: int) -> int:
    """The bits that value * step may set for a value from 0 to extent - 1; -1 if there is no telling."""
    if isinstance(value.owner, Constant):
        return int(value.owner.value) * step
    unit = facts.divisor(value) * step
    if step & (step - 1):
        return -1
    return (1 << (extent * step - 1).bit_length()) - (unit & -unit)


COPIES = (128, 64, 32)  # bits of what one thread copies asynchronously at once, the widest first


def whole(bits: int, copy: int) -> int:
    """The least number of elements of so many bits that fills whole copies, or that whole copies fill."""
    return copy // math.gcd(copy, bits)


def widest_copy(bits: int, elements: int) -> int:
    """Bits of the widest copies of which rows consist that begin at, and have, multiples of so many elements; 0 if there are none."""
    return next((copy for copy in COPIES if elements % whole(bits, copy) == 0), 0)


def row_marks(function: Function, memory: Value, offsets: Sequence[Value]) -> list[Value | int]:
    """Scalars and numbers, in elements: what divides all of them divides the place, from the tensor's first element on, at which each row of an access
    begins; and, of elements that fill no bytes, the one at which each row of the tensor ends. Raises no error for strides that are not known:
    nothing is said of these."""
    found: list[Value | int] = [offsets[-1]]
    view = memory.owner if isinstance(memory.owner, TensorView) else None
    last = view.extents[-1] if view else memory.type.shape[-1]
    extent = function.param(last) if isinstance(last, str) else last
    packed = memory.type.dtype.bits % 8 and not memory.type.dtype.is_bool
    if packed or (memory.type.rank > 1 and view is None):
        found.append(extent)
    found += view.strides[:-1] if view else ()
    while view is not None:
        found.append(view.offset)
        view = view.memory.owner if isinstance(view.memory.owner, TensorView) else None
    return found


def row_begins(facts: Facts, memory: Value, offsets: Sequence[Value]) -> int:
    """A number that divides the marks of the rows of an access (`row_marks`), the largest known; 0 if all are 0."""
    return math.gcd(*(m if isinstance(m, int) else facts.divisor(m) for m in row_marks(facts.function, memory, offsets)))


VECTOR_BITS = COPIES[0]  # of the widest access of a thread


def open_questions(function: Function) -> dict[str, int]:
    """Dimensions that rows of tensors have, by name, each with the number that it should be a multiple of for every row of theirs to
    begin at a whole vector; those are left out of which that is known. Machine code asks at run time, unless it was made to rest on the answer."""
    facts, dims = Facts(function), {p.name: p for p in function.params}
    wanted: dict[str, int] = {}
    for p in function.params:
        if isinstance(p.type, TensorType) and not p.type.strided and not isinstance(p.type.dtype, Packed):
            n = VECTOR_BITS // math.gcd(VECTOR_BITS, p.type.dtype.bits)
            rows = p.type.shape[1:] if p.type.rank > 1 else p.type.shape
            wanted.update((d, max(n, wanted.get(d, 0))) for d in rows if isinstance(d, str))
    return {d: n for d, n in wanted.items() if facts.divisor(dims[d]) % n}


def _covers(count: Value, extent: Value, size: int) -> bool:
    """Whether a grid's extent is cdiv(extent, size), or extent itself for size 1."""
    op = count.owner
    if size == 1 and count is extent:
        return True
    if not (isinstance(op, FloorDiv) and isinstance(op.y.owner, Constant) and op.y.owner.value == size and isinstance(op.x.owner, Add)):
        return False
    total = op.x.owner
    return total.x is extent and isinstance(total.y.owner, Constant) and total.y.owner.value == size - 1
