"""Layers given arrays that lie on a GPU and are not PyTorch's, with a driver that is a stub: what is launched, the interpreter computes."""

import numpy as np
import pytest
from gpu_stubbed import Interpreted
from linear_cases import case, check, weight_type
from stub_driver import GPU, Cuda, Dlpack, aligned, stubbed

import tilec as tc
from tilec import TileError, bf16, f16
from tilec.kernels.eight import Linear8, rows8
from tilec.kernels.libraries import OfDevice, OfNumpy
from tilec.kernels.linear import Linear, call
from tilec.kernels.placed import place
from tilec.quant import quantize_linear
from tilec.running import Runner


class Streaming(Interpreted):
    """Tells on which streams was launched."""

    streams = []

    def launch(self, stream, *args):
        self.streams.append(stream)
        super().launch(stream, *args)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(Runner, "launcher", lambda self, constants: Streaming(self.kernel, constants))
    monkeypatch.setattr(OfDevice, "kept", {})
    Streaming.streams.clear()
    with stubbed(GPU()) as gpu:
        yield gpu


def there(array, wrap=Cuda):
    held = aligned(array.shape, array.dtype)
    held[...] = array
    return wrap(held)


@pytest.mark.parametrize("wrap", [Cuda, Dlpack, lambda a: tc.tensor(Cuda(a), f16, a.shape)], ids=["interface", "dlpack", "tensor"])
def test_arrays_of_any_library(gpu, wrap):
    """Also with leading axes, and sums that are shared out: weights are copied once, workspaces are kept."""
    c = case(np.random.default_rng(), weight_type("uint4"), f16, 6, 40, 2048, group=128, order=False, zeros="int")
    layer = Linear(c.q, c.bias)
    y = aligned((2, 3, 40), np.float16)
    for _ in range(3):
        y[...] = np.nan
        x, out = there(c.given().reshape(2, 3, 2048), wrap), wrap(y)
        assert layer(x, out=out) is out
        check(y.reshape(6, 40), c)
    assert layer.recipe.asked(6, 4, 101376).m == 6
    copied = [size for _, _, size in gpu.called("cuMemcpyHtoD")]
    assert copied.count(layer.arrays["w"].nbytes) == 1
    assert set(Streaming.streams) == {0}


def test_streams_have_workspaces_of_their_own(gpu):
    c = case(np.random.default_rng(), weight_type("int4"), f16, 3, 40, 2048, group=128, order=False)
    layer, y = Linear(c.q, c.bias), aligned((3, 40), np.float16)
    for stream in (0, 7):
        layer(there(c.given()), out=Cuda(y), stream=stream or None)
        check(y, c)
    layer(there(c.given(), lambda a: Cuda(a, stream=9)), out=Cuda(y))
    assert Streaming.streams == [0, 7, 9]
    assert {stream for _, stream, _ in OfDevice.kept} == {0, 7, 9}


def test_a_tensor_over_memory_of_a_type_that_the_library_lacks(gpu):
    c = case(np.random.default_rng(), weight_type("e3m2"), bf16, 3, 40, 256, group=128, order=False)
    codes = there(np.zeros((3, 40), np.uint16))
    x = tc.tensor(there(c.x.codes()), bf16, (3, 256))
    Linear(c.q, c.bias, bf16)(x, out=tc.tensor(codes, bf16, (3, 40)))
    check(tc.tensor(codes.array, bf16, (3, 40)), c)


@pytest.mark.parametrize("to", ["int8", "e4m3"])
def test_activations_of_8_bits(gpu, to):
    """Codes and scales are those that NumPy makes."""
    rng = np.random.default_rng()
    q = quantize_linear(rng.standard_normal((40, 256)), "uint4", 128, zeros="int")
    x = rng.standard_normal((5, 256)).astype(np.float16)
    x[2, 7], x[3] = np.inf, 0
    layer, (codes, rows) = Linear8(q, to=to, out="f32"), rows8(x, to)
    held, scales = there(np.zeros((5, 256), np.int8 if to == "int8" else np.uint8)), there(np.zeros(5, np.float32))
    given = held if to == "int8" else tc.tensor(held, to, (5, 256))
    assert rows8(there(x), to, out=(given, scales)) == (given, scales)
    np.testing.assert_array_equal(held.array.view(np.uint8), codes.codes())
    np.testing.assert_array_equal(scales.array, rows)
    y = there(np.zeros((5, 40), np.float32))
    layer(given, scales, out=y)
    np.testing.assert_array_equal(y.array, layer(codes, rows))


def test_what_is_refused(gpu):
    layer = Linear(quantize_linear(np.ones((32, 128)), "int4", 32))
    x = there(np.zeros((3, 128), np.float16))

    def out(shape, kind=np.float16):
        return there(np.zeros(shape, kind))

    for act, words in (
        (lambda: layer(x), r"memory for results on a GPU is made by PyTorch, or given(.|\n)*out=y"),
        (lambda: layer(x, out=out((3, 31))), r"out has shape \[3, 31\], but the result \[3, 32\]"),
        (lambda: layer(x, out=out((3, 32), np.float32)), "out is f32, but the result f16"),
        (lambda: layer(x, out=np.zeros((3, 32), np.float16)), "out lies in host, and x in gpu:0"),
        (lambda: layer(np.zeros((3, 128), np.float16), stream=3), "a stream is for arrays on a GPU that are not PyTorch's"),
    ):  # fmt: skip
        with pytest.raises(TileError, match=words) as told:
            act()
        assert told.value.loc.file == __file__


def test_results_in_memory_of_ones_own_on_the_host():
    c = case(np.random.default_rng(), weight_type("int4"), f16, 3, 40, 256)
    y = np.full((3, 40), np.nan, np.float16)
    assert Linear(c.q, c.bias)(c.given(), out=y) is y
    check(y, c)


# weights quantized and packed where they lie

PLACED = [("int4", 128, f16, "f16", f16), ("e2m1", 32, bf16, "bf16", bf16), ("int8", None, f16, "f32", f16), ("int3", 64, f16, "f32", f16)]


@pytest.mark.parametrize(("name", "group", "to", "scale", "given"), PLACED, ids=[c[0] for c in PLACED])
def test_weights_are_placed_as_the_host_makes_them(name, group, to, scale, given):
    w = tc.Tensor.from_values(np.random.default_rng().standard_normal((40, 256)), given)
    there, here = place(w, name, group, to, scale_dtype=scale), quantize_linear(w.values(), name, group, scale_dtype=scale)
    assert (there.shape, there.group, there.dtype) == (here.shape, here.group, here.dtype)
    found, expected = Linear(there, to=to), Linear(here, to=to)
    assert found.recipe == expected.recipe
    for a, b in zip(found.arrays.values(), expected.arrays.values(), strict=True):
        np.testing.assert_array_equal(getattr(a, "bytes", a), getattr(b, "bytes", b))


@pytest.mark.parametrize(("name", "activations", "kind"), [("int4", "int8", "int8"), ("e3m2", "e4m3", "e4m3"), ("e3m2", "int8", "f16")])
def test_weights_are_placed_for_activations_of_8_bits(name, activations, kind):
    w, x = np.random.default_rng().standard_normal((40, 256)).astype(np.float32), np.random.default_rng().standard_normal((3, 256))
    layers = [Linear8(q, to=activations, out="f32") for q in (place(w, name, 64, kind), quantize_linear(w, name, 64))]
    assert layers[0].recipe == layers[1].recipe
    np.testing.assert_array_equal(*(layer(*rows8(x, activations)) for layer in layers))


def test_weights_stay_on_the_gpu(gpu):
    w, x = np.random.default_rng().standard_normal((40, 256)).astype(np.float16), np.random.default_rng().standard_normal((3, 256)).astype(np.float16)
    layer, y = Linear(place(there(w), "int4", 64)), there(np.zeros((3, 40), np.float16))
    read = [size for _, _, size in gpu.called("cuMemcpyDtoH")]
    assert read == [2 * 40 * 4]  # the scales
    layer(there(x), out=y)
    assert layer.arrays["w"].device is not None
    np.testing.assert_array_equal(y.array, expected(w, x))
    with pytest.raises(TileError, match="the layer's weights lie on a GPU, and x does not"):
        layer(x)


@pytest.mark.parametrize(("value", "words"), [(np.nan, "weights to quantize must be finite"), (np.inf, "weights must be finite"), (1e9, "f16 ends at 65504")])
def test_weights_on_a_gpu_that_are_not_finite(gpu, value, words):
    """The scales tell, the rest staying where it is; or else a layer would give plausible numbers."""
    for group in (64, 256):
        w = np.ones((32, 256), np.float32)
        w[3, 70] = value
        with pytest.raises(TileError, match=words) as told:
            place(there(w), "int4", group)
        assert told.value.loc.file == __file__
    w[3, 70] = 1e9
    assert place(there(w), "int4", 256, scale_dtype="bf16").scale_values()[3, 0] == np.float64(bf16.round(np.float64(np.float32(1e9)) / 7))


def expected(w, x):
    """What the layer on the host gives, by the interpreter."""
    layer = Linear(quantize_linear(w, "int4", 64))
    y = np.zeros((3, 40), np.float16)
    made, args, constants = call(x, y, layer.arrays, layer.recipe, OfNumpy(x), layer.recipe.form(3, OfDevice(there(x))))
    made.interpret(*args, **constants)
    return y


def test_what_is_not_placed():
    w = np.zeros((40, 256), np.float16)
    for act, words in (
        (lambda: place(w, "uint4", 128), "are not quantized to uint4 in groups of 128 by a kernel"),
        (lambda: place(w, "int4", 96), "in groups of 96 by a kernel"),
        (lambda: place(w[0], "int4"), r"a matrix \[N, K\], not of shape \[256\]"),
        (lambda: Linear(place(w, "int4", 64, bf16)), r"packed as int4_packed_bf16, but the layer wants int4_packed(.|\n)*to='f16'"),
        (lambda: Linear8(place(w, "int4", 64)), r"packed as int4_packed, but the layer wants int4_packed_int8(.|\n)*to='int8'"),
        (lambda: Linear8(place(w, "e2m1", 64)), r"packed as float4_e2m1_packed, but the layer wants float4_e2m1_as_int8(.|\n)*quantize_linear\(w"),
        (lambda: Linear(place(w, "int4", 64)).kernel().example_args(), "has no example"),
    ):  # fmt: skip
        with pytest.raises(TileError, match=words):
            act()
