"""Gemma and CodeGemma: Llama's layout with Gemma's norms, wide heads and scaled embeddings."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, GgufNaming, Layer
from edgepack.models.families.gemma2 import around, feed_forward_facts
from edgepack.models.families.shared.dense import dense_weights
from edgepack.models.families.shared.layout import assemble, depth, fixed, heads
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("gemma")


def decoder(config: Config) -> Decoder:
    fixed(config, use_bidirectional_attention=False)
    queries, shared, size = heads(config, 256)
    bias = config.flag("attention_bias")
    attention = Attention(queries, shared, size, rope(config, size), bias, bias)
    made = assemble(
        config,
        (Layer(attention, feed_forward_facts(config)),) * depth(config),
        dense_weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings", 8192),
        tied=True,
    )
    return replace(around(made), norm_place="before")
