"""Random numbers: Philox against the known answers of Random123, and what is made of it."""

import math

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import bf16, f16, f32, f64, i32, i64, u32, u64

N = tc.dims("N")

ANSWERS = [  # (key, counter, result) of the file kat_vectors of Random123, philox4x32 with 10 rounds
    ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 2, (2**32 - 1,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0xA4093822, 0x299F31D0), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


def philox(seed, c0, c1):
    """The first two words, in Python's integers."""
    c, k = [c0, c1, 0, 0], [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & 0xFFFFFFFF, p >> 32 ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return c[0], c[1]


@tc.kernel
def words(seed: u64, c: u32[4], y: u32[4, 32]):
    tc.grid(1)
    a = [tc.load(c, [i]) for i in range(4)]
    made = tc.philox(seed, a[0] + (tc.arange(32, dtype=u32) - tc.arange(32, dtype=u32)), a[1], a[2], a[3])
    for i, x in enumerate(made):
        tc.store(y, [i, 0], x)


@pytest.mark.parametrize(("key", "counter", "result"), ANSWERS)
def test_known_answers(key, counter, result):
    c = np.array(counter, np.uint32)
    want = np.repeat(np.array(result, np.uint32)[:, None], 32, 1)
    everywhere(words, (key[0] | key[1] << 32, c, np.zeros((4, 32), np.uint32)), {"y": want})


@tc.kernel
def drawn(seed: u64, start: i64, bits: u32[N], u: f32[N], h: f16[N], w: bf16[N], d: f64[N], *, n: int = 64):
    tc.grid(tc.cdiv(N, n))
    i = tc.block_index(0) * n
    at = start + tc.cast(i + tc.arange(n), i64)
    tc.store(bits, [i], tc.random_bits(seed, at))
    tc.store(u, [i], tc.uniform(seed, at))
    tc.store(h, [i], tc.uniform(seed, at, f16))
    tc.store(w, [i], tc.uniform(seed, at, bf16))
    tc.store(d, [i], tc.uniform(seed, at, dtype=f64))


def test_bits_and_uniform_numbers():
    seed, start, n = 0x123456789ABCDEF0, 2**40 + 5, 100
    pairs = np.array([philox(seed, (start + i) & 0xFFFFFFFF, (start + i) >> 32) for i in range(n)], np.uint64)
    first, second = pairs.T
    empty = [np.zeros(n, t) for t in (np.uint32, np.float32, np.float16)]
    brain = tc.Tensor.from_values(np.zeros(n), bf16)
    want = {
        "bits": first, "u": (first >> 8) * 2.0**-24, "h": (first >> 21) * 2.0**-11, "w": (first >> 24) * 2.0**-8,
        "d": ((first << 32 | second) >> np.uint64(11)) * 2.0**-53,
    }  # fmt: skip
    everywhere(drawn, (seed, start, *empty, brain, np.zeros(n)), want)


@tc.kernel
def normal(seed: i32, y: f32[N], *, n: int = 512):
    tc.grid(tc.cdiv(N, n))
    i = tc.block_index(0) * n
    tc.store(y, [i], tc.normal(seed, i + tc.arange(n)))


def test_normal_numbers():
    y, z = np.full((2, 40_000), np.nan, np.float32)
    normal.interpret(7, y)
    assert abs(y.mean()) < 5 / math.sqrt(y.size)
    assert abs(y.std() - 1) < 5 / math.sqrt(2 * y.size)
    assert 3.5 < np.abs(y).max() < 5.8
    inside = np.array([np.mean(y < t) for t in (-2, -1, 0, 1, 2)])
    exact = [0.5 * (1 + math.erf(t / math.sqrt(2))) for t in (-2, -1, 0, 1, 2)]
    np.testing.assert_allclose(inside, exact, atol=5 * 0.5 / math.sqrt(y.size))
    normal.simulate(7, z[:4096])
    assert (np.abs(z[:4096] - y[:4096]) <= 2**-21 * np.abs(y[:4096]) + 2**-22).all()
    assert normal.compile("sm_90a").resources.spill_bytes == 0
