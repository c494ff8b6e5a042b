"""Matrix products of every type, instruction and shape, against NumPy, in every way there is."""

import numpy as np
import pytest
from everywhere import everywhere

import tilec as tc
from tilec import DType, bf16, f16, f32, f64, float8_e4m3, float8_e5m2, i32, int3, int4, int6, int8, uint1, uint4, uint8
from tilec.backend.isa import mma
from tilec.backend.target import target
from tilec.sim.isa.matrix import _mma

M, N, K = tc.dims("M N K")
A, B, C = tc.types("A B C")
RNG = np.random.default_rng()


@tc.kernel(warps=4)
def multiplied(a: A[M, K], b: B[K, N], c: C[M, N], d: C[M, N], *, A: DType, B: DType, C: DType, m: int, n: int, k: int, xor: bool = False):
    tc.grid(1)
    x, y, z = tc.load(a, [0, 0], [m, k]), tc.load(b, [0, 0], [k, n]), tc.load(c, [0, 0], [m, n])
    tc.store(d, [0, 0], tc.dot(x, y, z, xor=xor))


def values(dtype, shape):
    """Small whole numbers, whose products and sums are exact in any order."""
    low, high = (max(-4, int(dtype.min)), min(4, int(dtype.max))) if not dtype.computes else (-4, 4)
    return RNG.integers(low, high, shape, endpoint=True).astype(np.float64)


def check(left, right, acc, shape, arch, **more):
    m, n, k = shape
    a, b, c = values(left, (m, k)), values(right, (k, n)), values(acc, (m, n))
    want = (a[:, :, None] != b).sum(1) + c if more.get("xor") else a @ b + c
    given = [tc.Tensor.from_values(v, t) for v, t in ((a, left), (b, right), (c, acc), (c * 0 + 7, acc))]
    constants = {"A": left, "B": right, "C": acc, "m": m, "n": n, "k": k, **more}
    everywhere(multiplied, given, {"d": want}, arch=arch, **constants)
    return multiplied.compile(arch, **constants)


TYPES = [
    (f16, f16, f32, "sm_80", "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"),
    (f16, f16, f16, "sm_80", "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16"),
    (bf16, bf16, f32, "sm_89", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"),
    (f64, f64, f64, "sm_80", "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64"),
    (int8, int8, i32, "sm_80", "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"),
    (uint8, int8, i32, "sm_90a", "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32"),
    (int4, uint4, i32, "sm_80", "mma.sync.aligned.m16n8k64.row.col.s32.s4.u4.s32"),
    (int4, int4, i32, "sm_90a", "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"),
    (uint1, uint1, i32, "sm_80", "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc"),
    (uint1, uint1, i32, "sm_120a", "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32"),
    (float8_e4m3, float8_e4m3, f32, "sm_89", "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32"),
    (float8_e5m2, float8_e4m3, f32, "sm_120a", "mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e4m3.f32"),
    (float8_e4m3, float8_e4m3, f32, "sm_80", "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"),
    (i32, i32, i32, "sm_80", "mad.lo.s32"),
    (f32, f32, f32, "sm_80", "fma.rn.f32"),
    # mixed
    (f16, int4, f32, "sm_80", "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"),
    (uint8, bf16, f32, "sm_90a", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"),
    (int6, int3, i32, "sm_80", "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"),
    (int8, float8_e5m2, f32, "sm_80", "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"),
]


@pytest.mark.parametrize(("left", "right", "acc", "arch", "wanted"), TYPES, ids=lambda x: str(x) if isinstance(x, DType) else "")
def test_types(left, right, acc, arch, wanted):
    deep = 256 if left == uint1 else 128 if left in (int4, uint4) else 64
    built = check(left, right, acc, (32, 24, deep), arch)
    assert wanted in built.ptx
    assert built.resources.spill_bytes == 0


def test_bits_that_differ():
    built = check(uint1, uint1, i32, (16, 16, 256), "sm_80", xor=True)
    assert "b1.b1.s32.xor.popc" in built.ptx
    check(uint1, uint1, i32, (16, 8, 100), "sm_90a", xor=True)


@pytest.mark.parametrize("shape", [(24, 20, 12), (1, 1, 1), (17, 9, 33), (16, 8, 8), (100, 40, 24), (5, 64, 16)])
@pytest.mark.parametrize(("dtype", "acc"), [(f16, f32), (int8, i32), (f64, f64), (f32, f32)])
def test_tiles_that_no_instruction_divides(shape, dtype, acc):
    built = check(dtype, dtype, acc, shape, "sm_80")
    assert ("mma.sync" in built.ptx) == (dtype != f32)


@tc.kernel(warps=2)
def single(a: f32[M, K], b: f32[K, N], c: f32[M, N], *, precision: str):
    tc.grid(1)
    tc.store(c, [0, 0], tc.dot(tc.load(a, [0, 0], [32, 64]), tc.load(b, [0, 0], [64, 16]), precision=precision))


def cut(x):
    """f32 rounded to 11 significant bits, halves away from zero."""
    m, e = np.frexp(x.astype(np.float64))
    return np.ldexp(np.copysign(np.floor(np.abs(m) * 2048 + 0.5), m), e - 11)


@pytest.mark.parametrize(("precision", "bound"), [("ieee", 2**-22), ("tf32", 2**-22), ("tf32x3", 2**-20)])
def test_precision_of_f32(precision, bound):
    a, b = RNG.standard_normal((32, 64)).astype(np.float32), RNG.standard_normal((64, 16)).astype(np.float32)
    x, y = (cut(a), cut(b)) if precision == "tf32" else (a.astype(np.float64), b.astype(np.float64))
    want, size = x @ y, np.abs(x) @ np.abs(y)
    for stage in ("parsed", "layouts", "placed", None):
        c = np.full((32, 16), np.nan, np.float32)
        if stage:
            single.interpret(a, b, c, stage=stage, precision=precision)
        else:
            assert not single.simulate(a, b, c, precision=precision).findings
        assert (np.abs(c - want) <= bound * size).all(), stage
    assert ("tf32" in single.compile("sm_90a", precision=precision).ptx) == (precision != "ieee")


@tc.kernel(warps=4)
def stacked(a: f16[M, K, 32], b: f16[M, N, 32], c: f32[M, K, N]):
    tc.grid(1)
    x, y = tc.load(a, [0, 0, 0], [3, 16, 32]), tc.load(b, [0, 0, 0], [3, 24, 32])
    product = tc.dot(x, tc.permute(y, [0, 2, 1]))
    tc.store(c, [0, 0, 0], tc.dot(x, tc.permute(y, [0, 2, 1]), product))


def test_stacks_and_transposed_operands():
    a, b = RNG.integers(-4, 5, (3, 16, 32)).astype(np.float16), RNG.integers(-4, 5, (3, 24, 32)).astype(np.float16)
    want = 2 * a.astype(np.float64) @ b.astype(np.float64).transpose(0, 2, 1)
    everywhere(stacked, (a, b, np.full((3, 16, 24), np.nan, np.float32)), {"c": want})


@tc.kernel(warps=2)
def transposed(a: f16[K, M], b: f16[N, K], c: f32[M, N]):
    tc.grid(1)
    tc.store(c, [0, 0], tc.load(a, [0, 0], [32, 32]).T @ tc.load(b, [0, 0], [16, 32]).T)


def test_transposed_operands():
    a, b = RNG.integers(-4, 5, (32, 32)).astype(np.float16), RNG.integers(-4, 5, (16, 32)).astype(np.float16)
    everywhere(transposed, (a, b, np.full((32, 16), np.nan, np.float32)), {"c": a.T.astype(np.float64) @ b.T.astype(np.float64)})


SIM = {f16: "f16", bf16: "bf16", f32: "tf32", f64: "f64", int8: "s8", uint8: "u8", int4: "s4", uint4: "u4", uint1: "b1", i32: "s32",
       float8_e4m3: "e4m3", float8_e5m2: "e5m2"}  # fmt: skip


@pytest.mark.parametrize("instruction", mma.INSTRUCTIONS, ids=lambda i: i.mnemonic)
def test_fragments_are_those_of_the_simulator(instruction):
    """Whose fragments the PTX of other compilers pins."""
    m, n, k = instruction.fragments.shape
    left, right, acc = SIM[instruction.factors[0]], SIM[instruction.factors[1]], SIM[instruction.accumulator]
    acc = "f32" if instruction.accumulator == f32 else acc
    known = _mma(f"m{m}n{n}k{k}", acc, left, right, acc)
    ours = instruction.fragments
    for layout, given in ((ours.a, known.a_fragment), (ours.b, known.b_fragment), (ours.c, known.c_fragment)):
        assert (layout.coords() == given.places).all()


@tc.kernel(warps=4)
def narrow(a: f16[M, 16], b: f16[16, N], c: f32[M, 4]):
    tc.grid(2)
    i = tc.block_index(0) * 16
    tc.store(c, [i, 0], tc.dot(tc.load(a, [i, 0], [16, 16]), tc.load(b, [0, 0], [16, 3])))


def test_padding_is_not_written():
    """Where a vector of the tensor is as wide as what the tile leaves and more."""
    a, b = RNG.integers(-4, 5, (31, 16)).astype(np.float16), RNG.integers(-4, 5, (16, 3)).astype(np.float16)
    c = np.full((31, 4), 7, np.float32)
    everywhere(narrow, (a, b, c), {"c": np.concatenate([a.astype(np.float64) @ b, c[:, 3:]], 1)})


def test_what_targets_have():
    assert not target("sm_80").matrix(float8_e4m3, float8_e4m3, f32)
    assert not target("sm_90a").matrix(int4, int4, i32)
    assert target("sm_80").matrix(uint1, uint1, i32, "xor", 8).shape == (16, 8, 128)
    assert target("sm_80").matrix(f16, f16, f32, "", 24).shape == (16, 8, 8)
    assert target("sm_80").matrix(f16, f16, f32, "", 32).shape == (16, 8, 16)
