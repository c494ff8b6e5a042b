"""Classes of named fields, as `dataclasses` makes them, in a quarter of the time.

`import tilec` makes some forty such classes. `dataclasses` compiles up to six functions for each of them, a quarter of the time that the
import takes; here only `__init__` is compiled, and the rest is shared. What is not needed is not here: orders, slots, keyword-only fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[T], T]:
        return lambda made: made


MISSING: Any = type("Missing", (), {"__repr__": lambda self: "(none)"})()


class Field:
    """What is known of a field besides its name; see `field`."""

    def __init__(self, default: Any = MISSING, factory: Any = MISSING, init: bool = True, repr: bool = True, compare: bool = True):
        self.default, self.factory, self.init, self.repr, self.compare = default, factory, init, repr, compare


def field(*, default: Any = MISSING, default_factory: Any = MISSING, init: bool = True, repr: bool = True, compare: bool = True) -> Any:
    """A field with a default that is made anew each time, or that `__init__` does not take, or `__repr__` or `__eq__` leave out."""
    return Field(default, default_factory, init, repr, compare)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(*, frozen: bool = True, eq: bool = True, repr: bool = True) -> Callable[[type[T]], type[T]]:
    """Makes a record of a class: its annotated attributes are fields, after those of its bases.

    A `frozen` one can't be changed, and has a hash; one that can has none, unless it is compared by identity: `eq=False`. The class may
    define any of the methods itself, and `__post_init__`.
    """

    def make(cls: type[T]) -> type[T]:
        fields = {name: known for base in reversed(cls.__mro__[1:]) for name, known in base.__dict__.get("__fields__", {}).items()}
        for name, note in inspect.get_annotations(cls).items():
            if not note.startswith("ClassVar"):
                default = cls.__dict__.get(name, MISSING)
                fields[name] = default if isinstance(default, Field) else Field(default)
                if isinstance(default, Field):
                    delattr(cls, name) if default.default is MISSING else setattr(cls, name, default.default)
        methods: dict[str, Any] = {"__init__": _init(cls, fields, frozen)}
        if repr:
            methods["__repr__"] = _repr
        if eq:
            methods["__eq__"], methods["__hash__"] = _comparison(cls, [name for name, known in fields.items() if known.compare])
            if not frozen:
                methods["__hash__"] = None
        if frozen:
            methods |= {"__setattr__": _frozen, "__delattr__": _frozen}
        for name, method in methods.items():
            if name not in cls.__dict__ or (name == "__hash__" and "__eq__" not in cls.__dict__):
                setattr(cls, name, method)
        cls.__fields__ = fields  # type: ignore[attr-defined]
        cls.__match_args__ = tuple(name for name, known in fields.items() if known.init)  # type: ignore[attr-defined, misc]
        return cls

    return make


def names(x: Any) -> Iterable[str]:
    """The names of a record's fields, or of its class's. Raises AttributeError for what is no record."""
    return x.__fields__  # type: ignore[no-any-return]


def replace(x: T, /, **changes: Any) -> T:
    """A record like `x` but for some fields."""
    known: dict[str, Field] = x.__fields__  # type: ignore[attr-defined]
    return type(x)(**{name: getattr(x, name) for name, field in known.items() if field.init} | changes)


def _init(cls: type, fields: dict[str, Field], frozen: bool) -> Any:
    """`__init__`, which is compiled, as nothing else is as quick to call. Names of its own begin with two underscores."""
    scope: dict[str, Any] = {"__missing": MISSING, "__set": object.__setattr__}
    taken, lines = ["self"], []
    for name, known in fields.items():
        value = name
        if known.factory is not MISSING:
            scope[f"__make_{name}"] = known.factory
            value = f"__make_{name}() if {name} is __missing else {name}" if known.init else f"__make_{name}()"
        elif known.default is not MISSING:
            scope[f"__default_{name}"] = known.default
        if known.init:
            default = "=__missing" if known.factory is not MISSING else f"=__default_{name}" if known.default is not MISSING else ""
            taken.append(name + default)
        elif known.factory is MISSING:
            continue  # the class's own attribute
        lines.append(f"__set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    exec(f"def __init__({', '.join(taken)}):\n " + ("\n ".join(lines) or "pass"), scope)
    made = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _comparison(cls: type, compared: list[str]) -> tuple[Any, Any]:
    """`__eq__` and `__hash__` by the values of some fields."""
    values: Any = attrgetter(*compared) if len(compared) > 1 else lambda x: tuple(getattr(x, name) for name in compared)

    def __eq__(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __eq__, __hash__


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, known in self.__fields__.items() if known.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _frozen(self: Any, name: str, *_: Any) -> None:
    raise AttributeError(f"{name!r} of a {type(self).__name__} can't be changed; records.replace makes another")
