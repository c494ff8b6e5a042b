"""Whole small kernels, for instructions whose meaning needs memory, a warp, or a block: a `Kernel` is a body, its input and the words that it must write.

The body finds: %t the thread, %lane, %x and %y the addresses of input and output, %xt and %yt this thread's part of them, and registers
%p0.. %h0.. (16 bits) %r0.. %q0.. (64 bits) %f0.. %d0...
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tilec.sim import run_ptx
from tilec.sim.decode import decode
from tilec.sim.parse import parse
from tilec.sim.table import lookup

from .harness import HEADER

POISON = 0x5A5A5A5A


@dataclass
class Kernel:
    """`want`: words (32 bits) that each thread writes, [threads, n], or a function of (words, report) that asserts. `given`: words that
    each thread reads, [threads, m]. `findings`: kinds that the report must have. `outside`: text before the kernel."""

    name: str
    body: str
    want: np.ndarray | Callable
    given: np.ndarray = field(default_factory=lambda: np.zeros((32, 2), np.uint32))
    threads: int = 32
    words: int = 2  # of output per thread, if `want` is a function
    findings: tuple = ()
    outside: str = ""
    exact: str | None = None

    def __repr__(self):
        return self.name

    def text(self):
        words = self.words if callable(self.want) else self.want.shape[1]
        return f"""{HEADER}{self.outside}
.visible .entry k(.param .align 16 .b8 px[8], .param .u64 py) {{
    .reg .pred %p<16>; .reg .b16 %h<64>; .reg .b32 %r<128>, %t, %lane; .reg .b64 %q<128>, %x, %y, %xt, %yt; .reg .f32 %f<64>; .reg .f64 %d<64>;
    ld.param.u64 %x, [px]; ld.param.u64 %y, [py]; mov.u32 %t, %tid.x; and.b32 %lane, %t, 31;
    mul.wide.u32 %xt, %t, {4 * self.given.shape[1]}; add.s64 %xt, %xt, %x; mul.wide.u32 %yt, %t, {4 * words}; add.s64 %yt, %yt, %y;
{self.body}
    ret;
}}
"""

    def rows(self):
        """Rows of the table that the kernel uses: of its text, and what calls became."""
        text = self.text()
        statements = re.findall(r"(?:^|[;{}:]|@!?%\w+)\s*([a-z][\w.:]*\w)(?=[\s;(])", re.sub(r"//.*", "", text))
        found = [lookup(word) for word in statements]
        return {id(f[0]) for f in found if f} | {id(op.row) for op in decode(parse(text), "k").ops}

    def run(self):
        words = self.words if callable(self.want) else self.want.shape[1]
        given, out = self.given.astype(np.uint32), np.full((self.threads, words), POISON, np.uint32)
        report = run_ptx(self.text(), "k", 1, self.threads, [given, out], exact=self.exact)
        assert tuple(sorted({f.kind for f in report.findings})) == self.findings, "\n".join(map(str, report.findings))
        if callable(self.want):
            self.want(out, report)
            return
        wrong = np.argwhere(out != self.want.astype(np.uint32))
        assert not len(wrong), f"{len(wrong)} words wrong; word {wrong[0]}: {out[tuple(wrong[0])]:#x}, not {int(self.want[tuple(wrong[0])]):#x}\n{self.body}"


def random_words(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 32, shape, dtype=np.uint32)
