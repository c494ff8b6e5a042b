"""The tasks of `make gpu`, each a function that gives a dictionary for the results file: kernels, questions to the hardware, times."""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import gpu_eight
import gpu_kernels
import gpu_layers
import gpu_linear
import launch
import rounds
from gpu_peers import optional

import tilec as tc
from tilec import DType, bf16, f16, f32
from tilec.backend import cubin, driver, nvptx
from tilec.backend.timing import Buffer, milliseconds
from tilec.compiler import load_kernel

Task = Callable[[], dict[str, Any]]
X = tc.types("X")


SECTIONS = {  # what `--only` may name: how the names of its tasks begin
    "check": ("question", "kernel", "linear"), "sanitize": ("sanitizer",), "bench": ("time",), "linear": ("layer",),
}  # fmt: skip


def tasks() -> dict[str, Task]:
    """By name, in the order in which they run."""
    questions: dict[str, Task] = {f"question: {q.__name__.replace('_', ' ')}": q for q in (subnormals, tools, rounding)}
    kernels = {f"kernel: {name}": case.run for name, case in gpu_kernels.cases().items()}
    timed: dict[str, Task] = {"time: launch": launch_overhead, **{f"time: {name}": task for name, task in times().items()}}
    return {**questions, **kernels, **gpu_linear.tasks(), **timed, **gpu_layers.tasks(), **gpu_eight.tasks()}


# questions


def tools() -> dict[str, Any]:
    """That cubins of this assembler load is what every kernel shows; here is which it is, and the driver."""
    return {"right": True, "driver": driver.version(), "assembler": cubin.identity(), "llvm": nvptx.identity()}


@tc.kernel(warps=1)
def small_product(a: X[16, 16], b: X[16, 16], c: f32[16, 16], d: f32[16, 16], *, X: DType = f16):
    """One tile of c for one warp: two matrix instructions of m16n8k16."""
    tc.grid(1)
    tc.store(d, [0, 0], tc.dot(tc.load(a, [0, 0], [16, 16]), tc.load(b, [0, 0], [16, 16]), tc.load(c, [0, 0], [16, 16])))


def subnormals() -> dict[str, Any]:
    """Are subnormal f16 numbers exact operands of the matrix instructions, on the left and on the right, where scales on sums rest on it? Products with a
    unit matrix tell, and one of subnormal numbers alone, whose sums of 16 are exact in f32. For bf16, where nothing rests on it, the answer is kept."""
    rng, unit, nothing = np.random.default_rng(), np.eye(16, dtype=np.float16), np.zeros((16, 16), np.float32)
    a, b = (rng.integers(1, 1 << 10, (16, 16), np.uint16).view(np.float16) for _ in range(2))
    wrong = {}
    for what, x, y in (("left", a, unit), ("right", unit, b), ("both", a, b)):
        d = np.full((16, 16), np.nan, np.float32)
        small_product(x, y, nothing, d)
        wrong[what] = int((d != (x.astype(np.float64) @ y.astype(np.float64)).astype(np.float32)).sum())
    codes = rng.integers(1, 1 << 7, (16, 16), np.uint16)
    d = np.full((16, 16), np.nan, np.float32)
    small_product(tc.Tensor.from_codes(codes, bf16), tc.Tensor.from_values(unit, bf16), nothing, d, X=bf16)
    kept = {"f16": not any(wrong.values()), "bf16": bool((d == codes * 2.0**-133).all())}
    return {"right": kept["f16"], "wrong": wrong if any(wrong.values()) else None, "kept": kept}


def rounding(rounds: int = 200) -> dict[str, Any]:
    """Does the hardware round as the simulator's exact mode does? Random tiles with exponents far apart, bit for bit."""
    device = driver.device()
    arch = {(8, 0): "sm_80", (8, 6): "sm_80", (8, 9): "sm_89", (9, 0): "sm_90"}.get(device.capability if device else (0, 0))
    if arch is None:
        return {"right": True, "skipped": "the simulator does not know this architecture's rounding"}
    rng, wrong = np.random.default_rng(), 0
    for _ in range(rounds):
        a, b, c = tiles(rng)
        d = np.full((16, 16), np.nan, np.float32)
        small_product(a, b, c, d)
        wrong += int((d.view(np.uint32) != exactly(a, b, c, arch).view(np.uint32)).sum())
    return {"right": wrong == 0, "wrong": wrong, "of": rounds * 256, "arch": arch}


def tiles(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Operands of `small_product`."""
    a, b = ((rng.standard_normal((16, 16)) * 2.0 ** rng.integers(-10, 6, (16, 16))).astype(np.float16) for _ in range(2))
    return a, b, (rng.standard_normal((16, 16)) * 2.0 ** rng.integers(-20, 6, (16, 16))).astype(np.float32)


def exactly(a: np.ndarray, b: np.ndarray, c: np.ndarray, arch: str) -> np.ndarray:
    """What tensor cores make of them, by the simulator's rules."""
    from tilec.sim import tensorcore

    multiply = tensorcore.mma("m16n8k16", "f32", "f16", "f16", "f32").multiply
    halves = [multiply(a.astype(np.float32), b[:, n : n + 8].astype(np.float32), c[:, n : n + 8], exact=arch) for n in (0, 8)]
    return np.concatenate(halves, axis=1).astype(np.float32)


def launch_overhead(calls: int = 2000) -> dict[str, Any]:
    """Microseconds on the host of a launch with 19 arguments, beside Triton's, nothing waited for."""
    torch, triton = optional("torch"), optional("triton")
    tensors = [torch.zeros(64, device="cuda") if torch else Buffer(np.zeros(64, np.float32)) for _ in range(5)]
    numbers = tuple(range(1, 10))
    found = {"tilec": _microseconds(functools.partial(launch.kernel(), *tensors, *numbers, c1=32, c2=32, c3=32, c4=32, c5=32), calls)}
    if torch and triton:
        from gpu_triton import nothing

        given = {f"c{i}": 32 for i in range(1, 6)}
        found["triton"] = _microseconds(lambda: nothing[(1,)](*tensors, *numbers, **given), calls)
    return {"right": True, **found}


def _microseconds(call: Callable[[], Any], calls: int) -> float:
    best = []
    for _ in range(7):
        driver.synchronize()
        start = time.perf_counter()
        for _ in range(calls // 7):
            call()
        best.append((time.perf_counter() - start) / (calls // 7) * 1e6)
    driver.synchronize()
    return float(np.median(best))


# times


def times() -> dict[str, Task]:
    made: dict[str, Task] = {}
    for name in ("matmul_plain", "matmul_v3"):
        made[f"{name} 4096^3"] = lambda name=name: matmul(example(name), 4096)  # type: ignore[misc]
    for warps, bk, stages, buffers in itertools.product((4, 8), (32, 64), (3, 4), (1, 2)):  # what the default rule is judged by
        task = functools.partial(matmul, rounds.kernel(warps), 4096, bk=bk, stages=stages, buffers=buffers)
        made[f"matmul {warps} warps, {bk=}, {stages=}, {buffers=}"] = task
    for causal in (False, True):
        made[f"attention 32x4096x128{' causal' * causal}"] = lambda causal=causal: attention(32, 4096, 128, causal)  # type: ignore[misc]
    for name in ("int4", "float6_e3m2", "float7_e2m4"):
        made[f"packing {name} 8192x8192"] = lambda name=name: gpu_layers.packed(name, 8192, 8192)  # type: ignore[misc]
    for name, size in (("softmax", (8192, 1024)), ("layer_norm", (8192, 1024)), ("vector_add", (1 << 26,)), ("transpose", (8192, 8192))):
        made[f"{name} {'x'.join(map(str, size))}"] = lambda name=name, size=size: by_example(name, size)  # type: ignore[misc]
    return made


def example(name: str) -> Any:
    return load_kernel(f"{gpu_kernels.EXAMPLES / name}.py:{name}")


def on_gpu(array: np.ndarray) -> Any:
    """The array on the GPU: PyTorch's if there is PyTorch, which the other side needs."""
    torch = optional("torch")
    return torch.from_numpy(array).cuda() if torch else Buffer(array)


def matmul(kernel: Any, n: int, **constants: Any) -> dict[str, Any]:
    """f16, beside torch.matmul, which is cuBLAS; right within the bound of the norm."""
    torch = optional("torch")
    rng = np.random.default_rng()
    a, b = (rng.standard_normal((n, n), np.float32).astype(np.float16) for _ in range(2))
    left, right, out = on_gpu(a), on_gpu(b), on_gpu(np.full((n, n), np.nan, np.float16))
    found: dict[str, Any] = {"ms": milliseconds(lambda: kernel(left, right, out, **constants), stream=_stream(torch))}
    rows = rng.integers(0, n, 64)
    difference = gpu_kernels.relative_norm(_numpy(out)[rows].astype(np.float64), a[rows].astype(np.float64) @ b.astype(np.float64))
    found |= {"right": difference <= 2.0**-9, "difference": difference, "tflops": 2 * n**3 / found["ms"] / 1e9}
    if torch:
        found["torch_ms"] = milliseconds(lambda: torch.matmul(left, right, out=out), stream=_stream(torch))
    return found


def attention(heads: int, n: int, d: int, causal: bool) -> dict[str, Any]:
    """Beside torch's scaled_dot_product_attention; the result of one row of each head is checked."""
    torch, kernel = optional("torch"), example("attention").of_warps(4 if d <= 64 else 8)
    q, k, v = ((np.random.default_rng().standard_normal((heads, n, d), np.float32)).astype(np.float16) for _ in range(3))
    given, out = [on_gpu(x) for x in (q, k, v)], on_gpu(np.full((heads, n, d), np.nan, np.float16))
    scale = float(np.log2(np.e) / np.sqrt(d))
    found: dict[str, Any] = {"ms": milliseconds(lambda: kernel(*given, out, scale, D=d, causal=causal), stream=_stream(torch))}
    row = n // 2
    seen = slice(0, row + 1) if causal else slice(None)
    scores = np.einsum("hd,hnd->hn", q[:, row].astype(np.float64), k[:, seen].astype(np.float64)) / np.sqrt(d)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected = np.einsum("hn,hnd->hd", p / p.sum(axis=1, keepdims=True), v[:, seen].astype(np.float64))
    difference = gpu_kernels.relative_norm(_numpy(out)[:, row].astype(np.float64), expected)
    found |= {"right": difference <= 2.0**-8, "difference": difference, "tflops": 4 * heads * n * n * d / (1 + causal) / found["ms"] / 1e9}
    if torch:
        dot_product = torch.nn.functional.scaled_dot_product_attention
        found["torch_ms"] = milliseconds(lambda: dot_product(*(x[None] for x in given), is_causal=causal), stream=_stream(torch))
    return found


def by_example(name: str, size: tuple[int, ...]) -> dict[str, Any]:
    """An elementwise kernel or one of rows, with its example's arguments at a larger size, beside the same in PyTorch."""
    torch, kernel = optional("torch"), example(name)
    letters = dict(zip(_sizes(kernel), size, strict=False))
    args, expected = kernel.example_args(np.random.default_rng(), **letters)
    names = [p.name for p in kernel.signature.parameters]
    given = [on_gpu(a) if isinstance(a, np.ndarray) else a for a in args]
    found: dict[str, Any] = {"ms": milliseconds(lambda: kernel(*given), stream=_stream(torch))}
    case = gpu_kernels.Case(kernel, lambda rng: (args, expected))
    differences = {n: gpu_kernels.relative_norm(_numpy(given[names.index(n)]).astype(np.float64), np.asarray(w, np.float64)) for n, w in expected.items()}
    moved = sum(a.nbytes for a in args if isinstance(a, np.ndarray))
    found |= {"right": all(d <= case.bound(n) for n, d in differences.items()), "differences": differences, "gb_per_s": moved / found["ms"] / 1e6}
    other = IN_TORCH.get(name)
    if torch and other:
        found["torch_ms"] = milliseconds(lambda: other(torch, *given), stream=_stream(torch))
    return found


def _sizes(kernel: Any) -> list[str]:
    """The names of the example's sizes."""
    import inspect

    return list(inspect.signature(kernel._example).parameters)[1:]


IN_TORCH: dict[str, Callable[..., Any]] = {
    "softmax": lambda torch, x, y, *_: torch.softmax(x, -1, out=y),
    "layer_norm": lambda torch, x, w, b, *_: torch.nn.functional.layer_norm(x, x.shape[-1:], w, b),
    "vector_add": lambda torch, a, b, c, *_: torch.add(a, b, out=c),
    "transpose": lambda torch, x, y, *_: y.copy_(x.T),
}


def _stream(torch: Any) -> int:
    return int(torch.cuda.current_stream().cuda_stream) if torch else 0


def _numpy(array: Any) -> np.ndarray:
    return array.numpy() if isinstance(array, Buffer) else array.cpu().numpy()


