"""Distances between reference and candidate logits, token by token, and what they add up to.

p is the reference's distribution over the next token, q the candidate's, both from raw logits in
float64. Distances are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import nan
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgepack.fidelity.bootstrap import CONFIDENCE, Bootstrap, Interval
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.spans import SPANS, Span

Scope = Literal["all"] | Span

# A changed first choice is damage, not rounding, where the reference preferred it by more nats.
HARD_GAP: Final = 1.0
# And it breaks the document where the reference gave its choice more than e^3 = 20 times the
# probability of any other: a certain step, such as a digit of a sum, from which a trace does not
# recover. Measured on the fixture, in 240 documents: Q4_K_M breaks none, Q2_K 27, and answers 26
# fewer of the same problems right.
CERTAIN_GAP: Final = 3.0
_BLOCK_ELEMENTS: Final = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """One entry for each predicted token; all arrays are [T].

    `document` is an index into the documents, `position` the predicted token's index in its ids,
    `span` an index into SPANS. `entropy` (nats) and `confidence`, the largest probability, are the
    reference's; `kl_tempered` is KL of both models' softmax at the temperature that was asked for.
    Where `finite` is false the candidate's logits were not, and the distances are NaN.
    """

    document: NDArray[np.int32]
    position: NDArray[np.int32]
    span: NDArray[np.int8]
    kl: NDArray[np.float64]
    reverse_kl: NDArray[np.float64]
    tv: NDArray[np.float64]
    reference_nll: NDArray[np.float64]
    candidate_nll: NDArray[np.float64]
    gap: NDArray[np.float64]
    reference_top: NDArray[np.int32]
    candidate_top: NDArray[np.int32]
    finite: NDArray[np.bool_]
    entropy: NDArray[np.float64]
    confidence: NDArray[np.float64]
    kl_tempered: NDArray[np.float64]

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """First choices are the same."""
        same: NDArray[np.bool_] = self.reference_top == self.candidate_top
        return self.finite & same

    @property
    def hard_flip(self) -> NDArray[np.bool_]:
        """First choice changed although the reference's gap is above 1 nat."""
        return ~self.agrees & (self.gap > HARD_GAP)

    @property
    def broken(self) -> NDArray[np.bool_]:
        """First choice changed where the reference was certain, in text that the model writes."""
        written: NDArray[np.bool_] = self.span != SPANS.index("prompt")
        return written & ~self.agrees & (self.gap > CERTAIN_GAP)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> TokenScores:
        """The chosen tokens, by mask or index."""
        return TokenScores(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All tokens of `parts`, in order."""
        return cls(
            *(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(cls))
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one scope of the sample measures; rates are shares of one, distances nats.

    `broken_documents` is a share of documents: those with a token that is `TokenScores.broken`.
    """

    scope: Scope
    documents: int
    tokens: int
    kl_mean: Interval
    kl_p99: Interval
    kl_p999: Interval
    top1: Interval
    hard_flips: Interval
    broken_documents: Interval
    ln_ppl_ratio: Interval
    kl_p50: float
    kl_p90: float
    kl_max: float
    reverse_kl_mean: float
    alpha: float
    hard_flip_count: int
    kl_p95: float = nan
    reference_nll: float = nan
    candidate_nll: float = nan
    entropy: float = nan


def score(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    document: Document,
    index: int,
    *,
    temperature: float = 1.0,
) -> TokenScores:
    """Scores of a document's T - 1 predicted tokens; both logits are [T, V], row i at position i.

    Row i is scored against ids[i + 1]; the last row predicts nothing that is known. `kl_tempered`
    is at `temperature` > 0. Work memory is a few blocks of a million float64, whatever T and V are.
    """
    targets = np.array(document.ids[1:])
    rows = max(1, _BLOCK_ELEMENTS // reference.shape[1])
    blocks = [
        _distances(reference[:-1][at], candidate[:-1][at], targets[at], temperature)
        for at in (slice(start, start + rows) for start in range(0, len(targets), rows))
    ]
    return TokenScores(
        np.full(len(targets), index, np.int32),
        np.arange(1, len(targets) + 1, dtype=np.int32),
        np.array([SPANS.index(span) for span in document.spans[1:]], np.int8),
        *(np.concatenate(column) for column in zip(*blocks, strict=True)),
    )


def summarize(
    scores: TokenScores, scope: Scope, *, seed: int = 0, confidence: float = CONFIDENCE
) -> Metrics:
    """Metrics of one scope, over the tokens with finite logits.

    Over the whole sample no hard flip bounds the rate of hard flips (see Bootstrap.rate); a span
    only asks whether flips gather in it.
    """
    chosen = scores.finite.copy()
    if scope != "all":
        chosen &= scores.span == SPANS.index(scope)
    part = scores.select(chosen)
    sample = Bootstrap(part.document, seed=seed, confidence=confidence)
    excess = part.candidate_nll - part.reference_nll
    some = bool(sample.tokens)
    median, p90, p95 = np.quantile(part.kl, [0.5, 0.9, 0.95]) if some else (nan, nan, nan)
    return Metrics(
        scope=scope,
        documents=sample.documents,
        tokens=sample.tokens,
        kl_mean=sample.mean(part.kl),
        kl_p99=sample.quantile(part.kl, 0.99),
        kl_p999=sample.quantile(part.kl, 0.999),
        top1=_complement(sample.rate(~part.agrees, unseen=scope == "all")),
        hard_flips=sample.rate(part.hard_flip, unseen=scope == "all"),
        broken_documents=sample.document_rate(part.broken),
        ln_ppl_ratio=sample.mean(excess),
        kl_p50=float(median),
        kl_p90=float(p90),
        kl_max=float(part.kl.max()) if some else nan,
        reverse_kl_mean=mean(part.reverse_kl),
        alpha=1 - mean(part.tv),
        hard_flip_count=int(part.hard_flip.sum()),
        kl_p95=float(p95),
        reference_nll=mean(part.reference_nll),
        candidate_nll=mean(part.candidate_nll),
        entropy=mean(part.entropy),
    )


def mean(values: NDArray[np.float64]) -> float:
    """The mean of [T] values; NaN of none."""
    return float(values.mean()) if len(values) else nan


def _complement(rate: Interval) -> Interval:
    return Interval(1 - rate.value, 1 - rate.upper, 1 - rate.lower)


def _distances(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    targets: NDArray[np.int64],
    temperature: float,
) -> tuple[NDArray[np.generic], ...]:
    """TokenScores' columns from `kl` on, for a block of rows [B, V]."""
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(candidate), axis=1)
    known = np.where(finite[:, None], candidate, 0)
    log_p, p = _softmax(reference)
    log_q, q = _softmax(known)
    rows = np.arange(len(targets))
    kl = _divergence(p, log_p - log_q)
    tempered = kl
    if temperature != 1:
        cool_p, share = _softmax(reference, temperature)
        tempered = _divergence(share, cool_p - _softmax(known, temperature)[0])
    distances = (kl, _divergence(q, log_q - log_p), np.abs(p - q).sum(axis=1) / 2)
    at = rows, targets
    nll = -log_p[at], np.where(finite, -log_q[at], np.nan)
    entropy = np.maximum(-np.einsum("bv,bv->b", p, log_p), 0)
    top = reference.argmax(axis=1)
    first = log_p[rows, top]
    log_p[rows, top] = -np.inf
    return (
        *(np.where(finite, distance, np.nan) for distance in distances),
        *nll,
        first - log_p.max(axis=1),
        top.astype(np.int32),
        candidate.argmax(axis=1).astype(np.int32),
        finite,
        entropy,
        p[rows, top],
        np.where(finite, tempered, np.nan),
    )


def _divergence(shares: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum p ln(p / q) of every row, [B], of shares p and logarithms of p / q, both [B, V]."""
    found: NDArray[np.float64] = np.maximum(np.einsum("bv,bv->b", shares, ratio), 0)
    return found


def _softmax(
    logits: NDArray[np.float32], temperature: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-probabilities and probabilities, both [B, V], of logits / temperature."""
    logs = logits.astype(np.float64)
    logs -= logs.max(axis=1, keepdims=True)
    if temperature != 1:
        logs /= temperature
    shares = np.exp(logs)
    total = shares.sum(axis=1, keepdims=True)
    logs -= np.log(total)
    shares /= total
    return logs, shares
