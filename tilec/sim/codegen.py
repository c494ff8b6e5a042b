"""`Program` to Python source: for every basic block a function for all threads and one for a part of them.

    def fast7(R, M): ...        every thread of the wave stands here; runs on through gathering instructions and full barriers
    def masked7(R, M, m): ...   the threads of the bool array m; ends where the block ends

Both return where to go: a block number, `(predicate, if_true, if_false)`, or for brx `(index, [blocks])`. R is the register file, M the
machine. Registers that live in one block only are Python locals; the others are loaded once, kept in whichever dtype they were
computed in, and flushed at the end.
"""

from __future__ import annotations

import struct
from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np

from tilec.errors import Loc, TileError
from tilec.sim.decode import JUMPS, Address, Const, Negated, Op, Program, Register, Special, Symbol, partial_barrier
from tilec.sim.parse import Pair
from tilec.sim.table import Formal
from tilec.sim.taint import Taint, may_be_undefined
from tilec.sim.values import HEAP, dtype, force, late, pack, space_of, unpack


def uses(op: Op) -> list[tuple[Register, np.dtype[Any]]]:
    """Registers that an op reads, with the dtype in which it reads them (guard excluded)."""
    out: list[tuple[Register, np.dtype[Any]]] = []

    def visit(formal: Formal, x: Any) -> None:
        if isinstance(x, Register):
            out.append((x, np.dtype("?") if x.type == "pred" else dtype(formal.type) if formal.type else dtype(x.type)))
        elif isinstance(x, Negated):
            out.append((x.register, np.dtype("?")))
        elif isinstance(x, tuple):
            for y in x:
                visit(formal, y)
        elif isinstance(x, Address):
            visit(Formal("value", ""), x.base)
            for y in x.more:
                visit(Formal("value", ""), y)

    for formal, x in op.sources:
        visit(formal, x)
    return out


def defs(op: Op) -> list[tuple[Register, np.dtype[Any]]]:
    """Registers that an op writes."""
    out: list[tuple[Register, np.dtype[Any]]] = []

    def visit(formal: Formal, x: Any) -> None:
        if isinstance(x, Register):
            out.append((x, dtype(x.type) if x.type == "pred" else dtype(formal.type)))
        elif isinstance(x, tuple):
            for y in x:
                visit(formal, y)
        elif isinstance(x, Pair):
            visit(formal, x.first)
            visit(Formal("value", formal.pair or "pred"), x.second)

    for formal, x in op.dests:
        visit(formal, x)
    return out


def lazy_registers(program: Program) -> set[int]:
    """Registers that may hold a part of an accumulator in matrix form: an mma's destinations, and what is moved from them."""
    lazy = {x.index for op in program.ops for f, x in op.dests if f.kind == "fragment" for x in x if isinstance(x, Register)}
    moves = [(op.dests[0][1].index, op.sources[0][1].index) for op in program.ops if is_move(op)]
    grew = bool(lazy)
    while grew:
        more = {d for d, s in moves if s in lazy} - lazy
        lazy |= more
        grew = bool(more)
    return lazy


def is_move(op: Op) -> bool:
    """mov between registers of one size."""
    if op.row.opcode != "mov":
        return False
    (_, d), (_, s) = op.dests[0], op.sources[0]
    return isinstance(d, Register) and isinstance(s, Register) and dtype(d.type) == dtype(s.type)


class Analysis:
    """Which registers cross blocks, and the dtype in which each register is kept in the register file."""

    def __init__(self, program: Program):
        votes: list[Counter[np.dtype[Any]]] = [Counter() for _ in program.registers]
        self.crossing: set[int] = set()
        self.home = [-1] * len(program.registers)
        for block in program.blocks:
            seen: set[int] = set()
            for op in program.ops[block.start : block.stop]:
                read = uses(op) + ([(op.guard, np.dtype("?"))] if op.guard else [])
                for register, type_ in read:
                    votes[register.index][type_] += 1
                    if register.index not in seen:
                        self.crossing.add(register.index)
                for register, type_ in defs(op):
                    votes[register.index][type_] += 2
                    if op.guard is None or op.row.role == "bar":
                        seen.add(register.index)
                    elif register.index not in seen:
                        self.crossing.add(register.index)
                    if op.row.role == "bar":
                        self.crossing.add(register.index)
        self.lazy = lazy_registers(program)
        self.canon = []
        for register, vote in zip(program.registers, votes, strict=True):
            own = dtype(register.type)
            fitting = [(n, str(t), t) for t, n in vote.items() if t.itemsize == own.itemsize]
            self.canon.append(max(fitting)[2] if fitting and register.type != "pred" else own)


class Writer:
    """Writes one function. `have` says in which dtypes each register is at hand, as the local variable r<index>_<dtype>."""

    def __init__(self, unit: Unit, masked: bool):
        self.unit, self.masked = unit, masked
        self.lines: list[str] = []
        self.have: dict[int, dict[str, str]] = {}
        self.dirty: set[int] = set()

    # Reading

    def register(self, r: Register, want: np.dtype[Any]) -> str:
        have = self.have.get(r.index)
        if have is None:
            have = self.load(r)
        code = _code(want)
        if code in have:
            return have[code]
        source, name = next(iter(have.items()))
        if source == "L":
            have[code] = f"r{r.index}_{code}"
            self.lines.append(f"{have[code]} = force({name}, {code})")
            return have[code]
        size = int(source[1:]) if source != "p" else 1
        new = f"r{r.index}_{code}"
        if source == "p" or code == "p":
            raise TileError(f"{r.name} is a predicate here and a number there")
        if size == want.itemsize:
            self.lines.append(f"{new} = {name}.view({code})")
        elif size > want.itemsize:  # the low part
            self.lines.append(f"{new} = {name}.view(u{size}).astype(u{want.itemsize}).view({code})")
        else:
            raise TileError(f"{r.name} has fewer bits than the instruction reads")
        have[code] = new
        return new

    def load(self, r: Register) -> dict[str, str]:
        analysis = self.unit.analysis
        code = "L" if r.index in analysis.lazy else _code(analysis.canon[r.index])
        name = f"r{r.index}_{code}"
        self.lines.append(f"{name} = R[{r.index}]")
        self.have[r.index] = {code: name}
        return self.have[r.index]

    def constant(self, c: Const, want: np.dtype[Any]) -> str:
        return self.unit.constant(_bits(c, want), want)

    def whole(self, formal: Formal, x: Any) -> str:
        """A register in whichever form it is at hand, for an accumulator."""
        if not isinstance(x, Register):
            return self.value(Formal("value", formal.type), x)
        have = self.have.get(x.index) or self.load(x)
        return have.get("L") or next(iter(have.values()))

    def value(self, formal: Formal, x: Any) -> str:
        if x is None:
            return "None"
        if formal.vector or isinstance(x, tuple):
            if not formal.vector:
                return self.packed(formal, x)
            element = Formal("value", formal.type)
            if formal.kind == "fragment":
                return "(" + "".join(self.whole(formal, y) + ", " for y in x) + ")"
            return "(" + "".join(self.value(element, y) + ", " for y in x) + ")"
        want = dtype(formal.type)
        if isinstance(x, Register):
            return self.register(x, np.dtype("?") if x.type == "pred" else want)
        if isinstance(x, Const):
            return self.constant(x, want)
        if isinstance(x, Negated):
            return f"~{self.register(x.register, np.dtype('?'))}"
        if isinstance(x, Special):
            return self.special(x.name, want)
        if isinstance(x, Symbol):
            return self.constant(Const(self.unit.symbol(x)), want)
        raise TileError(f"an operand that does not fit: {x}")

    def special(self, name: str, want: np.dtype[Any]) -> str:
        temp = self.unit.fresh()
        self.lines.append(f"{temp} = M.special({name!r}).astype({_code(want)}, copy=False)")
        return temp

    def packed(self, formal: Formal, items: tuple[Any, ...]) -> str:
        """`{a, b}` read as one wider value, a lowest."""
        want = dtype(formal.type)
        size = want.itemsize // len(items)
        part = np.dtype(f"u{size}")
        temp = self.unit.fresh()
        names = [self.value(Formal("value", f"b{8 * size}"), y) for y in items]
        self.lines.append(f"{temp} = pack([{', '.join(names)}], {_code(part)}, u{want.itemsize}).view({_code(want)})")
        return temp

    def address(self, op: Op, a: Address) -> str:
        """int64 array, relative to the start of the space (absolute for generic)."""
        space = space_of(op.mods)
        shift = a.offset - (HEAP if space == "global" else 0)
        if isinstance(a.base, Register):
            size = dtype(a.base.type).itemsize
            if size == 8:
                name = self.register(a.base, np.dtype("i8"))
            else:
                name = self.register(a.base, np.dtype("u4"))
                if shift:  # 32-bit addresses wrap
                    name = f"({name} + {self.unit.constant(shift, np.dtype('u4'))})"
                return f"{name}.astype(i8)"
            return f"{name} + {self.unit.constant(shift, np.dtype('i8'))}" if shift else name
        base = self.unit.symbol(a.base) if isinstance(a.base, Symbol) else a.base.value
        return self.unit.constant(base + shift, np.dtype("i8"))

    def operand(self, op: Op, formal: Formal, x: Any) -> str:
        if formal.kind == "address":
            return self.address(op, x)
        if formal.kind in ("imm", "sym"):
            return self.unit.object(x)
        if formal.kind == "skip":
            return "None"
        return self.value(formal, x)

    # Writing

    def write(self, r: Register, type_: np.dtype[Any], name: str, mask: str | None, merge: bool) -> None:
        """Set a register from the local variable `name` of dtype `type_`."""
        own = dtype(r.type)
        if type_.itemsize != own.itemsize and r.type != "pred":
            if type_.itemsize > own.itemsize:
                raise TileError(f"{r.name} has fewer bits than the instruction writes")
            wide = np.dtype(f"{'i' if type_.kind == 'i' else 'u'}{own.itemsize}")
            source = name if type_.kind in "iu" else f"{name}.view(u{type_.itemsize})"
            name, type_ = f"{source}.astype({_code(wide)})", wide
        code = _code(type_)
        new = f"r{r.index}_{code}"
        if mask is not None and merge:
            old = self.register(r, type_)
            self.lines.append(f"{new} = where({mask}, {name}, {old})")
        elif new != name:
            self.lines.append(f"{new} = {name}")
        self.have[r.index] = {code: new}
        self.dirty.add(r.index)

    def results(self, op: Op, names: list[tuple[Any, np.dtype[Any], str]], guard: str | None) -> None:
        """Write all destinations; the values are at hand in local variables."""
        mask = guard or ("m" if self.masked else None)
        for x, type_, name in names:
            if x is None:
                continue
            if not isinstance(x, Register):
                raise TileError(f"{op.site.text}: the destination is no register")
            crossing = x.index in self.unit.analysis.crossing
            merge = crossing or (guard is not None and x.index in self.have)
            self.write(x, type_, name, mask, merge)

    def flush(self) -> None:
        for index in sorted(self.dirty & self.unit.analysis.crossing):
            if "L" in self.have[index]:
                self.lines.append(f"R[{index}] = {self.have[index]['L']}")
                continue
            canon = self.unit.analysis.canon[index]
            self.lines.append(f"R[{index}] = {self.register(self.unit.program.registers[index], canon)}")
        self.dirty.clear()

    # Ops

    def guard(self, op: Op) -> str | None:
        """The mask of a guarded op, as a local variable."""
        if op.guard is None:
            return None
        name = self.register(op.guard, np.dtype("?"))
        temp = self.unit.fresh()
        negated = "~" if op.negated else ""
        self.lines.append(f"{temp} = {'m & ' if self.masked else ''}{negated}{name}")
        return temp

    def op(self, op: Op) -> None:
        self.lines.append(f"# {op.site.text}")
        guard = self.guard(op)
        if is_move(op) and guard is None and not self.masked:
            self.track(op, guard, [])
            self.alias(op.dests[0][1], op.sources[0][1])
            return
        arguments = [self.operand(op, f, x) for f, x in op.sources]
        plain = arguments
        if self.unit.taint is not None and arguments:  # evaluated once, for both
            plain = [self.unit.fresh() for _ in arguments]
            self.lines += [f"{t} = {a}" for t, a in zip(plain, arguments, strict=True)]
            arguments = plain
        if op.row.machine:
            mask = guard or ("m" if self.masked else "None")
            arguments = ["M", str(op.number), mask] + arguments
        call = f"{self.unit.object(op.function)}({', '.join(arguments)})"
        if not op.dests:
            self.lines.append(call)
            self.track(op, guard, plain)
            return
        outs: list[tuple[Any, np.dtype[Any], str]] = []
        left = [self.pattern(f, x, outs, guard is not None) for f, x in op.dests]
        self.lines.append(f"{', '.join(left)} = {call}")
        after = len(self.lines)
        self.track(op, guard, plain)
        tracking, self.lines = self.lines[after:], self.lines[:after]
        if len(outs) == 1 and left == [outs[0][2]] and isinstance(outs[0][0], Register):
            x, type_, name = outs[0]
            own = f"r{x.index}_{_code(type_)}"
            if not guard and not self.masked and type_.itemsize == dtype(x.type).itemsize:  # the usual case: no temporary
                self.lines[-1] = f"{own} = {call}"
                outs[0] = (x, type_, own)
        self.lines += tracking
        if op.dests[0][0].kind == "fragment" and guard is None and not self.masked:
            for x, _, name in outs:
                if x is not None:
                    self.lines.append(f"r{x.index}_L = {name}")
                    self.have[x.index] = {"L": f"r{x.index}_L"}
                    self.dirty.add(x.index)
            return
        self.results(op, outs, guard)

    def track(self, op: Op, guard: str | None, arguments: list[str]) -> None:
        """Follow undefined bits through an op, if this run does."""
        if self.unit.taint is not None:
            step = self.unit.object(self.unit.taint.steps[op.number])
            self.lines.append(f"{step}(M, {'m' if self.masked else 'None'}, {guard}, ({''.join(a + ', ' for a in arguments)}))")

    def alias(self, d: Register, s: Register) -> None:
        """A move costs nothing, and keeps the identity of the array."""
        have = self.have.get(s.index) or self.load(s)
        code, name = ("L", have["L"]) if "L" in have else next(iter(have.items()))
        new = f"r{d.index}_{code}"
        if new != name:
            self.lines.append(f"{new} = {name}")
        self.have[d.index] = {code: new}
        self.dirty.add(d.index)

    def pattern(self, formal: Formal, x: Any, outs: list[tuple[Any, np.dtype[Any], str]], guarded: bool) -> str:
        """The assignment target for one destination; appends (register, dtype, local variable) to `outs`."""
        temp = self.unit.fresh()
        if formal.pair:
            second = self.unit.fresh()
            first, other = (x.first, x.second) if isinstance(x, Pair) else (x, None)
            outs.append((first, self.type_of(first, formal.type), temp))
            outs.append((other, dtype(formal.pair), f"late({second})"))
            return f"({temp}, {second})"
        if isinstance(x, tuple) and formal.vector:
            parts = []
            for y in x:
                name = self.unit.fresh()
                parts.append(name)
                if formal.kind == "fragment" and self.masked | guarded:
                    name = f"force({name}, {_code(dtype(formal.type))})"
                outs.append((y, self.type_of(y, formal.type), name))
            return f"({', '.join(parts)},)"
        if isinstance(x, tuple):  # one wide value into several registers
            whole = dtype(formal.type)
            size = whole.itemsize // len(x)
            for k, y in enumerate(x):
                name = f"unpack({temp}, {k}, u{size})"
                outs.append((y, np.dtype(f"u{size}"), name))
            return temp
        outs.append((x, self.type_of(x, formal.type), temp))
        return temp

    def type_of(self, x: Any, type_: str) -> np.dtype[Any]:
        return np.dtype("?") if isinstance(x, Register) and x.type == "pred" else dtype(type_)

    def jump(self, op: Op, following: int) -> str:
        """The return statement of a jump."""
        role = op.row.role
        self.track(op, None, [])
        if role == "brx":
            index = self.value(*op.sources[0])
            return f"return ({index}, {[t.block for t in op.targets]})"
        target = self.unit.program.exit if role == "exit" else op.targets[0].block
        if op.guard is None:
            return f"return {target}"
        name = self.register(op.guard, np.dtype("?"))
        return f"return ({'~' if op.negated else ''}{name}, {target}, {following})"


class Unit:
    """The generated module: source, constants, functions."""

    def __init__(self, program: Program, tainted: bool = False):
        self.program = program
        self.analysis = Analysis(program)
        self.taint = Taint(program) if tainted else None
        self.names: dict[str, Any] = {"where": np.where, "pack": pack, "unpack": unpack, "late": late, "force": force}
        for code in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"):
            self.names[code] = np.dtype(code)
        self.constants: dict[tuple[int, str], str] = {}
        self.objects: dict[int, str] = {}
        self.temporaries = 0
        source = []
        for block in program.blocks:
            source += self.masked(block.number)
            if block.plain:
                source += self.fast(block.number)
        self.source = "\n".join(source)
        exec(compile(self.source, f"<simulated {program.name}>", "exec"), self.names)
        self.fast_functions = [self.names.get(f"fast{b.number}") for b in program.blocks]
        self.masked_functions = [self.names[f"masked{b.number}"] for b in program.blocks]

    @cached_property
    def undefined(self) -> bool:
        """Whether some register may be read before it is written."""
        return may_be_undefined(self.program, uses, defs)

    def fresh(self) -> str:
        self.temporaries += 1
        return f"t{self.temporaries}"

    def constant(self, bits: int, type_: np.dtype[Any]) -> str:
        key = (bits, type_.str)
        if key not in self.constants:
            name = f"c{len(self.constants)}"
            if type_ == np.dtype("?"):
                array = np.array([[bool(bits)]])
            else:
                size = type_.itemsize
                array = np.frombuffer((bits & ((1 << 8 * size) - 1)).to_bytes(size, "little"), type_).reshape(1, 1)
            self.names[name] = array
            self.constants[key] = name
        return self.constants[key]

    def object(self, x: Any) -> str:
        if x is None or isinstance(x, (int, str)):
            return repr(x)
        name = self.objects.get(id(x))
        if name is None:
            name = self.objects[id(x)] = f"op{len(self.objects)}"
            self.names[name] = x
        return name

    def symbol(self, s: Symbol) -> int:
        """Address of a variable: absolute for global memory, else within its space."""
        return s.variable.offset + s.offset + (HEAP if s.variable.space == "global" else 0)

    def masked(self, number: int) -> list[str]:
        block = self.program.blocks[number]
        writer = Writer(self, True)
        ops = self.program.ops[block.start : block.stop]
        following = number + 1
        end = f"return {following}"
        for op in ops:
            if op.row.role == "bar":
                guard = writer.guard(op) or "m"
                arguments = [writer.operand(op, f, x) for f, x in op.sources]
                end = f"return M.arrive({op.number}, {following}, {guard}, m, {', '.join(arguments)})"
            elif op.row.role == "rcall":
                end = f"return M.calls.call({op.number}, {following}, m)"
            elif op.row.role == "rret":
                end = f"return M.calls.back({op.number}, m)"
            elif op.row.role in JUMPS:
                end = writer.jump(op, following)
            else:
                with Loc("<ptx>", op.site.ptx_line):
                    writer.op(op)
        writer.flush()
        return [f"def masked{number}(R, M, m):"] + [f"    {line}" for line in writer.lines + [end]]

    def fast(self, number: int) -> list[str]:
        """From a plain block on through the blocks that can only be reached from it."""
        blocks = self.program.blocks
        writer = Writer(self, False)
        covered = []
        while True:
            block = blocks[number]
            covered.append(number)
            end = f"return {number + 1}"
            writer.lines.append(f"count[{number}] += 1")
            for op in self.program.ops[block.start : block.stop]:
                if op.row.role == "bar":
                    if partial_barrier(op):
                        return self.handed_over(covered[0], number)
                    writer.lines.append(f"M.barrier_all({op.number}, {writer.operand(op, *op.sources[0])})")
                elif op.row.role in ("rcall", "rret"):
                    return self.handed_over(covered[0], number)
                elif op.row.role in JUMPS:
                    end = writer.jump(op, number + 1)
                else:
                    writer.op(op)
            number += 1
            if number >= len(blocks) or blocks[number].plain:
                break
        writer.flush()
        lines = ["count = M.block_counts"] + writer.lines + [end]
        return [f"def fast{covered[0]}(R, M):"] + [f"    {line}" for line in lines]

    def handed_over(self, start: int, number: int) -> list[str]:
        assert start == number, "what the scheduler must do stands in a block of its own"
        return []


def _code(t: np.dtype[Any]) -> str:
    return "p" if t == np.dtype("?") else f"{t.kind}{t.itemsize}"


def _bits(c: Const, want: np.dtype[Any]) -> int:
    """The bits of a constant read as `want`."""
    if c.kind == "i":
        if want.kind == "f":
            return int.from_bytes(struct.pack("<f" if want.itemsize == 4 else "<d", float(c.value)), "little")
        return c.value
    if c.kind == "f32" and want.itemsize == 8 and want.kind == "f":
        (x,) = struct.unpack("<f", c.value.to_bytes(4, "little"))
        return int.from_bytes(struct.pack("<d", x), "little")
    if c.kind == "f64" and want.itemsize == 4:
        (x,) = struct.unpack("<d", c.value.to_bytes(8, "little"))
        return int.from_bytes(np.float32(x).tobytes(), "little")
    return c.value
