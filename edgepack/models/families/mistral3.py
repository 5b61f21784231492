"""Mistral Small 3.1 and later, and Ministral 3, with a vision tower: their text part."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder
from edgepack.models.families import ministral3, mistral
from edgepack.models.families.shared.keys import text_part

GGUF = ministral3.GGUF
PREFIX = "language_model.model"
DEFAULTS = {  # of MistralConfig: a nested section leaves out what equals them
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}


def decoder(config: Config) -> Decoder:
    def read(text: Config) -> Decoder:
        text.require("model_type", ("mistral", "ministral3"), "mistral")
        if text.values.get("model_type") == "ministral3":
            return ministral3.decoder(text, PREFIX)
        return replace(mistral.decoder(text, PREFIX), gguf=GGUF)

    return text_part(config, read, DEFAULTS)
