"""What a Decoder has beyond the plainest one, by name; a reader says which of these it knows.

The plainest is what every reader knows: equal layers, each an RMSNorm before grouped-query
attention and before a gated feed-forward with silu; whole heads rotated.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from edgepack.errors import Unsupported
from edgepack.models.decoder import Attention, Decoder, FeedForward

BIASES = "attention biases"
FEED_FORWARD_BIASES = "feed-forward biases"
HEAD_NORM = "normed heads of Q and K"
WHOLE_NORM = "norms over the whole of Q and K"
LINEAR, LLAMA3 = "linear rotary scaling", "llama3 rotary scaling"
YARN, LONGROPE = "yarn rotary scaling", "longrope rotary scaling"
PARTIAL_ROTARY = "partly rotated heads"
NO_ROTARY = "layers without rotary embedding"
WINDOW, CHUNK = "sliding windows", "chunked attention"
SCALE, SOFTCAP, SINKS = "attention scale", "attention soft cap", "attention sinks"
LATENT, SHARED_CACHE = "latent attention", "layers that share a cache"
RECURRENCE, EXPERTS = "recurrence", "mixture of experts"
UNGATED, ACTIVATION = "feed-forward without gate", "activation other than silu"
LAYER_NORM, NORM_OFFSET = "LayerNorm", "norms with an offset"
NORM_PLACE, PARALLEL = "norms after attention and feed-forward", "parallel blocks"
MULTIPLIERS, LOGIT_SOFTCAP = "multipliers", "logit soft cap"
NEIGHBOURS = "rotated pairs that are neighbours"
HEAD_BIAS, FUSED, DIFFERENT = "head bias", "fused projections", "layers that differ"

# Said by `Decoder.beyond`, as no other fact of it tells them.
OWN_HEAD_NORMS, UNIT_HEADS = "a norm for each head", "heads of Q and K brought to one length"
TEMPERATURE, GATED_OUTPUT = "scores scaled by position", "gated attention"
WEIGHED_INPUT = "experts that read weighed inputs"
GATED_SHARED, BIASED_CHOICE = "gated shared experts", "experts chosen by biased scores"
STREAMS, LAYER_EMBEDDINGS = "several residual streams", "embeddings of every layer"
LOW_RANK, SPARSE_ACTIVATION = "low-rank residuals", "sparse activations"
VALUE_NORM = "normed heads of V"

PLAIN = frozenset({BIASES, FEED_FORWARD_BIASES, HEAD_NORM, LINEAR, LLAMA3})
"""What every reader of weights knows."""

FUSED_ROLES = ("attn_qkv.weight", "ssm_in.weight")


def features(decoder: Decoder) -> frozenset[str]:
    """The names above that hold for `decoder`."""
    parts = {*decoder.layers}
    attentions = {layer.attention for layer in parts}
    forwards = {layer.feed_forward for layer in parts}
    found = chain(
        _whole(decoder),
        *map(_of_attention, attentions),
        *map(_of_feed_forward, forwards),
    )
    return frozenset(found)


def check_known(decoder: Decoder, known: frozenset[str], reader: str) -> None:
    """Raises Unsupported, naming what of `decoder` the `reader` does not know."""
    unknown = sorted(features(decoder) - known)
    if unknown:
        raise Unsupported(
            f"{decoder.gguf.architecture}: {reader} does not know {', '.join(unknown)}",
            "`edgepack fit` says what it needs; packing it is for a later release",
        )


def _whole(decoder: Decoder) -> Iterator[str]:
    yield from decoder.beyond
    if len(set(decoder.layers)) > 1:
        yield DIFFERENT
    if any(layer.recurrence for layer in decoder.layers):
        yield RECURRENCE
    if any(weight.role in FUSED_ROLES for weight in decoder.weights) or any(
        weight.split for weight in decoder.weights
    ):
        yield FUSED
    if (decoder.embedding_scale, decoder.residual_scale, decoder.logit_scale) != (1, 1, 1):
        yield MULTIPLIERS
    for holds, name in (
        (decoder.norm == "layer", LAYER_NORM),
        (decoder.norm_offset != 0, NORM_OFFSET),
        (decoder.norm_place != "before", NORM_PLACE),
        (decoder.parallel, PARALLEL),
        (decoder.head_bias, HEAD_BIAS),
        (decoder.logit_softcap is not None, LOGIT_SOFTCAP),
    ):
        if holds:
            yield name


def _of_attention(attention: Attention) -> Iterator[str]:
    if not attention.heads:  # a layer without attention
        return
    rope = attention.rope
    if rope.scaling:
        yield {"linear": LINEAR, "llama3": LLAMA3, "yarn": YARN, "longrope": LONGROPE}[
            rope.scaling.kind
        ]
    for holds, name in (
        (attention.qkv_bias or attention.output_bias, BIASES),
        (attention.qk_norm == "head", HEAD_NORM),
        (attention.qk_norm == "whole", WHOLE_NORM),
        (rope.dimensions == 0, NO_ROTARY),
        (rope.neighbours, NEIGHBOURS),
        (0 < rope.dimensions < attention.head_dim and not attention.latent, PARTIAL_ROTARY),
        (attention.window is not None, WINDOW),
        (attention.chunk is not None, CHUNK),
        (attention.scale is not None, SCALE),
        (attention.softcap is not None, SOFTCAP),
        (attention.sinks, SINKS),
        (attention.latent is not None, LATENT),
        (not attention.owns_cache, SHARED_CACHE),
    ):
        if holds:
            yield name


def _of_feed_forward(feed_forward: FeedForward) -> Iterator[str]:
    for holds, name in (
        (feed_forward.bias, FEED_FORWARD_BIASES),
        (feed_forward.activation != "silu", ACTIVATION),
        (not feed_forward.gated, UNGATED),
        (feed_forward.experts is not None, EXPERTS),
    ):
        if holds:
            yield name
