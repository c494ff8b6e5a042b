"""LLVM IR text to PTX.

LLVM was not made for a process that must live on: what it can't select or parse as a target it answers with abort(). So what a
target lacks is refused here first (`NEEDS`), and `TILEC_ISOLATE=1` runs LLVM in a process of its own.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from functools import cache

from tilec.backend import libllvm
from tilec.backend.target import TARGETS, Target, target
from tilec.backend.versions import identity as identity_of
from tilec.backend.versions import version
from tilec.errors import Code, TileError, require

# 32-bit pointers in every address space but global and generic: fewer instructions and registers for shared memory. The data layout
# says it in each module, the option says it to the code generator.
HEADER = (
    'target triple = "nvptx64-nvidia-cuda"\n'
    'target datalayout = "e-p3:32:32-p4:32:32-p5:32:32-p6:32:32-p7:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64"\n'
)

# The feature without which LLVM aborts, and the intrinsics that need it: how their names begin after "llvm.nvvm.", and behind a `*` what else
# they hold. (Not regular expressions, as compiling these takes longer than all else that is done before LLVM.)
FP8, FP6 = ("e4m3x2", "e5m2x2"), ("e2m1x2", "e2m3x2", "e3m2x2", "ue8m0x2")
NEEDS: dict[str, tuple[str, ...]] = {
    "stmatrix": ("stmatrix.",),
    "ldmatrix_b8": ("ldmatrix.sync.aligned.m16n16", "ldmatrix.sync.aligned.m8n16"),
    "cvt_fp8": ("mma.*.e4m3", "mma.*.e5m2", *(f"{x}.to.{f}" for x in ("ff", "f16x2") for f in FP8), *(f"{f}.to." for f in FP8)),
    "mma_f8f6f4": ("mma.*kind.f8f6f4",),
    "mma_block_scale": ("mma.*block.scale",),
    "wgmma": ("wgmma.",),
    "tcgen05": ("tcgen05.",),
    "setmaxnreg": ("setmaxnreg.",),
    "elect": ("elect.sync",),
    "redux_f32": ("redux.sync.fm",),
    "griddepcontrol": ("griddepcontrol.",),
    "clusterlaunchcontrol": ("clusterlaunchcontrol.",),
    "cluster": ("barrier.cluster", "mapa", "read.ptx.sreg.cluster"),
    "tma": ("cp.async.bulk",),
    "mbarrier_try_wait": ("mbarrier.try.wait", "mbarrier.arrive.expect", "mbarrier.arrive.scope", "mbarrier.expect"),
    "cvt_tf32_rn": ("f2tf32.rn", "f2tf32.rz"),
    "cvt_fp6_fp4": (*(f"ff.to.{f}" for f in FP6), *(f"{f}.to." for f in FP6), "bf16x2.to.ue8m0x2"),
    "cvt_stochastic": ("f32x4.to.", "ff2bf16x2.rs"),
}

# Functions of LLVM's own that have no lowering for GPUs, and those that have one only when the call is marked as approximate.
NEVER = re.compile(r"@llvm\.(a?(?:sin|cos|tan)h?|atan2|log|log2|log10|exp|exp10|powi?|exp2)\.(?:v\d+)?(?:b?f\d+)")
SINGLE = re.compile(r"(?<!\w)(afn|fast) [^@\n]*@llvm\.(?:sin|cos|tanh)\.(?:v\d+)?f(?:16|32)|@llvm\.exp2\.(?:v\d+)?f(?:16|32)")


# LLVM's passes before code generation. The IR comes with loops' invariants hoisted, addresses split and nothing to inline, so that the
# level -O1 does no better for the hot loops of this repository's examples, takes three times as long, and copies loops' first rounds.
PASSES = ("SimplifyCFG", "InstCombine", "NewGVN", "InstCombine")


_loading = threading.Lock()


@cache
def _loaded() -> libllvm.LLVM:
    return libllvm.LLVM(("-nvptx-short-ptr", "-disable-lsr"))


def _llvm() -> libllvm.LLVM:
    with _loading:
        return _loaded()


def load() -> None:
    """Load LLVM now, which else happens on the first use."""
    _llvm()


def library() -> str | None:
    """Where LLVM lies, if it is installed."""
    return libllvm.path()


@cache
def identity() -> str:
    """Which LLVM this is, without loading it."""
    return f"llvmlite {version('llvmlite', 'llvmlite')} {identity_of(library())}"


def check(text: str, arch: Target) -> None:
    """Refuse what would make LLVM abort for this target. Raises TileError."""
    for used in sorted(set(re.findall(r"@llvm\.nvvm\.([\w.]+)", text))):
        for feature, names in NEEDS.items():
            parts = (name.partition("*") for name in names)
            if any(used.startswith(start) and rest in used for start, _, rest in parts):
                having = [t.name for t in TARGETS.values() if t.has(feature)]
                require(arch.has(feature), f"{arch.name} has no {used}", hint=f"it is on {', '.join(having)}", code=Code.FEATURE)
    for line in text.splitlines() if NEVER.search(text) else ():
        if (found := NEVER.search(line)) and not SINGLE.search(line):
            raise TileError(f"llvm.{found[1]} has no lowering for GPUs", hint="exp2 of f32 and f16 has, and sin, cos, tanh marked afn", code=Code.NOT_ON_GPU)


def to_ptx(text: str, arch: Target | str) -> str:
    """PTX of a module given as LLVM IR text; `HEADER` is put before it if it states no target itself.

    Raises TileError, which names the file where the IR was kept, when LLVM refuses it.
    """
    arch = target(arch)
    if "target triple" not in text:
        text = HEADER + text
    check(text, arch)
    run = _isolated if os.environ.get("TILEC_ISOLATE") else _generate
    try:
        return run(text, arch)
    except RuntimeError as e:
        from tilec.backend.tools import Crashed, keep

        if isinstance(e, Crashed):
            raise TileError(f"LLVM crashed: {e}", hint=keep(text, "kernel.ll"), code=Code.CRASH) from e
        raise TileError(f"LLVM refuses the IR: {str(e).strip()}", hint=keep(text, "kernel.ll")) from e


def _generate(text: str, arch: Target) -> str:
    return _llvm().assembly(text, "nvptx64-nvidia-cuda", arch.name, arch.features, PASSES)


def _isolated(text: str, arch: Target) -> str:
    """The same in a process of its own, so that LLVM's abort() becomes an error, `Crashed`."""
    from tilec.backend import tools

    if tools.can_fork():
        _llvm()  # once, for all copies
        return tools.in_child(lambda: _generate(text, arch))
    run = "import sys; from tilec.backend import nvptx, target as t; "
    run += f"sys.stdout.write(nvptx._generate(sys.stdin.read(), t.target({arch.name!r})))"
    done = tools.run([sys.executable, "-c", run], text)
    if done.returncode:
        said = re.search(r"^.*(LLVM ERROR|error): .*$", done.stderr, re.MULTILINE)
        raise tools.Crashed(done.stderr, -done.returncode) if done.returncode < 0 else RuntimeError(said[0] if said else done.stderr)
    return done.stdout
