"""What families refuse: keys that they do not know, and numbers that do not fit together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepack.errors import DamagedInput, EdgepackError, Unsupported
from edgepack.models import families
from edgepack.models.config import Config

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "golden" / "families.json").read_text("utf-8")
)


def decoder(family, **changes):
    """The Decoder of the tiny config of `family` with changes; None leaves a key out."""
    values = GOLDEN[family]["config"] | changes
    kept = {key: value for key, value in values.items() if value is not None}
    return families.decoder(Config(Path("config.json"), kept))


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("llama", {"sliding_window": 16}, "sliding_window is 16"),
        ("llama", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        ("llama", {"num_experts": 8}, "num_experts is 8"),
        ("llama", {"kv_lora_rank": 512}, "kv_lora_rank is 512"),
        ("llama", {"layer_types": ["sliding_attention"] * 4}, "layer_types is"),
        ("llama", {"alibi": True}, "alibi is True"),
        ("qwen2", {"layer_types": ["sliding_attention"] * 4}, "layer_types is"),
        ("qwen3", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ("qwen3", {"rope_scaling": {"mrope_section": [1, 2]}}, "mrope_section"),
        ("mistral", {"layer_types": ["linear_attention"] * 4}, "'linear_attention'"),
        ("mixtral", {"num_shared_experts": 0, "n_shared_experts": 2}, "n_shared_experts is 2"),
        ("phi", {"qk_layernorm": True}, "qk_layernorm is True"),
        ("phi", {"hidden_act": "mish"}, "hidden_act is 'mish'"),
        ("phi3", {"attention_bias": True}, "attention_bias is True"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gpt_oss", {"swiglu_limit": 5.0}, "swiglu_limit is 5.0"),
        ("deepseek_v2", {"topk_method": "noaux_tc"}, "topk_method is 'noaux_tc'"),
        ("deepseek_v2", {"moe_layer_freq": 2}, "moe_layer_freq is 2"),
        ("deepseek_v3", {"scoring_func": "softmax"}, "scoring_func is 'softmax'"),
        ("deepseek_v3", {"index_topk": 2048}, "index_topk is 2048"),
        ("granitemoe", {"position_embedding_type": "alibi"}, "'alibi'"),
        ("granitemoehybrid", {"mamba_conv_bias": False}, "mamba_conv_bias is False"),
        ("qwen3_next", {"linear_value_head_dim": 4}, "linear_value_head_dim is 4"),
        ("lfm2", {"conv_bias": True}, "conv_bias is True"),
        ("lfm2", {"tie_embedding": False}, "tie_embedding is False"),
        ("cohere2", {"use_qk_norm": True}, "use_qk_norm is True"),
        ("gemma3n_text", {"altup_correct_scale": False}, "altup_correct_scale is False"),
    ],
)
def test_what_a_family_does_not_know_is_refused_by_name(family, changes, said):
    with pytest.raises(Unsupported) as caught:
        decoder(family, **changes)
    assert said in caught.value.message


def test_what_is_off_is_not_refused():
    made = decoder("llama", sliding_window=None, kv_lora_rank=0, alibi=False, n_group=None)
    assert made == decoder("llama")
    assert decoder("qwen2", use_sliding_window=False, sliding_window=64).context_length == 256


def test_a_text_part_is_read_whole_too():
    text = GOLDEN["gemma3"]["config"]["text_config"] | {"kv_lora_rank": 4}
    with pytest.raises(Unsupported, match="kv_lora_rank is 4"):
        decoder("gemma3", text_config=text)


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types"),
        ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers has 1 elements"),
        ("qwen3_moe", {"mlp_only_layers": ["x"]}, "mlp_only_layers"),
        ("mixtral", {"num_local_experts": 10**6}, "num_local_experts is 1000000"),
        ("gemma3n_text", {"intermediate_size": [48]}, "intermediate_size is [48]"),
        ("granitemoehybrid", {"mamba_n_heads": 7}, "mamba_n_heads x mamba_d_head is 56"),
        ("gemma3n_text", {"num_kv_shared_layers": 4}, "num_kv_shared_layers is 4"),
        ("phi", {"partial_rotary_factor": 0.01}, "0 rotated elements"),
    ],
)
def test_what_does_not_fit_together_is_damaged(family, changes, said):
    with pytest.raises(DamagedInput) as caught:
        decoder(family, **changes)
    assert said in caught.value.message


@pytest.mark.parametrize("family", sorted(GOLDEN))
def test_odd_values_meet_nothing_but_our_errors(family):
    odd = (None, True, -1, 0, 1, 3, 2.5, float("nan"), "", "x", [], {}, [1], {"a": 1}, 10**400)
    config = GOLDEN[family]["config"]
    for key in {*config, "rope_parameters", "layer_types", "head_dim", "text_config"}:
        for value in odd:
            try:
                decoder(family, **{key: value})
            except EdgepackError:
                continue
