"""Nemotron 4 and Minitron: LayerNorm with 1 added to its weights, squared ReLU without a gate."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import activation, assemble, depth, heads
from edgepack.models.families.shared.parts import Block, Frame, attention, ungated
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("nemotron")


def decoder(config: Config) -> Decoder:
    queries, shared, size = heads(config)
    bias = config.flag("attention_bias")
    inner = FeedForward(
        config.integer("intermediate_size"),
        config.flag("mlp_bias"),
        activation(config, "hidden_act", default="relu2"),
        gated=False,
    )
    facts = Attention(queries, shared, size, rope(config, size, partial=0.5), bias, bias)
    made = assemble(
        config,
        (Layer(facts, inner),) * depth(config),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
        epsilon=("norm_eps", 1e-5),
        frame=Frame(norm_bias=True),
    )
    return replace(made, norm="layer", norm_offset=1.0)


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    inner = layer.feed_forward
    yield from block.norm("attn_norm", "input_layernorm", bias=True)
    yield from attention(block, layer.attention)
    yield from block.norm("ffn_norm", "post_attention_layernorm", bias=True)
    yield from ungated(block, inner.width, inner.bias, up="up_proj", down="down_proj")
