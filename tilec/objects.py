"""The pages of the reference on what is used outside of kernels: the kernels themselves, arrays, layouts, quantization, layers. `tilec.reference`
writes them, from the docstrings.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import tilec as tc
from tilec import quant, sim
from tilec.explain import Explanation
from tilec.frontend.stubs import declared
from tilec.ir.shadow import Shadow
from tilec.kernels import eight, linear, placed
from tilec.trace import Trace
from tilec.tune import Tuned


class Page(NamedTuple):
    """A page's title, what it says first, and the names on it, with what they are called by."""

    title: str
    head: str
    names: dict[str, Any]


def of(module: str, *things: Any) -> dict[str, Any]:
    return {f"{module}.{t.__name__}": t for t in things}


PAGES = {
    "kernels": Page(
        "Kernels, from outside",
        "What `@tc.kernel` makes, and what comes of it. Constants of the kernel are keywords of every method that takes `**constants` or `**kwargs`.",
        {**of("tc", tc.kernel, tc.Kernel, tc.Compiled, tc.Bundle, tc.parse, tc.TileError, tc.Loc), **of("tilec.sim", sim.run_ptx, sim.Report, sim.Finding),
         **of("tilec.trace", Trace), "tc.type_of": tc.type_of, "tc.layout_of": tc.layout_of, "tilec.ir.shadow.Shadow": Shadow,
         "tilec.explain.Explanation": Explanation, "tilec.tune.Tuned": Tuned},
    ),
    "arrays": Page(
        "Types, and arrays of them",
        "Arrays of NumPy, PyTorch and others are taken as they are; these are for the types that they lack. [types.md](../types.md) lists the types.",
        of("tc", tc.tensor, tc.Tensor, tc.packed, tc.dtype, tc.DType, tc.all_dtypes, tc.codebook),
    ),
    "layouts": Page(
        "Layouts of tiles in registers", "See [layouts.md](../layouts.md).",
        of("tc", tc.local, tc.spatial, tc.column_local, tc.column_spatial, tc.replicated, tc.Layout),
    ),
    "quant": Page(
        "Quantization", "See [quantization.md](../quantization.md) and [weights.md](../weights.md).",
        of("tilec.quant", *(getattr(quant, name) for name in quant.__all__)),
    ),
    "layers": Page(
        "Linear layers with weights of few bits", "See [weights.md](../weights.md), and [torch.md](../torch.md) for `tilec.torch.QuantLinear`.",
        {**of("tilec.kernels.linear", linear.Linear), **of("tilec.kernels.eight", eight.Linear8, eight.rows8), **of("tilec.kernels.placed", placed.place)},
    ),
}  # fmt: skip
CONSTRUCTED = (tc.Tensor, quant.Quantized, linear.Linear, eight.Linear8)  # by users


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, and its call, by name, those of its own bases first."""
    found: dict[str, Any] = {}
    for base in reversed([c for c in cls.__mro__ if c.__module__.startswith("tilec.")]):
        for name, member in vars(base).items():
            kind = isinstance(member, property | cached_property | classmethod | staticmethod) or inspect.isfunction(inspect.unwrap(member))
            if kind and (not name.startswith("_") or name == "__call__"):
                found[name] = member
    return iter(found.items())


def section(name: str, thing: Any) -> str:
    """A name's part of its page, with those of its methods that have a docstring."""
    parts, own = [f"## {name}"], name.rpartition(".")[2]
    if not isinstance(thing, type) or thing in CONSTRUCTED:
        parts.append(_code(_called(name, inspect.signature(thing)).removesuffix(" -> None").removesuffix(" -> Any")))
    parts.append(inspect.cleandoc(thing.__doc__ or ""))
    fields = [f"`{n}: {t}`" for n, t in _fields(thing)]
    if fields:
        parts.append(f"Fields: {', '.join(fields)}.")
    for method, member in members(thing) if isinstance(thing, type) else ():
        if not member.__doc__:
            continue
        parts.append(f"### `{own}.{method}`")
        if not isinstance(member, property | cached_property):
            function = inspect.unwrap(getattr(member, "__func__", member))
            receiver = name if isinstance(member, classmethod | staticmethod) else own.lower()
            parts.append(_code(_called(receiver if method == "__call__" else f"{receiver}.{method}", _received(function, member))))
        parts.append(inspect.cleandoc(member.__doc__))
    return "\n\n".join(parts) + "\n"


def _fields(thing: Any) -> list[tuple[str, str]]:
    """What a record holds, with types, where its constructor does not say it."""
    plain = not isinstance(thing, type) or thing in CONSTRUCTED or not (hasattr(thing, "__fields__") or hasattr(thing, "__dataclass_fields__"))
    return [] if plain else [(n, str(t)) for n, t in inspect.get_annotations(thing).items() if not n.startswith("_")]


def _received(function: Any, member: Any) -> inspect.Signature:
    """The signature of a method without its receiver."""
    signature = inspect.signature(function)
    return signature if isinstance(member, staticmethod) else signature.replace(parameters=list(signature.parameters.values())[1:])


def _called(name: str, signature: inspect.Signature) -> str:
    """How something is called."""
    shown = [p for p in signature.parameters.values() if not p.name.startswith("_")]
    return f"{name}{declared(signature.replace(parameters=shown))}"


def _code(text: str) -> str:
    return f"```py\n{text}\n```"


def pages() -> Iterator[tuple[str, str, str]]:
    """Each page's file, its text, and its line in the index."""
    for file, page in PAGES.items():
        text = "\n".join([f"# {page.title}\n", f"{page.head}\n", *(section(name, thing) for name, thing in page.names.items())])
        links = ", ".join(f"[{name}]({file}.md#{anchor})" for name, anchor in zip(page.names, _anchors(page.names), strict=True))
        yield f"{file}.md", text, f"- [{page.title}]({file}.md): {links}"


def _anchors(names: Iterable[str]) -> Iterator[str]:
    """The anchors that Markdown makes of headings; a second of a kind is numbered."""
    seen: dict[str, int] = {}
    for name in names:
        anchor = name.lower().replace(".", "")
        number = seen[anchor] = seen.get(anchor, -1) + 1
        yield f"{anchor}-{number}" if number else anchor
