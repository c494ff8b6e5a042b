"""Statements, and the whole kernel: from a Python function to an IR function.

Loops over `range` and `tc.range`, `while`, and `if` on a scalar of the program are control flow at run time: variables that they assign
and that are read later or in the next round are handed on as values. Loops over anything else are unrolled, and an `if` on something
known at compile time keeps one branch; the other is not looked at.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from typing import Any

from tilec.errors import Code, Loc, TileError, require
from tilec.frontend.builtins import LANGUAGE, OPERATIONS, HelperFunction
from tilec.frontend.calls import Calls
from tilec.frontend.expressions import Program
from tilec.frontend.jumps import RESULT, jumps, may_assign, structured
from tilec.frontend.liveness import Liveness, assigned, read
from tilec.frontend.signature import Signature
from tilec.frontend.values import (
    Counting,
    Undefined,
    both,
    is_number,
    is_tile,
    leaves,
    materialize,
    memory_hint,
    rebuild,
    same,
    same_structure,
    show,
)
from tilec.ir.core import Block, Builder, Function, Value, Yield
from tilec.ir.dtypes import i32
from tilec.ir.ops.arith import Add, And, Gt, Lt, Not, Where
from tilec.ir.ops.base import Constant, constant
from tilec.ir.ops.control import For, If, While, condition
from tilec.ir.ops.sync import check_barriers
from tilec.ir.ops.warps import InWarps
from tilec.ir.types import TileType
from tilec.records import record

REFUSED = {
    "FunctionDef": ("a function can't be defined inside a kernel", "define it outside and decorate it with @tc.function"),
    "AsyncFunctionDef": ("a function can't be defined inside a kernel", "define it outside and decorate it with @tc.function"),
    "ClassDef": ("a class can't be defined inside a kernel", "define it outside; its instances may be constants of the kernel"),
    "Try": ("try is not part of the language", "a kernel raises no exceptions: check with tc.where or if"),
    "TryStar": ("try is not part of the language", "a kernel raises no exceptions: check with tc.where or if"),
    "Raise": ("raise is not part of the language", "use assert for what is known at compile time"),
    "With": ("with is not part of the language", "write the statements out"),
    "AsyncWith": ("async is not part of the language", "asynchronous copies are waited for by tc.wait"),
    "AsyncFor": ("async is not part of the language", "asynchronous copies are waited for by tc.wait"),
    "Global": ("global is not part of the language", "a kernel stores its results with tc.store"),
    "Nonlocal": ("nonlocal is not part of the language", "return values from helpers"),
    "Delete": ("del is not part of the language", "leave it out: registers are freed after the last use"),
    "Import": ("import is not part of the language", "import at the top of the file"),
    "ImportFrom": ("import is not part of the language", "import at the top of the file"),
    "Match": ("match is not part of the language", "write if and elif"),
}


def parse_kernel(signature: Signature, constants: dict[str, Any], warps: int = 4) -> Function:
    """The IR of a kernel for given constants (missing ones take their defaults). TileError at the place that is wrong."""
    try:
        return _parse(signature, signature.resolve(constants), warps)
    except TileError as error:
        raise error.with_traceback(None) from None


def _parse(signature: Signature, constants: dict[str, Any], warps: int) -> Function:
    source = signature.source
    params = signature.values(constants)
    named = {p.name: p for p in params}
    extents = [n for p in signature.parameters for n in p.shape if isinstance(n, str)]
    dims = {n: constants[n] if n in constants else named[n] for n in extents}
    program = Program(dims, [p for p in params if isinstance(p.type, TileType)], warps=warps)
    own = {p.name: named[p.name] for p in signature.parameters}
    frame = Statements(program, source, {**own, **constants}, Builder(program.body), None)
    frame.run(is_kernel=True)
    if program.grid is None:
        raise TileError(
            f"{signature.name} has no grid", loc=source.head, hint="its first statement says how many blocks run: tc.grid(cdiv(M, bm))", code=Code.GRID
        )
    Builder(program.launch, source.head).insert(Yield(program.grid))
    return check_barriers(Function(signature.name, params, program.launch, program.body, warps, dict(constants), source.head))


@record()
class Returned:
    """The statements ended in a return."""

    value: Any


class Statements(Calls):
    """Parsing of statements, in the frame of a kernel or of a helper that is inlined."""

    at_run_time = 0  # how many loops and branches at run time enclose the statement
    is_kernel = False

    def run(self, is_kernel: bool = False) -> Any:
        """Parse the whole function; what it returns."""
        self.is_kernel = is_kernel
        body = structured(self.source.node.body)
        self.locals = assigned(body)
        self.live = Liveness(body)
        ended = self.block(body)
        return ended.value if ended else None

    def block(self, statements: Sequence[ast.stmt]) -> Returned | None:
        """Parse statements one after another, until one returns."""
        for statement in statements:
            ended = self.statement(statement)
            if ended:
                return ended
        return None

    def statement(self, s: ast.stmt) -> Returned | None:
        kind = type(s).__name__
        with self.at(s):
            handler = getattr(self, f"stmt_{kind}", None)
            if handler is None:
                message, hint = REFUSED.get(kind, (f"{kind} is not part of the language", "write it with loops, branches and assignments"))
                raise TileError(message, hint=hint)
            return handler(s)

    # simple statements

    def stmt_Pass(self, s: ast.Pass) -> None:
        pass

    def stmt_Expr(self, s: ast.Expr) -> None:
        if isinstance(s.value, ast.Call):
            with self.at(s.value):
                if self._launch_call(s.value):
                    return
        self(s.value)

    def _launch_call(self, call: ast.Call) -> bool:
        """Handle `tc.grid(...)` and `tc.assume(...)`, whose arguments are the host's to evaluate."""
        if not isinstance(call.func, ast.Name | ast.Attribute):
            return False
        handlers = {LANGUAGE["grid"]: self.call_grid, OPERATIONS["assume"]: self.call_assume}
        function = self(call.func)
        handler = next((h for key, h in handlers.items() if function is key), None)
        if handler is None:
            return False
        name = function.__name__
        require(self.is_kernel, f"tc.{name} is in a helper", hint="it belongs to the kernel that calls it", code=Code.HOST)
        require(not self.at_run_time, f"tc.{name} is inside a loop or a branch at run time", hint="move it to the top of the kernel", code=Code.HOST)
        handler(call)
        return True

    def stmt_Assign(self, s: ast.Assign) -> None:
        if isinstance(s.targets[0], ast.Name) and s.targets[0].id == RESULT:
            self.refuse_result(s.value)
        value = self(s.value)
        for target in s.targets:
            self.bind(target, value)

    def stmt_AnnAssign(self, s: ast.AnnAssign) -> None:
        if s.value is not None:
            self.bind(s.target, self(s.value))

    def stmt_AugAssign(self, s: ast.AugAssign) -> None:
        if not isinstance(s.target, ast.Name):
            self.bind(s.target, None)
        assert isinstance(s.target, ast.Name)
        read = ast.copy_location(ast.Name(s.target.id, ast.Load()), s.target)
        self.bind(s.target, self.binary(type(s.op), self(read), self(s.value)))

    def stmt_Assert(self, s: ast.Assert) -> None:
        fact = self(s.test)
        if isinstance(fact, Value):
            late = "an assertion is checked when the kernel is compiled, and this is known only at run time"
            raise TileError(late, hint="tc.assume states facts about dimensions and scalar parameters", code=Code.NOT_STATIC)
        message = self.fixed(s.msg, "the message") if s.msg and not fact else None
        text = f"the assertion {self.source.text(s.test)} fails"
        require(fact, f"{text}: {message}" if message else f"{text}{self.told(s.test)}", code=Code.STATIC_ASSERTION)

    def stmt_Return(self, s: ast.Return) -> Returned:
        self.refuse_result(s.value)
        return Returned(self(s.value) if s.value else None)

    def refuse_result(self, value: ast.expr | None) -> None:
        if self.is_kernel and value is not None:
            raise TileError("a kernel returns nothing", hint="store results with tc.store into a tensor parameter", code=Code.RETURN)

    def stmt_With(self, s: ast.With) -> None:
        """`with tc.warps(first, count):` is the only one there is."""
        (item, *more) = s.items
        call = item.context_expr
        if more or item.optional_vars or not isinstance(call, ast.Call) or self(call.func) is not LANGUAGE["warps"]:
            message, hint = REFUSED["With"]
            if isinstance(call, ast.Call) and self(call.func) is LANGUAGE["conversions"]:
                raise TileError("tc.conversions is a statement without a block of its own", hint="write it first in the block that it is about")
            raise TileError(message, hint=hint + ", but for `with tc.warps(first, count):`")
        left = next((j for part in s.body for j in ast.walk(part) if jumps(s) and isinstance(j, ast.Return | ast.Break | ast.Continue)), None)
        if left is not None:
            what = type(left).__name__.lower()
            raise TileError(f"{what} leaves a group of warps", hint=f"end the group before the {what}", loc=self.loc(left), code=Code.RETURN)
        with self.at(call):
            group = self.group_of(call)
        before = self.variables
        self.program.in_warps = True
        group.body, _ = self.region(s.body, dict(before))
        self.program.in_warps = False
        self.b.insert(group)
        group.check_entering()
        lost = "{} is assigned by warps {} to {} only and has no value for the others"
        last = group.first + group.count - 1
        hint = "hand it over through shared memory"
        gone = {n: Undefined(lost.format(n, group.first, last), self.assigned_at.get(n), hint) for n in assigned(s.body)}
        self.variables = {**before, **gone}

    def group_of(self, call: ast.Call) -> InWarps:
        """The group that `tc.warps(first, count)` names."""
        args, kwargs = self.arguments(call)
        named = dict(zip(("first", "count"), args, strict=False)) | kwargs
        good = set(named) == {"first", "count"} and len(args) <= 2 and all(type(n) is int for n in named.values())
        require(good, "tc.warps takes the number of the first warp and how many there are, both known at compile time", code=Code.WARPS)
        require(not self.program.in_warps, "a group of warps within a group", hint="end the outer one first", code=Code.WARPS)
        first, count = named["first"], named["count"]
        inside = first >= 0 and count > 0 and first + count <= self.program.warps
        hint = "@tc.kernel(warps=...) sets how many"
        require(inside, f"the block has {self.program.warps} warps, and these are {count} from warp {first} on", hint=hint, code=Code.WARPS)
        return InWarps(first, count, Block())

    # branches

    def stmt_If(self, s: ast.If) -> Returned | None:
        test = self(s.test)
        if not isinstance(test, Value):
            return self.block(s.body if test else s.orelse)
        with self.at(s.test):
            condition(test)
        before = self.variables
        then, left = self.region(s.body, dict(before))
        first = dict(self.assigned_at)
        orelse, right = self.region(s.orelse, dict(before))
        self.variables = dict(before)
        merged = {}
        for n in sorted(assigned([*s.body, *s.orelse])):
            with self.conflict((f"the other side gives {n} here", first.get(n))):
                merged[n] = self._merge(n, left, right, then, orelse, s)
        chosen: dict[str, tuple[Any, Any]] = {n: m for n, m in merged.items() if isinstance(m, tuple)}
        for block, side in ((then, 0), (orelse, 1)):
            values = tuple(v for pair in chosen.values() for v in _tiles(pair[side]))
            self.b.inside(block).insert(Yield(values))
        results = iter(self.b.insert(If(test, then, orelse)))
        for name, found in merged.items():
            if isinstance(found, tuple):
                found = rebuild(found[0], lambda x: self._named(next(results), x) if is_tile(x) else x)
            elif isinstance(found, _Same):
                found = found.value
            self.variables[name] = found
        return None

    def region(self, body: Sequence[ast.stmt], variables: dict[str, Any]) -> tuple[Block, dict[str, Any]]:
        """Parse statements that run at run time only, into a block of their own; the block and the variables after it."""
        self.at_run_time += 1
        self.variables = variables
        with self.into(Block()) as block:
            self.block(body)
        self.at_run_time -= 1
        return block, self.variables

    def _merge(self, name: str, left: dict[str, Any], right: dict[str, Any], then: Block, orelse: Block, s: ast.If) -> Any:
        """A variable after a branch: the same on both sides, a pair of values to choose from, or nothing."""
        missing = no_result(self.assigned_at.get(name)) if name == RESULT else Undefined(
            f"{name} is assigned on one side only of an if at run time",
            self.assigned_at.get(name),
            "assign it before the if, or on both sides",
        )  # fmt: skip
        x, y = left.get(name, missing), right.get(name, missing)
        if isinstance(x, Undefined) or isinstance(y, Undefined):
            return x if isinstance(x, Undefined) and x is not missing else missing
        if x is y:
            return _Same(x)
        if name not in self.live.after[s]:
            return Undefined(f"{name} has no value here")
        with self.assigned_at.get(name) or self.loc(s):
            what = f"{name} is assigned on both sides of an if; its values"
            require(same_structure(x, y), f"{what} are {show(x)} and {show(y)}", hint="make both of one form", code=Code.CHANGED)
            pairs = [self._choose(p, q, then, orelse, what) for p, q in zip(leaves(x), leaves(y), strict=True)]
        if all(same(p, q) for p, q in pairs):
            return _Same(rebuild(x, _next_of(p for p, _ in pairs)))
        return rebuild(x, _next_of(p for p, _ in pairs)), rebuild(x, _next_of(q for _, q in pairs))

    def _choose(self, x: Any, y: Any, then: Block, orelse: Block, what: str) -> tuple[Any, Any]:
        return (x, y) if same(x, y) else self.alike(x, y, then, orelse, what)

    def _named(self, new: Value, old: Value) -> Value:
        new.name = old.name
        return new

    # loops

    def stmt_For(self, s: ast.For) -> Returned | None:
        require(
            not s.orelse,
            "else after a loop is not part of the language",
            hint="write it after the loop",
            loc=self.loc(s.orelse[0]) if s.orelse else None,
        )
        over = self(s.iter)
        if isinstance(over, Counting):
            return self._for(s, over)
        stopped = getattr(s, "stopped", None)
        for item in self.sequence(over, s.iter):
            if stopped is not None and isinstance(self.variables[stopped], Value):
                self.guarded(s, stopped, item)
                continue
            if stopped is not None and self.variables[stopped]:
                break
            self.bind(s.target, item)
            ended = self.block(s.body)
            if ended:
                return ended
        return None

    def guarded(self, s: ast.For, stopped: str, item: Any) -> None:
        """A round of an unrolled loop that may have been left at run time."""
        unless = ast.copy_location(ast.If(ast.UnaryOp(ast.Not(), ast.Name(stopped, ast.Load())), s.body, []), s)
        ast.fix_missing_locations(unless)
        self.live.after[unless] = self.live.head[s] | self.live.after[s]
        self.bind(s.target, item)
        self.stmt_If(unless)

    def _for(self, s: ast.For, over: Counting) -> Returned | None:
        if not isinstance(s.target, ast.Name):
            raise TileError("a loop over a range has one counter", loc=self.loc(s.target), code=Code.UNPACKING)
        counter = s.target.id
        dtype = next((x.type.dtype for x in (over.start, over.stop, over.step) if isinstance(x, Value)), i32)
        with self.at(s.iter):
            start, stop, step = [materialize(self.b, x, dtype) for x in (over.start, over.stop, over.step)]
            require(
                start.type == stop.type == step.type,
                f"the bounds and step of a loop have types {start.type}, {stop.type} and {step.type}",
                hint="convert them, as in tc.cast(n, i32)", code=Code.BOUNDS
            )
        lowered = self.lowered(s)
        if getattr(s, "stopped", None) not in {None, *lowered}:
            self._for_until(s, start, stop, step, over, lowered)
            return None
        carried = _Carried(self, s, {counter, *lowered})
        body = Block((Value(start.type, counter), *carried.arguments()))
        for arg in body.args:
            arg.owner = body
        inside = {**self.variables, counter: body.args[0], **carried.inside(body.args[1:])}
        self.region_of_loop(body, s.body, inside, carried)
        results = self.b.insert(For(start, stop, step, carried.inits, body, over.stages, over.buffers))
        self.variables = {**carried.after(results), counter: self._gone(s.target)}
        return None

    def _gone(self, counter: ast.Name) -> Undefined:
        return Undefined(f"{counter.id} is the loop's counter and has no value after it", self.loc(counter), "compute it from the bounds")

    def lowered(self, s: ast.For) -> set[str]:
        """The flags of jumps that no round makes: they stand in branches that are known not to be taken."""
        changing = assigned([s])
        flags = {name for name in changing if " " in name}
        return flags - may_assign(s.body, lambda test: self.known(test, changing)) if flags else flags

    def known(self, test: ast.expr, changing: set[str]) -> bool | None:
        """What a test is in each round of a loop that assigns these names; None if the run, or a call, may tell."""
        if isinstance(test, ast.BoolOp):
            decides = isinstance(test.op, ast.Or)
            return next((x for x in (self.known(part, changing) for part in test.values) if x is not (not decides)), not decides)
        if read(test) & changing or any(isinstance(part, ast.Call | ast.NamedExpr) for part in ast.walk(test)):
            return None
        try:
            with self.into(Block()):
                found = self(test)
        except TileError:  # told where the branch is parsed
            return None
        return None if isinstance(found, Value) else bool(found)

    def _for_until(self, s: ast.For, start: Value, stop: Value, step: Value, over: Counting, lowered: set[str]) -> None:
        """A loop over a range that `break` may leave: a `While` of the counter and the flag."""
        assert isinstance(s.target, ast.Name)
        counter, stopped = s.target.id, s.stopped  # type: ignore[attr-defined]
        carried = _Carried(self, s, {counter, *lowered})
        test, body = (Block((Value(start.type, counter), *carried.arguments())) for _ in range(2))
        for block in (test, body):
            for arg in block.args:
                arg.owner = block
        inner = self.b.inside(test)
        up = step.owner.value > 0 if isinstance(step.owner, Constant) else Gt.build(inner, step, 0)
        more = {True: Lt, False: Gt}.get(up) if isinstance(up, bool) else None
        left = carried.inside(test.args[1:])[stopped]
        goes_on = more.build(inner, test.args[0], stop) if more else Where.build(
            inner, up, Lt.build(inner, test.args[0], stop), Gt.build(inner, test.args[0], stop)
        )  # fmt: skip
        inner.insert(Yield((And.build(inner, goes_on, Not.build(inner, left)),)))
        inside = {**self.variables, counter: body.args[0], **carried.inside(body.args[1:])}
        self.region_of_loop(body, s.body, inside, carried)
        last = body.ops.pop()
        following = Add.build(self.b.inside(body), body.args[0], step)
        self.b.inside(body).insert(Yield((following, *last.operands)))
        _, *results = self.b.insert(While((start, *carried.inits), test, body, over.stages, over.buffers))
        self.variables = {**carried.after(results), counter: self._gone(s.target)}

    def stmt_While(self, s: ast.While) -> None:
        require(
            not s.orelse,
            "else after a loop is not part of the language",
            hint="write it after the loop",
            loc=self.loc(s.orelse[0]) if s.orelse else None,
        )
        carried = _Carried(self, s, set())
        outer = self.variables
        test = Block(tuple(carried.arguments()))
        self.variables = {**outer, **carried.inside(test.args)}
        with self.into(test):
            proceed = self(s.test)
            with self.at(s.test):
                if not isinstance(proceed, Value):
                    require(not proceed, "this loop never ends", hint="let the condition depend on a variable that the loop changes", code=Code.RETURN)
                    self.variables = outer
                    return
                condition(proceed)
            self.b.insert(Yield((proceed,)))
        body = Block(tuple(carried.arguments()))
        self.region_of_loop(body, s.body, {**outer, **carried.inside(body.args)}, carried)
        self.variables = outer
        self.variables = carried.after(self.b.insert(While(carried.inits, test, body)))

    def region_of_loop(self, block: Block, body: Sequence[ast.stmt], variables: dict[str, Any], carried: _Carried) -> None:
        """Parse a loop's body into its region, which yields the carried values."""
        outer = self.variables
        self.variables = variables
        self.at_run_time += 1
        with self.into(block):
            self.block(body)
            self.b.insert(Yield(carried.yielded(self.variables)))
        self.at_run_time -= 1
        self.variables = outer

    # helpers

    def apply(self, helper: HelperFunction, args: Sequence[Any], kwargs: dict[str, Any], caller: Loc | None) -> Any:
        """Parse a helper's body in place of its call at `caller`."""
        function = helper.function
        name = function.__name__
        if helper in self.program.active:
            raise TileError(f"{name} calls itself", hint="write a loop: helpers are inlined", code=Code.RECURSION)
        source = helper.source
        signature = inspect.signature(function)
        for p in signature.parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TileError(f"a helper has no *{p.name}", loc=source.argument(p.name), hint="pass a tuple")
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TileError(f"{name}: {error}", hint=f"its parameters are ({', '.join(signature.parameters)})", code=Code.ARGUMENTS) from None
        bound.apply_defaults()
        arguments = {n: self.outside(x) for n, x in bound.arguments.items()}
        frame = Statements(self.program, source, arguments, self.b, caller)
        self.program.active.append(helper)
        result = frame.run()
        self.program.active.pop()
        return result


@record()
class _Same:
    """A variable that a branch leaves the same on both sides."""

    value: Any


class _Carried:
    """The variables that a loop hands from round to round: assigned in it, with a value before it, and read at its head or later.

    Numbers become scalars (int i32, float f32, bool bool); other objects known at compile time must stay what they are.
    """

    def __init__(self, frame: Statements, loop: ast.For | ast.While, targets: set[str]):
        self.frame, self.loop, self.targets = frame, loop, targets
        self.assigned = assigned([*loop.body])
        before = frame.variables
        live = frame.live.head[loop]
        names = sorted(n for n in (self.assigned & live) - targets if n in before and not isinstance(before[n], Undefined))
        self.numbers = {n: before[n] for n in names}
        self.before = {n: rebuild(before[n], lambda x: materialize(frame.b, x)) for n in names}
        self.began = {n: loc for n, loc in frame.assigned_at.items() if n in names}
        self.inits = tuple(v for n in names for v in _tiles(self.before[n]))

    def arguments(self) -> list[Value]:
        """Fresh block arguments for the carried values."""
        return [Value(v.type, name) for name, x in self.before.items() for v in _tiles(x)]

    def inside(self, values: Sequence[Value]) -> dict[str, Any]:
        """The carried variables, given values for their tiles."""
        found = iter(values)
        return {n: rebuild(x, lambda leaf: next(found) if is_tile(leaf) else leaf) for n, x in self.before.items()}

    def yielded(self, variables: dict[str, Any]) -> tuple[Value, ...]:
        """The carried values after one round."""
        values: list[Value] = []
        for name, old in self.before.items():
            with self.frame.assigned_at.get(name) or self.frame.loc(self.loop):
                values += self._one(name, old, variables[name])
        return tuple(values)

    def _one(self, name: str, old: Any, new: Any) -> list[Value]:
        if isinstance(new, Undefined):
            raise TileError(new.reason, hint=new.hint, code=new.code)
        found = []
        good = same_structure(old, new)
        for x, y in zip(leaves(old), leaves(new), strict=False):
            if is_tile(x):
                y = constant(self.frame.b, y, x.type.dtype) if is_number(y) and x.type.is_scalar else y
                good = good and is_tile(y) and y.type == x.type
                found.append(y)
            else:
                good = good and same(x, y)
        if not good:
            start = self.numbers[name]
            was, now = both(start, new)
            was = f"{was} ({show(old)})" if is_number(start) else was
            hint = memory_hint(start, new) or "a variable that a loop changes keeps its type and shape: convert it, as in tc.cast(x, f32)"
            if is_number(start):
                hint = "start it with the type and shape that it has in the loop, as in tc.zeros(f32, [64, 64]) or f32(0)"
            notes = (("it begins here", self.began[name]),) if name in self.began else ()
            raise TileError(f"{name} is {was} before the loop and {now} after one round", hint=hint, notes=notes, code=Code.CHANGED)
        return found

    def after(self, results: Sequence[Value]) -> dict[str, Any]:
        """All variables after the loop."""
        for value, name in zip(results, [n for n, x in self.before.items() for _ in _tiles(x)], strict=True):
            value.name = name
        lost = self.assigned - set(self.before) - self.targets
        reason = "{} is assigned inside a loop only, which may run no round"
        gone = {n: Undefined(reason.format(n), self.frame.assigned_at.get(n), f"assign {n} before the loop") for n in lost}
        if RESULT in gone:
            gone[RESULT] = no_result(self.frame.assigned_at.get(RESULT))
        return {**self.frame.variables, **gone, **self.inside(results)}


def no_result(loc: Loc | None) -> Undefined:
    hint = "return a value on every way; to leave a loop with one, assign it to a variable made before the loop, break, and return it at the end"
    return Undefined("the function returns a value on some ways only", loc, hint, Code.RETURN)


def _tiles(x: Any) -> list[Value]:
    return [v for v in leaves(x) if is_tile(v)]


def _next_of(values: Any) -> Any:
    found = iter(list(values))
    return lambda _: next(found)
