"""Kernels from the cache: the same as if compiled anew, found without LLVM, and never another's."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import tilec as tc
from tilec import cache, compiler, keys
from tilec.backend import cubin
from tilec.compiler import load_kernel
from tilec.frontend import fingerprint as fingerprints
from tilec.frontend.fingerprint import fingerprint

ROOT = Path(__file__).parents[1]
SOURCE = """\
import math
import numpy as np
import tilec as tc
from tilec import cdiv, f16, f32

N = tc.dims("N")
SCALE = 2.0
TABLE = (1.0, [2.0, {"three": 3.0}])

@tc.function
def scaled(x, by=1.0):
    return x * SCALE * by * math.sqrt(TABLE[1][0])

def make(offset):
    @tc.kernel(warps=1)
    def k(x: f32[N], y: f32[N], *, block: int = 64):
        tc.grid(cdiv(N, block))
        i = tc.block_index(0) * block
        tc.store(y, [i], scaled(tc.load(x, [i], [block])) + offset)
    return k

k = make(1.0)
"""
OLD = "from tilec import keys; from tilec.frontend import fingerprint; keys.RECENT = fingerprint.RECENT = -1e9\n"  # files count as old at once


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(keys, "RECENT", -1e9)
    monkeypatch.setattr(fingerprints, "RECENT", -1e9)
    return tmp_path / "cache"


def kernel(folder: Path, source: str = SOURCE) -> Any:
    """A kernel defined by a file of its own."""
    count = len(list(folder.glob("k*.py")))
    (folder / f"k{count}.py").write_text(source)
    return load_kernel(f"{folder}/k{count}.py:k")


def compiled(where: Path) -> int:
    """How many kernels are in the cache."""
    return len(cache.entries())


def everything(built: Any) -> list[Any]:
    stages = {name: str(f) for name, f in built.stages.items()}
    return [built.name, built.target, built.cubin, built.ptx, built.llvm, built.resources, built.log, built.metadata, stages]


def test_what_comes_back_is_what_was_made(place: Path, tmp_path: Path) -> None:
    made = kernel(tmp_path).compile("sm_90a", block=32)
    found = kernel(tmp_path).compile("sm_90a", block=32)
    assert compiled(place) == 1
    assert everything(made) == everything(found)


def run(code: str, **environment: str) -> str:
    path = {"PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **path}, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_process_needs_no_llvm_no_parser_and_no_assembler(place: Path) -> None:
    made = load_kernel(f"{ROOT}/examples/matmul_v3.py:matmul_v3").compile(bm=32)
    code = f"from tilec.compiler import load_kernel\nk = load_kernel('{ROOT}/examples/matmul_v3.py:matmul_v3')\n"
    code += "k._parsed = None\nbuilt = k.compile(bm=32)\nimport sys; print({m.split('.')[0] for m in sys.modules} & {'llvmlite', 'lark', 'cuda'})\n"
    code += "import hashlib; print(hashlib.sha256(built.cubin + built.ptx.encode()).hexdigest())"
    assert run(OLD + code).split() == ["set()", hashlib.sha256(made.cubin + made.ptx.encode()).hexdigest()]


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.py")), ids=lambda p: p.stem)
def test_examples_have_quick_keys(path: Path, place: Path) -> None:
    k = load_kernel(f"{path}:{path.stem}")
    constants = {"W": tc.int4} if path.stem == "quantized_matmul" else {}
    assert fingerprint(k.signature, k.signature.resolve(constants), k.warps)


# when kernels are the same, and when not

SAME = [  # edits after which the IR is the same but for places
    ("        i = tc", "        # a comment\n\n        i = tc"),
    ("SCALE = 2.0", "# a comment\nSCALE = 1.0 + 1.0"),
    ("offset):\n    @", "bias):\n    offset = bias\n    @"),
    ("by=1.0", "by=3.0 - 2"),
]
OTHER = [  # edits after which it is another
    ("SCALE = 2.0", "SCALE = 3.0"),
    ("[2.0, {", "[4.0, {"),
    ("by=1.0", "by=1.5"),
    ("* SCALE", "/ SCALE"),
    ("make(1.0)", "make(-1.0)"),
    ("make(1.0)", "make(2.0)"),
    ("warps=1", "warps=2"),
    ("f32[N], y", "tc.strided(f32[N]), y"),
    ("block: int = 64", "block: int = 128"),
    ("math.sqrt", "math.cbrt" if sys.version_info >= (3, 11) else "math.exp"),
]


def told(k: Any) -> str | None:
    return fingerprint(k.signature, k.signature.resolve({}), k.warps)


@pytest.mark.parametrize(("old", "new"), SAME)
def test_the_same_kernel_elsewhere(old: str, new: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernel(tmp_path).compile()
    monkeypatch.setattr(compiler, "compile_stages", None)
    assert kernel(tmp_path, SOURCE.replace(old, new)).compile().cubin == first.cubin


@pytest.mark.parametrize(("old", "new"), OTHER)
def test_another_kernel(old: str, new: str, place: Path, tmp_path: Path) -> None:
    assert old in SOURCE
    first = kernel(tmp_path)
    found = first.compile()
    source = SOURCE.replace(old, new)
    second = kernel(tmp_path, source)
    assert told(first) != told(second)
    changed = second.compile()
    assert (changed.ptx, str(changed.stages["parsed"])) != (found.ptx, str(found.stages["parsed"]))
    assert compiled(place) == 2


def test_architecture_constants_and_line_tables_are_told_apart(place: Path, tmp_path: Path) -> None:
    k = kernel(tmp_path)
    built = [k.compile(), k.compile("sm_90a"), k.compile(block=32), k.compile(lineinfo=True)]
    assert compiled(place) == 4
    again = kernel(tmp_path, "# moved\n" + SOURCE)
    assert again.compile(lineinfo=True).cubin != built[3].cubin  # its places are others
    assert compiled(place) == 5
    assert [b.cubin for b in built] == [k.compile().cubin, *(b.cubin for b in built[1:])]


def test_a_name_that_means_something_else_later(place: Path, tmp_path: Path) -> None:
    """Globals count as they are when a kernel is compiled for the first time."""
    first, second = kernel(tmp_path), kernel(tmp_path)
    second.__wrapped__.__globals__["scaled"].function.__globals__["SCALE"] = 5.0
    assert first.compile().ptx != second.compile().ptx


SETTINGS = """\
import os
import tilec as tc
from tilec import cdiv, f16, f32

N, M = tc.dims("N M")
SET = os.environ.get("K_SET", "")
TYPE = f16 if SET == "type" else f32
X = tc.strided(TYPE[N]) if SET == "strided" else TYPE[64] if SET == "extent" else TYPE[M] if SET == "dimension" else TYPE[N]
BY = 3.0 if SET == "default" else 1.5
LATE = {"by": 7.0 if SET == "keyword" else 1.25}

@tc.function
def scaled(x, by=BY, *, late=LATE["by"]):
    return x * by * late

def make(offset):
    @tc.kernel(warps=2 if SET == "warps" else 1)
    def k(x: X, y: f32[N], *, block: int = 32 if SET == "constant" else 64, kind: tc.DType = f16 if SET == "constant type" else f32):
        tc.grid(cdiv(N, block))
        i = tc.block_index(0) * block
        tc.store(y, [i], scaled(f32(tc.load(x, [i], [block]))) + offset + f32(tc.full(kind, [block], 0.1)))
    return k

k = make(4.0 if SET == "closure" else 0.5)
"""


def test_one_text_that_means_different_things(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a text means may hang on anything when it is run; all that the kernel gets of it counts."""
    settings = ["", "type", "strided", "extent", "dimension", "default", "keyword", "warps", "constant", "constant type", "closure"]
    keys, texts = set(), set()
    for setting in settings:
        monkeypatch.setenv("K_SET", setting)
        k = kernel(tmp_path, SETTINGS)
        keys.add(told(k))
        texts.add(str(k.compile().stages["parsed"]))
    assert None not in keys
    assert len(keys) == len(texts) == len(settings)
    assert compiled(place) == len(settings)


UNTOLD = [
    ("SCALE = 2.0", "class Config:\n    two = 2.0\nSCALE = Config()", "SCALE * by", "SCALE.two * by"),
    ("SCALE = 2.0", "def two():\n    return 2.0", "SCALE * by", "two() * by"),
    ("SCALE = 2.0", "import numpy as np\nSCALE = np.array([2.0])", "SCALE * by", "float(SCALE[0]) * by"),
    ("SCALE = 2.0", "SCALE = 'two'", "SCALE * by", "(2.0 if hash(SCALE) else 1.0) * by"),
]


@pytest.mark.parametrize("edit", UNTOLD)
def test_what_no_quick_key_can_tell_has_none_but_an_exact_one(
    edit: tuple[str, ...], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCE.replace(edit[0], edit[1]).replace(edit[2], edit[3])
    assert told(kernel(tmp_path, source)) is None
    kernel(tmp_path, source).compile()
    monkeypatch.setattr(compiler, "compile_stages", None)
    kernel(tmp_path, source).compile()


def test_a_file_edited_after_it_was_loaded_has_no_quick_key(tmp_path: Path) -> None:
    k = kernel(tmp_path)
    assert told(k) is None  # it was written just now
    k.signature.source.since += 100
    assert told(k) is None  # the helper's, too, is one
    for source in (k.signature.source, k.__wrapped__.__globals__["scaled"].source):
        source.since += 200
    assert told(k)


def test_a_pipeline_of_someone_elses_is_not_cached(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "PIPELINE", compiler.PIPELINE[:])
    kernel(tmp_path).compile()
    assert compiled(place) == 1
    monkeypatch.setattr(compiler, "PIPELINE", (*compiler.PIPELINE[:-1], compiler.PIPELINE[-1]))
    monkeypatch.setattr(cache, "read", None)
    kernel(tmp_path).compile()


def test_ops_and_rules_of_someone_elses_are_not_cached(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tilec.backend.arith import RULES
    from tilec.ir.ops.arith import Sqrt

    rule = RULES[Sqrt]

    def other(g: Any, op: Any) -> Any:
        return rule(g, op)

    kernel(tmp_path).compile()
    with monkeypatch.context() as patch:
        patch.setitem(RULES, Sqrt, other)
        assert keys.tools() is None
        kernel(tmp_path).compile(block=32)
    assert compiled(place) == 1
    source = SOURCE.replace("* SCALE", "* tc.sqrt(SCALE + x)")
    monkeypatch.setattr(Sqrt, "__module__", "elsewhere")
    assert told(kernel(tmp_path, source)) is None
    kernel(tmp_path, source).compile()
    assert compiled(place) == 1


def test_llvm_is_asked_again_only_for_another_module(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade of tilec that changes nothing for the kernel."""
    first = kernel(tmp_path).compile(lineinfo=True)
    tools = str(keys.tools())
    monkeypatch.setattr(keys, "tools", lambda: tools + "a new pass")
    with monkeypatch.context() as patch:
        patch.setattr(compiler.nvptx, "to_ptx", None)
        patch.setattr(compiler.assembler, "assemble", None)
        again = load_kernel(f"{tmp_path}/k0.py:k").compile(lineinfo=True)
        assert compiled(place) == 2
        assert everything(again) == everything(first)
    assert kernel(tmp_path).compile("sm_90a").ptx != first.ptx
    assert kernel(tmp_path).compile(block=32).ptx != first.ptx


def test_what_the_compiler_had_to_say_is_said_again(place: Path, tmp_path: Path) -> None:
    source = (ROOT / "examples/matmul_plain.py").read_text().replace("def matmul_plain", "def k").replace("@matmul_plain.example", "@k.example")
    for _ in range(2):
        with pytest.warns(UserWarning, match="stages instead of 9"):
            kernel(tmp_path, source).compile("sm_89", stages=9)
    assert compiled(place) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel(tmp_path, source).compile("sm_89", stages=2)
    assert compiled(place) == 1


# the tools


def test_the_tools_are_told_by_name_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import version

    monkeypatch.setattr(keys, "RECENT", -1e9)
    found = keys.tools()
    assert found
    assert f"llvmlite {version('llvmlite')} " in found
    monkeypatch.setenv("TILEC_ASSEMBLER", "nvjitlink")
    assert f"nvjitlink {version('nvidia-nvjitlink')} " in str(keys.tools())


def test_the_assembler_that_was_loaded_is_the_one_that_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEC_ASSEMBLER", "nvjitlink")
    before = cubin.identity()
    cubin.load()
    assert cubin.identity() == before


def test_an_assembler_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEC_ASSEMBLER", "ptxas")
    found = set()
    for content in ("#!/bin/sh\n", "#!/bin/sh\n#\n"):
        tool = tmp_path / f"ptxas{len(content)}"
        tool.write_text(content)
        tool.chmod(0o755)
        monkeypatch.setenv("TILEC_PTXAS", str(tool))
        found.add(cubin.identity())
    assert len(found) == 2


def test_an_edited_checkout_compiles_anew(place: Path, tmp_path: Path) -> None:
    """A copy of tilec, in which one byte of a pass is changed, size and time of the file kept."""
    shutil.copytree(ROOT / "tilec", tmp_path / "copy/tilec", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "k.py").write_text(SOURCE)
    code = OLD + f"from tilec import cache, keys\nfrom tilec.compiler import load_kernel\nload_kernel('{tmp_path}/k.py:k').compile()\n"
    code += "print(len(cache.entries()), keys.sources())"
    path = {"PYTHONPATH": str(tmp_path / "copy")}
    first, second = run(code, **path).split(), run(code, **path).split()
    assert first == second
    assert first[0] == "1"
    edited = tmp_path / "copy/tilec/passes/fuse.py"
    times = edited.stat()
    text = edited.read_text()
    edited.write_text(text.replace('"""', "'''", 2))
    os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))
    third = run(code, **path).split()
    assert third[0] == "2"
    assert third[1] != first[1]
    edited.write_text(text)
    assert run(code, **path).split() == ["2", first[1]]  # the same sources again, wherever and whenever


def test_sources_that_changed_since_they_were_loaded_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "RECENT", -1e9)
    assert keys.sources()
    monkeypatch.setattr(keys, "LOADED", 0.0)
    monkeypatch.setattr(keys, "RECENT", 5.0)
    assert keys.sources() is None
    assert keys.tools() is None


# many processes


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_sixteen_processes_at_once_some_of_which_are_killed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "k.py").write_text(SOURCE)
    code = OLD + "import sys, hashlib\nfrom tilec.compiler import load_kernel\nprint('go', flush=True)\n"
    code += f"for block in (32, 64):\n built = load_kernel('{tmp_path}/k.py:k').compile(block=block)\n"
    code += " print(hashlib.sha256(built.cubin).hexdigest(), flush=True)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(number: int) -> Any:
        size = {"TILEC_CACHE_SIZE": "20K"} if number % 4 == 0 else {}  # these remove what the others just wrote
        command = [sys.executable, "-c", code]
        return subprocess.Popen(command, env={**environment, **size}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = [start(n) for n in range(16)]
    for victim in running[:5]:
        victim.stdout.readline()
        victim.kill()
    ended = [process.communicate() for process in running]
    os.environ["TILEC_CACHE_DIR"] = "off"
    good = [hashlib.sha256(kernel(tmp_path).compile(block=b).cubin).hexdigest() for b in (32, 64)]
    for out, error in ended[5:]:
        assert (out.split()[-2:], error) == (good, "")
    os.environ["TILEC_CACHE_DIR"] = str(place)
    assert run(code, TILEC_CACHE_DIR=str(place)).split()[1:] == good


SPILLING = """\
import tilec as tc
from tilec import f32

N = tc.dims("N")

@tc.kernel(warps=1)
def k(x: f32[N, 64], y: f32[128, 64], *, rows: int = 128):
    tc.grid(1)
    total = tc.zeros(f32, [rows, 64])
    for i in range(N):
        total += tc.load(x, [i, 0], [rows, 64])
    tc.store(y, [0, 0], total)
"""


def test_spills_are_told_from_the_cache_as_well(place: Path, tmp_path: Path) -> None:
    """128 x 64 numbers of 32 bits are 256 registers for each of 32 threads, one more than there are."""
    said = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="needs more registers") as heard:
            built = kernel(tmp_path, SPILLING).compile("sm_80")
        said += [str(w.message) for w in heard]
    assert compiled(place) == 1
    assert built.resources.spill_bytes > 0
    assert said[0] == said[1]
    for part in (f"{built.resources.spill_bytes} bytes", "total of line 9 alone takes 256", "smaller tiles or more warps"):
        assert part in said[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel(tmp_path, SPILLING).compile("sm_80", rows=16).resources.spill_bytes == 0
