"""Matrix products and exchanges between lanes, as LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilec.backend import arith
from tilec.backend.emit import llvm_constant, llvm_type
from tilec.backend.fields import words_of
from tilec.backend.isa.mma import MatrixInstruction
from tilec.backend.llvm import Generator, Registers, emits, from_code, to_code
from tilec.backend.memory import i32_add
from tilec.ir.dtypes import DType, f16, f32, f64, i32
from tilec.ir.layout import Layout
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.reduce import ReduceLanes, ReduceRegisters
from tilec.ir.ops.shape import ConvertLanes


@emits(MatrixInstruction)
def mma(g: Generator, op: MatrixInstruction) -> Sequence[Registers]:
    """One instruction for each fragment of the accumulator and each step along k; the steps of one fragment follow in turn."""
    a = packed_fragments(g, op.a.type, g[op.a], op.fragments.a)
    b = packed_fragments(g, op.b.type, g[op.b], op.fragments.b)
    acc = list(g[op.acc])
    tiles = fragment_starts(op.acc.type.layout, op.fragments.c)
    count = op.fragments.c.registers
    depth = 1 + max(k for _, k in a)
    for k in range(depth):
        for (i, j), start in tiles.items():
            sums = words(g, acc[start : start + count], op.accumulator)
            kind = sums[0].rpartition(" ")[0]
            result = "{" + ", ".join([kind] * len(sums)) + "}"
            whole = g.e.call(result, op.intrinsic, *a[i, k], *b[k, j], *sums)
            made = g.e.extract(whole, result, len(sums))
            if op.accumulator == f16:
                made = [g.e.let(f"extractelement <2 x half> {word}, i32 {half}") for word in made for half in range(2)]
            acc[start : start + count] = made
    return [acc]


def fragment_starts(layout: Layout, fragment: Layout) -> dict[tuple[int, int], int]:
    """The first register of each fragment that a warp holds, by the fragment's place in its warp's grid of them."""
    places = layout.divide(fragment).coords()[0]
    ranks = [sorted(set(places[:, axis].tolist())) for axis in range(2)]
    return {(ranks[0].index(i), ranks[1].index(j)): r * fragment.registers for r, (i, j) in enumerate(places.tolist())}


def packed_fragments(g: Generator, type: Any, registers: Registers, fragment: Layout) -> dict[tuple[int, int], list[str]]:
    """For each fragment of an operand its arguments."""
    starts = fragment_starts(type.layout, fragment)
    return {place: words(g, registers[start : start + fragment.registers], type.dtype, operand=True) for place, start in starts.items()}


def words(g: Generator, elements: Registers, dtype: DType, operand: bool = False) -> list[str]:
    """Elements as an intrinsic takes them, "type value": wide accumulators one by one, others as many as fill a word."""
    if dtype in (f64, i32):
        return [f"{llvm_type(dtype)} {x}" for x in elements]
    if dtype == f32:
        return [f"i32 {g.e.let(f'bitcast float {x} to i32')}" if operand else f"float {x}" for x in elements]
    per = 32 // dtype.bits
    return [word(g, elements[i : i + per], dtype) for i in range(0, len(elements), per)]


def word(g: Generator, elements: Registers, dtype: DType) -> str:
    """The elements of a word of 32 bits, the first lowest: f16 as a vector of two, other types as an integer."""
    kind, per = llvm_type(dtype), len(elements)
    known = words_of(g.e, elements, dtype.bits) if dtype.bits <= 8 else ()
    if known:
        return f"i32 {known[0]}"
    if dtype.bits >= 8:
        whole = "poison"
        for i, x in enumerate(elements):
            whole = g.e.let(f"insertelement <{per} x {kind}> {whole}, {kind} {x}, i32 {i}")
        return f"<2 x half> {whole}" if dtype == f16 else f"i32 {g.e.let(f'bitcast <{per} x {kind}> {whole} to i32')}"
    whole = "0"
    for i, x in enumerate(elements):
        wide = g.e.let(f"zext i8 {x} to i32")
        shifted = g.e.let(f"shl i32 {wide}, {i * dtype.bits}") if i else wide
        whole = shifted if whole == "0" else g.e.let(f"or i32 {whole}, {shifted}")
    return f"i32 {whole}"


@emits(Dot)
def dot(g: Generator, op: Dot) -> Sequence[Registers]:
    """Each thread multiplies the rows of a by the columns of b that it holds, by fused multiply-adds along k."""
    a, b = register_at(op.a.type.layout), register_at(op.b.type.layout)
    left, right = g[op.a], g[op.b]
    depth = op.a.type.shape[1]
    out = []
    for (i, j), acc in zip(op.acc.type.layout.coords()[0].tolist(), g[op.acc], strict=True):
        for k in range(depth):
            acc = multiply_add(g, op, left[a[i, k]], right[b[k, j]], acc)
        out.append(acc)
    return [out]


def multiply_add(g: Generator, op: Dot, x: str, y: str, acc: str) -> str:
    dtype = op.acc.type.dtype
    if dtype.is_float:
        return arith.llvm(g.e, "fma", dtype, x, y, acc)
    kind = op.mode or "mul"
    return g.e.let(f"add i32 {acc}, {g.e.let(f'{kind} i32 {x}, {y}')}")


def register_at(layout: Layout) -> dict[tuple[int, int], int]:
    """The register of each coordinate that thread 0 holds; the others hold the same, moved."""
    return {(i, j): r for r, (i, j) in enumerate(layout.coords()[0].tolist())}


@emits(ReduceRegisters)
def reduce_registers(g: Generator, op: ReduceRegisters) -> Sequence[Registers]:
    given = op.x.type
    registers = [filled(g, op, r, x) for r, x in enumerate(g[op.x])]
    out = []
    for group in op.groups():
        terms = [registers[r] for r in group]
        while len(terms) > 1:  # as a tree: short chains
            pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
            terms = [arith.combine(g.e, op.reduction.combine, given.dtype, *p) if len(p) == 2 else p[0] for p in pairs]
        out.append(terms[0])
    return [out]


def filled(g: Generator, op: ReduceRegisters, register: int, value: str) -> str:
    """The element, or the identity where the register is padding."""
    given = op.x.type
    base, offsets = g.coordinates(given.layout)
    for axis in op.axes:
        if given.layout.shape[axis] > given.shape[axis]:
            at = g.e.let(f"add nsw i32 {base[axis]}, {int(offsets[register][axis])}")
            inside = g.e.let(f"icmp ult i32 {at}, {given.shape[axis]}")
            kind = llvm_type(given.dtype)
            identity = llvm_constant(op.reduction.identity(given.dtype), given.dtype)
            value = g.e.let(f"select i1 {inside}, {kind} {value}, {kind} {identity}")
    return value


@emits(ReduceLanes)
def reduce_lanes(g: Generator, op: ReduceLanes) -> Sequence[Registers]:
    registers = list(g[op.x])
    for mask in op.masks():
        partners = [exchange(g, x, op.x.type.dtype, mask) for x in registers]
        registers = [arith.combine(g.e, op.reduction.combine, op.x.type.dtype, x, y) for x, y in zip(registers, partners, strict=True)]
    return [registers]


def exchange(g: Generator, value: str, dtype: DType, mask: int) -> str:
    """The value of the lane whose number differs by `mask`."""
    code = to_code(g, value, dtype)
    words = [code]
    if dtype.bits == 64:
        words = [g.e.let(f"trunc i64 {code} to i32"), g.e.let(f"trunc i64 {g.e.let(f'lshr i64 {code}, 32')} to i32")]
    elif dtype.bits < 32:
        words = [g.e.let(f"zext i{dtype.bits} {code} to i32")]
    moved = [g.e.call("i32", "llvm.nvvm.shfl.sync.bfly.i32", "i32 -1", f"i32 {w}", f"i32 {mask}", "i32 31") for w in words]
    if dtype.bits == 64:
        low, high = (g.e.let(f"zext i32 {w} to i64") for w in moved)
        return from_code(g, g.e.let(f"or i64 {low}, {g.e.let(f'shl i64 {high}, 32')}"), dtype)
    narrow = moved[0] if dtype.bits == 32 else g.e.let(f"trunc i32 {moved[0]} to i{dtype.bits}")
    return from_code(g, narrow, dtype)




@emits(ConvertLanes)
def convert_lanes(g: Generator, op: ConvertLanes) -> Sequence[Registers]:
    """Each lane tells from the coordinates of what it wants which lane has it, and in which register if that differs from lane to lane."""
    source: Layout = op.x.type.layout
    suppliers = op.layout.suppliers(source)
    assert suppliers is not None
    base, offsets = g.coordinates(op.layout)
    words = [word_of(g, value, op.x.type.dtype) for value in g[op.x]]
    memo: dict[tuple[str, ...], str] = {}
    out = []
    for wanted, found in zip(offsets, suppliers, strict=True):
        at = [i32_add(g, b, int(c)) for b, c in zip(base, wanted, strict=True)]
        lane = located(g, at, [(d, place) for d, place in source.thread_places() if place < 32], memo)
        values = [g.e.call("i32", "llvm.nvvm.shfl.sync.idx.i32", "i32 -1", f"i32 {words[r]}", f"i32 {lane}", "i32 31") for r in found]
        result = values[0]
        if len(found) > 1:
            register = located(g, at, source.register_places(), memo)
            for r, value in zip(found[1:], values[1:], strict=True):
                result = g.e.let(f"select i1 {g.e.let(f'icmp eq i32 {register}, {r}')}, i32 {value}, i32 {result}")
        out.append(of_word(g, result, op.x.type.dtype))
    return [out]


def located(g: Generator, at: Sequence[str], places: Sequence[tuple[Any, int]], memo: dict[tuple[str, ...], str]) -> str:
    """The number whose digits coordinates are: of a lane, or of a register."""
    total = "0"
    for digit, place in places:
        if digit.dim < 0:
            continue
        key = (at[digit.dim], str(digit.stride), str(digit.size), str(place))
        if key not in memo:
            value = at[digit.dim]
            for name, number in (("udiv", digit.stride), ("urem", digit.size), ("mul", place)):
                value = value if number == 1 and name != "urem" else g.e.let(f"{name} i32 {value}, {number}")
            memo[key] = value
        total = i32_add(g, total, memo[key])
    return total


def word_of(g: Generator, value: str, dtype: DType) -> str:
    code = to_code(g, value, dtype)
    return code if dtype.bits == 32 else g.e.let(f"zext i{max(dtype.bits, 8) if dtype.is_bool else dtype.bits} {code} to i32")


def of_word(g: Generator, word: str, dtype: DType) -> str:
    bits = 8 if dtype.is_bool else dtype.bits
    return from_code(g, word if bits == 32 else g.e.let(f"trunc i32 {word} to i{bits}"), dtype)
