"""GGUF: header first, then every tensor once, in the types llama.cpp itself would choose."""

from edgepack.formats.gguf.format import Gguf

__all__ = ["Gguf"]
