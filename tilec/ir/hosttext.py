"""The texts of a launch: expressions that the host evaluates, in the small part of Python that `describe` writes and rules of bundles use.

    (N + 63) // 64          K % 8 == 0 and x.stride0 >= 64          M if M < 64 else 64
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

from tilec.errors import TileError, require

FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs, "int": int, "float": float}
BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor)
COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


@lru_cache(maxsize=1024)
def parse(text: str) -> ast.expr:
    """The tree of an expression; a name with a dot, such as `x.stride0`, is one Name. Raises TileError for anything but such a text."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        raise TileError(f"{text!r} is no expression", hint='as in "M <= 16 and N % 64 == 0"') from None
    return _checked(tree, text)


def _checked(node: ast.expr, text: str) -> ast.expr:
    def inside(x: ast.expr) -> ast.expr:
        return _checked(x, text)

    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        return node
    if isinstance(node, ast.Name):
        return node
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return ast.copy_location(ast.Name(f"{node.value.id}.{node.attr}", ast.Load()), node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, BINARY):
        return ast.copy_location(ast.BinOp(inside(node.left), node.op, inside(node.right)), node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not | ast.Invert):
        return ast.copy_location(ast.UnaryOp(node.op, inside(node.operand)), node)
    if isinstance(node, ast.BoolOp):
        return ast.copy_location(ast.BoolOp(node.op, [inside(v) for v in node.values]), node)
    if isinstance(node, ast.Compare) and all(isinstance(op, COMPARISONS) for op in node.ops):
        return ast.copy_location(ast.Compare(inside(node.left), node.ops, [inside(c) for c in node.comparators]), node)
    if isinstance(node, ast.IfExp):
        return ast.copy_location(ast.IfExp(inside(node.test), inside(node.body), inside(node.orelse)), node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords:
        count = 2 if node.func.id in ("min", "max") else 1
        require(len(node.args) == count, f"{text!r}: {node.func.id} takes {count} numbers")
        return ast.copy_location(ast.Call(node.func, [inside(a) for a in node.args], []), node)
    raise TileError(
        f"{text!r} has {ast.unparse(node)!r}, which a launch can't evaluate", hint=f"there are names, numbers, + - * // %, comparisons, {', '.join(FUNCTIONS)}"
    )


def names(text: str) -> set[str]:
    """The names of dimensions, scalars and strides in an expression."""
    return {node.id for node in ast.walk(parse(text)) if isinstance(node, ast.Name)} - set(FUNCTIONS)


@lru_cache(maxsize=1024)
def _code(text: str) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Expression(parse(text))), "<launch>", "eval")


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """The value of an expression, names given as Python numbers. Raises TileError for a division by zero."""
    try:
        return eval(_code(text), {"__builtins__": {}}, {**FUNCTIONS, **values})
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise TileError(f"{text} can't be computed: {error}") from None
