"""The counts in docs/tutorial.md, made anew: `python tests/test_tutorial.py` prints the table.

Sectors, conflicts and instructions are counted by the simulator on 128 x 128 x 256; machine instructions are those of the code for sm_80.
"""

import re
from pathlib import Path

import pytest

from examples import example
from tilec.backend.sass import disassemble
from tilec.backend.tools import find

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
SIZES = {"m": 128, "n": 128, "k": 256}
STEPS = [f"matmul_v{i}" for i in range(6)]
HEAD = ["step", "sectors read", "stores to shared memory", "passes lost to conflicts", "barriers", "blocks", "machine instructions"]
KINDS = {"LDGSTS": r"LDGSTS\.\S*128", "LDG": r"LDG\.E\.128", "STS": r"STS\.128", "LDSM": r"LDSM\.\S*\.4", "HMMA": r"HMMA"}


def row(name):
    """One line of the table."""
    kernel = example(name)
    args, _ = kernel.example_args(0, **SIZES)
    compiled = kernel.compile()
    report = kernel.simulate(*args)
    operands = [c for c in report.costs if re.search(r"\bld\.global|cp\.async\.c[ag]", c.site.text)]
    stores = [c for c in report.costs if "st.shared" in c.site.text]
    bars = sum(c.issued for c in report.costs if "bar.sync" in c.site.text)
    blocks = {"matmul_v4": 16, "matmul_v5": 3}.get(name, 4)
    code = disassemble(compiled.cubin)
    kinds = " ".join(kind for kind, pattern in KINDS.items() if code.find(pattern))
    return [name[-2:], sum(c.sectors for c in operands), sum(c.accesses for c in stores), report.shared_conflicts, bars // 4, blocks, kinds]


def line(cells):
    return "| " + " | ".join(map(str, cells)) + " |"


@pytest.mark.skipif(not find("nvdisasm"), reason="machine code is read by nvdisasm")
@pytest.mark.parametrize("name", STEPS)
def test_the_table_is_true(name):
    assert line(row(name)) in TUTORIAL.read_text().splitlines()


if __name__ == "__main__":
    print(line(HEAD), line(["---"] * len(HEAD)), *(line(row(name)) for name in STEPS), sep="\n")
