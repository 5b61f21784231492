"""Qwen3 mixtures: Qwen3's attention before experts."""

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, GgufNaming, Layer
from edgepack.models.families.shared.layout import assemble, attended_context, depth, heads
from edgepack.models.families.shared.rotary import rope
from edgepack.models.families.shared.sparse import forwards, layer_weights

GGUF = GgufNaming("qwen3moe")


def decoder(config: Config) -> Decoder:
    queries, shared, size = heads(config)
    bias = config.flag("attention_bias")
    attention = Attention(queries, shared, size, rope(config, size), bias, bias, "head")
    layers = tuple(Layer(attention, each) for each in forwards(config, depth(config), shared=False))
    windowed = config.flag("use_sliding_window")
    return assemble(
        config,
        layers,
        layer_weights,
        gguf=GGUF,
        context_length=attended_context(config, windowed=windowed),
    )
