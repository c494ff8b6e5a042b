"""Which shared tiles may lie in the same place: those whose uses a barrier of the whole block keeps apart.

    %s = shared ..     ; offset=0
    store_shared %s, ..; sync; %x = load_shared %s; sync          # the last use of %s, and a barrier behind it
    %t = shared ..     ; offset=0, too
    store_shared %t, ..                                           # the first use of %t

Only what stands in the body of the kernel itself counts, in its order: a loop or branch is one step, that uses all that is used inside, and
barriers inside of it separate nothing. A tile that asynchronous copies write is in use until a wait for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tilec.ir.core import Block, Function, Op, Value
from tilec.ir.ops.asynchronous import Commit, CopyAsync, Wait
from tilec.ir.ops.memory import Shared
from tilec.ir.ops.shared_views import SharedView
from tilec.ir.ops.sync import Sync
from tilec.records import record


@record(frozen=False)
class Life:
    """The first and the last step that use a tile."""

    first: int
    last: int

    def ends_before(self, other: Life, barriers: Iterable[int]) -> bool:
        """Whether a barrier stands between its last use and the other's first."""
        return any(self.last < at < other.first for at in barriers)


def lifetimes(function: Function) -> dict[Shared, Life]:
    """The life of each shared tile; one that is not used has none."""
    steps = function.body.ops
    roots: dict[Value, Shared] = {}
    found: dict[Shared, Life] = {}
    for at, step in enumerate(steps):
        for op in step.walk():
            if isinstance(op, Shared):
                roots[op.result] = op
            elif isinstance(op, SharedView):
                roots[op.result] = roots[op.memory]
            for value in op.operands:
                if value in roots:
                    life = found.setdefault(roots[value], Life(at, at))
                    life.last = at
    for at, copy, committed in copies(function.body):
        life = found[roots[copy.target]]
        life.last = max(life.last, landed(steps, at, committed))
    return found


def copies(body: Block) -> Iterator[tuple[int, CopyAsync, bool]]:
    """Asynchronous copies with their step, and whether a commit follows in it: in the block that a copy stands in or in one around it."""

    def inside(block: Block, committed: bool) -> Iterator[tuple[CopyAsync, bool]]:
        for op in reversed(block.ops):
            committed = committed or isinstance(op, Commit)
            if isinstance(op, CopyAsync):
                yield op, committed
            for region in op.regions:
                yield from inside(region, committed)

    for at, step in enumerate(body.ops):
        if isinstance(step, CopyAsync):
            yield at, step, False
        for region in step.regions:
            yield from ((at, copy, committed) for copy, committed in inside(region, False))


def landed(steps: list[Op], at: int, committed: bool) -> int:
    """The step from which on a copy is known to have landed: a wait for all groups after its commit; the end of the kernel without one."""
    for number in range(at + 1, len(steps)):
        committed = committed or isinstance(steps[number], Commit)
        if committed and isinstance(steps[number], Wait) and steps[number].pending == 0:  # type: ignore[attr-defined]
            return number
    return len(steps)


def places(function: Function, sizes: dict[Shared, int], alignment: int) -> dict[Shared, int]:
    """An offset for each tile, of `sizes` bytes: the lowest at which it meets none that may hold something at the same time."""
    lives = lifetimes(function)
    barriers = [at for at, op in enumerate(function.body.ops) if isinstance(op, Sync) and op.group is None]

    def apart(a: Shared, b: Shared) -> bool:
        if a not in lives or b not in lives:  # a tile that nothing uses is there for a reason that is not seen here
            return False
        return lives[a].ends_before(lives[b], barriers) or lives[b].ends_before(lives[a], barriers)

    found: dict[Shared, int] = {}
    for tile, size in sizes.items():
        others = [(found[t], found[t] + sizes[t]) for t in found if not apart(t, tile)]
        ends = [0, *(-(-end // alignment) * alignment for _, end in others)]
        found[tile] = min(at for at in ends if all(at + size <= start or end <= at for start, end in others))
    return found


def memory_map(function: Function) -> list[dict[str, object]]:
    """What lies where in the shared memory of a function with placed tiles, for people: name, offset and bytes, and the author's line."""
    return [
        {
            "name": "scratch" if op.scratch else op.result.name,
            "offset": op.offset,
            "bytes": op.result.type.nbytes,
            "type": f"{op.dtype}[{', '.join(map(str, op.shape))}]",
            "line": op.loc.line if op.loc else None,
        }
        for op in function.walk()
        if isinstance(op, Shared)
    ]
