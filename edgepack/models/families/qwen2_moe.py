"""Qwen1.5-MoE and Qwen2-MoE: many small experts, and a gated one that every token passes."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, GgufNaming, Layer
from edgepack.models.families.shared.layout import assemble, attended_context, depth, heads
from edgepack.models.families.shared.rotary import rope
from edgepack.models.families.shared.sparse import forwards, layer_weights
from edgepack.models.features import GATED_SHARED

GGUF = GgufNaming("qwen2moe")


def decoder(config: Config) -> Decoder:
    queries, shared, size = heads(config)
    bias = config.flag("qkv_bias", True)
    attention = Attention(queries, shared, size, rope(config, size), qkv_bias=bias)
    layers = tuple(Layer(attention, each) for each in forwards(config, depth(config), shared=True))
    windowed = config.flag("use_sliding_window")
    made = assemble(
        config,
        layers,
        layer_weights,
        gguf=GGUF,
        context_length=attended_context(config, windowed=windowed),
    )
    return replace(made, beyond=frozenset({GATED_SHARED}))
