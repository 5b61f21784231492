"""Which type every tensor gets, of every kind of decoder: llama-quantize's choice and ours.

That it chooses at all says, too, that llama.cpp takes our keys for the architecture's.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepack.formats.gguf.metadata import FILE_TYPES
from edgepack.models import families
from edgepack.models.config import Config
from edgepack.quant.schemes.gguf import SCHEMES, scheme
from edgepack.quant.schemes.mix import overridden
from edgepack.quant.schemes.overrides import NONE

pytestmark = pytest.mark.oracle

SCRIPTS = Path(__file__).parents[2] / "fixtures" / "scripts"
COMMON = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 17, "vocab_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
    "max_position_embeddings": 2048,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
SPARSE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
LATENT = {
    "num_key_value_heads": 4, "kv_lora_rank": 256, "q_lora_rank": 256, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 16, "num_experts_per_tok": 4,
    "n_shared_experts": 1, "moe_intermediate_size": 256, "first_k_dense_replace": 2, "n_group": 1,
    "topk_group": 1, "head_dim": None, "rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1},
}  # fmt: skip
MAMBA = {
    "mamba_n_heads": 8, "mamba_d_head": 64, "mamba_d_state": 64, "mamba_n_groups": 1,
    "shared_intermediate_size": 256, "head_dim": None,
    "layer_types": ["attention" if index % 5 == 3 else "mamba" for index in range(17)],
}  # fmt: skip
ALTUP = {
    "intermediate_size": [512] * 30, "num_hidden_layers": 30, "num_kv_shared_layers": 10,
    "hidden_size_per_layer_input": 256, "laurel_rank": 64, "vocab_size_per_layer_input": 64,
    "altup_num_inputs": 4, "sliding_window": 512,
}  # fmt: skip

FAMILIES = {
    "eight experts": {"model_type": "mixtral", "num_local_experts": 8, "num_key_value_heads": 1,
        "num_experts_per_tok": 2},
    "sixteen experts": {"model_type": "mixtral", "num_local_experts": 16, "num_experts_per_tok": 2},
    "shared experts": {"model_type": "qwen2_moe", "shared_expert_intermediate_size": 512} | SPARSE,
    "eight of qwen3": {"model_type": "qwen3_moe"} | SPARSE | {"num_experts": 8},
    "latent": {"model_type": "deepseek_v3"} | LATENT,
    "latent, lite": {"model_type": "deepseek_v2", "num_hidden_layers": 27} | LATENT
    | {"q_lora_rank": None, "topk_method": "greedy"},
    "windows": {"model_type": "gemma2", "sliding_window": 512},
    "sinks": {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2,
        "hidden_size": 320, "intermediate_size": 320, "sliding_window": 128,
        "num_attention_heads": 8},
    "fused": {"model_type": "phi3", "head_dim": None},
    "no gate": {"model_type": "phi", "head_dim": None},
    "recurrence": {"model_type": "granitemoehybrid"} | MAMBA,
    "recurrence, eight experts": {"model_type": "granitemoehybrid", "num_local_experts": 8,
        "num_experts_per_tok": 2, "intermediate_size": 256} | MAMBA,
    "delta rule": {"model_type": "qwen3_next", "num_hidden_layers": 16,
        "linear_num_key_heads": 4, "linear_num_value_heads": 8, "linear_key_head_dim": 64,
        "linear_value_head_dim": 64, "shared_expert_intermediate_size": 256} | SPARSE,
    "short convolution": {"model_type": "lfm2", "num_hidden_layers": 16, "head_dim": None,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14]},
    "streams": {"model_type": "gemma3n_text"} | ALTUP,
}  # fmt: skip


def load(name):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def chosen(llama_quantize, tmp_path, capfd):
    """`chosen(decoder, name, measured)`: llama.cpp's type for every tensor of a file of zeros."""
    pytest.importorskip("gguf")
    source = tmp_path / "zeros.gguf"

    def run(decoder, name, measured):
        if not source.exists():
            load("planner").write_sparse(decoder, "F16", source)
        columns = {
            weight.name: np.ones(weight.elements // weight.shape[-2], np.float32)
            for weight in decoder.weights
            if len(weight.shape) > 1
        }
        capfd.readouterr()
        llama_quantize(
            source,
            tmp_path / "none.gguf",
            FILE_TYPES[name],
            imatrix=columns if measured else None,
            dry_run=True,
        )
        lines = re.findall(r"\] +(\S+) +- \[.*?type = +(\w+), (.*)", capfd.readouterr().err)
        types = {
            tensor: re.findall(r"-> .*\((\w+)\)", rest) or [kept] for tensor, kept, rest in lines
        }
        return {tensor: found[0].upper() for tensor, found in types.items()}

    return run


@pytest.mark.parametrize("family", FAMILIES)
def test_types_are_those_of_llama_quantize(chosen, family):
    decoder = families.decoder(Config(Path(family), COMMON | FAMILIES[family]))
    for name in SCHEMES:
        if name in ("F32", "F16", "BF16"):
            continue
        for measured in (False, True):
            ours = overridden(scheme(name), NONE, measured=measured).assign(decoder)
            types = {each.weight.name: each.encoding.name for each in ours}
            assert chosen(decoder, name, measured) == types, (name, measured)
