"""Expressions: each gives an IR value or, where all parts are known at compile time, the Python object that Python would give."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tilec.errors import Code, Loc, TileError, alike, require
from tilec.frontend.builtins import OPERATIONS, Builtin, Dim
from tilec.frontend.source import Source
from tilec.frontend.values import (
    Counting,
    Undefined,
    both,
    has_values,
    is_number,
    is_scalar,
    is_tile,
    leaves,
    lift,
    materialize,
    memory_hint,
    number_type,
    rebuild,
    show,
)
from tilec.ir.core import OPS, Block, Builder, Effect, Op, Value, Yield
from tilec.ir.dtypes import DType
from tilec.ir.ops.arith import And, IntegerDivision, Neg, Not, Or, Where
from tilec.ir.ops.base import Binary, Constant, tile
from tilec.ir.ops.control import If, condition
from tilec.ir.ops.functions import Power
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.pieces import subscript
from tilec.ir.ops.shape import Transpose
from tilec.ir.ops.shared_views import cut
from tilec.ir.ops.sync import BarrierSlice
from tilec.ir.ops.views import TensorView
from tilec.ir.types import BarrierType, SharedType, TensorType
from tilec.records import field, record

SYMBOLS: dict[str, type[Op]] = {op.symbol: op for op in OPS.values() if issubclass(op, Binary) and op.symbol} | {"@": Dot}

# for each operator of the AST its symbol, and what Python does with objects known at compile time
OPERATORS: dict[type[ast.AST], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add), ast.Sub: ("-", operator.sub), ast.Mult: ("*", operator.mul), ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv), ast.Mod: ("%", operator.mod), ast.MatMult: ("@", operator.matmul),
    ast.Pow: ("**", operator.pow), ast.LShift: ("<<", operator.lshift), ast.RShift: (">>", operator.rshift),
    ast.BitAnd: ("&", operator.and_), ast.BitOr: ("|", operator.or_), ast.BitXor: ("^", operator.xor),
    ast.Lt: ("<", operator.lt), ast.LtE: ("<=", operator.le), ast.Gt: (">", operator.gt), ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq), ast.NotEq: ("!=", operator.ne), ast.Is: ("is", operator.is_), ast.IsNot: ("is not", operator.is_not),
    ast.In: ("in", lambda x, y: x in y), ast.NotIn: ("not in", lambda x, y: x not in y),
}  # fmt: skip

REFUSED: dict[str, tuple[str, str]] = {
    "Lambda": ("a lambda is not part of the language", "write a helper outside the kernel and decorate it with @tc.function"),
    "NamedExpr": (":= is not part of the language", "assign in a statement of its own"),
    "Await": ("await is not part of the language", "asynchronous copies are waited for by tc.wait"),
    "Yield": ("yield is not part of the language", "a kernel stores its results with tc.store"),
    "YieldFrom": ("yield is not part of the language", "a kernel stores its results with tc.store"),
    "Starred": ("* unpacking is not part of the language", "name each value"),
    "Set": ("sets are not part of the language", "use a tuple"),
    "SetComp": ("sets are not part of the language", "use a tuple"),
    "DictComp": ("a dict can't be built in a kernel", "build it outside the kernel"),
}

PYTHON = {"Set", "SetComp", "DictComp"}  # left to Python where no value of the program takes part

VIEWS = ("T", "reshape", "transpose")  # of a shared tile
METHODS = {"to": "cast"} | {n: n for n in ("cast", "sum", "prod", "max", "min", "reshape", "transpose", "broadcast", "view")}


@record()
class Method:
    """`x.sum`: a builtin with its first operand."""

    op: Builtin
    receiver: Value


@record(frozen=False)
class Program:
    """The kernel being parsed, shared by the frames of the functions inlined into it."""

    dims: dict[str, Any]  # the value of each dimension, or its number where it is a constant
    scalars: list[Value]  # parameters that the host knows too
    launch: Block = field(default_factory=Block)
    body: Block = field(default_factory=Block)
    grid: tuple[Value, ...] | None = None
    active: list[Any] = field(default_factory=list)  # functions being inlined, outermost first
    warps: int = 4  # of a block
    in_warps: bool = False  # whether a group of them is being parsed


class Expressions:
    """Parsing of expressions in the frame of one function: its source, its variables, and the block it appends to."""

    def __init__(self, program: Program, source: Source, variables: dict[str, Any], b: Builder, caller: Loc | None = None):
        self.program = program
        self.source = source
        self.variables = variables
        self.b = b
        self.caller = caller
        self.locals: set[str] = set()
        self.assigned_at: dict[str, Loc] = {}  # where each variable was assigned last

    # places and blocks

    def loc(self, node: ast.AST) -> Loc:
        return self.source.loc(node, self.caller)

    @contextmanager
    def at(self, node: ast.AST) -> Iterator[Loc]:
        """Ops emitted and errors raised inside belong to this node, unless a node inside claims them."""
        loc, b, outer = self.loc(node), self.b, self.b.loc
        b.loc = loc
        try:
            with loc:
                yield loc
        finally:
            b.loc = outer

    @contextmanager
    def into(self, block: Block) -> Iterator[Block]:
        """Append to another block meanwhile."""
        outer = self.b
        self.b = outer.inside(block)
        try:
            yield block
        finally:
            self.b = outer

    # dispatch

    def __call__(self, node: ast.expr) -> Any:
        """The value of an expression."""
        kind = type(node).__name__
        with self.at(node):
            handler = getattr(self, f"expr_{kind}", None)
            if handler is None and kind in PYTHON and not self.uses_values(node):
                return lift(self.computed(node))
            if handler is None:
                message, hint = REFUSED.get(kind, (f"{kind} is not part of the language", "write it with arithmetic, calls and tuples"))
                raise TileError(message, hint=hint)
            return lift(handler(node))

    def uses_values(self, node: ast.expr) -> bool:
        """Whether an expression names a value of the program."""
        return any(has_values(x) for x in self.named(node).values())

    def named(self, node: ast.expr) -> dict[str, Any]:
        """What the names in an expression stand for; those that it binds itself, and Python's own, are left out."""
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        found: dict[str, Any] = {}
        for name in names:
            if name in self.variables:
                found[name] = self.variables[name]
            elif name in self.source.visible():
                found[name] = self.outside(self.source.lookup(name))
        return found

    def told(self, node: ast.expr) -> str:
        """What the names in an expression are, of those that are numbers or the like at compile time, to end a message with."""
        plain = {n: x for n, x in self.named(node).items() if isinstance(x, int | float | str | DType)}
        return "".join(f"{', ' if i else ': '}{n} is {x!r}" for i, (n, x) in enumerate(sorted(plain.items())))

    def computed(self, node: ast.expr) -> Any:
        """The value of any Python expression on objects known at compile time."""
        names = self.named(node)
        for name, x in names.items():
            if isinstance(x, Undefined):
                raise TileError(x.reason, hint=x.hint, code=x.code)
            hint = "make it a keyword-only parameter, or a number"
            require(not has_values(x), f"this is computed when the kernel is compiled, but {name} is {show(x)}", hint=hint, code=Code.NOT_STATIC)
        return self.python("this", eval, compile(ast.Expression(node), self.source.file, "eval"), names)

    def fixed(self, node: ast.expr, what: str) -> Any:
        """The value of an expression that must be known at compile time."""
        value = self(node)
        with self.loc(node):
            require(
                not has_values(value),
                f"{what} must be known at compile time, but it is {show(value)}",
                hint="make it a keyword-only parameter, or a number", code=Code.NOT_STATIC
            )
        return value

    # names and literals

    def expr_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def expr_Name(self, node: ast.Name) -> Any:
        name = node.id
        if name in self.variables:
            value = self.variables[name]
            if isinstance(value, Undefined):
                notes = (("it is assigned here", value.loc),) if value.loc else ()
                raise TileError(value.reason, hint=value.hint, notes=notes, code=value.code)
            return value
        if name in self.locals:
            raise TileError(f"{name} is read before it is assigned", hint=f"assign {name} above", code=Code.UNASSIGNED)
        try:
            return self.outside(self.source.lookup(name))
        except KeyError:
            raise TileError(f"{name} is not defined", hint=proposal(name, [*self.variables, *self.source.visible()]), code=Code.UNKNOWN) from None

    def outside(self, x: Any) -> Any:
        """An object from outside the kernel: a dimension's name becomes its value, in tuples, too."""
        if isinstance(x, tuple | list) and any(isinstance(part, Dim) for part in leaves(x)):
            return rebuild(x, self.outside)
        if not isinstance(x, Dim):
            return x
        if x.name in self.program.dims:
            return self.program.dims[x.name]
        known = ", ".join(self.program.dims) or "none"
        raise TileError(f"the dimension {x.name} belongs to no tensor of this kernel", hint=f"its dimensions are {known}", code=Code.UNKNOWN)

    def expr_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(self.elements(node.elts))

    def expr_List(self, node: ast.List) -> Any:
        return self.elements(node.elts)

    def elements(self, nodes: list[ast.expr]) -> list[Any]:
        found: list[Any] = []
        for e in nodes:
            found += self.sequence(self(e.value), e) if isinstance(e, ast.Starred) else [self(e)]
        return found

    def expr_Dict(self, node: ast.Dict) -> Any:
        require(all(node.keys), "** unpacking is not part of the language")
        return {self.fixed(k, "a key"): self(v) for k, v in zip(node.keys, node.values, strict=True) if k}

    def expr_JoinedStr(self, node: ast.JoinedStr) -> str:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                with self.at(part.value):
                    if has_values(self(part.value)):
                        raise TileError("a value of the program can't be formatted", hint='give it to print as an argument: print("x", x)')
        names = {n.id: self(n) for n in ast.walk(node) if isinstance(n, ast.Name)}
        return self.python("the text", eval, compile(ast.Expression(node), self.source.file, "eval"), {}, names)

    def expr_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> list[Any]:
        saved = dict(self.variables)
        try:
            return list(self._generate(node.elt, node.generators))
        finally:
            self.variables = saved

    expr_GeneratorExp = expr_ListComp

    def _generate(self, element: ast.expr, generators: list[ast.comprehension]) -> Iterator[Any]:
        if not generators:
            yield self(element)
            return
        first, *rest = generators
        require(not first.is_async, "async is not part of the language")
        for item in self.sequence(self(first.iter), first.iter):
            self.bind(first.target, item)
            if all(self.fixed(test, "the condition of a comprehension") for test in first.ifs):
                yield from self._generate(element, rest)

    def sequence(self, value: Any, node: ast.expr) -> Iterable[Any]:
        """A sequence whose length is known at compile time, to go through here and now."""
        with self.loc(node):
            if isinstance(value, Counting):
                known = value.unrolled()
                hint = "write a for loop for bounds known at run time"
                require(known is not None, "the bounds must be known at compile time here", hint=hint, code=Code.NOT_STATIC)
                return known or ()
            if isinstance(value, Value):
                raise TileError(f"{show(value)} can't be gone through", hint="compute on the whole tile, or loop over tc.range(...)", code=Code.UNPACKING)
            try:
                return list(value)
            except TypeError:
                raise TileError(f"{show(value)} can't be gone through", hint="loop over tc.range(...) or a tuple", code=Code.UNPACKING) from None

    def bind(self, target: ast.expr, value: Any) -> None:
        """Give a variable, or each of a tuple of them, a value."""
        with self.at(target) as loc:
            if isinstance(target, ast.Name):
                for part in leaves(value):
                    if isinstance(part, Value) and not part.name:
                        part.name = target.id
                self.variables[target.id] = value
                self.assigned_at[target.id] = loc
            elif isinstance(target, ast.Tuple | ast.List):
                require(isinstance(value, tuple | list), f"{show(value)} can't be unpacked", hint="only tuples and lists of values can", code=Code.UNPACKING)
                n, m = len(target.elts), len(value)
                stars = [i for i, e in enumerate(target.elts) if isinstance(e, ast.Starred)]
                require(m >= n - 1 if stars else n == m, f"{m} values are unpacked into {n} names", code=Code.UNPACKING)
                if stars:
                    at, end = stars[0], stars[0] + m - n + 1
                    value = [*value[:at], list(value[at:end]), *value[end:]]
                for part, v in zip(target.elts, value, strict=True):
                    self.bind(part.value if isinstance(part, ast.Starred) else part, v)
            elif isinstance(target, ast.Subscript):
                hint = "tc.store(c, [i, j], x) writes memory; tiles and tuples are values: make a new one"
                raise TileError("an element can't be assigned", hint=hint, code=Code.IMMUTABLE)
            else:
                raise TileError("an attribute can't be assigned in a kernel", hint="assign to a variable", code=Code.IMMUTABLE)

    # operators

    def expr_BinOp(self, node: ast.BinOp) -> Any:
        return self.binary(type(node.op), self(node.left), self(node.right))

    def binary(self, kind: type[ast.AST], x: Any, y: Any) -> Any:
        """What an operator gives: an op, or Python's result if both operands are known."""
        symbol, compute = OPERATORS[kind]
        if not isinstance(x, Value) and not isinstance(y, Value):
            require(not (isinstance(x, Counting) or isinstance(y, Counting)), f"{symbol} is not defined on a range", code=Code.UNDEFINED)
            return self.python(symbol, compute, x, y)
        if symbol in ("is", "is not"):
            return compute(x, y)
        if symbol in ("in", "not in"):
            raise TileError(f"{symbol!r} is not defined at run time", hint="compare with ==", code=Code.UNDEFINED)
        if symbol == "**":
            if is_tile(x) and isinstance(y, int):
                return Power.build(self.b, x, y)
            raise TileError(
                "** takes an integer known at compile time", hint="write tc.sqrt(x) for a root, tc.exp2(y * tc.log2(x)) in general", code=Code.NOT_STATIC
            )
        for given, other in ((x, y), (y, x)):
            if not isinstance(given, Value) and not is_number(given):
                raise TileError(f"{symbol} is not defined on {show(other)} and {show(given)}", hint="operands are tiles and numbers", code=Code.UNDEFINED)
        with self.conflict(values=(x, y)):
            return SYMBOLS[symbol].build(self.b, x, y)  # type: ignore[attr-defined]

    @contextmanager
    def conflict(self, *places: tuple[str, Loc | None], values: Any = ()) -> Iterator[None]:
        """An error that is a disagreement gets notes at the other places that take part, if they are not on its own line."""
        try:
            yield
        except TileError as error:
            if error.code in CONFLICTS:
                here = error.loc or self.b.loc
                told = {(loc.file, loc.line) for loc in (here, *(loc for _, loc in error.notes)) if loc}
                for text, loc in (*places, *made_at(values)):
                    if loc is not None and (loc.file, loc.line) not in told:
                        told.add((loc.file, loc.line))
                        error.notes.append((text, loc))
            raise

    def expr_UnaryOp(self, node: ast.UnaryOp) -> Any:
        x = self(node.operand)
        match node.op:
            case ast.Not():
                return self.invert(x)
            case ast.USub():
                return Neg.build(self.b, x) if isinstance(x, Value) else self.python("-", operator.neg, x)
            case ast.Invert():
                return Not.build(self.b, x) if isinstance(x, Value) else self.python("~", operator.invert, x)
            case _:
                tile(x) if isinstance(x, Value) else None
                return x if isinstance(x, Value) else self.python("+", operator.pos, x)

    def invert(self, x: Any) -> Any:
        """`not x`."""
        if not isinstance(x, Value):
            return not x
        if is_tile(x) and not is_scalar(x):
            raise TileError(f"not is for scalars, and this is {show(x)}", hint="write ~x to invert each element of a bool tile", code=Code.CONDITION)
        condition(x)
        return Not.build(self.b, x)

    def expr_Compare(self, node: ast.Compare) -> Any:
        left, result = self(node.left), None
        for kind, right_node in zip(node.ops, node.comparators, strict=True):
            right = self(right_node)
            one = self.binary(type(kind), left, right)
            if not isinstance(one, Value) and not isinstance(result, Value):
                if not one:
                    return one
                result = one
            elif isinstance(one, Value) and isinstance(result, Value):
                result = And.build(self.b, result, one)
            else:  # one side is known; a known falsehood has returned already, or decides now
                known, unknown = (one, result) if isinstance(result, Value) else (result, one)
                if known is not None and not known:
                    return known
                result = unknown
            left = right
        return result

    def expr_BoolOp(self, node: ast.BoolOp) -> Any:
        first, *rest = node.values
        is_and = isinstance(node.op, ast.And)
        x = self(first)
        for other in rest:
            if not isinstance(x, Value):
                if bool(x) != is_and:
                    return x  # decided, as in Python
                x = self(other)
                continue
            with self.at(first):
                self.scalar_condition(x, "&" if is_and else "|")
            x = self._decide(x, other, is_and)
        return x

    def scalar_condition(self, x: Value, instead: str) -> None:
        if is_tile(x) and not is_scalar(x):
            raise TileError(
                f"and, or and not are for scalars, and this is {show(x)}", hint=f"write {instead} for each element of bool tiles", code=Code.CONDITION
            )
        condition(x)

    def _decide(self, x: Value, other: ast.expr, is_and: bool) -> Value:
        """`x and other`: the right side runs only where x leaves the matter open, unless it can do no harm."""
        with self.into(Block()) as block:
            y = self(other)
            if not isinstance(y, Value):
                y = materialize(self.b, bool(y))
            with self.at(other):
                self.scalar_condition(y, "&" if is_and else "|")
        if self._splice(block):
            return (And if is_and else Or).build(self.b, x, y)
        with self.into(Block()) as known:
            decided = materialize(self.b, not is_and)
        then, orelse = ((block, y), (known, decided)) if is_and else ((known, decided), (block, y))
        return self.branch(x, then, orelse)

    def branch(self, test: Value, *sides: tuple[Block, Value]) -> Value:
        """One of two values, each computed in a block of its own."""
        for block, value in sides:
            self.b.inside(block).insert(Yield((value,)))
        return self.b.emit(If(test, *[block for block, _ in sides]))

    def _splice(self, *blocks: Block) -> bool:
        """Move ops that can't fail and touch no memory into the current block; says whether it did."""
        harmless = all(op.effect is Effect.NONE and not op.regions and not isinstance(op, IntegerDivision) for b in blocks for op in b.ops)
        if harmless:
            for block in blocks:
                self.b.block.ops += block.ops
        return harmless

    def expr_IfExp(self, node: ast.IfExp) -> Any:
        test = self(node.test)
        if not isinstance(test, Value):
            return self(node.body if test else node.orelse)
        with self.at(node.test):
            condition(test)
        with self.into(Block()) as then:
            x = self(node.body)
        with self.into(Block()) as orelse:
            y = self(node.orelse)
        x, y = self.alike(x, y, then, orelse)
        if is_scalar(x) and self._splice(then, orelse):
            return Where.build(self.b, test, x, y)
        return self.branch(test, (then, x), (orelse, y))

    def alike(self, x: Any, y: Any, then: Block, orelse: Block, what: str = "the choices") -> tuple[Any, Any]:
        """Two leaves that come out of branches, as values of one type; a number takes the other side's."""
        if is_number(x) and is_number(y):
            dtype = max((number_type(x), number_type(y)), key=lambda t: (t.is_float, t.bits))
            require(number_type(x).is_bool == number_type(y).is_bool, f"{what} are {x!r} and {y!r}", hint="make both numbers or both bools", code=Code.CHANGED)
            return materialize(self.b.inside(then), x, dtype), materialize(self.b.inside(orelse), y, dtype)
        if is_number(x) and is_scalar(y):
            x = materialize(self.b.inside(then), x, y.type.dtype)
        elif is_number(y) and is_scalar(x):
            y = materialize(self.b.inside(orelse), y, x.type.dtype)
        if not (is_tile(x) and is_tile(y) and x.type == y.type):
            one, other = both(x, y)
            hint = memory_hint(x, y) or "both sides of a choice at run time have one type and shape; convert one, as in tc.cast(x, f32)"
            raise TileError(f"{what} are {one} and {other}", hint=hint, code=Code.CHANGED)
        return x, y

    # attributes and subscripts

    def expr_Attribute(self, node: ast.Attribute) -> Any:
        x = self(node.value)
        name = node.attr
        if isinstance(x, Value):
            return self.attribute(x, name)
        if isinstance(x, Counting):
            raise TileError(f"a range has no {name} in a kernel", code=Code.UNKNOWN)
        try:
            return self.outside(getattr(x, name))
        except AttributeError:
            module = isinstance(x, type(ast))
            elsewhere = ELSEWHERE.get(name) if module else None
            hint = f"here it is {elsewhere}" if elsewhere else proposal(name, dir(x))
            raise TileError(f"{f'the module {x.__name__}' if module else show(x)} has no {name}", hint=hint, code=Code.UNKNOWN) from None

    def attribute(self, x: Value, name: str) -> Any:
        """An attribute of a tile, tensor or shared tile."""
        if name == "dtype":
            return x.type.dtype
        if name == "shape" and isinstance(x.owner, TensorView):
            return x.owner.shape
        if name == "shape":
            return tuple(self.program.dims[n] if isinstance(n, str) else n for n in x.type.shape)
        if name in ("rank", "ndim"):
            return x.type.rank
        if is_tile(x):
            if name == "T":
                return Transpose.build(self.b, x)
            if name in METHODS:
                return Method(OPERATIONS[METHODS[name]], x)
            known = ["dtype", "shape", "rank", "T", *METHODS]
            hint = f"write tc.{name}(x)" if name in OPERATIONS else proposal(name, known) or "it has " + ", ".join(known)
            raise TileError(f"a tile has no {name}", hint=hint, code=Code.UNKNOWN)
        if isinstance(x.type, SharedType) and name in VIEWS:
            return Transpose.build(self.b, x) if name == "T" else Method(OPERATIONS[name], x)
        if name in METHODS or name == "T":
            if name == "view" and isinstance(x.type, SharedType):
                raise TileError(f"{show(x)} has no view", hint="tc.bitcast(s, u32) is the same memory, seen as another type", code=Code.UNKNOWN)
            raise TileError(f"{show(x)} has no {name}", hint="read it into registers with tc.load", code=Code.UNKNOWN)
        known = ["dtype", "shape", "rank", *(VIEWS if isinstance(x.type, SharedType) else ())]
        raise TileError(f"{show(x)} has no {name}", hint=proposal(name, known) or f"it has {', '.join(known[:-1])} and {known[-1]}", code=Code.UNKNOWN)

    def expr_Slice(self, node: ast.Slice) -> slice:
        return slice(*(self.fixed(e, "a slice's bound") if e else None for e in (node.lower, node.upper, node.step)))

    def selectors(self, node: ast.expr) -> Any:
        """What stands between the brackets behind a shared tile: the bounds of slices may be known at run time only."""
        if isinstance(node, ast.Tuple):
            return tuple(self.selectors(e) for e in node.elts)
        if isinstance(node, ast.Slice):
            lower, upper = (self(e) if e else None for e in (node.lower, node.upper))
            return slice(lower, upper, self.fixed(node.step, "a slice's step") if node.step else None)
        return self(node)

    def expr_Subscript(self, node: ast.Subscript) -> Any:
        x = self(node.value)
        at = self.selectors(node.slice) if isinstance(x, Value) and isinstance(x.type, SharedType) else self(node.slice)
        if is_tile(x):
            return subscript(self.b, x, at if isinstance(at, tuple) else (at,))
        if isinstance(x, Value) and isinstance(x.type, TensorType):
            raise TileError("a tensor is not indexed", hint="tc.load(a, [i, k], [64, 32]) reads a tile, tc.load(a, [i, k]) one element", code=Code.NOT_A_TILE)
        if isinstance(x, Value) and isinstance(x.type, BarrierType):
            require(not isinstance(at, tuple | slice), "a row of barriers has one index", hint="as in b[i]")
            return BarrierSlice.build(self.b, x, at)
        if isinstance(x, Value):
            return cut(self.b, x, at if isinstance(at, tuple) else (at,))
        if has_values(at):
            raise TileError(
                "an index into a tuple must be known at compile time",
                hint="unroll the loop with tc.static_range, or keep the values in one tile", code=Code.NOT_STATIC
            )
        return self.outside(self.python("indexing", operator.getitem, x, at))

    # Python at compile time

    def python(self, what: str, compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What Python computes on objects known at compile time; what it raises becomes an error at this place."""
        try:
            return compute(*args, **kwargs)
        except TileError:
            raise
        except Exception as error:
            fields = getattr(compute, "_fields", None)  # of a struct
            hint = f"its fields are {', '.join(fields)}" if fields else None
            text = f"{what} fails when the kernel is compiled: {type(error).__name__}: {error}"
            raise TileError(text, hint=hint, code=Code.PYTHON_FAILS) from None


CONFLICTS = {Code.TYPES_MIX, Code.SHAPES, Code.CHANGED, Code.STORED, Code.PRODUCT_TYPES, Code.PRODUCT_SHAPES, Code.MASK, Code.LAYOUT_FITS, Code.BITS}


def made_at(xs: Any) -> list[tuple[str, Loc | None]]:
    """Where the values among some things were made, in the words of a note."""
    values = [x for x in leaves(xs) if isinstance(x, Value) and isinstance(x.owner, Op) and not isinstance(x.owner, Constant)]
    return [(f"{v.name or 'an operand'} is {show(v)}, made here", v.owner.loc) for v in values]  # type: ignore[union-attr]


# what users of Triton, CUDA and PyTorch may look for
ELSEWHERE = {
    "program_id": "tc.block_index(axis)", "num_programs": "tc.block_count(axis)", "blockIdx": "tc.block_index(axis)",
    "constexpr": "a parameter behind a bare *", "syncthreads": "tc.sync()", "debug_barrier": "tc.sync()", "mean": "tc.sum(x, axis) / n",
    "gelu": "0.5 * x * (1 + tc.erf(x * 0.5**0.5))", "silu": "x * tc.sigmoid(x)", "relu": "tc.maximum(x, 0)", "matmul": "tc.dot(a, b)",
    "device_print": "tc.print", "multiple_of": "tc.assume(n % 16 == 0)",
}  # fmt: skip


def proposal(name: str, known: Iterable[str]) -> str | None:
    """A name that may have been meant."""
    close = alike(name, known)
    return f"did you mean {close[0]}?" if close else None


__all__ = ["Expressions", "Method", "Program", "proposal"]
