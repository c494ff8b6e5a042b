"""LLVM, by the C functions of the library that llvmlite brings.

Some twenty of them are all that is needed: IR as text goes in, assembly comes out. llvmlite's own Python has them too, with all else that can
be done with LLVM, and takes three times as long to load as the library itself: it brings a builder of IR, and what reads libraries out of
archives. How a function is called stands in llvmlite's `binding/*.py`, and a test compares; one that is gone is an error that says so.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any

from tilec.backend import versions
from tilec.errors import Code, TileError

THING, TEXT, NUMBER, SAID = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)

# What each function returns, then what it takes. A THING is a pointer to something of LLVM's; SAID, where LLVM's words are put.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "SetCommandLine": (None, TEXT, TEXT),  # the program's name, an option
    "InitializeAllTargetInfos": (None,),
    "InitializeAllTargets": (None,),
    "InitializeAllTargetMCs": (None,),
    "InitializeAllAsmPrinters": (None,),
    "DisposeString": (None, TEXT),
    "GetTargetFromTriple": (THING, TEXT, SAID),
    # of a target: triple, processor, features, level, relocation, model of code, whether to print code, whether to run it here, ABI
    "CreateTargetMachine": (THING, THING, TEXT, TEXT, TEXT, NUMBER, TEXT, TEXT, NUMBER, NUMBER, TEXT),
    "ContextCreate": (THING,),
    "ContextDispose": (None, THING),
    "ParseAssembly": (THING, THING, TEXT, SAID),
    "VerifyModule": (ctypes.c_bool, THING, SAID),  # whether something is wrong
    "DisposeModule": (None, THING),
    "CreatePipelineTuningOptions": (THING,),
    "DisposePipelineTuningOptions": (None, THING),
    "CreatePassBuilder": (THING, THING, THING),
    "DisposePassBuilder": (None, THING),
    "CreateNewModulePassManager": (THING,),
    "module_AddSimplifyCFGPass": (None, THING),
    "module_AddInstCombinePass": (None, THING),
    "module_AddNewGVNPass": (None, THING),
    "RunNewModulePassManager": (None, THING, THING, THING),
    "DisposeNewModulePassManger": (None, THING),  # spelled so
    "TargetMachineEmitToMemory": (THING, THING, THING, NUMBER, SAID),  # 0: as text
    "GetBufferStart": (THING, THING),
    "GetBufferSize": (ctypes.c_size_t, THING),
    "DisposeMemoryBuffer": (None, THING),
}


@cache
def path() -> str | None:
    """Where the library lies, if it is installed; llvmlite is not imported for it."""
    for folder in versions.packages("llvmlite"):
        for name in versions.names_in(os.path.join(folder, "binding")):
            if name in ("libllvmlite.so", "libllvmlite.dylib", "llvmlite.dll"):
                return os.path.join(folder, "binding", name)
    return None


class LLVM:
    """The library, loaded, with all its targets. Its options hold for the whole process and are set once, so there should be one such object.

    Raises TileError when there is none that can be used.
    """

    def __init__(self, options: Sequence[str] = ()):
        try:
            library = ctypes.CDLL(path() or "libllvmlite.so")
            self._functions = {name: getattr(library, f"LLVMPY_{name}") for name in FUNCTIONS}
        except (OSError, AttributeError) as e:
            raise TileError(f"llvmlite's library can't be used: {e}", hint="pip install 'llvmlite==0.50.*'", code=Code.TOOLS) from e
        for name, (returned, *taken) in FUNCTIONS.items():
            self._functions[name].restype, self._functions[name].argtypes = returned, taken
        for option in options:
            self._do("SetCommandLine", b"tilec", option.encode())
        for what in ("TargetInfos", "Targets", "TargetMCs", "AsmPrinters"):
            self._do(f"InitializeAll{what}")
        self._lock = threading.Lock()  # modules are compiled one after the other, as they share the code generators
        self._machines: dict[tuple[str, ...], Any] = {}

    def _do(self, name: str, *arguments: Any) -> Any:
        return self._functions[name](*arguments)

    def _asked(self, name: str, *arguments: Any) -> tuple[Any, str]:
        """What a function returns, and what it has to say."""
        said = ctypes.c_char_p()
        found = self._do(name, *arguments, said)
        text = (said.value or b"").decode(errors="replace")
        self._do("DisposeString", said)
        return found, text

    def _needed(self, name: str, *arguments: Any) -> Any:
        """What a function makes. Raises RuntimeError with what it says if it makes nothing."""
        found, said = self._asked(name, *arguments)
        if not found:
            raise RuntimeError(said)
        return found

    def _machine(self, *named: str) -> Any:
        """The code generator for a triple, a processor and its features, at its highest level: lower saved 2 to 6 % and cost a matmul 252 registers,
        not 226."""
        if named not in self._machines:
            triple, cpu, features = (name.encode() for name in named)
            target = self._needed("GetTargetFromTriple", triple)
            self._machines[named] = self._do("CreateTargetMachine", target, triple, cpu, features, 3, b"default", b"jitdefault", 0, 0, b"")
        return self._machines[named]

    def assembly(self, text: str, triple: str, cpu: str, features: str, passes: Sequence[str]) -> str:
        """The assembly of a module given as LLVM IR, after these passes. Raises RuntimeError with what LLVM says of IR that is wrong.
        """
        with self._lock, ExitStack() as owned:

            def own(thing: Any, dispose: str) -> Any:
                owned.callback(self._do, dispose, thing)
                return thing

            machine = self._machine(triple, cpu, features)
            context = own(self._do("ContextCreate"), "ContextDispose")
            module = own(self._needed("ParseAssembly", context, text.encode()), "DisposeModule")
            wrong, said = self._asked("VerifyModule", module)
            if wrong:
                raise RuntimeError(said)
            options = own(self._do("CreatePipelineTuningOptions"), "DisposePipelineTuningOptions")
            builder = own(self._do("CreatePassBuilder", machine, options), "DisposePassBuilder")
            manager = own(self._do("CreateNewModulePassManager"), "DisposeNewModulePassManger")
            for name in passes:
                self._do(f"module_Add{name}Pass", manager)
            self._do("RunNewModulePassManager", manager, module, builder)
            buffer = own(self._needed("TargetMachineEmitToMemory", machine, module, 0), "DisposeMemoryBuffer")
            return ctypes.string_at(self._do("GetBufferStart", buffer), self._do("GetBufferSize", buffer)).decode()
