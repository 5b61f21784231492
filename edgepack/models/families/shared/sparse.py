"""The experts of Qwen's mixtures: every so many layers, with a shared one or none."""

from __future__ import annotations

from collections.abc import Iterator

from edgepack.models.config import Config
from edgepack.models.decoder import Experts, FeedForward, Layer, Weight
from edgepack.models.families.shared.layout import (
    MOST_EXPERTS,
    activation,
    bounded,
    count,
    integers,
)
from edgepack.models.families.shared.parts import Block, attention, experts, feed_forward, router


def forwards(config: Config, layers: int, *, shared: bool) -> tuple[FeedForward, ...]:
    """The feed-forward of each layer: experts, or a plain one in `mlp_only_layers` and between."""
    act = activation(config, "hidden_act")
    number = "num_experts" if "num_experts" in config.values else "num_local_experts"
    mixture = Experts(
        bounded(config, number, MOST_EXPERTS),  # the latter as transformers 5 spells it
        config.integer("num_experts_per_tok"),
        config.integer("moe_intermediate_size"),
        normalised=config.flag("norm_topk_prob"),
    )
    common = config.integer("shared_expert_intermediate_size") if shared else 0
    sparse = FeedForward(common, activation=act, experts=mixture)
    plain, step = integers(config, "mlp_only_layers") or (), count(config, "decoder_sparse_step", 1)
    every = [index not in plain and step and (index + 1) % step == 0 for index in range(layers)]
    config.values.get("intermediate_size")  # stated also where no layer is plain
    if all(every):
        return (sparse,) * layers
    dense = FeedForward(config.integer("intermediate_size"), activation=act)
    return tuple(sparse if each else dense for each in every)


def layer_weights(block: Block, layer: Layer) -> Iterator[Weight]:
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield from block.norm("ffn_norm", "post_attention_layernorm")
    yield from forward_weights(block, layer.feed_forward)


def forward_weights(block: Block, facts: FeedForward) -> Iterator[Weight]:
    if facts.experts is None:
        yield from feed_forward(block, facts.width)
        return
    yield from router(block, facts.experts, "mlp.gate")
    yield from experts(block, facts.experts)
    if facts.width:
        yield block.weight(
            "ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight", block.width, split=True
        )
        yield from feed_forward(block, facts.width, at="mlp.shared_expert", suffix="_shexp")
