"""Gemma 2: norms around, soft caps, and every other layer a window."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import (
    FULL,
    KINDS,
    SLIDING,
    activation,
    assemble,
    depth,
    factor,
    fixed,
    heads,
    layer_kinds,
)
from edgepack.models.families.shared.parts import Block, attention, feed_forward
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("gemma2", window_period=2)


def decoder(config: Config) -> Decoder:
    fixed(config, use_bidirectional_attention=False)
    queries, shared, size = heads(config, 256)
    bias = config.flag("attention_bias")
    full = Attention(
        queries,
        shared,
        size,
        rope(config, size),
        bias,
        bias,
        scale=config.number("query_pre_attn_scalar", 256) ** -0.5,
        softcap=factor(config, "attn_logit_softcapping"),
    )
    of = {FULL: full, SLIDING: replace(full, window=config.integer("sliding_window", 4096))}
    alternating = ((SLIDING, FULL)[index % 2] for index in range(depth(config)))
    inner = feed_forward_facts(config)
    layers = tuple(Layer(of[kind], inner) for kind in layer_kinds(config, KINDS, alternating))
    made = assemble(
        config,
        layers,
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings", 8192),
        tied=True,
    )
    return replace(around(made), logit_softcap=factor(config, "final_logit_softcapping"))


def feed_forward_facts(config: Config) -> FeedForward:
    act = activation(config, "hidden_activation", "hidden_act", default="gelu_pytorch_tanh")
    return FeedForward(config.integer("intermediate_size"), activation=act)


def around(made: Decoder) -> Decoder:
    """Gemma's frame: norms with 1 added to their weights, embeddings times sqrt(width)."""
    return replace(made, norm_offset=1.0, norm_place="around", embedding_scale=made.width**0.5)


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield from block.norm("post_attention_norm", "post_attention_layernorm")
    yield from block.norm("ffn_norm", "pre_feedforward_layernorm")
    yield from feed_forward(block, layer.feed_forward.width)
    yield from block.norm("post_ffw_norm", "post_feedforward_layernorm")
