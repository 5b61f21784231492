"""Keys of config.json that change what a model calculates: a family reads them or refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgepack.errors import Unsupported
from edgepack.models.config import Config
from edgepack.models.decoder import Decoder

NAMES = """
    _sliding_window_pattern activation_sparsity_pattern add_bias_linear
    add_full_attention_sink_bias add_qkv_bias add_swa_attention_sink_bias alibi altup_num_inputs
    apply_residual_connection_post_layernorm attention_bias attention_chunk_size
    attention_k_eq_v attention_multiplier attention_out_bias attention_value_scale attn_config
    attn_logit_softcapping attn_output_gate attn_temperature_tuning bias
    block_auto_adjust_ff_dim block_ff_dim clip_qkv compress_ratios conv_L_cache conv_bias
    cross_attention_layers decoder_sparse_step dim_model_base dual_chunk_attention_config
    emb_dropout_scale embedding_multiplier enable_moe_block expert_bias ffn_config
    final_logit_softcapping first_k_dense_replace full_attention_interval full_attn_idxs
    global_head_dim head_dim hidden_act hidden_activation hidden_size_per_layer_input index_topk
    interleave_moe_layer_step intermediate_size_mlp kv_lora_rank laurel_rank layer_norm_bias
    layer_types linear_attn_config linear_num_key_heads llama_4_scaling lm_head_bias
    local_attention logit_scale logits_scaling mlp_bias mlp_gate_bias mlp_only_layers
    moe_intermediate_size moe_layer_freq moe_layers moe_num_experts
    moe_router_enable_expert_bias multi_query mup_enabled n_group n_routed_experts
    n_shared_experts new_decoder_architecture no_rope_layer_interval no_rope_layers norm_after
    norm_topk_prob num_experts num_experts_per_tok num_global_key_value_heads
    num_key_value_heads num_kv_shared_layers num_local_experts o_bias parallel_attn
    partial_rotary_factor position_embedding_type post_layer_norm q_lora_rank qk_layernorm
    qk_norm qk_rope_head_dim qkv_bias query_pre_attn_scalar residual_multiplier residual_scale
    rope_interleave rope_local_base_freq rope_parameters rope_scaling rope_theta rotary_dim
    rotary_pct routed_scaling_factor router_scale sandwich_norm scale_depth scale_emb
    scoring_func shared_expert_intermediate_size shared_intermediate_size sliding_window
    sliding_window_pattern swiglu_limit topk_group topk_method use_alibi use_bias
    use_bidirectional_attention use_conv use_double_wide_mlp use_dynamic_ntk
    use_gated_activation use_logn_attn use_mla use_parallel_block use_parallel_residual
    use_qk_norm use_qkv_bias use_sliding_window v_head_dim vocab_size_per_layer_input yoco
    """
MEANINGFUL = frozenset(NAMES.split())
SHARED = ("dtype", "torch_dtype", "tie_word_embeddings")  # by all parts of a model


class Read(Mapping[str, Any]):
    """The values of a config, which remember what of them was asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.stated, self.asked = values, set[str]()

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return self.stated[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.stated)

    def __len__(self) -> int:
        return len(self.stated)


def read_whole(config: Config, family: Callable[[Config], Decoder]) -> Decoder:
    """The Decoder that `family` makes of `config`, nothing in it overlooked."""
    read = Read(config.values)
    made = family(Config(config.path, read))
    for key in sorted(MEANINGFUL & read.stated.keys() - read.asked):
        if not _is_off(key, read.stated):
            raise Unsupported(
                f"{config.path}: {key} is {read.stated[key]!r}",
                "edgepack does not know what that changes in this family",
            )
    return made


def text_part(
    config: Config, family: Callable[[Config], Decoder], defaults: Mapping[str, Any]
) -> Decoder:
    """The Decoder of `text_config`, where `defaults` stand for what it leaves out.

    What all parts share, such as the type of the weights, is said outside it.
    """
    text = config.section("text_config")
    outer = {key: config.values[key] for key in SHARED if config.values.get(key) is not None}
    return read_whole(Config(config.path, {**defaults, **outer, **text.values}), family)


def _is_off(key: str, values: Mapping[str, Any]) -> bool:
    value = values[key]
    if key == "sliding_window" and values.get("use_sliding_window") is False:
        return True
    if key == "layer_types" and isinstance(value, list):
        return all(kind == "full_attention" for kind in value)
    return not value
