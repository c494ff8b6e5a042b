"""Parts of a kernel that only some warps of the block run."""

from __future__ import annotations

from tilec.errors import TileError, require
from tilec.ir.core import Block, Op, Value
from tilec.ir.ops.base import describe
from tilec.ir.types import TileType, Warps


class InWarps(Op):
    """`with tc.warps(first, count)`: the region is run by `count` warps from warp `first` on; the others pass it by.

    Inside, tiles are held by these warps, and a barrier is theirs alone. No value leaves the region, and but for scalars none enters it:
    groups hand over tiles through shared memory. So one group after another is a way in which all of them may run, which is
    how the interpreter does it.
    """

    first: int
    count: int
    body: Block

    @property
    def group(self) -> Warps:
        return Warps(self.first, self.count)

    def infer(self) -> None:
        require(self.first >= 0 and self.count > 0, f"a group has at least one warp, not {self.count} from warp {self.first} on")

    def check_entering(self) -> None:
        """Refuse tiles from outside."""
        inside = {v for op in self.body.walk() for v in (*op.results, *(a for region in op.regions for a in region.args))}
        for op in self.body.walk():
            for v in op.operands:
                if v not in inside and isinstance(v.type, TileType) and v.type.shape:
                    raise foreign(v, op, self)


def foreign(v: Value, op: Op, region: InWarps) -> TileError:
    made = v.owner.loc if isinstance(v.owner, Op) else None
    return TileError(
        f"{v.name or 'a tile'}, {describe(v.type)}, is not held by warps {region.first} to {region.first + region.count - 1}",
        loc=op.loc,
        hint="hand it over through shared memory: tc.store(s, x), tc.sync(), and tc.load(s) inside",
        notes=(("it is made here, outside of the group", made),) if made else (),
    )
