"""Instructions for each element converted, from the machine code: limits, which are what was counted when they were set."""

import re

import pytest

import tilec as tc
from examples import load_benchmark
from tilec import f16, i32
from tilec.backend.sass import disassemble
from tilec.ir import dtypes as D

LIMITS = [
    ("int4", "f16", "sm_80", 1.5), ("int4", "bf16", "sm_80", 1.63), ("int8", "f16", "sm_80", 1.5), ("uint8", "bf16", "sm_80", 2.0),
    ("int3", "f16", "sm_89", 1.5), ("float4_e2m1", "f16", "sm_80", 1.63), ("float6_e3m2", "f16", "sm_80", 3.07), ("nf4", "bf16", "sm_89", 2.63),
    ("float8_e4m3", "f16", "sm_89", 0.5), ("float8_e5m2", "f16", "sm_80", 0.5), ("float4_e2m1", "f16", "sm_120a", 0.75),
    ("int4", "int8", "sm_80", 1.13), ("float4_e2m1", "float8_e4m3", "sm_89", 1.13),
    ("f16", "int8", "sm_80", 2.25), ("f16", "int4", "sm_80", 3.75), ("f16", "float6_e3m2", "sm_80", 7.13), ("f32", "uint8", "sm_80", 3.75),
    ("f32", "float8_e4m3", "sm_89", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "arch", "limit"), LIMITS)
def test_instructions_for_each_element(source, target, arch, limit):
    counts = load_benchmark("casts").converting(D.dtype(source), D.dtype(target), arch)
    assert 0 < sum(counts.values()) / 64 <= limit, counts
    assert not [name for name in counts if re.match(r"F2F\b|I2F|F2I|LDL|STL", name)]


LOOPS = [
    ("int1", 2.64), ("int2", 2.7), ("int3", 2.92), ("int4", 2.85), ("int5", 3.21), ("int6", 3.25), ("int7", 3.32), ("int8", 2.9),
    ("e2m1", 2.97), ("e3m3", 5.35), ("nf4", 3.99),
]  # fmt: skip


@pytest.mark.parametrize(("name", "limit"), LOOPS)
def test_loops_with_row_major_weights(name, limit):
    assert load_benchmark("casts").in_loop(D.dtype(name), "sm_80") <= limit


@tc.kernel(warps=1)
def viewed(x: i32[512], y: f16[4096]):
    tc.grid(1)
    tc.conversions("registers")
    tc.store(y, [0], tc.cast(tc.view(tc.load(x, [0], [512], layout=tc.spatial(32).local(16)), D.int4, tc.spatial(32).local(128)), f16))


def test_words_that_are_viewed_as_codes_stay_words():
    counts = disassemble(viewed.compile("sm_80").cubin).counts()
    assert (counts["PRMT"], counts["LOP3.LUT"]) == (64, 64)
