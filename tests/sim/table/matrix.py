"""Matrix products and moves of matrices: every lane's registers from the manual's formulas (tests/sim/test_tensorcore.py), products by NumPy."""

# ruff: noqa: E501 (PTX text)

import itertools

import numpy as np

from .. import test_tensorcore as manual
from ..test_tensorcore import BITS, c_codes, c_place, random_codes, registers_of
from .kernels import Kernel, random_words

KERNELS = []


def sizes(shape):
    return [int(x) for x in shape[1:].replace("n", " ").replace("k", " ").split()]


def layout(table, shape, kind):
    like = next(k for k in (kind, "f16", "s8", "s4") if (shape, k) in table and (k == kind or kind in [*manual.ALIKE.get(k, []), *EXTRA.get(k, [])]))
    return table[shape, like]


EXTRA = {"s8": ["e3m2", "e2m3", "e2m1"]}
FLOAT_CODES = {"e3m2": (0, 0x0C, 0x10, 0x12), "e2m3": (0, 0x08, 0x10, 0x14), "e2m1": (0, 0x02 << 2, 0x04 << 2, 0x05 << 2)}  # codes of 0 1 2 3, in 8 bits
SIGN = {"e3m2": 0x20, "e2m3": 0x20, "e2m1": 0x08 << 2}


def codes(shape, kind, rng):
    if kind not in FLOAT_CODES:
        return random_codes(shape, kind, rng)
    values = rng.integers(-3, 4, shape)
    return (np.array(FLOAT_CODES[kind])[np.abs(values)] | np.where(values < 0, SIGN[kind], 0)).astype(np.uint8), values


def bits(kind):
    return BITS.get(kind, 8)


def columns(registers):
    """Registers [32] each, as words of each lane."""
    return np.hstack([r.reshape(32, 1).view(np.uint32) for r in registers])


def bank(registers, first):
    letter = "d" if registers[0].dtype == np.uint64 else "r"
    return letter, [f"%{letter}{first + i}" for i in range(len(registers))]


def product_kernel(opcode, a, b, c, want, tail="", exact=None):
    """Registers of each lane in, registers of each lane out."""
    body, at, names = "", 0, []
    for registers, first in ((a, 0), (b, 24), (c, 40)):
        letter, found = bank(registers, first)
        names.append("{" + ", ".join(found) + "}")
        size = 8 if letter == "d" else 4
        for name in found:
            body += f"ld.global.b{8 * size} {name}, [%xt+{at}];"
            at += size
    if tail.startswith("META"):
        body += f"ld.global.b32 %r100, [%xt+{at}];"
        tail = tail.replace("META", ", %r100")
    letter, out = bank(want, 60 if want[0].dtype != np.uint64 else 50)
    body += f"{opcode} {{{', '.join(out)}}}, {', '.join(names)}{tail};"
    size = 8 if letter == "d" else 4
    body += "".join(f"st.global.b{8 * size} [%yt+{i * size}], {name};" for i, name in enumerate(out))
    return body


def pad(words):
    """Parts of a multiple of 8 bytes."""
    return np.hstack([words, np.zeros((32, words.shape[1] % 2), np.uint32)])


def add(opcode, a, b, c, want, tail="", extra=(), exact=None):
    given = pad(np.hstack([columns(a), columns(b), columns(c), *[x.reshape(32, 1) for x in extra]]))
    out = columns(want)
    KERNELS.append(Kernel(opcode, product_kernel(opcode, a, b, c, want, tail), out, given, exact=exact))


def dense(opcode, shape, A, B, total, *, combine=None, exact=None, wide=False):
    rng = np.random.default_rng(len(KERNELS))
    m, n, k = sizes(shape)
    ca, a = codes((m, k), A, rng)
    cb, b = codes((k, n), B, rng)
    c = rng.integers(-9, 10, (m, n))
    if wide:  # sums beyond 32 bits
        c = np.where(c > 0, 2**31 - 1, -(2**31))
    product = combine(a, b) if combine else a @ b
    total_sum = product + c
    if ".satfinite" in opcode:
        total_sum = np.clip(total_sum, -(2**31), 2**31 - 1)
    ra, rb = registers_of(ca, layout(manual.A, shape, A), bits(A)), registers_of(cb, layout(manual.B, shape, B), bits(B))
    place = (lambda g, t, i: (g, 2 * t + i)) if m == 8 else c_place
    out = registers_of(c_codes(total_sum.astype(np.int64) if total == "s32" else total_sum, total), place, BITS[total])
    add(opcode, ra, rb, registers_of(c_codes(c, total), place, BITS[total]), out, exact=exact)


for _shape, _kind, _total in manual.instructions():
    if _kind == "b1":
        for _op, _f in (("xor", lambda a, b: (a[:, :, None] ^ b[None]).sum(1)), ("and", lambda a, b: (a[:, :, None] & b[None]).sum(1))):
            dense(f"mma.sync.aligned.{_shape}.row.col.s32.b1.b1.s32.{_op}.popc", _shape, "b1", "b1", "s32", combine=_f)
        continue
    for _exact in (None, "sm_80", "sm_90") if _kind in ("f16", "bf16", "tf32", "f64") else (None,):
        dense(f"mma.sync.aligned.{_shape}.row.col.{_total}.{_kind}.{_kind}.{_total}", _shape, _kind, _kind, _total, exact=_exact)
for _A, _B in (("s8", "u8"), ("u8", "s8"), ("s4", "u4"), ("u4", "s4"), ("u8", "u8"), ("s8", "s8")):
    for _shape in ("m8n8k16", "m16n8k16", "m16n8k32") if "8" in _A else ("m8n8k32", "m16n8k32", "m16n8k64"):
        for _sat in ("", ".satfinite"):
            dense(f"mma.sync.aligned.{_shape}.row.col{_sat}.s32.{_A}.{_B}.s32", _shape, _A, _B, "s32", wide=True)
for _A, _B in (("e4m3", "e5m2"), ("e5m2", "e4m3")):
    for _shape, _total in itertools.product(("m16n8k16", "m16n8k32"), ("f16", "f32")):
        dense(f"mma.sync.aligned.{_shape}.row.col.{_total}.{_A}.{_B}.{_total}", _shape, _A, _B, _total)
for _A, _B in itertools.product(("e4m3", "e5m2", "e3m2", "e2m3", "e2m1"), repeat=2):
    dense(f"mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.{_A}.{_B}.f32", "m16n8k32", _A, _B, "f32")
dense("mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16.e4m3.e3m2.f16", "m16n8k32", "e4m3", "e3m2", "f16")

# Sparse: half of A's elements, and which ones

HALF = {  # (row, stored column) of element i: the dense layout of half the depth
    16: lambda g, t, i: (g + 8 * ((i >> 1) & 1), 2 * t + (i & 1) + 8 * (i >> 2)),
    8: lambda g, t, i: (g + 8 * ((i >> 2) & 1), 4 * t + (i & 3) + 16 * (i >> 3)),
    4: lambda g, t, i: (g + 8 * ((i >> 3) & 1), 8 * t + (i & 7) + 32 * (i >> 4)),
    32: lambda g, t, i: (g + 8 * (i & 1), t + 4 * (i >> 1)),
}
COLUMN = {  # (row, column) of B's element i
    16: lambda g, t, i: (2 * t + (i & 1) + 8 * (i >> 1), g), 8: lambda g, t, i: (4 * t + (i & 3) + 16 * (i >> 2), g),
    4: lambda g, t, i: (8 * t + (i & 7) + 32 * (i >> 3), g), 32: lambda g, t, i: (t + 4 * i, g),
}  # fmt: skip


def sparse(shape, kind, holders, form, total):
    """Metadata: four bits name the two elements that are stored of four (of two for tf32; of four pairs for 4 bits)."""
    rng = np.random.default_rng(len(KERNELS))
    _, n, k = sizes(shape)
    unit = 2 if bits(kind) == 4 else 1
    chunks = k // (2 if kind == "tf32" else 4 * unit)
    stored, values = codes((16, k // 2), kind, rng)
    whole, fields = np.zeros((16, k), int), np.zeros((16, chunks), int)
    for row, chunk in itertools.product(range(16), range(chunks)):
        if kind == "tf32":
            at = int(rng.integers(2))
            fields[row, chunk], whole[row, 2 * chunk + at] = (0b0100, 0b1110)[at], values[row, chunk]
            continue
        first, second = sorted(rng.choice(4, 2, replace=False).tolist())
        fields[row, chunk] = first | second << 2
        for position, at in enumerate((first, second)):
            begin = 4 * unit * chunk + unit * at
            whole[row, begin : begin + unit] = values[row, 2 * unit * chunk + unit * position :][:unit]
    cb, b = codes((k, n), kind, rng)
    c = rng.integers(-9, 10, (16, n))
    for selector in range(4 // holders):
        metadata = rng.integers(0, 1 << 32, 32, dtype=np.uint32)
        for g, holder in itertools.product(range(8), range(holders)):
            if bits(kind) >= 16:
                nibbles = np.concatenate([fields[g + 8 * h, 4 * holder : 4 * holder + 4] for h in (0, 1)])
            else:
                nibbles = fields[g + 8 * (holder % 2), 8 * (holder // 2) : 8 * (holder // 2) + 8]
            metadata[4 * g + selector * holders + holder] = sum(int(x) << 4 * i for i, x in enumerate(nibbles))
        add(f"mma.{form}.sync.aligned.{shape}.row.col.{total}.{kind}.{kind}.{total}", registers_of(stored, HALF[bits(kind)], bits(kind)),
            registers_of(cb, COLUMN[bits(kind)], bits(kind)), registers_of(c_codes(c, total), c_place, BITS[total]),
            registers_of(c_codes(whole @ b + c, total), c_place, BITS[total]), tail=f"META, {selector}", extra=[metadata])  # fmt: skip


for _shape, _kind, _holders in [*manual.SPARSE, ("m16n8k32", "u8", 2), ("m16n8k64", "s8", 4), ("m16n8k64", "e5m2", 4), ("m16n8k16", "bf16", 1), ("m16n8k32", "f16", 2)]:
    for _form, _total in itertools.product(("sp", "sp::ordered_metadata"), manual.sums(_kind)):
        if (_form, _total, _kind[0]) != ("sp", "f16", "e"):  # ptxas refuses it
            sparse(_shape, _kind, _holders, _form, _total)

# Volta's quad pairs


def quad_pairs(al, bl, total):
    rng = np.random.default_rng(len(KERNELS))
    a, b, c = rng.integers(-3, 4, (4, 8, 4)), rng.integers(-3, 4, (4, 4, 8)), rng.integers(-9, 9, (4, 8, 8))
    low = lambda lane: 4 * (lane >= 16)  # noqa: E731

    def fill(matrix, place, count, kind):
        found, per = c_codes(matrix, kind), 32 // BITS[kind]
        out = np.zeros((count // per, 32), np.uint32)
        for lane, i in itertools.product(range(32), range(count)):
            out[i // per, lane] |= np.uint32(int(found[(lane // 4 % 4, *place(lane, i))]) << BITS[kind] * (i % per))
        return list(out)

    def a_place(lane, i):
        return (lane % 4 + low(lane), i) if al == "row" else (i + low(lane), lane % 4)

    def b_place(lane, i):
        return (lane % 4, i + low(lane)) if bl == "row" else (i, lane % 4 + low(lane))

    def sum_place(lane, i):
        return (lane % 4 + low(lane), i) if total == "f16" else ((lane & 1) + (i & 2) + low(lane), (i & 4) + (lane & 2) + (i & 1))

    add(f"mma.sync.aligned.m8n8k4.{al}.{bl}.{total}.f16.f16.{total}", fill(a, a_place, 4, "f16"), fill(b, b_place, 4, "f16"),
        fill(c, sum_place, 8, total), fill(a @ b + c, sum_place, 8, total))  # fmt: skip


for _al, _bl, _total in itertools.product(("row", "col"), ("row", "col"), ("f16", "f32")):
    quad_pairs(_al, _bl, _total)

# wmma: whole matrices from memory to memory


def wmma(shape, kind, total, counts, al, bl, space, tail="", op=""):
    rng = np.random.default_rng(len(KERNELS))
    m, n, k = sizes(shape)
    ca, a = codes((m, k), kind, rng)
    cb, b = codes((k, n), kind, rng)
    c = rng.integers(-9, 10, (m, n))
    if kind == "b1":
        result = (a[:, :, None] ^ b[None] if op == "xor" else a[:, :, None] & b[None]).sum(1) + c
    else:
        result = a @ b + c

    def packed(matrix, order, width):
        flat = np.ascontiguousarray(matrix if order == "row" else matrix.T).reshape(-1)
        if width >= 8:
            return np.ascontiguousarray(flat).view(np.uint8)
        per = 8 // width
        return sum((flat[i::per] << width * i for i in range(per)), np.zeros(len(flat) // per, np.uint8)).astype(np.uint8)

    parts = [packed(ca, al, bits(kind)), packed(cb, bl, bits(kind)), packed(c_codes(c, total), "row", BITS[total])]
    starts, data = [], b""
    for part in parts:
        starts.append(len(data))
        data += part.tobytes() + b"\0" * (-len(part) % 128)
    data += b"\0" * (-len(data) % 1024)
    given = np.frombuffer(data, np.uint32).reshape(32, -1)
    big = ".f64" if kind == "f64" else ".b32"
    dot = f".{space}" if space else ""
    body = f".reg {big} %a<9>, %b<9>, %c<9>, %e<9>; "
    if space.startswith("shared"):
        body += f".shared .align 128 .b8 buf[{len(data)}]; mov.u64 %q0, buf; mov.u32 %r0, %t; L: shl.b32 %r1, %r0, 2; cvt.u64.u32 %q1, %r1; add.u64 %q2, %x, %q1;"
        body += f"add.u64 %q3, %q0, %q1; ld.global.u32 %r2, [%q2]; st.shared.u32 [%q3], %r2; add.u32 %r0, %r0, 32; setp.lt.u32 %p0, %r0, {len(data) // 4}; @%p0 bra L; bar.sync 0;"
    else:
        body += "mov.u64 %q0, %x;"
    na, nb, nc = counts
    group = lambda r, count: "{" + ", ".join(f"%{r}{i}" for i in range(count)) + "}"  # noqa: E731
    strides = {"a": k if al == "row" else m, "b": n if bl == "row" else k, "c": n}
    for r, order, count, kk, start in (("a", al, na, kind, starts[0]), ("b", bl, nb, kind, starts[1]), ("c", "row", nc, total, starts[2])):
        body += f"wmma.load.{r}.sync.aligned.{order}.{shape}{dot}.{kk} {group(r, count)}, [%q0+{start}], {strides[r]};"
    if kind == "f16":
        word = f"wmma.mma.sync.aligned.{al}.{bl}.{shape}.{total}.{total}{tail}"
    elif kind == "b1":
        word = f"wmma.mma.{op}.popc.sync.aligned.{al}.{bl}.{shape}.s32.b1.b1.s32"
    elif kind == "f64" and tail:
        word = f"wmma.mma.sync.aligned.{al}.{bl}.{shape}{tail}.f64.f64.f64.f64"
    else:
        word = f"wmma.mma.sync.aligned.{al}.{bl}.{shape}.{total}.{kind}.{kind}.{total}{tail}"
    body += f"{word} {group('e', nc)}, {group('a', na)}, {group('b', nb)}, {group('c', nc)};"
    body += f"wmma.store.d.sync.aligned.col.{shape}.global.{total} [%y], {group('e', nc)}, {m};"
    out = np.frombuffer(packed(c_codes(result, total), "col", BITS[total]).tobytes(), np.uint32).reshape(32, -1)
    KERNELS.append(Kernel(f"{word} {space}", body, out, given))


for _shape, _kind, _total, *_counts in manual.WMMA:
    _small = bits(_kind) < 8
    for _al, _bl in [("row", "col")] if _small else itertools.product(("row", "col"), repeat=2):
        for _op in ("xor", "and") if _kind == "b1" else ("",):
            for _space in ("global", "shared", "shared::cta", ""):
                wmma(_shape, _kind, _total, _counts, _al, _bl, _space, op=_op)
wmma("m8n8k4", "f64", "f64", (1, 1, 2), "row", "col", "global", tail=".rn")
wmma("m16n16k16", "s8", "s32", (2, 2, 8), "row", "col", "global", tail=".satfinite")

# ldmatrix, stmatrix, movmatrix

ROWS = random_words(32, 4, seed=7)  # lane l holds row l % 8 of matrix l // 8, 16 bytes
MATRICES = ROWS.view(np.uint16).reshape(4, 8, 8)
AT = ".shared .align 16 .b8 s[512]; mov.u32 %r0, s; mad.lo.u32 %r1, %t, 16, %r0;"


def fragments(matrices):
    """Lane l holds elements 2(l % 4) and the next of row l // 4 of each matrix."""
    return np.array([[int(m[i // 4, 2 * (i % 4)]) | int(m[i // 4, 2 * (i % 4) + 1]) << 16 for m in matrices] for i in range(32)], np.uint32)


for _n, _trans, _space in itertools.product((1, 2, 4), ("", ".trans"), ("", ".shared", ".shared::cta")):
    _seen = MATRICES[:_n].transpose(0, 2, 1) if _trans else MATRICES[:_n]
    _regs = ", ".join(f"%r{10 + i}" for i in range(_n))
    _to = "mov.u64 %q0, s; cvta.shared.u64 %q0, %q0; mul.wide.u32 %q1, %t, 16; add.u64 %q0, %q0, %q1;" if not _space else ""
    _address = "%q0" if not _space else "%r1"
    KERNELS.append(Kernel(f"ldmatrix x{_n}{_trans}{_space}", AT + _to + f"""ld.global.v4.u32 {{%r2, %r3, %r4, %r5}}, [%xt]; st.shared.v4.u32 [%r1], {{%r2, %r3, %r4, %r5}};
        bar.sync 0; ldmatrix.sync.aligned.m8n8.x{_n}{_trans}{_space}.b16 {{{_regs}}}, [{_address}];""" + "".join(
            f"st.global.u32 [%yt+{4 * i}], %r{10 + i};" for i in range(_n)), fragments(_seen), ROWS))  # fmt: skip
    _frag = np.hstack([fragments(_seen), np.zeros((32, 4 - _n), np.uint32)])
    _left = np.zeros((32, 4), np.uint32)
    _left[: 8 * _n] = ROWS[: 8 * _n]
    KERNELS.append(Kernel(f"stmatrix x{_n}{_trans}{_space}", AT + _to + f"""st.shared.v4.u32 [%r1], {{0, 0, 0, 0}}; bar.sync 0;
        ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%xt]; stmatrix.sync.aligned.m8n8.x{_n}{_trans}{_space}.b16 [{_address}], {{{_regs}}};
        bar.sync 0; ld.shared.v4.u32 {{%r2, %r3, %r4, %r5}}, [%r1]; st.global.v4.u32 [%yt], {{%r2, %r3, %r4, %r5}};""", _left, _frag))  # fmt: skip
KERNELS.append(Kernel("movmatrix", "ld.global.u32 %r0, [%xt]; movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r0; st.global.u32 [%yt], %r1;",
                      fragments([MATRICES[0].T]), np.hstack([fragments([MATRICES[0]])] * 2)))  # fmt: skip
