"""NVIDIA's command line tools: where they are, if anywhere (ptxas and nvdisasm), how they are run, where input that one refused is kept.

Whoever needs this imports it late: it brings in subprocess and tempfile, and these take a tenth of what `import tilec` does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tilec.backend.versions import packages


def _candidates(name: str) -> Iterator[Path | str | None]:
    """What was asked for, then what was installed beside tilec (its version is one that suits tilec), then what the machine has."""
    yield os.environ.get(f"TILEC_{name.upper()}")
    for folder in map(Path, packages("nvidia")):
        yield from sorted(folder.glob(f"*/bin/{name}"), reverse=True)
    yield shutil.which(name)
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if variable in os.environ:
            yield Path(os.environ[variable]) / "bin" / name
    for folder in map(Path, packages("triton")):
        yield folder / "backends/nvidia/bin" / f"{name}-blackwell"  # the newer of the two that Triton brings
        yield folder / "backends/nvidia/bin" / name


def find(name: str) -> str | None:
    """The path of the tool called `name`, or None. `TILEC_PTXAS` and `TILEC_NVDISASM` name one outright."""
    return _find(name, os.environ.get(f"TILEC_{name.upper()}"), os.environ.get("PATH"), os.environ.get("CUDA_HOME"))


@cache
def _find(name: str, *environment: str | None) -> str | None:
    """`environment` is only the key: the search is repeated when it changes."""
    return next((str(c) for c in _candidates(name) if c and os.access(c, os.X_OK)), None)


def run(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, `text` as its standard input, and keep what it says."""
    return subprocess.run(command, input=text, capture_output=True, text=True)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone at the end of `with`."""
    return tempfile.TemporaryDirectory(prefix="tilec-")


def keep(text: str, name: str) -> str:
    """Write what a tool refused to `name` in a new folder, for whoever looks into it; returns a hint that says where."""
    path = Path(tempfile.mkdtemp(prefix="tilec-"), name)
    path.write_text(text)
    return f"what it was given is kept in {path}"
