"""Atomics, semaphores and fences. LLVM's `atomicrmw` loses order and scope on this target, hence inline PTX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tilec.backend.chosen import ChosenAccess, ChosenShared
from tilec.backend.emit import llvm_type
from tilec.backend.llvm import Generator, Registers, emits, from_code, to_code
from tilec.backend.memory import conjunction, first_holder
from tilec.errors import Code, require
from tilec.ir.dtypes import DType, bf16, f16, f32
from tilec.ir.ops.atomics import Atomic
from tilec.ir.ops.semaphores import Fence, SemaphorePost, SemaphoreWait
from tilec.ir.types import SharedType

SCOPE = {"block": "cta", "gpu": "gpu", "sys": "sys"}
NAMES = {"exchange": "exch"}


@emits(Atomic)
def atomic(g: Generator, op: Atomic) -> Sequence[Registers]:
    shared = isinstance(op.memory.type, SharedType)
    values, first = g[op.value], first_holder(g, op.value.type)
    compares: Sequence[str | None] = [None] * len(values) if op.compare is None else g[op.compare]
    if op.value.type.dtype == bf16:
        require(g.target.capability >= (9, 0), f"atomics of bf16 begin with sm_90, and this is for {g.target.name}", hint="add in f32", code=Code.FEATURE)
    if shared:
        places = ChosenShared(g, op, op.value.type)
        return [[one(g, op, places.address(r), places.inside(r), first, v, c) for r, (v, c) in enumerate(zip(values, compares, strict=True))]]
    access = ChosenAccess(g, op, op.value.type)

    def single() -> Registers:
        return [
            one(g, op, access.pointer(access.element(r)), access.inside(r), first, v, c)
            for r, (v, c) in enumerate(zip(values, compares, strict=True))
        ]

    width = math.gcd(access.run, widest(g, op))
    if width > 1:
        vectors(g, op, access, width, first, single)
        return [["poison"] * len(values)]
    return [single()]


def widest(g: Generator, op: Atomic) -> int:
    """How many neighbours one reduction adds to: two halves, and from sm_90 on 16 bytes of halves or floats."""
    dtype = op.value.type.dtype
    if op.used or op.kind != "add" or op.order != "relaxed" or dtype not in (f16, bf16, f32):
        return 1
    if g.target.capability >= (9, 0):
        return 128 // dtype.bits
    return 2 if dtype == f16 else 1


def instruction(op: Atomic, opcode: str) -> str:
    """The PTX name up to the type."""
    space = "shared" if isinstance(op.memory.type, SharedType) else "global"
    return f"{opcode}.{op.order}.{SCOPE[op.scope]}.{space}.{NAMES.get(op.kind, op.kind)}"


def ptx_type(op: Atomic) -> str:
    dtype = op.value.type.dtype
    if op.kind == "add":
        return f"noftz.{dtype}" if dtype.bits == 16 else str(dtype) if dtype.is_float else f"u{dtype.bits}"
    if op.kind in ("min", "max"):
        return f"{'s' if dtype.is_signed else 'u'}{dtype.bits}"
    return f"b{dtype.bits}"


def one(g: Generator, op: Atomic, address: str, inside: str, first: str, value: str, compare: str | None) -> str:
    """The update of one element, by the first of the threads that hold it; the old one, 0 where nothing is done."""
    dtype = op.value.type.dtype
    letter = {16: "h", 32: "r", 64: "l"}[dtype.bits]
    pointer = f"ptr addrspace({3 if isinstance(op.memory.type, SharedType) else 1}) {address}"
    condition = conjunction(g, [inside, first])
    given = [to_code(g, v, dtype) for v in ([compare] if compare is not None else []) + [value]]
    returns = op.used or op.kind in ("exchange", "cas") or op.order in ("acquire", "acq_rel")  # reductions have none of these
    start = int(returns)
    arguments = [pointer, *(f"i{dtype.bits} {v}" for v in given)]
    letters = ["r" if "(3)" in pointer else "l", *[letter] * len(given)]
    if condition != "true":
        arguments.append(f"i1 {condition}")
        letters.append("b")
    guard = f"@${start + 1 + len(given)} " if condition != "true" else ""
    body = f"[${start}], " + ", ".join(f"${start + 1 + i}" for i in range(len(given)))
    if not returns:
        code = f"{guard}{instruction(op, 'red')}.{ptx_type(op)} {body};"
        g.e.asm("void", code, ",".join([*letters, "~{memory}"]), *arguments, effect=True)
        return "poison"
    code = f"{guard}{instruction(op, 'atom')}.{ptx_type(op)} $0, {body};"
    code = f"mov.b{dtype.bits} $0, 0; {code}" if guard else code
    old = g.e.asm(f"i{dtype.bits}", code, ",".join([f"=&{letter}", *letters, "~{memory}"]), *arguments, effect=True)
    return from_code(g, old, dtype)


def vectors(g: Generator, op: Atomic, access: ChosenAccess, width: int, first: str, single: Callable[[], Registers]) -> None:
    """`width` neighbours at once where all are inside and aligned to it, else one by one."""
    whole = conjunction(g, [access.all_inside(), access.aligned(width)])
    number = g.e.fresh()
    known = dict(access.memo)
    g.e.branch(whole, f"vectors{number}", f"single{number}")
    g.e.start(f"vectors{number}")
    for register in range(0, len(access.place.offsets), width):
        add_vector(g, op, access.pointer(access.element(register)), g[op.value][register : register + width], first)
    g.e.jump(f"added{number}")
    g.e.start(f"single{number}")
    access.memo = dict(known)
    single()
    g.e.jump(f"added{number}")
    g.e.start(f"added{number}")
    access.memo = known


def add_vector(g: Generator, op: Atomic, address: str, values: Registers, first: str) -> None:
    """One reduction of as many elements as there are values; halves go in pairs."""
    dtype = op.value.type.dtype
    words = [f"float {v}" for v in values]
    if dtype.bits == 16:
        words = [f"i32 {packed(g, dtype, low, high)}" for low, high in zip(values[::2], values[1::2], strict=True)]
    n = len(words)
    guard = "" if first == "true" else f"@${n + 1} "
    names = ", ".join(f"${i + 1}" for i in range(n))
    kind = ("noftz" if dtype.bits == 16 else "") + (f".v{n}" if n > 1 else "") + (f".{dtype}x2" if dtype.bits == 16 else f".{dtype}")
    code = f"{guard}{instruction(op, 'red')}.{kind.lstrip('.')} [$0], {f'{{{names}}}' if n > 1 else names};"
    arguments = [f"ptr addrspace(1) {address}", *words, *([f"i1 {first}"] if guard else [])]
    letters = ["l", *["r" if dtype.bits == 16 else "f"] * n, *(["b"] if guard else [])]
    g.e.asm("void", code, ",".join([*letters, "~{memory}"]), *arguments, effect=True)


def packed(g: Generator, dtype: DType, low: str, high: str) -> str:
    """Two halves as an i32."""
    kind = llvm_type(dtype)
    return g.e.let(f"bitcast <2 x {kind}> {g.e.join(kind, (low, high))} to i32")


# semaphores


def counter(g: Generator, op: SemaphoreWait | SemaphorePost) -> str:
    """The address of a semaphore."""
    total = g.origins.get(op.memory, "0")
    for at, stride in zip(op.offsets, g.strides[op.memory], strict=True):
        term = g.widened(g.scalar(at))
        term = term if stride == "1" else g.e.let(f"mul nsw i64 {term}, {stride}")
        total = term if total == "0" else g.e.let(f"add nsw i64 {total}, {term}")
    return g.e.let(f"getelementptr inbounds i32, ptr addrspace(1) {g.scalar(op.memory)}, i64 {total}")


def by_first_thread(g: Generator) -> tuple[str, str]:
    """Labels of what the first thread does alone and of what comes after; the branch to them is made."""
    number = g.e.fresh()
    labels = f"alone{number}", f"after{number}"
    g.e.branch(g.e.let(f"icmp eq i32 {g.thread}, 0"), *labels)
    return labels


@emits(SemaphoreWait)
def semaphore_wait(g: Generator, op: SemaphoreWait) -> None:
    address = counter(g, op)
    alone, after = by_first_thread(g)
    g.e.start(alone)
    now = g.e.let(f'load atomic i32, ptr addrspace(1) {address} syncscope("device") acquire, align 4')
    enough = "sge" if op.memory.type.dtype.is_signed else "uge"
    g.e.branch(g.e.let(f"icmp {enough} i32 {now}, {g.scalar(op.value)}"), after, alone)
    g.e.start(after)


@emits(SemaphorePost)
def semaphore_post(g: Generator, op: SemaphorePost) -> None:
    address = counter(g, op)
    alone, after = by_first_thread(g)
    g.e.start(alone)
    code = "red.release.gpu.global.add.u32 [$0], $1;"
    g.e.asm("void", code, "l,r,~{memory}", f"ptr addrspace(1) {address}", f"i32 {g.scalar(op.value)}", effect=True)
    g.e.jump(after)
    g.e.start(after)


@emits(Fence)
def fence(g: Generator, op: Fence) -> None:
    scope = {"block": ' syncscope("block")', "gpu": ' syncscope("device")', "sys": ""}[op.scope]
    g.e.line(f"fence{scope} acq_rel")
