"""Qwen3 (dense): an RMSNorm on every Q and K head, a head size of its own."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.shared.dense import dense_decoder
from edgepack.models.families.shared.layout import attended_context

GGUF = GgufNaming("qwen3")


def decoder(config: Config) -> Decoder:
    bias = config.flag("attention_bias")
    windowed = config.flag("use_sliding_window")
    return dense_decoder(
        config,
        gguf=GGUF,
        context_length=attended_context(config, windowed=windowed),
        qkv_bias=bias,
        output_bias=bias,
        qk_norm="head",
        head_dim=128,
    )
