"""What compute-sanitizer would say: bounds, alignment, uninitialized bytes, unfinished copies, and races.

Races: every warp has a clock, which rises when the warp releases something (at a barrier, a __syncwarp, a release). `known[b, w, o]` is
the clock below which warp w of block b has seen everything that warp o of its block did; `across[b, o, v]` the same for warp v of
another block o, of which a whole block b learns by an acquire. Of each cell of shared and global memory, the last write and the last
reads are kept with the clocks at which they happened: an access races with an earlier one of another thread whose clock is not below
what is known. Cells have the size of the kernel's smallest access, so an access touches whole cells.

Lanes of one warp that did not meet at a bar.warp.sync (or barrier) since count as unordered; `lanes` knows who met whom. In global
memory the last two readers of a cell are kept, in shared memory the last one of each warp: a race may be overlooked, never invented.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.sim.decode import Op, Program
from tilec.sim.memory import LOG2, NONE, PENDING, UNWRITTEN, WRITTEN, Access, Copy
from tilec.sim.values import dtype, space_of

Array = np.ndarray[Any, Any]
CROSS_LIMIT = 1 << 22  # entries of `across`
_FULL = {n: int.from_bytes(bytes([WRITTEN] * n), "little") for n in (1, 2, 4, 8)}
_FRESH = {n: int.from_bytes(bytes([UNWRITTEN] * n), "little") for n in (1, 2, 4, 8)}


def cell_size(program: Program, space: str) -> int:
    """Bytes of the smallest access to a space."""
    sizes = [16]
    for op in program.ops:
        if op.row.opcode in ("ld", "st", "ldu", "atom", "red", "wmma", "mbarrier") and space_of(op.mods) in (space, "generic"):
            type_ = str(op.mods.get("T"))
            n = int((op.mods.get("vec") or "v1")[1:])
            sizes.append(1 if op.row.opcode == "wmma" else 8 if op.row.opcode == "mbarrier" else dtype(type_).itemsize * n)
        elif op.row.opcode == "cp" and op.sources and op.sources[0][0].kind == "address":
            sizes += [op.sources[2][1]] if op.row.pattern.startswith("cp.async.cop") else [8]
    return min(sizes)


def retried_loads(program: Program) -> set[int]:
    """Plain loads of a word that atom.cas then tries to replace, at the same address operand: compilers read the first guess so, and a
    stale guess only makes the cas fail."""

    def key(op: Op) -> Any:
        address = next(x for f, x in op.sources if f.kind == "address")
        return address.base, address.offset

    swapped = {key(op) for op in program.ops if op.row.opcode == "atom" and op.mods["op"] == "cas"}
    return {op.number for op in program.ops if op.row.opcode == "ld" and op.row.machine and key(op) in swapped}


class Shadow:
    """Last accesses of each cell. A write: clock << 44 | block << 11 | strong << 10 | thread. Reads: shared memory, for each warp clock
    << 40 | instruction << 6 | strong << 5 | lane; global memory, two records like those of writes, and their instructions."""

    def __init__(self, cells: int, size: int, readers: int):
        self.size = size
        self.shift = LOG2[size]
        self.write = np.zeros(cells, np.int64)
        self.write_at = np.zeros(cells, np.int32)
        self.read = np.zeros((cells, readers), np.int64)
        self.read_at = np.zeros((cells, readers), np.int32)  # of global memory only


class Checker:
    """Observes the memory accesses and barriers of a run, wave after wave."""

    def __init__(self, program: Program, launch: Any):
        self.program, self.launch = program, launch
        size = cell_size(program, "global")
        self.heap = Shadow(launch.heap.bytes.size // size + 1, size, 2)
        self.shared_cell = cell_size(program, "shared")
        self.retried = retried_loads(program)
        self.suspects: dict[int, None] = {}  # loads that met bytes that nothing wrote
        self.unwritten: Array | None = None  # (B, T, bytes) of the load that runs now

    def begin(self, machine: Any) -> None:
        """A new wave."""
        self.M = M = machine
        B, W = M.B, M.W
        self.shared = Shadow(M.memory.shared.bytes.size // self.shared_cell + 1, self.shared_cell, W)
        self.clock = np.ones((B, W), np.int64)
        self.known = np.ones((B, W, W), np.int64)
        self.cross = B * B * W <= CROSS_LIMIT
        self.across = np.ones((B, B, W) if self.cross else (1, 1, 1), np.int64)
        self.locations: dict[tuple[str, int], Array] = {}
        self.fenced = np.zeros((B, W), bool)
        self.lanes: Array | None = None  # [B, W, lane, other]: as `known` of lanes that met at a bar.warp.sync of a part of their warp
        self.published: Array | None = None  # `writer` for the access that releases now: it comes before what it releases
        self.pending: dict[int, Array] = {}  # by block: what a fence will make known
        self.gathering: dict[int, Array] = {}  # by barrier: what those who arrived know
        self.tid = np.arange(M.T, dtype=np.int64).reshape(1, M.T)
        self.block = M.blocks.astype(np.int64).reshape(B, 1)
        self.place = {int(b): i for i, b in enumerate(M.blocks)}
        self.warp = self.tid >> 5
        self.stamp()

    def stamp(self) -> None:
        """Recompute what depends on the clocks."""
        self.now = np.repeat(self.clock, 32, axis=1)  # (B, T)
        self.reader = (self.now << 40) | (self.tid & 31)
        self.writer = (self.now << 44) | self.tid
        self.floor = int(self.known.min())

    # Ordering

    def barrier_all(self) -> None:
        self.clock = self.clock + 1
        self.known = np.broadcast_to(self.clock[:, None, :], self.known.shape).copy()
        self.stamp()

    def warps_of(self, mask: Array | None) -> Array:
        """(B, W): warps with an active thread."""
        M = self.M
        return M.active(mask).reshape(M.B, M.W, 32).any(2)

    def arrived(self, barrier: int, mask: Array) -> None:
        """Threads arrive at a barrier: what their warps know, and did, is gathered."""
        total = self.gathering.setdefault(barrier, np.zeros((self.M.B, self.M.W), np.int64))
        for b, w in np.argwhere(self.warps_of(mask)):
            self.clock[b, w] += 1
            self.known[b, w, w] = self.clock[b, w]
            np.maximum(total[b], self.known[b, w], out=total[b])
        self.stamp()

    def released(self, barrier: int, mask: Array, done: Array) -> None:
        """Those who waited know it."""
        total = self.gathering[barrier]
        warps = self.warps_of(mask)
        self.known = np.where(warps[:, :, None], np.maximum(self.known, total[:, None, :]), self.known)
        total[done] = 0
        self.stamp()

    def warp_barrier(self, at: int, mask: Array | None, members: Array) -> None:
        """Lanes meet those that their member mask names: all live ones of the warp, or some (see `lanes`)."""
        M = self.M
        here, live = M.warps(M.active(mask) & M.live), M.warps(M.live)
        named = (M.warps(members)[..., None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1) == 1
        met = named & here[..., None, :] & here[..., None]  # (B, W, lane, other)
        some = here.any(2)
        whole = some & (met | ~live[..., None, :]).all((2, 3))
        self.clock = self.clock + some
        index = np.arange(M.W)
        self.known[:, index, index] = np.where(whole, self.clock, self.known[:, index, index])
        if (some & ~whole).any():
            old = np.zeros(met.shape, np.int64) if self.lanes is None else self.lanes
            learned = old
            for lane in range(32):  # through a lane that is met, also what it knew
                learned = np.maximum(learned, np.where(met[..., lane, None], old[..., lane, None, :], 0))
            self.lanes = np.where(met & ~whole[..., None, None], self.clock[..., None, None], learned)
        self.stamp()

    def apart(self, bad: Array, clock: Array, other: Array) -> Array:
        """Of accesses that race with one by thread `other` of their block, those of lanes that did not meet since."""
        if self.lanes is None or not bad.any():
            return bad
        M = self.M
        other = np.broadcast_to(other, M.shape)
        lanes = np.take_along_axis(self.lanes.reshape(*M.shape, 32), (other & 31)[..., None], 2)[..., 0]
        return bad & ((other >> 5 != self.warp) | (clock >= lanes))

    def fence(self, at: int, mask: Array | None) -> None:
        some = self.warps_of(mask)
        self.fenced |= some
        for b in np.flatnonzero(some.any(1)):
            found = self.pending.pop(int(b), None)
            if found is not None:
                self.learn(int(b), None, found)

    def learn(self, b: int, w: int | None, found: Array) -> None:
        """Block b (of its own block's warps: warp w, or every one) knows what a location carried."""
        rows = slice(None) if w is None else w
        self.known[b, rows] = np.maximum(self.known[b, rows], found[b])
        if self.cross:
            np.maximum(self.across[b], found, out=self.across[b])
        self.stamp()

    def spots(self, mask: Array | None, space: str, address: Array) -> list[tuple[int, int, tuple[str, int]]]:
        """(block, warp, location) of each warp and address that takes part in a synchronizing access."""
        M = self.M
        out: dict[tuple[int, int, tuple[str, int]], None] = {}
        active = M.active(mask) & M.live
        for s, a, m in M.memory.parts(space, address, mask):
            here = active if m is None else active & m
            index = np.broadcast_to(s.index(a), M.shape)
            for b, t in np.argwhere(here):
                out[int(b), int(t) >> 5, (s.name, int(index[b, t]))] = None
        return list(out)

    def before_strong(self, at: int, mask: Array | None, space: str, address: Array, release: bool) -> None:
        self.published = None
        if not release and not self.fenced.any():
            return
        before = self.writer
        for b, w, where in self.spots(mask, space, address):
            if not release and not self.fenced[b].any():
                continue
            found = self.locations.get(where)
            if found is None:
                found = self.locations[where] = np.zeros((self.M.B, self.M.W), np.int64)
            if self.cross:
                np.maximum(found, self.across[b], out=found)
            self.clock[b, w] += 1
            self.known[b, w, w] = self.clock[b, w]
            np.maximum(found[b], self.known[b, w], out=found[b])
        self.stamp()
        self.published = before

    def after_strong(self, at: int, mask: Array | None, space: str, address: Array, acquire: bool) -> None:
        if not self.locations:
            return
        for b, w, where in self.spots(mask, space, address):
            found = self.locations.get(where)
            if found is None:
                continue
            if acquire:
                self.learn(b, w, found)
            else:
                before = self.pending.get(b)
                self.pending[b] = found.copy() if before is None else np.maximum(before, found)

    # Accesses

    def access(self, a: Access) -> Array | None:
        """Judge an access; the mask of the threads that may go on with it."""
        M = self.M
        mask = a.mask
        if not M.live.all():
            mask = M.live if mask is None else M.live & mask
        if mask is not None:
            mask = np.broadcast_to(mask, M.shape)
            if not mask.any():
                return mask
        mask = self.bounds(a, mask)
        a.strong = a.strong or a.at in self.retried
        if a.space.name == "shared":
            self.race_shared(a, mask)
        elif a.space.name == "global":
            self.race_global(a, mask)
        return mask

    def op(self, at: int) -> Op:
        return self.program.ops[int(at)]

    def who(self, bad: Any) -> str:
        """The first thread of a mask, in words."""
        b, t = np.argwhere(np.broadcast_to(bad, self.M.shape))[0]
        return f"thread {t} of block {int(self.M.blocks[b])}"

    def bounds(self, a: Access, mask: Array | None) -> Array | None:
        M = self.M
        off = a.address & (a.size - 1)
        if off.any():
            bad = off != 0 if mask is None else (off != 0) & mask
            if bad.any():
                self.launch.record(
                    "misaligned", f"{a.kind} of {a.size} bytes at an address that is no multiple of it, {self.who(bad)}", self.op(a.at)
                )
                mask = np.broadcast_to(~bad if mask is None else mask & ~bad, M.shape)
        state = a.space.state
        assert state is not None
        index = a.index
        if mask is not None:
            index = np.where(mask, index, 0)
        outside = (index < 0) | (index > state.size - a.size)
        if outside.any():
            mask = self.out_of_bounds(a, mask, outside if mask is None else outside & mask)
            index = np.where(np.broadcast_to(mask, M.shape), a.index, 0)
        unit = min(a.size, 8)
        shift = LOG2[unit]
        view = state.view(f"u{unit}")
        for part in range(a.size // unit):
            got = view.take((index >> shift) + part)
            fine = got == _FULL[unit]
            if fine.all():
                continue
            if a.kind in ("store", "async") and (fine | (got == _FRESH[unit])).all():
                continue
            mask = self.inspect(a, mask, got, part, ~fine)
            index = np.where(np.broadcast_to(mask, M.shape), a.index, 0) if mask is not None else index
        if a.kind == "atomic" and a.neutral is not None:
            self.write_changed(a, state, index, mask)
        elif a.kind in ("store", "atomic", "async"):
            value = PENDING if a.kind == "async" else WRITTEN
            word = int.from_bytes(bytes([value] * unit), "little")
            where = index if mask is None else np.broadcast_to(index, M.shape)[mask]
            for part in range(a.size // unit):
                view[(where >> shift) + part] = word
        return mask

    def write_changed(self, a: Access, state: Array, index: Array, mask: Array | None) -> None:
        """An atomic and, or, xor writes the bytes that its operand does not leave alone."""
        assert a.data is not None
        data = np.broadcast_to(a.data, self.M.shape)
        for k in range(a.size):
            changed = (data >> data.dtype.type(8 * k) & data.dtype.type(0xFF)) != a.neutral
            changed = changed if mask is None else changed & mask
            state[np.broadcast_to(index, self.M.shape)[changed] + k] = WRITTEN

    def out_of_bounds(self, a: Access, mask: Array | None, bad: Array) -> Array:
        bad = np.broadcast_to(bad, self.M.shape)
        b, t = np.argwhere(bad)[0]
        address = int(np.broadcast_to(a.address, self.M.shape)[b, t])
        where = self.launch.whereabouts(a.space.name, address, self.M.memory)
        self.launch.record("bounds", f"{a.kind} of {a.size} bytes {where}, {self.who(bad)}", self.op(a.at))
        return np.broadcast_to(True if mask is None else mask, self.M.shape) & ~bad

    def inspect(self, a: Access, mask: Array | None, got: Array, part: int, odd: Array) -> Array | None:
        """Some byte of the access is not written: say what is wrong with it."""
        M = self.M
        odd = np.broadcast_to(odd if mask is None else odd & mask, M.shape)
        if not odd.any():
            return mask
        bytes_ = np.ascontiguousarray(np.broadcast_to(got, M.shape))[..., None].view(np.uint8)
        outside = odd & (bytes_ == NONE).any(-1)
        if outside.any():
            mask = self.out_of_bounds(a, mask, outside)
        late = odd & (bytes_ == PENDING).any(-1)
        if late.any():
            self.pending_bytes(a, late)
        if a.kind in ("load", "atomic"):
            fresh = (bytes_ == UNWRITTEN) & (odd & ~outside)[..., None]
            if fresh.any():
                self.never_written(a, fresh, part)
        return mask

    def never_written(self, a: Access, fresh: Array, part: int) -> None:
        """Bytes (part `part` of the access, 8 bytes each) that nothing wrote: legal for a load until its value matters, and for bits that are set or
        cleared whatever they were."""
        if a.kind == "atomic" and a.neutral is not None and not a.wanted:
            return
        if a.kind == "atomic":
            self.launch.record(
                "uninitialized", f"atomic update of {a.space.name} memory that nothing wrote, {self.who(fresh.any(-1))}", self.op(a.at)
            )
            return
        self.suspects.setdefault(a.at, None)
        if self.unwritten is None or self.unwritten.shape[2] != a.size:
            self.unwritten = np.zeros((*self.M.shape, a.size), bool)
        unit = fresh.shape[-1]
        self.unwritten[:, :, part * unit : (part + 1) * unit] |= fresh

    def undefined(self, op: Op, bad: Array, what: str) -> None:
        """An undefined value matters: called by the tracking run (taint.py)."""
        source = self.op(next(iter(self.suspects))) if self.suspects else None
        origin = "memory that nothing wrote" if source else "a register that nothing wrote"
        self.launch.record("uninitialized", f"a value from {origin} reaches {what}, {self.who(bad)}", op, source)

    def pending_bytes(self, a: Access, late: Array) -> None:
        """An access to the destination of a copy that has not been waited for."""
        b, t = np.argwhere(late)[0]
        spot = int(np.broadcast_to(a.index, self.M.shape)[b, t])
        other = None
        for copy in self.M.memory.pending:
            if (np.broadcast_to(copy.index, self.M.shape)[copy.mask] // 16 == spot // 16).any():
                other = self.op(copy.at)
        self.launch.record(
            "async",
            f"{a.kind} of bytes whose cp.async was not waited for, {self.who(late)}",
            self.op(a.at),
            other,
            "insert cp.async.wait_group (by the thread that copied) and a barrier before this access",
        )

    def landed(self, copy: Copy, due: Array) -> None:
        """Copies become visible to their own thread: from now on they count as its writes."""
        M = self.M
        due = np.broadcast_to(due, M.shape)
        index = np.broadcast_to(copy.index, M.shape)[due]
        state = M.memory.shared.state
        unit = min(copy.size, 8)
        word = int.from_bytes(bytes([WRITTEN] * unit), "little")
        for part in range(copy.size // unit):
            state.view(f"u{unit}")[(index >> LOG2[unit]) + part] = word
        stamp = np.broadcast_to(self.writer, M.shape)[due]
        cells = index >> self.shared.shift
        for k in range(max(1, copy.size >> self.shared.shift)):
            self.shared.write[cells + k] = stamp
            self.shared.write_at[cells + k] = copy.at

    # Races

    def race_shared(self, a: Access, mask: Array | None) -> None:
        M, s = self.M, self.shared
        index = a.index if mask is None else np.where(mask, a.index, 0)
        first, given = index >> s.shift, mask
        for k in range(max(1, a.size >> s.shift)):
            cell = first + k if k else first
            if a.neutral is not None:
                mask = self.changing(a, given, k, s.size)
            last = s.write.take(cell)
            if int(last.max()) >> 44 >= self.floor:
                self.against_write(a, mask, cell, last)
            if a.kind == "load":
                where = np.broadcast_to(cell * M.W + self.warp, M.shape)
                stamp = self.reader | (a.at << 6 | int(a.strong) << 5)
                if mask is None:
                    s.read.reshape(-1)[where] = stamp
                else:
                    s.read.reshape(-1)[where[mask]] = stamp[mask]
                continue
            reads = s.read.take(cell, axis=0)
            if int(reads.max()) >> 40 >= self.floor:
                self.against_reads(a, mask, cell, reads)
            self.record_write(a, mask, s, cell, self.written(a))

    def written(self, a: Access) -> Array:
        """Clock, strength and thread of an access."""
        if not a.strong:
            return self.writer
        released = self.published if a.kind != "load" else None
        return (self.writer if released is None else released) | 1 << 10

    def changing(self, a: Access, mask: Array | None, k: int, size: int) -> Array:
        """The threads whose atomic and, or, xor can change cell k of the access: its other bytes are left alone."""
        assert a.data is not None
        M = self.M
        octets = np.ascontiguousarray(np.broadcast_to(a.data, M.shape))[..., None].view(np.uint8)
        some = (octets[..., k * size : (k + 1) * size] != a.neutral).any(-1)
        return some if mask is None else some & mask

    def record_write(self, a: Access, mask: Array | None, s: Shadow, cell: Array, stamp: Array) -> None:
        if mask is None:
            where, stamp = np.broadcast_to(cell, self.M.shape), np.broadcast_to(stamp, self.M.shape)
        else:
            where, stamp = np.broadcast_to(cell, self.M.shape)[mask], np.broadcast_to(stamp, self.M.shape)[mask]
        s.write[where] = stamp
        s.write_at[where] = a.at
        if a.kind == "store" and not a.strong and (s.write[where] != stamp).any():
            self.same_instruction(a, mask, s, cell)

    def same_instruction(self, a: Access, mask: Array | None, s: Shadow, cell: Array) -> None:
        """Several threads wrote one cell at once: a race if they wrote different values."""
        M = self.M
        if a.data is None or a.size > 16:
            return
        raw: Array = np.ascontiguousarray(np.broadcast_to(a.data, M.shape)).view(np.uint8).reshape(-1, a.size)
        where: Array = np.broadcast_to(a.index, M.shape).reshape(-1)
        tid: Array = np.broadcast_to(self.tid, M.shape).reshape(-1)
        if mask is not None:
            keep = mask.reshape(-1)
            raw, where, tid = raw[keep], where[keep], tid[keep]
        block: Array = np.broadcast_to(M.blocks.reshape(-1, 1), M.shape).reshape(-1)[slice(None) if mask is None else keep]
        order = np.argsort(where, kind="stable")
        same = where[order][1:] == where[order][:-1]
        differ = same & (raw[order][1:] != raw[order][:-1]).any(1)
        if differ.any():
            k = int(differ.argmax())
            one, two = int(tid[order[k]]), int(tid[order[k + 1]])
            there, here = int(block[order[k]]), int(block[order[k + 1]])
            who = f"threads {one} and {two}" if here == there else f"thread {one} of block {there} and thread {two} of block {here}"
            message = f"{who} write different values to the same {a.space.name} address in one instruction"
            self.launch.record("race", message, self.op(a.at), self.op(a.at), "let one thread write, or use an atomic")

    def against_write(self, a: Access, mask: Array | None, cell: Array, last: Array) -> None:
        """Compare with the last write of each shared cell."""
        M = self.M
        writer = last & 1023
        clock = last >> 44
        me = np.broadcast_to(self.warp, M.shape)
        b = np.arange(M.B).reshape(-1, 1)
        known = self.known[b, me, np.broadcast_to(writer >> 5, M.shape)]
        bad = self.apart((clock >= known) & (writer != self.tid), clock, writer)
        if a.strong:
            bad = bad & ((last >> 10) & 1 == 0)
        if mask is not None:
            bad = bad & mask
        if bad.any():
            bad = self.harmful(a, bad)
        if bad.any():
            at = np.broadcast_to(self.shared.write_at.take(cell), M.shape)
            self.report(a, bad, np.broadcast_to(writer, M.shape), at, "wrote")

    def harmful(self, a: Access, bad: Array) -> Array:
        """Of two writes, those that write other bytes than are there already."""
        if a.kind != "store" or a.data is None or a.size > 16:
            return bad
        now = a.space.views[a.size].take(np.where(bad, a.index, 0) >> LOG2[a.size])
        return bad & (now != a.data.view(now.dtype))

    def against_reads(self, a: Access, mask: Array | None, cell: Array, reads: Array) -> None:
        """Compare with the last read of each warp of each shared cell."""
        M = self.M
        reads = np.broadcast_to(reads, (*M.shape, M.W)) if reads.shape[:2] != M.shape else reads
        clock = (reads >> 40).reshape(M.B, M.W, 32, M.W)
        bad = clock >= self.known[:, :, None, :]
        own = np.arange(M.W)
        lanes = (reads & 31).reshape(M.B, M.W, 32, M.W)
        bad[:, own, :, own] &= lanes[:, own, :, own] != np.arange(32)
        bad &= clock > 0
        if self.lanes is not None:
            met = np.take_along_axis(self.lanes, lanes[:, own, :, own].transpose(1, 0, 2)[..., None], 3)[..., 0]
            bad[:, own, :, own] &= clock[:, own, :, own] >= met.transpose(1, 0, 2)
        if a.strong:
            bad &= ((reads >> 5) & 1).reshape(bad.shape) == 0
        if mask is not None:
            bad &= mask.reshape(M.B, M.W, 32, 1)
        if bad.any():
            some = bad.any(3).reshape(M.shape)
            some = self.harmful(a, some)
            if not some.any():
                return
            reader = bad.argmax(3).reshape(M.shape)
            lane = np.take_along_axis(lanes.reshape(*M.shape, M.W), reader[..., None], 2)[..., 0]
            at = np.take_along_axis(reads >> 6 & ((1 << 34) - 1), reader[..., None], 2)[..., 0]
            self.report(a, some, reader * 32 + lane, at, "read")

    def report(self, a: Access, bad: Array, other: Array, at: Array, did: str, blocks: Array | None = None) -> None:
        """One finding for each pair of instructions."""
        pairs = np.unique(at[bad])
        for number in pairs:
            some = bad & (at == number)
            b, t = np.argwhere(some)[0]
            thread, block = int(other[b, t]), int(self.M.blocks[b])
            there = block if blocks is None else int(blocks[b, t])
            who = f"thread {thread}" + (f" of block {there}" if there != block else "")
            does = {"load": "reads", "store": "writes", "atomic": "atomically updates", "async": "copies into"}[a.kind]
            message = f"thread {t} of block {block} {does} {a.space.name} memory that {who} {did}, and nothing orders them"
            if there != block:
                hint = "no barrier orders blocks: publish by st.release or a fence and atom, read by ld.acquire; or start a second kernel"
            elif thread >> 5 == t >> 5:
                hint = f"insert bar.warp.sync before PTX line {self.op(a.at).site.ptx_line}, after line {self.op(number).site.ptx_line}"
            else:
                hint = f"insert bar.sync 0 before PTX line {self.op(a.at).site.ptx_line}, after line {self.op(number).site.ptx_line}"
            self.launch.record("race", message, self.op(a.at), self.op(number), hint, int(some.sum()))

    def race_global(self, a: Access, mask: Array | None) -> None:
        s = self.heap
        index = a.index if mask is None else np.where(mask, a.index, 0)
        first, given = index >> s.shift, mask
        stamp: Any = None
        for k in range(max(1, a.size >> s.shift)):
            cell = first + k if k else first
            if a.neutral is not None:
                mask = self.changing(a, given, k, s.size)
            last = s.write.take(cell)
            if last.any():
                self.against_global(a, mask, last, s.write_at, cell, "wrote")
            if stamp is None:
                stamp = self.written(a) | self.block << 11
            if a.kind == "load":
                self.record_read(a, mask, cell, stamp)
                continue
            for r in (0, 1):
                reads = s.read[:, r].take(cell)
                if reads.any():
                    self.against_global(a, mask, reads, s.read_at[:, r], cell, "read")
            self.record_write(a, mask, s, cell, stamp)

    def record_read(self, a: Access, mask: Array | None, cell: Array, stamp: Array) -> None:
        """Keep the last reader, and before it one of another block."""
        s, M = self.heap, self.M
        where = np.broadcast_to(cell, M.shape)
        if mask is not None:
            where, stamp = where[mask], stamp[mask]
        old = s.read[:, 0][where]
        foreign = (old != 0) & ((old ^ stamp) >> 11 & ((1 << 33) - 1) != 0)
        if foreign.any():
            s.read[where[foreign], 1] = old[foreign]
            s.read_at[where[foreign], 1] = s.read_at[where[foreign], 0]
        s.read[where, 0] = stamp
        s.read_at[where, 0] = a.at

    def against_global(self, a: Access, mask: Array | None, last: Array, ats: Array, cell: Array, did: str) -> None:
        M = self.M
        other, block, clock = last & 1023, (last >> 11) & ((1 << 33) - 1), last >> 44
        near = (block == self.block) & (last != 0)
        bad = np.zeros(M.shape, bool)
        if near.any():
            b = np.arange(M.B).reshape(-1, 1)
            known = self.known[b, np.broadcast_to(self.warp, M.shape), np.broadcast_to(other >> 5, M.shape) % M.W]
            bad = self.apart(near & (other != self.tid) & (clock >= known), clock, other)
        far = (block != self.block) & (last != 0)
        if far.any():
            bad = bad | (far & self.unknown(block, other, clock))
        if a.strong:
            bad = bad & ((last >> 10) & 1 == 0)
        if mask is not None:
            bad = bad & mask
        if bad.any():
            bad = self.harmful(a, bad)
        if bad.any():
            at = np.broadcast_to(ats.take(cell), M.shape)
            self.report(a, bad, np.broadcast_to(other, M.shape), at, did, np.broadcast_to(block, M.shape))

    def unknown(self, block: Array, other: Array, clock: Array) -> Array:
        """Whether accesses of other blocks are not known to be over."""
        M = self.M
        if not self.locations:
            return np.ones(M.shape, bool)
        if not self.cross:
            return np.zeros(M.shape, bool)
        here = np.full(int(max(M.blocks.max(), block.max())) + 1, -1)
        here[M.blocks] = np.arange(M.B)
        place = np.broadcast_to(here[block], M.shape)
        known = self.across[np.arange(M.B).reshape(-1, 1), place, np.broadcast_to(other >> 5, M.shape) % M.W]
        return (place < 0) | (clock >= known)
