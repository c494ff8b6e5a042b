"""Bundles from Python: the kernels that `tilec compile` wrote into a folder, launched without LLVM or a parser of the textual IR.

    kernels = tilec.load("build")
    kernels.matmul(a, b, c)                 # the variant and the architecture are chosen as by the C launcher
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tilec.arguments import Arguments
from tilec.backend.driver import Kernel as LoadedKernel
from tilec.backend.driver import device
from tilec.backend.target import Target, target
from tilec.errors import Code, TileError, presented, require
from tilec.ir import hosttext
from tilec.ir.core import Block, Function, Value
from tilec.ir.dtypes import codebook, dtype
from tilec.ir.interp import GRID_LIMITS
from tilec.ir.types import TensorType, TileType
from tilec.launch import Launcher, stream_of

FORMAT = 1


class Build(NamedTuple):
    """Machine code of one variant for one architecture."""

    about: dict[str, Any]
    cubin: bytes
    ptx: str

    @property
    def target(self) -> Target:
        return target(self.about["arch"])


class Choice(NamedTuple):
    """What a launch takes: a build, and how many blocks."""

    build: Build
    grid: tuple[int, ...]


class BundledKernel:
    """A kernel of a bundle: called like any other, with arrays and scalars, but without constants, which are settled."""

    def __init__(self, about: dict[str, Any], folder: str):
        self.about = about
        self.__name__ = str(about["name"])
        self.builds = [Build(b, _bytes(os.path.join(folder, b["cubin"])), _bytes(os.path.join(folder, b["ptx"])).decode()) for b in about["builds"]]
        self.function = function_of(about["builds"][0])
        self._launchers: dict[str, Launcher] = {}

    def __repr__(self) -> str:
        return f"<tilec bundled kernel {self.__name__}>"

    @presented
    def __call__(self, *args: Any, stream: Any = None, **kwargs: Any) -> None:
        """Run on the GPU. Arrays are written in place."""
        found = device()
        if found is None:
            raise TileError(
                f"{self.__name__} is machine code, and there is no GPU here", hint="a kernel in its Python file can be interpreted", code=Code.NO_GPU
            )
        given = self.bind(args, kwargs)
        if len(self.about["variants"]) == 1:
            build = self.build(self.about["variants"][0], found.capability)
        else:
            bound = Arguments(self.function, given, stream_of(stream, given.values()))
            build = self.choose(found.capability, self.rounded(bound.scalars())).build
        self._launcher(build).launch(stream, *given.values())

    def rounded(self, scalars: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers as the kernel gets them: a float of 32 bits is not what Python's is."""
        types = {p.name: p.type.dtype for p in self.function.params}
        return {n: types[n].round(np.asarray(v, types[n].carrier)).item() if types[n].is_float else v for n, v in scalars.items()}

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name. TileError names what is missing or too much."""
        names = [p["name"] for p in self.about["builds"][0]["parameters"] if p["kind"] in ("tensor", "scalar")]
        require(len(args) <= len(names), f"{self.__name__} takes {len(names)} arguments ({', '.join(names)}), not {len(args)}", code=Code.CALL)
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            require(
                name in names,
                f"{self.__name__} has no argument {name}",
                hint=f"it has {', '.join(names)}; constants are settled in a bundle",
                code=Code.CALL,
            )
            require(name not in given, f"{self.__name__} is given {name} twice", code=Code.CALL)
            given[name] = value
        missing = [n for n in names if n not in given]
        require(not missing, f"{self.__name__} lacks {'the argument' if len(missing) == 1 else 'arguments'} {', '.join(missing)}", code=Code.CALL)
        return {n: given[n] for n in names}

    def choose(self, capability: tuple[int, int], scalars: Mapping[str, Any]) -> Choice:
        """The build and the grid for a device and values of all parameters but tensors, by the rules of the bundle.

        The first variant of a rule that holds, then the first of all, whose assumptions hold. Raises TileError if there is none.
        """
        rules = [(r["when"], r["variant"]) for r in self.about["rules"]]
        refused = ""
        for when, variant in [*rules, *((None, v) for v in self.about["variants"])]:
            if when and not hosttext.evaluate(when, scalars):
                continue
            build = self.build(variant, capability)
            broken = next((a for a in build.about["assumptions"] if not hosttext.evaluate(a, scalars)), None)
            if broken is None:
                return Choice(build, self.grid(build, scalars))
            refused = refused or f"the assumption {broken}{f' of the variant {variant}' if variant else ''} does not hold"
        raise TileError(refused, hint=", ".join(f"{n} is {v}" for n, v in scalars.items()), code=Code.LAUNCH)

    def build(self, variant: str, capability: tuple[int, int]) -> Build:
        """The best build of a variant for a device."""
        fitting = [b for b in self.builds if b.about["variant"] == variant and b.target.runs_on(capability)]
        archs = ", ".join(dict.fromkeys(b.target.name for b in self.builds))
        have = f"compute capability {capability[0]}.{capability[1]}"
        require(fitting, f"no build of {self.__name__} runs on a device of {have}", hint=f"it has {archs}", code=Code.FEATURE)
        return max(fitting, key=lambda b: (b.target.capability, ["", "f", "a"].index(b.target.suffix)))

    def grid(self, build: Build, scalars: Mapping[str, Any]) -> tuple[int, ...]:
        """How many blocks a launch has along each axis."""
        found = tuple(int(hosttext.evaluate(extent, scalars)) for extent in build.about["grid"])
        for axis, (extent, limit) in enumerate(zip(found, GRID_LIMITS, strict=False)):
            require(0 <= extent <= limit, f"the grid has {extent} blocks along axis {axis}, not 0 to {limit}", code=Code.LAUNCH)
        return found

    def _launcher(self, build: Build) -> Launcher:
        """What launches a build, on what it declares alone."""

        def load(ordinal: int, multiples: tuple[tuple[str, int], ...]) -> LoadedKernel:
            return LoadedKernel(build.cubin, build.about["entry"], build.about["shared_bytes"], ordinal)

        key = build.about["cubin"]
        if key not in self._launchers:
            self._launchers[key] = Launcher(self.function.params, {**build.about, "name": self.__name__, "multiples": {}}, load)
        return self._launchers[key]


class Bundle(Mapping[str, BundledKernel]):
    """The kernels of a folder, as attributes or by name."""

    def __init__(self, kernels: dict[str, BundledKernel]):
        self._kernels = kernels

    def __getattr__(self, name: str) -> BundledKernel:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> BundledKernel:
        require(name in self._kernels, f"the bundle has no kernel {name}", hint=f"it has {', '.join(self._kernels)}")
        return self._kernels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kernels)

    def __len__(self) -> int:
        return len(self._kernels)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._kernels]


@presented
def load(folder: str | os.PathLike[str]) -> Bundle:
    """The kernels that `tilec compile` wrote into a folder: `tilec.load("build").matmul(a, b, c)`.

    They need neither LLVM nor the kernels' source. Raises TileError if the folder has none, or files are missing.
    """
    place = os.fspath(folder)
    require(os.path.isdir(place), f"there is no folder {place}")
    found = {}
    for path in sorted(os.path.join(place, name) for name in os.listdir(place) if name.endswith(".json")):
        try:
            about = json.loads(_bytes(path))
        except ValueError:
            continue  # another's
        if isinstance(about, dict) and "builds" in about and "variants" in about:
            require(about.get("format") == FORMAT, f"{path} has the format {about.get('format')}, and this tilec reads {FORMAT}", hint="compile it anew")
            found[about["name"]] = BundledKernel(about, place)
    require(found, f"{place} holds no bundle", hint="tilec compile FILE.py:KERNEL --out DIR writes one")
    return Bundle(found)


def function_of(about: dict[str, Any]) -> Function:
    """A function with the parameters of a build, and without a body: what arguments are checked against."""
    params = []
    for p in about["parameters"]:
        kind = codebook(p["type"], p["codebook"]) if "codebook" in p else dtype(p["type"])
        params.append(Value(TensorType(kind, tuple(p["shape"]), p["strided"]) if p["kind"] == "tensor" else TileType(kind), p["name"]))
    return Function(about["name"], tuple(params), Block(), Block(), about["threads"] // 32)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TileError(f"{path} can't be read: {error.strerror}") from None
