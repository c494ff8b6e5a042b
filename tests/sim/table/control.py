"""Branches, calls, barriers, fences, ends, and what the run time offers."""

# ruff: noqa: E501 (PTX text)

import numpy as np

from .harness import expand
from .kernels import POISON, Kernel

KERNELS = []
T64 = np.arange(64).reshape(64, 1)
NONE = np.zeros((64, 2), np.uint32)


def case(name, body, want, **more):
    KERNELS.append(Kernel(name, body, want, NONE, threads=64, **more))


# Branches

for _uni in ("", ".uni"):
    case(f"bra{_uni}", f"mov.u32 %r0, 5; setp.lt.u32 %p0, %t, {32 if _uni else 20}; @%p0 bra{_uni} A; add.u32 %r0, %r0, 1; bra{_uni} B; A: add.u32 %r0, %r0, 10; B: st.global.u32 [%yt], %r0;",
         np.where(T64 < (32 if _uni else 20), 15, 6))  # fmt: skip
    case(f"brx.idx{_uni}", f"""and.b32 %r1, {'%t, 3' if not _uni else '3, 2'}; T: .branchtargets L0, L1, L2, L3; brx.idx{_uni} %r1, T;
        L0: mov.u32 %r0, 100; bra E; L1: mov.u32 %r0, 200; bra E; L2: mov.u32 %r0, 300; bra E; L3: mov.u32 %r0, 400; E: st.global.u32 [%yt], %r0;""",
         100 * (T64 % 4) + 100 if not _uni else np.full((64, 1), 300))  # fmt: skip
case("loop", "mov.u32 %r0, 0; mov.u32 %r1, 0; L: setp.gt.u32 %p0, %r1, %t; @%p0 bra E; add.u32 %r0, %r0, %r1; add.u32 %r1, %r1, 1; bra L; E: st.global.u32 [%yt], %r0;",
     T64 * (T64 + 1) // 2)  # fmt: skip
for _end in ("exit;", "ret;", "ret.uni;"):
    case(_end, f"st.global.u32 [%yt], 1; setp.lt.u32 %p0, %t, {32 if 'uni' in _end else 40}; @%p0 {_end} st.global.u32 [%yt], 2;",
         np.where(T64 < (32 if "uni" in _end else 40), 1, 2))  # fmt: skip

# Calls: direct, through a pointer, and recursive

DOUBLE = ".func (.param .b32 r) twice(.param .b32 a) { .reg .b32 %a; ld.param.b32 %a, [a]; shl.b32 %a, %a, 1; st.param.b32 [r], %a; ret.uni; }\n"
THRICE = ".func (.param .b32 r) thrice(.param .b32 a) { .reg .b32 %a; ld.param.b32 %a, [a]; mul.lo.u32 %a, %a, 3; st.param.b32 [r], %a; ret; }\n"
FACTORIAL = """.func (.param .b32 r) f(.param .b32 a) { .reg .b32 %a, %b, %c; .reg .pred %p; ld.param.b32 %a, [a]; setp.lt.u32 %p, %a, 2; mov.u32 %c, 1;
    @%p bra END; sub.u32 %b, %a, 1; { .param .b32 x; .param .b32 y; st.param.b32 [x], %b; call (y), f, (x); ld.param.b32 %c, [y]; } mul.lo.u32 %c, %c, %a;
    END: st.param.b32 [r], %c; ret; }\n"""
CALL = "{{ .param .b32 x; .param .b32 y; st.param.b32 [x], {0}; {1} ld.param.b32 %r0, [y]; }} st.global.u32 [%yt], %r0;"
for _uni in ("", ".uni"):
    case(f"call{_uni}", CALL.format("%t", f"call{_uni} (y), twice, (x);"), 2 * T64, outside=DOUBLE)
case("call of a register", "setp.lt.u32 %p0, %t, 17; mov.u64 %q0, twice; mov.u64 %q1, thrice; selp.b64 %q0, %q0, %q1, %p0; P: .callprototype (.param .b32 _) _ (.param .b32 _);"
     + CALL.format("%t", "call (y), %q0, (x), P;"), np.where(T64 < 17, 2 * T64, 3 * T64), outside=DOUBLE + THRICE)  # fmt: skip
case("recursion", "and.b32 %r1, %t, 7;" + CALL.format("%r1", "call (y), f, (x);"), np.array([[1, 1, 2, 6, 24, 120, 720, 5040][t % 8] for t in range(64)]).reshape(64, 1),
     outside=FACTORIAL)  # fmt: skip
case("call under a guard", "mov.u32 %r0, 7; setp.lt.u32 %p0, %t, 9; { .param .b32 x; st.param.b32 [x], %t; @%p0 call.uni note, (x); } ld.global.u32 %r0, [%yt]; st.global.u32 [%yt], %r0;",
     np.where(T64 < 9, T64 + 1000, POISON), outside=""".global .align 8 .u64 where[1];
    .func note(.param .b32 a) { .reg .b32 %a; .reg .b64 %p, %o; ld.param.b32 %a, [a]; ld.global.u64 %p, [where]; mul.wide.u32 %o, %a, 4; add.u64 %p, %p, %o;
    add.u32 %a, %a, 1000; st.global.u32 [%p], %a; ret; }\n""")  # fmt: skip
KERNELS[-1].body = "setp.eq.u32 %p1, %t, 0; @%p1 st.global.u64 [where], %y; bar.sync 0; " + KERNELS[-1].body

# Barriers: each thread writes shared memory, all read the other warp's

FILL = ".shared .align 4 .u32 s[64]; mov.u32 %r10, s; mad.lo.u32 %r11, %t, 4, %r10; xor.b32 %r12, %t, 63; mad.lo.u32 %r12, %r12, 4, %r10; st.shared.u32 [%r11], %t;"
LOOK = "ld.shared.u32 %r0, [%r12]; st.global.u32 [%yt], %r0;"
for _op in ("bar.sync 0;", "bar.cta.sync 1, 64;", "barrier.sync 0;", "barrier.cta.sync.aligned 3, 64;", "barrier.sync.aligned 0;", "mov.u32 %r1, 5; mov.u32 %r2, 64; bar.sync %r1, %r2;"):
    case(_op, FILL + _op + LOOK, 63 - T64)
for _bar in ("bar.{0}", "bar.cta.{0}", "barrier.{0}", "barrier.cta.{0}.aligned"):
    _arrive, _sync = _bar.format("arrive"), _bar.format("sync")
    case(_arrive, FILL + f"setp.lt.u32 %p0, %t, 32; @%p0 bra A; {_sync} 2, 64; {LOOK} bra E; A: {_arrive} 2, 64; st.global.u32 [%yt], 9; E:",
         np.where(T64 < 32, 9, 63 - T64))  # fmt: skip
    case(f"no {_sync}", FILL + LOOK, 63 - T64, findings=("race",))
    for _op, _result in (("popc", 20), ("and", 0), ("or", 1)):
        _red = _bar.replace(".aligned", "").format("red") + f".{_op}" + (".aligned" if "aligned" in _bar else "")
        _dest = f"{_red}.u32 %r0, 0, %p0;" if _op == "popc" else f"{_red}.pred %p1, 0, 64, %p0; selp.u32 %r0, 1, 0, %p1;"
        case(_red, f"setp.lt.u32 %p0, %t, 20; {_dest} st.global.u32 [%yt], %r0;", np.full((64, 1), _result))
        if _op == "popc":
            case(f"{_red} of !p", f"setp.lt.u32 %p0, %t, 20; {_red}.u32 %r0, 0, !%p0; st.global.u32 [%yt], %r0;", np.full((64, 1), 44))

# Fences publish what was written before: warp 0 to warp 1 through a flag

FENCES = expand("fence{,.sc,.acq_rel}{.cta,.cluster,.gpu,.sys}") + expand("membar.{cta,gl,sys}") + expand("fence{.acquire,.release}.gpu")
PUBLISH = FILL.replace("st.shared.u32 [%r11], %t;", "") + """ .shared .align 4 .u32 flag; mov.u32 %r20, flag; setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [%r20], 0; bar.sync 0;
    setp.lt.u32 %p0, %t, 32; @!%p0 bra B; st.shared.u32 [%r11], %t; bar.warp.sync -1; {fence} @%p1 st.volatile.shared.u32 [%r20], 1; st.global.u32 [%yt], 7; bra E;
    B: W: ld.volatile.shared.u32 %r0, [%r20]; setp.eq.u32 %p2, %r0, 0; @%p2 bra W; {fence}""" + LOOK + "E:"  # fmt: skip
for _fence in FENCES:
    if _fence not in ("fence.acquire.gpu", "fence.release.gpu"):
        case(_fence, PUBLISH.replace("{fence}", f"{_fence};"), np.where(T64 < 32, 7, 63 - T64))
case("no fence", PUBLISH.replace("{fence}", ""), np.where(T64 < 32, 7, 63 - T64), findings=("race",))
NOTHING = expand("fence.proxy.async{,.global,.shared::cta,.shared::cluster}") + [
    "fence.proxy.alias", "fence.mbarrier_init.release.cluster", "fence.acquire.gpu", "fence.release.gpu", "membar.proxy.alias", "membar.proxy.async",
    "nanosleep.u32 50", "nanosleep.u32 %t", "brkpt", "pmevent 3", "pmevent.mask 0xff", "griddepcontrol.wait", "griddepcontrol.launch_dependents",
    "setmaxnreg.inc.sync.aligned.u32 64", "setmaxnreg.dec.sync.aligned.u32 40"]  # fmt: skip
for _op in NOTHING:
    case(_op, f"mov.u32 %r0, %t; {_op}; st.global.u32 [%yt], %r0;", T64)


# Ends that are told

def _trapped(words, report):
    assert report.findings[0].kind == "trap"


case("trap", "setp.eq.u32 %p0, %t, 33; @%p0 trap; st.global.u32 [%yt], 1;", _trapped, findings=("trap",), words=1)
case("no trap", "setp.eq.u32 %p0, %t, 99; @%p0 trap; st.global.u32 [%yt], 1;", np.ones((64, 1)))

TEXT = ", ".join(str(b) for b in b"t %d %5.2f %s %llu %c %% %x\n\0")
PRINT = """setp.lt.u32 %p0, %t, 3; @!%p0 bra E; .local .align 8 .b8 buf[48]; mov.u64 %q0, buf; cvta.local.u64 %q1, %q0; neg.s32 %r0, %t; st.local.u32 [%q0], %r0;
    cvt.rn.f64.u32 %d0, %t; mul.f64 %d0, %d0, 0d3FF4000000000000; st.local.f64 [%q0+8], %d0; mov.u64 %q2, word; cvta.global.u64 %q2, %q2; st.local.u64 [%q0+16], %q2;
    mov.u64 %q3, 12345678901234; st.local.u64 [%q0+24], %q3; st.local.u32 [%q0+32], 65; st.local.u32 [%q0+36], 255; mov.u64 %q4, text; cvta.global.u64 %q4, %q4;
    { .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], %q4; st.param.b64 [b], %q1; call.uni (r), vprintf, (a, b); ld.param.b32 %r9, [r]; }
    E: st.global.u32 [%yt], %t;"""


def _printed(words, report):
    assert report.output == "".join(f"t {-t} {1.25 * t:5.2f} hi 12345678901234 A % ff\n" for t in range(3))


case("vprintf", PRINT, _printed, words=1, outside=f"""
    .extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);
    .global .align 1 .b8 text[] = {{{TEXT}}}; .global .align 1 .b8 word[3] = {{104, 105, 0}};""")
ASSERT = """.extern .func __assertfail (.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);
    .global .align 1 .b8 what[4] = {120, 62, 48, 0}; .global .align 1 .b8 file[5] = {97, 46, 99, 117, 0}; .global .align 1 .b8 func[2] = {102, 0};"""
FAIL = """setp.eq.u32 %p0, %t, {0}; @!%p0 bra E; mov.u64 %q0, what; cvta.global.u64 %q0, %q0; mov.u64 %q1, file; cvta.global.u64 %q1, %q1; mov.u64 %q2, func;
    cvta.global.u64 %q2, %q2; {{ .param .b64 a; .param .b64 b; .param .b32 c; .param .b64 d; .param .b64 e; st.param.b64 [a], %q0; st.param.b64 [b], %q1;
    st.param.b32 [c], 42; st.param.b64 [d], %q2; st.param.b64 [e], 1; call.uni __assertfail, (a, b, c, d, e); }} E: st.global.u32 [%yt], 3;"""


def _failed(words, report):
    (f,) = report.findings
    for part in ("x>0", "a.cu:42", "thread 37"):
        assert part in f.message


case("__assertfail", FAIL.format(37), _failed, words=1, findings=("trap",), outside=ASSERT)
case("__assertfail not reached", FAIL.format(99), np.full((64, 1), 3), outside=ASSERT)
