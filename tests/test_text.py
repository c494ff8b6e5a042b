"""Textual IR: printing and parsing are inverse, and malformed text is refused at its place in plain words."""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilec.compiler import load_kernel
from tilec.errors import Loc, TileError
from tilec.ir.core import OPS, Block, Builder, Function, Kind, Op, Value, Yield
from tilec.ir.dtypes import bool_, codebook, f16, f32, float6_e3m2, i32, i64, int6, uint8
from tilec.ir.layout import local, parse_layout, replicated, spatial
from tilec.ir.ops.arith import Add, FloorDiv, Mul, Sub, Where, Xor
from tilec.ir.ops.base import Constant
from tilec.ir.shared import shared
from tilec.ir.text import parse, print_function
from tilec.ir.types import BarrierType, SharedType, TensorType, TileType, Warps


def function(*params: Value, body: Block, **fields: Any) -> Function:
    return Function("f", params, Block(), body, **fields)


def same(a: Any, b: Any, values: dict[Value, Value] | None = None) -> bool:
    """Whether two functions, blocks or ops are equal in structure, written without the printer."""
    known = {} if values is None else values

    def pair(xs: Any, ys: Any) -> bool:
        known.update(zip(xs, ys, strict=True))
        return [(x.type, x.name) for x in xs] == [(y.type, y.name) for y in ys]

    if isinstance(a, Function):
        heads = [(f.name, f.warps, f.constants) for f in (a, b)]
        return heads[0] == heads[1] and pair(a.params, b.params) and same(a.launch, b.launch, known) and same(a.body, b.body, known)
    if isinstance(a, Block):
        return pair(a.args, b.args) and len(a.ops) == len(b.ops) and all(same(x, y, known) for x, y in zip(a.ops, b.ops, strict=True))
    alike = type(a) is type(b) and [known[v] for v in a.operands] == list(b.operands)
    attributes = all(repr(v) == repr(b.attributes[k]) and type(v) is type(b.attributes[k]) for k, v in a.attributes.items())
    optional = all((getattr(a, f.name) is None) == (getattr(b, f.name) is None) for f in a.fields)
    regions = all(same(x, y, known) for x, y in zip(a.regions, b.regions, strict=True))
    return alike and attributes and optional and regions and pair(a.results, b.results)


def round_trip(f: Function) -> Function:
    text = str(f)
    again = parse(text)
    assert str(again) == text
    assert same(f, again)
    return again


# Every op

REGISTERS = parse_layout("local(2, 1).spatial(8, 4).local(1, 2)")  # a 16 x 8 tile
TYPES = [
    TileType(f32, (16, 8)), TileType(i32, (16, 8)), TileType(bool_, (16, 8)), TileType(f32, (8, 8)), TileType(f16, (16, 8)),
    TileType(f16, (8, 8)), TileType(i32), TileType(bool_), TileType(uint8, (16, 8), REGISTERS), TileType(f32, (16, 8), REGISTERS),
    TileType(i64), TensorType(f32, ("M", 8)), SharedType(f32, (16, 8)), SharedType(f32, (2, 16, 8)), BarrierType((2,)), BarrierType(),
]  # fmt: skip
ATTRIBUTES: dict[str, list[Any]] = {
    "power": [3], "farthest": ["registers"],
    "shape": [(16, 8), (8, 16), ()], "dims": [(0, 1), (1, 2), ()], "axes": [(0,), (1, 0)], "axis": [0], "dtype": [f32, i32, uint8],
    "layout": [None, REGISTERS],
    "value": [1.0, 1], "start": [0], "stop": [16], "starts": [(0, 0)], "steps": [(1, 1)], "mask": [1],
    "texts": [("x =", None)], "names": [("x",)], "text": ['M > "0"'], "kind": ["sum"], "warps": [4],
}  # fmt: skip
WRITTEN = {
    "in_warps": "in_warps first=0 count=2 body={\n  sync\n}",
    "atomic": '%r = atomic %n, none, %t, [%n], [], %b kind="add" order="release" dims=[] axes=[] : i32',
    "gather": "%r = gather %o, %t, [%n], [%v], none shape=[4] dims=[-1] axes=[0] cache=\"cg\" : i32[4]",
    "scatter": "scatter %v, %t, [%n], [%v], none dims=[-1] axes=[0]",
    "semaphore_wait": "semaphore_wait %t, [%n], %n",
    "semaphore_post": "semaphore_post %t, [%n], %n",
    "stochastic_cast": "%r = stochastic_cast %wide, %u dtype=int4 : int4[1, 2, 512]",
    "dequantize": "%r = dequantize %x, %h, [%h] below=2.0 : f16[4]",
    "packed_words": "%r = packed_words %w, %l, [%n, %n, %n], [%l, %l, %l] : strided u32[_, _, _]",
    "pack": "%r = pack %q packed=int4_packed : u32[1, 2, 512]",
    "unpack": "%r = unpack %u, [], [] packed=int4_packed dtype=int4 below=1.0 : int4[128, 64]",
    "tensor_view": "%r = tensor_view %t, %l, [%n, %n], [%l, %l] : strided i32[_, _]",
    "shared_view": "%r = shared_view %s, [%n] shape=[2, 2] strides=[2, 1] : shared i32[2, 2]",
    "concatenate": "%r = concatenate [%x, %x] : f32[8]",
    "fold": "%r = fold [%v] axis=0 body=(%x0: i32, %y0: i32) {\n  %4 = add %x0, %y0 : i32\n  yield [%4]\n} : i32",
    "scan": "%r = scan [%v] axis=0 body=(%x0: i32, %y0: i32) {\n  %4 = add %x0, %y0 : i32\n  yield [%4]\n} exclusive=true first=[0] : i32[4]",
    "load_strided": "%r = load_strided %s, [%n] shape=[4] dims=[0] steps=[-2] : i32[4]",
    "for": "%r = for %n, %n, %n, [%x] stages=3 body=(%i: i32, %y: f32[4]) {\n  yield [%y]\n} : f32[4]",
    "while": "%r = while [%x] test=(%y: f32[4]) {\n  yield [%b]\n} body=(%y: f32[4]) {\n  yield [%y]\n} : f32[4]",
    "if": "%r = if %b then={\n  yield [%x]\n} orelse={\n  %z = neg %x : f32[4]\n  yield [%z]\n} : f32[4]",
}


def instance(cls: type[Op]) -> Function:
    """A function around some op of a class: the first choice of operands and attributes that its type rule accepts."""
    kinds = {f.name: f for f in cls.fields}
    choices: list[list[Any]] = []
    for f in kinds.values():
        if f.kind in (Kind.OPERAND, Kind.OPTIONAL):
            choices.append(TYPES)
        elif f.kind is Kind.VARIADIC:
            choices.append([(TileType(t, shape),) * n for shape in ((), (16, 8)) for n in (2, 3, 1) for t in (i32, i64)])
        else:
            choices.append(ATTRIBUTES.get(f.name, [f.default]))
    for choice in itertools.product(*choices):
        values = [
            tuple(Value(t) for t in c) if f.kind is Kind.VARIADIC else Value(c) if f.kind in (Kind.OPERAND, Kind.OPTIONAL) else c
            for f, c in zip(kinds.values(), choice, strict=True)
        ]
        body = Block()
        op = cls(*values)
        try:
            Builder(body).insert(op)
        except Exception:
            continue
        return function(*op.operands, body=body)
    raise AssertionError(f"no instance of {cls.mnemonic} was found: extend ATTRIBUTES or TYPES")


@pytest.mark.parametrize("mnemonic", [m for m, cls in OPS.items() if cls.__module__.startswith("tilec.ir")])
def test_every_op_round_trips(mnemonic: str) -> None:
    if mnemonic in WRITTEN:
        values = "%n: i32, %x: f32[4], %b: bool, %l: i64, %v: i32[4], %o: i32[4], %t: global i32[N], %s: shared i32[8], "
        values += "%h: f16[4], %w: global int4_packed[K, N], %u: u32[1, 2, 512], %q: int4[128, 64], %wide: f32[1, 2, 512]"
        text = f"kernel @f({values}) warps=4 {{\n{WRITTEN[mnemonic]}\n}}"
        f = parse(text)
        assert [op.mnemonic for op in f.body.ops] == [mnemonic]
    else:
        f = instance(OPS[mnemonic])
    round_trip(f)


def test_regions_nest_and_launch_is_apart() -> None:
    text = """\
kernel @f(%x: strided f32[N, 4], %N: i32) warps=2 constants={bm=64, dtype=f16, shape=[1, 2], name="a b", on=true} {
  launch {
    %0 = constant value=64 dtype=i32 : i32
    yield [%0]
  }
  %i = block_index axis=1 : i32
  %1 = for %i, %N, %i, [%i] stages=2 body=(%k: i32, %a: i32) {
    %c = lt %k, %N : bool
    %2 = if %c then={
      %3 = while [%a] test=(%w: i32) {
        yield [%c]
      } body=(%w.1: i32) {
        yield [%w.1]
      } : i32
      yield [%3]
    } orelse={
      yield [%a]
    } : i32
    yield [%2]
  } : i32
}"""
    f = round_trip(parse(text))
    assert str(f) == text
    assert f.constants == {"bm": 64, "dtype": f16, "shape": (1, 2), "name": "a b", "on": True}
    assert f.warps == 2
    assert [v.name for v in f.params] == ["x", "N"]
    assert f.params[0].type == TensorType(f32, ("N", 4), strided=True)
    assert [op.mnemonic for op in f.walk()] == ["block_index", "for", "lt", "if", "while", "yield", "yield", "yield", "yield", "yield"]


def test_names_are_kept_and_made_unique() -> None:
    body = Block()
    b = Builder(body)
    names = ["x", "x", "", "x.1", "x.stride0", "3", 'say "hi"\\\n', "λ", "a b", "a b", "none", "at", "f32", ""]
    for name in names:
        b.emit(Constant(1, i32)).name = name
    f = function(body=body)
    words = [line.split(" = ")[0].strip() for line in str(f).splitlines()[1:-1]]
    assert words == [
        "%x", "%x.1", "%0", '%"x.1"', "%x.stride0", '%"3"', '%"say \\"hi\\"\\\\\\n"', "%λ",
        '%"a b"', '%"a b".1', "%none", "%at", "%f32", "%1",
    ]  # fmt: skip
    assert [op.result.name for op in round_trip(f).body.ops] == names


@given(st.floats(width=64))
@settings(max_examples=200)
def test_floats_are_exact(x: float) -> None:
    body = Block()
    Builder(body).emit(Constant(x, f32))
    (op,) = parse(str(function(body=body))).body.ops
    got = op.value  # type: ignore[attr-defined]
    assert isinstance(got, float)
    assert (math.isnan(x) and math.isnan(got)) or struct.pack("d", got) == struct.pack("d", x)


@given(st.text(), st.text())
@settings(max_examples=200)
def test_texts_and_names_of_any_kind(text: str, name: str) -> None:
    body = Block()
    Builder(body).insert(OPS["print"]((), (text, None)))
    x = Value(TileType(i32), name)
    assert round_trip(Function(name, (x,), Block(), body)).name == name


def test_types_with_layouts_and_groups() -> None:
    whole = local(2, 1).spatial(8, 4).local(1, 2)
    odd = parse_layout("modes(shape=[8], split=[2, 2, 2], spatial=[1], local=[2, 0])")
    types = [
        TileType(f16, (16, 8), whole), TileType(f16, (16, 8), None, Warps(4, 2)), TileType(f16, (16, 8), whole, Warps(0, 1)),
        TileType(f32, (), replicated(32)), TileType(f32, (), None, Warps(1, 3)), TileType(int6, (8,), odd), TileType(float6_e3m2, (3,)),
        SharedType(f16, (64, 32), shared([64, 32], [32, 1], [2, 3, 3])), SharedType(f16, (2, 64)), TensorType(bool_, (), False),
        TensorType(f16, ("M", "K", 3), True),
    ]  # fmt: skip
    f = round_trip(function(*[Value(t, "p") for t in types], body=Block()))
    assert [p.type for p in f.params] == types
    assert "%p.2: f16[16, 8; $0]@warps(0, 1)" in str(f)
    assert "%p.7: shared f16[64, 32; shared(shape=[64, 32], strides=[32, 1], swizzle=[2, 3, 3])]" in str(f)


def test_layouts_written_more_than_once_have_names() -> None:
    body = Block()
    b = Builder(body)
    x = Value(TileType(f16, (16, 8), REGISTERS), "x")
    b.emit(Constant(1.0, f16, (16, 8), REGISTERS))
    y = Value(TileType(f16, (32,), spatial(32)), "y")
    text = str(round_trip(function(x, y, body=body)))
    assert text.splitlines() == [
        "layout $0 = local(2, 1).spatial(8, 4).local(1, 2)",
        "kernel @f(%x: f16[16, 8; $0], %y: f16[32; spatial(32)]) warps=4 {",
        "  %0 = constant value=1.0 dtype=f16 shape=[16, 8] layout=$0 : f16[16, 8; $0]",
        "}",
    ]
    other = parse(text.replace("local(1, 2)", "local(1, 4)").replace("16, 8", "16, 16"))
    assert other.params[0].type.layout == parse_layout("local(2, 1).spatial(8, 4).local(1, 4)")


def test_types_made_of_tables_are_stated() -> None:
    mine = codebook("text_test_table", [0.0, 1.0, -2.5, 1e-30])
    text = str(function(Value(TileType(mine, (4,)), "x"), body=Block()))
    assert text.splitlines()[0] == "codebook text_test_table = [0.0, 1.0, -2.5, 1e-30]"
    assert parse(text).params[0].type.dtype is mine
    with pytest.raises(TileError, match="exists already"):
        parse(text.replace("-2.5", "-3.5"))


def test_locations_are_kept_if_asked_for() -> None:
    body = Block()
    caller = Loc("/a dir/main.py", 7, 1, 9)
    Builder(body, Loc("kernel.py", 3, 5, 12, caller)).emit(Constant(1, i32))
    Builder(body, Loc('quo"te.py', 4)).emit(Constant(2, i32))
    Builder(body).emit(Constant(3, i32))
    f = function(body=body, loc=Loc("kernel.py", 1, 1))
    text = print_function(f, locations=True)
    assert 'at "kernel.py":3:5-12 from "/a dir/main.py":7:1-9' in text
    again = parse(text, "x.tir")
    assert again.loc == f.loc
    assert [op.loc for op in again.body.ops] == [body.ops[0].loc, body.ops[1].loc, Loc("x.tir", 4, 8, 16)]
    assert "kernel.py" not in str(f)


@pytest.fixture
def machine_op():
    """An instruction as the backend will register it."""

    class Mma(Op):
        """Test."""

        mnemonic = "mma.m16n8k16.v4"
        a: Value
        mask: Value | None = None
        rest: tuple[Value, ...] = ()
        layouts: tuple[Any, ...] = ()
        scale: float = 1.0
        flag: bool = False
        group: Warps | None = None

        def infer(self) -> tuple[TileType, TileType]:
            return self.a.type, TileType(i32)

    yield Mma
    del OPS["mma.m16n8k16.v4"]


def test_instructions_with_dots_and_all_kinds_of_fields(machine_op: Any) -> None:
    x, m = Value(TileType(f16, (2,)), "x"), Value(TileType(bool_), "m")
    body = Block()
    b = Builder(body)
    b.insert(machine_op(x))
    b.insert(machine_op(x, m, (x, m), (local(2), shared([4]), (), (f16, None, -3)), 2.5, True, Warps(1, 2)))
    b.insert(machine_op(x, flag=1))  # 1 is not True: it is stated
    f = function(x, m, body=body)
    lines = str(f).splitlines()
    assert lines[1] == "  %0, %1 = mma.m16n8k16.v4 %x : f16[2], i32"
    assert lines[2] == (
        "  %2, %3 = mma.m16n8k16.v4 %x, %m, [%x, %m] layouts=[local(2), shared(shape=[4], strides=[1]), [], [f16, none, -3]]"
        " scale=2.5 flag=true group=warps(1, 2) : f16[2], i32"
    )
    body.ops.pop()
    round_trip(f)


# Random programs


@st.composite
def programs(draw: Any) -> Function:
    """Functions of integer arithmetic, with some names, some loops."""
    n = Value(TileType(i32), "n")
    body = Block()

    def grow(b: Builder, values: list[Value], depth: int) -> None:
        for _ in range(draw(st.integers(1, 5))):
            kind = draw(st.sampled_from(["constant", "binary", "binary", "where", "loop"]))
            pick = lambda: draw(st.sampled_from(values))  # noqa: E731
            if kind == "constant":
                new = b.emit(Constant(draw(st.integers(-(2**31), 2**31 - 1)), i32))
            elif kind == "binary":
                new = b.emit(draw(st.sampled_from([Add, Sub, Mul, Xor, FloorDiv]))(pick(), pick()))
            elif kind == "where":
                new = b.emit(Where(b.emit(OPS["lt"](pick(), pick())), pick(), pick()))
            elif depth < 2:
                region = Block((Value(TileType(i32), "i"), Value(TileType(i32), draw(st.sampled_from(["", "acc"])))))
                inside = [*values, *region.args]
                grow(b.inside(region), inside, depth + 1)
                region.ops.append(Yield((draw(st.sampled_from(inside)),)))
                new = b.emit(OPS["for"](pick(), pick(), pick(), (pick(),), region, draw(st.integers(1, 4))))
            else:
                continue
            new.name = draw(st.sampled_from(["", "", "x", "y", "x y"]))
            values.append(new)

    grow(Builder(body), [n], 0)
    return function(n, body=body, warps=draw(st.integers(1, 16)))


@given(programs())
@settings(max_examples=60, deadline=None)
def test_random_programs_round_trip(f: Function) -> None:
    round_trip(f.verify())


# Every stage of the examples

EXAMPLES = sorted(p for p in (Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_stage_of_the_examples_round_trips(path: Path) -> None:
    for stage in load_kernel(f"{path}:{path.stem}").stages("sm_90a").values():
        round_trip(stage)
        text = print_function(stage, locations=True)
        again = parse(text)
        assert print_function(again, locations=True) == text
        assert [op.loc for op in again.walk()] == [op.loc for op in stage.walk()]


# Malformed text

HEAD = "kernel @f(%x: i32, %t: global f32[M], %b: bool) warps=4 {\n"
WRONG = [  # a statement (or a whole text), and line, column and words of its error
    ("  %y = ad %x, %x : i32", 2, 8, "no operation ad", "did you mean and or add"),
    ("  %y = add %x %x : i32", 2, 15, "expected ", "found '%x'"),
    ("  %y = add %x, %z : i32", 2, 16, "no value %z", "%x, %t, %b"),
    ("  %y = add %x, %x : f16", 2, 21, "add gives i32 here, but the text says f16"),
    ("  %y = add %x, %x : f61", 2, 21, "no type 'f61'"),
    ("  %y = add %x, %x : i32, i32", 2, 8, "add has 1 result, but 2 types are stated"),
    ("  %y = add %x, %b : i32", 2, 8, "i32 and bool do not mix"),
    ("  %y = neg %t : i32", 2, 8, "neg does not take (global f32[M])"),
    ("  %y = add %x : i32", 2, 8, "add takes 2 operands, not 1", "add takes x, y"),
    ("  %y = add [%x], %x : i32", 2, 8, "x is one value"),
    ("  %y = add %x, none : i32", 2, 8, "y can't be none"),
    ("  store %t, %x, %x dims=[]", 2, 3, "offsets is a list of values in brackets"),
    ("  add %x, %x", 2, 3, "add has 1 result, but no names are given"),
    ("  %a, %c = add %x, %x", 2, 12, "add has 1 result, but 2 names are given"),
    ("  %x = add %x, %x", 2, 3, "%x is defined already"),
    ("  %y = constant value=1 : i32", 2, 8, "constant lacks dtype"),
    ("  %y = constant value=1 dtype=i32 size=1 : i32", 2, 35, "no field of constant size", "value, dtype, shape"),
    ("  %y = constant value=1 value=2 dtype=i32 : i32", 2, 25, "value is given twice"),
    ('  %y = constant value="a" dtype=i32 : i32', 2, 17, 'value is "a", but int | float | bool is wanted'),
    ("  %y = constant value=true dtype=i32 shape=[true] : i32", 2, 38, "shape is [true]"),
    ("  %y = constant value=1 dtype=i32 layout=lokal(2) : i32", 2, 42, "no layout is called 'lokal'"),
    ("  %y = constant value=1 dtype=i32 group=warps(1) : i32", 2, 41, "not a group of warps"),
    ("  %y = constant value=1 dtype=i32 shape=[2 : i32", 2, 44, "expected ',' or ']', but found ':'"),
    ("  %y = constant value=1 dtype=i32 shape=[2] : i32[2 3]", 2, 53, "expected ',', ';' or ']', but found '3'"),
    ("  %y = constant value=1 dtype=i32 shape=[2] : i32[M]", 2, 47, "extents are integers, not M"),
    ("  %y = constant value=1 dtype=i32 shape=[2] : i32[2; shared([2])]", 2, 47, "no layout of registers"),
    ("  %y = constant dtype=i32 value={\n  }", 2, 27, "value is an attribute"),
    ("  for %x, %x, %x, [] body=3", 2, 22, "body is a region"),
    ("  for %x, %x, %x, [] body={\n    %y = neg %x : i32\n  }", 2, 3, "the loop's region takes other values"),
    ("  %r = for %x, %x, %x, [%x] body=(%i: i32, %a: i32) {\n    yield [%a]\n  } : i32\n  %y = neg %a : i32", 5, 12, "no value %a"),
    ("  %y = ", 2, 8, "expected an operation, but the line ends"),
    ("  %y = neg %x : i32 $", 2, 21, "found '$'"),
    ('  print [] texts=["open]', 2, 19, "found '\"'"),
    ("  if %x then={\n  } orelse={\n  }", 2, 3, "a condition is a bool, not i32"),
    ("!oops", 1, 1, "'codebook', 'kernel' or 'layout', but found 'oops'"),
    ("!kernel", 1, 7, "expected the kernel's name, such as @f, but the line ends"),
    ("!kernel @f(%x i32) {\n}", 1, 14, "expected ':', but found 'i32'"),
    ("!kernel @f(%x: i32) warps=4 {\n  %y = add %x, %x", 2, 18, "'}', but the text ends"),
    ("!kernel @f() {\n}\nkernel @g() {\n}", 3, 1, "expected the end of the text, but found 'kernel'"),
    ("!kernel @f() warps=many {\n}", 1, 19, "expected an integer, but found 'many'"),
    ("  %y = constant value=1 dtype=i32 layout=$1 : i32", 2, 42, "there is no layout $1"),
    ("  %y = constant value=1 dtype=i32 shape=[2] : i32[2; $1]", 2, 47, "there is no layout $1"),
    ("!layout $0 = local(2)\nlayout $0 = local(2)\nkernel @f() {\n}", 2, 8, "$0 is defined already"),
    ("!layout $0 = shared([2])\nkernel @f(%x: f16[2; $0]) {\n}", 2, 15, "is no layout of registers"),
    ("!codebook c = [1.0, 2.0, 3.0]\nkernel @f() {\n}", 1, 10, "a codebook has 2, 4, ..."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "words"), [(w[0], w[1], w[2], w[3:]) for w in WRONG])
def test_malformed_text(text: str, line: int, column: int, words: tuple[str, ...]) -> None:
    whole = text[1:] if text.startswith("!") else f"{HEAD}{text}\n}}"
    with pytest.raises(TileError) as caught:
        parse(whole, "bug.tir")
    message = str(caught.value)
    assert caught.value.loc is not None
    assert (caught.value.loc.file, caught.value.loc.line, caught.value.loc.column) == ("bug.tir", line, column), message
    assert all(w in message for w in words), message
    assert message.startswith(f"bug.tir:{line}:{column}: error[TILE")
    assert not whole.strip() or "^" in message


def test_comments_blank_lines_and_types_left_out() -> None:
    f = parse("# a bug\n\nkernel @f(%x: i32) {  # four warps\n\n  %y = add %x, %x  # the sum\n  # nothing\n}\n# end")
    assert [op.result.type for op in f.body.ops] == [TileType(i32)]
    assert f.warps == 4


def test_an_error_in_a_text_without_a_file_shows_its_line() -> None:
    first = "kernel @f(%x: i32) {\n  %first = add %x\n}"
    second = first.replace("first", "second")
    errors = []
    for text in (first, second):
        with pytest.raises(TileError) as caught:
            parse(text)
        errors.append(caught.value)
    assert ["%first" in str(errors[0]), "%second" in str(errors[1])] == [True, True]


def test_what_has_no_textual_form_is_said_by_the_printer() -> None:
    body = Block()
    Builder(body).insert(OPS["print"]((), (object(),)))
    with pytest.raises(TypeError, match="print: attribute texts: object has no textual form"):
        str(function(body=body))


def test_spatial_layouts_of_attributes_are_layouts() -> None:
    (op,) = parse("kernel @f() {\n  %x = arange start=0 stop=32 layout=spatial(32) : i32[32; spatial(32)]\n}").body.ops
    assert op.attributes["layout"] == spatial(32)
