"""LLVM IR to PTX: what is selected, and what is refused before LLVM could abort."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from llvm_samples import MMA_LOOP, SHARED, VECTOR_ADD

from tilec.backend.nvptx import HEADER, to_ptx
from tilec.backend.target import TARGETS
from tilec.errors import TileError


def kernel(body):
    return f'define ptx_kernel void @k(ptr addrspace(1) %p, float %x) "nvvm.reqntid"="32,1,1" {{\n  {body}\n  ret void\n}}\n'



@pytest.mark.parametrize("arch", TARGETS)
def test_vectors_stay_vectors_on_every_target(arch):
    ptx = to_ptx(VECTOR_ADD, arch)
    assert f".target {arch}" in ptx
    assert len(re.findall(r"ld\.global\.nc\.(v4\.b32|v2\.b64)", ptx)) == 2
    assert len(re.findall(r"st\.global\.(v4\.b32|v2\.b64)", ptx)) == 1
    assert ".reqntid 128" in ptx


def test_shared_pointers_are_32_bits():
    stores = re.findall(r"st\.shared\.b32\s+\[(%r\d+)\]", to_ptx(SHARED, "sm_80"))
    assert stores
    assert all(not r.startswith("%rd") for r in stores)


def test_a_loop_told_not_to_unroll_stays_one():
    ptx = to_ptx(MMA_LOOP, "sm_80")
    assert ptx.count("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32") == 1
    assert '.pragma "nounroll"' in ptx


def test_a_module_that_states_its_target_is_taken_as_it_is():
    assert to_ptx(HEADER + VECTOR_ADD, "sm_80") == to_ptx(VECTOR_ADD, "sm_80")


ELECT = kernel("%e = call {i32, i1} @llvm.nvvm.elect.sync(i32 -1)")
TANH = kernel("%y = call float @llvm.tanh.f32(float %x)\n  store float %y, ptr addrspace(1) %p")
LOG = kernel("%y = call afn float @llvm.log.f32(float %x)\n  store float %y, ptr addrspace(1) %p")
POW = kernel("%y = call float @llvm.pow.f32(float %x, float 2.5)\n  store float %y, ptr addrspace(1) %p")
FP8 = kernel("%y = call i16 @llvm.nvvm.ff.to.e4m3x2.rn(float %x, float %x)\n  store i16 %y, ptr addrspace(1) %p")


@pytest.mark.parametrize(
    ("text", "arch", "words"),
    [
        (ELECT, "sm_80", ["sm_80 has no elect.sync", "it is on sm_90, sm_90a"]),
        (FP8, "sm_86", ["sm_86 has no ff.to.e4m3x2.rn", "sm_89"]),
        (TANH, "sm_80", ["llvm.tanh has no lowering", "marked afn"]),
        (LOG, "sm_90a", ["llvm.log has no lowering"]),
    ],
)
def test_what_would_abort_is_refused(text, arch, words):
    with pytest.raises(TileError) as e:
        to_ptx(text, arch)
    assert all(w in str(e.value) for w in words)


@pytest.mark.parametrize(
    ("text", "arch", "ptx"),
    [
        (ELECT, "sm_90", "elect.sync"),
        (FP8, "sm_89", "cvt.rn.satfinite.e4m3x2"),
        (TANH.replace("call", "call afn"), "sm_80", "tanh.approx"),
    ],
)
def test_what_the_target_has_is_not(text, arch, ptx):
    assert ptx in to_ptx(text, arch)


BROKEN = "define void @f() {\n  ret i32 1\n}\n"


@pytest.mark.parametrize("isolate", ["", "1"])
def test_broken_ir_is_kept_for_whoever_looks_into_it(monkeypatch, tmp_path, isolate):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TILEC_ISOLATE", isolate)
    with pytest.raises(TileError, match="error: value doesn't match function result type"):
        to_ptx(BROKEN, "sm_80")
    (kept,) = tmp_path.glob("tilec-*/kernel.ll")
    assert Path(kept).read_text() == HEADER + BROKEN


def test_an_abort_of_llvm_is_an_error_when_isolated(monkeypatch):
    monkeypatch.setenv("TILEC_ISOLATE", "1")
    monkeypatch.setattr("tilec.backend.nvptx.check", lambda *_: None)
    with pytest.raises(TileError, match=r"LLVM crashed: .*pow"):
        to_ptx(POW, "sm_80")


SCRIPT = """
import os
import threading
from tilec import cli
from tilec.backend import cubin, nvptx, tools
from tilec.errors import TileError

assert threading.active_count() == 1
nvptx.check = lambda *_: None
cubin.MAKERS["nvjitlink"] = lambda *_: os.abort()
for work in (lambda: nvptx.to_ptx(POW, "sm_80"), lambda: nvptx.to_ptx(BROKEN, "sm_80"), lambda: cubin.assemble("nothing", "sm_80")):
    with cli._isolation():
        assert os.environ["TILEC_ISOLATE"] == "1" and tools.can_fork()
        try:
            work()
        except TileError as error:
            print(error)
assert nvptx.to_ptx(FINE, "sm_80").count(".entry") == 1
"""


def test_crashes_take_only_a_copy_of_the_process(tmp_path):
    """Of LLVM and of the assembler, as `tilec compile` runs them; each leaves what reproduces it."""
    names = f"POW = {POW!r}\nBROKEN = {BROKEN!r}\nFINE = 'define ptx_kernel void @f() {{\\n  ret void\\n}}'\n"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", names + SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"error\[TILE0805\]: LLVM crashed: LLVM ERROR: .*pow.* \(signal 6\)", done.stdout)
    assert "error[TILE0804]: LLVM refuses the IR" in done.stdout
    assert "error[TILE0805]: nvjitlink refuses the PTX for sm_80: without a word (signal 6)" in done.stdout
    kept = re.findall(r"is kept in (\S+)", done.stdout)
    assert [Path(k).read_text() for k in kept] == [HEADER + POW, HEADER + BROKEN, "nothing"]
