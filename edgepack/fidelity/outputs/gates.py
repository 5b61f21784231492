"""The verdict on outputs: limits by profile. What passes, fails or stays open is as for tokens.

Vectors are held to one minus the cosine. What it costs was measured on MiniLM, a trained sentence
encoder, with 256 paragraphs: the share whose nearest neighbour among them stayed the same, and the
rank correlation of all similarities between two of them.

    int8 weights                      1 - cosine   neighbours   rank correlation
    per output, unsigned                  0.0077          92%               0.988
    per output, signed                    0.0104          90%               0.984
    per tensor, unsigned                  0.0254          90%               0.963
    per tensor, signed                    0.0603          84%               0.911
    per tensor, unsigned, 7 bits          0.0753          81%               0.895
    per tensor, signed, 7 bits            0.177           71%               0.737

So 0.02 passes what onnxruntime does well, and 0.05 what is still of use. An export in float32 has
4e-13 (64 documents of 330 tokens); with rows of one layer shifted by one it has more than 0.05.

Logits are held to the mean of each row's largest difference, and to first choices. The difference
is in nats and the odds of two classes change by its exponent: 0.1 is a tenth, 0.5 two thirds, 1
nearly threefold. Shares of first choices and of broken documents are limited as for tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Final

from edgepack.fidelity.gates import (
    ENOUGH_DOCUMENTS,
    Check,
    Judgement,
    at_most,
    complement,
    rate_check,
)
from edgepack.fidelity.limits import Profile
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
        return Judgement("fail", tuple(failed), notes, powered, tuple(found))
    if undecided:
        return Judgement("inconclusive", undecided, notes, powered, tuple(found))
    return Judgement("pass", (), notes, powered, tuple(found))


def checks(metrics: OutputMetrics, limits: Profile) -> Iterator[Check]:
    """Every gated figure: distances of vectors; differences and choices of logits."""
    own = LIMITS[limits.base or limits.name]
    if metrics.top1 is None:
        figure, interval, limit = "1 - cosine", metrics.distance, own.distance
    else:
        figure, interval, limit = "difference", metrics.difference, own.difference
        outcome = at_most(complement(metrics.top1), 1 - limits.top1)
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
