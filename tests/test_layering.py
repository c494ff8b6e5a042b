"""The layering rule: who may import whom, and what is imported late. Read from the source, nothing is run."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "tilec"
FILES = sorted(ROOT.rglob("*.py"))

# room: the rooms that it may import besides itself. Rooms that are not named here see all.
SEES = {
    "codes": set(),
    "records": set(),
    "errors": {"codes", "records"},
    "ir": {"errors", "records"},
    "frontend": {"ir", "errors", "records"},
    "passes": {"ir", "errors", "records"},
    "backend": {"ir", "errors", "records"},
    "quant": {"ir", "errors"},
    "sim": {"errors"},
}
# These take long to load, so they are imported when first used, never by importing tilec.
LATE = {"llvmlite", "cuda", "torch", "triton"}
# These files are not imported by tilec either, and import it at the top.
BRIDGES = {"tilec.torch": "torch"}
# These may be: only some uses of tilec need them.
EITHER = {"difflib", "lark", "tilec.blame", "tilec.running", "tilec.sim", "tilec.explain", "tilec.tune", "tilec.trace", "tilec.ir.shadow"}


def room(module: str) -> str:
    """The room of a module's full name: "tilec.ir.core" is of "ir"; "tilec" itself of ""."""
    return (module.split(".") + [""])[1]


def name(path: Path) -> str:
    parts = ("tilec", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> list[tuple[str, ast.stmt]]:
    """Every module that is imported, by full name, with its statement; `from tilec import ir` counts as tilec.ir."""
    found: list[tuple[str, ast.stmt]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(a.name, node) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: imports are absolute"
            module = node.module or ""
            found += [(f"{module}.{a.name}" if module in ("tilec", "cuda.bindings") else module, node) for a in node.names]
    return found


def top_level(tree: ast.Module) -> set[ast.stmt]:
    """Statements at the top of the file, those under `if TYPE_CHECKING:` and `try:` included."""
    blocks = [tree.body, *(s.body for s in tree.body if isinstance(s, ast.If | ast.Try))]
    blocks += [h.body for s in tree.body if isinstance(s, ast.Try) for h in s.handlers]
    return {s for block in blocks for s in block}


def complaints(module: str, source: str) -> list[str]:
    tree = ast.parse(source)
    top, here = top_level(tree), room(module)
    said = []
    for used, statement in imports(tree):
        where = f"{module}:{statement.lineno} imports {used}"
        package = "tilec.sim" if room(used) == "sim" and here != "sim" else used if used in EITHER else used.split(".")[0]
        package = BRIDGES.get(used, package)
        if used.startswith("tilec") and here in SEES and room(used) not in SEES[here] | {here}:
            said.append(f"{where}: {here} may see {sorted(SEES[here]) or 'nothing'} of tilec")
        if package in LATE and statement in top and BRIDGES.get(module) != package:
            said.append(f"{where} at the top: it is imported late")
        # Files of one room may need one another; a command loads what it needs
        within = package == "tilec" and here in (room(used), "cli")
        if package not in LATE | EITHER and statement not in top and not within:
            said.append(f"{where} late: it belongs to the top")
        if used in ("cuda.bindings.driver", "cuda.bindings.runtime") and module != "tilec.backend.driver":
            said.append(f"{where}: only backend/driver.py imports the CUDA driver")
    return said


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_keeps_the_rule(path):
    assert complaints(name(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("tilec.ir.core", "from tilec.backend import target", "ir may see"),
        ("tilec.ir.core", "import tilec.passes.fold", "ir may see"),
        ("tilec.passes.fold", "from tilec.frontend.parse import f", "passes may see"),
        ("tilec.sim.machine", "from tilec.ir import dtypes", "sim may see"),
        ("tilec.quant.pack", "from tilec import compiler", "quant may see"),
        ("tilec.errors", "from tilec.ir import core", "errors may see"),
        ("tilec.backend.nvptx", "import llvmlite.binding", "at the top"),
        ("tilec.ir.arrays", "import torch", "at the top"),
        ("tilec.compiler", "from tilec.torch import QuantLinear", "at the top"),
        ("tilec.ir.core", "def f():\n    import re", "belongs to the top"),
        ("tilec.backend.cubin", "def f():\n    from cuda.bindings import driver", "only backend/driver.py"),
    ],
)
def test_the_rule_is_seen_broken(module, source, words):
    (said,) = complaints(module, source)
    assert words in said


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tilec.compiler", "from tilec.backend import nvptx\nfrom tilec.frontend import parse"),
        ("tilec.passes.fold", "from tilec.ir import core\nfrom tilec.errors import require"),
        ("tilec.backend.driver", "def f():\n    from cuda.bindings import driver"),
        ("tilec.backend.nvjitlink", "def f():\n    from cuda import pathfinder"),
        ("tilec.ir.core", "def f():\n    from tilec.ir import text"),
        ("tilec.cli", "def f():\n    from tilec import compiler"),
        ("tilec.torch", "import torch"),
        ("tilec.ir.core", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tilec.ir import types"),
    ],
)
def test_the_rule_allows(module, source):
    assert complaints(module, source) == []
