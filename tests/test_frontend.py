"""From Python source to IR: what a kernel means, shown by what it computes, and where form matters by its ops."""

import ast
import builtins
import inspect
import random
import runpy
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tilec as tc
from tests.mini import Mini
from tilec import DType, cdiv, f16, f32, i32, i64, int6
from tilec.frontend import stubs
from tilec.frontend.signature import signature
from tilec.ir.core import BUILTINS
from tilec.ir.dtypes import f64
from tilec.ir.ops.control import For, If
from tilec.ir.types import TensorType

M, N, K = tc.dims("M N K")
W = tc.types("W")
HERE = Path(__file__)
ROOT = HERE.parents[1]


def mnemonics(function):
    return [op.mnemonic for op in function.walk()]


def line_of(text):
    """The line of this file that ends with a text, counted from 1."""
    return next(i for i, line in enumerate(HERE.read_text().splitlines(), 1) if line.endswith(text) and "line_of" not in line)


def computed(kernel, *scalars, size=1, **constants):
    """What a kernel writes to its one tensor, `out`."""
    out = np.zeros(size, kernel.signature.parameters[0].dtype.numpy)
    kernel(out, *scalars, **constants)
    return out.tolist()


# names of the language, outside of kernels


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("dot", ["x", "y", "acc"]), ("exp", ["x", "approx"]), ("range", ["start", "stop", "step", "stages"])],
)
def test_editors_see_what_a_name_takes(name, parameters):
    assert list(inspect.signature(getattr(tc, name)).parameters)[: len(parameters)] == parameters


# the signature


def test_parameters_in_order():
    def k(a: f16[M, K], s: f32, b: tc.strided(f16[K, 8]), c: f32[N, M], n: i64):
        tc.grid(1)

    params = Mini(k).parse().params
    assert [(p.name, str(p.type)) for p in params] == [
        ("a", "global f16[M, K]"),
        ("s", "f32"),
        ("b", "strided f16[K, 8]"),
        ("c", "global f32[N, M]"),
        ("n", "i64"),
        ("M", "i32"),
        ("K", "i32"),
        ("N", "i32"),
        ("b.stride0", "i64"),
        ("b.stride1", "i64"),
    ]


def test_constants_in_annotations():
    def k(w: W[K, N], s: W, *, W: DType = f16, K: int = 64):
        tc.grid(cdiv(N, K))

    given = Mini(k).parse(W=f32)
    assert [str(p.type) for p in given.params] == ["global f32[64, N]", "f32", "i32"]
    assert given.constants == {"W": f32, "K": 64}


def test_annotations_may_be_strings():
    def k(x: "f32[N]", *, block: "int" = 8):
        tc.grid(1)

    assert [str(p.type) for p in Mini(k).parse().params] == ["global f32[N]", "i32"]


def test_bind_splits_arguments_from_constants():
    def k(x: f32[N], s: f32, *, block: int = 8, scale: float = 1.0):
        tc.grid(1)

    assert signature(k).bind((1,), {"s": 2, "block": np.int64(16)}) == ({"x": 1, "s": 2}, {"block": 16, "scale": 1.0})


# the launch


def test_grid_and_assumptions_go_to_the_host():
    def k(x: f32[M, N], *, block: int = 64):
        tc.grid(cdiv(M, block), y=N)
        tc.assume(N % 4 == 0)
        tc.assume(block % 4 == 0)

    function = Mini(k).parse()
    assert [op.mnemonic for op in function.launch.ops if op.mnemonic != "constant"] == ["add", "floor_div", "mod", "eq", "assume", "yield"]
    assert [op.text for op in function.launch.ops if op.mnemonic == "assume"] == ["N % 4 == 0"]
    assert function.launch.yielded[1] is function.param("N")
    assert not function.body.ops


# places


def test_every_op_knows_its_place():
    @tc.function
    def double(v):
        return v + v  # in a helper

    def k(x: f32[N]):
        tc.grid(1)
        v = double(tc.load(x, [0], [8]))  # the call
        tc.store(x, [0],
                 v * 2.0)  # the second line  # fmt: skip

    ops = {op.mnemonic: op.loc for op in Mini(k).parse().walk()}
    text = HERE.read_text().splitlines()
    assert ops["add"].line == line_of("# in a helper")
    assert ops["add"].caller.line == line_of("# the call")
    assert ops["mul"].line == line_of("# the second line  # fmt: skip")
    assert text[ops["mul"].line - 1][ops["mul"].column - 1 : ops["mul"].end_column - 1] == "v * 2.0"
    assert text[ops["load"].line - 1][ops["load"].column - 1 : ops["load"].end_column - 1] == "tc.load(x, [0], [8])"


def test_columns_count_characters():
    def k(x: f32[N]):
        tc.grid(1)
        größe = "€€€", tc.load(x, [0])  # umlauts
        print(größe[0])

    loc = next(op.loc for op in Mini(k).parse().walk() if op.mnemonic == "load")
    line = HERE.read_text().splitlines()[loc.line - 1]
    assert line[loc.column - 1 : loc.end_column - 1] == "tc.load(x, [0])"


# operators


@pytest.mark.parametrize(
    "expression",
    ["n + 2 * m - 3", "n - m - 1", "(n - m) * 2", "n // 3 + n % 5", "-n // 2", "-n % 4", "n << 2 | m & 6 ^ 3", "~n + 1 >> 1",
     "2 - n", "100 // n", "abs(-n)", "min(n, m, 4)", "max(n, 4) - min(m, 9)", "+n", "sum([n, m, 3])"],
)  # fmt: skip
def test_precedence_is_python_s(expression, tmp_path):
    file = tmp_path / "k.py"
    file.write_text(
        f"import tilec as tc\ndef k(out: tc.i32[1], n: tc.i32, m: tc.i32):\n    tc.grid(1)\n    tc.store(out, 0, {expression})\n"
    )
    names = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    assert computed(Mini(names["k"]), 7, 5) == [eval(expression, {"n": 7, "m": 5})]


@pytest.mark.parametrize(
    "expression",
    ["0 < n < m", "m > n >= 7", "n == 7 and m == 5", "n == 8 or not m == 5", "not n < m", "n != 7 or m > 4", "1 < 2 < n", "3 < n < 9 < m"],
)
def test_conditions_are_python_s(expression, tmp_path):
    file = tmp_path / "k.py"
    head = "import tilec as tc\ndef k(out: tc.i32[1], n: tc.i32, m: tc.i32):\n    tc.grid(1)\n"
    file.write_text(f"{head}    tc.store(out, 0, 1 if {expression} else 0)\n")
    names = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    assert computed(Mini(names["k"]), 7, 5) == [int(eval(expression, {"n": 7, "m": 5}))]


def test_and_does_not_run_its_right_side_in_vain():
    def k(out: i32[1], n: i32):
        tc.grid(1)
        hit = n > 0 and 10 // n > 1
        tc.store(out, 0, 5 if hit else 6)

    assert computed(Mini(k), 0) == [6]  # 10 // 0 is an error when it runs
    assert computed(Mini(k), 2) == [5]


def test_a_choice_runs_one_side():
    def k(out: i32[1], n: i32):
        tc.grid(1)
        tc.store(out, 0, 10 // n if n != 0 else -1)

    assert computed(Mini(k), 0) == [-1]
    assert computed(Mini(k), 5) == [2]


def test_numbers_take_the_tile_s_type():
    def k(out: f16[4]):
        tc.grid(1)
        tc.store(out, 0, 1 + tc.full(f16, [4], 2) * 0.5)

    assert computed(Mini(k), size=4) == [2.0] * 4


def test_types_convert():
    def k(out: f64[1], n: i32):
        tc.grid(1)
        tc.store(out, 0, f64(n) / 4 + f64(int(f32(2.75))) + float(n).to(f64))

    assert computed(Mini(k), 3) == [0.75 + 2 + 3]


def test_new_axes_and_methods():
    def k(out: i32[3, 4]):
        tc.grid(1)
        rows, columns = tc.arange(3), tc.arange(4)
        table = rows[:, None] * 10 + columns[None, :]
        assert table.shape == (3, 4)
        assert table.dtype == i32
        tc.store(out, [0, 0], table.T.T - table.min())

    assert computed(Mini(k), size=(3, 4)) == [[10 * i + j for j in range(4)] for i in range(3)]


def test_dot_is_the_at_sign():
    def k(out: f32[2, 2]):
        tc.grid(1)
        tc.store(out, [0, 0], tc.full(f16, [2, 3], 2) @ tc.full(f16, [3, 2], 4))

    assert computed(Mini(k), size=(2, 2)) == [[24.0, 24.0]] * 2


# control flow


def test_loop_carries_what_is_read_again():
    def k(out: i32[3], n: i32):
        tc.grid(1)
        total, last, unused = 0, -1, 0
        for i in range(2, n, 3):
            unused = i  # noqa: F841
            total += i
            last = i
        tc.store(out, 0, total)
        tc.store(out, 1, last)

    loop = next(op for op in Mini(k).parse(**{}).walk() if isinstance(op, For))
    assert [v.name for v in loop.body.args] == ["i", "last", "total"]
    assert computed(Mini(k), 12, size=3) == [2 + 5 + 8 + 11, 11, 0]
    assert computed(Mini(k), 1, size=3) == [0, -1, 0]


def test_loop_in_loop():
    def k(out: i32[1], n: i32):
        tc.grid(1)
        total = 0
        for i in tc.range(n):
            row = 0
            for j in tc.range(i, n):
                row += i * j
            total = total + row
        tc.store(out, 0, total)

    assert computed(Mini(k), 6) == [sum(i * j for i in range(6) for j in range(i, 6))]


def test_loop_downwards():
    def k(out: i32[1], n: i32):
        tc.grid(1)
        digits = 0
        for i in range(n, 0, -2):
            digits = digits * 10 + i
        tc.store(out, 0, digits)

    assert computed(Mini(k), 7) == [7531]


def test_loop_carries_tuples():
    def k(out: i32[2], n: i32):
        tc.grid(1)
        pair = (0, 1)
        for _ in range(n):
            a, b = pair
            pair = (b, a + b)
        tc.store(out, 0, pair[0])
        tc.store(out, 1, pair[1])

    assert computed(Mini(k), 10, size=2) == [55, 89]


def test_counter_of_another_type():
    def k(out: i64[1], n: i64):
        tc.grid(1)
        total = i64(0)
        for i in range(n):
            total += i
        tc.store(out, 0, total)

    assert computed(Mini(k), 5) == [10]


def test_unrolled_loops_have_numbers_for_counters():
    def k(out: i32[4], *, ways: int = 4):
        tc.grid(1)
        shapes = [2**i for i in range(ways)]
        for i, n in enumerate(shapes):
            tc.store(out, i, tc.sum(tc.arange(n)))
        for i in tc.static_range(1, ways, 2):
            assert i in (1, 3)

    assert For.mnemonic not in mnemonics(Mini(k).parse())
    assert computed(Mini(k), size=4) == [0, 1, 6, 28]


def test_while():
    def k(out: i32[2], n: i32):
        tc.grid(1)
        steps = 0
        while n != 1 and steps < 1000:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        tc.store(out, 0, steps)
        tc.store(out, 1, n)

    assert computed(Mini(k), 27, size=2) == [111, 1]  # the Collatz sequence of 27 has 111 steps


def test_branch_at_run_time():
    def k(out: f32[1], n: i32):
        tc.grid(1)
        v = f32(1)
        if n > 10:
            v = v + 1.0
            w = 3.0
        elif n > 5:
            w = 4.0
        else:
            w = f32(n)
        tc.store(out, 0, v * w)

    assert [computed(Mini(k), n) for n in (11, 6, 2)] == [[6.0], [4.0], [2.0]]


def test_branch_on_what_is_known_keeps_one_side():
    def k(out: f32[1], *, fast: bool = True):
        tc.grid(1)
        if fast:
            v = 1.0
        else:
            v = this_name_does_not_exist  # noqa: F821
        tc.store(out, 0, f32(v))

    assert If.mnemonic not in mnemonics(Mini(k).parse())
    assert computed(Mini(k)) == [1.0]


def test_branch_in_a_loop():
    def k(out: i32[1], n: i32):
        tc.grid(1)
        odd = 0
        for i in range(n):
            if i % 2 == 1:
                odd += i
        tc.store(out, 0, odd)

    assert computed(Mini(k), 10) == [25]


def test_return_ends_a_kernel():
    def k(out: i32[1], *, done: bool = True):
        tc.grid(1)
        tc.store(out, 0, 1)
        if done:
            return
        tc.store(out, 0, 2)

    assert computed(Mini(k)) == [1]
    assert computed(Mini(k), done=False) == [2]


class Programs:
    """Random programs on the integers a, b, c, d, as text: loops, branches and assignments nested at will."""

    def __init__(self, rng):
        self.rng = rng
        self.loops = 0

    def expression(self, depth=2):
        leaf = [*"abcd", *map(str, range(4)), "n"]
        if not depth or self.rng.random() < 0.3:
            return self.rng.choice(leaf)
        x, y = self.expression(depth - 1), self.expression(depth - 1)
        return self.rng.choice(
            [f"({x} + {y})", f"({x} - {y})", f"{x} * {y} % 1009", f"({x} // 3 - {y} % 5)", f"({x} if {self.test(0)} else {y})"]
        )

    def test(self, depth=1):
        x, y = self.expression(depth), self.expression(depth)
        return self.rng.choice(
            [f"{x} < {y}", f"{x} % 3 == {y} % 3", f"not {x} >= {y}", f"{x} < {y} or a > 2", f"0 < {x} % 7 < 5 and {y} != b"]
        )

    def block(self, depth, indent):
        lines = [line for _ in range(self.rng.randint(1, 3)) for line in self.statement(depth)]
        return [" " * indent + line for line in lines]

    def statement(self, depth):
        name = self.rng.choice("abcd")
        kind = self.rng.choice(["=", "+=", "tuple", *(["for", "if", "else", "while", "unroll"] if depth else [])])
        inside = self.block(depth - 1, 4) if depth else []
        if kind in ("=", "+="):
            return [f"{name} {kind} {self.expression()}", f"{name} %= 9973"]
        if kind == "tuple":
            return [f"{name}, d = ({self.expression(1)}), {name}"]
        if kind == "if":
            return [f"if {self.test()}:", *inside]
        if kind == "else":
            return [f"if {self.test()}:", *inside, "else:", *self.block(depth - 1, 4)]
        self.loops += 1
        counter = f"i{self.loops}"
        if kind == "while":
            return [f"{counter} = 0", f"while {counter} < 3 and ({self.test()}):", *inside, f"    {counter} += 1"]
        bounds = "(2)" if kind == "unroll" else f"({self.expression(1)} % 4)"
        over = f"list(range{bounds})" if kind == "unroll" else f"range{bounds}"
        return [f"for {counter} in {over}:", *inside, f"    {name} -= {counter}"]


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_mean_what_they_mean_in_python(seed, tmp_path):
    rng = random.Random(seed)
    body = Programs(rng).block(3, 4) + Programs(rng).block(2, 4)
    lines = ["def k(out: tc.i32[4], n: tc.i32):", "    tc.grid(1)", "    a, b, c, d = 1, n, 2, 3", *body]
    stores = [f"    tc.store(out, {i}, {name} % 1000)" for i, name in enumerate("abcd")]
    plain = ["def k(n):", *lines[2:], "    return [a % 1000, b % 1000, c % 1000, d % 1000]"]
    file = tmp_path / "k.py"
    file.write_text("\n".join(["import tilec as tc", *lines, *stores]) + "\n")
    names, python = {}, {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    exec("\n".join(plain), python)
    for n in (0, 5):
        assert computed(Mini(names["k"]), n, size=4) == python["k"](n), file.read_text()


# helpers and Python at compile time


@tc.function
def divmod_up(x, y, *, extra=0):
    """Returns a tuple."""
    if extra:
        return cdiv(x, y) + extra, x % y
    return cdiv(x, y), x % y


@tc.function
def rows():
    return M


def test_helpers_are_inlined():
    def k(out: i32[4], n: i32):
        tc.grid(1)
        q, r = divmod_up(n, 4)
        tc.store(out, 0, q)
        tc.store(out, 1, r)
        tc.store(out, 2, divmod_up(n, y=4, extra=10)[0])

    assert computed(Mini(k), 9, size=4) == [3, 1, 13, 0]
    assert divmod_up(9, 4) == (3, 1)  # outside a kernel it is plain Python


def test_dimensions_are_known_in_helpers_and_by_shape():
    def k(out: i32[2], x: f32[M, 7]):
        tc.grid(1)
        assert x.shape[1] == 7
        tc.store(out, 0, rows())
        tc.store(out, 1, x.shape[0])

    out = np.zeros(2, np.int32)
    Mini(k)(out, np.zeros((5, 7), np.float32))
    assert out.tolist() == [5, 5]


SIZES = (M, [N, 3])


@tc.function
def first(n=N, pair=SIZES):
    m, (n2, three) = pair
    return m * 100 + n * 10 + n2 - three


def test_dimensions_in_tuples_and_defaults():
    def k(out: i32[1], x: f32[M, N]):
        tc.grid(1)
        m, _ = SIZES
        tc.store(out, 0, first() + m)

    out = np.zeros(1, np.int32)
    Mini(k)(out, np.zeros((5, 7), np.float32))
    assert out.tolist() == [500 + 70 + 7 - 3 + 5]


def test_python_runs_at_compile_time():
    config = SimpleNamespace(sizes={"small": 8})

    def log2(n):
        return n.bit_length() - 1

    def k(out: i32[1], *, size: str = "small", dtype: DType = int6):
        tc.grid(1)
        n = config.sizes[size]
        assert isinstance(n, int)
        assert len(f"{size}{n}") == 6
        tc.store(out, 0, tc.sum(tc.arange(n)) + log2(n) + dtype.bits + np.int64(1))

    assert computed(Mini(k)) == [28 + 3 + 6 + 1]


def test_print_and_breakpoint(capsys):
    def k(out: i32[2]):
        tc.grid(2)
        i = tc.block_index(0)
        square = i * i
        print("square of", i, "is", square)
        breakpoint()
        tc.store(out, i, square)

    function = Mini(k).parse()
    assert next(op.names for op in function.walk() if op.mnemonic == "breakpoint") == ("i", "square")
    del function.body.ops[[op.mnemonic for op in function.body.ops].index("breakpoint")]
    from tilec.ir.interp import execute
    from tilec.ir.memories import Memory

    execute(function, [Memory(np.zeros(2, np.int64))])
    assert capsys.readouterr().out.splitlines() == ["[block 0] square of 0 is 0", "[block 1] square of 1 is 1"]


# a kernel as a whole


def test_matmul():
    def matmul(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 16, bn: int = 32, bk: int = 8, stages: int = 3):
        tc.grid(cdiv(M, bm), cdiv(N, bn))
        i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
        acc = tc.zeros(f32, [bm, bn])
        for k in tc.range(0, K, bk, stages=stages):
            acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
        tc.store(c, [i, j], tc.cast(acc, f16))

    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (30, 20)).astype(np.float16), rng.integers(-4, 5, (20, 50)).astype(np.float16)
    c = np.empty((30, 50), np.float16)
    Mini(matmul)(a, b, c)
    np.testing.assert_array_equal(c, a @ b)  # small integers: exact in any order
    (loop,) = [op for op in Mini(matmul).parse().walk() if isinstance(op, For)]
    assert loop.stages == 3
    assert [op.mnemonic for op in loop.body.ops] == ["load", "load", "dot", "yield"]


VECTOR_ADD = """\
kernel @vector_add(%x: global f32[N], %y: global f32[N], %z: global f32[N], %N: i32) warps=4 constants={block=1024} {
  launch {
    %0 = constant value=1023 dtype=i32 : i32
    %1 = add %N, %0 : i32
    %2 = constant value=1024 dtype=i32 : i32
    %3 = floor_div %1, %2 : i32
    yield [%3]
  }
  %4 = block_index : i32
  %5 = constant value=1024 dtype=i32 : i32
  %i = mul %4, %5 : i32
  %6 = load %x, [%i] shape=[1024] dims=[0] : f32[1024]
  %7 = load %y, [%i] shape=[1024] dims=[0] : f32[1024]
  %8 = add %6, %7 : f32[1024]
  store %z, [%i], %8 dims=[0]
}"""


def test_vector_add_as_text():
    def vector_add(x: f32[N], y: f32[N], z: f32[N], *, block: int = 1024):
        tc.grid(cdiv(N, block))
        i = tc.block_index(0) * block
        tc.store(z, i, tc.load(x, i, [block]) + tc.load(y, i, [block]))

    assert str(Mini(vector_add).parse()).strip() == VECTOR_ADD


def test_shared_tiles():
    def k(x: f32[N], out: f32[N], *, stages: int = 2):
        tc.grid(1)
        s = tc.shared(f32, [stages, 4])
        for i in range(stages):
            tc.copy_async(s[i], x, i * 4)
            tc.commit()
        tc.wait(0)
        tc.sync()
        for i in tc.static_range(stages):
            tc.store(out, i * 4, tc.load(s[stages - 1 - i]))

    x, out = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    Mini(k)(x, out)
    assert out.tolist() == [4, 5, 6, 7, 0, 1, 2, 3]


# names and types


def test_every_builtin_has_a_manual_and_a_name():
    for name in BUILTINS:
        assert getattr(tc, name).__doc__
        assert getattr(tc, name).__name__ == name


def test_stubs_are_up_to_date():
    assert stubs.STUB.read_text() == stubs.stub(), "run python -m tilec.frontend.stubs"


def test_stubs_name_every_public_name():
    text = stubs.STUB.read_text()
    for name in dir(tc):
        if not name.startswith("_") and type(getattr(tc, name)).__name__ != "module":
            assert f"def {name}(" in text or f"class {name}:" in text or f" as {name}," in text, name


def test_type_checkers_and_linters_are_content(tmp_path):
    file = tmp_path / "kernel.py"
    file.write_text(
        "import tilec as tc\nfrom tilec import cdiv, f16, f32\n\nM, N = tc.dims(\"M N\")\n\n\n"
        "@tc.function\ndef row(a: f16[M, N], *, n: int = 8):\n"
        "    tc.grid(cdiv(M, n), 1)\n    tc.assume(N % 8 == 0)\n    i = tc.block_index(0) * n\n"
        "    x = f32(tc.load(a, [i, 0], [n, n])) * 2.0 + tc.zeros(f32, [n])[None, :]\n    for k in tc.range(0, i, 2, stages=2):\n"
        "        x = -x @ x.T + tc.where(x < 3.0, x, k)\n    tc.store(a, [i, 0], x.to(f16) if i > 1 else tc.max(x, axis=0))\n"
    )  # fmt: skip
    mypy = [sys.executable, "-m", "mypy", "--disable-error-code=valid-type", "--check-untyped-defs", f"--cache-dir={tmp_path}", str(file)]
    checked = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    examples = [*mypy[:-1], *map(str, (ROOT / "examples").glob("*.py"))]
    checked = subprocess.run(examples, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    wrong = file.read_text().replace("tc.zeros(f32, [n])", "tc.zeroes(f32, [n])").replace("axis=0", "axes=0")
    file.write_text(wrong)
    said = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True).stdout
    assert 'no attribute "zeroes"' in said
    assert 'Unexpected keyword argument "axes"' in said
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F", *map(str, (ROOT / "examples").glob("*.py"))]
    )
    assert linted.returncode == 0


def test_kernels_are_found_in_nested_functions_and_types_known():
    def outer(block):
        def k(x: f32[N], *, n: int = block):
            tc.grid(1)
            tc.store(x, 0, tc.full(f32, [n], block))

        return k

    function = Mini(outer(4)).parse()
    assert isinstance(function.params[0].type, TensorType)
    assert next(op for op in function.walk() if op.mnemonic == "store").value.type.shape == (4,)


def test_names_of_other_languages_are_explained():
    @tc.kernel
    def k(x: tc.f32[N]):
        tc.grid(1)
        tc.store(x, [tc.program_id(0) * 32], tc.zeros(tc.f32, [32]))

    with pytest.raises(tc.TileError, match=r"has no program_id[\s\S]*here it is tc\.block_index"):
        k.compile("sm_80")
    with pytest.raises(tc.TileError, match=r"the oldest is sm_80"):
        k.compile("sm_75")


STARRED = """
from tilec import *

N = dims("N")

@kernel
def doubled(x: f32[N], y: f32[N]):
    grid(cdiv(N, 16))
    i = block_index(0) * 16
    a = load(x, [i], [16])
    for _ in range(2):
        a = max(abs(a), min(a, a)) + round(0.4) + sum([0, 0])
    store(y, [i], a * 2)

assert [abs(-1), *range(2), round(1.5), sum([1, 2]), max(1, 2), any([0]), divmod(7, 2)] == [1, 0, 1, 2, 3, 2, False, (3, 1)]
"""


def test_a_starred_import_hides_nothing_of_python(tmp_path):
    file = tmp_path / "starred.py"
    file.write_text(STARRED)
    module = runpy.run_path(str(file))
    x, y = np.arange(-20, 20, dtype=np.float32), np.empty(40, np.float32)
    module["doubled"].interpret(x, y)
    assert np.array_equal(y, 2 * np.abs(x))
    hidden = {name for name in vars(builtins) if not name.startswith("_")}
    assert not hidden & set(tc.__all__)
    assert {"abs", "range", "sum"} <= hidden & set(dir(tc))  # tc.abs is there
    assert not any(isinstance(getattr(tc, name), types.ModuleType) for name in tc.__all__)
    listed = next(s for s in ast.parse(stubs.STUB.read_text()).body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "__all__")
    assert sorted(ast.literal_eval(listed.value)) == sorted(tc.__all__)
