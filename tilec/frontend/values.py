"""What a variable of a kernel may hold: an IR value, a Python object known at compile time, or a tuple or list of such.

Control flow at run time hands on values only. `leaves` and `rebuild` take structures apart and put them together; `materialize` turns
a Python number that changes at run time into a scalar: an int into i32, a float into f32, a bool into bool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from tilec.errors import Code, Loc
from tilec.ir.core import Builder, Value
from tilec.ir.dtypes import DType, bool_, f32, i32
from tilec.ir.ops.base import constant, describe
from tilec.ir.types import SharedType, TensorType, TileType
from tilec.records import record


@record()
class Undefined:
    """Stands for a variable that has no value here, and says why."""

    reason: str
    loc: Loc | None = None
    hint: str | None = None
    code: Code = Code.UNASSIGNED


@record()
class Counting:
    """What `range(...)` gives inside a kernel: the bounds of a loop at run time."""

    start: Any
    stop: Any
    step: Any
    stages: int = 1
    buffers: int | None = None

    def unrolled(self) -> range | None:
        """The same numbers at compile time, if the bounds are known there."""
        bounds = (self.start, self.stop, self.step)
        return range(*bounds) if all(isinstance(x, int) for x in bounds) else None


def is_tile(x: Any) -> bool:
    """Whether it is a tile or scalar of the program."""
    return isinstance(x, Value) and isinstance(x.type, TileType)


def is_scalar(x: Any) -> bool:
    return is_tile(x) and x.type.is_scalar


def leaves(x: Any) -> Iterator[Any]:
    """The parts of a structure of tuples and lists, in order."""
    if isinstance(x, tuple | list):
        for part in x:
            yield from leaves(part)
    else:
        yield x


def rebuild(x: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure with each leaf changed."""
    if isinstance(x, tuple | list):
        parts = [rebuild(part, change) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    return change(x)


def same_structure(x: Any, y: Any) -> bool:
    """Whether two values are nested alike."""
    if isinstance(x, tuple | list) or isinstance(y, tuple | list):
        return type(x) is type(y) and len(x) == len(y) and all(map(same_structure, x, y))
    return True


def has_values(x: Any) -> bool:
    """Whether any part is a value of the program."""
    if isinstance(x, dict):
        return any(map(has_values, x.values()))
    return any(isinstance(part, Value | Counting) for part in leaves(x))


def is_struct(x: Any) -> bool:
    """Whether it is a class that `tc.struct` made."""
    return isinstance(x, type) and issubclass(x, Struct)


class Struct:
    """What instances of decorated classes have in common: they are tuples with names."""

    __slots__ = ()

    def replace(self, **changes: Any) -> Any:
        """A copy in which some fields are other values."""
        return self._replace(**changes)  # type: ignore[attr-defined]


def is_number(x: Any) -> bool:
    return isinstance(x, bool | int | float)


def number_type(x: Any) -> DType:
    """The type that a Python number takes at run time when nothing else says which."""
    return bool_ if isinstance(x, bool) else i32 if isinstance(x, int) else f32


def materialize(b: Builder, x: Any, dtype: DType | None = None) -> Any:
    """A Python number as a scalar; anything else as it is."""
    return constant(b, x, dtype or number_type(x)) if is_number(x) else x


def lift(x: Any) -> Any:
    """A Python object as the parser keeps it: NumPy's scalars become numbers."""
    return x.item() if isinstance(x, np.generic) else x


def same(x: Any, y: Any) -> bool:
    """Whether two objects known at compile time are one and the same as far as a program can tell."""
    return x is y or (type(x) is type(y) and is_number(x) and repr(x) == repr(y)) or (isinstance(x, DType | str) and x == y)


def both(x: Any, y: Any) -> tuple[str, str]:
    """Two things that differ, in a message that names one after the other."""
    one, other = show(x), show(y)
    return one, f"another {other.removeprefix('a ')}" if one == other else other


def memory_hint(*xs: Any) -> str | None:
    """What to do where one of two memories would be chosen at run time."""
    if not any(isinstance(x, Value) and not is_tile(x) for x in xs):
        return None
    if not any(isinstance(x, Value) and isinstance(x.type, SharedType) for x in xs):
        return "which tensor a variable is, is known at compile time: access it on each side"
    return "which part of shared memory a variable is, is known at compile time: let k vary, and write s[:, k : k + 16] where it is used"


def show(x: Any) -> str:
    """A variable's content in a message."""
    if isinstance(x, Value):
        kind = "a tensor " if isinstance(x.type, TensorType) else "" if isinstance(x.type, SharedType | TileType) else "a "
        return kind + describe(x.type)
    if isinstance(x, Struct):
        return f"{type(x).__name__}({', '.join(f'{n}={show(v)}' for n, v in x._asdict().items())})"  # type: ignore[attr-defined]
    if isinstance(x, tuple | list):
        return f"a {type(x).__name__} of {len(x)}"
    if isinstance(x, FunctionType):
        return f"the function {x.__name__}"
    return f"the Python number {x!r}" if is_number(x) else repr(x)
