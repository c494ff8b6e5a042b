"""Atomics, semaphores and fences: against NumPy, at every stage and in the simulator."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import bf16, cdiv, f16, f32, f64, i32, i64, u32, u64

M, N, K, B = tc.dims("M N K B")
T = tc.types("T")

KINDS = {
    "add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor
}  # fmt: skip


@tc.kernel(warps=2)
def fold(x: T[M, N], y: T[N], *, T: tc.DType = i32, kind: str = "add", bm: int = 4, bn: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    update = getattr(tc, "atomic_" + kind)
    for r in tc.range(bm):
        if i + r < M:
            update(y, [j], tc.load(x, [i + r, j], [bn]))


@pytest.mark.parametrize("dtype", [i32, u32, i64, u64], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_integers(kind, dtype):
    rng = np.random.default_rng(0)
    kindof = np.dtype(dtype.numpy)
    x = rng.integers(np.iinfo(kindof).min, np.iinfo(kindof).max, (10, 50), kindof, endpoint=True)
    y = rng.integers(0, 1 << 20, 50).astype(kindof)
    with np.errstate(all="ignore"):
        expected = KINDS[kind].reduce(np.concatenate([y[None], x]), axis=0, dtype=kindof)
    everywhere(fold, (x, y), {"y": expected}, T=dtype, kind=kind)
    assert "atom." not in fold.compile(T=dtype, kind=kind).ptx  # nothing reads the old values


@pytest.mark.parametrize("dtype", [f16, f32, f64], ids=str)
def test_floats(dtype):
    """Small whole numbers: their sums are exact in any order."""
    x = np.random.default_rng(0).integers(-8, 9, (10, 50)).astype(dtype.numpy)
    everywhere(fold, (x, np.ones(50, dtype.numpy)), {"y": 1 + x.sum(axis=0)}, T=dtype)


def test_pairs_of_halves():
    x = np.random.default_rng(0).integers(-8, 9, (8, 256)).astype(np.float16)
    everywhere(fold, (x, np.zeros(256, np.float16)), {"y": x.sum(axis=0)}, T=f16, bn=256)
    assert "red.relaxed.gpu.global.add.noftz.f16x2" in fold.compile(T=f16, bn=256).ptx
    with pytest.raises(tc.TileError, match="bf16 begin with sm_90"):
        fold.compile(arch="sm_80", T=bf16, bn=256)


WIDE = {f16: "red.relaxed.gpu.global.add.noftz.v4.f16x2", bf16: "red.relaxed.gpu.global.add.noftz.v4.bf16x2", f32: "red.relaxed.gpu.global.add.v4.f32"}


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("n", [512, 500, 129])
def test_sixteen_bytes_at_once(dtype, n):
    """From sm_90 on; columns that begin anywhere, or hang over the edge, are added to one by one."""
    values = np.random.default_rng(0).integers(-8, 9, (6, n))
    x, y = tc.Tensor.from_values(values, dtype), tc.Tensor.from_values(np.ones(n), dtype)
    everywhere(fold, (x, y), {"y": 1 + values.sum(axis=0)}, arch="sm_90a", T=dtype, bn=512)
    assert WIDE[dtype] in fold.compile(arch="sm_90a", T=dtype, bn=512).ptx


def test_bf16_is_refused_where_the_hardware_lacks_it():
    with pytest.raises(tc.TileError, match="bf16 begin with sm_90"):
        fold.compile(arch="sm_80", T=bf16, bn=256)


@tc.kernel(warps=2)
def count(x: i32[N], h: u32[K], *, bn: int = 128, bins: int = 32):
    tc.grid(cdiv(N, bn))
    here = tc.shared(u32, [bins])
    tc.store(here, tc.zeros(u32, [bins]))
    tc.sync()
    at = tc.block_index(0) * bn
    tc.atomic_add(here, [tc.load(x, [at], [bn])], 1, mask=tc.arange(bn) + at < N, scope="block")
    tc.sync()
    tc.atomic_add(h, [0], tc.load(here))


def test_bins_in_shared_memory():
    """What lies outside of the bins is not counted."""
    x = np.random.default_rng(0).integers(-4, 36, 1000).astype(np.int32)
    inside = x[(x >= 0) & (x < 30)]
    everywhere(count, (x, np.zeros(30, np.uint32)), {"h": np.bincount(inside, minlength=30)})


@tc.kernel(warps=2)
def in_shared(x: T[16, 64], rows: i32[16], y: T[8, 64], old: T[16, 64], *, T: tc.DType = i32, kind: str = "max"):
    """Rows of a swizzled part of a shared tile, some of them several times."""
    tc.grid(1)
    tiles = tc.shared(T, [2, 8, 64])
    tc.store(tiles[0], tc.zeros(T, [8, 64]))
    tc.store(tiles[1], tc.load(y, [0, 0], [8, 64]))
    tc.sync()
    for i in tc.static_range(4):
        found = getattr(tc, "atomic_" + kind)(tiles[1], [tc.load(rows, [4 * i], [4]), 0], tc.load(x, [4 * i, 0], [4, 64]), scope="block")
        tc.store(old, [4 * i, 0], found)
        tc.sync()
    tc.store(y, [0, 0], tc.load(tiles[1]))


@pytest.mark.parametrize(("kind", "dtype"), [("add", f32), ("add", f16), ("max", i64), ("xor", u32), ("exchange", f32), ("min", i32)])
def test_rows_of_a_shared_tile(kind, dtype):
    """Within one update each row is named once, so that the old values don't depend on an order. Row 9 does not exist."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 60, shape).astype(dtype.numpy) for shape in ((16, 64), (8, 64)))
    rows = np.array([3, 1, 9, 0, 7, 3, 2, 1, 0, 9, 5, 3, 4, 6, 1, 2], np.int32)
    after, old = y.copy(), np.zeros_like(x)
    for i, row in enumerate(rows):
        if row < 8:
            old[i] = after[row]
            after[row] = x[i] if kind == "exchange" else KINDS[kind](after[row], x[i])
    everywhere(in_shared, (x, rows, y, np.zeros_like(x)), {"y": after, "old": old}, T=dtype, kind=kind)


@tc.kernel(warps=2)
def tickets(counter: i32[1], order: i32[N], kept: i32[N, 4], *, kind: str = "add"):
    """Each block takes a number: of all threads the same one, as a scalar and in a tile that several threads hold."""
    tc.grid(N)
    mine = tc.atomic_add(counter, [0], 1, order="acq_rel")
    tc.atomic_add(order, [mine], 1)
    old = tc.atomic_exchange(kept, [mine, 0], tc.full(i32, [4], mine + 5))
    tc.atomic_add(kept, [mine, 0], old)


def test_old_values_reach_all_threads():
    kept = np.arange(40).reshape(10, 4).astype(np.int32)
    arguments = (np.zeros(1, np.int32), np.zeros(10, np.int32), kept)
    expected = {"counter": [10], "order": np.ones(10), "kept": kept + np.arange(5, 15)[:, None]}
    everywhere(tickets, arguments, expected)
    ptx = tickets.compile().ptx
    assert "atom.acq_rel.gpu.global.add.u32" in ptx
    assert "red.relaxed.gpu.global.add.u32" in ptx


@tc.kernel(warps=1)
def swap(x: i32[N], y: i32[N], old: i32[N], *, bn: int = 32):
    tc.grid(cdiv(N, bn))
    at = tc.block_index(0) * bn
    tc.store(old, [at], tc.atomic_cas(x, [at], 3, tc.load(y, [at], [bn])))


def test_compare_and_swap():
    x, y = np.arange(50).astype(np.int32) % 5, np.arange(50).astype(np.int32) * 7
    everywhere(swap, (x, y, np.zeros_like(x)), {"x": np.where(x == 3, y, x), "old": x})


@pytest.mark.parametrize(("order", "scope", "text"), [
    ("release", "sys", "red.release.sys.global.add.u32"), ("acquire", "gpu", "atom.acquire.gpu.global.add.u32"),
    ("relaxed", "block", "red.relaxed.cta.global.add.u32"),
])  # fmt: skip
def test_order_and_scope(order, scope, text):
    @tc.kernel(warps=1)
    def bump(c: i32[1]):
        tc.grid(3)
        tc.atomic_add(c, [0], 2, order=order, scope=scope)

    everywhere(bump, (np.zeros(1, np.int32),), {"c": [6]})
    assert text in bump.compile().ptx


# semaphores


@tc.kernel(warps=2)
def relay(sem: i32[1], x: f32[B, N], y: f32[N], *, bn: int = 64):
    """The blocks add their rows one after another, the last first: the sum is rounded in that order."""
    tc.grid(B)
    b = tc.block_index(0)
    tc.semaphore_wait(sem, 0, B - 1 - b)
    tc.store(y, [0], tc.load(y, [0], [bn]) + tc.load(x, [b, 0], [bn]))
    tc.semaphore_post(sem, 0)


def test_blocks_in_turn():
    x = np.random.default_rng(0).standard_normal((7, 64)).astype(np.float32)
    expected = np.zeros(64, np.float32)
    for row in x[::-1]:
        expected = expected + row
    everywhere(relay, (np.zeros(1, np.int32), x, np.zeros(64, np.float32)), {"y": expected, "sem": [7]})


@tc.kernel(warps=2)
def stream(sem: i32[1], x: f16[M, N], made: f16[M, N], y: f16[M, N], *, bm: int = 16, bn: int = 64):
    """Block 0 makes tiles, block 1 takes each when it is there: its loads must not run ahead of the wait."""
    tc.grid(2)
    tc.assume(N % 8 == 0)
    if tc.block_index(0) == 0:
        for i in range(0, M, bm):
            tc.store(made, [i, 0], tc.load(x, [i, 0], [bm, bn]) * 2.0)
            tc.semaphore_post(sem, 0)
    else:
        for i in tc.range(0, M, bm, stages=3):
            tc.semaphore_wait(sem, 0, i // bm + 1)
            tc.store(y, [i, 0], tc.load(made, [i, 0], [bm, bn]) + 1.0)


def test_loads_stay_behind_waits():
    x = np.random.default_rng(0).integers(-8, 9, (64, 64)).astype(np.float16)
    everywhere(stream, (np.zeros(1, np.int32), x, np.zeros_like(x), np.zeros_like(x)), {"y": 2 * x + 1})


@tc.kernel(warps=1)
def in_place(x: f32[M, 32], *, bm: int = 4):
    """Each round reads what the round before wrote, through a view."""
    tc.grid(1)
    same = tc.tensor_view(x, 0, shape=[M, 32])
    for i in tc.range(0, M - bm, bm, stages=3):
        tc.sync()
        tc.store(same, [i + bm, 0], tc.load(x, [i, 0], [bm, 32]) + 1.0)


def test_loads_stay_behind_stores_to_a_view():
    x = np.zeros((16, 32), np.float32)
    everywhere(in_place, (x,), {"x": np.repeat(np.arange(4), 4)[:, None] + x})


@tc.kernel(warps=1)
def lock(state: i32[1], total: i32[1], n: i32):
    """A lock by compare and swap, spun on."""
    tc.grid(n)
    busy = tc.atomic_cas(state, [0], 0, 1, order="acquire")
    while busy != 0:
        busy = tc.atomic_cas(state, [0], 0, 1, order="acquire")
    now = tc.load(total, [0])
    tc.sync()  # one thread writes what all have read
    tc.store(total, [0], now + 1)
    tc.fence("gpu")
    tc.atomic_exchange(state, [0], 0, order="release")


def test_a_lock():
    everywhere(lock, (np.zeros(1, np.int32), np.zeros(1, np.int32), 5), {"total": [5], "state": [0]})


@tc.kernel(warps=1)
def stuck(sem: i32[2]):
    tc.grid(2)
    b = tc.block_index(0)
    if b == 0:
        tc.semaphore_wait(sem, 1, 1)
    else:
        tc.semaphore_wait(sem, 0, 1)
    tc.semaphore_post(sem, b)


def test_a_deadlock_names_the_blocks_and_the_lines():
    with pytest.raises(tc.TileError, match="block 0 and block 1 wait for one another") as caught:
        stuck.interpret(np.zeros(2, np.int32))
    first = stuck.signature.source.head.line
    assert (caught.value.loc.line, caught.value.loc.column) == (first + 4, 9)
    assert [loc.line for _, loc in caught.value.notes] == [first + 6]
    found = stuck.simulate(np.zeros(2, np.int32)).findings
    assert {f.kind for f in found} == {"deadlock"}
    assert {(f.message.split(":")[0], f.at.line) for f in found} == {("block 0", first + 4), ("block 1", first + 6)}


WRONG = {
    "tc.atomic_min(x, [0], 1.0)": "no atomic min of f32",
    "tc.atomic_add(x, [0], 1.0, order='strong')": "'strong' is no order",
    "tc.atomic_add(x, [0], 1.0, scope='all')": "'all' is no scope",
    "tc.atomic_add(x, [0, 0], 1.0)": "has 1 axes, but 2 offsets",
    "tc.semaphore_wait(x, 0, 1)": "i32 or u32 tensor, not of global f32",
    "tc.fence('all')": "'all' is no scope",
}


@pytest.mark.parametrize("call", WRONG)
def test_what_there_is_not(call, tmp_path):
    file = tmp_path / "wrong.py"
    lines = ["import tilec as tc", "from tilec import f32", "N = tc.dims('N')", "@tc.kernel", "def k(x: f32[N]):", "    tc.grid(1)", f"    {call}"]
    file.write_text("\n".join(lines))
    scope = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    with pytest.raises(tc.TileError, match=WRONG[call]) as caught:
        scope["k"].function()
    assert (caught.value.loc.line, caught.value.loc.column) == (7, 5)
