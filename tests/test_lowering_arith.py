"""Elementwise ops and casts as LLVM IR: run on this machine against the ops' meaning in NumPy, and selected for every GPU."""

import operator
import re
from functools import partial

import numpy as np
import pytest
from host import Host

from tilec.backend import arith
from tilec.backend.casts import cast
from tilec.backend.emit import Emitter, llvm_type
from tilec.backend.nvptx import to_ptx
from tilec.backend.target import target
from tilec.errors import Loc, TileError
from tilec.ir import dtypes as D
from tilec.ir.core import Value
from tilec.ir.ops import arith as ops
from tilec.ir.types import TileType
from tilec.sim.run import run_ptx

FLOATS = (D.f16, D.bf16, D.f32, D.f64)
INTS = (D.i16, D.i32, D.i64, D.u16, D.u32, D.u64)
THREADS = 1024
ARCHS = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a")
SHUFFLED = D.Codebook("shuffled", 3, (3.0, -1.5, 0.1, 1e30, -7.25, 16777217.0, 0.1000000001, -1e-40))  # not sorted, not all in f32
LARGE = D.Codebook("large", 6, tuple(((37 * i) % 64 - 20) * 0.375 for i in range(64)))  # a table in memory
TYPES = (*D.all_dtypes(), SHUFFLED, LARGE)


def codes_of(values, dtype):
    return dtype.encode(dtype.round(values), saturate=False)


def where_different(got, want, dtype):
    """Indices of codes that differ, but for NaN of the wide types, which are all the same."""
    nan = np.isnan(dtype.decode(got)) & np.isnan(dtype.decode(want)) if dtype.is_float and dtype.computes else False
    return np.flatnonzero(~((got == want) | nan))


# Numbers to try


def integers(dtype, count):
    """Sums of up to two powers of two, give or take one, of both signs, and random numbers of every length."""
    rng = np.random.default_rng(dtype.bits)
    powers = [0] + [1 << k for k in range(dtype.bits)]
    sums = {s * (p + q) + d for p in powers for q in powers for d in (-1, 0, 1) for s in (1, -1)}
    mask = (1 << dtype.bits) - 1
    numbers = rng.integers(0, 1 << 64, count, np.uint64, endpoint=False) >> rng.integers(0, 64, count).astype(np.uint64)
    return np.concatenate([np.array([s & mask for s in sums], np.uint64), numbers]).astype(dtype.codes)


def boundaries():
    """The values of all narrower types, and the middles between neighbours, where rounding turns."""
    narrow = [t for t in TYPES if t.bits <= 16 and t.kind in ("float", "codebook")]
    for t in narrow:
        values = t.decode(np.arange(1 << t.bits, dtype=t.codes))
        values = np.unique(values[np.isfinite(values)])
        yield from (values, (values[1:] + values[:-1]) / 2)
    yield np.arange(-300.0, 300.0, 0.25)
    yield np.array([s * (2.0**k + d) for k in (15, 16, 31, 32, 63, 64, 127, 128) for d in (-1, -0.5, 0, 0.5, 1) for s in (1, -1)])


def floats(dtype, count):
    """Boundaries and their neighbours in the type, the special values, and random codes."""
    with np.errstate(over="ignore"):
        middle = np.unique(np.concatenate([*boundaries()])).astype(dtype.numpy)
    near = np.concatenate([middle, np.nextafter(middle, dtype.numpy(np.inf)), np.nextafter(middle, dtype.numpy(-np.inf))])
    special = dtype.encode([np.inf, -np.inf, np.nan, 0.0, -0.0], saturate=False)
    rng = np.random.default_rng(dtype.bits)
    random = rng.integers(0, 1 << dtype.bits, count, np.uint64, endpoint=False).astype(dtype.codes)
    return np.concatenate([near.view(dtype.codes), special, random])


def samples(dtype, count=20000):
    """All codes of types of up to 16 bits."""
    if dtype.is_bool:
        return np.array([0, 1], np.uint8)
    if dtype.bits <= 16:
        return np.arange(1 << dtype.bits, dtype=dtype.codes)
    return floats(dtype, count) if dtype.is_float else integers(dtype, count)


def pairs(dtype, arity, count=20000):
    """Each of some tens of values of interest with each, and random ones."""
    rng = np.random.default_rng(arity)
    if dtype.is_float:
        edges = [0.0, -0.0, 1.0, -1.0, 1.5, 3.0, -7.0, np.inf, -np.inf, np.nan, dtype.max, dtype.min]
        edges += [s * f * dtype.smallest_subnormal for s in (1, -1) for f in (1, 3, 2.0**dtype.mantissa_bits)]
        chosen = codes_of(np.array(edges), dtype)
    elif dtype.is_bool:
        chosen = np.array([0, 1], np.uint8)
    else:
        numbers = (0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 63, 64, 1000, -1, -2, -3, -7, -16, -1000, dtype.max, dtype.max - 1, dtype.min)
        chosen = np.array([n & ((1 << dtype.bits) - 1) for n in numbers], dtype.codes)
    crossed = np.stack(np.meshgrid(*[chosen] * arity, indexing="ij")).reshape(arity, -1)
    pool = samples(dtype, count)
    return list(np.concatenate([crossed, rng.choice(pool, (arity, count))], axis=1))


# Casts


@pytest.fixture(scope="module")
def casts():
    host = Host()
    for source in TYPES:
        for to in TYPES:
            if source != to:
                host.add(f"{source}.{to}", [source], to, partial(lambda s, t, e, x: cast(e, x, s, t), source, to))
    return host


def meaning(codes, source, to):
    with np.errstate(all="ignore"):
        values = ops.convert(source.decode(codes), source, to)
        return codes_of(values, to) if to.computes else to.encode(values)


@pytest.mark.parametrize("source", TYPES, ids=str)
def test_casts(casts, source):
    given = samples(source)
    for to in TYPES:
        if to != source:
            got, want = casts.run(f"{source}.{to}", given), meaning(given, source, to)
            wrong = where_different(got, want, to)
            assert not wrong.size, (source, to, given[wrong[:3]], source.decode(given[wrong[:3]]), got[wrong[:3]], want[wrong[:3]])


def test_casts_survive_optimization():
    types = (D.f16, D.bf16, D.f32, D.f64, D.i32, D.u64, D.int3, D.float8_e4m3, D.float8_e8m0, SHUFFLED)
    host = Host(optimize=True)
    for source in types:
        for to in types:
            host.add(f"{source}.{to}", [source], to, partial(lambda s, t, e, x: cast(e, x, s, t), source, to))
    for source in types:
        given = samples(source, 2000)
        for to in types:
            if source != to:
                assert not where_different(host.run(f"{source}.{to}", given), meaning(given, source, to), to).size, (source, to)


CUT = [(D.i16, [3, -1, 0, 32767, -7, 32767, 0, 0]), (D.u32, [3, 0, 0, 2**32 - 1, 0, 2**24 + 1, 0, 0])]


@pytest.mark.parametrize(("to", "want"), CUT, ids=["i16", "u32"])
def test_entries_of_a_codebook_are_cut_off_and_saturated(casts, to, want):
    got = casts.run(f"shuffled.{to}", np.arange(8, dtype=np.uint8))
    assert to.decode(got).tolist() == want


def test_a_cast_to_its_own_type_is_nothing():
    e = Emitter()
    assert cast(e, "%x", D.nf4, D.nf4) == "%x"
    assert e.text == []


# Exact ops


def arity(kind):
    return sum(f.annotation == "Value" for f in kind.fields)


def make(kind, dtype):
    """An op of that class on scalars of a type, or None if its type rule refuses it."""
    types = [D.bool_, dtype, dtype] if kind is ops.Where else [dtype] * arity(kind)
    op = kind(*[Value(TileType(t, ())) for t in types])
    try:
        op.results = (Value(op.infer()),)
    except TileError:
        return None
    return op


def lowered(e, op, *operands):
    return arith.lower(e, op, operands, target("sm_80"))


class NoZero:
    def fail(self, where, message):
        raise AssertionError(message)


def stated(kind):
    """Whether the class has an error bound rather than being exact."""
    return issubclass(kind, ops.Math) and kind.relative > 0


KINDS = tuple(arith.RULES)
MADE = {(kind, d): op for kind in KINDS for d in (*FLOATS, *INTS, D.bool_) if (op := make(kind, d)) and not (stated(kind) and d == D.f64)}
EXACT = [(kind, d) for kind, d in MADE if not stated(kind) and not (kind is ops.Fma and d.bits == 16)]  # hosts have no 16-bit fma


def name(key):
    return f"{key[0].__name__}.{key[1]}"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "optimized"])
def exact(request):
    host = Host(optimize=request.param)
    for key in EXACT:
        op = MADE[key]
        host.add(name(key), [v.type.dtype for v in op.operands], op.results[0].type.dtype, partial(lambda o, e, *x: lowered(e, o, *x), op))
    return host


def inputs(kind, dtype):
    if kind is ops.Where:
        x, y = pairs(dtype, 2)
        return [(np.arange(x.size) % 3 == 0).astype(np.uint8), x, y]
    given = pairs(dtype, arity(kind), 5000)
    if issubclass(kind, ops.IntegerDivision):
        given = [g[given[1] != 0] for g in given]
    return given


@pytest.mark.parametrize("kind", sorted({k for k, _ in EXACT}, key=lambda k: k.__name__), ids=lambda k: k.__name__)
def test_exact_ops(exact, kind):
    for dtype in [d for k, d in EXACT if k is kind]:
        given = inputs(kind, dtype)
        check_exact(MADE[kind, dtype], given, exact.run(name((kind, dtype)), *given))


def check_exact(op, given, got):
    operands = [v.type.dtype.decode(g) for v, g in zip(op.operands, given, strict=True)]
    result = op.results[0].type.dtype
    with np.errstate(all="ignore"):
        want = codes_of(op.eval(NoZero(), *operands), result)
    if isinstance(op, ops.Minimum | ops.Maximum) and result.is_float:  # of two zeros either may be the smaller
        got, want = (np.where(result.decode(c) == 0, 0, c).astype(result.codes) for c in (got, want))
    wrong = where_different(got, want, result)[:3]
    assert not wrong.size, (result, [x[wrong] for x in operands], got[wrong], want[wrong])


@pytest.mark.parametrize(("kind", "python"), [(ops.FloorDiv, operator.floordiv), (ops.Mod, operator.mod)])
@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_division_is_that_of_python(exact, kind, python, dtype):
    x, y = inputs(kind, dtype)
    mask = (1 << dtype.bits) - 1
    want = [python(int(a), int(b)) & mask for a, b in zip(dtype.decode(x), dtype.decode(y), strict=True)]
    np.testing.assert_array_equal(exact.run(name((kind, dtype)), x, y), np.array(want, dtype.codes))


@pytest.mark.parametrize("by", [1, 8, 1 << 14, 7, -1, -8])
def test_division_by_constants(by):
    host = Host(optimize=True)
    for kind in (ops.FloorDiv, ops.Mod):
        host.add(kind.__name__, [D.i16], D.i16, partial(lambda k, e, x: arith.combine(e, k, D.i16, x, str(by)), kind))
    codes = np.arange(1 << 16, dtype=np.uint16)
    x = D.i16.decode(codes)
    np.testing.assert_array_equal(D.i16.decode(host.run("FloorDiv", codes)), D.i16.round(x // by))
    np.testing.assert_array_equal(D.i16.decode(host.run("Mod", codes)), x % by)


def test_division_by_a_power_of_two_is_a_shift():
    e = Emitter()
    arith.combine(e, ops.FloorDiv, D.i32, "%x", "32")
    arith.combine(e, ops.Mod, D.i32, "%x", "32")
    assert [line.split("= ")[1] for line in e.text] == ["ashr i32 %x, 5", "and i32 %x, 31"]


@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_division_by_zero_harms_no_other_value(dtype):
    """A test of the divisor after the division must not be taken for granted."""
    host = Host(optimize=True)

    def guarded(e, x, y):
        quotient = arith.combine(e, ops.FloorDiv, dtype, x, y)
        zero = arith.combine(e, ops.Eq, dtype, y, "0")
        return arith.lower(e, MADE[ops.Where, dtype], [zero, "42", quotient], target("sm_80"))

    host.add("f", [dtype, dtype], dtype, guarded)
    got = host.run("f", np.array([5, 5, 0], dtype.codes), np.array([0, 2, 0], dtype.codes))
    assert got.tolist() == [42, 2, 42]


# Approximations


STATED = [key for key in MADE if stated(key[0])]


@pytest.mark.parametrize("skew", [-1.0, 0.0, 1.0])
def test_bounds_hold_for_the_worst_hardware_allowed(skew):
    host = Host(skew=skew)
    for key in STATED:
        host.add(name(key), [key[1]], key[1], partial(lambda o, e, x: lowered(e, o, x), MADE[key]))
    for kind, dtype in STATED:
        codes = samples(dtype, 100_000)
        check_bound(kind, dtype, codes, host.run(name((kind, dtype)), codes))


def check_bound(kind, dtype, codes, results):
    x, got = dtype.decode(codes), dtype.decode(results)
    with np.errstate(all="ignore"):
        want, bound = kind.function(x), kind.error(dtype, x)
        good = (np.abs(got - want) <= bound) | (got == want) | (np.isnan(got) & np.isnan(want))
        overflows = (got == np.copysign(np.inf, want)) | (np.abs(got - want) < np.abs(want) * 2**-8)
    good = np.where(np.isinf(bound), overflows, good)
    assert good.all(), (kind, dtype, x[~good][:3], got[~good][:3], want[~good][:3], bound[~good][:3])


def test_bounds():
    """The stated relative errors, and half a place of the narrow types: 2**-11 of f16 and 2**-8 of bf16 at 1, both halved."""
    x = np.array([1.0])
    assert ops.Exp.error(D.f32, x)[0] == pytest.approx(np.e * 2**-21.4)
    assert ops.Exp2.error(D.f32, x - 1)[0] == pytest.approx(2**-22)
    assert ops.Log.error(D.f32, x)[0] == pytest.approx(2**-21.4)
    assert ops.Log.error(D.f32, x * 4)[0] == pytest.approx(np.log(4) * 2**-21.4)
    assert ops.Exp2.error(D.f16, x - 1)[0] == pytest.approx(2**-11 + 2**-22)
    assert ops.Tanh.error(D.bf16, x * 10)[0] == pytest.approx(2**-8, rel=1e-3)
    assert ops.Sqrt.error(D.f32, x)[0] == 2**-24
    assert ops.Exp.error(D.f32, x * 88.73)[0] == np.inf
    assert np.isnan(ops.Log.error(D.f32, -x)[0])


@pytest.mark.parametrize("kind", sorted({k for k, _ in STATED}, key=lambda k: k.__name__))
def test_functions_of_f64_are_refused_at_their_place(kind):
    op = make(kind, D.f64)
    op.loc = Loc("kernel.py", 7)
    with pytest.raises(TileError, match=f"no {kind.builtin} of f64") as error:
        lowered(Emitter(), op, "%x")
    assert error.value.loc == op.loc
    assert "f32" in error.value.hint


# Selection


def kernel(items):
    """One kernel that loads operands, computes each of the (input types, output type, emit), and stores the results.

    A thread's operand i of item n is element 3 * n + i of %in, the result element n of %out, all in rows of as many elements as there
    are threads, 8 bytes each.
    """
    e = Emitter()
    thread = e.call("i32", "llvm.nvvm.read.ptx.sreg.tid.x")

    def place(array, number):
        row = e.let(f"getelementptr i8, ptr addrspace(1) %{array}, i64 {8 * THREADS * number}")
        return e.let(f"getelementptr i64, ptr addrspace(1) {row}, i32 {thread}")

    for n, (types, result, emit) in enumerate(items):
        operands = [e.let(f"load {llvm_type(t)}, ptr addrspace(1) {place('in', 3 * n + i)}") for i, t in enumerate(types)]
        e.line(f"store {llvm_type(result)} {emit(e, *operands)}, ptr addrspace(1) {place('out', n)}")
    text = "\n".join(e.text)
    signature = 'define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) "nvvm.reqntid"="1024,1,1"'
    return "\n".join(e.declared) + f"\n{signature} {{\nentry:\n{text}\n  ret void\n}}\n"


def item(op):
    return [v.type.dtype for v in op.operands], op.results[0].type.dtype, partial(lambda o, e, *x: lowered(e, o, *x), op)


@pytest.mark.parametrize("arch", ARCHS)
def test_every_op_is_selected(arch):
    ptx = to_ptx(kernel([item(op) for op in MADE.values()]), arch)
    assert "call" not in re.findall(r"[a-z]+", ptx)
    flushing = {line.split()[0] for line in ptx.splitlines() if ".ftz" in line}
    inside = {"ex2.approx.ftz.f32", "rcp.approx.ftz.f32"}  # of tanh, sigmoid and erf, which lose nothing by it
    asked = {"lg2.approx.ftz.f32", "rsqrt.approx.ftz.f32"}
    assert flushing == {*inside, *asked, "sin.approx.ftz.f32", "cos.approx.ftz.f32"}  # and what authors ask for
    exact = ["div.rn.f32", "div.rn.f64", "sqrt.rn.f32", "sqrt.rn.f64", "fma.rn.f16", "fma.rn.bf16", "min.NaN.f32", "max.NaN.bf16"]
    assert [i for i in exact if i not in ptx] == []


CHOSEN = (*FLOATS, *INTS, D.bool_, D.int3, D.uint8, D.float6_e3m2, D.float8_e4m3, D.float8_e5m2, D.float8_e8m0, D.nf4, LARGE)
CASTS = [(s, t) for s in CHOSEN for t in CHOSEN if s != t]


def cast_kernel(pairs):
    return kernel([([s], t, partial(lambda s, t, e, x: cast(e, x, s, t), s, t)) for s, t in pairs])


@pytest.mark.parametrize("arch", ["sm_80", "sm_100a"])
def test_casts_are_selected(arch):
    ptx = to_ptx(cast_kernel(CASTS), arch)
    assert "cvt.rn.f16.f32" in ptx
    assert "cvt.rn.bf16.f32" in ptx
    assert ".ftz" not in ptx


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS, D.bool_], ids=str)
def test_simulated(dtype):
    """What LLVM made of it, 16-bit arithmetic included: each thread of a block takes some of the operands.

    fma of f64 is left to the host: the simulator gives NaN where a product that overflows meets an infinite addend of the other sign.
    """
    made = [op for (kind, d), op in MADE.items() if d == dtype and (kind, d) != (ops.Fma, D.f64)]
    rng = np.random.default_rng(1)
    given, memory = [], np.zeros((3 * len(made), THREADS), np.uint64)
    for n, op in enumerate(made):
        every = [samples(dtype)] if stated(type(op)) else inputs(type(op), dtype)
        chosen = rng.integers(0, every[0].size, THREADS)
        given.append([x[chosen] for x in every])
        memory[3 * n : 3 * n + len(every)] = given[-1]
    out = np.zeros((len(made), THREADS), np.uint64)
    run_ptx(to_ptx(kernel([item(op) for op in made]), "sm_80"), "k", (1,), (THREADS,), [memory, out], checks=False, costs=False)
    for op, operands, row in zip(made, given, out, strict=True):
        results = row.astype(op.results[0].type.dtype.codes)
        if stated(type(op)):
            check_bound(type(op), dtype, *operands, results)
        else:
            check_exact(op, operands, results)


def test_casts_simulated():
    rng = np.random.default_rng(2)
    codes = {s: rng.choice(samples(s, 2000), THREADS) for s in CHOSEN}
    memory, out = np.zeros((3 * len(CASTS), THREADS), np.uint64), np.zeros((len(CASTS), THREADS), np.uint64)
    memory[::3] = [codes[s] for s, _ in CASTS]
    run_ptx(to_ptx(cast_kernel(CASTS), "sm_80"), "k", (1,), (THREADS,), [memory, out], checks=False, costs=False)
    for (source, to), row in zip(CASTS, out, strict=True):
        assert not where_different(row.astype(to.codes), meaning(codes[source], source, to), to).size, (source, to)
