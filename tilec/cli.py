"""The command line: `tilec compile | show | explain | shadow | sim | tune | run | layout | bisect | cache`.

Exit status: 0 done; 1 the kernel is wrong (it does not compile, run, or agree with itself); 2 wrong usage. Errors are one block with file,
line and caret. Commands import what they need when they run, so that `tilec layout` is there at once.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tilec import codes
from tilec.errors import Code, Loc, TileError, caller

DONE, WRONG_KERNEL, WRONG_USAGE = 0, 1, 2
ARCH = "sm_80"  # of commands that show one, unless another is named


class UsageError(TileError):
    """What was asked for can't be done, whatever the kernel."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words[:1] == ["sim"] and not any(re.search(r"\.py:\w+$", w) for w in words):  # for PTX a tool of its own, with its own options
            from tilec.sim.cli import main as simulate

            return simulate(words[1:])
        args = _parser().parse_args(words)
        return args.command(args) or DONE
    except UsageError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    except TileError as error:
        script = caller()
        if error.loc and script and error.loc.file == script.file:  # what called `main` is no place to point to
            error.loc = None
        print(error, file=sys.stderr)
        return WRONG_KERNEL if error.loc else WRONG_USAGE  # what no line is to blame for was asked for here
    except BrokenPipeError:  # as in `tilec show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="tilec", description="GPU kernels at tile level: compile, look into, and run them without a GPU.")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(function: Callable[[argparse.Namespace], int | None], example: str) -> argparse.ArgumentParser:
        name, summary = function.__name__, inspect.cleandoc(str(function.__doc__))
        made = commands.add_parser(
            name, help=summary.split(".")[0], description=summary, epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        made.set_defaults(command=function)
        return made

    def constants(made: argparse.ArgumentParser) -> None:
        made.add_argument("kernel", metavar="FILE.py:KERNEL", help="a kernel in a Python file")
        made.add_argument(
            "--set", metavar="NAME=VALUE", action="append", default=[], type=_settings, help="a constant: a literal, or a type's name"
        )  # fmt: skip

    made = command(compile, "tilec compile examples/softmax.py:softmax --arch sm_80 --arch sm_90a --set block=1024 --out build")
    constants(made)
    made.add_argument("--arch", metavar="ARCH", action="append", help=f"such as sm_90a; may be repeated (default: {ARCH})")
    made.add_argument(
        "--variant", metavar='"NAME=VALUE,..."', action="append", default=[], type=_settings, help="one more build, with these constants"
    )
    made.add_argument(
        "--rule", metavar='"CONDITION: NAME=VALUE,..."', action="append", default=[], type=_rule,
        help='prefer the variant with these constants where a condition on dimensions and scalars holds, as in "M <= 16: bm=16"',
    )  # fmt: skip
    made.add_argument("--name", metavar="NAME", help="of the files and of the launcher (default: the kernel's)")
    made.add_argument("--separate", action="store_true", help="the C launcher loads the cubins from their files instead of holding them")
    made.add_argument("--out", metavar="DIR", type=Path, default=Path(), help="where the files go (default: here)")

    made = command(show, "tilec show examples/softmax.py:softmax --ptx --arch sm_90a")
    constants(made)
    made.add_argument("--arch", metavar="ARCH", default=ARCH, help=f"the architecture (default: {ARCH})")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--after", metavar="STAGE", help="the IR after this stage (default: as parsed)")
    for form in ("llvm", "ptx", "sass"):
        what.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=f"{form.upper().replace('LLVM', 'LLVM IR')}")
    made.add_argument("--locations", action="store_true", help="with the place of each operation in the source")

    made = command(explain, "tilec explain examples/softmax.py:softmax --arch sm_80 --size m=37")
    constants(made)
    made.add_argument("--arch", metavar="ARCH", default=ARCH, help=f"the architecture (default: {ARCH})")
    made.add_argument("--size", metavar="NAME=N", action="append", default=[], type=_settings, help="a size of the example that is simulated")
    made.add_argument("--json", action="store_true", help="as JSON")

    made = command(shadow, "tilec shadow examples/softmax.py:softmax --size m=37")
    constants(made)
    made.add_argument("--size", metavar="NAME=N", action="append", default=[], type=_settings, help="a size of the example that is run")
    made.add_argument("--seed", type=int, default=0, help="of the example's inputs (default: 0)")
    made.add_argument("--json", action="store_true", help="as JSON")

    made = command(errors, "tilec errors TILE0301")
    made.add_argument("code", nargs="?", metavar="CODE", help="such as TILE0301 (default: list them all)")

    made = command(run, "tilec run bug.tir --dim M=64 --dim N=32 --arg x=x.npy --out results")
    made.add_argument("file", metavar="FILE.tir", type=Path, help="a function in textual IR, of any stage")
    made.add_argument("--dim", metavar="NAME=N", action="append", default=[], type=_settings, help="a dimension that no given array tells")
    made.add_argument("--arg", metavar="NAME=WHAT", action="append", default=[], help="a .npy file for a tensor, a number for a scalar")
    made.add_argument("--seed", type=int, default=0, help="of the random inputs (default: 0)")
    made.add_argument("--out", metavar="DIR", type=Path, help="save each output as DIR/NAME.npy")

    made = command(layout, 'tilec layout "local(2,1).spatial(8,4).local(1,2)" --svg layout.svg')
    made.add_argument("text", metavar="LAYOUT", help="of registers, or of shared memory as in shared(shape=[8, 64], swizzle=[3, 3, 3])")
    made.add_argument("--svg", metavar="FILE", type=Path, help="draw it into this file instead")
    made.add_argument("--bits", type=int, default=16, help="of an element in shared memory (default: 16)")

    made = command(cache, "tilec cache clear")
    made.add_argument("what", nargs="?", choices=["list", "clear"], default="list", help="list what is there (the default), or remove it all")

    made = command(sim, "tilec sim examples/softmax.py:softmax --size m=37")
    constants(made)
    made.add_argument("--arch", metavar="ARCH", default=ARCH, help=f"the architecture (default: {ARCH})")
    made.add_argument("--size", metavar="NAME=N", action="append", default=[], type=_settings, help="a size of the example that is run")
    made.add_argument("--seed", type=int, default=0, help="of the example's inputs (default: 0)")
    made.add_argument("--json", action="store_true", help="the report as JSON")

    made = command(tune, "tilec tune kernel.py:matmul --arch sm_80 --size m=4096 --size n=4096 --size k=4096")
    made.add_argument("kernel", metavar="FILE.py:KERNEL", help="a kernel in a Python file, with choices stated by tune")
    made.add_argument("--arch", metavar="ARCH", help="rank for this architecture by a model (default: measure on the GPU, if there is one)")
    made.add_argument("--size", metavar="NAME=N", action="append", default=[], type=_settings, help="a size of the kernel's example")
    made.add_argument("--rows", type=int, default=20, help="how many configurations are shown (default: 20)")

    made = command(bisect, "tilec bisect examples/softmax.py:softmax --set block=512")
    constants(made)
    made.add_argument("--arch", metavar="ARCH", default=ARCH, help=f"the architecture (default: {ARCH})")
    made.add_argument("--seed", type=int, default=0, help="of the example's random numbers (default: 0)")
    return top


# Commands


def compile(args: argparse.Namespace) -> None:
    """Compile a kernel ahead of time.

    Writes a bundle: NAME.ARCH[.VARIANT].cubin and .ptx for each architecture and variant, NAME.json, which says how to launch them and is
    what tilec.load reads, and NAME.h, a launcher in C. A launch takes the first variant whose assumptions hold, --rule goes before.
    Nothing is written unless all of it compiles.
    """
    from tilec.backend import bundle, versions

    kernel, always = _load(args.kernel), _merged(args.set)
    archs = [_arch(a) for a in args.arch or [ARCH]]
    files: dict[str, bytes] = {}
    builds, labels = [], []
    name = args.name or args.kernel.rpartition(":")[2]
    if not name.isidentifier():
        raise UsageError(f"--name {name}: a name is letters, digits and _")
    variants = args.variant or [{}]
    for variant in variants:
        constants = {**always, **variant}
        label = "-".join(re.sub(r"\W+", "_", f"{k}{_word(v)}") for k, v in variant.items())
        labels.append(label)
        for arch in archs:
            with _blamed(args.kernel), _isolation():
                built = kernel.compile(arch, **constants)
            stem = ".".join(part for part in (name, arch, label) if part)
            if f"{stem}.cubin" in files:
                raise UsageError(f"{stem}.cubin would be written twice: an architecture or a variant is repeated")
            files |= {f"{stem}.cubin": built.cubin, f"{stem}.ptx": built.ptx.encode()}
            builds.append({"cubin": f"{stem}.cubin", "ptx": f"{stem}.ptx", "variant": label, **_description(built)})
    rules = [{"when": when, "variant": labels[_meant(settings, variants)]} for when, settings in args.rule]
    about = {"format": 1, "name": name, "variants": labels, "rules": rules, "builds": builds}
    cubins = None if args.separate else {file: data for file, data in files.items() if file.endswith(".cubin")}
    files[f"{name}.h"] = bundle.header(about, cubins, f"tilec {versions.version('tilec', 'tilec')}".rstrip()).encode()
    files[f"{name}.json"] = (json.dumps(about, indent=2) + "\n").encode()
    _write(args.out, files)
    facts = ("cubin", "threads", "registers", "spill_bytes", "shared_bytes")
    print("\n".join(_table(facts, ([build[f] for f in facts] for build in builds))))


def show(args: argparse.Namespace) -> None:
    """Show what becomes of a kernel: its IR after a stage, LLVM IR, PTX or machine code."""
    from tilec.backend.sass import disassemble
    from tilec.ir.text import print_function

    kernel, arch, constants = _load(args.kernel), _arch(args.arch), _merged(args.set)
    with _blamed(args.kernel):
        if args.form == "sass":
            text = disassemble(kernel.compile(arch, **constants).cubin).text
        elif args.form:
            text = getattr(kernel.compile(arch, **constants), args.form)
        else:
            text = print_function(_stage(kernel, args.after, arch, constants), locations=args.locations)
    print(text.rstrip())


def explain(args: argparse.Namespace) -> None:
    """Explain what became of each line of a kernel. Shows instructions, registers, widths of accesses and conversions of layouts, what a
    simulated run of the kernel's example costs, and which rule refused a better instruction.
    """
    kernel, arch = _load(args.kernel), _arch(args.arch)
    with _blamed(args.kernel):
        found = kernel.explain(arch, sizes=_merged(args.size), **_merged(args.set))
    print(json.dumps(found.json(), indent=2) if args.json else found)


def shadow(args: argparse.Namespace) -> None:
    """Run a kernel on its example beside a float64 shadow. Shows the error of each output, and for each line what its rounding adds and what
    it does to the outputs.
    """
    kernel = _load(args.kernel)
    with _blamed(args.kernel):
        given, _ = kernel.example_args(args.seed, **_merged(args.size))
        found = kernel.shadow(*given, **_merged(args.set))
    print(json.dumps(found.json(), indent=2) if args.json else found)


def tune(args: argparse.Namespace) -> None:
    """Find the best configuration of a kernel, among those that it states with `tune`, for sizes of its example.

    Timed on a GPU; without one, or for a stated architecture, ranked by a model.
    """
    kernel, arch = _load(args.kernel), args.arch and _arch(args.arch)
    with _blamed(args.kernel):
        given, _ = kernel.example_args(0, **_merged(args.size))
        found = kernel.tuned(*given, arch=arch)
    print("\n".join(str(found).splitlines()[: args.rows + 2]))


def sim(args: argparse.Namespace) -> int:
    """Simulate a kernel on the CPU, or PTX of any compiler. Of a kernel the emitted PTX runs on its example, with checks for races, bounds, missing
    waits and more, and what it computes is compared with the interpreter's results and the expected ones. For PTX see `tilec sim --help`.
    """
    from tilec.compiler import numbers, relative_norm, reordering_bound
    from tilec.sim.cli import as_json

    kernel, arch, constants = _load(args.kernel), _arch(args.arch), _merged(args.set)
    with _blamed(args.kernel):
        (given, expected), (again, _) = (kernel.example_args(args.seed, **_merged(args.size)) for _ in range(2))
        report = kernel.simulate(*given, arch=arch, **constants)
        kernel.interpret(*again, **constants)
        function = kernel.function(**constants)
    print(json.dumps(as_json(report), indent=1) if args.json else report)
    names, agree = [p.name for p in kernel.signature.parameters], True
    for name, exact in expected.items():
        found, interpreted = (numbers(a[names.index(name)]) for a in (given, again))
        alike = relative_norm(found, interpreted) <= reordering_bound(function, function, name, given)
        agree = agree and alike
        error, and_ = relative_norm(found, numbers(exact)), "" if alike else ", and it differs from the interpreted result"
        said = f"{name}: relative error {error:.3g} to what is expected{and_}"
        print(said, file=sys.stderr if args.json else sys.stdout)
    return DONE if agree and not report.findings else WRONG_KERNEL


def errors(args: argparse.Namespace) -> None:
    """Explain a code of errors: what it means, an example, and the remedy. Without a code, lists them all."""
    if not args.code:
        print("\n".join(line.removeprefix("## ") for line in codes.page().splitlines() if line.startswith("## TILE")))
        return
    text = codes.explanation(args.code)
    if not text:
        raise UsageError(f"there is no code {args.code}", hint="tilec errors lists them")
    print(text.removeprefix("## "))


def run(args: argparse.Namespace) -> None:
    """Run textual IR in the interpreter.

    Tensors are read from .npy files (--arg), or drawn at random; those that are only written start as zeros. Types that NumPy
    does not have are saved and read as codes, one unsigned integer an element. Prints a summary of what was written.
    """
    from tilec import trial

    function = trial.read(_text(args.file), str(args.file))
    given = dict(_pair(a, "--arg") for a in args.arg)
    outputs = trial.run(function, given, _merged(args.dim), args.seed)
    if args.out:
        _write(args.out, {f"{name}.npy": trial.npy(output) for name, output in outputs.items()})
    lines = (trial.summary(name, output, function.param(name).type.dtype) for name, output in outputs.items())
    print("\n".join(_table(["output", "type", "min", "max", "mean", "nan", "first"], lines)))


def layout(args: argparse.Namespace) -> None:
    """Draw a layout. A text grid of thread:register, for shared memory of offset@bank, or an SVG."""
    from tilec.ir.draw import grid_text, shared_text, svg
    from tilec.ir.layout import parse_layout
    from tilec.ir.shared import parse_shared

    if args.text.lstrip().startswith("shared"):
        if args.svg:
            raise UsageError("layouts of shared memory are drawn as text only")
        print(shared_text(parse_shared(args.text), args.bits))
    elif args.svg:
        _write(args.svg.parent, {args.svg.name: svg(parse_layout(args.text)).encode()})
    else:
        print(grid_text(parse_layout(args.text)))


def bisect(args: argparse.Namespace) -> int:
    """Find the stage that breaks a kernel. Runs the IR after each stage on the kernel's example; names the first whose results differ."""
    from tilec import compiler

    kernel, arch = _load(args.kernel), _arch(args.arch)
    with _blamed(args.kernel):
        found = compiler.bisect(kernel, arch, args.seed, **_merged(args.set))
    rows = ([d.stage, f"{d.difference:.3g}", f"{d.bound:.3g}", d.output, "" if d.agrees else "<- differs"] for d in found)
    print("\n".join(_table(["stage", "difference", "bound", "output", ""], rows)))
    wrong = [d.stage for d in found if not d.agrees]
    print(f"{wrong[0]} is the first stage whose results differ" if wrong else "all stages agree")
    return WRONG_KERNEL if wrong else DONE


def cache(args: argparse.Namespace) -> None:
    """List or clear the cache. Shows each kernel in it, with the time since it was compiled and since it was used."""
    from tilec import cache

    place = cache.folder()
    if place is None:
        print("there is no cache: TILEC_CACHE_DIR is off")
    elif args.what == "clear":
        try:
            count, size = cache.clear()
        except OSError as error:
            raise UsageError(f"{error.filename or place} can't be removed: {error.strerror}") from None
        print(f"removed {count} kernels, {size / 1024:.1f} KB, from {place}")
    else:
        found = cache.entries()
        rows = ([e.kernel, e.arch, f"{e.size / 1024:.1f}", _since(e.age), _since(e.unused)] for e in found)
        print("\n".join(_table(["kernel", "arch", "KB", "made", "used"], rows)))
        print(f"{len(found)} kernels, {sum(e.size for e in found) / 1024:.1f} KB, in {place}; {cache.limit() >> 20} MB at most")


# What they share


def _since(seconds: float) -> str:
    """A span of time in its largest fitting unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def _load(place: str) -> Any:
    """The kernel that FILE.py:KERNEL names."""
    file, colon, name = place.rpartition(":")
    if not (colon and file and name):
        raise UsageError(f"{place!r} names no kernel: write FILE.py:KERNEL")
    if not Path(file).is_file():
        raise UsageError(f"there is no file {file}")
    from tilec import compiler

    with _blamed(place):
        return compiler.load_kernel(place)


@contextmanager
def _isolation() -> Iterator[None]:
    """LLVM and the assembler run in copies of this process, so that their crash is an error with a file that reproduces it."""
    from tilec.backend import tools

    if "TILEC_ISOLATE" in os.environ or not tools.can_fork():
        yield
        return
    os.environ["TILEC_ISOLATE"] = "1"
    try:
        yield
    finally:
        del os.environ["TILEC_ISOLATE"]


@contextmanager
def _blamed(place: str) -> Iterator[None]:
    """What the user's own file raises becomes an error at its line; what tilec raises without passing it is a fault of tilec."""
    file = Path(place.rpartition(":")[0]).resolve()
    try:
        yield
    except TileError:
        raise
    except SyntaxError as error:
        end = error.end_offset if error.end_lineno == error.lineno else None
        loc = Loc(str(error.filename), error.lineno or 1, error.offset or 1, end or 0)
        raise TileError(f"{error.msg}", loc=loc, code=Code.PYTHON_FAILS) from error
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == file]
        if not frames:
            raise
        last: Any = frames[-1]
        column, end = (getattr(last, name, None) or 0 for name in ("colno", "end_colno"))  # from Python 3.11 on
        loc = Loc(last.filename, last.lineno or 1, column + 1, end + 1)
        raise TileError(f"{type(error).__name__}: {error}", loc=loc, code=Code.PYTHON_FAILS) from error


def _stage(kernel: Any, name: str | None, arch: str, constants: dict[str, Any]) -> Any:
    """The IR after a stage; as parsed, which no pass can spoil, if none is named."""
    if name is None:
        return kernel.function(**constants)
    stages = kernel.stages(arch, **constants)
    if name not in stages:
        raise UsageError(f"there is no stage {name}; there are {', '.join(stages)}")
    return stages[name]


def _arch(name: str) -> str:
    from tilec.backend.target import target

    try:
        return str(target(name).name)
    except TileError as error:
        raise UsageError(f"{error.message}; {error.hint}") from None


def _settings(text: str) -> dict[str, Any]:
    """The constants of "NAME=VALUE, ...": Python literals, or names of types."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args or not call.keywords or not all(k.arg for k in call.keywords):
            raise ValueError("write NAME=VALUE")
        return {str(k.arg): _value(k.value) for k in call.keywords}
    except (SyntaxError, AssertionError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {str(error) if type(error) is ValueError else 'write NAME=VALUE'}") from None


def _rule(text: str) -> tuple[str, dict[str, Any]]:
    """The condition and the constants of "CONDITION: NAME=VALUE, ..."."""
    from tilec.ir import hosttext

    when, colon, settings = text.rpartition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f'{text!r}: write "CONDITION: NAME=VALUE,..."')
    try:
        hosttext.parse(when)
    except TileError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.hint}") from None
    return when.strip(), _settings(settings)


def _meant(settings: dict[str, Any], variants: Sequence[dict[str, Any]]) -> int:
    """The number of the variant that a rule names by some of its constants."""
    found = [i for i, v in enumerate(variants) if all(n in v and v[n] == x for n, x in settings.items())]
    if len(found) != 1:
        text = ",".join(f"{n}={_word(x)}" for n, x in settings.items())
        raise UsageError(f"--rule: {'no variant has' if not found else 'several variants have'} {text}: write it as it is in --variant")
    return found[0]


def _value(node: ast.expr) -> Any:
    from tilec.ir.dtypes import dtype

    if isinstance(node, ast.Tuple | ast.List):
        return tuple(map(_value, node.elts))
    try:
        return dtype(node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)
    except (TileError, ValueError):
        what = "is neither a number nor the name of a type" if isinstance(node, ast.Name) else "is no literal of Python"
        raise ValueError(f"{ast.unparse(node)} {what}; write 64, 0.5, True, int6, or 'text' with its quotes") from None


def _word(value: Any) -> str:
    return "_".join(map(_word, value)) if isinstance(value, tuple) else str(value)


def _merged(settings: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for given in settings for name, value in given.items()}


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equal, value = text.partition("=")
    if not (name and equal and value):
        raise UsageError(f"{option} {text}: write NAME=VALUE")
    return name, value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None


def _description(built: Any) -> dict[str, Any]:
    """How to launch a build, and what it takes."""
    taken = built.resources
    return {**built.metadata, "registers": taken.registers, "spill_bytes": taken.spill_bytes}


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Columns that line up; the first to the left, the others to the right, a last one of words to the left."""
    table = [list(head), *([str(x) for x in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(x.ljust(w) if i == 0 else x.rjust(w) for i, (x, w) in enumerate(zip(row, widths, strict=True))).rstrip()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write files so that each is whole or not there: beside their places first, and moved there only when all of them are written."""
    pending: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            path = folder / f".{name}.{os.getpid()}.part"
            pending.append((path, folder / name))
            path.write_bytes(data)
        for path, final in pending:
            path.replace(final)
    except OSError as error:
        raise UsageError(f"{error.filename or folder} can't be written: {error.strerror}") from None
    finally:
        for path, _ in pending:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
