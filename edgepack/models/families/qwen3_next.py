"""Qwen3-Next: three layers of Gated DeltaNet to one of gated attention, then experts."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.errors import Unsupported
from edgepack.models.config import Config
from edgepack.models.decoder import NO_ATTENTION, Attention, Decoder, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import FULL, assemble, depth, heads, layer_kinds
from edgepack.models.families.shared.parts import Block, attention
from edgepack.models.families.shared.recurrent import GatedDelta
from edgepack.models.families.shared.rotary import rope
from edgepack.models.families.shared.sparse import forward_weights, forwards
from edgepack.models.features import GATED_OUTPUT, GATED_SHARED

GGUF = GgufNaming("qwen3next")
LINEAR = "linear_attention"


def decoder(config: Config) -> Decoder:
    layers, state = depth(config), gated_delta(config)
    interval = config.integer("full_attention_interval", 4)
    usual = (FULL if (index + 1) % interval == 0 else LINEAR for index in range(layers))
    kinds, full = layer_kinds(config, (FULL, LINEAR), usual), attention_facts(config)

    def layer(kind: str, index: int) -> Layer:
        if kind == FULL:
            return Layer(full, inner[index])
        return Layer(NO_ATTENTION, inner[index], state.recurrence())

    def weights(block: Block, layer: Layer) -> Iterator[Weight]:
        yield from block.norm("attn_norm", "input_layernorm")
        yield from state.weights(block) if layer.recurrence else gated(block, layer.attention)
        yield from block.norm("post_attention_norm", "post_attention_layernorm")
        yield from forward_weights(block, layer.feed_forward)

    inner = forwards(config, layers, shared=True)
    made = assemble(
        config,
        tuple(layer(kind, index) for index, kind in enumerate(kinds)),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
    )
    return replace(made, norm_offset=1.0, beyond=frozenset({GATED_OUTPUT, GATED_SHARED}))


def attention_facts(config: Config) -> Attention:
    queries, shared, size = heads(config, 256)
    bias = config.flag("attention_bias")
    return Attention(queries, shared, size, rope(config, size, partial=0.25), bias, bias, "head")


def gated_delta(config: Config) -> GatedDelta:
    """Raises Unsupported where heads of K and of V differ in size: llama.cpp has one for both."""
    size = config.integer("linear_key_head_dim", 128)
    other = config.integer("linear_value_head_dim", 128)
    if other != size:
        raise Unsupported(
            f"{config.path}: linear_value_head_dim is {other}",
            f"supported: linear_key_head_dim, {size}",
        )
    return GatedDelta(
        config.integer("linear_num_key_heads", 16),
        config.integer("linear_num_value_heads", 32),
        size,
        config.integer("linear_conv_kernel_dim", 4),
    )


def gated(block: Block, facts: Attention) -> Iterator[Weight]:
    """Of each head, `q_proj` makes the query and the gate of what it gives."""
    for weight in attention(block, facts):
        if weight.role in ("attn_q.weight", "attn_q.bias"):
            weight = replace(weight, shape=(2 * facts.q_width, *weight.shape[1:]))
        yield weight
