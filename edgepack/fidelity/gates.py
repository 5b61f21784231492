"""The verdict: limits by profile and span, and what the measured intervals say about them.

A check passes when the interval's upper bound is within its limit, fails when the lower bound is
beyond it, and is undecided otherwise. The verdict is `fail` when a check fails, else
`inconclusive` when a check is undecided, else `pass`, with one exception: a span of fewer than
4,000 tokens is gated only where its bounds decide. There an undecided check is a note, so a short
span can fail an artifact but cannot keep one from passing.

The sizes follow from the limits. A 99.9th percentile has an upper 95% bound from 2,995 tokens on,
and a rate below 0.01% needs 29,956 tokens without an event; hence 4,000 tokens a span and 32,000
for a sample. A smaller sample is called unpowered, which changes no verdict by itself.

A limit of zero hard flips is about the sample: one flip is proof that the rate is not zero.

In the prompt, first choices are not gated: nobody samples there, and where the reference prefers
nothing (the digits of a question) an equal first choice says nothing. Distances and hard flips are.

Broken documents are gated over the whole sample. Means cannot show them: one wrong digit in two
hundred right tokens is a mean KLD of 0.003 and a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Final, Literal

from edgepack.errors import unknown
from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.metrics import Metrics
from edgepack.fidelity.spans import Span

Verdict = Literal["pass", "fail", "inconclusive", "not_run"]
Outcome = Literal["pass", "fail", "undecided"]

ENOUGH_DOCUMENTS: Final = 64
ENOUGH_TOKENS: Final = 32_000
ENOUGH_SPAN_TOKENS: Final = 4_000
# Beyond these the two models are not versions of each other, and no limit means anything.
INVALID_KL_MEAN: Final = 1.0
INVALID_TOP1: Final = 0.5
# Text that a machine reads: one wrong token there breaks the whole.
STRICT_SPANS: Final[frozenset[Span]] = frozenset({"tool_call", "control"})


@dataclass(frozen=True, slots=True)
class Profile:
    """Limits on KLD (nats), and on the shares of equal first choices, hard flips, broken documents.

    `floor_multiple` times the measured noise floor replaces a smaller limit on the mean.
    """

    name: str
    kl_mean: float
    kl_p99: float
    kl_p999: float
    top1: float
    hard_flips: float
    broken_documents: float
    floor_multiple: float = 0.0


PROFILES: Final = (
    Profile("convert", 1e-4, 0.005, 0.02, 0.995, 0.0, 0.0, floor_multiple=3.0),
    Profile("near-lossless", 0.005, 0.03, 0.10, 0.965, 1e-4, 0.05),
    Profile("balanced", 0.05, 0.50, 2.0, 0.91, 0.005, 0.05),
    Profile("aggressive", 0.15, 1.5, 4.0, 0.85, 0.02, 0.15),
)
DEFAULT_PROFILE: Final = "balanced"


def profile(name: str = DEFAULT_PROFILE) -> Profile:
    """The profile called `name`; raises UsageError with the nearest name."""
    for known in PROFILES:
        if known.name == name:
            return known
    raise unknown("fidelity profile", name, [known.name for known in PROFILES])


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of one scope against its limit."""

    scope: str
    figure: str
    interval: Interval
    limit: float
    outcome: Outcome

    def __str__(self) -> str:
        low, value, high = (
            f"{bound:.3g}"
            for bound in (self.interval.lower, self.interval.value, self.interval.upper)
        )
        return (
            f"{self.scope}: {self.figure} {value} (95% bounds {low} and {high}), "
            f"limit {self.limit:.3g}"
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """`reasons` led to the verdict; `notes` did not, but a reader should know them."""

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    powered: bool


def judge(
    overall: Metrics,
    spans: Sequence[Metrics],
    limits: Profile,
    *,
    non_finite: int = 0,
    floor: float = 0.0,
) -> Judgement:
    """The verdict on a sample and its spans.

    `non_finite` counts the tokens that have no figures; `floor` is the noise floor, a mean KLD.
    """
    powered = overall.documents >= ENOUGH_DOCUMENTS and overall.tokens >= ENOUGH_TOKENS
    notes = [] if powered else [_unpowered(overall)]
    failed = list(_broken(overall, non_finite))
    undecided: list[str] = []
    for metrics in (overall, *spans):
        found = list(checks(metrics, limits, floor=floor))
        failed += [str(check) for check in found if check.outcome == "fail"]
        open_ones = [check for check in found if check.outcome == "undecided"]
        if metrics.scope == "all" or metrics.tokens >= ENOUGH_SPAN_TOKENS:
            undecided += [str(check) for check in open_ones]
        elif open_ones:
            figures = ", ".join(check.figure for check in open_ones)
            notes.append(f"{metrics.scope}: {metrics.tokens} tokens are too few to gate {figures}")
    if failed:
        return Judgement("fail", tuple(failed), tuple(notes), powered)
    if undecided:
        return Judgement("inconclusive", tuple(undecided), tuple(notes), powered)
    return Judgement("pass", (), tuple(notes), powered)


def checks(metrics: Metrics, limits: Profile, *, floor: float = 0.0) -> Iterator[Check]:
    """Every gated figure of one scope."""
    strict = metrics.scope in STRICT_SPANS
    kl_mean = max(limits.kl_mean, limits.floor_multiple * floor) / (2 if strict else 1)
    for figure, interval, limit in (
        ("mean KLD", metrics.kl_mean, kl_mean),
        ("p99 KLD", metrics.kl_p99, limits.kl_p99),
        ("p99.9 KLD", metrics.kl_p999, limits.kl_p999),
    ):
        yield Check(metrics.scope, figure, interval, limit, at_most(interval, limit))
    if metrics.scope != "prompt":
        top1 = metrics.top1
        misses = Interval(1 - top1.value, 1 - top1.upper, 1 - top1.lower)
        outcome = at_most(misses, 1 - limits.top1)
        yield Check(metrics.scope, "top-1 agreement", top1, limits.top1, outcome)
    flips = 0.0 if strict else limits.hard_flips
    yield rate_check(metrics.scope, "hard flips", metrics.hard_flips, flips)
    if metrics.scope == "all":
        share, limit = metrics.broken_documents, limits.broken_documents
        yield rate_check(metrics.scope, "broken documents", share, limit)


def rate_check(scope: str, figure: str, rate: Interval, limit: float) -> Check:
    """A limit of zero is about the sample: it holds where nothing was seen."""
    outcome = at_most(rate, limit) if limit else "fail" if rate.value > 0 else "pass"
    return Check(scope, figure, rate, limit, outcome)


def at_most(interval: Interval, limit: float) -> Outcome:
    if interval.upper <= limit:
        return "pass"
    return "fail" if interval.lower > limit else "undecided"


def _broken(overall: Metrics, non_finite: int) -> Iterator[str]:
    """What makes the comparison itself worthless, from the plain figures."""
    if non_finite:
        yield f"logits are not finite at {non_finite} tokens"
    mean, top1 = overall.kl_mean.value, overall.top1.value
    if mean > INVALID_KL_MEAN or top1 < INVALID_TOP1 or isnan(mean):
        yield (
            f"invalid measurement: mean KLD {mean:.3g}, top-1 agreement {top1:.3g}: the artifact "
            "does not behave like the reference at all (wrong model, tokenizer or metadata?)"
        )


def _unpowered(overall: Metrics) -> str:
    return (
        f"unpowered: {overall.documents} documents and {overall.tokens} tokens; "
        f"{ENOUGH_DOCUMENTS} and {ENOUGH_TOKENS} make a full sample"
    )
