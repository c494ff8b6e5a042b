"""Costs: counts worked out by hand for one warp or two."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from tilec.sim import cli

from .test_front import STORE, kernel, run

pytest_plugins = ["pytester"]
SHARED = ".shared .align 16 .b8 s[32768]; .reg .b32 %a, %b, %v<5>; mov.b32 %b, s; "


def shared(address, access, threads=32):
    report = run(STORE + SHARED + f"{address} add.s32 %a, %a, %b; {access}", np.zeros(32, np.int32), threads=threads, checks=False)
    (line,) = [c for c in report.costs if c.space == "shared"]
    return line, report


@pytest.mark.parametrize(
    ("address", "access", "ways", "ideal"),
    [
        ("shl.b32 %a, %t, 2;", "ld.shared.b32 %v1, [%a];", 1, 1),
        ("shl.b32 %a, %t, 3;", "ld.shared.b32 %v1, [%a];", 2, 1),  # every second bank: 2 words in each
        ("shl.b32 %a, %t, 7;", "ld.shared.b32 %v1, [%a];", 32, 1),  # a column of a 32 x 32 tile
        ("mul.lo.u32 %a, %t, 132;", "ld.shared.b32 %v1, [%a];", 1, 1),  # the same, padded
        ("mov.b32 %a, 64;", "ld.shared.b32 %v1, [%a];", 1, 1),  # one word for all
        ("mov.b32 %a, %t;", "ld.shared.u8 %v1, [%a];", 1, 1),  # four lanes a word
        ("shl.b32 %a, %t, 3;", "ld.shared.v2.b32 {%v1, %v2}, [%a];", 2, 2),  # 64 bit: a half warp at a time
        ("shl.b32 %a, %t, 4;", "ld.shared.v4.b32 {%v1, %v2, %v3, %v4}, [%a];", 4, 4),  # 128 bit: a quarter
        ("shl.b32 %a, %t, 7;", "st.shared.v4.b32 [%a], {%t, %t, %t, %t};", 32, 4),  # 8 rows of a quarter in the same 4 banks
        ("shl.b32 %a, %t, 7;", "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%v1, %v2, %v3, %v4}, [%a];", 32, 4),
        ("mul.lo.u32 %a, %t, 144;", "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%v1, %v2}, [%a];", 2, 2),
    ],
)
def test_bank_conflicts(address, access, ways, ideal):
    line, report = shared(address, access)
    assert (line.accesses, line.ways, line.ideal_ways) == (1, ways, ideal)
    assert report.shared_conflicts == ways - ideal


@pytest.mark.parametrize(
    ("cop", "size", "address", "ways", "ideal"),
    [
        ("cg", 16, "shl.b32 %a, %t, 4;", 4, 4),  # a quarter warp at a time
        ("cg", 16, "shl.b32 %a, %t, 7;", 32, 4),  # rows of 128 bytes: 8 lanes of each quarter in the same 4 banks
        ("cg", 16, "mul.lo.u32 %a, %t, 144;", 4, 4),  # padded
        ("ca", 8, "shl.b32 %a, %t, 4;", 4, 2),
        ("ca", 4, "shl.b32 %a, %t, 7;", 32, 1),
    ],
)
def test_bank_conflicts_of_asynchronous_copies(cop, size, address, ways, ideal):
    body = STORE + SHARED + f"""{address} add.s32 %a, %a, %b; .reg .b64 %q; mul.wide.u32 %q, %t, 16; add.s64 %q, %q, %rd1;
        cp.async.{cop}.shared.global [%a], [%q], {size}; cp.async.wait_all;"""
    report = run(body, np.zeros(128, np.int32), checks=False)
    (line,) = [c for c in report.costs if c.ways]
    assert (line.accesses, line.bytes, line.ways, line.ideal_ways) == (1, 32 * size, ways, ideal)
    assert (line.sectors, report.shared_conflicts) == (16, ways - ideal)


@pytest.mark.parametrize(
    ("scale", "access", "sectors", "ideal"),
    [(4, "ld.global.b32 %v1, [%a];", 4, 4), (8, "ld.global.b32 %v1, [%a];", 8, 4), (32, "ld.global.b32 %v1, [%a];", 32, 4),
     (0, "ld.global.b32 %v1, [%a];", 1, 1), (16, "ld.global.v4.b32 {%v1, %v2, %v3, %v4}, [%a];", 16, 16),
     (4, "@%p ld.global.b32 %v1, [%a];", 1, 1)],
)  # fmt: skip
def test_sectors(scale, access, sectors, ideal):
    body = STORE + ".reg .b32 %v<5>; .reg .b64 %a; .reg .pred %p; setp.lt.u32 %p, %t, 8; "
    body += f"mul.wide.u32 %a, %t, {scale}; add.s64 %a, %a, %rd1; {access}"
    report = run(body, np.zeros(1024, np.int32), checks=False)
    (line,) = [c for c in report.costs if c.space == "global"]
    assert (line.accesses, line.sectors, line.ideal_sectors) == (1, sectors, ideal)
    assert report.global_efficiency == ideal / sectors


def test_instructions_are_counted_per_warp_that_issues_them():
    """Two warps; the second alone takes the branch of three adds."""
    body = STORE + ".reg .pred %p; setp.lt.u32 %p, %t, 32; @%p bra A; " + 3 * "add.s32 %t, %t, 1; " + "A: bar.sync 0;"
    report = run(body, np.zeros(1), threads=64, blocks=3)
    issued = {c.site.text: c.issued for c in report.costs}
    assert issued["setp.lt.u32 %p, %t, 32;"] == 6
    assert issued["bar.sync 0;"] == 6
    assert report.classes["barrier"] == 6
    adds = [c.issued for c in report.costs if c.site.text == "add.s32 %t, %t, 1;"]
    assert adds == [3, 3, 3]


def test_matrix_products():
    body = STORE + ".reg .b32 %f<9>; " + " ".join(f"mov.b32 %f{i}, 0;" for i in range(9))
    body += "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0,%f1,%f2,%f3}, {%f4,%f5,%f6,%f7}, {%f8,%f8}, {%f0,%f1,%f2,%f3};"
    report = run(body, np.zeros(1), threads=64)
    assert report.mma == 2
    assert sum(c.flops for c in report.costs) == 2 * 2 * 16 * 8 * 16


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "k.ptx"
    path.write_text(kernel(STORE + "st.global.u32 [%rd3], %t;"))
    return path


def test_command_line(file, capsys, tmp_path):
    assert cli.main([str(file)]) == 0
    assert capsys.readouterr().out.startswith("k(u64)\nto run it: ")
    assert cli.main([str(file), "--grid", "1", "--block", "32", "--arg", "i32:32", "--save", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["global_efficiency"] == 1.0
    assert np.load(tmp_path / "out" / "argument0.npy").tolist() == list(range(32))
    assert cli.main([str(file), "--grid", "1", "--block", "32", "--arg", "i32:31"]) == 1
    assert "bounds" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nosuch.ptx"], ["FILE", "--grid", "1"], ["FILE", "--grid", "1", "--block", "32", "--arg", "what"]])
def test_wrong_usage(arguments, file, capsys):
    assert cli.main([str(file) if a == "FILE" else a for a in arguments]) == 2
    assert capsys.readouterr().err.startswith("error")


@pytest.fixture
def installed(pytester, monkeypatch):
    """pytest finds tilec's plugin as it would behind `pip install`: by the entry point that pyproject.toml declares."""
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(pytester.path)]))
    text = (root / "pyproject.toml").read_text()
    (points,) = re.findall(r"\[project\.entry-points\.pytest11\]\n((?:.+\n)+)", text)
    info = pytester.mkdir("probe-0.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pytest11]\n" + points.replace('"', ""))


def test_fixture(pytester, file, installed):
    pytester.makepyfile(f"""
        import numpy as np
        def test_right(run_ptx):
            assert run_ptx({str(file)!r}, grid=1, block=32, args=[np.zeros(32, np.int32)]).findings == []
        def test_wrong(run_ptx):
            assert run_ptx({str(file)!r}, grid=2, block=32, args=[np.zeros(31, np.int32)]).findings == []
        def test_as_a_user_asserts(run_ptx):
            report = run_ptx({str(file)!r}, grid=1, block=32, args=[np.zeros(32, np.int32)])
            assert report.races == [] and report.shared_conflicts == 0 and report.global_efficiency > 0.9
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*behind the end of argument 0*"])
