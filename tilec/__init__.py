"""tilec: GPU kernels at tile level, in Python."""

import builtins as _builtins
import importlib as _importlib

from tilec.compiler import Compiled, Kernel, kernel
from tilec.errors import Loc, TileError
from tilec.frontend.language import *  # noqa: F403 - the names of the language; __init__.pyi lists them
from tilec.ir.dtypes import (  # fmt: skip
    DType,
    all_dtypes,
    bf16,
    bool_,
    codebook,
    dtype,
    f16,
    f32,
    f64,
    float3_e1m1,
    float3_e2m0,
    float4_e1m2,
    float4_e2m1,
    float4_e3m0,
    float5_e1m3,
    float5_e2m2,
    float5_e3m1,
    float5_e4m0,
    float6_e1m4,
    float6_e2m3,
    float6_e3m2,
    float6_e4m1,
    float6_e5m0,
    float7_e1m5,
    float7_e2m4,
    float7_e3m3,
    float7_e4m2,
    float7_e5m1,
    float7_e6m0,
    float8_e1m6,
    float8_e2m5,
    float8_e3m4,
    float8_e4m3,
    float8_e5m2,
    float8_e6m1,
    float8_e7m0,
    float8_e8m0,
    i16,
    i32,
    i64,
    int1,
    int2,
    int3,
    int4,
    int5,
    int6,
    int7,
    int8,
    nf4,
    u16,
    u32,
    u64,
    uint1,
    uint2,
    uint3,
    uint4,
    uint5,
    uint6,
    uint7,
    uint8,
)
from tilec.ir.layout import Layout, column_local, column_spatial, local, replicated, spatial
from tilec.ir.packing import packed
from tilec.ir.tensor import Tensor, tensor
from tilec.ir.text import parse

# what a process that compiles has no use for is loaded when it is asked for
_LATE = {"Bundle": "tilec.bundle", "layout_of": "tilec.trace", "type_of": "tilec.trace"}

load.outside = lambda folder: _importlib.import_module("tilec.bundle").load(folder)  # type: ignore[attr-defined]  # noqa: F405 - in kernels it reads a tile

# for `from tilec import *`: all names but modules and those that would hide Python's own, as abs and range
__all__ = [_n for _n, _x in list(globals().items()) if not (_n.startswith("_") or hasattr(_builtins, _n) or isinstance(_x, type(_builtins)))]
__all__ += _LATE


def __getattr__(name):
    if name in _LATE:
        return getattr(_importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
