"""The tasks of `make gpu` about the linear layer: right results, and times on large shapes beside torch's f16 and the copy bandwidth."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_kernels
import numpy as np

import tilec as tc
from tilec import bf16, f16
from tilec.backend import driver
from tilec.backend.timing import Buffer, milliseconds
from tilec.kernels.forms import MEASURED, SHARED, Form, estimated, key
from tilec.kernels.linear import Linear, Recipe, kernel_of
from tilec.kernels.plan import CHANNELS, EACH, SMALL, USUAL
from tilec.quant import quantize_linear

Task = Callable[[], dict[str, Any]]
SMALLER = [  # type, activations, M, N, K, what quantize_linear is told
    ("int4", f16, 1, 500, 2048, {"group": 128}), ("uint4", bf16, 33, 256, 1000, {"group": 40, "zeros": "int", "scale_dtype": "bf16"}),
    ("float6_e3m2", bf16, 16, 384, 4096, {"group": 128, "scale_dtype": "f32"}), ("nf4", f16, 200, 300, 512, {"group": 64}),
    ("float8_e4m3", f16, 7, 130, 768, {"group": None}), ("int1", f16, 300, 512, 1024, {"group": 128, "zeros": -0.5}),
    ("int8", bf16, 64, 512, 2048, {"group": 128, "scale_dtype": "bf16"}), ("float4_e2m1", f16, 5, 96, 256, {"group": 16, "scale_dtype": "e4m3"}),
]  # fmt: skip
SHAPES = ((8192, 8192), (8192, 57344), (28672, 8192))  # K, N
ROWS = (1, 16, 256, 4096)
TYPES = ("int8", "int4", "float6_e3m2", "int3", "int2", "int1")


def tasks() -> dict[str, Task]:
    """By name."""
    made: dict[str, Task] = {
        f"linear: {name} {to} {m}x{n}x{k}": functools.partial(right, name, to, m, n, k, told) for name, to, m, n, k, told in SMALLER
    }  # fmt: skip
    made["time: copy 1 GiB"] = copy
    for k, n in SHAPES:
        for m in ROWS:
            made[f"time: f16 {m}x{n}x{k}"] = functools.partial(dense, m, n, k)
            for name in TYPES:
                for group in (128, None):
                    made[f"time: {name} {m}x{n}x{k}, {f'groups of {group}' if group else 'per channel'}"] = functools.partial(timed, name, m, n, k, group)
    return made


def right(name: str, to: tc.DType, m: int, n: int, k: int, told: dict[str, Any]) -> dict[str, Any]:
    """A layer against float64, by the norm: weights and result are rounded, to 11 or 8 bits."""
    rng = np.random.default_rng()
    layer = Linear(quantize_linear(rng.standard_normal((n, k)), name, **told), rng.standard_normal(n), to)
    x = tc.Tensor.from_values(rng.standard_normal((m, k)), to)
    y = layer(x)
    difference = gpu_kernels.relative_norm(y.values().astype(np.float64), x.values() @ layer.weight.dequantize().T + layer.bias)
    return {"right": difference <= 2.0 ** -(to.mantissa_bits - 1), "differences": {"y": difference}}


def copy(size: int = 1 << 30) -> dict[str, Any]:
    """What the memory can do: bytes read and written by the driver's own copy."""
    a, b = (Buffer(np.zeros(size, np.uint8)) for _ in range(2))
    try:
        ms = milliseconds(lambda: driver.call("cuMemcpyDtoDAsync", b.address, a.address, size, 0), repeats=20)
    finally:
        a.free()
        b.free()
    return {"right": True, "ms": ms, "gb_per_s": 2 * size / ms / 1e6}


def timed(name: str, m: int, n: int, k: int, group: int | None, repeats: int = 20) -> dict[str, Any]:
    """A product with random bits as weights, which are weights like any; the L2 cache is swept before each. Bytes are those of weights and scales."""
    kind, rng = tc.packed(name), np.random.default_rng()
    on, below = (CHANNELS, USUAL) if group is None else (EACH, SMALL if kind.element.is_int else USUAL)
    groups = math.ceil(k / (group or k))
    recipe = Recipe(str(kind), "f16", "f16", on, group or k, False, True, below, 2.0**-9 if group is None and kind.element.is_int else 1.0, n, k)
    words = np.frombuffer(rng.bytes(math.prod(kind.tiles((k, n))) * 128 * 32 * kind.bits // 8), np.uint8)
    host = {
        "x": rng.standard_normal((m, k)).astype(np.float16) * np.float16(2.0**-6), "w": words,
        "scales": np.full((groups if group else 1, n), 2.0**-9, np.float16), "zeros": np.zeros((1, n), np.float16), "channel": np.ones(n, np.float32),
        "bias": np.zeros(n, np.float32), "y": np.full((m, n), np.nan, np.float16),
    }  # fmt: skip
    here = Here()
    asked = (m, n, k, kind.bits, recipe.group, False, here.multiprocessors, here.shared)
    tried = alternatives(estimated(*asked), math.ceil(k / 128))
    host |= {"work": np.zeros((m, n), np.float32), "turn": np.zeros(math.ceil(m / 16) * math.ceil(n / 128), np.int32)}
    held = {part: Buffer(array) for part, array in host.items()}
    given = [tc.tensor(b, kind, (k, n)) if part == "w" else b for part, b in held.items()]
    try:
        times = {how: milliseconds(functools.partial(kernel_of(how.warps), *given, **recipe.constants(how)), repeats) for how in tried}
        finite = bool(np.isfinite(held["y"].numpy()).all())
    finally:
        for b in held.values():
            b.free()
    read = host["w"].nbytes + (host["scales"].nbytes if group else 0)
    how, ms = min(times.items(), key=lambda item: item[1])
    told = {"form": list(how), "forms": {str(list(f)): t for f, t in times.items()}, "key": key(*asked)}
    return {"right": finite, "ms": ms, "gb_per_s": read / ms / 1e6, "tflops": 2 * m * n * k / ms / 1e9, **told}


def alternatives(how: Form, steps: int) -> list[Form]:
    """A form and others like it: half and double as many parts of the sum over K, a stage less."""
    parts = {max(1, min(16, steps, p)) for p in (how.splits // 2, how.splits, 2 * how.splits)}
    return sorted({how, *(how._replace(splits=p) for p in parts), how._replace(stages=max(1, how.stages - 1))})


def refresh(results: dict[str, dict[str, Any]], path: Path = MEASURED) -> int:
    """Write the fastest forms of results into the table that `form` reads; how many there were."""
    found = {r["key"]: r["form"] for r in results.values() if r.get("right") and "key" in r}
    if found:
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**old, **found}, indent=1) + "\n")
    return len(found)


def dense(m: int, n: int, k: int, repeats: int = 20) -> dict[str, Any]:
    """torch's product in f16, which is cuBLAS."""
    from gpu_tasks import optional

    torch = optional("torch")
    if torch is None:
        return {"right": True, "skipped": "there is no PyTorch with CUDA"}
    x, w = (torch.randn(shape, dtype=torch.float16, device="cuda") for shape in ((m, k), (n, k)))
    ms = milliseconds(lambda: torch.nn.functional.linear(x, w), repeats, int(torch.cuda.current_stream().cuda_stream))
    return {"right": True, "ms": ms, "gb_per_s": w.numel() * 2 / ms / 1e6, "tflops": 2 * m * n * k / ms / 1e9}


class Here:
    """The GPU, as far as forms ask."""

    def __init__(self) -> None:
        from gpu_tasks import optional

        torch = optional("torch")
        found = torch.cuda.get_device_properties(0) if torch else None
        self.multiprocessors = found.multi_processor_count if found else 108
        self.shared = getattr(found, "shared_memory_per_block_optin", SHARED)
