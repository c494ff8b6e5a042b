"""`import tilec` is quick: what it loads beyond NumPy is counted, as times differ from machine to machine."""

import os
import subprocess
import sys
from pathlib import Path

HEAVY = {"llvmlite", "cuda", "torch", "triton", "ml_dtypes", "hypothesis", "pytest", "tokenizers", "safetensors", "tqdm"}


def loaded(statement: str) -> set[str]:
    run = f"import sys; {statement}; print(*sys.modules)"
    environment = {**os.environ, "TILEC_CACHE_DIR": "off"}
    return set(subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True, env=environment).stdout.split())


def test_nothing_heavy_is_loaded():
    assert not {m.split(".")[0] for m in loaded("import tilec")} & HEAVY


def test_a_compilation_loads_little_more():
    """Of llvmlite only its library, which is not seen here: its Python brings what reads archives and makes temporary files."""
    kernel = f"sys.path.append({str(Path(__file__).parents[1] / 'examples')!r}); from matmul_v3 import matmul_v3"
    more = loaded(f"{kernel}; assert matmul_v3.compile().cubin") - loaded("import numpy")
    assert not {m.split(".")[0] for m in more} & {"llvmlite", "tempfile", "shutil", "zipfile", "random", "cuda"}, sorted(more)


def test_what_runs_kernels_is_loaded_with_the_first_run():
    runs = {"tilec.running", "tilec.launch", "tilec.quick", "tilec.arguments", "tilec.ir.interp", "tilec.backend.driver", "tilec.bundle", "tilec.trace"}
    assert not loaded("import tilec") & runs
    assert loaded("import tilec.running") >= runs - {"tilec.bundle", "tilec.trace"}
    assert "tilec.bundle" in loaded("from tilec import *; assert Bundle.__name__ == 'Bundle'")


def test_few_modules_are_loaded_beyond_numpy_and_lark():
    """A module of the standard library takes about half a millisecond, of lark a little less: 100 ms are some 200 modules."""
    more = loaded("import tilec") - loaded("import numpy, lark")
    assert len(more) <= 140, sorted(more)


def test_modules_that_only_tools_want_are_not_loaded():
    """Together they take as long as a fifth of all else; `tilec.backend.tools` brings them where a tool is run."""
    more = loaded("import tilec") - loaded("import numpy")
    tools = {"pathlib", "subprocess", "tempfile", "shutil", "urllib", "fractions", "decimal", "lark", "asyncio", "logging"}
    assert not more & (tools | {"dataclasses", "difflib", "numpy.typing"})
