"""Accesses with hints to the caches, as inline PTX: LLVM has no way to say them.

PTX ISA, sections "ld", "st", "cp.async" and "createpolicy"; the forms were assembled to LDG.E.NA, .EF, .LTC128B and their like.
"""

from __future__ import annotations

from typing import Any

from tilec.backend.llvm import Generator

# what createpolicy.fractional.L2::evict_*.b64 of the whole range gives: an opaque constant that the assembler folds it to
POLICIES = {"first": 0x12F0000000000000, "last": 0x14F0000000000000}


def words(size: int) -> tuple[int, int]:
    """An access of `size` bytes as registers: bits of each, and how many."""
    width = min(size, 4)
    return 8 * width, size // width


def shape(g: Generator, size: int) -> tuple[int, int, str, str, str]:
    """Bits and number of the registers, the PTX type, the constraint, and the LLVM type of the registers together."""
    bits, count = words(size)
    held = max(bits, 16)
    kind = f"b{bits}" if bits >= 16 else "u8"
    return held, count, (f".v{count}.{kind}" if count > 1 else f".{kind}"), "r" if bits == 32 else "h", f"i{held}"


def modifiers(hints: dict[str, Any]) -> str:
    """What stands between the space and the type."""
    found = f".{hints['cache']}" if "cache" in hints else ""
    if "evict" in hints:
        found += ".L1::" + (hints["evict"] if hints["evict"] == "no_allocate" else f"evict_{hints['evict']}")
    return found + (f".L2::{hints['prefetch']}B" if "prefetch" in hints else "")


def load(g: Generator, type: str, size: int, address: str, hints: dict[str, Any], condition: str = "true") -> str:
    """Load a value of an LLVM type and so many bytes; 0 where the condition is false."""
    held, count, suffix, letter, register = shape(g, size)
    names = [f"${i}" for i in range(count)]
    outputs = f"{{{', '.join(names)}}}" if count > 1 else names[0]
    result = register if count == 1 else "{" + ", ".join([register] * count) + "}"
    guarded_at, guard, letters, arguments = guarded(condition, count + 1, ["l"], [f"ptr addrspace(1) {address}"])
    zeros = "".join(f"mov.b{held} {name}, 0; " for name in names) if guarded_at else ""
    code = f"{zeros}{guard}ld.global{modifiers(hints)}{suffix} {outputs}, [${count}];"
    constraints = ",".join([f"={'&' * bool(zeros)}{letter}"] * count + [*letters, "~{memory}"])
    whole = g.e.asm(result, code, constraints, *arguments, effect=True)
    if count == 1:
        value = whole if held == 8 * size else g.e.let(f"trunc i{held} {whole} to i{8 * size}")
        return g.e.let(f"bitcast i{8 * size} {value} to {type}") if type != f"i{8 * size}" else value
    vector = "poison"
    for i, part in enumerate(g.e.extract(whole, result, count)):
        vector = g.e.let(f"insertelement <{count} x {register}> {vector}, {register} {part}, i32 {i}")
    return g.e.let(f"bitcast <{count} x {register}> {vector} to {type}")


def store(g: Generator, type: str, size: int, address: str, value: str, hints: dict[str, Any], condition: str = "true") -> None:
    """Store a value of an LLVM type and so many bytes where the condition holds."""
    held, count, suffix, letter, register = shape(g, size)
    if count == 1:
        given = g.e.let(f"bitcast {type} {value} to i{8 * size}") if type != f"i{8 * size}" else value
        parts = [given if held == 8 * size else g.e.let(f"zext i{8 * size} {given} to i{held}")]
    else:
        whole = g.e.let(f"bitcast {type} {value} to <{count} x {register}>")
        parts = [g.e.let(f"extractelement <{count} x {register}> {whole}, i32 {i}") for i in range(count)]
    inputs = ", ".join(f"${i + 1}" for i in range(count))
    inputs = f"{{{inputs}}}" if count > 1 else inputs
    arguments = [f"ptr addrspace(1) {address}", *(f"{register} {p}" for p in parts)]
    _, guard, letters, arguments = guarded(condition, count + 1, ["l", *[letter] * count], arguments)
    code = f"{guard}st.global{modifiers(hints)}{suffix} [$0], {inputs};"
    g.e.asm("void", code, ",".join([*letters, "~{memory}"]), *arguments, effect=True)


def copy(g: Generator, kind: str, size: int, arguments: list[str], present: str, hints: dict[str, Any], condition: str = "true") -> None:
    """An asynchronous copy of `size` bytes, of which `present` (an i32) are there, where the condition holds."""
    policy = POLICIES.get(hints.get("evict", ""))
    name = f"cp.async.{kind}.shared.global" + (".L2::cache_hint" if policy else "")
    name += f".L2::{hints['prefetch']}B" if "prefetch" in hints else ""
    given = [*arguments, f"i32 {present}"] + ([f"i64 {policy}"] if policy else [])
    _, guard, letters, given = guarded(condition, len(given), ["r", "l", "r", *["l"] * bool(policy)], given)
    code = f"{guard}{name} [$0], [$1], {size}, $2" + (", $3;" if policy else ";")
    g.e.asm("void", code, ",".join([*letters, "~{memory}"]), *given, effect=True)


def guarded(condition: str, number: int, letters: list[str], arguments: list[str]) -> tuple[bool, str, list[str], list[str]]:
    """Whether there is a condition, the guard of an instruction whose condition is asm operand `number`, and its operands."""
    if condition == "true":
        return False, "", letters, arguments
    return True, f"@${number} ", [*letters, "b"], [*arguments, f"i1 {condition}"]


__all__ = ["copy", "load", "store"]
