"""StableLM 2 and 3B: LayerNorm, a quarter of each head rotated, in parallel or not."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import activation, assemble, depth, heads
from edgepack.models.families.shared.parts import Block, Frame, attention, feed_forward
from edgepack.models.families.shared.rotary import rope
from edgepack.models.features import OWN_HEAD_NORMS

GGUF = GgufNaming("stablelm")


def decoder(config: Config) -> Decoder:
    queries, shared, size = heads(config)
    parallel, normed = config.flag("use_parallel_residual"), config.flag("qk_layernorm")
    facts = Attention(
        queries, shared, size, rope(config, size, partial=0.25), config.flag("use_qkv_bias")
    )
    inner = FeedForward(
        config.integer("intermediate_size"), activation=activation(config, "hidden_act")
    )

    def weights(block: Block, layer: Layer) -> Iterator[Weight]:
        yield from block.norm("attn_norm", "input_layernorm", bias=True)
        yield from attention(block, layer.attention)
        if normed:
            yield from head_norms(block, layer.attention)
        if not parallel:
            yield from block.norm("ffn_norm", "post_attention_layernorm", bias=True)
        yield from feed_forward(block, layer.feed_forward.width)

    made = assemble(
        config,
        (Layer(facts, inner),) * depth(config),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
        epsilon=("layer_norm_eps", 1e-5),
        frame=Frame(norm_bias=True),
    )
    beyond = frozenset({OWN_HEAD_NORMS} if normed else ())
    return replace(made, norm="layer", parallel=parallel, beyond=beyond)


def head_norms(block: Block, facts: Attention) -> Iterator[Weight]:
    """A LayerNorm of its own for each head."""
    for letter, number in (("q", facts.heads), ("k", facts.kv_heads)):
        yield block.weight(
            f"attn_{letter}_norm.weight",
            f"self_attn.{letter}_layernorm.norms.{{}}.weight",
            number,
            facts.head_dim,
            stacked=number,
        )
