"""The generated reference: what is checked in is what is generated, and every builtin's example holds wherever it runs."""

import math
import re
import types as python_types

import numpy as np
import pytest

import tilec as tc
from tilec import objects, quant, reference
from tilec.backend.target import TARGETS
from tilec.ir.ops.arith import Math
from tilec.ir.text import parse
from tilec.kernels import eight, linear

ENTRIES = {f"{e.page} {e.name} {getattr(e.op, '__name__', '')}": e for e in reference.entries()}
NEWER = [name for name in TARGETS if name != "sm_80"]


def test_the_pages_are_what_is_generated():
    found = {p.name: p.read_text() for p in reference.PAGES.glob("*.md")}
    made = reference.pages()
    assert sorted(found) == sorted(made)
    for name, text in made.items():
        assert found[name] == text, f"docs/reference/{name} is old: python -m tilec.reference writes it"


def test_every_name_of_the_language_has_an_entry():
    public = {n for n in dir(tc) if isinstance(getattr(tc, n), reference.Name | python_types.FunctionType) and n in reference.LANGUAGE}
    assert public == {e.name for e in ENTRIES.values() if not isinstance(e.what, type)}
    assert len(public) > 110


def test_names_outside_of_kernels_have_a_page_and_their_methods_a_manual():
    shown = {name.rpartition(".")[2] for page in objects.PAGES.values() for name in page.names}
    others = {n for n in tc.__all__ if n not in reference.LANGUAGE and not isinstance(getattr(tc, n), tc.DType)}
    assert others <= shown | {"Dim"}
    for cls in (tc.Kernel, tc.Compiled, quant.Quantized, linear.Linear, eight.Linear8):
        assert cls.__doc__
        for name, member in objects.members(cls):
            assert member.__doc__, f"{cls.__name__}.{name} has no docstring"
    text = (reference.PAGES / "kernels.md").read_text()
    for name in ("compile", "interpret", "simulate", "shadow", "trace", "explain", "tune", "tuned", "prepare", "with_constants"):
        assert f"\n### `Kernel.{name}`\n\n```py\nkernel.{name}(" in text
    assert "kernel.interpret(*args: Any, stage: str | None = None, arch: str = 'sm_80', late_copies: bool = False, **kwargs: Any) -> None" in text


def test_links_of_the_index_have_headings():
    for page, anchor in re.findall(r"\]\((\w+\.md)#([^)]*)\)", (reference.PAGES / "README.md").read_text()):
        headings = re.findall(r"^## (.*)$", (reference.PAGES / page).read_text(), re.MULTILINE)
        anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
        plain, _, number = anchor.rpartition("-") if anchor not in anchors else (anchor, "", "0")
        assert anchors.count(plain) > int(number), anchor


@pytest.fixture
def given():
    """What the names of `GIVEN` are in NumPy. Eighths, and y positive: so that sums and products are exact."""
    rng = np.random.default_rng()

    def eighths(low, high, shape, dtype=np.float32):
        return (rng.integers(low * 8, high * 8, shape) / 8).astype(dtype)

    x = eighths(-4, 4, (8, 16))
    x[0, 0] = 0
    return {
        "x": x, "y": eighths(1, 5, (8, 16)), "n": rng.integers(-50, 50, (8, 16), np.int32), "m": rng.integers(1, 20, (8, 16), np.int32),
        "p": rng.random((8, 16)) < 0.5, "rows": rng.permutation(24)[:8].astype(np.int32), "a": eighths(-4, 4, (16, 16), np.float16),
        "b": eighths(-4, 4, (16, 16), np.float16), "w": rng.integers(-32, 32, (16, 16), np.int8), "s": np.float32(0.5), "i": np.int32(3),
        "T": eighths(-4, 4, (24, 40)), "O": eighths(-4, 4, (24, 40)), "H": rng.integers(0, 100, 24, np.int32),
        "B": rng.integers(0, 256, 96, np.uint8),
    }  # fmt: skip


def expected(example, given):
    """The NumPy names after the example's comments, and the lines that it prints."""
    names, printed = {n: np.copy(v) if np.ndim(v) else v for n, v in given.items()} | {"np": np, "math": math}, []
    with np.errstate(all="ignore"):
        for statement in example.checks:
            if statement.startswith('"'):
                printed.append(statement.strip('"'))
            else:
                exec(statement, names)
    return names, printed


def fresh(kernel, given):
    """Arguments by name: a copy of what is given, outputs poisoned; tiles come from tensors `x_`."""
    found = {}
    for p in kernel.signature.parameters:
        if p.name.startswith("out_"):
            found[p.name] = empty(kernel.function().param(p.name).type)
        elif p.name.rstrip("_") in given:
            value = given[p.name.rstrip("_")]
            found[p.name] = tc.Tensor.from_values(value, tc.int6) if p.name == "w_" else np.copy(value) if np.ndim(value) else value
    return found


def empty(type):
    array = np.empty(type.shape, type.dtype.numpy)
    array[...] = np.nan if array.dtype.kind == "f" else True if array.dtype.kind == "b" else np.iinfo(array.dtype).max
    return array


def same(found, wanted, kernel, what):
    """Bit for bit, but for functions that have an error bound."""
    bounded = any(isinstance(op, Math) and op.relative for op in kernel.function().walk())
    found, wanted = (np.asarray(x.values() if isinstance(x, tc.Tensor) else x) for x in (found, wanted))
    np.testing.assert_allclose(found, wanted, rtol=2e-6 if bounded else 0, atol=0, err_msg=what)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_example_holds_everywhere(name, given, capsys):
    entry = ENTRIES[name]
    example = entry.example
    names, printed = expected(example, given)
    assert example.checks, "the example says nothing of what it computes"
    kernel = example.kernel(example.types())
    args = fresh(kernel, given)
    kernel.interpret(**args)
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(printed)
    for parameter, array in args.items():
        if np.ndim(array):
            wanted = np.asarray(names[parameter.removeprefix("out_").rstrip("_")])
            assert np.shape(array) == (wanted.shape or (1,))
            same(array, np.broadcast_to(wanted, wanted.shape or (1,)), kernel, f"{parameter} interpreted")
    for stage, function in kernel.stages("sm_80").items():
        assert str(parse(str(function))) == str(function), stage
    simulated = fresh(kernel, given)
    report = kernel.simulate(**simulated)
    assert not report.findings, str(report)
    assert sorted(report.output.splitlines()) == sorted(printed)
    for parameter, array in simulated.items():
        if np.ndim(array):
            same(array, args[parameter], kernel, f"{parameter} simulated")
    arch = NEWER[list(ENTRIES).index(name) % len(NEWER)]
    assert kernel.compile(arch).resources.spill_bytes == 0


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_wrong_is_refused(name):
    entry = ENTRIES[name]
    assert entry.example.wrong, "the example shows nothing that is refused"
    for code, words in entry.example.wrong:
        error = reference.refusal(entry, code)
        assert error is not None, code
        assert words
        assert words in error.message
