"""What passes ask of the hardware: the protocol that `tilec.backend.target.Target` fulfils, so that passes need no backend."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tilec.ir.dtypes import DType
from tilec.ir.layout import Layout
from tilec.ir.notes import Refused
from tilec.ir.types import SharedType, TileType


class Fragments(NamedTuple):
    """How one warp's matrix instruction `c += a @ b` of [m, k] by [k, n] holds its operands."""

    shape: tuple[int, int, int]  # m, n, k
    a: Layout
    b: Layout
    c: Layout


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

    def check(self, threads: int, shared: int = 0) -> None:
        """Refuse a block that no launch could grant. Raises TileError."""
        ...
