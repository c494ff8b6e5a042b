"""What each GPU architecture is: its names, its limits, what it offers, and how many blocks of a kernel fit on one multiprocessor.

Limits are those of the table "Technical Specifications per Compute Capability" of the CUDA C++ Programming Guide 13; what instructions need
is from the target notes of the PTX ISA 9.0, corrected where the assembler was seen to emulate an instruction that it accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tilec.backend import costs
from tilec.backend.isa import ldmatrix, mma
from tilec.errors import Code, TileError, alike, require
from tilec.ir.dtypes import DType
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused
from tilec.ir.target import Cost, Fragments, Way
from tilec.ir.types import SharedType, TileType
from tilec.records import record

WARP = 32
REGISTER_UNIT = 256  # registers are handed to a warp in units of this many
SHARED_UNIT = 128  # bytes; shared memory is handed to a block in units of this many
SHARED_RESERVED = 1024  # bytes of every block's shared memory that the system keeps, from compute capability 8.0
PARTITIONS = 4  # a multiprocessor's quarters, each with its own registers and warp slots


@record()
class Target:
    """One architecture. Sizes in bytes; `shared_per_block` is the most that a block may have in all, after opting in."""

    name: str  # also LLVM's cpu and the assembler's -arch
    capability: tuple[int, int]
    ptx: str  # the lowest PTX version that knows it
    shared_per_block: int
    shared_per_sm: int
    warps_per_sm: int
    blocks_per_sm: int
    registers_per_sm: int = 65536
    registers_per_block: int = 65536
    registers_per_thread: int = 255
    threads_per_block: int = 1024

    @property
    def features(self) -> str:
        """LLVM's feature string: the newest PTX that LLVM writes, as without it many instructions can't be selected."""
        return "+ptx90"

    @property
    def suffix(self) -> str:
        """`a` runs on this very architecture alone, `f` on its family, and "" on every later one."""
        return self.name[-1] if self.name[-1] in "af" else ""

    def has(self, feature: str) -> bool:
        """Does the hardware have what `FEATURES` calls `feature`? An instruction that the assembler only emulates does not count."""
        if feature not in FEATURES:  # finding the nearest name takes milliseconds
            raise TileError(f"no feature is called {feature}", hint=nearest(feature, FEATURES))
        return FEATURES[feature](self)

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Does a cubin for this target run on a device of this compute capability? Within its major version, upwards, if without suffix."""
        if self.suffix == "a":
            return capability == self.capability
        return capability[0] == self.capability[0] and capability[1] >= self.capability[1]

    def matrix(self, a: DType, b: DType, acc: DType, mode: str = "", depth: int = 0) -> Fragments | Refused:
        """The fragments of the best matrix instruction for products of these types, `depth` elements deep, in a mode of `Dot`: the deepest that
        divides, else the least deep; refused if there is none."""
        candidates = mma.candidates(a, b, acc, mode, self.has)
        if isinstance(candidates, Refused):
            return candidates
        found = [i.fragments for i in candidates]
        return next((f for f in found if depth % f.shape[2] == 0), found[-1])

    def matrix_rows(self, memory: SharedType, dims: tuple[int, ...], tile: TileType, stored: bool = False) -> Layout | None:
        """The rows that `ldmatrix`, or `stmatrix` if the tile is stored, would be given the addresses of."""
        if stored and not self.has("stmatrix"):
            return None
        found = (ldmatrix.stored if stored else ldmatrix.addresses)(memory, dims, tile)
        return None if isinstance(found, Refused) else found[0]

    # what steps take: the protocol's docstrings tell

    def weight(self, cost: Cost) -> float:
        return costs.weight(cost)

    def conversions(self, tile: TileType, layout: Layout) -> tuple[Way, ...]:
        return costs.conversions(tile, layout)

    def global_access(self, tile: TileType, along: int | None, most: int) -> Cost:
        return costs.global_access(tile, along, most)

    def shared_access(self, tile: TileType, memory: SharedType, dims: tuple[int, ...], stored: bool = False) -> Cost:
        return costs.shared_access(tile, memory, dims, stored and self.has("stmatrix"))

    def reduction(self, tile: TileType, axes: tuple[int, ...]) -> Cost:
        return costs.reduction(tile, axes)

    def unpacking(self, tile: TileType) -> Cost:
        return costs.unpacking(tile)

    def check(self, threads: int, shared: int = 0) -> None:
        """Refuse what no launch could grant: `threads` per block, `shared` bytes per block. Raises TileError."""
        require(0 < threads <= self.threads_per_block, f"{threads} threads per block; {self.name} has from 1 to {self.threads_per_block}", code=Code.WARPS)
        hint = "make the tiles smaller, use fewer stages, or put tc.sync() behind the last use of one, so that another may take its place"
        most = self.shared_per_block
        require(shared <= most, f"{shared} bytes of shared memory per block; {self.name} has {most}", hint=hint, code=Code.SHARED_FULL)

    def resident(self, threads: int, registers: int, shared: int) -> int:
        """The blocks of `occupancy`."""
        return self.occupancy(threads, registers, shared).blocks

    def occupancy(self, threads: int, registers: int, shared: int = 0) -> Occupancy:
        """How many blocks of `threads` threads, `registers` per thread and `shared` bytes fit on one multiprocessor, and what stops more.

        The rules are those of cuda_occupancy.h in the CUDA toolkit, with the largest carve-out for shared memory.
        """
        self.check(threads, shared)
        warps = ceil_div(threads, WARP)
        per_warp = round_up(max(registers, 1) * WARP, REGISTER_UNIT)
        fits = per_warp * round_up(warps, PARTITIONS) <= self.registers_per_block and registers <= self.registers_per_thread
        by_registers = self.registers_per_sm // PARTITIONS // per_warp * PARTITIONS // warps if fits else 0
        limits = {
            "registers": by_registers,
            "shared memory": self.shared_per_sm // round_up(shared + SHARED_RESERVED, SHARED_UNIT),
            "warps": self.warps_per_sm // warps,
            "blocks": self.blocks_per_sm,
        }
        limit = min(limits, key=lambda k: limits[k])
        return Occupancy(limits[limit], limits[limit] * warps / self.warps_per_sm, limit)


class Occupancy(NamedTuple):
    """Blocks on one multiprocessor, the fraction of its warp slots that they fill, and the resource that runs out first."""

    blocks: int
    fraction: float
    limit: str


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    return ceil_div(a, b) * b


KB = 1024
# name, capability, PTX, shared memory per block and per multiprocessor in KB, warps and blocks per multiprocessor
TARGETS = {
    row[0]: Target(row[0], row[1], row[2], row[3] * KB, row[4] * KB, row[5], row[6])
    for row in (
        ("sm_80", (8, 0), "7.0", 163, 164, 64, 32),
        ("sm_86", (8, 6), "7.1", 99, 100, 48, 16),
        ("sm_87", (8, 7), "7.4", 163, 164, 48, 16),
        ("sm_89", (8, 9), "7.8", 99, 100, 48, 24),
        ("sm_90", (9, 0), "7.8", 227, 228, 64, 32),
        ("sm_90a", (9, 0), "8.0", 227, 228, 64, 32),
        ("sm_100a", (10, 0), "8.6", 227, 228, 64, 32),
        ("sm_100f", (10, 0), "8.8", 227, 228, 64, 32),
        ("sm_103a", (10, 3), "8.8", 227, 228, 64, 32),
        ("sm_110a", (11, 0), "9.0", 227, 228, 48, 24),
        ("sm_120a", (12, 0), "8.7", 99, 100, 48, 24),
        ("sm_120f", (12, 0), "8.8", 99, 100, 48, 24),
        ("sm_121a", (12, 1), "8.8", 99, 100, 48, 24),
    )
}


def since(major: int, minor: int = 0) -> Callable[[Target], bool]:
    return lambda t: t.capability >= (major, minor)


def among(*names: str) -> Callable[[Target], bool]:
    return lambda t: t.name in names


_DATACENTER_BLACKWELL = ("sm_100a", "sm_100f", "sm_103a")
_TENSOR_MEMORY = (*_DATACENTER_BLACKWELL, "sm_110a")
_GEFORCE_BLACKWELL = ("sm_120a", "sm_120f", "sm_121a")

FEATURES: dict[str, Callable[[Target], bool]] = {
    # memory
    "cp_async": since(8),
    "ldmatrix": since(8),
    "ldmatrix_b8": among(*_TENSOR_MEMORY, *_GEFORCE_BLACKWELL),  # 8-bit transposed, and 4- and 6-bit unpacking
    "movmatrix": since(8),
    "stmatrix": since(9),
    "load_32_bytes": lambda t: t.capability[0] in (10, 11),
    "tma": since(9),
    "cluster": since(9),
    "mbarrier": since(8),
    "mbarrier_try_wait": since(9),
    "red_vector": since(9),  # red.global of v2, v4, and of bf16x2
    # products
    "mma_f16": since(8),
    "mma_bf16": since(8),
    "mma_tf32": since(8),
    "mma_f64": since(8),
    "mma_s8": since(8),
    "mma_s4": lambda t: t.capability < (9, 0),
    "mma_b1_and": lambda t: t.capability < (10, 0),
    "mma_b1_xor": lambda t: t.capability < (9, 0),  # as two of and on 9.0
    "mma_fp8": lambda t: t.capability == (8, 9) or t.capability[0] == 12,  # emulated by HMMA elsewhere from 9.0
    "mma_f8f6f4": among(*_GEFORCE_BLACKWELL),
    "mma_block_scale": among(*_GEFORCE_BLACKWELL),
    "wgmma": among("sm_90a"),
    "tcgen05": among(*_TENSOR_MEMORY),
    "tcgen05_i8": among("sm_100a", "sm_110a"),
    # conversions and arithmetic
    "cvt_tf32_rn": since(9),
    "cvt_fp8": since(8, 9),
    "cvt_fp6_fp4": among(*_DATACENTER_BLACKWELL, *_GEFORCE_BLACKWELL),
    "cvt_stochastic": among("sm_100a", "sm_103a"),
    "f32x2": among(*_DATACENTER_BLACKWELL),
    "redux": since(8),
    "redux_f32": among(*_DATACENTER_BLACKWELL),
    # control
    "elect": since(9),
    "setmaxnreg": lambda t: t.capability >= (9, 0) and t.suffix != "",
    "griddepcontrol": since(9),
    "clusterlaunchcontrol": since(10),
}


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint that names the closest of `names`, and all of them."""
    known = list(names)
    close = alike(str(name), known, cutoff=0.4)
    return (f"did you mean {close[0]}? " if close else "") + f"known: {', '.join(known)}"


def target(name: str | Target) -> Target:
    """The architecture called `name`, such as "sm_80". Raises TileError with the names there are."""
    if isinstance(name, Target):
        return name
    if name not in TARGETS:
        older = str(name) in ("sm_50", "sm_52", "sm_60", "sm_61", "sm_70", "sm_72", "sm_75")
        raise TileError(f"no architecture is called {name!r}", hint=f"the oldest is {next(iter(TARGETS))}" if older else nearest(name, TARGETS))
    return TARGETS[name]


def for_device(capability: tuple[int, int]) -> Target:
    """The target that makes the most of a device of this compute capability. Raises TileError for one older than 8.0."""
    candidates = [t for t in TARGETS.values() if t.runs_on(capability)]
    have = f"compute capability {capability[0]}.{capability[1]}"
    require(candidates, f"no architecture here runs on a device of {have}", hint=f"known: {', '.join(TARGETS)}", code=Code.FEATURE)
    return max(candidates, key=lambda t: (t.capability, ["", "f", "a"].index(t.suffix)))
