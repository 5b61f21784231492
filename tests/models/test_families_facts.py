"""What each family says beyond its tensors: windows, chunks, states, routers, multipliers."""

from __future__ import annotations

import json
from collections import Counter
from math import isclose, log, sqrt
from pathlib import Path

import pytest

from edgepack.errors import DamagedInput
from edgepack.models import families, features
from edgepack.models.config import Config
from edgepack.models.decoder import Experts, Rope, RopeScaling

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "golden" / "families.json").read_text("utf-8")
)


def decoder(family, **changes):
    """The Decoder of the tiny config of `family` with changes; None leaves a key out."""
    values = GOLDEN[family]["config"] | changes
    kept = {key: value for key, value in values.items() if value is not None}
    return families.decoder(Config(Path("config.json"), kept))


def attentions(made):
    return [layer.attention for layer in made.layers]


def windows(made):
    return [attention.window for attention in attentions(made)]


def test_windows_alternate_as_each_family_has_them():
    assert windows(decoder("gemma2", layer_types=None)) == [16, None, 16, None]
    assert windows(decoder("gpt_oss", layer_types=None)) == [16, None, 16, None]
    assert windows(decoder("gemma3_text", layer_types=None)) == [16] * 5 + [None, 16]
    assert windows(decoder("cohere2", layer_types=None)) == [16] * 3 + [None]
    assert windows(decoder("olmo3", layer_types=None)) == [16] * 3 + [None]
    kinds = ["full_attention", "sliding_attention"] * 2
    for family in ("gemma2", "gpt_oss", "cohere2", "olmo3"):
        assert windows(decoder(family, layer_types=kinds)) == [None, 16, None, 16]


def test_a_period_of_its_own():
    made = decoder("gemma3_text", layer_types=None, _sliding_window_pattern=None)
    assert windows(made) == [16] * 5 + [None, 16]
    made = decoder("gemma3_text", layer_types=None, _sliding_window_pattern=2)
    assert windows(made) == [16, None, 16, None, 16, None, 16]


@pytest.mark.parametrize("family", ["mistral", "ministral", "phi3", "mixtral"])
def test_what_llama_cpp_runs_with_full_attention_reaches_as_far_as_its_window(family):
    made = decoder(family, sliding_window=100)
    assert made.context_length == 100
    assert set(windows(made)) == {None}


def test_gemma3_rotates_windows_by_a_base_of_their_own():
    scaled = {"rope_type": "linear", "factor": 8.0}
    made = decoder("gemma3_text", rope_scaling=scaled)
    assert attentions(made)[0].rope == Rope(10000.0, 16)
    assert attentions(made)[5].rope == Rope(1e6, 16, RopeScaling("linear", 8.0))
    by_kind = {
        "full_attention": scaled | {"rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    changes = {"rope_theta": None, "rope_local_base_freq": None, "rope_scaling": None}
    again = decoder("gemma3_text", rope_parameters=by_kind, **changes)
    assert again.layers == made.layers


def test_latent_attention_caches_one_vector_a_token():
    made = decoder("deepseek_v3")
    assert {(a.k_cached, a.v_cached) for a in attentions(made)} == {(16 + 4, 0)}
    assert [bool(layer.feed_forward.experts) for layer in made.layers] == [False, True, True, True]
    assert made.layers[0].feed_forward.width == 48
    assert made.layers[1].feed_forward.width == 2 * 20  # shared experts
    assert made.layers[1].feed_forward.experts == Experts(
        4, 2, 20, "sigmoid", scale=2.5, groups=2, groups_used=1
    )
    assert decoder("deepseek_v2").layers[1].feed_forward.experts == Experts(
        4, 2, 20, normalised=False, groups=2, groups_used=1
    )


def test_what_experts_do_beyond_their_facts_has_a_name():
    assert decoder("deepseek_v3").beyond == {features.BIASED_CHOICE}
    assert decoder("qwen2_moe").beyond == {features.GATED_SHARED}
    for family in ("mixtral", "qwen3_moe", "deepseek_v2", "granitemoe", "gpt_oss"):
        assert not decoder(family).beyond


def test_yarn_with_mscale_moves_from_cosines_to_scores():
    """Of equal mscale and mscale_all_dim; 0.1 * 0.7 * ln(4) + 1 squared, over sqrt(12)."""
    attention = decoder("deepseek_v3").layers[0].attention
    assert attention.rope.neighbours
    assert attention.rope.scaling is not None
    assert attention.rope.scaling.attention_factor == 1.0
    assert attention.scale is not None
    assert isclose(attention.scale, (0.07 * log(4) + 1) ** 2 / sqrt(12))
    assert decoder("deepseek_v3", rope_scaling=None).layers[0].attention.scale is None


def test_yarn_in_both_spellings():
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    old = attentions(decoder("qwen3", rope_theta=1e6, rope_scaling=yarn))[0].rope
    new = {"rope_theta": None, "rope_scaling": None, "rope_parameters": yarn | {"rope_theta": 1e6}}
    assert attentions(decoder("qwen3", **new))[0].rope == old
    factor = 0.1 * log(4) + 1
    assert old == Rope(1e6, 16, RopeScaling("yarn", 4.0, 64, attention_factor=factor))
    assert not attentions(decoder("gpt_oss"))[0].rope.scaling.truncate
    stated = attentions(decoder("qwen3", rope_scaling=yarn | {"attention_factor": 1.5}))[0].rope
    assert stated.scaling.attention_factor == 1.5


def test_olmo3_stretches_full_layers_alone():
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    base = {"rope_theta": 5e5}
    made = decoder("olmo3", rope_scaling=yarn)
    scaled = [a.rope.scaling is not None for a in attentions(made)]
    assert scaled == [False, False, False, True]
    kinds = {"full_attention": yarn | base, "sliding_attention": {"rope_type": "default"} | base}
    again = decoder("olmo3", rope_scaling=None, rope_theta=None, rope_parameters=kinds)
    assert again.layers == made.layers


def test_longrope_has_a_divisor_for_each_rotated_pair():
    scaling = attentions(decoder("phi3"))[0].rope.scaling
    assert (scaling.kind, scaling.factor, scaling.original_context) == ("longrope", 4.0, 64)
    assert (scaling.short, scaling.long) == ((1.0, 2.0), (1.0, 4.0))
    assert isclose(scaling.attention_factor, sqrt(1 + log(4) / log(64)))
    roles = [weight.role for weight in decoder("phi3").weights if weight.source is None]
    assert roles == ["rope_factors_long.weight", "rope_factors_short.weight"]
    short = {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0, 4.0]}
    with pytest.raises(DamagedInput, match="short_factor has 1 elements"):
        decoder("phi3", rope_scaling=short)


def test_states_of_recurrent_layers():
    """As llama.cpp counts them: (taps - 1) x channels of convolution, and state x inner width."""
    made = decoder("granitemoehybrid")
    assert [bool(layer.recurrence) for layer in made.layers] == [True, True, False, True]
    mamba = made.layers[0].recurrence
    assert (mamba.inner, mamba.convolution, mamba.state) == (64, 3 * (64 + 2 * 2 * 6), 6 * 64)
    assert made.layers[0].attention.heads == 0
    delta = decoder("qwen3_next").layers[0].recurrence
    assert (delta.inner, delta.convolution, delta.state) == (32, 3 * (32 + 2 * 16), 8 * 32)
    short = decoder("lfm2").layers[0].recurrence
    assert (short.inner, short.convolution, short.state) == (32, 2 * 32, 0)


def test_gemma3n_layers_share_caches():
    made = decoder("gemma3n_text")
    assert [attention.owns_cache for attention in attentions(made)] == [True, True, False, False]
    assert sum(attention.k_cached for attention in attentions(made)) == 2 * 16
    assert features.STREAMS in features.features(made)


def test_llama4_chunks_rotate_and_the_fourth_does_not():
    made = decoder("llama4_text", layer_types=None, no_rope_layers=[])
    assert [(a.chunk, a.rope.dimensions) for a in attentions(made)] == [(16, 8)] * 3 + [(None, 0)]
    counts = [layer.feed_forward.experts is not None for layer in made.layers]
    assert counts == [False, True, False, True]
    assert {features.UNIT_HEADS, features.WEIGHED_INPUT} <= made.beyond
    assert features.UNIT_HEADS not in decoder("llama4_text", use_qk_norm=False).beyond


def test_smollm3_leaves_every_fourth_unrotated():
    dimensions = [a.rope.dimensions for a in attentions(decoder("smollm3", no_rope_layers=None))]
    assert dimensions == [8, 8, 8, 0]


def test_multipliers_and_caps():
    granite, gemma = decoder("granite"), decoder("gemma2")
    assert (granite.embedding_scale, granite.residual_scale) == (12.0, 0.22)
    assert granite.logit_scale == 1 / 8.0
    assert {a.scale for a in attentions(granite)} == {0.015}
    assert (gemma.embedding_scale, gemma.norm_offset) == (sqrt(32), 1.0)
    assert (gemma.logit_softcap, attentions(gemma)[0].softcap) == (30.0, 50.0)
    assert decoder("gemma2", final_logit_softcapping=None).logit_softcap is None


def test_where_norms_stand():
    places = Counter(decoder(f).norm_place for f in ("gemma2", "gemma3_text", "olmo2", "llama"))
    assert places == {"around": 2, "after": 1, "before": 1}
    assert [decoder(f).parallel for f in ("phi", "cohere2", "stablelm")] == [True, True, False]
    parallel = decoder("stablelm", use_parallel_residual=True)
    assert "ffn_norm.weight" not in {weight.role for weight in parallel.weights}


def test_a_granite_without_experts_has_a_plain_feed_forward():
    changes = {"num_local_experts": 0, "num_experts_per_tok": 0, "position_embedding_type": "rope"}
    made = decoder("granitemoehybrid", layer_types=["attention"] * 4, **changes)
    roles = {weight.role for weight in made.weights}
    assert {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"} <= roles
    assert not any("exp" in role or "ssm" in role for role in roles)
    assert {a.rope.dimensions for a in attentions(made)} == {8}
    assert made.gguf == families.naming("granite")
    mixed = decoder("granitemoehybrid", layer_types=["attention"] * 4)
    assert mixed.gguf == families.naming("granitemoe")


def test_ministral3_is_mistral_stretched():
    """The published Ministral 3's rotary section; transformers 4.57 does not have the family."""
    rotary = {
        "beta_fast": 32.0, "beta_slow": 1.0, "factor": 16.0, "llama_4_scaling_beta": 0.1,
        "max_position_embeddings": 256,
        "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 16384,
        "rope_theta": 1000000.0, "rope_type": "yarn", "type": "yarn",
    }  # fmt: skip
    changes = {"model_type": "ministral3", "rope_parameters": rotary, "sliding_window": None}
    made = decoder("mistral", rope_theta=None, **changes)
    assert made.gguf.architecture == "mistral3"
    assert made.beyond == {features.TEMPERATURE}
    expected = RopeScaling("yarn", 16.0, 16384, attention_factor=1.0)
    assert made.layers[0].attention.rope == Rope(1e6, 16, expected)
    text = GOLDEN["mistral3"]["config"]["text_config"] | changes | {"rope_theta": None}
    wrapped = decoder("mistral3", text_config=text)
    assert wrapped.layers == made.layers
    assert wrapped.weights[1].source == "language_model.model.layers.0.input_layernorm.weight"


def test_the_parts_of_a_model_share_its_type():
    assert decoder("gemma3", dtype="bfloat16").dtype == "BF16"
    assert decoder("gemma3", torch_dtype="float16").dtype == "F16"
