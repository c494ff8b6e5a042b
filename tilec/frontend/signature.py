"""A kernel's parameters, read from its annotations.

    def k(a: f16[M, K], scale: f32, w: W[K, N], c: tc.strided(f16[M, N]), *, bm: int = 64, W: DType = int6)

Positional parameters are tensors and scalars, keyword-only ones are constants of the compilation. A name in a tensor's annotation
that is also a constant of the kernel is that constant: here W is an element type; a dimension may be one as well.
"""

from __future__ import annotations

import builtins
import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

from tilec.errors import Code, TileError, require
from tilec.frontend.builtins import Dim, Strided, TypeName, Workspace
from tilec.frontend.source import Source
from tilec.ir.core import Value
from tilec.ir.dtypes import DType, Shaped, bool_, f32, i32, i64
from tilec.ir.layout import Layout
from tilec.ir.types import TensorType, TileType
from tilec.records import field, record

RESERVED = ("stream", "arch", "stage")
REQUIRED: Any = inspect.Parameter.empty

_INSTEAD = {int: i32, float: f32, bool: bool_}
_CHECKED: dict[type, tuple[type, ...]] = {
    int: (int,), float: (int, float), bool: (bool,), str: (str,), DType: (DType,), Layout: (Layout,),
}  # fmt: skip


@record()
class Parameter:
    """A tensor or scalar that a launch is given. `dtype` or an extent may be the name of a constant, other extents are dimensions."""

    name: str
    dtype: DType | TypeName
    shape: tuple[int | str, ...] = ()
    is_tensor: bool = False
    strided: bool = False
    workspace: bool = False  # zeros before and after a run; provided where a call leaves it out

    def type(self, constants: dict[str, Any]) -> TensorType | TileType:
        """Its type, once the constants are known."""
        dtype = constants[self.dtype.name] if isinstance(self.dtype, TypeName) else self.dtype
        require(isinstance(dtype, DType), f"the elements of {self.name} are of type {self.dtype}, which is {dtype!r}", hint="as in int6", code=Code.CONSTANT)
        if not self.is_tensor:
            return TileType(dtype)
        return TensorType(dtype, tuple(self._extent(n, constants) for n in self.shape), self.strided)

    def _extent(self, n: int | str, constants: dict[str, Any]) -> int | str:
        """An extent, or the constant of that name."""
        if n not in constants:
            return n
        found = constants[str(n)]
        good = isinstance(found, int) and not isinstance(found, bool) and found > 0
        require(good, f"{self.name} has an extent {n} of {found!r}", hint="extents are positive integers", code=Code.EXTENT)
        return found


@record()
class Constant:
    """A keyword-only parameter: known when the kernel is compiled."""

    name: str
    annotation: Any = None
    default: Any = REQUIRED

    def check(self, value: Any) -> Any:
        """The value as the kernel sees it; TileError if it is not what the annotation says."""
        if hasattr(value, "item") and hasattr(value, "dtype") and not getattr(value, "shape", ()):
            value = value.item()
        wanted = _CHECKED.get(self.annotation) if isinstance(self.annotation, type) else None
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and self.annotation in (int, float))):
            raise TileError(f"the constant {self.name} is {_a(self.annotation.__name__)}, not {value!r}", code=Code.CONSTANT)
        return value


@record()
class Signature:
    """What a kernel takes: parameters of a launch, constants of a compilation."""

    name: str
    parameters: tuple[Parameter, ...]
    constants: tuple[Constant, ...]
    source: Source = field(compare=False, repr=False)

    def resolve(self, constants: dict[str, Any]) -> dict[str, Any]:
        """All constants, with defaults filled in, in order of declaration. TileError for unknown, missing and unfit ones."""
        self._know(constants)
        found = {}
        for c in self.constants:
            value = constants.get(c.name, c.default)
            require(value is not REQUIRED, f"{self.name} needs the constant {c.name}", hint=f"as in {self.name}(..., {c.name}=...)", code=Code.CALL)
            found[c.name] = c.check(value)
        return found

    def with_constants(self, given: dict[str, Any]) -> Signature:
        """The same, some constants having other defaults. TileError for unknown and unfit ones."""
        self._know(given)
        constants = tuple(Constant(c.name, c.annotation, c.check(given[c.name]) if c.name in given else c.default) for c in self.constants)
        return Signature(self.name, self.parameters, constants, self.source)

    def _know(self, constants: dict[str, Any]) -> None:
        known = [c.name for c in self.constants]
        for name in constants:
            if name not in known:
                raise TileError(f"{self.name} has no constant {name}", hint=f"it has {', '.join(known)}" if known else "it has none", code=Code.CALL)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments of a call by name, and its constants, resolved. TileError names what is missing or too much."""
        names = [p.name for p in self.parameters]
        require(len(args) <= len(names), f"{self.name} takes {len(names)} arguments ({', '.join(names)}), not {len(args)}", code=Code.CALL)
        given = dict(zip(names, args, strict=False))
        constants: dict[str, Any] = {}
        for name, value in kwargs.items():
            require(name not in given, f"{self.name} is given {name} twice", code=Code.CALL)
            (given if name in names else constants)[name] = value
        missing = [n for n in names if n not in given and n not in self.workspaces]
        require(not missing, f"{self.name} lacks {'the argument' if len(missing) == 1 else 'arguments'} {', '.join(missing)}", code=Code.CALL)
        return {n: given[n] for n in names if n in given}, self.resolve(constants)

    @property
    def workspaces(self) -> tuple[str, ...]:
        """Names of the parameters that launchers provide."""
        return tuple(p.name for p in self.parameters if p.workspace)

    def types(self, constants: dict[str, Any]) -> dict[str, TensorType | TileType]:
        """The type of each parameter, constants given (as `resolve` gives them)."""
        found = {}
        for p in self.parameters:
            try:
                found[p.name] = p.type(constants)
            except TileError as error:
                error.loc = error.loc or self.source.argument(p.name)
                raise
        return found

    def dims(self, constants: dict[str, Any]) -> list[str]:
        """Names of the runtime dimensions in order of first appearance."""
        tensors = [t for t in self.types(constants).values() if isinstance(t, TensorType)]
        return list(dict.fromkeys(n for t in tensors for n in t.shape if isinstance(n, str)))

    def values(self, constants: dict[str, Any]) -> tuple[Value, ...]:
        """Parameters as the function takes them: the source's own, dimensions (i32), strides of strided tensors (i64, in elements)."""
        types = self.types(constants)
        own = [Value(t, name) for name, t in types.items()]
        dims = [Value(TileType(i32), name) for name in self.dims(constants)]
        strides = [
            Value(TileType(i64), f"{name}.stride{axis}")
            for name, t in types.items()
            if isinstance(t, TensorType) and t.strided
            for axis in range(t.rank)
        ]
        return (*own, *dims, *strides)


def signature(function: Callable[..., Any]) -> Signature:
    """Read the signature of a Python function that is to be a kernel. TileError at the parameter that is wrong."""
    try:
        return _Reader(function).signature()
    except TileError as error:
        raise error.with_traceback(None) from None


class _Reader:
    def __init__(self, function: Callable[..., Any]):
        require(inspect.isfunction(function), f"a kernel is a Python function, not {function!r}", code=Code.SOURCE)
        self.function = function
        self.source = Source(function)
        self.given = inspect.signature(function).parameters

    def signature(self) -> Signature:
        constants: list[Constant] = []
        parameters: list[Parameter] = []
        for p in self.given.values():
            try:
                self._check(p)
                if p.kind is p.KEYWORD_ONLY:
                    constants.append(Constant(p.name, self._annotation(p), p.default))
                else:
                    parameters.append(self._parameter(p))
            except TileError as error:
                error.loc = error.loc or self.source.argument(p.name)
                raise
        found = Signature(self.function.__name__, tuple(parameters), tuple(constants), self.source)
        self._check_names(found)
        return found

    def _check(self, p: inspect.Parameter) -> None:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TileError(f"a kernel has no *{p.name}", hint="declare each parameter")
        require(p.name not in RESERVED, f"{p.name} is a reserved name", hint=f"calls take {', '.join(RESERVED)} themselves: choose another")

    def _check_names(self, found: Signature) -> None:
        """A dimension and a scalar of one name could not be told apart."""
        scalars = {p.name for p in found.parameters}
        for p in found.parameters:
            for n in p.shape:
                if n in scalars:
                    raise TileError(
                        f"{n} is a dimension of {p.name} and a parameter", loc=self.source.argument(str(n)), hint="rename the parameter", code=Code.EXTENT
                    )

    def _parameter(self, p: inspect.Parameter) -> Parameter:
        annotation = self._annotation(p)
        if p.default is not p.empty:
            raise TileError(
                f"{p.name} is an argument of the launch and has no default",
                hint="put constants behind a bare *, as in (a: f16[M], *, bm: int = 64)",
            )
        if annotation is p.empty:
            raise TileError(f"{p.name} has no type", hint="annotate it, as in f16[M, K] for a tensor or f32 for a scalar")
        if isinstance(annotation, Shaped | Strided):
            shaped = annotation.shaped if isinstance(annotation, Strided) else annotation
            dtype: Any = shaped.dtype
            if isinstance(dtype, TypeName):
                self._check_type_name(dtype)
            own = isinstance(annotation, Workspace)
            return Parameter(p.name, dtype, tuple(self._extents(p.name, shaped.shape)), True, isinstance(annotation, Strided) and not own, own)
        if isinstance(annotation, DType):
            require(
                annotation.computes, f"{p.name} is a scalar of a storage type, {annotation}", hint="pass it as i32 or f32, or as a tensor"
            )
            return Parameter(p.name, annotation)
        if isinstance(annotation, TypeName):
            self._check_type_name(annotation)
            return Parameter(p.name, annotation)
        if annotation in _INSTEAD:
            raise TileError(
                f"{p.name}: {annotation.__name__} does not say how wide it is",
                hint=f"write {_INSTEAD[annotation]} for a scalar of the launch",
            )
        raise TileError(
            f"{p.name} has no type that tilec knows: {annotation!r}", hint="annotate it, as in f16[M, K] for a tensor or f32 for a scalar"
        )

    def _check_type_name(self, name: TypeName) -> None:
        constants = [p.name for p in self.given.values() if p.kind is p.KEYWORD_ONLY]
        require(name.name in constants, f"the type {name} is not a constant of the kernel", hint=f"add it: (..., *, {name}: DType = f16)", code=Code.EXTENT)

    def _extents(self, name: str, dims: tuple[Any, ...]) -> Iterator[int | str]:
        for n in dims:
            if isinstance(n, Dim):
                yield n.name
            elif isinstance(n, int) and not isinstance(n, bool):
                require(n > 0, f"{name} has an extent of {n}", hint="extents are positive", code=Code.EXTENT)
                yield operator.index(n)
            else:
                raise TileError(
                    f"{name} has an extent that is neither a dimension nor an integer: {n!r}", hint='name dimensions by tc.dims("M N")', code=Code.EXTENT
                )

    def _annotation(self, p: inspect.Parameter) -> Any:
        """An annotation's value; a string (from `from __future__ import annotations`) is evaluated where the kernel stands."""
        if not isinstance(p.annotation, str):
            return p.annotation
        names = {**vars(builtins), **self.function.__globals__, **self.source.closure}
        try:
            return eval(p.annotation, names)
        except TileError:
            raise
        except Exception as error:
            if p.kind is p.KEYWORD_ONLY:
                return None  # an ordinary annotation, which tilec does not need
            raise TileError(f"the type of {p.name} can't be evaluated: {error}") from None


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
