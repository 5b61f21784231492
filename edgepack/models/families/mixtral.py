"""Mixtral: Mistral's attention before eight experts, two of which a token passes."""

from collections.abc import Iterator

from edgepack.models.config import Config
from edgepack.models.decoder import (
    Attention,
    Decoder,
    Experts,
    FeedForward,
    GgufNaming,
    Layer,
    Weight,
)
from edgepack.models.families.shared.layout import (
    MOST_EXPERTS,
    activation,
    assemble,
    attended_context,
    bounded,
    depth,
    heads,
)
from edgepack.models.families.shared.parts import Block, attention, experts, router
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("llama", interleaved_rope=True)
NAMES = ("w1", "w3", "w2")  # gate, up, down


def decoder(config: Config) -> Decoder:
    queries, shared, size = heads(config)
    mixture = Experts(
        bounded(config, "num_local_experts", MOST_EXPERTS),
        config.integer("num_experts_per_tok"),
        config.integer("intermediate_size"),
    )
    layer = Layer(
        Attention(queries, shared, size, rope(config, size, base=1e6)),
        FeedForward(0, activation=activation(config, "hidden_act"), experts=mixture),
    )
    return assemble(
        config,
        (layer,) * depth(config),
        weights,
        gguf=GGUF,
        epsilon=("rms_norm_eps", 1e-5),
        context_length=attended_context(config, windowed=True),
    )


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    mixture = layer.feed_forward.experts
    assert mixture is not None
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield from block.norm("ffn_norm", "post_attention_layernorm")
    yield from router(block, mixture, "block_sparse_moe.gate")
    yield from experts(block, mixture, "block_sparse_moe.experts", NAMES)
