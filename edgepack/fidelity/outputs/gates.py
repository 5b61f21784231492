"""The verdict on outputs: limits by profile. What passes, fails or stays open is as for tokens.

TODO measured
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Final

from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.gates import (
    ENOUGH_DOCUMENTS,
    Check,
    Judgement,
    Profile,
    at_most,
    rate_check,
)
from edgepack.fidelity.outputs.metrics import OutputMetrics

INVALID_DISTANCE: Final = 0.5
"""Beyond it two models are not versions of each other, and no limit means anything."""


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """Limits of one profile: one minus the cosine, for vectors; a difference of logits (nats)."""

    distance: float
    difference: float


LIMITS: Final = {
    "convert": OutputLimits(1e-5, 0.01),
    "near-lossless": OutputLimits(0.002, 0.1),
    "balanced": OutputLimits(0.02, 0.5),
    "aggressive": OutputLimits(0.05, 1.0),
}


def judge(metrics: OutputMetrics, limits: Profile, *, non_finite: int = 0) -> Judgement:
    """The verdict on a sample; `non_finite` counts the rows that have no figures."""
    powered = metrics.documents >= ENOUGH_DOCUMENTS
    few = f"unpowered: {metrics.documents} documents; {ENOUGH_DOCUMENTS} make a full sample"
    notes = () if powered else (few,)
    found = list(checks(metrics, limits))
    failed = [
        *_worthless(metrics, non_finite),
        *(str(check) for check in found if check.outcome == "fail"),
    ]
    undecided = tuple(str(check) for check in found if check.outcome == "undecided")
    if failed:
        return Judgement("fail", tuple(failed), notes, powered)
    if undecided:
        return Judgement("inconclusive", undecided, notes, powered)
    return Judgement("pass", (), notes, powered)


def checks(metrics: OutputMetrics, limits: Profile) -> Iterator[Check]:
    """Every gated figure: distances of vectors; differences and choices of logits."""
    own = LIMITS[limits.name]
    if metrics.top1 is None:
        figure, interval, limit = "1 - cosine", metrics.distance, own.distance
    else:
        figure, interval, limit = "difference", metrics.difference, own.difference
        misses = Interval(1 - metrics.top1.value, 1 - metrics.top1.upper, 1 - metrics.top1.lower)
        outcome = at_most(misses, 1 - limits.top1)
        yield Check(metrics.kind, "top-1 agreement", metrics.top1, limits.top1, outcome)
    yield Check(metrics.kind, figure, interval, limit, at_most(interval, limit))
    yield rate_check(
        metrics.kind, "broken documents", metrics.broken_documents, limits.broken_documents
    )


def _worthless(metrics: OutputMetrics, non_finite: int) -> Iterator[str]:
    if non_finite:
        yield f"outputs are not finite in {non_finite} rows"
    far = metrics.top1 is None and metrics.distance.value > INVALID_DISTANCE
    if far or isnan(metrics.distance.value):
        yield (
            f"invalid measurement: 1 - cosine is {metrics.distance.value:.3g}: the artifact does "
            "not behave like the reference at all (wrong model or tokenizer?)"
        )
