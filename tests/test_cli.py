"""The command line: what it prints and writes, exit status, and errors without tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilec import compiler
from tilec.cli import main
from tilec.ir.core import Function
from tilec.ir.describe import describe
from tilec.ir.text import parse

SCALE = """\
kernel @scale(%x: global f16[M, N], %y: strided f16[M, N], %s: f16, %M: i32, %N: i32, %y.stride0: i64, %y.stride1: i64) warps=1 {
  launch {
    %0 = constant value=16 dtype=i32 : i32
    %1 = constant value=15 dtype=i32 : i32
    %2 = add %M, %1 : i32
    %3 = floor_div %2, %0 : i32
    %4 = mod %N, %0 : i32
    %5 = constant value=0 dtype=i32 : i32
    %6 = eq %4, %5 : bool
    assume %6 text="N % 16 == 0"
    yield [%3, %N]
  }
  %i = block_index : i32
  %j = block_index axis=1 : i32
  %7 = constant value=16 dtype=i32 : i32
  %8 = mul %i, %7 : i32
  %9 = load %x, [%8, %j] shape=[16] dims=[0] : f16[16]
  %10 = broadcast %s shape=[16] : f16[16]
  %11 = mul %9, %10 : f16[16]
  store %y, [%8, %j], %11 dims=[0]
}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scale.tir").write_text(SCALE)
    return tmp_path


def test_layout_draws_a_grid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layout", "local(2,1).spatial(2,2)"]) == 0
    assert capsys.readouterr().out == (
        "local(2, 1).spatial(2, 2)\n"
        "shape 4 x 2, 4 threads, 2 registers each, thread:register\n"
        "     0    1\n0  0:0  1:0\n1  2:0  3:0\n2  0:1  1:1\n3  2:1  3:1\n"
    )


def test_layout_of_shared_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layout", "shared([2, 2], [1, 2])", "--bits", "32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["0  0@0  2@2", "1  1@1  3@3"]
    assert main(["layout", "shared([2, 2])", "--svg", "x.svg"]) == 2


def test_layout_writes_an_svg(here: Path) -> None:
    assert main(["layout", "spatial(2, 4)", "--svg", "out/a.svg"]) == 0
    assert (here / "out/a.svg").read_text().startswith("<svg")
    assert [p.name for p in (here / "out").iterdir()] == ["a.svg"]


def test_a_wrong_layout_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layout", "lokal(2)"]) == 2
    assert capsys.readouterr().err.startswith("error[TILE0601]: no layout is called 'lokal'\n  help: there are local, spatial")


@pytest.mark.parametrize("command", ["compile", "show", "run", "layout", "bisect"])
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0
    assert f"example: tilec {command} " in capsys.readouterr().out


def test_layout_loads_no_code_generator() -> None:
    code = "import sys; from tilec.cli import main; main(['layout', 'spatial(2)']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"llvmlite", "cuda", "tilec.trial"} & set(loaded)


# Running textual IR


def test_run_on_arrays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).standard_normal((20, 32)).astype(np.float16)
    np.save("x.npy", x)
    assert main(["run", "scale.tir", "--arg", "x=x.npy", "--arg", "s=2.5", "--out", "out"]) == 0
    y = np.load("out/y.npy")
    assert y.dtype == np.float16
    assert (y == (x.astype(np.float64) * 2.5).astype(np.float16)).all()
    words = capsys.readouterr().out.splitlines()[1].split()
    assert words[:3] == ["y", "f16[20,", "32]"]
    assert words[3:5] == [f"{float(y.min()):.6g}", f"{float(y.max()):.6g}"]


def test_run_at_random_is_reproducible(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for seed in ("1", "1", "2"):
        assert main(["run", "scale.tir", "--dim", "M=3", "--dim", "N=16", "--arg", "s=1", "--seed", seed]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


def test_run_takes_and_gives_codes_of_types_that_numpy_lacks(here: Path) -> None:
    (here / "copy.tir").write_text(
        "kernel @f(%x: global float8_e4m3[4], %y: global bf16[4], %z: global float8_e4m3[4], %w: global bf16[4]) {\n"
        "launch {\n %0 = constant value=1 dtype=i32\n yield [%0]\n}\n"
        "%0 = constant value=0 dtype=i32\n%1 = load %x, [%0] shape=[4] dims=[0]\n%2 = load %y, [%0] shape=[4] dims=[0]\n"
        "store %z, [%0], %1 dims=[0]\nstore %w, [%0], %2 dims=[0]\n}\n"
    )
    x, y = np.array([0, 0x38, 0xB8, 0x7F], np.uint8), np.array([0, 0x3F80, 0xFF80, 0x7FC0], np.uint16)
    np.save("x.npy", x)
    np.save("y.npy", y)
    assert main(["run", "copy.tir", "--arg", "x=x.npy", "--arg", "y=y.npy", "--out", "."]) == 0
    assert np.load("z.npy").tolist() == x.tolist()
    assert np.load("w.npy").tolist() == y.tolist()


RUN_ERRORS = [  # arguments, exit status, words of the error
    (["nothing.tir"], 2, "nothing.tir can't be read: No such file"),
    (["scale.tir"], 2, "the extent of M, N is not known\n  help: say --dim M=64 --dim N=64, or give arrays"),
    (["scale.tir", "--dim", "M=4", "--dim", "N=16"], 2, "no value is given for s (f16)\n  help: say --arg NAME=NUMBER"),
    (["scale.tir", "--dim", "Q=4"], 2, "scale has no parameter Q\n  help: it has x, y, s, M, N"),
    (["scale.tir", "--dim", "M=1.5", "--dim", "N=16"], 2, "--dim M=1.5: a dimension is a whole number"),
    (["scale.tir", "--arg", "s"], 2, "--arg s: write NAME=VALUE"),
    (["scale.tir", "--arg", "x=none.npy"], 2, "none.npy can't be read: No such file"),
    (["scale.tir", "--arg", "x=bad.tir"], 2, "bad.tir can't be read: "),
    (["scale.tir", "--arg", "x=ints.npy", "--arg", "s=1"], 2, "x has elements of f16, but the array given holds i32"),
    (["scale.tir", "--arg", "x=line.npy", "--dim", "N=2", "--arg", "s=1"], 2, "2 dimensions [M, N], but the array given has shape [4]"),
    (["scale.tir", "--arg", "x=square.npy", "--dim", "N=3", "--arg", "s=1"], 2, "N is 16 by x, but 3 by axis 1 of y"),
    (["scale.tir", "--dim", "M=4", "--dim", "N=16", "--arg", "s=many"], 2, "s is a scalar f16, but many is no number"),
    (["scale.tir", "--dim", "M=4", "--dim", "N=16", "--arg", "s='a'"], 2, "s is a scalar f16, but 'a' is given"),
    (["scale.tir", "--dim", "M=4", "--dim", "N=15", "--arg", "s=1"], 1, "scale.tir:10:5: error[TILE0205]: assumption N % 16 == 0 does not hold"),
    (["bad.tir"], 1, "bad.tir:1:11: error[TILE0901]: expected a value such as %x or ')', but found 'x'\n    kernel @f(x: i32)"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "words"), RUN_ERRORS)
def test_run_says_what_is_wrong(here: Path, arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.tir").write_text("kernel @f(x: i32) {\n}\n")
    np.save("ints.npy", np.zeros((4, 16), np.int32))
    np.save("line.npy", np.zeros(4, np.float16))
    np.save("square.npy", np.zeros((16, 16), np.float16))
    assert main(["run", *arguments]) == status
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


# Commands that compile

KERNEL = """\
import numpy as np
import tilec as tc
from tilec import DType, cdiv, f16, f32

N = tc.dims("N")

@tc.kernel(warps=1)
def scale(x: f32[N], y: f32[N], s: f32, *, block: int = 64, t: DType = f32, shape: tuple = ()):
    tc.grid(cdiv(N, block))
    i = tc.block_index(0) * block
    v = tc.load(x, [i], [block])
    if block % 2:
        1 // 0
    tc.store(y, [i], tc.cast(tc.cast(v * s, t), f32))

@scale.example
def _(rng, n=100):
    x = rng.standard_normal(n).astype(np.float32)
    return (x, np.empty_like(x), 2.0), {"y": x * 2}

@tc.kernel
def broken(x: f32[N]):
    tc.grid(1)
    tc.store(x, [0], tc.load(x, [0], [4]) + 1, 5)

@tc.kernel
def fails(x: f32[N]):
    tc.grid(1)
    tc.store(x, [0], 0.0)

@fails.example
def _(rng):
    return np.zeros(3) + 0.0, {}["nothing"]
"""


@pytest.fixture
def kernels(here: Path) -> Path:
    (here / "k.py").write_text(KERNEL)
    return here


def test_compile_writes_a_build_for_each_architecture_and_variant(kernels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--arch", "sm_80", "--arch", "sm_90a", "--set", "t=f16", "--variant", "block=64, shape=(1, 2)", "--variant", "block=128"]
    assert main(["compile", "k.py:scale", *options, "--out", "out"]) == 0
    stems = ["scale.sm_80.block64-shape1_2", "scale.sm_90a.block64-shape1_2", "scale.sm_80.block128", "scale.sm_90a.block128"]
    assert {p.name for p in (kernels / "out").iterdir()} == {f"{s}.{e}" for s in stems for e in ("ptx", "cubin")} | {"scale.json", "scale.h"}
    assert ".target sm_90a" in (kernels / "out/scale.sm_90a.block128.ptx").read_text()
    assert (kernels / "out/scale.sm_80.block128.cubin").read_bytes().startswith(b"\x7fELF")
    about = json.loads((kernels / "out/scale.json").read_text())
    assert about["name"] == "scale"
    assert [b["cubin"] for b in about["builds"]] == [f"{s}.cubin" for s in stems]
    build = about["builds"][1]
    assert build["arch"] == "sm_90a"
    assert build["constants"] == {"block": 64, "t": "f16", "shape": [1, 2]}
    assert build["grid"] == ["(N + 63) // 64"]
    assert [p["name"] for p in build["parameters"]] == ["x", "y", "s", "N"]
    assert (build["threads"], build["spill_bytes"], build["shared_bytes"]) == (32, 0, 0)
    assert 0 < build["registers"] < 256
    assert capsys.readouterr().out.splitlines()[2].split() == [f"{stems[1]}.cubin", "32", str(build["registers"]), "0", "0"]


def test_the_description_of_a_launch() -> None:
    tensor = {"kind": "tensor", "type": "f16", "bits": 16, "shape": ["M", "N"], "alignment": 16}
    assert describe(parse(SCALE)) == {
        "name": "scale",
        "parameters": [
            {**tensor, "name": "x", "strides": ["N", 1], "strided": False, "written": False},
            {**tensor, "name": "y", "strides": ["y.stride0", "y.stride1"], "strided": True, "written": True},
            {"name": "s", "kind": "scalar", "type": "f16"},
            {"name": "M", "kind": "dimension", "type": "i32"},
            {"name": "N", "kind": "dimension", "type": "i32"},
            {"name": "y.stride0", "kind": "stride", "type": "i64"},
            {"name": "y.stride1", "kind": "stride", "type": "i64"},
        ],
        "constants": {},
        "grid": ["(M + 15) // 16", "N"],
        "assumptions": ["N % 16 == 0"],
        "multiples": {},
        "threads": 32,
    }
    (x,) = describe(parse("kernel @f(%x: global f32[A, 4, B, 2], %A: i32, %B: i32) {\n}"))["parameters"][:1]
    assert x["strides"] == ["B * 8", "B * 2", 2, 1]


def test_nothing_is_written_if_one_variant_is_wrong(kernels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "k.py:scale", "--variant", "block=2", "--variant", "block=0", "--out", "out"]) == 1
    assert "k.py:11:" in capsys.readouterr().err
    assert not (kernels / "out").exists()


def test_nothing_is_left_if_a_file_can_not_be_written(kernels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kernels / "out/scale.json").mkdir(parents=True)
    assert main(["compile", "k.py:scale", "--out", "out"]) == 2
    assert "can't be written" in capsys.readouterr().err
    assert not list((kernels / "out").glob(".*"))
    assert main(["compile", "k.py:scale", "--out", "k.py/out"]) == 2


KERNEL_ERRORS = [  # command, exit status, words of the error
    (["compile", "k.py"], 2, "'k.py' names no kernel: write FILE.py:KERNEL"),
    (["compile", "none.py:k"], 2, "there is no file none.py"),
    (["show", "k.py:scales"], 2, "k.py has no kernel scales\n  help: it has scale, broken, fails"),
    (["show", "k.py:scale", "--set", "size=3"], 2, "error[TILE0701]: scale has no constant size\n  help: it has block, t, shape"),
    (["show", "k.py:scale", "--after", "nothing"], 2, "there is no stage nothing; there are parsed, "),
    (["compile", "k.py:scale", "--arch", "sm_81"], 2, "no architecture is called 'sm_81'; did you mean sm_8"),
    (["compile", "k.py:scale", "--variant", "block=2", "--variant", "block=2"], 2, "scale.sm_80.block2.cubin would be written twice"),
    (["show", "k.py:broken"], 1, "k.py:24:5: error[TILE0105]: "),
    (["bisect", "k.py:broken"], 1, "k.py:24:5: error[TILE0105]: "),
    (["bisect", "k.py:fails"], 1, f"k.py:33:{31 if sys.version_info >= (3, 11) else 1}: error[TILE0112]: KeyError: 'nothing'"),
    (["show", "syntax.py:f"], 1, "syntax.py:2:"),
    (["show", "zero.py:f"], 1, "zero.py:2:1: error[TILE0112]: ZeroDivisionError: "),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "words"), KERNEL_ERRORS)
def test_what_is_wrong_with_a_kernel(
    kernels: Path, arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (kernels / "syntax.py").write_text("x = 1\ndef f(:\n")
    (kernels / "zero.py").write_text("x = 0\n1 // x\n")
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("setting", "words"), [
        ("3", "write NAME=VALUE"),
        ("a=b c", "write NAME=VALUE"),
        ("a=f15", "f15 is neither a number nor the name of a type; write 64, "),
        ("bm=ten", "'bm=ten': ten is neither a number nor the name of a type; write 64, 0.5, True, int6, or 'text' with its quotes"),
        ("bm=(1, ten)", "ten is neither a number"),
        ("bm=1+x", "1 + x is no literal of Python"),
    ]
)
def test_settings_are_checked(setting: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["show", "k.py:k", "--set", setting])
    assert done.value.code == 2
    assert words in capsys.readouterr().err


def test_show(kernels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*options: str) -> str:
        assert main(["show", "k.py:scale", "--arch", "sm_90a", *options]) == 0
        return capsys.readouterr().out

    assert shown().startswith("kernel @scale(%x: global f32[N], ")
    assert "layout=" in shown("--after", "layouts")
    assert 'at "k.py":11:' in shown("--locations").replace(str(kernels) + "/", "")
    assert "define ptx_kernel" in shown("--llvm")
    assert ".entry scale(" in shown("--ptx")
    assert "EXIT" in shown("--sass")


def test_a_shown_stage_runs(kernels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `show` prints, `run` executes: of every stage, with the same results."""
    np.save("x.npy", x := np.arange(100, dtype=np.float32))
    for stage in ("parsed", "layouts", "placed"):
        assert main(["show", "k.py:scale", "--after", stage]) == 0
        (kernels / "k.tir").write_text(capsys.readouterr().out)
        assert main(["run", "k.tir", "--arg", "x=x.npy", "--arg", "s=3", "--dim", "N=100", "--out", stage]) == 0
        assert (np.load(f"{stage}/y.npy") == 3 * x).all()
        capsys.readouterr()


def test_bisect(kernels: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["bisect", "k.py:scale", "--arch", "sm_90a"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all stages agree"
    _, simplify = compiler.PIPELINE[0]

    def double(function: Function, target: Any) -> Function:
        return parse(str(simplify(function, target)).replace(" = mul ", " = add "))

    monkeypatch.setattr(compiler, "PIPELINE", (compiler.PIPELINE[0], ("doubled", double), *compiler.PIPELINE[1:]))
    assert main(["bisect", "k.py:scale"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "doubled is the first stage whose results differ"


def test_sim_runs_what_compile_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(__file__).parents[1] / "examples" / "vector_add.py"
    assert main(["compile", f"{file}:vector_add", "--out", str(tmp_path)]) == 0
    a = np.arange(1000, dtype=np.float32)
    np.save(tmp_path / "a.npy", a)
    words = ["sim", str(tmp_path / "vector_add.sm_80.ptx"), "--grid", "1", "--save", str(tmp_path)]
    words += ["--arg", str(tmp_path / "a.npy"), "--arg", str(tmp_path / "a.npy"), "--arg", "f32:1000", "--arg", "1000"]
    assert main(words) == 0
    assert "no findings" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(tmp_path / "argument2.npy"), 2 * a)


MATMUL = Path(__file__).parents[1] / "examples" / "matmul_v3.py"
ARGUMENTS = ["--arg", "f16:128x32=ones", "--arg", "f16:32x128=ones", "--arg", "f16:128x128", "--arg", "128", "--arg", "32", "--arg", "128"]


def test_sim_takes_what_a_launch_gives_from_the_description_beside_the_ptx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", f"{MATMUL}:matmul_v3", "--out", str(tmp_path)]) == 0
    there = str(tmp_path / "matmul_v3.sm_80.ptx")
    capsys.readouterr()
    assert main(["sim", there]) == 0
    told = capsys.readouterr().out
    assert f"to run it: tilec sim {there} --grid X,Y,Z --arg VALUE ... (for each of a: f16[M, K]; b: f16[K, N]; c: f16[M, N]; M: i32; K: i32; N: i32;" in told
    assert main(["sim", there, "--grid", "1,1", "--save", str(tmp_path), *ARGUMENTS]) == 0
    assert "no findings" in capsys.readouterr().out
    assert (np.load(tmp_path / "argument2.npy")[:64, :64] == 32).all()


def test_sim_asks_for_what_the_ptx_does_not_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = tmp_path / "alone.ptx"
    alone.write_text(compiler.load_kernel(f"{MATMUL}:matmul_v3").compile().ptx)
    assert main(["sim", str(alone)]) == 0
    assert "--grid X,Y,Z --shared BYTES --arg VALUE" in capsys.readouterr().out
    run = ["sim", str(alone), "--grid", "1,1", *ARGUMENTS]
    assert main(run) == 2
    assert "the size of shared is not in the PTX, as each launch gives it (.extern .shared)\n  help: --shared BYTES" in capsys.readouterr().err
    assert main([*run, "--shared", "24576"]) == 0
    assert main([*run, "--shared", "64"]) == 1  # taken at its word
    assert main([*run, "--entry", "other"]) == 2
    assert "has no kernel other" in capsys.readouterr().err
    for broken in ("{", "[]", '{"builds": [{}]}', '{"builds": 3}'):
        (tmp_path / "alone.json").write_text(broken)
        assert main(run) == 2


def test_sim_runs_a_kernel_on_its_example(kernels: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["sim", "k.py:scale", "--arch", "sm_90a", "--set", "block=64"]) == 0
    capsys.readouterr()
    assert main(["sim", f"{MATMUL}:matmul_v3", "--size", "m=70", "--size", "k=40"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("matmul_v3: no findings")
    assert "matmul_v3.py:" in told
    assert "c: relative error 0.000" in told.splitlines()[-1]
    assert main(["sim", f"{MATMUL}:matmul_v3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    assert main(["sim", f"{MATMUL}:none"]) == 2
    _, simplify = compiler.PIPELINE[0]

    def double(function: Function, target: Any) -> Function:
        return parse(str(simplify(function, target)).replace(" = mul ", " = add "))

    monkeypatch.setattr(compiler, "PIPELINE", (compiler.PIPELINE[0], ("doubled", double), *compiler.PIPELINE[1:]))
    assert main(["sim", "k.py:scale"]) == 1
    assert "and it differs from the interpreted result" in capsys.readouterr().out
