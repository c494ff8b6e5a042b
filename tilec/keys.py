"""What a compiled kernel depends on besides its constants and the architecture, so that the cache can tell when one may stand for another.

A kernel has two keys, and its LLVM IR a third. The exact one is of the kernel's IR as parsed, without places in the source. The quick one is
of its `fingerprint`, for which nothing need be parsed; it leads to the exact one. Both hold the tools: tilec's own sources, LLVM, the
assembler, NumPy and Python.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from tilec import cache as store
from tilec.backend import arith, cubin, llvm, nvptx
from tilec.backend.target import Target
from tilec.ir.core import Function
from tilec.ir.describe import describe
from tilec.ir.text import print_function

ROOT = os.path.dirname(os.path.abspath(__file__))
LOADED = time.time()  # tilec's sources were read by then
RECENT = 5.0  # seconds; a source so young when it was loaded may have changed in between


def tools() -> str | None:
    """Everything that makes machine code of IR; None if it can't be told, or was changed: in its files, or by rules from elsewhere."""
    try:
        made_by = sources() if all(map(_own, [*llvm.RULES.values(), *arith.RULES.values()])) else None
        return made_by and "\n".join([made_by, nvptx.identity(), cubin.identity(), f"numpy {np.__version__}", f"python {sys.version_info[:2]}"])
    except OSError:
        return None


def exact(function: Function, arch: Target, lineinfo: bool, tools: str) -> str | None:
    """The key of a function as parsed; with line tables its places count, else they don't. None if it has something without textual form, or ops
    that are not tilec's."""
    if not all(_own(type(op)) for block in (function.launch, function.body) for op in block.walk()):
        return None
    try:
        text = print_function(function, locations=lineinfo)
    except TypeError:
        return None
    constants = json.dumps(describe(function)["constants"])  # those that the text leaves out too
    return store.digest("IR", text, constants, arch.name, str(lineinfo), tools)


def machine(llvm: str, arch: Target, lineinfo: bool) -> str | None:
    """The key of what LLVM and the assembler make of a module: it outlives changes of tilec that change nothing in the module."""
    try:
        makers = [_content(os.path.join(ROOT, "backend", name)) for name in ("nvptx.py", "libllvm.py", "cubin.py", "nvjitlink.py", "target.py")]
        return store.digest("machine", llvm, arch.name, str(lineinfo), nvptx.identity(), cubin.identity(), *makers)
    except OSError:
        return None


def quick(fingerprint: str, arch: Target, tools: str) -> str:
    """The key of a kernel that was not parsed."""
    return store.digest("source", fingerprint, arch.name, tools)


def sources() -> str | None:
    """A digest of tilec's own files as they were loaded; None if they have changed between that and the first call.

    They are read only if they look other than they did when they were read last.
    """
    return _sources(LOADED - RECENT, store.folder())


@cache
def _sources(before: float, folder: str | None) -> str | None:
    look = sorted(_files(ROOT))
    if max(changed for *_, changed in look) > before * 1e9:
        return None
    key = store.digest("tilec", repr(look))
    known = store.read(key)
    if known is None:
        found = store.digest(*(part for path, *_ in look for part in (os.path.relpath(path, ROOT), _content(path))))
        if sorted(_files(ROOT)) != look:
            return None
        store.write(key, {"digest": found})
        return found
    return str(known.head["digest"])


def _own(x: Any) -> bool:
    """Whether a rule or a class of ops is in tilec's sources."""
    return str(x.__module__).split(".")[0] == "tilec"


def _files(folder: str) -> Iterator[tuple[str, int, int, int, int]]:
    """Each file's path, size, number on the disk, time that it claims, and time of the last change."""
    with os.scandir(folder) as found:
        for file in found:
            if file.is_dir():
                if file.name != "__pycache__":
                    yield from _files(file.path)
            elif _counts(file.name):
                about = file.stat()
                changed = about.st_mtime_ns if os.name == "nt" else about.st_ctime_ns  # which is when it was made on Windows
                yield file.path, about.st_size, about.st_ino, about.st_mtime_ns, changed


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _counts(name: str) -> bool:
    return name.endswith((".py", ".lark", ".json"))
