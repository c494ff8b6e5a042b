"""`tilec sim FILE.ptx`: run a kernel of any compiler on the CPU and print the report.

Exit status: 0 nothing found; 1 findings, or outputs that differ from what is expected; 2 wrong usage, or PTX that is not modelled.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilec.errors import TileError, require
from tilec.sim.decode import decode
from tilec.sim.parse import Module, parse
from tilec.sim.report import Report, Unsupported
from tilec.sim.run import run_ptx

NOTHING_FOUND, FINDINGS, WRONG_USAGE = 0, 1, 2
EPILOG = """arguments, one --arg for each kernel parameter, in order:
  42  0x10  2.5        a number
  null                 a null pointer
  x.npy                an array; with --save DIR it is written back there as argument<i>.npy
  f32:1024             zeros of a type and shape (64x64 for two dimensions); types: u8..u64 i8..i64 f16 f32 f64
  f32:1024=random      standard normal values (integers: 0..99); also =arange, =ones, or a number
example: tilec sim vadd.ptx --grid 8 --block 128 --arg f32:1024=random --arg f32:1024=random --arg f32:1024 --arg 1024"""
_ARRAY = re.compile(r"([uif])(\d+):(\d+(?:x\d+)*)(?:=(.*))?")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to a parser."""
    parser.add_argument("file", type=Path, help="a PTX file; without --grid its kernels are listed")
    parser.add_argument("--entry", help="the kernel; may be left out if there is one")
    parser.add_argument("--grid", type=_dims, help="blocks: X or X,Y or X,Y,Z")
    parser.add_argument("--block", type=_dims, help="threads; taken from .reqntid if the PTX has it")
    parser.add_argument("--shared", type=int, default=0, metavar="BYTES", help="dynamic shared memory")
    parser.add_argument("--arg", action="append", default=[], metavar="VALUE", help="a kernel argument, see below")
    parser.add_argument("--exact", choices=("sm_80", "sm_90"), help="the tensor cores' own arithmetic, bit for bit")
    parser.add_argument("--seed", type=int, help="run warps in a random order")
    parser.add_argument("--no-checks", action="store_true", help="look for no defects")
    parser.add_argument("--no-costs", action="store_true", help="count nothing")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the arrays after the run")
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="tilec sim", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options(parser)
    try:
        return sim(parser.parse_args(argv))
    except TileError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE


def sim(args: argparse.Namespace) -> int:
    """Run a kernel of a PTX file on the CPU, with checks for races, bounds and more, and print what was found."""
    require(args.file.is_file(), f"no such file: {args.file}")
    text = args.file.read_text()
    module = parse(text, str(args.file))
    if args.grid is None:
        print("\n".join(listing(module)))
        return NOTHING_FOUND
    names = module.entries()
    require(args.entry or len(names) == 1, f"{args.file} has {len(names)} kernels", hint="--entry one of " + ", ".join(names))
    entry = args.entry or names[0]
    block = args.block
    if block is None and entry in module.functions:
        block = tuple(module.functions[entry].directives.get("reqntid", ())) or None
    require(block is not None, "--block is missing, and the PTX does not say .reqntid")
    rng = np.random.default_rng(0)
    values = [argument(a, rng) for a in args.arg]
    report = run_ptx(
        text,
        entry,
        args.grid,
        block,
        values,
        args.shared,
        checks=not args.no_checks,
        costs=not args.no_costs,
        exact=args.exact,
        seed=args.seed,
    )
    print(json.dumps(as_json(report), indent=1) if args.json else report)
    if args.save:
        args.save.mkdir(parents=True, exist_ok=True)
        for i, value in enumerate(values):
            if isinstance(value, np.ndarray):
                np.save(args.save / f"argument{i}.npy", value)
    return FINDINGS if report.findings else NOTHING_FOUND


def listing(module: Module) -> list[str]:
    """Each kernel with its parameters, and what of it is not modelled."""
    out = []
    for name in module.entries():
        params = ", ".join(f"{p.type}" + (f"[{p.size}]" if p.type == "b8" else "") for p in module.functions[name].params)
        try:
            decode(module, name)
            state = ""
        except Unsupported as error:
            state = "  not modelled: " + ", ".join(error.opcodes)
        out.append(f"{name}({params}){state}")
    return out


def argument(text: str, rng: np.random.Generator) -> Any:
    """One --arg (see EPILOG)."""
    if text == "null":
        return None
    if text.endswith(".npy"):
        require(Path(text).is_file(), f"no such file: {text}")
        return np.load(text)
    match = _ARRAY.fullmatch(text)
    if match:
        kind, bits, dims, fill = match.groups()
        dtype = np.dtype(f"{kind}{int(bits) // 8}")
        shape = tuple(int(n) for n in dims.split("x"))
        if fill == "random":
            return (rng.standard_normal(shape) if kind == "f" else rng.integers(0, 100, shape)).astype(dtype)
        if fill == "arange":
            return np.arange(int(np.prod(shape))).astype(dtype).reshape(shape)
        return np.full(shape, {None: 0, "ones": 1}.get(fill, fill), dtype)
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise TileError(f"--arg {text}: neither a number, an array nor null", hint="see tilec sim --help") from None


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    out = dataclasses.asdict(report.located())
    del out["locate"]
    for site in (s for entry in (*out["findings"], *out["costs"]) for s in (entry.get("at"), entry.get("other"), entry.get("site")) if s):
        del site["place"]  # file and line say it
    out["costs"] = [c for c in out["costs"] if c["accesses"] or c["mma"]]
    out |= {k: getattr(report, k) for k in ("shared_conflicts", "global_efficiency", "mma", "instructions")}
    return out


def _dims(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
