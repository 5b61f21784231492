"""gpt-oss: sinks, every other layer a window, experts with biases, a clipped SwiGLU.

Its checkpoints store experts in MXFP4 under names of their own; sources here are what they unpack
to. Gate and up alternate along the last axis of one tensor, whose rows are inputs.
"""

from collections.abc import Iterator
from dataclasses import replace

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
from edgepack.models.families.shared.layout import (
    FULL,
    KINDS,
    MOST_EXPERTS,
    SLIDING,
    assemble,
    bounded,
    depth,
    fixed,
    heads,
    layer_kinds,
)
from edgepack.models.families.shared.parts import Block, attention, router
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("gpt-oss", window_period=2)


def decoder(config: Config) -> Decoder:
    fixed(config, swiglu_limit=7.0, hidden_act="silu")
    queries, shared, size = heads(config, 64)
    bias = config.flag("attention_bias", True)
    full = Attention(
        queries, shared, size, rope(config, size, base=150000.0), bias, bias, sinks=True
    )
    of = {FULL: full, SLIDING: replace(full, window=config.integer("sliding_window", 128))}
    inner = FeedForward(
        0,
        bias=True,
        activation="clipped_swiglu",
        experts=Experts(
            bounded(config, "num_local_experts", MOST_EXPERTS),
            config.integer("num_experts_per_tok", 4),
            config.integer("intermediate_size"),
            router="softmax_chosen",
        ),
    )
    alternating = ((SLIDING, FULL)[index % 2] for index in range(depth(config)))
    made = assemble(
        config,
        tuple(Layer(of[kind], inner) for kind in layer_kinds(config, KINDS, alternating)),
        weights,
        gguf=GGUF,
        epsilon=("rms_norm_eps", 1e-5),
        context_length=config.integer("max_position_embeddings", 131072),
    )
    method = config.section("quantization_config").text("quant_method", "")
    return replace(made, native="MXFP4" if method == "mxfp4" else None)


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    mixture, width = layer.feed_forward.experts, block.width
    assert mixture is not None
    number, inner, at = mixture.count, mixture.width, "mlp.experts"
    yield from block.norm("attn_norm", "input_layernorm")
    yield from attention(block, layer.attention)
    yield block.weight("attn_sinks.weight", "self_attn.sinks", layer.attention.heads)
    yield from block.norm("post_attention_norm", "post_attention_layernorm")
    yield from router(block, mixture, "mlp.router", bias=True)
    for role in ("ffn_gate_exps", "ffn_up_exps"):
        yield block.weight(f"{role}.weight", f"{at}.gate_up_proj", number, inner, width, split=True)
        yield block.weight(f"{role}.bias", f"{at}.gate_up_proj_bias", number, inner, split=True)
    yield block.weight("ffn_down_exps.weight", f"{at}.down_proj", number, width, inner, split=True)
    yield block.weight("ffn_down_exps.bias", f"{at}.down_proj_bias", number, width)
