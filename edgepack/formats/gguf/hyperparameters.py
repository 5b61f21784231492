"""The keys by which llama.cpp builds a graph, from the facts of a Decoder.

Names: ggml's docs/gguf.md and llama.cpp's src/llama-arch.cpp; what each loader asks for:
src/models. All that the Decoder says is written; a loader takes what it knows. What it needs and
the facts do not decide is in `Decoder.gguf`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import log, sqrt

from edgepack.models.decoder import Attention, Decoder, Rope, RopeScaling

Hyperparameter = str | int | float | bool | tuple[int, ...]
Pairs = Iterator[tuple[str, Hyperparameter]]

GATING = {"softmax": 1, "sigmoid": 2, "softmax_chosen": 3}
"""llama.cpp's enum llama_expert_gating_func_type."""

YARN_GROWTH = 0.1
"""Attention grows by this much times the logarithm of the factor (Peng et al. 2023, eq. 22)."""


def hyperparameters(decoder: Decoder) -> Pairs:
    """Every key under the architecture's name, with its value; order is of no meaning."""
    parts = (
        _sizes, _heads, _norm, _windows, _rotary, _latent, _experts, _recurrence, _multipliers,
    )  # fmt: skip
    for key, value in chain.from_iterable(part(decoder) for part in parts):
        yield f"{decoder.gguf.architecture}.{key}", value


def _sizes(decoder: Decoder) -> Pairs:
    yield "vocab_size", decoder.vocabulary
    yield "context_length", decoder.context_length
    yield "embedding_length", decoder.width
    yield "block_count", len(decoder.layers)
    yield "feed_forward_length", _feed_forward(decoder)


def _feed_forward(decoder: Decoder) -> int | tuple[int, ...]:
    """Inner widths of the layers without experts; where all have them, that of one expert."""
    forwards = [layer.feed_forward for layer in decoder.layers]
    dense = [forward.width for forward in forwards if not forward.experts]
    if len(dense) == len(forwards):
        return _once(dense)
    if dense:
        return dense[0]
    return next(forward.experts.width for forward in forwards if forward.experts)


def _heads(decoder: Decoder) -> Pairs:
    attentions = _attentions(decoder)
    first = attentions[0]
    yield "attention.head_count", _once([attention.heads for attention in attentions])
    yield "attention.head_count_kv", _kv_heads(decoder)
    latent = first.latent
    rotated = first.rope.dimensions
    yield "attention.key_length", latent.kv_rank + rotated if latent else first.head_dim
    yield "attention.value_length", latent.kv_rank if latent else first.head_dim
    sharing = sum(not attention.owns_cache for attention in attentions)
    if sharing:
        yield "attention.shared_kv_layers", sharing
    if first.scale is not None:
        yield "attention.scale", first.scale
    if first.softcap is not None:
        yield "attn_logit_softcapping", first.softcap


def _kv_heads(decoder: Decoder) -> int | tuple[int, ...]:
    """A layer without attention has none, unless an interval says which layers those are."""
    attentions = _attentions(decoder)
    if attentions[0].latent:
        return 1  # all heads read the one vector
    if len(attentions) == len(decoder.layers) or decoder.attention_interval:
        return _once([attention.kv_heads for attention in attentions])
    return tuple(layer.attention.kv_heads for layer in decoder.layers)


def _norm(decoder: Decoder) -> Pairs:
    kind = "layer_norm" if decoder.norm == "layer" else "layer_norm_rms"
    yield f"attention.{kind}_epsilon", decoder.norm_epsilon
    if decoder.parallel:
        yield "use_parallel_residual", True


def _windows(decoder: Decoder) -> Pairs:
    """The period is that of layers without a window, the last of each period."""
    windows = [layer.attention.window for layer in decoder.layers]
    window = next(filter(None, windows), None)
    if window is None:
        return
    yield "attention.sliding_window", window
    windowed = [bool(each) for each in windows]
    period = windowed.index(False) + 1 if False in windowed else 0
    if windowed == [not period or index % period < period - 1 for index in range(len(windows))]:
        yield "attention.sliding_window_pattern", period
    else:
        yield "attention.sliding_window_pattern", tuple(windowed)


def _rotary(decoder: Decoder) -> Pairs:
    ropes = [attention.rope for attention in _attentions(decoder)]
    rope = _first(decoder, lambda attention: attention.window is None) or ropes[0]
    yield "rope.freq_base", rope.base
    yield "rope.dimension_count", rope.dimensions
    if not any(each.dimensions for each in ropes):
        yield "rope.scaling.finetuned", False  # how a loader is told to rotate nothing
    if rope.scaling:
        yield from _scaling(rope, rope.scaling)
    near = _first(decoder, lambda attention: attention.window is not None)
    if near and near is not rope:
        yield "rope.freq_base_swa", near.base


def _first(decoder: Decoder, wanted: Callable[[Attention], bool]) -> Rope | None:
    """The first rotary embedding of a wanted layer that rotates anything."""
    found = (a.rope for a in _attentions(decoder) if a.rope.dimensions and wanted(a))
    return next(found, None)


def _scaling(rope: Rope, scaling: RopeScaling) -> Pairs:
    """llama3's is in a tensor, `rope_freqs`; longrope's, too, but for its attention factor."""
    if scaling.kind == "llama3":
        return
    yield "rope.scaling.type", scaling.kind
    yield "rope.scaling.factor", scaling.factor
    if scaling.original_context:
        yield "rope.scaling.original_context_length", scaling.original_context
    if scaling.kind == "longrope":
        yield "rope.scaling.attn_factor", scaling.attention_factor
    if scaling.kind == "yarn":
        yield "rope.scaling.yarn_beta_fast", scaling.beta_fast
        yield "rope.scaling.yarn_beta_slow", scaling.beta_slow


def _latent(decoder: Decoder) -> Pairs:
    attention = _attentions(decoder)[0]
    latent, scaling = attention.latent, attention.rope.scaling
    if latent is None:
        return
    if latent.query_rank is not None:
        yield "attention.q_lora_rank", latent.query_rank
    yield "attention.kv_lora_rank", latent.kv_rank
    yield "attention.key_length_mla", attention.head_dim
    yield "attention.value_length_mla", latent.value_dim
    if attention.scale is not None and scaling and scaling.kind == "yarn":
        # scores are multiplied by m * m / sqrt(head), m = 1 + multiplier * log(factor)
        growth = sqrt(attention.scale * sqrt(attention.head_dim))
        yield "rope.scaling.yarn_log_multiplier", (growth - 1) / log(scaling.factor)


def _experts(decoder: Decoder) -> Pairs:
    with_experts = [i for i, layer in enumerate(decoder.layers) if layer.feed_forward.experts]
    if not with_experts:
        return
    forward = decoder.layers[with_experts[0]].feed_forward
    experts, shared = forward.experts, forward.width
    assert experts is not None
    yield "expert_count", experts.count
    yield "expert_used_count", experts.used
    yield "expert_feed_forward_length", experts.width
    if shared:
        yield "expert_shared_feed_forward_length", shared
        yield "expert_shared_count", max(1, shared // experts.width)
    yield "expert_gating_func", GATING[experts.router]
    yield "expert_weights_norm", experts.normalised
    yield "expert_weights_scale", experts.scale
    if experts.groups > 1:
        yield "expert_group_count", experts.groups
        yield "expert_group_used_count", experts.groups_used
    step = with_experts[1] - with_experts[0] if len(with_experts) > 1 else 1
    yield "interleave_moe_layer_step", step
    yield "leading_dense_block_count", with_experts[0] if step == 1 else 0


def _recurrence(decoder: Decoder) -> Pairs:
    recurrent = [layer.recurrence for layer in decoder.layers if layer.recurrence]
    if not recurrent:
        return
    first = recurrent[0]
    channels, kernel = _shape(decoder, "shortconv.conv.weight", "ssm_conv1d.weight")
    if first.kind == "short_convolution":
        yield "shortconv.l_cache", kernel
        return
    size = first.state // first.inner
    yield "ssm.conv_kernel", kernel
    yield "ssm.inner_size", first.inner
    yield "ssm.state_size", size
    yield "ssm.time_step_rank", _shape(decoder, "ssm_dt.weight", "ssm_dt.bias")[-1]
    yield "ssm.group_count", (channels - first.inner) // (2 * size)
    if decoder.attention_interval:
        yield "full_attention_interval", decoder.attention_interval


def _multipliers(decoder: Decoder) -> Pairs:
    if decoder.embedding_scale != 1:
        yield "embedding_scale", decoder.embedding_scale
    if decoder.residual_scale != 1:
        yield "residual_scale", decoder.residual_scale
    if decoder.logit_scale != 1:
        divided = decoder.gguf.divided_logits
        yield "logit_scale", 1 / decoder.logit_scale if divided else decoder.logit_scale
    if decoder.logit_softcap is not None:
        yield "final_logit_softcapping", decoder.logit_softcap


def _attentions(decoder: Decoder) -> list[Attention]:
    """Of the layers that have one."""
    return [layer.attention for layer in decoder.layers if layer.attention.heads]


def _shape(decoder: Decoder, *roles: str) -> tuple[int, ...]:
    """Of the first weight with one of these roles."""
    return next(weight.shape for role in roles for weight in decoder.weights if weight.role == role)


def _once(values: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)
