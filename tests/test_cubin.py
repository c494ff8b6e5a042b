"""PTX to machine code by both assemblers: resources, errors, notes that are errors."""

import pytest
from llvm_samples import SHARED, VECTOR_ADD

import tilec as tc
from tilec.backend import cubin, tools
from tilec.backend.cubin import Resources, assemble, resources
from tilec.backend.nvptx import to_ptx
from tilec.errors import TileError

needs_ptxas = pytest.mark.skipif(not tools.find("ptxas"), reason="there is no ptxas")
MAKERS = ["nvjitlink", pytest.param("ptxas", marks=needs_ptxas)]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a", "sm_120a"])
def test_resources(maker, arch):
    """128 threads exchange through 4096 bytes with one barrier; the 1 KB that the system keeps is not the kernel's."""
    made = assemble(to_ptx(SHARED, arch), arch, prefer=maker)
    assert made.data[:4] == b"\x7fELF"
    assert made.maker == maker
    assert (made.resources.shared, made.resources.barriers) == (4096, 1)
    assert (made.resources.spill_stores, made.resources.spill_loads, made.resources.stack) == (0, 0, 0)
    assert 4 <= made.resources.registers <= 32


def test_what_was_compiled_prints_in_a_line():
    @tc.kernel(warps=1)
    def nothing():
        tc.grid(1)

    text = repr(nothing.compile("sm_80"))
    assert text.startswith("<nothing compiled for sm_80: ")
    assert len(text) < 250


def test_the_log_of_ptxas_and_of_nvjitlink_say_the_same():
    """The two texts are the assemblers' own, for one kernel that spills, cut to what matters."""
    body = "Used 255 registers, used 1 barriers, 132 bytes smem, 380 bytes cmem[0]\n"
    ptxas = "    48 bytes stack frame, 132 bytes spill stores, 164 bytes spill loads\nptxas info    : " + body
    linker = ptxas + "info : used 255 registers, used 1 barriers, 48 stack, 1156 bytes smem, 380 bytes cmem[0], 0 bytes lmem\n"
    expected = Resources(registers=255, barriers=1, stack=48, spill_stores=132, spill_loads=164, shared=132, constant=380)
    assert resources(ptxas) == resources(linker) == expected


@pytest.mark.parametrize("maker", MAKERS)
def test_an_assembler_that_refuses_is_quoted_and_the_ptx_kept(monkeypatch, tmp_path, maker):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ptx = to_ptx(VECTOR_ADD, "sm_80").replace("add.rn.f32", "add.rn.f33", 1)
    with pytest.raises(TileError, match=f"{maker} refuses the PTX for sm_80: .*line") as e:
        assemble(ptx, "sm_80", prefer=maker)
    (kept,) = tmp_path.glob("tilec-*/kernel.ptx")
    assert kept.read_text() == ptx
    assert str(kept) in str(e.value)


SETMAXNREG = """
define ptx_kernel void @k() "nvvm.reqntid"="384,1,1" "nvvm.minctasm"="1" {
  call void @llvm.nvvm.setmaxnreg.dec.sync.aligned.u32(i32 40)
  ret void
}
"""


def test_a_note_that_the_assembler_ignored_something_is_an_error():
    """nvJitLink says C7504 and drops the instruction."""
    with pytest.raises(TileError, match=r"C7504.*setmaxnreg") as e:
        assemble(to_ptx(SETMAXNREG, "sm_90a"), "sm_90a", prefer="nvjitlink")
    assert "TILEC_ASSEMBLER=ptxas" in str(e.value)


@needs_ptxas
def test_ptxas_keeps_it():
    assert not [line for line in assemble(to_ptx(SETMAXNREG, "sm_90a"), "sm_90a", prefer="ptxas").log.splitlines() if "C75" in line]


def test_who_chooses_the_assembler(monkeypatch):
    monkeypatch.delenv("TILEC_ASSEMBLER", raising=False)
    assert cubin.choose() == "nvjitlink"
    monkeypatch.setenv("TILEC_ASSEMBLER", "ptxas")
    assert cubin.choose() == "ptxas"
    assert cubin.choose("nvjitlink") == "nvjitlink"
    with pytest.raises(TileError, match="no assembler is called 'nvcc'"):
        cubin.choose("nvcc")


def test_without_ptxas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(tools, "find", lambda _: None)
    with pytest.raises(TileError, match=r"tilec\[ptxas\]"):
        assemble("", "sm_80", prefer="ptxas")


def test_a_crash_of_ptxas_is_an_error(monkeypatch, tmp_path):
    fake = tmp_path / "ptxas"
    fake.write_text("#!/bin/sh\nkill -SEGV $$\n")
    fake.chmod(0o755)
    monkeypatch.setenv("TILEC_PTXAS", str(fake))
    with pytest.raises(TileError, match="crashed with signal 11"):
        assemble(".version 9.0", "sm_80", prefer="ptxas")
