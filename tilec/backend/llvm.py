"""IR after selection to LLVM IR text: the only place where addresses, threads and branches exist.

A scalar is one LLVM value, the same in all threads; a tile is a list of them, one a register of its layout; a tensor is a pointer, a
shared tile its byte offset. Each op class has one rule (`emits`), here and in the files of its family; control flow becomes basic
blocks with phis. LLVM cleans up after us: constants, common subexpressions and dead code are its business, not ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from tilec.backend import arith, packed, ramps, words
from tilec.backend.casts import stochastic
from tilec.backend.emit import Emitter, Lines, llvm_constant, llvm_type
from tilec.backend.fields import Field, tell
from tilec.backend.target import Target
from tilec.errors import Code, Loc, TileError
from tilec.ir.core import Block, Function, Op, Value, Yield
from tilec.ir.describe import written
from tilec.ir.dtypes import DType
from tilec.ir.facts import Facts
from tilec.ir.layout import Layout
from tilec.ir.ops.arith import Cast
from tilec.ir.ops.base import Elementwise
from tilec.ir.ops.control import Assume, BlockCount, BlockIndex, For, If, While
from tilec.ir.ops.debug import Breakpoint, Print
from tilec.ir.ops.shape import Arange, Broadcast, Constant, ConvertLayout, Reshape, Transpose, View
from tilec.ir.ops.stochastic import StochasticCast
from tilec.ir.ops.sync import Barrier
from tilec.ir.ops.views import TensorView
from tilec.ir.types import TensorType, Warps
from tilec.records import field, record

Registers = list[str]
Rule = Callable[["Generator", Any], "Sequence[Registers] | None"]
RULES: dict[type[Op], Rule] = {}


def emits(*kinds: type[Op]) -> Callable[[Rule], Rule]:
    """Register how ops of these classes become LLVM IR. A rule returns the registers of each result."""

    def register(rule: Rule) -> Rule:
        for kind in kinds:
            RULES[kind] = rule
        return rule

    return register


def to_llvm(function: Function, target: Target, lineinfo: bool = False) -> str:
    """The module's text. With `lineinfo` it maps instructions to the author's lines, and changes none."""
    return Generator(function, target, lineinfo).module()


class Generator:
    """Walks a function and emits; `values` holds what each IR value became."""

    def __init__(self, function: Function, target: Target, lineinfo: bool = False):
        self.function = function
        self.target = target
        self.facts = Facts(function)
        loc = function.loc or Loc("<kernel>", 1)
        self.lines = Lines(symbol(function), loc) if lineinfo else None
        self.e = Emitter(self.lines)
        self.values: dict[Value, Registers] = {}
        self.origins: dict[Value, str] = {}  # of views: the element of their parameter's memory that they begin at, an i64
        self.bases: dict[Layout, list[str]] = {}
        self.ramps: dict[str, ramps.Ramp] = {}
        self.group: Warps | None = None  # of warps that runs what is emitted; None for the whole block
        self.groups: dict[Warps, tuple[str, dict[Layout, list[str]]]] = {}  # thread number in the group, places
        self.barriers: dict[Barrier | Warps, tuple[int, int]] = {}  # those taken: the first number, and how many
        self.uses_shared = False
        self.factors: dict[str, tuple[str, int]] = {}  # of some i64: the i32 that they are a multiple of, and which
        self.written = written(function)
        self.walks: list[Walk | None] = []  # the loops around what is emitted, innermost last; None for those without a steady counter

    # the module

    def module(self) -> str:
        self.prologue()
        self.block(self.function.body)
        self.e.line("ret void")
        params = ", ".join(f"{parameter_type(p)} %p{i}" for i, p in enumerate(self.function.params))
        debug = f" !dbg !{self.lines.kernel}" if self.lines else ""
        attributes = f'"nvvm.reqntid"="{self.function.threads},1,1" "nvvm.minctasm"="1"'
        shared = ["@shared = external addrspace(3) global [0 x i8], align 1024"] if self.uses_shared else []
        head = f"define ptx_kernel void @{symbol(self.function)}({params}) {attributes}{debug} {{"
        lines = [self.lines.module()] if self.lines else []
        return "\n".join([*shared, *self.e.declared, head, "entry:", *self.e.body(self.preamble, self.e.text), "}", "!0 = !{}", *lines, ""])

    def prologue(self) -> None:
        """What everything may use: parameters, the thread's number, extents and strides of tensors. (Places in layouts join them later.)"""
        for i, param in enumerate(self.function.params):
            self.values[param] = [f"%p{i}"]
        self.thread = self.e.call("i32", "llvm.nvvm.read.ptx.sreg.tid.x")
        self.strides = {p: self.strides_of(p) for p in self.function.params if isinstance(p.type, TensorType)}
        self.preamble, self.e.text = self.e.text, []

    def relative_thread(self, first: int) -> str:
        """The thread's number from thread `first` on."""
        with self.e.prelude(self.preamble):
            return self.e.let(f"sub i32 {self.thread}, {first}") if first else self.thread

    def base(self, layout: Layout) -> list[str]:
        """This thread's place in a layout: the coordinates of its register 0."""
        if layout not in self.bases:
            with self.e.prelude(self.preamble):  # so that it dominates everything
                self.bases[layout] = self.place(layout)
        return self.bases[layout]

    def place(self, layout: Layout) -> list[str]:
        """The coordinates of this thread's register 0, an i32 for each dimension; those of others are a constant more."""
        coordinates = ["0"] * layout.rank
        for digit, place in layout.thread_places():
            if digit.dim < 0:
                continue
            value = self.thread if place == 1 else self.e.let(f"udiv i32 {self.thread}, {place}")
            if place * digit.size < self.function.threads:
                value = self.e.let(f"urem i32 {value}, {digit.size}")
            if digit.stride != 1:
                value = self.e.let(f"mul nuw nsw i32 {value}, {digit.stride}")
            old = coordinates[digit.dim]
            coordinates[digit.dim] = value if old == "0" else self.e.let(f"add nuw nsw i32 {old}, {value}")
        return coordinates

    def extent(self, tensor: Value, axis: int) -> str:
        """An extent of a tensor as i32."""
        n = tensor.type.shape[axis]
        return str(n) if isinstance(n, int) else self.scalar(self.extent_value(tensor, axis))

    def extent_value(self, tensor: Value, axis: int) -> Value:
        """The scalar that is an extent: of a view an operand, else a dimension."""
        if isinstance(tensor.owner, TensorView):
            return tensor.owner.extents[axis]
        return self.function.param(tensor.type.shape[axis])

    def extent_divisor(self, tensor: Value, axis: int) -> int:
        """A number that divides an extent."""
        n = tensor.type.shape[axis]
        return n if isinstance(n, int) else self.facts.divisor(self.extent_value(tensor, axis))

    def is_below(self, offset: Value, tensor: Value, axis: int) -> bool:
        """Whether an offset is known to lie within an extent."""
        n = tensor.type.shape[axis]
        if isinstance(n, int):
            return isinstance(offset.owner, Constant) and 0 <= offset.owner.value < n
        return self.facts.below(offset, self.extent_value(tensor, axis))

    def strides_of(self, tensor: Value) -> list[str]:
        """Strides in elements as i64."""
        rank = tensor.type.rank
        if tensor.type.strided:
            return [self.values[self.function.param(f"{tensor.name}.stride{axis}")][0] for axis in range(rank)]
        strides = ["1"] * rank
        for axis in range(rank - 2, -1, -1):
            extent = self.widened(self.extent(tensor, axis + 1))
            strides[axis] = extent if strides[axis + 1] == "1" else self.e.let(f"mul nsw i64 {strides[axis + 1]}, {extent}")
        return strides

    def widened(self, value: str) -> str:
        """An i32 as i64."""
        if value.lstrip("-").isdigit():
            return value
        wide = self.e.let(f"sext i32 {value} to i64")
        self.factors[wide] = (value, 1)
        return wide

    # values

    def __getitem__(self, value: Value) -> Registers:
        return self.values[value]

    def scalar(self, value: Value) -> str:
        return self.values[value][0]

    def coordinates(self, layout: Layout) -> tuple[list[str], Any]:
        """This thread's place, and the constants [registers, rank] to add to it."""
        return self.base(layout), layout.coords()[0]

    # walking

    def block(self, block: Block) -> None:
        for op in block.ops:
            self.emit(op)

    def emit(self, op: Op) -> None:
        if isinstance(op, Yield):
            return
        self.e.loc = op.loc
        rule = rule_of(type(op))
        with op.loc or Loc("<kernel>", 1):
            for result, registers in zip(op.results, rule(self, op) or (), strict=True):
                self.values[result] = registers


def rule_of(kind: type[Op]) -> Rule:
    for base in kind.__mro__:
        if base in RULES:
            return RULES[base]
    raise TileError(f"{kind.mnemonic} can't be compiled for the GPU", code=Code.NOT_ON_GPU)


def symbol(function: Function) -> str:
    """The kernel's name as assemblers take it."""
    return re.sub(r"\W", "_", function.name)


def parameter_type(param: Value) -> str:
    if isinstance(param.type, TensorType):
        return "ptr addrspace(1) align 16"
    return llvm_type(param.type.dtype)


def types_of(types: Sequence[Any]) -> list[str]:
    """For each register of values of these types, its LLVM type."""
    return [llvm_type(t.dtype) for t in types for _ in range(registers_of(t))]


def registers_of(type: Any) -> int:
    return type.layout.registers if type.layout is not None else 1


# values and shapes


@emits(Elementwise)
def elementwise(g: Generator, op: Elementwise) -> Sequence[Registers]:
    """Registers that share operands share the result, so that broadcasts cost nothing; 16-bit floats go two at a time."""
    given = list(zip(*(g[v] for v in op.operands), strict=True))
    if isinstance(op, Cast):
        return [words.cast(g.e, g[op.x], op.x.type.dtype, op.dtype, g.target)]
    if isinstance(op, StochasticCast):
        return [[stochastic(g.e, x, bits, op.x.type.dtype, op.dtype) for x, bits in given]]
    columns = ramps.alike(g, op, given)
    seen: dict[tuple[str, ...], str] = {}
    if packed.packs(op):
        for first, second in zip(columns[::2], columns[1::2], strict=False):
            if first not in seen and second not in seen and first != second:
                seen[first], seen[second] = packed.lower(g.e, op, first, second)
    for column in columns:
        if column not in seen:
            seen[column] = arith.lower(g.e, op, column, g.target)
    result = [seen[column] for column in columns]
    ramps.follow(g, op, given, result)
    return [result]


@emits(Constant)
def constant(g: Generator, op: Constant) -> Sequence[Registers]:
    return [[llvm_constant(op.value, op.dtype)] * registers_of(op.result.type)]


@emits(Arange)
def arange(g: Generator, op: Arange) -> Sequence[Registers]:
    (base,), offsets = g.coordinates(op.layout)
    steps = [op.start + int(c) for (c,) in offsets]
    values = [resized(g, added(g, base, step), op.dtype) for step in steps]
    ramps.begin(g, op, base, steps, values)
    return [values]


def added(g: Generator, base: str, number: int) -> str:
    """base + number, an i32."""
    if base.isdigit():
        return str(int(base) + number)
    return base if number == 0 else g.e.let(f"add nsw i32 {base}, {number}")


def resized(g: Generator, value: str, dtype: DType) -> str:
    if dtype.bits == 32 or value.lstrip("-").isdigit():
        return value
    return g.e.let(f"{'sext' if dtype.bits > 32 else 'trunc'} i32 {value} to i{dtype.bits}")


@emits(Broadcast)
def broadcast(g: Generator, op: Broadcast) -> Sequence[Registers]:
    registers = g[op.x]
    if not op.x.type.shape:
        return [registers * registers_of(op.result.type)]
    source = op.x.type.layout
    for _ in range(op.result.type.rank - source.rank):
        source = source.unsqueeze(0)
    return [[registers[r] for r in op.layout.registers_in(source)[0]]]


@emits(Reshape, Transpose)
def renamed(g: Generator, op: Reshape | Transpose) -> Sequence[Registers]:
    """The layouts of operand and result are the same function under other coordinates."""
    return [g[op.x] if op.result.type.shape else g[op.x][:1]] if op.x.type.shape else [g[op.x] * registers_of(op.result.type)]


@emits(ConvertLayout)
def permuted(g: Generator, op: ConvertLayout) -> Sequence[Registers]:
    return [[g[op.x][r] for r in op.layout.registers_in(op.x.type.layout)[0]]]


@emits(View)
def view(g: Generator, op: View) -> Sequence[Registers]:
    source, target = op.x.type.dtype, op.dtype
    group = math.lcm(source.bits, target.bits)
    take, give = group // source.bits, group // target.bits
    out: Registers = []
    for first in range(0, len(g[op.x]), take):
        word = "0"
        for i, register in enumerate(g[op.x][first : first + take]):
            code = g.e.let(f"zext i{source.bits} {to_code(g, register, source)} to i{group + 1}")
            shifted = g.e.let(f"shl i{group + 1} {code}, {i * source.bits}")
            word = shifted if word == "0" else g.e.let(f"or i{group + 1} {word}, {shifted}")
        for i in range(give):
            piece = g.e.let(f"lshr i{group + 1} {word}, {i * target.bits}")
            out.append(from_code(g, g.e.let(f"trunc i{group + 1} {piece} to i{target.bits}"), target))
        if take == 1 and target.bits <= 8 and not target.is_bool and (place := place_in_words(g, g[op.x][first], source)):
            tell(g.e, out[-give:], place.row, target.bits, place.start)
    return [out]


def place_in_words(g: Generator, register: str, dtype: DType) -> Field | None:
    """Where an element lies, if it is a word itself or known to lie in one."""
    return Field((register,), 0) if dtype.is_int and dtype.bits == 32 and register.startswith("%") else g.e.fields.get(register)


def to_code(g: Generator, register: str, dtype: DType) -> str:
    """An element's bits as an integer of the type's width."""
    held = llvm_type(dtype)
    if dtype.is_bool:
        return g.e.let(f"zext i1 {register} to i8")
    if held == f"i{dtype.bits}":
        return register
    if held == "i8":
        return g.e.let(f"trunc i8 {register} to i{dtype.bits}")
    return g.e.let(f"bitcast {held} {register} to i{dtype.bits}")


def from_code(g: Generator, code: str, dtype: DType) -> str:
    """The inverse of `to_code`."""
    held = llvm_type(dtype)
    if dtype.is_bool:
        return g.e.let(f"icmp ne i8 {code}, 0")
    if held == f"i{dtype.bits}":
        return code
    if held == "i8":
        return g.e.let(f"zext i{dtype.bits} {code} to i8")
    return g.e.let(f"bitcast i{dtype.bits} {code} to {held}")


@emits(BlockIndex)
def block_index(g: Generator, op: BlockIndex) -> Sequence[Registers]:
    return [[g.e.call("i32", f"llvm.nvvm.read.ptx.sreg.ctaid.{'xyz'[op.axis]}")]]


@emits(BlockCount)
def block_count(g: Generator, op: BlockCount) -> Sequence[Registers]:
    return [[g.e.call("i32", f"llvm.nvvm.read.ptx.sreg.nctaid.{'xyz'[op.axis]}")]]


@emits(Print, Breakpoint, Assume)
def nothing(g: Generator, op: Op) -> None:
    return None


# control flow


def flat(g: Generator, values: Sequence[Value]) -> Registers:
    return [r for v in values for r in g[v]]


def spread(g: Generator, values: Sequence[Value], registers: Registers) -> list[Registers]:
    """Cut a flat list into the registers of each value."""
    out, at = [], 0
    for v in values:
        n = registers_of(v.type)
        out.append(registers[at : at + n])
        at += n
    return out


def bind(g: Generator, values: Sequence[Value], registers: Registers) -> None:
    for v, r in zip(values, spread(g, values, registers), strict=True):
        g.values[v] = r


@record(frozen=False)
class Walk:
    """A loop whose counter has a constant step, and the addresses that it carries: the phi, its start, and what makes the next one."""

    counter: Value
    start: str
    step: int
    carried: list[tuple[str, str, Callable[[], str]]] = field(default_factory=list)


class Phis:
    """The phis at a loop's head: made before the values that come back are known, completed after."""

    def __init__(self, g: Generator, types: Sequence[str], starts: Registers, before: str):
        self.g, self.types, self.starts, self.before = g, types, starts, before
        self.names = [f"%{g.e.fresh()}" for _ in types]
        g.e.levels.update((name, len(g.e.ahead)) for name in self.names)
        self.lines: list[str] = []
        g.e.text.append(self.lines)

    def carry(self, walk: Walk, label: str) -> None:
        """Addresses that move on in each round."""
        for name, start, following in walk.carried:
            end = following()
            self.lines.append(f"  {name} = phi ptr addrspace(1) [ {start}, %{self.before} ], [ {end}, %{label} ]")

    def close(self, ends: Registers, label: str) -> None:
        rows = zip(self.names, self.types, self.starts, ends, strict=True)
        self.lines += [f"  {name} = phi {type} [ {start}, %{self.before} ], [ {end}, %{label} ]" for name, type, start, end in rows]


@emits(For)
def for_loop(g: Generator, op: For) -> Sequence[Registers]:
    e, number = g.e, g.e.fresh()
    head, body, done = f"for{number}", f"body{number}", f"done{number}"
    kind = llvm_type(op.start.type.dtype)
    starts = [g.scalar(op.start), *flat(g, op.inits)]
    before = e.label
    e.enter_loop()
    e.jump(head)
    e.start(head)
    phis = Phis(g, [kind, *types_of([v.type for v in op.inits])], starts, before)
    bind(g, op.body.args, phis.names)
    e.branch(goes_on(g, op, kind, phis.names[0]), body, done)
    e.start(body)
    step = op.step.owner
    walk = Walk(op.body.args[0], starts[0], int(step.value)) if isinstance(step, Constant) else None
    g.walks.append(walk)
    g.block(op.body)
    g.walks.pop()
    e.loc = op.loc
    following = e.let(f"add {kind} {phis.names[0]}, {g.scalar(op.step)}")
    if walk is not None:
        phis.carry(walk, e.label)
    phis.close([following, *flat(g, op.body.yielded)], e.label)
    e.jump(head)
    e.leave_loop()
    e.start(done)
    return spread(g, op.results, phis.names[1:])


def goes_on(g: Generator, op: For, kind: str, counter: str) -> str:
    """Whether the counter has not reached the end, whichever way it walks."""
    signed = "s" if op.start.type.dtype.is_signed else "u"
    stop, step = g.scalar(op.stop), op.step.owner
    below, above = f"icmp {signed}lt {kind} {counter}, {stop}", f"icmp {signed}gt {kind} {counter}, {stop}"
    if isinstance(step, Constant):
        return g.e.let(below if step.value > 0 else above)
    up = g.e.let(f"icmp sgt {kind} {g.scalar(op.step)}, 0")
    return g.e.let(f"select i1 {up}, i1 {g.e.let(below)}, i1 {g.e.let(above)}")


@emits(While)
def while_loop(g: Generator, op: While) -> Sequence[Registers]:
    e, number = g.e, g.e.fresh()
    head, body, done = f"while{number}", f"body{number}", f"done{number}"
    before = e.label
    starts = flat(g, op.inits)
    e.enter_loop()
    e.jump(head)
    e.start(head)
    phis = Phis(g, types_of([v.type for v in op.inits]), starts, before)
    bind(g, op.test.args, phis.names)
    bind(g, op.body.args, phis.names)
    g.walks.append(None)
    g.block(op.test)
    e.branch(g.scalar(op.test.yielded[0]), body, done)
    e.start(body)
    g.block(op.body)
    g.walks.pop()
    phis.close(flat(g, op.body.yielded), e.label)
    e.jump(head)
    e.leave_loop()
    e.start(done)
    return spread(g, op.results, phis.names)


@emits(If)
def branch(g: Generator, op: If) -> Sequence[Registers]:
    e, number = g.e, g.e.fresh()
    then, orelse, done = f"then{number}", f"else{number}", f"done{number}"
    e.branch(g.scalar(op.condition), then, orelse)
    ends = []
    for label, region in ((then, op.then), (orelse, op.orelse)):
        e.start(label)
        with g.facts.assuming(op.condition) if region is op.then else nullcontext():
            g.block(region)
        ends.append((flat(g, region.yielded), e.label))
        e.jump(done)
    e.start(done)
    (a, from_a), (b, from_b) = ends
    types = types_of([v.type for v in op.results])
    return spread(g, op.results, [e.phi(t, [(x, from_a), (y, from_b)]) for t, x, y in zip(types, a, b, strict=True)])
