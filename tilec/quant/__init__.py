"""Weights in few bits: quantize and dequantize per group, and what it cost. NumPy only."""

from tilec.quant.group import Report, dequantize, quantize, report
from tilec.quant.quantized import Quantized

__all__ = ["Quantized", "Report", "dequantize", "quantize", "report"]
