"""Loads, stores and what goes with addresses. Each access of a type and vector is set beside accesses of single bytes."""

# ruff: noqa: E501 (PTX text)

import numpy as np

from .harness import expand, width
from .kernels import POISON, Kernel, random_words

TYPES = ["b8", "b16", "b32", "b64", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64"]
VECTORS = {"": 1, ".v2": 2, ".v4": 4, ".v8": 8}
SPACES = ["global", "shared", "shared::cta", "local", ""]
BYTES = 32  # per thread
KERNELS = []


def bank(kind):
    return {"f32": "%f", "f64": "%d"}.get(kind, "%q")


def accesses(limit):
    return [(T, v, n) for T in TYPES for v, n in VECTORS.items() if n * width(T) // 8 <= limit and (n < 8 or width(T) == 32)]


def listed(kind, n):
    names = ", ".join(f"{bank(kind)}{i}" for i in range(n))
    return f"{{{names}}}" if n > 1 else names


def place(space):
    """PTX that leaves in %q100 the address of the thread's 32 bytes of a space, generic for ""."""
    if space in ("global", ""):
        return "mov.b64 %q100, %yt;"
    if space == "local":
        return ".local .align 32 .b8 mine[32]; mov.u64 %q100, mine;"
    return ".shared .align 32 .b8 ours[1024]; mov.u64 %q100, ours; mul.wide.u32 %q101, %t, 32; add.u64 %q100, %q100, %q101;"


def to_words(kind, i):
    """Register i, extended to 64 bits, in %q99."""
    return {"f32": f"mov.b32 %r99, %f{i}; cvt.u64.u32 %q99, %r99;", "f64": f"mov.b64 %q99, %d{i};"}.get(kind, f"mov.b64 %q99, %q{i};")


def loads(space):
    """Bytes are stored one by one, then loaded as each type; integers narrower than the register are extended."""
    dot = f".{space}" if space else ""
    combinations = accesses(32 if space in ("global", "") else 16)
    slots = sum(n for *_, n in combinations)
    given = random_words(32, BYTES // 4, seed=1)
    body = place(space) + "".join(f"ld.global.u8 %h0, [%xt+{i}]; st{dot}.u8 [%q100+{i}], %h0;\n" for i in range(BYTES))
    raw, want, at = given.view(np.uint8), [], BYTES
    for T, v, n in combinations:
        body += f"ld{dot}{v}.{T} {listed(T, n)}, [%q100];\n"
        dtype = np.dtype(f"{'i' if T[0] == 's' else 'u'}{width(T) // 8}")
        values = raw[:, : n * dtype.itemsize].copy().view(dtype).astype(np.int64 if T[0] == "s" else np.uint64).astype(np.uint64)
        for i in range(n):
            body += f"{to_words(T, i)} st.global.u64 [%yt+{at}], %q99;\n"
            want.append(values[:, i])
            at += 8
    head = raw if space in ("global", "") else np.full((32, BYTES), 0x5A, np.uint8)
    pad = np.full((32, -2 * slots % 8), POISON)  # each thread's part starts at a multiple of 32 bytes
    KERNELS.append(Kernel(f"ld{dot}", body, np.hstack([head.copy().view(np.uint32), np.stack(want, 1).view(np.uint32), pad]), given))


def stores(space):
    """Registers are stored as each type, and the bytes read one by one."""
    dot = f".{space}" if space else ""
    given = random_words(32, 16, seed=2)
    values = given.view(np.uint64)
    # one output region for each access; global stores go there at once, others are copied
    body, at, want = place(space), 0, []
    body += "".join(f"ld.global.u64 %q{i}, [%xt+{8 * i}]; mov.b64 %d{i}, %q{i}; cvt.u32.u64 %r0, %q{i}; mov.b32 %f{i}, %r0;\n" for i in range(8))
    for T, v, n in accesses(32 if space in ("global", "") else 16):
        size = n * width(T) // 8
        if space in ("global", ""):
            body += f"st{dot}{v}.{T} [%q100+{at}], {listed(T, n)};\n"
        else:
            body += f"st{dot}{v}.{T} [%q100], {listed(T, n)};\n"
            body += "".join(f"ld{dot}.u8 %h0, [%q100+{i}]; st.global.u8 [%yt+{at + i}], %h0;\n" for i in range(size))
        row = np.full((32, 32), 0x5A, np.uint8)
        row[:, :size] = np.ascontiguousarray(values[:, :n]).view(np.uint8).reshape(32, n, 8)[:, :, : width(T) // 8].reshape(32, size)
        want.append(row)
        at += 32
    KERNELS.append(Kernel(f"st{dot}", body, np.hstack(want).view(np.uint32), given))


for _space in SPACES:
    loads(_space)
    stores(_space)

# Modifiers that change no value

LOADS = expand(
    "ld.global{.ca,.cg,.cs,.lu,.cv,.nc,.ca.nc,.L1::evict_normal,.L1::evict_unchanged,.L1::evict_first,.L1::evict_last,.L1::no_allocate}"
    "{,.L2::64B,.L2::128B,.L2::256B}.u32"
) + expand("ld{.relaxed,.acquire}{.cta,.cluster,.gpu,.sys}{.global,}.u32") + expand("ld{.weak,.volatile}.global.u32") + [
    "ld.mmio.relaxed.sys.global.u32", "ld.global.nc.L1::evict_last.L2::128B.u32", "ldu.global.u32", "ldu.u32"]  # fmt: skip
STORES = expand("st.global{.wb,.cg,.cs,.wt,.L1::evict_normal,.L1::evict_unchanged,.L1::evict_first,.L1::evict_last,.L1::no_allocate}.u32") + expand(
    "st{.relaxed,.release}{.cta,.cluster,.gpu,.sys}{.global,}.u32") + expand("st{.weak,.volatile}.global.u32") + ["st.mmio.relaxed.sys.global.u32"]  # fmt: skip
_GIVEN = random_words(32, 2, seed=3)
KERNELS += [
    Kernel("ld modifiers", "".join(f"{op} %r0, [%xt]; st.global.u32 [%yt+{4 * i}], %r0;\n" for i, op in enumerate(LOADS)), _GIVEN[:, :1].repeat(len(LOADS), 1), _GIVEN),
    Kernel("st modifiers", "ld.global.u32 %r0, [%xt];" + "".join(f"{op} [%yt+{4 * i}], %r0;\n" for i, op in enumerate(STORES)), _GIVEN[:, :1].repeat(len(STORES), 1), _GIVEN),
    Kernel("ldu vectors", "ldu.global.v2.u32 {%r0, %r1}, [%xt]; st.global.v2.u32 [%yt], {%r1, %r0};", _GIVEN[:, ::-1], _GIVEN),
    Kernel("policies", """createpolicy.fractional.L2::evict_last.b64 %q0, 0f3F800000; createpolicy.fractional.L2::evict_first.b64 %q0;
        createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %q1, [%x], 128, 256;
        ld.global.L2::cache_hint.u32 %r0, [%xt], %q0; st.global.L2::cache_hint.u32 [%yt], %r0, %q1;""", _GIVEN[:, :1], _GIVEN),
    Kernel("hints", """prefetch.global.L1 [%xt]; prefetch.global.L2 [%xt]; prefetch.local.L1 [%xt]; prefetch.L2 [%xt]; prefetchu.L1 [%xt];
        prefetch.global.L2::evict_last [%x]; applypriority.global.L2::evict_normal [%x], 128;
        ld.global.u32 %r0, [%xt]; st.global.u32 [%yt], %r0;""", _GIVEN[:, :1], _GIVEN),
    Kernel("discard", "discard.global.L2 [%x], 128; st.global.u32 [%yt], %t;", np.arange(32).reshape(32, 1), _GIVEN),
]  # fmt: skip

# Spaces that the kernel cannot write

_TABLE = np.random.default_rng(4).integers(0, 256, 32, dtype=np.uint8)
for _T, _v, _n in accesses(16):
    _read = "".join(f"{to_words(_T, i)} st.global.u64 [%yt+{8 * i}], %q99;\n" for i in range(_n))
    _dtype = np.dtype(f"{'i' if _T[0] == 's' else 'u'}{width(_T) // 8}")
    _value = _TABLE[: _n * _dtype.itemsize].view(_dtype).astype(np.int64 if _T[0] == "s" else np.uint64).astype(np.uint64)
    if _v in ("", ".v2"):
        KERNELS.append(Kernel(f"ld.const{_v}.{_T}", f"ld.const{_v}.{_T} {listed(_T, _n)}, [c];" + _read, np.tile(_value.view(np.uint32), (32, 1)),
                              outside=f".const .align 16 .b8 c[32] = {{{', '.join(map(str, _TABLE))}}};"))  # fmt: skip
KERNELS.append(Kernel("ld.param of a function", """{ .param .align 8 .b8 a[16]; .param .b32 r; st.param.v2.u32 [a], {%t, 7}; st.param.u64 [a+8], 99;
    call.uni (r), f, (a); ld.param.b32 %r0, [r]; } st.global.u32 [%yt], %r0;""", (np.arange(32) * 7 + 99).reshape(32, 1), outside="""
    .func (.param .b32 r) f(.param .align 8 .b8 a[16]) { .reg .b32 %a, %b; .reg .b64 %c; ld.param.u32 %a, [a]; ld.param.u32 %b, [a+4];
    ld.param::func.u64 %c, [a+8]; mul.lo.u32 %a, %a, %b; cvt.u32.u64 %b, %c; add.u32 %a, %a, %b; st.param.b32 [r], %a; ret; }"""))  # fmt: skip

# Generic addresses: what one space's address reads, the generic one reads too, and only that space claims it

_HOMES = {"shared": ".shared .align 8 .b8 v[256]; mul.lo.u32 %r5, %t, 8; cvt.u64.u32 %q1, %r5; mov.u64 %q0, v; add.u64 %q0, %q0, %q1;",
          "local": ".local .align 8 .b8 v[8]; mov.u64 %q0, v;", "global": "mov.b64 %q0, %yt;"}  # fmt: skip
for _home, _code in _HOMES.items():
    _asked = ["global", "shared", "shared::cta", "local", "const", "param"]
    _body = _code + f"st.{_home}.u32 [%q0], %t; cvta.{_home}.u64 %q2, %q0; ld.u32 %r0, [%q2]; cvta.to.{_home}.u64 %q3, %q2; sub.u64 %q3, %q3, %q0;"
    _body += "".join(f"isspacep.{s} %p0, %q2; selp.u32 %r1, 1, 0, %p0; st.global.u32 [%yt+{8 + 4 * i}], %r1;\n" for i, s in enumerate(_asked))
    _body += "cvt.u32.u64 %r3, %q3; st.global.u32 [%yt+4], %r3; st.global.u32 [%yt], %r0;"
    _flags = [int(s.split("::")[0] == _home) for s in _asked]
    # constants lie in the same window as global memory here: isspacep.const answers for both
    _mask = [s != "const" for s in _asked]

    def _check(words, report, flags=_flags, mask=_mask):
        assert words[:, 0].tolist() == list(range(32))
        assert not words[:, 1].any()
        assert (words[:, 2:][:, mask] == np.array(flags)[mask]).all()

    KERNELS.append(Kernel(f"cvta.{_home}", _body, _check, words=8))
KERNELS.append(Kernel("cvta of const and 32 bits", """cvta.const.u64 %q0, c; ld.u32 %r0, [%q0+4]; .shared .b32 s[32]; mov.u32 %r1, s;
    cvta.to.shared.u32 %r2, %r1; sub.u32 %r2, %r2, %r1; st.global.v2.u32 [%yt], {%r0, %r2};""",
    np.tile([7, 0], (32, 1)), outside=".const .align 4 .u32 c[2] = {5, 7};"))  # fmt: skip
