"""Phi-3, 3.5, 4 and 4-mini: Q, K and V in one tensor, gate and up in another, LongRoPE.

llama.cpp reads their sliding window and leaves it unused (src/models/phi3.cpp).
"""

from collections.abc import Iterator

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import (
    activation,
    assemble,
    attended_context,
    depth,
    fixed,
    heads,
)
from edgepack.models.families.shared.parts import Block
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("phi3")


def decoder(config: Config) -> Decoder:
    fixed(config, attention_bias=False, mlp_bias=False)
    queries, shared, size = heads(config)
    facts = Attention(queries, shared, size, rope(config, size, partial=1.0))
    inner = FeedForward(
        config.integer("intermediate_size"), activation=activation(config, "hidden_act")
    )
    return assemble(
        config,
        (Layer(facts, inner),) * depth(config),
        weights,
        gguf=GGUF,
        epsilon=("rms_norm_eps", 1e-5),
        context_length=attended_context(config, windowed=True),
    )


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    facts, inner, width = layer.attention, layer.feed_forward.width, block.width
    rows = facts.q_width + 2 * facts.kv_width
    yield from block.norm("attn_norm", "input_layernorm")
    yield from block.linear("attn_qkv", "self_attn.qkv_proj", rows, width)
    yield from block.linear("attn_output", "self_attn.o_proj", width, facts.q_width)
    yield from block.norm("ffn_norm", "post_attention_layernorm")
    yield from block.linear("ffn_up", "mlp.gate_up_proj", 2 * inner, width)
    yield from block.linear("ffn_down", "mlp.down_proj", width, inner)
