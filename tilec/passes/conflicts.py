"""Why layouts can't be had: the statements that can't go together, none of which can be left out.

    4   x = tc.load(a, [0, 0], [64, 32], layout=X)     x is stated to lie so
    5   y = x + tc.load(b, [0, 0], [64, 32])            lies as x does
    6   z = tc.dot(y, w)                                wants y as the fragments of its instruction

`tc.conversions` says how far a tile may go from one layout to another. Each statement is then a constraint: it states a layout, or wants one of its
operands, or ties the layouts of its operands and its result. A set of statements is possible if for some arrangement of its products no tile is
told to lie in two layouts between which no way is allowed; layouts are handed along the ties from where they are stated. The set that the error
names is found in two steps: the statements on the way between two layouts that disagree, for each arrangement the shortest that a search in breadth
finds; of these each is left out that the rest is impossible without.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from tilec.errors import Code, Loc, TileError
from tilec.ir.core import Block, Function, Op, Value
from tilec.ir.layout import Layout
from tilec.ir.ops.base import Elementwise
from tilec.ir.ops.control import For, If, While
from tilec.ir.ops.matmul import Dot
from tilec.ir.ops.memory import Shared
from tilec.ir.ops.reduce import Reduce
from tilec.ir.ops.shape import Broadcast, Conversions, ConvertLayout, Reshape, Transpose
from tilec.ir.target import HOW, Hardware, Way
from tilec.ir.types import TileType
from tilec.passes.offers import STRATEGIES, Outlook, ahead_of, behind

MOST = 64  # arrangements of products that are tried


class Fix(NamedTuple):
    """A statement wants a tile in a layout; the words say how."""

    op: Op
    value: Value
    layout: Layout
    words: str


class Tie(NamedTuple):
    """A statement hands layouts on from one tile to another; None if it can't."""

    op: Op
    source: Value
    target: Value
    hand: Callable[[Layout], Layout | None]


FIXES: dict[Any, Callable[[Any, Any], Iterable[Fix]]] = {}  # what ops of other files want


def scopes(function: Function) -> dict[Block, str]:
    """How far conversions may go in each block that says so, or stands in one that does."""
    return {block: op.farthest for block, op in binding(function).items()}


def binding(function: Function) -> dict[Block, Conversions]:
    """What binds each block whose conversions are bound: of all that say so there and around it, the first of the narrowest."""
    found: dict[Block, Conversions] = {}

    def enter(block: Block, outer: list[Conversions]) -> None:
        said = [*outer, *(op for op in block.ops if isinstance(op, Conversions))]
        narrowest = min(said, key=lambda op: HOW.index(op.farthest), default=None)
        if narrowest is not None and narrowest.farthest != HOW[-1]:
            found[block] = narrowest
        for op in block.ops:
            if op.region_fields:
                for region in op.regions:
                    enter(region, said)

    enter(function.body, [])
    return found


def allowed(target: Hardware, tile: TileType, layout: Layout, farthest: str) -> Way | None:
    """The least dear way that goes no farther; None if all do."""
    near = HOW[: HOW.index(farthest) + 1]
    return next((way for way in target.conversions(tile, layout) if way.how in near), None)


def check(a: Outlook, old: Function, new: Function) -> None:
    """Raise TileError if a conversion goes farther than it may, or a slice or concatenation does, whose scratch tiles are there by now."""
    for block, limit in binding(new).items():
        for op in block.ops:
            if isinstance(op, ConvertLayout) and op.layout is not None and allowed(a.target, op.x.type, op.layout, limit.farthest) is None:
                raise conflict(a, old, op, limit)
            if isinstance(op, Shared) and op.scratch:
                hint = "state a layout in which each thread holds what it needs, as in tc.load(..., layout=...), load the parts, or allow shared memory"
                message = f"elements go through shared memory here, and may go through {limit.farthest} at most"
                raise TileError(message, loc=op.loc, hint=hint, notes=said_by(limit), code=Code.CONVERSION)


def said_by(limit: Conversions) -> tuple[tuple[str, Loc], ...]:
    return ((f"conversions may go through {limit.farthest} at most", limit.loc),) if limit.loc else ()


def conflict(a: Outlook, function: Function, conversion: ConvertLayout, limit: Conversions) -> TileError:
    """The error that names the smallest conflicting set; or, should there be none, the two places that this assignment has disagree."""
    found = Constraints(a, function).smallest()
    farthest, notes = limit.farthest, said_by(limit)
    if found is None:
        made, wanted = conversion.because or (conversion.loc, conversion.loc)
        said = [("the tile is made here", made)] if made else []
        hint = "make the tile twice, once for each layout, state the layout that is to be taken, as in tc.load(..., layout=...), or allow more"
        message = f"this wants a tile as it does not lie, and no way there through {farthest} was found"
        return TileError(message, loc=wanted, hint=hint, notes=(*said, *notes), code=Code.CONVERSION)
    places: dict[Loc, str] = {}
    for op, words in found.items():
        if op.loc is not None:
            places.setdefault(op.loc, words)
    *others, last = places
    if not others:
        message = f"this can't be had without a conversion of layouts through more than {farthest}: {places[last]}"
        hint = "make the tile twice, once for each layout, or allow conversions to go farther"
        return TileError(message, loc=last, hint=hint, notes=notes, code=Code.CONVERSION)
    message = f"these {len(places)} can't go together without a conversion of layouts through more than {farthest}: {places[last]}"
    hint = "leave one of these out, state layouts that agree, or allow conversions to go farther"
    return TileError(message, loc=last, hint=hint, notes=(*((places[loc], loc) for loc in others), *notes), code=Code.CONVERSION)


class Constraints:
    """The constraints of a function's statements."""

    def __init__(self, a: Outlook, function: Function):
        self.a = a
        self.a.map.clear()  # what is told of layouts is told anew
        self.ops = [op for op in function.walk() if any(isinstance(v.type, TileType) and v.type.shape for v in (*op.operands, *op.results))]
        self.ties = {op: list(ties(a, op)) for op in self.ops}
        self.words: dict[Op, str] = {}
        self.free = {v: a.is_free(v) for op in self.ops for v in (*op.operands, *op.results, *(x for r in op.regions for x in r.args))}

    def smallest(self) -> dict[Op, str] | None:
        """The statements of a conflicting set of which none can be left out, in the order of the source, and what each says; None if all together are
        possible."""
        kept: set[Op] = set()
        for arrangement in self.arrangements(self.ops):
            met = self.meeting(self.ops, arrangement)
            if met is None:
                return None
            kept |= met
        for op in [op for op in self.ops if op in kept]:
            if not self.possible(kept - {op}):
                kept.discard(op)
        return {op: self.words.get(op) or handed_on(op) for op in self.ops if op in kept}

    def possible(self, ops: Iterable[Op]) -> bool:
        """Whether some arrangement of the products lets all these statements go together."""
        kept = [op for op in self.ops if op in set(ops)]
        return any(self.meeting(kept, arrangement) is None for arrangement in self.arrangements(kept))

    def arrangements(self, ops: Iterable[Op]) -> Iterator[dict[Dot, str]]:
        products = [op for op in ops if isinstance(op, Dot)]
        few = len(STRATEGIES) ** len(products) <= MOST
        for choice in itertools.product(STRATEGIES, repeat=len(products)) if few else ((s,) * len(products) for s in STRATEGIES):
            yield dict(zip(products, choice, strict=True))

    def meeting(self, ops: Iterable[Op], arrangement: dict[Dot, str]) -> set[Op] | None:
        """Hand layouts along, from all that state one at once; the statements on both ways to the first tile where two disagree, None if none do."""
        self.a.arrangements = arrangement  # type: ignore[attr-defined]
        kept = list(ops)
        known: dict[Value, tuple[Layout, Fix, tuple[Op, ...]]] = {}
        waiting: deque[tuple[Value, Layout, Fix, tuple[Op, ...]]] = deque()
        out: dict[Value, list[Tie]] = {}
        for op in kept:
            for fix in fixes(self.a, op):
                waiting.append((fix.value, fix.layout, fix, (op,)))
            for tie in self.ties[op]:
                out.setdefault(tie.source, []).append(tie)
        seen: set[tuple[Value, Layout]] = set()  # of what is made anew wherever it is wanted
        while waiting:
            value, layout, fix, way = waiting.popleft()
            if self.a.farthest(value) == HOW[-1]:
                continue  # it can be had in any layout
            if value in known:
                there, theirs, other = known[value]
                if not self.agree(value, there, layout):
                    self.words.update({f.op: f.words for f in (fix, theirs)})
                    if fix.op is theirs.op and fix.words != theirs.words:
                        self.words[fix.op] = f"{theirs.words}, and {fix.words}"
                    return {*way, *other}
                continue
            if self.free[value]:
                if (value, layout) in seen:
                    continue
                seen.add((value, layout))
            else:
                known[value] = layout, fix, way
            for tie in out.get(value, ()):
                handed = tie.hand(layout)
                if handed is not None:
                    waiting.append((tie.target, handed, fix, way if tie.op in way else (*way, tie.op)))
        return None

    def agree(self, value: Value, x: Layout, y: Layout) -> bool:
        """Whether a tile can go from one layout to the other."""
        if x.threads != y.threads or x.rank != y.rank:
            return True
        types = ((TileType(value.type.dtype, value.type.shape, given), wanted) for given, wanted in ((x, y), (y, x)))
        return any(allowed(self.a.target, tile, wanted, self.a.farthest(value)) is not None for tile, wanted in types)


def handed_on(op: Op) -> str:
    """What a statement ties together, in words."""
    if isinstance(op, For | While | If):
        return "what goes in and what comes out lie alike here"
    return "what is computed together lies alike" if isinstance(op, Elementwise) else "the result lies as its operand does"


def fixes(a: Outlook, op: Any) -> Iterator[Fix]:
    """The layouts that a statement states or wants."""
    if type(op) in FIXES:
        yield from FIXES[type(op)](a, op)
    elif not isinstance(op, Elementwise) and op.results and getattr(op, "layout", None) is not None and op.results[0].type.shape:
        yield Fix(op, op.results[0], op.layout, f"the tile is stated to lie in {op.layout}")


def ties(a: Outlook, op: Any) -> Iterator[Tie]:
    """The tiles that lie alike for a statement, both ways."""
    made = op.results[0] if op.results else None
    if isinstance(op, Elementwise) or (isinstance(op, ConvertLayout) and op.layout is None):
        for v in op.operands if made is not None and made.type.shape else ():
            if v.type.shape:
                yield Tie(op, made, v, same)  # type: ignore[arg-type]
                if not a.is_free(v):
                    yield Tie(op, v, made, same)  # type: ignore[arg-type]
    elif isinstance(op, Broadcast | Transpose | Reshape | Reduce) and op.x.type.shape and op.results[0].type.shape:
        if not isinstance(op, Broadcast) and not a.is_free(op.x):
            yield Tie(op, op.x, op.results[0], lambda layout: behind(op, layout))
        if not isinstance(op, Reduce):
            yield Tie(op, op.results[0], op.x, lambda layout: ahead_of(op, layout))
    elif isinstance(op, For | While):
        for init, arg, last, result in zip(op.inits, op.body.args[-len(op.inits) :] if op.inits else (), op.body.yielded, op.results, strict=False):
            if isinstance(init.type, TileType) and init.type.shape:
                yield from both(op, arg, last)
                yield from both(op, last, result)
                if not a.is_free(init):
                    yield from both(op, init, arg)
    elif isinstance(op, If):
        for side in op.regions:
            for value, result in zip(side.yielded, op.results, strict=True):
                if isinstance(value.type, TileType) and value.type.shape and not a.is_free(value):
                    yield from both(op, value, result)


def both(op: Op, x: Value, y: Value) -> Iterator[Tie]:
    yield Tie(op, x, y, same)
    yield Tie(op, y, x, same)


def same(layout: Layout) -> Layout:
    return layout
