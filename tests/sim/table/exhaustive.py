"""Conversions of every pattern of 8 or 16 bits: 65,536 threads, one for each."""

import numpy as np

from tilec.sim import run_ptx

from .conversion import ALL, codes, exhaustive, expected, narrowed, to_float, widened
from .floating import value
from .harness import HEADER, declare, size, width

SOURCES = ["u8", "s8", "u16", "s16", "f16", "bf16"]


def run(rows):
    """`rows`: (opcode, destination's type, source's, pattern of the source as PTX makes it of %i). Results [opcodes, 65536] of 64 bits."""
    lines = []
    for k, (opcode, to, source, make) in enumerate(rows):
        move = f"cvt.u64.u{8 * size(to)} %word, %d;" if size(to) < 8 else "mov.b64 %word, %d;"
        lines += ["{", declare(to, "%d"), declare(source, "%s"), make, f"{opcode} %d, %s;", move, f"st.global.u64 [%out+{k * 8 * 65536}], %word;", "}"]
    text = HEADER + """.visible .entry all(.param .u64 b) { .reg .b64 %out, %at, %word; .reg .b32 %i, %n;
    ld.param.u64 %out, [b]; mov.u32 %n, %ctaid.x; mov.u32 %i, %tid.x; mad.lo.u32 %i, %n, 1024, %i; mul.wide.u32 %at, %i, 8; add.u64 %out, %out, %at;
    """ + "\n".join(lines) + "ret; }"  # fmt: skip
    out = np.zeros((len(rows), 65536), np.uint64)
    report = run_ptx(text, "all", 64, 1024, [out], checks=False, costs=False)
    assert not report.findings
    return out


def differences(opcode, got, want, floating):
    """Bit for bit; where a NaN is due, any NaN."""
    bits = width(floating) if floating else 64
    want = want.astype(np.uint64)
    if floating:
        top = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000, "f64": 0x7FF0000000000000}[floating]
        whole = np.uint64((1 << bits - 1) - 1)
        nan = ((want & whole) > np.uint64(top)) & ((got & whole) > np.uint64(top))
        want = np.where(nan, got, want)
    wrong = np.flatnonzero(got != want)
    return [f"{opcode} of {int(wrong[0]):#x} gave {int(got[wrong[0]]):#x}, not {int(want[wrong[0]]):#x}; {len(wrong)} wrong"] if len(wrong) else []


def scalars(source):
    """Every opcode of an 8- or 16-bit source; complaints."""
    opcodes = exhaustive(source)
    found = []
    for start in range(0, len(opcodes), 24):
        some = opcodes[start : start + 24]
        for opcode, got in zip(some, run([(o, o.split(".")[-2], source, "cvt.u16.u32 %s, %i;") for o in some]), strict=True):
            to = opcode.split(".")[-2]
            bits = np.uint64((1 << 8 * size(to)) - 1 & (1 << 64) - 1)
            want = expected(opcode)
            found += differences(opcode, got, want if "f" in to else want & bits, to if "f" in to else "")
    return found


LOW = ALL & 255
HIGH = ALL >> 8


def narrow_floats():
    """Pairs of 8-bit floats from and to pairs of halves, and scales: (opcode, types, source, expected pattern)."""
    rows, wants = [], []
    for kind in ("e4m3", "e5m2", "e2m3", "e3m2"):
        for relu in ("", ".relu"):
            values = np.array([widened(i if kind in ("e4m3", "e5m2") else i & 63, kind) for i in range(256)])
            values = np.where((values < 0) & (relu != ""), 0.0, values)
            half = values.astype(np.float16).view(np.uint16).astype(np.uint64)
            half = np.where(np.isnan(values), np.uint64(0x7FFF), half)
            if relu:
                half = np.where(half == 0x8000, 0, half).astype(np.uint64)
            rows.append((f"cvt.rn{relu}.f16x2.{kind}x2", "b32", "b16", "cvt.u16.u32 %s, %i;"))
            wants.append(half[LOW] | half[HIGH] << np.uint64(16))
    for kind in ("e4m3", "e5m2"):
        for source in ("f16", "bf16"):
            for relu in ("", ".relu"):
                one = np.array([narrowed(value(i, source), kind, relu != "") for i in range(65536)], np.uint64)
                rows.append((f"cvt.rn.satfinite{relu}.{kind}x2.{source}x2", "b16", "b32", "xor.b32 %n, %i, 0x8001; shl.b32 %s, %n, 16; or.b32 %s, %s, %i;"))
                wants.append(one | one[ALL ^ 0x8001] << np.uint64(8))
    scale = np.array([2.0 ** (i - 127) if i < 255 else np.nan for i in range(256)])
    patterns = codes(to_float(scale, "bf16", "rn"), "bf16").astype(np.uint64)
    patterns[255] = 0x7FFF
    rows.append(("cvt.rn.bf16x2.ue8m0x2", "b32", "b16", "cvt.u16.u32 %s, %i;"))
    wants.append(patterns[LOW] | patterns[HIGH] << np.uint64(16))
    four = np.array([widened(i, "e2m1") for i in range(16)], np.float16).view(np.uint16).astype(np.uint64)
    rows.append(("{ .reg .b8 %byte; cvt.u8.u16 %byte, %s; cvt.rn.f16x2.e2m1x2 %d, %byte; } //", "b32", "b16", "cvt.u16.u32 %s, %i;"))
    wants.append(four[LOW & 15] | four[LOW >> 4] << np.uint64(16))
    return rows, wants


def pairs():
    rows, wants = narrow_floats()
    return [line for row, got, want in zip(rows, run(rows), wants, strict=True) for line in differences(row[0], got, want, "")]


def opcodes():
    """What is run here."""
    return {o for s in SOURCES for o in exhaustive(s)} | {r[0].split(";")[-2].split()[0] if r[0].startswith("{") else r[0] for r in narrow_floats()[0]}


