"""Granite 3.x (dense): Llama's layout with four multipliers."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming, Layer
from edgepack.models.families.shared.dense import dense_decoder

GGUF = GgufNaming("granite", interleaved_rope=True, divided_logits=True)


def decoder(config: Config) -> Decoder:
    bias = config.flag("attention_bias")
    made = dense_decoder(
        config,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=config.flag("mlp_bias"),
    )
    return multiplied(config, made)


def multiplied(config: Config, made: Decoder) -> Decoder:
    """`made` with Granite's multipliers; `logits_scaling` divides."""
    scale = config.number("attention_multiplier", 1.0)

    def scaled(layer: Layer) -> Layer:
        if not layer.attention.heads:
            return layer
        return replace(layer, attention=replace(layer.attention, scale=scale))

    return replace(
        made,
        layers=tuple(map(scaled, made.layers)),
        embedding_scale=config.number("embedding_multiplier", 1.0),
        residual_scale=config.number("residual_multiplier", 1.0),
        logit_scale=1.0 / config.number("logits_scaling", 1.0),
    )
