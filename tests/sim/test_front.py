"""Reading PTX: the parser, the strictness of the table, and what is refused before anything runs."""


import numpy as np
import pytest

from tilec.errors import TileError
from tilec.sim import Unsupported, run_ptx
from tilec.sim.parse import Addr, Imm, Name, Not, Pair, Vec, parse
from tilec.sim.table import TABLE, lookup

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def kernel(body, params=".param .u64 y", head=""):
    return f"{HEAD}{head}\n.visible .entry k({params}) {{\n{body}\nret;\n}}\n"


def run(body, y, threads=32, blocks=1, params=".param .u64 y", more=(), head="", **options):
    return run_ptx(kernel(body, params, head), "k", blocks, threads, [y, *more], **options)


STORE = """
.reg .b64 %rd<9>; .reg .b32 %t;
ld.param.u64 %rd1, [y]; mov.u32 %t, %tid.x; mul.wide.u32 %rd2, %t, 4; add.s64 %rd3, %rd1, %rd2;
"""


def test_operands():
    module = parse(kernel("@!%p1 fake.x [%rd1+-8], {%r1, %r2}, %r3|%p2, !%p3, 0f3F800000, -5, 0x1F, s+4;"))
    (i, _) = module.functions["k"].body
    assert (i.guard, i.negated, i.opcode) == ("%p1", True, "fake.x")
    assert i.operands == (
        Addr(Name("%rd1"), -8), Vec((Name("%r1"), Name("%r2"))), Pair(Name("%r3"), Name("%p2")), Not(Name("%p3")),
        Imm(0x3F800000, "f32"), Imm(-5), Imm(31), Name("s", 4),
    )  # fmt: skip


def test_nested_scopes_have_their_own_registers_and_labels():
    y = np.zeros(32, np.int32)
    body = STORE + """
    .reg .b32 %r; .reg .pred %p;
    mov.b32 %r, 1;
    { .reg .b32 %r; mov.b32 %r, 50; setp.lt.s32 %p, %r, 60; @%p bra DONE; mov.b32 %r, 7; DONE: st.global.u32 [%rd3], %r; }
    { setp.eq.s32 %p, %t, 3; @%p bra DONE; st.global.u32 [%rd3], %r; DONE: }
    """
    run(body, y)
    assert y.tolist() == [50 if t == 3 else 1 for t in range(32)]


def test_text_that_no_compiler_leaves_out():
    y = np.zeros(32, np.int32)
    text = kernel(STORE + ".pragma \"nounroll\";\n.loc 1 3 5\nst.global.b32 [ %rd3 + 0 ], { %t };", head="""
    .file 1 "a.cu" // comment
    .extern .shared .align 16 .b8 smem[];
    .global .align 4 .u32 table[2] = {1, 0x2};
    /* a
    comment */
    .weak .func (.param .b32 r) unused (.param .b64 a) ;
    .section .debug_abbrev { .b8 1 .b8 2 }
    """) + "\0"  # fmt: skip
    report = run_ptx(text, "k", 1, 32, [y])
    assert y.tolist() == list(range(32))
    assert report.costs[-2].site.file == "a.cu"
    assert report.costs[-2].site.line == 3


@pytest.mark.parametrize(
    "opcode",
    ["add.f32.sat", "add.rq.f32", "ld.global.f16", "cvt.rn.s32.f32", "mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32",
     "setp.foo.s32", "shfl.sync.bfly.b64", "nosuch.u32", "atom.global.add.b32", "fma.f64", "mul.f32.wide"],
)  # fmt: skip
def test_a_modifier_that_is_not_in_the_table_is_named_and_nothing_runs(opcode):
    y = np.zeros(32, np.int32)
    with pytest.raises(Unsupported) as error:
        run(STORE + f"st.global.u32 [%rd3], %t;\n{opcode} %t, %t, %t;", y)
    assert opcode in str(error.value)
    assert error.value.opcodes == (opcode,)
    assert not y.any()


def test_every_row_matches_its_own_shortest_and_longest_form():
    for opcode, rows in TABLE.items():
        for row in rows:
            for choose in (min, max):
                parts = [opcode]
                for slot in row.orders[0]:
                    if not slot.optional or choose is max:
                        parts.append(slot.words[0] if slot.words else slot.name)
                if row.where is None:
                    assert row.match(tuple(parts[1:])) is not None, parts


def test_order_of_modifiers_is_kept_except_where_the_manual_frees_it():
    assert lookup("add.rn.ftz.f32")
    assert not lookup("add.ftz.rn.f32")
    assert lookup("atom.acq_rel.gpu.global.add.u32")
    assert lookup("atom.global.gpu.acq_rel.add.u32")


@pytest.mark.parametrize(
    ("text", "words"),
    [("no ptx at all", "no PTX"), (kernel("mov.b32 %x, 1;"), "%x is not declared"),
     (kernel(".reg .b32 %r;\nadd.s32 %r, %r;"), "3 operands"), (kernel("bra NOWHERE;"), "NOWHERE")],
)  # fmt: skip
def test_what_is_no_ptx_is_an_error_with_its_line(text, words):
    with pytest.raises(TileError) as error:
        run_ptx(text, "k", 1, 32, [np.zeros(1)])
    assert words in str(error.value)
    assert error.value.loc is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [({"grid": 0}, "positive"), ({"block": 2048}, "1024"), ({"entry": "nope"}, "no kernel named"), ({"args": []}, "1 parameters"),
     ({"args": ["x"]}, "parameter y")],
)  # fmt: skip
def test_wrong_calls(options, words):
    given = {"ptx_text": kernel(STORE), "entry": "k", "grid": 1, "block": 32, "args": [np.zeros(1)]} | options
    with pytest.raises(TileError, match=words):
        run_ptx(**given)


def test_a_long_text_is_parsed_whole():
    body = ".reg .b32 %r<9>;\n" + "\n".join(f"mad.lo.s32 %r{i % 8}, %r{i % 7}, {i}, %r1; // {i}" for i in range(5000))
    text = kernel(body)
    module = parse(text)
    assert module.entries() == ["k"]
    assert text.count("mad.lo") == 5000
    with pytest.raises(TileError, match="4999"):
        parse(text.replace("4999, %r1;", "4999, %r1"))


def test_scalars_by_type():
    y = np.zeros(4, np.uint32)
    body = """.reg .b64 %rd; .reg .b32 %r<5>; .reg .b16 %h; ld.param.u64 %rd, [y]; ld.param.f32 %r1, [a]; ld.param.s32 %r2, [b];
    ld.param.s8 %h, [c]; cvt.s32.s16 %r3, %h; ld.param.b32 %r4, [d+4]; st.global.v4.b32 [%rd], {%r1, %r2, %r3, %r4};"""
    params = ".param .u64 y, .param .f32 a, .param .s32 b, .param .s8 c, .param .align 4 .b8 d[8]"
    run_ptx(kernel(body, params), "k", 1, 1, [y, 1.5, -2, -3, bytes([0, 0, 0, 0, 1, 2, 0, 0])])
    assert y.tolist() == [0x3FC00000, 2**32 - 2, 2**32 - 3, 0x201]
