"""ERNIE 4.5 (dense): Llama's layout, its rotated pairs neighbours."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.shared.dense import dense_decoder

GGUF = GgufNaming("ernie4_5")


def decoder(config: Config) -> Decoder:
    bias = config.flag("use_bias")
    made = dense_decoder(
        config,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        base=500000.0,
        epsilon=1e-5,
        tied=True,
    )
    layer = made.layers[0]
    turned = replace(layer.attention.rope, neighbours=True)
    layer = replace(layer, attention=replace(layer.attention, rope=turned))
    return replace(made, layers=(layer,) * len(made.layers))
