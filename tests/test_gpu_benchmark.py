"""`make gpu`, with a GPU that is a stub, where the interpreter computes: what fails, fails alone."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stub_driver import GPU, stubbed

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import gpu  # noqa: E402
import gpu_layers  # noqa: E402
import gpu_linear  # noqa: E402
import gpu_peers  # noqa: E402
import gpu_stubbed  # noqa: E402
import gpu_table  # noqa: E402
import gpu_tasks  # noqa: E402
import launch  # noqa: E402

from tilec import sim  # noqa: E402
from tilec.kernels import forms  # noqa: E402

STUBBED = [sys.executable, str(Path(__file__).parent / "gpu_stubbed.py")]
NAMES = [f"kernel: decode {t}" for t in ("int3", "int4", "int5", "int6", "int7", "uint2")]


def test_without_a_gpu_it_says_so():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "gpu.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "there is no GPU here, or no driver for it: nothing was run\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Runs the benchmark on a GPU that is a stub, without compute-sanitizer, on small layers; the results file's content, and what was printed."""
    monkeypatch.setattr(gpu, "SANITIZERS", ())
    monkeypatch.setattr(gpu_linear, "MEASURED", tmp_path / "forms.json")
    for name in ("SHAPES", "ROWS", "COPIED"):
        monkeypatch.setattr(gpu_layers, name, getattr(gpu_stubbed, name))

    def run(capsys, *argv, status=0):
        with stubbed(GPU()):
            assert gpu.main([*argv, "--out", str(tmp_path / "results")], STUBBED) == status
        (file,) = (tmp_path / "results").iterdir()
        return json.loads(file.read_text()), capsys.readouterr().out

    return run


def test_all_goes_well(written, capsys):
    only = "kernel: (vector_add|matmul_v0|decode int6|encode float8_e4m3|atomic add f32|functions|groups)|subnormals|tools|sanitizer"
    found, told = written(capsys, "--only", only)
    assert found["device"] == "Stub 3000"
    assert found["target"] == "sm_80"
    assert found["attributes"]["multiprocessor_count"] == 4
    assert found["versions"]["numpy"] == np.__version__
    assert len(found["results"]) == 9 + 4
    assert next(iter(found["results"])) == "question: subnormals"  # the first thing that is asked
    assert found["results"]["question: subnormals"]["kept"] == {"f16": True, "bf16": True}
    assert "ok    kernel: vector_add" in told
    assert "13 right, 0 wrong" in told
    differences = found["results"]["kernel: matmul_v0"]["differences"]
    assert 0 < differences["c"] < 2**-9  # it was computed, in f16
    assert found["results"]["sanitizer: racecheck"] == {"right": True, "skipped": "compute-sanitizer was not found"}


def test_the_linear_layer_is_tried(written, capsys):
    """Small layers against float64."""
    found, _ = written(capsys, "--only", "linear: (int4|uint4|float4)")
    assert len(found["results"]) == 3
    assert all(0 < r["differences"]["y"] < 2**-6 for r in found["results"].values())


def test_products_of_8_bits_are_tried_and_timed(written, capsys):
    """Those of a GPU that has them; their forms are kept beside the others."""
    found, told = written(capsys, "--only", "linear: (int8|e4m3) x (int4|float4)|layer: int8 x int4 (1|16)x128x256")
    results = found["results"]
    assert results["linear: e4m3 x float4_e2m1 16x256x2048"]["skipped"] == "there are no products of fp8"  # sm_80
    assert 0 < results["linear: int8 x int4 1x500x2048"]["differences"]["y"] < 2**-9
    timed = [r for n, r in results.items() if n.startswith("layer")]
    assert len(timed) == 4
    assert all(r["right"] and 0 < r["difference"] < 2**-9 for r in timed)
    assert set(json.loads(gpu_linear.MEASURED.read_text())) == {r["key"] for r in timed}
    assert all("8 bits as 8" in r["key"] for r in timed)
    assert "256x128 | 16 | int8 x int4 | 128 | 0.2500 |" in told
    gpu_linear.MEASURED.unlink()


def test_large_shapes_are_there():
    names = set(gpu_tasks.tasks())
    for m in (1, 16, 256, 4096):
        for n, k in ((8192, 8192), (57344, 8192), (8192, 28672)):
            assert {f"layer: {who} {m}x{n}x{k}, {what}" for who in ("int4", "int1", "triton int4") for what in ("groups of 128", "per channel")} <= names
            assert {f"layer: torch f16 {m}x{n}x{k}", f"layer: humming int4 {m}x{n}x{k}, groups of 128"} <= names
    assert {f"layer: {w} 1x8192x8192, groups of 128" for w in ("int8", "int7", "float6_e3m2", "int5", "int4", "int3", "int2", "int1")} <= names


def test_layers_are_timed(written, capsys, tmp_path):
    """Each form's results are right, or it does not count; what was fastest is kept, and told beside the copy bandwidth."""
    found, told = written(capsys, "--only", "layer: (copy|int4 1|float6_e3m2 16x|tilec|torch|triton|humming int4)")
    results = found["results"]
    ours = {n: r for n, r in results.items() if r.get("maker") in ("tilec", "tilec f16")}
    assert len(ours) == 12 + 4 + 2
    assert all(0 < r["difference"] < 2**-9 and r["forms"] for r in ours.values())
    assert all(r["skipped"] == "PyTorch with CUDA was not found" for n, r in results.items() if "torch" in n or "humming" in n or "triton" in n)
    assert len(json.loads(gpu_linear.MEASURED.read_text())) == len({r["key"] for r in ours.values() if "key" in r}) > 4
    copied = 2 * gpu_stubbed.COPIED / 0.25 / 1e6  # by the stub's clock everything takes 0.25 ms
    share = (256 * 128 // 2 + 2 * 128 * 2) / 0.25 / 1e6 / copied
    assert f"256x128 | 16 | int4 | 128 | 0.2500 | {share:.0%} |" in told
    assert "left out: triton: PyTorch with CUDA was not found" in told
    gpu_linear.MEASURED.unlink()
    (file,) = (tmp_path / "results").iterdir()
    assert gpu.main(["--read", str(file)]) == 0  # elsewhere
    assert capsys.readouterr().out.splitlines()[: len(found["table"])] == found["table"]
    assert gpu_linear.MEASURED.exists()


def test_a_form_that_is_wrong_does_not_count():
    y = np.zeros(4)
    runs = {"good": lambda: y.fill(1.0), "bad": lambda: y.fill(1.1), "broken": lambda: 1 / 0}
    with stubbed(GPU()):
        found = gpu_peers.fastest(runs, lambda: y.fill(np.nan), lambda: float(np.abs(y - 1).max()))
        assert (found["right"], found["best"], list(found["forms"])) == (False, "good", ["good"])
        assert found["errors"] == {"bad": "ArithmeticError: the results differ by 1.0e-01", "broken": "ZeroDivisionError: division by zero"}
        assert gpu_peers.fastest({"idle": lambda: None}, lambda: y.fill(np.nan), lambda: float(np.abs(y - 1).max()))["best"] is None


def test_others_troubles_are_told():
    def failing(error):
        @gpu_peers.guarded
        def task():
            raise error

        return task

    assert failing(ImportError("x", name="humming.layer"))() == {"right": True, "skipped": "humming.layer was not found"}
    assert failing(RuntimeError("nvcc\nfailed"))() == {"right": True, "skipped": "RuntimeError: nvcc failed"}
    with pytest.raises(RuntimeError, match="CUDA error"):  # a lost context is not theirs alone
        failing(RuntimeError("CUDA error: an illegal memory access"))()


def test_what_triton_is_compared_with():
    class Held(np.ndarray):
        cpu = numpy = lambda self: self

    x, s = np.ones((2, 16), np.float16).view(Held), np.full((1, 3), 0.5, np.float16).view(Held)
    q = np.array([[0x89ABCDEF, 0, 8], [0, 0, 0]], np.uint32).view(np.int32).view(Held)  # eight weights along K from the lowest bits up
    x[1, 1:] = 0  # the first weight alone
    expected = np.array([[sum(range(8)) / 2 - 32, -64, -60], [3.5, -4, 0]])
    np.testing.assert_array_equal(gpu_peers.int4_expected(x, q, s, None), expected)


def test_it_goes_on_where_it_ended(written, capsys):
    names = "|".join(f"{n}$" for n in NAMES[:3])
    found, told = written(capsys, "--only", names, "--minutes", "0")
    assert found["results"] == {}
    assert "3 tasks were not begun in 0 minutes" in told
    written(capsys, "--only", f"{NAMES[0]}$")
    found, told = written(capsys, "--only", names, "--missing")
    assert list(found["results"]) == NAMES[:3]
    assert "2 right, 0 wrong" in told


def test_results_are_kept_as_they_come(written, capsys, monkeypatch):
    """What was known when the process that watches ends."""
    monkeypatch.setenv("TILEC_STUB_FAILS", json.dumps({NAMES[1]: "wrong"}))
    add = gpu.Record.add

    def interrupted(self, name, result):
        add(self, name, result)
        if not result["right"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(gpu.Record, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(capsys, "--only", "|".join(NAMES))
    monkeypatch.setattr(gpu.Record, "add", add)
    found, _ = written(capsys, "--only", "nothing")
    assert [(n, r["right"]) for n, r in found["results"].items()] == [(NAMES[0], True), (NAMES[1], False)]


def test_parts():
    chosen = gpu.chosen("check,linear")
    assert all(map(chosen, ("question: tools", "kernel: softmax", "linear: int4", "layer: copy")))
    assert not any(map(chosen, ("time: softmax", "sanitizer: memcheck")))
    assert gpu.chosen("soft")("time: softmax 8192x1024")


def test_what_to_bring(monkeypatch):
    """One line names it; lark is not needed, nor nvJitLink beside ptxas."""
    versions = {"numpy": "2.4.1", "llvmlite": "0.45.1", "cuda-bindings": "13.0.3"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(gpu.tools, "find", lambda name: None)
    assert gpu.lacking().startswith("bring llvmlite>=0.50 instead of 0.45.1, nvidia-nvjitlink>=13.0 (")
    monkeypatch.setattr(gpu.tools, "find", lambda name: "/usr/bin/ptxas")
    versions["llvmlite"] = "0.50.0"
    assert gpu.lacking() is None


def test_demands():
    """By hand: 3000 GB/s are copied; int4 on the first large shape takes 0.1 ms at 2600 GB/s, int3 is too slow, and so on."""
    def product(type, bits, m, n, k, ms, speed, group=128):
        return {"right": True, "maker": "tilec", "type": type, "bits": bits, "m": m, "n": n, "k": k, "group": group, "ms": ms, "gb_per_s": speed}

    def other(maker, m, n, k, ms, **more):
        return {"right": True, "maker": maker, "m": m, "n": n, "k": k, "ms": ms, "gb_per_s": 1.0, **more}

    results = {
        "layer: copy": {"right": True, "maker": "copy", "ms": 1.0, "gb_per_s": 3000.0},
        "a": product("int4", 4, 1, 57344, 8192, 0.1, 2600.0), "b": product("int3", 3, 16, 57344, 8192, 0.1, 2000.0),
        "c": product("int8", 8, 1, 8192, 8192, 0.1, 1000.0), "d": other("torch f16", 1, 8192, 8192, 0.15), "e": product("int2", 2, 1, 8192, 8192, 0.1, 1.0),
        "f": other("humming", 1, 8192, 8192, 0.2, type="int2", group=128), "g": product("int4", 4, 4096, 8192, 8192, 1.0, 1.0),
        "h": other("triton", 4096, 8192, 8192, 3.0, type="int4", group=128), "i": product("int4", 4, 256, 8192, 8192, 1.0, 1.0, None),
        "layer: humming int8": {"right": True, "skipped": "no nvcc"},
    }  # fmt: skip
    found = {(line.type, line.m, line.n): line for line in gpu_table.lines(results)}
    verdicts = {what: line.verdict for what, line in found.items()}
    assert verdicts == {
        ("int4", 1, 57344): "met: 0.85 of copy", ("int3", 16, 57344): "NOT met: 0.7 of copy",
        ("int8", 1, 8192): "NOT met: 1.6 x torch, as humming published", ("int2", 1, 8192): "met: 1.0 x humming",
        ("int4", 4096, 8192): "not known: 0.95 x own f16", ("int4", 256, 8192): "",
    }  # fmt: skip
    assert found["int2", 1, 8192].humming == pytest.approx(2.0)
    assert found["int4", 4096, 8192].triton == pytest.approx(3.0)
    assert found["int4", 256, 8192].triton is None
    assert gpu_table.table(results).splitlines()[-2:] == ["demands: 2 met, 2 NOT met, 1 not known", "left out: humming: no nvcc"]


def test_measured_forms_are_used(tmp_path, monkeypatch):
    path = tmp_path / "forms.json"
    asked = forms.Asked(5, 8192, 8192, 4, 128, False, 132, 227 << 10)
    fastest = forms.Form(8, 128, 4, 2, 7)
    before = forms.form(asked)
    results = {"a": {"right": True, "key": asked.key, "form": list(fastest)}, "b": {"right": False, "key": "x", "form": []}}
    assert gpu_linear.refresh(results, path) == 1
    monkeypatch.setattr(forms, "MEASURED", path)
    assert forms.form(asked) == forms.form(asked._replace(m=1)) == fastest != before
    assert forms.form(asked._replace(m=9)) == forms.reckoned(asked._replace(m=16)) != fastest
    assert fastest not in (forms.form(asked._replace(shared=99 << 10)), forms.form(asked._replace(bits=8)))


def test_forms_worth_a_try():
    """The chosen one is among them, other tiles are too, and all fit."""
    for m in (8, 16, 128, 4096):
        asked = forms.Asked(m, 57344, 8192, 4, 128, False, 132, 227 << 10)
        tried = gpu_linear.alternatives(asked)
        assert forms.reckoned(asked) in tried
        assert len({how[:3] for how in tried}) > 1
        assert all(forms.block_bytes(asked, how) <= asked.shared and how.splits <= 64 for how in tried)


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ({NAMES[1]: "wrong"}, {NAMES[1]: "differences"}),
        ({NAMES[1]: "refused", NAMES[2]: "fault", NAMES[4]: "crash"}, {NAMES[1]: "x is not contiguous", NAMES[2]: "illegal memory", NAMES[4]: "ended with -6"}),
        ({NAMES[0]: "hang", NAMES[5]: "crash"}, {NAMES[0]: "it did not end", NAMES[5]: "ended with -6"}),
    ],
)
def test_what_fails_fails_alone(fails, words, monkeypatch):
    monkeypatch.setenv("TILEC_STUB_FAILS", json.dumps(fails))
    heard = []
    results = gpu.run(NAMES, STUBBED, lambda name, result: heard.append(name), patience=6)
    assert heard == list(results) == NAMES
    assert {n for n, r in results.items() if not r["right"]} == set(words)
    for name, word in words.items():
        assert word in json.dumps(results[name])
        assert gpu.row(name, results[name]).startswith("  WRONG")


def test_the_sanitizer_s_words():
    clean = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
    assert gpu.verdict(clean) == {"right": True, "errors": 0, "kernels": []}
    bad = (
        "========= Invalid __global__ read of size 4 bytes\n=========     at decode+0x1f0\n=========     by thread (3,0,0) in block (0,0,0)\n"
        "========= ERROR SUMMARY: 2 errors\n"
    )
    assert gpu.verdict(bad) == {"right": False, "errors": 2, "kernels": ["decode"]}
    assert gpu.verdict("========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n")["right"] is False
    assert gpu.verdict("========= Error: Device not supported\n") == {"right": True, "skipped": "========= Error: Device not supported"}


def test_a_sanitizer_is_run_over_the_tasks(tmp_path):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text('#!/bin/sh\necho "$1 $2" > ' + str(tmp_path / "called") + '\nshift 2\n"$@"\necho "========= ERROR SUMMARY: 0 errors"\n')
    tool.chmod(0o755)
    assert gpu.sanitize(NAMES[:2], STUBBED, "memcheck", str(tool), 60) == {"right": True, "errors": 0, "kernels": [], "tasks": 2}
    assert (tmp_path / "called").read_text() == "--tool memcheck\n"


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_the_question_about_rounding_is_put_to_the_right_instruction(arch):
    """The kernel's PTX in the simulator's exact mode gives the bits that the question expects of the hardware, and others than a plain product."""
    a, b, c = gpu_tasks.tiles(np.random.default_rng())
    d = np.full((16, 16), np.nan, np.float32)
    built = gpu_tasks.small_product.compile(arch)
    sim.run_ptx(built.ptx, "small_product", (1,), (32,), [a, b, c, d], built.resources.shared_bytes, exact=arch)
    assert (d.view(np.uint32) == gpu_tasks.exactly(a, b, c, arch).view(np.uint32)).all()
    assert (d != (a.astype(np.float64) @ b.astype(np.float64) + c).astype(np.float32)).any()


def test_a_launch_takes_few_instructions_of_python():
    """319 and 239 in Python 3.11; other versions count a little differently."""
    counts = launch.measured(timed=False)
    assert 200 < counts["CUDA array interface, constants given"]["instructions"] <= 400
    assert 150 < counts["tc.tensor, constants given"]["instructions"] <= 320
