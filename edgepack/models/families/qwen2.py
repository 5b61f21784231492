"""Qwen2 and Qwen2.5 (dense): biases on Q, K and V."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.shared.dense import dense_decoder
from edgepack.models.families.shared.layout import attended_context

GGUF = GgufNaming("qwen2", deep="always")


def decoder(config: Config) -> Decoder:
    windowed = config.flag("use_sliding_window")
    return dense_decoder(
        config,
        gguf=GGUF,
        context_length=attended_context(config, windowed=windowed),
        qkv_bias=True,
    )
