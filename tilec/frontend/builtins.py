"""The names of the language that are real Python names: what an editor completes and a linter sees.

Inside a kernel the parser knows them by identity and never calls them; called outside, they say so. Those that are ops come from
the ops themselves, with their signatures and manuals.
"""

from __future__ import annotations

import inspect
from collections import namedtuple
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cached_property, update_wrapper
from os import PathLike
from types import FunctionType
from typing import Any

import tilec.ir.ops  # noqa: F401 - registers the builtins
from tilec.errors import Code, TileError, require
from tilec.frontend.source import Source
from tilec.frontend.values import Struct
from tilec.ir.core import BUILTINS, Kind, Op
from tilec.ir.dtypes import DType, Shaped
from tilec.ir.ops.base import Index
from tilec.records import record


class Name:
    """A name that means something inside a kernel only, but for `outside`: what it does elsewhere when called with a path alone."""

    outside: Callable[[Any], Any] | None = None

    def __init__(self, name: str, doc: str | None):
        self.__name__ = name
        self.__doc__ = doc

    def __repr__(self) -> str:
        return f"<tilec.{self.__name__}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.outside is not None and len(args) == 1 and isinstance(args[0], str | PathLike) and not kwargs:
            return self.outside(args[0])
        raise TileError(
            f"tc.{self.__name__} is only meaningful inside a kernel", hint="decorate the function with @tc.kernel() or @tc.function"
        )


class Builtin(Name):
    """An op that authors may write."""

    def __init__(self, op: type[Op]):
        assert op.builtin
        super().__init__(op.builtin, inspect.getdoc(op))
        self.op = op

    @cached_property
    def __signature__(self) -> inspect.Signature:  # asked for by editors and by the parser, and made then
        return signature_of(self.op)


_signatures: dict[type[Op], inspect.Signature] = {}


def signature_of(op: type[Op]) -> inspect.Signature:
    """The signature of a builtin: that of the op's `build` without the builder, or else its fields in order."""
    if op not in _signatures:
        _signatures[op] = _signature_of(op)
    return _signatures[op]


def _signature_of(op: type[Op]) -> inspect.Signature:
    build = getattr(op, "build", None)
    if build is not None:
        given = inspect.signature(build)
        return given.replace(parameters=list(given.parameters.values())[1:])
    fields = [f for f in op.fields if f.kind is not Kind.REGION and f.name != "group"]
    returns = "None" if op.infer.__annotations__.get("return") in (None, "None") else "Value"
    return inspect.Signature([_parameter(f.name, f.annotation, op) for f in fields], return_annotation=returns)


def _parameter(name: str, annotation: str, op: type[Op]) -> inspect.Parameter:
    default = getattr(op, name, inspect.Parameter.empty)
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _like(function: Callable[..., Any]) -> Name:
    """A name of the language with the signature and manual of a function that has no body."""
    name = Name(function.__name__, inspect.getdoc(function))
    name.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return name


class Dim:
    """The name of a runtime dimension: stands in annotations, and inside a kernel for the dimension's value, an i32 scalar."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def _refuse(self, *_: Any) -> Any:
        raise TileError(f"outside a kernel {self.name} is a name, not a number", hint="a tensor's extents are names of tc.dims or integers")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse
    __truediv__ = __rtruediv__ = __neg__ = __lt__ = __le__ = __gt__ = __ge__ = __int__ = __index__ = __bool__ = _refuse


class TypeName:
    """The name of an element type that is a constant parameter of the kernel; `W[K, N]` in an annotation is a tensor of it."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __getitem__(self, dims: Any) -> Shaped:
        return Shaped(self, dims if isinstance(dims, tuple) else (dims,))  # type: ignore[arg-type]


class Strided:
    """The annotation of a tensor whose strides are kernel parameters."""

    def __init__(self, shaped: Shaped):
        self.shaped = shaped


class Workspace(Strided):
    """The annotation of a tensor that launchers provide, full of zeros."""


def _names(text: str, kind: Callable[[str], Any], what: str) -> Any:
    names = text.replace(",", " ").split()
    for name in names:
        if not name.isidentifier():
            raise TileError(f"{name!r} can't name {what}", hint='as in tc.dims("M N K")', code=Code.EXTENT)
    made = tuple(map(kind, names))
    return made[0] if len(made) == 1 else made


def dims(names: str) -> Any:
    """Names of runtime dimensions, separated by blanks: `M, N = tc.dims("M N")`; a single name gives the `Dim` itself.

    Example:
        A, B = tc.dims("A B")
        @tc.kernel
        def k(T: f32[A, B], O: f32[A, B]):
            tc.grid(A)
            tc.store(O, [tc.block_index(0), 0], f32(B))  # O[:, 0] = 40
        tc.dims("M-N")                                   # error: 'M-N' can't name a dimension
    """
    return _names(names, Dim, "a dimension")


def types(names: str) -> Any:
    """Names of element types that kernels take as constants: `W = tc.types("W")`, then `def k(w: W[K, N], *, W: DType = int6)`.

    Example:
        W = tc.types("W")
        @tc.kernel
        def k(T: W[R, C], O: f32[R, C], *, W: DType = f32):
            tc.grid(1)
            tc.store(O, [0, 0], f32(tc.load(T, [0, 0], [8, 16])))  # O[:8, :16] = T[:8, :16]
        tc.types("1")                                              # error: '1' can't name a type
    """
    return _names(names, TypeName, "a type")


def strided(tensor: Any) -> Any:
    """The annotation of a tensor that need not be contiguous: `a: tc.strided(f16[M, K])`. Its strides become kernel parameters.

    Example:
        @tc.kernel
        def k(T: tc.strided(f32[R, C]), O: f32[R, C]):
            tc.grid(1)
            tc.store(O, [0, 0], tc.load(T, [0, 0], [8, 16]))  # O[:8, :16] = T[:8, :16]
        tc.strided(f32)                                       # error: strided takes a tensor's annotation
    """
    if not isinstance(tensor, Shaped):
        raise TileError(f"strided takes a tensor's annotation, not {tensor!r}", hint="as in tc.strided(f16[M, K])", code=Code.EXTENT)
    return Strided(tensor)


def workspace(tensor: Any) -> Any:
    """The annotation of a tensor for the kernel's own use, `w: tc.workspace(i32[M])`: every run finds it full of zeros, and leaves it so.

    Calls need not pass it: then tilec provides it. Its extents are integers or dimensions of other tensors. A run of the interpreter or the
    simulator that leaves other values than 0 is an error.

    Example:
        @tc.kernel
        def k(O: f32[R, C], own: tc.workspace(i32[4])):
            tc.grid(1)
            tc.store(O, [0, 0], f32(tc.load(own, [0], [4])))  # O[0, :4] = 0
        tc.workspace(i32)                                   # error: workspace takes a tensor's annotation
    """
    if not isinstance(tensor, Shaped):
        raise TileError(f"workspace takes a tensor's annotation, not {tensor!r}", hint="as in tc.workspace(i32[M])", code=Code.EXTENT)
    return Workspace(tensor)


class HelperFunction:
    """A function whose calls are inlined into kernels. Called outside, it runs as plain Python, so one on numbers can be tried."""

    def __init__(self, function: Callable[..., Any]):
        update_wrapper(self, function)
        self.function = function
        self.source = Source(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else BoundHelper(self, instance)


@record()
class BoundHelper:
    """A helper that is a method of a struct, with the instance."""

    helper: HelperFunction
    receiver: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.helper(self.receiver, *args, **kwargs)


def struct(cls: type) -> Any:
    """Decorates a class whose annotated fields are tiles, scalars or objects known at compile time: its instances are values of kernels.

    `State(acc, best)` makes one, `s.acc` reads a field, `s.replace(acc=x)` makes another; loops and branches hand them on, functions take and
    return them. Methods are decorated with `@tc.function`. Raises TileError for a class without fields or with a base.

    Example:
        @tc.struct
        class Pair:
            low: f32
            high: f32
        @tc.kernel
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            v = tc.load(T, [0, 0], [8, 16])
            both = Pair(tc.min(v), tc.max(v))
            tc.store(O, [0, 0], both.high - both.low)  # O[0, 0] = np.ptp(T[:8, :16])
        tc.struct(type("Empty", (), {}))               # error: Empty is no struct
    """
    fields = list(inspect.get_annotations(cls))
    if not fields or cls.__bases__ != (object,):
        raise TileError(f"{cls.__name__} is no struct", hint="a struct is a class without a base, with annotated fields, as in `acc: f32`", code=Code.STRUCT)
    missing = object()
    defaults = [getattr(cls, f) for f in fields if getattr(cls, f, missing) is not missing]
    base = namedtuple(cls.__name__, fields, defaults=defaults)  # type: ignore[misc]
    rest = {n: x for n, x in cls.__dict__.items() if n not in (*fields, "__dict__", "__weakref__")}
    return type(cls.__name__, (Struct, base), {**rest, "__slots__": ()})


def function(python_function: Callable[..., Any]) -> HelperFunction:
    """Decorates a helper that kernels call: it is inlined at each call, takes tiles and constants, and returns one value or a tuple.

    Example:
        @tc.function
        def twice(v):
            return v + v
        @tc.kernel
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            tc.store(O, [0, 0], twice(tc.load(T, [0, 0], [8, 16])))  # O[:8, :16] = 2 * T[:8, :16]
        tc.function(3)                                               # error: a helper is a Python function, not 3
    """
    require(
        isinstance(python_function, FunctionType),
        f"a helper is a Python function, not {python_function!r}",
        hint="decorate a def with @tc.function",
        code=Code.FOREIGN,
    )
    return HelperFunction(python_function)


def cdiv(x: Any, y: Any) -> Any:
    """`x / y` rounded up, for integers and integer scalars: the number of blocks of y that cover x.

    Example:
        r = cdiv(i, 2)  # = -(-i // 2)
        cdiv(x, y)      # error: // is not defined on f32
    """
    return (x + y - 1) // y


@_like
def grid(x: Index, y: Index = 1, z: Index = 1) -> None:
    """Says how many blocks run, in up to three directions: the kernel's first statement, evaluated on the host.

    The extents are computed from dimensions, scalar parameters and constants, as in `tc.grid(cdiv(M, bm), cdiv(N, bn))`.

    Example:
        @tc.kernel
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(R)
            j = tc.block_index(0)
            tc.store(O, [j, 0], tc.load(T, [j, 0], [64]))  # O[:] = T
        tc.grid(1)                                         # error: tc.grid is given twice
    """


@_like
def warps(first: int, count: int) -> AbstractContextManager[None]:  # type: ignore[empty-body]
    """`with tc.warps(0, 4):` what follows is run by `count` warps from warp `first` on, and a barrier in it is theirs alone.

    The other warps pass it by, so that several groups work at once. No value leaves it; scalars enter it, tiles through shared memory.

    Example:
        @tc.kernel(warps=2)
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            with tc.warps(1, 1):
                tc.store(O, [0, 0], tc.load(T, [0, 0], [8, 16]))  # O[:8, :16] = T[:8, :16]
        with tc.warps(0, 2): pass                                 # error: warps
    """


def _range(start: Index, stop: Index | None = None, step: Index = 1, *, stages: int = 1, buffers: int | None = None) -> Iterable[Any]:  # type: ignore[empty-body]
    """A loop at run time, like Python's range; `stages` asks that the loads of later rounds be under way during earlier ones.

    `buffers=2` asks moreover that what the first products of a round take be in registers before the last ones of the round before, which takes
    registers for twice the fragments of a step; `buffers=1` forbids it; by default it is done where no other block's work hides the wait for it.

    Example:
        total = s
        for j in tc.range(i):
            total += 1.0
        r = total                         # = s + i
        for j in tc.range(0, i, 0): pass  # error: the step of a range is not 0
    """


def _static_range(start: int, stop: int | None = None, step: int = 1) -> Iterable[int]:  # type: ignore[empty-body]
    """A loop that is unrolled: its counter is a number at compile time, and so are its bounds.

    Example:
        parts = []
        for j in tc.static_range(8):
            parts = [*parts, tc.sum(x[j])]
        r = tc.stack(parts)                # = np.sum(x, axis=1)
        for j in tc.static_range(i): pass  # error: static_range are known at compile time, not i32
    """


_range.__name__, _static_range.__name__ = "range", "static_range"

@_like
def static(x: Any) -> Any:
    """The value of an expression that Python computes when the kernel is compiled: any Python is allowed in it, no value of the program is.

    Example:
        count = tc.static(sum(j * j for j in range(4)))
        r = n + count     # = n + 14
        tc.static(i + 1)  # error: this is computed when the kernel is compiled, but i is i32
    """


@_like
def static_assert(fact: bool, message: str = "") -> None:
    """Refuses to compile unless the fact, known at compile time, holds.

    Example:
        tc.static_assert(x.shape[0] % 8 == 0, "extents come in eights")
        r = x + 1                         # = x + 1
        tc.static_assert(x.shape[0] > 8)  # error: x.shape[0] > 8 does not hold
    """


OPERATIONS: dict[str, Builtin] = {name: Builtin(op) for name, op in BUILTINS.items()}

LANGUAGE: dict[str, Any] = {
    **OPERATIONS,
    "grid": grid,
    "warps": warps,
    "range": _like(_range),
    "static_range": _like(_static_range),
    "cdiv": cdiv,
    "dims": dims,
    "types": types,
    "strided": strided,
    "workspace": workspace,
    "function": function,
    "static": static,
    "static_assert": static_assert,
    "struct": struct,
    "Dim": Dim,
    "DType": DType,
}
