"""The table is strict: a word that it does not hold is refused by name before anything runs, never ignored. What it takes, ptxas takes."""

import re
import subprocess

import numpy as np
import pytest

from tilec.backend import tools
from tilec.sim import Unsupported, run_ptx
from tilec.sim.table import lookup

from .table import harness
from .test_table import CHUNKS, KERNELS, VALUES

WORDS = [
    "sat", "ftz", "rn", "rz", "relu", "cc", "wide", "hi", "approx", "full", "aligned", "sync", "v2", "v3", "relaxed", "gpu", "global", "shared",
    "nc", "ca", "noftz", "NaN", "satfinite", "x2", "trans", "L2::cache_hint", "f16", "f32", "u128", "b24", "uni", "oops",
]  # fmt: skip


def opcodes():
    """One opcode of each combination of name and number of modifiers, of all that the table's tests use."""
    texts = {case.opcode for case in VALUES} | {w for k in KERNELS for w in re.findall(r"(?:[;\s])([a-z]\w*(?:\.[\w:]+)+) ", k.body) if lookup(w)}
    return sorted({(o.split(".")[0], len(o.split("."))): o for o in sorted(texts)}.values())


def strangers(opcode):
    """The opcode with one word more, and with one less, where the table has no such thing."""
    parts = opcode.split(".")
    more = [[*parts[:i], word, *parts[i:]] for word in WORDS for i in range(1, len(parts) + 1)]
    less = [parts[:i] + parts[i + 1 :] for i in range(1, len(parts))]
    return [o for o in map(".".join, more + less) if lookup(o) is None]


def kernel(opcode):
    return f"""{harness.HEADER}.visible .entry k(.param .u64 y) {{ .reg .b64 %y; .reg .b32 %r<9>; ld.param.u64 %y, [y]; st.global.u32 [%y], 1;
        {opcode} %r1, %r2, %r3; ret; }}"""


def test_a_word_that_is_not_in_the_table_is_refused_by_name():
    some = [(o, s) for o in opcodes() for s in strangers(o)]
    assert len(some) > 3000
    rng = np.random.default_rng()
    for i in rng.permutation(len(some))[:400]:
        opcode = some[i][1]
        y = np.zeros(1, np.uint32)
        with pytest.raises(Unsupported) as error:
            run_ptx(kernel(opcode), "k", 1, 32, [y])
        assert opcode in str(error.value)
        assert y[0] == 0


def test_every_unknown_instruction_is_named_at_once():
    text = kernel("add.oops.u32").replace("ret;", "frobnicate.b32 %r1; wgmma.fence.sync.aligned; ret;")
    with pytest.raises(Unsupported) as error:
        run_ptx(text, "k", 1, 32, [np.zeros(1, np.uint32)])
    for name in ("add.oops.u32", "frobnicate.b32", "wgmma.fence.sync.aligned"):
        assert name in str(error.value)


# -- the texts of the table's tests, assembled --------------------------------------------------------------------------------------------

PTXAS = tools.find("ptxas")
# What sm_120a does not have (rounding with random bits and redux of floats are of sm_100a), 32-bit addresses, what the manual has and
# ptxas 13.0 has not, and two loads of 32 bytes from generic addresses at which ptxas 12.9 stumbles.
ELSEWHERE = (
    "membar.proxy.async", "cvt.rs.", "redux.sync.min.f32", "redux.sync.max.f32", "redux.sync.min.abs.f32", "redux.sync.max.abs.f32", "cvta.to.shared.u32",
)  # fmt: skip
STUMBLES = ("ld", "ld.global")


def assembled(text, path):
    path.write_text(text)
    done = subprocess.run([PTXAS, "-O0", "-arch=sm_120a", str(path), "-o", str(path) + ".o"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.skipif(not PTXAS, reason="there is no ptxas")
def test_ptxas_takes_every_value_instruction(tmp_path):
    for number, chunk in enumerate(CHUNKS):
        some = [c for c in chunk if not c.opcode.startswith(ELSEWHERE)]
        assembled(harness.module(some, "plain")[0], tmp_path / f"values{number}.ptx")


@pytest.mark.skipif(not PTXAS, reason="there is no ptxas")
def test_ptxas_takes_the_kernels(tmp_path):
    """A kernel of each name's first word, and some others."""
    usable = [k for k in KERNELS if k.name not in STUMBLES and not any(e in k.body for e in ELSEWHERE)]
    chosen = {k.name.split()[0].split(".")[0]: k for k in usable} | {str(i): usable[i] for i in np.random.default_rng().permutation(len(usable))[:60]}
    for number, k in enumerate(chosen.values()):
        assembled(k.text(), tmp_path / f"kernel{number}.ptx")
