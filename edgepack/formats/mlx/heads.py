"""What of an artifact needs no weight: config.json, index, safetensors headers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from edgepack import __version__
from edgepack.formats.mlx.layout import Tensor, quantization
from edgepack.models import Decoder
from edgepack.models.decoder import RopeScaling
from edgepack.quant.schemes import Assignment
from edgepack.quant.schemes.mlx import RECIPES, MlxScheme, module

MADE_BY = "made_by"
METADATA = {"format": "mlx", MADE_BY: f"edgepack {__version__}"}
HEADER_ALIGNMENT = 8  # bytes; the format's writers pad the header with spaces

LEFT_OUT = ("_name_or_path", "vision_config")  # by mlx_lm, too
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
RECIPE_BITS = 4  # what mlx_lm states for a recipe as a whole, whichever it is

Json = dict[str, Any]


def config(
    values: Mapping[str, Any],
    decoder: Decoder,
    scheme: MlxScheme,
    weights: Iterable[Assignment],
) -> bytes:
    """The checkpoint's own config.json, with what mlx_lm would not find or guess otherwise.

    That is how its modules are quantized, or in which floats they are.
    """
    carried = {key: value for key, value in values.items() if key not in LEFT_OUT}
    carried |= _facts(decoder)
    if scheme.mode == "float":
        keys = [key for key in ("dtype", "torch_dtype") if key in carried] or ["torch_dtype"]
        carried |= dict.fromkeys(keys, DTYPES[scheme.name])
    else:
        block = _quantization(scheme, weights)
        carried |= {"quantization": block, "quantization_config": block}
    return _json(dict(sorted(carried.items())))


def _facts(decoder: Decoder) -> Json:
    """What mlx_lm has defaults for that are not the checkpoint's.

    Without `rope_theta` it takes 10^4 or 10^6: for llama, mistral and qwen2 it does not read the
    `rope_parameters` of transformers 5. Without `tie_word_embeddings` it ties them.
    """
    attention = decoder.layers[0].attention
    facts: Json = {
        "num_key_value_heads": attention.kv_heads,
        "head_dim": attention.head_dim,
        "rms_norm_eps": decoder.norm_epsilon,
        "rope_theta": attention.rope.base,
        "tie_word_embeddings": decoder.tied_embeddings,
    }
    if attention.rope.scaling:
        facts["rope_scaling"] = _rope_scaling(attention.rope.scaling)
    return facts


def _rope_scaling(scaling: RopeScaling) -> Json:
    if scaling.kind == "linear":
        return {"rope_type": "linear", "factor": scaling.factor}
    return {
        "rope_type": scaling.kind,
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_frequency_factor,
        "high_freq_factor": scaling.high_frequency_factor,
        "original_max_position_embeddings": scaling.original_context,
    }


def _quantization(scheme: MlxScheme, weights: Iterable[Assignment]) -> Json:
    """The width of all modules, and in a recipe that of each; mlx_lm names them all."""
    recipe = scheme.name in RECIPES
    bits = RECIPE_BITS if recipe else scheme.bits
    block: Json = {"group_size": scheme.group, "bits": bits, "mode": scheme.mode}
    if recipe:
        for assignment in weights:
            own = quantization(assignment.encoding)
            if own:
                block[module(assignment.weight)] = own
    return block


def index(files: Mapping[str, Iterable[Tensor]], parameters: int) -> bytes:
    """model.safetensors.index.json: which file holds which tensor."""
    places = {tensor.name: name for name, held in files.items() for tensor in held}
    total = sum(tensor.size for held in files.values() for tensor in held)
    metadata = {"total_size": total, "total_parameters": parameters}
    return _json({"metadata": metadata, "weight_map": dict(sorted(places.items()))})


def header(tensors: Iterable[Tensor]) -> bytes:
    """A safetensors header for tensors that follow it in this order, without a gap."""
    entries: Json = {"__metadata__": METADATA}
    at = 0
    for tensor in tensors:
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.size],
        }
        at += tensor.size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _json(values: Json) -> bytes:
    return json.dumps(values, indent=4).encode() + b"\n"
