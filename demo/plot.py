"""The demo's results as a table and a plot: `python demo/demo.py --json docs/demo.json`, then `python demo/plot.py` writes docs/demo.md and docs/demo.svg."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 720, 400, 70, 50, 20  # pixels
COLOURS = {"int": "#1f5fa8", "float": "#c2571a"}


def document(results: dict[str, Any]) -> str:
    """docs/demo.md."""
    rows = [
        f"| {r['type']} | {r['mb']:.2f} | {r['share']:.1%} | {r['mean']:.5f} | {r['least']:.5f} | {r['pairs']} of {r['of']} |" for r in results["rows"]
    ]  # fmt: skip
    return "\n".join([
        "# A model in 8 to 2 bits", "",
        f"`make demo` computes sentence embeddings by all-MiniLM-L6-v2, its {results['layers']} linear layers by `tilec.kernels.linear`, weights",
        f"quantized by `quantize_linear(w, type, {results['group']}, method=\"clip\")` with f16 scales, activations in f16. Cosines are those of the",
        "embeddings to float32's; a pair is right if a sentence's nearest neighbour is the one that says the same.", "",
        "![mean cosine to float32 by size](demo.svg)", "",
        "| weights | MB | of float32 | mean cosine | least | pairs |", "| --- | ---: | ---: | ---: | ---: | ---: |", *rows, "",
        "This page and the plot are made by `demo/plot.py` from what the demo wrote.", "",
    ])  # fmt: skip


def svg(results: dict[str, Any]) -> str:
    """docs/demo.svg: size across, the distance 1 - cosine up, downwards and by its logarithm, so that better is higher."""
    rows = results["rows"]
    widest, decades = math.ceil(max(r["mb"] for r in rows)), (-5, 0)

    def place(r: dict[str, Any]) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - 60) * r["mb"] / widest
        return across, height(1 - r["mean"])

    def height(distance: float) -> float:
        low, high = decades
        return ABOVE + (HEIGHT - ABOVE - BELOW) * (math.log10(max(distance, 10.0**low)) - low) / (high - low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']  # fmt: skip
    for decade in range(decades[0], decades[1]):
        y = height(10.0**decade)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{1 - 10.0**decade:.10g}</text>')
    for mb in range(0, widest + 1, 2):
        x = LEFT + (WIDTH - LEFT - 60) * mb / widest
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BELOW + 18}" text-anchor="middle">{mb}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">MB of the linear layers, scales included</text>')
    parts.append(f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">mean cosine to float32</text>')
    for kind, colour in COLOURS.items():
        mine = [r for r in rows if r["type"].startswith(kind)]
        points = [place(r) for r in mine]
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{colour}"/>')
        for r, (x, y) in zip(mine, points, strict=True):
            name = r["type"].split("_")[-1]
            above = -10 if kind == "int" else 20
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            parts.append(f'<text x="{x:.1f}" y="{y + above:.1f}" text-anchor="middle" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    results = json.loads((DOCS / "demo.json").read_text())
    (DOCS / "demo.md").write_text(document(results))
    (DOCS / "demo.svg").write_text(svg(results))


if __name__ == "__main__":
    main()
