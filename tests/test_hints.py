"""Hints to the caches: in the PTX, in the machine code, and without effect on results."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import cdiv, f16, f32, uint8

N, M, K = tc.dims("N M K")
T = tc.types("T")


@tc.kernel(warps=1)
def copy(x: T[N], y: T[N], *, T: tc.DType = f32, cache=None, evict=None, prefetch=None, out=None, bn: int = 256):
    tc.grid(cdiv(N, bn))
    i = tc.block_index(0) * bn
    v = tc.load(x, [i], [bn], cache=cache, evict=evict, prefetch=prefetch)
    tc.store(y, [i], v, cache=out, evict=None if out else evict)


HINTS = [
    ({"cache": "cg"}, "ld.global.cg.v4.b32"),
    ({"cache": "cs", "out": "cs"}, "st.global.cs.v4.b32"),
    ({"cache": "lu"}, "ld.global.lu"),
    ({"cache": "cv", "out": "wt"}, "st.global.wt"),
    ({"evict": "first"}, "ld.global.L1::evict_first.v4.b32"),
    ({"evict": "last", "prefetch": 128}, "ld.global.L1::evict_last.L2::128B.v4.b32"),
    ({"evict": "no_allocate", "prefetch": 256}, "st.global.L1::no_allocate.v4.b32"),
]


@pytest.mark.parametrize(("hints", "text"), HINTS, ids=[t for _, t in HINTS])
def test_loads_and_stores(hints, text):
    x = np.arange(300, dtype=np.float32)
    everywhere(copy, (x, np.zeros_like(x)), {"y": x}, **hints)
    assert text in copy.compile(**hints).ptx


@pytest.mark.parametrize(("dtype", "bn"), [(f16, 32), (f16, 64), (uint8, 32), (uint8, 128), (tc.f64, 32)])
def test_every_width(dtype, bn):
    x = tc.Tensor.from_values(np.arange(2 * bn + 3) % 100, dtype)
    y = tc.Tensor.from_values(np.zeros(2 * bn + 3), dtype)
    everywhere(copy, (x, y), {"y": x.values()}, T=dtype, bn=bn, evict="first")


@tc.kernel(warps=1)
def stage(x: f16[M, K], y: f16[M, K], *, cache=None, evict=None, prefetch=None):
    tc.grid(cdiv(M, 16))
    s = tc.shared(f16, [16, 64])
    i = tc.block_index(0) * 16
    tc.copy_async(s, x, [i, 0], cache=cache, evict=evict, prefetch=prefetch)
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [i, 0], tc.load(s))


COPIES = [
    ({"cache": "ca"}, "cp.async.ca.shared.global"),
    ({"evict": "first"}, "cp.async.cg.shared.global.L2::cache_hint ["),
    ({"evict": "last", "prefetch": 128}, "cp.async.cg.shared.global.L2::cache_hint.L2::128B"),
    ({"prefetch": 64}, "cp.async.cg.shared.global.L2::64B"),
]


@pytest.mark.parametrize(("hints", "text"), COPIES, ids=[t for _, t in COPIES])
def test_asynchronous_copies(hints, text):
    x = np.random.default_rng(0).standard_normal((20, 64)).astype(np.float16)
    everywhere(stage, (x, np.zeros_like(x)), {"y": x}, **hints)
    assert text in stage.compile(**hints).ptx


WRONG = [({"cache": "cx"}, "'cx' is not a hint of load"), ({"evict": "soon"}, "'soon' is not"), ({"prefetch": 32}, "not 32")]


@pytest.mark.parametrize(("hints", "message"), [*WRONG, ({"cache": "cg", "evict": "last"}, "PTX takes one")])
def test_hints_that_there_are_not(hints, message):
    with pytest.raises(tc.TileError, match=message) as caught:
        copy.function(**hints)
    assert caught.value.loc.line == copy.signature.source.head.line + 3
