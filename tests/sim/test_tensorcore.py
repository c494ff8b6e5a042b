"""Tensor-core fragments against the PTX manual's formulas, products against NumPy, exact mode against hardware and exact fractions."""

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tilec.errors import TileError
from tilec.sim import tensorcore as tc
from tilec.sim.exact import PROFILES, exact_product

from .rounding import rounded


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


# -- the manual's formulas: row and column of element i of lane 4g + t ------------------------------------------------------------------

A = {
    ("m16n8k8", "f16"): lambda g, t, i: (g + 8 * (i >= 2), 2 * t + (i & 1)),
    ("m16n8k16", "f16"): lambda g, t, i: (g if i < 2 or 4 <= i < 6 else g + 8, 2 * t + (i & 1) + 8 * (i >= 4)),
    ("m16n8k4", "tf32"): lambda g, t, i: (g + 8 * i, t),
    ("m16n8k8", "tf32"): lambda g, t, i: (g if i in (0, 2) else g + 8, t if i in (0, 1) else t + 4),
    ("m8n8k4", "f64"): lambda g, t, i: (g, t),
    ("m16n8k4", "f64"): lambda g, t, i: (g + 8 * i, t),
    ("m16n8k8", "f64"): lambda g, t, i: (g if i in (0, 2) else g + 8, t if i in (0, 1) else t + 4),
    ("m16n8k16", "f64"): lambda g, t, i: (g if i % 2 == 0 else g + 8, t + 4 * (i // 2)),
    ("m8n8k16", "s8"): lambda g, t, i: (g, 4 * t + i),
    ("m16n8k16", "s8"): lambda g, t, i: (g if i < 4 else g + 8, 4 * t + (i & 3)),
    ("m16n8k32", "s8"): lambda g, t, i: (g if i < 4 or 8 <= i < 12 else g + 8, 4 * t + (i & 3) + 16 * (i >= 8)),
    ("m8n8k32", "s4"): lambda g, t, i: (g, 8 * t + i),
    ("m16n8k32", "s4"): lambda g, t, i: (g if i < 8 else g + 8, 8 * t + (i & 7)),
    ("m16n8k64", "s4"): lambda g, t, i: (g if i < 8 or 16 <= i < 24 else g + 8, 8 * t + (i & 7) + 32 * (i >= 16)),
    ("m8n8k128", "b1"): lambda g, t, i: (g, 32 * t + i),
    ("m16n8k128", "b1"): lambda g, t, i: (g if i < 32 else g + 8, 32 * t + (i & 31)),
    ("m16n8k256", "b1"): lambda g, t, i: (g if i < 32 or 64 <= i < 96 else g + 8, 32 * t + (i & 31) + 128 * (i >= 64)),
}
B = {
    ("m16n8k8", "f16"): lambda g, t, i: (2 * t + i, g),
    ("m16n8k16", "f16"): lambda g, t, i: (2 * t + (i & 1) + 8 * (i >= 2), g),
    ("m16n8k4", "tf32"): lambda g, t, i: (t, g),
    ("m16n8k8", "tf32"): lambda g, t, i: (t + 4 * i, g),
    ("m8n8k4", "f64"): lambda g, t, i: (t, g),
    ("m16n8k4", "f64"): lambda g, t, i: (t, g),
    ("m16n8k8", "f64"): lambda g, t, i: (t + 4 * i, g),
    ("m16n8k16", "f64"): lambda g, t, i: (t + 4 * i, g),
    ("m8n8k16", "s8"): lambda g, t, i: (4 * t + i, g),
    ("m16n8k16", "s8"): lambda g, t, i: (4 * t + i, g),
    ("m16n8k32", "s8"): lambda g, t, i: (4 * t + (i & 3) + 16 * (i >= 4), g),
    ("m8n8k32", "s4"): lambda g, t, i: (8 * t + i, g),
    ("m16n8k32", "s4"): lambda g, t, i: (8 * t + i, g),
    ("m16n8k64", "s4"): lambda g, t, i: (8 * t + (i & 7) + 32 * (i >= 8), g),
    ("m8n8k128", "b1"): lambda g, t, i: (32 * t + i, g),
    ("m16n8k128", "b1"): lambda g, t, i: (32 * t + i, g),
    ("m16n8k256", "b1"): lambda g, t, i: (32 * t + (i & 31) + 128 * (i >= 32), g),
}
ALIKE = {"f16": ["bf16"], "s8": ["u8", "e4m3", "e5m2"], "s4": ["u4"]}
BITS = {
    "f16": 16, "bf16": 16, "tf32": 32, "f64": 64, "s8": 8, "u8": 8, "e4m3": 8, "e5m2": 8, "s4": 4, "u4": 4, "b1": 1, "f32": 32, "s32": 32,
}


def sums(kind):
    return {"f64": ["f64"], "f16": ["f16", "f32"], "e4m3": ["f16", "f32"], "e5m2": ["f16", "f32"], "bf16": ["f32"], "tf32": ["f32"]}.get(
        kind, ["s32"]
    )


def instructions():
    for shape, kind in A:
        for each in [kind, *ALIKE.get(kind, [])]:
            if each in ("e4m3", "e5m2") and shape == "m8n8k16":
                continue
            for total in sums(each):
                yield shape, each, total


def registers_of(matrix, place, bits):
    """Registers packed element by element by a formula (g, t, i) -> (row, column): for one warp, [32] each."""
    per = max(1, 32 // bits)
    count = matrix.size // 32
    dtype = np.uint64 if bits == 64 else np.uint32
    out = [np.zeros(32, dtype) for _ in range(max(1, count // per))]
    for lane in range(32):
        for i in range(count):
            value = int(matrix[place(lane // 4, lane % 4, i)])
            out[i // per][lane] |= dtype(value << bits * (i % per))
    return out


def random_codes(shape, kind, rng):
    """Small whole numbers, so that every sum is exact, as bit patterns and as values."""
    low, high = {"b1": (0, 2), "u4": (0, 16), "s4": (-8, 8), "u8": (0, 256), "s8": (-128, 128)}.get(kind, (-3, 4))
    values = rng.integers(low, high, shape)
    if kind in ("b1", "u4", "s4", "u8", "s8"):
        return (values % (1 << BITS[kind])).astype(np.uint8), values
    small = {  # code of 0 1 2 3
        "f16": (0, 0x3C00, 0x4000, 0x4200), "bf16": (0, 0x3F80, 0x4000, 0x4040), "e4m3": (0, 0x38, 0x40, 0x44),
        "e5m2": (0, 0x3C, 0x40, 0x42), "tf32": (0, 0x3F800000, 0x40000000, 0x40400000),
        "f64": (0, 0x3FF0000000000000, 0x4000000000000000, 0x4008000000000000),
    }[kind]
    codes = np.array(small, np.uint64)[np.abs(values)] | np.where(values < 0, np.uint64(1 << (BITS[kind] - 1)), np.uint64(0))
    return codes.astype({16: np.uint16, 8: np.uint8, 32: np.uint32, 64: np.uint64}[BITS[kind]]), values


def c_place(g, t, i):
    return g + 8 * (i >> 1), 2 * t + (i & 1)


def c_codes(values, kind):
    if kind == "s32":
        return values.astype(np.int32).view(np.uint32)
    dtype = {"f16": np.float16, "f32": np.float32, "f64": np.float64}[kind]
    return values.astype(dtype).view({2: np.uint16, 4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize])


@pytest.mark.parametrize(("shape", "kind", "total"), list(instructions()))
def test_registers_in_registers_out(shape, kind, total):
    rng = np.random.default_rng(0)
    like = next(k for k in (kind, "f16", "s8", "s4") if (shape, k) in A and (k == kind or kind in ALIKE.get(k, [])))
    m, n, k = (int(x) for x in shape[1:].replace("n", " ").replace("k", " ").split())
    a_codes, a = random_codes((m, k), kind, rng)
    b_codes, b = random_codes((k, n), kind, rng)
    c = rng.integers(-9, 10, (m, n))
    ra = registers_of(a_codes, A[shape, like], BITS[kind])
    rb = registers_of(b_codes, B[shape, like], BITS[kind])
    rc = registers_of(c_codes(c, total), c_place, BITS[total])
    instruction = tc.mma(shape, total, kind, kind, total)
    assert (instruction.a_fragment.registers, instruction.b_fragment.registers) == (len(ra), len(rb))
    product = (a[:, :, None] ^ b[None]).sum(1) if kind == "b1" else a @ b
    want = registers_of(c_codes(product + c, total), c_place, BITS[total])
    am, bm, cm = instruction.a_matrix(ra), instruction.b_matrix(rb), instruction.c_matrix(rc)
    got = instruction.d_registers(instruction.multiply(am, bm, cm))
    np.testing.assert_array_equal(np.array(got), np.array(want))
    if kind in ("f16", "bf16", "tf32", "f64"):
        for arch in ("sm_80", "sm_90"):  # exact arithmetic of small integers has one answer
            got = instruction.d_registers(instruction.multiply(am, bm, cm, exact=arch))
            np.testing.assert_array_equal(np.array(got), np.array(want))


def test_many_warps_and_uniform_registers():
    instruction = tc.mma("m16n8k16", "f32", "f16", "f16", "f32")
    rng = np.random.default_rng(1)
    a = rng.integers(-3, 4, (2, 5, 16, 16)).astype(np.float16)
    ra = instruction.a_fragment.pack(a.view(np.uint16))
    np.testing.assert_array_equal(instruction.a_matrix(ra), a)
    ones, zero = np.full((1, 1), 0x3C003C00, np.uint32), np.zeros((1, 1, 1), np.uint32)
    d = instruction.multiply(instruction.a_matrix(ra), instruction.b_matrix([ones, ones]), instruction.c_matrix([zero] * 4))
    np.testing.assert_array_equal(d, np.repeat(a.astype(np.float32).sum(-1, keepdims=True), 8, -1))
    assert all(r.shape == (2, 5, 32) for r in instruction.d_registers(d))


def test_integers_wrap_or_saturate():
    instruction = tc.mma("m16n8k32", "s32", "u8", "u8", "s32")
    a, b = np.full((16, 32), 255, np.float32), np.full((32, 8), 255, np.float32)
    c = np.full((16, 8), (1 << 31) - 1, np.int32)
    assert (instruction.multiply(a, b, c, saturate=True) == (1 << 31) - 1).all()
    assert (instruction.multiply(a, b, c).astype(np.int64) == 255 * 255 * 32 - (1 << 31) - 1).all()


def test_bits_xor_and():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 2, (16, 256)), rng.integers(0, 2, (256, 8))
    c = np.zeros((16, 8), np.int32)
    for op, want in (("xor", (a[:, :, None] ^ b[None]).sum(1)), ("and", (a[:, :, None] & b[None]).sum(1))):
        instruction = tc.mma("m16n8k256", "s32", "b1", "b1", "s32", bitop=op)
        np.testing.assert_array_equal(instruction.multiply(a.astype(np.float32), b.astype(np.float32), c), want)


def test_tf32_ignores_the_low_bits_and_nan_is_canonical():
    instruction = tc.mma("m16n8k4", "f32", "tf32", "tf32", "f32")
    a = instruction.a_matrix([np.full(32, 0x3F801FFF, np.uint32)] * 2)
    assert (a == 1).all()
    assert instruction.d_registers(np.full((16, 8), -np.nan, np.float32))[0][0] == 0x7FFFFFFF
    half = tc.mma("m16n8k8", "f16", "f16", "f16", "f16")
    assert half.d_registers(np.full((16, 8), np.nan, np.float32))[0][0] == 0x7FFF7FFF


def test_combinations_that_do_not_exist_are_refused():
    for text in ("m16n8k16 f16 bf16 bf16 f32", "m16n8k32 f32 f16 f16 f32", "m16n8k16 f32 f16 bf16 f32", "m16n8k16 f32 s8 s8 f32"):
        with pytest.raises(TileError):
            tc.mma(*text.split())
    one = np.ones((16, 16), np.float32)
    with pytest.raises(TileError, match="exact arithmetic of e4m3"):
        tc.mma("m16n8k16", "f32", "e4m3", "e4m3", "f32").multiply(one, one[:, :8], one[:, :8], exact="sm_80")


# -- sparse -----------------------------------------------------------------------------------------------------------------------------

SPARSE = [  # shape, type, lanes of each quad with metadata
    ("m16n8k16", "f16", 1), ("m16n8k32", "bf16", 2), ("m16n8k8", "tf32", 1), ("m16n8k16", "tf32", 2), ("m16n8k32", "s8", 2),
    ("m16n8k64", "u8", 4), ("m16n8k64", "e4m3", 4), ("m16n8k64", "s4", 2), ("m16n8k128", "u4", 4),
]


@pytest.mark.parametrize(("shape", "kind", "holders"), SPARSE)
def test_sparse_products(shape, kind, holders):
    rng = np.random.default_rng(3)
    total = {"f16": "f32", "bf16": "f32", "tf32": "f32", "e4m3": "f32"}.get(kind, "s32")
    instruction = tc.mma(shape, total, kind, kind, total, sparse=True)
    assert instruction.selectors == 4 // holders
    k = instruction.k
    unit = 2 if BITS[kind] == 4 else 1
    chunks = k // (2 if kind == "tf32" else 4 * unit)
    dense = np.zeros((16, k), int)
    codes, values = random_codes((16, k // 2), kind, rng)
    fields = np.zeros((16, chunks), int)  # four bits of metadata for each chunk
    for row, chunk in itertools.product(range(16), range(chunks)):
        if kind == "tf32":
            at = int(rng.integers(2))
            fields[row, chunk] = (0b0100, 0b1110)[at]
            dense[row, 2 * chunk + at] = values[row, chunk]
            continue
        first, second = sorted(rng.choice(4, 2, replace=False).tolist())
        fields[row, chunk] = first | second << 2
        for position, at in enumerate((first, second)):
            for s in range(unit):
                dense[row, 4 * unit * chunk + unit * at + s] = values[row, 2 * unit * chunk + unit * position + s]
    for selector in range(4 // holders):
        # Figures of "Matrix fragments for mma.sp": see the docstring of Mma.columns.
        metadata = rng.integers(0, 1 << 32, 32, dtype=np.uint32)
        for g, holder in itertools.product(range(8), range(holders)):
            if BITS[kind] >= 16:
                halves = [fields[g + 8 * h, 4 * holder : 4 * holder + 4] for h in (0, 1)]
                nibbles = np.concatenate(halves)
            else:
                nibbles = fields[g + 8 * (holder % 2), 8 * (holder // 2) : 8 * (holder // 2) + 8]
            metadata[4 * g + selector * holders + holder] = sum(int(x) << 4 * i for i, x in enumerate(nibbles))
        a = instruction.a_matrix(instruction.a_fragment.pack(codes))
        np.testing.assert_array_equal(instruction.expand(a, metadata, selector), dense)
    b_codes, b = random_codes((k, 8), kind, rng)
    b_matrix = instruction.b_matrix(instruction.b_fragment.pack(b_codes))
    zero = np.zeros((16, 8), np.int32 if total == "s32" else np.float32)
    np.testing.assert_array_equal(instruction.multiply(instruction.expand(a, metadata, selector), b_matrix, zero), dense @ b)
    with pytest.raises(TileError):
        instruction.expand(a, metadata, 4 // holders)


def test_sparse_a_lies_as_the_manual_says():
    # m16n8k16: a0 a1 are the two stored elements of the chunk at column 4t of row g; m16n8k32 s8: a4.. of row g + 8.
    half = tc.mma("m16n8k16", "f32", "f16", "f16", "f32", sparse=True)
    a = np.arange(128, dtype=np.uint16).reshape(16, 8)
    registers = half.a_fragment.pack(a)
    for lane in range(32):
        g, t = divmod(lane, 4)
        assert registers[0][lane] == int(a[g, 2 * t]) | int(a[g, 2 * t + 1]) << 16
        assert registers[1][lane] == int(a[g + 8, 2 * t]) | int(a[g + 8, 2 * t + 1]) << 16


# -- wmma -------------------------------------------------------------------------------------------------------------------------------

WMMA = [  # PTX manual, "Matrix Fragments for WMMA": registers of a, b and c
    ("m16n16k16", "f16", "f32", 8, 8, 8), ("m16n16k16", "f16", "f16", 8, 8, 4), ("m32n8k16", "f16", "f32", 8, 8, 8),
    ("m8n32k16", "f16", "f16", 8, 8, 4), ("m16n16k16", "bf16", "f32", 4, 4, 8), ("m32n8k16", "bf16", "f32", 8, 2, 8),
    ("m8n32k16", "bf16", "f32", 2, 8, 8), ("m16n16k8", "tf32", "f32", 4, 4, 8), ("m16n16k16", "s8", "s32", 2, 2, 8),
    ("m32n8k16", "u8", "s32", 4, 1, 8), ("m8n32k16", "s8", "s32", 1, 4, 8), ("m8n8k4", "f64", "f64", 1, 1, 2),
    ("m8n8k32", "s4", "s32", 1, 1, 2), ("m8n8k128", "b1", "s32", 1, 1, 2),
]


@pytest.mark.parametrize(("shape", "kind", "total", "a_count", "b_count", "c_count"), WMMA)
@pytest.mark.parametrize("layout", ["row", "col"])
def test_wmma_loads_multiplies_and_stores(shape, kind, total, a_count, b_count, c_count, layout):
    rng = np.random.default_rng(4)
    instruction = tc.mma(shape, total, kind, kind, total, wmma=True)
    m, n, k = instruction.m, instruction.n, instruction.k
    fragments = (instruction.a_fragment, instruction.b_fragment, instruction.c_fragment)
    assert tuple(f.registers for f in fragments) == (a_count, b_count, c_count)

    def load(fragment, codes):
        """Gather elements from memory of a padded stride, and fill registers from the least significant bit."""
        rows, cols = codes.shape
        stride = (cols if layout == "row" else rows) + 3
        memory = np.zeros((rows if layout == "row" else cols) * stride, codes.dtype)
        for i, j in np.ndindex(rows, cols):
            memory[i * stride + j if layout == "row" else j * stride + i] = codes[i, j]
        elements = memory[fragment.offsets(layout, stride)]
        per = max(1, 32 // fragment.bits)
        out = []
        for first in range(0, elements.shape[1], per):
            word = sum(elements[:, first + i].astype(np.uint64) << np.uint64(fragment.bits * i) for i in range(per))
            out.append(word.astype(np.uint64 if fragment.bits == 64 else np.uint32))
        return out

    a_codes, a = random_codes((m, k), kind, rng)
    b_codes, b = random_codes((k, n), kind, rng)
    c = rng.integers(-9, 10, (m, n))
    ra, rb, rc = (load(f, x) for f, x in zip(fragments, (a_codes, b_codes, c_codes(c, total)), strict=True))
    assert (len(ra), len(rb), len(rc)) == (a_count, b_count, c_count)
    d = instruction.multiply(instruction.a_matrix(ra), instruction.b_matrix(rb), instruction.c_matrix(rc))
    want = ((a[:, :, None] ^ b[None]).sum(1) if kind == "b1" else a @ b) + c
    np.testing.assert_array_equal(d, want)
    stored = np.array(load(fragments[2], c_codes(want, total)))
    np.testing.assert_array_equal(np.array(instruction.d_registers(d)), stored)


# -- ldmatrix, stmatrix, movmatrix ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trans", [False, True])
def test_ldmatrix_and_its_inverse(trans):
    rows = np.random.default_rng(5).integers(0, 1 << 16, (3, 4, 8, 8)).astype(np.uint16)
    registers = tc.ldmatrix(rows, trans=trans)
    assert len(registers) == 4
    for warp, j, lane in itertools.product(range(3), range(4), range(32)):
        first, second = 2 * (lane % 4), 2 * (lane % 4) + 1
        low, high = ((rows[warp, j, first, lane // 4], rows[warp, j, second, lane // 4]) if trans
                     else (rows[warp, j, lane // 4, first], rows[warp, j, lane // 4, second]))
        assert registers[j][warp, lane] == int(low) | int(high) << 16
    np.testing.assert_array_equal(tc.stmatrix(registers, trans=trans), rows)


def test_movmatrix_transposes():
    rows = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    moved = tc.movmatrix(tc.ldmatrix(rows)[0])
    np.testing.assert_array_equal(tc.stmatrix([moved])[0], rows[0].T)


# -- Volta ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a_layout", "b_layout", "total"), list(itertools.product(("row", "col"), ("row", "col"), ("f16", "f32"))))
def test_quad_pairs(a_layout, b_layout, total):
    rng = np.random.default_rng(6)
    a, b, c = rng.integers(-3, 4, (4, 8, 4)), rng.integers(-3, 4, (4, 4, 8)), rng.integers(-9, 9, (4, 8, 8))

    def a_place(lane, i):
        low = 4 * (lane >= 16)
        return (lane % 4 + low, i) if a_layout == "row" else (i + low, lane % 4)

    def b_place(lane, i):
        low = 4 * (lane >= 16)
        return (lane % 4, i + low) if b_layout == "row" else (i, lane % 4 + low)

    def sum_place(lane, i):
        low = 4 * (lane >= 16)
        return (lane % 4 + low, i) if total == "f16" else ((lane & 1) + (i & 2) + low, (i & 4) + (lane & 2) + (i & 1))

    def fill(matrix, place, count, kind):
        codes = c_codes(matrix, kind)
        per = 32 // BITS[kind]
        out = np.zeros((count // per, 32), np.uint32)
        for lane, i in itertools.product(range(32), range(count)):
            out[i // per, lane] |= np.uint32(int(codes[(lane // 4 % 4, *place(lane, i))]) << BITS[kind] * (i % per))
        return list(out)

    instruction = tc.QuadPairs(a_layout, b_layout, total, total)
    am, bm = instruction.a_matrix(fill(a, a_place, 4, "f16")), instruction.b_matrix(fill(b, b_place, 4, "f16"))
    d = instruction.multiply(am, bm, instruction.c_matrix(fill(c, sum_place, 8, total)))
    np.testing.assert_array_equal(d, a @ b + c)
    np.testing.assert_array_equal(np.array(instruction.d_registers(d)), np.array(fill(a @ b + c, sum_place, 8, total)))


# -- exact mode -------------------------------------------------------------------------------------------------------------------------


def measured():
    data = json.loads((Path(__file__).parent / "tensor_core_measured.json").read_text())["measured"]
    return [pytest.param(case, id=f"{case['gpu']}-{case['kind']}-{case['sum']}") for case in data]


@pytest.mark.parametrize("case", measured())
def test_exact_mode_gives_what_hardware_gave(case):
    def values(text):
        return np.array([int(text[i : i + 8], 16) for i in range(0, len(text), 8)], np.uint32).view(np.float32)

    a, b, c, d = (np.array([values(row[i]) for row in case["rows"]]) for i in range(4))
    kind, total = case["kind"], case["sum"]
    got = exact_product(PROFILES[case["arch"]], a[:, None, :], b[:, :, None], c[:, None, :], kind, kind, total, total)
    np.testing.assert_array_equal(got[:, 0].view(np.uint32), d.view(np.uint32))


EMIN = {"f16": -14, "bf16": -126, "tf32": -126, "f32": -126, "e4m3": -6, "e5m2": -14}


def plain_model(a, b, c, kind, total, group, fraction, floor):
    """One output by the rules of docs/tensorcore.md, in exact fractions: scalar code, independent of the vectorized one."""
    def exponent(x, least):
        return max(math.frexp(x)[1] - 1, least)

    d = c
    for first in range(0, len(a), group):
        terms = [(Fraction(d), exponent(d, EMIN[total]))] if d else []
        for x, y in zip(a[first : first + group], b[first : first + group], strict=True):
            if x and y:
                terms.append((Fraction(x) * Fraction(y), exponent(x, EMIN[kind]) + exponent(y, EMIN[kind])))
        top = max([e for _, e in terms] + [floor])
        unit = Fraction(2) ** (top - fraction)
        whole = sum(math.trunc(value / unit) for value, _ in terms) * unit
        if total == "f16":
            d = float(np.float64(float(whole)).astype(np.float16))  # at most 30 bits: a float64
        else:
            step = Fraction(2) ** (max(math.frexp(float(whole))[1] - 24, -149))
            d = float(math.trunc(whole / step) * step)
    return d


@pytest.mark.parametrize(("arch", "group", "fraction", "floors"), [("sm_80", 8, 24, (-132, -20)), ("sm_90", 16, 25, (-133, -21))])
@pytest.mark.parametrize(("kind", "total"), [("f16", "f32"), ("f16", "f16"), ("bf16", "f32"), ("tf32", "f32")])
def test_exact_mode_against_scalar_fractions(arch, group, fraction, floors, kind, total):
    rng = np.random.default_rng(7)
    k = 8 if kind == "tf32" else 16
    instruction = tc.mma(f"m16n8k{k}", total, kind, kind, total)

    def matrix(*shape):
        spread = rng.integers(-20, 6, shape) if kind == "f16" else rng.integers(-70, 40, shape)
        x = rng.standard_normal(shape) * 2.0 ** spread * (rng.random(shape) > 0.1)
        if kind == "f16":
            return x.astype(np.float16).astype(np.float32)
        mask = np.uint32(0xFFFF0000 if kind == "bf16" else 0xFFFFE000)
        return (x.astype(np.float32).view(np.uint32) & mask).view(np.float32)

    a, b = matrix(4, 16, k), matrix(4, k, 8)
    c = (rng.standard_normal((4, 16, 8)) * 2.0 ** rng.integers(-15, 5, (4, 16, 8))).astype(np.float16).astype(np.float32)
    got = instruction.multiply(a, b, c, exact=arch)
    size = group // (2 if kind == "tf32" else 1)
    for w, i, j in np.ndindex(4, 16, 8):
        want = plain_model(a[w, i].tolist(), b[w, :, j].tolist(), float(c[w, i, j]), kind, total, size, fraction, floors[total == "f16"])
        assert got[w, i, j] == want


def test_exact_mode_with_infinities_and_nan():
    instruction = tc.mma("m16n8k16", "f32", "f16", "f16", "f32")
    a, b, c = np.zeros((16, 16), np.float32), np.ones((16, 8), np.float32), np.zeros((16, 8), np.float32)
    a[0, 0] = np.inf
    a[1, :2] = np.inf, -np.inf
    a[2, 3] = np.nan
    d = instruction.multiply(a, b, c, exact="sm_80")
    assert np.isposinf(d[0]).all()
    assert np.isnan(d[1:3]).all()
    assert (d[3:] == 0).all()


def test_exact_mode_at_the_end_of_the_range():
    # 2^127 + 2^127 is beyond f32, and infinite although the rounding is towards zero; 2^127 + (2^127 - 2^103) is the largest f32.
    instruction = tc.mma("m16n8k16", "f32", "bf16", "bf16", "f32")
    a, b = np.zeros((16, 16), np.float32), np.ones((16, 8), np.float32)
    a[0, :2], a[1, :2], a[2, 0] = 2.0**127, -(2.0**127), 2.0**127
    c = np.zeros((16, 8), np.float32)
    c[2] = 2.0**127 - 2.0**103
    d = instruction.multiply(a, b, c, exact="sm_80")
    assert np.isposinf(d[0]).all()
    assert np.isneginf(d[1]).all()
    assert (d[2] == np.finfo(np.float32).max).all()


@pytest.mark.parametrize("rounding", ["rn", "rz", "rm", "rp"])
def test_f64_exact_is_a_chain_of_fused_multiply_adds(rounding):
    rng = np.random.default_rng(8)
    instruction = tc.mma("m8n8k4", "f64", "f64", "f64", "f64")
    a, b, c = rng.standard_normal((8, 4)), rng.standard_normal((4, 8)), rng.standard_normal((8, 8))
    got = instruction.multiply(a, b, c, exact="sm_80", rounding=rounding)
    for i, j in np.ndindex(8, 8):
        want = float(c[i, j])
        for k in range(4):
            want = rounded(Fraction(a[i, k]) * Fraction(b[k, j]) + Fraction(want), "f64", rounding)
        assert got[i, j] == want
