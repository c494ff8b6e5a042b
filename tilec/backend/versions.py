"""Which tool is installed, told without loading it, nor anything else: what is here is on the way to a kernel that was compiled before."""

from __future__ import annotations

import importlib.util
import os
import re
from contextlib import suppress
from functools import cache


@cache
def packages(name: str) -> list[str]:
    """The folders of a package, without importing it."""
    spec = importlib.util.find_spec(name)
    return list(spec.submodule_search_locations or []) if spec else []


@cache
def version(distribution: str, package: str) -> str:
    """The version of an installed distribution, such as "nvidia-nvjitlink", read from the names beside its package; "" if it is not told.

    importlib.metadata says the same, and takes longer to load than a compiled kernel.
    """
    start = re.sub(r"[-_.]+", "_", distribution).lower() + "-"
    for folder in packages(package):
        for name in names_in(os.path.dirname(folder)):
            if name.lower().startswith(start) and name.endswith(".dist-info"):
                return name[len(start) : -len(".dist-info")]
    return ""


def names_in(folder: str) -> list[str]:
    """The names in a folder in order; none if there is no such folder."""
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def identity(path: str | None) -> str:
    """Tells a file from every other that may lie in its place: its name, size and time. "" for none. Raises OSError."""
    if not path:
        return ""
    about = os.stat(path)
    return f"{os.path.basename(path)} {about.st_size} {about.st_mtime_ns}"
