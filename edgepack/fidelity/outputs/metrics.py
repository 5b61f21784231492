"""Distances between the outputs of reference and candidate, row by row, and what they add up to.

A row is one vector of the model's: a text's embedding, the hidden state or the logits of a token,
the logits of a text, or of where an answer begins or ends. Everything is calculated in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgepack.fidelity.bootstrap import Bootstrap, Interval
from edgepack.fidelity.metrics import CERTAIN_GAP

Kind = Literal["embeddings", "hidden states", "logits"]

BROKEN_DISTANCE: Final = 0.1
"""A text is broken where its vectors turned further than this, on average: a cosine below 0.9."""


@dataclass(frozen=True, slots=True, eq=False)
class OutputScores:
    """One entry for each row; all arrays are [R].

    `distance` is one minus the cosine, `difference` the largest absolute difference of an element,
    `gap` how far the reference preferred its first choice (nats). Where `finite` is false the
    candidate's row was not, and distances are NaN.
    """

    document: NDArray[np.int32]
    distance: NDArray[np.float64]
    difference: NDArray[np.float64]
    gap: NDArray[np.float64]
    agrees: NDArray[np.bool_]
    finite: NDArray[np.bool_]

    def select(self, chosen: NDArray[np.bool_]) -> OutputScores:
        """The chosen rows."""
        return OutputScores(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All rows of `parts`, in order."""
        return cls(
            *(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(cls))
        )


@dataclass(frozen=True, slots=True)
class OutputMetrics:
    """What the sample measures; rates are shares of one.

    `distance` is the mean of one minus the cosine, `difference` the mean over rows of the largest
    difference (nats, for logits); `top1` the share of rows with the same first choice, None where
    rows are no choice. A document is broken where a choice changed of which the reference was
    certain (3 nats), or its vectors turned by BROKEN_DISTANCE.
    """

    kind: Kind
    documents: int
    rows: int
    distance: Interval
    difference: Interval
    top1: Interval | None
    broken_documents: Interval
    distance_max: float
    difference_max: float


def score(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], document: int
) -> OutputScores:
    """Scores of one document's rows; both are [R, C]."""
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(candidate), axis=1)
    r, c = reference.astype(np.float64), np.where(finite[:, None], candidate, 0).astype(np.float64)
    gap, chosen = _choice(r)
    _, other = _choice(c)
    return OutputScores(
        np.full(len(r), document, np.int32),
        np.where(finite, _distance(r, c), np.nan),
        np.where(finite, np.abs(r - c).max(axis=1), np.nan),
        gap,
        finite & (chosen == other),
        finite,
    )


def summarize(scores: OutputScores, kind: Kind, *, seed: int = 0) -> OutputMetrics:
    """Metrics over the rows that are finite."""
    part = scores.select(scores.finite)
    sample = Bootstrap(part.document, seed=seed)
    logits = kind == "logits"
    broken = ~part.agrees & (part.gap > CERTAIN_GAP) if logits else _turned(part)
    misses = sample.rate(~part.agrees)
    some = bool(sample.tokens)
    return OutputMetrics(
        kind=kind,
        documents=sample.documents,
        rows=sample.tokens,
        distance=sample.mean(part.distance),
        difference=sample.mean(part.difference),
        top1=Interval(1 - misses.value, 1 - misses.upper, 1 - misses.lower) if logits else None,
        broken_documents=sample.document_rate(broken),
        distance_max=float(part.distance.max()) if some else np.nan,
        difference_max=float(part.difference.max()) if some else np.nan,
    )


def _distance(r: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
    """One minus the cosine of rows, [R]; from their difference, which cancels nothing."""
    norms = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (r, c)]
    units = [
        np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
        for rows, norm in zip((r, c), norms, strict=True)
    ]
    found: NDArray[np.float64] = ((units[0] - units[1]) ** 2).sum(axis=1) / 2
    return found


def _choice(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """How far the first choice is preferred, and which it is; a single logit stands against 0."""
    rows = logits if logits.shape[1] > 1 else np.pad(logits, ((0, 0), (1, 0)))
    best = np.sort(rows, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0], rows.argmax(axis=1)


def _turned(part: OutputScores) -> NDArray[np.bool_]:
    """Whether a row is of a document whose mean distance is above BROKEN_DISTANCE."""
    if not len(part.document):
        return np.zeros(0, np.bool_)
    sums = np.bincount(part.document, weights=part.distance)
    counts = np.maximum(np.bincount(part.document), 1)
    turned: NDArray[np.bool_] = (sums / counts > BROKEN_DISTANCE)[part.document]
    return turned
