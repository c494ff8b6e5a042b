"""nvJitLink, NVIDIA's assembler as a library, by its C interface (nvJitLink.h of CUDA 13).

Ten of its functions are all that is needed. cuda-bindings has them too, and takes five times as long to load as the library itself: it
brings a search for every library of NVIDIA's, and would make up a tenth of the time in which a new process compiles a matmul.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from tilec.backend import versions
from tilec.errors import Code, TileError

PTX = 2  # nvJitLinkInputType: NVJITLINK_INPUT_PTX


class Refused(Exception):
    """What nvJitLink said."""


@cache
def path() -> str:
    """Where the library lies: among the packages, else wherever cuda-pathfinder finds one, which takes longer. Raises TileError."""
    for folder in versions.packages("nvidia"):
        for toolkit in versions.names_in(folder):
            for place in (os.path.join(folder, toolkit, "lib"), os.path.join(folder, toolkit, "bin", "x86_64")):
                for name in versions.names_in(place):
                    if name.startswith(("libnvJitLink.so", "nvJitLink_")):
                        return os.path.join(place, name)
    from cuda import pathfinder

    try:
        return str(pathfinder.load_nvidia_dynamic_lib("nvJitLink").abs_path)
    except RuntimeError as e:
        raise _missing() from e


def _missing() -> TileError:
    return TileError("nvJitLink can't be loaded", hint="pip install 'nvidia-nvjitlink>=13.0'", code=Code.TOOLS)


@cache
def load() -> Any:
    """The library. Raises TileError."""
    try:
        library = ctypes.CDLL(path())
    except OSError as e:
        raise _missing() from e
    handle, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    library.nvJitLinkCreate.argtypes = [ctypes.POINTER(handle), ctypes.c_uint32, ctypes.POINTER(text)]
    library.nvJitLinkDestroy.argtypes = [ctypes.POINTER(handle)]
    library.nvJitLinkAddData.argtypes = [handle, ctypes.c_int, text, size, text]
    library.nvJitLinkComplete.argtypes = [handle]
    for what in ("LinkedCubin", "InfoLog", "ErrorLog"):
        getattr(library, f"nvJitLinkGet{what}Size").argtypes = [handle, ctypes.POINTER(size)]
        getattr(library, f"nvJitLinkGet{what}").argtypes = [handle, ctypes.c_void_p]
    return library


def assemble(ptx: str, options: Sequence[str]) -> tuple[bytes, str]:
    """(cubin, log) of a PTX text, for options such as "-arch=sm_80". Raises Refused with the error log, and TileError without a library."""
    library, handle = load(), ctypes.c_void_p()

    def done(code: int) -> None:
        if code:
            raise Refused(got("ErrorLog").decode(errors="replace").rstrip("\0").strip() or f"nvJitLink's error {code}")

    def got(what: str) -> bytes:
        size = ctypes.c_size_t()
        told = getattr(library, f"nvJitLinkGet{what}Size")(handle, size)
        buffer = ctypes.create_string_buffer(size.value)
        told = told or getattr(library, f"nvJitLinkGet{what}")(handle, buffer)
        if what != "ErrorLog":  # which tells of errors, and not of its own
            done(told)
        return buffer.raw

    words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    try:
        done(library.nvJitLinkCreate(handle, len(options), words))
        source = ptx.encode() + b"\0"
        done(library.nvJitLinkAddData(handle, PTX, source, len(source), b"kernel.ptx"))
        done(library.nvJitLinkComplete(handle))
        return got("LinkedCubin"), got("InfoLog").decode(errors="replace").rstrip("\0")
    finally:
        if handle:
            library.nvJitLinkDestroy(handle)
