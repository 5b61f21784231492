"""The numbers in a GGUF's header by which llama.cpp builds the graph, against the Decoder's.

An epsilon, a rotary base or a count of heads may be wrong in a file whose every weight is right. A
key that the file leaves out is compared by what llama.cpp takes in its place, where that is known
(llama.cpp, src/llama-model.cpp: load_hparams); what a loader never asks for is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose
from pathlib import Path
from typing import Any, Final

from edgepack.fidelity.checks import Check, verdict_of
from edgepack.formats.gguf.hyperparameters import hyperparameters
from edgepack.formats.gguf.inspection import read_parts
from edgepack.formats.gguf.layout import ARCHITECTURE_KEY
from edgepack.formats.gguf.values import Array
from edgepack.models import Decoder
from edgepack.models.pretokenizers import RULES

PRE_KEY: Final = "tokenizer.ggml.pre"
_NEEDED: Final = frozenset(
    {
        "block_count", "embedding_length", "feed_forward_length", "attention.head_count",
        "context_length", "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon",
        "expert_count", "expert_used_count",
    }
)  # fmt: skip
"""No loader goes on without these, and those that it has a default for have a wrong one."""
_ALTERING: Final = (
    "rope.scaling.factor", "rope.scaling.type", "attention.scale", "attn_logit_softcapping",
    "final_logit_softcapping", "embedding_scale", "residual_scale", "logit_scale",
)  # fmt: skip
"""What changes every number where a file has it and the Decoder does not."""
_NEUTRAL: Final = ("none", 0, 1)
_PATTERN: Final = "attention.sliding_window_pattern"  # written in two ways that mean the same
_ROUNDING: Final = 1e-6  # of a float32


def header_check(entry: Path, decoder: Decoder, pre: str | None = None) -> Check:
    """Each key of the file at `entry` against the same of `decoder`, with found and expected.

    `pre` is what the checkpoint's splitting rules are called. Another name fails where it is that
    of other rules; one that is not known here may be an alias, and strings will tell. Raises
    DamagedInput as reading a header does.
    """
    values = read_parts(entry)[entry].values
    found = {key: _plain(value) for key, value in values.items()}
    expected = dict(hyperparameters(decoder))
    compared = sum(key in found for key in expected)
    detail = f"{compared} keys are the checkpoint's"
    differences = [*_differences(found, expected, decoder), *_pre_difference(found, pre)]
    return verdict_of("header", differences, detail)


def _pre_difference(found: Mapping[str, Any], pre: str | None) -> Iterator[str]:
    named = found.get(PRE_KEY)
    if pre is not None and named != pre and named in RULES.values():
        yield _told(PRE_KEY, named, pre)


def _plain(value: Any) -> Any:
    """Arrays of numbers opened; those of texts are the tokenizer's, and left alone."""
    return value.elements() if isinstance(value, Array) and value.count <= 4096 else value


def _differences(
    found: Mapping[str, Any], expected: Mapping[str, Any], decoder: Decoder
) -> Iterator[str]:
    architecture = decoder.gguf.architecture
    if found.get(ARCHITECTURE_KEY) != architecture:
        yield _told(ARCHITECTURE_KEY, found.get(ARCHITECTURE_KEY), architecture)
        return  # every other key begins with it
    layers, assumed = len(decoder.layers), _assumed(expected, architecture)
    for key, value in expected.items():
        short = key.removeprefix(f"{architecture}.")
        has = found.get(key, assumed.get(short))
        if short == _PATTERN or (has is None and short not in _NEEDED):
            continue
        if not _equal(has, value, layers):
            yield _told(key, found.get(key), value)
    for short in _ALTERING:
        key = f"{architecture}.{short}"
        if key not in expected and found.get(key, 1) not in _NEUTRAL:
            yield _told(key, found[key], None)


def _assumed(expected: Mapping[str, Any], architecture: str) -> Mapping[str, Any]:
    """What llama.cpp takes for a key that a file leaves out."""
    heads = expected[f"{architecture}.attention.head_count"]
    if not isinstance(heads, int):
        return {"rope.freq_base": 10_000.0}
    head = expected[f"{architecture}.embedding_length"] // max(heads, 1)
    return {
        "rope.freq_base": 10_000.0,
        "attention.head_count_kv": heads,
        "attention.key_length": head,
        "attention.value_length": head,
    }


def _equal(found: Any, expected: Any, layers: int) -> bool:
    """One number stands for as many equal ones as there are layers; float32 rounds."""
    if isinstance(found, tuple) or isinstance(expected, tuple):
        wide = [each if isinstance(each, tuple) else (each,) * layers for each in (found, expected)]
        return wide[0] == wide[1]
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return isclose(found, expected, rel_tol=_ROUNDING)
    return bool(found == expected)


def _told(key: str, found: Any, expected: Any) -> str:
    has, wanted = (
        "nothing" if value is None else f"{value:.7g}" if isinstance(value, float) else repr(value)
        for value in (found, expected)
    )
    return f"{key} is {has}, expected {wanted}"
