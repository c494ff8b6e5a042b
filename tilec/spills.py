"""What to say of a kernel whose registers do not hold its tiles.

The stages of a pipeline are no part of it: they lie in shared memory, and of 14 forms of a matrix product with 1 to 5 stages, those that spill do so
with any number of them.
"""

from __future__ import annotations

import math

from tilec.ir.core import Function, Op, Value
from tilec.ir.ops.control import For, While
from tilec.ir.types import TileType


def spill_notice(function: Function, spill_bytes: int) -> str:
    """That a thread spills so many bytes, which tile takes most registers, and the remedy; `function` is the IR as parsed."""
    text = f"{function.name} needs more registers than a thread has: {spill_bytes} bytes are spilled to memory and fetched again, which is slow"
    carried = [(v, a) for op in function.walk() if isinstance(op, For) for v, a in zip(op.inits, op.body.args[1:], strict=True)]
    carried += [(v, a) for op in function.walk() if isinstance(op, While) for v, a in zip(op.inits, op.body.args, strict=True)]
    tiles = [(registers(v, function), v, a.name) for v, a in carried] or [(registers(v, function), v, v.name) for op in function.walk() for v in op.results]
    most, value, name = max(tiles, key=lambda tile: tile[0], default=(0, None, ""))
    if most and value is not None:
        loc = value.owner.loc if isinstance(value.owner, Op) else None
        text += f"; {name or 'a tile'}{f' of line {loc.line}' if loc else ''} alone takes {most} of at most 255"
    return f"{text}. Take smaller tiles or more warps"


def registers(value: Value, function: Function) -> int:
    """How many of a thread's registers hold a tile that its threads share out evenly."""
    held = value.type
    if not isinstance(held, TileType) or not held.shape:
        return 0
    threads = 32 * held.group.count if held.group else function.threads
    return math.ceil(math.prod(held.shape) * held.dtype.bits / 32 / threads)
