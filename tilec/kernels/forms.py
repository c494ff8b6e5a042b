"""How the product of a linear layer is shared out among blocks, by its shape: what was measured on such a GPU, else what is reckoned to be fastest.

Up to 8 rows the weights are the left operand of the matrix instruction, whose 16 rows they fill, and the activations its 8 columns: an instruction
takes twice as many weights. Fewer rows have no form of their own. With multiply-adds in f32, a weight would take a conversion more and one of them for
each row, where the matrix instruction takes an eighth for all rows (docs/weights.md has the counts).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from tilec import cdiv

TILE = 128  # rows of weights that are loaded at once
SHARED = 99 << 10  # bytes of shared memory that a block of any GPU may have (sm_86, sm_89, sm_120)
MULTIPROCESSORS = 108
FEW = 8  # rows up to which products are transposed
STRIP = 16  # rows of a tile whose parts are fetched at a time, to be added


class Form(NamedTuple):
    """How a product is shared out: rows and columns of a block's tile, its warps, stages of the pipeline, parts of the sum over K."""

    bm: int
    bn: int
    warps: int
    stages: int
    splits: int


class Asked(NamedTuple):
    """A product of m rows by weights [k, n] of some bits, in groups of `group` rows, perhaps with scales on their `sums` and `fractional` zero points, which
    are subtracted from each weight; the GPU: its multiprocessors, and the bytes of shared memory that a block may have; the bits of an activation, and those
    of the factors of products, in which scales on sums are of a second result."""

    m: int
    n: int
    k: int
    bits: int
    group: int = TILE
    sums: bool = False
    multiprocessors: int = MULTIPROCESSORS
    shared: int = SHARED
    fractional: bool = False
    given: int = 16
    by: int = 16

    @property
    def aligned(self) -> bool:
        """Whether all rows of activations, scales and results begin at whole vectors."""
        return self.n % 8 == self.k % (128 // self.given) == 0

    @property
    def rounded(self) -> Asked:
        """The product whose form this one takes too: rows are rounded up to a power of two, FEW at least, so that few kernels serve all numbers of rows."""
        return self._replace(m=max(FEW, 1 << max(0, self.m - 1).bit_length()))

    @property
    def key(self) -> str:
        """What measured forms are kept under: groups of a tile and more are as one."""
        where = ", scales on sums" * self.sums + ", fractional zero points" * self.fractional
        where += f", {self.given} bits as {self.by}" * ((self.given, self.by) != (16, 16))
        on = f"{self.multiprocessors} multiprocessors of {self.shared} bytes"
        return f"{on}: {self.rounded.m} rows, {self.bits} bits {self.k}x{self.n}, groups of {min(self.group, TILE)}{where}"


MEASURED = Path(__file__).with_name("forms.json")  # forms that were the fastest on a GPU, by `Asked.key`; `make gpu` writes it
TILES = (  # rows, columns, warps; the largest first: a weight is converted once for all rows of a tile
    (128, 256, 8), (64, 256, 8), (64, 128, 4), (64, 128, 8), (32, 128, 4), (16, 256, 4), (16, 128, 4), (8, 256, 4), (8, 128, 4),
)  # fmt: skip


def form(asked: Asked) -> Form:
    """The form for a product: the measured one, if there is one."""
    return chosen(asked.rounded, MEASURED)


@lru_cache(maxsize=4096)
def chosen(asked: Asked, path: Path) -> Form:
    return measured(path).get(asked.key) or reckoned(asked)


@cache
def measured(path: Path) -> dict[str, Form]:
    """The table of measured forms, if there is one."""
    return {k: Form(*v) for k, v in json.loads(path.read_text()).items()} if path.exists() else {}


def reckoned(asked: Asked) -> Form:
    """The form that is reckoned to be fastest, but for 10%: that of the largest tile which is as fast as that."""
    best = by_tiles(asked)
    least = min(clocks(asked, how).total for how in best)
    return next(how for how in best if clocks(asked, how).total <= 1.1 * least)


def by_tiles(asked: Asked) -> list[Form]:
    """The best form for each tile that may be used, the largest first; of equals that with fewer parts and more stages."""
    each = (list(shared_out(asked, tile)) for tile in TILES)
    best = [min(forms, key=lambda how: (clocks(asked, how).total, how.splits, -how.stages)) for forms in each if forms]
    return best or [Form(*TILES[-1], 1, 1)]


def shared_out(asked: Asked, tile: tuple[int, int, int]) -> Iterator[Form]:
    """The ways to share out a product in tiles of a size: those that fit shared memory and need no registers spilled, by tiles that are no larger than
    they need be, and parts of K of four rounds at least."""
    bm, bn, _ = tile
    rows, steps = next((r for r in (8, 16, 32, 64) if asked.m <= r), 128), cdiv(asked.k, TILE)
    if bm > rows or bm < min(16, rows) or bn > max(asked.n, 128) or spills(asked, tile):
        return
    for splits in range(1, (min(16, max(1, steps // 4)) if bm < 128 else 1) + 1):
        rounds = cdiv(steps, splits)
        for stages in (2, 3, 4, 6, 8) if bm <= 16 else (2, 3, 4):
            how = Form(*tile, min(stages, max(rounds, 16 // asked.by)), splits)  # products of 8 bits want a pipeline: else tiles change hands
            if (how.stages == stages or stages == 2) and block_bytes(asked, how) <= asked.shared:
                yield how


def spills(asked: Asked, tile: tuple[int, int, int]) -> bool:
    """Whether registers for the result and for weights leave too few for all else, as scales on sums take a second result, fine groups many scales, and
    rows that copies can't take whole a loop of their own. (Tests compile what is left.)"""
    bm, bn, warps = tile
    fine, result, columns = asked.group < 32, bm * bn // (32 * warps), bn // warps
    if asked.by == 8:
        most = 64 if asked.group >= (64 if asked.aligned else TILE) else 32 if asked.aligned or asked.group >= 64 else 16
        return asked.sums and result > most
    if fine and not asked.aligned:
        return result > 32 or columns > 32
    if asked.sums:
        return result > (16 if asked.fractional else 32)
    return result > (64 if fine or (asked.group < TILE and not asked.aligned) else 128)


def block_bytes(asked: Asked, how: Form) -> int:
    """Shared memory of a block, at most: a ring of activations, weights, scales and zero points, and what layouts are changed through; in its place,
    later, the result."""
    few, rows = max(1, TILE // asked.group), how.bm * TILE * asked.given // 8
    sums = 4 * few * how.bm if asked.by == 8 else 0  # of rows
    stage = rows + TILE * how.bn * asked.bits // 8 + 2 * few * how.bn * (4 if asked.sums else 2) + sums
    loose = not asked.aligned or asked.given != asked.by  # activations are converted, or come one by one
    changes = 4 * few * (how.bn + 8) * 2 * (few > 1) + how.bm * (TILE + 8) * 2 * loose
    return max(how.stages * stage, how.bm * how.bn * (4 if how.splits > 1 or asked.given < 16 else 2)) + changes + (1024 if asked.given == 16 else 4096)


def together(bm: int, bn: int) -> int:
    """How many parts of a strip of a tile are fetched together, to be added: as many as registers hold."""
    return max(1, 8192 // (min(bm, STRIP) * bn))


# Reckoning, in clocks of a multiprocessor. The numbers are an H100's at 1.7 GHz, rounded, and weigh one thing against another; none was measured

MEMORY, NEAR = 15, 48  # bytes in a clock, from memory (3.35 TB/s for 132) and from the L2 cache
LATENCY = 1500  # of a byte from memory, under load
EACH_WEIGHT, EACH_BYTE, EACH_PRODUCT, EACH_ROUND = 1.5, 0.7, 1.4, 50  # instructions of a thread or warp for a weight, a matrix instruction, and a round
EACH_SUM = 3  # for each number of a result in which scales are on sums of products of 8 bits
PRODUCT = 2  # clocks of a matrix instruction
ISSUED = 0.25  # instructions of one warp in a clock, at most; four warps issue at once
REGISTERS = 1 << 16
EXCHANGE, FETCH = 2500, 700  # until all parts of a sum are known to be there, and to fetch some of them


class Clocks(NamedTuple):
    """What a product takes by each of what may bound it, and in all."""

    memory: float
    instructions: float
    products: float
    total: float

    @property
    def bound(self) -> str:
        """What takes longest."""
        return max(("memory", self.memory), ("instructions", self.instructions), ("matrix instructions", self.products), key=lambda pair: pair[1])[0]


def clocks(asked: Asked, how: Form) -> Clocks:
    """What a form takes. The blocks of a multiprocessor share its units; memory is shared by all, and gives its all if enough is under way."""
    bm, bn, warps, stages, splits = how
    few, across = max(1, TILE // asked.group), cdiv(asked.m, bm)
    blocks = across * cdiv(asked.n, bn) * splits
    rounds = cdiv(cdiv(asked.k, TILE), splits)
    share = cdiv(blocks, asked.multiprocessors)  # of the busiest
    registers = 32 * warps * min(255, 64 + 3 * bm * bn // (32 * warps))  # about what compiled ones take
    at_once = max(1, min(share, asked.shared // block_bytes(asked, how), REGISTERS // registers))
    read = TILE * bn * asked.bits // 8 + few * bn * 2
    under_way = at_once * max(0.5, stages - 1) * read
    near = (read + min(bm, asked.m) * TILE * asked.given // 8) / NEAR
    memory = blocks * rounds / asked.multiprocessors * max(read / across / min(MEMORY, under_way / LATENCY), near)
    products = bm * bn * TILE // 2048 * asked.by // 16
    sums = bm * bn / 32 * max(1, TILE // asked.group) * EACH_SUM if asked.by == 8 and asked.sums else 0
    issued = TILE * bn / 32 * (EACH_WEIGHT if asked.by == 16 else EACH_BYTE) + products * EACH_PRODUCT + EACH_ROUND * warps + sums
    instructions = share * rounds * issued / min(4, at_once * warps * ISSUED)
    left = blocks * min(bm, asked.m) * bn * 4 / asked.multiprocessors  # bytes of parts, which are written and read
    added = EXCHANGE + cdiv(bm, STRIP) * cdiv(splits, together(bm, bn)) * FETCH + 2 * left / MEMORY if splits > 1 else 0
    by_products = share * rounds * products * PRODUCT
    memory *= 0.9 + 0.1 * share * asked.multiprocessors / blocks  # shares that differ are no good sign
    slowest = max(memory, instructions, by_products)
    return Clocks(memory, instructions, by_products, slowest + cdiv(share, at_once) * LATENCY + added)
