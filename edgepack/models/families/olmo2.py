"""OLMo 2: norms after attention and feed-forward, and over the whole of Q and K."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import activation, assemble, depth, heads
from edgepack.models.families.shared.parts import Block, attention, feed_forward
from edgepack.models.families.shared.rotary import LayerKind, rope

GGUF = GgufNaming("olmo2", window_period=4)


def decoder(config: Config) -> Decoder:
    layer = Layer(attention_facts(config), feed_forward_facts(config))
    return after(config, (layer,) * depth(config))


def attention_facts(config: Config, kind: LayerKind | None = None) -> Attention:
    queries, shared, size = heads(config)
    bias = config.flag("attention_bias")
    return Attention(queries, shared, size, rope(config, size, kind=kind), bias, bias, "whole")


def feed_forward_facts(config: Config) -> FeedForward:
    return FeedForward(
        config.integer("intermediate_size"), activation=activation(config, "hidden_act")
    )


def after(config: Config, layers: tuple[Layer, ...]) -> Decoder:
    made = assemble(
        config,
        layers,
        weights,
        gguf=GGUF,
        epsilon=("rms_norm_eps", 1e-5),
        context_length=config.integer("max_position_embeddings"),
    )
    return replace(made, norm_place="after")


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    yield from attention(block, layer.attention)
    yield from block.norm("post_attention_norm", "post_attention_layernorm")
    yield from feed_forward(block, layer.feed_forward.width)
    yield from block.norm("post_ffw_norm", "post_feedforward_layernorm")
