"""Write a PTX fixture and its entry in ptx/index.json. Plain standard library: the generators run in the compilers' own environments."""

import json
import re
from pathlib import Path

PTX = Path(__file__).with_name("ptx")
INDEX = PTX / "index.json"


def strip_dwarf(ptx):
    """Drop `.section .debug_*` blocks; the `.file` and `.loc` directives stay."""
    return re.sub(r"\n\s*\.section\s+\.debug_\w+\s*\{.*?\n\s*\}", "", ptx, flags=re.S)


def local_paths_to_names(ptx):
    """`.file 1 "/a/b/c.py"` becomes `.file 1 "c.py"`: a fixture does not depend on where it was made."""
    return re.sub(r'(\.file\s+\d+\s+")[^"]*/([^"/]+")', r"\1\2", ptx)


def without_loc(ptx):
    """Drop line information altogether (big files)."""
    return re.sub(r"^\s*\.(loc|file)\s.*\n", "", ptx, flags=re.M)


def write(name, ptx, *, compiler, keep_dwarf=False, **launch):
    """Store `ptx` as ptx/NAME.ptx and `launch` (block, shared bytes, ...) with the entries found in the index."""
    ptx = local_paths_to_names(ptx if keep_dwarf else strip_dwarf(ptx)).replace("\0", "")
    if len(ptx) > 150_000:
        ptx = without_loc(ptx)
    PTX.mkdir(exist_ok=True)
    (PTX / f"{name}.ptx").write_text(ptx)
    index = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    index[name] = {"compiler": compiler, "entries": re.findall(r"\.entry\s+([\w$]+)", ptx)} | launch
    rows = (f"  {json.dumps(k)}: {json.dumps(index[k])}" for k in sorted(index))
    INDEX.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    print(f"{name:32s} {len(ptx):8d} bytes  {index[name]}")
