"""Register layouts: which thread holds which element of a tile, and in which of its registers.

A layout is a total function from (thread, register) to the coordinates of a padded shape, written as a product of factors:

    local(2, 1).spatial(8, 4).local(1, 2)      # the accumulator of mma.m16n8: 32 threads, 4 registers each, a 16 x 8 tile

`local(m, n)` is one thread with m * n registers, `spatial(m, n)` is m * n threads with one register, both in row-major order, and
`column_local`, `column_spatial` the same in column-major order; in `replicated(n)` n threads hold the same element. In the product
`A * B` every element of A becomes a tile laid out like B: thread = threadA * B.threads + threadB, registers alike, and
coordinate = coordinateA * B.shape + coordinateB. (The notation is that of Hidet and Tilus, arXiv 2504.12984.)

Inside, thread and register numbers are written in mixed radix, and each digit walks along one dimension with a stride (or, replicated,
along none). The coordinates are then a sum over digits, and all of the algebra is bookkeeping on digits. Two invariants hold:

1. The digits of a dimension, sorted by stride, form a tower: 1, size0, size0 * size1, ... up to the extent. So every element is held
   by somebody, and by one (thread, register) only, up to replicated digits.
2. Neighbouring digits that walk on like one are merged, and digits of size 1 dropped. This form is unique: the lowest digit's size is
   the first number n for which f(n) != n * f(1), and by induction so are the others. Hence `==` on layouts is equality of functions.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from tilec.errors import TileError, require
from tilec.records import record

NOWHERE = -1  # the `dim` of a replicated digit


class Digit(NamedTuple):
    """A mixed-radix digit of a thread or register number: `size` steps of `stride` elements along dimension `dim`."""

    size: int
    dim: int
    stride: int


Digits = tuple[Digit, ...]  # most significant first


def _merge(digits: Iterable[Digit]) -> Digits:
    """The same number with as few digits as possible."""
    out: list[Digit] = []
    for low in digits:
        if low.size == 1:
            continue
        if out and out[-1].dim == low.dim and out[-1].stride == low.stride * low.size:
            low = Digit(out.pop().size * low.size, low.dim, low.stride)
        out.append(low)
    return tuple(out)


def _size(digits: Digits) -> int:
    return math.prod(digit.size for digit in digits)


def _places(digits: Digits) -> Iterator[tuple[Digit, int]]:
    """Each digit with its place value: digit = number // place % size. Least significant first."""
    place = 1
    for digit in reversed(digits):
        yield digit, place
        place *= digit.size


@record(repr=False)
class Layout:
    """(thread, register) -> coordinates of `shape`. Made by `local`, `spatial` and their kin, by `blocked`, and by `parse_layout`."""

    shape: tuple[int, ...]
    thread_digits: Digits
    register_digits: Digits

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "thread_digits", _merge(self.thread_digits))
        object.__setattr__(self, "register_digits", _merge(self.register_digits))
        reach = [1] * len(self.shape)
        for digit in sorted(self.thread_digits + self.register_digits, key=attrgetter("stride")):
            dim = digit.dim
            if dim == NOWHERE:
                continue
            if digit.stride != reach[dim]:
                raise TileError(f"dimension {dim} of the layout has no digit of stride {reach[dim]}, or has two")
            reach[dim] *= digit.size
        for dim, (found, extent) in enumerate(zip(reach, self.shape, strict=True)):
            if found != extent:
                raise TileError(f"dimension {dim} of the layout has {extent} elements but its digits make {found}")

    # What it is

    @property
    def rank(self) -> int:
        return len(self.shape)

    @cached_property
    def threads(self) -> int:
        """How many threads hold the tile."""
        return _size(self.thread_digits)

    @cached_property
    def registers(self) -> int:
        """How many elements each thread holds."""
        return _size(self.register_digits)

    @property
    def is_replicated(self) -> bool:
        """Whether some element is held more than once."""
        return any(digit.dim == NOWHERE for digit in self.thread_digits + self.register_digits)

    def canonical(self) -> Layout:
        """The unique form of this function: the layout itself, since every layout is brought to it when made."""
        return self

    def _tower(self, dim: int) -> list[tuple[Digit, int]]:
        """The digits along a dimension by rising stride, each with 0 for a thread's or 1 for a register's."""
        kinds = [(digit, 0) for digit in self.thread_digits] + [(digit, 1) for digit in self.register_digits]
        return sorted((entry for entry in kinds if entry[0].dim == dim), key=lambda entry: entry[0].stride)

    # The function

    def __call__(self, thread: Any, register: Any) -> tuple[Any, ...]:
        """The coordinates of one element; `thread` and `register` may be integers or NumPy arrays of them."""
        at: list[Any] = [0 * (thread + register)] * self.rank
        for number, digits in ((thread, self.thread_digits), (register, self.register_digits)):
            for digit, place in _places(digits):
                if digit.dim != NOWHERE:
                    at[digit.dim] = at[digit.dim] + number // place % digit.size * digit.stride
        return tuple(at)

    @cached_property
    def _coords(self) -> np.ndarray:
        thread, register = np.indices((self.threads, self.registers))
        out = np.stack(self(thread, register), axis=-1) if self.rank else np.zeros((self.threads, self.registers, 0), np.int64)
        out.flags.writeable = False
        return out

    def coords(self) -> np.ndarray:
        """All coordinates: a read-only int array [threads, registers, rank].

        The function is a sum, coords[t, r] == coords[t, 0] + coords[0, r]: registers are constant offsets from a thread's first.
        """
        return self._coords

    def locate(self, coords: Any) -> tuple[Any, Any]:
        """The first (thread, register) that holds the element at `coords`, one integer or array for each dimension."""
        thread: Any = 0 * sum(coords, start=0)
        register: Any = thread
        for digit, place in _places(self.thread_digits):
            if digit.dim != NOWHERE:
                thread = thread + coords[digit.dim] // digit.stride % digit.size * place
        for digit, place in _places(self.register_digits):
            if digit.dim != NOWHERE:
                register = register + coords[digit.dim] // digit.stride % digit.size * place
        return thread, register

    def find(self, coords: Sequence[int]) -> list[tuple[int, int]]:
        """Every (thread, register) that holds the element at `coords`, in rising order."""
        require(len(coords) == self.rank, f"expected {self.rank} coordinates, got {len(coords)}")
        for dim, (c, n) in enumerate(zip(coords, self.shape, strict=True)):
            require(0 <= c < n, f"coordinate {c} of dimension {dim} is outside of 0..{n - 1}")
        thread, register = self.locate(coords)
        return [(thread + t, register + r) for t in _echoes(self.thread_digits) for r in _echoes(self.register_digits)]

    def owner(self) -> tuple[np.ndarray, np.ndarray]:
        """Two int arrays of `shape`: the thread and the register of each element's first holder."""
        thread, register = np.indices((self.threads, self.registers))
        return self.gather(thread), self.gather(register)

    # Tiles in NumPy

    @cached_property
    def _order(self) -> tuple[int, np.ndarray, np.ndarray]:
        """(run, where the tile's elements lie in storage, which element lies in each place of storage), counted in runs: so many
        elements follow one another in both, so that copies are of whole runs."""
        low = _merge(self.thread_digits + self.register_digits)[-1:]
        run = low[0].size if low and (low[0].dim, low[0].stride) == (self.rank - 1, 1) else 1
        if self.rank == 0:
            return 1, np.zeros(1, np.intp), np.zeros(self.threads * self.registers, np.intp)
        thread, register = self.locate(np.indices(self.shape))
        elements = np.ravel_multi_index(tuple(np.moveaxis(self.coords(), -1, 0)), self.shape)
        return run, (thread * self.registers + register).ravel()[::run] // run, elements.ravel()[::run] // run

    def gather(self, storage: np.ndarray, shape: Sequence[int] | None = None) -> np.ndarray:
        """The tile [..., *shape] held by registers [..., threads, registers]. A `shape` within the layout's crops the padding."""
        lead = storage.shape[:-2]
        if storage.shape[-2:] != (self.threads, self.registers):  # no `require`: the message would cost more than the work
            raise TileError(f"registers of shape {list(storage.shape)} for the layout {self}")
        run, holders, _ = self._order
        tile = storage.reshape((*lead, -1, run)).take(holders, axis=-2, mode="clip").reshape(lead + self.shape)
        return tile if shape is None or tuple(shape) == self.shape else tile[self._crop(shape)]

    def scatter(self, tile: np.ndarray, fill: Any = 0) -> np.ndarray:
        """The registers [..., threads, registers] that hold a tile [..., *shape]; if it is smaller, the padding gets `fill`."""
        n = tile.ndim - self.rank
        lead, shape = tile.shape[:n], tile.shape[n:]
        if shape != self.shape:
            padded = np.full(lead + self.shape, fill, tile.dtype)
            padded[self._crop(shape)] = tile
            tile = padded
        run, _, elements = self._order
        storage = tile.reshape((*lead, -1, run)).take(elements, axis=-2, mode="clip")
        return storage.reshape((*lead, self.threads, self.registers))

    def _crop(self, shape: Sequence[int]) -> tuple[Any, ...]:
        fits = len(shape) == self.rank and all(a <= b for a, b in zip(shape, self.shape, strict=False))
        require(fits, f"a tile of shape {list(shape)} does not fit a layout of shape {list(self.shape)}")
        return (..., *(slice(extent) for extent in shape))

    # Product and division

    def _raised(self, rank: int) -> Layout:
        """A rank-0 layout as one of any rank with a single element; every other layout as it is."""
        return self if self.rank else Layout((1,) * rank, self.thread_digits, self.register_digits)

    def then(self, other: Layout) -> Layout:
        """The product `self * other`: every element of this layout becomes a tile laid out like `other`. Raises if ranks differ."""
        a, b = self._raised(other.rank), other._raised(self.rank)
        if a.rank != b.rank:  # no `require`: the message would cost more than the work
            raise TileError(f"a product of layouts of rank {a.rank} and {b.rank}: {self} and {other}")
        shape = tuple(m * n for m, n in zip(a.shape, b.shape, strict=True))
        threads = _scaled(a.thread_digits, b.shape) + b.thread_digits
        return Layout(shape, threads, _scaled(a.register_digits, b.shape) + b.register_digits)

    __mul__ = then

    def try_divide(self, other: Layout) -> Layout | None:
        """The X with X * other == self, or None."""
        return _divide(self, other)

    def try_left_divide(self, other: Layout) -> Layout | None:
        """The X with other * X == self, or None."""
        return _left_divide(self, other)

    def divide(self, other: Layout) -> Layout:
        """The X with X * other == self. Raises TileError if there is none."""
        quotient = _divide(self, other)
        if quotient is None:
            raise TileError(f"the layout {self} is not a multiple of {other}")
        return quotient

    __truediv__ = divide

    def left_divide(self, other: Layout) -> Layout:
        """The X with other * X == self. Raises TileError if there is none."""
        quotient = _left_divide(self, other)
        if quotient is None:
            raise TileError(f"the layout {self} does not begin with {other}")
        return quotient

    def local(self, *shape: int) -> Layout:
        return self * local(*shape)

    def spatial(self, *shape: int) -> Layout:
        return self * spatial(*shape)

    def column_local(self, *shape: int) -> Layout:
        return self * column_local(*shape)

    def column_spatial(self, *shape: int) -> Layout:
        return self * column_spatial(*shape)

    def replicated(self, threads: int, registers: int = 1) -> Layout:
        return self * replicated(threads, registers)

    # Other shapes

    def _onto(self, shape: Sequence[int], move: Callable[[Digit], Iterable[Digit]]) -> Layout:
        """The layout of `shape` with each digit replaced by what `move` makes of it, most significant first; replicas stay."""

        def moved(digits: Digits) -> Digits:
            return tuple(itertools.chain.from_iterable((d,) if d.dim == NOWHERE else move(d) for d in digits))

        return Layout(tuple(shape), moved(self.thread_digits), moved(self.register_digits))

    def _axis(self, axis: int) -> int:
        require(-self.rank <= axis < self.rank, f"axis {axis} of a layout of rank {self.rank}")
        return axis % self.rank

    def permute(self, dims: Sequence[int]) -> Layout:
        """Dimension i of the result is dimension `dims[i]` of this layout, as in np.transpose."""
        dims = [self._axis(d) for d in dims]
        require(sorted(dims) == list(range(self.rank)), f"{list(dims)} is not an order of {self.rank} dimensions")
        return self._onto([self.shape[d] for d in dims], lambda d: [d._replace(dim=dims.index(d.dim))])

    def transpose(self) -> Layout:
        """All dimensions in reverse."""
        return self.permute(range(self.rank)[::-1])

    def reshape(self, shape: Sequence[int]) -> Layout:
        """The same elements in row-major order, numbered by another shape. Raises TileError if that is no layout."""
        require(math.prod(shape) == math.prod(self.shape), f"a layout of shape {list(self.shape)} has no shape {list(shape)}")
        # First to one dimension, so that digits which walk on from one dimension to the next become one
        line = self._onto([math.prod(self.shape)], lambda d: [Digit(d.size, 0, d.stride * math.prod(self.shape[d.dim + 1 :]))])
        tower = [Digit(n, dim, 1) for dim, n in enumerate(shape)]

        def split(digit: Digit) -> Iterable[Digit]:
            pieces = walk(digit.size, digit.stride, tower)
            if pieces is None:
                raise TileError(f"the layout {self} can't be reshaped to {list(shape)}: steps of {digit.stride} would bend")
            return pieces

        return line._onto(shape, split)

    def unsqueeze(self, axis: int) -> Layout:
        """A new dimension of extent 1 at `axis`."""
        axis = axis + self.rank + 1 if axis < 0 else axis
        require(0 <= axis <= self.rank, f"no place {axis} for a new dimension in a layout of rank {self.rank}")
        return self._onto((*self.shape[:axis], 1, *self.shape[axis:]), lambda d: [d._replace(dim=d.dim + (d.dim >= axis))])

    def squeeze(self, axis: int) -> Layout:
        """Without the dimension `axis`, of extent 1."""
        axis = self._axis(axis)
        require(self.shape[axis] == 1, f"dimension {axis} of {list(self.shape)} is not 1")
        return self._onto(self.shape[:axis] + self.shape[axis + 1 :], lambda d: [d._replace(dim=d.dim - (d.dim > axis))])

    def reduce(self, axes: int | Iterable[int], keepdims: bool = False) -> Layout:
        """The layout of a reduction's result: threads along `axes` all hold it, and registers that would hold one element are one."""
        gone = {self._axis(a) for a in ((axes,) if isinstance(axes, int) else axes)}
        shape = tuple(1 if d in gone else n for d, n in enumerate(self.shape))
        threads = tuple(Digit(d.size, NOWHERE, 0) if d.dim in gone else d for d in self.thread_digits)
        registers = tuple(d for d in self.register_digits if d.dim not in gone and d.dim != NOWHERE)
        result = Layout(shape, threads, registers)
        for axis in sorted(gone, reverse=True) if not keepdims else ():
            result = result.squeeze(axis)
        return result

    def collapse(self, axes: Iterable[int], lanes: int = 1, registers: bool = False) -> Layout:
        """A part of a reduction along `axes`: the digits of the thread number that number places within groups of `lanes` threads become
        replicas; registers along them vanish if `registers`. What stays of an axis is numbered anew without gaps."""
        gone = {self._axis(a) for a in axes}
        threads = [piece for digit, place in self.thread_places() for piece in _cut(digit, place, lanes)]
        kinds = [(d, lanes % (place * d.size) != 0) for d, place in threads] + [(d, not registers) for d in self.register_digits]
        shape, moved = list(self.shape), dict[Digit, Digit]()
        for axis in gone:
            reach = 1
            for digit, stays in sorted((entry for entry in kinds if entry[0].dim == axis), key=lambda entry: entry[0].stride):
                moved[digit] = digit._replace(stride=reach) if stays else Digit(digit.size, NOWHERE, 0)
                reach *= digit.size if stays else 1
            shape[axis] = reach
        kept = [d for d in self.register_digits if not (registers and d.dim in gone)]
        return Layout(
            tuple(shape), tuple(moved.get(d, d) for d, _ in reversed(threads)), tuple(moved.get(d, d) for d in kept)
        )  # fmt: skip

    def concat(self, other: Layout) -> Layout:
        """The outer product: this layout along the first dimensions, `other` along the last; threads and registers as in a product."""
        return Layout(self.shape + (1,) * other.rank, self.thread_digits, self.register_digits) * Layout(
            (1,) * self.rank + other.shape,
            *(tuple(d if d.dim == NOWHERE else d._replace(dim=d.dim + self.rank) for d in digits)
              for digits in (other.thread_digits, other.register_digits)),
        )  # fmt: skip

    def cover(self, shape: Sequence[int]) -> Layout:
        """This layout repeated in registers until it covers `shape`: a fragment spread over a tile, or a broadcast dimension."""
        require(len(shape) == self.rank, f"a layout of rank {self.rank} can't cover {list(shape)}")
        return local(*(-(-m // n) for m, n in zip(shape, self.shape, strict=True))) * self

    def compose(self, inner: Layout) -> Layout:
        """(t, r) -> self(*inner(t, r)): `inner` renumbers threads and registers, its shape is (threads, registers) of this layout."""
        require(inner.shape == (self.threads, self.registers), f"expected a layout of shape {[self.threads, self.registers]}")

        def through(digit: Digit) -> Iterable[Digit]:
            pieces = walk(digit.size, digit.stride, (self.thread_digits, self.register_digits)[digit.dim])
            if pieces is None:
                raise TileError(f"the composition of {self} with {inner} is no layout")
            return pieces

        return inner._onto(self.shape, through)

    def inverse(self) -> Layout:
        """Element number, in row-major order, to (thread, register): a layout of shape (threads, registers) with one thread, whose
        register e is element e. Raises TileError if elements are held more than once."""
        if self.is_replicated:
            raise TileError(f"the layout {self} holds elements more than once, so it has no inverse")
        places = {(d, 0): p for d, p in _places(self.thread_digits)} | {(d, 1): p for d, p in _places(self.register_digits)}
        towers = (reversed(self._tower(dim)) for dim in range(self.rank))
        digits = tuple(Digit(d.size, kind, places[d, kind]) for tower in towers for d, kind in tower)
        return Layout((self.threads, self.registers), (), digits)

    # What a compiler asks

    def vector_run(self, axis: int = -1) -> int:
        """How many consecutive registers hold consecutive elements along `axis`: registers i*n .. i*n+n-1 do, for every i, starting at a
        multiple of n."""
        low = self.register_digits[-1] if self.register_digits else None
        return low.size if low and low.dim == self._axis(axis) and low.stride == 1 else 1

    @lru_cache(maxsize=256)  # noqa: B019 - layouts are few and small
    def registers_in(self, source: Layout) -> np.ndarray:
        """Where each register's element lies in `source`, in the same thread: an int array [threads, registers], -1 where another
        thread must supply it. Dimensions of extent 1 in `source` are broadcast, as in NumPy; beyond its shape any register will do: 0."""
        require(source.rank == self.rank, f"layouts of rank {self.rank} and {source.rank}")
        require(source.threads == self.threads, f"layouts of {self.threads} and {source.threads} threads")
        coords = self.coords() * np.array([n > 1 for n in source.shape], np.int64)
        need, register = source.locate(np.moveaxis(coords, -1, 0))
        have, _ = source.locate(source(np.arange(self.threads)[:, None], 0))
        beyond = (coords >= np.array(source.shape, np.int64)).any(axis=-1)
        found = np.where(beyond, 0, np.where(need == have, register, -1))
        found.flags.writeable = False
        return found

    @lru_cache(maxsize=256)  # noqa: B019
    def suppliers(self, source: Layout, lanes: int = 32) -> list[list[int]] | None:
        """For each register the registers of `source` in which threads of the same warp hold its elements, in the lane that the digits below a
        warp tell; None if another warp must supply one, if it lies in another lane, or if something lies in padding."""
        if source.rank != self.rank or source.threads != self.threads or self.shape != source.shape or self.threads % lanes:
            return None
        coords = np.moveaxis(self.coords(), -1, 0)
        need, register = source.locate(coords)
        threads = np.arange(self.threads)
        have, _ = source.locate(source(threads[:, None], 0))
        told = [(d, place) for d, place in source.thread_places() if place < lanes and d.dim != NOWHERE]
        lane = sum((coords[d.dim] // d.stride % d.size * place for d, place in told), start=np.zeros_like(need)) % lanes
        if not (have[(threads - threads % lanes)[:, None] + lane, 0] == need).all():
            return None
        return [sorted(set(column.tolist())) for column in register.T]

    def holding(self, coords: np.ndarray, shape: np.ndarray) -> np.ndarray | None:
        """Where each thread holds the elements at `coords` [threads, n, rank]: for each of the n the register, one and the same in all threads;
        None if some thread does not hold its element, or not there. Coordinates outside of `shape` may be anywhere."""
        matters = ((coords >= 0) & (coords < shape)).all(axis=-1)
        need, register = self.locate(np.moveaxis(np.clip(coords, 0, np.array(self.shape) - 1), -1, 0))
        have, _ = self.locate(self(np.arange(self.threads)[:, None], 0))
        held = np.where(matters, register, -1).max(axis=0, initial=-1)
        good = ~matters | ((need == have) & (register == held))
        return np.maximum(held, 0) if good.all() else None

    def register_places(self) -> list[tuple[Digit, int]]:
        """The digits of the register number with their place values, lowest first."""
        return list(_places(self.register_digits))

    def thread_places(self) -> list[tuple[Digit, int]]:
        """The digits of the thread number with their place values, lowest first."""
        return list(_places(self.thread_digits))

    # Modes, the notation of Hidet and Tilus

    @staticmethod
    def from_modes(
        shape: Sequence[int], mode_shape: Sequence[int], spatial_modes: Sequence[int], local_modes: Sequence[int]
    ) -> Layout:
        """`mode_shape` splits each dimension in turn into modes, most significant first. `spatial_modes` and `local_modes` say which
        mode each digit of the thread and register number walks, most significant first; -n is a digit of n replicas."""
        modes = _split_modes(shape, mode_shape)
        used = sorted(m for m in (*spatial_modes, *local_modes) if m >= 0)
        require(used == list(range(len(modes))), f"each of the {len(modes)} modes must be walked once, got {used}")

        def digits(walked: Sequence[int]) -> Digits:
            return tuple(modes[m] if m >= 0 else Digit(-m, NOWHERE, 0) for m in walked)

        return Layout(tuple(shape), digits(spatial_modes), digits(local_modes))

    @cached_property
    def _modes(self) -> list[tuple[Digit, int]]:
        return [entry for dim in range(self.rank) for entry in reversed(self._tower(dim))]

    @property
    def mode_shape(self) -> tuple[int, ...]:
        return tuple(digit.size for digit, _ in self._modes)

    @property
    def spatial_modes(self) -> tuple[int, ...]:
        return tuple(-d.size if d.dim == NOWHERE else self._modes.index((d, 0)) for d in self.thread_digits)

    @property
    def local_modes(self) -> tuple[int, ...]:
        return tuple(-d.size if d.dim == NOWHERE else self._modes.index((d, 1)) for d in self.register_digits)

    # Text

    def factors(self) -> list[tuple[str, tuple[int, ...]]] | None:
        """The product as (name, sizes) of each factor, or None if this layout is no product."""
        return _factors(self)

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        """Kept, since every check of a type names layouts in the message that it may need."""
        factors = _factors(self)
        if factors is not None:
            return ".".join(f"{name}({', '.join(map(str, sizes))})" for name, sizes in factors)
        shape, split = list(self.shape), list(self.mode_shape)
        return f"modes(shape={shape}, split={split}, spatial={list(self.spatial_modes)}, local={list(self.local_modes)})"

    __repr__ = __str__


# The factors


def _cut(digit: Digit, place: int, lanes: int) -> list[tuple[Digit, int]]:
    """A digit with its place, in two (lower first) if only its lower part stays within groups of `lanes` threads."""
    low = math.gcd(digit.size, lanes // place) if lanes % place == 0 else 1
    if low in (1, digit.size):
        return [(digit, place)]
    return [(digit._replace(size=low), place), (digit._replace(size=digit.size // low, stride=digit.stride * low), place * low)]


def _row_major(shape: Sequence[int], dims: Iterable[int]) -> Digits:
    for n in shape:
        require(isinstance(n, (int, np.integer)) and n >= 1, f"the sizes of a layout are positive integers, got {n!r}")
    return tuple(Digit(int(shape[d]), d, 1) for d in dims)


def local(*shape: int) -> Layout:
    """One thread that holds a tile in row-major order."""
    return Layout(shape, (), _row_major(shape, range(len(shape))))


def spatial(*shape: int) -> Layout:
    """A thread for each element, in row-major order."""
    return Layout(shape, _row_major(shape, range(len(shape))), ())


def column_local(*shape: int) -> Layout:
    """One thread that holds a tile in column-major order (the first dimension varies fastest)."""
    return Layout(shape, (), _row_major(shape, range(len(shape))[::-1]))


def column_spatial(*shape: int) -> Layout:
    """A thread for each element, in column-major order (the first dimension varies fastest)."""
    return Layout(shape, _row_major(shape, range(len(shape))[::-1]), ())


def replicated(threads: int, registers: int = 1, *, rank: int = 0) -> Layout:
    """One element, held by `threads` threads in `registers` registers each. In a product, rank 0 takes the other factor's rank."""
    t, r = _row_major((threads, registers), (0, 1))
    return Layout((1,) * rank, (Digit(t.size, NOWHERE, 0),), (Digit(r.size, NOWHERE, 0),))


def scalar(threads: int) -> Layout:
    """The layout of a tile of rank 0: each of `threads` threads holds its element."""
    return replicated(threads)


WARP = 32  # threads


@lru_cache(maxsize=1024)
def blocked(shape: tuple[int, ...], threads: int, vector: int = 1, order: tuple[int, ...] | None = None) -> Layout:
    """The layout for coalesced access to a tile of `shape`: each thread holds up to `vector` consecutive elements along the fastest axis,
    threads follow one another along it and then along the others, and what is left repeats in registers.

    `order` lists the axes, fastest first (default: the last axis first). The layout's shape is `shape` rounded up; threads that find
    nothing to do are replicas, as the top digits of the thread number. The run of a thread is the largest divisor of `vector` that
    divides the axis. Threads are shared out for the fewest registers; up to a third more are accepted for more threads along the fastest
    axis, until a warp lies along it.
    """
    axes = tuple(order) if order is not None else tuple(range(len(shape)))[::-1]
    require(sorted(axes) == list(range(len(shape))), f"{list(axes)} is not an order of {len(shape)} axes")
    require(threads >= 1 and vector >= 1, f"expected at least one thread and one element, got {threads} and {vector}")
    require(all(n >= 1 for n in shape), f"the sizes of a tile are positive, got {list(shape)}")
    run = max(v for v in _divisors(vector) if shape[axes[0]] % v == 0) if axes else 1
    work = [shape[axis] // (run if axis == axes[0] else 1) for axis in axes]
    plans = [(plan, math.prod(-(-n // t) for n, t in zip(work, plan, strict=True))) for plan in _shares(tuple(work), threads)]
    least = min(registers for _, registers in plans)
    plan = max((min(plan[:1], (WARP,)), -registers, tuple(-t for t in plan), plan) for plan, registers in plans if 3 * registers <= 4 * least)[3]
    layout = replicated(threads // math.prod(plan), rank=len(shape))
    for factor, sizes in ((local, [-(-n // t) for n, t in zip(work, plan, strict=True)]), (spatial, plan)):
        for axis, n in reversed(list(zip(axes, sizes, strict=True))):
            layout = layout * factor(*(n if axis == d else 1 for d in range(len(shape))))
    return layout.local(*(run if d == axes[0] else 1 for d in range(len(shape)))) if axes else layout


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _shares(work: tuple[int, ...], threads: int) -> list[tuple[int, ...]]:
    """All ways to give each axis a number of threads that divides what the faster axes left, and none that would find no work."""
    if not work:
        return [()]
    enough = next((d for d in _divisors(threads) if d >= work[0]), threads)
    return [(d, *rest) for d in _divisors(threads) if d <= enough for rest in _shares(work[1:], threads // d)]


# Bookkeeping on digits


def _scaled(digits: Digits, shape: Sequence[int]) -> Digits:
    return tuple(d if d.dim == NOWHERE else d._replace(stride=d.stride * shape[d.dim]) for d in digits)


def _echoes(digits: Digits) -> list[int]:
    """The numbers that differ from 0 in replicated digits only."""
    steps = [[i * place for i in range(d.size)] for d, place in _places(digits) if d.dim == NOWHERE]
    return sorted(sum(choice) for choice in itertools.product(*steps))


def walk(size: int, stride: int, tower: Sequence[Digit]) -> list[Digit] | None:
    """What a digit that steps through the numbers 0, stride, 2 * stride, ... does to the digits of such a number, `tower`.

    All most significant first. None if some digit would not advance by equal steps, as 0, 2, 4 does in radix 3.
    """
    out: list[Digit] = []
    for digit in reversed(tower):
        if stride % digit.size == 0:  # passes over this digit
            stride //= digit.size
            continue
        if digit.size % stride:
            return None
        steps = min(size, digit.size // stride)
        if size % steps:
            return None
        out.append(Digit(steps, digit.dim, digit.stride * stride))
        size, stride = size // steps, 1
        if size == 1:
            break
    return out[::-1] if size == 1 else None


def _peel(digits: Digits, low: Digits) -> Digits | None:
    """The X with X + low == digits as numbers. Only the top digit of `low` can have been merged with its neighbour in X."""
    if not low:
        return digits
    at = len(digits) - len(low)
    if at < 0 or digits[at + 1 :] != low[1:]:
        return None
    (size, dim, stride), top = digits[at], low[0]
    if (dim, stride) != (top.dim, top.stride) or size % top.size:
        return None
    return (*digits[:at], Digit(size // top.size, dim, stride * top.size))


def _behead(digits: Digits, high: Digits) -> Digits | None:
    """The X with high + X == digits as numbers. Only the bottom digit of `high` can have been merged with its neighbour in X."""
    if not high:
        return digits
    at = len(high) - 1
    if at >= len(digits) or digits[:at] != high[:at]:
        return None
    (size, dim, stride), bottom = digits[at], high[at]
    rest = size // bottom.size
    if dim != bottom.dim or size % bottom.size or stride * rest != bottom.stride:
        return None
    return (Digit(rest, dim, stride), *digits[at + 1 :])


@lru_cache(maxsize=4096)
def _divide(a: Layout, b: Layout) -> Layout | None:
    b = b._raised(a.rank)
    threads, registers = _peel(a.thread_digits, b.thread_digits), _peel(a.register_digits, b.register_digits)
    if a.rank != b.rank or threads is None or registers is None:
        return None
    # b's digits are the bottom of each of a's towers, so what is left stands on multiples of b's extents
    return Layout(
        tuple(m // n for m, n in zip(a.shape, b.shape, strict=True)), *(_unscaled(d, b.shape) for d in (threads, registers))
    )


@lru_cache(maxsize=4096)
def _left_divide(a: Layout, b: Layout) -> Layout | None:
    b = b._raised(a.rank)
    if a.rank != b.rank or any(m % n for m, n in zip(a.shape, b.shape, strict=True)):
        return None
    rest = tuple(m // n for m, n in zip(a.shape, b.shape, strict=True))
    threads = _behead(a.thread_digits, _scaled(b.thread_digits, rest))
    registers = _behead(a.register_digits, _scaled(b.register_digits, rest))
    return None if threads is None or registers is None else Layout(rest, threads, registers)


def _unscaled(digits: Digits, shape: Sequence[int]) -> Digits:
    return tuple(d if d.dim == NOWHERE or d.size == 1 else d._replace(stride=d.stride // shape[d.dim]) for d in digits)


def _split_modes(shape: Sequence[int], mode_shape: Sequence[int]) -> list[Digit]:
    modes: list[Digit] = []
    sizes = list(mode_shape)
    for dim, extent in enumerate(shape):
        taken: list[int] = []
        while sizes and math.prod(taken) < extent:
            taken.append(sizes.pop(0))
        require(math.prod(taken) == extent, f"the modes {list(mode_shape)} don't split the shape {list(shape)}")
        modes += [Digit(n, dim, math.prod(taken[i + 1 :])) for i, n in enumerate(taken)]
    require(all(n == 1 for n in sizes), f"the modes {list(mode_shape)} don't split the shape {list(shape)}")
    return modes + [Digit(1, NOWHERE, 0) for _ in sizes]


# Text


def _factors(layout: Layout) -> list[tuple[str, tuple[int, ...]]] | None:
    """Peel digits that stand on the ground of their dimension from the end of the thread or register number, until none is left."""
    left = {"local": list(layout.register_digits), "spatial": list(layout.thread_digits)}
    ground = [1] * layout.rank
    peeled: list[tuple[str, list[Digit]]] = []  # least significant first
    while any(left.values()):
        kinds = sorted(left, key=lambda kind: kind != (peeled[-1][0] if peeled else "local"))  # go on with the same kind if possible
        kind = next((k for k in kinds if left[k] and _is_ground(left[k][-1], ground)), None)
        if kind is None:
            return None
        digit = left[kind].pop()
        if digit.dim != NOWHERE:
            ground[digit.dim] *= digit.size
        if peeled and peeled[-1][0] == kind and _is_ordered([*peeled[-1][1], digit]):
            peeled[-1][1].append(digit)
        else:
            peeled.append((kind, [digit]))
    factors = [_factor(kind, digits, layout.rank) for kind, digits in reversed(peeled)]
    ranked = layout.rank == 0 or any(name != "replicated" for name, _ in factors)
    return factors if factors and ranked else [*factors, ("local", (1,) * layout.rank)]


def _is_ground(digit: Digit, ground: list[int]) -> bool:
    return digit.dim == NOWHERE or digit.stride == ground[digit.dim]


def _is_ordered(digits: list[Digit]) -> bool:
    """Whether these digits, least significant first, make one row-major or one column-major factor."""
    dims = [digit.dim for digit in digits]
    falling, rising = (all(a * s < b * s for a, b in itertools.pairwise(dims)) for s in (-1, 1))
    return NOWHERE not in dims and (falling or rising)


def _factor(kind: str, digits: list[Digit], rank: int) -> tuple[str, tuple[int, ...]]:
    if digits[0].dim == NOWHERE:
        return "replicated", (digits[0].size,) if kind == "spatial" else (1, digits[0].size)
    size = {digit.dim: digit.size for digit in digits}
    row_major = len(digits) == 1 or digits[0].dim > digits[1].dim
    return kind if row_major else f"column_{kind}", tuple(size.get(dim, 1) for dim in range(rank))


def _modes_factor(shape: Sequence[int], split: Sequence[int], spatial: Sequence[int], local: Sequence[int]) -> Layout:
    return Layout.from_modes(shape, split, spatial, local)


FACTORS: dict[str, Callable[..., Layout]] = {
    "local": local,
    "spatial": spatial,
    "column_local": column_local,
    "column_spatial": column_spatial,
    "replicated": replicated,
    "modes": _modes_factor,
}


@lru_cache(maxsize=4096)
def parse_layout(text: str) -> Layout:
    """The layout that `text` describes, as `str(layout)` writes it; factors may also be joined by `*`. Raises TileError."""
    try:
        return _evaluate(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError, ValueError) as error:
        hint = "a layout is a product such as local(2, 1).spatial(8, 4).local(1, 2)"
        raise TileError(f"not a layout: {text!r}", hint=hint) from error


def _evaluate(node: ast.expr) -> Layout:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _evaluate(node.left) * _evaluate(node.right)
    if not isinstance(node, ast.Call):
        raise ValueError
    args = [ast.literal_eval(arg) for arg in node.args]
    named = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
    require(name in FACTORS, f"no layout is called {name!r}", hint=f"there are {', '.join(FACTORS)}")
    factor = FACTORS[name](*args, **named)
    return _evaluate(node.func.value) * factor if isinstance(node.func, ast.Attribute) else factor
