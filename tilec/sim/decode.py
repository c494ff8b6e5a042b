"""`Module` and the name of a kernel to `Program`: names resolved, calls inlined, each opcode matched with its row, basic blocks cut.

Device functions are inlined: their parameters become the caller's, their registers are renamed at each call, and `ret` branches behind
the call. An indirect call tries every function whose address is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tilec.errors import Loc, TileError
from tilec.sim import isa  # noqa: F401  (fills the table)
from tilec.sim.parse import Addr, Function, Imm, Instruction, Label, Module, Name, Not, Operand, Pair, Registers, Table, Variable, Vec
from tilec.sim.report import Site, Unsupported
from tilec.sim.table import Formal, Row, explain, lookup
from tilec.sim.values import SPECIALS

JUMPS = ("bra", "brx", "exit", "rcall", "rret")  # roles that end a block
FUNCTION_BASE = 0x10  # addresses of functions: FUNCTION_BASE * (index + 1)

# Operands after names are resolved ---------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Register:
    index: int
    type: str
    name: str


@dataclass(frozen=True)
class Const:
    """Bits of an integer (`kind` "i") or float ("f32", "f64") constant."""

    value: int
    kind: str = "i"


@dataclass(frozen=True)
class Special:
    name: str


@dataclass(frozen=True)
class Symbol:
    """The address of a variable in its own space, plus an offset."""

    variable: Slot
    offset: int = 0


@dataclass(frozen=True)
class Address:
    base: Register | Symbol | Const
    offset: int
    more: tuple[Any, ...] = ()


@dataclass(eq=False)
class Slot:
    """A variable that has been given a place: `offset` in its space (for dynamic shared memory set by `finish`)."""

    variable: Variable
    space: str
    offset: int = -1
    init: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Recursive:
    """A device function with one body. `bytes` and `registers`: the ranges of its variables in local memory, and of its registers."""

    name: str
    entry: Target
    params: list[Slot]
    results: list[Slot]
    bytes: tuple[int, int]
    registers: tuple[int, int]


@dataclass(frozen=True)
class Negated:
    register: Register


@dataclass(eq=False)
class Target:
    """A branch target; `block` is set when blocks are cut."""

    name: str
    block: int = -1
    used: bool = False


@dataclass
class Op:
    """One instruction of the flattened kernel."""

    number: int
    row: Row
    mods: dict[str, Any]
    dests: list[tuple[Formal, Any]]
    sources: list[tuple[Formal, Any]]
    guard: Register | None
    negated: bool
    site: Site
    targets: tuple[Target, ...] = ()
    function: Callable[..., Any] | None = None


@dataclass
class Block:
    """Ops `start` to `stop` (exclusive). `plain` blocks begin at a label or after a jump: the unmasked code starts only there."""

    number: int
    start: int
    stop: int
    plain: bool


@dataclass
class Program:
    name: str
    target: str
    ops: list[Op] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    registers: list[Register] = field(default_factory=list)
    params: list[Variable] = field(default_factory=list)
    param_offsets: list[int] = field(default_factory=list)
    param_bytes: int = 0
    statics: list[Slot] = field(default_factory=list)  # module variables in global and const memory
    static_bytes: int = 0
    shared_bytes: int = 0  # static
    dynamic: list[Slot] = field(default_factory=list)  # .extern .shared
    local_bytes: int = 0
    directives: dict[str, list[int]] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)  # whose addresses are taken

    @property
    def exit(self) -> int:
        """The block number that stands for the end of a thread."""
        return len(self.blocks)

    @property
    def dynamic_offset(self) -> int:
        return max((s.offset for s in self.dynamic), default=_align(self.shared_bytes, 16))


def _align(n: int, a: int) -> int:
    return -(-n // a) * a


def decode(module: Module, entry: str) -> Program:
    """Flatten, match and cut. Raises Unsupported with every instruction that has no row; TileError for undeclared names."""
    function = module.functions.get(entry)
    if function is None or not function.entry:
        raise TileError(f"no kernel named {entry!r}", hint="kernels of this module: " + ", ".join(module.entries()))
    recursive: set[str] = set()
    while True:
        try:
            return _Decoder(module, function, recursive).run()
        except _Recursion as found:
            recursive.add(found.name)


class _Recursion(Exception):
    """A device function calls itself, so it can't be inlined."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


class _Scope:
    """Names of one `{}`."""

    def __init__(self, parent: _Scope | None):
        self.parent = parent
        self.names: dict[str, Any] = {}
        self.ranges: list[tuple[str, int, str]] = []


class _Decoder:
    def __init__(self, module: Module, function: Function, recursive: set[str]):
        self.module, self.entry, self.recursive = module, function, recursive
        self.shared_bodies: dict[str, Recursive] = {}
        self.queue: list[Recursive] = []
        self.program = Program(function.name, module.target, directives=function.directives)
        self.stream: list[Op | Target] = []
        self.bad: dict[str, tuple[int, str]] = {}
        self.root = _Scope(None)
        self.taken: list[str] = self.program.functions
        self.addressed = self.find_addressed()

    def find_addressed(self) -> set[str]:
        """Functions whose address is taken: named in an initializer, or by an instruction that does not call them."""
        found = {x.name for v in self.module.variables for x in v.init if isinstance(x, Name)}

        def visit(statements: list[Any]) -> None:
            for s in statements:
                if isinstance(s, list):
                    visit(s)
                elif isinstance(s, Instruction) and not s.opcode.startswith("call"):
                    found.update(o.name for o in s.operands if isinstance(o, Name))

        for f in self.module.functions.values():
            visit(f.body or [])
        return found & set(self.module.functions)

    def run(self) -> Program:
        program = self.program
        for variable in self.module.variables:
            self.root.names[variable.name] = variable
        scope = _Scope(self.root)
        offset = 0
        for p in self.entry.params:
            offset = _align(offset, p.align)
            program.params.append(p)
            program.param_offsets.append(offset)
            scope.names[p.name] = Slot(p, "param", offset)
            offset += p.size or 0
        program.param_bytes = offset
        end = Target("end of the kernel", used=True)
        self.body(self.entry.body or [], scope, end, ())
        self.stream.append(end)
        self.emit_simple("exit", self.entry.line)
        while self.queue:
            self.shared_body(self.queue.pop())
        if self.bad:
            listed = "; ".join(f"{op} (line {line}: {why})" for op, (line, why) in self.bad.items())
            raise Unsupported(f"{self.entry.name} uses what the simulator does not model: {listed}", tuple(self.bad))
        for slot in program.dynamic:
            slot.offset = _align(program.shared_bytes, max(16, slot.variable.align))
        self.cut()
        return program

    # Scopes and names

    def body(self, statements: list[Any], scope: _Scope, end: Target, stack: tuple[str, ...]) -> None:
        for s in statements:
            if isinstance(s, Label):
                scope.names[s.name] = Target(s.name)
        for i, s in enumerate(statements):
            if isinstance(s, list):
                self.body(s, _Scope(scope), end, stack)
            elif isinstance(s, Label):
                following = statements[i + 1] if i + 1 < len(statements) else None
                if isinstance(following, Table):
                    scope.names[s.name] = following
                else:
                    self.stream.append(scope.names[s.name])
            elif isinstance(s, Registers):
                for name in s.names:
                    scope.names[name] = self.register(s.type, name)
                scope.ranges += [(prefix, count, s.type) for prefix, count in s.ranges]
            elif isinstance(s, Variable):
                scope.names[s.name] = self.place(s, function_scope=True)
            elif isinstance(s, Instruction):
                with Loc("<ptx>", s.line):
                    self.instruction(s, scope, end, stack)

    def register(self, type_: str, name: str) -> Register:
        out = Register(len(self.program.registers), type_, name)
        self.program.registers.append(out)
        return out

    def place(self, v: Variable, function_scope: bool = False) -> Slot:
        program = self.program
        space = "local" if function_scope and v.space == "param" else v.space
        slot = Slot(v, space)
        size = v.size or 0
        if (space == "shared" and v.size is None) or (v.extern and space == "shared"):
            program.dynamic.append(slot)
        elif space == "shared":
            slot.offset = _align(program.shared_bytes, v.align)
            program.shared_bytes = slot.offset + size
        elif space == "local":
            slot.offset = _align(program.local_bytes, max(4, v.align))
            program.local_bytes = slot.offset + size
        else:
            slot.offset = _align(program.static_bytes, max(16, v.align))
            program.static_bytes = slot.offset + size + 16
            program.statics.append(slot)
            slot.space = "global"
            slot.init = [self.initial(x) for x in v.init]
        return slot

    def initial(self, item: Any) -> Any:
        if isinstance(item, Name):
            found = self.resolve(item.name, self.root)
            return self.pointer(found) if isinstance(found, Function) else Symbol(found, item.offset)
        return item

    def pointer(self, f: Function) -> Const:
        """A function's address."""
        if f.name not in self.taken:
            self.taken.append(f.name)
        return Const(FUNCTION_BASE * (self.taken.index(f.name) + 1))

    def resolve(self, name: str, scope: _Scope) -> Any:
        at: _Scope | None = scope
        while at is not None:
            found = at.names.get(name)
            if found is not None:
                if isinstance(found, Variable):
                    found = at.names[name] = self.place(found)
                return found
            for prefix, count, type_ in at.ranges:
                if name.startswith(prefix) and name[len(prefix) :].isdigit() and int(name[len(prefix) :]) < count:
                    found = at.names[name] = self.register(type_, name)
                    return found
            at = at.parent
        if name in self.module.functions:
            return self.module.functions[name]
        if name in SPECIALS:
            return Special(name)
        raise TileError(f"{name} is not declared")

    # Instructions

    def site(self, i: Instruction) -> Site:
        file, line = i.loc or (0, 0)
        if isinstance(file, str):
            path = next((f for f in self.module.files.values() if f.endswith("/" + file)), file)
        else:
            path = self.module.files.get(file, "")
        return Site(i.line, i.text, path, line if path else 0)

    def emit_simple(self, opcode: str, line: int, target: Target | None = None, guard: Register | None = None) -> None:
        found = lookup(opcode)
        assert found
        targets = (target,) if target else ()
        self.stream.append(Op(0, found[0], found[1], [], [], guard, False, Site(line, opcode), targets, found[0].make(**found[1])))

    def instruction(self, i: Instruction, scope: _Scope, end: Target, stack: tuple[str, ...]) -> None:
        found = None if "_" in i.opcode.partition(".")[0] else lookup(i.opcode)  # rows with _ are this module's own
        if found is None:
            self.bad.setdefault(i.opcode, (i.line, explain(i.opcode)))
            return
        row, mods = found
        guard = self.resolve(i.guard, scope) if i.guard else None
        if row.role == "call":
            self.call(i, row, mods, scope, stack)
            return
        op = Op(0, row, dict(mods), [], [], guard, i.negated, self.site(i))
        if row.role == "bra":
            op.targets = (self.target(i.operands[0], scope),)
        elif row.role == "ret":
            found = lookup("bra")
            assert found
            op.row, op.targets = found[0], (end,)
            end.used = True
        elif row.role == "brx":
            index, table = i.operands
            names = self.resolve(table.name, scope).names if isinstance(table, Name) else []
            op.sources = [(Formal("value", "u32"), self.operand(index, scope))]
            op.targets = tuple(self.target(Name(n), scope) for n in names)
        else:
            self.operands(op, i, scope)
            self.bind(op, i)
        self.stream.append(op)

    def target(self, operand: Operand, scope: _Scope) -> Target:
        assert isinstance(operand, Name)
        target = self.resolve(operand.name, scope)
        if not isinstance(target, Target):
            raise TileError(f"{operand.name} is no label")
        target.used = True
        return target

    def bind(self, op: Op, i: Instruction) -> None:
        """Give the op its function; a meaning may refuse by raising Unsupported."""
        if op.row.role in ("exit", "bar"):
            return
        try:
            op.function = op.row.make(**op.mods)
        except Unsupported as e:
            self.bad.setdefault(i.opcode, (i.line, e.message))

    def operands(self, op: Op, i: Instruction, scope: _Scope) -> None:
        dests, sources = op.row.formals(op.mods)
        given = list(i.operands)
        need = len(dests) + len(sources)
        fewest = need - sum(f.optional for f in sources)
        if not fewest <= len(given) <= need:
            raise TileError(f"{i.opcode} takes {need} operands, here are {len(given)}: {i.text}")
        for formal, operand in zip(dests, given, strict=False):
            op.dests.append((formal, self.formal(op, formal, operand, scope)))
        optional = [k for k, f in enumerate(sources) if f.optional]
        absent = optional[len(optional) - (need - len(given)) :] if need > len(given) else []
        rest = iter(given[len(dests) :])
        for k, formal in enumerate(sources):
            op.sources.append((formal, None if k in absent else self.formal(op, formal, next(rest), scope)))

    def formal(self, op: Op, formal: Formal, operand: Operand, scope: _Scope) -> Any:
        if formal.kind == "skip":
            return None
        if formal.kind == "sym":
            assert isinstance(operand, Name)
            return self.resolve(operand.name, scope)
        if formal.kind == "imm":
            if not isinstance(operand, Imm):
                raise TileError(f"{op.site.text}: a constant is needed, not {operand}")
            return operand.value
        out = self.operand(operand, scope)
        if formal.kind == "address":
            if not isinstance(out, Address):
                raise TileError(f"{op.site.text}: an address in brackets is needed")
            if isinstance(out.base, Symbol) and "space" in op.mods and op.mods["space"] in ("param", "param::func", None):
                op.mods["space"] = out.base.variable.space
            return out
        if formal.vector != isinstance(out, tuple) and not (isinstance(out, tuple) and op.row.opcode in ("mov", "ld", "st", "ldu")):
            if isinstance(out, tuple) and len(out) == 1:  # { %r1 } is %r1
                return out[0]
            if formal.vector and formal.count == 1:
                return (out,)
            raise TileError(f"{op.site.text}: a vector of {formal.count or 'no'} elements is needed")
        if isinstance(out, tuple):
            if len(out) == 1 and not formal.vector:
                return out[0]
            if formal.vector and len(out) != formal.count:
                raise TileError(f"{op.site.text}: a vector of {formal.count} elements is needed")
        return out

    def operand(self, o: Operand, scope: _Scope) -> Any:
        if isinstance(o, Imm):
            return Const(o.value, o.kind)
        if isinstance(o, Name):
            if o.name == "_":
                return None
            found = self.resolve(o.name, scope)
            if isinstance(found, Slot):
                return Symbol(found, o.offset)
            return self.pointer(found) if isinstance(found, Function) else found
        if isinstance(o, Vec):
            return tuple(self.operand(x, scope) for x in o.items)
        if isinstance(o, Pair):
            return Pair(self.operand(o.first, scope), self.operand(o.second, scope))
        if isinstance(o, Not):
            return Negated(self.operand(o.operand, scope))
        assert isinstance(o, Addr)
        base = self.operand(o.base, scope)
        return Address(base, o.offset, tuple(self.operand(x, scope) for x in o.more))

    # Calls

    def call(self, i: Instruction, row: Row, mods: dict[str, Any], scope: _Scope, stack: tuple[str, ...]) -> None:
        operands = list(i.operands)
        results = operands.pop(0) if isinstance(operands[0], Vec) else Vec(())
        assert isinstance(results, Vec)
        callee = self.operand(operands.pop(0), scope)
        arguments = operands[0] if operands and isinstance(operands[0], Vec) else Vec(())
        assert isinstance(arguments, Vec)
        after = Target("after the call", used=True)
        skip = self.resolve(i.guard, scope) if i.guard else None
        if skip is not None:
            self.emit_simple("bra", i.line, after, skip)
            last = self.stream[-1]
            assert isinstance(last, Op)
            last.negated = not i.negated
        if isinstance(callee, Const):
            name = self.taken[callee.value // FUNCTION_BASE - 1]
            self.inline(self.module.functions[name], results, arguments, i, scope, stack)
        else:
            self.indirect(callee, results, arguments, i, scope, stack, operands, after)
        self.stream.append(after)

    def indirect(
        self,
        pointer: Any,
        results: Vec,
        arguments: Vec,
        i: Instruction,
        scope: _Scope,
        stack: tuple[str, ...],
        rest: list[Any],
        after: Target,
    ) -> None:
        names = None
        for o in rest:
            if isinstance(o, Name):
                found = self.resolve(o.name, scope)
                if isinstance(found, Table) and found.kind == "calltargets":
                    names = found.names
        shape = (len(results.items), len(arguments.items))
        candidates = names or [
            f.name
            for f in self.module.functions.values()
            if f.name in self.addressed and f.body is not None and (len(f.results), len(f.params)) == shape
        ]
        if not candidates:
            raise Unsupported(f"no function fits the indirect call: {i.text}")
        for name in candidates:
            value = self.operand(Name(name), scope)
            flag = self.register("pred", "%is_" + name)
            found = lookup("setp.ne.b64")
            assert found
            test = Op(0, found[0], found[1], [(Formal("value", "pred", pair="pred"), flag)], [], None, False, self.site(i))
            test.sources = [(Formal("value", "b64"), pointer), (Formal("value", "b64"), value)]
            test.function = found[0].make(**found[1])
            self.stream.append(test)
            following = Target("next candidate", used=True)
            self.emit_simple("bra", i.line, following, flag)
            self.inline(self.module.functions[name], results, arguments, i, scope, stack)
            self.emit_simple("bra", i.line, after)
            self.stream.append(following)
        self.emit_simple("trap", i.line)

    def inline(self, f: Function, results: Vec, arguments: Vec, i: Instruction, scope: _Scope, stack: tuple[str, ...]) -> None:
        if f.body is None:
            self.external(f, results, arguments, i, scope)
            return
        if f.name in self.recursive:
            self.call_shared(f, results, arguments, i, scope)
            return
        if f.name in stack:
            raise _Recursion(f.name)
        inner = _Scope(self.root)
        for formal, actual in zip(f.params + f.results, arguments.items + results.items, strict=True):
            inner.names[formal.name] = self.argument(formal, actual, i, scope)
        end = Target("end of " + f.name, used=True)
        self.body(f.body, inner, end, stack + (f.name,))
        self.stream.append(end)

    def call_shared(self, f: Function, results: Vec, arguments: Vec, i: Instruction, scope: _Scope) -> None:
        """Call the one body of a recursive function."""
        shared = self.shared_bodies.get(f.name)
        if shared is None:
            slots = [self.place(v, function_scope=True) for v in f.params + f.results]
            entry, n = Target("start of " + f.name, used=True), len(f.params)
            shared = Recursive(f.name, entry, slots[:n], slots[n:], (0, 0), (0, 0))
            self.shared_bodies[f.name] = shared
            self.queue.append(shared)
        given = [self.argument(v, a, i, scope) for v, a in zip(f.params, arguments.items, strict=True)]
        wanted = [self.argument(v, a, i, scope) for v, a in zip(f.results, results.items, strict=True)]
        self.emit_simple("call_recursive", i.line, shared.entry)
        op = self.stream[-1]
        assert isinstance(op, Op)
        op.site = self.site(i)
        op.mods = {
            "callee": shared,
            "arguments": list(zip(given, shared.params, strict=True)),
            "results": list(zip(shared.results, wanted, strict=True)),
        }

    def shared_body(self, shared: Recursive) -> None:
        """The body of a recursive function, once, behind the kernel."""
        f = self.module.functions[shared.name]
        inner = _Scope(self.root)
        for v, slot in zip(f.params + f.results, shared.params + shared.results, strict=True):
            inner.names[v.name] = slot
        registers, variables = len(self.program.registers), self.program.local_bytes
        if any(isinstance(s, Variable) and s.space == "local" for s in f.body or []):
            self.bad.setdefault(f"recursion of {f.name}", (f.line, "it has variables in local memory"))
        end = Target("end of " + f.name, used=True)
        self.stream.append(shared.entry)
        self.body(f.body or [], inner, end, ())
        self.stream.append(end)
        self.emit_simple("return_recursive", f.line)
        op = self.stream[-1]
        assert isinstance(op, Op)
        op.mods = {"callee": shared}
        shared.registers = (registers, len(self.program.registers))
        shared.bytes = (variables, self.program.local_bytes)

    def argument(self, formal: Variable, actual: Operand, i: Instruction, scope: _Scope) -> Any:
        """A `.param` variable of the caller is the callee's; a register or constant is copied into one."""
        value = self.operand(actual, scope)
        if isinstance(value, Symbol) and value.offset == 0:
            return value.variable
        slot = self.place(Variable(formal.name, "param", formal.align, formal.type, formal.size), function_scope=True)
        found = lookup(f"st.local.{formal.type.replace('s', 'u')}")
        assert found
        op = Op(0, found[0], dict(found[1]), [], [], None, False, self.site(i))
        op.sources = [(Formal("address"), Address(Symbol(slot), 0)), (Formal("value", found[1]["T"]), value)]
        op.function = op.row.make(**op.mods)
        self.stream.append(op)
        return slot

    def external(self, f: Function, results: Vec, arguments: Vec, i: Instruction, scope: _Scope) -> None:
        """Functions of the device run time: rows named `call_<name>`."""
        found = lookup("call_" + f.name)
        if found is None:
            self.bad.setdefault(f"call of {f.name}", (i.line, "an external function"))
            return
        row, mods = found
        op = Op(0, row, dict(mods), [], [], None, False, self.site(i))
        for operand in arguments.items + results.items:
            value = self.operand(operand, scope)
            if not isinstance(value, Symbol):
                raise Unsupported(f"{i.text}: arguments of {f.name} in registers")
            op.sources.append((Formal("imm"), value))
        op.function = row.make(**mods)
        self.stream.append(op)

    # Basic blocks

    def cut(self) -> None:
        """Number the ops and cut blocks at targets in use, after jumps, and around gathering ops and barriers."""
        program = self.program
        starts: dict[int, bool] = {0: True}  # op number: whether the unmasked code may start there
        marks: list[tuple[Target, int]] = []
        for item in self.stream:
            n = len(program.ops)
            if isinstance(item, Target):
                marks.append((item, n))
                if item.used:
                    starts[n] = True
                continue
            item.number = n
            program.ops.append(item)
            role = item.row.role
            if item.row.gather or role == "bar":
                starts.setdefault(n, False)
            if role == "bar":
                starts.setdefault(n + 1, partial_barrier(item))
                if partial_barrier(item):
                    starts[n] = starts[n + 1] = True
            elif role in JUMPS:
                starts[n + 1] = True
                if role in ("rcall", "rret"):
                    starts[n] = True
        count = len(program.ops)
        ordered = sorted(s for s in starts if s < count)
        number = {s: k for k, s in enumerate(ordered)}
        for k, s in enumerate(ordered):
            program.blocks.append(Block(k, s, ordered[k + 1] if k + 1 < len(ordered) else count, starts[s]))
        for target, n in marks:
            if target.used:
                target.block = number.get(n, len(ordered))


def partial_barrier(op: Op) -> bool:
    """Whether a barrier may let a part of the block pass, or returns a value: such ones always go through the scheduler."""
    return op.guard is not None or op.mods.get("kind") != "sync" or (len(op.sources) > 1 and op.sources[1][1] is not None)
