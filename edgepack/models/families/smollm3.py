"""SmolLM3: Llama's layout, every fourth layer without rotary embedding."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import NO_ROPE, Decoder, GgufNaming
from edgepack.models.families.shared.dense import dense_decoder
from edgepack.models.families.shared.layout import attended_context, rotated_layers

GGUF = GgufNaming("smollm3", interleaved_rope=True)


def decoder(config: Config) -> Decoder:
    bias = config.flag("attention_bias")
    made = dense_decoder(
        config,
        gguf=GGUF,
        context_length=attended_context(config, windowed=config.flag("use_sliding_window")),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=config.flag("mlp_bias"),
        base=2e6,
        tied=True,
    )
    rotated = made.layers[0]
    plain = replace(rotated, attention=replace(rotated.attention, rope=NO_ROPE))
    turned = rotated_layers(config, config.integer("no_rope_layer_interval", 4))
    return replace(made, layers=tuple(rotated if each else plain for each in turned))
