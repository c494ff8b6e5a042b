"""Prints and assertions on the GPU, by the device run time's `vprintf` and `__assertfail`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilec.backend.emit import llvm_type
from tilec.backend.llvm import Generator, emits
from tilec.backend.memory import conjunction, first_holder, i32_add, place_of
from tilec.errors import Loc
from tilec.ir.dtypes import DType
from tilec.ir.ops.debug import AssertAt, DevicePrint

SLOT = 8  # bytes: of the largest argument


def text_constant(g: Generator, text: str) -> str:
    """A generic pointer to a C string."""
    key = ("text", text)
    if key not in g.e.cache:
        raw = [*text.encode(), 0]
        shown = "".join(chr(c) if 32 <= c < 127 and c not in (34, 92) else f"\\{c:02X}" for c in raw)
        name = f"@text{len(g.e.declared)}"
        g.e.declared.append(f'{name} = private unnamed_addr addrspace(1) constant [{len(raw)} x i8] c"{shown}", align 1')
        g.e.cache[key] = f"addrspacecast (ptr addrspace(1) {name} to ptr)"
    return f"ptr {g.e.cache[key]}"


def declare(g: Generator, text: str) -> None:
    if text not in g.e.declared:
        g.e.declared.append(text)


def inside(g: Generator, type: Any, register: int) -> str:
    """Whether a register holds an element of the tile, and not the layout's padding."""
    if not type.shape:
        return "true"
    place = place_of(g, type)
    return conjunction(g, [place.within(g, axis, c) for axis, c in enumerate(place.offsets[register])])


@emits(DevicePrint)
def device_print(g: Generator, op: DevicePrint) -> None:
    """The one thread that speaks for an element calls vprintf with its arguments in local memory."""
    declare(g, "declare i32 @vprintf(ptr, ptr)")
    type, e = op.x.type, g.e
    blocks = [e.call("i32", f"llvm.nvvm.read.ptx.sreg.ctaid.{axis}") for axis in "xyz"]
    form = text_constant(g, op.form + "\n")
    first = first_holder(g, type) if type.shape else e.let(f"icmp eq i32 {g.thread}, 0")
    for register, value in enumerate(g[op.x]):
        places = []
        if type.shape:
            base, offsets = g.coordinates(type.layout)
            places = [i32_add(g, b, int(c)) for b, c in zip(base, offsets[register], strict=True)]
        arguments = [*(("i32", x) for x in (*blocks, *places)), widened(g, value, type.dtype)]
        condition, number = conjunction(g, [first, inside(g, type, register)]), e.fresh()
        if condition == "false":
            continue
        e.branch(condition, f"print{number}", f"printed{number}")
        e.start(f"print{number}")
        call_printf(g, form, arguments)
        e.jump(f"printed{number}")
        e.start(f"printed{number}")


def widened(g: Generator, value: str, dtype: DType) -> tuple[str, str]:
    """A value as a variadic C function takes it."""
    kind = llvm_type(dtype)
    if dtype.is_float:
        return "double", value if kind == "double" else g.e.let(f"fpext {kind} {value} to double")
    wide = "i64" if dtype.bits == 64 else "i32"
    return wide, value if kind == wide else g.e.let(f"{'sext' if dtype.is_signed else 'zext'} {kind} {value} to {wide}")


def call_printf(g: Generator, form: str, arguments: Sequence[tuple[str, str]]) -> None:
    e, at = g.e, 0
    size = SLOT * len(arguments)
    made = f"  %print.{size} = alloca [{size} x i8], align {SLOT}"
    if made not in g.preamble:
        g.preamble.append(made)
    for kind, value in arguments:
        width = 4 if kind == "i32" else 8
        at = -(-at // width) * width
        e.line(f"store {kind} {value}, ptr {e.let(f'getelementptr i8, ptr %print.{size}, i32 {at}')}, align {width}")
        at += width
    e.let(f"call i32 @vprintf({form}, ptr %print.{size})")


@emits(AssertAt)
def assertion(g: Generator, op: AssertAt) -> None:
    declare(g, "declare void @__assertfail(ptr, ptr, i32, ptr, i64)")
    e, type = g.e, op.condition.type
    bad = []
    for register, value in enumerate(g[op.condition]):
        here = inside(g, type, register)
        wrong = e.let(f"xor i1 {value}, true")
        bad.append(wrong if here == "true" else e.let(f"and i1 {wrong}, {here}"))
    fails = bad[0]
    for other in bad[1:]:
        fails = e.let(f"or i1 {fails}, {other}")
    number, place = e.fresh(), op.loc or Loc("<kernel>", 0)
    e.branch(fails, f"fail{number}", f"holds{number}")
    e.start(f"fail{number}")
    texts = [text_constant(g, text) for text in (op.message or "the assertion fails", place.file, g.function.name)]
    e.line(f"call void @__assertfail({texts[0]}, {texts[1]}, i32 {place.line}, {texts[2]}, i64 1)")
    e.jump(f"holds{number}")
    e.start(f"holds{number}")
