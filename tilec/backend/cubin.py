"""PTX to a cubin: one interface, two assemblers.

nvJitLink works in this process, and is what `pip install tilec` brings. It assembles each module as one to be linked with others, and so
drops `setmaxnreg` and serializes `wgmma` around calls. ptxas (extra `ptxas`) sees the whole program, and may crash without taking this
process along. `TILEC_ASSEMBLER=ptxas` or `nvjitlink` chooses one where the kernel does not.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from tilec.backend import nvjitlink, versions
from tilec.backend.target import Target, target
from tilec.errors import Code, TileError, require


class Resources(NamedTuple):
    """What one thread or block of the kernel takes, in bytes where not a count; `shared` is static shared memory."""

    registers: int = 0
    barriers: int = 0
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    shared: int = 0
    constant: int = 0


class Cubin(NamedTuple):
    """Machine code for one architecture, an ELF file, with what the assembler said."""

    data: bytes
    resources: Resources
    log: str
    maker: str
    target: Target


class AssemblerError(Exception):
    """What an assembler said when it failed, and whether it died."""

    def __init__(self, said: str, crashed: bool = False):
        super().__init__(said)
        self.crashed = crashed


def by_ptxas(ptx: str, arch: str, lineinfo: bool) -> tuple[bytes, str]:
    from tilec.backend import tools

    tool = tools.find("ptxas")
    require(tool, "this needs ptxas, and there is none", hint="pip install 'tilec[ptxas]', or set TILEC_PTXAS to its path", code=Code.TOOLS)
    assert tool
    with tools.scratch() as folder:
        source, result = tools.Path(folder, "kernel.ptx"), tools.Path(folder, "kernel.cubin")
        source.write_text(ptx)
        options = [f"-arch={arch}", "-v", *(["-lineinfo"] if lineinfo else [])]
        done = tools.run([tool, *options, str(source), "-o", str(result)])
        if done.returncode:  # a negative one is a signal
            crashed = f"it crashed with signal {-done.returncode}" if done.returncode < 0 else ""
            raise AssemblerError(done.stderr.strip() or crashed, bool(crashed))
        return result.read_bytes(), done.stderr


def by_nvjitlink(ptx: str, arch: str, lineinfo: bool) -> tuple[bytes, str]:
    try:
        return nvjitlink.assemble(ptx, [f"-arch={arch}", "-verbose", *(["-lineinfo"] if lineinfo else [])])
    except nvjitlink.Refused as e:
        raise AssemblerError(str(e)) from e


MAKERS = {"nvjitlink": by_nvjitlink, "ptxas": by_ptxas}


def load() -> None:
    """Load the assembler now, which else happens on the first use."""
    if choose() == "nvjitlink":
        nvjitlink.load()


def library() -> str | None:
    """Where the assembler lies, if it is a library. Raises TileError if it should be there and is not."""
    return nvjitlink.path() if choose() == "nvjitlink" else None


def identity() -> str:
    """Which assembler would be used, without loading it."""
    if choose() == "ptxas":
        from tilec.backend import tools

        return f"ptxas {versions.version('nvidia-cuda-nvcc', 'nvidia')} {versions.identity(tools.find('ptxas'))}"
    return f"nvjitlink {versions.version('nvidia-nvjitlink', 'nvidia')} {versions.identity(nvjitlink.path())}"


def choose(prefer: str | None = None) -> str:
    """The name of the assembler to use: the kernel's, else the user's, else nvJitLink."""
    name = prefer or os.environ.get("TILEC_ASSEMBLER") or "nvjitlink"
    require(name in MAKERS, f"no assembler is called {name!r}", hint=f"known: {', '.join(MAKERS)}", code=Code.TOOLS)
    return name


def assemble(ptx: str, arch: Target | str, lineinfo: bool = False, prefer: str | None = None) -> Cubin:
    """Assemble PTX text. `prefer` is "ptxas" for a kernel that must be seen as a whole program, which `setmaxnreg` asks for.

    Raises TileError with the assembler's own words, and the file where the PTX was kept, when it refuses; also when it notes that it did
    not do what was written (setmaxnreg ignored, wgmma serialized: notes C7500 to C7599).
    """
    arch, maker = target(arch), choose(prefer)
    try:
        data, log = _made(maker, ptx, arch.name, lineinfo)
    except AssemblerError as e:
        from tilec.backend import tools

        code = Code.CRASH if e.crashed else Code.ASSEMBLER
        raise TileError(f"{maker} refuses the PTX for {arch.name}: {e}", hint=tools.keep(ptx, "kernel.ptx"), code=code) from e
    if notes := [line.strip() for line in log.splitlines() if re.search(r"\(C75\d\d\)", line)]:
        hint = "ptxas sees the whole program: pip install 'tilec[ptxas]' and set TILEC_ASSEMBLER=ptxas" if maker == "nvjitlink" else None
        raise TileError(f"{maker} did not do what the PTX says: {'; '.join(notes)}", hint=hint)
    return Cubin(data, resources(log), log, maker, arch)


def _made(maker: str, ptx: str, arch: str, lineinfo: bool) -> tuple[bytes, str]:
    """Cubin and log, by a copy of this process if `TILEC_ISOLATE` asks for it; ptxas is a process of its own anyway."""
    if maker != "nvjitlink" or not os.environ.get("TILEC_ISOLATE"):
        return MAKERS[maker](ptx, arch, lineinfo)
    from tilec.backend import tools

    if not tools.can_fork():
        return MAKERS[maker](ptx, arch, lineinfo)
    nvjitlink.load()  # once, for all copies
    try:
        return tools.in_child(lambda: MAKERS[maker](ptx, arch, lineinfo))
    except tools.Crashed as e:
        raise AssemblerError(str(e), crashed=True) from e


def resources(log: str) -> Resources:
    """Read the verbose log of either assembler, for a module with one kernel.

    nvJitLink's log tells it twice; the second time is the linker's, which counts the system's reserved shared memory as the kernel's.
    """
    used = re.search(r"Used \d+ registers.*", log)
    require(used, f"the assembler's log has no line of resources: {log.strip()!r}")
    line = used[0] if used else ""

    def number(pattern: str, where: str) -> int:
        found = re.search(pattern, where)
        return int(found[1]) if found else 0

    return Resources(
        registers=number(r"Used (\d+) registers", line),
        barriers=number(r"used (\d+) barriers", line),
        stack=number(r"(\d+) bytes stack frame", log),
        spill_stores=number(r"(\d+) bytes spill stores", log),
        spill_loads=number(r"(\d+) bytes spill loads", log),
        shared=number(r"(\d+) bytes smem", line),
        constant=number(r"(\d+) bytes cmem\[0\]", line),
    )
