"""Instructions for each element converted, from the machine code: limits, which are what was counted when they were set."""

import pytest

from examples import load_benchmark
from tilec.ir import dtypes as D

LIMITS = [
    ("int4", "f16", "sm_80", 1.5), ("int4", "bf16", "sm_80", 1.63), ("int8", "f16", "sm_80", 1.5), ("uint8", "bf16", "sm_80", 2.0),
    ("int3", "f16", "sm_89", 1.5), ("float4_e2m1", "f16", "sm_80", 1.75), ("float6_e3m2", "f16", "sm_80", 3.07),
    ("float8_e4m3", "f16", "sm_89", 0.5), ("float8_e5m2", "f16", "sm_80", 0.5), ("float4_e2m1", "f16", "sm_120a", 0.75),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "arch", "limit"), LIMITS)
def test_counts(source, target, arch, limit):
    counts = load_benchmark("casts").converting(D.dtype(source), D.dtype(target), arch)
    assert 0 < sum(counts.values()) / 64 <= limit, counts
    assert not [name for name in counts if name.startswith(("F2F.", "I2F", "LDL", "STL"))]
