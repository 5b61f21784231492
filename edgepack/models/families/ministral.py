"""Ministral as transformers 4.57 has it: Mistral with layers of either kind."""

from edgepack.models.families.mistral import GGUF, decoder

__all__ = ["GGUF", "decoder"]
