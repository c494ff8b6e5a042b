"""LLVM by its C functions: called as llvmlite calls them, by several threads at once, and what is said where it is not there."""

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from llvm_samples import MMA_LOOP, SHARED, VECTOR_ADD

from tilec.backend import libllvm, nvptx
from tilec.errors import TileError


def kind(declared):
    """A type of ctypes: what stands for a pointer to something of LLVM's is the same as a pointer to nothing in particular."""
    opaque = isinstance(declared, type(ctypes.POINTER(ctypes.c_int))) and issubclass(declared._type_, ctypes.Structure)
    return ctypes.c_void_p if opaque else declared


@pytest.mark.parametrize("name", libllvm.FUNCTIONS)
def test_functions_are_called_as_llvmlite_calls_them(name):
    llvm = pytest.importorskip("llvmlite.binding")
    theirs = getattr(llvm.ffi.lib, f"LLVMPY_{name}")
    returned, *taken = libllvm.FUNCTIONS[name]
    if theirs.argtypes is None:  # not declared: there are none, or one that is passed as it is
        assert taken in ([], [libllvm.TEXT])
    else:
        assert [kind(t) for t in theirs.argtypes] == taken
    assert kind(theirs.restype) == (ctypes.c_int if returned is None else returned)  # what ctypes takes it for if nothing is declared


def test_threads_take_turns():
    modules = [VECTOR_ADD, SHARED, MMA_LOOP] * 4
    alone = [nvptx.to_ptx(text, "sm_80") for text in modules]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: nvptx.to_ptx(text, "sm_80"), modules)) == alone


@pytest.mark.parametrize(
    ("missing", "words"), [({"path": lambda: "nowhere/libllvmlite.so"}, "nowhere"), ({"FUNCTIONS": {"Renamed": (None,)}}, "LLVMPY_Renamed")]
)
def test_without_the_library_the_error_names_the_package(monkeypatch, missing, words):
    for name, value in missing.items():
        monkeypatch.setattr(libllvm, name, value)
    with pytest.raises(TileError, match=words) as e:
        libllvm.LLVM()
    assert "pip install 'llvmlite" in str(e.value)


MEANWHILE = """
import sys, threading
from tilec.backend.libllvm import path
from tilec.backend.libraries import loaded_meanwhile

def missing():
    raise RuntimeError("it is not here")

with loaded_meanwhile(missing, lambda: None, lambda: "nowhere.so", path):
    pass
assert threading.active_count() == 1
print("libllvmlite" in open("/proc/self/maps").read())
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell what is loaded")
@pytest.mark.parametrize(("isolate", "there"), [("", "True"), ("1", "False")])
def test_a_library_is_loaded_meanwhile_and_no_thread_stands_in_the_way_of_copies(isolate, there):
    environment = {**os.environ, "TILEC_ISOLATE": isolate, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", MEANWHILE], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (there, "")
