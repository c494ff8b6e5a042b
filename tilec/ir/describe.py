"""What a host must know to launch a kernel, as plain data for JSON: parameters in order, constants, grid and assumptions as text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from tilec.ir.core import Function, Op, Value
from tilec.ir.ops.arith import Cast, Neg, Not
from tilec.ir.ops.base import Binary, Constant
from tilec.ir.ops.control import Assume
from tilec.ir.text import show_value
from tilec.ir.types import TensorType


def describe(function: Function) -> dict[str, Any]:
    """Name, parameters in the order in which the machine code takes them, constants, grid, assumptions, threads of a block.

    The grid and the assumptions are Python expressions of integers over the names of scalars and dimensions; `//` and `%` round down.
    """
    texts: dict[Value, str] = {p: p.name for p in function.params}
    facts = [a for op in function.launch.ops for a in _evaluate(op, texts)]
    return {
        "name": function.name,
        "parameters": list(_parameters(function)),
        "constants": {name: _plain(value) for name, value in function.constants.items()},
        "grid": [_tidy(texts[v]) for v in function.launch.yielded],
        "assumptions": [_tidy(fact) for fact in facts],
        "threads": function.threads,
    }


def dimensions(function: Function) -> list[str]:
    """The names of runtime dimensions in order of first appearance."""
    return list(dict.fromkeys(d for t in _tensors(function) for d in t.type.shape if isinstance(d, str)))


def strides(function: Function) -> dict[str, tuple[Value, int]]:
    """Parameters that are strides, by name: the tensor and its axis."""
    return {f"{t.name}.stride{axis}": (t, axis) for t in _tensors(function) if t.type.strided for axis in range(t.type.rank)}


def _tensors(function: Function) -> list[Value]:
    return [p for p in function.params if isinstance(p.type, TensorType)]


def _parameters(function: Function) -> Iterator[dict[str, Any]]:
    dims, steps = dimensions(function), strides(function)
    for p in function.params:
        if isinstance(p.type, TensorType):
            steps_of = [f"{p.name}.stride{a}" for a in range(p.type.rank)] if p.type.strided else _contiguous(p.type.shape)
            yield {"name": p.name, "kind": "tensor", "type": str(p.type.dtype), "shape": list(p.type.shape), "strides": steps_of}
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
        texts[op.result] = parts[0] if op.dtype.is_int and op.x.type.dtype.is_int else f"{op.dtype}({parts[0]})"
    elif isinstance(op, Binary) and op.symbol:
        texts[op.result] = f"({parts[0]} {op.symbol} {parts[1]})"
    elif isinstance(op, Neg | Not):
        texts[op.result] = f"({'-' if isinstance(op, Neg) else '~'}{parts[0]})"
    elif len(op.results) == 1:
        texts[op.result] = f"{op.mnemonic}({', '.join(parts)})"


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
