"""Architectures: names, limits, features, occupancy. Expected values: CUDA C++ Programming Guide, tables of compute capabilities."""

import pytest

from tilec.backend.target import FEATURES, TARGETS, for_device, target
from tilec.errors import TileError
from tilec.ir.dtypes import f16, f32, float4_e2m1


def test_unknown_name_lists_the_known_and_suggests_the_nearest():
    with pytest.raises(TileError) as e:
        target("sm90a")
    assert "'sm90a'" in str(e.value)
    assert "did you mean sm_90a?" in str(e.value)
    assert all(name in str(e.value) for name in TARGETS)


def test_what_is_no_name():
    with pytest.raises(TileError, match="no architecture is called 90") as e:
        target(90)
    assert "known: sm_80" in str(e.value)


def test_a_target_is_a_target():
    assert target(target("sm_86")) is TARGETS["sm_86"]


@pytest.mark.parametrize(
    ("feature", "yes", "no"),
    [
        ("stmatrix", "sm_90 sm_120a", "sm_80 sm_89"),
        ("mma_fp8", "sm_89 sm_120a", "sm_80 sm_86 sm_90a sm_100a sm_103a"),
        ("mma_s4", "sm_80 sm_89", "sm_90a sm_100a sm_120a"),
        ("wgmma", "sm_90a", "sm_90 sm_89 sm_100a sm_120a"),
        ("tcgen05", "sm_100a sm_100f sm_103a sm_110a", "sm_90a sm_120a"),
        ("setmaxnreg", "sm_90a sm_100a sm_120a", "sm_80 sm_90"),
        ("cvt_fp8", "sm_89 sm_90", "sm_80 sm_87"),
        ("cp_async", "sm_80 sm_121a", ""),
        ("tma", "sm_90 sm_120a", "sm_89"),
        ("f32x2", "sm_100a sm_103a", "sm_90a sm_120a"),
    ],
)
def test_features(feature, yes, no):
    assert all(target(n).has(feature) for n in yes.split())
    assert not any(target(n).has(feature) for n in no.split())


def test_a_misspelt_feature_is_an_error():
    with pytest.raises(TileError, match="no feature is called wgma"):
        target("sm_90a").has("wgma")
    assert FEATURES


@pytest.mark.parametrize(
    ("name", "threads", "registers", "shared", "blocks", "limit"),
    [
        # 65536 registers / (128 * 256) = 2
        ("sm_80", 256, 128, 0, 2, "registers"),
        # 168 * 32 = 5376 registers a warp; a quarter's 16384 hold 3 such, the multiprocessor 12: one block of 12 warps
        ("sm_80", 384, 168, 0, 1, "registers"),
        # 33 registers * 32 = 1056 round up to 1280; 12 warps a quarter, 48 in all; 8 warps a block
        ("sm_80", 256, 33, 0, 6, "registers"),
        # 164 KB / (48 + 1 KB that the system keeps) = 3
        ("sm_80", 128, 32, 48 * 1024, 3, "shared memory"),
        # 100 KB / 50 KB
        ("sm_86", 128, 32, 49 * 1024, 2, "shared memory"),
        ("sm_86", 1024, 32, 0, 1, "warps"),
        ("sm_90a", 1024, 32, 0, 2, "registers"),
        ("sm_86", 32, 16, 0, 16, "blocks"),
        ("sm_89", 32, 16, 0, 24, "blocks"),
        # 9 warps round up to 12 of 5376 registers, which is within 65536, but 17 to 20 are not
        ("sm_80", 17 * 32, 128, 0, 0, "registers"),
    ],
)
def test_occupancy(name, threads, registers, shared, blocks, limit):
    found = target(name).occupancy(threads, registers, shared)
    assert (found.blocks, found.limit) == (blocks, limit)
    assert found.fraction == blocks * -(-threads // 32) / target(name).warps_per_sm


def test_matrix_instructions():
    """m16n8k16 of f16 by HMMA on every target; sm_80 has none of e2m1."""
    fragments = target("sm_80").matrix(f16, f16, f32)
    assert fragments is not None
    assert fragments.shape == (16, 8, 16)
    assert not target("sm_80").matrix(float4_e2m1, float4_e2m1, f16)


def test_what_no_launch_could_grant_is_refused():
    target("sm_80").check(1024, 163 * 1024)
    with pytest.raises(TileError, match="1025 threads"):
        target("sm_80").check(1025)
    with pytest.raises(TileError, match="sm_86 has 101376"):
        target("sm_86").check(128, 163 * 1024)


@pytest.mark.parametrize(
    ("capability", "name"), [((8, 0), "sm_80"), ((8, 8), "sm_87"), ((9, 0), "sm_90a"), ((10, 3), "sm_103a"), ((12, 1), "sm_121a")]
)
def test_the_best_target_for_a_device(capability, name):
    assert for_device(capability).name == name


def test_a_device_that_nothing_runs_on():
    with pytest.raises(TileError, match=r"7\.5"):
        for_device((7, 5))
