"""Records do what dataclasses do: the same classes are made both ways, and compared."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from functools import cached_property
from typing import Any, ClassVar

import pytest

from tilec import records


def made(decorator: Any, field: Any) -> dict[str, type]:
    """Some classes by either way of making them."""

    @decorator(frozen=True)
    class Point:
        x: int
        y: float = 0.5
        kind: ClassVar[str] = "point"
        note: str = field(default="none", compare=False, repr=False)

        @cached_property
        def doubled(self) -> float:
            return 2 * self.x

    @decorator(frozen=True)
    class Named(Point):
        x: int = 7
        name: str = "p"
        fixed: int = field(default=3, init=False)

    @decorator(frozen=False)
    class Bag:
        things: list[int] = field(default_factory=list)
        hidden: dict[str, int] = field(default_factory=dict, init=False)

    @decorator(frozen=True, eq=False)
    class Itself:
        x: int

    @decorator(frozen=True, repr=False)
    class Odd:
        x: int

        def __post_init__(self) -> None:
            if self.x % 2 == 0:
                raise ValueError(self.x)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Odd) and self.x % 10 == other.x % 10

        def __hash__(self) -> int:
            return self.x % 10

        def __repr__(self) -> str:
            return f"odd {self.x}"

    @decorator(frozen=True)
    class Nothing:
        pass

    return {c.__name__: c for c in (Point, Named, Bag, Itself, Odd, Nothing)}


OURS, THEIRS = made(records.record, records.field), made(dataclasses.dataclass, dataclasses.field)
CALLS = [
    ("Point", (1,), {}), ("Point", (1, 2.0), {"note": "n"}), ("Point", (), {"y": 1.0, "x": 2}), ("Named", (), {}), ("Named", (1, 2.0, "n", "m"), {}),
    ("Bag", (), {}), ("Bag", ([1],), {}), ("Itself", (4,), {}), ("Odd", (3,), {}), ("Odd", (13,), {}), ("Nothing", (), {}),
    ("Point", (), {}), ("Point", (1, 2.0, "n", 3), {}), ("Named", (), {"fixed": 4}), ("Odd", (2,), {}), ("Bag", (), {"hidden": {}}),
]  # fmt: skip


def result(classes: dict[str, type], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        x = classes[name](*args, **kwargs)
    except (TypeError, ValueError) as e:
        return type(e)
    return repr(x).replace("made.<locals>.", ""), vars(x), type(x).__match_args__


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_the_same_objects_and_the_same_refusals(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert result(OURS, name, args, kwargs) == result(THEIRS, name, args, kwargs)


def test_the_same_equalities_and_hashes() -> None:
    def relations(classes: dict[str, type]) -> list[Any]:
        made = [classes[name](*args, **kwargs) for name, args, kwargs in CALLS[:11] for _ in range(2)]
        hashed = [type(x).__hash__ is not None and hash(x) == hash(y) for x in made for y in made if type(y).__hash__ is not None]
        return [[x == y for x in made for y in made], hashed, [x != 1 for x in made]]

    assert relations(OURS) == relations(THEIRS)


@pytest.mark.parametrize("classes", [OURS, THEIRS], ids=["records", "dataclasses"])
def test_frozen_ones_do_not_change(classes: dict[str, type]) -> None:
    x: Any = classes["Point"](1)
    with pytest.raises(AttributeError, match="x"):
        x.x = 2
    with pytest.raises(AttributeError):
        del x.x
    assert (x.x, x.doubled) == (1, 2)
    bag: Any = classes["Bag"]()
    bag.things = [3]
    assert bag.things == [3]
    assert classes["Bag"]().things == []
    assert bag.hidden is not classes["Bag"]().hidden


@pytest.mark.parametrize("name", ["Point", "Named", "Bag"])
def test_replace(name: str) -> None:
    for change in ({}, {"x": 5}, {"things": [2]}, {"fixed": 1}):
        outcomes = []
        for classes, replace in ((OURS, records.replace), (THEIRS, dataclasses.replace)):
            x = classes[name]() if name != "Point" else classes[name](1, note="n")
            try:
                outcomes.append(vars(replace(x, **change)))  # type: ignore[type-var]
            except (TypeError, ValueError):
                outcomes.append({"refused": True})
        assert outcomes[0] == outcomes[1]


def test_signatures_names_and_copies() -> None:
    for name in ("Point", "Named", "Itself", "Odd", "Nothing"):
        assert list(inspect.signature(OURS[name]).parameters) == list(inspect.signature(THEIRS[name]).parameters)
        assert list(records.names(OURS[name])) == [f.name for f in dataclasses.fields(THEIRS[name])]  # type: ignore[arg-type]
    x = OURS["Named"](1, note="n")
    assert copy.deepcopy(x) == x
    assert copy.copy(x).note == "n"


def test_tilecs_own_are_pickled() -> None:
    from tilec import f16, int3
    from tilec.errors import Loc

    for x in (f16, int3, Loc("a.py", 3)):
        assert pickle.loads(pickle.dumps(x)) == x
