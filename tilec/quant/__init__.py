"""Weights in few bits: quantize and dequantize per group, and what it cost. NumPy only."""

from tilec.quant.group import Report, dequantize, quantize, report

__all__ = ["Report", "dequantize", "quantize", "report"]
