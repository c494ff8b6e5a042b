"""What a host must know to launch a kernel, as plain data for JSON: parameters in order, constants, grid and assumptions as text.

The texts are expressions of a small part of Python: names of scalars, dimensions and strides, numbers, `+ - * // % / << >> & | ^`,
comparisons, `not`, `x if c else y`, and calls of min, max, abs, int and float. Integers are exact, `//` and `%` round down. Whoever
launches, in Python or in C, checks the assumptions and computes the grid from them alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from tilec.ir.core import Function, Op, Value
from tilec.ir.dtypes import Codebook, DType
from tilec.ir.facts import open_questions
from tilec.ir.ops.arith import Abs, Cast, Maximum, Minimum, Neg, Not, Where
from tilec.ir.ops.base import Binary, Constant
from tilec.ir.ops.control import Assume
from tilec.ir.text import show_value
from tilec.ir.types import TensorType

ALIGNMENT = 16  # bytes: where every tensor begins, strided ones too; the machine code rests on it
CALLS: dict[type[Op], str] = {Minimum: "min", Maximum: "max", Abs: "abs"}


def describe(function: Function) -> dict[str, Any]:
    """Name, parameters in the order in which the machine code takes them, constants, grid, assumptions, threads of a block.

    A tensor's type has `bits`; it begins at a multiple of `alignment` bytes, its strides count elements, and `written` says whether the
    kernel may write it. A type that is a table of the author's has a `codebook`. `multiples` says of which dimensions it would be good to know
    that they are multiples of which number; `hints`, for some assumptions, what to do if they do not hold.
    """
    texts: dict[Value, str] = {p: p.name for p in function.params}
    facts = {_tidy(a): op for op in function.launch.ops for a in _evaluate(op, texts)}
    hints = {text: op.hint for text, op in facts.items() if isinstance(op, Assume) and op.hint}
    return {
        "name": function.name,
        "parameters": list(_parameters(function)),
        "constants": {name: _plain(value) for name, value in function.constants.items()},
        "grid": [_tidy(texts[v]) for v in function.launch.yielded],
        "assumptions": list(facts),
        **({"hints": hints} if hints else {}),
        "multiples": open_questions(function),
        "threads": function.threads,
    }


def dimensions(function: Function) -> list[str]:
    """The names of runtime dimensions in order of first appearance."""
    return list(dict.fromkeys(d for t in _tensors(function) for d in t.type.shape if isinstance(d, str)))


def strides(function: Function) -> dict[str, tuple[Value, int]]:
    """Parameters that are strides, by name: the tensor and its axis."""
    return {f"{t.name}.stride{axis}": (t, axis) for t in _tensors(function) if t.type.strided for axis in range(t.type.rank)}


def written(function: Function) -> set[Value]:
    """The tensors that the kernel may write, itself or through a view."""
    roots = {p: p for p in _tensors(function)}
    found: set[Value] = set()
    for op in function.walk():
        tensors = [roots[v] for v in op.operands if v in roots]
        found.update(roots[v] for v in op.written if v in roots)
        roots.update((v, tensors[0]) for v in op.results if isinstance(v.type, TensorType) and tensors)
    return found


def _tensors(function: Function) -> list[Value]:
    return [p for p in function.params if isinstance(p.type, TensorType)]


def _parameters(function: Function) -> Iterator[dict[str, Any]]:
    dims, steps, changed = dimensions(function), strides(function), written(function)
    for p in function.params:
        if isinstance(p.type, TensorType):
            steps_of = [f"{p.name}.stride{a}" for a in range(p.type.rank)] if p.type.strided else _contiguous(p.type.shape)
            yield {
                "name": p.name, "kind": "tensor", "type": str(p.type.dtype), "bits": p.type.dtype.bits, "shape": list(p.type.shape),
                "strides": steps_of, "strided": p.type.strided, "alignment": ALIGNMENT, "written": p in changed,
                **({"codebook": list(p.type.dtype.entries)} if isinstance(p.type.dtype, Codebook) else {}),
            }  # fmt: skip
        else:
            kind = "dimension" if p.name in dims else "stride" if p.name in steps else "scalar"
            yield {"name": p.name, "kind": kind, "type": str(p.type.dtype)}


def _contiguous(shape: tuple[int | str, ...]) -> list[int | str]:
    """Strides in elements of a row-major tensor: numbers, or products as text."""
    found: list[int | str] = []
    number, names = 1, ""
    for extent in reversed(shape):
        found.append(f"{names} * {number}" if names and number > 1 else names or number)
        if isinstance(extent, int):
            number *= extent
        else:
            names = f"{extent} * {names}" if names else extent
    return found[::-1]


def _evaluate(op: Op, texts: dict[Value, str]) -> Iterator[str]:
    """Write down an op of the launch as an expression; a fact that it assumes is given out."""
    parts = [texts[v] for v in op.operands]
    if isinstance(op, Assume):
        yield parts[0]
    elif isinstance(op, Constant):
        texts[op.result] = repr(op.value)
    elif isinstance(op, Cast):
        texts[op.result] = _converted(parts[0], op.x.type.dtype, op.dtype)
    elif isinstance(op, Binary) and op.symbol:
        texts[op.result] = f"({parts[0]} {op.symbol} {parts[1]})"
    elif isinstance(op, Not) and op.x.type.dtype.is_bool:
        texts[op.result] = f"(not {parts[0]})"
    elif isinstance(op, Neg | Not):
        texts[op.result] = f"({'-' if isinstance(op, Neg) else '~'}{parts[0]})"
    elif isinstance(op, Where):
        texts[op.result] = "({1} if {0} else {2})".format(*parts)
    elif len(op.results) == 1:
        texts[op.result] = f"{CALLS.get(type(op), op.mnemonic)}({', '.join(parts)})"


def _converted(text: str, source: DType, target: DType) -> str:
    """A conversion: none between floats, nor to an integer type that holds every value of the other; others wrap around."""
    if target.is_bool:
        return text if source.is_bool else f"({text} != 0)"
    if target.is_float:
        return text if source.is_float else f"float({text})"
    if not source.is_int:
        return f"int({text})"
    if target.min <= source.min and source.max <= target.max:
        return text
    size, half = 1 << target.bits, 1 << target.bits - 1
    return f"(({text} + {half}) % {size} - {half})" if target.min < 0 else f"({text} % {size})"


def _tidy(expression: str) -> str:
    """The same without needless parentheses."""
    return ast.unparse(ast.parse(expression, mode="eval"))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    try:
        return show_value(value)
    except TypeError:
        return repr(value)
