"""Llama 2 and 3.x, and everything that ships under the same `model_type`, such as Falcon 3."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.shared.dense import dense_decoder

GGUF = GgufNaming("llama", interleaved_rope=True, deep="shared")


def decoder(config: Config) -> Decoder:
    bias = config.flag("attention_bias")
    return dense_decoder(
        config,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=config.flag("mlp_bias"),
    )
