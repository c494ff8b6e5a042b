"""Types of the language. Written by `python -m tilec.frontend.stubs` from the ops: don't edit."""
# ruff: noqa: E501, I001

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, ClassVar, TypeVar, overload

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
from tilec.trace import (
    layout_of as layout_of,
    type_of as type_of,
)

__all__ = [
    "Bundle",
    "Compiled",
    "DType",
    "Dim",
    "Kernel",
    "Layout",
    "Loc",
    "Tensor",
    "TileError",
    "all_dtypes",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "arrive",
    "assert_",
    "assume",
    "atomic_add",
    "atomic_and",
    "atomic_cas",
    "atomic_exchange",
    "atomic_max",
    "atomic_min",
    "atomic_or",
    "atomic_xor",
    "barrier",
    "bf16",
    "bitcast",
    "block_count",
    "block_index",
    "bool_",
    "broadcast",
    "cast",
    "cdiv",
    "ceil",
    "clip",
    "clz",
    "codebook",
    "column_local",
    "column_spatial",
    "commit",
    "concatenate",
    "conversions",
    "copy_async",
    "copysign",
    "cos",
    "ctz",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "dequantize",
    "device_print",
    "dims",
    "divisor",
    "dot",
    "dtype",
    "erf",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "f16",
    "f32",
    "f64",
    "fence",
    "flip",
    "float3_e1m1",
    "float3_e2m0",
    "float4_e1m2",
    "float4_e2m1",
    "float4_e3m0",
    "float5_e1m3",
    "float5_e2m2",
    "float5_e3m1",
    "float5_e4m0",
    "float6_e1m4",
    "float6_e2m3",
    "float6_e3m2",
    "float6_e4m1",
    "float6_e5m0",
    "float7_e1m5",
    "float7_e2m4",
    "float7_e3m3",
    "float7_e4m2",
    "float7_e5m1",
    "float7_e6m0",
    "float8_e1m6",
    "float8_e2m5",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e5m2",
    "float8_e6m1",
    "float8_e7m0",
    "float8_e8m0",
    "floor",
    "fma",
    "full",
    "function",
    "gather",
    "grid",
    "histogram",
    "i16",
    "i32",
    "i64",
    "int1",
    "int2",
    "int3",
    "int4",
    "int5",
    "int6",
    "int7",
    "int8",
    "interleave",
    "isfinite",
    "isinf",
    "isnan",
    "kernel",
    "layout_of",
    "ldexp",
    "load",
    "local",
    "log",
    "log1p",
    "log2",
    "maximum",
    "minimum",
    "nf4",
    "normal",
    "packed",
    "parse",
    "permute",
    "philox",
    "popcount",
    "power",
    "prod",
    "random_bits",
    "reciprocal",
    "reduce",
    "repeat",
    "replicated",
    "reshape",
    "rsqrt",
    "scan",
    "scatter",
    "semaphore_post",
    "semaphore_wait",
    "shared",
    "sigmoid",
    "sign",
    "sin",
    "sort",
    "spatial",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "static",
    "static_assert",
    "static_range",
    "store",
    "strided",
    "struct",
    "sync",
    "tanh",
    "tensor",
    "tensor_view",
    "topk",
    "transpose",
    "trunc",
    "type_of",
    "types",
    "u16",
    "u32",
    "u64",
    "uint1",
    "uint2",
    "uint3",
    "uint4",
    "uint5",
    "uint6",
    "uint7",
    "uint8",
    "uniform",
    "view",
    "wait",
    "warps",
    "where",
    "workspace",
    "zeros",
]

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
        """Sum `x + y`.

        Example:
            r = x + y  # = x + y
            x + n      # error: operands of types f32 and i32 do not mix
        """
    def __radd__(self, other: Operand) -> Tile: ...
    def __sub__(self, other: Operand) -> Tile:
        """Difference `x - y`.

        Example:
            r = x - y  # = x - y
            p - p      # error: - is not defined on bool
        """
    def __rsub__(self, other: Operand) -> Tile: ...
    def __mul__(self, other: Operand) -> Tile:
        """Product `x * y`.

        Example:
            r = x * y  # = x * y
            p * p      # error: * is not defined on bool
        """
    def __rmul__(self, other: Operand) -> Tile: ...
    def __truediv__(self, other: Operand) -> Tile:
        """Quotient `x / y` of floating tiles, correctly rounded (IEEE).

        Example:
            r = x / y  # = x / y
            n / m      # error: / is not defined on i32
        """
    def __rtruediv__(self, other: Operand) -> Tile: ...
    def __floordiv__(self, other: Operand) -> Tile:
        """Quotient `x // y` rounded towards minus infinity, as in Python.

        Example:
            r = n // m  # = n // m
            x // y      # error: // is not defined on f32
        """
    def __rfloordiv__(self, other: Operand) -> Tile: ...
    def __mod__(self, other: Operand) -> Tile:
        """Remainder `x % y` with the sign of y, as in Python.

        Example:
            r = n % m  # = n % m
            x % y      # error: % is not defined on f32
        """
    def __rmod__(self, other: Operand) -> Tile: ...
    def __and__(self, other: Operand) -> Tile:
        """Bitwise, or on bools logical, `x & y`.

        Example:
            r = n & m  # = n & m
            x & y      # error: & is not defined on f32
        """
    def __rand__(self, other: Operand) -> Tile: ...
    def __or__(self, other: Operand) -> Tile:
        """Bitwise, or on bools logical, `x | y`.

        Example:
            r = n | m  # = n | m
            x | y      # error: | is not defined on f32
        """
    def __ror__(self, other: Operand) -> Tile: ...
    def __xor__(self, other: Operand) -> Tile:
        """Bitwise, or on bools logical, `x ^ y`.

        Example:
            r = n ^ m  # = n ^ m
            x ^ y      # error: ^ is not defined on f32
        """
    def __rxor__(self, other: Operand) -> Tile: ...
    def __lshift__(self, other: Operand) -> Tile:
        """`x << y`.

        Example:
            r = n << 2  # = n << 2
            x << 2      # error: << is not defined on f32
        """
    def __rlshift__(self, other: Operand) -> Tile: ...
    def __rshift__(self, other: Operand) -> Tile:
        """`x >> y`: arithmetic on signed, logical on unsigned types.

        Example:
            r = n >> 2  # = n >> 2
            x >> y      # error: >> is not defined on f32
        """
    def __rrshift__(self, other: Operand) -> Tile: ...
    def __lt__(self, other: Operand) -> Tile:
        """`x < y`.

        Example:
            r = x < y  # = x < y
            x < n      # error: operands of types f32 and i32 do not mix
        """
    def __le__(self, other: Operand) -> Tile:
        """`x <= y`.

        Example:
            r = x <= y  # = x <= y
            x <= n      # error: operands of types f32 and i32 do not mix
        """
    def __gt__(self, other: Operand) -> Tile:
        """`x > y`.

        Example:
            r = x > y  # = x > y
            x > n      # error: operands of types f32 and i32 do not mix
        """
    def __ge__(self, other: Operand) -> Tile:
        """`x >= y`.

        Example:
            r = x >= y  # = x >= y
            x >= n      # error: operands of types f32 and i32 do not mix
        """
    def __eq__(self, other: Operand) -> Tile:  # type: ignore[override]
        """`x == y`.

        Example:
            r = x == y  # = x == y
            x == n      # error: operands of types f32 and i32 do not mix
        """
    def __ne__(self, other: Operand) -> Tile:  # type: ignore[override]
        """`x != y`.

        Example:
            r = x != y  # = x != y
            x != n      # error: operands of types f32 and i32 do not mix
        """
    def __matmul__(self, other: Operand) -> Tile:
        """Matrix product `a @ b + acc` of tiles [m, k] and [k, n], or of stacks of such, [s, m, k] and [s, k, n].

        Accumulated in the type of `acc`, in f32 by default for floats (f64 for f64, f16 if acc is f16) and in i32 for integers. The types are
        f16, bf16, f32, f64, float8_e4m3, float8_e5m2, integers of up to 8 bits, and i32. Where the two differ, the storage type is converted to the
        other, exactly, by casts that the IR shows. `precision` is for f32: "ieee", "tf32" (operands rounded to 11 bits), or "tf32x3" (three
        products of tf32, with nearly the precision of f32). `xor=True` is for uint1: it counts where bits differ, not where both are 1.

        Example:
            r = tc.dot(a, b)  # = np.float32(a) @ np.float32(b)
            tc.dot(a, b[:8])  # error: a has 16 columns but b has 8 rows
        """
    def __rmatmul__(self, other: Operand) -> Tile: ...
    def to(self, dtype: DType, rounding: str = 'nearest', bits: Tile | None = None) -> Tile: ...
    def cast(self, dtype: DType, rounding: str = 'nearest', bits: Tile | None = None) -> Tile: ...
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
    T: SharedTile
    def __getitem__(self, index: Any) -> SharedTile: ...
    def reshape(self, shape: Sequence[int]) -> SharedTile: ...
    def transpose(self, axes: Sequence[int] | None = None) -> SharedTile: ...

class BarrierRow:
    """A barrier, or a row of them, inside a kernel."""

    def __getitem__(self, index: Tile | int) -> BarrierRow: ...

Number = int | float | bool
Operand = Tile | int | float | bool
Index = Tile | int
Function = Callable[..., Any]
Memory = GlobalTensor | SharedTile
View = TypeVar("View", Tile, SharedTile)

class Dim:
    """The name of a runtime dimension; inside a kernel its value, an i32 scalar."""

    name: str

class HelperFunction:
    """A function whose calls are inlined into kernels."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

def minimum(x: Operand, y: Operand) -> Tile:
    """The smaller of `x` and `y`; NaN if either is (as numpy.minimum).

    Example:
        r = tc.minimum(x, y)  # = np.minimum(x, y)
        tc.minimum(p, p)      # error: minimum is not defined on bool
    """

def maximum(x: Operand, y: Operand) -> Tile:
    """The larger of `x` and `y`; NaN if either is (as numpy.maximum).

    Example:
        r = tc.maximum(x, y)  # = np.maximum(x, y)
        tc.maximum(x, n)      # error: operands of types f32 and i32 do not mix
    """

def where(condition: Operand, x: Operand, y: Operand) -> Tile:
    """`x` where `condition` holds, else `y`.

    Example:
        r = tc.where(p, x, y)  # = np.where(p, x, y)
        tc.where(n, x, y)      # error: the condition must be bool, not i32
    """

def abs(x: Operand) -> Tile:
    """Absolute value.

    Example:
        r = tc.abs(x)  # = np.abs(x)
        tc.abs(p)      # error: abs is not defined on bool
    """

def exp(x: Operand, approx: bool = False) -> Tile:
    """e to the power x. On the GPU the relative error is at most 2**-21.4 (3 ulp) in f32, plus one rounding to f16 or bf16.

    With `approx`, fewer instructions: relative error at most 2**-21 + |x| * 2**-23, results below 2**-126 are 0.

    Example:
        r = tc.exp(x)  # = np.exp(x)
        tc.exp(n)      # error: exp is not defined on i32
    """

def exp2(x: Operand, approx: bool = False) -> Tile:
    """2 to the power x. On the GPU the relative error is at most 2**-22 (2 ulp) in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: results below 2**-126 are 0.

    Example:
        r = tc.exp2(x)  # = np.exp2(x)
        tc.exp2(n)      # error: exp2 is not defined on i32
    """

def log(x: Operand, approx: bool = False) -> Tile:
    """Natural logarithm.

    On the GPU the relative error is at most 2**-21.4 (3 ulp) in f32, or where 0.5 <= x <= 2 the absolute one, plus one rounding to f16
    or bf16. With `approx`, x below 2**-126 counts as 0.

    Example:
        r = tc.log(y)  # = np.log(y)
        tc.log(n)      # error: log is not defined on i32
    """

def log2(x: Operand, approx: bool = False) -> Tile:
    """Logarithm to base 2.

    On the GPU the relative error is at most 2**-22 (2 ulp) in f32, or where 0.5 <= x <= 2 the absolute one, plus one rounding to f16
    or bf16. With `approx`, one instruction: x below 2**-126 counts as 0.

    Example:
        r = tc.log2(y)  # = np.log2(y)
        tc.log2(n)      # error: log2 is not defined on i32
    """

def sqrt(x: Operand, approx: bool = False) -> Tile:
    """Square root, correctly rounded. With `approx`, one instruction: relative error at most 2**-22.5.

    Example:
        r = tc.sqrt(y)  # = np.sqrt(y)
        tc.sqrt(n)      # error: sqrt is not defined on i32
    """

def rsqrt(x: Operand, approx: bool = False) -> Tile:
    """Reciprocal square root `1 / sqrt(x)`.

    On the GPU the relative error is at most 2**-22 (2 ulp) in f32, plus one rounding to f16 or bf16. With `approx`, one instruction: x below
    2**-126 counts as 0.

    Example:
        r = tc.rsqrt(y)  # = 1 / np.sqrt(y)
        tc.rsqrt(n)      # error: rsqrt is not defined on i32
    """

def reciprocal(x: Operand, approx: bool = False) -> Tile:
    """`1 / x`, correctly rounded. With `approx`, one instruction: relative error at most 2**-23, results and x below 2**-126 are 0.

    Example:
        r = tc.reciprocal(y)  # = 1 / y
        tc.reciprocal(n)      # error: reciprocal is not defined on i32
    """

def tanh(x: Operand, approx: bool = False) -> Tile:
    """Hyperbolic tangent. On the GPU the relative error is at most 2**-21 in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: relative error at most 2**-11.

    Example:
        r = tc.tanh(x)  # = np.tanh(x)
        tc.tanh(n)      # error: tanh is not defined on i32
    """

def floor(x: Operand) -> Tile:
    """The largest integer not above x, as a floating number.

    Example:
        r = tc.floor(x)  # = np.floor(x)
        tc.floor(n)      # error: floor is not defined on i32
    """

def ceil(x: Operand) -> Tile:
    """The smallest integer not below x, as a floating number.

    Example:
        r = tc.ceil(x)  # = np.ceil(x)
        tc.ceil(n)      # error: ceil is not defined on i32
    """

def fma(x: Operand, y: Operand, z: Operand) -> Tile:
    """`x * y + z` with one rounding, on floating tiles.

    Example:
        r = tc.fma(x, y, 0.5)  # = x * y + 0.5
        tc.fma(n, m, 1)        # error: fma is not defined on i32
    """

def cast(x: Operand, dtype: DType, rounding: str = 'nearest', bits: Tile | None = None) -> Tile:
    """Converts each element to another type.

    To a floating type: rounded to nearest even; f16, bf16, f32 and f64 overflow to infinity, storage types saturate at their largest
    value. To a storage integer (1 to 8 bits): rounded to nearest even, saturated. To a computing integer: from floats towards
    zero and saturated, NaN gives 0; from integers modulo 2**bits. To bool: `x != 0`.

    With `rounding="stochastic"`, f16, bf16 and f32 are rounded to a storage integer or float at random: away from zero with a probability that is
    the fraction of a last place that towards zero would cut off, itself cut to 16 bits. `bits` are u32, one for each element, as
    `tc.random_bits` gives; their upper 16 bits decide. What is exact never changes; out of range saturates.

    Example:
        r = tc.cast(x, i32)  # = x.astype(np.int32)
        tc.cast(x, 16)       # error: dtype is a type, as in f16, not the Python number 16
    """

def block_index(axis: int = 0) -> Tile:
    """The index of this block along a grid axis (0, 1 or 2), i32.

    Example:
        r = tc.block_index(0)  # = 0
        tc.block_index(3)      # error: the grid has axes 0, 1 and 2, not 3
    """

def block_count(axis: int = 0) -> Tile:
    """The number of blocks along a grid axis (0, 1 or 2), i32.

    Example:
        r = tc.block_count(0)  # = 1
        tc.block_count(3)      # error: the grid has axes 0, 1 and 2, not 3
    """

def assume(fact: Tile | bool) -> None:
    """States a fact about dimensions and scalars, as in `tc.assume(K % 8 == 0)`. The compiler uses it, every launcher checks it.

    Example:
        tc.assume(C % 8 == 0)
        r = tc.load(T, [0, 8], [8, 16])   # = T[:8, 8:24]
        tc.assume(tc.block_index(0) < 8)  # error: an assumption is evaluated on the host

    A fact known at compile time is checked there. The frontend adds the author's text.
    """

def zeros(dtype: DType, shape: Sequence[int]) -> Tile:
    """A tile of zeros.

    Example:
        r = tc.zeros(f32, [8, 16])  # = np.zeros((8, 16))
        tc.zeros(f32, [i])          # error: a tile's shape must be known at compile time
    """

def full(dtype: DType, shape: Sequence[int], value: Operand) -> Tile:
    """A tile whose elements all are `value`, a number or a scalar of the tile's type.

    Example:
        r = tc.full(f32, [8], s)  # = np.full(8, s)
        tc.full(i32, [8], s)      # error: the value is f32, but the tile's type is i32
    """

def arange(start: int, stop: int | None = None, dtype: DType = i32) -> Tile:
    """The integers `start`, `start + 1`, ... below `stop`: a tile of shape [stop - start], i32 unless another type is named.

    Example:
        r = tc.arange(2, 8)  # = np.arange(2, 8)
        tc.arange(8, 8)      # error: arange(8, 8) is empty
    """

def broadcast(x: Operand, shape: Sequence[int]) -> Tile:
    """Repeats a tile along new or size-1 axes to a shape, by NumPy's rule.

    Example:
        r = tc.broadcast(x[0], [4, 16])  # = np.broadcast_to(x[0], (4, 16))
        tc.broadcast(x, [8, 8])          # error: do not broadcast
    """

def reshape(x: View, shape: Sequence[int]) -> View:
    """The same elements in row-major order under another shape; one extent may be -1. Of a shared tile it is a view, where its elements lie in steps.

    Example:
        r = tc.reshape(x, [4, -1])  # = x.reshape(4, -1)
        tc.reshape(x, [7, -1])      # error: [8, 16] does not reshape to [7, -1]
    """

def transpose(x: View, axes: Sequence[int] | None = None) -> View:
    """The axes in another order (reversed by default): result axis i is operand axis `axes[i]`. Of a shared tile it is a view.

    Example:
        r = tc.transpose(x)      # = x.T
        tc.transpose(x, [0, 0])  # error: [0, 0] is no order of the 2 axes
    """

def view(x: Tile, dtype: DType, layout: Layout) -> Tile:
    """The same bits of each thread read as another type in another layout.

    Each thread's elements, packed from the least significant bit in register order, are cut anew: a tile of 3 uint8 a thread becomes
    one of 4 int6 a thread. The operand's layout must have been stated. The result's shape is the layout's.

    Example:
        t = tc.load(B, [0], [96], layout=tc.spatial(32).local(3))
        r = i32(tc.view(t, uint6, tc.spatial(32).local(4)))
        # r = np.packbits(np.unpackbits(B, bitorder='little').reshape(128, 6), axis=1, bitorder='little').ravel()
        tc.view(t, uint4, tc.spatial(32).local(4))  # error: each thread holds 24 bits, but the view would hold 16
    """

def conversions(farthest: str) -> None:
    """Says how far conversions of layouts may go in the block of statements in which it stands, and in the blocks within: "registers", of each thread
    its own, or "shuffles", between the lanes of a warp. Without it they may go through shared memory.

    Layouts are then chosen so that none goes farther; where that is impossible, the error names the statements that can't go together. Slices and
    concatenations of tiles go through registers where threads hold what they need, and are refused where they don't; single elements, and parts at
    places known at run time, always are. What reductions exchange between threads is no conversion, nor is what products without a matrix instruction
    read from shared memory.

    A block is the kernel's body, or that of a loop or branch at run time, or of a group of warps; it is bound from its first statement on.
    In a helper, an unrolled loop or an `if` on what is known at compile time it binds the block around, as their statements are put there.

    In the example each thread's part of the first product's result is its part of the second's left operand.

    Example:
        tc.conversions("registers")
        r = tc.dot(f16(tc.dot(a, b)), b)  # = (a @ b.astype(np.float32)).astype(np.float16) @ b.astype(np.float32)
        tc.conversions("none")  # error: conversions go through "registers", "shuffles" or "shared memory", not "none"
    """

def gather(source: Memory, offsets: Sequence[Index] | Index | None, shape: Sequence[int] | None = None, *, mask: Operand | None = None, other: Operand = 0, dims: Sequence[int] | None = None, layout: Layout | None = None, cache: str | None = None, evict: str | None = None, prefetch: int | None = None) -> Tile:
    """Reads the elements that tiles of indices name: `tc.gather(table, [rows, k], [64, 32])` reads 64 rows, each from column k on.

    An offset is an integer, or an integer tile: one with a single axis lists the places along its axis of the tensor (`rows` has 64
    elements here), any other has an index for each element of the result. Where the mask is False, or the place lies outside of the
    tensor (a negative index, too), the element is `other`. Without a shape, a tile of the shape that the indices broadcast to.

    Example:
        r = tc.gather(T, [rows, 0], [8, 16])  # = T[rows, :16]
        tc.gather(T, [x, 0], [8, 16])         # error: indices are integers that compute, not f32
    """

def scatter(target: Memory, offsets: Sequence[Index] | Index | Operand, value: Operand | None = None, *, mask: Operand | None = None, dims: Sequence[int] | None = None, cache: str | None = None, evict: str | None = None) -> None:
    """Writes the elements of a tile where tiles of indices name: the counterpart of `tc.gather`. What lies outside is not written.

    Of several elements for one place, any may be the one that stays.

    Example:
        tc.scatter(O, [rows, 0], x)  # O[rows, :16] = x
        tc.scatter(O, [rows, 0], n)  # error: a tile of i32 is stored to a tensor of f32
    """

def copy_async(target: Memory, source: Memory, offsets: Sequence[Index] | Index, *, mask: Operand | None = None, dims: Sequence[int] | None = None, cache: str | None = None, evict: str | None = None, prefetch: int | None = None) -> None:
    """Starts to copy a tile at `offsets` of a global tensor into a shared tile; over the edge it writes 0.

    The copy belongs to the group that the next `tc.commit()` closes. Offsets may be tiles of indices, as in `tc.gather`; `mask`, a bool tile that
    broadcasts to the shared tile's shape, says which elements are read: the others become 0. Hints
    to the caches: `cache` is "ca" or "cg" (only copies of 16 bytes bypass the L1 cache), `evict` "first" or "last" (of the L2 cache),
    `prefetch` 64, 128 or 256 bytes.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.copy_async(t, T, [0, 0])
        tc.commit()
        tc.wait(0)
        tc.sync()
        r = tc.load(t)               # = T[:8, :16]
        tc.copy_async(T, T, [0, 0])  # error: copy_async writes to a shared tile
    """

def commit() -> None:
    """Closes the group of the asynchronous copies started since the last `tc.commit()`.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.copy_async(t, T, [0, 0])
        tc.commit()
        tc.wait(0)
        tc.sync()
        r = tc.load(t)  # = T[:8, :16]
        tc.commit(t)    # error: too many positional arguments
    """

def wait(pending: int = 0) -> None:
    """Waits until at most the newest `pending` groups of copies are still under way. Follow it with `tc.sync()`.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.copy_async(t, T, [0, 0])
        tc.commit()
        tc.wait(0)
        tc.sync()
        r = tc.load(t)  # = T[:8, :16]
        tc.wait(i)      # error: pending is an integer known at compile time, not i32
    """

@overload
def load(source: Memory, offsets: Sequence[Index] | Index | None = None, shape: Sequence[int] | None = None, *, mask: Operand | None = None, other: Operand = 0, dims: Sequence[int] | None = None, layout: Layout | None = None, cache: str | None = None, evict: str | None = None, prefetch: int | None = None) -> Tile:
    """Reads a tile at `offsets` from a global tensor; without a shape, a scalar. Over the edge it reads 0.

    `mask`, a bool tile that broadcasts to the shape, says which elements are read; the others are `other`, as is what lies over the
    edge. `cache` ("ca", "cg", "cs", "lu", "cv"), `evict` ("first", "last", "no_allocate") and `prefetch` (64, 128 or 256 bytes) are
    hints to the caches.

    Example:
        r = tc.load(T, [2, 4], [8, 16])  # = T[2:10, 4:20]
        tc.load(T, [0], [8])             # error: has 2 axes, but 1 offsets are given
    """

@overload
def load(folder: str | PathLike[str]) -> Bundle:
    """The kernels that `tilec compile` wrote into a folder."""

def store(target: Memory, offsets: Sequence[Index] | Index | Operand, value: Operand | None = None, *, mask: Operand | None = None, dims: Sequence[int] | None = None, cache: str | None = None, evict: str | None = None) -> None:
    """Writes a tile (or scalar) to a global tensor at `offsets`. What hangs over the edge is not written.

    `mask`, a bool tile that broadcasts to the tile's shape, says which elements are. `cache` ("cg", "cs", "wt") and `evict` ("first", "last",
    "no_allocate") are hints to the caches.

    Example:
        tc.store(O, [0, 8], x)  # O[:8, 8:24] = x
        tc.store(O, [0, 0], n)  # error: a tile of i32 is stored to a tensor of f32
    """

def shared(dtype: DType, shape: Sequence[int], *, strides: Sequence[int] | None = None, swizzle: Sequence[Any] | bool = True) -> SharedTile:
    """A tile in shared memory, allocated for the whole kernel; its contents are undefined until stored.

    The compiler lays it out so that its accesses meet the fewest bank conflicts, unless the author does: `strides` counts elements along each
    axis, `swizzle` is [bits, base, shift], as in CuTe's Swizzle, a list of such, or False for none.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.store(t, x)
        tc.sync()
        r = tc.load(t)         # = x
        tc.shared(8, [8, 16])  # error: dtype is a type, as in f16, not the Python number 8
    """

def barrier(warps: int, slots: int | None = None) -> BarrierRow:
    """A barrier among groups of warps, complete whenever `warps` warps have come; with `slots`, a row of so many, of which `b[i]` is one.

    `tc.arrive(b)` comes and goes on, `tc.sync(b)` comes and waits, both inside of `with tc.warps(first, count):`. What a group wrote before
    it came is seen by those that waited. So a group that fetches tiles and one that computes need two rows: `full`, at which the first arrives
    and the second waits, and `empty`, the other way round, so that no slot is written that is still read. A block has 16 barriers,
    that of `tc.sync()` and one for each group with a `tc.sync()` of its own among them.

    Example:
        @tc.kernel(warps=2)
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            t, ready = tc.shared(f32, [8, 16]), tc.barrier(2)
            with tc.warps(0, 1):
                tc.store(t, tc.load(T, [0, 0], [8, 16]))
                tc.arrive(ready)
            with tc.warps(1, 1):
                tc.sync(ready)
                tc.store(O, [0, 0], tc.load(t))  # O[:8, :16] = T[:8, :16]
        tc.barrier(0)                               # error: a barrier counts a number of warps
    """

def arrive(barrier: BarrierRow) -> None:
    """Comes to a named barrier and goes on: what this group of warps wrote so far is seen by those that wait for it with `tc.sync(b)`.

    Asynchronous copies of the group are among it once it has waited for them (`tc.wait`).

    Example:
        @tc.kernel(warps=2)
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            t, ready = tc.shared(f32, [8, 16]), tc.barrier(2)
            with tc.warps(0, 1):
                tc.store(t, tc.load(T, [0, 0], [8, 16]))
                tc.arrive(ready)
            with tc.warps(1, 1):
                tc.sync(ready)
                tc.store(O, [0, 0], tc.load(t))  # O[:8, :16] = T[:8, :16]
        tc.arrive(x)                                # error: a barrier is wanted here, not f32[8, 16]
    """

def sync(barrier: BarrierRow | None = None) -> None:
    """A barrier of all threads of the block: shared memory written before it is seen by all after it. Inside of `with tc.warps(first, count):` of
    the threads of the group.

    With a named barrier, `tc.sync(b)`, the group comes to it and waits until it is complete.

    Example:
        t = tc.shared(f32, [8, 16])
        tc.store(t, x)
        tc.sync()
        r = tc.load(t)  # = x
        tc.sync(t)      # error: a barrier is wanted here, not shared f32[8, 16]
    """

def atomic_add(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] += value` in one step, for each element; gives the old elements (0 for those over the edge, which are left alone).

    `offsets` as in `tc.store`, or with tiles of indices as in `tc.scatter`: `tc.atomic_add(h, [bins], 1)` counts each element of `bins`. Where
    nothing reads the old values, the cheaper reduction is used. `order` is "relaxed", "acquire", "release" or "acq_rel", `scope`
    "block", "gpu" or "sys". Types: i32, u32, i64, u64, f16, bf16 (from sm_90 on), f32, f64. Floating sums depend on the order in which
    blocks come.

    Example:
        old = tc.atomic_add(H, [rows], 1)  # = H[rows]
        # H[rows] += 1
        tc.atomic_add(H, [0], s)           # error: an atomic on i32 takes a tile of i32, not of f32
    """

def atomic_min(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] = min(memory[place], value)` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_min(H, [rows], 40)  # H[rows] = np.minimum(H[rows], 40)
        tc.atomic_min(O, [0, 0], s)   # error: the hardware has no atomic min of f32
    """

def atomic_max(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] = max(memory[place], value)` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_max(H, [rows], 40)  # H[rows] = np.maximum(H[rows], 40)
        tc.atomic_max(O, [0, 0], s)   # error: the hardware has no atomic max of f32
    """

def atomic_and(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] &= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_and(H, [rows], 12)  # H[rows] &= 12
        tc.atomic_and(O, [0, 0], s)   # error: the hardware has no atomic and of f32
    """

def atomic_or(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] |= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_or(H, [rows], 12)  # H[rows] |= 12
        tc.atomic_or(O, [0, 0], s)   # error: the hardware has no atomic or of f32
    """

def atomic_xor(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """`memory[place] ^= value` in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64.

    Example:
        tc.atomic_xor(H, [rows], 12)  # H[rows] ^= 12
        tc.atomic_xor(O, [0, 0], s)   # error: the hardware has no atomic xor of f32
    """

def atomic_exchange(target: Memory, offsets: Sequence[Index] | Index, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """Writes a value and gives what was there, in one step; otherwise as `tc.atomic_add`. Types: i32, u32, i64, u64, f32, f64.

    Example:
        old = tc.atomic_exchange(H, [0], i)  # = H[0]
        # H[0] = i
        tc.atomic_exchange(H, [0], s)        # error: an atomic on i32 takes a tile of i32, not of f32
    """

def atomic_cas(target: Memory, offsets: Sequence[Index] | Index, compare: Operand, value: Operand, *, mask: Operand | None = None, dims: Sequence[int] | None = None, order: str = 'relaxed', scope: str = 'gpu') -> Tile:
    """Writes `value` where `compare` stands, in one step, and gives what was there; otherwise as `tc.atomic_add`.

    Types: i32, u32, i64, u64, f32, f64 (compared bit by bit).

    Example:
        old = tc.atomic_cas(H, [rows], 7, 1)  # = H[rows]
        # H[rows] = np.where(H[rows] == 7, 1, H[rows])
        tc.atomic_cas(H, [0], 7, s)           # error: an atomic on i32 takes a tile of i32, not of f32
    """

def histogram(x: Tile, bins: int, *, mask: Operand | None = None) -> Tile:
    """How often each of 0, 1, ..., bins - 1 stands in an integer tile: i32 [bins]. Other numbers are not counted (numpy.bincount otherwise).

    Counted in shared memory by atomics; `mask`, a bool tile that broadcasts to x, says which elements count.

    Example:
        r = tc.histogram(m, 20)  # = np.bincount(m.ravel(), minlength=20)[:20]
        tc.histogram(x, 20)      # error: integers are counted, not f32[8, 16]
    """

def device_print(text: str, x: Operand) -> None:
    """Prints a scalar, or each element of a tile in a line of its own, wherever the kernel runs: `[block 0, 1, 0] text [2, 3] 0.5`.

    On the GPU the lines come in any order, by the CUDA run time's vprintf, when the host synchronizes. Floats are shown with six digits.

    Example:
        tc.device_print("i is", i)  # prints "[block 0, 0, 0] i is 3"
        tc.device_print("T", T)     # error: a tile or a number is wanted here, not global f32[R, C]

    A narrow storage type is shown as f32.
    """

def assert_(condition: Tile | bool, message: str = '') -> None:
    """Stops the kernel with the message unless the condition, a bool or a tile of bools, holds everywhere.

    The interpreter raises an error that names the block; on the GPU the launch fails, and the message goes to standard error with the line
    and the thread. `assert` is decided when the kernel is compiled, `tc.assume` states facts that the compiler may use.

    Example:
        tc.assert_(y > 0, "y is positive")
        r = tc.log(y)       # = np.log(y)
        tc.assert_(n, "n")  # error: an assertion is a bool, not i32[8, 16]
    """

def round(x: Operand) -> Tile:
    """The nearest integer, as a floating number; halves go to the even one (as numpy.round).

    Example:
        r = tc.round(x)  # = np.round(x)
        tc.round(n)      # error: round is not defined on i32
    """

def trunc(x: Operand) -> Tile:
    """The nearest integer towards zero, as a floating number.

    Example:
        r = tc.trunc(x)  # = np.trunc(x)
        tc.trunc(n)      # error: trunc is not defined on i32
    """

def copysign(x: Operand, y: Operand) -> Tile:
    """The magnitude of `x` with the sign of `y`, on floating tiles; zeros have signs, too.

    Example:
        r = tc.copysign(y, x)  # = np.copysign(y, x)
        tc.copysign(n, n)      # error: copysign is not defined on i32
    """

def sign(x: Operand) -> Tile:
    """-1, 0 or 1 as `x` is below, at or above 0; NaN for NaN.

    Example:
        r = tc.sign(x)  # = np.sign(x)
        tc.sign(w)      # error: int6 is a storage type and does not compute
    """

def clip(x: Tile, low: Operand | None = None, high: Operand | None = None) -> Tile:
    """`x` held between `low` and `high`, numbers or tiles of its type; NaN stays NaN (as numpy.clip).

    Example:
        r = tc.clip(x, -1, 1)  # = np.clip(x, -1, 1)
        tc.clip(x)             # error: clip needs a bound
    """

def isnan(x: Tile) -> Tile:
    """Where a floating tile is NaN, as bools.

    Example:
        r = tc.isnan(tc.sqrt(x))  # = np.isnan(np.sqrt(x))
        tc.isnan(n)               # error: isnan is not defined on i32
    """

def isinf(x: Tile) -> Tile:
    """Where a floating tile is infinite, of either sign, as bools.

    Example:
        r = tc.isinf(y / x)  # = np.isinf(y / x)
        tc.isinf(n)          # error: isinf is not defined on i32
    """

def isfinite(x: Tile) -> Tile:
    """Where a floating tile is neither infinite nor NaN, as bools.

    Example:
        r = tc.isfinite(y / x)  # = np.isfinite(y / x)
        tc.isfinite(n)          # error: isfinite is not defined on i32
    """

def power(x: Tile, n: int) -> Tile:
    """`x ** n` for an integer n known at compile time, by repeated multiplication, each product rounded.

    Example:
        r = tc.power(x, 3)  # = x**3
        tc.power(n, -1)     # error: i32 has no power -1
    """

def popcount(x: Operand) -> Tile:
    """How many bits of an integer are 1.

    Example:
        r = tc.popcount(m)  # = np.bitwise_count(m)
        tc.popcount(x)      # error: popcount is not defined on f32
    """

def clz(x: Operand) -> Tile:
    """How many bits of an integer are 0 above its highest 1: the type's width for 0.

    Example:
        r = tc.clz(m)  # = [[32 - int(v).bit_length() for v in row] for row in m]
        tc.clz(x)      # error: clz is not defined on f32
    """

def ctz(x: Operand) -> Tile:
    """How many bits of an integer are 0 below its lowest 1: the type's width for 0.

    Example:
        r = tc.ctz(m)  # = np.bitwise_count((m & -m) - 1)
        tc.ctz(x)      # error: ctz is not defined on f32
    """

def bitcast(x: View, dtype: DType) -> View:
    """The bits of each element read as another type of the same width, as in `tc.bitcast(x, u32)`; those of storage types are their codes.

    Of a shared tile it is a view, of a type of any width: the bits of each row are cut anew, the lowest first.

    Example:
        r = tc.bitcast(x, i32)  # = x.view(np.int32)
        tc.bitcast(x, i64)      # error: the 32 bits of f32 are not those of i64, which has 64
    """

def sin(x: Operand, approx: bool = False) -> Tile:
    """Sine of radians. On the GPU the error is at most 2**-25 + 2**-22.5 of the result in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: absolute error at most 2**-20.5 within 2 pi, 2**-14.7 within 100 pi, no bound beyond.

    Example:
        r = tc.sin(x)  # = np.sin(x)
        tc.sin(n)      # error: sin is not defined on i32
    """

def cos(x: Operand, approx: bool = False) -> Tile:
    """Cosine of radians. On the GPU the error is at most 2**-25 + 2**-22.5 of the result in f32, plus one rounding to f16 or bf16.

    With `approx`, one instruction: absolute error at most 2**-20.5 within 2 pi, 2**-14.7 within 100 pi, no bound beyond.

    Example:
        r = tc.cos(x)  # = np.cos(x)
        tc.cos(n)      # error: cos is not defined on i32
    """

def expm1(x: Operand) -> Tile:
    """`exp(x) - 1`, precise near 0, too. On the GPU the relative error is at most 2**-22 in f32, plus one rounding to f16 or bf16.

    Example:
        r = tc.expm1(x)  # = np.expm1(x)
        tc.expm1(n)      # error: expm1 is not defined on i32
    """

def log1p(x: Operand) -> Tile:
    """`log(1 + x)`, precise near 0, too. On the GPU the relative error is at most 2**-21.4 in f32, plus one rounding to f16 or bf16.

    Example:
        r = tc.log1p(y)  # = np.log1p(y)
        tc.log1p(n)      # error: log1p is not defined on i32
    """

def sigmoid(x: Operand, approx: bool = False) -> Tile:
    """`1 / (1 + exp(-x))`. On the GPU the relative error is at most 2**-20.8 in f32, plus one rounding; below 2**-126 it is 0.

    With `approx`, fewer instructions: relative error at most 2**-20.5 + |x| * 2**-23.

    Example:
        r = tc.sigmoid(x)  # = 1 / (1 + np.exp(-x))
        tc.sigmoid(n)      # error: sigmoid is not defined on i32
    """

def erf(x: Operand) -> Tile:
    """The error function. On the GPU the relative error is at most 2**-22 in f32, plus one rounding to f16 or bf16.

    Example:
        r = tc.erf(x)  # = np.vectorize(math.erf)(x)
        tc.erf(n)      # error: erf is not defined on i32
    """

def divisor(d: Tile) -> Tile:
    """What `tc.divmod` needs to divide by the positive integer scalar `d` (i32 or u32) without dividing: computed once, ahead of a loop.

    A tuple (d, multiplier, shift) of scalars; after Granlund and Montgomery, "Division by invariant integers using multiplication"
    (PLDI 1994), figure 4.1. A divisor that is not positive is undefined.

    Example:
        d = tc.divisor(i)
        q, r = tc.divmod(n, d)  # = (n // i, n % i)
        tc.divisor(s)           # error: a divisor is an i32 or u32 scalar, not f32
    """

def divmod(x: Tile, d: Operand | tuple[Tile, Tile, Tile]) -> Tile:
    """`(x // d, x % d)`. `d` is an integer or, faster, `tc.divisor(d)`, made once ahead of a loop: then one multiplication, no division.

    Example:
        q, r = tc.divmod(n, 7)  # = (n // 7, n % 7)
        tc.divmod(x, 7)         # error: // is not defined on f32
    """

def concatenate(xs: Sequence[Tile], axis: int = 0) -> Tile:
    """Tiles of one type one after another along an axis; their other extents agree.

    Example:
        r = tc.concatenate([x, y], axis=1)  # = np.concatenate([x, y], axis=1)
        tc.concatenate([x, n])              # error: tiles of f32 and i32 do not mix
    """

def split(x: Tile, parts: int, axis: int = 0) -> Tile:
    """The tile in `parts` equal tiles along an axis, as a tuple.

    Example:
        u, v = tc.split(x, 2)  # = np.split(x, 2)
        tc.split(x, 3)         # error: 8 elements don't split into 3 equal parts
    """

def flip(x: Tile, axis: int = 0) -> Tile:
    """The elements in reverse order along an axis.

    Example:
        r = tc.flip(x, 1)  # = np.flip(x, 1)
        tc.flip(x, 2)      # error: axis 2 is out of range for a tile with 2 axes
    """

def expand_dims(x: Tile, axis: int) -> Tile:
    """A new axis of extent 1, at `axis` of the result; `x[:, None]` is another way to write it.

    Example:
        r = tc.expand_dims(x, 1)  # = np.expand_dims(x, 1)
        tc.expand_dims(x, 4)      # error: axis 4 is out of range for a tile with 3 axes
    """

def squeeze(x: Tile, axis: int) -> Tile:
    """The tile without an axis of extent 1.

    Example:
        r = tc.squeeze(x[:, None], 1)  # = x
        tc.squeeze(x, 1)               # error: axis 1 of f32[8, 16] has 16 elements, not 1
    """

def permute(x: View, axes: Sequence[int]) -> View:
    """The axes in another order: axis i of the result is axis `axes[i]` of x. Of a shared tile it is a view.

    Example:
        r = tc.permute(x, [1, 0])  # = x.transpose(1, 0)
        tc.permute(x, [0])         # error: [0] is no order of the 2 axes
    """

def stack(xs: Sequence[Tile], axis: int = 0) -> Tile:
    """Tiles (or scalars) of one type and shape along a new axis, at `axis` of the result.

    Example:
        r = tc.stack([x, y], axis=1)  # = np.stack([x, y], axis=1)
        tc.stack([x, a])              # error: tiles of shapes [8, 16] and [16, 16] can't be stacked
    """

def interleave(x: Tile, y: Tile, axis: int = -1) -> Tile:
    """The elements of two tiles in turn along an axis: x[0], y[0], x[1], y[1], ...

    Example:
        r = tc.interleave(x, y)  # = np.stack([x, y], axis=-1).reshape(8, 32)
        tc.interleave(x, a)      # error: tiles of shapes [8, 16] and [16, 16] can't be stacked
    """

def repeat(x: Tile, count: int, axis: int = 0) -> Tile:
    """Each element `count` times along an axis: x[0], x[0], x[1], x[1], ... (as numpy.repeat).

    Example:
        r = tc.repeat(x, 2, axis=1)  # = np.repeat(x, 2, axis=1)
        tc.repeat(x, 0, axis=1)      # error: elements are repeated once or more, not 0 times
    """

def dot(x: Tile, y: Tile, acc: Tile | None = None, *, precision: str = 'ieee', xor: bool = False) -> Tile:
    """Matrix product `a @ b + acc` of tiles [m, k] and [k, n], or of stacks of such, [s, m, k] and [s, k, n].

    Accumulated in the type of `acc`, in f32 by default for floats (f64 for f64, f16 if acc is f16) and in i32 for integers. The types are
    f16, bf16, f32, f64, float8_e4m3, float8_e5m2, integers of up to 8 bits, and i32. Where the two differ, the storage type is converted to the
    other, exactly, by casts that the IR shows. `precision` is for f32: "ieee", "tf32" (operands rounded to 11 bits), or "tf32x3" (three
    products of tf32, with nearly the precision of f32). `xor=True` is for uint1: it counts where bits differ, not where both are 1.

    Example:
        r = tc.dot(a, b)  # = np.float32(a) @ np.float32(b)
        tc.dot(a, b[:8])  # error: a has 16 columns but b has 8 rows
    """

def philox(seed: Operand, c0: Operand, c1: Operand = 0, c2: Operand = 0, c3: Operand = 0) -> Tile:
    """Four tiles of random bits (u32) for each place of a counter of four integers, whose shapes broadcast; `seed` is the key.

    The words of Philox 4x32-10. `seed` is an integer scalar of up to 64 bits.

    Example:
        r0, r1, r2, r3 = tc.philox(0, 0)  # = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
        tc.philox(s, 0)                   # error: the seed is an integer, not f32
    """

def random_bits(seed: Operand, offsets: Operand) -> Tile:
    """Random u32, one for each of `offsets` (an integer tile of up to 64 bits): the first word of Philox 4x32-10 of seed and offset.

    Equal offsets give equal numbers: name each place of the tensor, as in `row * N + tc.arange(N)`.

    Example:
        r = tc.random_bits(0, tc.zeros(i32, [4]))  # = [0x6627E8D5] * 4
        tc.random_bits(0, x)                       # error: the offset is an integer, not f32[8, 16]
    """

def uniform(seed: Operand, offsets: Operand, dtype: DType = f32) -> Tile:
    """Uniform numbers of [0, 1), multiples of 2**-24 for f32 (2**-11, 2**-8, 2**-53 for f16, bf16, f64), one for each of `offsets`.

    Seed and offsets are as for `tc.random_bits`; the numbers are the same everywhere, bit for bit.

    Example:
        r = tc.uniform(0, tc.zeros(i32, [4]))  # = [(0x6627E8D5 >> 8) * 2.0**-24] * 4
        tc.uniform(0, n, i32)                  # error: uniform numbers are floating ones, not i32
    """

def normal(seed: Operand, offsets: Operand) -> Tile:
    """Numbers of the standard normal distribution (f32), one for each of `offsets`, by Box and Muller; none is beyond 5.8.

    Seed and offsets are as for `tc.random_bits`. On the GPU a number x is within 2**-21 * |x| + 2**-22 of the interpreter's.

    Example:
        r = tc.normal(0, tc.zeros(i32, [4]))
        # u, v = (0x6627E8D5 >> 8) * 2.0**-24, (0xE169C58D >> 8) * 2.0**-24
        # r = [np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)] * 4
        tc.normal(0, x)  # error: the offset is an integer, not f32[8, 16]
    """

def sum(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Sum of the elements, in the tile's own type.

    Example:
        r = tc.sum(x, axis=1)  # = np.sum(x, axis=1)
        tc.sum(p)              # error: sum is not defined on bool
    """

def prod(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Product of the elements, in the tile's own type.

    Example:
        r = tc.prod(m[:, :4], axis=1)  # = np.prod(m[:, :4], axis=1)
        tc.prod(p)                     # error: prod is not defined on bool
    """

def max(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """The largest element; NaN if there is one.

    Example:
        r = tc.max(x, axis=1)  # = np.max(x, axis=1)
        tc.max(x, axis=2)      # error: axis 2 is out of range for a tile with 2 axes
    """

def min(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """The smallest element; NaN if there is one.

    Example:
        r = tc.min(x, axis=1)  # = np.min(x, axis=1)
        tc.min(x, axis=2)      # error: axis 2 is out of range for a tile with 2 axes
    """

def any(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Whether any element along the axes is true, or not 0.

    Example:
        r = tc.any(p, axis=1)  # = np.any(p, axis=1)
        tc.any(w)              # error: int6 is a storage type and does not compute
    """

def all(x: Tile, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tile:
    """Whether all elements along the axes are true, or not 0.

    Example:
        r = tc.all(p, axis=1)  # = np.all(p, axis=1)
        tc.all(w)              # error: int6 is a storage type and does not compute
    """

def reduce(x: Tile | Sequence[Tile], combine: Function | str, axis: int | None = None) -> Tile:
    """All elements along `axis` (of all, without one) combined by an associative function: f(x, y), with x of earlier elements.

    `combine` is a function of @tc.function or "add", "mul", "max", "min", "and", "or", "xor". Several tiles, as a tuple, are combined
    together: f(x0, x1, y0, y1) gives a tuple of two.

    Example:
        r = tc.reduce(n, "max", axis=1)  # = np.max(n, axis=1)
        tc.reduce(n, "plus")             # error: 'plus' names no operation
    """

def scan(x: Tile | Sequence[Tile], combine: Function | str, axis: int = -1, *, exclusive: bool = False, reverse: bool = False, first: int | float | bool | Sequence[Any] | None = None) -> Tile:
    """Each element along `axis` combined with all before it, by an associative function f(x, y), with x of earlier elements.

    `combine` is as for `tc.reduce`. If `exclusive`, each gets what is before it alone, and the first gets `first`, a number for each tile
    that changes nothing (known for the named operations). If `reverse`, the scan begins at the end.

    Example:
        r = tc.scan(n, "xor")  # = np.bitwise_xor.accumulate(n, axis=1)
        tc.scan(n, "plus")     # error: 'plus' names no operation
    """

def cumsum(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The sum of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cumsum(x)  # = np.cumsum(x, axis=-1)
        tc.cumsum(s)      # error: f32 has no axis
    """

def cumprod(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The product of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cumprod(m[:, :4])  # = np.cumprod(m[:, :4], axis=-1)
        tc.cumprod(s)             # error: f32 has no axis
    """

def cummax(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The largest of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cummax(x)      # = np.maximum.accumulate(x, axis=-1)
        tc.cummax(x, axis=2)  # error: axis 2 is out of range for a tile with 2 axes
    """

def cummin(x: Tile, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tile:
    """The smallest of each element and all before it along `axis`; of those before it alone if `exclusive`; from the end if `reverse`.

    Example:
        r = tc.cummin(x)      # = np.minimum.accumulate(x, axis=-1)
        tc.cummin(x, axis=2)  # error: axis 2 is out of range for a tile with 2 axes
    """

def argmax(x: Tile, axis: int | None = None) -> Tile:
    """The place (i32) of the largest element along `axis`, or among all in one row; the first of equals; NaN counts as the largest.

    Example:
        r = tc.argmax(x, axis=1)  # = np.argmax(x, axis=1)
        tc.argmax(p)              # error: bools have no best one
    """

def argmin(x: Tile, axis: int | None = None) -> Tile:
    """The place (i32) of the smallest element along `axis`, or among all in one row; the first of equals; NaN counts as the smallest.

    Example:
        r = tc.argmin(x, axis=1)  # = np.argmin(x, axis=1)
        tc.argmin(p)              # error: bools have no best one
    """

def sort(x: Tile, axis: int = -1, *, descending: bool = False) -> Tile:
    """The elements along `axis` in rising order, NaN last (as numpy.sort); in falling order, NaN first, if `descending`.

    Example:
        r = tc.sort(x)  # = np.sort(x)
        tc.sort(p)      # error: bool[8, 16] is not sorted
    """

def argsort(x: Tile, axis: int = -1, *, descending: bool = False) -> Tile:
    """The places (i32) of the elements along `axis` in rising order, or falling if `descending`; equal ones stay in order.

    Example:
        r = tc.argsort(n)   # = np.argsort(n, kind="stable")
        tc.argsort(i64(n))  # error: places of i64 are not sorted
    """

def topk(x: Tile, k: int, axis: int = -1) -> Tile:
    """The k largest elements along `axis` in falling order, and their places (i32): `(values, places)`. Of equals the first; NaN counts as
    the largest.

    Example:
        values, places = tc.topk(n, 3)  # = (-np.sort(-n)[:, :3], np.argsort(-n, kind="stable")[:, :3])
        tc.topk(n, 17)                  # error: the 17 largest of 16 elements are wanted
    """

def semaphore_wait(target: Memory, index: Sequence[Index] | Index, value: Index) -> None:
    """Waits until the counter at an index of an i32 or u32 tensor is at least `value`.

    What other blocks wrote before the post that was waited for is seen by all threads of the block from here on (acquire). All blocks
    that others wait for must be able to run at once: launch no more of them than the GPU holds, or let blocks wait only for those of a
    smaller number, which start first.

    Example:
        tc.semaphore_post(H, [0])        # H[0] += 1
        tc.semaphore_wait(H, [0], 1)
        tc.semaphore_wait(O, [0, 0], 1)  # error: a semaphore is an element of an i32 or u32 tensor
    """

def semaphore_post(target: Memory, index: Sequence[Index] | Index, value: Index = 1) -> None:
    """Adds `value` to the counter at an index of an i32 or u32 tensor, when all threads of the block have come so far.

    What the block wrote before is seen by the blocks that wait for it (release).

    Example:
        tc.semaphore_post(H, [0], 2)  # H[0] += 2
        tc.semaphore_post(O, [0, 0])  # error: a semaphore is an element of an i32 or u32 tensor
    """

def fence(scope: str = 'gpu') -> None:
    """Orders the memory accesses of each thread before it before those behind it, as seen by `scope`: "block", "gpu" or "sys".

    Example:
        tc.store(O, [0, 0], x)  # O[:8, :16] = x
        tc.fence("gpu")
        tc.fence("warp")        # error: 'warp' is no scope
    """

def tensor_view(source: Memory, offset: Index = 0, *, shape: Sequence[Index], strides: Sequence[Index] | None = None) -> GlobalTensor:
    """A tensor of other shape and strides on a tensor's memory, from element `offset` on: `tc.tensor_view(a, i * N, shape=[N // 64, 64])`.

    Extents and strides (in elements; row-major without gaps unless given) are integers or i32 scalars of the program; strides may be zero
    or negative. The view is used like any tensor, its edges are its own; within them it must stay in the tensor's memory.

    Example:
        v = tc.tensor_view(T, 0, shape=[C, R], strides=[1, C])
        r = tc.load(v, [0, 0], [16, 8])                  # = T.T[:16, :8]
        tc.tensor_view(T, 0, shape=[R, C], strides=[C])  # error: a view of 2 axes has 1 strides
    """

def dequantize(w: Operand, scale: Operand, zero: Operand | None = None, *, below: float = 2.0, dtype: DType | None = None) -> Tile:
    """`(w - zero) * scale`, rounded once, to the type of `scale`: f16 or bf16. (The entries of a codebook are rounded to it first.)

    `w` is a tile of weights of any type, `scale` and `zero` broadcast to it. `zero` holds whole numbers, such that w - zero is a value of
    the result's type; codebooks take none. `below` is your word that |scale| < below, on which the compiler chooses the cheapest exact
    instructions: under 2.0 floats take one multiplication, under 2**-8 integers one multiply-add. The interpreter checks both. A number as `scale` has the type
    `dtype`, by default that which the weights are packed for, or f16; powers of two may cost nothing.

    Example:
        r = tc.dequantize(w, b / 4)  # = w * (b / 4)
        tc.dequantize(w, s)          # error: weights are scaled in f16 or bf16, not in f32
    """

def ldexp(w: Tile, power: int, dtype: DType) -> Tile:
    """`w * 2**power` as `dtype`, one of the types of 8 bits that products are made of: int8, uint8, e4m3 or e5m2. It is exact: each must be a value of `dtype`,
    which the interpreter checks.

    Weights that are packed for such a type come out of their words for least with the `power` of their type, as in
    `tc.ldexp(w, tc.packed(int4, int8).power, int8)`, which is 4; whoever uses the product divides by it.

    Example:
        r = f16(tc.ldexp(w, 2, tc.int8))  # = w * 4
        tc.ldexp(w, 2, tc.f16)            # error: a weight times a power of two is int8, uint8, float8_e4m3 or float8_e5m2, not f16
    """

def grid(x: Index, y: Index = 1, z: Index = 1) -> None:
    """Says how many blocks run, in up to three directions: the kernel's first statement, evaluated on the host.

    The extents are computed from dimensions, scalar parameters and constants, as in `tc.grid(cdiv(M, bm), cdiv(N, bn))`.

    Example:
        @tc.kernel
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(R)
            j = tc.block_index(0)
            tc.store(O, [j, 0], tc.load(T, [j, 0], [64]))  # O[:] = T
        tc.grid(1)                                         # error: tc.grid is given twice
    """

def warps(first: int, count: int) -> AbstractContextManager[None]:
    """`with tc.warps(0, 4):` what follows is run by `count` warps from warp `first` on, and a barrier in it is theirs alone.

    The other warps pass it by, so that several groups work at once. No value leaves it; scalars enter it, tiles through shared memory.

    Example:
        @tc.kernel(warps=2)
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            with tc.warps(1, 1):
                tc.store(O, [0, 0], tc.load(T, [0, 0], [8, 16]))  # O[:8, :16] = T[:8, :16]
        with tc.warps(0, 2): pass                                 # error: warps
    """

def range(start: Index, stop: Index | None = None, step: Index = 1, *, stages: int = 1, buffers: int | None = None) -> Iterable[Any]:
    """A loop at run time, like Python's range; `stages` asks that the loads of later rounds be under way during earlier ones.

    `buffers=2` asks moreover that what the first products of a round take be in registers before the last ones of the round before, which takes
    registers for twice the fragments of a step; `buffers=1` forbids it; by default it is done where no other block's work hides the wait for it.

    Example:
        total = s
        for j in tc.range(i):
            total += 1.0
        r = total                         # = s + i
        for j in tc.range(0, i, 0): pass  # error: the step of a range is not 0
    """

def static_range(start: int, stop: int | None = None, step: int = 1) -> Iterable[int]:
    """A loop that is unrolled: its counter is a number at compile time, and so are its bounds.

    Example:
        parts = []
        for j in tc.static_range(8):
            parts = [*parts, tc.sum(x[j])]
        r = tc.stack(parts)                # = np.sum(x, axis=1)
        for j in tc.static_range(i): pass  # error: static_range are known at compile time, not i32
    """

def cdiv(x: Any, y: Any) -> Any:
    """`x / y` rounded up, for integers and integer scalars: the number of blocks of y that cover x.

    Example:
        r = cdiv(i, 2)  # = -(-i // 2)
        cdiv(x, y)      # error: // is not defined on f32
    """

def dims(names: str) -> Any:
    """Names of runtime dimensions, separated by blanks: `M, N = tc.dims("M N")`; a single name gives the `Dim` itself.

    Example:
        A, B = tc.dims("A B")
        @tc.kernel
        def k(T: f32[A, B], O: f32[A, B]):
            tc.grid(A)
            tc.store(O, [tc.block_index(0), 0], f32(B))  # O[:, 0] = 40
        tc.dims("M-N")                                   # error: 'M-N' can't name a dimension
    """

def types(names: str) -> Any:
    """Names of element types that kernels take as constants: `W = tc.types("W")`, then `def k(w: W[K, N], *, W: DType = int6)`.

    Example:
        W = tc.types("W")
        @tc.kernel
        def k(T: W[R, C], O: f32[R, C], *, W: DType = f32):
            tc.grid(1)
            tc.store(O, [0, 0], f32(tc.load(T, [0, 0], [8, 16])))  # O[:8, :16] = T[:8, :16]
        tc.types("1")                                              # error: '1' can't name a type
    """

def strided(tensor: Any) -> Any:
    """The annotation of a tensor that need not be contiguous: `a: tc.strided(f16[M, K])`. Its strides become kernel parameters.

    Example:
        @tc.kernel
        def k(T: tc.strided(f32[R, C]), O: f32[R, C]):
            tc.grid(1)
            tc.store(O, [0, 0], tc.load(T, [0, 0], [8, 16]))  # O[:8, :16] = T[:8, :16]
        tc.strided(f32)                                       # error: strided takes a tensor's annotation
    """

def workspace(tensor: Any) -> Any:
    """The annotation of a tensor for the kernel's own use, `w: tc.workspace(i32[M])`: every run finds it full of zeros, and leaves it so.

    Calls need not pass it: then tilec provides it. Its extents are integers or dimensions of other tensors. A run of the interpreter or the
    simulator that leaves other values than 0 is an error.

    Example:
        @tc.kernel
        def k(O: f32[R, C], own: tc.workspace(i32[4])):
            tc.grid(1)
            tc.store(O, [0, 0], f32(tc.load(own, [0], [4])))  # O[0, :4] = 0
        tc.workspace(i32)                                   # error: workspace takes a tensor's annotation
    """

def function(python_function: Callable[..., Any]) -> HelperFunction:
    """Decorates a helper that kernels call: it is inlined at each call, takes tiles and constants, and returns one value or a tuple.

    Example:
        @tc.function
        def twice(v):
            return v + v
        @tc.kernel
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            tc.store(O, [0, 0], twice(tc.load(T, [0, 0], [8, 16])))  # O[:8, :16] = 2 * T[:8, :16]
        tc.function(3)                                               # error: a helper is a Python function, not 3
    """

def static(x: Any) -> Any:
    """The value of an expression that Python computes when the kernel is compiled: any Python is allowed in it, no value of the program is.

    Example:
        count = tc.static(sum(j * j for j in range(4)))
        r = n + count     # = n + 14
        tc.static(i + 1)  # error: this is computed when the kernel is compiled, but i is i32
    """

def static_assert(fact: bool, message: str = '') -> None:
    """Refuses to compile unless the fact, known at compile time, holds.

    Example:
        tc.static_assert(x.shape[0] % 8 == 0, "extents come in eights")
        r = x + 1                         # = x + 1
        tc.static_assert(x.shape[0] > 8)  # error: x.shape[0] > 8 does not hold
    """

def struct(cls: type) -> Any:
    """Decorates a class whose annotated fields are tiles, scalars or objects known at compile time: its instances are values of kernels.

    `State(acc, best)` makes one, `s.acc` reads a field, `s.replace(acc=x)` makes another; loops and branches hand them on, functions take and
    return them. Methods are decorated with `@tc.function`. Raises TileError for a class without fields or with a base.

    Example:
        @tc.struct
        class Pair:
            low: f32
            high: f32
        @tc.kernel
        def k(T: f32[R, C], O: f32[R, C]):
            tc.grid(1)
            v = tc.load(T, [0, 0], [8, 16])
            both = Pair(tc.min(v), tc.max(v))
            tc.store(O, [0, 0], both.high - both.low)  # O[0, 0] = np.ptp(T[:8, :16])
        tc.struct(type("Empty", (), {}))               # error: Empty is no struct
    """
