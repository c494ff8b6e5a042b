"""Shared libraries that the system loads while Python does something else."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_begun: set[Callable[[], str | None]] = set()


@contextmanager
def loaded_meanwhile(*paths: Callable[[], str | None]) -> Iterator[None]:
    """The libraries that lie where these functions say are loaded in a thread, once in a process. The thread does not outlive the block.

    Whoever needs one before it is there waits for it, and is told then if something is wrong.
    ctypes keeps the interpreter's lock while it loads a library, but not while it calls a function; so the system's own is called. With
    `TILEC_ISOLATE` nothing is done: a process with threads can't be copied.
    """
    wanted = [] if os.environ.get("TILEC_ISOLATE") else [path for path in paths if path not in _begun]
    _begun.update(wanted)

    def quietly() -> None:
        for path in wanted:
            with suppress(Exception):
                dlopen = ctypes.CDLL(None).dlopen
                dlopen.argtypes, dlopen.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
                if found := path():
                    dlopen(os.fsencode(found), os.RTLD_NOW)

    thread = threading.Thread(target=quietly)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        if wanted:
            thread.join()
