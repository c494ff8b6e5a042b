"""The machine: divergence, barriers, fairness, deadlock, memories, and undefined values, on PTX written by hand."""

import numpy as np
import pytest

from .test_front import STORE, kernel, run


def kinds(report):
    return [f.kind for f in report.findings]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_divergent_loops_rejoin(seed):
    """Thread t adds up 0..t-1 in its own number of rounds, then the warp shuffles."""
    y = np.zeros(64, np.int32)
    body = STORE + """
    .reg .b32 %i, %s, %o; .reg .pred %p;
    mov.u32 %i, 0; mov.u32 %s, 0;
    LOOP: setp.ge.s32 %p, %i, %t; @%p bra OUT; add.s32 %s, %s, %i; add.s32 %i, %i, 1; bra LOOP;
    OUT: shfl.sync.bfly.b32 %o, %s, 1, 31, -1; st.global.u32 [%rd3], %o;
    """
    report = run(body, y, threads=64, seed=seed)
    assert y.tolist() == [(t ^ 1) * ((t ^ 1) - 1) // 2 for t in range(64)]
    assert report.findings == []


@pytest.mark.parametrize(("op", "type_", "want"), [("popc.u32", ".b32", 20), ("and.pred", ".pred", 0), ("or.pred", ".pred", 1)])
def test_barrier_reductions(op, type_, want):
    y = np.zeros(96, np.int32)
    out = "mov.b32 %r, %d;" if type_ == ".b32" else "selp.b32 %r, 1, 0, %d;"
    body = STORE + f".reg .pred %p; .reg {type_} %d; .reg .b32 %r; setp.lt.u32 %p, %t, 20; bar.red.{op} %d, 0, %p; {out}"
    body += "st.global.u32 [%rd3], %r;"
    assert run(body, y, threads=96).findings == []
    assert (y == want).all()


def test_named_barriers_let_producers_run_ahead():
    """Warp 0 fills a buffer that warp 1 reads, by bar.arrive and bar.sync in both directions."""
    y = np.zeros(64, np.int32)
    body = STORE + """
    .reg .b32 %i, %v, %a; .reg .pred %p, %w; .shared .align 4 .b8 s[128];
    and.b32 %a, %t, 31; shl.b32 %a, %a, 2; mov.b32 %v, s; add.s32 %a, %a, %v; setp.ge.u32 %w, %t, 32; mov.b32 %i, 0; @%w bra CONSUMER;
    P: bar.sync 1, 64; add.s32 %v, %t, %i; st.shared.u32 [%a], %v; bar.arrive 2, 64; add.s32 %i, %i, 10;
    setp.lt.s32 %p, %i, 30; @%p bra P; bra END;
    CONSUMER: bar.arrive 1, 64; .reg .b32 %s; mov.b32 %s, 0;
    C: bar.sync 2, 64; ld.shared.u32 %v, [%a]; add.s32 %s, %s, %v; add.s32 %i, %i, 10;
    setp.lt.s32 %p, %i, 30; @!%p bra D; bar.arrive 1, 64; bra C;
    D: st.global.u32 [%rd3], %s;
    END:
    """
    assert run(body, y, threads=64).findings == []
    assert y.tolist() == [0] * 32 + [3 * t + 30 for t in range(32)]
    report = run(body.replace("bar.sync 2, 64; ld", "ld"), y, threads=64)
    assert "race" in kinds(report)


def test_deadlock_says_who_waits_where():
    body = STORE + ".reg .pred %p; setp.lt.u32 %p, %t, 32; @%p bra A; bar.sync 2, 64; A: st.global.u32 [%rd3], %t;"
    report = run(body, np.zeros(64, np.int32), threads=64)
    (f,) = report.of("deadlock")
    assert "threads 32..63 wait at barrier 2" in f.message
    assert "for 64 threads" in f.message


@pytest.mark.parametrize(("body", "message"), [
    ("bar.arrive 1, 96; bar.sync 1, 96;", "thread 0 of block 0 comes to barrier 1 again before it is complete"),
    ("bar.sync 1, 32;", "64 threads of block 0 come to barrier 1, which counts 32"),
])  # fmt: skip
def test_more_come_to_a_barrier_than_it_counts(body, message):
    report = run(STORE + body + " st.global.u32 [%rd3], %t;", np.zeros(64, np.int32), threads=64)
    assert message in [f.message for f in report.of("barrier")]


def test_endless_loop_is_a_deadlock():
    body = STORE + ".reg .b32 %v; .reg .pred %p; L: ld.volatile.global.u32 %v, [%rd1]; setp.eq.s32 %p, %v, 0; @%p bra L;"
    assert kinds(run(body, np.zeros(1, np.int32))) == ["deadlock"]


COUNT = STORE + ".reg .b32 %i; .reg .pred %p; mov.b32 %i, 0; L: add.s32 %i, %i, 1; setp.lt.s32 %p, %i, 5000; @%p bra L;"


def test_a_loop_that_only_counts_is_none():
    y = np.zeros(32, np.int32)
    assert run(COUNT + "st.global.u32 [%rd3], %i;", y).findings == []
    assert (y == 5000).all()


def test_steps_are_limited():
    (f,) = run(COUNT, np.zeros(32, np.int32), max_steps=1000).findings
    assert f.kind == "limit"
    assert "in block 0 threads 0..31 at PTX line" in f.message


SPINS = {
    "compare and swap": "L: atom.global.cas.b32 %v, [%rd1], 1, 2; setp.eq.s32 %p, %v, 0; @%p bra L;",
    "add nothing": "L: atom.global.add.u32 %v, [%rd1], 0; setp.eq.s32 %p, %v, 0; @%p bra L;",
    "sleep longer and longer": """.reg .b32 %k; mov.b32 %k, 1; L: nanosleep.u32 %k; shl.b32 %k, %k, 1; min.u32 %k, %k, 256;
        ld.acquire.gpu.global.u32 %v, [%rd1]; setp.eq.s32 %p, %v, 0; @%p bra L;""",
    "look at the clock": ".reg .b64 %c; L: mov.u64 %c, %clock64; ld.volatile.global.u32 %v, [%rd1]; setp.eq.s32 %p, %v, 0; @%p bra L;",
    "an mbarrier that waits for more": """.shared .align 8 .b64 bar; .reg .b32 %b; .reg .b64 %s; mov.b32 %b, bar; setp.eq.u32 %p, %t, 0;
        @%p mbarrier.init.shared.b64 [%b], 70; bar.sync 0; mbarrier.arrive.shared.b64 %s, [%b]; L: mbarrier.try_wait.shared.b64 %p, [%b], %s; @!%p bra L;""",
    "two loops": """L: ld.volatile.global.u32 %v, [%rd1]; setp.ne.s32 %p, %v, 0; @%p bra X; M: ld.volatile.global.u32 %v, [%rd1+4];
        setp.eq.s32 %p, %v, 0; @%p bra L; X:""",
}  # fmt: skip


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("name", SPINS)
def test_waiting_for_what_nobody_writes_is_a_deadlock(name, seed):
    report = run(STORE + ".reg .b32 %v; .reg .pred %p; " + SPINS[name], np.zeros(64, np.int32), threads=64, seed=seed, max_steps=20000)
    assert set(kinds(report)) == {"deadlock"}
    assert "spin for ever" in report.findings[0].message


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("threads", [32, 64])
def test_blocks_whose_first_threads_wait_for_one_another(threads, seed):
    """The others stand at a barrier, which wants whole warps: they can't run, and must not be waited for."""
    body = """.reg .b32 %v, %b; .reg .b64 %mine; .reg .pred %p; mov.u32 %b, %ctaid.x; mul.wide.u32 %mine, %b, 4; add.s64 %mine, %rd1, %mine;
        setp.ne.u32 %p, %t, 0; @%p bra B; L: ld.acquire.gpu.global.b32 %v, [%mine]; setp.eq.s32 %p, %v, 0; @%p bra L;
        B: bar.sync 0; st.global.b32 [%mine+4], 1;"""
    report = run(STORE + body, np.zeros(64, np.int32), blocks=2, threads=threads, seed=seed, max_steps=20000)
    assert set(kinds(report)) == {"deadlock"}
    assert "blocks 0..1: threads 0 spin for ever" in report.findings[0].message


def test_spinners_and_those_who_wait_for_them_are_both_told():
    body = """.reg .b32 %v; .reg .pred %p; setp.lt.u32 %p, %t, 32; @%p bra B; L: ld.volatile.global.u32 %v, [%rd1]; setp.eq.s32 %p, %v, 0; @%p bra L;
        B: bar.sync 0;"""
    spin, wait = run(STORE + body, np.zeros(64, np.int32), threads=64).findings
    assert "threads 32..63 spin" in spin.message
    assert "threads 0..31 wait at barrier 0; not there: 32..63" in wait.message


MEET = """.shared .align 4 .b8 s[128]; .reg .b32 %b, %a, %c, %v; .reg .pred %q; mov.b32 %b, s; shl.b32 %a, %t, 2; add.u32 %a, %a, %b; xor.b32 %c, %a, {other};
    setp.lt.u32 %q, %t, 16; {first} {sync} {second} """
HALVES = "@%q bar.warp.sync 0xffff; @!%q bar.warp.sync 0xffff0000;"
CHAIN = "@%q bar.warp.sync 0xffff; .reg .pred %m; sub.u32 %v, %t, 8; setp.lt.u32 %m, %v, 16; @%m bar.warp.sync 0xffff00; @!%q bar.warp.sync 0xffff0000;"


@pytest.mark.parametrize("order", ["write read", "read write"])
@pytest.mark.parametrize(
    ("other", "sync", "race"),
    [(4, HALVES, False), (64, HALVES, True), (4, "@%q bar.warp.sync 0xffff;", True), (64, "bar.warp.sync -1;", False), (4, "", True),
     (64, HALVES + "bar.warp.sync -1;", False), (64, "bar.warp.sync -1;" + HALVES, False)],
)  # fmt: skip
def test_lanes_are_ordered_that_met(other, sync, race, order):
    write, read = "st.shared.u32 [%a], %t;", "ld.shared.u32 %v, [%c]; st.global.u32 [%rd3], %v;"
    first, second = (write, read) if order == "write read" else ("st.shared.u32 [%a], 7; bar.sync 0; " + read, write)
    report = run(STORE + MEET.format(other=other, sync=sync, first=first, second=second), np.zeros(32, np.int32))
    assert kinds(report) == ["race"] * race


def test_lanes_that_met_tell_whom_they_met_before():
    """Lanes 0..15 meet, then 8..23, then 16..31: so 16..31 know what 0..15 wrote, but not the other way round."""
    write, read = "@{0}%q st.shared.u32 [%a], %t;", "@{0}%q ld.shared.u32 %v, [%c];"
    for writers, readers, race in (("", "!", False), ("!", "", True)):
        body = MEET.format(other=64, sync=CHAIN, first=write.format(writers), second=read.format(readers))
        assert kinds(run(STORE + body, np.zeros(32, np.int32))) == ["race"] * race


def test_a_semaphore_is_reset_after_all_have_released_it():
    body = """.reg .pred %p<4>; .reg .b32 %r<4>; ld.param.u64 %rd4, [n]; mov.u32 %r1, %ctaid.x; setp.ne.u32 %p2, %t, 0; @%p2 bra E;
        setp.eq.u32 %p1, %r1, 0; @%p1 bra L; {release} bra E; L: ld.acquire.gpu.global.u32 %r2, [%rd4]; setp.ne.u32 %p3, %r2, 3; @%p3 bra L;
        st.global.u32 [%rd4], 0; E:"""
    for release, race in (("red.release.gpu.global.add.u32 [%rd4], 1;", False), ("membar.gl; red.relaxed.gpu.global.add.u32 [%rd4], 1;", False),
                          ("red.relaxed.gpu.global.add.u32 [%rd4], 1;", True)):  # fmt: skip
        n = np.zeros(1, np.int32)
        params = {"params": ".param .u64 y, .param .u64 n", "more": [n]}
        report = run(STORE + body.replace("{release}", release), np.zeros(64, np.int32), threads=64, blocks=4, **params)
        assert set(kinds(report)) == ({"race"} if race else set())
        assert n[0] == 0


@pytest.mark.parametrize(
    ("atomic", "race"),
    [("red.shared.or.b32 [%b], 0xff", False), ("red.shared.or.b32 [%b], 0xff00", True), ("red.shared.and.b32 [%b], 0xffffff00", False),
     ("red.shared.and.b32 [%b], 0xffff00ff", True), ("red.shared.xor.b32 [%b], 0xff0000", False), ("red.shared.add.u32 [%b], 1", True)],
)  # fmt: skip
def test_an_atomic_touches_the_bytes_that_its_operand_changes(atomic, race):
    body = f""".reg .pred %q, %w; .shared .align 8 .b8 s[8]; .reg .b32 %b; mov.b32 %b, s; setp.eq.u32 %q, %t, 0; setp.eq.u32 %w, %t, 32;
        @%q st.shared.v2.b32 [%b], {{0, 0}}; bar.sync 0; @%q {atomic}; @%w st.shared.u8 [%b+1], 5;"""
    assert kinds(run(STORE + body, np.zeros(64, np.int32), threads=64)) == ["race"] * race


WIDE = """.shared .align 16 .b8 s[16]; .reg .b32 %b, %w<5>; .reg .b64 %q; .reg .pred %p; mov.b32 %b, s; st.shared.v2.b32 [%b], {%t, %t};
    st.shared.b32 [%b+8], 7; ld.shared.v4.b32 {%w1, %w2, %w3, %w4}, [%b]; """


@pytest.mark.parametrize(
    ("use", "what"),
    [("st.global.u32 [%rd3], %w3;", ""), ("add.u32 %w4, %w4, 1; st.global.u32 [%rd3], %w3;", ""), ("and.b32 %w4, %w4, 0; st.global.u32 [%rd3], %w4;", ""),
     ("setp.eq.u32 %p, %w3, 7; selp.b32 %w4, %w3, %w4, %p; st.global.u32 [%rd3], %w4;", ""), ("st.global.u32 [%rd3], %w4;", "a store"),
     ("add.u32 %w4, %w4, %w3; st.global.u32 [%rd3], %w4;", "a store"), ("setp.eq.u32 %p, %w4, 0; @%p bra A; A:", "a branch"),
     ("cvt.u64.u32 %q, %w4; add.u64 %q, %q, %rd1; ld.global.u32 %w1, [%q];", "an address")],
)  # fmt: skip
def test_the_unused_lane_of_a_wide_load_is_no_finding(use, what):
    findings = run(STORE + WIDE + use, np.zeros(32, np.int32), threads=1).findings
    assert [f.kind for f in findings] == ["uninitialized"] * bool(what)
    assert all(what in f.message for f in findings)


@pytest.mark.parametrize("threads", [5, 33, 100])
def test_blocks_that_are_no_whole_warps(threads):
    y = np.zeros(128, np.int32)
    body = STORE + ".reg .b32 %m; bar.sync 0; activemask.b32 %m; popc.b32 %m, %m; st.global.u32 [%rd3], %m;"
    assert run(body, y, threads=threads).findings == []
    assert y.tolist() == [min(32, threads - t // 32 * 32) if t < threads else 0 for t in range(128)]


def test_atomics_in_a_warp_run_one_after_the_other():
    y, n = np.zeros(64, np.int32), np.zeros(1, np.int32)
    params = ".param .u64 y, .param .u64 n"
    body = STORE + ".reg .b32 %o; ld.param.u64 %rd4, [n]; atom.global.add.u32 %o, [%rd4], 2; st.global.u32 [%rd3], %o;"
    run(body, y, threads=64, params=params, more=[n])
    assert n[0] == 128
    assert sorted(y.tolist()) == list(range(0, 128, 2))


def test_red_zones_and_whereabouts():
    y = np.zeros(30, np.int32)
    report = run(STORE + "st.global.u32 [%rd3], %t;", y)
    (f,) = report.findings
    assert f.kind == "bounds"
    assert "0 bytes behind the end of argument 0 (120 bytes), thread 30" in f.message
    assert y.tolist() == list(range(30))


def test_generic_addresses_of_every_space():
    """One generic load reads global, shared and local memory in one warp; isspacep and cvta agree."""
    y = np.arange(100, 132, dtype=np.int32)
    body = STORE + """
    .shared .align 4 .b8 s[128]; .local .align 4 .b8 l[4]; .reg .b64 %a<5>; .reg .b32 %v, %q; .reg .pred %p<4>;
    mov.u64 %a1, s; cvta.shared.u64 %a1, %a1; mul.wide.u32 %a2, %t, 4; add.s64 %a1, %a1, %a2; add.s32 %v, %t, 1000; st.u32 [%a1], %v;
    mov.u64 %a3, l; cvta.local.u64 %a3, %a3; add.s32 %v, %t, 2000; st.u32 [%a3], %v;
    and.b32 %q, %t, 3; setp.eq.s32 %p1, %q, 1; setp.eq.s32 %p2, %q, 2; mov.u64 %a4, %rd3; @%p1 mov.u64 %a4, %a1; @%p2 mov.u64 %a4, %a3;
    ld.u32 %v, [%a4]; isspacep.shared %p3, %a4; @%p3 add.s32 %v, %v, 10000; st.global.u32 [%rd3], %v;
    """
    assert run(body, y).findings == []
    assert y.tolist() == [{1: 11000 + t, 2: 2000 + t}.get(t % 4, 100 + t) for t in range(32)]


UNDEFINED = """
.shared .align 16 .b8 s[16]; .reg .b32 %v<5>; .reg .b64 %a; .reg .pred %p; .reg .b16 %h<3>;
st.shared.v2.u32 [s], {%t, 7}; st.shared.u8 [s+8], 3; bar.warp.sync -1;
"""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("ld.shared.v4.u32 {%v1, %v2, %v3, %v4}, [s]; st.global.u32 [%rd3], %v2;", None),  # the undefined lanes are not used
        ("ld.shared.v4.u32 {%v1, %v2, %v3, %v4}, [s]; st.global.u32 [%rd3], %v4;", "a store"),
        ("ld.shared.u32 %v1, [s+8]; and.b32 %v1, %v1, 255; st.global.u32 [%rd3], %v1;", None),  # one byte of four is written
        ("ld.shared.u32 %v1, [s+8]; shr.u32 %v1, %v1, 4; st.global.u32 [%rd3], %v1;", "a store"),
        ("ld.shared.u32 %v1, [s+8]; shl.b32 %v1, %v1, 24; st.global.u32 [%rd3], %v1;", None),
        ("ld.shared.u32 %v1, [s+8]; prmt.b32 %v1, %v1, 0, 0x4440; st.global.u32 [%rd3], %v1;", None),
        ("ld.shared.u32 %v1, [s+8]; mov.b32 {%h1, %h2}, %v1; cvt.u32.u8 %v1, %h1; st.global.u32 [%rd3], %v1;", None),
        ("ld.shared.u32 %v1, [s+12]; setp.eq.s32 %p, %v1, 0; @%p bra L; st.global.u32 [%rd3], %v1; L:", "a branch"),
        ("ld.shared.u32 %v1, [s+12]; cvt.u64.u32 %a, %v1; add.s64 %a, %a, %rd1; ld.global.u32 %v2, [%a];", "an address"),
        ("ld.shared.u32 %v1, [s+12]; setp.lt.u32 %p, %t, 32; selp.b32 %v1, 5, %v1, %p; st.global.u32 [%rd3], %v1;", None),
        ("mov.b16 %h1, 0; mov.b32 %v2, {%h1, %h2}; max.f16x2 %v2, %v2, %v2; and.b32 %v2, %v2, 65535; st.global.u32 [%rd3], %v2;", None),
        ("mov.b16 %h1, 0; mov.b32 %v2, {%h1, %h2}; max.f16x2 %v2, %v2, %v2; st.global.u32 [%rd3], %v2;", "a store"),
        ("mov.b16 %h1, 0; mov.b32 %v2, {%h1, %h2}; max.s32 %v2, %v2, %v2; and.b32 %v2, %v2, 65535; st.global.u32 [%rd3], %v2;", "a store"),
        ("st.global.u32 [%rd3], %v3;", "a store"),
        ("setp.lt.u32 %p, %t, 9; @%p mov.b32 %v3, 1; @%p st.global.u32 [%rd3], %v3;", None),
    ],
)
def test_undefined_values_are_reported_where_they_matter(body, found):
    report = run(STORE + UNDEFINED + body, np.zeros(32, np.int32))
    # All lanes store %t to one word: that race is none of this test's business.
    assert [f.message.split("reaches ")[1].split(",")[0] for f in report.of("uninitialized")] == ([found] if found else [])


def test_random_order_changes_the_order_of_warps():
    text = STORE + ".reg .b32 %o; ld.param.u64 %rd4, [n]; atom.global.inc.u32 %o, [%rd4], 1000; st.global.u32 [%rd3], %o;"
    orders = set()
    for seed in range(4):
        y = np.zeros(256, np.int32)
        run(text, y, threads=256, params=".param .u64 y, .param .u64 n", more=[np.zeros(1, np.int32)], seed=seed)
        assert sorted(y.tolist()) == list(range(256))
        orders.add(tuple(y[::32]))
    assert len(orders) > 1


def test_races_name_the_barrier_and_both_places():
    body = STORE + ".shared .align 4 .b8 s[256]; .reg .b32 %a, %v; shl.b32 %a, %t, 2; mov.b32 %v, s; add.s32 %a, %a, %v;\n"
    body += "st.shared.u32 [%a], %t;\nxor.b32 %a, %a, 128;\nld.shared.u32 %v, [%a]; st.global.u32 [%rd3], %v;"
    report = run(body, np.zeros(64, np.int32), threads=64)
    (f,) = report.races
    lines = kernel(body).splitlines()
    assert lines[f.at.ptx_line - 1].startswith("ld.shared")
    assert lines[f.other.ptx_line - 1].startswith("st.shared")
    assert f"insert bar.sync 0 before PTX line {f.at.ptx_line}" in f.hint
    assert run(body.replace("xor", "bar.sync 0; xor"), np.zeros(64, np.int32), threads=64).findings == []


def test_recursion():
    """Fibonacci by two calls, each thread to its own depth."""
    head = """.func (.param .b32 r) fib (.param .b32 n) {
    .reg .b32 %r<6>; .reg .pred %p;
    ld.param.b32 %r1, [n]; mov.b32 %r2, %r1; setp.lt.s32 %p, %r1, 2; @%p bra END;
    add.s32 %r3, %r1, -1;
    { .param .b32 a; .param .b32 b; st.param.b32 [a], %r3; call (b), fib, (a); ld.param.b32 %r4, [b]; }
    add.s32 %r3, %r1, -2;
    { .param .b32 a; .param .b32 b; st.param.b32 [a], %r3; call (b), fib, (a); ld.param.b32 %r5, [b]; }
    add.s32 %r2, %r4, %r5;
    END: st.param.b32 [r], %r2; ret; }"""
    y = np.zeros(32, np.int32)
    body = STORE + """.reg .b32 %m, %v; and.b32 %m, %t, 7; { .param .b32 a; .param .b32 b; st.param.b32 [a], %m; call (b), fib, (a);
    ld.param.b32 %v, [b]; } st.global.u32 [%rd3], %v;"""
    assert run(body, y, head=head).findings == []
    assert y.tolist() == [0, 1, 1, 2, 3, 5, 8, 13] * 4
