"""Scalar types: integers and floats of 1 to 8 bits, codebooks, and the usual wide types.

A type is a value of one small class family. It knows its codes (the unsigned integers that memory holds) and what they mean: `encode`
takes wide NumPy values (the *carrier*: float64 for floats, int64 or uint64 for integers, bool) to codes with one rounding, `decode` takes
codes back, `round` is the rounding that arithmetic ends with, and `pack` and `unpack` put codes into bytes and back.

Formats: OCP 8-bit Floating Point Specification 1.0 (e4m3, e5m2), OCP Microscaling Formats 1.0 (e2m1, e2m3, e3m2, e8m0), IEEE 754-2019
(f16, f32, f64), NF4 of QLoRA (arXiv 2305.14314). All other floats of 3 to 8 bits follow one rule, stated at `Float`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilec.errors import Code, TileError, alike, require
from tilec.records import field, record

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Shaped(NamedTuple):
    """What `f16[M, K]` in an annotation means: an element type and dimensions (names or integers)."""

    dtype: DType
    shape: tuple[Any, ...]


@record()
class DType:
    """A scalar type: `bits` wide in memory, printed as `name`, which `dtype(name)` takes back."""

    name: str
    bits: int

    kind = "abstract"
    is_signed = True
    exponent_bits = 0
    mantissa_bits = 0
    bias = 0
    has_inf = False
    has_nan = False
    smallest_normal = 1.0
    smallest_subnormal = 1.0
    specials = ""

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name

    def __call__(self, x: Any) -> Any:
        """Inside a kernel `f32(x)` is `tc.cast(x, f32)`; anywhere else it raises TileError."""
        raise TileError(f"{self.name}(x) is only meaningful inside a kernel", hint="encode and decode convert arrays", code=Code.OUTSIDE)

    def __getitem__(self, dims: Any) -> Shaped:
        return Shaped(self, dims if isinstance(dims, tuple) else (dims,))

    @property
    def is_int(self) -> bool:
        return self.kind == "int"

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def computes(self) -> bool:
        """Whether arithmetic may be done in it; the others load, store, cast and view only."""
        return self.bits >= 16

    @cached_property
    def codes(self) -> type[Any]:
        """The smallest unsigned NumPy integer that holds a code."""
        return np.dtype(f"u{max(8, self.bits) // 8}").type

    @cached_property
    def numpy(self) -> type[Any]:
        """The NumPy type of such an array in memory: the type's own where NumPy has it, otherwise its codes (bf16, 8 bits and less)."""
        return self.codes

    @cached_property
    def carrier(self) -> type[Any]:
        """The NumPy type on which values are computed: it holds every value of the type."""
        return np.float64

    @property
    def max(self) -> Any:
        """The largest finite value, a Python number."""
        raise NotImplementedError

    @property
    def min(self) -> Any:
        """The smallest finite value, a Python number."""
        raise NotImplementedError

    @property
    def doc(self) -> str:
        """One paragraph: what it is, its range, its specials."""
        return f"{self.name}: {self.bits}-bit {self.kind}, {self.min!r} to {self.max!r}. {self.specials}"

    def encode(self, values: npt.ArrayLike, saturate: bool = True) -> Array:
        """Codes of `values` (float64, integers or bool, any shape), rounded once to nearest, ties to even.

        What is out of range becomes the nearest finite value if `saturate`, else what `specials` says.
        """
        raise NotImplementedError

    def decode(self, codes: npt.ArrayLike) -> Array:
        """Values of `codes` (unsigned, below 2**bits) in the carrier type."""
        codes = np.asarray(codes)
        require(codes.dtype.kind == "u" or not codes.size or codes.min() >= 0, f"codes of {self} are unsigned integers", code=Code.TENSOR)
        try:
            return self._table[codes]
        except IndexError:
            raise TileError(f"a code of {self} has {self.bits} bits, got {codes.max()}", code=Code.TENSOR) from None

    @property
    def element(self) -> DType:
        """The type of the elements of a tile that is loaded from a tensor of this type: itself, unless it says how they are packed."""
        return self

    @property
    def edge(self) -> Any:
        """What elements over the edge of a tensor, or left out by a mask, read as: zero bits, which are 0 but in e8m0 and in codebooks."""
        return 0 if self.computes else self.decode(np.zeros(1, self.codes))[0]

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor."""
        return packed_bytes(math.prod(shape), self)

    def to_bytes(self, codes: Array) -> Array:
        """A tensor in memory, 1-D uint8, of its codes in their shape."""
        return pack(codes, self)

    def from_bytes(self, data: Array, shape: tuple[int, ...]) -> Array:
        """The codes of a tensor of that shape in memory: the inverse of `to_bytes`."""
        return unpack(data, self, math.prod(shape)).reshape(shape)

    def round(self, values: npt.ArrayLike) -> Array:
        """Wide values rounded to the nearest value of this type, as a cast or an operation that ends in it does.

        Wide floats overflow to infinity as IEEE 754 says, integers wrap; floats of 8 bits and less saturate, as the GPU's
        conversions to them do. The result may be the argument itself.
        """
        return self.decode(self.encode(values))

    @cached_property
    def _table(self) -> Array:
        """The value of each code, for types of few bits."""
        raise NotImplementedError


@record(repr=False)
class Bool(DType):
    """True or False, a byte in memory, as in NumPy. Everything but zero encodes to 1, NaN too."""

    kind = "bool"
    is_signed = False
    computes = True
    max = True
    min = False
    specials = "One byte in memory; everything but zero is true, NaN too."

    @cached_property
    def numpy(self) -> type[Any]:
        return np.bool_

    @cached_property
    def carrier(self) -> type[Any]:
        return np.bool_

    def encode(self, values: npt.ArrayLike, saturate: bool = True) -> Array:
        return (np.asarray(values) != 0).astype(np.uint8)

    def decode(self, codes: npt.ArrayLike) -> Array:
        return np.asarray(codes) != 0

    def round(self, values: npt.ArrayLike) -> Array:
        return np.asarray(values) != 0


@record(repr=False)
class Int(DType):
    """Two's complement or unsigned integers of any width to 64 bits.

    `encode` rounds to nearest even, then saturates; with `saturate=False` integers wrap, while floats, which have no low bits to keep,
    still saturate. NaN becomes 0. `round` wraps.
    """

    signed: bool = True
    kind = "int"
    specials = "Two's complement; NaN encodes to 0."

    @property
    def is_signed(self) -> bool:  # type: ignore[override]
        return self.signed

    @cached_property
    def numpy(self) -> type[Any]:
        return np.dtype(f"{'iu'[not self.signed]}{self.bits // 8}").type if self.bits >= 16 else self.codes

    @cached_property
    def carrier(self) -> type[Any]:
        return np.uint64 if self.bits == 64 and not self.signed else np.int64

    @property
    def max(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    def encode(self, values: npt.ArrayLike, saturate: bool = True) -> Array:
        wide = np.asarray(values)
        if wide.dtype.kind not in "iub":
            wide = self._from_float(as_float64(wide))
        elif saturate and wide.dtype.kind != "b":
            bounds = np.iinfo(wide.dtype)
            wide = np.clip(wide, max(self.min, bounds.min), min(self.max, bounds.max))
        return self._low_bits(wide.astype(self.carrier, copy=False)).astype(self.codes)

    def _from_float(self, values: Array) -> Array:
        """Rounded, saturated, NaN to 0. The upper bound of a 64-bit type is no float64, hence the comparison."""
        values = np.rint(values.astype(np.float64, copy=False))
        values = np.where(np.isnan(values), 0.0, values)
        top = values >= float(self.max)
        inside = np.where(top, 0.0, np.maximum(values, float(self.min))).astype(self.carrier)
        return np.where(top, self.carrier(self.max), inside)

    def decode(self, codes: npt.ArrayLike) -> Array:
        return self.round(np.asarray(codes))

    def round(self, values: npt.ArrayLike) -> Array:
        wide = np.asarray(values)
        if wide.dtype.kind not in "iub":
            raise TileError(f"only integers wrap to {self}, got {wide.dtype}", hint="encode rounds and saturates floats", code=Code.TENSOR)
        wide = wide.astype(self.carrier, copy=False)
        spare = 64 - self.bits
        return (wide << spare) >> spare if self.signed and spare else self._low_bits(wide)

    def _low_bits(self, wide: Array) -> Array:
        return wide & ((1 << self.bits) - 1) if self.bits < 64 else wide


@record(repr=False)
class Float(DType):
    """Sign, `exponent_bits`, `mantissa_bits`: the layout of IEEE 754, with subnormals and the bias 2**(exponent_bits - 1) - 1.

    The rule for 3 to 8 bits: every code is a finite number, infinities and NaN do not exist. With one exponent bit the bias is 0, so
    that e1mY is a sign and a whole number of 1 + Y bits, times 2**(1-Y); with no mantissa bits a value is 0 or a power of two. `top` says
    what the codes of the highest exponent are: "finite" for the rule, "ieee" for infinity and NaN as in IEEE 754 (e5m2, f16 and
    wider), "nan" for one NaN of each sign, all ones, and finite numbers besides (e4m3).

    Ties go to the even mantissa; where there is no mantissa, between two powers of two, to the larger one (IEEE 754-2019, 4.3.1).
    Out of range, `encode(..., saturate=False)` gives infinity, NaN where there is no infinity, and still the largest finite value
    where there is neither. NaN encodes to NaN, or to +max in a format without NaN, which is what PTX's `cvt.rn.satfinite` does for
    e2m1, e2m3 and e3m2.
    """

    exponent_bits: int = 0
    mantissa_bits: int = 0
    top: str = "finite"
    kind = "float"

    @property
    def bias(self) -> int:  # type: ignore[override]
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def has_inf(self) -> bool:  # type: ignore[override]
        return self.top == "ieee"

    @property
    def has_nan(self) -> bool:  # type: ignore[override]
        return self.top != "finite"

    @property
    def specials(self) -> str:  # type: ignore[override]
        return {"finite": "Finite: no infinity, no NaN; overflow saturates, NaN becomes +max.",
                "nan": "No infinity; NaN is all ones below the sign.",
                "ieee": "Infinity and NaN as in IEEE 754."}[self.top]  # fmt: skip

    @cached_property
    def max_code(self) -> int:
        """The code of the largest finite value."""
        magnitude = (1 << (self.bits - 1)) - 1
        return magnitude - {"finite": 0, "nan": 1, "ieee": 1 << self.mantissa_bits}[self.top]

    @cached_property
    def max(self) -> float:  # type: ignore[override]
        return self._magnitude(self.max_code)

    @property
    def min(self) -> float:
        return -self.max

    @property
    def smallest_normal(self) -> float:  # type: ignore[override]
        return 2.0 ** (1 - self.bias)

    @property
    def smallest_subnormal(self) -> float:  # type: ignore[override]
        """The smallest positive value; the smallest normal one if there is no mantissa."""
        return self.smallest_normal * 2.0**-self.mantissa_bits

    @cached_property
    def numpy(self) -> type[Any]:
        native = self.bits >= 16 and (self.exponent_bits, self.bits) != (8, 16)
        return np.dtype(f"f{self.bits // 8}").type if native else self.codes

    def _magnitude(self, code: int) -> float:
        exponent, mantissa = divmod(code, 1 << self.mantissa_bits)
        significand = mantissa + ((exponent > 0) << self.mantissa_bits)
        return significand * 2.0 ** (max(exponent, 1) - self.bias - self.mantissa_bits)

    @cached_property
    def _table(self) -> Array:
        finite = [self._magnitude(c) for c in range(self.max_code + 1)]
        rest = (1 << (self.bits - 1)) - len(finite)
        half = finite + ([np.inf] * (rest > 0 and self.has_inf) + [np.nan] * rest)[:rest]
        return np.array(half + [-x for x in half])

    def encode(self, values: npt.ArrayLike, saturate: bool = True) -> Array:
        values = as_float64(values, exact=self.bits == 64)
        if self.bits < 16:
            return self._encode_small(values, saturate)
        if saturate:
            values = np.clip(values, self.min, self.max)
        values = self.round(values)
        if self.numpy is self.codes:  # bf16: the upper half of an f32
            return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        with np.errstate(over="ignore"):
            return values.astype(self.numpy).view(self.codes)

    def _encode_small(self, values: Array, saturate: bool) -> Array:
        """code = (value / 2**e) * 2**m, rounded, + (e - emin) * 2**m, where e is the exponent of the value, at least emin.

        A value that rounds up to the next power of two carries into the exponent by itself.
        """
        m, emin = self.mantissa_bits, 1 - self.bias
        magnitude = np.minimum(np.abs(values), 2 * self.max).reshape(-1)
        exponent = (magnitude.view(np.int64) >> 52).clip(emin + 1023, 2046)  # NaN has 2047, and is set below
        ulps = magnitude * ((2046 + m - exponent) << 52).view(np.float64)
        nan = np.isnan(values).reshape(-1)
        ulps[nan] = 0
        codes = np.rint(ulps).astype(np.int64) + ((exponent - (emin + 1023)) << m)
        codes = np.minimum(codes, self.max_code + (self.has_nan and not saturate))  # the next code is infinity, or NaN if there is none
        codes = codes.astype(np.uint8).reshape(values.shape)
        codes |= np.signbit(values).astype(np.uint8) << np.uint8(self.bits - 1)
        codes[nan.reshape(values.shape)] = (1 << (self.bits - 1)) - 1  # the NaN that PTX calls canonical, or +max
        return codes

    def decode(self, codes: npt.ArrayLike) -> Array:
        if self.bits < 16:
            return super().decode(codes)
        codes = np.ascontiguousarray(codes, self.codes).reshape(np.shape(codes))
        native = (codes.astype(np.uint32) << 16).view(np.float32) if self.numpy is self.codes else codes.view(self.numpy)
        with np.errstate(invalid="ignore"):  # signalling NaNs
            return native.astype(np.float64)

    def round(self, values: npt.ArrayLike) -> Array:
        values = as_float64(values, exact=self.bits == 64)
        if self.bits < 16:
            rounded = self._round_by_adding(np.clip(values, self.min, self.max))
            return rounded if self.has_nan else np.where(np.isnan(rounded), self.max, rounded)
        if self.numpy is self.codes:
            limit = 2.0 ** (self.bias + 1)
            rounded = self._round_by_adding(np.clip(values, -limit, limit))
            return np.where(np.abs(rounded) >= limit, np.copysign(np.inf, rounded), rounded)
        with np.errstate(over="ignore"):
            return values.astype(self.numpy, copy=False).astype(np.float64, copy=False)

    def _round_by_adding(self, values: Array) -> Array:
        """Add and take away 1.5 * 2**(52 - m) * 2**e: the sum has the result's last place, so that float64 does the one rounding itself."""
        x = values.reshape(-1)
        power = (x.view(np.int64) & 0x7FF0000000000000).view(np.float64)
        np.maximum(power, self.smallest_normal, out=power)
        power *= 1.5 * 2.0 ** (52 - self.mantissa_bits)
        result = x + power
        result -= power
        return np.copysign(result, x).reshape(values.shape)


@record(repr=False)
class Scale(DType):
    """e8m0 of OCP MX: the exponent alone, unsigned: code c is 2**(c - 127), 255 is NaN; there is no zero.

    Rounds to the nearest power of two, ties to the larger. What is below the range, zero included, becomes 2**-127; negative
    numbers become NaN. With `saturate=False` both ends become NaN.
    """

    kind = "float"
    is_signed = False
    exponent_bits = 8
    bias = 127
    has_nan = True
    max = 2.0**127
    min = 2.0**-127
    smallest_normal = smallest_subnormal = 2.0**-127
    specials = "Powers of two only: no sign, no zero, no infinity; 255 is NaN, and so is what encodes from a negative number."

    @cached_property
    def _table(self) -> Array:
        return np.append(2.0 ** np.arange(-127.0, 128.0), np.nan)

    def encode(self, values: npt.ArrayLike, saturate: bool = True) -> Array:
        values = as_float64(values)
        nan = ~(values >= 0)
        fraction, exponent = np.frexp(np.where(nan | np.isinf(values), 2.0**128, values))  # fraction in [0.5, 1), or 0
        codes = np.where(fraction > 0, exponent + (126 + (fraction >= 0.75)), -1)
        nan |= False if saturate else (codes < 0) | (codes > 254)
        return np.where(nan, 255, np.clip(codes, 0, 254)).astype(np.uint8)


@record(repr=False)
class Codebook(DType):
    """Code c is `entries[c]`: 2, 4, ... 256 distinct finite numbers in any order.

    Encodes to the nearest entry; a tie goes to the even code, and between two even or two odd codes to the smaller entry. NaN takes
    the largest.
    """

    entries: tuple[float, ...] = field(default=())
    kind = "codebook"
    specials = "A table of values; NaN encodes to the largest."

    @property
    def max(self) -> float:
        return max(self.entries)

    @property
    def min(self) -> float:
        return min(self.entries)

    @cached_property
    def _table(self) -> Array:
        return np.array(self.entries)

    @cached_property
    def search(self) -> tuple[Array, Array]:
        """(largest float64 that still goes to the lower one of two neighbours, codes in order of their entries)."""
        order = np.argsort(self._table)
        low, high = self._table[order][:-1], self._table[order][1:]
        total = low + high
        part = total - low
        error = (low - (total - part)) + (high - part)  # Knuth's two-sum: low + high = total + error, exactly
        tie_up = (order[1:] % 2 == 0) & (order[:-1] % 2 == 1)
        down = (error < 0) | ((error == 0) & tie_up)
        return np.where(down, np.nextafter(total / 2, -np.inf), total / 2), order.astype(np.uint8)

    def encode(self, values: npt.ArrayLike, saturate: bool = True) -> Array:
        thresholds, codes = self.search
        return codes[np.searchsorted(thresholds, as_float64(values))]


def as_float64(values: npt.ArrayLike, exact: bool = False) -> Array:
    """Values as float64. Integers past 2**53 are not rounded here, what is cut off is jammed into the last bit, unless `exact`."""
    wide = np.asarray(values)
    if wide.dtype.kind in "iu" and wide.dtype.itemsize == 8 and not exact:
        large = wide > 1 << 53 if wide.dtype.kind == "u" else (wide > 1 << 53) | (wide < -(1 << 53))
        if large.any():
            rest = wide & 0x7FF
            wide = np.where(large, (wide - rest) | ((rest != 0).astype(wide.dtype) << 11), wide)
    return wide.astype(np.float64, copy=False)


def pack(codes: npt.ArrayLike, dtype: DType) -> Array:
    """Codes in row-major order as a 1-D uint8 buffer: elements from the least significant bit up, no padding but in the last byte."""
    codes = np.ascontiguousarray(codes).reshape(-1)
    if dtype.bits >= 8:
        return codes.astype(np.dtype(dtype.codes).newbyteorder("<")).view(np.uint8)
    require(not codes.size or (codes.min() >= 0 and codes.max() < 1 << dtype.bits), f"a code of {dtype} has {dtype.bits} bits", code=Code.TENSOR)
    groups = np.zeros((-(-codes.size // 8), 8), np.uint8)  # 8 elements are `bits` bytes
    groups.reshape(-1)[: codes.size] = codes
    words = np.zeros(len(groups), "<u8")
    for i in range(8):
        words |= groups[:, i].astype("<u8") << np.uint64(dtype.bits * i)
    packed = words.view(np.uint8).reshape(-1, 8)[:, : dtype.bits]
    return packed.reshape(-1)[: packed_bytes(codes.size, dtype)].copy()


def unpack(buffer: Array, dtype: DType, count: int) -> Array:
    """The first `count` codes of a contiguous buffer, 1-D, in the type's code type. The inverse of `pack`."""
    size = packed_bytes(count, dtype)
    data = np.ascontiguousarray(buffer).reshape(-1).view(np.uint8)[:size]
    require(data.size == size, f"{count} elements of {dtype} need {size} bytes, but the buffer has {data.size}", code=Code.TENSOR)
    if dtype.bits >= 8:
        return data.view(np.dtype(dtype.codes).newbyteorder("<")).astype(dtype.codes)
    padded = np.zeros((-(-count // 8), dtype.bits), np.uint8)
    padded.reshape(-1)[:size] = data
    bytes_of_words = np.zeros((len(padded), 8), np.uint8)
    bytes_of_words[:, : dtype.bits] = padded
    words = bytes_of_words.view("<u8")[:, 0]
    codes = np.empty((len(words), 8), np.uint8)
    for i in range(8):
        codes[:, i] = (words >> np.uint64(dtype.bits * i)) & np.uint64((1 << dtype.bits) - 1)
    return codes.reshape(-1)[:count]


def packed_bytes(count: int, dtype: DType) -> int:
    """Bytes that `count` packed elements take."""
    return -(-count * dtype.bits // 8)


def _floats(bits: int) -> Iterator[Float]:
    """All floats of that many bits, e1 first."""
    for e in range(1, bits):
        m = bits - 1 - e
        yield Float(f"float{bits}_e{e}m{m}", bits, e, m, {(4, 3): "nan", (5, 2): "ieee"}.get((e, m), "finite"))


int1, int2, int3, int4, int5, int6, int7, int8 = (Int(f"int{b}", b) for b in range(1, 9))
uint1, uint2, uint3, uint4, uint5, uint6, uint7, uint8 = (Int(f"uint{b}", b, False) for b in range(1, 9))
i16, i32, i64 = (Int(f"i{b}", b) for b in (16, 32, 64))
u16, u32, u64 = (Int(f"u{b}", b, False) for b in (16, 32, 64))
bool_ = Bool("bool", 8)
float3_e1m1, float3_e2m0 = _floats(3)
float4_e1m2, float4_e2m1, float4_e3m0 = _floats(4)
float5_e1m3, float5_e2m2, float5_e3m1, float5_e4m0 = _floats(5)
float6_e1m4, float6_e2m3, float6_e3m2, float6_e4m1, float6_e5m0 = _floats(6)
float7_e1m5, float7_e2m4, float7_e3m3, float7_e4m2, float7_e5m1, float7_e6m0 = _floats(7)
float8_e1m6, float8_e2m5, float8_e3m4, float8_e4m3, float8_e5m2, float8_e6m1, float8_e7m0 = _floats(8)
float8_e8m0 = Scale("float8_e8m0", 8)
f16, bf16, f32, f64 = (
    Float(name, bits, e, bits - 1 - e, "ieee") for name, bits, e in [("f16", 16, 5), ("bf16", 16, 8), ("f32", 32, 8), ("f64", 64, 11)]
)

_by_name: dict[str, DType] = {d.name: d for d in list(globals().values()) if isinstance(d, DType)}
_aliases: dict[str, DType] = {"i8": int8, "u8": uint8} | {
    name.split("_")[1]: d for name, d in _by_name.items() if d.is_float and "_" in name
}


def codebook(name: str, entries: Iterable[float]) -> Codebook:
    """Define a type by its table of values: 2, 4, ... 256 distinct finite numbers; `dtype(name)` finds it from then on."""
    values = tuple(float(x) for x in entries)
    bits = (len(values) - 1).bit_length()
    require(1 <= bits <= 8 and len(values) == 1 << bits, f"a codebook has 2, 4, ... or 256 entries, got {len(values)}")
    require(np.isfinite(values).all() and len(set(values)) == len(values), f"the entries of {name} must be finite and distinct")
    require(name.isidentifier() and name not in _aliases, f"{name!r} can't name a type")
    made = Codebook(name, bits, values)
    require(_by_name.setdefault(name, made) == made, f"the type {name} exists already, with another meaning")
    return made


nf4 = codebook("nf4", (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
    0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
))  # fmt: skip


def dtype(name: str | DType) -> DType:
    """The type of that name (`"float6_e3m2"`) or short name (`"e3m2"`, `"i8"`); a type is taken as it is. Raises TileError for others."""
    if isinstance(name, DType):
        return name
    found = _by_name.get(name) or _aliases.get(name) or next((d for make in derived if (d := make(str(name)))), None)
    if found is None:
        raise TileError(f"there is no type {name!r}", hint=_nearest_names(name))
    return found


derived: list[Callable[[str], DType | None]] = []  # what makes types of types, asked for the names that are not known here


def _nearest_names(name: str) -> str:
    close = alike(str(name), [*_by_name, *_aliases], n=3)
    return f"did you mean {' or '.join(close)}?" if close else "types are int1 to int8, uint1 to uint8, i16 to u64, bool, f16, f32, e4m3..."


def all_dtypes() -> tuple[DType, ...]:
    """Every type there is, codebooks included, in order of definition."""
    return tuple(_by_name.values())


_from_numpy: dict[str, DType] = {
    "bool": bool_, "float16": f16, "float32": f32, "float64": f64, "int16": i16, "int32": i32, "int64": i64,
    "uint16": u16, "uint32": u32, "uint64": u64, "bfloat16": bf16, "float8_e4m3fn": float8_e4m3, "float8_e5m2": float8_e5m2,
    "float8_e8m0fnu": float8_e8m0, "float6_e2m3fn": float6_e2m3, "float6_e3m2fn": float6_e3m2, "float4_e2m1fn": float4_e2m1,
} | {f"{sign}int{b}": _by_name[f"{sign}int{b}"] for sign in ("", "u") for b in (1, 2, 4, 8)}  # fmt: skip


def from_numpy(np_dtype: npt.DTypeLike) -> DType:
    """The type of a NumPy array's elements, ml_dtypes included, by its name. Raises TileError for formats that tilec does not have."""
    name = np.dtype(np_dtype).name
    if name not in _from_numpy:
        raise TileError(f"NumPy's {name} has no counterpart in tilec", hint=f"it takes {', '.join(_from_numpy)}")
    return _from_numpy[name]


def by_numpy_name(name: str) -> DType | None:
    """The type that NumPy, ml_dtypes and PyTorch call by this name ("float8_e4m3fn"), if its elements lie there as in a tensor: in whole bytes."""
    found = _from_numpy.get(name)
    return found if found is not None and (found.is_bool or found.bits % 8 == 0) else None


def numpy_name(dtype: DType) -> str | None:
    """The inverse of `by_numpy_name`."""
    return next((name for name in _from_numpy if by_numpy_name(name) == dtype), None)
