"""`ldmatrix` and `stmatrix` wherever rows of 16 bytes allow: elements of any width that fills registers, transposed if of 16 bits."""

import re

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import bf16, f16, f32, float8_e4m3, i32, int4, int8, uint1, uint4
from tilec.backend.sass import disassemble
from tilec.backend.tools import find

X, A = tc.types("X A")
RNG = np.random.default_rng()


def moves(kernel, arch, **constants):
    """The matrix moves of the kernel's PTX."""
    return set(re.findall(r"((?:ld|st)matrix)\.sync\.aligned\.m8n8\.x4(\.trans)?", kernel.compile(arch, **constants).ptx))


@tc.kernel(warps=4)
def product(x: f16[64, 32], w: f16[32, 64], y: X[64, 64], t: X[64, 64], *, X: tc.DType = f16):
    """A product through shared memory, as it is and transposed."""
    tc.grid(1)
    s, u = tc.shared(X, [64, 64]), tc.shared(X, [64, 64])
    acc = tc.cast(tc.dot(tc.load(x, [0, 0], [64, 32]), tc.load(w, [0, 0], [32, 64]), tc.zeros(f32, [64, 64])), X)
    tc.store(s, acc)
    tc.store(u, [0, 0], acc, dims=[1, 0])
    tc.sync()
    tc.store(y, [0, 0], tc.load(s))
    tc.store(t, [0, 0], tc.load(u))


@pytest.mark.parametrize("dtype", [f16, bf16], ids=str)
def test_fragments_are_stored_by_stmatrix(dtype):
    x, w = RNG.integers(-3, 4, (64, 32)).astype(np.float16), RNG.integers(-3, 4, (32, 64)).astype(np.float16)
    exact = dtype.round(x.astype(np.float64) @ w.astype(np.float64))
    outputs = [tc.Tensor.from_values(np.zeros((64, 64)), dtype) for _ in range(2)]
    report = everywhere(product, (x, w, *outputs), {"y": exact, "t": exact.T}, arch="sm_90a", X=dtype)
    assert all(c.ways == c.ideal_ways for c in report.costs if "matrix" in c.site.text)
    assert {("stmatrix", ""), ("stmatrix", ".trans")} <= moves(product, "sm_90a", X=dtype)
    assert not any(name == "stmatrix" for name, _ in moves(product, "sm_80", X=dtype))
    assert "stmatrix" not in product.compile("sm_90a", X=f32).ptx  # fragments of a product are not those of words


@tc.kernel(warps=2)
def stages(x: f16[3, 16, 32], y: f16[16, 32], k: i32, *, step: int = 512):
    """Slices of a ring, at multiples of 16 bytes and not."""
    tc.grid(1)
    s = tc.shared(f16, [3, 16, 32], strides=[step, 32, 1])
    one = tc.local(2, 1).spatial(1, 2).local(1, 2).spatial(8, 4).local(1, 2)
    for i in range(3):
        tc.store(s[i], tc.load(x, [i, 0, 0], [16, 32], layout=one))
    tc.sync()
    tc.store(y, [0, 0], tc.load(s[k], layout=one))


@pytest.mark.parametrize(("step", "by_rows"), [(512, True), (516, False)])
def test_slices_must_begin_at_rows(step, by_rows):
    x = RNG.standard_normal((3, 16, 32)).astype(np.float16)
    everywhere(stages, (x, np.zeros((16, 32), np.float16), 2), {"y": x[2]}, arch="sm_90", step=step)
    found = moves(stages, "sm_90", step=step)
    assert found == ({("ldmatrix", ""), ("stmatrix", "")} if by_rows else set())


@tc.kernel(warps=4)
def narrow(x: A[64, 128], w: A[64, 128], y: i32[64, 64], *, A: tc.DType = int8, k: int = 128):
    """Both operands lie along k, as these instructions want them."""
    tc.grid(1)
    s, u = tc.shared(A, [64, k]), tc.shared(A, [64, k])
    tc.copy_async(s, x, [0, 0])
    tc.copy_async(u, w, [0, 0])
    tc.commit()
    tc.wait(0)
    tc.sync()
    tc.store(y, [0, 0], tc.dot(tc.load(s), tc.load(u, [0, 0], [k, 64], dims=[1, 0]), tc.zeros(i32, [64, 64])))


@pytest.mark.parametrize("dtype", [int8, int4, uint4, uint1], ids=str)
def test_integers_of_8_bits_and_less(dtype):
    x, w = (RNG.integers(int(dtype.min), int(dtype.max) + 1, (64, 128)) for _ in range(2))
    given = [tc.Tensor.from_values(v.astype(np.float64), dtype) for v in (x, w)]
    report = everywhere(narrow, (*given, np.zeros((64, 64), np.int32)), {"y": x @ w.T}, A=dtype)
    assert moves(narrow, "sm_80", A=dtype) == {("ldmatrix", "")}
    assert report.shared_conflicts == 0


@tc.kernel(warps=4)
def floats(x: A[64, 64], w: A[64, 64], y: f32[64, 64], *, A: tc.DType = f32, mode: str = "tf32"):
    tc.grid(1)
    s, u = tc.shared(A, [64, 64]), tc.shared(A, [64, 64])
    tc.store(s, tc.load(x, [0, 0], [64, 64]))
    tc.store(u, tc.load(w, [0, 0], [64, 64]))
    tc.sync()
    b = tc.load(u, [0, 0], [64, 64], dims=[1, 0])
    if mode:
        tc.store(y, [0, 0], tc.dot(tc.load(s), b, tc.zeros(f32, [64, 64]), precision=mode))
    else:
        tc.store(y, [0, 0], tc.dot(tc.load(s), b, tc.zeros(f32, [64, 64])))


@pytest.mark.parametrize(("dtype", "mode", "arch"), [(f32, "tf32", "sm_80"), (float8_e4m3, "", "sm_89")], ids=str)
def test_tf32_and_8_bit_floats(dtype, mode, arch):
    x, w = (RNG.integers(-8, 9, (64, 64)).astype(np.float64) for _ in range(2))
    given = [tc.Tensor.from_values(v, dtype) for v in (x, w)]
    report = everywhere(floats, (*given, np.zeros((64, 64), np.float32)), {"y": x @ w.T}, arch=arch, A=dtype, mode=mode)
    assert moves(floats, arch, A=dtype, mode=mode) == {("ldmatrix", "")}
    assert report.shared_conflicts == 0


@pytest.mark.skipif(not find("nvdisasm"), reason="machine code is read by nvdisasm")
@tc.kernel(warps=4)
def by_columns(x: f16[64, 32], w: f16[32, 64], factors: X[3, 64], y: X[64, 64], z: X[64, 64], *, X: tc.DType = f16):
    """A product's columns times a row of shared memory, and its rows times a column of it."""
    tc.grid(1)
    s = tc.shared(X, [3, 64])
    tc.copy_async(s, factors, [0, 0])
    tc.commit()
    tc.wait(0)
    tc.sync()
    acc = tc.dot(tc.load(x, [0, 0], [64, 32]), tc.load(w, [0, 0], [32, 64]), tc.zeros(f32, [64, 64]))
    tc.store(y, [0, 0], tc.cast(acc * tc.cast(tc.load(s, [1, 0], [1, 64]), f32), X))
    tc.store(z, [0, 0], tc.cast(acc * tc.cast(tc.load(s, [2, 0], [64, 1], dims=[1, 0]), f32), X))


@pytest.mark.parametrize("dtype", [f16, bf16], ids=str)
def test_one_row_is_loaded_for_all_lanes(dtype):
    """What lanes hold several times comes by ldmatrix, too, eight columns of fragments at a time."""
    x, w = RNG.integers(-3, 4, (64, 32)).astype(np.float16), RNG.integers(-3, 4, (32, 64)).astype(np.float16)
    factors = tc.Tensor.from_values(2.0 ** RNG.integers(-3, 3, (3, 64)), dtype)
    exact = dtype.round(x.astype(np.float64) @ w.astype(np.float64))
    outputs = [tc.Tensor.from_values(np.zeros((64, 64)), dtype) for _ in range(2)]
    report = everywhere(by_columns, (x, w, factors, *outputs), {"y": exact * factors.values()[1], "z": exact * factors.values()[2][:, None]}, X=dtype)
    assert all(c.ways == c.ideal_ways for c in report.costs if "ldmatrix" in c.site.text)
    assert "ld.shared" not in by_columns.compile("sm_80", X=dtype).ptx


@pytest.mark.parametrize("arch", ["sm_90a", "sm_120a"])
def test_it_is_one_instruction(arch):
    """64 x 64 elements of 16 bits by 4 warps, 512 bytes an instruction: 4 a warp, each way."""
    counts = disassemble(product.compile(arch).cubin).counts()
    assert (counts["STSM.16.M88.4"], counts["STSM.16.MT88.4"]) == (4, 4)
