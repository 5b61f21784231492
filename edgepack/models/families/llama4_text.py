"""Llama 4 (text): chunked layers that rotate, every fourth neither; one expert a token."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import (
    NO_ROPE,
    Attention,
    Decoder,
    Experts,
    FeedForward,
    GgufNaming,
    Layer,
    Weight,
)
from edgepack.models.families.shared.layout import (
    FULL,
    MOST_EXPERTS,
    activation,
    assemble,
    bounded,
    depth,
    heads,
    integers,
    layer_kinds,
    rotated_layers,
)
from edgepack.models.families.shared.parts import Block, Frame, attention, feed_forward, router
from edgepack.models.families.shared.rotary import rope
from edgepack.models.features import TEMPERATURE, UNIT_HEADS, WEIGHED_INPUT

GGUF = GgufNaming("llama4", window_period=4, chunk=8192)
CHUNKED = "chunked_attention"


def decoder(config: Config, prefix: str = "model") -> Decoder:
    of, turned = (
        attentions(config),
        rotated_layers(config, config.integer("no_rope_layer_interval", 4)),
    )
    usual = (CHUNKED if each else FULL for each in turned)
    kinds = layer_kinds(config, (FULL, CHUNKED), usual)
    pairs = zip(kinds, turned, forwards(config), strict=True)
    layers = tuple(Layer(of[kind, rotated], inner) for kind, rotated, inner in pairs)
    made = assemble(
        config,
        layers,
        weights,
        gguf=GGUF,
        epsilon=("rms_norm_eps", 1e-5),
        context_length=config.integer("max_position_embeddings"),
        frame=Frame(prefix),
    )
    beyond = {WEIGHED_INPUT: any(layer.feed_forward.experts for layer in layers)}
    beyond[UNIT_HEADS] = config.flag("use_qk_norm", True)
    beyond[TEMPERATURE] = bool(config.values.get("attn_temperature_tuning", True))
    return replace(made, beyond=frozenset(name for name, holds in beyond.items() if holds))


def attentions(config: Config) -> dict[tuple[str, bool], Attention]:
    """By kind of layer, and by whether it rotates."""
    queries, shared, size = heads(config)
    bias = config.flag("attention_bias")
    found = rope(config, size, base=500000.0, neighbours=True)
    chunk = config.integer("attention_chunk_size", 8192)
    full = Attention(queries, shared, size, found, bias, bias)
    near = replace(full, chunk=chunk)
    return {
        (kind, rotated): facts if rotated else replace(facts, rope=NO_ROPE)
        for kind, facts in ((FULL, full), (CHUNKED, near))
        for rotated in (True, False)
    }


def forwards(config: Config) -> Iterator[FeedForward]:
    act, inner = activation(config, "hidden_act"), config.integer("intermediate_size")
    mixture = Experts(
        bounded(config, "num_local_experts", MOST_EXPERTS),
        config.integer("num_experts_per_tok", 1),
        inner,
        router="sigmoid",
        normalised=False,
    )
    sparse = FeedForward(inner, activation=act, experts=mixture)
    dense = FeedForward(config.integer("intermediate_size_mlp"), activation=act)
    step, layers = config.integer("interleave_moe_layer_step", 1), depth(config)
    listed = integers(config, "moe_layers")
    chosen = range(step - 1, layers, step) if listed is None else listed
    return (sparse if index in chosen else dense for index in range(layers))


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    mixture, at = layer.feed_forward.experts, "feed_forward"
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield from block.norm("ffn_norm", "post_attention_layernorm")
    if mixture is None:
        yield from feed_forward(block, layer.feed_forward.width, at=at)
        return
    number, inner, width = mixture.count, mixture.width, block.width
    yield from router(block, mixture, f"{at}.router")
    for role in ("ffn_gate_exps.weight", "ffn_up_exps.weight"):
        yield block.weight(role, f"{at}.experts.gate_up_proj", number, inner, width, split=True)
    yield block.weight(
        "ffn_down_exps.weight", f"{at}.experts.down_proj", number, width, inner, split=True
    )
    yield from feed_forward(
        block, layer.feed_forward.width, at=f"{at}.shared_expert", suffix="_shexp"
    )
