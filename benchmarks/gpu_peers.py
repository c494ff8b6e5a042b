"""What others need for the products of `gpu_layers`: PyTorch in f16 (cuBLAS), Triton with int4 (`gpu_triton`), humming. Each is used if it is there; what
goes wrong in one of them leaves out its line, with the reason, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tilec.backend.timing import milliseconds
from tilec.compiler import relative_norm
from tilec.errors import TileError

EXAMPLES = Path(__file__).parent.parent / "examples"
DEVICE = "cuda"
ROWS, COLUMNS = 16, 64  # that are compared with float64
BOUND = 2.0**-9  # of the norm of their difference: some roundings to f16
REPEATS = 20
Result = dict[str, Any]


def optional(name: str) -> Any:
    """A module that may not be there, or may not work."""
    try:
        module = __import__(name)
        return module if name != "torch" or module.cuda.is_available() else None
    except Exception:
        return None


def of(group: int | None) -> str:
    """What shares a scale, as in a name."""
    return f", groups of {group}" if group else ", per channel"


def guarded(task: Callable[..., Result]) -> Callable[..., Result]:
    """Others' troubles are not ours: they are told, and are no failure."""

    @functools.wraps(task)
    def tried(*args: Any) -> Result:
        try:
            return task(*args)
        except ImportError as error:
            return {"right": True, "skipped": f"{error.name or error} was not found"}
        except Exception as error:
            if lost(error):
                raise
            return {"right": True, "skipped": said(error)}

    return tried


def lost(error: Exception) -> bool:
    """Whether the CUDA context may be lost, with which all that follows would fail."""
    return (isinstance(error, TileError) and error.message.startswith("cu")) or "CUDA error" in str(error)


def said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def fastest(
    runs: Mapping[str, Callable[[], Any]], poison: Callable[[], Any], difference: Callable[[], float], stream: int = 0
) -> Result:
    """Milliseconds of the fastest run whose results are right, and of all of them by name; what went wrong with the others."""
    times, errors, worst = {}, {}, 0.0
    for name, run in runs.items():
        try:
            poison()
            run()
            found = difference()
            worst = max(worst, found)
            if not found <= BOUND:
                raise ArithmeticError(f"the results differ by {found:.1e}")
            times[name] = milliseconds(run, REPEATS, stream)
        except Exception as error:
            if lost(error):
                raise
            errors[name] = said(error)
    best = min(times, key=lambda name: times[name], default=None)
    right = best is not None and not any(e.startswith("ArithmeticError") for e in errors.values())
    return {"right": right, "best": best, "ms": times.get(best or ""), "forms": times, "errors": errors, "difference": worst}


def stream(torch: Any) -> int:
    return int(torch.cuda.current_stream().cuda_stream) if torch.cuda.is_available() else 0


def with_torch() -> Any:
    """PyTorch with a GPU, or an ImportError."""
    torch = optional("torch")
    if torch is None:
        raise ImportError(name="PyTorch with CUDA")
    return torch


def measured(maker: str, m: int, n: int, k: int, read: float, found: Result, **more: Any) -> Result:
    """What was found about a product, and its speed; `read` counts the bytes of its weights and scales."""
    ms = found["ms"]
    speed = {"gb_per_s": read / ms / 1e6, "tflops": 2 * m * n * k / ms / 1e9} if ms else {}
    return {**found, "maker": maker, "m": m, "n": n, "k": k, **speed, **more}


@guarded
def torch_f16(m: int, n: int, k: int) -> Result:
    """torch's product in f16, which is cuBLAS."""
    torch = with_torch()
    x, w = (torch.randn(shape, dtype=torch.float16, device=DEVICE) for shape in ((m, k), (n, k)))
    ms = milliseconds(lambda: torch.nn.functional.linear(x, w), REPEATS, stream(torch))
    return measured("torch f16", m, n, k, w.numel() * 2, {"right": True, "ms": ms})


@guarded
def triton_int4(m: int, n: int, k: int, group: int | None) -> Result:
    """Our own kernel in Triton, in the configurations that are worth a try; those that are wrong don't count."""
    torch = with_torch()
    import gpu_triton

    q = torch.randint(-(2**31), 2**31, (k // 8, n), dtype=torch.int64, device=DEVICE).to(torch.int32)
    s = ((torch.rand((k // group if group else 1, n), device=DEVICE) + 0.5) * 2.0**-6).half()
    x = torch.randn((m, k), dtype=torch.float16, device=DEVICE)
    y, sums = torch.empty((m, n), dtype=torch.float16, device=DEVICE), torch.empty((m, n), dtype=torch.float32, device=DEVICE)
    expected = int4_expected(x, q, s, group)
    runs = {str(tuple(c)): functools.partial(gpu_triton.launch, c, x, q, s, y, sums, group or 0) for c in gpu_triton.configurations(m)}
    found = fastest(runs, lambda: y.fill_(float("nan")), lambda: relative_norm(corner(y), expected), stream(torch))
    if not found["forms"]:
        raise RuntimeError(f"no configuration worked: {found['errors']}")
    read = q.numel() * 4 + (s.numel() * 2 if group else 0)
    return measured("triton", m, n, k, read, found, type="int4", bits=4, group=group)


def corner(y: Any) -> np.ndarray:
    """The first rows and columns of a result."""
    return np.asarray(y[:ROWS, :COLUMNS].cpu().numpy().astype(np.float64))


def int4_expected(x: Any, q: Any, s: Any, group: int | None) -> np.ndarray:
    """The first rows and columns in float64."""
    words = q[:, :COLUMNS].cpu().numpy().view(np.uint32)
    codes = (words[:, None] >> (4 * np.arange(8, dtype=np.uint32))[:, None] & 15).reshape(-1, words.shape[1]).astype(np.float64)
    scales = s[:, :COLUMNS].cpu().numpy().astype(np.float64)
    w = (codes - 8) * np.repeat(scales, group or len(codes), axis=0)
    return np.asarray(x[:ROWS].cpu().numpy().astype(np.float64) @ w)


@guarded
def humming(name: str, m: int, n: int, k: int, group: int | None) -> Result:
    """humming-kernels' layer (github.com/vllm-project/humming, by its README): weights that it quantizes itself, compiled by nvcc at the first call."""
    torch = with_torch()
    from humming.layer import HummingLayer

    layer = HummingLayer(shape_n=n, shape_k=k, weight_config={"dtype": name, "group_size": group or 0}, torch_dtype=torch.float16).to(DEVICE)
    weight = torch.randn((n, k), dtype=torch.float16, device=DEVICE)
    x = torch.randn((m, k), dtype=torch.float16, device=DEVICE)
    wanted = x[:ROWS].float() @ weight.float().T[:, :COLUMNS]
    layer.load_from_unquantized(weight)
    layer.transform()
    del weight
    difference = relative_norm(corner(layer(x)), corner(wanted))
    bits = int("".join(c for c in name.split("_")[0] if c.isdigit()))
    if not difference < 1.5:  # what rounding to one bit leaves of it; NaN is none
        raise ArithmeticError(f"the results differ by {difference:.1e}")
    ms = milliseconds(lambda: layer(x), REPEATS, stream(torch))
    read = n * k * bits / 8 + (n * (k // group) * 2 if group else 0)
    return measured("humming", m, n, k, read, {"right": True, "ms": ms, "difference": difference}, type=name, bits=bits, group=group)
