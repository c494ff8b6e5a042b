"""One-instruction kernels: a `Case` is an opcode, the types of its operands, and its meaning as a plain function of Python integers.

`run` puts many cases into one PTX kernel; thread t of each case works on row t of its operands. The modes run the same cases in other
surroundings: guarded by @p or @!p, in a divergent branch, and with operands that are the same in every thread.
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tilec.sim import run_ptx

THREADS = 64
MODES = ("plain", "guard", "not", "branch", "uniform")
HEADER = ".version 8.8\n.target sm_120a\n.address_size 64\n"


def width(kind):
    """Bits of a type, 1 for predicates."""
    if kind == "pred":
        return 1
    return int(re.search(r"\d+", kind)[0]) * (2 if kind.endswith("x2") else 1)


def expand(text):
    """All words of a pattern such as `add{.rn,.rz}{,.ftz}.f32`."""
    parts = re.split(r"\{([^}]*)\}", text)
    choices = [[p] if i % 2 == 0 else p.split(",") for i, p in enumerate(parts)]
    return ["".join(words) for words in itertools.product(*choices)]


@dataclass
class Case:
    """`meaning(*patterns)` gives the pattern of each destination (one, or a tuple), None where the result is open, or a function that
    says whether a pattern is right. `rows` are tuples of patterns. `form` has the operands as a format: d0, d1, s0, s1, ..., and guard, for what follows in it."""  # noqa: E501

    opcode: str
    dests: tuple[str, ...]
    sources: tuple[str, ...]
    meaning: Callable
    rows: list
    form: str = ""
    before: str = ""  # instructions that stand before it
    after: str = ""  # and behind

    def operands(self):
        dests = "|".join(f"%d{i}" for i in range(len(self.dests)))
        return ", ".join([dests] * bool(dests) + [f"%s{i}" for i in range(len(self.sources))])

    def text(self, guard=""):
        names = {f"d{i}": f"%d{i}" for i in range(len(self.dests))} | {f"s{i}": f"%s{i}" for i in range(len(self.sources))}
        return f"{guard}{self.opcode} {self.form.format(**names, guard=guard) if self.form else self.operands()};"


def size(kind):
    """Bytes of a register of a type (8-bit values live in 16-bit registers)."""
    return max(2, width(kind) // 8) if kind != "pred" else 4


def declare(kind, name):
    return f".reg {'.pred' if kind == 'pred' else f'.b{8 * size(kind)}'} {name};"


def fetch(kind, name, address):
    if kind == "pred":
        return f"ld.global.u32 %word, {address}; setp.ne.u32 {name}, %word, 0;"
    return f"ld.global.b{8 * size(kind)} {name}, {address};"


def put(kind, name, address):
    if kind == "pred":
        return f"selp.u32 %word, 1, 0, {name}; st.global.u32 {address}, %word;"
    return f"st.global.b{8 * size(kind)} {address}, {name};"


FILL = 0xA5A5A5A5A5A5A5A5


def filler(kind):
    return "setp.ne.u32 {}, %me, %me;" if kind == "pred" else f"mov.b{8 * size(kind)} {{}}, {FILL >> (64 - 8 * size(kind))};"


def body(case, mode, slot, out):
    """PTX of one case, which reads slots of 8 bytes a thread from `slot` on and writes such from `out` on."""
    lines = ["{"]
    lines += [declare(k, f"%d{i}") for i, k in enumerate(case.dests)] + [declare(k, f"%s{i}") for i, k in enumerate(case.sources)]
    base = "%first" if mode == "uniform" else "%in"
    lines += [fetch(k, f"%s{i}", f"[{base}+{(slot + i) * 8 * THREADS}]") for i, k in enumerate(case.sources)]
    if mode in ("guard", "not", "branch"):
        lines += [filler(k).format(f"%d{i}") for i, k in enumerate(case.dests)]
    guard = {"guard": "@%odd ", "not": "@!%even "}.get(mode, "")
    lines += [case.before] * bool(case.before)
    if mode == "branch":
        lines += ["@%even bra SKIP;", case.text(), case.after, "SKIP:"]
    else:
        lines += [case.text(guard)] + [guard + case.after] * bool(case.after)
    lines += [put(k, f"%d{i}", f"[%out+{(out + i) * 8 * THREADS}]") for i, k in enumerate(case.dests)]
    return lines + ["}"]


def module(cases, mode):
    """The text, and the input and output slots of each case."""
    lines, slots, slot, out = [], [], 0, 0
    for case in cases:
        lines += body(case, mode, slot, out)
        slots.append((slot, out))
        slot, out = slot + len(case.sources), out + len(case.dests)
    head = """.visible .entry cases(.param .u64 a, .param .u64 b) {
    .reg .b64 %in, %out, %first, %at; .reg .b32 %me, %word, %bit; .reg .pred %odd, %even;
    ld.param.u64 %first, [a]; ld.param.u64 %out, [b];
    mov.u32 %me, %tid.x; mul.wide.u32 %at, %me, 8; add.s64 %in, %first, %at; add.s64 %out, %out, %at;
    and.b32 %bit, %me, 1; setp.eq.u32 %odd, %bit, 1; setp.eq.u32 %even, %bit, 0;
    """
    return HEADER + head + "\n".join(lines) + "\nret;\n}\n", slots, slot, out


def run(cases, mode="plain", checks=False):
    """Run the cases and compare. Raises AssertionError with the instruction, its operands, and both results."""
    text, slots, count, outs = module(cases, mode)
    given = np.zeros((max(1, count), THREADS), np.uint64)
    for case, (slot, _) in zip(cases, slots, strict=True):
        for i in range(len(case.sources)):
            column = [row[i] for row in case.rows]
            given[slot + i] = np.resize(np.array([x & (1 << 64) - 1 for x in column], np.uint64), THREADS)
    results = np.zeros((max(1, outs), THREADS), np.uint64)
    report = run_ptx(text, "cases", 1, THREADS, [given, results], checks=checks, costs=checks)
    assert not report.findings, "\n".join(map(str, report.findings))
    wrong = [complaint for case, (_, out) in zip(cases, slots, strict=True) for complaint in compare(case, mode, results[out:])]
    assert not wrong, f"{len(wrong)} wrong, such as\n" + "\n".join(wrong[:20])


def compare(case, mode, results):
    for t in range(THREADS if mode != "uniform" else 2):
        row = case.rows[0 if mode == "uniform" else t % len(case.rows)]
        want = case.meaning(*row)
        want = want if isinstance(want, tuple) else (want,)
        for i, (w, kind) in enumerate(zip(want, case.dests, strict=True)):
            bits = 1 if kind == "pred" else 8 * size(kind)
            got = int(results[i][t]) & (1 << bits) - 1
            if mode in ("guard", "not", "branch") and t % 2 == 0:
                w = 0 if kind == "pred" else FILL >> (64 - bits)
            right = w is None or (w(got) if callable(w) else got == int(w) & (1 << bits) - 1)
            if not right:
                said = "another" if callable(w) else hex(int(w) & (1 << bits) - 1)
                yield f"{mode}: {case.text()} of {', '.join(map(hex, row))} gave {got:#x}, not {said}"
                return


# Numbers ---------------------------------------------------------------------------------------------------------------------------------


def number(pattern, kind):
    """The integer that a register of an integer type holds."""
    n = width(kind)
    pattern &= (1 << n) - 1
    return pattern - (1 << n) if kind[0] == "s" and pattern >> (n - 1) else pattern


def integers(kind, count=THREADS, seed=0):
    """Patterns of an integer or untyped register: the edges, then random ones of every length."""
    n = width(kind)
    if kind == "pred":
        return [0, 1] * (count // 2)
    rng = np.random.default_rng(seed)
    edges = [0, 1, (1 << n) - 1, 1 << (n - 1), (1 << (n - 1)) - 1, 2, (1 << n) - 2, 1 << (n // 2), (1 << (n // 2)) - 1, 3]
    rest = [int.from_bytes(rng.bytes(8), "little") >> (64 - n) >> int(rng.integers(0, n)) for _ in range(count)]
    flipped = [x ^ ((1 << n) - 1) if i % 3 == 0 else x for i, x in enumerate(rest)]
    return (edges + flipped)[:count]


def tuples(*kinds, make=integers, count=THREADS):
    """Rows of operands: edges meet edges in the first rows."""
    columns = [make(k, count, seed) for seed, k in enumerate(kinds)]
    rng = np.random.default_rng(len(kinds))
    for column in columns[1:]:
        if len(column) == count:
            head = [column[int(j)] for j in rng.permutation(10)]
            column[:10] = head
    return [tuple(row) for row in zip(*columns, strict=True)]


def halves(pattern):
    return pattern & 0xFFFF, pattern >> 16 & 0xFFFF


def joined(low, high):
    return low | high << 16
