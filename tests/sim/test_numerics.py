"""Formats, float arithmetic and conversions of the PTX simulator against exact fractions, ml_dtypes and NumPy."""

import itertools
import math
import sys
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from tilec.sim import formats
from tilec.sim import numerics as nm
from tilec.sim.convert import cvt, cvt_from_x2, cvt_pack, cvt_x2, cvt_x4

from .rounding import MODES, SHAPES, bits, floats, rounded, to_integer

INDEPENDENT = {  # PTX name, NumPy type of the same format
    "f16": np.float16, "bf16": ml_dtypes.bfloat16, "e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2,
    "e2m1": ml_dtypes.float4_e2m1fn, "e2m3": ml_dtypes.float6_e2m3fn, "e3m2": ml_dtypes.float6_e3m2fn, "ue8m0": ml_dtypes.float8_e8m0fnu,
}
WIDTHS = {"f16": 16, "bf16": 16, "e4m3": 8, "e5m2": 8, "e2m1": 4, "e2m3": 6, "e3m2": 6, "ue8m0": 8}
UINT = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


def all_codes(kind):
    width = WIDTHS[kind]
    return np.arange(1 << width, dtype=np.uint16 if width == 16 else np.uint8)


def same(a, b):
    """Equal values, signs of zero included, NaN equal to NaN."""
    return (np.isnan(a) & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b)))


def interesting(kind, rng, count=400):
    """Patterns of a float type: zeros, infinities, NaN, subnormals, powers of two and their neighbours, and random ones."""
    precision, _, _ = SHAPES[kind]
    width = 32 if kind == "tf32" else {"f16": 16, "bf16": 16, "f32": 32, "f64": 64}[kind]
    exponents = np.arange(0, 1 << (width - precision), dtype=np.uint64)
    if len(exponents) > 64:
        exponents = np.concatenate([exponents[:3], rng.choice(exponents, 40), exponents[-3:]])
    edges = [(int(e) << (precision - 1)) + d for e in exponents for d in (0, 1, -1)]
    values = np.array([e % (1 << width) for e in edges], np.uint64)
    values = np.concatenate([values, rng.integers(0, 1 << width, count, dtype=np.uint64, endpoint=False)])
    values = np.concatenate([values, values ^ np.uint64(1 << (width - 1))])
    return rng.permutation(values).astype(UINT[width])


# -- formats ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_decode_agrees_with_ml_dtypes_on_every_code(kind):
    codes = all_codes(kind)
    want = codes.view(INDEPENDENT[kind]).astype(np.float64)
    assert same(formats.decode(codes, formats.FORMATS[kind]), want).all()


def grid_round(values, kind, mode):
    """Codes of magnitudes by looking up the sorted list of all values: an independent statement of the five rounding modes.

    Returns codes; one beyond the largest stands for overflow.
    """
    codes = np.arange(1 << (WIDTHS[kind] - 1), dtype=np.uint16 if WIDTHS[kind] == 16 else np.uint8)
    grid = codes.view(INDEPENDENT[kind]).astype(np.float64)
    grid = grid[np.isfinite(grid)]
    grid = np.append(grid, 2 * grid[-1] - grid[-2])
    size = np.minimum(np.abs(values), grid[-1])
    low = np.minimum(np.searchsorted(grid, size, "right") - 1, len(grid) - 2)
    below, above = grid[low], grid[low + 1]
    exact, beyond = size == below, size >= above
    negative = np.signbit(values)
    tie, upper = 2 * size == below + above, 2 * size > below + above
    up = {
        "rn": upper | (tie & (low % 2 == 1)), "rna": upper | tie, "rz": np.zeros_like(tie),
        "rm": negative & ~exact, "rp": ~negative & ~exact,
    }[mode]
    return low + (up | beyond)


@pytest.mark.parametrize("mode", ["rn", "rna", "rz", "rm", "rp"])
@pytest.mark.parametrize("kind", ["e4m3", "e5m2", "e2m1", "e2m3", "e3m2"])
def test_encode_of_every_f16_and_bf16_to_narrow_floats(kind, mode):
    every = np.arange(1 << 16, dtype=np.uint16)
    values = np.concatenate([every.view(np.float16).astype(np.float64), every.view(ml_dtypes.bfloat16).astype(np.float64)])
    form = formats.FORMATS[kind]
    got = formats.encode(values, form, mode, satfinite=True)
    finite = ~np.isnan(values)
    want = np.minimum(grid_round(values[finite], kind, mode), form.largest) + np.where(np.signbit(values[finite]), form.sign, 0)
    np.testing.assert_array_equal(got[finite], want)
    assert (got[~finite] == {"e4m3": 0x7F, "e5m2": 0x7F, "e2m1": 7, "e2m3": 31, "e3m2": 31}[kind]).all()


@pytest.mark.parametrize("kind", ["e4m3", "e5m2", "e2m1", "e2m3", "e3m2", "f16", "bf16"])
def test_encode_to_nearest_agrees_with_ml_dtypes(kind):
    rng = np.random.default_rng(1)
    values = np.concatenate([np.arange(1 << 16, dtype=np.uint16).view(np.float16), rng.standard_normal(20000) * 8]).astype(np.float32)
    form = formats.FORMATS[kind]
    top = {"e4m3": 448, "e5m2": 57344, "e2m1": 6, "e2m3": 7.5, "e3m2": 28, "f16": 65504, "bf16": 3e38}[kind]
    values = values[np.abs(values) <= top]
    want = values.astype(INDEPENDENT[kind]).view(form.dtype)
    np.testing.assert_array_equal(formats.encode(values.astype(np.float64), form), want)


@pytest.mark.parametrize("mode", ["rn", "rna", "rz", "rm", "rp"])
@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_f32_to_sixteen_bits_in_every_mode(kind, mode):
    rng = np.random.default_rng(2)
    codes = np.arange(1 << 15, dtype=np.uint16)
    grid = codes.view(INDEPENDENT[kind]).astype(np.float64)
    grid = grid[np.isfinite(grid)]
    middle = (grid[1:] + grid[:-1]) / 2
    values = np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf), rng.standard_normal(5000) * 1e5, [3e38, 1e30]])
    values = np.concatenate([values, -values])
    form = formats.FORMATS[kind]
    want = grid_round(values, kind, mode)
    largest, inf = form.largest, form.inf
    stays = {"rz": np.ones(len(values), bool), "rm": values > 0, "rp": values < 0}.get(mode, np.zeros(len(values), bool))
    want = np.where(want > largest, np.where(stays, largest, inf), want) + np.where(values < 0, 0x8000, 0)
    np.testing.assert_array_equal(formats.encode(values, form, mode), want)


def test_ue8m0_takes_the_binade_or_the_next():
    values = np.array([1.0, 1.5, 2.0**127, 0.0, 2.0**-127, 2.0**-140, np.nan, np.inf, -3.0])
    assert formats.encode(values, formats.UE8M0, "rz").tolist() == [127, 127, 254, 0, 0, 0, 255, 254, 128]
    assert formats.encode(values, formats.UE8M0, "rp").tolist() == [127, 128, 254, 0, 0, 0, 255, 254, 129]


def test_stochastic_rounding_adds_and_truncates():
    # 1 + 2^-10 + 3 * 2^-12 lies 3/4 of the way from 0x3C01 to 0x3C02: of 2^13 random tails exactly the upper 3/4 round up.
    random = np.arange(1 << 13, dtype=np.uint32)
    value = np.full(1 << 13, 1 + 2.0**-10 + 3 * 2.0**-12)
    got = formats.encode(value, formats.F16, "rs", random=random, random_bits=13)
    assert (got == 0x3C02).sum() == 3 << 11
    assert (got == 0x3C01).sum() == 1 << 11
    assert ((got == 0x3C02) == (random >= 1 << 11)).all()


def test_flush_keeps_the_sign():
    x = np.array([1, 0x80000001, 0x00800000, 0x807FFFFF], np.uint32)
    assert formats.flush(x, formats.F32).tolist() == [0, 0x80000000, 0x00800000, 0x80000000]


# -- arithmetic, rounded once -----------------------------------------------------------------------------------------------------------


def check(kind, got, exact, operands, mode):
    """Compare bits with fractions; `exact` is a function of Fractions, skipped where an operand is infinite or NaN."""
    values = [floats(x, kind) for x in operands]
    for at in range(len(got)):
        args = [float(v[at]) for v in values]
        if not all(map(math.isfinite, args)):
            continue
        want = exact(*map(Fraction, args))
        if want is None or want == 0:
            continue  # the sign of zero has tests of its own
        expected = rounded(want, kind, mode)
        assert floats(got[at : at + 1], kind)[0] == expected, (kind, mode, args)


ARITHMETIC = {
    "add": (nm.add, lambda a, b: a + b), "sub": (nm.sub, lambda a, b: a - b), "mul": (nm.mul, lambda a, b: a * b),
    "fma": (nm.fma, lambda a, b, c: a * b + c),
}


@pytest.mark.parametrize(("kind", "mode"), [("f16", "rn"), ("bf16", "rn"), *itertools.product(["f32", "f64"], MODES)])
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_rounds_once(name, kind, mode):
    instruction, exact = ARITHMETIC[name]
    rng = np.random.default_rng(len(name + kind))
    pool = interesting(kind, rng)
    count = 400 if kind in ("f32", "f64") else 1500
    operands = [np.concatenate([rng.permutation(pool) for _ in range(2)])[:count] for _ in range(exact.__code__.co_argcount)]
    check(kind, instruction(kind, *operands, rounding=mode), exact, operands, mode)


def close_calls(kind, rng, count=300):
    """a, b, c with a * b within a hair of a tie of the format, and c far below: where rounding twice goes wrong."""
    precision = SHAPES[kind][0]
    rows = []
    while len(rows) < count:
        # An odd integer of precision + 1 bits is a tie; find its factors.
        a = int(rng.integers(1 << (precision // 2), 1 << (precision // 2 + 1))) | 1
        b = (1 << (precision + 1)) // a | 1
        tie = a * b
        if tie.bit_length() != precision + 1:
            continue
        scale = int(rng.integers(-20, 20))
        tail = float(rng.choice([1, -1]) * 2.0 ** int(rng.integers(-70, -2)))
        rows.append((a * 2.0**scale, float(b), tail * 2.0**scale))
    return [bits(np.array(x), kind) for x in zip(*rows, strict=True)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_fma_near_ties(kind, mode):
    operands = close_calls(kind, np.random.default_rng(3))
    check(kind, nm.fma(kind, *operands, rounding=mode), ARITHMETIC["fma"][1], operands, mode)


def test_fma_f32_that_would_round_twice_through_f64():
    # (2^12 + 1)^2 = 2^24 + 2^13 + 1 is a tie of f32; adding 2^-60 must decide it, but is lost in float64.
    a = bits(np.array([4097.0]), "f32")
    c = bits(np.array([2.0**-60]), "f32")
    assert floats(nm.fma("f32", a, a, c), "f32")[0] == 16785410.0
    assert floats(nm.fma("f32", a, a, c ^ np.uint32(1 << 31)), "f32")[0] == 16785408.0


def test_fma_f64_at_the_ends_of_the_range():
    rng = np.random.default_rng(4)
    exponents = [-1074, -1060, -1022, -1000, -537, -500, 0, 500, 511, 512, 1000, 1023]
    rows = [[math.ldexp(1 + rng.random(), e) * rng.choice([1, -1]) for e in es] for es in itertools.product(exponents, repeat=3)]
    operands = [bits(np.array(x), "f64") for x in zip(*rows, strict=True)]
    check("f64", nm.fma("f64", *operands), ARITHMETIC["fma"][1], operands, "rn")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_division_and_roots_round_once(kind, mode):
    rng = np.random.default_rng(5)
    pool = interesting(kind, rng)
    a, b = rng.permutation(pool)[:400], rng.permutation(pool)[:400]
    check(kind, nm.div(kind, a, b, rounding=mode), lambda x, y: x / y if y else None, (a, b), mode)
    check(kind, nm.rcp(kind, b, rounding=mode), lambda y: 1 / y if y else None, (b,), mode)
    root = floats(nm.sqrt(kind, a, rounding=mode), kind)
    for x, r in zip(floats(a, kind), root, strict=True):
        if not (math.isfinite(x) and x > 0):
            continue
        square = Fraction(float(x))
        # sqrt(square) lies between the neighbours of r, and on the right side of r.
        step = np.float32 if kind == "f32" else np.float64
        low, high = (Fraction(float(np.nextafter(step(r), step(to)))) for to in (0, np.inf))
        mine = Fraction(float(r))
        match mode:
            case "rn":
                assert ((low + mine) / 2) ** 2 <= square <= ((high + mine) / 2) ** 2
            case "rp":
                assert low**2 < square <= mine**2
            case _:
                assert mine**2 <= square < high**2


def test_zero_and_infinity_and_nan():
    f = lambda *x: bits(np.array(x), "f32")  # noqa: E731
    zero, one, inf, nan = f(0.0), f(1.0), f(np.inf), np.array([0xFFC12345], np.uint32)
    minus = np.uint32(0x80000000)
    assert nm.add("f32", one, one ^ minus, rounding="rm")[0] == minus
    assert nm.add("f32", one, one ^ minus, rounding="rp")[0] == 0
    assert nm.add("f32", zero, zero, rounding="rm")[0] == 0
    assert nm.fma("f32", one, zero ^ minus, zero ^ minus)[0] == minus
    assert nm.fma("f32", one, one, one ^ minus, rounding="rm")[0] == minus
    for got in (
        nm.add("f32", inf, inf ^ minus), nm.mul("f32", inf, zero), nm.add("f32", nan, one), nm.fma("f32", one, nan, one, rounding="rz"),
        nm.div("f32", zero, zero), nm.sqrt("f32", one ^ minus), nm.lg2("f32", one ^ minus),
    ):
        assert got[0] == 0x7FFFFFFF
    assert nm.add("f16x2", np.array([0x7C003C00], np.uint32), np.array([0xFC003C00], np.uint32))[0] == 0x7FFF4000
    assert nm.div("f32", one, zero ^ minus, rounding="rz")[0] == 0xFF800000
    assert nm.rcp("f32", zero)[0] == 0x7F800000
    assert nm.rsqrt("f32", zero ^ minus)[0] == 0xFF800000
    assert nm.add("f64", bits(np.array([np.inf]), "f64"), bits(np.array([1.0]), "f64"), rounding="rz")[0] == 0x7FF0000000000000
    big = bits(np.array([1.7e308]), "f64")
    assert floats(nm.add("f64", big, big, rounding="rz"), "f64")[0] == sys.float_info.max


def test_ftz_sat_and_relu():
    tiny = np.array([0x00000001, 0x80000001], np.uint32)
    one = bits(np.array([1.0]), "f32")
    assert nm.mul("f32", tiny, one, ftz=True).tolist() == [0, 0x80000000]
    assert nm.mul("f32", tiny, one).tolist() == [1, 0x80000001]
    half = bits(np.array([2.0**-126, 2.0**-1]), "f32")
    assert nm.mul("f32", half[:1], half[1:], ftz=True)[0] == 0
    x = bits(np.array([-2.0, 0.25, 3.0, np.nan, -0.0]), "f32")
    assert floats(nm.add("f32", x, bits(np.array([0.0]), "f32"), sat=True), "f32").tolist() == [0, 0.25, 1, 0, 0]
    h = bits(np.array([-2.0, 0.25]), "f16")
    assert floats(nm.fma("f16", h, bits(np.array([1.0]), "f16"), bits(np.array([0.0]), "f16"), relu=True), "f16").tolist() == [0, 0.25]


def test_packed_types_are_two_scalars():
    rng = np.random.default_rng(6)
    a, b, c = (rng.integers(0, 1 << 32, (3, 64), dtype=np.uint32) for _ in range(3))
    for kind in ("f16", "bf16"):
        for function, args in ((nm.add, (a, b)), (nm.fma, (a, b, c)), (nm.minimum, (a, b)), (nm.tanh, (a,)), (nm.neg, (a,))):
            whole = function(kind + "x2", *args)
            for shift in (0, 16):
                parts = [(x >> np.uint32(shift)).astype(np.uint16) for x in args]
                np.testing.assert_array_equal((whole >> np.uint32(shift)).astype(np.uint16), function(kind, *parts))


def test_uniform_registers_broadcast():
    a, b = bits(np.ones((4, 1)), "f32"), bits(np.full((1, 32), 2.0), "f32")
    assert nm.add("f32", a, b).shape == (4, 32)
    assert nm.fma("f16x2", np.full((1, 1), 0x3C003C00, np.uint32), b, b).shape == (1, 32)


def test_operands_are_left_alone():
    rng = np.random.default_rng(7)
    a = rng.integers(0, 1 << 32, (2, 32), dtype=np.uint32)
    a.setflags(write=False)
    for function, count in ((nm.add, 2), (nm.fma, 3), (nm.maximum, 2), (nm.ex2, 1), (nm.neg, 1)):
        function("f32", *[a] * count, ftz=True)
    cvt("s32", "f32", a, ftz=True)
    cvt_x2("f16x2", "f32", a, a)


# -- minimum, maximum, comparison, signs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
def test_minimum_and_maximum(kind):
    v = np.array([-np.inf, -1.5, -0.0, 0.0, 2.0, np.inf])
    a, b = (x.ravel() for x in np.meshgrid(v, v))
    index = np.arange(6)
    i, j = (x.ravel() for x in np.meshgrid(index, index))  # the list is in order, -0 before +0
    for function, choose in ((nm.minimum, np.minimum), (nm.maximum, np.maximum)):
        np.testing.assert_array_equal(function(kind, bits(a, kind), bits(b, kind)), bits(v[choose(i, j)], kind))
    nan, one = bits(np.array([np.nan]), kind), bits(np.array([1.0]), kind)
    canonical = {"f32": 0x7FFFFFFF, "f64": formats.F64.nan}.get(kind, 0x7FFF)
    assert nm.minimum(kind, nan, one) == one
    assert nm.maximum(kind, one, nan) == one
    assert nm.maximum(kind, nan, nan) == canonical
    assert nm.maximum(kind, one, nan, nan=True) == canonical
    if kind != "f64":
        two, minus3 = bits(np.array([2.0]), kind), bits(np.array([-3.0]), kind)
        assert floats(nm.minimum(kind, two, minus3, xorsign_abs=True), kind) == -2.0
        assert floats(nm.maximum(kind, minus3, minus3, xorsign_abs=True), kind) == 3.0
        assert floats(nm.maximum(kind, two, minus3, one, abs=True), kind) == 3.0
        assert floats(nm.minimum(kind, two, minus3, relu=True), kind) == 0.0


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
def test_comparisons_of_floats(kind):
    v = [-1.0, -0.0, 0.0, 2.0, math.inf, math.nan]
    a, b = (np.array(x) for x in zip(*itertools.product(v, v), strict=True))
    plain = {"eq": "==", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
    for op, sign in plain.items():
        want = [eval(f"x {sign} y") for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        either = np.isnan(a) | np.isnan(b)
        assert nm.compare(op, kind, bits(a, kind), bits(b, kind)).tolist() == want
        assert nm.compare(op + "u", kind, bits(a, kind), bits(b, kind)).tolist() == (np.array(want) | either).tolist()
    differ = np.array([x < y or x > y for x, y in zip(a, b, strict=True)])
    assert (nm.compare("ne", kind, bits(a, kind), bits(b, kind)) == differ).all()
    assert (nm.compare("neu", kind, bits(a, kind), bits(b, kind)) == (differ | either)).all()
    assert (nm.compare("nan", kind, bits(a, kind), bits(b, kind)) == either).all()
    assert (nm.compare("num", kind, bits(a, kind), bits(b, kind)) == ~either).all()


def test_comparisons_of_integers_and_set():
    a, b = np.array([0xFFFFFFFF, 1], np.uint32), np.array([1, 0xFFFFFFFF], np.uint32)
    assert nm.compare("lt", "s32", a, b).tolist() == [True, False]
    assert nm.compare("lt", "u32", a, b).tolist() == [False, True]
    assert nm.compare("hi", "u32", a, b).tolist() == [True, False]
    assert nm.set_value(np.array([True, False]), "u32").tolist() == [0xFFFFFFFF, 0]
    assert nm.set_value(np.array([True, False]), "f32").tolist() == [0x3F800000, 0]
    assert nm.set_value(np.array([[True, False]]), "f16x2").tolist() == [0x00003C00]


def test_signs_and_testp():
    x = np.array([0x80000001, 0x7F800000, 0x7FC00000, 0, 0x3F800000], np.uint32)
    assert nm.neg("f32", x, ftz=True)[0] == 0
    assert nm.absolute("f32", x)[0] == 1
    assert nm.copysign("f32", x[:1], x[4:])[0] == 0xBF800000
    table = {"finite": "10011", "infinite": "01000", "number": "11011", "notanumber": "00100", "normal": "00001", "subnormal": "10000"}
    for op, want in table.items():
        assert "".join(str(int(t)) for t in nm.testp(op, "f32", x)) == want


# -- approximate functions --------------------------------------------------------------------------------------------------------------

DOCUMENTED = [  # instruction, reference, range, relative and absolute error of the manual
    (nm.ex2, lambda x: 2.0**x, (-120, 120), 2.0**-22, 0), (nm.lg2, math.log2, (1e-30, 1e30), 2.0**-22, 2.0**-22),
    (nm.sin, math.sin, (-3.1, 3.1), 0, 2.0**-20.5), (nm.cos, math.cos, (-3.1, 3.1), 0, 2.0**-20.5),
    (nm.tanh, math.tanh, (-8, 8), 2.0**-11, 0), (nm.rsqrt, lambda x: x**-0.5, (1e-30, 1e30), 2.0**-22.9, 0),
]


@pytest.mark.parametrize(("function", "reference", "span", "relative", "absolute"), DOCUMENTED)
def test_approximate_functions_keep_their_documented_error(function, reference, span, relative, absolute):
    x = bits(np.random.default_rng(8).uniform(*span, 500), "f32")
    for value, got in zip(floats(x, "f32").tolist(), floats(function("f32", x, ftz=True), "f32").tolist(), strict=True):
        want = reference(value)
        assert abs(got - want) <= relative * abs(want) + absolute


def test_approximate_special_values():
    x = bits(np.array([np.inf, -np.inf, 0.0, -0.0]), "f32")
    assert floats(nm.ex2("f32", x), "f32").tolist() == [np.inf, 0, 1, 1]
    assert nm.lg2("f32", x)[2:].tolist() == [0xFF800000, 0xFF800000]
    assert nm.sin("f32", x).tolist() == [0x7FFFFFFF, 0x7FFFFFFF, 0, 0x80000000]
    big, two = bits(np.array([2.0**127]), "f32"), bits(np.array([2.0, np.inf]), "f32")
    assert nm.div("f32", two, big, rounding="approx").tolist() == [0, 0x7FFFFFFF]
    assert floats(nm.div("f32", two[:1], big, rounding="full"), "f32")[0] == 2.0**-126
    assert nm.rcp("f64", bits(np.array([3.0]), "f64"), rounding="approx", ftz=True)[0] == 0x3FD5555500000000


# -- cvt --------------------------------------------------------------------------------------------------------------------------------

INTEGERS = ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"]


def span(kind):
    n = int(kind[1:])
    return (-(1 << (n - 1)), (1 << (n - 1)) - 1) if kind[0] == "s" else (0, (1 << n) - 1)


@pytest.mark.parametrize("rounding", ["rni", "rzi", "rmi", "rpi"])
@pytest.mark.parametrize("source", ["f16", "bf16"])
def test_every_sixteen_bit_float_to_every_integer(source, rounding):
    codes = np.arange(1 << 16, dtype=np.uint16)
    values = codes.view(INDEPENDENT[source]).astype(np.float64).tolist()
    whole = [None if math.isnan(v) else v if math.isinf(v) else to_integer(Fraction(v), rounding[:2]) for v in values]
    for to in INTEGERS:
        low, high = span(to)
        width = max(16, int(to[1:]))
        nan = 1 << 63 if width == 64 else 0
        want = [nan if w is None else int(min(max(w, low), high)) % (1 << width) for w in whole]
        np.testing.assert_array_equal(cvt(to, source, codes, rounding=rounding), np.array(want, UINT[width]))


def test_wider_floats_to_integers():
    rng = np.random.default_rng(9)
    for source in ("f32", "f64"):
        edges = bits(np.array([2.0**31, 2.0**63, -(2.0**63), 2.0**64, 2.5, -3.5]), source)
        patterns = np.concatenate([interesting(source, rng, 300), edges])
        for to in INTEGERS:
            low, high = span(to)
            width = max(16, int(to[1:]))
            nan = 1 << (int(to[1:]) - 1) if source == "f64" or width == 64 else 0
            got = cvt(to, source, patterns, rounding="rmi")
            for v, g in zip(floats(patterns, source).tolist(), got.tolist(), strict=True):
                if math.isnan(v):
                    if int(to[1:]) >= 16:
                        assert g == nan
                else:
                    clamped = low if v < low else high if v > high else math.floor(Fraction(v))
                    assert g == max(clamped, low) % (1 << width), (v, to)


@pytest.mark.parametrize("source", ["s8", "u8", "s16", "u16"])
def test_every_small_integer_to_every_float(source):
    low, high = span(source)
    numbers = list(range(low, high + 1))
    register = np.array([n % (1 << 16) for n in numbers], np.uint16)
    for to in ("f16", "bf16", "f32", "f64"):
        for mode in MODES:
            got = floats(cvt(to, source, register, rounding=mode), to)
            step = 1 if len(numbers) < 1000 else 7
            want = [rounded(Fraction(n), to, mode) for n in numbers[::step]]
            assert got[::step].tolist() == want


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", ["s32", "u32", "s64", "u64"])
def test_wide_integers_to_floats_round_once(source, mode):
    rng = np.random.default_rng(10)
    width, (low, high) = int(source[1:]), span(source)
    ties = [(1 << top) + (1 << cut) + d for top in range(5, width - 1) for cut in range(max(0, top - 54), top) for d in (-1, 0, 1)]
    numbers = [low, high, high - 1, 0, 1] + [int(x) for x in rng.choice(np.array(ties, dtype=object), 400)]
    numbers += [-n for n in numbers if low <= -n <= high]
    register = np.array([n % (1 << width) for n in numbers], UINT[width])
    for to in ("f16", "bf16", "f32", "f64"):
        got = floats(cvt(to, source, register, rounding=mode), to).tolist()
        assert got == [rounded(Fraction(n), to, mode) for n in numbers]


def test_integers_to_integers():
    word = np.array([0x12345680], np.uint32)
    assert cvt("s16", "s8", word)[0] == 0xFF80
    assert cvt("s32", "s8", word)[0] == 0xFFFFFF80
    assert cvt("u32", "u8", word)[0] == 0x80
    assert cvt("u8", "u32", word)[0] == 0x80
    assert cvt("s8", "u32", word)[0] == 0xFF80  # read as s8, kept in a 16-bit register
    assert cvt("s8", "u32", word, width=32)[0] == 0xFFFFFF80
    assert cvt("s64", "s32", np.array([0x80000000], np.uint32))[0] == 0xFFFFFFFF80000000
    assert cvt("u64", "u32", np.array([0x80000000], np.uint32))[0] == 0x80000000
    for to, source in itertools.product(INTEGERS, INTEGERS):
        (low, high), n = span(to), int(source[1:])
        cases = [0, 1, 127, 128, 255, 256, 32767, 32768, -1, -128, -129, (1 << (n - 1)) - 1, -(1 << (n - 1))]
        for value in {min(max(c, span(source)[0]), span(source)[1]) for c in cases}:
            got = cvt(to, source, np.array([value % (1 << max(16, n))], UINT[max(16, n)]), sat=True)
            assert int(got[0]) == min(max(value, low), high) % (1 << max(16, int(to[1:]))), (to, source, value)


def test_floats_to_floats():
    rng = np.random.default_rng(11)
    x = interesting("f64", rng, 600)
    near = bits(rng.standard_normal(600) * 2.0 ** rng.integers(-150, 130, 600), "f64")
    x = np.concatenate([x, near])
    for to, mode in itertools.product(("f16", "bf16", "f32"), MODES):
        got = floats(cvt(to, "f64", x, rounding=mode), to)
        for v, g in zip(floats(x, "f64").tolist(), got.tolist(), strict=True):
            want = v if not math.isfinite(v) or v == 0 else rounded(Fraction(v), to, mode)
            assert g == want or (math.isnan(g) and math.isnan(want)), (v, to, mode)
    y = bits(np.array([2.5, -0.3, 1e-40, np.nan]), "f32")
    assert cvt("f32", "f32", y, rounding="rni").tolist() == [0x40000000, 0x80000000, 0, 0x7FFFFFFF]
    assert cvt("f32", "f32", y, ftz=True).tolist()[2] == 0
    assert floats(cvt("f32", "f32", bits(np.array([2.5, -1.0, np.nan]), "f32"), sat=True), "f32").tolist() == [1, 0, 0]
    assert cvt("f64", "f32", y[2:3])[0] == np.array([1e-40], np.float32).astype(np.float64).view(np.uint64)[0]


def test_tf32_is_half_away_from_zero():
    x = np.array([0x3F801000, 0xBF801000, 0x3F800FFF, 0x3F803000, 0x7F7FFFFF, 0x7F800001], np.uint32)
    away = [0x3F802000, 0xBF802000, 0x3F800000, 0x3F804000, 0x7F800000, 0x7FFFFFFF]
    assert cvt("tf32", "f32", x, rounding="rna").tolist() == away
    assert cvt("tf32", "f32", x, rounding="rn").tolist() == [0x3F800000, 0xBF800000, 0x3F800000, 0x3F804000, 0x7F800000, 0x7FFFFFFF]
    assert cvt("tf32", "f32", x, rounding="rz", satfinite=True)[4] == 0x7F7FE000


def test_packed_conversions_put_the_first_source_above():
    a, b = bits(np.array([1.0, -300.0, 1e9]), "f32"), bits(np.array([2.0, np.nan, 0.3]), "f32")
    assert [hex(x) for x in cvt_x2("f16x2", "f32", a, b)] == ["0x3c004000", "0xdcb07fff", "0x7c0034cd"]
    assert [hex(x) for x in cvt_x2("f16x2", "f32", a, b, satfinite=True, relu=True)] == ["0x3c004000", "0x7fff", "0x7bff34cd"]
    assert [hex(x) for x in cvt_x2("bf16x2", "f32", a, b)] == ["0x3f804000", "0xc3967fff", "0x4e6e3e9a"]
    assert [hex(x) for x in cvt_x2("e4m3x2", "f32", a, b, satfinite=True)] == ["0x3840", "0xf97f", "0x7e2a"]
    assert [hex(x) for x in cvt_x2("e5m2x2", "f32", a, b, satfinite=True)] == ["0x3c40", "0xdd7f", "0x7b35"]
    assert [hex(x) for x in cvt_x2("e2m1x2", "f32", a, b, satfinite=True)] == ["0x24", "0xf7", "0x71"]
    assert cvt_x2("ue8m0x2", "f32", a, b, rounding="rz", satfinite=True)[0] == 0x7F80


@pytest.mark.parametrize("source", ["e4m3", "e5m2", "e2m1", "e2m3", "e3m2"])
def test_every_pair_of_narrow_floats_widens(source):
    codes = all_codes(source)
    values = codes.view(INDEPENDENT[source]).astype(np.float16)
    shift = 4 if WIDTHS[source] == 4 else 8
    pairs = (codes.astype(np.uint16)[:, None] << np.uint16(shift)) | codes[None]
    got = nm.halves(cvt_from_x2("f16x2", source + "x2", pairs))
    want = np.where(np.isnan(values), 0x7FFF, values.view(np.uint16))
    assert (got[..., 1] == want[:, None]).all()
    assert (got[..., 0] == want[None]).all()


def test_stochastic_conversions_take_their_own_bits():
    third = bits(np.array([1 + 2.0**-12]), "f32")  # a quarter of a place of f16
    for upper, lower in itertools.product((0, 0x1FFF), repeat=2):
        word = cvt_x2("f16x2", "f32", third, third, rounding="rs", random=np.array([(upper << 16) | lower], np.uint32))[0]
        assert word == (0x3C00 + (upper > 0)) << 16 | (0x3C00 + (lower > 0))
    one = bits(np.array([1.0]), "f32")
    got = cvt_x4("e4m3x4", (one, bits(np.array([2.0]), "f32"), one, bits(np.array([-1.0]), "f32")), np.array([7], np.uint32))
    assert got[0] == 0x384038B8


def test_cvt_pack():
    a, b, c = (np.array([x % (1 << 32)], np.uint32) for x in (-200, 300, 0xABCD1234))
    assert cvt_pack("u8", a, b, c)[0] == 0x123400FF
    assert cvt_pack("s8", a, b, c)[0] == 0x1234807F
    assert cvt_pack("s16", a, b)[0] == ((-200 % 65536) << 16) | 300
    assert cvt_pack("u4", b, a, c)[0] == 0xCD1234F0
    assert cvt_pack("s2", b, a, c)[0] == (0xBCD12340 & 0xFFFFFFF0) | 0b0110


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize(("a", "b", "c"), [(1e200, 1e200, -np.inf), (1e200, -1e200, np.inf), (-1e300, 1e300, np.inf)])
def test_a_product_that_overflows_loses_to_infinity(mode, a, b, c):
    bits = [np.array([[x]], np.float64).view(np.uint64) for x in (a, b, c)]
    with np.errstate(all="ignore"):
        assert nm.fma("f64", *bits, rounding=mode).view(np.float64)[0, 0] == c
