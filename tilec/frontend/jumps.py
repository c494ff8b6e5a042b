"""`break`, `continue` and early `return` as branches and flags, before a function is parsed.

    for i in range(n):                 stopped = False
        if c(i):                       for i in range(n):            # until stopped
            break               ->         if c(i):
        f(i)                                   stopped = True
                                           else:
                                               f(i)

What follows a branch that leaves goes to the side that stays. Where a branch may do either, an `if not left:` stands before the rest or, in
functions that return values, the rest stands on both sides. So the parser and everything behind it know loops and branches alone.
Names with blanks, which no author can write, hold the flags and the result.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from tilec.records import field, record

RESULT = "the result"  # what the function returns
RETURNED = "has returned"


@record(frozen=False)
class Loop:
    """What the statements of a loop set: `stopped` by break, `skipped` by continue."""

    number: int
    used: set[str] = field(default_factory=set)

    @property
    def stopped(self) -> str:
        return f"loop {self.number} is left"

    @property
    def skipped(self) -> str:
        return f"round of loop {self.number} is over"


def jumps(s: ast.AST) -> set[type[ast.stmt]]:
    """Which jumps a statement may make out of itself; breaks and continues of its own loops are not among them."""
    if isinstance(s, ast.Return | ast.Break | ast.Continue):
        return {type(s)}
    if isinstance(s, ast.FunctionDef | ast.Lambda | ast.ClassDef):
        return set()
    found = {j for part in ast.iter_child_nodes(s) if isinstance(part, ast.stmt) for j in jumps(part)}
    return found & {ast.Return} if isinstance(s, ast.For | ast.While) else found


def ends(body: Sequence[ast.stmt]) -> bool:
    """Whether no way leads past the statements."""
    return any(isinstance(s, ast.Return | ast.Break | ast.Continue) or (isinstance(s, ast.If) and ends(s.body) and ends(s.orelse)) for s in body)


def structured(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The body of a function without jumps but for a last `return`; the same list if it has no other."""
    *before, last = body
    loops = [s for part in body for s in ast.walk(part) if isinstance(s, ast.Break | ast.Continue)]
    if not loops and not any(ast.Return in jumps(s) for s in before) and (isinstance(last, ast.Return) or not jumps(last)):
        return list(body)
    return Jumps().function(body)


class Jumps:
    """Rewrites one function."""

    def __init__(self) -> None:
        self.loops: list[Loop] = []
        self.count = 0
        self.gives = False  # whether the function returns values

    def function(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        self.gives = gives = any(isinstance(s, ast.Return) and s.value is not None for part in body for s in ast.walk(part))
        made = [assign(RETURNED, False, body[0]), *self.block(list(body))]
        if gives:
            last = ast.Return(ast.Name(RESULT, ast.Load()))
            made.append(placed(last, body[-1]))
        return made

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for at, s in enumerate(body):
            rest = body[at + 1 :]
            if isinstance(s, ast.Return | ast.Break | ast.Continue):
                return [*out, *self.jump(s)]
            kinds = jumps(s)
            if isinstance(s, ast.If) and kinds:
                return [*out, *self.branch(s, rest, kinds)]
            if isinstance(s, ast.For | ast.While):
                out += self.loop(s)
                if kinds:
                    return [*out, *self.unless(self.flags(kinds), rest, s)]
            elif isinstance(s, ast.If):
                out.append(placed(ast.If(s.test, self.block(list(s.body)), self.block(list(s.orelse))), s))
            elif isinstance(s, ast.With) and not kinds:  # a jump out of it is refused by the parser
                out.append(placed(ast.With(s.items, self.block(list(s.body))), s))
            else:
                out.append(s)
        return out

    def jump(self, s: ast.stmt) -> list[ast.stmt]:
        made = []
        if isinstance(s, ast.Return):
            if s.value is not None:
                made.append(placed(ast.Assign([ast.Name(RESULT, ast.Store())], s.value), s))
            made.append(assign(RETURNED, True, s))
            for loop in self.loops:
                made.append(self.raised(loop, loop.stopped, s))
            return made
        loop = self.loops[-1]
        return [self.raised(loop, loop.stopped if isinstance(s, ast.Break) else loop.skipped, s)]

    def raised(self, loop: Loop, flag: str, at: ast.stmt) -> ast.stmt:
        loop.used.add(flag)
        return assign(flag, True, at)

    def branch(self, s: ast.If, rest: list[ast.stmt], kinds: set[type[ast.stmt]]) -> list[ast.stmt]:
        then, orelse = list(s.body), list(s.orelse)
        if ends(then) or ends(orelse):
            then, orelse = (then, orelse + rest) if ends(then) else (then + rest, orelse)
            return [placed(ast.If(s.test, self.block(then), self.block(orelse)), s)]
        if self.gives and ast.Return in kinds and not self.loops:  # so that every way assigns the result, and no value stands for none
            return [placed(ast.If(s.test, self.block(then + rest), self.block(orelse + rest)), s)]
        made = placed(ast.If(s.test, self.block(then), self.block(orelse)), s)
        return [made, *self.unless(self.flags(kinds), rest, s)]

    def flags(self, kinds: set[type[ast.stmt]]) -> list[str]:
        """What tells that one of these jumps was made."""
        found = [RETURNED] if ast.Return in kinds else []
        if self.loops:
            found += [flag for kind, flag in ((ast.Break, self.loops[-1].stopped), (ast.Continue, self.loops[-1].skipped)) if kind in kinds]
        return found

    def unless(self, flags: list[str], rest: list[ast.stmt], at: ast.stmt) -> list[ast.stmt]:
        """The rest, where nothing was left."""
        if not rest:
            return []
        body = self.block(rest)
        return [placed(ast.If(none_of(flags), body, []), at)] if flags else body

    def loop(self, s: ast.For | ast.While) -> list[ast.stmt]:
        self.count += 1
        loop = Loop(self.count)
        self.loops.append(loop)
        body = self.block(list(s.body))
        self.loops.pop()
        if loop.skipped in loop.used:
            body = [assign(loop.skipped, False, s), *body]
        before = []
        if loop.stopped in loop.used:
            before = [assign(loop.stopped, False, s)]
        new: ast.stmt
        if isinstance(s, ast.While):
            test = s.test if not before else ast.BoolOp(ast.And(), [none_of([loop.stopped]), s.test])
            new = ast.While(test, body, s.orelse)
        else:
            new = ast.For(s.target, s.iter, body, s.orelse)
            new.stopped = loop.stopped if before else None  # type: ignore[attr-defined]
        return [*before, placed(new, s)]


def may_assign(body: Sequence[ast.stmt], known: Callable[[ast.expr], bool | None]) -> set[str]:
    """The names that the statements may assign, but for what stands in branches of which is `known` that they are not taken."""
    found: set[str] = set()
    for s in body:
        if isinstance(s, ast.If):
            test = known(s.test)
            found |= (set() if test is False else may_assign(s.body, known)) | (set() if test else may_assign(s.orelse, known))
        elif isinstance(s, ast.For | ast.While | ast.With):
            found |= may_assign(s.body, known)
        elif isinstance(s, ast.Assign):
            found |= {target.id for target in s.targets if isinstance(target, ast.Name)}
    return found


def none_of(flags: Sequence[str]) -> ast.expr:
    tests: list[ast.expr] = [ast.UnaryOp(ast.Not(), ast.Name(flag, ast.Load())) for flag in flags]
    return tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)


def assign(name: str, value: bool, at: ast.stmt) -> ast.stmt:
    return placed(ast.Assign([ast.Name(name, ast.Store())], ast.Constant(value)), at)


def placed(new: ast.stmt, at: ast.stmt) -> ast.stmt:
    """A made statement, at the place of the one that it stands for."""
    head = at.test if isinstance(at, ast.If | ast.While) else at
    ast.copy_location(new, at)
    for node in ast.walk(new):
        if isinstance(node, ast.expr | ast.stmt) and not hasattr(node, "lineno"):
            ast.copy_location(node, head)
    return new
