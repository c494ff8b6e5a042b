"""The float64 shadow of a run: errors that are known by hand or by NumPy, at the lines that make them."""

import copy
import json

import numpy as np
import pytest
from programs import random_program

import tilec as tc
from examples import FOLDER, NAMES, WITH_DOT, example
from tilec import cdiv, f16, f32, i32, int4, int8
from tilec.cli import main
from tilec.ir.memories import Memory
from tilec.ir.shadow import shadow
from tilec.ir.types import TensorType

N, M, K = tc.dims("N M K")


def relative(found, exact):
    return np.linalg.norm(np.asarray(found, np.float64) - exact) / np.linalg.norm(exact)


@pytest.fixture
def x():
    return np.random.default_rng().standard_normal(96).astype(np.float32)


def of_program(program, function):
    """The tensors after a run with a shadow, as carriers."""

    def carriers():
        given = [(p, program.arguments[p.name]) for p in function.params]
        return [Memory(value.copy(), p.name, p.type.dtype.edge) if isinstance(p.type, TensorType) else value.reshape(1) for p, value in given]

    _, arguments = shadow(function, carriers, alone=False)
    return {p.name: m.data for p, m in zip(function.params, arguments, strict=True) if isinstance(m, Memory) and m.changed}


@tc.kernel
def one_cast(x: f32[N], y: f32[N]):
    tc.grid(cdiv(N, 32))
    at = tc.block_index(0) * 32
    v = tc.load(x, [at], [32])
    h = f16(v)
    tc.store(y, [at], f32(h) * 2.0)


def test_a_cast_is_the_one_line_that_rounds(x):
    y = np.full(96, np.nan, np.float32)
    report = one_cast.shadow(x, y)
    half = x.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(y, 2 * half)  # the run is as always
    wanted = relative(half, x)
    cast, store = report.line("h = f16(v)"), report.line("tc.store")
    assert cast.introduced == pytest.approx(wanted)
    assert cast.accumulated == pytest.approx(wanted)
    assert (store.introduced, store.alone) == (0, 0)
    assert store.accumulated == cast.alone == report.outputs["y"].relative == pytest.approx(wanted)
    assert report.outputs["y"].max_error == pytest.approx(np.abs(2 * half - 2.0 * x).max())
    assert report.lines[0] is cast
    with pytest.raises(KeyError):
        report.line("tc.load")


@tc.kernel
def cancels(x: f16[N], y: f16[N]):
    tc.grid(1)
    v = tc.load(x, [0], [32])
    up = v + 1000.0
    down = up - 1000.0
    tc.store(y, [0], down)


def test_what_cancels_shows_an_error_made_before():
    x = np.random.default_rng().uniform(0, 1, 32).astype(np.float16)
    y = np.empty_like(x)
    report = cancels.shadow(x, y)
    up = (x + np.float16(1000)).astype(np.float64)
    first, second = report.line("up = v"), report.line("down = up")
    assert first.introduced == pytest.approx(relative(up, 1000 + x.astype(np.float64)))
    assert second.introduced == 0  # the difference is exact
    assert second.accumulated == first.alone == pytest.approx(relative(up - 1000, x.astype(np.float64)))
    assert second.accumulated > 50 * first.introduced
    assert second.alone == 0


@tc.kernel
def sums(x: f32[N], y: f32[M], *, kind: tc.DType = f16):
    tc.grid(1)
    acc = tc.full(kind, [1], 1.0)
    for k in range(0, N, 1):
        acc = acc + tc.cast(tc.load(x, [k], [1]), kind)
    tc.store(y, [0], f32(acc))


def test_sums_in_f16_and_f32():
    """1 + 256 * 2**-12 by single steps: in f16 each is lost, in f32 none."""
    x, y = np.full(256, 2.0**-12, np.float32), np.empty(1, np.float32)
    report = sums.shadow(x, y)
    assert y[0] == 1.0
    add = report.line("acc = acc +")
    assert report.outputs["y"].relative == pytest.approx(0.0625 / 1.0625)
    assert add.introduced == pytest.approx(2.0**-12 / (1 + 2.0**-12))  # of each step by itself
    assert add.alone == report.outputs["y"].relative
    lost = np.arange(1, 257) * 2.0**-12
    assert add.accumulated == pytest.approx(np.linalg.norm(lost) / np.linalg.norm(1 + lost))
    wide = sums.shadow(x, y, kind=f32)
    assert (y[0], wide.lines, wide.outputs["y"].relative) == (1.0625, [], 0.0)


@tc.kernel
def branches(x: f32[N], y: f32[N], n: f32[N]):
    tc.grid(1)
    v = tc.load(x, [0], [8])
    h = f16(v)
    count = tc.cast(tc.sum(f32(h)), i32)
    if f32(h)[0] > 1.0:
        v = v * 3.0
    tc.store(y, [0], tc.where(f32(h) > 1.0, v, 0.0))
    tc.store(n, [count], f32(count) * v)


def test_integers_and_branches_are_those_of_the_run():
    x = np.array([1 + 2.0**-12, 0, 0, 0, 0, 0, 0, 1.5], np.float32)  # f16 makes 1 of the first, which is not above 1
    y, n = np.zeros(8, np.float32), np.zeros(8, np.float32)
    report = branches.shadow(x, y, n)
    assert y.tolist() == [0] * 7 + [1.5]
    assert report.outputs["y"].relative == 0
    assert n.tolist() == [0, 0, *(2 * x[:6])]
    assert report.outputs["n"].relative == 0


@tc.kernel
def quantizes(x: f32[M, K], w: int8[N, K], y: f32[M, N]):
    tc.grid(1)
    q = tc.cast(tc.load(x, [0, 0], [16, 32]), int8)
    acc = tc.dot(q, tc.transpose(tc.load(w, [0, 0], [16, 32])))
    acc = acc + 3
    tc.store(y, [0, 0], f32(acc))


def test_rounding_to_a_storage_integer_is_an_error_like_others():
    rng = np.random.default_rng()
    x = rng.uniform(-20, 20, (16, 32)).astype(np.float32)
    x[0, 0] = 200.0  # is clipped
    w, y = rng.integers(-128, 128, (16, 32)).astype(np.int8), np.empty((16, 16), np.float32)
    report = quantizes.shadow(x, w, y)
    rounded = np.clip(np.rint(x.astype(np.float64)), -128, 127)
    exact = x.astype(np.float64) @ w.T + 3
    assert report.line("q = tc.cast").introduced == pytest.approx(relative(rounded, x))
    assert report.outputs["y"].relative == pytest.approx(relative(rounded @ w.T + 3, exact))
    assert report.lines[0].text.startswith("q =")


@tc.kernel
def literal(x: int4[N], y: f16[N]):
    tc.grid(1)
    tc.store(y, [0], f16(tc.load(x, [0], [32])) * 0.1)


def test_literals_round_too():
    x, y = tc.Tensor.from_values(np.arange(32) % 7 + 1, int4), np.empty(32, np.float16)
    report = literal.shadow(x, y)
    product = x.values() * float(np.float16(0.1))
    introduced = max(relative(np.float16(0.1), 0.1), relative(product.astype(np.float16), product))
    assert report.lines[0].introduced == pytest.approx(introduced)
    assert report.outputs["y"].relative == pytest.approx(relative(y, x.values() * 0.1))


@tc.kernel
def overflows(x: f16[N], y: f16[N]):
    tc.grid(1)
    v = tc.load(x, [0], [8])
    square = v * v
    tc.store(y, [0], tc.sqrt(square))


def test_what_is_not_finite_is_counted():
    x, y = np.array([1, 300, 2, 400, 3, 4, 5, 6], np.float16), np.empty(8, np.float16)
    report = overflows.shadow(x, y)
    assert np.isinf(y[[1, 3]]).all()
    assert report.line("square =").overflows == report.line("tc.sqrt").overflows == 2
    assert report.lines[0].text == "square = v * v"
    assert "(2 not finite)" in str(report)


@tc.function
def scaled(v, s):
    return v * s


@tc.kernel
def helpers(x: f16[N], y: f16[N]):
    tc.grid(1)
    v = tc.load(x, [0], [32])
    w = scaled(v, 0.3)
    tc.store(y, [0], tc.cumsum(w))


def test_lines_of_helpers_and_functions_of_elements():
    x, y = np.random.default_rng().standard_normal(32).astype(np.float16), np.empty(32, np.float16)
    report = helpers.shadow(x, y)
    scale, last = report.line("return v * s"), report.line("tc.cumsum")
    product = x * np.float64(np.float16(0.3))
    constant = abs(float(np.float16(0.3)) / 0.3 - 1)  # rounded on that line, too: a line says the most that one of its operations adds
    assert scale.introduced == pytest.approx(max(constant, relative(product.astype(np.float16), product)))
    assert 0 < last.introduced
    assert report.outputs["y"].relative == pytest.approx(relative(y, np.cumsum(x.astype(np.float64) * 0.3)))
    assert last.accumulated == report.outputs["y"].relative
    with pytest.raises(KeyError, match="no line"):
        report.line("scaled(v")


@tc.kernel
def adds(x: f16[N], y: f16[M]):
    tc.grid(cdiv(N, 32))
    tc.atomic_add(y, [0], tc.sum(tc.load(x, [tc.block_index(0) * 32], [32])))


def test_atomics_round_in_memory():
    x, y = np.random.default_rng().uniform(0, 1, 96).astype(np.float16), np.zeros(1, np.float16)
    report = adds.shadow(x, y)
    parts = [np.float16(part.astype(np.float64).sum()) for part in np.split(x, 3)]
    assert y[0] == np.float16(np.float16(parts[0] + parts[1]) + parts[2])
    assert report.outputs["y"].relative == pytest.approx(abs(y[0] / x.astype(np.float64).sum() - 1), rel=1e-6)
    assert report.line("tc.atomic_add").alone == pytest.approx(report.outputs["y"].relative)


@tc.kernel
def packed_weights(x: f16[16, K], w: tc.packed(int4)[K, N], s: f16[1, N], y: f32[16, N]):
    tc.grid(1)
    acc = tc.zeros(f32, [16, 32])
    for k in range(0, K, 128):
        acc = tc.dot(tc.load(x, [0, k], [16, 128]), tc.dequantize(tc.load(w, [k, 0], [128, 32]), tc.load(s, [0, 0], [1, 32])), acc)
    tc.store(y, [0, 0], acc)


@pytest.mark.parametrize("stage", [None, "unpacked", "placed"])
def test_scaled_weights_round_once(stage):
    rng = np.random.default_rng()
    x, s = rng.standard_normal((16, 256)).astype(np.float16), rng.uniform(0.01, 0.1, (1, 32)).astype(np.float16)
    w, y = tc.Tensor.from_codes(rng.integers(0, 16, (256, 32)), tc.packed(int4)), np.empty((16, 32), np.float32)
    report = packed_weights.shadow(x, w, s, y, stage=stage)
    scaled = w.values() * s.astype(np.float64)
    dot = report.line("acc = tc.dot")
    assert dot.introduced == pytest.approx(relative(scaled.astype(np.float16), scaled))
    assert report.outputs["y"].relative == pytest.approx(relative(y, x.astype(np.float64) @ scaled))
    assert dot.alone == pytest.approx(report.outputs["y"].relative)


def test_without_a_run_for_each_line(x):
    y = np.empty(96, np.float32)
    report = one_cast.shadow(x, y, alone=False)
    assert [one.alone for one in report.lines] == [None] * len(report.lines)
    assert report.lines[0].text == "h = f16(v)"
    assert str(report).splitlines()[2].split() == ["introduced", "accumulated", "line"]
    head = str(one_cast.shadow(x, y)).splitlines()
    assert head[0].startswith("y: relative error ")
    assert head[3].endswith("h = f16(v)")
    with pytest.raises(tc.TileError, match="there is no stage 'last'"):
        one_cast.shadow(x, y, stage="last")


def test_from_the_command_line(capsys):
    assert main(["shadow", f"{FOLDER / 'softmax.py'}:softmax", "--size", "m=3", "--size", "n=40"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("y: relative error ")
    assert main(["shadow", f"{FOLDER / 'softmax.py'}:softmax", "--size", "m=3", "--size", "n=40", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"{found['outputs']['y']['relative']:.3e}" in shown
    assert f"{found['lines'][0]['alone']:.2e}" in shown.splitlines()[3]
    assert found["lines"][0]["text"] in shown


# whole kernels

EXACT = {
    "softmax": lambda x, y: {"y": (e := np.exp(x - x.max(1, keepdims=True))) / e.sum(1, keepdims=True)},
    "transpose": lambda x, y: {"y": x.T},
    "quantized_matmul": lambda x, w, s, y: {"y": x @ (w * np.repeat(s, w.shape[0] // s.shape[0], axis=0))},
} | {name: lambda a, b, c, *rest: {"c": a @ b} for name in sorted(WITH_DOT) if name.startswith("matmul")}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stage", [None, "placed"])
def test_the_run_is_as_without_a_shadow(name, stage):
    kernel = example(name)
    args, _ = kernel.example_args(None)
    plain = copy.deepcopy(args)
    kernel.interpret(*plain, stage=stage)
    report = kernel.shadow(*args, stage=stage, alone=False)
    for mine, other in zip(args, plain, strict=True):
        np.testing.assert_array_equal(mine.codes() if isinstance(mine, tc.Tensor) else mine, other.codes() if isinstance(other, tc.Tensor) else other)
    assert all(errors.relative < 2**-8 for errors in report.outputs.values())
    if name in EXACT:
        numbers = [a.values() if isinstance(a, tc.Tensor) else a.astype(np.float64) for a in args if not isinstance(a, int | float)]
        names = [p.name for p in kernel.signature.parameters]
        for output, exact in EXACT[name](*numbers).items():
            wanted = relative(numbers[names.index(output)], exact) if np.any(exact) else 0
            assert report.outputs[output].relative == pytest.approx(wanted, rel=1e-3, abs=1e-12)


def test_random_programs_run_as_without_a_shadow():
    """Of all ops and types: nothing that the run sees comes from the shadow."""
    start = int(np.random.default_rng().integers(2**31))
    for seed in range(start, start + 60):
        program = random_program(seed)
        wanted = program.run()
        found = of_program(program, program.function)
        assert found.keys() == wanted.keys(), seed
        for name, data in wanted.items():
            np.testing.assert_array_equal(found[name], data, err_msg=f"program {seed}")
