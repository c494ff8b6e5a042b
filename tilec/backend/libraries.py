"""Shared libraries that the system loads while Python does something else."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache


@cache
def load_meanwhile(*paths: Callable[[], str | None]) -> None:
    """Load the libraries that lie where these functions say, in a thread, once in a process.

    Whoever needs one before it is there waits for it, and is told then if something is wrong.
    ctypes keeps the interpreter's lock while it loads a library, but not while it calls a function; so the system's own is called. With
    `TILEC_ISOLATE` nothing is done: a process with threads can't be copied.
    """

    def quietly() -> None:
        for path in paths:
            with suppress(Exception):
                dlopen = ctypes.CDLL(None).dlopen
                dlopen.argtypes, dlopen.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
                if found := path():
                    dlopen(os.fsencode(found), os.RTLD_NOW)

    if not os.environ.get("TILEC_ISOLATE"):
        threading.Thread(target=quietly).start()
