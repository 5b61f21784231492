"""Gemma 3n (text): four residual streams, an embedding a layer, caches that layers share."""

from collections.abc import Iterator
from dataclasses import replace

from edgepack.errors import DamagedInput
from edgepack.models.config import Config
from edgepack.models.decoder import Attention, Decoder, FeedForward, GgufNaming, Layer, Weight
from edgepack.models.families.gemma2 import weights as gemma_weights
from edgepack.models.families.shared.layout import (
    FULL,
    KINDS,
    SLIDING,
    activation,
    assemble,
    bounded,
    count,
    depth,
    factor,
    fixed,
    heads,
    integers,
    layer_kinds,
)
from edgepack.models.families.shared.parts import Block, Frame
from edgepack.models.families.shared.rotary import local_rope, rope
from edgepack.models.features import (
    LAYER_EMBEDDINGS,
    LOW_RANK,
    SPARSE_ACTIVATION,
    STREAMS,
    VALUE_NORM,
)

GGUF = GgufNaming("gemma3n", window_period=5)
PREFIX = "model.language_model"  # in every checkpoint, with towers or without
MOST_STREAMS = 1000


def decoder(config: Config) -> Decoder:
    fixed(config, altup_correct_scale=True, altup_active_idx=0)
    layers, streams = depth(config), bounded(config, "altup_num_inputs", MOST_STREAMS)
    embedded, rank = config.integer("hidden_size_per_layer_input"), config.integer("laurel_rank")

    def weights(block: Block, layer: Layer) -> Iterator[Weight]:
        yield from gemma_weights(block, layer)
        yield from beside(block, streams, embedded, rank)

    made = assemble(
        config,
        tuple(map(Layer, attentions(config), forwards(config))),
        weights,
        gguf=GGUF,
        context_length=config.integer("max_position_embeddings", 32768),
        frame=Frame(PREFIX),
        tied=True,
    )
    vocabulary = config.integer("vocab_size_per_layer_input", 262144)
    beyond = {STREAMS, LAYER_EMBEDDINGS, LOW_RANK, VALUE_NORM}
    if sparse(config):
        beyond.add(SPARSE_ACTIVATION)
    return replace(
        made,
        norm_place="around",
        embedding_scale=made.width**0.5,
        logit_softcap=factor(config, "final_logit_softcapping"),
        beyond=frozenset(beyond),
        weights=(
            *made.weights,
            *outside(made.width, streams, (vocabulary, layers * embedded), embedded),
        ),
    )


def attentions(config: Config) -> Iterator[Attention]:
    """Scores are not scaled, whatever `query_pre_attn_scalar` is.

    The last `num_kv_shared_layers` read an earlier layer's cache.
    """
    queries, shared, size = heads(config, 256)
    config.values.get("query_pre_attn_scalar")
    bias, layers = config.flag("attention_bias"), depth(config)
    found = rope(config, size, kind="full_attention", base=1e6)
    full = Attention(queries, shared, size, found, bias, bias, "head", scale=1.0)
    near = replace(
        full, rope=local_rope(config, size), window=config.integer("sliding_window", 512)
    )
    usual = (FULL if (index + 1) % 5 == 0 else SLIDING for index in range(layers))
    own = layers - count(config, "num_kv_shared_layers", 15)
    if own < 1:
        raise DamagedInput(
            f"{config.path}: num_kv_shared_layers is {layers - own}",
            f"it must be less than num_hidden_layers, {layers}",
        )
    of = {FULL: full, SLIDING: near}
    for index, kind in enumerate(layer_kinds(config, KINDS, usual)):
        yield replace(of[kind], owns_cache=index < own)


def forwards(config: Config) -> Iterator[FeedForward]:
    act = activation(config, "hidden_activation", default="gelu_pytorch_tanh")
    layers, stated = depth(config), config.values.get("intermediate_size")
    if not isinstance(stated, list):
        return iter((FeedForward(config.integer("intermediate_size"), activation=act),) * layers)
    inner = integers(config, "intermediate_size") or ()
    if len(inner) != layers or not all(inner):
        raise DamagedInput(
            f"{config.path}: intermediate_size is {stated!r}",
            f"it must be a positive integer, or {layers} of them",
        )
    return (FeedForward(each, activation=act) for each in inner)


def sparse(config: Config) -> bool:
    """Whether any layer keeps only its largest activations; unsaid, the first ten of more do."""
    stated = config.values.get("activation_sparsity_pattern")
    return depth(config) > 10 if stated is None else stated not in ([0.0] * depth(config), 0, 0.0)


def beside(block: Block, streams: int, embedded: int, rank: int) -> Iterator[Weight]:
    """What predicts and corrects the streams, the low-rank residual, the layer's embedding."""
    width = block.width
    yield from block.linear("inp_gate", "per_layer_input_gate", embedded, width)
    yield from block.linear("proj", "per_layer_projection", width, embedded)
    yield from block.norm("post_norm", "post_per_layer_input_norm")
    yield from block.linear("altup_correct_coef", "altup.correction_coefs", streams, streams)
    yield block.weight("altup_correct_scale.weight", "altup.correct_output_scale", width)
    yield from block.linear("altup_predict_coef", "altup.prediction_coefs", streams**2, streams)
    yield from block.linear("altup_router", "altup.modality_router", streams, width)
    yield from block.norm("altup_router_norm", "altup.router_norm")
    yield from block.linear("laurel_l", "laurel.linear_left", rank, width)
    yield from block.linear("laurel_r", "laurel.linear_right", width, rank)
    yield from block.norm("laurel_post_norm", "laurel.post_laurel_norm")


def outside(width: int, streams: int, table: tuple[int, int], embedded: int) -> Iterator[Weight]:
    """Tensors of no layer: embeddings of all layers side by side, projections of the streams."""
    for role, source in (
        ("altup_proj", "altup_projections"),
        ("altup_unembd_proj", "altup_unembed_projections"),
    ):
        others = streams - 1
        name = f"{PREFIX}.{source}.{{}}.weight"
        yield Weight(f"{role}.weight", None, (others, width, width), name, stacked=others)
    for role, source, shape in (
        ("per_layer_token_embd", "embed_tokens_per_layer", table),
        ("per_layer_model_proj", "per_layer_model_projection", (table[1], width)),
        ("per_layer_proj_norm", "per_layer_projection_norm", (embedded,)),
    ):
        yield Weight(f"{role}.weight", None, shape, f"{PREFIX}.{source}.weight")
