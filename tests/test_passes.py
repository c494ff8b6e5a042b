"""Passes: textual IR in, textual IR out. What is expected was written by hand from what each pass promises."""

import textwrap

import pytest

import tilec
import tilec as tc
from tilec.backend.select import select
from tilec.backend.target import target
from tilec.errors import TileError
from tilec.ir.core import Function
from tilec.ir.layout import parse_layout
from tilec.ir.ops.shape import ConvertLayout
from tilec.passes.fuse import fuse_multiply_add
from tilec.passes.layouts import assign_layouts
from tilec.passes.lower import lower_exchanges
from tilec.passes.pipeline import pipeline
from tilec.passes.shared_memory import lay_out_shared, place_shared, shared_size
from tilec.passes.simplify import simplify
from tilec.passes.widths import choose_widths

TENSORS = "%a: global f32[N], %b: global f32[N], %m: global f32[N, N], %t: global f16[64, 64], %N: i32, %n: i32, %f: f32"


def kernel(body: str, warps: int = 1, params: str = TENSORS) -> Function:
    """A function around some lines; lines that define layouts go before it."""
    lines = textwrap.dedent(body).strip().splitlines()
    head = [line for line in lines if line.startswith("layout ")]
    rest = [line for line in lines if not line.startswith("layout ")]
    return tilec.parse("\n".join([*head, f"kernel @f({params}) warps={warps} {{", *rest, "}"])).verify()


def check(run, before: str, after: str, warps: int = 1, params: str = TENSORS, arch: str = "sm_80") -> None:
    result = run(kernel(before, warps, params), target(arch)).verify()
    assert str(result) == str(kernel(after, warps, params))


# simplify


def test_constants_are_folded_and_what_is_unused_vanishes():
    check(simplify, """
        %0 = constant value=64 dtype=i32 : i32
        %1 = constant value=3 dtype=i32 : i32
        %2 = mul %0, %1 : i32
        %3 = constant value=-5 dtype=i32 : i32
        %4 = floor_div %2, %3 : i32
        %x = load %a, [%4] shape=[] dims=[] : f32
        %y = add %x, %f : f32
        store %b, [%n], %f dims=[]
        store %b, [%4], %f dims=[]
        """, """
        %4 = constant value=-39 dtype=i32 : i32
        store %b, [%n], %f dims=[]
        store %b, [%4], %f dims=[]
        """)  # fmt: skip


def test_folding_rounds_to_the_type_and_wraps():
    check(simplify, """
        %0 = constant value=1.0 dtype=f16 : f16
        %1 = constant value=0.0001 dtype=f16 : f16
        %2 = add %0, %1 : f16
        %3 = constant value=2147483647 dtype=i32 : i32
        %4 = constant value=1 dtype=i32 : i32
        %5 = add %3, %4 : i32
        %6 = cast %2 dtype=f32 : f32
        store %b, [%5], %6 dims=[]
        """, """
        %5 = constant value=-2147483648 dtype=i32 : i32
        %6 = constant value=1.0 dtype=f32 : f32
        store %b, [%5], %6 dims=[]
        """)  # fmt: skip


@pytest.mark.parametrize(("op", "unit"), [("add", 0), ("sub", 0), ("mul", 1), ("floor_div", 1)])
def test_units_of_integers_are_dropped(op, unit):
    check(simplify, f"""
        %0 = constant value={unit} dtype=i32 : i32
        %1 = {op} %n, %0 : i32
        store %b, [%1], %f dims=[]
        """, "store %b, [%n], %f dims=[]")  # fmt: skip


def test_what_is_not_the_operand_itself_stays():
    """-0.0 + 0.0 is 0.0, 0 - n is not n, division by zero is the author's to see."""
    same = """
        %0 = constant value=0.0 dtype=f32 : f32
        %1 = add %f, %0 : f32
        %2 = constant value=0 dtype=i32 : i32
        %3 = sub %2, %n : i32
        store %b, [%3], %1 dims=[]
        %4 = constant value=7 dtype=i32 : i32
        %5 = mod %4, %2 : i32
        store %b, [%5], %1 dims=[]
        """
    check(simplify, same, same)


def test_equal_values_are_one_from_the_outside_in():
    check(simplify, """
        %0 = mul %n, %N : i32
        %1 = mul %n, %N : i32
        %c = lt %0, %1 : bool
        %2 = if %c then={
          %3 = mul %n, %N : i32
          %4 = add %3, %n : i32
          yield [%4]
        } orelse={
          %5 = add %0, %n : i32
          yield [%5]
        } : i32
        %6 = add %1, %n : i32
        %7 = sub %6, %2 : i32
        store %b, [%7], %f dims=[]
        """, """
        %0 = mul %n, %N : i32
        %c = lt %0, %0 : bool
        %2 = if %c then={
          %4 = add %0, %n : i32
          yield [%4]
        } orelse={
          %5 = add %0, %n : i32
          yield [%5]
        } : i32
        %6 = add %0, %n : i32
        %7 = sub %6, %2 : i32
        store %b, [%7], %f dims=[]
        """)  # fmt: skip


def test_constants_that_python_takes_for_equal_stay_apart():
    same = """
        %0 = constant value=0.0 dtype=f32 : f32
        %1 = constant value=-0.0 dtype=f32 : f32
        store %b, [%n], %0 dims=[]
        store %b, [%n], %1 dims=[]
        """
    check(simplify, same, same)


def test_loads_are_not_merged_and_loops_in_vain_vanish():
    check(simplify, """
        %0 = constant value=0 dtype=i32 : i32
        %1 = constant value=1 dtype=i32 : i32
        %x = load %a, [%n] shape=[] dims=[] : f32
        store %a, [%n], %f dims=[]
        %y = load %a, [%n] shape=[] dims=[] : f32
        %z = for %0, %n, %1, [%x] body=(%i: i32, %u: f32) {
          %w = add %u, %y : f32
          yield [%w]
        } : f32
        %s = sub %x, %y : f32
        store %b, [%n], %s dims=[]
        """, """
        %x = load %a, [%n] shape=[] dims=[] : f32
        store %a, [%n], %f dims=[]
        %y = load %a, [%n] shape=[] dims=[] : f32
        %s = sub %x, %y : f32
        store %b, [%n], %s dims=[]
        """)  # fmt: skip


# fuse_multiply_add


def test_products_with_one_use_are_fused():
    check(fuse_multiply_add, """
        %x = load %a, [%n] shape=[8] dims=[0] : f32[8]
        %0 = mul %x, %x : f32[8]
        %y = add %0, %x : f32[8]
        %1 = mul %y, %x : f32[8]
        %z = sub %y, %1 : f32[8]
        %2 = mul %z, %z : f32[8]
        %3 = sub %2, %x : f32[8]
        store %b, [%n], %3 dims=[0]
        """, """
        %x = load %a, [%n] shape=[8] dims=[0] : f32[8]
        %y = fma %x, %x, %x : f32[8]
        %0 = neg %y : f32[8]
        %z = fma %0, %x, %y : f32[8]
        %1 = neg %x : f32[8]
        %3 = fma %z, %z, %1 : f32[8]
        store %b, [%n], %3 dims=[0]
        """)  # fmt: skip


def test_products_used_twice_and_integers_are_not_fused():
    same = """
        %x = load %a, [%n] shape=[8] dims=[0] : f32[8]
        %0 = mul %x, %x : f32[8]
        %y = add %0, %0 : f32[8]
        %i = mul %n, %n : i32
        %j = add %i, %n : i32
        store %b, [%j], %y dims=[0]
        """
    check(fuse_multiply_add, same, same)


# assign_layouts


def test_loads_coalesce_and_constants_follow():
    """32 threads take 16 bytes each side by side, twice; the constant is made where the sum wants it."""
    check(assign_layouts, """
        %c = constant value=1.0 dtype=f32 shape=[256] : f32[256]
        %x = load %a, [%n] shape=[256] dims=[0] : f32[256]
        %y = add %c, %x : f32[256]
        store %b, [%n], %y dims=[0]
        """, """
        layout $L = local(2).spatial(32).local(4)
        %x = load %a, [%n] shape=[256] dims=[0] layout=$L : f32[256; $L]
        %c = constant value=1.0 dtype=f32 shape=[256] layout=$L : f32[256; $L]
        %y = add %c, %x : f32[256; $L]
        store %b, [%n], %y dims=[0]
        """)  # fmt: skip


def test_threads_without_work_hold_copies():
    """64 threads for 32 elements: one each, and the second warp holds them again."""
    check(assign_layouts, """
        %x = load %a, [%n] shape=[32] dims=[0] : f32[32]
        store %b, [%n], %x dims=[0]
        """, """
        layout $L = replicated(2).spatial(32)
        %x = load %a, [%n] shape=[32] dims=[0] layout=$L : f32[32; $L]
        store %b, [%n], %x dims=[0]
        """, warps=2)  # fmt: skip


def test_transposed_loads_coalesce_along_memory():
    """The tile's first axis runs along the contiguous axis of the tensor: vectors and neighbouring threads lie along it."""
    check(assign_layouts, """
        %x = load %m, [%n, %n] shape=[128, 4] dims=[1, 0] : f32[128, 4]
        store %m, [%n, %n], %x dims=[1, 0]
        """, """
        layout $L = local(1, 4).spatial(32, 1).local(4, 1)
        %x = load %m, [%n, %n] shape=[128, 4] dims=[1, 0] layout=$L : f32[128, 4; $L]
        store %m, [%n, %n], %x dims=[1, 0]
        """)  # fmt: skip


def test_a_free_value_is_made_for_each_use():
    """One range, wanted by two tiles that lie differently: made twice, converted never."""
    check(assign_layouts, """
        %i = arange start=0 stop=64 : i32[64]
        %u = cast %i dtype=f32 : f32[64]
        %x = load %a, [%n] shape=[64] dims=[0] : f32[64]
        %y = add %x, %u : f32[64]
        store %b, [%n], %y dims=[0]
        %v = cast %i dtype=f16 : f16[64]
        %z = load %t, [%n, %n] shape=[64] dims=[0] : f16[64]
        %w = add %z, %v : f16[64]
        store %t, [%n, %n], %w dims=[1]
        """, """
        layout $L = spatial(32).local(2)
        %x = load %a, [%n] shape=[64] dims=[0] layout=$L : f32[64; $L]
        %i = arange start=0 stop=64 layout=$L : i32[64; $L]
        %u = cast %i dtype=f32 : f32[64; $L]
        %y = add %x, %u : f32[64; $L]
        store %b, [%n], %y dims=[0]
        %z = load %t, [%n, %n] shape=[64] dims=[0] layout=$L : f16[64; $L]
        %v = cast %i dtype=f16 : f16[64; $L]
        %w = add %z, %v : f16[64; $L]
        store %t, [%n, %n], %w dims=[1]
        """)  # fmt: skip


def test_a_product_takes_the_fragments_of_its_instruction():
    """Expected: the fragments of the PTX ISA for mma.m16n8k16, one instruction for one warp. Rows are loaded as they lie in memory, and go through
    shared memory: the layouts are stated, so that no load offers another."""
    check(assign_layouts, """
        layout $X = spatial(16, 2).local(1, 8)
        layout $Y = spatial(16, 2).local(1, 4)
        %0 = constant value=0 dtype=i32 : i32
        %x = load %t, [%0, %0] shape=[16, 16] dims=[0, 1] layout=$X : f16[16, 16; $X]
        %y = load %t, [%0, %0] shape=[16, 8] dims=[0, 1] layout=$Y : f16[16, 8; $Y]
        %acc = constant value=0.0 dtype=f32 shape=[16, 8] : f32[16, 8]
        %z = dot %x, %y, %acc : f32[16, 8]
        store %m, [%0, %0], %z dims=[0, 1]
        """, """
        layout $X = spatial(16, 2).local(1, 8)
        layout $Y = spatial(16, 2).local(1, 4)
        layout $A = column_local(2, 2).spatial(8, 4).local(1, 2)
        layout $B = local(2, 1).column_spatial(4, 8).local(2, 1)
        layout $C = local(2, 1).spatial(8, 4).local(1, 2)
        %0 = constant value=0 dtype=i32 : i32
        %x = load %t, [%0, %0] shape=[16, 16] dims=[0, 1] layout=$X : f16[16, 16; $X]
        %y = load %t, [%0, %0] shape=[16, 8] dims=[0, 1] layout=$Y : f16[16, 8; $Y]
        %xa = convert_layout %x layout=$A : f16[16, 16; $A]
        %yb = convert_layout %y layout=$B : f16[16, 8; $B]
        %acc = constant value=0.0 dtype=f32 shape=[16, 8] layout=$C : f32[16, 8; $C]
        %z = dot %xa, %yb, %acc : f32[16, 8; $C]
        store %m, [%0, %0], %z dims=[0, 1]
        """.replace("%xa", "%x.1").replace("%yb", "%y.1"))  # fmt: skip


def layouts_of(function: Function) -> dict[str, str]:
    """The layout of every named value."""
    return {v.name: str(v.type.layout) for op in function.walk() for v in op.results if v.name and getattr(v.type, "layout", None)}


def test_a_reduction_keeps_what_is_left_and_broadcasts_go_back():
    """16 rows of 32 on one warp: the threads of a row hold its maximum, and there the broadcast finds it. Nothing is converted."""
    made = assign_layouts(kernel("""
        %x = load %m, [%n, %n] shape=[16, 32] dims=[0, 1] : f32[16, 32]
        %r = max %x axes=[1] : f32[16]
        %k = reshape %r shape=[16, 1] : f32[16, 1]
        %w = broadcast %k shape=[16, 32] : f32[16, 32]
        %y = sub %x, %w : f32[16, 32]
        store %m, [%n, %n], %y dims=[0, 1]
        """), target("sm_80")).verify()  # fmt: skip
    found = layouts_of(made)
    assert found["x"] == "local(4, 1).spatial(4, 8).local(1, 4)"  # 8 threads take a row of 128 bytes
    assert found["r"] == "local(4).spatial(4).replicated(8)"
    assert found["y"] == found["w"] == found["x"]
    assert not [op for op in made.walk() if isinstance(op, ConvertLayout)]


def test_transpose_and_reshape_follow_their_operand():
    found = layouts_of(assign_layouts(kernel("""
        %x = load %m, [%n, %n] shape=[8, 16] dims=[0, 1] : f32[8, 16]
        %y = transpose %x axes=[1, 0] : f32[16, 8]
        %s = reshape %x shape=[128] : f32[128]
        store %m, [%n, %n], %y dims=[1, 0]
        store %a, [%n], %s dims=[0]
        """), target("sm_80")))  # fmt: skip
    assert found == {"x": "spatial(8, 4).local(1, 4)", "y": "column_spatial(4, 8).local(4, 1)", "s": "spatial(32).local(4)"}


def test_a_loop_carries_one_layout():
    """The accumulator starts as a free constant and comes back as the product's: the loop holds the product's layout."""
    made = assign_layouts(kernel("""
        %0 = constant value=0 dtype=i32 : i32
        %1 = constant value=16 dtype=i32 : i32
        %acc = constant value=0.0 dtype=f32 shape=[16, 8] : f32[16, 8]
        %r = for %0, %n, %1, [%acc] body=(%k: i32, %c: f32[16, 8]) {
          %x = load %t, [%0, %k] shape=[16, 16] dims=[0, 1] : f16[16, 16]
          %y = load %t, [%k, %0] shape=[16, 8] dims=[0, 1] : f16[16, 8]
          %z = dot %x, %y, %c : f32[16, 8]
          yield [%z]
        } : f32[16, 8]
        store %m, [%0, %0], %r dims=[0, 1]
        """), target("sm_80")).verify()  # fmt: skip
    found = layouts_of(made)
    assert found["acc"] == found["z"] == found["r"] == "local(2, 1).spatial(8, 4).local(1, 2)"
    assert (found["x"], found["y"]) == ("column_local(2, 2).spatial(8, 4).local(1, 2)", "local(2, 1).column_spatial(4, 8).local(2, 1)")
    assert not [op for op in made.walk() if isinstance(op, ConvertLayout)]


def test_branches_give_one_layout():
    """One side is free, the other was loaded: the result lies as it was loaded."""
    made = assign_layouts(kernel("""
        %c = lt %n, %N : bool
        %r = if %c then={
          %x = load %a, [%n] shape=[128] dims=[0] : f32[128]
          yield [%x]
        } orelse={
          %z = constant value=0.0 dtype=f32 shape=[128] : f32[128]
          yield [%z]
        } : f32[128]
        store %b, [%n], %r dims=[0]
        """), target("sm_80")).verify()  # fmt: skip
    found = layouts_of(made)
    assert found["x"] == found["z"] == found["r"] == "spatial(32).local(4)"
    assert not [op for op in made.walk() if isinstance(op, ConvertLayout)]


def test_a_while_loop_holds_what_it_carries():
    made = assign_layouts(kernel("""
        %x = load %a, [%n] shape=[128] dims=[0] : f32[128]
        %r, %e = while [%x, %n] test=(%u: f32[128], %i: i32) {
          %c = lt %i, %N : bool
          yield [%c]
        } body=(%v: f32[128], %j: i32) {
          %y = add %v, %v : f32[128]
          %k = add %j, %j : i32
          yield [%y, %k]
        } : f32[128], i32
        store %b, [%e], %r dims=[0]
        """), target("sm_80")).verify()  # fmt: skip
    assert layouts_of(made) == dict.fromkeys("xry", "spatial(32).local(4)")


def test_a_stated_layout_binds_the_tile_alone():
    """Views need the stated layout; what follows may lie elsewhere, and is converted once."""
    made = assign_layouts(kernel("""
        layout $G = spatial(32).local(3)
        layout $V = spatial(32).local(4)
        %x = load %w, [%0] shape=[96] dims=[0] layout=$G : uint8[96; $G]
        %v = view %x dtype=int6 layout=$V : int6[128; $V]
        %l = convert_layout %v : int6[128]
        %f = cast %l dtype=f32 : f32[128]
        store %a, [%0], %f dims=[0]
        """, params="%w: global uint8[96], %a: global f32[128], %0: i32"), target("sm_80")).verify()  # fmt: skip
    assert layouts_of(made)["f"] == "spatial(32).local(4)"
    assert not [op for op in made.walk() if isinstance(op, ConvertLayout)]


def test_a_layout_of_another_number_of_threads_is_refused():
    f = kernel("%x = load %a, [%n] shape=[64] dims=[0] layout=spatial(64) : f32[64; spatial(64)]\nstore %b, [%n], %x dims=[0]")
    with pytest.raises(TileError, match="the layout has 64 threads, but the block 32"):
        assign_layouts(f, target("sm_80"))


# lower_exchanges


def test_a_conversion_goes_through_shared_memory_between_barriers():
    check(lower_exchanges, """
        %y = convert_layout %x layout=local(2).spatial(64) : f32[128; local(2).spatial(64)]
        store %a, [%n], %y dims=[0]
        """, """
        layout $S = shared(shape=[128], strides=[1])
        %0 = shared dtype=f32 shape=[128] layout=$S scratch=true : shared f32[128; $S]
        %1 = constant value=0 dtype=i32 : i32
        sync
        store_shared %0, [%1], %x dims=[0]
        sync
        %y = load_shared %0, [%1] shape=[128] dims=[0] layout=local(2).spatial(64) : f32[128; local(2).spatial(64)]
        store %a, [%n], %y dims=[0]
        """, warps=2, params="%x: f32[128; spatial(64).local(2)], %a: global f32[64], %n: i32")  # fmt: skip


def test_a_conversion_within_warps_is_a_few_shuffles():
    before = "%y = convert_layout %x layout=local(2).spatial(32) : f32[64; local(2).spatial(32)]"
    after = "%y = convert_lanes %x layout=local(2).spatial(32) : f32[64; local(2).spatial(32)]"
    check(lower_exchanges, before, after, params="%x: f32[64; spatial(32).local(2)]")


def test_a_conversion_within_threads_stays():
    same = "%y = convert_layout %x layout=column_local(2, 2).spatial(32, 1) : f32[64, 2; column_local(2, 2).spatial(32, 1)]"
    check(lower_exchanges, same, same, params="%x: f32[64, 2; local(2, 2).spatial(32, 1)]")


def test_a_reduction_goes_from_registers_to_lanes():
    check(lower_exchanges, "%z = sum %x axes=[0] : f32", """
        %2 = reduce_registers %x axes=[0] kind="sum" : f32[32; spatial(32)]
        %3 = reduce_lanes %2 axes=[0] kind="sum" : f32[1; replicated(32).local(1)]
        %z = reshape %3 shape=[] : f32
        """, params="%x: f32[64; spatial(32).local(2)]")  # fmt: skip


def test_a_reduction_over_warps_ends_in_every_thread():
    """4 warps: a value each after the lanes, all four in each thread after shared memory."""
    check(lower_exchanges, "%z = max %x axes=[0] : f32", """
        layout $W = spatial(4).replicated(32)
        layout $S = shared(shape=[4], strides=[1])
        %0 = reduce_registers %x axes=[0] kind="max" : f32[128; spatial(128)]
        %1 = reduce_lanes %0 axes=[0] kind="max" : f32[4; $W]
        %2 = shared dtype=f32 shape=[4] layout=$S scratch=true : shared f32[4; $S]
        %3 = constant value=0 dtype=i32 : i32
        sync
        store_shared %2, [%3], %1 dims=[0]
        sync
        %4 = load_shared %2, [%3] shape=[4] dims=[0] layout=replicated(128).local(4) : f32[4; replicated(128).local(4)]
        %5 = reduce_registers %4 axes=[0] kind="max" : f32[1; replicated(128).local(1)]
        %z = reshape %5 shape=[] : f32
        """, warps=4, params="%x: f32[128; spatial(128)]")  # fmt: skip


def test_lanes_are_exchanged_in_powers_of_two():
    """96 threads hold 24 elements: 8 of them are neighbours in a warp, the 3 groups of 8 go through shared memory."""
    made = lower_exchanges(kernel("%z = sum %x axes=[0] : i32", 3, "%x: i32[24; replicated(4).spatial(24)]"), target("sm_80")).verify()
    lanes = next(op for op in made.walk() if op.mnemonic == "reduce_lanes")
    assert lanes.masks() == [1, 2, 4]
    assert lanes.result.type.layout == parse_layout("replicated(4).spatial(3).replicated(8)")


# shared memory


def test_tiles_are_laid_out_for_their_accesses():
    """Rows of 64 f16 are 128 bytes, and all rows of a column of 16-byte chunks start in one bank: the chunk's number, bits 3 to 5 of the
    element's offset, is XORed with the row's number modulo 8, bits 6 to 8. A tile that is read and written by rows stays as it is."""
    check(lay_out_shared, """
        layout $R = local(16, 1).spatial(4, 8).local(1, 8)
        layout $C = local(2, 8).spatial(32, 1).local(1, 8)
        %0 = constant value=0 dtype=i32 : i32
        %x = constant value=0.0 dtype=f16 shape=[64, 64] layout=$R : f16[64, 64; $R]
        %s = shared dtype=f16 shape=[64, 64] : shared f16[64, 64]
        %u = shared dtype=f16 shape=[64, 64] : shared f16[64, 64]
        store_shared %s, [%0, %0], %x dims=[0, 1]
        store_shared %u, [%0, %0], %x dims=[0, 1]
        %y = load_shared %u, [%0, %0] shape=[64, 64] dims=[0, 1] layout=$C : f16[64, 64; $C]
        """, """
        layout $R = local(16, 1).spatial(4, 8).local(1, 8)
        layout $C = local(2, 8).spatial(32, 1).local(1, 8)
        layout $P = shared(shape=[64, 64], strides=[64, 1])
        layout $M = shared(shape=[64, 64], strides=[64, 1], swizzle=[3, 3, 3])
        %0 = constant value=0 dtype=i32 : i32
        %x = constant value=0.0 dtype=f16 shape=[64, 64] layout=$R : f16[64, 64; $R]
        %s = shared dtype=f16 shape=[64, 64] layout=$P : shared f16[64, 64; $P]
        %u = shared dtype=f16 shape=[64, 64] layout=$M : shared f16[64, 64; $M]
        store_shared %s, [%0, %0], %x dims=[0, 1]
        store_shared %u, [%0, %0], %x dims=[0, 1]
        %y = load_shared %u, [%0, %0] shape=[64, 64] dims=[0, 1] layout=$C : f16[64, 64; $C]
        """)  # fmt: skip


PLACED = """
    layout $L = shared(shape=[300], strides=[1])
    %s = shared dtype=f32 shape=[300] layout=$L {} : shared f32[300; $L]
    %x = shared dtype=uint8 shape=[300] layout=$L scratch=true {} : shared uint8[300; $L]
    %u = shared dtype=int4 shape=[300] layout=$L {} : shared int4[300; $L]
    %y = shared dtype=f32 shape=[300] layout=$L scratch=true {} : shared f32[300; $L]
    """


def test_tiles_lie_apart_and_scratch_shares_its_place():
    """1200 bytes round up to 2048; int4 lies in a byte each; both scratch tiles begin behind it, and end at 3072 + 1200 bytes."""
    check(place_shared, PLACED.format("", "", "", ""), PLACED.format("offset=0", "offset=3072", "offset=2048", "offset=3072"))
    assert shared_size(place_shared(kernel(PLACED.format("", "", "", "")), target("sm_80"))) == 3072 + 1200


BIG = """
    layout $L = shared(shape=[40000], strides=[1])
    %first = shared dtype=f32 shape=[40000] layout=$L : shared f32[40000; $L] at "k.py":3:5-9
    %second = shared dtype=uint8 shape=[40000] layout=$L : shared uint8[40000; $L] at "k.py":4:5-9
    """


def test_too_much_shared_memory_names_the_tiles():
    """sm_80 grants 163 KiB (166912 bytes) to a block; 160768 + 40000 are wanted. sm_90 grants 227 KiB (232448)."""
    with pytest.raises(TileError) as caught:
        place_shared(kernel(BIG), target("sm_80"))
    text = str(caught.value)
    assert "200768" in text
    assert "166912" in text or "163" in text
    notes = [(note, loc.line) for note, loc in caught.value.notes]
    assert notes == [("160000 bytes: shared tile first, shared f32[40000]", 3), ("40000 bytes: shared tile second, shared uint8[40000]", 4)]


@tc.kernel(warps=4)
def exchanging(x: tc.f32[200, 256], y: tc.f32[200, 256], z: tc.f32[256]):
    tc.grid(1)
    s = tc.shared(tc.f32, [100, 256])
    tc.store(s, tc.load(x, [0, 0], [100, 256]))
    tc.sync()
    v = tc.load(x, [0, 0], [200, 256])
    tc.store(z, [0], tc.sum(v, axis=0) + tc.sum(tc.load(s), axis=0) + tc.sum(v))
    tc.store(y, [0, 0], tc.cumsum(v, axis=0))


def test_scratch_is_among_what_is_too_much():
    """200 rows of 256 numbers are 204800 bytes; the sums of the 4 warps join in one row, in the same place."""
    with pytest.raises(TileError) as caught:
        exchanging.compile("sm_80")
    texts = [text for text, _ in caught.value.notes]
    assert caught.value.message.startswith(f"{100 * 1024 + 200 * 1024} bytes of shared memory")
    assert texts[:2] == [
        "102400 bytes: shared tile s, shared f32[100, 256]",
        "204800 bytes: scratch for a change of layout, shared f32[200, 256]",
    ]
    assert "16 bytes: scratch for a change of layout, shared f32[1, 4], in the place of the largest scratch" in texts[2:]
    place_shared(kernel(BIG), target("sm_90a"))


def test_too_many_threads_are_refused():
    with pytest.raises(TileError, match="1056"):
        place_shared(kernel("", warps=33), target("sm_80"))


# select


FRAGMENTS = """
    layout $A = column_local(2, 2).spatial(8, 4).local(1, 2)
    layout $B = local(2, 1).column_spatial(4, 8).local(2, 1)
    layout $C = local(2, 1).spatial(8, 4).local(1, 2)
    """
OPERANDS = "%x: {0}[16, 16; column_local(2, 2).spatial(8, 4).local(1, 2)], %y: {0}[16, 8; local(2, 1).column_spatial(4, 8).local(2, 1)]"


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_a_product_of_fragments_is_an_instruction(dtype):
    body = FRAGMENTS + "%z = {} %x, %y, %c : f32[16, 8; $C]"
    params = OPERANDS.format(dtype) + ", %c: f32[16, 8; local(2, 1).spatial(8, 4).local(1, 2)]"
    check(select, body.format("dot"), body.format(f"mma.m16n8k16.f32.{dtype}"), params=params)


def test_a_product_of_other_tiles_stays():
    same = "%z = dot %x, %y, %c : f32[8, 4; spatial(8, 4)]"
    params = "%x: f32[8, 2; spatial(8, 1).replicated(4).local(1, 2)], %y: f32[2, 4; replicated(8).spatial(1, 4).local(2, 1)], %c: f32[8, 4; spatial(8, 4)]"
    check(select, same, same, params=params)


LOADED = """
    layout $M = shared(shape=[16, 64], strides=[64, 1], swizzle=[3, 3, 3])
    layout $A = column_local(2, 2).spatial(8, 4).local(1, 2)
    %s = shared dtype=f16 shape=[16, 64] layout=$M : shared f16[16, 64; $M]
    %0 = constant value=0 dtype=i32 : i32
    %1 = constant value={} dtype=i32 : i32
    %x = {} %s, [%0, %1] shape=[16, 16] dims=[0, 1] layout=$A : f16[16, 16; $A]
    """


def test_fragments_are_loaded_by_ldmatrix_where_rows_are_aligned():
    check(select, LOADED.format(8, "load_shared"), LOADED.format(8, "ldmatrix"))
    check(select, LOADED.format(4, "load_shared"), LOADED.format(4, "load_shared"))


# pipeline


LOOP = """
    %0 = constant value=0 dtype=i32 : i32
    %1 = constant value=64 dtype=i32 : i32
    %acc = constant value=0.0 dtype=f32 shape=[64] : f32[64]
    %r = for %0, %N, %1, [%acc] stages={} body=(%k: i32, %c: f32[64]) {{
      %x = load %a, [%k] shape=[64] dims=[0] : f32[64]
      {}
      %y = add %c, %x : f32[64]
      yield [%y]
    }} : f32[64]
    store %b, [%n], %r dims=[0]
    """


def test_a_pipelined_loop_copies_a_round_ahead():
    check(pipeline, LOOP.format(2, ""), """
        %0 = constant value=0 dtype=i32 : i32
        %1 = constant value=64 dtype=i32 : i32
        %acc = constant value=0.0 dtype=f32 shape=[64] : f32[64]
        %x = shared dtype=f32 shape=[2, 64] : shared f32[2, 64]
        %2 = constant value=0 dtype=i32 : i32
        %3 = constant value=0 dtype=i32 : i32
        %4 = shared_view %x, [%2, %3] shape=[64] strides=[1] : shared f32[64]
        copy_async %4, %a, [%0] dims=[0]
        commit
        %5 = constant value=0 dtype=i32 : i32
        %6 = constant value=1 dtype=i32 : i32
        %r, %7, %8 = for %0, %N, %1, [%acc, %5, %6] buffers=0 body=(%k: i32, %c: f32[64], %now: i32, %then: i32) {
          wait
          sync
          %9 = constant value=1 dtype=i32 : i32
          %10 = mul %1, %9 : i32
          %11 = add %k, %10 : i32
          %12 = constant value=0 dtype=i32 : i32
          %13 = shared_view %x, [%then, %12] shape=[64] strides=[1] : shared f32[64]
          copy_async %13, %a, [%11] dims=[0]
          commit
          %14 = constant value=0 dtype=i32 : i32
          %15 = shared_view %x, [%now, %14] shape=[64] strides=[1] : shared f32[64]
          %16 = constant value=0 dtype=i32 : i32
          %x.1 = load_shared %15, [%16] shape=[64] dims=[0] : f32[64]
          %y = add %c, %x.1 : f32[64]
          %17 = constant value=1 dtype=i32 : i32
          %18 = add %now, %17 : i32
          %19 = constant value=2 dtype=i32 : i32
          %20 = eq %18, %19 : bool
          %21 = constant value=0 dtype=i32 : i32
          %22 = where %20, %21, %18 : i32
          yield [%y, %22, %now]
        } : f32[64], i32, i32
        wait
        store %b, [%n], %r dims=[0]
        """)  # fmt: skip


ROWS = """
    %0 = constant value=0 dtype=i32 : i32
    %1 = constant value=64 dtype=i32 : i32
    %acc = constant value=0.0 dtype=f32 shape=[8, 64] : f32[8, 64]
    %r = for %0, %N, %1, [%acc] stages=2 body=(%k: i32, %c: f32[8, 64]) {
      %x = load %m, [%n, %k] shape=[8, 64] dims=[0, 1] : f32[8, 64]
      %y = add %c, %x : f32[8, 64]
      yield [%y]
    } : f32[8, 64]
    store %m, [%n, %0], %r dims=[0, 1]
    """


def twice(function):
    """The ops before the branch, and what its sides consist of."""
    ops = pipeline(function, target("sm_80")).verify().body.ops
    *before, branch, store = [op for op in ops if op.mnemonic != "constant"]
    assert store.value is branch.result
    assert branch.condition is before[-1].result
    return before, [[op.mnemonic for op in region.walk()] for region in (branch.then, branch.orelse)]


def test_a_loop_over_rows_that_may_not_be_aligned_is_there_twice():
    """4 elements of 4 bytes are 16 bytes: the extent decides, once, before the loop. Each element by itself can be copied, too."""
    (memory, rest, fact), kinds = twice(kernel(ROWS))
    assert (memory.mnemonic, rest.mnemonic, fact.mnemonic) == ("shared", "mod", "eq")
    assert rest.x.name == "N"
    assert rest.y.owner.value == 4
    assert fact.y.owner.value == 0
    assert kinds[0] == kinds[1]
    assert "copy_async" in kinds[0]
    assert "load" not in kinds[0]


def test_rows_that_hold_no_multiples_of_4_bytes_are_loaded():
    """8 elements of 2 bytes are 16 bytes; of rows of any length nothing can be copied at once."""
    (_, rest, _), kinds = twice(kernel(ROWS.replace("f32", "f16"), params=TENSORS.replace("f32", "f16")))
    assert rest.y.owner.value == 8
    assert "copy_async" in kinds[0]
    assert "load" not in kinds[0]
    assert kinds[1] == ["for", "load", "add", "yield", "yield"]


def test_a_loop_over_rows_known_to_be_aligned_is_there_once():
    whole = kernel(ROWS.replace("%N,", "%1,"), params=TENSORS.replace("f32[N, N]", "f32[N, 64]"))
    assert not any(op.mnemonic == "if" for op in pipeline(whole, target("sm_80")).walk())


def test_a_loop_that_writes_what_it_loads_is_not_pipelined():
    write = "store %a, [%k], %c dims=[0]"
    with pytest.warns(UserWarning, match="stages=2 is not done: no load of the loop can start rounds ahead: the loop writes a"):
        check(pipeline, LOOP.format(2, write), LOOP.format(1, write))


# widths

COPIED = """
    %0 = constant value=0 dtype=i32 : i32
    %s = shared dtype=f32 shape=[8, 64] : shared f32[8, 64]
    copy_async %s, %m, [%n, %0] dims=[0, 1]
    """
EITHER_WAY = """
    %0 = constant value=0 dtype=i32 : i32
    %s = shared dtype=f32 shape=[8, 64] : shared f32[8, 64]
    %1 = constant value=4 dtype=i32 : i32
    %2 = mod %N, %1 : i32
    %3 = constant value=0 dtype=i32 : i32
    %4 = eq %2, %3 : bool
    if %4 then={
      copy_async %s, %m, [%n, %0] dims=[0, 1]
      yield []
    } orelse={
      copy_async %s, %m, [%n, %0] dims=[0, 1]
      yield []
    }
    """


def test_a_copy_of_rows_that_may_be_aligned_is_there_twice():
    check(choose_widths, COPIED, EITHER_WAY)


def test_what_was_asked_is_not_asked_again():
    check(choose_widths, EITHER_WAY, EITHER_WAY)


def test_a_copy_whose_width_is_known_or_that_is_none_stays():
    for given in (COPIED.replace("dims=[0, 1]", "dims=[1, 0]"), COPIED.replace("f32", "f16")):
        check(choose_widths, given, given, params=TENSORS.replace("f32", "f16") if "f16" in given else TENSORS)
