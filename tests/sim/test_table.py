"""Every row of the instruction table, run and compared with an independent formula: tests/sim/table has a file for each family.

`test_every_row_has_a_case` fails for a row that no case reaches.
"""

import itertools

import pytest

from tilec.sim.table import TABLE, lookup

from .table import atomic, control, conversion, exhaustive, floating, harness, integer, matrix, memory, warp

VALUES = integer.CASES + floating.CASES + conversion.CASES
CHUNK = 150
CHUNKS = [VALUES[i : i + CHUNK] for i in range(0, len(VALUES), CHUNK)]
KERNELS = [k for family in (memory, atomic, warp, control, matrix) for k in family.KERNELS]
TOGETHER = 40
BATCHES = [KERNELS[i : i + TOGETHER] for i in range(0, len(KERNELS), TOGETHER)]


@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_values(number):
    harness.run(CHUNKS[number])


@pytest.mark.parametrize("mode", [m for m in harness.MODES if m != "plain"])
def test_values_under_guards_and_branches(mode):
    """One case of each opcode and signature in the other surroundings."""
    some = list({(c.opcode.split(".")[0], c.dests, c.sources): c for c in VALUES}.values())
    for i in range(0, len(some), CHUNK):
        harness.run(some[i : i + CHUNK], mode, checks=mode == "branch")


@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_kernels(number):
    for kernel in BATCHES[number]:
        try:
            kernel.run()
        except Exception as error:
            raise AssertionError(f"{kernel.name}: {error}") from error


def test_every_row_has_a_case():
    rows = {id(found[0]) for found in map(lookup, {case.opcode for case in VALUES} | exhaustive.opcodes()) if found}
    rows = rows.union(*(k.rows() for k in KERNELS))
    missing = [row.pattern for row in itertools.chain(*TABLE.values()) if id(row) not in rows]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("source", exhaustive.SOURCES)
def test_conversions_of_every_pattern(source):
    wrong = exhaustive.scalars(source)
    assert not wrong, "\n".join(wrong)


def test_conversions_of_every_pair_of_narrow_floats():
    wrong = exhaustive.pairs()
    assert not wrong, "\n".join(wrong)
