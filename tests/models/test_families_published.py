"""Parameters of released models, as the hub states them, from the keys of their config.json.

Where a release holds more than its text decoder (vision and audio towers, layers that predict a
further token), the figure is that of the decoder, and `BESIDE` has the rest of what the hub states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgepack.models import families
from edgepack.models.config import Config

WIDTHS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "vocab_size",
)  # fmt: skip


def of(model_type: str, *widths: int, **more: Any) -> dict[str, Any]:
    """A config of `WIDTHS`, in their order, and `more`."""
    values = dict(zip(WIDTHS, widths, strict=True))
    return {"model_type": model_type, "max_position_embeddings": 32768, **values, **more}


LATENT = {
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512,
}  # fmt: skip
GRANITE_ATTENTION = (5, 15, 25, 35)
LFM2_ATTENTION = [2, 5, 8, 10, 12, 14]

# fmt: off
PUBLISHED: dict[str, tuple[int, dict[str, Any]]] = {
    "Falcon3-7B-Base": (7_455_550_464, of("llama", 3072, 23040, 28, 12, 4, 131072, head_dim=256)),
    "Ministral-8B-Instruct-2410": (8_019_808_256, of("mistral", 4096, 12288, 36, 32, 8, 131072,
        head_dim=128, sliding_window=32768)),
    "Mixtral-8x7B-v0.1": (46_702_792_704, of("mixtral", 4096, 14336, 32, 32, 8, 32000,
        num_local_experts=8, num_experts_per_tok=2)),
    "Mixtral-8x22B-v0.1": (140_620_634_112, of("mixtral", 6144, 16384, 56, 48, 8, 32000,
        num_local_experts=8, num_experts_per_tok=2)),
    "Qwen1.5-MoE-A2.7B": (14_315_784_192, of("qwen2_moe", 2048, 5632, 24, 16, 16, 151936,
        num_experts=60, num_experts_per_tok=4, moe_intermediate_size=1408,
        shared_expert_intermediate_size=5632)),
    "Qwen2-57B-A14B": (57_408_658_944, of("qwen2_moe", 3584, 18944, 28, 28, 4, 151936,
        num_experts=64, num_experts_per_tok=8, moe_intermediate_size=2560,
        shared_expert_intermediate_size=20480)),
    "Qwen3-30B-A3B": (30_532_122_624, of("qwen3_moe", 2048, 6144, 48, 32, 4, 151936, head_dim=128,
        num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768)),
    "Qwen3-235B-A22B": (235_093_634_560, of("qwen3_moe", 4096, 12288, 94, 64, 4, 151936,
        head_dim=128, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=1536)),
    "gemma-2b": (2_506_172_416, of("gemma", 2048, 16384, 18, 8, 1, 256000, head_dim=256)),
    "gemma-7b": (8_537_680_896, of("gemma", 3072, 24576, 28, 16, 16, 256000, head_dim=256)),
    "gemma-2-2b": (2_614_341_888, of("gemma2", 2304, 9216, 26, 8, 4, 256000, head_dim=256)),
    "gemma-2-9b": (9_241_705_984, of("gemma2", 3584, 14336, 42, 16, 8, 256000, head_dim=256)),
    "gemma-2-27b": (27_227_128_320, of("gemma2", 4608, 36864, 46, 32, 16, 256000, head_dim=128)),
    "gemma-3-1b-pt": (999_885_952, of("gemma3_text", 1152, 6912, 26, 4, 1, 262144, head_dim=256)),
    "gemma-3-270m": (268_098_176, of("gemma3_text", 640, 2048, 18, 4, 1, 262144, head_dim=256)),
    "gemma-3-4b-pt": (3_880_263_168, {"model_type": "gemma3", "text_config": {"hidden_size": 2560,
        "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024, "model_type":
        "gemma3_text"}}),
    "phi-2": (2_779_683_840, of("phi", 2560, 10240, 32, 32, 32, 51200)),
    "Phi-3-mini-4k-instruct": (3_821_079_552, of("phi3", 3072, 8192, 32, 32, 32, 32064)),
    "Phi-4-mini-instruct": (3_836_021_760, of("phi3", 3072, 8192, 32, 24, 8, 200064,
        tie_word_embeddings=True, partial_rotary_factor=0.75)),
    "phi-4": (14_659_507_200, of("phi3", 5120, 17920, 40, 40, 10, 100352)),
    "gpt-oss-20b": (20_914_757_184, of("gpt_oss", 2880, 2880, 24, 64, 8, 201088, head_dim=64,
        num_local_experts=32)),
    "gpt-oss-120b": (116_829_156_672, of("gpt_oss", 2880, 2880, 36, 64, 8, 201088, head_dim=64,
        num_local_experts=128)),
    "DeepSeek-V2-Lite": (15_706_484_224, of("deepseek_v2", 2048, 10944, 27, 16, 16, 102400,
        q_lora_rank=None, moe_intermediate_size=1408, n_routed_experts=64, n_shared_experts=2,
        num_experts_per_tok=6, first_k_dense_replace=1, **LATENT)),
    "DeepSeek-V2": (235_741_434_880, of("deepseek_v2", 5120, 12288, 60, 128, 128, 102400,
        q_lora_rank=1536, moe_intermediate_size=1536, n_routed_experts=160, n_shared_experts=2,
        num_experts_per_tok=6, first_k_dense_replace=1, topk_method="group_limited_greedy",
        n_group=8, topk_group=3, **LATENT)),
    "DeepSeek-V3": (671_026_419_200, of("deepseek_v3", 7168, 18432, 61, 128, 128, 129280,
        q_lora_rank=1536, moe_intermediate_size=2048, n_routed_experts=256, n_shared_experts=1,
        num_experts_per_tok=8, first_k_dense_replace=3, **LATENT)),
    "SmolLM3-3B": (3_075_098_624, of("smollm3", 2048, 11008, 36, 16, 4, 128256)),
    "OLMo-2-1124-7B": (7_298_617_344, of("olmo2", 4096, 11008, 32, 32, 32, 100352)),
    "OLMo-2-0425-1B": (1_484_916_736, of("olmo2", 2048, 8192, 16, 16, 16, 100352)),
    "Olmo-3-1025-7B": (7_298_011_136, of("olmo3", 4096, 11008, 32, 32, 32, 100278)),
    "granite-3.1-2b-instruct": (2_533_531_648, of("granite", 2048, 8192, 40, 32, 8, 49155,
        tie_word_embeddings=True)),
    "granite-3.1-8b-instruct": (8_170_848_256, of("granite", 4096, 12800, 40, 32, 8, 49155,
        tie_word_embeddings=True)),
    "granite-3.1-1b-a400m": (1_334_628_352, of("granitemoe", 1024, 512, 24, 16, 8, 49155,
        tie_word_embeddings=True, num_local_experts=32, num_experts_per_tok=8)),
    "granite-3.1-3b-a800m": (3_298_793_472, of("granitemoe", 1536, 512, 32, 24, 8, 49155,
        tie_word_embeddings=True, num_local_experts=40, num_experts_per_tok=8)),
    "granite-4.0-h-tiny": (6_939_037_248, of("granitemoehybrid", 1536, 512, 40, 12, 4, 100352,
        tie_word_embeddings=True, num_local_experts=64, num_experts_per_tok=6,
        shared_intermediate_size=1024, mamba_n_heads=48, mamba_d_head=64, mamba_d_state=128,
        mamba_n_groups=1, layer_types=["attention" if index in GRANITE_ATTENTION else "mamba" for
        index in range(40)])),
    "stablelm-2-1_6b": (1_644_515_328, of("stablelm", 2048, 5632, 24, 32, 32, 100352,
        use_qkv_bias=True)),
    "stablelm-3b-4e1t": (2_795_443_200, of("stablelm", 2560, 6912, 32, 32, 32, 50304)),
    "Llama-4-Scout-17B-16E": (107_769_861_120, {"model_type": "llama4", "text_config":
        {"model_type": "llama4_text"}}),
    "Qwen3-Next-80B-A3B": (79_674_391_296, of("qwen3_next", 2048, 5120, 48, 16, 2, 151936,
        head_dim=256, num_experts=512, num_experts_per_tok=10, moe_intermediate_size=512,
        shared_expert_intermediate_size=512, linear_num_key_heads=16, linear_num_value_heads=32)),
    "LFM2-1.2B": (1_170_340_608, of("lfm2", 2048, 12288, 16, 32, 8, 65536,
        full_attn_idxs=LFM2_ATTENTION)),
    "LFM2-350M": (354_483_968, of("lfm2", 1024, 6656, 16, 16, 8, 65536,
        full_attn_idxs=LFM2_ATTENTION)),
    "c4ai-command-r7b-12-2024": (8_028_033_024, of("cohere2", 4096, 14336, 32, 32, 8, 256000)),
    "Minitron-4B-Base": (4_190_509_056, of("nemotron", 3072, 9216, 32, 24, 8, 256000,
        head_dim=128)),
    "ERNIE-4.5-0.3B": (360_748_032, of("ernie4_5", 1024, 3072, 18, 16, 2, 103424, head_dim=128)),
    "gemma-3n-E4B": (6_866_696_688, {"model_type": "gemma3n", "text_config": {"model_type":
        "gemma3n_text"}}),
    "gemma-3n-E2B": (4_456_156_768, {"model_type": "gemma3n", "text_config": {"model_type":
        "gemma3n_text", "num_hidden_layers": 30, "intermediate_size": 8192, "num_kv_shared_layers":
        10}}),
    "Mistral-Small-3.1-24B": (23_572_403_200, {"model_type": "mistral3", "text_config":
        {"model_type": "mistral", "hidden_size": 5120, "intermediate_size": 32768,
        "num_hidden_layers": 40, "head_dim": 128, "vocab_size": 131072}}),
}
# fmt: on

BESIDE = {  # model: what the hub counts in all, where that is known and more
    "gemma-3-4b-pt": 4_300_079_472,
    "gemma-3n-E4B": 7_849_978_192,
    "gemma-3n-E2B": 5_439_438_272,
}


def decoder(model):
    return families.decoder(Config(Path("config.json"), PUBLISHED[model][1]))


@pytest.mark.parametrize("model", PUBLISHED)
def test_parameters_are_those_published(model):
    assert decoder(model).parameters == PUBLISHED[model][0]


def test_what_else_a_release_holds_does_not_depend_on_its_decoder():
    towers = {model: total - decoder(model).parameters for model, total in BESIDE.items()}
    assert towers["gemma-3n-E4B"] == towers["gemma-3n-E2B"]  # the same vision and audio towers
    assert towers["gemma-3-4b-pt"] == 416_866_032 + 1152 * 2560 + 1152  # SigLIP and a projection
