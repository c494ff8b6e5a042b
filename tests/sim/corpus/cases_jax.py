"""Cases of JAX's PTX; the order of parameters is XLA's, read off the kernel."""

import ml_dtypes
import numpy as np

from .case import UNIT, Case, Near, bf16_bits, bf16_round, bf16_values, integers, normal, poison, register, rounded

CASES: dict[str, Case] = {}
case = register(CASES)


@case("jax_softmax")
def _(rng):
    x = normal(rng, 64, 384)
    e = np.exp(2 * x.astype("f8") - 2 * x.astype("f8").max(-1, keepdims=True))
    return [x, poison(x.shape, "f4")], {1: rounded(e / e.sum(-1, keepdims=True), units=80)}


@case("jax_gelu_bf16")
def _(rng):
    x, b = bf16_bits(rng.standard_normal((96, 256))), bf16_bits(rng.standard_normal(256))
    v = bf16_round(bf16_values(x) + bf16_values(b))
    y = 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))
    # XLA may keep the sum and the inner steps in f32 or round each to bf16: a dozen roundings of either
    return [x, b, poison(x.shape, "u2")], {2: Near(y, 12 * UNIT["bf16"] * np.abs(v), ml_dtypes.bfloat16)}


@case("jax_layernorm")
def _(rng):
    x = normal(rng, 48, 320)
    v = x.astype("f8")
    d = v - v.mean(-1, keepdims=True)
    return [x, poison(x.shape, "f4")], {1: Near(d / np.sqrt((d**2).mean(-1, keepdims=True) + 1e-5), 60 * UNIT["f32"] * (1 + np.abs(d)))}


@case("jax_column_sums")
def _(rng):
    x = normal(rng, 512, 160)
    s = (x.astype("f8") ** 2).sum(0)
    return [x, poison(160, "f4")], {1: rounded(s, units=64)}


@case("jax_transpose")
def _(rng):
    x = normal(rng, 3, 72, 100)
    return [x, poison((3, 100, 72), "f4")], {1: x.transpose(0, 2, 1) + np.float32(1)}


@case("jax_row_max_index")
def _(rng):
    x = integers(rng, -30, 30, 40, 200).astype("f4")
    return [x, poison(40, "f4"), poison(40, "i4")], {1: x.max(1), 2: x.argmax(1).astype("i4")}


@case("jax_gather_rows")
def _(rng):
    t, i = normal(rng, 100, 48), integers(rng, 0, 100, 60)
    return [t, i, poison((60, 48), "f4")], {2: t[i] * 2}


@case("jax_scatter_add")
def _(rng):
    x, i, v = integers(rng, -50, 50, 64).astype("f4"), integers(rng, 0, 64, 200), integers(rng, -50, 50, 200).astype("f4")
    y = x.copy()
    np.add.at(y, i, v)
    return [x, v, i, x], {0: y}  # XLA puts the result first; the fourth parameter is the same buffer


@case("jax_int_mix")
def _(rng):
    a, b = integers(rng, -(2**31), 2**31, 1000), integers(rng, -20, 20, 1000)
    d = np.maximum(b, 1)
    bits = np.array([bin(int(v) & 0xFFFFFFFF).count("1") for v in a], "i4")
    return [a, b, poison(1000, "i4")], {2: (a // d) ^ np.left_shift(a, b & 7) ^ bits}


@case("jax_trig")
def _(rng):
    x = normal(rng, 4000) * 3
    v = x.astype("f8")
    parts = np.sin(v), np.log1p(np.abs(v)) * np.tanh(v), np.exp(-v * v)
    return [x, poison(4000, "f4")], {1: Near(sum(parts), 30 * UNIT["f32"] * sum(map(np.abs, parts)) + 2.0**-22)}


@case("jax_pad_reverse")
def _(rng):
    x = integers(rng, -128, 128, 20, 30, dtype="i1")
    return [x, poison((23, 37), "i1")], {1: np.pad(x[::-1], ((1, 2), (3, 4)), constant_values=7)}
