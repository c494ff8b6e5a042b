"""Rounding by its definition, in exact fractions: what the simulator's results are held to."""

import math
from fractions import Fraction

import numpy as np

SHAPES = {  # precision, least exponent, greatest exponent
    "f16": (11, -14, 15), "bf16": (8, -126, 127), "f32": (24, -126, 127), "f64": (53, -1022, 1023), "tf32": (11, -126, 127),
}
DTYPES = {"f32": (np.uint32, np.float32), "f64": (np.uint64, np.float64), "f16": (np.uint16, np.float16)}
MODES = ("rn", "rz", "rm", "rp")


def log2_floor(x: Fraction) -> int:
    """floor(log2(x)) of a positive fraction."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def to_integer(x: Fraction, mode: str) -> int:
    match mode:
        case "rn":
            return round(x)  # Python rounds halves to even
        case "rna":
            return int(abs(x) + Fraction(1, 2)) * (1 if x >= 0 else -1)
        case "rz":
            return math.trunc(x)
        case "rm":
            return math.floor(x)
    return math.ceil(x)


def rounded(x: Fraction, kind: str, mode: str = "rn") -> float:
    """`x` rounded to a format of at most 53 bits, as a Python float; +-inf on overflow where the mode says so."""
    precision, low, high = SHAPES[kind]
    if x == 0:
        return 0.0
    unit = Fraction(2) ** (max(log2_floor(abs(x)), low) - precision + 1)
    result = to_integer(x / unit, mode) * unit
    largest = (2 - Fraction(2) ** (1 - precision)) * Fraction(2) ** high
    if abs(result) > largest:
        to_largest = mode == "rz" or (mode == "rm" and x > 0) or (mode == "rp" and x < 0)
        return math.copysign(float(largest) if to_largest else math.inf, 1 if x > 0 else -1)
    return math.copysign(float(result), 1 if x > 0 else -1)


def bits(values, kind: str):
    """Bit patterns of values that the format holds exactly."""
    if kind == "bf16":
        return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if kind == "tf32":
        return np.asarray(values, np.float32).view(np.uint32)
    unsigned, floating = DTYPES[kind]
    return np.asarray(values, floating).view(unsigned)


def floats(patterns, kind: str):
    """The inverse of `bits`, as float64."""
    if kind == "bf16":
        return (np.asarray(patterns).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.asarray(patterns).view(DTYPES.get(kind, DTYPES["f32"])[1]).astype(np.float64)
