"""Cases of nvcc's PTX: what CUB, libcu++ and cooperative groups make of it."""

import numpy as np

from .case import Case, integers, normal, poison, register

CASES: dict[str, Case] = {}
case = register(CASES)


@case("nvcc_library", "cub_radix_sort", grid=(2,), block=(128,))
def _(rng):
    x = integers(rng, -(2**31), 2**31, 2, 256)
    return [x, poison((2, 256), "i4")], {1: np.sort(x, 1)}


@case("nvcc_library", "cub_scan_reduce", grid=(2,), block=(128,))
def _(rng):
    x = integers(rng, -1000, 1000, 2, 128)
    return [x, poison((2, 128), "i4"), poison(2, "i4")], {1: np.cumsum(x, 1, dtype="i4") - x, 2: x.max(1)}


@case("nvcc_library", "cub_merge_sort", grid=(1,), block=(64,))
def _(rng, n=230):
    x = normal(rng, n)
    return [x, poison(n, "f4"), n], {1: np.sort(x)}


@case("nvcc_library", "cub_histogram", grid=(2,), block=(64,))
def _(rng):
    x = integers(rng, 0, 256, 512, dtype="u1")
    return [x, np.zeros(256, "u4")], {1: np.bincount(x, minlength=256).astype("u4")}


@case("nvcc_library", "cub_exchange_warp", grid=(1,), block=(64,))
def _(rng):
    x = rng.standard_normal(128)
    blocked = x.copy()
    striped = blocked.reshape(2, 64).T.reshape(-1)  # thread t holds elements t and t + 64, stored as its pair
    last = [max((t for t in range(w, w + 32) if striped[2 * t] > 0), default=-1) for w in (0, 32)]
    return [x, poison(128, "f8"), poison(2, "i4")], {1: striped, 2: np.array(last, "i4")}


@case("nvcc_library", "atomic_ref_chain", grid=(5,), block=(32,))
def _(rng, blocks=5):
    seen = np.array([3 * 2**b + 2**b - 1 for b in range(blocks)], "i4")  # v -> 2 v + 1 from 3
    return [np.array([3], "i4"), np.zeros(1, "i4"), poison(blocks, "i4")], {
        0: 2 * seen[-1:] + 1, 1: np.array([blocks], "i4"), 2: seen}


@case("nvcc_library", "atomic_ref_kinds", grid=(3,), block=(64,))
def _(rng, n=150):
    i = np.arange(n)
    bits = np.bitwise_xor.reduce(np.uint64(1) << (i & 63).astype("u8"))
    return [np.zeros(3, "i4"), np.zeros(1, "u8"), np.zeros(1, "f4"), n], {
        0: np.array([i.sum(), (i * 7 % 101).max(), 0xFFFF], "i4"), 1: np.array([bits], "u8"), 2: np.array([n / 2], "f4")}


@case("nvcc_library", "cuda_barrier", grid=(1,), block=(64,))
def _(rng, rounds=5):
    x = integers(rng, -100, 100, 64)
    v = x.copy()
    for _ in range(rounds):
        v = 3 * v + np.roll(v, -5)
    return [x, poison(64, "i4"), rounds], {1: v}


@case("nvcc_library", "cg_memcpy_async", grid=(1,), block=(128,))
def _(rng, tiles=4):
    x = integers(rng, -100, 100, tiles, 128).astype("f4")
    return [x, poison(128, "f4"), tiles], {1: x.sum(0)[::-1]}


@case("nvcc_library", "cg_reduce_scan", grid=(1,), block=(64,))
def _(rng):
    x = integers(rng, -100, 100, 4, 16)
    best = np.array([[row[(row & 3) == (v & 3)].max() for v in row] for row in x], "i4")
    return [x, poison(64, "i4"), poison(64, "i4"), poison(64, "i4")], {
        1: np.repeat(x.sum(1), 16).astype("i4"), 2: np.cumsum(x, 1, dtype="i4").reshape(-1), 3: best.reshape(-1)}


@case("nvcc_more", "semaphore", grid=(5,), block=(32,))
def _(rng):
    return [poison(5, "i4"), np.zeros(1, "i4"), poison(1, "i4")], {1: np.zeros(1, "i4"), 2: np.array([70], "i4")}


@case("nvcc_more", "compact", grid=(2,), block=(128,))
def _(rng, n=250):
    x = integers(rng, -5, 5, n)
    places = np.flatnonzero(x > 0)

    def right(got):
        np.testing.assert_array_equal(np.sort(got[: len(places)]), places)

    return [x, np.zeros(1, "i4"), poison(256, "i4"), n], {1: np.array([len(places)], "i4"), 2: right}


@case("nvcc_more", "radix_sort", grid=(1,), block=(256,))
def _(rng):
    keys = rng.integers(0, 1 << 32, 256, dtype=np.uint32)
    return [keys], {0: np.sort(keys)}


@case("nvcc_more", "insertion_sort", grid=(1,), block=(32,))
def _(rng):
    x = integers(rng, 0, 1000, 32)
    return [x, poison((32, 32), "i4")], {1: np.array([sorted(x.tolist(), key=lambda v: v ^ t) for t in range(32)], "i4")}
