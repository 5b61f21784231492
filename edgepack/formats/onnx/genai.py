"""genai_config.json, how onnxruntime-genai runs the model, and what its tokenizer wants to know."""

from __future__ import annotations

import json
from typing import Any, Final

from edgepack.errors import Unsupported
from edgepack.formats.onnx.graph import MODEL_FILE
from edgepack.formats.protocol import PlannedFile
from edgepack.models import Checkpoint, Decoder
from edgepack.models.config import read_json

GENAI_FILE: Final = "genai_config.json"
MODEL_TYPE: Final = "decoder"  # any decoder-only model, described by what follows
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TOKENIZER_CLASS: Final = "PreTrainedTokenizerFast"  # whatever tokenizer.json says
KNOWN_CLASSES: Final = frozenset(
    f"{name}{fast}"
    for name in (
        "PreTrainedTokenizer", "TokenizersBackend", "GPT2Tokenizer", "LlamaTokenizer",
        "CodeLlamaTokenizer", "Qwen2Tokenizer", "GemmaTokenizer", "Phi3Tokenizer",
        "CodeGenTokenizer", "GPTNeoXTokenizer", "InternLM2Tokenizer",
    )
    for fast in ("", "Fast")
)  # fmt: skip
"""What a tokenizer_class may be for GenAI to load it; it refuses any other."""


def genai_config(checkpoint: Checkpoint, context: int) -> dict[str, Any]:
    """The content of genai_config.json: a conversation has room for `context` tokens.

    GenAI allocates the cache of all of them at once, whatever the model was trained for. Raises
    Unsupported where no stop token is known.
    """
    decoder = checkpoint.decoder
    return {
        "model": {
            **_token_ids(checkpoint),
            "context_length": decoder.context_length,
            "decoder": _decoder(decoder),
            "type": MODEL_TYPE,
            "vocab_size": decoder.vocabulary,
        },
        "search": {
            "do_sample": checkpoint.samples,
            "max_length": min(context, decoder.context_length),
            "past_present_share_buffer": True,
            **_sampling(checkpoint),
        },
    }


def tokenizer_config(checkpoint: Checkpoint) -> bytes:
    """The checkpoint's own tokenizer_config.json, and in it what GenAI cannot do without.

    That is a tokenizer_class that it knows, without which it has no chat template, and a template
    that is one string, here or in chat_template.jinja.
    """
    path = checkpoint.root / TOKENIZER_CONFIG
    values = read_json(path) if path.is_file() else {}
    added: dict[str, str] = {}
    if values.get("tokenizer_class") not in KNOWN_CLASSES:
        added["tokenizer_class"] = TOKENIZER_CLASS
    template = checkpoint.tokenizer.chat_template
    beside = (checkpoint.root / "chat_template.jinja").is_file()
    if template is not None and values.get("chat_template") != template and not beside:
        added["chat_template"] = template
    if path.is_file() and not added:
        return PlannedFile.copy(path).head
    return json_bytes(values | added)


def json_bytes(values: object) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def _token_ids(checkpoint: Checkpoint) -> dict[str, Any]:
    """The tokens that begin, end and fill up; GenAI pads with the stop token unless told."""
    tokenizer, stops = checkpoint.tokenizer, checkpoint.stop_ids
    if not stops:
        raise Unsupported(
            f"{checkpoint.root}: no token ends a turn",
            "state eos_token_id in generation_config.json",
        )
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": list(stops) if len(stops) > 1 else stops[0],
        "pad_token_id": stops[0] if tokenizer.pad_id is None else tokenizer.pad_id,
    }
    return {key: value for key, value in ids.items() if value is not None}


def _decoder(decoder: Decoder) -> dict[str, Any]:
    """Shapes of the KV cache and names in the graph."""
    attention = decoder.layers[0].attention
    return {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": MODEL_FILE,
        "head_size": attention.head_dim,
        "hidden_size": decoder.width,
        "num_attention_heads": attention.heads,
        "num_hidden_layers": len(decoder.layers),
        "num_key_value_heads": attention.kv_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }


def _sampling(checkpoint: Checkpoint) -> dict[str, float | int]:
    """What generation_config.json says, under GenAI's names, which are the same."""
    return {
        key: int(value) if key == "top_k" else value for key, value in checkpoint.sampling.items()
    }
