"""The memories of a wave: a heap with red zones, shared, local and param memory, generic addresses, atomics, and the cp.async queue.

A space is one array of bytes. A thread reaches byte `base + address` of it, where `base` is (B, 1) for shared memory (each block has its
own part), (B, T) for local memory and 0 for the others; addresses arrive relative to the space (see codegen.Writer.address). Aligned
accesses of n bytes go through a view whose items have n bytes, so a misaligned address is rounded down; the checks report it.

With checks on, every byte has a state in a second array: NONE (red zone), UNWRITTEN, WRITTEN, or PENDING: the destination of a cp.async
that its thread has not waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilec.sim.values import HEAP, WINDOWS

Array = np.ndarray[Any, Any]
NONE, UNWRITTEN, WRITTEN, PENDING = range(4)
RED_ZONE = 512
LOG2 = {1: 0, 2: 1, 4: 2, 8: 3, 16: 4}
VIEWS = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}


class Space:
    """Bytes of one state space; `state` is None unless checks are on."""

    def __init__(self, name: str, size: int, base: Array | None, window: int, checked: bool, fill: int = NONE):
        self.name, self.base, self.window = name, base, window
        size = -(-max(size, 16) // 16) * 16
        self.bytes = np.zeros(size, np.uint8)
        self.views = {n: self.bytes.view(t) for n, t in VIEWS.items()}
        self.state = np.full(size, fill, np.uint8) if checked else None

    def index(self, address: Array) -> Array:
        """Byte index of an address."""
        return address if self.base is None else address + self.base


@dataclass
class Access:
    """One memory instruction: `index` are the bytes' indices in the space, `mask` (B, T) or None, `kind` load, store, atomic or async."""

    at: int
    kind: str
    space: Space
    address: Array
    index: Array
    size: int
    mask: Array | None
    strong: bool = False
    data: Array | None = None  # what a store writes, as items of `size` bytes; the first operand of an atomic
    neutral: int | None = None  # atomics: bytes of `data` that have this value change nothing
    wanted: bool = True  # atomics: whether the old value is


@dataclass
class Copy:
    """A cp.async that has not landed: `group` is the number of groups its thread had committed before."""

    at: int
    index: Array  # bytes of shared memory
    data: Array
    size: int
    mask: Array
    group: Array


class Memory:
    """All spaces of one wave. `machine` is set by the run; `checker` and `costs` observe accesses if they are not None."""

    def __init__(self, heap: Space, shared_bytes: int, dynamic_bytes: int, local_bytes: int, param: bytes, B: int, T: int, checked: bool):
        self.heap = heap
        self.shape = (B, T)
        self.dynamic_bytes, self.shared_bytes = dynamic_bytes, shared_bytes
        pitch = -(-(shared_bytes + 16) // 256) * 256
        self.shared_pitch = pitch
        self.local_pitch = local_bytes + 16 if local_bytes else 16
        self.local_pitch = -(-self.local_pitch // 16) * 16
        blocks = np.arange(B, dtype=np.int64).reshape(B, 1)
        self.shared = Space("shared", pitch * B, blocks * pitch, WINDOWS["shared"], checked)
        threads = np.arange(B * T, dtype=np.int64).reshape(B, T)
        size = self.local_pitch * B * T if local_bytes else 16
        self.local = Space("local", size, threads * self.local_pitch, WINDOWS["local"], checked)
        self.param = Space("param", len(param) + 16, None, WINDOWS["param"], checked)
        self.param.bytes[: len(param)] = np.frombuffer(param, np.uint8)
        self.local_bytes = local_bytes
        if checked:
            assert self.shared.state is not None
            assert self.local.state is not None
            assert self.param.state is not None
            self.shared.state.reshape(B, pitch)[:, :shared_bytes] = UNWRITTEN
            if local_bytes:
                self.local.state.reshape(B * T, self.local_pitch)[:, :local_bytes] = UNWRITTEN
            self.param.state[: len(param)] = WRITTEN
        self.spaces = {"global": heap, "shared": self.shared, "local": self.local, "param": self.param}
        self.checker: Any = None
        self.costs: Any = None
        self.pending: list[Copy] = []
        self.committed: Array = np.zeros((1, 1), np.int32)
        self.live: Array = np.ones((1, 1), bool)  # threads of whole warps that exist
        self.version = 0  # rises with every write that may change something
        self.fault: Callable[[Access], None] = lambda access: None

    # Where an address leads

    def parts(self, space: str, address: Array, mask: Array | None) -> list[tuple[Space, Array, Array | None]]:
        """(space, address within it, mask) for each space that the threads reach."""
        if space != "generic":
            return [(self.spaces[space], address, mask)]
        seen = address if mask is None else np.broadcast_to(address, self.shape)[np.broadcast_to(mask, self.shape)]
        if not seen.size:
            return []
        low, high = int(seen.min()), int(seen.max())
        order = (*((s.window, s) for s in (self.shared, self.local, self.param)), (HEAP, self.heap))
        out: list[tuple[Space, Array, Array | None]] = []
        for k, (start, s) in enumerate(order):
            stop = order[k + 1][0] if k + 1 < len(order) else 1 << 62
            if k == 0:
                low, start_test = low, -(1 << 62)
            else:
                start_test = start
            if low >= start_test and high < stop:
                return [(s, address - start, mask)]
            if high < start_test or low >= stop:
                continue
            here = (address >= start_test) & (address < stop)
            here = np.broadcast_to(here if mask is None else here & mask, self.shape)
            out.append((s, address - start, here))
        return out

    def observed(self, access: Access) -> Array | None:
        """Tell the observers; the mask of the threads that may go on."""
        if self.checker is not None:
            access.mask = self.checker.access(access)
        if self.costs is not None:
            self.costs.access(access)
        return access.mask

    # Loads and stores

    def load(self, at: int, mask: Array | None, space: str, address: Array, dtype: Any, n: int, strong: bool = False) -> Any:
        """`n` values (a tuple; n = 0: a single array) of `dtype` per thread, from `n * itemsize` aligned bytes."""
        parts = self.parts(space, address, mask)
        if len(parts) == 1:
            s, address, mask = parts[0]
            return self.load_from(s, at, mask, address, dtype, n, strong)
        out: Any = None
        for s, a, m in parts:
            got = self.load_from(s, at, m, a, dtype, n, strong)
            if out is None:
                out = got
            elif n:
                assert m is not None
                out = tuple(np.where(m, g, o) for g, o in zip(got, out, strict=True))
            else:
                assert m is not None
                out = np.where(m, got, out)
        if out is None:
            zero = np.zeros((1, 1), dtype)
            out = (zero,) * n if n else zero
        return out

    def load_from(self, s: Space, at: int, mask: Array | None, address: Array, dtype: Any, n: int, strong: bool = False) -> Any:
        size = dtype.itemsize * (n or 1)
        index = s.index(address)
        if self.checker is not None or self.costs is not None:
            mask = self.observed(Access(at, "load", s, address, index, size, mask, strong))
        return self.gather(s, index, mask, dtype, n, at)

    def gather(self, s: Space, index: Array, mask: Array | None, dtype: Any, n: int, at: int) -> Any:
        size = dtype.itemsize * (n or 1)
        if mask is not None:
            index = np.where(mask, index, 0)
        if size > 16:  # two halves
            half = n // 2
            low = self.gather(s, index, None, dtype, half, at)
            return low + self.gather(s, index + size // 2, None, dtype, half, at)
        try:
            got = s.views[size].take(index >> LOG2[size])
        except IndexError:
            self.fault(Access(at, "load", s, index, index, size, mask))
            raise
        if not n:
            return got.view(dtype)
        parts = got.view(dtype).reshape(got.shape + (n,))
        return tuple(parts[..., k] for k in range(n))

    def store(self, at: int, mask: Array | None, space: str, address: Array, values: Any, dtype: Any, n: int, strong: bool = False) -> None:
        """Write `values` (a tuple of n arrays, or one for n = 0). Of threads that write the same bytes, the last one wins."""
        for s, a, m in self.parts(space, address, mask):
            size = dtype.itemsize * (n or 1)
            index = s.index(a)
            data = joined(values, dtype) if n else values
            if self.checker is not None or self.costs is not None:
                m = self.observed(Access(at, "store", s, a, index, size, m, strong, data))
            self.scatter(s, index, m, data, size, at)

    def scatter(self, s: Space, index: Array, mask: Array | None, data: Array, size: int, at: int) -> None:
        """`data` holds items of `size` bytes."""
        if size > 16:
            half = data.view(VIEWS[16])
            self.scatter(s, index, mask, half[..., 0], 16, at)
            self.scatter(s, index + 16, mask, half[..., 1], 16, at)
            return
        self.version += 1
        view = s.views[size]
        data = data.view(view.dtype)
        if mask is None:
            if index.shape != data.shape:
                index, data = np.broadcast_arrays(index, data)
        else:
            mask = np.broadcast_to(mask, self.shape)
            index = np.broadcast_to(index, self.shape)[mask]
            data = np.broadcast_to(data, self.shape)[mask]
        try:
            view[index >> LOG2[size]] = data
        except IndexError:
            self.fault(Access(at, "store", s, index, index, size, mask))
            raise

    def rows(self, at: int, mask: Array | None, space: str, address: Array, count: int) -> Array:
        """ldmatrix: 16 bytes at each address of the first 8 * count lanes of a warp, as items [count, B, W, 8]."""
        B, T = self.shape
        out: Any = None
        for s, a, m in self.parts(space, address, mask):
            index = s.index(a)
            if self.checker is not None or self.costs is not None:
                m = self.observed(Access(at, "load", s, a, index, 16, m))
            if m is not None:
                index = np.where(m, index, 0)
            index = np.broadcast_to(index, self.shape).reshape(B, T // 32, 4, 8)[:, :, :count].transpose(2, 0, 1, 3)
            try:
                got = s.views[16].take(index >> 4)
            except IndexError:
                self.fault(Access(at, "load", s, a, index, 16, m))
                raise
            if out is None:
                out = got
            else:
                assert m is not None
                here = np.broadcast_to(m, self.shape).reshape(B, T // 32, 4, 8)[:, :, :count].transpose(2, 0, 1, 3)
                out = np.where(here, got, out)
        return out

    def text(self, address: int) -> str:
        """A C string at a generic address in global memory."""
        start = address - HEAP
        stop = start + int((self.heap.bytes[start:] == 0).argmax())
        return self.heap.bytes[start:stop].tobytes().decode(errors="replace")

    def peek(self, address: int, size: int, b: int, t: int) -> bytes:
        """Bytes at a generic address, as thread t of block b of the wave sees them."""
        for s in (self.heap, self.param, self.local, self.shared):
            start = HEAP if s is self.heap else s.window
            if address >= start or s is self.shared:
                base = 0 if s.base is None else int(np.broadcast_to(s.base, self.shape)[b, t])
                at = address - start + base
                return s.bytes[at : at + size].tobytes()
        raise AssertionError

    # Atomics

    def atomic(
        self,
        at: int,
        mask: Array | None,
        space: str,
        address: Array,
        dtype: Any,
        update: Callable[..., Array],
        operands: tuple[Array, ...],
        ufunc: Any = None,
        wanted: bool = True,
        neutral: int | None = None,
    ) -> Any:
        """Replace each value by `update(old, *operands)`, thread after thread; the old values. `ufunc`: the same as a NumPy ufunc
        of two integer operands, which allows all threads at once. `neutral`: operand bytes of this value leave memory as it is."""
        out = np.zeros(self.shape, dtype)
        for s, a, m in self.parts(space, address, mask):
            index = s.index(a)
            if self.checker is not None or self.costs is not None:
                m = self.observed(Access(at, "atomic", s, a, index, dtype.itemsize, m, True, operands[0], neutral, wanted))
            m = np.broadcast_to(True if m is None else m, self.shape)
            m = m & self.live
            view = s.views[dtype.itemsize].view(dtype)
            where = np.broadcast_to(index, self.shape)[m] >> LOG2[dtype.itemsize]
            given = [np.broadcast_to(x, self.shape)[m] for x in operands]
            old = serial(view, where, update, given, ufunc, wanted)
            out[m] = old
            self.version += not np.array_equal(old, view[where])
        return out

    # cp.async

    def copy_async(
        self, at: int, mask: Array | None, to: Array, source: Array, size: int, source_size: Array | None, space: str = "global"
    ) -> None:
        """cp.async: `size` bytes from `source`, of which `source_size` are read and the rest is zero."""
        shape = self.shape
        index = self.shared.index(to)
        if source_size is None:
            data = self.bytes_of(at, mask, space, source, size)
        else:
            some = np.minimum(source_size.astype(np.int64), size)
            whole = some == size
            reads = whole if mask is None else whole & mask
            data = np.zeros(shape, VIEWS[size])
            if reads.any():
                reads = np.broadcast_to(reads, shape)
                full = bool(reads.all())
                got = self.bytes_of(at, None if full else reads, space, source, size)
                data = got if full else np.where(reads, got, data)
            part = (some > 0) & ~whole
            part = np.broadcast_to(part if mask is None else part & mask, shape)
            if part.any():
                data = self.partial(at, part, space, source, np.broadcast_to(some, shape), data, size)
        if self.checker is not None or self.costs is not None:
            mask = self.observed(Access(at, "async", self.shared, to, index, size, mask))
        self.pending.append(Copy(at, index, data, size, np.broadcast_to(True if mask is None else mask, shape), self.committed))

    def bytes_of(self, at: int, mask: Array | None, space: str, address: Array, size: int) -> Array:
        return self.load(at, mask, space, address, np.dtype(VIEWS[size]), 0)

    def partial(self, at: int, part: Array, space: str, source: Array, some: Array, data: Array, size: int) -> Array:
        """Copies of which only some bytes are read."""
        raw = np.ascontiguousarray(np.broadcast_to(data, self.shape)).view(np.uint8).reshape(self.shape + (size,)).copy()
        for k in range(size):
            m = part & (some > k)
            if m.any():
                got = self.load(at, m, space, source + k, np.dtype("u1"), 0)
                raw[..., k] = np.where(m, got, raw[..., k])
        return raw.view(VIEWS[size])[..., 0]

    def commit(self, mask: Array | None) -> None:
        """cp.async.commit_group."""
        if mask is None:
            self.committed = self.committed + 1
        else:
            self.committed = np.where(mask, self.committed + 1, self.committed)

    def wait(self, at: int, mask: Array | None, newest: int | None) -> None:
        """cp.async.wait_group `newest`, or wait_all (None): let a thread's older copies land."""
        left = []
        for copy in self.pending:
            due: Any = True if newest is None else copy.group < self.committed - newest
            due = copy.mask & due if mask is None else copy.mask & due & mask
            if not due.any():
                left.append(copy)
                continue
            whole = bool(due.all())
            self.scatter(self.shared, copy.index, None if whole else due, copy.data, copy.size, copy.at)
            if self.checker is not None:
                self.checker.landed(copy, due)
            rest = copy.mask & ~due
            if rest.any():
                copy.mask = rest
                left.append(copy)
        self.pending = left


def joined(values: tuple[Array, ...], dtype: Any) -> Array:
    """Vector elements side by side: an array of items of all their bytes, as (..., 1) items or (..., 2) of 16 bytes."""
    values = tuple(np.broadcast_arrays(*values))
    out = np.empty(values[0].shape + (len(values),), dtype)
    for k, v in enumerate(values):
        out[..., k] = v
    size = dtype.itemsize * len(values)
    return out if size > 16 else out.view(VIEWS[size])[..., 0] if dtype.itemsize < size else out[..., 0]


def serial(view: Array, where: Array, update: Callable[..., Array], operands: list[Array], ufunc: Any, wanted: bool) -> Array:
    """Apply `update` at `where`, one thread after the other where they share an address. Returns the values before."""
    if ufunc is not None and not wanted:
        ufunc.at(view, where, operands[0])
        return view[where]
    order = np.argsort(where, kind="stable")
    sorted_ = where[order]
    first = np.ones(len(order), bool)
    first[1:] = sorted_[1:] != sorted_[:-1]
    if first.all():
        old = view[where]
        view[where] = update(old, *operands)
        return old
    starts = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    if ufunc is np.add and view.dtype.kind in "iu":
        values = operands[0][order]
        total = np.cumsum(values, dtype=view.dtype)
        before = total - values
        before -= before[starts][group]
        old_sorted = view[sorted_] + before
        np.add.at(view, where, operands[0])
        old = np.empty_like(old_sorted)
        old[order] = old_sorted
        return old
    rank = np.arange(len(order)) - starts[group]
    old = np.empty(len(order), view.dtype)
    by_rank = np.argsort(rank, kind="stable")
    cuts = np.flatnonzero(np.diff(rank[by_rank])) + 1
    for some in np.split(by_rank, cuts):
        lanes = order[some]
        at = where[lanes]
        old[lanes] = view[at]
        view[at] = update(old[lanes], *(x[lanes] for x in operands))
    return old
