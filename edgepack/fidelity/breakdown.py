"""The same tokens cut otherwise than by span: how distances are spread, and where they gather.

By the reference's entropy and by its confidence: damage on tokens that it was sure of is damage,
on tokens that it would have drawn by lot it is mostly noise. By position in the document: a cache
or a rotary table that is wrong shows late. And the one loss that distillation would minimize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import UsageError
from edgepack.fidelity.metrics import TokenScores, mean

Figure = Literal["kl", "reverse_kl", "tv", "kl_tempered", "nll_change"]
Cut = Literal["entropy", "confidence", "depth"]

_ENTROPIES: Final = (0.0, 0.01, 0.1, 0.5, 1.0, 2.0, inf)  # nats
_CONFIDENCES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, inf)
_FIRST_DEPTH: Final = 64  # tokens; every further bucket is twice as deep


@dataclass(frozen=True, slots=True)
class Distribution:
    """One figure over all tokens: its mean and percentiles, the smallest value that so many of the
    tokens do not exceed. `nll_change` is the candidate's negative log-likelihood of the text's
    own token less the reference's."""

    figure: Figure
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens with `lower` <= x < `upper`, x being what `by` names.

    `entropy` is the reference's in nats, `confidence` its largest probability, `depth` the token's
    position. An upper end that is infinite is none. `top1` and `hard_flips` are shares of one.
    """

    by: Cut
    lower: float
    upper: float
    tokens: int
    kl_mean: float
    kl_max: float
    top1: float
    hard_flips: float
    hard_flip_count: int


@dataclass(frozen=True, slots=True)
class Distillation:
    """L = alpha CE + (1 - alpha) KL, as a student of the reference would be trained on this text.

    CE is the candidate's mean negative log-likelihood, KL that of both softened by `temperature`,
    without the factor T^2 that some multiply it by. `reference_loss` is the same of the reference
    itself, whose KL is zero: the least that a perfect copy would have.
    """

    alpha: float
    temperature: float
    cross_entropy: float
    kl: float
    loss: float
    reference_loss: float


def distributions(scores: TokenScores) -> tuple[Distribution, ...]:
    """Every figure's, over the tokens with finite logits; none of no tokens."""
    part = scores.select(scores.finite)
    if not len(part.kl):
        return ()
    figures: tuple[tuple[Figure, NDArray[np.float64]], ...] = (
        ("kl", part.kl),
        ("reverse_kl", part.reverse_kl),
        ("tv", part.tv),
        ("kl_tempered", part.kl_tempered),
        ("nll_change", part.candidate_nll - part.reference_nll),
    )
    return tuple(_distribution(name, values) for name, values in figures)


def buckets(scores: TokenScores) -> tuple[Bucket, ...]:
    """Every bucket that holds a token, over the tokens with finite logits."""
    part = scores.select(scores.finite)
    depths = [0.0, *(float(edge) for edge in _depths(part.position))]
    return (
        *_cut(part, "entropy", part.entropy, _ENTROPIES),
        *_cut(part, "confidence", part.confidence, _CONFIDENCES),
        *_cut(part, "depth", part.position.astype(np.float64), depths),
    )


def distillation(scores: TokenScores, alpha: float, temperature: float) -> Distillation:
    """The loss of tokens that were scored at `temperature`. `check_loss` says what is allowed."""
    part = scores.select(scores.finite)
    kl, cross_entropy = mean(part.kl_tempered), mean(part.candidate_nll)
    return Distillation(
        alpha,
        temperature,
        cross_entropy,
        kl,
        alpha * cross_entropy + (1 - alpha) * kl,
        alpha * mean(part.reference_nll),
    )


def check_loss(alpha: float, temperature: float) -> None:
    """Raises UsageError for a share outside 0 to 1, or a temperature that is not above 0."""
    if not 0 <= alpha <= 1:
        raise UsageError(f"--loss-alpha {alpha:g} is no share of one", "give a number from 0 to 1")
    if not 0 < temperature < inf:
        hint = "give a number above 0; 1 is the model's own distribution"
        raise UsageError(f"--temperature {temperature:g} is none to soften by", hint)


def _distribution(figure: Figure, values: NDArray[np.float64]) -> Distribution:
    p50, p90, p95, p99, p999 = (
        float(np.quantile(values, share, method="inverted_cdf"))
        for share in (0.5, 0.9, 0.95, 0.99, 0.999)
    )
    return Distribution(figure, mean(values), p50, p90, p95, p99, p999, float(values.max()))


def _depths(position: NDArray[np.int32]) -> list[int]:
    edges = [_FIRST_DEPTH]
    while len(position) and edges[-1] <= position.max():
        edges.append(2 * edges[-1])
    return edges


def _cut(
    part: TokenScores, by: Cut, values: NDArray[np.float64], edges: Sequence[float]
) -> list[Bucket]:
    at = np.digitize(values, edges)
    return [
        _bucket(part.select(at == i), by, edges[i - 1], edges[i])
        for i in range(1, len(edges))
        if (at == i).any()
    ]


def _bucket(part: TokenScores, by: Cut, lower: float, upper: float) -> Bucket:
    return Bucket(
        by,
        lower,
        upper,
        len(part.kl),
        mean(part.kl),
        float(part.kl.max()),
        float(part.agrees.mean()),
        float(part.hard_flip.mean()),
        int(part.hard_flip.sum()),
    )
