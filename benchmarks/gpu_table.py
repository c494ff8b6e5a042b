"""What the results of `make gpu` say about the linear layer: a line for each product, beside the copy bandwidth, PyTorch, Triton and humming, and whether
what is demanded was met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Results = dict[str, dict[str, Any]]

SHARES = {1: 0.50, 2: 0.70, 3: 0.70}  # of the copy bandwidth by bits, on LARGE for FEW rows; 0.85 for more bits
LARGE = ((8192, 57344), (28672, 8192))  # K, N
FEW = (1, 16)
SQUARE = (8192, 8192)
PUBLISHED = {1: 2.59, 2: 2.58, 3: 2.26, 4: 2.24, 5: 1.96, 6: 1.86, 7: 1.68, 8: 1.60}  # humming over torch f16 on an H100, SQUARE and one row
OF_OWN = 0.95  # of tilec's own product in f16, for the most rows
MANY = 4096


class Line(NamedTuple):
    """A product of ours: milliseconds, its share of the copy bandwidth, and how many times as fast it is as others."""

    type: str
    m: int
    n: int
    k: int
    group: int | None
    ms: float
    share: float | None
    torch: float | None
    triton: float | None
    humming: float | None
    own: float | None
    verdict: str

    def __str__(self) -> str:
        shown = [f"{self.ms:.4f}", "" if self.share is None else f"{self.share:.0%}"]
        shown += ["" if x is None else f"{x:.2f}" for x in (self.torch, self.triton, self.humming, self.own)]
        return f"{self.k}x{self.n} | {self.m} | {self.type} | {self.group or 'channel'} | {' | '.join(shown)} | {self.verdict}"


HEAD = "K x N | M | type | group | ms | of copy | x torch f16 | x Triton int4 | x humming | x own f16 | demanded\n" + " | ".join(["---"] * 11)


def lines(results: Results) -> Iterator[Line]:
    """A line for each product of ours that was right."""
    timed = [r for r in results.values() if r.get("ms") and "maker" in r]
    copied = next((r["gb_per_s"] for r in timed if r["maker"] == "copy"), None)
    known = {(r["maker"], r["m"], r["n"], r["k"], r.get("type"), r.get("group")): r["ms"] for r in timed if "m" in r}
    for r in timed:
        if r["maker"] != "tilec" or not r["right"]:
            continue
        shape = r["m"], r["n"], r["k"]

        def times(maker: str, r: Any = r, shape: Any = shape, **more: Any) -> float | None:
            other = known.get((maker, *shape, more.get("type"), more.get("group")))
            return other / r["ms"] if other else None

        torch, own = times("torch f16"), times("tilec f16")
        triton, humming = times("triton", type="int4", group=r["group"]), times("humming", type=r["type"], group=r["group"])
        share = r["gb_per_s"] / copied if copied else None
        told = "; ".join(demanded(r["bits"], *shape, share, torch, humming, own))
        yield Line(r["type"], *shape, r["group"], r["ms"], share, torch, triton, humming, own, told)


def demanded(
    bits: int, m: int, n: int, k: int, share: float | None, torch: float | None, humming: float | None, own: float | None
) -> Iterator[str]:
    """Each demand on a product, and whether it was met."""
    if (k, n) in LARGE and m in FEW:
        yield judged("of copy", share, SHARES.get(bits, 0.85))
    if (k, n) == SQUARE and m == 1:
        if humming is not None:
            yield judged("x humming", humming, 1.0)
        else:
            yield judged("x torch, as humming published", torch, PUBLISHED[bits])
    if m == MANY:
        yield judged("x own f16", own, OF_OWN)


def judged(what: str, found: float | None, least: float) -> str:
    verdict = "not known" if found is None else "met" if found >= least else "NOT met"
    return f"{verdict}: {least} {what}"


def table(results: Results) -> str:
    """All of it as Markdown; what is missing of others, and why, below."""
    found, eight = list(lines(results)), list(of_8_bits(results))
    verdicts = [v for line in found for v in line.verdict.split("; ") if v]
    counts = ", ".join(f"{sum(v.startswith(w + ':') for v in verdicts)} {w}" for w in ("met", "NOT met", "not known"))
    skipped = sorted({f"{name.split()[1]}: {r['skipped']}" for name, r in results.items() if name.startswith("layer: ") and "skipped" in r})
    told = [HEAD, *map(str, found), "", f"demands: {counts}", *(f"left out: {s}" for s in skipped)] if found else []
    return "\n".join([*told, *([""] * bool(told and eight)), *([HEAD8, *eight] if eight else [])])


HEAD8 = "K x N | M | products | group | ms | weights read | computed"


def of_8_bits(results: Results) -> Iterator[str]:
    """A line for each layer whose activations have 8 bits."""
    for r in results.values():
        if str(r.get("maker", "")) in ("tilec int8", "tilec e4m3") and r.get("ms"):
            shape = f"{r['k']}x{r['n']} | {r['m']} | {r['maker'].split()[1]} x {r['type']} | {r['group'] or 'channel'}"
            yield f"{shape} | {r['ms']:.4f} | {r['gb_per_s']:.0f} GB/s | {r['tflops']:.0f} TFLOPS"
