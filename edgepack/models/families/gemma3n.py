"""Gemma 3n with its vision and audio towers: the text part."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder
from edgepack.models.families import gemma3n_text
from edgepack.models.families.shared.keys import text_part

GGUF = gemma3n_text.GGUF
DEFAULTS = {  # of Gemma3nTextConfig: a nested section leaves out what equals them
    "vocab_size": 262400,
    "vocab_size_per_layer_input": 262144,
    "hidden_size": 2048,
    "hidden_size_per_layer_input": 256,
    "intermediate_size": 16384,
    "num_hidden_layers": 35,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "num_kv_shared_layers": 15,
    "altup_num_inputs": 4,
    "laurel_rank": 64,
    "final_logit_softcapping": 30.0,
}


def decoder(config: Config) -> Decoder:
    return text_part(config, gemma3n_text.decoder, DEFAULTS)
