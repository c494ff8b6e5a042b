"""Codes of errors: each is explained, with an example that raises it; those that no example can raise are raised here."""

import linecache
import re
from pathlib import Path

import numpy as np
import pytest
from test_nvptx import POW
from test_wrong_kernels import CALLS, WRONG

import tilec as tc
from tilec import cache, cli, reference
from tilec.backend import cubin, nvptx, sass
from tilec.backend.target import target
from tilec.codes import OF_MODULES, Code, explanation, page
from tilec.errors import TileError
from tilec.ir.core import Block, Builder, Function, Value
from tilec.ir.dtypes import f32
from tilec.ir.ops.arith import Exp
from tilec.ir.types import TileType
from tilec.sim.report import CODES

ROOT = Path(__file__).parents[1]
SECTIONS = {m[1]: m[2] for m in re.finditer(r"^## (TILE\d{4}): [^\n]+\n(.*?)(?=^#|\Z)", page(), re.MULTILINE | re.DOTALL)}
EXAMPLES = {f"{code} {i}": b for code, text in SECTIONS.items() for i, b in enumerate(re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL))}
OUTSIDE = re.compile(r'(from|import) |tc\.(dtype|local|parse|tensor)\(|tc\.load\("|exec\(')


def run(name):
    """An example of the page: a script, or lines of a kernel, which is taken through all stages."""
    text, names = EXAMPLES[name], {**reference.NAMES, "np": np}
    if "@tc.kernel" not in text and not OUTSIDE.match(text):
        given = reference.Example(name, tuple(text.splitlines()))
        reference.made(name, given.body({}, "", {})).stages("sm_80")
        return
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)


def test_every_code_is_explained_once_and_in_order():
    assert list(SECTIONS) == [str(c) for c in sorted(Code)]
    assert (ROOT / "docs/errors.md").read_text() == page(), "python -m tilec.reference writes it"


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n.endswith(" 0")])
def test_the_example_raises_its_code(name, monkeypatch):
    monkeypatch.setitem(reference.NAMES, "np", np)
    with pytest.raises(TileError) as caught:
        run(name)
    assert str(caught.value.code) == name.split()[0]
    assert f"error[{name.split()[0]}]: " in str(caught.value)


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n.endswith(" 1")])
def test_the_remedy_helps(name):
    run(name)


R, C = tc.dims("R C")


def plain(T: tc.f32[R, C]):
    tc.grid(1)


# what no example can raise: findings of hand-written PTX, missing tools, faults of the compiler


def malformed():
    x = Value(TileType(f32), "x")
    body = Block()
    Builder(body).emit(Exp(x))
    Function("f", (), Block(), body).verify()


def refused_by_llvm():
    nvptx.to_ptx("define void @k() {\n  ret i32 0\n}", target("sm_80"))


def refused_by_assembler():
    cubin.assemble(".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n nonsense;\n}\n", "sm_80")


def without_disassembler(monkeypatch):
    monkeypatch.setattr("tilec.backend.tools.find", lambda name: None)
    sass.disassemble(b"")


def without_gpu(monkeypatch):
    monkeypatch.setattr("tilec.running.device", lambda *_: None)
    tc.kernel(plain).prepare(np.zeros((8, 16), np.float32))


def crash(monkeypatch):
    monkeypatch.setenv("TILEC_ISOLATE", "1")
    monkeypatch.setattr(nvptx, "check", lambda *_: None)
    nvptx.to_ptx(POW, target("sm_80"))


def size_of_cache(monkeypatch):
    monkeypatch.setenv("TILEC_CACHE_SIZE", "much")
    cache.limit()


def kernel_of_no_file():
    cli._load("nowhere.py:k")


HERE = {
    Code.LLVM: refused_by_llvm, Code.ASSEMBLER: refused_by_assembler, Code.TOOLS: without_disassembler, Code.SETTING: size_of_cache,
    Code.FILE: kernel_of_no_file, Code.MALFORMED: malformed, Code.NO_GPU: without_gpu, Code.CRASH: crash,
}  # fmt: skip


@pytest.mark.parametrize("code", HERE, ids=str)
def test_raised_here(code, monkeypatch):
    raiser = HERE[code]
    with pytest.raises(TileError) as caught:
        raiser(*[monkeypatch][: raiser.__code__.co_argcount])
    assert caught.value.code == code


BESIDE = re.search(r"^# Beside Triton\n(.*?)^# ", page(), re.MULTILINE | re.DOTALL)[1]


@pytest.mark.parametrize("part", re.split(r"^### ", BESIDE, flags=re.MULTILINE)[1:])
def test_what_stands_beside_triton_is_what_tilec_says(part):
    code = re.search(r"```py\n(.*?)```", part, re.DOTALL)[1]
    with pytest.raises(TileError) as caught:
        reference.Example("beside", tuple(code.splitlines())).kernel().function()
    said = str(caught.value).replace(str(caught.value.loc) + ": ", "").splitlines()
    assert all(re.sub(r"^<.*>:\d+:\d+: ", "", line) in part for line in said)
    assert len(said) >= 4


def test_every_code_is_raised_by_some_test():
    raised = {name.split()[0] for name in EXAMPLES} | {str(c) for c in HERE}
    raised |= {w for text, *words in (*WRONG.values(), *CALLS.values()) for w in words if w.startswith("TILE")}
    raised |= {str(c) for c in CODES.values()}  # of findings: tests/sim has each kind
    assert raised == set(SECTIONS)


def test_every_wrong_kernel_says_its_code():
    for name, (_, *words) in {**WRONG, **CALLS}.items():
        assert words[0] in SECTIONS, name


def test_modules_with_errors_of_their_own_exist():
    for module in OF_MODULES:
        path = ROOT.joinpath(*module.split("."))
        assert path.is_dir() or path.with_suffix(".py").exists(), module


def test_the_command(capsys):
    assert cli.main(["errors", "tile0301"]) == 0
    assert capsys.readouterr().out.startswith("TILE0301: types do not mix\n\nNo type is promoted")
    assert cli.main(["errors"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(Code)
    assert cli.main(["errors", "TILE9999"]) == 2
    assert capsys.readouterr().err.startswith("error[TILE0902]: there is no code TILE9999\n  help: tilec errors lists them")
    assert explanation("nonsense") == ""
