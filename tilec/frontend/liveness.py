"""Which names a loop or a branch has to hand on: assigned inside, and read later or in the next round."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence


def assigned(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that statements bind, in order of no account; targets of comprehensions are their own."""
    found: set[str] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.comprehension):
            todo += [node.iter, *node.ifs]
        elif isinstance(node, ast.Name):
            found |= {node.id} if isinstance(node.ctx, ast.Store) else set()
        else:
            todo += ast.iter_child_nodes(node)
    return found


def read(*nodes: ast.AST | None) -> set[str]:
    """Names that expressions read."""
    found: set[str] = set()
    todo = [node for node in nodes if node]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                found.add(node.id)
        else:
            todo += ast.iter_child_nodes(node)
    return found


class Liveness:
    """For each statement of a function the names that are read after it (`after`), for a loop also at its head (`head`)."""

    def __init__(self, body: Sequence[ast.stmt]):
        self.after: dict[ast.stmt, set[str]] = {}
        self.head: dict[ast.stmt, set[str]] = {}
        self._all = assigned(body)
        self._before(body, set())

    def _before(self, body: Sequence[ast.stmt], live: set[str]) -> set[str]:
        """Names live before statements after which `live` are."""
        for statement in reversed(body):
            self.after[statement] = live
            live = self._transfer(statement, live)
        return live

    def _transfer(self, s: ast.stmt, live: set[str]) -> set[str]:
        match s:
            case ast.Assign(targets=targets, value=value):
                return live - assigned(targets) | read(*targets, value)
            case ast.AnnAssign(target=target, value=value):
                return live - assigned([target]) | read(value)
            case ast.AugAssign(target=target, value=value):
                return live | assigned([target]) | read(target, value)
            case ast.If(test=test, body=body, orelse=orelse):
                return self._before(body, live) | self._before(orelse, live) | read(test)
            case ast.For(target=target, iter=iterable, body=body):
                stopped = getattr(s, "stopped", None)  # read at the head of each round
                return self._loop(s, body, live | ({stopped} if stopped else set()), assigned([target])) | read(iterable)
            case ast.While(test=test, body=body):
                return self._loop(s, body, live | read(test), set())
            case ast.With(items=items, body=body):
                return live | self._before(body, live) | read(*(item.context_expr for item in items))
            case ast.Return(value=value):
                return read(value)
        if isinstance(s, ast.Expr) and "breakpoint" in read(s.value):
            return live | self._all  # the debugger shows them all
        return live | read(s)

    def _loop(self, loop: ast.stmt, body: Sequence[ast.stmt], live: set[str], targets: set[str]) -> set[str]:
        while True:
            self.head[loop] = live
            around = live | self._before(body, live) - targets
            if around == live:
                return live
            live = around
