"""Scales that are too few for their weights are refused wherever shapes are known, and enough of them never are."""

import numpy as np
import pytest
from stub_driver import GPU, Cuda, aligned, stubbed

import tilec as tc
from tilec import TileError, cdiv, f16, f32, int4, uint8
from tilec.quant import pack

M, N, K, G, H = tc.dims("M N K G H")
W = tc.types("W")


@tc.kernel
def packed(x: f16[M, K], w: tc.packed(int4)[K, N], scales: f16[G, N], y: f16[M, N], *, group: int = 128):
    tc.grid(1, cdiv(N, 32))
    j = tc.block_index(1) * 32
    acc = tc.zeros(f32, [16, 32])
    for k in tc.range(0, K, 128):
        few = tc.load(scales, [k // group, j], [max(1, 128 // group), 32])
        scale = tc.repeat(few, group, axis=0) if group < 128 else few
        acc = tc.dot(tc.load(x, [0, k], [16, 128]), tc.dequantize(tc.load(w, [k, j], [128, 32]), scale), acc)
    tc.store(y, [0, j], f16(acc))


@tc.kernel
def shared_out(x: f16[M, K], w: tc.packed(int4)[K, N], scales: f16[G, N], zeros: f16[H, N], y: f16[M, N], *, group: int = 128):
    """The sum over K is shared out, and the zero points join in."""
    tc.grid(1, 1, 2)
    for k in tc.range(tc.block_index(2) * 256, min(K, tc.block_index(2) * 256 + 256), 128):
        scale, zero = tc.load(scales, [k // group, 0], [1, 32]), tc.load(zeros, [k // group, 0], [1, 32])
        weights = tc.dequantize(tc.load(w, [k, 0], [128, 32]), scale, zero)
        tc.atomic_add(y, [0, 0], f16(tc.dot(tc.load(x, [0, k], [16, 128]), weights)))


@tc.kernel
def by_hand(x: f16[M, K], w: uint8[K, N], scales: f16[G, N], zeros: f16[H, N], y: f16[M, N], *, group: int = 32):
    """Rows of weights as they lie, converted, less a zero point, times half a scale."""
    tc.grid(1)
    acc = tc.zeros(f32, [16, 32])
    for k in tc.range(0, K, 32):
        weights = (tc.cast(tc.load(w, [k, 0], [32, 32]), f16) - tc.load(zeros, [k >> 5, 0], [1, 32])) * (tc.load(scales, [k // group, 0], [1, 32]) / 2)
        acc = tc.dot(tc.load(x, [0, k], [16, 32]), weights, acc)
    tc.store(y, [0, 0], f16(acc))


def arguments(kernel, k, **rows):
    """Arguments of NumPy."""
    rng = np.random.default_rng()
    x = rng.standard_normal((16, k)).astype(np.float16)
    w = rng.integers(-8, 8, (k, 32)) if kernel is not by_hand else rng.integers(0, 16, (k, 32))
    held = {name: np.ones((n, 32), np.float16) for name, n in rows.items()}
    y = np.zeros((16, 32), np.float16)
    weights = w.astype(np.uint8) if kernel is by_hand else pack(w, int4)
    return (x, weights, *held.values(), y)


CASES = [  # kernel, its constants, rows of weights, and the least rows of scales and zero points
    (packed, {}, 256, {"scales": 2}),
    (packed, {}, 200, {"scales": 2}),
    (packed, {"group": 32}, 200, {"scales": 7}),
    (packed, {"group": 256}, 600, {"scales": 3}),
    (shared_out, {}, 400, {"scales": 4, "zeros": 4}),
    (by_hand, {}, 70, {"scales": 3, "zeros": 3}),
    (by_hand, {"group": 64}, 70, {"scales": 2, "zeros": 3}),
]
IDS = [f"{kernel.signature.name} {k} {constants or ''}" for kernel, constants, k, _ in CASES]


@pytest.mark.parametrize(("kernel", "constants", "k", "least"), CASES, ids=IDS)
def test_scales_that_are_too_few_are_refused_by_the_interpreter(kernel, constants, k, least):
    for extra in (0, 1):
        kernel.interpret(*arguments(kernel, k, **{name: n + extra for name, n in least.items()}), **constants)
    for short in least:
        wrong = arguments(kernel, k, **{name: n - (name == short) for name, n in least.items()})
        for run in (kernel.interpret, kernel.simulate):
            with pytest.raises(TileError, match=rf"assumption .* does not hold: .*K is {k}(.|\n)*{short} wants a row for each \d+ rows of w") as told:
                run(*wrong, **constants)
            assert told.value.loc.file == __file__


@pytest.mark.parametrize(("kernel", "constants", "k", "least"), CASES, ids=IDS)
def test_and_by_launches_first_and_later_ones(kernel, constants, k, least):
    def on_gpu(**rows):
        x, w, *others = arguments(kernel, k, **rows)
        held = aligned(-(-w.nbytes // 16) * 16, np.uint8)
        w = tc.tensor(Cuda(held), w.dtype, w.shape) if isinstance(w, tc.Tensor) else Cuda(aligned(w.shape, w.dtype))
        return [Cuda(aligned(x.shape, x.dtype)), w, *(Cuda(aligned(a.shape, a.dtype)) for a in others)]

    with stubbed(GPU()) as gpu:
        kernel._runner.launchers.clear()
        gpu.parameters[kernel.signature.name] = len(kernel.signature.values(kernel.signature.resolve(constants)))
        for launches in (1, 2, 3):
            for short in least:
                with pytest.raises(TileError, match=rf"the assumption .* does not hold: .*K is {k}(.|\n)*{short} wants a row for each \d+ rows of w"):
                    kernel(*on_gpu(**{name: n - (name == short) for name, n in least.items()}), **constants)
            kernel(*on_gpu(**least), **constants)
            assert len(gpu.launches) == launches
    kernel._runner.launchers.clear()


def test_what_is_known_at_compile_time_is_refused_there():
    def made(rows):
        @tc.kernel
        def fixed(w: uint8[256, 32], scales: f16[rows, 32], y: f16[256, 32]):
            tc.grid(1)
            for k in tc.range(0, 256, 64):
                tc.store(y, [k, 0], tc.cast(tc.load(w, [k, 0], [64, 32]), f16) * tc.load(scales, [k // 64, 0], [1, 32]))

        return fixed

    assert made(4).compile().metadata["assumptions"] == []
    with pytest.raises(TileError, match=r"scales has 3 rows, too few for the 256 rows of w(.|\n)*a row for each 64 rows of w") as told:
        made(3).compile()
    assert told.value.loc.file == __file__


@tc.kernel
def others(x: f16[M, K], w: uint8[K, N], scales: f16[G, N], same: f16[K, N], y: f16[M, N], *, part: int = 64, rows: int = 32):
    tc.grid(1)
    acc = tc.zeros(f32, [16, 32])
    for k in tc.range(0, part, 32):
        weights = tc.cast(tc.load(w, [k, 0], [32, 32]), f16) * tc.load(scales, [k // rows, 0], [1, 32])
        acc = tc.dot(tc.load(x, [0, k], [16, 32]), weights, acc)
    for k in tc.range(0, K, 32):
        weights = tc.cast(tc.load(w, [k, 0], [32, 32]), f16) * tc.load(same, [k, 0], [32, 32])
        acc = tc.dot(tc.load(x, [0, k], [16, 32]), weights, acc)
        acc = acc + tc.cast(tc.load(scales, [k // 48, 0], [1, 32]) * tc.load(y, [0, 0], [16, 32]), f32)
    tc.store(y, [0, 0], f16(acc))


def test_nothing_is_assumed_of_what_is_read_otherwise():
    """A part of the weights, scales of the weights' own shape, products of two tensors of floats, groups that tiles straddle."""
    assert others.compile().metadata["assumptions"] == []
    assert others.compile(rows=48).metadata["assumptions"] == []


def test_the_description_of_a_launch_has_it_for_all_launchers():
    assert packed.compile(group=64).metadata["assumptions"] == ["(K + 63) // 64 <= G"]
    assert packed.compile(group=64).metadata["hints"] == {"(K + 63) // 64 <= G": "scales wants a row for each 64 rows of w"}


def test_layers_check_the_scales_that_they_hold():
    from tilec.kernels.eight import Linear8
    from tilec.kernels.linear import Linear
    from tilec.quant import quantize_linear

    rng = np.random.default_rng()
    w, x = rng.standard_normal((32, 256)), rng.standard_normal((3, 256)).astype(np.float16)
    for scales in ("f16", "f32"):  # on each weight, and on sums
        layer = Linear(quantize_linear(w, "int4", 128, scale_dtype=scales))
        layer(x)
        short = layer.arrays["scales"].values()[:1]
        layer.arrays["scales"] = tc.Tensor.from_values(short, layer.arrays["scales"].dtype)
        layer._held.clear()
        with pytest.raises(TileError, match=r"assumption .* does not hold: K is 256, G is 1"):
            layer(x)
    eight = Linear8(quantize_linear(w, "int4", 128))
    codes, rows = rng.integers(-9, 9, (3, 256)).astype(np.int8), np.ones(3, np.float32)
    eight(codes, rows)
    eight.arrays["scales"] = eight.arrays["scales"][:1]
    eight._held.clear()
    with pytest.raises(TileError, match=r"assumption .* does not hold: K is 256, G is 1"):
        eight(codes, rows)


def test_it_is_in_the_textual_ir():
    text = str(packed.function())
    assert 'text="(K + 127) // 128 <= G" hint="scales wants a row for each 128 rows of w"' in text
    assert str(tc.parse(text)) == text
