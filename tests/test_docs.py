"""What the documents show is true: every Python block runs, and the commands in shell blocks exist.

The Python blocks of one file run in order, in one namespace, in an empty folder. A block that is not to run is not marked `python`.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [p for p in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))) if p.exists()]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """(line where it starts, text) of each block in a language."""
    return [(text[: m.start(2)].count("\n"), m[2]) for m in BLOCK.finditer(text) if m[1] == language]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_python_blocks_run(path, tmp_path):
    parts = blocks(path.read_text(), "python")
    if not parts:
        return
    # blank lines before each block, so that line numbers are the document's, in errors and for the compiler that reads its source
    script, source = tmp_path / f"document_{path.stem}.py", ""
    for line, text in parts:
        source += "\n" * (line - source.count("\n")) + text
    script.write_text(source)
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}


def commands(path: Path) -> list[str]:
    lines = [line.strip() for _, text in blocks(path.read_text(), "sh") for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith(("tilec ", "make "))]


@pytest.mark.parametrize("command", sorted({c for p in DOCUMENTS for c in commands(p)}))
def test_commands_exist(command):
    program, verb, *rest = shlex.split(command, comments=True)
    if program == "make":
        assert subprocess.run(["make", "--dry-run", "--always-make", verb], cwd=ROOT, capture_output=True, check=False).returncode == 0
        return
    help_text = subprocess.run(
        [sys.executable, "-m", "tilec.cli", verb, "--help"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert help_text.returncode == 0, help_text.stderr
    for option in (w for w in rest if w.startswith("--")):
        assert option.split("=")[0] in help_text.stdout, f"{verb} has no {option}"


def test_blocks_are_found_with_their_lines():
    text = "# Title\n\n```python\nx = 1\n```\n\n```sh\nmake demo\n```\n\n```python\ny = x\n```\n"
    assert blocks(text, "python") == [(3, "x = 1\n"), (11, "y = x\n")]
    assert blocks(text, "sh") == [(7, "make demo\n")]
