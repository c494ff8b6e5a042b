"""Integer and bit instructions of the PTX simulator against Python's unbounded integers and the manual's pseudocode."""

import itertools

import numpy as np
import pytest

from tilec.sim import integers as it

DTYPE = {16: np.uint16, 32: np.uint32, 64: np.uint64}


def words(width, rng, count=60):
    top, middle = 1 << (width - 1), 1 << width // 2
    edges = [0, 1, 2, 2 * top - 1, top, top - 1, top + 1, middle - 1, middle]
    random = [int(x) >> (64 - width) >> int(s) for x, s in zip(rng.integers(0, 2**63, count), rng.integers(0, width, count), strict=True)]
    return edges + random


def array(numbers, width):
    return np.array([int(n) % (1 << width) for n in numbers], DTYPE[width])


def number(pattern, kind):
    """A register as the integer that its type says."""
    n = int(kind[1:])
    pattern &= (1 << n) - 1
    return pattern - (1 << n) if kind[0] == "s" and pattern >> (n - 1) else pattern


def agree(function, kinds, meaning, count=2, widths=None):
    """`function(kind, *registers)` against `meaning(width, *numbers)` for all pairs of edge values and random triples."""
    rng = np.random.default_rng(0)
    for kind in kinds:
        n = int(kind[1:])
        if count < 3:
            rows = list(itertools.product(words(n, rng)[:24], repeat=count))
        else:
            rows = [tuple(rng.permutation(words(n, rng))[:count]) for _ in range(300)]
        got = function(kind, *[array(column, n) for column in zip(*rows, strict=True)])
        bits = got.itemsize * 8
        for row, g in zip(rows, got.tolist(), strict=True):
            assert g == meaning(n, *[number(int(x), kind) for x in row]) % (1 << bits), (kind, row)


def truncated(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


ALL = ["s16", "u16", "s32", "u32", "s64", "u64"]


def test_products():
    agree(it.mul_hi, ALL, lambda n, a, b: a * b >> n)
    agree(it.mul_wide, ALL[:4], lambda n, a, b: a * b)
    low24 = lambda kind, x: number(x % (1 << 24) << 8, kind[0] + "32") >> 8  # noqa: E731
    for kind in ("s32", "u32"):
        rows = list(itertools.product(words(32, np.random.default_rng(1))[:20], repeat=2))
        a, b = (array(x, 32) for x in zip(*rows, strict=True))
        for part, shift in (("lo", 0), ("hi", 16)):
            want = [(low24(kind, x) * low24(kind, y) >> shift) % (1 << 32) for x, y in rows]
            assert it.mul24(kind, part, a, b).tolist() == want


def test_quotients_truncate():
    agree(it.divide, ALL, lambda n, a, b: truncated(a, b) if b else -1)
    agree(it.remainder, ALL, lambda n, a, b: a - b * truncated(a, b) if b else a)


def test_minimum_maximum_differences():
    agree(it.minimum, ALL, lambda n, a, b: min(a, b))
    agree(it.maximum, ALL, lambda n, a, b: max(a, b))
    agree(lambda k, a, b: it.maximum(k, a, b, relu=True), ["s32"], lambda n, a, b: max(a, b, 0))
    agree(it.sad, ALL, lambda n, a, b, c: c + abs(a - b), count=3)
    agree(lambda k, a: it.absolute(k, a), ["s16", "s32", "s64"], lambda n, a: abs(a), count=1)
    a, b = np.array([0x0001FFFF], np.uint32), np.array([0xFFFF0001], np.uint32)
    assert it.minimum("s16x2", a, b)[0] == 0xFFFFFFFF
    assert it.maximum("u16x2", a, b)[0] == 0xFFFFFFFF
    assert it.minimum("s16x2", a, b, relu=True)[0] == 0


def test_saturating_sums():
    clamp = lambda x: min(max(x, -(1 << 31)), (1 << 31) - 1)  # noqa: E731
    agree(it.saturating, ["s32"], lambda n, a, b: clamp(a + b))
    agree(lambda k, a, b: it.saturating(k, a, b, subtract=True), ["s32"], lambda n, a, b: clamp(a - b))


@pytest.mark.parametrize("width", [32, 64])
def test_carries_chain_to_wider_sums(width):
    rng = np.random.default_rng(2)
    rows = list(itertools.product(words(width, rng)[:12], repeat=4))
    al, ah, bl, bh = (array(x, width) for x in zip(*rows, strict=True))
    low, carry = it.add_carry(al, bl)
    high, out = it.add_carry(ah, bh, carry)
    dlow, borrow = it.sub_borrow(al, bl)
    dhigh, under = it.sub_borrow(ah, bh, borrow)
    one = 1 << width
    for at, (a0, a1, b0, b1) in enumerate(rows):
        a, b = a0 + one * a1, b0 + one * b1
        assert int(low[at]) + one * int(high[at]) + one * one * bool(out[at]) == a + b
        assert int(dlow[at]) + one * int(dhigh[at]) - one * one * bool(under[at]) == a - b


def test_dot_products_of_bytes():
    rng = np.random.default_rng(3)
    a, b, c = (rng.integers(0, 1 << 32, 200, dtype=np.uint32) for _ in range(3))
    field = lambda x, kind, n, i: number(int(x) >> n * i, f"{kind[0]}{n}")  # noqa: E731
    for ka, kb in itertools.product(("s32", "u32"), repeat=2):
        for x, y, z, g in zip(a, b, c, it.dp4a(ka, kb, a, b, c), strict=True):
            assert g == (int(z) + sum(field(x, ka, 8, i) * field(y, kb, 8, i) for i in range(4))) % (1 << 32)
        for part, first in (("lo", 0), ("hi", 2)):
            for x, y, z, g in zip(a, b, c, it.dp2a(part, ka, kb, a, b, c), strict=True):
                assert g == (int(z) + sum(field(x, ka, 16, i) * field(y, kb, 8, first + i) for i in range(2))) % (1 << 32)


AMOUNTS = np.array([0, 1, 7, 15, 16, 31, 32, 33, 63, 64, 100, 255, 256, 0xFFFFFFFF], np.uint32)


@pytest.mark.parametrize("kind", ALL)
def test_shifts_clamp(kind):
    n = int(kind[1:])
    a = array(words(n, np.random.default_rng(4)), n)[:, None]
    for x, left, right in zip(a[:, 0].tolist(), it.shl(a, AMOUNTS).tolist(), it.shr(kind, a, AMOUNTS).tolist(), strict=True):
        assert left == [(x << min(s, n)) % (1 << n) for s in AMOUNTS.tolist()]
        assert right == [(number(x, kind) >> min(s, n)) % (1 << n) for s in AMOUNTS.tolist()]


def test_funnel_shift():
    a, b = np.array([[0x89ABCDEF]], np.uint32), np.array([[0x01234567]], np.uint32)
    both = 0x0123456789ABCDEF
    for mode in ("wrap", "clamp"):
        amounts = [s & 31 if mode == "wrap" else min(s, 32) for s in AMOUNTS.tolist()]
        assert it.shf("l", mode, a, b, AMOUNTS).tolist() == [[(both << s >> 32) % (1 << 32) for s in amounts]]
        assert it.shf("r", mode, a, b, AMOUNTS).tolist() == [[(both >> s) % (1 << 32) for s in amounts]]


@pytest.mark.parametrize("kind", ["s32", "u32", "s64", "u64"])
def test_fields_follow_the_manual_bit_by_bit(kind):
    n = int(kind[1:])
    counts = [0, 1, 5, 8, 31, 32, 33, 63, 64, 200, 255, 256 + 3]
    numbers = [0xDEADBEEF_8BADF00D % (1 << n), (1 << n) - 1, 0x0123_4567_89AB_CDEF % (1 << n)]
    rows = list(itertools.product(numbers, counts, counts))
    a = array([r[0] for r in rows], n)
    position, length = (np.array([r[i] for r in rows], np.uint32) for i in (1, 2))
    other = array([0x5555_5555_5555_5555] * len(rows), n)
    extracted, inserted = it.bfe(kind, a, position, length), it.bfi(a, other, position, length)
    for at, (x, pos, count) in enumerate(rows):
        pos, count = pos & 255, count & 255
        bit = lambda value, i: (value >> i) & 1  # noqa: E731
        sign = 0 if kind[0] == "u" or count == 0 else bit(x, min(pos + count - 1, n - 1))
        want = sum((bit(x, pos + i) if i < count and pos + i < n else sign) << i for i in range(n))
        assert extracted[at] == want, (x, pos, count)
        put = 0x5555_5555_5555_5555 % (1 << n)
        for i in range(count):
            if pos + i < n:
                put = put & ~(1 << (pos + i)) | bit(x, i) << (pos + i)
        assert inserted[at] == put


@pytest.mark.parametrize("width", [32, 64])
def test_counting_and_finding_bits(width):
    numbers = words(width, np.random.default_rng(5))
    a = array(numbers, width)
    numbers = a.tolist()
    assert it.popc(a).tolist() == [x.bit_count() for x in numbers]
    assert it.clz(a).tolist() == [width - x.bit_length() for x in numbers]
    assert it.brev(a).tolist() == [int(f"{x:0{width}b}"[::-1], 2) for x in numbers]
    for sign in "su":
        turned = [~number(x, f"s{width}") if sign == "s" and x >> (width - 1) else x for x in numbers]
        assert it.bfind(f"{sign}{width}", a).tolist() == [(x.bit_length() - 1) % (1 << 32) for x in turned]
        want = [width - x.bit_length() if x else 0xFFFFFFFF for x in turned]
        assert it.bfind(f"{sign}{width}", a, shiftamt=True).tolist() == want


def test_fns():
    def manual(mask, base, offset):
        if offset == 0:
            return base if mask >> base & 1 else 0xFFFFFFFF
        step, left = (1, offset) if offset > 0 else (-1, -offset)
        while 0 <= base < 32:
            left -= mask >> base & 1
            if left == 0:
                return base
            base += step
        return 0xFFFFFFFF

    rows = list(itertools.product([0, 0xFFFFFFFF, 0x80000001, 0x0F0F3300], range(0, 32, 5), [-33, -9, -2, -1, 0, 1, 2, 9, 33]))
    got = it.fns(*(array([r[i] for r in rows], 32) for i in range(3)))
    assert got.tolist() == [manual(*r) for r in rows]


def test_szext_and_bmsk():
    a = np.array([0x8BADF0F5], np.uint32)
    f = lambda *x: np.array(x, np.uint32)  # noqa: E731
    assert it.szext("clamp", "s32", a, f(0, 1, 4, 31, 32, 99)).tolist() == [0, 0xFFFFFFFF, 5, 0x0BADF0F5, 0x8BADF0F5, 0x8BADF0F5]
    assert it.szext("clamp", "u32", a, f(0, 1, 4, 31, 32, 99)).tolist() == [0, 1, 5, 0x0BADF0F5, 0x8BADF0F5, 0x8BADF0F5]
    assert it.szext("wrap", "s32", a, f(32, 36)).tolist() == [0, 5]
    got = it.bmsk("clamp", f(0, 4, 31, 32, 0, 40, 28), f(0, 8, 1, 1, 32, 40, 8))
    assert got.tolist() == [0, 0xFF0, 1 << 31, 0, 0xFFFFFFFF, 0, 0xF0000000]
    assert it.bmsk("wrap", f(33), f(35)).tolist() == [0xE]


@pytest.mark.parametrize("uniform", [True, False])
def test_prmt(uniform):
    a, b = np.array([[0x83828180]], np.uint32), np.array([[0x07860504]], np.uint32)
    octets = [0x80, 0x81, 0x82, 0x83, 0x04, 0x05, 0x86, 0x07]
    controls = np.random.default_rng(6).integers(0, 1 << 16, 50, dtype=np.uint32)

    def run(mode, c):
        if uniform:
            return [int(it.prmt(a, b, np.array([[x]], np.uint32), mode)[0, 0]) for x in c]
        return it.prmt(a, b, np.array([c], np.uint32), mode)[0].tolist()

    def by_hand(control):
        nibbles = [control >> 4 * i & 15 for i in range(4)]
        chosen = [0xFF * (octets[x & 7] >> 7) if x & 8 else octets[x] for x in nibbles]
        return sum(byte << 8 * i for i, byte in enumerate(chosen))

    assert run(None, controls.tolist()) == [by_hand(c) for c in controls.tolist()]
    table = {  # PTX manual: selectors for c = 0 .. 3, the uppermost byte first
        "f4e": "3210 4321 5432 6543", "b4e": "5670 6701 7012 0123", "rc8": "0000 1111 2222 3333", "ecl": "3210 3211 3222 3333",
        "ecr": "0000 1110 2210 3210", "rc16": "1010 3232 1010 3232",
    }
    for mode, selectors in table.items():
        want = [sum(octets[int(s)] << 8 * i for i, s in enumerate(reversed(text))) for text in selectors.split()]
        assert run(mode, [0, 1, 2, 3]) == want, mode


def test_lop3_has_the_truth_table_of_every_function():
    a, b, c = np.array([0xF0], np.uint32), np.array([0xCC], np.uint32), np.array([0xAA], np.uint32)
    for table in range(256):
        assert int(it.lop3(a, b, c, table)[0]) & 255 == table
    x, y, z = (np.random.default_rng(i).integers(0, 1 << 32, 8, dtype=np.uint32) for i in range(3))
    np.testing.assert_array_equal(it.lop3(x, y, z, 0x96), x ^ y ^ z)
    np.testing.assert_array_equal(it.lop3(x, y, z, 0xCA), (x & y) | (~x & z))
    assert it.lop3(x, y, z, 0).tolist() == [0] * 8


def test_blocks_by_threads_and_uniform_registers():
    rng = np.random.default_rng(7)
    a, b = rng.integers(0, 1 << 32, (3, 64), dtype=np.uint32), rng.integers(0, 1 << 32, (3, 1), dtype=np.uint32)
    one = np.array([[0x5410]], np.uint32)
    np.testing.assert_array_equal(it.prmt(a, b, one), (a & np.uint32(0xFFFF)) | (b << np.uint32(16)))
    np.testing.assert_array_equal(it.prmt(a, b, np.broadcast_to(one, (3, 64))), it.prmt(a, b, one))
    swapped = a.T[:, ::2]  # strides of any kind
    np.testing.assert_array_equal(it.brev(it.brev(swapped)), swapped)
    np.testing.assert_array_equal(it.popc(swapped), it.popc(a).T[:, ::2])
    for result in (it.dp4a("s32", "s32", a, b, one), it.bfe("s32", a, b, one), it.shf("l", "wrap", a, b, one), it.sad("s32", a, b, one),
                   it.mul_hi("s32", a, b), it.fns(a, b & np.uint32(31), one), it.clz(a), it.bfi(a, b, one, one), it.divide("s32", a, b)):
        assert result.shape == (3, 64)
