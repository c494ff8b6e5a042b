"""Which bits of registers nothing wrote: a second run of a kernel in which every register has a mask of undefined bits.

Undefined values are legal until they matter: until they are an address, a branch, or stored. Bits move as they do in Valgrind's memcheck:
through logic, shifts, packing and shuffles bit by bit; anything else makes its whole result undefined. The checks ask for this run
only if a load met bytes that nothing wrote, or if some register may be read before it is written (`may_be_undefined`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tilec.sim.decode import Address, Block, Negated, Op, Program, Register
from tilec.sim.parse import Pair
from tilec.sim.table import Formal
from tilec.sim.values import dtype

Array = np.ndarray[Any, Any]
Mask = Any  # an unsigned array (bool for predicates) of undefined bits, or 0
STORES = {"st", "atom", "red", "stmatrix"}
# Opcodes that move the bits of some sources as their meaning says, given the other sources: which sources these are.
THROUGH = {"shl": (0,), "shr": (0,), "prmt": (0, 1), "bfe": (0,), "bfi": (0, 1), "shf": (0, 1), "shfl": (0,), "selp": (0, 1), "mov": (0,),
           "brev": (0,), "cvta": (0,)}  # fmt: skip
PACKED = {"add", "sub", "mul", "fma", "min", "max", "neg", "abs"}  # of x2 types: each half for itself
BITWISE = {"xor", "not", "lop3"}


def unsigned(type_: str) -> np.dtype[Any]:
    return np.dtype("?") if type_ == "pred" else np.dtype(f"u{dtype(type_).itemsize}")


def ones(t: np.dtype[Any]) -> Any:
    return np.True_ if t == np.dtype("?") else t.type(~t.type(0))


# Static: may a register be read before it is written?


def may_be_undefined(program: Program, uses: Callable[[Op], Any], defs: Callable[[Op], Any]) -> bool:
    """Whether along some path a register is read that nothing has written (a guarded write does not count)."""
    blocks = program.blocks
    written, exposed = [], []
    for block in blocks:
        w = e = 0
        for op in program.ops[block.start : block.stop]:
            read = {r.index for r, _ in uses(op)} | ({op.guard.index} if op.guard else set())
            for r in read:
                if not w >> r & 1:
                    e |= 1 << r
            if op.guard is None:
                for r, _ in defs(op):
                    w |= 1 << r.index
        written.append(w)
        exposed.append(e)
    everything = (1 << len(program.registers)) - 1
    at_start = [everything] * len(blocks)
    at_start[0] = 0
    work = [0]
    reached = {0}
    while work:
        k = work.pop()
        after = at_start[k] | written[k]
        for n in successors(program, blocks[k]):
            meet = at_start[n] & after
            if meet != at_start[n] or n not in reached:
                at_start[n] = meet
                reached.add(n)
                work.append(n)
    return any(exposed[k] & ~at_start[k] for k in reached)


def successors(program: Program, block: Block) -> list[int]:
    last = program.ops[block.stop - 1]
    out = [t.block for t in last.targets]
    if last.row.role not in ("bra", "brx", "exit", "rret") or (last.guard is not None and last.row.role != "brx"):
        out.append(block.number + 1)
    return [n for n in out if n < len(program.blocks)]


# Dynamic: one step for each instruction


class Taint:
    """Masks of all registers, and what each instruction does to them."""

    def __init__(self, program: Program):
        self.program = program
        self.U: list[Mask] = []
        self.steps = [self.step(op) for op in program.ops]

    def begin(self) -> None:
        """All registers are undefined."""
        self.U = [np.full((1, 1), ones(unsigned(r.type))) for r in self.program.registers]

    def of(self, x: Any, t: np.dtype[Any]) -> Mask:
        """The mask of an operand, read as unsigned type `t`."""
        if isinstance(x, Negated):
            x = x.register
        if isinstance(x, tuple):
            parts = [self.of(y, np.dtype(f"u{t.itemsize // len(x)}")) for y in x]
            return 0 if all(clean(p) for p in parts) else joined(parts, t)
        if not isinstance(x, Register):
            return 0
        u = self.U[x.index]
        if clean(u) or u.dtype == t:
            return u
        if t == np.dtype("?") or u.dtype == np.dtype("?"):
            return u.astype(bool) if t == np.dtype("?") else np.where(u, ones(t), t.type(0))
        return u.astype(t)

    def registers(self, op: Op) -> list[tuple[Formal, Any]]:
        """Value operands that are read, vectors taken apart."""
        out = []
        for f, x in op.sources:
            if f.kind in ("value", "fragment"):
                out += [(f, y) for y in x] if f.vector and isinstance(x, tuple) else [(f, x)]
        return out

    def any_of(self, op: Op) -> Mask:
        """(blocks, threads) bool: whether any source has an undefined bit."""
        out: Mask = 0
        for f, x in self.registers(op):
            u = self.of(x, unsigned(f.type))
            if not clean(u):
                out = out | (u != 0)
        return out

    def step(self, op: Op) -> Callable[..., None]:
        """`step(M, group, guard, arguments, result)` after the instruction ran: group and guard are masks or None."""
        rule = self.rule(op)
        bases = [x.base for f, x in op.sources if f.kind == "address" and isinstance(x, Address)]
        addresses = [x for x in bases if isinstance(x, Register)]
        stores = op.row.opcode in STORES or op.row.pattern.startswith("wmma.store")

        def run(M: Any, group: Any, guard: Any, arguments: Any) -> None:
            if op.guard is not None:
                self.use(M, op, group, self.U[op.guard.index], "a branch" if op.row.role == "bra" else "a guard")
            mask = group if guard is None else guard
            for a in addresses:
                self.use(M, op, mask, self.U[a.index], "an address")
            if stores:
                self.use(M, op, mask, self.any_of(op), "a store")
            if op.dests:
                rule(M, mask, arguments)
            M.checker.unwritten = None

        return run

    def use(self, M: Any, op: Op, mask: Any, u: Mask, what: str) -> None:
        if clean(u):
            return
        bad = (u != 0) & M.active(mask) & M.live
        if bad.any():
            M.checker.undefined(op, bad, what)

    def set(self, mask: Any, x: Any, u: Mask) -> None:
        """A destination's new mask."""
        if not isinstance(x, Register):
            return
        t = unsigned(x.type)
        if not clean(u):
            if u.dtype != t:
                u = np.where(u != 0, ones(t), t.type(0)) if (u.dtype == np.dtype("?")) != (t == np.dtype("?")) else u.astype(t)
            if not u.any():
                u = 0
        old = self.U[x.index]
        self.U[x.index] = u if mask is None or (clean(u) and clean(old)) else np.where(mask, u, old)

    def rule(self, op: Op) -> Callable[..., None]:
        """`rule(M, mask, arguments)` sets the masks of the destinations."""
        dests = []
        for f, x in op.dests:
            if isinstance(x, Pair):
                dests += [(f, x.first), (Formal("value", f.pair), x.second)]
            elif isinstance(x, tuple) and f.vector:
                dests += [(f, y) for y in x]
            else:
                dests.append((f, x))
        name = op.row.opcode
        if name == "ld" or name == "ldu":
            return lambda M, mask, arguments: self.loaded(M, mask, dests)
        if name in ("ldmatrix", "wmma", "mma", "movmatrix", "vote", "match", "redux") and op.row.gather:
            return lambda M, mask, arguments: self.warp_wide(M, mask, op, dests)
        bits = {"and": True, "or": False}.get(name)
        if bits is not None:
            return lambda M, mask, arguments: self.logic(mask, op, arguments, dests, bits)
        integer_cvt = name == "cvt" and str(op.mods.get("D"))[0] in "us" and str(op.mods.get("S"))[0] in "us" and not op.mods.get("sat")
        if name in THROUGH or integer_cvt:
            data = THROUGH.get(name, (0,))
            return lambda M, mask, arguments: self.through(M, mask, op, arguments, dests, data)
        if name in BITWISE:
            return lambda M, mask, arguments: self.bitwise(mask, op, dests)

        packed = name in PACKED and all(isinstance(x, Register) and unsigned(x.type) == np.uint32 for _, x in dests)
        if packed and re.search(r"\.(b?f16|[us]16)x2$", op.site.text.partition(";")[0].split("%")[0].split()[-1]):
            return lambda M, mask, arguments: self.halves(mask, op, dests)

        def smear(M: Any, mask: Any, arguments: Any) -> None:
            u = self.any_of(op)
            for _, x in dests:
                self.set(mask, x, u)

        return smear

    def loaded(self, M: Any, mask: Any, dests: list[Any]) -> None:
        bad = M.checker.unwritten  # (B, T, bytes)
        for k, (f, x) in enumerate(dests):
            u: Mask = 0
            if bad is not None:
                part = bad.reshape(*bad.shape[:2], len(dests), -1)[:, :, k]
                t = unsigned(f.type)
                u = np.ascontiguousarray(np.where(part, np.uint8(255), np.uint8(0))).view(t)[..., 0]
            self.set(mask, x, u)

    def warp_wide(self, M: Any, mask: Any, op: Op, dests: list[Any]) -> None:
        """Undefined in any lane that takes part: undefined in every lane (mma: A only in the lanes of the same rows)."""
        rows: Mask = 0
        found: Mask = 0
        if M.checker.unwritten is not None:
            found = M.checker.unwritten.any(-1)
        for k, (f, x) in enumerate(op.sources):
            if f.kind not in ("value", "fragment"):
                continue
            for y in x if isinstance(x, tuple) else (x,):
                u = self.of(y, unsigned(f.type))
                if clean(u):
                    continue
                if op.row.opcode == "mma" and k != 1:
                    rows = rows | (u != 0)
                else:
                    found = found | (u != 0)
        u = spread(M, found, mask, 32)
        v = spread(M, rows, mask, 4)
        u = v if clean(u) else u if clean(v) else u | v
        for _, x in dests:
            self.set(mask, x, u)

    def logic(self, mask: Any, op: Op, arguments: Any, dests: list[Any], both: bool) -> None:
        """and, or: a defined 0 (1) decides the bit."""
        t = unsigned(op.sources[0][0].type)
        a, b = (self.of(x, t) for _, x in op.sources)
        if clean(a) and clean(b):
            u: Mask = 0
        else:
            x, y = (v.view(t) if both else ~v.view(t) for v in arguments)
            u = (a | b) & (x | a) & (y | b)
        self.set(mask, dests[0][1], u)

    def bitwise(self, mask: Any, op: Op, dests: list[Any]) -> None:
        u: Mask = 0
        for f, x in op.sources:
            if f.kind == "value":
                v = self.of(x, unsigned(f.type))
                u = v if clean(u) else u if clean(v) else u | v
        self.set(mask, dests[0][1], u)
        for _, x in dests[1:]:
            self.set(mask, x, u != 0 if not clean(u) else 0)

    def halves(self, mask: Any, op: Op, dests: list[Any]) -> None:
        """Two numbers of 16 bits in a word, computed apart."""
        u: Mask = 0
        for f, x in op.sources:
            if f.kind == "value":
                v = self.of(x, np.dtype(np.uint32))
                u = v if clean(u) else u if clean(v) else u | v
        if not clean(u):
            u = np.where(u & np.uint32(0xFFFF), np.uint32(0xFFFF), np.uint32(0)) | np.where(u >> np.uint32(16), np.uint32(0xFFFF0000), np.uint32(0))
        for _, x in dests:
            self.set(mask, x, u)

    def through(self, M: Any, mask: Any, op: Op, arguments: Any, dests: list[Any], data: tuple[int, ...]) -> None:
        if op.row.opcode == "mov":
            f, x = op.sources[0]
            whole = self.of(x, unsigned(f.type))
            masks, control, dirty = [whole], np.zeros((1, 1), bool), not clean(whole)
        else:
            masks, control, dirty = self.moved(op, arguments, data)
        if dirty:
            assert op.function is not None
            out = op.function(M, op.number, mask, *masks) if op.row.machine else op.function(*masks)
            out = out[0] if isinstance(out, tuple) else out
            t = unsigned(dests[0][0].type)
            out = out.view(t)
        else:
            out = 0
        if control.any():
            t = unsigned(dests[0][0].type)
            out = np.where(control, ones(t), t.type(0)) | (out if dirty else t.type(0))
        f, first = dests[0]
        if isinstance(first, tuple):
            size = unsigned(f.type).itemsize // len(first)
            for k, x in enumerate(first):
                self.set(mask, x, 0 if clean(out) else (out >> out.dtype.type(8 * size * k)).astype(f"u{size}"))
        else:
            self.set(mask, first, out)
        for _, x in dests[1:]:
            self.set(mask, x, control if control.any() else 0)

    def moved(self, op: Op, arguments: Any, data: tuple[int, ...]) -> tuple[list[Any], Array, bool]:
        """The arguments with masks in place of the data, where the others are undefined, and whether any mask is not clean."""
        masks, control = list(arguments), np.zeros((1, 1), bool)
        dirty = False
        for k, (f, x) in enumerate(op.sources):
            if f.kind != "value" or x is None:
                continue
            t = unsigned(f.type)
            u = self.of(x, t)
            if k in data:
                masks[k] = np.zeros((1, 1), t).view(bool if f.type == "pred" else dtype(f.type)) if clean(u) else u.view(dtype(f.type))
                dirty |= not clean(u)
            elif not clean(u):
                control = control | (u != 0)
        return masks, control, dirty


def clean(u: Mask) -> bool:
    """No bit is undefined."""
    return isinstance(u, int)


def joined(parts: list[Mask], t: np.dtype[Any]) -> Mask:
    """Masks of `{a, b}`, a lowest."""
    size = 8 * t.itemsize // len(parts)
    out: Any = np.zeros((1, 1), t)
    for k, p in enumerate(parts):
        if not clean(p):
            out = out | (p.astype(t) << t.type(size * k))
    return out


def spread(M: Any, found: Mask, mask: Any, lanes: int) -> Mask:
    """Whether any of the `lanes` neighbours is affected, as a register of every lane."""
    if clean(found):
        return 0
    here = (found & M.active(mask)).reshape(M.B, -1, lanes)
    return np.repeat(here.any(2), lanes, axis=1)
