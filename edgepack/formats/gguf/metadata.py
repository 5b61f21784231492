"""The keys of a GGUF header, from the Decoder, the tokenizer and the card.

Names and meanings: ggml's docs/gguf.md. Values are collected first and typed where written, so
that the header can be sized, shown and tested without a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgepack import __version__
from edgepack.formats.gguf.hyperparameters import hyperparameters
from edgepack.formats.importance import Importance
from edgepack.models import Checkpoint, Tokenizer
from edgepack.quant.schemes.mix import GgufScheme
from edgepack.units import format_count

OVERRIDES_KEY = "quantize.overrides"  # ours: what makes a file another than its file type says
QUANTIZATION_VERSION = 2  # of ggml's block layouts
FILE_TYPES: Mapping[str, int] = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10,
    "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16,
    "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22,
    "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28, "IQ2_M": 29,
    "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38,
}  # fmt: skip  # llama.h, enum llama_ftype
TOKEN_KINDS = {
    "normal": 1, "unknown": 2, "control": 3, "user_defined": 4, "unused": 5, "byte": 6,
}  # fmt: skip  # llama.h, enum llama_token_type

Value = str | int | float | bool | bytes | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]
"""What a key holds; bytes are type and value as a file has them."""


def metadata(
    checkpoint: Checkpoint, scheme: GgufScheme, importance: Importance | None = None
) -> dict[str, Value]:
    """Every key but `general.architecture`, which a GGUF writer puts first itself."""
    return {
        **dict(_general(checkpoint, scheme)),
        **dict(hyperparameters(checkpoint.decoder)),
        **dict(_tokenizer(checkpoint.tokenizer)),
        **dict(quantization(scheme, importance)),
    }


def _general(checkpoint: Checkpoint, scheme: GgufScheme) -> Iterator[tuple[str, Value]]:
    yield "general.type", "model"
    yield "general.name", checkpoint.name
    yield "general.size_label", format_count(checkpoint.decoder.parameters)
    yield "general.quantized_by", f"edgepack {__version__}"
    card = checkpoint.card
    if card.licence:
        yield "general.license", card.licence
    if card.languages:
        yield "general.languages", card.languages
    yield from _provenance(checkpoint)
    yield "general.file_type", FILE_TYPES[scheme.mix]
    yield "general.quantization_version", QUANTIZATION_VERSION
    for key, value in checkpoint.sampling.items():
        name = SAMPLING.get(key)
        if name:
            yield f"general.sampling.{name}", int(value) if name == "top_k" else value


def quantization(scheme: GgufScheme, importance: Importance | None) -> Iterator[tuple[str, Value]]:
    """How it was quantized, beside its file type; keys of the matrix as llama-quantize has them."""
    if scheme.overrides:
        yield OVERRIDES_KEY, str(scheme.overrides)
    if importance:
        # without its folder: the same command gives the same bytes wherever it runs
        yield "quantize.imatrix.file", importance.path.name
        yield "quantize.imatrix.dataset", next(iter(importance.datasets), "")
        yield "quantize.imatrix.entries_count", len(importance.columns)
        if importance.chunks > 0:
            yield "quantize.imatrix.chunks_count", importance.chunks


# generation_config.json's names -> the GGUF's
SAMPLING = {
    "temperature": "temp", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}  # fmt: skip


def _provenance(checkpoint: Checkpoint) -> Iterator[tuple[str, Value]]:
    if checkpoint.revision:  # it came from the hub
        yield "general.source.huggingface.repository", checkpoint.name
        yield "general.source.url", f"https://huggingface.co/{checkpoint.name}"
    bases = checkpoint.card.base_models
    if bases:
        yield "general.base_model.count", len(bases)
    for index, base in enumerate(bases):
        yield f"general.base_model.{index}.name", base.split("/")[-1]
        if "/" in base:
            yield f"general.base_model.{index}.organization", base.split("/")[0]
            yield f"general.base_model.{index}.repo_url", f"https://huggingface.co/{base}"


def _tokenizer(tokenizer: Tokenizer) -> Iterator[tuple[str, Value]]:
    byte_level = tokenizer.scheme == "byte-level"
    yield "tokenizer.ggml.model", "gpt2" if byte_level else "llama"
    yield "tokenizer.ggml.pre", tokenizer.pre or "default"
    yield "tokenizer.ggml.tokens", tokenizer.tokens
    yield "tokenizer.ggml.token_type", tuple(TOKEN_KINDS[kind] for kind in tokenizer.kinds)
    if byte_level:
        yield "tokenizer.ggml.merges", tuple(" ".join(pair) for pair in tokenizer.merges)
    else:
        yield "tokenizer.ggml.scores", _scores(tokenizer)
        yield "tokenizer.ggml.add_space_prefix", tokenizer.add_space_prefix
    ids: dict[str, Any] = {
        "bos": tokenizer.bos_id,
        "eos": tokenizer.eos_id,
        "unknown": tokenizer.unknown_id,
        "padding": tokenizer.pad_id,
    }
    for name, token_id in ids.items():
        if token_id is not None:
            yield f"tokenizer.ggml.{name}_token_id", token_id
    yield "tokenizer.ggml.add_bos_token", tokenizer.add_bos
    yield "tokenizer.ggml.add_eos_token", tokenizer.add_eos
    if tokenizer.chat_template is not None:
        yield "tokenizer.chat_template", tokenizer.chat_template


def _scores(tokenizer: Tokenizer) -> tuple[float, ...]:
    """SentencePiece scores from merge ranks: the earlier a merge, the higher its result's score.

    llama.cpp joins the pair whose result scores highest, so minus the rank repeats the order in
    which the merges were learned.
    """
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(tokenizer.merges):
        ranks.setdefault(left + right, rank)
    return tuple(-float(ranks.get(token, 0)) for token in tokenizer.tokens)
