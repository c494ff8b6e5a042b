"""Calls: ops of the language, Python's own functions, helpers that are inlined, and anything that Python can run at compile time."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

from tilec.errors import Code, Loc, TileError, require
from tilec.frontend.builtins import LANGUAGE, BoundHelper, Builtin, HelperFunction, Name, cdiv, signature_of
from tilec.frontend.expressions import Expressions, Method
from tilec.frontend.signature import Signature
from tilec.frontend.values import Counting, Struct, Undefined, has_values, is_number, is_struct, is_tile, show
from tilec.ir.core import Block, Builder, Op, Value
from tilec.ir.dtypes import DType, bool_, f32, i32
from tilec.ir.layout import Layout
from tilec.ir.ops.arith import Abs, Add, Cast, Maximum, Minimum
from tilec.ir.ops.base import Binary, Constant, Elementwise, divided, index
from tilec.ir.ops.control import Assume
from tilec.ir.ops.debug import Breakpoint, Print

STRUCTURAL = (len, tuple, list, zip, enumerate, reversed, isinstance)  # look at how values are nested, not at values
FOLDS: dict[Any, type[Op]] = {min: Minimum, max: Maximum, sum: Add}
CASTS: dict[Any, DType] = {int: i32, float: f32, bool: bool_}
CHANGING = {"append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "setdefault", "add", "discard"}

# what an argument of a builtin must be, by the parts of its annotation
WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "DType": (lambda x: isinstance(x, DType), "a type, as in f16"),
    "Value": (lambda x: isinstance(x, Value), "a tile or tensor"),
    "Operand": (lambda x: isinstance(x, Value) or is_number(x), "a tile or a number"),
    "Index": (lambda x: isinstance(x, Value) or (isinstance(x, int) and not isinstance(x, bool)), "an integer"),
    "int": (lambda x: isinstance(x, int) and not isinstance(x, bool), "an integer known at compile time"),
    "bool": (lambda x: isinstance(x, bool), "True or False"),
    "str": (lambda x: isinstance(x, str), "a string"),
    "Layout": (lambda x: isinstance(x, Layout), "a layout, as in local(2, 1).spatial(8, 4)"),
    "Sequence": (lambda x: isinstance(x, list | tuple), "a list"),
    "Function": (lambda x: isinstance(x, HelperFunction) or (isinstance(x, Builtin) and issubclass(x.op, Binary)), "a function of @tc.function"),
    "None": (lambda x: x is None, ""),
}


def listed(parameters: list[inspect.Parameter], args: Sequence[Any], name: str) -> str | None:
    """A hint for those who write the integers of a list as arguments of their own."""
    takes_list = len(parameters) > 1 and "Sequence" in str(parameters[1].annotation)
    if not takes_list or len(args) < 3 or not all(isinstance(n, int) for n in args[1:]):
        return None
    return f"{parameters[1].name} is a list: {name}({'x, ' if name.startswith('tc.') else ''}{list(args[1:])})"


class Calls(Expressions):
    """Parsing of calls."""

    def expr_Call(self, node: ast.Call) -> Any:
        function = self(node.func)
        if function is LANGUAGE["static"]:
            require(len(node.args) == 1 and not node.keywords, "tc.static takes one expression", code=Code.ARGUMENTS)
            return self.computed(node.args[0])
        args, kwargs = self.arguments(node)
        for key, handler in self.special().items():
            if function is key:
                return handler(node, args, kwargs)
        if isinstance(function, Method):
            return self.build(function.op.op, (function.receiver, *args), kwargs, f".{node.func.attr}")  # type: ignore[attr-defined]
        if isinstance(function, Name) and (not isinstance(function, Builtin) or function.op is Assume):
            raise TileError(f"tc.{function.__name__} can't be called here", hint="it is a statement of its own, at the top of the kernel", code=Code.ARGUMENTS)
        if isinstance(function, Builtin):
            return self.build(function.op, args, kwargs, f"tc.{function.__name__}")
        if isinstance(function, DType):
            require(len(args) == 1 and not kwargs, f"{function}(x) converts one value", code=Code.ARGUMENTS)
            return self.build(Cast, (*args, function), kwargs, str(function))
        if isinstance(function, HelperFunction):
            return self.apply(function, args, kwargs, self.loc(node))
        if isinstance(function, BoundHelper):
            return self.apply(function.helper, (function.receiver, *args), kwargs, self.loc(node))
        return self.plain(function, args, kwargs)

    def special(self) -> dict[Any, Callable[[ast.Call, list[Any], dict[str, Any]], Any]]:
        """Functions that the parser handles itself. Their arguments are evaluated but for those of the launch."""
        return {
            LANGUAGE["range"]: self.call_range,
            builtins.range: self.call_range,
            LANGUAGE["static_range"]: self.call_static_range,
            LANGUAGE["static_assert"]: self.call_static_assert,
            cdiv: self.call_cdiv,
            builtins.print: self.call_print,
            builtins.breakpoint: self.call_breakpoint,
        }

    def arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        for k in node.keywords:
            require(k.arg is not None, "** in a call is not part of the language", hint="write out the arguments", loc=self.loc(k))
        args: list[Any] = []
        for a in node.args:
            if isinstance(a, ast.Starred):
                value = self(a.value)
                require(
                    isinstance(value, tuple | list), f"{show(value)} can't be unpacked", hint="only tuples and lists can", loc=self.loc(a), code=Code.UNPACKING
                )
                args += value
            else:
                args.append(self(a))
        return args, {k.arg: self(k.value) for k in node.keywords if k.arg}

    # ops

    def build(self, op: type[Op], args: Any, kwargs: dict[str, Any], name: str) -> Any:
        """Emit a builtin; its arguments are checked against the signature first."""
        signature = signature_of(op)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            parameters = ", ".join(map(str, signature.replace(return_annotation=inspect.Signature.empty).parameters))
            hint = listed(list(signature.parameters.values()), args, name) or f"its parameters are ({parameters})"
            raise TileError(f"{name}: {error}", hint=hint, code=Code.ARGUMENTS) from None
        for key, value in bound.arguments.items():
            parameter = signature.parameters[key]
            if parameter.kind is not parameter.VAR_POSITIONAL:
                self.check(name, key, value, str(parameter.annotation))
        with self.conflict(values=[*args, *kwargs.values()]):
            return self.emitted(op, bound, args, kwargs)

    def emitted(self, op: type[Op], bound: inspect.BoundArguments, args: Any, kwargs: dict[str, Any]) -> Any:
        if hasattr(op, "build"):
            args, kwargs = [self.combiner(x) for x in args], {k: self.combiner(x) for k, x in kwargs.items()}
            return op.build(self.b, *args, **kwargs)
        bound.apply_defaults()
        results = self.b.insert(op(**bound.arguments))
        return results[0] if len(results) == 1 else results or None

    def combiner(self, function: Any) -> Any:
        """A function of the language as ops take it: called with a builder and values, it emits. Anything else as it is."""
        if isinstance(function, Builtin):
            return function.op.build  # type: ignore[attr-defined]
        if not isinstance(function, HelperFunction):
            return function

        def emit(b: Builder, *values: Value) -> Any:
            outer, self.b = self.b, b
            try:
                return self.apply(function, values, {}, b.loc)
            finally:
                self.b = outer

        return emit

    def check(self, name: str, key: str, value: Any, annotation: str) -> None:
        """An argument must be one of the kinds that its annotation lists."""
        kinds = [part.split("[")[0].strip() for part in annotation.split("|")]
        tests = [WANTED[k] for k in kinds if k in WANTED]
        if len(tests) < len(kinds) or any(test(value) for test, _ in tests):
            return
        words = " or ".join(dict.fromkeys(text for _, text in tests if text))
        if callable(value) and not isinstance(value, type):
            hint: str | None = f"decorate {getattr(value, '__name__', 'it')} with @tc.function"
        else:
            hint = "make it a keyword-only parameter of the kernel, or a number" if "at compile time" in words and has_values(value) else None
        raise TileError(f"{name}: {key} is {words}, not {show(value)}", hint=hint, code=Code.ARGUMENTS)

    # names of the language and Python's functions

    def call_range(self, node: ast.Call, args: list[Any], kwargs: dict[str, Any]) -> Counting:
        stages = kwargs.pop("stages", 1)
        require(
            isinstance(stages, int) and stages >= 1,
            f"stages is a positive integer known at compile time, not {show(stages)}",
            hint="make it a keyword-only parameter, or a number",
            code=Code.NOT_STATIC,
        )
        buffers = kwargs.pop("buffers", None)
        require(
            buffers in (None, 1, 2) and not isinstance(buffers, bool),
            f"buffers is 1, 2 or None, known at compile time, not {show(buffers)}",
            hint="2 reads the first fragments of a round during the round before, 1 does not, None leaves it to the compiler",
            code=Code.NOT_STATIC,
        )
        require(buffers != 2 or stages > 1, "buffers=2 is for loops with stages", hint="ask for them: stages=2, or more", code=Code.ARGUMENTS)
        start, stop, step = self._bounds(args, kwargs)
        return Counting(start, stop, step, stages, buffers if stages > 1 else None)

    def call_static_range(self, node: ast.Call, args: list[Any], kwargs: dict[str, Any]) -> range:
        bounds = self._bounds(args, kwargs)
        for x in bounds:
            require(
                isinstance(x, int),
                f"the bounds of static_range are known at compile time, not {show(x)}",
                hint="use tc.range for a loop at run time", code=Code.NOT_STATIC
            )
        return range(*bounds)

    def _bounds(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
        named = dict(zip(("stop",) if len(args) == 1 else ("start", "stop", "step"), args, strict=False)) | kwargs
        good = len(args) <= 3 and "stop" in named and set(named) <= {"start", "stop", "step"}
        require(good, "range takes (stop) or (start, stop) or (start, stop, step)", hint="and stages=, for tc.range", code=Code.ARGUMENTS)
        bounds = named.get("start", 0), named["stop"], named.get("step", 1)
        for x in bounds:
            good = isinstance(x, int) or (is_tile(x) and x.type.is_scalar and x.type.dtype.is_int)
            require(
                good,
                f"the bounds of a range are integers, not {show(x)}",
                hint=divided(x), code=Code.BOUNDS
            )
        require(bounds[2] != 0 or isinstance(bounds[2], Value), "the step of a range is not 0", hint="a loop goes up or down", code=Code.BOUNDS)
        return bounds

    def call_cdiv(self, node: ast.Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        require(len(args) == 2 and not kwargs, "cdiv takes two integers", hint="as in cdiv(M, 64)", code=Code.ARGUMENTS)
        x, y = args
        return self.binary(ast.FloorDiv, self.binary(ast.Add, x, y - 1 if is_number(y) else self.binary(ast.Sub, y, 1)), y)

    def call_static_assert(self, node: ast.Call, args: list[Any], kwargs: dict[str, Any]) -> None:
        named = dict(zip(("fact", "message"), args, strict=False)) | kwargs
        require(set(named) <= {"fact", "message"} and "fact" in named, "tc.static_assert takes a fact and a message", code=Code.ARGUMENTS)
        late = "tc.static_assert is decided when the kernel is compiled, and this is known only at run time"
        require(not has_values(named["fact"]), late, hint="tc.assert_ checks at run time", code=Code.NOT_STATIC)
        text = self.source.text(node.args[0]) if node.args else "it"
        told = self.told(node.args[0]) if node.args else ""
        require(named["fact"], f"{named.get('message') or f'{text} does not hold'}{told}", code=Code.STATIC_ASSERTION)

    def call_print(self, node: ast.Call, args: list[Any], kwargs: dict[str, Any]) -> None:
        require(not kwargs, "print takes no options in a kernel", hint="it shows its arguments, a line for each block")
        for x, n in zip(args, node.args, strict=False):
            require(is_tile(x) or not isinstance(x, Value), f"{show(x)} can't be printed", hint="load a tile of it", loc=self.loc(n))
        values = tuple(x for x in args if isinstance(x, Value))
        self.b.insert(Print(values, tuple(None if isinstance(x, Value) else str(x) for x in args)))

    def call_breakpoint(self, node: ast.Call, args: list[Any], kwargs: dict[str, Any]) -> None:
        require(not args and not kwargs, "breakpoint takes no arguments in a kernel")
        found = {name: x for name, x in self.variables.items() if is_tile(x) and not isinstance(x, Undefined)}
        self.b.insert(Breakpoint(tuple(found.values()), tuple(found)))

    def plain(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Python's own functions on tiles where that makes sense, anything else at compile time."""
        name = getattr(function, "__name__", show(function))
        require(callable(function), f"{show(function)} is not a function", code=Code.FOREIGN)
        if isinstance(getattr(function, "signature", None), Signature):
            raise TileError(f"{name} is a kernel, and kernels don't call kernels", hint="put what both need into a helper, by @tc.function", code=Code.FOREIGN)
        if _is_one_of(function, STRUCTURAL):
            return self._structural(function, args, kwargs, name)
        if is_struct(function) or getattr(function, "__func__", None) is Struct.replace:
            return self.python(f"{name}()", function, *args, **kwargs)
        if not has_values(args) and not has_values(kwargs):
            self._check_method(function, name)
            return self.python(f"{name}()", function, *args, **kwargs)
        if function is abs and len(args) == 1:
            return Abs.build(self.b, args[0])
        if _is_one_of(function, CASTS) and len(args) == 1:
            return Cast.build(self.b, args[0], CASTS[function])
        if _is_one_of(function, FOLDS):
            return self._fold(function, args, kwargs, name)
        self._check_method(function, name)
        raise TileError(
            f"{name} is a Python function, which can't compute on values of the program",
            hint="decorate it with @tc.function, if it is yours, to have its calls inlined"
            if inspect.isfunction(function)
            else proposal_for(name), code=Code.FOREIGN
        )

    def _check_method(self, function: Any, name: str) -> None:
        if isinstance(getattr(function, "__self__", None), list | dict | set) and name in CHANGING:
            raise TileError(f"{name} changes an object, and a kernel can't", hint="make a new one, as in xs = xs + [x]", code=Code.IMMUTABLE)

    def _structural(self, function: Any, args: list[Any], kwargs: dict[str, Any], name: str) -> Any:
        if function is not isinstance:
            for x in args:
                if isinstance(x, Value):
                    raise TileError(f"{name} is not defined on {show(x)}", hint="x.shape gives the extents" if function is len else None, code=Code.UNDEFINED)
            args = [self._known(x) for x in args]
        result = self.python(f"{name}()", function, *args, **kwargs)
        return [tuple(x) if isinstance(x, tuple) else x for x in result] if function in (zip, enumerate, reversed) else result

    def _known(self, x: Any) -> Any:
        if not isinstance(x, Counting):
            return x
        known = x.unrolled()
        require(known is not None, "the bounds of the range must be known at compile time here", hint="use it in a for loop", code=Code.NOT_STATIC)
        return known

    def _fold(self, function: Any, args: list[Any], kwargs: dict[str, Any], name: str) -> Any:
        items = args[0] if len(args) == 1 else args
        if isinstance(items, Value) or kwargs or not items or (function is sum and len(args) != 1):
            raise TileError(
                f"{name} on a tile is tc.{name}",
                hint=f"write tc.{name}(x) to reduce a tile, {name}(x, y) for two" if function is not sum else "write tc.sum(x)", code=Code.FOREIGN
            )
        known = [x for x in items if not isinstance(x, Value)]
        rest = [x for x in items if isinstance(x, Value)]
        require(all(map(is_number, known)), f"{name} is not defined on {show(args[0])}", code=Code.UNDEFINED)
        start = [function(known)] if known and (function is not sum or sum(known)) else []
        return reduce(lambda x, y: FOLDS[function].build(self.b, x, y), rest + start)  # type: ignore[attr-defined]

    # helpers

    def apply(self, helper: HelperFunction, args: Sequence[Any], kwargs: dict[str, Any], caller: Loc | None) -> Any:
        raise NotImplementedError

    # what the host evaluates

    def call_grid(self, node: ast.Call) -> None:
        """`tc.grid(...)`: the extents become the values of the launch block."""
        require(self.program.grid is None, "tc.grid is given twice", hint="keep the first", code=Code.GRID)
        require(not self.program.body.ops, "tc.grid comes first in a kernel", hint="move it above everything that computes on the GPU", code=Code.GRID)
        with self.on_host("the grid"):
            args, kwargs = self.arguments(node)
            extra = [k for k in kwargs if k not in ("x", "y", "z")]
            require(not extra, f"tc.grid has no parameter {', '.join(extra)}", hint="write tc.grid(cdiv(M, bm), cdiv(N, bn))", code=Code.GRID)
            extents = args + list(kwargs.values())
            require(1 <= len(extents) <= 3, f"a grid has one to three extents, not {len(extents)}", hint="fold further ones into the last", code=Code.GRID)
            for x, n in zip(args, node.args, strict=False):
                with self.loc(n):
                    known = isinstance(x, int) and not isinstance(x, bool)
                    require(known or is_tile(x), f"the grid's extents are integers, not {show(x)}", hint="use // or cdiv to divide", code=Code.GRID)
                    require(not known or x > 0, f"the grid's extents are positive, not {x}", code=Code.GRID)
                    index(self.b, x)
            self.program.grid = tuple(index(self.b, x) for x in extents)

    def call_assume(self, node: ast.Call) -> None:
        """`tc.assume(fact)`: checked by every launcher."""
        require(len(node.args) == 1 and not node.keywords, "tc.assume takes one fact", hint="as in tc.assume(K % 8 == 0)", code=Code.ARGUMENTS)
        with self.on_host("an assumption"):
            fact = self(node.args[0])
            if isinstance(fact, Value):
                self.b.insert(Assume(fact, self.source.text(node.args[0])))
                return
        text = self.source.text(node.args[0])
        require(fact, f"the assumption {text} does not hold for these constants{self.told(node.args[0])}", code=Code.ASSUMPTION)

    def on_host(self, what: str) -> Any:
        return _OnHost(self, what)


class _OnHost:
    """Ops emitted inside go to the launch block; they may compute on scalars that the host knows, and nothing else."""

    def __init__(self, frame: Calls, what: str):
        self.frame, self.what = frame, what

    def __enter__(self) -> Block:
        self.outer = self.frame.b
        self.block = self.frame.program.launch
        self.before = len(self.block.ops)
        self.frame.b = self.outer.inside(self.block)
        return self.block

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.frame.b = self.outer
        if kind is not None:
            return
        known = {v for op in self.block.ops for v in op.results} | set(self.frame.program.scalars)
        for op in self.block.ops[self.before :]:
            on_host = isinstance(op, Elementwise | Constant | Assume) and all(v in known and v.type.is_scalar for v in op.operands)
            if not on_host:
                raise TileError(
                    f"{self.what} is evaluated on the host, which knows only dimensions, scalar parameters and constants",
                    loc=op.loc,
                    hint="compute it from those, inside the call", code=Code.HOST
                )


def _is_one_of(function: Any, known: Iterable[Any]) -> bool:
    return any(function is f for f in known)


def proposal_for(name: str) -> str | None:
    return f"tc.{name} does, on tiles" if name in LANGUAGE else "use the functions of tilec, as in tc.exp(x)"
