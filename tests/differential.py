"""The differential test: a program means the same as parsed, after every stage, and as PTX in the simulator.

python -m tests.differential 2000 --seed 7        a long run: random programs, on one architecture after another

A program that fails is shrunk, by leaving out ops while it goes on failing, and printed as textual IR.
"""

from __future__ import annotations

import argparse
import collections
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tilec
from tests.programs import Maker, Program, equal, random_program
from tilec.backend import nvptx
from tilec.backend.llvm import to_llvm
from tilec.backend.target import target
from tilec.compiler import PIPELINE
from tilec.errors import Code, TileError
from tilec.ir.core import Function, Op, Rewriter, Yield
from tilec.ir.ops.arith import Fma
from tilec.ir.ops.base import Constant, constant
from tilec.ir.types import TensorType, TileType
from tilec.passes.shared_memory import shared_size
from tilec.passes.simplify import remove_unused
from tilec.sim import run_ptx

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a")


def stages(function: Function, arch: str = "sm_80") -> dict[str, Function]:
    made = {"parsed": function}
    for name, run in PIPELINE:
        function = run(function, target(arch)).verify()
        made[name] = function
    return made


def ptx_of(function: Function, arch: str) -> str:
    """PTX of the last stage."""
    return nvptx.to_ptx(to_llvm(function, target(arch)), target(arch))


def count(function: Function, kind: type) -> int:
    return sum(isinstance(op, kind) for op in function.walk())


def check_stages(program: Program, arch: str = "sm_80", texts: bool = True) -> Function:
    """Each stage prints and parses, and gives what the stage before it gave; only a fused multiply-add may round otherwise. The last stage."""
    before, wanted = None, {}
    for name, function in stages(program.function, arch).items():
        if texts:
            text = str(function)
            assert str(tilec.parse(text)) == text
        found = program.run(function)
        if before is not None and not (name == "fused" and count(function, Fma) > count(before, Fma)):
            assert found.keys() == wanted.keys()
            for tensor in found:
                assert equal(found[tensor], wanted[tensor]), f"{tensor} after {name}"
        before, wanted = function, found
    assert before is not None
    assert all(v.type.layout is not None for op in before.walk() for v in op.results if isinstance(v.type, TileType) and v.type.shape)
    return before


def check_machine_code(program: Program, function: Function, arch: str) -> None:
    """The PTX of the last stage, run on the CPU with all checks, does what that stage does."""
    wanted = program.run(function)
    found = program.machine_arguments()
    report = run_ptx(ptx_of(function, arch), "random", program.grid(), (function.threads,), [found[p.name] for p in function.params], shared_size(function))
    assert report.findings == [], f"{sorted({f.kind for f in report.findings})}\n{report}"
    for tensor in wanted:
        assert equal(program.decoded(tensor, found[tensor]), wanted[tensor]), f"{tensor} simulated"


def check(program: Program, arch: str = "sm_80", texts: bool = True) -> bool:
    """All of it; parsing what was printed, which takes longest, if asked for. False for a program that asks for more shared memory than there is."""
    try:
        function = check_stages(program, arch, texts)
    except TileError as error:
        if error.code == Code.SHARED_FULL:
            return False
        raise
    check_machine_code(program, function, arch)
    return True


def of_text(text: str, seed: int = 0) -> Program:
    """A program of textual IR, with random arguments; an extent with a name is 12."""
    function = tilec.parse(text).verify()
    maker, arguments = Maker(lambda n: 0, seed), {}
    for p in function.params:
        tensor = isinstance(p.type, TensorType)
        arguments[p.name] = maker.data(p.type.dtype, tuple(12 if isinstance(n, str) else n for n in p.type.shape)) if tensor else np.array(12)
    return Program(function, arguments)


# long runs

def shrunk(function: Function, fails: Callable[[Function], bool], patience: float = 60) -> Function:
    """The function with ops left out, or constants in their place, as long as it goes on failing; found within some seconds."""
    until, at, size = time.monotonic() + patience, 0, 8
    while size and time.monotonic() < until:
        while at < sum(1 for _ in function.walk()) and time.monotonic() < until:
            try:
                attempt = remove_unused(Without(at, at + size).run(function)).verify()
                smaller = str(attempt) != str(function) and fails(attempt)
            except Exception:
                smaller = False  # no program any more
            function, at = (attempt, at) if smaller else (function, at + size)
        at, size = 0, size // 2
    return function


class Without(Rewriter):
    """Leaves out some ops, counted in their order; zeros stand for their results."""

    def __init__(self, first: int, behind: int):
        super().__init__()
        self.chosen, self.number = range(first, behind), -1

    def visit(self, op: Op) -> Any:
        self.number += 1
        if self.number not in self.chosen or isinstance(op, Yield | Constant) or not all(isinstance(v.type, TileType) for v in op.results):
            return self.clone(op)
        return [constant(self.b, False if v.type.dtype.is_bool else 0, v.type.dtype, v.type.shape) for v in op.results]


def failure(program: Program, arch: str) -> str:
    """What goes wrong with a program, in a line; nothing if all is well."""
    try:
        check(program, arch, texts=False)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def alike(one: str, other: str) -> bool:
    """The same failure, but for numbers."""
    return re.sub(r"\d+", "", one) == re.sub(r"\d+", "", other)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many programs")
    parser.add_argument("--seed", type=int, default=None, help="of the first (default: a fresh one)")
    args = parser.parse_args(arguments)
    first = int(np.random.SeedSequence().entropy) % 10**9 if args.seed is None else args.seed
    done: Any = collections.Counter()
    for seed in range(first, first + args.count):
        arch = ARCHITECTURES[seed % len(ARCHITECTURES)]
        program = random_program(seed, 2 + seed % 8)
        try:
            done["programs" if check(program, arch, seed % 8 == 0) else "too large"] += 1
        except Exception as error:
            done["failures"] += 1
            print(f"seed {seed} on {arch}: {type(error).__name__}: {error}", flush=True)
            wrong = failure(program, arch)
            small = shrunk(program.function, lambda f, p=program, arch=arch, wrong=wrong: alike(failure(Program(f, p.arguments), arch), wrong))
            print(f"shrunk: {failure(Program(small, program.arguments), arch)}\n{small}", flush=True)
        if (seed - first) % 100 == 99:
            print(f"{seed - first + 1} of {args.count} from seed {first}: {dict(done)}", flush=True)
    print(f"{args.count} programs from seed {first}: {dict(done)}")
    return 1 if done["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
