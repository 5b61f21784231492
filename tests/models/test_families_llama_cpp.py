"""llama.cpp itself loads a GGUF of every family's tensors: names and shapes, none over or under.

The files are zeros under the least metadata that it asks for; it refuses a missing tensor, a wrong
shape and a tensor that it does not know. Config.json is of fixtures/golden/families.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgepack.models import families
from edgepack.models.config import Config

llama_cpp = pytest.importorskip("cyllama.llama.llama_cpp")
gguf = pytest.importorskip("gguf")

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "golden" / "families.json").read_text("utf-8")
)
UNIFORM = {"mlp_only_layers": [], "decoder_sparse_step": 1}  # it has no plain layer among experts
CHANGES = {
    "qwen2_moe": UNIFORM,
    "qwen3_moe": UNIFORM,
    "qwen3_next": UNIFORM,
    "deepseek_v2": {"num_hidden_layers": 27},  # by which it knows one without a query rank
    "gemma3n_text": {"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 64},
    "phi3": {"rope_scaling": None, "partial_rotary_factor": None},
}
VARIANTS = {
    "granite of the hybrid": ("granitemoehybrid", {
        "layer_types": ["attention"] * 4, "num_local_experts": 0, "num_experts_per_tok": 0,
    }),
    "hybrid without experts": ("granitemoehybrid", {
        "num_local_experts": 0, "num_experts_per_tok": 0,
    }),
    "parallel stablelm": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": False}),
    "ranked deepseek_v2": ("deepseek_v2", {"q_lora_rank": 12}),
    "stretched llama": ("llama", {"rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }}),
}  # fmt: skip
CASES = {family: (family, CHANGES.get(family, {})) for family in GOLDEN} | VARIANTS


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_loads_the_tensors(case, tmp_path):
    family, changes = CASES[case]
    config = GOLDEN[family]["config"] | changes
    config = {key: value for key, value in config.items() if value is not None}
    made = families.decoder(Config(Path("config.json"), config))
    path = tmp_path / "model.gguf"
    write(made, config.get("text_config", config), path)
    model = llama_cpp.LlamaModel(str(path), llama_cpp.LlamaModelParams())
    assert model.n_params == sum(weight.elements for weight in made.weights)


def test_it_would_not_load_others(tmp_path):
    """The oracle refuses: a tensor less, and one that is not the architecture's."""
    made = families.decoder(Config(Path("config.json"), GOLDEN["llama"]["config"]))
    path = tmp_path / "model.gguf"
    for skipped, added in (("blk.3.ffn_up.weight", None), (None, "blk.3.ffn_sideways.weight")):
        write(made, GOLDEN["llama"]["config"], path, skipped, added)
        with pytest.raises(ValueError, match="Failed to load"):
            llama_cpp.LlamaModel(str(path), llama_cpp.LlamaModelParams())


def write(made, config, path, skipped=None, added=None):
    """A GGUF of zeros."""
    writer = gguf.GGUFWriter(path, made.gguf.architecture)
    writer.add_vocab_size(made.vocabulary)
    writer.add_tokenizer_model("none")
    writer.add_block_count(len(made.layers))
    writer.add_context_length(made.context_length)
    writer.add_embedding_length(made.width)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_layer_norm_eps(1e-5)
    add_attention(writer, made, config)
    add_feed_forward(writer, made, config)
    add_state(writer, made, config)
    add_scales(writer, made)
    for weight in made.weights:
        if weight.name != skipped:
            writer.add_tensor(weight.name, np.zeros(weight.shape, np.float32))
    if added:
        writer.add_tensor(added, np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_attention(writer, made, config):
    every = [layer.attention for layer in made.layers]
    one = next(attention for attention in every if attention.heads)
    heads = [attention.kv_heads for attention in every]
    writer.add_head_count(one.heads)
    writer.add_rope_dimension_count(one.rope.dimensions or one.head_dim)
    if any(attention.window for attention in every):
        writer.add_sliding_window(config["sliding_window"])
    if one.latent is None:
        writer.add_key_length(one.head_dim)
        writer.add_value_length(one.head_dim)
        whole = made.gguf.architecture == "qwen3next" or len(set(heads)) == 1
        writer.add_head_count_kv(max(heads) if whole else heads)
        return
    writer.add_head_count_kv(1)
    writer.add_key_length(one.k_cached)
    writer.add_value_length(one.latent.kv_rank)
    writer.add_key_length_mla(one.head_dim)
    writer.add_value_length_mla(one.latent.value_dim)
    writer.add_kv_lora_rank(one.latent.kv_rank)
    if one.latent.query_rank:
        writer.add_q_lora_rank(one.latent.query_rank)


def add_feed_forward(writer, made, config):
    forwards = [layer.feed_forward for layer in made.layers]
    mixture = next((each.experts for each in forwards if each.experts), None)
    plain = next((each.width for each in forwards if not each.experts), None)
    writer.add_feed_forward_length(plain or mixture.width)
    if mixture is None:
        return
    writer.add_expert_count(mixture.count)
    writer.add_expert_used_count(mixture.used)
    writer.add_expert_feed_forward_length(mixture.width)
    writer.add_expert_weights_scale(mixture.scale)
    writer.add_interleave_moe_layer_step(config.get("interleave_moe_layer_step", 1))
    writer.add_leading_dense_block_count(config.get("first_k_dense_replace", 0))
    writer.add_expert_shared_count(config.get("n_shared_experts", 0))
    gating = gguf.ExpertGatingFuncType
    sigmoid = mixture.router == "sigmoid"
    writer.add_expert_gating_func(gating.SIGMOID if sigmoid else gating.SOFTMAX)
    for key in ("shared_intermediate_size", "shared_expert_intermediate_size"):
        if key in config:
            writer.add_expert_shared_feed_forward_length(config[key])


def add_state(writer, made, config):
    state = next((layer.recurrence for layer in made.layers if layer.recurrence), None)
    if state is None:
        return
    if state.kind == "short_convolution":
        writer.add_shortconv_l_cache(config["conv_L_cache"])
        return
    mamba = state.kind == "mamba2"
    writer.add_ssm_inner_size(state.inner)
    writer.add_ssm_conv_kernel(config["mamba_d_conv" if mamba else "linear_conv_kernel_dim"])
    writer.add_ssm_state_size(config["mamba_d_state" if mamba else "linear_key_head_dim"])
    writer.add_ssm_group_count(config["mamba_n_groups" if mamba else "linear_num_key_heads"])
    writer.add_ssm_time_step_rank(config["mamba_n_heads" if mamba else "linear_num_value_heads"])


def add_scales(writer, made):
    writer.add_embedding_scale(made.embedding_scale)
    writer.add_residual_scale(made.residual_scale)
    writer.add_logit_scale(made.logit_scale)
    writer.add_attention_scale(1.0)
    writer.add_attn_logit_softcapping(50.0)
    writer.add_final_logit_softcapping(30.0)
    if made.gguf.architecture == "stablelm":
        writer.add_parallel_residual(made.parallel)
    if made.gguf.architecture == "gemma3n":
        writer.add_altup_active_idx(0)
        writer.add_altup_num_inputs(4)
        writer.add_embedding_length_per_layer_input(256)
        writer.add_shared_kv_layers(2)
        writer.add_activation_sparsity_scale([0.0] * len(made.layers))
