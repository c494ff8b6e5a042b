"""All operations of the language, one file per family. Importing this package registers them."""

from tilec.ir.ops import (
    access,
    arith,
    asynchronous,
    atomics,
    base,
    control,
    debug,
    gather,
    matmul,
    memory,
    reduce,
    semaphores,
    shape,
    sync,
    views,
    warps,
)

__all__ = [
    "access",
    "arith",
    "asynchronous",
    "atomics",
    "base",
    "control",
    "debug",
    "gather",
    "matmul",
    "memory",
    "reduce",
    "semaphores",
    "shape",
    "sync",
    "views",
    "warps",
]
