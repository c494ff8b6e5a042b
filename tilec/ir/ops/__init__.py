"""All operations of the language, one file per family. Importing this package registers them."""

from tilec.ir.ops import access, arith, asynchronous, base, control, debug, gather, matmul, memory, reduce, shape, sync, views

__all__ = ["access", "arith", "asynchronous", "base", "control", "debug", "gather", "matmul", "memory", "reduce", "shape", "sync", "views"]
