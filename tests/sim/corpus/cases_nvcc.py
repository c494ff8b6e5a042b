"""Cases of nvcc's PTX: memory, warps, synchronization, atomics, control flow. (Arithmetic and tensor cores: cases_nvcc_math.py.)"""

import ml_dtypes
import numpy as np

from . import cases_nvcc_library, cases_nvcc_math
from .case import UNIT, Case, Near, integers, normal, poison, product, register, rounded

CASES: dict[str, Case] = {}
case = register(CASES)


def anything(got):
    """The output is scratch."""


# ---------------------------------------------------------------- basic.cu


@case("nvcc_basic", "saxpy", grid=(3,), block=(128,))
def _(rng, n=1000):
    x, y = normal(rng, n), normal(rng, n)
    v = 2.5 * x.astype("f8")
    return [n, np.float32(2.5), x, y.copy()], {3: rounded(v + y, extra=UNIT["f32"] * np.abs(v))}


@case("nvcc_basic", "saxpy_vec4", grid=(2,), block=(128,))
def _(rng, n=800):
    x, y = normal(rng, n), normal(rng, n)
    v = 2.5 * x.astype("f8")
    return [n // 4, np.float32(2.5), x, y.copy()], {3: rounded(v + y, extra=UNIT["f32"] * np.abs(v))}


@case("nvcc_basic", "stencil", grid=(4, 3), block=(16, 16))
def _(rng, h=41, w=55):
    x = normal(rng, h, w)
    p = np.pad(x.astype("f8"), 1)
    y = 0.5 * p[1:-1, 1:-1] + 0.125 * (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:])
    return [x, poison((h, w), "f4"), h, w], {1: Near(y, 6 * UNIT["f32"] * np.abs(x).max())}


for _name in "transpose_padded", "transpose_plain":

    @case("nvcc_basic", _name, grid=(3, 2), block=(32, 8))
    def _(rng, h=50, w=75):
        x = normal(rng, h, w)
        return [x, poison((w, h), "f4"), h, w], {1: x.T}


@case("nvcc_basic", "gather_scatter", grid=(4,), block=(64,))
def _(rng, n=250):
    x, to = rng.standard_normal(300), rng.permutation(n).astype("i8")
    at = integers(rng, 0, 300, n)
    y = np.empty(n)
    y[to] = x[at]
    return [x, at, to, poison(n, "f8"), n], {3: y}


AFFINE = np.dtype(
    {
        "names": ["m", "t", "negate", "round", "scale"],
        "formats": [("f4", (3, 3)), ("f4", 3), "i1", "i2", "f8"],
        "offsets": [0, 36, 48, 50, 56],
        "itemsize": 64,
    }
)


def affine(rng):
    f = np.zeros((), AFFINE)
    f["m"], f["t"], f["negate"], f["round"], f["scale"] = integers(rng, -4, 5, 3, 3), integers(rng, -4, 5, 3), 1, -3, 0.25
    return f


@case("nvcc_basic", "struct_param", grid=(2,), block=(64,))
def _(rng, n=100):
    f, x = affine(rng), integers(rng, -10, 10, n, 3).astype("f4")
    return [f.tobytes(), x, poison((n, 3), "f4"), n], {2: (-(x @ f["m"].T + f["t"]) * 0.25 - 3).astype("f4")}


@case("nvcc_basic", "struct_param_dynamic", grid=(2,), block=(64,))
def _(rng, n=100):
    f, row = affine(rng), integers(rng, 0, 3, n)
    return [f.tobytes(), row, poison(n, "f4"), n], {2: f["m"][row, (row + np.arange(n)) % 3] + f["t"][row]}


@case("nvcc_basic", "const_table", grid=(2,), block=(64,))
def _(rng, n=100):
    x, u = normal(rng, n), integers(rng, 0, 2**32, n, dtype="u4")
    box = np.array([12, 5, 6, 11, 9, 0, 10, 13, 3, 14, 15, 8, 4, 7, 1, 2], "u4")
    v = (
        sum(box[u >> np.uint32(k) & np.uint32(15)] << np.uint32(k) for k in range(0, 32, 4))
        + np.array([100, 200, 300, 400], "u4")[np.arange(n) & 3]
    )
    p = np.polyval([-1.5, 2, 0.25, -0.5, 1], x.astype("f8"))
    size = np.polyval([1.5, 2, 0.25, 0.5, 1], np.abs(x.astype("f8")))
    return [x, u, poison(n, "f4"), poison(n, "u4"), n], {2: Near(p, 10 * UNIT["f32"] * size), 3: v.astype("u4")}


@case("nvcc_basic", "dynamic_shared_sum", grid=(3,), block=(64,), shared=512)
def _(rng, per_block=500):
    x = integers(rng, -1000, 1000, 3, per_block).astype("f8")
    return [x, poison(3, "f8"), per_block], {1: x.sum(1)}


@case("nvcc_basic", "local_array", grid=(2,), block=(32,))
def _(rng, n=50):
    x = integers(rng, -100, 100, n, 16)
    counts = np.array([np.bincount(row.view("u4") % np.uint32(7), minlength=7) for row in x], "i4")
    return [x, poison((n, 16), "i4"), poison((n, 7), "i4"), n], {1: np.sort(x, 1), 2: counts}


@case("nvcc_basic", "narrow_and_generic", grid=(3,), block=(64,))
def _(rng, n=150):
    b, h = integers(rng, 0, 256, n, dtype="u1"), integers(rng, -1000, 1000, n, dtype="i2")
    i, t = np.arange(192), np.arange(192) % 64
    block = i - t
    sb = b[(block + (t + 1) % 64) % n].astype("i4") - 128
    y = np.where(i & 1, 3 * (63 - t), 0) + sb * h[i % n] + (b[i % n].astype("i4") >> 3 & 5)
    return [b, h, poison(192, "i4"), n], {2: y.astype("i4")}


@case("nvcc_basic", "matmul_shared", grid=(4, 4), block=(16, 16))
def _(rng, n=64):
    a, b = normal(rng, n, n), normal(rng, n, n)
    return [a, b, poison((n, n), "f4"), n], {2: product(a, b)}


# ---------------------------------------------------------------- warp.cu


@case("nvcc_warp", "reduce_shuffle", grid=(3,), block=(256,))
def _(rng, n=700):
    x = normal(rng, n)
    blocks = [x[k : k + 256] for k in (0, 256, 512)]
    return [x, poison(3, "f4"), poison(3, "f4"), n], {
        1: Near(np.array([b.astype("f8").sum() for b in blocks]), 16 * UNIT["f32"] * 256),
        2: np.array([b.max() for b in blocks]),
    }


@case("nvcc_warp", "shuffles", grid=(1,), block=(64,))
def _(rng, n=64):
    x, z = integers(rng, -1000, 1000, n), rng.integers(-(2**62), 2**62, n)
    t = np.arange(n)
    lane, base = t % 32, t - t % 32
    up = np.where(lane >= 3, x[np.maximum(t - 3, 0)], x)
    down = np.where(lane % 8 + 5 < 8, x[np.minimum(t + 5, n - 1)], x)
    idx = x[base + lane // 16 * 16 + (t * 7 + 1) % 16]
    return [x, z, poison((4, n), "i4"), poison(n, "i8"), n], {2: np.stack([up, down, idx, x[base + (lane ^ 9)]]), 3: z[base + 31 - lane]}


@case("nvcc_warp", "scan_block", grid=(2,), block=(256,))
def _(rng):
    x = integers(rng, -1000, 1000, 2, 256)
    return [x, poison((2, 256), "i4")], {1: np.cumsum(x, 1, dtype="i4")}


def ballot(flags):
    return sum(1 << i for i, x in enumerate(flags) if x)


@case("nvcc_warp", "votes", grid=(1,), block=(96,))
def _(rng, n=96):
    x = integers(rng, -8, 8, n)
    x[32:64] = np.abs(x[32:64])
    out = np.zeros((8, n), "u4")
    for t in range(n):
        w, lane = x[t - t % 32 : t - t % 32 + 32], t % 32
        pieces = [(np.arange(96) >> 6)[t - lane : t - lane + 32]]
        same = len(set(pieces[0].tolist())) == 1
        out[:, t] = [
            ballot(w & 1),
            (w == 5).any(),
            (w >= 0).all(),
            ballot(w == w[lane]),
            0xFFFFFFFF if same else 0,
            same,
            ballot(w & 2) if w[lane] & 2 else 0,
            bin(ballot(w & 1) & ((1 << lane) - 1)).count("1"),
        ]
    return [x, poison((8, n), "u4"), n], {1: out}


@case("nvcc_warp", "subset_votes", grid=(1,), block=(64,))
def _(rng, n=64):
    x = integers(rng, -8, 8, n)
    out = np.zeros((6, n), "i8")
    for t in range(n):
        shift = t & 24
        w = x[t - t % 8 : t - t % 8 + 8]
        out[:, t] = [
            ballot(w & 1) << shift,
            2 * (w == 5).any() + (w >= -6).all(),
            ballot(w == x[t]) << shift,
            (0xFF << shift) + 1,
            int(w.max()) & 0xFFFFFFFF,
            int(w[3]) & 0xFFFFFFFF,
        ]
    return [x, poison((6, n), "u4"), n], {1: out.astype("u4")}


@case("nvcc_warp", "redux_all", grid=(1,), block=(64,))
def _(rng, n=64):
    x = integers(rng, -(2**31), 2**31, n)
    w = x.reshape(2, 32)
    ops = [
        w.sum(1, dtype="i4"),
        w.min(1),
        w.max(1),
        *(f.reduce(w, axis=1) for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)),
        w.view("u4").max(1).view("i4"),
    ]
    return [x, poison((7, n), "i4"), n], {1: np.repeat(np.stack(ops), 32, axis=1)}


@case("nvcc_warp", "half_warps", grid=(1,), block=(64,))
def _(rng):
    x = integers(rng, -100, 100, 2, 16, 2)
    y = np.empty_like(x)
    y[:, :, 0], y[:, :, 1] = x[:, :, 0].max(1)[:, None], x[:, :, 1].sum(1)[:, None]
    return [x.reshape(-1), poison(64, "i4")], {1: y.reshape(-1)}


@case("nvcc_warp", "tiles", grid=(1,), block=(64,))
def _(rng, n=64):
    x = integers(rng, -20, 20, n).astype("f4")
    warp = (x > 0).reshape(2, 32)
    rank = np.where(warp, (np.cumsum(warp, 1) - 1) * 100 + warp.sum(1)[:, None], -7).reshape(-1)
    return [x, poison(n, "f4"), np.full(n, -7, "i4")], {1: np.repeat(x.reshape(8, 8).sum(1), 8), 2: rank.astype("i4")}


@case("nvcc_warp", "compact_negative", grid=(3,), block=(128,))
def _(rng, n=350):
    x = integers(rng, -1000, 1000, n)
    keep = np.sort(x[x < 0])

    def permuted(got):
        assert (np.sort(got[: keep.size]) == keep).all(), "the kept keys are not those expected"
        assert (got[keep.size :] == poison(1, "i4")).all(), "written beyond the count"

    return [x, poison(n, "i4"), np.zeros(1, "u4"), n], {1: permuted, 2: np.array([keep.size], "u4")}


@case("nvcc_warp", "syncwarp_exchange", grid=(1,), block=(128,))
def _(rng):
    x = integers(rng, -100, 100, 4, 32).astype("f4")
    return [x.reshape(-1), poison(128, "f4")], {1: np.repeat(x.sum(1), 32)}


# ---------------------------------------------------------------- sync.cu


@case("nvcc_sync", "named_barriers", grid=(1,), block=(128,))
def _(rng, rounds=7):
    x = integers(rng, -100, 100, rounds, 64).astype("f4")
    return [x, poison(64, "f4"), rounds], {1: 2 * x.sum(0)[::-1]}


@case("nvcc_sync", "half_block_barriers", grid=(2,), block=(128,))
def _(rng):
    x = integers(rng, -100, 100, 2, 64)
    y = np.stack([np.roll(x[0], -6) + 6, np.roll(x[1], -3) + 3])
    return [x.reshape(-1), poison(128, "i4")], {1: y.reshape(-1)}


@case("nvcc_sync", "barrier_reductions", grid=(3,), block=(96,))
def _(rng, blocks=3, threads=96):
    x = integers(rng, 0, 10, blocks, threads)
    x[0] %= 9
    x[1, 5] = -2
    rows = np.stack([(x > 3).sum(1), (x >= 0).all(1), (x == 9).any(1)])

    def nonzero(got):  # the and and the or are any nonzero value
        want = np.repeat(rows, threads, 1)
        assert (got[0] == want[0]).all(), "count"
        assert ((got[1:] != 0) == want[1:]).all(), "and, or"

    return [x, poison((3, blocks * threads), "i4"), blocks * threads], {1: nonzero}


@case("nvcc_sync", "spinlock", grid=(7,), block=(32,))
def _(rng, blocks=7):
    v = 0
    for _ in range(blocks):
        v = v * 3 % 1000003 + 1
    return [np.zeros(1, "i4"), np.zeros(1, "i4"), np.zeros(blocks, "i4")], {
        0: np.zeros(1, "i4"),
        1: np.array([v], "i4"),
        2: np.ones(blocks, "i4"),
    }


@case("nvcc_sync", "last_block_sum", grid=(6,), block=(128,))
def _(rng, n=700):
    x = integers(rng, -100, 100, n).astype("f4")
    return [x, poison(6, "f4"), poison(1, "f4"), np.zeros(1, "u4"), n], {1: anything, 2: x.sum(keepdims=True), 3: np.zeros(1, "u4")}


@case("nvcc_sync", "grid_sweeps", grid=(4,), block=(64,))
def _(rng, n=256, sweeps=5):
    a = normal(rng, n)
    v = a.astype("f8")
    for _ in range(sweeps):
        v = 0.25 * np.roll(v, 1) + 0.5 * v + 0.25 * np.roll(v, -1)
    return [a, poison(n, "f4"), np.zeros(1, "u4"), n, sweeps], {
        0: anything,
        1: Near(v, 16 * UNIT["f32"] * np.abs(a).max()),
        2: np.array([20], "u4"),
    }


@case("nvcc_sync", "chained_scan", grid=(6,), block=(64,))
def _(rng, blocks=6):
    x = integers(rng, -1000, 1000, blocks * 64)
    y = np.cumsum(x, dtype="i4")
    return [x, poison(blocks * 64, "i4"), poison(blocks, "i4"), np.zeros(blocks, "i4")], {1: y, 2: y[63::64], 3: np.ones(blocks, "i4")}


@case("nvcc_sync", "uniform_branch_barrier", grid=(1,), block=(96,))
def _(rng):
    x = integers(rng, -1000, 1000, 96)
    return [x, poison(96, "i4"), 3], {1: x[::-1]}


@case("nvcc_sync", "early_exit", grid=(2,), block=(128,))
def _(rng):
    x = integers(rng, -1000, 1000, 128)
    return [x, np.full(128, -1, "i4")], {1: np.concatenate([x[95::-1], np.full(32, -1, "i4")])}


# ---------------------------------------------------------------- async.cu

for _stages in (2, 3, 4):

    @case("nvcc_async", f"pipeline{_stages}", grid=(2,), block=(64,))
    def _(rng, tiles=9):
        x = integers(rng, -20, 20, 2, tiles, 64, 4).astype("f4")
        y = (x * np.array([1, 2, 1, 1], "f4")).sum(1)
        y[..., 3] = (x[..., 3] ** 2).sum(1)
        return [x, poison((2, 64, 4), "f4"), tiles], {1: y[:, ::-1]}


@case("nvcc_async", "cp_async_sizes", grid=(1,), block=(64,))
def _(rng, n=201):
    x = integers(rng, -1000, 1000, n)
    a = np.concatenate([x, np.zeros(256 - n, "i4")]).reshape(64, 4)
    b, c = x[:128].reshape(64, 2), x[:64]
    return [x, poison((64, 4), "i4"), n], {1: np.stack([a[:, 0] + a[:, 3], a[:, 1], a[:, 2] + b[:, 0], b[:, 1] + c], 1)}


@case("nvcc_async", "mbarrier_block", grid=(2,), block=(64,))
def _(rng, rounds=5):
    x = integers(rng, -1000, 1000, 64)
    return [x, poison(64, "i4"), rounds], {1: np.roll(x, -rounds) + rounds}


@case("nvcc_async", "mbarrier_pipeline", grid=(1,), block=(64,))
def _(rng, tiles=7):
    x = integers(rng, -100, 100, tiles, 32)
    y = np.zeros(32, "i4")
    for row in x:
        y = y * 3 + row[::-1]
    return [x, poison(32, "i4"), tiles], {1: y}


# ---------------------------------------------------------------- atomics.cu


@case("nvcc_atomics", "atomics_u32", grid=(3,), block=(64,))
def _(rng, n=170):
    x = integers(rng, 0, 2**32, n, dtype="u4")
    start = np.array([5, 5, 0xFFFFFFFF, 0, 0, 0xFFFFFFFF, 0, 0, 50, 0, 0], "u4")
    inc, dec = 0, 50
    for _ in range(n):
        inc, dec = (0 if inc >= 96 else inc + 1), (96 if dec == 0 or dec > 96 else dec - 1)
    total = int(x.astype("u8").sum())
    want = [
        (5 + total) % 2**32,
        (5 - total) % 2**32,
        *(f.reduce(x) for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)),
        x.min(),
        x.max(),
        inc,
        dec,
        1,
        1,
    ]
    return [x, start, n], {1: np.array(want, "u4")}


@case("nvcc_atomics", "atomics_s32", grid=(3,), block=(64,))
def _(rng, n=170):
    x = integers(rng, -(2**31), 2**31, n)
    return [x, np.zeros(2, "i4"), n], {1: np.array([x.min(), x.max()])}


@case("nvcc_atomics", "atomics_64", grid=(3,), block=(64,))
def _(rng, n=170):
    x = rng.integers(-(2**63), 2**63 - 1, n)
    u = x.view("u8")
    want = [u.sum(), np.bitwise_and.reduce(u), np.bitwise_or.reduce(u), np.bitwise_xor.reduce(u), u.min(), u.max()]
    start = np.array([0, 2**64 - 1, 0, 0, 2**64 - 1, 0], "u8")
    return [x, np.zeros(2, "i8"), start, n], {1: np.array([x.min(), x.max()]), 2: np.array(want, "u8")}


# on sm_80 the header adds bf16 pairs by compare-and-swap, starting from a plain load: a data race by the letter of the memory model
@case("nvcc_atomics", "atomics_float", grid=(2,), block=(64,), known=("race",))
def _(rng, n=100):
    x = integers(rng, -2, 3, n).astype("f4")  # sums stay exact in bf16 (below 256)
    s = x.sum()
    by4 = np.array([x[k::4].sum() for k in range(4)], "f4")
    pair = np.array([s, n], ml_dtypes.bfloat16).view("u2")
    return [x, np.zeros(4, "f4"), np.zeros(4, "f8"), np.zeros(2, "f2"), np.zeros(1, "f2"), np.zeros(2, "u2"), n], {
        1: by4,
        2: by4.astype("f8") / 2,
        3: np.array([s, -s], "f2"),
        4: np.array([s], "f2"),
        5: pair,
    }


@case("nvcc_atomics", "cas_loops", grid=(3,), block=(64,))
def _(rng, n=170):
    x = normal(rng, n)
    ups = int((x > 0).sum())
    total = sum(7 * i for i in range(n)) % 2**16
    return [x, np.array([-np.inf], "f4"), np.ones(1, "f8"), np.array([0, 9], "u2"), n], {
        1: x.max(keepdims=True),
        2: np.array([2.0 ** (2 * ups - n)]),
        3: np.array([total, 9], "u2"),
    }


@case("nvcc_atomics", "tickets", grid=(3,), block=(64,))
def _(rng, n=192):
    return [np.zeros(1, "i4"), np.zeros(n, "i4"), poison(n, "i4"), n], {
        0: np.array([n], "i4"),
        1: np.ones(n, "i4"),
        2: np.full(n, 64001, "i4"),
    }


@case("nvcc_atomics", "histogram_shared", grid=(3,), block=(128,))
def _(rng, n=2000):
    x = (normal(rng, n) * 20 + 128).clip(0, 255).astype("u1")
    return [x, np.zeros(256, "u4"), n], {1: np.bincount(x, minlength=256).astype("u4")}


@case("nvcc_atomics", "push_list", grid=(3,), block=(64,))
def _(rng, n=170):
    def chain(link):  # each node follows exactly one other but the head; -1 ends the list
        assert np.unique(link).size == n, "two nodes have the same successor"
        assert link.min() == -1, "the list has no end"
        assert link.max() < n, "a successor that does not exist"

    return [np.array([-1], "i4"), poison(n, "i4"), n], {0: anything, 1: chain}


# ---------------------------------------------------------------- control.cu


def c_div(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def wrap(v):
    return (v + 2**31) % 2**32 - 2**31


@case("nvcc_control", "dense_switch", grid=(3,), block=(64,))
def _(rng, n=170):
    op, x = integers(rng, -1, 10, n), integers(rng, -10000, 10000, n)

    def one(o, v):
        if o == 0:
            r = v + 1
            for k in range(v & 3):
                r = r * 5 + k
            return r
        u = v & 0xFFFFFFFF
        return {
            1: v * v - 3,
            2: bin(u).count("1") << (v & 7),
            3: c_div(v, 7),
            5: v >> 2,
            4: v >> 2,
            6: (32 - ((u | 1).bit_length())) * v,
            7: abs(v) - 100,
        }.get(o, -1)

    want = np.array([wrap(one(int(o), int(v))) for o, v in zip(op, x, strict=True)], "i4")
    return [op, x, poison(n, "i4"), n], {2: want}


@case("nvcc_control", "jump_table", grid=(3,), block=(64,))
def _(rng, n=170):
    op, x = integers(rng, 0, 6, n), integers(rng, -10000, 10000, n)
    want = np.select([op == 0, op == 1, op == 2, op == 3], [x + 100, x * 3, -x ^ 7, x ^ 7], x)
    return [op, x, poison(n, "i4"), n], {2: want}


@case("nvcc_control", "function_pointers", grid=(2,), block=(64,))
def _(rng, n=100):
    op, x = integers(rng, 0, 3, n), integers(rng, -50, 50, n).astype("f4")
    return [op, x, poison(n, "f4"), n], {2: np.select([op == 0, op == 1], [x * x, x / 2], x + 3)}


@case("nvcc_control", "noinline_calls", grid=(2,), block=(64,))
def _(rng, n=100):
    x = integers(rng, -50, 50, n, 4).astype("f4")
    q = np.trunc(x / np.float32(0.75))
    return [x, poison(n, "i4"), poison(n, "f4"), n], {1: q.sum(1).astype("i4"), 2: (x - q * np.float32(0.75)).sum(1)}


@case("nvcc_control", "recursion", grid=(1,), block=(32,))
def _(rng, n=16):
    m, k = integers(rng, 0, 3, n), integers(rng, 0, 5, n)
    return [m, k, poison(n, "i4"), n], {2: np.select([m == 0, m == 1], [k + 1, k + 2], 2 * k + 3)}


@case("nvcc_control", "print_values", grid=(2,), block=(32,))
def _(rng, n=50):
    x = integers(rng, -3, 50, n)
    return [x, n], {}


@case("nvcc_control", "assert_positive", grid=(2,), block=(32,))
def _(rng, n=50):
    x = integers(rng, 1, 50, n)
    return [x, poison(n, "i4"), n], {1: x + 1}


@case("nvcc_control", "mandelbrot", grid=(2, 4), block=(16, 8))
def _(rng, h=28, w=30, limit=30):
    px, py = np.meshgrid(np.arange(w), np.arange(h))
    cx, cy = -2 + 2.5 * px / w, -1.25 + 2.5 * py / h
    a, b, k = np.zeros((h, w)), np.zeros((h, w)), np.zeros((h, w), "i4")
    for _ in range(limit):
        go = a * a + b * b <= 4
        a, b, k = np.where(go, a * a - b * b + cx, a), np.where(go, 2 * a * b + cy, b), k + go

    def close(got):  # fused multiply-adds may move a point whose orbit passes by the circle of escape
        assert (got != k).mean() < 0.02, f"{(got != k).sum()} of {k.size} escape times differ"

    return [poison((h, w), "i4"), w, h, limit], {0: close}


@case("nvcc_control", "nested_divergence", grid=(2,), block=(64,))
def _(rng, n=100):
    x = integers(rng, 0, 64, n)

    def one(v):
        r = 0
        for a in range(6):
            if not v >> a & 1:
                continue
            for b in range(8):
                if ((v + b) & 7) == a:
                    break
                r += a * b + 1
                if r > 120:
                    return -r
            r ^= v & a
        return r

    return [x, poison(n, "i4"), n], {1: np.array([one(int(v)) for v in x], "i4")}


@case("nvcc_control", "virtual_calls", grid=(2,), block=(64,))
def _(rng, n=100):
    x = integers(rng, -10, 10, n).astype("f4")
    return [x, poison(n, "f4"), n], {1: np.where(x > 0, 3 * x * x, 2 * x) + 1}


# ---------------------------------------------------------------- sort.cu


@case("nvcc_sort", "bitonic_sort", grid=(2,), block=(64,), shared=512)
def _(rng):
    x = integers(rng, 0, 2**32, 2, 128, dtype="u4")
    return [x.copy()], {0: np.sort(x, 1)}


@case("nvcc_sort", "radix_sort", grid=(2,), block=(256,))
def _(rng, bits=9):
    x = integers(rng, 0, 2**bits, 2, 256, dtype="u4")
    return [x.copy(), bits], {0: np.sort(x, 1)}


@case("nvcc_sort", "top4", grid=(2,), block=(128,))
def _(rng):
    x = integers(rng, -300, 300, 2, 512).astype("f4")
    place = np.argsort(-x, 1, kind="stable")[:, :4]
    return [x, poison((2, 4), "f4"), poison((2, 4), "i4")], {1: np.take_along_axis(x, place, 1), 2: place.astype("i4")}


CASES.update(cases_nvcc_math.CASES)
CASES.update(cases_nvcc_library.CASES)
