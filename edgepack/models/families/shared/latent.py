"""DeepSeek's layout: latent attention, dense layers first, then experts with shared ones."""

from __future__ import annotations

from collections.abc import Iterator

from edgepack.models.config import Config
from edgepack.models.decoder import (
    Attention,
    Decoder,
    Experts,
    FeedForward,
    GgufNaming,
    Latent,
    Layer,
    Weight,
)
from edgepack.models.families.shared.layout import activation, assemble, count, depth, fixed
from edgepack.models.families.shared.parts import (
    Block,
    experts,
    feed_forward,
    latent_attention,
    router,
)
from edgepack.models.families.shared.rotary import rope, rotary_section, yarn_scale


def latent_decoder(
    config: Config, mixture: Experts, *, gguf: GgufNaming, neighbours: bool = True
) -> Decoder:
    fixed(config, attention_bias=False, mlp_bias=False, moe_layer_freq=1)
    act, layers = activation(config, "hidden_act"), depth(config)
    attention, first = latent_facts(config, neighbours), count(config, "first_k_dense_replace")
    plain = Layer(attention, FeedForward(config.integer("intermediate_size"), activation=act))
    shared = count(config, "n_shared_experts") * mixture.width
    sparse = Layer(attention, FeedForward(shared, activation=act, experts=mixture))
    first = min(first, layers)
    return assemble(
        config,
        (plain,) * first + (sparse,) * (layers - first),
        weights,
        gguf=gguf,
        context_length=config.integer("max_position_embeddings"),
    )


def latent_facts(config: Config, neighbours: bool) -> Attention:
    """Heads of `qk_nope_head_dim` plain and `qk_rope_head_dim` rotated elements."""
    number, rotated = config.integer("num_attention_heads"), config.integer("qk_rope_head_dim")
    size = config.integer("qk_nope_head_dim") + rotated
    for key in ("head_dim", "num_key_value_heads"):  # stated, and without a meaning of their own
        config.values.get(key)
    stretched = yarn_scale(rotary_section(config))
    return Attention(
        number,
        number,
        size,
        rope(config, rotated, neighbours=neighbours),
        scale=None if stretched == 1 else size**-0.5 * stretched,
        latent=Latent(
            config.integer("kv_lora_rank"),
            config.integer("v_head_dim"),
            config.optional_integer("q_lora_rank"),
        ),
    )


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    inner, mixture = layer.feed_forward.width, layer.feed_forward.experts
    yield from block.norm("attn_norm", "input_layernorm")
    yield from latent_attention(block, layer.attention)
    yield from block.norm("ffn_norm", "post_attention_layernorm")
    if mixture is None:
        yield from feed_forward(block, inner)
        return
    yield from router(block, mixture, "mlp.gate")
    if mixture.router == "sigmoid":  # chosen by score and bias, weighed by score
        yield block.weight("exp_probs_b.bias", "mlp.gate.e_score_correction_bias", mixture.count)
    yield from experts(block, mixture)
    if inner:
        yield from feed_forward(block, inner, at="mlp.shared_experts", suffix="_shexp")
