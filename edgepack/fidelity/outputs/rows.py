"""Outputs of a model, as its task names them, and the rows that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgepack.fidelity.outputs.metrics import Kind
from edgepack.models import Outline, Task

Floats = NDArray[np.float32]

OUTPUTS: Final[Mapping[Task, tuple[str, ...]]] = MappingProxyType(
    {
        "feature-extraction": ("last_hidden_state",),
        "text-classification": ("logits",),
        "token-classification": ("logits",),
        "question-answering": ("start_logits", "end_logits"),
        "fill-mask": ("logits",),
    }
)


def kind_of(outline: Outline) -> Kind:
    """What the rows of a model are."""
    if outline.task != "feature-extraction":
        return "logits"
    return "embeddings" if outline.pooling else "hidden states"


def rows(outline: Outline, outputs: Sequence[Floats], length: int) -> Floats:
    """The rows [R, C] of one text of `length` tokens, from outputs of a batch of one.

    Padding is left out: hidden states and logits of tokens are [1, T + padding, C], those of a
    text [1, C], starts and ends of an answer [1, T + padding] each.
    """
    if outline.task == "text-classification":
        return outputs[0]
    if outline.task == "question-answering":
        return np.concatenate(outputs)[:, :length]
    return _pooled(outline, outputs[0][0, :length])


def _pooled(outline: Outline, states: Floats) -> Floats:
    """One vector of a text's hidden states [T, C], [1, C]; all of them where none is asked for."""
    pooled: Floats = states[:1] if outline.pooling == "cls" else states
    if outline.pooling == "mean":
        pooled = states.mean(axis=0, keepdims=True)
    if outline.pooling == "max":
        pooled = states.max(axis=0, keepdims=True)
    return pooled
