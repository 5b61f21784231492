"""Gemma 3 (text): normed heads, and five windowed layers with a rotary base of their own to one."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, GgufNaming, Layer
from edgepack.models.families.gemma2 import around, feed_forward_facts, weights
from edgepack.models.families.shared.layout import (
    FULL,
    KINDS,
    SLIDING,
    assemble,
    depth,
    factor,
    fixed,
    heads,
    layer_kinds,
)
from edgepack.models.families.shared.parts import Frame
from edgepack.models.families.shared.rotary import local_rope, rope

GGUF = GgufNaming("gemma3", window_period=6)


def decoder(config: Config, prefix: str = "model") -> Decoder:
    fixed(config, use_bidirectional_attention=False)
    queries, shared, size = heads(config, 256)
    bias = config.flag("attention_bias")
    full = Attention(
        queries,
        shared,
        size,
        rope(config, size, kind="full_attention", base=1e6),
        bias,
        bias,
        "head",
        scale=config.number("query_pre_attn_scalar", 256) ** -0.5,
        softcap=factor(config, "attn_logit_softcapping"),
    )
    near = replace(
        full, rope=local_rope(config, size), window=config.integer("sliding_window", 4096)
    )
    period = config.integer("_sliding_window_pattern", config.integer("sliding_window_pattern", 6))
    usual = (FULL if (index + 1) % period == 0 else SLIDING for index in range(depth(config)))
    of, inner = {FULL: full, SLIDING: near}, feed_forward_facts(config)
    made = assemble(
        config,
        tuple(Layer(of[kind], inner) for kind in layer_kinds(config, KINDS, usual)),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings", 131072),
        frame=Frame(prefix),
        tied=True,
    )
    return replace(around(made), logit_softcap=factor(config, "final_logit_softcapping"))
