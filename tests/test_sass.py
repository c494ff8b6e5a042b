"""Machine code read back: opcodes, loops, places in the source."""

import pytest
from llvm_samples import LINES, MMA_LOOP, VECTOR_ADD

from tilec.backend import sass, tools
from tilec.backend.cubin import assemble
from tilec.backend.nvptx import to_ptx
from tilec.errors import TileError

needs_nvdisasm = pytest.mark.skipif(not tools.find("nvdisasm"), reason="there is no nvdisasm")


def read(text, arch="sm_80", lineinfo=False):
    return sass.disassemble(assemble(to_ptx(text, arch), arch, lineinfo).data, lineinfo)


@needs_nvdisasm
@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"])
def test_sixteen_byte_accesses(arch):
    code = read(VECTOR_ADD, arch)
    assert code.name == "vector_add"
    assert len(code.find(r"LDG\.E\.128")) == 2
    assert len(code.find(r"STG\.E\.128")) == 1
    assert sum(n for op, n in code.counts().items() if op.startswith("FADD")) in (2, 4)  # two packed, or four single
    assert code.hot_loop() is None


@needs_nvdisasm
def test_the_hot_loop():
    loop = read(MMA_LOOP).hot_loop()
    assert loop is not None
    assert loop.counts()["HMMA.16816.F32"] == 1
    assert loop.instructions[-1].target == loop.first


@needs_nvdisasm
def test_places_in_the_source():
    code = read(LINES, lineinfo=True)
    where = {i.name: i.place for i in code.instructions}
    assert where["LDG"] == ("/home/me/kernel.py", 12)
    assert where["MUFU"] == ("/home/me/helper.py", 4)
    assert where["STG"] == ("/home/me/kernel.py", 13)
    assert all(i.place is None for i in read(LINES).instructions)


LISTING = """
	.section	.text.helper,"ax",@progbits
        .type           helper,@function
.text.helper:
        /*0000*/                   RET.ABS.NODEC R20 0x0 ;
	.section	.text.k,"ax",@progbits
        .other          k,@"STO_CUDA_ENTRY STV_DEFAULT"
.text.k:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
.L_x_1:
        /*0010*/              @!P0 LDG.E R2, [R4.64+0x10] ;
        /*0020*/             @!PT  LDS RZ, [RZ] ;
        /*0030*/                   FADD R2, R2, 1 ;
        /*0040*/               @P1 BRA `(.L_x_1);
        /*0050*/                   IADD3 R3, R3, 0x1, RZ ;
        /*0060*/               @P2 BRA `(.L_x_0);
        /*0070*/                   EXIT ;
.L_x_2:
        /*0080*/                   BRA `(.L_x_2);
        /*0090*/                   NOP;
"""


def test_parsing_by_hand():
    code = sass.parse(LISTING)
    assert code.name == "k"
    assert str(code.instructions[1]) == "@!P0 LDG.E R2, [R4.64+0x10]"
    assert code.counts() == {"MOV": 1, "LDG.E": 1, "FADD": 1, "BRA": 3, "IADD3": 1, "EXIT": 1}
    assert [(loop.first, loop.last) for loop in code.loops] == [(0x10, 0x60)]


INNER = LISTING.replace(".L_x_1:\n", "").replace("        /*0030*/", ".L_x_1:\n        /*0030*/")


def test_the_hot_loop_is_an_inner_one():
    code = sass.parse(INNER)
    assert [(loop.first, loop.last) for loop in code.loops] == [(0x10, 0x60), (0x30, 0x40)]
    hot = code.hot_loop()
    assert hot is not None
    assert [i.name for i in hot.instructions] == ["FADD", "BRA"]


@pytest.mark.parametrize("opcode", ["HMMA.16816.F32", "IMMA.16832.S8.S8", "OMMA.SF.16864", "HGMMA.64x128x16.F32", "UTCHMMA", "DMMA.884"])
def test_opcodes_of_the_tensor_core(opcode):
    assert sass.is_mma(opcode)
    assert not sass.is_mma("I" + opcode)


def test_without_nvdisasm_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(tools, "find", lambda _: None)
    with pytest.raises(TileError, match=r"tilec\[sass\]"):
        sass.disassemble(b"")


@needs_nvdisasm
def test_what_is_no_cubin_is_refused():
    with pytest.raises(TileError, match="nvdisasm refuses the cubin"):
        sass.disassemble(b"not a cubin")
