"""Every row of the instruction table, run and compared with an independent formula: tests/sim/table has a file for each family.

`test_every_row_has_a_case` fails for a row that no case reaches. The names of tests do not depend on the table.
"""

import itertools

import pytest

from tilec.sim.table import TABLE, lookup

from .table import conversion, floating, harness, integer

VALUES = integer.CASES + floating.CASES + conversion.CASES
CHUNK = 200
CHUNKS = [VALUES[i : i + CHUNK] for i in range(0, len(VALUES), CHUNK)]


@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_values(number):
    harness.run(CHUNKS[number], "plain")


def reached():
    opcodes = {case.opcode for case in VALUES}
    rows = set()
    for o in opcodes:
        found = lookup(o)
        assert found, o
        rows.add(id(found[0]))
    return rows

def test_every_row_has_a_case():
    seen = reached()
    missing = [row.pattern for row in itertools.chain(*TABLE.values()) if id(row) not in seen]
    assert not missing, "\n" + "\n".join(missing)
