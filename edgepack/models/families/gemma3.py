"""Gemma 3 with a vision tower: its text part."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder
from edgepack.models.families import gemma3_text
from edgepack.models.families.shared.keys import text_part

GGUF = gemma3_text.GGUF
DEFAULTS = {  # of Gemma3TextConfig: a nested section leaves out what equals them
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}


def decoder(config: Config) -> Decoder:
    def read(text: Config) -> Decoder:
        return gemma3_text.decoder(text, "language_model.model")

    return text_part(config, read, DEFAULTS)
