"""Every stage of compilation means the same: random programs, bit for bit; sums and products of real numbers within a derived bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import tilec
from tests import differential
from tests.differential import ARCHITECTURES, check, of_text, ptx_of, stages
from tests.programs import Maker, Program, random_program
from tilec.backend import cubin
from tilec.backend.llvm import to_llvm
from tilec.backend.target import target
from tilec.ir.core import Function
from tilec.ir.interp import execute
from tilec.ir.memories import Memory
from tilec.ir.types import TensorType
from tilec.passes.shared_memory import shared_size
from tilec.passes.simplify import remove_unused
from tilec.sim import run_ptx


@st.composite
def programs(draw: Any) -> Program:
    return Maker(lambda n: draw(st.integers(0, n - 1)), draw(st.integers(0, 99))).program(draw(st.integers(1, 6)))


@given(programs(), st.sampled_from(ARCHITECTURES))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_stages_and_machine_code_mean_the_same(program: Program, arch: str) -> None:
    """As parsed, after every stage, and as PTX on the CPU with all checks."""
    if not check(program, arch):
        reject()  # the program asks for more than there is


def test_failures_are_found_and_shrunk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A check that sorting fails: what is left of a long program is a sort, and hardly more."""

    def check(program: Program, arch: str, texts: bool = True) -> bool:
        used = remove_unused(differential.Without(0, 0).run(program.function))
        assert "sorted" not in str(used), "sorted wrongly"
        return True

    monkeypatch.setattr(differential, "check", check)
    assert differential.main(["40", "--seed", "20"]) == 1
    said = capsys.readouterr().out
    failures = said.split("shrunk: ")[1:]
    assert "AssertionError: sorted wrongly" in failures[0]
    for small in failures:
        text = small.partition("kernel @random")[2].partition("\n}\n")[0]
        assert text.count(" = sorted ") == 1
        assert text.count("\n") < 40, text
    assert f"'failures': {len(failures)}" in said.splitlines()[-1]


# what long runs found, shrunk
FOUND = {
    "half of a word that nothing wrote, and nothing looks at": """%t0: global bf16[2, 5], %t1: global int5[12, 5]
  %0 = block_index : i32
  %1 = constant value=0 dtype=i32 : i32
  %x = load %t0, [%0, %1] shape=[5] dims=[1] : bf16[5]
  %y = cast %x dtype=int5 : int5[5]
  store %t1, [%0, %1], %y dims=[1]
""",
    "a vector that is copied from before the tensor": """%t0: global f32[1], %t1: global f32[2, 2]
  %0 = block_index : i32
  %s = shared dtype=f32 shape=[2] : shared f32[2]
  %1 = constant value=0 dtype=i32 : i32
  %2 = constant value=-2 dtype=i32 : i32
  copy_async %s, %t0, [%2] dims=[0]
  commit
  wait
  sync
  %x = load_shared %s, [%1] shape=[2] dims=[0] : f32[2]
  store %t1, [%0, %1], %x dims=[1]
""",
    "a tile whose replicas begin in the middle of a warp, converted by shuffles": """%t0: global float5_e2m2[48, 4], %t1: global float5_e2m2[2, 3, 32]
  %0 = block_index : i32
  %1 = constant value=0 dtype=i32 : i32
  %x = load %t0, [%1, %1] shape=[24, 4] dims=[0, 1] : float5_e2m2[24, 4]
  %y = reshape %x shape=[3, 32] : float5_e2m2[3, 32]
  store %t1, [%0, %1, %1], %y dims=[1, 2]
""",
    "bools that are loaded four at a time, or one by one": """%t0: global bool[9, 32], %t1: global bool[9, 32]
  %0 = block_index : i32
  %x = load %t0, [%0, %0] shape=[8, 32] dims=[0, 1] : bool[8, 32]
  %y = not %x : bool[8, 32]
  store %t1, [%0, %0], %y dims=[0, 1]
""",
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str) -> None:
    launch = "  launch {\n    %g = constant value=2 dtype=i32 : i32\n    yield [%g]\n  }"
    params, _, body = FOUND[name].partition("\n")
    for warps in (1, 3):
        arch = "sm_80"
        assert check(of_text(f"kernel @random({params}) warps={warps} {{\n{launch}\n{body}}}"), arch)


@pytest.mark.parametrize(("seed", "arch"), [(2000 + i, a) for i, a in enumerate(ARCHITECTURES)])
def test_every_program_assembles(seed: int, arch: str) -> None:
    program = random_program(seed, 8)
    made = cubin.assemble(ptx_of(stages(program.function, arch)["placed"], arch), target(arch), False)
    assert made.data[:4] == b"\x7fELF"


# Sums and products of real numbers: any order of n terms is within (n - 1) u / (1 - (n - 1) u) of the exact result, relative to the sum of
# the terms' magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, 4.2), where u is half a unit in the last place


def gamma(n: int, dtype: Any) -> float:
    x = n * 2.0 ** -(dtype.mantissa_bits + 1)
    return x / (1 - x)


def run(function: Function, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    memories = {n: Memory(a.copy(), n) for n, a in tensors.items()}
    execute(function, [memories[p.name] for p in function.params])
    return {n: m.data for n, m in memories.items()}


def simulate(function: Function, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    types = {p.name: p.type.dtype for p in function.params if isinstance(p.type, TensorType)}
    arrays = {n: types[n].encode(a).view(types[n].codes) for n, a in tensors.items()}
    report = run_ptx(ptx_of(function, "sm_80"), "f", (1,), (function.threads,), [arrays[p.name] for p in function.params], shared_size(function))
    assert report.findings == []
    return {n: types[n].decode(a) for n, a in arrays.items()}


REDUCE = """
kernel @f(%x: global {dtype}{shape}, %y: global {dtype}{left}) warps={warps} {{
  %0 = constant value=0 dtype=i32 : i32
  %t = load %x, {zeros} shape={shape} dims={all} : {dtype}{shape}
  %r = {kind} %t axes={axes} : {result}
  store %y, {rest} %r dims={out}
}}"""


def reduction(kind: str, dtype: str, shape: list[int], axes: list[int], warps: int) -> Function:
    left = [n for a, n in enumerate(shape) if a not in axes]

    def zeros(n: int) -> str:
        return "[" + ", ".join(["%0"] * n) + "]"

    return tilec.parse(REDUCE.format(
        kind=kind, dtype=dtype, shape=shape, axes=axes, warps=warps, left=left or [1], zeros=zeros(len(shape)), all=list(range(len(shape))),
        rest=zeros(max(1, len(left))) + ",", out=list(range(len(left))), result=f"{dtype}{left}" if left else dtype,
    )).verify()  # fmt: skip


@pytest.mark.parametrize(("shape", "axes", "warps"), [
    ([64], [0], 1), ([100], [0], 4), ([17, 33], [1], 2), ([17, 33], [0], 3), ([5, 12, 24], [0, 2], 6), ([128, 16], [0], 8), ([3, 3], [0, 1], 5),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
def test_reductions_of_real_numbers(kind: str, dtype: str, shape: list[int], axes: list[int], warps: int) -> None:
    t = tilec.dtype(dtype)
    rng = np.random.default_rng(len(shape) * warps)
    terms = math.prod(shape[a] for a in axes)
    x = t.round(rng.standard_normal(shape) if kind != "prod" else np.exp(rng.standard_normal(shape) / terms))
    exact = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}[kind](x, axis=tuple(axes))
    # twice, because NumPy's own sum of float64 is rounded, too; one more term for the result's last rounding
    scale = {"sum": np.abs(x).sum(tuple(axes)), "prod": exact, "max": 0.0 * exact, "min": 0.0 * exact}[kind]
    bound = 2 * gamma(terms, t) * scale
    tensors = {"x": x, "y": np.full(exact.shape or (1,), np.nan)}
    last = stages(reduction(kind, dtype, shape, axes, warps))
    results = [run(f, tensors) for f in last.values()]
    if dtype in ("f32", "bf16") and kind in ("sum", "max"):
        results.append(simulate(last["placed"], tensors))
    for found in results:
        assert (np.abs(found["y"].reshape(exact.shape) - exact) <= bound).all()


DOT = """
kernel @f(%a: global {t}[{m}, {k}], %b: global {t}[{k}, {n}], %c: global {w}[{m}, {n}]) warps={warps} {{
  %0 = constant value=0 dtype=i32 : i32
  %x = load %a, [%0, %0] shape=[{m}, {k}] dims=[0, 1] : {t}[{m}, {k}]
  %y = load %b, [%0, %0] shape=[{k}, {n}] dims=[0, 1] : {t}[{k}, {n}]
  %acc = load %c, [%0, %0] shape=[{m}, {n}] dims=[0, 1] : {w}[{m}, {n}]
  %z = dot %x, %y, %acc : {w}[{m}, {n}]
  store %c, [%0, %0], %z dims=[0, 1]
}}"""


@pytest.mark.parametrize(("m", "n", "k", "warps"), [(16, 8, 16, 1), (32, 64, 48, 4), (64, 16, 32, 6), (5, 7, 3, 2), (17, 24, 16, 3), (1, 64, 40, 1)])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_products_of_real_numbers(dtype: str, m: int, n: int, k: int, warps: int) -> None:
    t, wide = tilec.dtype(dtype), tilec.f64 if dtype == "f64" else tilec.f32
    rng = np.random.default_rng(k)
    a, b = t.round(rng.standard_normal((m, k))), t.round(rng.standard_normal((k, n)))
    c = wide.round(rng.standard_normal((m, n)))
    exact = a @ b + c
    bound = 2 * gamma(k + 1, wide) * (np.abs(a) @ np.abs(b) + np.abs(c))
    made = stages(tilec.parse(DOT.format(t=dtype, w=wide, m=m, n=n, k=k, warps=warps)).verify())
    tensors = {"a": a, "b": b, "c": c}
    results = [run(f, tensors) for f in made.values()]
    if dtype in ("f16", "f32"):
        # tensor cores cut products off instead of rounding them: twice the error of a rounded sum
        bound = 2 * bound
        results.append(simulate(made["placed"], tensors))
    for found in results:
        assert (np.abs(found["c"] - exact) <= bound).all()


@pytest.mark.parametrize("n", [1, 100, 333, 1024])
@pytest.mark.parametrize("name", ["int3", "uint1", "int5", "float6_e3m2", "int4"])
def test_packed_stores_do_not_disturb_their_neighbours(name: str, n: int) -> None:
    """Blocks whose tiles end within a byte: no race, and the bits behind the last element stay."""
    dtype = tilec.dtype(name)
    text = f"""
kernel @f(%x: global {name}[{n}], %y: global {name}[{n}]) warps=2 {{
  %b = block_index : i32
  %1 = constant value=100 dtype=i32 : i32
  %i = mul %b, %1 : i32
  %t = load %x, [%i] shape=[100] dims=[0] : {name}[100]
  store %y, [%i], %t dims=[0]
}}"""
    function = stages(tilec.parse(text).verify())["placed"]
    codes = np.random.default_rng(n).integers(0, 1 << dtype.bits, n)
    size = -(-n * dtype.bits // 32) * 4
    x, y = np.zeros(size, np.uint8), np.full(size, 0xFF, np.uint8)
    packed = np.packbits(((codes[:, None] >> np.arange(dtype.bits)) & 1).astype(np.uint8).ravel(), bitorder="little")
    x[: len(packed)] = packed
    report = run_ptx(ptx_of(function, "sm_90a"), "f", (-(-n // 100),), (64,), [x, y], shared_size(function))
    assert report.findings == []
    bits = np.unpackbits(y, bitorder="little")
    np.testing.assert_array_equal(bits[: n * dtype.bits], np.unpackbits(packed, bitorder="little")[: n * dtype.bits])
    assert (bits[n * dtype.bits :] == 1).all()


def test_many_registers_are_stored_under_few_branches() -> None:
    """A reshape that no layout follows: every thread holds all 2040 elements, and the first one stores them. LLVM's SimplifyCFG aborts the
    process at a thousand branches in a row."""
    function = stages(tilec.parse("""
kernel @f(%x: global i64[40, 17, 3], %y: global i64[40, 51]) warps=8 {
  %0 = constant value=0 dtype=i32 : i32
  %t = load %x, [%0, %0, %0] shape=[40, 17, 3] dims=[0, 1, 2] : i64[40, 17, 3]
  %r = reshape %t shape=[40, 51] : i64[40, 51]
  store %y, [%0, %0], %r dims=[0, 1]
}""").verify())["placed"]
    assert to_llvm(function, target("sm_80")).count("br i1") < 100
    x, y = np.arange(2040).reshape(40, 17, 3), np.zeros((40, 51), np.int64)
    report = run_ptx(ptx_of(function, "sm_80"), "f", (1,), (256,), [x, y], shared_size(function))
    assert report.findings == []
    np.testing.assert_array_equal(y, x.reshape(40, 51))
