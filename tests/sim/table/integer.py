"""Cases of the integer, logic, comparison and video instructions: meanings in Python's unbounded integers, after the PTX manual."""

from .harness import Case, expand, halves, integers, joined, number, tuples, width

INTS = "{u16,u32,u64,s16,s32,s64}"
CASES = []


def family(pattern, meaning, sources=None, dests=None, *, rows=None, **more):
    """`meaning(n, kind, *numbers)`: n bits, and numbers as the opcode's last type reads them. `sources` and `dests` name types, "T" for that
    type, or are functions of it."""
    for opcode in expand(pattern):
        kind = opcode.split(".")[-1]
        ins = tuple(kind if s == "T" else s for s in (sources or ["T", "T"]))
        outs = tuple(kind if d == "T" else d for d in (dests or ["T"]))

        def apply(*patterns, kind=kind, ins=ins, opcode=opcode):
            values = [number(p, k) if k != "pred" else p & 1 for p, k in zip(patterns, ins, strict=True)]
            return meaning(width(kind), opcode.split("."), *values)

        CASES.append(Case(opcode, outs, ins, apply, rows or tuples(*ins), **more))


def clamp(x, kind):
    low, high = (-(1 << width(kind) - 1), (1 << width(kind) - 1) - 1) if kind[0] == "s" else (0, (1 << width(kind)) - 1)
    return min(max(x, low), high)


def quotient(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


family(f"add.{INTS}", lambda n, op, a, b: a + b)
family(f"sub.{INTS}", lambda n, op, a, b: a - b)
family("{add,sub}.sat.s32", lambda n, op, a, b: clamp(a + b if op[0] == "add" else a - b, "s32"))
family(f"mul.lo.{INTS}", lambda n, op, a, b: a * b)
family(f"mul.hi.{INTS}", lambda n, op, a, b: a * b >> n)
family(f"mad.lo.{INTS}", lambda n, op, a, b, c: a * b + c, ["T"] * 3)
family(f"mad.hi.{INTS}", lambda n, op, a, b, c: (a * b >> n) + c, ["T"] * 3)
family("mad.hi.sat.s32", lambda n, op, a, b, c: clamp((a * b >> n) + c, "s32"), ["T"] * 3)
for _narrow, _wide in (("u16", "u32"), ("s16", "s32"), ("u32", "u64"), ("s32", "s64")):
    family(f"mul.wide.{_narrow}", lambda n, op, a, b: a * b, dests=[_wide])
    family(f"mad.wide.{_narrow}", lambda n, op, a, b, c: a * b + c, ["T", "T", _wide], [_wide])
family(f"min.{INTS}", lambda n, op, a, b: min(a, b))
family(f"max.{INTS}", lambda n, op, a, b: max(a, b))
family("{min,max}.relu.s32", lambda n, op, a, b: max(0, min(a, b) if op[0] == "min" else max(a, b)))
family("neg.{s16,s32,s64}", lambda n, op, a: -a, ["T"])
family("abs.{s16,s32,s64}", lambda n, op, a: abs(a), ["T"])
family(f"sad.{INTS}", lambda n, op, a, b, c: c + abs(a - b), ["T"] * 3)
family(f"div.{INTS}", lambda n, op, a, b: quotient(a, b) if b else None)
family(f"rem.{INTS}", lambda n, op, a, b: a - b * quotient(a, b) if b else None)


def by_halves(pattern, meaning):
    """Instructions on two 16-bit integers: `meaning(op, a, b)` of each."""
    for opcode in expand(pattern):
        kind = opcode.split(".")[-1][:3]

        def apply(a, b, kind=kind, opcode=opcode):
            parts = [meaning(opcode.split("."), number(x, kind), number(y, kind)) for x, y in zip(halves(a), halves(b), strict=True)]
            return joined(*(p & 0xFFFF for p in parts))

        CASES.append(Case(opcode, ("b32",), ("b32", "b32"), apply, tuples("b32", "b32")))


by_halves("add.{u16x2,s16x2}", lambda op, a, b: a + b)
by_halves("{min,max}.{u16x2,s16x2}", lambda op, a, b: min(a, b) if op[0] == "min" else max(a, b))
by_halves("{min,max}.relu.s16x2", lambda op, a, b: max(0, min(a, b) if op[0] == "min" else max(a, b)))


def low24(x, kind):
    x &= 0xFFFFFF
    return x - (1 << 24) if kind == "s32" and x >> 23 else x


def product24(op, a, b):
    return low24(a, op[-1]) * low24(b, op[-1]) >> (0 if op[1] == "lo" else 16)


family("mul24.{lo,hi}.{u32,s32}", lambda n, op, a, b: product24(op, a, b))
family("mad24.{lo,hi}.{u32,s32}", lambda n, op, a, b, c: product24(op, a, b) + c, ["T"] * 3)

# Carries: the flag is set by an instruction before, and read by one behind


def carrying(pattern, meaning):
    """`meaning(op, n, carry in, *numbers)` gives (result, carry out). Carry in: add.cc of the first source and of the second source."""
    for opcode in expand(pattern):
        op, kind = opcode.split("."), opcode.split(".")[-1]
        n, terms = width(kind), 3 if op[0].startswith("mad") else 2
        borrowing = op[0].startswith("sub")
        set_flag = f".reg .b{n} %t; {'sub' if borrowing else 'add'}.cc.u{n} %t, %s{terms}, %s{terms + 1};"
        form = ", ".join(["{d0}"] + [f"{{s{i}}}" for i in range(terms)])
        read_flag = f"; {{guard}}{'subc' if borrowing else 'addc'}.u{n} {{d1}}, {{s{terms + 2}}}, {{s{terms + 2}}}"

        def apply(*patterns, op=op, kind=kind, n=n, terms=terms, borrowing=borrowing):
            values = [number(p, kind) for p in patterns[:terms]]
            x, y = (number(p, f"u{n}") for p in patterns[terms : terms + 2])
            before = x < y if borrowing else x + y >= 1 << n
            result, after = meaning(op, n, before, *values)
            flag = after if "cc" in op else before
            return result, (-flag if borrowing else flag)

        ins = (kind,) * (terms + 2) + (f"u{n}",)
        rows = [r[:-1] + (0,) for r in tuples(*ins)]
        CASES.append(Case(opcode, (f"u{n}", f"u{n}"), ins, apply, rows, form + read_flag, set_flag))


def _unsigned(x, n):
    return x & (1 << n) - 1


def _sum(op, n, carry, a, b):
    total = _unsigned(a, n) + _unsigned(b, n) + (carry if op[0] == "addc" else 0)
    return total, total >> n


def _difference(op, n, borrow, a, b):
    total = _unsigned(a, n) - _unsigned(b, n) - (borrow if op[0] == "subc" else 0)
    return total, total < 0


def _product(op, n, carry, a, b, c):
    part = _unsigned(a * b if op[1] == "lo" else a * b >> n, n)
    total = part + _unsigned(c, n) + (carry if op[0] == "madc" else 0)
    return total, total >> n


carrying("add.cc.{u32,s32,u64,s64}", _sum)
carrying("addc{,.cc}.{u32,s32,u64,s64}", _sum)
carrying("sub.cc.{u32,s32,u64,s64}", _difference)
carrying("subc{,.cc}.{u32,s32,u64,s64}", _difference)
carrying("mad.{lo,hi}.cc.{u32,s32,u64,s64}", _product)
carrying("madc.{lo,hi}{,.cc}.{u32,s32,u64,s64}", _product)

# Logic and shifts

family("and.{pred,b16,b32,b64}", lambda n, op, a, b: a & b)
family("or.{pred,b16,b32,b64}", lambda n, op, a, b: a | b)
family("xor.{pred,b16,b32,b64}", lambda n, op, a, b: a ^ b)
family("not.{pred,b16,b32,b64}", lambda n, op, a: ~a, ["T"])
family("cnot.{b16,b32,b64}", lambda n, op, a: a == 0, ["T"])
AMOUNTS = [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 300, 1 << 31, (1 << 32) - 1]


def with_amounts(*kinds, amounts=1, top=AMOUNTS):
    """Rows whose last `amounts` values are counts of bits."""
    rows = tuples(*kinds)
    return [r[: len(r) - amounts] + tuple(top[(i * (7 * k + 1) + k) % len(top)] for k in range(amounts)) for i, r in enumerate(rows)]


for _T in ("b16", "b32", "b64"):
    family(f"shl.{_T}", lambda n, op, a, b: a << min(b, n), ["T", "u32"], rows=with_amounts(_T, "u32"))
for _T in ("b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64"):
    family(f"shr.{_T}", lambda n, op, a, b: a >> min(b, n), ["T", "u32"], rows=with_amounts(_T, "u32"))


def _funnel(n, op, a, b, c):
    c = c & 31 if op[2] == "wrap" else min(c, 32)
    return ((b << 32 | a) << c) >> 32 if op[1] == "l" else (b << 32 | a) >> c


family("shf.{l,r}.{wrap,clamp}.b32", _funnel, ["T", "T", "u32"], rows=with_amounts("u32", "u32", "u32"))


def _lop3(table, a, b, c):
    return sum(((table >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1))) & 1) << i for i in range(32))


for _table in (0x00, 0x80, 0xE8, 0x96, 0x1B, 0xCA, 0x2D, 0xF0, 0xFE, 0xFF):
    family("lop3.b32", lambda n, op, a, b, c, table=_table: _lop3(table, a, b, c), ["T"] * 3, form=f"{{d0}}, {{s0}}, {{s1}}, {{s2}}, {_table}")


def _lop3_pred(n, op, a, b, c, q):
    d = _lop3(0x28, a, b, c)
    return d, (d != 0 or q) if op[1] == "or" else (d != 0 and q)


family("lop3.{or,and}.b32", _lop3_pred, ["T", "T", "T", "pred"], ["b32", "pred"], form="{d0}|{d1}, {s0}, {s1}, {s2}, 0x28, {s3}")


def _prmt(n, op, a, b, c):
    source = [(b << 32 | a) >> 8 * i & 255 for i in range(8)]
    mode, k = op[2] if len(op) > 2 else "", c & 3
    if not mode:
        picked = [c >> 4 * i & 15 for i in range(4)]
        return sum((source[p & 7] if p < 8 else 255 * (source[p & 7] >> 7)) << 8 * i for i, p in enumerate(picked))
    # Tables of the manual, written as formulas.
    index = {
        "f4e": lambda i: k + i, "b4e": lambda i: (k - i) % 8, "rc8": lambda i: k, "ecl": lambda i: max(k, i), "ecr": lambda i: min(k, i),
        "rc16": lambda i: 2 * (k & 1) + (i & 1),
    }[mode]  # fmt: skip
    return sum(source[index(i)] << 8 * i for i in range(4))


for _opcode in expand("prmt.b32{,.f4e,.b4e,.rc8,.ecl,.ecr,.rc16}"):
    CASES.append(Case(_opcode, ("b32",), ("u32",) * 3, lambda a, b, c, op=_opcode.split("."): _prmt(32, op, a, b, c), tuples("u32", "u32", "u32")))


def _bfe(n, op, a, position, length):
    """The pseudocode of the manual."""
    position, length = position & 255, length & 255
    a &= (1 << n) - 1
    sign = 0 if op[1][0] == "u" or length == 0 else a >> min(position + length - 1, n - 1) & 1
    return sum(((a >> position + i & 1) if i < length and position + i < n else sign) << i for i in range(n))


def _bfi(n, op, a, b, position, length):
    position, length = position & 255, length & 255
    for i in range(length):
        if position + i < n:
            b = b & ~(1 << position + i) | (a >> i & 1) << position + i
    return b


for _T in ("u32", "u64", "s32", "s64"):
    family(f"bfe.{_T}", _bfe, ["T", "u32", "u32"], rows=with_amounts(_T, "u32", "u32", amounts=2))
for _T in ("b32", "b64"):
    family(f"bfi.{_T}", _bfi, ["T", "T", "u32", "u32"], rows=with_amounts(_T, _T, "u32", "u32", amounts=2))
family("brev.{b32,b64}", lambda n, op, a: int(f"{a:0{n}b}"[::-1], 2), ["T"])
family("popc.{b32,b64}", lambda n, op, a: f"{a:b}".count("1"), ["T"], ["b32"])
family("clz.{b32,b64}", lambda n, op, a: n - a.bit_length(), ["T"], ["b32"])


def _bfind(n, op, a):
    place = (~a if a < 0 else a).bit_length() - 1
    return (1 << 32) - 1 if place < 0 else n - 1 - place if "shiftamt" in op else place


family("bfind{,.shiftamt}.{u32,s32,u64,s64}", _bfind, ["T"], ["b32"])


def _fns(n, op, mask, base, offset):
    offset = number(offset, "s32")
    places = range(base, 32) if offset >= 0 else range(base, -1, -1)
    found = [i for i in places if mask >> i & 1]
    if offset == 0:
        return base if mask >> base & 1 else (1 << 32) - 1
    return found[abs(offset) - 1] if len(found) >= abs(offset) else (1 << 32) - 1


family("fns.b32", _fns, ["T"] * 3, rows=[(m, i % 32, (i * 5 % 13 - 6) & 0xFFFFFFFF) for i, m in enumerate(integers("b32", 64, 3))])


def _szext(n, op, a, b):
    b = b & 31 if op[1] == "wrap" else min(b, 32)
    low = a & (1 << b) - 1
    return low - (1 << b) if op[2] == "s32" and b and low >> b - 1 else low


family("szext.{clamp,wrap}.{u32,s32}", _szext, ["T", "u32"], rows=with_amounts("u32", "u32"))


def _bmsk(n, op, a, b):
    a, b = (x & 31 if op[1] == "wrap" else min(x, 32) for x in (a, b))
    return ((1 << b) - 1) << a


family("bmsk.{clamp,wrap}.b32", _bmsk, rows=with_amounts("u32", "u32", amounts=2))


def _pieces(word, bits, kind):
    return [number(word >> bits * i, kind[0] + str(bits)) for i in range(32 // bits)]


for _opcode in expand("dp4a.{u32,s32}.{u32,s32}"):
    _, _A, _B = _opcode.split(".")
    CASES.append(Case(_opcode, ("b32",), ("u32",) * 3, lambda a, b, c, A=_A, B=_B: sum(
        x * y for x, y in zip(_pieces(a, 8, A), _pieces(b, 8, B), strict=True)) + c, tuples("u32", "u32", "u32")))  # fmt: skip
for _opcode in expand("dp2a.{lo,hi}.{u32,s32}.{u32,s32}"):
    _, _part, _A, _B = _opcode.split(".")
    CASES.append(Case(_opcode, ("b32",), ("u32",) * 3, lambda a, b, c, A=_A, B=_B, s=2 * (_part == "hi"): sum(
        x * y for x, y in zip(_pieces(a, 16, A), _pieces(b, 8, B)[s : s + 2], strict=True)) + c, tuples("u32", "u32", "u32")))  # fmt: skip

# Comparison and selection

COMPARE = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b, "lo": lambda a, b: a < b, "ls": lambda a, b: a <= b, "hi": lambda a, b: a > b, "hs": lambda a, b: a >= b,
}  # fmt: skip
JOIN = {"and": lambda p, q: p and q, "or": lambda p, q: p or q, "xor": lambda p, q: bool(p) != bool(q)}


def _alike(kind, extra=()):
    """Rows of which a third compares equal values."""
    return [(a, a, *rest) if i % 3 == 0 else (a, b, *rest) for i, (a, b, *rest) in enumerate(tuples(kind, kind, *extra))]


def comparisons(kinds, names):
    for kind in kinds:
        for name in names:
            def plain(a, b, kind=kind, compare=COMPARE[name]):
                flag = compare(number(a, kind), number(b, kind))
                return flag, not flag

            CASES.append(Case(f"setp.{name}.{kind}", ("pred", "pred"), (kind, kind), plain, _alike(kind)))
            CASES.append(Case(f"setp.{name}.{kind}", ("pred",), (kind, kind), lambda a, b, p=plain: p(a, b)[0], _alike(kind)))
            for to, one in (("u32", 0xFFFFFFFF), ("s32", 0xFFFFFFFF), ("f32", 0x3F800000)):
                value = lambda a, b, p=plain, one=one: one * p(a, b)[0]  # noqa: E731
                CASES.append(Case(f"set.{name}.{to}.{kind}", ("b32",), (kind, kind), value, _alike(kind)))
        for join, name in zip(["and", "or", "xor"] * 4, names, strict=False):
            def combined(a, b, c, kind=kind, compare=COMPARE[name], join=JOIN[join]):
                flag = compare(number(a, kind), number(b, kind))
                return join(flag, c), join(not flag, c)

            ins, rows = (kind, kind, "pred"), _alike(kind, ["pred"])
            CASES.append(Case(f"setp.{name}.{join}.{kind}", ("pred", "pred"), ins, combined, rows))
            flipped = lambda a, b, c, f=combined: f(a, b, not c)[0]  # noqa: E731
            CASES.append(Case(f"setp.{name}.{join}.{kind}", ("pred",), ins, flipped, rows, "{d0}, {s0}, {s1}, !{s2}"))
            to, one = {"and": ("u32", 0xFFFFFFFF), "or": ("s32", 0xFFFFFFFF), "xor": ("f32", 0x3F800000)}[join]
            value = lambda a, b, c, f=combined, one=one: one * bool(f(a, b, c)[0])  # noqa: E731
            CASES.append(Case(f"set.{name}.{join}.{to}.{kind}", ("b32",), ins, value, rows))


comparisons(["b16", "b32", "b64"], ["eq", "ne"])
comparisons(["u16", "u32", "u64"], list(COMPARE))
comparisons(["s16", "s32", "s64"], ["eq", "ne", "lt", "le", "gt", "ge"])
_SELECT = "{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}"
family(f"selp.{_SELECT}".replace(",f32,f64", ""), lambda n, op, a, b, p: a if p else b, ["T", "T", "pred"])
family("selp.{f32,f64}", lambda n, op, a, b, p: a if p else b, ["T", "T", "pred"])
family(f"mov.{_SELECT}", lambda n, op, a: a, ["T"])
family("mov.pred", lambda n, op, a: a, ["T"])
_MINUS = [0xBF800000, 0x80000000, 0, 0x3F800000, 0x80000001, 0x00000001, 0xFF800000, 0x7F800000, 0x7FC00000, 0xFFC00000]
for _opcode in expand(f"slct.{_SELECT}.s32"):
    _T = _opcode.split(".")[1]
    CASES.append(Case(_opcode, (_T,), (_T, _T, "s32"), lambda a, b, c: b if c >> 31 else a, tuples(_T, _T, "u32")))
for _opcode in expand("slct{,.ftz}." + _SELECT + ".f32"):
    _T = _opcode.split(".")[-2]
    _rows = [(a, b, _MINUS[i % 10]) for i, (a, b) in enumerate(tuples(_T, _T))]
    _tiny = 0x00800000 if "ftz" in _opcode else 1
    CASES.append(Case(_opcode, (_T,), (_T, _T, "f32"), lambda a, b, c, tiny=_tiny: (  # NaN selects b; -0 counts as 0
        b if (c & 0x7FFFFFFF) > 0x7F800000 or (c >> 31 and (c & 0x7FFFFFFF) >= tiny) else a), _rows))  # fmt: skip

# Moves between vectors and wider registers

for _parts, _whole in ((2, 32), (4, 64), (2, 64)):
    _small = _whole // _parts
    _list = ", ".join(f"{{s{i}}}" for i in range(_parts))
    CASES.append(Case(f"mov.b{_whole}", (f"b{_whole}",), (f"b{_small}",) * _parts, lambda *p, s=_small: sum(x << s * i for i, x in enumerate(p)),
                      tuples(*[f"b{_small}"] * _parts), f"{{d0}}, {{{{{_list}}}}}"))  # fmt: skip
    _list = _list.replace("s", "d")
    CASES.append(Case(f"mov.b{_whole}", (f"b{_small}",) * _parts, (f"b{_whole}",), lambda x, s=_small, n=_parts: tuple(
        x >> s * i & (1 << s) - 1 for i in range(n)), tuples(f"b{_whole}"), f"{{{{{_list}}}}}, {{s0}}"))  # fmt: skip

# Constants as operands

CASES += [
    Case("add.u32", ("u32",), ("u32",), lambda a: a - 5, tuples("u32"), "{d0}, {s0}, -5"),
    Case("mad.lo.s32", ("s32",), ("u32",), lambda a: a * 7 + 0x1234, tuples("u32"), "{d0}, {s0}, 7, 0x1234"),
    Case("selp.b32", ("b32",), ("pred",), lambda p: 0x3F800000 if p else 17, tuples("pred"), "{d0}, 0f3F800000, 021, {s0}"),
    Case("setp.lt.s64", ("pred",), ("s64",), lambda a: number(a, "s64") < -3, tuples("s64"), "{d0}, {s0}, -3"),
    Case("shl.b64", ("b64",), ("b64",), lambda a: a << 37, tuples("b64"), "{d0}, {s0}, 37"),
    Case("mov.b64", ("b64",), (), lambda: 0x3FF8000000000000, [()], "{d0}, 0d3FF8000000000000"),
    Case("mov.f64", ("f64",), (), lambda: 0x3FF8000000000000, [()], "{d0}, 1.5"),
    Case("mov.f32", ("f32",), (), lambda: 0x3FC00000, [()], "{d0}, 1.5"),
    Case("mov.u32", ("u32",), (), lambda: 32, [()], "{d0}, WARP_SZ"),
]

# Video instructions on bytes and halves

VIDEO = {
    "vadd": lambda a, b: a + b, "vsub": lambda a, b: a - b, "vavrg": lambda a, b: (a + b + (a + b >= 0)) >> 1,
    "vabsdiff": lambda a, b: abs(a - b), "vmin": min, "vmax": max,
}  # fmt: skip


def video(name, lanes):
    bits = 32 // lanes
    for opcode in expand(f"{name}{lanes}.{{u32,s32}}.{{u32,s32}}.{{u32,s32}}{{,.sat,.add}}"):
        D, A, B, *how = opcode.split(".")[1:]

        def apply(a, b, c, D=D, A=A, B=B, how=how):
            parts = [VIDEO[name](x, y) for x, y in zip(_pieces(a, bits, A), _pieces(b, bits, B), strict=True)]
            if how == ["add"]:
                return sum(parts) + c
            parts = [clamp(x, f"{D[0]}{bits}") if how == ["sat"] else x for x in parts]
            return sum((x & (1 << bits) - 1) << bits * i for i, x in enumerate(parts))

        CASES.append(Case(opcode, ("b32",), ("u32",) * 3, apply, tuples("u32", "u32", "u32")))
    for opcode in expand(f"vset{lanes}.{{u32,s32}}.{{u32,s32}}.{{eq,ne,lt,le,gt,ge}}{{,.add}}") if name == "vadd" else ():
        A, B, compare, *how = opcode.split(".")[1:]

        def apply(a, b, c, A=A, B=B, compare=compare, how=how):
            parts = [int(COMPARE[compare](x, y)) for x, y in zip(_pieces(a, bits, A), _pieces(b, bits, B), strict=True)]
            return sum(parts) + c if how else sum(x << bits * i for i, x in enumerate(parts))

        CASES.append(Case(opcode, ("b32",), ("u32",) * 3, apply, tuples("u32", "u32", "u32")))


for _name in VIDEO:
    video(_name, 4)
    video(_name, 2)
