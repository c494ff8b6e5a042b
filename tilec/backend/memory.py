"""Loads and stores of tiles: addresses, vector widths, bounds.

A global access has two paths. The fast one takes up to 16 bytes at once; it is run if all of the thread's elements are within bounds
and its vectors aligned, which is asked at run time unless it is known. The slow one takes as many elements as are known to be aligned and within
bounds or beyond together, perhaps one by one, each time under a predicate of their own. Types that don't fill bytes are cut from the bytes
that hold them, and put back by atomics where a byte has several writers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NamedTuple

from tilec.backend import hints, inductions
from tilec.backend.emit import llvm_type
from tilec.backend.fields import Codes, bytes_of, packed_words, quads_of, tell, words_of
from tilec.backend.llvm import Generator, Registers, emits, from_code, registers_of, to_code
from tilec.ir.core import Value
from tilec.ir.dtypes import DType
from tilec.ir.layout import scalar as held_by_all
from tilec.ir.notes import explain_width, say
from tilec.ir.ops.memory import Load, Store
from tilec.ir.ops.views import RUNTIME, TensorView, contiguous, viewed

VECTOR_BITS = 128
WORD = 32  # bits of what an atomic takes


def in_memory(dtype: DType) -> str:
    """The LLVM type of an element in memory; a bool is a byte."""
    return "i8" if dtype.is_bool else llvm_type(dtype)


def from_memory(g: Generator, value: str, dtype: DType) -> str:
    return g.e.let(f"icmp ne i8 {value}, 0") if dtype.is_bool else value


def to_memory(g: Generator, value: str, dtype: DType) -> str:
    return g.e.let(f"zext i1 {value} to i8") if dtype.is_bool else value


class Place(NamedTuple):
    """Where a tile access of this thread goes: for each register its coordinates along the tile's axes, this thread's part first."""

    base: list[str]  # i32 coordinates of register 0 within the tile
    offsets: list[tuple[int, ...]]  # constants to add, by register
    shape: tuple[int, ...]
    covers: tuple[int, ...]  # the layout's shape, which may be larger

    def within(self, g: Generator, axis: int, c: int) -> str:
        """Whether the coordinate `base + c` along an axis belongs to the tile and not to the layout's padding, an i1."""
        least = self.covers[axis] - max(offset[axis] for offset in self.offsets)  # beyond every base
        if c + least <= self.shape[axis]:
            return "true"
        if c >= self.shape[axis]:
            return "false"
        return g.e.let(f"icmp ult i32 {i32_add(g, self.base[axis], c)}, {self.shape[axis]}")


def place_of(g: Generator, type: Any) -> Place:
    layout = type.layout if type.layout is not None else held_by_all(g.function.threads)
    offsets = [tuple(int(c) for c in row) for row in layout.coords()[0]]
    return Place(list(g.base(layout)), offsets, type.shape, layout.shape)


def conjunction(g: Generator, conditions: Sequence[str]) -> str:
    """All of some i1 values; "true" of none."""
    if "false" in conditions:
        return "false"
    unique = list(dict.fromkeys(c for c in conditions if c != "true"))
    result = unique[0] if unique else "true"
    for other in unique[1:]:
        result = g.e.let(f"and i1 {result}, {other}")
    return result


def i32_add(g: Generator, a: str, b: str | int) -> str:
    if str(b) == "0":
        return a
    if a.lstrip("-").isdigit() and str(b).lstrip("-").isdigit():
        return str(int(a) + int(b))
    return str(b) if a == "0" else g.e.let(f"add nsw i32 {a}, {b}")


def i64_sum(g: Generator, terms: Sequence[str]) -> str:
    total = "0"
    for term in terms:
        if term != "0":
            total = term if total == "0" else g.e.let(f"add nsw i64 {total}, {term}")
    return total


# global memory


class GlobalAccess:
    """The addresses and bounds of one load or store of a global tensor."""

    def __init__(self, g: Generator, op: Any, type: Any):  # op: a Load, Store, CopyAsync, Gather or Scatter
        self.g, self.op, self.type = g, op, type
        self.dtype: DType = type.dtype
        self.packed = self.dtype.bits % 8 != 0
        self.tensor = op.memory
        self.hints = getattr(op, "hints", {})
        self.place = place_of(g, type)
        self.strides = g.strides[op.memory]
        self.offsets = [g.scalar(v) for v in op.offsets]
        self.starts = [i32_add(g, self.offsets[axis], base) for axis, base in zip(op.dims, self.place.base, strict=True)]
        self.memo: dict[Any, str] = {}
        self.steps: dict[str, tuple[str, str]] = {}  # of offsets that are sums: the two of which
        last = op.memory.type.rank - 1
        self.fast = op.dims.index(last) if last in op.dims and contiguous(op.memory) else None
        self.run = self._run(type)
        self.origin = self._carried() or self._origin()

    def _run(self, type: Any) -> int:
        """Elements of one vector: consecutive in registers and in memory, at most 16 bytes if that fills its units."""
        if self.fast is None or type.layout is None:
            return 1
        run = min(self.limits.values())
        most = max(VECTOR_BITS, math.lcm(self.unit, self.dtype.bits))
        while run > 1 and (run * self.dtype.bits > most or type.layout.registers % run):
            run = next(d for d in range(run - 1, 0, -1) if run % d == 0)
        run = run & -run  # a power of two
        return run if run * self.dtype.bits % self.unit == 0 else 1

    @property
    def together(self) -> int:
        """Elements that are touched together or not at all, but for the tensor's edge."""
        return self.run

    @property
    def limits(self) -> dict[str, int]:
        """What bounds the elements of a vector, besides its 16 bytes, and what each means."""
        if self.fast is None:
            axis = "the tensor's strides are known at run time only" if self.op.memory.type.strided else "the tile does not run along the tensor's last axis"
            return {axis: 1}
        return {"a thread holds no more neighbours of a row": self.type.layout.vector_run(self.fast)}

    @property
    def unit(self) -> int:
        """Bits of which a vector takes whole ones: bytes, but of tensors that the kernel writes whose elements don't fill bytes the words of the
        atomics by which other threads store theirs, so that no word is touched in both ways."""
        return WORD if self.packed and self.changes else 8

    @property
    def changes(self) -> bool:
        """Whether the kernel writes the tensor."""
        return viewed(self.tensor) in self.g.written

    def _carried(self) -> str | None:
        """In a loop in which the tile moves on steadily: a name for register 0's offset, whose pointer the loop carries."""
        steps, bits = inductions.steps(self.g, self.op.offsets), self.dtype.bits
        if steps is None or (self.packed and (self.run == 1 or any(n * bits % 8 for n in steps))):
            return None
        if all(stride.isdigit() for n, stride in zip(steps, self.strides, strict=True) if n):
            return None  # what is added anew in each round is cheaper than to be carried
        g = self.g
        if g.e.by_level([g.scalar(self.tensor), g.origins.get(self.tensor, "0"), *self.strides])[1]:
            return None  # a view that is made in the loop
        coordinates = [inductions.at_start(g, v) for v in self.op.offsets]
        for axis, base in zip(self.op.dims, self.place.base, strict=True):
            coordinates[axis] = i32_add(g, coordinates[axis], base)
        start = self.pointer(self._origin(coordinates))
        products = [(stride, n * bits // 8 if self.packed else n) for n, stride in zip(steps, self.strides, strict=True) if n]
        name = f"carried {g.e.fresh()}"
        self.memo["pointer", name] = inductions.carry(g, start, in_memory(self.dtype), products)
        return name

    def _origin(self, coordinates: list[str] | None = None) -> str:
        """The element offset of register 0, an i64."""
        g = self.g
        if coordinates is None:
            coordinates = list(self.offsets)
            for axis, start in zip(self.op.dims, self.starts, strict=True):
                coordinates[axis] = start
        terms = [g.origins.get(self.tensor, "0")]
        for c, stride in zip(coordinates, self.strides, strict=True):
            wide = g.widened(c)
            terms.append(wide if stride == "1" else g.e.let(f"mul nsw i64 {wide}, {stride}"))
        fixed, moving = (i64_sum(g, part) for part in g.e.by_level(terms))
        return self.step(fixed, moving)

    def bit(self, register: int) -> str:
        """The bit offset of a register, an i64, of elements that fill no bytes: what a loop carries are bytes."""
        origin = self.origin
        if origin.startswith("carried"):
            origin = self.memo["origin"] = self.memo.get("origin") or self._origin()
        return self.g.e.let(f"mul nsw i64 {self.beyond(origin, register)}, {self.dtype.bits}")

    def element(self, register: int) -> str:
        """The element offset of a register, an i64."""
        return self.beyond(self.origin, register)

    def beyond(self, origin: str, register: int) -> str:
        """The element offset of a register, if that of register 0 is `origin`."""
        g, total = self.g, origin
        for tile_axis, c in enumerate(self.place.offsets[register]):
            stride = self.strides[self.op.dims[tile_axis]]
            if c:
                key = ("step", tile_axis, c)
                if key not in self.memo:
                    self.memo[key] = str(c) if stride == "1" else g.e.let(f"mul nsw i64 {stride}, {c}")
                total = self.step(total, self.memo[key])
        return total

    def step(self, first: str, last: str) -> str:
        """The sum of two offsets, which `pointer` adds one after the other."""
        total = f"{first} + {last}" if first.startswith("carried") else i64_sum(self.g, [first, last])
        if "0" not in (first, last):
            self.steps[total] = (first, last)
        return total

    def inside(self, register: int) -> str:
        """Whether a register's element is within the tensor and the tile, an i1."""
        return conjunction(self.g, [self._axis_inside(a, c) for a, c in enumerate(self.place.offsets[register])])

    def _axis_inside(self, tile_axis: int, c: int) -> str:
        if self._all_or_nothing(tile_axis):
            c = 0  # the tile's first element decides for all
        key = ("in", tile_axis, c)
        if key not in self.memo:
            g, axis = self.g, self.op.dims[tile_axis]
            at = self.offsets[axis] if self._all_or_nothing(tile_axis) else i32_add(g, self.starts[tile_axis], c)
            sure = self._all_or_nothing(tile_axis) and g.is_below(self.op.offsets[axis], self.tensor, axis)
            conditions = ["true" if sure else g.e.let(f"icmp ult i32 {at}, {g.extent(self.tensor, axis)}")]
            conditions.append(self.place.within(g, tile_axis, c))
            self.memo[key] = conjunction(g, conditions)
        return self.memo[key]

    def _all_or_nothing(self, tile_axis: int) -> bool:
        """Whether, as the offset and the extent are multiples of the tile's, the tile is inside or outside along an axis as a whole."""
        n, axis = self.place.shape[tile_axis], self.op.dims[tile_axis]
        exact = self.place.covers[tile_axis] == n
        return exact and self.g.facts.divisor(self.op.offsets[axis]) % n == 0 and self.g.extent_divisor(self.tensor, axis) % n == 0

    def bytes_inside(self, register: int, run: int) -> str:
        """Of a vector from `register` on, the bytes that lie within the tensor, an i32; it is aligned."""
        g = self.g
        size = run * self.dtype.bits // 8
        if self.fast is None:  # one element
            inside = self.inside(register)
            return str(size) if inside == "true" else g.e.let(f"select i1 {inside}, i32 {size}, i32 0")
        last = self.place.offsets[register + run - 1]
        key = ("bytes", last)
        if key in self.memo:
            return self.memo[key]
        others = conjunction(g, [self._axis_inside(a, c) for a, c in enumerate(last) if a != self.fast])
        along = self._axis_inside(self.fast, last[self.fast])
        if along == "true" or self.whole_runs(run):
            condition = conjunction(g, [others, along])
            self.memo[key] = str(size) if condition == "true" else g.e.let(f"select i1 {condition}, i32 {size}, i32 0")
            return self.memo[key]
        extent = g.extent(self.tensor, self.op.dims[self.fast])
        at = i32_add(g, self.starts[self.fast], self.place.offsets[register][self.fast])
        left = g.e.let(f"sub i32 {extent}, {at}")
        count = g.e.call("i32", "llvm.smin.i32", f"i32 {left}", f"i32 {run}")
        some = g.e.let(f"mul nuw nsw i32 {count}, {self.dtype.bits // 8}")
        begins = self._axis_inside(self.fast, self.place.offsets[register][self.fast])  # not before the tensor, either
        self.memo[key] = g.e.let(f"select i1 {conjunction(g, [others, begins])}, i32 {some}, i32 0")
        return self.memo[key]

    def wholly_inside(self, register: int, run: int) -> str | None:
        """Whether an aligned vector lies inside, an i1; None if a part of it may."""
        if self.fast is None:
            return self.inside(register)
        last = self.place.offsets[register + run - 1]
        along = self._axis_inside(self.fast, last[self.fast])
        if along != "true" and not self.whole_runs(run):
            return None
        return conjunction(self.g, [*(self._axis_inside(a, c) for a, c in enumerate(last) if a != self.fast), along])

    def whole_runs(self, run: int) -> bool:
        """Whether the extents of tensor and tile are known to be multiples of `run` elements, so that aligned vectors are inside or outside
        as a whole."""
        assert self.fast is not None
        fits = self.place.covers[self.fast] == self.place.shape[self.fast] or self.place.shape[self.fast] % run == 0
        return fits and self.g.extent_divisor(self.tensor, self.op.dims[self.fast]) % run == 0

    def all_inside(self) -> str:
        """Whether all of this thread's elements are: the least and the greatest coordinate of each axis decide."""
        ends = []
        for axis, column in enumerate(zip(*self.place.offsets, strict=True)):
            ends += [self._axis_inside(axis, c) for c in {min(column), max(column)}]
        return conjunction(self.g, ends)

    def edges(self) -> str:
        """In words, along which axes the tile may reach beyond the tensor, and what would rule it out."""
        found = []
        for tile_axis, axis in enumerate(self.op.dims):
            ends = {column[tile_axis] for column in self.place.offsets}
            if all(self._axis_inside(tile_axis, c) == "true" for c in (min(ends), max(ends))):
                continue
            n, extent = self.place.shape[tile_axis], self.tensor.type.shape[axis]
            open_ = isinstance(extent, str) and extent != RUNTIME and self.g.extent_divisor(self.tensor, axis) % n
            remedy = f" (tc.assume({extent} % {n} == 0) would tell)" if open_ else ""
            found.append(f"axis {axis} of {self.tensor.name} may end within the tile{remedy}")
        return "; ".join(found) or "the layout has padding"

    def narrowed(self, run: int) -> GlobalAccess:
        """The same access by vectors of `run` elements."""
        narrow = copy(self)
        narrow.run = run
        return narrow

    def known_run(self) -> int:
        """Elements of the widest vectors that are known to be aligned, and inside or outside as a whole; 1 if none are."""
        run = self.run
        while run > 1 and (run * self.dtype.bits % self.unit or self.doubts(run) or not self.whole_runs(run)):
            run //= 2
        return run

    def in_words(self, run: int) -> str:
        """How elements are taken, so many at a time."""
        return "elements are taken one by one" if run <= 1 else f"{run * max(8, self.dtype.bits) // 8} bytes are taken at a time"

    def aligned(self, run: int, otherwise: int = 1) -> str:
        """Whether every vector starts at a multiple of `run` elements, an i1; "true" if that is known. `otherwise` so many are taken at a time."""
        doubtful = self.doubts(run)
        if not doubtful:
            return "true"
        words = "; ".join(dict.fromkeys(why for why, _ in doubtful))
        say(self.op.loc, f"alignment is asked at run time, and {self.in_words(otherwise)} where it fails: {words}")
        g = self.g
        union, *others = [value() for _, value in doubtful]
        for other in others:
            union = g.e.let(f"or i64 {union}, {other}")
        return g.e.let(f"icmp eq i64 {g.e.let(f'and i64 {union}, {run - 1}')}, 0")

    def doubts(self, run: int) -> list[tuple[str, Callable[[], str]]]:
        """What is not known to be a multiple of `run` elements, though every vector starts at one if it is: in words, and as an i64."""
        g = self.g
        found: list[tuple[str, Callable[[], str]]] = [
            (f"where the view {self.tensor.name} begins is not known to be a multiple of {run}", lambda at=at: at)  # type: ignore[misc]
            for at in doubtful_origins(g, self.tensor, run)
        ]
        for axis, offset in enumerate(self.op.offsets):
            last = axis == self.tensor.type.rank - 1
            if last and g.facts.divisor(offset) % run:
                words = f"the tile's offset along the last axis is not known to divide by {run}"
                found.append((words, lambda axis=axis: g.widened(self.offsets[axis])))  # type: ignore[misc]
            if not last and self._stride_divisor(axis) % run:
                found.append((self._rows_apart(axis, run), lambda axis=axis: self.strides[axis]))  # type: ignore[misc]
        return found

    def _rows_apart(self, axis: int, run: int) -> str:
        """In words, that a stride is not known to be whole vectors, and what would make it so."""
        if isinstance(self.tensor.owner, TensorView):
            return f"the view's strides are not known to divide by {run}"
        open_ = [n for n in self.tensor.type.shape[axis + 1 :] if isinstance(n, str)]
        apart = " * ".join(map(str, self.tensor.type.shape[axis + 1 :]))
        remedy = f"; tc.assume({open_[-1]} % {run} == 0) would do" if open_ else ""
        return f"rows of {self.tensor.name} are {apart} elements apart, not known to divide by {run}{remedy}"

    def _stride_divisor(self, axis: int) -> int:
        if isinstance(self.tensor.owner, TensorView):
            return self.g.facts.divisor(self.tensor.owner.strides[axis])
        return math.prod(self.g.extent_divisor(self.tensor, a) for a in range(axis + 1, self.tensor.type.rank))

    def pointer(self, element: str) -> str:
        """The address of an element that begins with a byte: what does not change in a loop is added first, what sets registers apart last. The
        parts are whole bytes, too: of elements that fill none, they are whole vectors."""
        if element == "0":
            return self.g.scalar(self.tensor)
        if ("pointer", element) not in self.memo:
            first, last = self.steps.get(element, ("0", element))
            start = self.pointer(first)
            step = byte_offset(self.g, last, self.dtype.bits) if self.packed else last
            self.memo["pointer", element] = self.g.e.let(f"getelementptr {in_memory(self.dtype)}, ptr addrspace(1) {start}, i64 {step}")
        return self.memo["pointer", element]

    def byte(self, offset: str) -> str:
        return self.g.e.let(f"getelementptr inbounds i8, ptr addrspace(1) {self.g.scalar(self.tensor)}, i64 {offset}")


def doubtful_origins(g: Generator, tensor: Value, run: int) -> list[str]:
    """Where a view, or the one that it is of, begins, unless that is known to be a multiple of `run`."""
    found = []
    while isinstance(tensor.owner, TensorView):
        if g.facts.divisor(tensor.owner.offset) % run:
            found.append(g.scalar(tensor.owner.offset))
        tensor = tensor.owner.memory
    return found


def two_paths(
    g: Generator, access: GlobalAccess, fast: Callable[[], Registers], slow: Callable[[], Registers], types: list[str],
    vectors: Callable[[GlobalAccess], Registers] | None = None, codes: Codes | None = None,
) -> Registers:  # fmt: skip
    """Run `fast` where all elements are inside and aligned, else `slow`; merge what they give, `codes` as the words that hold them. `vectors`
    takes each vector of an access under a predicate: where they are known to be inside or outside as a whole there is no slow path, and where
    narrower ones are, these are taken instead of elements."""
    explain_width(access.op.loc, access.run, access.dtype.bits, access.limits)
    if access.run * access.dtype.bits % access.unit:  # no vector fills bytes
        return slow()
    known = access.known_run() if vectors is not None and access.fast is not None and not access.hints else 0
    aligned = access.aligned(access.run, known)
    inside = access.all_inside()
    condition = conjunction(g, [inside, aligned])
    if condition == "true":
        return fast()
    if vectors is not None and known == access.run:
        say(access.op.loc, lambda: f"each vector under a predicate: {access.edges()}")
        return vectors(access)  # each vector is inside or outside as a whole: no slow path
    if inside != "true":
        say(access.op.loc, lambda: f"bounds are asked at run time, and {access.in_words(known)} at the edge: {access.edges()}")
    if vectors is not None and known > 1:
        return either(g, access, condition, fast, lambda: vectors(access.narrowed(known)), types, codes)
    return either(g, access, condition, fast, slow, types, codes)


def either(
    g: Generator, access: GlobalAccess, condition: str, fast: Callable[[], Registers], slow: Callable[[], Registers], types: list[str], codes: Codes | None
) -> Registers:
    """Run `fast` where the condition holds, else `slow`; merge what they give."""
    e, number = g.e, g.e.fresh()
    labels = f"whole{number}", f"edge{number}", f"both{number}"
    known = dict(access.memo)
    e.branch(condition, labels[0], labels[1])
    ends = []
    for label, path in ((labels[0], fast), (labels[1], slow)):
        e.start(label)
        access.memo = dict(known)
        registers = path()
        ends.append((codes.words(registers) if codes else registers, e.label))
        e.jump(labels[2])
    e.start(labels[2])
    access.memo = known
    (a, from_a), (b, from_b) = ends
    merged = [e.phi(t, [(x, from_a), (y, from_b)]) for t, x, y in zip(["i32"] * len(a) if codes else types, a, b, strict=True)]
    return codes.elements(merged) if codes else merged


@emits(Load)
def load(g: Generator, op: Load) -> Sequence[Registers]:
    access = GlobalAccess(g, op, op.result.type)
    packed = access.packed
    count = registers_of(op.result.type)
    fast = (lambda: load_packed(g, access)) if packed else (lambda: load_vectors(g, access))
    one = load_bits if packed else load_element
    if not op.shape:  # indexed: the author's word that it is inside
        return [[one(g, access, 0, "true")]]
    vectors = lambda a: (load_packed if packed else load_vectors)(g, a, masked=True)  # noqa: E731
    slow = lambda: [one(g, access, r, access.inside(r)) for r in range(count)]  # noqa: E731
    codes = Codes(g.e, access.run, access.dtype.bits) if packed or (llvm_type(access.dtype) == "i8" and access.run % 4 == 0) else None
    return [two_paths(g, access, fast, slow, [llvm_type(access.dtype)] * count, vectors, codes)]


@emits(Store)
def store(g: Generator, op: Store) -> None:
    access = GlobalAccess(g, op, op.value.type)
    packed = access.packed
    values = g[op.value]
    one = store_bits if packed else store_element

    def slow() -> Registers:
        first = first_holder(g, op.value.type)
        for r, value in enumerate(values):
            one(g, access, r, value, conjunction(g, [access.inside(r) if op.value.type.shape else "true", first]))
        return []

    if not op.value.type.shape:
        slow()
        return
    vectors = None if packed or op.value.type.layout.is_replicated else lambda a: store_vectors(g, a, values, masked=True)
    two_paths(g, access, lambda: (store_packed if packed else store_vectors)(g, access, values), slow, [], vectors)


def first_holder(g: Generator, type: Any) -> str:
    """Whether this thread is the first of those that hold its elements; "true" where there is but one."""
    layout = type.layout
    if layout is None:
        return g.e.let(f"icmp eq i32 {g.thread}, 0")
    conditions = []
    for digit, place in layout.thread_places():
        if digit.dim < 0:
            value = g.e.let(f"urem i32 {g.e.let(f'udiv i32 {g.thread}, {place}')}, {digit.size}")
            conditions.append(g.e.let(f"icmp eq i32 {value}, 0"))
    return conjunction(g, conditions)


def load_vectors(g: Generator, access: GlobalAccess, masked: bool = False) -> Registers:
    """A vector at a time; if `masked`, each under its own predicate, and 0 where that is false."""
    out: Registers = []
    run, kind = access.run, in_memory(access.dtype)
    size = run * max(8, access.dtype.bits) // 8
    type = kind if run == 1 else f"<{run} x {kind}>"
    for register in range(0, len(access.place.offsets), run):
        address = access.pointer(access.element(register))
        condition = access.inside(register) if masked else "true"
        if access.hints:
            whole = hints.load(g, type, size, address, access.hints, condition)
        elif condition == "true":
            whole = g.e.let(f"load {type}, ptr addrspace(1) {address}, align {size}")
        else:
            whole = g.e.let(f"bitcast {word_type(size)} {load_words_where(g, address, size, condition)} to {type}")
        vector = [whole] if run == 1 else g.e.split(kind, whole, run)
        if not access.dtype.computes and run >= 4:
            tell(g.e, vector, bytes_of(g.e, kind, whole, run), 8)
        out += [from_memory(g, v, access.dtype) for v in vector]
    return out


def store_vectors(g: Generator, access: GlobalAccess, values: Registers, masked: bool = False) -> Registers:
    run, kind = access.run, in_memory(access.dtype)
    size = run * max(8, access.dtype.bits) // 8
    type = kind if run == 1 else f"<{run} x {kind}>"
    for register in range(0, len(values), run):
        raw = [to_memory(g, v, access.dtype) for v in values[register : register + run]]
        kept = () if kind != "i8" else words_of(g.e, raw, 8)
        vector = from_words(g, kept, size) if kept else raw[0] if run == 1 else g.e.join(kind, raw)
        address = access.pointer(access.element(register))
        condition = access.inside(register) if masked else "true"
        if access.hints:
            hints.store(g, type, size, address, vector, access.hints, condition)
        elif condition == "true":
            g.e.line(f"store {type} {vector}, ptr addrspace(1) {address}, align {size}")
        else:
            store_words_where(g, address, size, g.e.let(f"bitcast {type} {vector} to {word_type(size)}"), condition)
    return []


def from_words(g: Generator, words: Sequence[str], size: int) -> str:
    """So many bytes of words as a vector of i8."""
    whole = words[0] if len(words) == 1 else g.e.join("i32", words)
    return g.e.let(f"bitcast {word_type(size)} {whole} to <{size} x i8>")


def word_type(size: int) -> str:
    """The LLVM type of so many bytes as PTX moves them."""
    return f"i{8 * size}" if size <= 4 else f"<{size // 4} x i32>"


class Space(NamedTuple):
    """A state space of PTX: its name, LLVM's number for it, and the constraint of a register that holds an address."""

    name: str
    number: int
    letter: str

    def pointer(self, address: str) -> str:
        return f"ptr addrspace({self.number}) {address}"


GLOBAL, SHARED = Space("global", 1, "l"), Space("shared", 3, "r")


def load_words_where(g: Generator, address: str, size: int, condition: str, space: Space = GLOBAL) -> str:
    """1 to 16 bytes, of `word_type`, from an address; 0 where the condition is false."""
    if size <= 4:
        return load_where(g, address, 8 * size, condition, space)
    if condition == "true":
        return g.e.let(f"load {word_type(size)}, {space.pointer(address)}, align {size}")
    n = size // 4
    names = ", ".join(f"${i}" for i in range(n))
    code = "".join(f"mov.b32 ${i}, 0; " for i in range(n)) + f"@${n + 1} ld.{space.name}.v{n}.b32 {{{names}}}, [${n}];"
    result = "{" + ", ".join(["i32"] * n) + "}"
    constraints = ",".join(["=&r"] * n) + f",{space.letter},b"
    whole = g.e.asm(result, code, constraints, space.pointer(address), f"i1 {condition}", effect=True)
    return g.e.join("i32", g.e.extract(whole, result, n))


def store_words_where(g: Generator, address: str, size: int, value: str, condition: str, space: Space = GLOBAL) -> None:
    """Store 1 to 16 bytes, of `word_type`, where the condition holds."""
    if size <= 4:
        store_where(g, address, 8 * size, value, condition, space)
        return
    if condition == "true":
        g.e.line(f"store {word_type(size)} {value}, {space.pointer(address)}, align {size}")
        return
    n = size // 4
    words = g.e.split("i32", value, n)
    names = ", ".join(f"${i + 1}" for i in range(n))
    code = f"@${n + 1} st.{space.name}.v{n}.b32 [$0], {{{names}}};"
    constraints = ",".join([space.letter, *["r"] * n]) + ",b,~{memory}"
    g.e.asm("void", code, constraints, space.pointer(address), *(f"i32 {w}" for w in words), f"i1 {condition}", effect=True)


# PTX of a predicated access by width: the type, the register constraint, and the width of the register that holds it
WIDTHS = {8: ("u8", "h", 16), 16: ("b16", "h", 16), 32: ("b32", "r", 32), 64: ("b64", "l", 64)}


def load_where(g: Generator, address: str, bits: int, condition: str, space: Space = GLOBAL) -> str:
    """An integer of `bits` from an address, 0 where the condition is false."""
    if condition == "true":
        return g.e.let(f"load i{bits}, {space.pointer(address)}, align {bits // 8}")
    kind, letter, held = WIDTHS[bits]
    code = f"mov.b{held} $0, 0; @$2 ld.{space.name}.{kind} $0, [$1];"
    value = g.e.asm(f"i{held}", code, f"=&{letter},{space.letter},b", space.pointer(address), f"i1 {condition}", effect=True)
    return value if held == bits else g.e.let(f"trunc i{held} {value} to i{bits}")


def store_where(g: Generator, address: str, bits: int, value: str, condition: str, space: Space = GLOBAL) -> None:
    """Store an integer of `bits` where the condition holds."""
    if condition == "true":
        g.e.line(f"store i{bits} {value}, {space.pointer(address)}, align {bits // 8}")
        return
    kind, letter, held = WIDTHS[bits]
    value = value if held == bits else g.e.let(f"zext i{bits} {value} to i{held}")
    code = f"@$2 st.{space.name}.{kind} [$0], $1;"
    g.e.asm("void", code, f"{space.letter},{letter},b,~{{memory}}", space.pointer(address), f"i{held} {value}", f"i1 {condition}", effect=True)


def load_element(g: Generator, access: GlobalAccess, register: int, condition: str) -> str:
    value = load_where(g, access.pointer(access.element(register)), access.dtype.bits, condition)
    return from_code(g, value, access.dtype)


def store_element(g: Generator, access: GlobalAccess, register: int, value: str, condition: str) -> None:
    store_where(g, access.pointer(access.element(register)), access.dtype.bits, to_code(g, value, access.dtype), condition)


# types that don't fill bytes


def pieces_of(access: GlobalAccess) -> tuple[int, int]:
    """How a vector of packed elements is loaded: bytes of one word (1, 2 or 4) and how many words."""
    size = access.run * access.dtype.bits // 8
    word = math.gcd(size, 4)
    return word, size // word


def load_packed(g: Generator, access: GlobalAccess, masked: bool = False) -> Registers:
    """Whole words, from which each element is cut by shifts; each vector under its own predicate if `masked`."""
    out: Registers = []
    bits, (word, count) = access.dtype.bits, pieces_of(access)
    codes = Codes(g.e, access.run, bits)
    for register in range(0, len(access.place.offsets), access.run):
        address = access.pointer(access.element(register))
        condition = access.inside(register) if masked else "true"
        out += codes.cut(row_of(g, load_words(g, address, word, count, condition), 8 * word))
    return out


def row_of(g: Generator, words: Registers, width: int) -> tuple[str, ...]:
    """Words of 8, 16 or 32 bits as words of 32."""
    if width == 32:
        return tuple(words)
    row = []
    for first in range(0, len(words), 32 // width):
        parts = [g.e.let(f"zext i{width} {w} to i32") for w in words[first : first + 32 // width]]
        shifted = [p if i == 0 else g.e.let(f"shl i32 {p}, {i * width}") for i, p in enumerate(parts)]
        whole = shifted[0]
        for part in shifted[1:]:
            whole = g.e.let(f"or i32 {whole}, {part}")
        row.append(whole)
    return tuple(row)


def byte_offset(g: Generator, element: str, bits: int) -> str:
    return g.e.let(f"ashr i64 {g.e.let(f'mul nsw i64 {element}, {bits}')}, 3")


def load_words(g: Generator, address: str, word: int, count: int, condition: str = "true", space: Space = GLOBAL) -> Registers:
    """`count` words of 1, 2 or 4 bytes, 0 where the condition is false."""
    together = math.gcd(count, 4) if condition == "true" or word == 4 else 1  # words of one access
    kind = f"i{8 * word}"
    out: Registers = []
    for first in range(0, count, together):
        at = address if first == 0 else g.e.let(f"getelementptr inbounds i8, {space.pointer(address)}, i32 {first * word}")
        if condition != "true":
            whole = load_words_where(g, at, word * together, condition, space)
        else:
            whole = g.e.let(f"load {kind if together == 1 else f'<{together} x {kind}>'}, {space.pointer(at)}, align {word * together}")
        out += [whole] if together == 1 else g.e.split(kind, whole, together)
    return out


def store_packed(g: Generator, access: GlobalAccess, values: Registers) -> Registers:
    bits, run, (size, count) = access.dtype.bits, access.run, pieces_of(access)
    for register in range(0, len(values), run):
        address = access.pointer(access.element(register))
        codes = values[register : register + run]
        words = words_of(g.e, codes, bits) or packed_words(g.e, quads_of(g.e, codes), bits)
        for i in range(count):
            at = address if i == 0 else g.e.let(f"getelementptr inbounds i8, ptr addrspace(1) {address}, i64 {size * i}")
            word, byte = divmod(size * i, 4)
            piece = g.e.let(f"lshr i32 {words[word]}, {8 * byte}") if byte else words[word]
            piece = piece if size == 4 else g.e.let(f"trunc i32 {piece} to i{8 * size}")
            g.e.line(f"store i{8 * size} {piece}, ptr addrspace(1) {at}, align {size}")
    return []


def bit_place(g: Generator, access: GlobalAccess, register: int, width: int) -> tuple[str, str]:
    """The index of the `width`-bit word that an element starts in, an i64, and the bit within it, an i32."""
    bit = access.bit(register)
    word = g.e.let(f"ashr i64 {bit}, {width.bit_length() - 1}")
    return word, g.e.let(f"trunc i64 {g.e.let(f'and i64 {bit}, {width - 1}')} to i32")


def load_bits(g: Generator, access: GlobalAccess, register: int, condition: str) -> str:
    """One element from the byte or two that hold it; of a tensor that the kernel writes, from words, as atomics of other threads do."""
    if access.changes:
        word, shift = bit_place(g, access, register, WORD)
        return bits_of_words(g, words_at(g, access, word), shift, access.dtype.bits, condition)
    byte, shift = bit_place(g, access, register, 8)
    return bits_from(g, [access.byte(byte), access.byte(g.e.let(f"add nsw i64 {byte}, 1"))], shift, access.dtype.bits, condition)


def bits_from(g: Generator, addresses: Sequence[str], shift: str, bits: int, condition: str, space: Space = GLOBAL) -> str:
    """`bits` bits from bit `shift` of a byte on, an i8; the next byte is read only if they reach into it."""
    low = load_where(g, addresses[0], 8, condition, space)
    two = conjunction(g, [condition, g.e.let(f"icmp ugt i32 {shift}, {8 - bits}")])
    high = load_where(g, addresses[1], 8, two, space)
    pair = g.e.let(f"or i32 {g.e.let(f'zext i8 {low} to i32')}, {g.e.let(f'shl i32 {wide(g, high)}, 8')}")
    value = g.e.let(f"trunc i32 {g.e.let(f'lshr i32 {pair}, {shift}')} to i8")
    return g.e.let(f"and i8 {value}, {(1 << bits) - 1}")


def wide(g: Generator, byte: str) -> str:
    return g.e.let(f"zext i8 {byte} to i32")


def store_bits(g: Generator, access: GlobalAccess, register: int, value: str, condition: str) -> None:
    """One element by atomics on the 32-bit words that hold it, as its neighbours may have other writers."""
    word, shift = bit_place(g, access, register, WORD)
    bits_to(g, words_at(g, access, word), shift, access.dtype.bits, value, condition)


def words_at(g: Generator, access: GlobalAccess, word: str) -> list[str]:
    """The addresses of a word of a tensor and of the next one."""
    indices = word, g.e.let(f"add nsw i64 {word}, 1")
    return [g.e.let(f"getelementptr inbounds i32, ptr addrspace(1) {g.scalar(access.tensor)}, i64 {index}") for index in indices]


def bits_of_words(g: Generator, addresses: Sequence[str], shift: str, bits: int, condition: str) -> str:
    """`bits` bits from bit `shift` of a word of global memory on, an i8, by loads that atomics of other threads may overtake."""
    two = conjunction(g, [condition, g.e.let(f"icmp ugt i32 {shift}, {WORD - bits}")])
    code = "mov.b32 $0, 0; @$2 ld.relaxed.gpu.global.b32 $0, [$1];"
    low, high = (
        g.e.asm("i32", code, "=&r,l,b", GLOBAL.pointer(address), f"i1 {where}", effect=True)
        for address, where in zip(addresses, (condition, two), strict=True)
    )
    value = g.e.let(f"trunc i32 {g.e.call('i32', 'llvm.fshr.i32', f'i32 {high}', f'i32 {low}', f'i32 {shift}')} to i8")
    return g.e.let(f"and i8 {value}, {(1 << bits) - 1}")


def bits_to(g: Generator, addresses: Sequence[str], shift: str, bits: int, value: str, condition: str, space: Space = GLOBAL) -> None:
    """Put `bits` bits at bit `shift` of a 32-bit word on, by atomics; the next word is touched only if they reach into it."""
    mask = g.e.let(f"shl i64 {(1 << bits) - 1}, {g.e.let(f'zext i32 {shift} to i64')}")
    put = g.e.let(f"shl i64 {g.e.let(f'zext i8 {value} to i64')}, {g.e.let(f'zext i32 {shift} to i64')}")
    two = conjunction(g, [condition, g.e.let(f"icmp ugt i32 {shift}, {32 - bits}")])
    name = f"red.relaxed.{'gpu' if space is GLOBAL else 'cta'}.{space.name}"
    for half, (address, where) in enumerate(zip(addresses, (condition, two), strict=True)):
        part = [g.e.let(f"trunc i64 {g.e.let(f'lshr i64 {v}, {32 * half}')} to i32") for v in (mask, put)]
        clear = g.e.let(f"xor i32 {part[0]}, -1")
        code = f"@$3 {name}.and.b32 [$0], $1; @$3 {name}.or.b32 [$0], $2;"
        arguments = (space.pointer(address), f"i32 {clear}", f"i32 {part[1]}", f"i1 {where}")
        g.e.asm("void", code, f"{space.letter},r,r,b,~{{memory}}", *arguments, effect=True)
