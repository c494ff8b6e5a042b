"""What passes ask of the hardware: the protocol that `tilec.backend.target.Target` fulfils, so that passes need no backend."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tilec.ir.dtypes import DType
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused
from tilec.ir.types import SharedType, TileType
from tilec.records import record


class Fragments(NamedTuple):
    """How one warp's matrix instruction `c += a @ b` of [m, k] by [k, n] holds its operands."""

    shape: tuple[int, int, int]  # m, n, k
    a: Layout
    b: Layout
    c: Layout


@record()
class Cost:
    """What a step takes, summed over the warps of a block: costs add up, and a loop multiplies them. `Hardware.weight` makes one number of it."""

    instructions: float = 0.0  # that warps issue, but for those of the parts below
    shuffles: float = 0.0  # between the lanes of a warp
    passes: float = 0.0  # over the banks of shared memory, those among them that bank conflicts add
    barriers: float = 0.0  # that warps come to
    sectors: float = 0.0  # of 32 bytes of global memory that warps ask for
    registers: float = 0.0  # of 32 bits that warps hold the tile in

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(x + y for x, y in zip(self.parts, other.parts, strict=True)))

    def __mul__(self, times: float) -> Cost:
        return Cost(*(x * times for x in self.parts))

    @property
    def parts(self) -> tuple[float, ...]:
        """In the order of the fields."""
        return (self.instructions, self.shuffles, self.passes, self.barriers, self.sectors, self.registers)

    def __str__(self) -> str:
        named = zip(("instructions", "shuffles", "passes", "barriers", "sectors", "registers"), self.parts, strict=True)
        return ", ".join(f"{n:.0f} {name}" for name, n in named if n) or "nothing"


class Way(NamedTuple):
    """A way to bring a tile from one layout to another: `how` it goes, in the order of `HOW`, and what it takes."""

    how: str
    cost: Cost


HOW = ("registers", "shuffles", "shared memory")  # the ways of conversions, each reaching farther than the one before


class Hardware(Protocol):
    @property
    def name(self) -> str: ...

    def matrix(self, a: DType, b: DType, acc: DType, mode: str, depth: int) -> Fragments | Refused:
        """The fragments of the best matrix instruction for products of these types, `depth` elements deep, in a mode of `Dot`; refused if
        there is none."""
        ...

    def matrix_rows(self, memory: SharedType, dims: tuple[int, ...], tile: TileType, stored: bool = False) -> Layout | None:
        """Which row of 16 bytes each lane addresses when a tile is loaded, or stored, by matrices of 8 rows, counted in rows along the memory's
        contiguous axis; None if it can't be loaded so."""
        ...

    def resident(self, threads: int, registers: int, shared: int) -> int:
        """How many blocks of `threads` threads of so many `registers` each, with so many bytes of `shared` memory, a multiprocessor holds at once."""
        ...

    def weight(self, cost: Cost) -> float:
        """A cost as one number, by which offers are compared: cycles of a multiprocessor, roughly."""
        ...

    def conversions(self, tile: TileType, layout: Layout) -> tuple[Way, ...]:
        """The ways in which a tile can be brought to another layout, the least dear first."""
        ...

    def global_access(self, tile: TileType, along: int | None, most: int) -> Cost:
        """What a load or store of a tile, as it lies, takes whose axis `along` runs along the memory's contiguous one, if any does, with vectors of up
        to `most` elements."""
        ...

    def shared_access(self, tile: TileType, memory: SharedType, dims: tuple[int, ...], stored: bool = False) -> Cost:
        """What a load or store of a tile in shared memory takes, by matrices if it can be."""
        ...

    def reduction(self, tile: TileType, axes: tuple[int, ...]) -> Cost:
        """What a reduction takes: within threads, between the lanes of a warp, and between warps."""
        ...

    def unpacking(self, tile: TileType) -> Cost:
        """What it takes to make a tile of packed weights."""
        ...

    def check(self, threads: int, shared: int = 0) -> None:
        """Refuse a block that no launch could grant. Raises TileError."""
        ...
