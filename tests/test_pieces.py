"""Parts of tiles and tiles put together, against NumPy, in every way there is."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import f16, f32, i32, int6, u32

M, N = tc.dims("M N")
RNG = np.random.default_rng()

CUTS = {
    "half": np.s_[:, 32:], "quarter of rows": np.s_[8:16, :], "steps": np.s_[::2, 1::3], "backwards": np.s_[::-1, ::-1], "middle": np.s_[3:11, 5:50],
    "row": np.s_[2], "column": np.s_[:, -1], "new axes": np.s_[None, :, None, 4:8], "dots": np.s_[..., 7], "negative": np.s_[-3:, -9:-1],
}  # fmt: skip


@pytest.mark.parametrize("what", CUTS)
@pytest.mark.parametrize("warps", [1, 4])
def test_slices(what, warps):
    at = CUTS[what]
    x = RNG.integers(-999, 999, (16, 64)).astype(np.int32)
    want = x[at]
    shape = list(want.reshape(-1, want.shape[-1]).shape)

    @tc.kernel(warps=warps)
    def k(x: i32[16, 64], y: i32[M, N], *, what: str, shape: tuple):
        tc.grid(1)
        part = tc.load(x, [0, 0], [16, 64])[CUTS[what]]
        tc.store(y, [0, 0], part.reshape(shape))

    everywhere(k, (x, np.zeros(shape, np.int32)), {"y": want.reshape(shape)}, what=what, shape=tuple(shape))


@tc.kernel(warps=2)
def elements(x: f32[8, 12], n: i32, y: f32[12], z: f32[8], s: f32[4]):
    tc.grid(1)
    v = tc.load(x, [0, 0], [8, 12])
    tc.store(y, [0], v[n % 8])
    tc.store(z, [0], v[::-1, n])
    tc.store(s, 0, v[3, 5])
    for i in range(1, 4):
        tc.store(s, i, v[i, n - i])


@pytest.mark.parametrize("n", [5, 11])
def test_scalars_and_rows_at_run_time(n):
    x = RNG.standard_normal((8, 12)).astype(np.float32)
    s = [x[3, 5], x[1, n - 1], x[2, n - 2], x[3, n - 3]]
    everywhere(elements, (x, n, np.zeros(12, np.float32), np.zeros(8, np.float32), np.zeros(4, np.float32)), {"y": x[n % 8], "z": x[::-1, n], "s": s})


def test_an_index_out_of_bounds():
    x = np.zeros((8, 12), np.float32)
    with pytest.raises(tc.TileError, match="index 12 is out of bounds for axis 1 of the tile, which has 12 elements"):
        elements.interpret(x, 12, np.zeros(12, np.float32), np.zeros(8, np.float32), np.zeros(4, np.float32))


@tc.kernel
def together(
    x: f16[M, N], y: f16[M, N], a: f16[48, 64], b: f16[24, 128], c: f16[2, 24, 64], d: f16[24, 192], e: f16[64, 24], h: f16[24, 64]
):  # fmt: skip
    tc.grid(1)
    u, v = tc.load(x, [0, 0], [24, 64]), tc.load(y, [0, 0], [24, 64])
    tc.store(a, [0, 0], tc.concatenate([u, v]))
    tc.store(b, [0, 0], tc.interleave(u, v))
    tc.store(c, [0, 0, 0], tc.stack((u, v)))
    tc.store(d, [0, 0], tc.concatenate((v, tc.repeat(u, 2, axis=1)), axis=-1))
    tc.store(e, [0, 0], tc.permute(tc.flip(u, axis=1), (1, 0)))
    left, right = tc.split(u, 2, axis=1)
    odd = tc.concatenate([right[:5], left[:3], right[8:]])
    tc.store(h, [0, 0], tc.concatenate([odd, tc.squeeze(tc.expand_dims(left, 0), 0)], axis=1))


def test_put_together():
    x, y = RNG.integers(-99, 99, (2, 24, 64)).astype(np.float16)
    want = {
        "a": np.concatenate([x, y]), "b": np.stack([x, y], 2).reshape(24, 128), "c": np.stack([x, y]), "d": np.concatenate([y, np.repeat(x, 2, 1)], 1),
        "e": x[:, ::-1].T, "h": np.concatenate([np.concatenate([x[:5, 32:], x[:3, :32], x[8:, 32:]]), x[:, :32]], 1),
    }  # fmt: skip
    everywhere(together, (x, y, *(np.full(w.shape, np.nan, np.float16) for w in want.values())), want)


def test_what_costs_nothing():
    """Tiles of one layout are joined, and halves in registers taken, without shared memory."""

    @tc.kernel
    def k(x: f32[N], y: f32[N]):
        tc.grid(1)
        u, v = tc.load(x, [0], [512]), tc.load(x, [512], [512])
        w = tc.concatenate([v, u])
        tc.store(y, [0], w[512:])
        tc.store(y, [512], w[:512] + 1.0)

    built = k.compile("sm_90a")
    assert built.resources.shared_bytes == 0
    assert "bar.sync" not in built.ptx
    assert "shfl" not in built.ptx
    x = RNG.standard_normal(1024).astype(np.float32)
    everywhere(k, (x, np.zeros_like(x)), {"y": np.concatenate([x[:512], x[512:] + np.float32(1)])})


def test_narrow_types():
    @tc.kernel(warps=1)
    def k(x: int6[64], y: int6[64], z: u32[64]):
        tc.grid(1)
        v = tc.load(x, [0], [64])
        tc.store(y, [0], tc.flip(v))
        tc.store(z, [0], tc.cast(tc.concatenate([v[::2], v[1::2]]), u32))

    x = np.arange(64) % 30 - 15
    given = (tc.Tensor.from_values(x, int6), tc.Tensor.from_values(x * 0, int6), np.zeros(64, np.uint32))
    everywhere(k, given, {"y": x[::-1], "z": np.concatenate([x[::2], x[1::2]]) % 2**32})
