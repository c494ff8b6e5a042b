"""Weights in few bits: quantize and dequantize per group, and what it cost. NumPy only."""

from tilec.ir.compare import Errors
from tilec.quant.codebooks import optimal_codebook
from tilec.quant.errors import Layer, Report, layer_errors
from tilec.quant.group import dequantize, quantize
from tilec.quant.linear import quantize_linear
from tilec.quant.pack import pack, unpack
from tilec.quant.quantized import Quantized

__all__ = ["Errors", "Layer", "Quantized", "Report", "dequantize", "layer_errors", "optimal_codebook", "pack", "quantize", "quantize_linear", "unpack"]
