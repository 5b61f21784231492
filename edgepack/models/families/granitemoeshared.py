"""Granite mixtures with an expert that every token passes."""

from edgepack.models.families.granitemoe import GGUF, decoder

__all__ = ["GGUF", "decoder"]
