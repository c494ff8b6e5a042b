"""Shifts by amounts that vary, as PTX: LLVM folds a guarded shift into PTX's own, which sees 32 bits of the amount."""

import numpy as np
import pytest

import tilec as tc
from tilec import i16, i32, i64, u16, u32, u64

T = tc.types("T")
RNG = np.random.default_rng()


@tc.kernel(warps=1)
def shifted(x: T[64], y: T[64], left: T[64], right: T[64], *, T: tc.DType = i64):
    tc.grid(1)
    v, by = tc.load(x, [0], [64]), tc.load(y, [0], [64])
    tc.store(left, [0], v << by)
    tc.store(right, [0], v >> by)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("dtype", [i64, u64, i32, u32, i16, u16], ids=str)
def test_amounts_of_the_width_and_more_leave_nothing_but_signs(dtype, arch):
    """Python's integers, cut to the width; amounts whose low 32, 16 or 8 bits alone would be a small shift among them. A negative one is large."""
    bits, kind = dtype.bits, np.dtype(dtype.numpy)
    edges = [n for n in (0, 1, bits - 1, bits, bits + 1, 255, 256, 257, (1 << 16) + 3, (1 << 32) + 3, (1 << 32) - 1, 1 << 63) if n < 1 << bits]
    amounts = (edges * 64)[:64] if not dtype.is_signed else ([*edges, (1 << bits) - 1] * 64)[:64]
    codes = RNG.integers(0, 1 << 63, 64, np.uint64, endpoint=True) >> np.uint64(64 - bits)
    codes[::3] |= np.uint64(1 << bits - 1)
    x = codes.astype(f"u{bits // 8}").view(kind)
    y = np.array(amounts, np.uint64).astype(f"u{bits // 8}").view(kind)
    left = [(int(v) << a if a < bits else 0) & (1 << bits) - 1 for v, a in zip(x, amounts, strict=True)]
    right = [(int(v) >> min(a, bits)) & (1 << bits) - 1 for v, a in zip(x, amounts, strict=True)]
    expected = {name: np.array(v, np.uint64).astype(f"u{bits // 8}").view(kind) for name, v in (("left", left), ("right", right))}
    for run in (shifted.interpret, shifted.simulate):
        found = {"left": np.full(64, 77, kind), "right": np.full(64, 77, kind)}
        run(x, y, *found.values(), T=dtype, arch=arch)
        for name, want in expected.items():
            np.testing.assert_array_equal(found[name], want, name)
