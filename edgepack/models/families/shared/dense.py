"""The layout that most dense decoders share: RMSNorm, grouped-query attention, SwiGLU.

Families differ from it in a few facts, which they pass in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import assemble, depth, heads
from edgepack.models.families.shared.parts import Block, Frame, attention, feed_forward
from edgepack.models.families.shared.rotary import rope


def dense_decoder(
    config: Config,
    *,
    gguf: GgufNaming,
    context_length: int,
    qkv_bias: bool = False,
    output_bias: bool = False,
    qk_norm: Literal["head", "whole"] | None = None,
    mlp_bias: bool = False,
    head_dim: int | None = None,
    base: float = 10000.0,
    tied: bool = False,
    prefix: str = "model",
    epsilon: float = 1e-6,
) -> Decoder:
    """A Decoder whose layers are all alike. Raises DamagedInput or Unsupported naming the key.

    `head_dim`, `base` of the rotary embedding, `tied` and `epsilon` are the family's own defaults.
    """
    config.require("hidden_act", ("silu",), "silu")
    queries, shared, size = heads(config, head_dim)
    found = rope(config, size, base=base)
    facts = Attention(queries, shared, size, found, qkv_bias, output_bias, qk_norm)
    inner = FeedForward(config.integer("intermediate_size"), mlp_bias)
    return assemble(
        config,
        (Layer(facts, inner),) * depth(config),
        dense_weights,
        gguf=gguf,
        context_length=context_length,
        tied=tied,
        frame=Frame(prefix),
        epsilon=("rms_norm_eps", epsilon),
    )


def dense_weights(block: Block, layer: Layer) -> Iterator[Weight]:
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield from block.norm("ffn_norm", "post_attention_layernorm")
    yield from feed_forward(block, layer.feed_forward.width, layer.feed_forward.bias)
