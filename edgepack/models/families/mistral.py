"""Mistral: Llama's layout with a sliding window in some releases; llama.cpp runs it as `llama`."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.shared.dense import dense_decoder
from edgepack.models.families.shared.layout import attended_context

GGUF = GgufNaming("llama", interleaved_rope=True, deep="shared")


def decoder(config: Config, prefix: str = "model") -> Decoder:
    return dense_decoder(
        config,
        gguf=GGUF,
        context_length=attended_context(config, windowed=True),
        prefix=prefix,
    )
