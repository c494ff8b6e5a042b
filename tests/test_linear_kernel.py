"""Layers as kernels: compiled, simulated, named on the command line, delivered in bundles; and what is said when they are given what is wrong."""

import json

import numpy as np
import pytest
from linear_cases import case, check, weight_type
from stub_driver import GPU, Cuda, aligned, stubbed

import tilec as tc
from tilec import TileError, bf16, f16, f32
from tilec.cli import main
from tilec.kernels.eight import Linear8, rows8
from tilec.kernels.linear import Linear, linear
from tilec.quant import quantize_linear

N = tc.dims("N")
SOURCE = """
import numpy as np
import tilec as tc
from tilec.kernels.linear import Linear, linear
from tilec.quant import quantize_linear

rng = np.random.default_rng(3)
up = Linear(quantize_linear(rng.standard_normal((96, 256)), "int4", 64, importance=rng.uniform(1, 2, 256), act_order=True), np.arange(96.0))
narrow = up.kernel(rows=1).with_constants(bn=64)
values = {"up": 3}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("to", [f16, bf16], ids=str)
@pytest.mark.parametrize("order", [False, True])
def test_a_layer_is_simulated(to, order):
    rng = np.random.default_rng()
    c = case(rng, weight_type("int3"), to, 5, 70, 288, order=order, group=96)
    layer = Linear(c.q, c.bias, to)
    y, report = layer.simulate(c.given(), "sm_90a")
    check(y, c)
    assert report.findings == []
    check(layer(c.given()), c)  # to the bit the two need not agree: tensor cores cut off where the interpreter rounds


@pytest.mark.parametrize("rows", [1, 16, 200])
def test_its_kernel_is_right_for_any_number_of_rows(rows):
    rng = np.random.default_rng()
    c = case(rng, weight_type("uint4"), f16, 37, 70, 288, order=True, group=96)
    layer = Linear(c.q, c.bias)
    kernel = layer.kernel(rows)
    assert (kernel.signature.resolve({})["bm"] > 16) == (rows == 200)
    y, work, turn = np.full((37, 70), np.nan, np.float16), np.zeros((1, 37, 70), np.float32), np.zeros(99, np.int32)
    gathered = np.ascontiguousarray(c.x.numpy()[:, c.q.order])  # groups of 96 are not filled up
    kernel.interpret(gathered, *layer.tensors.values(), y, work, turn)
    check(y, c)
    args, expected = kernel.example_args(5, m=11)
    kernel(*args)
    exact = expected["y"]
    assert exact.shape == (11, 70)
    assert np.linalg.norm(args[-3].values() - exact) < 2**-8 * np.linalg.norm(exact)


def test_a_workspace_that_is_too_small_is_refused():
    layer = Linear(quantize_linear(np.random.default_rng().standard_normal((64, 512)), "int4", 128))
    kernel = layer.kernel(16).with_constants(splits=2, bn=32)
    x = np.zeros((20, 512), np.float16)
    for rows, turns, good in ((20, 4, True), (19, 4, False), (20, 3, False), (1, 1, False)):
        y, work, turn = np.full((20, 64), np.nan, np.float16), np.zeros((2, rows, 64), np.float32), np.zeros(turns, np.int32)
        if good:
            kernel.interpret(x, *layer.tensors.values(), y, work, turn)
            assert not y.any()
        else:
            with pytest.raises(TileError, match=r"assumption \(M <= R\) .* does not hold: .*M is 20"):
                kernel.interpret(x, *layer.tensors.values(), y, work, turn)


def test_constants_that_are_settled():
    narrow = linear.with_constants(bn=64, W=tc.packed("int5"))
    assert [narrow.signature.resolve({})[n] for n in ("bn", "W", "bm")] == [64, tc.packed("int5"), 16]
    assert narrow.signature.resolve({"bn": 32})["bn"] == 32
    assert linear.signature.resolve({})["bn"] == 128
    eight = narrow.of_warps(8).with_constants(bm=64)
    assert (eight.warps, [eight.signature.resolve({})[n] for n in ("bm", "bn")]) == (8, [64, 64])
    for wrong, words in (({"bx": 1}, "linear has no constant bx"), ({"bn": 1.5}, "the constant bn is an int, not 1.5")):
        with pytest.raises(TileError, match=words) as told:
            linear.with_constants(**wrong)
        assert told.value.loc.file == __file__


def test_calls_of_a_kernel_with_settled_constants_launch_it():
    @tc.kernel
    def fill(x: f32[N], *, to: float = 1.0, block: int = 32):
        tc.grid(tc.cdiv(N, block))
        tc.store(x, tc.block_index(0) * block, tc.full(f32, [block], to))

    other = fill.with_constants(block=64, to=3.0)
    for kernel, constants, value in ((other, {}, 3), (other, {"to": 5.0}, 5), (fill, {}, 1), (other.of_warps(2), {}, 3)):
        x = np.zeros(100, np.float32)
        kernel.interpret(x, **constants)
        assert (x == value).all()
    with stubbed(GPU()) as gpu:
        gpu.parameters["fill"] = 2
        for kernel, constants, blocks in ((other, {}, 2), (other, {"block": 32}, 4), (fill, {}, 4)):
            kernel(Cuda(aligned(100, np.float32)), **constants)
            assert gpu.launches[-1].grid == (blocks, 1, 1)


def test_layers_are_named_on_the_command_line(file, capsys):
    for command in (["explain"], ["bisect"], ["show", "--ptx"], ["shadow", "--size", "m=3"]):
        assert main([command[0], f"{file}:up", *command[1:]]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "all stages agree" in told
    assert ".visible .entry linear" in told
    assert main(["show", f"{file}:values"]) == 2
    assert "layers.py has no kernel values" in capsys.readouterr().err


def test_a_layer_in_a_bundle(file, tmp_path):
    out = tmp_path / "out"
    assert main(["compile", f"{file}:up", "--arch", "sm_80", "--variant", "bm=16", "--variant", "bm=32", "--rule", "M > 16: bm=32", "--out", str(out)]) == 0
    about = json.loads((out / "up.json").read_text())
    assert [b["constants"]["group"] for b in about["builds"]] == [64, 64]
    assert "int up_launch(" in (out / "up.h").read_text()
    assert main(["compile", f"{file}:narrow", "--arch", "sm_80", "--out", str(out)]) == 0
    up = tc.load(out).up
    with stubbed(GPU()) as gpu:
        gpu.parameters["linear"] = 17
        w = tc.tensor(Cuda(aligned(256 * 96 // 2, np.uint8)), tc.packed("int4"), [256, 96])
        shapes = {"scales": ((4, 96), np.float16), "zeros": ((1, 96), np.float16), "channel": (96, np.float32), "bias": (96, np.float32)}
        for m in (3, 40):
            x, y, work, turn = (Cuda(aligned(*s)) for s in (((m, 256), np.float16), ((m, 96), np.float16), ((1, 1, 96), np.float32), (1, np.int32)))
            up(x, w, *(Cuda(aligned(*s)) for s in shapes.values()), y, work, turn)
            assert gpu.launches[-1].grid == (-(-m // (16 if m <= 16 else 32)), 1, 1)
        short = Cuda(aligned((3, 96), np.float16))
        with pytest.raises(TileError, match=r"the assumption \(K \+ 63\) // 64 <= G .*does not hold"):
            up(x, w, short, *(Cuda(aligned(*s)) for s in list(shapes.values())[1:]), y, work, turn)


def weight():
    return quantize_linear(np.random.default_rng().standard_normal((32, 64)), "int4", 32)


ROWS = np.zeros((3, 64), np.float16)
WRONG = {
    "a weight of NumPy": (lambda: Linear(np.zeros((3, 4))), r"the weight is a Quantized, not a ndarray(.|\n)*quantize_linear"),
    "8 bits, a weight of NumPy": (lambda: Linear8(np.zeros((3, 4))), r"the weight is a Quantized, not a ndarray(.|\n)*quantize_linear"),
    "a type that does not compute": (lambda: Linear(weight(), to="f64"), r"activations are f16 or bf16, not f64(.|\n)*to=tc.f16"),
    "no type": (lambda: Linear(weight(), to="f99"), "there is no type 'f99'"),
    "a short bias": (lambda: Linear(weight(), np.zeros(3)), r"the bias has shape \(3,\), but there are 32 outputs"),
    "a bias of words": (lambda: Linear(weight(), "none"), "the bias is no array of numbers in host memory, but a str"),
    "f64": (lambda: Linear(weight())(ROWS.astype(np.float64)), r"x is f64, but the layer computes in f16\n(.|\n)*x.astype\(np.float16\)"),
    "int8": (lambda: Linear(weight())(ROWS.astype(np.int8)), r"x is int8, but the layer computes in f16\n(.|\n)*x.astype\(np.float16\)"),
    "complex": (lambda: Linear(weight())(ROWS.astype(np.complex64)), "x is complex64, but the layer computes in f16"),
    "f16 for bf16": (lambda: Linear(weight(), to=bf16)(ROWS), r"x is f16, but the layer computes in bf16\n(.|\n)*make the layer with to=tc.f16"),
    "a list": (lambda: Linear(weight())([1, 2]), "x is an array of NumPy or PyTorch, not a list"),
    "a number": (lambda: Linear(weight())(3.0), "x is an array of NumPy or PyTorch, not a float"),
    "no axes": (lambda: Linear(weight())(np.array(3, np.float16)), r"x has shape \[\], but the layer has 64 inputs"),
    "other inputs": (lambda: Linear(weight())(ROWS[:, :5]), r"x has shape \[3, 5\], but the layer has 64 inputs"),
    "nothing to simulate": (lambda: Linear(weight()).simulate(ROWS[:0]), r"x has shape \[0, 64\], and nothing is computed"),
    "8 bits, no array": (lambda: Linear8(weight())(3, 4), r"x is an array of codes, not a int(.|\n)*rows8"),
    "8 bits, no scales": (lambda: Linear8(weight())(np.zeros((3, 64), np.int8), 4), r"rows are an array of scales, not a int(.|\n)*rows8"),
    "8 bits, numbers alone": (lambda: Linear8(weight())(ROWS), r"the scales of the rows of x are missing(.|\n)*layer\(\*rows8\(x\)\)"),
    "8 bits, both as one": (lambda: Linear8(weight())(rows8(ROWS)), r"x is an array of codes, not a tuple(.|\n)*layer\(\*rows8\(x\)\)"),
    "8 bits, to simulate": (lambda: Linear8(weight()).simulate(ROWS), "the scales of the rows of x are missing"),
    "8 bits, f16 as codes": (lambda: Linear8(weight(), to="f16"), r"activations of 8 bits are int8 or e4m3, not f16(.|\n)*linear.Linear takes f16"),
    "8 bits, uint8 as codes": (lambda: Linear8(weight(), to="uint8"), r"activations of 8 bits are int8 or e4m3, not uint8(?!(.|\n)*\n  help:)"),
    "8 bits, other rows": (lambda: Linear8(weight())(np.zeros((3, 64), np.int8), np.ones(2)), r"rows have shape \[2\], but x has \[3, 64\]"),
    "8 bits, f16": (lambda: Linear8(weight())(ROWS, np.ones(3)), r"x is f16, but the layer takes int8(.|\n)*rows8"),
    "8 bits, no axes": (lambda: Linear8(weight())(np.array(3, np.int8), np.array(4.0)), r"x has shape \[\], but the layer has 64 inputs"),
    "8 bits, another type": (lambda: rows8(ROWS, "f16"), "activations of 8 bits are int8 or e4m3, not f16"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_at_its_line(case):
    call, words = WRONG[case]
    with pytest.raises(TileError, match=words) as told:
        call()
    assert (told.value.loc.file, told.value.loc.line) == (__file__, call.__code__.co_firstlineno)
