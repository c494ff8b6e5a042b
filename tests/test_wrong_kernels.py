"""Wrong kernels and calls: for each the place that the error points to, marked by carets under the line, and words that it must hold."""

import re
import sys
import traceback

import pytest

import tilec as tc
from tilec.frontend.parse import parse_kernel
from tilec.frontend.signature import signature

HEAD = """
import math
import numpy as np
import tilec as tc
from tilec import DType, cdiv, bf16, f16, f32, f64, i32, i64, int6, u32, uint8
M, N, K, P = tc.dims("M N K P")
W = tc.types("W")

@tc.function
def twice(x):
    return x + x

@tc.function
def forever(x):
    return forever(x)

@tc.function
def early(x, n):
    for i in range(n):
        return x
    return x + x

@tc.function
def partly(x, n):
    if n > 0:
        return x

@tc.struct
class State:
    best: f32
    place: i32

@tc.kernel
def other(x: f32[N]):
    tc.grid(1)

def plain(x):
    return x + 1

@tc.function
def narrow(x, y):
    return tc.cast(x + y, i64)

@tc.function
def both(x, y):
    return x, y

@tc.function
def looping(x, y):
    for i in range(x):
        y += 1
    return y

class Box:
    size = 3

box = Box()
"""

# A body stands for the kernel `def k(x: f32[N], y: f32[N], a: f16[M, K], w: int6[K, N], s: f32, n: i32, *, block: int = 64)` that
# begins with `tc.grid(cdiv(N, block))`; text that defines `k` itself stands for itself.
DEF = "def k(x: f32[N], y: f32[N], a: f16[M, K], w: int6[K, N], s: f32, n: i32, *, block: int = 64):\n    tc.grid(cdiv(N, block))\n"

WRONG = {
    # names
    "undefined": ("""
    v = tc.load(x, [0], [blck])
                         ^^^^
""", "TILE0101", "blck is not defined", "did you mean block?"),
    "no such builtin": ("""
    v = tc.laod(x, [0], [block])
        ^^^^^^^
""", "TILE0101", "the module tilec has no laod", "did you mean load?"),
    "dimension of no tensor": ("""
    tc.store(x, [0], tc.full(i32, [block], P))
                                           ^
""", "TILE0101", "the dimension P belongs to no tensor", "its dimensions are N, M, K"),
    "read before assigned": ("""
    v = v + 1.0
        ^
    v = s
""", "TILE0102", "v is read before it is assigned"),
    "assigned on one side": ("""
    if n > 0:
        v = s * 2.0
    tc.store(x, [0], v)
                     ^
""", "TILE0102", "v is assigned on one side only of an if", "assign it before the if"),
    "assigned in a loop only": ("""
    for i in range(n):
        v = s * 2.0
    tc.store(x, [0], v)
                     ^
""", "TILE0102", "v is assigned inside a loop only", "assign v before the loop"),
    "counter after the loop": ("""
    for i in range(n):
        tc.store(x, [i], s)
    tc.store(x, [i], s)
                 ^
""", "TILE0102", "i is the loop's counter and has no value after it"),
    "layout smaller than its tile": ("""
    u = tc.load(a, [0, 0], [32, 32], layout=tc.local(2, 1).spatial(8, 4).local(1, 2))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0602", "a layout of shape [16, 8] does not cover a tile of shape [32, 32]", ".cover((32, 32)) of it does"),
    "layout of fewer axes than its tile": ("""
    u = tc.load(a, [0, 0], [4, 8], layout=tc.spatial(32))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0602", "a layout of shape [32] does not cover a tile of shape [4, 8]"),
    # types
    "mixed types": ("""
    v = tc.load(x, [0], [block]) + tc.load(a, [0, 0], [block])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0301", "types f32 and f16 do not mix", "tc.cast(x, f32)"),
    "both ends of a sum": ("""
    u = tc.load(x, [0], [block])
    v = tc.load(a, [0, 0], [block])
    u = u + v
        ^^^^^
""", "TILE0301", "note: u is f32[64], made here\n        u = tc.load(x", "note: v is f16[64], made here\n        v = tc.load(a"),
    "both ends of a product": ("""
    u = tc.load(a, [0, 0], [16, 32])
    v = tc.dot(u, u)
        ^^^^^^^^^^^^
""", "TILE0406", "b.T is the transpose of b", "note: u is f16[16, 32], made here\n        u = tc.load(a"),
    "both sides of an if": ("""
    v = s
    if n > 0:
        v = tc.load(x, [0], [block])
    else:
        v = s * 2.0
        ^
    tc.store(x, [0], v)
""", "TILE0107", "its values are f32[64] and f32", "note: the other side gives v here\n            v = tc.load(x"),
    "where the variable of a loop begins": ("""
    v = 0.0
    for i in range(n):
        v += tc.load(x, [0], [block])
        ^
    tc.store(x, [0], v)
""", "TILE0107", "after one round", "note: it begins here\n        v = 0.0"),
    "storage type computes": ("""
    v = tc.load(w, [0, 0], [block, block]) * 2
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0302", "int6 is a storage type and does not compute", "tc.cast(x, f16)"),
    "float for an integer tile": ("""
    v = tc.arange(block) + 0.5
        ^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0304", "0.5 is not an integer, but i32 is wanted", "cast"),
    "division of integers": ("""
    v = n / 2
        ^^^^^
""", "TILE0303", "/ is not defined on i32", "use // for integers"),
    "floor division of floats": ("""
    v = s // 2.0
        ^^^^^^^^
""", "TILE0303", "// is not defined on f32", "tc.floor(x / y)"),
    "number does not fit": ("""
    v = n + 5000000000
        ^^^^^^^^^^^^^^
""", "TILE0304", "5000000000 does not fit i32", "tc.cast(x, i64)"),
    "bits of a float": ("""
    v = s & 1
        ^^^^^
""", "TILE0303", "& is not defined on f32", "tc.bitcast(x, u32)"),
    "bits of a float's popcount": ("""
    v = tc.popcount(s)
        ^^^^^^^^^^^^^^
""", "TILE0303", "popcount is not defined on f32", "tc.bitcast(x, u32)"),
    "bitcast of another width": ("""
    v = tc.bitcast(s, i64)
        ^^^^^^^^^^^^^^^^^^
""", "TILE0306", "the 32 bits of f32 are not those of i64, which has 64", "of one width"),
    "isnan of integers": ("""
    v = tc.isnan(n)
        ^^^^^^^^^^^
""", "TILE0303", "isnan is not defined on i32"),
    "clip without bounds": ("""
    v = tc.clip(s)
        ^^^^^^^^^^
""", "TILE0105", "clip needs a bound"),
    "power of a tile": ("""
    v = s ** s
        ^^^^^^
""", "TILE0104", "** takes an integer known at compile time", "tc.exp2(y * tc.log2(x))"),
    "negative power of an integer": ("""
    v = n ** -1
        ^^^^^^^
""", "TILE0303", "i32 has no power -1"),
    "divisor that is no scalar": ("""
    v = tc.divisor(s)
        ^^^^^^^^^^^^^
""", "TILE0303", "a divisor is an i32 or u32 scalar, not f32"),
    "divisor of another type": ("""
    v = tc.divmod(tc.cast(n, u32), tc.divisor(n))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0301", "x is u32, but the divisor is i32"),
    "seed that is no integer": ("""
    v = tc.uniform(s, tc.arange(block))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0303", "the seed is an integer, not f32"),
    "random offsets that are no integers": ("""
    v = tc.random_bits(0, tc.load(x, [0], [block]))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0303", "the offset is an integer, not f32[64]"),
    "uniform integers": ("""
    v = tc.uniform(n, tc.arange(block), i32)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0303", "uniform numbers are floating ones, not i32"),
    "function of another type": ("""
    v = tc.scan(tc.arange(block), narrow)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0308", "the function gives [i64], but combines [i32]", "convert inside the function"),
    "function with too many values": ("""
    v = tc.reduce(tc.arange(block), both)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0308", "the function gives 2 values, but combines 1"),
    "function that loads": ("""
    v = tc.scan(tc.arange(block), looping)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0308", "the function may compute with numbers only", "tc.where chooses"),
    "plain function to scan by": ("""
    v = tc.scan(tc.arange(block), plain)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", "tc.scan: combine is a function of @tc.function", "decorate plain with @tc.function"),
    "operation of no name": ("""
    v = tc.scan(tc.arange(block), "plus")
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0308", "'plus' names no operation", "there are add, mul, max"),
    "exclusive scan from nothing": ("""
    v = tc.scan(tc.arange(block), tc.maximum, exclusive=True)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", "an exclusive scan by a function needs the value that comes first", "first=0.0"),
    "scan of a scalar": ("""
    v = tc.cumsum(n)
        ^^^^^^^^^^^^
""", "TILE0402", "i32 has no axis"),
    "sorted bools": ("""
    v = tc.sort(tc.arange(block) > 3)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0303", "bool[64] is not sorted", "tc.cast(x, i32)"),
    "places of wide elements": ("""
    v = tc.argsort(tc.arange(block, dtype=i64))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0303", "places of i64 are not sorted"),
    "more than there are": ("""
    v = tc.topk(tc.arange(block), 65)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0405", "the 65 largest of 64 elements are wanted", "k is 1 to 64"),
    "histogram of floats": ("""
    v = tc.histogram(tc.load(x, [0], [block]), 8)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0303", "integers are counted, not f32[64]"),
    "sum of bools": ("""
    v = tc.sum(tc.arange(block) > 3)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0303", "sum is not defined on bool", "cast it to i32"),
    "accumulator of another type": ("""
    v = tc.dot(tc.load(a, [0, 0], [16, 16]), tc.load(a, [0, 0], [16, 16]), tc.zeros(i32, [16, 16]))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0307", "dot of f16 accumulates in f32, but acc is i32", "tc.zeros(f32, [m, n])"),
    "precision of f16": ("""
    v = tc.dot(tc.load(a, [0, 0], [16, 16]), tc.load(a, [0, 0], [16, 16]), precision="tf32")
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0307", "the precision tf32 is for f32, not f16"),
    "precision of no name": ("""
    v = tc.dot(tc.load(a, [0, 0], [16, 16]), tc.load(a, [0, 0], [16, 16]), precision="fast")
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", "'fast' is no precision", "ieee, tf32, tf32x3"),
    "xor of floats": ("""
    v = tc.dot(tc.load(a, [0, 0], [16, 16]), tc.load(a, [0, 0], [16, 16]), xor=True)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0307", "xor is for uint1, not f16"),
    "stacks of different height": ("""
    v = tc.dot(tc.zeros(f16, [2, 16, 16]), tc.zeros(f16, [3, 16, 16]))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0406", "a stack of 2 matrices is multiplied by one of 3"),
    "asserted number": ("""
    tc.assert_(n, "n")
    ^^^^^^^^^^^^^^^^^^
""", "TILE0115", "an assertion is a bool, not i32", "x != 0"),
    "assertion known to fail": ("""
    tc.assert_(block > 100, "narrow")
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0111", "the assertion fails: narrow"),
    "printed tensor": ("""
    tc.device_print("x", x)
    ^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0305", "a tile or a number is wanted here, not global f32[N]", "tc.load"),
    "return out of a group of warps": ("""
    with tc.warps(0, 2):
        if n > 3:
            return
            ^^^^^^
""", "TILE0110", "return leaves a group of warps", "end the group before the return"),
    "exp of integers": ("""
    v = tc.exp(n)
        ^^^^^^^^^
""", "TILE0303", "exp is not defined on i32", "cast to a floating type first"),
    "tensor in arithmetic": ("""
    v = x + 1.0
        ^^^^^^^
""", "TILE0305", "a tile or a number is wanted here, not global f32[N]", "tc.load"),
    "tuple in arithmetic": ("""
    v = s + (1, 2)
        ^^^^^^^^^^
""", "TILE0303", "+ is not defined on f32 and a tuple of 2"),
    "Python's math": ("""
    v = math.sqrt(s)
        ^^^^^^^^^^^^
""", "TILE0106", "sqrt is a Python function", "tc.sqrt does"),
    "a plain helper": ("""
    v = plain(s)
        ^^^^^^^^
""", "TILE0106", "plain is a Python function", "@tc.function"),
    "a kernel": ("""
    other(x)
    ^^^^^^^^
""", "TILE0106", "other is a kernel, and kernels don't call kernels", "@tc.function"),
    # masks and indices
    "mask of numbers": ("""
    v = tc.load(x, [0], [block], mask=tc.arange(block))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0503", "a mask is a tile of bools, not i32[64]", "compare it"),
    "mask of another shape": ("""
    v = tc.load(x, [0], [block], mask=tc.arange(32) < n)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0503", "bool[32] does not broadcast to the shape [64] of the access"),
    "indices that are no integers": ("""
    v = tc.gather(a, [tc.load(x, [0], [16]), 0], [16, 32])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0503", "indices are integers that compute, not f32", "tc.cast(x, i32)"),
    "too few indices": ("""
    v = tc.gather(a, [tc.arange(8), 0], [16, 32])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0503", "8 indices for the 16 places along axis 0 of the tile"),
    "scatter of another type": ("""
    tc.scatter(a, [tc.arange(16), 0], tc.zeros(f32, [16, 32]))
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0502", "a tile of f32 is stored to a tensor of f16", "tc.cast(x, f16)"),
    "view with a stride missing": ("""
    v = tc.tensor_view(x, 0, shape=[n, 8], strides=[8])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0514", "a view of 2 axes has 1 strides", "one stride for each extent"),
    # shapes
    "shapes do not broadcast": ("""
    v = tc.zeros(f32, [64, 32]) + tc.zeros(f32, [64])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0401", "shapes [64, 32] and [64] do not broadcast", "x[:, None] adds an axis"),
    "shape of a runtime extent": ("""
    v = tc.zeros(f32, [n])
        ^^^^^^^^^^^^^^^^^^
""", "TILE0104", "must be known at compile time", "keyword-only"),
    "dot of unequal depth": ("""
    v = tc.dot(tc.zeros(f16, [16, 32]), tc.zeros(f16, [16, 8]))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0406", "a has 32 columns but b has 16 rows", "[m, k] is multiplied by [k, n]"),
    "product of types that lose values": ("""
    v = tc.dot(tc.cast(tc.load(a, [0, 0], [16, 16]), tc.float8_e8m0), tc.load(a, [0, 0], [16, 16]))
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0307", "dot of float8_e8m0 by f16: not every float8_e8m0 is a f16", "tc.cast(x, f16)"),
    "reshape": ("""
    v = tc.zeros(f32, [6]).reshape([4, 2])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0403", "[6] has 6 elements and does not reshape to [4, 2]"),
    "axis": ("""
    v = tc.sum(tc.zeros(f32, [4, 2]), axis=2)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0402", "axis 2 is out of range for a tile with 2 axes", "axes are -2 to 1"),
    # memory
    "missing offset": ("""
    v = tc.load(a, [0], [block])
        ^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0501", "has 2 axes, but 1 offsets are given", "one offset for each axis"),
    "no offsets": ("""
    v = tc.load(x)
        ^^^^^^^^^^
""", "TILE0501", "tc.load needs the offsets", "tc.load(a, [i, k], [64, 32])"),
    "tile of too many axes": ("""
    v = tc.load(x, [0], [8, 8])
        ^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0501", "a tile of shape [8, 8] has more axes than global f32[N]"),
    "stored type": ("""
    tc.store(y, [0], tc.arange(block))
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0502", "a tile of i32 is stored to a tensor of f32", "tc.cast(x, f32)"),
    "subscript of a tensor": ("""
    v = x[0]
        ^^^^
""", "TILE0305", "a tensor is not indexed", "tc.load(a, [i, k], [64, 32])"),
    "index beyond a tile": ("""
    v = tc.arange(block)[64]
        ^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "index 64 is out of bounds for axis 0 of i32[64]", "indices are -64 to 63"),
    "too many indices": ("""
    v = tc.arange(block)[3, 4]
        ^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "i32[64] has 1 axes, but 2 indices are given"),
    "empty slice": ("""
    v = tc.arange(block)[5:5]
        ^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "the slice of axis 0 is empty", "5:5 of 64 elements"),
    "slice to a quotient": ("""
    v = tc.arange(block)[: block / 2]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "a slice is bounded by integers, not 32.0", "use // to divide integers"),
    "slice in steps of 0": ("""
    v = tc.arange(block)[::0]
        ^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "the step of a slice is not 0"),
    "quotient as an extent": ("""
    v = tc.zeros(f32, [block / 2])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0405", "a tile's extents are positive integers, not 32.0", "use // to divide integers"),
    "quotient as an offset": ("""
    v = tc.load(x, [block / 2], [8])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "an index is an integer, not 32.0", "use // to divide integers"),
    "slice at run time": ("""
    v = tc.arange(block)[n:]
                         ^
""", "TILE0104", "a slice's bound must be known at compile time"),
    "tile as an index": ("""
    v = tc.arange(block)[tc.arange(4)]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "an index is an integer scalar, not i32[4]"),
    "tiles that don't fit together": ("""
    v = tc.concatenate([tc.load(a, [0, 0], [4, 8]), tc.load(a, [0, 0], [4, 16])])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0401", "tiles of shapes [4, 8] and [4, 16] do not fit together along axis 0"),
    "concatenated types": ("""
    v = tc.concatenate([tc.load(x, [0], [8]), tc.arange(8)])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0301", "tiles of f32 and i32 do not mix", "tc.cast(x, f32)"),
    "concatenated scalars": ("""
    v = tc.concatenate([n, n])
        ^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0305", "concatenate takes tiles, not scalars", "tc.stack"),
    "nothing to stack": ("""
    v = tc.stack([])
        ^^^^^^^^^^^^
""", "TILE0405", "stack needs tiles"),
    "stacked shapes": ("""
    v = tc.stack([tc.arange(4), tc.arange(8)])
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0401", "tiles of shapes [4] and [8] can't be stacked"),
    "unequal split": ("""
    v = tc.split(tc.arange(8), 3)
        ^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0405", "8 elements don't split into 3 equal parts"),
    "axis of a flip": ("""
    v = tc.flip(tc.arange(8), 1)
        ^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0402", "axis 1 is out of range for a tile with 1 axes"),
    "squeezed axis": ("""
    v = tc.squeeze(tc.arange(8), 0)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0402", "axis 0 of i32[8] has 8 elements, not 1"),
    "assigned element": ("""
    y[0] = s
    ^^^^
""", "TILE0113", "an element can't be assigned", "tc.store"),
    "offset that is a float": ("""
    v = tc.load(x, [s], [block])
        ^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "an index is an integer scalar, not f32"),
    "slice of a shared tile beyond its end": ("""
    v = tc.shared(f32, [4, 8])[:, 4:9]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "the slice 4:9 reaches beyond axis 1 of shared f32[4, 8]", "bounds are -8 to 8"),
    "slice of a shared tile from a quotient on": ("""
    v = tc.shared(f32, [4, 8])[:, block / 16 :]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "a slice is bounded by integers, not 4.0", "use // to divide integers"),
    "quotient as a place in a shared tile": ("""
    v = tc.shared(f32, [4, 8])[block / 32]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "a shared tile is indexed by integers and slices, not 2.0", "use // to divide integers"),
    "slice of a shared tile that is empty": ("""
    v = tc.shared(f32, [4, 8])[2:-2]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "the slice of axis 0 is empty", "it takes 2:2 of 4 elements"),
    "slice of a shared tile backwards": ("""
    v = tc.shared(f32, [4, 8])[::-1]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "a shared tile is cut in steps of 1 or more, not -1", "tc.load(s)"),
    "slice of a shared tile of a length at run time": ("""
    v = tc.shared(f32, [4, 8])[:, n : 2 * n]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0104", "how many elements a slice of axis 1 has is not known at compile time", "s[:, k : k + 16]"),
    "slice of a shared tile longer than it": ("""
    v = tc.shared(f32, [4, 8])[:, n : n + 16]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "a slice of 16 elements is longer than axis 1 of shared f32[4, 8]", "the axis has 8"),
    "slice of a shared tile of more axes": ("""
    v = tc.shared(f32, [4, 8])[0, 0, :]
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "shared f32[4, 8] has 2 axes, but 3 indices are given"),
    "place in a shared tile": ("""
    v = tc.shared(f32, [4, 8])[4]
        ^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0404", "index 4 is out of bounds for axis 0 of shared f32[4, 8]", "indices are -4 to 3"),
    "copy into registers": ("""
    tc.copy_async(tc.zeros(f32, [8]), x, 0)
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0516", "copy_async writes to a shared tile"),
    "wait at run time": ("""
    tc.wait(n)
    ^^^^^^^^^^
""", "TILE0105", "tc.wait: pending is an integer known at compile time, not i32"),
    # arguments of builtins
    "unknown parameter": ("""
    v = tc.arange(block, step=n)
        ^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", "tc.arange: got an unexpected keyword argument 'step'", "its parameters are (start, stop, dtype)"),
    "missing argument": ("""
    v = tc.zeros(f32)
        ^^^^^^^^^^^^^
""", "TILE0105", "tc.zeros: missing a required argument: 'shape'"),
    "type and shape exchanged": ("""
    v = tc.zeros([block], f32)
        ^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", "tc.zeros: dtype is a type, as in f16, not a list of 1"),
    "axis at run time": ("""
    v = tc.arange(block).sum(axis=n)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", ".sum: axis is an integer known at compile time", "not i32"),
    "grid axis": ("""
    v = tc.block_index(3)
        ^^^^^^^^^^^^^^^^^
""", "TILE0203", "the grid has axes 0, 1 and 2, not 3"),
    "method of a tensor": ("""
    v = x.sum()
        ^^^^^
""", "TILE0101", "a tensor global f32[N] has no sum", "tc.load"),
    "method that a tile lacks": ("""
    v = tc.arange(block).exp()
        ^^^^^^^^^^^^^^^^^^^^
""", "TILE0101", "a tile has no exp", "tc.exp(x)"),
    # control flow
    "condition of a tile": ("""
    if tc.arange(block) < n:
       ^^^^^^^^^^^^^^^^^^^^
        pass
""", "TILE0115", "a condition is a scalar, not bool[64]", "tc.where"),
    "condition of an integer": ("""
    while n:
          ^
        n -= 1
""", "TILE0115", "a condition is a bool, not i32", "x != 0"),
    "and of tiles": ("""
    v = (tc.arange(block) < n) and n > 3
         ^^^^^^^^^^^^^^^^^^^^
""", "TILE0115", "and, or and not are for scalars", "write & for each element"),
    "not of a tile": ("""
    v = not tc.arange(block) < n
        ^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0115", "not is for scalars", "~x"),
    "loop changes a type": ("""
    v = tc.zeros(f32, [block])
    for i in range(n):
        v = tc.cast(v, f16)
        ^
""", "TILE0107", "v is f32[64] before the loop and f16[64] after one round", "tc.cast(x, f32)"),
    "number grows into a tile": ("""
    total = 0.0
    for i in range(n):
        total += tc.load(x, [i * block], [block])
        ^^^^^
    tc.store(y, [0], total)
""", "TILE0107", "total is the Python number 0.0 (f32) before the loop and f32[64] after one round", "tc.zeros(f32, [64, 64])"),
    "None grows into a tile": ("""
    best = None
    for i in range(n):
        best = tc.load(x, [i * block], [block])
        ^^^^
    tc.store(y, [0], best)
""", "TILE0107", "best is None before the loop and f32[64] after one round"),
    "branches of two types": ("""
    if n > 0:
        v = s
    else:
        v = n
        ^
    tc.store(y, [0], v)
""", "TILE0107", "v is assigned on both sides of an if; its values are f32 and i32", "one type and shape"),
    "choices of two types": ("""
    v = s if n > 0 else n
        ^^^^^^^^^^^^^^^^^
""", "TILE0107", "the choices are f32 and i32"),
    "choice of shared memory": ("""
    s = tc.shared(f32, [4, 8])
    v = s[0] if n > 3 else s[1]
        ^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0107", "the choices are shared f32[8] and another shared f32[8]", "which part of shared memory a variable is, is known at compile time"),
    "loop that changes which shared memory": ("""
    s = tc.shared(f32, [4, 8])
    t = s[:, 0:4]
    for k in range(4, 8, 4):
        v = tc.load(t)
        t = s[:, k : k + 4]
        ^
""", "TILE0107", "t is shared f32[4, 4] before the loop and another shared f32[4, 4] after one round", "let k vary, and write s[:, k : k + 16]"),
    "choice of tensors": ("""
    t = x if n > 3 else y
        ^^^^^^^^^^^^^^^^^
""", "TILE0107", "which tensor a variable is, is known at compile time"),
    "view of shared memory as of a tile": ("""
    v = tc.shared(f32, [4, 8]).view(u32)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0101", "shared f32[4, 8] has no view", "tc.bitcast(s, u32)"),
    "reshape as NumPy's": ("""
    v = tc.arange(block).reshape(8, 8)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", "too many positional arguments", "shape is a list: .reshape([8, 8])"),
    "transpose of a shared tile as NumPy's": ("""
    v = tc.shared(f32, [4, 8]).transpose(1, 0)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0105", "too many positional arguments", "axes is a list: .transpose([1, 0])"),
    "store of more than the shared tile": ("""
    tc.store(tc.shared(f32, [64, 32]), tc.zeros(f32, [64, 64]))
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0401", "is stored to the whole of shared f32[64, 32]", "help: the shapes must be the same"),
    "conversions as a block": ("""
    with tc.conversions("registers"):
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        v = tc.arange(block)
""", "TILE0103", "tc.conversions is a statement without a block of its own", "write it first in the block that it is about"),
    "endless": ("""
    while True:
          ^^^^
        s += 1.0
""", "TILE0110", "this loop never ends"),
    "type after continue": ("""
    v = s
    for i in range(n):
        if i == 3:
            continue
        v = n
        ^
    tc.store(x, [0], v)
""", "TILE0107", "v is assigned on both sides of an if; its values are f32 and i32"),
    "value after a loop that may be left": ("""
    for i in range(n):
        if i == 3:
            break
        v = s * 2.0
    tc.store(x, [0], v)
                     ^
""", "TILE0102", "v is assigned inside a loop only"),
    "break on a tile": ("""
    for i in range(n):
        if tc.arange(block) > i:
           ^^^^^^^^^^^^^^^^^^^^
            break
""", "TILE0115", "a condition is a scalar, not bool[64]"),
    "struct of another type in a loop": ("""
    v = State(s, 0)
    for i in range(n):
        v = v.replace(best=n)
        ^
""", "TILE0107", "v is State(best=f32, place=the Python number 0) before the loop and State(best=i32, place=i32) after one round"),
    "field that a struct lacks": ("""
    v = State(s, 0).worst
        ^^^^^^^^^^^^^^^^^
""", "TILE0101", "has no worst", ),
    "field of a struct left out": ("""
    v = State(s)
        ^^^^^^^^
""", "TILE0112", "missing 1 required positional argument: 'place'", "its fields are best, place"),
    "static expression of a value": ("""
    v = tc.static(n + 1)
        ^^^^^^^^^^^^^^^^
""", "TILE0104", "this is computed when the kernel is compiled, but n is i32"),
    "static assertion": ("""
    tc.static_assert(block % 48 == 0)
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0111", "block % 48 == 0 does not hold: block is 64"),
    "static assertion with a message": ("""
    tc.static_assert(block % 48 == 0, "blocks are too narrow")
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0111", "blocks are too narrow"),
    "static assertion at run time": ("""
    tc.static_assert(n > 0)
    ^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0104", "known only at run time", "tc.assert_"),
    "result on some ways": ("""
    v = partly(s, n)
""", "TILE0110", "the function returns a value on some ways only", "return a value on every way"),
    "else after a loop": ("""
    for i in range(n):
        pass
    else:
        pass
        ^^^^
""", "TILE0103", "else after a loop", "write it after the loop"),
    "loop over a tile": ("""
    for v in tc.arange(block):
             ^^^^^^^^^^^^^^^^
        pass
""", "TILE0108", "i32[64] can't be gone through", "tc.range"),
    "loop over a number": ("""
    for i in block:
             ^^^^^
        pass
""", "TILE0108", "the Python number 64 can't be gone through", "tc.range"),
    "bounds of an unrolled loop": ("""
    for i in tc.static_range(n):
             ^^^^^^^^^^^^^^^^^^
        pass
""", "TILE0104", "static_range are known at compile time, not i32", "tc.range"),
    "float bounds": ("""
    for i in range(0, block / 2):
             ^^^^^^^^^^^^^^^^^^^
        pass
""", "TILE0117", "the bounds of a range are integers", "use // to divide integers"),
    "step 0": ("""
    for i in tc.range(0, n, 0):
             ^^^^^^^^^^^^^^^^^
        pass
""", "TILE0117", "the step of a range is not 0"),
    "stages at run time": ("""
    for i in tc.range(0, n, 8, stages=n):
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^
        pass
""", "TILE0104", "stages is a positive integer known at compile time, not i32"),
    "index into a tuple": ("""
    for i in range(2):
        v = (s, s)[i]
            ^^^^^^^^^
""", "TILE0104", "an index into a tuple must be known at compile time", "tc.static_range"),
    # statements that are not the language's
    "return of a value": ("""
    return s
    ^^^^^^^^
""", "TILE0110", "a kernel returns nothing", "tc.store"),
    "nested function": ("""
    def f(v):
    ^^^^^^^^^
        return v
""", "TILE0103", "a function can't be defined inside a kernel", "@tc.function"),
    "lambda": ("""
    f = lambda v: v + 1
        ^^^^^^^^^^^^^^^
""", "TILE0103", "a lambda is not part of the language", "@tc.function"),
    "class": ("""
    class A: pass
    ^^^^^^^^^^^^^
""", "TILE0103", "a class can't be defined inside a kernel"),
    "try": ("""
    try:
    ^^^^
        v = s
    except ValueError:
        pass
""", "TILE0103", "try is not part of the language"),
    "with": ("""
    with box:
    ^^^^^^^^^
        pass
""", "TILE0103", "with is not part of the language"),
    "global": ("""
    global box
    ^^^^^^^^^^
""", "TILE0103", "global is not part of the language"),
    "del": ("""
    del n
    ^^^^^
""", "TILE0103", "del is not part of the language"),
    "import": ("""
    import os
    ^^^^^^^^^
""", "TILE0103", "import at the top of the file"),
    "raise": ("""
    raise ValueError
    ^^^^^^^^^^^^^^^^
""", "TILE0103", "raise is not part of the language", "assert"),
    "yield": ("""
    yield s
    ^^^^^^^
""", "TILE0103", "yield is not part of the language"),
    "walrus": ("""
    v = (u := s) + u
         ^^^^^^
""", "TILE0103", ":= is not part of the language"),
    "assigned attribute": ("""
    box.size = s
    ^^^^^^^^
""", "TILE0113", "an attribute can't be assigned in a kernel"),
    "too few to unpack": ("""
    u, v, *rest = (s,)
    ^^^^^^^^^^^
""", "TILE0108", "1 values are unpacked into 3 names"),
    "unpacking": ("""
    u, v = s, s, s
    ^^^^
""", "TILE0108", "3 values are unpacked into 2 names"),
    "unpacking a tile": ("""
    u, v = s
    ^^^^
""", "TILE0108", "f32 can't be unpacked"),
    "comprehension at run time": ("""
    v = [i for i in range(n)]
                    ^^^^^^^^
""", "TILE0104", "the bounds must be known at compile time here"),
    "list that changes": ("""
    v = []
    v.append(s)
    ^^^^^^^^^^^
""", "TILE0113", "append changes an object", "xs = xs + [x]"),
    "formatted value": ("""
    print(f"s is {s}")
                  ^
""", "TILE0103", "a value of the program can't be formatted", 'print("x", x)'),
    "assertion at run time": ("""
    assert n > 0
    ^^^^^^^^^^^^
""", "TILE0104", "known only at run time", "tc.assume"),
    "assertion": ("""
    assert block % 48 == 0, f"block is {block}"
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0111", "the assertion block % 48 == 0 fails: block is 64"),
    "Python fails": ("""
    v = [1, 2][block]
        ^^^^^^^^^^^^^
""", "TILE0112", "IndexError"),
    # helpers
    "recursion": ("""
    v = forever(s)
""", "TILE0109", "forever calls itself", "write a loop"),
    "early return of a helper": ("""
    v = early(s, n)
""", "TILE0110", "the function returns a value on some ways only", "assign it to a variable made before the loop"),
    "arguments of a helper": ("""
    v = twice(s, s)
        ^^^^^^^^^^^
""", "TILE0105", "twice: too many positional arguments", "its parameters are (x)"),
    "error inside a helper": ("""
    v = twice(w)
""", "TILE0305", "a tile or a number is wanted", "called from here"),
    # the launch
    "grid again": ("""
    tc.grid(1)
    ^^^^^^^^^^
""", "TILE0203", "tc.grid is given twice"),
    "late grid": ("""
def k(x: f32[N]):
    i = tc.block_index(0)
    tc.grid(N)
    ^^^^^^^^^^
""", "TILE0203", "tc.grid comes first in a kernel"),
    "no grid": ("""
def k(x: f32[N]):
    ^
    tc.store(x, [0], 1.0)
""", "TILE0203", "k has no grid", "tc.grid(cdiv(M, bm))"),
    "grid of a float": ("""
def k(x: f32[N], *, block: int = 64):
    tc.grid(100 / block)
            ^^^^^^^^^^^
""", "TILE0203", "the grid's extents are integers", "cdiv"),
    "grid of four": ("""
def k(x: f32[N]):
    tc.grid(1, 1, 1, 1)
    ^^^^^^^^^^^^^^^^^^^
""", "TILE0203", "one to three extents, not 4"),
    "grid from memory": ("""
def k(x: i32[N]):
    tc.grid(tc.load(x, [0]))
            ^^^^^^^^^^^^^^^
""", "TILE0204", "the grid is evaluated on the host"),
    "assumption on the body": ("""
    i = tc.block_index(0)
    tc.assume(i < 8)
              ^^^^^
""", "TILE0204", "an assumption is evaluated on the host"),
    "assumption in a loop": ("""
    for i in range(n):
        tc.assume(n < 8)
        ^^^^^^^^^^^^^^^^
""", "TILE0204", "tc.assume is inside a loop or a branch"),
    "assumption that fails": ("""
    tc.assume(block % 48 == 0)
    ^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0205", "the assumption block % 48 == 0 does not hold for these constants"),
    "grid's value": ("""
    v = tc.grid(1)
        ^^^^^^^^^^
""", "TILE0105", "tc.grid can't be called here"),
    # parameters
    "no annotation": ("""
def k(x: f32[N], y):
                 ^
    tc.grid(1)
""", "TILE0201", "y has no type", "f16[M, K]"),
    "Python's float": ("""
def k(x: f32[N], s: float):
                 ^^^^^^^^
    tc.grid(1)
""", "TILE0201", "float does not say how wide", "write f32"),
    "default of an argument": ("""
def k(x: f32[N], block: i32 = 64):
                 ^^^^^^^^^^
    tc.grid(1)
""", "TILE0201", "block is an argument of the launch and has no default", "behind a bare *"),
    "reserved name": ("""
def k(x: f32[N], *, stream: int = 0):
                    ^^^^^^^^^^^
    tc.grid(1)
""", "TILE0201", "stream is a reserved name"),
    "star parameter": ("""
def k(x: f32[N], *rest):
                  ^^^^
    tc.grid(1)
""", "TILE0201", "a kernel has no *rest"),
    "extent that is a string": ("""
def k(x: f32["N"]):
      ^^^^^^^^^^^
    tc.grid(1)
""", "TILE0202", "neither a dimension nor an integer", "tc.dims"),
    "extent of 0": ("""
def k(x: f32[0]):
      ^^^^^^^^^
    tc.grid(1)
""", "TILE0202", "x has an extent of 0"),
    "scalar of a storage type": ("""
def k(x: f32[N], z: int6):
                 ^^^^^^^
    tc.grid(1)
""", "TILE0201", "z is a scalar of a storage type"),
    "type that is no constant": ("""
def k(w: W[K, N]):
      ^^^^^^^^^^
    tc.grid(1)
""", "TILE0202", "the type W is not a constant of the kernel", "W: DType"),
    "dimension and parameter": ("""
def k(x: f32[N], N: i32):
                 ^^^^^^
    tc.grid(1)
""", "TILE0202", "N is a dimension of x and a parameter"),
    "something else": ("""
def k(x: np.ndarray):
      ^^^^^^^^^^^^^
    tc.grid(1)
""", "TILE0201", "x has no type that tilec knows"),
}  # fmt: skip


def kernel_of(text, path):
    """The function `k` of a file that holds the text without its markers, and the line, column and end column that they mark."""
    text = text.strip("\n")
    lines, marked = [], None
    for line in (HEAD + (text if text.startswith("def") else DEF + text)).splitlines():
        if re.fullmatch(r"\s*\^+\s*", line):
            marked = len(lines), line.index("^") + 1, line.rindex("^") + 2
        else:
            lines.append(line)
    path.write_text("\n".join(lines) + "\n")
    names = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return names["k"], marked


@pytest.mark.parametrize("case", WRONG, ids=lambda name: name.replace(" ", "-"))
def test_wrong_kernel(case, tmp_path):
    text, *words = WRONG[case]
    k, marked = kernel_of(text, tmp_path / "wrong.py")
    with pytest.raises(tc.TileError) as caught:
        parse_kernel(signature(k), {})
    error = caught.value
    assert error.loc.file == str(tmp_path / "wrong.py")
    if marked:
        assert (error.loc.line, error.loc.column, error.loc.end_column) == marked, str(error)
    for word in words:
        assert word in str(error)
    shown = "".join(traceback.format_exception(error))
    assert shown.count("\n  File ") <= 2, "the error shows what happens inside tilec"


CALLS = {
    "element type": ("""
k.interpret(x.astype(np.float64), a, 1.0)
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0702", "x has elements of f32, but the array given holds f64", "astype(np.float32)"),
    "rank": ("""
k.interpret(x[None], a, 1.0)
^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0703", "x has 1 dimensions [N], but the array given has shape [1, 8]"),
    "dimension told twice": ("""
k.interpret(x, a[:, :4].copy(), 1.0)
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0703", "N is 8 by x, but 4 by axis 1 of a"),
    "not contiguous": ("""
k.interpret(x[::2], a, 1.0)
^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0704", "x is not contiguous", "tc.strided"),
    "no array": ("""
k.interpret([1.0], a, 1.0)
^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0702", "x is a tensor global f32[N], but a list is given", "NumPy array"),
    "scalar of another type": ("""
k.interpret(x, a, "1")
^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0705", "s is a scalar f32, but '1' is given"),
    "missing argument": ("""
k.interpret(x, s=1.0)
^^^^^^^^^^^^^^^^^^^^^
""", "TILE0701", "k lacks the argument a"),
    "argument too many": ("""
k.interpret(x, a, 1.0, 2.0)
^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0701", "k takes 3 arguments (x, a, s), not 4"),
    "argument given twice": ("""
k.interpret(x, a, 1.0, x=x)
^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0701", "k is given x twice"),
    "unknown constant": ("""
k.interpret(x, a, 1.0, blok=8)
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0701", "k has no constant blok", "it has block, scale"),
    "constant of another type": ("""
k.interpret(x, a, 1.0, block="8")
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0706", "the constant block is an int, not '8'"),
    "bool for an int": ("""
k.compile(block=True)
^^^^^^^^^^^^^^^^^^^^^
""", "TILE0706", "the constant block is an int, not True"),
    "stage": ("""
k.interpret(x, a, 1.0, stage="nowhere")
^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0710", "there is no stage 'nowhere'", "parsed"),
    "architecture": ("""
k.compile(arch="sm_1")
^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0801", "sm_1"),
    "no example": ("""
k.example_args()
""", "TILE0709", "k has no example"),
    "too many warps": ("""
tc.kernel(warps=64)(k)
^^^^^^^^^^^^^^^^^^^^^^
""", "TILE0206", "a block has 1 to 32 warps, not 64"),
    "builtin outside a kernel": ("""
t = tc.zeros(f32, [4])
""", "TILE0114", "tc.zeros is only meaningful inside a kernel", "@tc.kernel()"),
    "type outside a kernel": ("""
t = f32(4)
""", "TILE0114", "f32(x) is only meaningful inside a kernel"),
    "arithmetic on a dimension": ("""
t = f32[N // 2]
""", "TILE0114", "outside a kernel N is a name, not a number"),
    "strided nothing": ("""
t = tc.strided(f32)
""", "TILE0202", "strided takes a tensor's annotation", "tc.strided(f16[M, K])"),
    "dimension's name": ("""
t = tc.dims("M-N")
""", "TILE0202", "'M-N' can't name a dimension"),
}  # fmt: skip

CALLED = """
import numpy as np
import tilec as tc
from tilec import f32
M, N = tc.dims("M N")

@tc.kernel()
def k(x: f32[N], a: f32[M, N], s: f32, *, block: int = 8, scale: float = 1.0):
    tc.grid(1)

x, a = np.zeros(8, np.float32), np.zeros((4, 8), np.float32)
"""


@pytest.mark.parametrize("case", CALLS, ids=lambda name: name.replace(" ", "-"))
def test_wrong_call(case, tmp_path):
    text, *words = CALLS[case]
    call, *marker = text.strip("\n").splitlines()
    file = tmp_path / "call.py"
    file.write_text(CALLED + call + "\n")
    with pytest.raises(tc.TileError) as caught:
        exec(compile(file.read_text(), str(file), "exec"), {})
    error = caught.value
    if marker:
        line = CALLED.count("\n") + 1
        end = len(marker[0]) + 1 if sys.version_info >= (3, 11) else 0  # Python 3.10 tells the line only
        assert (error.loc.file, error.loc.line, error.loc.column, error.loc.end_column) == (str(file), line, 1, end)
    for word in words:
        assert word in str(error)


def test_there_are_enough():
    assert len(WRONG) + len(CALLS) >= 190
