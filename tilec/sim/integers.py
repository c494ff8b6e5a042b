"""PTX's integer and bit instructions on arrays of register bits.

Arguments are unsigned arrays of register bits that broadcast; `kind` is a type such as s32, u64 or b32. Shift amounts, positions and
lengths are uint32 arrays. Nothing is written in place. Semantics: the PTX manual's pseudocode of each instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np

from tilec.sim.formats import UNSIGNED, Array
from tilec.sim.numerics import Bits, halves, join

ONES = np.uint32(0xFFFFFFFF)


def size(kind: str) -> int:
    return int(kind[1:])


def signed(bits: Bits) -> Array:
    return bits.view(f"i{bits.itemsize}")


def unsigned(values: Array) -> Bits:
    return values.view(f"u{values.itemsize}")


def value(bits: Bits, kind: str) -> Array:
    """Registers as NumPy integers of the type's signedness."""
    return signed(bits) if kind[0] == "s" else bits


# -- arithmetic -------------------------------------------------------------------------------------------------------------------------


def saturating(kind: str, a: Bits, b: Bits, *, subtract: bool = False) -> Bits:
    """add.sat.s32 and sub.sat.s32."""
    x, y = signed(a).astype(np.int64), signed(b).astype(np.int64)
    return np.clip(x - y if subtract else x + y, -(1 << 31), (1 << 31) - 1).astype(np.int32).view(np.uint32)


def mul_wide(kind: str, a: Bits, b: Bits) -> Bits:
    """mul.wide: the product of 16- or 32-bit values in twice the width."""
    wide = f"{'i' if kind[0] == 's' else 'u'}{a.itemsize * 2}"
    return unsigned(value(a, kind).astype(wide) * value(b, kind).astype(wide))


def mul_hi(kind: str, a: Bits, b: Bits) -> Bits:
    """mul.hi: the upper half of the product."""
    bits = size(kind)
    if bits < 64:
        return (mul_wide(kind, a, b) >> UNSIGNED[2 * bits].type(bits)).astype(UNSIGNED[bits])
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    (al, ah), (bl, bh) = ((x & low, x >> shift) for x in (a, b))
    middle = ah * bl + (al * bl >> shift)
    other = al * bh + (middle & low)
    high = ah * bh + (middle >> shift) + (other >> shift)
    if kind[0] == "s":
        # A negative factor read as unsigned is 2^64 too great.
        high = high - np.where(signed(a) < 0, b, np.uint64(0)) - np.where(signed(b) < 0, a, np.uint64(0))
    return high


def mul24(kind: str, part: str, a: Bits, b: Bits) -> Bits:
    """mul24.{lo hi}: bits 31..0 or 47..16 of the product of the low 24 bits."""
    eight = np.uint32(8)

    def low(x: Bits) -> Array:
        shifted = x << eight
        return (signed(shifted) >> 8).astype(np.int64) if kind[0] == "s" else (shifted >> eight).astype(np.int64)

    product_ = low(a) * low(b)
    return (product_ >> (0 if part == "lo" else 16)).astype(np.uint32)


def add_carry(a: Bits, b: Bits, carry: Array | None = None) -> tuple[Bits, Array]:
    """add.cc and addc.cc: the sum and the carry out (bool)."""
    s = a + b
    out = s < a
    if carry is None:
        return s, out
    t = s + carry.astype(s.dtype)
    return t, out | (t < s)


def sub_borrow(a: Bits, b: Bits, borrow: Array | None = None) -> tuple[Bits, Array]:
    """sub.cc and subc.cc: the difference and the borrow out (bool), which is what PTX keeps in CC.CF."""
    d = a - b
    out = a < b
    if borrow is None:
        return d, out
    t = d - borrow.astype(d.dtype)
    return t, out | (t > d)


def divide(kind: str, a: Bits, b: Bits) -> Bits:
    """div: truncates. Division by zero is unspecified in PTX; hardware gives all ones."""
    x, y = value(a, kind), value(b, kind)
    zero = y == 0
    y = np.where(zero, y.dtype.type(1), y)
    quotient = x // y
    if kind[0] == "s":
        quotient = quotient + ((x - quotient * y != 0) & ((x < 0) != (y < 0)))
    return np.where(zero, a.dtype.type(0) - a.dtype.type(1), unsigned(quotient.astype(x.dtype)))


def remainder(kind: str, a: Bits, b: Bits) -> Bits:
    """rem: the sign of the dividend. By zero unspecified in PTX; hardware gives the dividend."""
    return np.where(b == 0, a, a - divide(kind, a, b) * b)


def absolute(kind: str, a: Bits) -> Bits:
    return unsigned(np.abs(signed(a)))


def minimum(kind: str, a: Bits, b: Bits, *, relu: bool = False) -> Bits:
    """min{.relu} of s16 .. u64 and s16x2 u16x2."""
    return _extreme(np.minimum, kind, a, b, relu)


def maximum(kind: str, a: Bits, b: Bits, *, relu: bool = False) -> Bits:
    """max{.relu} of s16 .. u64 and s16x2 u16x2."""
    return _extreme(np.maximum, kind, a, b, relu)


def _extreme(choose: Callable[[Array, Array], Array], kind: str, a: Bits, b: Bits, relu: bool) -> Bits:
    if kind.endswith("x2"):
        return join(_extreme(choose, kind[:-2], halves(a), halves(b), relu))
    result = choose(value(a, kind), value(b, kind))
    return unsigned(np.maximum(result, result.dtype.type(0)) if relu else result)


def sad(kind: str, a: Bits, b: Bits, c: Bits) -> Bits:
    """sad: c + |a - b|."""
    return c + absolute_difference(kind, a, b)


def absolute_difference(kind: str, a: Bits, b: Bits) -> Bits:
    x, y = value(a, kind), value(b, kind)
    return np.where(x < y, b - a, a - b)


def _lanes(kind: str, word: Bits, width: int) -> Array:
    """The elements of 32-bit words as int64 on a new last axis, `width` bits each, signed or not."""
    dtype = f"{'i' if kind[0] == 's' else 'u'}{width // 8}"
    return np.ascontiguousarray(word)[..., None].view(dtype).astype(np.int64)


def dp4a(akind: str, bkind: str, a: Bits, b: Bits, c: Bits) -> Bits:
    """dp4a.atype.btype: c + the dot product of four bytes, modulo 2^32. Types as u32 or s32."""
    return ((_lanes(akind, a, 8) * _lanes(bkind, b, 8)).sum(-1) + c).astype(np.uint32)


def dp2a(part: str, akind: str, bkind: str, a: Bits, b: Bits, c: Bits) -> Bits:
    """dp2a.{lo hi}.atype.btype: c + two 16-bit values of a times the lower or upper two bytes of b, modulo 2^32."""
    chosen = _lanes(bkind, b, 8)[..., slice(0, 2) if part == "lo" else slice(2, 4)]
    return ((_lanes(akind, a, 16) * chosen).sum(-1) + c).astype(np.uint32)


# -- shifts and fields ------------------------------------------------------------------------------------------------------------------


def shl(a: Bits, b: Bits) -> Bits:
    """shl: amounts beyond the width give 0."""
    bits = a.itemsize * 8
    amount = np.minimum(b, b.dtype.type(bits - 1)).astype(a.dtype)
    return np.where(b >= bits, a.dtype.type(0), a << amount)


def shr(kind: str, a: Bits, b: Bits) -> Bits:
    """shr: amounts beyond the width leave the sign, or 0."""
    bits = a.itemsize * 8
    amount = np.minimum(b, b.dtype.type(bits - 1)).astype(a.dtype)
    if kind[0] == "s":
        return unsigned(signed(a) >> signed(amount))
    return np.where(b >= bits, a.dtype.type(0), a >> amount)


def shf(direction: str, mode: str, a: Bits, b: Bits, c: Bits) -> Bits:
    """shf.{l r}.{wrap clamp}.b32: a funnel shift of b:a by c, of which l returns the upper word and r the lower."""
    amount = ((c & np.uint32(31)) if mode == "wrap" else np.minimum(c, np.uint32(32))).astype(np.uint64)
    both = (b.astype(np.uint64) << np.uint64(32)) | a
    return ((both << amount) >> np.uint64(32) if direction == "l" else both >> amount).astype(np.uint32)


def _ones(count: Array, dtype: np.dtype) -> Bits:  # type: ignore[type-arg]
    """Masks of `count` low bits, 0 to the width."""
    bits = dtype.itemsize * 8
    whole = ~dtype.type(0)
    return np.where(count >= bits, whole, ~(whole << np.minimum(count, bits - 1).astype(dtype)))


def bfe(kind: str, a: Bits, position: Bits, length: Bits) -> Bits:
    """bfe: the field of `length` bits at `position` (8 bits of each count), extended by its own top bit for signed types."""
    top = size(kind) - 1
    at, count = position & np.uint32(255), length & np.uint32(255)
    mask = _ones(count, a.dtype)
    field = np.where(at > top, a.dtype.type(0), a >> np.minimum(at, np.uint32(top)).astype(a.dtype)) & mask
    if kind[0] == "u":
        return field
    last = np.minimum(at + count - np.uint32(1), np.uint32(top)).astype(a.dtype)
    negative = (count > 0) & (((a >> last) & a.dtype.type(1)) == 1)
    # What lies above the register's end is a copy of the sign, as is what lies above the field.
    real = _ones(np.minimum(count, np.where(at > top, np.uint32(0), np.uint32(top + 1) - np.minimum(at, np.uint32(top + 1)))), a.dtype)
    return np.where(negative, field | ~real, field)


def bfi(a: Bits, b: Bits, position: Bits, length: Bits) -> Bits:
    """bfi: b with `length` low bits of a put at `position`; bits beyond the end are dropped."""
    bits = a.itemsize * 8
    at, count = position & np.uint32(255), length & np.uint32(255)
    shift = np.minimum(at, np.uint32(bits - 1)).astype(a.dtype)
    mask = np.where(at >= bits, a.dtype.type(0), _ones(count, a.dtype) << shift)
    return (b & ~mask) | ((a << shift) & mask)


def brev(a: Bits) -> Bits:
    """brev: the bits in opposite order."""
    count = a.itemsize
    octets = np.ascontiguousarray(a)[..., None].view(np.uint8)
    reversed_ = np.ascontiguousarray(_REVERSED[octets][..., ::-1])
    return reversed_.view(f"u{count}")[..., 0]


_REVERSED = np.array([int(f"{i:08b}"[::-1], 2) for i in range(256)], np.uint8)


def popc(a: Bits) -> Bits:
    """popc: uint32."""
    octets = np.ascontiguousarray(a)[..., None].view(np.uint8)
    return _COUNTS[octets].sum(-1, dtype=np.uint32)


_COUNTS = np.array([i.bit_count() for i in range(256)], np.uint8)


def _top(a: Bits) -> Array:
    """The place of the highest set bit, -1 for 0, as int64."""
    high, low = (a.astype(np.uint64) >> np.uint64(32)).astype(np.float64), (a & a.dtype.type(0xFFFFFFFF)).astype(np.float64)
    return np.where(high > 0, np.frexp(high)[1] + 31, np.frexp(low)[1] - 1).astype(np.int64)


def clz(a: Bits) -> Bits:
    """clz: uint32, the width for 0."""
    return (a.itemsize * 8 - 1 - _top(a)).astype(np.uint32)


def bfind(kind: str, a: Bits, *, shiftamt: bool = False) -> Bits:
    """bfind{.shiftamt}: place of the highest bit that differs from the sign (0 if unsigned), or how far it is from the top; else ~0."""
    if kind[0] == "s":
        a = np.where(signed(a) < 0, ~a, a)
    top = _top(a)
    return np.where(top < 0, ONES, ((size(kind) - 1 - top) if shiftamt else top).astype(np.uint32))


def fns(mask: Bits, base: Bits, offset: Bits) -> Bits:
    """fns.b32: the place of the n-th set bit counted from `base`, upwards for offset > 0, downwards for < 0; ~0 if there is none."""
    places = np.arange(32)
    is_set = ((mask[..., None] >> places.astype(np.uint32)) & np.uint32(1)) == 1
    start, n = base[..., None].astype(np.int64), signed(offset)[..., None].astype(np.int64)
    within = is_set & np.where(n > 0, places >= start, places <= start) & ((n != 0) | (places == start))
    upward, downward = np.cumsum(within, -1), np.cumsum(within[..., ::-1], -1)[..., ::-1]
    hit = within & (np.where(n < 0, downward, upward) == np.maximum(np.abs(n), 1))
    return np.where(hit.any(-1), hit.argmax(-1).astype(np.uint32), ONES)


def szext(mode: str, kind: str, a: Bits, b: Bits) -> Bits:
    """szext.{clamp wrap}: the low b bits of a extended by sign or zeros; b = 0 gives 0."""
    count = (b & np.uint32(31)) if mode == "wrap" else np.minimum(b, np.uint32(32))
    return bfe(kind, a, np.zeros_like(count), count)


def bmsk(mode: str, a: Bits, b: Bits) -> Bits:
    """bmsk.{clamp wrap}.b32: b ones from bit a upwards."""
    at, count = ((x & np.uint32(31)) if mode == "wrap" else np.minimum(x, np.uint32(32)) for x in (a, b))
    return (_ones(count, ONES.dtype).astype(np.uint64) << at.astype(np.uint64)).astype(np.uint32)


# -- permutation and logic --------------------------------------------------------------------------------------------------------------

_MODES = {  # which of the 8 bytes of b:a each result byte takes, by the low two bits of the control
    "f4e": [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]],
    "b4e": [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]],
    "rc8": [[i] * 4 for i in range(4)],
    "ecl": [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]],
    "ecr": [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]],
    "rc16": [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]],
}
_SELECTORS = {mode: np.array([sum(b << 4 * i for i, b in enumerate(row)) for row in rows], np.uint32) for mode, rows in _MODES.items()}


def prmt(a: Bits, b: Bits, c: Bits, mode: str | None = None) -> Bits:
    """prmt{.mode}.b32: bytes of b:a by the nibbles of c, of which bit 3 spreads the byte's sign; or by mode and the low two bits of c."""
    if mode is not None:
        c = _SELECTORS[mode][c & np.uint32(3)]
    both = (b.astype(np.uint64) << np.uint64(32)) | a
    if c.size == 1:
        return _prmt_alike(both, int(c.flat[0]), mode is None).reshape(np.broadcast_shapes(both.shape, c.shape))
    result: Bits = np.zeros(1, np.uint32)
    for i in range(4):
        control = c >> np.uint32(4 * i)
        byte = (both >> ((control & np.uint32(7)) * np.uint32(8)).astype(np.uint64)).astype(np.uint8)
        if mode is None:
            byte = np.where(control & np.uint32(8), (byte.view(np.int8) >> 7).view(np.uint8), byte)
        result = result | (byte.astype(np.uint32) << np.uint32(8 * i))
    return result


def _prmt_alike(both: Bits, control: int, signs: bool) -> Bits:
    """prmt by one control word for all: a gather of bytes."""
    octets = np.ascontiguousarray(both)[..., None].view(np.uint8).take([(control >> 4 * i) & 7 for i in range(4)], axis=-1)
    for i in range(4):
        if signs and (control >> 4 * i) & 8:
            octets[..., i] = (octets[..., i].view(np.int8) >> 7).view(np.uint8)
    return octets.view(np.uint32)[..., 0]


@cache
def lop3_expression(table: int) -> str:
    """A Python expression in a, b, c for the truth table `table` of lop3, as short as a search over two levels finds it.

    Table 0 and 255 give arrays as well: the expression always mentions an operand.
    """
    found = _expressions()
    if table in found:
        return found[table]
    if 255 - table in found:
        return f"~({found[255 - table]})"

    def ignoring(bits: list[int]) -> str:
        """The table of b and c alone, given its four bits."""
        return found[sum(bit << i for i, bit in enumerate(bits + bits))]

    bits = [(table >> i) & 1 for i in range(8)]
    return f"(a & ({ignoring(bits[4:])})) | (~a & ({ignoring(bits[:4])}))"


@cache
def _expressions() -> dict[int, str]:
    ops: dict[str, Callable[[int, int], int]] = {"&": int.__and__, "|": int.__or__, "^": int.__xor__}
    leaves = {0xF0: "a", 0xCC: "b", 0xAA: "c", 0x0F: "~a", 0x33: "~b", 0x55: "~c", 0x00: "a ^ a", 0xFF: "a | ~a"}
    found = dict(leaves)
    for _ in range(2):
        level = list(found.items())
        for (x, left), (y, right), (sign, op) in product(level, level, ops.items()):
            found.setdefault(op(x, y), f"({left}) {sign} ({right})" if len(left) + len(right) > 2 else f"{left} {sign} {right}")
    return found


@cache
def _lop3(table: int) -> Callable[[Bits, Bits, Bits], Bits]:
    function: Callable[[Bits, Bits, Bits], Bits] = eval(f"lambda a, b, c: {lop3_expression(table)}")
    return function


def lop3(a: Bits, b: Bits, c: Bits, table: int) -> Bits:
    """lop3.b32: bit by bit the function whose truth table has a in 0xF0, b in 0xCC, c in 0xAA."""
    return _lop3(table)(a, b, c)
