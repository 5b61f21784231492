"""LFM2: short convolutions in most layers, attention in some."""

from collections.abc import Iterator

from edgepack.models.config import Config
from edgepack.models.decoder import (
    NO_ATTENTION,
    Attention,
    Decoder,
    FeedForward,
    GgufNaming,
    Layer,
    Recurrence,
    Weight,
)
from edgepack.models.families.shared.layout import (
    FULL,
    assemble,
    depth,
    fixed,
    heads,
    integers,
    layer_kinds,
)
from edgepack.models.families.shared.parts import Block, Frame, attention, feed_forward
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("lfm2")
CONVOLUTION = "conv"


def decoder(config: Config) -> Decoder:
    fixed(config, conv_bias=False, tie_embedding=config.flag("tie_word_embeddings", True))
    queries, shared, size = heads(config)
    facts = Attention(queries, shared, size, rope(config, size, base=1e6), qk_norm="head")
    inner, width = FeedForward(inner_width(config)), config.integer("hidden_size")
    taps, layers = config.integer("conv_L_cache", 3), depth(config)
    state = Recurrence("short_convolution", width, (taps - 1) * width)
    listed = integers(config, "full_attn_idxs")  # of configs before `layer_types`
    full = range(layers) if listed is None else listed
    usual = (FULL if index in full else CONVOLUTION for index in range(layers))
    of = {FULL: Layer(facts, inner), CONVOLUTION: Layer(NO_ATTENTION, inner, state)}

    def weights(block: Block, layer: Layer) -> Iterator[Weight]:
        yield from block.norm("attn_norm", "operator_norm")
        if layer.recurrence:
            yield from convolution(block, taps)
        else:
            names = ("q_layernorm", "k_layernorm")
            yield from attention(block, layer.attention, output="out_proj", norms=names)
        yield from block.norm("ffn_norm", "ffn_norm")
        yield from feed_forward(block, inner.width, at="feed_forward", names=("w1", "w3", "w2"))

    return assemble(
        config,
        tuple(of[kind] for kind in layer_kinds(config, (FULL, CONVOLUTION), usual)),
        weights,
        gguf=GGUF,
        epsilon=("norm_eps", 1e-5),
        context_length=config.integer("max_position_embeddings", 128000),
        tied=True,
        frame=Frame(norm="embedding_norm", norm_role="token_embd_norm"),
    )


def inner_width(config: Config) -> int:
    """Two thirds of the stated width, times a factor, up to the next multiple."""
    stated = config.optional_integer("block_ff_dim") or config.integer("intermediate_size")
    if not config.flag("block_auto_adjust_ff_dim", True):
        return stated
    whole = int(config.number("block_ffn_dim_multiplier", 1.0) * int(2 * stated / 3))
    multiple = config.integer("block_multiple_of", 256)
    return -(-whole // multiple) * multiple


def convolution(block: Block, taps: int) -> Iterator[Weight]:
    width = block.width
    yield from block.linear("shortconv.in_proj", "conv.in_proj", 3 * width, width)
    yield block.weight("shortconv.conv.weight", "conv.conv.weight", width, taps, split=True)
    yield from block.linear("shortconv.out_proj", "conv.out_proj", width, width)
