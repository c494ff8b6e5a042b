"""Machine code of the examples: what SASS holds, line tables, refusals before code generation, resources."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tilec as tc
from examples import FOLDER, NAMES, WITH_DOT, example, load_benchmark
from tilec import TileError, f32
from tilec.backend.sass import disassemble, is_mma

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a")
# Kernels whose default configuration asks for more shared memory than a target has are built with fewer stages there, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*stages instead of.*:UserWarning")

M, N, K = tc.dims("M N K")


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", NAMES)
def test_compiles_without_spills(name: str, arch: str) -> None:
    built = example(name).compile(arch)
    assert built.resources.spill_bytes == 0
    assert built.cubin[:4] == b"\x7fELF"
    counts = disassemble(built.cubin).counts()
    assert any(is_mma(opcode) for opcode in counts) == (name in WITH_DOT)
    assert not any(opcode.startswith(("LDL", "STL")) for opcode in counts)


@pytest.mark.parametrize("name", ["vector_add", "softmax"])
def test_16_byte_accesses(name: str) -> None:
    counts = disassemble(example(name).compile("sm_80").cubin).counts()
    assert any(o.startswith("LDG") and ".128" in o for o in counts)
    assert any(o.startswith("STG") and ".128" in o for o in counts)


@pytest.mark.parametrize("name", ["softmax", "quantized_matmul"])
def test_line_tables_change_nothing(name: str) -> None:
    kernel = example(name)
    plain, mapped = (disassemble(kernel.compile("sm_80", lineinfo=on).cubin, lineinfo=on) for on in (False, True))
    assert [str(i) for i in plain.instructions] == [str(i) for i in mapped.instructions]
    path = FOLDER / f"{name}.py"
    text = path.read_text().splitlines()
    lines = {i.place[1] for i in mapped.instructions if getattr(i, "place", None) and i.place[0].endswith(path.name)}
    assert lines, "no instruction has a line"
    first = next(n for n, line in enumerate(text, 1) if line.startswith("def "))
    last = next(n for n, line in enumerate(text, 1) if line.startswith("@") and ".example" in line)
    assert all(first <= line < last for line in lines)
    stores = next(n for n, line in enumerate(text, 1) if "tc.store" in line)
    assert stores in lines


def test_too_much_shared_memory_is_refused_with_its_buffers() -> None:
    @tc.kernel
    def greedy(a: f32[N]):
        tc.grid(1)
        first = tc.shared(f32, [128, 128])
        second = tc.shared(f32, [128, 128])
        tc.store(first, tc.zeros(f32, [128, 128]))
        tc.store(second, tc.zeros(f32, [128, 128]))
        tc.sync()
        tc.store(a, [0], tc.sum(tc.load(first) + tc.load(second), axis=1))

    with pytest.raises(TileError, match="shared memory") as error:
        greedy.compile("sm_86")
    assert "131072 bytes of shared memory per block; sm_86 has 101376" in str(error.value)
    for name in ("first", "second"):
        assert f"65536 bytes: shared tile {name}, shared f32[128, 128]" in str(error.value)


def test_too_many_threads_are_refused() -> None:
    with pytest.raises(TileError, match="1 to 32 warps"):

        @tc.kernel(warps=33)
        def wide(a: f32[N]):
            tc.grid(1)


def test_resources_are_the_assemblers() -> None:
    built = example("quantized_matmul").compile("sm_80")
    assert f"Used {built.resources.registers} registers" in built.log
    spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", built.log)]
    assert built.resources.spill_bytes == sum(spilled)
    assert built.resources.threads == 128
    assert built.resources.occupancy.blocks >= 1


COUNTS = load_benchmark("counts")


@pytest.mark.parametrize(("case", "arch"), [(c, arch) for c in COUNTS.CASES for arch in c.arches], ids=lambda v: getattr(v, "title", v))
def test_loops_are_an_experts(case, arch: str) -> None:
    """No more instructions than the limits, which lie a tenth below what Triton 3.6 needs, or at it; else at what was counted when they were set."""
    found = COUNTS.count(case, arch)
    assert 0 < found.count <= case.limit
    assert found.registers <= case.registers
    assert found.spills == 0


def test_the_plain_matmul_copies_loads_and_multiplies_by_the_widest_instructions() -> None:
    built = example("matmul_plain").compile("sm_80")
    loop = disassemble(built.cubin).hot_loop()
    assert loop is not None
    counts = loop.counts()
    assert sum(n for o, n in counts.items() if is_mma(o)) == 64
    assert sum(n for o, n in counts.items() if o.startswith("LDSM") and o.endswith(".4")) == 16
    assert sum(n for o, n in counts.items() if o.startswith("LDGSTS") and ".128" in o) == 8


@pytest.mark.parametrize("shape", [(128, 96, 64), (130, 136, 40), (66, 130, 71), (5, 3, 2)])
def test_the_masked_matmul_is_right_for_rows_of_any_length(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    rng = np.random.default_rng()
    a, b = rng.standard_normal((m, k)).astype(np.float16), rng.standard_normal((k, n)).astype(np.float16)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    c = np.full((m, n), np.nan, np.float16)
    report = COUNTS.matmul_masked.simulate(a, b, c)
    assert np.linalg.norm(c - exact) <= 2**-10 * np.linalg.norm(exact)
    assert report.findings == []
    assert report.shared_conflicts == 0 or n % 8 or k % 8
    for late in (False, True):
        c[...] = np.nan
        COUNTS.matmul_masked.interpret(a, b, c, stage="pipelined", late_copies=late)
        assert np.linalg.norm(c - exact) <= 2**-10 * np.linalg.norm(exact)
