"""Compile kernels_triton.py to PTX fixtures, without a GPU:  python make_triton.py [NAME...]"""

import importlib.util
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from fixture import write

KERNELS = Path(__file__).with_name("kernels_triton.py")
KEEP_DWARF = {"vadd", "axpby_f16"}  # small files, kept with their debug sections to exercise the parser


def load_kernels():
    """Import the kernels from a neutral place, so that debug information names no directory of this machine."""
    place = Path(tempfile.gettempdir()) / "corpus"
    place.mkdir(exist_ok=True)
    shutil.copy(KERNELS, place)
    spec = importlib.util.spec_from_file_location("kernels_triton", place / KERNELS.name)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kernels_triton"] = module
    spec.loader.exec_module(module)
    return module


def compile_fixture(name, fn, signature, constants, options, arch):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = dict(item.split(":") for item in signature.split())
    full = {arg: types.get(arg, "constexpr") for arg in fn.arg_names}
    no_div = {"n", "ncols", "seed"} | ({"M", "N", "K"} if name in ("mm_masked", "transpose") else set())
    attrs = {(i,): [["tt.divisibility", 16]] for i, arg in enumerate(fn.arg_names)
             if full[arg].startswith("*") or (full[arg] == "i32" and arg not in no_div)}
    kernel = triton.compile(ASTSource(fn=fn, signature=full, constexprs=constants, attrs=attrs),
                            target=GPUTarget("cuda", arch, 32), options=options)
    write(f"triton_{name}", kernel.asm["ptx"], compiler=f"triton {triton.__version__}", keep_dwarf=name in KEEP_DWARF,
          block=(32 * kernel.metadata.num_warps,), shared=kernel.metadata.shared)


def main(names):
    os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp(prefix="corpus-cache")
    os.environ["TRITON_DEBUG"] = "0"
    fixtures = load_kernels().FIXTURES
    for name in names or fixtures:
        try:
            fn, signature, constants, options, arch = fixtures[name]
            compile_fixture(name, fn, signature, constants, options | ({"debug": True} if "assert" in name else {}), arch)
        except Exception:
            traceback.print_exc(limit=2)
            print("FAILED", name)
    shutil.rmtree(os.environ["TRITON_CACHE_DIR"], ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
