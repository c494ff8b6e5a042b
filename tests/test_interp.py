"""The interpreter itself: what is an error and where, blocks that part ways, what a debugger sees, arguments of every kind."""

from __future__ import annotations

import inspect
import io
import pdb
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilec as tc
from tilec import TileError, cdiv, f16, f32, i32, i64, int3, int5, uint4

N, M = tc.dims("N M")


def line_of(kernel: Any, mark: str) -> int:
    """The line of this file that holds the mark, within a kernel."""
    function = getattr(kernel, "__wrapped__", kernel)
    lines, first = inspect.getsourcelines(function)
    return next(first + i for i, text in enumerate(lines) if mark in text)


def fails(kernel: Any, *args: Any, mark: str, words: str) -> TileError:
    """The call is refused at the marked line of this file, in these words."""
    with pytest.raises(TileError, match=re.escape(words)) as caught:
        kernel.interpret(*args)
    loc = caught.value.loc
    assert loc is not None
    assert (Path(loc.file).name, loc.line) == (Path(__file__).name, line_of(kernel, mark))
    assert not [entry for entry in caught.traceback if "tilec/ir" in str(entry.path)]
    return caught.value


# errors


def test_indexed_axes_must_be_within_bounds():
    @tc.kernel(warps=1)
    def pick(x: f32[N], y: f32[M], at: i32):
        tc.grid(M)
        i = tc.block_index(0)
        tc.store(y, [i], tc.load(x, [i + at]))  # here

    x, y = np.arange(4, dtype=np.float32), np.zeros(3, np.float32)
    pick.interpret(x, y, 1)
    assert y.tolist() == [1, 2, 3]
    fails(pick, x, y, 2, mark="# here", words="index 4 is out of bounds for axis 0 of x, which has 4 elements (in block 2)")
    fails(pick, x, y, -1, mark="# here", words="index -1 is out of bounds for axis 0 of x")


def test_stores_to_indexed_axes_too():
    @tc.kernel(warps=1)
    def put(y: f32[2, N]):
        tc.grid(3)
        tc.store(y, [tc.block_index(0), 0], tc.zeros(f32, [8]), dims=[1])  # here

    fails(put, np.zeros((2, 8), np.float32), mark="# here", words="index 2 is out of bounds for axis 0 of y, which has 2 elements (in block 2)")


def test_only_active_blocks_fail():
    @tc.kernel(warps=1)
    def guarded(x: f32[N], y: f32[M]):
        tc.grid(M)
        i = tc.block_index(0)
        if i < N:
            tc.store(y, [i], tc.load(x, [i]))

    y = np.zeros(5, np.float32)
    guarded.interpret(np.ones(3, np.float32), y)
    assert y.tolist() == [1, 1, 1, 0, 0]


def test_shared_memory_that_was_never_stored():
    @tc.kernel(warps=1)
    def forgot(y: f32[N]):
        tc.grid(1)
        s = tc.shared(f32, [16])
        tc.store(s, [0], tc.zeros(f32, [8]))
        tc.sync()
        tc.store(y, 0, tc.load(s, [0], [8]))
        tc.store(y, 0, tc.load(s, [1], [8]))  # here

    fails(forgot, np.zeros(8, np.float32), mark="# here", words="this reads shared memory that was never stored (in block 0, at element [7])")


def test_shared_memory_is_not_left():
    @tc.kernel(warps=1)
    def beyond(y: f32[N], at: i32):
        tc.grid(1)
        s = tc.shared(f32, [16])
        tc.store(s, [at], tc.zeros(f32, [8]))  # here

    beyond.interpret(np.zeros(8, np.float32), 8)
    fails(beyond, np.zeros(8, np.float32), 9, mark="# here", words="is out of bounds for axis 0 of the shared tile, which has 16 elements")


@pytest.mark.parametrize("symbol", ["//", "%"])
def test_integer_division_by_zero(symbol: str):
    if symbol == "//":

        @tc.kernel(warps=1)
        def divide(x: i32[N], y: i32[N]):
            tc.grid(1)
            a, b = tc.load(x, 0, [8]), tc.load(y, 0, [8])
            tc.store(y, 0, a // tc.where(b == 5, b, b + 0))  # here

    else:

        @tc.kernel(warps=1)
        def divide(x: i32[N], y: i32[N]):
            tc.grid(1)
            a, b = tc.load(x, 0, [8]), tc.load(y, 0, [8])
            tc.store(y, 0, a % b)  # here

    x, y = np.arange(-4, 4, dtype=np.int32), np.array([3, -3, 2, 1, -1, 5, -2, 7], np.int32)
    wanted = x // y if symbol == "//" else x % y
    divide.interpret(x, y)
    np.testing.assert_array_equal(y, wanted)
    zero = np.array([1, 2, 0, 4, 5, 6, 7, 8], np.int32)
    fails(divide, x, zero, mark="# here", words="integer division by zero (in block 0, at element [2])")


def test_an_error_in_a_helper_names_both_places():
    @tc.function
    def quotient(a, b):
        return a // b  # inside

    @tc.kernel(warps=1)
    def outer(x: i32[N]):
        tc.grid(1)
        tc.store(x, 0, quotient(1, tc.load(x, 0, [4])))  # call

    with pytest.raises(TileError, match="division by zero") as caught:
        outer.interpret(np.zeros(4, np.int32))
    loc = caught.value.loc
    assert loc is not None
    assert loc.caller is not None
    assert loc.line == line_of(quotient.function if hasattr(quotient, "function") else quotient, "# inside")
    assert loc.caller.line == line_of(outer, "# call")


def test_assumptions_are_checked():
    @tc.kernel(warps=1)
    def even(x: f32[N], s: i32):
        tc.grid(1)
        tc.assume(N % 2 == 0 and s > 0)  # here
        tc.store(x, 0, tc.zeros(f32, [8]))

    even.interpret(np.zeros(8, np.float32), 1)
    fails(even, np.zeros(7, np.float32), 1, mark="# here", words="assumption N % 2 == 0 and s > 0 does not hold")
    fails(even, np.zeros(8, np.float32), 0, mark="# here", words="assumption")


# blocks that part ways


def test_if_by_block():
    @tc.kernel(warps=1)
    def choose(y: i32[N, 8]):
        tc.grid(N)
        i = tc.block_index(0)
        x = tc.full(i32, [8], i)
        if i % 3 == 0:
            x = x + 100
        elif i % 3 == 1:
            x = x * 2
            tc.store(y, [i, 0], x, dims=[1])
        else:
            if i > 4:
                x = x - 1000
        tc.store(y, [i, 0], x + tc.arange(8), dims=[1])

    y = np.zeros((10, 8), np.int32)
    choose.interpret(y)
    i = np.arange(10)
    wanted = np.where(i % 3 == 0, i + 100, np.where(i % 3 == 1, i * 2, np.where(i > 4, i - 1000, i)))
    np.testing.assert_array_equal(y, wanted[:, None] + np.arange(8))


def test_loops_of_different_lengths():
    @tc.kernel(warps=1)
    def collatz(y: i32[N], z: i32[N]):
        tc.grid(N)
        i = tc.block_index(0)
        n, steps = i + 1, 0
        while n != 1:
            if n % 2 == 0:
                n = n // 2
            else:
                n = 3 * n + 1
            steps += 1
        total = 0
        for k in tc.range(i, -3, -2):
            total += k
        tc.store(y, [i], steps)
        tc.store(z, [i], total)

    def steps(n: int) -> int:
        return 0 if n == 1 else 1 + steps(n // 2 if n % 2 == 0 else 3 * n + 1)

    y, z = np.zeros(30, np.int32), np.zeros(30, np.int32)
    collatz.interpret(y, z)
    assert y.tolist() == [steps(n + 1) for n in range(30)]
    assert z.tolist() == [sum(range(n, -3, -2)) for n in range(30)]


def test_many_blocks_run_in_chunks():
    """More elements than run together at once."""
    @tc.kernel(warps=1)
    def fill(y: i32[N]):
        tc.grid(cdiv(N, 4096))
        i = tc.block_index(0) * 4096
        tc.store(y, i, tc.arange(4096) + i)

    y = np.zeros(1_000_003, np.int32)
    fill.interpret(y)
    np.testing.assert_array_equal(y, np.arange(1_000_003))


@pytest.mark.parametrize("grid", [(5,), (2, 3), (2, 3, 4)])
def test_grids(grid: tuple[int, ...]):
    @tc.kernel(warps=1)
    def one(y: i32[N, M]):
        tc.grid(N)
        tc.store(y, [tc.block_index(0), 0], tc.block_count(0) * 10000 + tc.block_index(0))

    @tc.kernel(warps=1)
    def two(y: i32[N, M]):
        tc.grid(N, M)
        tc.store(y, [tc.block_index(0), tc.block_index(1)], tc.block_index(0) * 100 + tc.block_index(1) * 10)

    @tc.kernel(warps=1)
    def three(y: i32[N, M, 4]):
        tc.grid(N, M, 4)
        i, j, k = tc.block_index(0), tc.block_index(1), tc.block_index(2)
        tc.store(y, [i, j, k], i * 100 + j * 10 + k + 1000 * tc.block_count(2))

    if len(grid) == 1:
        y = np.zeros((5, 1), np.int32)
        one.interpret(y)
        np.testing.assert_array_equal(y[:, 0], 50000 + np.arange(5))
        return
    y = np.zeros(grid, np.int32)
    (two if len(grid) == 2 else three).interpret(y)
    places = np.indices(grid)
    wanted = places[0] * 100 + places[1] * 10 + (places[2] + 4000 if len(grid) == 3 else 0)
    np.testing.assert_array_equal(y, wanted)


def test_an_empty_grid_does_nothing():
    @tc.kernel(warps=1)
    def nothing(y: i32[N]):
        tc.grid(cdiv(N, 8))
        tc.store(y, tc.block_index(0) * 8, tc.zeros(i32, [8]))

    nothing.interpret(np.zeros(0, np.int32))


# debugging


@tc.function
def square(v):
    w = v * v  # in the helper
    return w


@tc.kernel(warps=1)
def traced(x: f32[N], y: f32[N]):
    tc.grid(2)
    i = tc.block_index(0)  # first
    t = tc.load(x, i * 4, [4])  # second
    s = t + 1.0
    for _ in tc.range(2):
        s = s * 2.0  # in the loop
    u = square(s)  # the call
    breakpoint()
    tc.store(y, i * 4, u)  # last


def call_traced(breakpointhook: Callable[[], None]) -> np.ndarray:
    y = np.zeros(8, np.float32)
    old, sys.breakpointhook = sys.breakpointhook, breakpointhook
    try:
        traced.interpret(np.arange(8, dtype=np.float32), y)
    finally:
        sys.breakpointhook = old
    return y


def test_breakpoint_sees_the_authors_variables():
    seen: list[dict[str, Any]] = []

    def hook() -> None:
        frame = sys._getframe(1)
        assert (Path(frame.f_code.co_filename).name, frame.f_code.co_name) == (Path(__file__).name, "traced")
        assert frame.f_lineno == line_of(traced, "breakpoint()")
        seen.append(dict(frame.f_locals))

    y = call_traced(hook)
    (found,) = seen
    t = np.arange(8).reshape(2, 4)
    np.testing.assert_array_equal(found["i"], [0, 1])
    np.testing.assert_array_equal(found["t"], t)
    np.testing.assert_array_equal(found["s"], (t + 1) * 4)
    np.testing.assert_array_equal(found["u"], ((t + 1) * 4) ** 2)
    np.testing.assert_array_equal(y, ((np.arange(8) + 1) * 4) ** 2)


def test_stepping_visits_the_kernels_lines():
    """As a debugger does it: line events of the frames that stand in this file."""
    lines: list[tuple[str, int]] = []

    def trace(frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != __file__:
            return None
        if event == "line":
            lines.append((frame.f_code.co_name, frame.f_lineno))
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        call_traced(lambda: None)
    finally:
        sys.settrace(old)
    visited = [line for name, line in lines if name == "traced"]
    order = [visited.index(line_of(traced, mark)) for mark in ("# first", "# second", "# in the loop", "# the call", "breakpoint()", "# last")]
    assert order == sorted(order)
    assert visited.count(line_of(traced, "# in the loop")) >= 2
    inside = line_of(square.function if hasattr(square, "function") else square, "# in the helper")
    assert inside in [line for name, line in lines if name != "traced"]  # a frame of its own


def test_pdb_shows_source_and_values():
    out = io.StringIO()
    commands = io.StringIO("p t.shape\np float(s[1, 2])\nlist\nwhere\nnext\ncontinue\n")

    def hook() -> None:
        pdb.Pdb(stdin=commands, stdout=out, nosigint=True, readrc=False).set_trace(sys._getframe(1))

    old = sys.gettrace()
    try:
        call_traced(hook)
    finally:
        sys.settrace(old)
    text = out.getvalue()
    assert "(2, 4)" in text
    assert "28.0" in text  # (6 + 1) * 4
    assert "tc.store(y, i * 4, u)  # last" in text
    assert f"test_interp.py({line_of(traced, '# last')})traced()" in text


def test_print(capsys: pytest.CaptureFixture[str]):
    @tc.kernel(warps=1)
    def shown(y: i32[N]):
        tc.grid(3)
        i = tc.block_index(0)
        if i != 1:
            print("block", i, tc.arange(3) + i)
        tc.store(y, [i], i)

    shown.interpret(np.zeros(3, np.int32))
    assert capsys.readouterr().out == "[block 0] block 0 [0 1 2]\n[block 2] block 2 [2 3 4]\n"


# arguments


def test_one_array_as_input_and_output():
    """Blocks run in order; each reads its own part before it writes it."""
    @tc.kernel(warps=1)
    def double(x: f32[N], y: f32[N]):
        tc.grid(cdiv(N, 16))
        i = tc.block_index(0) * 16
        t = tc.load(x, i, [16])
        tc.store(y, i, t + t)
        tc.store(y, i, tc.load(x, i, [16]) + 1.0)

    a = np.arange(40, dtype=np.float32)
    double.interpret(a, a)
    np.testing.assert_array_equal(a, 2 * np.arange(40) + 1)
    a, b = np.arange(40, dtype=np.float32), np.zeros(40, np.float32)
    double.interpret(a, b)
    np.testing.assert_array_equal(b, np.arange(40) + 1)


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[::2, 1:]])
def test_strided_tensors(view: Callable[[np.ndarray], np.ndarray]):
    @tc.kernel(warps=1)
    def negate(x: tc.strided(f32[N, M]), y: tc.strided(f32[N, M])):
        tc.grid(1)
        tc.store(y, [0, 0], -tc.load(x, [0, 0], [16, 16]))

    for run in (negate.interpret, negate.simulate):
        a, b = np.arange(56, dtype=np.float32).reshape(8, 7), np.zeros((8, 7), np.float32)
        run(view(a), view(b))
        np.testing.assert_array_equal(view(b), -view(a))
        rest = np.ones((8, 7), bool)
        view(rest)[...] = False
        assert (b[rest] == 0).all()


@pytest.mark.parametrize("dtype", [int3, int5, uint4])
def test_packed_rows_that_do_not_fill_bytes(dtype: tc.DType):
    @tc.kernel(warps=1)
    def copy(x: tc.int3[N, 7], y: tc.int3[N, 7]):
        tc.grid(cdiv(N, 4))
        tc.store(y, [tc.block_index(0) * 4, 0], tc.load(x, [tc.block_index(0) * 4, 0], [4, 8]))

    @tc.kernel(warps=1)
    def copy5(x: tc.int5[N, 7], y: tc.int5[N, 7]):
        tc.grid(cdiv(N, 4))
        tc.store(y, [tc.block_index(0) * 4, 0], tc.load(x, [tc.block_index(0) * 4, 0], [4, 8]))

    @tc.kernel(warps=1)
    def copy4(x: tc.uint4[N, 7], y: tc.uint4[N, 7]):
        tc.grid(cdiv(N, 4))
        tc.store(y, [tc.block_index(0) * 4, 0], tc.load(x, [tc.block_index(0) * 4, 0], [4, 8]))

    values = np.random.default_rng(0).integers(int(dtype.min), int(dtype.max), (9, 7), endpoint=True)
    x = tc.Tensor.from_values(values, dtype)
    size = (63 * dtype.bits + 7) // 8
    buffer = np.full(size + 3, 0xFF, np.uint8)
    y = tc.tensor(buffer, dtype, (9, 7))
    {"int3": copy, "int5": copy5, "uint4": copy4}[str(dtype)].interpret(x, y)
    np.testing.assert_array_equal(y.values(), values)
    assert (buffer[size:] == 0xFF).all()
    assert buffer[size - 1] >> (63 * dtype.bits % 8 or 8) == 0xFF >> (63 * dtype.bits % 8 or 8)  # bits behind the last element


SCALARS = {
    "f16": 1.0009765625, "bf16": 1.0078125, "f32": 0.10000000149011612, "f64": 0.1, "i16": -32768, "i32": -(2**31), "i64": -(2**63), "u16": 65535,
    "u32": 2**32 - 1, "u64": 2**64 - 1,
}  # fmt: skip


@pytest.mark.parametrize("name", SCALARS)
def test_scalars_of_every_type(name: str, tmp_path: Path):
    """The type's own numbers come through unchanged, as scalars and as elements."""
    head = f"import tilec as tc\nfrom tilec import {name}\n\n\n"
    source = head + f"@tc.kernel(warps=1)\ndef put(y: {name}[1], s: {name}):\n    tc.grid(1)\n    tc.store(y, [0], s)\n"
    file = tmp_path / f"put_{name}.py"
    file.write_text(source)
    from tilec.compiler import load_kernel

    kernel = load_kernel(f"{file}:put")
    y = tc.Tensor.from_values(np.zeros(1), tc.dtype(name))
    kernel.interpret(y, SCALARS[name])
    assert y.values().tolist() == [SCALARS[name]]


def test_bool_scalars_and_64_bit_arithmetic():
    @tc.kernel(warps=1)
    def put(y: i64[2], on: tc.bool_, big: i64):
        tc.grid(1)
        if on:
            tc.store(y, [0], big * big)
        tc.store(y, [1], big + 1)

    y = np.zeros(2, np.int64)
    put.interpret(y, True, 2**33 + 1)
    assert y.tolist() == [((2**33 + 1) ** 2 + 2**63) % 2**64 - 2**63, 2**33 + 2]
    y = np.zeros(2, np.int64)
    put.interpret(y, False, 5)
    assert y.tolist() == [0, 6]


def test_halves_are_rounded_once():
    """f16(2049) is 2048 and f16(2051) is 2052 (to even); their exact sum 4100 is a multiple of 4, an f16."""
    @tc.kernel(warps=1)
    def add(x: f32[2], y: f16[1]):
        tc.grid(1)
        tc.store(y, [0], tc.cast(tc.load(x, [0]), f16) + tc.cast(tc.load(x, [1]), f16))

    y = np.zeros(1, np.float16)
    add.interpret(np.array([2049, 2051], np.float32), y)
    assert y.tolist() == [4100]
