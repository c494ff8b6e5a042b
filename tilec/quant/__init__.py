"""Weights in few bits: quantize and dequantize per group, and what it cost. NumPy only."""

from tilec.quant.codebooks import optimal_codebook
from tilec.quant.group import Report, dequantize, quantize, report
from tilec.quant.linear import quantize_linear
from tilec.quant.quantized import Quantized

__all__ = ["Quantized", "Report", "dequantize", "optimal_codebook", "quantize", "quantize_linear", "report"]
