"""Groups of warps: each does its own part, with barriers of its own."""

import re

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import f16, f32

M, N = tc.dims("M N")


@tc.kernel(warps=4)
def halves(x: f32[32, 64], a: f32[32], b: f32[64]):
    """Two groups at once: sums of rows, and of columns turned around in shared memory by a group of three warps."""
    tc.grid(1)
    factor = 2.0 * tc.f32(tc.block_index(0) + 1)
    s = tc.shared(f32, [32, 64])
    with tc.warps(0, 1):
        tc.store(a, [0], tc.sum(tc.load(x, [0, 0], [32, 64]), axis=1) * factor)
    with tc.warps(1, 3):
        tc.store(s, tc.load(x, [0, 0], [32, 64]))
        tc.sync()
        turned = tc.load(s, [0, 0], [64, 32], dims=[1, 0])
        tc.store(b, [0], tc.sum(turned, axis=1) * factor)


def test_groups_of_unequal_size():
    x = np.random.default_rng(0).integers(-8, 9, (32, 64)).astype(np.float32)
    everywhere(halves, (x, np.zeros(32, np.float32), np.zeros(64, np.float32)), {"a": 2 * x.sum(axis=1), "b": 2 * x.sum(axis=0)})
    ptx = halves.compile().ptx
    assert re.search(r"bar\.sync\s+1, 96;", ptx)
    assert not re.search(r"bar\.sync\s+0", ptx)


@tc.kernel(warps=4)
def products(a: f16[64, 64], b: f16[64, 64], c: f32[64, 64], d: f32[64, 64]):
    """One group multiplies what the other has fetched; a barrier of the block hands it over."""
    tc.grid(1)
    sa, sb = tc.shared(f16, [64, 64]), tc.shared(f16, [64, 64])
    with tc.warps(0, 2):
        tc.store(sa, tc.load(a, [0, 0], [64, 64]))
    with tc.warps(2, 2):
        tc.store(sb, tc.load(b, [0, 0], [64, 64]))
    tc.sync()
    with tc.warps(0, 2):
        tc.store(c, [0, 0], tc.dot(tc.load(sa), tc.load(sb)))
    with tc.warps(2, 2):
        tc.store(d, [0, 0], tc.dot(tc.load(sb), tc.load(sa)))


def test_groups_that_multiply():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, (64, 64)).astype(np.float16) for _ in range(2))
    zeros = np.zeros((64, 64), np.float32)
    wide = a.astype(np.float64), b.astype(np.float64)
    everywhere(products, (a, b, zeros, zeros.copy()), {"c": wide[0] @ wide[1], "d": wide[1] @ wide[0]})


WRONG = {
    "a tile from outside": (
        "    v = tc.load(x, [0], [32])\n    with tc.warps(0, 1):\n        tc.store(x, [0], v + 1.0)", 8,
        "v, f32\\[32\\], is not held by warps 0 to 0"),
    "a tile that leaves": ("    with tc.warps(0, 1):\n        v = tc.load(x, [0], [32])\n    tc.store(x, [0], v)", 8, "v is assigned by warps 0 to 0 only"),
    "too many warps": ("    with tc.warps(3, 2):\n        tc.sync()", 6, "the block has 4 warps, and these are 2 from warp 3"),
    "a group in a group": ("    with tc.warps(0, 2):\n        with tc.warps(0, 1):\n            tc.sync()", 7, "a group of warps within a group"),
    "another with": ("    with x:\n        tc.sync()", 6, "with is not part of the language"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name, tmp_path):
    body, line, message = WRONG[name]
    file = tmp_path / "wrong.py"
    file.write_text("import tilec as tc\nN = tc.dims('N')\n@tc.kernel\ndef k(x: tc.f32[N]):\n    tc.grid(1)\n" + body)
    scope = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    with pytest.raises(tc.TileError, match=message) as caught:
        scope["k"].function()
    assert caught.value.loc.line == line
    if name == "a tile from outside":
        assert [loc.line for _, loc in caught.value.notes] == [6]
