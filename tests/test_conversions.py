"""Conversions of layouts: in registers, by shuffles within warps, or through shared memory, whichever is cheaper; the same elements each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilec
from tilec.backend.costs import stays_in_thread
from tilec.backend.llvm import to_llvm
from tilec.backend.nvptx import to_ptx
from tilec.backend.target import target
from tilec.ir.dtypes import dtype
from tilec.ir.layout import parse_layout
from tilec.ir.types import TileType
from tilec.passes.lower import lower_exchanges
from tilec.passes.shared_memory import lay_out_shared, place_shared, shared_size
from tilec.sim import run_ptx

ARCH = target("sm_80")
# from, to, whether shuffles do it, and how many
CASES = [
    ("spatial(4, 8)", "column_spatial(4, 8)", 1),  # lanes permuted
    ("spatial(8, 4).local(1, 2)", "spatial(8, 4).local(1, 2)", 0),
    ("local(2, 1).spatial(8, 4)", "spatial(8, 4).local(2, 1)", 4),  # half of the lanes want the one register, half the other
    ("spatial(4, 8).local(2, 1)", "local(2, 1).spatial(4, 8)", 4),
    ("local(1, 4).spatial(32, 1)", "spatial(32, 1).local(1, 4)", None),  # in registers
    ("spatial(2, 1).spatial(4, 8)", "spatial(2, 1).column_spatial(4, 8)", 1),  # two warps, each for itself
    ("spatial(2, 1).spatial(4, 8)", "column_spatial(8, 8)", None),  # from warp to warp
    ("replicated(4).spatial(8)", "spatial(8).replicated(4)", 1),
    ("local(8, 1).spatial(4, 8)", "spatial(4, 8).local(8, 1)", None),  # 4 registers for each: dearer than to store and load them
    ("spatial(32, 1).local(1, 32)", "spatial(1, 32).local(32, 1)", None),  # each lane wants of every lane: 1024 shuffles, or 32 stores and loads
]


def program(kind: str, source: str, wanted: str) -> str:
    s, w = parse_layout(source), parse_layout(wanted)
    shape = ", ".join(map(str, s.shape))
    dims = ", ".join(str(i) for i in range(s.rank))
    offsets = ", ".join(["%0"] * s.rank)
    return f"""layout $S = {s}
layout $W = {w}
kernel @f(%x: global {kind}[{shape}], %y: global {kind}[{shape}]) warps={s.threads // 32} {{
%0 = constant value=0 dtype=i32 : i32
%a = load %x, [{offsets}] shape=[{shape}] dims=[{dims}] layout=$S : {kind}[{shape}; $S]
%b = convert_layout %a layout=$W : {kind}[{shape}; $W]
store %y, [{offsets}], %b dims=[{dims}]
}}"""


@pytest.mark.parametrize(("source", "wanted", "count"), CASES)
def test_shuffles_are_chosen_where_they_are_few(source: str, wanted: str, count: int | None) -> None:
    s, w = parse_layout(source), parse_layout(wanted)
    if stays_in_thread(s, w):
        return
    way = ARCH.conversions(TileType(dtype("f32"), s.shape, s), w)[0]
    assert way.how == ("shared memory" if count is None else "shuffles")
    assert way.cost.shuffles == (count or 0) * s.threads // 32
    ops = [op.mnemonic for op in lower_exchanges(tilec.parse(program("f32", source, wanted)), ARCH).walk()]
    assert ("convert_lanes" in ops) == (count is not None)
    assert ("store_shared" in ops) == (count is None)


@pytest.mark.parametrize("kind", ["f32", "f16", "u8", "i32", "bool"])
@pytest.mark.parametrize(("source", "wanted"), [(s, w) for s, w, _ in CASES])
def test_all_elements_arrive(kind: str, source: str, wanted: str) -> None:
    kind = {"u8": "uint8"}.get(kind, kind)
    function = tilec.parse(program(kind, source, wanted)).verify()
    for run in (lower_exchanges, lay_out_shared, place_shared):
        function = run(function, ARCH).verify()
    assert str(tilec.parse(str(function))) == str(function)
    shape = parse_layout(source).shape
    rng = np.random.default_rng()
    raw = {"f32": np.float32, "f16": np.float16, "uint8": np.uint8, "i32": np.int32, "bool": np.bool_}[kind]
    x = (rng.standard_normal(shape) * 50).astype(raw) if kind != "bool" else rng.random(shape) < 0.5
    y = np.zeros_like(x)
    report = run_ptx(to_ptx(to_llvm(function, ARCH), ARCH), "f", (1,), (function.threads,), [x, y], shared_size(function))
    assert np.array_equal(x, y)
    assert report.findings == []


FEW = """import tilec as tc
M, N = tc.dims("M N")

@tc.kernel(warps=4)
def few(x: tc.f32[M, N]):
    tc.grid(1)
    tc.store(x, [0, 0], {}, [16, 8], layout=tc.spatial(8, 4).local(2, 2)))
"""


@pytest.mark.parametrize("access", ["tc.load(x, [0, 0]", "tc.gather(x, [tc.arange(16), 0]"])
def test_a_layout_of_other_threads_is_refused_at_its_line(access: str, tmp_path: Path) -> None:
    path = tmp_path / "few.py"
    path.write_text(FEW.format(access))
    space: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    with pytest.raises(tilec.TileError, match="the layout has 32 threads, but the block 128") as caught:
        space["few"].compile("sm_80")
    assert caught.value.loc is not None
    assert (caught.value.loc.file, caught.value.loc.line) == (str(path), 7)


EXCHANGES = [
    ("local(8, 1).spatial(8, 16).local(1, 4)", "local(1, 8).column_spatial(16, 8).local(4, 1)"),  # rows to columns, 64 x 64
    ("local(2, 4).spatial(2, 2).local(2, 1).spatial(8, 4).local(1, 2)", "local(4, 1).spatial(16, 8).local(1, 8)"),  # sums of products to rows
    ("local(4, 1).spatial(16, 8).local(1, 8)", "local(2, 4).spatial(2, 2).local(2, 1).spatial(8, 4).local(1, 2)"),
    ("local(32, 1).spatial(2, 64)", "local(1, 32).column_spatial(64, 2)"),
]


@pytest.mark.parametrize("kind", ["f64", "f32", "f16", "uint8"])
@pytest.mark.parametrize(("source", "wanted"), EXCHANGES)
def test_nobody_waits_for_a_bank(kind: str, source: str, wanted: str) -> None:
    function = tilec.parse(program(kind, source, wanted)).verify()
    for run in (lower_exchanges, lay_out_shared, place_shared):
        function = run(function, ARCH).verify()
    x = np.random.default_rng().integers(0, 100, (64, 64)).astype({"uint8": np.uint8}.get(kind, f"f{int(kind[1:]) // 8}" if kind[0] == "f" else kind))
    y = np.zeros_like(x)
    report = run_ptx(to_ptx(to_llvm(function, ARCH), ARCH), "f", (1,), (function.threads,), [x, y], shared_size(function))
    assert np.array_equal(x, y)
    assert report.findings == []
    assert any(cost.space == "shared" for cost in report.costs)
    assert report.shared_conflicts == 0
