"""From codes of up to 7 bits to codes of 8, four at a time: integers to the bytes of a word, and whatever a table of 16 entries says.

    int4 -> int8    prmt of w and w >> 4; (v & 0x0F0F0F0F) ^ 0x88888888; less 0x08080808; ^ 0x80808080
"""

from __future__ import annotations

from collections.abc import Sequence

from tilec.backend.emit import Emitter
from tilec.backend.fields import QUAD, Field, Views, cut, fields_of, tell
from tilec.backend.target import Target
from tilec.backend.unpack import TABLE, Lanes, Table
from tilec.ir.dtypes import Codebook, DType, Float, Int

EACH = 0x01010101


def spreads(source: DType, target: DType) -> bool:
    """Whether a cast goes this way: to larger integers, which have all values, and by tables."""
    if target.bits != 8 or source.bits >= 8 or not isinstance(target, Int | Float):
        return False
    if isinstance(source, Int):
        return isinstance(target, Int) and target.min <= source.min and source.max <= target.max
    return source.bits == TABLE and isinstance(source, Float | Codebook)


def spread(e: Emitter, names: Sequence[str], source: DType, target: DType, machine: Target) -> list[str]:
    """The elements called `names`, held as i8, as `target`, which know in which words they lie."""
    padded = [*names, *[names[-1]] * (-len(names) % QUAD)]
    fields = fields_of(e, padded, source.bits)
    quads = [fields[i : i + QUAD] for i in range(0, len(fields), QUAD)]
    if isinstance(source, Int):
        views = Views(e)
        words = [integers(e, views, q, source) for q in quads]
    else:
        table = Table(Lanes(e, source, target, machine))
        words = [table.views.gather([table.found(f, 0) for f in q]) for q in quads]
    codes = [cut(e, words, 8 * i, 8) for i in range(len(names))]
    tell(e, codes, tuple(words), 8)
    return codes


def integers(e: Emitter, views: Views, quad: Sequence[Field], source: DType) -> str:
    """Bytes whose low bits are the codes; then, if they are signed, each less its sign's weight, where a bit above stops the borrow."""
    bytes = [divmod(f.start - f.start % 8, 32) for f in quad]
    word = views.gather([(views.turned(f.row, f.start % 8, at), bit // 8) for f, (at, bit) in zip(quad, bytes, strict=True)])
    field, sign = ((1 << source.bits) - 1) * EACH, (1 << source.bits - 1) * EACH
    if not source.is_signed:
        return e.let(f"and i32 {word}, {field}")
    guard = 0x80 * EACH
    offset = views.lop3(word, field, sign | guard, "(a & b) ^ c")
    return e.let(f"xor i32 {e.let(f'sub i32 {offset}, {sign}')}, {guard}")
