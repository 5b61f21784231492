"""Keys of published GGUFs, by what their headers say, from the catalogue's Decoders."""

import pytest

from edgepack.formats.gguf.hyperparameters import hyperparameters
from edgepack.models import catalogue

PUBLISHED = {
    "gemma-3-4b": {
        "gemma3.attention.key_length": 256,
        "gemma3.attention.sliding_window": 1024,
        "gemma3.attention.layer_norm_rms_epsilon": 1e-6,
        "gemma3.rope.freq_base": 1_000_000.0,
        "gemma3.rope.freq_base_swa": 10_000.0,
        "gemma3.rope.scaling.type": "linear",
        "gemma3.rope.scaling.factor": 8.0,
        "gemma3.feed_forward_length": 10240,
    },
    "deepseek-v3": {
        "deepseek2.attention.head_count": 128,
        "deepseek2.attention.head_count_kv": 1,
        "deepseek2.attention.key_length": 576,
        "deepseek2.attention.value_length": 512,
        "deepseek2.attention.key_length_mla": 192,
        "deepseek2.attention.value_length_mla": 128,
        "deepseek2.attention.kv_lora_rank": 512,
        "deepseek2.attention.q_lora_rank": 1536,
        "deepseek2.feed_forward_length": 18432,
        "deepseek2.expert_feed_forward_length": 2048,
        "deepseek2.expert_count": 256,
        "deepseek2.expert_used_count": 8,
        "deepseek2.expert_shared_count": 1,
        "deepseek2.expert_weights_scale": 2.5,
        "deepseek2.expert_weights_norm": True,
        "deepseek2.expert_gating_func": 2,
        "deepseek2.leading_dense_block_count": 3,
        "deepseek2.rope.dimension_count": 64,
        "deepseek2.rope.scaling.type": "yarn",
        "deepseek2.rope.scaling.factor": 40.0,
        "deepseek2.rope.scaling.original_context_length": 4096,
        "deepseek2.rope.scaling.yarn_log_multiplier": 0.1,
    },
    "gpt-oss-20b": {
        "gpt-oss.attention.sliding_window": 128,
        "gpt-oss.attention.key_length": 64,
        "gpt-oss.expert_count": 32,
        "gpt-oss.expert_used_count": 4,
        "gpt-oss.expert_feed_forward_length": 2880,
        "gpt-oss.rope.freq_base": 150_000.0,
        "gpt-oss.rope.scaling.factor": 32.0,
    },
    "granite-3.3-2b": {
        "granite.attention.scale": 0.015625,
        "granite.embedding_scale": 12.0,
        "granite.residual_scale": 0.22,
        "granite.logit_scale": 8.0,
    },
    "granite-4.0-h-micro": {
        "granitehybrid.ssm.conv_kernel": 4,
        "granitehybrid.ssm.inner_size": 4096,
        "granitehybrid.ssm.state_size": 128,
        "granitehybrid.ssm.time_step_rank": 64,
        "granitehybrid.ssm.group_count": 1,
        "granitehybrid.rope.scaling.finetuned": False,
        "granitehybrid.attention.head_count_kv": tuple(
            8 if index in (5, 15, 25, 35) else 0 for index in range(40)
        ),
    },
    "lfm2-1.2b": {
        "lfm2.shortconv.l_cache": 3,
        "lfm2.feed_forward_length": 8192,
        "lfm2.attention.head_count_kv": tuple(
            8 if index in (2, 5, 8, 10, 12, 14) else 0 for index in range(16)
        ),
    },
    "qwen3-next-80b-a3b": {
        "qwen3next.full_attention_interval": 4,
        "qwen3next.attention.head_count_kv": 2,
        "qwen3next.ssm.group_count": 16,
        "qwen3next.ssm.time_step_rank": 32,
        "qwen3next.ssm.state_size": 128,
        "qwen3next.expert_shared_feed_forward_length": 512,
        "qwen3next.rope.dimension_count": 64,
    },
    "phi-2": {
        "phi2.attention.layer_norm_epsilon": 1e-5,
        "phi2.rope.dimension_count": 32,
    },
    "llama-4-scout": {
        "llama4.interleave_moe_layer_step": 1,
        "llama4.expert_feed_forward_length": 8192,
        "llama4.expert_count": 16,
    },
    "gemma-3n-e2b": {"gemma3n.attention.shared_kv_layers": 10},
    "mixtral-8x7b": {"llama.feed_forward_length": 14336, "llama.expert_count": 8},
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_keys_are_those_of_published_files(model):
    found = dict(hyperparameters(catalogue.entry(model).decoder))
    for key, value in PUBLISHED[model].items():
        if isinstance(value, float):
            assert found[key] == pytest.approx(value, rel=1e-6), key
        else:
            assert found[key] == value, key


def test_a_period_is_one_number_and_anything_else_a_list():
    made = dict(hyperparameters(catalogue.entry("gemma-3-4b").decoder))
    assert made["gemma3.attention.sliding_window_pattern"] == 6
    assert "llama.attention.sliding_window" not in dict(
        hyperparameters(catalogue.entry("llama-3.1-8b").decoder)
    )
