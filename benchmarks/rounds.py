"""A round of a matrix product's main loop, followed cycle by cycle: what the tensor cores wait for, with and without fragments that are read ahead.

A model, of which no part was measured here. Each scheduler issues at most one instruction a cycle, a warp's in order, as the control codes of the
machine code allow: after the stall count of the one before, and when the scoreboards that it waits for are clear. (Their bits are those of Z. Jia and
others, arXiv 1804.06826, section 2.1.) A matrix instruction of m16n8k16 keeps a scheduler's tensor core busy for 8 cycles: 256 multiply-adds a
cycle, as on the A100 (ptxas sets them 8 cycles apart, too). Shared memory serves one instruction of 512 bytes in 4 cycles, whichever warp it is of, and
ldmatrix.x4 takes 29 cycles more than its turn (W. Sun and others, arXiv 2206.02874, have 29 on the A100). A barrier opens 20 cycles after the last warp
came; copies from global memory are there in time. With 23 or 33 cycles for ldmatrix and 10 or 40 for the barrier, the order is the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import counts

import tilec as tc
from tilec import cdiv, f16, f32
from tilec.backend import tools
from tilec.backend.sass import Instruction, disassemble, is_mma

SCHEDULERS, PRODUCT, SHARED, LOADED, OPENED = 4, 8, 4, 29, 20  # cycles, see above
ROUNDS = 40

M, N, K = tc.dims("M N K")


def matmul_ahead(a: f16[M, K], b: f16[K, N], c: f16[M, N], *, bm: int = 128, bn: int = 128, bk: int = 32, stages: int = 3, buffers: int | None = None):
    """examples/matmul_plain.py, and when fragments are read is for the caller to say."""
    tc.grid(cdiv(M, bm), cdiv(N, bn))
    tc.assume((M % bm == 0) & (N % bn == 0) & (K % bk == 0))
    i, j = tc.block_index(0) * bm, tc.block_index(1) * bn
    acc = tc.zeros(f32, [bm, bn])
    for k in tc.range(0, K, bk, stages=stages, buffers=buffers):
        acc = tc.dot(tc.load(a, [i, k], [bm, bk]), tc.load(b, [k, j], [bk, bn]), acc)
    tc.store(c, [i, j], f16(acc))


def kernel(warps: int) -> tc.Kernel:
    """The same for so many warps."""
    return tc.kernel(warps=warps)(matmul_ahead)


class Control(NamedTuple):
    """What the assembler tells the scheduler of an instruction: cycles until the warp's next one, the scoreboards that it sets until its result is
    written or its operands are read (7 is none), and a mask of those that it waits for."""

    stall: int
    written: int
    read: int
    waits: int


def controls(cubin: bytes) -> dict[int, Control]:
    """By address."""
    with tools.scratch() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        text = tools.run([str(tools.find("nvdisasm")), "-c", "-hex", str(path)]).stdout
    words = re.findall(r"/\*([0-9a-f]{4,})\*/[^\n]*\n\s*/\* 0x([0-9a-f]{16}) \*/", text)
    high = {int(at, 16): int(word, 16) >> 41 for at, word in words}
    return {at: Control(w & 15, w >> 5 & 7, w >> 8 & 7, w >> 11 & 63) for at, w in high.items()}


def products_ahead(loop: tuple[Instruction, ...]) -> int:
    """The fewest matrix instructions that stand between a load of a fragment and the first that takes it, in this round or the next."""
    twice = [i for i in loop * 2 if i.issued]
    found = []
    for at, load in enumerate(twice[: len(twice) // 2]):
        if load.name == "LDSM":
            first = int(load.operands.split(",")[0].removeprefix("R"))
            own = {f"R{first + i}" for i in range(4)}
            between = 0
            for later in twice[at + 1 :]:
                if is_mma(later.opcode):
                    if own & set(re.findall(r"R\d+", later.operands.split(",", 1)[1])):
                        break
                    between += 1
            found.append(between)
    return min(found)


@dataclass
class Warp:
    block: int
    at: int = 0  # of the loop's instructions, the next
    ready: int = 0
    waiting: bool = False  # at the barrier
    rounds: list[int] = field(default_factory=list)  # when each was done
    scoreboards: list[int] = field(default_factory=lambda: [0] * 8)  # until when each is set; the last two are none


class Multiprocessor:
    def __init__(self, loop: tuple[Instruction, ...], codes: dict[int, Control], warps: int, blocks: int):
        self.loop, self.codes, self.each = loop, [codes[i.address] for i in loop], warps
        self.warps = [Warp(i // warps, ready=5 * (i % 3)) for i in range(warps * blocks)]
        self.tensor = [0] * SCHEDULERS  # until when each is busy
        self.shared = 0

    def round(self) -> float:
        """Cycles between two rounds of a warp, while all blocks are at it."""
        now, turn = 0, [0] * SCHEDULERS
        while min(len(w.rounds) for w in self.warps) < ROUNDS:
            for s in range(SCHEDULERS):
                own = self.warps[s::SCHEDULERS]
                for number in (turn[s], *range(len(own))):  # the one that issued last goes first
                    if self.may_issue(own[number], s, now):
                        self.issue(own[number], s, now)
                        turn[s] = number
                        break
            now += 1
        done = sum(now // 4 <= t < now for w in self.warps for t in w.rounds)
        return (now - now // 4) * len(self.warps) / done

    def may_issue(self, warp: Warp, scheduler: int, now: int) -> bool:
        if warp.waiting or warp.ready > now:
            return False
        waits = self.codes[warp.at].waits
        if any(waits >> b & 1 and warp.scoreboards[b] > now for b in range(6)):
            return False
        return not is_mma(self.loop[warp.at].opcode) or self.tensor[scheduler] <= now

    def issue(self, warp: Warp, scheduler: int, now: int) -> None:
        instruction, code = self.loop[warp.at], self.codes[warp.at]
        warp.ready, written = now + max(1, code.stall), now + OPENED
        if is_mma(instruction.opcode):
            self.tensor[scheduler] = now + PRODUCT
        elif instruction.name in ("LDSM", "LDGSTS"):
            self.shared = max(self.shared, now) + SHARED
            written = self.shared - SHARED + LOADED
        for board, until in ((code.written, written), (code.read, self.shared + PRODUCT)):
            warp.scoreboards[board] = max(warp.scoreboards[board], until)
        if instruction.name == "BAR":
            warp.waiting = True
            self.open(warp.block, now)
        warp.at += 1
        if warp.at == len(self.loop):
            warp.at = 0
            warp.rounds.append(now)

    def open(self, block: int, now: int) -> None:
        own = [w for w in self.warps if w.block == block]
        if all(w.waiting for w in own):
            for w in own:
                w.waiting, w.ready = False, max(w.ready, now + OPENED)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("  128x128 tiles of f16 on sm_80; the share of the time in which tensor cores multiply, by a model\n")
    print(f"  {'':28}{'buffers':>9}{'others/HMMA':>13}{'registers':>11}{'products ahead':>16}{'blocks':>8}{'busy':>7}{'alone':>7}")
    for case in [c for c in counts.CASES if c.kernel == "matmul_plain"]:
        for buffers in (1, 2):
            built = kernel(case.warps).compile("sm_80", **case.constants, buffers=buffers)
            loop = disassemble(built.cubin).hot_loop()
            assert loop
            issued = [i for i in loop.instructions if i.issued]
            products = sum(is_mma(i.opcode) for i in issued)
            blocks, codes = built.resources.occupancy.blocks, controls(built.cubin)
            busy = [
                products * PRODUCT * n * case.warps / SCHEDULERS / Multiprocessor(loop.instructions, codes, case.warps, n).round() for n in (blocks, 1)
            ]
            title = ", ".join(f"{k}={v}" for k, v in case.constants.items())
            others = len(issued) / products - 1
            figures = f"{others:13.2f}{built.resources.registers:11}{products_ahead(loop.instructions):16}{blocks:8}{busy[0]:7.0%}{busy[1]:7.0%}"
            print(f"  {f'{title}, {case.warps} warps':28}{buffers:9}{figures}", flush=True)


if __name__ == "__main__":
    main()
