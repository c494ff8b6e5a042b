"""Functions made as Python source: how a kernel is called, and how it is launched, with nothing left to decide that is known before.

For a kernel `scale(a: f16[M, K], b: f16[K, 64], c: f32)` and PyTorch's arrays, the launch is, shortened:

    def scale(_stream, a, b, c):
        _room = None
        try:
            _shape_a = a.shape
            _same, K, M, _device, _x, _function, _shared = _known(_shape_a, _unknown)
            if not _same(a, b): K, M, _device, _x, _function, _shared = _look(a, b, _shape_a)
            _at_a = a.data_ptr()
            _at_b = b.data_ptr()
            if ((c.__class__,) == _classes
                    and not (_at_a | _at_b) & 15):
                ...
                _room = _pop()
                _pack(_room[0], 0, _at_a, _at_b, c, M, K)
        except _misses:
            _room = None
        if _room is None:
            return _carefully(_stream, a, b, c)
        (_error,) = _run(_function, _x, 1, 1, 128, 1, 1, _shared, _stream, _room[1], 0)

    def _look(a, b, _shape_a):
        M, K, = _shape_a
        _device = a.get_device()
        if ((a.dtype, b.dtype) == _types_of_torch
                and a.is_contiguous()
                and b.shape == (K, 64)
                ...
                and 0 < (_x := (M + 127) // 128) <= 2147483647):
            _function, _shared = _variants[_device << 1 | (K % 16 == 0) << 0]
            return _keep(_shape_a, (a, b), (K, M, _device, _x, _function, _shared))
        raise ValueError

Everything is read before anything is decided, and what can't be read or is not as it should be ends in `_carefully`, which tells the error
or does without the haste. Names with an underscore in front are the function's own.

Each question to a tensor of PyTorch costs 50 to 120 ns, so they are asked by `_same`: one call that compares the types, shapes, strides and places
of all of them, as they are now, with those of tensors that `_look` has found good.
"""

from __future__ import annotations

import ast
import copy
import itertools
import linecache
import os
import struct
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilec.arguments import steps
from tilec.backend import driver
from tilec.errors import TileError
from tilec.ir import arrays, hosttext
from tilec.ir.arrays import DeviceArray
from tilec.ir.core import Value
from tilec.ir.dtypes import DType, bf16, numpy_name
from tilec.ir.interp import GRID_LIMITS
from tilec.ir.tensor import Tensor
from tilec.ir.types import TensorType

if TYPE_CHECKING:
    from tilec.launch import Launcher

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "(missing)"})()  # an argument that a call does not give
MISSES = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, RuntimeError, ZeroDivisionError, struct.error, TileError)


Kind = tuple[Any, ...]


def kind_of(x: Any) -> Kind | None:
    """How the fast function takes an argument. An array: by PyTorch's attributes, by a Tensor's, or by the CUDA array interface, whose
    dictionary may lack two of its entries or hold None; a number of Python: as it is; None for anything else."""
    if arrays.is_torch(x):
        return ("torch",)
    if isinstance(x, Tensor):
        return ("packed",)
    if isinstance(x, DeviceArray):
        return ("array",)
    if type(x) in (int, float, bool):
        return ("number", type(x))
    found = getattr(x, "__cuda_array_interface__", None)
    return None if found is None else ("interface", type(x), "strides" in found, type(found.get("stream", MISSING)).__name__)


def fast(launcher: Launcher, kinds: Sequence[Kind]) -> Callable[..., None]:
    """The function `(stream, *arguments)` that launches arguments of these kinds."""
    writer = _Launch(launcher, kinds)
    return defined(launcher.name, writer.source(), writer.names)


class _Checks:
    """What is read first, and then tested all together."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.tests: list[str] = []
        self.equal: dict[str, list[tuple[str, Any]]] = {"classes": [], "types": []}  # expressions, and what they are to be

    def condition(self, names: dict[str, Any], suffix: str = "", indent: int = 16) -> str:
        """All tests as one expression; what things are to be equal to goes among the names."""
        tests = list(self.tests)
        for name, pairs in self.equal.items():
            if pairs:
                names[f"_{name}{suffix}"] = tuple(wanted for _, wanted in pairs)
                tests.insert(0, f"({', '.join(found for found, _ in pairs)},) == _{name}{suffix}")
        return f"({(chr(10) + indent * ' ' + 'and ').join(tests or ['True'])})"


class _Launch(_Checks):
    """Writes the launch down. Of PyTorch's tensors it reads the addresses; the rest of them is in `look`."""

    def __init__(self, launcher: Launcher, kinds: Sequence[Kind]):
        super().__init__()
        self.launcher = launcher
        self.kinds = {p.name: kind for p, kind in zip(launcher.own, kinds, strict=True)}
        self.local = {p.name: local(p.name, i) for i, p in enumerate(launcher.params)}
        self.look = _Checks()  # what PyTorch's tensors alone decide
        self.keys: list[str] = []  # those that tell dimensions
        self.settled: set[str] = set()  # parameters that they tell
        self.found: list[str] = []  # names of what they decide
        self.named = False  # whether an array names its stream
        self.known: set[str] = set()  # dimensions that have been read
        self.places: list[str] = []  # expressions of the arrays' devices
        self.names: dict[str, Any] = {
            "_carefully": launcher.carefully, "_failed": launcher.failed, "_variants": launcher.variants, "_run": driver.launcher(),
            "_pop": launcher.pool.pop, "_push": launcher.pool.append, "_pack": launcher.packing.struct.pack_into, "_bf16": launcher.packing.bf16,
            "_handle": arrays.stream_handle, "_device_of": driver.device_of, "_steps": steps,
            "_misses": MISSES,
            **{f"_{name}": function for name, function in hosttext.FUNCTIONS.items()},
        }  # fmt: skip

    def source(self) -> str:
        tensors = [p for p in self.launcher.own if self.kinds[p.name] == ("torch",)]
        for p in tensors:
            self.torch(p, self.local[p.name])
        if tensors:
            self.found = [self.local[name] for name in sorted(self.settled)] + ["_device"]
        for p in self.launcher.own:
            kind, *details = self.kinds[p.name]
            if kind != "torch":
                read: Callable[..., None] = getattr(self, kind)
                read(p, self.local[p.name], *details)
        self.together()
        extents = self.grid()
        variant = f"_function, _shared = _variants[{self.variant()}]"
        settled = bool(tensors) and {name for name, _ in self.launcher.multiples} <= self.settled
        if settled:
            self.found += ["_function", "_shared"]
        own = ", ".join(self.local[p.name] for p in self.launcher.own)
        launch = f"_function, {', '.join(extents)}, {self.launcher.threads}, 1, 1, _shared, _stream, _room[1], 0"
        looked, look = self.looking([self.local[p.name] for p in tensors], variant if settled else "") if tensors else ([], "")
        return f"""\
def launch(_stream, {own}):
    _room = None
    try:
        {_lines([*looked, *self.reads], 8)}
        if {self.condition(self.names)}:
            {_lines([*([] if settled else [variant]), *self.stream()], 12)}
            _room = _pop()
            _pack(_room[0], 0, {", ".join(map(self.value, self.launcher.params))})
    except _misses:
        _room = None
    if _room is None:
        return _carefully(_stream, {own})
    (_error,) = _run({launch})
    if _error:
        _failed(_error, _device, {launch})
    _push(_room)
{look}"""

    def looking(self, tensors: list[str], variant: str) -> tuple[list[str], str]:
        """How to find what PyTorch's tensors decide: lines that ask for tensors known to be like these, and the function for all others."""
        kept, given, found = Kept(), ", ".join(tensors), ", ".join(self.found)
        shapes = [f"_shape_{x}" for x in self.keys]
        key, own = shapes[0] if len(shapes) == 1 else f"({''.join(f'{s}, ' for s in shapes)})", ", ".join([*tensors, *shapes])
        self.names |= {"_known": kept.get, "_keep": kept.keep, "_unknown": (lambda *_: False, *(None for _ in self.found))}
        asks = [f"_same, {found} = _known({key}, _unknown)", f"if not _same({given}): {found} = _look({own})"]
        return [*(f"_shape_{x} = {x}.shape" for x in self.keys), *asks], f"""
def _look({own}):
    {_lines(self.look.reads, 4)}
    if {self.look.condition(self.names, "_of_torch", 12)}:
        {variant}
        return _keep({key}, ({given},), ({found},))
    raise ValueError
"""

    # arrays of each kind: where they begin, that their elements, shape, order and place are as wanted

    def torch(self, p: Value, x: str) -> None:
        self.reads.append(f"_at_{x} = {x}.data_ptr()")
        look, telling = self.look, not {n for n in p.type.shape if isinstance(n, str)} <= self.known
        look.equal["types"].append((f"{x}.dtype", getattr(arrays.torch(), arrays.torch_name(p.type.dtype) or "", None)))
        self.shape(p, f"_shape_{x}" if telling else f"{x}.shape", look)
        self.settled |= self.known
        if telling:
            self.keys.append(x)
        if p.type.strided:
            look.reads.append(f"{', '.join(self.steps(p))}, = {x}.stride()")
            self.settled |= {f"{p.name}.stride{axis}" for axis in range(p.type.rank)}
        else:
            look.tests.append(f"{x}.is_contiguous()")
        if self.places:
            look.tests.append(f"{x}.get_device() == _device")
        else:
            self.places.append("_device")
            look.reads.append(f"_device = {x}.get_device()")

    def packed(self, p: Value, x: str) -> None:
        self.equal["types"].append((f"{x}.dtype", p.type.dtype))
        self.reads.append(f"_at_{x} = {x}.address")
        self.tests += [f"{x}.device in (0, -1)" if self.launcher.alone else f"{x}.device is not None"]
        if p.name in self.launcher.written:
            self.tests += [f"not {x}.buffer.read_only", *([f"{x}.whole_words"] if p.type.dtype.bits % 8 else [])]
        if p.type.strided:
            self.reads.append(f"{', '.join(self.steps(p))}, = _steps({x})")
        self.shape(p, f"{x}.shape")
        self.places.append("0" if self.launcher.alone else f"{x}.device")

    def array(self, p: Value, x: str) -> None:
        self.equal["types"].append((f"{x}.dtype", p.type.dtype))
        self.reads.append(f"_at_{x} = {x}.address")
        self.shape(p, f"{x}.shape")
        if p.name in self.launcher.written:
            self.tests.append(f"not {x}.read_only")
        if p.type.strided:
            self.reads.append(f"{', '.join(self.steps(p))}, = _steps({x})")
        else:
            self.tests.append(f"{x}.contiguous")
        self.places.append(f"{x}.device")

    def interface(self, p: Value, x: str, cls: type, strides: bool, stream: str) -> None:
        self.equal["classes"].append((f"{x}.__class__", cls))
        self.equal["types"] += [(f'_i_{x}["typestr"]', typestr(p.type.dtype)), *([(f'_i_{x}["strides"]', None)] if strides else [])]
        self.reads += [f"_i_{x} = {x}.__cuda_array_interface__", f'_at_{x}, _fixed_{x} = _i_{x}["data"]']
        self.tests += [f'"{absent}" not in _i_{x}' for absent in ("mask", *([] if strides else ["strides"]))]
        if p.name in self.launcher.written:
            self.tests.append(f"not _fixed_{x}")
        self.shape(p, f'_i_{x}["shape"]')
        if p.type.strided:  # which must not lack them
            self.tests.append("False")  # its strides are in bytes, and the careful way's
            self.reads += [f"{step} = 0" for step in self.steps(p)]
        self.places.append("0" if self.launcher.alone else f"_device_of(_at_{x})")
        if stream == "Missing":
            self.tests.append(f'"stream" not in _i_{x}')
        elif stream == "NoneType":
            self.equal["types"].append((f'_i_{x}["stream"]', None))
        elif self.named:
            self.tests.append(f'_i_{x}["stream"] == _named')
        else:
            self.named = True
            self.reads.append(f'_named = _i_{x}["stream"]')

    def shape(self, p: Value, expression: str, into: _Checks | None = None) -> None:
        """Read the dimensions that are new, and compare what is known."""
        x, wanted, into = self.local[p.name], p.type.shape, into or self
        if all(isinstance(n, int) or n in self.known for n in wanted):
            into.tests.append(f"{expression} == ({', '.join(map(self.extent, wanted))},)")
            return
        targets = []
        for axis, n in enumerate(wanted):
            if isinstance(n, str) and n not in self.known:
                self.known.add(n)
                targets.append(self.local[n])
            else:
                targets.append(f"_n{axis}_{x}")
                into.tests.append(f"_n{axis}_{x} == {self.extent(n)}")
        into.reads.append(f"{', '.join(targets)}, = {expression}")

    def extent(self, n: int | str) -> str:
        return str(n) if isinstance(n, int) else self.local[n]

    def end(self, p: Value) -> str:
        """The address behind a tensor's last element."""
        x, extents, bits = self.local[p.name], [self.extent(n) for n in p.type.shape], p.type.dtype.bits
        if p.type.strided:
            last = " + ".join(f"({n} - 1) * {step}" for n, step in zip(extents, self.steps(p), strict=True))
            return f"_at_{x} + ({last} + 1) * {-(-bits // 8)}"
        if bits % 8 == 0:
            return f"_at_{x} + {bits // 8} * {' * '.join(extents)}"
        self.names[f"_bytes_{x}"] = p.type.dtype.nbytes
        return f"_at_{x} + _bytes_{x}(({', '.join(extents)},))"

    def steps(self, p: Value) -> list[str]:
        return [self.local[f"{p.name}.stride{axis}"] for axis in range(p.type.rank)]

    # scalars

    def number(self, p: Value, x: str, cls: type) -> None:
        """Its class was found good; integers out of range are seen by `struct`."""
        self.equal["classes"].append((f"{x}.__class__", cls))

    def value(self, p: Value) -> str:
        """What is packed for a parameter."""
        x = self.local[p.name]
        return f"_at_{x}" if isinstance(p.type, TensorType) else f"_bf16({x})" if p.type.dtype == bf16 else x

    # what concerns all

    def together(self) -> None:
        """One place, aligned; and what the kernel assumes."""
        first = self.places[0]
        if first != "_device":
            self.reads.append(f"_device = {first}")
        self.tests += [f"{place} == _device" for place in self.places[1:] if place != "0"]
        self.tests.append(f"not ({' | '.join(f'_at_{self.local[p.name]}' for p in self.launcher.tensors)}) & 15")
        tensors = {p.name: p for p in self.launcher.tensors}
        for a, b in self.launcher.read_ahead:  # one ends before the other begins; what interlocks is the careful way's
            self.tests.append(f"({self.end(tensors[a])} <= _at_{self.local[b]} or {self.end(tensors[b])} <= _at_{self.local[a]})")
        for fact in self.launcher.description["assumptions"]:
            self.decided_by(fact).tests.append(f"({self.expression(fact)})")

    def decided_by(self, text: str) -> _Checks:
        """Whose an expression is: that of PyTorch's tensors, if they tell all that it says."""
        return self.look if self.found and hosttext.names(text) <= self.settled else self

    def grid(self) -> list[str]:
        """The three extents, named where they are computed."""
        extents = []
        for axis, (text, limit) in enumerate(zip(self.launcher.description["grid"], GRID_LIMITS, strict=False)):
            if text.isdigit() and 0 < int(text) <= limit:
                extents.append(text)
                continue
            extents.append("_" + "xyz"[axis])
            checks = self.decided_by(text)
            checks.tests.append(f"0 < ({extents[-1]} := {self.expression(text)}) <= {limit}")
            if checks is self.look:
                self.found.append(extents[-1])
        return [*extents, "1", "1"][:3]

    def variant(self) -> str:
        bits = [f"({self.local[name]} % {n} == 0) << {i}" for i, (name, n) in enumerate(self.launcher.multiples)]
        return " | ".join([f"_device << {len(bits)}" if bits else "_device", *bits])

    def stream(self) -> list[str]:
        lines = [f"if _stream is None: _stream = {self.default_stream()}", "elif _stream.__class__ is not _int: _stream = _handle(_stream)"]
        if self.named:  # another stream than the arrays' has to wait for theirs
            lines.append("if _named != _stream: raise ValueError")
        return lines

    def default_stream(self) -> str:
        kinds = {kind[0] for kind in self.kinds.values()}
        if "torch" in kinds or ("packed" in kinds and arrays.torch()):
            self.names["_current"] = arrays.raw_stream()
            return "_current(_device)"
        return "_named or 0" if self.named else "0"

    def expression(self, text: str) -> str:
        """An expression of the description over the function's names."""
        return ast.unparse(_Renamed(self.term).visit(copy.deepcopy(hosttext.parse(text))))

    def term(self, name: str) -> str:
        """A dimension or scalar in an expression; a float as the kernel gets it."""
        type = next(p.type for p in self.launcher.params if p.name == name)
        if not type.dtype.is_float:
            return self.local[name]
        self.names[f"_round_{type.dtype}"] = lambda value: self.launcher.packing.rounded(value, type)
        return f"_round_{type.dtype}({self.local[name]})"


class _Renamed(ast.NodeTransformer):
    def __init__(self, term: Callable[[str], str]):
        self.term = term

    def visit_Call(self, node: ast.Call) -> ast.Call:
        assert isinstance(node.func, ast.Name)
        return ast.Call(ast.Name(f"_{node.func.id}", ast.Load()), [self.visit(a) for a in node.args], [])

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.parse(self.term(node.id), mode="eval").body


def typestr(dtype: DType) -> str | None:
    """How the CUDA array interface calls a type; None for types that it does not know."""
    if dtype == bf16:
        return "<V2"
    name = numpy_name(dtype)
    return np.dtype(name).str if name and (not dtype.is_float or np.dtype(dtype.numpy).kind == "f") else None


def local(name: str, number: int) -> str:
    """A parameter's variable: its own name, unless it is no name ("a.stride0") or might be one of the function's own."""
    return name if name.isidentifier() and not name.startswith("_") else f"_arg{number}"


def _lines(lines: Sequence[str], indent: int) -> str:
    return ("\n" + " " * indent).join(lines)


class Kept:
    """What the tensors of former launches decided, by the shapes that tell the dimensions: a function that says whether other tensors have the
    same types, shapes, strides and place, and what follows from these. Threads may share it.

    It keeps `SHAPES` keys at most, and for each the last of the first `TRIES` tensors that differed from those before."""

    SHAPES, TRIES = 1024, 8

    def __init__(self) -> None:
        self.found: dict[Any, tuple[Any, ...]] = {}
        self.tries: dict[Any, int] = {}
        self.otherwise = 0  # the tries of a new key: as many as there may be once there are enough keys
        self.get = self.found.get

    def keep(self, key: Any, tensors: tuple[Any, ...], decided: tuple[Any, ...]) -> tuple[Any, ...]:
        """Remember, if it is worth it. Returns what was decided."""
        tries = self.tries.get(key, self.otherwise)
        if tries < self.TRIES:
            self.tries[key] = tries + 1
            if len(self.tries) >= self.SHAPES:
                self.otherwise = self.TRIES
            same = arrays.likeness(tensors)
            if same:
                self.found[key] = same, *decided
        return decided


# calls


def key_of(constants: dict[str, Any], plain: Container[str]) -> tuple[Any, ...]:
    """What launchers are found by: the constants' values and, as 1, True and 1.0 are one key, their classes, but of `plain` ones."""
    return tuple(x for name, value in constants.items() for x in ((value,) if name in plain else (value, value.__class__)))


def entry(
    name: str, parameters: Sequence[str], constants: dict[str, Any], plain: Container[str], launchers: dict[Any, Launcher], otherwise: Any
) -> Callable[..., None]:
    """The function `(kernel, *arguments, **constants, stream=None)` that finds the launcher by the constants' key and launches.

    `otherwise(kernel, arguments, constants, stream)` is for calls whose launcher is not there yet, and those that are wrong. No parameter
    begins with an underscore. Of `plain` constants the class is known.
    """
    positional = "".join(f", {p}=_missing" for p in parameters)
    keywords = "".join(f", {c}=_default_{i}" for i, c in enumerate(constants))
    key = "".join(f"{c}, " if c in plain else f"{c}, {c}.__class__, " for c in constants)
    given = "".join(f'"{c}": {c}, ' for c in constants)
    source = f"""\
def call(_kernel{positional}, *_more{keywords}, stream=None, **_unknown):
    try:
        _launcher = _find(({key}))
    except TypeError:
        _launcher = None
    if _launcher is None or _more or _unknown:
        return _otherwise(_kernel, ({"".join(f"{p}, " for p in parameters)}*_more,), {{{given}**_unknown}}, stream)
    _launcher.launch(stream{"".join(f", {p}" for p in parameters)})
"""
    defaults = {f"_default_{i}": value for i, value in enumerate(constants.values())}
    return defined(name, source, {"_missing": MISSING, "_find": launchers.get, "_otherwise": otherwise, **defaults})


_count = itertools.count(1)


def defined(name: str, source: str, names: dict[str, Any]) -> Callable[..., None]:
    """The one function that a source defines. Tracebacks and debuggers show the source."""
    file = f"{os.path.dirname(__file__)}/<{source.split('(')[0].removeprefix('def ')} of {name}, {next(_count)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = dict(names)
    exec(compile(source, file, "exec"), scope)
    made: Callable[..., None] = next(f for n, f in scope.items() if n in ("launch", "call"))
    made.__name__ = name
    return made
