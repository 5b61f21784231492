"""Mistral: Llama's layout with a sliding window in some releases; llama.cpp runs it as `llama`."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.dense import attended_context, dense_decoder

GGUF = GgufNaming("llama", interleaved_rope=True, deep="shared")


def decoder(config: Config) -> Decoder:
    return dense_decoder(
        config,
        gguf=GGUF,
        context_length=attended_context(config, windowed=True),
        head_dim=config.optional_integer("head_dim"),
    )
