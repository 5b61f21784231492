"""Granite 4: Mamba 2 in most layers, attention in some, shared experts or a plain feed-forward."""

from collections.abc import Iterator

from edgepack.errors import DamagedInput
from edgepack.models.config import Config
from edgepack.models.decoder import (
    NO_ATTENTION,
    NO_ROPE,
    Attention,
    Decoder,
    FeedForward,
    GgufNaming,
    Layer,
    Weight,
)
from edgepack.models.families import granite, granitemoe
from edgepack.models.families.granite import multiplied
from edgepack.models.families.granitemoe import forward_weights, mixture
from edgepack.models.families.shared.layout import (
    activation,
    assemble,
    count,
    depth,
    fixed,
    heads,
    layer_kinds,
)
from edgepack.models.families.shared.parts import Block, attention
from edgepack.models.families.shared.recurrent import Mamba2
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("granitehybrid", interleaved_rope=True, divided_logits=True)
MAMBA = ("mamba", "linear_attention")  # as transformers 4 and 5 spell it
ATTENTION = ("attention", "full_attention")


def decoder(config: Config) -> Decoder:
    config.require("position_embedding_type", ("nope", "rope"), "nope")
    config.values.get("intermediate_size")  # of experts; stated also where there are none
    inner = FeedForward(
        config.integer("shared_intermediate_size"),
        activation=activation(config, "hidden_act"),
        experts=mixture(config) if count(config, "num_local_experts") else None,
    )
    kinds = layer_kinds(config, MAMBA + ATTENTION, MAMBA[:1] * depth(config))
    for key in ("mamba_d_conv", "mamba_d_state", "mamba_n_heads"):
        config.values.get(key)  # stated also where no layer is recurrent
    parts: dict[str, Layer] = {}
    recurrent = any(kind in MAMBA for kind in kinds)
    if any(kind in ATTENTION for kind in kinds):
        parts |= dict.fromkeys(ATTENTION, Layer(attention_facts(config), inner))
    if recurrent:
        state = mamba(config)
        parts |= dict.fromkeys(MAMBA, Layer(NO_ATTENTION, inner, state.recurrence()))

    def weights(block: Block, layer: Layer) -> Iterator[Weight]:
        yield from block.norm("attn_norm", "input_layernorm")
        if layer.recurrence:
            yield from state.weights(block)
        else:
            yield from attention(block, layer.attention)
        yield from block.norm("ffn_norm", "post_attention_layernorm")
        yield from forward_weights(block, layer.feed_forward)

    made = assemble(
        config,
        tuple(parts[kind] for kind in kinds),
        weights,
        gguf=naming(kinds, inner),
        context_length=config.integer("max_position_embeddings"),
    )
    return multiplied(config, made)


def naming(kinds: tuple[str, ...], inner: FeedForward) -> GgufNaming:
    """llama.cpp takes a model without recurrence for one of Granite 3."""
    if any(kind in MAMBA for kind in kinds):
        return GGUF
    return granitemoe.GGUF if inner.experts else granite.GGUF


def attention_facts(config: Config) -> Attention:
    queries, shared, size = heads(config)
    bias = config.flag("attention_bias")
    rotated = config.text("position_embedding_type", "nope") == "rope"
    found = rope(config, size)
    return Attention(queries, shared, size, found if rotated else NO_ROPE, bias, bias)


def mamba(config: Config) -> Mamba2:
    fixed(config, mamba_conv_bias=True, mamba_proj_bias=False)
    made = Mamba2(
        config.integer("mamba_n_heads"),
        config.integer("mamba_d_head"),
        config.integer("mamba_n_groups", 1),
        config.integer("mamba_d_state"),
        config.integer("mamba_d_conv", 4),
    )
    whole = config.integer("mamba_expand", 2) * config.integer("hidden_size")
    if made.inner != whole or made.inner % made.groups:
        raise DamagedInput(
            f"{config.path}: mamba_n_heads x mamba_d_head is {made.inner}",
            "it must be mamba_expand x hidden_size, and a multiple of mamba_n_groups",
        )
    return made
