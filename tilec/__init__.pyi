"""Types of the language. Written by `python -m tilec.frontend.stubs` from the ops: don't edit."""
# ruff: noqa: E501, I001

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, ClassVar, overload

from tilec.bundle import (
    Bundle as Bundle,
)
from tilec.compiler import (
    Compiled as Compiled,
    Kernel as Kernel,
    kernel as kernel,
)
from tilec.errors import (
    Loc as Loc,
    TileError as TileError,
)
from tilec.ir.dtypes import (
    DType as DType,
    all_dtypes as all_dtypes,
    bf16 as bf16,
    bool_ as bool_,
    codebook as codebook,
    dtype as dtype,
    f16 as f16,
    f32 as f32,
    f64 as f64,
    float3_e1m1 as float3_e1m1,
    float3_e2m0 as float3_e2m0,
    float4_e1m2 as float4_e1m2,
    float4_e2m1 as float4_e2m1,
    float4_e3m0 as float4_e3m0,
    float5_e1m3 as float5_e1m3,
    float5_e2m2 as float5_e2m2,
    float5_e3m1 as float5_e3m1,
    float5_e4m0 as float5_e4m0,
    float6_e1m4 as float6_e1m4,
    float6_e2m3 as float6_e2m3,
    float6_e3m2 as float6_e3m2,
    float6_e4m1 as float6_e4m1,
    float6_e5m0 as float6_e5m0,
    float7_e1m5 as float7_e1m5,
    float7_e2m4 as float7_e2m4,
    float7_e3m3 as float7_e3m3,
    float7_e4m2 as float7_e4m2,
    float7_e5m1 as float7_e5m1,
    float7_e6m0 as float7_e6m0,
    float8_e1m6 as float8_e1m6,
    float8_e2m5 as float8_e2m5,
    float8_e3m4 as float8_e3m4,
    float8_e4m3 as float8_e4m3,
    float8_e5m2 as float8_e5m2,
    float8_e6m1 as float8_e6m1,
    float8_e7m0 as float8_e7m0,
    float8_e8m0 as float8_e8m0,
    i16 as i16,
    i32 as i32,
    i64 as i64,
    int1 as int1,
    int2 as int2,
    int3 as int3,
    int4 as int4,
    int5 as int5,
    int6 as int6,
    int7 as int7,
    int8 as int8,
    nf4 as nf4,
    u16 as u16,
    u32 as u32,
    u64 as u64,
    uint1 as uint1,
    uint2 as uint2,
    uint3 as uint3,
    uint4 as uint4,
    uint5 as uint5,
    uint6 as uint6,
    uint7 as uint7,
    uint8 as uint8,
)
from tilec.ir.layout import (
    Layout as Layout,
    column_local as column_local,
    column_spatial as column_spatial,
    local as local,
    replicated as replicated,
    spatial as spatial,
)
from tilec.ir.packing import (
    packed as packed,
)
from tilec.ir.tensor import (
    Tensor as Tensor,
    tensor as tensor,
)
from tilec.ir.text import (
    parse as parse,
)

class Tile:
    """A tile in registers, or a scalar, inside a kernel. Operators compute elementwise; `@` is `dot`."""

    shape: tuple[int, ...]
    dtype: DType
    rank: int
    T: Tile
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __getitem__(self, axes: Any) -> Tile:
        """`x[:, None]`: new axes of extent 1."""
    def __neg__(self) -> Tile: ...
    def __pos__(self) -> Tile: ...
    def __invert__(self) -> Tile: ...
    def __abs__(self) -> Tile: ...
    def __index__(self) -> int: ...
    def __int__(self) -> int: ...
    def __float__(self) -> float: ...
    def __add__(self, other: Operand) -> Tile:
        """Sum `x + y`."""
    def __radd__(self, other: Operand) -> Tile: ...
    def __sub__(self, other: Operand) -> Tile:
        """Difference `x - y`."""
    def __rsub__(self, other: Operand) -> Tile: ...
    def __mul__(self, other: Operand) -> Tile:
        """Product `x * y`."""
    def __rmul__(self, other: Operand) -> Tile: ...
    def __truediv__(self, other: Operand) -> Tile:
        """Quotient `x / y` of floating tiles, correctly rounded (IEEE)."""
    def __rtruediv__(self, other: Operand) -> Tile: ...
    def __floordiv__(self, other: Operand) -> Tile:
        """Quotient `x // y` rounded towards minus infinity, as in Python."""
    def __rfloordiv__(self, other: Operand) -> Tile: ...
    def __mod__(self, other: Operand) -> Tile:
        """Remainder `x % y` with the sign of y, as in Python."""
    def __rmod__(self, other: Operand) -> Tile: ...
    def __and__(self, other: Operand) -> Tile:
        """Bitwise, or on bools logical, `x & y`."""
    def __rand__(self, other: Operand) -> Tile: ...
    def __or__(self, other: Operand) -> Tile:
        """Bitwise, or on bools logical, `x | y`."""
    def __ror__(self, other: Operand) -> Tile: ...
    def __xor__(self, other: Operand) -> Tile:
        """Bitwise, or on bools logical, `x ^ y`."""
    def __rxor__(self, other: Operand) -> Tile: ...
    def __lshift__(self, other: Operand) -> Tile:
        """`x << y`."""
    def __rlshift__(self, other: Operand) -> Tile: ...
    def __rshift__(self, other: Operand) -> Tile:
        """`x >> y`: arithmetic on signed, logical on unsigned types."""
    def __rrshift__(self, other: Operand) -> Tile: ...
    def __lt__(self, other: Operand) -> Tile:
        """`x < y`."""
    def __le__(self, other: Operand) -> Tile:
        """`x <= y`."""
    def __gt__(self, other: Operand) -> Tile:
        """`x > y`."""
    def __ge__(self, other: Operand) -> Tile:
        """`x >= y`."""
    def __eq__(self, other: Operand) -> Tile:  # type: ignore[override]
        """`x == y`."""
    def __ne__(self, other: Operand) -> Tile:  # type: ignore[override]
        """`x != y`."""
    def __matmul__(self, other: Operand) -> Tile:
        """Matrix product `a @ b + acc` of tiles [m, k] and [k, n], or of stacks of such, [s, m, k] and [s, k, n].

        Accumulated in the type of `acc`, in f32 by default for floats (f64 for f64, f16 if acc is f16) and in i32 for integers. The types are
        f16, bf16, f32, f64, float8_e4m3, float8_e5m2, integers of up to 8 bits, and i32. Where the two differ, the storage type is converted to the
        other, exactly, by casts that the IR shows. `precision` is for f32: "ieee", "tf32" (operands rounded to 11 bits), or "tf32x3" (three
        products of tf32, with nearly the precision of f32). `xor=True` is for uint1: it counts where bits differ, not where both are 1.
        """
    def __rmatmul__(self, other: Operand) -> Tile: ...
    def to(self, dtype: DType) -> Tile: ...
    def cast(self, dtype: DType) -> Tile: ...
    def sum(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile: ...
    def prod(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile: ...
    def max(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile: ...
    def min(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile: ...
    def reshape(self, shape: Sequence[int]) -> Tile: ...
    def transpose(self, axes: Sequence[int] | None = None) -> Tile: ...
    def broadcast(self, shape: Sequence[int]) -> Tile: ...
    def view(self, dtype: DType, layout: Layout) -> Tile: ...

class GlobalTensor:
    """A tensor parameter, inside a kernel."""

    shape: tuple[Any, ...]
    dtype: DType
    rank: int

class SharedTile:
    """A tile in shared memory, inside a kernel."""

    shape: tuple[int, ...]
    dtype: DType
    rank: int
    def __getitem__(self, index: Tile | int) -> SharedTile: ...

Number = int | float | bool
Operand = Tile | int | float | bool
Index = Tile | int
Function = Callable[..., Any]
Memory = GlobalTensor | SharedTile

class Dim:
    """The name of a runtime dimension; inside a kernel its value, an i32 scalar."""

    name: str

class HelperFunction:
    """A function whose calls are inlined into kernels."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

def minimum(x: Operand, y: Operand) -> Tile:
    """The smaller of `x` and `y`; NaN if either is (as numpy.minimum)."""

def maximum(x: Operand, y: Operand) -> Tile:
    """The larger of `x` and `y`; NaN if either is (as numpy.maximum)."""

def where(condition: Operand, x: Operand, y: Operand) -> Tile:
    """`x` where `condition` holds, else `y`."""

def abs(x: Operand) -> Tile:
    """Absolute value."""

def exp(x: Operand, approx: bool = False) -> Tile:
    """e to the power x. On the GPU the relative error is at most 2**-21.4 (3 ulp) in f32, plus one rounding to f16 or bf16.

    With `approx`, fewer instructions: relative error at most 2**-21 + |x| * 2**-23, results below 2**-126 are 0.
    """

def exp2(x: Operand, approx: bool = False) -> Tile:
    """2 to the power x. On the GPU the relative error is at most 2**-22 (2 ulp) in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: results below 2**-126 are 0.
    """

def log(x: Operand, approx: bool = False) -> Tile:
    """Natural logarithm.

    On the GPU the relative error is at most 2**-21.4 (3 ulp) in f32, or where 0.5 <= x <= 2 the absolute one, plus one rounding to f16
    or bf16. With `approx`, x below 2**-126 counts as 0.
    """

def log2(x: Operand, approx: bool = False) -> Tile:
    """Logarithm to base 2.

    On the GPU the relative error is at most 2**-22 (2 ulp) in f32, or where 0.5 <= x <= 2 the absolute one, plus one rounding to f16
    or bf16. With `approx`, one instruction: x below 2**-126 counts as 0.
    """

def sqrt(x: Operand, approx: bool = False) -> Tile:
    """Square root, correctly rounded. With `approx`, one instruction: relative error at most 2**-22.5."""

def rsqrt(x: Operand, approx: bool = False) -> Tile:
    """Reciprocal square root `1 / sqrt(x)`.

    On the GPU the relative error is at most 2**-22 (2 ulp) in f32, plus one rounding to f16 or bf16. With `approx`, one instruction: x below
    2**-126 counts as 0.
    """

def reciprocal(x: Operand, approx: bool = False) -> Tile:
    """`1 / x`, correctly rounded. With `approx`, one instruction: relative error at most 2**-23, results and x below 2**-126 are 0."""

def tanh(x: Operand, approx: bool = False) -> Tile:
    """Hyperbolic tangent. On the GPU the relative error is at most 2**-21 in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: relative error at most 2**-11.
    """

def floor(x: Operand) -> Tile:
    """The largest integer not above x, as a floating number."""

def ceil(x: Operand) -> Tile:
    """The smallest integer not below x, as a floating number."""

def fma(x: Operand, y: Operand, z: Operand) -> Tile:
    """`x * y + z` with one rounding, on floating tiles."""

def cast(x: Operand, dtype: DType) -> Tile:
    """Converts each element to another type.

    To a floating type: rounded to nearest even; f16, bf16, f32 and f64 overflow to infinity, storage types saturate at their largest
    value. To a storage integer (1 to 8 bits): rounded to nearest even, saturated. To a computing integer: from floats towards
    zero and saturated, NaN gives 0; from integers modulo 2**bits. To bool: `x != 0`.
    """

def copy_async(target: Memory, source: Memory, offsets: Sequence[Index] | Index, *, dims: Sequence[int] | None = None, cache: str | None = None, evict: str | None = None, prefetch: int | None = None) -> None:
    """Starts to copy a tile at `offsets` of a global tensor into a shared tile; over the edge it writes 0.

    The copy belongs to the group that the next `tc.commit()` closes. `layout` says which thread copies what. Hints to the caches: `cache`
    is "ca" or "cg" (only copies of 16 bytes bypass the L1 cache), `evict` "first" or "last" (of the L2 cache), `prefetch` 64, 128 or 256
    bytes.
    """

def commit() -> None:
    """Closes the group of the asynchronous copies started since the last `tc.commit()`."""

def wait(pending: int = 0) -> None:
    """Waits until at most the newest `pending` groups of copies are still under way. Follow it with `tc.sync()`."""

def zeros(dtype: DType, shape: Sequence[int]) -> Tile:
    """A tile of zeros."""

def full(dtype: DType, shape: Sequence[int], value: Operand) -> Tile:
    """A tile whose elements all are `value`, a number or a scalar of the tile's type."""

def arange(start: int, stop: int | None = None, dtype: DType = i32) -> Tile:
    """The integers `start`, `start + 1`, ... below `stop`: a tile of shape [stop - start], i32 unless another type is named."""

def broadcast(x: Operand, shape: Sequence[int]) -> Tile:
    """Repeats a tile along new or size-1 axes to a shape, by NumPy's rule."""

def reshape(x: Tile, shape: Sequence[int]) -> Tile:
    """The same elements in row-major order under another shape; one extent may be -1."""

def transpose(x: Tile, axes: Sequence[int] | None = None) -> Tile:
    """The axes in another order (reversed by default): result axis i is operand axis `axes[i]`."""

def view(x: Tile, dtype: DType, layout: Layout) -> Tile:
    """The same bits of each thread read as another type in another layout.

    Each thread's elements, packed from the least significant bit in register order, are cut anew: a tile of 3 uint8 a thread becomes
    one of 4 int6 a thread. The operand's layout must have been stated. The result's shape is the layout's.
    """

def gather(source: Memory, offsets: Sequence[Index] | Index | None, shape: Sequence[int] | None = None, *, mask: Operand | None = None, other: Operand = 0, dims: Sequence[int] | None = None, layout: Layout | None = None, cache: str | None = None, evict: str | None = None, prefetch: int | None = None) -> Tile:
    """Reads the elements that tiles of indices name: `tc.gather(table, [rows, k], [64, 32])` reads 64 rows, each from column k on.

    An offset is an integer, or an integer tile: one with a single axis lists the places along its axis of the tensor (`rows` has 64
    elements here), any other has an index for each element of the result. Where the mask is False, or the place lies outside of the
    tensor (a negative index, too), the element is `other`. Without a shape, a tile of the shape that the indices broadcast to.
    """

def scatter(target: Memory, offsets: Sequence[Index] | Index | Operand, value: Operand | None = None, *, mask: Operand | None = None, dims: Sequence[int] | None = None, cache: str | None = None, evict: str | None = None) -> None:
    """Writes the elements of a tile where tiles of indices name: the counterpart of `tc.gather`. What lies outside is not written.

    Of several elements for one place, any may be the one that stays.
    """

@overload
def load(source: Memory, offsets: Sequence[Index] | Index | None = None, shape: Sequence[int] | None = None, *, mask: Operand | None = None, other: Operand = 0, dims: Sequence[int] | None = None, layout: Layout | None = None, cache: str | None = None, evict: str | None = None, prefetch: int | None = None) -> Tile:
    """Reads a tile at `offsets` from a global tensor; without a shape, a scalar. Over the edge it reads 0.

    `mask`, a bool tile that broadcasts to the shape, says which elements are read; the others are `other`, as is what lies over the
    edge. `cache` ("ca", "cg", "cs", "lu", "cv"), `evict` ("first", "last", "no_allocate") and `prefetch` (64, 128 or 256 bytes) are
    hints to the caches.
    """

@overload
def load(folder: str | PathLike[str]) -> Bundle:
    """The kernels that `tilec compile` wrote into a folder."""

def store(target: Memory, offsets: Sequence[Index] | Index | Operand, value: Operand | None = None, *, mask: Operand | None = None, dims: Sequence[int] | None = None, cache: str | None = None, evict: str | None = None) -> None:
    """Writes a tile (or scalar) to a global tensor at `offsets`. What hangs over the edge is not written.

    `mask`, a bool tile that broadcasts to the tile's shape, says which elements are. `cache` ("cg", "cs", "wt") and `evict` ("first", "last",
    "no_allocate") are hints to the caches.
    """

def shared(dtype: DType, shape: Sequence[int], *, strides: Sequence[int] | None = None, swizzle: Sequence[int] | bool = True) -> SharedTile:
    """A tile in shared memory, allocated for the whole kernel; its contents are undefined until stored.

    The compiler lays it out so that its accesses meet the fewest bank conflicts, unless the author does: `strides` counts elements along each
    axis, `swizzle` is [bits, base, shift], as in CuTe's Swizzle, or False for none.
    """

def sync() -> None:
    """A barrier of all threads of the block: shared memory written before it is seen by all after it."""

def atomic_add(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] += value` in one step, for each element; gives the old elements (0 for those over the edge, which are left alone).

    `offsets` as in `tc.store`, or with tiles of indices as in `tc.scatter`: `tc.atomic_add(h, [bins], 1)` counts each element of `bins`. Where
    nothing reads the old values, the cheaper reduction is used. `order` is "relaxed", "acquire", "release" or "acq_rel", `scope`
    "block", "gpu" or "sys". Types: i32, u32, i64, u64, f16, bf16 (from sm_90 on), f32, f64. Floating sums depend on the order in which
    blocks come.
    """

def atomic_min(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] = min(memory[place], value)` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64."""

def atomic_max(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] = max(memory[place], value)` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64."""

def atomic_and(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] &= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64."""

def atomic_or(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] |= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64."""

def atomic_xor(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] ^= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64."""

def atomic_exchange(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """Writes a value and gives what was there, in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64, f32, f64."""

def atomic_cas(target: Memory, offsets: Sequence[Index] | Index, compare: Operand, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """Writes `value` where `compare` stands, in one step, and gives what was there; otherwise as `tc.atomic_add`.

    Types: i32, u32, i64, u64, f32, f64 (compared bit by bit).
    """

def histogram(x: Tile, bins: int, *, mask: Operand | None = None) -> Tile:
    """How often each of 0, 1, ..., bins - 1 stands in an integer tile: i32 [bins]. Other numbers are not counted (numpy.bincount otherwise).

    Counted in shared memory by atomics; `mask`, a bool tile that broadcasts to x, says which elements count.
    """

def block_index(axis: int = 0) -> Tile:
    """The index of this block along a grid axis (0, 1 or 2), i32."""

def block_count(axis: int = 0) -> Tile:
    """The number of blocks along a grid axis (0, 1 or 2), i32."""

def assume(fact: Tile | bool) -> None:
    """States a fact about dimensions and scalars, as in `tc.assume(K % 8 == 0)`. The compiler uses it, every launcher checks it.

    A fact known at compile time is checked there. The frontend adds the author's text.
    """

def device_print(text: str, x: Operand) -> None:
    """Prints a scalar, or each element of a tile in a line of its own, wherever the kernel runs: `[block 0, 1, 0] text [2, 3] 0.5`.

    On the GPU the lines come in any order, by the CUDA run time's vprintf, when the host synchronizes. Floats are shown with six digits.

    A narrow storage type is shown as f32.
    """

def assert_(condition: Tile | bool, message: str = '') -> None:
    """Stops the kernel with the message unless the condition, a bool or a tile of bools, holds everywhere.

    The interpreter raises an error that names the block; on the GPU the launch fails, and the message goes to standard error with the line
    and the thread. `assert` is decided when the kernel is compiled, `tc.assume` states facts that the compiler may use.
    """

def round(x: Operand) -> Tile:
    """The nearest integer, as a floating number; halves go to the even one (as numpy.round)."""

def trunc(x: Operand) -> Tile:
    """The nearest integer towards zero, as a floating number."""

def copysign(x: Operand, y: Operand) -> Tile:
    """The magnitude of `x` with the sign of `y`, on floating tiles; zeros have signs, too."""

def sign(x: Operand) -> Tile:
    """-1, 0 or 1 as `x` is below, at or above 0; NaN for NaN."""

def clip(x: Tile, low: Operand | None = None, high: Operand | None = None) -> Tile:
    """`x` held between `low` and `high`, numbers or tiles of its type; NaN stays NaN (as numpy.clip)."""

def isnan(x: Tile) -> Tile:
    """Where a floating tile is NaN, as bools."""

def isinf(x: Tile) -> Tile:
    """Where a floating tile is infinite, of either sign, as bools."""

def isfinite(x: Tile) -> Tile:
    """Where a floating tile is neither infinite nor NaN, as bools."""

def power(x: Tile, n: int) -> Tile:
    """`x ** n` for an integer n known at compile time, by repeated multiplication, each product rounded."""

def popcount(x: Operand) -> Tile:
    """How many bits of an integer are 1."""

def clz(x: Operand) -> Tile:
    """How many bits of an integer are 0 above its highest 1: the type's width for 0."""

def ctz(x: Operand) -> Tile:
    """How many bits of an integer are 0 below its lowest 1: the type's width for 0."""

def bitcast(x: Tile, dtype: DType) -> Tile:
    """The bits of each element read as another computing type of the same width, as in `tc.bitcast(x, u32)`."""

def sin(x: Operand, approx: bool = False) -> Tile:
    """Sine of radians. On the GPU the error is at most 2**-25 + 2**-22.5 of the result in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: absolute error at most 2**-20.5 within 2 pi, 2**-14.7 within 100 pi, no bound beyond.
    """

def cos(x: Operand, approx: bool = False) -> Tile:
    """Cosine of radians. On the GPU the error is at most 2**-25 + 2**-22.5 of the result in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: absolute error at most 2**-20.5 within 2 pi, 2**-14.7 within 100 pi, no bound beyond.
    """

def expm1(x: Operand) -> Tile:
    """`exp(x) - 1`, precise near 0, too. On the GPU the relative error is at most 2**-22 in f32, plus one rounding to f16 or bf16."""

def log1p(x: Operand) -> Tile:
    """`log(1 + x)`, precise near 0, too. On the GPU the relative error is at most 2**-21.4 in f32, plus one rounding to f16 or bf16."""

def sigmoid(x: Operand, approx: bool = False) -> Tile:
    """`1 / (1 + exp(-x))`. On the GPU the relative error is at most 2**-20.8 in f32, plus one rounding; below 2**-126 it is 0.

    With `approx`, fewer instructions: relative error at most 2**-20.5 + |x| * 2**-23.
    """

def erf(x: Operand) -> Tile:
    """The error function. On the GPU the relative error is at most 2**-22 in f32, plus one rounding to f16 or bf16."""

def divisor(d: Tile) -> Tile:
    """What `tc.divmod` needs to divide by the positive integer scalar `d` (i32 or u32) without dividing: computed once, ahead of a loop.

    A tuple (d, multiplier, shift) of scalars; after Granlund and Montgomery, "Division by invariant integers using multiplication"
    (PLDI 1994), figure 4.1. A divisor that is not positive is undefined.
    """

def divmod(x: Tile, d: Operand | tuple[Tile, Tile, Tile]) -> Tile:
    """`(x // d, x % d)`. `d` is an integer or, faster, `tc.divisor(d)`, made once ahead of a loop: then one multiplication, no division."""

def concatenate(xs: Sequence[Tile], axis: int = 0) -> Tile:
    """Tiles of one type one after another along an axis; their other extents agree."""

def split(x: Tile, parts: int, axis: int = 0) -> Tile:
    """The tile in `parts` equal tiles along an axis, as a tuple."""

def flip(x: Tile, axis: int = 0) -> Tile:
    """The elements in reverse order along an axis."""

def expand_dims(x: Tile, axis: int) -> Tile:
    """A new axis of extent 1, at `axis` of the result; `x[:, None]` is another way to write it."""

def squeeze(x: Tile, axis: int) -> Tile:
    """The tile without an axis of extent 1."""

def permute(x: Tile, axes: Sequence[int]) -> Tile:
    """The axes in another order: axis i of the result is axis `axes[i]` of x."""

def stack(xs: Sequence[Tile], axis: int = 0) -> Tile:
    """Tiles (or scalars) of one type and shape along a new axis, at `axis` of the result."""

def interleave(x: Tile, y: Tile, axis: int = -1) -> Tile:
    """The elements of two tiles in turn along an axis: x[0], y[0], x[1], y[1], ..."""

def repeat(x: Tile, count: int, axis: int = 0) -> Tile:
    """Each element `count` times along an axis: x[0], x[0], x[1], x[1], ... (as numpy.repeat)."""

def dot(x: Tile, y: Tile, acc: Tile | None = None, *, precision: str = 'ieee', xor: bool = False) -> Tile:
    """Matrix product `a @ b + acc` of tiles [m, k] and [k, n], or of stacks of such, [s, m, k] and [s, k, n].

    Accumulated in the type of `acc`, in f32 by default for floats (f64 for f64, f16 if acc is f16) and in i32 for integers. The types are
    f16, bf16, f32, f64, float8_e4m3, float8_e5m2, integers of up to 8 bits, and i32. Where the two differ, the storage type is converted to the
    other, exactly, by casts that the IR shows. `precision` is for f32: "ieee", "tf32" (operands rounded to 11 bits), or "tf32x3" (three
    products of tf32, with nearly the precision of f32). `xor=True` is for uint1: it counts where bits differ, not where both are 1.
    """

def philox(seed: Operand, c0: Operand, c1: Operand = 0, c2: Operand = 0, c3: Operand = 0) -> Tile:
    """Four tiles of random bits (u32) for each place of a counter of four integers, whose shapes broadcast; `seed` is the key.

    The words of Philox 4x32-10. `seed` is an integer scalar of up to 64 bits.
    """

def random_bits(seed: Operand, offsets: Operand) -> Tile:
    """Random u32, one for each of `offsets` (an integer tile of up to 64 bits): the first word of Philox 4x32-10 of seed and offset.

    Equal offsets give equal numbers: name each place of the tensor, as in `row * N + tc.arange(N)`.
    """

def uniform(seed: Operand, offsets: Operand, dtype: DType = f32) -> Tile:
    """Uniform numbers of [0, 1), multiples of 2**-24 for f32 (2**-11, 2**-8, 2**-53 for f16, bf16, f64), one for each of `offsets`.

    Seed and offsets are as for `tc.random_bits`; the numbers are the same everywhere, bit for bit.
    """

def normal(seed: Operand, offsets: Operand) -> Tile:
    """Numbers of the standard normal distribution (f32), one for each of `offsets`, by Box and Muller; none is beyond 5.8.

    Seed and offsets are as for `tc.random_bits`. On the GPU a number x is within 2**-21 * |x| + 2**-22 of the interpreter's.
    """

def sum(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Sum of the elements, in the tile's own type."""

def prod(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Product of the elements, in the tile's own type."""

def max(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """The largest element; NaN if there is one."""

def min(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """The smallest element; NaN if there is one."""

def any(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Whether any element along the axes is true, or not 0."""

def all(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Whether all elements along the axes are true, or not 0."""

def reduce(x: Tile | Sequence[Tile], combine: Function | str, axis: int | None = None) -> Tile:
    """All elements along `axis` (of all, without one) combined by an associative function: f(x, y), with x of earlier elements.

    `combine` is a function of @tc.function or "add", "mul", "max", "min", "and", "or", "xor". Several tiles, as a tuple, are combined
    together: f(x0, x1, y0, y1) gives a tuple of two.
    """

def scan(x: Tile | Sequence[Tile], combine: Function | str, axis: int = -1, *, exclusive: bool = False, reverse: bool = False, first: int | float | bool | Sequence[Any] | None = None) -> Tile:
    """Each element along `axis` combined with all before it, by an associative function f(x, y), with x of earlier elements.

    `combine` is as for `tc.reduce`. If `exclusive`, each gets what is before it alone, and the first gets `first`, a number for each tile
    that changes nothing (known for the named operations). If `reverse`, the scan begins at the end.
    """

def cumsum(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The sum of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`."""

def cumprod(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The product of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`."""

def cummax(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The largest of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`."""

def cummin(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The smallest of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`."""

def argmax(x: Tile, axis: int | None = None) -> Tile:
    """The place (i32) of the largest element along `axis`, or among all in one row; the first of equals; NaN counts as the largest."""

def argmin(x: Tile, axis: int | None = None) -> Tile:
    """The place (i32) of the smallest element along `axis`, or among all in one row; the first of equals; NaN counts as the smallest."""

def sort(x: Tile, axis: int = -1, *, descending: bool = False) -> Tile:
    """The elements along `axis` in rising order, NaN last (as numpy.sort); in falling order, NaN first, if `descending`."""

def argsort(x: Tile, axis: int = -1, *, descending: bool = False) -> Tile:
    """The places (i32) of the elements along `axis` in rising order, or falling if `descending`; equal ones stay in order."""

def topk(x: Tile, k: int, axis: int = -1) -> Tile:
    """The k largest elements along `axis` in falling order, and their places (i32): `(values, places)`. Of equals the first; NaN counts as
    the largest.
    """

def semaphore_wait(target: Memory, index: Sequence[Index] | Index, value: Index) -> None:
    """Waits until the counter at an index of an i32 or u32 tensor is at least `value`.

    What other blocks wrote before the post that was waited for is seen by all threads of the block from here on (acquire). All blocks
    that others wait for must be able to run at once: launch no more of them than the GPU holds, or let blocks wait only for those of a
    smaller number, which start first.
    """

def semaphore_post(target: Memory, index: Sequence[Index] | Index, value: Index = 1) -> None:
    """Adds `value` to the counter at an index of an i32 or u32 tensor, when all threads of the block have come so far.

    What the block wrote before is seen by the blocks that wait for it (release).
    """

def fence(scope: str = 'gpu') -> None:
    """Orders the memory accesses of each thread before it before those behind it, as seen by `scope`: "block", "gpu" or "sys"."""

def tensor_view(source: Memory, offset: Index = 0, *, shape: Sequence[Index], strides: Sequence[Index] | None = None) -> GlobalTensor:
    """A tensor of other shape and strides on a tensor's memory, from element `offset` on: `tc.tensor_view(a, i * N, shape=[N // 64, 64])`.

    Extents and strides (in elements; row-major without gaps unless given) are integers or i32 scalars of the program; strides may be zero
    or negative. The view is used like any tensor, its edges are its own; within them it must stay in the tensor's memory.
    """

def dequantize(w: Operand, scale: Operand, zero: Operand | None = None, *, below: float = 2.0) -> Tile:
    """`(w - zero) * scale`, rounded once, to the type of `scale`: f16 or bf16.

    `w` is a tile of weights of any type, `scale` and `zero` broadcast to it. `zero` holds whole numbers, such that w - zero is a value of
    the result's type. `below` is your word that |scale| < below, on which the compiler chooses the cheapest exact instructions: under
    2.0 floats take one multiplication, under 2**-8 integers one multiply-add (2**-5 would do for most). The interpreter checks it.
    """

def grid(x: Index, y: Index = 1, z: Index = 1) -> None:
    """Says how many blocks run, in up to three directions: the kernel's first statement, evaluated on the host.

    The extents are computed from dimensions, scalar parameters and constants, as in `tc.grid(cdiv(M, bm), cdiv(N, bn))`.
    """

def warps(first: int, count: int) -> AbstractContextManager[None]:
    """`with tc.warps(0, 4):` what follows is run by `count` warps from warp `first` on, and a barrier in it is theirs alone.

    The other warps pass it by, so that several groups work at once. No value leaves it; scalars enter it, tiles through shared memory.
    """

def range(start: Index, stop: Index | None = None, step: Index = 1, *, stages: int = 1) -> Iterable[Any]:
    """A loop at run time, like Python's range; `stages` asks that the loads of later rounds be under way during earlier ones."""

def static_range(start: int, stop: int | None = None, step: int = 1) -> Iterable[int]:
    """A loop that is unrolled: its counter is a number at compile time, and so are its bounds."""

def cdiv(x: Any, y: Any) -> Any:
    """`x / y` rounded up, for integers and integer scalars: the number of blocks of y that cover x."""

def dims(names: str) -> Any:
    """Names of runtime dimensions, separated by blanks: `M, N = tc.dims("M N")`; a single name gives the `Dim` itself."""

def types(names: str) -> Any:
    """Names of element types that kernels take as constants: `W = tc.types("W")`, then `def k(w: W[K, N], *, W: DType = int6)`."""

def strided(tensor: Any) -> Any:
    """The annotation of a tensor that need not be contiguous: `a: tc.strided(f16[M, K])`. Its strides become kernel parameters."""

def workspace(tensor: Any) -> Any:
    """The annotation of a tensor for the kernel's own use, `w: tc.workspace(i32[M])`: every run finds it full of zeros, and leaves it so.

    Calls need not pass it: then tilec provides it. Its extents are integers or dimensions of other tensors. A run of the interpreter or the
    simulator that leaves other values than 0 is an error.
    """

def function(python_function: Callable[..., Any]) -> HelperFunction:
    """Decorates a helper that kernels call: it is inlined at each call, takes tiles and constants, and returns one value or a tuple."""

def static(x: Any) -> Any:
    """The value of an expression that Python computes when the kernel is compiled: any Python is allowed in it, no value of the program is."""

def static_assert(fact: bool, message: str = '') -> None:
    """Refuses to compile unless the fact, known at compile time, holds."""

def struct(cls: type) -> Any:
    """Decorates a class whose annotated fields are tiles, scalars or objects known at compile time: its instances are values of kernels.

    `State(acc, best)` makes one, `s.acc` reads a field, `s.replace(acc=x)` makes another; loops and branches hand them on, functions take and
    return them. Methods are decorated with `@tc.function`. Raises TileError for a class without fields or with a base.
    """
