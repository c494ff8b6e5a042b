"""Casts that round at random, by bits that the author gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.errors import require
from tilec.ir.core import Value
from tilec.ir.dtypes import DType, as_float64, bf16, f16, f32, u32
from tilec.ir.ops.base import Elementwise


class StochasticCast(Elementwise):
    """A cast to a type of up to 8 bits that rounds at random, as `Cast` says."""

    x: Value
    bits: Value
    dtype: DType

    def element(self, *types: DType) -> DType:
        source, random = types
        require(source in (f16, bf16, f32), f"stochastic rounding takes f16, bf16 and f32, not {source}", hint="cast to f32 first")
        fits = self.dtype.bits <= 8 and (self.dtype.is_int or (self.dtype.is_float and self.dtype.is_signed))
        require(fits, f"stochastic rounding gives integers and floats of up to 8 bits, not {self.dtype}")
        require(random == u32, f"the random bits are u32, not {random}", hint="tc.random_bits(seed, offsets) makes them")
        return self.dtype

    def unrounded(self, ctx: Any, x: Any, bits: Any) -> Any:
        return as_float64(x)

    def eval(self, ctx: Any, x: Any, bits: Any) -> Any:
        t, x = self.dtype, as_float64(x)
        size = np.minimum(np.abs(np.where(np.isnan(x), 0.0, x)), np.where(np.signbit(x), -float(t.min), float(t.max)))
        exponent = np.maximum(np.frexp(size)[1] - 1, 1 - t.bias) - t.mantissa_bits if t.is_float else np.zeros(x.shape, int)
        places = np.floor(np.ldexp(size, 16 - exponent)).astype(np.int64)
        rounded = np.ldexp((places + (bits.astype(np.int64) >> 16) >> 16).astype(np.float64), exponent)
        result = np.copysign(rounded, x)
        if t.is_int:
            return np.where(np.isnan(x), 0, result).astype(t.carrier)
        return np.where(np.isnan(x), np.nan if t.has_nan else t.max, result)
