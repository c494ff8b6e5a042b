"""NVIDIA's command line tools: where they are, if anywhere (ptxas and nvdisasm), how they are run, where input that one refused is kept.

Whoever needs this imports it late: it brings in subprocess and tempfile, and these take a tenth of what `import tilec` does.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tilec.backend.versions import packages

T = TypeVar("T")


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


class Crashed(RuntimeError):
    """What a process said last that did not come back."""

    def __init__(self, said: str, signal: int):
        told = re.search(r"^.*(LLVM ERROR|error): .*$", said, re.MULTILINE)
        super().__init__(f"{told[0] if told else said.strip().rpartition(chr(10))[2] or 'without a word'} (signal {signal})")


def can_fork() -> bool:
    """Whether `in_child` works here: a fork copies no other thread, and what these hold stays held."""
    return hasattr(os, "fork") and threading.active_count() == 1


def in_child(work: Callable[[], T]) -> T:
    """The result of `work`, or what it raises, from a copy of this process, so that a library that aborts takes only the copy with it.

    Raises Crashed then. A hundredth of a second more than calling it, and no library is loaded again. Needs `can_fork`.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            faulthandler.disable()  # its place to write to is the parent's
            try:
                found: tuple[bool, Any] = True, work()
            except BaseException as error:
                found = False, error
            with open(writing, "wb") as pipe:
                pipe.write(pickle.dumps(found))
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(child, 0)
        said.seek(0)
        if not data:
            raise Crashed(said.read().decode(errors="replace"), os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
    done, result = pickle.loads(data)
    if not done:
        raise result
    return result  # type: ignore[no-any-return]


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone at the end of `with`."""
    return tempfile.TemporaryDirectory(prefix="tilec-")


def keep(text: str, name: str) -> str:
    """Write what a tool refused to `name` in a new folder, for whoever looks into it; returns a hint that says where."""
    path = Path(tempfile.mkdtemp(prefix="tilec-"), name)
    path.write_text(text)
    return f"what it was given is kept in {path}"
