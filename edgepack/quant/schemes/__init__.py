"""Schemes: which weight gets which encoding. One module per format, found by nobody but its format.

scheme     the Protocol, and what an assignment is
gguf       llama.cpp's mixes
mix        what a mix is: a base, a head, rules
overrides  what was asked of single tensors of a GGUF
mlx        groups with scale and bias, and mlx_lm's recipes
onnx       blocks of integers, for onnxruntime
"""

from edgepack.quant.schemes.scheme import Assignment, Scheme, Schemes

__all__ = ["Assignment", "Scheme", "Schemes"]
