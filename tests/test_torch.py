"""`tilec.torch` on PyTorch's CPU, where the kernel runs in the interpreter; without PyTorch, its one error."""

import importlib.util
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from linear_cases import bound, case, weight_type

from tilec import Tensor, TileError, bf16, f16
from tilec.cli import main
from tilec.kernels.eight import Linear8, rows8
from tilec.quant import Quantized, quantize_linear

needed = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="there is no PyTorch")


def test_without_torch_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    monkeypatch.delitem(sys.modules, "tilec.torch", raising=False)
    with pytest.raises(TileError, match="needs PyTorch, which is not installed"):
        importlib.import_module("tilec.torch")


def test_tilec_does_not_import_torch():
    code = "import sys, tilec, tilec.kernels.linear; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def t():
    return pytest.importorskip("torch")


def layer_and_input(t, to=f16, **wished):
    from tilec.torch import QuantLinear

    c = case(np.random.default_rng(), weight_type("int5"), to, 6, 40, 96, **wished)
    dtype = t.float16 if to == f16 else t.bfloat16
    return QuantLinear(c.q, c.bias, dtype), t.from_numpy(c.x.values().astype(np.float32)).to(dtype), c


def right(y, c):
    return bool((np.abs(y.double().numpy().reshape(c.exact().shape) - c.exact()) <= bound(c)).all())


@needed
@pytest.mark.parametrize("to", [f16, bf16], ids=str)
@pytest.mark.parametrize("order", [False, True])
def test_it_computes(t, to, order):
    layer, x, c = layer_and_input(t, to, order=order, group=24)
    y = layer(x)
    assert y.dtype == x.dtype
    assert right(y, c)
    assert layer(x.reshape(2, 3, 96)).shape == (2, 3, 40)
    assert (layer(x.reshape(2, 3, 96)).reshape(6, 40) == y).all()
    assert layer(x[0]).shape == (40,)
    assert layer(x[:0]).shape == (0, 40)
    assert not right(t.zeros_like(y), c)


@needed
def test_the_operator_keeps_its_promises(t):
    """Schema, fake implementation, and what torch.export and torch.compile need."""
    layer, x, _ = layer_and_input(t, order=True)
    args = (x, layer.w, layer.scales, layer.zeros, layer.channel, layer.bias, layer.order, layer.recipe)
    t.library.opcheck(t.ops.tilec.linear.default, args, test_utils=("test_schema", "test_faketensor"))
    with t.device("meta"):
        assert layer.to("meta")(t.empty(2, 5, 96, dtype=t.float16)).shape == (2, 5, 40)


@needed
def test_compiled_and_exported(t):
    layer, x, _ = layer_and_input(t)
    model = t.nn.Sequential(layer, t.nn.ReLU())
    expected = model(x)
    compiled = t.compile(model, backend="aot_eager", fullgraph=True)
    assert (compiled(x) == expected).all()
    program = t.export.export(model, (x,), dynamic_shapes=({0: t.export.Dim("rows", min=2, max=64)},))
    assert (program.module()(x) == expected).all()
    assert (program.module()(x[:3]) == expected[:3]).all()


@needed
def test_state_goes_round(t, tmp_path):
    layer, x, _ = layer_and_input(t, order=True, bias=True)
    t.save(layer.state_dict(), tmp_path / "layer.pt")
    from tilec.torch import QuantLinear

    other = QuantLinear(quantize_linear(np.ones((8, 32)), "uint3", 16))
    other.load_state_dict(t.load(tmp_path / "layer.pt", weights_only=True))
    assert (other(x) == layer(x)).all()
    assert (other.in_features, other.out_features) == (96, 40)
    assert str(other) == str(layer)
    incomplete = {k: v for k, v in layer.state_dict().items() if k != "scales"}
    with pytest.raises(RuntimeError, match="scales"):
        other.load_state_dict(incomplete)


@needed
def test_from_a_linear_layer(t):
    from tilec.torch import QuantLinear

    dense = t.nn.Linear(128, 24, dtype=t.bfloat16)
    layer = QuantLinear.from_linear(dense, "float8_e4m3", 64)
    x = t.randn(3, 128, dtype=t.bfloat16)
    assert layer(x).dtype == t.bfloat16
    assert t.linalg.norm(layer(x).double() - dense(x).double()) < 0.05 * t.linalg.norm(dense(x).double())
    assert QuantLinear.from_linear(t.nn.Linear(32, 8, bias=False), "int3", None, method="clip")(t.randn(2, 32).half()).shape == (2, 8)
    assert json.loads(layer.recipe)["W"] == "float8_e4m3_packed_bf16"
    assert "128, 24, float8_e4m3_packed_bf16" in str(layer)


@needed
def test_types_belong_to_the_packing(t):
    layer, x, c = layer_and_input(t)
    before = {n: b.dtype for n, b in layer.named_buffers()}
    layer.to(t.bfloat16).double()
    assert {n: b.dtype for n, b in layer.named_buffers()} == before
    assert right(layer(x), c)


@needed
def test_what_is_refused(t):
    layer, x, c = layer_and_input(t)
    with pytest.raises(TileError, match=r"x is bf16, but the layer computes in f16"):
        layer(x.bfloat16())
    with pytest.raises(TileError, match=r"x has shape \[6, 95\], but the layer has 96 inputs"):
        layer(x[:, :95])
    from tilec.torch import QuantLinear

    with pytest.raises(TileError, match=r"activations are f16 or bf16, not f32"):
        QuantLinear(c.q, dtype=t.float32)


@needed
def test_the_manual_s_code():
    """The blocks of docs/torch.md, which are marked `py` as the other manuals' run without PyTorch."""
    blocks = re.findall(r"```py\n(.*?)```", (Path(__file__).parents[1] / "docs" / "torch.md").read_text(), re.S)
    assert blocks
    scope = {}
    for block in blocks:
        exec(compile(block, "docs/torch.md", "exec"), scope)


@needed
def test_errors_have_the_line_of_the_caller(t):
    from tilec.torch import QuantLinear

    layer, x, _ = layer_and_input(t)
    wrong = {
        "the weight is a Quantized, not a Tensor": lambda: QuantLinear(t.zeros(3, 4)),
        "groups of 7 do not divide": lambda: QuantLinear.from_linear(t.nn.Linear(32, 8), "int4", 7),
        "x is f32, but the layer computes in f16": lambda: layer(x.float()),
        r"x has shape \[6, 5\]": lambda: t.nn.Sequential(layer)(x[:, :5]),
    }
    for words, call in wrong.items():
        with pytest.raises(TileError, match=words) as told:
            call()
        assert (told.value.loc.file, told.value.loc.line) == (__file__, call.__code__.co_firstlineno), words


# activations of 8 bits


def of_8_bits(t, activations="int8", out=None, **wished):
    from tilec.torch import QuantLinear

    rng = np.random.default_rng()
    q = quantize_linear(rng.standard_normal((40, 96)), wished.pop("name", "uint4"), 32, **{"zeros": "int"} | wished)
    bias, x = rng.standard_normal(40).astype(np.float32), t.from_numpy(rng.standard_normal((6, 96)).astype(np.float32))
    dtype = out or t.float16
    return QuantLinear(q, bias, dtype, activations), x.to(dtype), q, bias


def eight(q, bias, x, activations, out):
    """What the layer on the host gives."""
    given = rows8(x.float().numpy(), activations)
    y = Linear8(q, bias, activations, out)(*given)
    return y.values() if isinstance(y, Tensor) else y


@needed
@pytest.mark.parametrize(("activations", "out"), [("int8", "float16"), ("e4m3", "bfloat16"), ("int8", "float32")])
def test_it_computes_in_8_bits(t, activations, out):
    """The same numbers as the layer of NumPy's arrays, which other tests hold against float64; and near to those of 16 bits."""
    layer, x, q, bias = of_8_bits(t, activations, getattr(t, out))
    y = layer(x)
    assert y.dtype == x.dtype
    expected = eight(q, bias, x, activations, {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}[out])
    np.testing.assert_array_equal(y.float().numpy(), expected)
    exact = x.double().numpy() @ q.dequantize().T + bias
    assert np.linalg.norm(y.double().numpy() - exact) < 0.05 * np.linalg.norm(exact)
    assert (layer(x.reshape(2, 3, 96)).reshape(6, 40) == y).all()
    assert layer(x[0]).shape == (40,)
    assert layer(x[:0]).shape == (0, 40)


@needed
def test_the_operators_of_8_bits_keep_their_promises(t):
    layer, x, _, _ = of_8_bits(t)
    tests = ("test_schema", "test_faketensor")
    for to in ("int8", "float8_e4m3"):
        t.library.opcheck(t.ops.tilec.rows8.default, (x, to), test_utils=tests)
    codes, rows = t.ops.tilec.rows8(x, "int8")
    args = (codes, rows, layer.w, layer.scales, layer.zeros, layer.channel, layer.bias, layer.order, layer.recipe)
    t.library.opcheck(t.ops.tilec.linear8.default, args, test_utils=tests)
    with t.device("meta"):
        assert layer.to("meta")(t.empty(2, 5, 96, dtype=t.float16)).shape == (2, 5, 40)


@needed
def test_compiled_exported_and_kept_in_8_bits(t, tmp_path):
    from tilec.torch import QuantLinear

    layer, x, _, _ = of_8_bits(t)
    expected = layer(x)
    assert (t.compile(layer, backend="aot_eager", fullgraph=True)(x) == expected).all()
    program = t.export.export(layer, (x,), dynamic_shapes=({0: t.export.Dim("rows", min=2, max=64)},))
    assert (program.module()(x[:3]) == expected[:3]).all()
    t.save(layer.state_dict(), tmp_path / "layer.pt")
    other = QuantLinear(quantize_linear(np.ones((8, 32)), "uint3", 16))
    other.load_state_dict(t.load(tmp_path / "layer.pt", weights_only=True))
    assert (other(x) == expected).all()
    assert (str(other), other.dtype) == (str(layer), t.float16)
    assert "uint4_packed_uint8, by int8" in str(layer)


@needed
@pytest.mark.parametrize("name", ["int4", "e3m2"])
def test_an_order_gathers_codes_of_8_bits(t, name):
    from tilec.torch import QuantLinear

    rng = np.random.default_rng()
    q = quantize_linear(rng.standard_normal((24, 96)), name, 32)
    shuffled = Quantized(q.codes, q.scales, order=rng.permutation(96))
    for to in ("int8", "e4m3"):
        x = t.from_numpy(rng.standard_normal((5, 96)).astype(np.float32))
        np.testing.assert_array_equal(QuantLinear(shuffled, None, t.float32, to)(x).numpy(), eight(shuffled, None, x, to, "f32"))


@needed
def test_a_module_is_named_on_the_command_line(t, tmp_path, capsys):
    source = "import numpy as np\nfrom tilec.quant import quantize_linear\nfrom tilec.torch import QuantLinear\n"
    source += "q = quantize_linear(np.random.default_rng(3).standard_normal((96, 256)), 'int4', 64)\n"
    source += "up, eight = QuantLinear(q), QuantLinear(q, activations='int8')\n"
    (tmp_path / "modules.py").write_text(source)
    for name, entry in (("up", "linear"), ("eight", "linear8")):
        assert main(["show", f"{tmp_path / 'modules.py'}:{name}", "--ptx"]) == 0, capsys.readouterr().err
        assert f".visible .entry {entry}(" in capsys.readouterr().out
    assert main(["compile", f"{tmp_path / 'modules.py'}:eight", "--arch", "sm_80", "--out", str(tmp_path / "out")]) == 0
    assert "int eight_launch(" in (tmp_path / "out" / "eight.h").read_text()


@needed
def test_from_a_linear_layer_in_8_bits(t):
    from tilec.torch import QuantLinear

    dense = t.nn.Linear(128, 24, dtype=t.bfloat16)
    layer, x = QuantLinear.from_linear(dense, "int8", None, activations="int8"), t.randn(3, 128, dtype=t.bfloat16)
    assert t.linalg.norm(layer(x).double() - dense(x).double()) < 0.03 * t.linalg.norm(dense(x).double())
    with pytest.raises(TileError, match="activations of 8 bits are int8 or e4m3, not f16"):
        QuantLinear.from_linear(dense, "int4", activations="f16")
    with pytest.raises(TileError, match=r"int8 or e4m3, not uint8(.|\n)*without activations= the layer computes in its dtype"):
        QuantLinear.from_linear(dense, "int4", activations="uint8")


@needed
def test_activations_in_pytorch_s_words(t):
    dense = t.nn.Linear(128, 24)
    from tilec.torch import QuantLinear

    for kind, name in ((t.int8, "int8"), (t.float8_e4m3fn, "float8_e4m3")):
        layer = QuantLinear.from_linear(dense, "int4", activations=kind)
        assert (layer.activations, QuantLinear(quantize_linear(np.ones((24, 128)), "int4"), activations=kind).activations) == (name, name)
        assert layer(t.randn(3, 128).half()).dtype == layer.dtype == t.float16  # as a layer of f32 computes in f16


@needed
@pytest.mark.parametrize(
    ("activations", "given", "hint"),
    [
        (None, "bfloat16", "x.to(torch.float16), or a layer with dtype=torch.bfloat16 (of from_linear: to=torch.bfloat16)"),
        (None, "float32", "x.to(torch.float16)"),
        ("int8", "float32", "x.to(torch.float16), or a layer with dtype=torch.float32 (of from_linear: to=torch.float32)"),
        ("int8", "int8", "x.to(torch.float16)"),
    ],
)
def test_hints_are_in_pytorch_s_words(t, activations, given, hint):
    layer = of_8_bits(t)[0] if activations else layer_and_input(t)[0]
    with pytest.raises(TileError) as told:
        layer(t.zeros(2, layer.in_features, dtype=getattr(t, given)))
    assert told.value.hint == hint


@needed
def test_a_state_is_the_buffers_and_a_dict(t):
    """Which PyTorch loads without unpickling anything else."""
    state = layer_and_input(t)[0].state_dict()
    extra = state["_extra_state"]
    assert {type(v) for k, v in state.items() if k != "_extra_state"} == {t.Tensor}
    assert {k: type(v) for k, v in extra.items()} == {"recipe": str, "in_features": int}
    file = io.BytesIO()
    t.save(state, file)
    file.seek(0)
    assert t.load(file, weights_only=True)["_extra_state"] == extra


@needed
@pytest.mark.parametrize("activations", [None, "int8"])
def test_weights_on_a_gpu_are_quantized_there_to_the_same_numbers(t, activations, monkeypatch):
    import tilec.torch as module

    dense = t.nn.Linear(256, 40, dtype=t.float16)
    layers = []
    for there in (False, True):
        monkeypatch.setattr(module, "lies_on_gpu", lambda w, there=there: there)
        layers.append(module.QuantLinear.from_linear(dense, "int4", 64, activations=activations))
    one, other = (layer.state_dict() for layer in layers)
    assert one.pop("_extra_state") == other.pop("_extra_state")
    assert all(t.equal(one[name], other[name]) for name in one | other)
