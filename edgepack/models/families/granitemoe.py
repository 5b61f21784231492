"""Granite 3.x mixtures: experts whose gate and up are one tensor, with a shared one or none."""

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
from edgepack.models.families.granite import multiplied
from edgepack.models.families.shared.layout import (
    MOST_EXPERTS,
    activation,
    assemble,
    bounded,
    count,
    depth,
    fixed,
    heads,
)
from edgepack.models.families.shared.parts import Block, attention, router
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("granitemoe", interleaved_rope=True, divided_logits=True)


def decoder(config: Config) -> Decoder:
    fixed(config, position_embedding_type="rope")
    queries, shared, size = heads(config)
    bias = config.flag("attention_bias")
    inner = FeedForward(
        count(config, "shared_intermediate_size"),
        activation=activation(config, "hidden_act"),
        experts=mixture(config),
    )
    layer = Layer(Attention(queries, shared, size, rope(config, size), bias, bias), inner)
    made = assemble(
        config,
        (layer,) * depth(config),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
    )
    return multiplied(config, made)


def mixture(config: Config) -> Experts:
    return Experts(
        bounded(config, "num_local_experts", MOST_EXPERTS),
        config.integer("num_experts_per_tok"),
        config.integer("intermediate_size"),
        router="softmax_chosen",
    )


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield from block.norm("ffn_norm", "post_attention_layernorm")
    yield from forward_weights(block, layer.feed_forward)


def expert_weights(block: Block, facts: Experts) -> Iterator[Weight]:
    at, number, inner = "block_sparse_moe", facts.count, facts.width
    yield from router(block, facts, f"{at}.router.layer")
    for role in ("ffn_gate_exps.weight", "ffn_up_exps.weight"):
        yield block.weight(
            role, f"{at}.input_linear.weight", number, inner, block.width, split=True
        )
    yield block.weight(
        "ffn_down_exps.weight", f"{at}.output_linear.weight", number, block.width, inner
    )


def forward_weights(block: Block, facts: FeedForward) -> Iterator[Weight]:
    if facts.experts:
        yield from expert_weights(block, facts.experts)
    if not facts.width:
        return
    suffix = "_shexp" if facts.experts else ""
    for role in (f"ffn_gate{suffix}.weight", f"ffn_up{suffix}.weight"):
        source = "shared_mlp.input_linear.weight"
        yield block.weight(role, source, facts.width, block.width, split=True)
    yield from block.linear(
        f"ffn_down{suffix}", "shared_mlp.output_linear", block.width, facts.width
    )
