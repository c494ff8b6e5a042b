"""`make gpu`, with a GPU that is a stub, where the interpreter computes: what fails, fails alone."""

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
import gpu_linear  # noqa: E402
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


def test_all_goes_well(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "SANITIZERS", ())
    only = "kernel: (vector_add|matmul_v0|decode int6|encode float8_e4m3|atomic add f32|functions|groups)|subnormals|tools"
    with stubbed(GPU()):
        assert gpu.main(["--only", only], STUBBED, tmp_path) == 0
    told = capsys.readouterr().out
    (file,) = tmp_path.iterdir()
    written = json.loads(file.read_text())
    assert written["device"] == "Stub 3000"
    assert written["target"] == "sm_80"
    assert len(written["results"]) == 9 + 4
    assert "ok    kernel: vector_add" in told
    assert "13 right, 0 wrong" in told
    differences = written["results"]["kernel: matmul_v0"]["differences"]
    assert 0 < differences["c"] < 2**-9  # it was computed, in f16
    assert written["results"]["sanitizer: racecheck"] == {"right": True, "skipped": "compute-sanitizer was not found"}


def test_the_linear_layer_is_tried(tmp_path):
    """Small layers against float64; the large shapes are there, and one of their kind runs."""
    names = gpu_tasks.tasks()
    assert {f"time: int4 {m}x{n}x{k}, groups of 128" for k, n in gpu_linear.SHAPES for m in (1, 16, 256, 4096)} <= set(names)
    with stubbed(GPU()):
        assert gpu.main(["--only", "linear: (int4|uint4|float4)", "--no-sanitizer"], STUBBED, tmp_path) == 0
    results = json.loads(next(tmp_path.iterdir()).read_text())["results"]
    assert len(results) == 3
    assert all(0 < r["differences"]["y"] < 2**-6 for r in results.values())


def test_measured_forms_are_used(tmp_path, monkeypatch):
    path = tmp_path / "forms.json"
    asked = (5, 8192, 8192, 4, 128, False, 132, 227 << 10)
    fastest, told = forms.Form(32, 128, 8, 2, 7), forms.key(*asked)
    assert gpu_linear.refresh({"a": {"right": True, "key": told, "form": list(fastest)}, "b": {"right": False, "key": "x", "form": []}}, path) == 1
    monkeypatch.setattr(forms, "MEASURED", path)
    assert forms.form(*asked) == forms.form(8, *asked[1:]) == fastest
    assert forms.form(9, *asked[1:]) == forms.estimated(9, *asked[1:]) != fastest
    assert fastest not in (forms.form(*asked[:-1], 99 << 10), forms.form(*asked[:3], 8, *asked[4:]))


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
