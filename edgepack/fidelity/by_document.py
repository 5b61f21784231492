"""A sample document by document: little enough to keep, and enough to compare two runs in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.fidelity.metrics import Scope, TokenScores
from edgepack.fidelity.spans import SPANS

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DocumentFigures:
    """One scope's documents: index in the corpus, tokens with finite logits, and what they show.

    `kl_mean` and `reference_nll` are means over a document's tokens (nats), `flips` counts changed
    first choices and `hard_flips` those that the reference preferred by more than 1 nat; `broken`
    is 1 for a document with a broken token, else 0. Only documents with a token in the scope are
    here.
    """

    scope: Scope
    document: tuple[int, ...]
    tokens: tuple[int, ...]
    kl_mean: tuple[float, ...]
    flips: tuple[int, ...]
    hard_flips: tuple[int, ...]
    reference_nll: tuple[float, ...]
    broken: tuple[int, ...] = ()


def by_document(scores: TokenScores) -> tuple[DocumentFigures, ...]:
    """Figures of the whole sample and of every span in it."""
    present = [span for code, span in enumerate(SPANS) if code in scores.span]
    scopes: tuple[Scope, ...] = ("all", *present)
    return tuple(_figures(scores, scope) for scope in scopes)


def _figures(scores: TokenScores, scope: Scope) -> DocumentFigures:
    chosen = scores.finite.copy()
    if scope != "all":
        chosen &= scores.span == SPANS.index(scope)
    part = scores.select(chosen)
    names, cluster = np.unique(part.document, return_inverse=True)
    tokens = np.bincount(cluster, minlength=len(names))

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(cluster, weights=values, minlength=len(names)).astype(np.float64)

    return DocumentFigures(
        scope,
        tuple(map(int, names)),
        tuple(map(int, tokens)),
        tuple(map(float, total(part.kl) / tokens)),
        tuple(map(int, total(~part.agrees))),
        tuple(map(int, total(part.hard_flip))),
        tuple(map(float, total(part.reference_nll) / tokens)),
        tuple(map(int, total(part.broken) > 0)),
    )
