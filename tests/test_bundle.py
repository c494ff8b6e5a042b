"""Bundles: the launcher in C against a driver that writes down what it is asked for, and the same bundle from Python."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_driver import GPU, Cuda, aligned, stubbed

import tilec as tc
from tilec import sim
from tilec.backend import bundle, driver
from tilec.cli import main
from tilec.errors import TileError
from tilec.ir import hosttext

ROOT = Path(__file__).parents[1]
STUB = ROOT / "tests/stub"
CLEAN = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{STUB}"]
needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="there is no C compiler")

KERNELS = """\
import tilec as tc
from tilec import cdiv, f16, f32, f64, i16, i64, u32, bool_, int4, DType

M, N, K = tc.dims("M N K")

@tc.kernel(warps=2)
def add(x: f32[N], y: f32[N], z: f32[N], *, block: int = 256):
    tc.grid(cdiv(N, block))
    i = tc.block_index(0) * block
    tc.store(z, i, tc.load(x, i, [block]) + tc.load(y, i, [block]))

@tc.kernel(warps=4)
def matmul(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 64, bn: int = 64, bk: int = 32):
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume(M % bm == 0)
    tc.assume((N % bn == 0) & (K % bk == 0))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=2):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
    tc.store(c, [i, j], f16(acc))

@tc.kernel(warps=1)
def transposed(x: tc.strided(f32[M, N]), int: tc.strided(f32[N, M])):
    tc.grid(cdiv(M, 16), cdiv(N, 16))
    i, j = tc.block_index(0) * 16, tc.block_index(1) * 16
    tc.store(int, [j, i], tc.load(x, [i, j], [16, 16]).T)

@tc.kernel(warps=1)
def scalars(y: f64[N], h: f16, f: f32, d: f64, s: i16, l: i64, u: u32, flag: bool_):
    tc.grid(tc.maximum(cdiv(N, 32), 1), 1, tc.cast(u, tc.i32) % 5 + 1)
    tc.assume(f > 0.5)
    tc.assume(l - tc.cast(s, i64) < 100)
    tc.assume(flag | (N < 1000))
    i = tc.block_index(0) * 32
    v = f64(h) + f64(f) + d + f64(s) + f64(l) + f64(u)
    tc.store(y, i, tc.full(f64, [32], 0.0) + tc.where(flag, v, 0.0))

@tc.kernel(warps=1)
def packed(w: int4[K, N], y: f32[K, N]):
    tc.grid(K, cdiv(N, 128))
    i, j = tc.block_index(0), tc.block_index(1) * 128
    tc.store(y, [i, j], tc.cast(tc.load(w, [i, j], [1, 128]), f32))

@tc.kernel(warps=1)
def odd(w: W[N], *, W: DType = f32):
    tc.grid(1)
    tc.store(w, 0, tc.load(w, 0, [32]))
""".replace("import tilec as tc\n", "import tilec as tc\nW = tc.types('W')\n")

LAUNCHES: dict[str, dict[str, Any]] = {  # arguments of a launch in C; what the driver must be asked for
    "add": {"args": [0x1000, 0x2000, 0x3010, 1000], "grid": (4, 1, 1), "threads": 64, "parameters": ["Q", "Q", "Q", "i"]},
    "matmul": {"args": [0x10, 0x20, 0x30, 128, 96, 320], "grid": (2, 5, 1), "threads": 128, "parameters": ["Q", "Q", "Q", "i", "i", "i"]},
    "transposed": {
        "args": [0x40, 0x80, 33, 17, 17, 1, 5000000000, 2], "grid": (3, 2, 1), "threads": 32,
        "parameters": ["Q", "Q", "i", "i", "q", "q", "q", "q"],
    },
    "scalars": {
        "args": [0x40, 0x3C00, 0.75, -1e300, -7, 92, 4000000003, 1, 2000], "grid": (63, 1, int(np.uint32(4000000003).astype(np.int32)) % 5 + 1), "threads": 32,
        "parameters": ["Q", "H", "f", "d", "h", "q", "I", "B", "i"],
    },
    "packed": {"args": [0x100, 0x200, 7, 129], "grid": (7, 2, 1), "threads": 32, "parameters": ["Q", "Q", "i", "i"]},
}  # fmt: skip
SIZES = {"Q": 8, "q": 8, "d": 8, "f": 4, "i": 4, "I": 4, "H": 2, "h": 2, "B": 1}
PTX_SIZES = {"u64": 8, "b64": 8, "f64": 8, "u32": 4, "b32": 4, "f32": 4, "u16": 2, "b16": 2, "u8": 1, "b8": 1}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of each kernel, for two architectures; matmul in two variants, with a rule."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "k.py").write_text(KERNELS)
    for name in LAUNCHES:
        variants = ["--variant", "bm=64", "--variant", "bm=16,bn=32", "--rule", "M <= 16 and not N > 4096: bm=16"] if name == "matmul" else []
        archs = ["--arch", "sm_80", "--arch", "sm_90a", "--arch", "sm_86"]
        assert main(["compile", f"{folder}/k.py:{name}", *archs, *variants, "--out", str(folder)]) == 0
    return folder


def about(bundles: Path, name: str) -> dict[str, Any]:
    return json.loads((bundles / f"{name}.json").read_text())


def fnv(data: bytes) -> str:
    h = 14695981039346656037
    for byte in data:
        h = (h ^ byte) * 1099511628211 % 2**64
    return f"{h:016x}"


def program(folder: Path, name: str, count: int, folder_argument: bool = False) -> Path:
    """A C program that launches a kernel once, with arguments from its command line, on stream 0x77."""
    made = folder / f"run_{name}"
    if made.exists():
        return made
    numbers = "".join(f", {convert(name, n)}" for n in range(count))
    (folder / f"{name}.c").write_text(f"""\
#include "{name}.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {{
    {name}_kernel k;
    int error = {name}_load(&k{', argv[argc - 1]' if folder_argument else ''});
    if (error == 0 && argc > {count}) {{
        error = {name}_launch(&k, (CUstream)(uintptr_t)0x77{numbers});
        {name}_unload(&k);
        {name}_unload(&k);
    }}
    printf("error %d %s\\n", error, {name}_message(error));
    return 0;
}}
""")
    subprocess.run(["gcc", "-std=c99", *CLEAN, f"-I{folder}", f"{folder}/{name}.c", f"{STUB}/driver.c", "-o", str(made)], check=True)
    return made


def convert(name: str, n: int) -> str:
    kind = LAUNCHES[name]["parameters"][n]
    if kind in "fd":
        return f"{'(float)' if kind == 'f' else ''}strtod(argv[{n + 1}], NULL)"
    if kind == "Q":
        return f"(void *)(uintptr_t)strtoull(argv[{n + 1}], NULL, 0)"
    types = {"H": "uint16_t", "h": "int16_t", "I": "uint32_t", "B": "uint8_t"}
    return f"({types.get(kind, 'int64_t')})strtoll(argv[{n + 1}], NULL, 0)"


def launched(bundles: Path, name: str, args: list[Any], **environment: str) -> list[str]:
    """What the driver wrote down, and the program's last line."""
    sizes = ",".join(str(SIZES[p]) for p in LAUNCHES[name]["parameters"])
    path = program(bundles, name, len(LAUNCHES[name]["parameters"]))
    settings = {**os.environ, "STUB_SIZES": sizes, **environment}
    return subprocess.run([path, *map(str, args)], capture_output=True, text=True, check=True, env=settings).stdout.splitlines()


def parameter_bytes(name: str, args: list[Any]) -> list[str]:
    return [struct.pack("<" + p, a).hex() for p, a in zip(LAUNCHES[name]["parameters"], args, strict=True)]


@needs_gcc
@pytest.mark.parametrize("name", LAUNCHES)
def test_every_argument_of_a_launch_from_c(name: str, bundles: Path) -> None:
    wanted = LAUNCHES[name]
    variant = ".bm64" if name == "matmul" else ""
    cubin, ptx = (bundles / f"{name}.sm_80{variant}.{e}" for e in ("cubin", "ptx"))
    declared = re.findall(r"\.param (?:\.align \d+ )?\.(\w+)[^,\[]*(?:\[(\d+)\])?", ptx.read_text().partition("{")[0])
    assert [PTX_SIZES[p] * int(n or 1) for p, n in declared] == [SIZES[p] for p in wanted["parameters"]]
    (build,) = [b for b in about(bundles, name)["builds"] if b["cubin"] == cubin.name]
    lines = launched(bundles, name, wanted["args"])
    image = fnv(cubin.read_bytes())
    (launch,) = [line.split() for line in lines if line.startswith("launch")]
    grid, block = map(str, wanted["grid"]), (str(wanted["threads"]), "1", "1")
    assert launch[:3] == ["launch", image, name]
    assert launch[3:] == [*grid, *block, str(build["shared_bytes"]), str(0x77), *parameter_bytes(name, wanted["args"])]
    opted = [line for line in lines if line.startswith("attribute")]
    assert opted == [f"attribute {name} 8 {b['shared_bytes']}" for b in about(bundles, name)["builds"] if b["arch"] == "sm_80" and b["shared_bytes"]]
    assert sorted(line.split()[1] for line in lines if line.startswith("load")) == sorted(line.split()[1] for line in lines if line.startswith("unload"))
    assert lines[-1] == "error 0 done"


@needs_gcc
@pytest.mark.parametrize("name", LAUNCHES)
def test_the_header_is_clean_c_and_cpp(name: str, bundles: Path, tmp_path: Path) -> None:
    """Alone, and twice in one file with the others."""
    source = tmp_path / "all.c"
    source.write_text(f'#include "{name}.h"\n' + "".join(f'#include "{n}.h"\n' for n in LAUNCHES) + "int main(void) { return 0; }\n")
    for command in (["gcc", "-std=c99"], ["gcc", "-std=c11", "-O2"], ["g++", "-x", "c++", "-std=c++11"], ["g++", "-x", "c++", "-std=c++20"]):
        if shutil.which(command[0]):
            subprocess.run([*command, *CLEAN, f"-I{bundles}", "-c", str(source), "-o", str(tmp_path / "all.o")], check=True)


DEVICES = [
    ("8.0", "sm_80"), ("8.6", "sm_86"), ("8.7", "sm_86"), ("8.9", "sm_86"), ("9.0", "sm_90a"), ("9.1", None), ("7.5", None), ("12.0", None),
]  # fmt: skip


@needs_gcc
@pytest.mark.parametrize(("capability", "arch"), DEVICES)
def test_the_architecture_is_the_devices(capability: str, arch: str | None, bundles: Path) -> None:
    lines = launched(bundles, "add", LAUNCHES["add"]["args"], STUB_CAPABILITY=capability)
    if arch is None:
        assert lines == ["error -1 no build of this bundle runs on the GPU: it has sm_90a, sm_86, sm_80"]
        with pytest.raises(TileError, match=f"no build of add runs on a device of compute capability {capability}"):
            tc.load(bundles).add.choose(tuple(map(int, capability.split("."))), {"N": 5})
    else:
        assert lines[0] == f"load {fnv((bundles / f'add.{arch}.cubin').read_bytes())}"
        assert tc.load(bundles).add.choose(tuple(map(int, capability.split("."))), {"N": 5}).build.target.name == arch


# M, N, K; the variant that is taken and the grid, or the assumption that is told
CHOICES = [
    ((128, 320, 96), "bm64", (2, 5, 1)),
    ((16, 64, 32), "bm16-bn32", (1, 2, 1)),
    ((16, 8192, 32), "bm16-bn32", (1, 256, 1)),  # not by the rule, but as the assumptions of bm64 fail
    ((64, 32, 32), "bm16-bn32", (4, 1, 1)),
    ((0, 64, 32), "bm16-bn32", None),  # nothing to do
    ((8, 64, 32), "the assumption M % 16 == 0 of the variant bm16-bn32 does not hold", None),
    ((100, 64, 32), "the assumption M % 64 == 0 of the variant bm64 does not hold", None),
    ((64, 64, 31), "the assumption (N % 64 == 0) & (K % 32 == 0) of the variant bm64 does not hold", None),
]


@needs_gcc
@pytest.mark.parametrize(("sizes", "outcome", "grid"), CHOICES)
def test_the_variant_is_the_first_whose_rule_and_assumptions_hold(sizes: tuple[int, ...], outcome: str, grid: Any, bundles: Path) -> None:
    m, n, k = sizes
    lines = launched(bundles, "matmul", [0x10, 0x20, 0x30, m, k, n])
    launches = [line.split() for line in lines if line.startswith("launch")]
    loaded = tc.load(bundles).matmul
    scalars = {"M": m, "N": n, "K": k}
    if outcome.startswith("the"):
        assert lines[-1].split(maxsplit=2)[2] == outcome
        assert int(lines[-1].split()[1]) < 0
        assert not launches
        with pytest.raises(TileError, match=re.escape(outcome)):
            loaded.choose((8, 0), scalars)
        return
    assert lines[-1] == "error 0 done"
    chosen = loaded.choose((8, 0), scalars)
    assert chosen.build.about["cubin"] == f"matmul.sm_80.{outcome}.cubin"
    if grid is None:
        assert not launches
        assert 0 in chosen.grid
    else:
        assert launches[0][1] == fnv((bundles / f"matmul.sm_80.{outcome}.cubin").read_bytes())
        assert launches[0][3:6] == list(map(str, grid))
        assert (*chosen.grid, 1, 1)[:3] == grid


REFUSED = [
    ("add", 0, 0x1004, "x is not at a multiple of 16 bytes"),
    ("add", 2, 0x3008, "z is not at a multiple of 16 bytes"),
    ("add", 1, 0, "y is NULL"),
    ("add", 3, -1, "N is not from 0 to 2147483647"),
    ("add", 3, 2**31, "N is not from 0 to 2147483647"),
    ("matmul", 4, 97, "the assumption (N % 64 == 0) & (K % 32 == 0) of the variant bm64 does not hold"),
    ("transposed", 4, -17, "x.stride0 is negative"),
    ("transposed", 1, 0x84, "int is not at a multiple of 16 bytes"),
    ("transposed", 3, 2**31 - 1, "the grid has less than 0 or more than 65535 blocks along axis 1"),
    ("scalars", 2, 0.5, "the assumption f > 0.5 does not hold"),
    ("scalars", 5, 93, "the assumption l - s < 100 does not hold"),
    ("scalars", 7, 0, "the assumption flag | (N < 1000) does not hold"),
    ("scalars", 5, -(2**63), "an expression of the launch divides by zero, or does not fit 64 bits"),
]


@needs_gcc
@pytest.mark.parametrize(("name", "position", "value", "words"), REFUSED)
def test_arguments_that_are_refused_in_c(name: str, position: int, value: Any, words: str, bundles: Path) -> None:
    args = list(LAUNCHES[name]["args"])
    args[position] = value
    if value == -(2**63):
        args[4] = 7
    lines = launched(bundles, name, args)
    assert lines[-1].split(maxsplit=2)[2] == words
    assert int(lines[-1].split()[1]) < 0
    assert not [line for line in lines if line.startswith("launch")]


@needs_gcc
def test_nothing_to_do_needs_no_memory(bundles: Path) -> None:
    lines = launched(bundles, "add", [0, 0, 0, 0])
    assert lines[-1] == "error 0 done"
    assert not [line for line in lines if line.startswith("launch")]


@needs_gcc
@pytest.mark.parametrize("call", ["cuCtxGetDevice", "cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute", "cuLaunchKernel"])
def test_errors_of_the_driver_are_handed_on(call: str, bundles: Path) -> None:
    lines = launched(bundles, "matmul", LAUNCHES["matmul"]["args"], STUB_FAIL=call)
    assert lines[-1] == "error 2 out of memory"
    if call not in ("cuModuleLoadData", "cuCtxGetDevice"):  # what was loaded is unloaded
        loads = [line.split()[0] for line in lines if "load" in line.split()[0]]
        assert loads.count("load") == loads.count("unload") > 0


@needs_gcc
def test_cubins_of_their_own_files(bundles: Path, tmp_path: Path) -> None:
    assert main(["compile", f"{bundles}/k.py:add", "--separate", "--out", str(tmp_path)]) == 0
    assert "uint64_t tilec_add_" not in (tmp_path / "add.h").read_text()
    path = program(tmp_path, "add", 4, folder_argument=True)
    args = [*map(str, LAUNCHES["add"]["args"])]
    found = subprocess.run([path, *args, str(tmp_path)], capture_output=True, text=True, check=True).stdout.splitlines()
    image = fnv((tmp_path / "add.sm_80.cubin").read_bytes())
    assert found[0] == f"load {image}"
    assert found[1].split()[:4] == ["launch", image, "add", "4"]
    missing = subprocess.run([path, *args, "/nowhere"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert missing == ["error 301 an error that the driver has no words for"]
    long = subprocess.run([path, *args, "/" * 5000], capture_output=True, text=True, check=True).stdout.splitlines()
    assert long[-1].endswith("the name of the folder is too long")


# expressions


FORMS = [
    "({} + {})", "({} - {})", "({} * {})", "({} // {})", "({} % {})", "min({}, {})", "max({}, {})", "(-{})", "abs({})", "({} >> 3)", "({} << 5)",
    "({0} if {1} < {2} else {1})", "(7 if {} <= {} and not {} == 3 else 5)", "({} & {})", "({} | {})", "({} ^ {})", "int({} != {})",
]  # fmt: skip


def random_text(rng: random.Random, depth: int = 3) -> str:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(["a", "b", "c", "x.stride0", str(rng.randrange(100)), str(rng.choice([2**31, 2**40, 2**62]))])
    x, y, z = (random_text(rng, depth - 1) for _ in range(3))
    return rng.choice(FORMS).format(x, y, z)


def truth(text: str, values: dict[str, int]) -> int | str | None:
    """What Python makes of it; None if a part does not fit 64 bits, or divides by zero, along the way that is taken; "edge" if one only just
    fits, as C may give up there."""

    class Number(int):
        pass

    def checked(operation: str) -> Any:
        def run(x: int, *y: int) -> Any:
            found = getattr(int, operation)(x, *y)
            if not -(2**63) < found < 2**63:
                raise EOFError if found == -(2**63) else OverflowError
            return Number(found)

        return run

    for name in ("add", "sub", "mul", "floordiv", "mod", "lshift", "rshift", "and", "or", "xor", "neg", "abs"):
        setattr(Number, f"__{name}__", checked(f"__{name}__"))
    wrapped = re.sub(r"\b(\d+)\b", r"Number(\1)", text.replace("x.stride0", "x_stride"))
    names = {"Number": Number, "int": Number, **{n.replace("x.stride0", "x_stride"): Number(v) for n, v in values.items()}}
    try:
        return int(eval(wrapped, names))
    except (OverflowError, ZeroDivisionError):
        return None
    except EOFError:
        return "edge"


@needs_gcc
def test_expressions_in_c_are_pythons(tmp_path: Path) -> None:
    rng = random.Random()
    names = {"a": "int", "b": "int", "c": "int", "x.stride0": "int"}
    expression = bundle.Expression(names, bundle.c_names(list(names)))
    texts = [random_text(rng) for _ in range(300)]
    values = {n: rng.choice([0, 1, -1, 5, -7, 2**31 - 1, rng.randrange(-(10**6), 10**6), rng.randrange(-(2**62), 2**62)]) for n in names}
    lines = [f"tilec_bad = 0; value = {expression.integer(t)}; if (tilec_bad) puts(\"None\"); else printf(\"%lld\\n\", (long long)value);" for t in texts]
    known = "".join(f"int64_t {bundle.c_name(n).replace('.', '_')} = INT64_C({v});\n" for n, v in values.items())
    source = "#include <stdint.h>\n#include <stdio.h>\n" + bundle.PRELUDE + "int main(void) {\nint64_t value;\nint tilec_bad;\n" + known
    (tmp_path / "e.c").write_text(source + "\n".join(lines) + "\nreturn 0; }\n")
    strict = ["-w", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]  # random comparisons are often always true
    subprocess.run(["gcc", "-std=c99", *strict, str(tmp_path / "e.c"), "-o", str(tmp_path / "e")], check=True)
    found = subprocess.run([tmp_path / "e"], capture_output=True, text=True, check=True).stdout.split()
    for text, said in zip(texts, found, strict=True):
        wanted = truth(text, values)
        assert said == str(wanted) or wanted == "edge", (text, values)
        if isinstance(wanted, int):
            assert hosttext.evaluate(text, values) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [("M +", "is no expression"), ("open('x')", "which a launch can't evaluate"), ("M.real.imag", "can't evaluate"), ("f(M)", "can't evaluate"),
     ("[M]", "can't evaluate"), ("'M'", "can't evaluate"), ("min(M)", "min takes 2 numbers"), ("M if N", "is no expression"), ("lambda: 1", "can't evaluate")],
)  # fmt: skip
def test_texts_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(TileError, match=words):
        hosttext.evaluate(text, {"M": 1})


def test_names_that_c_has_for_itself() -> None:
    assert bundle.c_names(["int", "x.stride0", "x_stride0", "tilec_dim_M", "größe", "M"]) == {
        "int": "int_", "x.stride0": "x_stride0", "x_stride0": "x_stride0_", "tilec_dim_M": "tilec_dim_M_", "größe": "gr_u00f6_u00dfe", "M": "M",
    }  # fmt: skip
    assert bundle.c_string('a "b" ??! \\') == '"a \\"b\\" ?\\?! \\\\"'


# the command


COMMANDS = [  # arguments, words of the error
    (["matmul", "--rule", "M <= 16: bm=32"], "no variant has bm=32"),
    (["matmul", "--variant", "bm=16", "--variant", "bm=16,bn=32", "--rule", "M <= 16: bm=16"], "several variants have bm=16"),
    (["matmul", "--variant", "bm=16", "--rule", "Q <= 16: bm=16"], "Q <= 16: there is no Q\n  help: there are M, K, N"),
    (["odd", "--variant", "W=f32", "--variant", "W=f16"], "the variants Wf32 and Wf16 take different parameters"),
    (["add", "--name", "2x"], "--name 2x: a name is letters, digits and _"),
]


@pytest.mark.parametrize(("arguments", "words"), COMMANDS)
def test_commands_that_are_refused(arguments: list[str], words: str, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = arguments
    assert main(["compile", f"{bundles}/k.py:{name}", *rest, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rule", ["M <= 16", "M <: bm=16", "M <= 16: bm"])
def test_rules_that_are_none(rule: str, bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["compile", f"{bundles}/k.py:matmul", "--rule", rule])
    assert done.value.code == 2
    assert "--rule" in capsys.readouterr().err


def test_a_name_of_ones_own(bundles: Path, tmp_path: Path) -> None:
    assert main(["compile", f"{bundles}/k.py:odd", "--set", "W=f16", "--name", "odd_f16", "--out", str(tmp_path)]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"odd_f16.json", "odd_f16.h", "odd_f16.sm_80.cubin", "odd_f16.sm_80.ptx"}
    assert list(tc.load(tmp_path)) == ["odd_f16"]
    assert "static inline int odd_f16_launch(" in (tmp_path / "odd_f16.h").read_text()


# from Python


@pytest.fixture
def gpu() -> Any:
    stub = GPU(capability=(8, 9))

    def use(kernel: Any = lambda *_: None, parameters: int = 0) -> GPU:
        stub.parameters["add"] = parameters
        stub.running = lambda launch: kernel(*launch.pointers)
        return stub

    with stubbed(stub):
        yield use


def test_a_bundle_is_called_from_python(bundles: Path, gpu: Any) -> None:
    import ctypes

    seen: list[Any] = []

    def kernel(x: int, y: int, z: int, n: int) -> None:
        count = ctypes.c_int32.from_address(n).value
        a, b, c = (np.ctypeslib.as_array((ctypes.c_float * count).from_address(ctypes.c_uint64.from_address(p).value)) for p in (x, y, z))
        c[:] = a + b
        seen.append(count)

    stub = gpu(kernel, 4)
    kernels = tc.load(str(bundles))
    assert sorted(kernels) == sorted(LAUNCHES)
    x, y, z = np.arange(1000, dtype=np.float32), np.full(1000, 2, np.float32), np.full(1000, np.nan, np.float32)
    kernels.add(x, z=z, y=y)
    kernels["add"](x, y, z)
    assert (z == x + 2).all()
    assert seen == [1000, 1000]
    assert stub.modules == [(bundles / "add.sm_86.cubin").read_bytes()]  # for a GPU of 8.9
    assert [(launch.grid, launch.block, launch.shared) for launch in stub.launches] == [((4, 1, 1), (64, 1, 1), 0)] * 2


def test_a_bundle_takes_arrays_on_the_gpu_and_launches_them_at_once(bundles: Path, gpu: Any) -> None:
    stub = gpu()
    add = tc.load(bundles).add
    arrays = [Cuda(aligned(1000, np.float32)) for _ in range(3)]
    add(*arrays, stream=5)
    before = len(stub.calls)
    add(*arrays, stream=6)
    assert [name for name, *_ in stub.calls[before:]] == ["cuLaunchKernel"]
    assert [(launch.grid, launch.stream) for launch in stub.launches] == [((4, 1, 1), 5), ((4, 1, 1), 6)]


@pytest.mark.parametrize(("m", "variant"), [(16, "bm16-bn32"), (128, "bm64")])
def test_the_description_is_all_that_a_launch_needs(m: int, variant: str, bundles: Path) -> None:
    """The chosen PTX runs on the CPU with nothing but what the bundle says, and multiplies."""
    chosen = tc.load(bundles).matmul.choose((8, 0), {"M": m, "N": 64, "K": 96})
    about = chosen.build.about
    assert about["variant"] == variant
    rng = np.random.default_rng()
    given = {"a": rng.standard_normal((m, 96)).astype(np.float16), "b": rng.standard_normal((96, 64)).astype(np.float16)}
    given |= {"c": np.full((m, 64), np.nan, np.float16), "M": np.int32(m), "N": np.int32(64), "K": np.int32(96)}
    args = [given[p["name"]] for p in about["parameters"]]
    report = sim.run_ptx(chosen.build.ptx, about["entry"], chosen.grid, (about["threads"],), args, about["shared_bytes"])
    assert report.findings == []
    exact = given["a"].astype(np.float64) @ given["b"].astype(np.float64)
    assert np.linalg.norm(given["c"] - exact) < 2**-9 * np.linalg.norm(exact)


CALLS = [  # arguments, words of the error
    (lambda f32: ([f32, f32], {}), "add lacks the argument z"),
    (lambda f32: ([f32] * 4, {}), "add takes 3 arguments"),
    (lambda f32: ([f32, f32, f32], {"block": 128}), "add has no argument block"),
    (lambda f32: ([f32, f32, f32[:-1]], {}), "N is 64 by x, but 63 by axis 0 of z"),
    (lambda f32: ([f32, f32, f32.astype(np.float64)], {}), "z has elements of f32"),
]


@pytest.mark.parametrize(("given", "words"), CALLS)
def test_arguments_from_python_are_checked(given: Any, words: str, bundles: Path, gpu: Any) -> None:
    stub = gpu()
    args, named = given(np.zeros(64, np.float32))
    with pytest.raises(TileError, match=words) as refused:
        tc.load(bundles).add(*args, **named)
    assert refused.value.loc is not None
    assert not stub.called("cuLaunchKernel")


def test_assumptions_see_scalars_as_the_kernel_gets_them(bundles: Path, tmp_path: Path, gpu: Any) -> None:
    """0.1 is less than its nearest f32."""
    source = KERNELS.replace("tc.assume(f > 0.5)", "tc.assume(tc.cast(f, f64) <= 0.1)")
    (tmp_path / "k.py").write_text(source)
    assert main(["compile", f"{tmp_path}/k.py:scalars", "--out", str(tmp_path)]) == 0
    stub = gpu()
    with pytest.raises(TileError, match=r"the assumption f <= 0\.1 does not hold"):
        tc.load(tmp_path).scalars(np.zeros(64), 1.0, 0.1, 0.0, 0, 0, 0, True)
    tc.load(tmp_path).scalars(np.zeros(64), 1.0, 0.0625, 0.0, 0, 0, 0, True)
    assert len(stub.called("cuLaunchKernel")) == 1


def test_without_a_gpu_a_bundle_says_so(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_driver", lambda: None)
    driver.device.cache_clear()
    with pytest.raises(TileError, match="add is machine code, and there is no GPU here"):
        tc.load(bundles).add(*[np.zeros(64, np.float32)] * 3)
    driver.device.cache_clear()


def test_a_bundle_needs_neither_llvm_nor_a_parser(bundles: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / 'tests')!r})
class Missing:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("llvmlite", "lark", "cuda"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import numpy as np, tilec
from tilec.backend import driver
from stub_driver import GPU
stub = GPU(capability=(9, 0))
driver._driver = lambda: stub
kernels = tilec.load({str(bundles)!r})
kernels.packed(tilec.tensor(np.zeros(7 * 64, np.uint8), "int4", [7, 128]), np.zeros((7, 128), np.float32))
(launch,) = stub.launches
print(*launch.grid, *launch.block, launch.shared)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["7", "1", "1", "32", "1", "1", "0"]


@pytest.mark.parametrize(
    ("files", "words"),
    [({}, "holds no bundle"), ({"a.json": "{"}, "holds no bundle"), ({"a.json": "[1]"}, "holds no bundle"),
     ({"a.json": '{"name": "a", "builds": [], "variants": [], "format": 9}'}, "has the format 9, and this tilec reads 1")],
)  # fmt: skip
def test_folders_without_a_bundle(files: dict[str, str], words: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(TileError, match=words):
        tc.load(tmp_path)
    with pytest.raises(TileError, match="there is no folder"):
        tc.load(tmp_path / "none")


def test_a_file_that_is_missing(bundles: Path, tmp_path: Path) -> None:
    shutil.copy(bundles / "add.json", tmp_path)
    with pytest.raises(TileError, match=r"add\.sm_80\.cubin can't be read"):
        tc.load(tmp_path)
    shutil.copytree(bundles, tmp_path / "all")
    with pytest.raises(TileError, match="the bundle has no kernel none"):
        _ = tc.load(tmp_path / "all").none


def test_load_reads_tiles_inside_of_kernels_alone() -> None:
    with pytest.raises(TileError, match=r"tc\.load is only meaningful inside a kernel"):
        tc.load(np.zeros(3), [0], [3])


def test_a_table_of_ones_own_is_in_the_bundle(bundles: Path, tmp_path: Path) -> None:
    source = "import tilec as tc\nbook = tc.codebook('bundled4', [x * x * x for x in range(-8, 8)])\nN = tc.dims('N')\n"
    source += "@tc.kernel(warps=1)\ndef k(w: book[N], y: tc.f32[N]):\n    tc.grid(1)\n    tc.store(y, 0, tc.cast(tc.load(w, 0, [32]), tc.f32))\n"
    (tmp_path / "b.py").write_text(source)
    assert main(["compile", f"{tmp_path}/b.py:k", "--out", str(tmp_path)]) == 0
    code = f"import tilec; print(tilec.load({str(tmp_path)!r}).k.function.params[0].type.dtype.entries[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.stdout, done.stderr) == ("-512.0\n", "")
