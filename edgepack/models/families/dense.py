"""The layout that most dense decoders share: RMSNorm, grouped-query attention, SwiGLU.

Families differ from it in a few facts, which they pass in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from edgepack.errors import DamagedInput, Unsupported
from edgepack.models.config import Config
from edgepack.models.decoder import (
    Attention,
    Decoder,
    DType,
    FeedForward,
    GgufNaming,
    Layer,
    Rope,
    RopeScaling,
    Weight,
)

DTYPES: Mapping[str, DType] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
DEEPEST = 10_000  # layers; a config may state any number, and each one takes memory


def dense_decoder(
    config: Config,
    *,
    gguf: GgufNaming,
    context_length: int,
    qkv_bias: bool = False,
    output_bias: bool = False,
    qk_norm: Literal["head", "whole"] | None = None,
    mlp_bias: bool = False,
    head_dim: int | None = None,
) -> Decoder:
    """A Decoder whose layers are all alike. Raises DamagedInput or Unsupported naming the key."""
    config.require("hidden_act", ("silu",), "silu")
    width, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    kv_heads = config.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise DamagedInput(
            f"{config.path}: {heads} attention heads, {kv_heads} key/value heads",
            "num_attention_heads must be a multiple of num_key_value_heads",
        )
    if head_dim is None:
        if width % heads:
            raise DamagedInput(
                f"{config.path}: hidden_size {width} over {heads} heads is not whole",
                "give head_dim, or a hidden_size that the heads divide",
            )
        head_dim = width // heads
    attention = Attention(
        heads, kv_heads, head_dim, rope(config, head_dim), qkv_bias, output_bias, qk_norm
    )
    layer = Layer(attention, FeedForward(config.integer("intermediate_size"), mlp_bias))
    depth = config.integer("num_hidden_layers")
    if depth > DEEPEST:
        raise DamagedInput(
            f"{config.path}: num_hidden_layers is {depth}", f"it must be at most {DEEPEST}"
        )
    layers = (layer,) * depth
    vocabulary, tied = config.integer("vocab_size"), config.flag("tie_word_embeddings")
    return Decoder(
        vocabulary=vocabulary,
        width=width,
        context_length=context_length,
        layers=layers,
        norm_epsilon=config.number("rms_norm_eps", 1e-6),
        tied_embeddings=tied,
        weights=tuple(_weights(vocabulary, width, layers, tied)),
        gguf=gguf,
        dtype=dtype(config),
    )


def dtype(config: Config) -> DType:
    """`dtype` (transformers 5) or `torch_dtype`; without either, transformers takes float32."""
    name = config.text("dtype", config.text("torch_dtype", "float32"))
    if name not in DTYPES:
        raise Unsupported(f"{config.path}: dtype is {name!r}", f"supported: {', '.join(DTYPES)}")
    return DTYPES[name]


def rope(config: Config, head_dim: int) -> Rope:
    """Rotary facts from `rope_parameters` (transformers 5) or `rope_theta` + `rope_scaling`."""
    scaling = config.section("rope_parameters")
    if not scaling.values:
        scaling = config.section("rope_scaling")
    if any(isinstance(value, dict) for value in scaling.values.values()):
        raise Unsupported(
            f"{config.path}: rotary embedding differs by kind of layer",
            "supported: one rotary embedding for all layers",
        )
    partial = scaling.number("partial_rotary_factor", config.number("partial_rotary_factor", 1.0))
    if partial != 1:
        raise Unsupported(
            f"{config.path}: partial_rotary_factor is {partial}",
            "supported: 1, whole heads rotated",
        )
    if head_dim % 2:
        raise DamagedInput(f"{config.path}: head size {head_dim} is odd", "rotated pairs need two")
    base = scaling.number("rope_theta", config.number("rope_theta", 10000.0))
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    return Rope(base, head_dim, _rope_scaling(scaling, kind))


def _rope_scaling(scaling: Config, kind: str) -> RopeScaling | None:
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", scaling.number("factor"))
    if kind == "llama3":
        return RopeScaling(
            "llama3",
            scaling.number("factor"),
            scaling.integer("original_max_position_embeddings"),
            scaling.number("low_freq_factor"),
            scaling.number("high_freq_factor"),
        )
    raise Unsupported(
        f"{scaling.path}: rotary scaling {kind!r}", "supported: default, linear, llama3"
    )


def attended_context(config: Config, *, windowed: bool) -> int:
    """Positions over which full attention equals this model's.

    llama.cpp runs these families with full attention, so a sliding window is honest only as far
    as it reaches: a windowed model is declared for contexts up to its window.
    """
    context = config.integer("max_position_embeddings")
    return min(context, config.integer("sliding_window", context)) if windowed else context


def _weights(
    vocabulary: int, width: int, layers: tuple[Layer, ...], tied: bool
) -> Iterator[Weight]:
    yield Weight("token_embd.weight", None, (vocabulary, width), "model.embed_tokens.weight")
    for index, layer in enumerate(layers):
        yield from _layer_weights(index, layer, width)
    yield Weight("output_norm.weight", None, (width,), "model.norm.weight")
    rotary = layers[0].attention.rope
    if rotary.scaling and rotary.scaling.kind == "llama3":
        yield Weight("rope_freqs.weight", None, (rotary.dimensions // 2,), None)
    if not tied:
        yield Weight("output.weight", None, (vocabulary, width), "lm_head.weight")


def _layer_weights(index: int, layer: Layer, width: int) -> Iterator[Weight]:
    attention, inner = layer.attention, layer.feed_forward.width

    def weight(role: str, source: str, *shape: int) -> Weight:
        return Weight(role, index, shape, f"model.layers.{index}.{source}")

    yield weight("attn_norm.weight", "input_layernorm.weight", width)
    for role, source, rows in (
        ("attn_q", "q_proj", attention.q_width),
        ("attn_k", "k_proj", attention.kv_width),
        ("attn_v", "v_proj", attention.kv_width),
    ):
        yield weight(f"{role}.weight", f"self_attn.{source}.weight", rows, width)
        if attention.qkv_bias:
            yield weight(f"{role}.bias", f"self_attn.{source}.bias", rows)
    if attention.qk_norm:
        yield weight("attn_q_norm.weight", "self_attn.q_norm.weight", attention.head_dim)
        yield weight("attn_k_norm.weight", "self_attn.k_norm.weight", attention.head_dim)
    yield weight("attn_output.weight", "self_attn.o_proj.weight", width, attention.q_width)
    if attention.output_bias:
        yield weight("attn_output.bias", "self_attn.o_proj.bias", width)
    yield weight("ffn_norm.weight", "post_attention_layernorm.weight", width)
    for role, source, rows, columns in (
        ("ffn_gate", "gate_proj", inner, width),
        ("ffn_up", "up_proj", inner, width),
        ("ffn_down", "down_proj", width, inner),
    ):
        yield weight(f"{role}.weight", f"mlp.{source}.weight", rows, columns)
        if layer.feed_forward.bias:
            yield weight(f"{role}.bias", f"mlp.{source}.bias", rows)
