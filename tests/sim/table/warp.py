"""What the lanes of a warp do together, and asynchronous copies and mbarriers: each lane's result by its own loop over the others."""

# ruff: noqa: E501 (PTX text)

import numpy as np

from .harness import number
from .kernels import Kernel, random_words

KERNELS = []
FULL = 0xFFFFFFFF
MASKS = {"all": [FULL] * 32, "halves": [0x0000FFFF] * 16 + [0xFFFF0000] * 16, "odd": [0x55555555 if i % 2 == 0 else 0xAAAAAAAA for i in range(32)]}
REPEATED = random_words(32, 1, seed=1) % 3 + 0xFFFFFFFE  # few values, of either sign
RANDOM = random_words(32, 1, seed=2)


def members(mask):
    return [i for i in range(32) if mask >> i & 1]


def lane_kernel(name, op, dest, meaning, given, masks, operand="%r0", before=""):
    """`op dest, operand, %r9;` with the member mask in %r9; `meaning(lane, members, values)`."""
    masks_of = MASKS[masks]
    table = f".const .align 4 .u32 masks[32] = {{{', '.join(map(str, masks_of))}}};"
    body = "cvt.u64.u32 %q0, %lane; shl.b64 %q0, %q0, 2; mov.u64 %q1, masks; add.u64 %q1, %q1, %q0; ld.const.u32 %r9, [%q1]; ld.global.u32 %r0, [%xt];"
    body += before + f"{op} {dest}{operand}, %r9; st.global.v2.u32 [%yt], {{%r1, %r2}};"
    want = [[x & FULL for x in meaning(i, members(masks_of[i]), [int(x) for x in given[:, 0]])] for i in range(32)]
    KERNELS.append(Kernel(f"{name} {masks}", body.replace("ld.global.u32 %r0", "mov.u32 %r2, 0; ld.global.u32 %r0"), np.array(want), given, outside=table))


PRED = "setp.ne.u32 %p0, %r0, 0; "
VOTES = {"all": all, "any": any, "uni": lambda x: len(set(x)) == 1}
REDUCE = {"add": sum, "min": min, "max": max, "and": lambda x: np.bitwise_and.reduce(x), "or": lambda x: np.bitwise_or.reduce(x),
          "xor": lambda x: np.bitwise_xor.reduce(x)}  # fmt: skip
for _masks in MASKS:
    for _bits in (np.zeros((32, 1), np.uint32), np.ones((32, 1), np.uint32), RANDOM % 2):
        for _mode, _f in VOTES.items():
            lane_kernel(f"vote.{_mode}", f"vote.sync.{_mode}.pred", "%p1, ", lambda i, m, x, f=_f: [int(f([bool(x[j]) for j in m])), 0], _bits, _masks, "%p0", PRED)
        lane_kernel("ballot", "vote.sync.ballot.b32", "%r1, ", lambda i, m, x: [sum(1 << j for j in m if x[j]), 0], _bits, _masks, "%p0", PRED)
    for _k in KERNELS:
        _k.body = _k.body.replace("st.global.v2", "selp.u32 %r1, 1, 0, %p1; st.global.v2") if _k.name.startswith("vote") and "selp" not in _k.body else _k.body
    lane_kernel("match.any", "match.any.sync.b32", "%r1, ", lambda i, m, x: [sum(1 << j for j in m if x[j] == x[i]), 0], REPEATED, _masks)
    for _same in (REPEATED, np.full((32, 1), 7, np.uint32)):
        lane_kernel("match.all", "match.all.sync.b32", "%r1|%p0, ", lambda i, m, x: [sum(1 << j for j in m) if len({x[j] for j in m}) == 1 else 0, 0], _same, _masks)
    lane_kernel("match 64 bits", "match.any.sync.b64", "%r1, ", lambda i, m, x: [sum(1 << j for j in m if x[j] == x[i]), 0], REPEATED, _masks, "%q5",
                "cvt.u64.u32 %q5, %r0; shl.b64 %q5, %q5, 32;")  # fmt: skip
    for _op in REDUCE:
        for _kind in ("u32", "s32") if _op in ("add", "min", "max") else ("b32",):
            lane_kernel(f"redux.{_op}.{_kind}", f"redux.sync.{_op}.{_kind}", "%r1, ",
                        lambda i, m, x, f=REDUCE[_op], k=_kind: [int(f([number(x[j], k) for j in m])), 0], RANDOM, _masks)  # fmt: skip
    for _op in ("min", "max"):
        for _abs in ("", ".abs"):
            _floats = np.random.default_rng(3).standard_normal((32, 1)).astype(np.float32)
            lane_kernel(f"redux.{_op}{_abs}.f32", f"redux.sync.{_op}{_abs}.f32", "%f1, ", lambda i, m, x, f=REDUCE[_op], a=_abs, v=_floats: [
                int(np.float32(f([abs(v[j, 0]) if a else v[j, 0] for j in m])).view(np.uint32)), 0], _floats.view(np.uint32), _masks, "%f0", "mov.b32 %f0, %r0;")  # fmt: skip
            KERNELS[-1].body = KERNELS[-1].body.replace("st.global.v2", "mov.b32 %r1, %f1; st.global.v2")
    KERNELS.append(Kernel(f"elect {_masks}", "", np.array([[min(members(MASKS[_masks][i])), i == min(members(MASKS[_masks][i]))] for i in range(32)]),
                          outside=f".const .align 4 .u32 masks[32] = {{{', '.join(map(str, MASKS[_masks]))}}};"))  # fmt: skip
    KERNELS[-1].body = """cvt.u64.u32 %q0, %lane; shl.b64 %q0, %q0, 2; mov.u64 %q1, masks; add.u64 %q1, %q1, %q0; ld.const.u32 %r9, [%q1];
        elect.sync %r1|%p1, %r9; selp.u32 %r2, 1, 0, %p1; st.global.v2.u32 [%yt], {%r1, %r2};"""


def shuffled(mode, lane, b, c):
    """Source lane and predicate (PTX manual, shfl.sync: the pseudocode, with a segment's first and last lane spelled out)."""
    segment = c >> 8 & 31
    first, b = lane & segment, b & 31
    last = first | (c & 31 & ~segment)
    j = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": first | (b & ~segment & 31)}[mode]
    fine = j >= last if mode == "up" else j <= last
    return (j if fine else lane), fine


for _mode in ("up", "down", "bfly", "idx"):
    for _c in (0x1F, 0x181F, 0x0, 0x1C03, 0x100F):
        if _mode != "up" and _c == 0:
            continue
        for _b in (0, 1, 5, 16, None):
            _steps = [(7 * i + 3) % 32 if _b is None else _b for i in range(32)]
            _pairs = [shuffled(_mode, i, _steps[i], _c) for i in range(32)]
            _amount = "mul.lo.u32 %r5, %lane, 7; add.u32 %r5, %r5, 3;" if _b is None else f"mov.u32 %r5, {_b};"
            KERNELS.append(Kernel(f"shfl.{_mode} {_b} {_c:#x}", f"""ld.global.u32 %r0, [%xt]; {_amount} shfl.sync.{_mode}.b32 %r1|%p0, %r0, %r5, {_c}, -1;
                selp.u32 %r2, 1, 0, %p0; st.global.v2.u32 [%yt], {{%r1, %r2}};""", np.array([[int(RANDOM[j, 0]), p] for j, p in _pairs]), RANDOM))  # fmt: skip
KERNELS += [
    Kernel("activemask", """setp.lt.u32 %p0, %t, 40; and.b32 %r0, %t, 1; setp.eq.u32 %p1, %r0, 1; mov.u32 %r1, 0; @%p1 bra ODD; @%p0 activemask.b32 %r1;
        ODD: st.global.u32 [%yt], %r1;""", np.array([[0 if t % 2 or t >= 40 else 0x55555555 if t < 32 else 0x55] for t in range(64)]), threads=64,
        given=np.zeros((64, 2), np.uint32)),
    Kernel("bar.warp.sync", """.shared .align 4 .u32 s[64]; mov.u32 %r0, s; mad.lo.u32 %r1, %t, 4, %r0; st.shared.u32 [%r1], %t; bar.warp.sync 0xffffffff;
        xor.b32 %r2, %t, 31; mad.lo.u32 %r2, %r2, 4, %r0; ld.shared.u32 %r3, [%r2]; st.global.u32 [%yt], %r3;""",
        np.arange(64).reshape(64, 1) ^ 31, threads=64, given=np.zeros((64, 2), np.uint32)),
]  # fmt: skip

# cp.async: 4, 8 and 16 bytes, shortened sources, groups

_GIVEN = random_words(32, 4, seed=5)
SHARED = ".shared .align 16 .b8 s[1024]; mov.u32 %r0, s; mad.lo.u32 %r1, %t, 16, %r0; st.shared.v4.u32 [%r1], {%t, %t, %t, %t}; st.shared.v4.u32 [%r1+512], {%t, %t, %t, %t};"
READ = "ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r1]; st.global.v4.u32 [%yt], {%r4, %r5, %r6, %r7};"
for _cop, _size in (("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)):
    for _space in ("shared", "shared::cta"):
        for _hint in ("", ".L2::64B", ".L2::128B", ".L2::256B"):
            _want = np.arange(32, dtype=np.uint32).reshape(32, 1).repeat(4, 1)
            _want[:, : _size // 4] = _GIVEN[:, : _size // 4]
            _body = SHARED + f"cp.async.{_cop}.{_space}.global{_hint} [%r1], [%xt], {_size}; cp.async.wait_all;" + READ
            KERNELS.append(Kernel(f"cp.async.{_cop}.{_space}{_hint} {_size}", _body, _want, _GIVEN))
    for _read in (0, 1, _size // 2, _size):
        _want = np.arange(32, dtype=np.uint32).reshape(32, 1).repeat(4, 1)
        _bytes = _want.view(np.uint8)
        _bytes[:, :_size], _bytes[:, :_read] = 0, _GIVEN.view(np.uint8)[:, :_read]
        KERNELS.append(Kernel(f"cp.async {_size} of which {_read}", SHARED + f"cp.async.{_cop}.shared.global [%r1], [%xt], {_size}, {_read}; cp.async.wait_all;" + READ, _want, _GIVEN))
_want = np.where(np.arange(32)[:, None] % 3 == 0, 0, _GIVEN).astype(np.uint32)
KERNELS += [
    Kernel("cp.async ignore-src", SHARED + """.reg .pred %no; rem.u32 %r2, %t, 3; setp.eq.u32 %no, %r2, 0;
        cp.async.cg.shared.global [%r1], [%xt], 16, %no; cp.async.wait_all;""" + READ, _want, _GIVEN),
    Kernel("cp.async groups", SHARED + """cp.async.cg.shared.global [%r1], [%xt], 16; cp.async.commit_group; add.u32 %r2, %r1, 512;
        cp.async.cg.shared.global [%r2], [%xt], 16; cp.async.commit_group; cp.async.wait_group 1;""" + READ, _GIVEN, _GIVEN),
    Kernel("cp.async policy", SHARED + """createpolicy.fractional.L2::evict_first.b64 %q9; cp.async.cg.shared.global.L2::cache_hint [%r1], [%xt], 16, %q9;
        cp.async.commit_group; cp.async.wait_group 0;""" + READ, _GIVEN, _GIVEN),
    Kernel("cp.async not waited for", SHARED + "cp.async.cg.shared.global [%r1], [%xt], 16; cp.async.commit_group; cp.async.wait_group 1;" + READ,
           np.arange(32).reshape(32, 1).repeat(4, 1), _GIVEN, findings=("async",)),
]  # fmt: skip

# mbarrier: thread t of the first warp writes, both warps arrive, the second one reads

INIT = """.shared .align 8 .b64 bar; .shared .align 4 .u32 s[32]; mov.u32 %r0, bar; mov.u32 %r10, s; mad.lo.u32 %r11, %lane, 4, %r10; setp.eq.u32 %p0, %t, 0;
    @%p0 mbarrier.init{space}.b64 [%r0], {count}; fence.mbarrier_init.release.cluster; bar.sync 0; setp.lt.u32 %p1, %t, 32;"""
MEET = "@%p1 st.shared.u32 [%r11], %t; {arrive} W: {wait} @!%p2 bra W; ld.shared.u32 %r3, [%r11]; st.global.u32 [%yt], %r3; bar.sync 0; @%p0 mbarrier.inval{space}.b64 [%r0];"
_ARRIVE = {
    "arrive": "mbarrier.arrive{sem}{space}.b64 %q0, [%r0];", "count": "mbarrier.arrive{sem}{space}.b64 %q0, [%r0], 1;",
    "drop": "mbarrier.arrive_drop{sem}{space}.b64 %q0, [%r0];",
}  # fmt: skip
_WAIT = {
    "test": "mbarrier.test_wait{asem}{space}.b64 %p2, [%r0], %q0;", "try": "mbarrier.try_wait{asem}{space}.b64 %p2, [%r0], %q0;",
    "parity": "mbarrier.test_wait.parity{asem}{space}.b64 %p2, [%r0], 0;", "try parity": "mbarrier.try_wait.parity{asem}{space}.b64 %p2, [%r0], 0, 1000;",
}  # fmt: skip
for _space in (".shared", ".shared::cta"):
    for _a, _arrive in _ARRIVE.items():
        for _w, _wait in _WAIT.items():
            for _sem, _asem in (("", ""), (".release.cta", ".acquire.cta"), (".release.cluster", ".acquire.cluster")):
                _text = (INIT + MEET.replace("{arrive}", _arrive).replace("{wait}", _wait)).replace("{sem}", _sem).replace("{asem}", _asem)
                KERNELS.append(Kernel(f"mbarrier {_space} {_a} {_w} {_sem}", _text.replace("{space}", _space).replace("{count}", "64"),
                                      np.arange(64).reshape(64, 1) % 32, np.zeros((64, 2), np.uint32), threads=64))  # fmt: skip
_PENDING = "{ .reg .b64 %s; mbarrier.arrive.noComplete.release.cta.shared.b64 %s, [%r0], 1; mbarrier.pending_count.b64 %r5, %s; }"
KERNELS += [
    Kernel("mbarrier.noComplete", INIT.replace("{space}", ".shared").replace("{count}", "65") + _PENDING + """ @%p0 mbarrier.arrive.shared.b64 %q0, [%r0];
        W: mbarrier.test_wait.parity.shared.b64 %p2, [%r0], 0; @!%p2 bra W; st.global.u32 [%yt], %r5;""",
        lambda words, report: np.testing.assert_array_equal(np.sort(words[:, 0]), np.arange(64) + 2), np.zeros((64, 2), np.uint32), threads=64, words=1),
    Kernel("mbarrier.arrive_drop.noComplete", INIT.replace("{space}", ".shared").replace("{count}", "65") + """
        mbarrier.arrive_drop.noComplete.shared.b64 %q0, [%r0], 1; @%p0 mbarrier.arrive.shared.b64 %q0, [%r0];
        W: mbarrier.test_wait.parity.shared.b64 %p2, [%r0], 0; @!%p2 bra W; bar.sync 0;
        @%p0 mbarrier.arrive.shared.b64 %q0, [%r0]; V: mbarrier.test_wait.parity.shared.b64 %p2, [%r0], 1; @!%p2 bra V; st.global.u32 [%yt], %t;""",
        np.arange(64).reshape(64, 1), np.zeros((64, 2), np.uint32), threads=64),
    Kernel("cp.async.mbarrier.arrive", INIT.replace("{space}", ".shared").replace("{count}", "64") + """.shared .align 16 .b8 d[1024];
        mov.u32 %r20, d; mad.lo.u32 %r21, %t, 16, %r20; cp.async.cg.shared.global [%r21], [%xt], 16; cp.async.mbarrier.arrive.noinc.shared.b64 [%r0];
        W: mbarrier.test_wait.parity.shared.b64 %p2, [%r0], 0; @!%p2 bra W; xor.b32 %r22, %t, 63; mad.lo.u32 %r22, %r22, 16, %r20;
        ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r22]; st.global.v4.u32 [%yt], {%r4, %r5, %r6, %r7};""",
        random_words(64, 4, seed=6)[::-1], random_words(64, 4, seed=6), threads=64),
    Kernel("cp.async.mbarrier.arrive with its own arrival", INIT.replace("{space}", ".shared").replace("{count}", "64") + """.shared .align 16 .b8 d[1024];
        mov.u32 %r20, d; mad.lo.u32 %r21, %t, 16, %r20; cp.async.ca.shared.global [%r21], [%xt], 16; cp.async.mbarrier.arrive.shared.b64 [%r0];
        mbarrier.arrive.shared.b64 %q0, [%r0]; W: mbarrier.test_wait.shared.b64 %p2, [%r0], %q0; @!%p2 bra W; xor.b32 %r22, %t, 63;
        mad.lo.u32 %r22, %r22, 16, %r20; ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r22]; st.global.v4.u32 [%yt], {%r4, %r5, %r6, %r7};""",
        random_words(64, 4, seed=6)[::-1], random_words(64, 4, seed=6), threads=64),
]  # fmt: skip
