"""Where NVIDIA's command line tools are, if anywhere (ptxas and nvdisasm), and where input that one of them refused is kept."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def packages(name: str) -> list[Path]:
    """The folders of a package, without importing it."""
    spec = importlib.util.find_spec(name)
    return [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []


def _candidates(name: str) -> Iterator[Path | str | None]:
    """What was asked for, then what was installed beside tilec (its version is one that suits tilec), then what the machine has."""
    yield os.environ.get(f"TILEC_{name.upper()}")
    for folder in packages("nvidia"):
        yield from sorted(folder.glob(f"*/bin/{name}"), reverse=True)
    yield shutil.which(name)
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if variable in os.environ:
            yield Path(os.environ[variable]) / "bin" / name
    for folder in packages("triton"):
        yield folder / "backends/nvidia/bin" / f"{name}-blackwell"  # the newer of the two that Triton brings
        yield folder / "backends/nvidia/bin" / name


def find(name: str) -> str | None:
    """The path of the tool called `name`, or None. `TILEC_PTXAS` and `TILEC_NVDISASM` name one outright."""
    return _find(name, os.environ.get(f"TILEC_{name.upper()}"), os.environ.get("PATH"), os.environ.get("CUDA_HOME"))


@cache
def _find(name: str, *environment: str | None) -> str | None:
    """`environment` is only the key: the search is repeated when it changes."""
    return next((str(c) for c in _candidates(name) if c and os.access(c, os.X_OK)), None)


def keep(text: str, name: str) -> str:
    """Write what a tool refused to `name` in a new folder, for whoever looks into it; returns a hint that says where."""
    path = Path(tempfile.mkdtemp(prefix="tilec-"), name)
    path.write_text(text)
    return f"what it was given is kept in {path}"


@cache
def version(distribution: str, package: str) -> str:
    """The version of an installed distribution, such as "nvidia-nvjitlink", read from the names beside its package; "" if it is not told.

    importlib.metadata says the same, and takes longer to load than a compiled kernel.
    """
    start = re.sub(r"[-_.]+", "_", distribution).lower() + "-"
    for folder in packages(package):
        with suppress(OSError):
            for name in os.listdir(folder.parent):
                if name.lower().startswith(start) and name.endswith(".dist-info"):
                    return name[len(start) : -len(".dist-info")]
    return ""


def identity(path: str | Path | None) -> str:
    """Tells a file from every other that may lie in its place: its name, size and time. "" for none."""
    if not path:
        return ""
    about = os.stat(path)
    return f"{Path(path).name} {about.st_size} {about.st_mtime_ns}"
