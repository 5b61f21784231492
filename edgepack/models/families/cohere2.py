"""Command R7B: attention beside feed-forward; windows rotate, layers that see all do not."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import (
    NO_ROPE,
    Attention,
    Decoder,
    FeedForward,
    GgufNaming,
    Layer,
    Weight,
)
from edgepack.models.families.shared.layout import (
    FULL,
    KINDS,
    SLIDING,
    activation,
    assemble,
    depth,
    fixed,
    heads,
    layer_kinds,
)
from edgepack.models.families.shared.parts import Block, attention, feed_forward
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("cohere2", window_period=4)


def decoder(config: Config) -> Decoder:
    fixed(config, use_qk_norm=False, use_parallel_block=True, use_gated_activation=True)
    fixed(config, position_embedding_type="rope_gptj", rotary_pct=1.0, layer_norm_bias=False)
    queries, shared, size = heads(config)
    bias = config.flag("attention_bias")
    found = rope(config, size, neighbours=True)
    near = Attention(
        queries, shared, size, found, bias, bias, window=config.integer("sliding_window", 4096)
    )
    of = {FULL: replace(near, rope=NO_ROPE, window=None), SLIDING: near}
    period = config.integer("_sliding_window_pattern", config.integer("sliding_window_pattern", 4))
    usual = (FULL if (index + 1) % period == 0 else SLIDING for index in range(depth(config)))
    inner = FeedForward(
        config.integer("intermediate_size"), activation=activation(config, "hidden_act")
    )
    made = assemble(
        config,
        tuple(Layer(of[kind], inner) for kind in layer_kinds(config, KINDS, usual)),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
        epsilon=("layer_norm_eps", 1e-5),
        tied=True,
    )
    scale = config.number("logit_scale", 0.0625)
    return replace(made, norm="layer", parallel=True, logit_scale=scale)


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield from feed_forward(block, layer.feed_forward.width)
