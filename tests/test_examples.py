"""Every example against its reference: as parsed, after every stage, with late copies, and as PTX on the CPU with all checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from examples import NAMES, example
from tilec.backend.target import TARGETS
from tilec.compiler import Kernel, bisect, numbers, relative_norm
from tilec.errors import TileError
from tilec.ir.dtypes import int3, nf4, uint4

# sizes besides the example's own: smaller than a tile, not a multiple of one, more than one
SIZES: dict[str, list[dict[str, Any]]] = {
    "vector_add": [{"n": 1}, {"n": 1025}, {"n": 4096}],
    "softmax": [{"m": 1, "n": 4}, {"m": 3, "n": 1024}],
    "layer_norm": [{"m": 1, "n": 8}, {"m": 5, "n": 1024}],
    "quantized_matmul": [{"m": 1, "n": 8, "k": 64}, {"m": 130, "n": 66, "k": 128}],
    "attention": [{"h": 1, "n": 64}, {"h": 3, "n": 129}],
    "matmul_plain": [{"m": 128, "n": 256, "k": 64}],
    "transpose": [{"m": 1, "n": 70}, {"m": 64, "n": 33}],
    "histogram": [{"n": 1}, {"n": 4096}],
    **{f"matmul_{step}": [{"m": 72, "n": 136, "k": 200}, {"m": 5, "n": 8, "k": 16}] for step in ("v0", "v1", "v2", "v3", "v4", "v5", "warps")},
}
CASES = [(name, sizes) for name in NAMES for sizes in [{}, *SIZES.get(name, [])]]


def bound(kernel: Kernel, name: str) -> float:
    """Of ‖x − y‖ / ‖y‖: results and what goes into products are rounded to the output's type a few times, sums to f32."""
    dtype = kernel.function().param(name).type.dtype
    return 4 * 2.0 ** -(dtype.mantissa_bits + 1) + 2.0**-20 if dtype.is_float else 0.0


def check(kernel: Kernel, args: tuple[Any, ...], expected: dict[str, np.ndarray]) -> None:
    names = [p.name for p in kernel.signature.parameters]
    for name, wanted in expected.items():
        found = numbers(args[names.index(name)])
        assert relative_norm(found, np.asarray(wanted, np.float64)) <= bound(kernel, name)
        assert relative_norm(0 * wanted, np.asarray(wanted, np.float64)) > bound(kernel, name)  # zeros would not do


@pytest.mark.parametrize(("name", "sizes"), CASES)
def test_interpreted(name: str, sizes: dict[str, Any]) -> None:
    kernel = example(name)
    args, expected = kernel.example_args(None, **sizes)
    kernel.interpret(*args)
    check(kernel, args, expected)


@pytest.mark.parametrize(("name", "sizes"), CASES)
def test_simulated(name: str, sizes: dict[str, Any]) -> None:
    kernel = example(name)
    args, expected = kernel.example_args(None, **sizes)
    report = kernel.simulate(*args)
    check(kernel, args, expected)
    assert report.findings == []


@pytest.mark.parametrize("name", NAMES)
def test_stages_agree(name: str) -> None:
    differences = bisect(example(name), seed=int(np.random.default_rng().integers(2**31)))
    assert all(d.agrees for d in differences)
    assert [d.stage for d in differences] == list(example(name).stages())


@pytest.mark.parametrize("name", NAMES)
def test_copies_that_land_late(name: str) -> None:
    kernel = example(name)
    args, expected = kernel.example_args(None)
    kernel.interpret(*args, stage=list(kernel.stages())[-1], late_copies=True)
    check(kernel, args, expected)


@pytest.mark.parametrize("dtype", [int3, uint4, nf4])
def test_other_weights(dtype: Any) -> None:
    kernel = example("quantized_matmul")
    args, expected = kernel.example_args(None, W=dtype, m=20, n=72, k=64)
    report = kernel.simulate(*args, W=dtype)
    check(kernel, args, expected)
    assert report.findings == []


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("size", [64, 128])
def test_attention_of_head_sizes(size: int, causal: bool) -> None:
    """Interpreted as parsed and after every stage, and simulated."""
    kernel = example("attention")
    for stage in [None, *kernel.stages(D=size, causal=causal)]:
        args, expected = kernel.example_args(None, h=2, n=130, D=size, causal=causal)
        kernel.interpret(*args, stage=stage, D=size, causal=causal)
        check(kernel, args, expected)
    args, expected = kernel.example_args(None, h=1, n=200, D=size, causal=causal)
    report = kernel.simulate(*args, D=size, causal=causal)
    check(kernel, args, expected)
    assert report.findings == []


def test_attention_without_masks_takes_whole_tiles_only() -> None:
    """Rows of 64, keys by 128: the half tile of keys would be seen."""
    args, expected = example("attention").example_args(None, h=1, n=64)
    with pytest.raises(TileError, match="does not hold"):
        example("attention").interpret(*args, whole=True, bm=64, bn=128)
    example("attention").interpret(*args, whole=True, bm=64)
    check(example("attention"), args, expected)


NEWEST = ["sm_90a", "sm_120a"]  # sm_80 is what all others run on here
BUSIEST = ["attention", "matmul_warps"]  # for all; so is step 3 of the tutorial, elsewhere


@pytest.mark.parametrize(("name", "arch"), [(n, a) for n in NAMES for a in (TARGETS if n in BUSIEST else NEWEST)])
def test_it_compiles_for(name: str, arch: str) -> None:
    built = example(name).compile(arch)
    assert built.cubin.startswith(b"\x7fELF")
    assert built.resources.spill_bytes == 0
