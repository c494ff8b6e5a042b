"""`tilec sim FILE.ptx`: run a kernel of any compiler on the CPU and print the report.

Without --grid its kernels are listed, with what a run takes. What `tilec compile` wrote beside the file (NAME.json) tells threads and shared memory.
`tilec sim FILE.py:KERNEL` runs a kernel of tilec on its example; its options are --arch, --set, --size, --seed and --json.

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
    parser.add_argument("--shared", type=int, metavar="BYTES", help="dynamic shared memory")
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
    names, known = module.entries(), described(args.file)
    if args.grid is None:
        print("\n".join([*listing(module), *to_run(args.file, module, known)]))
        return NOTHING_FOUND
    require(args.entry or len(names) == 1, f"{args.file} has {len(names)} kernels", hint="--entry one of " + ", ".join(names))
    entry = args.entry or names[0]
    require(entry in names, f"{args.file} has no kernel {entry}", hint=f"it has {', '.join(names)}")
    block = args.block or threads(module, entry, known)
    require(block is not None, "--block is missing, and the PTX does not say .reqntid", hint="threads of a block: X or X,Y or X,Y,Z")
    shared = known.get("shared_bytes") if args.shared is None else args.shared
    if shared is None:
        dynamic = [slot.variable.name for slot in decode(module, entry).dynamic]
        hint = "--shared BYTES: as many as the launch gives, which whoever compiled it knows"
        require(not dynamic, f"the size of {', '.join(dynamic)} is not in the PTX, as each launch gives it (.extern .shared)", hint=hint)
    rng = np.random.default_rng(0)
    values = [argument(a, rng) for a in args.arg]
    report = run_ptx(
        text,
        entry,
        args.grid,
        block,
        values,
        shared or 0,
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


def described(file: Path) -> dict[str, Any]:
    """What the description beside a PTX file of `tilec compile` says of it; nothing if there is none."""
    try:
        about = json.loads(file.with_name(f"{file.name.partition('.')[0]}.json").read_text())
        return next((dict(b) for b in about["builds"] if b["ptx"] == file.name), {})
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def threads(module: Module, entry: str, known: dict[str, Any]) -> tuple[int, ...] | None:
    """Those of a block, as far as anybody says."""
    stated = tuple(module.functions[entry].directives.get("reqntid", ()))
    return stated or ((known["threads"],) if "threads" in known else None)


def to_run(file: Path, module: Module, known: dict[str, Any]) -> list[str]:
    """How a kernel of the file is run: the command, with all that is known of it."""
    names = module.entries()
    if not names:
        return []
    entry = names[0]
    words = [f"tilec sim {file}", *([f"--entry {entry}"] if len(names) > 1 else []), "--grid X,Y,Z"]
    words += [] if threads(module, entry, known) else ["--block X"]
    words += ["--shared BYTES"] if "shared_bytes" not in known and _dynamic(module, entry) else []
    meant = [f"{p['name']}: {p['type']}{p.get('shape', '')}".replace("'", "") for p in known.get("parameters", [])]
    each = f"for each of {'; '.join(meant)}" if meant else "for each parameter"
    return [f"to run it: {' '.join(words)} --arg VALUE ... ({each}; see --help)"]


def _dynamic(module: Module, entry: str) -> bool:
    try:
        return bool(decode(module, entry).dynamic)
    except Unsupported:
        return False


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
