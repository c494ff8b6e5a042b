"""A kernel in PTX that casts every code of many pairs of types, from each place of compact words, for the simulator.

Threads hold 8 to 32 elements each, which fill words."""

import math

import numpy as np

from tilec.backend import words
from tilec.backend.emit import Emitter, llvm_type
from tilec.backend.fields import tell
from tilec.backend.nvptx import to_ptx
from tilec.backend.target import target as machine
from tilec.ir import dtypes as D
from tilec.sim.run import run_ptx

THREADS = 256


def codes_of(bits):
    """Codes of a small type [256 threads, places]: of thread t in place i is (t + i) mod 2**bits."""
    return (np.arange(THREADS)[:, None] + np.arange(max(8, 32 // math.gcd(32, bits)))) % (1 << bits)


def run(pairs, arch, given, apart=False, most=32):
    """The codes that each pair of types (source, target) gives for `given` (source -> codes [threads, places]), by pair.

    The codes lie one after the other in words or, if `apart`, each in a register of its own; `most` of them are cast.
    """
    e = Emitter()
    threads = len(next(iter(given.values())))
    block = e.let(f"mul i32 {e.call('i32', 'llvm.nvvm.read.ptx.sreg.ctaid.x')}, {THREADS}")
    thread = e.let(f"add i32 {block}, {e.call('i32', 'llvm.nvvm.read.ptx.sreg.tid.x')}")

    def word(array, number):
        row = e.let(f"getelementptr i8, ptr addrspace(1) %{array}, i64 {4 * threads * number}")
        return e.let(f"getelementptr i32, ptr addrspace(1) {row}, i32 {thread}")

    sources = list(dict.fromkeys(s for s, _ in pairs))
    held, inputs, places = {}, [], {}
    for s in sources:
        rows = pack(given[s], s)
        row = [e.let(f"load i32, ptr addrspace(1) {word('in', len(inputs) + i)}") for i in range(len(rows))]
        inputs += rows
        held[s] = elements(e, row, s, given[s].shape[1])[:most]
        if not s.computes and not apart:
            tell(e, held[s], tuple(row), s.bits)
    outputs = 0
    for s, t in pairs:
        results = words.cast(e, held[s], s, t, machine(arch))
        for i, value in enumerate(results):
            e.line(f"store i32 {to_word(e, value, t)}, ptr addrspace(1) {word('out', outputs + i)}")
        places[s, t] = slice(outputs, outputs + len(results))
        outputs += len(results)
    body = "\n".join(e.body(e.text))
    head = f'define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) "nvvm.reqntid"="{THREADS},1,1"'
    text = "\n".join(e.declared) + f"\n{head} {{\nentry:\n{body}\n  ret void\n}}\n"
    memory, out = np.array(inputs, np.uint32), np.full((outputs, threads), 0xDEADBEEF, np.uint32)
    run_ptx(to_ptx(text, arch), "k", (threads // THREADS,), (THREADS,), [memory, out], checks=False, costs=False)
    return {pair: out[rows].T.astype(pair[1].codes) for pair, rows in places.items()}


def pack(codes, dtype):
    """[words][threads] of codes of a type, as a list of rows; a wide element is a word, or two halves."""
    if dtype.bits == 32:
        return list(codes.T)
    if dtype.bits == 16:
        return list(np.ascontiguousarray(codes.astype(np.uint16)).view(np.uint32).T)
    return list(np.array([D.pack(row, dtype).view(np.uint32) for row in codes]).T)


def elements(e, row, dtype, count):
    if dtype == D.f32:
        return [e.let(f"bitcast i32 {w} to float") for w in row]
    if dtype.bits == 16:
        pairs = [e.let(f"bitcast i32 {w} to <2 x {llvm_type(dtype)}>") for w in row]
        return [x for p in pairs for x in e.split(llvm_type(dtype), p, 2)]
    made = []
    for i in range(count):
        word, start = divmod(i * dtype.bits, 32)
        x = e.let(f"lshr i32 {row[word]}, {start}")
        if start + dtype.bits > 32:
            x = e.let(f"or i32 {x}, {e.let(f'shl i32 {row[word + 1]}, {32 - start}')}")
        made.append(e.let(f"trunc i32 {e.let(f'and i32 {x}, {(1 << dtype.bits) - 1}')} to i8"))
    return made


def to_word(e, value, dtype):
    kind = llvm_type(dtype)
    if dtype == D.f32:
        return e.let(f"bitcast float {value} to i32")
    code = value if kind[0] == "i" else e.let(f"bitcast {kind} {value} to i{dtype.bits}")
    return e.let(f"zext i{max(8, dtype.bits)} {code} to i32")
