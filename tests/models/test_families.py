"""config.json -> Decoder: what is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepack.errors import DamagedInput, EdgepackError, Missing, Unsupported
from edgepack.models import families, read_decoder
from edgepack.models.config import Config
from edgepack.models.decoder import Rope, RopeScaling
from edgepack.models.rope import frequencies, frequency_divisors

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@pytest.fixture
def decoder(builder, tmp_path):
    """The Decoder of a tiny config with changes; None leaves a key out."""

    def make(family="llama", **changes):
        return families.decoder(Config(tmp_path / "config.json", builder.config(family, **changes)))

    return make


def test_the_known_families():
    assert set(FAMILIES) < set(families.known())
    assert families.naming("gpt-oss").architecture == "gpt-oss"


@pytest.mark.parametrize("family", FAMILIES)
def test_names_shapes_and_parameters_are_the_checkpoints(decoder, builder, family):
    made = decoder(family)
    stored = builder.weights(builder.config(family))
    assert {w.source: w.shape for w in made.weights if w.source} == {
        name: tensor.shape for name, tensor in stored.items()
    }
    computed = sum(w.elements for w in made.weights if w.source is None)
    assert made.parameters == sum(t.size for t in stored.values())
    computed = sum(w.elements for w in made.weights if w.source is None)
    assert computed == (4 if family == "llama" else 0)  # one divisor a rotated pair


def test_what_tells_the_families_apart(decoder):
    made = {family: decoder(family) for family in FAMILIES}
    attention = {family: made[family].layers[0].attention for family in FAMILIES}
    assert [made[f].gguf.architecture for f in FAMILIES] == ["llama", "llama", "qwen2", "qwen3"]
    assert [made[f].gguf.interleaved_rope for f in FAMILIES] == [True, True, False, False]
    assert [attention[f].qkv_bias for f in FAMILIES] == [False, False, True, False]
    assert [attention[f].qk_norm for f in FAMILIES] == [None, None, None, "head"]
    assert [attention[f].head_dim for f in FAMILIES] == [8, 16, 8, 16]
    assert attention["mistral"].q_width == 64
    assert attention["mistral"].kv_width == 32
    assert [made[f].tied_embeddings for f in FAMILIES] == [False, False, True, False]


def test_llama_3_1_8b(tmp_path):
    """The published shape: 8,030,261,248 parameters."""
    values = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "max_position_embeddings": 131072,
    }  # fmt: skip
    assert families.decoder(Config(tmp_path, values)).parameters == 8_030_261_248


def test_qwen2_5_0_5b(tmp_path):
    """The published shape, tied: 494,032,768 parameters."""
    values = {
        "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "vocab_size": 151936, "max_position_embeddings": 32768, "tie_word_embeddings": True,
    }  # fmt: skip
    assert families.decoder(Config(tmp_path, values)).parameters == 494_032_768


def test_an_unknown_family_is_told_the_known_ones(decoder):
    with pytest.raises(Unsupported) as caught:
        decoder("llama", model_type="mamba2")
    assert "'mamba2'" in caught.value.message
    assert all(family in caught.value.hint for family in FAMILIES)


@pytest.mark.parametrize("name", ["dense", "layout", "../qwen2", "__init__", "os", ""])
def test_a_family_is_found_by_listing_not_by_importing(decoder, name):
    with pytest.raises(Unsupported, match="does not know"):
        decoder("llama", model_type=name)


def test_a_quantized_source_is_refused(decoder):
    quantized = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    with pytest.raises(Unsupported, match=r"already quantized \(gptq\)"):
        families.check_precision(Config(Path("config.json"), quantized))
    assert decoder("llama", **quantized) == decoder("llama")  # what it was quantized from


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": -32}, "hidden_size is -32"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": 32.0}, "hidden_size is 32.0"),
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"vocab_size": 2**40}, "vocab_size is"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'"),
        ({"num_key_value_heads": 3}, "4 attention heads, 3 key/value heads"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5}, "32 over 5 heads"),
        ({"head_dim": 7}, "head size 7"),
        ({"rope_theta": -1}, "rope_theta is -1"),
        ({"rope_scaling": [1]}, "rope_scaling is [1]"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor is missing"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "original_max_position"),
        ({"rope_scaling": {"rope_type": 3}}, "rope_type is 3"),
    ],
)
def test_impossible_values_name_the_key(decoder, tmp_path, changes, said):
    with pytest.raises(DamagedInput) as caught:
        decoder("llama", **changes)
    assert said in caught.value.message
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "rotary scaling 'dynamic'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "by kind of layer"),
    ],
)
def test_variants_that_would_run_wrongly_are_refused(decoder, changes, said):
    with pytest.raises(Unsupported) as caught:
        decoder("llama", **changes)
    assert said in caught.value.message


def test_rotary_facts_in_both_layouts(decoder, builder):
    def rope(**changes):
        return (
            decoder("llama", **{"rope_theta": None, "rope_scaling": None} | changes)
            .layers[0]
            .attention.rope
        )

    new = {"rope_type": "linear", "factor": 2.0, "rope_theta": 7000.0}
    assert rope(rope_parameters=new) == Rope(7000.0, 8, RopeScaling("linear", 2.0))
    old = {"type": "linear", "factor": 2}
    assert rope(rope_theta=7000, rope_scaling=old) == Rope(7000.0, 8, RopeScaling("linear", 2.0))
    assert rope() == Rope(10000.0, 8)
    assert rope(rope_theta=5e5, rope_parameters={"rope_type": "default"}) == Rope(5e5, 8)
    llama3 = rope(rope_theta=500.0, rope_scaling=builder.LLAMA3_SCALING)
    assert llama3.scaling == RopeScaling("llama3", 8.0, 64, 1.0, 4.0)
    assert rope(rope_parameters=builder.LLAMA3_SCALING | {"rope_theta": 500.0}) == llama3


def test_linear_scaling_divides_every_frequency():
    plain, scaled = Rope(10000.0, 8), Rope(10000.0, 8, RopeScaling("linear", 4.0))
    np.testing.assert_allclose(frequencies(plain), [1, 0.1, 0.01, 0.001], rtol=1e-6)
    np.testing.assert_allclose(frequencies(scaled), [0.25, 0.025, 0.0025, 0.00025], rtol=1e-6)


def test_llama3_scaling_by_hand():
    """Context 8192: wavelengths below 2048 are kept, above 8192 stretched by 8.

    Base 10,000 over 8 dimensions has wavelengths of 2 pi times 1, 10, 100, 1000. 6283 lies
    between the two: 8192 / 6283.19 = 1.303797 turns, so kept = .303797 / 3 = .1012656 and the
    frequency is multiplied by .8987344 / 8 + .1012656 = .2136074.
    """
    divisors = frequency_divisors(Rope(1e4, 8, RopeScaling("llama3", 8.0, 8192, 1.0, 4.0)))
    np.testing.assert_allclose(divisors, [1, 1, 1, 1 / 0.2136074], rtol=1e-5)
    far = frequency_divisors(Rope(1e8, 8, RopeScaling("llama3", 8.0, 8192, 1.0, 4.0)))
    np.testing.assert_allclose(far[[0, 1, 3]], [1, 1, 8], rtol=1e-6)


def test_a_window_limits_the_context_only_where_it_is_used(decoder):
    assert decoder("mistral").context_length == 512
    assert decoder("mistral", sliding_window=128).context_length == 128
    assert decoder("mistral", sliding_window=4096).context_length == 512
    assert decoder("qwen2", sliding_window=128).context_length == 512
    assert decoder("qwen2", sliding_window=128, use_sliding_window=True).context_length == 128
    assert decoder("qwen3", sliding_window=128, use_sliding_window=True).context_length == 128


def test_biases_are_read_where_a_family_has_them(decoder):
    roles = {w.role for w in decoder("llama", attention_bias=True, mlp_bias=True).weights}
    assert {"attn_q.bias", "attn_output.bias", "ffn_gate.bias", "ffn_down.bias"} <= roles
    assert "attn_output.bias" in {w.role for w in decoder("qwen3", attention_bias=True).weights}
    assert "attn_output.bias" not in {w.role for w in decoder("qwen2").weights}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"', "[" * 100_000, "\ufeff{}"])
def test_a_config_that_is_not_an_object(tmp_path, text):
    (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(DamagedInput, match=r"config\.json"):
        read_decoder(str(tmp_path))


def test_a_config_that_is_not_there(tmp_path):
    with pytest.raises(Missing, match=r"no such file"):
        Config.read(tmp_path / "config.json")


def test_nothing_but_our_errors_for_odd_values(decoder, builder):
    odd = (None, True, -1, 0, 1, 3, 2.5, float("nan"), "", "x", [], {}, [1], {"a": 1}, 10**400)
    for key in {*builder.config("llama"), "rope_parameters", "head_dim", "quantization_config"}:
        for value in odd:
            try:
                decoder("llama", **{key: value})
            except EdgepackError:
                continue
