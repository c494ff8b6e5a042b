"""Compile cu/*.cu to PTX fixtures with nvcc, without a GPU:  python make_nvcc.py [STEM...]"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fixture import write

CU = Path(__file__).with_name("cu")
ARCH = {"fp8": "sm_89"}
LINE_INFO = {"warp", "sync", "wrong"}  # these keep `.loc`


def main(stems):
    version = re.search(r"release ([\d.]+), V([\d.]+)", subprocess.run(["nvcc", "--version"], capture_output=True, text=True).stdout)[2]
    for source in sorted(CU.glob("*.cu")):
        if stems and source.stem not in stems:
            continue
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "out.ptx"
            options = ["-lineinfo"] if source.stem in LINE_INFO else []
            subprocess.run(
                ["nvcc", "-std=c++17", "-ptx", f"-arch={ARCH.get(source.stem, 'sm_80')}", *options, source, "-o", out], check=True
            )
            write(f"nvcc_{source.stem}", out.read_text(), compiler=f"nvcc {version}")


if __name__ == "__main__":
    main(sys.argv[1:])
