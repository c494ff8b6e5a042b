"""atom and red: each on an address of its own, and all threads on one address."""

import struct
from collections import Counter
from functools import reduce

import numpy as np

from .floating import value as float_value
from .harness import expand, halves, integers, joined, number, width
from .kernels import POISON, Kernel

KERNELS = []
SCOPES = "{,.relaxed.gpu,.acquire.sys,.release.cta,.acq_rel.cluster}"
SPACES = ["global", "shared", "shared::cta", ""]


def summed(a, b, kind):
    """One rounding to nearest; the sums of these values are exact in f64."""
    if kind.endswith("x2"):
        return joined(*(summed(x, y, kind[:-2]) for x, y in zip(halves(a), halves(b), strict=True)))
    total = float_value(a, kind) + float_value(b, kind)
    codes = {"f16": ("<e", "<H"), "f32": ("<f", "<I"), "f64": ("<d", "<Q")}
    if kind == "bf16":
        return struct.unpack("<I", struct.pack("<f", total))[0] >> 16
    return struct.unpack(codes[kind][1], struct.pack(codes[kind][0], total))[0]


def extreme(a, b, kind, pick):
    if kind.endswith("x2"):
        return joined(*(extreme(x, y, kind[:-2], pick) for x, y in zip(halves(a), halves(b), strict=True)))
    return a if pick(float_value(a, kind), float_value(b, kind)) == float_value(a, kind) else b


def after(op, kind, old, b, c=0):
    """The word that is left (PTX manual, atom)."""
    if "f" in kind:
        return summed(old, b, kind) if op == "add" else extreme(old, b, kind, min if op == "min" else max)
    x, y = number(old, kind), number(b, kind)
    return {
        "add": x + y, "min": min(x, y), "max": max(x, y), "and": x & y, "or": x | y, "xor": x ^ y, "exch": y, "cas": c if x == y else x,
        "inc": 0 if x >= y else x + 1, "dec": y if x == 0 or x > y else x - 1,
    }[op] & (1 << width(kind)) - 1  # fmt: skip


def floats(kind, seed):
    """Small multiples of 1/4: their sums need no rounding in any type."""
    rng = np.random.default_rng(seed)
    if kind.endswith("x2"):
        return [joined(*p) for p in zip(floats(kind[:-2], seed), floats(kind[:-2], seed + 9), strict=True)]
    return [summed(0, struct.unpack("<Q", struct.pack("<d", int(k) / 4))[0], "f64") if kind == "f64" else code(int(k) / 4, kind)
            for k in rng.integers(-8, 9, 32)]  # fmt: skip


def code(x, kind):
    if kind == "bf16":
        return struct.unpack("<I", struct.pack("<f", x))[0] >> 16
    floating, unsigned = {"f16": ("<e", "<H"), "f32": ("<f", "<I")}[kind]
    return struct.unpack(unsigned, struct.pack(floating, x))[0]


def operands(op, kind):
    make = floats if "f" in kind else lambda k, seed: integers(k, 32, seed)
    old, b, c = make(kind, 1), make(kind, 2), make(kind, 3)
    if op in ("cas", "inc", "dec"):
        b = [x if i % 2 else y for i, (x, y) in enumerate(zip(old, b, strict=True))]
    return old, b, c


def columns(values):
    return np.array(values, np.uint64).reshape(-1, 1).view(np.uint32)


def opcode(name, scope, space, op, kind):
    dot = f".{space}" if space else ""
    noftz = ".noftz" if "f16" in kind else ""
    return f"{name}{scope}{dot}.{op}{noftz}.{kind}"


TYPES = {
    "add": "u32 s32 u64 f32 f64 f16 bf16 f16x2 bf16x2", "min": "u32 s32 u64 s64", "max": "u32 s32 u64 s64", "and": "b32 b64", "or": "b32 b64",
    "xor": "b32 b64", "inc": "u32", "dec": "u32", "exch": "b32 b64", "cas": "b16 b32 b64",
}  # fmt: skip


def cell(space):
    """%q100: 8 bytes of the thread's own, which hold its first slot; %q102: 8 bytes of all threads, which hold thread 0's."""
    body = "ld.global.u64 %q0, [%xt]; ld.global.u64 %q1, [%xt+8]; ld.global.u64 %q2, [%xt+16]; cvt.u16.u64 %h1, %q1; cvt.u16.u64 %h2, %q2;"
    body += "cvt.u32.u64 %r1, %q1; cvt.u32.u64 %r2, %q2; mov.b32 %f1, %r1; mov.b64 %d1, %q1; setp.eq.u32 %p0, %t, 0; mov.u64 %q11, 0; mov.u32 %r11, 0; mov.u16 %h11, 0;"  # noqa: E501
    if space in ("global", ""):
        body += "mov.b64 %q100, %yt; add.u64 %q102, %y, 1024;"
    else:
        body += ".shared .align 8 .b8 cells[264]; mov.u64 %q100, cells; mul.wide.u32 %q101, %t, 8; add.u64 %q102, %q100, 256; add.u64 %q100, %q100, %q101;"
    dot = f".{space}" if space else ""
    return body + f"st{dot}.u64 [%q100], %q0; @%p0 st{dot}.u64 [%q102], %q0; bar.sync 0;"


def bank(kind, i):
    n = width(kind)
    return {"f32": f"%f{i}", "f64": f"%d{i}"}.get(kind, f"%{'h' if n == 16 else 'r' if n == 32 else 'q'}{i}")


def widened(kind, i):
    move = {"f32": f"mov.b32 %r{i}, %f{i}; cvt.u64.u32 %q{i}, %r{i};", "f64": f"mov.b64 %q{i}, %d{i};"}.get(kind)
    return move or ("" if width(kind) == 64 else f"cvt.u64.u{width(kind)} %q{i}, {bank(kind, i)};")


def kernel(name, scope, space, op, kind):
    old, b, c = operands(op, kind)
    n, dot = width(kind), f".{space}" if space else ""
    word = opcode(name, scope, space, op, kind)
    body, tail = cell(space), f", {bank(kind, 2)}" if op == "cas" else ""
    left = name == "atom"
    for spot, i in ((100, 10), (102, 13)):
        body += f"{word} {f'{bank(kind, i)}, ' if left else ''}[%q{spot}], {bank(kind, 1)}{tail};{widened(kind, i) if left else ''}"
    body += f"bar.sync 0; ld{dot}.u64 %q12, [%q100]; ld{dot}.u64 %q14, [%q102]; bar.sync 0;"
    out = [12, 10, 13, 14] if left else [12, 12, 12, 14]
    body += "add.u64 %q20, %y, 1536; mul.wide.u32 %q21, %t, 32; add.u64 %q20, %q20, %q21;"
    body += "".join(f"st.global.u64 [%q20+{8 * i}], %q{r};" for i, r in enumerate(out))

    def check(words, report):
        slots = words.reshape(-1).view(np.uint64)[192 : 192 + 128].reshape(32, 4)
        low = (1 << n) - 1
        for t in range(32):
            want = after(op, kind, old[t] & low, b[t] & low, c[t] & low)
            assert int(slots[t, 0]) & low == want & low, f"{word}: {old[t]:#x} {b[t]:#x} left {int(slots[t, 0]):#x}, not {want:#x}"
            assert not left or int(slots[t, 1]) & low == old[t] & low, f"{word} returned {int(slots[t, 1]):#x}"
        final, seen = int(slots[0, 3]) & low, [int(x) & low for x in slots[:, 2]]
        if left:  # each value but the last is seen by the thread that replaces it
            made = [after(op, kind, x, b[t] & low, c[t] & low) for t, x in enumerate(seen)]
            assert Counter([*seen, final]) == Counter([*made, old[0] & low]), f"{word}: no order of the threads explains what they saw"
        elif op not in ("inc", "dec"):  # no matter in which order
            want = reduce(lambda x, y: after(op, kind, x, y & low), b, old[0] & low)
            assert final == want, f"{word} of all threads left {final:#x}, not {want:#x}"

    given = np.hstack([columns(old), columns(b), columns(c)])
    return Kernel(f"{word}", body, check, given, words=80)


for _op, _kinds in TYPES.items():
    for _kind in _kinds.split():
        for _space in SPACES if _op in ("add", "cas") else SPACES[:2]:
            KERNELS.append(kernel("atom", "", _space, _op, _kind))
            if _op not in ("exch", "cas"):
                KERNELS.append(kernel("red", "", _space, _op, _kind))
for _scope in expand(SCOPES)[1:]:
    KERNELS.append(kernel("atom", _scope, "global", "max", "s32"))
    KERNELS.append(kernel("atom", _scope, "shared", "cas", "b32"))
    if "acq" not in _scope:
        KERNELS.append(kernel("red", _scope, "global", "add", "u64"))

# Vectors: element by element

for _kind, _v in [("f32", 2), ("f32", 4), ("f16", 2), ("f16", 4), ("f16", 8), ("bf16", 8), ("f16x2", 2), ("f16x2", 4), ("bf16x2", 4)]:
    for _op in ("add",) if _kind == "f32" else ("add", "min", "max"):
        _size = width(_kind) // 8
        _old, _b = ([floats(_kind, s + 10 * i) for i in range(_v)] for s in (1, 2))
        _pack = {2: np.uint16, 4: np.uint32}[_size]
        _olds, _bs = (np.array(x, _pack).T.copy() for x in (_old, _b))
        _want = np.array([[after(_op, _kind, int(x), int(y)) for x, y in zip(p, q, strict=True)] for p, q in zip(_olds, _bs, strict=True)], _pack)
        _pad = np.zeros((32, (16 - _size * _v) // _size), _pack)
        _given = np.hstack([_olds, _pad, _bs, _pad]).view(np.uint32)
        _regs = ", ".join(bank(_kind, i + 1) for i in range(_v))
        _outs = ", ".join(bank(_kind, i + 21) for i in range(_v))
        _bits = f"b{8 * _size}" if _kind != "f32" else "f32"
        _load = "".join(f"ld.global.{_bits} {bank(_kind, i + 1)}, [%xt+{16 + i * _size}];" for i in range(_v))
        _store = "".join(f"st.global.{_bits} [%yt+{16 + i * _size}], {bank(_kind, i + 21)};" for i in range(_v))
        _init = "ld.global.v4.u32 {%r60, %r61, %r62, %r63}, [%xt]; st.global.v4.u32 [%yt], {%r60, %r61, %r62, %r63};"
        _dot = "" if _kind == "f32" else ".noftz"
        _left = np.hstack([_want, _pad]).view(np.uint32)
        _words = np.full((32, 8), POISON, np.uint32)
        _words[:, :4] = _left
        KERNELS.append(Kernel(f"red.v{_v}.{_kind}.{_op}", _init + _load + f"red.global.{_op}{_dot}.v{_v}.{_kind} [%yt], {{{_regs}}};", _words, _given))
        _both = _words.copy()
        _both.view(_pack)[:, 16 // _size : 16 // _size + _v] = _olds
        _text = _init + _load + f"atom.global.{_op}{_dot}.v{_v}.{_kind} {{{_outs}}}, [%yt], {{{_regs}}};" + _store
        KERNELS.append(Kernel(f"atom.v{_v}.{_kind}.{_op}", _text, _both, _given))
