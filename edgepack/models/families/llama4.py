"""Llama 4 Scout and Maverick with a vision tower: their text part."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder
from edgepack.models.families import llama4_text
from edgepack.models.families.shared.keys import text_part

GGUF = llama4_text.GGUF
DEFAULTS = {  # of Llama4TextConfig: a nested section leaves out what equals them
    "vocab_size": 202048,
    "hidden_size": 5120,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_local_experts": 16,
    "max_position_embeddings": 4096 * 32,
}


def decoder(config: Config) -> Decoder:
    def read(text: Config) -> Decoder:
        return llama4_text.decoder(text, "language_model.model")

    return text_part(config, read, DEFAULTS)
