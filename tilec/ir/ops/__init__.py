"""All operations of the language, one file per family. Importing this package registers them."""

from tilec.ir.ops import arith, base, control, debug, matmul, memory, reduce, shape, sync

__all__ = ["arith", "base", "control", "debug", "matmul", "memory", "reduce", "shape", "sync"]
