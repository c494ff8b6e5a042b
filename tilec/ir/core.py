"""What a program is: values, operations with regions, blocks, functions, and the builder that makes them.

An operation is a class whose annotated fields say everything about its form: fields of type `Value` are operands, of type `Block`
regions, all others attributes. The printer, the parser, the clone and the frontend's builtin are derived from the fields.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, ClassVar, NamedTuple

from tilec.errors import Loc, require
from tilec.ir.types import SharedType, TensorType, TileType, Type, Warps
from tilec.records import field, record

__all__ = ["BUILTINS", "OPS", "Block", "Builder", "Effect", "Field", "Function", "Kind", "Op", "Rewriter", "Value", "Yield"]


class Value:
    """An SSA value: a type, and a name that is only a hint for people."""

    __slots__ = ("name", "owner", "type")

    def __init__(self, type: Type, name: str = "", owner: Op | Block | None = None):
        self.type: Any = type  # a TileType, TensorType or SharedType: op classes know which one they ask for
        self.name = name
        self.owner = owner

    def __repr__(self) -> str:
        return f"<Value {self.name}: {self.type}>"


class Effect(Enum):
    """What an operation does besides giving results."""

    NONE = auto()  # may be removed, repeated, moved
    READ = auto()  # reads memory: may be removed, not moved across writes
    WRITE = auto()  # writes memory
    SYNC = auto()  # waits for other threads or blocks
    DEBUG = auto()  # is seen by a person


class Kind(Enum):
    """What a field of an op is."""

    OPERAND = auto()  # Value
    OPTIONAL = auto()  # Value | None
    VARIADIC = auto()  # tuple[Value, ...]
    REGION = auto()  # Block
    ATTRIBUTE = auto()  # anything else


_KINDS = {"Value": Kind.OPERAND, "Value | None": Kind.OPTIONAL, "tuple[Value, ...]": Kind.VARIADIC, "Block": Kind.REGION}
_MISSING: Any = object()


class Field(NamedTuple):
    """A field of an op class: its name, what it is, its default, and its annotation as written."""

    name: str
    kind: Kind
    default: Any
    annotation: str


OPS: dict[str, type[Op]] = {}  # every op class by its mnemonic
BUILTINS: dict[str, type[Op]] = {}  # what authors may write, by its name in the language


class Op:
    """The base of all operations. A subclass declares fields, `infer`, and, unless it is control flow, `eval`.

    `infer` returns the type of the result, a tuple of types, or None, and raises TileError through `require` on wrong operands:
    it is type rule and verifier in one. `eval(ctx, *operands)` gives the results on wide carriers (float64, int64, uint64, bool),
    each array with a leading axis for blocks that is 1 where all blocks agree; the interpreter rounds to the result type.
    """

    mnemonic: ClassVar[str] = ""  # the name in textual IR; derived from the class name unless given
    builtin: ClassVar[str | None] = None  # the name in the language, if authors may write it
    effect: ClassVar[Effect] = Effect.NONE
    isolated: ClassVar[bool] = False  # whether its regions see nothing from outside
    abstract: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = ()
    operand_fields: ClassVar[tuple[tuple[str, Kind], ...]] = ()  # name and kind
    region_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        cls.abstract = abstract
        if len(cls.__bases__) > 1 or "__annotations__" in cls.__dict__ or any(f.name in cls.__dict__ for f in cls.fields):  # else they are the base's
            cls.fields = tuple(_fields_of(cls))
            cls.operand_fields = tuple((f.name, f.kind) for f in cls.fields if f.kind not in (Kind.ATTRIBUTE, Kind.REGION))
            cls.region_fields = tuple(f.name for f in cls.fields if f.kind is Kind.REGION)
        if cls.__dict__.get("builtin"):
            BUILTINS[cls.builtin] = cls  # type: ignore[index]
        if not abstract:
            if "mnemonic" not in cls.__dict__:
                cls.mnemonic = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
            assert cls.mnemonic not in OPS, f"two ops are called {cls.mnemonic}"
            OPS[cls.mnemonic] = cls

    def __init__(self, *args: Any, **kwargs: Any):
        self.loc: Loc | None = None
        self.results: tuple[Value, ...] = ()
        for f, given in zip(self.fields, args, strict=False):
            setattr(self, f.name, given)
        assert len(args) <= len(self.fields), f"{self.mnemonic} takes {len(self.fields)} fields"
        for f in self.fields[len(args) :]:
            value = kwargs.pop(f.name, f.default)
            assert value is not _MISSING, f"{self.mnemonic} needs {f.name}"
            setattr(self, f.name, value)
        assert not kwargs, f"{self.mnemonic} has no {', '.join(kwargs)}"

    # what a subclass says

    def infer(self) -> Type | tuple[Type, ...] | None:
        raise NotImplementedError(type(self).__name__)

    def eval(self, ctx: Any, *operands: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def unrounded(self, ctx: Any, *operands: Any) -> Any:
        """What `eval` gives if nothing is rounded, inside of it either; None if that has no meaning, as of an operation on bits."""
        return self.eval(ctx, *operands)

    # what follows from the fields

    @property
    def operands(self) -> tuple[Value, ...]:
        """All operands in the order of the fields; an absent optional one is left out."""
        found: list[Value] = []
        for name, kind in self.operand_fields:
            given = getattr(self, name)
            if kind is Kind.VARIADIC:
                found += given
            elif given is not None:
                found.append(given)
        return tuple(found)

    @property
    def written(self) -> tuple[Value, ...]:
        """The operands whose memory the op may change."""
        if self.effect not in (Effect.WRITE, Effect.SYNC):
            return ()
        return tuple(v for v in self.operands if isinstance(v.type, TensorType | SharedType))

    @property
    def regions(self) -> tuple[Block, ...]:
        return tuple(getattr(self, name) for name in self.region_fields)

    @property
    def attributes(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in self.fields if f.kind is Kind.ATTRIBUTE}

    @property
    def result(self) -> Value:
        assert len(self.results) == 1, f"{self.mnemonic} has {len(self.results)} results"
        return self.results[0]

    def inferred(self) -> tuple[Type, ...]:
        """The result types as a tuple."""
        types = self.infer()
        return () if types is None else types if isinstance(types, tuple) else (types,)

    def verify(self) -> None:
        """Raise TileError at this op's place unless re-inference gives the types that its results have."""
        with self.loc or _NOWHERE:
            types = self.inferred()
            for value, type in zip(self.results, types, strict=True):
                require(value.type == type, f"{self.mnemonic} gives {type}, but its result says {value.type}")

    def walk(self) -> Iterator[Op]:
        """This op and all ops in its regions, outside first."""
        yield self
        for region in self.regions:
            yield from region.walk()


def _fields_of(cls: type[Op]) -> Iterator[Field]:
    """Fields of a class, then those of its bases, so that what a mixin adds comes last."""
    seen = set()
    for base in cls.__mro__:
        for name, note in _noted(base):
            if name not in seen and base is not Op:
                seen.add(name)
                yield Field(name, _KINDS.get(note, Kind.ATTRIBUTE), getattr(cls, name, _MISSING), note)


@functools.cache
def _noted(base: type) -> list[tuple[str, str]]:
    """The annotations of a class itself, as text, but for class variables."""
    notes = ((name, note if isinstance(note, str) else getattr(note, "__name__", str(note))) for name, note in inspect.get_annotations(base).items())
    return [(name, note) for name, note in notes if not note.startswith("ClassVar")]


_NOWHERE = Loc("<unknown>", 0)


@record(frozen=False, eq=False)
class Block:
    """A straight list of ops with arguments; the last op may be a `Yield`."""

    args: tuple[Value, ...] = ()
    ops: list[Op] = field(default_factory=list)

    def walk(self) -> Iterator[Op]:
        for op in self.ops:
            if op.region_fields:
                yield from op.walk()
            else:
                yield op

    @property
    def yielded(self) -> tuple[Value, ...]:
        """What the block's `Yield` hands over; empty without one."""
        return self.ops[-1].operands if self.ops and isinstance(self.ops[-1], Yield) else ()


class Yield(Op):
    """Ends a region and hands its values to the op that holds the region."""

    values: tuple[Value, ...] = ()

    def infer(self) -> None:
        return None


@record(frozen=False, eq=False)
class Function:
    """A kernel: parameters, what the host evaluates before launch, and the program of one block of threads.

    `params` are in the order of the PTX parameters: the source's own, then dimensions, then strides of strided tensors.
    `launch` runs on the host: it sees scalar parameters and dimensions, holds the assumptions, and yields the grid's extents.
    """

    name: str
    params: tuple[Value, ...]
    launch: Block
    body: Block
    warps: int = 4
    constants: dict[str, Any] = field(default_factory=dict)
    loc: Loc | None = None

    @property
    def threads(self) -> int:
        return 32 * self.warps

    def param(self, name: str) -> Value:
        """The parameter of that name."""
        return next(p for p in self.params if p.name == name)

    def walk(self) -> Iterator[Op]:
        """All ops of the body, outside first, in order."""
        return self.body.walk()

    def verify(self) -> Function:
        """Check every op by re-inference, and that every operand is defined before it is used. Returns the function."""
        for block in (self.launch, self.body):
            _verify_block(block, set(self.params))
        return self

    def __str__(self) -> str:
        from tilec.ir.text import print_function  # the printer imports this module

        return print_function(self)


def _verify_block(block: Block, known: set[Value]) -> None:
    known = known | set(block.args)
    for op in block.ops:
        for operand in op.operands:
            require(operand in known, f"{op.mnemonic} uses %{operand.name} before it is defined", loc=op.loc)
        for region in op.regions:
            _verify_block(region, set() if op.isolated else known)
        op.verify()
        known |= set(op.results)


class Builder:
    """Appends ops to a block. `loc` and `group` are stamped on each op it makes."""

    def __init__(self, block: Block, loc: Loc | None = None, group: Warps | None = None):
        self.block = block
        self.loc = loc
        self.group = group

    def insert(self, op: Op) -> tuple[Value, ...]:
        """Append an op, give it results of the inferred types, and return them."""
        op.loc = op.loc or self.loc
        if self.group is not None and any(f.name == "group" for f in op.fields) and getattr(op, "group", None) is None:
            op.group = self.group  # type: ignore[attr-defined]
        with op.loc or _NOWHERE:
            types = op.inferred()
        return self.append(op, types)

    def append(self, op: Op, types: Iterable[Type]) -> tuple[Value, ...]:
        """Append an op whose result types are known."""
        op.loc = op.loc or self.loc
        op.results = tuple(Value(t, owner=op) for t in types)
        self.block.ops.append(op)
        return op.results

    def emit(self, op: Op) -> Value:
        """Append an op that has one result and return it."""
        (result,) = self.insert(op)
        return result

    def inside(self, block: Block) -> Builder:
        """A builder like this one that appends to another block."""
        return Builder(block, self.loc, self.group)


class Rewriter:
    """Rebuilds a function op by op: the base of most passes.

    A subclass overrides `visit(op)`, which sees the old op and says what stands in its place: it emits through `self.b` and
    returns the new values for the old results; `self(value)` is the new value of an old one. The default, `clone`, copies.
    """

    def __init__(self) -> None:
        self.map: dict[Value, Value] = {}
        self.builders: list[Builder] = []  # of the blocks under construction, outermost first

    @property
    def b(self) -> Builder:
        """Where new ops go."""
        return self.builders[-1]

    def __call__(self, value: Any) -> Any:
        """The new value that stands for an old one (or for each of a tuple); None stays None."""
        if value is None:
            return None
        if isinstance(value, tuple):
            return tuple(self(v) for v in value)
        return self.map.get(value, value)

    def run(self, function: Function) -> Function:
        self.function = function
        launch = self.block(function.launch)
        body = self.block(function.body)
        return Function(function.name, function.params, launch, body, function.warps, dict(function.constants), function.loc)

    def block(self, old: Block, arg_types: Sequence[Type] | None = None) -> Block:
        """A rebuilt copy of a block, with arguments of other types if given."""
        types = arg_types or [a.type for a in old.args]
        new = Block()
        new.args = tuple(Value(t, a.name, new) for t, a in zip(types, old.args, strict=True))
        self.map.update(zip(old.args, new.args, strict=True))
        with self.into(new):
            for op in old.ops:
                self.b.loc = op.loc
                self.replace(op, self.visit(op))
        return new

    @contextmanager
    def into(self, block: Block) -> Iterator[Builder]:
        """New ops go to the end of a block."""
        self.builders.append(Builder(block, self.builders[-1].loc if self.builders else None))
        try:
            yield self.builders[-1]
        finally:
            self.builders.pop()

    def replace(self, op: Op, new: Value | Iterable[Value] | None) -> None:
        """Record what stands for the results of an old op."""
        values = (new,) if isinstance(new, Value) else tuple(new or ())
        for old, value in zip(op.results, values, strict=True):
            value.name = value.name or old.name
            self.map[old] = value

    def visit(self, op: Op) -> Value | Iterable[Value] | None:
        return self.clone(op)

    def clone(self, op: Op, **changes: Any) -> tuple[Value, ...]:
        """Copy an op with its operands mapped and its regions rebuilt; `changes` replace fields, in new values."""
        new = self.copy(op, **changes)
        if changes or op.region_fields or any(a.type != b.type for a, b in zip(op.operands, new.operands, strict=True)):
            return self.b.insert(new)
        return self.b.append(new, [v.type for v in op.results])  # of equal operands and attributes equal types follow

    def copy(self, op: Op, **changes: Any) -> Op:
        """The clone, not inserted yet."""
        new = object.__new__(type(op))
        new.__dict__.update(op.__dict__, results=(), **changes)
        for name, _ in op.operand_fields:
            if name not in changes:
                setattr(new, name, self(getattr(op, name)))
        for name in op.region_fields:
            if name not in changes:
                setattr(new, name, self.block(getattr(op, name)))
        return new


def scalar(dtype: Any) -> TileType:
    """The type of a scalar."""
    return TileType(dtype)
