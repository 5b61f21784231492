"""Phi-1.5 and Phi-2: LayerNorm before attention and feed-forward in parallel, biases throughout."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.shared.layout import activation, assemble, depth, fixed, heads
from edgepack.models.families.shared.parts import Block, Frame, attention, ungated
from edgepack.models.families.shared.rotary import rope

GGUF = GgufNaming("phi2")


def decoder(config: Config) -> Decoder:
    fixed(config, qk_layernorm=False)
    queries, shared, size = heads(config)
    inner = FeedForward(
        config.integer("intermediate_size"),
        bias=True,
        activation=activation(config, "hidden_act", default="gelu_new"),
        gated=False,
    )
    facts = Attention(queries, shared, size, rope(config, size, partial=0.5), True, True)
    made = assemble(
        config,
        (Layer(facts, inner),) * depth(config),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings"),
        epsilon=("layer_norm_eps", 1e-5),
        frame=Frame(norm="final_layernorm", norm_bias=True, head_bias=True),
    )
    return replace(made, norm="layer", parallel=True)


def weights(block: Block, layer: Layer) -> Iterator[Weight]:
    yield from block.norm("attn_norm", "input_layernorm", bias=True)
    yield from attention(block, layer.attention, output="dense")
    yield from ungated(block, layer.feed_forward.width, bias=True, up="fc1", down="fc2")
